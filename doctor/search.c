/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/search.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sandbox.h"

#define SSDP_PORT 1900
#define SSDP_GROUP 0xeffffffaU
/* One datagram on a usual link. */
#define DATAGRAM_SIZE 2048
/* Datagrams of one LAN that are looked at; more is a flood. */
#define DATAGRAMS_MAX 512
/* Gateways of one LAN that are told: one is enough to know, a row of them is a lie. */
#define ANSWERS_MAX 4
/* What the parent hears of one LAN, at most: answers, the search, a flood. */
#define MESSAGES_MAX (ANSWERS_MAX + 2)
/* The parent waits so much longer than the child does. */
#define SEARCH_GRACE_MS 800
/* Of the user that owns nothing, where the system has no name for it. */
#define NOBODY 65534

/* MX 1: a device answers within that many seconds. */
static const char search_text[] = "M-SEARCH * HTTP/1.1\r\n"
				  "HOST: 239.255.255.250:1900\r\n"
				  "MAN: \"ssdp:discover\"\r\n"
				  "MX: 1\r\n"
				  "ST: urn:schemas-upnp-org:device:"
				  "InternetGatewayDevice:1\r\n"
				  "\r\n";

/* What the child hands over. */
enum search_event { SEARCH_DONE, SEARCH_ANSWERED, SEARCH_FLOODED };

struct search_message {
	uint32_t event;
	uint32_t lan;
	struct ip_addr host;
};

/* What one LAN may still have of us. */
struct search_quota {
	unsigned int datagrams;
	unsigned int answers;
};

bool search_is_gateway(const char *text, size_t length)
{
	static const char status[] = "HTTP/1.1 200";
	static const char type[] = "urn:schemas-upnp-org:device:InternetGatewayDevice:";
	struct span left = {text, length};

	if (length < sizeof(status) || memcmp(text, status, sizeof(status) - 1) != 0)
		return false;
	while (left.length > 0) {
		const char *end = memchr(left.at, '\n', left.length);
		size_t size = end ? (size_t)(end - left.at) + 1 : left.length;
		struct span line = {left.at, size};

		left = (struct span){left.at + size, left.length - size};
		if (size < 3 || strncasecmp(line.at, "ST:", 3) != 0)
			continue;
		line = span_trim((struct span){line.at + 3, size - 3});
		return line.length >= sizeof(type) - 1 &&
		       strncasecmp(line.at, type, sizeof(type) - 1) == 0;
	}
	return false;
}

/* A socket on a LAN that has asked. Errors: -1. */
static int socket_search(const struct lan_info *lan)
{
	const struct ip_mreqn interface = {.imr_ifindex = (int)lan->ifindex};
	const struct sockaddr_in group = {.sin_family = AF_INET,
					  .sin_port = htons(SSDP_PORT),
					  .sin_addr.s_addr = htonl(SSDP_GROUP)};
	const int off = 0, ttl = 2;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	/* Our own daemon is not asked: it hears nothing of what this host sends. */
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, lan->name,
		       (socklen_t)strlen(lan->name)) == 0 &&
	    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &interface,
		       sizeof(interface)) == 0 &&
	    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &off, sizeof(off)) == 0 &&
	    setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof(ttl)) == 0 &&
	    sendto(fd, search_text, sizeof(search_text) - 1, MSG_NOSIGNAL,
		   (const struct sockaddr *)&group, sizeof(group)) > 0)
		return fd;
	(void)close(fd);
	return -1;
}

