/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What a change costs in the nftables backend, at growing table sizes, or at one:
 *
 *   ip netns add bench
 *   ip netns exec bench build/release/test/bench/bench_backend
 *                                        [--ipv6] [--rules N [--compare]] [--json]
 *
 * Run it in a network namespace of its own: it makes and removes table inet portreeve.
 * A rule of IPv4 is four elements there, one of IPv6, with --ipv6, is one. What the
 * kernel takes for them is what it has more of in slab, vmalloc and per-CPU memory, so
 * nothing else should be busy then. With --compare what is there is compared at the
 * end: the kernel walks a set from its beginning for each part of a dump, so that half
 * a million take it a minute.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/backend.h"
#include "base/log.h"
#include "test/bench/load.h"

#define SAMPLES 2000
#define BATCH 64
#define HOSTS 16
#define MARK 0x10000000
#define TIMEOUT_MS 3600000
#define PORT_FIRST 1024
/* Ports of each host of IPv6. */
#define PORTS6 50000
/* As many as an IPv4 address has ports for, by both protocols, less the samples. */
#define RULES4_MAX (2 * (65536 - PORT_FIRST) - SAMPLES - BATCH)
#define RULES6_MAX 4000000

struct bench {
	const struct backend_ops *ops;
	struct backend *backend;
	size_t held;
	bool ipv6, json, compares;
};

static uint64_t get_time_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void fail(const char *what, int error)
{
	(void)fprintf(stderr, "%s: %s\n", what, strerror(-error));
	exit(1);
}

/* Rule number n: every one has its own external port and internal endpoint. */
static struct rule make_rule4(size_t n)
{
	return (struct rule){
		.protocol = n % 2 ? IPPROTO_TCP : IPPROTO_UDP,
		.outbound = true,
		.external_port = (uint16_t)(PORT_FIRST + n / 2),
		.internal_port = (uint16_t)(PORT_FIRST + n / 2),
		.external = addr_from_ipv4((struct in_addr){htonl(0xcb007101)}),
		.internal = addr_from_ipv4(
			(struct in_addr){htonl(0xc0a84d02 + (uint32_t)(n % HOSTS))}),
		.timeout_ms = TIMEOUT_MS,
	};
}

static struct rule make_rule6(size_t n)
{
	const uint32_t host = htonl((uint32_t)(n / 2 / PORTS6 + 2));
	struct in6_addr addr = {.s6_addr = {0x20, 0x01, 0x0d, 0xb8}};
	struct rule rule = make_rule4(n % ((size_t)2 * PORTS6));

	memcpy(&addr.s6_addr[12], &host, sizeof(host));
	rule.outbound = false;
	rule.external = rule.internal = addr_from_ipv6(&addr);
	return rule;
}

static struct rule make_rule(const struct bench *bench, size_t n)
{
	return bench->ipv6 ? make_rule6(n) : make_rule4(n);
}

/* Units: KiB that the kernel has taken for itself, where elements are. */
static int64_t get_kernel_kib(void)
{
	static const char *const names[] = {"SUnreclaim:", "VmallocUsed:", "Percpu:"};
	FILE *file = fopen("/proc/meminfo", "re");
	int64_t sum = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (strncmp(line, names[i], strlen(names[i])) == 0)
				sum += strtoll(line + strlen(names[i]), NULL, 10);
	if (file)
		(void)fclose(file);
	return sum;
}

static int compare_times(const void *a, const void *b)
{
	const uint64_t *left = a;
	const uint64_t *right = b;

	return (*left > *right) - (*left < *right);
}

static void print_times(const struct bench *bench, const char *what, uint64_t *samples,
			size_t count)
{
	uint64_t median;
	uint64_t late;

	qsort(samples, count, sizeof(*samples), compare_times);
	median = samples[count / 2];
	late = samples[count * 99 / 100];
	printf(bench->json ? "{\"what\":\"%s\",\"held\":%zu,\"p50_us\":%.1f,"
			     "\"p99_us\":%.1f}\n"
			   : "%-28s %6zu rules held  p50 %7.1f us  p99 %7.1f us\n",
	       what, bench->held, (double)median / 1000, (double)late / 1000);
}

static void apply(const struct bench *bench, const struct backend_change *changes,
		  size_t count)
{
	int error = bench->ops->apply(bench->backend, changes, count);

	if (error < 0)
		fail("apply", error);
}

static struct backend_change make_change(const struct bench *bench,
					 enum change_kind kind, size_t n)
{
	return (struct backend_change){.kind = kind,
				       .before = make_rule(bench, n),
				       .after = make_rule(bench, n)};
}

/* One rule at a time: the sample of `kind` is timed, what undoes it is not. */
static void measure_one(const struct bench *bench, const char *what,
			enum change_kind kind)
{
	static uint64_t samples[SAMPLES];
	static struct backend_change undo[SAMPLES];

	for (size_t i = 0; i < SAMPLES; i++) {
		struct backend_change change =
			make_change(bench, kind, bench->held + i);
		uint64_t begin = get_time_ns();

		apply(bench, &change, 1);
		samples[i] = get_time_ns() - begin;
		undo[i] = make_change(bench, CHANGE_DELETE, bench->held + i);
	}
	print_times(bench, what, samples, SAMPLES);
	if (kind == CHANGE_REPLACE)
		apply(bench, undo, SAMPLES);
}

