/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets on their whole way: at all hooks, with what is known of them there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "test/unit/ruleset_lab.h"

#define NFT "nft -f -"
#define TEXT_SIZE 1024
#define MARKED "ct mark and 0x10000000 == 0x10000000 accept"

/* A chain that accepts, with one rule. */
struct row {
	const char *name;
	const char *family;
	const char *at; /* type, hook, priority */
	const char *rule;
	enum ruleset_lab_kind kind;
	enum packet_fate fate;
};

static struct packet make_packet(enum ruleset_lab_kind kind)
{
	struct packet packet = ruleset_lab_make_packet(kind);

	packet.outer_port = 6000;
	assert_true(addr_parse("198.51.100.1", &packet.outer_destination));
	return packet;
}

static struct ruleset *load(const char *text)
{
	ruleset_lab_enter();
	ruleset_lab_flush();
	ruleset_lab_load(NFT, text);
	return ruleset_lab_read();
}

static void check_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct packet packet = make_packet(rows[i].kind);
		struct packet_verdict verdict;
		struct ruleset *ruleset;
		char text[TEXT_SIZE];

		(void)snprintf(
			text, sizeof(text),
			"table %s t { chain c { type %s; policy accept;\n%s\n}\n}",
			rows[i].family, rows[i].at, rows[i].rule);
		ruleset = load(text);
		ruleset_walk_path(ruleset, &packet, &verdict);
		if (verdict.fate != rows[i].fate)
			fail_msg("%s: fate %d, not %d", rows[i].name, (int)verdict.fate,
				 (int)rows[i].fate);
		ruleset_free(ruleset);
	}
	ruleset_lab_flush();
}

#define RAW "filter hook prerouting priority raw"
#define MANGLE "filter hook prerouting priority mangle"
#define LATE "filter hook prerouting priority filter"
#define OUT "filter hook postrouting priority mangle"
#define DEVICE(name) "filter hook ingress device " name " priority 0"

