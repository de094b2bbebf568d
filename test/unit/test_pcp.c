/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What PCP requests are read as, and what core is asked. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "test/unit/pcp_packet.h"

static int code_of(const struct packet *packet)
{
	struct pcp_request out;

	return packet_decode(packet, &out);
}

static enum pcp_kind kind_of(const struct packet *packet)
{
	struct pcp_terms terms = terms_all();
	struct pcp_packet in = packet_view(packet);
	struct pcp_request out;
	struct ip_addr source;
	enum pcp_code code;

	memcpy(source.bytes, packet->bytes + 8, sizeof(source.bytes));
	return pcp_decode_request(&in, &source, &terms, &out, &code);
}

/* PCP-3, PCP-4, PCP-6: too short, and responses of any version. */
static void test_silence(void **state)
{
	struct packet packet = {0};

	(void)state;
	for (packet.length = 0; packet.length < 2; packet.length++)
		assert_int_equal(code_of(&packet), -1);
	for (int version = 0; version <= 0xff; version++) {
		packet = make_map(CLIENT4, 60, IPPROTO_UDP);
		packet.bytes[0] = (uint8_t)version;
		packet.bytes[1] |= PCP_RESPONSE_BIT;
		assert_int_equal(code_of(&packet), -1);
		packet.length = 2;
		assert_int_equal(code_of(&packet), -1);
	}
	packet = make_head(PCP_OP_ANNOUNCE, CLIENT4, 0);
	for (packet.length = 2; packet.length < 24; packet.length++)
		assert_int_equal(code_of(&packet), -1);
	assert_int_equal(code_of(&packet), 0);
}

/* PCP-5, PCP-18, PCP-21: any version but 2, before any length. */
static void test_version(void **state)
{
	(void)state;
	for (int version = 0; version <= 0xff; version++) {
		struct packet packet = make_map(CLIENT4, 60, IPPROTO_UDP);

		packet.bytes[0] = (uint8_t)version;
		assert_int_equal(code_of(&packet), version == 2 ? 0 : 1);
		packet.length = 2;
		assert_int_equal(code_of(&packet), version == 2 ? -1 : 1);
	}
}

/* PCP-1, PCP-8. PCP-11: a length that is no multiple of 4 never reaches the options. */
static void test_lengths(void **state)
{
	static const struct {
		size_t length;
		uint8_t opcode;
		int code;
	} rows[] = {
		{28, PCP_OP_MAP, 3},	  {56, PCP_OP_MAP, 3},	 {59, PCP_OP_MAP, 3},
		{60, PCP_OP_MAP, 0},	  {62, PCP_OP_MAP, 3},	 {24, PCP_OP_PEER, 3},
		{76, PCP_OP_PEER, 3},	  {80, PCP_OP_PEER, 0},	 {82, PCP_OP_PEER, 3},
		{24, PCP_OP_ANNOUNCE, 0}, {1100, PCP_OP_MAP, 0}, {1104, PCP_OP_MAP, 3},
		{1500, PCP_OP_MAP, 3}};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct packet packet = make_peer(CLIENT4, REMOTE4, 53);

		packet.bytes[1] = rows[i].opcode;
		if (rows[i].length > 100) { /* an option of 1036 octets, to ignore */
			packet.length = 60;
			packet_put(&packet, "\xc8\x00\x04\x0c", 4);
		}
		packet.length = rows[i].length;
		assert_int_equal(code_of(&packet), rows[i].code);
	}
}

/* PCP-9, PCP-92, PCP-96: all 128 bits, whatever the opcode, before options. */
static void test_mismatch(void **state)
{
	static const uint8_t opcodes[] = {0, 1, 2, 3, 99, 127};
	struct pcp_terms terms = terms_all();

	(void)state;
	for (size_t i = 0; i < COUNT(opcodes); i++) {
		for (unsigned int bit = 0; bit < 128; bit++) {
			struct packet packet = make_peer(CLIENT4, REMOTE4, 53);
			struct pcp_packet in = packet_view(&packet);
			struct ip_addr source = to_addr(CLIENT4);
			struct pcp_request out;
			enum pcp_code code;

			packet.bytes[1] = opcodes[i];
			source.bytes[bit / 8] ^= (uint8_t)(0x80u >> (bit % 8));
			assert_int_equal(
				pcp_decode_request(&in, &source, &terms, &out, &code),
				PCP_REFUSED);
			assert_int_equal(code, PCP_CODE_ADDRESS_MISMATCH);
		}
	}
}

