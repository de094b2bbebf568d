/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/name_servers.h"
#include "daemon/outside.h"

#define START_MS INT64_C(1000000)

static struct ip_addr address(const char *text)
{
	struct ip_addr addr = {{0}};

	if (text)
		assert_true(addr_parse(text, &addr));
	return addr;
}

/* One gateway with a WAN of a private address, and a server to ask. */
struct gateway {
	struct outside outside;
	struct conf_wan conf;
	struct wan_choice wan;
	int64_t now_ms;
};

static void look(struct gateway *gateway)
{
	network_set_external(&gateway->wan, &gateway->wan.address,
			     WAN_SOURCE_INTERFACE);
	outside_follow(&gateway->outside, &gateway->conf, &gateway->wan,
		       gateway->now_ms);
}

static void begin(struct gateway *gateway, const char *own, const char *presumed)
{
	struct ip_addr known = address(presumed);

	memset(gateway, 0, sizeof(*gateway));
	gateway->now_ms = START_MS;
	memcpy(gateway->conf.stun_host, "stun.example.net", 17);
	gateway->conf.stun_port = CONF_STUN_PORT;
	gateway->wan.ifindex = own ? 7 : 0;
	gateway->wan.address = address(own);
	outside_init(&gateway->outside, &known, gateway->now_ms);
	look(gateway);
}

static void assert_told(const struct gateway *gateway, const char *text,
			enum wan_source source)
{
	struct ip_addr wanted = address(text);

	assert_true(addr_equal(&gateway->wan.external, &wanted));
	assert_int_equal(gateway->wan.source, source);
}

static struct stun_task ask(struct gateway *gateway)
{
	struct stun_task task;

	assert_true(outside_advance(&gateway->outside, gateway->now_ms, &task));
	return task;
}

static void assert_idle(struct gateway *gateway, int64_t until_ms)
{
	struct stun_task task;

	assert_int_equal(outside_get_due_ms(&gateway->outside), until_ms);
	assert_false(outside_advance(&gateway->outside, gateway->now_ms, &task));
}

/* The answer to what was asked last; code: of a refusal. */
static void hear(struct gateway *gateway, enum stun_outcome outcome, const char *text)
{
	const struct stun_told told = {
		.serial = gateway->outside.serial,
		.outcome = outcome,
		.code = outcome == STUN_OUTCOME_REFUSED ? 420 : 0,
		.address = address(text),
	};

	assert_true(outside_take(&gateway->outside, &told, gateway->now_ms));
	look(gateway);
}

static void test_answer(void **state)
{
	static struct gateway gateway;
	struct stun_task task;

	(void)state;
	begin(&gateway, "10.0.0.2", NULL);
	assert_int_equal(gateway.outside.state, OUTSIDE_ASKING);
	assert_told(&gateway, "10.0.0.2", WAN_SOURCE_INTERFACE);
	assert_true(gateway.wan.private_address);
	task = ask(&gateway);
	assert_int_equal(task.ifindex, 7);
	assert_string_equal(task.host, "stun.example.net");
	assert_int_equal(task.port, 3478);
	assert_true(addr_equal(&task.local, &gateway.wan.address));
	assert_idle(&gateway, START_MS + OUTSIDE_PATIENCE_MS);
	gateway.now_ms += 40;
	hear(&gateway, STUN_OUTCOME_ADDRESS, "198.51.100.7");
	assert_int_equal(gateway.outside.state, OUTSIDE_KNOWN);
	assert_int_equal(gateway.outside.since_ms, START_MS + 40);
	assert_told(&gateway, "198.51.100.7", WAN_SOURCE_STUN);
	assert_false(gateway.wan.private_address);
	assert_idle(&gateway, START_MS + 40 + OUTSIDE_INTERVAL_MS);
	/* another one later, and the state is the same since then */
	gateway.now_ms += OUTSIDE_INTERVAL_MS;
	assert_int_not_equal(ask(&gateway).serial, task.serial);
	hear(&gateway, STUN_OUTCOME_ADDRESS, "198.51.100.8");
	assert_told(&gateway, "198.51.100.8", WAN_SOURCE_STUN);
	assert_int_equal(gateway.outside.since_ms, START_MS + 40);
}

static void test_failures_back_off(void **state)
{
	static const int64_t delays_ms[] = {1000,  2000,  4000,	 8000,
					    16000, 32000, 60000, 60000};
	static struct gateway gateway;

	(void)state;
	begin(&gateway, "10.0.0.2", NULL);
	for (size_t i = 0; i < sizeof(delays_ms) / sizeof(delays_ms[0]); i++) {
		assert_int_equal(ask(&gateway).turn, i);
		gateway.now_ms += 15500;
		hear(&gateway, i == 0 ? STUN_OUTCOME_REFUSED : STUN_OUTCOME_SILENCE,
		     NULL);
		assert_int_equal(gateway.outside.state, OUTSIDE_FAILED);
		assert_int_equal(gateway.outside.since_ms, START_MS + 15500);
		assert_told(&gateway, "10.0.0.2", WAN_SOURCE_INTERFACE);
		assert_idle(&gateway, gateway.now_ms + delays_ms[i]);
		gateway.now_ms += delays_ms[i];
	}
	assert_string_equal(outside_get_reason(&gateway.outside), "it does not answer");
	(void)ask(&gateway);
	hear(&gateway, STUN_OUTCOME_ADDRESS, "198.51.100.7");
	assert_int_equal(gateway.outside.state, OUTSIDE_KNOWN);
}

