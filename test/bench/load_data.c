/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets through a gateway that holds leases: new flows, or packets of flows that it
 * knows. Lease number n belongs to the client of address --client + n modulo --clients
 * and has port --first-port + n, inside and outside; flow number i is one of lease i
 * times STRIDE, with a peer port of its own. So a run from the WAN (--mode in) and one
 * from the LAN (--mode out) with the same options are both directions of the same
 * flows.
 *
 * Sends from a raw socket, because a flow would else need a socket. Whoever is to
 * receive tells these packets by their DSCP (LOAD_DSCP), counts and drops them: nobody
 * answers. A packet takes its way through all namespaces in the time of the one who
 * sends it, so that one processor does all the work, and what is counted is the cost of
 * that way. Bounded in packets and in time. Exits 0 when all could be sent.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "test/bench/load.h"

#define BURST 64
#define PACKETS_MAX 100000000
#define LEASES_MAX 60000
/* Neighbours in the order of flows are none in the order of leases: prime. */
#define STRIDE 7919
#define FIRST_PEER_PORT 1024
#define PEER_PORTS 60000
/* In the header, above two bits of something else. */
#define LOAD_DSCP 42
#define PAYLOAD 4

enum mode { MODE_IN, MODE_OUT };
#define MODES (MODE_OUT + 1)

static const char *const mode_names[] = {"in", "out"};

struct options {
	struct ip_addr wan;
	struct ip_addr peer;
	struct ip_addr client;
	uint64_t clients, leases, first_port, flows, packets, milliseconds;
	uint64_t mode; /* enum mode */
	bool tcp;
	bool json;
};

struct packet {
	struct iphdr ip;
	union {
		struct {
			struct udphdr udp;
			uint8_t payload[PAYLOAD];
		};
		struct tcphdr tcp;
	};
};

/* What one sendmmsg() sends. */
struct burst {
	struct mmsghdr headers[BURST];
	struct iovec iovecs[BURST];
	struct packet packets[BURST];
	struct sockaddr_in to;
};

/* In network order. */
struct endpoint {
	uint32_t addr;
	uint16_t port;
};

static struct endpoint get_endpoint(const struct ip_addr *first, uint64_t number,
				    uint64_t port)
{
	struct ip_addr addr = load_get_client(first, (size_t)number);

	return (struct endpoint){addr_to_ipv4(&addr).s_addr, htons((uint16_t)port)};
}

/* Where a packet of that flow comes from, and where it goes to. */
static void get_flow(const struct options *options, uint64_t flow,
		     struct endpoint ends[2])
{
	uint64_t lease = flow * STRIDE % options->leases;
	uint64_t peer = flow / options->leases;
	uint64_t port = options->first_port + lease;
	struct endpoint remote = get_endpoint(&options->peer, peer / PEER_PORTS,
					      FIRST_PEER_PORT + peer % PEER_PORTS);

	if (options->mode == MODE_IN) {
		ends[0] = remote;
		ends[1] = get_endpoint(&options->wan, 0, port);
		return;
	}
	ends[0] = get_endpoint(&options->client, lease % options->clients, port);
	ends[1] = remote;
}

/* RFC 1071, of octets that are a multiple of two. */
static uint32_t add_words(uint32_t sum, const void *bytes, size_t length)
{
	uint16_t word;

	for (size_t i = 0; i < length; i += sizeof(word)) {
		memcpy(&word, (const uint8_t *)bytes + i, sizeof(word));
		sum += word;
	}
	return sum;
}

static void write_tcp(struct packet *packet, const struct endpoint ends[2])
{
	const uint16_t pseudo[2] = {htons(IPPROTO_TCP), htons(sizeof(packet->tcp))};
	uint32_t sum;

	packet->tcp = (struct tcphdr){
		.source = ends[0].port,
		.dest = ends[1].port,
		.seq = htonl(1),
		.doff = sizeof(packet->tcp) / 4,
		.syn = 1,
		.window = htons(1024),
	};
	sum = add_words(0, &packet->ip.saddr, 2 * sizeof(packet->ip.saddr));
	sum = add_words(sum, pseudo, sizeof(pseudo));
	sum = add_words(sum, &packet->tcp, sizeof(packet->tcp));
	sum = (sum & 0xffff) + (sum >> 16);
	packet->tcp.check = (uint16_t) ~((sum & 0xffff) + (sum >> 16));
}

/* Without a checksum, which IPv4 allows. */
static void write_udp(struct packet *packet, const struct endpoint ends[2])
{
	packet->udp = (struct udphdr){
		.source = ends[0].port,
		.dest = ends[1].port,
		.len = htons(sizeof(packet->udp) + PAYLOAD),
	};
}

/* The kernel fills in what is zero of the IP header. Returns the packet's length. */
static size_t write_packet(const struct options *options, uint64_t number,
			   struct packet *packet)
{
	struct endpoint ends[2];
	size_t length =
		sizeof(packet->ip) +
		(options->tcp ? sizeof(packet->tcp) : sizeof(packet->udp) + PAYLOAD);

