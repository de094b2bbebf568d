/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/report.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "backends/backend.h"
#include "base/varlink.h"
#include "daemon/outside.h"
#include "daemon/plan.h"
#include "daemon/report_foreign.h"
#include "daemon/report_nat.h"
#include "daemon/table.h"

#define TIME_TEXT_SIZE 32

/* Instants of this boot as RFC 3339 UTC text. */
static const char *report_format_time(int64_t at_ms, const struct store_time *at,
				      char text[TIME_TEXT_SIZE])
{
	time_t wall_s = (time_t)((at->wall_ms + (at_ms - at->now_ms)) / 1000);
	struct tm utc;

	text[0] = '\0';
	if (gmtime_r(&wall_s, &utc))
		(void)strftime(text, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &utc);
	return text;
}

static bool report_add_addr(struct json_object *object, const char *name,
			    const struct ip_addr *addr)
{
	char text[ADDR_TEXT_SIZE];

	return varlink_add_string(object, name,
				  addr_is_none(addr) ? NULL : addr_format(addr, text));
}

static bool report_add_end(struct json_object *object, const struct lease *lease,
			   const struct store_time *at)
{
	char text[TIME_TEXT_SIZE];

	if (lease->expires_ms == TIME_NEVER)
		return varlink_add_null(object, "lifetime_s") &&
		       varlink_add_null(object, "expires");
	return varlink_add_int(object, "lifetime_s",
			       lease_get_left_s(lease, at->now_ms)) &&
	       varlink_add_string(object, "expires",
				  report_format_time(lease->expires_ms, at, text));
}

static struct json_object *report_filter_new(const struct remote_filter *filter)
{
	struct json_object *object = json_object_new_object();
	char text[PREFIX_TEXT_SIZE];

	if (object &&
	    varlink_add_string(object, "prefix",
			       prefix_format(&filter->prefix, text)) &&
	    varlink_add_int(object, "port", filter->port))
		return object;
	json_object_put(object);
	return NULL;
}

static struct json_object *report_filters_new(const struct lease *lease)
{
	struct json_object *array = json_object_new_array();

	for (uint8_t i = 0; array && i < lease->filter_count; i++) {
		struct json_object *filter = report_filter_new(&lease->filters[i]);

		if (!filter || json_object_array_add(array, filter) != 0) {
			json_object_put(filter);
			json_object_put(array);
			return NULL;
		}
	}
	return array;
}

/* Who may send, and what it is a part of. */
static bool report_add_peers(struct json_object *object, const struct lease *lease)
{
	return report_add_addr(object, "remote", &lease->remote) &&
	       varlink_add_int(object, "remote_port", lease->remote_port) &&
	       varlink_add(object, "filters", report_filters_new(lease)) &&
	       varlink_add_int(object, "set_first", lease->set_first) &&
	       varlink_add_int(object, "set_count", lease->set_count) &&
	       varlink_add_int(object, "pinhole", lease->pinhole);
}

static bool report_add_ends(struct json_object *object, struct ledger *ledger,
			    const struct lease *lease)
{
	struct ip_addr external = ledger_get_external(ledger, lease);

	return varlink_add_int(object, "id", (int64_t)lease->id) &&
	       varlink_add_string(object, "kind",
				  lease_is_peer(lease) ? "flow" : "mapping") &&
	       varlink_add_string(object, "protocol",
				  lease->protocol == IPPROTO_TCP ? "tcp" : "udp") &&
	       report_add_addr(object, "external_address", &external) &&
	       varlink_add_int(object, "external_port", lease->external_port) &&
	       report_add_addr(object, "internal_address", &lease->internal) &&
	       varlink_add_int(object, "internal_port", lease->internal_port);
}

