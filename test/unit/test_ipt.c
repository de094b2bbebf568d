/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The iptables backend without a kernel: which rules clash, what the chains hold; and
 * with one, in a namespace of its own, that refuses a table in the middle of a change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <libiptc/libip6tc.h>
#include <libiptc/libiptc.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backends/ipt.h"
#include "base/log.h"
#include "daemon/firewall.h"
#include "test/unit/log_lab.h"
#include "test/unit/netns.h"

#define WAN "203.0.113.1"
#define MARK 0x10000000
/* Commits of the longest step. */
#define COMMITS_MAX 8

static struct {
	unsigned int commits; /* since it was armed */
	unsigned int fails;   /* the how manieth does; 0 = none */
	int error;
	bool no_filter; /* no rule of ours goes into the table filter */
	unsigned int filter_commits;
	bool no_netlink; /* that of netfilter is not allowed */
	bool no_ipv6;	 /* a kernel without ip6tables */
} faults;

/* In the place of the C library's, for the whole program, libraries and all. */
int fault_call_setsockopt(int fd, int level, int option, const void *value,
			  socklen_t length) __asm__("setsockopt");

int fault_call_setsockopt(int fd, int level, int option, const void *value,
			  socklen_t length)
{
	bool commit = (level == IPPROTO_IP && option == IPT_SO_SET_REPLACE) ||
		      (level == IPPROTO_IPV6 && option == IP6T_SO_SET_REPLACE);

	if (commit && faults.no_filter && strcmp(value, "filter") == 0) {
		faults.filter_commits++;
		errno = ENOENT;
		return -1;
	}
	if (commit && ++faults.commits == faults.fails) {
		errno = faults.error;
		return -1;
	}
	return (int)syscall(SYS_setsockopt, fd, level, option, value, length);
}

int fault_call_socket(int family, int type, int protocol) __asm__("socket");

int fault_call_socket(int family, int type, int protocol)
{
	if (faults.no_netlink && family == AF_NETLINK &&
	    protocol == NETLINK_NETFILTER) {
		errno = EPERM;
		return -1;
	}
	return (int)syscall(SYS_socket, family, type, protocol);
}

int fault_call_getsockopt(int fd, int level, int option, void *value,
			  socklen_t *length) __asm__("getsockopt");

int fault_call_getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
	if (faults.no_ipv6 && level == IPPROTO_IPV6 && option >= IP6T_BASE_CTL) {
		errno = ENOPROTOOPT;
		return -1;
	}
	return (int)syscall(SYS_getsockopt, fd, level, option, value, length);
}

static struct ip_addr get_addr(const char *text)
{
	struct ip_addr addr;

	assert_true(addr_parse(text, &addr));
	return addr;
}

static struct rule make_rule(const char *internal, uint16_t external, uint16_t port)
{
	bool ipv4 = !strchr(internal, ':');

	return (struct rule){
		.protocol = IPPROTO_UDP,
		.external_port = external,
		.internal_port = port,
		.external = get_addr(ipv4 ? WAN : internal),
		.internal = get_addr(internal),
	};
}

static void add_filter(struct rule *rule, const char *prefix, uint16_t port)
{
	struct rule_filter *filter = &rule->filters[rule->filter_count++];

	assert_true(prefix_parse(prefix, &filter->prefix));
	filter->port = port;
}

/* --- clashes --- */

static void test_rules_that_clash(void **state)
{
	static struct ipt_model model;
	struct rule open = make_rule("192.168.1.2", 5000, 6000);
	struct rule filtered = make_rule("192.168.1.3", 5000, 6000);
	struct rule inside = make_rule("192.168.1.4", 5000, 6000);
	struct rule out = make_rule("192.168.1.2", 5001, 6000);
	struct rule bad = make_rule("192.168.1.2", 0, 6000);

	(void)state;
	open.outbound = true;
	out.outbound = true;
	add_filter(&filtered, "198.51.100.0/24", 0);
	add_filter(&inside, "198.51.100.7/32", 80);
	assert_int_equal(ipt_model_add(&model, &open), 0);
	assert_int_equal(ipt_model_add(&model, &open), -EEXIST);
	assert_int_equal(ipt_model_add(&model, &filtered), 0);
	assert_int_equal(ipt_model_add(&model, &inside), -EEXIST);
	/* the same endpoint cannot leave by two ports */
	assert_int_equal(ipt_model_add(&model, &out), -EEXIST);
	assert_int_equal(ipt_model_add(&model, &bad), -EINVAL);
	assert_int_equal(model.count, 2);
	ipt_model_undo(&model);
	assert_int_equal(model.count, 0);
	assert_int_equal(ipt_model_add(&model, &inside), 0);
	assert_int_equal(ipt_model_remove(&model, &inside), 0);
	assert_int_equal(ipt_model_add(&model, &filtered), 0);
	ipt_model_commit(&model);
	assert_int_equal(ipt_model_remove(&model, &filtered), 0);
	ipt_model_undo(&model);
	assert_non_null(ipt_model_find(&model, &filtered));
	assert_null(ipt_model_find(&model, &inside));
	assert_int_equal(ipt_model_remove(&model, &inside), 0);
	ipt_model_fini(&model);
}

