/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "probe/words.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "protocols/pcp.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
/* Epochs are whole seconds, each rounded down. */
#define EPOCH_TOLERANCE_S 2

static const char *const words_pcp[] = {
	[PCP_CODE_SUCCESS] = "SUCCESS",
	[PCP_CODE_UNSUPP_VERSION] = "UNSUPP_VERSION: it speaks another version",
	[PCP_CODE_NOT_AUTHORIZED] =
		"NOT_AUTHORIZED: it refuses: switched off, or not for this host",
	[PCP_CODE_MALFORMED_REQUEST] =
		"MALFORMED_REQUEST: it does not understand a proper request",
	[PCP_CODE_UNSUPP_OPCODE] = "UNSUPP_OPCODE: it does not know this operation",
	[PCP_CODE_UNSUPP_OPTION] = "UNSUPP_OPTION: there was no option",
	[PCP_CODE_MALFORMED_OPTION] = "MALFORMED_OPTION: there was no option",
	[PCP_CODE_NETWORK_FAILURE] = "NETWORK_FAILURE: it has no external address",
	[PCP_CODE_NO_RESOURCES] = "NO_RESOURCES: its table is full, or it is too busy",
	[PCP_CODE_UNSUPP_PROTOCOL] = "UNSUPP_PROTOCOL: it does not map UDP",
	[PCP_CODE_USER_EX_QUOTA] =
		"USER_EX_QUOTA: this host has as many mappings as it may",
	[PCP_CODE_CANNOT_PROVIDE_EXTERNAL] =
		"CANNOT_PROVIDE_EXTERNAL: the port is not to be had",
	[PCP_CODE_ADDRESS_MISMATCH] =
		"ADDRESS_MISMATCH: it sees another address: a NAT is in between",
	[PCP_CODE_EXCESSIVE_REMOTE_PEERS] =
		"EXCESSIVE_REMOTE_PEERS: there was no filter",
};

struct words_code {
	int code;
	const char *text;
};

static const struct words_code words_upnp[] = {
	{401, "Invalid Action: it does not know this action"},
	{402, "Invalid Args: it does not take these arguments"},
	{404, "Invalid Var: it does not know this variable"},
	{500, "HTTP 500 without a UPnP error code: it is broken inside"},
	{501, "Action Failed: it cannot say why"},
	{600, "Argument Value Invalid: it does not take one of the values"},
	{601, "Argument Value Out of Range: it does not take one of the values"},
	{605, "String Argument Too Long: it takes only shorter descriptions"},
	{606, "Action not authorized: it refuses: switched off, or not for this host"},
	{713, "SpecifiedArrayIndexInvalid: there is no such entry"},
	{714, "NoSuchEntryInArray: there is no such mapping"},
	{715, "WildCardNotPermittedInSrcIP: it wants one remote host"},
	{716, "WildCardNotPermittedInExtPort: it wants one external port"},
	{718,
	 "ConflictInMappingEntry: the port is taken by another, kept by the gateway, "
	 "or not allowed"},
	{724, "SamePortValuesRequired: it maps a port to the same port only"},
	{725, "OnlyPermanentLeasesSupported: it knows no lease time"},
	{726, "RemoteHostOnlySupportsWildcard: it filters no remote host"},
	{727, "ExternalPortOnlySupportsWildcard: it wants no external port"},
	{728, "NoPortMapsAvailable: its table is full"},
	{729, "ConflictWithOtherMechanisms: the port is kept by the gateway"},
	{732, "WildCardNotPermittedInIntPort: it wants an internal port"},
};

const char *words_get_pcp(uint8_t code)
{
	if (code < COUNT(words_pcp) && words_pcp[code])
		return words_pcp[code];
	return "a code that RFC 6887 does not know";
}

const char *words_get_upnp(int code)
{
	for (size_t i = 0; i < COUNT(words_upnp); i++) {
		if (words_upnp[i].code == code)
			return words_upnp[i].text;
	}
	return code >= 800 && code < 900 ? "an error code of its vendor"
					 : "an error code of no document known here";
}

const char *words_get_network(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return "nothing listens there (the gateway says: port unreachable)";
	case EHOSTUNREACH:
		return "nobody has this address (host unreachable)";
	case ENETUNREACH:
		return "there is no way to this network";
	case EACCES:
	case EPERM:
		return "a firewall of this host or on the way forbids it";
	default:
		return strerror(error);
	}
}

const char *words_get_reach(const struct ip_addr *external)
{
	/* ::ffff:100.64.0.0/106 (RFC 6598) */
	const struct prefix shared = {.addr = addr_from_ipv4((struct in_addr){
					      .s_addr = htonl(UINT32_C(0x64400000))}),
				      .length = 96 + 10};

	if (addr_is_ipv4(external) && prefix_contains(&shared, external))
		return "shared address of a provider (100.64.0.0/10, CGNAT): ports are "
		       "reachable from inside the provider's network only";
	if (addr_is_private(external) || addr_is_link_local(external))
		return "private address: another NAT is in front, ports are reachable "
		       "from the network in between only";
	if (!addr_is_host(external))
		return "no address of a host: the gateway has no way out";
	return NULL;
}

bool words_is_sane_epoch(uint32_t first_s, uint32_t second_s, int64_t elapsed_ms)
{
	int64_t grown_s = (int64_t)second_s - (int64_t)first_s;
	int64_t elapsed_s = elapsed_ms / 1000;

	/* Both RFCs allow a clock that is an eighth off. */
	return grown_s >= elapsed_s - elapsed_s / 8 - EPOCH_TOLERANCE_S &&
	       grown_s <= elapsed_s + elapsed_s / 8 + EPOCH_TOLERANCE_S;
}

bool words_parse_host(const char *url, struct ip_addr *out)
{
	static const char scheme[] = "http://";
	char text[ADDR_TEXT_SIZE];
	struct ip_addr addr;
	size_t length;

	if (strncmp(url, scheme, strlen(scheme)) != 0)
		return false;
	url += strlen(scheme);
	length = strcspn(url, ":/?#");
	if (length >= sizeof(text))
		return false;
	(void)snprintf(text, sizeof(text), "%.*s", (int)length, url);
	if (!addr_parse(text, &addr) || !addr_is_ipv4(&addr))
		return false;
	*out = addr;
	return true;
}
