/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/reload.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "protocols/worker.h"

/* What follows from a key that has another value. */
enum {
	EFFECT_NETWORK = 0x1,
	EFFECT_UPNP = 0x2, /* worker upnp starts again */
	EFFECT_PCP = 0x4,
	EFFECT_POLICY = 0x8,
	EFFECT_FOREIGN = 0x10,
	EFFECT_HOSTS = 0x20,
	EFFECT_LOG = 0x40,
	EFFECT_RESTART = 0x80, /* it keeps its old value */
	/* it is looked at when it matters, or follows any change */
	EFFECT_NOTHING = 0,
};

struct reload_row {
	const char *key;
	size_t offset, size;
	unsigned int effects;
};

#define ROW(key, member, effects)                                                      \
	{                                                                              \
		key, offsetof(struct conf, member),                                    \
			sizeof(((struct conf *)NULL)->member), effects                 \
	}

/* Every key but those of [lan] and the rules. */
static const struct reload_row reload_rows[] = {
	ROW("[wan] interface", wan.interface, EFFECT_NETWORK),
	ROW("[wan] address", wan.address, EFFECT_NETWORK),
	ROW("[wan] address", wan.stun_host, EFFECT_NETWORK),
	ROW("[wan] address", wan.stun_port, EFFECT_NETWORK),
	ROW("[wan] nat", wan.nat, EFFECT_NETWORK | EFFECT_POLICY),
	ROW("[wan] bit-rate-up", wan.bit_rate_up, EFFECT_NETWORK),
	ROW("[wan] bit-rate-down", wan.bit_rate_down, EFFECT_NETWORK),
	ROW("[wan] nat64-prefix", wan.nat64, EFFECT_PCP),
	ROW("[wan] pinholes", wan.pinholes, EFFECT_NETWORK | EFFECT_POLICY),
	ROW("[policy] forbidden-leases", keep_forbidden, EFFECT_POLICY),
	ROW("[backend] type", backend.type, EFFECT_RESTART),
	ROW("[backend] mark", backend.mark, EFFECT_RESTART),
	ROW("[backend] keep-rules", backend.keep_rules, EFFECT_NOTHING),
	ROW("[backend] keep-flows", backend.keep_flows, EFFECT_NOTHING),
	ROW("[backend] integrate", backend.integrate, EFFECT_FOREIGN),
	ROW("[limits] leases-per-client", limits.leases_per_client, EFFECT_NOTHING),
	ROW("[limits] leases-total", limits.leases_total, EFFECT_NOTHING),
	ROW("[limits] requests-per-second", limits.requests_per_second,
	    EFFECT_UPNP | EFFECT_PCP),
	ROW("[limits] lifetime-min", limits.lifetime_min_s, EFFECT_NOTHING),
	ROW("[limits] lifetime-max", limits.lifetime_max_s, EFFECT_NOTHING),
	ROW("[limits] igd-lifetime-max", limits.igd_lifetime_max_s, EFFECT_NOTHING),
	ROW("[limits] filters-per-lease", limits.filters_per_lease, EFFECT_NOTHING),
	ROW("[limits] ports-per-request", limits.ports_per_request, EFFECT_PCP),
	ROW("[global] state-dir", global.state_dir, EFFECT_RESTART),
	ROW("[global] control-socket", global.control_socket, EFFECT_RESTART),
	ROW("[global] http-port", global.http_port, EFFECT_UPNP),
	ROW("[global] ssdp-delay", global.ssdp_strict, EFFECT_UPNP),
	ROW("[global] igd-same-host", global.igd_same_host_mac, EFFECT_HOSTS),
	ROW("[global] host-identity", global.hosts_by_mac, EFFECT_HOSTS),
	ROW("[global] pcp-opcodes", global.pcp_opcodes, EFFECT_PCP),
	ROW("[global] pcp-nonce-check", global.pcp_nonce_relaxed, EFFECT_NOTHING),
	ROW("[global] log-level", global.log_level, EFFECT_LOG),
	ROW("[global] user", global.user, EFFECT_RESTART),
	ROW("[global] net-user", global.net_user, EFFECT_RESTART),
	ROW("[global] friendly-name", global.friendly_name, EFFECT_UPNP),
};
#define ROW_COUNT (sizeof(reload_rows) / sizeof(reload_rows[0]))

/* Equal configurations are equal octets: conf_init() says so. */
static bool is_same(const void *a, const void *b, size_t size)
{
	return memcmp(a, b, size) == 0;
}

static bool row_is_same(const struct reload_row *row, const struct conf *a,
			const struct conf *b)
{
	return is_same((const char *)a + row->offset, (const char *)b + row->offset,
		       row->size);
}

static void diff_add_restart(struct reload_diff *diff, const char *key)
{
	size_t used = strlen(diff->restart);

	(void)snprintf(diff->restart + used, sizeof(diff->restart) - used, "%s%s",
		       used > 0 ? ", " : "", key);
}

