/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "conf/conf.h"
#include "conf/parser.h"

/* SOURCE_ROOT is the top of the source tree. */
#define DEFAULTS_FILE SOURCE_ROOT "/conf/portreeve.conf"

#define NOBODY 65534
#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static void parse(const char *text, struct conf *out)
{
	char error[CONF_ERROR_MAX] = "";

	if (conf_parse("f", text, strlen(text), out, error) != 0)
		fail_msg("%s\nfor:\n%s", error, text);
}

static struct prefix make_prefix(const char *text)
{
	struct prefix prefix;

	assert_true(prefix_parse(text, &prefix));
	return prefix;
}

static void test_defaults(void **state)
{
	struct conf conf, empty;

	(void)state;
	conf_init(&conf);
	assert_string_equal(conf.wan.interface, "");
	assert_true(addr_is_none(&conf.wan.address));
	assert_true(conf.wan.nat);
	assert_int_equal(conf.lan_count, 0);
	assert_int_equal(conf.rule_count, 2);
	assert_true(conf.rules[0].allow);
	assert_int_equal(conf.rules[0].external.first, 1024);
	assert_int_equal(conf.rules[0].external.last, 65535);
	assert_int_equal(conf.rules[0].internal.first, 1);
	assert_int_equal(conf.rules[0].internal.last, 65535);
	assert_false(conf.rules[1].allow);
	assert_int_equal(conf.rules[1].external.first, 1);
	assert_int_equal(conf.backend.type, CONF_BACKEND_AUTO);
	assert_int_equal(conf.backend.mark, 0x10000000);
	assert_false(conf.backend.keep_rules);
	assert_false(conf.backend.keep_flows);
	assert_int_equal(conf.limits.leases_per_client, 128);
	assert_int_equal(conf.limits.leases_total, 65536);
	assert_int_equal(conf.limits.requests_per_second, 100);
	assert_int_equal(conf.limits.lifetime_min_s, 120);
	assert_int_equal(conf.limits.lifetime_max_s, 86400);
	assert_int_equal(conf.limits.igd_lifetime_max_s, 604800);
	assert_int_equal(conf.limits.filters_per_lease, 8);
	assert_int_equal(conf.limits.ports_per_request, 16);
	assert_int_equal(conf.wan.nat64.length, 0);
	assert_int_equal(conf.wan.pinholes, CONF_PINHOLES_ON);
	assert_false(conf.global.igd_same_host_mac);
	assert_int_equal(conf.global.pcp_opcodes, CONF_PCP_MAP | CONF_PCP_PEER);
	assert_false(conf.global.pcp_nonce_relaxed);
	assert_string_equal(conf.global.state_dir, "/var/lib/portreeve");
	assert_string_equal(conf.global.control_socket, "/run/portreeve/control.sock");
	assert_int_equal(conf.global.http_port, 49152);
	assert_false(conf.global.ssdp_strict);
	assert_int_equal(conf.global.log_level, LOG_LEVEL_NOTICE);
	assert_string_equal(conf.global.user, "");
	assert_string_equal(conf.global.net_user, "");
	assert_string_equal(conf.global.friendly_name, "portreeve");
	parse("", &empty);
	assert_memory_equal(&conf, &empty, sizeof(conf));
}

static void test_lan_defaults(void **state)
{
	struct conf conf;

	(void)state;
	parse("[lan lan0]", &conf);
	assert_int_equal(conf.lan_count, 1);
	assert_string_equal(conf.lans[0].name, "lan0");
	assert_int_equal(conf.lans[0].protocols,
			 CONF_PROTOCOL_UPNP | CONF_PROTOCOL_NATPMP | CONF_PROTOCOL_PCP);
	assert_false(conf.lans[0].pcp_anycast);
	assert_int_equal(conf.lans[0].igd, 3);
	assert_int_equal(conf.lans[0].network_count, 0);
}

