/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lease table short of memory: random operations, of which now and then one
 * allocation fails, beside a list that is simply walked. What was refused has changed
 * nothing, and whatever is found is what the list has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "daemon/lease_keys.h"
#include "daemon/ports.h"
#include "daemon/table.h"

#define SEEDS 6
#define STEPS 1500
#define LEASES_MAX 96
/* Of so many operations one may lack memory, at one of its first allocations. */
#define FAULT_EVERY 3
#define FAULT_DEPTH 10
#define HOSTS 5
#define PORTS 40
#define FIRST_PORT 2000
#define LANS 3

/* --- allocations that fail --- */

static struct {
	int left; /* allocations that succeed before; -1 = all do */
	bool happened;
} fault = {.left = -1};

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);

static bool fault_is_now(void)
{
	if (fault.left < 0 || fault.left-- > 0)
		return false;
	fault.happened = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fault_is_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fault_is_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fault_is_now() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	return fault_is_now() ? NULL : __real_reallocarray(old, count, size);
}

/* --- what the table should hold --- */

struct fixture {
	struct table *table;
	struct lease list[LEASES_MAX];
	size_t count;
	uint64_t last_id;
	uint32_t random;
	size_t refused; /* for want of memory */
};

static uint32_t draw(struct fixture *fixture, uint32_t below)
{
	fixture->random = fixture->random * 1664525u + 1013904223u;
	return (fixture->random >> 8) % below;
}

static struct ip_addr draw_host(struct fixture *fixture, bool ipv6)
{
	char text[ADDR_TEXT_SIZE];
	struct ip_addr addr;

	(void)snprintf(text, sizeof(text), ipv6 ? "2001:db8::%u" : "192.168.77.%u",
		       2 + draw(fixture, HOSTS));
	assert_true(addr_parse(text, &addr));
	return addr;
}

/* What may differ between two states of one lease. */
static void draw_terms(struct fixture *fixture, struct lease *lease)
{
	static const struct remote_filter filters[] = {{.port = 80}, {.port = 443}};
	static const char *const texts[] = {NULL, "a",
					    "a text that takes more than the others"};

	lease->description = texts[draw(fixture, sizeof(texts) / sizeof(texts[0]))];
	lease->filter_count = (uint8_t)draw(fixture, 3);
	if (lease_has_peer(lease))
		lease->filter_count = 0;
	lease->filters = lease->filter_count > 0 ? filters : NULL;
	lease->enabled = draw(fixture, 4) != 0;
	lease->lan = (uint16_t)draw(fixture, LANS);
	lease->expires_ms =
		draw(fixture, 5) == 0 ? TIME_NEVER : 1 + draw(fixture, 1000);
}

static struct lease draw_lease(struct fixture *fixture)
{
	bool ipv6 = draw(fixture, 4) == 0;
	struct lease lease = {
		.id = ++fixture->last_id,
		.internal = draw_host(fixture, ipv6),
		.internal_port = (uint16_t)(FIRST_PORT + draw(fixture, 4)),
		.external_port = (uint16_t)(FIRST_PORT + draw(fixture, PORTS)),
		.protocol = draw(fixture, 2) ? IPPROTO_UDP : IPPROTO_TCP,
		.origin = (uint8_t)draw(fixture, ORIGIN_COUNT),
	};

	lease.client =
		draw(fixture, 3) == 0 ? draw_host(fixture, ipv6) : lease.internal;
	if (ipv6)
		lease.internal_port = lease.external_port;
	if (draw(fixture, 4) == 0) {
		lease.remote = draw_host(fixture, ipv6);
		lease.remote_port = (uint16_t)draw(fixture, 3);
	} else if (ipv6 && draw(fixture, 2) == 0) {
		lease.pinhole = (uint16_t)(1 + draw(fixture, 50));
	}
	draw_terms(fixture, &lease);
	return lease;
}

/* --- naive walks --- */

static bool has_endpoint_of(const struct lease *a, const struct lease *b)
{
	return addr_equal(&a->internal, &b->internal) && a->protocol == b->protocol &&
	       a->internal_port == b->internal_port;
}

static bool is_listed_for(const struct lease *lease, const struct ip_addr *host)
{
	return lease_is_listed(lease) &&
	       (addr_equal(&lease->client, host) || addr_equal(&lease->internal, host));
}

struct counts {
	size_t endpoint, asked, client, home, listed, wide;
};

