/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger with the memory backend and a real store, on virtual time: what becomes of
 * groups, of quotas, of a store that fails, and of the epoch over restarts of each
 * kind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/memory.h"
#include "daemon/ledger_private.h"
#include "daemon/ports.h"
#include "daemon/store_lmdb.h"
#include "daemon/table.h"
#include "test/unit/ledger_lab.h"

#define C1 "192.168.77.2"
#define C2 "192.168.77.3"
#define PORT 5000
#define LIFETIME_S 7200
#define EPOCH_START_MS 1000 /* CL-8 */

struct fixture {
	struct ledger_lab lab;
	unsigned int disturbed;
	unsigned int next_fault; /* planned when the ledger says that one struck */
	int next_error;		 /* what that is; 0 = EBUSY */
	struct request requests[LEDGER_GROUP_MAX];
	struct reply replies[LEDGER_GROUP_MAX];
};

static void plan_fault(struct fixture *fixture, unsigned int nth)
{
	memory_plan_fault(fixture->lab.ledger->books.backend, nth, EBUSY);
}

static void on_disturbed(void *user)
{
	struct fixture *fixture = user;

	fixture->disturbed++;
	memory_plan_fault(fixture->lab.ledger->books.backend, fixture->next_fault,
			  fixture->next_error != 0 ? fixture->next_error : EBUSY);
	fixture->next_fault = 0;
}

static const struct ledger_events events = {.lease = ledger_lab_ignore_lease,
					    .disturbed = on_disturbed};

static int setup(void **state)
{
	struct fixture *fixture = ledger_lab_new(sizeof(*fixture));

	*state = fixture;
	return 0;
}

static void open_ledger(struct fixture *fixture)
{
	ledger_lab_open(&fixture->lab, &events, fixture);
}

/* A NAT-PMP request for this port, external = internal. */
static void fill_map(struct request *request, const char *host, uint16_t port)
{
	*request = (struct request){.op = REQUEST_MAP,
				    .origin = ORIGIN_NATPMP,
				    .protocol = IPPROTO_UDP,
				    .enabled = 1,
				    .client = ledger_lab_address(host),
				    .internal = ledger_lab_address(host),
				    .internal_port = port,
				    .external_port = port,
				    .lifetime_s = LIFETIME_S};
}

static void decide(struct fixture *fixture, size_t count)
{
	ledger_decide(fixture->lab.ledger, fixture->requests, count, fixture->replies,
		      &fixture->lab.at);
}

static enum result map(struct fixture *fixture, const char *host, uint16_t port)
{
	fill_map(&fixture->requests[0], host, port);
	decide(fixture, 1);
	return (enum result)fixture->replies[0].result;
}

static size_t count_rules(const struct fixture *fixture)
{
	return memory_get_count(fixture->lab.ledger->books.backend);
}

static size_t count_leases(const struct fixture *fixture)
{
	return table_get_count(ledger_get_table(fixture->lab.ledger));
}

static const struct ledger_figures *figures(const struct fixture *fixture)
{
	return ledger_get_figures(fixture->lab.ledger);
}

static uint64_t get_id_most(const struct fixture *fixture)
{
	const struct table *table = ledger_get_table(fixture->lab.ledger);
	const struct lease *lease = NULL;
	uint64_t most = 0;

	while ((lease = table_get_next(table, lease)))
		if (lease->id > most)
			most = lease->id;
	return most;
}

