/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nftables backend while netlink fails: at each call of a scenario in turn, in each
 * way that it can. What is answered 0 the kernel holds; after an error it holds what it
 * held, or sync() puts it right; nothing hangs, and nothing is lost. With
 * PORTREEVE_FAULTS=all each call fails with each error, else with one of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/nft.h"
#include "backends/nft_foreign.h"
#include "base/log.h"
#include "test/unit/netlink_faults.h"
#include "test/unit/netns.h"

#define MARK 0x10000000
#define RULES_MAX 16
/* Calls of a scenario: more than some, and never so many. */
#define CALLS_MIN 25
#define CALLS_MAX 1000
#define WORKERS 6
/* Steps after the fault that are looked at closely, and the last one. */
#define CHECKS 3
#define FAILED 1000000
/* One run takes milliseconds. */
#define HANGS_S 20
#define WAN "203.0.113.1"

struct scene {
	const struct backend_ops *ops;
	struct backend *backend;
	struct nft_socket look; /* our own eyes */
	struct rule rules[RULES_MAX];
	size_t count; /* that the kernel shall hold */
	size_t errors;
	size_t checks; /* since the fault */
	struct backend_network network;
};

static bool forbidden;

static void on_disturbed(void *user)
{
	(void)user;
}

static const struct backend_events events = {.disturbed = on_disturbed};

static struct ip_addr get_addr(const char *text)
{
	struct ip_addr addr;

	assert_true(addr_parse(text, &addr));
	return addr;
}

static struct rule make_rule(const char *internal, uint16_t port)
{
	bool ipv4 = !strchr(internal, ':');

	return (struct rule){
		.protocol = IPPROTO_UDP,
		.outbound = ipv4,
		.external_port = port,
		.internal_port = port,
		.external = get_addr(ipv4 ? WAN : internal),
		.internal = get_addr(internal),
		.timeout_ms = 600000,
	};
}

static struct rule add_filter(struct rule rule, const char *prefix, uint16_t port)
{
	struct rule_filter *filter = &rule.filters[rule.filter_count++];

	assert_true(prefix_parse(prefix, &filter->prefix));
	filter->port = port;
	return rule;
}

/* --- what the kernel holds, by a socket that does not fail --- */

struct view {
	struct rule rules[2 * RULES_MAX];
	size_t count;
};

static int see(void *user, const struct rule *rule)
{
	struct view *view = user;

	assert_true(view->count < 2 * RULES_MAX);
	view->rules[view->count++] = *rule;
	return 0;
}

static void look(struct scene *scene, struct view *view)
{
	struct nft_elements there = {0};
	struct ip_addr external = get_addr(WAN);
	int error;

	fault_hold(true);
	error = nft_elements_dump_all(&there, &scene->look, NFT_DNAT4);
	assert_true(error == 0 || error == -ENOENT);
	nft_elements_sort(&there);
	view->count = 0;
	assert_int_equal(nft_rules_visit(&there, &external, see, view), 0);
	nft_elements_fini(&there);
	fault_hold(false);
}

static bool holds(const struct view *view, const struct rule *rules, size_t count)
{
	if (view->count != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		bool found = false;

		for (size_t j = 0; j < count && !found; j++)
			found = rule_equal(&rules[i], &view->rules[j]);
		if (!found)
			return false;
	}
	return true;
}

static void check(struct scene *scene)
{
	struct view view;

	/* Looking costs most of the time, and what was right will stay so. */
	if (!fault_has_happened() || scene->checks++ >= CHECKS)
		return;
	look(scene, &view);
	assert_true(holds(&view, scene->rules, scene->count));
}

/* --- the steps, each tried again after an error, as core does --- */

/* An error may have left too much or too little: sync() must put it right. */
static void mend(struct scene *scene, int error)
{
	size_t added, removed;

	assert_true(error < 0);
	scene->errors++;
	assert_int_equal(scene->ops->sync(scene->backend, scene->rules, scene->count,
					  &added, &removed),
			 0);
	check(scene);
}

static void do_open(struct scene *scene)
{
	const struct backend_config config = {.mark = MARK};
	int error = scene->ops->open(&config, &events, scene, &scene->backend);

	if (error == 0)
		return;
	scene->errors++;
	assert_int_equal(scene->ops->open(&config, &events, scene, &scene->backend), 0);
}

static void do_network(struct scene *scene, const char *address)
{
	int error;

	scene->network = (struct backend_network){.wan = "wan0",
						  .lan_count = 1,
						  .lans = {"lan0"},
						  .address_count = 1,
						  .addresses = {get_addr(address)}};
	error = scene->ops->set_network(scene->backend, &scene->network);
	if (error == 0)
		return;
	mend(scene, error);
	assert_int_equal(scene->ops->set_network(scene->backend, &scene->network), 0);
}