	get_flow(options, number % options->flows, ends);
	packet->ip = (struct iphdr){
		.version = IPVERSION,
		.ihl = sizeof(packet->ip) / 4,
		.tos = LOAD_DSCP << 2,
		.id = htons(1),
		.ttl = IPDEFTTL,
		.protocol = options->tcp ? IPPROTO_TCP : IPPROTO_UDP,
		.saddr = ends[0].addr,
		.daddr = ends[1].addr,
	};
	if (options->tcp)
		write_tcp(packet, ends);
	else
		write_udp(packet, ends);
	return length;
}

/* All packets of a direction take the same next hop. Errors: -1. */
static int send_burst(const struct options *options, int fd, uint64_t number)
{
	static struct burst burst;
	unsigned int count = 0;

	while (count < BURST && number + count < options->packets) {
		struct packet *packet = &burst.packets[count];

		burst.iovecs[count] = (struct iovec){
			packet, write_packet(options, number + count, packet)};
		burst.headers[count].msg_hdr = (struct msghdr){
			.msg_iov = &burst.iovecs[count],
			.msg_iovlen = 1,
			.msg_name = &burst.to,
			.msg_namelen = sizeof(burst.to),
		};
		count++;
	}
	burst.to = (struct sockaddr_in){.sin_family = AF_INET,
					.sin_addr.s_addr = burst.packets[0].ip.daddr};
	return sendmmsg(fd, burst.headers, count, 0);
}

static double get_seconds(clockid_t clock)
{
	struct timespec at = {0};

	(void)clock_gettime(clock, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void report(const struct options *options, uint64_t sent, const double spent[2])
{
	const char *form = options->json
				   ? "{\"mode\":\"%s\",\"sent\":%lu,\"seconds\":%.6f,"
				     "\"cpu_seconds\":%.6f,\"per_second\":%.0f}\n"
				   : "mode=%s sent=%lu seconds=%.6f cpu_seconds=%.6f "
				     "per_second=%.0f\n";

	(void)printf(form, mode_names[options->mode], sent, spent[0], spent[1],
		     (double)sent / spent[0]);
}

static int run(const struct options *options)
{
	static const clockid_t clocks[2] = {CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME_ID};
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	double began[2] = {get_seconds(clocks[0]), get_seconds(clocks[1])};
	double spent[2] = {0, 0};
	uint64_t number = 0;
	int sent = 0;

	while (fd >= 0 && number < options->packets &&
	       spent[0] * 1000 < (double)options->milliseconds) {
		sent = send_burst(options, fd, number);
		if (sent < 0)
			break;
		number += (uint64_t)sent;
		spent[0] = get_seconds(clocks[0]) - began[0];
	}
	if (fd < 0 || sent < 0)
		perror("load_data");
	spent[1] = get_seconds(clocks[1]) - began[1];
	if (fd >= 0)
		(void)close(fd);
	report(options, number, spent);
	return fd < 0 || sent < 0 ? 1 : 0;
}

static bool check_options(const struct options *options)
{
	return addr_is_ipv4(&options->wan) && addr_is_ipv4(&options->peer) &&
	       addr_is_ipv4(&options->client) && options->clients > 0 &&
	       options->leases > 0 && options->leases % STRIDE != 0 &&
	       options->first_port > 0 && options->flows > 0 && options->packets > 0 &&
	       options->milliseconds > 0 &&
	       options->first_port + options->leases - 1 <= UINT16_MAX;
}

static bool parse_options(int argc, char **argv, struct options *out)
{
	const struct load_option rows[] = {
		{"wan", .addr = &out->wan},
		{"peer", .addr = &out->peer},
		{"client", .addr = &out->client},
		{"clients", .number = &out->clients, .max = LOAD_CLIENTS_MAX},
		{"leases", .number = &out->leases, .max = LEASES_MAX},
		{"first-port", .number = &out->first_port, .max = UINT16_MAX},
		{"flows", .number = &out->flows, .max = PACKETS_MAX},
		{"packets", .number = &out->packets, .max = PACKETS_MAX},
		{"milliseconds", .number = &out->milliseconds,
		 .max = LOAD_SECONDS_MAX * UINT64_C(1000)},
		{"mode", .number = &out->mode, .max = MODES, .words = mode_names},
		{"tcp", .flag = &out->tcp},
		{"json", .flag = &out->json},
		{.name = NULL},
	};

	*out = (struct options){
		.clients = 1,
		.leases = 1,
		.first_port = 2000,
		.flows = 10000,
		.milliseconds = 10000,
	};
	if (!load_parse_options(argc, argv, rows))
		return false;
	if (out->packets == 0)
		out->packets = out->flows;
	return check_options(out);
}

int main(int argc, char **argv)
{
	struct options options;

	if (parse_options(argc, argv, &options))
		return run(&options);
	(void)fprintf(stderr,
		      "usage: load_data --wan ADDRESS --peer FIRST-ADDRESS --client "
		      "FIRST-ADDRESS\n"
		      "  [--clients N] [--leases N] [--first-port N] [--mode in|out] "
		      "[--tcp]\n"
		      "  [--flows N] [--packets N] [--seconds S] "
		      "[--json]\n");
	return 2;
}
