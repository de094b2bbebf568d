/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/http_door.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocols/http.h"
#include "protocols/http_socket.h"

/* Of a head, what is looked at here; one that is longer is refused. */
#define HEAD_SIZE (HTTP_HEADERS_MAX + 2048)
#define ANSWER_END "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
/* Reads of what a refused client says on at one turn of the loop; more is rude. */
#define VAIN_READS_MAX 16
/* Connections taken in at one turn of the loop. */
#define ACCEPT_MAX 64
/* Units: ms until we ask again for a descriptor that we did not get. */
#define REST_MS 50

struct http_door {
	struct http_door_config config;
	int fd;
	bool full;
	struct event *visit; /* somebody wants in */
	struct event *reaper;
	struct event *rest;
	struct http_slots requests;
	struct http_slots answers;
	size_t answers_size;
};

static const struct timeval *timeval_from_ms(int64_t ms, struct timeval *out)
{
	out->tv_sec = (time_t)(ms / 1000);
	out->tv_usec = (suseconds_t)(ms % 1000 * 1000);
	return out;
}

/* ---- waiting ---- */

static void stop_waiting(struct http_guest *guest)
{
	struct http_door *door = guest->door;

	if (guest->slots)
		http_slots_remove(guest->slots, &guest->slot);
	guest->slots = NULL;
	door->answers_size -= guest->answer_size;
	guest->answer_size = 0;
}

static void stop_listening(struct http_guest *guest)
{
	if (guest->arrival)
		event_free(guest->arrival);
	guest->arrival = NULL;
}

void http_door_forget(struct http_guest *guest)
{
	stop_waiting(guest);
	stop_listening(guest);
	free(guest);
}

void http_door_cut(const struct http_guest *guest)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

	if (connect(guest->slot.fd, &nobody, sizeof(nobody)) < 0)
		(void)shutdown(guest->slot.fd, SHUT_RDWR);
}

/*
 * End the connection of a slot that is out of its list. Inside, shutting the socket
 * down makes libmicrohttpd see the end.
 */
static void hang_up(struct http_slot *slot)
{
	struct http_guest *guest = (struct http_guest *)slot; /* its first member */

	stop_waiting(guest);
	if (!guest->arrival) {
		if (guest->partial)
			http_door_cut(guest);
		else
			(void)shutdown(slot->fd, SHUT_RDWR);
		return;
	}
	(void)close(slot->fd);
	http_door_forget(guest);
}

static int64_t get_earlier(int64_t a_ms, int64_t b_ms)
{
	if (a_ms < 0 || b_ms < 0)
		return a_ms < 0 ? b_ms : a_ms;
	return a_ms < b_ms ? a_ms : b_ms;
}

/* The next one that is late; without any an idle server sleeps. */
static void start_reaper(struct http_door *door, int64_t now_ms)
{
	int64_t delay_ms;
	struct timeval delay;

	if (event_pending(door->reaper, EV_TIMEOUT, NULL))
		return;
	delay_ms = get_earlier(http_slots_get_delay_ms(&door->requests,
						       door->config.request_timeout_ms,
						       now_ms),
			       http_slots_get_delay_ms(&door->answers,
						       HTTP_ANSWER_TIMEOUT_MS, now_ms));
	if (delay_ms >= 0)
		event_add(door->reaper, timeval_from_ms(delay_ms, &delay));
}

/*
 * libmicrohttpd ends silent connections; one that sends or reads an octet now and then
 * is ended here (HTTP-3).
 */
static void on_reap(evutil_socket_t fd, short what, void *user)
{
	struct http_door *door = user;
	int64_t now_ms = clock_now_ms();
	struct http_slot *slot;

	(void)fd;
	(void)what;
	while ((slot = http_slots_take_late(&door->requests,
					    door->config.request_timeout_ms, now_ms)))
		hang_up(slot);
	while ((slot = http_slots_take_late(&door->answers, HTTP_ANSWER_TIMEOUT_MS,
					    now_ms)))
		hang_up(slot);
	start_reaper(door, now_ms);
}

