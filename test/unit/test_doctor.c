/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doctor/ask.h"
#include "doctor/check.h"
#include "doctor/print.h"
#include "doctor/search.h"

/** What a test looks at; large. */
struct bench {
	struct facts facts;
	struct findings findings;
};

static struct prefix make_prefix(const char *text, unsigned int length)
{
	struct prefix prefix;

	assert_true(addr_parse(text, &prefix.addr));
	prefix.length = (uint8_t)(length + (addr_is_ipv4(&prefix.addr) ? 96 : 0));
	return prefix;
}

static struct link *add_link(struct links *links, const char *name, const char *address)
{
	struct link *link;

	assert_int_equal(links_add(links, &(struct link){0}), 0);
	link = &links->list[links->count - 1];
	memcpy(link->name, name, strlen(name) + 1);
	link->ifindex = (uint32_t)links->count;
	link->up = true;
	link->carrier = true;
	link->addresses[link->address_count++] = make_prefix(address, 24);
	return link;
}

/* Choose again after a test has changed links or configuration. */
static void bench_choose(struct bench *bench)
{
	struct facts *facts = &bench->facts;

	memset(&facts->network, 0, sizeof(facts->network));
	facts->network_error = network_choose(&facts->conf, &facts->links, NULL,
					      &facts->network, facts->network_text);
}

/* A gateway that is well: wan0 and lan0, a kernel without nf_tables' rules. */
static int bench_set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	struct facts *facts = &bench->facts;

	assert_non_null(bench);
	facts->root = true;
	facts->conf_file = CONF_DEFAULT_FILE;
	conf_init(&facts->conf);
	facts->daemon.state = FACTS_DAEMON_RUNS;
	memcpy(facts->daemon.backend, "nftables", sizeof("nftables"));
	add_link(&facts->links, "wan0", "203.0.113.5");
	add_link(&facts->links, "lan0", "192.168.1.1");
	facts->links.default_ifindex = 1;
	facts->kernel = (struct facts_kernel){
		.forwarding4 = FACT_YES,
		.forwarding6 = FACT_YES,
		.wan_forwarding = FACT_YES,
		.lan_forwarding = {FACT_YES},
		.wan_strict = FACT_NO,
		.conntrack = FACT_YES,
		.conntrack_module = FACT_YES,
		.iptables_module = FACT_YES,
	};
	facts->firewall.error = -EPROTONOSUPPORT;
	facts->search.done[0] = true;
	bench_choose(bench);
	assert_int_equal(facts->network_error, 0);
	*state = bench;
	return 0;
}

static int bench_tear_down(void **state)
{
	struct bench *bench = *state;

	links_fini(&bench->facts.links);
	free(bench);
	return 0;
}

/* The finding of that id and subject (NULL = any) that is worst. */
static const struct finding *bench_find(struct bench *bench, const char *id,
					const char *subject)
{
	const struct finding *worst = NULL;

	memset(&bench->findings, 0, sizeof(bench->findings));
	check_all(&bench->facts, &bench->findings);
	check_search(&bench->facts, &bench->findings);
	for (size_t i = 0; i < bench->findings.count; i++) {
		const struct finding *finding = &bench->findings.list[i];

		if (strcmp(finding->id, id) != 0 ||
		    (subject && strcmp(finding->subject, subject) != 0))
			continue;
		if (!worst || finding->state < worst->state)
			worst = finding;
	}
	return worst;
}

static void expect(struct bench *bench, const char *id, enum finding_state state,
		   const char *words)
{
	const struct finding *finding = bench_find(bench, id, NULL);

	assert_non_null(finding);
	if (finding->state != state || !strstr(finding->text, words))
		fail_msg("%s: %s: %s", id, finding_get_state_name(finding->state),
			 finding->text);
}

