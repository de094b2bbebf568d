/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_BOOKS_H
#define DAEMON_BOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/backend.h"
#include "daemon/plan.h"
#include "daemon/store.h"
#include "protocols/worker.h"

struct table;
struct event_base;

/**
 * The two places besides the table where leases stand: the kernel and the store. This
 * module turns changes of leases into changes of rules and records, and keeps the three
 * in agreement. It decides nothing.
 */
struct books {
	struct table *table; /* borrowed */
	const struct backend_ops *backend_ops;
	struct backend *backend;
	const struct store_ops *store_ops; /* NULL = nothing is kept on disk */
	struct store *store;
	bool store_failed;   /* the disk is behind; books_mend_store() catches up */
	int64_t sync_due_ms; /* of books_sync_store(); TIME_NEVER = nothing to wait for
			      */
	struct store_meta meta;
	struct store_meta written; /* what the store has of it */
	int64_t written_ms;	   /* since then; with the wall clock of then */
	bool is_written;	   /* once */
	struct ip_addr external;   /* of the WAN; none = unknown */
	char lan_names[LANS_MAX][IF_NAMESIZE];
	struct backend_change *rules; /* scratch, grows */
	struct store_record *records;
	struct store_change *writes;
	size_t scratch_size;
};

/** Owns: frees scratch, closes store and backend. keep, errors: backend_ops.close. */
int books_fini(struct books *books, bool keep);

/** The rule a lease means now. */
struct rule books_get_rule(const struct books *books, const struct lease *lease,
			   int64_t now_ms);

/** Make the changes in the kernel, all or none. Errors: -errno. */
int books_apply(struct books *books, const struct lease_change *changes, size_t count,
		int64_t now_ms) __attribute__((warn_unused_result));

/**
 * Write the changes to the store. A failure does not refuse the lease: it is logged,
 * and store_failed stays true until books_mend_store() succeeds.
 */
void books_write(struct books *books, const struct lease_change *changes, size_t count,
		 const struct store_time *at);

/** Write what is kept beside the leases; a failure is handled as books_write() does. */
void books_write_meta(struct books *books, const struct store_time *at);

/** What was written shall survive a power failure too, if that is due. */
void books_sync_store(struct books *books, int64_t now_ms);

/** Write everything anew after a failure. True when the disk agrees again. */
bool books_mend_store(struct books *books, const struct store_time *at);

/** Leases that have a rule: an entry that is not enabled has none. */
size_t books_count_rules(const struct books *books);

/** Make the kernel hold what the table says. Errors: -errno. */
int books_sync(struct books *books, int64_t now_ms, size_t *added, size_t *removed)
	__attribute__((warn_unused_result));

#endif
