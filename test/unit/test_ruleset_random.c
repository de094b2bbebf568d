/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rulesets that nobody has thought of: what the walk says with certainty is what the
 * kernel does with a real packet. The seed is printed; PORTREEVE_SEED sets it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test/unit/ruleset_lab.h"
#include "test/unit/ruleset_wire.h"

#define ROUNDS 60
#define TEXT_SIZE 8192
#define PICK(names) pick(names, sizeof(names) / sizeof((names)[0]))

/* About headers: two of them might contradict each other, which nft refuses. */
static const char *const headers[] = {
	"",
	"meta l4proto tcp",
	"meta l4proto { tcp, udp }",
	"meta l4proto != udp",
	"tcp dport 5000",
	"udp dport 4000-5000",
	"th dport { 1-100, 4999-5001 }",
	"th dport != { 1-100, 5001-6000 }",
	"th sport > 39999",
	"th sport < 40000",
	"tcp sport 40000 tcp dport 5000",
	"th dport & 0xff00 == 0x1300",
	"tcp flags & (fin|syn|rst|ack) == syn",
	"tcp flags & (syn|ack) != syn",
	"ip saddr 198.51.100.8/31",
	"ip daddr { 192.168.1.16/28, 10.0.0.0/8 }",
	"ip daddr { 192.168.1.0/28, 10.0.0.0/8 }",
	"ip daddr != 192.168.1.20",
	"ip daddr & 255.255.0.255 == 192.168.0.20",
	"ip saddr . th sport . th dport { 198.51.100.9 . 40000 . 5000 }",
	"ip daddr . th dport { 192.168.1.0/24 . 4999-5000, 10.0.0.1 . 1 }",
	"ip saddr . th dport { 198.51.100.8/30 . 5001, 1.2.3.4 . 1-9 }",
	"ip protocol udp",
	"ip frag-off & 0x1fff != 0",
	"ip ttl 63",
	"ip6 saddr 2001:db8:1::/48",
	"ip6 daddr { 2001:db8:2::10-2001:db8:2::30 }",
	"ip6 daddr . th dport { 2001:db8:2::/64 . 5000-5001 }",
	"ip6 daddr & ::ff == ::20",
	"ip6 nexthdr tcp",
	"exthdr frag missing",
	"meta nfproto ipv4",
	"meta protocol ip6",
	"meta l4proto . th dport { tcp . 5000, udp . 5001 }",
};

/* About everything else. */
static const char *const others[] = {
	"",
	"",
	"iifname wan0",
	"iifname \"wa*\"",
	"iifname != \"la*\"",
	"oifname { lan0, wan0 }",
	"oifname { \"la*\", eth1 }",
	"iifname . oifname { wan0 . lan0, a . b }",
	"iifname . oifname != { wan0 . lan0 }",
	"iif wan0",
	"oif != lan0",
	"ct state new",
	"ct state established,related",
	"ct state { new, invalid }",
	"ct status dnat",
	"ct direction original",
	"ct original protocol tcp",
	"ct mark and 0x10000000 == 0x10000000",
	"ct mark != 0",
	"ct mark { 0x1-0xff, 0x10000000-0x20000000 }",
	"ct mark > 0x0fffffff",
	"meta pkttype host",
	"meta mark 0",
	"meta ipsec missing",
	"fib daddr type unicast",
	"fib saddr type local",
	"fib saddr . iif oif missing",
};

static const char *const verdicts[] = {
	"accept", "drop", "return", "counter", "continue", "reject",
};

static const char *const leading_verdicts[] = {
	"accept", "drop", "return", "jump c2", "goto c2", "jump c2", "counter",
};

static const char *const maps[] = {
	"meta l4proto vmap { tcp : jump c2, udp : goto c2 }",
	"th dport vmap { 1-4999 : drop, 5000 : jump c2, 5001-6000 : accept }",
	"th dport vmap { 5001 : drop, * : jump c2 }",
	"iifname . oifname vmap { wan0 . lan0 : goto c2, x . y : drop }",
	"iifname vmap { \"wa*\" : jump c2, lan0 : drop }",
	"ct state vmap { new : jump c2, established : accept }",
	"ct mark vmap { 0-5 : accept, 0x10000000 : jump c2 }",
	"ip saddr . ip daddr vmap { 198.51.100.0/24 . 192.168.1.0/24 : jump c2 }",
};