static void tell(int told_fd, enum search_event event, uint32_t lan,
		 const struct ip_addr *host)
{
	struct search_message message = {.event = (uint32_t)event, .lan = lan};

	if (host)
		message.host = *host;
	(void)send(told_fd, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/*
 * One datagram from a LAN; told when it is a gateway's. False when that LAN has had
 * more than its share: others are listened to all the same.
 */
static bool socket_take(int fd, uint32_t lan, struct search_quota *left, int told_fd)
{
	char text[DATAGRAM_SIZE];
	struct sockaddr_storage source = {0};
	socklen_t size = sizeof(source);
	ssize_t length =
		recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&source, &size);
	struct ip_addr host;

	if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return true;
	if (length >= 0 && search_is_gateway(text, (size_t)length)) {
		host = addr_from_sockaddr(&source);
		tell(told_fd, SEARCH_ANSWERED, lan, &host);
		left->answers--;
	}
	if (--left->datagrams > 0 && left->answers > 0)
		return true;
	tell(told_fd, SEARCH_FLOODED, lan, NULL);
	return false;
}

static void sockets_listen(struct pollfd *sockets, size_t count, int told_fd)
{
	int64_t deadline_ms = clock_now_ms() + SEARCH_TIME_MS;
	struct search_quota left[LANS_MAX];
	int64_t left_ms;

	for (size_t i = 0; i < count; i++)
		left[i] = (struct search_quota){DATAGRAMS_MAX, ANSWERS_MAX};
	while ((left_ms = deadline_ms - clock_now_ms()) > 0) {
		if (poll(sockets, count, (int)left_ms) < 0 && errno != EINTR)
			return;
		for (size_t i = 0; i < count; i++) {
			if ((sockets[i].revents & (POLLIN | POLLERR)) == 0 ||
			    socket_take(sockets[i].fd, (uint32_t)i, &left[i], told_fd))
				continue;
			(void)close(sockets[i].fd);
			sockets[i] = (struct pollfd){.fd = -1};
		}
	}
}

/* Root becomes nobody; anybody else stays who it is, with nothing to gain. */
static int child_drop(void)
{
	const struct passwd *nobody = geteuid() == 0 ? getpwnam("nobody") : NULL;

	return sandbox_enter(SANDBOX_PROBE, nobody ? nobody->pw_uid : NOBODY,
			     nobody ? nobody->pw_gid : NOBODY, false);
}

_Noreturn static void child_run(const struct network *network, int told_fd)
{
	struct pollfd sockets[LANS_MAX];

	/* In this order: a change of users makes it live on. */
	if (child_drop() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		_exit(1);
	for (size_t i = 0; i < network->lan_count; i++) {
		const struct lan_info *lan = &network->lans[i];

		sockets[i] = (struct pollfd){.fd = -1, .events = POLLIN};
		if (lan->ifindex != 0)
			sockets[i].fd = socket_search(lan);
		if (sockets[i].fd >= 0)
			tell(told_fd, SEARCH_DONE, (uint32_t)i, NULL);
	}
	sockets_listen(sockets, network->lan_count, told_fd);
	_exit(0);
}

void search_start(const struct network *network, struct search *out)
{
	int pair[2];

	*out = (struct search){.pid = -1, .fd = -1};
	if (network->lan_count == 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	out->pid = fork();
	if (out->pid == 0) {
		(void)close(pair[0]);
		child_run(network, pair[1]);
	}
	(void)close(pair[1]);
	if (out->pid < 0)
		(void)close(pair[0]);
	else
		out->fd = pair[0];
}

/* An address of this host: our own daemon, or another program here. */
static bool host_is_own(const struct network *network, const struct ip_addr *host)
{
	for (size_t i = 0; i < network->lan_count; i++)
		for (size_t j = 0; j < network->lans[i].address_count; j++)
			if (addr_equal(&network->lans[i].addresses[j].addr, host))
				return true;
	return addr_equal(&network->wan.address, host);
}

static void answer_take(const struct search_message *message,
			const struct network *network, struct facts_search *out)
{
	if (!addr_is_host(&message->host) || host_is_own(network, &message->host) ||
	    out->count == FACTS_ANSWERS_MAX)
		return;
	/* One of each LAN is told. */
	for (size_t i = 0; i < out->count; i++)
		if (out->answers[i].lan == message->lan)
			return;
	out->answers[out->count++] =
		(struct facts_answer){.lan = message->lan, .host = message->host};
}

/* A child may lie: what it says is looked at as what a stranger says. */
static void message_take(const struct search_message *message,
			 const struct network *network, struct facts_search *out)
{
	if (message->lan >= network->lan_count)
		return;
	if (message->event == SEARCH_DONE)
		out->done[message->lan] = true;
	else if (message->event == SEARCH_FLOODED)
		out->flooded[message->lan] = true;
	else if (message->event == SEARCH_ANSWERED)
		answer_take(message, network, out);
}

void search_finish(struct search *search, const struct network *network,
		   struct facts_search *out)
{
	int64_t deadline_ms = clock_now_ms() + SEARCH_TIME_MS + SEARCH_GRACE_MS;
	struct pollfd ready = {.fd = search->fd, .events = POLLIN};
	size_t left = (size_t)MESSAGES_MAX * LANS_MAX;
	struct search_message message;

	memset(out, 0, sizeof(*out));
	if (search->pid < 0)
		return;
	while (left-- > 0) {
		int64_t left_ms = deadline_ms - clock_now_ms();

		if (left_ms <= 0 || poll(&ready, 1, (int)left_ms) <= 0 ||
		    recv(search->fd, &message, sizeof(message), 0) != sizeof(message))
			break;
		message_take(&message, network, out);
	}
	(void)kill(search->pid, SIGKILL);
	(void)waitpid(search->pid, NULL, 0);
	(void)close(search->fd);
	search->pid = -1;
}
