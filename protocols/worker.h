/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_WORKER_H
#define PROTOCOLS_WORKER_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "protocols/request.h"

struct event_base;

/** LAN interfaces one daemon serves. */
#define LANS_MAX 32
/** Addresses of one LAN interface that we know of. */
#define LAN_ADDRESSES_MAX 16

/** Protocols of a LAN, bits. */
#define LAN_PROTOCOL_UPNP 0x1u
#define LAN_PROTOCOL_NATPMP 0x2u
#define LAN_PROTOCOL_PCP 0x4u
/** Bit of struct worker_ops.protocols beside these: it asks a STUN server. */
#define WORKER_PROTOCOL_STUN 0x8u

/** Opcodes of PCP that are served, bits; ANNOUNCE always is (PCP-43). */
#define PCP_SERVES_MAP 0x1u
#define PCP_SERVES_PEER 0x2u

/**
 * Messages between core and a worker. Core speaks first: SETUP, then WAN, then a LAN
 * for each interface; from then on WAN and LAN again whenever they change.
 */
enum msg_type {
	MSG_SETUP = 1, /* core -> worker, struct worker_setup */
	MSG_WAN,       /* core -> worker, struct wan_info */
	MSG_LAN,       /* core -> worker, struct lan_info; ifindex 0 = gone */
	MSG_ANNOUNCE,  /* core -> worker, struct announce */
	MSG_REPLY,     /* core -> worker, struct reply */
	MSG_REQUEST,   /* worker -> core, struct request */
	MSG_READY,     /* worker -> core, struct worker_ready: sockets are open */
	MSG_UPDATE,    /* core -> worker pcp, struct mapping_update */
	MSG_TABLE,     /* core -> worker upnp, struct table_info */
	MSG_LOG,       /* core -> worker, struct log_info */
	MSG_STUN,      /* core -> worker stun, struct stun_task */
	MSG_STUN_TOLD, /* worker stun -> core, struct stun_told */
};

/** What every worker upnp has for itself of BOOTID.UPNP.ORG. */
#define BOOT_ID_STEP 4096

/** What does not change while a worker lives. */
struct worker_setup {
	uint8_t uuid[16]; /* of this gateway, stable; UDNs derive from it (SSDP-11) */
	/** BOOTID.UPNP.ORG (SSDP-15): at least BOOT_ID_STEP more than that of any
	 * worker before, so that each LAN may count on by itself. */
	uint32_t boot_id;
	uint16_t http_port;	    /* TCP port of description and control */
	uint8_t ssdp_strict;	    /* random delay 0..MX as written (SSDP-6) */
	uint8_t pcp_opcodes;	    /* PCP_SERVES_... */
	uint16_t ports_per_request; /* of PCP's PORT_SET; 1 = not served */
	uint16_t lan_count; /* MSG_LAN that follow at once: MSG_READY waits for them */
	uint32_t requests_per_second; /* of one client; 0 = no limit */
	struct prefix nat64;	      /* length 0 = none: never sent (PCP-114) */
	char friendly_name[64];
};

/** The outside, as far as clients are told. */
struct wan_info {
	int64_t epoch_origin_ms; /* epoch = (clock_now_ms() - this) / 1000 (NP-52) */
	int64_t up_since_ms;	 /* clock_now_ms() when the address came; 0 = down */
	struct ip_addr external; /* all zero = unknown: result 3, empty string */
	uint64_t bit_rate_up;	 /* bit/s; 0 = unknown */
	uint64_t bit_rate_down;
	uint8_t nat;	  /* 0: we do not translate: no NAT-PMP at all (NP-5) */
	uint8_t carrier;  /* 1: the link is up */
	uint8_t pinholes; /* enum wan_pinholes */
	uint8_t reserved[5];
	/** How long the kernel keeps a silent flow that a host began (V6FW-15); 0 = not
	 * known. Units: seconds. */
	uint32_t flow_timeout_tcp_s;
	uint32_t flow_timeout_udp_s;
};

/** What becomes of IPv6 traffic from outside (V6FW-1). */
enum wan_pinholes {
	WAN_PINHOLES_ON,  /* kept out but for pinholes, which hosts may ask for */
	WAN_PINHOLES_OFF, /* kept out, and hosts may not ask */
	WAN_PINHOLES_NO_FIREWALL, /* let in: nothing to ask for */
};

#define WAN_PINHOLES_COUNT (WAN_PINHOLES_NO_FIREWALL + 1)

/**
 * The lease table as UPnP clients watch it. Core sends it ahead of the replies of a
 * group that changed it, otherwise at most every CORE_TABLE_INTERVAL_MS.
 */
struct table_info {
	/** SystemUpdateID of each LAN: one more for each operation that changed what is
	 * listed there (IGD-36). Others' business shall not show in it. */
	uint32_t update_ids[LANS_MAX];
	uint32_t entries[LANS_MAX]; /* mappings that each LAN is shown */
};

/** One LAN interface. Only what stands here is served; everything else is silence. */
struct lan_info {
	uint16_t lan;	     /* index, the same while core lives */
	uint8_t protocols;   /* LAN_PROTOCOL_... */
	uint8_t igd;	     /* 1, 2, or 3 = both */
	uint8_t third_party; /* 1: some rule lets hosts here ask for others (PCP-73) */
	uint8_t anycast;     /* 1: PCP's anycast addresses are ours here (PCP-119) */
	uint8_t reserved[2]; /* no hole: core compares the octets */
	uint32_t ifindex;    /* 0 = the interface is gone: close its sockets */
	uint32_t address_count;
	char name[IF_NAMESIZE];
	struct prefix addresses[LAN_ADDRESSES_MAX]; /* our own, with the host bits */
	/** Prefixes whose hosts are clients: those of the addresses, and configured
	 * ones. */
	uint32_t network_count;
	struct prefix networks[LAN_ADDRESSES_MAX];
};

