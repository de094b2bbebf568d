/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/ssdp.h"
#include "base/buf.h"

#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "protocols/http.h"

/* Octets of a USER-AGENT that are looked at. */
#define AGENT_SIZE 256

const struct ssdp_group *ssdp_group_get(size_t index)
{
	static const struct ssdp_group groups[] = {
		{.family = AF_INET,
		 .beyond_link = true,
		 .addr = {{[10] = 0xff, 0xff, 239, 255, 255, 250}},
		 .host = SSDP_GROUP ":1900"},
		{.family = AF_INET6,
		 .addr = {{0xff, 0x02, [15] = 0x0c}},
		 .host = "[FF02::C]:1900"},
		{.family = AF_INET6,
		 .beyond_link = true,
		 .addr = {{0xff, 0x05, [15] = 0x0c}},
		 .host = "[FF05::C]:1900"},
	};

	return index < sizeof(groups) / sizeof(groups[0]) ? &groups[index] : NULL;
}

const struct ssdp_group *ssdp_group_find(const struct ip_addr *addr)
{
	const struct ssdp_group *group;

	for (size_t i = 0; (group = ssdp_group_get(i)); i++)
		if (addr_equal(&group->addr, addr))
			return group;
	return NULL;
}

/* Cut the next line off, at LF or at the end; CR before it goes too. */
static struct span take_line(struct span *rest)
{
	const char *end = memchr(rest->at, '\n', rest->length);
	struct span line = {rest->at, end ? (size_t)(end - rest->at) : rest->length};
	size_t used = end ? line.length + 1 : line.length;

	rest->at += used;
	rest->length -= used;
	if (line.length > 0 && line.at[line.length - 1] == '\r')
		line.length--;
	return line;
}

/* Copy a value that may be used as text: it fits, and is printable ASCII. */
static bool copy_value(struct span span, char *out, size_t size)
{
	for (size_t i = 0; i < span.length; i++)
		if (span.at[i] <= ' ' || span.at[i] > '~')
			return false;
	return span.length > 0 && span_copy(span, out, size);
}

static void parse_mx(struct span value, struct ssdp_search *search)
{
	char text[12];
	uint64_t mx_s;

	if (!copy_value(value, text, sizeof(text)) ||
	    !parse_number(text, UINT32_MAX, &mx_s))
		return;
	search->has_mx = true;
	search->mx_s = (uint8_t)(mx_s < SSDP_MX_MAX_S ? mx_s : SSDP_MX_MAX_S);
}

static bool is_legacy(struct span agent)
{
	char text[AGENT_SIZE];
	size_t length = agent.length < sizeof(text) ? agent.length : sizeof(text) - 1;

	memcpy(text, agent.at, length);
	text[length] = '\0';
	return http_agent_is_legacy(text);
}

/* Note a header, if it is one that counts. */
static void parse_header(struct span name, struct span value,
			 struct ssdp_search *search)
{
	if (span_resembles(name, "ST") && search->st[0] == '\0')
		(void)copy_value(value, search->st, sizeof(search->st));
	else if (span_resembles(name, "MAN"))
		search->has_man = span_resembles(value, "\"ssdp:discover\"");
	else if (span_resembles(name, "MX"))
		parse_mx(value, search);
	else if (span_resembles(name, "USER-AGENT"))
		search->legacy |= is_legacy(value);
}

static bool is_search_line(struct span line)
{
	static const char start[] = "M-SEARCH * HTTP/1.";
	const size_t length = sizeof(start) - 1;

	return line.length > length && memcmp(line.at, start, length) == 0;
}

bool ssdp_parse_search(const void *bytes, size_t length, struct ssdp_search *out)
{
	struct ssdp_search search = {.mx_s = 1};
	struct span rest = {bytes, length};

	if (length == 0 || !is_search_line(take_line(&rest)))
		return false;
	while (rest.length > 0) {
		struct span line = take_line(&rest);
		const char *colon = memchr(line.at, ':', line.length);
		struct span name, value;

		if (line.length == 0)
			break; /* what follows is no header */
		if (!colon)
			continue;
		name = span_trim((struct span){line.at, (size_t)(colon - line.at)});
		value = span_trim((struct span){
			colon + 1, line.length - (size_t)(colon - line.at) - 1});
		parse_header(name, value, &search);
	}
	if (search.st[0] == '\0')
		return false;
	*out = search;
	return true;
}

bool ssdp_search_is_valid(const struct ssdp_search *search, bool strict)
{
	return !strict || (search->has_man && search->has_mx);
}

/* "type:version" with a canonical version from 1 to ours. */
static bool match_type(const struct ssdp_target *target, const char *st,
		       uint8_t *version)
{
	size_t length = strlen(target->type);
	uint64_t asked;

	if (strncmp(st, target->type, length) != 0 || st[length] != ':' ||
	    st[length + 1] == '0' ||
	    !parse_number(st + length + 1, target->version, &asked))
		return false;
	*version = (uint8_t)asked;
	return true;
}

