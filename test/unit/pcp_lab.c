/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/pcp_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocols/announce.h"

#define TICK_US 10000

static struct lab lab;
static const char *skip_reason; /* no permission; anything else is a failure */

/* The lab. Errors: false, told. */
static bool build_lab(void)
{
	if (netns_make_pair(&lab.ns) < 0) {
		skip_reason = "no permission to make network namespaces";
		return false;
	}
	if (!netns_make_link(&lab.ns, "lan0", "host0") ||
	    !netns_make_link(&lab.ns, "lan1", "host1") ||
	    !netns_make_link(&lab.ns, "wan0", "host2") ||
	    !netns_run("sysctl -qw net.ipv6.conf.all.accept_dad=0 "
		       "net.ipv6.conf.default.accept_dad=0 "
		       "net.ipv6.conf.host0.accept_dad=0 && "
		       "ip link set host0 addrgenmode none && "
		       "ip addr add fd77::10/64 dev host0 nodad && "
		       "ip addr add fe80::10/64 dev host0 nodad && "
		       "ip addr add 192.168.77.11/24 dev host0 && "
		       "ip addr add 192.168.77.10/24 dev host0 && "
		       "ip addr add 192.168.78.10/24 dev host1 && "
		       "ip addr add 198.51.100.2/24 dev host2 && "
		       "ip link set host0 up && ip link set host1 up && "
		       "ip link set host2 up && ip link set lo up && "
		       /* Hosts that forge: every gateway address by every link. */
		       "ip route add 192.168.77.0/24 dev host1 metric 500 && "
		       "ip route add 192.168.77.0/24 dev host2 metric 501 && "
		       "ip route add 198.51.100.0/24 dev host0 metric 500 && "
		       "ip route add 192.0.0.9 via 192.168.77.1 && "
		       "ip route add 2001:1::1 via fd77::1") ||
	    !netns_enter(lab.ns.gateway) ||
	    !netns_run("ip link set lan0 addrgenmode none && "
		       "ip addr add fd77::1/64 dev lan0 nodad && "
		       "ip addr add fe80::1/64 dev lan0 nodad && "
		       "ip addr add 192.0.0.9/32 dev lo && "
		       "ip addr add 2001:1::1/128 dev lo nodad && "
		       "ip addr add 192.168.77.1/24 dev lan0 && "
		       "ip addr add 192.168.77.2/24 dev lan0 && "
		       "ip addr add 192.168.78.1/24 dev lan1 && "
		       "ip addr add 198.51.100.1/24 dev wan0 && "
		       "ip link set lan0 up && ip link set lan1 up && "
		       "ip link set wan0 up && ip link set lo up && "
		       /* NP-3: the checks are ours, not the kernel's. */
		       "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do "
		       "echo 0 > $f; done"))
		return false;
	lab.ifindex[LAN0] = if_nametoindex("lan0");
	lab.ifindex[LAN1] = if_nametoindex("lan1");
	lab.ifindex[WAN0] = if_nametoindex("wan0");
	return true;
}

bool lab_make(void)
{
	return build_lab() || skip_reason;
}

struct lab *lab_get(void)
{
	return &lab;
}

/* Turning the loop. */

static void on_tick(evutil_socket_t fd, short what, void *user)
{
	(void)fd;
	(void)what;
	(void)user;
}

/* One turn of the loop; true while there is time left. */
bool lab_turn(int64_t deadline_ms)
{
	(void)event_base_loop(lab.base, EVLOOP_ONCE);
	return clock_now_ms() < deadline_ms;
}

void lab_wait_packets(const struct host *host, size_t count)
{
	int64_t deadline_ms = clock_now_ms() + LAB_DEADLINE_MS;

	while (host->count < count)
		assert_true(lab_turn(deadline_ms));
}

void lab_wait_requests(size_t count)
{
	int64_t deadline_ms = clock_now_ms() + LAB_DEADLINE_MS;

	while (lab.core.requests < count)
		assert_true(lab_turn(deadline_ms));
}

void lab_wait_ready(uint32_t sockets, uint32_t failed)
{
	int64_t deadline_ms = clock_now_ms() + LAB_DEADLINE_MS;

	while (lab.core.readies == 0 || lab.core.ready.sockets != sockets ||
	       lab.core.ready.failed != failed)
		assert_true(lab_turn(deadline_ms));
}

/* Hosts. */

static void on_host_readable(evutil_socket_t fd, short what, void *user)
{
	struct host *host = user;
	struct packet *packet = &host->inbox[host->count];
	struct sockaddr_storage from = {0};
	socklen_t size = sizeof(from);
	ssize_t length;

	(void)what;
	length = recvfrom(fd, packet->bytes, sizeof(packet->bytes), MSG_DONTWAIT,
			  (struct sockaddr *)&from, &size);
	if (length < 0) {
		host->error = errno;
		return;
	}
	assert_true(host->count + 1 < INBOX_MAX);
	packet->at_ms = clock_now_ms();
	packet->length = (size_t)length;
	packet->from = addr_from_sockaddr(&from);
	packet->from_port = addr_get_sockaddr_port(&from);
	host->count++;
}

