/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_REQUEST_H
#define PROTOCOLS_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/result.h"

/** Longest description kept, octets without NUL (SOAP-8). */
#define DESCRIPTION_MAX 255
/** Remote peer filters of one lease, and in one request (PCP-80). */
#define REQUEST_FILTERS_MAX 16
/** Ports that one request may ask for together (PCP-116). */
#define REQUEST_PORTS_MAX 64
#define NONCE_SIZE 12

/** Who made a lease, and by whose rules it is changed. */
enum origin {
	ORIGIN_NATPMP,
	ORIGIN_PCP,
	ORIGIN_IGD,
	ORIGIN_STATIC, /* the owner of the gateway, by configuration or the admin tool
			*/
};

#define ORIGIN_COUNT (ORIGIN_STATIC + 1)

enum request_op {
	/* By (client, protocol, internal port), as NAT-PMP and PCP do: */
	REQUEST_MAP,	   /* grant or renew; another external port will do */
	REQUEST_UNMAP,	   /* delete; no such lease is a success */
	REQUEST_UNMAP_ALL, /* delete all of the client's leases of the protocol */
	REQUEST_PEER, /* PCP: keep the flow to one remote endpoint, or reserve it */
	/* By (remote peer, protocol, external port), as IGD does: */
	REQUEST_ADD,	/* grant or overwrite this very external port, or CONFLICT */
	REQUEST_DELETE, /* NO_ENTRY when there is none */
	REQUEST_GET,	/* one lease by its key; NO_ENTRY */
	REQUEST_INDEX,	/* the index-th lease that the client may see; NO_INDEX */
	/* The same, of WANIPConnection:2: */
	REQUEST_ADD_ANY, /* grant this external port, or another one (IGD-25) */
	/** End the client's own leases of external_port..external_last; NO_ENTRY when
	 * there was none (IGD-33). */
	REQUEST_DELETE_RANGE,
	/** The client's own leases of external_port..external_last, by port, with
	 * reply.more and request.after (IGD-34). */
	REQUEST_LIST,
	/* WANIPv6FirewallControl: by reply.pinhole, but for the first. */
	REQUEST_PINHOLE, /* grant or renew a pinhole: one of its own for each remote
			    peer */
	REQUEST_PINHOLE_UPDATE, /* lifetime_s from now */
	REQUEST_PINHOLE_DELETE,
	REQUEST_PINHOLE_GET, /* its packets */
	/* About the WAN: */
	REQUEST_TRAFFIC, /* interface counters */
};

#define REQUEST_OP_COUNT (REQUEST_TRAFFIC + 1)
/** Longest lifetime that a pinhole may be asked for (V6FW-5). Units: seconds. */
#define REQUEST_PINHOLE_LIFETIME_MAX_S 86400
/** Leases that one REQUEST_LIST brings; for more it is asked again. */
#define REQUEST_LIST_MAX 32

/** Remote peers that may use a lease. Length 0 and port 0 mean any. */
struct remote_filter {
	struct prefix prefix;
	uint16_t port; /* 0 = any */
};

/**
 * What a client asks for, whichever protocol it spoke: fixed size, sent by a worker to
 * core as MSG_REQUEST. Core trusts no field of it.
 */
struct request {
	uint64_t cookie;	/* the worker's own; comes back in the reply */
	uint8_t op;		/* enum request_op */
	uint8_t origin;		/* enum origin */
	uint8_t protocol;	/* IPPROTO_TCP or IPPROTO_UDP */
	uint8_t enabled;	/* 0 = keep the entry, forward nothing (IGD-26) */
	uint8_t prefer_failure; /* the suggested external endpoint or nothing */
	uint8_t igd_version;	/* 1 or 2: whose rules apply (IGD-5); 0 elsewhere */
	uint8_t nonce[NONCE_SIZE];
	uint8_t has_description; /* 0: a renewal keeps the lease's own (PCP-112) */
	uint8_t filter_clear;	 /* forget the lease's filters first (PCP-83) */
	uint8_t filter_count;
	uint8_t port_parity; /* a set begins with a port as even or odd as the inside */
	uint16_t port_count; /* ports from internal_port on; 0 and 1 mean one (PCP-115)
			      */
	uint16_t lan;	     /* index from struct lan_info */
	uint32_t ifindex;    /* the interface it came in by */
	struct ip_addr client; /* source address of the packet */
	uint16_t client_port;  /* and its source port; 0 where nobody will write back */
	struct ip_addr server; /* our address that it was sent to */
	struct ip_addr internal; /* who shall get the traffic; the client but for third
				    parties */
	uint16_t internal_port;
	uint16_t external_port;	 /* suggested, or the key; 0 = any */
	uint16_t external_last;	 /* of a range from external_port on; else 0 */
	uint16_t pinhole;	 /* UniqueID of REQUEST_PINHOLE_...; else 0 */
	struct ip_addr external; /* suggested; all zero = any */
	/** The one peer of the lease, part of its key: IGD's RemoteHost, without a
	 * port, PEER's remote endpoint, and who may use a pinhole, by address, port or
	 * both. All zero = any. */
	struct ip_addr remote;
	uint16_t remote_port;
	uint32_t lifetime_s; /* asked; 0 only where the protocol means "longest" */
	uint32_t index;	     /* REQUEST_INDEX; REQUEST_LIST: how many, 0 = all */
	uint64_t after; /* REQUEST_LIST: reply.next of the former page; 0 = begin */
	struct remote_filter filters[REQUEST_FILTERS_MAX];
	char description[DESCRIPTION_MAX + 1]; /* UTF-8, clean, NUL-terminated */
};

/** Core's answer, MSG_REPLY. Fields that the operation does not name are zero. */
struct reply {
	uint64_t cookie;
	uint8_t op;
	uint8_t result; /* enum result */
	uint8_t protocol;
	uint8_t enabled;
	uint8_t origin; /* of the lease; what is STATIC takes no description */
	/** REQUEST_LIST: this is a lease of the page, another reply follows. The last
	 * one names no lease. */
	uint8_t more;
	uint16_t pinhole;    /* UniqueID, of a pinhole; else 0 (V6FW-8) */
	uint16_t port_count; /* ports granted from internal_port on, of a set; else 0 */
	uint16_t internal_port;
	uint16_t external_port; /* 0 on error */
	/** Granted or remaining; 0 on delete. On an error: when asking again may help,
	 * 0 where that is not known (PCP-49, PCP-76). */
	uint32_t lifetime_s;
	uint32_t epoch_s;
	struct ip_addr external;
	struct ip_addr internal;
	struct ip_addr remote; /* the only host let in, where it is one (PCP-85) */
	uint64_t next; /* REQUEST_LIST, last reply: ask on with it; 0 = that was all */
	/** REQUEST_TRAFFIC; of REQUEST_PINHOLE_GET packets_in. */
	uint64_t octets_in, octets_out, packets_in, packets_out;
	char description[DESCRIPTION_MAX + 1];
};

#endif