bool ssdp_target_matches(const struct ssdp_target *target, const char *st,
			 uint8_t *version)
{
	if (strcmp(st, "ssdp:all") == 0) {
		*version = target->version;
		return true;
	}
	switch (target->kind) {
	case SSDP_ROOT:
		*version = 0;
		return strcmp(st, "upnp:rootdevice") == 0;
	case SSDP_UUID:
		*version = 0;
		return strncmp(st, "uuid:", 5) == 0 &&
		       strcmp(st + 5, target->uuid) == 0;
	case SSDP_TYPE:
		return match_type(target, st, version);
	}
	return false;
}

/* ST and NT */
static void write_target(struct writer *out, const struct ssdp_target *target,
			 uint8_t version)
{
	switch (target->kind) {
	case SSDP_ROOT:
		upnp_write_text(out, "upnp:rootdevice");
		break;
	case SSDP_UUID:
		upnp_write_text(out, "uuid:");
		upnp_write_text(out, target->uuid);
		break;
	case SSDP_TYPE:
		upnp_write_text(out, target->type);
		upnp_write_text(out, ":");
		upnp_write_number(out, version);
		break;
	}
}

/* SSDP-11 */
static void write_usn(struct writer *out, const struct ssdp_target *target,
		      uint8_t version)
{
	upnp_write_text(out, "\r\nUSN: uuid:");
	upnp_write_text(out, target->uuid);
	if (target->kind == SSDP_UUID)
		return;
	upnp_write_text(out, "::");
	write_target(out, target, version);
}

static void write_location(struct writer *out, const struct ssdp_origin *origin)
{
	char text[ADDR_TEXT_SIZE];
	bool ipv4 = addr_is_ipv4(&origin->address);

	upnp_write_text(out, ipv4 ? "\r\nLOCATION: http://" : "\r\nLOCATION: http://[");
	upnp_write_text(out, addr_format(&origin->address, text));
	upnp_write_text(out, ipv4 ? ":" : "]:");
	upnp_write_number(out, origin->http_port);
	upnp_write_text(out, origin->path);
}

static void write_age(struct writer *out)
{
	upnp_write_text(out, "\r\nCACHE-CONTROL: max-age=");
	upnp_write_number(out, SSDP_MAX_AGE_S);
}

static void write_end(struct writer *out, const struct ssdp_origin *origin)
{
	upnp_write_text(out, "\r\nBOOTID.UPNP.ORG: ");
	upnp_write_number(out, origin->boot_id);
	upnp_write_text(out, "\r\nCONFIGID.UPNP.ORG: ");
	upnp_write_number(out, origin->config_id);
	upnp_write_text(out, "\r\n\r\n");
}

void ssdp_write_response(struct writer *out, const struct ssdp_origin *origin,
			 const struct ssdp_target *target, uint8_t version,
			 int64_t wall_ms)
{
	char date[UPNP_DATE_SIZE];

	upnp_write_text(out, "HTTP/1.1 200 OK");
	write_age(out);
	upnp_write_text(out, "\r\nDATE: ");
	upnp_write_text(out, upnp_format_date(wall_ms, date));
	upnp_write_text(out, "\r\nEXT:");
	write_location(out, origin);
	upnp_write_text(out, "\r\nSERVER: " UPNP_SERVER "\r\nST: ");
	write_target(out, target, version);
	write_usn(out, target, version);
	write_end(out, origin);
}

/* UDA 1.1 Annex A, for control points that know IPv6 from UDA 1.0: as BOOTID. */
static void write_nls(struct writer *out, const struct ssdp_origin *origin)
{
	upnp_write_text(out, "\r\nOPT: \"http://schemas.upnp.org/upnp/1/0/\"; ns=01"
			     "\r\n01-NLS: ");
	upnp_write_number(out, origin->boot_id);
}

void ssdp_write_notify(struct writer *out, const struct ssdp_group *group,
		       const struct ssdp_origin *origin,
		       const struct ssdp_target *target, enum ssdp_nts nts)
{
	static const char *const names[] = {
		[SSDP_ALIVE] = "alive",
		[SSDP_BYEBYE] = "byebye",
		[SSDP_UPDATE] = "update",
	};

	upnp_write_text(out, "NOTIFY * HTTP/1.1\r\nHOST: ");
	upnp_write_text(out, group->host);
	if (nts == SSDP_ALIVE)
		write_age(out);
	if (nts != SSDP_BYEBYE)
		write_location(out, origin);
	if (nts == SSDP_ALIVE)
		upnp_write_text(out, "\r\nSERVER: " UPNP_SERVER);
	upnp_write_text(out, "\r\nNT: ");
	write_target(out, target, target->version);
	upnp_write_text(out, "\r\nNTS: ssdp:");
	upnp_write_text(out, names[nts]);
	write_usn(out, target, target->version);
	if (group->family == AF_INET6)
		write_nls(out, origin);
	if (nts == SSDP_UPDATE) {
		upnp_write_text(out, "\r\nNEXTBOOTID.UPNP.ORG: ");
		upnp_write_number(out, origin->next_boot_id);
	}
	write_end(out, origin);
}
