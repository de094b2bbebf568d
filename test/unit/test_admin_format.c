/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "admin/format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/lease.h"
#include "admin/parse.h"
#include "admin/table.h"

struct number_case {
	int64_t value;
	const char *text;
};

static void durations_show_two_units(void **state)
{
	static const struct number_case cases[] = {
		{-5, "0s"},	{0, "0s"},
		{59, "59s"},	{60, "1m"},
		{61, "1m 1s"},	{3599, "59m 59s"},
		{3600, "1h"},	{7139, "1h 58m"},
		{7200, "2h"},	{86399, "23h 59m"},
		{86400, "1d"},	{183599, "2d 2h"},
		{604800, "7d"}, {INT64_MAX, "106751991167300d 15h"},
	};
	char text[FORMAT_NUMBER_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(format_duration(text, cases[i].value),
				    cases[i].text);
}

static void octets_have_a_unit(void **state)
{
	static const struct number_case cases[] = {
		{-1, "0 B"},
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1.0 KiB"},
		{1536, "1.5 KiB"},
		{1048575, "1.0 MiB"},
		{1048576, "1.0 MiB"},
		{INT64_C(5) << 30, "5.0 GiB"},
		{INT64_MAX, "8.0 EiB"},
	};
	char text[FORMAT_NUMBER_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(format_octets(text, cases[i].value), cases[i].text);
}

static void counts_have_commas(void **state)
{
	static const struct number_case cases[] = {
		{0, "0"},
		{999, "999"},
		{1000, "1,000"},
		{123456, "123,456"},
		{1234567, "1,234,567"},
		{-1, "0"},
		{INT64_MAX, "9,223,372,036,854,775,807"},
	};
	char text[FORMAT_NUMBER_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(format_count(text, cases[i].value), cases[i].text);
}

static void client_text_cannot_steer_the_terminal(void **state)
{
	static const struct {
		const char *text, *safe;
	} cases[] = {
		{"Xbox Live", "Xbox Live"},
		{"K\u00fcche \u53f0\u6240 \U0001f3ae",
		 "K\u00fcche \u53f0\u6240 \U0001f3ae"},
		{"\033[2Jgone", "\\x1b[2Jgone"},
		{"a\nb\tc\rd\x7f", "a\\x0ab\\x09c\\x0dd\\x7f"},
		{"C:\\x1b", "C:\\\\x1b"},
		{"\xc2\x9b"
		 "31m",
		 "\\u{9b}31m"},				    /* CSI in one character */
		{"\u202eevil", "\\u{202e}evil"},	    /* turns the line around */
		{"a\u200bb\ufeff", "a\\u{200b}b\\u{feff}"}, /* hidden */
		{"\xff\xc3", "\\xff\\xc3"},
		{"\xc0\xaf", "\\xc0\\xaf"},	     /* overlong */
		{"\xed\xa0\x80", "\\xed\\xa0\\x80"}, /* surrogate */
		{"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
		{"", ""},
	};
	char text[FORMAT_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(format_escape(text, sizeof(text), cases[i].text),
				    cases[i].safe);
}

static void long_text_is_cut_at_a_character(void **state)
{
	char text[6];

	(void)state;
	assert_string_equal(format_escape(text, sizeof(text), "abcdefgh"), "abcde");
	assert_string_equal(format_escape(text, sizeof(text), "abcd\u00fc"), "abcd");
	assert_string_equal(format_escape(text, sizeof(text), "ab\033"), "ab");
}

static void width_is_in_columns(void **state)
{
	(void)state;
	assert_int_equal(format_get_width("abc"), 3);
	assert_int_equal(format_get_width("K\u00fcche"), 5);
	assert_int_equal(format_get_width("u\u0308"), 1);
	assert_int_equal(format_get_width("\u53f0\u6240"), 4);
	assert_int_equal(format_get_width("\U0001f3ae"), 2);
	assert_int_equal(format_get_fitting("\u53f0\u6240x", 3), 3);
	assert_int_equal(format_get_fitting("abc", 2), 2);
	assert_int_equal(format_get_fitting("abc", 9), 3);
	assert_int_equal(format_get_fitting("u\u0308x", 1), 3);
}

/* ---- tables ---- */

static const struct table_column columns[] = {
	{"ID", true, false, TABLE_CUT_NEVER},
	{"LAN", false, true, TABLE_CUT_NEVER},
	{"DESCRIPTION", false, false, TABLE_CUT_NEVER},
};

static void expect_table(const struct table *table, size_t width, bool color,
			 const char *wanted)
{
	char *text = NULL;
	size_t length = 0;
	FILE *file = open_memstream(&text, &length);

	assert_non_null(file);
	table_print(table, file, width, color);
	assert_int_equal(fclose(file), 0);
	assert_string_equal(text, wanted);
	free(text);
}

static void columns_are_aligned(void **state)
{
	static const char *const rows[][3] = {
		{"7", "lan0", "Xbox"},
		{"12345", "\u53f0\u6240", "long description"},
	};
	struct table *table = table_new(columns, 3);

	(void)state;
	assert_non_null(table);
	expect_table(table, 0, false, "ID  LAN  DESCRIPTION\n");
	assert_true(table_add(table, rows[0]));
	assert_true(table_add(table, rows[1]));
	expect_table(table, 0, false,
		     "   ID  LAN   DESCRIPTION\n"
		     "    7  lan0  Xbox\n"
		     "12345  \u53f0\u6240  long description\n");
	expect_table(table, 29, false, /* exactly as wide as it is */
		     "   ID  LAN   DESCRIPTION\n"
		     "    7  lan0  Xbox\n"
		     "12345  \u53f0\u6240  long description\n");
	expect_table(table, 28, false, /* LAN makes room */
		     "   ID  DESCRIPTION\n"
		     "    7  Xbox\n"
		     "12345  long description\n");
	expect_table(table, 20, true, /* and then the last column is cut */
		     "\033[1m   ID  DESCRIPTION\n\033[0m"
		     "    7  Xbox\n"
		     "12345  long descrip\u2026\n");
	expect_table(table, 3, false, /* narrower than any sense */
		     "   ID  DESCRIPTION\n"
		     "    7  Xbox\n"
		     "12345  long descr\u2026\n");
	table_free(table);
}

static void empty_columns_are_left_out(void **state)
{
	static const char *const rows[][3] = {{"7", "", ""}, {"8", "lan0", ""}};
	struct table *table = table_new(columns, 3);

	(void)state;
	assert_non_null(table);
	assert_true(table_add(table, rows[0]));
	expect_table(table, 0, false, "ID  DESCRIPTION\n 7  \n");
	assert_true(table_add(table, rows[1]));
	expect_table(table, 0, false,
		     "ID  LAN   DESCRIPTION\n"
		     " 7        \n"
		     " 8  lan0  \n");
	table_free(table);
}

/* Before the last column is narrower than its name, others lose their middles. */
static void middles_are_cut(void **state)
{
	static const struct table_column wide[] = {
		{"TO", false, false, TABLE_CUT_THEN},
		{"FROM", false, false, TABLE_CUT_FIRST},
		{"TEXT", false, false, TABLE_CUT_NEVER},
	};
	static const char *const row[] = {"192.168.177.200:1234", "198.51.100.200:5678",
					  "some words"};
	static const char text[] = "\u53f0\u6240\u53f0\u6240\u53f0\u6240";
	static const char *const other[] = {"192.0.2.1:1", text, ""};
	struct table *table = table_new(wide, 3);

	(void)state;
	assert_non_null(table);
	assert_true(table_add(table, row));
	assert_true(table_add(table, other));
	expect_table(table, 47, false,
		     "TO                    FROM                 TEXT\n"
		     "192.168.177.200:1234  198.51.100.200:5678  som\u2026\n"
		     "192.0.2.1:1           \u53f0\u6240\u53f0\u6240\u53f0\u6240       "
		     "  \n");
	expect_table(table, 38, false,
		     "TO                    FROM        TEXT\n"
		     "192.168.177.200:1234  198.\u2026:5678  som\u2026\n"
		     "192.0.2.1:1           \u53f0\u6240\u53f0\u6240\u2026   \n");
	expect_table(table, 30, false,
		     "TO            FROM        TEXT\n"
		     "192.1\u20260:1234  198.\u2026:5678  som\u2026\n"
		     "192.0.2.1:1   \u53f0\u6240\u53f0\u6240\u2026   \n");
	table_free(table);
}

static void many_rows_are_kept(void **state)
{
	struct table *table = table_new(columns, 3);
	static const char *const row[] = {"1", "lan0", "x"};
	char *text = NULL;
	size_t length = 0;
	FILE *file = open_memstream(&text, &length);

	(void)state;
	assert_non_null(file);
	for (int i = 0; i < 50000; i++)
		assert_true(table_add(table, row));
	table_print(table, file, 0, false);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(length, strlen("ID  LAN   DESCRIPTION\n") +
					 50000 * strlen(" 1  lan0  x\n"));
	free(text);
	table_free(table);
}

/* ---- endpoints ---- */

static void endpoints_are_shown(void **state)
{
	char text[LEASE_ENDPOINT_SIZE];

	(void)state;
	assert_string_equal(lease_format_endpoint(text, "192.0.2.1", 80),
			    "192.0.2.1:80");
	assert_string_equal(lease_format_endpoint(text, "2001:db8::1", 80),
			    "[2001:db8::1]:80");
	assert_string_equal(lease_format_endpoint(text, NULL, 80), "-:80");
	assert_string_equal(lease_format_endpoint(text, "\033c", 80), "\\x1bc:80");
}

static void expect_endpoint(const char *text, const char *address, uint16_t port)
{
	char formatted[ADDR_TEXT_SIZE];
	struct ip_addr addr;
	uint16_t parsed;

	if (!parse_endpoint(text, &addr, &parsed))
		fail_msg("refused: %s", text);
	assert_string_equal(addr_format(&addr, formatted), address);
	assert_int_equal(parsed, port);
}

static void endpoints_are_parsed(void **state)
{
	static const char *const bad[] = {
		"",
		":",
		"192.0.2.1:",
		"192.0.2.1:0",
		"192.0.2.1:65536",
		"192.0.2.1:80x",
		"192.0.2.1 :80",
		"[192.0.2.1]:80",
		"[2001:db8::1",
		"[2001:db8::1]80",
		"[2001:db8::1]:",
		"[2001:db8::1]:99999",
		"2001:db8::1]:80",
		"nas",
		"nas:80",
		"192.0.2.1:80:80",
		"[]:80",
	};
	struct ip_addr addr;
	uint16_t port;

	(void)state;
	expect_endpoint("192.0.2.1", "192.0.2.1", 0);
	expect_endpoint("192.0.2.1:80", "192.0.2.1", 80);
	expect_endpoint("192.0.2.1:65535", "192.0.2.1", 65535);
	expect_endpoint("2001:db8::1", "2001:db8::1", 0);
	expect_endpoint("[2001:db8::1]", "2001:db8::1", 0);
	expect_endpoint("[2001:db8::1]:443", "2001:db8::1", 443);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse_endpoint(bad[i], &addr, &port))
			fail_msg("accepted: %s", bad[i]);
	}
}

static void durations_are_parsed(void **state)
{
	static const struct {
		const char *text;
		uint32_t seconds;
	} good[] = {
		{"0", 0},	 {"never", 0},
		{"3600", 3600},	 {"90s", 90},
		{"90m", 5400},	 {"1h", 3600},
		{"2d", 172800},	 {"1w", 604800},
		{"1h30m", 5400}, {"4294967295", UINT32_MAX},
	};
	static const char *const bad[] = {
		"",	"h",	  "-1", "1 h",	      "1x",	"1h30",
		"1.5h", "never1", "+1", "4294967296", "50000d", "99999999999999999999h",
	};
	uint32_t seconds;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_true(parse_duration(good[i].text, &seconds));
		assert_int_equal(seconds, good[i].seconds);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (parse_duration(bad[i], &seconds))
			fail_msg("accepted: %s", bad[i]);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_show_two_units),
		cmocka_unit_test(octets_have_a_unit),
		cmocka_unit_test(counts_have_commas),
		cmocka_unit_test(client_text_cannot_steer_the_terminal),
		cmocka_unit_test(long_text_is_cut_at_a_character),
		cmocka_unit_test(width_is_in_columns),
		cmocka_unit_test(columns_are_aligned),
		cmocka_unit_test(empty_columns_are_left_out),
		cmocka_unit_test(middles_are_cut),
		cmocka_unit_test(many_rows_are_kept),
		cmocka_unit_test(endpoints_are_shown),
		cmocka_unit_test(endpoints_are_parsed),
		cmocka_unit_test(durations_are_parsed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
