/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What PCP clients are told of by themselves, PCP-40..42, and when the epoch begins
 * anew for it, PCP-32. The sink stands for the worker; the ledger has the memory
 * backend.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backends/memory.h"
#include "daemon/ledger_private.h"
#include "daemon/moment.h"
#include "daemon/table.h"
#include "daemon/updates.h"
#include "test/unit/ledger_lab.h"

#define C1 "192.168.77.2"
#define GATEWAY "192.168.77.1"
#define WAN1 "203.0.113.1"
#define WAN2 "203.0.113.2"
#define PORT 5000
#define LIFETIME_MS INT64_C(600000)
#define EPOCH_START_MS 1000
#define SENT_MAX 2048

struct fixture {
	struct ledger_lab lab;
	struct event_base *base;
	struct updates *updates;
	bool down;		/* the worker does not serve */
	unsigned int room;	/* messages that it takes before it falls behind */
	unsigned int held_back; /* times that it was found behind, and caught up */
	enum lease_end why;	/* of the last event */
	enum lease_event event;
	size_t ended;
	size_t sent_count;
	struct mapping_update sent[SENT_MAX];
};

/* As core does it. */
static void on_lease(void *user, enum lease_event event, const struct lease *lease)
{
	struct fixture *fixture = user;

	fixture->event = event;
	if (event != LEASE_EVENT_DELETED)
		return;
	fixture->ended++;
	fixture->why = ledger_get_end(fixture->lab.ledger);
	lease_updates_tell_end(fixture->updates, lease, fixture->why);
}

static void on_unasked(void *user, const struct lease *lease)
{
	struct fixture *fixture = user;

	lease_updates_tell(fixture->updates, lease->id);
}

static const struct ledger_events events = {.lease = on_lease,
					    .disturbed = ledger_lab_ignore_disturbed,
					    .unasked = on_unasked};

static bool sink_is_up(void *user)
{
	const struct fixture *fixture = user;

	return !fixture->down;
}

static bool sink_has_room(void *user)
{
	struct fixture *fixture = user;

	if (fixture->room > 0)
		return true;
	fixture->held_back++;
	fixture->room = SENT_MAX; /* by the next time */
	return false;
}

static void sink_send(void *user, const struct mapping_update *update)
{
	struct fixture *fixture = user;

	assert_true(fixture->sent_count < SENT_MAX);
	fixture->sent[fixture->sent_count++] = *update;
	fixture->room -= fixture->room > 0 ? 1 : 0;
}

static const struct updates_sink sink = {sink_is_up, sink_has_room, sink_send};

static void close_ledger(struct fixture *fixture)
{
	lease_updates_free(fixture->updates);
	fixture->updates = NULL;
	ledger_lab_close(&fixture->lab);
}

/* Start, as core does; true when that began an epoch for another address. */
static bool open_ledger(struct fixture *fixture)
{
	const struct ledger_setup what =
		ledger_lab_get_setup(&fixture->lab, &events, fixture);
	bool moved;

	close_ledger(fixture);
	assert_int_equal(ledger_open(&what, &fixture->lab.ledger), 0);
	fixture->updates = lease_updates_new(fixture->base, fixture->lab.ledger,
					     &fixture->lab.network, &sink, fixture);
	assert_non_null(fixture->updates);
	moved = ledger_follow_external(fixture->lab.ledger,
				       &fixture->lab.network.wan.external,
				       &fixture->lab.at);
	assert_int_equal(ledger_set_network(fixture->lab.ledger, &fixture->lab.network,
					    fixture->lab.at.now_ms),
			 0);
	return moved;
}

static int setup(void **state)
{
	struct fixture *fixture = ledger_lab_new(sizeof(*fixture));
	struct lan_info *lan = &fixture->lab.network.lans[0];

	fixture->base = event_base_new();
	fixture->lab.network.lan_count = 2;
	for (uint16_t i = 0; i < 2; i++, lan++) {
		lan->lan = i;
		lan->ifindex = 2u + i;
		lan->protocols = LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP;
		(void)snprintf(lan->name, sizeof(lan->name), "lan%u", i);
		lan->network_count = 2;
		assert_true(prefix_parse(i == 0 ? "192.168.77.0/24" : "10.0.0.0/8",
					 &lan->networks[0]));
		assert_true(prefix_parse("fd00::/64", &lan->networks[1]));
	}
	fixture->lab.at = moment_now();
	fixture->room = SENT_MAX;
	*state = fixture;
	(void)open_ledger(fixture);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	close_ledger(fixture);
	event_base_free(fixture->base);
	return ledger_lab_teardown(state);
}

