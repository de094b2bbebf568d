/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_PCP_PRIVATE_H
#define PROTOCOLS_PCP_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "protocols/pcp.h"

/** What pcp.c, pcp_option.c, pcp_encode.c and pcp_client.c share. */

/** Options from here on may be ignored (RFC 6887 §7.3, PCP-15). */
#define PCP_OPTION_OPTIONAL 128
#define PCP_OPTION_HEADER_SIZE 4
/** Lengths of option data, octets. */
#define PCP_THIRD_PARTY_LENGTH 16
#define PCP_FILTER_LENGTH 20
#define PCP_DESCRIPTION_LENGTH_MAX 1016
#define PCP_PORT_SET_LENGTH 5
/** With a prefix and its suffix, which together are 12 octets (RFC 7225 §4). */
#define PCP_PREFIX64_LENGTH 14

/** One option as it stands in a datagram. */
struct pcp_tlv {
	uint8_t code;
	uint16_t length;
	struct reader data;
};

/** What is known of the options but does not belong in a request. */
struct pcp_option_facts {
	uint32_t seen;	    /* a bit for each kind */
	bool filters_over;  /* more than REQUEST_FILTERS_MAX since the last clear */
	uint16_t set_first; /* First Internal Port of PORT_SET */
	bool filter_port;   /* some FILTER names a port (PCP-84) */
	bool filter_ipv4;   /* some FILTER is of that family */
	bool filter_ipv6;
	size_t reply_size; /* octets that the options take in a success reply */
};

/** Octets of header and opcode data; the header alone for opcodes without any. */
size_t pcp_get_size(uint8_t opcode);

/** Read opcode data into *out. */
void pcp_body_read(struct reader *reader, struct pcp_request *out);

/** Take one option. Errors: false: none left, or (reader failed) cut off. */
bool pcp_tlv_read(struct reader *reader, struct pcp_tlv *out)
	__attribute__((warn_unused_result));

/** True when every option of the list is all there (PCP-11). */
bool pcp_tlv_list_is_whole(struct reader options);

/**
 * Read the options of a request, in order of appearance (PCP-12), into *out, where
 * header and opcode data stand already.
 * Errors: what RFC 6887 §7.3 says of the first option that is wrong.
 */
enum pcp_code pcp_options_read(struct reader options, const struct pcp_terms *terms,
			       struct pcp_request *out, struct pcp_option_facts *facts)
	__attribute__((warn_unused_result));

/** Read the options of a response; what is wrong or unknown is left out. */
void pcp_options_read_response(struct reader options, struct pcp_request *out);

/** Write one option each, with its padding. */
void pcp_third_party_write(struct writer *writer, const struct ip_addr *addr);
void pcp_prefer_failure_write(struct writer *writer);
void pcp_filter_write(struct writer *writer, const struct remote_filter *filter);
void pcp_description_write(struct writer *writer, const char *text);
/** prefix: length in bits, a multiple of 8 up to 96. */
void pcp_prefix64_write(struct writer *writer, const struct prefix *prefix);
void pcp_port_set_write(struct writer *writer, uint16_t count, uint16_t first,
			bool parity);

/** Octets written; 0 where something did not fit. */
size_t pcp_written(const struct writer *writer);

#endif
