/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Load of NAT-PMP or PCP requests from many clients against one gateway, and how fast
 * it answers. Runs in the namespace of LAN hosts that own the addresses of --client,
 * --client + 1, ... The rate limit of the gateway ([limits] requests-per-second) must
 * be off. Bounded in requests and in time. Exits 0 when every request was granted.
 */
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "protocols/natpmp.h"
#include "protocols/pcp.h"
#include "test/bench/load.h"

#define WINDOW_MAX 1024
#define REQUESTS_MAX 10000000
#define EVENTS_MAX 64
/* How often it looks for requests that are lost. */
#define SWEEP_US 200000
/* Mixed: of each port one add, two renewals, one deletion. */
#define MIXED_STEPS 4

enum mode { MODE_ADD, MODE_RENEW, MODE_DELETE, MODE_MIXED };
#define MODES (MODE_MIXED + 1)

static const char *const mode_names[] = {"add", "renew", "delete", "mixed"};

struct options {
	struct ip_addr gateway;
	struct ip_addr client;
	uint64_t clients, requests, window, first_port, ports, lifetime_s, max_seconds;
	uint64_t skip;	  /* number of the first request */
	uint64_t seconds; /* no request is sent after them; 0 = the last one counts */
	uint64_t patience_s; /* without an answer it is lost, and not sent again */
	bool own_ports;	     /* each request has one, and wants it outside, too */
	uint64_t mode;	     /* enum mode */
	bool tcp;
	uint8_t protocol; /* IPPROTO_UDP or IPPROTO_TCP */
	bool pcp;
	bool json;
};

/** What is asked, and answered, in either protocol. */
struct ask {
	struct ip_addr client;
	uint8_t protocol;
	uint16_t port;	   /* internal */
	uint16_t external; /* suggested; 0 = any */
	uint32_t lifetime_s;
	bool granted; /* in an answer */
};

struct flight {
	bool used;
	uint64_t number; /* of the request, to find the oldest */
	size_t client;
	uint16_t port;
	int64_t sent_us;
};

struct load {
	struct options options;
	int epoll;
	int sockets[LOAD_CLIENTS_MAX];
	struct flight flights[WINDOW_MAX];
	size_t in_flight;
	uint64_t next; /* number of the next request */
	uint64_t stray;
	struct load_counts counts;
};

static size_t encode_natpmp(const struct ask *ask, void *bytes, size_t size)
{
	struct natpmp_request request = {
		.op = ask->protocol == IPPROTO_TCP ? NATPMP_OP_MAP_TCP
						   : NATPMP_OP_MAP_UDP,
		.internal_port = ask->port,
		.external_port = ask->external,
		.lifetime_s = ask->lifetime_s,
	};

	return natpmp_encode_request(&request, bytes, size);
}

/* The same nonce each time, as a client that remembers what it has asked (PCP-49). */
static size_t encode_pcp(const struct ask *ask, void *bytes, size_t size)
{
	struct pcp_request request = {
		.opcode = PCP_OP_MAP,
		.protocol = ask->protocol,
		.internal_port = ask->port,
		.external_port = ask->external,
		.lifetime_s = ask->lifetime_s,
		.client = ask->client,
		.external = addr_from_ipv4((struct in_addr){0}),
		.nonce = "portreeve",
	};

	return pcp_encode_request(&request, bytes, size);
}

static bool decode_natpmp(const void *bytes, size_t length, struct ask *out)
{
	struct natpmp_reply reply;

	if (!natpmp_decode_reply(bytes, length, &reply))
		return false;
	out->protocol = reply.op == NATPMP_OP_MAP_TCP ? IPPROTO_TCP : IPPROTO_UDP;
	out->port = reply.internal_port;
	out->granted = reply.code == NATPMP_CODE_OK;
	return true;
}

static bool decode_pcp(const void *bytes, size_t length, struct ask *out)
{
	struct pcp_response response;

	if (!pcp_decode_response(bytes, length, &response) ||
	    response.opcode != PCP_OP_MAP)
		return false;
	out->protocol = response.body.protocol;
	out->port = response.body.internal_port;
	out->granted = response.code == PCP_CODE_SUCCESS;
	return true;
}

static struct ask get_request(const struct options *options, uint64_t number)
{
	uint64_t round = number / options->clients;
	uint64_t step = round % MIXED_STEPS;
	struct ask request = {
		.client = load_get_client(&options->client,
					  (size_t)(number % options->clients)),
		.protocol = options->protocol,
		.lifetime_s = (uint32_t)options->lifetime_s,
	};

