/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <uthash.h>

#include "base/clock.h"
#include "daemon/hosts.h"

#define A "192.168.77.2"
#define B "192.168.77.40"
#define C "192.168.77.41"
#define A6 "2001:db8:1::2"
#define B6 "2001:db8:2::2"
#define OTHER6 "2001:db8:2::99"
#define M1 1
#define M2 2
/* More than the table bears in mind. */
#define MANY (4 * HOSTS_LOOSE_MAX)
/* Hosts that choose their addresses, the bits of the hash that are the same of all, and
 * how often all are looked for. */
#define CHOSEN 4000u
#define CHOSEN_MASK 0x3ffu
#define ROUNDS 5
/* What they cost beside others: 6 where the hash had no secret, so that all stood in
 * few chains. */
#define CHOSEN_COST_MAX 3

struct fixture {
	struct hosts *hosts;
	struct lan_info lan;
	int64_t now_ms;
	struct host_decisions out; /* of the last news */
	uint64_t next_id;
};

static struct ip_addr address(const char *text)
{
	struct ip_addr addr;

	assert_true(addr_parse(text, &addr));
	return addr;
}

static struct prefix network(const char *text)
{
	struct prefix prefix;

	assert_true(prefix_parse(text, &prefix));
	return prefix;
}

static struct fixture *fixture_reset(struct fixture *fixture)
{
	hosts_free(fixture->hosts);
	memset(fixture, 0, sizeof(*fixture));
	fixture->hosts = hosts_new();
	assert_non_null(fixture->hosts);
	fixture->now_ms = 5000000;
	fixture->lan.lan = 3;
	fixture->lan.ifindex = 7;
	fixture->lan.network_count = 3;
	fixture->lan.networks[0] = network("192.168.77.0/24");
	fixture->lan.networks[1] = network("2001:db8:1::/64");
	fixture->lan.networks[2] = network("2001:db8:2::/64");
	return fixture;
}

static int setup(void **state)
{
	static struct fixture fixture;

	*state = fixture_reset(&fixture);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	hosts_free(fixture->hosts);
	fixture->hosts = NULL;
	return 0;
}

static void fill_mac(uint8_t mac[LEASE_MAC_SIZE], uint8_t machine)
{
	memset(mac, 0, LEASE_MAC_SIZE);
	mac[0] = 2;
	mac[LEASE_MAC_SIZE - 1] = machine;
}

static struct lease make_lease(const struct fixture *fixture, const char *at,
			       uint8_t machine)
{
	struct lease lease = {.internal = address(at),
			      .lan = fixture->lan.lan,
			      .has_mac = machine != 0};

	fill_mac(lease.mac, machine);
	return lease;
}

static void hold(struct fixture *fixture, const char *at, uint8_t machine)
{
	struct lease lease = make_lease(fixture, at, machine);

	assert_true(hosts_hold(fixture->hosts, &lease));
}

static void release(struct fixture *fixture, const char *at)
{
	struct lease lease = make_lease(fixture, at, 0);

	hosts_release(fixture->hosts, &lease);
}

/* Some time later the kernel tells; true: nothing is to be done. */
static bool hear(struct fixture *fixture, const char *at, enum host_state state,
		 uint8_t machine)
{
	struct host_news news = {.addr = address(at), .state = state};

	fill_mac(news.mac, machine);
	fixture->now_ms += 2 * HOSTS_ASK_PAUSE_MS;
	hosts_hear(fixture->hosts, &fixture->lan, &news, fixture->now_ms,
		   &fixture->out);
	return fixture->out.count == 0;
}

/* It was decided to do this about the address, to another one where that matters. */
static bool did(const struct fixture *fixture, enum host_step step, const char *at,
		const char *to)
{
	struct ip_addr addr = address(at), other = {{0}};

	if (to)
		other = address(to);
	for (size_t i = 0; i < fixture->out.count; i++) {
		const struct host_decision *decision = &fixture->out.list[i];

		if (decision->step == step && addr_equal(&decision->addr, &addr) &&
		    addr_equal(&decision->to, &other))
			return true;
	}
	return false;
}

