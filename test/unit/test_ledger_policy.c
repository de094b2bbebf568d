/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leases that are there when the configuration is another one, and a firewall that does
 * not let them go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/memory.h"
#include "daemon/ledger_private.h"
#include "daemon/table.h"
#include "test/unit/ledger_lab.h"

#define C1 "192.168.77.2"
#define V6 "2001:db8::2"
/* Where this machine has nothing of its own, which would not be given away. */
#define PORT 20000

struct fixture {
	struct ledger_lab lab;
	unsigned int disturbed;
	unsigned int ended;
	enum lease_end why; /* of the last one */
};

static void on_lease(void *user, enum lease_event event, const struct lease *lease)
{
	struct fixture *fixture = user;

	(void)lease;
	if (event != LEASE_EVENT_DELETED)
		return;
	fixture->ended++;
	fixture->why = ledger_get_end(fixture->lab.ledger);
}

static void on_disturbed(void *user)
{
	struct fixture *fixture = user;

	fixture->disturbed++;
}

static const struct ledger_events events = {.lease = on_lease,
					    .disturbed = on_disturbed};

static void open_ledger(struct fixture *fixture)
{
	ledger_lab_open(&fixture->lab, &events, fixture);
}

static int setup(void **state)
{
	struct fixture *fixture = ledger_lab_new(sizeof(*fixture));

	fixture->lab.conf.limits.leases_per_client = 0;
	*state = fixture;
	open_ledger(fixture);
	return 0;
}

static enum result decide(struct fixture *fixture, const struct request *request)
{
	struct reply reply;

	ledger_decide(fixture->lab.ledger, request, 1, &reply, &fixture->lab.at);
	return (enum result)reply.result;
}

static void map(struct fixture *fixture, enum origin origin, const char *host,
		uint16_t port)
{
	struct request request = {.op = REQUEST_MAP,
				  .origin = (uint8_t)origin,
				  .protocol = IPPROTO_UDP,
				  .enabled = 1,
				  .client = ledger_lab_address(host),
				  .internal = ledger_lab_address(host),
				  .internal_port = port,
				  .external_port = port,
				  .lifetime_s = 7200};

	if (origin == ORIGIN_IGD || origin == ORIGIN_STATIC)
		request.op = REQUEST_ADD;
	assert_int_equal(decide(fixture, &request), RESULT_OK);
}

/* The rules deny everything from this port on. */
static void deny_from(struct fixture *fixture, uint16_t port)
{
	fixture->lab.conf.rules[1] = fixture->lab.conf.rules[0];
	fixture->lab.conf.rules[0] = (struct conf_rule){.external = {port, UINT16_MAX},
							.internal = {1, UINT16_MAX}};
	fixture->lab.conf.rule_count = 2;
}

/* All ids there are. */
static size_t get_ids(const struct fixture *fixture, uint64_t *ids, size_t size)
{
	const struct lease *lease = NULL;
	size_t count = 0;

	while ((lease = table_get_next(fixture->lab.ledger->table, lease))) {
		assert_true(count < size);
		ids[count++] = lease->id;
	}
	return count;
}

static size_t count_leases(const struct fixture *fixture)
{
	return table_get_count(fixture->lab.ledger->table);
}

static size_t count_rules(const struct fixture *fixture)
{
	return memory_get_count(fixture->lab.ledger->books.backend);
}

static size_t count_forbidden(const struct fixture *fixture)
{
	const struct lease *lease = NULL;
	size_t count = 0;

	while ((lease = table_get_next(fixture->lab.ledger->table, lease)))
		count += ledger_is_forbidden(fixture->lab.ledger, lease) ? 1 : 0;
	return count;
}

/* One of each origin, and one over IPv6. */
static void map_all(struct fixture *fixture)
{
	map(fixture, ORIGIN_NATPMP, C1, PORT);
	map(fixture, ORIGIN_PCP, C1, PORT + 1);
	map(fixture, ORIGIN_IGD, C1, PORT + 2);
	map(fixture, ORIGIN_STATIC, C1, PORT + 3);
	map(fixture, ORIGIN_PCP, V6, PORT + 4);
	assert_int_equal(count_forbidden(fixture), 0);
}