static void do_sync(struct scene *scene)
{
	size_t added, removed;
	int error = scene->ops->sync(scene->backend, scene->rules, scene->count, &added,
				     &removed);

	if (error < 0)
		mend(scene, error);
	check(scene);
}

/* after: what the kernel shall hold when the changes are made */
static void do_apply(struct scene *scene, const struct backend_change *changes,
		     size_t count, const struct scene *after)
{
	int error = scene->ops->apply(scene->backend, changes, count);

	if (error < 0) {
		mend(scene, error);
		error = scene->ops->apply(scene->backend, changes, count);
	}
	assert_int_equal(error, 0);
	memcpy(scene->rules, after->rules, sizeof(scene->rules));
	scene->count = after->count;
	check(scene);
}

static void do_look(struct scene *scene)
{
	struct view view = {.count = 0};
	struct rule_counters counters;
	int error = scene->ops->dump(scene->backend, see, &view);

	if (error < 0) {
		scene->errors++;
		view.count = 0;
		assert_int_equal(scene->ops->dump(scene->backend, see, &view), 0);
	}
	assert_true(holds(&view, scene->rules, scene->count));
	for (size_t i = 0; i < scene->count; i++) {
		error = scene->ops->counters(scene->backend, &scene->rules[i],
					     &counters);
		if (error < 0) {
			scene->errors++;
			assert_int_equal(scene->ops->counters(scene->backend,
							      &scene->rules[i],
							      &counters),
					 0);
		}
	}
}

static void do_changes(struct scene *scene)
{
	const struct rule four = make_rule("192.168.77.2", 4000);
	const struct rule six = make_rule("fd77::2", 4000);
	const struct rule more = make_rule("192.168.77.3", 4001);
	const struct rule narrow = add_filter(more, "198.51.100.0/24", 443);
	const struct rule other = add_filter(more, "203.0.113.9/32", 0);
	const struct backend_change add[] = {{.kind = CHANGE_ADD, .after = four},
					     {.kind = CHANGE_ADD, .after = six},
					     {.kind = CHANGE_ADD, .after = more}};
	const struct backend_change renew[] = {
		{.kind = CHANGE_REPLACE, .before = four, .after = four},
		{.kind = CHANGE_REPLACE, .before = more, .after = narrow}};
	/* what leaves a hash goes by a second transaction */
	const struct backend_change move = {
		.kind = CHANGE_REPLACE, .before = narrow, .after = other};
	const struct backend_change back = {
		.kind = CHANGE_REPLACE, .before = other, .after = narrow};
	const struct backend_change delete[] = {{.kind = CHANGE_DELETE, .before = four},
						{.kind = CHANGE_DELETE, .before = six}};

	do_apply(scene, add, 3,
		 &(struct scene){.rules = {four, six, more}, .count = 3});
	do_apply(scene, renew, 2,
		 &(struct scene){.rules = {four, six, narrow}, .count = 3});
	do_apply(scene, &move, 1,
		 &(struct scene){.rules = {four, six, other}, .count = 3});
	do_apply(scene, &back, 1,
		 &(struct scene){.rules = {four, six, narrow}, .count = 3});
	do_look(scene);
	do_apply(scene, delete, 2, &(struct scene){.rules = {narrow}, .count = 1});
	/* the flows of all of them; in the kernel's table of connections that takes as
	 * long as all the rest */
	if (!fault_has_happened())
		scene->ops->event(scene->backend);
}

static void remove_table(struct scene *scene)
{
	struct nft_batch batch = {0};

	nft_batch_begin(&batch, &scene->look);
	nft_batch_drop_table(&batch);
	assert_int_equal(nft_batch_send(&batch, &scene->look), 0);
	nft_batch_fini(&batch);
}

/* Returns whether the fault has happened. */
static bool play(enum fault_kind kind, size_t call, int error, size_t *errors)
{
	struct scene scene = {.ops = backend_get_nftables()};
	struct view view;
	bool happened;

	alarm(HANGS_S);
	assert_int_equal(nft_socket_open(&scene.look), 0);
	remove_table(&scene);
	fault_arm(kind, call, error);
	do_open(&scene);
	do_network(&scene, "203.0.113.7");
	do_sync(&scene);
	do_network(&scene, WAN);
	do_changes(&scene);
	fault_hold(true);
	remove_table(&scene); /* a stranger's work */
	fault_hold(false);
	do_sync(&scene);
	scene.checks = 0;
	check(&scene);
	scene.ops->close(scene.backend, false);
	happened = fault_disarm();
	look(&scene, &view);
	/* (that the table could not be removed is told, and its timeouts go on) */
	assert_true(view.count <= 1);
	nft_socket_close(&scene.look);
	*errors += scene.errors;
	return happened;
}

/* What the processes found together. */
struct tally {
	size_t calls, errors;
};