static void test_wan_and_lan_keys(void **state)
{
	struct conf conf;
	char text[ADDR_TEXT_SIZE], prefix[PREFIX_TEXT_SIZE];

	(void)state;
	parse("[wan]\ninterface = wan0\naddress = 192.0.2.7\nnat = off\n"
	      "bit-rate-up = 40M\nbit-rate-down=1G\n"
	      "[lan lan0]\nprotocols = pcp upnp\nigd = 1\n"
	      "networks = 192.168.2.0/24 2001:db8::/32\n"
	      "[lan guest0]\nprotocols = nat-pmp\nigd = 2\n[lan x]\nigd = both\n",
	      &conf);
	assert_string_equal(conf.wan.interface, "wan0");
	assert_string_equal(addr_format(&conf.wan.address, text), "192.0.2.7");
	assert_false(conf.wan.nat);
	assert_int_equal(conf.wan.bit_rate_up, 40000000);
	assert_int_equal(conf.wan.bit_rate_down, 1000000000);
	assert_int_equal(conf.lan_count, 3);
	assert_int_equal(conf.lans[0].protocols,
			 CONF_PROTOCOL_PCP | CONF_PROTOCOL_UPNP);
	assert_int_equal(conf.lans[0].igd, 1);
	assert_int_equal(conf.lans[0].network_count, 2);
	assert_string_equal(prefix_format(&conf.lans[0].networks[0], prefix),
			    "192.168.2.0/24");
	assert_string_equal(prefix_format(&conf.lans[0].networks[1], prefix),
			    "2001:db8::/32");
	assert_string_equal(conf.lans[1].name, "guest0");
	assert_int_equal(conf.lans[1].protocols, CONF_PROTOCOL_NATPMP);
	assert_int_equal(conf.lans[1].igd, 2);
	assert_int_equal(conf.lans[2].igd, 3);
}

static void test_other_keys(void **state)
{
	struct conf conf;

	(void)state;
	parse("[backend]\ntype = memory\nmark = 0x20\nkeep-rules = yes\nkeep-flows = "
	      "yes\n"
	      "[limits]\nleases-per-client = 0\nleases-total = 4294967295\n"
	      "requests-per-second = 7\nlifetime-min = 2m\nlifetime-max = "
	      "1w\nigd-lifetime-max = 29d24h\n"
	      "[global]\nstate-dir =\ncontrol-socket = /tmp/c.sock\nhttp-port = 5000\n"
	      "ssdp-delay = strict\nlog-level = debug\nuser = u\nnet-user = n\n"
	      "friendly-name = \"Gate ; of # the house\"   ; said\n",
	      &conf);
	assert_int_equal(conf.backend.type, CONF_BACKEND_MEMORY);
	assert_int_equal(conf.backend.mark, 0x20);
	assert_true(conf.backend.keep_rules);
	assert_true(conf.backend.keep_flows);
	assert_int_equal(conf.limits.leases_per_client, 0);
	assert_int_equal(conf.limits.leases_total, UINT32_MAX);
	assert_int_equal(conf.limits.requests_per_second, 7);
	assert_int_equal(conf.limits.lifetime_min_s, 120);
	assert_int_equal(conf.limits.lifetime_max_s, 604800);
	assert_int_equal(conf.limits.igd_lifetime_max_s, 2592000);
	assert_string_equal(conf.global.state_dir, "");
	assert_string_equal(conf.global.control_socket, "/tmp/c.sock");
	assert_int_equal(conf.global.http_port, 5000);
	assert_true(conf.global.ssdp_strict);
	assert_int_equal(conf.global.log_level, LOG_LEVEL_DEBUG);
	assert_string_equal(conf.global.user, "u");
	assert_string_equal(conf.global.net_user, "n");
	assert_string_equal(conf.global.friendly_name, "Gate ; of # the house");
}

/* PCP-43, PCP-50, PCP-80, PCP-114, PCP-115, PCP-119 */
static void test_pcp_keys(void **state)
{
	static const char *const nat64[] = {
		"2001:db8::/32",	 "2001:db8:100::/40",	  "2001:db8:122::/48",
		"2001:db8:122:300::/56", "2001:db8:122:344::/64", "64:ff9b::/96",
	};
	struct conf conf;
	char text[64];

	(void)state;
	parse("[lan a]\npcp-anycast = yes\n[lan b]\npcp-anycast = off\n"
	      "[limits]\nfilters-per-lease = 16\nports-per-request = 64\n"
	      "[global]\npcp-opcodes = map\npcp-nonce-check = relaxed\n",
	      &conf);
	assert_true(conf.lans[0].pcp_anycast);
	assert_false(conf.lans[1].pcp_anycast);
	assert_int_equal(conf.limits.filters_per_lease, CONF_FILTERS_MAX);
	assert_int_equal(conf.limits.ports_per_request, CONF_PORTS_MAX);
	assert_int_equal(conf.global.pcp_opcodes, CONF_PCP_MAP);
	assert_true(conf.global.pcp_nonce_relaxed);
	parse("[limits]\nfilters-per-lease = 1\nports-per-request = 1\n"
	      "[global]\npcp-opcodes = peer map\npcp-nonce-check = strict\n"
	      "[wan]\nnat64-prefix =\n",
	      &conf);
	assert_int_equal(conf.limits.filters_per_lease, 1);
	assert_int_equal(conf.limits.ports_per_request, 1);
	assert_int_equal(conf.global.pcp_opcodes, CONF_PCP_MAP | CONF_PCP_PEER);
	assert_false(conf.global.pcp_nonce_relaxed);
	assert_int_equal(conf.wan.nat64.length, 0);
	for (size_t i = 0; i < COUNT(nat64); i++) {
		const char *slash = strchr(nat64[i], '/');
		uint64_t length = 0;

		assert_true(parse_number(slash + 1, 128, &length));
		(void)snprintf(text, sizeof(text), "[wan]\nnat64-prefix = %s",
			       nat64[i]);
		parse(text, &conf);
		assert_int_equal(conf.wan.nat64.length, length);
	}
}

