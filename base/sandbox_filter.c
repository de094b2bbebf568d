/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/sandbox_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Allow lists, by name, so that libseccomp finds the numbers of the architecture.
 *
 * What is on no list fails with EPERM and does not kill: a new release of libc or of a
 * library tries calls that we have not heard of and has another way when one fails; to
 * kill would turn an update of Debian into an outage of the gateway. The few calls that
 * no library of ours ever makes, and that only injected code wants, do kill.
 */

/* Bits of socket()'s type that are not SOCK_CLOEXEC or SOCK_NONBLOCK. */
#define SOCKET_TYPE_MASK 0xfu

static const int filter_common[] = {
	/* Descriptors that are open already. */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(lseek),
	SCMP_SYS(_llseek),
	SCMP_SYS(dup),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(pipe),
	SCMP_SYS(pipe2),
	SCMP_SYS(eventfd2),
	/* Sockets; which ones may be made is below. */
	SCMP_SYS(bind),
	SCMP_SYS(connect),
	SCMP_SYS(listen),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),
	SCMP_SYS(send),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(recv),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(recvmmsg_time64),
	/* The event loop. */
	SCMP_SYS(epoll_create),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(ppoll_time64),
	SCMP_SYS(select),
	SCMP_SYS(_newselect),
	SCMP_SYS(pselect6),
	SCMP_SYS(pselect6_time64),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(timerfd_settime64),
	SCMP_SYS(timerfd_gettime),
	SCMP_SYS(timerfd_gettime64),
	SCMP_SYS(signalfd4),
	/* Time and chance. */
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_gettime64),
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_getres_time64),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_nanosleep_time64),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getrandom),
	/* Memory; mmap and mprotect are below. */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	/* Of the process itself. */
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(futex),
	SCMP_SYS(futex_time64),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(getcpu),
	SCMP_SYS(getpid),
	SCMP_SYS(getppid),
	SCMP_SYS(gettid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(getrusage),
	SCMP_SYS(sysinfo),
	SCMP_SYS(uname),
};

/* Files of the store and the control socket, and what LMDB does with them. */
static const int filter_core[] = {
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(creat),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(rmdir),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(link),
	SCMP_SYS(linkat),
	SCMP_SYS(stat),
	SCMP_SYS(stat64),
	SCMP_SYS(lstat),
	SCMP_SYS(lstat64),
	SCMP_SYS(fstat64),
	SCMP_SYS(fstatat64),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(statfs),
	SCMP_SYS(statfs64),
	SCMP_SYS(fstatfs),
	SCMP_SYS(fstatfs64),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getcwd),
	SCMP_SYS(getdents),
	SCMP_SYS(getdents64),
	SCMP_SYS(truncate),
	SCMP_SYS(truncate64),
	SCMP_SYS(ftruncate),
	SCMP_SYS(ftruncate64),
	SCMP_SYS(fallocate),
	SCMP_SYS(fadvise64),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(msync),
	SCMP_SYS(sync_file_range),
	SCMP_SYS(flock),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwritev),
	SCMP_SYS(preadv2),
	SCMP_SYS(pwritev2),
	SCMP_SYS(umask),
	SCMP_SYS(chmod),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(chown),
	SCMP_SYS(lchown),
	SCMP_SYS(fchown),
	SCMP_SYS(fchownat),
	SCMP_SYS(mlock),
	SCMP_SYS(munlock),
};

/* Threads, and the end of a child. */
static const int filter_probe[] = {
	SCMP_SYS(clone),
	SCMP_SYS(clone3),
	SCMP_SYS(set_tid_address),
	SCMP_SYS(sched_getparam),
	SCMP_SYS(sched_getscheduler),
	SCMP_SYS(sched_setscheduler),
	SCMP_SYS(sched_get_priority_max),
	SCMP_SYS(sched_get_priority_min),
	SCMP_SYS(wait4),
	SCMP_SYS(waitid),
};

/* Only an attacker's code calls these: end it, and let the log say so. */
static const int filter_deadly[] = {
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(add_key),
	SCMP_SYS(keyctl),
	SCMP_SYS(request_key),
	SCMP_SYS(io_uring_setup),
};

struct filter_socket {
	enum sandbox_profile profile;
	bool raw_only; /* for libiptc */
	int family;
	int type;
	int protocol; /* -1 = any */
};

