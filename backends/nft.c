/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

/* Looks at the table, when somebody else is changing it too. */
#define SYNC_TRIES 5

struct backend {
	struct backend_config config;
	const struct backend_events *events;
	void *user;
	struct nft_socket socket;
	struct nft_batch batch;
	struct nft_elements scratch;  /* of a batch in the making */
	struct nft_elements deferred; /* what leaves after the batch */
	bool defers;		      /* the batch in the making may leave some to it */
	bool moves;		      /* peers of the rule in the making may */
	struct nft_claims claims;
	struct nft_skeleton skeleton;
	struct nft_watch watch;
	struct nft_quiet quiet;
	struct nft_live live;
	struct flows flows;
	struct backend_network network;
	int epoll;  /* the descriptors of watch, quiet and flows, as one */
	bool ready; /* sync() has been here: the table is ours */
	bool told;  /* the owner knows that it must sync() */
};

static int nft_close(struct backend *backend, bool keep)
{
	int error = 0;

	if (!backend)
		return 0;
	backend->socket.generation = 0;
	if (!keep) {
		nft_batch_begin(&backend->batch, &backend->socket);
		nft_batch_drop_table(&backend->batch);
		error = nft_batch_send(&backend->batch, &backend->socket);
		if (error < 0)
			log_error("cannot remove table inet %s: %s", NFT_TABLE,
				  strerror(-error));
	}
	if (backend->epoll >= 0)
		close(backend->epoll);
	flows_close(&backend->flows);
	nft_quiet_close(&backend->quiet);
	nft_watch_close(&backend->watch);
	nft_batch_fini(&backend->batch);
	nft_elements_fini(&backend->scratch);
	nft_elements_fini(&backend->deferred);
	nft_claims_fini(&backend->claims);
	nft_socket_close(&backend->socket);
	free(backend);
	return error;
}

