/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Golden vectors of PCP, every .hex file of the directory named by the argument. A line
 * is a key and octets, and may go on in lines that begin with a blank:
 *   request:       decoded, then encoded again, gives the same octets, unless `loose:`
 *                  says why not
 *   sender:        where the request comes from, when it is not the client it names
 *   served:        what is served, bits below; all of it without this line
 *   reply:         decoded, it says what core answered; our reply is these octets
 *   announcement:  what we announce
 *   update:        decoded, it says what has become of the mapping; ours is the same
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocols/pcp.h"
#include "protocols/status.h"

#define LINE_MAX_SIZE 1024
#define VECTORS_MIN 80

/* Bits of `served:`. */
#define SERVED_THIRD_PARTY 0x04
#define SERVED_PORT_SET 0x08
#define SERVED_PREFIX64 0x10
#define SERVED_ALL 0x1f

struct packet {
	size_t length;
	uint8_t bytes[PCP_SIZE_MAX];
};

struct vector {
	bool has_source;
	bool loose;
	struct packet request, reply, announcement, update, sender, served;
};

static const char *directory;

static void read_hex(const char *text, struct packet *out)
{
	for (;;) {
		char *end;
		unsigned long octet = strtoul(text, &end, 16);

		if (end == text)
			return;
		assert_true(octet <= 0xff && out->length < sizeof(out->bytes));
		out->bytes[out->length++] = (uint8_t)octet;
		text = end;
	}
}

/* The packet that the line begins or, as `current`, goes on with. */
static struct packet *read_line(const char *line, struct packet *current,
				struct vector *out)
{
	const struct {
		const char *key;
		struct packet *packet;
	} rows[] = {
		{"request:", &out->request},
		{"reply:", &out->reply},
		{"announcement:", &out->announcement},
		{"update:", &out->update},
		{"sender:", &out->sender},
		{"served:", &out->served},
	};

	if (strncmp(line, "# source: ", 10) == 0)
		out->has_source = true;
	if (strncmp(line, "loose: ", 7) == 0)
		out->loose = true;
	if (line[0] == ' ' && current) {
		read_hex(line, current);
		return current;
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strncmp(line, rows[i].key, strlen(rows[i].key)) != 0)
			continue;
		read_hex(line + strlen(rows[i].key), rows[i].packet);
		return rows[i].packet;
	}
	assert_true(line[0] == '#' || out->loose);
	return NULL;
}

static void read_vector(const char *name, struct vector *out)
{
	char path[LINE_MAX_SIZE];
	char line[LINE_MAX_SIZE];
	struct packet *current = NULL;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "r");
	assert_non_null(file);
	*out = (struct vector){0};
	while (fgets(line, sizeof(line), file))
		current = read_line(line, current, out);
	(void)fclose(file);
}

static void assert_packet(const struct packet *want, const uint8_t *bytes,
			  size_t length)
{
	assert_int_equal(length, want->length);
	assert_memory_equal(bytes, want->bytes, length);
}

static struct pcp_terms get_terms(const struct vector *vector)
{
	uint8_t served =
		vector->served.length > 0 ? vector->served.bytes[0] : SERVED_ALL;
	struct pcp_terms terms = {
		.opcodes = served & (PCP_SERVES_MAP | PCP_SERVES_PEER),
		.third_party = (served & SERVED_THIRD_PARTY) != 0,
		.ports_max = (served & SERVED_PORT_SET) ? REQUEST_PORTS_MAX : 1,
	};

	if (served & SERVED_PREFIX64) {
		terms.nat64.length = 96;
		assert_true(addr_parse("64:ff9b::", &terms.nat64.addr));
	}
	return terms;
}

static struct ip_addr get_sender(const struct vector *vector)
{
	struct reader named =
		reader_init(vector->request.bytes, vector->request.length);
	struct reader other = reader_init(vector->sender.bytes, vector->sender.length);

	reader_skip(&named, 8);
	return vector->sender.length > 0 ? reader_addr(&other) : reader_addr(&named);
}

/* A result that the wire shows as this code. */
static uint8_t get_result(uint8_t code)
{
	for (int result = 0; result < RESULT_COUNT; result++)
		if (status_get((enum result)result)->pcp == code)
			return (uint8_t)result;
	fail_msg("code %u is not one of core's", code);
	return 0;
}

