/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ipt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

/* Tries, when somebody changes a table between our look at it and our change. */
#define TRIES 5
/* At the end somebody else's work is waited for: what stays then, stays for ever. Less
 * than the launcher has patience with us. */
#define CLOSE_PATIENCE_MS 5000
/* And at the start: there is nothing to be done before. */
#define START_PATIENCE_MS 10000

struct backend {
	struct backend_config config;
	const struct backend_events *events;
	void *user;
	struct ipt_layout layout;
	struct ipt_lock lock;
	struct ipt_touched touched;
	struct flows flows;
	struct ipt_counts counts;
	struct ipt_given given;
	struct ipt_rank rank;
	struct ipt_accept accept;
	struct ipt_look look;
	int epoll; /* the descriptors of looks and flows, as one */
	bool has_ipv6;
	bool complained;
	bool ready; /* sync() has been here: the chains are ours */
	bool told;  /* the owner knows that it must sync() */
};

/* What is done to a table between reading and committing it. */
struct task {
	int (*make)(struct backend *backend, struct ipt_table *table,
		    enum ipt_table_name name, void *user);
	void *user;
	bool touched; /* only tables that the transaction touches */
};

static int make_undone(struct backend *backend, struct ipt_table *table,
		       enum ipt_table_name name, void *user)
{
	(void)user;
	return ipt_sync_touched(table, &backend->layout, name, &backend->touched);
}

static int make_touched(struct backend *backend, struct ipt_table *table,
			enum ipt_table_name name, void *user)
{
	int error;

	ipt_model_step_back(&backend->layout.model);
	error = ipt_sync_survey(table, &backend->layout, name, &backend->touched);
	ipt_model_step_forth(&backend->layout.model);
	return error < 0 ? error : make_undone(backend, table, name, user);
}

static int make_fixed(struct backend *backend, struct ipt_table *table,
		      enum ipt_table_name name, void *user)
{
	(void)user;
	return ipt_sync_fixed(table, &backend->layout, name);
}

static int make_all(struct backend *backend, struct ipt_table *table,
		    enum ipt_table_name name, void *user)
{
	ipt_given_read(&backend->given, table, &backend->layout);
	return ipt_sync_all(table, &backend->layout, name, user);
}

static int make_removal(struct backend *backend, struct ipt_table *table,
			enum ipt_table_name name, void *user)
{
	(void)user;
	return ipt_sync_remove(table, &backend->layout, name);
}

/*
 * What the kernel says of a rule, when it is none of what apply() means by these: it
 * lacks the module of a match or target, or does not know the form that we wrote. Said
 * once in a row: LAN hosts cause it.
 */
static int translate(struct backend *backend, const struct ipt_table *table, int error)
{
	if (error == -EAGAIN)
		return error;
	if (!backend->complained)
		log_error("%s -t %s: the kernel refuses our rules (%s)%s",
			  table->family->what, table->name,
			  table->family->ops->strerror(-error),
			  error == -ENOMEM ? ""
					   : ": it needs the modules xt_conntrack "
					     "xt_connmark xt_multiport xt_tcpudp "
					     "xt_nat xt_MASQUERADE");
	backend->complained = true;
	return error == -ENOMEM || error == -EPERM ? error : -EIO;
}

static int try_table(struct backend *backend, enum ipt_table_name name,
		     const struct task *task)
{
	struct ipt_table table;
	int error = ipt_table_open(&table, ipt_family_get(ipt_sync_is_ipv6(name)),
				   ipt_sync_get_table(name));

	if (error == 0)
		error = task->make(backend, &table, name, task->user);
	if (error == 0) {
		error = ipt_table_commit(&table);
		if (error < 0)
			error = translate(backend, &table, error);
		else
			backend->complained = false;
	}
	ipt_table_close(&table);
	return error;
}

static int do_table(struct backend *backend, enum ipt_table_name name,
		    const struct task *task)
{
	int error = -EAGAIN;

	if (name == IPT_MANGLE6 && !backend->has_ipv6)
		return 0;
	if (task->touched && !ipt_touched_has(&backend->touched, name))
		return 0;
	for (unsigned int i = 0; i < TRIES && error == -EAGAIN; i++)
		error = try_table(backend, name, task);
	return error == -EAGAIN ? -EBUSY : error;
}

/*
 * The table that sends packets inwards is the last. *done: how many are committed, also
 * on errors. The lock is held.
 */
static int do_tables(struct backend *backend, const struct task *task,
		     unsigned int *done)
{
	int error = 0;

	ipt_counts_drop(&backend->counts);
	*done = 0;
	while (*done < IPT_TABLE_COUNT && error == 0) {
		error = do_table(backend, (enum ipt_table_name) * done, task);
		if (error == 0)
			++*done;
	}
	return error;
}

