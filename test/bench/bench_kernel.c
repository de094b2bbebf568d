/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel takes for the elements of leases, when nothing else is done: messages
 * of libnftnl, made before the clock runs, into the sets of the nftables backend, with
 * as many leases in them as --leases says.
 *
 *   ip netns add bench && ip netns exec bench bench_kernel [--leases N] [--batch N]
 *                                                          [--samples N] [--json]
 *
 * Run it in a network namespace of its own: it makes and removes table inet portreeve.
 * Prints a line for each set, and one for a lease, which has an element in all of them:
 * transactions of --batch leases, added and removed again. Nobody listens to what
 * changes. A daemon that is faster does not tell the truth.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backends/backend.h"
#include "base/log.h"
#include "test/bench/load.h"

#define TABLE "portreeve"
#define MARK 0x10000000
#define LEASES_MAX 60000
#define BATCH_MAX 256
#define SAMPLES_MAX 60000
#define FIRST_PORT 1024
#define HOSTS 20
#define FIRST_HOST 0xc0a84d0a /* 192.168.77.10 */
#define WAN 0xcb007101	      /* 203.0.113.1 */
#define TIMEOUT_MS 86400000
#define FILL_BATCH 64
/* A lease of a batch takes about 400 octets. */
#define ROOM ((size_t)256 * 1024)

/* Sets that have an element of a lease which is open to all. A bit of each. */
enum part { PART_DNAT4, PART_SNAT4, PART_HELD4, PART_COUNT4 };
#define PARTS (PART_COUNT4 + 1)
#define ALL_PARTS ((1U << PARTS) - 1)

static const char *const set_names[PARTS] = {"dnat4", "snat4", "held4", "count4"};

struct options {
	uint64_t leases, batch, samples;
	bool json;
};

/* Key and data of one element: each field of a concatenation takes four octets more. */
struct octets {
	uint32_t words[4];
	uint32_t count;
};

/* A transaction. */
struct text {
	char bytes[ROOM];
	size_t length;
	uint32_t last; /* sequence number of the message that is acknowledged */
};

struct kernel {
	struct mnl_socket *mnl;
	uint32_t seq;
	struct text text;
};

struct spent {
	double wall_s, cpu_s;
};