/* --- what chains hold --- */

static size_t count_leaf(const struct ipt_layout *layout, enum ipt_tree tree,
			 uint16_t port)
{
	const struct ipt_place place = ipt_tree_get_place(tree, IPPROTO_UDP, port);
	struct ipt_list list = {0};
	size_t count;

	ipt_list_begin(&list, tree == IPT_MARK_TREE6, layout->forms);
	ipt_tree_fill_leaf(layout, &place, &list);
	assert_false(list.failed);
	count = list.count;
	assert_int_equal(ipt_tree_has_leaf(layout, &place), count > 0);
	ipt_list_fini(&list);
	return count;
}

/* A multiport match takes fifteen ports, and a range takes two of them. */
static void test_leaves(void **state)
{
	static struct ipt_layout layout = {.mark = MARK};
	struct rule rule;

	(void)state;
	for (uint16_t i = 0; i < 16; i++) {
		rule = make_rule("192.168.1.2", (uint16_t)(1024 + 2 * i), 9000);
		rule.internal_port = (uint16_t)(9000 + i);
		assert_int_equal(ipt_model_add(&layout.model, &rule), 0);
	}
	assert_int_equal(count_leaf(&layout, IPT_DNAT_TREE, 1024), 16);
	assert_int_equal(count_leaf(&layout, IPT_MARK_TREE4, 1024), 16);
	assert_int_equal(count_leaf(&layout, IPT_SNAT_TREE, 1024), 2);
	assert_int_equal(count_leaf(&layout, IPT_SNAT_TREE, 9000), 0);
	rule = make_rule("192.168.1.3", 9000, 1100);
	rule.outbound = true;
	add_filter(&rule, "198.51.100.0/24", 7);
	add_filter(&rule, "203.0.113.0/24", 0);
	assert_int_equal(ipt_model_add(&layout.model, &rule), 0);
	/* its few peers are no reason to keep others off the port */
	assert_int_equal(count_leaf(&layout, IPT_SNAT_TREE, 9000), 0);
	assert_int_equal(count_leaf(&layout, IPT_SNAT_TREE, 1100), 3);
	assert_int_equal(count_leaf(&layout, IPT_DNAT_TREE, 9000), 2);
	rule = make_rule("2001:db8::2", 9000, 9000);
	assert_int_equal(ipt_model_add(&layout.model, &rule), 0);
	assert_int_equal(count_leaf(&layout, IPT_MARK_TREE6, 9000), 1);
	assert_int_equal(count_leaf(&layout, IPT_MARK_TREE4, 9000), 2);
	ipt_model_fini(&layout.model);
}

/* What follows a rule that is full is as if nothing had been before it. */
static void test_held_ports_behind_a_full_rule(void **state)
{
	/* a port, and seven ranges; then a range where one of these ended */
	static const uint16_t full[] = {5,  10, 11, 20, 21, 30, 31, 40,
					41, 50, 51, 60, 61, 70, 71};
	static const uint16_t rest[] = {1000, 1001, 1020};
	const struct ipt_forms forms = {0};
	struct ipt_list both = {0}, alone = {0};
	uint16_t ports[sizeof(full) / 2 + sizeof(rest) / 2];

	(void)state;
	memcpy(ports, full, sizeof(full));
	memcpy(ports + sizeof(full) / 2, rest, sizeof(rest));
	ipt_list_begin(&both, false, forms);
	ipt_list_begin(&alone, false, forms);
	ipt_lease_add_held(0, ports, sizeof(ports) / 2, &both);
	ipt_lease_add_held(0, rest, sizeof(rest) / 2, &alone);
	assert_false(both.failed || alone.failed);
	assert_int_equal(both.count, 2);
	assert_int_equal(alone.count, 1);
	assert_int_equal(both.used - both.offsets[1], alone.used);
	assert_memory_equal(ipt_list_get(&both, 1), ipt_list_get(&alone, 0),
			    alone.used);
	ipt_list_fini(&both);
	ipt_list_fini(&alone);
}

