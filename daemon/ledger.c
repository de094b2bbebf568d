/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/ledger_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "backends/backend.h"
#include "base/rate.h"
#include "daemon/conntrack.h"
#include "daemon/firewall.h"
#include "daemon/ports.h"
#include "daemon/sockets.h"
#include "daemon/table.h"

/* Ids are handed out from a stretch that the store knows of, so none comes twice. */
#define ID_STRETCH 4096
/* More than can be granted between two syncs: ids that a power failure forgot. */
#define ID_SKIP (1 << 20)
/* Lease lines in ten seconds: a LAN host can cause them. */
#define LEASE_LINES_MAX 200
/* After a loss of leases, how long clients have to ask for their old ports (NP-36). */
#define CAUTION_MS INT64_C(60000)
/* UDA 2.0 §1.2.2: 31 bits. */
#define BOOT_ID_MAX 0x7fffffff
/* Epochs start at 1 s: Tailscale takes 0 for "no answer" (CL-8). */
#define EPOCH_START_MS 1000

const char *lease_event_get_name(enum lease_event event)
{
	static const char *const names[LEASE_EVENT_COUNT] = {
		[LEASE_EVENT_ADDED] = "added",	   [LEASE_EVENT_RENEWED] = "renewed",
		[LEASE_EVENT_CHANGED] = "changed", [LEASE_EVENT_DELETED] = "deleted",
		[LEASE_EVENT_EXPIRED] = "expired",
	};

	return names[event];
}

const char *lease_end_get_name(enum lease_end end)
{
	static const char *const names[LEASE_END_COUNT] = {
		[LEASE_END_CLIENT] = "client", [LEASE_END_TIME] = "time",
		[LEASE_END_OWNER] = "owner",   [LEASE_END_ADDRESS] = "address",
		[LEASE_END_POLICY] = "policy", [LEASE_END_HOST] = "host",
		[LEASE_END_MOVED] = "moved",
	};

	return names[end];
}

/* --- opening --- */

static void ledger_disturbed(void *user)
{
	struct ledger *ledger = user;

	ledger->own_failure = false;
	ledger->events->disturbed(ledger->user);
}

static void ledger_quiet(void *user, bool on)
{
	const struct ledger *ledger = user;

	if (ledger->events->quiet)
		ledger->events->quiet(ledger->user, on);
}

static const struct backend_events ledger_backend_events = {
	.disturbed = ledger_disturbed, .quiet = ledger_quiet};

static uint16_t ledger_find_lan(const struct ledger *ledger, const char *name)
{
	uint16_t lan = 0;

	while (lan < LANS_MAX && strcmp(ledger->books.lan_names[lan], name) != 0)
		lan++;
	return lan; /* LANS_MAX: that LAN is no more */
}

static int ledger_restore_one(void *user, const struct store_record *record)
{
	struct ledger *ledger = user;
	struct lease lease = record->lease;

	lease.lan = ledger_find_lan(ledger, record->lan_name);
	/* A record that contradicts another is a loss, not a reason to stop. */
	if (table_insert(ledger->table, &lease) != 0)
		ledger->figures.store_damaged = true;
	if (lease.id >= ledger->next_id)
		ledger->next_id = lease.id + 1;
	return 0;
}

void ledger_follow_lans(struct ledger *ledger, const struct network *network,
			uint32_t lost)
{
	ledger->lans_lost = lost;
	for (size_t lan = 0; lan < LANS_MAX; lan++) {
		char *name = ledger->books.lan_names[lan];
		bool known = lan < network->lan_count;

		memset(name, 0, IF_NAMESIZE);
		if (known)
			memcpy(name, network->lans[lan].name, IF_NAMESIZE);
		ledger->lan_protocols[lan] = known ? network->lans[lan].protocols : 0;
	}
}

static void ledger_new_identity(struct store_meta *meta)
{
	if (getrandom(meta->uuid, sizeof(meta->uuid), 0) != (ssize_t)sizeof(meta->uuid))
		log_warning("no random numbers for the gateway's UUID");
	/* RFC 9562 §5.4: version 4, variant 10 */
	meta->uuid[6] = (uint8_t)((meta->uuid[6] & 0x0f) | 0x40);
	meta->uuid[8] = (uint8_t)((meta->uuid[8] & 0x3f) | 0x80);
}

/* Never 0, which is none. */
static uint32_t boot_id_get_next(uint32_t boot_id)
{
	return boot_id <= BOOT_ID_MAX - BOOT_ID_STEP ? boot_id + BOOT_ID_STEP : 1;
}