/* What was said holds for a while, not for ever. */
static void test_what_was_said_grows_old(void **state)
{
	static struct gateway gateway;
	int64_t answered_ms;

	(void)state;
	begin(&gateway, "10.0.0.2", NULL);
	(void)ask(&gateway);
	hear(&gateway, STUN_OUTCOME_ADDRESS, "198.51.100.7");
	answered_ms = gateway.now_ms;
	for (;;) {
		gateway.now_ms = outside_get_due_ms(&gateway.outside);
		(void)ask(&gateway);
		hear(&gateway, STUN_OUTCOME_SILENCE, NULL);
		assert_int_equal(gateway.outside.state, OUTSIDE_FAILED);
		if (gateway.now_ms - answered_ms >= OUTSIDE_KEEP_MS)
			break;
		assert_told(&gateway, "198.51.100.7", WAN_SOURCE_STUN);
	}
	assert_told(&gateway, "10.0.0.2", WAN_SOURCE_INTERFACE);
	assert_true(gateway.now_ms - answered_ms <
		    OUTSIDE_KEEP_MS + OUTSIDE_RETRY_MAX_MS);
}

/* PCP-32: a restart is no new epoch; but what is presumed is no more than that. */
static void test_presumed_address(void **state)
{
	static struct gateway gateway;

	(void)state;
	begin(&gateway, "10.0.0.2", "198.51.100.7");
	assert_told(&gateway, "198.51.100.7", WAN_SOURCE_STUN);
	assert_int_equal(gateway.outside.state, OUTSIDE_ASKING);
	(void)ask(&gateway);
	hear(&gateway, STUN_OUTCOME_UNREACHABLE, NULL);
	assert_told(&gateway, "10.0.0.2", WAN_SOURCE_INTERFACE);
	/* an address of the internet needs no guess */
	begin(&gateway, "203.0.113.9", "198.51.100.7");
	assert_told(&gateway, "203.0.113.9", WAN_SOURCE_INTERFACE);
	(void)ask(&gateway);
	hear(&gateway, STUN_OUTCOME_ADDRESS, "203.0.113.9");
	assert_told(&gateway, "203.0.113.9", WAN_SOURCE_STUN);
}

static void test_wan_changes(void **state)
{
	static struct gateway gateway;
	uint32_t serial;

	(void)state;
	begin(&gateway, "10.0.0.2", NULL);
	serial = ask(&gateway).serial;
	hear(&gateway, STUN_OUTCOME_ADDRESS, "198.51.100.7");
	/* nothing has: nothing is asked */
	look(&gateway);
	assert_int_equal(gateway.outside.state, OUTSIDE_KNOWN);
	assert_idle(&gateway, START_MS + OUTSIDE_INTERVAL_MS);
	/* gone: there is nothing to tell and nobody to ask */
	gateway.wan.address = address(NULL);
	look(&gateway);
	assert_int_equal(gateway.outside.state, OUTSIDE_IDLE);
	assert_told(&gateway, NULL, WAN_SOURCE_INTERFACE);
	assert_idle(&gateway, TIME_NEVER);
	/* another one: asked at once, told what is likely until then */
	gateway.wan.address = address("10.0.0.3");
	look(&gateway);
	assert_told(&gateway, "198.51.100.7", WAN_SOURCE_STUN);
	assert_int_equal(gateway.outside.state, OUTSIDE_ASKING);
	assert_int_not_equal(ask(&gateway).serial, serial);
	/* while that is under way it changes again: the answer comes too late */
	gateway.wan.ifindex = 8;
	gateway.wan.address = address("203.0.113.9");
	look(&gateway);
	assert_told(&gateway, "203.0.113.9", WAN_SOURCE_INTERFACE);
	hear(&gateway, STUN_OUTCOME_ADDRESS, "198.51.100.66");
	assert_told(&gateway, "203.0.113.9", WAN_SOURCE_INTERFACE);
	assert_int_equal(ask(&gateway).ifindex, 8);
	hear(&gateway, STUN_OUTCOME_ADDRESS, "203.0.113.10");
	assert_told(&gateway, "203.0.113.10", WAN_SOURCE_STUN);
}