static struct counts count_around(const struct fixture *fixture, const struct lease *of)
{
	struct counts counts = {0};

	for (size_t i = 0; i < fixture->count; i++) {
		const struct lease *lease = &fixture->list[i];
		bool client = addr_equal(&lease->client, &of->client);

		counts.endpoint += has_endpoint_of(lease, of);
		counts.client += client;
		counts.asked += client && lease->origin != ORIGIN_STATIC;
		counts.wide += client ? lease_count_wide_filters(lease) : 0;
		counts.home += addr_equal(&lease->internal, &of->internal);
		counts.listed += is_listed_for(lease, &of->internal);
	}
	return counts;
}

/* --- what the table finds --- */

static size_t count_in_order(const struct table *table, const struct ip_addr *host)
{
	struct table_cursor cursor = {.host = table_find_host(table, host)};
	const struct lease *lease;
	uint64_t last = 0;
	size_t count = 0;

	while ((lease = table_get_behind(table, &cursor)) && count < LEASES_MAX) {
		uint64_t place = (uint64_t)lease->protocol << 56 |
				 (uint64_t)lease->external_port << 40 | lease->id;

		assert_true(place > last);
		assert_true(is_listed_for(lease, host));
		last = place;
		cursor.protocol = lease->protocol;
		cursor.port = lease->external_port;
		cursor.id = lease->id;
		count++;
	}
	return count;
}

static void check_chains(const struct table *table, const struct lease *lease,
			 const struct counts *counts)
{
	const struct lease *at;
	size_t count = 0;

	for (at = table_get_by_internal(table, &lease->internal, lease->protocol,
					lease->internal_port);
	     at && count < LEASES_MAX; at = table_get_next_of_internal(table, at))
		count += has_endpoint_of(at, lease);
	assert_int_equal(count, counts->endpoint);
	count = 0;
	for (at = table_get_first_of_client(table, &lease->client);
	     at && count < LEASES_MAX; at = table_get_next_of_client(table, at))
		count += addr_equal(&at->client, &lease->client);
	assert_int_equal(count, counts->client);
	count = 0;
	for (at = table_get_first_of_home(table, &lease->internal);
	     at && count < LEASES_MAX; at = table_get_next_of_home(table, at))
		count += addr_equal(&at->internal, &lease->internal);
	assert_int_equal(count, counts->home);
}

static void check_lease(const struct fixture *fixture, const struct lease *lease)
{
	const struct table *table = fixture->table;
	const struct lease *found = table_get_by_id(table, lease->id);
	struct counts counts = count_around(fixture, lease);
	size_t listed = 0;

	assert_non_null(found);
	assert_true(lease_has_same_keys(found, lease));
	assert_true(lease_has_same_extra(found, lease));
	assert_true(found->expires_ms == lease->expires_ms);
	assert_int_equal(found->enabled, lease->enabled);
	assert_int_equal(found->lan, lease->lan);
	assert_ptr_equal(table_get_by_external(table, lease), found);
	if (lease_is_peer(lease))
		assert_ptr_equal(table_get_by_peer(table, lease), found);
	if (lease->pinhole != 0)
		assert_ptr_equal(table_get_by_pinhole(table, lease->pinhole), found);
	check_chains(table, lease, &counts);
	assert_int_equal(table_get_count_of_client(table, &lease->client),
			 counts.asked);
	assert_int_equal(table_get_wide_count_of_client(table, &lease->client),
			 counts.wide);
	while (table_get_of_host(table, &lease->internal, listed))
		listed++;
	assert_int_equal(listed, counts.listed);
	assert_int_equal(count_in_order(table, &lease->internal), counts.listed);
}

/* A port is held by whom a lease gives it to, and by nobody else. */
static void check_ports(struct fixture *fixture)
{
	bool held[PORTS] = {false};
	struct ip_addr stranger;

	assert_true(addr_parse("192.168.77.99", &stranger));
	for (size_t i = 0; i < fixture->count; i++)
		if (addr_is_ipv4(&fixture->list[i].internal))
			held[fixture->list[i].external_port - FIRST_PORT] = true;
	for (uint16_t i = 0; i < PORTS; i++)
		assert_int_equal(ports_is_free_for(table_get_ports(fixture->table), 0,
						   (uint16_t)(FIRST_PORT + i),
						   &stranger, INT64_MAX / 2),
				 !held[i]);
}

