/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our one rule in chains of others, and the watch over them, in a real kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/foreign.h"
#include "backends/nft.h"
#include "backends/nft_foreign.h"
#include "test/unit/netns.h"
#include "test/unit/ruleset_lab.h"

#define NFT "nft -f -"
#define TEXT_MAX 65536
#define CHAIN(name, priority)                                                          \
	"table inet t { chain " name " { type filter hook forward priority " priority  \
	"; policy drop; }\n}\n"
#define OURS "ct mark & 0x10000000 == 0x10000000 accept comment \"portreeve\""

#define COMMENT "-m comment --comment portreeve"

static const char *list(const char *command)
{
	static char text[TEXT_MAX];
	FILE *pipe = popen(command, "r");
	size_t length;

	assert_non_null(pipe);
	length = fread(text, 1, sizeof(text) - 1, pipe);
	text[length] = '\0';
	assert_int_equal(pclose(pipe), 0);
	return text;
}

static size_t count_in(const char *text, const char *what)
{
	size_t count = 0;

	for (; (text = strstr(text, what)); text++)
		count++;
	return count;
}

static size_t count_ours(void)
{
	return count_in(list("nft list ruleset"), OURS);
}

static struct backend_network make_network(void)
{
	struct backend_network network = {
		.wan = "wan0", .lan_count = 1, .lans = {"lan0"}};

	network.address_count = 1;
	assert_true(addr_parse("203.0.113.5", &network.addresses[0]));
	network.lan_network_counts[0] = 2;
	assert_true(prefix_parse("192.168.1.0/24", &network.lan_networks[0][0]));
	assert_true(prefix_parse("2001:db8:2::/64", &network.lan_networks[0][1]));
	return network;
}

static struct foreign *open_foreign(enum foreign_how how)
{
	const struct foreign_config config = {.mark = LAB_MARK, .how = how};
	struct foreign *foreign = NULL;

	ruleset_lab_enter();
	ruleset_lab_flush();
	assert_int_equal(foreign_open(&config, &foreign), 0);
	return foreign;
}

static void refresh(struct foreign *foreign)
{
	const struct backend_network network = make_network();

	assert_int_equal(foreign_refresh(foreign, &network, 1), 0);
}

static enum packet_fate get_fate(const struct foreign *foreign, size_t family)
{
	return foreign_get_figures(foreign)->verdicts[family].fate;
}

/* --- the watch --- */

static void test_news(void **state)
{
	static const struct {
		const char *text;
		bool news;
	} rows[] = {
		{"add table inet other", true},
		{"add chain inet other c", true},
		{"add rule inet other c accept", true},
		{"add set inet other s { type inet_service; }", true},
		{"add element inet other s { 5 }", true},
		{"add counter inet other n", false},
		{"add table inet portreeve", false},
		{"add chain inet portreeve c", false},
		{"add set inet portreeve s { type inet_service; }", false},
		{"add element inet portreeve s { 5 }", false},
		{"delete element inet portreeve s { 5 }", false},
		{"add rule inet portreeve c accept", false},
		{"add table ip portreeve", true},
		{"add set ip portreeve s { type inet_service; }", true},
		{"add element ip portreeve s { 5 }", true},
		/* as long, and one letter other at the end, or at the beginning */
		{"add table inet portreevX", true},
		{"add set inet portreevX s { type inet_service; }", true},
		{"add element inet portreevX s { 5 }", true},
		{"delete element inet portreevX s { 5 }", true},
		{"add table inet qortreeve", true},
		{"add set inet qortreeve s { type inet_service; }", true},
		{"add element inet qortreeve s { 5 }", true},
		{"add rule inet portreeve c drop\nadd rule inet other c drop", true},
		{"flush ruleset", true},
	};
	struct foreign *foreign = open_foreign(FOREIGN_OFF);

	(void)state;
	(void)foreign_drain(foreign);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ruleset_lab_load(NFT, rows[i].text);
		if (foreign_drain(foreign) != rows[i].news)
			fail_msg("news or not: %s", rows[i].text);
		assert_false(foreign_drain(foreign));
	}
	foreign_close(foreign, false);
}