static struct lease make_lease(const struct fixture *fixture, uint16_t port)
{
	return (struct lease){
		.id = port,
		.internal = ledger_lab_address(C1),
		.client = ledger_lab_address(C1),
		.server = ledger_lab_address(GATEWAY),
		.internal_port = port,
		.external_port = (uint16_t)(port + 1),
		.client_port = 40000,
		.protocol = IPPROTO_UDP,
		.origin = ORIGIN_PCP,
		.enabled = true,
		.outbound = true,
		.has_nonce = true,
		.nonce = {1, 2, 3},
		.created_ms = fixture->lab.at.now_ms,
		.expires_ms = fixture->lab.at.now_ms + LIFETIME_MS,
	};
}

/* Into the table and the kernel, as if it had been asked for. */
static void hold(struct fixture *fixture, const struct lease *lease)
{
	assert_int_equal(table_insert(fixture->lab.ledger->table, lease), 0);
	assert_true(ledger_heal(fixture->lab.ledger, &fixture->lab.at));
}

/* As core does when the address changes; true when it is another one. */
static bool move_to(struct fixture *fixture, const char *text)
{
	struct ip_addr external =
		text ? ledger_lab_address(text) : (struct ip_addr){{0}};
	bool moved;

	fixture->lab.network.wan.external = external;
	fixture->lab.network.wan.address = external;
	moved = ledger_follow_external(fixture->lab.ledger, &external,
				       &fixture->lab.at);
	assert_int_equal(ledger_set_network(fixture->lab.ledger, &fixture->lab.network,
					    fixture->lab.at.now_ms),
			 0);
	if (moved)
		lease_updates_begin(fixture->updates);
	return moved;
}

/* Until nothing is due any more. */
static void run(struct fixture *fixture)
{
	assert_true(event_base_dispatch(fixture->base) >= 0);
}

static int64_t get_epoch_ms(const struct fixture *fixture)
{
	return fixture->lab.at.now_ms -
	       ledger_get_figures(fixture->lab.ledger)->epoch_origin_ms;
}

/* PCP-32: another address is a new epoch; none, and the same again, are not. */
static void test_epoch_follows_the_address(void **state)
{
	struct fixture *fixture = *state;

	ledger_lab_pass_time(&fixture->lab, 50000);
	assert_int_equal(get_epoch_ms(fixture), EPOCH_START_MS + 50000);
	assert_false(move_to(fixture, NULL));
	assert_false(move_to(fixture, WAN1));
	assert_int_equal(get_epoch_ms(fixture), EPOCH_START_MS + 50000);
	assert_true(move_to(fixture, WAN2));
	assert_int_equal(get_epoch_ms(fixture), EPOCH_START_MS);
	ledger_lab_pass_time(&fixture->lab, 7000);
	assert_false(move_to(fixture, NULL));
	assert_true(move_to(fixture, WAN1)); /* told another one in between */
	assert_int_equal(get_epoch_ms(fixture), EPOCH_START_MS);
}

/* PCP-32, PCP-34: the address that clients were told is remembered over a restart. */
static void test_epoch_over_a_restart(void **state)
{
	struct fixture *fixture = *state;

	ledger_lab_pass_time(&fixture->lab, 5000);
	assert_false(open_ledger(fixture));
	assert_int_equal(get_epoch_ms(fixture), EPOCH_START_MS + 5000);
	/* started while the WAN is down: it may be the same when it comes */
	fixture->lab.network.wan.external = (struct ip_addr){{0}};
	assert_false(open_ledger(fixture));
	assert_false(move_to(fixture, WAN1));
	assert_int_equal(get_epoch_ms(fixture), EPOCH_START_MS + 5000);
	fixture->lab.network.wan.external = ledger_lab_address(WAN2);
	assert_true(open_ledger(fixture));
	assert_int_equal(get_epoch_ms(fixture), EPOCH_START_MS);
	ledger_lab_pass_time(&fixture->lab, 5000);
	assert_false(open_ledger(fixture));
	assert_int_equal(get_epoch_ms(fixture), EPOCH_START_MS + 5000);
}

