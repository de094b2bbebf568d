/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rulesets of nftables, as the real kernel keeps what the real nft loads, and where a
 * packet ends in them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/unit/netns.h"
#include "test/unit/ruleset_lab.h"

#define NFT "nft -f -"
#define NOBODY 65534
/* One base chain with a policy, and what is in it. */
#define FORWARD(policy, rules)                                                         \
	"table inet t {\nchain other { }\nchain forward {\n"                           \
	"type filter hook forward priority filter; policy " policy ";\n" rules         \
	"\n}\n}\n"
#define DROP(rules) FORWARD("drop", rules)
#define ACCEPT(rules) FORWARD("accept", rules)
#define TEST_ROWS(rows)                                                                \
	ruleset_lab_check_rows(NFT, rows, sizeof(rows) / sizeof((rows)[0]))

static void test_policies(void **state)
{
	static const struct ruleset_lab_row rows[] = {
		{"nothing", "", LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"accept", ACCEPT(""), LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"drop", DROP(""), LAB_TCP4, 0, false, PACKET_DROPPED, "forward"},
		{"drop", DROP(""), LAB_UDP6, 0, false, PACKET_DROPPED, "forward"},
		{"other family",
		 "table ip6 t { chain c { type filter hook forward priority 0; policy "
		 "drop; }\n}",
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"other hook",
		 "table ip t { chain c { type filter hook input priority 0; policy "
		 "drop; }\n}",
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"asleep",
		 "table ip t { flags dormant; chain c { type filter hook forward "
		 "priority 0; policy drop; }\n}",
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"our name in another family",
		 "table ip portreeve { chain c { type filter hook forward priority "
		 "0; policy drop; }\n}",
		 LAB_TCP4, 0, false, PACKET_DROPPED, "c"},
	};

	(void)state;
	TEST_ROWS(rows);
}

