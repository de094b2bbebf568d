/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const uint8_t ipv4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct ip_addr addr_from_ipv4(struct in_addr ipv4)
{
	struct ip_addr addr;

	memcpy(addr.bytes, ipv4_mapped, sizeof(ipv4_mapped));
	memcpy(addr.bytes + 12, &ipv4, 4);
	return addr;
}

struct ip_addr addr_from_ipv6(const struct in6_addr *ipv6)
{
	struct ip_addr addr;

	memcpy(addr.bytes, ipv6, sizeof(addr.bytes));
	return addr;
}

struct in_addr addr_to_ipv4(const struct ip_addr *addr)
{
	struct in_addr ipv4 = {0};

	if (addr_is_ipv4(addr))
		memcpy(&ipv4, addr->bytes + 12, 4);
	return ipv4;
}

struct ip_addr addr_from_sockaddr(const struct sockaddr_storage *storage)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (storage->ss_family == AF_INET) {
		memcpy(&in, storage, sizeof(in));
		return addr_from_ipv4(in.sin_addr);
	}
	if (storage->ss_family == AF_INET6) {
		memcpy(&in6, storage, sizeof(in6));
		return addr_from_ipv6(&in6.sin6_addr);
	}
	return (struct ip_addr){{0}};
}

uint16_t addr_get_sockaddr_port(const struct sockaddr_storage *storage)
{
	struct sockaddr_in in;

	if (storage->ss_family != AF_INET && storage->ss_family != AF_INET6)
		return 0;
	/* sin_port and sin6_port stand at the same place */
	memcpy(&in, storage, sizeof(in));
	return ntohs(in.sin_port);
}

socklen_t addr_to_sockaddr(const struct ip_addr *addr, uint16_t port,
			   struct sockaddr_storage *storage)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	memset(storage, 0, sizeof(*storage));
	if (addr_is_ipv4(addr)) {
		in.sin_addr = addr_to_ipv4(addr);
		memcpy(storage, &in, sizeof(in));
		return sizeof(in);
	}
	memcpy(&in6.sin6_addr, addr->bytes, sizeof(addr->bytes));
	memcpy(storage, &in6, sizeof(in6));
	return sizeof(in6);
}

bool addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* Every bit of the result depends on every bit of value: neighbours on a LAN differ in
 * few, and those in one octet. */