/* A first packet of a lease: nobody marked it, and it is for the WAN's address. */
static void test_prerouting(void **state)
{
	static const struct row rows[] = {
		{"raw", "inet", RAW, "iifname wan0 drop", LAB_UDP4, PACKET_DROPPED},
		{"other way", "inet", RAW, "iifname lan0 drop", LAB_UDP4,
		 PACKET_PASSES},
		{"no mark", "inet", MANGLE, MARKED "\ndrop", LAB_UDP4, PACKET_DROPPED},
		{"address", "ip", RAW, "ip daddr 198.51.100.1 udp dport 6000 drop",
		 LAB_UDP4, PACKET_DROPPED},
		{"not yet translated", "ip", MANGLE, "ip daddr 192.168.1.20 drop",
		 LAB_UDP4, PACKET_PASSES},
		{"local", "ip", MANGLE, "fib daddr type local drop", LAB_UDP4,
		 PACKET_DROPPED},
		{"translated", "ip", LATE, "ip daddr 192.168.1.20 ct status dnat drop",
		 LAB_UDP4, PACKET_DROPPED},
		{"no connection yet", "ip", RAW, "ct state new drop", LAB_UDP4,
		 PACKET_PASSES},
		{"connection", "ip", MANGLE, "ct state new drop", LAB_UDP4,
		 PACKET_DROPPED},
		{"IPv6", "inet", RAW, "ip6 daddr 2001:db8:2::20 drop", LAB_TCP6,
		 PACKET_DROPPED},
		{"not routed", "inet", MANGLE, "oifname lan0 drop", LAB_TCP6,
		 PACKET_PASSES},
		{"mark of the packet", "inet", RAW, "meta mark 7 drop", LAB_TCP6,
		 PACKET_UNKNOWN},
	};

	(void)state;
	check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_postrouting(void **state)
{
	static const struct row rows[] = {
		{"drop", "inet", OUT, "oifname lan0 drop", LAB_UDP4, PACKET_DROPPED},
		{"marked", "inet", OUT, MARKED "\ndrop", LAB_UDP4, PACKET_PASSES},
		{"other way", "inet", OUT, "oifname wan0 drop", LAB_UDP4,
		 PACKET_PASSES},
		{"not for us", "inet", "filter hook input priority 0", "drop", LAB_UDP4,
		 PACKET_PASSES},
	};

	(void)state;
	check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

static void test_ingress(void **state)
{
	static const struct row rows[] = {
		{"netdev", "netdev", DEVICE("wan0"), "meta l4proto udp drop", LAB_UDP4,
		 PACKET_DROPPED},
		{"passes", "netdev", DEVICE("wan0"), "meta l4proto tcp drop", LAB_UDP4,
		 PACKET_PASSES},
		{"other device", "netdev", DEVICE("lan0"), "drop", LAB_UDP4,
		 PACKET_PASSES},
		{"devices", "netdev",
		 "filter hook ingress devices = { lan0, wan0 } priority 0", "drop",
		 LAB_UDP6, PACKET_DROPPED},
		{"inet", "inet", DEVICE("wan0"), "ip saddr 198.51.100.0/24 drop",
		 LAB_TCP4, PACKET_DROPPED},
		{"strange", "netdev", DEVICE("wan0"), "fwd to lan0", LAB_TCP4,
		 PACKET_UNKNOWN},
	};

	(void)state;
	check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

/* What a host answers leaves with the address of this one, which is behind the rules.
 */
static void test_answer(void **state)
{
	struct packet packet = make_packet(LAB_UDP4);
	struct ip_addr host = packet.destination;
	struct packet_verdict verdict;
	struct ruleset *ruleset;

	(void)state;
	packet.is_new = false;
	packet.destination = packet.source;
	packet.source = host;
	memcpy(packet.in, "lan0", sizeof("lan0"));
	memcpy(packet.out, "wan0", sizeof("wan0"));
	ruleset = load("table ip t { chain c { type filter hook postrouting priority "
		       "300;\noifname wan0 ip saddr 192.168.0.0/16 drop\n}\n}");
	ruleset_walk_path(ruleset, &packet, &verdict);
	assert_int_equal(verdict.fate, PACKET_UNKNOWN);
	ruleset_free(ruleset);
	ruleset = load("table ip t { chain c { type filter hook prerouting priority "
		       "-150;\niifname lan0 " MARKED "\niifname lan0 drop\n}\n}");
	ruleset_walk_path(ruleset, &packet, &verdict);
	assert_int_equal(verdict.fate, PACKET_PASSES);
	ruleset_free(ruleset);
	ruleset_lab_flush();
}

/* What one chain makes of the mark, the next one sees. */
static void note_fate(void *user, const struct packet_verdict *verdict)
{
	struct packet_verdict *last = user;

	*last = *verdict;
}

#define SETTER(priority)                                                               \
	"table inet q { chain f { type filter hook forward priority " #priority        \
	";\niifname wan0 ct mark set 0x1\n}\n}\n"
#define ASKER(rule)                                                                    \
	"table inet f { chain f { type filter hook forward priority 0; policy "        \
	"drop;\n" rule "\n}\n}"

static void test_mark_is_changed(void **state)
{
	static const struct {
		const char *text;
		enum packet_fate fate;
	} rows[] = {
		{SETTER(-140) ASKER(MARKED), PACKET_UNKNOWN},
		/* Ours is set after it, and nothing else is known. */
		{SETTER(-200) ASKER(MARKED), PACKET_PASSES},
		{SETTER(-200) ASKER("ct mark and 2 == 0 accept"), PACKET_UNKNOWN},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct packet packet = make_packet(LAB_UDP4);
		struct packet_verdict verdict = {.fate = PACKET_PASSES};
		struct ruleset *ruleset = load(rows[i].text);

		ruleset_visit_path(ruleset, &packet, note_fate, &verdict);
		assert_int_equal(verdict.fate, rows[i].fate);
		ruleset_free(ruleset);
	}
	ruleset_lab_flush();
}

/* A chain that users may fill is of use if nothing drops before it. */
static void test_user_chain(void **state)
{
	static const char *const before[] = {"", "iifname wan0 ct state new drop"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct packet packet = make_packet(LAB_UDP4);
		struct packet_verdict verdict;
		struct ruleset *ruleset;
		char text[TEXT_SIZE];

		(void)snprintf(text, sizeof(text),
			       "table ip filter { chain USER { }\nchain FORWARD { "
			       "type filter hook forward priority 0; policy drop;\n"
			       "%s\njump USER\n}\n}",
			       before[i]);
		ruleset = load(text);
		ruleset_walk_path(ruleset, &packet, &verdict);
		assert_int_equal(verdict.fate, PACKET_DROPPED);
		assert_int_equal(verdict.hook, PACKET_HOOK_FORWARD);
		assert_int_equal(ruleset_passes_by(ruleset, &verdict, &packet, "USER"),
				 i == 0);
		assert_false(ruleset_passes_by(ruleset, &verdict, &packet, "OTHER"));
		ruleset_free(ruleset);
	}
	ruleset_lab_flush();
}

/* Who is asked before us takes what we would translate. */
static void test_translation(void **state)
{
	static const struct {
		const char *at;
		const char *rule;
		enum packet_fate fate;
	} rows[] = {
		{"dstnat - 10", "iifname wan0 dnat to 192.168.1.3", PACKET_DROPPED},
		{"dstnat - 10", "iifname wan0 udp dport 6000 redirect", PACKET_DROPPED},
		{"dstnat - 10", "iifname wan0 udp dport 7 redirect", PACKET_PASSES},
		{"dstnat - 10", "iifname lan0 redirect", PACKET_PASSES},
		{"dstnat - 10", "meta mark 3 dnat to 192.168.1.3", PACKET_UNKNOWN},
		{"dstnat - 10", "accept\ndnat to 192.168.1.3", PACKET_PASSES},
		{"dstnat", "iifname wan0 dnat to 192.168.1.3", PACKET_PASSES},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct packet packet = make_packet(LAB_UDP4);
		struct packet_verdict verdict;
		struct ruleset *ruleset;
		char text[TEXT_SIZE];

		(void)snprintf(text, sizeof(text),
			       "table ip t { chain c { type nat hook prerouting "
			       "priority %s;\n%s\n}\n}",
			       rows[i].at, rows[i].rule);
		ruleset = load(text);
		ruleset_walk_translation(ruleset, &packet, &verdict);
		if (verdict.fate != rows[i].fate)
			fail_msg("%s: fate %d", rows[i].rule, (int)verdict.fate);
		ruleset_free(ruleset);
	}
	ruleset_lab_flush();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prerouting),
		cmocka_unit_test(test_postrouting),
		cmocka_unit_test(test_ingress),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_mark_is_changed),
		cmocka_unit_test(test_user_chain),
		cmocka_unit_test(test_translation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