static void begin_waiting(struct http_guest *guest, struct http_slots *slots)
{
	int64_t now_ms = clock_now_ms();
	struct http_slot *victim =
		http_slots_add(slots, &guest->slot, &guest->client, now_ms);

	guest->slots = slots;
	if (victim)
		hang_up(victim);
	start_reaper(guest->door, now_ms);
}

void http_door_end_request(struct http_guest *guest)
{
	stop_waiting(guest);
}

void http_door_begin_answer(struct http_guest *guest, size_t size)
{
	struct http_door *door = guest->door;
	struct http_slot *victim;

	stop_waiting(guest);
	while (door->answers_size + size > HTTP_ANSWERS_SIZE_MAX &&
	       (victim = http_slots_take_most(&door->answers)))
		hang_up(victim);
	guest->answer_size = size;
	door->answers_size += size;
	begin_waiting(guest, &door->answers);
}

/* ---- at the door ---- */

static void dismiss(struct http_guest *guest)
{
	(void)close(guest->slot.fd);
	http_door_forget(guest);
}

static void enter(struct http_guest *guest)
{
	struct http_door *door = guest->door;

	stop_listening(guest);
	door->config.enter(door->config.user, guest);
}

/*
 * Take in what he still says until he ends it: closing on it would reset the
 * connection under the answer. Returns false when he is dismissed.
 */
static bool listen_in_vain(struct http_guest *guest)
{
	char text[HEAD_SIZE];
	ssize_t length = 1;

	for (int i = 0; i < VAIN_READS_MAX && length > 0; i++)
		length = recv(guest->slot.fd, text, sizeof(text), MSG_DONTWAIT);
	if (length < 0 && errno == EAGAIN)
		return true;
	dismiss(guest);
	return false;
}

static const char *get_refusal(uint16_t status)
{
	switch (status) {
	case 413:
		return "HTTP/1.1 413 Content Too Large" ANSWER_END;
	case 414:
		return "HTTP/1.1 414 URI Too Long" ANSWER_END;
	case 431:
		return "HTTP/1.1 431 Request Header Fields Too Large" ANSWER_END;
	default:
		return "HTTP/1.1 400 Bad Request" ANSWER_END;
	}
}

static bool refuse(struct http_guest *guest, uint16_t status)
{
	const char *text = get_refusal(status);

	guest->refused = true;
	(void)send(guest->slot.fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)shutdown(guest->slot.fd, SHUT_WR);
	return listen_in_vain(guest);
}

/*
 * Look at what has come, and leave it in the socket for libmicrohttpd. He who has hung
 * up without a whole head is dismissed. Returns true when he stays at the door.
 */
static bool attend(struct http_guest *guest, bool hung_up)
{
	char text[HEAD_SIZE];
	ssize_t length =
		recv(guest->slot.fd, text, sizeof(text), MSG_PEEK | MSG_DONTWAIT);
	uint16_t status = 0;
	bool whole = length > 0 && http_head_scan(text, (size_t)length, &status);

	if (whole && status)
		return refuse(guest, status);
	if (!whole && length == (ssize_t)sizeof(text))
		return refuse(guest, 431);
	if (!whole && !hung_up && length != 0 && (length > 0 || errno == EAGAIN))
		return true;
	if (whole)
		enter(guest);
	else
		dismiss(guest);
	return false;
}

static void on_arrival(evutil_socket_t fd, short what, void *user)
{
	struct http_guest *guest = user;

	(void)fd;
	if (guest->refused)
		(void)listen_in_vain(guest);
	else
		(void)attend(guest, (what & EV_CLOSED) != 0);
}

/* What was looked at stays in the socket: only what is new may wake us. */
static bool listen_to(struct http_guest *guest)
{
	guest->arrival =
		event_new(guest->door->config.base, guest->slot.fd,
			  EV_READ | EV_CLOSED | EV_ET | EV_PERSIST, on_arrival, guest);
	return guest->arrival && event_add(guest->arrival, NULL) == 0;
}