static void test_stun(void **state)
{
	struct conf conf;

	(void)state;
	parse("[wan]\naddress = stun:stun.example.net", &conf);
	assert_string_equal(conf.wan.stun_host, "stun.example.net");
	assert_int_equal(conf.wan.stun_port, 3478);
	assert_true(addr_is_none(&conf.wan.address));
	parse("[wan]\naddress = stun:192.0.2.7:19302", &conf);
	assert_string_equal(conf.wan.stun_host, "192.0.2.7");
	assert_int_equal(conf.wan.stun_port, 19302);
	parse("[wan]\naddress = 192.0.2.7", &conf);
	assert_string_equal(conf.wan.stun_host, "");
}

static void test_integrate(void **state)
{
	struct conf conf;

	(void)state;
	parse("", &conf);
	assert_int_equal(conf.backend.integrate.how, CONF_INTEGRATE_OFF);
	assert_true(conf.global.hosts_by_mac);
	assert_false(conf.keep_forbidden);
	parse("[backend]\nintegrate = auto\n[global]\nhost-identity = address\n"
	      "[policy]\nforbidden-leases = keep",
	      &conf);
	assert_int_equal(conf.backend.integrate.how, CONF_INTEGRATE_AUTO);
	assert_false(conf.global.hosts_by_mac);
	assert_true(conf.keep_forbidden);
	parse("[backend]\nintegrate = ip6 filter FORWARD", &conf);
	assert_int_equal(conf.backend.integrate.how, CONF_INTEGRATE_CHAIN);
	assert_string_equal(conf.backend.integrate.family, "ip6");
	assert_string_equal(conf.backend.integrate.table, "filter");
	assert_string_equal(conf.backend.integrate.chain, "FORWARD");
	parse("[backend]\nintegrate = off", &conf);
	assert_int_equal(conf.backend.integrate.how, CONF_INTEGRATE_OFF);
}

/* V6FW-1, V6FW-7 */
static void test_upnp_words(void **state)
{
	static const struct {
		const char *text;
		int pinholes;
	} rows[] = {{"on", CONF_PINHOLES_ON},
		    {"off", CONF_PINHOLES_OFF},
		    {"no-firewall", CONF_PINHOLES_NO_FIREWALL}};
	static const struct {
		const char *text;
		int igd;
	} faces[] = {{"1", 1}, {"2", 2}, {"both", 3}};
	char text[64];
	struct conf conf;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		(void)snprintf(text, sizeof(text), "[wan]\npinholes=%s", rows[i].text);
		parse(text, &conf);
		assert_int_equal(conf.wan.pinholes, rows[i].pinholes);
	}
	for (size_t i = 0; i < COUNT(faces); i++) {
		(void)snprintf(text, sizeof(text), "[lan a]\nigd = %s", faces[i].text);
		parse(text, &conf);
		assert_int_equal(conf.lans[0].igd, faces[i].igd);
	}
	parse("[global]\nigd-same-host = mac", &conf);
	assert_true(conf.global.igd_same_host_mac);
	parse("[global]\nigd-same-host = address", &conf);
	assert_false(conf.global.igd_same_host_mac);
}

