/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Leases that end or move with their machine, on virtual time, with a real store and a
 * firewall in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "backends/memory.h"
#include "daemon/ledger_private.h"
#include "daemon/ports.h"
#include "daemon/table.h"
#include "test/unit/ledger_lab.h"

#define A "192.168.77.2"
#define B "192.168.77.40"
#define STRANGER "192.168.77.3"
#define A6 "2001:db8:1::2"
#define B6 "2001:db8:2::2"
#define PORT 5000
#define LIFETIME_S 7200
#define EVENTS_MAX 1024

/* The reallocations since it was armed; the how manieth fails, 0 = none. */
static struct {
	unsigned int count;
	unsigned int fails;
} memory;

/* In the place of the C library's, for the whole program. */
void *fault_grow_array(void *array, size_t count, size_t size) __asm__("reallocarray");

void *fault_grow_array(void *array, size_t count, size_t size)
{
	size_t octets;

	if (++memory.count == memory.fails ||
	    __builtin_mul_overflow(count, size, &octets)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(array, octets);
}

struct fixture {
	struct ledger_lab lab;
	struct backend_ops counting;
	struct request request;
	struct reply reply;
	uint8_t mac[LEASE_MAC_SIZE]; /* that asks */
	bool is_known;
	size_t event_count;
	struct {
		enum lease_event event;
		enum lease_end why;
		uint64_t id;
	} events[EVENTS_MAX];
	uint64_t unasked; /* told of last */
};

static void take_lease(void *user, enum lease_event event, const struct lease *lease)
{
	struct fixture *fixture = user;

	if (fixture->event_count == EVENTS_MAX)
		return;
	fixture->events[fixture->event_count].event = event;
	fixture->events[fixture->event_count].why = ledger_get_end(fixture->lab.ledger);
	fixture->events[fixture->event_count++].id = lease->id;
}

static void take_unasked(void *user, const struct lease *lease)
{
	struct fixture *fixture = user;

	fixture->unasked = lease->id;
}

static bool find_mac(void *user, const struct ip_addr *host,
		     uint8_t mac[LEASE_MAC_SIZE])
{
	const struct fixture *fixture = user;

	(void)host;
	if (fixture->is_known)
		memcpy(mac, fixture->mac, LEASE_MAC_SIZE);
	return fixture->is_known;
}

static void open_ledger(struct fixture *fixture)
{
	static const struct ledger_events events = {
		.lease = take_lease,
		.disturbed = ledger_lab_ignore_disturbed,
		.unasked = take_unasked,
		.find_mac = find_mac,
	};

	ledger_lab_open(&fixture->lab, &events, fixture);
}

static int setup(void **state)
{
	struct fixture *fixture = ledger_lab_new(sizeof(*fixture));

	fixture->lab.conf.limits.leases_per_client = 0;
	fixture->is_known = true;
	fixture->mac[0] = 2;
	*state = fixture;
	open_ledger(fixture);
	return 0;
}

static struct request *ask(struct fixture *fixture, enum origin origin,
			   const char *host, uint16_t port)
{
	enum request_op op = origin == ORIGIN_PCP || origin == ORIGIN_NATPMP
				     ? REQUEST_MAP
				     : REQUEST_ADD;

	fixture->request = (struct request){.op = (uint8_t)op,
					    .origin = (uint8_t)origin,
					    .protocol = IPPROTO_UDP,
					    .enabled = 1,
					    .igd_version = 1,
					    .client = ledger_lab_address(host),
					    .internal = ledger_lab_address(host),
					    .internal_port = port,
					    .external_port = port,
					    .lifetime_s = LIFETIME_S};
	return &fixture->request;
}

static enum result decide(struct fixture *fixture)
{
	ledger_decide(fixture->lab.ledger, &fixture->request, 1, &fixture->reply,
		      &fixture->lab.at);
	return (enum result)fixture->reply.result;
}

static void add(struct fixture *fixture, enum origin origin, const char *host,
		uint16_t port)
{
	(void)ask(fixture, origin, host, port);
	assert_int_equal(decide(fixture), RESULT_OK);
}

static int move(struct fixture *fixture, const char *from, const char *to)
{
	struct ledger_move what = {.from = ledger_lab_address(from),
				   .to = ledger_lab_address(to)};

	memcpy(what.mac, fixture->mac, sizeof(what.mac));
	fixture->event_count = 0;
	return ledger_move_machine(fixture->lab.ledger, &what, &fixture->lab.at);
}

static int end_strangers(struct fixture *fixture, const char *host, uint8_t machine)
{
	struct ip_addr addr = ledger_lab_address(host);
	uint8_t mac[LEASE_MAC_SIZE] = {2, 0, 0, 0, 0, machine};

	fixture->event_count = 0;
	return ledger_end_strangers(fixture->lab.ledger, &addr, mac, &fixture->lab.at);
}

static const struct table *get_table(const struct fixture *fixture)
{
	return ledger_get_table(fixture->lab.ledger);
}

static const struct lease *find(const struct fixture *fixture, const char *host,
				uint16_t port, uint8_t protocol)
{
	struct ip_addr addr = ledger_lab_address(host);

	return table_get_by_internal(get_table(fixture), &addr, protocol, port);
}

static bool has(const struct fixture *fixture, const char *host, uint16_t port)
{
	return find(fixture, host, port, IPPROTO_UDP) != NULL;
}

static size_t count_at(const struct fixture *fixture, const char *host)
{
	struct ip_addr addr = ledger_lab_address(host);
	const struct lease *lease = table_get_first_of_home(get_table(fixture), &addr);
	size_t count = 0;

	for (; lease; lease = table_get_next_of_home(get_table(fixture), lease))
		count++;
	return count;
}

static size_t count_rules(const struct fixture *fixture)
{
	return memory_get_count(fixture->lab.ledger->books.backend);
}

/* All that it was, at another address: the port at once, and the rest of it too. */
static void test_move(void **state)
{
	struct fixture *fixture = *state;
	const struct lease *lease;
	struct lease before;
	uint32_t update_id;

	add(fixture, ORIGIN_NATPMP, A, PORT);
	ask(fixture, ORIGIN_NATPMP, A, PORT)->protocol = IPPROTO_TCP;
	assert_int_equal(decide(fixture), RESULT_OK);
	memset(ask(fixture, ORIGIN_PCP, A, PORT + 1)->nonce, 7, NONCE_SIZE);
	fixture->request.client_port = 40000;
	assert_int_equal(decide(fixture), RESULT_OK);
	add(fixture, ORIGIN_IGD, A, PORT + 2);
	add(fixture, ORIGIN_IGD, STRANGER, PORT + 3);
	before = *find(fixture, A, PORT + 1, IPPROTO_UDP);
	fixture->lab.at.now_ms += 1000;
	update_id = ledger_get_update_ids(fixture->lab.ledger)[0];
	assert_int_equal(move(fixture, A, B), 0);
	assert_int_equal(ledger_get_update_ids(fixture->lab.ledger)[0] - update_id, 1);
	assert_int_equal(count_at(fixture, A), 0);
	assert_int_equal(count_at(fixture, B), 4);
	assert_int_equal(count_rules(fixture), 5);
	lease = find(fixture, B, PORT + 1, IPPROTO_UDP);
	assert_non_null(lease);
	assert_true(lease->id > before.id && lease->outbound && lease->has_nonce);
	assert_memory_equal(lease->nonce, before.nonce, NONCE_SIZE);
	assert_int_equal(lease->external_port, before.external_port);
	assert_true(lease->expires_ms == before.expires_ms);
	assert_true(addr_equal(&lease->client, &lease->internal));
	assert_int_equal(lease->client_port, 40000);
	assert_true(lease->has_mac);
	/* what has gone is told first, then what has come */
	assert_int_equal(fixture->event_count, 8);
	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(fixture->events[i].event,
				 i < 4 ? LEASE_EVENT_DELETED : LEASE_EVENT_ADDED);
		assert_int_equal(fixture->events[i].why, LEASE_END_MOVED);
	}
	assert_int_not_equal(fixture->unasked, 0);
	/* its client renews it there, and nobody else may have it */
	memset(ask(fixture, ORIGIN_PCP, B, PORT + 1)->nonce, 7, NONCE_SIZE);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(fixture->reply.external_port, PORT + 1);
	(void)ask(fixture, ORIGIN_IGD, A, PORT + 2);
	assert_int_equal(decide(fixture), RESULT_CONFLICT);
}

