/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker that asks a STUN server for the address that others see. One question at a
 * time, when core says so; what the answer means is core's to decide.
 */
#include <errno.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/msg.h"
#include "protocols/stun.h"
#include "protocols/worker.h"

/* RFC 8489 §6.2.1: the first wait, then twice as long each time. */
#define RTO_MS 500
/* So many times; the last wait, of 8 s, is for the answer to the last one. */
#define SENDS_MAX 5
/* Datagrams read at one wake-up. */
#define READ_MAX 64
#define DNS_PORT 53

struct worker {
	struct event_base *base;
	struct msg_channel *channel;
	struct stun_task task;
	bool asking;
	struct evdns_base *dns;
	struct event *timer;
	struct event *readable;
	int fd; /* -1 = not open */
	struct stun_id id;
	unsigned int sends;
};

/* Give up what is under way. */
static void forget(struct worker *worker)
{
	worker->asking = false;
	if (worker->dns)
		evdns_base_free(worker->dns, 0);
	worker->dns = NULL;
	if (worker->readable)
		event_free(worker->readable);
	worker->readable = NULL;
	if (worker->fd >= 0)
		close(worker->fd);
	worker->fd = -1;
	(void)evtimer_del(worker->timer);
}

static void tell(struct worker *worker, struct stun_told *told)
{
	told->serial = worker->task.serial;
	forget(worker);
	if (msg_channel_send(worker->channel, MSG_STUN_TOLD, told, sizeof(*told)) < 0)
		log_warning("stun: core does not take messages");
}

static void fail(struct worker *worker, enum stun_outcome outcome)
{
	struct stun_told told = {.outcome = outcome};

	tell(worker, &told);
}

static enum stun_outcome outcome_from_errno(int error)
{
	switch (error) {
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case ENETDOWN:
	case ENODEV:
	case EADDRNOTAVAIL:
		return STUN_OUTCOME_UNREACHABLE;
	default: /* the kernel's numbers, not ours */
		return STUN_OUTCOME_SILENCE;
	}
}

/* --- the question --- */

static void send_request(struct worker *worker)
{
	const int64_t wait_ms = (int64_t)RTO_MS << worker->sends;
	const struct timeval wait = {(time_t)(wait_ms / 1000),
				     (suseconds_t)(wait_ms % 1000 * 1000)};
	uint8_t request[STUN_REQUEST_SIZE];

	stun_encode_request(&worker->id, request);
	worker->sends++;
	/* What does not leave now may leave the next time. */
	if (send(worker->fd, request, sizeof(request), MSG_NOSIGNAL) < 0)
		log_debug("stun: cannot send: %s", strerror(errno));
	if (evtimer_add(worker->timer, &wait) < 0)
		fail(worker, STUN_OUTCOME_SILENCE);
}

static void on_timer(evutil_socket_t fd, short what, void *user)
{
	struct worker *worker = user;

	(void)fd;
	(void)what;
	if (worker->sends >= SENDS_MAX)
		fail(worker, STUN_OUTCOME_SILENCE);
	else
		send_request(worker);
}

/* True when that was the answer. */
static bool take_answer(struct worker *worker, const uint8_t *bytes, size_t length)
{
	struct stun_answer answer = stun_decode_answer(bytes, length, &worker->id);
	struct stun_told told = {.code = answer.code, .address = answer.address};

	switch (answer.kind) {
	case STUN_OTHER:
		return false;
	case STUN_ADDRESS:
		told.outcome = addr_is_ipv4(&answer.address) ? STUN_OUTCOME_ADDRESS
							     : STUN_OUTCOME_BAD;
		break;
	case STUN_REFUSED:
		told.outcome = STUN_OUTCOME_REFUSED;
		break;
	case STUN_BAD:
		told.outcome = STUN_OUTCOME_BAD;
		break;
	}
	if (told.outcome != STUN_OUTCOME_ADDRESS)
		told.address = (struct ip_addr){{0}};
	tell(worker, &told);
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *user)
{
	struct worker *worker = user;
	uint8_t bytes[STUN_ANSWER_MAX];

	(void)what;
	for (int i = 0; i < READ_MAX; i++) {
		ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_TRUNC);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		/* By ICMP, about what this very socket has sent (§6.2.1). */
		if (got < 0) {
			fail(worker, outcome_from_errno(errno));
			return;
		}
		if ((size_t)got <= sizeof(bytes) &&
		    take_answer(worker, bytes, (size_t)got))
			return;
	}
}

/* Connected, so that the kernel drops what others send. Errors: -errno. */
static int open_socket(const struct stun_task *task, const struct ip_addr *server)
{
	const int ifindex = (int)task->ifindex;
	struct sockaddr_storage address;
	socklen_t length = addr_to_sockaddr(&task->local, 0, &address);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &ifindex, sizeof(ifindex)) <
		    0 ||
	    bind(fd, (const struct sockaddr *)&address, length) < 0)
		error = -errno;
	length = addr_to_sockaddr(server, task->port, &address);
	if (error == 0 && connect(fd, (const struct sockaddr *)&address, length) < 0)
		error = -errno;
	if (error == 0)
		return fd;
	close(fd);
	return error;
}