/* PCP-10, PCP-43, PCP-86, PCP-118: unknown, disabled, and authentication. */
static void test_opcodes(void **state)
{
	(void)state;
	for (uint8_t opcode = 0; opcode <= 127; opcode++) {
		for (uint8_t served = 0; served <= 3; served++) {
			struct pcp_terms terms = terms_all();
			struct packet packet = make_peer(CLIENT4, REMOTE4, 53);
			struct pcp_request out;
			bool on = opcode == 0 || (opcode == 1 && (served & 1)) ||
				  (opcode == 2 && (served & 2));

			terms.opcodes = served;
			packet.bytes[1] = opcode;
			packet.length = opcode == 2 ? 80 : opcode == 1 ? 60 : 24;
			assert_int_equal(decode_by(&packet, &terms, &out), on ? 0 : 4);
			/* too short is known only of what is served */
			packet.length = 24;
			assert_int_equal(decode_by(&packet, &terms, &out), !on ? 4
									   : opcode == 0
										   ? 0
										   : 3);
		}
	}
}

/* PCP-11: an option that is cut off, wherever it stands, before any other error. */
static void test_option_list(void **state)
{
	static const struct {
		uint8_t head[4];
		int code;
	} rows[] = {{{200, 0, 0xff, 0xff}, 6}, {{200, 0, 0, 1}, 6},
		    {{60, 0, 0xff, 0xff}, 6},  {{3, 0, 0, 20}, 6},
		    {{200, 0, 0, 0}, 0},       {{60, 0, 0, 0}, 5}};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);

		packet_put(&packet, (const char *)rows[i].head, 4);
		assert_int_equal(code_of(&packet), rows[i].code);
		packet = make_map(CLIENT4, 60, IPPROTO_TCP);
		add_option(&packet, 60, "", 0); /* unknown: 5, but for the list */
		packet_put(&packet, (const char *)rows[i].head, 4);
		assert_int_equal(code_of(&packet), rows[i].code == 6 ? 6 : 5);
	}
}

/* PCP-12, PCP-83: FILTER(0) forgets what stands before it and nothing behind it. */
static void test_option_order(void **state)
{
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct pcp_request out;

	(void)state;
	add_filter(&packet, 128, 0, REMOTE4);
	assert_int_equal(packet_decode(&packet, &out), 0);
	assert_false(out.filter_clear);
	assert_int_equal(out.filter_count, 1);
	add_filter(&packet, 0, 0, NONE4);
	assert_int_equal(packet_decode(&packet, &out), 0);
	assert_true(out.filter_clear);
	assert_int_equal(out.filter_count, 0);
	add_filter(&packet, 120, 53, REMOTE4);
	assert_int_equal(packet_decode(&packet, &out), 0);
	assert_true(out.filter_clear);
	assert_int_equal(out.filter_count, 1);
	assert_int_equal(out.filters[0].port, 53);
	assert_int_equal(out.filters[0].prefix.length, 120);
	/* host bits say nothing */
	assert_int_equal(out.filters[0].prefix.addr.bytes[14], 0x71);
	assert_int_equal(out.filters[0].prefix.addr.bytes[15], 0);
}

struct option_case {
	const char *what;
	uint8_t opcode;
	uint8_t lifetime_s;
	uint8_t protocol;
	uint8_t code;
	const char *data;
	size_t length;
	int times;
	int want;
};

#define MAP PCP_OP_MAP, 60, IPPROTO_TCP
#define MAP_DELETE PCP_OP_MAP, 0, IPPROTO_TCP
#define MAP_GRE PCP_OP_MAP, 60, IPPROTO_GRE
#define MAP_SCTP PCP_OP_MAP, 60, IPPROTO_SCTP
#define MAP_DCCP PCP_OP_MAP, 60, IPPROTO_DCCP
#define MAP_UDPLITE PCP_OP_MAP, 60, IPPROTO_UDPLITE
#define PEER PCP_OP_PEER, 60, IPPROTO_TCP
#define ANNOUNCE PCP_OP_ANNOUNCE, 0, 0
#define FILTER4(length, port) "\0" length port REMOTE4