/* The first lease of an internal endpoint has its way out, if any has. */
static bool report_add_nat(struct json_object *object, struct ledger *ledger,
			   const struct lease *lease)
{
	struct ip_addr external = ledger_get_external(ledger, lease);
	const struct lease *out = lease;
	struct nat_behaviour nat;

	if (!lease->outbound)
		out = table_get_by_internal(ledger_get_table(ledger), &lease->internal,
					    lease->protocol, lease->internal_port);
	nat = report_nat_get(lease, out && out->outbound ? out->external_port : 0,
			     &external);
	return varlink_add(object, "nat", report_nat_new(&nat));
}

struct json_object *report_lease_new(struct ledger *ledger, const struct lease *lease,
				     const struct store_time *at)
{
	struct json_object *object = json_object_new_object();
	struct rule_counters traffic;
	char created[TIME_TEXT_SIZE], mac[LEASE_MAC_TEXT_SIZE];

	if (!object)
		return NULL;
	ledger_get_traffic(ledger, lease, at->now_ms, &traffic);
	if (report_add_ends(object, ledger, lease) && report_add_peers(object, lease) &&
	    report_add_end(object, lease, at) &&
	    varlink_add_string(object, "created",
			       report_format_time(lease->created_ms, at, created)) &&
	    varlink_add_string(object, "origin", origin_get_name(lease->origin)) &&
	    report_add_addr(object, "client", &lease->client) &&
	    varlink_add_string(object, "mac", lease_format_mac(lease, mac)) &&
	    varlink_add_string(object, "lan",
			       ledger_get_lan_name(ledger, lease->lan)) &&
	    varlink_add_string(object, "description", lease_get_description(lease)) &&
	    varlink_add_bool(object, "enabled", lease->enabled) &&
	    report_add_nat(object, ledger, lease) &&
	    varlink_add_int(object, "bytes", (int64_t)traffic.octets) &&
	    varlink_add_int(object, "packets", (int64_t)traffic.packets))
		return object;
	json_object_put(object);
	return NULL;
}

/* --- status --- */

static struct json_object *status_backend_new(const struct report_status *status)
{
	const struct ledger_figures *figures = ledger_get_figures(status->ledger);
	struct json_object *object = json_object_new_object();

	if (object &&
	    varlink_add_string(object, "name",
			       ledger_get_backend_name(status->ledger)) &&
	    varlink_add_int(object, "rules",
			    (int64_t)ledger_count_rules(status->ledger)) &&
	    varlink_add_int(object, "resyncs", (int64_t)figures->heals))
		return object;
	json_object_put(object);
	return NULL;
}

/* Null where no server is to be asked. Errors: false. */
static bool status_add_stun(struct json_object *object, const struct outside *outside,
			    const struct store_time *at)
{
	struct json_object *stun;
	char since[TIME_TEXT_SIZE];

	if (outside->state == OUTSIDE_OFF)
		return varlink_add_null(object, "stun");
	stun = json_object_new_object();
	if (stun && varlink_add_string(stun, "server", outside->host) &&
	    varlink_add_int(stun, "port", outside->port) &&
	    varlink_add_string(stun, "state", outside_get_state_name(outside->state)) &&
	    varlink_add_string(stun, "since",
			       report_format_time(outside->since_ms, at, since)) &&
	    varlink_add_string(
		    stun, "text",
		    outside->state == OUTSIDE_KNOWN ? "" : outside_get_reason(outside)))
		return varlink_add(object, "stun", stun);
	json_object_put(stun);
	return false;
}

static struct json_object *status_wan_new(const struct report_status *status,
					  const struct store_time *at)
{
	const struct wan_choice *wan = &status->network->wan;
	struct json_object *object = json_object_new_object();

	if (object && varlink_add_string(object, "interface", wan->name) &&
	    varlink_add_bool(object, "up", wan->up && wan->carrier) &&
	    report_add_addr(object, "address", &wan->address) &&
	    report_add_addr(object, "external_address", &wan->external) &&
	    varlink_add_string(object, "source", wan_source_get_name(wan->source)) &&
	    varlink_add_bool(object, "private", wan->private_address) &&
	    status_add_stun(object, status->outside, at))
		return object;
	json_object_put(object);
	return NULL;
}

