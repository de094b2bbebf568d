/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports that rules of others give away: what the owner forwards himself is told, and
 * what is no business of the WAN is not.
 */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "test/unit/ruleset_lab.h"

#define TEXT_SIZE 512
#define NFT "nft -f -"
#define RESTORE4 "iptables-nft-restore"
#define RESTORE6 "ip6tables-nft-restore"
#define CHAIN(rules)                                                                   \
	"table inet t {\nchain other { tcp dport 2222 dnat ip to 10.0.0.2; }\n"        \
	"chain c {\ntype nat hook prerouting priority dstnat;\n" rules "\n}\n}\n"
#define NAT(rules)                                                                     \
	"*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING "       \
	"ACCEPT\n:DOCKER -\n" rules "COMMIT\n"
#define TEST_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof((rows)[0]))

struct row {
	const char *name;
	const char *program;
	const char *text;
	const char *ports; /* as told: "tcp 80 udp 1-2" */
};

static void note_range(void *user, uint8_t protocol, struct port_range range)
{
	char *text = user;
	size_t used = strlen(text);
	const char *name = protocol == IPPROTO_TCP ? "tcp" : "udp";

	assert_true(protocol == IPPROTO_TCP || protocol == IPPROTO_UDP);
	if (range.first == range.last)
		(void)snprintf(text + used, TEXT_SIZE - used, "%s%s %u",
			       used > 0 ? " " : "", name, range.first);
	else
		(void)snprintf(text + used, TEXT_SIZE - used, "%s%s %u-%u",
			       used > 0 ? " " : "", name, range.first, range.last);
}

static void check_rows(const struct row *rows, size_t count)
{
	ruleset_lab_enter();
	for (size_t i = 0; i < count; i++) {
		char text[TEXT_SIZE] = "";
		struct ruleset *ruleset;

		ruleset_lab_flush();
		ruleset_lab_load(rows[i].program, rows[i].text);
		ruleset = ruleset_lab_read();
		ruleset_visit_dnat(ruleset, "wan0", note_range, text);
		if (strcmp(text, rows[i].ports) != 0)
			fail_msg("%s: told \"%s\", not \"%s\"", rows[i].name, text,
				 rows[i].ports);
		ruleset_free(ruleset);
	}
	ruleset_lab_flush();
}

static void test_ports(void **state)
{
	static const struct row rows[] = {
		{"nothing", NFT, "", ""},
		{"port", NFT, CHAIN("iifname wan0 tcp dport 80 dnat ip to 10.0.0.2"),
		 "tcp 80"},
		{"any interface", NFT, CHAIN("udp dport 80 redirect to :81"), "udp 80"},
		{"both protocols", NFT,
		 CHAIN("meta l4proto { tcp, udp } th dport 53 dnat ip to 10.0.0.2"),
		 "tcp 53 udp 53"},
		{"from to", NFT, CHAIN("tcp dport 4000-4010 dnat ip to 10.0.0.2"),
		 "tcp 4000-4010"},
		{"below", NFT, CHAIN("tcp dport < 4 dnat ip to 10.0.0.2"), "tcp 1-3"},
		{"not above", NFT, CHAIN("udp dport <= 4 dnat ip to 10.0.0.2"),
		 "udp 1-4"},
		{"above", NFT, CHAIN("udp dport > 65533 dnat ip to 10.0.0.2"),
		 "udp 65534-65535"},
		{"set", NFT,
		 CHAIN("tcp dport { 80, 443, 8000-8010 } dnat ip to 10.0.0.2"),
		 "tcp 80 tcp 443 tcp 8000-8010"},
		{"set, not", NFT,
		 CHAIN("tcp dport != { 1-79, 81-65535 } dnat ip to 10.0.0.2"),
		 "tcp 80"},
		{"source port too", NFT,
		 CHAIN("tcp sport 7 tcp dport 80 dnat ip to 10.0.0.2"), "tcp 80"},
		{"map", NFT,
		 CHAIN("dnat ip to tcp dport map { 80 : 10.0.0.2, 90-91 : 10.0.0.3 }"),
		 "tcp 80 tcp 90-91"},
		{"map to endpoints", NFT,
		 CHAIN("dnat ip to udp dport map { 80 : 10.0.0.2 . 8080, 90 : 10.0.0.3 "
		       ". 1 }"),
		 "udp 80 udp 90"},
		{"map of address and port", NFT,
		 CHAIN("dnat ip to ip daddr . tcp dport map { 203.0.113.1 . 80 : "
		       "10.0.0.2 . 8080 }"),
		 "tcp 80"},
		{"address", NFT,
		 CHAIN("ip daddr 203.0.113.1 tcp dport 80 dnat ip to 10.0.0.2"),
		 "tcp 80"},
		{"any address, intervals", NFT,
		 CHAIN("ip daddr . tcp dport { 203.0.113.0/24 . 80-90 } dnat ip to "
		       "10.0.0.2"),
		 "tcp 80-90"},
		{"who knows", NFT,
		 CHAIN("meta mark 7 tcp dport 80 dnat ip to 10.0.0.2\nmeta cpu 0 udp "
		       "dport 80 redirect"),
		 "tcp 80 udp 80"},
		{"to an address of ours", NFT,
		 CHAIN("fib daddr type local tcp dport 80 dnat ip to 10.0.0.2"),
		 "tcp 80"},
		{"two chains", NFT,
		 CHAIN("tcp dport 80 dnat ip to 10.0.0.2") "table ip u {\nchain c "
							   "{\ntype nat hook "
							   "prerouting priority "
							   "-150;\nudp dport 9 "
							   "redirect\n}\n}\n",
		 "tcp 80 udp 9"},
	};

	(void)state;
	TEST_ROWS(rows);
}

