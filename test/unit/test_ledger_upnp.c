/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What UPnP adds to the ledger: the number of changes, pages of a listing, pinholes and
 * their packets; on virtual time, with a real store and a firewall that counts what it
 * is told to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends/memory.h"
#include "daemon/ledger_private.h"
#include "daemon/table.h"
#include "test/unit/ledger_lab.h"
#include "test/unit/log_lab.h"

#define C1 "192.168.77.2"
#define C2 "192.168.77.3"
#define V6 "2001:db8:77::2"
#define V6_2 "2001:db8:77::3"
#define R1 "2001:db8:99::1"
#define PORT 5000
#define LIFETIME_S 7200
/* Leases that need three pages. */
#define MANY ((uint16_t)(2 * REQUEST_LIST_MAX + 5))

struct fixture {
	struct ledger_lab lab;
	bool no_ipv6;	   /* of the firewall */
	bool are_one_host; /* what core finds out of C1 and V6 */
	struct request requests[LEDGER_GROUP_MAX];
	struct reply replies[LEDGER_GROUP_MAX];
	struct reply page[REQUEST_LIST_MAX + 1];
};

/* Packets that the firewall has counted since the rule was made anew. */
static uint64_t packets;

static int count_packets(struct backend *backend, const struct rule *rule,
			 struct rule_counters *out)
{
	(void)backend;
	(void)rule;
	*out = (struct rule_counters){.packets = packets};
	return 0;
}

static bool same_host(void *user, uint16_t lan, const struct ip_addr *a,
		      const struct ip_addr *b)
{
	const struct fixture *fixture = user;
	const struct ip_addr c1 = ledger_lab_address(C1), v6 = ledger_lab_address(V6);

	return fixture->are_one_host && lan == 0 && addr_equal(a, &c1) &&
	       addr_equal(b, &v6);
}

static unsigned int get_no_ipv6(const struct backend *backend)
{
	(void)backend;
	return BACKEND_TROUBLE_NO_IPV6;
}

static void open_ledger(struct fixture *fixture)
{
	static const struct ledger_events events = {.lease = ledger_lab_ignore_lease,
						    .disturbed =
							    ledger_lab_ignore_disturbed,
						    .same_host = same_host};
	static struct backend_ops counting;

	counting = *backend_get_memory();
	counting.counters = count_packets;
	if (fixture->no_ipv6)
		counting.get_troubles = get_no_ipv6;
	fixture->lab.backend = &counting;
	ledger_lab_open(&fixture->lab, &events, fixture);
}

static int setup(void **state)
{
	struct fixture *fixture = ledger_lab_new(sizeof(*fixture));

	fixture->lab.conf.limits.leases_per_client = 0;
	fixture->lab.conf.limits.igd_lifetime_max_s = 604800;
	packets = 0;
	*state = fixture;
	open_ledger(fixture);
	return 0;
}

static void pass_time(struct fixture *fixture, int64_t ms)
{
	ledger_lab_pass_time(&fixture->lab, ms);
	(void)ledger_expire(fixture->lab.ledger, &fixture->lab.at);
}

static struct request *fill(struct request *request, enum request_op op,
			    const char *host, uint16_t port)
{
	*request = (struct request){.op = (uint8_t)op,
				    .origin = ORIGIN_IGD,
				    .protocol = IPPROTO_UDP,
				    .enabled = 1,
				    .igd_version = 2,
				    .client = ledger_lab_address(host),
				    .internal = ledger_lab_address(host),
				    .internal_port = port,
				    .external_port = port,
				    .lifetime_s = LIFETIME_S};
	return request;
}

static struct request *ask(struct fixture *fixture, enum request_op op,
			   const char *host, uint16_t port)
{
	return fill(&fixture->requests[0], op, host, port);
}

static enum result decide(struct fixture *fixture)
{
	ledger_decide(fixture->lab.ledger, fixture->requests, 1, fixture->replies,
		      &fixture->lab.at);
	return (enum result)fixture->replies[0].result;
}

static void add(struct fixture *fixture, const char *host, uint16_t port)
{
	ask(fixture, REQUEST_ADD, host, port);
	assert_int_equal(decide(fixture), RESULT_OK);
}

/* How many changes clients have heard of since it was asked last. */
static uint32_t get_step(struct fixture *fixture)
{
	static uint32_t last;
	uint32_t now = ledger_get_update_ids(fixture->lab.ledger)[0];
	uint32_t step = now - last;

	last = now;
	return step;
}

/* --- SystemUpdateID --- */