/* The count of who holds what is right, and the move is on the disk. */
static void test_move_is_kept(void **state)
{
	struct fixture *fixture = *state;
	struct ip_addr a = ledger_lab_address(A), b = ledger_lab_address(B);

	for (uint16_t i = 0; i < 3; i++)
		add(fixture, ORIGIN_IGD, A, (uint16_t)(PORT + i));
	assert_int_equal(move(fixture, A, B), 0);
	assert_int_equal(table_get_count_of_client(get_table(fixture), &a), 0);
	assert_int_equal(table_get_count_of_client(get_table(fixture), &b), 3);
	open_ledger(fixture);
	assert_int_equal(count_at(fixture, A), 0);
	assert_int_equal(count_at(fixture, B), 3);
	assert_int_equal(count_rules(fixture), 3);
	assert_true(find(fixture, B, PORT, IPPROTO_UDP)->has_mac);
	assert_int_equal(end_strangers(fixture, B, 9), 0);
	assert_int_equal(count_at(fixture, B), 0);
}

/* The owner's stay, and the port that they hold; the lease beside them ends. */
static void test_static_stays(void **state)
{
	struct fixture *fixture = *state;

	add(fixture, ORIGIN_STATIC, A, PORT);
	ask(fixture, ORIGIN_IGD, A, PORT)->protocol = IPPROTO_TCP;
	assert_int_equal(decide(fixture), RESULT_OK);
	add(fixture, ORIGIN_IGD, A, PORT + 1);
	assert_int_equal(move(fixture, A, B), 0);
	assert_true(has(fixture, A, PORT));
	assert_null(find(fixture, A, PORT, IPPROTO_TCP));
	assert_null(find(fixture, B, PORT, IPPROTO_TCP));
	assert_true(has(fixture, B, PORT + 1));
	assert_int_equal(fixture->events[0].why, LEASE_END_HOST);
	assert_int_equal(end_strangers(fixture, A, 9), 0);
	assert_true(has(fixture, A, PORT));
}

