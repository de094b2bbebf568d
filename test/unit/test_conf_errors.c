/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "conf/conf.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Every error names its line, what is wrong and what would be right. */

static void parse(const char *text, struct conf *out)
{
	char error[CONF_ERROR_MAX] = "";

	if (conf_parse("f", text, strlen(text), out, error) != 0)
		fail_msg("%s\nfor:\n%s", error, text);
}

static void assert_error(const char *text, size_t length, const char *expected)
{
	char error[CONF_ERROR_MAX] = "";
	struct conf conf, before;

	memset(&conf, 0x5a, sizeof(conf));
	memset(&before, 0x5a, sizeof(before));
	assert_int_equal(conf_parse("f", text, length, &conf, error), -EINVAL);
	assert_string_equal(error, expected);
	assert_memory_equal(&conf, &before, sizeof(conf));
}

struct bad_row {
	const char *text;
	const char *error;
};

static void check_rows(const struct bad_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_error(rows[i].text, strlen(rows[i].text), rows[i].error);
}

static void test_structure_errors(void **state)
{
	static const struct bad_row rows[] = {
		{"x = 1\n",
		 "f:1: \"x\" stands before any section; begin with a line such as "
		 "[wan]"},
		{"[wan]\n\nhello\n",
		 "f:3: \"hello\" is neither [SECTION] nor KEY = VALUE"},
		{"[wan]\n = 1\n",
		 "f:2: there is no key before \"=\"; write KEY = VALUE"},
		{"[limit]\n", "f:1: unknown section [limit]; did you mean [limits]?"},
		{"[lam lan0]\n",
		 "f:1: unknown section [lam lan0]; the sections are [wan], "
		 "[lan NAME], [policy], [backend], [limits] and [global]"},
		{"[]\n", "f:1: unknown section []; the sections are [wan], [lan NAME], "
			 "[policy], [backend], [limits] and [global]"},
		{"[wan\n",
		 "f:1: bad section line \"[wan\"; a section line is [NAME] and "
		 "nothing else"},
		{"[wan] x\n",
		 "f:1: bad section line \"[wan] x\"; a section line is [NAME] "
		 "and nothing else"},
		{"[wan x]\n",
		 "f:1: bad section line \"[wan x]\"; write [wan], only LANs "
		 "have a name"},
		{"[lan a b]\n",
		 "f:1: bad section line \"[lan a b]\"; a section has one "
		 "name"},
		{"[lan]\n",
		 "f:1: bad interface name \"\" in [lan ...]; write [lan NAME] with "
		 "a name as \"ip link\" shows it, such as [lan lan0]"},
		{"[lan a]\n[lan b]\n[lan a]\n", "f:3: duplicate section [lan a]; line "
						"1 begins it already, join the two"},
		{"[limits]\n\nleases-per-clint = 1\n",
		 "f:3: unknown key \"leases-per-clint\" in [limits]; did you mean "
		 "\"leases-per-client\"?"},
		{"[wan]\nmark = 1\n",
		 "f:2: unknown key \"mark\" in [wan]; it belongs in [backend]"},
		{"[wan]\nfrobnicate = 1\n", "f:2: unknown key \"frobnicate\" in [wan]; "
					    "portreeve.conf(5) lists the keys"},
		{"[wan]\nnat = on\nnat = on\n",
		 "f:3: duplicate key \"nat\" in [wan]; line 2 "
		 "has it already, remove one of the two"},
		{"[lan a]\nigd = 1\nigd = 1\n",
		 "f:3: duplicate key \"igd\" in [lan]; line 2 "
		 "has it already, remove one of the two"},
		{"[wan]\nnat = \"on\n",
		 "f:2: a quote is not closed; write both \" on one line"},
		{"[wan]\nnat = \xff\n",
		 "f:2: the line has control characters or is not "
		 "UTF-8; the file must be plain UTF-8 text"},
		{"[wan]\n# \x01\n",
		 "f:2: the line has control characters or is not UTF-8; "
		 "the file must be plain UTF-8 text"},
	};
	static const char nul[] = "[wan]\nnat\0 = on\n";

	(void)state;
	check_rows(rows, COUNT(rows));
	assert_error(
		nul, sizeof(nul) - 1,
		"f:2: the line has a NUL octet; the file must be plain UTF-8 text");
}

