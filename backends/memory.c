/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

/* Rules of one external endpoint and protocol: no two of them admit the same peer. */
struct place_key {
	struct ip_addr external;
	uint16_t port;
	uint16_t protocol;
};

struct held {
	struct rule rule;
	struct held *next;
};

struct place {
	struct place_key key;
	struct held *rules;
	UT_hash_handle hh;
};

struct backend {
	struct place *places;
	size_t count;
	struct backend_network network;
	unsigned int fault_in; /* calls of apply until one fails; 0 = none */
	int fault;
};

static struct place *find_place(const struct backend *backend, const struct rule *rule)
{
	struct place_key key;
	struct place *place;

	memset(&key, 0, sizeof(key));
	key.external = rule->external;
	key.port = rule->external_port;
	key.protocol = rule->protocol;
	HASH_FIND(hh, backend->places, &key, sizeof(key), place);
	return place;
}

static struct place *make_place(struct backend *backend, const struct rule *rule)
{
	struct place *place = find_place(backend, rule);

	if (place)
		return place;
	place = calloc(1, sizeof(*place));
	if (!place)
		return NULL;
	place->key.external = rule->external;
	place->key.port = rule->external_port;
	place->key.protocol = rule->protocol;
	HASH_ADD(hh, backend->places, key, sizeof(place->key), place);
	return place;
}

static void drop_place(struct backend *backend, struct place *place)
{
	if (!backend->places)
		return;
	HASH_DEL(backend->places, place);
	free(place);
}

/* Where the pointer to this very rule is, or NULL. */
static struct held **find(const struct backend *backend, const struct rule *rule)
{
	struct place *place = find_place(backend, rule);
	struct held **at = place ? &place->rules : NULL;

	for (; at && *at; at = &(*at)->next)
		if (rule_equal(&(*at)->rule, rule))
			return at;
	return NULL;
}

static void link_rule(struct backend *backend, struct place *place, struct held *held)
{
	held->next = place->rules;
	place->rules = held;
	backend->count++;
}

static struct held *unlink_rule(struct backend *backend, struct held **at)
{
	struct held *held = *at;

	*at = held->next;
	backend->count--;
	return held;
}

static void free_places(struct backend *backend)
{
	struct place *place = backend->places;

	HASH_CLEAR(hh, backend->places);
	backend->count = 0;
	while (place) {
		struct place *next = place->hh.next;

		while (place->rules) {
			struct held *held = place->rules;

			place->rules = held->next;
			free(held);
		}
		free(place);
		place = next;
	}
}

static int add_rule(struct backend *backend, const struct rule *rule)
{
	struct place *place = make_place(backend, rule);
	struct held *held;

	for (held = place ? place->rules : NULL; held; held = held->next)
		if (rule_overlaps(&held->rule, rule))
			return -EEXIST;
	held = calloc(1, sizeof(*held));
	if (!place || !held) {
		free(held);
		return -ENOMEM;
	}
	held->rule = *rule;
	link_rule(backend, place, held);
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

static int memory_close(struct backend *backend, bool keep)
{
	(void)keep;
	if (!backend)
		return 0;
	free_places(backend);
	free(backend);
	return 0;
}

static int memory_set_network(struct backend *backend,
			      const struct backend_network *network)
{
	backend->network = *network;
	return 0;
}

struct step {
	struct rule rule;
	struct held *removed; /* not freed yet; NULL: the rule was added */
};

/* What a call of apply has done so far, to be undone from its end. */
struct journal {
	struct step *steps;
	size_t count;
};

/* A rule that is gone already is what a DELETE wanted, as with nftables. */
static void delete_rule(struct backend *backend, const struct rule *rule,
			struct journal *journal)
{
	struct held **at = find(backend, rule);

	if (at)
		journal->steps[journal->count++] = (struct step){
			.rule = *rule, .removed = unlink_rule(backend, at)};
}

static int make_change(struct backend *backend, const struct backend_change *change,
		       struct journal *journal)
{
	int error;

	if (change->kind != CHANGE_ADD)
		delete_rule(backend, &change->before, journal);
	if (change->kind == CHANGE_DELETE)
		return 0;
	error = add_rule(backend, &change->after);
	if (error == 0)
		journal->steps[journal->count++] = (struct step){.rule = change->after};
	return error;
}

static void undo(struct backend *backend, const struct journal *journal)
{
	for (size_t i = journal->count; i > 0; i--) {
		const struct step *step = &journal->steps[i - 1];
		struct held *held = step->removed;
		struct held **at = held ? NULL : find(backend, &step->rule);

		if (held)
			link_rule(backend, find_place(backend, &step->rule), held);
		else if (at)
			free(unlink_rule(backend, at));
	}
}

/* Only at the end: an undo needs places that are empty for a while. */
static void drop_empty(struct backend *backend, const struct journal *journal)
{
	for (size_t i = 0; i < journal->count; i++) {
		struct place *place = find_place(backend, &journal->steps[i].rule);

		if (place && !place->rules)
			drop_place(backend, place);
	}
}

static int memory_apply(struct backend *backend, const struct backend_change *changes,
			size_t count)
{
	struct journal journal = {0};
	int error = 0;

	if (backend->fault_in > 0 && --backend->fault_in == 0)
		return -backend->fault;
	journal.steps = calloc(2 * count + 1, sizeof(*journal.steps));
	if (!journal.steps)
		return -ENOMEM;
	for (size_t i = 0; i < count && error == 0; i++)
		error = make_change(backend, &changes[i], &journal);
	if (error < 0)
		undo(backend, &journal);
	drop_empty(backend, &journal);
	for (size_t i = 0; i < journal.count && error == 0; i++)
		free(journal.steps[i].removed);
	free(journal.steps);
	return error;
}

/* How many rules of `rules` are in `backend`, too. */
static size_t count_common(const struct backend *backend, const struct backend *other)
{
	size_t common = 0;

	for (const struct place *place = other->places; place; place = place->hh.next)
		for (const struct held *held = place->rules; held; held = held->next)
			common += find(backend, &held->rule) != NULL;
	return common;
}

static int memory_sync(struct backend *backend, const struct rule *rules, size_t count,
		       size_t *added, size_t *removed)
{
	struct backend wanted = {0};
	size_t kept;
	int error = 0;

	for (size_t i = 0; i < count && error == 0; i++)
		error = add_rule(&wanted, &rules[i]);
	if (error < 0) {
		free_places(&wanted);
		return error;
	}
	kept = count_common(backend, &wanted);
	*added = count - kept;
	*removed = backend->count - kept;
	free_places(backend);
	backend->places = wanted.places;
	backend->count = count;
	return 0;
}

static int memory_dump(struct backend *backend,
		       int (*visit)(void *user, const struct rule *), void *user)
{
	int result = 0;

	for (const struct place *place = backend->places; place && result == 0;
	     place = place->hh.next)
		for (const struct held *held = place->rules; held && result == 0;
		     held = held->next)
			result = visit(user, &held->rule);
	return result;
}

static int memory_counters(struct backend *backend, const struct rule *rule,
			   struct rule_counters *out)
{
	if (!find(backend, rule))
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
	return backend->count;
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
