/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/ssdp_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocols/ssdp_limit.h"
#include "protocols/ssdp_queue.h"

/* Datagrams read at one wake-up; a search is much shorter than the buffer. */
#define RECEIVE_BATCH 32
#define RECEIVE_SIZE 1536
/* Random 0..100 ms before the first alive set (SSDP-13), the pause before its repeat.
 */
#define ALIVE_DELAY_MAX_MS 100
#define ALIVE_REPEAT_MS 200
/* A refresh comes at a random time before half of max-age. */
#define REFRESH_MIN_MS (SSDP_MAX_AGE_S * 1000 / 4)
#define REFRESH_MAX_MS (SSDP_MAX_AGE_S * 1000 / 2)

struct ssdp_server {
	struct ssdp_config config;
	int fd;
	uint32_t ifindex; /* of the time it was opened */
	struct event *readable;
	struct event *answer_timer;
	struct event *alive_timer;
	unsigned int alive_left; /* of this set */
	struct ssdp_limit limit;
	struct ssdp_queue queue;
};

/* A datagram that came in. */
struct ssdp_packet {
	struct sockaddr_storage from;
	struct ip_addr source;
	struct ip_addr destination;
	uint32_t ifindex;
	size_t length;
	char bytes[RECEIVE_SIZE];
};

static uint32_t random_below(uint32_t limit)
{
	uint32_t value = 0;

	/* Without entropy the delay is not random: no harm. */
	if (getrandom(&value, sizeof(value), GRND_NONBLOCK) != sizeof(value))
		return 0;
	return value % limit;
}

static void timer_start(struct event *timer, int64_t ms)
{
	struct timeval delay;

	if (ms < 0)
		ms = 0;
	delay.tv_sec = (time_t)(ms / 1000);
	delay.tv_usec = (suseconds_t)(ms % 1000 * 1000);
	event_add(timer, &delay);
}

/* ---- sending ---- */

