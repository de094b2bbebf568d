/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Another configuration against the one that runs: what follows, and where LANs stand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/parser.h"
#include "daemon/reload.h"
#include "protocols/worker.h"

struct fixture {
	struct conf now, next;
	struct reload_diff diff;
};

static int setup(void **state)
{
	struct fixture *fixture = test_calloc(1, sizeof(*fixture));

	conf_init(&fixture->now);
	conf_init(&fixture->next);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	test_free(*state);
	return 0;
}

static void merge(struct fixture *fixture)
{
	reload_merge(&fixture->now, &fixture->next, &fixture->diff);
}

static void add_lan(struct conf *conf, const char *name, uint8_t protocols)
{
	struct conf_lan *lan = &conf->lans[conf->lan_count++];

	(void)snprintf(lan->name, sizeof(lan->name), "%s", name);
	lan->protocols = protocols;
	lan->igd = 3;
}

/* --- keys --- */

static bool says_restart(const struct reload_diff *diff, const char *section,
			 const char *key)
{
	char name[64];

	(void)snprintf(name, sizeof(name), "[%s] %s", section, key);
	return strcmp(diff->restart, name) == 0;
}

/* The octets of one key of a file are other ones: that is told, one way or the other.
 */
static void check_octets(struct fixture *fixture, const char *section, const char *key,
			 size_t offset)
{
	uint8_t *octet = (uint8_t *)&fixture->next + offset;
	uint8_t old = *octet;

	*octet ^= 1;
	merge(fixture);
	if (!fixture->diff.changed && !says_restart(&fixture->diff, section, key))
		fail_msg("[%s] %s: daemon/reload.c does not know what follows from it",
			 section, key);
	/* a key that needs a restart is as it was */
	assert_int_equal(*octet == old, fixture->diff.restart[0] != '\0');
	*octet = old;
}

static void check_key(struct fixture *fixture, const struct conf_section *section,
		      const struct conf_field *field)
{
	static const size_t wan_address[] = {
		offsetof(struct conf, wan.address),
		offsetof(struct conf, wan.stun_host),
		offsetof(struct conf, wan.stun_port),
	};

	if (field->type == CONF_TYPE_WAN_ADDRESS) {
		for (size_t i = 0; i < 3; i++)
			check_octets(fixture, section->name, field->key,
				     wan_address[i]);
		return;
	}
	check_octets(fixture, section->name, field->key, field->offset);
	check_octets(fixture, section->name, field->key,
		     field->offset + field->size - 1);
}

/* A key that is added to the configuration has to be added here, too. */
static void test_every_key_is_known(void **state)
{
	struct fixture *fixture = *state;
	const struct conf_section *section;
	size_t count = 0;

	for (size_t i = 0; (section = conf_section_get(i)); i++)
		for (size_t f = 0; f < section->field_count; f++) {
			const struct conf_field *field = &section->fields[f];

			if (strcmp(section->name, "lan") == 0 ||
			    field->type == CONF_TYPE_RULE)
				continue;
			check_key(fixture, section, field);
			count++;
		}
	assert_true(count > 30);
}

static void test_every_key_of_a_lan(void **state)
{
	const struct conf_section *section = conf_section_find("lan");
	struct fixture *fixture = *state;

	add_lan(&fixture->now, "lan0", CONF_PROTOCOLS_DEFAULT);
	for (size_t f = 0; f < section->field_count; f++) {
		const struct conf_field *field = &section->fields[f];
		struct conf_lan *lan = &fixture->next.lans[0];

		fixture->next = fixture->now;
		if (field->type == CONF_TYPE_NETWORKS)
			lan->network_count = 1;
		else
			*((uint8_t *)lan + field->offset) ^= 1;
		merge(fixture);
		assert_true(fixture->diff.network && fixture->diff.policy);
		assert_int_equal(fixture->diff.workers, 0);
	}
}

static void test_nothing_is_new(void **state)
{
	struct fixture *fixture = *state;

	merge(fixture);
	assert_false(fixture->diff.changed);
	assert_string_equal(fixture->diff.restart, "");
	/* a comment above the rules moves them: that is no other policy */
	fixture->next.rules[0].line = 12;
	merge(fixture);
	assert_false(fixture->diff.changed);
	assert_int_equal(fixture->next.rules[0].line, 12);
}

static void test_what_follows(void **state)
{
	struct fixture *fixture = *state;
	struct conf *next = &fixture->next;
	struct reload_diff *diff = &fixture->diff;

	next->global.http_port++;
	merge(fixture);
	assert_int_equal(diff->workers, LAN_PROTOCOL_UPNP);
	assert_false(diff->network || diff->policy || diff->log);

	*next = fixture->now;
	next->global.pcp_opcodes = CONF_PCP_MAP;
	merge(fixture);
	assert_int_equal(diff->workers, LAN_PROTOCOL_PCP);

	*next = fixture->now;
	next->limits.leases_per_client = 1;
	next->global.log_level = LOG_LEVEL_DEBUG;
	merge(fixture);
	assert_true(diff->changed && diff->log);
	assert_false(diff->workers || diff->network || diff->policy || diff->foreign);

	*next = fixture->now;
	next->rules[0].external.first = 2000;
	merge(fixture);
	assert_true(diff->policy);
	assert_int_equal(diff->workers, 0);

	*next = fixture->now;
	next->rule_count = 1;
	next->backend.integrate.how = CONF_INTEGRATE_AUTO;
	next->global.hosts_by_mac = false;
	merge(fixture);
	assert_true(diff->policy && diff->foreign && diff->hosts);
}