static void test_daemon(void **state)
{
	struct bench *bench = *state;
	struct facts_daemon *daemon = &bench->facts.daemon;

	expect(bench, "daemon-not-running", FINDING_OK, "nftables");
	daemon->state = FACTS_DAEMON_ABSENT;
	expect(bench, "daemon-not-running", FINDING_PROBLEM, "does not run");
	assert_string_equal(bench_find(bench, "daemon-not-running", NULL)->fix,
			    "portreeved -c " CONF_DEFAULT_FILE);
	bench->facts.has_systemd = true;
	assert_string_equal(bench_find(bench, "daemon-not-running", NULL)->fix,
			    "systemctl start portreeve");
	/* The service has its own file. */
	bench->facts.conf_file = "/home/me/other.conf";
	assert_string_equal(bench_find(bench, "daemon-not-running", NULL)->fix,
			    "portreeved -c /home/me/other.conf");
	bench->facts.conf_file = "a; reboot";
	assert_string_equal(bench_find(bench, "daemon-not-running", NULL)->fix,
			    "portreeved -c FILE");
	daemon->state = FACTS_DAEMON_FORBIDDEN;
	expect(bench, "daemon-not-running", FINDING_UNKNOWN, "as root");
	daemon->state = FACTS_DAEMON_STRANGE;
	expect(bench, "daemon-not-running", FINDING_PROBLEM, "does not answer");
}

/* What doctor finds itself is not told twice; the rest of the daemon's problems is. */
static void test_degraded(void **state)
{
	struct bench *bench = *state;
	struct facts_daemon *daemon = &bench->facts.daemon;

	expect(bench, "daemon-degraded", FINDING_OK, "no other");
	daemon->problem_count = 2;
	memcpy(daemon->problems[0].code, "wan-private", sizeof("wan-private"));
	memcpy(daemon->problems[1].code, "lan-missing", sizeof("lan-missing"));
	expect(bench, "daemon-degraded", FINDING_OK, "no other");
	memcpy(daemon->problems[1].code, "store", sizeof("store"));
	memcpy(daemon->problems[1].text, "disk full", sizeof("disk full"));
	expect(bench, "daemon-degraded", FINDING_PROBLEM, "disk full");
	assert_non_null(bench_find(bench, "daemon-degraded", "store"));
	/* The daemon knows what we may not read. */
	memcpy(daemon->problems[0].code, "forward-dropped", sizeof("forward-dropped"));
	assert_non_null(bench_find(bench, "daemon-degraded", "forward-dropped"));
	(void)snprintf(daemon->problems[0].text, sizeof(daemon->problems[0].text),
		       "chain x drops: portreeve doctor tells what to do");
	assert_string_equal(
		bench_find(bench, "daemon-degraded", "forward-dropped")->text,
		"portreeved says: chain x drops; for what to do, run this "
		"as root");
}

static void test_conf(void **state)
{
	struct bench *bench = *state;

	expect(bench, "config-bad", FINDING_OK, "no mistake");
	memcpy(bench->facts.conf_error, "x.conf:3: what", sizeof("x.conf:3: what"));
	expect(bench, "config-bad", FINDING_PROBLEM, "x.conf:3: what");
	assert_string_equal(bench_find(bench, "config-bad", NULL)->fix,
			    "portreeved -c " CONF_DEFAULT_FILE " --check-config");
	bench->facts.conf_code = -EACCES;
	expect(bench, "config-bad", FINDING_UNKNOWN, "as root");
	bench->facts.conf_code = -EINVAL;
	bench->facts.conf_file = "a; reboot";
	assert_string_equal(bench_find(bench, "config-bad", NULL)->fix,
			    "portreeved -c FILE --check-config");
}

static void test_route(void **state)
{
	struct bench *bench = *state;

	expect(bench, "no-default-route", FINDING_OK, "wan0");
	bench->facts.links.default_ifindex = 0;
	bench_choose(bench);
	expect(bench, "no-default-route", FINDING_PROBLEM, "no IPv4 default route");
	memcpy(bench->facts.conf.wan.interface, "wan0", sizeof("wan0"));
	add_link(&bench->facts.links, "wan1", "198.51.100.1");
	bench->facts.links.default_ifindex = 3;
	bench_choose(bench);
	expect(bench, "no-default-route", FINDING_UNKNOWN, "by wan1, not by the WAN");
	bench->facts.links_error = -EPERM;
	expect(bench, "no-default-route", FINDING_UNKNOWN, "");
}

