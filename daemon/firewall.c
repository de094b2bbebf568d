/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/firewall.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define LOCK_PATH "/run/xtables.lock"
#define LOCK_MODE 0600
#define ANSWER_MAX 512

struct question {
	struct nlmsghdr header;
	struct nfgenmsg generic;
};

/* nfnetlink knows no such subsystem, even after it has tried to load it. */
bool firewall_is_answer(const void *answer, size_t length)
{
	struct nlmsghdr header;
	struct nlmsgerr failure;

	if (length < sizeof(header))
		return false;
	memcpy(&header, answer, sizeof(header));
	if (header.nlmsg_type != NLMSG_ERROR)
		return true;
	if (length < sizeof(header) + sizeof(failure))
		return false;
	memcpy(&failure, (const char *)answer + sizeof(header), sizeof(failure));
	return failure.error != -EINVAL && failure.error != -EOPNOTSUPP;
}

static bool firewall_ask(int fd)
{
	const struct question question = {
		.header = {.nlmsg_len = sizeof(question),
			   .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
			   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.generic = {.version = NFNETLINK_V0},
	};
	char answer[ANSWER_MAX];
	ssize_t got;

	if (send(fd, &question, sizeof(question), 0) < 0)
		return false;
	do
		got = recv(fd, answer, sizeof(answer), 0);
	while (got < 0 && errno == EINTR);
	return got > 0 && firewall_is_answer(answer, (size_t)got);
}

static bool firewall_has_nf_tables(void)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	bool has;

	if (fd < 0)
		return false;
	has = firewall_ask(fd);
	(void)close(fd);
	return has;
}

bool firewall_is_iptables(const struct conf *conf)
{
	switch (conf->backend.type) {
	case CONF_BACKEND_IPTABLES:
		return true;
	case CONF_BACKEND_NFTABLES:
	case CONF_BACKEND_MEMORY:
		return false;
	case CONF_BACKEND_AUTO:
		break;
	}
	return !firewall_has_nf_tables();
}

/* The kernel lists the tables that somebody has asked for, if there are any. */
static bool firewall_has_legacy(const char *names)
{
	int fd = open(names, O_RDONLY | O_CLOEXEC);
	char first;
	bool has;

	if (fd < 0)
		return false;
	has = read(fd, &first, 1) == 1;
	(void)close(fd);
	return has;
}

bool firewall_may_have_leftovers(const struct conf *conf)
{
	if (firewall_is_iptables(conf))
		return firewall_has_nf_tables();
	return firewall_has_legacy("/proc/net/ip_tables_names") ||
	       firewall_has_legacy("/proc/net/ip6_tables_names");
}

void firewall_get_accept(const struct conf *conf, struct backend_accept *out)
{
	const struct conf_chain *integrate = &conf->backend.integrate;

	*out = (struct backend_accept){.how = BACKEND_ACCEPT_OFF};
	switch (integrate->how) {
	case CONF_INTEGRATE_OFF:
		break;
	case CONF_INTEGRATE_AUTO:
		out->how = BACKEND_ACCEPT_AUTO;
		break;
	case CONF_INTEGRATE_CHAIN:
		/* iptables knows no tables of both families */
		if (strcmp(integrate->family, "inet") != 0)
			out->how = BACKEND_ACCEPT_CHAIN;
		break;
	}
	out->ipv6 = strcmp(integrate->family, "ip6") == 0;
	(void)snprintf(out->table, sizeof(out->table), "%.*s",
		       (int)sizeof(out->table) - 1, integrate->table);
	(void)snprintf(out->chain, sizeof(out->chain), "%.*s",
		       (int)sizeof(out->chain) - 1, integrate->chain);
}

/* It is there where a file system is read-only for us, once iptables has been used. */
int firewall_open_lock(void)
{
	int fd = open(LOCK_PATH, O_RDONLY | O_CREAT | O_CLOEXEC, LOCK_MODE);

	if (fd < 0)
		fd = open(LOCK_PATH, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		log_warning("cannot open %s: %s; to have it there: touch %s", LOCK_PATH,
			    strerror(errno), LOCK_PATH);
	return fd;
}

int firewall_find_lock(void)
{
	struct stat there;
	struct stat lock;

	if (fstat(FIREWALL_LOCK_FD, &there) < 0 || stat(LOCK_PATH, &lock) < 0 ||
	    there.st_dev != lock.st_dev || there.st_ino != lock.st_ino)
		return 0;
	return FIREWALL_LOCK_FD;
}
