/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_PCP_LAB_H
#define TEST_UNIT_PCP_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/msg.h"
#include "protocols/natpmp.h"
#include "protocols/worker.h"
#include "test/unit/netns.h"

struct event;
struct event_base;

/*
 * The real worker between real packets and a core of straw. Two network namespaces: the
 * gateway's, in which the worker opens its sockets, and that of all hosts around it:
 *
 *   gateway  lan0 192.168.77.1, .2  ----  host0 192.168.77.10, .11  hosts
 *                 fd77::1, fe80::1              fd77::10, fe80::10
 *            lan1 192.168.78.1      ----  host1 192.168.78.10
 *            wan0 198.51.100.1      ----  host2 198.51.100.2
 *
 * A socket stays in the namespace it was made in, so one process can be both sides.
 */

#define LAB_DEADLINE_MS 5000
#define INBOX_MAX 1024
#define REQUESTS_MAX 2048
#define EPOCH_S 3600
#define EPOCH_MS 3600000

enum { LAN0, LAN1, WAN0, LINKS };

struct packet {
	struct ip_addr from;
	uint16_t from_port;
	int64_t at_ms;
	size_t length;
	uint8_t bytes[2048];
};

/* One socket of a host, and what it received. */
struct host {
	int fd;
	int error; /* of the last receive */
	struct event *readable;
	size_t count;
	struct packet inbox[INBOX_MAX];
};

/* The straw core, and what it was told. */
struct core {
	struct msg_channel *channel;
	bool answers; /* grants everything at once */
	size_t requests;
	struct request list[REQUESTS_MAX];
	size_t readies;
	struct worker_ready ready;
	bool ended;
};

struct lab {
	struct netns_pair ns;
	uint32_t ifindex[LINKS];
	struct event_base *base;
	struct event *tick;
	struct worker *worker;
	struct core core;
	struct wan_info wan;
	uint8_t protocols; /* of each LAN; NAT-PMP unless a test says more */
	bool ipv6;	   /* core tells of lan0's IPv6 addresses too */
	bool anycast;
	uint32_t requests_per_second; /* what core allows a client; 0 = no limit */
};

/** The one lab of this program. */
struct lab *lab_get(void);
/** Make the namespaces, once. Errors: false; true where that is not permitted, and then
 * lab_begin() skips the test. */
bool lab_make(void) __attribute__((warn_unused_result));

/* cmocka's fixtures: a worker for each test */
int lab_setup(void **state);
int lab_teardown(void **state);
/** Begin a test; with core having told of both LANs, sockets open. */
void lab_begin(void);
void lab_begin_served(void);

/** One turn of the loop; true while there is time left. */
bool lab_turn(int64_t deadline_ms);
void lab_wait_packets(const struct host *host, size_t count);
void lab_wait_requests(size_t count);
void lab_wait_ready(uint32_t sockets, uint32_t failed);

struct ip_addr lab_ip(const char *text);
/** A host's socket on one of its links, with an address that need not belong there.
 * Owns: caller frees. */
struct host *lab_host_new(const char *device, const char *address, uint16_t port);
void lab_host_free(struct host *host);
void lab_host_send(const struct host *host, const char *to, const void *bytes,
		   size_t length);
void lab_host_ask(const struct host *host, const char *to,
		  const struct natpmp_request *request);
/** Ask for the address on the same socket and see that its answer is the next packet:
 * whatever was sent before was met with silence. */
void lab_assert_silence(struct host *host, const char *to);
struct natpmp_reply lab_read_reply(const struct packet *packet);
bool lab_is_from(const struct packet *packet, const char *address);
/** About gap_ms after since_ms; a busy machine may blur it, but a gap and its double
 * stay two things. The exact times are checked on virtual time. */
void lab_assert_gap(int64_t since_ms, const struct packet *packet, int64_t gap_ms);

/* What core says. */
void lab_core_send(uint32_t type, const void *body, size_t length);
void lab_core_grant(const struct request *request);
void lab_core_send_wan(const char *external, bool nat);
struct lan_info lab_make_lan(int i);
void lab_core_send_lan(int i);
/** Both LANs served, external address 203.0.113.5. */
void lab_core_send_all(void);

#endif