/* IGD-36: one for each operation that adds, changes or ends; none for a renewal. */
static void test_igd36_operations(void **state)
{
	struct fixture *fixture = *state;

	(void)get_step(fixture);
	add(fixture, C1, PORT);
	assert_int_equal(get_step(fixture), 1);
	pass_time(fixture, 1000);
	add(fixture, C1, PORT);
	assert_int_equal(get_step(fixture), 0);
	ask(fixture, REQUEST_ADD, C1, PORT)->enabled = 0;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(get_step(fixture), 1);
	memcpy(ask(fixture, REQUEST_ADD, C1, PORT)->description, "text", 5);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(get_step(fixture), 1);
	ask(fixture, REQUEST_ADD, C2, PORT);
	assert_int_equal(decide(fixture), RESULT_CONFLICT);
	ask(fixture, REQUEST_GET, C1, PORT);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(get_step(fixture), 0);
	ask(fixture, REQUEST_DELETE, C1, PORT);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(get_step(fixture), 1);
}

/* A range is one operation, a set of ports is, and each lease that expires. */
static void test_igd36_several_as_one(void **state)
{
	struct fixture *fixture = *state;
	struct request *request;

	for (uint16_t i = 0; i < 3; i++)
		add(fixture, C1, (uint16_t)(PORT + i));
	(void)get_step(fixture);
	ask(fixture, REQUEST_DELETE_RANGE, C1, 1)->external_last = UINT16_MAX;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(get_step(fixture), 1);
	request = ask(fixture, REQUEST_MAP, C1, PORT);
	request->origin = ORIGIN_PCP;
	request->port_count = 4;
	fixture->lab.conf.limits.ports_per_request = 4;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(fixture->replies[0].port_count, 4);
	assert_int_equal(get_step(fixture), 1);
	add(fixture, C2, PORT + 10);
	assert_int_equal(get_step(fixture), 1);
	pass_time(fixture, INT64_C(1000) * LIFETIME_S);
	assert_int_equal(table_get_count(fixture->lab.ledger->table), 0);
	assert_int_equal(get_step(fixture), 2);
}

/* Neither a flow of PEER nor a pinhole is a mapping that UPnP lists. */
static void test_igd36_flows_and_pinholes(void **state)
{
	struct fixture *fixture = *state;
	struct request *request = ask(fixture, REQUEST_PEER, C1, PORT);

	(void)get_step(fixture);
	request->origin = ORIGIN_PCP;
	request->remote = ledger_lab_address("198.51.100.1");
	request->remote_port = 443;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(get_step(fixture), 0);
	ask(fixture, REQUEST_PINHOLE, V6, PORT);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(get_step(fixture), 0);
	assert_int_equal(table_get_listing_count(fixture->lab.ledger->table, 0), 0);
	add(fixture, C1, PORT + 1);
	assert_int_equal(table_get_listing_count(fixture->lab.ledger->table, 0), 1);
}

/* A LAN learns of nothing that goes on in another; a host that moves is seen in both.
 */
static void test_igd36_lans(void **state)
{
	struct fixture *fixture = *state;
	const uint32_t *ids = ledger_get_update_ids(fixture->lab.ledger);

	add(fixture, C1, PORT);
	ask(fixture, REQUEST_ADD, C2, PORT + 1)->lan = 3;
	assert_int_equal(decide(fixture), RESULT_OK);
	ask(fixture, REQUEST_ADD, C2, PORT + 2)->lan = 3;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(ids[0], 1);
	assert_int_equal(ids[3], 2);
	ask(fixture, REQUEST_ADD, C2, PORT + 2)->lan = 3;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(ids[3], 2);
	ask(fixture, REQUEST_ADD, C2, PORT + 2);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(ids[0], 2);
	assert_int_equal(ids[3], 3);
	assert_int_equal(table_get_listing_count(fixture->lab.ledger->table, 0), 2);
	assert_int_equal(table_get_listing_count(fixture->lab.ledger->table, 3), 1);
	/* one operation may be seen in both */
	ask(fixture, REQUEST_DELETE_RANGE, C2, 1)->external_last = UINT16_MAX;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(ids[0], 3);
	assert_int_equal(ids[3], 4);
}

/* What the firewall refused has not happened; of a group each that was done counts. */
static void test_igd36_groups(void **state)
{
	struct fixture *fixture = *state;

	(void)get_step(fixture);
	for (uint16_t i = 0; i < 4; i++)
		fill(&fixture->requests[i], REQUEST_ADD, C1, (uint16_t)(PORT + i));
	memory_plan_fault(fixture->lab.ledger->books.backend, 1, EBUSY);
	ledger_decide(fixture->lab.ledger, fixture->requests, 4, fixture->replies,
		      &fixture->lab.at);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(fixture->replies[i].result, RESULT_OK);
	assert_int_equal(get_step(fixture), 4);
	ask(fixture, REQUEST_ADD, C1, PORT + 9);
	memory_plan_fault(fixture->lab.ledger->books.backend, 1, EEXIST);
	assert_int_equal(decide(fixture), RESULT_OK); /* alone it does */
	assert_int_equal(get_step(fixture), 1);
	open_ledger(fixture);
	assert_int_equal(ledger_get_update_ids(fixture->lab.ledger)[0], 0);
}