/* Owns: takes item; NULL is a failure. */
static bool array_take(struct json_object *array, struct json_object *item)
{
	if (item && json_object_array_add(array, item) == 0)
		return true;
	json_object_put(item);
	return false;
}

static bool array_add_string(struct json_object *array, const char *text)
{
	return array_take(array, json_object_new_string(text));
}

static struct json_object *lan_addresses_new(const struct lan_info *lan)
{
	struct json_object *array = json_object_new_array();
	char text[ADDR_TEXT_SIZE];
	bool ok = array != NULL;

	for (uint32_t i = 0; ok && i < lan->address_count; i++)
		ok = array_add_string(array,
				      addr_format(&lan->addresses[i].addr, text));
	if (ok)
		return array;
	json_object_put(array);
	return NULL;
}

/* What is served, not what was asked for. */
static struct json_object *lan_protocols_new(const struct lan_info *lan, bool nat)
{
	static const struct {
		uint8_t bit;
		const char *name;
	} rows[] = {{LAN_PROTOCOL_UPNP, "upnp"},
		    {LAN_PROTOCOL_NATPMP, "nat-pmp"},
		    {LAN_PROTOCOL_PCP, "pcp"}};
	struct json_object *array = json_object_new_array();
	uint8_t served = lan->protocols;
	bool ok = array != NULL;

	if (!nat)
		served &= (uint8_t)~LAN_PROTOCOL_NATPMP;
	for (size_t i = 0; ok && i < sizeof(rows) / sizeof(rows[0]); i++)
		if (served & rows[i].bit)
			ok = array_add_string(array, rows[i].name);
	if (ok)
		return array;
	json_object_put(array);
	return NULL;
}

/* Versions of the UPnP gateway device that hosts meet there. */
static struct json_object *lan_igd_new(const struct lan_info *lan)
{
	struct json_object *array = json_object_new_array();
	bool upnp = (lan->protocols & LAN_PROTOCOL_UPNP) != 0;
	bool ok = array != NULL;

	for (int version = 1; ok && version <= 2; version++)
		if (upnp && (lan->igd & version) != 0)
			ok = array_take(array, json_object_new_int(version));
	if (ok)
		return array;
	json_object_put(array);
	return NULL;
}

static struct json_object *status_lan_new(const struct lan_info *lan, bool nat)
{
	struct json_object *object = json_object_new_object();

	if (object && varlink_add_string(object, "name", lan->name) &&
	    varlink_add_bool(object, "up", lan->ifindex != 0) &&
	    varlink_add(object, "addresses", lan_addresses_new(lan)) &&
	    varlink_add(object, "protocols", lan_protocols_new(lan, nat)) &&
	    varlink_add(object, "igd", lan_igd_new(lan)))
		return object;
	json_object_put(object);
	return NULL;
}

static struct json_object *status_lans_new(const struct report_status *status)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < status->network->lan_count; i++) {
		struct json_object *lan;

		if (status->network->lans[i].protocols == 0)
			continue; /* it is no LAN any more */
		lan = status_lan_new(&status->network->lans[i], status->conf->wan.nat);
		if (!lan || json_object_array_add(array, lan) != 0) {
			json_object_put(lan);
			json_object_put(array);
			return NULL;
		}
	}
	return array;
}

static struct json_object *status_leases_new(const struct report_status *status)
{
	const struct table *table = ledger_get_table(status->ledger);
	struct json_object *object = json_object_new_object();
	struct json_object *origins = json_object_new_object();
	bool ok = object && origins;