/* The machine asked for the same where it is now, before it was found there. */
static void test_mapping_is_there(void **state)
{
	struct fixture *fixture = *state;

	add(fixture, ORIGIN_NATPMP, A, PORT);
	add(fixture, ORIGIN_NATPMP, B, PORT);
	assert_int_not_equal(fixture->reply.external_port, PORT);
	assert_int_equal(move(fixture, A, B), 0);
	assert_int_equal(count_at(fixture, A), 0);
	assert_int_equal(count_at(fixture, B), 1);
	assert_int_equal(fixture->event_count, 1);
	assert_int_equal(fixture->events[0].why, LEASE_END_HOST);
}

/* PCP-116: a set goes as a whole, or ends as a whole. */
static void test_set(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned int round = 0; round < 2; round++) {
		ask(fixture, ORIGIN_PCP, A, PORT)->port_count = 4;
		assert_int_equal(decide(fixture), RESULT_OK);
		assert_int_equal(fixture->reply.port_count, 4);
		if (round == 1)
			add(fixture, ORIGIN_NATPMP, B, PORT + 2);
		assert_int_equal(move(fixture, A, B), 0);
		assert_int_equal(count_at(fixture, A), 0);
		assert_int_equal(count_at(fixture, B), round == 0 ? 4 : 1);
		fixture->lab.at.now_ms += LIFETIME_S * INT64_C(1000) + PORT_REST_MS;
		(void)ledger_expire(fixture->lab.ledger, &fixture->lab.at);
	}
}

/* The rules hold at the new address, too. */
static void test_rules(void **state)
{
	struct fixture *fixture = *state;
	const char text[] = "[policy]\nrule = allow external 1024-65535 "
			    "internal 1-65535 client " A "/32\nrule = deny\n";
	char error[CONF_ERROR_MAX];
	struct conf conf = fixture->lab.conf;

	assert_int_equal(conf_parse("test", text, sizeof(text) - 1, &conf, error), 0);
	memcpy(fixture->lab.conf.rules, conf.rules, sizeof(conf.rules));
	fixture->lab.conf.rule_count = conf.rule_count;
	add(fixture, ORIGIN_IGD, A, PORT);
	assert_int_equal(move(fixture, A, B), 0);
	assert_int_equal(count_at(fixture, A) + count_at(fixture, B), 0);
	assert_int_equal(fixture->events[0].why, LEASE_END_HOST);
}

