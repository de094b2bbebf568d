/* SPDX-License-Identifier: GPL-2.0-or-later */

/*
 * What core's ledger costs at a million leases, with a firewall in memory and a clock
 * that the program moves:
 *
 *   bench_million [--leases N] [--clients N] [--group N] [--state-dir DIR]
 *                 [--part renew|walks|return|expire] [--json]
 *
 * Hosts of IPv6 have most of the leases, for an IPv4 address has 64,512 ports that
 * hosts may have: those are nearly all taken, and most hosts do not get the one that
 * they ask for. One line for each part, with the time that a turn of core's loop takes
 * (a group of requests, or what ends together): p50, p99 and the longest, and what it
 * costs the processor, the firewall in memory apart. With --state-dir the leases are
 * written there too.
 */
#include <malloc.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "base/log.h"
#include "daemon/ledger.h"
#include "daemon/table.h"
#include "test/bench/load.h"

#define LEASES 1000000
#define LEASES_MAX 4000000
#define CLIENTS 100000
/* IPv4 hosts have so many leases together: 93 % of the ports. */
#define IPV4_LEASES_MAX 60000
#define LIFETIME_S 7200
/* Time that passes from group to group: 64,000 requests a second. */
#define TURN_MS 1
/* Renewals come in an order of their own: a step that has no divisor in common with the
 * number of leases. */
#define SHUFFLE_STEP 611953
#define NOW_MS 1000000
#define WALL_MS 1700000000000
#define WAN_IFINDEX 1
#define LAN_IFINDEX 2
/* Not an even hash of its own: hosts make up their addresses. */
#define MIX UINT64_C(0x9e3779b97f4a7c15)

/* What the firewall in memory takes, which is not core's. */
static struct {
	int64_t cpu_ns;
	size_t heap; /* at its last end */
} firewall;

/* One part of the program. */
struct part {
	struct load_counts counts;
	int64_t turn_us; /* when the turn began */
	int64_t turn_ns; /* of the processor */
	int64_t cpu_ns, worst_ns;
	int64_t firewall_ns;
	uint64_t requests, worst_at;
};

struct bench {
	struct conf conf;
	struct network network;
	struct backend_ops backend;
	struct store_time at;
	struct ledger *ledger;
	size_t leases, clients, group;
	size_t heap, resident; /* of all leases, in octets */
	bool json, failed;
	uint16_t *ports; /* that they were given, by lease */
	struct part part;
	struct request requests[LEDGER_GROUP_MAX];
	struct reply replies[LEDGER_GROUP_MAX];
};

static void fail(const char *what)
{
	(void)fprintf(stderr, "bench_million: %s\n", what);
	exit(1);
}

static size_t get_heap(void)
{
	const struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

/* Units: octets that are no file's. */
static size_t get_resident(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, "RssAnon:", 8) == 0)
			kib = strtoull(line + 8, NULL, 10);
	if (file)
		(void)fclose(file);
	return (size_t)kib * 1024;
}

/* --- the firewall, and what it takes --- */

static int firewall_apply(struct backend *backend, const struct backend_change *changes,
			  size_t count)
{
	int64_t began_ns = load_get_cpu_ns();
	int error = backend_get_memory()->apply(backend, changes, count);

	firewall.cpu_ns += load_get_cpu_ns() - began_ns;
	return error;
}

static int firewall_sync(struct backend *backend, const struct rule *rules,
			 size_t count, size_t *added, size_t *removed)
{
	int64_t began_ns = load_get_cpu_ns();
	int error = backend_get_memory()->sync(backend, rules, count, added, removed);

	firewall.cpu_ns += load_get_cpu_ns() - began_ns;
	return error;
}

static int firewall_close(struct backend *backend, bool keep)
{
	int64_t began_ns = load_get_cpu_ns();
	size_t heap = get_heap();
	int error = backend_get_memory()->close(backend, keep);

	firewall.heap = heap - get_heap();
	firewall.cpu_ns += load_get_cpu_ns() - began_ns;
	return error;
}

/* --- parts and turns --- */

static void part_begin(struct bench *bench)
{
	struct part *part = &bench->part;

	*part = (struct part){.counts.start_us = load_now_us()};
	/* a group each, what ends, and the disk's turns */
	if (!load_times_init(&part->counts.times, 2 * bench->leases + 64))
		fail("out of memory");
	firewall.cpu_ns = 0;
}

