/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "backends/memory.h"

static const struct backend_events events = {0};

static int open_backend(void **state)
{
	struct backend_config config = {.mark = 1};
	struct backend *backend = NULL;

	if (backend_get_memory()->open(&config, &events, NULL, &backend) < 0)
		return -1;
	*state = backend;
	return 0;
}

static int close_backend(void **state)
{
	backend_get_memory()->close(*state, false);
	return 0;
}

static struct rule make_rule(uint16_t port, uint8_t host)
{
	return (struct rule){
		.protocol = IPPROTO_UDP,
		.external_port = port,
		.internal_port = port,
		.external = addr_from_ipv4((struct in_addr){htonl(0xcb007101)}),
		.internal = addr_from_ipv4((struct in_addr){htonl(0xc0a84d00U + host)}),
		.timeout_ms = 1000,
	};
}

static int apply(struct backend *backend, const struct backend_change *changes,
		 size_t count)
{
	return backend_get_memory()->apply(backend, changes, count);
}

static struct backend_change add(uint16_t port, uint8_t host)
{
	return (struct backend_change){.kind = CHANGE_ADD,
				       .after = make_rule(port, host)};
}

static struct backend_change delete (uint16_t port, uint8_t host)
{
	return (struct backend_change){.kind = CHANGE_DELETE,
				       .before = make_rule(port, host)};
}

static struct backend_change replace(uint16_t port, uint8_t before, uint8_t after)
{
	return (struct backend_change){.kind = CHANGE_REPLACE,
				       .before = make_rule(port, before),
				       .after = make_rule(port, after)};
}

struct found {
	struct rule rules[8];
	size_t count;
	int answer;
};

static int visit(void *user, const struct rule *rule)
{
	struct found *found = user;

	assert_true(found->count < 8);
	found->rules[found->count++] = *rule;
	return found->answer;
}

/* True when the backend holds a rule for this port and host. */
static bool holds(struct backend *backend, uint16_t port, uint8_t host)
{
	struct rule wanted = make_rule(port, host);
	struct found found = {0};

	assert_int_equal(backend_get_memory()->dump(backend, visit, &found), 0);
	assert_int_equal(found.count, memory_get_count(backend));
	for (size_t i = 0; i < found.count; i++)
		if (rule_equal(&found.rules[i], &wanted))
			return true;
	return false;
}

static void test_changes_in_order(void **state)
{
	struct backend *backend = *state;
	const struct backend_change changes[] = {
		add(1, 2), add(2, 2), replace(1, 2, 3), delete (2, 2), add(2, 4),
	};

	assert_int_equal(apply(backend, changes, 5), 0);
	assert_int_equal(memory_get_count(backend), 2);
	assert_true(holds(backend, 1, 3));
	assert_true(holds(backend, 2, 4));
	assert_false(holds(backend, 1, 2));
}

static void test_all_or_nothing(void **state)
{
	struct backend *backend = *state;
	const struct backend_change first[] = {add(1, 2), add(2, 2)};
	const struct backend_change second[] = {
		delete (1, 2), add(1, 3), replace(2, 2, 4), add(3, 2), add(2, 5),
	};

	assert_int_equal(apply(backend, first, 2), 0);
	assert_int_equal(apply(backend, second, 5), -EEXIST);
	assert_int_equal(memory_get_count(backend), 2);
	assert_true(holds(backend, 1, 2));
	assert_true(holds(backend, 2, 2));
}

static void test_delete_of_what_is_gone(void **state)
{
	struct backend *backend = *state;
	const struct backend_change changes[] = {add(1, 2), delete (1, 3),
						 delete (9, 9)};

	assert_int_equal(apply(backend, changes, 3), 0);
	assert_true(holds(backend, 1, 2));
}

static void test_fault_comes_once_and_changes_nothing(void **state)
{
	struct backend *backend = *state;
	const struct backend_change changes[] = {add(1, 2), add(2, 2), add(3, 2)};

	memory_plan_fault(backend, 2, ENOSPC);
	assert_int_equal(apply(backend, &changes[0], 1), 0);
	assert_int_equal(apply(backend, &changes[1], 2), -ENOSPC);
	assert_int_equal(memory_get_count(backend), 1);
	assert_int_equal(apply(backend, &changes[1], 2), 0);
	assert_int_equal(memory_get_count(backend), 3);
	memory_plan_fault(backend, 1, EIO);
	memory_plan_fault(backend, 0, 0);
	assert_int_equal(apply(backend, NULL, 0), 0);
}

