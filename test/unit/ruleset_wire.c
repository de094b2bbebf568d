/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/ruleset_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The address that is translated to the host of the packet. */
#define WAN4 "198.51.100.1"
/* Tries to see a packet arrive; each is a run of nft. */
#define TRIES 200
#define FRAME_MAX 128

static struct {
	int socket;
	uint8_t mac[ETH_ALEN]; /* of wan0 */
} wire;

static const char *const gateway_commands[] = {
	"ip addr add 198.51.100.1/24 dev wan0 && ip link set wan0 up",
	"ip addr add 2001:db8:1::1/64 dev wan0 nodad",
	"ip addr add 192.168.1.1/24 dev lan0 && ip link set lan0 up",
	"ip addr add 2001:db8:2::1/64 dev lan0 nodad",
	"echo 1 > /proc/sys/net/ipv4/ip_forward",
	"echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
};

static void open_socket(void)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex("peer0"),
	};

	wire.socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	assert_true(wire.socket >= 0);
	assert_int_equal(bind(wire.socket, (struct sockaddr *)&at, sizeof(at)), 0);
}

void ruleset_wire_open(const struct netns_pair *pair)
{
	struct ifreq request = {0};
	int fd;

	assert_true(netns_enter(pair->hosts));
	assert_true(netns_run("ip link set peer0 up && ip link set peer1 up"));
	open_socket();
	assert_true(netns_enter(pair->gateway));
	for (size_t i = 0; i < sizeof(gateway_commands) / sizeof(gateway_commands[0]);
	     i++)
		assert_true(netns_run(gateway_commands[i]));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "wan0");
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &request), 0);
	memcpy(wire.mac, request.ifr_hwaddr.sa_data, sizeof(wire.mac));
	close(fd);
}

void ruleset_wire_load(uint32_t mark)
{
	FILE *pipe = popen("nft -f -", "w");

	assert_non_null(pipe);
	(void)fprintf(pipe,
		      "table inet portreeve {\ncounter came { }\ncounter passed { }\n"
		      "chain begin { type filter hook prerouting priority -300;\n"
		      "iifname wan0 th sport 40000 counter name came\n}\n"
		      "chain translate { type nat hook prerouting priority -105;\n"
		      "iifname wan0 ip daddr " WAN4 " dnat ip to 192.168.1.20\n}\n"
		      "chain marks { type filter hook forward priority -150;\n"
		      "ct mark set 0x%x\n}\n"
		      /* So that there is no connection for the next one. */
		      "chain end { type filter hook forward priority 300;\n"
		      "counter name passed drop\n}\n}\n",
		      mark);
	assert_int_equal(pclose(pipe), 0);
}

static unsigned long get_count(const char *name)
{
	char command[128];
	char line[128];
	unsigned long count = 0;
	FILE *pipe;

	(void)snprintf(command, sizeof(command), "nft list counter inet portreeve %s",
		       name);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	while (fgets(line, sizeof(line), pipe))
		(void)sscanf(line, " packets %lu", &count);
	assert_int_equal(pclose(pipe), 0);
	return count;
}

/* Sum of RFC 1071 over octets, on top of what was summed up before. */
static uint32_t add_sum(uint32_t sum, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)(at[i] << 8 | at[i + 1]);
	return sum;
}

static uint16_t fold_sum(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* Ports, and for TCP that it is the first; sum: of the addresses. */
static size_t put_transport(uint8_t *at, const struct packet *packet, uint32_t sum)
{
	struct tcphdr tcp = {
		.source = htons(packet->source_port),
		.dest = htons(packet->destination_port),
		.doff = sizeof(tcp) / 4,
		.syn = 1,
		.window = htons(1000),
	};
	struct udphdr udp = {
		.source = tcp.source,
		.dest = tcp.dest,
		.len = htons(sizeof(udp)),
	};
	size_t length = packet->protocol == IPPROTO_TCP ? sizeof(tcp) : sizeof(udp);

	sum += packet->protocol + (uint32_t)length;
	tcp.check = fold_sum(add_sum(sum, &tcp, sizeof(tcp)));
	udp.check = fold_sum(add_sum(sum, &udp, sizeof(udp)));
	if (packet->protocol == IPPROTO_TCP)
		memcpy(at, &tcp, sizeof(tcp));
	else
		memcpy(at, &udp, sizeof(udp));
	return length;
}

static size_t put_ipv4(uint8_t *at, const struct packet *packet)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.ttl = 64,
		.protocol = packet->protocol,
		.saddr = addr_to_ipv4(&packet->source).s_addr,
		.daddr = addr_to_ipv4(&packet->destination).s_addr,
	};
	size_t length;

	/* It is translated on its way in. */
	if (packet->translated)
		ip.daddr = inet_addr(WAN4);
	length = sizeof(ip) +
		 put_transport(at + sizeof(ip), packet, add_sum(0, &ip.saddr, 8));
	ip.tot_len = htons((uint16_t)length);
	ip.check = fold_sum(add_sum(0, &ip, sizeof(ip)));
	memcpy(at, &ip, sizeof(ip));
	return length;
}

static size_t put_ipv6(uint8_t *at, const struct packet *packet)
{
	struct ip6_hdr ip = {.ip6_flow = htonl(6U << 28)};
	size_t length;

	ip.ip6_hlim = 64;
	ip.ip6_nxt = packet->protocol;
	memcpy(&ip.ip6_src, packet->source.bytes, sizeof(ip.ip6_src));
	memcpy(&ip.ip6_dst, packet->destination.bytes, sizeof(ip.ip6_dst));
	length = put_transport(at + sizeof(ip), packet, add_sum(0, &ip.ip6_src, 32));
	ip.ip6_plen = htons((uint16_t)length);
	memcpy(at, &ip, sizeof(ip));
	return sizeof(ip) + length;
}

bool ruleset_wire_send(const struct packet *packet)
{
	uint8_t frame[FRAME_MAX] = {0};
	struct ethhdr link = {
		.h_source = {2, 0, 0, 0, 0, 9},
		.h_proto = htons(packet->ipv6 ? ETH_P_IPV6 : ETH_P_IP),
	};
	size_t length = sizeof(link);
	unsigned int tries = 0;

	memcpy(link.h_dest, wire.mac, sizeof(wire.mac));
	memcpy(frame, &link, sizeof(link));
	length += packet->ipv6 ? put_ipv6(frame + length, packet)
			       : put_ipv4(frame + length, packet);
	assert_int_equal(send(wire.socket, frame, length, 0), length);
	while (get_count("came") == 0)
		assert_true(++tries < TRIES);
	return get_count("passed") > 0;
}