static void turn_begin(struct bench *bench)
{
	bench->part.turn_us = load_now_us();
	bench->part.firewall_ns = firewall.cpu_ns;
	bench->part.turn_ns = load_get_cpu_ns();
}

static void turn_end(struct bench *bench)
{
	struct part *part = &bench->part;
	int64_t spent_ns = load_get_cpu_ns() - part->turn_ns;

	load_times_add(&part->counts.times, part->turn_us);
	spent_ns -= firewall.cpu_ns - part->firewall_ns;
	part->cpu_ns += spent_ns;
	if (spent_ns <= part->worst_ns)
		return;
	part->worst_ns = spent_ns;
	part->worst_at = part->requests;
}

/* Units: of cpu_ns per lease that the part was about. */
static void part_end(struct bench *bench, const char *name)
{
	struct part *part = &bench->part;
	uint64_t each = part->requests > 0 ? part->requests : 1;
	const struct load_figure figures[] = {
		{"held", table_get_count(ledger_get_table(bench->ledger))},
		{"turns", part->counts.times.count},
		{"cpu_ns", (uint64_t)part->cpu_ns / each},
		{"firewall_ns", (uint64_t)firewall.cpu_ns / each},
		{"worst_cpu_us", (uint64_t)part->worst_ns / 1000},
		{"worst_at", part->worst_at},
		{.name = NULL},
	};

	part->counts.granted = part->requests - part->counts.refused;
	if (load_report(&part->counts, name, figures, bench->json) != 0)
		bench->failed = true;
	(void)fflush(stdout);
}

/* --- requests --- */

static bool is_ipv4(const struct bench *bench, size_t lease)
{
	size_t ipv4 = bench->leases / 2 < IPV4_LEASES_MAX ? bench->leases / 2
							  : IPV4_LEASES_MAX;

	return lease < ipv4;
}

static struct ip_addr get_client(size_t client, bool ipv4)
{
	const uint64_t mixed = (client + 1) * MIX;
	struct in6_addr addr = {.s6_addr = {0x20, 0x01, 0x0d, 0xb8}};

	if (ipv4)
		return addr_from_ipv4(
			(struct in_addr){htonl(0x0a000002 + (uint32_t)client)});
	memcpy(&addr.s6_addr[8], &mixed, sizeof(mixed));
	return addr_from_ipv6(&addr);
}

static void fill_request(const struct bench *bench, size_t lease,
			 struct request *request)
{
	size_t each = bench->leases / bench->clients;
	size_t client = lease / each, which = lease % each;
	bool ipv4 = is_ipv4(bench, lease);

	memset(request, 0, sizeof(*request));
	request->cookie = lease;
	request->op = REQUEST_MAP;
	request->origin = ipv4 ? ORIGIN_NATPMP : ORIGIN_PCP;
	request->protocol = which % 2 ? IPPROTO_TCP : IPPROTO_UDP;
	request->enabled = 1;
	request->ifindex = LAN_IFINDEX;
	request->client = get_client(client, ipv4);
	request->client_port = ipv4 ? 0 : 5350;
	request->internal = request->client;
	request->internal_port = (uint16_t)(5000 + which / 2);
	request->external_port = bench->ports[lease];
	request->lifetime_s = LIFETIME_S;
	memcpy(request->nonce, &client, sizeof(client));
}

/* As core's timer does. */
static void expire_due(struct bench *bench)
{
	if (ledger_get_due(bench->ledger) > bench->at.now_ms)
		return;
	turn_begin(bench);
	(void)ledger_expire(bench->ledger, &bench->at);
	turn_end(bench);
}

static void pass_time(struct bench *bench, int64_t ms)
{
	bench->at.now_ms += ms;
	bench->at.wall_ms += ms;
}

/* True: it was not what it asked for, although it had it before. */
static bool take_reply(struct bench *bench, const struct request *request,
		       const struct reply *reply)
{
	uint16_t *port = &bench->ports[request->cookie];
	bool fine = reply->result == RESULT_OK &&
		    (*port == 0 || *port == reply->external_port);

	*port = reply->external_port;
	return !fine;
}

static void ask_group(struct bench *bench, size_t count)
{
	turn_begin(bench);
	ledger_decide(bench->ledger, bench->requests, count, bench->replies,
		      &bench->at);
	turn_end(bench);
	for (size_t i = 0; i < count; i++)
		bench->part.counts.refused +=
			take_reply(bench, &bench->requests[i], &bench->replies[i]);
	bench->part.requests += count;
	pass_time(bench, TURN_MS);
	expire_due(bench);
}