static void test_wan(void **state)
{
	struct bench *bench = *state;
	struct wan_choice *wan = &bench->facts.network.wan;

	expect(bench, "wan-missing", FINDING_OK, "203.0.113.5");
	wan->address = (struct ip_addr){{0}};
	expect(bench, "wan-missing", FINDING_PROBLEM, "no IPv4 address");
	expect(bench, "wan-private", FINDING_UNKNOWN, "not known");
	wan->carrier = false;
	expect(bench, "wan-missing", FINDING_PROBLEM, "no carrier");
	wan->up = false;
	expect(bench, "wan-missing", FINDING_PROBLEM, "is down");
	assert_string_equal(bench_find(bench, "wan-missing", NULL)->fix,
			    "ip link set wan0 up");
	memcpy(wan->name, "$(rm x)", sizeof("$(rm x)"));
	assert_string_equal(bench_find(bench, "wan-missing", NULL)->fix, "");
	wan->present = false;
	expect(bench, "wan-missing", FINDING_PROBLEM, "no interface $(rm x) now");
	wan->name[0] = '\0';
	expect(bench, "wan-missing", FINDING_PROBLEM, "none yet");
	bench->facts.network_error = -ENODEV;
	expect(bench, "wan-missing", FINDING_UNKNOWN, "not known");
}

/* 1:1 NAT by configuration is well, behind STUN it cannot be told. */
static void test_address(void **state)
{
	struct bench *bench = *state;
	struct facts *facts = &bench->facts;
	struct link *wan = &facts->links.list[0];

	expect(bench, "wan-private", FINDING_OK, "");
	expect(bench, "wan-cgnat", FINDING_OK, "");
	wan->addresses[0] = make_prefix("100.64.3.4", 24);
	bench_choose(bench);
	expect(bench, "wan-cgnat", FINDING_PROBLEM, "100.64.3.4");
	expect(bench, "wan-private", FINDING_OK, "");
	wan->addresses[0] = make_prefix("192.168.5.2", 24);
	bench_choose(bench);
	expect(bench, "wan-private", FINDING_PROBLEM, "192.168.5.2");
	expect(bench, "wan-cgnat", FINDING_OK, "");
	assert_true(addr_parse("198.51.100.7", &facts->daemon.external));
	expect(bench, "wan-private", FINDING_UNKNOWN, "198.51.100.7");
	assert_true(addr_parse("198.51.100.7", &facts->conf.wan.address));
	bench_choose(bench);
	expect(bench, "wan-private", FINDING_OK, "1:1 NAT");
}

static void test_swapped(void **state)
{
	struct bench *bench = *state;
	struct facts *facts = &bench->facts;

	expect(bench, "lan-wan-swapped", FINDING_OK, "");
	memcpy(facts->conf.wan.interface, "lan0", sizeof("lan0"));
	facts->conf.lan_count = 1;
	memcpy(facts->conf.lans[0].name, "wan0", sizeof("wan0"));
	facts->conf.lans[0].protocols = CONF_PROTOCOLS_DEFAULT;
	bench_choose(bench);
	expect(bench, "lan-wan-swapped", FINDING_PROBLEM, "default route leaves by it");
	facts->links.default_ifindex = 0;
	bench_choose(bench);
	expect(bench, "lan-wan-swapped", FINDING_PROBLEM, "public address");
	facts->conf.wan.interface[0] = '\0';
	facts->links.default_ifindex = 1;
	bench_choose(bench);
	expect(bench, "lan-wan-swapped", FINDING_PROBLEM, "[lan wan0]");
	memcpy(facts->conf.wan.interface, "wan0", sizeof("wan0"));
	bench_choose(bench);
	expect(bench, "lan-wan-swapped", FINDING_PROBLEM, "[lan wan0]");
}