static void measure_batches(const struct bench *bench, enum change_kind kind,
			    const char *what)
{
	struct backend_change changes[BATCH];
	uint64_t spent_ns = 0;
	int64_t cpu_ns = 0;
	size_t done = 0;

	for (size_t i = 0; i < SAMPLES; i += BATCH) {
		uint64_t begin;

		for (size_t k = 0; k < BATCH; k++)
			changes[k] = make_change(bench, kind, bench->held + i + k);
		begin = get_time_ns();
		cpu_ns -= load_get_cpu_ns();
		apply(bench, changes, BATCH);
		cpu_ns += load_get_cpu_ns();
		spent_ns += get_time_ns() - begin;
		done += BATCH;
	}
	printf(bench->json
		       ? "{\"what\":\"%s\",\"held\":%zu,\"per_second\":%.0f,"
			 "\"cpu_us\":%.2f}\n"
		       : "%-28s %6zu rules held  %.0f rules/s, %.2f us of CPU each\n",
	       what, bench->held, (double)done * 1e9 / (double)spent_ns,
	       (double)cpu_ns / 1000 / (double)done);
}

static void measure_sync(const struct bench *bench, const char *what)
{
	struct rule *rules = calloc(bench->held + 1, sizeof(*rules));
	int64_t kernel_kib = get_kernel_kib();
	size_t added;
	size_t removed;
	uint64_t spent_ns;
	int64_t cpu_ns;
	int error;

	if (!rules)
		fail("calloc", -12);
	for (size_t i = 0; i < bench->held; i++)
		rules[i] = make_rule(bench, i);
	spent_ns = get_time_ns();
	cpu_ns = load_get_cpu_ns();
	error = bench->ops->sync(bench->backend, rules, bench->held, &added, &removed);
	cpu_ns = load_get_cpu_ns() - cpu_ns;
	spent_ns = get_time_ns() - spent_ns;
	if (error < 0)
		fail("sync", error);
	printf(bench->json
		       ? "{\"what\":\"%s\",\"held\":%zu,\"ms\":%.1f,"
			 "\"cpu_ms\":%.1f,\"added\":%zu,\"removed\":%zu,"
			 "\"kernel_kib\":%jd}\n"
		       : "%-28s %6zu rules       %.1f ms, %.1f ms of CPU (%zu added, "
			 "%zu removed, %jd KiB more in the kernel)\n",
	       what, bench->held, (double)spent_ns / 1e6, (double)cpu_ns / 1e6, added,
	       removed, (intmax_t)(get_kernel_kib() - kernel_kib));
	free(rules);
}

static void on_disturbed(void *user)
{
	(void)user;
	(void)fprintf(stderr, "disturbed by ourselves\n");
}

static void measure_size(struct bench *bench, size_t rules)
{
	bench->held = rules;
	measure_sync(bench, "sync, some missing");
	measure_one(bench, "ADD", CHANGE_ADD);
	measure_one(bench, "REPLACE", CHANGE_REPLACE);
	measure_batches(bench, CHANGE_ADD, "ADD by 64");
	measure_batches(bench, CHANGE_REPLACE, "REPLACE by 64");
	measure_batches(bench, CHANGE_DELETE, "DELETE by 64");
	measure_one(bench, "DELETE", CHANGE_DELETE);
	(void)fflush(stdout);
	if (bench->compares)
		measure_sync(bench, "sync, all in place");
	bench->ops->event(bench->backend);
}

int main(int argc, char **argv)
{
	static const struct backend_events events = {.disturbed = on_disturbed};
	static const size_t sizes[] = {0, 1000, 10000, 50000};
	struct backend_config config = {.mark = MARK};
	struct bench bench = {.ops = backend_get_nftables()};
	uint64_t rules = 0;
	const struct load_option options[] = {
		{.name = "ipv6", .flag = &bench.ipv6},
		{.name = "compare", .flag = &bench.compares},
		{.name = "rules", .number = &rules, .max = RULES6_MAX},
		{.name = "json", .flag = &bench.json},
		{.name = NULL},
	};
	int error;

	log_init("bench_backend", LOG_LEVEL_NOTICE);
	if (!load_parse_options(argc, argv, options) ||
	    (!bench.ipv6 && rules > RULES4_MAX)) {
		(void)fprintf(stderr,
			      "Usage: bench_backend [--ipv6] [--rules N [--compare]] "
			      "[--json]\n"
			      "At most %d rules, with --ipv6 %d.\n",
			      RULES4_MAX, RULES6_MAX);
		return 2;
	}
	error = bench.ops->open(&config, &events, NULL, &bench.backend);
	if (error < 0)
		fail("open", error);
	if (rules > 0)
		measure_size(&bench, rules);
	else
		bench.compares = true;
	for (size_t i = 0; rules == 0 && i < sizeof(sizes) / sizeof(sizes[0]); i++)
		measure_size(&bench, sizes[i]);
	bench.ops->close(bench.backend, false);
	return 0;
}