static const struct option_case option_cases[] = {
	/* PCP-13: twice what may stand once */
	{"THIRD_PARTY twice", MAP, 1, OTHER4, 16, 2, 6},
	{"PREFER_FAILURE twice", MAP, 2, "", 0, 2, 6},
	{"FILTER twice", MAP, 3, FILTER4("\x80", "\0\0"), 20, 2, 0},
	{"DESCRIPTION twice", MAP, 128, "x", 1, 2, 6},
	{"PREFIX64 twice", MAP, 129, NONE6, 14, 2, 6},
	{"PORT_SET twice (PCP-116)", MAP, 130, "\0\2\x0c\x02\0", 5, 2, 6},
	/* PCP-14: unknown and mandatory; PCP-117, PCP-118 */
	{"unknown mandatory", MAP, 60, "", 0, 1, 5},
	{"option 0", MAP, 0, "", 0, 1, 5},
	{"option 127", ANNOUNCE, 127, "abcd", 4, 1, 5},
	{"AUTHENTICATION_TAG", MAP, 5, "", 0, 1, 5},
	{"THIRD_PARTY_ID", MAP, 13, "id", 2, 1, 5},
	/* PCP-15 */
	{"unknown optional", MAP, 200, "abc", 3, 1, 0},
	{"unknown optional twice", MAP, 255, "abc", 3, 2, 0},
	{"optional elsewhere: DESCRIPTION", ANNOUNCE, 128, "x", 1, 1, 0},
	{"optional elsewhere: PREFIX64", PEER, 129, NONE6, 14, 1, 0},
	{"optional elsewhere: PORT_SET", PEER, 130, "\0\0\0\0\0", 5, 1, 0},
	/* PCP-14: known, not of this opcode */
	{"FILTER in PEER", PEER, 3, FILTER4("\x80", "\0\0"), 20, 1, 6},
	{"FILTER in ANNOUNCE", ANNOUNCE, 3, FILTER4("\x80", "\0\0"), 20, 1, 6},
	{"PREFER_FAILURE in ANNOUNCE", ANNOUNCE, 2, "", 0, 1, 6},
	{"THIRD_PARTY in ANNOUNCE", ANNOUNCE, 1, OTHER4, 16, 1, 6},
	{"PREFER_FAILURE in PEER (PCP-88)", PEER, 2, "", 0, 1, 3},
	/* THIRD_PARTY: PCP-74 */
	{"THIRD_PARTY", MAP, 1, OTHER4, 16, 1, 0},
	{"THIRD_PARTY in PEER", PEER, 1, OTHER4, 16, 1, 0},
	{"THIRD_PARTY, deletion", MAP_DELETE, 1, OTHER4, 16, 1, 0},
	{"THIRD_PARTY, itself", MAP, 1, CLIENT4, 16, 1, 3},
	{"THIRD_PARTY, itself, PEER", PEER, 1, CLIENT4, 16, 1, 3},
	{"THIRD_PARTY, itself, deletion", MAP_DELETE, 1, CLIENT4, 16, 1, 3},
	{"THIRD_PARTY, short", MAP, 1, OTHER4, 12, 1, 6},
	{"THIRD_PARTY, long", MAP, 1, OTHER4 NONE4, 20, 1, 6},
	{"THIRD_PARTY, nobody", MAP, 1, NONE4, 16, 1, 6},
	{"THIRD_PARTY, loopback", MAP, 1, LOOPBACK4, 16, 1, 6},
	/* PREFER_FAILURE: PCP-78 */
	{"PREFER_FAILURE", MAP, 2, "", 0, 1, 0},
	{"PREFER_FAILURE, deletion", MAP_DELETE, 2, "", 0, 1, 6},
	{"PREFER_FAILURE, long", MAP, 2, "abcd", 4, 1, 6},
	/* FILTER: PCP-78, PCP-82, PCP-84 */
	{"FILTER of 0", MAP, 3, FILTER4("\0", "\0\0"), 20, 1, 0},
	{"FILTER of 0, ::", MAP, 3, "\0\0\0\0" NONE6, 20, 1, 0},
	{"FILTER of 1", MAP, 3, FILTER4("\1", "\0\0"), 20, 1, 6},
	{"FILTER of 95", MAP, 3, FILTER4("\x5f", "\0\0"), 20, 1, 6},
	{"FILTER of 96", MAP, 3, FILTER4("\x60", "\0\0"), 20, 1, 0},
	{"FILTER of 128", MAP, 3, FILTER4("\x80", "\0\0"), 20, 1, 0},
	{"FILTER of 129", MAP, 3, FILTER4("\x81", "\0\0"), 20, 1, 6},
	{"FILTER of 255", MAP, 3, FILTER4("\xff", "\0\0"), 20, 1, 6},
	{"FILTER with a port", MAP, 3, FILTER4("\x80", "\0\x35"), 20, 1, 0},
	{"FILTER of IPv6 for IPv4", MAP, 3, "\0\x80\0\0" REMOTE6, 20, 1, 6},
	{"FILTER of :: for IPv4", MAP, 3, "\0\x60\0\0" NONE6, 20, 1, 6},
	{"FILTER, deletion", MAP_DELETE, 3, FILTER4("\x80", "\0\0"), 20, 1, 6},
	{"FILTER of 0, deletion", MAP_DELETE, 3, FILTER4("\0", "\0\0"), 20, 1, 6},
	{"FILTER, short", MAP, 3, FILTER4("\x80", "\0\0"), 16, 1, 6},
	{"FILTER, long", MAP, 3, FILTER4("\x80", "\0\0") "abcd", 24, 1, 6},
	{"FILTER without port, GRE", MAP_GRE, 3, FILTER4("\x80", "\0\0"), 20, 1, 9},
	{"FILTER with port, GRE", MAP_GRE, 3, FILTER4("\x80", "\0\1"), 20, 1, 6},
	{"FILTER with port, SCTP", MAP_SCTP, 3, FILTER4("\x80", "\0\1"), 20, 1, 9},
	{"FILTER with port, DCCP", MAP_DCCP, 3, FILTER4("\x80", "\0\1"), 20, 1, 9},
	{"FILTER, UDP-Lite", MAP_UDPLITE, 3, FILTER4("\x80", "\0\1"), 20, 1, 9},
	/* PREFIX64: PCP-114 */
	{"PREFIX64", MAP, 129, "\0\x0c" NONE6, 14, 1, 0},
	{"PREFIX64 in ANNOUNCE", ANNOUNCE, 129, "\0\x0c" NONE6, 14, 1, 0},
	{"PREFIX64, empty", MAP, 129, "", 0, 1, 0},
	/* PORT_SET: PCP-116, RFC 7753 §4.2 */
	{"PORT_SET", MAP, 130, "\0\2\x0c\x02\1", 5, 1, 0},
	{"PORT_SET of 65535", MAP, 130, "\xff\xff\x0c\x02\0", 5, 1, 0},
	{"PORT_SET of 1", MAP, 130, "\0\1\x0c\x02\0", 5, 1, 0},
	{"PORT_SET of none", MAP, 130, "\0\0\x0c\x02\0", 5, 1, 6},
	{"PORT_SET of none, deletion", MAP_DELETE, 130, "\0\0\x0c\x02\0", 5, 1, 0},
	{"PORT_SET from elsewhere", MAP, 130, "\0\2\x0c\x03\0", 5, 1, 6},
	{"PORT_SET, short", MAP, 130, "\0\2\x0c\x02", 4, 1, 6},
	{"PORT_SET, long", MAP, 130, "\0\2\x0c\x02\0\0", 6, 1, 6},
};