/* A machine with leases is heard at its address, as every day. */
static void settle(struct fixture *fixture, const char *at, uint8_t machine)
{
	hold(fixture, at, machine);
	assert_true(hear(fixture, at, HOST_ANSWERS, machine));
}

/* The kernel asks the card at the address, which answers; true: nothing is to be done
 * then. */
static bool answer(struct fixture *fixture, const char *at, uint8_t machine)
{
	(void)hear(fixture, at, HOST_HEARD, machine);
	return hear(fixture, at, HOST_ANSWERS, machine);
}

/* DHCP: the address is another machine's. It must answer first. */
static void test_stranger(void **state)
{
	struct fixture *fixture = *state;
	uint8_t mac[LEASE_MAC_SIZE];

	settle(fixture, A, M1);
	assert_false(hear(fixture, A, HOST_HEARD, M2));
	assert_int_equal(fixture->out.count, 1);
	assert_true(did(fixture, HOST_STEP_PROBE, A, NULL));
	/* made up: nobody answers */
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	assert_true(hear(fixture, A, HOST_ANSWERS, M1));
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_int_equal(fixture->out.count, 1);
	assert_true(did(fixture, HOST_STEP_END, A, NULL));
	fill_mac(mac, M2);
	assert_memory_equal(fixture->out.list[0].mac, mac, sizeof(mac));
	/* not done yet: found again */
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	hosts_set_owner(fixture->hosts, &fixture->out.list[0].addr, mac);
	assert_true(hear(fixture, A, HOST_ANSWERS, M2));
}

/* Another one that had an address before: DHCP's next, if it gave that up. */
static void test_stranger_from_elsewhere(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	assert_true(hear(fixture, C, HOST_ANSWERS, M2));
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_int_equal(fixture->out.count, 1);
	assert_true(did(fixture, HOST_STEP_PROBE, C, NULL));
	/* told again, and nobody was asked in between */
	assert_true(hear(fixture, C, HOST_ANSWERS, M2));
	assert_true(hear(fixture, C, HOST_HEARD, M2));
	assert_false(hear(fixture, C, HOST_FAILED, 0));
	assert_int_equal(fixture->out.count, 1);
	assert_true(did(fixture, HOST_STEP_END, A, NULL));
	/* one that has it still, before the other */
	fixture_reset(fixture);
	settle(fixture, A, M1);
	assert_true(answer(fixture, C, M2));
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_true(did(fixture, HOST_STEP_PROBE, C, NULL));
	assert_false(did(fixture, HOST_STEP_END, A, NULL));
	/* or has had it for ever, as the owner wrote down */
	fixture_reset(fixture);
	settle(fixture, A, M1);
	assert_true(hear(fixture, C, HOST_FIXED, M2));
	assert_true(hear(fixture, A, HOST_ANSWERS, M2));
}

/* A card that answers for a machine besides its own: a proxy while that one sleeps, a
 * repeater, or one that says what is not true. */
static void test_proxy(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	assert_true(hear(fixture, C, HOST_HEARD, M2));
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_true(did(fixture, HOST_STEP_PROBE, C, NULL));
	assert_true(answer(fixture, C, M2));
	assert_true(hear(fixture, A, HOST_ANSWERS, M2));
	/* it wakes, and sleeps again */
	assert_true(hear(fixture, A, HOST_ANSWERS, M1));
	assert_true(hear(fixture, A, HOST_ANSWERS, M2));
	/* and for long it is the only one there */
	assert_true(hear(fixture, C, HOST_FAILED, 0));
	fixture->now_ms += HOSTS_MANY_MS;
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_true(did(fixture, HOST_STEP_END, A, NULL));
}

/* What it has answered long ago is asked again. */
static void test_proxy_is_asked_again(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	assert_true(hear(fixture, C, HOST_HEARD, M2));
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_true(answer(fixture, C, M2));
	assert_true(hear(fixture, A, HOST_ANSWERS, M2));
	fixture->now_ms += HOSTS_MANY_MS;
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_int_equal(fixture->out.count, 1);
	assert_true(did(fixture, HOST_STEP_PROBE, C, NULL));
	assert_true(hear(fixture, C, HOST_HEARD, M2));
	assert_false(hear(fixture, C, HOST_FAILED, 0));
	assert_true(did(fixture, HOST_STEP_END, A, NULL));
}