struct ip_addr lab_ip(const char *text)
{
	struct ip_addr addr;

	assert_true(addr_parse(text, &addr));
	return addr;
}

/* A host's socket on one of its links, with an address that need not belong there. */
struct host *lab_host_new(const char *device, const char *address, uint16_t port)
{
	struct host *host = calloc(1, sizeof(*host));
	struct ip_addr addr = lab_ip(address);
	struct sockaddr_storage local;
	socklen_t size = addr_to_sockaddr(&addr, port, &local);
	const int on = 1;

	assert_non_null(host);
	assert_true(netns_enter(lab.ns.hosts));
	host->fd =
		socket(local.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(netns_enter(lab.ns.gateway));
	assert_true(host->fd >= 0);
	assert_int_equal(setsockopt(host->fd, SOL_SOCKET, SO_BINDTODEVICE, device,
				    (socklen_t)strlen(device) + 1),
			 0);
	assert_int_equal(
		setsockopt(host->fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)), 0);
	if (local.ss_family == AF_INET6)
		assert_int_equal(setsockopt(host->fd, IPPROTO_IPV6, IPV6_V6ONLY, &on,
					    sizeof(on)),
				 0);
	assert_int_equal(bind(host->fd, (struct sockaddr *)&local, size), 0);
	host->readable = event_new(lab.base, host->fd, EV_READ | EV_PERSIST,
				   on_host_readable, host);
	assert_non_null(host->readable);
	assert_int_equal(event_add(host->readable, NULL), 0);
	return host;
}

void lab_host_free(struct host *host)
{
	event_free(host->readable);
	close(host->fd);
	free(host);
}

void lab_host_send(const struct host *host, const char *to, const void *bytes,
		   size_t length)
{
	struct ip_addr addr = lab_ip(to);
	struct sockaddr_storage peer;
	socklen_t size = addr_to_sockaddr(&addr, NATPMP_PORT, &peer);

	assert_int_equal(
		sendto(host->fd, bytes, length, 0, (struct sockaddr *)&peer, size),
		length);
}

void lab_host_ask(const struct host *host, const char *to,
		  const struct natpmp_request *request)
{
	uint8_t bytes[16];
	size_t length = natpmp_encode_request(request, bytes, sizeof(bytes));

	lab_host_send(host, to, bytes, length);
}

/* Ask for the address on the same socket and see that its answer is the next packet:
 * whatever was sent before was met with silence. */
void lab_assert_silence(struct host *host, const char *to)
{
	size_t before = host->count;

	lab_host_send(host, to, "\0\0", 2);
	lab_wait_packets(host, before + 1);
	assert_int_equal(host->inbox[before].length, 12);
	assert_memory_equal(host->inbox[before].bytes, "\x00\x80\x00\x00", 4);
	assert_int_equal(host->count, before + 1);
}

struct natpmp_reply lab_read_reply(const struct packet *packet)
{
	struct natpmp_reply reply;

	assert_true(natpmp_decode_reply(packet->bytes, packet->length, &reply));
	return reply;
}

/* Core. */

void lab_core_send(uint32_t type, const void *body, size_t length)
{
	assert_int_equal(msg_channel_send(lab.core.channel, type, body, length), 0);
}

void lab_core_grant(const struct request *request)
{
	struct reply reply = {
		.cookie = request->cookie,
		.op = request->op,
		.result = RESULT_OK,
		.protocol = request->protocol,
		.internal_port = request->internal_port,
		.external_port = 50000,
		.lifetime_s = 1800,
		.epoch_s = EPOCH_S,
	};

	if (request->op != REQUEST_MAP) {
		reply.external_port = 0;
		reply.lifetime_s = 0;
	}
	lab_core_send(MSG_REPLY, &reply, sizeof(reply));
}

static int core_on_message(void *user, uint32_t type, const void *body, size_t length,
			   int fd)
{
	struct core *core = user;

	assert_int_equal(fd, -1);
	if (type == MSG_READY) {
		assert_int_equal(length, sizeof(core->ready));
		memcpy(&core->ready, body, length);
		core->readies++;
		return 0;
	}
	assert_int_equal(type, MSG_REQUEST);
	assert_int_equal(length, sizeof(struct request));
	assert_true(core->requests < REQUESTS_MAX);
	memcpy(&core->list[core->requests], body, length);
	if (core->answers)
		lab_core_grant(&core->list[core->requests]);
	core->requests++;
	return 0;
}

static void core_on_ended(void *user, int error)
{
	struct core *core = user;

	(void)error;
	core->ended = true;
}