static void test_lans(void **state)
{
	struct bench *bench = *state;
	struct facts *facts = &bench->facts;

	expect(bench, "lan-missing", FINDING_OK, "");
	facts->conf.lan_count = 1;
	memcpy(facts->conf.lans[0].name, "lan9", sizeof("lan9"));
	bench_choose(bench);
	expect(bench, "lan-missing", FINDING_PROBLEM, "lan9");
	facts->conf.lan_count = 0;
	facts->links.list[1].up = false;
	bench_choose(bench);
	expect(bench, "lan-missing", FINDING_PROBLEM, "[lan NAME]");
}

static void test_kernel(void **state)
{
	struct bench *bench = *state;
	struct facts *facts = &bench->facts;

	facts->daemon.state = FACTS_DAEMON_ABSENT;
	facts->conf.backend.type = CONF_BACKEND_NFTABLES;
	expect(bench, "nftables-missing", FINDING_PROBLEM, "no nf_tables");
	assert_null(bench_find(bench, "iptables-missing", NULL));
	facts->conf.backend.type = CONF_BACKEND_AUTO;
	expect(bench, "iptables-missing", FINDING_OK, "");
	facts->firewall.error = -EPERM;
	facts->root = false;
	expect(bench, "nftables-missing", FINDING_UNKNOWN, "as root");
	facts->conf.backend.type = CONF_BACKEND_IPTABLES;
	facts->kernel.iptables_module = FACT_NO;
	assert_null(bench_find(bench, "nftables-missing", NULL));
	expect(bench, "iptables-missing", FINDING_PROBLEM, "no ip_tables");
	facts->kernel.iptables_module = FACT_UNKNOWN;
	expect(bench, "iptables-missing", FINDING_UNKNOWN, "");
	facts->kernel.conntrack = FACT_NO;
	expect(bench, "conntrack-missing", FINDING_OK, "not loaded");
	facts->daemon.state = FACTS_DAEMON_RUNS;
	expect(bench, "conntrack-missing", FINDING_PROBLEM, "not loaded");
	facts->kernel.conntrack_module = FACT_NO;
	expect(bench, "conntrack-missing", FINDING_PROBLEM, "CONFIG_NF_CONNTRACK");
	facts->kernel.conntrack_module = FACT_UNKNOWN;
	expect(bench, "conntrack-missing", FINDING_UNKNOWN, "as root");
}

static void test_forwarding(void **state)
{
	struct bench *bench = *state;
	struct facts_kernel *kernel = &bench->facts.kernel;
	struct lan_info *lan = &bench->facts.network.lans[0];

	expect(bench, "forwarding-off", FINDING_OK, "");
	assert_null(bench_find(bench, "forwarding-off", "IPv6"));
	lan->addresses[lan->address_count++] = make_prefix("2001:db8::1", 64);
	kernel->forwarding6 = FACT_NO;
	assert_string_equal(bench_find(bench, "forwarding-off", "IPv6")->fix,
			    "sysctl -w net.ipv6.conf.all.forwarding=1");
	kernel->lan_forwarding[0] = FACT_NO;
	assert_string_equal(bench_find(bench, "forwarding-off", "lan0")->fix,
			    "sysctl -w net/ipv4/conf/lan0/forwarding=1");
	kernel->forwarding4 = FACT_NO;
	assert_string_equal(bench_find(bench, "forwarding-off", "IPv4")->fix,
			    "sysctl -w net.ipv4.ip_forward=1");
	assert_null(bench_find(bench, "forwarding-off", "lan0"));
	kernel->forwarding4 = FACT_UNKNOWN;
	assert_int_equal(bench_find(bench, "forwarding-off", "IPv4")->state,
			 FINDING_UNKNOWN);
}

/* A strict filter is harmless where the default route is the WAN's. */
static void test_reverse_path(void **state)
{
	struct bench *bench = *state;
	struct facts *facts = &bench->facts;

	facts->kernel.wan_strict = FACT_YES;
	expect(bench, "reverse-path", FINDING_OK, "");
	memcpy(facts->conf.wan.interface, "wan0", sizeof("wan0"));
	add_link(&facts->links, "wan1", "198.51.100.1");
	facts->links.default_ifindex = 3;
	bench_choose(bench);
	expect(bench, "reverse-path", FINDING_PROBLEM, "rp_filter");
	facts->kernel.wan_strict = FACT_NO;
	expect(bench, "reverse-path", FINDING_OK, "");
}