static void test_paths(void **state)
{
	static const struct row rows[] = {
		{"jump", NFT, CHAIN("iifname wan0 jump other"), "tcp 2222"},
		{"goto", NFT, CHAIN("iifname wan0 goto other"), "tcp 2222"},
		{"jump from a LAN", NFT, CHAIN("iifname lan0 jump other"), ""},
		{"map", NFT, CHAIN("tcp dport vmap { 22 : accept, 2222 : jump other }"),
		 "tcp 2222"},
		{"map elsewhere", NFT, CHAIN("tcp dport vmap { 2223 : jump other }"),
		 ""},
		{"map of interfaces", NFT,
		 CHAIN("iifname vmap { wan0 : jump other, lan0 : accept }"),
		 "tcp 2222"},
		{"accepted before", NFT,
		 CHAIN("tcp dport { 80, 90 } accept\ntcp dport 80-82 dnat ip to "
		       "10.0.0.2"),
		 "tcp 81-82"},
		{"perhaps accepted before", NFT,
		 CHAIN("meta cpu 0 tcp dport 80 accept\ntcp dport 80-82 dnat ip to "
		       "10.0.0.2"),
		 "tcp 80-82"},
		{"ends elsewhere", NFT,
		 "table ip t {\nchain a { tcp dport 81 return; accept; }\n"
		 "chain c {\ntype nat hook prerouting priority dstnat;\n"
		 "tcp dport 80-82 jump a\ntcp dport 80-85 dnat to 10.0.0.2\n}\n}\n",
		 "tcp 81 tcp 83-85"},
		{"goes on behind a goto", NFT,
		 "table ip t {\nchain a { tcp dport 81 accept; }\n"
		 "chain b { goto a; dnat to 10.0.0.2; }\n"
		 "chain c {\ntype nat hook prerouting priority dstnat;\n"
		 "tcp dport 80-82 jump b\ntcp dport 80-85 dnat to 10.0.0.2\n}\n}\n",
		 "tcp 80 tcp 82-85"},
		{"port asked before the jump", NFT,
		 "table ip t {\nchain a { ip daddr 203.0.113.9 dnat to 10.0.0.2; }\n"
		 "chain c {\ntype nat hook prerouting priority dstnat;\n"
		 "tcp dport 80-82 jump a\n}\n}\n",
		 "tcp 80-82"},
		{"asleep", NFT,
		 "table ip t {\nflags dormant\nchain c {\ntype nat hook prerouting "
		 "priority dstnat; tcp dport 80 redirect\n}\n}\n",
		 ""},
		{"our own", NFT,
		 "table inet portreeve {\nchain c {\ntype nat hook prerouting priority "
		 "dstnat; tcp dport 80 redirect\n}\n}\n",
		 ""},
		{"on the way out", NFT,
		 "table ip t {\nchain c {\ntype nat hook output priority -100; tcp "
		 "dport 80 redirect\n}\n}\n",
		 ""},
	};

	(void)state;
	TEST_ROWS(rows);
}

/* What may not cost the owner all of his ports: one host gets what nobody else wants.
 */