static void test_sync_counts_the_difference(void **state)
{
	struct backend *backend = *state;
	const struct backend_change changes[] = {add(1, 2), add(2, 2), add(3, 2)};
	const struct rule wanted[] = {make_rule(1, 2), make_rule(2, 7),
				      make_rule(4, 2)};
	const struct rule twice[] = {make_rule(1, 2), make_rule(1, 3)};
	size_t added = 99;
	size_t removed = 99;

	assert_int_equal(apply(backend, changes, 3), 0);
	assert_int_equal(
		backend_get_memory()->sync(backend, twice, 2, &added, &removed),
		-EEXIST);
	assert_int_equal(added, 99);
	assert_int_equal(memory_get_count(backend), 3);
	assert_int_equal(
		backend_get_memory()->sync(backend, wanted, 3, &added, &removed), 0);
	assert_int_equal(added, 2);
	assert_int_equal(removed, 2);
	assert_true(holds(backend, 2, 7));
	assert_false(holds(backend, 3, 2));
}

static struct rule_filter filter(uint32_t addr, uint8_t length, uint16_t port)
{
	return (struct rule_filter){
		.prefix = {addr_from_ipv4((struct in_addr){htonl(addr)}),
			   (uint8_t)(length + 96)},
		.port = port,
	};
}

static struct backend_change add_filtered(uint8_t host, struct rule_filter filter)
{
	struct backend_change change = add(1, host);

	change.after.filters[change.after.filter_count++] = filter;
	return change;
}

/* As the kernel has it: one port may serve several peers, each of them once. */
static void test_no_peer_by_two_rules(void **state)
{
	struct backend *backend = *state;
	const struct rule_filter everybody = {.prefix.length = 0};
	const struct backend_change there[] = {
		add_filtered(2, filter(0xcb007100, 24, 80)),
		add_filtered(3, filter(0xc6336407, 32, 0)),
		add(1, 4),
	};
	const struct backend_change refused[] = {
		add_filtered(2, filter(0xcb007100, 24, 80)),
		add_filtered(5, filter(0xcb007109, 32, 80)),
		add_filtered(5, filter(0xcb000000, 8, 80)),
		add_filtered(5, filter(0xcb007109, 32, 0)),
		add_filtered(5, filter(0xc6336400, 24, 0)),
		add_filtered(5, filter(0xc6336407, 32, 53)),
		add_filtered(5, everybody),
		add(1, 5),
	};
	const struct backend_change taken[] = {
		add_filtered(5, filter(0xcb007100, 24, 81)),
		add_filtered(5, filter(0xc6336408, 32, 0)),
		add(2, 5),
	};

	assert_int_equal(apply(backend, there, 3), 0);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		const struct backend_change batch[] = {add(9, 9), there[0], refused[i]};

		assert_int_equal(apply(backend, &refused[i], 1), -EEXIST);
		assert_int_equal(apply(backend, batch, 3), -EEXIST);
		assert_int_equal(memory_get_count(backend), 3);
	}
	assert_int_equal(apply(backend, taken, 3), 0);
	assert_int_equal(memory_get_count(backend), 6);
}

/* What keeps a flow stands beside any filters, but not beside another one of it. */
static void test_flow_beside_filters(void **state)
{
	struct backend *backend = *state;
	const struct backend_change filters[] = {
		add_filtered(2, filter(0xcb007109, 32, 80)),
		add_filtered(2, filter(0xc6336407, 32, 0)),
	};
	struct backend_change flow = add_filtered(2, filter(0xcb007109, 32, 80));
	struct backend_change other = add_filtered(2, filter(0xcb007109, 32, 81));

	flow.after.flow = true;
	other.after.flow = true;
	assert_int_equal(apply(backend, filters, 2), 0);
	assert_int_equal(apply(backend, &flow, 1), 0);
	assert_int_equal(apply(backend, &flow, 1), -EEXIST);
	assert_int_equal(apply(backend, &other, 1), 0);
	assert_false(rule_equal(&flow.after, &filters[0].after));
	flow.kind = CHANGE_DELETE;
	flow.before = flow.after;
	assert_int_equal(apply(backend, &flow, 1), 0);
	assert_int_equal(memory_get_count(backend), 3);
}