	for (uint8_t origin = 0; ok && origin < ORIGIN_COUNT; origin++)
		ok = varlink_add_int(
			origins, origin_get_name(origin),
			(int64_t)table_get_count_of_origin(table, (enum origin)origin));
	if (ok && varlink_add_int(object, "total", (int64_t)table_get_count(table)) &&
	    varlink_add_int(object, "limit", status->conf->limits.leases_total) &&
	    varlink_add(object, "by_origin", json_object_get(origins))) {
		json_object_put(origins);
		return object;
	}
	json_object_put(origins);
	json_object_put(object);
	return NULL;
}

static struct json_object *status_store_new(const struct report_status *status)
{
	const struct ledger_figures *figures = ledger_get_figures(status->ledger);
	struct json_object *object = json_object_new_object();
	const char *text = "";

	if (figures->store_failed)
		text = "leases are not written to disk; see the log";
	else if (figures->store_damaged)
		text = "the store was damaged at start; leases were lost";
	if (object &&
	    varlink_add_string(object, "state",
			       !figures->store_on      ? "off"
			       : figures->store_failed ? "failed"
						       : "ok") &&
	    varlink_add_string(object, "path", status->conf->global.state_dir) &&
	    varlink_add_string(object, "text", text))
		return object;
	json_object_put(object);
	return NULL;
}

static struct json_object *status_worker_new(const struct report_worker *worker)
{
	struct json_object *object = json_object_new_object();

	if (object && varlink_add_string(object, "name", worker->name) &&
	    varlink_add_string(object, "state", worker->up ? "up" : "down") &&
	    varlink_add_int(object, "restarts", worker->restarts))
		return object;
	json_object_put(object);
	return NULL;
}

static struct json_object *status_workers_new(const struct report_status *status)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < status->worker_count; i++) {
		struct json_object *worker = status_worker_new(&status->workers[i]);

		if (!worker || json_object_array_add(array, worker) != 0) {
			json_object_put(worker);
			json_object_put(array);
			return NULL;
		}
	}
	return array;
}

static struct json_object *status_requests_new(const struct report_status *status)
{
	const struct ledger_figures *figures = ledger_get_figures(status->ledger);
	struct json_object *object = json_object_new_object();

	if (object && varlink_add_int(object, "total", (int64_t)figures->requests) &&
	    varlink_add_int(object, "granted", (int64_t)figures->granted) &&
	    varlink_add_int(object, "refused", (int64_t)figures->refused) &&
	    varlink_add_int(object, "dropped", (int64_t)status->dropped))
		return object;
	json_object_put(object);
	return NULL;
}

static struct json_object *status_settings_new(const struct report_status *status)
{
	static const char *const pinholes[] = {
		[CONF_PINHOLES_ON] = "on",
		[CONF_PINHOLES_OFF] = "off",
		[CONF_PINHOLES_NO_FIREWALL] = "no-firewall",
	};
	const struct conf *conf = status->conf;
	struct json_object *object = json_object_new_object();

	if (object && varlink_add_int(object, "mark", conf->backend.mark) &&
	    varlink_add_int(object, "http_port", conf->global.http_port) &&
	    varlink_add_bool(object, "nat", conf->wan.nat) &&
	    varlink_add_string(object, "pinholes", pinholes[conf->wan.pinholes]))
		return object;
	json_object_put(object);
	return NULL;
}

/* --- what is wrong, in plain words --- */

struct problem {
	const char *code;
	const char *text;
};

struct problem_row {
	bool is;
	struct problem problem;
};

static bool status_worker_down(const struct report_status *status)
{
	for (size_t i = 0; i < status->worker_count; i++)
		if (!status->workers[i].up)
			return true;
	return false;
}

static bool status_socket_failed(const struct report_status *status)
{
	for (size_t i = 0; i < status->worker_count; i++)
		if (status->workers[i].sockets_failed > 0)
			return true;
	return false;
}

static bool status_table_full(const struct report_status *status)
{
	const struct table *table = ledger_get_table(status->ledger);
	uint32_t total = status->conf->limits.leases_total;

	return total > 0 && (table_get_count(table) >= total ||
			     table_get_ipv6_count(table) >= plan_get_ipv6_share(total));
}