static void diff_add(struct reload_diff *diff, unsigned int effects)
{
	diff->changed = true;
	diff->network |= (effects & EFFECT_NETWORK) != 0;
	diff->policy |= (effects & EFFECT_POLICY) != 0;
	diff->foreign |= (effects & EFFECT_FOREIGN) != 0;
	diff->hosts |= (effects & EFFECT_HOSTS) != 0;
	diff->log |= (effects & EFFECT_LOG) != 0;
	if (effects & EFFECT_UPNP)
		diff->workers |= LAN_PROTOCOL_UPNP;
	if (effects & EFFECT_PCP)
		diff->workers |= LAN_PROTOCOL_PCP;
}

static void diff_add_rows(struct reload_diff *diff, const struct conf *now,
			  const struct conf *next)
{
	for (size_t i = 0; i < ROW_COUNT; i++) {
		const struct reload_row *row = &reload_rows[i];

		if (row_is_same(row, now, next))
			continue;
		if (row->effects & EFFECT_RESTART)
			diff_add_restart(diff, row->key);
		else
			diff_add(diff, row->effects);
	}
}

/* Where it stands in the file is no matter. */
static bool rule_is_same(const struct conf_rule *a, const struct conf_rule *b)
{
	struct conf_rule moved = *a;

	moved.line = b->line;
	return is_same(&moved, b, sizeof(moved));
}

static void diff_add_rules(struct reload_diff *diff, const struct conf *now,
			   const struct conf *next)
{
	bool same = now->rule_count == next->rule_count;

	for (size_t i = 0; same && i < next->rule_count; i++)
		same = rule_is_same(&now->rules[i], &next->rules[i]);
	/* a LAN is told whether one of its hosts may ask for another */
	if (!same)
		diff_add(diff, EFFECT_POLICY | EFFECT_NETWORK);
}

/* --- LANs --- */

bool reload_is_left(const struct conf_lan *lan)
{
	return lan->protocols == 0;
}

static struct conf_lan *lan_find(struct conf_lan *lans, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(lans[i].name, name) == 0)
			return &lans[i];
	return NULL;
}

static void lan_leave(struct conf_lan *lan)
{
	char name[sizeof(lan->name)];

	memcpy(name, lan->name, sizeof(name));
	memset(lan, 0, sizeof(*lan));
	memcpy(lan->name, name, sizeof(name));
}

/* A place for a LAN that has none: behind the others, or of one that left, rather long
 * ago than now. There is one: a file names no more LANs than there are places. */
static struct conf_lan *lan_find_place(const struct conf *now, struct conf *next,
				       struct reload_diff *diff)
{
	size_t place = CONF_LANS_MAX;

	if (next->lan_count < CONF_LANS_MAX)
		return &next->lans[next->lan_count++];
	for (size_t i = 0; i < CONF_LANS_MAX; i++) {
		if (!reload_is_left(&next->lans[i]))
			continue;
		if (place == CONF_LANS_MAX || reload_is_left(&now->lans[i]))
			place = i;
	}
	assert(place < CONF_LANS_MAX);
	diff->replaced |= UINT32_C(1) << place;
	return &next->lans[place];
}

/* The LANs of `next` at the places that they have in `now`. */
static void lans_merge(const struct conf *now, struct conf *next,
		       struct reload_diff *diff)
{
	struct conf_lan wanted[CONF_LANS_MAX];
	size_t count = next->lan_count;

	memcpy(wanted, next->lans, sizeof(wanted));
	memcpy(next->lans, now->lans, sizeof(next->lans));
	next->lan_count = now->lan_count;
	for (size_t i = 0; i < next->lan_count; i++) {
		struct conf_lan *lan = &next->lans[i];
		struct conf_lan *stays = lan_find(wanted, count, lan->name);

		if (stays)
			*lan = *stays;
		else
			lan_leave(lan);
	}
	for (size_t i = 0; i < count; i++)
		if (!lan_find(next->lans, next->lan_count, wanted[i].name))
			*lan_find_place(now, next, diff) = wanted[i];
}

static void diff_add_lans(struct reload_diff *diff, const struct conf *now,
			  const struct conf *next)
{
	if (now->lan_count == next->lan_count &&
	    is_same(now->lans, next->lans, sizeof(now->lans)))
		return;
	/* what they speak decides of their leases too */
	diff_add(diff, EFFECT_NETWORK | EFFECT_POLICY);
}

void reload_keep(const struct conf *now, struct conf *next)
{
	for (size_t i = 0; i < ROW_COUNT; i++) {
		const struct reload_row *row = &reload_rows[i];

		if (row->effects & EFFECT_RESTART)
			memcpy((char *)next + row->offset,
			       (const char *)now + row->offset, row->size);
	}
}

void reload_merge(const struct conf *now, struct conf *next, struct reload_diff *out)
{
	struct reload_diff diff = {.changed = false};

	if (next->lan_count > 0)
		lans_merge(now, next, &diff);
	diff_add_rows(&diff, now, next);
	diff_add_rules(&diff, now, next);
	diff_add_lans(&diff, now, next);
	reload_keep(now, next);
	*out = diff;
}