/* --- what each key takes, by what it is --- */

/* This follows from what is new in `next`, and nothing else. */
static void check_follows(struct fixture *fixture, const char *what,
			  const struct reload_diff *wanted)
{
	const struct reload_diff *diff = &fixture->diff;

	merge(fixture);
	if (!diff->changed || diff->network != wanted->network ||
	    diff->workers != wanted->workers || diff->policy != wanted->policy ||
	    diff->hosts != wanted->hosts || diff->log != wanted->log ||
	    diff->foreign != wanted->foreign || diff->restart[0] != '\0')
		fail_msg("%s: not what follows from it", what);
	fixture->next = fixture->now;
}

/* Worker upnp is told once of its pages, its ports and its pace. */
static void test_keys_of_upnp(void **state)
{
	const struct reload_diff wanted = {.workers = LAN_PROTOCOL_UPNP};
	struct fixture *fixture = *state;
	struct conf *next = &fixture->next;

	next->global.friendly_name[0] = 'x';
	check_follows(fixture, "friendly-name", &wanted);
	next->global.http_port++;
	check_follows(fixture, "http-port", &wanted);
	next->global.ssdp_strict = !next->global.ssdp_strict;
	check_follows(fixture, "ssdp-delay", &wanted);
}

/* And worker pcp of what it puts into its answers. */
static void test_keys_of_pcp(void **state)
{
	const struct reload_diff wanted = {.workers = LAN_PROTOCOL_PCP};
	struct fixture *fixture = *state;
	struct conf *next = &fixture->next;

	next->wan.nat64.length = 96;
	check_follows(fixture, "nat64-prefix", &wanted);
	next->global.pcp_opcodes = CONF_PCP_MAP;
	check_follows(fixture, "pcp-opcodes", &wanted);
	next->limits.ports_per_request++;
	check_follows(fixture, "ports-per-request", &wanted);
}

/* Both count requests. */
static void test_pace_is_of_both_workers(void **state)
{
	const struct reload_diff wanted = {.workers = LAN_PROTOCOL_UPNP |
						      LAN_PROTOCOL_PCP};
	struct fixture *fixture = *state;

	fixture->next.limits.requests_per_second++;
	check_follows(fixture, "requests-per-second", &wanted);
}

/* What is told of the WAN. */
static void test_keys_that_are_told_of_the_wan(void **state)
{
	const struct reload_diff wanted = {.network = true};
	struct fixture *fixture = *state;
	struct conf *next = &fixture->next;

	next->wan.bit_rate_up = 1000000;
	check_follows(fixture, "bit-rate-up", &wanted);
	next->wan.bit_rate_down = 1000000;
	check_follows(fixture, "bit-rate-down", &wanted);
	next->wan.interface[0] = 'x';
	check_follows(fixture, "interface", &wanted);
}

/* What decides of leases that are there, and is told to workers with their LANs: that
 * pinholes are to be had, that a port may be had for others. */
static void test_keys_that_decide_of_leases(void **state)
{
	const struct reload_diff wanted = {.network = true, .policy = true};
	struct fixture *fixture = *state;
	struct conf *next = &fixture->next;

	next->wan.pinholes = CONF_PINHOLES_OFF;
	check_follows(fixture, "pinholes", &wanted);
	next->wan.nat = !next->wan.nat;
	check_follows(fixture, "nat", &wanted);
	next->rules[next->rule_count++].allow = true;
	check_follows(fixture, "a rule more", &wanted);
	fixture->now.rule_count = next->rule_count = 1;
	next->rules[0].has_third_party = true;
	check_follows(fixture, "a rule about third parties", &wanted);
}

static void test_restart_only(void **state)
{
	struct fixture *fixture = *state;
	struct conf *next = &fixture->next;

	next->backend.type = CONF_BACKEND_MEMORY;
	next->backend.mark = 2;
	(void)snprintf(next->global.state_dir, sizeof(next->global.state_dir), "/x");
	(void)snprintf(next->global.control_socket, sizeof(next->global.control_socket),
		       "/y");
	(void)snprintf(next->global.user, sizeof(next->global.user), "u");
	(void)snprintf(next->global.net_user, sizeof(next->global.net_user), "n");
	merge(fixture);
	assert_false(fixture->diff.changed);
	assert_string_equal(fixture->diff.restart,
			    "[backend] type, [backend] mark, [global] state-dir, "
			    "[global] control-socket, [global] user, [global] "
			    "net-user");
	assert_memory_equal(next, &fixture->now, sizeof(*next));
}

