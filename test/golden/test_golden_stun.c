/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Golden vectors of STUN, every .hex file of the directory named by the argument:
 *   id:       the transaction
 *   request:  what we ask with it
 *   answer:   an answer to it, and
 *   means:    what we take it for: "address ADDRESS PORT", "refused CODE", "bad",
 * "other"
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocols/stun.h"

#define PACKET_MAX 512
#define TEXT_MAX 2048

struct octets {
	size_t count;
	uint8_t list[PACKET_MAX];
};

static const char *directory;

/* What stands behind a key at the start of a line; NULL = it is not there. */
static const char *find_value(const char *text, const char *key)
{
	const size_t length = strlen(key);

	for (; text; text = strchr(text, '\n')) {
		text += *text == '\n';
		if (strncmp(text, key, length) == 0)
			return text + length;
		if (*text == '\0')
			return NULL;
	}
	return NULL;
}

static struct octets find_octets(const char *text, const char *key)
{
	struct octets octets = {0};
	const char *value = find_value(text, key);
	char *end = NULL;

	while (value && *value != '\n') {
		octets.list[octets.count] = (uint8_t)strtoul(value, &end, 16);
		if (end == value)
			break;
		assert_true(++octets.count < PACKET_MAX);
		value = end;
	}
	return octets;
}

static void format_answer(const struct stun_answer *answer, char *out, size_t size)
{
	char address[ADDR_TEXT_SIZE];

	switch (answer->kind) {
	case STUN_OTHER:
		(void)snprintf(out, size, "other\n");
		return;
	case STUN_BAD:
		(void)snprintf(out, size, "bad\n");
		return;
	case STUN_REFUSED:
		(void)snprintf(out, size, "refused %u\n", answer->code);
		return;
	case STUN_ADDRESS:
		(void)snprintf(out, size, "address %s %u\n",
			       addr_format(&answer->address, address), answer->port);
		return;
	}
}

static void check_request(const struct octets *request, const struct stun_id *id)
{
	uint8_t made[STUN_REQUEST_SIZE];

	stun_encode_request(id, made);
	assert_int_equal(request->count, sizeof(made));
	assert_memory_equal(request->list, made, sizeof(made));
}

/* Read from memory of exactly its size, and every part of it too. */
static struct stun_answer decode(const struct octets *octets, size_t length,
				 const struct stun_id *id)
{
	uint8_t *bytes = test_malloc(length + 1);
	struct stun_answer answer;

	memcpy(bytes + 1, octets->list, length);
	answer = stun_decode_answer(bytes + 1, length, id);
	test_free(bytes);
	return answer;
}

static void check_answer(const char *text, const struct stun_id *id)
{
	const char *means = find_value(text, "means: ");
	struct octets octets = find_octets(text, "answer: ");
	struct stun_answer answer = decode(&octets, octets.count, id);
	char told[128];

	assert_non_null(means);
	format_answer(&answer, told, sizeof(told));
	assert_memory_equal(means, told, strlen(told));
	for (size_t length = 0; length < octets.count; length++) {
		answer = decode(&octets, length, id);
		assert_true(answer.kind == STUN_BAD || answer.kind == STUN_OTHER);
	}
}

static void check_file(const char *name)
{
	char path[TEXT_MAX];
	char text[TEXT_MAX] = "";
	struct octets octets;
	struct stun_id id;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "r");
	assert_non_null(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	(void)fclose(file);
	assert_non_null(find_value(text, "# source: "));
	octets = find_octets(text, "id: ");
	assert_int_equal(octets.count, sizeof(id.bytes));
	memcpy(id.bytes, octets.list, sizeof(id.bytes));
	octets = find_octets(text, "request: ");
	if (octets.count > 0)
		check_request(&octets, &id);
	else
		check_answer(text, &id);
}

static void test_vectors(void **state)
{
	DIR *files = opendir(directory);
	const struct dirent *entry;
	size_t count = 0;

	(void)state;
	assert_non_null(files);
	while ((entry = readdir(files)) != NULL)
		if (strstr(entry->d_name, ".hex")) {
			print_message("%s\n", entry->d_name);
			check_file(entry->d_name);
			count++;
		}
	(void)closedir(files);
	assert_true(count >= 13);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};

	if (argc != 2)
		return EXIT_FAILURE;
	directory = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