static void ask_server(struct worker *worker, const struct ip_addr *server)
{
	worker->fd = open_socket(&worker->task, server);
	if (worker->fd < 0) {
		int error = -worker->fd;

		worker->fd = -1;
		fail(worker, outcome_from_errno(error));
		return;
	}
	worker->sends = 0;
	worker->readable = event_new(worker->base, worker->fd, EV_READ | EV_PERSIST,
				     on_readable, worker);
	if (!worker->readable || event_add(worker->readable, NULL) < 0 ||
	    getrandom(worker->id.bytes, sizeof(worker->id.bytes), 0) !=
		    (ssize_t)sizeof(worker->id.bytes)) {
		fail(worker, STUN_OUTCOME_SILENCE);
		return;
	}
	send_request(worker);
}

/* --- the name --- */

static void on_name(int result, char type, int count, int ttl, void *addresses,
		    void *user)
{
	struct worker *worker = user;
	struct in_addr ipv4;
	struct ip_addr server;

	(void)ttl;
	if (!worker->asking)
		return;
	if (result != DNS_ERR_NONE || type != DNS_IPv4_A || count <= 0) {
		fail(worker, STUN_OUTCOME_NO_NAME);
		return;
	}
	memcpy(&ipv4,
	       (const char *)addresses +
		       (size_t)(worker->task.turn % count) * sizeof(ipv4),
	       sizeof(ipv4));
	server = addr_from_ipv4(ipv4);
	if (addr_is_host(&server))
		ask_server(worker, &server);
	else
		fail(worker, STUN_OUTCOME_NO_NAME);
}

static void add_name_server(struct evdns_base *dns,
			    const struct stun_name_server *server)
{
	struct sockaddr_storage address;
	socklen_t length = addr_to_sockaddr(&server->address, DNS_PORT, &address);
	struct sockaddr_in6 in6;

	if (address.ss_family == AF_INET6) {
		memcpy(&in6, &address, sizeof(in6));
		in6.sin6_scope_id = server->scope;
		memcpy(&address, &in6, sizeof(in6));
	}
	if (evdns_base_nameserver_sockaddr_add(dns, (const struct sockaddr *)&address,
					       length, 0) != 0)
		log_debug("stun: cannot use a name server");
}

/* A new base for each name: it knows the name servers of now, and no old answers. */
static void ask_name(struct worker *worker)
{
	const struct stun_task *task = &worker->task;

	worker->dns = evdns_base_new(worker->base, 0);
	for (uint32_t i = 0; worker->dns && i < task->name_server_count; i++)
		add_name_server(worker->dns, &task->name_servers[i]);
	if (!worker->dns || evdns_base_count_nameservers(worker->dns) == 0 ||
	    !evdns_base_resolve_ipv4(worker->dns, task->host, DNS_QUERY_NO_SEARCH,
				     on_name, worker))
		fail(worker, STUN_OUTCOME_NO_NAME);
}

/* --- core --- */

/* Core is not the network, but what cannot be so is not begun. */
static bool task_is_sound(const struct stun_task *task)
{
	return task->name_server_count <= STUN_NAME_SERVERS_MAX &&
	       memchr(task->host, '\0', sizeof(task->host)) != NULL &&
	       (task->ifindex == 0 ||
		(task->host[0] != '\0' && task->port != 0 &&
		 addr_is_ipv4(&task->local) && !addr_is_none(&task->local)));
}

static int take_task(struct worker *worker, const void *body)
{
	struct stun_task task;
	struct ip_addr server;

	memcpy(&task, body, sizeof(task));
	if (!task_is_sound(&task))
		return -EPROTO;
	forget(worker);
	worker->task = task;
	worker->asking = task.ifindex != 0;
	if (!worker->asking)
		return 0;
	if (addr_parse(task.host, &server))
		ask_server(worker, &server);
	else
		ask_name(worker);
	return 0;
}

static int on_message(void *user, uint32_t type, const void *body, size_t length,
		      int fd)
{
	struct log_info level;
	int error = -EPROTO;

	if (fd >= 0) {
		close(fd);
	} else if (type == MSG_STUN && length == sizeof(struct stun_task)) {
		error = take_task(user, body);
	} else if (type == MSG_LOG && length == sizeof(level)) {
		memcpy(&level, body, sizeof(level));
		error = log_info_apply(&level) ? 0 : -EPROTO;
	}
	if (error != 0)
		log_error("stun: message type=%u length=%zu from core makes no sense",
			  type, length);
	return error;
}

static void on_ended(void *user, int error)
{
	struct worker *worker = user;

	if (error != 0)
		log_error("stun: channel to core broke: %s", strerror(-error));
	event_base_loopbreak(worker->base);
}

static void stop(struct worker *worker)
{
	if (worker->timer) {
		forget(worker);
		event_free(worker->timer);
	}
	msg_channel_free(worker->channel);
	free(worker);
}

static struct worker *start(struct event_base *base, int fd)
{
	static const struct msg_handler handler = {on_message, NULL, on_ended};
	const struct worker_ready ready = {0};
	struct worker *worker = calloc(1, sizeof(*worker));

	if (!worker) {
		log_error("stun: out of memory");
		close(fd);
		return NULL;
	}
	worker->base = base;
	worker->fd = -1;
	worker->timer = evtimer_new(base, on_timer, worker);
	worker->channel = msg_channel_new(base, fd, &handler, worker);
	if (!worker->channel)
		close(fd);
	if (!worker->timer || !worker->channel ||
	    msg_channel_send(worker->channel, MSG_READY, &ready, sizeof(ready)) < 0) {
		log_error("stun: out of memory");
		stop(worker);
		return NULL;
	}
	return worker;
}

const struct worker_ops *worker_get_stun(void)
{
	static const struct worker_ops ops = {
		.name = "stun",
		.protocols = WORKER_PROTOCOL_STUN,
		.start = start,
		.stop = stop,
	};

	return &ops;
}