static void test_other_igd(void **state)
{
	struct bench *bench = *state;
	struct facts *facts = &bench->facts;

	expect(bench, "other-igd", FINDING_OK, "");
	facts->search.count = 1;
	facts->search.answers[0].lan = 0;
	assert_true(addr_parse("192.168.1.254", &facts->search.answers[0].host));
	expect(bench, "other-igd", FINDING_PROBLEM, "192.168.1.254");
	facts->search.count = 0;
	facts->search.flooded[0] = true;
	expect(bench, "other-igd", FINDING_UNKNOWN, "flooded");
	facts->search.done[0] = false;
	expect(bench, "other-igd", FINDING_UNKNOWN, "was not searched");
}

/* Without root, what depends on the firewall is unknown, and that is no problem. */
static void test_unreadable(void **state)
{
	struct bench *bench = *state;
	struct facts *facts = &bench->facts;

	facts->firewall.error = -EPERM;
	facts->root = false;
	expect(bench, "forward-dropped", FINDING_UNKNOWN, "as root");
	expect(bench, "forward-early", FINDING_UNKNOWN, "");
	expect(bench, "input-blocked", FINDING_UNKNOWN, "as root");
	expect(bench, "no-translation", FINDING_UNKNOWN, "as root");
	assert_int_equal(findings_get_exit(&bench->findings), DOCTOR_EXIT_OK);
	facts->root = true;
	facts->firewall.error = -E2BIG;
	expect(bench, "forward-dropped", FINDING_UNKNOWN, "more rules");
	facts->firewall.error = -EPROTONOSUPPORT;
	facts->firewall.legacy[1].state = LEGACY_UNREADABLE;
	facts->firewall.translation.state = LEGACY_UNREADABLE;
	expect(bench, "forward-dropped", FINDING_UNKNOWN, "ip6tables-legacy");
	expect(bench, "no-translation", FINDING_UNKNOWN, "iptables-legacy");
}

static void test_translation(void **state)
{
	struct bench *bench = *state;
	struct facts *facts = &bench->facts;

	expect(bench, "no-translation", FINDING_PROBLEM, "nothing translates");
	assert_non_null(strstr(bench_find(bench, "no-translation", NULL)->fix,
			       "oifname \"wan0\" masquerade"));
	facts->conf.wan.nat = false;
	assert_null(bench_find(bench, "no-translation", NULL));
}

#define STATUS                                                                         \
	"{\"parameters\":{\"status\":{\"problems\":[{\"code\":\"store\",\"text\":"     \
	"\"bad\\u001b[1m\"}],\"backend\":{\"name\":\"nftables\"},\"wan\":{"            \
	"\"interface\":\"ppp0\",\"external_address\":\"198.51.100.7\"},\"lans\":[{"    \
	"\"name\":\"br0\",\"protocols\":[\"pcp\"]}],\"settings\":{\"mark\":16,"        \
	"\"http_port\":5000,\"nat\":true,\"pinholes\":\"off\"}}}}"

