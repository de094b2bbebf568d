/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Discovery by the worker, over real sockets. */
#include <arpa/inet.h>
#include <event2/event.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "protocols/ssdp_server.h"
#include "test/unit/upnp_lab.h"

#define IGD_1 "urn:schemas-upnp-org:device:InternetGatewayDevice:1"

static struct lab_client *searcher_new(const char *from)
{
	struct lab_client *client = lab_client_new(SOCK_DGRAM, from, 0);
	struct ip_mreqn out = {.imr_ifindex = (int)if_nametoindex("lo")};

	assert_int_equal(
		setsockopt(client->fd, IPPROTO_IP, IP_MULTICAST_IF, &out, sizeof(out)),
		0);
	return client;
}

static void search_for(const struct lab_client *client, const char *to, const char *st)
{
	struct sockaddr_in in = lab_get_address(to, SSDP_PORT);
	char text[256];
	int used = snprintf(text, sizeof(text),
			    "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n"
			    "MAN: \"ssdp:discover\"\r\nMX: 2\r\nST: %s\r\n\r\n",
			    st);

	assert_int_equal(sendto(client->fd, text, (size_t)used, 0,
				(struct sockaddr *)&in, sizeof(in)),
			 used);
}

/* What one root announces, 3+2d+k, and what both do. */
#define SET 11
#define SETS (2 * SET)

static bool has_set(const void *user)
{
	return ((const struct lab_client *)user)->datagrams >= SET;
}

static bool has_one(const void *user)
{
	return ((const struct lab_client *)user)->datagrams >= 1;
}

static bool has_answers(const void *user)
{
	return ((const struct lab_client *)user)->datagrams >= 2;
}

/* SSDP-1, SSDP-3, SSDP-6, SSDP-8, SSDP-12, CL-9, CL-11 */
static void test_search_all(void **state)
{
	struct lab_client *client = searcher_new(HOST);
	int64_t start_ms = clock_now_ms();

	(void)state;
	search_for(client, SSDP_GROUP, "ssdp:all");
	assert_true(lab_wait_for(has_set, client));
	/* What Tailscale waits is 250 ms; the rest is for a busy machine. */
	assert_true(clock_now_ms() - start_ms < INT64_C(500));
	assert_memory_equal(client->in, "HTTP/1.1 200 OK\r\n", 17);
	assert_non_null(strstr(client->in, "\r\nST: " IGD_1 "\r\n"));
	assert_true(strstr(client->in, "\r\nST: ") ==
		    strstr(client->in, "\r\nST: " IGD_1 "\r\n"));
	lab_assert_holds(client,
			 "\r\nLOCATION: http://" GATEWAY ":49152/igd1/root.xml\r\n");
	lab_assert_holds(client, "\r\nBOOTID.UPNP.ORG: 77\r\n");
	lab_client_free(client);
}

/* SSDP-3: from our address and port 1900, so that a connected socket hears it; SSDP-7
 */
static void test_search_unicast(void **state)
{
	struct lab_client *client = searcher_new(HOST);
	struct sockaddr_in in = lab_get_address(GATEWAY, SSDP_PORT);

	(void)state;
	assert_int_equal(connect(client->fd, (struct sockaddr *)&in, sizeof(in)), 0);
	lab_say(client, "M-SEARCH * HTTP/1.1\r\nST:upnp:rootdevice\r\n\r\n\r\n");
	assert_true(lab_wait_for(has_one, client));
	lab_assert_holds(client, "\r\nST: upnp:rootdevice\r\n");
	lab_client_free(client);
}

/* SSDP-18: what one host asks, however often, costs no other host its answer */
static void test_search_burst(void **state)
{
	struct lab_client *greedy[4];
	struct lab_client *client = searcher_new(HOST_2);

	(void)state;
	for (size_t i = 0; i < 4; i++)
		greedy[i] = searcher_new(HOST);
	for (unsigned int i = 0; i < 100; i++)
		search_for(greedy[i % 4], SSDP_GROUP, "upnp:rootdevice");
	search_for(client, SSDP_GROUP, "upnp:rootdevice");
	assert_true(lab_wait_for(has_one, client));
	for (size_t i = 0; i < 4; i++) {
		assert_true(lab_wait_for(has_one, greedy[i]));
		lab_client_free(greedy[i]);
	}
	lab_client_free(client);
}

