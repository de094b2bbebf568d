/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* What no two rules may share, as in the kernel: external endpoint, protocol, peer. */
struct slot_key {
	struct ip_addr external;
	struct ip_addr remote; /* of the first filter; none = open to all */
	uint16_t port;
	uint16_t protocol;
};

struct slot {
	struct slot_key key;
	struct rule rule;
	UT_hash_handle hh;
};

struct backend {
	struct slot *slots;
	struct backend_network network;
	unsigned int fault_in; /* calls of apply until one fails; 0 = none */
	int fault;
};

static struct slot_key make_key(const struct rule *rule)
{
	struct slot_key key;

	memset(&key, 0, sizeof(key));
	key.external = rule->external;
	key.port = rule->external_port;
	key.protocol = rule->protocol;
	if (rule->filter_count > 0)
		key.remote = rule->filters[0].prefix.addr;
	return key;
}

static struct slot *find(const struct backend *backend, const struct rule *rule)
{
	struct slot_key key = make_key(rule);
	struct slot *slot;

	HASH_FIND(hh, backend->slots, &key, sizeof(key), slot);
	return slot;
}

static void remove_slot(struct backend *backend, struct slot *slot)
{
	if (!backend->slots)
		return;
	HASH_DEL(backend->slots, slot);
	free(slot);
}

/* Free a whole table; its slots stay linked until each is freed. */
static void free_slots(struct slot *slots)
{
	struct slot *slot = slots;

	HASH_CLEAR(hh, slots);
	while (slot) {
		struct slot *next = slot->hh.next;

		free(slot);
		slot = next;
	}
}

static int add_rule(struct backend *backend, const struct rule *rule)
{
	struct slot *slot;

	if (find(backend, rule))
		return -EEXIST;
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	slot->key = make_key(rule);
	slot->rule = *rule;
	HASH_ADD(hh, backend->slots, key, sizeof(slot->key), slot);
	return 0;
}

static int memory_open(const struct backend_config *config,
		       const struct backend_events *events, void *user,
		       struct backend **out)
{
	struct backend *backend = calloc(1, sizeof(*backend));

	(void)config;
	(void)events;
	(void)user;
	if (!backend)
		return -ENOMEM;
	*out = backend;
	return 0;
}

static void memory_close(struct backend *backend, bool keep)
{
	(void)keep;
	if (!backend)
		return;
	free_slots(backend->slots);
	free(backend);
}

static int memory_set_network(struct backend *backend,
			      const struct backend_network *network)
{
	backend->network = *network;
	return 0;
}

/* A rule that is gone already is what a DELETE wanted, as with nftables. */
static int delete_rule(struct backend *backend, const struct rule *rule)
{
	struct slot *slot = find(backend, rule);

	if (slot && rule_equal(&slot->rule, rule))
		remove_slot(backend, slot);
	return 0;
}

static int make_change(struct backend *backend, const struct backend_change *change)
{
	int error = 0;

	switch (change->kind) {
	case CHANGE_ADD:
		return add_rule(backend, &change->after);
	case CHANGE_REPLACE:
		error = delete_rule(backend, &change->before);
		return error < 0 ? error : add_rule(backend, &change->after);
	case CHANGE_DELETE:
		return delete_rule(backend, &change->before);
	}
	return -EINVAL;
}

/* Rules at the external endpoints that changes touch, as they were before. */
struct undo {
	struct rule *rules;
	size_t count;
};

static bool was_saved(const struct undo *undo, const struct rule *rule)
{
	struct slot_key key = make_key(rule);

	for (size_t i = 0; i < undo->count; i++) {
		struct slot_key other = make_key(&undo->rules[i]);

		if (memcmp(&key, &other, sizeof(key)) == 0)
			return true;
	}
	return false;
}

static void save(const struct backend *backend, const struct rule *rule,
		 struct undo *undo)
{
	const struct slot *slot = find(backend, rule);