/** How much the worker shall log from now on. */
struct log_info {
	uint32_t level; /* enum log_level */
};

/** Clients shall learn of a new epoch or address now (NP-55). */
struct announce {
	uint8_t reason; /* reserved; 0 */
	uint8_t reserved[7];
};

/**
 * A PCP lease is no longer what its client was told: tell it, three times, unless it
 * asks first (PCP-40..42). What the client was last answered, with the new values.
 */
struct mapping_update {
	uint16_t lan;
	uint8_t op;	/* REQUEST_MAP or REQUEST_PEER */
	uint8_t result; /* enum result: OK, or CONFLICT when the lease has ended for it
			 */
	uint8_t protocol;
	uint8_t filter_count;
	uint8_t nonce[NONCE_SIZE];
	uint16_t client_port;
	uint16_t internal_port;
	uint16_t external_port;
	uint16_t remote_port;	 /* PEER */
	uint16_t set_first;	 /* of a PORT_SET, which lives and ends as one */
	uint16_t set_count;	 /* 0 = none */
	uint32_t lifetime_s;	 /* 0: the lease has ended */
	struct ip_addr client;	 /* to it, and its client_port */
	struct ip_addr server;	 /* from our address that it asked */
	struct ip_addr internal; /* not the client: THIRD_PARTY is sent too */
	struct ip_addr external;
	struct ip_addr remote; /* PEER */
	struct remote_filter filters[REQUEST_FILTERS_MAX];
};

/** Longest name of a STUN server, with its NUL. */
#define STUN_HOST_MAX 128
/** Name servers that are asked; resolv.conf(5) has no more. */
#define STUN_NAME_SERVERS_MAX 3

struct stun_name_server {
	struct ip_addr address;
	uint32_t scope; /* interface of a link-local address, else 0 */
};

/** Ask, once, for the address that others see; what was asked before is given up. */
struct stun_task {
	uint32_t serial;	  /* comes back in the answer */
	uint32_t ifindex;	  /* the WAN: by it alone; 0 = do not ask at all */
	struct ip_addr local;	  /* from our address there, of IPv4 */
	char host[STUN_HOST_MAX]; /* a name, or an IPv4 address */
	uint16_t port;
	uint16_t turn; /* which of the addresses of the name, in a circle */
	uint32_t name_server_count;
	struct stun_name_server name_servers[STUN_NAME_SERVERS_MAX];
};

enum stun_outcome {
	STUN_OUTCOME_ADDRESS,
	STUN_OUTCOME_NO_NAME,	  /* the name has no IPv4 address, or nobody knows it */
	STUN_OUTCOME_SILENCE,	  /* no answer came */
	STUN_OUTCOME_REFUSED,	  /* an error response */
	STUN_OUTCOME_BAD,	  /* an answer that makes no sense */
	STUN_OUTCOME_UNREACHABLE, /* by the network's own word */
};

#define STUN_OUTCOME_COUNT (STUN_OUTCOME_UNREACHABLE + 1)

/** What has become of a task. */
struct stun_told {
	uint32_t serial;
	uint32_t outcome;	/* enum stun_outcome */
	uint32_t code;		/* STUN_OUTCOME_REFUSED: of the server, 300 to 699 */
	struct ip_addr address; /* STUN_OUTCOME_ADDRESS: of IPv4, as it was told */
};

/** The worker serves. */
struct worker_ready {
	uint32_t sockets; /* how many LAN sockets are open */
	uint32_t failed;  /* how many could not be opened, e.g. port taken */
};

/** A protocol worker: pure input of packets and messages, one instance a process. */
struct worker;

/**
 * A row of the table of workers; core and launcher know workers only by it.
 */
struct worker_ops {
	const char *name; /* "upnp", "pcp" */
	/** Bits LAN_PROTOCOL_... that it serves: core takes no request of another. Or
	 * WORKER_PROTOCOL_STUN. */
	uint8_t protocols;
	/**
	 * Start on this loop; fd is the channel to core.
	 * Owns: takes fd. Errors: NULL, logged.
	 * The loop is broken (event_base_loopbreak) when the channel ends.
	 */
	struct worker *(*start)(struct event_base *base, int fd);
	/** Say goodbye on the LANs (byebye), close everything. */
	void (*stop)(struct worker *worker);
};

/** Do what it says. Errors: false, there is no such level. */
bool log_info_apply(const struct log_info *info) __attribute__((warn_unused_result));

const struct worker_ops *worker_get_upnp(void);
const struct worker_ops *worker_get_pcp(void);
const struct worker_ops *worker_get_stun(void);

/** The LAN a packet belongs to, by its interface; NULL = not ours: silence (NP-3). */
const struct lan_info *lan_info_find(const struct lan_info *lans, size_t count,
				     uint32_t ifindex);
/** True when addr is one of our own addresses on this LAN. */
bool lan_info_has_address(const struct lan_info *lan, const struct ip_addr *addr);
/** True when addr is a host of this LAN: in its networks and not ours. */
bool lan_info_has_host(const struct lan_info *lan, const struct ip_addr *addr);
/** Our address that a client in this LAN talks to; NULL when we have none there. */
const struct ip_addr *lan_info_get_address_for(const struct lan_info *lan,
					       const struct ip_addr *client);

#endif