static void test_options(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(option_cases); i++) {
		const struct option_case *row = &option_cases[i];
		struct packet packet = make_peer(CLIENT4, REMOTE4, 53);
		int code;

		packet.bytes[1] = row->opcode;
		packet.bytes[7] = row->lifetime_s;
		packet.bytes[36] = row->protocol;
		packet.length = row->opcode == PCP_OP_PEER  ? 80
				: row->opcode == PCP_OP_MAP ? 60
							    : 24;
		for (int k = 0; k < row->times; k++)
			add_option(&packet, row->code, row->data, row->length);
		code = code_of(&packet);
		if (code != row->want)
			fail_msg("%s: code %d, not %d", row->what, code, row->want);
	}
}

/* PCP-73, PCP-75, PCP-114, PCP-115: not served is as good as unknown, even if wrong. */
static void test_options_off(void **state)
{
	static const struct pcp_terms none = {.opcodes = PCP_SERVES_MAP,
					      .ports_max = 1};
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct pcp_request out;

	(void)state;
	for (int i = 0; i < 2; i++) {
		add_option(&packet, PCP_OPTION_PREFIX64, "x", 1);
		add_option(&packet, PCP_OPTION_PORT_SET, "x", 1);
	}
	assert_int_equal(decode_by(&packet, &none, &out), 0);
	assert_false(out.has_prefix64 || out.has_port_set);
	add_option(&packet, PCP_OPTION_THIRD_PARTY, OTHER4, 16);
	assert_int_equal(decode_by(&packet, &none, &out), 5);
	packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	add_option(&packet, PCP_OPTION_THIRD_PARTY, CLIENT4, 16);
	assert_int_equal(decode_by(&packet, &none, &out), 5);
}

