/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/igd.h"
#include "protocols/upnp.h"

/*
 * WANCommonInterfaceConfig:1 (WANCIC1, igd.md §8). The counters are optional, but
 * Windows and Home Assistant ask for every one of them (CL-24).
 */

#define ROW_COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static void read_access_type(const struct igd_context *context, struct writer *out)
{
	(void)context;
	upnp_write_text(out, "Ethernet");
}

/* ui4: a 10 Gbit/s link does not fit (IGD-51). */
static void write_bit_rate(struct writer *out, uint64_t rate)
{
	upnp_write_number(out, rate < UINT32_MAX ? rate : UINT32_MAX);
}

static void read_rate_up(const struct igd_context *context, struct writer *out)
{
	write_bit_rate(out, context->wan->bit_rate_up);
}

static void read_rate_down(const struct igd_context *context, struct writer *out)
{
	write_bit_rate(out, context->wan->bit_rate_down);
}

static void read_link_status(const struct igd_context *context, struct writer *out)
{
	upnp_write_text(out, context->wan->carrier ? "Up" : "Down");
}

static const struct igd_var vars[] = {
	{.name = "WANAccessType",
	 .type = IGD_STRING,
	 .read = read_access_type,
	 .allowed = {"DSL", "POTS", "Cable", "Ethernet"}},
	{.name = "Layer1UpstreamMaxBitRate", .type = IGD_UI4, .read = read_rate_up},
	{.name = "Layer1DownstreamMaxBitRate", .type = IGD_UI4, .read = read_rate_down},
	{.name = "PhysicalLinkStatus",
	 .type = IGD_STRING,
	 .evented = true,
	 .read = read_link_status,
	 .allowed = {"Up", "Down"}},
	{.name = "TotalBytesSent", .type = IGD_UI4},
	{.name = "TotalBytesReceived", .type = IGD_UI4},
	{.name = "TotalPacketsSent", .type = IGD_UI4},
	{.name = "TotalPacketsReceived", .type = IGD_UI4},
};

static uint16_t start_traffic(const struct igd_context *context,
			      const struct igd_value *in, struct igd_answer *answer)
{
	(void)context;
	(void)in;
	answer->request.op = REQUEST_TRAFFIC;
	answer->state = IGD_ASK;
	return 0;
}

/* Counters are ui4 and wrap (IGD-50, CL-22). */
static uint16_t finish_octets_sent(const struct reply *reply, uint8_t version,
				   struct igd_output *output)
{
	(void)version;
	igd_output_add_number(output, (uint32_t)reply->octets_out);
	return 0;
}

static uint16_t finish_octets_received(const struct reply *reply, uint8_t version,
				       struct igd_output *output)
{
	(void)version;
	igd_output_add_number(output, (uint32_t)reply->octets_in);
	return 0;
}

static uint16_t finish_packets_sent(const struct reply *reply, uint8_t version,
				    struct igd_output *output)
{
	(void)version;
	igd_output_add_number(output, (uint32_t)reply->packets_out);
	return 0;
}

static uint16_t finish_packets_received(const struct reply *reply, uint8_t version,
					struct igd_output *output)
{
	(void)version;
	igd_output_add_number(output, (uint32_t)reply->packets_in);
	return 0;
}

static const struct igd_action actions[] = {
	{.name = "GetCommonLinkProperties",
	 .out = {{"NewWANAccessType", "WANAccessType"},
		 {"NewLayer1UpstreamMaxBitRate", "Layer1UpstreamMaxBitRate"},
		 {"NewLayer1DownstreamMaxBitRate", "Layer1DownstreamMaxBitRate"},
		 {"NewPhysicalLinkStatus", "PhysicalLinkStatus"}}},
	{.name = "GetTotalBytesSent",
	 .out = {{"NewTotalBytesSent", "TotalBytesSent"}},
	 .start = start_traffic,
	 .finish = finish_octets_sent},
	{.name = "GetTotalBytesReceived",
	 .out = {{"NewTotalBytesReceived", "TotalBytesReceived"}},
	 .start = start_traffic,
	 .finish = finish_octets_received},
	{.name = "GetTotalPacketsSent",
	 .out = {{"NewTotalPacketsSent", "TotalPacketsSent"}},
	 .start = start_traffic,
	 .finish = finish_packets_sent},
	{.name = "GetTotalPacketsReceived",
	 .out = {{"NewTotalPacketsReceived", "TotalPacketsReceived"}},
	 .start = start_traffic,
	 .finish = finish_packets_received},
};

const struct igd_service *igd_get_wancic1(void)
{
	static const struct igd_service service = {
		.name = "WANCommonInterfaceConfig",
		.version = 1,
		.id = "WANCommonIFC1",
		.vars = vars,
		.var_count = ROW_COUNT(vars),
		.actions = actions,
		.action_count = ROW_COUNT(actions),
	};

	return &service;
}
