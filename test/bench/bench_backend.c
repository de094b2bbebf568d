/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What a change costs in the nftables backend, at growing table sizes:
 *
 *   ip netns add bench && ip netns exec bench build/release/test/bench/bench_backend
 *
 * Run it in a network namespace of its own: it makes and removes table inet portreeve.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/backend.h"
#include "base/log.h"

#define SAMPLES 2000
#define BATCH 64
#define HOSTS 16
#define MARK 0x10000000
#define TIMEOUT_MS 3600000

static const size_t sizes[] = {0, 1000, 10000, 50000};

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
static struct rule make_rule(size_t n)
{
	return (struct rule){
		.protocol = n % 2 ? IPPROTO_TCP : IPPROTO_UDP,
		.outbound = true,
		.external_port = (uint16_t)(1024 + n / 2),
		.internal_port = (uint16_t)(1024 + n / 2),
		.external = addr_from_ipv4((struct in_addr){htonl(0xcb007101)}),
		.internal = addr_from_ipv4(
			(struct in_addr){htonl(0xc0a84d02 + (uint32_t)(n % HOSTS))}),
		.timeout_ms = TIMEOUT_MS,
	};
}

static int compare_times(const void *a, const void *b)
{
	const uint64_t *left = a;
	const uint64_t *right = b;

	return (*left > *right) - (*left < *right);
}

static void print_times(const char *what, size_t held, uint64_t *samples, size_t count)
{
	uint64_t median;
	uint64_t late;

	qsort(samples, count, sizeof(*samples), compare_times);
	median = samples[count / 2];
	late = samples[count * 99 / 100];
	printf("%-28s %6zu rules held  p50 %7.1f us  p99 %7.1f us\n", what, held,
	       (double)median / 1000, (double)late / 1000);
}

struct bench {
	const struct backend_ops *ops;
	struct backend *backend;
	size_t held;
};

static void apply(const struct bench *bench, const struct backend_change *changes,
		  size_t count)
{
	int error = bench->ops->apply(bench->backend, changes, count);

	if (error < 0)
		fail("apply", error);
}

static struct backend_change make_change(enum change_kind kind, size_t n)
{
	return (struct backend_change){
		.kind = kind, .before = make_rule(n), .after = make_rule(n)};
}

/* One rule at a time: the sample of `kind` is timed, what undoes it is not. */
static void measure_one(const struct bench *bench, const char *what,
			enum change_kind kind)
{
	static uint64_t samples[SAMPLES];
	static struct backend_change undo[SAMPLES];

	for (size_t i = 0; i < SAMPLES; i++) {
		struct backend_change change = make_change(kind, bench->held + i);
		uint64_t begin = get_time_ns();

		apply(bench, &change, 1);
		samples[i] = get_time_ns() - begin;
		undo[i] = make_change(CHANGE_DELETE, bench->held + i);
	}
	print_times(what, bench->held, samples, SAMPLES);
	if (kind == CHANGE_REPLACE)
		apply(bench, undo, SAMPLES);
}

static void measure_batches(const struct bench *bench, enum change_kind kind,
			    const char *what)
{
	struct backend_change changes[BATCH];
	uint64_t spent_ns = 0;
	size_t done = 0;

	for (size_t i = 0; i < SAMPLES; i += BATCH) {
		uint64_t begin;

		for (size_t k = 0; k < BATCH; k++)
			changes[k] = make_change(kind, bench->held + i + k);
		begin = get_time_ns();
		apply(bench, changes, BATCH);
		spent_ns += get_time_ns() - begin;
		done += BATCH;
	}
	printf("%-28s %6zu rules held  %.0f rules/s\n", what, bench->held,
	       (double)done * 1e9 / (double)spent_ns);
}

static void measure_sync(const struct bench *bench, const char *what)
{
	struct rule *rules = calloc(bench->held + 1, sizeof(*rules));
	size_t added;
	size_t removed;
	uint64_t begin;
	int error;

	if (!rules)
		fail("calloc", -12);
	for (size_t i = 0; i < bench->held; i++)
		rules[i] = make_rule(i);
	begin = get_time_ns();
	error = bench->ops->sync(bench->backend, rules, bench->held, &added, &removed);
	if (error < 0)
		fail("sync", error);
	printf("%-28s %6zu rules       %.1f ms (%zu added, %zu removed)\n", what,
	       bench->held, (double)(get_time_ns() - begin) / 1e6, added, removed);
	free(rules);
}

static void on_disturbed(void *user)
{
	(void)user;
	printf("disturbed by ourselves\n");
}

int main(void)
{
	static const struct backend_events events = {.disturbed = on_disturbed};
	struct backend_config config = {.mark = MARK};
	struct bench bench = {.ops = backend_get_nftables()};
	int error;

	log_init("bench_backend", LOG_LEVEL_NOTICE);
	error = bench.ops->open(&config, &events, NULL, &bench.backend);
	if (error < 0)
		fail("open", error);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		bench.held = sizes[i];
		measure_sync(&bench, "sync, some missing");
		measure_sync(&bench, "sync, all in place");
		measure_one(&bench, "ADD", CHANGE_ADD);
		measure_one(&bench, "REPLACE", CHANGE_REPLACE);
		measure_batches(&bench, CHANGE_ADD, "ADD by 64");
		measure_batches(&bench, CHANGE_REPLACE, "REPLACE by 64");
		measure_batches(&bench, CHANGE_DELETE, "DELETE by 64");
		measure_one(&bench, "DELETE", CHANGE_DELETE);
		bench.ops->event(bench.backend);
	}
	bench.ops->close(bench.backend, false);
	return 0;
}