static void test_filters_are_replaced(void **state)
{
	struct backend *backend = *state;
	struct backend_change changes[] = {
		add_filtered(2, filter(0xcb007102, 32, 0)),
		{.kind = CHANGE_REPLACE},
		add_filtered(3, filter(0xcb007102, 32, 0)),
		{.kind = CHANGE_REPLACE},
	};

	changes[1].before = changes[0].after;
	changes[1].after = changes[0].after;
	changes[1].after.filters[0] = filter(0xcb007103, 32, 0);
	/* This one would take what the rule before it has just given up. */
	changes[3].before = changes[2].after;
	changes[3].after = changes[2].after;
	changes[3].after.filters[0] = filter(0xcb007100, 24, 0);
	assert_int_equal(apply(backend, changes, 4), -EEXIST);
	assert_int_equal(memory_get_count(backend), 0);
	assert_int_equal(apply(backend, changes, 3), 0);
	assert_int_equal(memory_get_count(backend), 2);
	assert_int_equal(apply(backend, &changes[3], 1), -EEXIST);
	changes[3].after.filters[0].port = 53;
	changes[3].after.filters[0].prefix.length = 128;
	assert_int_equal(apply(backend, &changes[3], 1), 0);
	assert_int_equal(memory_get_count(backend), 2);
}

static void test_undo_finds_places_that_were_empty(void **state)
{
	struct backend *backend = *state;
	const struct backend_change first = add(1, 2);
	const struct backend_change second[] = {delete (1, 2), add(1, 3), add(1, 4)};

	assert_int_equal(apply(backend, &first, 1), 0);
	assert_int_equal(apply(backend, second, 3), -EEXIST);
	assert_int_equal(memory_get_count(backend), 1);
	assert_true(holds(backend, 1, 2));
}

static void test_dump_stops_when_told(void **state)
{
	struct backend *backend = *state;
	const struct backend_change changes[] = {add(1, 2), add(2, 2)};
	struct found found = {.answer = 5};

	assert_int_equal(apply(backend, changes, 2), 0);
	assert_int_equal(backend_get_memory()->dump(backend, visit, &found), 5);
	assert_int_equal(found.count, 1);
}

static void test_counters_know_their_rules(void **state)
{
	struct backend *backend = *state;
	const struct backend_change change = add(1, 2);
	struct rule other = make_rule(1, 3);
	struct rule_counters counters = {.packets = 7};

	assert_int_equal(apply(backend, &change, 1), 0);
	assert_int_equal(
		backend_get_memory()->counters(backend, &change.after, &counters), 0);
	assert_int_equal(counters.packets, 0);
	assert_int_equal(backend_get_memory()->counters(backend, &other, &counters),
			 -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_changes_in_order, open_backend,
						close_backend),
		cmocka_unit_test_setup_teardown(test_all_or_nothing, open_backend,
						close_backend),
		cmocka_unit_test_setup_teardown(test_delete_of_what_is_gone,
						open_backend, close_backend),
		cmocka_unit_test_setup_teardown(
			test_fault_comes_once_and_changes_nothing, open_backend,
			close_backend),
		cmocka_unit_test_setup_teardown(test_sync_counts_the_difference,
						open_backend, close_backend),
		cmocka_unit_test_setup_teardown(test_no_peer_by_two_rules, open_backend,
						close_backend),
		cmocka_unit_test_setup_teardown(test_flow_beside_filters, open_backend,
						close_backend),
		cmocka_unit_test_setup_teardown(test_filters_are_replaced, open_backend,
						close_backend),
		cmocka_unit_test_setup_teardown(test_undo_finds_places_that_were_empty,
						open_backend, close_backend),
		cmocka_unit_test_setup_teardown(test_dump_stops_when_told, open_backend,
						close_backend),
		cmocka_unit_test_setup_teardown(test_counters_know_their_rules,
						open_backend, close_backend),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