	if (options->mode == MODE_MIXED)
		round /= MIXED_STEPS;
	if (options->mode == MODE_DELETE ||
	    (options->mode == MODE_MIXED && step == MIXED_STEPS - 1))
		request.lifetime_s = 0;
	if (options->own_ports)
		round = number;
	request.port = (uint16_t)(options->first_port + round % options->ports);
	if (options->own_ports && request.lifetime_s > 0)
		request.external = request.port;
	return request;
}

/* One request into a free place of the window. Errors: false, the socket is full. */
static bool send_next(struct load *load)
{
	const struct options *options = &load->options;
	struct ask request = get_request(options, load->next);
	size_t client = (size_t)(load->next % options->clients);
	struct flight *flight = load->flights;
	uint8_t bytes[PCP_MAP_SIZE];
	size_t length = options->pcp ? encode_pcp(&request, bytes, sizeof(bytes))
				     : encode_natpmp(&request, bytes, sizeof(bytes));

	/* Before it is sent: the answer may be here before send() returns. */
	int64_t sent_us = load_now_us();

	while (flight->used)
		flight++;
	if (send(load->sockets[client], bytes, length, MSG_DONTWAIT) < 0)
		return false;
	*flight = (struct flight){
		.used = true,
		.number = load->next,
		.client = client,
		.port = request.port,
		.sent_us = sent_us,
	};
	load->next++;
	load->in_flight++;
	return true;
}

static void fill_window(struct load *load)
{
	while (load->in_flight < load->options.window &&
	       load->next < load->options.requests)
		if (!send_next(load))
			return;
}

/* The oldest request of that client and port: a gateway answers them in order. */
static struct flight *find_flight(struct load *load, size_t client, uint16_t port)
{
	struct flight *found = NULL;

	for (size_t i = 0; i < load->options.window; i++) {
		struct flight *flight = &load->flights[i];

		if (flight->used && flight->client == client && flight->port == port &&
		    (!found || flight->number < found->number))
			found = flight;
	}
	return found;
}

static void end_flight(struct load *load, struct flight *flight)
{
	flight->used = false;
	load->in_flight--;
}

static void take_reply(struct load *load, size_t client, const void *bytes,
		       size_t length)
{
	struct flight *flight = NULL;
	struct ask reply = {0};
	bool ours = load->options.pcp ? decode_pcp(bytes, length, &reply)
				      : decode_natpmp(bytes, length, &reply);

	if (ours && reply.protocol == load->options.protocol)
		flight = find_flight(load, client, reply.port);
	if (!flight) {
		load->stray++;
		return;
	}
	if (reply.granted)
		load_grant(&load->counts, flight->sent_us);
	else
		load->counts.refused++;
	end_flight(load, flight);
}

static void receive(struct load *load, size_t client)
{
	uint8_t bytes[PCP_SIZE_MAX];

	for (;;) {
		ssize_t length =
			recv(load->sockets[client], bytes, sizeof(bytes), MSG_DONTWAIT);

		if (length < 0)
			return;
		take_reply(load, client, bytes, (size_t)length);
	}
}

static void end_lost(struct load *load)
{
	int64_t oldest_us = load_now_us() - (int64_t)load->options.patience_s * 1000000;

	for (size_t i = 0; i < load->options.window; i++) {
		struct flight *flight = &load->flights[i];

		if (!flight->used || flight->sent_us > oldest_us)
			continue;
		load->counts.lost++;
		end_flight(load, flight);
	}
}

/* Errors: false, the time is over. */
static bool run(struct load *load)
{
	struct epoll_event events[EVENTS_MAX];
	int64_t end_us;
	int64_t sweep_us;

	load->counts.start_us = load_now_us();
	end_us = load->counts.start_us + (int64_t)load->options.max_seconds * 1000000;
	sweep_us = load->counts.start_us;
	fill_window(load);
	while (load->in_flight > 0 || load->next < load->options.requests) {
		int count = epoll_wait(load->epoll, events, EVENTS_MAX, 10);
		int64_t at_us = load_now_us();

		for (int i = 0; i < count; i++)
			receive(load, (size_t)events[i].data.u64);
		if (at_us - sweep_us > SWEEP_US) {
			end_lost(load);
			sweep_us = at_us;
		}
		if (load_is_time_over(&load->counts, load->options.seconds))
			load->options.requests = load->next;
		fill_window(load);
		if (at_us > end_us)
			return false;
	}
	return true;
}

