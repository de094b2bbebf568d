/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Discovery on one LAN but for its sockets: datagrams from anywhere to anywhere, over
 * any interface, and time that passes (SSDP-2, SSDP-18, SSDP-19). The first octet of
 * the input chooses family and faces, then each step begins with an octet that says
 * what it is.
 */
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "protocols/igd_desc.h"
#include "protocols/ssdp_limit.h"
#include "protocols/ssdp_queue.h"
#include "protocols/ssdp_responder.h"
#include "test/fuzz/arrival.h"
#include "test/fuzz/expect.h"

#define IFINDEX 7
#define START_MS 1000000
#define STEPS_MAX 400
#define FACES 2
/* More than pick_address() knows. */
#define PEERS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum step { STEP_DATAGRAM, STEP_TIME, STEP_BYEBYE, STEPS };

struct run {
	struct lan_info lan;
	struct ssdp_config config;
	struct ssdp_responder *responder;
	struct ssdp_moment moment;
	enum step step;
	const struct datagram *asked; /* by unicast, in this step */
	size_t answers;		      /* in this step */
	size_t total;
	uint32_t chance;
	size_t peer_count;
	struct {
		struct ip_addr addr;
		size_t answers;
	} peers[PEERS_MAX];
	struct ssdp_queue queue; /* of all that was asked, apart from the responder */
};

static bool holds(const struct datagram *out, const char *text)
{
	return memmem(out->bytes, out->length, text, strlen(text)) != NULL;
}

static void check_answer(const struct run *run, const struct datagram *out)
{
	const struct datagram *in = run->asked;
	struct ssdp_search search;

	expect_true(out->length <= SSDP_DATAGRAM_MAX);
	expect_true(holds(out, "HTTP/1.1 200 OK\r\n"));
	expect_true(out->use == DATAGRAM_REPLY && out->hops == 0 &&
		    out->peer_port != 0);
	expect_true(lan_info_has_host(&run->lan, &out->peer)); /* SSDP-2 */
	expect_true(lan_info_has_address(&run->lan, &out->local));
	if (!in || !addr_equal(&in->peer, &out->peer) ||
	    !addr_equal(&in->local, &out->local))
		return;
	/* Asked by unicast just now: it is an answer to that (SSDP-3, SSDP-9). */
	expect_true(ssdp_parse_search(in->bytes, in->length, &search));
	expect_true(in->ifindex == IFINDEX && !in->truncated);
	expect_true(in->peer_port == out->peer_port);
	expect_true(strcmp(search.st, "ssdp:all") == 0 || holds(out, search.st));
	if (search.legacy) /* IGD-6 */
		expect_true(!holds(out, "/igd2/") && !holds(out, "WANIPv6Firewall"));
}

/* SSDP-18: what one source gets, as long as none is forgotten */
static void count_answer(struct run *run, const struct ip_addr *peer)
{
	size_t i = 0;

	while (i < run->peer_count && !addr_equal(&run->peers[i].addr, peer))
		i++;
	expect_true(i < PEERS_MAX);
	if (i == run->peer_count)
		run->peers[run->peer_count++].addr = *peer;
	run->peers[i].answers++;
	expect_true((int64_t)run->peers[i].answers <=
		    SSDP_LIMIT_SOURCE_BURST + (run->moment.now_ms - START_MS) *
						      SSDP_LIMIT_SOURCE_RATE / 1000);
}

/* SSDP-18: nobody waits twice for the same, and nobody fills the queue */
static void check_queue(const struct ssdp_queue *queue)
{
	expect_true(queue->count <= SSDP_QUEUE_MAX);
	for (size_t i = 0; i < queue->count; i++) {
		const struct ssdp_wait *wait = &queue->waits[i];
		unsigned int share = 1;

		for (size_t k = 0; k < i; k++) {
			const struct ssdp_wait *other = &queue->waits[k];

			if (!addr_equal(&wait->peer, &other->peer))
				continue;
			expect_true(wait->peer_port != other->peer_port ||
				    strcmp(wait->search.st, other->search.st) != 0);
			share++;
		}
		expect_true(share <= SSDP_QUEUE_PER_SOURCE_MAX);
	}
}

static void fill_queue(struct run *run, const struct datagram *in)
{
	struct ssdp_wait early;
	struct ssdp_wait wait = {
		.due_ms = run->moment.now_ms + in->length,
		.peer = in->peer,
		.peer_port = in->peer_port,
	};

	if (!ssdp_parse_search(in->bytes, in->length, &wait.search) ||
	    !ssdp_queue_admits(&run->queue, &wait))
		return;
	if (ssdp_queue_add(&run->queue, &wait, &early))
		expect_true(run->queue.count == SSDP_QUEUE_MAX);
	check_queue(&run->queue);
}

static void check_notification(const struct run *run, const struct datagram *out)
{
	expect_true(ssdp_group_find(&out->peer) != NULL && out->peer_port == SSDP_PORT);
	expect_true(out->length <= SSDP_NOTIFY_MAX && out->use == DATAGRAM_MULTICAST);
	expect_true(out->hops == 1 || out->hops == SSDP_TTL);
	expect_true(run->step != STEP_DATAGRAM || !holds(out, "ssdp:byebye"));
	expect_true(lan_info_has_address(&run->lan, &out->local));
}

static void on_send(void *user, struct datagram_batch *batch)
{
	struct run *run = user;
	bool ipv4 = run->config.family == AF_INET;

	for (size_t i = 0; i < batch->count; i++) {
		const struct datagram *out = &batch->list[i];

		expect_true(out->ifindex == IFINDEX &&
			    addr_is_ipv4(&out->peer) == ipv4);
		expect_true(addr_is_ipv4(&out->local) == ipv4);
		expect_true(memchr(out->bytes, '%', out->length) == NULL); /* SSDP-12 */
		if (ssdp_group_find(&out->peer)) {
			check_notification(run, out);
			continue;
		}
		check_answer(run, out);
		run->answers++;
		count_answer(run, &out->peer);
	}
}

