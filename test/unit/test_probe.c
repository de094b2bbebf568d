/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pure parts of portreeve-probe: what follows from what the steps found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "probe/print.h"
#include "probe/route.h"
#include "probe/step.h"
#include "probe/verdict.h"
#include "probe/words.h"

#define ROUTE_HEAD                                                                     \
	"Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\t"      \
	"Window\tIRTT\n"

static struct ip_addr addr(const char *text)
{
	struct ip_addr out;

	assert_true(addr_parse(text, &out));
	return out;
}

/* --- the verdict --- */

/** A step in short: its protocol, outcome, whether anything came back, an address. */
struct row {
	enum step_protocol protocol;
	enum step_outcome outcome;
	bool answered;
	const char *external;
	enum step_cause cause;
};

static struct step_list make_list(const struct row *rows, size_t count)
{
	struct step_list list = {.count = 0};

	for (size_t i = 0; i < count; i++) {
		struct step step = step_init(rows[i].protocol, "step");

		(void)step_say(&step, rows[i].outcome, "text");
		step.answered = rows[i].answered;
		step.cause = (uint8_t)rows[i].cause;
		if (rows[i].external)
			step.external = addr(rows[i].external);
		verdict_add_step(&list, &step);
	}
	return list;
}

static struct verdict decide(const struct row *rows, size_t count)
{
	struct step_list list = make_list(rows, count);

	verdict_conclude(&list);
	return verdict_decide(&list, false);
}

/** How many steps follow from these. */
static size_t count_concluded(const struct row *rows, size_t count)
{
	struct step_list list = make_list(rows, count);

	verdict_conclude(&list);
	return list.count - count;
}

#define DECIDE(...)                                                                    \
	decide((const struct row[]){__VA_ARGS__},                                      \
	       sizeof((const struct row[]){__VA_ARGS__}) / sizeof(struct row))

static void assert_verdict(struct verdict verdict, int exit, const char *text)
{
	assert_string_equal(verdict.text, text);
	assert_int_equal(verdict.exit, exit);
}

static void test_one_that_works_is_enough(void **state)
{
	(void)state;
	assert_verdict(DECIDE({STEP_NATPMP, STEP_OK, true, "203.0.113.1", 0},
			      {STEP_PCP, STEP_NO, false, NULL, 0},
			      {STEP_UPNP, STEP_NO, false, NULL, 0}),
		       0, "it works: nat-pmp");
	assert_verdict(DECIDE({STEP_NATPMP, STEP_NONE, true, NULL, 0},
			      {STEP_PCP, STEP_OK, true, NULL, 0},
			      {STEP_UPNP, STEP_WARN, true, NULL, 0}),
		       0, "it works: pcp, upnp");
}

static void test_what_answers_must_work(void **state)
{
	(void)state;
	assert_verdict(DECIDE({STEP_NATPMP, STEP_OK, true, NULL, 0},
			      {STEP_PCP, STEP_OK, true, NULL, 0},
			      {STEP_PCP, STEP_NO, true, NULL, 0}),
		       7, "pcp does not work; working: nat-pmp");
	/* the address of a pinhole is the host's own */
	assert_verdict(DECIDE({STEP_PCP, STEP_OK, true, "203.0.113.1", 0},
			      {STEP_PCP6, STEP_OK, true, "2001:db8::5", 0}),
		       0, "it works: pcp, pcp-v6");
	/* a silence after an answer is a failure */
	assert_verdict(DECIDE({STEP_NATPMP, STEP_OK, true, NULL, 0},
			      {STEP_NATPMP, STEP_NO, false, NULL, 0},
			      {STEP_UPNP, STEP_NO, true, NULL, 0}),
		       7, "nat-pmp, upnp do not work");
}

static void test_nothing_answers(void **state)
{
	const struct row rows[] = {{STEP_GATEWAY, STEP_OK, false, NULL, 0},
				   {STEP_NATPMP, STEP_NO, false, NULL, 0},
				   {STEP_PCP, STEP_NO, false, NULL, 0},
				   {STEP_UPNP, STEP_NO, false, NULL, 0}};
	struct step_list list = make_list(rows, 4);

	(void)state;
	verdict_conclude(&list);
	assert_int_equal(list.count, 5);
	assert_string_equal(list.steps[4].name, "silence");
	assert_verdict(verdict_decide(&list, false), 7,
		       "this gateway opens no ports: nothing answers");
	/* only "not offered": nothing works either */
	assert_verdict(DECIDE({STEP_NATPMP, STEP_NONE, true, NULL, 0},
			      {STEP_PCP, STEP_NONE, true, NULL, 0}),
		       7, "this gateway opens no ports: nothing answers");
	/* IPv6 has a gateway of its own */
	assert_verdict(DECIDE({STEP_GATEWAY, STEP_NO, false, NULL, 0},
			      {STEP_PCP6, STEP_OK, true, "2001:db8::5", 0}),
		       0, "it works: pcp-v6");
	assert_verdict(DECIDE({STEP_GATEWAY, STEP_NO, false, NULL, 0}), 7,
		       "there is no gateway to ask");
}