static const struct filter_socket filter_sockets[] = {
	{SANDBOX_WORKER, false, AF_INET, SOCK_STREAM, 0},
	{SANDBOX_WORKER, false, AF_INET, SOCK_STREAM, IPPROTO_TCP},
	{SANDBOX_WORKER, false, AF_INET, SOCK_DGRAM, 0},
	{SANDBOX_WORKER, false, AF_INET, SOCK_DGRAM, IPPROTO_UDP},
	{SANDBOX_WORKER, false, AF_INET6, SOCK_STREAM, 0},
	{SANDBOX_WORKER, false, AF_INET6, SOCK_STREAM, IPPROTO_TCP},
	{SANDBOX_WORKER, false, AF_INET6, SOCK_DGRAM, 0},
	{SANDBOX_WORKER, false, AF_INET6, SOCK_DGRAM, IPPROTO_UDP},
	{SANDBOX_PROBE, false, AF_INET, SOCK_STREAM, 0},
	{SANDBOX_PROBE, false, AF_INET, SOCK_STREAM, IPPROTO_TCP},
	{SANDBOX_PROBE, false, AF_INET, SOCK_DGRAM, 0},
	{SANDBOX_PROBE, false, AF_INET, SOCK_DGRAM, IPPROTO_UDP},
	{SANDBOX_PROBE, false, AF_INET6, SOCK_STREAM, 0},
	{SANDBOX_PROBE, false, AF_INET6, SOCK_STREAM, IPPROTO_TCP},
	{SANDBOX_PROBE, false, AF_INET6, SOCK_DGRAM, 0},
	{SANDBOX_PROBE, false, AF_INET6, SOCK_DGRAM, IPPROTO_UDP},
	{SANDBOX_CORE, false, AF_UNIX, SOCK_STREAM, 0},
	{SANDBOX_CORE, false, AF_UNIX, SOCK_DGRAM, 0},
	{SANDBOX_CORE, false, AF_UNIX, SOCK_SEQPACKET, 0},
	{SANDBOX_CORE, false, AF_NETLINK, SOCK_RAW, -1},
	{SANDBOX_CORE, false, AF_NETLINK, SOCK_DGRAM, -1},
	{SANDBOX_CORE, true, AF_INET, SOCK_RAW, IPPROTO_RAW},
	{SANDBOX_CORE, true, AF_INET6, SOCK_RAW, IPPROTO_RAW},
};

/*
 * Not F_SETOWN and F_SETSIG: with them a worker could have the kernel send core, which
 * may run as the same user, a signal of its choice.
 */
static const uint32_t filter_fcntls[] = {
	F_GETFD,	 F_SETFD,     F_GETFL,	    F_SETFL,  F_DUPFD,
	F_DUPFD_CLOEXEC, F_GETLK,     F_SETLK,	    F_SETLKW, F_GETPIPE_SZ,
	F_OFD_GETLK,	 F_OFD_SETLK, F_OFD_SETLKW,
};

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static struct scmp_arg_cmp filter_equal(unsigned int arg, uint32_t value)
{
	return (struct scmp_arg_cmp){.arg = arg, .op = SCMP_CMP_EQ, .datum_a = value};
}

static struct scmp_arg_cmp filter_masked(unsigned int arg, uint32_t mask,
					 uint32_t value)
{
	return (struct scmp_arg_cmp){.arg = arg,
				     .op = SCMP_CMP_MASKED_EQ,
				     .datum_a = mask,
				     .datum_b = value};
}

static int filter_add_list(scmp_filter_ctx filter, uint32_t action, const int *calls,
			   size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int error = seccomp_rule_add(filter, action, calls[i], 0);

		if (error < 0)
			return error;
	}
	return 0;
}

static int filter_add_one(scmp_filter_ctx filter, int call, struct scmp_arg_cmp match)
{
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &match);
}

static int filter_add_sockets(scmp_filter_ctx filter, enum sandbox_profile profile,
			      bool raw)
{
	for (size_t i = 0; i < COUNT(filter_sockets); i++) {
		const struct filter_socket *row = &filter_sockets[i];
		const struct scmp_arg_cmp match[] = {
			filter_equal(0, (uint32_t)row->family),
			filter_masked(1, SOCKET_TYPE_MASK, (uint32_t)row->type),
			filter_equal(2, (uint32_t)row->protocol),
		};
		int error;

		if (row->profile != profile || (row->raw_only && !raw))
			continue;
		error = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket),
					       row->protocol < 0 ? 2 : 3, match);
		if (error < 0)
			return error;
	}
	/* Local pairs: libevent and libmicrohttpd wake themselves by them. */
	return filter_add_one(filter, SCMP_SYS(socketpair), filter_equal(0, AF_UNIX));
}