/* PCP-77: the suggested port alone decides. PCP-116: no set with PREFER_FAILURE. */
static void test_prefer_failure(void **state)
{
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct pcp_request out;

	(void)state;
	add_option(&packet, PCP_OPTION_PREFER_FAILURE, "", 0);
	assert_int_equal(packet_decode(&packet, &out), 0);
	assert_true(out.prefer_failure);
	memcpy(packet.bytes + 42, "\0\0", 2);
	memcpy(packet.bytes + 44, REMOTE4, 16);
	assert_int_equal(code_of(&packet), 6);
	packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	add_option(&packet, PCP_OPTION_PORT_SET, "\0\2\x0c\x02\0", 5);
	add_option(&packet, PCP_OPTION_PREFER_FAILURE, "", 0);
	assert_int_equal(code_of(&packet), 6);
}

/* PCP-84: the family is that of the internal address, also when that comes last. */
static void test_filter_family(void **state)
{
	static const struct {
		const char *client;
		const char *third_party;
		const char *filter;
		int code;
	} rows[] = {{CLIENT4, NULL, REMOTE4, 0},   {CLIENT4, NULL, REMOTE6, 6},
		    {CLIENT6, NULL, REMOTE6, 0},   {CLIENT6, NULL, REMOTE4, 6},
		    {CLIENT4, OTHER4, REMOTE4, 0}, {CLIENT4, REMOTE6, REMOTE6, 0},
		    {CLIENT6, OTHER4, REMOTE6, 6}};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct packet packet = make_map(rows[i].client, 60, IPPROTO_TCP);

		add_filter(&packet, 128, 0, rows[i].filter);
		if (rows[i].third_party)
			add_option(&packet, PCP_OPTION_THIRD_PARTY, rows[i].third_party,
				   16);
		assert_int_equal(code_of(&packet), rows[i].code);
	}
	for (uint8_t length = 1; length <= 128; length++) { /* PCP-82 */
		struct packet packet = make_map(CLIENT6, 60, IPPROTO_TCP);

		add_filter(&packet, length, 0, REMOTE6);
		assert_int_equal(code_of(&packet), 0);
	}
}

/* PCP-80: more than a request can carry; the same one again is no other. */
static void test_filter_count(void **state)
{
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct pcp_request out;

	(void)state;
	for (uint16_t port = 1; port <= REQUEST_FILTERS_MAX; port++) {
		add_filter(&packet, 128, port, REMOTE4);
		add_filter(&packet, 128, port, REMOTE4);
	}
	assert_int_equal(packet_decode(&packet, &out), 0);
	assert_int_equal(out.filter_count, REQUEST_FILTERS_MAX);
	add_filter(&packet, 128, 99, REMOTE4);
	assert_int_equal(packet_decode(&packet, &out), 13);
	assert_int_equal(out.filter_count, REQUEST_FILTERS_MAX);
	add_filter(&packet, 0, 0, NONE4);
	add_filter(&packet, 128, 99, REMOTE4);
	assert_int_equal(packet_decode(&packet, &out), 0);
	assert_int_equal(out.filter_count, 1);
	/* another error of the list comes first */
	packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	for (uint16_t port = 0; port <= REQUEST_FILTERS_MAX; port++)
		add_filter(&packet, 128, port, REMOTE4);
	assert_int_equal(code_of(&packet), 13);
	add_filter(&packet, 129, 0, REMOTE4);
	assert_int_equal(code_of(&packet), 6);
}

