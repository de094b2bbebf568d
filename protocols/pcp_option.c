/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/pcp_private.h"

#include <string.h>

#define PORT_SET_PARITY 0x01
/* Where RFC 6052 §2.2 puts the IPv4 address behind a shorter prefix. */
#define PREFIX64_OCTETS_MAX 12

/* What an option is by itself: RFC 6887 §13, RFC 7220 §2, RFC 7225 §4, RFC 7753 §4.
 * `read` finds a length that is allowed, and says what is wrong with the contents. */
struct option_row {
	uint8_t code;
	uint8_t opcodes; /* 1 << enum pcp_opcode */
	bool many;	 /* may stand in one request more than once */
	uint16_t length_min;
	uint16_t length_max;
	enum pcp_code (*read)(struct pcp_tlv *tlv, struct pcp_request *out,
			      struct pcp_option_facts *facts);
};

static size_t tlv_get_size(size_t length)
{
	return PCP_OPTION_HEADER_SIZE + (length + 3) / 4 * 4;
}

bool pcp_tlv_read(struct reader *reader, struct pcp_tlv *out)
{
	if (reader->left == 0)
		return false;
	out->code = reader_u8(reader);
	reader_skip(reader, 1); /* reserved (PCP-17) */
	out->length = reader_u16(reader);
	out->data = reader_init(reader->at, out->length);
	reader_skip(reader, tlv_get_size(out->length) - PCP_OPTION_HEADER_SIZE);
	return !reader->failed;
}

bool pcp_tlv_list_is_whole(struct reader options)
{
	struct pcp_tlv tlv;

	while (pcp_tlv_read(&options, &tlv))
		continue;
	return !options.failed;
}

static enum pcp_code third_party_read(struct pcp_tlv *tlv, struct pcp_request *out,
				      struct pcp_option_facts *facts)
{
	out->third_party = reader_addr(&tlv->data);
	out->has_third_party = true;
	facts->reply_size += tlv_get_size(PCP_THIRD_PARTY_LENGTH);
	return addr_is_host(&out->third_party) ? PCP_CODE_SUCCESS
					       : PCP_CODE_MALFORMED_OPTION;
}

static enum pcp_code prefer_failure_read(struct pcp_tlv *tlv, struct pcp_request *out,
					 struct pcp_option_facts *facts)
{
	out->prefer_failure = true;
	facts->reply_size += tlv_get_size(tlv->length);
	return PCP_CODE_SUCCESS;
}

static void prefix_clear_host_bits(struct prefix *prefix)
{
	for (unsigned int bit = prefix->length; bit < 128; bit++)
		prefix->addr.bytes[bit / 8] &= (uint8_t) ~(0x80u >> (bit % 8));
}

static bool filter_is_known(const struct pcp_request *request,
			    const struct remote_filter *filter)
{
	for (size_t i = 0; i < request->filter_count; i++) {
		const struct remote_filter *other = &request->filters[i];

		if (addr_equal(&other->prefix.addr, &filter->prefix.addr) &&
		    other->prefix.length == filter->prefix.length &&
		    other->port == filter->port)
			return true;
	}
	return false;
}

static enum pcp_code filter_read(struct pcp_tlv *tlv, struct pcp_request *out,
				 struct pcp_option_facts *facts)
{
	struct remote_filter filter;

	facts->reply_size += tlv_get_size(PCP_FILTER_LENGTH);
	reader_skip(&tlv->data, 1); /* reserved (PCP-17) */
	filter.prefix.length = reader_u8(&tlv->data);
	filter.port = reader_u16(&tlv->data);
	filter.prefix.addr = reader_addr(&tlv->data);
	if (filter.prefix.length == 0) { /* PCP-82, PCP-83 */
		out->filter_clear = true;
		out->filter_count = 0;
		facts->filters_over = false;
		return PCP_CODE_SUCCESS;
	}
	if (filter.prefix.length > 128 ||
	    (addr_is_ipv4(&filter.prefix.addr) && filter.prefix.length < 96))
		return PCP_CODE_MALFORMED_OPTION;
	prefix_clear_host_bits(&filter.prefix);
	facts->filter_port |= filter.port != 0;
	facts->filter_ipv4 |= addr_is_ipv4(&filter.prefix.addr);
	facts->filter_ipv6 |= !addr_is_ipv4(&filter.prefix.addr);
	if (filter_is_known(out, &filter))
		return PCP_CODE_SUCCESS;
	if (out->filter_count == REQUEST_FILTERS_MAX)
		facts->filters_over = true; /* unless one of length 0 follows */
	else
		out->filters[out->filter_count++] = filter;
	return PCP_CODE_SUCCESS;
}

