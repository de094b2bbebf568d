/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/parser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define WANT_SIZE 160
#define STUN_PREFIX "stun:"
/* A million gigabits: far above any link, far below an overflow. */
#define RATE_MAX 1000000000000000u

struct unit {
	char suffix;
	uint64_t factor;
};

static void store_number(void *at, size_t size, uint64_t value)
{
	if (size == sizeof(uint8_t)) {
		const uint8_t narrow = (uint8_t)value;

		memcpy(at, &narrow, size);
	} else if (size == sizeof(uint16_t)) {
		const uint16_t narrow = (uint16_t)value;

		memcpy(at, &narrow, size);
	} else if (size == sizeof(uint32_t)) {
		const uint32_t narrow = (uint32_t)value;

		memcpy(at, &narrow, size);
	} else {
		memcpy(at, &value, sizeof(value));
	}
}

static bool store_text(void *at, size_t size, const char *text)
{
	if (strlen(text) >= size)
		return false;
	/* The rest is zero too, so that equal configurations are equal octets. */
	memset(at, 0, size);
	memcpy(at, text, strlen(text));
	return true;
}

/* A number with at most one letter behind it that multiplies it. */
static bool parse_scaled(const char *text, const struct unit *units, uint64_t max,
			 uint64_t *out)
{
	const size_t length = strlen(text);
	char digits[32];
	uint64_t factor = 1, value;

	if (length == 0 || length >= sizeof(digits))
		return false;
	memcpy(digits, text, length + 1);
	for (; units->factor != 0; units++) {
		if (digits[length - 1] != units->suffix)
			continue;
		factor = units->factor;
		digits[length - 1] = '\0';
		break;
	}
	if (!parse_number(digits, max / factor, &value))
		return false;
	*out = value * factor;
	return true;
}

static const struct conf_word *find_word(const struct conf_word *words,
					 const char *text)
{
	for (; words->text != NULL; words++)
		if (strcmp(words->text, text) == 0)
			return words;
	return NULL;
}

/*
 * The readers of the types: false = `bad` is wrong. It holds the whole value; readers
 * of lists put the bad item there.
 */

static bool parse_interface(const struct conf_field *field, void *at, char *bad)
{
	if (field->type == CONF_TYPE_INTERFACE_AUTO && strcmp(bad, "auto") == 0)
		return store_text(at, field->size, "");
	return conf_interface_is_valid(bad) && store_text(at, field->size, bad);
}

/* A name, or an IPv4 address: it is the address of IPv4 that is asked for. */
static bool host_is_valid(const char *text)
{
	struct ip_addr addr;

	if (strspn(text, "0123456789.") == strlen(text))
		return addr_parse(text, &addr) && addr_is_host(&addr);
	return text[0] != '-' && text[0] != '.' &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789.-") == strlen(text);
}

/* HOST or HOST:PORT. */
static bool parse_stun(struct conf_wan *wan, const char *text)
{
	char host[CONF_HOST_MAX];
	const char *colon = strchr(text, ':');
	const size_t length = colon ? (size_t)(colon - text) : strlen(text);
	uint64_t port = CONF_STUN_PORT;

	if (length == 0 || length >= sizeof(host))
		return false;
	memcpy(host, text, length);
	host[length] = '\0';
	if (!host_is_valid(host) ||
	    (colon && (!parse_number(colon + 1, UINT16_MAX, &port) || port == 0)))
		return false;
	wan->address = (struct ip_addr){{0}};
	wan->stun_port = (uint16_t)port;
	return store_text(wan->stun_host, sizeof(wan->stun_host), host);
}

static bool parse_wan_address(const struct conf_field *field, void *at, char *bad)
{
	struct conf_wan *wan = at;
	struct ip_addr addr = {0};

	(void)field;
	if (strncmp(bad, STUN_PREFIX, strlen(STUN_PREFIX)) == 0)
		return parse_stun(wan, bad + strlen(STUN_PREFIX));
	/* NAT-PMP and IGD tell IPv4 addresses only. */
	if (strcmp(bad, "auto") != 0 &&
	    !(addr_parse(bad, &addr) && addr_is_ipv4(&addr) && addr_is_host(&addr)))
		return false;
	wan->address = addr;
	wan->stun_port = 0;
	return store_text(wan->stun_host, sizeof(wan->stun_host), "");
}

static bool take_chain_word(const char **next, char *word, void *at, size_t size)
{
	return conf_word_next(next, word) && word[0] != '\0' &&
	       strpbrk(word, "{};\"'") == NULL && store_text(at, size, word);
}