/* From port 1900 and, for `from`, from that very address of ours (SSDP-3). */
static void send_datagram(const struct ssdp_server *server, const struct writer *out,
			  const struct sockaddr_storage *to, const struct ip_addr *from)
{
	struct iovec iov = {.iov_base = out->bytes, .iov_len = out->used};
	struct sockaddr_storage name = *to;
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control = {.bytes = {0}};
	struct in_pktinfo info = {
		.ipi_ifindex = (int)server->ifindex,
		.ipi_spec_dst = addr_to_ipv4(from),
	};
	struct msghdr message = {
		.msg_name = &name,
		.msg_namelen = sizeof(struct sockaddr_in),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	if (out->failed)
		return;
	header->cmsg_level = IPPROTO_IP;
	header->cmsg_type = IP_PKTINFO;
	header->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(header), &info, sizeof(info));
	/* A datagram that the kernel does not take is a datagram lost. */
	(void)sendmsg(server->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static struct ssdp_origin make_origin(const struct ssdp_server *server,
				      const struct ssdp_root *root,
				      const struct ip_addr *address)
{
	return (struct ssdp_origin){
		.address = *address,
		.http_port = server->config.http_port,
		.path = root->path,
		.boot_id = server->config.boot_id,
		.config_id = root->config_id,
	};
}

/* Our first IPv4 address on the LAN: the one that notifications name. */
static const struct ip_addr *first_ipv4(const struct lan_info *lan)
{
	for (uint32_t i = 0; i < lan->address_count && i < LAN_ADDRESSES_MAX; i++)
		if (addr_is_ipv4(&lan->addresses[i].addr))
			return &lan->addresses[i].addr;
	return NULL;
}

static void send_notify_set(const struct ssdp_server *server, enum ssdp_nts nts)
{
	const struct ip_addr *address = first_ipv4(server->config.lan);
	struct sockaddr_storage group;
	struct ip_addr group_addr;

	if (!address || !addr_parse(SSDP_GROUP, &group_addr))
		return;
	(void)addr_to_sockaddr(&group_addr, SSDP_PORT, &group);
	for (size_t r = 0; r < server->config.root_count; r++) {
		const struct ssdp_root *root = &server->config.roots[r];
		struct ssdp_origin origin = make_origin(server, root, address);

		for (size_t i = 0; i < root->target_count; i++) {
			char bytes[SSDP_DATAGRAM_MAX];
			struct writer out = writer_init(bytes, sizeof(bytes));

			ssdp_write_notify(&out, &origin, &root->targets[i], nts);
			send_datagram(server, &out, &group, address);
		}
	}
}

/* The answers of all roots to one search, types first (SSDP-8, CL-9). */
static void send_answers(const struct ssdp_server *server, const char *st,
			 const struct sockaddr_storage *to)
{
	struct ip_addr client = addr_from_sockaddr(to);
	const struct ip_addr *address =
		lan_info_get_address_for(server->config.lan, &client);
	int64_t wall_ms = clock_wall_ms();

	if (!address)
		return;
	for (size_t r = 0; r < server->config.root_count; r++) {
		const struct ssdp_root *root = &server->config.roots[r];
		struct ssdp_origin origin = make_origin(server, root, address);

		for (size_t i = 0; i < root->target_count; i++) {
			char bytes[SSDP_DATAGRAM_MAX];
			struct writer out = writer_init(bytes, sizeof(bytes));
			uint8_t version;

			if (!ssdp_target_matches(&root->targets[i], st, &version))
				continue;
			ssdp_write_response(&out, &origin, &root->targets[i], version,
					    wall_ms);
			send_datagram(server, &out, to, address);
		}
	}
}

static unsigned int count_answers(const struct ssdp_server *server, const char *st)
{
	unsigned int count = 0;
	uint8_t version;

	for (size_t r = 0; r < server->config.root_count; r++)
		for (size_t i = 0; i < server->config.roots[r].target_count; i++)
			if (ssdp_target_matches(&server->config.roots[r].targets[i], st,
						&version))
				count++;
	return count;
}

/* ---- timers ---- */

static void on_answer_timer(evutil_socket_t fd, short what, void *user)
{
	struct ssdp_server *server = user;
	int64_t now_ms = clock_now_ms();
	struct ssdp_wait wait;
	int64_t delay_ms;

	(void)fd;
	(void)what;
	while (ssdp_queue_take_due(&server->queue, now_ms, &wait))
		send_answers(server, wait.st, &wait.to);
	delay_ms = ssdp_queue_get_delay_ms(&server->queue, now_ms);
	if (delay_ms >= 0)
		timer_start(server->answer_timer, delay_ms);
}

static void on_alive_timer(evutil_socket_t fd, short what, void *user)
{
	struct ssdp_server *server = user;

	(void)fd;
	(void)what;
	send_notify_set(server, SSDP_ALIVE);
	if (--server->alive_left > 0) {
		timer_start(server->alive_timer, ALIVE_REPEAT_MS);
		return;
	}
	server->alive_left = SSDP_REPEAT;
	timer_start(server->alive_timer,
		    REFRESH_MIN_MS + random_below(REFRESH_MAX_MS - REFRESH_MIN_MS));
}

static void answer_later(struct ssdp_server *server, const struct ssdp_packet *packet,
			 const struct ssdp_search *search)
{
	uint32_t limit_ms =
		server->config.strict ? search->mx_s * 1000u : SSDP_DELAY_MAX_MS;
	struct ssdp_wait wait = {
		.due_ms = clock_now_ms() + random_below(limit_ms + 1),
		.to = packet->from,
	};
	struct ssdp_wait early;

	memcpy(wait.st, search->st, sizeof(wait.st));
	if (ssdp_queue_add(&server->queue, &wait, &early))
		send_answers(server, early.st, &early.to);
	on_answer_timer(-1, 0, server);
}

/* ---- receiving ---- */

static bool is_group(const struct ip_addr *addr)
{
	struct ip_addr group;

	return addr_parse(SSDP_GROUP, &group) && addr_equal(addr, &group);
}

/* By the interface it came in, its destination and its source, per packet (SSDP-2). */
static bool is_from_lan(const struct ssdp_server *server,
			const struct ssdp_packet *packet)
{
	const struct lan_info *lan = server->config.lan;

	return packet->ifindex == lan->ifindex &&
	       lan_info_has_host(lan, &packet->source) &&
	       addr_get_sockaddr_port(&packet->from) != 0 &&
	       (is_group(&packet->destination) ||
		lan_info_has_address(lan, &packet->destination));
}

static void handle_packet(struct ssdp_server *server, const struct ssdp_packet *packet)
{
	bool multicast = is_group(&packet->destination);
	struct ssdp_search search;
	unsigned int answers;

	if (!is_from_lan(server, packet) ||
	    !ssdp_parse_search(packet->bytes, packet->length, &search))
		return;
	if (multicast && !ssdp_search_is_valid(&search, server->config.strict))
		return;
	if (multicast && !ssdp_queue_admits(&server->queue, &packet->from, search.st))
		return;
	answers = count_answers(server, search.st);
	if (answers == 0 ||
	    !ssdp_limit_take(&server->limit, &packet->source, answers, clock_now_ms()))
		return;
	if (multicast)
		answer_later(server, packet, &search);
	else
		send_answers(server, search.st, &packet->from); /* SSDP-7 */
}

static void read_pktinfo(struct msghdr *message, struct ssdp_packet *packet)
{
	struct cmsghdr *header;
	struct in_pktinfo info;

	for (header = CMSG_FIRSTHDR(message); header;
	     header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != IPPROTO_IP || header->cmsg_type != IP_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(header), sizeof(info));
		packet->destination = addr_from_ipv4(info.ipi_addr);
		packet->ifindex = (uint32_t)info.ipi_ifindex;
	}
}

/* False when there is nothing to read. A datagram too long for us is read as empty. */
static bool receive_packet(const struct ssdp_server *server, struct ssdp_packet *packet)
{
	struct iovec iov = {.iov_base = packet->bytes,
			    .iov_len = sizeof(packet->bytes)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control;
	struct msghdr message = {
		.msg_name = &packet->from,
		.msg_namelen = sizeof(packet->from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t length;

	memset(&packet->from, 0, sizeof(packet->from));
	packet->ifindex = 0;
	length = recvmsg(server->fd, &message, MSG_DONTWAIT);
	if (length < 0)
		return false;
	packet->length = message.msg_flags & MSG_TRUNC ? 0 : (size_t)length;
	packet->source = addr_from_sockaddr(&packet->from);
	read_pktinfo(&message, packet);
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *user)
{
	struct ssdp_server *server = user;
	struct ssdp_packet packet;

	(void)fd;
	(void)what;
	for (unsigned int i = 0; i < RECEIVE_BATCH && receive_packet(server, &packet);
	     i++)
		handle_packet(server, &packet);
}

/* ---- opening and closing ---- */

static int set_options(int fd, const struct lan_info *lan, const struct ip_mreqn *group)
{
	static const struct {
		int level;
		int name;
		int value;
	} rows[] = {
		{SOL_SOCKET, SO_REUSEADDR, 1}, /* control points use 1900 too */
		{IPPROTO_IP, IP_PKTINFO, 1},
		{IPPROTO_IP, IP_MULTICAST_TTL, SSDP_TTL},
		{IPPROTO_IP, IP_MULTICAST_ALL, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (setsockopt(fd, rows[i].level, rows[i].name, &rows[i].value,
			       sizeof(rows[i].value)) < 0)
			return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, lan->name,
		       (socklen_t)strnlen(lan->name, sizeof(lan->name))) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, group, sizeof(*group)) < 0)
		return -errno;
	return 0;
}

static int open_socket(const struct lan_info *lan, int *out)
{
	const struct ip_addr *address = first_ipv4(lan);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(SSDP_PORT)};
	struct ip_mreqn group = {.imr_ifindex = (int)lan->ifindex};
	int error;
	int fd;

	if (!address)
		return -EADDRNOTAVAIL;
	group.imr_multiaddr.s_addr = inet_addr(SSDP_GROUP);
	group.imr_address = addr_to_ipv4(address);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	error = set_options(fd, lan, &group);
	if (!error &&
	    (bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0 ||
	     setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)) < 0))
		error = -errno;
	if (error) {
		close(fd);
		return error;
	}
	*out = fd;
	return 0;
}