static void test_without_port(void **state)
{
	static const struct row rows[] = {
		{"all", NFT, CHAIN("iifname wan0 dnat ip to 10.0.0.2"), ""},
		{"all of a protocol", NFT,
		 CHAIN("iifname wan0 meta l4proto udp dnat ip to 10.0.0.2"), ""},
		{"all but one", NFT,
		 CHAIN("tcp dport 22 accept\nmeta l4proto tcp dnat ip to 10.0.0.2"),
		 ""},
		{"all, and one", NFT,
		 CHAIN("tcp dport 22 dnat ip to 10.0.0.3\nmeta l4proto tcp dnat ip to "
		       "10.0.0.2"),
		 "tcp 22"},
		{"all but one, at once", NFT,
		 CHAIN("tcp dport != 22 dnat ip to 10.0.0.2"), ""},
		{"most, by their numbers", NFT,
		 CHAIN("tcp dport 1024-65535 dnat ip to 10.0.0.2"), ""},
		{"half", NFT, CHAIN("tcp dport 32769-65535 dnat ip to 10.0.0.2"),
		 "tcp 32769-65535"},
		{"from a LAN", NFT, CHAIN("iifname lan0 dnat ip to 10.0.0.2"), ""},
		{"by IPv6", NFT, CHAIN("iifname wan0 dnat ip6 to fd00::1"), ""},
		{"for another address", NFT,
		 CHAIN("ip daddr 203.0.113.9 dnat ip to 10.0.0.2"), ""},
		{"for addresses in a map", NFT,
		 CHAIN("dnat ip to ip daddr map { 203.0.113.9 : 10.0.0.2 }"), ""},
		{"hairpin", NFT,
		 CHAIN("ip saddr 10.0.0.0/8 ip daddr 203.0.113.1 dnat ip to 10.0.0.2"),
		 ""},
		{"for another address, but one", NFT,
		 CHAIN("tcp dport != 22 ip daddr 203.0.113.9 dnat ip to 10.0.0.2"), ""},
		{"perhaps", NFT, CHAIN("meta mark 7 dnat ip to 10.0.0.2"), ""},
		{"transparent proxy of a LAN", NFT,
		 CHAIN("iifname { lan0, lo } tcp dport 80 redirect to :3128"), ""},
	};

	(void)state;
	TEST_ROWS(rows);
}

static void test_iptables(void **state)
{
	static const struct row rows[] = {
		{"port", RESTORE4,
		 NAT("-A PREROUTING -i wan0 -p tcp --dport 80 -j DNAT --to 10.0.0.2\n"),
		 "tcp 80"},
		{"ports", RESTORE4,
		 NAT("-A PREROUTING -p udp -m multiport --dports 1,5:7 -j REDIRECT "
		     "--to-ports 9\n"),
		 "udp 1 udp 5-7"},
		{"ports, not", RESTORE4,
		 NAT("-A PREROUTING -p udp -m multiport ! --dports 5:65535 -j REDIRECT "
		     "--to-ports 9\n"),
		 "udp 1-4"},
		{"Docker", RESTORE4,
		 NAT("-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
		     "-A DOCKER -i docker0 -j RETURN\n"
		     "-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT "
		     "--to-destination 172.17.0.2:80\n"
		     "-A DOCKER -d 127.0.0.1/32 ! -i docker0 -p udp -m udp --dport 53 "
		     "-j DNAT --to-destination 172.17.0.3:53\n"),
		 "tcp 8080 udp 53"},
		{"network", RESTORE4,
		 NAT("-A PREROUTING -d 203.0.113.0/24 -j NETMAP --to 10.0.0.0/24\n"),
		 ""},
		{"hairpin", RESTORE4,
		 NAT("-A PREROUTING -s 10.0.0.0/8 -d 203.0.113.1 -p tcp --dport 80 -j "
		     "DNAT --to 10.0.0.2\n-A PREROUTING -s 10.0.0.0/8 -d 203.0.113.1 "
		     "-j DNAT --to 10.0.0.3\n"),
		 "tcp 80"},
		{"all", RESTORE4,
		 NAT("-A PREROUTING -i wan0 -p tcp -j DNAT --to 10.0.0.2\n"), ""},
		{"IPv6", RESTORE6,
		 NAT("-A PREROUTING -i wan0 -p tcp --dport 80 -j DNAT --to "
		     "[fd00::1]:80\n"),
		 ""},
	};

	(void)state;
	TEST_ROWS(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_without_port),
		cmocka_unit_test(test_iptables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