static bool parse_chain(const struct conf_field *field, void *at, char *bad)
{
	struct conf_chain value;
	char list[CONF_LINE_SIZE];
	const char *next = list;

	memset(&value, 0, sizeof(value));
	memcpy(list, bad, strlen(bad) + 1);
	if (strcmp(list, "auto") == 0)
		value.how = CONF_INTEGRATE_AUTO;
	else if (strcmp(list, "off") != 0)
		value.how = CONF_INTEGRATE_CHAIN;
	if (value.how == CONF_INTEGRATE_CHAIN &&
	    (!take_chain_word(&next, bad, value.family, sizeof(value.family)) ||
	     (strcmp(bad, "inet") != 0 && strcmp(bad, "ip") != 0 &&
	      strcmp(bad, "ip6") != 0) ||
	     !take_chain_word(&next, bad, value.table, sizeof(value.table)) ||
	     !take_chain_word(&next, bad, value.chain, sizeof(value.chain)) ||
	     conf_word_next(&next, bad))) {
		memcpy(bad, list, strlen(list) + 1);
		return false;
	}
	memcpy(at, &value, field->size);
	return true;
}

static bool parse_word(const struct conf_field *field, void *at, char *bad)
{
	const struct conf_word *word = find_word(field->words, bad);

	if (word == NULL)
		return false;
	store_number(at, field->size, word->value);
	return true;
}

static bool parse_flags(const struct conf_field *field, void *at, char *bad)
{
	char list[CONF_LINE_SIZE];
	const char *next = list;
	uint64_t value = 0;

	memcpy(list, bad, strlen(bad) + 1);
	while (conf_word_next(&next, bad)) {
		const struct conf_word *word = find_word(field->words, bad);

		if (word == NULL)
			return false;
		value |= word->value;
	}
	if (value == 0)
		return false;
	store_number(at, field->size, value);
	return true;
}

static bool parse_plain(const struct conf_field *field, void *at, char *bad)
{
	uint64_t value;

	if (!parse_number(bad, field->max, &value) || value < field->min)
		return false;
	store_number(at, field->size, value);
	return true;
}

static bool parse_seconds(const struct conf_field *field, void *at, char *bad)
{
	uint32_t value;

	if (!parse_time(bad, &value))
		return false;
	store_number(at, field->size, value);
	return true;
}

static bool parse_rate(const struct conf_field *field, void *at, char *bad)
{
	static const struct unit units[] = {
		{'k', 1000},
		{'M', 1000000},
		{'G', 1000000000},
		{'\0', 0},
	};
	uint64_t value;

	if (!parse_scaled(bad, units, RATE_MAX, &value))
		return false;
	store_number(at, field->size, value);
	return true;
}

static bool parse_mark(const struct conf_field *field, void *at, char *bad)
{
	uint64_t value = 0;

	if (strncmp(bad, "0x", 2) == 0 || strncmp(bad, "0X", 2) == 0) {
		const char *digits = bad + 2;
		const size_t length = strspn(digits, "0123456789abcdefABCDEF");

		if (length == 0 || length > 8 || digits[length] != '\0')
			return false;
		value = strtoull(digits, NULL, 16);
	} else if (!parse_number(bad, UINT32_MAX, &value)) {
		return false;
	}
	if (value == 0)
		return false;
	store_number(at, field->size, value);
	return true;
}

static bool parse_path(const struct conf_field *field, void *at, char *bad)
{
	const size_t length = strlen(bad);

	if (length == 0)
		return field->type == CONF_TYPE_PATH_OR_NONE &&
		       store_text(at, field->size, "");
	if (bad[0] != '/' || length < 2)
		return false;
	if (field->type == CONF_TYPE_PATH && bad[length - 1] == '/')
		return false;
	return store_text(at, field->size, bad);
}

static bool parse_user(const struct conf_field *field, void *at, char *bad)
{
	return strcspn(bad, " :/\"") == strlen(bad) && store_text(at, field->size, bad);
}

static bool parse_text(const struct conf_field *field, void *at, char *bad)
{
	char text[CONF_LINE_SIZE];
	const char *next = bad;

	/* Quotes around the whole are allowed, for people who expect them. */
	if (bad[0] == '"' && conf_word_next(&next, text) && *next == '\0')
		return text[0] != '\0' && store_text(at, field->size, text);
	return bad[0] != '\0' && store_text(at, field->size, bad);
}

static bool parse_range(const struct conf_field *field, void *at, char *bad)
{
	const char *dash = strchr(bad, '-');
	const size_t length = dash ? (size_t)(dash - bad) : strlen(bad);
	char digits[8];
	uint64_t first, last;
	struct port_range range;

	if (length >= sizeof(digits))
		return false;
	memcpy(digits, bad, length);
	digits[length] = '\0';
	if (!parse_number(digits, UINT16_MAX, &first) || first == 0)
		return false;
	last = first;
	if (dash && !parse_number(dash + 1, UINT16_MAX, &last))
		return false;
	if (last < first)
		return false;
	range = (struct port_range){(uint16_t)first, (uint16_t)last};
	memcpy(at, &range, field->size);
	return true;
}