/* Back to what the layout says now. Should this fail, the next look finds it. */
static void undo_tables(struct backend *backend, const struct task *task,
			unsigned int done)
{
	for (unsigned int i = 0; i < done; i++)
		if (do_table(backend, (enum ipt_table_name)i, task) < 0)
			log_warning("%s -t %s: cannot undo what could not be finished",
				    ipt_family_get(ipt_sync_is_ipv6(i))->what,
				    ipt_sync_get_table(i));
}

/* What sends packets inwards goes first, and what can go does. Errors: the first. */
static int remove_all(struct backend *backend)
{
	static const enum ipt_table_name order[] = {IPT_NAT4, IPT_MANGLE4, IPT_MANGLE6};
	const struct task task = {.make = make_removal};
	int first;

	/* The line below says it. */
	backend->lock.complained = true;
	first = ipt_lock_wait(&backend->lock, CLOSE_PATIENCE_MS);
	if (first < 0)
		return first;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		int error = do_table(backend, order[i], &task);

		if (first == 0)
			first = error;
	}
	if (first == 0)
		first = ipt_accept_take_back(&backend->accept);
	else
		(void)!ipt_accept_take_back(&backend->accept);
	ipt_lock_release(&backend->lock);
	return first;
}

static int ipt_close(struct backend *backend, bool keep)
{
	int error = 0;

	if (!backend)
		return 0;
	if (!keep)
		error = remove_all(backend);
	if (error < 0)
		log_error("cannot remove our chains (%s): ports stay open; %sstart "
			  "portreeved and stop it again",
			  strerror(-error),
			  error == -EBUSY ? "see who holds the lock of iptables: fuser "
					    "-v /run/xtables.lock; then "
					  : "");
	flows_close(&backend->flows);
	ipt_lock_close(&backend->lock);
	ipt_touched_fini(&backend->touched);
	ipt_counts_drop(&backend->counts);
	ipt_model_fini(&backend->layout.model);
	ipt_look_close(&backend->look);
	if (backend->epoll >= 0)
		(void)close(backend->epoll);
	free(backend);
	return error;
}

static int probe_table(enum ipt_table_name name)
{
	struct ipt_table table;
	int error = ipt_table_open(&table, ipt_family_get(ipt_sync_is_ipv6(name)),
				   ipt_sync_get_table(name));

	ipt_table_close(&table);
	if (error == -EPERM || error == -EACCES)
		log_error("cannot use iptables: CAP_NET_ADMIN and CAP_NET_RAW are "
			  "missing");
	return error;
}

/* Errors: -errno, logged. */
static int probe_ipv4(struct backend *backend)
{
	int error = probe_table(IPT_NAT4);

	if (error == 0)
		error = probe_table(IPT_MANGLE4);
	if (error < 0 && error != -EPERM && error != -EACCES)
		log_error(
			"the kernel has no iptables (%s): load the modules ip_tables, "
			"iptable_nat and iptable_mangle, or set [backend] type = "
			"nftables",
			strerror(-error));
	return error < 0 ? error : ipt_forms_probe(false, &backend->layout.forms);
}

static bool probe_ipv6(void)
{
	struct ipt_forms forms;
	int error = probe_table(IPT_MANGLE6);

	if (error < 0)
		log_warning("the kernel has no ip6tables (%s): there are no IPv6 "
			    "pinholes; load the modules ip6_tables and ip6table_mangle",
			    strerror(-error));
	return error == 0 && ipt_forms_probe(true, &forms) == 0;
}

