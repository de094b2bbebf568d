/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/ruleset_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "test/unit/netns.h"
#include "test/unit/ruleset_wire.h"

void ruleset_lab_enter(void)
{
	static struct netns_pair pair;
	static bool entered;

	if (entered)
		return;
	if (netns_make_pair(&pair) < 0)
		skip();
	assert_true(netns_make_link(&pair, "wan0", "peer0"));
	assert_true(netns_make_link(&pair, "lan0", "peer1"));
	ruleset_wire_open(&pair);
	entered = true;
}

void ruleset_lab_load(const char *program, const char *text)
{
	FILE *pipe = popen(program, "w");

	assert_non_null(pipe);
	assert_true(fputs(text, pipe) >= 0);
	if (pclose(pipe) != 0)
		fail_msg("%s refused:\n%s", program, text);
}

void ruleset_lab_flush(void)
{
	assert_true(netns_run("nft flush ruleset"));
}

struct ruleset *ruleset_lab_read(void)
{
	struct ruleset *ruleset = NULL;

	assert_int_equal(ruleset_read(&ruleset), 0);
	assert_non_null(ruleset);
	return ruleset;
}

struct packet ruleset_lab_make_packet(enum ruleset_lab_kind kind)
{
	bool ipv6 = kind == LAB_TCP6 || kind == LAB_UDP6;
	bool tcp = kind == LAB_TCP4 || kind == LAB_TCP6;
	struct packet packet = {
		.ipv6 = ipv6,
		.in = "wan0",
		.out = "lan0",
		.protocol = tcp ? IPPROTO_TCP : IPPROTO_UDP,
		.is_new = true,
		.translated = !ipv6,
		.source_port = 40000,
		.destination_port = 5000,
		.mark = LAB_MARK,
	};

	assert_true(
		addr_parse(ipv6 ? "2001:db8:1::9" : "198.51.100.9", &packet.source));
	assert_true(addr_parse(ipv6 ? "2001:db8:2::20" : "192.168.1.20",
			       &packet.destination));
	return packet;
}

/* What is certain is what the kernel does with a real packet. */
static void check_kernel(const struct ruleset_lab_row *row, const struct packet *packet,
			 const struct packet_verdict *verdict)
{
	bool passed;

	if (verdict->fate == PACKET_UNKNOWN || row->established)
		return;
	passed = ruleset_wire_send(packet);
	if (passed != (verdict->fate == PACKET_PASSES))
		fail_msg("%s: the kernel %s it", row->name,
			 passed ? "passes" : "drops");
}

static void check_row(const struct ruleset_lab_row *row)
{
	struct packet packet = ruleset_lab_make_packet(row->kind);
	struct ruleset *ruleset = ruleset_lab_read();
	struct packet_verdict verdict;

	packet.mark = row->mark;
	packet.is_new = !row->established;
	ruleset_walk(ruleset, PACKET_HOOK_FORWARD, &packet, &verdict);
	if (verdict.fate != row->fate)
		fail_msg("%s: fate %d in %s %s %s (%s, handle %lu), not %d", row->name,
			 (int)verdict.fate, verdict.family, verdict.table,
			 verdict.base_chain, verdict.chain,
			 (unsigned long)verdict.handle, (int)row->fate);
	if (row->chain && strcmp(verdict.chain, row->chain) != 0)
		fail_msg("%s: ends in %s, not in %s", row->name, verdict.chain,
			 row->chain);
	check_kernel(row, &packet, &verdict);
	ruleset_free(ruleset);
}

void ruleset_lab_check_rows(const char *program, const struct ruleset_lab_row *rows,
			    size_t count)
{
	ruleset_lab_enter();
	for (size_t i = 0; i < count; i++) {
		ruleset_lab_flush();
		ruleset_wire_load(rows[i].mark);
		ruleset_lab_load(program, rows[i].text);
		check_row(&rows[i]);
	}
	ruleset_lab_flush();
}