static uint32_t on_draw(void *user, uint32_t limit)
{
	struct run *run = user;

	run->chance = run->chance * 1103515245u + 12345u;
	return run->chance % limit;
}

static struct ip_addr pick_address(uint8_t number)
{
	static const char *const texts[] = {
		"192.168.1.10", "192.168.1.1", "192.168.1.11", "192.168.1.255",
		"fd00::10",	"fd00::1",     "fe80::10",     "fe80::1",
		"ff02::c",	"ff05::c",     "ff02::1",      SSDP_GROUP,
		"203.0.113.1",	"2001:db8::1", "2001:db8::10", "2001:db8:9::1",
	};
	struct ip_addr addr = expect_addr(texts[number % 16]);

	if (number >= 128 && (number % 16 == 0 || number % 16 == 4))
		addr.bytes[15] = (uint8_t)(20 + number / 16); /* more hosts */
	return addr;
}

static void step_datagram(struct run *run, struct reader *input)
{
	static struct datagram in;

	(void)arrival_read(input, IFINDEX, pick_address, &in);
	in.length = reader_u16(input) % (DATAGRAM_SIZE_MAX + 1);
	if (in.length > input->left)
		in.length = (uint16_t)input->left;
	reader_copy(input, in.bytes, in.length);
	run->asked = ssdp_group_find(&in.local) ? NULL : &in;
	fill_queue(run, &in);
	ssdp_responder_take(run->responder, &in, &run->moment);
	expect_true(ssdp_responder_run(run->responder, &run->moment) >
		    run->moment.now_ms);
	run->asked = NULL;
}

static void make_step(struct run *run, struct reader *input)
{
	run->step = (enum step)(reader_u8(input) % STEPS);
	run->answers = 0;
	switch (run->step) {
	case STEP_DATAGRAM:
		step_datagram(run, input);
		break;
	case STEP_TIME:
		run->moment.now_ms += reader_u16(input);
		expect_true(ssdp_responder_run(run->responder, &run->moment) >
			    run->moment.now_ms);
		break;
	case STEP_BYEBYE:
		ssdp_responder_say_byebye(run->responder);
		expect_true(run->answers == 0);
		break;
	case STEPS:
		break;
	}
	/* SSDP-18 */
	run->total += run->answers;
	expect_true((int64_t)run->total <=
		    SSDP_LIMIT_TOTAL_BURST + SSDP_LIMIT_SINGLE_BURST +
			    (run->moment.now_ms - START_MS) *
				    (SSDP_LIMIT_TOTAL_RATE + SSDP_LIMIT_SINGLE_RATE) /
				    1000 +
			    (run->moment.now_ms - START_MS) / SSDP_LIMIT_QUIET_MS *
				    SSDP_LIMIT_KNOWN);
}

static void add_address(struct lan_info *lan, const char *own, const char *network,
			uint8_t length)
{
	lan->addresses[lan->address_count++] =
		(struct prefix){expect_addr(own), length};
	lan->networks[lan->network_count++] =
		(struct prefix){expect_addr(network), length};
}

/* Made once: they do not change. */
static const struct igd_site *get_site(size_t index)
{
	static const struct worker_setup setup = {.uuid = {7}, .friendly_name = "x"};
	static struct igd_site *sites[FACES];

	if (!sites[index])
		sites[index] = igd_site_new(igd_face_get(index), &setup);
	expect_true(sites[index] != NULL);
	return sites[index];
}

/* igd: 1, 2 or 3, as in struct lan_info */
static void add_roots(struct run *run, uint8_t igd)
{
	for (size_t i = 0; i < FACES; i++) {
		const struct igd_site *site = get_site(i);

		if ((igd & site->face->bit) == 0)
			continue;
		run->config.roots[run->config.root_count] = (struct ssdp_root){
			.targets = site->targets,
			.target_count = site->target_count,
			.path = site->documents[0].path,
			.config_id = site->config_id,
			.reserved = run->config.root_count > 0,
		};
		run->config.root_count++;
	}
}

static void begin(struct run *run, uint8_t choice)
{
	static const struct ssdp_responder_ops ops = {on_send, on_draw};

	run->lan.ifindex = IFINDEX;
	add_address(&run->lan, "192.168.1.1", "192.168.1.0", 120);
	add_address(&run->lan, "fe80::1", "fe80::", 64);
	if ((choice & 1) != 0)
		add_address(&run->lan, "fd00::1", "fd00::", 64);
	if ((choice & 2) != 0)
		add_address(&run->lan, "2001:db8::1", "2001:db8::", 64);
	run->config = (struct ssdp_config){
		.lan = &run->lan,
		.family = (choice & 4) != 0 ? AF_INET : AF_INET6,
		.http_port = 49152,
		.strict = (choice & 8) != 0,
		.boot_id = 77,
	};
	add_roots(run, (uint8_t)(1 + choice / 16 % 3));
	run->moment.now_ms = START_MS;
	run->responder =
		ssdp_responder_new(&run->config, &ops, run, run->moment.now_ms);
	expect_true(run->responder != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader input = reader_init(data, size);
	struct run run = {.chance = (uint32_t)size};

	begin(&run, reader_u8(&input));
	for (int i = 0; i < STEPS_MAX && input.left > 0; i++)
		make_step(&run, &input);
	ssdp_responder_free(run.responder);
	return 0;
}