/* V6FW-8: a pinhole keeps its name; its address outside is another one. */
static void test_pinhole(void **state)
{
	struct fixture *fixture = *state;
	uint16_t unique;

	ask(fixture, ORIGIN_IGD, A6, PORT)->op = REQUEST_PINHOLE;
	assert_int_equal(decide(fixture), RESULT_OK);
	unique = fixture->reply.pinhole;
	assert_int_equal(move(fixture, A6, B6), 0);
	assert_int_equal(find(fixture, B6, PORT, IPPROTO_UDP)->pinhole, unique);
	assert_ptr_equal(table_get_by_pinhole(get_table(fixture), unique),
			 find(fixture, B6, PORT, IPPROTO_UDP));
	/* the same is there already: the one that was there stays */
	ask(fixture, ORIGIN_IGD, A6, PORT)->op = REQUEST_PINHOLE;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(move(fixture, A6, B6), 0);
	assert_int_equal(count_at(fixture, A6), 0);
	assert_int_equal(count_at(fixture, B6), 1);
	assert_int_equal(find(fixture, B6, PORT, IPPROTO_UDP)->pinhole, unique);
}

static uint64_t packets; /* counted by each rule there is */

static int count_packets(struct backend *backend, const struct rule *rule,
			 struct rule_counters *out)
{
	(void)backend;
	(void)rule;
	*out = (struct rule_counters){.packets = packets};
	return 0;
}

/* V6FW-11: what its packets were at the old address counts at the new one. */
static void test_pinhole_keeps_its_count(void **state)
{
	struct fixture *fixture = *state;
	struct ledger *ledger;

	fixture->counting = *backend_get_memory();
	fixture->counting.counters = count_packets;
	fixture->lab.backend = &fixture->counting;
	open_ledger(fixture);
	ledger = fixture->lab.ledger;
	ask(fixture, ORIGIN_IGD, A6, PORT)->op = REQUEST_PINHOLE;
	assert_int_equal(decide(fixture), RESULT_OK);
	packets = 5;
	assert_int_equal(move(fixture, A6, B6), 0);
	packets = 2;
	assert_int_equal(ledger_count_pinhole(ledger,
					      find(fixture, B6, PORT, IPPROTO_UDP),
					      fixture->lab.at.now_ms),
			 7);
	packets = 0;
}

/* The firewall refuses: nothing has happened, and it works when it is tried again. */
static void test_backend_fails(void **state)
{
	struct fixture *fixture = *state;
	struct backend *backend = fixture->lab.ledger->books.backend;

	add(fixture, ORIGIN_IGD, A, PORT);
	add(fixture, ORIGIN_IGD, A, PORT + 1);
	memory_plan_fault(backend, 1, EBUSY);
	assert_int_equal(move(fixture, A, B), -EBUSY);
	assert_int_equal(count_at(fixture, A), 2);
	assert_int_equal(count_at(fixture, B), 0);
	assert_int_equal(fixture->event_count, 0);
	memory_plan_fault(backend, 1, EBUSY);
	assert_int_equal(end_strangers(fixture, A, 9), -EBUSY);
	assert_int_equal(count_at(fixture, A), 2);
	assert_int_equal(move(fixture, A, B), 0);
	assert_int_equal(count_at(fixture, B), 2);
	/* it will never have a place for them */
	memory_plan_fault(backend, 1, EOPNOTSUPP);
	assert_int_equal(move(fixture, B, A), 0);
	assert_int_equal(count_at(fixture, A) + count_at(fixture, B), 0);
	assert_int_equal(count_rules(fixture), 0);
}

static void plan_no_memory(unsigned int number)
{
	memory.count = 0;
	memory.fails = number;
}

/* Memory ends after some of them: all are there, in the firewall too. */
static void test_no_memory(void **state)
{
	struct fixture *fixture = *state;
	unsigned int number = 0;
	int error;

	for (uint16_t i = 0; i < 3; i++)
		add(fixture, ORIGIN_IGD, A, PORT + i);
	do {
		plan_no_memory(++number);
		error = end_strangers(fixture, A, 9);
		plan_no_memory(0);
		if (error == 0)
			break;
		assert_int_equal(error, -ENOMEM);
		assert_int_equal(fixture->event_count, 0);
		assert_int_equal(count_at(fixture, A), 3);
		for (uint16_t i = 0; i < 3; i++)
			assert_true(has(fixture, A, PORT + i));
		assert_int_equal(count_rules(fixture), 3);
	} while (number < 10);
	/* one of the failures was behind the first lease */
	assert_true(number > 2 && number < 10);
	assert_int_equal(count_at(fixture, A), 0);
	assert_int_equal(count_rules(fixture), 0);
}

