/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Golden vectors of NAT-PMP, every .hex file of the directory named by the argument:
 *   request:       decoded, then encoded again, gives the same octets
 *   reply:         the same, and our answer to the request above is these octets
 *   announcement:  decoded and encoded again, and what we announce is these octets
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocols/natpmp.h"

#define PACKET_MAX 256
#define LINE_MAX_SIZE 1024

struct packet {
	size_t length;
	uint8_t bytes[PACKET_MAX];
};

struct vector {
	bool has_source;
	struct packet request, reply, announcement;
};

static const char *directory;

static void read_hex(const char *text, struct packet *out)
{
	for (;;) {
		char *end;
		unsigned long octet = strtoul(text, &end, 16);

		if (end == text)
			return;
		assert_true(octet <= 0xff && out->length < PACKET_MAX);
		out->bytes[out->length++] = (uint8_t)octet;
		text = end;
	}
}

static void read_line(const char *line, struct vector *out)
{
	const struct {
		const char *key;
		struct packet *packet;
	} rows[] = {
		{"request:", &out->request},
		{"reply:", &out->reply},
		{"announcement:", &out->announcement},
	};

	if (strncmp(line, "# source: ", 10) == 0)
		out->has_source = true;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strncmp(line, rows[i].key, strlen(rows[i].key)) == 0)
			read_hex(line + strlen(rows[i].key), rows[i].packet);
}

static void read_vector(const char *name, struct vector *out)
{
	char path[LINE_MAX_SIZE];
	char line[LINE_MAX_SIZE];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "r");
	assert_non_null(file);
	*out = (struct vector){0};
	while (fgets(line, sizeof(line), file))
		read_line(line, out);
	(void)fclose(file);
}

static void assert_packet(const struct packet *want, const uint8_t *bytes,
			  size_t length)
{
	assert_int_equal(length, want->length);
	assert_memory_equal(bytes, want->bytes, length);
}

/* A result that the wire shows as this code. */
static enum result get_result(uint16_t code)
{
	switch ((enum natpmp_code)code) {
	case NATPMP_CODE_OK:
		return RESULT_OK;
	case NATPMP_CODE_REFUSED:
		return RESULT_FOREIGN;
	case NATPMP_CODE_NETWORK:
		return RESULT_NO_ADDRESS;
	case NATPMP_CODE_RESOURCES:
		return RESULT_NO_PORT;
	case NATPMP_CODE_VERSION:
	case NATPMP_CODE_OPCODE:
		break;
	}
	fail_msg("code %u is not one of core's", code);
	return RESULT_OK;
}

static struct natpmp_reply get_map_answer(const struct natpmp_request *asked,
					  const struct natpmp_reply *expected)
{
	struct reply reply = {
		.result = (uint8_t)get_result(expected->code),
		.external_port = expected->external_port,
		.lifetime_s = expected->lifetime_s,
		.epoch_s = expected->epoch_s,
	};
	struct request request;

	if (natpmp_to_request(asked, &request) != RESULT_OK)
		return natpmp_refuse(asked, RESULT_BAD_PORT, expected->epoch_s);
	return natpmp_from_reply(asked, &reply);
}

static void check_exchange(const struct vector *vector)
{
	struct natpmp_request asked = {0};
	enum natpmp_kind kind = natpmp_decode_request(vector->request.bytes,
						      vector->request.length, &asked);
	struct natpmp_reply expected;
	struct natpmp_reply answer;
	struct ip_addr external;
	uint8_t out[PACKET_MAX];
	size_t length = 0;

	assert_true(natpmp_decode_reply(vector->reply.bytes, vector->reply.length,
					&expected));
	switch (kind) {
	case NATPMP_SILENCE:
		fail_msg("nobody answers this");
		break;
	case NATPMP_BAD_VERSION:
		length = natpmp_encode_bad_version(expected.epoch_s, out, sizeof(out));
		break;
	case NATPMP_BAD_OPCODE:
		length = natpmp_encode_bad_opcode(vector->request.bytes,
						  vector->request.length,
						  expected.epoch_s, out, sizeof(out));
		break;
	case NATPMP_ADDRESS:
		external = addr_from_ipv4(expected.address);
		answer = natpmp_tell_address(&external, expected.epoch_s);
		length = natpmp_encode_reply(&answer, out, sizeof(out));
		break;
	case NATPMP_MAP:
		answer = get_map_answer(&asked, &expected);
		length = natpmp_encode_reply(&answer, out, sizeof(out));
		break;
	}
	assert_packet(&vector->reply, out, length);
	if (kind != NATPMP_ADDRESS && kind != NATPMP_MAP)
		return;
	length = natpmp_encode_request(&asked, out, sizeof(out));
	assert_packet(&vector->request, out, length);
	length = natpmp_encode_reply(&expected, out, sizeof(out));
	assert_packet(&vector->reply, out, length);
}

static void check_announcement(const struct packet *packet)
{
	struct natpmp_reply told;
	struct ip_addr external;
	uint8_t out[PACKET_MAX];
	size_t length;

	assert_true(natpmp_decode_reply(packet->bytes, packet->length, &told));
	length = natpmp_encode_reply(&told, out, sizeof(out));
	assert_packet(packet, out, length);
	external = addr_from_ipv4(told.address);
	told = natpmp_tell_address(&external, told.epoch_s);
	length = natpmp_encode_reply(&told, out, sizeof(out));
	assert_packet(packet, out, length);
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
		else
			check_exchange(&vector);
		count++;
	}
	(void)closedir(dir);
	assert_true(count >= 20);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};

	if (argc != 2)
		return 2;
	directory = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
