/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "daemon/plan.h"
#include "daemon/table.h"

#define ID 7

/* With both, either or none of what stands out of line. */
static struct lease make_lease(struct lease_room *room, uint8_t filters,
			       const char *text)
{
	struct lease lease = {.id = ID,
			      .internal_port = 5000,
			      .external_port = 6000,
			      .protocol = IPPROTO_UDP,
			      .origin = ORIGIN_PCP,
			      .enabled = true,
			      .filter_count = filters,
			      .filters = room->filters,
			      .description = room->description};

	assert_true(addr_parse("192.168.1.20", &lease.internal));
	lease.client = lease.internal;
	for (uint8_t i = 0; i < filters; i++)
		room->filters[i] = (struct remote_filter){.port = (uint16_t)(i + 1)};
	(void)snprintf(room->description, sizeof(room->description), "%s", text);
	return lease;
}

static void check(const struct lease *lease, uint8_t filters, const char *text)
{
	assert_non_null(lease);
	assert_int_equal(lease->filter_count, filters);
	for (uint8_t i = 0; i < filters; i++)
		assert_int_equal(lease->filters[i].port, i + 1);
	assert_string_equal(lease_get_description(lease), text);
}

static const struct {
	uint8_t filters;
	const char *text;
} rows[] = {{0, ""}, {0, "text"}, {3, ""}, {REQUEST_FILTERS_MAX, "other"}, {3, "text"}};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void spoil(struct lease_room *room)
{
	memset(room, 0xa5, sizeof(*room));
}

/* The table has its own, whatever becomes of what it was copied from, and gives back
 * what an update replaces. */
static void test_table_owns(void **state)
{
	struct table *table = table_new();
	struct lease_room room;

	(void)state;
	assert_non_null(table);
	for (size_t first = 0; first < ROWS; first++) {
		struct lease lease =
			make_lease(&room, rows[first].filters, rows[first].text);

		assert_int_equal(table_insert(table, &lease), 0);
		spoil(&room);
		check(table_get_by_id(table, ID), rows[first].filters,
		      rows[first].text);
		for (size_t then = 0; then < ROWS; then++) {
			lease = make_lease(&room, rows[then].filters, rows[then].text);
			assert_int_equal(table_update(table, &lease), 0);
			spoil(&room);
			check(table_get_by_id(table, ID), rows[then].filters,
			      rows[then].text);
		}
		table_remove(table, ID, 0);
	}
	table_free(table);
}

/* A renewal of the same words costs nothing, and what was borrowed stays good. */
static void test_same_stays(void **state)
{
	struct table *table = table_new();
	struct lease_room room;
	struct lease lease = make_lease(&room, 3, "text");
	const char *before;

	(void)state;
	assert_int_equal(table_insert(table, &lease), 0);
	before = table_get_by_id(table, ID)->description;
	lease.expires_ms = 1000;
	assert_int_equal(table_update(table, &lease), 0);
	assert_ptr_equal(table_get_by_id(table, ID)->description, before);
	table_free(table);
}

/* What a plan says of a lease outlives it. */
static void test_plan_owns(void **state)
{
	struct table *table = table_new();
	struct plan plan = {.result = RESULT_OK};
	struct lease_room room;
	struct lease lease = make_lease(&room, 3, "text");

	(void)state;
	assert_int_equal(table_insert(table, &lease), 0);
	lease_plan_end(table, ID, &plan);
	assert_int_equal(plan.count, 1);
	assert_int_equal(lease_commit(table, plan.changes, plan.count, 0), 0);
	assert_null(table_get_by_id(table, ID));
	spoil(&room);
	check(&plan.changes[0].before, 3, "text");
	check(&plan.lease, 3, "text");
	lease_rollback(table, plan.changes, plan.count);
	plan_reset(&plan);
	plan_fini(&plan);
	check(table_get_by_id(table, ID), 3, "text");
	table_free(table);
}

static void test_copies(void **state)
{
	struct lease_room from, room;
	char text[DESCRIPTION_MAX + 1];
	struct lease lease, none = {.id = 1};

	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		lease = make_lease(&from, rows[i].filters, rows[i].text);
		assert_in_range(lease_get_extra_size(&lease), 0, sizeof(room));
		lease_keep_extra(&lease, &room);
		spoil(&from);
		check(&lease, rows[i].filters, rows[i].text);
		memset(text, 0xa5, sizeof(text));
		lease_copy_description(&lease, text);
		assert_string_equal(text, rows[i].text);
		for (size_t n = strlen(text); n < sizeof(text); n++)
			assert_int_equal(text[n], 0);
	}
	assert_string_equal(lease_get_description(&none), "");
	assert_int_equal(lease_get_extra_size(&none), 0);
	assert_false(lease_has_same_extra(&none, &lease));
	assert_true(lease_has_same_extra(&lease, &lease));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_owns),
		cmocka_unit_test(test_same_stays),
		cmocka_unit_test(test_plan_owns),
		cmocka_unit_test(test_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