/* --- GetListOfPortMappings --- */

static size_t list(struct fixture *fixture, const char *host, uint64_t after)
{
	struct request *request = ask(fixture, REQUEST_LIST, host, 1);

	request->external_last = 30000;
	request->after = after;
	assert_int_equal(decide(fixture), RESULT_OK);
	return ledger_list(fixture->lab.ledger, request, &fixture->replies[0],
			   &fixture->lab.at, fixture->page);
}

/* IGD-34, IGD-35: page by page, each lease once, by port whatever came first. */
static void test_igd34_pages(void **state)
{
	struct fixture *fixture = *state;
	size_t seen = 0, count;
	uint64_t after = 0;
	uint16_t last = 0;

	for (uint16_t i = 0; i < MANY; i++)
		add(fixture, i % 4 == 3 ? C2 : C1, (uint16_t)(PORT + i * 1009 % MANY));
	do {
		count = list(fixture, C1, after);
		assert_true(count > 1 && count <= REQUEST_LIST_MAX + 1);
		for (size_t i = 0; i + 1 < count; i++) {
			assert_int_equal(fixture->page[i].more, 1);
			assert_int_equal(fixture->page[i].lifetime_s, LIFETIME_S);
			assert_true(fixture->page[i].external_port > last);
			last = fixture->page[i].external_port;
			seen++;
		}
		assert_int_equal(fixture->page[count - 1].more, 0);
		assert_int_equal(fixture->page[count - 1].result, RESULT_OK);
		after = fixture->page[count - 1].next;
	} while (after != 0);
	assert_int_equal(seen, MANY - MANY / 4);
}

/* One whole page is the last one, whatever the order that the host's leases are in. */
static void test_igd34_page_is_full(void **state)
{
	struct fixture *fixture = *state;
	size_t count;

	for (int i = 0; i < REQUEST_LIST_MAX + 8; i++)
		add(fixture, C1, (uint16_t)(PORT + i));
	for (uint16_t i = 0; i < 8; i++) { /* the last ones move into their places */
		ask(fixture, REQUEST_DELETE, C1, (uint16_t)(PORT + 2 * i));
		assert_int_equal(decide(fixture), RESULT_OK);
	}
	count = list(fixture, C1, 0);
	assert_int_equal(count, REQUEST_LIST_MAX + 1);
	assert_int_equal(fixture->page[count - 1].next, 0);
	for (size_t i = 0; i + 2 < count; i++)
		assert_true(fixture->page[i].external_port <
			    fixture->page[i + 1].external_port);
}

/* IGD-34: a control point that takes a few at a time goes on behind the last port. */
static void test_igd34_from_a_port(void **state)
{
	enum { AT_ONCE = 7 };
	struct fixture *fixture = *state;
	uint16_t start = 1;
	size_t seen = 0, count;

	for (uint16_t i = 0; i < MANY; i++)
		add(fixture, C1, (uint16_t)(PORT + i * 1009 % MANY));
	do {
		struct request *request = ask(fixture, REQUEST_LIST, C1, start);

		request->external_last = UINT16_MAX;
		assert_int_equal(decide(fixture), RESULT_OK);
		count = ledger_list(fixture->lab.ledger, request, &fixture->replies[0],
				    &fixture->lab.at, fixture->page);
		for (size_t i = 0; i < AT_ONCE && i + 1 < count; i++)
			assert_int_equal(fixture->page[i].external_port, PORT + seen++);
		start = (uint16_t)(PORT + seen);
	} while (count > 1);
	assert_int_equal(seen, MANY);
	assert_int_equal(fixture->page[0].result, RESULT_NO_ENTRY);
}