static void assert_addr(const struct ip_addr *addr, const char *text)
{
	char buffer[ADDR_TEXT_SIZE];

	assert_string_equal(addr_format(addr, buffer), text);
}

/* PCP-42: the owner's own lease takes the port away: that is no client's doing. */
static void test_owner_takes_over(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease = make_lease(fixture, PORT);
	struct request request = {
		.op = REQUEST_ADD,
		.origin = ORIGIN_STATIC,
		.protocol = IPPROTO_UDP,
		.enabled = 1,
		.client = ledger_lab_address(C1),
		.internal = ledger_lab_address(C1),
		.internal_port = PORT + 7,
		.external_port = PORT + 1,
	};
	struct reply reply;

	hold(fixture, &lease);
	ledger_decide(fixture->lab.ledger, &request, 1, &reply, &fixture->lab.at);
	assert_int_equal(reply.result, RESULT_OK);
	assert_int_equal(fixture->ended, 1);
	assert_int_equal(fixture->why, LEASE_END_OWNER);
	assert_int_equal(fixture->sent_count, 1);
	assert_int_equal(fixture->sent[0].internal_port, PORT);
	assert_int_equal(fixture->sent[0].lifetime_s, 0);
}

/* PCP-41: who has asked anew in between has what it wants. */
static void test_exact_renewed_in_time(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease = make_lease(fixture, PORT);
	struct request request = {
		.op = REQUEST_MAP,
		.origin = ORIGIN_PCP,
		.protocol = IPPROTO_UDP,
		.enabled = 1,
		.prefer_failure = 1,
		.nonce = {1, 2, 3},
		.client = ledger_lab_address(C1),
		.internal = ledger_lab_address(C1),
		.internal_port = PORT,
		.external = ledger_lab_address(WAN2),
		.external_port = PORT + 1,
		.lifetime_s = 3600,
	};
	struct reply reply;

	lease.exact = true;
	hold(fixture, &lease);
	assert_true(move_to(fixture, WAN2));
	ledger_decide(fixture->lab.ledger, &request, 1, &reply, &fixture->lab.at);
	assert_int_equal(reply.result, RESULT_OK);
	run(fixture);
	assert_int_equal(fixture->ended, 0);
	assert_int_equal(table_get_count(ledger_get_table(fixture->lab.ledger)), 1);
}

/* PCP-116: what a set's request renews besides is told by updates, not in the answer.
 */
static void test_overlapped_by_a_set(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease = make_lease(fixture, PORT + 2);
	struct request request = {
		.op = REQUEST_MAP,
		.origin = ORIGIN_PCP,
		.protocol = IPPROTO_UDP,
		.enabled = 1,
		.nonce = {1, 2, 3},
		.port_count = 4,
		.client = ledger_lab_address(C1),
		.client_port = 40001,
		.server = ledger_lab_address(GATEWAY),
		.internal = ledger_lab_address(C1),
		.internal_port = PORT,
		.lifetime_s = 3600,
	};
	struct reply reply;

	hold(fixture, &lease);
	ledger_decide(fixture->lab.ledger, &request, 1, &reply, &fixture->lab.at);
	assert_int_equal(reply.result, RESULT_OK);
	assert_int_equal(reply.port_count, 2);
	assert_int_equal(fixture->sent_count, 0); /* the answer is first */
	run(fixture);
	assert_int_equal(fixture->sent_count, 1);
	assert_int_equal(fixture->sent[0].internal_port, PORT + 2);
	assert_int_equal(fixture->sent[0].external_port, PORT + 3);
	assert_in_range(fixture->sent[0].lifetime_s, 3590, 3600);
	assert_int_equal(fixture->sent[0].client_port, 40001);
	/* its own ports alone: nothing besides */
	request.port_count = 2;
	ledger_decide(fixture->lab.ledger, &request, 1, &reply, &fixture->lab.at);
	assert_int_equal(reply.port_count, 2);
	run(fixture);
	assert_int_equal(fixture->sent_count, 1);
}