/* Two hosts take each other's address: each keeps its leases. */
static void test_swap(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	settle(fixture, B, M2);
	assert_false(hear(fixture, A, HOST_HEARD, M2));
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_true(did(fixture, HOST_STEP_PROBE, B, NULL));
	assert_false(did(fixture, HOST_STEP_END, A, NULL));
	assert_false(hear(fixture, B, HOST_HEARD, M1));
	assert_int_equal(fixture->out.count, 1);
	assert_true(did(fixture, HOST_STEP_PROBE, B, NULL));
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_int_equal(fixture->out.count, 3);
	assert_int_equal(fixture->out.list[0].step, HOST_STEP_MOVE);
	assert_true(did(fixture, HOST_STEP_MOVE, B, A));
	assert_true(did(fixture, HOST_STEP_END, B, NULL));
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
}

/* Asked once, not for every packet. */
static void test_asks_are_few(void **state)
{
	struct fixture *fixture = *state;
	unsigned int asked = 0;

	settle(fixture, A, M1);
	assert_false(hear(fixture, A, HOST_HEARD, M2));
	for (unsigned int i = 0; i < 100; i++) {
		fixture->now_ms -= 2 * HOSTS_ASK_PAUSE_MS - 1;
		asked += hear(fixture, A, HOST_HEARD, M2) ? 0 : 1;
	}
	assert_int_equal(asked, 0);
	fixture->now_ms += HOSTS_ASK_PAUSE_MS;
	assert_false(hear(fixture, A, HOST_HEARD, M2));
}

/* The machine has another address, and nobody answers at the old one. */
static void test_follows(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	assert_false(hear(fixture, B, HOST_HEARD, M1));
	assert_true(did(fixture, HOST_STEP_PROBE, B, NULL));
	assert_int_equal(fixture->out.count, 1);
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(did(fixture, HOST_STEP_PROBE, A, NULL));
	assert_int_equal(fixture->out.count, 1);
	/* told again, and nobody was asked in between */
	assert_true(hear(fixture, A, HOST_ANSWERS, M1));
	assert_false(hear(fixture, A, HOST_FAILED, 0));
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
	assert_int_equal(fixture->out.count, 1);
}

/* What is known of the old address: that nobody answers, or nothing. */
static void test_follows_at_once(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
	fixture_reset(fixture);
	settle(fixture, A, M1);
	assert_true(hear(fixture, A, HOST_FORGOTTEN, 0));
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(did(fixture, HOST_STEP_RESOLVE, A, NULL));
	assert_false(hear(fixture, A, HOST_FORGOTTEN, 0));
	assert_true(did(fixture, HOST_STEP_RESOLVE, A, NULL));
	assert_false(hear(fixture, A, HOST_FAILED, 0));
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
}