/* Leases of two hosts by turns, some in a run; from: where the first of them is added.
 */
static void fill_by_turns(struct ipt_layout *layout, unsigned int from)
{
	const unsigned int count = 96;

	for (unsigned int i = 0; i < count; i++) {
		const unsigned int number = (from + 7 * i) % count;
		const uint16_t port = (uint16_t)(1024 + number);
		const bool second = number % 2 && number < 64;
		const struct rule rule =
			make_rule(second ? "192.168.1.3" : "192.168.1.2", port, port);

		assert_int_equal(ipt_model_add(&layout->model, &rule), 0);
	}
	ipt_model_commit(&layout->model);
}

static void fill_leaf(const struct ipt_layout *layout, struct ipt_list *list)
{
	const struct ipt_place place =
		ipt_tree_get_place(IPT_DNAT_TREE, IPPROTO_UDP, 1024);

	ipt_list_begin(list, false, layout->forms);
	ipt_tree_fill_leaf(layout, &place, list);
	assert_false(list->failed);
}

static size_t tally(const struct ipt_list *before, const struct ipt_list *after,
		    size_t *removed)
{
	struct ipt_tally tally = {.ipv6 = false};
	size_t added = 0;

	*removed = 0;
	for (size_t i = 0; i < before->count; i++)
		ipt_tally_note(&tally, ipt_list_get(before, i), false);
	for (size_t i = 0; i < after->count; i++)
		ipt_tally_note(&tally, ipt_list_get(after, i), true);
	ipt_tally_finish(&tally, &added, removed);
	return added;
}

/* The first host has 32 ports singly and a run of 32, the second one 32 singly. */
static void test_rules_of_many_ports(void **state)
{
	static struct ipt_layout layout = {.mark = MARK};
	struct ipt_list first = {0}, other = {0};
	struct rule rule = make_rule("192.168.1.2", 1030, 1030);
	size_t removed;

	(void)state;
	fill_by_turns(&layout, 5);
	fill_leaf(&layout, &first);
	assert_int_equal(first.count, 3 + 3);
	assert_int_equal(count_leaf(&layout, IPT_MARK_TREE4, 1024), 96);
	ipt_model_fini(&layout.model);
	fill_by_turns(&layout, 40);
	fill_leaf(&layout, &other);
	assert_int_equal(other.used, first.used);
	assert_memory_equal(other.octets, first.octets, first.used);
	/* One goes, and is not counted as the rules that change for it. */
	assert_int_equal(ipt_model_remove(&layout.model, &rule), 0);
	fill_leaf(&layout, &other);
	assert_int_equal(tally(&first, &other, &removed), 0);
	assert_int_equal(removed, 1);
	/* Another port inside is another rule, and one that is for few as well. */
	rule.internal_port = 1031;
	assert_int_equal(ipt_model_add(&layout.model, &rule), 0);
	rule = make_rule("192.168.1.9", 1025, 1025);
	add_filter(&rule, "198.51.100.0/24", 0);
	assert_int_equal(ipt_model_add(&layout.model, &rule), 0);
	fill_leaf(&layout, &other);
	assert_int_equal(other.count, first.count + 2);
	assert_int_equal(tally(&first, &other, &removed), 2);
	assert_int_equal(removed, 1);
	ipt_model_fini(&layout.model);
	ipt_list_fini(&first);
	ipt_list_fini(&other);
}

static void test_names_of_chains(void **state)
{
	const struct ipt_place last =
		ipt_tree_get_place(IPT_MARK_TREE4, IPPROTO_TCP, UINT16_MAX);
	char name[IPT_NAME_MAX];
	bool mapping = true;

	(void)state;
	ipt_tree_get_branch_name(&last, name);
	assert_string_equal(name, "PORTREEVE-MARK-tcp-60k");
	assert_false(ipt_tree_is_leaf_name(IPT_MANGLE4, name, &mapping));
	ipt_tree_get_leaf_name(&last, name);
	assert_string_equal(name, "PORTREEVE-MARK-tcp-65280");
	assert_true(ipt_tree_is_leaf_name(IPT_MANGLE4, name, &mapping));
	assert_false(mapping);
	assert_true(ipt_tree_is_leaf_name(IPT_MANGLE6, name, &mapping));
	assert_true(mapping);
	assert_false(ipt_tree_is_leaf_name(IPT_NAT4, name, &mapping));
}

