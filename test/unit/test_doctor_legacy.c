/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "doctor/legacy.h"

#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/xt_connmark.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <stdlib.h>
#include <string.h>

#define MARK 0x10000000u
#define ROOM 16384
#define ACCEPT (-NF_ACCEPT - 1)
#define DROP (-NF_DROP - 1)

/** A table as it grows; the rules of IPv4 unless ipv6. */
struct builder {
	struct legacy_table table;
	uint32_t last; /* where the last rule begins */
};

static void builder_init(struct builder *builder, bool ipv6)
{
	memset(builder, 0, sizeof(*builder));
	builder->table.state = LEGACY_READ;
	builder->table.ipv6 = ipv6;
	builder->table.hooks = 1u << NF_INET_FORWARD;
	builder->table.bytes = calloc(1, ROOM);
	assert_non_null(builder->table.bytes);
}

/* A rule in pieces: its head, then matches, then its target. Returns its offset. */
static uint32_t rule_begin(struct builder *builder)
{
	builder->last = (uint32_t)builder->table.size;
	builder->table.size += builder->table.ipv6 ? sizeof(struct ip6t_entry)
						   : sizeof(struct ipt_entry);
	return builder->last;
}

static void rule_add_match(struct builder *builder, const char *name, uint8_t revision,
			   const void *info, size_t size)
{
	size_t whole = XT_ALIGN(sizeof(struct xt_entry_match) + size);
	uint8_t *at = builder->table.bytes + builder->table.size;
	struct xt_entry_match match;

	memset(&match, 0, sizeof(match));
	match.u.user.match_size = (uint16_t)whole;
	match.u.user.revision = revision;
	memcpy(match.u.user.name, name, strlen(name));
	memcpy(at, &match, sizeof(match));
	if (size > 0)
		memcpy(at + sizeof(match), info, size);
	builder->table.size += whole;
}

static void entry_set_offsets(struct builder *builder, size_t target, size_t next)
{
	uint8_t *at = builder->table.bytes + builder->last;
	struct ipt_entry entry;
	struct ip6t_entry entry6;

	if (builder->table.ipv6) {
		memcpy(&entry6, at, sizeof(entry6));
		entry6.target_offset = (uint16_t)target;
		entry6.next_offset = (uint16_t)next;
		memcpy(at, &entry6, sizeof(entry6));
		return;
	}
	memcpy(&entry, at, sizeof(entry));
	entry.target_offset = (uint16_t)target;
	entry.next_offset = (uint16_t)next;
	memcpy(at, &entry, sizeof(entry));
}

static void rule_end(struct builder *builder, const char *name, int verdict)
{
	struct xt_standard_target target;
	size_t begin = builder->table.size - builder->last;

	memset(&target, 0, sizeof(target));
	target.target.u.user.target_size = sizeof(target);
	memcpy(target.target.u.user.name, name, strlen(name));
	target.verdict = verdict;
	memcpy(builder->table.bytes + builder->table.size, &target, sizeof(target));
	builder->table.size += sizeof(target);
	entry_set_offsets(builder, begin, begin + sizeof(target));
}

static uint32_t add_plain(struct builder *builder, const char *name, int verdict)
{
	uint32_t at = rule_begin(builder);

	rule_end(builder, name, verdict);
	return at;
}

static void add_connmark(struct builder *builder, int verdict)
{
	const struct xt_connmark_mtinfo1 info = {.mark = MARK, .mask = MARK};

	rule_begin(builder);
	rule_add_match(builder, "connmark", 1, &info, sizeof(info));
	rule_end(builder, "", verdict);
}

static void add_state_as(struct builder *builder, unsigned int flags,
			 unsigned int state, int verdict)
{
	struct xt_conntrack_mtinfo3 info;

	memset(&info, 0, sizeof(info));
	info.match_flags = (uint16_t)flags;
	info.state_mask = (uint16_t)state;
	rule_begin(builder);
	rule_add_match(builder, "conntrack", 3, &info, sizeof(info));
	rule_end(builder, "", verdict);
}