/* What we do ourselves is none, or it would never end. */
static void test_own_changes_are_no_news(void **state)
{
	struct foreign *foreign = open_foreign(FOREIGN_AUTO);

	(void)state;
	ruleset_lab_load(NFT, CHAIN("c", "0"));
	(void)foreign_drain(foreign);
	refresh(foreign);
	assert_int_equal(count_ours(), 1);
	assert_false(foreign_drain(foreign));
	foreign_close(foreign, false);
	assert_int_equal(count_ours(), 0);
}

static void test_lost_notifications_are_news(void **state)
{
	struct foreign *foreign = open_foreign(FOREIGN_OFF);
	FILE *pipe = popen(NFT, "w");

	(void)state;
	assert_non_null(pipe);
	assert_true(fputs("add table ip t\nadd set ip t s { type mark; }\n", pipe) >=
		    0);
	for (int i = 0; i < 60000; i++)
		assert_true(fprintf(pipe, "add element ip t s { %d }\n", i) > 0);
	assert_int_equal(pclose(pipe), 0);
	assert_true(foreign_drain(foreign));
	ruleset_lab_flush();
	assert_true(foreign_drain(foreign));
	foreign_close(foreign, false);
}

/* --- rules --- */

/* Rules with our comment, and without. */
static const struct {
	const char *rule;
	uint32_t mark; /* 0 = it is not ours */
} candidates[] = {
	{"ct mark and 0x10000000 == 0x10000000 accept comment \"portreeve\"",
	 0x10000000},
	{"ct mark and 0x10000000 == 0x10000000 counter accept comment "
	 "\"portreeve\"",
	 0x10000000},
	{"ct mark and 0x4 == 0x4 accept comment \"portreeve\"", 0x4},
	{"ct mark and 0x10000000 == 0x10000000 accept", 0},
	{"ct mark and 0x10000000 == 0x10000000 accept comment \"portreeve2\"", 0},
	{"ct mark and 0x10000000 == 0x10000000 accept comment \"portreev\"", 0},
	{"ct mark and 0x10000000 == 0x10000000 drop comment \"portreeve\"", 0},
	{"ct mark and 0x10000000 == 0x10000000 jump d comment \"portreeve\"", 0},
	{"ct mark and 0x10000000 == 0x10000000 counter comment \"portreeve\"", 0},
	{"ct mark and 0x10000000 != 0x10000000 accept comment \"portreeve\"", 0},
	{"ct mark and 0x30000000 == 0x10000000 accept comment \"portreeve\"", 0},
	{"ct mark 0x10000000 accept comment \"portreeve\"", 0},
	{"meta mark and 0x10000000 == 0x10000000 accept comment \"portreeve\"", 0},
	{"iifname wan0 ct mark and 0x10000000 == 0x10000000 accept comment "
	 "\"portreeve\"",
	 0},
	{"ct mark and 0x10000000 == 0x10000000 limit rate 1/second accept "
	 "comment \"portreeve\"",
	 0},
	{"ct mark and 0x10000000 == 0x10000000 log accept comment "
	 "\"portreeve\"",
	 0},
	{"accept comment \"portreeve\"", 0},
};

/* A ruleset as it shall be, "" = none, and a socket to it. */
static struct nft_socket open_socket(const char *text)
{
	struct nft_socket nft;

	ruleset_lab_enter();
	ruleset_lab_flush();
	if (text[0] != '\0')
		ruleset_lab_load(NFT, text);
	assert_int_equal(nft_socket_open(&nft), 0);
	return nft;
}

static uint32_t get_generation(struct nft_socket *nft)
{
	uint32_t generation;

	assert_int_equal(nft_foreign_get_generation(nft, &generation), 0);
	return generation;
}

