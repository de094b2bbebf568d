/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/books.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/table.h"

/*
 * The kernel's own timeout ends a little after the lease: we take the rule away at its
 * end, and the kernel does so by itself only when we are not there.
 */
#define KERNEL_SLACK_MS 1000
/* What is kept beside the leases is written with them, if that is so long ago. */
#define META_AGAIN_MS 1000

int books_fini(struct books *books, bool keep)
{
	int error = 0;

	if (books->backend)
		error = books->backend_ops->close(books->backend, keep);
	if (books->store)
		books->store_ops->close(books->store);
	free(books->rules);
	free(books->records);
	free(books->writes);
	return error;
}

static bool books_reserve(struct books *books, size_t count)
{
	void *rules, *records, *writes;

	if (count <= books->scratch_size)
		return true;
	rules = reallocarray(books->rules, count, sizeof(*books->rules));
	books->rules = rules ? rules : books->rules;
	records = reallocarray(books->records, count, sizeof(*books->records));
	books->records = records ? records : books->records;
	writes = reallocarray(books->writes, count, sizeof(*books->writes));
	books->writes = writes ? writes : books->writes;
	if (!rules || !records || !writes)
		return false;
	books->scratch_size = count;
	return true;
}

static void books_fill_filters(const struct lease *lease, struct rule *rule)
{
	static_assert(RULE_FILTERS_MAX >= REQUEST_FILTERS_MAX,
		      "a rule must say what a lease does");

	if (lease_has_peer(lease)) {
		bool any = addr_is_none(&lease->remote);

		/* PEER's, or a pinhole that is as narrow: beside wider ones (V6FW-2) */
		rule->flow = !any && lease->remote_port != 0;
		rule->filter_count = 1;
		rule->filters[0] =
			(struct rule_filter){.prefix = {lease->remote, any ? 0 : 128},
					     .port = lease->remote_port};
		return;
	}
	rule->filter_count = lease->filter_count;
	for (uint8_t i = 0; i < lease->filter_count; i++)
		rule->filters[i] =
			(struct rule_filter){.prefix = lease->filters[i].prefix,
					     .port = lease->filters[i].port};
}

struct rule books_get_rule(const struct books *books, const struct lease *lease,
			   int64_t now_ms)
{
	bool ipv4 = addr_is_ipv4(&lease->internal);
	struct rule rule = {
		.protocol = lease->protocol,
		.outbound = lease->outbound && ipv4 && !addr_is_none(&books->external),
		.external_port = lease->external_port,
		.internal_port = lease->internal_port,
		.external = ipv4 ? books->external : lease->internal,
		.internal = lease->internal,
	};

	books_fill_filters(lease, &rule);
	if (lease->expires_ms != TIME_NEVER) {
		int64_t left_ms = lease->expires_ms - now_ms;

		rule.timeout_ms =
			(uint64_t)(left_ms > 0 ? left_ms : 0) + KERNEL_SLACK_MS;
	}
	return rule;
}

/* False when the change does not concern the kernel: an entry that is not enabled. */
static bool books_fill_rule(const struct books *books,
			    const struct lease_change *change, int64_t now_ms,
			    struct backend_change *out)
{
	bool before = change->kind != LEASE_ADD && change->before.enabled;
	bool after = change->kind != LEASE_REMOVE && change->after.enabled;

	if (before)
		out->before = books_get_rule(books, &change->before, now_ms);
	if (after)
		out->after = books_get_rule(books, &change->after, now_ms);
	if (before && after)
		out->kind = CHANGE_REPLACE;
	else
		out->kind = before ? CHANGE_DELETE : CHANGE_ADD;
	return before || after;
}

int books_apply(struct books *books, const struct lease_change *changes, size_t count,
		int64_t now_ms)
{
	size_t used = 0;

	if (!books_reserve(books, count))
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (books_fill_rule(books, &changes[i], now_ms, &books->rules[used]))
			used++;
	return used > 0 ? books->backend_ops->apply(books->backend, books->rules, used)
			: 0;
}

static void books_fill_record(const struct books *books, const struct lease *lease,
			      struct store_record *record)
{
	record->lease = *lease;
	memset(record->lan_name, 0, sizeof(record->lan_name));
	if (lease->lan < LANS_MAX)
		memcpy(record->lan_name, books->lan_names[lease->lan],
		       sizeof(record->lan_name));
}

/* The first change after a sync says when the next one is: none when nothing changes.
 */
static void books_plan_sync(struct books *books, int64_t now_ms)
{
	if (books->sync_due_ms == TIME_NEVER)
		books->sync_due_ms = now_ms + STORE_SYNC_MS;
}