/* A full disk stops no move; there is room again, and everything is written. */
static void test_store_fails(void **state)
{
	struct fixture *fixture = *state;
	struct rlimit limit, none;

	add(fixture, ORIGIN_IGD, A, PORT);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(move(fixture, A, B), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_true(ledger_get_figures(fixture->lab.ledger)->store_failed);
	assert_true(has(fixture, B, PORT));
	assert_true(ledger_mend_store(fixture->lab.ledger, &fixture->lab.at));
	open_ledger(fixture);
	assert_true(has(fixture, B, PORT));
	assert_int_equal(count_at(fixture, A), 0);
}

/* More than go in one transaction end, a bounded number at a time. */
static void test_too_many(void **state)
{
	struct fixture *fixture = *state;
	unsigned int calls = 1;

	for (uint16_t i = 0; i < 2 * PLAN_MOVE_MAX; i++)
		add(fixture, ORIGIN_IGD, A, (uint16_t)(2 * PORT + i));
	while (move(fixture, A, B) == -EAGAIN) {
		assert_in_range(fixture->event_count, 1, LEDGER_ENDS_MAX);
		calls++;
	}
	assert_in_range(calls, 2, 4);
	assert_int_equal(count_at(fixture, A), 0);
	assert_in_range(count_at(fixture, B), 0, PLAN_MOVE_MAX);
	assert_int_equal(count_rules(fixture), count_at(fixture, B));
}

/* Only what was given to another machine ends; what nobody knows of stays. */
static void test_strangers(void **state)
{
	struct fixture *fixture = *state;

	add(fixture, ORIGIN_IGD, A, PORT);
	fixture->mac[LEASE_MAC_SIZE - 1] = 5;
	add(fixture, ORIGIN_IGD, A, PORT + 1);
	fixture->is_known = false;
	add(fixture, ORIGIN_IGD, A, PORT + 2);
	assert_int_equal(end_strangers(fixture, A, 5), 0);
	assert_int_equal(fixture->event_count, 1);
	assert_int_equal(fixture->events[0].why, LEASE_END_HOST);
	assert_false(has(fixture, A, PORT));
	assert_true(has(fixture, A, PORT + 1) && has(fixture, A, PORT + 2));
	assert_int_equal(end_strangers(fixture, A, 5), 0);
	assert_int_equal(fixture->event_count, 0);
}

/* Whoever renews has it; what is known later is on the disk, and nobody is told. */
static void test_whose(void **state)
{
	struct fixture *fixture = *state;
	struct ip_addr a = ledger_lab_address(A);
	size_t events;

	fixture->is_known = false;
	add(fixture, ORIGIN_NATPMP, A, PORT);
	assert_false(find(fixture, A, PORT, IPPROTO_UDP)->has_mac);
	events = fixture->event_count;
	ledger_note_machine(fixture->lab.ledger, &a, fixture->mac, &fixture->lab.at);
	assert_int_equal(fixture->event_count, events);
	open_ledger(fixture);
	assert_true(find(fixture, A, PORT, IPPROTO_UDP)->has_mac);
	fixture->is_known = true;
	fixture->mac[LEASE_MAC_SIZE - 1] = 5;
	fixture->lab.at.now_ms += 1000;
	add(fixture, ORIGIN_NATPMP, A, PORT);
	assert_int_equal(end_strangers(fixture, A, 5), 0);
	assert_true(has(fixture, A, PORT));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, ledger_lab_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_move),
		TEST(test_move_is_kept),
		TEST(test_static_stays),
		TEST(test_mapping_is_there),
		TEST(test_set),
		TEST(test_rules),
		TEST(test_pinhole),
		TEST(test_backend_fails),
		TEST(test_pinhole_keeps_its_count),
		TEST(test_no_memory),
		TEST(test_store_fails),
		TEST(test_too_many),
		TEST(test_strangers),
		TEST(test_whose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
