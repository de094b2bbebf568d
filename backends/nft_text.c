/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One field of a key as nft reads it: first, or first-last. */
static int format_addr(const struct nft_element *element, size_t at, bool ipv4,
		       char *text, size_t size)
{
	char first[INET6_ADDRSTRLEN];
	char last[INET6_ADDRSTRLEN];
	int family = ipv4 ? AF_INET : AF_INET6;

	if (!inet_ntop(family, element->key + at, first, sizeof(first)) ||
	    !inet_ntop(family, element->key_end + at, last, sizeof(last)))
		return -errno;
	if (strcmp(first, last) == 0)
		return snprintf(text, size, " . %s", first);
	return snprintf(text, size, " . %s-%s", first, last);
}

static int format_port(const struct nft_element *element, size_t at, char *text,
		       size_t size)
{
	unsigned int first = (unsigned int)element->key[at] << 8 | element->key[at + 1];
	unsigned int last =
		(unsigned int)element->key_end[at] << 8 | element->key_end[at + 1];

	if (first == last)
		return snprintf(text, size, " . %u", first);
	return snprintf(text, size, " . %u-%u", first, last);
}

/* Fields of a key after the protocol: 4 and 6 are addresses, p is a port. */
static const char *get_fields(enum nft_set set)
{
	switch (set) {
	case NFT_WAN_IF:
	case NFT_LAN_IF:
	case NFT_WAN4:
	case NFT_NARROW4:
		return "";
	case NFT_DNAT4:
	case NFT_HELD4:
		return "p";
	case NFT_DNAT4_PEER:
		return "p4";
	case NFT_DNAT4_FLOW:
	case NFT_DNAT4_FROM:
		return "p4p";
	case NFT_SNAT4:
		return "4p";
	case NFT_SNAT4_FLOW:
		return "4p4p";
	case NFT_COUNT4:
		return "p4p";
	case NFT_COUNT4_PEER:
		return "p4p4";
	case NFT_COUNT4_FLOW:
	case NFT_COUNT4_FROM:
		return "p4p4p";
	case NFT_PINHOLE6:
		return "6p";
	case NFT_PINHOLE6_PEER:
		return "6p6";
	case NFT_PINHOLE6_FLOW:
	case NFT_PINHOLE6_FROM:
		return "6p6p";
	}
	return "";
}

static size_t format_key(const struct nft_element *element, char *text, size_t size)
{
	size_t at = 4;
	size_t used = (size_t)snprintf(text, size, "%u", element->key[0]);

	for (const char *field = get_fields(element->set); *field; field++) {
		int length = *field == 'p' ? format_port(element, at, text + used,
							 size - used)
					   : format_addr(element, at, *field == '4',
							 text + used, size - used);

		at += *field == '6' ? 16 : 4;
		used += length > 0 ? (size_t)length : 0;
	}
	return used;
}

int nft_element_format(const struct nft_element *element, char text[NFT_TEXT_MAX])
{
	const uint8_t *key = element->key;
	const uint8_t *data = element->data;
	size_t used;

	if (element->set == NFT_WAN_IF || element->set == NFT_LAN_IF)
		return snprintf(text, NFT_TEXT_MAX, "\"%.*s\"", IF_NAMESIZE - 1,
				(const char *)key);
	if (element->set == NFT_WAN4)
		return snprintf(text, NFT_TEXT_MAX, "%u.%u.%u.%u", key[0], key[1],
				key[2], key[3]);
	used = format_key(element, text, NFT_TEXT_MAX);
	if (element->timeout_ms > 0)
		used += (size_t)snprintf(
			text + used, NFT_TEXT_MAX - used, " timeout %llus%llums",
			(unsigned long long)element->timeout_ms / 1000,
			(unsigned long long)element->timeout_ms % 1000);
	if (nft_set_get_shape(element->set)->data_length > 0)
		used += (size_t)snprintf(text + used, NFT_TEXT_MAX - used,
					 " : %u.%u.%u.%u . %u", data[0], data[1],
					 data[2], data[3],
					 (unsigned int)data[4] << 8 | data[5]);
	return (int)used;
}