static void test_configuration_changes(void **state)
{
	static struct gateway gateway;

	(void)state;
	begin(&gateway, "10.0.0.2", NULL);
	(void)ask(&gateway);
	hear(&gateway, STUN_OUTCOME_ADDRESS, "198.51.100.7");
	gateway.conf.stun_port = 19302;
	look(&gateway);
	assert_int_equal(gateway.outside.state, OUTSIDE_ASKING);
	assert_int_equal(ask(&gateway).port, 19302);
	gateway.conf.stun_host[0] = '\0';
	look(&gateway);
	assert_int_equal(gateway.outside.state, OUTSIDE_OFF);
	assert_told(&gateway, "10.0.0.2", WAN_SOURCE_INTERFACE);
	assert_idle(&gateway, TIME_NEVER);
	/* and on again: what was known before is not */
	gateway.conf.stun_host[0] = 's';
	look(&gateway);
	assert_told(&gateway, "10.0.0.2", WAN_SOURCE_INTERFACE);
	assert_int_equal(gateway.outside.state, OUTSIDE_ASKING);
}

static void test_worker_is_renewed(void **state)
{
	static struct gateway gateway;
	struct stun_told late = {.outcome = STUN_OUTCOME_SILENCE};

	(void)state;
	begin(&gateway, "10.0.0.2", NULL);
	late.serial = ask(&gateway).serial;
	gateway.now_ms += 10;
	outside_renew_worker(&gateway.outside, gateway.now_ms);
	assert_int_not_equal(ask(&gateway).serial, late.serial);
	assert_true(outside_take(&gateway.outside, &late, gateway.now_ms));
	assert_int_equal(gateway.outside.state, OUTSIDE_ASKING);
	/* one that says nothing at all is asked again */
	gateway.now_ms += OUTSIDE_PATIENCE_MS;
	(void)ask(&gateway);
	/* without an address there is nothing to ask */
	gateway.wan.address = address(NULL);
	look(&gateway);
	outside_renew_worker(&gateway.outside, gateway.now_ms);
	assert_idle(&gateway, TIME_NEVER);
}

static void test_lies(void **state)
{
	static struct gateway gateway;
	const struct stun_told lies[] = {
		{.outcome = STUN_OUTCOME_COUNT},
		{.outcome = STUN_OUTCOME_ADDRESS},
		{.outcome = STUN_OUTCOME_ADDRESS, .address = address("2001:db8::1")},
		{.outcome = STUN_OUTCOME_ADDRESS,
		 .address = address("192.0.2.1"),
		 .code = 400},
		{.outcome = STUN_OUTCOME_SILENCE, .address = address("192.0.2.1")},
		{.outcome = STUN_OUTCOME_REFUSED},
		{.outcome = STUN_OUTCOME_REFUSED, .code = 700},
	};
	static const char *const strange[] = {"127.0.0.1", "224.0.0.1",
					      "255.255.255.255", "240.0.0.1"};

	(void)state;
	begin(&gateway, "10.0.0.2", NULL);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct stun_told lie = lies[i];

		lie.serial = gateway.outside.serial;
		assert_false(outside_take(&gateway.outside, &lie, gateway.now_ms));
	}
	assert_int_equal(gateway.outside.state, OUTSIDE_ASKING);
	/* a server may say anything, and the worker is not to blame */
	for (size_t i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		gateway.now_ms = outside_get_due_ms(&gateway.outside);
		(void)ask(&gateway);
		hear(&gateway, STUN_OUTCOME_ADDRESS, strange[i]);
		assert_int_equal(gateway.outside.state, OUTSIDE_FAILED);
		assert_told(&gateway, "10.0.0.2", WAN_SOURCE_INTERFACE);
	}
	assert_string_equal(outside_get_reason(&gateway.outside),
			    "it tells no address of a host");
}

/* --- resolv.conf --- */

static void assert_servers(const char *text, const char *const *wanted, size_t count)
{
	struct link wan = {.ifindex = 5, .name = "wan0"};
	const struct links links = {.count = 1, .list = &wan};
	struct stun_name_server servers[STUN_NAME_SERVERS_MAX];

	assert_int_equal(name_servers_parse(text, &links, servers), count);
	for (size_t i = 0; i < count; i++) {
		struct ip_addr server = address(wanted[i]);

		assert_true(addr_equal(&servers[i].address, &server));
		assert_int_equal(servers[i].scope, addr_is_link_local(&server) ? 5 : 0);
	}
}

static void test_name_servers(void **state)
{
	static const char *const local[] = {"127.0.0.1"};
	static const char *const three[] = {"192.0.2.53", "2001:db8::53", "fe80::1"};

	(void)state;
	assert_servers("", local, 1);
	assert_servers("search example.net\noptions edns0\n#nameserver 192.0.2.1\n"
		       "nameservers 192.0.2.1\nnameserver\nnameserver x\n"
		       "nameserver 0.0.0.0\n nameserver 192.0.2.1\nnameserver",
		       local, 1);
	assert_servers("domain x\r\nnameserver\t192.0.2.53 # the first\r\n"
		       "nameserver 2001:db8::53\nnameserver   fe80::1%wan0\n"
		       "nameserver 192.0.2.54",
		       three, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_failures_back_off),
		cmocka_unit_test(test_what_was_said_grows_old),
		cmocka_unit_test(test_presumed_address),
		cmocka_unit_test(test_wan_changes),
		cmocka_unit_test(test_configuration_changes),
		cmocka_unit_test(test_worker_is_renewed),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_name_servers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