static enum pcp_code description_read(struct pcp_tlv *tlv, struct pcp_request *out,
				      struct pcp_option_facts *facts)
{
	char text[PCP_DESCRIPTION_LENGTH_MAX];

	/* What is deleted needs no name. */
	if (out->opcode == PCP_OP_MAP && out->lifetime_s == 0)
		return PCP_CODE_SUCCESS;
	reader_copy(&tlv->data, text, tlv->length);
	if (!text_is_utf8(text, tlv->length)) /* PCP-111 */
		return PCP_CODE_SUCCESS;
	text_copy_clean(out->description, sizeof(out->description), text, tlv->length);
	out->has_description = true;
	facts->reply_size += tlv_get_size(strlen(out->description));
	return PCP_CODE_SUCCESS;
}

static enum pcp_code prefix64_read(struct pcp_tlv *tlv, struct pcp_request *out,
				   struct pcp_option_facts *facts)
{
	(void)tlv; /* ::/96 in requests, which says nothing (RFC 7225 §4) */
	out->has_prefix64 = true;
	facts->reply_size += tlv_get_size(PCP_PREFIX64_LENGTH);
	return PCP_CODE_SUCCESS;
}

static enum pcp_code port_set_read(struct pcp_tlv *tlv, struct pcp_request *out,
				   struct pcp_option_facts *facts)
{
	out->port_count = reader_u16(&tlv->data);
	facts->set_first = reader_u16(&tlv->data);
	out->port_parity = (reader_u8(&tlv->data) & PORT_SET_PARITY) != 0;
	out->has_port_set = true;
	facts->reply_size += tlv_get_size(PCP_PORT_SET_LENGTH);
	return PCP_CODE_SUCCESS;
}

#define IN_ANNOUNCE (1u << PCP_OP_ANNOUNCE)
#define IN_MAP (1u << PCP_OP_MAP)
#define IN_PEER (1u << PCP_OP_PEER)

static const struct option_row option_rows[] = {
	{PCP_OPTION_THIRD_PARTY, IN_MAP | IN_PEER, false, PCP_THIRD_PARTY_LENGTH,
	 PCP_THIRD_PARTY_LENGTH, third_party_read},
	{PCP_OPTION_PREFER_FAILURE, IN_MAP, false, 0, 0, prefer_failure_read},
	{PCP_OPTION_FILTER, IN_MAP, true, PCP_FILTER_LENGTH, PCP_FILTER_LENGTH,
	 filter_read},
	{PCP_OPTION_DESCRIPTION, IN_MAP | IN_PEER, false, 0, PCP_DESCRIPTION_LENGTH_MAX,
	 description_read},
	{PCP_OPTION_PREFIX64, IN_ANNOUNCE | IN_MAP, false, 0, UINT16_MAX,
	 prefix64_read},
	{PCP_OPTION_PORT_SET, IN_MAP, false, PCP_PORT_SET_LENGTH, PCP_PORT_SET_LENGTH,
	 port_set_read},
};

#define OPTION_ROW_COUNT (sizeof(option_rows) / sizeof(option_rows[0]))

/* Index of the row; OPTION_ROW_COUNT where there is none. */
static size_t option_find(uint8_t code)
{
	size_t i = 0;

	while (i < OPTION_ROW_COUNT && option_rows[i].code != code)
		i++;
	return i;
}

/* An option that is not served is as good as unknown (PCP-14, PCP-73, PCP-114, 115). */
static bool option_is_served(uint8_t code, const struct pcp_terms *terms)
{
	switch ((enum pcp_option)code) {
	case PCP_OPTION_THIRD_PARTY:
		return terms->third_party;
	case PCP_OPTION_PREFIX64:
		return terms->nat64.length > 0;
	case PCP_OPTION_PORT_SET:
		return terms->ports_max > 1;
	case PCP_OPTION_PREFER_FAILURE:
	case PCP_OPTION_FILTER:
	case PCP_OPTION_DESCRIPTION:
		return true;
	}
	return false;
}

static enum pcp_code option_read(struct pcp_tlv *tlv, size_t index,
				 struct pcp_request *out,
				 struct pcp_option_facts *facts)
{
	const struct option_row *row = &option_rows[index];