static void server_free(struct ssdp_server *server)
{
	if (server->readable)
		event_free(server->readable);
	if (server->answer_timer)
		event_free(server->answer_timer);
	if (server->alive_timer)
		event_free(server->alive_timer);
	if (server->fd >= 0)
		close(server->fd);
	free(server);
}

static void say_byebye(const struct ssdp_server *server)
{
	for (unsigned int i = 0; i < SSDP_REPEAT; i++)
		send_notify_set(server, SSDP_BYEBYE);
}

int ssdp_server_open(const struct ssdp_config *config, struct ssdp_server **out)
{
	struct ssdp_server *server = calloc(1, sizeof(*server));
	int error;

	if (!server)
		return -ENOMEM;
	server->config = *config;
	server->ifindex = config->lan->ifindex;
	server->alive_left = SSDP_REPEAT;
	server->fd = -1;
	ssdp_limit_init(&server->limit, clock_now_ms());
	error = open_socket(config->lan, &server->fd);
	if (error) {
		server_free(server);
		return error;
	}
	server->readable = event_new(config->base, server->fd, EV_READ | EV_PERSIST,
				     on_readable, server);
	server->answer_timer = evtimer_new(config->base, on_answer_timer, server);
	server->alive_timer = evtimer_new(config->base, on_alive_timer, server);
	if (!server->readable || !server->answer_timer || !server->alive_timer ||
	    event_add(server->readable, NULL) < 0) {
		server_free(server);
		return -ENOMEM;
	}
	say_byebye(server);
	timer_start(server->alive_timer, random_below(ALIVE_DELAY_MAX_MS + 1));
	*out = server;
	return 0;
}

void ssdp_server_close(struct ssdp_server *server)
{
	if (!server)
		return;
	say_byebye(server);
	server_free(server);
}