/* Calls that depend on one argument. */
static int filter_add_fcntls(scmp_filter_ctx filter)
{
	const int calls[] = {SCMP_SYS(fcntl), SCMP_SYS(fcntl64)};
	int error = 0;

	for (size_t i = 0; error == 0 && i < COUNT(filter_fcntls); i++)
		for (size_t call = 0; error == 0 && call < COUNT(calls); call++)
			error = filter_add_one(filter, calls[call],
					       filter_equal(1, filter_fcntls[i]));
	return error;
}

static int filter_add_arguments(scmp_filter_ctx filter)
{
	const uint32_t self = (uint32_t)getpid();
	const struct {
		int call;
		struct scmp_arg_cmp match;
	} rows[] = {
		/* No memory becomes code. */
		{SCMP_SYS(mmap), filter_masked(2, PROT_EXEC, 0)},
		{SCMP_SYS(mmap2), filter_masked(2, PROT_EXEC, 0)},
		{SCMP_SYS(mprotect), filter_masked(2, PROT_EXEC, 0)},
		/* isatty(), and what libevent and libmicrohttpd ask of sockets. */
		{SCMP_SYS(ioctl), filter_equal(1, TCGETS)},
		{SCMP_SYS(ioctl), filter_equal(1, FIONBIO)},
		{SCMP_SYS(ioctl), filter_equal(1, FIONREAD)},
		/* abort() */
		{SCMP_SYS(tgkill), filter_equal(0, self)},
		{SCMP_SYS(prlimit64), filter_equal(0, 0)},
		{SCMP_SYS(prctl), filter_equal(0, PR_SET_NAME)},
	};
	int error = 0;

	for (size_t i = 0; i < COUNT(rows) && error == 0; i++)
		error = filter_add_one(filter, rows[i].call, rows[i].match);
	return error;
}

static int filter_add_probe(scmp_filter_ctx filter)
{
	/* What libupnp asks of the interface it is to use. */
	static const uint32_t asked[] = {SIOCGIFCONF, SIOCGIFFLAGS, SIOCGIFADDR,
					 SIOCGIFNETMASK, SIOCGIFINDEX};
	/* The child ends with its parent. */
	int error = filter_add_one(filter, SCMP_SYS(prctl),
				   filter_equal(0, PR_SET_PDEATHSIG));

	for (size_t i = 0; error == 0 && i < COUNT(asked); i++)
		error = filter_add_one(filter, SCMP_SYS(ioctl),
				       filter_equal(1, asked[i]));
	return error;
}

static int filter_fill(scmp_filter_ctx filter, enum sandbox_profile profile, bool raw)
{
	int error = filter_add_list(filter, SCMP_ACT_ALLOW, filter_common,
				    COUNT(filter_common));

	if (error == 0)
		error = filter_add_arguments(filter);
	if (error == 0)
		error = filter_add_fcntls(filter);
	if (error == 0)
		error = filter_add_sockets(filter, profile, raw);
	if (error == 0 && profile == SANDBOX_CORE)
		error = filter_add_list(filter, SCMP_ACT_ALLOW, filter_core,
					COUNT(filter_core));
	if (error == 0 && profile == SANDBOX_PROBE)
		error = filter_add_list(filter, SCMP_ACT_ALLOW, filter_probe,
					COUNT(filter_probe));
	if (error == 0 && profile == SANDBOX_PROBE)
		error = filter_add_probe(filter);
	if (error == 0)
		error = filter_add_list(filter, SCMP_ACT_KILL_PROCESS, filter_deadly,
					COUNT(filter_deadly));
	return error;
}

/* A sanitizer's runtime opens files, traces and starts threads: only sockets are left.
 */
static int filter_fill_wide(scmp_filter_ctx filter, enum sandbox_profile profile)
{
	static const int denied[] = {AF_NETLINK, AF_PACKET};
	int error = 0;

	if (profile != SANDBOX_WORKER && profile != SANDBOX_PROBE)
		return 0;
	for (size_t i = 0; i < COUNT(denied) && error == 0; i++) {
		const struct scmp_arg_cmp match = filter_equal(0, (uint32_t)denied[i]);

		error = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM),
					       SCMP_SYS(socket), 1, &match);
	}
	return error;
}

int sandbox_filter_load(enum sandbox_profile profile, bool raw, bool wide)
{
	scmp_filter_ctx filter;
	int error;

	if (profile == SANDBOX_LAUNCHER)
		return 0;
	filter = seccomp_init(wide ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EPERM));
	if (!filter)
		return -ENOMEM;
	/* A balanced tree of comparisons; older libseccomp lacks it and is only slower.
	 */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	error = wide ? filter_fill_wide(filter, profile)
		     : filter_fill(filter, profile, raw);
	if (error == 0)
		error = seccomp_load(filter);
	seccomp_release(filter);
	return error;
}