static void test_words(void **state)
{
	static const struct {
		const char *text;
		int type;
	} types[] = {{"auto", CONF_BACKEND_AUTO},
		     {"nftables", CONF_BACKEND_NFTABLES},
		     {"memory", CONF_BACKEND_MEMORY}};
	static const char *const levels[] = {"error", "warning", "notice", "info",
					     "debug"};
	char text[64];
	struct conf conf;

	(void)state;
	for (size_t i = 0; i < COUNT(types); i++) {
		(void)snprintf(text, sizeof(text), "[backend]\ntype=%s", types[i].text);
		parse(text, &conf);
		assert_int_equal(conf.backend.type, types[i].type);
	}
	for (size_t i = 0; i < COUNT(levels); i++) {
		(void)snprintf(text, sizeof(text), "[global]\nlog-level=%s", levels[i]);
		parse(text, &conf);
		assert_int_equal(conf.global.log_level, i);
	}
	parse("[wan]\ninterface = auto\naddress = auto\nbit-rate-up = 12k\nnat = yes",
	      &conf);
	assert_string_equal(conf.wan.interface, "");
	assert_true(addr_is_none(&conf.wan.address));
	assert_int_equal(conf.wan.bit_rate_up, 12000);
	assert_true(conf.wan.nat);
	parse("[limits]\nlifetime-min = 90s\nlifetime-max = 3h\n[backend]\nmark = 4096",
	      &conf);
	assert_int_equal(conf.limits.lifetime_min_s, 90);
	assert_int_equal(conf.limits.lifetime_max_s, 10800);
	assert_int_equal(conf.limits.igd_lifetime_max_s, 10800);
	assert_int_equal(conf.backend.mark, 4096);
}

static void test_rule(void **state)
{
	const struct prefix client = make_prefix("192.168.1.0/28");
	const struct prefix third = make_prefix("2001:db8::/64");
	struct conf conf;
	const struct conf_rule *rule = &conf.rules[0];

	(void)state;
	parse("[policy]\n\nrule = allow description \"X box ;*\" third-party "
	      "2001:db8::/64 "
	      "lifetime-max 1h internal 5-6 external 80 protocol udp "
	      "client 192.168.1.0/28 lan lan0\nrule = deny protocol tcp\n",
	      &conf);
	assert_int_equal(conf.rule_count, 2);
	assert_true(rule->allow);
	assert_int_equal(rule->line, 3);
	assert_string_equal(rule->lan, "lan0");
	assert_true(rule->has_client);
	assert_memory_equal(&rule->client, &client, sizeof(client));
	assert_int_equal(rule->protocol, IPPROTO_UDP);
	assert_int_equal(rule->external.first, 80);
	assert_int_equal(rule->external.last, 80);
	assert_int_equal(rule->internal.first, 5);
	assert_int_equal(rule->internal.last, 6);
	assert_string_equal(rule->description, "X box ;*");
	assert_int_equal(rule->lifetime_max_s, 3600);
	assert_true(rule->has_third_party);
	assert_memory_equal(&rule->third_party, &third, sizeof(third));
	rule = &conf.rules[1];
	assert_false(rule->allow);
	assert_int_equal(rule->line, 4);
	assert_int_equal(rule->protocol, IPPROTO_TCP);
	assert_int_equal(rule->external.first, 1);
	assert_int_equal(rule->external.last, 65535);
	assert_int_equal(rule->internal.last, 65535);
	assert_false(rule->has_client);
	assert_false(rule->has_third_party);
}

/* What inih alone would take otherwise: see read.c. */
static void test_lines(void **state)
{
	char text[2000];
	struct conf conf;

	(void)state;
	parse("\xef\xbb\xbf# mark\r\n[wan] ; out\r\n\tinterface = a ;b\r\n  nat=off # "
	      "no\r\n",
	      &conf);
	assert_string_equal(conf.wan.interface, "a");
	assert_false(conf.wan.nat);
	parse("[ lan  lan0 ]\nigd: 2", &conf);
	assert_string_equal(conf.lans[0].name, "lan0");
	assert_int_equal(conf.lans[0].igd, 2);
	parse("[global]\nfriendly-name = a;b#c", &conf);
	assert_string_equal(conf.global.friendly_name, "a;b#c");
	/* A comment may be longer than what inih reads. */
	(void)snprintf(text, sizeof(text), "[wan]\nnat = off ; %900s\n# %900s\n", "",
		       "x");
	parse(text, &conf);
	assert_false(conf.wan.nat);
}

/* Files of a temporary directory. */

struct directory {
	char path[64];
};