/* One port has several for one remote host each: each is shown once, by age. */
static void test_igd34_same_port(void **state)
{
	struct fixture *fixture = *state;
	char remote[32];
	size_t count;
	uint64_t after;

	add(fixture, C1, PORT + 1);
	for (unsigned int i = 0; i < REQUEST_LIST_MAX + 2; i++) {
		(void)snprintf(remote, sizeof(remote), "198.51.100.%u", 200 - i);
		ask(fixture, REQUEST_ADD, C1, PORT)->remote =
			ledger_lab_address(remote);
		assert_int_equal(decide(fixture), RESULT_OK);
	}
	add(fixture, C1, PORT - 1);
	count = list(fixture, C1, 0);
	assert_int_equal(count, REQUEST_LIST_MAX + 1);
	assert_int_equal(fixture->page[0].external_port, PORT - 1);
	for (unsigned int i = 1; i + 1 < count; i++) {
		struct ip_addr expected;

		(void)snprintf(remote, sizeof(remote), "198.51.100.%u", 201 - i);
		expected = ledger_lab_address(remote);
		assert_true(addr_equal(&fixture->page[i].remote, &expected));
	}
	after = fixture->page[count - 1].next;
	assert_int_equal(list(fixture, C1, after), 5);
	assert_int_equal(fixture->page[2].external_port, PORT);
	assert_int_equal(fixture->page[3].external_port, PORT + 1);
	assert_int_equal(fixture->page[4].next, 0);
}

static void test_igd34_filter(void **state)
{
	struct fixture *fixture = *state;
	struct request *request;

	add(fixture, C1, PORT);
	add(fixture, C1, PORT + 1);
	ask(fixture, REQUEST_ADD, C1, PORT)->protocol = IPPROTO_TCP;
	assert_int_equal(decide(fixture), RESULT_OK);
	ask(fixture, REQUEST_ADD, C1, 40000);
	assert_int_equal(decide(fixture), RESULT_OK);
	request = ask(fixture, REQUEST_PEER, C1, PORT + 2);
	request->origin = ORIGIN_PCP;
	request->remote = ledger_lab_address("198.51.100.1");
	request->remote_port = 443;
	assert_int_equal(decide(fixture), RESULT_OK);
	request = ask(fixture, REQUEST_MAP, C1, PORT + 3); /* every origin */
	request->origin = ORIGIN_PCP;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(list(fixture, C1, 0), 4);
	assert_int_equal(fixture->page[0].external_port, PORT);
	assert_int_equal(fixture->page[1].external_port, PORT + 1);
	assert_int_equal(fixture->page[2].external_port, PORT + 3);
}

/* IGD-34: nothing at all is 730; nothing more is an end. */
static void test_igd34_none(void **state)
{
	struct fixture *fixture = *state;

	add(fixture, C2, PORT);
	assert_int_equal(list(fixture, C1, 0), 1);
	assert_int_equal(fixture->page[0].result, RESULT_NO_ENTRY);
	assert_int_equal(fixture->page[0].more, 0);
	add(fixture, C1, PORT + 1);
	assert_int_equal(list(fixture, C1, UINT64_MAX), 1);
	assert_int_equal(fixture->page[0].result, RESULT_OK);
	assert_int_equal(fixture->page[0].next, 0);
}

/* --- pinholes --- */

static uint16_t open_pinhole(struct fixture *fixture, const char *remote,
			     uint16_t remote_port)
{
	struct request *request = ask(fixture, REQUEST_PINHOLE, V6, PORT);

	if (remote)
		request->remote = ledger_lab_address(remote);
	request->remote_port = remote_port;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_not_equal(fixture->replies[0].pinhole, 0);
	return fixture->replies[0].pinhole;
}

/* As a worker asks, who knows of it no more than its id. */
static enum result by_id(struct fixture *fixture, enum request_op op, const char *host,
			 uint16_t id)
{
	struct request *request = ask(fixture, op, host, 0);

	request->protocol = 0;
	request->pinhole = id;
	return decide(fixture);
}

/* V6FW-8, V6FW-2: over a restart each is what it was, by its id. */
static void test_v6fw8_restart(void **state)
{
	struct fixture *fixture = *state;
	uint16_t all = open_pinhole(fixture, NULL, 0);
	uint16_t port = open_pinhole(fixture, NULL, 443);
	uint16_t both = open_pinhole(fixture, R1, 443);
	const struct lease *lease;

	pass_time(fixture, 1000);
	open_ledger(fixture);
	assert_int_equal(table_get_count(fixture->lab.ledger->table), 3);
	lease = table_get_by_pinhole(fixture->lab.ledger->table, all);
	assert_true(addr_is_none(&lease->remote) && lease->remote_port == 0);
	lease = table_get_by_pinhole(fixture->lab.ledger->table, port);
	assert_true(addr_is_none(&lease->remote) && lease->remote_port == 443);
	lease = table_get_by_pinhole(fixture->lab.ledger->table, both);
	assert_true(!addr_is_none(&lease->remote) && lease->remote_port == 443);
	assert_false(lease_is_peer(lease));
	assert_int_equal(open_pinhole(fixture, NULL, 443), port);
	assert_int_equal(memory_get_count(fixture->lab.ledger->books.backend), 3);
}

