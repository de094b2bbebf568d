/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ipt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define LOCK_PATH "/run/xtables.lock"
#define LOCK_MODE 0600
/* iptables-restore of a large firewall holds it that long; who holds it longer makes
 * clients try again. */
#define LOCK_PATIENCE_MS 200
#define LOCK_PAUSE_MS 2

void ipt_lock_open(struct ipt_lock *lock, int fd)
{
	*lock = (struct ipt_lock){.fd = -1};
	if (fd > 0)
		lock->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	else
		lock->fd = open(LOCK_PATH, O_RDONLY | O_CREAT | O_CLOEXEC, LOCK_MODE);
	if (lock->fd < 0)
		log_warning("cannot open %s: %s; an iptables command at the same "
			    "moment may undo a change, which is mended some seconds "
			    "later",
			    LOCK_PATH, strerror(errno));
}

void ipt_lock_close(struct ipt_lock *lock)
{
	if (lock->fd >= 0)
		(void)close(lock->fd);
	lock->fd = -1;
}

int ipt_lock_wait(struct ipt_lock *lock, int patience_ms)
{
	const int64_t end_ms = clock_now_ms() + patience_ms;

	while (lock->fd >= 0 && flock(lock->fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (clock_now_ms() >= end_ms) {
			if (!lock->complained)
				log_warning("somebody has held %s for more than %d ms: "
					    "nothing can be changed until it is free; "
					    "see who: fuser -v %s",
					    LOCK_PATH, patience_ms, LOCK_PATH);
			lock->complained = true;
			return -EBUSY;
		}
		(void)poll(NULL, 0, LOCK_PAUSE_MS);
	}
	lock->complained = false;
	return 0;
}

int ipt_lock_take(struct ipt_lock *lock)
{
	/* Whoever comes after one that waited in vain does not wait, too. */
	return ipt_lock_wait(lock, lock->complained ? 0 : LOCK_PATIENCE_MS);
}

void ipt_lock_release(struct ipt_lock *lock)
{
	if (lock->fd >= 0)
		(void)flock(lock->fd, LOCK_UN);
}