static void ledger_begin_epoch(struct ledger *ledger, bool lost,
			       const struct store_time *at)
{
	struct store_meta *meta = &ledger->books.meta;

	if (lost) {
		meta->epoch_origin_ms = at->now_ms - EPOCH_START_MS;
		ledger->cautious_until_ms = at->now_ms + CAUTION_MS;
	}
	/* BOOTID grows at every start, also without a store: seconds do (SSDP-15). */
	meta->boot_id = meta->boot_id > 0
				? boot_id_get_next(meta->boot_id)
				: (uint32_t)(at->wall_ms / 1000) & BOOT_ID_MAX;
	if (meta->next_id > ledger->next_id)
		ledger->next_id = meta->next_id;
	if (ledger->next_id == 0)
		ledger->next_id = 1;
	meta->next_id = ledger->next_id + ID_STRETCH;
	ledger->figures.epoch_origin_ms = meta->epoch_origin_ms;
}

/* What clients were told comes back; *lost when that may not be all of it. */
static int ledger_load_store(struct ledger *ledger, const struct store_time *at,
			     bool *lost)
{
	struct books *books = &ledger->books;
	struct store_loaded loaded = {.lost = 0};
	int error = books->store_ops->load(books->store, at, &loaded,
					   ledger_restore_one, ledger);

	*lost = error != 0 || loaded.uncertain;
	if (error != 0)
		return error;
	books->meta = loaded.meta;
	if (loaded.lost > 0) {
		log_warning("the lease store held %zu records that are no leases",
			    loaded.lost);
		ledger->figures.store_damaged = true;
	}
	if (loaded.uncertain) {
		log_warning("the lease store was not closed before the machine went "
			    "down, or could not be written: its last changes may be "
			    "missing; a new epoch makes clients ask again");
		books->meta.next_id += ID_SKIP;
	}
	return ledger_withdraw(ledger, at);
}

/* The id stretch and BOOTID must be on the disk before they are used. */
static int ledger_write_meta(struct ledger *ledger, const struct store_time *at)
{
	struct books *books = &ledger->books;
	int error = books->store_ops->write(books->store, at, NULL, 0, &books->meta);

	return error == 0 ? books->store_ops->sync(books->store) : error;
}

/* Errors: only where another daemon has the store; else we go on without it. */
static int ledger_open_store(struct ledger *ledger, const struct store_time *at)
{
	struct books *books = &ledger->books;
	struct ledger_figures *figures = &ledger->figures;
	bool lost = true;
	int error = -ENOENT;

	if (ledger->conf->global.state_dir[0] != '\0') {
		figures->store_on = true;
		books->store_ops = store_get_lmdb();
		error = books->store_ops->open(ledger->conf->global.state_dir,
					       &books->store, &figures->store_damaged);
		figures->store_failed = error != 0;
		if (error == -EBUSY)
			return error;
	}
	if (error == 0)
		error = ledger_load_store(ledger, at, &lost);
	if (books->meta.boot_id == 0) {
		ledger_new_identity(&books->meta);
		lost = true;
	}
	ledger_begin_epoch(ledger, lost || figures->store_damaged, at);
	if (error == 0)
		error = ledger_write_meta(ledger, at);
	books->store_failed = books->store && error != 0;
	return 0;
}

static int ledger_free(struct ledger *ledger, bool keep_rules)
{
	int error = books_fini(&ledger->books, keep_rules);

	plan_fini(&ledger->plan);
	plan_fini(&ledger->group);
	rate_free(ledger->rate);
	sockets_free(ledger->sockets);
	conntrack_close(ledger->conntrack);
	table_free(ledger->table);
	free(ledger->pinhole_counts);
	free(ledger);
	return error;
}

int ledger_open(const struct ledger_setup *setup, struct ledger **out)
{
	struct ledger *ledger = calloc(1, sizeof(*ledger));
	struct backend_config config = {.mark = setup->conf->backend.mark,
					.keep_flows = setup->conf->backend.keep_flows,
					.lock_fd = firewall_find_lock()};
	int error = -ENOMEM;

	firewall_get_accept(setup->conf, &config.accept);

	if (!ledger)
		return -ENOMEM;
	ledger->conf = setup->conf;
	ledger->events = setup->events;
	ledger->user = setup->user;
	ledger->books.backend_ops = setup->backend;
	ledger->table = table_new();
	ledger->books.table = ledger->table;
	ledger->books.sync_due_ms = TIME_NEVER;
	ledger->log_limit.lines_max = LEASE_LINES_MAX;
	ledger->rate = rate_new(setup->conf->limits.requests_per_second);
	ledger->sockets = sockets_new();
	ledger_follow_lans(ledger, setup->network, 0);
	if (ledger->table && ledger->rate)
		error = setup->backend->open(&config, &ledger_backend_events, ledger,
					     &ledger->books.backend);
	if (error == 0)
		error = ledger_open_store(ledger, &setup->at);
	if (error != 0) {
		(void)ledger_free(ledger, true);
		return error;
	}
	ledger_open_flows(ledger);
	*out = ledger;
	return 0;
}

