/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/instance.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

/* An abstract name: it is one network namespace's, and goes with the process. */
#define INSTANCE_NAME "portreeve/inet-portreeve"
/* How long one that is just ending has to be gone. */
#define INSTANCE_LEAVE_MS 2000

static socklen_t instance_fill_address(struct sockaddr_un *address)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path + 1, INSTANCE_NAME, sizeof(INSTANCE_NAME) - 1);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			   sizeof(INSTANCE_NAME));
}

/* Owns: the descriptor. Errors: -errno. */
static int instance_bind(void)
{
	struct sockaddr_un address;
	socklen_t length = instance_fill_address(&address);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error;

	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&address, length) == 0 &&
	    listen(fd, 1) == 0)
		return fd;
	error = -errno;
	(void)close(fd);
	return error;
}

/*
 * Who holds the name: 0 and *peer, after having waited for one that is ending. -errno
 * when nobody does any more.
 */
static int instance_ask(struct ucred *peer)
{
	struct sockaddr_un address;
	socklen_t length = instance_fill_address(&address);
	socklen_t size = sizeof(*peer);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pollfd wait = {.fd = fd};
	int error = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, length) != 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &size) != 0)
		error = -errno;
	/* the hang-up of a connection that is never accepted is the end of its owner */
	else if (poll(&wait, 1, INSTANCE_LEAVE_MS) > 0)
		error = -ECONNRESET;
	(void)close(fd);
	return error;
}

int instance_claim(int *out)
{
	struct ucred peer;
	int fd = instance_bind();

	if (fd == -EADDRINUSE && instance_ask(&peer) != 0)
		fd = instance_bind();
	if (fd >= 0) {
		*out = fd;
		return 0;
	}
	if (fd != -EADDRINUSE)
		return fd;
	if (peer.uid == 0 || peer.uid == geteuid()) {
		log_error("another portreeved works in this network namespace, pid %d; "
			  "stop it first",
			  (int)peer.pid);
		return -EADDRINUSE;
	}
	/* Else any user could keep the gateway from starting. */
	log_warning("user %u, pid %d, holds the name that tells portreeveds apart; "
		    "starting all the same",
		    (unsigned int)peer.uid, (int)peer.pid);
	*out = -1;
	return 0;
}