static void test_refused_is_no_failure(void **state)
{
	(void)state;
	assert_verdict(DECIDE({STEP_PCP, STEP_OK, true, NULL, 0},
			      {STEP_PCP6, STEP_OK, true, NULL, 0},
			      {STEP_PCP6, STEP_NONE, true, NULL, STEP_CAUSE_REFUSED}),
		       0, "it works: pcp; refused: pcp-v6");
	assert_verdict(DECIDE({STEP_PCP, STEP_OK, true, NULL, 0},
			      {STEP_PCP, STEP_NONE, true, NULL, STEP_CAUSE_REFUSED},
			      {STEP_UPNP, STEP_NO, false, NULL, 0}),
		       7, "this gateway opens no ports for this host; refused: pcp");
}

static void test_what_was_not_tried_is_no_success(void **state)
{
	(void)state;
	assert_verdict(DECIDE({STEP_PCP, STEP_OK, true, NULL, 0},
			      {STEP_UPNP, STEP_NONE, false, NULL, STEP_CAUSE_HOST}),
		       1, "it works: pcp; could not be tried: upnp");
	assert_verdict(DECIDE({STEP_PCP, STEP_NO, true, NULL, 0},
			      {STEP_UPNP, STEP_NONE, false, NULL, STEP_CAUSE_HOST}),
		       7, "pcp does not work; could not be tried: upnp");
	assert_verdict(DECIDE({STEP_PCP, STEP_NONE, false, NULL, 0},
			      {STEP_UPNP, STEP_NONE, false, NULL, STEP_CAUSE_HOST}),
		       7, "nothing answers; could not be tried: upnp");
	/* on the gateway, silence says nothing */
	assert_int_equal(
		count_concluded(
			(const struct row[]){
				{STEP_GATEWAY, STEP_WARN, false, NULL, STEP_CAUSE_HOST},
				{STEP_PCP, STEP_NO, false, NULL, 0}},
			2),
		0);
	assert_verdict(DECIDE({STEP_GATEWAY, STEP_WARN, false, NULL, STEP_CAUSE_HOST},
			      {STEP_PCP, STEP_NO, false, NULL, 0},
			      {STEP_UPNP, STEP_OK, true, NULL, 0}),
		       1,
		       "this host is the gateway itself: run it on a host of the LAN; "
		       "what works from here: upnp");
}

static void test_external_addresses(void **state)
{
	struct step_list list;
	const struct row differ[] = {{STEP_NATPMP, STEP_OK, true, "203.0.113.1", 0},
				     {STEP_UPNP, STEP_OK, true, "203.0.113.2", 0}};
	const struct row shared[] = {{STEP_NATPMP, STEP_OK, true, "100.64.0.1", 0},
				     {STEP_PCP, STEP_OK, true, "100.64.0.1", 0}};

	(void)state;
	list = make_list(differ, 2);
	verdict_conclude(&list);
	assert_string_equal(list.steps[2].name, "external");
	assert_string_equal(list.steps[2].text,
			    "nat-pmp says that the external address is 203.0.113.1, "
			    "upnp says 203.0.113.2");
	assert_verdict(verdict_decide(&list, false), 7,
		       "the protocols contradict each other: nat-pmp, upnp");
	list = make_list(shared, 2);
	verdict_conclude(&list);
	assert_int_equal(list.count, 4);
	assert_int_equal(list.steps[2].outcome, STEP_OK);
	assert_int_equal(list.steps[3].outcome, STEP_WARN);
	assert_non_null(strstr(list.steps[3].text, "CGNAT"));
	assert_verdict(verdict_decide(&list, false), 0, "it works: nat-pmp, pcp");
	assert_int_equal(verdict_decide(&list, true).exit, PROBE_EXIT_ERROR);
}

static void test_list_is_bounded(void **state)
{
	struct step_list list = {.count = 0};
	struct step step = step_init(STEP_PCP, "step");

	(void)state;
	for (size_t i = 0; i < STEPS_MAX + 5; i++)
		verdict_add_step(&list, &step);
	assert_int_equal(list.count, STEPS_MAX);
}

/* --- steps cross from a process that may have been taken over --- */