/* Every WORKERS-th call, in a network of its own; errors in turn, or all of them. */
static void play_some(enum fault_kind kind, const int *errors, size_t count,
		      size_t first, struct tally *tally)
{
	bool all = getenv("PORTREEVE_FAULTS") != NULL, more = true;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	for (size_t call = first; more; call += WORKERS) {
		assert_true(call < CALLS_MAX);
		more = false;
		for (size_t i = 0; i < (all ? count : 1); i++)
			if (play(kind, call, errors[(call / WORKERS + i) % count],
				 &tally->errors))
				more = true;
		tally->calls += more;
	}
}

/* What is sent fails, or is refused: in turn, too. */
static bool takes_part(enum fault_kind kind, size_t worker)
{
	return getenv("PORTREEVE_FAULTS") || kind == FAULT_RECEIVE ||
	       worker % 2 == (kind == FAULT_ANSWER);
}

/* The kernel takes its time with each transaction, so many wait side by side. */
static void play_all(enum fault_kind kind, const int *errors, size_t count)
{
	struct tally *tallies =
		mmap(NULL, WORKERS * sizeof(*tallies), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct tally all = {0};

	if (forbidden)
		skip();
	assert_true(tallies != MAP_FAILED);
	(void)fflush(NULL);
	for (size_t i = 0; i < WORKERS; i++) {
		if (!takes_part(kind, i) || fork() != 0)
			continue;
		/* What fails in a child must not go on as the test program. */
		(void)setenv("CMOCKA_TEST_ABORT", "1", 1);
		play_some(kind, errors, count, i + 1, &tallies[i]);
		exit(0);
	}
	for (size_t i = 0; i < WORKERS; i++) {
		int status = 0;

		assert_true(!takes_part(kind, i) || wait(&status) > 0);
		all.errors += status != 0 ? FAILED : 0;
	}
	for (size_t i = 0; i < WORKERS; i++) {
		all.calls += tallies[i].calls;
		all.errors += tallies[i].errors;
	}
	(void)munmap(tallies, WORKERS * sizeof(*tallies));
	print_message("%zu calls, %zu errors\n", all.calls, all.errors);
	/* every child ended well, and the faults are ones: something came of them */
	assert_in_range(all.errors, 1, FAILED - 1);
	assert_true(all.calls > CALLS_MIN);
}

static void test_send(void **state)
{
	(void)state;
	play_all(FAULT_SEND, (const int[]){ENOBUFS, EINTR, EBUSY, ENOSPC}, 4);
}

static void test_answer(void **state)
{
	(void)state;
	play_all(FAULT_ANSWER, (const int[]){ENOSPC, EBUSY, EINTR, ENOBUFS}, 4);
}

static void test_receive(void **state)
{
	(void)state;
	play_all(FAULT_RECEIVE, (const int[]){ENOBUFS, EINTR}, 2);
}

/* Each transaction of ours is one step of the tables' generation, also one that finds
 * nothing to change: who counts on it knows a stranger's by that. */
static void test_generation(void **state)
{
	static const enum nft_operation operations[] = {NFT_OP_REMOVE, NFT_OP_PUT,
							NFT_OP_PUT,    NFT_OP_UPDATE,
							NFT_OP_REMOVE, NFT_OP_REMOVE};
	struct scene scene = {.ops = backend_get_nftables()};
	const struct nft_element element = {.set = NFT_DNAT4, .key = {1}};
	struct nft_batch batch = {0};
	uint32_t there = 0;

	(void)state;
	if (forbidden)
		skip();
	fault_arm(FAULT_SEND, 0, 0);
	assert_int_equal(nft_socket_open(&scene.look), 0);
	do_open(&scene);
	do_network(&scene, WAN);
	do_sync(&scene);
	assert_int_equal(
		nft_foreign_get_generation(&scene.look, &scene.look.generation), 0);
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		uint32_t before = scene.look.generation;

		nft_batch_begin(&batch, &scene.look);
		nft_batch_element(&batch, &scene.look, operations[i], &element);
		assert_int_equal(nft_batch_send(&batch, &scene.look), 0);
		assert_int_equal(nft_foreign_get_generation(&scene.look, &there), 0);
		assert_int_equal(there, before + 1);
		assert_int_equal(scene.look.generation, there);
		assert_false(scene.look.overtaken);
	}
	nft_batch_fini(&batch);
	scene.ops->close(scene.backend, false);
	nft_socket_close(&scene.look);
	(void)fault_disarm();
}

static int make_lab(void **state)
{
	struct netns_pair pair;

	(void)state;
	if (netns_make_pair(&pair) != 0) {
		print_message("no permission to make network namespaces\n");
		forbidden = true;
		return 0;
	}
	/* hundreds of errors are the point here */
	log_set_level(LOG_LEVEL_ERROR);
	return netns_enter(pair.gateway) ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_send),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_receive),
		cmocka_unit_test(test_generation),
	};

	return cmocka_run_group_tests(tests, make_lab, NULL);
}
