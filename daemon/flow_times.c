/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/flow_times.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"

/* Of the namespace of whoever reads them. */
#define CONNTRACK_DIRECTORY "/proc/sys/net/netfilter/"
#define TCP_FILE CONNTRACK_DIRECTORY "nf_conntrack_tcp_timeout_established"
/* Of a flow with answers; without any it ends sooner (nf_conntrack_udp_timeout). */
#define UDP_FILE CONNTRACK_DIRECTORY "nf_conntrack_udp_timeout_stream"
#define NUMBER_SIZE 16

static uint32_t number_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[NUMBER_SIZE];
	uint64_t value;
	ssize_t length;

	if (fd < 0)
		return 0;
	length = read(fd, text, sizeof(text));
	(void)close(fd);
	/* a line and its end */
	if (length < 2 || text[length - 1] != '\n')
		return 0;
	text[length - 1] = '\0';
	return parse_number(text, UINT32_MAX, &value) ? (uint32_t)value : 0;
}

struct flow_times flow_times_read(void)
{
	return (struct flow_times){.tcp_s = number_read(TCP_FILE),
				   .udp_s = number_read(UDP_FILE)};
}