static unsigned int random_state;

/* The same numbers everywhere (Knuth's constants for 32 bits). */
static unsigned int get_random(unsigned int below)
{
	random_state = random_state * 1664525U + 1013904223U;
	return (random_state >> 16) % below;
}

static const char *pick(const char *const *names, size_t count)
{
	return names[get_random((unsigned int)count)];
}

static void add_text(char *text, const char *more)
{
	size_t used = strlen(text);

	(void)snprintf(text + used, TEXT_SIZE - used, "%s", more);
}

/* leads: to chain c2, now and then. */
static void add_rules(char *text, unsigned int count, bool leads)
{
	while (count-- > 0) {
		if (leads && get_random(6) == 0) {
			add_text(text, PICK(maps));
		} else {
			add_text(text, PICK(others));
			add_text(text, " ");
			add_text(text, PICK(others));
			add_text(text, " ");
			add_text(text, PICK(headers));
			add_text(text, " ");
			add_text(text, leads ? PICK(leading_verdicts) : PICK(verdicts));
		}
		add_text(text, "\n");
	}
}

static void make_ruleset(char *text)
{
	static const char *const policies[] = {"accept", "accept", "drop"};

	*text = '\0';
	add_text(text, "table inet t {\nchain c2 {\n");
	add_rules(text, 1 + get_random(4), false);
	add_text(text, "}\nchain c1 {\n");
	add_rules(text, 1 + get_random(4), true);
	add_text(text, "}\nchain f {\ntype filter hook forward priority 0; policy ");
	add_text(text, PICK(policies));
	add_text(text, "\n");
	add_rules(text, 1 + get_random(3), true);
	add_text(text, "jump c1\n}\nchain g {\ntype filter hook forward priority 5\n");
	add_rules(text, get_random(3), true);
	add_text(text, "}\n}\n");
}

/* True when it was certain. */
static bool check_round(void)
{
	struct packet packet = ruleset_lab_make_packet(get_random(LAB_UDP6 + 1));
	struct packet_verdict verdict;
	struct ruleset *ruleset;
	char text[TEXT_SIZE];

	packet.mark = get_random(2) ? LAB_MARK : 0;
	make_ruleset(text);
	ruleset_lab_flush();
	ruleset_wire_load(packet.mark);
	ruleset_lab_load("nft -f -", text);
	ruleset = ruleset_lab_read();
	ruleset_walk(ruleset, PACKET_HOOK_FORWARD, &packet, &verdict);
	ruleset_free(ruleset);
	if (verdict.fate == PACKET_UNKNOWN)
		return false;
	if (ruleset_wire_send(&packet) != (verdict.fate == PACKET_PASSES))
		fail_msg("the kernel does not %s an IPv%d packet of protocol %u, mark "
			 "0x%x:\n%s",
			 verdict.fate == PACKET_PASSES ? "pass" : "drop",
			 packet.ipv6 ? 6 : 4, packet.protocol, packet.mark, text);
	return true;
}

static void test_random(void **state)
{
	const char *seed = getenv("PORTREEVE_SEED");
	unsigned int certain = 0;

	(void)state;
	random_state =
		seed ? (unsigned int)strtoul(seed, NULL, 10) : (unsigned int)getpid();
	(void)printf("PORTREEVE_SEED=%u\n", random_state);
	ruleset_lab_enter();
	for (unsigned int i = 0; i < ROUNDS; i++)
		if (check_round())
			certain++;
	(void)printf("%u of %u were certain\n", certain, ROUNDS);
	/* Whoever is never certain is never wrong. */
	assert_true(certain > ROUNDS * 3 / 4);
	ruleset_lab_flush();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
