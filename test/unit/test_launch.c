/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/backoff.h"
#include "daemon/notify.h"
#include "daemon/options.h"
#include "daemon/role.h"

static void test_first_restart_is_at_once(void **state)
{
	struct backoff backoff = {0};

	(void)state;
	backoff_start(&backoff, 1000);
	assert_int_equal(backoff_end(&backoff, 1001), 0);
}

static void test_restarts_in_a_row_wait_longer(void **state)
{
	static const int64_t expected[] = {0,	50,   100,  200,  400,
					   800, 1600, 3200, 5000, 5000};
	struct backoff backoff = {0};
	int64_t now_ms = 1000;

	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		backoff_start(&backoff, now_ms);
		now_ms += BACKOFF_HEALTHY_MS - 1;
		assert_int_equal(backoff_end(&backoff, now_ms), expected[i]);
	}
}

static void test_health_is_forgiving(void **state)
{
	struct backoff backoff = {0};

	(void)state;
	for (int i = 0; i < 5; i++) {
		backoff_start(&backoff, 0);
		(void)backoff_end(&backoff, 1);
	}
	backoff_start(&backoff, 1);
	assert_int_equal(backoff_end(&backoff, 1 + BACKOFF_HEALTHY_MS), 0);
	backoff_start(&backoff, 20000);
	assert_int_equal(backoff_end(&backoff, 20001), BACKOFF_FIRST_MS);
}

/* What core does about a store that cannot be written. */
static void test_pause_is_doubled(void **state)
{
	static const int64_t expected[] = {2000,  4000,	 8000, 16000,
					   32000, 60000, 60000};
	int64_t delay_ms = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		delay_ms = backoff_get_longer(delay_ms, 2000, 60000);
		assert_int_equal(delay_ms, expected[i]);
	}
}

static void test_role_survives_the_command_line(void **state)
{
	const struct role role = {"upnp", 65534, 4294967294u, LOG_LEVEL_INFO, true};
	struct role read = {0};
	char text[ROLE_TEXT_SIZE];

	(void)state;
	role_format(&role, text);
	assert_true(role_is_argument(text));
	assert_true(role_parse(text, &read));
	assert_string_equal(read.name, role.name);
	assert_int_equal(read.uid, role.uid);
	assert_int_equal(read.gid, role.gid);
	assert_int_equal(read.log_level, role.log_level);
	assert_true(read.raw);
}

static void test_wrong_roles_are_refused(void **state)
{
	static const char *const wrong[] = {
		"--role=",
		"--role=core",
		"--role=core,1,1,2",
		"--role=core,1,1,2,0,",
		"--role=core,1,1,2,0,1",
		"--role=core,1,1,2,2",
		"--role=core,1,1,5,0",
		"--role=core,-1,1,2,0",
		"--role=core,4294967295,1,2,0",
		"--role=core,,1,2,0",
		"--role=a-name-of-sixteen,1,1,2,0",
		"--roles",
		"core,1,1,2,0",
	};
	struct role role;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (role_parse(wrong[i], &role))
			fail_msg("taken: %s", wrong[i]);
}

static void test_workers_have_names_that_fit(void **state)
{
	const struct role empty = {0};

	(void)state;
	assert_int_equal(role_get_worker_count(), 3);
	assert_null(role_get_worker(role_get_worker_count()));
	for (size_t i = 0; i < role_get_worker_count(); i++)
		assert_true(strlen(role_get_worker(i)->name) < sizeof(empty.name));
}

static void test_workers_that_only_some_want(void **state)
{
	static struct conf conf;

	(void)state;
	conf_init(&conf);
	for (size_t i = 0; i < role_get_worker_count(); i++) {
		bool stun = strcmp(role_get_worker(i)->name, "stun") == 0;

		conf.wan.stun_host[0] = '\0';
		assert_int_equal(role_is_wanted(i, &conf), !stun);
		conf.wan.stun_host[0] = 'x';
		assert_true(role_is_wanted(i, &conf));
	}
	assert_false(role_is_wanted(role_get_worker_count(), &conf));
}

static struct options parse(const char *first, const char *second)
{
	char program[] = "portreeved";
	char *argv[] = {program, first ? strdup(first) : NULL,
			second ? strdup(second) : NULL, NULL};
	struct options options =
		options_parse(1 + (first != NULL) + (second != NULL), argv);

	/* Compared by content below, so the copy may go. */
	options.file = options.file ? "given" : NULL;
	free(argv[1]);
	free(argv[2]);
	return options;
}

static void test_options(void **state)
{
	(void)state;
	assert_int_equal(parse(NULL, NULL).action, OPTIONS_RUN);
	assert_null(parse(NULL, NULL).file);
	assert_int_equal(parse("-c", "x.conf").action, OPTIONS_RUN);
	assert_non_null(parse("-c", "x.conf").file);
	assert_non_null(parse("-cx.conf", "--single").file);
	assert_int_equal(parse("-cx.conf", "--single").action, OPTIONS_SINGLE);
	assert_int_equal(parse("--check-config", NULL).action, OPTIONS_CHECK_CONFIG);
	assert_int_equal(parse("--help", NULL).action, OPTIONS_HELP);
	assert_int_equal(parse("--version", NULL).action, OPTIONS_VERSION);
}

static void test_wrong_options_are_refused(void **state)
{
	(void)state;
	assert_int_equal(parse("--nonsense", NULL).action, OPTIONS_WRONG);
	assert_int_equal(parse("-x", NULL).action, OPTIONS_WRONG);
	assert_int_equal(parse("-c", NULL).action, OPTIONS_WRONG);
	assert_int_equal(parse("--single=1", NULL).action, OPTIONS_WRONG);
	assert_int_equal(parse("--single", "x.conf").action, OPTIONS_WRONG);
}

/* Bind a datagram socket at name ("@..." = abstract), send, compare what arrives. */
static void check_notify(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size =
		(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char text[32];

	assert_true(fd >= 0);
	memcpy(address.sun_path, name, strlen(name));
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	notify_send("READY=1");
	assert_int_equal(recv(fd, text, sizeof(text), 0), 7);
	assert_memory_equal(text, "READY=1", 7);
	assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
	close(fd);
}

static void test_notify(void **state)
{
	char directory[] = "/tmp/portreeve-notify-XXXXXX";
	char path[64];

	(void)state;
	assert_non_null(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/socket", directory);
	check_notify(path);
	unlink(path);
	rmdir(directory);
	(void)snprintf(path, sizeof(path), "@portreeve-notify-%d", (int)getpid());
	check_notify(path);
	/* Nobody to tell: nothing happens. */
	notify_send("READY=1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_restart_is_at_once),
		cmocka_unit_test(test_restarts_in_a_row_wait_longer),
		cmocka_unit_test(test_health_is_forgiving),
		cmocka_unit_test(test_pause_is_doubled),
		cmocka_unit_test(test_role_survives_the_command_line),
		cmocka_unit_test(test_wrong_roles_are_refused),
		cmocka_unit_test(test_workers_have_names_that_fit),
		cmocka_unit_test(test_workers_that_only_some_want),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_wrong_options_are_refused),
		cmocka_unit_test(test_notify),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