static void books_fail_store(struct books *books, int error)
{
	if (!books->store_failed)
		log_error(
			"cannot write the lease store: %s; leases go on, but would not "
			"survive a restart until this is mended",
			strerror(-error));
	books->store_failed = true;
}

static bool meta_equals(const struct store_meta *a, const struct store_meta *b)
{
	return a->next_id == b->next_id && a->boot_id == b->boot_id &&
	       memcmp(a->uuid, b->uuid, sizeof(a->uuid)) == 0 &&
	       a->epoch_origin_ms == b->epoch_origin_ms &&
	       addr_equal(&a->external, &b->external) &&
	       a->up_since_ms == b->up_since_ms;
}

/*
 * What is to be written of it beside leases; NULL = nothing is new. Written again now
 * and then all the same, for times are converted after a reboot by the wall clock of
 * when they were written, which may have been set since.
 */
static const struct store_meta *books_get_meta(const struct books *books,
					       const struct store_time *at)
{
	bool same = books->is_written &&
		    at->now_ms - books->written_ms < META_AGAIN_MS &&
		    meta_equals(&books->written, &books->meta);

	return same ? NULL : &books->meta;
}

static void books_note_meta(struct books *books, const struct store_meta *meta,
			    int error, const struct store_time *at)
{
	if (error != 0) {
		books->is_written = false;
	} else if (meta) {
		books->written = *meta;
		books->written_ms = at->now_ms;
		books->is_written = true;
	}
}

void books_write(struct books *books, const struct lease_change *changes, size_t count,
		 const struct store_time *at)
{
	const struct store_meta *meta = books_get_meta(books, at);
	int error;

	if (!books->store || books->store_failed || count == 0)
		return;
	if (!books_reserve(books, count)) {
		books_fail_store(books, -ENOMEM);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		bool removed = changes[i].kind == LEASE_REMOVE;
		const struct lease *lease =
			removed ? &changes[i].before : &changes[i].after;

		if (!removed)
			books_fill_record(books, lease, &books->records[i]);
		books->writes[i] = (struct store_change){
			.kind = removed ? STORE_REMOVE : STORE_PUT,
			.id = lease->id,
			.record = removed ? NULL : &books->records[i],
		};
	}
	error = books->store_ops->write(books->store, at, books->writes, count, meta);
	books_note_meta(books, meta, error, at);
	if (error != 0)
		books_fail_store(books, error);
	else
		books_plan_sync(books, at->now_ms);
}

void books_write_meta(struct books *books, const struct store_time *at)
{
	int error;

	if (!books->store || books->store_failed)
		return;
	error = books->store_ops->write(books->store, at, NULL, 0, &books->meta);
	books_note_meta(books, &books->meta, error, at);
	if (error != 0)
		books_fail_store(books, error);
	else
		books_plan_sync(books, at->now_ms);
}

void books_sync_store(struct books *books, int64_t now_ms)
{
	int error;

	if (books->sync_due_ms > now_ms)
		return;
	books->sync_due_ms = TIME_NEVER;
	error = books->store_ops->sync(books->store);
	if (error != 0)
		books_fail_store(books, error);
}

bool books_mend_store(struct books *books, const struct store_time *at)
{
	size_t count = table_get_count(books->table);
	struct store_record *records;
	size_t used = 0;
	int error;

	if (!books->store || !books->store_failed)
		return true;
	/* not the scratch, which would stay as large as the table */
	records = calloc(count > 0 ? count : 1, sizeof(*records));
	if (!records)
		return false;
	for (const struct lease *lease = table_get_next(books->table, NULL); lease;
	     lease = table_get_next(books->table, lease))
		books_fill_record(books, lease, &records[used++]);
	error = books->store_ops->replace(books->store, at, records, used,
					  &books->meta);
	free(records);
	if (error != 0)
		return false;
	books->store_failed = false;
	books_plan_sync(books, at->now_ms);
	log_notice("the lease store is written again, leases=%zu", used);
	return true;
}

size_t books_count_rules(const struct books *books)
{
	return table_get_enabled_count(books->table);
}

int books_sync(struct books *books, int64_t now_ms, size_t *added, size_t *removed)
{
	size_t count = table_get_count(books->table);
	struct rule *rules = calloc(count > 0 ? count : 1, sizeof(*rules));
	size_t used = 0;
	int error;

	if (!rules)
		return -ENOMEM;
	for (const struct lease *lease = table_get_next(books->table, NULL); lease;
	     lease = table_get_next(books->table, lease))
		if (lease->enabled)
			rules[used++] = books_get_rule(books, lease, now_ms);
	error = books->backend_ops->sync(books->backend, rules, used, added, removed);
	free(rules);
	return error;
}
