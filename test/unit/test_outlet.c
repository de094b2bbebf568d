/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is sent to hosts that are not there, and who may not suffer from it (PCP-7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocols/natpmp.h"
#include "protocols/outlet.h"
#include "test/unit/pcp_lab.h"

#define NOW_MS 1000000
/* Nobody's addresses on lan0: 192.168.77.20 and on, fd77::20 and on. */
#define UNOWNED_FIRST 0x20
#define UNOWNED 200
/* Far more than all the sockets of a second hold. */
#define BATCHES_MAX 4000
#define QUESTIONS 300

struct port {
	int fds[2];
	struct outlet outlet;
};

static struct datagram_batch batch;

static void open_port(struct port *port, int family)
{
	struct sock_filter first = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	const struct sock_fprog choice = {.len = 1, .filter = &first};
	const struct sock_fprog filter = {.len = 1, .filter = &all};
	const struct datagram_port place = {
		.family = family,
		.ifindex = lab_get()->ifindex[LAN0],
		.port = NATPMP_PORT,
	};

	assert_int_equal(datagram_open(&place, &port->fds[0]), 0);
	assert_int_equal(datagram_open_second(port->fds[0], &place, &port->fds[1]), 0);
	assert_int_equal(datagram_select(port->fds[0], &choice, &filter), 0);
	port->outlet = (struct outlet){.port = place};
	assert_int_equal(outlet_open(&port->outlet, port->fds[0]), 0);
}

static void close_port(struct port *port)
{
	outlet_close(&port->outlet);
	outlet_close(&port->outlet); /* is safe */
	close(port->fds[0]);
	close(port->fds[1]);
}

static struct ip_addr own_address(int family)
{
	return lab_ip(family == AF_INET ? "192.168.77.1" : "fd77::1");
}

static void add(int family, const struct ip_addr *peer, uint16_t port,
		enum datagram_use use)
{
	struct datagram *out = &batch.list[batch.count++];

	memset(out, 0, sizeof(*out));
	out->use = (uint8_t)use;
	out->ifindex = lab_get()->ifindex[LAN0];
	out->local = own_address(family);
	out->peer = *peer;
	out->peer_port = port;
	out->length = 60;
}

/* What is lost of one datagram to that peer. */
static unsigned int send_one(struct port *port, const char *peer, uint16_t peer_port,
			     enum datagram_use use, int64_t now_ms)
{
	struct ip_addr addr = lab_ip(peer);

	batch.count = 0;
	add(port->outlet.port.family, &addr, peer_port, use);
	return outlet_send(&port->outlet, &batch, now_ms);
}

static unsigned int send_unowned(struct port *port, unsigned int round, int64_t now_ms)
{
	struct ip_addr peer = own_address(port->outlet.port.family);

	batch.count = 0;
	for (unsigned int i = 0; i < DATAGRAM_BATCH_MAX; i++) {
		unsigned int number = round * DATAGRAM_BATCH_MAX + i;

		peer.bytes[15] = (uint8_t)(UNOWNED_FIRST + number % UNOWNED);
		add(port->outlet.port.family, &peer, 4000, DATAGRAM_REPLY);
	}
	return outlet_send(&port->outlet, &batch, now_ms);
}

static void check_unowned(int family, const char *address, const char *group)
{
	struct host *alive = lab_host_new("host0", address, 0);
	struct sockaddr_storage name;
	socklen_t size = sizeof(name);
	struct port port;
	uint16_t peer_port;
	unsigned int rounds = 0;

	assert_int_equal(getsockname(alive->fd, (struct sockaddr *)&name, &size), 0);
	peer_port = addr_get_sockaddr_port(&name);
	open_port(&port, family);
	/* More than one socket holds is sent to nobody; then it is another's turn. */
	while (port.outlet.ways[DATAGRAM_REPLY].renewals < 2)
		assert_int_equal(send_unowned(&port, rounds++, NOW_MS), 0);
	assert_int_equal(send_one(&port, address, peer_port, DATAGRAM_REPLY, NOW_MS),
			 0);
	lab_wait_packets(alive, 1);
	assert_int_equal(alive->inbox[0].from_port, NATPMP_PORT);
	/* All that a second may hold, and what is told of the rest. */
	while (rounds < BATCHES_MAX && send_unowned(&port, rounds, NOW_MS) == 0)
		rounds++;
	assert_true(rounds < BATCHES_MAX);
	assert_true(port.outlet.ways[DATAGRAM_REPLY].renewals >
		    OUTLET_RENEWALS_PER_SECOND);
	assert_int_equal(send_one(&port, address, peer_port, DATAGRAM_REPLY, NOW_MS),
			 1);
	assert_int_equal(send_one(&port, address, peer_port, DATAGRAM_UPDATE, NOW_MS),
			 0);
	assert_int_equal(send_one(&port, group, peer_port, DATAGRAM_MULTICAST, NOW_MS),
			 0);
	assert_int_equal(
		send_one(&port, address, peer_port, DATAGRAM_REPLY, NOW_MS + 1000), 0);
	lab_wait_packets(alive, 3);
	close_port(&port);
	lab_host_free(alive);
}

static void test_unowned(void **state)
{
	(void)state;
	lab_begin();
	check_unowned(AF_INET, "192.168.77.10", "224.0.0.1");
	check_unowned(AF_INET6, "fd77::10", "ff02::1");
}

/* Those that send take nothing in: from any source, nor copies for all. */
static void test_deaf(void **state)
{
	struct datagram_batch *in = &batch;
	struct port port;
	size_t received = 0;
	int64_t deadline_ms;

	(void)state;
	lab_begin();
	open_port(&port, AF_INET);
	for (uint16_t i = 0; i < QUESTIONS; i++) {
		struct host *host = lab_host_new("host0", "192.168.77.10", 0);

		lab_host_send(host, i % 2 == 0 ? "192.168.77.1" : "224.0.0.1", "\0\0",
			      2);
		lab_host_free(host);
	}
	deadline_ms = clock_now_ms() + LAB_DEADLINE_MS;
	while (received < QUESTIONS)
		if (datagram_receive(port.fds[0], in) == 0)
			received += in->count;
		else
			assert_true(lab_turn(deadline_ms));
	for (int use = 0; use < DATAGRAM_MULTICAST; use++)
		assert_int_equal(datagram_receive(port.outlet.ways[use].fd, in),
				 -EAGAIN);
	close_port(&port);
}

/* What cannot be sent at all is told, and no socket is given up for it. */
static void test_failed(void **state)
{
	struct ip_addr peer = lab_ip("192.168.77.10");
	struct port port;

	(void)state;
	lab_begin();
	open_port(&port, AF_INET);
	batch.count = 0;
	add(AF_INET, &peer, 4000, DATAGRAM_REPLY);
	add(AF_INET, &peer, 4000, DATAGRAM_REPLY);
	batch.list[0].local = lab_ip("192.168.77.99"); /* not ours */
	assert_int_equal(outlet_send(&port.outlet, &batch, NOW_MS), 1);
	assert_int_equal(port.outlet.ways[DATAGRAM_REPLY].renewals, 0);
	assert_int_equal(outlet_send(&port.outlet, &batch, NOW_MS), 0);
	close_port(&port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_unowned, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_deaf, lab_setup, lab_teardown),
		cmocka_unit_test_setup_teardown(test_failed, lab_setup, lab_teardown),
	};

	if (!lab_make())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
