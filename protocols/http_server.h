/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_HTTP_SERVER_H
#define PROTOCOLS_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/http.h"
#include "protocols/http_answer.h"
#include "protocols/worker.h"

struct event_base;

/**
 * Connections of one LAN and family together, and of one address in it (HTTP-3); how
 * many of them may wait for their client stands in http_door.h. All together have to do
 * with the descriptors that the sandbox leaves (1024): beyond that, who waits longest
 * gives way.
 */
#define HTTP_CONNECTIONS_MAX 160
#define HTTP_CONNECTIONS_PER_CLIENT_MAX 64
/** Units: seconds that a peer may be silent (HTTP-3). */
#define HTTP_TIMEOUT_S 30
/** Units: ms until a request must be complete, however busily octets drip in. */
#define HTTP_REQUEST_TIMEOUT_MS 10000

/** The HTTP server of one LAN and family: a listening socket, bound to its interface.
 */
struct http_server;

/** One request on its way to an answer. */
struct http_exchange;

/** A complete request. Borrowed for the call. */
struct http_request {
	enum http_method method;
	const char *path;
	const struct http_headers *headers;
	const char *body;
	size_t length;
	struct ip_addr client;
	const struct lan_info *lan;
};

struct http_handler {
	/** A whole request: http_exchange_answer() now or later, exactly once. */
	void (*request)(void *user, struct http_exchange *exchange,
			const struct http_request *request);
	/** An exchange that was not answered is gone: forget it. */
	void (*closed)(void *user, struct http_exchange *exchange);
	/** The answer with this tag has gone out (GENA-6); may be NULL. */
	void (*sent)(void *user, uint64_t tag);
};

struct http_config {
	struct event_base *base;
	const struct lan_info *lan; /* must outlive the server; may change */
	int family;		    /* AF_INET or AF_INET6: each has a server */
	uint16_t port;
	int64_t request_timeout_ms;	    /* HTTP_REQUEST_TIMEOUT_MS, but in tests */
	const struct http_handler *handler; /* must outlive the server */
	void *user;
};

/** Owns: caller closes. Errors: -errno, *out untouched. */
int http_server_open(const struct http_config *config, struct http_server **out)
	__attribute__((warn_unused_result));
/** Safe on NULL; not inside a handler's callbacks. Calls closed() for what is pending.
 */
void http_server_close(struct http_server *server);

/**
 * Serve a connection that was accepted elsewhere, from a client to one of our
 * addresses. Owns: takes fd, which does not block.
 */
void http_server_take(struct http_server *server, int fd, const struct ip_addr *client,
		      const struct ip_addr *local);

/** Owns: takes answer->bytes. */
void http_exchange_answer(struct http_exchange *exchange,
			  const struct http_answer *answer);

/** A pointer of the handler's, NULL at first. */
void http_exchange_set_context(struct http_exchange *exchange, void *context);
void *http_exchange_get_context(const struct http_exchange *exchange);

#endif
