/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_MODEL_NAIVE_PRIVATE_H
#define TEST_MODEL_NAIVE_PRIVATE_H

#include <stdbool.h>

#include "conf/conf.h"
#include "daemon/ledger.h"
#include "daemon/network.h"
#include "protocols/request.h"

/* What the files of the naive table share. */

#define HOSTS 5 /* the last ones speak IPv6, and PCP only */
#define HOSTS_IPV4 3
#define QUOTA 6
#define TOTAL 14
/* IPv6 hosts may have half of them, rounded up. */
#define IPV6_TOTAL ((TOTAL + 1) / 2)
#define FILTERS 3
#define PORTS 5
#define NAIVE_MAX 64
#define REST_MAX 256
#define TEXT_SIZE 8

struct naive_lease {
	uint8_t protocol, origin;
	uint8_t card; /* of the machine, as the ledger has it; 0 = not known */
	bool enabled, has_nonce;
	uint8_t nonce; /* every octet of it */
	struct ip_addr internal, remote;
	uint16_t internal_port, external_port, remote_port;
	uint16_t set_first, set_count;
	uint16_t pinhole;
	unsigned int filters; /* a bit for each that is known */
	int64_t expires_ms;
	char text[TEXT_SIZE];
};

struct naive_rest {
	uint16_t port;
	struct ip_addr host;
	int64_t until_ms;
};

struct model {
	struct conf conf;
	struct network network;
	struct ledger *ledger;
	struct store_time at;
	size_t count;
	struct naive_lease leases[NAIVE_MAX];
	size_t rest_count;
	struct naive_rest rests[REST_MAX];
	uint8_t cards[HOSTS]; /* that answer there now; 0 = not known */
	int faults;	      /* how often the backend shall still fail */
};

/* naive.c */
struct ip_addr naive_address(const char *text);
struct ip_addr naive_host(unsigned int host);
uint8_t naive_take(const uint8_t **bytes, size_t *length);
/** NULL, or that the answer is another than `result`. */
const char *naive_expect(const struct reply *reply, enum result result);
struct naive_lease naive_from(const struct model *model, const struct request *request,
			      uint16_t port);
/** May the host have the port as far as other hosts are concerned? */
bool naive_port_free(const struct model *model, uint16_t port,
		     const struct ip_addr *host);
struct naive_lease *naive_find_external(struct model *model,
					const struct naive_lease *like);
/** How many leases more the client may have; *why there is none. */
size_t naive_quota(const struct model *model, const struct request *request,
		   enum result *why);
const char *naive_check_new(struct model *model, const struct naive_lease *lease);
/** Remove it and what is of its set; pointers to leases are no more. */
void naive_remove(struct model *model, const struct naive_lease *lease);

/** True for a lease of the owner's, or of whoever knows its nonce. */
bool naive_is_guarded(const struct naive_lease *lease);
/** The lease whose peer the request would take, and must not; NULL = none. */
const struct naive_lease *naive_narrows(struct model *model,
					const struct request *request);

/* naive_host.c */
/** For ledger_events; user is the model. */
bool naive_find_mac(void *user, const struct ip_addr *host,
		    uint8_t mac[LEASE_MAC_SIZE]);
/** Every host has a card, some the same. */
void naive_reset_cards(struct model *model);
/** A machine is heard of, moves, or has gone. */
const char *naive_step_machine(struct model *model, const uint8_t **bytes,
			       size_t *length);

/* naive_upnp.c */
/** Fill in a request of UPnP's further operations from bytes. */
void naive_fill_upnp(const struct model *model, const uint8_t **bytes, size_t *length,
		     struct request *request);
const char *naive_upnp(struct model *model, const struct request *request,
		       const struct reply *reply);
/** A number that is another one when what clients may watch is (IGD-36). */
uint64_t naive_get_face(const struct model *model);
/** What each host is shown, and where pinholes are found. */
const char *naive_upnp_check(const struct model *model);
/** Would the firewall tell the lease apart from the others of its endpoint? */
bool naive_clashes(const struct model *model, const struct naive_lease *lease);

/* naive_pcp.c */
/** The filters that the bits stand for; returns how many. */
uint8_t naive_put_filters(unsigned int bits, bool ipv4, struct remote_filter *out);
/** Fill in a request of PCP from bytes. */
void naive_fill_pcp(const uint8_t **bytes, size_t *length, struct request *request);
const char *naive_pcp_map(struct model *model, const struct request *request,
			  const struct reply *reply);
const char *naive_pcp_unmap(struct model *model, const struct request *request,
			    const struct reply *reply);
/* naive_peer.c */
const char *naive_pcp_peer(struct model *model, const struct request *request,
			   const struct reply *reply);
/* naive_pcp.c */
/** The bits of filters that are known; UINT_MAX when there is another one. */
unsigned int naive_get_filters(const struct remote_filter *filters, size_t count);

#endif