/* PCP-40, PCP-41: the new values, as the client asked: filters, peer, third party. */
static void test_update_values(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease = make_lease(fixture, PORT);
	struct remote_filter filters[2] = {{.port = 0}, {.port = 443}};
	struct mapping_update update;

	lease.internal = ledger_lab_address("192.168.77.9");
	lease.filters = filters;
	lease.filter_count = 2;
	assert_true(prefix_parse("198.51.100.0/24", &filters[0].prefix));
	assert_true(lease_updates_fill(&lease, &fixture->lab.network, &update));
	assert_int_equal(update.op, REQUEST_MAP);
	assert_int_equal(update.result, RESULT_OK);
	assert_int_equal(update.lifetime_s, 0);
	assert_int_equal(update.protocol, IPPROTO_UDP);
	assert_int_equal(update.client_port, 40000);
	assert_int_equal(update.internal_port, PORT);
	assert_int_equal(update.external_port, PORT + 1);
	assert_memory_equal(update.nonce, lease.nonce, NONCE_SIZE);
	assert_addr(&update.client, C1);
	assert_addr(&update.server, GATEWAY);
	assert_addr(&update.internal, "192.168.77.9");
	assert_addr(&update.external, WAN1);
	assert_int_equal(update.filter_count, 2);
	assert_memory_equal(update.filters, filters, sizeof(filters));
	lease.filter_count = 0;
	lease.remote = ledger_lab_address("198.51.100.7");
	lease.remote_port = 3478;
	assert_true(lease_updates_fill(&lease, &fixture->lab.network, &update));
	assert_int_equal(update.op, REQUEST_PEER);
	assert_int_equal(update.remote_port, 3478);
	assert_addr(&update.remote, "198.51.100.7");
	lease.internal = lease.client = ledger_lab_address("fd00::5");
	assert_true(lease_updates_fill(&lease, &fixture->lab.network, &update));
	assert_addr(&update.external, "fd00::5");
}

/* Only who can hear it, on a LAN that is there and speaks PCP. */
static void test_update_needs_a_client(void **state)
{
	struct fixture *fixture = *state;
	const struct lease good = make_lease(fixture, PORT);
	struct lan_info *lan = &fixture->lab.network.lans[0];
	struct mapping_update update;
	struct lease lease = good;

	lease.origin = ORIGIN_NATPMP;
	assert_false(lease_updates_fill(&lease, &fixture->lab.network, &update));
	lease = good;
	lease.client_port = 0;
	assert_false(lease_updates_fill(&lease, &fixture->lab.network, &update));
	lease = good;
	lease.lan = LANS_MAX; /* a LAN that is no more */
	assert_false(lease_updates_fill(&lease, &fixture->lab.network, &update));
	lease.lan = 1; /* the address is of the other LAN */
	assert_false(lease_updates_fill(&lease, &fixture->lab.network, &update));
	assert_true(lease_updates_fill(&good, &fixture->lab.network, &update));
	lan->ifindex = 0;
	assert_false(lease_updates_fill(&good, &fixture->lab.network, &update));
	lan->ifindex = 2;
	lan->protocols = LAN_PROTOCOL_NATPMP;
	assert_false(lease_updates_fill(&good, &fixture->lab.network, &update));
}

/* PCP-40: every IPv4 lease of PCP when the address is another one, nobody else's. */
static void test_address_changes(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease;

	for (uint16_t i = 0; i < 300; i++) {
		lease = make_lease(fixture, (uint16_t)(PORT + 2 * i));
		assert_int_equal(table_insert(fixture->lab.ledger->table, &lease), 0);
	}
	lease = make_lease(fixture, 4000);
	lease.origin = ORIGIN_IGD;
	hold(fixture, &lease);
	lease = make_lease(fixture, 4002);
	lease.internal = lease.client = ledger_lab_address("fd00::5");
	lease.external_port = lease.internal_port;
	lease.exact = true; /* nothing of it has changed */
	hold(fixture, &lease);
	assert_false(move_to(fixture, NULL));
	assert_false(move_to(fixture, WAN1));
	run(fixture);
	assert_int_equal(fixture->sent_count, 0);
	assert_true(move_to(fixture, WAN2));
	assert_int_equal(fixture->sent_count, 0); /* core goes on first */
	run(fixture);
	assert_int_equal(fixture->sent_count, 300);
	for (size_t i = 0; i < 300; i++) {
		assert_addr(&fixture->sent[i].external, WAN2);
		assert_in_range(fixture->sent[i].lifetime_s, LIFETIME_MS / 1000 - 10,
				LIFETIME_MS / 1000);
		assert_int_equal(fixture->sent[i].result, RESULT_OK);
	}
	assert_int_equal(fixture->ended, 0);
}