static int setup_directory(void **state)
{
	struct directory *directory = calloc(1, sizeof(*directory));
	char path[128];

	if (directory == NULL)
		return -1;
	(void)snprintf(directory->path, sizeof(directory->path), "%s",
		       "/tmp/portreeve-conf-XXXXXX");
	if (mkdtemp(directory->path) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/conf.d", directory->path);
	*state = directory;
	return mkdir(path, 0700);
}

static void remove_files(const char *path)
{
	DIR *stream = opendir(path);
	struct dirent *entry;
	char name[512];

	while (stream != NULL && (entry = readdir(stream)) != NULL) {
		(void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (unlink(name) < 0 && entry->d_name[0] != '.')
			(void)rmdir(name);
	}
	if (stream != NULL)
		(void)closedir(stream);
	(void)rmdir(path);
}

static int teardown_directory(void **state)
{
	struct directory *directory = *state;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/conf.d", directory->path);
	remove_files(path);
	remove_files(directory->path);
	free(directory);
	return 0;
}

static void write_file(const struct directory *directory, const char *name,
		       const char *text)
{
	char path[256];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", directory->path, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
	assert_int_equal(fclose(file), 0);
}

static int load(const struct directory *directory, const char *name, struct conf *conf,
		char error[CONF_ERROR_MAX])
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/%s", directory->path, name);
	memset(error, 0, CONF_ERROR_MAX);
	return conf_load(path, conf, error);
}

static void test_drop_ins(void **state)
{
	const struct directory *directory = *state;
	char error[CONF_ERROR_MAX];
	struct conf conf;

	write_file(directory, "p.conf",
		   "[wan]\ninterface = a\nnat = off\n[lan lan0]\nigd = 1\nprotocols = "
		   "pcp\n"
		   "[policy]\nrule = deny external 1\nrule = deny external 2\n");
	write_file(directory, "conf.d/20-b.conf",
		   "[wan]\ninterface = c\n[policy]\nrule = deny external 5\n");
	write_file(directory, "conf.d/10-a.conf",
		   "[wan]\ninterface = b\n[lan lan0]\nigd = 2\n[lan lan1]\n"
		   "[policy]\nrule = deny external 3\nrule = deny external 4\n");
	write_file(directory, "conf.d/99.conf~", "no configuration");
	write_file(directory, "conf.d/.99.conf", "no configuration");
	assert_int_equal(load(directory, "p.conf", &conf, error), 0);
	assert_string_equal(conf.wan.interface, "c");
	assert_false(conf.wan.nat);
	assert_int_equal(conf.lan_count, 2);
	assert_int_equal(conf.lans[0].igd, 2);
	assert_int_equal(conf.lans[0].protocols, CONF_PROTOCOL_PCP);
	/* Rules of the last file are asked first. */
	assert_int_equal(conf.rule_count, 5);
	assert_int_equal(conf.rules[0].external.first, 5);
	assert_int_equal(conf.rules[1].external.first, 3);
	assert_int_equal(conf.rules[2].external.first, 4);
	assert_int_equal(conf.rules[3].external.first, 1);
	assert_int_equal(conf.rules[4].external.first, 2);
}

static void assert_load_error(const struct directory *directory, const char *name,
			      int result, const char *message)
{
	char error[CONF_ERROR_MAX], expected[CONF_ERROR_MAX];
	struct conf conf;

	assert_int_equal(load(directory, name, &conf, error), result);
	(void)snprintf(expected, sizeof(expected), "%s/%s", directory->path, message);
	assert_string_equal(error, expected);
}

static void test_load_errors(void **state)
{
	const struct directory *directory = *state;

	assert_load_error(directory, "p.conf", -ENOENT,
			  "p.conf: there is no such file; check the name");
	assert_load_error(directory, "conf.d", -EISDIR,
			  "conf.d: this is a directory; name the file in it");
	write_file(directory, "p.conf", "[limits]\nlifetime-min = 1h\n");
	write_file(directory, "conf.d/1.conf", "\n[limits]\nlifetime-max = 60\n");
	assert_load_error(
		directory, "p.conf", -EINVAL,
		"conf.d/1.conf:3: lifetime-min is 3600 s and lifetime-max 60 s; "
		"the first must not exceed the second");
	write_file(directory, "conf.d/1.conf", "[wan]\nnatt = 1\n");
	assert_load_error(
		directory, "p.conf", -EINVAL,
		"conf.d/1.conf:2: unknown key \"natt\" in [wan]; did you mean "
		"\"nat\"?");
}

static void test_unreadable(void **state)
{
	const struct directory *directory = *state;
	const bool is_root = geteuid() == 0;
	char path[256], error[CONF_ERROR_MAX];
	struct conf conf;
	int result;

	write_file(directory, "p.conf", "");
	(void)snprintf(path, sizeof(path), "%s/p.conf", directory->path);
	assert_int_equal(chmod(path, 0), 0);
	(void)snprintf(path, sizeof(path), "%s/conf.d", directory->path);
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(chmod(directory->path, 0711), 0);
	/* Root reads everything: be nobody for a moment. */
	if (is_root)
		assert_int_equal(seteuid(NOBODY), 0);
	result = load(directory, "p.conf", &conf, error);
	if (is_root)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(result, -EACCES);
	assert_non_null(
		strstr(error, "/p.conf: no permission to read it; check owner"));
}

static void test_huge_file(void **state)
{
	const struct directory *directory = *state;
	char path[256];

	write_file(directory, "p.conf", "");
	(void)snprintf(path, sizeof(path), "%s/p.conf", directory->path);
	assert_int_equal(truncate(path, 2000000), 0);
	assert_load_error(
		directory, "p.conf", -EFBIG,
		"p.conf: the file is too large; a configuration has at most 1 "
		"MiB");
}

/* The commented defaults. */

static char *read_defaults(void)
{
	FILE *file = fopen(DEFAULTS_FILE, "r");
	char *text = calloc(1, 65536);

	assert_non_null(file);
	assert_non_null(text);
	assert_true(fread(text, 1, 65535, file) > 0);
	assert_int_equal(fclose(file), 0);
	return text;
}

static void test_defaults_file(void **state)
{
	char *text = read_defaults();
	struct conf conf, built_in;

	(void)state;
	conf_init(&built_in);
	parse(text, &conf);
	assert_memory_equal(&conf, &built_in, sizeof(conf));
	free(text);
}

/* With "#" taken from each "#key = value" the values are the defaults still. */
static void test_defaults_file_uncommented(void **state)
{
	char *text = read_defaults();
	struct conf conf, built_in, lan;

	(void)state;
	for (char *at = text; *at != '\0'; at++)
		if (*at == '#' && (at == text || at[-1] == '\n') && at[1] != ' ')
			*at = ' ';
	conf_init(&built_in);
	parse(text, &conf);
	parse("[lan lan0]", &lan);
	assert_int_equal(conf.lan_count, 1);
	assert_memory_equal(&conf.lans[0], &lan.lans[0], sizeof(lan.lans[0]));
	memset(&conf.lans[0], 0, sizeof(conf.lans[0]));
	conf.lan_count = 0;
	for (size_t i = 0; i < conf.rule_count; i++) {
		assert_int_not_equal(conf.rules[i].line, 0);
		conf.rules[i].line = 0;
	}
	assert_memory_equal(&conf, &built_in, sizeof(conf));
	free(text);
}

static void test_defaults_file_is_complete(void **state)
{
	char *text = read_defaults();
	const struct conf_section *section;
	size_t keys = 0;

	(void)state;
	for (size_t i = 0; (section = conf_section_get(i)) != NULL; i++)
		for (size_t k = 0; k < section->field_count; k++, keys++) {
			char line[64];

			(void)snprintf(line, sizeof(line),
				       "\n#%s =", section->fields[k].key);
			if (strstr(text, line) == NULL)
				fail_msg("no line %s", line + 1);
		}
	assert_int_equal(keys, 38);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_lan_defaults),
		cmocka_unit_test(test_wan_and_lan_keys),
		cmocka_unit_test(test_other_keys),
		cmocka_unit_test(test_pcp_keys),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_stun),
		cmocka_unit_test(test_integrate),
		cmocka_unit_test(test_upnp_words),
		cmocka_unit_test(test_rule),
		cmocka_unit_test(test_lines),
		cmocka_unit_test_setup_teardown(test_drop_ins, setup_directory,
						teardown_directory),
		cmocka_unit_test_setup_teardown(test_load_errors, setup_directory,
						teardown_directory),
		cmocka_unit_test_setup_teardown(test_unreadable, setup_directory,
						teardown_directory),
		cmocka_unit_test_setup_teardown(test_huge_file, setup_directory,
						teardown_directory),
		cmocka_unit_test(test_defaults_file),
		cmocka_unit_test(test_defaults_file_uncommented),
		cmocka_unit_test(test_defaults_file_is_complete),
	};

	return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
