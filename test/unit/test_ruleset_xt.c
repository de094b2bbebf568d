/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules that iptables keeps in nf_tables: its matches and targets as the real one
 * writes them, the rules that are known as ours, and expressions cut short.
 */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/xt_conntrack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/ruleset_private.h"
#include "test/unit/ruleset_lab.h"

#define RESTORE4 "iptables-nft-restore"
#define RESTORE6 "ip6tables-nft-restore"
#define FILTER(policy, rules)                                                          \
	"*filter\n:INPUT ACCEPT\n:FORWARD " policy "\n:OUTPUT ACCEPT\n:x -\n" rules    \
	"COMMIT\n"
#define DROP(rule) FILTER("DROP", "-A FORWARD " rule "\n")
#define ACCEPT(rule) FILTER("ACCEPT", "-A FORWARD " rule "\n")
#define TEST_ROWS(program, rows)                                                       \
	ruleset_lab_check_rows(program, rows, sizeof(rows) / sizeof((rows)[0]))

static void test_matches(void **state)
{
	static const struct ruleset_lab_row rows[] = {
		{"policy", FILTER("DROP", ""), LAB_TCP4, 0, false, PACKET_DROPPED,
		 "FORWARD"},
		{"other version", FILTER("DROP", ""), LAB_TCP6, 0, false, PACKET_PASSES,
		 NULL},
		{"interfaces", DROP("-i wan+ ! -o wan0 -j ACCEPT"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"state", DROP("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
		 LAB_TCP4, 0, true, PACKET_PASSES, NULL},
		{"state, not yet",
		 DROP("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"), LAB_TCP4,
		 0, false, PACKET_DROPPED, NULL},
		{"state, inverted", ACCEPT("-m conntrack ! --ctstate INVALID -j DROP"),
		 LAB_TCP4, 0, false, PACKET_DROPPED, NULL},
		{"state of translated ones",
		 DROP("-m conntrack --ctstate DNAT -j ACCEPT"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"status", DROP("-m conntrack --ctstatus SEEN_REPLY -j ACCEPT"),
		 LAB_TCP4, 0, false, PACKET_DROPPED, NULL},
		{"direction", DROP("-m conntrack --ctdir REPLY -j ACCEPT"), LAB_TCP4, 0,
		 false, PACKET_DROPPED, NULL},
		{"protocol of the flow", DROP("-m conntrack --ctproto 6 -j ACCEPT"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"port before", DROP("-m conntrack --ctorigdstport 80 -j ACCEPT"),
		 LAB_TCP4, 0, false, PACKET_UNKNOWN, "FORWARD"},
		{"old state", DROP("-m state --state NEW -j ACCEPT"), LAB_UDP4, 0,
		 false, PACKET_PASSES, NULL},
		{"port", DROP("-p udp --dport 5000 -j ACCEPT"), LAB_UDP4, 0, false,
		 PACKET_PASSES, NULL},
		{"ports from to", DROP("-p udp --dport 5001:6000 -j ACCEPT"), LAB_UDP4,
		 0, false, PACKET_DROPPED, NULL},
		{"many ports",
		 DROP("-p tcp -m multiport --dports 1,2,4999:5001,7 -j "
		      "ACCEPT"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"many ports, none",
		 DROP("-p tcp -m multiport --dports 1,2,6:4999,7 "
		      "-j ACCEPT"),
		 LAB_TCP4, 0, false, PACKET_DROPPED, NULL},
		{"many ports, not",
		 ACCEPT("-p tcp -m multiport ! --sports 40000,1 -j DROP"), LAB_TCP4, 0,
		 false, PACKET_PASSES, NULL},
		{"ports of either", DROP("-p tcp -m multiport --ports 40000 -j ACCEPT"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"option of TCP", ACCEPT("-p tcp --tcp-option 2 -j DROP"), LAB_TCP4, 0,
		 false, PACKET_UNKNOWN, "FORWARD"},
		{"first of TCP", DROP("-p tcp --syn -j ACCEPT"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"mark", DROP("-m connmark --mark 0x10000000/0x10000000 -j ACCEPT"),
		 LAB_TCP4, LAB_MARK | 1, false, PACKET_PASSES, NULL},
		{"mark, inverted", ACCEPT("-m connmark ! --mark 1 -j DROP"), LAB_TCP4,
		 1, false, PACKET_PASSES, NULL},
		{"mark of the packet", ACCEPT("-m mark --mark 1 -j DROP"), LAB_TCP4, 0,
		 false, PACKET_UNKNOWN, "FORWARD"},
		{"type of address", DROP("-m addrtype --dst-type UNICAST -j ACCEPT"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"types of addresses",
		 ACCEPT("-m addrtype ! --src-type UNICAST --dst-type LOCAL -j DROP"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"kind", DROP("-m pkttype --pkt-type unicast -j ACCEPT"), LAB_TCP4, 0,
		 false, PACKET_PASSES, NULL},
		{"addresses from to",
		 DROP("-m iprange --src-range 198.51.100.1-198.51.100.9 --dst-range "
		      "192.168.1.20-192.168.1.20 -j ACCEPT"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"addresses from to, above",
		 DROP("-m iprange --src-range 198.51.100.1-198.51.100.8 -j ACCEPT"),
		 LAB_TCP4, 0, false, PACKET_DROPPED, NULL},
		{"IPsec", DROP("-m policy --dir in --pol ipsec -j ACCEPT"), LAB_TCP4, 0,
		 false, PACKET_DROPPED, NULL},
		{"no IPsec", DROP("-m policy --dir in --pol none -j ACCEPT"), LAB_TCP4,
		 0, false, PACKET_PASSES, NULL},
		{"never heard of", ACCEPT("-m u32 --u32 0=1 -j DROP"), LAB_TCP4, 0,
		 false, PACKET_UNKNOWN, "FORWARD"},
	};

	(void)state;
	TEST_ROWS(RESTORE4, rows);
}

static void test_targets(void **state)
{
	static const struct ruleset_lab_row rows[] = {
		{"rejected", ACCEPT("-j REJECT"), LAB_TCP4, 0, false, PACKET_DROPPED,
		 "FORWARD"},
		{"looked at", ACCEPT("-j LOG --log-prefix x"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"only so many are logged",
		 ACCEPT("-m limit --limit 3/min -j LOG --log-prefix x"), LAB_TCP4, 0,
		 false, PACKET_PASSES, NULL},
		{"somebody else decides", ACCEPT("-j NFQUEUE"), LAB_TCP4, 0, false,
		 PACKET_UNKNOWN, "FORWARD"},
		{"mark is changed",
		 "*mangle\n:FORWARD ACCEPT\n-A FORWARD -j CONNMARK --set-mark 1\n-A "
		 "FORWARD -m connmark --mark 0x10000000/0x10000000 -j DROP\nCOMMIT\n",
		 LAB_TCP4, 0, true, PACKET_UNKNOWN, "FORWARD"},
		{"sizes",
		 "*mangle\n:FORWARD ACCEPT\n-A FORWARD -p tcp --tcp-flags SYN,RST SYN "
		 "-j TCPMSS --clamp-mss-to-pmtu\n-A FORWARD -j MARK --set-mark "
		 "7\nCOMMIT\n",
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"back",
		 FILTER("DROP", "-A FORWARD -j x\n-A FORWARD -j ACCEPT\n"
				"-A x -j RETURN\n-A x -j DROP\n"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"goto",
		 FILTER("DROP", "-A FORWARD -g x\n-A FORWARD -j ACCEPT\n"
				"-A x -p icmp -j DROP\n"),
		 LAB_TCP4, 0, false, PACKET_DROPPED, "FORWARD"},
		{"flood",
		 FILTER("ACCEPT", "-A FORWARD -j x\n-A x -m limit --limit 9/s -j "
				  "RETURN\n-A x -j DROP\n"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"flood of one",
		 ACCEPT("-m hashlimit --hashlimit-name x --hashlimit-mode srcip "
			"--hashlimit-above 9/s -j DROP"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"connections of one",
		 ACCEPT("-p tcp -m connlimit --connlimit-above 9 -j DROP"), LAB_TCP4, 0,
		 false, PACKET_PASSES, NULL},
	};

	(void)state;
	TEST_ROWS(RESTORE4, rows);
}

static void test_ipv6(void **state)
{
	static const struct ruleset_lab_row rows[] = {
		{"routing header", ACCEPT("-m rt --rt-type 0 -j DROP"), LAB_TCP6, 0,
		 false, PACKET_PASSES, NULL},
		{"destination", DROP("-d 2001:db8:2::/47 -j ACCEPT"), LAB_UDP6, 0,
		 false, PACKET_PASSES, NULL},
		{"other destination", DROP("-d 2001:db8:4::/47 -j ACCEPT"), LAB_UDP6, 0,
		 false, PACKET_DROPPED, NULL},
		{"addresses from to",
		 DROP("-m iprange --dst-range 2001:db8:2::-2001:db8:2::ff -j ACCEPT"),
		 LAB_UDP6, 0, false, PACKET_PASSES, NULL},
		{"mark", DROP("-m connmark --mark 0x10000000/0x10000000 -j ACCEPT"),
		 LAB_UDP6, LAB_MARK, false, PACKET_PASSES, NULL},
		{"state", DROP("-m conntrack --ctstate NEW -j ACCEPT"), LAB_UDP6, 0,
		 false, PACKET_PASSES, NULL},
	};

	(void)state;
	TEST_ROWS(RESTORE6, rows);
}

/* What ruleset_visit_own_rules() tells. */
struct own_rules {
	const struct ruleset *ruleset;
	unsigned int count;
	char text[8][3 * RULESET_NAME_MAX];
};

static void note_rule(void *user, const struct ruleset_chain_view *chain,
		      uint64_t handle, bool first)
{
	struct own_rules *rules = user;

	assert_true(rules->count < 8);
	assert_true(handle != 0);
	(void)snprintf(rules->text[rules->count++], sizeof(rules->text[0]),
		       "%s %s %s%s 0x%x%s", chain->family, chain->table, chain->chain,
		       chain->is_base ? "" : "(not base)",
		       ruleset_get_accepted_mark(rules->ruleset, chain, handle),
		       first ? " first" : "");
}

static bool has_rule(const struct own_rules *rules, const char *text)
{
	for (unsigned int i = 0; i < rules->count; i++)
		if (strcmp(rules->text[i], text) == 0)
			return true;
	(void)fprintf(stderr, "not told: %s\n", text);
	return false;
}

/* Ours by comment and content; neither is enough. */
static void test_own_rules(void **state)
{
	struct own_rules rules = {0};
	struct ruleset *ruleset;

	(void)state;
	ruleset_lab_enter();
	ruleset_lab_load(
		"nft -f -",
		"table inet t {\nchain c { type filter hook forward priority 0;\n"
		"ct mark and 0x10 == 0x10 counter accept comment \"portreeve\"\n"
		"ct mark and 0x10 == 0x10 accept comment \"portreeve2\"\n"
		"ct mark and 0x10 == 0x10 accept\n"
		"ct mark and 0x10 == 0x10 drop comment \"portreeve\"\n"
		"iifname lo ct mark and 0x10 == 0x10 accept comment \"portreeve\"\n"
		"}\nchain d {\naccept\n"
		"ct mark and 0x20 == 0x20 accept comment \"portreeve\"\n}\n}\n"
		"table inet portreeve {\nchain c {\n"
		"ct mark and 0x10 == 0x10 accept comment \"portreeve\"\n}\n}\n");
	ruleset_lab_load(RESTORE4,
			 FILTER("DROP", "-A FORWARD -m connmark --mark 0x30/0x30 -m "
					"comment --comment portreeve -j ACCEPT\n"
					"-A FORWARD -m connmark --mark 0x30/0x30 -m "
					"comment --comment portreeves -j ACCEPT\n"));
	ruleset = ruleset_lab_read();
	rules.ruleset = ruleset;
	ruleset_visit_own_rules(ruleset, note_rule, &rules);
	assert_int_equal(rules.count, 3);
	assert_true(has_rule(&rules, "inet t c 0x10 first"));
	assert_true(has_rule(&rules, "inet t d(not base) 0x20"));
	assert_true(has_rule(&rules, "ip filter FORWARD 0x30 first"));
	ruleset_free(ruleset);
	ruleset_lab_flush();
}

/* Without our rule, which ruleset_walk() sees. */
static void test_walk_without_own(void **state)
{
	struct packet packet = ruleset_lab_make_packet(LAB_TCP4);
	struct packet_verdict verdict;
	struct ruleset *ruleset;

	(void)state;
	ruleset_lab_enter();
	ruleset_lab_load(RESTORE4, FILTER("DROP", "-A FORWARD -m connmark --mark "
						  "0x10000000/0x10000000 -m comment "
						  "--comment portreeve -j ACCEPT\n"));
	ruleset = ruleset_lab_read();
	ruleset_walk(ruleset, PACKET_HOOK_FORWARD, &packet, &verdict);
	assert_int_equal(verdict.fate, PACKET_PASSES);
	assert_true(
		ruleset_walk_one(ruleset, PACKET_HOOK_FORWARD, 0, &packet, &verdict));
	assert_int_equal(verdict.fate, PACKET_DROPPED);
	assert_true(verdict.is_xtables);
	assert_true(verdict.handle == 0);
	ruleset_free(ruleset);
	ruleset_lab_flush();
}

static void test_find_chain(void **state)
{
	struct ruleset_chain_view view;
	struct ruleset *ruleset;

	(void)state;
	ruleset_lab_enter();
	ruleset_lab_load("nft -f -", "table inet filter { chain FORWARD { type filter "
				     "hook forward priority -5; }\nchain x { }\n}\n"
				     "table ip6 other { chain x { }\n}\n");
	ruleset_lab_load(RESTORE4, FILTER("DROP", ""));
	ruleset = ruleset_lab_read();
	assert_true(ruleset_find_chain(ruleset, "ip", "filter", "FORWARD", &view));
	assert_string_equal(view.family, "ip");
	assert_true(view.is_xtables && view.is_base);
	assert_int_equal(view.priority, 0);
	assert_true(ruleset_find_chain(ruleset, "inet", "filter", "FORWARD", &view));
	assert_true(view.is_base && !view.is_xtables);
	assert_int_equal(view.priority, -5);
	assert_true(ruleset_find_chain(ruleset, NULL, "other", "x", &view));
	assert_string_equal(view.family, "ip6");
	assert_false(view.is_base);
	assert_false(ruleset_find_chain(ruleset, "ip6", "filter", "FORWARD", &view));
	assert_false(ruleset_find_chain(ruleset, NULL, "filter", "forward", &view));
	ruleset_free(ruleset);
	ruleset_lab_flush();
}

/* A ruleset with a table of that family, and one expression put together by hand. */
struct bench {
	struct ruleset *ruleset;
	struct ruleset_place place;
	uint8_t buffer[4096];
	struct nlmsghdr *message;
	struct nlattr *nest;
};

static void begin_expr(struct bench *bench, const char *name)
{
	bench->message = mnl_nlmsg_put_header(bench->buffer);
	bench->nest = mnl_attr_nest_start(bench->message, NFTA_LIST_ELEM);
	mnl_attr_put_strz(bench->message, NFTA_EXPR_NAME, name);
}

static void take_expr(struct bench *bench, enum ruleset_kind kind)
{
	size_t before = bench->ruleset->exprs.count;

	mnl_attr_nest_end(bench->message, bench->nest);
	assert_int_equal(ruleset_parse_expr(&bench->place, bench->nest), 0);
	assert_int_equal(bench->ruleset->exprs.count, before + 1);
	assert_int_equal(ruleset_get_expr(bench->ruleset, (uint32_t)before)->kind,
			 kind);
}

static void put_match(struct bench *bench, const char *name, uint32_t revision,
		      const void *info, size_t length)
{
	struct nlattr *data;

	begin_expr(bench, "match");
	data = mnl_attr_nest_start(bench->message, NFTA_EXPR_DATA);
	mnl_attr_put_strz(bench->message, NFTA_MATCH_NAME, name);
	mnl_attr_put_u32(bench->message, NFTA_MATCH_REV, htonl(revision));
	mnl_attr_put(bench->message, NFTA_MATCH_INFO, length, info);
	mnl_attr_nest_end(bench->message, data);
}

static void open_bench(struct bench *bench)
{
	const struct ruleset_table table = {.family = NFPROTO_IPV4};

	*bench = (struct bench){.ruleset = ruleset_new()};
	assert_non_null(bench->ruleset);
	bench->place.ruleset = bench->ruleset;
	assert_int_equal(
		ruleset_append(&bench->ruleset->tables, &table, sizeof(table), 1), 0);
}

/* What is shorter than it should be, or of a revision to come, may match or not. */
static void test_cut_short(void **state)
{
	static const char *const names[] = {
		"addrtype", "comment",	 "connlimit", "connmark", "conntrack",
		"iprange",  "multiport", "pkttype",   "policy",	  "state",
		"tcp",	    "udp",	 "hashlimit", "nothing",
	};
	static const struct xt_conntrack_mtinfo3 info;
	struct bench bench;

	(void)state;
	open_bench(&bench);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (uint32_t revision = 0; revision < 4; revision++) {
			put_match(&bench, names[i], revision, &info, 1);
			take_expr(&bench, RULESET_PERHAPS);
		}
	put_match(&bench, "conntrack", 9, &info, sizeof(info));
	take_expr(&bench, RULESET_PERHAPS);
	assert_true(bench.place.is_xtables);
	ruleset_free(bench.ruleset);
}

/* Expressions that not every kernel has. */
static void test_expressions(void **state)
{
	struct bench bench;

	(void)state;
	open_bench(&bench);
	begin_expr(&bench, "flow_offload");
	take_expr(&bench, RULESET_OFFLOAD);
	begin_expr(&bench, "queue");
	take_expr(&bench, RULESET_VERDICT);
	begin_expr(&bench, "socket");
	take_expr(&bench, RULESET_PERHAPS);
	begin_expr(&bench, "of_the_future");
	take_expr(&bench, RULESET_STRANGE);
	ruleset_free(bench.ruleset);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_own_rules),
		cmocka_unit_test(test_walk_without_own),
		cmocka_unit_test(test_find_chain),
		cmocka_unit_test(test_cut_short),
		cmocka_unit_test(test_expressions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