static void add_state(struct builder *builder, unsigned int state, int verdict)
{
	add_state_as(builder, XT_CONNTRACK_STATE, state, verdict);
}

/* A jump from there to the rule that follows now. */
static void set_jump(struct builder *builder, uint32_t rule)
{
	struct ipt_entry entry;
	int to = (int)builder->table.size;

	memcpy(&entry, builder->table.bytes + rule, sizeof(entry));
	memcpy(builder->table.bytes + rule + entry.target_offset +
		       offsetof(struct xt_standard_target, verdict),
	       &to, sizeof(to));
}

/* The policy of the chain, its last rule. */
static void set_policy(struct builder *builder, int verdict)
{
	builder->table.underflows[NF_INET_FORWARD] = add_plain(builder, "", verdict);
}

static struct packet make_leased(bool ipv6)
{
	struct packet packet = {.ipv6 = ipv6,
				.in = "wan0",
				.out = "lan0",
				.protocol = IPPROTO_UDP,
				.is_new = true,
				.translated = !ipv6,
				.source_port = 4000,
				.destination_port = 5000,
				.mark = MARK};

	assert_true(addr_parse(ipv6 ? "2600::1" : "8.8.8.8", &packet.source));
	assert_true(addr_parse(ipv6 ? "fd00::2" : "192.168.1.2", &packet.destination));
	return packet;
}

static struct legacy_verdict builder_walk(struct builder *builder,
					  const struct packet *packet)
{
	struct legacy_verdict verdict =
		legacy_walk(&builder->table, NF_INET_FORWARD, packet);

	legacy_free(&builder->table);
	return verdict;
}

static enum packet_fate builder_ask(struct builder *builder)
{
	struct packet packet = make_leased(builder->table.ipv6);

	return builder_walk(builder, &packet).fate;
}

static void test_policy(void **state)
{
	const struct {
		int policy;
		enum packet_fate fate;
	} rows[] = {{ACCEPT, PACKET_PASSES}, {DROP, PACKET_DROPPED}};

	(void)state;
	for (int ipv6 = 0; ipv6 <= 1; ipv6++) {
		for (size_t i = 0; i < 2; i++) {
			struct packet packet = make_leased(ipv6);
			struct builder builder;
			struct legacy_verdict verdict;

			builder_init(&builder, ipv6);
			set_policy(&builder, rows[i].policy);
			assert_false(legacy_has_rules(&builder.table, NF_INET_FORWARD));
			verdict = builder_walk(&builder, &packet);
			assert_int_equal(verdict.fate, rows[i].fate);
			assert_int_equal(verdict.by_policy, rows[i].policy == DROP);
		}
	}
}

/* The rule that doctor asks for ends the matter; not for a packet without mark. */
static void test_mark(void **state)
{
	struct packet packet = make_leased(false);
	struct builder builder;

	(void)state;
	builder_init(&builder, false);
	add_connmark(&builder, ACCEPT);
	set_policy(&builder, DROP);
	assert_true(legacy_has_rules(&builder.table, NF_INET_FORWARD));
	packet.mark = 0x20000001;
	assert_int_equal(legacy_walk(&builder.table, NF_INET_FORWARD, &packet).fate,
			 PACKET_DROPPED);
	assert_int_equal(builder_ask(&builder), PACKET_PASSES);
}

static void test_state(void **state)
{
	unsigned int established = XT_CONNTRACK_STATE_BIT(IP_CT_ESTABLISHED);
	struct packet packet = make_leased(false);
	struct builder builder;

	(void)state;
	builder_init(&builder, false);
	add_state(&builder, established, ACCEPT);
	set_policy(&builder, DROP);
	assert_int_equal(legacy_walk(&builder.table, NF_INET_FORWARD, &packet).fate,
			 PACKET_DROPPED);
	packet.is_new = false;
	assert_int_equal(builder_walk(&builder, &packet).fate, PACKET_PASSES);
	builder_init(&builder, false);
	add_state(&builder, XT_CONNTRACK_STATE_DNAT, ACCEPT);
	set_policy(&builder, DROP);
	assert_int_equal(builder_ask(&builder), PACKET_PASSES);
}

