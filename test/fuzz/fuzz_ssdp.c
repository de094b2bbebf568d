/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A datagram on port 1900 (SSDP-19), and the answers that it leads to (SSDP-18). */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "protocols/igd_desc.h"
#include "protocols/ssdp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answers(const struct ssdp_search *search)
{
	static const struct worker_setup setup = {.uuid = {7}, .friendly_name = "x"};
	struct igd_site *site = igd_site_new(igd_face_get(0), &setup);
	struct ssdp_origin origin = {.http_port = 49152, .path = "/igd1/root.xml"};

	if (!site)
		abort();
	for (size_t i = 0; i < site->target_count; i++) {
		const struct ssdp_target *target = &site->targets[i];
		char bytes[SSDP_DATAGRAM_MAX + 1] = {0};
		struct writer out = writer_init(bytes, SSDP_DATAGRAM_MAX);
		uint8_t version;

		if (!ssdp_target_matches(target, search->st, &version))
			continue;
		ssdp_write_response(&out, &origin, target, version, 0);
		/* It fits, and it names the target as it was asked for (SSDP-9). */
		if (out.failed || version > target->version)
			abort();
		if (strcmp(search->st, "ssdp:all") != 0 && !strstr(bytes, search->st))
			abort();
	}
	igd_site_free(site);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ssdp_search search;

	if (!ssdp_parse_search(data, size, &search))
		return 0;
	if (search.mx_s > SSDP_MX_MAX_S || search.st[0] == '\0' ||
	    strnlen(search.st, sizeof(search.st)) == sizeof(search.st))
		abort();
	(void)ssdp_search_is_valid(&search, true);
	check_answers(&search);
	return 0;
}
