/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sandbox.h"

/* Exit status of a child whose sandbox could not be entered. */
#define NOT_ENTERED 250
/* A supplementary group that must not survive. */
#define EXTRA_GROUP 4242
#define CAP_BIT_NET_ADMIN (UINT64_C(1) << 12)
#define CAP_BIT_NET_RAW (UINT64_C(1) << 13)

/* Runs inside the sandbox. Returns 0, or the number of the line that was wrong. */
typedef int check_function(void);

#define CHECK(condition)                                                               \
	do {                                                                           \
		if (!(condition))                                                      \
			return __LINE__ % NOT_ENTERED ? __LINE__ % NOT_ENTERED : 1;    \
	} while (0)

/* /proc/self/status of the child, opened before the doors close. */
static int status_fd = -1;

static uint64_t read_status(const char *key, int base)
{
	char text[8192];
	char name[64];
	const char *at;
	ssize_t length = pread(status_fd, text, sizeof(text) - 1, 0);

	if (length < 0 && lseek(status_fd, 0, SEEK_SET) == 0)
		length = read(status_fd, text, sizeof(text) - 1);
	if (length <= 0)
		return UINT64_MAX;
	text[length] = '\0';
	(void)snprintf(name, sizeof(name), "\n%s:", key);
	at = strstr(text, name);
	return at ? strtoull(at + strlen(name), NULL, base) : UINT64_MAX;
}

struct outcome {
	bool killed;
	int code; /* exit status or signal */
};

static struct outcome run_inside(enum sandbox_profile profile, bool raw,
				 check_function *check)
{
	const struct passwd *nobody = getpwnam("nobody");
	const gid_t extra = EXTRA_GROUP;
	int status = 0;
	pid_t pid;

	assert_non_null(nobody);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		status_fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
		if (setgroups(1, &extra) < 0 ||
		    read_status("Groups", 10) != EXTRA_GROUP ||
		    sandbox_enter(profile, nobody->pw_uid, nobody->pw_gid, raw) < 0)
			_exit(NOT_ENTERED);
		_exit(check());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return (struct outcome){true, WTERMSIG(status)};
	return (struct outcome){false, WEXITSTATUS(status)};
}

static void assert_inside(enum sandbox_profile profile, bool raw, check_function *check)
{
	struct outcome outcome = run_inside(profile, raw, check);

	if (outcome.killed)
		fail_msg("killed by signal %d", outcome.code);
	if (outcome.code != 0)
		fail_msg("check failed at line %d (modulo %d)", outcome.code,
			 NOT_ENTERED);
}

/* A socket() that must fail with EPERM, which CAP_NET_RAW's absence gives as well. */
static bool socket_denied(int family, int type, int protocol)
{
	int fd = socket(family, type, protocol);

	return fd < 0 && errno == EPERM;
}