/* A repeater, or a host with two addresses: it answers at both, once and for all. */
static void test_card_of_two(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(answer(fixture, A, M1));
	/* one of them sleeps */
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	assert_true(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(hear(fixture, A, HOST_FORGOTTEN, 0));
	assert_true(hear(fixture, B, HOST_ANSWERS, M1));
}

/* A host that had two addresses for a while goes on with the new one. */
static void test_of_two_no_more(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(answer(fixture, A, M1));
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	assert_true(answer(fixture, B, M1));
	fixture->now_ms += HOSTS_MANY_MS / 2;
	assert_true(answer(fixture, B, M1));
	/* it asks there at once */
	hold(fixture, B, M1);
	fixture->now_ms += HOSTS_MANY_MS / 2;
	assert_false(answer(fixture, B, M1));
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
}

/* Behind a repeater somebody is always about: whoever sleeps keeps what is its own. */
static void test_repeater_all_day(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(answer(fixture, A, M1));
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	for (unsigned int i = 0; i < 100; i++) {
		fixture->now_ms += HOSTS_MANY_MS / 4;
		assert_true(answer(fixture, C, M1));
		(void)hear(fixture, C, HOST_HEARD, M1);
		fixture->now_ms += HOSTS_MANY_MS / 4;
		assert_true(answer(fixture, B, M1));
		(void)hear(fixture, B, HOST_HEARD, M1);
	}
	assert_true(hear(fixture, C, HOST_FAILED, 0));
	assert_true(answer(fixture, B, M1));
}

/* Where both have leases, that tells them apart for as long as they have. */
static void test_pair(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	hold(fixture, B, M1);
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(answer(fixture, A, M1));
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	fixture->now_ms += 10 * HOSTS_MANY_MS;
	assert_true(answer(fixture, B, M1));
	release(fixture, B);
	assert_false(answer(fixture, B, M1));
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
}

/* Not those of a machine that asks at its new address at once. */
static void test_asks_before_it_is_followed(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	hold(fixture, B, M1);
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	(void)hear(fixture, A, HOST_HEARD, M1);
	assert_false(hear(fixture, A, HOST_FAILED, 0));
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
}

/* A card that answers at several other addresses is a repeater: which one is it? */
static void test_card_of_many(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	fixture->out.count = 0;
	/* heard long ago at C: that must be found out first */
	hold(fixture, C, 0);
	release(fixture, C);
	settle(fixture, B, M2);
	assert_false(hear(fixture, C, HOST_HEARD, M1));
	assert_true(did(fixture, HOST_STEP_PROBE, C, NULL));
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(did(fixture, HOST_STEP_PROBE, C, NULL));
	assert_false(did(fixture, HOST_STEP_MOVE, A, B));
	(void)hear(fixture, C, HOST_ANSWERS, M1);
	assert_false(did(fixture, HOST_STEP_MOVE, A, B));
	assert_false(did(fixture, HOST_STEP_MOVE, A, C));
	/* now C is gone */
	(void)hear(fixture, C, HOST_FAILED, 0);
	(void)hear(fixture, B, HOST_ANSWERS, M1);
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
}

/* The same, where the others fall silent while it waits. */
static void test_waits_for_others(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	assert_false(hear(fixture, C, HOST_HEARD, M1));
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(did(fixture, HOST_STEP_PROBE, C, NULL));
	assert_false(did(fixture, HOST_STEP_MOVE, A, B));
	assert_false(hear(fixture, C, HOST_FAILED, 0));
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
}

/* Its address is another's, and it is elsewhere itself: the leases go there. */
static void test_both(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	assert_false(hear(fixture, B, HOST_HEARD, M1));
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_true(did(fixture, HOST_STEP_PROBE, B, NULL));
	assert_false(did(fixture, HOST_STEP_END, A, NULL));
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
	/* or it is not there after all */
	fixture_reset(fixture);
	settle(fixture, A, M1);
	assert_false(hear(fixture, B, HOST_HEARD, M1));
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_false(hear(fixture, B, HOST_FAILED, 0));
	assert_int_equal(fixture->out.count, 1);
	assert_true(did(fixture, HOST_STEP_END, A, NULL));
	/* or it is known to be there */
	fixture_reset(fixture);
	settle(fixture, A, M1);
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
	assert_true(did(fixture, HOST_STEP_END, A, NULL));
	/* or at two others: which of them is it? */
	fixture_reset(fixture);
	settle(fixture, A, M1);
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(hear(fixture, C, HOST_ANSWERS, M1));
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_int_equal(fixture->out.count, 1);
	assert_true(did(fixture, HOST_STEP_END, A, NULL));
}

/* Asleep: nothing ends, nothing moves. */
static void test_sleep(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	assert_true(hear(fixture, A, HOST_HEARD, M1));
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	assert_true(hear(fixture, A, HOST_FORGOTTEN, 0));
	assert_true(hear(fixture, B, HOST_ANSWERS, M2));
	assert_true(hear(fixture, A, HOST_ANSWERS, M1));
	assert_int_equal(hosts_get_count(fixture->hosts), 2);
}

/* What the owner of the gateway has written down is not asked. */
static void test_fixed(void **state)
{
	struct fixture *fixture = *state;

	hold(fixture, A, M1);
	assert_true(hear(fixture, A, HOST_FIXED, M1));
	assert_true(hear(fixture, B, HOST_ANSWERS, M1));
	fixture_reset(fixture);
	settle(fixture, A, M1);
	assert_false(hear(fixture, A, HOST_FIXED, M2));
	assert_true(did(fixture, HOST_STEP_END, A, NULL));
}

/* Whose a lease is becomes known later. */
static void test_note(void **state)
{
	struct fixture *fixture = *state;
	struct ip_addr a = address(A);

	hold(fixture, A, 0);
	assert_null(hosts_find_mac(fixture->hosts, &a));
	assert_false(hear(fixture, A, HOST_HEARD, M1));
	assert_int_equal(fixture->out.count, 1);
	assert_true(did(fixture, HOST_STEP_NOTE, A, NULL));
	assert_non_null(hosts_find_mac(fixture->hosts, &a));
	assert_true(hear(fixture, A, HOST_ANSWERS, M1));
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_true(did(fixture, HOST_STEP_END, A, NULL));
}

/* An IPv6 host has many addresses: only its own one in another network is it. */
static void test_ipv6(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A6, M1);
	assert_true(hear(fixture, OTHER6, HOST_ANSWERS, M1));
	assert_true(hear(fixture, "fe80::2", HOST_ANSWERS, M1));
	assert_true(hear(fixture, B, HOST_ANSWERS, M1));
	assert_false(hear(fixture, B6, HOST_ANSWERS, M1));
	assert_int_equal(fixture->out.count, 1);
	assert_true(did(fixture, HOST_STEP_PROBE, A6, NULL));
	assert_true(hear(fixture, A6, HOST_ANSWERS, M1));
	/* later the old one is given up */
	assert_false(hear(fixture, B6, HOST_ANSWERS, M1));
	assert_false(hear(fixture, A6, HOST_FAILED, 0));
	assert_true(did(fixture, HOST_STEP_MOVE, A6, B6));
}