static bool parse_prefix(const struct conf_field *field, void *at, char *bad)
{
	struct prefix prefix;

	if (!prefix_parse(bad, &prefix))
		return false;
	memcpy(at, &prefix, field->size);
	return true;
}

static bool parse_networks(const struct conf_field *field, void *at, char *bad)
{
	struct conf_lan *lan = at;
	struct prefix networks[CONF_NETWORKS_MAX];
	char list[CONF_LINE_SIZE];
	const char *next = list;
	size_t count = 0;

	(void)field;
	memcpy(list, bad, strlen(bad) + 1);
	while (conf_word_next(&next, bad)) {
		if (count == CONF_NETWORKS_MAX || !prefix_parse(bad, &networks[count]))
			return false;
		count++;
	}
	memset(lan->networks, 0, sizeof(lan->networks));
	memcpy(lan->networks, networks, count * sizeof(networks[0]));
	lan->network_count = count;
	return true;
}

/*
 * RFC 6052 §2.2: six lengths, and octet 8 is zero where the prefix reaches so far.
 * What is wrong with it, or NULL.
 */
static const char *nat64_get_fault(const char *text, const struct prefix *prefix)
{
	static const uint8_t lengths[] = {32, 40, 48, 56, 64, 96};
	bool known = false;

	if (addr_is_ipv4(&prefix->addr))
		return "it is of IPv4; a NAT64 prefix is of IPv6, such as 64:ff9b::/96";
	for (size_t i = 0; i < sizeof(lengths); i++)
		known = known || prefix->length == lengths[i];
	if (!known && !strchr(text, '/'))
		return "it has no length; write one behind it, such as 64:ff9b::/96";
	if (!known)
		return "a NAT64 prefix has a length of 32, 40, 48, 56, 64 or 96 bits";
	if (prefix->addr.bytes[8] != 0)
		return "bits 64 to 71 of a NAT64 prefix must be zero (RFC 6052)";
	if (addr_is_none(&prefix->addr) || prefix->addr.bytes[0] == 0xff ||
	    addr_is_link_local(&prefix->addr))
		return "hosts cannot send to such addresses; a NAT64 prefix is of "
		       "unicast addresses that are routed, such as 64:ff9b::/96";
	return NULL;
}

/* Of a text that is no prefix. */
static const char *nat64_get_unread(const char *text)
{
	char host[ADDR_TEXT_SIZE];
	const char *slash = strchr(text, '/');
	struct ip_addr addr;
	uint64_t length;

	if (slash && (size_t)(slash - text) < sizeof(host)) {
		memcpy(host, text, (size_t)(slash - text));
		host[slash - text] = '\0';
		if (addr_parse(host, &addr) && parse_number(slash + 1, 128, &length))
			return "bits behind its length are set; they must be zero, as "
			       "in 64:ff9b::/96";
	}
	return "it is no prefix of IPv6, such as 64:ff9b::/96; nothing at all = none";
}

static bool parse_nat64(const struct conf_field *field, void *at, char *bad)
{
	struct prefix prefix = {0};

	if (bad[0] != '\0' &&
	    (!prefix_parse(bad, &prefix) || nat64_get_fault(bad, &prefix)))
		return false;
	memcpy(at, &prefix, field->size);
	return true;
}

static bool nat64_fail(struct conf_parser *parser, const struct conf_field *field,
		       const char *bad)
{
	struct prefix prefix;

	return conf_fail(parser, NULL, "bad prefix \"%s\" for %s; %s", bad, field->key,
			 prefix_parse(bad, &prefix) ? nat64_get_fault(bad, &prefix)
						    : nat64_get_unread(bad));
}

static bool parse_pattern(const struct conf_field *field, void *at, char *bad)
{
	return bad[0] != '\0' && store_text(at, field->size, bad);
}