/* The worker is not served more than it takes, and waited for when it is down. */
static void test_worker_sets_the_pace(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease;

	for (uint16_t i = 0; i < 200; i++) {
		lease = make_lease(fixture, (uint16_t)(PORT + 2 * i));
		assert_int_equal(table_insert(fixture->lab.ledger->table, &lease), 0);
	}
	assert_true(ledger_heal(fixture->lab.ledger, &fixture->lab.at));
	fixture->down = true;
	assert_true(move_to(fixture, WAN2));
	run(fixture);
	assert_int_equal(fixture->sent_count, 0);
	fixture->down = false;
	fixture->room = 20; /* then behind, once */
	lease_updates_continue(fixture->updates);
	run(fixture);
	assert_int_equal(fixture->held_back, 1);
	assert_int_equal(fixture->sent_count, 200);
	lease_updates_continue(fixture->updates); /* nothing is left */
	run(fixture);
	assert_int_equal(fixture->sent_count, 200);
}

/* A second change in the middle of the first: all are told of the last. */
static void test_address_changes_again(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease;

	for (uint16_t i = 0; i < 200; i++) {
		lease = make_lease(fixture, (uint16_t)(PORT + 2 * i));
		assert_int_equal(table_insert(fixture->lab.ledger->table, &lease), 0);
	}
	assert_true(ledger_heal(fixture->lab.ledger, &fixture->lab.at));
	assert_true(move_to(fixture, WAN2));
	assert_int_equal(event_base_loop(fixture->base, EVLOOP_ONCE), 0);
	assert_in_range(fixture->sent_count, 1, 199);
	fixture->sent_count = 0;
	assert_true(move_to(fixture, WAN1));
	run(fixture);
	assert_int_equal(fixture->sent_count, 200);
	for (size_t i = 0; i < 200; i++)
		assert_addr(&fixture->sent[i].external, WAN1);
}

/* PCP-41: who would have no other address loses the lease, and hears it first. */
static void test_exact_lease_ends(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease = make_lease(fixture, PORT);

	hold(fixture, &lease);
	lease = make_lease(fixture, PORT + 2);
	lease.exact = true;
	hold(fixture, &lease);
	lease = make_lease(fixture, PORT + 4);
	lease.exact = true;
	lease.client_port = 0; /* told nothing, but it ends all the same */
	hold(fixture, &lease);
	assert_true(move_to(fixture, WAN2));
	run(fixture);
	assert_int_equal(table_get_count(ledger_get_table(fixture->lab.ledger)), 1);
	assert_int_equal(memory_get_count(fixture->lab.ledger->books.backend), 1);
	assert_int_equal(fixture->ended, 2);
	assert_int_equal(fixture->why, LEASE_END_ADDRESS);
	assert_int_equal(fixture->sent_count, 2);
	assert_int_equal(fixture->sent[0].internal_port, PORT + 2);
	assert_int_equal(fixture->sent[0].result, RESULT_CONFLICT);
	assert_int_equal(fixture->sent[0].lifetime_s, 0);
	assert_int_equal(fixture->sent[1].internal_port, PORT);
	assert_int_equal(fixture->sent[1].result, RESULT_OK);
}

/* PCP-41: who loses such a lease is told, so it waits for the worker to be up. */
static void test_exact_lease_waits_for_worker(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease = make_lease(fixture, PORT);

	lease.exact = true;
	hold(fixture, &lease);
	lease = make_lease(fixture, PORT + 2);
	hold(fixture, &lease);
	fixture->down = true;
	assert_true(move_to(fixture, WAN2));
	run(fixture);
	assert_int_equal(fixture->ended, 0);
	assert_int_equal(fixture->sent_count, 0);
	fixture->down = false;
	lease_updates_continue(fixture->updates);
	run(fixture);
	assert_int_equal(fixture->ended, 1);
	assert_int_equal(fixture->sent_count, 2);
	assert_int_equal(fixture->sent[0].result, RESULT_CONFLICT);
	assert_int_equal(fixture->sent[1].result, RESULT_OK);
}

/* A kernel that refuses is asked again; nobody is told before it agrees. */
static void test_kernel_refuses_the_end(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease = make_lease(fixture, PORT);

	lease.exact = true;
	hold(fixture, &lease);
	assert_true(move_to(fixture, WAN2));
	memory_plan_fault(fixture->lab.ledger->books.backend, 1, EBUSY);
	assert_int_equal(event_base_loop(fixture->base, EVLOOP_ONCE), 0);
	assert_int_equal(fixture->ended, 0);
	assert_int_equal(fixture->sent_count, 0);
	assert_true(ledger_heal(fixture->lab.ledger, &fixture->lab.at));
	run(fixture);
	assert_int_equal(fixture->ended, 1);
	assert_int_equal(fixture->sent_count, 1);
}