static struct reply get_core_reply(const struct pcp_response *expected)
{
	struct reply reply = {
		.result = get_result(expected->code),
		.port_count = expected->body.port_count,
		.internal_port = expected->body.internal_port,
		.external_port = expected->body.external_port,
		.lifetime_s = expected->lifetime_s,
		.epoch_s = expected->epoch_s,
		.external = expected->body.external,
	};

	(void)snprintf(reply.description, sizeof(reply.description), "%s",
		       expected->body.description);
	return reply;
}

static void check_exchange(const struct vector *vector)
{
	struct pcp_packet packet = {vector->request.bytes, vector->request.length};
	struct pcp_terms terms = get_terms(vector);
	struct ip_addr sender = get_sender(vector);
	struct pcp_response expected;
	struct pcp_request asked;
	struct reply reply;
	uint8_t bytes[PCP_SIZE_MAX];
	struct writer writer = writer_init(bytes, sizeof(bytes));
	enum pcp_code code;
	enum pcp_kind kind =
		pcp_decode_request(&packet, &sender, &terms, &asked, &code);
	size_t length = 0;

	assert_true(pcp_decode_response(vector->reply.bytes, vector->reply.length,
					&expected));
	switch (kind) {
	case PCP_SILENCE:
		fail_msg("nobody answers this");
		break;
	case PCP_REFUSED:
		assert_int_equal(code, expected.code);
		length =
			pcp_encode_refusal(&packet, code, 0, expected.epoch_s, &writer);
		break;
	case PCP_ANSWERED:
		length = pcp_encode_success(&packet, &asked, &terms, expected.epoch_s,
					    &writer);
		break;
	case PCP_ASK:
		reply = get_core_reply(&expected);
		length = pcp_encode_reply(&packet, &asked, &terms, &reply, &writer);
		break;
	}
	assert_packet(&vector->reply, bytes, length);
	if (kind == PCP_REFUSED)
		return;
	length = pcp_encode_request(&asked, bytes, sizeof(bytes));
	if (vector->loose)
		assert_true(length != vector->request.length ||
			    memcmp(bytes, vector->request.bytes, length) != 0);
	else
		assert_packet(&vector->request, bytes, length);
}

static void check_announcement(const struct packet *packet)
{
	struct pcp_response told;
	uint8_t bytes[PCP_SIZE_MAX];

	assert_true(pcp_decode_response(packet->bytes, packet->length, &told));
	assert_int_equal(told.opcode, PCP_OP_ANNOUNCE);
	assert_packet(packet, bytes,
		      pcp_encode_announce(told.epoch_s, bytes, sizeof(bytes)));
}

static void check_update(const struct packet *packet)
{
	struct pcp_response told;
	struct mapping_update update;
	uint8_t bytes[PCP_SIZE_MAX];
	size_t length;

	assert_true(pcp_decode_response(packet->bytes, packet->length, &told));
	update = (struct mapping_update){
		.op = told.opcode == PCP_OP_PEER ? REQUEST_PEER : REQUEST_MAP,
		.result = get_result(told.code),
		.protocol = told.body.protocol,
		.filter_count = told.body.filter_count,
		.internal_port = told.body.internal_port,
		.external_port = told.body.external_port,
		.remote_port = told.body.remote_port,
		/* the lease that a conflict has ended has none left */
		.lifetime_s = told.code == PCP_CODE_SUCCESS ? told.lifetime_s : 0,
		.external = told.body.external,
		.internal = told.body.third_party,
		.remote = told.body.remote,
	};
	memcpy(update.nonce, told.body.nonce, sizeof(update.nonce));
	memcpy(update.filters, told.body.filters, sizeof(update.filters));
	length = pcp_encode_update(&update, told.epoch_s, bytes, sizeof(bytes));
	assert_packet(packet, bytes, length);
}

static void test_vectors(void **state)
{
	DIR *dir = opendir(directory);
	const struct dirent *entry;
	unsigned int count = 0;

	(void)state;
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		struct vector vector;

		if (!strstr(entry->d_name, ".hex"))
			continue;
		print_message("%s\n", entry->d_name);
		read_vector(entry->d_name, &vector);
		assert_true(vector.has_source);
		if (vector.announcement.length > 0)
			check_announcement(&vector.announcement);
		else if (vector.update.length > 0)
			check_update(&vector.update);
		else
			check_exchange(&vector);
		count++;
	}
	(void)closedir(dir);
	assert_true(count >= VECTORS_MIN);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};

	if (argc != 2)
		return 2;
	directory = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
