/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocols/pending.h"

#define NOW_MS 1000000

static struct pending_path path_of(uint32_t host, uint16_t port)
{
	return (struct pending_path){
		.ifindex = 3,
		.peer = addr_from_ipv4((struct in_addr){htonl(0x0a000000 + host)}),
		.peer_port = port,
	};
}

/* The cookie of a new request; 0: refused. */
static uint64_t add(struct pending *pending, uint32_t host, uint16_t port,
		    int64_t now_ms)
{
	struct pending_path path = path_of(host, port);
	uint64_t cookie = 0;

	if (!pending_add(pending, &path, false, now_ms, &cookie))
		return 0;
	assert_true(cookie != 0);
	return cookie;
}

static void test_cookies(void **state)
{
	struct pending *pending = pending_new();
	const struct pending_entry *out;
	uint64_t first;
	uint64_t second;

	(void)state;
	assert_non_null(pending);
	first = add(pending, 1, 1, NOW_MS);
	second = add(pending, 1, 2, NOW_MS);
	assert_true(first != 0 && second != 0 && first != second);
	out = pending_take(pending, first);
	assert_non_null(out);
	assert_int_equal(out->path.peer_port, 1);
	assert_null(pending_take(pending, first)); /* only once */
	out = pending_take(pending, second);
	assert_non_null(out);
	assert_int_equal(out->path.peer_port, 2);
	/* The place is used again under another cookie. */
	assert_true(add(pending, 1, 2, NOW_MS) != second);
	assert_null(pending_take(pending, second));
	assert_null(pending_take(pending, 0));
	assert_null(pending_take(pending, UINT64_MAX));
	assert_null(pending_take(pending, 1));
	assert_null(pending_take(pending, PENDING_MAX + 1));
	pending_free(pending);
}

/* Full is full; after the time limit the oldest make room, and late answers are
 * nobody's. */
static void test_full(void **state)
{
	struct pending *pending = pending_new();
	const struct pending_entry *out;
	uint64_t cookies[PENDING_MAX];

	(void)state;
	assert_non_null(pending);
	for (uint16_t i = 0; i < PENDING_MAX; i++) {
		cookies[i] = add(pending, i % 100, i, NOW_MS + i);
		assert_true(cookies[i] != 0);
	}
	assert_int_equal(add(pending, 200, 1, NOW_MS + PENDING_TIMEOUT_MS - 1), 0);
	assert_int_equal(pending_get_cap(pending), PENDING_CAP_ALL);
	/* One out of the middle of the list, so that it is mended. */
	out = pending_take(pending, cookies[500]);
	assert_non_null(out);
	assert_int_equal(out->path.peer_port, 500);
	assert_true(add(pending, 200, 1, NOW_MS) != 0);
	assert_true(add(pending, 200, 1, NOW_MS + PENDING_TIMEOUT_MS + 9) != 0);
	for (int i = 0; i < 10; i++)
		assert_null(pending_take(pending, cookies[i]));
	out = pending_take(pending, cookies[10]);
	assert_non_null(out);
	assert_int_equal(out->path.peer_port, 10);
	pending_free(pending);
}

/* PCP-7: one client cannot take all the places, and gets its own back. */
static void test_client(void **state)
{
	struct pending *pending = pending_new();
	uint64_t cookie = 0;

	(void)state;
	assert_non_null(pending);
	for (uint16_t i = 0; i < PENDING_CLIENT_MAX; i++)
		cookie = add(pending, 1, i, NOW_MS);
	assert_true(cookie != 0);
	assert_int_equal(add(pending, 1, 1, NOW_MS), 0);
	assert_int_equal(pending_get_cap(pending), PENDING_CAP_CLIENT);
	assert_true(add(pending, 2, 1, NOW_MS) != 0);
	assert_non_null(pending_take(pending, cookie));
	assert_true(add(pending, 1, 1, NOW_MS) != 0);
	assert_int_equal(add(pending, 1, 1, NOW_MS), 0);
	/* What core never answers counts no longer than it waits. */
	for (uint16_t i = 0; i < PENDING_CLIENT_MAX; i++)
		assert_true(add(pending, 1, i, NOW_MS + PENDING_TIMEOUT_MS) != 0);
	assert_int_equal(add(pending, 1, 1, NOW_MS + PENDING_TIMEOUT_MS), 0);
	pending_free(pending);
}

/* PCP-7: any number of loud sources together leave room for others. */
static void test_slow(void **state)
{
	struct pending *pending = pending_new();
	uint64_t cookie = 0;
	uint64_t first = 0;

	(void)state;
	assert_non_null(pending);
	for (uint32_t i = 0; i < PENDING_SLOW_MAX; i++) {
		struct pending_path path = path_of(i, 1);

		assert_non_null(pending_add(pending, &path, true, NOW_MS, &cookie));
		first = i == 0 ? cookie : first;
		assert_int_equal(pending_has_slow_room(pending, 10, NOW_MS),
				 i + 1 + 10 <= PENDING_SLOW_MAX);
	}
	for (uint32_t i = 0; i < 10; i++) {
		struct pending_path path = path_of(i, 1);

		assert_null(pending_add(pending, &path, true, NOW_MS, &cookie));
		assert_int_equal(pending_get_cap(pending), PENDING_CAP_SLOW);
		assert_true(add(pending, 5000 + i, 1, NOW_MS) != 0);
	}
	assert_non_null(pending_take(pending, first));
	assert_non_null(pending_add(pending, &(struct pending_path){.ifindex = 1}, true,
				    NOW_MS, &cookie));
	pending_free(pending);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cookies),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_client),
		cmocka_unit_test(test_slow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