int ledger_close(struct ledger *ledger)
{
	if (!ledger)
		return 0;
	/* what we never set up is not ours to take away */
	return ledger_free(ledger,
			   ledger->conf->backend.keep_rules || !ledger->network_set);
}

void ledger_follow_conf(struct ledger *ledger)
{
	const struct books *books = &ledger->books;
	struct backend_accept accept;

	rate_set(ledger->rate, ledger->conf->limits.requests_per_second);
	if (books->backend_ops->set_keep_flows)
		books->backend_ops->set_keep_flows(books->backend,
						   ledger->conf->backend.keep_flows);
	firewall_get_accept(ledger->conf, &accept);
	if (books->backend_ops->set_accept)
		books->backend_ops->set_accept(books->backend, &accept);
}

/* --- following the network and the kernel --- */

static_assert(BACKEND_LAN_NETWORKS_MAX == LAN_ADDRESSES_MAX,
	      "every network of a LAN has its place");

static void ledger_fill_lan(const struct lan_info *lan, struct backend_network *out)
{
	size_t place = out->lan_count++;

	memcpy(out->lans[place], lan->name, IF_NAMESIZE);
	out->lan_network_counts[place] = (uint8_t)lan->network_count;
	memcpy(out->lan_networks[place], lan->networks,
	       lan->network_count * sizeof(lan->networks[0]));
}

static void ledger_fill_network(const struct network *network,
				struct backend_network *out)
{
	memset(out, 0, sizeof(*out));
	if (network->wan.present)
		memcpy(out->wan, network->wan.name, sizeof(out->wan));
	for (size_t i = 0; i < network->lan_count && i < BACKEND_LANS_MAX; i++)
		if (network->lans[i].ifindex != 0)
			ledger_fill_lan(&network->lans[i], out);
	if (!addr_is_none(&network->wan.address))
		out->addresses[out->address_count++] = network->wan.address;
}

/* Have the kernel take the network as it is now, and the rules that follow from it. */
static int ledger_apply_network(struct ledger *ledger, int64_t now_ms)
{
	struct books *books = &ledger->books;
	size_t added = 0, removed = 0;
	int error = books->backend_ops->set_network(books->backend, &ledger->network);

	/* Where our table is gone, sync makes it anew; then it takes the network. */
	if (error == 0 || ledger->network_set)
		error = books_sync(books, now_ms, &added, &removed);
	if (error == 0)
		error = books->backend_ops->set_network(books->backend,
							&ledger->network);
	ledger->network_behind = error != 0;
	ledger->figures.backend_failed = error != 0;
	if (error != 0)
		return error;
	if (!ledger->network_set && table_get_count(ledger->table) > 0)
		log_notice("leases restored count=%zu added=%zu removed=%zu",
			   table_get_count(ledger->table), added, removed);
	ledger->network_set = true;
	return 0;
}

int ledger_set_network(struct ledger *ledger, const struct network *network,
		       int64_t now_ms)
{
	struct books *books = &ledger->books;
	bool moved = !addr_equal(&books->external, &network->wan.address);
	unsigned int held_back;
	int error;

	ledger_follow_lans(ledger, network, 0);
	ledger_fill_network(network, &ledger->network);
	ledger->wan_ifindex = network->wan.ifindex;
	ledger->wan_address = network->wan.address;
	ledger->told_external = network->wan.external;
	books->external = network->wan.address;
	if (moved || !ledger->network_set || ledger->network_behind)
		error = ledger_apply_network(ledger, now_ms);
	else
		error = books->backend_ops->set_network(books->backend,
							&ledger->network);
	if (error == 0)
		return 0;
	ledger->network_behind = true;
	if (log_limit_pass(&ledger->refused_limit, now_ms, &held_back))
		log_error("the firewall does not take our interfaces: %s",
			  strerror(-error));
	return error;
}

/* IGD-40: true when that is news. */
static bool meta_follow_uptime(struct store_meta *meta, const struct ip_addr *external,
			       int64_t now_ms)
{
	int64_t before_ms = meta->up_since_ms;

	if (addr_is_none(external))
		meta->up_since_ms = 0;
	else if (before_ms == 0 || !addr_equal(external, &meta->external))
		meta->up_since_ms = now_ms;
	return meta->up_since_ms != before_ms;
}