/* V6FW-2, V6FW-13: what the firewall is told. */
static void test_v6fw2_rules(void **state)
{
	static const struct {
		const char *remote;
		uint16_t port;
		uint8_t filters, length;
		bool flow;
	} rows[] = {{NULL, 0, 0, 0, false},
		    {NULL, 443, 1, 0, false},
		    {R1, 443, 1, 128, true},
		    {R1, 0, 1, 128, false}};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint16_t id = open_pinhole(fixture, rows[i].remote, rows[i].port);
		struct rule rule = books_get_rule(
			&fixture->lab.ledger->books,
			table_get_by_pinhole(fixture->lab.ledger->table, id),
			fixture->lab.at.now_ms);

		assert_int_equal(rule.filter_count, rows[i].filters);
		assert_int_equal(rule.filters[0].prefix.length, rows[i].length);
		assert_int_equal(rule.filters[0].port, rows[i].port);
		assert_int_equal(rule.flow, rows[i].flow);
		assert_int_equal(rule.external_port, PORT);
		assert_false(rule.outbound);
		assert_int_equal(by_id(fixture, REQUEST_PINHOLE_DELETE, V6, id),
				 RESULT_OK);
		assert_int_equal(fixture->replies[0].pinhole, 0);
		assert_int_equal(memory_get_count(fixture->lab.ledger->books.backend),
				 0);
	}
}

/* V6FW-12: at its end the rule goes; an update counts from now. */
static void test_v6fw12_end(void **state)
{
	struct fixture *fixture = *state;
	uint16_t id = open_pinhole(fixture, NULL, 0);

	pass_time(fixture, INT64_C(1000) * (LIFETIME_S - 1));
	assert_int_equal(by_id(fixture, REQUEST_PINHOLE_UPDATE, V6, id), RESULT_OK);
	assert_int_equal(fixture->replies[0].lifetime_s, LIFETIME_S);
	pass_time(fixture, INT64_C(1000) * (LIFETIME_S - 1));
	assert_int_equal(memory_get_count(fixture->lab.ledger->books.backend), 1);
	pass_time(fixture, 1000);
	assert_int_equal(memory_get_count(fixture->lab.ledger->books.backend), 0);
	assert_int_equal(by_id(fixture, REQUEST_PINHOLE_GET, V6, id), RESULT_NO_ENTRY);
}

static uint64_t get_packets(struct fixture *fixture, uint16_t id)
{
	assert_int_equal(by_id(fixture, REQUEST_PINHOLE_GET, V6, id), RESULT_OK);
	return fixture->replies[0].packets_in;
}

/* V6FW-11: whether the firewall begins anew with each renewal or not. */
static void test_v6fw11_packets(void **state)
{
	struct fixture *fixture = *state;
	uint16_t id = open_pinhole(fixture, NULL, 0);

	assert_int_equal(get_packets(fixture, id), 0);
	packets = 5;
	assert_int_equal(get_packets(fixture, id), 5);
	packets = 8;
	assert_int_equal(by_id(fixture, REQUEST_PINHOLE_UPDATE, V6, id), RESULT_OK);
	assert_int_equal(get_packets(fixture, id), 8);
	packets = 2; /* someone has loaded the firewall anew */
	assert_int_equal(get_packets(fixture, id), 10);
	packets = 4;
	assert_int_equal(open_pinhole(fixture, NULL, 0), id);
	assert_int_equal(get_packets(fixture, id), 12);
	/* another one that gets the same id begins at none */
	assert_int_equal(by_id(fixture, REQUEST_PINHOLE_DELETE, V6, id), RESULT_OK);
	packets = 0;
	for (int tries = 0; open_pinhole(fixture, NULL, 0) != id; tries++) {
		fixture->lab.ledger->random_left = 1;
		fixture->lab.ledger->random_pool[0] = id;
		assert_true(tries < 2);
		assert_int_equal(by_id(fixture, REQUEST_PINHOLE_DELETE, V6,
				       fixture->replies[0].pinhole),
				 RESULT_OK);
		fixture->lab.ledger->random_left = 1;
		fixture->lab.ledger->random_pool[0] = id;
	}
	assert_int_equal(get_packets(fixture, id), 0);
}

/* A firewall of before Linux 6.12: each renewal is a new rule. */
static int restart_packets(struct backend *backend,
			   const struct backend_change *changes, size_t count)
{
	packets = 0;
	return backend_get_memory()->apply(backend, changes, count);
}