/* PCP-42: the owner takes a lease away: result 0, lifetime 0. */
static void test_owner_deletes(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease = make_lease(fixture, PORT), ended;

	hold(fixture, &lease);
	assert_int_equal(
		ledger_end(fixture->lab.ledger, lease.id, &fixture->lab.at, &ended),
		RESULT_OK);
	assert_int_equal(ended.internal_port, PORT);
	assert_int_equal(fixture->why, LEASE_END_OWNER);
	assert_int_equal(fixture->sent_count, 1);
	assert_int_equal(fixture->sent[0].result, RESULT_OK);
	assert_int_equal(fixture->sent[0].lifetime_s, 0);
	assert_int_equal(
		ledger_end(fixture->lab.ledger, lease.id, &fixture->lab.at, &ended),
		RESULT_NO_ENTRY);
	/* one that does not keep up is not told: the lease ends all the same */
	hold(fixture, &lease);
	fixture->room = 0;
	assert_int_equal(
		ledger_end(fixture->lab.ledger, lease.id, &fixture->lab.at, &ended),
		RESULT_OK);
	assert_int_equal(fixture->sent_count, 1);
}

/* Who asked for the end, and who let the lease run out, knows already. */
static void test_no_news_is_not_told(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease = make_lease(fixture, PORT);
	struct request request = {.op = REQUEST_UNMAP,
				  .origin = ORIGIN_PCP,
				  .protocol = IPPROTO_UDP,
				  .enabled = 1,
				  .client = ledger_lab_address(C1),
				  .internal = ledger_lab_address(C1),
				  .internal_port = PORT};
	struct reply reply;

	lease.has_nonce = false;
	hold(fixture, &lease);
	ledger_decide(fixture->lab.ledger, &request, 1, &reply, &fixture->lab.at);
	assert_int_equal(reply.result, RESULT_OK);
	assert_int_equal(fixture->ended, 1);
	assert_int_equal(fixture->why, LEASE_END_CLIENT);
	lease = make_lease(fixture, PORT + 2);
	hold(fixture, &lease);
	ledger_lab_pass_time(&fixture->lab, LIFETIME_MS);
	(void)ledger_expire(fixture->lab.ledger, &fixture->lab.at);
	assert_int_equal(fixture->event, LEASE_EVENT_EXPIRED);
	assert_int_equal(table_get_count(ledger_get_table(fixture->lab.ledger)), 0);
	assert_int_equal(fixture->sent_count, 0);
}

/* What has its address now is another machine: it is told neither nonce nor port. */
static void test_stranger_is_not_told(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease = make_lease(fixture, PORT);
	const uint8_t other[LEASE_MAC_SIZE] = {2, 0, 0, 0, 0, 2};

	lease.has_mac = true;
	hold(fixture, &lease);
	assert_int_equal(ledger_end_strangers(fixture->lab.ledger, &lease.internal,
					      other, &fixture->lab.at),
			 0);
	assert_int_equal(fixture->ended, 1);
	assert_int_equal(fixture->why, LEASE_END_HOST);
	assert_int_equal(fixture->sent_count, 0);
}

#define UPDATES_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UPDATES_TEST(test_epoch_follows_the_address),
		UPDATES_TEST(test_epoch_over_a_restart),
		UPDATES_TEST(test_update_values),
		UPDATES_TEST(test_exact_renewed_in_time),
		UPDATES_TEST(test_owner_takes_over),
		UPDATES_TEST(test_overlapped_by_a_set),
		UPDATES_TEST(test_update_needs_a_client),
		UPDATES_TEST(test_address_changes),
		UPDATES_TEST(test_worker_sets_the_pace),
		UPDATES_TEST(test_address_changes_again),
		UPDATES_TEST(test_exact_lease_ends),
		UPDATES_TEST(test_stranger_is_not_told),
		UPDATES_TEST(test_exact_lease_waits_for_worker),
		UPDATES_TEST(test_kernel_refuses_the_end),
		UPDATES_TEST(test_owner_deletes),
		UPDATES_TEST(test_no_news_is_not_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