/* Every lease is asked for once, one after the other or in any order. */
static void ask_all(struct bench *bench, bool shuffled)
{
	size_t step = shuffled ? SHUFFLE_STEP : 1;
	size_t lease = 0;

	for (size_t done = 0; done < bench->leases;) {
		size_t count = 0;

		while (count < bench->group && done + count < bench->leases) {
			fill_request(bench, lease, &bench->requests[count++]);
			lease = (lease + step) % bench->leases;
		}
		ask_group(bench, count);
		done += count;
	}
}

/* --- the ledger --- */

static void ignore_lease(void *user, enum lease_event event, const struct lease *lease)
{
	(void)user;
	(void)event;
	(void)lease;
}

static void ignore_disturbed(void *user)
{
	(void)user;
}

static void open_ledger(struct bench *bench)
{
	static const struct ledger_events events = {.lease = ignore_lease,
						    .disturbed = ignore_disturbed};
	const struct ledger_setup setup = {.conf = &bench->conf,
					   .network = &bench->network,
					   .backend = &bench->backend,
					   .events = &events,
					   .at = bench->at};

	turn_begin(bench);
	if (ledger_open(&setup, &bench->ledger) != 0)
		fail("the ledger does not open");
	turn_end(bench);
	turn_begin(bench);
	if (ledger_set_network(bench->ledger, &bench->network, bench->at.now_ms) != 0)
		fail("the ledger does not take the network");
	turn_end(bench);
}

static void set_external(struct bench *bench, uint32_t address)
{
	struct wan_choice *wan = &bench->network.wan;

	wan->address = addr_from_ipv4((struct in_addr){htonl(address)});
	wan->external = wan->address;
}

static void init(struct bench *bench)
{
	struct wan_choice *wan = &bench->network.wan;
	struct lan_info *lan = &bench->network.lans[0];

	conf_init(&bench->conf);
	bench->conf.limits.leases_total = 0;
	bench->conf.global.state_dir[0] = '\0';
	bench->backend = *backend_get_memory();
	bench->backend.apply = firewall_apply;
	bench->backend.sync = firewall_sync;
	bench->backend.close = firewall_close;
	bench->at = (struct store_time){NOW_MS, WALL_MS};
	wan->present = true;
	wan->ifindex = WAN_IFINDEX;
	set_external(bench, 0xcb007101);
	bench->network.lan_count = 1;
	lan->ifindex = LAN_IFINDEX;
	lan->protocols = LAN_PROTOCOL_UPNP | LAN_PROTOCOL_NATPMP | LAN_PROTOCOL_PCP;
	memcpy(lan->name, "lan0", sizeof("lan0"));
}

/* --- the parts --- */

/* Nobody has a lease; each host asks for all of its own. */
static void run_add(struct bench *bench)
{
	size_t heap, resident;

	part_begin(bench);
	open_ledger(bench);
	heap = get_heap();
	resident = get_resident();
	ask_all(bench, false);
	bench->heap = get_heap() - heap;
	bench->resident = get_resident() - resident;
	part_end(bench, "add");
}

/* The first time with all leases: then the firewall tells what of the heap was its. */
static void close_ledger(struct bench *bench)
{
	size_t held = table_get_count(ledger_get_table(bench->ledger));
	size_t leases = bench->leases;

	ledger_close(bench->ledger);
	bench->ledger = NULL;
	if (bench->heap == 0 || held < leases)
		return;
	(void)printf(bench->json
			     ? "{\"mode\":\"memory\",\"heap_per_lease\":%zu,"
			       "\"firewall_heap_per_lease\":%zu,"
			       "\"resident_per_lease\":%zu}\n"
			     : "mode=memory heap_per_lease=%zu "
			       "firewall_heap_per_lease=%zu resident_per_lease=%zu\n",
		     (bench->heap - firewall.heap) / leases, firewall.heap / leases,
		     bench->resident / leases);
	bench->heap = 0;
}

/* They renew, in any order. */
static void run_renew(struct bench *bench)
{
	part_begin(bench);
	ask_all(bench, true);
	part_end(bench, "renew");
}

/* Another address at the WAN: a new epoch, and other rules. */
static void run_address(struct bench *bench)
{
	part_begin(bench);
	set_external(bench, 0xcb007102);
	turn_begin(bench);
	(void)ledger_follow_external(bench->ledger, &bench->network.wan.external,
				     &bench->at);
	if (ledger_set_network(bench->ledger, &bench->network, bench->at.now_ms) != 0)
		fail("the ledger does not take the address");
	turn_end(bench);
	part_end(bench, "address");
}