/* --- whether there is nf_tables --- */

static void test_answer_about_nf_tables(void **state)
{
	struct {
		struct nlmsghdr header;
		struct nlmsgerr failure;
	} answer = {.header = {.nlmsg_type = NLMSG_ERROR}};

	(void)state;
	answer.failure.error = -EINVAL; /* no such subsystem */
	assert_false(firewall_is_answer(&answer, sizeof(answer)));
	assert_false(firewall_is_answer(&answer, sizeof(answer.header)));
	assert_false(firewall_is_answer(&answer, 3));
	answer.failure.error = -EPERM;
	assert_true(firewall_is_answer(&answer, sizeof(answer)));
	answer.header.nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN;
	assert_true(firewall_is_answer(&answer, sizeof(answer)));
}

/* --- a kernel that refuses --- */

static unsigned int disturbances;

static void on_disturbed(void *user)
{
	(void)user;
	disturbances++;
}

static struct backend *open_backend(const struct backend_ops *ops)
{
	static const struct backend_events events = {.disturbed = on_disturbed};
	/* The lock of the whole machine is nothing to a namespace of ours. */
	const int lock = memfd_create("lock", MFD_CLOEXEC);
	const struct backend_config config = {
		.mark = MARK,
		.lock_fd = lock,
		.accept = {.how = faults.no_filter ? BACKEND_ACCEPT_CHAIN
						   : BACKEND_ACCEPT_OFF,
			   .table = "filter",
			   .chain = "FORWARD"},
	};
	struct backend_network network = {
		.wan = "wan0", .lan_count = 1, .lans = {"lan0"}, .address_count = 1};
	struct backend *backend;
	size_t added;
	size_t removed;

	network.addresses[0] = get_addr(WAN);
	assert_true(lock > 0);
	assert_int_equal(ops->open(&config, &events, NULL, &backend), 0);
	close(lock);
	assert_int_equal(ops->set_network(backend, &network), 0);
	assert_int_equal(ops->sync(backend, NULL, 0, &added, &removed), 0);
	return backend;
}

static int count_rule(void *user, const struct rule *rule)
{
	size_t *ports = user;

	*ports += rule->external_port;
	return 0;
}

static size_t sum_ports(const struct backend_ops *ops, struct backend *backend)
{
	size_t sum = 0;

	assert_int_equal(ops->dump(backend, count_rule, &sum), 0);
	return sum;
}

static void fail_commit(unsigned int number, int error)
{
	faults.commits = 0;
	faults.fails = number;
	faults.error = error;
}

/* Each change is of three tables, and each of them is refused once. */
static void test_all_or_nothing(void **state)
{
	const struct backend_ops *ops = backend_get_iptables();
	struct backend_change changes[3] = {
		{.kind = CHANGE_ADD, .after = make_rule("192.168.1.2", 5000, 6000)},
		{.kind = CHANGE_ADD, .after = make_rule("2001:db8::2", 7000, 7000)},
		{.kind = CHANGE_DELETE, .before = make_rule("192.168.1.9", 40, 40)},
	};
	const struct backend_change first = {.kind = CHANGE_ADD,
					     .after = changes[2].before};
	struct netns_pair pair;
	struct backend *backend;
	unsigned int number;
	size_t added;
	size_t removed;

	(void)state;
	if (netns_make_pair(&pair) < 0 || !netns_enter(pair.gateway))
		skip();
	log_init("test_ipt", LOG_LEVEL_ERROR);
	backend = open_backend(ops);
	assert_int_equal(ops->apply(backend, &first, 1), 0);
	for (number = 1; number < COMMITS_MAX; number++) {
		fail_commit(number, number % 2 ? ENOMEM : EINVAL);
		if (ops->apply(backend, changes, 3) == 0)
			break;
		fail_commit(0, 0);
		assert_int_equal(sum_ports(ops, backend), 40);
	}
	assert_int_equal(number, 4);
	assert_int_equal(sum_ports(ops, backend), 12000);
	/* Others were faster, once: nobody hears of it. */
	changes[0] = first;
	fail_commit(1, EAGAIN);
	assert_int_equal(ops->apply(backend, changes, 1), 0);
	assert_int_equal(faults.commits, 3);
	fail_commit(0, 0);
	assert_int_equal(ops->sync(backend, &first.after, 1, &added, &removed), 0);
	assert_int_equal(added, 0);
	assert_int_equal(removed, 2);
	ops->close(backend, false);
}