/* Addresses of IPv6, with leases and without, say nothing of those of IPv4. */
static void test_dual_stack(void **state)
{
	struct fixture *fixture = *state;

	for (unsigned int i = 0; i <= HOSTS_OF_CARD_MAX; i++) {
		char text[ADDR_TEXT_SIZE];

		(void)snprintf(text, sizeof(text), "2001:db8:1::a:%x", i + 1);
		settle(fixture, text, M1);
		(void)snprintf(text, sizeof(text), "2001:db8:1::b:%x", i + 1);
		assert_true(hear(fixture, text, HOST_ANSWERS, M1));
	}
	settle(fixture, A, M1);
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_int_equal(fixture->out.count, 1);
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
}

/* Nor those of IPv4 of those of IPv6. */
static void test_dual_stack_prefix(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A6, M1);
	assert_true(hear(fixture, A, HOST_ANSWERS, M1));
	fixture->lan.networks[1] = network("2001:db8:3::/64");
	assert_true(hear(fixture, A6, HOST_FAILED, 0));
	assert_false(hear(fixture, OTHER6, HOST_ANSWERS, M1));
	assert_true(did(fixture, HOST_STEP_MOVE, A6, OTHER6));
}

/* The network is gone: nobody can be reached there, whoever answers. */
static void test_prefix_is_gone(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A6, M1);
	fixture->lan.networks[1] = network("2001:db8:3::/64");
	assert_false(hear(fixture, OTHER6, HOST_ANSWERS, M1));
	assert_true(did(fixture, HOST_STEP_PROBE, A6, NULL));
	assert_false(hear(fixture, B6, HOST_ANSWERS, M1));
	assert_int_equal(fixture->out.count, 1);
	assert_true(did(fixture, HOST_STEP_MOVE, A6, B6));
	/* with another interface identifier only when the old one is silent */
	fixture_reset(fixture);
	settle(fixture, A6, M1);
	fixture->lan.networks[1] = network("2001:db8:3::/64");
	assert_false(hear(fixture, OTHER6, HOST_ANSWERS, M1));
	assert_false(hear(fixture, A6, HOST_FAILED, 0));
	assert_true(did(fixture, HOST_STEP_MOVE, A6, OTHER6));
}

