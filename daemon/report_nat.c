/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/report_nat.h"

#include <json-c/json.h>

#include "base/varlink.h"

static enum nat_filtering nat_get_filtering(const struct lease *lease)
{
	if (!lease_is_filtered(lease))
		return NAT_FILTERING_NONE;
	if (lease->filter_count == 0)
		return lease->remote_port != 0 ? NAT_FILTERING_PORT
					       : NAT_FILTERING_ADDRESS;
	for (uint8_t i = 0; i < lease->filter_count; i++)
		if (lease->filters[i].port == 0)
			return NAT_FILTERING_ADDRESS;
	return NAT_FILTERING_PORT;
}

static void nat_judge(const struct lease *lease, const struct ip_addr *external,
		      struct nat_behaviour *nat)
{
	const struct {
		bool holds;
		enum nat_console console;
		const char *text;
	} rows[] = {
		{!lease->enabled, NAT_STRICT, "its client has disabled it"},
		{addr_is_none(external), NAT_STRICT, "there is no external address"},
		{lease_is_peer(lease), NAT_STRICT,
		 "it keeps one flow to one peer and lets nobody else in"},
		{addr_is_ipv4(&lease->internal) && addr_is_private(external),
		 NAT_STRICT,
		 "the external address is private: another NAT is in front"},
		{nat->filtering != NAT_FILTERING_NONE, NAT_MODERATE,
		 "only the hosts that it names can reach it"},
		{nat->outbound_port == 0, NAT_MODERATE,
		 "anybody can reach it, but what it sends leaves with any port"},
		{nat->outbound_port != lease->external_port, NAT_MODERATE,
		 "anybody can reach it, but what it sends leaves with another port"},
		{true, NAT_OPEN,
		 "anybody can reach it, and what it sends leaves with the same port"},
	};
	size_t row = 0;

	while (!rows[row].holds)
		row++;
	nat->console = rows[row].console;
	nat->text = rows[row].text;
}

struct nat_behaviour report_nat_get(const struct lease *lease, uint16_t outbound_port,
				    const struct ip_addr *external)
{
	bool ipv4 = addr_is_ipv4(&lease->internal);
	bool works = lease->enabled && !addr_is_none(external);
	struct nat_behaviour nat = {
		.filtering = nat_get_filtering(lease),
		.hairpin = ipv4 && works && !lease_is_peer(lease),
	};

	if (works)
		nat.outbound_port = ipv4 ? outbound_port : lease->internal_port;
	nat.mapped = ipv4 && nat.outbound_port != 0;
	nat_judge(lease, external, &nat);
	return nat;
}

static const char *nat_filtering_get_name(enum nat_filtering filtering)
{
	switch (filtering) {
	case NAT_FILTERING_NONE:
		return "endpoint-independent";
	case NAT_FILTERING_ADDRESS:
		return "address-dependent";
	case NAT_FILTERING_PORT:
		return "address-and-port-dependent";
	}
	return "";
}

static const char *nat_console_get_name(enum nat_console console)
{
	switch (console) {
	case NAT_OPEN:
		return "open";
	case NAT_MODERATE:
		return "moderate";
	case NAT_STRICT:
		return "strict";
	}
	return "";
}

struct json_object *report_nat_new(const struct nat_behaviour *nat)
{
	struct json_object *object = json_object_new_object();

	if (object &&
	    varlink_add_string(object, "mapping",
			       nat->mapped ? "endpoint-independent" : "none") &&
	    varlink_add_string(object, "filtering",
			       nat_filtering_get_name(nat->filtering)) &&
	    varlink_add_int(object, "outbound_port", nat->outbound_port) &&
	    varlink_add_bool(object, "hairpin", nat->hairpin) &&
	    varlink_add_string(object, "console", nat_console_get_name(nat->console)) &&
	    varlink_add_string(object, "text", nat->text))
		return object;
	json_object_put(object);
	return NULL;
}