/* Rules that it cannot hold are refused, and told of. */
static void test_kernel_without_ip6tables(void **state)
{
	const struct backend_ops *ops = backend_get_iptables();
	const struct backend_change change = {
		.kind = CHANGE_ADD, .after = make_rule("2001:db8::2", 7000, 7000)};
	struct netns_pair pair;
	struct backend *backend;

	(void)state;
	if (netns_make_pair(&pair) < 0 || !netns_enter(pair.gateway))
		skip();
	faults.no_ipv6 = true;
	backend = open_backend(ops);
	assert_int_equal(ops->get_troubles(backend), BACKEND_TROUBLE_NO_IPV6);
	assert_int_equal(ops->apply(backend, &change, 1), -EOPNOTSUPP);
	assert_int_equal(ops->close(backend, false), 0);
	faults.no_ipv6 = false;
	backend = open_backend(ops);
	assert_int_equal(ops->get_troubles(backend), 0);
	assert_int_equal(ops->close(backend, false), 0);
}

/* Leases work; that their flows are not cut is said. */
static void test_kernel_without_netlink(void **state)
{
	const struct backend_ops *ops = backend_get_iptables();
	struct backend_change change = {.kind = CHANGE_ADD,
					.after = make_rule("192.168.1.2", 5000, 6000)};
	struct netns_pair pair;
	struct backend *backend;

	(void)state;
	if (netns_make_pair(&pair) < 0 || !netns_enter(pair.gateway))
		skip();
	faults.no_netlink = true;
	log_lab_start(LOG_LEVEL_INFO);
	backend = open_backend(ops);
	assert_int_equal(ops->apply(backend, &change, 1), 0);
	change.before = change.after;
	change.kind = CHANGE_DELETE;
	assert_int_equal(ops->apply(backend, &change, 1), 0);
	ops->event(backend);
	assert_int_equal(ops->close(backend, false), 0);
	assert_non_null(strstr(log_lab_stop(), "nf_conntrack_netlink"));
	faults.no_netlink = false;
}

/* A look, when it is due. */
static void look(const struct backend_ops *ops, struct backend *backend)
{
	struct pollfd entry = {.fd = ops->fd(backend), .events = POLLIN};
	const unsigned int commits = faults.filter_commits;

	while (faults.filter_commits == commits && disturbances == 0) {
		assert_int_equal(poll(&entry, 1, 10000), 1);
		ops->event(backend);
		if (!faults.no_filter && ops->get_troubles(backend) == 0)
			break;
	}
}

/* It is said once, tried at each look, and no change by somebody else. */
static void test_kernel_refuses_the_rule_of_integrate(void **state)
{
	const struct backend_ops *ops = backend_get_iptables();
	struct netns_pair pair;
	struct backend *backend;
	const char *log;

	(void)state;
	if (netns_make_pair(&pair) < 0 || !netns_enter(pair.gateway))
		skip();
	faults.no_filter = true;
	disturbances = 0;
	log_lab_start(LOG_LEVEL_INFO);
	backend = open_backend(ops);
	assert_int_equal(ops->get_troubles(backend), BACKEND_TROUBLE_ACCEPT);
	look(ops, backend);
	look(ops, backend);
	assert_int_equal(disturbances, 0);
	assert_int_equal(faults.filter_commits, 3);
	faults.no_filter = false;
	look(ops, backend);
	assert_int_equal(ops->get_troubles(backend), 0);
	assert_int_equal(disturbances, 0);
	log = strstr(log_lab_stop(), "cannot see to the rule of integrate");
	assert_non_null(log);
	assert_null(strstr(log + 1, "cannot see to the rule of integrate"));
	assert_int_equal(ops->close(backend, false), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_that_clash),
		cmocka_unit_test(test_leaves),
		cmocka_unit_test(test_held_ports_behind_a_full_rule),
		cmocka_unit_test(test_rules_of_many_ports),
		cmocka_unit_test(test_names_of_chains),
		cmocka_unit_test(test_answer_about_nf_tables),
		cmocka_unit_test(test_all_or_nothing),
		cmocka_unit_test(test_kernel_without_ip6tables),
		cmocka_unit_test(test_kernel_without_netlink),
		cmocka_unit_test(test_kernel_refuses_the_rule_of_integrate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