/* The same card on another LAN is not looked at: that is another network. */
static void test_other_lan(void **state)
{
	struct fixture *fixture = *state;

	settle(fixture, A, M1);
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	fixture->lan.lan = 4;
	assert_true(hear(fixture, B, HOST_ANSWERS, M1));
	/* nor where both have leases of it */
	settle(fixture, C, M1);
	assert_true(hear(fixture, C, HOST_FAILED, 0));
	fixture->lan.lan = 3;
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	/* here it is */
	assert_false(hear(fixture, "192.168.77.50", HOST_ANSWERS, M1));
	assert_int_equal(fixture->out.count, 1);
	assert_true(did(fixture, HOST_STEP_MOVE, A, "192.168.77.50"));
}

/* What is learned at the start is known, and decided about later. */
static void test_learn(void **state)
{
	struct fixture *fixture = *state;
	struct host_news stranger = {.addr = address(A), .state = HOST_ANSWERS};
	struct host_news owner = {.addr = address(B), .state = HOST_ANSWERS};

	fill_mac(stranger.mac, M2);
	fill_mac(owner.mac, M1);
	hold(fixture, A, M1);
	hosts_finish_restore(fixture->hosts, fixture->now_ms);
	hosts_learn(fixture->hosts, &fixture->lan, &stranger);
	hosts_learn(fixture->hosts, &fixture->lan, &owner);
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
	assert_true(did(fixture, HOST_STEP_END, A, NULL));
}

/* Leases of an earlier run at two addresses of one card: a repeater. */
static void test_restored_pair(void **state)
{
	struct fixture *fixture = *state;

	hold(fixture, A, M1);
	hold(fixture, B, M1);
	hosts_finish_restore(fixture->hosts, fixture->now_ms);
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	assert_true(hear(fixture, B, HOST_ANSWERS, M1));
}

/* Nothing is known of who is about: where a card was heard at a third address, whoever
 * of them it is shall have the time to be heard. */
static void test_restored(void **state)
{
	struct fixture *fixture = *state;
	struct host_news third = {.addr = address(C), .state = HOST_HEARD};

	fill_mac(third.mac, M1);
	hold(fixture, A, M1);
	hosts_finish_restore(fixture->hosts, fixture->now_ms);
	hosts_learn(fixture->hosts, &fixture->lan, &third);
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	assert_true(hear(fixture, B, HOST_ANSWERS, M1));
	fixture->now_ms += HOSTS_HEARING_MS;
	assert_false(hear(fixture, B, HOST_HEARD, M1));
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(did(fixture, HOST_STEP_PROBE, C, NULL));
	assert_false(hear(fixture, C, HOST_FAILED, 0));
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
	/* at one other address alone */
	fixture_reset(fixture);
	hold(fixture, A, M1);
	hosts_finish_restore(fixture->hosts, fixture->now_ms);
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	assert_false(hear(fixture, B, HOST_ANSWERS, M1));
	assert_true(did(fixture, HOST_STEP_MOVE, A, B));
}

/* An entry goes with its last lease, unless its machine is there. */
static void test_release(void **state)
{
	struct fixture *fixture = *state;

	hold(fixture, A, M1);
	hold(fixture, A, M1);
	assert_int_equal(hosts_get_count(fixture->hosts), 1);
	release(fixture, A);
	assert_int_equal(hosts_get_count(fixture->hosts), 1);
	release(fixture, A);
	assert_int_equal(hosts_get_count(fixture->hosts), 0);
	release(fixture, A); /* one that was never held */
	settle(fixture, A, M1);
	release(fixture, A);
	assert_int_equal(hosts_get_count(fixture->hosts), 1);
	assert_true(hear(fixture, A, HOST_ANSWERS, M2));
	assert_true(hear(fixture, A, HOST_FAILED, 0));
	assert_int_equal(hosts_get_count(fixture->hosts), 0);
}

static const char *make_address(uint32_t number)
{
	static char text[ADDR_TEXT_SIZE];
	struct in_addr ipv4 = {htonl(0x0a000000 + number)};
	struct ip_addr addr = addr_from_ipv4(ipv4);

	return addr_format(&addr, text);
}