static void check_totals(const struct fixture *fixture)
{
	const struct table *table = fixture->table;
	const struct lease *first = table_get_first_to_expire(table);
	size_t ipv6 = 0, wide = 0, enabled = 0, lans[LANS] = {0};
	int64_t first_ms = TIME_NEVER;

	for (size_t i = 0; i < fixture->count; i++) {
		const struct lease *lease = &fixture->list[i];

		ipv6 += !addr_is_ipv4(&lease->internal);
		wide += lease_count_wide_filters(lease);
		enabled += lease->enabled;
		lans[lease->lan] += lease_is_listed(lease);
		if (lease->expires_ms < first_ms)
			first_ms = lease->expires_ms;
	}
	assert_int_equal(table_get_count(table), fixture->count);
	assert_int_equal(table_get_ipv6_count(table), ipv6);
	assert_int_equal(table_get_wide_count(table), wide);
	assert_int_equal(table_get_enabled_count(table), enabled);
	for (uint16_t lan = 0; lan < LANS; lan++)
		assert_int_equal(table_get_listing_count(table, lan), lans[lan]);
	assert_true((first ? first->expires_ms : TIME_NEVER) == first_ms);
}

/* --- operations --- */

static void fault_arm(struct fixture *fixture)
{
	fault.happened = false;
	fault.left =
		draw(fixture, FAULT_EVERY) == 0 ? (int)draw(fixture, FAULT_DEPTH) : -1;
}

static void do_insert(struct fixture *fixture)
{
	struct lease lease = draw_lease(fixture);
	int error;

	if (fixture->count == LEASES_MAX)
		return;
	fault_arm(fixture);
	error = table_insert(fixture->table, &lease);
	fault.left = -1;
	if (error == 0)
		fixture->list[fixture->count++] = lease;
	else if (error == -ENOMEM)
		fixture->refused++;
	assert_true(error != -ENOMEM || fault.happened);
}

static void do_update(struct fixture *fixture)
{
	struct lease *was = &fixture->list[draw(fixture, (uint32_t)fixture->count)];
	struct lease lease = *was;
	int error;

	draw_terms(fixture, &lease);
	fault_arm(fixture);
	error = table_update(fixture->table, &lease);
	fault.left = -1;
	assert_true(error == 0 || (error == -ENOMEM && fault.happened));
	if (error != 0) {
		fixture->refused++;
		return;
	}
	/* short of memory it stays in the listing it is in */
	if (fault.happened &&
	    table_get_by_id(fixture->table, lease.id)->lan == was->lan)
		lease.lan = was->lan;
	*was = lease;
}

static void do_remove(struct fixture *fixture)
{
	size_t which = draw(fixture, (uint32_t)fixture->count);
	uint64_t id = fixture->list[which].id;

	fault_arm(fixture);
	if (draw(fixture, 2) == 0)
		table_remove(fixture->table, id, 0);
	else
		table_take_back(fixture->table, id);
	fault.left = -1;
	fixture->list[which] = fixture->list[--fixture->count];
	assert_null(table_get_by_id(fixture->table, id));
}

static void do_step(struct fixture *fixture)
{
	uint32_t what = draw(fixture, 10);

	if (what < 5 || fixture->count == 0)
		do_insert(fixture);
	else if (what < 7)
		do_update(fixture);
	else
		do_remove(fixture);
}

static void check_all(struct fixture *fixture)
{
	for (size_t i = 0; i < fixture->count; i++)
		check_lease(fixture, &fixture->list[i]);
	check_totals(fixture);
	check_ports(fixture);
}

static void test_random(void **state)
{
	size_t refused = 0;

	(void)state;
	for (uint32_t seed = 1; seed <= SEEDS; seed++) {
		struct fixture fixture = {.table = table_new(), .random = seed};

		print_message("seed %u\n", seed);
		assert_non_null(fixture.table);
		for (size_t step = 0; step < STEPS; step++) {
			do_step(&fixture);
			check_all(&fixture);
		}
		while (fixture.count > 0)
			do_remove(&fixture);
		check_totals(&fixture);
		refused += fixture.refused;
		table_free(fixture.table);
	}
	/* it did lack memory */
	assert_true(refused > SEEDS);
}

/* A table that there is not enough memory for leaves nothing behind. */
static void test_new(void **state)
{
	struct table *table = NULL;
	int before = 0;

	(void)state;
	while (!table && before < 1000) {
		fault.left = before++;
		table = table_new();
		fault.left = -1;
	}
	assert_non_null(table);
	assert_true(before > 1);
	table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