/* As `-m state` is kept: the same match, with a flag that says so. */
static void test_state_alias(void **state)
{
	unsigned int flags = XT_CONNTRACK_STATE | XT_CONNTRACK_STATE_ALIAS;
	struct packet packet = make_leased(false);
	struct builder builder;

	(void)state;
	builder_init(&builder, false);
	add_state_as(&builder, flags, XT_CONNTRACK_STATE_BIT(IP_CT_NEW), DROP);
	set_policy(&builder, ACCEPT);
	assert_int_equal(legacy_walk(&builder.table, NF_INET_FORWARD, &packet).fate,
			 PACKET_DROPPED);
	packet.is_new = false;
	assert_int_equal(builder_walk(&builder, &packet).fate, PACKET_PASSES);
	/* What else it asks for is not understood. */
	builder_init(&builder, false);
	add_state_as(&builder, flags | XT_CONNTRACK_EXPIRES,
		     XT_CONNTRACK_STATE_BIT(IP_CT_NEW), DROP);
	set_policy(&builder, ACCEPT);
	assert_int_equal(builder_ask(&builder), PACKET_UNKNOWN);
}

static void test_reject_and_log(void **state)
{
	struct builder builder;

	(void)state;
	builder_init(&builder, false);
	add_plain(&builder, "LOG", 0);
	add_plain(&builder, "REJECT", 0);
	set_policy(&builder, ACCEPT);
	assert_int_equal(builder_ask(&builder), PACKET_DROPPED);
	builder_init(&builder, false);
	add_plain(&builder, "SOMETHING", 0);
	set_policy(&builder, DROP);
	assert_int_equal(builder_ask(&builder), PACKET_UNKNOWN);
}

/* What is not understood before a drop makes it uncertain; behind it, nothing. */
static void test_unknown_match(void **state)
{
	struct builder builder;

	(void)state;
	builder_init(&builder, false);
	rule_begin(&builder);
	rule_add_match(&builder, "geoip", 1, NULL, 0);
	rule_end(&builder, "", ACCEPT);
	set_policy(&builder, DROP);
	assert_int_equal(builder_ask(&builder), PACKET_UNKNOWN);
	builder_init(&builder, false);
	add_plain(&builder, "", DROP);
	rule_begin(&builder);
	rule_add_match(&builder, "geoip", 1, NULL, 0);
	rule_end(&builder, "", ACCEPT);
	set_policy(&builder, ACCEPT);
	assert_int_equal(builder_ask(&builder), PACKET_DROPPED);
	builder_init(&builder, false);
	rule_begin(&builder);
	rule_add_match(&builder, "limit", 0, NULL, 0);
	rule_end(&builder, "", ACCEPT);
	set_policy(&builder, ACCEPT);
	assert_int_equal(builder_ask(&builder), PACKET_PASSES);
}

/* forward: jump user; [rules of user]; policy */
static enum packet_fate ask_user_chain(void (*fill)(struct builder *builder),
				       int policy)
{
	struct builder builder;
	uint32_t jump;

	builder_init(&builder, false);
	jump = add_plain(&builder, "", 0);
	set_policy(&builder, policy);
	add_plain(&builder, XT_ERROR_TARGET, 0);
	set_jump(&builder, jump);
	fill(&builder);
	add_plain(&builder, "", XT_RETURN);
	return builder_ask(&builder);
}

static void fill_nothing(struct builder *builder)
{
	(void)builder;
}

static void fill_accept(struct builder *builder)
{
	add_connmark(builder, ACCEPT);
	add_plain(builder, "", DROP);
}

static void fill_return(struct builder *builder)
{
	add_connmark(builder, XT_RETURN);
	add_plain(builder, "", DROP);
}

static void fill_maybe_return(struct builder *builder)
{
	rule_begin(builder);
	rule_add_match(builder, "geoip", 1, NULL, 0);
	rule_end(builder, "", XT_RETURN);
	add_plain(builder, "", DROP);
}