static void test_v6fw11_packets_lost_by_renewal(void **state)
{
	struct fixture *fixture = *state;
	struct backend_ops restarting = *fixture->lab.ledger->books.backend_ops;
	uint16_t id = open_pinhole(fixture, NULL, 0);

	restarting.apply = restart_packets;
	fixture->lab.ledger->books.backend_ops = &restarting;
	packets = 7;
	assert_int_equal(by_id(fixture, REQUEST_PINHOLE_UPDATE, V6, id), RESULT_OK);
	assert_int_equal(packets, 0);
	packets = 9; /* more than before, not to be taken for the same ones */
	assert_int_equal(get_packets(fixture, id), 16);
	ledger_lab_close(&fixture->lab);
}

/* V6FW-7, V6FW-9: a host that is known by both of its addresses. */
static void test_v6fw7_same_host(void **state)
{
	struct fixture *fixture = *state;
	const struct ip_addr v6 = ledger_lab_address(V6);
	const struct lease *lease;
	uint16_t id;

	ask(fixture, REQUEST_PINHOLE, C1, PORT)->internal = v6;
	assert_int_equal(decide(fixture), RESULT_DENIED);
	fixture->are_one_host = true;
	ask(fixture, REQUEST_PINHOLE, C1, PORT)->internal = v6;
	assert_int_equal(decide(fixture), RESULT_OK);
	id = fixture->replies[0].pinhole;
	lease = table_get_by_pinhole(fixture->lab.ledger->table, id);
	assert_true(addr_equal(&lease->client, &v6));
	assert_int_equal(by_id(fixture, REQUEST_PINHOLE_UPDATE, C1, id), RESULT_OK);
	assert_int_equal(by_id(fixture, REQUEST_PINHOLE_UPDATE, V6, id), RESULT_OK);
	assert_int_equal(by_id(fixture, REQUEST_PINHOLE_UPDATE, C2, id),
			 RESULT_FOREIGN);
	assert_int_equal(by_id(fixture, REQUEST_PINHOLE_UPDATE, V6_2, id),
			 RESULT_FOREIGN);
	fixture->are_one_host = false;
	assert_int_equal(by_id(fixture, REQUEST_PINHOLE_DELETE, C1, id),
			 RESULT_FOREIGN);
	fixture->are_one_host = true;
	assert_int_equal(by_id(fixture, REQUEST_PINHOLE_DELETE, C1, id), RESULT_OK);
	ask(fixture, REQUEST_PINHOLE, C2, PORT)->internal = v6;
	assert_int_equal(decide(fixture), RESULT_DENIED);
}

/* --- what the owner is told --- */

static void assert_rules(const struct fixture *fixture, size_t count)
{
	assert_int_equal(ledger_count_rules(fixture->lab.ledger), count);
	assert_int_equal(memory_get_count(fixture->lab.ledger->books.backend), count);
}

/* IGD-26: an entry that is not enabled is a lease, and no rule of the firewall */
static void test_rules_are_what_the_firewall_holds(void **state)
{
	struct fixture *fixture = *state;

	assert_rules(fixture, 0);
	add(fixture, C1, PORT);
	(void)open_pinhole(fixture, NULL, 0);
	ask(fixture, REQUEST_ADD, C1, PORT + 1)->enabled = 0;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_int_equal(table_get_count(fixture->lab.ledger->table), 3);
	assert_rules(fixture, 2);
	ask(fixture, REQUEST_ADD, C1, PORT)->enabled = 0;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_rules(fixture, 1);
	ask(fixture, REQUEST_ADD, C1, PORT + 1);
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_rules(fixture, 2);
}

static void assert_logs(const char *line)
{
	const char *lines = log_lab_stop();

	if (!strstr(lines, line))
		fail_msg("\"%s\" is not in\n%s", line, lines);
}

/* An endpoint of IPv6 is in brackets, as everywhere. */
static void test_log_of_endpoints(void **state)
{
	struct fixture *fixture = *state;

	log_lab_start(LOG_LEVEL_INFO);
	(void)open_pinhole(fixture, R1, 443);
	assert_logs(" int=[" V6 "]:5000 ");
	log_lab_start(LOG_LEVEL_INFO);
	(void)open_pinhole(fixture, R1, 0);
	assert_logs(" remote=" R1 " ");
	log_lab_start(LOG_LEVEL_INFO);
	add(fixture, C1, PORT);
	assert_logs(" int=" C1 ":5000 ");
	log_lab_start(LOG_LEVEL_INFO);
	ask(fixture, REQUEST_PINHOLE, V6, PORT)->internal = ledger_lab_address(V6_2);
	assert_int_equal(decide(fixture), RESULT_DENIED);
	assert_logs(" int=[" V6_2 "]:5000 ");
}