/* Rows by enum conf_type. want NULL = made from the field. */
static const struct {
	const char *what;
	const char *want;
	bool (*parse)(const struct conf_field *field, void *at, char *bad);
} types[] = {
	[CONF_TYPE_INTERFACE] = {"interface name",
				 "a name has 1 to 15 characters, no blank, "
				 "'/', ':' or '\"', as \"ip link\" shows it",
				 parse_interface},
	[CONF_TYPE_INTERFACE_AUTO] = {"interface name",
				      "auto, or a name as \"ip link\" shows it",
				      parse_interface},
	[CONF_TYPE_WAN_ADDRESS] =
		{"address",
		 "auto, the IPv4 address to tell clients, such as 192.0.2.1, or "
		 "stun:HOST or stun:HOST:PORT",
		 parse_wan_address},
	[CONF_TYPE_WORD] = {"value", NULL, parse_word},
	[CONF_TYPE_FLAGS] = {"value", NULL, parse_flags},
	[CONF_TYPE_NUMBER] = {"number", NULL, parse_plain},
	[CONF_TYPE_SECONDS] =
		{"time",
		 "a time is a number of seconds, or numbers with s, m, h, d or w "
		 "behind them, such as 2h or 1h30m",
		 parse_seconds},
	[CONF_TYPE_RATE] = {"bit rate",
			    "a bit rate is a number of bit/s, with k, M or G behind it "
			    "where that helps, such as 40M; 0 = ask the kernel",
			    parse_rate},
	[CONF_TYPE_MARK] =
		{"mark", "a mark is a 32-bit number other than 0, such as 0x10000000",
		 parse_mark},
	[CONF_TYPE_PATH] = {"path",
			    "a path starts with '/', names a file and has at most 107 "
			    "octets",
			    parse_path},
	[CONF_TYPE_PATH_OR_NONE] =
		{"path",
		 "a path starts with '/' and has at most 107 octets; "
		 "nothing at all = keep nothing on disk",
		 parse_path},
	[CONF_TYPE_USER] = {"user name",
			    "a user name has at most 63 octets, no blank, ':' or '/'; "
			    "nothing at all = the built-in choice",
			    parse_user},
	[CONF_TYPE_TEXT] = {"name", "a name has 1 to 63 octets", parse_text},
	[CONF_TYPE_RANGE] = {"port range", "a range is FIRST-LAST within 1-65535",
			     parse_range},
	[CONF_TYPE_PREFIX] =
		{"prefix",
		 "a prefix is an address, or one with a length and no bits "
		 "behind it, such as 192.168.1.0/24 or 2001:db8::/32",
		 parse_prefix},
	[CONF_TYPE_NETWORKS] =
		{"network",
		 "up to 8 prefixes with no bits behind their length, such "
		 "as 192.168.2.0/24 2001:db8::/32",
		 parse_networks},
	[CONF_TYPE_NAT64_OR_NONE] = {"prefix", NULL, parse_nat64},
	[CONF_TYPE_CHAIN] =
		{"chain",
		 "write off, auto, or family, table and chain, such as inet fw4 "
		 "forward",
		 parse_chain},
	[CONF_TYPE_PATTERN] = {"pattern", "a pattern has 1 to 63 octets",
			       parse_pattern},
	[CONF_TYPE_RULE] = {"rule", NULL, NULL},
};

/* "one of a, b or c", or the bounds of a number. */
static void format_want(const struct conf_field *field, char want[WANT_SIZE])
{
	size_t used = 0;

	if (field->words == NULL) {
		(void)snprintf(want, WANT_SIZE, "a number within %llu-%llu",
			       (unsigned long long)field->min,
			       (unsigned long long)field->max);
		return;
	}
	for (const struct conf_word *word = field->words; word->text; word++) {
		const char *glue = word[1].text ? ", " : " or ";
		const int length =
			snprintf(want + used, WANT_SIZE - used, "%s%s",
				 word == field->words ? "write " : glue, word->text);

		if (length < 0 || used + (size_t)length >= WANT_SIZE)
			return;
		used += (size_t)length;
	}
	if (field->type == CONF_TYPE_FLAGS)
		(void)snprintf(want + used, WANT_SIZE - used, ", one or more");
}

bool conf_value_parse(struct conf_parser *parser, const struct conf_field *field,
		      const char *text, void *base)
{
	char want[WANT_SIZE];
	char bad[CONF_LINE_SIZE];
	const char *near = NULL;

	(void)snprintf(bad, sizeof(bad), "%s", text);
	if (types[field->type].parse(field, (char *)base + field->offset, bad))
		return true;
	if (field->type == CONF_TYPE_NAT64_OR_NONE)
		return nat64_fail(parser, field, bad);
	if (field->words != NULL) {
		size_t count = 0;

		while (field->words[count].text != NULL)
			count++;
		near = conf_suggest(bad, field->words, count, sizeof(*field->words));
	}
	if (near != NULL)
		return conf_fail(parser, NULL,
				 "bad value \"%s\" for %s; did you mean \"%s\"?", bad,
				 field->key, near);
	if (types[field->type].want != NULL)
		return conf_fail(parser, NULL, "bad %s \"%s\"; %s",
				 types[field->type].what, bad, types[field->type].want);
	format_want(field, want);
	return conf_fail(parser, NULL, "bad %s \"%s\" for %s; %s",
			 types[field->type].what, bad, field->key, want);
}
