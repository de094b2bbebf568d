/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/log.h"

#define CONF_PATH_MAX 108 /* fits sun_path */
#define CONF_NAME_MAX 64
#define CONF_LANS_MAX 32
#define CONF_RULES_MAX 64
#define CONF_NETWORKS_MAX 8
#define CONF_PATTERN_MAX 64
#define CONF_ERROR_MAX 512
#define CONF_HOST_MAX 128
/** As long as the kernel lets names of tables and chains be that people write. */
#define CONF_CHAIN_NAME_MAX 64
/** RFC 8489 §18.6 */
#define CONF_STUN_PORT 3478
/* The most that limits.filters_per_lease and ports_per_request may say; the same as
 * REQUEST_FILTERS_MAX and REQUEST_PORTS_MAX of the workers. */
#define CONF_FILTERS_MAX 16
#define CONF_PORTS_MAX 64

#define CONF_DEFAULT_FILE "/etc/portreeve/portreeve.conf"

/* Bits of struct conf_lan.protocols, the same as LAN_PROTOCOL_... of the workers. */
#define CONF_PROTOCOL_UPNP 0x1u
#define CONF_PROTOCOL_NATPMP 0x2u
#define CONF_PROTOCOL_PCP 0x4u
/** What a LAN speaks where nothing else is written. */
#define CONF_PROTOCOLS_DEFAULT                                                         \
	(CONF_PROTOCOL_UPNP | CONF_PROTOCOL_NATPMP | CONF_PROTOCOL_PCP)

/* Bits of struct conf.global.pcp_opcodes, the same as PCP_SERVES_... of the workers. */
#define CONF_PCP_MAP 0x1u
#define CONF_PCP_PEER 0x2u

/** Section [lan NAME]. */
struct conf_lan {
	char name[IF_NAMESIZE];
	uint8_t protocols;
	uint8_t igd;	  /* 1, 2, 3 = both */
	bool pcp_anycast; /* take PCP's anycast addresses for ours (PCP-119) */
	size_t network_count;
	struct prefix networks[CONF_NETWORKS_MAX]; /* besides the interface's own */
};

/** What becomes of IPv6 traffic from outside; the same as enum wan_pinholes of the
 * workers. */
enum conf_pinholes {
	CONF_PINHOLES_ON,  /* kept out but for pinholes, which hosts may ask for */
	CONF_PINHOLES_OFF, /* kept out, and hosts may not ask */
	CONF_PINHOLES_NO_FIREWALL, /* let in: nothing to ask for */
};

/** Section [wan]. */
struct conf_wan {
	char interface[IF_NAMESIZE]; /* "" = auto: the interface of the default route */
	struct ip_addr address;	     /* reported to clients; none = auto */
	/** Where the address is asked for, a name or an address; "" = nowhere. */
	char stun_host[CONF_HOST_MAX];
	uint16_t stun_port;
	bool nat;	      /* off: answer no NAT-PMP (NP-5) */
	uint64_t bit_rate_up; /* bit/s, 0 = ask the kernel */
	uint64_t bit_rate_down;
	struct prefix nat64; /* told to PCP clients that ask; length 0 = none */
	enum conf_pinholes pinholes;
};

/** One `rule =` line of [policy]: the first that matches decides. */
struct conf_rule {
	bool allow;
	unsigned int line;     /* of the configuration file; 0 = built in */
	char lan[IF_NAMESIZE]; /* "" = any */
	struct prefix client;  /* length 0 = any */
	bool has_client;
	uint8_t protocol;	    /* 0 = any, else IPPROTO_TCP or _UDP */
	struct port_range external; /* 1-65535 = any */
	struct port_range internal;
	char description[CONF_PATTERN_MAX]; /* "" = any; * and ? as in a shell */
	uint32_t lifetime_max_s;	    /* 0 = the limit of [limits] */
	struct prefix third_party;	    /* who the client may map for */
	bool has_third_party;
};

enum conf_backend {
	CONF_BACKEND_AUTO,
	CONF_BACKEND_NFTABLES,
	CONF_BACKEND_IPTABLES,
	CONF_BACKEND_MEMORY,
};

/** May the firewall of the host be changed so that it lets leased traffic pass? */
enum conf_integrate {
	CONF_INTEGRATE_OFF,   /* nothing of others is touched */
	CONF_INTEGRATE_AUTO,  /* one rule in each chain that would keep it out */
	CONF_INTEGRATE_CHAIN, /* one rule in this chain */
};

/** The value of `integrate =`; family, table and chain are "" but for one chain. */
struct conf_chain {
	enum conf_integrate how;
	char family[8]; /* inet, ip or ip6 */
	char table[CONF_CHAIN_NAME_MAX];
	char chain[CONF_CHAIN_NAME_MAX];
};

/** Everything the files say, with every default filled in. Plain data, no pointers. */
struct conf {
	struct conf_wan wan;
	size_t lan_count; /* 0 = auto: other up interfaces with a private address */
	struct conf_lan lans[CONF_LANS_MAX];
	size_t rule_count;
	struct conf_rule rules[CONF_RULES_MAX];
	/** Leases that rules of a reload would not allow stay until they end. */
	bool keep_forbidden;
	struct {
		enum conf_backend type;
		uint32_t mark;
		bool keep_rules; /* leave our table in the kernel at a clean stop */
		bool keep_flows; /* do not cut live flows of deleted leases */
		struct conf_chain integrate;
	} backend;
	struct {
		uint32_t leases_per_client; /* 0 = no limit, for all of these */
		uint32_t leases_total;
		uint32_t requests_per_second;
		uint32_t lifetime_min_s;
		uint32_t lifetime_max_s;
		uint32_t igd_lifetime_max_s; /* also what IGD's lease 0 becomes */
		uint32_t filters_per_lease;  /* remote peers, of PCP's FILTER */
		uint32_t ports_per_request;  /* of PCP's PORT_SET; 1 = not served */
	} limits;
	struct {
		char state_dir[CONF_PATH_MAX]; /* "" = keep nothing on disk */
		char control_socket[CONF_PATH_MAX];
		uint16_t http_port;
		bool ssdp_strict;
		/** A pinhole's host may ask from another address of its own: it is
		 * known by its MAC (V6FW-7). */
		bool igd_same_host_mac;
		/** Leases are a machine's, known by its MAC, and follow it to another
		 * address of the LAN; else they are an address's. */
		bool hosts_by_mac;
		uint8_t pcp_opcodes; /* CONF_PCP_... */
		bool pcp_nonce_relaxed;
		enum log_level log_level;
		char user[CONF_NAME_MAX];     /* of core; "" = portreeve, else nobody */
		char net_user[CONF_NAME_MAX]; /* of workers; "" = portreeve-net, else
						 nobody */
		char friendly_name[CONF_NAME_MAX];
	} global;
};

/** The built-in defaults, as if no file existed. */
void conf_init(struct conf *conf);

/**
 * Read `file` and `conf.d/` beside it (*.conf, in the order of their names) over the
 * defaults. file NULL = CONF_DEFAULT_FILE, which may be missing; a named file may not.
 *
 * Errors: -EINVAL or -errno; `error` then holds the whole message for the user:
 * FILE:LINE: what is wrong; what would be right. *out is untouched.
 */
int conf_load(const char *file, struct conf *out, char error[CONF_ERROR_MAX])
	__attribute__((warn_unused_result));

/** The same from memory: one file's text, for tests and the fuzzer. */
int conf_parse(const char *name, const char *text, size_t length, struct conf *out,
	       char error[CONF_ERROR_MAX]) __attribute__((warn_unused_result));

#endif