static void test_which_rules_are_ours(void **state)
{
	const struct nft_place place = {.family = "inet", .table = "t", .chain = "c"};
	struct nft_accept found[NFT_ACCEPTS_MAX];
	struct nft_socket nft = open_socket("");
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(candidates) / sizeof(candidates[0]); i++) {
		size_t count = 9;

		(void)snprintf(text, sizeof(text),
			       "table inet t { chain d { }\nchain c { counter\n%s\n}\n"
			       "}\n",
			       candidates[i].rule);
		ruleset_lab_load(NFT, text);
		assert_int_equal(nft_foreign_find(&nft, &place, found, &count), 0);
		if (count != (candidates[i].mark != 0 ? 1 : 0))
			fail_msg("%zu found: %s", count, candidates[i].rule);
		if (count > 0) {
			assert_int_equal(found[0].mark, candidates[i].mark);
			assert_false(found[0].first);
		}
		ruleset_lab_flush();
	}
	nft_socket_close(&nft);
}

/* As iptables writes them, whose matches are of another kind. */
static void test_which_rules_of_iptables_are_ours(void **state)
{
	static const struct {
		const char *rule;
		uint32_t mark; /* 0 = it is not ours */
	} rows[] = {
		{"-m connmark --mark 0x10000000/0x10000000 " COMMENT " -j ACCEPT",
		 0x10000000},
		{"-m connmark ! --mark 0x10000000/0x10000000 " COMMENT " -j ACCEPT", 0},
		{"-m connmark --mark 0x10000000 " COMMENT " -j ACCEPT", 0},
		{"-m connmark --mark 0x10000000/0x10000000 -j ACCEPT", 0},
		{"-m connmark --mark 0x10000000/0x10000000 " COMMENT " -j DROP", 0},
		{"-s 192.0.2.1 -m connmark --mark 0x10000000/0x10000000 " COMMENT
		 " -j ACCEPT",
		 0},
	};
	const struct nft_place place = {
		.family = "ip", .table = "filter", .chain = "FORWARD", .xtables = true};
	struct nft_accept found[NFT_ACCEPTS_MAX];
	struct nft_socket nft = open_socket("");
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t count = 9;

		(void)snprintf(text, sizeof(text),
			       "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD %s\n"
			       "COMMIT\n",
			       rows[i].rule);
		ruleset_lab_load("iptables-nft-restore", text);
		assert_int_equal(nft_foreign_find(&nft, &place, found, &count), 0);
		if (count != (rows[i].mark != 0 ? 1 : 0))
			fail_msg("%zu found: %s", count, rows[i].rule);
		if (count > 0)
			assert_int_equal(found[0].mark, rows[i].mark);
		ruleset_lab_flush();
	}
	nft_socket_close(&nft);
}

static void add_expression(struct nftnl_rule *rule, struct nftnl_expr *expr)
{
	assert_non_null(expr);
	nftnl_rule_add_expr(rule, expr);
}