static uint64_t mix(uint64_t value)
{
	value = (value ^ value >> 32) * UINT64_C(0x9e3779b97f4a7c15);
	value = (value ^ value >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
	return value ^ value >> 32;
}

uint32_t addr_get_hash(const struct ip_addr *addr, uint64_t seed)
{
	uint64_t half[2];

	memcpy(half, addr->bytes, sizeof(half));
	return (uint32_t)mix(mix(half[0] ^ seed) ^ half[1]);
}

uint64_t addr_make_seed(void)
{
	static const char somewhere;
	uint64_t seed;

	/* Without a random one any that differs from run to run has to do. */
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
		seed = (uint64_t)(uintptr_t)&somewhere;
	return seed;
}

bool addr_is_none(const struct ip_addr *addr)
{
	static const struct ip_addr zero;

	return addr_equal(addr, &zero) ||
	       (addr_is_ipv4(addr) && addr_to_ipv4(addr).s_addr == 0);
}

bool addr_is_ipv4(const struct ip_addr *addr)
{
	return memcmp(addr->bytes, ipv4_mapped, sizeof(ipv4_mapped)) == 0;
}

bool addr_is_host(const struct ip_addr *addr)
{
	static const struct ip_addr loopback6 = {.bytes[15] = 1};
	const uint8_t *ipv4 = addr->bytes + 12;

	if (addr_is_ipv4(addr))
		return ipv4[0] != 0 && ipv4[0] != 127 && ipv4[0] < 224;
	return addr->bytes[0] != 0xff && !addr_is_none(addr) &&
	       !addr_equal(addr, &loopback6);
}

static bool addr_in(const struct ip_addr *addr, const char *text)
{
	struct prefix prefix;

	return prefix_parse(text, &prefix) && prefix_contains(&prefix, addr);
}

bool addr_is_link_local(const struct ip_addr *addr)
{
	return addr_in(addr, "fe80::/10") || addr_in(addr, "169.254.0.0/16");
}

bool addr_is_shared(const struct ip_addr *addr)
{
	return addr_in(addr, "100.64.0.0/10");
}

bool addr_is_private(const struct ip_addr *addr)
{
	return addr_in(addr, "10.0.0.0/8") || addr_in(addr, "172.16.0.0/12") ||
	       addr_in(addr, "192.168.0.0/16") || addr_is_shared(addr) ||
	       addr_in(addr, "fc00::/7");
}

bool addr_parse(const char *text, struct ip_addr *out)
{
	struct in_addr ipv4;
	struct in6_addr ipv6;

	if (inet_pton(AF_INET, text, &ipv4) == 1)
		*out = addr_from_ipv4(ipv4);
	else if (inet_pton(AF_INET6, text, &ipv6) == 1)
		*out = addr_from_ipv6(&ipv6);
	else
		return false;
	return true;
}

const char *addr_format(const struct ip_addr *addr, char text[ADDR_TEXT_SIZE])
{
	if (addr_is_ipv4(addr))
		return inet_ntop(AF_INET, addr->bytes + 12, text, ADDR_TEXT_SIZE);
	return inet_ntop(AF_INET6, addr->bytes, text, ADDR_TEXT_SIZE);
}

const char *addr_format_endpoint(const struct ip_addr *addr, uint16_t port,
				 char text[ADDR_ENDPOINT_TEXT_SIZE])
{
	char host[ADDR_TEXT_SIZE];

	(void)snprintf(text, ADDR_ENDPOINT_TEXT_SIZE,
		       addr_is_ipv4(addr) ? "%s:%u" : "[%s]:%u",
		       addr_format(addr, host), port);
	return text;
}

bool prefix_contains(const struct prefix *prefix, const struct ip_addr *addr)
{
	size_t whole = prefix->length / 8;
	unsigned int rest = prefix->length % 8;

	if (memcmp(prefix->addr.bytes, addr->bytes, whole) != 0)
		return false;
	if (rest == 0)
		return true;
	return ((prefix->addr.bytes[whole] ^ addr->bytes[whole]) >> (8 - rest)) == 0;
}

static bool prefix_host_bits_zero(const struct prefix *prefix)
{
	for (unsigned int bit = prefix->length; bit < 128; bit++)
		if (prefix->addr.bytes[bit / 8] & (0x80u >> (bit % 8)))
			return false;
	return true;
}

bool prefix_parse(const char *text, struct prefix *out)
{
	struct prefix prefix = {.length = 128};
	const char *slash = strchr(text, '/');
	char host[ADDR_TEXT_SIZE];
	size_t length = slash ? (size_t)(slash - text) : strlen(text);
	char *end;

	if (length >= sizeof(host))
		return false;
	memcpy(host, text, length);
	host[length] = '\0';
	if (!addr_parse(host, &prefix.addr))
		return false;
	if (slash) {
		unsigned int base = addr_is_ipv4(&prefix.addr) ? 96 : 0;
		unsigned long bits;

		if (slash[1] < '0' || slash[1] > '9')
			return false;
		bits = strtoul(slash + 1, &end, 10);
		if (*end != '\0' || bits > 128 - base)
			return false;
		prefix.length = (uint8_t)(base + bits);
	}
	if (!prefix_host_bits_zero(&prefix))
		return false;
	*out = prefix;
	return true;
}

const char *prefix_format(const struct prefix *prefix, char text[PREFIX_TEXT_SIZE])
{
	char host[ADDR_TEXT_SIZE];
	int base = addr_is_ipv4(&prefix->addr) && prefix->length >= 96 ? 96 : 0;

	(void)snprintf(text, PREFIX_TEXT_SIZE, "%s/%d",
		       addr_format(&prefix->addr, host), prefix->length - base);
	return text;
}