static bool socket_allowed(int family, int type, int protocol)
{
	int fd = socket(family, type, protocol);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static int check_worker_identity(void)
{
	CHECK(getuid() != 0 && geteuid() == getuid() && getgid() != 0);
	CHECK(read_status("CapEff", 16) == 0);
	CHECK(read_status("CapPrm", 16) == 0);
	CHECK(read_status("CapInh", 16) == 0);
	CHECK(read_status("CapBnd", 16) == 0);
	CHECK(read_status("CapAmb", 16) == 0);
	CHECK(read_status("Groups", 10) != EXTRA_GROUP);
	CHECK(read_status("NoNewPrivs", 10) == 1);
	CHECK(read_status("Seccomp", 10) == 2);
	return 0;
}

static int check_worker_files(void)
{
	static const char path[] = "/etc/passwd";

	errno = 0;
	CHECK(open(path, O_RDONLY) < 0 && errno == EPERM);
	CHECK(syscall(SYS_openat, AT_FDCWD, path, O_RDONLY) < 0 && errno == EPERM);
	CHECK(mkdir("/tmp/portreeve-test-sandbox", 0700) < 0 && errno == EPERM);
	CHECK(unlink("/nonexistent") < 0 && errno == EPERM);
	/* no signal to another process of the same user by way of a socket's owner */
	CHECK(fcntl(STDERR_FILENO, F_GETFL) >= 0);
	CHECK(fcntl(STDERR_FILENO, F_SETOWN, getppid()) < 0 && errno == EPERM);
	CHECK(fcntl(STDERR_FILENO, F_SETSIG, SIGKILL) < 0 && errno == EPERM);
	return 0;
}

static int check_worker_sockets(void)
{
	CHECK(socket_denied(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
	CHECK(socket_denied(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
	CHECK(socket_denied(AF_UNIX, SOCK_STREAM, 0));
	CHECK(socket_denied(AF_PACKET, SOCK_RAW, 0));
	CHECK(socket_denied(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	CHECK(socket_denied(AF_INET6, SOCK_RAW, IPPROTO_RAW));
	CHECK(socket_denied(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
	CHECK(socket_denied(AF_INET, SOCK_STREAM, IPPROTO_SCTP));
	return 0;
}

/* What the two workers live on. */
static int check_worker_may_serve(void)
{
	const int one = 1;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in local = {.sin_family = AF_INET};

	CHECK(fd >= 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
	CHECK(bind(fd, (const struct sockaddr *)&local, sizeof(local)) == 0);
	CHECK(socket_allowed(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP));
	CHECK(socket_allowed(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP));
	CHECK(socket_allowed(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
	free(malloc(1 << 20));
	return 0;
}

static int check_cannot_start(void)
{
	char *const argv[] = {NULL};

	errno = 0;
	CHECK(execve("/proc/self/exe", argv, argv) < 0 && errno == EPERM);
	CHECK(fork() < 0);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
	      errno == EPERM);
	CHECK(setuid(0) < 0);
	CHECK(kill(getppid(), 0) < 0);
	return 0;
}

static void *thread_note(void *done)
{
	*(bool *)done = true;
	return NULL;
}

/* What a control point needs over a worker: threads, interfaces, a child. */
static int check_probe_work(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	bool done = false;
	pthread_t thread;
	int status = 0;
	pid_t pid;
	int fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP);
	char *const argv[] = {NULL};

	CHECK(fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0);
	CHECK(ioctl(fd, SIOCSIFFLAGS, &request) < 0 && errno == EPERM);
	CHECK(pthread_create(&thread, NULL, thread_note, &done) == 0);
	CHECK(pthread_join(thread, NULL) == 0 && done);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		_exit(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 ? 3 : 4);
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3);
	CHECK(kill(getppid(), 0) < 0);
	CHECK(execve("/proc/self/exe", argv, argv) < 0 && errno == EPERM);
	return 0;
}

static int check_limits(void)
{
	struct rlimit limit;

	CHECK(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0);
	CHECK(getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_max == 0);
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max <= 1024);
	limit = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) < 0);
	return 0;
}

static int check_ptrace(void)
{
	CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0);
	return 0;
}

static int check_core_identity(void)
{
	CHECK(getuid() != 0 && geteuid() == getuid() && getgid() != 0);
	CHECK(read_status("CapEff", 16) == CAP_BIT_NET_ADMIN);
	CHECK(read_status("CapPrm", 16) == CAP_BIT_NET_ADMIN);
	CHECK(read_status("CapInh", 16) == 0);
	CHECK(read_status("CapBnd", 16) == 0);
	CHECK(read_status("NoNewPrivs", 10) == 1);
	CHECK(read_status("Seccomp", 10) == 2);
	CHECK(read_status("Groups", 10) == UINT64_MAX ||
	      read_status("Groups", 10) == 0);
	return 0;
}

static int check_core_work(void)
{
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0 && close(fd) == 0);
	CHECK(open("/etc/shadow", O_RDONLY) < 0 && errno == EACCES);
	CHECK(socket_allowed(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	CHECK(socket_allowed(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
	CHECK(socket_allowed(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
	CHECK(socket_denied(AF_INET, SOCK_STREAM, 0));
	CHECK(socket_denied(AF_INET, SOCK_RAW, IPPROTO_RAW));
	CHECK(socket_denied(AF_PACKET, SOCK_RAW, 0));
	return 0;
}

static int check_core_raw(void)
{
	CHECK(read_status("CapEff", 16) == (CAP_BIT_NET_ADMIN | CAP_BIT_NET_RAW));
	CHECK(socket_allowed(AF_INET, SOCK_RAW, IPPROTO_RAW));
	CHECK(socket_allowed(AF_INET6, SOCK_RAW, IPPROTO_RAW));
	CHECK(socket_denied(AF_PACKET, SOCK_RAW, 0));
	return 0;
}

static int check_launcher(void)
{
	/* KILL, SETGID, SETUID, SETPCAP, NET_ADMIN. */
	const uint64_t wanted = 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 12;

	CHECK(getuid() == 0);
	CHECK(read_status("CapEff", 16) == wanted);
	CHECK(read_status("CapPrm", 16) == wanted);
	CHECK(read_status("CapBnd", 16) == wanted);
	CHECK(read_status("CapInh", 16) == 0);
	CHECK(read_status("NoNewPrivs", 10) == 1);
	CHECK(mount("none", "/proc", "tmpfs", 0, NULL) < 0);
	return 0;
}

static void test_worker(void **state)
{
	(void)state;
	assert_inside(SANDBOX_WORKER, false, check_worker_identity);
	assert_inside(SANDBOX_WORKER, false, check_worker_files);
	assert_inside(SANDBOX_WORKER, false, check_worker_sockets);
	assert_inside(SANDBOX_WORKER, false, check_worker_may_serve);
	assert_inside(SANDBOX_WORKER, false, check_cannot_start);
	assert_inside(SANDBOX_WORKER, false, check_limits);
}

static void test_probe(void **state)
{
	(void)state;
	assert_inside(SANDBOX_PROBE, false, check_worker_identity);
	assert_inside(SANDBOX_PROBE, false, check_worker_files);
	assert_inside(SANDBOX_PROBE, false, check_worker_sockets);
	assert_inside(SANDBOX_PROBE, false, check_probe_work);
}

/* Exit status of a user's child: 0, or what was wrong. */
static int enter_as_user(uid_t uid, gid_t gid)
{
	status_fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
		return NOT_ENTERED;
	CHECK(sandbox_enter(SANDBOX_PROBE, 1, 1, false) == 0);
	CHECK(getuid() == uid && getgid() == gid);
	CHECK(read_status("CapEff", 16) == 0 && read_status("CapPrm", 16) == 0);
	CHECK(read_status("NoNewPrivs", 10) == 1);
	CHECK(read_status("Seccomp", 10) == 2);
	return check_probe_work();
}

static void test_probe_of_user(void **state)
{
	const struct passwd *nobody = getpwnam("nobody");
	int status = 0;
	pid_t pid;

	(void)state;
	assert_non_null(nobody);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(enter_as_user(nobody->pw_uid, nobody->pw_gid));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_core(void **state)
{
	(void)state;
	assert_inside(SANDBOX_CORE, false, check_core_identity);
	assert_inside(SANDBOX_CORE, false, check_core_work);
	assert_inside(SANDBOX_CORE, false, check_cannot_start);
	assert_inside(SANDBOX_CORE, false, check_limits);
	assert_inside(SANDBOX_CORE, true, check_core_raw);
}

static void test_tracing_is_deadly(void **state)
{
	const enum sandbox_profile profiles[] = {SANDBOX_CORE, SANDBOX_WORKER};

	(void)state;
	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++) {
		struct outcome outcome = run_inside(profiles[i], false, check_ptrace);

		assert_true(outcome.killed);
		assert_int_equal(outcome.code, SIGSYS);
	}
}

static void test_launcher(void **state)
{
	(void)state;
	assert_inside(SANDBOX_LAUNCHER, false, check_launcher);
}

/* A launcher's child still gets into its own, narrower sandbox. */
static int check_nested(void)
{
	const struct passwd *nobody = getpwnam("nobody");
	int status = 0;
	pid_t pid;

	CHECK(nobody != NULL);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		status_fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
		if (sandbox_enter(SANDBOX_CORE, nobody->pw_uid, nobody->pw_gid, false) <
		    0)
			_exit(NOT_ENTERED);
		_exit(check_core_identity());
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : NOT_ENTERED;
}

static void test_launcher_starts_core(void **state)
{
	(void)state;
	assert_inside(SANDBOX_LAUNCHER, false, check_nested);
}

static int check_nothing(void)
{
	return 0;
}

static int check_refused_to_user(void)
{
	/* Already nobody, without capabilities: entering again must fail, not pretend.
	 */
	return sandbox_enter(SANDBOX_WORKER, 1, 1, false) < 0 ? 0 : 1;
}

static void test_failure_is_reported(void **state)
{
	(void)state;
	assert_inside(SANDBOX_WORKER, false, check_nothing);
	assert_inside(SANDBOX_WORKER, false, check_refused_to_user);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worker),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_probe_of_user),
		cmocka_unit_test(test_core),
		cmocka_unit_test(test_tracing_is_deadly),
		cmocka_unit_test(test_launcher),
		cmocka_unit_test(test_launcher_starts_core),
		cmocka_unit_test(test_failure_is_reported),
	};

	/* Exit status 77 is "skipped" to meson. */
	if (geteuid() != 0) {
		(void)fprintf(stderr, "skipped: needs root to give it up\n");
		return 77;
	}
	if (sandbox_is_wide()) {
		(void)fprintf(stderr, "skipped: a sanitizer's filter is wider\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