/* Addresses without number, of as many cards or of one: the memory is bounded, what has
 * leases is not forgotten, and what is done about each is little. */
static void test_flood(void **state)
{
	struct fixture *fixture = *state;
	size_t decisions = 0;

	settle(fixture, A, M1);
	for (uint32_t i = 0; i < MANY; i++) {
		struct host_news news = {
			.addr = address(make_address(i + 1)),
			.state = HOST_HEARD,
			.mac = {2, 0, 0, 9, (uint8_t)(i >> 8), (uint8_t)i}};

		if (i % 2 == 0)
			fill_mac(news.mac, M1);
		hosts_hear(fixture->hosts, &fixture->lan, &news, fixture->now_ms,
			   &fixture->out);
		decisions += fixture->out.count;
		assert_in_range(hosts_get_count(fixture->hosts), 1,
				HOSTS_LOOSE_MAX + 1);
	}
	assert_in_range(decisions, 0, MANY);
	assert_false(hear(fixture, A, HOST_ANSWERS, M2));
	assert_true(did(fixture, HOST_STEP_END, A, NULL));
}

/* The number-th address; chosen: of those that a hash everybody knows puts together. */
static struct ip_addr make_host(uint32_t number, bool chosen)
{
	static uint64_t last;
	struct ip_addr addr = address(A6);
	uint32_t hash;

	if (number == 0)
		last = 0;
	do {
		uint64_t low = ++last * UINT64_C(0x9e3779b97f4a7c15);

		memcpy((uint8_t *)&addr + sizeof(addr) - sizeof(low), &low,
		       sizeof(low));
		HASH_JEN(&addr, sizeof(addr), hash);
	} while (chosen && (hash & CHOSEN_MASK) != 0);
	return addr;
}

/* Microseconds of the fastest round of looking for all of them. */
static int64_t measure_hosts(struct fixture *fixture, bool chosen)
{
	static struct ip_addr addrs[CHOSEN];
	int64_t best_us = INT64_MAX;

	(void)fixture_reset(fixture);
	for (uint32_t i = 0; i < CHOSEN; i++) {
		struct lease lease = {.internal = make_host(i, chosen), .lan = 3};

		addrs[i] = lease.internal;
		assert_true(hosts_hold(fixture->hosts, &lease));
	}
	for (int round = 0; round < ROUNDS; round++) {
		int64_t spent_us = -clock_process_us();

		for (uint32_t i = 0; i < CHOSEN; i++)
			assert_true(hosts_is_held(fixture->hosts, &addrs[i], 3));
		spent_us += clock_process_us();
		if (spent_us < best_us)
			best_us = spent_us;
	}
	return best_us;
}

/* Hosts choose their addresses, and cannot make each other's dear to look for. */
static void test_chosen_addresses(void **state)
{
	struct fixture *fixture = *state;
	int64_t others_us = measure_hosts(fixture, false);
	int64_t chosen_us = measure_hosts(fixture, true);

	print_message("%u hosts: %lld us, with addresses of their choice %lld us\n",
		      CHOSEN, (long long)others_us, (long long)chosen_us);
	assert_true(chosen_us <= CHOSEN_COST_MAX * (others_us + 1));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_stranger),
		TEST(test_stranger_from_elsewhere),
		TEST(test_proxy),
		TEST(test_proxy_is_asked_again),
		TEST(test_swap),
		TEST(test_asks_are_few),
		TEST(test_follows),
		TEST(test_follows_at_once),
		TEST(test_card_of_two),
		TEST(test_of_two_no_more),
		TEST(test_repeater_all_day),
		TEST(test_pair),
		TEST(test_asks_before_it_is_followed),
		TEST(test_card_of_many),
		TEST(test_waits_for_others),
		TEST(test_both),
		TEST(test_sleep),
		TEST(test_fixed),
		TEST(test_note),
		TEST(test_ipv6),
		TEST(test_dual_stack),
		TEST(test_dual_stack_prefix),
		TEST(test_prefix_is_gone),
		TEST(test_other_lan),
		TEST(test_learn),
		TEST(test_restored_pair),
		TEST(test_restored),
		TEST(test_release),
		TEST(test_flood),
		TEST(test_chosen_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
