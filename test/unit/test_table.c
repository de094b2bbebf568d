/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lease table by itself: what is found in order, and what that costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/ports.h"
#include "daemon/table.h"

#define HOST "192.168.77.2"
#define GUEST "192.168.77.3"
#define FEW 400u
#define MANY (100 * FEW)
/* Of the time that something takes with MANY leases, beside that with FEW: a walk of
 * all takes 100 times as long. Room for what the processor's caches do not hold. */
#define GROWTH_MAX 12
#define PAGE 32
#define ROUNDS 300
#define FIRST_PORT 1024u

struct fixture {
	struct table *table;
	uint64_t last_id;
};

static struct ip_addr address(const char *text)
{
	struct ip_addr addr;

	assert_true(addr_parse(text, &addr));
	return addr;
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->table = table_new();
	assert_non_null(fixture->table);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	table_free(fixture->table);
	free(fixture);
	return 0;
}

/* The number-th of many: TCP and UDP by turns, each pair at another port. */
static struct lease make(struct fixture *fixture, unsigned int number)
{
	uint16_t port = (uint16_t)(FIRST_PORT + number / 2);

	return (struct lease){
		.id = ++fixture->last_id,
		.internal = address(HOST),
		.client = address(HOST),
		.internal_port = port,
		.external_port = port,
		.protocol = number % 2 ? IPPROTO_UDP : IPPROTO_TCP,
		.origin = ORIGIN_NATPMP,
		.enabled = true,
		.expires_ms = TIME_NEVER,
	};
}

static void add(struct fixture *fixture, const struct lease *lease)
{
	assert_int_equal(table_insert(fixture->table, lease), 0);
}

static void cursor_move(struct table_cursor *cursor, const struct lease *lease)
{
	cursor->protocol = lease->protocol;
	cursor->port = lease->external_port;
	cursor->id = lease->id;
}

/* How many the host has by port; each must be behind the one before. */
static size_t count_in_order(const struct fixture *fixture, const char *host)
{
	const struct ip_addr addr = address(host);
	struct table_cursor cursor = {.host = table_find_host(fixture->table, &addr)};
	const struct lease *lease;
	uint32_t last = 0;
	size_t count = 0;

	while ((lease = table_get_behind(fixture->table, &cursor))) {
		uint32_t place = (uint32_t)lease->protocol << 16 | lease->external_port;

		assert_true(place > last);
		last = place;
		cursor_move(&cursor, lease);
		count++;
	}
	return count;
}

/* IGD-34: by port, whatever the order of coming, and for both hosts that it is of. */
static void test_order_by_port(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned int i = 0; i < FEW; i++) {
		struct lease lease = make(fixture, i * 149 % FEW);

		if (i % 4 == 0)
			lease.client = address(GUEST);
		add(fixture, &lease);
	}
	assert_int_equal(count_in_order(fixture, HOST), FEW);
	assert_int_equal(count_in_order(fixture, GUEST), FEW / 4);
	for (uint64_t id = 1; id <= FEW; id += 2) {
		table_remove(fixture->table, id, 0);
		assert_int_equal(count_in_order(fixture, HOST), FEW - (id + 1) / 2);
	}
	assert_int_equal(count_in_order(fixture, GUEST), 0);
	for (uint64_t id = 2; id <= FEW; id += 2)
		table_remove(fixture->table, id, 0);
	assert_int_equal(count_in_order(fixture, HOST), 0);
}

/* Flows of PEER and pinholes are not listed, and nothing is left of who has gone. */
static void test_order_of_listed_only(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease = make(fixture, 0);

	lease.remote = address("198.51.100.9");
	lease.remote_port = 443;
	add(fixture, &lease);
	assert_int_equal(count_in_order(fixture, HOST), 0);
	table_remove(fixture->table, lease.id, 0);
	assert_null(table_find_host(fixture->table, &lease.internal));
	assert_int_equal(count_in_order(fixture, HOST), 0);
}

/* An entry that is found by what it is no more would be read when it is long freed: the
 * process ends before that, in every build. */