/* Our rule, and something behind its verdict, which no tool writes. */
static void add_rule_with_a_tail(struct nft_socket *nft, const char *tail)
{
	static const uint8_t comment[] = "\0\x0aportreeve";
	static const uint32_t mark = LAB_MARK, zero;
	struct nftnl_rule *rule = nftnl_rule_alloc();
	struct nftnl_expr *ct = nftnl_expr_alloc("ct");
	struct nftnl_expr *bitwise = nftnl_expr_alloc("bitwise");
	struct nftnl_expr *cmp = nftnl_expr_alloc("cmp");
	struct nftnl_expr *verdict = nftnl_expr_alloc("immediate");
	struct nlmsghdr *header;
	uint8_t bytes[4096];
	size_t used;
	uint32_t last;

	assert_non_null(rule);
	add_expression(rule, ct);
	nftnl_expr_set_u32(ct, NFTNL_EXPR_CT_KEY, NFT_CT_MARK);
	nftnl_expr_set_u32(ct, NFTNL_EXPR_CT_DREG, NFT_REG_1);
	add_expression(rule, bitwise);
	nftnl_expr_set_u32(bitwise, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
	nftnl_expr_set_u32(bitwise, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
	nftnl_expr_set_u32(bitwise, NFTNL_EXPR_BITWISE_LEN, sizeof(mark));
	nftnl_expr_set(bitwise, NFTNL_EXPR_BITWISE_MASK, &mark, sizeof(mark));
	nftnl_expr_set(bitwise, NFTNL_EXPR_BITWISE_XOR, &zero, sizeof(zero));
	add_expression(rule, cmp);
	nftnl_expr_set_u32(cmp, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(cmp, NFTNL_EXPR_CMP_OP, NFT_CMP_EQ);
	nftnl_expr_set(cmp, NFTNL_EXPR_CMP_DATA, &mark, sizeof(mark));
	add_expression(rule, verdict);
	nftnl_expr_set_u32(verdict, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(verdict, NFTNL_EXPR_IMM_VERDICT, NF_ACCEPT);
	if (tail)
		add_expression(rule, nftnl_expr_alloc(tail));
	nftnl_rule_set_str(rule, NFTNL_RULE_TABLE, "t");
	nftnl_rule_set_str(rule, NFTNL_RULE_CHAIN, "c");
	nftnl_rule_set_data(rule, NFTNL_RULE_USERDATA, comment, sizeof(comment));

	used = nftnl_batch_begin((char *)bytes, nft->seq++)->nlmsg_len;
	last = nft->seq;
	header = nftnl_nlmsg_build_hdr((char *)bytes + used, NFT_MSG_NEWRULE,
				       NFPROTO_INET, NLM_F_CREATE | NLM_F_ACK,
				       nft->seq++);
	nftnl_rule_nlmsg_build_payload(header, rule);
	used += header->nlmsg_len;
	used += nftnl_batch_end((char *)bytes + used, nft->seq++)->nlmsg_len;
	assert_int_equal(nft_socket_send(nft, bytes, used, last), 0);
	nftnl_rule_free(rule);
}

static void test_nothing_is_behind_our_verdict(void **state)
{
	const struct nft_place place = {.family = "inet", .table = "t", .chain = "c"};
	struct nft_socket nft = open_socket(CHAIN("c", "0"));
	struct nft_accept found[NFT_ACCEPTS_MAX];
	size_t count = 9;

	(void)state;
	add_rule_with_a_tail(&nft, "counter");
	assert_int_equal(nft_foreign_find(&nft, &place, found, &count), 0);
	assert_int_equal(count, 0);
	add_rule_with_a_tail(&nft, NULL);
	assert_int_equal(nft_foreign_find(&nft, &place, found, &count), 0);
	assert_int_equal(count, 1);
	nft_socket_close(&nft);
}

/* Between the look and the change somebody else was there. */
static void test_stale_look(void **state)
{
	const struct nft_place place = {.family = "inet", .table = "t", .chain = "c"};
	struct nft_foreign_change change = {.place = &place};
	struct nft_accept found[NFT_ACCEPTS_MAX];
	struct nft_socket nft = open_socket(CHAIN("c", "0"));
	uint32_t generation = get_generation(&nft);
	size_t count;

	(void)state;
	ruleset_lab_load(NFT, "add rule inet t c counter");
	assert_int_equal(nft_foreign_commit(&nft, generation, LAB_MARK, &change, 1),
			 -ERESTART);
	assert_int_equal(count_ours(), 0);
	generation = get_generation(&nft);
	assert_int_equal(nft_foreign_commit(&nft, generation, LAB_MARK, &change, 1), 0);
	assert_int_equal(count_ours(), 1);
	assert_int_equal(nft_foreign_find(&nft, &place, found, &count), 0);
	assert_int_equal(count, 1);
	assert_true(found[0].first);
	/* the handle is somebody else's rule by now, for all we know */
	change.handle = found[0].handle;
	ruleset_lab_load(NFT, "add rule inet t c counter");
	assert_int_equal(nft_foreign_commit(&nft, generation, LAB_MARK, &change, 1),
			 -ERESTART);
	assert_int_equal(count_ours(), 1);
	nft_socket_close(&nft);
}

/* All or nothing: one chain of two is gone. */
static void test_one_chain_is_gone(void **state)
{
	const struct nft_place places[] = {
		{.family = "inet", .table = "t", .chain = "c"},
		{.family = "inet", .table = "t", .chain = "gone"},
	};
	const struct nft_foreign_change changes[] = {{.place = &places[0]},
						     {.place = &places[1]}};
	struct nft_socket nft = open_socket(CHAIN("c", "0"));
	uint32_t generation = get_generation(&nft);

	(void)state;
	assert_int_equal(nft_foreign_commit(&nft, generation, LAB_MARK, changes, 2),
			 -ENOENT);
	assert_int_equal(count_ours(), 0);
	nft_socket_close(&nft);
}

/* --- integration --- */

/* Before our forward chain there is no mark on a first packet: no rule helps. */
static void test_chain_before_the_mark(void **state)
{
	struct foreign *foreign = open_foreign(FOREIGN_AUTO);

	(void)state;
	ruleset_lab_load(NFT, CHAIN("early", "-200"));
	refresh(foreign);
	assert_int_equal(count_ours(), 0);
	assert_int_equal(get_fate(foreign, 0), PACKET_DROPPED);
	assert_int_equal(get_fate(foreign, 1), PACKET_DROPPED);
	foreign_close(foreign, false);
}

/* What is not at the forward hook is no business of integrate, but is told. */
static void test_other_hooks(void **state)
{
	static const struct {
		const char *text;
		enum packet_fate fate;
		enum packet_fate translation;
	} rows[] = {
		{"table inet t { chain c { type filter hook prerouting priority raw; "
		 "iifname wan0 drop; }\n}",
		 PACKET_DROPPED, PACKET_PASSES},
		{"table ip t { chain c { type filter hook prerouting priority mangle; "
		 "ip daddr 203.0.113.5 drop; }\n}",
		 PACKET_DROPPED, PACKET_PASSES},
		{"table netdev t { chain c { type filter hook ingress device wan0 "
		 "priority 0; policy drop; }\n}",
		 PACKET_DROPPED, PACKET_PASSES},
		{"table inet t { chain c { type filter hook postrouting priority 0; "
		 "oifname lan0 drop; }\n}",
		 PACKET_DROPPED, PACKET_PASSES},
		{"table ip t { chain c { type nat hook prerouting priority -110; "
		 "iifname wan0 dnat to 192.168.1.3; }\n}",
		 PACKET_PASSES, PACKET_DROPPED},
		{"table ip t { chain c { type nat hook prerouting priority -100; "
		 "iifname wan0 dnat to 192.168.1.3; }\n}",
		 PACKET_PASSES, PACKET_PASSES},
	};
	struct foreign *foreign = open_foreign(FOREIGN_AUTO);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ruleset_lab_flush();
		ruleset_lab_load(NFT, rows[i].text);
		refresh(foreign);
		assert_int_equal(count_ours(), 0);
		assert_int_equal(get_fate(foreign, 0), rows[i].fate);
		assert_int_equal(foreign_get_figures(foreign)->translation.fate,
				 rows[i].translation);
	}
	ruleset_lab_flush();
	foreign_close(foreign, false);
}

static void test_families(void **state)
{
	const struct foreign_config config = {
		.mark = LAB_MARK, .how = FOREIGN_AUTO, .ipv4_only = true};
	struct foreign *foreign = open_foreign(FOREIGN_AUTO);

	(void)state;
	ruleset_lab_load(NFT,
			 "table ip6 a { chain c { type filter hook forward priority 0; "
			 "policy drop; }\n}\n"
			 "table ip b { chain c { type filter hook forward priority 0; "
			 "policy accept; }\n}\n");
	refresh(foreign);
	assert_int_equal(count_ours(), 1);
	assert_int_equal(count_in(list("nft list table ip6 a"), OURS), 1);
	foreign_close(foreign, false);
	foreign = NULL;
	assert_int_equal(foreign_open(&config, &foreign), 0);
	refresh(foreign);
	assert_int_equal(count_ours(), 0);
	assert_int_equal(get_fate(foreign, 1), PACKET_PASSES);
	foreign_close(foreign, false);
}

static void test_bound(void **state)
{
	struct foreign *foreign = open_foreign(FOREIGN_AUTO);
	char text[256];

	(void)state;
	for (int i = 0; i < FOREIGN_RULES_MAX + 4; i++) {
		(void)snprintf(text, sizeof(text),
			       "table inet t { chain c%d { type filter hook forward "
			       "priority %d; policy drop; }\n}\n",
			       i, i);
		ruleset_lab_load(NFT, text);
	}
	refresh(foreign);
	assert_int_equal(count_ours(), FOREIGN_RULES_MAX);
	assert_int_equal(foreign_get_figures(foreign)->rule_count, FOREIGN_RULES_MAX);
	assert_int_equal(foreign_get_figures(foreign)->left_out, 4);
	assert_int_equal(get_fate(foreign, 0), PACKET_DROPPED);
	foreign_close(foreign, false);
	assert_int_equal(count_ours(), 0);
}

/*
 * What keeps out some hosts, whoever they are, gets no rule of ours before it; what
 * keeps out all but some does.
 */
static void test_lists_of_hosts(void **state)
{
	static const struct {
		const char *policy;
		const char *rules;
		size_t ours;
	} rows[] = {
		{"accept", "ip saddr @big drop", 0},
		{"accept", "ip saddr @big drop\nip saddr 9.9.9.9 drop", 0},
		{"accept", "ip saddr != @big drop", 0},
		{"accept", "ip saddr 9.9.9.9 drop\nip6 saddr 2620:fe::fe drop", 0},
		{"accept", "ip saddr 9.9.0.0/16 jump d", 0},
		{"accept", "ip saddr vmap { 9.9.9.9 : drop }", 0},
		{"accept", "ip saddr @big drop\niifname wan0 drop", 1},
		{"accept", "ip saddr @big accept\nreject", 1},
		{"drop", "ip saddr @big drop\nip6 saddr @big6 drop\naccept", 0},
		{"drop", "ip saddr @big drop\nip saddr 192.168.1.0/24 accept", 1},
	};
	struct foreign *foreign = open_foreign(FOREIGN_AUTO);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		FILE *pipe = popen(NFT, "w");

		assert_non_null(pipe);
		(void)fprintf(
			pipe,
			"flush ruleset\ntable inet t {\nset big { type ipv4_addr; "
			"flags interval; }\nset big6 { type ipv6_addr; }\n"
			"chain d { drop; }\nchain c { type filter hook forward "
			"priority 0; policy %s;\n%s\n}\n}\n",
			rows[i].policy, rows[i].rules);
		(void)fputs("add element inet t big { 9.9.9.9", pipe);
		for (int k = 0; k < 5000; k++)
			(void)fprintf(pipe, ", 11.%d.%d.0/24", k / 100, k % 100 * 2);
		(void)fputs("}\n", pipe);
		assert_int_equal(pclose(pipe), 0);
		refresh(foreign);
		if (count_in(list("nft list chain inet t c"), OURS) != rows[i].ours)
			fail_msg("ours or not: policy %s, %s", rows[i].policy,
				 rows[i].rules);
	}
	foreign_close(foreign, false);
}

/* A killed run's rule goes when there shall be none; one that was put in by hand stays.
 */
static void test_off_after_a_kill(void **state)
{
	struct foreign *foreign = open_foreign(FOREIGN_AUTO);
	const struct foreign_config off = {.mark = LAB_MARK, .how = FOREIGN_OFF};

	(void)state;
	ruleset_lab_load(NFT, CHAIN("c", "0"));
	ruleset_lab_load(
		NFT, "table inet hand { chain c { type filter hook forward priority "
		     "1; policy drop;\n" OURS "\n}\n}\n");
	refresh(foreign);
	assert_int_equal(count_ours(), 2);
	foreign_close(foreign, true);
	assert_int_equal(foreign_open(&off, &foreign), 0);
	refresh(foreign);
	assert_int_equal(count_in(list("nft list table inet t"), OURS), 0);
	assert_int_equal(count_in(list("nft list table inet hand"), OURS), 1);
	foreign_close(foreign, false);
	assert_int_equal(count_ours(), 1);
}

/* Its owner puts a rule first into the chain that is named, which others jump to. */
static void test_named_chain_is_blocked(void **state)
{
	const struct foreign_config config = {.mark = LAB_MARK,
					      .how = FOREIGN_CHAIN,
					      .family = "inet",
					      .table = "t",
					      .chain = "user"};
	struct foreign *foreign = open_foreign(FOREIGN_OFF);

	(void)state;
	foreign_set_config(foreign, &config);
	ruleset_lab_load(NFT,
			 "table inet t { chain user { }\nchain c { type filter hook "
			 "forward priority 0; policy drop;\niifname wan0 jump user\n"
			 "}\n}\n");
	refresh(foreign);
	assert_int_equal(get_fate(foreign, 0), PACKET_PASSES);
	ruleset_lab_load(NFT, "insert rule inet t user iifname wan0 ct state new drop");
	refresh(foreign);
	assert_int_equal(count_ours(), 1);
	assert_int_equal(get_fate(foreign, 0), PACKET_PASSES);
	ruleset_lab_load(NFT, "insert rule inet t user ip saddr 9.9.9.9 drop");
	refresh(foreign);
	assert_non_null(
		strstr(list("nft list chain inet t user"), "9.9.9.9 drop\n\t\tct "));
	foreign_close(foreign, false);
	assert_int_equal(count_ours(), 0);
}

/* Chains of too many rules are not known, and told of; rules go in and out all the
 * same.
 */
static void test_more_rules_than_are_read(void **state)
{
	const struct nft_place place = {.family = "inet", .table = "t", .chain = "c"};
	struct foreign *foreign = open_foreign(FOREIGN_AUTO);
	struct nft_socket nft = open_socket("table inet t { chain x { }\nchain c { "
					    "type filter hook forward priority "
					    "0; policy drop;\njump x\n}\n}\n");
	struct nft_accept found[NFT_ACCEPTS_MAX];
	FILE *pipe = popen(NFT, "w");
	size_t count = 0;

	(void)state;
	assert_non_null(pipe);
	for (int i = 0; i <= RULESET_RULES_MAX; i++)
		(void)fputs("add rule inet t x counter\n", pipe);
	assert_int_equal(pclose(pipe), 0);
	refresh(foreign);
	assert_true(foreign_get_figures(foreign)->partial);
	assert_int_equal(foreign_get_figures(foreign)->rule_count, 1);
	assert_int_equal(get_fate(foreign, 0), PACKET_PASSES);
	assert_int_equal(nft_foreign_find(&nft, &place, found, &count), 0);
	assert_int_equal(count, 1);
	foreign_close(foreign, false);
	assert_int_equal(nft_foreign_find(&nft, &place, found, &count), 0);
	assert_int_equal(count, 0);
	nft_socket_close(&nft);
	ruleset_lab_flush();
}

static void test_another_mark(void **state)
{
	struct foreign_config config = {.mark = 0x40, .how = FOREIGN_AUTO};
	struct foreign *foreign = open_foreign(FOREIGN_AUTO);

	(void)state;
	ruleset_lab_load(NFT, CHAIN("c", "0"));
	refresh(foreign);
	foreign_set_config(foreign, &config);
	refresh(foreign);
	assert_int_equal(count_ours(), 0);
	assert_int_equal(count_in(list("nft list ruleset"), "0x00000040 accept"), 1);
	config.how = FOREIGN_OFF;
	foreign_set_config(foreign, &config);
	refresh(foreign);
	assert_int_equal(count_in(list("nft list ruleset"), "accept"), 0);
	assert_int_equal(get_fate(foreign, 0), PACKET_DROPPED);
	foreign_close(foreign, false);
}

/* Without a WAN nothing is judged, and what is there stays. */
static void test_no_wan(void **state)
{
	struct foreign *foreign = open_foreign(FOREIGN_AUTO);
	struct backend_network network = make_network();

	(void)state;
	ruleset_lab_load(NFT, CHAIN("c", "0"));
	network.wan[0] = '\0';
	assert_int_equal(foreign_refresh(foreign, &network, 1), 0);
	assert_int_equal(count_ours(), 0);
	assert_int_equal(get_fate(foreign, 0), PACKET_PASSES);
	refresh(foreign);
	assert_int_equal(count_ours(), 1);
	assert_int_equal(foreign_refresh(foreign, &network, 1), 0);
	assert_int_equal(count_ours(), 1);
	foreign_close(foreign, true);
	assert_int_equal(count_ours(), 1);
	foreign_close(NULL, false);
}

static void test_ports(void **state)
{
	struct foreign *foreign = open_foreign(FOREIGN_OFF);

	(void)state;
	ruleset_lab_load(NFT,
			 "table ip t { chain c { type nat hook prerouting priority 0;\n"
			 "tcp dport 80 dnat to 192.168.1.9\n"
			 "iifname wan0 udp dport 65000-65535 redirect to :9\n"
			 "meta l4proto tcp dnat to 192.168.1.10\n}\n}\n");
	refresh(foreign);
	assert_true(foreign_has_port(foreign, IPPROTO_TCP, 80));
	assert_false(foreign_has_port(foreign, IPPROTO_UDP, 80));
	assert_true(foreign_has_port(foreign, IPPROTO_UDP, 65000));
	assert_true(foreign_has_port(foreign, IPPROTO_UDP, 65535));
	assert_false(foreign_has_port(foreign, IPPROTO_UDP, 64999));
	assert_false(foreign_has_port(foreign, IPPROTO_TCP, 65535));
	ruleset_lab_flush();
	refresh(foreign);
	assert_false(foreign_has_port(foreign, IPPROTO_TCP, 80));
	foreign_close(foreign, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_news),
		cmocka_unit_test(test_own_changes_are_no_news),
		cmocka_unit_test(test_lost_notifications_are_news),
		cmocka_unit_test(test_which_rules_are_ours),
		cmocka_unit_test(test_which_rules_of_iptables_are_ours),
		cmocka_unit_test(test_nothing_is_behind_our_verdict),
		cmocka_unit_test(test_stale_look),
		cmocka_unit_test(test_one_chain_is_gone),
		cmocka_unit_test(test_chain_before_the_mark),
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_other_hooks),
		cmocka_unit_test(test_lists_of_hosts),
		cmocka_unit_test(test_off_after_a_kill),
		cmocka_unit_test(test_named_chain_is_blocked),
		cmocka_unit_test(test_more_rules_than_are_read),
		cmocka_unit_test(test_another_mark),
		cmocka_unit_test(test_no_wan),
		cmocka_unit_test(test_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