void http_door_take(struct http_door *door, int fd, const struct ip_addr *client,
		    const struct ip_addr *local)
{
	const struct lan_info *lan = door->config.lan;
	struct http_guest *guest = NULL;

	/* Others are not even answered (HTTP-4, IGD-1). */
	if (lan_info_has_host(lan, client) && lan_info_has_address(lan, local))
		guest = calloc(1, sizeof(*guest));
	if (!guest) {
		(void)close(fd);
		return;
	}
	guest->slot.fd = fd;
	guest->door = door;
	guest->client = *client;
	begin_waiting(guest, &door->requests);
	if (attend(guest, false) && !listen_to(guest))
		dismiss(guest);
}

/* No descriptors, or no memory: he who waits most gives way, and we ask again. */
static void make_room(struct http_door *door)
{
	struct http_slot *victim = http_slots_take_most(&door->requests);
	struct timeval delay;

	if (!victim)
		victim = http_slots_take_most(&door->answers);
	if (victim)
		hang_up(victim);
	event_del(door->visit);
	event_add(door->rest, timeval_from_ms(REST_MS, &delay));
}

static void on_rest(evutil_socket_t fd, short what, void *user)
{
	struct http_door *door = user;

	(void)fd;
	(void)what;
	if (!door->full)
		event_add(door->visit, NULL);
}

static bool is_exhausted(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS ||
	       error == ENOMEM;
}

static void on_visit(evutil_socket_t listener, short what, void *user)
{
	struct http_door *door = user;

	(void)what;
	for (int i = 0; i < ACCEPT_MAX && !door->full; i++) {
		struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
		socklen_t length = sizeof(peer);
		int fd = accept4(listener, (struct sockaddr *)&peer, &length,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct ip_addr client = addr_from_sockaddr(&peer);
		struct ip_addr local;

		/* Said of the second one even when nobody is there. */
		if (fd < 0 && i == 0 && is_exhausted(errno))
			make_room(door);
		if (fd < 0 && errno != ECONNABORTED)
			return;
		if (fd < 0)
			continue;
		local = http_socket_get_local(fd);
		http_door_take(door, fd, &client, &local);
	}
}

void http_door_set_full(struct http_door *door, bool full)
{
	if (door->full == full)
		return;
	door->full = full;
	if (full)
		event_del(door->visit);
	else if (!event_pending(door->rest, EV_TIMEOUT, NULL))
		event_add(door->visit, NULL);
}

/* ---- opening and closing ---- */

static void event_free_safe(struct event *event)
{
	if (event)
		event_free(event);
}

int http_door_open(const struct http_door_config *config, struct http_door **out)
{
	struct http_door *door = calloc(1, sizeof(*door));
	int error;

	if (!door)
		return -ENOMEM;
	door->config = *config;
	door->fd = -1;
	http_slots_init(&door->requests, HTTP_REQUESTS_MAX,
			HTTP_REQUESTS_PER_CLIENT_MAX);
	http_slots_init(&door->answers, HTTP_ANSWERS_MAX, HTTP_ANSWERS_MAX);
	error = http_socket_listen(config->lan, config->family, config->port,
				   &door->fd);
	if (!error) {
		door->visit = event_new(config->base, door->fd, EV_READ | EV_PERSIST,
					on_visit, door);
		door->reaper = evtimer_new(config->base, on_reap, door);
		door->rest = evtimer_new(config->base, on_rest, door);
		if (!door->visit || !door->reaper || !door->rest ||
		    event_add(door->visit, NULL) < 0)
			error = -ENOMEM;
	}
	if (error) {
		http_door_close(door);
		return error;
	}
	*out = door;
	return 0;
}

void http_door_close(struct http_door *door)
{
	struct http_slot *slot;

	if (!door)
		return;
	while ((slot = http_slots_take_most(&door->requests)))
		hang_up(slot);
	event_free_safe(door->visit);
	event_free_safe(door->reaper);
	event_free_safe(door->rest);
	if (door->fd >= 0)
		(void)close(door->fd);
	free(door);
}