/* IGD-26: a hole that lets nobody in does not look like one */
static void test_log_of_disabled(void **state)
{
	struct fixture *fixture = *state;

	log_lab_start(LOG_LEVEL_INFO);
	ask(fixture, REQUEST_ADD, C1, PORT)->enabled = 0;
	assert_int_equal(decide(fixture), RESULT_OK);
	assert_logs("lease added id=1 proto=udp ext=5000 int=" C1 ":5000 lifetime=7200"
		    " via=igd client=" C1 " enabled=no desc=");
	log_lab_start(LOG_LEVEL_INFO);
	add(fixture, C1, PORT);
	assert_logs("lease changed id=1 proto=udp ext=5000 int=" C1 ":5000"
		    " lifetime=7200 via=igd client=" C1 " desc=");
}

/* What the request meant something by, and no more. */
static void test_log_of_refusals(void **state)
{
	static const struct {
		enum request_op op;
		const char *line;
	} rows[] = {
		{REQUEST_PINHOLE_UPDATE,
		 "result=no-entry op=pinhole-update client=" C1 " pinhole=7 via=igd\n"},
		{REQUEST_PINHOLE_DELETE,
		 "result=no-entry op=pinhole-delete client=" C1 " pinhole=7 via=igd\n"},
		{REQUEST_DELETE_RANGE, "result=no-entry op=delete-range client=" C1
				       " proto=udp ext=5000 last=5009 via=igd\n"},
		{REQUEST_DELETE, "result=no-entry op=delete client=" C1
				 " proto=udp ext=5000 via=igd\n"},
		{REQUEST_ADD, "result=denied op=add client=" C1 " proto=udp int=" C2
			      ":5000 ext=5000 via=igd\n"},
		{REQUEST_PINHOLE, "result=denied op=pinhole client=" C1
				  " proto=udp int=" C2 ":5000 via=igd\n"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct request *request = ask(fixture, rows[i].op, C1, PORT);

		request->internal = ledger_lab_address(C2);
		request->pinhole = 7;
		request->external_last = PORT + 9;
		log_lab_start(LOG_LEVEL_INFO);
		assert_int_not_equal(decide(fixture), RESULT_OK);
		assert_logs(rows[i].line);
	}
}

static int apply_error;

static int fail_apply(struct backend *backend, const struct backend_change *changes,
		      size_t count)
{
	(void)backend;
	(void)changes;
	(void)count;
	return apply_error;
}

/* What the firewall says of one request is an answer; only its own trouble is told. */
static void test_log_of_the_firewall(void **state)
{
	static const struct {
		int error;
		enum result result;
		bool is_trouble;
	} rows[] = {
		{-EEXIST, RESULT_CONFLICT, false}, {-EOPNOTSUPP, RESULT_BACKEND, false},
		{-EINVAL, RESULT_BACKEND, false},  {-ENOBUFS, RESULT_BACKEND, true},
		{-EBUSY, RESULT_BACKEND, true},
	};
	struct fixture *fixture = *state;
	struct backend_ops failing = *fixture->lab.ledger->books.backend_ops;

	failing.apply = fail_apply;
	fixture->lab.ledger->books.backend_ops = &failing;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool is_told;

		apply_error = rows[i].error;
		log_lab_start(LOG_LEVEL_INFO);
		ask(fixture, REQUEST_PINHOLE, V6, PORT);
		assert_int_equal(decide(fixture), rows[i].result);
		is_told = strstr(log_lab_stop(), "error: the firewall refused");
		assert_int_equal(is_told, rows[i].is_trouble);
		assert_int_equal(fixture->lab.ledger->figures.backend_failed,
				 rows[i].is_trouble);
	}
	ledger_lab_close(&fixture->lab);
}

static int mend_sync(struct backend *backend, const struct rule *rules, size_t count,
		     size_t *added, size_t *removed)
{
	(void)backend;
	(void)rules;
	(void)count;
	*added = 3;
	*removed = 0;
	return 0;
}

/* After a failure of our own no stranger is blamed. */
static void test_own_failure_is_nobodys(void **state)
{
	struct fixture *fixture = *state;
	struct backend_ops failing = *fixture->lab.ledger->books.backend_ops;
	struct ledger *ledger = fixture->lab.ledger;

	failing.apply = fail_apply;
	failing.sync = mend_sync;
	ledger->books.backend_ops = &failing;
	apply_error = -EBUSY;
	ask(fixture, REQUEST_PINHOLE, V6, PORT);
	assert_int_equal(decide(fixture), RESULT_BACKEND);
	assert_true(ledger_heal(ledger, &fixture->lab.at));
	assert_int_equal(ledger->figures.heals, 0);
	/* but for what the backend has seen */
	assert_true(ledger_heal(ledger, &fixture->lab.at));
	assert_int_equal(ledger->figures.heals, 1);
	ledger_lab_close(&fixture->lab);
}

