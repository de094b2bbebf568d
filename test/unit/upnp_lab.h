/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_UPNP_LAB_H
#define TEST_UNIT_UPNP_LAB_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "base/msg.h"
#include "protocols/worker.h"

struct event;
struct event_base;

/*
 * The real worker, over real sockets, in a network namespace of this process: "lo" is
 * the LAN, 10.99.0.1 the gateway, 10.99.0.2 and .3 its hosts, 192.168.77.5 a stranger.
 * The other end of the channel plays core.
 */

#define GATEWAY "10.99.0.1"
#define HOST "10.99.0.2"
#define HOST_2 "10.99.0.3"
#define STRANGER "192.168.77.5"
#define HTTP_PORT 49152
#define DEADLINE_MS 5000

/* One TCP connection of a host, or one UDP socket. */
struct lab_client {
	int fd;
	struct event *event;
	bool closed;
	size_t used;
	unsigned int datagrams;
	char in[65536];
};

struct lab {
	struct event_base *base;
	struct worker *worker;
	struct msg_channel *core;
	bool core_ended;
	unsigned int ready_count;
	struct worker_ready ready;
	unsigned int request_count;
	struct request request; /* the last one */
	bool hold;		/* do not reply */
	struct reply reply;	/* what core says to everything */
	uint16_t lan_count;	/* LANs that MSG_SETUP promises */
};

/** The one lab of this program. */
struct lab *lab_get(void);

/** Send what core sends. */
void lab_core_send(uint32_t type, const void *body, size_t length);
/** Reply to a request with lab->reply. */
void lab_core_reply(const struct request *request);

/** Run the loop until the condition holds; false when the deadline passed. */
bool lab_wait_for(bool (*condition)(const void *user), const void *user)
	__attribute__((warn_unused_result));
/** Condition: this client's connection has ended. */
bool lab_is_closed(const void *client);
/** Wait until core has heard this many MSG_READY, or MSG_REQUEST. */
void lab_wait_ready(unsigned int count);
void lab_wait_requests(unsigned int count);

struct sockaddr_in lab_get_address(const char *host, uint16_t port);
/** A socket bound to an address of a host. Owns: caller frees. */
struct lab_client *lab_client_new(int type, const char *from, uint16_t port);
/** Take in what comes to client->fd. */
void lab_client_listen(struct lab_client *client);
void lab_client_free(struct lab_client *client);
/** Connect to the HTTP port. */
struct lab_client *lab_dial(const char *from, const char *to);
void lab_say(const struct lab_client *client, const char *text);
/** Send a request, wait for the whole answer. Owns: caller frees. */
struct lab_client *lab_exchange(const char *from, const char *text);
/** Status of the HTTP answer; 0 = there is none. */
int lab_status_of(const struct lab_client *client);
void lab_assert_status(const char *text, int status);
void lab_assert_holds(const struct lab_client *client, const char *text);

/** Every descriptor that is free is beyond the limit now; returns the limit that was.
 */
struct rlimit lab_use_up_descriptors(void);

struct lan_info lab_make_lan(void);
/** A worker that has its channel and its set-up, but no LAN yet. */
void lab_start_worker(void);

/* cmocka's fixtures: once a program; a worker without and with a LAN; after a test. */
int lab_group_setup(void **state);
int lab_setup_bare(void **state);
int lab_setup_serving(void **state);
int lab_teardown(void **state);

#endif