static int join(struct backend *backend, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(backend->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int open_parts(struct backend *backend)
{
	int error = nft_socket_open(&backend->socket);

	if (error == 0)
		error = nft_socket_probe(&backend->socket);
	backend->skeleton.mark = backend->config.mark;
	if (error == 0)
		error = nft_skeleton_probe(&backend->skeleton);
	if (error == 0)
		error = nft_watch_open(&backend->watch, backend->socket.port_id);
	if (error == 0)
		error = nft_quiet_open(&backend->quiet, &backend->socket,
				       &backend->watch, backend->events, backend->user);
	if (error == 0)
		error = flows_open(&backend->flows, backend->config.mark,
				   nft_live_get_judge(), &backend->live);
	if (error < 0)
		return error;
	backend->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (backend->epoll < 0)
		return -errno;
	error = join(backend, nft_watch_get_fd(&backend->watch));
	if (error == 0)
		error = join(backend, backend->quiet.timer);
	return error < 0 ? error : join(backend, backend->flows.timer);
}

static int nft_open(const struct backend_config *config,
		    const struct backend_events *events, void *user,
		    struct backend **out)
{
	struct backend *backend = calloc(1, sizeof(*backend));
	int error;

	if (!backend)
		return -ENOMEM;
	backend->config = *config;
	backend->events = events;
	backend->user = user;
	backend->epoll = -1;
	backend->flows.timer = -1;
	backend->quiet.timer = -1;
	backend->live.nft = &backend->socket;
	error = open_parts(backend);
	if (error < 0) {
		nft_close(backend, true);
		return error;
	}
	*out = backend;
	return 0;
}

/* Somebody else has changed something: once, until sync() was here. */
static void tell_disturbed(struct backend *backend)
{
	if (backend->told || !backend->ready)
		return;
	backend->told = true;
	backend->events->disturbed(backend->user);
}

static int nft_set_network(struct backend *backend,
			   const struct backend_network *network)
{
	struct nft_element elements[NFT_NETWORK_MAX];
	size_t count = nft_element_from_network(network, elements);
	int error = 0;

	if (nft_quiet_end(&backend->quiet))
		tell_disturbed(backend);
	if (backend->ready) {
		nft_batch_begin(&backend->batch, &backend->socket);
		nft_batch_flush(&backend->batch, NFT_WAN_IF);
		nft_batch_flush(&backend->batch, NFT_LAN_IF);
		nft_batch_flush(&backend->batch, NFT_WAN4);
		for (size_t i = 0; i < count; i++)
			nft_batch_element(&backend->batch, &backend->socket, NFT_OP_PUT,
					  &elements[i]);
		error = nft_batch_send(&backend->batch, &backend->socket);
	}
	if (error < 0)
		return error;
	backend->network = *network;
	flows_set_network(&backend->flows, network);
	return 0;
}

static int append_rule(struct nft_elements *elements, const struct rule *rule)
{
	struct nft_element made[NFT_ELEMENTS_MAX];
	int count = nft_element_from_rule(rule, made);
	int error = count < 0 ? count : 0;

	for (int i = 0; i < count && error == 0; i++)
		error = nft_elements_append(elements, &made[i]);
	return error;
}

static int release_all(struct backend *backend, const struct nft_element *elements,
		       size_t count)
{
	int error = 0;

	for (size_t i = 0; i < count && error == 0; i++)
		error = nft_claims_remove(&backend->claims, &elements[i]);
	return error;
}

static int claim_all(struct backend *backend, const struct nft_element *elements,
		     size_t count)
{
	int64_t now_ms = clock_now_ms();
	int error = 0;

	for (size_t i = 0; i < count && error == 0; i++)
		error = nft_claims_add(&backend->claims, &elements[i], now_ms);
	return error;
}

static int put_all(struct backend *backend, const struct rule *rule,
		   enum nft_operation operation)
{
	struct nft_element elements[NFT_ELEMENTS_MAX];
	int count = nft_element_from_rule(rule, elements);
	int error;

	if (count < 0)
		return count;
	error = operation == NFT_OP_REMOVE
			? release_all(backend, elements, (size_t)count)
			: claim_all(backend, elements, (size_t)count);
	for (int i = 0; i < count && error == 0; i++)
		nft_batch_element(&backend->batch, &backend->socket, operation,
				  &elements[i]);
	return error;
}

static const struct nft_element *find_key(const struct nft_element *elements, int count,
					  const struct nft_element *wanted)
{
	for (int i = 0; i < count; i++)
		if (nft_element_same_key(&elements[i], wanted))
			return &elements[i];
	return NULL;
}

/*
 * When a transaction ends the kernel switches its hashes first and its intervals some
 * 100 us later, and a packet asks them one by one. Peers that move from a hash to
 * intervals, or to another hash, would be turned away meanwhile: so what admits them by
 * a hash goes by a second transaction. Intervals cannot, for new ones may overlap them.
 */
static bool leaves_later(const struct backend *backend, enum nft_set set)
{
	return backend->defers && backend->moves && !nft_set_get_shape(set)->interval &&
	       set != NFT_SNAT4 && set != NFT_HELD4;
}

/* What `before` and `after` have in common stays, so that it is never absent. */
static int put_difference(struct backend *backend, const struct nft_element *old,
			  int old_count, const struct nft_element *new, int new_count)
{
	/* The kernel cannot give a timeout in place to what was made without one. */
	bool updatable = old[0].timeout_ms > 0;
	bool stays = old[0].timeout_ms == 0 && new[0].timeout_ms == 0;
	struct nft_batch *batch = &backend->batch;
	int error = 0;

	for (int i = 0; i < old_count && error == 0; i++) {
		const struct nft_element *same = find_key(new, new_count, &old[i]);

		if (!same && leaves_later(backend, old[i].set))
			error = nft_elements_append(&backend->deferred, &old[i]);
		else if (!same || !nft_element_equal(same, &old[i]) ||
			 !(updatable || stays))
			nft_batch_element(batch, &backend->socket, NFT_OP_REMOVE,
					  &old[i]);
	}
	for (int i = 0; i < new_count; i++) {
		const struct nft_element *same = find_key(old, old_count, &new[i]);
		enum nft_operation operation = NFT_OP_ADD;

		if (same && nft_element_equal(same, &new[i])) {
			if (updatable)
				operation = NFT_OP_UPDATE;
			else if (stays)
				operation = NFT_OP_PUT;
		}
		nft_batch_element(batch, &backend->socket, operation, &new[i]);
	}
	return error;
}

static int put_replacement(struct backend *backend, const struct rule *before,
			   const struct rule *after)
{
	struct nft_element old[NFT_ELEMENTS_MAX];
	struct nft_element new[NFT_ELEMENTS_MAX];
	int old_count = nft_element_from_rule(before, old);
	int new_count = nft_element_from_rule(after, new);
	int error;

	if (old_count < 0 || new_count < 0)
		return old_count < 0 ? old_count : new_count;
	backend->moves = before->filter_count + after->filter_count > 0;
	error = release_all(backend, old, (size_t)old_count);
	if (error == 0)
		error = claim_all(backend, new, (size_t)new_count);
	if (error == 0)
		error = put_difference(backend, old, old_count, new, new_count);
	return error;
}

static int put_change(struct backend *backend, const struct backend_change *change)
{
	switch (change->kind) {
	case CHANGE_ADD:
		return put_all(backend, &change->after, NFT_OP_ADD);
	case CHANGE_REPLACE:
		return put_replacement(backend, &change->before, &change->after);
	case CHANGE_DELETE:
		return put_all(backend, &change->before, NFT_OP_REMOVE);
	}
	return -EINVAL;
}

/*
 * Where no change depends on another, elements of one set can share messages: a third
 * faster. An element that occurs twice fails or not, whatever the order.
 */
static bool is_uniform(const struct backend_change *changes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (changes[i].kind != changes[0].kind)
			return false;
	return count > 1 && changes[0].kind != CHANGE_REPLACE;
}

static int put_by_set(struct backend *backend, const struct backend_change *changes,
		      size_t count)
{
	bool adding = changes[0].kind == CHANGE_ADD;
	struct nft_elements *all = &backend->scratch;
	int error = 0;

	all->count = 0;
	for (size_t i = 0; i < count && error == 0; i++)
		error = append_rule(all,
				    adding ? &changes[i].after : &changes[i].before);
	if (error == 0)
		error = adding ? claim_all(backend, all->items, all->count)
			       : release_all(backend, all->items, all->count);
	if (error < 0)
		return error;
	for (unsigned int set = NFT_DNAT4; set < NFT_SET_COUNT; set++)
		for (size_t i = 0; i < all->count; i++)
			if (all->items[i].set == set)
				nft_batch_element(&backend->batch, &backend->socket,
						  adding ? NFT_OP_ADD : NFT_OP_REMOVE,
						  &all->items[i]);
	return 0;
}

static int put_changes(struct backend *backend, const struct backend_change *changes,
		       size_t count)
{
	int error = 0;

	if (is_uniform(changes, count))
		return put_by_set(backend, changes, count);
	for (size_t i = 0; i < count && error == 0; i++)
		error = put_change(backend, &changes[i]);
	return error;
}

static int send_changes(struct backend *backend, const struct backend_change *changes,
			size_t count, bool defers)
{
	int error;

	backend->defers = defers;
	backend->deferred.count = 0;
	nft_batch_begin(&backend->batch, &backend->socket);
	error = put_changes(backend, changes, count);
	if (error == 0)
		error = nft_batch_send(&backend->batch, &backend->socket);
	/* What kernels have said of a key that is there with other data. */
	if (error == -EBUSY || error == -ENOTEMPTY)
		error = -EEXIST;
	if (error < 0)
		nft_claims_undo(&backend->claims);
	else
		nft_claims_commit(&backend->claims);
	return error;
}

static int send_deferred(struct backend *backend)
{
	int error;

	nft_batch_begin(&backend->batch, &backend->socket);
	for (size_t i = 0; i < backend->deferred.count; i++)
		nft_batch_element(&backend->batch, &backend->socket, NFT_OP_REMOVE,
				  &backend->deferred.items[i]);
	error = nft_batch_send(&backend->batch, &backend->socket);
	/* It is not the changes that this speaks of. */
	return error == -EEXIST ? -EBUSY : error;
}

static int nft_apply(struct backend *backend, const struct backend_change *changes,
		     size_t count)
{
	int error;

	if (!backend->ready)
		return -ENOTCONN;
	nft_quiet_begin(&backend->quiet, count, clock_now_ms());
	error = send_changes(backend, changes, count, true);
	/* A later change of the batch may want the key of what was to leave later. */
	if (error == -EEXIST && backend->deferred.count > 0)
		error = send_changes(backend, changes, count, false);
	/* Should this fail, what is too much goes with the sync() that it leads to. */
	if (error == 0 && backend->deferred.count > 0)
		error = send_deferred(backend);
	if (nft_quiet_check(&backend->quiet))
		tell_disturbed(backend);
	for (size_t i = 0; i < count && error == 0; i++)
		flows_note_change(&backend->flows, &changes[i],
				  backend->config.keep_flows);
	return error;
}

static int collect_wanted(const struct backend *backend, const struct rule *rules,
			  size_t count, struct nft_elements *wanted)
{
	struct nft_element elements[NFT_NETWORK_MAX];
	int made = (int)nft_element_from_network(&backend->network, elements);
	int error = 0;

	for (int i = 0; i < made && error == 0; i++)
		error = nft_elements_append(wanted, &elements[i]);
	for (size_t i = 0; i < count && error == 0; i++)
		error = append_rule(wanted, &rules[i]);
	return error < 0 ? error : nft_elements_append_narrow(wanted);
}

static int ensure_skeleton(struct backend *backend, const struct nft_elements *wanted,
			   bool *made)
{
	enum nft_skeleton_state state;
	int error = nft_skeleton_check(&backend->skeleton, &backend->socket, &state);

	if (error < 0 || state == NFT_SKELETON_OURS)
		return error;
	*made = true;
	/* (Later it is a stranger's work, of which our owner tells.) */
	if (state == NFT_SKELETON_OTHER && !backend->ready)
		log_notice(
			"table inet %s is not as this version makes it: making it anew",
			NFT_TABLE);
	error = nft_skeleton_load(&backend->skeleton, &backend->socket,
				  state == NFT_SKELETON_OTHER ? wanted : NULL);
	/* libnftables has a socket of its own: what it did looks like a stranger's
	 * work. */
	nft_watch_drain(&backend->watch);
	return error;
}

/* made: the skeleton was not there, or another one */
static int sync_once(struct backend *backend, struct nft_elements *wanted, bool *made,
		     struct nft_difference *difference)
{
	struct nft_elements there = {0};
	int error = ensure_skeleton(backend, wanted, made);

	if (error == 0)
		error = nft_elements_dump_all(&there, &backend->socket, NFT_WAN_IF);
	if (error == 0)
		error = nft_difference_apply(&backend->socket, &backend->batch, wanted,
					     &there, difference);
	nft_elements_fini(&there);
	return error;
}

/* Somebody changed the table between our look at it and our change, or an answer was
 * lost. */
static bool is_passing(int error)
{
	return error == -EBUSY || error == -EEXIST || error == -ENOENT ||
	       error == -EINTR || error == -ENOBUFS || error == -EIO;
}

/* What sync() has put there is the kernel's now, overlapping or not. */
static int renew_claims(struct backend *backend, const struct nft_elements *wanted)
{
	int64_t now_ms = clock_now_ms();
	int error = 0;

	nft_claims_fini(&backend->claims);
	for (size_t i = 0; i < wanted->count && error != -ENOMEM; i++)
		error = nft_claims_add(&backend->claims, &wanted->items[i], now_ms);
	nft_claims_commit(&backend->claims);
	return error == -ENOMEM ? error : 0;
}

static int nft_sync(struct backend *backend, const struct rule *rules, size_t count,
		    size_t *added, size_t *removed)
{
	struct nft_elements wanted = {0};
	struct nft_difference difference = {0};
	bool made = false;
	int error;

	/* What happened up to here is in the dumps to come. */
	(void)nft_quiet_end(&backend->quiet);
	nft_watch_drain(&backend->watch);
	backend->told = false;
	error = collect_wanted(backend, rules, count, &wanted);
	if (error == 0) {
		nft_elements_sort(&wanted);
		error = sync_once(backend, &wanted, &made, &difference);
	}
	for (unsigned int i = 1; i < SYNC_TRIES && is_passing(error); i++)
		error = sync_once(backend, &wanted, &made, &difference);
	if (error == 0)
		error = renew_claims(backend, &wanted);
	nft_elements_fini(&wanted);
	if (error < 0)
		return error;
	/* Nothing forwarded without these, whatever became of the mappings. */
	if (backend->ready && (made || difference.network > 0) &&
	    difference.added + difference.removed == 0)
		difference.added = 1;
	/* Leases may have ended while nobody was here to end their flows. */
	if (!backend->config.keep_flows &&
	    (!backend->ready || difference.added + difference.removed > 0))
		flows_note_orphans(&backend->flows);
	backend->ready = true;
	/* While a rule was missing its peers may have got flows that pass it by. */
	for (size_t i = 0; i < count && difference.added > 0; i++)
		flows_note_begin(&backend->flows, &rules[i]);
	*added = difference.added;
	*removed = difference.removed;
	return 0;
}

static struct ip_addr get_external(const struct backend_network *network)
{
	for (size_t i = 0; i < network->address_count; i++)
		if (addr_is_ipv4(&network->addresses[i]))
			return network->addresses[i];
	return (struct ip_addr){0};
}

static int nft_dump(struct backend *backend,
		    int (*visit)(void *user, const struct rule *), void *user)
{
	struct nft_elements there = {0};
	struct ip_addr external = get_external(&backend->network);
	int error = nft_elements_dump_all(&there, &backend->socket, NFT_DNAT4);

	if (error == 0) {
		nft_elements_sort(&there);
		error = nft_rules_visit(&there, &external, visit, user);
	}
	nft_elements_fini(&there);
	/* No table, no rules. */
	return error == -ENOENT && !backend->ready ? 0 : error;
}

static int nft_counters(struct backend *backend, const struct rule *rule,
			struct rule_counters *out)
{
	struct nft_element elements[NFT_ELEMENTS_MAX];
	struct rule_counters sum = {0};
	int count = nft_element_from_rule(rule, elements);

	if (count < 0)
		return count;
	for (int i = 0; i < count; i++) {
		int error;

		if (elements[i].set < NFT_COUNT4)
			continue;
		error = nft_elements_get(&backend->socket, &elements[i]);
		if (error < 0)
			return error;
		sum.packets += elements[i].counters.packets;
		sum.octets += elements[i].counters.octets;
	}
	*out = sum;
	return 0;
}

static int nft_fd(struct backend *backend)
{
	return backend->epoll;
}

static void nft_event(struct backend *backend)
{
	flows_run(&backend->flows);
	if (nft_quiet_run(&backend->quiet))
		tell_disturbed(backend);
	if (nft_watch_drain(&backend->watch))
		tell_disturbed(backend);
}

static void nft_set_keep_flows(struct backend *backend, bool keep_flows)
{
	backend->config.keep_flows = keep_flows;
}

static const struct backend_ops ops = {
	.name = "nftables",
	.has_timeouts = true,
	.open = nft_open,
	.close = nft_close,
	.set_keep_flows = nft_set_keep_flows,
	.set_network = nft_set_network,
	.apply = nft_apply,
	.sync = nft_sync,
	.dump = nft_dump,
	.counters = nft_counters,
	.fd = nft_fd,
	.event = nft_event,
	.remove_leftovers = nft_leftovers_remove,
};

const struct backend_ops *backend_get_nftables(void)
{
	return &ops;
}