static void test_what_is_forbidden(void **state)
{
	struct fixture *fixture = *state;
	const struct conf conf = fixture->lab.conf;
	uint8_t *protocols = &fixture->lab.ledger->lan_protocols[0];

	map_all(fixture);
	deny_from(fixture, PORT + 2); /* IGD's and IPv6's; never the owner's */
	assert_int_equal(count_forbidden(fixture), 2);
	fixture->lab.conf.keep_forbidden = true;
	assert_int_equal(count_forbidden(fixture), 0);
	fixture->lab.conf.wan.pinholes = CONF_PINHOLES_OFF; /* V6FW-1: all the same */
	assert_int_equal(count_forbidden(fixture), 1);
	fixture->lab.conf = conf;
	fixture->lab.conf.wan.nat = false;
	assert_int_equal(count_forbidden(fixture), 3);
	fixture->lab.conf = conf;
	*protocols = LAN_PROTOCOL_UPNP;
	assert_int_equal(count_forbidden(fixture), 3);
	*protocols = 0; /* it is no LAN any more */
	assert_int_equal(count_forbidden(fixture), 4);
	fixture->lab.conf.keep_forbidden = true;
	assert_int_equal(count_forbidden(fixture), 0);
	/* another LAN has its place: nobody's */
	ledger_follow_lans(fixture->lab.ledger, &fixture->lab.network, 1);
	assert_int_equal(count_forbidden(fixture), 4);
	ledger_follow_lans(fixture->lab.ledger, &fixture->lab.network, 0);
	assert_int_equal(count_forbidden(fixture), 0);
}

/* A LAN that nobody has named may come late; one that was taken out does not. */
static void test_lan_is_not_there(void **state)
{
	struct fixture *fixture = *state;

	map_all(fixture);
	fixture->lab.network.lan_count = 0;
	ledger_follow_lans(fixture->lab.ledger, &fixture->lab.network, 0);
	assert_int_equal(count_forbidden(fixture), 0);
	fixture->lab.conf.lan_count = 1;
	assert_int_equal(count_forbidden(fixture), 4);
}

/* The owner's own lease stays; what is told of it is what a restart would tell. */
static void test_lan_that_left_has_no_name(void **state)
{
	struct fixture *fixture = *state;
	struct lan_info *lan = &fixture->lab.network.lans[0];

	assert_string_equal(ledger_get_lan_name(fixture->lab.ledger, 0), lan->name);
	lan->protocols = 0;
	ledger_follow_lans(fixture->lab.ledger, &fixture->lab.network, 0);
	assert_string_equal(ledger_get_lan_name(fixture->lab.ledger, 0), "");
	/* but the books have it, for a start where it is a LAN again */
	assert_string_equal(fixture->lab.ledger->books.lan_names[0], lan->name);
}

static int end_forbidden(struct fixture *fixture, const uint64_t *ids, size_t count,
			 size_t *ended)
{
	return ledger_end_forbidden(fixture->lab.ledger, ids, count, &fixture->lab.at,
				    ended);
}

static void test_ends(void **state)
{
	struct fixture *fixture = *state;
	uint64_t ids[8];
	size_t count, ended = 0;

	map_all(fixture);
	count = get_ids(fixture, ids, 8);
	deny_from(fixture, PORT + 1);
	assert_int_equal(end_forbidden(fixture, ids, count, &ended), 0);
	assert_int_equal(ended, 3);
	assert_int_equal(fixture->ended, 3);
	assert_int_equal(fixture->why, LEASE_END_POLICY);
	assert_int_equal(count_leases(fixture), 2);
	assert_int_equal(count_rules(fixture), 2);
	/* the same again, some of which are no more */
	assert_int_equal(end_forbidden(fixture, ids, count, &ended), 0);
	assert_int_equal(ended, 3);
	open_ledger(fixture);
	assert_int_equal(count_leases(fixture), 2);
}

