/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/**
 * An IPv4 or IPv6 address in 16 octets, network order; IPv4 as ::ffff:a.b.c.d, the form
 * that PCP uses (RFC 6887 §5). "No address" is all zero. Compared with addr_equal().
 */
struct ip_addr {
	uint8_t bytes[16];
};

/** Addresses that share the first `length` bits. For IPv4, length is 96 + IPv4 length.
 */
struct prefix {
	struct ip_addr addr;
	uint8_t length; /* 0..128 */
};

/** First and last port of a range, both in it. */
struct port_range {
	uint16_t first;
	uint16_t last;
};

#define ADDR_TEXT_SIZE 48   /* longest address as text, with its NUL */
#define PREFIX_TEXT_SIZE 52 /* the same with "/128" */
#define ADDR_ENDPOINT_TEXT_SIZE (ADDR_TEXT_SIZE + 8) /* with brackets and a port */

struct ip_addr addr_from_ipv4(struct in_addr ipv4);
struct ip_addr addr_from_ipv6(const struct in6_addr *ipv6);
/** IPv4 address inside; 0.0.0.0 where addr is IPv6. */
struct in_addr addr_to_ipv4(const struct ip_addr *addr);

/** Address of an AF_INET or AF_INET6 socket address; all zero for any other family. */
struct ip_addr addr_from_sockaddr(const struct sockaddr_storage *storage);
/** Port of an AF_INET or AF_INET6 socket address, host order; 0 for any other family.
 */
uint16_t addr_get_sockaddr_port(const struct sockaddr_storage *storage);
/** Socket address for addr and port (host order); returns its length. */
socklen_t addr_to_sockaddr(const struct ip_addr *addr, uint16_t port,
			   struct sockaddr_storage *storage);

bool addr_equal(const struct ip_addr *a, const struct ip_addr *b);
/** Spread addresses over a table. seed: a secret where strangers choose addresses. */
uint32_t addr_get_hash(const struct ip_addr *addr, uint64_t seed);
/** For addr_get_hash(), so that nobody outside can tell who shares a place. */
uint64_t addr_make_seed(void);
bool addr_is_none(const struct ip_addr *addr); /* all zero, or ::ffff:0.0.0.0 */
bool addr_is_ipv4(const struct ip_addr *addr);
/** A unicast host address: not none, loopback, multicast, broadcast or 240/4. */
bool addr_is_host(const struct ip_addr *addr);
bool addr_is_link_local(const struct ip_addr *addr);
/** RFC 1918, unique local, and the shared space of RFC 6598. */
bool addr_is_private(const struct ip_addr *addr);
/** The shared space of RFC 6598 alone: a provider's NAT is in front (CGNAT). */
bool addr_is_shared(const struct ip_addr *addr);

/** Parse "192.0.2.1" or "2001:db8::1". Errors: false, out untouched. */
bool addr_parse(const char *text, struct ip_addr *out)
	__attribute__((warn_unused_result));
/** Write addr as text ("192.0.2.1"); returns text. Owns: caller's storage. */
const char *addr_format(const struct ip_addr *addr, char text[ADDR_TEXT_SIZE]);

/** Write addr and port: "192.0.2.1:80", "[2001:db8::1]:80" (RFC 3986 §3.2.2); returns
 * text. Owns: caller's storage. */
const char *addr_format_endpoint(const struct ip_addr *addr, uint16_t port,
				 char text[ADDR_ENDPOINT_TEXT_SIZE]);

bool prefix_contains(const struct prefix *prefix, const struct ip_addr *addr);
/** Parse "192.0.2.0/24", "2001:db8::/32" or a bare address. Host bits must be zero. */
bool prefix_parse(const char *text, struct prefix *out)
	__attribute__((warn_unused_result));
const char *prefix_format(const struct prefix *prefix, char text[PREFIX_TEXT_SIZE]);

#endif
