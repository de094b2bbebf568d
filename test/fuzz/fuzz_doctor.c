/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the doctor reads: answers of hosts to a search; a table of iptables-legacy. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "doctor/legacy.h"
#include "doctor/search.h"
#include "test/fuzz/expect.h"

/* NF_INET_FORWARD */
#define HOOK 2

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_answer(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	expect_true(text != NULL);
	memcpy(text, data, size);
	/* Only who says what it is, in an answer that says yes. */
	if (search_is_gateway(text, size)) {
		expect_true(size > 12 && memcmp(text, "HTTP/1.1 200", 12) == 0);
		expect_true(memmem(text, size, ":", 1) != NULL);
	}
	free(text);
}

static void check_table(const uint8_t *data, size_t size, bool ipv6)
{
	struct packet packet = {.ipv6 = ipv6,
				.in = "wan0",
				.out = "lan0",
				.protocol = IPPROTO_TCP,
				.is_new = true,
				.source_port = 1,
				.destination_port = 2,
				.mark = 0x10000000};
	struct legacy_table table = {.state = LEGACY_READ,
				     .ipv6 = ipv6,
				     .hooks = 1u << HOOK,
				     .size = size,
				     .bytes = malloc(size + 1)};
	struct legacy_verdict verdict;

	expect_true(table.bytes != NULL);
	memcpy(table.bytes, data, size);
	table.underflows[HOOK] = size > 0 ? data[0] : 0;
	verdict = legacy_walk(&table, HOOK, &packet);
	expect_true(verdict.fate == PACKET_PASSES || verdict.fate == PACKET_DROPPED ||
		    verdict.fate == PACKET_UNKNOWN);
	legacy_free(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_answer(data, size);
	check_table(data, size, false);
	check_table(data, size, true);
	return 0;
}