/* PCP-110, PCP-111, PCP-113: cut at a character, clean, or not there at all. */
static void test_description(void **state)
{
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	char text[1016];
	struct pcp_request out;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[DESCRIPTION_MAX - 1] = '\xc3'; /* U+00E9, which would be cut in two */
	text[DESCRIPTION_MAX] = '\xa9';
	add_option(&packet, PCP_OPTION_DESCRIPTION, text, sizeof(text));
	assert_int_equal(packet_decode(&packet, &out), 0);
	assert_true(out.has_description);
	assert_int_equal(strlen(out.description), DESCRIPTION_MAX - 1);

	packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	add_option(&packet, PCP_OPTION_DESCRIPTION, text, sizeof(text));
	packet.bytes[63]++; /* 1017: PCP-110 */
	assert_int_equal(code_of(&packet), 6);

	packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	add_option(&packet, PCP_OPTION_DESCRIPTION, "a\0b\n<&]]>", 9);
	assert_int_equal(packet_decode(&packet, &out), 0);
	assert_string_equal(out.description, "ab<&]]>");

	packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	add_option(&packet, PCP_OPTION_DESCRIPTION, "good\xff", 5);
	assert_int_equal(packet_decode(&packet, &out), 0);
	assert_false(out.has_description);
	assert_string_equal(out.description, "");

	packet = make_map(CLIENT4, 60, IPPROTO_TCP); /* PCP-112: clears */
	add_option(&packet, PCP_OPTION_DESCRIPTION, "", 0);
	assert_int_equal(packet_decode(&packet, &out), 0);
	assert_true(out.has_description);
	assert_string_equal(out.description, "");

	packet = make_map(CLIENT4, 0, IPPROTO_TCP);
	add_option(&packet, PCP_OPTION_DESCRIPTION, "gone", 4);
	assert_int_equal(packet_decode(&packet, &out), 0);
	assert_false(out.has_description);
}

/* PCP-111: cut short, overlong, a surrogate, past the last character, alone. */
static void test_description_utf8(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {{"J\xc3\xb6rg", true},
		    {"\xf0\x9f\x8e\xae", true},
		    {"J\xc3", false},
		    {"\xc0\xaf", false},
		    {"\xe0\x80\xaf", false},
		    {"\xed\xa0\x80", false},
		    {"\xf4\x90\x80\x80", false},
		    {"\xf0\x9f\x8e", false},
		    {"\x80", false},
		    {"a\xfe", false}};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
		struct pcp_request out;

		add_option(&packet, PCP_OPTION_DESCRIPTION, rows[i].text,
			   strlen(rows[i].text));
		assert_int_equal(packet_decode(&packet, &out), 0);
		assert_int_equal(out.has_description, rows[i].good);
		assert_string_equal(out.description, rows[i].good ? rows[i].text : "");
	}
}

/* PCP-17: whatever stands in reserved fields, the request is the same. */
static void test_reserved(void **state)
{
	struct packet plain = make_peer(CLIENT4, REMOTE4, 53);
	struct packet packet = plain;
	struct pcp_request want, out;
	uint8_t a[PCP_SIZE_MAX];
	uint8_t b[PCP_SIZE_MAX];
	size_t length;

	(void)state;
	assert_int_equal(packet_decode(&plain, &want), 0);
	memset(packet.bytes + 2, 0xff, 2);
	memset(packet.bytes + 37, 0xff, 3);
	memset(packet.bytes + 62, 0xff, 2);
	assert_int_equal(packet_decode(&packet, &out), 0);
	length = pcp_encode_request(&out, a, sizeof(a));
	assert_int_equal(length, pcp_encode_request(&want, b, sizeof(b)));
	assert_memory_equal(a, b, length);

	packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	add_filter(&packet, 128, 7, REMOTE4);
	add_option(&packet, PCP_OPTION_PORT_SET, "\0\2\x0c\x02\xfe", 5);
	packet.bytes[61] = 0xff;		    /* option header */
	packet.bytes[64] = 0xff;		    /* FILTER */
	memset(packet.bytes + 84 + 4 + 5, 0xff, 3); /* padding */
	assert_int_equal(packet_decode(&packet, &out), 0);
	assert_int_equal(out.filters[0].prefix.length, 128);
	assert_int_equal(out.filters[0].port, 7);
	assert_int_equal(out.port_count, 2);
	assert_false(out.port_parity);
}