bool ledger_follow_external(struct ledger *ledger, const struct ip_addr *external,
			    const struct store_time *at)
{
	struct store_meta *meta = &ledger->books.meta;
	char before[ADDR_TEXT_SIZE], now[ADDR_TEXT_SIZE];
	bool first = addr_is_none(&meta->external);
	bool news = meta_follow_uptime(meta, external, at->now_ms);

	if (addr_is_none(external) || addr_equal(external, &meta->external)) {
		if (news)
			books_write_meta(&ledger->books, at);
		return false;
	}
	if (!first) {
		log_notice("the external address was %s and is %s: a new epoch begins",
			   addr_format(&meta->external, before),
			   addr_format(external, now));
		meta->epoch_origin_ms = at->now_ms - EPOCH_START_MS;
		ledger->figures.epoch_origin_ms = meta->epoch_origin_ms;
	}
	meta->external = *external;
	books_write_meta(&ledger->books, at);
	return !first;
}

bool ledger_heal(struct ledger *ledger, const struct store_time *at)
{
	size_t added = 0, removed = 0;
	unsigned int held_back;
	int error = books_sync(&ledger->books, at->now_ms, &added, &removed);

	if (!ledger->own_failure && !ledger->network_behind)
		ledger_report_heal(ledger, added, removed, at->now_ms);
	if (error == 0 && ledger->network_behind)
		error = ledger_apply_network(ledger, at->now_ms);
	if (error == 0)
		ledger->own_failure = false;
	ledger->figures.backend_failed = error != 0;
	if (error != 0 && log_limit_pass(&ledger->heal_limit, at->now_ms, &held_back))
		log_error("cannot put the firewall right: %s", strerror(-error));
	return error == 0;
}

void ledger_renew_boot_id(struct ledger *ledger, const struct store_time *at)
{
	struct books *books = &ledger->books;

	books->meta.boot_id = boot_id_get_next(books->meta.boot_id);
	books_write_meta(books, at);
	/* on the disk before anybody is told; a power failure would have it told twice
	 */
	if (books->sync_due_ms != TIME_NEVER)
		books->sync_due_ms = at->now_ms;
	books_sync_store(books, at->now_ms);
}

bool ledger_mend_store(struct ledger *ledger, const struct store_time *at)
{
	return books_mend_store(&ledger->books, at);
}

int ledger_get_fd(const struct ledger *ledger)
{
	return ledger->books.backend_ops->fd(ledger->books.backend);
}

void ledger_backend_event(struct ledger *ledger)
{
	ledger->books.backend_ops->event(ledger->books.backend);
}

/* --- looking --- */

enum lease_end ledger_get_end(const struct ledger *ledger)
{
	return ledger->end;
}

const struct table *ledger_get_table(const struct ledger *ledger)
{
	return ledger->table;
}

const struct ledger_figures *ledger_get_figures(struct ledger *ledger)
{
	ledger->figures.store_failed =
		ledger->figures.store_on &&
		(!ledger->books.store || ledger->books.store_failed);
	ledger->figures.troubles = ledger_get_troubles(ledger);
	return &ledger->figures;
}

const struct store_meta *ledger_get_meta(const struct ledger *ledger)
{
	return &ledger->books.meta;
}

const uint32_t *ledger_get_update_ids(const struct ledger *ledger)
{
	return ledger->update_ids;
}

const struct backend_network *ledger_get_network(const struct ledger *ledger)
{
	return &ledger->network;
}

const char *ledger_get_backend_name(const struct ledger *ledger)
{
	return ledger->books.backend_ops->name;
}

size_t ledger_count_rules(const struct ledger *ledger)
{
	return ledger->network_set ? books_count_rules(&ledger->books) : 0;
}

struct ip_addr ledger_get_external(const struct ledger *ledger,
				   const struct lease *lease)
{
	return addr_is_ipv4(&lease->internal) ? ledger->told_external : lease->internal;
}

void ledger_get_traffic(struct ledger *ledger, const struct lease *lease,
			int64_t now_ms, struct rule_counters *out)
{
	struct rule rule = books_get_rule(&ledger->books, lease, now_ms);

	*out = (struct rule_counters){0};
	/* a rule that is not there has carried nothing */
	if (lease->enabled &&
	    ledger->books.backend_ops->counters(ledger->books.backend, &rule, out) != 0)
		*out = (struct rule_counters){0};
}

const char *ledger_get_lan_name(const struct ledger *ledger, uint16_t lan)
{
	/* a place that is kept for a LAN that left is none */
	return lan < LANS_MAX && ledger->lan_protocols[lan] != 0
		       ? ledger->books.lan_names[lan]
		       : "";
}