static void test_interfaces(void **state)
{
	static const struct ruleset_lab_row rows[] = {
		{"name", DROP("iifname wan0 oifname lan0 accept"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"prefix is not the name", DROP("iifname wan accept"), LAB_TCP4, 0,
		 false, PACKET_DROPPED, NULL},
		{"longer", DROP("iifname wan00 accept"), LAB_TCP4, 0, false,
		 PACKET_DROPPED, NULL},
		{"any that begins so", DROP("iifname \"wa*\" accept"), LAB_TCP4, 0,
		 false, PACKET_PASSES, NULL},
		{"none that begins so", DROP("iifname \"eth*\" accept"), LAB_TCP4, 0,
		 false, PACKET_DROPPED, NULL},
		{"not", DROP("oifname != \"la*\" accept"), LAB_TCP4, 0, false,
		 PACKET_DROPPED, NULL},
		{"index", DROP("iif wan0 oif lan0 accept"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"other index", DROP("iif lo accept"), LAB_TCP4, 0, false,
		 PACKET_DROPPED, NULL},
		{"set", DROP("iifname { eth0, wan0 } accept"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"set with one that begins so",
		 DROP("iifname { \"wa*\", eth0 } accept"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"set without", DROP("iifname { \"wb*\", eth0, lo } accept"), LAB_TCP4,
		 0, false, PACKET_DROPPED, NULL},
		{"both", DROP("iifname . oifname { wan0 . lan0, lo . lo } accept"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"both, wrong", DROP("iifname . oifname { lan0 . wan0 } accept"),
		 LAB_TCP4, 0, false, PACKET_DROPPED, NULL},
		{"map", DROP("iifname . oifname vmap { wan0 . lan0 : accept }"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"not in a set", ACCEPT("iifname != { lan0, lo } drop"), LAB_TCP4, 0,
		 false, PACKET_DROPPED, NULL},
	};

	(void)state;
	TEST_ROWS(rows);
}

static void test_connections(void **state)
{
	static const struct ruleset_lab_row rows[] = {
		{"new", DROP("ct state new accept"), LAB_TCP4, 0, false, PACKET_PASSES,
		 NULL},
		{"established", DROP("ct state established,related accept"), LAB_TCP4,
		 0, true, PACKET_PASSES, NULL},
		{"not yet", DROP("ct state established,related accept"), LAB_TCP4, 0,
		 false, PACKET_DROPPED, NULL},
		{"map",
		 DROP("ct state vmap { established : accept, related : accept, invalid "
		      ": drop }"),
		 LAB_UDP6, 0, true, PACKET_PASSES, NULL},
		{"map, not yet",
		 DROP("ct state vmap { established : accept, new : jump other }"),
		 LAB_UDP6, 0, false, PACKET_DROPPED, "forward"},
		{"dnat", DROP("ct status dnat accept"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"no dnat", DROP("ct status dnat accept"), LAB_TCP6, 0, false,
		 PACKET_DROPPED, NULL},
		{"direction", DROP("ct direction original accept"), LAB_TCP6, 0, false,
		 PACKET_PASSES, NULL},
		{"direction of a later one", DROP("ct direction original accept"),
		 LAB_TCP6, 0, true, PACKET_UNKNOWN, "forward"},
		{"mark", DROP("ct mark and 0x10000000 == 0x10000000 accept"), LAB_TCP4,
		 LAB_MARK, false, PACKET_PASSES, NULL},
		{"no mark", DROP("ct mark and 0x10000000 == 0x10000000 accept"),
		 LAB_TCP4, 0, false, PACKET_DROPPED, NULL},
		{"marks from to", DROP("ct mark 0x0fffffff-0x10000001 accept"),
		 LAB_TCP4, LAB_MARK, false, PACKET_PASSES, NULL},
		{"marks from to, above", DROP("ct mark 0x0fffffff-0x10000001 accept"),
		 LAB_TCP4, LAB_MARK + 2, false, PACKET_DROPPED, NULL},
		{"mark of a packet", DROP("meta mark 1 accept"), LAB_TCP4, 0, false,
		 PACKET_UNKNOWN, "forward"},
		{"mark is changed",
		 DROP("ct mark set 7\nct mark and 0x10000000 == 0x10000000 accept"),
		 LAB_TCP4, LAB_MARK, false, PACKET_UNKNOWN, "forward"},
		{"flows",
		 DROP("meta l4proto tcp ct state new ct mark set ct mark or 1 "
		      "accept"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
	};

	(void)state;
	TEST_ROWS(rows);
}

static void test_headers(void **state)
{
	static const struct ruleset_lab_row rows[] = {
		{"port", DROP("tcp dport 5000 accept"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"protocol", DROP("tcp dport 5000 accept"), LAB_UDP4, 0, false,
		 PACKET_DROPPED, NULL},
		{"both ports", DROP("udp sport 40000 udp dport 5000 accept"), LAB_UDP6,
		 0, false, PACKET_PASSES, NULL},
		{"ports from to", DROP("th dport 4999-5001 accept"), LAB_UDP6, 0, false,
		 PACKET_PASSES, NULL},
		{"ports not from to", DROP("th dport != 4999-5001 accept"), LAB_UDP6, 0,
		 false, PACKET_DROPPED, NULL},
		{"above", DROP("udp sport > 1023 accept"), LAB_UDP6, 0, false,
		 PACKET_PASSES, NULL},
		{"not below", DROP("udp dport < 5000 accept"), LAB_UDP6, 0, false,
		 PACKET_DROPPED, NULL},
		{"at least", DROP("udp dport >= 5000 accept"), LAB_UDP6, 0, false,
		 PACKET_PASSES, NULL},
		{"at most", DROP("udp dport <= 4999 accept"), LAB_UDP6, 0, false,
		 PACKET_DROPPED, NULL},
		{"ports in a set", DROP("tcp dport { 22, 4990-5000, 6000 } accept"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"ports not in a set", DROP("tcp dport { 22, 5001-5010 } accept"),
		 LAB_TCP4, 0, false, PACKET_DROPPED, NULL},
		{"source", DROP("ip saddr 198.51.100.0/24 accept"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"source, odd prefix", DROP("ip saddr 198.51.100.8/29 accept"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"source, other prefix", DROP("ip saddr 198.51.100.16/28 accept"),
		 LAB_TCP4, 0, false, PACKET_DROPPED, NULL},
		{"other version", DROP("ip saddr 198.51.100.0/24 accept"), LAB_TCP6, 0,
		 false, PACKET_DROPPED, NULL},
		{"destination", DROP("ip6 daddr 2001:db8:2::/48 accept"), LAB_UDP6, 0,
		 false, PACKET_PASSES, NULL},
		{"destinations",
		 DROP("ip daddr { 10.0.0.0/8, 192.168.1.10-192.168.1.30 } accept"),
		 LAB_UDP4, 0, false, PACKET_PASSES, NULL},
		{"no such destination",
		 DROP("ip daddr { 10.0.0.0/8, 192.168.1.21-192.168.1.30 } accept"),
		 LAB_UDP4, 0, false, PACKET_DROPPED, NULL},
		{"concatenated",
		 DROP("ip daddr . tcp dport { 192.168.1.0/24 . 4000-5000, 10.0.0.1 . "
		      "22 } accept"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"concatenated, one part is wrong",
		 DROP("ip daddr . tcp dport { 192.168.1.0/24 . 5001-6000, 10.0.0.1 . "
		      "5000 } accept"),
		 LAB_TCP4, 0, false, PACKET_DROPPED, NULL},
		{"first of TCP", DROP("tcp flags & (fin|syn|rst|ack) == syn accept"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"no first of TCP",
		 ACCEPT("tcp flags & (fin|syn|rst|ack) != syn ct state new drop"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"fragments", ACCEPT("ip frag-off & 0x1fff != 0 drop"), LAB_TCP4, 0,
		 false, PACKET_PASSES, NULL},
		{"extension header", ACCEPT("rt type 0 drop"), LAB_TCP6, 0, false,
		 PACKET_PASSES, NULL},
		{"extension header is there", ACCEPT("exthdr rt exists drop"), LAB_TCP6,
		 0, false, PACKET_PASSES, NULL},
		{"ICMP", ACCEPT("icmp type echo-request drop"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"hops", ACCEPT("ip ttl 1 drop"), LAB_TCP4, 0, false, PACKET_UNKNOWN,
		 "forward"},
		{"hops are set", DROP("ip ttl set 64 ip daddr 192.168.1.20 accept"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"address is set",
		 DROP("ip daddr set 10.0.0.1\nip daddr 192.168.1.20 accept"), LAB_TCP4,
		 0, false, PACKET_UNKNOWN, "forward"},
	};

	(void)state;
	TEST_ROWS(rows);
}

static void test_routes(void **state)
{
	static const struct ruleset_lab_row rows[] = {
		{"type of destination", DROP("fib daddr type unicast accept"), LAB_TCP4,
		 0, false, PACKET_PASSES, NULL},
		{"not for us", DROP("fib daddr type local accept"), LAB_TCP4, 0, false,
		 PACKET_DROPPED, NULL},
		{"no way back", ACCEPT("fib saddr . iif oif missing drop"), LAB_TCP4, 0,
		 false, PACKET_PASSES, NULL},
		{"kind", ACCEPT("meta pkttype != host drop"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"IPsec", DROP("meta ipsec exists accept"), LAB_TCP4, 0, false,
		 PACKET_DROPPED, NULL},
		{"family", DROP("meta nfproto ipv4 accept"), LAB_TCP6, 0, false,
		 PACKET_DROPPED, NULL},
		{"protocol of the link", DROP("meta protocol ip6 accept"), LAB_TCP6, 0,
		 false, PACKET_PASSES, NULL},
		{"protocols", DROP("meta l4proto { tcp, udp } accept"), LAB_TCP6, 0,
		 false, PACKET_PASSES, NULL},
	};

	(void)state;
	TEST_ROWS(rows);
}

#define CHAINS(rules, others)                                                          \
	"table ip t {\n" others "\nchain forward { type filter hook forward priority " \
	"0; policy drop;\n" rules "\n}\n}\n"

static void test_chains(void **state)
{
	static const struct ruleset_lab_row rows[] = {
		{"jump", CHAINS("jump a", "chain a { accept; }"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"jump and back", CHAINS("jump a\naccept", "chain a { return; drop; }"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"goto goes not back",
		 CHAINS("goto a\naccept", "chain a { tcp dport 1 accept; }"), LAB_TCP4,
		 0, false, PACKET_DROPPED, "forward"},
		{"goto from a chain goes back to the first",
		 CHAINS("jump a\naccept", "chain b { }\nchain a { goto b; drop; }"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"ends far away",
		 CHAINS("jump a", "chain b { drop; }\nchain a { jump b; }"), LAB_TCP4,
		 0, false, PACKET_DROPPED, "b"},
		{"rejected", CHAINS("reject with icmp admin-prohibited\naccept", ""),
		 LAB_TCP4, 0, false, PACKET_DROPPED, "forward"},
		{"map to chains",
		 CHAINS("meta l4proto vmap { tcp : jump a, udp : goto a }",
			"chain a { accept; }"),
		 LAB_UDP4, 0, false, PACKET_PASSES, NULL},
		{"map with all others",
		 CHAINS("tcp dport vmap { 22 : drop, * : jump a }",
			"chain a { accept; }"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"map of intervals",
		 CHAINS("tcp dport vmap { 0-4999 : drop, 5000-6000 : accept }", ""),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"continue", CHAINS("tcp dport 5000 continue\naccept", ""), LAB_TCP4, 0,
		 false, PACKET_PASSES, NULL},
		{"statements",
		 CHAINS("counter log prefix \"x\" meta mark set 7 notrack accept", ""),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
	};

	(void)state;
	TEST_ROWS(rows);
}

static void test_what_is_not_known(void **state)
{
	static const struct ruleset_lab_row rows[] = {
		{"may be accepted, else dropped",
		 DROP("meta hour \"00:00\"-\"12:00\" "
		      "accept"),
		 LAB_TCP4, 0, false, PACKET_UNKNOWN, "forward"},
		{"may be dropped, then dropped",
		 ACCEPT("meta cpu 0 drop\njump other\ntcp dport 5000 drop"), LAB_TCP4,
		 0, false, PACKET_DROPPED, "forward"},
		{"may be accepted, then accepted", DROP("meta cpu 0 accept\naccept"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"may jump", DROP("meta cpu 0 jump other\naccept"), LAB_TCP4, 0, false,
		 PACKET_PASSES, NULL},
		{"of so many", DROP("limit rate 3/second accept"), LAB_TCP4, 0, false,
		 PACKET_UNKNOWN, "forward"},
		{"flood, let back", ACCEPT("limit rate 3/second return\ndrop"),
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"flood, dropped", ACCEPT("limit rate over 3/second drop"), LAB_TCP4, 0,
		 false, PACKET_PASSES, NULL},
		{"connections, dropped", ACCEPT("ct count over 30 drop"), LAB_TCP4, 0,
		 false, PACKET_PASSES, NULL},
		{"flood of one, dropped",
		 "table ip t {\nset s { type ipv4_addr; size 99; flags dynamic; }\n"
		 "chain c { type filter hook forward priority 0;\nadd @s { ip saddr "
		 "limit rate over 5/second } drop\n}\n}\n",
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"to remember",
		 "table ip t {\nset s { type ipv4_addr; size 99; flags dynamic; }\n"
		 "chain c { type filter hook forward priority 0; policy drop;\n"
		 "add @s { ip saddr } accept\n}\n}\n",
		 LAB_TCP4, 0, false, PACKET_PASSES, NULL},
		{"may be in a set of others",
		 "table ip t {\nset s { type mark; elements = { 1, 2 } }\n"
		 "chain c { type filter hook forward priority 0; policy drop;\n"
		 "meta mark @s accept\n}\n}\n",
		 LAB_TCP4, 0, false, PACKET_UNKNOWN, "c"},
		{"one part of two is not known",
		 DROP("meta mark . tcp dport { 1 . 5000 } accept"), LAB_TCP4, 0, false,
		 PACKET_UNKNOWN, "forward"},
		{"one part of two is wrong",
		 DROP("meta mark . tcp dport { 1 . 5001 } accept"), LAB_TCP4, 0, false,
		 PACKET_DROPPED, "forward"},
		{"one bit is enough", DROP("ct status & (dnat|snat) != 0 accept"),
		 LAB_TCP4, 0, true, PACKET_PASSES, NULL},
		{"one bit is not enough", DROP("ct status & (dnat|snat) == 0 accept"),
		 LAB_TCP6, 0, true, PACKET_UNKNOWN, "forward"},
	};

	(void)state;
	TEST_ROWS(rows);
}

/* Of several base chains the first that drops decides. */
static void test_order(void **state)
{
	struct packet packet = ruleset_lab_make_packet(LAB_TCP4);
	struct packet_verdict verdict;
	struct ruleset *ruleset;
	size_t count = 0;

	(void)state;
	ruleset_lab_enter();
	ruleset_lab_load(NFT, "table ip late { chain l { type filter hook forward "
			      "priority 10; drop; }\n}\n"
			      "table inet soon { chain s { type filter hook forward "
			      "priority -10; ct mark 1 accept; meta cpu 0 drop; }\n}\n"
			      "table ip6 none { chain n { type filter hook forward "
			      "priority 0; drop; }\n}\n"
			      "table ip later { chain z { type filter hook forward "
			      "priority 20; drop; }\n}\n");
	ruleset = ruleset_lab_read();
	ruleset_walk(ruleset, PACKET_HOOK_FORWARD, &packet, &verdict);
	assert_int_equal(verdict.fate, PACKET_DROPPED);
	assert_string_equal(verdict.family, "ip");
	assert_string_equal(verdict.table, "late");
	assert_string_equal(verdict.base_chain, "l");
	assert_int_equal(verdict.priority, 10);
	assert_true(verdict.handle != 0);
	for (; ruleset_walk_one(ruleset, PACKET_HOOK_FORWARD, count, &packet, &verdict);
	     count++) {
		static const char *const chains[] = {"s", "n", "l", "z"};
		static const enum packet_fate fates[] = {
			PACKET_UNKNOWN, PACKET_PASSES, PACKET_DROPPED, PACKET_DROPPED};

		assert_true(count < 4);
		assert_string_equal(verdict.base_chain, chains[count]);
		assert_int_equal(verdict.fate, fates[count]);
	}
	assert_int_equal(count, 4);
	assert_false(
		ruleset_walk_one(ruleset, PACKET_HOOK_INPUT, 0, &packet, &verdict));
	ruleset_free(ruleset);
	ruleset_lab_flush();
}

/* A first packet gets its mark at priority -155: before iptables' mangle FORWARD. */
static void test_mark_comes_late(void **state)
{
	static const struct {
		int priority;
		bool established;
		enum packet_fate fate;
	} rows[] = {
		{-200, false, PACKET_DROPPED}, {-200, true, PACKET_PASSES},
		{-156, false, PACKET_DROPPED}, {-155, false, PACKET_UNKNOWN},
		{-154, false, PACKET_PASSES},  {-150, false, PACKET_PASSES},
	};

	(void)state;
	ruleset_lab_enter();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct packet packet = ruleset_lab_make_packet(LAB_UDP6);
		struct packet_verdict verdict;
		struct ruleset *ruleset;
		char text[256];

		(void)snprintf(text, sizeof(text),
			       "table inet t { chain c { type filter hook forward "
			       "priority %d; policy drop; ct mark and 0x10000000 == "
			       "0x10000000 accept; }\n}",
			       rows[i].priority);
		ruleset_lab_flush();
		ruleset_lab_load(NFT, text);
		ruleset = ruleset_lab_read();
		packet.is_new = !rows[i].established;
		ruleset_walk(ruleset, PACKET_HOOK_FORWARD, &packet, &verdict);
		assert_int_equal(verdict.fate, rows[i].fate);
		ruleset_free(ruleset);
	}
	ruleset_lab_flush();
}

static enum packet_fate walk_input(const struct ruleset *ruleset, const char *to,
				   uint16_t port, bool multicast)
{
	struct packet packet = {
		.in = "lan0",
		.protocol = IPPROTO_UDP,
		.is_new = true,
		.multicast = multicast,
		.source_port = 40000,
		.destination_port = port,
	};
	struct packet_verdict verdict;

	assert_true(addr_parse("192.168.1.20", &packet.source));
	assert_true(addr_parse(to, &packet.destination));
	ruleset_walk(ruleset, PACKET_HOOK_INPUT, &packet, &verdict);
	return verdict.fate;
}

static void test_input(void **state)
{
	struct ruleset *ruleset;

	(void)state;
	ruleset_lab_enter();
	ruleset_lab_load(NFT,
			 "table inet t { chain c { type filter hook input priority 0; "
			 "policy drop; oifname lan0 accept; fib daddr type multicast "
			 "udp dport 1900 accept; fib daddr type local udp dport 5351 "
			 "accept; meta pkttype multicast udp dport 1 accept; }\n}");
	ruleset = ruleset_lab_read();
	assert_int_equal(walk_input(ruleset, "239.255.255.250", 1900, true),
			 PACKET_PASSES);
	assert_int_equal(walk_input(ruleset, "192.168.1.1", 1900, false),
			 PACKET_DROPPED);
	assert_int_equal(walk_input(ruleset, "192.168.1.1", 5351, false),
			 PACKET_PASSES);
	assert_int_equal(walk_input(ruleset, "239.255.255.250", 1, true),
			 PACKET_PASSES);
	ruleset_free(ruleset);
	ruleset_lab_flush();
}

/* What packets the address and ports of which nobody knows meet is not certain. */
static void test_packet_not_known(void **state)
{
	struct packet packet = {.in = "wan0", .out = "lan0", .protocol = IPPROTO_UDP};
	struct packet_verdict verdict;
	struct ruleset *ruleset;

	(void)state;
	ruleset_lab_enter();
	ruleset_lab_load(NFT, DROP("ip saddr 10.0.0.0/8 accept"));
	ruleset = ruleset_lab_read();
	packet.is_new = true;
	ruleset_walk(ruleset, PACKET_HOOK_FORWARD, &packet, &verdict);
	assert_int_equal(verdict.fate, PACKET_UNKNOWN);
	ruleset_free(ruleset);
	ruleset_lab_flush();
	ruleset_lab_load(NFT, DROP("udp dport 1-65535 accept"));
	ruleset = ruleset_lab_read();
	ruleset_walk(ruleset, PACKET_HOOK_FORWARD, &packet, &verdict);
	assert_int_equal(verdict.fate, PACKET_UNKNOWN);
	ruleset_free(ruleset);
	ruleset_lab_flush();
}

/* Load a set of that many addresses, from 10.0.0.0 on, by twos. */
static void load_large_set(unsigned int count)
{
	FILE *pipe = popen(NFT, "w");

	assert_non_null(pipe);
	(void)fputs("table ip t {\nset large { type ipv4_addr; elements = {\n", pipe);
	for (unsigned int i = 0; i < count; i++)
		(void)fprintf(pipe, "10.%u.%u.%u,\n", i >> 15, i >> 7 & 255,
			      i << 1 & 255);
	(void)fputs("} }\nset small { type ipv4_addr; elements = { 198.51.100.9 } }\n"
		    "chain c { type filter hook forward priority 0; policy drop;\n"
		    "ip saddr @large accept\n}\n"
		    "chain d { type filter hook forward priority 1; policy drop;\n"
		    "ip saddr @small accept\n}\n}\n",
		    pipe);
	assert_int_equal(pclose(pipe), 0);
}

/* A list of half the world is not read, and what comes after it is. */
static void test_large_sets(void **state)
{
	static const struct {
		unsigned int count;
		enum packet_fate fate;
	} rows[] = {{8000, PACKET_DROPPED}, {40000, PACKET_UNKNOWN}};

	(void)state;
	ruleset_lab_enter();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct packet packet = ruleset_lab_make_packet(LAB_TCP4);
		struct packet_verdict verdict;
		struct ruleset *ruleset;

		load_large_set(rows[i].count);
		ruleset = ruleset_lab_read();
		assert_true(ruleset_walk_one(ruleset, PACKET_HOOK_FORWARD, 0, &packet,
					     &verdict));
		assert_int_equal(verdict.fate, rows[i].fate);
		assert_true(ruleset_walk_one(ruleset, PACKET_HOOK_FORWARD, 1, &packet,
					     &verdict));
		assert_int_equal(verdict.fate, PACKET_PASSES);
		ruleset_free(ruleset);
		ruleset_lab_flush();
	}
}

/* More rules than anybody has: said so, instead of half of them. */
static void test_too_many_rules(void **state)
{
	struct packet packet = ruleset_lab_make_packet(LAB_TCP4);
	struct packet_verdict verdict;
	struct ruleset *ruleset = NULL;
	FILE *pipe;

	(void)state;
	ruleset_lab_enter();
	pipe = popen(NFT, "w");
	assert_non_null(pipe);
	(void)fputs("table ip t {\nchain c {\n", pipe);
	for (unsigned int i = 0; i <= RULESET_RULES_MAX; i++)
		(void)fputs("counter\n", pipe);
	(void)fputs("}\nchain f {\ntype filter hook forward priority 0; policy drop;\n"
		    "jump c\n}\n}\n"
		    "table ip u {\nchain f {\ntype filter hook forward priority 1;\n"
		    "policy drop;\n}\n}\n",
		    pipe);
	assert_int_equal(pclose(pipe), 0);
	assert_int_equal(ruleset_read(&ruleset), 0);
	assert_true(ruleset_is_partial(ruleset));
	assert_true(
		ruleset_walk_one(ruleset, PACKET_HOOK_FORWARD, 0, &packet, &verdict));
	assert_int_equal(verdict.fate, PACKET_UNKNOWN);
	assert_true(ruleset_walk_default(ruleset, PACKET_HOOK_FORWARD, 0, &packet,
					 &verdict));
	assert_int_equal(verdict.fate, PACKET_DROPPED);
	assert_true(
		ruleset_walk_one(ruleset, PACKET_HOOK_FORWARD, 1, &packet, &verdict));
	assert_int_equal(verdict.fate, PACKET_DROPPED);
	ruleset_free(ruleset);
	/* of a table that no hook leads to, nothing is read */
	ruleset_lab_load(NFT, "delete chain ip t f");
	assert_int_equal(ruleset_read(&ruleset), 0);
	assert_false(ruleset_is_partial(ruleset));
	ruleset_free(ruleset);
	ruleset_lab_flush();
}

/* Chains that jump to the next one twice: as many walks as there are packets. */
static void test_endless_chains(void **state)
{
	struct packet packet = ruleset_lab_make_packet(LAB_TCP4);
	struct packet_verdict verdict;
	struct ruleset *ruleset;
	FILE *pipe;

	(void)state;
	ruleset_lab_enter();
	pipe = popen(NFT, "w");
	assert_non_null(pipe);
	(void)fputs("table ip t {\nchain c15 { meta cpu 0 accept; }\n", pipe);
	for (unsigned int i = 14; i > 0; i--) {
		(void)fprintf(pipe, "chain c%u {\n", i);
		for (unsigned int j = 0; j < 8; j++)
			(void)fprintf(pipe, "jump c%u\n", i + 1);
		(void)fputs("}\n", pipe);
	}
	(void)fputs("chain c { type filter hook forward priority 0; jump c1; drop; }\n",
		    pipe);
	(void)fputs("}\n", pipe);
	/* The kernel may refuse what would take it for ever as well. */
	if (pclose(pipe) == 0) {
		ruleset = ruleset_lab_read();
		ruleset_walk(ruleset, PACKET_HOOK_FORWARD, &packet, &verdict);
		assert_int_equal(verdict.fate, PACKET_UNKNOWN);
		ruleset_free(ruleset);
	}
	ruleset_lab_flush();
}

/* While somebody else changes rules without a pause. */
static void test_changes_meanwhile(void **state)
{
	unsigned int read_count = 0;
	pid_t child;
	int status;

	(void)state;
	ruleset_lab_enter();
	ruleset_lab_load(NFT, DROP("iifname { wan0, eth0 } accept"));
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		execl("/bin/sh", "sh", "-c",
		      "i=0; while [ $i -lt 100 ]; do echo 'add table ip x; add chain "
		      "ip x y; add rule ip x y tcp dport { 1, 2 } drop; delete table "
		      "ip "
		      "x'; i=$((i + 1)); done | nft -i >/dev/null",
		      (char *)NULL);
		_exit(127);
	}
	while (waitpid(child, &status, WNOHANG) == 0) {
		struct packet packet = ruleset_lab_make_packet(LAB_TCP4);
		struct packet_verdict verdict;
		struct ruleset *ruleset = NULL;
		int error = ruleset_read(&ruleset);

		/* Never half of it. */
		if (error < 0) {
			assert_int_equal(error, -EINTR);
			assert_null(ruleset);
			continue;
		}
		ruleset_walk(ruleset, PACKET_HOOK_FORWARD, &packet, &verdict);
		assert_int_equal(verdict.fate, PACKET_PASSES);
		ruleset_free(ruleset);
		read_count++;
	}
	assert_int_equal(status, 0);
	assert_true(read_count > 0);
	ruleset_lab_flush();
}

/* Who has nothing to say here hears so. */
static void test_not_permitted(void **state)
{
	pid_t child;
	int status;

	(void)state;
	ruleset_lab_enter();
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct ruleset *ruleset = NULL;

		/* Takes what capabilities there are, in a chroot, too. */
		if (setresuid(NOBODY, NOBODY, NOBODY) != 0)
			_exit(EXIT_FAILURE);
		_exit(ruleset_read(&ruleset) == -EPERM && !ruleset ? EXIT_SUCCESS
								   : EXIT_FAILURE);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_interfaces),
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_chains),
		cmocka_unit_test(test_what_is_not_known),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_mark_comes_late),
		cmocka_unit_test(test_input),
		cmocka_unit_test(test_packet_not_known),
		cmocka_unit_test(test_large_sets),
		cmocka_unit_test(test_too_many_rules),
		cmocka_unit_test(test_endless_chains),
		cmocka_unit_test(test_changes_meanwhile),
		cmocka_unit_test(test_not_permitted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