#define LAN_NAMES_SIZE (LANS_MAX * (IF_NAMESIZE + 2))
#define LAN_MISSING_SIZE (LAN_NAMES_SIZE + 64)

/* Configured LANs that are not there, by name. False = there is none. */
static bool status_find_missing(const struct report_status *status,
				char text[LAN_MISSING_SIZE])
{
	const struct network *network = status->network;
	char names[LAN_NAMES_SIZE] = "";
	size_t used = 0, count = 0;

	for (size_t i = 0; i < network->lan_count; i++) {
		const struct lan_info *lan = &network->lans[i];

		if (lan->ifindex != 0 || lan->protocols == 0 || network->lan_joined[i])
			continue;
		(void)snprintf(names + used, sizeof(names) - used, "%s%s",
			       count++ == 0 ? "" : ", ", lan->name);
		used = strlen(names);
	}
	(void)snprintf(text, LAN_MISSING_SIZE, "LAN interface%s %s %s; %s waited for",
		       count == 1 ? "" : "s", names,
		       count == 1 ? "does not exist" : "do not exist",
		       count == 1 ? "it is" : "they are");
	return count > 0;
}

static bool has_trouble(const struct ledger_figures *figures,
			enum backend_trouble trouble)
{
	return (figures->troubles & trouble) != 0;
}

/* Each row: is it so, and how to say it. */
static size_t status_find_problems(const struct report_status *status,
				   char missing[LAN_MISSING_SIZE],
				   struct problem problems[], size_t size)
{
	const struct ledger_figures *figures = ledger_get_figures(status->ledger);
	const struct wan_choice *wan = &status->network->wan;
	const struct problem_row rows[] = {
		{wan->route == WAN_ROUTE_NONE,
		 {"no-default-route", "there is no IPv4 default route"}},
		{wan->route == WAN_ROUTE_LAN,
		 {"default-route-lan",
		  "the IPv4 default route goes out by an interface that is a LAN; set "
		  "[wan] interface"}},
		{!wan->present && wan->name[0] == '\0',
		 {"wan-unknown",
		  "the interface of the default route is the WAN, and there is none "
		  "yet; it is waited for"}},
		{!wan->present && wan->name[0] != '\0',
		 {"wan-missing", "the WAN interface does not exist; it is waited for"}},
		{wan->present && addr_is_none(&wan->external),
		 {"wan-no-address",
		  "the WAN has no IPv4 address; clients are told so"}},
		{wan->present && (!wan->up || !wan->carrier),
		 {"wan-down", "the link of the WAN interface is down"}},
		{wan->private_address && !addr_is_shared(&wan->external),
		 {"wan-private",
		  "the external address is private: another NAT is in front, and the "
		  "internet may not reach it"}},
		{addr_is_shared(&wan->external),
		 {"wan-cgnat",
		  "the external address is shared by the provider (RFC 6598): the "
		  "internet may not reach it"}},
		{status->outside->state == OUTSIDE_ASKING ||
			 status->outside->state == OUTSIDE_FAILED,
		 {"stun",
		  "the STUN server does not tell the external address; what is told is "
		  "the last one it said, or the interface's own"}},
		{status_find_missing(status, missing), {"lan-missing", missing}},
		{status->anycast_missing,
		 {"anycast",
		  "pcp-anycast is on, but no interface has its address; do: ip address "
		  "add 192.0.0.9/32 dev lo, and 2001:1::1/128 for IPv6"}},
		{figures->backend_failed,
		 {"backend", "the firewall does not take changes; see the log"}},
		{has_trouble(figures, BACKEND_TROUBLE_NO_IPV6) &&
			 status->conf->wan.pinholes == CONF_PINHOLES_ON,
		 {"no-ip6tables", "the kernel has no ip6tables, so that there are no "
				  "IPv6 pinholes; see the log"}},
		{has_trouble(figures, BACKEND_TROUBLE_OVERTAKEN),
		 {"overtaken", "rules before ours in iptables translate ports, not "
			       "leases; see the log"}},
		{has_trouble(figures, BACKEND_TROUBLE_ACCEPT),
		 {"integrate-failed", "integrate cannot be done; see the log"}},
		{figures->store_failed,
		 {"store", "leases are not written to disk and would not survive a "
			   "restart; see the log"}},
		{figures->store_damaged,
		 {"store-damaged",
		  "the lease store was damaged at start and set aside; leases were "
		  "lost"}},
		{status_table_full(status),
		 {"table-full",
		  "all leases that [limits] leases-total allows are held, or the half "
		  "of them that IPv6 may have; who asks for more is refused"}},
		{status_worker_down(status),
		 {"worker-down", "a protocol worker does not run; see the log"}},
		{status_socket_failed(status),
		 {"socket", "a port could not be opened on a LAN; see the log"}},
	};
	size_t count = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && count < size; i++)
		if (rows[i].is)
			problems[count++] = rows[i].problem;
	return count;
}