void lab_core_send_wan(const char *external, bool nat)
{
	lab.wan.external = lab_ip(external);
	lab.wan.nat = nat;
	lab_core_send(MSG_WAN, &lab.wan, sizeof(lab.wan));
}

static struct prefix prefix_of(const char *address)
{
	return (struct prefix){.addr = lab_ip(address), .length = 120};
}

static void add_ipv6(struct lan_info *lan)
{
	static const char *const own[] = {"fd77::1", "fe80::1"};
	static const char *const networks[] = {"fd77::", "fe80::"};

	for (size_t i = 0; i < 2; i++) {
		lan->addresses[lan->address_count++] =
			(struct prefix){lab_ip(own[i]), 64};
		lan->networks[lan->network_count++] =
			(struct prefix){lab_ip(networks[i]), 64};
	}
}

struct lan_info lab_make_lan(int i)
{
	struct lan_info lan = {
		.lan = (uint16_t)i,
		.protocols = lab.protocols,
		.anycast = lab.anycast,
		.ifindex = lab.ifindex[i],
		.address_count = i == LAN0 ? 2 : 1,
		.network_count = 1,
	};

	(void)snprintf(lan.name, sizeof(lan.name), "lan%d", i);
	lan.addresses[0] = prefix_of(i == LAN0 ? "192.168.77.1" : "192.168.78.1");
	if (i == LAN0)
		lan.addresses[1] = prefix_of("192.168.77.2");
	if (i == LAN0 && lab.ipv6)
		add_ipv6(&lan);
	lan.networks[0] = prefix_of(i == LAN0 ? "192.168.77.0" : "192.168.78.0");
	return lan;
}

void lab_core_send_lan(int i)
{
	struct lan_info lan = lab_make_lan(i);

	lab_core_send(MSG_LAN, &lan, sizeof(lan));
}

/* Both LANs served, external address 203.0.113.5. */
void lab_core_send_all(void)
{
	const struct worker_setup setup = {
		.pcp_opcodes = PCP_SERVES_MAP | PCP_SERVES_PEER,
		.ports_per_request = 16,
		.requests_per_second = lab.requests_per_second,
	};

	lab_core_send(MSG_SETUP, &setup, sizeof(setup));
	lab_core_send_wan("203.0.113.5", true);
	lab_core_send_lan(LAN0);
	lab_core_send_lan(LAN1);
}

/* Each test gets its own worker. */

int lab_setup(void **state)
{
	static const struct msg_handler handler = {core_on_message, NULL,
						   core_on_ended};
	const struct timeval tick = {.tv_usec = TICK_US};
	int pair[2];

	(void)state;
	if (skip_reason)
		return 0;
	lab.base = event_base_new();
	assert_non_null(lab.base);
	lab.tick = event_new(lab.base, -1, EV_PERSIST, on_tick, NULL);
	assert_non_null(lab.tick);
	assert_int_equal(event_add(lab.tick, &tick), 0);
	assert_int_equal(msg_pair(pair), 0);
	memset(&lab.core, 0, sizeof(lab.core));
	memset(&lab.wan, 0, sizeof(lab.wan));
	lab.protocols = LAN_PROTOCOL_NATPMP;
	lab.ipv6 = false;
	lab.anycast = false;
	lab.requests_per_second = 0;
	lab.wan.epoch_origin_ms = clock_now_ms() - EPOCH_MS;
	lab.core.channel = msg_channel_new(lab.base, pair[0], &handler, &lab.core);
	assert_non_null(lab.core.channel);
	lab.worker = worker_get_pcp()->start(lab.base, pair[1]);
	assert_non_null(lab.worker);
	return 0;
}

int lab_teardown(void **state)
{
	(void)state;
	if (skip_reason)
		return 0;
	worker_get_pcp()->stop(lab.worker);
	msg_channel_free(lab.core.channel);
	event_free(lab.tick);
	event_base_free(lab.base);
	return 0;
}

void lab_begin(void)
{
	if (skip_reason) {
		print_message("skipped: %s\n", skip_reason);
		skip();
	}
}

void lab_begin_served(void)
{
	lab_begin();
	lab_core_send_all();
	lab_wait_ready(2, 0);
}

bool lab_is_from(const struct packet *packet, const char *address)
{
	struct ip_addr addr = lab_ip(address);

	return addr_equal(&packet->from, &addr);
}

/* About gap_ms after since_ms; a busy machine may blur it, but a gap and its double
 * stay two things. The exact times are checked on virtual time. */
void lab_assert_gap(int64_t since_ms, const struct packet *packet, int64_t gap_ms)
{
	int64_t took_ms = packet->at_ms - since_ms;

	assert_true(took_ms >= gap_ms * 6 / 10);
	assert_true(took_ms < (gap_ms > 0 ? gap_ms * 19 / 10 : ANNOUNCE_FIRST_GAP_MS));
}
