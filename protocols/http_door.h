/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_HTTP_DOOR_H
#define PROTOCOLS_HTTP_DOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/http_slots.h"
#include "protocols/worker.h"

/*
 * Who may be in the HTTP server. Connections are accepted here and wait at the door,
 * where they cost next to nothing, until the head of their request is whole; only then
 * libmicrohttpd gets them. It unfolds and joins lines in silence, so the door is where
 * the head is seen as it came (HTTP-2).
 */

struct event;
struct event_base;

/** Connections whose request is not complete, of a LAN and of one address in it: bursts
 * of a busy host pass. */
#define HTTP_REQUESTS_MAX 96
#define HTTP_REQUESTS_PER_CLIENT_MAX 32
/** Connections that have not taken in their answer yet; and octets of these answers,
 * below what the sandbox lets the worker have. */
#define HTTP_ANSWERS_MAX 48
#define HTTP_ANSWERS_SIZE_MAX ((size_t)8 * 1024 * 1024)
/** Units: ms that a client has to take its answer in, however slowly it reads. */
#define HTTP_ANSWER_TIMEOUT_MS 30000

struct http_door;

/** One connection. Fields are the door's. */
struct http_guest {
	struct http_slot slot;
	struct http_slots *slots; /* the list it is in; NULL = none */
	struct http_door *door;
	struct event *arrival; /* of more of its request; NULL = it is inside */
	size_t answer_size;
	struct ip_addr client;
	bool refused; /* and told so: its end is waited for */
	bool partial; /* the socket has taken a part of its answer: cut it, if need be
		       */
};

struct http_door_config {
	struct event_base *base;
	const struct lan_info *lan; /* must outlive the door; may change */
	int family;		    /* AF_INET or AF_INET6 */
	uint16_t port;
	int64_t request_timeout_ms;
	/** The head is whole: the user has the socket, guest->slot.fd, and the guest
	 * from now on, and gives it back with http_door_forget(). */
	void (*enter)(void *user, struct http_guest *guest);
	void *user;
};

/** Owns: caller closes. Errors: -errno, *out untouched. */
int http_door_open(const struct http_door_config *config, struct http_door **out)
	__attribute__((warn_unused_result));
/** Safe on NULL. Every guest that is inside was given back before. */
void http_door_close(struct http_door *door);

/**
 * Take in a connection that was accepted elsewhere, from a client to one of our
 * addresses. Owns: takes fd, which does not block.
 */
void http_door_take(struct http_door *door, int fd, const struct ip_addr *client,
		    const struct ip_addr *local);

/** Its request is complete: it waits for us now. */
void http_door_end_request(struct http_guest *guest);
/** Its answer of this size is on its way: we wait for it. */
void http_door_begin_answer(struct http_guest *guest, size_t size);
/**
 * Its answer stays a part: the connection ends with a reset, so that nobody takes that
 * part for the whole, and its socket says so to whoever waits for it.
 */
void http_door_cut(const struct http_guest *guest);
/** The connection is gone. Owns: takes guest. */
void http_door_forget(struct http_guest *guest);

/** Accept nobody, or somebody again. */
void http_door_set_full(struct http_door *door, bool full);

#endif