static int join(struct backend *backend, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(backend->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int open_look(struct backend *backend)
{
	int error;

	backend->look = (struct ipt_look){
		.layout = &backend->layout,
		.has_ipv6 = backend->has_ipv6,
		.given = &backend->given,
		.rank = &backend->rank,
		.accept = &backend->accept,
		.lock = &backend->lock,
	};
	error = ipt_look_open(&backend->look);
	return error < 0 ? error : join(backend, backend->look.timer);
}

static int open_parts(struct backend *backend)
{
	int error = probe_ipv4(backend);

	if (error < 0)
		return error;
	backend->has_ipv6 = probe_ipv6();
	backend->accept = (struct ipt_accept){.layout = &backend->layout,
					      .wanted = &backend->config.accept,
					      .has_ipv6 = backend->has_ipv6};
	ipt_lock_open(&backend->lock, backend->config.lock_fd);
	backend->epoll = epoll_create1(EPOLL_CLOEXEC);
	error = backend->epoll < 0 ? -errno : open_look(backend);
	if (error < 0)
		return error;
	error = flows_open(&backend->flows, backend->config.mark, ipt_judge_get(),
			   &backend->layout);
	if (error == 0)
		return join(backend, backend->flows.timer);
	/* Rules are made without: only that flows are not cut is missing. */
	return error == -ENOMEM ? error : 0;
}

static int ipt_open(const struct backend_config *config,
		    const struct backend_events *events, void *user,
		    struct backend **out)
{
	struct backend *backend = calloc(1, sizeof(*backend));
	int error;

	if (!backend)
		return -ENOMEM;
	backend->config = *config;
	backend->layout.mark = config->mark;
	backend->events = events;
	backend->user = user;
	backend->look.timer = -1;
	backend->epoll = -1;
	backend->flows.timer = -1;
	backend->lock.fd = -1;
	error = open_parts(backend);
	if (error < 0) {
		(void)ipt_close(backend, true);
		return error;
	}
	*out = backend;
	return 0;
}

static int ipt_set_network(struct backend *backend,
			   const struct backend_network *network)
{
	const struct task task = {.make = make_fixed};
	const struct backend_network before = backend->layout.network;
	unsigned int done;
	int error = 0;

	if (backend->ready)
		error = ipt_lock_take(&backend->lock);
	if (error < 0)
		return error;
	backend->layout.network = *network;
	if (backend->ready) {
		error = do_tables(backend, &task, &done);
		if (error < 0) {
			backend->layout.network = before;
			undo_tables(backend, &task, done);
		}
		ipt_lock_release(&backend->lock);
	}
	if (error == 0)
		flows_set_network(&backend->flows, network);
	return error;
}

static int change_model(struct backend *backend, const struct backend_change *change)
{
	struct ipt_model *model = &backend->layout.model;
	bool add = change->kind != CHANGE_DELETE;
	int error = 0;

	if (add && !backend->has_ipv6 && !addr_is_ipv4(&change->after.internal))
		return -EOPNOTSUPP;
	/* The kernel knows nothing of the time left. */
	if (change->kind == CHANGE_REPLACE &&
	    rule_equal(&change->before, &change->after) &&
	    ipt_model_find(model, &change->before))
		return 0;
	if (change->kind != CHANGE_ADD) {
		error = ipt_model_remove(model, &change->before);
		if (error == 0)
			ipt_touched_add(&backend->touched, &change->before);
	}
	if (error == 0 && add) {
		error = ipt_model_add(model, &change->after);
		if (error == 0)
			ipt_touched_add(&backend->touched, &change->after);
	}
	return error;
}

static int write_touched(struct backend *backend)
{
	const struct task task = {.make = make_touched, .touched = true};
	/* The kernel has not what the model was before, but what it was a moment ago.
	 */
	const struct task undo = {.make = make_undone, .touched = true};
	unsigned int done = 0;
	int error = ipt_lock_take(&backend->lock);

	if (error < 0)
		return error;
	error = do_tables(backend, &task, &done);
	if (error < 0) {
		ipt_model_undo(&backend->layout.model);
		undo_tables(backend, &undo, done);
	}
	ipt_lock_release(&backend->lock);
	return error;
}

static int ipt_apply(struct backend *backend, const struct backend_change *changes,
		     size_t count)
{
	int error = 0;

	if (!backend->ready)
		return -ENOTCONN;
	backend->touched.count = 0;
	backend->touched.failed = false;
	for (size_t i = 0; i < count && error == 0; i++)
		error = change_model(backend, &changes[i]);
	if (error == 0 && backend->touched.failed)
		error = -ENOMEM;
	if (error == 0 && backend->touched.count > 0)
		error = write_touched(backend);
	if (error < 0)
		ipt_model_undo(&backend->layout.model);
	else
		ipt_model_commit(&backend->layout.model);
	for (size_t i = 0; i < count && error == 0; i++)
		flows_note_change(&backend->flows, &changes[i],
				  backend->config.keep_flows);
	return error;
}

static int fill_model(struct backend *backend, struct ipt_model *model,
		      const struct rule *rules, size_t count)
{
	int error = 0;

	for (size_t i = 0; i < count && error == 0; i++) {
		if (!backend->has_ipv6 && !addr_is_ipv4(&rules[i].internal))
			continue;
		error = ipt_model_add(model, &rules[i]);
	}
	ipt_model_commit(model);
	return error;
}

static void note_sync(struct backend *backend, const struct ipt_difference *difference,
		      const struct rule *rules, size_t count)
{
	/* Leases may have ended while nobody was here to end their flows. */
	if (!backend->config.keep_flows && (!backend->ready || difference->changed))
		flows_note_orphans(&backend->flows);
	/* While a rule was missing its peers may have got flows that pass it by. */
	for (size_t i = 0; i < count && difference->changed; i++)
		flows_note_begin(&backend->flows, &rules[i]);
}

/* That somebody else holds the lock is said by the first of the two. */
static int take_lock_to_sync(struct backend *backend)
{
	int error = ipt_lock_take(&backend->lock);

	return error == -EBUSY && !backend->ready
		       ? ipt_lock_wait(&backend->lock, START_PATIENCE_MS)
		       : error;
}

/* A lease that lost all its rules lost one lease: what it must have tells. */
static void count_leases(const struct ipt_difference *difference, size_t *added,
			 size_t *removed)
{
	*added = difference->mappings_added;
	*removed = difference->mappings_removed;
	if (*added + *removed == 0) {
		*added = difference->marks_added;
		*removed = difference->marks_removed;
	}
	if (*added + *removed == 0) {
		*added = difference->others_added > 0;
		*removed = *added == 0 && difference->others_removed > 0;
	}
}

static int ipt_sync(struct backend *backend, const struct rule *rules, size_t count,
		    size_t *added, size_t *removed)
{
	struct ipt_difference difference = {0};
	const struct task task = {.make = make_all, .user = &difference};
	struct ipt_model *before = malloc(sizeof(*before));
	struct ipt_model *model = &backend->layout.model;
	unsigned int done = 0;
	int error = before ? 0 : -ENOMEM;

	if (error < 0)
		return error;
	/* Each change reads and writes tables of megabytes. Not at open(): whoever is
	 * opened later might say otherwise. */
	memory_keep();
	*before = *model;
	memset(model, 0, sizeof(*model));
	backend->told = false;
	error = fill_model(backend, model, rules, count);
	if (error == 0)
		error = take_lock_to_sync(backend);
	if (error == 0) {
		error = do_tables(backend, &task, &done);
		if (error == 0)
			ipt_accept_see_to(&backend->accept);
		ipt_lock_release(&backend->lock);
	}
	if (error < 0) {
		ipt_model_fini(model);
		*model = *before;
		free(before);
		return error;
	}
	ipt_model_fini(before);
	free(before);
	note_sync(backend, &difference, rules, count);
	backend->ready = true;
	count_leases(&difference, added, removed);
	return 0;
}

static void ipt_set_accept(struct backend *backend, const struct backend_accept *accept)
{
	if (!backend->ready || ipt_lock_take(&backend->lock) < 0) {
		backend->config.accept = *accept;
		return;
	}
	(void)!ipt_accept_take_back(&backend->accept);
	backend->config.accept = *accept;
	ipt_accept_see_to(&backend->accept);
	ipt_lock_release(&backend->lock);
}

static int ipt_dump(struct backend *backend,
		    int (*visit)(void *user, const struct rule *), void *user)
{
	int result = ipt_dump_visit(&backend->layout, false, visit, user);

	return result == 0 && backend->has_ipv6
		       ? ipt_dump_visit(&backend->layout, true, visit, user)
		       : result;
}

static int ipt_counters(struct backend *backend, const struct rule *rule,
			struct rule_counters *out)
{
	return ipt_counts_get(&backend->counts, &backend->layout, rule, out);
}

static int ipt_fd(struct backend *backend)
{
	return backend->epoll;
}

static unsigned int ipt_get_troubles(const struct backend *backend)
{
	unsigned int troubles = 0;

	if (!backend->has_ipv6)
		troubles |= BACKEND_TROUBLE_NO_IPV6;
	if (backend->rank.lost)
		troubles |= BACKEND_TROUBLE_OVERTAKEN;
	if (ipt_accept_has_failed(&backend->accept))
		troubles |= BACKEND_TROUBLE_ACCEPT;
	return troubles;
}

static void ipt_event(struct backend *backend)
{
	flows_run(&backend->flows);
	if (!ipt_look_is_due(&backend->look) || !backend->ready || backend->told ||
	    ipt_look_run(&backend->look))
		return;
	backend->told = true;
	backend->events->disturbed(backend->user);
}

static void ipt_set_keep_flows(struct backend *backend, bool keep_flows)
{
	backend->config.keep_flows = keep_flows;
}

static bool ipt_has_port(const struct backend *backend, uint8_t protocol, uint16_t port)
{
	return ipt_given_has(&backend->given, protocol, port);
}

static void ipt_get_passage(const struct backend *backend, bool ipv6,
			    struct backend_passage *out)
{
	ipt_accept_get_passage(&backend->accept, ipv6, out);
}

static const struct backend_ops ops = {
	.name = "iptables",
	.has_timeouts = false,
	.open = ipt_open,
	.close = ipt_close,
	.set_keep_flows = ipt_set_keep_flows,
	.set_accept = ipt_set_accept,
	.set_network = ipt_set_network,
	.apply = ipt_apply,
	.sync = ipt_sync,
	.dump = ipt_dump,
	.counters = ipt_counters,
	.fd = ipt_fd,
	.get_troubles = ipt_get_troubles,
	.event = ipt_event,
	.has_port = ipt_has_port,
	.get_passage = ipt_get_passage,
	.remove_leftovers = ipt_leftovers_remove,
};

const struct backend_ops *backend_get_iptables(void)
{
	return &ops;
}