/* Another process goes on from here with three leases more, and is killed. */
static void run_and_kill(struct fixture *fixture, uint16_t port)
{
	int status;
	pid_t child;

	ledger_lab_close(&fixture->lab);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		open_ledger(fixture);
		for (uint16_t i = 0; i < 3; i++)
			if (map(fixture, C1, (uint16_t)(port + i)) != RESULT_OK)
				_exit(1);
		(void)kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* As if the store had been left in another boot of the machine. */
static void leave_in_other_boot(const struct fixture *fixture)
{
	uint8_t bytes[STORE_MARK_SIZE];
	struct store_mark mark;
	char path[320];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/" STORE_LOCK_FILE,
		       fixture->lab.conf.global.state_dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
	mark = store_mark_decode(bytes, sizeof(bytes));
	assert_int_not_equal(mark.kind, STORE_MARK_NONE);
	mark.boot[0] ^= 1;
	store_mark_encode(&mark, bytes);
	assert_int_equal(pwrite(fd, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
	close(fd);
}

static void store_path(const struct fixture *fixture, char path[320])
{
	(void)snprintf(path, 320, "%s/" STORE_FILE, fixture->lab.conf.global.state_dir);
}

/* SSDP-15: each start, and each worker after the first, has numbers of its own. */
static void test_ssdp15_boot_id(void **state)
{
	struct fixture *fixture = *state;
	const struct store_meta *meta;
	uint32_t first;

	open_ledger(fixture);
	first = ledger_get_meta(fixture->lab.ledger)->boot_id;
	assert_in_range(first, 1, INT32_MAX);
	run_and_kill(fixture, PORT);
	open_ledger(fixture);
	meta = ledger_get_meta(fixture->lab.ledger);
	assert_int_equal(meta->boot_id, first + 2 * BOOT_ID_STEP);
	ledger_renew_boot_id(fixture->lab.ledger, &fixture->lab.at);
	assert_int_equal(meta->boot_id, first + 3 * BOOT_ID_STEP);
	assert_int_equal(fixture->lab.ledger->books.sync_due_ms, TIME_NEVER);
	ledger_lab_close(&fixture->lab);
	open_ledger(fixture);
	assert_int_equal(ledger_get_meta(fixture->lab.ledger)->boot_id,
			 first + 4 * BOOT_ID_STEP);
	/* at their end they begin anew, and 0 is not among them */
	fixture->lab.ledger->books.meta.boot_id = INT32_MAX - BOOT_ID_STEP;
	ledger_renew_boot_id(fixture->lab.ledger, &fixture->lab.at);
	assert_int_equal(ledger_get_meta(fixture->lab.ledger)->boot_id, INT32_MAX);
	ledger_renew_boot_id(fixture->lab.ledger, &fixture->lab.at);
	assert_int_equal(ledger_get_meta(fixture->lab.ledger)->boot_id, 1);
}

static int64_t follow(struct fixture *fixture, const char *external)
{
	struct ip_addr address = {{0}};

	if (external)
		address = ledger_lab_address(external);
	(void)ledger_follow_external(fixture->lab.ledger, &address, &fixture->lab.at);
	return ledger_get_meta(fixture->lab.ledger)->up_since_ms;
}

/* IGD-40: the WAN stays up while the daemon is away. */
static void test_igd40_uptime(void **state)
{
	struct fixture *fixture = *state;
	int64_t since_ms;

	open_ledger(fixture);
	assert_int_equal(follow(fixture, NULL), 0);
	ledger_lab_pass_time(&fixture->lab, 1000);
	since_ms = follow(fixture, "203.0.113.1");
	assert_int_equal(since_ms, fixture->lab.at.now_ms);
	ledger_lab_pass_time(&fixture->lab, 1000);
	assert_int_equal(follow(fixture, "203.0.113.1"), since_ms);
	run_and_kill(fixture, PORT);
	ledger_lab_pass_time(&fixture->lab, 5000);
	open_ledger(fixture);
	assert_int_equal(follow(fixture, "203.0.113.1"), since_ms);
	/* the address went and came back; then it was another one at the start */
	assert_int_equal(follow(fixture, NULL), 0);
	assert_int_equal(follow(fixture, "203.0.113.1"), fixture->lab.at.now_ms);
	ledger_lab_close(&fixture->lab);
	ledger_lab_pass_time(&fixture->lab, 1000);
	open_ledger(fixture);
	assert_int_equal(follow(fixture, "203.0.113.9"), fixture->lab.at.now_ms);
	/* gone when the daemon ended */
	assert_int_equal(follow(fixture, NULL), 0);
	ledger_lab_close(&fixture->lab);
	ledger_lab_pass_time(&fixture->lab, 1000);
	open_ledger(fixture);
	assert_int_equal(follow(fixture, "203.0.113.9"), fixture->lab.at.now_ms);
}

static void test_epoch_begins(void **state)
{
	struct fixture *fixture = *state;

	open_ledger(fixture);
	assert_int_equal(figures(fixture)->epoch_origin_ms,
			 fixture->lab.at.now_ms - EPOCH_START_MS);
	assert_int_equal(map(fixture, C1, PORT), RESULT_OK);
	assert_int_equal(fixture->replies[0].epoch_s, 1);
	ledger_lab_pass_time(&fixture->lab, 5000);
	assert_int_equal(map(fixture, C1, PORT), RESULT_OK);
	assert_int_equal(fixture->replies[0].epoch_s, 6);
}

/* NP-53: all leases are back, so the epoch goes on: after a clean end and a kill. */
static void test_epoch_continues(void **state)
{
	struct fixture *fixture = *state;
	int64_t origin_ms = fixture->lab.at.now_ms - EPOCH_START_MS;

	run_and_kill(fixture, PORT);
	ledger_lab_pass_time(&fixture->lab, 3000);
	open_ledger(fixture);
	assert_int_equal(figures(fixture)->epoch_origin_ms, origin_ms);
	assert_int_equal(count_leases(fixture), 3);
	assert_int_equal(count_rules(fixture), 3);
	assert_int_equal(map(fixture, C1, PORT + 3), RESULT_OK);
	ledger_lab_pass_time(&fixture->lab, 3000);
	open_ledger(fixture); /* closed before */
	assert_int_equal(figures(fixture)->epoch_origin_ms, origin_ms);
	assert_int_equal(count_leases(fixture), 4);
	/* a clean end and a reboot */
	ledger_lab_close(&fixture->lab);
	leave_in_other_boot(fixture);
	open_ledger(fixture);
	assert_int_equal(figures(fixture)->epoch_origin_ms, origin_ms);
	assert_false(figures(fixture)->store_damaged);
}

/* NP-52: changes may be missing, so clients are told to ask again; NP-36: meanwhile
 * nobody gets another's port. */
static void test_epoch_after_power_failure(void **state)
{
	struct fixture *fixture = *state;
	int64_t origin_ms;

	run_and_kill(fixture, PORT);
	leave_in_other_boot(fixture);
	ledger_lab_pass_time(&fixture->lab, 3000);
	open_ledger(fixture);
	origin_ms = fixture->lab.at.now_ms - EPOCH_START_MS;
	assert_int_equal(figures(fixture)->epoch_origin_ms, origin_ms);
	assert_int_equal(count_leases(fixture), 3); /* what is there is kept */
	assert_int_equal(count_rules(fixture), 3);
	assert_false(figures(fixture)->store_damaged);
	assert_false(figures(fixture)->store_failed);
	assert_true(fixture->lab.ledger->cautious_until_ms > fixture->lab.at.now_ms);
	/* once: the new epoch goes on */
	run_and_kill(fixture, PORT + 3);
	ledger_lab_pass_time(&fixture->lab, 3000);
	open_ledger(fixture);
	assert_int_equal(figures(fixture)->epoch_origin_ms, origin_ms);
	assert_int_equal(count_leases(fixture), 6);
}

static void test_epoch_after_damage(void **state)
{
	struct fixture *fixture = *state;
	char path[320];

	run_and_kill(fixture, PORT);
	store_path(fixture, path);
	assert_int_equal(truncate(path, 5000), 0);
	ledger_lab_pass_time(&fixture->lab, 3000);
	open_ledger(fixture);
	assert_int_equal(figures(fixture)->epoch_origin_ms,
			 fixture->lab.at.now_ms - EPOCH_START_MS);
	assert_true(figures(fixture)->store_damaged);
	assert_int_equal(count_leases(fixture), 0);
}

static void test_ids_are_never_used_twice(void **state)
{
	struct fixture *fixture = *state;
	uint64_t most = 0;

	for (uint16_t i = 0; i < 8; i++) {
		if (i % 2 == 0)
			run_and_kill(fixture, (uint16_t)(PORT + 4 * i));
		if (i % 4 == 0)
			leave_in_other_boot(fixture);
		open_ledger(fixture);
		assert_true(i % 2 == 1 || get_id_most(fixture) > most);
		most = get_id_most(fixture);
		assert_int_equal(map(fixture, C2, (uint16_t)(PORT + 4 * i + 3)),
				 RESULT_OK);
		assert_true(get_id_most(fixture) > most);
		most = get_id_most(fixture);
		/* the newest lease is gone from the table, not from memory */
		fixture->requests[0].op = REQUEST_UNMAP;
		decide(fixture, 1);
		assert_true(get_id_most(fixture) < most);
		ledger_lab_close(&fixture->lab);
	}
}

/* One wait for the disk in ten seconds of changes, none where nothing changes. */
static void test_sync_is_due(void **state)
{
	struct fixture *fixture = *state;
	int64_t due_ms;

	open_ledger(fixture);
	assert_int_equal(ledger_get_due(fixture->lab.ledger), TIME_NEVER);
	due_ms = fixture->lab.at.now_ms + STORE_SYNC_MS;
	assert_int_equal(map(fixture, C1, PORT), RESULT_OK);
	assert_int_equal(ledger_get_due(fixture->lab.ledger), due_ms);
	ledger_lab_pass_time(&fixture->lab, 3000);
	assert_int_equal(map(fixture, C1, PORT + 1), RESULT_OK);
	assert_int_equal(ledger_get_due(fixture->lab.ledger), due_ms);
	assert_int_equal(ledger_expire(fixture->lab.ledger, &fixture->lab.at), due_ms);
	fixture->lab.at.now_ms = due_ms;
	/* then nothing before the first lease ends */
	assert_int_equal(ledger_expire(fixture->lab.ledger, &fixture->lab.at),
			 due_ms - STORE_SYNC_MS + INT64_C(1000) * LIFETIME_S);
	assert_false(fixture->lab.ledger->books.store_failed);
}

/* What cannot be made durable is written anew. */
static void test_sync_fails(void **state)
{
	struct fixture *fixture = *state;
	char path[320];

	store_path(fixture, path);
	open_ledger(fixture);
	assert_int_equal(map(fixture, C1, PORT), RESULT_OK);
	assert_int_equal(unlink(path), 0);
	ledger_lab_pass_time(&fixture->lab, STORE_SYNC_MS);
	assert_true(ledger_expire(fixture->lab.ledger, &fixture->lab.at) >
		    fixture->lab.at.now_ms);
	assert_true(figures(fixture)->store_failed);
	assert_true(ledger_mend_store(fixture->lab.ledger, &fixture->lab.at));
	assert_false(figures(fixture)->store_failed);
	assert_int_equal(ledger_get_due(fixture->lab.ledger),
			 fixture->lab.at.now_ms + STORE_SYNC_MS);
	run_and_kill(fixture, PORT + 1);
	open_ledger(fixture);
	assert_int_equal(count_leases(fixture), 4);
	assert_false(figures(fixture)->store_damaged);
}

/* The disk takes not an octet more than the store has now. */
static void fill_disk(const struct fixture *fixture, struct rlimit *before)
{
	struct rlimit limit;
	struct stat status;
	char path[320];

	store_path(fixture, path);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, before), 0);
	limit = *before;
	limit.rlim_cur = (rlim_t)status.st_size;
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static uint16_t map_until_store_fails(struct fixture *fixture)
{
	uint16_t port = PORT;

	while (!figures(fixture)->store_failed && port < PORT + 1000)
		assert_int_equal(map(fixture, C1, port++), RESULT_OK);
	assert_true(figures(fixture)->store_failed);
	/* and goes on */
	assert_int_equal(map(fixture, C1, port++), RESULT_OK);
	return (uint16_t)(port - PORT);
}

/* A full disk refuses no lease; there is room again, and everything is written. */
static void test_disk_full(void **state)
{
	struct fixture *fixture = *state;
	struct rlimit limit;
	int64_t origin_ms;
	size_t count, scratch;

	fixture->lab.conf.limits.leases_per_client = 0;
	open_ledger(fixture);
	origin_ms = figures(fixture)->epoch_origin_ms;
	fill_disk(fixture, &limit);
	count = map_until_store_fails(fixture);
	assert_false(ledger_mend_store(fixture->lab.ledger, &fixture->lab.at));
	assert_true(figures(fixture)->store_failed);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	scratch = fixture->lab.ledger->books.scratch_size;
	assert_true(ledger_mend_store(fixture->lab.ledger, &fixture->lab.at));
	assert_false(figures(fixture)->store_failed);
	/* and no room for the whole table is kept for ever */
	assert_int_equal(fixture->lab.ledger->books.scratch_size, scratch);
	assert_int_equal(count_rules(fixture), count);
	ledger_lab_pass_time(&fixture->lab, 2000);
	open_ledger(fixture);
	assert_int_equal(count_leases(fixture), count);
	assert_int_equal(figures(fixture)->epoch_origin_ms, origin_ms);
}

/* It was never mended: leases are missing at the next start, and the epoch says so. */
static void test_stopped_while_disk_full(void **state)
{
	struct fixture *fixture = *state;
	struct rlimit limit;
	size_t count;

	fixture->lab.conf.limits.leases_per_client = 0;
	open_ledger(fixture);
	fill_disk(fixture, &limit);
	count = map_until_store_fails(fixture);
	ledger_lab_close(&fixture->lab);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ledger_lab_pass_time(&fixture->lab, 2000);
	open_ledger(fixture);
	assert_true(count_leases(fixture) < count);
	assert_int_equal(figures(fixture)->epoch_origin_ms,
			 fixture->lab.at.now_ms - EPOCH_START_MS);
}

/* One bad request cannot refuse another's. */
static void test_group_is_retried_alone(void **state)
{
	struct fixture *fixture = *state;

	open_ledger(fixture);
	for (uint16_t i = 0; i < 4; i++)
		fill_map(&fixture->requests[i], i % 2 ? C2 : C1, (uint16_t)(PORT + i));
	plan_fault(fixture, 1);	 /* the group ... */
	fixture->next_fault = 2; /* ... and then the second alone */
	decide(fixture, 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(fixture->replies[i].result,
				 i == 1 ? RESULT_BACKEND : RESULT_OK);
	assert_int_equal(fixture->disturbed, 2);
	assert_int_equal(fixture->replies[1].external_port, 0);
	assert_int_equal(fixture->replies[1].lifetime_s, 0);
	assert_int_equal(count_leases(fixture), 3);
	assert_int_equal(count_rules(fixture), 3);
	assert_int_equal(figures(fixture)->granted, 3);
	assert_int_equal(figures(fixture)->refused, 1);
	/* the store has what the table has */
	open_ledger(fixture);
	assert_int_equal(count_leases(fixture), 3);
	assert_int_equal(count_rules(fixture), 3);
}

/* What was answered on the strength of a request that then failed is answered anew. */
static void test_answers_follow_the_retry(void **state)
{
	struct fixture *fixture = *state;
	struct request *second = &fixture->requests[1];

	open_ledger(fixture);
	fill_map(&fixture->requests[0], C1, PORT);
	fill_map(second, C2, PORT);
	second->op = REQUEST_ADD;
	second->origin = ORIGIN_IGD;
	second->external_port = PORT;
	fill_map(&fixture->requests[2], C1, PORT);
	fixture->requests[2].op = REQUEST_GET;
	fixture->requests[2].origin = ORIGIN_IGD;
	fixture->requests[2].external_port = PORT;
	plan_fault(fixture, 1);	 /* the group ... */
	fixture->next_fault = 1; /* ... and then the first alone */
	decide(fixture, 3);
	assert_int_equal(fixture->replies[0].result, RESULT_BACKEND);
	assert_int_equal(fixture->replies[1].result, RESULT_OK);
	assert_int_equal(fixture->replies[2].result, RESULT_OK);
	assert_true(addr_equal(&fixture->replies[2].internal, &second->internal));
	assert_int_equal(count_leases(fixture), 1);
	assert_int_equal(count_rules(fixture), 1);
}

static void test_quota(void **state)
{
	struct fixture *fixture = *state;

	fixture->lab.conf.limits.leases_per_client = 2;
	fixture->lab.conf.limits.leases_total = 3;
	open_ledger(fixture);
	for (uint16_t i = 0; i < 3; i++)
		fill_map(&fixture->requests[i], C1, (uint16_t)(PORT + i));
	decide(fixture, 3); /* also within one group */
	assert_int_equal(fixture->replies[0].result, RESULT_OK);
	assert_int_equal(fixture->replies[1].result, RESULT_OK);
	assert_int_equal(fixture->replies[2].result, RESULT_QUOTA);
	assert_int_equal(map(fixture, C1, PORT), RESULT_OK); /* a renewal */
	assert_int_equal(map(fixture, C2, PORT + 3), RESULT_OK);
	assert_int_equal(map(fixture, C2, PORT + 4), RESULT_TABLE_FULL);
	assert_int_equal(count_leases(fixture), 3);
	assert_int_equal(count_rules(fixture), 3);
}

static void test_rate(void **state)
{
	struct fixture *fixture = *state;
	size_t granted = 0;

	fixture->lab.conf.limits.requests_per_second = 5;
	fixture->lab.conf.limits.leases_per_client = 0;
	open_ledger(fixture);
	while (granted < LEDGER_GROUP_MAX &&
	       map(fixture, C1, (uint16_t)(PORT + granted)) == RESULT_OK)
		granted++;
	assert_int_equal(granted, 5);
	assert_int_equal(fixture->replies[0].result, RESULT_RATE);
	assert_int_equal(count_leases(fixture), granted);
	assert_int_equal(map(fixture, C2, PORT + 900), RESULT_OK); /* not another's */
	/* the owner is not held back */
	fixture->requests[0].origin = ORIGIN_STATIC;
	for (size_t i = 0; i < LEDGER_GROUP_MAX; i++) {
		decide(fixture, 1);
		assert_int_equal(fixture->replies[0].result, RESULT_OK);
	}
	ledger_lab_pass_time(&fixture->lab, 1000);
	assert_int_equal(map(fixture, C1, (uint16_t)(PORT + granted)), RESULT_OK);
}

/* Who asks too fast is not served because others had to be tried again. */
static void test_rate_is_not_retried(void **state)
{
	struct fixture *fixture = *state;

	fixture->lab.conf.limits.requests_per_second = 2;
	open_ledger(fixture);
	for (uint16_t i = 0; i < 4; i++)
		fill_map(&fixture->requests[i], C1, (uint16_t)(PORT + i));
	plan_fault(fixture, 1);
	decide(fixture, 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(fixture->replies[i].result,
				 i < 2 ? RESULT_OK : RESULT_RATE);
	assert_int_equal(count_leases(fixture), 2);
	assert_int_equal(count_rules(fixture), 2);
}

/* --- PCP --- */

static struct request *fill_pcp(struct fixture *fixture, enum request_op op,
				uint16_t port, const char *filter)
{
	struct request *request = &fixture->requests[0];

	fill_map(request, C1, port);
	request->op = (uint8_t)op;
	request->origin = ORIGIN_PCP;
	memset(request->nonce, 'n', sizeof(request->nonce));
	if (filter) {
		request->filter_count = 1;
		assert_true(prefix_parse(filter, &request->filters[0].prefix));
	}
	return request;
}

static const struct reply *ask_pcp(struct fixture *fixture, enum request_op op,
				   uint16_t port, const char *filter)
{
	(void)fill_pcp(fixture, op, port, filter);
	decide(fixture, 1);
	return &fixture->replies[0];
}

/* PCP-49: the answer says when asking again may help. */
static void test_pcp49_nonce_lifetime(void **state)
{
	struct fixture *fixture = *state;

	open_ledger(fixture);
	assert_int_equal(ask_pcp(fixture, REQUEST_MAP, PORT, NULL)->result, RESULT_OK);
	ledger_lab_pass_time(&fixture->lab, 1500);
	fill_pcp(fixture, REQUEST_MAP, PORT, NULL)->nonce[11] ^= 1;
	decide(fixture, 1);
	assert_int_equal(fixture->replies[0].result, RESULT_FOREIGN);
	assert_int_equal(fixture->replies[0].lifetime_s, LIFETIME_S - 1);
}

static void describe(struct request *request, const char *text)
{
	request->has_description = 1;
	(void)snprintf(request->description, sizeof(request->description), "%s", text);
}

static enum result ask_peer(struct fixture *fixture, uint16_t port, const char *text)
{
	struct request *request = fill_pcp(fixture, REQUEST_PEER, port, NULL);

	request->remote = ledger_lab_address("198.51.100.9");
	request->remote_port = 443;
	request->external_port = 0;
	if (text)
		describe(request, text);
	decide(fixture, 1);
	return (enum result)fixture->replies[0].result;
}

/* PCP-112: a renewal keeps the text, and the policy judges it by what it keeps. */
static void test_pcp112_policy_by_kept_text(void **state)
{
	struct fixture *fixture = *state;
	struct conf *conf = &fixture->lab.conf;

	conf->rules[1] = conf->rules[0];
	conf->rules[0].allow = false;
	conf->rule_count = 2;
	(void)snprintf(conf->rules[1].description, sizeof(conf->rules[1].description),
		       "game*");
	conf->rules[0].internal = (struct port_range){1, 1};
	open_ledger(fixture);
	assert_int_equal(ask_pcp(fixture, REQUEST_MAP, PORT, NULL)->result,
			 RESULT_DENIED);
	describe(fill_pcp(fixture, REQUEST_MAP, PORT, NULL), "game 1");
	decide(fixture, 1);
	assert_int_equal(fixture->replies[0].result, RESULT_OK);
	assert_int_equal(ask_pcp(fixture, REQUEST_MAP, PORT, NULL)->result, RESULT_OK);
	assert_string_equal(fixture->replies[0].description, "game 1");
	/* another one takes the text away, and its lease is not renewed */
	describe(fill_pcp(fixture, REQUEST_MAP, PORT, NULL), "");
	decide(fixture, 1);
	assert_int_equal(fixture->replies[0].result, RESULT_DENIED);
	assert_int_equal(ask_peer(fixture, PORT + 1, NULL), RESULT_DENIED);
	assert_int_equal(ask_peer(fixture, PORT + 1, "game 2"), RESULT_OK);
	ledger_lab_pass_time(&fixture->lab, 5000);
	assert_int_equal(ask_peer(fixture, PORT + 1, NULL), RESULT_OK);
	assert_int_equal(fixture->replies[0].lifetime_s, LIFETIME_S);
	assert_int_equal(ask_pcp(fixture, REQUEST_MAP, PORT + 2, NULL)->result,
			 RESULT_DENIED);
	/* and the reverse: a text that is denied by now */
	conf->rules[1].description[0] = '\0';
	conf->rules[0].internal = (struct port_range){1, UINT16_MAX};
	(void)snprintf(conf->rules[0].description, sizeof(conf->rules[0].description),
		       "game*");
	conf->rules[0].external = (struct port_range){1, UINT16_MAX};
	assert_int_equal(ask_pcp(fixture, REQUEST_MAP, PORT, NULL)->result,
			 RESULT_DENIED);
	assert_int_equal(ask_pcp(fixture, REQUEST_MAP, PORT + 2, NULL)->result,
			 RESULT_OK);
}

/* PCP-51: for ever, to PCP; NAT-PMP is told what it asked for. */
static void test_pcp51_static_lifetime(void **state)
{
	struct fixture *fixture = *state;
	struct request *request = &fixture->requests[0];

	open_ledger(fixture);
	fill_map(request, C1, PORT);
	request->op = REQUEST_ADD;
	request->origin = ORIGIN_STATIC;
	request->lifetime_s = 0;
	decide(fixture, 1);
	assert_int_equal(fixture->replies[0].result, RESULT_OK);
	assert_int_equal(ask_pcp(fixture, REQUEST_MAP, PORT, NULL)->result, RESULT_OK);
	assert_int_equal(fixture->replies[0].lifetime_s, UINT32_MAX);
	assert_int_equal(map(fixture, C1, PORT), RESULT_OK);
	assert_int_equal(fixture->replies[0].lifetime_s, LIFETIME_S);
	assert_int_equal(count_leases(fixture), 1);
}

/* What the firewall cannot hold beside another lease of the port is a conflict, and
 * nothing has changed (PCP-16). */
static void test_pcp80_overlapping_filters(void **state)
{
	struct fixture *fixture = *state;
	struct request *request = &fixture->requests[0];
	const struct lease *lease;

	open_ledger(fixture);
	assert_int_equal(ask_pcp(fixture, REQUEST_MAP, PORT, "192.0.2.0/24")->result,
			 RESULT_OK);
	for (unsigned int i = 0; i < 2; i++) {
		fill_map(request, C1, PORT);
		request->op = REQUEST_ADD;
		request->origin = ORIGIN_IGD;
		request->remote =
			ledger_lab_address(i == 0 ? "192.0.2.9" : "198.51.100.9");
		decide(fixture, 1);
		assert_int_equal(fixture->replies[0].result,
				 i == 0 ? RESULT_CONFLICT : RESULT_OK);
		assert_int_equal(count_leases(fixture), 1 + i);
	}
	assert_int_equal(ask_pcp(fixture, REQUEST_MAP, PORT, "198.51.100.0/24")->result,
			 RESULT_CONFLICT);
	assert_int_equal(count_rules(fixture), 2);
	for (lease = table_get_next(ledger_get_table(fixture->lab.ledger), NULL); lease;
	     lease = table_get_next(ledger_get_table(fixture->lab.ledger), lease))
		assert_int_equal(lease->filter_count, lease->origin == ORIGIN_PCP);
}

/* Filters that the kernel's sets cannot say are too many (PCP-80); without any it is
 * the firewall that fails. */
static void test_pcp80_filters_beyond_the_kernel(void **state)
{
	struct fixture *fixture = *state;

	open_ledger(fixture);
	fixture->next_error = EOPNOTSUPP;
	for (unsigned int i = 0; i < 2; i++) {
		plan_fault(fixture, 1);
		fixture->next_fault = 1; /* alone */
		assert_int_equal(ask_pcp(fixture, REQUEST_MAP, PORT,
					 i == 0 ? "192.0.2.0/24" : NULL)
					 ->result,
				 i == 0 ? RESULT_PEERS : RESULT_BACKEND);
		assert_int_equal(count_leases(fixture), 0);
		assert_int_equal(count_rules(fixture), 0);
	}
	assert_int_equal(ask_pcp(fixture, REQUEST_MAP, PORT, "192.0.2.0/24")->result,
			 RESULT_OK);
}

/* PCP-85, PCP-116: filters and sets are those of before a restart, and each port of a
 * set got an id of its own; the end of one is the end of all. */
static void test_pcp116_set_over_restart(void **state)
{
	struct fixture *fixture = *state;
	struct store_time *at = &fixture->lab.at;
	uint64_t most;

	fixture->lab.conf.limits.ports_per_request = 16;
	open_ledger(fixture);
	fill_pcp(fixture, REQUEST_MAP, PORT, "192.0.2.0/24")->port_count = 16;
	decide(fixture, 1);
	assert_int_equal(fixture->replies[0].result, RESULT_OK);
	assert_int_equal(fixture->replies[0].port_count, 16);
	most = get_id_most(fixture);
	open_ledger(fixture);
	assert_int_equal(count_leases(fixture), 16);
	assert_int_equal(count_rules(fixture), 16);
	assert_int_equal(map(fixture, C2, 9000), RESULT_OK);
	assert_true(get_id_most(fixture) > most);
	fill_pcp(fixture, REQUEST_MAP, PORT + 3, NULL)->nonce[0] ^= 1;
	decide(fixture, 1);
	assert_int_equal(fixture->replies[0].result, RESULT_FOREIGN);
	assert_int_equal(ask_pcp(fixture, REQUEST_MAP, PORT + 3, NULL)->result,
			 RESULT_OK);
	ledger_lab_pass_time(&fixture->lab, INT64_C(1000) * (LIFETIME_S - 1));
	(void)ledger_expire(fixture->lab.ledger, at);
	assert_int_equal(count_leases(fixture), 17);
	ledger_lab_pass_time(&fixture->lab, 1000);
	(void)ledger_expire(fixture->lab.ledger, at);
	assert_int_equal(count_leases(fixture), 0);
	assert_int_equal(count_rules(fixture), 0);
	open_ledger(fixture);
	assert_int_equal(count_leases(fixture), 0);
}

/* A kernel that refuses one port of a set has none of them. */
static void test_pcp116_set_is_refused_whole(void **state)
{
	struct fixture *fixture = *state;

	open_ledger(fixture);
	fixture->lab.conf.limits.ports_per_request = 16;
	plan_fault(fixture, 1);
	fixture->next_fault = 1;
	fill_pcp(fixture, REQUEST_MAP, PORT, NULL)->port_count = 16;
	decide(fixture, 1);
	assert_int_equal(fixture->replies[0].result, RESULT_BACKEND);
	assert_int_equal(count_leases(fixture), 0);
	assert_int_equal(count_rules(fixture), 0);
	decide(fixture, 1);
	assert_int_equal(fixture->replies[0].port_count, 16);
}

#define LEDGER_TEST(name)                                                              \
	cmocka_unit_test_setup_teardown(name, setup, ledger_lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LEDGER_TEST(test_ssdp15_boot_id),
		LEDGER_TEST(test_igd40_uptime),
		LEDGER_TEST(test_epoch_begins),
		LEDGER_TEST(test_epoch_continues),
		LEDGER_TEST(test_epoch_after_power_failure),
		LEDGER_TEST(test_epoch_after_damage),
		LEDGER_TEST(test_ids_are_never_used_twice),
		LEDGER_TEST(test_sync_is_due),
		LEDGER_TEST(test_sync_fails),
		LEDGER_TEST(test_disk_full),
		LEDGER_TEST(test_stopped_while_disk_full),
		LEDGER_TEST(test_group_is_retried_alone),
		LEDGER_TEST(test_answers_follow_the_retry),
		LEDGER_TEST(test_quota),
		LEDGER_TEST(test_rate),
		LEDGER_TEST(test_pcp49_nonce_lifetime),
		LEDGER_TEST(test_pcp112_policy_by_kept_text),
		LEDGER_TEST(test_pcp51_static_lifetime),
		LEDGER_TEST(test_rate_is_not_retried),
		LEDGER_TEST(test_pcp80_overlapping_filters),
		LEDGER_TEST(test_pcp80_filters_beyond_the_kernel),
		LEDGER_TEST(test_pcp116_set_over_restart),
		LEDGER_TEST(test_pcp116_set_is_refused_whole),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