/* SSDP-2, SSDP-9, SSDP-17, SSDP-18: what gets silence while others are answered */
static void test_search_silence(void **state)
{
	static const char *const not_ours[] = {
		"urn:schemas-upnp-org:device:InternetGatewayDevice:3",
		"urn:schemas-upnp-org:service:WANPPPConnection:1",
		"urn:schemas-upnp-org:service:WANIPv6FirewallControl:2",
	};
	struct lab_client *stranger = searcher_new(STRANGER);
	struct lab_client *client = searcher_new(HOST);

	(void)state;
	search_for(stranger, GATEWAY, "ssdp:all");
	search_for(stranger, SSDP_GROUP, "ssdp:all");
	for (size_t i = 0; i < sizeof(not_ours) / sizeof(not_ours[0]); i++)
		search_for(client, GATEWAY, not_ours[i]);
	/* Unicast is answered in order: when this one is, the others were not. */
	search_for(client, GATEWAY, IGD_1);
	assert_true(lab_wait_for(has_one, client));
	assert_int_equal(client->datagrams, 1);
	lab_assert_holds(client, "\r\nST: " IGD_1 "\r\n");
	assert_int_equal(stranger->datagrams, 0);
	lab_client_free(client);
	lab_client_free(stranger);
}

static struct lab_client *listener_new(void)
{
	struct lab_client *client = lab_client_new(SOCK_DGRAM, SSDP_GROUP, SSDP_PORT);
	struct ip_mreqn group = {.imr_ifindex = (int)if_nametoindex("lo")};

	group.imr_multiaddr.s_addr = inet_addr(SSDP_GROUP);
	assert_int_equal(setsockopt(client->fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group,
				    sizeof(group)),
			 0);
	return client;
}

static bool has_two_sets(const void *user)
{
	return ((const struct lab_client *)user)->datagrams >= 2 * SETS;
}

/* Of both roots the first time, of one the second. */
static bool has_three_sets(const void *user)
{
	return ((const struct lab_client *)user)->datagrams >= 3 * SETS;
}

static bool has_four_sets(const void *user)
{
	return ((const struct lab_client *)user)->datagrams >= 4 * SETS;
}

static bool has_six_sets(const void *user)
{
	return ((const struct lab_client *)user)->datagrams >= 6 * SETS;
}

static unsigned int count_text(const char *in, const char *text)
{
	unsigned int count = 0;

	for (in = strstr(in, text); in; in = strstr(in + 1, text))
		count++;
	return count;
}

static bool is_readable(const void *user)
{
	char octet;

	return recv(((const struct lab_client *)user)->fd, &octet, 1,
		    MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* SSDP-16: TTL 2 */
static void test_ttl(void **state)
{
	struct lab_client *client = listener_new();
	struct lan_info lan = lab_make_lan();
	int on = 1;
	int ttl = 0;
	char bytes[SSDP_DATAGRAM_MAX];
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *header;

	(void)state;
	assert_int_equal(
		setsockopt(client->fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)), 0);
	event_del(client->event); /* read here, not by the loop */
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	assert_true(lab_wait_for(is_readable, client));
	assert_true(recvmsg(client->fd, &message, MSG_DONTWAIT) > 0);
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_type == IP_TTL)
		memcpy(&ttl, CMSG_DATA(header), sizeof(ttl));
	assert_int_equal(ttl, SSDP_TTL);
	event_add(client->event, NULL);
	lab_client_free(client);
}

/* SSDP-13, SSDP-14, IGD-41: byebye twice, alive twice with a new BOOTID, and byebye
 * twice at the end, so that clients learn that mappings may be gone */
static void test_notify(void **state)
{
	struct lab_client *client = listener_new();
	struct lan_info lan = lab_make_lan();
	const char *first_alive;

	(void)state;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	assert_true(lab_wait_for(has_four_sets, client));
	assert_int_equal(count_text(client->in, "NTS: ssdp:byebye"), 2 * SETS);
	assert_int_equal(count_text(client->in, "NTS: ssdp:alive"), 2 * SETS);
	assert_int_equal(count_text(client->in, "BOOTID.UPNP.ORG: 77\r\n"), 4 * SETS);
	first_alive = strstr(client->in, "NTS: ssdp:alive");
	assert_null(strstr(first_alive, "NTS: ssdp:byebye"));
	worker_get_upnp()->stop(lab_get()->worker);
	lab_get()->worker = NULL;
	assert_true(lab_wait_for(has_six_sets, client));
	assert_int_equal(count_text(client->in, "NTS: ssdp:byebye"), 4 * SETS);
	lab_client_free(client);
}

/* Everything up to that many sets; what came is forgotten then. */
static void hear(struct lab_client *client, bool (*enough)(const void *user),
		 unsigned int sets)
{
	assert_true(lab_wait_for(enough, client));
	assert_int_equal(client->datagrams, sets * SETS);
	client->datagrams = 0;
	client->used = 0;
}

