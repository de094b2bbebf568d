/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/http_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connections wait here for a turn of the loop only. */
#define LISTEN_BACKLOG 512

static int set_on(int fd, int level, int option)
{
	int on = 1;

	return setsockopt(fd, level, option, &on, sizeof(on));
}

/* Each family has its own socket, so that none stands in the other's way. */
static int bind_any(int fd, int family, uint16_t port)
{
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	if (family == AF_INET)
		return bind(fd, (const struct sockaddr *)&any4, sizeof(any4));
	if (set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY) < 0)
		return -1;
	return bind(fd, (const struct sockaddr *)&any6, sizeof(any6));
}

int http_socket_listen(const struct lan_info *lan, int family, uint16_t port, int *out)
{
	int error;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (set_on(fd, SOL_SOCKET, SO_REUSEADDR) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, lan->name,
		       (socklen_t)strnlen(lan->name, sizeof(lan->name))) < 0 ||
	    bind_any(fd, family, port) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	*out = fd;
	return 0;
}

struct ip_addr http_socket_get_local(int fd)
{
	struct sockaddr_storage local = {.ss_family = AF_UNSPEC};
	socklen_t length = sizeof(local);

	if (getsockname(fd, (struct sockaddr *)&local, &length) < 0)
		local.ss_family = AF_UNSPEC;
	return addr_from_sockaddr(&local);
}