	if (slot && !was_saved(undo, rule))
		undo->rules[undo->count++] = slot->rule;
}

static void drop(struct backend *backend, const struct rule *rule)
{
	struct slot *slot = find(backend, rule);

	if (slot)
		remove_slot(backend, slot);
}

static int change_all(struct backend *backend, const struct backend_change *changes,
		      size_t count, struct undo *undo)
{
	int error = 0;
	size_t done = 0;

	while (done < count && error == 0) {
		const struct backend_change *change = &changes[done++];

		if (change->kind != CHANGE_ADD)
			save(backend, &change->before, undo);
		if (change->kind != CHANGE_DELETE)
			save(backend, &change->after, undo);
		error = make_change(backend, change);
	}
	if (error == 0)
		return 0;
	for (size_t i = 0; i < done; i++) {
		if (changes[i].kind != CHANGE_ADD)
			drop(backend, &changes[i].before);
		if (changes[i].kind != CHANGE_DELETE)
			drop(backend, &changes[i].after);
	}
	return error;
}

static int memory_apply(struct backend *backend, const struct backend_change *changes,
			size_t count)
{
	struct undo undo = {0};
	int error;

	if (backend->fault_in > 0 && --backend->fault_in == 0)
		return -backend->fault;
	undo.rules = calloc(2 * count + 1, sizeof(*undo.rules));
	if (!undo.rules)
		return -ENOMEM;
	error = change_all(backend, changes, count, &undo);
	for (size_t i = 0; error < 0 && i < undo.count; i++)
		if (add_rule(backend, &undo.rules[i]) < 0)
			abort();
	free(undo.rules);
	return error;
}

static int memory_sync(struct backend *backend, const struct rule *rules, size_t count,
		       size_t *added, size_t *removed)
{
	struct slot *old = backend->slots;
	const struct slot *slot;
	size_t kept = 0;
	int error = 0;

	backend->slots = NULL;
	for (size_t i = 0; i < count && error == 0; i++)
		error = add_rule(backend, &rules[i]);
	if (error < 0) {
		free_slots(backend->slots);
		backend->slots = old;
		return error;
	}
	*removed = 0;
	for (slot = old; slot; slot = slot->hh.next) {
		const struct slot *now = find(backend, &slot->rule);

		if (now && rule_equal(&now->rule, &slot->rule))
			kept++;
		else
			++*removed;
	}
	free_slots(old);
	*added = count - kept;
	return 0;
}

static int memory_dump(struct backend *backend,
		       int (*visit)(void *user, const struct rule *), void *user)
{
	const struct slot *slot;

	for (slot = backend->slots; slot; slot = slot->hh.next) {
		int result = visit(user, &slot->rule);

		if (result != 0)
			return result;
	}
	return 0;
}

static int memory_counters(struct backend *backend, const struct rule *rule,
			   struct rule_counters *out)
{
	const struct slot *slot = find(backend, rule);

	if (!slot || !rule_equal(&slot->rule, rule))
		return -ENOENT;
	*out = (struct rule_counters){0};
	return 0;
}

static int memory_fd(struct backend *backend)
{
	(void)backend;
	return -1;
}

static void memory_event(struct backend *backend)
{
	(void)backend;
}

void memory_plan_fault(struct backend *backend, unsigned int nth_apply, int error)
{
	backend->fault_in = nth_apply;
	backend->fault = error;
}

size_t memory_get_count(const struct backend *backend)
{
	return HASH_COUNT(backend->slots);
}

static const struct backend_ops ops = {
	.name = "memory",
	.has_timeouts = false,
	.open = memory_open,
	.close = memory_close,
	.set_network = memory_set_network,
	.apply = memory_apply,
	.sync = memory_sync,
	.dump = memory_dump,
	.counters = memory_counters,
	.fd = memory_fd,
	.event = memory_event,
};

const struct backend_ops *backend_get_memory(void)
{
	return &ops;
}