static void test_other_keys_end_it(void **state)
{
	struct fixture *fixture = *state;
	struct lease lease = make(fixture, 0);
	const struct rlimit no_core = {0, 0};
	int status;
	pid_t pid;

	add(fixture, &lease);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)setrlimit(RLIMIT_CORE, &no_core);
		lease.external_port++;
		_exit(table_update(fixture->table, &lease) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* --- of one internal endpoint --- */

/* The number-th flow of PEER from one internal port. */
static struct lease make_flow(struct fixture *fixture, unsigned int number)
{
	struct lease lease = make(fixture, 0);

	lease.remote = address("198.51.100.9");
	lease.remote_port = (uint16_t)(1 + number);
	return lease;
}

static const struct lease *get_first(const struct fixture *fixture)
{
	const struct ip_addr host = address(HOST);

	return table_get_by_internal(fixture->table, &host, IPPROTO_TCP, FIRST_PORT);
}

/* Each once; *outbound: of them the outbound ones, which must come first. */
static size_t count_of_internal(const struct fixture *fixture, size_t *outbound)
{
	const struct lease *lease = get_first(fixture);
	size_t count = 0;

	*outbound = 0;
	for (; lease; lease = table_get_next_of_internal(fixture->table, lease)) {
		assert_true(!lease->outbound || *outbound == count);
		*outbound += lease->outbound;
		count++;
	}
	return count;
}

static void set_outbound(struct fixture *fixture, uint64_t id, bool outbound)
{
	struct lease lease = *table_get_by_id(fixture->table, id);

	lease.outbound = outbound;
	assert_int_equal(table_update(fixture->table, &lease), 0);
}

static void assert_internal(const struct fixture *fixture, size_t count, size_t want)
{
	size_t outbound;

	assert_int_equal(count_of_internal(fixture, &outbound), count);
	assert_int_equal(outbound, want);
}

/* Whoever has the outbound port is found first, also while it is handed over, and
 * whichever lease goes. */
static void test_outbound_comes_first(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned int i = 0; i < 6; i++) {
		struct lease lease = make_flow(fixture, i);

		lease.outbound = i == 3;
		add(fixture, &lease);
	}
	assert_internal(fixture, 6, 1);
	set_outbound(fixture, 6, true); /* before the old one gives it up */
	assert_internal(fixture, 6, 2);
	set_outbound(fixture, 6, false); /* no: all is as it was */
	assert_internal(fixture, 6, 1);
	assert_int_equal(get_first(fixture)->id, 4);
	set_outbound(fixture, 4, false);
	assert_internal(fixture, 6, 0);
	set_outbound(fixture, 2, true);
	assert_internal(fixture, 6, 1);
	for (uint64_t id = 2; id <= 6; id += 2) { /* the first, and others */
		table_remove(fixture->table, id, 0);
		assert_internal(fixture, 5 - (id - 2) / 2, 0);
	}
	set_outbound(fixture, 5, true);
	assert_internal(fixture, 3, 1);
	table_remove(fixture->table, 1, 0);
	table_take_back(fixture->table, 3);
	assert_int_equal(get_first(fixture)->id, 5);
	table_remove(fixture->table, 5, 0);
	assert_null(get_first(fixture));
}

/* --- what it costs --- */

/* NP-41: however many ports have rested, a turn forgets only so many of them. */
static void test_rested_ports_a_turn(void **state)
{
	const struct port_range range = {FIRST_PORT, FIRST_PORT + 3 * PORTS_REAP_MAX};
	struct fixture *fixture = *state;
	struct ports *ports = table_get_ports(fixture->table);
	const struct ip_addr host = address(HOST);

	for (uint16_t port = range.first; port <= range.last; port++)
		assert_int_equal(ports_hold(ports, 0, port, &host), 0);
	for (uint16_t port = range.first; port <= range.last; port++)
		ports_release(ports, 0, port, 0);
	ports_reap(ports, PORT_REST_MS - 1);
	assert_int_equal(ports_find_free(ports, 0, range, range.first), 0);
	for (unsigned int turn = 1; turn <= 3; turn++) {
		uint16_t rests = (uint16_t)(FIRST_PORT + turn * PORTS_REAP_MAX);

		ports_reap(ports, PORT_REST_MS);
		assert_true(ports_get_due(ports) <= PORT_REST_MS);
		assert_int_equal(ports_get_rest_until(ports, 0, rests - 1), 0);
		assert_int_equal(ports_get_rest_until(ports, 0, rests), PORT_REST_MS);
	}
	ports_reap(ports, PORT_REST_MS);
	assert_true(ports_get_due(ports) == TIME_NEVER);
	assert_int_equal(ports_find_free(ports, 0, range, range.first), range.first);
}

static void fill(struct fixture *fixture, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct lease lease = make(fixture, i);

		add(fixture, &lease);
	}
}

static void read_page(const struct fixture *fixture, uint16_t port)
{
	const struct ip_addr addr = address(HOST);
	struct table_cursor cursor = {.host = table_find_host(fixture->table, &addr),
				      .protocol = IPPROTO_TCP,
				      .port = port};
	const struct lease *lease;

	for (int i = 0; i < PAGE; i++) {
		lease = table_get_behind(fixture->table, &cursor);
		assert_non_null(lease);
		cursor_move(&cursor, lease);
	}
}