/* PCP-45 to PCP-48, PCP-65, PCP-66: what a MAP without options may say. */
static void test_map(void **state)
{
	static const struct {
		uint8_t lifetime_s;
		uint8_t protocol;
		uint16_t port;
		enum pcp_kind kind;
		int code;
	} rows[] = {{60, IPPROTO_TCP, 80, PCP_ASK, 0},
		    {60, IPPROTO_UDP, 80, PCP_ASK, 0},
		    {60, 47, 80, PCP_REFUSED, 9},
		    {60, 132, 80, PCP_REFUSED, 9},
		    {60, 47, 0, PCP_REFUSED, 9},
		    {60, IPPROTO_TCP, 0, PCP_REFUSED, 9},
		    {60, 0, 0, PCP_REFUSED, 9},
		    {60, 0, 80, PCP_REFUSED, 3},
		    {0, IPPROTO_TCP, 80, PCP_ASK, 0},
		    {0, IPPROTO_UDP, 80, PCP_ASK, 0},
		    {0, IPPROTO_TCP, 0, PCP_ANSWERED, 0},
		    {0, 0, 0, PCP_ANSWERED, 0},
		    {0, 47, 80, PCP_ANSWERED, 0},
		    {0, 47, 0, PCP_ANSWERED, 0},
		    {0, 0, 80, PCP_REFUSED, 3}};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct packet packet =
			make_map(CLIENT4, rows[i].lifetime_s, rows[i].protocol);

		packet.bytes[40] = 0;
		packet.bytes[41] = (uint8_t)rows[i].port;
		assert_int_equal(kind_of(&packet), rows[i].kind);
		assert_int_equal(code_of(&packet), rows[i].code);
	}
}

/* PCP-87: zeros and no peers; the peer is of the family of the internal address. */
static void test_peer(void **state)
{
	static const struct {
		const char *client;
		const char *remote;
		size_t zero_at;
		size_t zero_length;
		int code;
	} rows[] = {{CLIENT4, REMOTE4, 0, 0, 0},   {CLIENT6, REMOTE6, 0, 0, 0},
		    {CLIENT4, REMOTE4, 36, 1, 3},  {CLIENT4, REMOTE4, 40, 2, 3},
		    {CLIENT4, REMOTE4, 60, 2, 3},  {CLIENT4, REMOTE4, 76, 4, 3},
		    {CLIENT4, REMOTE4, 42, 2, 0},  {CLIENT4, REMOTE4, 4, 4, 0},
		    {CLIENT4, LOOPBACK4, 0, 0, 3}, {CLIENT4, NONE6, 0, 0, 3},
		    {CLIENT4, REMOTE6, 0, 0, 3},   {CLIENT6, REMOTE4, 0, 0, 3},
		    {CLIENT6, NONE6, 0, 0, 3}};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct packet packet = make_peer(rows[i].client, rows[i].remote, 53);

		memset(packet.bytes + rows[i].zero_at, 0, rows[i].zero_length);
		assert_int_equal(code_of(&packet), rows[i].code);
		if (rows[i].code == 0)
			assert_int_equal(kind_of(&packet), PCP_ASK);
		packet.bytes[36] = 47;
		if (rows[i].zero_at != 36)
			assert_int_equal(code_of(&packet), rows[i].code ? 3 : 9);
	}
}

static struct request to_request(const struct packet *packet)
{
	struct pcp_request asked;
	struct request request;

	assert_int_equal(packet_decode(packet, &asked), 0);
	pcp_to_request(&asked, &request);
	assert_int_equal(request.origin, ORIGIN_PCP);
	assert_int_equal(request.enabled, 1);
	assert_memory_equal(request.nonce, "twelve-bytes", 12);
	return request;
}