static struct json_object *problem_new(const struct problem *problem)
{
	struct json_object *object = json_object_new_object();

	if (object && varlink_add_string(object, "code", problem->code) &&
	    varlink_add_string(object, "text", problem->text))
		return object;
	json_object_put(object);
	return NULL;
}

static struct json_object *status_problems_new(const struct problem problems[],
					       size_t count)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < count; i++) {
		struct json_object *problem = problem_new(&problems[i]);

		if (!problem || json_object_array_add(array, problem) != 0) {
			json_object_put(problem);
			json_object_put(array);
			return NULL;
		}
	}
	return array;
}

#define PROBLEMS_MAX 24

static bool status_add_head(struct json_object *object,
			    const struct report_status *status,
			    const struct store_time *at)
{
	const struct ledger_figures *figures = ledger_get_figures(status->ledger);
	struct problem problems[PROBLEMS_MAX];
	char missing[LAN_MISSING_SIZE];
	size_t count = status_find_problems(status, missing, problems, PROBLEMS_MAX);
	struct report_problems foreign;

	report_find_foreign(status->conf, status->foreign, at->now_ms, &foreign);
	for (size_t i = 0; i < foreign.count && count < PROBLEMS_MAX; i++)
		problems[count++] =
			(struct problem){foreign.items[i].code, foreign.items[i].text};

	return varlink_add_string(object, "version", PORTREEVE_VERSION) &&
	       varlink_add_string(object, "state", count > 0 ? "degraded" : "ok") &&
	       varlink_add(object, "problems", status_problems_new(problems, count)) &&
	       varlink_add_int(object, "uptime_s",
			       (at->now_ms - status->started_ms) / 1000) &&
	       varlink_add_int(object, "epoch_s",
			       (at->now_ms - figures->epoch_origin_ms) / 1000);
}

struct json_object *report_status_new(const struct report_status *status,
				      const struct store_time *at)
{
	const struct table *table = ledger_get_table(status->ledger);
	struct json_object *object = json_object_new_object();

	if (object && status_add_head(object, status, at) &&
	    varlink_add(object, "backend", status_backend_new(status)) &&
	    varlink_add(object, "integration",
			report_integration_new(status->conf, status->foreign,
					       status->ledger)) &&
	    varlink_add(object, "wan", status_wan_new(status, at)) &&
	    varlink_add(object, "lans", status_lans_new(status)) &&
	    varlink_add(object, "leases", status_leases_new(status)) &&
	    varlink_add_int(object, "clients",
			    (int64_t)table_get_client_count(table)) &&
	    varlink_add(object, "store", status_store_new(status)) &&
	    varlink_add(object, "workers", status_workers_new(status)) &&
	    varlink_add(object, "requests", status_requests_new(status)) &&
	    varlink_add(object, "settings", status_settings_new(status)))
		return object;
	json_object_put(object);
	return NULL;
}