#define NAT64 "[wan]\nnat64-prefix = "
#define NAT64_BAD(text) "f:2: bad prefix \"" text "\" for nat64-prefix; "
#define NAT64_LENGTHS "a NAT64 prefix has a length of 32, 40, 48, 56, 64 or 96 bits"
#define NAT64_UNICAST                                                                  \
	"hosts cannot send to such addresses; a NAT64 prefix is of unicast addresses " \
	"that are routed, such as 64:ff9b::/96"
#define NAT64_IPV4 "it is of IPv4; a NAT64 prefix is of IPv6, such as 64:ff9b::/96"

static void test_pcp_errors(void **state)
{
	static const struct bad_row rows[] = {
		{NAT64 "64:ff9b::\n",
		 NAT64_BAD("64:ff9b::") "it has no length; write one behind it, such "
					"as 64:ff9b::/96"},
		{NAT64 "64:ff9b::/95\n", NAT64_BAD("64:ff9b::/95") NAT64_LENGTHS},
		{NAT64 "64:ff9b::/128\n", NAT64_BAD("64:ff9b::/128") NAT64_LENGTHS},
		{NAT64 "64:ff9b::1/96\n",
		 NAT64_BAD("64:ff9b::1/96") "bits behind its length are set; they must "
					    "be zero, as in 64:ff9b::/96"},
		{NAT64 "192.0.2.0/24\n", NAT64_BAD("192.0.2.0/24") NAT64_IPV4},
		{NAT64 "0.0.0.0/0\n", NAT64_BAD("0.0.0.0/0") NAT64_IPV4},
		{NAT64 "::/96\n", NAT64_BAD("::/96") NAT64_UNICAST},
		{NAT64 "ff00::/32\n", NAT64_BAD("ff00::/32") NAT64_UNICAST},
		{NAT64 "fe80::/64\n", NAT64_BAD("fe80::/64") NAT64_UNICAST},
		{NAT64 "2001:db8:0:0:ff00::/96\n",
		 NAT64_BAD("2001:db8:0:0:ff00::/96") "bits 64 to 71 of a NAT64 prefix "
						     "must be zero (RFC 6052)"},
		{NAT64 "maybe\n",
		 NAT64_BAD("maybe") "it is no prefix of IPv6, such as 64:ff9b::/96; "
				    "nothing at all = none"},
		{NAT64 "64:ff9b::/x\n",
		 NAT64_BAD("64:ff9b::/x") "it is no prefix of IPv6, such as "
					  "64:ff9b::/96; nothing at all = none"},
		{"[limits]\nfilters-per-lease = 0\n",
		 "f:2: bad number \"0\" for filters-per-lease; a number within 1-16"},
		{"[limits]\nfilters-per-lease = 17\n",
		 "f:2: bad number \"17\" for filters-per-lease; a number within 1-16"},
		{"[limits]\nfilters-per-lease = x\n",
		 "f:2: bad number \"x\" for filters-per-lease; a number within 1-16"},
		{"[limits]\nports-per-request = 0\n",
		 "f:2: bad number \"0\" for ports-per-request; a number within 1-64"},
		{"[limits]\nports-per-request = 65\n",
		 "f:2: bad number \"65\" for ports-per-request; a number within 1-64"},
		{"[global]\npcp-opcodes = map pear\n",
		 "f:2: bad value \"pear\" for pcp-opcodes; did you mean \"peer\"?"},
		{"[global]\npcp-opcodes = MAP\n",
		 "f:2: bad value \"MAP\" for pcp-opcodes; did you mean \"map\"?"},
		{"[lan a]\nprotocols = upnp nat-pmp\npcp-anycast = yes\n",
		 "f:1: [lan a] has pcp-anycast = yes, but its protocols are without "
		 "pcp; "
		 "add pcp there, or take pcp-anycast out"},
		{"[global]\npcp-opcodes =\n",
		 "f:2: bad value \"\" for pcp-opcodes; write map or peer, one or more"},
		{"[global]\npcp-nonce-check = off\n",
		 "f:2: bad value \"off\" for pcp-nonce-check; write strict or relaxed"},
		{"[lan a]\npcp-anycast = 1\n",
		 "f:2: bad value \"1\" for pcp-anycast; write yes, no, on or off"},
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

static void test_upnp_errors(void **state)
{
	static const struct bad_row rows[] = {
		{"[wan]\npinholes = yes\n",
		 "f:2: bad value \"yes\" for pinholes; write on, off or no-firewall"},
		{"[wan]\npinholes = no-firewal\n",
		 "f:2: bad value \"no-firewal\" for pinholes; did you mean "
		 "\"no-firewall\"?"},
		{"[global]\nigd-same-host = ip\n",
		 "f:2: bad value \"ip\" for igd-same-host; write address or mac"},
		{"[lan a]\nigd = 3\n",
		 "f:2: bad value \"3\" for igd; write 1, both or 2"},
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

static void test_value_errors(void **state)
{
	static const struct bad_row rows[] = {
		{"[wan]\ninterface = a/b\n",
		 "f:2: bad interface name \"a/b\"; auto, or a "
		 "name as \"ip link\" shows it"},
		{"[wan]\ninterface = sixteenletters16\n",
		 "f:2: bad interface name \"sixteenletters16\"; auto, or a name as "
		 "\"ip "
		 "link\" shows it"},
		{"[wan]\naddress = 300.1.1.1\n",
		 "f:2: bad address \"300.1.1.1\"; auto, the IPv4 address to tell "
		 "clients, "
		 "such as 192.0.2.1, or stun:HOST or stun:HOST:PORT"},
		{"[wan]\naddress = 2001:db8::1\n",
		 "f:2: bad address \"2001:db8::1\"; auto, the IPv4 address to tell "
		 "clients, such as 192.0.2.1, or stun:HOST or stun:HOST:PORT"},
		{"[wan]\naddress = 127.0.0.1\n",
		 "f:2: bad address \"127.0.0.1\"; auto, the IPv4 address to tell "
		 "clients, such as 192.0.2.1, or stun:HOST or stun:HOST:PORT"},
		{"[wan]\naddress = stun:\n",
		 "f:2: bad address \"stun:\"; auto, the IPv4 address to tell "
		 "clients, such as 192.0.2.1, or stun:HOST or stun:HOST:PORT"},
		{"[wan]\naddress = stun:300.1.1.1\n",
		 "f:2: bad address \"stun:300.1.1.1\"; auto, the IPv4 address to tell "
		 "clients, such as 192.0.2.1, or stun:HOST or stun:HOST:PORT"},
		{"[wan]\naddress = stun:a.example:0\n",
		 "f:2: bad address \"stun:a.example:0\"; auto, the IPv4 address to "
		 "tell clients, such as 192.0.2.1, or stun:HOST or stun:HOST:PORT"},
		{"[backend]\nintegrate = inet fw4\n",
		 "f:2: bad chain \"inet fw4\"; write off, auto, or family, table and "
		 "chain, such as inet fw4 forward"},
		{"[backend]\nintegrate = bridge a b\n",
		 "f:2: bad chain \"bridge a b\"; write off, auto, or family, table "
		 "and chain, such as inet fw4 forward"},
		{"[wan]\nnat = maybe\n",
		 "f:2: bad value \"maybe\" for nat; write yes, no, on or off"},
		{"[wan]\nbit-rate-up = 5 M\n",
		 "f:2: bad bit rate \"5 M\"; a bit rate is a number of bit/s, with k, "
		 "M or G "
		 "behind it where that helps, such as 40M; 0 = ask the kernel"},
		{"[lan a]\nprotocols = upnp natpmp\n",
		 "f:2: bad value \"natpmp\" for protocols; did you mean \"nat-pmp\"?"},
		{"[lan a]\nprotocols =\n",
		 "f:2: bad value \"\" for protocols; write upnp, "
		 "nat-pmp or pcp, one or more"},
		{"[lan a]\nigd = 3\n",
		 "f:2: bad value \"3\" for igd; write 1, both or 2"},
		{"[lan a]\nnetworks = 10.0.0.0/8 192.168.1.7/24\n",
		 "f:2: bad network \"192.168.1.7/24\"; up to 8 prefixes with no bits "
		 "behind "
		 "their length, such as 192.168.2.0/24 2001:db8::/32"},
		{"[lan a]\nnetworks = 1.0.0.1 1.0.0.2 1.0.0.3 1.0.0.4 1.0.0.5 1.0.0.6 "
		 "1.0.0.7 1.0.0.8 1.0.0.9\n",
		 "f:2: bad network \"1.0.0.9\"; up to 8 prefixes with no bits behind "
		 "their "
		 "length, such as 192.168.2.0/24 2001:db8::/32"},
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

static void test_more_value_errors(void **state)
{
	static const struct bad_row rows[] = {
		{"[backend]\ntype = nftable\n",
		 "f:2: bad value \"nftable\" for type; did you mean \"nftables\"?"},
		{"[backend]\nmark = 0\n",
		 "f:2: bad mark \"0\"; a mark is a 32-bit number "
		 "other than 0, such as 0x10000000"},
		{"[backend]\nmark = 0x100000000\n",
		 "f:2: bad mark \"0x100000000\"; a mark is a 32-bit number other than "
		 "0, "
		 "such as 0x10000000"},
		{"[backend]\nkeep-rules = 1\n",
		 "f:2: bad value \"1\" for keep-rules; write yes, no, on or off"},
		{"[limits]\nleases-total = -1\n",
		 "f:2: bad number \"-1\" for leases-total; a number within "
		 "0-4294967295"},
		{"[limits]\nleases-total = 4294967296\n",
		 "f:2: bad number \"4294967296\" for leases-total; a number within "
		 "0-4294967295"},
		{"[limits]\nlifetime-max = 1y\n",
		 "f:2: bad time \"1y\"; a time is a number of seconds, or numbers with "
		 "s, m, h, d or w behind them, such as 2h or 1h30m"},
		{"[limits]\nlifetime-max = 49711d\n",
		 "f:2: bad time \"49711d\"; a time is a number of seconds, or numbers "
		 "with s, m, h, d or w behind them, such as 2h or 1h30m"},
		{"[global]\nhttp-port = 80\n",
		 "f:2: bad number \"80\" for http-port; a number within 1024-65535"},
		{"[global]\nhttp-port = 65536\n",
		 "f:2: bad number \"65536\" for http-port; a number within 1024-65535"},
		{"[global]\nstate-dir = lib\n",
		 "f:2: bad path \"lib\"; a path starts with '/' and has at most 107 "
		 "octets; "
		 "nothing at all = keep nothing on disk"},
		{"[global]\ncontrol-socket =\n",
		 "f:2: bad path \"\"; a path starts with '/', names a file and has at "
		 "most "
		 "107 octets"},
		{"[global]\ncontrol-socket = /run/\n",
		 "f:2: bad path \"/run/\"; a path starts with '/', names a file and "
		 "has at "
		 "most 107 octets"},
		{"[global]\nssdp-delay = long\n",
		 "f:2: bad value \"long\" for ssdp-delay; write short or strict"},
		{"[global]\nlog-level = warn\n",
		 "f:2: bad value \"warn\" for log-level; write error, warning, notice, "
		 "info "
		 "or debug"},
		{"[global]\nuser = a b\n",
		 "f:2: bad user name \"a b\"; a user name has at most 63 octets, no "
		 "blank, "
		 "':' or '/'; nothing at all = the built-in choice"},
		{"[global]\nfriendly-name =\n",
		 "f:2: bad name \"\"; a name has 1 to 63 octets"},
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

static void test_rule_errors(void **state)
{
	static const struct bad_row rows[] = {
		{"[policy]\nrule =\n",
		 "f:2: bad rule \"\"; a rule begins with allow or deny"},
		{"[policy]\nrule = accept\n",
		 "f:2: bad rule \"accept\"; a rule begins with allow or deny"},
		{"[policy]\nrule = allow externl 1\n",
		 "f:2: unknown word \"externl\" in a rule; did you mean \"external\"?"},
		{"[policy]\nrule = allow 80\n",
		 "f:2: unknown word \"80\" in a rule; after allow or deny come lan, "
		 "client, "
		 "protocol, external, internal, description, lifetime-max or "
		 "third-party, "
		 "each with its value"},
		{"[policy]\nrule = allow external\n",
		 "f:2: \"external\" is the last word of the rule; its value must "
		 "follow it"},
		{"[policy]\nrule = allow external 70000\n",
		 "f:2: bad port range \"70000\"; a range is FIRST-LAST within 1-65535"},
		{"[policy]\nrule = allow external 0-5\n",
		 "f:2: bad port range \"0-5\"; a range is FIRST-LAST within 1-65535"},
		{"[policy]\nrule = allow internal 9-8\n",
		 "f:2: bad port range \"9-8\"; a range is FIRST-LAST within 1-65535"},
		{"[policy]\nrule = allow internal 9-\n",
		 "f:2: bad port range \"9-\"; a range is FIRST-LAST within 1-65535"},
		{"[policy]\nrule = deny protocol icmp\n",
		 "f:2: bad value \"icmp\" for protocol; write tcp or udp"},
		{"[policy]\nrule = deny client 10.0.0.1/8\n",
		 "f:2: bad prefix \"10.0.0.1/8\"; a prefix is an address, or one with "
		 "a "
		 "length and no bits behind it, such as 192.168.1.0/24 or "
		 "2001:db8::/32"},
		{"[policy]\nrule = deny description \"\"\n",
		 "f:2: bad pattern \"\"; a pattern has 1 to 63 octets"},
		{"[policy]\nrule = deny lan a lan b\n",
		 "f:2: \"lan\" stands twice in the rule; once is enough, write a "
		 "second rule "
		 "for a second value"},
		{"[policy]\nrule = deny lifetime-max 5\n",
		 "f:2: \"lifetime-max\" grants something; it belongs in an allow rule"},
		{"[policy]\nrule = deny third-party 10.0.0.0/8\n",
		 "f:2: \"third-party\" grants something; it belongs in an allow rule"},
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

static void test_cross_checks(void **state)
{
	static const struct bad_row rows[] = {
		{"[limits]\nlifetime-max = 60\n",
		 "f:2: lifetime-min is 120 s and lifetime-max 60 s; the first must not "
		 "exceed "
		 "the second"},
		{"[limits]\n\nlifetime-min = 2d\n",
		 "f:3: lifetime-min is 172800 s and lifetime-max 86400 s; the first "
		 "must not "
		 "exceed the second"},
		{"[policy]\nrule = allow lifetime-max 119\n",
		 "f:2: lifetime-max of the rule is 119 s, less than lifetime-min of "
		 "[limits], "
		 "120 s; change one of them"},
		{"[lan a]\n[lan b]\n[wan]\ninterface = b\n",
		 "f:2: [lan b] is the interface of [wan] too; a network is either "
		 "inside or "
		 "outside"},
		{"[policy]\nrule = deny lan lan1\n[lan lan0]\n",
		 "f:2: the rule is for lan lan1, which has no section; add [lan lan1] "
		 "or "
		 "correct the name"},
		{"[global]\nhttp-port = 1900\n", "f:2: http-port 1900 is the port of "
						 "SSDP; choose another, such as 49152"},
		{"[global]\nhttp-port = 5350\n",
		 "f:2: http-port 5350 is the port of NAT-PMP and PCP announcements; "
		 "choose "
		 "another, "
		 "such as 49152"},
		{"[global]\nhttp-port = 5351\n",
		 "f:2: http-port 5351 is the port of NAT-PMP and PCP; choose another, "
		 "such as "
		 "49152"},
	};
	struct conf conf;

	(void)state;
	check_rows(rows, COUNT(rows));
	parse("[limits]\nlifetime-min = 2d\nlifetime-max = 0\n", &conf);
	assert_int_equal(conf.limits.lifetime_max_s, 0);
}

/* A line of `length` octets: at the limit it is read, behind it refused, never cut. */
static void test_line_length(void **state)
{
	char text[2000], error[CONF_ERROR_MAX];
	struct conf conf;
	int fitting = 149;

	(void)state;
	for (int length = 150; length < 1200; length++) {
		const int result = snprintf(text, sizeof(text),
					    "[policy]\nrule = deny%*sdescription x",
					    length - 24, " ");
		const int rc = conf_parse("f", text, (size_t)result, &conf, error);

		assert_int_equal(result, length + (int)strlen("[policy]\n"));
		if (rc == 0)
			assert_string_equal(conf.rules[0].description, "x");
		else
			assert_non_null(strstr(error, "f:2: the line is too long: "));
		/* 197 as Debian builds inih; another build may read more. */
		assert_true(rc == 0 || length > 197);
		assert_true(rc != 0 || fitting == length - 1);
		fitting = rc == 0 ? length : fitting;
	}
	(void)snprintf(text, sizeof(text), "[global]\nstate-dir = /%0107d\n", 0);
	assert_int_equal(conf_parse("f", text, strlen(text), &conf, error), -EINVAL);
	assert_non_null(strstr(error, "at most 107 octets"));
	(void)snprintf(text, sizeof(text), "[global]\ncontrol-socket = /%0106d\n", 0);
	parse(text, &conf);
	assert_int_equal(strlen(conf.global.control_socket), 107);
	(void)snprintf(text, sizeof(text), "[global]\nfriendly-name = %064d\n", 0);
	assert_int_equal(conf_parse("f", text, strlen(text), &conf, error), -EINVAL);
}

static void test_counts(void **state)
{
	char text[4096] = "[policy]\n", error[CONF_ERROR_MAX];
	struct conf conf;
	size_t used = strlen(text);

	(void)state;
	for (int i = 0; i < CONF_RULES_MAX; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "rule = deny\n");
	parse(text, &conf);
	assert_int_equal(conf.rule_count, CONF_RULES_MAX);
	(void)snprintf(text + used, sizeof(text) - used, "rule = deny\n");
	assert_int_equal(conf_parse("f", text, strlen(text), &conf, error), -EINVAL);
	assert_string_equal(error,
			    "f:66: too many rules; all files together may have 64");
	used = 0;
	for (int i = 0; i < CONF_LANS_MAX; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 "[lan l%d]\n", i);
	parse(text, &conf);
	assert_int_equal(conf.lan_count, CONF_LANS_MAX);
	(void)snprintf(text + used, sizeof(text) - used, "[lan more]\n");
	assert_int_equal(conf_parse("f", text, strlen(text), &conf, error), -EINVAL);
	assert_string_equal(error, "f:33: too many LANs; there may be 32");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_structure_errors),
		cmocka_unit_test(test_value_errors),
		cmocka_unit_test(test_pcp_errors),
		cmocka_unit_test(test_upnp_errors),
		cmocka_unit_test(test_more_value_errors),
		cmocka_unit_test(test_rule_errors),
		cmocka_unit_test(test_cross_checks),
		cmocka_unit_test(test_line_length),
		cmocka_unit_test(test_counts),
	};

	return cmocka_run_group_tests_name("conf errors", tests, NULL, NULL);
}
