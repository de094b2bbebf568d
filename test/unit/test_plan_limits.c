/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one host may take from all others: leases over IPv6, and filters that cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/unit/plan_lab.h"

#define LEASES_TOTAL 7
#define HOSTS_MAX 200
#define FILTERS 8

static const char *format_host(unsigned int number, char text[32])
{
	(void)snprintf(text, 32, "192.168.77.%u", number + 2);
	return text;
}

/* A host with eight prefixes on one of its ports. */
static enum result map_wide(struct plan_lab *lab, const char *host, uint16_t port)
{
	char prefix[32];

	lab_ask(lab, REQUEST_MAP, host, port, port);
	for (unsigned int i = 0; i < FILTERS; i++) {
		(void)snprintf(prefix, sizeof(prefix),
			       addr_is_ipv4(&lab->request.internal)
				       ? "198.51.%u.0/24"
				       : "2001:db8:%u::/48",
			       i);
		lab_filter(lab, prefix, 0);
	}
	return lab_decide(lab);
}

/* PCP-61: a host has as many IPv6 addresses as it likes; IPv4 hosts keep their half. */
static void test_ipv6_share(void **state)
{
	struct plan_lab *lab = *state;
	char host[32];

	lab->context.leases_total = LEASES_TOTAL;
	for (unsigned int i = 0; i < 4; i++) {
		(void)snprintf(host, sizeof(host), "2001:db8:77::%u", i + 2);
		assert_int_equal(lab_map(lab, host, 5000, 5000), RESULT_OK);
	}
	assert_int_equal(lab_map(lab, "2001:db8:77::9", 5000, 5000), RESULT_TABLE_FULL);
	assert_int_equal(lab_map(lab, "2001:db8:77::2", 5000, 5000), RESULT_OK);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(
			lab_map(lab, format_host(i, host), 6000, (uint16_t)(6000 + i)),
			RESULT_OK);
	assert_int_equal(lab_map(lab, format_host(9, host), 6000, 6009),
			 RESULT_TABLE_FULL);
}

/* PCP-80: filters that the kernel finds only by a walk are few, of one host and all. */
static void test_wide_filters(void **state)
{
	struct plan_lab *lab = *state;
	unsigned int each = PLAN_WIDE_FILTERS_OF_CLIENT_MAX / FILTERS;
	unsigned int hosts = PLAN_WIDE_FILTERS_MAX / PLAN_WIDE_FILTERS_OF_CLIENT_MAX;
	char host[32];

	lab->context.leases_total = 0;
	lab->context.leases_per_client = 0;
	lab->context.filters_max = FILTERS;
	for (unsigned int i = 0; i < hosts; i++) {
		for (unsigned int n = 0; n < each; n++)
			assert_int_equal(map_wide(lab, format_host(i, host),
						  (uint16_t)(5000 + 100 * i + n)),
					 RESULT_OK);
		/* no more of this host, and nothing changes */
		assert_int_equal(map_wide(lab, host, (uint16_t)(5000 + 100 * i + each)),
				 RESULT_PEERS);
		assert_null(lab_find(lab, host, (uint16_t)(5000 + 100 * i + each)));
	}
	assert_int_equal(map_wide(lab, format_host(HOSTS_MAX, host), 5000),
			 RESULT_PEERS);
	/* renewed, and without filters, or with whole hosts, as before */
	assert_int_equal(map_wide(lab, format_host(0, host), 5000), RESULT_OK);
	lab_ask(lab, REQUEST_MAP, format_host(HOSTS_MAX, host), 5000, 40000);
	lab_filter(lab, "198.51.100.1", 0);
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(lab_map(lab, host, 5001, 40001), RESULT_OK);
	/* what ends makes room */
	lab_ask(lab, REQUEST_UNMAP, format_host(0, host), 5000, 0)->lifetime_s = 0;
	assert_int_equal(lab_decide(lab), RESULT_OK);
	assert_int_equal(map_wide(lab, format_host(HOSTS_MAX, host), 5002), RESULT_OK);
}

/* One IPv6 host by its many addresses: those of IPv4 have what they need (PCP-80). */
static void test_wide_filters_of_ipv6(void **state)
{
	struct plan_lab *lab = *state;
	unsigned int share = plan_get_ipv6_share(PLAN_WIDE_FILTERS_MAX) / FILTERS;
	char host[32];

	lab->context.leases_total = 0;
	lab->context.leases_per_client = 0;
	lab->context.filters_max = FILTERS;
	for (unsigned int i = 0; i < share; i++) {
		(void)snprintf(host, sizeof(host), "2001:db8:77::%x", i + 2);
		assert_int_equal(map_wide(lab, host, 5000), RESULT_OK);
	}
	assert_int_equal(table_get_ipv6_wide_count(lab->table), share * FILTERS);
	assert_int_equal(map_wide(lab, "2001:db8:77::9999", 5000), RESULT_PEERS);
	lab_ask(lab, REQUEST_PINHOLE, "2001:db8:77::9999", 5000, 0)->remote_port = 443;
	lab->request.origin = ORIGIN_IGD;
	assert_int_equal(lab_decide(lab), RESULT_PEERS);
	assert_int_equal(map_wide(lab, host, 5000), RESULT_OK);
	for (unsigned int i = 0; i < share; i++)
		assert_int_equal(map_wide(lab, format_host(i / 8, host),
					  (uint16_t)(5000 + 10 * (i / 8) + i % 8)),
				 RESULT_OK);
	assert_int_equal(map_wide(lab, format_host(HOSTS_MAX, host), 9000),
			 RESULT_PEERS);
	assert_int_equal(table_get_wide_count(lab->table), PLAN_WIDE_FILTERS_MAX);
}

/* What the indexes know a lease by is not overwritten: they would keep it when it is
 * gone. */
static void test_update_of_another(void **state)
{
	struct plan_lab *lab = *state;

	for (int what = 0; what < 6; what++) {
		struct lease lease = *lab_make(lab, ORIGIN_IGD, C1, 5000, 5000);
		pid_t child;
		int status = 0;

		lease.external_port = what == 1 ? 5001 : lease.external_port;
		lease.internal_port = what == 2 ? 5001 : lease.internal_port;
		lease.pinhole = what == 3 ? 7 : lease.pinhole;
		lease.client = what == 4 ? lab_address(C2) : lease.client;
		lease.remote = what == 5 ? lab_address(C2) : lease.remote;
		lease.lan = 2;
		child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			(void)!freopen("/dev/null", "w", stderr);
			(void)signal(SIGABRT, SIG_DFL);
			_exit(table_update(lab->table, &lease));
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(WIFSIGNALED(status), what != 0);
	}
}

#define TEST(name)                                                                     \
	cmocka_unit_test_setup_teardown(name, plan_lab_setup, plan_lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ipv6_share),
		TEST(test_wide_filters),
		TEST(test_wide_filters_of_ipv6),
		TEST(test_update_of_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