/* Pages from all over the listing. */
static void read_pages(struct fixture *fixture, unsigned int count)
{
	for (unsigned int i = 0; i < ROUNDS; i++)
		read_page(fixture, (uint16_t)(FIRST_PORT + i * 7919 % (count / 2)));
}

/* What a turn takes, of as many leases as there are. */
typedef void do_turn(struct fixture *fixture, unsigned int count);

/* Microseconds of the fastest of some turns. */
static int64_t measure(struct fixture *fixture, do_turn *turn, unsigned int count)
{
	int64_t best = INT64_MAX;

	for (int i = 0; i < 5; i++) {
		int64_t begin_us = clock_process_us();
		int64_t spent_us;

		turn(fixture, count);
		spent_us = clock_process_us() - begin_us;
		best = spent_us < best ? spent_us : best;
	}
	return best;
}

static void assert_flat(int64_t few_us, int64_t many_us)
{
	if (many_us > GROWTH_MAX * (few_us + 1))
		fail_msg("%lld us with %u leases, %lld us with %u", (long long)few_us,
			 FEW, (long long)many_us, MANY);
}

/* What one host has and asked for, looked at as often as the other one has. */
static void walk_guest(struct fixture *fixture, unsigned int count)
{
	const struct ip_addr guest = address(GUEST);
	const struct lease *lease;
	unsigned int seen = 0;

	for (unsigned int i = 0; i < 100 * ROUNDS; i++) {
		lease = table_get_first_of_home(fixture->table, &guest);
		for (; lease; lease = table_get_next_of_home(fixture->table, lease))
			seen++;
		lease = table_get_first_of_client(fixture->table, &guest);
		for (; lease; lease = table_get_next_of_client(fixture->table, lease))
			seen++;
	}
	assert_int_equal(seen, 100 * ROUNDS);
	assert_true(table_get_count(fixture->table) == count + 1);
}

static void add_for_guest(struct fixture *fixture, unsigned int number)
{
	struct lease lease = make(fixture, number);

	lease.client = address(GUEST);
	add(fixture, &lease);
}

/* PCP-71: to end what a host has costs what it has, not what others have besides. */
static void test_cost_of_host(void **state)
{
	struct fixture *fixture = *state;
	struct fixture small = {.table = table_new()};

	assert_non_null(small.table);
	fill(&small, FEW);
	fill(fixture, MANY);
	add_for_guest(&small, FEW);
	add_for_guest(fixture, MANY);
	assert_flat(measure(&small, walk_guest, FEW),
		    measure(fixture, walk_guest, MANY));
	table_free(small.table);
}

/* A page costs what is on it, not what the host has besides. */
static void test_cost_of_page(void **state)
{
	struct fixture *fixture = *state;
	struct fixture small = {.table = table_new()};

	assert_non_null(small.table);
	fill(&small, FEW);
	fill(fixture, MANY);
	assert_flat(measure(&small, read_pages, FEW),
		    measure(fixture, read_pages, MANY));
	table_free(small.table);
}

/* One flow more of an endpoint, and two fewer: the newest, and one among all. */
static void change_flows(struct fixture *fixture, unsigned int count)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		struct lease lease = make_flow(fixture, count + 1);
		struct lease among =
			*table_get_by_id(fixture->table, fixture->last_id - count / 2);

		add(fixture, &lease);
		assert_non_null(get_first(fixture));
		table_remove(fixture->table, lease.id, 0);
		table_remove(fixture->table, among.id, 0);
		among.id = lease.id;
		add(fixture, &among);
	}
}

static void fill_flows(struct fixture *fixture, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct lease lease = make_flow(fixture, i);

		add(fixture, &lease);
	}
}

/* A host's flows from one port cost no more where there are many. */
static void test_cost_of_flows(void **state)
{
	struct fixture *fixture = *state;
	struct fixture small = {.table = table_new()};

	assert_non_null(small.table);
	fill_flows(&small, FEW);
	fill_flows(fixture, MANY);
	assert_flat(measure(&small, change_flows, FEW),
		    measure(fixture, change_flows, MANY));
	table_free(small.table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order_by_port, setup, teardown),
		cmocka_unit_test_setup_teardown(test_order_of_listed_only, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_other_keys_end_it, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_outbound_comes_first, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_cost_of_flows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rested_ports_a_turn, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_cost_of_page, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cost_of_host, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