static int open_client(struct load *load, size_t i)
{
	struct ip_addr client = load_get_client(&load->options.client, i);
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = i};
	int fd = load_open(SOCK_DGRAM | SOCK_CLOEXEC, &client, &load->options.gateway,
			   NATPMP_PORT);

	load->sockets[i] = fd;
	return fd < 0 ? -1 : epoll_ctl(load->epoll, EPOLL_CTL_ADD, fd, &event);
}

static int report(struct load *load)
{
	const struct load_figure figures[] = {
		{"clients", load->options.clients},
		{"window", load->options.window},
		{"requests", load->next - load->options.skip},
		{"stray", load->stray},
		{.name = NULL},
	};

	return load_report(&load->counts, mode_names[load->options.mode], figures,
			   load->options.json);
}

/* Every port is asked for once unless --ports says to go round. */
static bool complete_options(struct options *options)
{
	uint64_t steps = options->mode == MODE_MIXED ? MIXED_STEPS : 1;

	if (options->clients == 0 || options->requests == 0 || options->window == 0 ||
	    options->first_port == 0 || options->lifetime_s == 0 ||
	    options->patience_s == 0 || addr_is_none(&options->gateway))
		return false;
	options->requests += options->skip;
	if (options->own_ports)
		options->ports = options->requests;
	if (options->ports == 0)
		options->ports = (options->requests + options->clients * steps - 1) /
				 (options->clients * steps);
	if (options->first_port + options->ports - 1 <= UINT16_MAX)
		return true;
	(void)fprintf(stderr, "load_natpmp: more ports than a host has: give more "
			      "--clients or --ports\n");
	return false;
}

static bool parse_options(int argc, char **argv, struct options *out)
{
	struct options options = {
		.client = addr_from_ipv4((struct in_addr){0}),
		.clients = 1,
		.requests = 10000,
		.window = 64,
		.first_port = 10000,
		.lifetime_s = 3600,
		.max_seconds = 60,
		.patience_s = 2,
	};
	const struct load_option rows[] = {
		{"gateway", .addr = &options.gateway},
		{"client", .addr = &options.client},
		{"clients", .number = &options.clients, .max = LOAD_CLIENTS_MAX},
		{"requests", .number = &options.requests, .max = REQUESTS_MAX},
		{"window", .number = &options.window, .max = WINDOW_MAX},
		{"mode", .number = &options.mode, .max = MODES, .words = mode_names},
		{"first-port", .number = &options.first_port, .max = UINT16_MAX},
		{"ports", .number = &options.ports, .max = UINT16_MAX},
		{"lifetime", .number = &options.lifetime_s, .max = UINT32_MAX},
		{"skip", .number = &options.skip, .max = REQUESTS_MAX},
		{"seconds", .number = &options.seconds, .max = LOAD_SECONDS_MAX},
		{"patience", .number = &options.patience_s, .max = LOAD_SECONDS_MAX},
		{"max-seconds", .number = &options.max_seconds,
		 .max = LOAD_SECONDS_MAX},
		{"own-ports", .flag = &options.own_ports},
		{"tcp", .flag = &options.tcp},
		{"pcp", .flag = &options.pcp},
		{"json", .flag = &options.json},
		{.name = NULL},
	};

	if (!load_parse_options(argc, argv, rows) || !addr_is_ipv4(&options.gateway) ||
	    !addr_is_ipv4(&options.client))
		return false;
	options.protocol = options.tcp ? IPPROTO_TCP : IPPROTO_UDP;
	*out = options;
	return complete_options(out);
}

int main(int argc, char **argv)
{
	static struct load load;
	struct load_times times;

	if (!parse_options(argc, argv, &load.options)) {
		(void)fprintf(stderr, "usage: load_natpmp --gateway ADDRESS "
				      "[--client FIRST-ADDRESS] [--clients N]\n"
				      "  [--requests N] [--window N] "
				      "[--mode add|renew|delete|mixed] [--tcp] "
				      "[--pcp]\n"
				      "  [--first-port N] [--ports N | --own-ports] "
				      "[--skip N] [--lifetime S]\n"
				      "  [--seconds S] [--patience S] "
				      "[--max-seconds S] [--json]\n");
		return 2;
	}
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (load.epoll < 0 || !load_times_init(&times, load.options.requests))
		return 1;
	load.counts.times = times;
	load.next = load.options.skip;
	for (size_t i = 0; i < load.options.clients; i++)
		if (open_client(&load, i) < 0)
			return 1;
	load.counts.stopped = !run(&load);
	return report(&load);
}