	if ((row->opcodes & 1u << out->opcode) == 0) {
		if (tlv->code >= PCP_OPTION_OPTIONAL)
			return PCP_CODE_SUCCESS; /* PCP-15 */
		if (tlv->code == PCP_OPTION_PREFER_FAILURE &&
		    out->opcode == PCP_OP_PEER)
			return PCP_CODE_MALFORMED_REQUEST; /* PCP-88 */
		return PCP_CODE_MALFORMED_OPTION;
	}
	if ((facts->seen & 1u << index) != 0 && !row->many) /* PCP-13 */
		return PCP_CODE_MALFORMED_OPTION;
	facts->seen |= 1u << index;
	if (tlv->length < row->length_min || tlv->length > row->length_max)
		return PCP_CODE_MALFORMED_OPTION;
	return row->read(tlv, out, facts);
}

enum pcp_code pcp_options_read(struct reader options, const struct pcp_terms *terms,
			       struct pcp_request *out, struct pcp_option_facts *facts)
{
	struct pcp_tlv tlv;

	/* All of it or nothing, before anything is made of it (PCP-11). */
	if (!pcp_tlv_list_is_whole(options))
		return PCP_CODE_MALFORMED_OPTION;
	while (pcp_tlv_read(&options, &tlv)) {
		size_t index = option_find(tlv.code);
		enum pcp_code code;

		if (index == OPTION_ROW_COUNT || !option_is_served(tlv.code, terms)) {
			if (tlv.code < PCP_OPTION_OPTIONAL)
				return PCP_CODE_UNSUPP_OPTION;
			continue;
		}
		code = option_read(&tlv, index, out, facts);
		if (code != PCP_CODE_SUCCESS)
			return code;
	}
	return PCP_CODE_SUCCESS;
}

void pcp_options_read_response(struct reader options, struct pcp_request *out)
{
	struct pcp_option_facts facts = {0};
	struct pcp_tlv tlv;

	while (pcp_tlv_read(&options, &tlv)) {
		size_t index = option_find(tlv.code);

		if (index < OPTION_ROW_COUNT)
			(void)option_read(&tlv, index, out, &facts);
	}
}

static void tlv_head_write(struct writer *writer, uint8_t code, size_t length)
{
	writer_u8(writer, code);
	writer_u8(writer, 0);
	writer_u16(writer, (uint16_t)length);
}

static void tlv_pad_write(struct writer *writer, size_t length)
{
	for (; length % 4 != 0; length++)
		writer_u8(writer, 0);
}

void pcp_third_party_write(struct writer *writer, const struct ip_addr *addr)
{
	tlv_head_write(writer, PCP_OPTION_THIRD_PARTY, PCP_THIRD_PARTY_LENGTH);
	writer_addr(writer, addr);
}

void pcp_prefer_failure_write(struct writer *writer)
{
	tlv_head_write(writer, PCP_OPTION_PREFER_FAILURE, 0);
}

void pcp_filter_write(struct writer *writer, const struct remote_filter *filter)
{
	tlv_head_write(writer, PCP_OPTION_FILTER, PCP_FILTER_LENGTH);
	writer_u8(writer, 0);
	writer_u8(writer, filter->prefix.length);
	writer_u16(writer, filter->port);
	writer_addr(writer, &filter->prefix.addr);
}

void pcp_description_write(struct writer *writer, const char *text)
{
	size_t length = strlen(text);

	tlv_head_write(writer, PCP_OPTION_DESCRIPTION, length);
	writer_copy(writer, text, length);
	tlv_pad_write(writer, length);
}

void pcp_prefix64_write(struct writer *writer, const struct prefix *prefix)
{
	size_t octets = prefix->length / 8;
	uint8_t rest[PREFIX64_OCTETS_MAX] = {0}; /* the suffix: none is configured */

	if (octets > PREFIX64_OCTETS_MAX)
		octets = PREFIX64_OCTETS_MAX;
	memcpy(rest, prefix->addr.bytes, octets);
	tlv_head_write(writer, PCP_OPTION_PREFIX64, PCP_PREFIX64_LENGTH);
	writer_u16(writer, (uint16_t)octets);
	writer_copy(writer, rest, sizeof(rest));
	tlv_pad_write(writer, PCP_PREFIX64_LENGTH);
}

void pcp_port_set_write(struct writer *writer, uint16_t count, uint16_t first,
			bool parity)
{
	tlv_head_write(writer, PCP_OPTION_PORT_SET, PCP_PORT_SET_LENGTH);
	writer_u16(writer, count);
	writer_u16(writer, first);
	writer_u8(writer, parity ? PORT_SET_PARITY : 0);
	tlv_pad_write(writer, PCP_PORT_SET_LENGTH);
}