/* --- LANs --- */

static void check_lan(const struct conf *conf, size_t index, const char *name,
		      uint8_t protocols)
{
	assert_true(index < conf->lan_count);
	assert_string_equal(conf->lans[index].name, name);
	assert_int_equal(conf->lans[index].protocols, protocols);
	assert_int_equal(reload_is_left(&conf->lans[index]), protocols == 0);
}

static void test_lans_keep_their_places(void **state)
{
	struct fixture *fixture = *state;

	add_lan(&fixture->now, "lan0", CONF_PROTOCOLS_DEFAULT);
	add_lan(&fixture->now, "lan1", CONF_PROTOCOL_PCP);
	add_lan(&fixture->now, "lan2", CONF_PROTOCOLS_DEFAULT);
	/* in another order, one goes, one is new, one is another */
	add_lan(&fixture->next, "new0", CONF_PROTOCOL_NATPMP);
	add_lan(&fixture->next, "lan2", CONF_PROTOCOL_UPNP);
	add_lan(&fixture->next, "lan0", CONF_PROTOCOLS_DEFAULT);
	merge(fixture);
	assert_true(fixture->diff.network && fixture->diff.policy);
	assert_int_equal(fixture->diff.replaced, 0);
	assert_int_equal(fixture->next.lan_count, 4);
	check_lan(&fixture->next, 0, "lan0", CONF_PROTOCOLS_DEFAULT);
	check_lan(&fixture->next, 1, "lan1", 0);
	check_lan(&fixture->next, 2, "lan2", CONF_PROTOCOL_UPNP);
	check_lan(&fixture->next, 3, "new0", CONF_PROTOCOL_NATPMP);
	/* and comes back, to its place */
	fixture->now = fixture->next;
	conf_init(&fixture->next);
	add_lan(&fixture->next, "lan1", CONF_PROTOCOL_PCP);
	merge(fixture);
	assert_int_equal(fixture->next.lan_count, 4);
	check_lan(&fixture->next, 0, "lan0", 0);
	check_lan(&fixture->next, 1, "lan1", CONF_PROTOCOL_PCP);
	check_lan(&fixture->next, 2, "lan2", 0);
	check_lan(&fixture->next, 3, "new0", 0);
}

/* The order of sections is none of anybody's business. */
static void test_order_is_no_change(void **state)
{
	struct fixture *fixture = *state;

	add_lan(&fixture->now, "lan0", CONF_PROTOCOLS_DEFAULT);
	add_lan(&fixture->now, "lan1", CONF_PROTOCOL_PCP);
	add_lan(&fixture->next, "lan1", CONF_PROTOCOL_PCP);
	add_lan(&fixture->next, "lan0", CONF_PROTOCOLS_DEFAULT);
	merge(fixture);
	assert_false(fixture->diff.changed);
}

static void test_all_places_are_taken(void **state)
{
	struct fixture *fixture = *state;
	char name[IF_NAMESIZE];

	for (unsigned int i = 0; i < CONF_LANS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "lan%u", i);
		add_lan(&fixture->now, name, i == 5 ? 0 : CONF_PROTOCOLS_DEFAULT);
		if (i > 7)
			add_lan(&fixture->next, name, CONF_PROTOCOLS_DEFAULT);
	}
	/* of eight that have gone, one long ago: all are as one file may name them */
	add_lan(&fixture->next, "new0", CONF_PROTOCOL_PCP);
	merge(fixture);
	assert_int_equal(fixture->next.lan_count, CONF_LANS_MAX);
	assert_int_equal(fixture->diff.replaced, 1u << 5);
	check_lan(&fixture->next, 0, "lan0", 0);
	check_lan(&fixture->next, 5, "new0", CONF_PROTOCOL_PCP);
	check_lan(&fixture->next, 8, "lan8", CONF_PROTOCOLS_DEFAULT);
}

/* Names for what was chosen, and back to a choice: each is told. */
static void test_automatic_lans(void **state)
{
	struct fixture *fixture = *state;

	add_lan(&fixture->next, "lan0", CONF_PROTOCOLS_DEFAULT);
	merge(fixture);
	assert_true(fixture->diff.network);
	fixture->now = fixture->next;
	conf_init(&fixture->next);
	merge(fixture);
	assert_true(fixture->diff.network);
	assert_int_equal(fixture->next.lan_count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_every_key_is_known),
		TEST(test_every_key_of_a_lan),
		TEST(test_nothing_is_new),
		TEST(test_what_follows),
		TEST(test_keys_of_upnp),
		TEST(test_keys_of_pcp),
		TEST(test_pace_is_of_both_workers),
		TEST(test_keys_that_are_told_of_the_wan),
		TEST(test_keys_that_decide_of_leases),
		TEST(test_restart_only),
		TEST(test_lans_keep_their_places),
		TEST(test_order_is_no_change),
		TEST(test_all_places_are_taken),
		TEST(test_automatic_lans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
