/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/route.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/route.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUTE_FILE "/proc/net/route"
#define ROUTE_FILE6 "/proc/net/ipv6_route"
#define ROUTE_TEXT_SIZE 65536
/* Any port: a UDP socket that is connected sends nothing. */
#define ROUTE_PORT 5351

/* One line; false where it is no default route by a gateway. */
static bool route_parse_line(const char *line, struct route *out, uint32_t *metric)
{
	char name[IF_NAMESIZE];
	uint32_t destination, gateway, flags, mask;

	/* Iface Destination Gateway Flags RefCnt Use Metric Mask ..., the addresses as
	 * the kernel's own words. */
	if (sscanf(line, "%15s %8x %8x %8x %*u %*u %u %8x", name, &destination,
		   &gateway, &flags, metric, &mask) != 6)
		return false;
	if (destination != 0 || mask != 0 || gateway == 0 ||
	    (flags & (RTF_UP | RTF_GATEWAY | RTF_REJECT)) != (RTF_UP | RTF_GATEWAY))
		return false;
	memcpy(out->interface, name, sizeof(name));
	out->gateway = addr_from_ipv4((struct in_addr){.s_addr = gateway});
	return true;
}

/* The best of all lines. */
static bool route_parse_lines(const char *text, struct route *out,
			      bool (*parse)(const char *line, struct route *route,
					    uint32_t *metric))
{
	struct route best = {.interface = ""};
	uint32_t best_metric = 0;

	for (const char *line = text; line; line = strchr(line, '\n')) {
		struct route route = {.interface = ""};
		uint32_t metric = 0;

		line += *line == '\n';
		if (parse(line, &route, &metric) &&
		    (best.interface[0] == '\0' || metric < best_metric)) {
			best = route;
			best_metric = metric;
		}
	}
	if (best.interface[0] == '\0')
		return false;
	*out = best;
	return true;
}

bool route_parse_default(const char *text, struct route *out)
{
	return route_parse_lines(text, out, route_parse_line);
}

/* Eight words of four digits. */
static bool route_parse_address6(const char *digits, struct ip_addr *out)
{
	uint32_t words[4];

	if (sscanf(digits, "%8x%8x%8x%8x", &words[0], &words[1], &words[2],
		   &words[3]) != 4)
		return false;
	for (size_t i = 0; i < sizeof(out->bytes); i++)
		out->bytes[i] = (uint8_t)(words[i / 4] >> (24 - 8 * (i % 4)));
	return true;
}

static bool route_parse_line6(const char *line, struct route *out, uint32_t *metric)
{
	char name[IF_NAMESIZE], gateway[33];
	uint32_t length, flags;

	/* Destination, its length, source, its length, gateway, metric, references,
	 * use, flags, interface. */
	if (sscanf(line, "%*32s %2x %*32s %*2s %32s %8x %*8s %*8s %8x %15s", &length,
		   gateway, metric, &flags, name) != 5 ||
	    !route_parse_address6(gateway, &out->gateway))
		return false;
	if (length != 0 ||
	    (flags & (RTF_UP | RTF_GATEWAY | RTF_REJECT)) != (RTF_UP | RTF_GATEWAY))
		return false;
	memcpy(out->interface, name, sizeof(name));
	return true;
}

bool route_parse_default6(const char *text, struct route *out)
{
	return route_parse_lines(text, out, route_parse_line6);
}

/* Errors: false: it cannot be read. */
static bool route_read_file(const char *path, char text[ROUTE_TEXT_SIZE])
{
	FILE *file = fopen(path, "re");
	size_t length;

	if (!file)
		return false;
	length = fread(text, 1, ROUTE_TEXT_SIZE - 1, file);
	(void)fclose(file);
	text[length] = '\0';
	return true;
}

bool route_find_default(struct route *out)
{
	static char text[ROUTE_TEXT_SIZE];

	return route_read_file(ROUTE_FILE, text) && route_parse_default(text, out);
}

/* A public IPv6 address on that interface. */
static bool route_find_own6(const char *interface, struct ip_addr *out)
{
	struct ifaddrs *list = NULL;
	bool found = false;

	if (getifaddrs(&list) < 0)
		return false;
	for (const struct ifaddrs *at = list; at && !found; at = at->ifa_next) {
		struct ip_addr addr;

		if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET6 ||
		    strcmp(at->ifa_name, interface) != 0)
			continue;
		addr = addr_from_ipv6(
			&((const struct sockaddr_in6 *)at->ifa_addr)->sin6_addr);
		found = addr_is_host(&addr) && !addr_is_link_local(&addr) &&
			!addr_is_private(&addr);
		if (found)
			*out = addr;
	}
	freeifaddrs(list);
	return found;
}

bool route_find_default6(struct route *out, struct ip_addr *own)
{
	static char text[ROUTE_TEXT_SIZE];
	struct route route;

	if (!route_read_file(ROUTE_FILE6, text) ||
	    !route_parse_default6(text, &route) ||
	    !route_find_own6(route.interface, own))
		return false;
	*out = route;
	return true;
}

/* Our address of packets to that one. Errors: -errno. */
static int route_find_own(const struct ip_addr *gateway, struct ip_addr *own)
{
	struct sockaddr_storage address;
	socklen_t length = addr_to_sockaddr(gateway, ROUTE_PORT, &address);
	int fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, length) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		error = -errno;
	else
		*own = addr_from_sockaddr(&address);
	close(fd);
	return error;
}

static uint32_t ipv4_get_word(const struct sockaddr *address)
{
	return ((const struct sockaddr_in *)address)->sin_addr.s_addr;
}

int route_find_way(const struct ip_addr *gateway, struct route_way *out)
{
	struct route_way way = {.interface = ""};
	struct ifaddrs *list = NULL;
	uint32_t own, peer = addr_to_ipv4(gateway).s_addr;
	int error = route_find_own(gateway, &way.own);

	if (error < 0)
		return error;
	own = addr_to_ipv4(&way.own).s_addr;
	if (getifaddrs(&list) < 0)
		return -errno;
	for (const struct ifaddrs *at = list; at; at = at->ifa_next) {
		if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET ||
		    !at->ifa_netmask || ipv4_get_word(at->ifa_addr) != own)
			continue;
		(void)snprintf(way.interface, sizeof(way.interface), "%s",
			       at->ifa_name);
		way.on_link = ((own ^ peer) & ipv4_get_word(at->ifa_netmask)) == 0;
	}
	freeifaddrs(list);
	if (way.interface[0] == '\0')
		return -ENODEV;
	*out = way;
	return 0;
}