/* Nothing has ended then, for anybody; and it does when it is asked again. */
static void test_firewall_refuses(void **state)
{
	struct fixture *fixture = *state;
	uint64_t ids[8];
	size_t count, ended = 0;

	map_all(fixture);
	count = get_ids(fixture, ids, 8);
	deny_from(fixture, PORT);
	memory_plan_fault(fixture->lab.ledger->books.backend, 1, EBUSY);
	assert_int_equal(end_forbidden(fixture, ids, count, &ended), -EBUSY);
	assert_int_equal(ended, 0);
	assert_int_equal(fixture->ended, 0);
	assert_int_equal(fixture->disturbed, 1);
	assert_int_equal(count_leases(fixture), 5);
	assert_int_equal(count_rules(fixture), 5);
	assert_int_equal(end_forbidden(fixture, ids, count, &ended), 0);
	assert_int_equal(ended, 4);
	assert_int_equal(count_leases(fixture), 1);
	assert_int_equal(count_rules(fixture), 1);
}

/* PCP-116: a set ends as one, and its ports are counted. */
static void test_set_ends_as_one(void **state)
{
	struct fixture *fixture = *state;
	struct request request = {.op = REQUEST_MAP,
				  .origin = ORIGIN_PCP,
				  .protocol = IPPROTO_UDP,
				  .enabled = 1,
				  .client = ledger_lab_address(C1),
				  .internal = ledger_lab_address(C1),
				  .internal_port = PORT,
				  .external_port = PORT,
				  .port_count = 4,
				  .lifetime_s = 7200};
	uint64_t ids[8];
	size_t count, ended = 0;

	assert_int_equal(decide(fixture, &request), RESULT_OK);
	count = get_ids(fixture, ids, 8);
	assert_int_equal(count, 4);
	deny_from(fixture, PORT + 4);
	assert_int_equal(count_forbidden(fixture), 0);
	deny_from(fixture, PORT + 3);
	assert_int_equal(count_forbidden(fixture), 4);
	assert_int_equal(end_forbidden(fixture, ids, count, &ended), 0);
	assert_int_equal(ended, 4);
	assert_int_equal(count_leases(fixture), 0);
}

/* At start, some more than go at a time; the others come back. */
static void test_another_start(void **state)
{
	struct fixture *fixture = *state;

	for (uint16_t i = 0; i < 2 * LEDGER_ENDS_MAX + 2; i++)
		map(fixture, ORIGIN_NATPMP, C1, (uint16_t)(PORT + i));
	map(fixture, ORIGIN_STATIC, C1, PORT + 2000);
	deny_from(fixture, PORT + 1);
	fixture->lab.conf.keep_forbidden = true;
	open_ledger(fixture);
	assert_int_equal(count_leases(fixture), 2 * LEDGER_ENDS_MAX + 3);
	fixture->lab.conf.keep_forbidden = false;
	for (int start = 0; start < 2; start++) {
		open_ledger(fixture);
		assert_int_equal(count_leases(fixture), 2);
		assert_int_equal(count_rules(fixture), 2);
		assert_false(ledger_get_figures(fixture->lab.ledger)->store_failed);
	}
}

static void test_rate_follows(void **state)
{
	struct fixture *fixture = *state;
	struct request request = {.op = REQUEST_UNMAP,
				  .origin = ORIGIN_NATPMP,
				  .protocol = IPPROTO_UDP,
				  .client = ledger_lab_address(C1),
				  .internal = ledger_lab_address(C1),
				  .internal_port = PORT};
	unsigned int refused = 0;

	for (int i = 0; i < 10; i++)
		assert_int_not_equal(decide(fixture, &request), RESULT_RATE);
	fixture->lab.conf.limits.requests_per_second = 3;
	ledger_follow_conf(fixture->lab.ledger);
	for (int i = 0; i < 10; i++)
		refused += decide(fixture, &request) == RESULT_RATE ? 1 : 0;
	assert_int_equal(refused, 7);
	fixture->lab.conf.limits.requests_per_second = 0;
	ledger_follow_conf(fixture->lab.ledger);
	assert_int_not_equal(decide(fixture, &request), RESULT_RATE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, ledger_lab_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_what_is_forbidden),
		TEST(test_lan_is_not_there),
		TEST(test_lan_that_left_has_no_name),
		TEST(test_ends),
		TEST(test_firewall_refuses),
		TEST(test_set_ends_as_one),
		TEST(test_another_start),
		TEST(test_rate_follows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