/* What looks at all leases: somebody flushed the firewall, and `status`. */
static void run_walks(struct bench *bench)
{
	part_begin(bench);
	turn_begin(bench);
	if (!ledger_heal(bench->ledger, &bench->at))
		fail("the firewall was not put right");
	turn_end(bench);
	part_end(bench, "heal");
	part_begin(bench);
	turn_begin(bench);
	if (ledger_count_rules(bench->ledger) != bench->leases)
		fail("some leases have no rules");
	turn_end(bench);
	part_end(bench, "status");
	run_address(bench);
}

/* A stop and a start: the store brings all back, or nothing does. */
static void run_restart(struct bench *bench, bool stored)
{
	part_begin(bench);
	turn_begin(bench);
	close_ledger(bench);
	turn_end(bench);
	open_ledger(bench);
	part_end(bench, stored ? "restart" : "loss");
}

/* The hosts are gone: everything ends at once. */
static void run_expire(struct bench *bench)
{
	const struct table *table = ledger_get_table(bench->ledger);

	part_begin(bench);
	bench->part.requests = table_get_count(table);
	pass_time(bench, INT64_C(1000) * LIFETIME_S);
	while (table_get_count(table) > 0)
		expire_due(bench);
	part_end(bench, "expire");
	/* the ports have rested */
	part_begin(bench);
	pass_time(bench, INT64_C(1000) * LIFETIME_S);
	while (ledger_get_due(bench->ledger) <= bench->at.now_ms)
		expire_due(bench);
	part_end(bench, "rest");
}

/* They come back after a loss, with the ports that they had. */
static void run_return(struct bench *bench)
{
	bool stored = bench->conf.global.state_dir[0] != '\0';

	run_restart(bench, stored);
	if (stored)
		return;
	part_begin(bench);
	ask_all(bench, true);
	part_end(bench, "return");
}

#define PARTS 5
static const char *const part_names[PARTS] = {"all", "renew", "walks", "return",
					      "expire"};
static void (*const part_runs[PARTS])(struct bench *bench) = {
	NULL, run_renew, run_walks, run_return, run_expire};

/* All parts, or one; each needs the leases of the first. */
static void run(struct bench *bench, size_t only)
{
	run_add(bench);
	for (size_t i = 1; i < PARTS; i++)
		if (only == 0 || only == i)
			part_runs[i](bench);
	close_ledger(bench);
}

static bool parse(int argc, char **argv, struct bench *bench, uint64_t *only)
{
	uint64_t leases = LEASES, clients = CLIENTS, group = LEDGER_GROUP_MAX;
	const char *dir = "";
	const struct load_option options[] = {
		{.name = "leases", .number = &leases, .max = LEASES_MAX},
		{.name = "clients", .number = &clients, .max = LEASES_MAX},
		{.name = "group", .number = &group, .max = LEDGER_GROUP_MAX},
		{.name = "state-dir", .text = &dir},
		{.name = "part", .number = only, .words = part_names, .max = PARTS},
		{.name = "json", .flag = &bench->json},
		{.name = NULL},
	};
	int length;

	if (!load_parse_options(argc, argv, options) || clients == 0 || group == 0 ||
	    leases % clients != 0 || leases % SHUFFLE_STEP == 0 ||
	    leases / clients > bench->conf.limits.leases_per_client)
		return false;
	bench->leases = leases;
	bench->clients = clients;
	bench->group = group;
	length = snprintf(bench->conf.global.state_dir,
			  sizeof(bench->conf.global.state_dir), "%s", dir);
	return length >= 0 && (size_t)length < sizeof(bench->conf.global.state_dir);
}

int main(int argc, char **argv)
{
	static struct bench bench;
	uint64_t only = 0;

	log_init("bench_million", LOG_LEVEL_ERROR);
	init(&bench);
	if (!parse(argc, argv, &bench, &only)) {
		(void)fprintf(stderr,
			      "Usage: bench_million [--leases N] [--clients N] "
			      "[--group N] [--state-dir DIR]\n"
			      "       [--part renew|walks|return|expire] [--json]\n"
			      "Each client has as many leases, at most %u.\n",
			      bench.conf.limits.leases_per_client);
		return 2;
	}
	bench.ports = calloc(bench.leases, sizeof(*bench.ports));
	if (!bench.ports)
		fail("out of memory");
	run(&bench, only);
	free(bench.ports);
	return bench.failed ? 1 : 0;
}