static void fail(const char *what)
{
	(void)fprintf(stderr, "bench_kernel: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void put(struct octets *octets, uint32_t word)
{
	octets->words[octets->count++] = word;
}

/* A number of one or two octets stands at the beginning of its field. */
static void put_protocol(struct octets *octets, uint8_t protocol)
{
	put(octets, htonl((uint32_t)protocol << 24));
}

static void put_port(struct octets *octets, uint16_t port)
{
	put(octets, htonl((uint32_t)port << 16));
}

static void get_element(enum part part, size_t lease, struct octets *key,
			struct octets *data)
{
	uint32_t host = htonl(FIRST_HOST + (uint32_t)(lease % HOSTS));
	uint16_t port = (uint16_t)(FIRST_PORT + lease);

	*key = (struct octets){.count = 0};
	*data = (struct octets){.count = 0};
	put_protocol(key, IPPROTO_UDP);
	if (part == PART_SNAT4)
		put(key, host);
	put_port(key, port);
	if (part == PART_COUNT4) {
		put(key, host);
		put_port(key, port);
	}
	if (part == PART_DNAT4 || part == PART_SNAT4) {
		put(data, part == PART_DNAT4 ? host : htonl(WAN));
		put_port(data, port);
	}
}

static void add_element(struct nftnl_set *set, enum part part, size_t lease, bool adds)
{
	struct nftnl_set_elem *element = nftnl_set_elem_alloc();
	struct octets key;
	struct octets data;

	if (!element)
		fail("nftnl_set_elem_alloc");
	get_element(part, lease, &key, &data);
	nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key.words, key.count * 4);
	if (adds) {
		if (data.count > 0)
			nftnl_set_elem_set(element, NFTNL_SET_ELEM_DATA, data.words,
					   data.count * 4);
		nftnl_set_elem_set_u64(element, NFTNL_SET_ELEM_TIMEOUT, TIMEOUT_MS);
	}
	nftnl_set_elem_add(set, element);
}

/* One message: an element in one set, for each of these leases. */
static struct nlmsghdr *put_message(struct kernel *kernel, enum part part,
				    const size_t range[2], bool adds)
{
	struct nftnl_set *set = nftnl_set_alloc();
	struct text *text = &kernel->text;
	struct nlmsghdr *header;

	if (!set)
		fail("nftnl_set_alloc");
	nftnl_set_set_str(set, NFTNL_SET_TABLE, TABLE);
	nftnl_set_set_str(set, NFTNL_SET_NAME, set_names[part]);
	for (size_t lease = range[0]; lease < range[1]; lease++)
		add_element(set, part, lease, adds);
	header = nftnl_nlmsg_build_hdr(
		text->bytes + text->length,
		adds ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM, NFPROTO_INET,
		adds ? NLM_F_CREATE | NLM_F_EXCL : 0, kernel->seq++);
	nftnl_set_elems_nlmsg_build_payload(header, set);
	text->length += header->nlmsg_len;
	nftnl_set_free(set);
	return header;
}

/* The transaction that adds or removes elements of these leases. */
static void make_text(struct kernel *kernel, unsigned int parts, const size_t range[2],
		      bool adds)
{
	struct text *text = &kernel->text;
	struct nlmsghdr *last = NULL;

	text->length = nftnl_batch_begin(text->bytes, kernel->seq++)->nlmsg_len;
	for (unsigned int part = 0; part < PARTS; part++)
		if (parts & 1U << part)
			last = put_message(kernel, part, range, adds);
	if (last)
		last->nlmsg_flags |= NLM_F_ACK;
	text->last = kernel->seq - 1;
	text->length +=
		nftnl_batch_end(text->bytes + text->length, kernel->seq++)->nlmsg_len;
}

static void send_text(struct kernel *kernel)
{
	char answer[8192];
	ssize_t length;

	if (mnl_socket_sendto(kernel->mnl, kernel->text.bytes, kernel->text.length) < 0)
		fail("send");
	length = mnl_socket_recvfrom(kernel->mnl, answer, sizeof(answer));
	if (length < 0)
		fail("receive");
	if (mnl_cb_run(answer, (size_t)length, kernel->text.last,
		       mnl_socket_get_portid(kernel->mnl), NULL, NULL) < 0)
		fail("a transaction");
}

static double get_seconds(clockid_t clock)
{
	struct timespec at = {0};

	(void)clock_gettime(clock, &at);
	return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

/* Leases from range[0] to range[1], batch of them at a time. */
static struct spent apply(struct kernel *kernel, unsigned int parts,
			  const size_t range[2], size_t batch, bool adds)
{
	struct spent spent = {0, 0};

	for (size_t first = range[0]; first < range[1]; first += batch) {
		size_t end = first + batch < range[1] ? first + batch : range[1];
		double wall_s;
		double cpu_s;

		make_text(kernel, parts, (const size_t[]){first, end}, adds);
		wall_s = get_seconds(CLOCK_MONOTONIC);
		cpu_s = get_seconds(CLOCK_THREAD_CPUTIME_ID);
		send_text(kernel);
		spent.wall_s += get_seconds(CLOCK_MONOTONIC) - wall_s;
		spent.cpu_s += get_seconds(CLOCK_THREAD_CPUTIME_ID) - cpu_s;
	}
	return spent;
}

static void measure(struct kernel *kernel, const struct options *options,
		    unsigned int parts, const char *name)
{
	const char *form =
		options->json ? "{\"what\":\"%s\",\"leases\":%lu,\"batch\":%lu,"
				"\"per_second\":%.0f,\"cpu_us\":%.2f,"
				"\"removed_per_second\":%.0f}\n"
			      : "%-6s at %5lu leases, %3lu a transaction: %8.0f/s  "
				"%6.2f us of CPU  removed %8.0f/s\n";
	const size_t range[2] = {options->leases, options->leases + options->samples};
	double count = (double)options->samples;
	struct spent added = apply(kernel, parts, range, options->batch, true);
	struct spent removed = apply(kernel, parts, range, options->batch, false);

	(void)printf(form, name, options->leases, options->batch, count / added.wall_s,
		     1e6 * added.cpu_s / count, count / removed.wall_s);
}

static void on_disturbed(void *user)
{
	(void)user;
}

/* The backend's own table, without elements; the backend leaves and it stays. */
static void make_table(void)
{
	static const struct backend_events events = {.disturbed = on_disturbed};
	const struct backend_config config = {.mark = MARK};
	const struct backend_ops *ops = backend_get_nftables();
	struct backend *backend;
	size_t changed[2];
	int error;

	error = ops->open(&config, &events, NULL, &backend);
	if (error == 0) {
		error = ops->sync(backend, NULL, 0, &changed[0], &changed[1]);
		(void)ops->close(backend, true);
	}
	if (error < 0) {
		errno = -error;
		fail("the table of the backend");
	}
}

static void remove_table(struct kernel *kernel)
{
	struct text *text = &kernel->text;
	struct nlmsghdr *header;

	text->length = nftnl_batch_begin(text->bytes, kernel->seq++)->nlmsg_len;
	text->last = kernel->seq;
	header = nftnl_nlmsg_build_hdr(text->bytes + text->length, NFT_MSG_DELTABLE,
				       NFPROTO_INET, NLM_F_ACK, kernel->seq++);
	mnl_attr_put_strz(header, NFTA_TABLE_NAME, TABLE);
	text->length += header->nlmsg_len;
	text->length +=
		nftnl_batch_end(text->bytes + text->length, kernel->seq++)->nlmsg_len;
	send_text(kernel);
}

static bool parse_options(int argc, char **argv, struct options *out)
{
	const struct load_option rows[] = {
		{"leases", .number = &out->leases, .max = LEASES_MAX},
		{"batch", .number = &out->batch, .max = BATCH_MAX},
		{"samples", .number = &out->samples, .max = SAMPLES_MAX},
		{"json", .flag = &out->json},
		{.name = NULL},
	};

	*out = (struct options){.batch = 1, .samples = 2000};
	return load_parse_options(argc, argv, rows) && out->batch > 0 &&
	       out->samples > 0 &&
	       FIRST_PORT + out->leases + out->samples - 1 <= UINT16_MAX;
}

int main(int argc, char **argv)
{
	static struct kernel kernel;
	struct options options;

	if (!parse_options(argc, argv, &options)) {
		(void)fprintf(stderr, "usage: bench_kernel [--leases N] [--batch N] "
				      "[--samples N] [--json]\n");
		return 2;
	}
	log_init("bench_kernel", LOG_LEVEL_NOTICE);
	make_table();
	kernel.seq = 1;
	kernel.mnl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!kernel.mnl || mnl_socket_bind(kernel.mnl, 0, MNL_SOCKET_AUTOPID) < 0)
		fail("netlink socket");
	(void)apply(&kernel, ALL_PARTS, (const size_t[]){0, options.leases}, FILL_BATCH,
		    true);
	for (unsigned int part = 0; part < PARTS; part++)
		measure(&kernel, &options, 1U << part, set_names[part]);
	measure(&kernel, &options, ALL_PARTS, "lease");
	remove_table(&kernel);
	(void)mnl_socket_close(kernel.mnl);
	return 0;
}
