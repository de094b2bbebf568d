/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host that asks a gateway for ports as fast as it can send, by NAT-PMP or PCP, and
 * never listens. Runs in the namespace of a LAN host that owns the addresses of
 * --client, --client + 1, ... Bounded in time. Prints what it has sent.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "protocols/natpmp.h"
#include "protocols/pcp.h"
#include "test/bench/load.h"

#define BURST 64
#define CLIENTS_MAX 64
#define SECONDS_MAX 60
#define FIRST_PORT 20000
#define PORTS 40000
#define LIFETIME_S 3600

struct options {
	struct ip_addr gateway;
	struct ip_addr client;
	uint64_t clients, seconds;
	bool natpmp;
};

/* What one sendmmsg() sends. */
struct burst {
	struct mmsghdr headers[BURST];
	struct iovec iovecs[BURST];
	uint8_t bytes[BURST][PCP_MAP_SIZE];
};

static int64_t now_ms(void)
{
	struct timespec at = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	return (int64_t)at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

static struct ip_addr get_client(const struct options *options, uint64_t number)
{
	struct ip_addr addr = options->client;

	addr.bytes[15] = (uint8_t)(addr.bytes[15] + number);
	return addr;
}

static size_t write_request(const struct options *options, const struct ip_addr *client,
			    uint16_t port, uint8_t bytes[PCP_MAP_SIZE])
{
	const struct natpmp_request natpmp = {NATPMP_OP_MAP_UDP, port, port,
					      LIFETIME_S};
	const struct pcp_request pcp = {
		.opcode = PCP_OP_MAP,
		.protocol = IPPROTO_UDP,
		.lifetime_s = LIFETIME_S,
		.client = *client,
		.internal_port = port,
		.external_port = port,
	};

	return options->natpmp ? natpmp_encode_request(&natpmp, bytes, PCP_MAP_SIZE)
			       : pcp_encode_request(&pcp, bytes, PCP_MAP_SIZE);
}

/* How many the kernel took. */
static uint64_t send_burst(const struct options *options, int fd,
			   const struct ip_addr *client, uint64_t number)
{
	static struct burst burst;
	int sent;

	for (size_t i = 0; i < BURST; i++) {
		uint16_t port = (uint16_t)(FIRST_PORT + (number + i) % PORTS);

		burst.iovecs[i].iov_base = burst.bytes[i];
		burst.iovecs[i].iov_len =
			write_request(options, client, port, burst.bytes[i]);
		burst.headers[i].msg_hdr = (struct msghdr){
			.msg_iov = &burst.iovecs[i],
			.msg_iovlen = 1,
		};
	}
	sent = sendmmsg(fd, burst.headers, BURST, 0);
	return sent > 0 ? (uint64_t)sent : 0;
}

static int run(const struct options *options)
{
	int fds[CLIENTS_MAX];
	int64_t start_ms = now_ms();
	int64_t end_ms = start_ms + (int64_t)options->seconds * 1000;
	uint64_t number = 0;
	uint64_t sent = 0;

	for (uint64_t i = 0; i < options->clients; i++) {
		struct ip_addr client = get_client(options, i);

		fds[i] = load_open(SOCK_DGRAM | SOCK_CLOEXEC, &client,
				   &options->gateway, NATPMP_PORT);
		if (fds[i] < 0)
			return 1;
	}
	while (now_ms() < end_ms) {
		uint64_t which = number / BURST % options->clients;
		struct ip_addr client = get_client(options, which);

		sent += send_burst(options, fds[which], &client, number);
		number += BURST;
	}
	(void)printf("sent=%lu per_second=%.0f\n", sent,
		     (double)sent * 1000 / (double)(now_ms() - start_ms));
	return 0;
}

static bool parse_options(int argc, char **argv, struct options *out)
{
	const struct load_option rows[] = {
		{"gateway", .addr = &out->gateway},
		{"client", .addr = &out->client},
		{"clients", .number = &out->clients, .max = CLIENTS_MAX},
		{"seconds", .number = &out->seconds, .max = SECONDS_MAX},
		{"nat-pmp", .flag = &out->natpmp},
		{.name = NULL},
	};

	*out = (struct options){.clients = 1, .seconds = 3};
	return load_parse_options(argc, argv, rows) && out->clients > 0 &&
	       out->seconds > 0 && !addr_is_none(&out->gateway) &&
	       !addr_is_none(&out->client) &&
	       addr_is_ipv4(&out->gateway) == addr_is_ipv4(&out->client) &&
	       (addr_is_ipv4(&out->client) || !out->natpmp);
}

int main(int argc, char **argv)
{
	struct options options;

	if (parse_options(argc, argv, &options))
		return run(&options);
	(void)fprintf(stderr, "usage: flood --gateway ADDRESS --client FIRST-ADDRESS "
			      "[--clients N] [--seconds S] [--nat-pmp]\n");
	return 2;
}