static void test_step_is_checked(void **state)
{
	struct step good = step_init(STEP_UPNP, "map"), bad;

	(void)state;
	(void)step_say(&good, STEP_OK, "fine\n\x1b[31m\xc3\xa9");
	assert_string_equal(good.text, "fine??[31m??");
	assert_true(step_is_valid(&good));
	bad = good;
	bad.protocol = STEP_PROTOCOL_COUNT;
	assert_false(step_is_valid(&bad));
	bad = good;
	bad.outcome = STEP_OUTCOME_COUNT;
	assert_false(step_is_valid(&bad));
	bad = good;
	bad.answered = 2;
	assert_false(step_is_valid(&bad));
	bad = good;
	bad.cause = STEP_CAUSE_COUNT;
	assert_false(step_is_valid(&bad));
	bad = good;
	bad.ms = -1;
	assert_false(step_is_valid(&bad));
	bad = good;
	bad.text[0] = '\x1b';
	assert_false(step_is_valid(&bad));
	bad = good;
	bad.text[3] = '\x7f';
	assert_false(step_is_valid(&bad));
	bad = good;
	bad.name[1] = '\n';
	assert_false(step_is_valid(&bad));
	bad = good;
	memset(bad.text, 'x', sizeof(bad.text));
	assert_false(step_is_valid(&bad));
	bad = good;
	memset(bad.name, 'x', sizeof(bad.name));
	assert_false(step_is_valid(&bad));
}

static void test_long_text_is_cut(void **state)
{
	char text[STEP_TEXT_SIZE * 2];
	struct step step = step_init(STEP_PCP, "a name that is too long");

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	(void)step_say(&step, STEP_NO, "%s", text);
	assert_int_equal(strlen(step.text), STEP_TEXT_SIZE - 1);
	assert_true(step_is_valid(&step));
}

/* --- words --- */

static void test_reach(void **state)
{
	static const struct {
		const char *text;
		const char *part; /* NULL = everybody reaches it */
	} rows[] = {
		{"203.0.113.1", NULL},	     {"100.63.255.255", NULL},
		{"100.64.0.0", "CGNAT"},     {"100.127.255.255", "CGNAT"},
		{"100.128.0.0", NULL},	     {"10.1.2.3", "another NAT"},
		{"172.16.0.1", "another"},   {"192.168.0.1", "another NAT"},
		{"169.254.1.1", "another"},  {"127.0.0.1", "no way out"},
		{"240.0.0.1", "no way out"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ip_addr external = addr(rows[i].text);
		const char *words = words_get_reach(&external);

		if (!rows[i].part)
			assert_null(words);
		else
			assert_true(words && strstr(words, rows[i].part));
	}
}

static void test_epoch(void **state)
{
	(void)state;
	assert_true(words_is_sane_epoch(100, 100, 0));
	assert_true(words_is_sane_epoch(100, 101, 200));
	assert_true(words_is_sane_epoch(100, 103, 3000));
	/* 7/8 of the time and 2 s are what RFC 6886 §3.6 leaves to bad clocks */
	assert_true(words_is_sane_epoch(0, 68, 80000));
	assert_false(words_is_sane_epoch(0, 67, 80000));
	assert_true(words_is_sane_epoch(0, 92, 80000));
	assert_false(words_is_sane_epoch(0, 93, 80000));
	assert_false(words_is_sane_epoch(100, 0, 0));
	assert_false(words_is_sane_epoch(0, UINT32_MAX, 0));
}

static void test_host_of_url(void **state)
{
	static const char *const bad[] = {
		"",
		"https://192.0.2.1/",
		"http://",
		"http:///x",
		"http://gateway/",
		"http://192.0.2.1@198.51.100.1/",
		"http://[fd00::1]:80/",
		"http://0300.0.2.1/",
		"http://192.0.2/",
		"http://1111111111111111111111111111111111111111111111111111111/",
		"/root.xml",
	};
	struct ip_addr out = addr("198.51.100.9"), wanted = addr("192.0.2.1");

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_false(words_parse_host(bad[i], &out));
		assert_false(addr_equal(&out, &wanted));
	}
	assert_true(words_parse_host("http://192.0.2.1:5000/x", &out));
	assert_true(addr_equal(&out, &wanted));
	assert_true(words_parse_host("http://192.0.2.1", &out));
	assert_true(words_parse_host("http://192.0.2.1?x", &out));
}

static void test_codes_have_words(void **state)
{
	(void)state;
	assert_non_null(strstr(words_get_pcp(2), "NOT_AUTHORIZED"));
	assert_non_null(strstr(words_get_pcp(13), "EXCESSIVE_REMOTE_PEERS"));
	assert_non_null(strstr(words_get_pcp(14), "does not know"));
	assert_non_null(strstr(words_get_pcp(255), "does not know"));
	assert_non_null(strstr(words_get_upnp(718), "ConflictInMappingEntry"));
	assert_non_null(strstr(words_get_upnp(850), "vendor"));
	assert_non_null(strstr(words_get_upnp(1), "no document"));
	assert_non_null(strstr(words_get_network(EHOSTUNREACH), "nobody"));
	assert_non_null(strstr(words_get_network(ECONNREFUSED), "nothing listens"));
}

