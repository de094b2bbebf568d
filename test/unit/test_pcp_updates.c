/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "protocols/updates.h"

#define START_MS 9000000

static struct mapping_update update_of(uint32_t host, uint16_t port)
{
	return (struct mapping_update){
		.lan = 1,
		.op = REQUEST_MAP,
		.protocol = IPPROTO_UDP,
		.nonce = {1, 2, 3},
		.client_port = 5000,
		.internal_port = port,
		.external_port = port,
		.lifetime_s = 600,
		.client = addr_from_ipv4((struct in_addr){htonl(0x0a000000 + host)}),
		.internal = addr_from_ipv4((struct in_addr){htonl(0x0a000000 + host)}),
	};
}

static struct updates_key key_of(const struct mapping_update *update)
{
	return (struct updates_key){
		.lan = update->lan,
		.op = update->op,
		.protocol = update->protocol,
		.internal_port = update->internal_port,
		.nonce = {1, 2, 3},
		.client = update->client,
		.internal = update->internal,
	};
}

static void assert_due(struct updates *updates, int64_t now_ms, uint16_t external_port)
{
	const struct mapping_update *due = updates_take_due(updates, now_ms);

	assert_non_null(due);
	assert_int_equal(due->external_port, external_port);
}

/* PCP-40: copies at 250 and 750 ms behind the first, then none. */
static void test_times(void **state)
{
	struct updates *updates = updates_new();
	struct mapping_update update = update_of(1, 7);

	(void)state;
	assert_non_null(updates);
	assert_int_equal(updates_get_next_ms(updates), TIME_NEVER);
	assert_null(updates_take_due(updates, START_MS));
	assert_true(updates_add(updates, &update, START_MS));
	assert_int_equal(updates_get_next_ms(updates), START_MS + 250);
	assert_null(updates_take_due(updates, START_MS + 249));
	assert_due(updates, START_MS + 250, 7);
	assert_null(updates_take_due(updates, START_MS + 250));
	assert_int_equal(updates_get_next_ms(updates), START_MS + 750);
	assert_due(updates, START_MS + 750, 7);
	assert_null(updates_take_due(updates, START_MS + 100000));
	assert_int_equal(updates_get_next_ms(updates), TIME_NEVER);
	updates_free(updates);
}

/* A late one is not followed at once by the next: gaps only grow. */
static void test_late(void **state)
{
	struct updates *updates = updates_new();
	struct mapping_update update = update_of(1, 7);

	(void)state;
	assert_non_null(updates);
	assert_true(updates_add(updates, &update, START_MS));
	assert_due(updates, START_MS + 5000, 7);
	assert_null(updates_take_due(updates, START_MS + 5499));
	assert_due(updates, START_MS + 5500, 7);
	updates_free(updates);
}

/* PCP-40: the client's own request ends it, and only its own. */
static void test_stop(void **state)
{
	struct updates *updates = updates_new();
	struct mapping_update one = update_of(1, 7);
	struct mapping_update peer = update_of(1, 7);
	struct updates_key key = key_of(&one);
	struct updates_key others[7];

	(void)state;
	assert_non_null(updates);
	updates_stop(updates, &key);
	peer.op = REQUEST_PEER;
	peer.remote_port = 80;
	peer.external_port = 8;
	for (size_t i = 0; i < 7; i++)
		others[i] = key;
	others[0].lan++;
	others[1].protocol = IPPROTO_TCP;
	others[2].internal_port++;
	others[3].nonce[11] = 1;
	others[4].client.bytes[15] ^= 4;
	others[5].op = REQUEST_PEER;
	others[6].internal.bytes[15] ^= 4; /* a third party (PCP-73) */
	assert_true(updates_add(updates, &one, START_MS));
	assert_true(updates_add(updates, &peer, START_MS));
	for (size_t i = 0; i < 7; i++)
		updates_stop(updates, &others[i]);
	assert_due(updates, START_MS + 250, 7);
	assert_due(updates, START_MS + 250, 8);
	updates_stop(updates, &key);
	assert_due(updates, START_MS + 750, 8);
	assert_int_equal(updates_get_next_ms(updates), TIME_NEVER);
	updates_free(updates);
}

/* PCP-115: a set is renewed and deleted as one, whichever of its ports is named. */
static void test_stop_set(void **state)
{
	struct updates *updates = updates_new();
	struct updates_key key;

	(void)state;
	assert_non_null(updates);
	for (uint16_t port = 9; port < 15; port++) {
		struct mapping_update update = update_of(1, port);

		if (port >= 10 && port < 14) {
			update.set_first = 10;
			update.set_count = 4;
		}
		assert_true(updates_add(updates, &update, START_MS));
		if (port == 12)
			key = key_of(&update);
	}
	updates_stop(updates, &key);
	assert_due(updates, START_MS + 250, 9);
	assert_due(updates, START_MS + 250, 14);
	assert_null(updates_take_due(updates, START_MS + 250));
	updates_free(updates);
}

/* News of the same mapping take the place of what was to be said. */
static void test_replace(void **state)
{
	struct updates *updates = updates_new();
	struct mapping_update update = update_of(1, 7);

	(void)state;
	assert_non_null(updates);
	assert_true(updates_add(updates, &update, START_MS));
	assert_due(updates, START_MS + 250, 7);
	update.external_port = 9;
	assert_true(updates_add(updates, &update, START_MS + 300));
	assert_null(updates_take_due(updates, START_MS + 549));
	assert_due(updates, START_MS + 550, 9);
	assert_due(updates, START_MS + 1050, 9);
	assert_null(updates_take_due(updates, START_MS + 100000));
	updates_free(updates);
}

/* Full: the ones sent most often go first; every one that stays is sent in its time. */
static void test_full(void **state)
{
	struct updates *updates = updates_new();
	struct mapping_update update;
	unsigned int sent = 0;

	(void)state;
	assert_non_null(updates);
	for (uint16_t i = 0; i < UPDATES_MAX; i++) {
		update = update_of(i % 50, i);
		assert_true(updates_add(updates, &update, START_MS));
	}
	for (uint16_t i = 0; i < 10; i++)
		assert_due(updates, START_MS + 250, i);
	for (uint16_t i = 0; i < 11; i++) {
		update = update_of(60, i);
		assert_false(updates_add(updates, &update, START_MS + 260));
	}
	/* 0 to 9 had their second copy, 10 was the oldest of the others. */
	while (updates_take_due(updates, START_MS + 510))
		sent++;
	assert_int_equal(sent, UPDATES_MAX);
	sent = 0;
	while (updates_take_due(updates, START_MS + 2000))
		sent++;
	assert_int_equal(sent, UPDATES_MAX);
	assert_int_equal(updates_get_next_ms(updates), TIME_NEVER);
	assert_true(updates_add(updates, &update, START_MS + 3000));
	updates_free(updates);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),	cmocka_unit_test(test_late),
		cmocka_unit_test(test_stop),	cmocka_unit_test(test_stop_set),
		cmocka_unit_test(test_replace), cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