static void test_user_chain(void **state)
{
	(void)state;
	assert_int_equal(ask_user_chain(fill_nothing, DROP), PACKET_DROPPED);
	assert_int_equal(ask_user_chain(fill_nothing, ACCEPT), PACKET_PASSES);
	assert_int_equal(ask_user_chain(fill_accept, DROP), PACKET_PASSES);
	assert_int_equal(ask_user_chain(fill_return, ACCEPT), PACKET_PASSES);
	assert_int_equal(ask_user_chain(fill_return, DROP), PACKET_DROPPED);
	assert_int_equal(ask_user_chain(fill_maybe_return, ACCEPT), PACKET_UNKNOWN);
	assert_int_equal(ask_user_chain(fill_maybe_return, DROP), PACKET_DROPPED);
}

/* Interfaces, addresses and protocol are of the head of a rule. */
static void test_head(void **state)
{
	struct builder builder;
	struct ipt_entry entry;
	const struct {
		const char *in;
		uint8_t inverse;
		uint16_t protocol;
		enum packet_fate fate;
	} rows[] = {
		{"wan0", 0, IPPROTO_UDP, PACKET_DROPPED},
		{"wan0", 0, 0, PACKET_DROPPED},
		{"wan1", 0, 0, PACKET_PASSES},
		{"wan1", IPT_INV_VIA_IN, 0, PACKET_DROPPED},
		{"wan0", 0, IPPROTO_TCP, PACKET_PASSES},
		{"wan0", IPT_INV_PROTO, IPPROTO_TCP, PACKET_DROPPED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t at;

		builder_init(&builder, false);
		at = add_plain(&builder, "", DROP);
		memcpy(&entry, builder.table.bytes + at, sizeof(entry));
		memcpy(entry.ip.iniface, rows[i].in, strlen(rows[i].in));
		memset(entry.ip.iniface_mask, 0xff, strlen(rows[i].in) + 1);
		entry.ip.proto = rows[i].protocol;
		entry.ip.invflags = rows[i].inverse;
		memcpy(builder.table.bytes + at, &entry, sizeof(entry));
		set_policy(&builder, ACCEPT);
		assert_int_equal(builder_ask(&builder), rows[i].fate);
	}
}

/* A table that is not what the kernel promises is no reason to believe anything. */
static void test_damage(void **state)
{
	struct packet packet = make_leased(false);
	struct builder builder;
	size_t whole;

	(void)state;
	builder_init(&builder, false);
	add_connmark(&builder, ACCEPT);
	set_policy(&builder, DROP);
	packet.mark = 0;
	whole = builder.table.size;
	for (size_t size = 0; size < whole; size++) {
		builder.table.size = size;
		assert_int_equal(
			legacy_walk(&builder.table, NF_INET_FORWARD, &packet).fate,
			PACKET_UNKNOWN);
	}
	legacy_free(&builder.table);
	/* A chain that calls itself. */
	builder_init(&builder, false);
	add_plain(&builder, "", ACCEPT);
	set_jump(&builder, add_plain(&builder, "", 0));
	builder.table.entries[NF_INET_FORWARD] = builder.last;
	memset(builder.table.bytes + builder.table.size - sizeof(int), 0, sizeof(int));
	memcpy(builder.table.bytes + builder.last + sizeof(struct ipt_entry) +
		       offsetof(struct xt_standard_target, verdict),
	       &builder.last, sizeof(builder.last));
	assert_int_equal(builder_ask(&builder), PACKET_UNKNOWN);
}

static void test_absent(void **state)
{
	struct legacy_table table = {.state = LEGACY_ABSENT};
	struct packet packet = make_leased(false);

	(void)state;
	assert_int_equal(legacy_walk(&table, NF_INET_FORWARD, &packet).fate,
			 PACKET_PASSES);
	table.state = LEGACY_UNREADABLE;
	assert_int_equal(legacy_walk(&table, NF_INET_FORWARD, &packet).fate,
			 PACKET_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_mark),
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_state_alias),
		cmocka_unit_test(test_reject_and_log),
		cmocka_unit_test(test_unknown_match),
		cmocka_unit_test(test_user_chain),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_absent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