/* What is in force is the daemon's word, whatever the file says. */
static void test_status(void **state)
{
	struct bench *bench = *state;
	struct facts_daemon daemon = {.state = FACTS_DAEMON_ABSENT};
	struct conf *conf = &bench->facts.conf;
	const char *bad[] = {
		"{}",
		"{\"error\":\"x\"}",
		"{\"parameters\":{\"status\":{\"problems\":[],\"backend\":{\"name\":"
		"\"x\"},\"wan\":{\"interface\":\"a-name-that-is-too-long-for-it\"},"
		"\"lans\":[]}}}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(ask_read_status(bad[i], strlen(bad[i]), &daemon, conf));
	assert_int_equal(daemon.state, FACTS_DAEMON_ABSENT);
	assert_string_equal(conf->wan.interface, "");
	assert_true(ask_read_status(STATUS, strlen(STATUS), &daemon, conf));
	assert_int_equal(daemon.state, FACTS_DAEMON_RUNS);
	assert_int_equal(daemon.problem_count, 1);
	assert_string_equal(daemon.problems[0].text, "bad[1m");
	assert_string_equal(conf->wan.interface, "ppp0");
	assert_int_equal(conf->lan_count, 1);
	assert_string_equal(conf->lans[0].name, "br0");
	assert_int_equal(conf->lans[0].protocols, CONF_PROTOCOL_PCP);
	assert_int_equal(conf->backend.mark, 16);
	assert_int_equal(conf->global.http_port, 5000);
	assert_int_equal(conf->wan.pinholes, CONF_PINHOLES_OFF);
}

static void test_answers(void **state)
{
	const struct {
		const char *text;
		bool is;
	} rows[] = {
		{"HTTP/1.1 200 OK\r\nST: "
		 "urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n",
		 true},
		{"HTTP/1.1 200 OK\r\nEXT:\r\nst:urn:schemas-upnp-org:device:"
		 "internetgatewaydevice:2",
		 true},
		{"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n\r\n", false},
		{"HTTP/1.1 200 OK\r\nST: "
		 "urn:schemas-upnp-org:device:MediaServer:1\r\n\r\n",
		 false},
		{"HTTP/1.1 200 OK\r\nST:", false},
		{"HTTP/1.1 404 no\r\nST: "
		 "urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n",
		 false},
		{"NOTIFY * HTTP/1.1\r\n\r\n", false},
		{"", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(search_is_gateway(rows[i].text, strlen(rows[i].text)),
				 rows[i].is);
}

/* Lines as long as asked for, even for one long command, which can be pasted. */
static void test_print(void **state)
{
	struct bench *bench = *state;
	struct findings *findings = &bench->findings;
	const struct console_style style = {.width = 60};
	struct finding *finding = findings_add(findings, "some-thing", "x\x1by");
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);
	char *at, *line;

	assert_non_null(file);
	finding_say(finding, FINDING_PROBLEM, "%s",
		    "a text that is longer than the sixty columns that a line has");
	finding_fix(finding, "%s",
		    "first command with many words that does not fit the line; second");
	finding_keep(finding, "do it again");
	finding_say(findings_add(findings, "good", ""), FINDING_OK, "it is");
	print_write_findings(&style, findings, file);
	(void)fclose(file);
	assert_non_null(strstr(text, "problem  some-thing (x?y)\n"));
	assert_non_null(strstr(text, " that does not \\\n"));
	assert_non_null(strstr(text, "\n             second\n"));
	assert_non_null(strstr(text, "\nok       good  it is\n1 problem\n"));
	at = text;
	while ((line = strsep(&at, "\n")) != NULL)
		assert_true(strlen(line) <= style.width);
	free(text);
}

static void test_findings_are_bounded(void **state)
{
	struct bench *bench = *state;

	for (size_t i = 0; i < FINDINGS_MAX + 10; i++)
		finding_say(findings_add(&bench->findings, "x", ""), FINDING_PROBLEM,
			    "%zu", i);
	assert_int_equal(bench->findings.count, FINDINGS_MAX);
	assert_int_equal(findings_get_exit(&bench->findings), DOCTOR_EXIT_DEGRADED);
}

#define BENCH_TEST(test)                                                               \
	cmocka_unit_test_setup_teardown(test, bench_set_up, bench_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BENCH_TEST(test_daemon),       BENCH_TEST(test_degraded),
		BENCH_TEST(test_conf),	       BENCH_TEST(test_route),
		BENCH_TEST(test_wan),	       BENCH_TEST(test_address),
		BENCH_TEST(test_swapped),      BENCH_TEST(test_lans),
		BENCH_TEST(test_kernel),       BENCH_TEST(test_forwarding),
		BENCH_TEST(test_reverse_path), BENCH_TEST(test_other_igd),
		BENCH_TEST(test_unreadable),   BENCH_TEST(test_translation),
		BENCH_TEST(test_status),       BENCH_TEST(test_answers),
		BENCH_TEST(test_print),	       BENCH_TEST(test_findings_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