/* SSDP-15: BOOTID grows each time the LAN joins again, and with nothing less */
static void test_boot_id(void **state)
{
	struct lab_client *client = listener_new();
	struct lan_info lan = lab_make_lan();

	(void)state;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	hear(client, has_four_sets, 4);
	/* another address, the first one stays in front: no news */
	lan.addresses[1] = lan.addresses[0];
	assert_true(addr_parse(HOST_2, &lan.addresses[1].addr));
	lan.address_count = 2;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(2);
	/* the other order: LOCATION is another, which is told, and no more */
	lan.addresses[1] = lan.addresses[0];
	assert_true(addr_parse(HOST_2, &lan.addresses[0].addr));
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	assert_true(lab_wait_for(has_two_sets, client));
	assert_int_equal(count_text(client->in, "NTS: ssdp:alive"), 2 * SETS);
	assert_int_equal(count_text(client->in, "LOCATION: http://" HOST_2), 2 * SETS);
	assert_int_equal(count_text(client->in, "BOOTID.UPNP.ORG: 77\r\n"), 2 * SETS);
	hear(client, has_two_sets, 2);
	/* the address that was there first has gone */
	lan.address_count = 1;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	assert_true(lab_wait_for(has_six_sets, client));
	assert_int_equal(count_text(client->in, "NTS: ssdp:byebye"), 4 * SETS);
	assert_int_equal(count_text(client->in, "BOOTID.UPNP.ORG: 77\r\n"), 2 * SETS);
	assert_int_equal(count_text(client->in, "BOOTID.UPNP.ORG: 78\r\n"), 4 * SETS);
	hear(client, has_six_sets, 6);
	/* nothing is served there for a while */
	lan.protocols = 0;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	hear(client, has_two_sets, 2);
	lan.protocols = LAN_PROTOCOL_UPNP;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	assert_true(lab_wait_for(has_four_sets, client));
	assert_int_equal(count_text(client->in, "BOOTID.UPNP.ORG: 79\r\n"), 4 * SETS);
	lab_client_free(client);
}

/* SSDP-14: byebye for both roots first, whatever an earlier run had; alive for one */
static void test_one_face(void **state)
{
	struct lab_client *client = listener_new();
	struct lan_info lan = lab_make_lan();

	(void)state;
	lan.igd = 1;
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	assert_true(lab_wait_for(has_three_sets, client));
	assert_int_equal(count_text(client->in, "NTS: ssdp:byebye"), 2 * SETS);
	assert_int_equal(count_text(client->in, "NTS: ssdp:alive"), 2 * SET);
	assert_int_equal(count_text(client->in, "/igd1/root.xml"), 2 * SET);
	lab_client_free(client);
}

/* A new address: clients hear byebye and alive, and the new LOCATION (SSDP-15). */
static void test_address_change(void **state)
{
	struct lab_client *client = searcher_new(HOST);
	struct lan_info lan = lab_make_lan();

	(void)state;
	assert_true(addr_parse(HOST_2, &lan.addresses[0].addr));
	lab_core_send(MSG_LAN, &lan, sizeof(lan));
	lab_wait_ready(2);
	assert_int_equal(lab_get()->ready.sockets, 2);
	search_for(client, HOST_2, IGD_1);
	assert_true(lab_wait_for(has_one, client));
	lab_assert_holds(client,
			 "\r\nLOCATION: http://" HOST_2 ":49152/igd1/root.xml\r\n");
	lab_client_free(client);
}

/* IGD-6: another face is another set of answers, on the same interface and address. */
static void test_face_change(void **state)
{
	static const char igd_2[] =
		"urn:schemas-upnp-org:device:InternetGatewayDevice:2";
	static const char *const location[] = {"/igd1/root.xml", "/igd2/root.xml"};
	struct lan_info lan = lab_make_lan();

	(void)state;
	for (unsigned int face = 1; face <= 2; face++) {
		struct lab_client *client = searcher_new(HOST);

		lan.igd = (uint8_t)face;
		lab_core_send(MSG_LAN, &lan, sizeof(lan));
		lab_wait_ready(1 + face);
		search_for(client, GATEWAY, igd_2);
		search_for(client, GATEWAY, IGD_1);
		assert_true(lab_wait_for(face == 1 ? has_one : has_answers, client));
		assert_int_equal(client->datagrams, face);
		assert_int_equal(count_text(client->in, location[face - 1]), face);
		assert_int_equal(count_text(client->in, igd_2) > 0, face == 2);
		lab_client_free(client);
	}
}

#define SERVING(name)                                                                  \
	cmocka_unit_test_setup_teardown(name, lab_setup_serving, lab_teardown)
#define BARE(name) cmocka_unit_test_setup_teardown(name, lab_setup_bare, lab_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVING(test_search_all),
		SERVING(test_search_unicast),
		SERVING(test_search_burst),
		SERVING(test_search_silence),
		SERVING(test_address_change),
		SERVING(test_face_change),
		BARE(test_notify),
		BARE(test_boot_id),
		BARE(test_one_face),
		BARE(test_ttl),
	};

	return cmocka_run_group_tests(tests, lab_group_setup, NULL);
}