/* --- the default route --- */

static void test_default_route(void **state)
{
	struct route route = {.interface = "old"};
	struct ip_addr gateway;

	(void)state;
	assert_false(route_parse_default("", &route));
	assert_false(route_parse_default(ROUTE_HEAD, &route));
	/* on-link routes, a route by a gateway that is no default, an unreachable one
	 */
	assert_false(route_parse_default(
		ROUTE_HEAD
		"eth0\t004DA8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
		"ppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n"
		"eth0\t0000000A\t014DA8C0\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n"
		"*\t00000000\t014DA8C0\t0203\t0\t0\t0\t00000000\t0\t0\t0\n",
		&route));
	assert_string_equal(route.interface, "old");
	/* the one with the least metric */
	assert_true(route_parse_default(
		ROUTE_HEAD
		"wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
		"eth0\t00000000\t014DA8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
		"eth1\t00000000\t0102A8C0\t0003\t0\t0\t700\t00000000\t0\t0\t0\n",
		&route));
	assert_string_equal(route.interface, "eth0");
	gateway = addr("192.168.77.1");
	assert_true(addr_equal(&route.gateway, &gateway));
}

static void test_default_route6(void **state)
{
	static const char none[] =
		"20010db8000000000000000000000000 40 00000000000000000000000000000000 "
		"00 "
		"00000000000000000000000000000000 00000100 00000001 00000000 00000001"
		"     eth0\n"
		"00000000000000000000000000000000 00 00000000000000000000000000000000 "
		"00 "
		"00000000000000000000000000000000 ffffffff 00000001 00000000 00200200"
		"       lo\n";
	static const char some[] =
		"00000000000000000000000000000000 00 00000000000000000000000000000000 "
		"00 "
		"fe80000000000000021122fffe334455 00000400 00000003 00000000 00000003"
		"    wlan0\n"
		"00000000000000000000000000000000 00 00000000000000000000000000000000 "
		"00 "
		"20010db8000000000000000000000001 00000100 00000003 00000000 00000003"
		"     eth0\n";
	struct route route = {.interface = "old"};
	struct ip_addr gateway = addr("2001:db8::1");

	(void)state;
	assert_false(route_parse_default6("", &route));
	assert_false(route_parse_default6(none, &route));
	assert_string_equal(route.interface, "old");
	assert_true(route_parse_default6(some, &route));
	assert_string_equal(route.interface, "eth0");
	assert_true(addr_equal(&route.gateway, &gateway));
}

static void test_way_to_loopback(void **state)
{
	struct ip_addr local = addr("127.0.0.1");
	struct route_way way;

	(void)state;
	assert_int_equal(route_find_way(&local, &way), 0);
	assert_string_equal(way.interface, "lo");
	assert_true(way.on_link && addr_equal(&way.own, &local));
}

/* --- lines --- */

static void test_text_is_wrapped(void **state)
{
	const struct console_style style = {.width = 80};
	struct step step = step_init(STEP_NATPMP, "description");
	char text[1024];
	FILE *file = fmemopen(text, sizeof(text), "w");

	(void)state;
	assert_non_null(file);
	step.ms = 12345;
	(void)step_say(&step, STEP_WARN, "%s",
		       "one two three four five six seven eight nine ten eleven "
		       "twelve xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
	print_write_step(&style, &step, file);
	assert_int_equal(fclose(file), 0);
	assert_string_equal(
		text, "nat-pmp  description  warn 12345 ms  one two three four five "
		      "six seven "
		      "eight\n"
		      "                                     nine ten eleven twelve\n"
		      "                                     "
		      "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"
		      "                                     xxxxxxxxxxx\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_that_works_is_enough),
		cmocka_unit_test(test_what_answers_must_work),
		cmocka_unit_test(test_nothing_answers),
		cmocka_unit_test(test_refused_is_no_failure),
		cmocka_unit_test(test_what_was_not_tried_is_no_success),
		cmocka_unit_test(test_external_addresses),
		cmocka_unit_test(test_list_is_bounded),
		cmocka_unit_test(test_step_is_checked),
		cmocka_unit_test(test_long_text_is_cut),
		cmocka_unit_test(test_reach),
		cmocka_unit_test(test_epoch),
		cmocka_unit_test(test_host_of_url),
		cmocka_unit_test(test_codes_have_words),
		cmocka_unit_test(test_default_route),
		cmocka_unit_test(test_default_route6),
		cmocka_unit_test(test_way_to_loopback),
		cmocka_unit_test(test_text_is_wrapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