/* PCP-44, PCP-55, PCP-64, PCP-92: what core hears. */
static void test_to_core(void **state)
{
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_UDP);
	struct request request;

	(void)state;
	memset(packet.bytes + 4, 0xff, 4);
	request = to_request(&packet);
	assert_int_equal(request.op, REQUEST_MAP);
	assert_int_equal(request.protocol, IPPROTO_UDP);
	assert_int_equal(request.lifetime_s, UINT32_MAX);
	assert_int_equal(request.internal_port, 3074);
	assert_int_equal(request.external_port, 80);
	assert_memory_equal(request.internal.bytes, CLIENT4, 16);
	assert_memory_equal(request.external.bytes, NONE6, 16);
	assert_int_equal(request.port_count, 0);
	assert_int_equal(request.has_description, 0);
	memcpy(packet.bytes + 44, LOOPBACK4, 16);
	request = to_request(&packet);
	assert_memory_equal(request.external.bytes, LOOPBACK4, 16);

	packet = make_map(CLIENT4, 0, IPPROTO_UDP);
	add_option(&packet, PCP_OPTION_THIRD_PARTY, OTHER4, 16);
	request = to_request(&packet);
	assert_int_equal(request.op, REQUEST_UNMAP);
	assert_int_equal(request.external_port, 0);
	assert_memory_equal(request.internal.bytes, OTHER4, 16);

	packet = make_peer(CLIENT6, REMOTE6, 53);
	memset(packet.bytes + 4, 0, 4);
	request = to_request(&packet);
	assert_int_equal(request.op, REQUEST_PEER);
	assert_int_equal(request.lifetime_s, 0);
	assert_int_equal(request.remote_port, 53);
	assert_memory_equal(request.remote.bytes, REMOTE6, 16);
}

/* PCP-76, PCP-83, PCP-112, PCP-116: the options on their way to core. */
static void test_options_to_core(void **state)
{
	static const struct {
		uint16_t first;
		uint16_t asked;
		uint16_t want;
	} rows[] = {{3074, 8, 8},
		    {3074, 65535, REQUEST_PORTS_MAX},
		    {65535, 65535, 1},
		    {65530, 64, 6},
		    {65472, 64, 64}};
	struct packet packet = make_map(CLIENT4, 60, IPPROTO_TCP);
	struct request request;

	(void)state;
	add_option(&packet, PCP_OPTION_PREFER_FAILURE, "", 0);
	add_option(&packet, PCP_OPTION_DESCRIPTION, "Xbox", 4);
	add_filter(&packet, 0, 0, NONE4);
	add_filter(&packet, 128, 53, REMOTE4);
	request = to_request(&packet);
	assert_int_equal(request.prefer_failure, 1);
	assert_int_equal(request.has_description, 1);
	assert_string_equal(request.description, "Xbox");
	assert_int_equal(request.filter_clear, 1);
	assert_int_equal(request.filter_count, 1);
	assert_int_equal(request.filters[0].port, 53);
	assert_memory_equal(request.filters[0].prefix.addr.bytes, REMOTE4, 16);
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct packet set = {0};

		put_u16(&set, rows[i].asked);
		put_u16(&set, rows[i].first);
		packet_put(&set, "\1", 1);
		packet = make_map(CLIENT4, 60, IPPROTO_TCP);
		memcpy(packet.bytes + 40, set.bytes + 2, 2);
		add_option(&packet, PCP_OPTION_PORT_SET, (const char *)set.bytes, 5);
		request = to_request(&packet);
		assert_int_equal(request.port_count, rows[i].want);
		assert_int_equal(request.port_parity, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_version),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_mismatch),
		cmocka_unit_test(test_opcodes),
		cmocka_unit_test(test_option_list),
		cmocka_unit_test(test_option_order),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_options_off),
		cmocka_unit_test(test_prefer_failure),
		cmocka_unit_test(test_filter_family),
		cmocka_unit_test(test_filter_count),
		cmocka_unit_test(test_description),
		cmocka_unit_test(test_description_utf8),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_peer),
		cmocka_unit_test(test_to_core),
		cmocka_unit_test(test_options_to_core),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