/* What the firewall cannot hold is not told as if it did; what the owner made stays. */
static void test_firewall_without_ipv6(void **state)
{
	struct fixture *fixture = *state;

	(void)open_pinhole(fixture, NULL, 0);
	ask(fixture, REQUEST_ADD, V6, PORT + 1)->origin = ORIGIN_STATIC;
	assert_int_equal(decide(fixture), RESULT_OK);
	add(fixture, C1, PORT);
	fixture->no_ipv6 = true;
	open_ledger(fixture);
	assert_int_equal(table_get_count(fixture->lab.ledger->table), 2);
	assert_int_equal(table_get_ipv6_count(fixture->lab.ledger->table), 1);
	assert_int_equal(ledger_get_figures(fixture->lab.ledger)->troubles,
			 BACKEND_TROUBLE_NO_IPV6);
}

/* V6FW-1: `pinholes = off` is in force from the start on, for what was given before
 * too: in the table, in the firewall, in the store. What the owner made stays. */
static void test_v6fw1_off(void **state)
{
	struct fixture *fixture = *state;
	struct request *request;
	uint16_t id;

	(void)open_pinhole(fixture, NULL, 0);
	request = ask(fixture, REQUEST_MAP, V6_2, PORT);
	request->origin = ORIGIN_PCP;
	assert_int_equal(decide(fixture), RESULT_OK);
	request = ask(fixture, REQUEST_PEER, V6_2, PORT + 2);
	request->origin = ORIGIN_PCP;
	request->remote = ledger_lab_address(R1);
	request->remote_port = 443;
	assert_int_equal(decide(fixture), RESULT_OK);
	ask(fixture, REQUEST_ADD, V6, PORT + 1)->origin = ORIGIN_STATIC;
	assert_int_equal(decide(fixture), RESULT_OK);
	for (uint16_t i = 0; i < 300; i++) /* more than go at a time */
		(void)open_pinhole(fixture, R1, (uint16_t)(1000 + i));
	add(fixture, C1, PORT);
	fixture->lab.conf.wan.pinholes = CONF_PINHOLES_NO_FIREWALL;
	open_ledger(fixture);
	assert_int_equal(table_get_count(fixture->lab.ledger->table), 305);
	fixture->lab.conf.wan.pinholes = CONF_PINHOLES_OFF;
	for (int start = 0; start < 2; start++) {
		open_ledger(fixture);
		assert_int_equal(table_get_count(fixture->lab.ledger->table), 2);
		assert_int_equal(table_get_ipv6_count(fixture->lab.ledger->table), 1);
		assert_int_equal(memory_get_count(fixture->lab.ledger->books.backend),
				 2);
		assert_false(ledger_get_figures(fixture->lab.ledger)->store_failed);
		assert_false(ledger_get_figures(fixture->lab.ledger)->store_damaged);
	}
	ask(fixture, REQUEST_PINHOLE, V6, PORT);
	assert_int_equal(decide(fixture), RESULT_DENIED);
	/* they do not come back with the permission */
	fixture->lab.conf.wan.pinholes = CONF_PINHOLES_ON;
	open_ledger(fixture);
	assert_int_equal(table_get_count(fixture->lab.ledger->table), 2);
	id = open_pinhole(fixture, NULL, 0);
	assert_int_equal(by_id(fixture, REQUEST_PINHOLE_DELETE, V6, id), RESULT_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, ledger_lab_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_igd36_operations),
		TEST(test_igd36_several_as_one),
		TEST(test_igd36_flows_and_pinholes),
		TEST(test_igd36_groups),
		TEST(test_igd36_lans),
		TEST(test_igd34_pages),
		TEST(test_igd34_page_is_full),
		TEST(test_igd34_filter),
		TEST(test_igd34_from_a_port),
		TEST(test_igd34_same_port),
		TEST(test_igd34_none),
		TEST(test_rules_are_what_the_firewall_holds),
		TEST(test_log_of_endpoints),
		TEST(test_log_of_disabled),
		TEST(test_log_of_the_firewall),
		TEST(test_firewall_without_ipv6),
		TEST(test_own_failure_is_nobodys),
		TEST(test_log_of_refusals),
		TEST(test_v6fw1_off),
		TEST(test_v6fw2_rules),
		TEST(test_v6fw7_same_host),
		TEST(test_v6fw8_restart),
		TEST(test_v6fw11_packets),
		TEST(test_v6fw11_packets_lost_by_renewal),
		TEST(test_v6fw12_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
