/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "daemon/store_record.h"

/* Of each lease another one; ids come again after some. */
static const char *make_text(uint64_t id)
{
	static char texts[8192][32];
	char *text = texts[id % (sizeof(texts) / sizeof(texts[0]))];

	(void)snprintf(text, sizeof(texts[0]), "Kn\xc3\xb6pfe %llu",
		       (unsigned long long)id);
	return text;
}

/* Of one flow, or of a set with filters: not both. */
static void fill_pcp(struct lease *lease, uint64_t id)
{
	static struct remote_filter filters[REQUEST_FILTERS_MAX];

	assert_true(addr_parse("2001:db8::1", &lease->server));
	lease->client_port = (uint16_t)(40000 + id % 1000);
	lease->exact = id % 7 == 0;
	if (id % 2 != 0) {
		assert_true(addr_parse("203.0.113.9", &lease->remote));
		lease->remote_port = (uint16_t)(id % 3);
		return;
	}
	lease->set_first = lease->internal_port;
	lease->set_count = (uint16_t)(1 + id % REQUEST_PORTS_MAX);
	lease->filter_count = (uint8_t)(id % (REQUEST_FILTERS_MAX + 1));
	lease->filters = filters;
	for (uint8_t i = 0; i < REQUEST_FILTERS_MAX; i++) {
		struct in_addr peer = {htonl(0xc6336400u + i)};

		filters[i].prefix.addr = addr_from_ipv4(peer);
		filters[i].prefix.length = (uint8_t)(128 - i % 2);
		filters[i].port = (uint16_t)(i * 1000);
	}
}

/* A lease with a value in every field, different for each id. */
static struct store_record make_record(uint64_t id)
{
	struct store_record record = {
		.lease = {.id = id,
			  .internal_port = (uint16_t)(1 + id % 60000),
			  .external_port = (uint16_t)(1024 + id % 60000),
			  .lan = 3,
			  .wan = 1,
			  .protocol = id % 2 ? IPPROTO_TCP : IPPROTO_UDP,
			  .origin = (uint8_t)(id % ORIGIN_COUNT),
			  .enabled = id % 3 != 0,
			  .has_nonce = id % 2 == 0,
			  .outbound = id % 5 != 0,
			  .has_mac = id % 4 == 3,
			  .created_ms = 5000000 - 1000,
			  .expires_ms = 5000000 + 60000},
	};

	record.lease.internal =
		addr_from_ipv4((struct in_addr){htonl(0xc0a80002 + (uint32_t)id)});
	record.lease.client =
		addr_from_ipv4((struct in_addr){htonl(0xc0a90002 + (uint32_t)id)});
	fill_pcp(&record.lease, id);
	memset(record.lease.nonce, (int)(id & 0xff), sizeof(record.lease.nonce));
	if (record.lease.has_mac)
		memset(record.lease.mac, (int)(id & 0x7f), sizeof(record.lease.mac));
	record.lease.description = make_text(id);
	memcpy(record.lan_name, "lan0", 5);
	return record;
}

static const struct store_stamp *stamp_now(void)
{
	static struct store_stamp stamp;

	memset(stamp.boot, 1, sizeof(stamp.boot));
	stamp.at = (struct store_time){5000000, 1700000000000};
	return &stamp;
}

static bool survives(const struct store_record *record)
{
	uint8_t bytes[STORE_RECORD_SIZE_MAX];
	size_t length = store_record_encode(record, stamp_now(), bytes);
	struct store_record again;
	struct store_stamp stamp;
	struct lease_room room;

	return store_record_decode(bytes, length, &again, &stamp, &room);
}

static void test_record_fields(void **state)
{
	struct store_record good = make_record(1);
	struct store_record bad;
	char text[DESCRIPTION_MAX + 1] = "";

	(void)state;
	assert_true(survives(&good));
	bad = good;
	bad.lease.id = 0;
	assert_false(survives(&bad));
	bad = good;
	bad.lease.protocol = IPPROTO_ICMP;
	assert_false(survives(&bad));
	bad = good;
	bad.lease.origin = ORIGIN_COUNT;
	assert_false(survives(&bad));
	bad = good;
	bad.lease.internal_port = 0;
	assert_false(survives(&bad));
	bad = good;
	bad.lease.external_port = 0;
	assert_false(survives(&bad));
	bad = good;
	assert_true(addr_parse("224.0.0.1", &bad.lease.internal));
	assert_false(survives(&bad));
	bad = good;
	assert_true(addr_parse("127.0.0.1", &bad.lease.client));
	assert_false(survives(&bad));
	bad = good;
	assert_true(addr_parse("255.255.255.255", &bad.lease.remote));
	assert_false(survives(&bad));
	bad = good;
	bad.lease.expires_ms = INT64_MIN;
	assert_false(survives(&bad));
	bad.lease.expires_ms = TIME_NEVER;
	assert_true(survives(&bad));
	memset(bad.lan_name, 'x', sizeof(bad.lan_name)); /* cut, not overrun */
	memset(text, 'x', sizeof(text) - 1);
	bad.lease.description = text;
	assert_true(survives(&bad));
	bad.lease.description = "a\nb"; /* cleaned */
	assert_true(survives(&bad));
}

/* What PCP adds: filters of the lease's family and where there is no one peer, a set
 * that has the port in it, a remote port only with a remote host. */
static void test_record_pcp_fields(void **state)
{
	struct store_record good = make_record(16);
	struct store_record bad = good;
	struct lease_room room;

	(void)state;
	assert_true(survives(&good));
	assert_int_equal(good.lease.filter_count, REQUEST_FILTERS_MAX);
	assert_true(addr_parse("203.0.113.9", &bad.lease.remote));
	assert_false(survives(&bad));
	bad = good;
	lease_keep_extra(&bad.lease, &room);
	room.filters[3].prefix.length = 95;
	assert_false(survives(&bad));
	room.filters[3].prefix.length = 129;
	assert_false(survives(&bad));
	room.filters[3].prefix.length = 96;
	assert_true(survives(&bad));
	assert_true(addr_parse("2001:db8::9", &room.filters[3].prefix.addr));
	assert_false(survives(&bad));
	bad = good;
	bad.lease.remote_port = 80;
	assert_false(survives(&bad));
	bad = good;
	bad.lease.set_first = (uint16_t)(bad.lease.internal_port + 1);
	assert_false(survives(&bad));
	bad.lease.set_first = 1;
	bad.lease.set_count = (uint16_t)(bad.lease.internal_port - 1);
	assert_false(survives(&bad));
	bad = good;
	bad.lease.set_count = REQUEST_PORTS_MAX + 1;
	assert_false(survives(&bad));
	bad = good;
	bad.lease.internal_port = bad.lease.set_first = UINT16_MAX;
	bad.lease.set_count = 2;
	assert_false(survives(&bad));
	bad.lease.set_count = 1;
	assert_true(survives(&bad));
}

/* The longest record there is fits, and no field of it is lost. */
static void test_record_longest(void **state)
{
	struct store_record record = make_record(16), again;
	uint8_t bytes[STORE_RECORD_SIZE_MAX];
	struct store_stamp stamp;
	size_t length;
	struct lease_room room;
	char text[DESCRIPTION_MAX + 1] = "";

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	record.lease.description = text;
	memset(record.lan_name, 'l', sizeof(record.lan_name) - 1);
	length = store_record_encode(&record, stamp_now(), bytes);
	assert_true(store_record_decode(bytes, length, &again, &stamp, &room));
	assert_memory_equal(record.lease.filters, again.lease.filters,
			    sizeof(room.filters));
	assert_int_equal(record.lease.set_first, again.lease.set_first);
	assert_int_equal(record.lease.set_count, again.lease.set_count);
	assert_int_equal(record.lease.client_port, again.lease.client_port);
	assert_true(addr_equal(&record.lease.server, &again.lease.server));
	assert_string_equal(record.lease.description, again.lease.description);
}

static void test_meta_external(void **state)
{
	struct store_meta meta = {.next_id = 1, .up_since_ms = 4711}, again;
	uint8_t bytes[STORE_RECORD_SIZE_MAX];
	struct store_stamp stamp;
	size_t length;

	(void)state;
	assert_true(addr_parse("203.0.113.1", &meta.external));
	length = store_meta_encode(&meta, stamp_now(), bytes);
	assert_true(store_meta_decode(bytes, length, &again, &stamp));
	assert_true(addr_equal(&meta.external, &again.external));
	assert_int_equal(again.up_since_ms, 4711);
	store_meta_convert(&again, &stamp, stamp_now());
	assert_int_equal(again.up_since_ms, 4711);
	stamp.boot[0] ^= 1; /* of another boot it says nothing */
	store_meta_convert(&again, &stamp, stamp_now());
	assert_int_equal(again.up_since_ms, 0);
}

/* Every octet counts, every length but the right one is refused. */
static void test_record_bytes(void **state)
{
	struct store_record record = make_record(1);
	struct store_meta meta = {.next_id = 1};
	struct store_stamp stamp;
	uint8_t bytes[STORE_RECORD_SIZE_MAX];
	size_t length = store_record_encode(&record, stamp_now(), bytes);
	struct lease_room room;

	(void)state;
	for (size_t bit = 0; bit < length * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		assert_false(
			store_record_decode(bytes, length, &record, &stamp, &room));
		bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	for (size_t cut = 0; cut < length; cut++)
		assert_false(store_record_decode(bytes, cut, &record, &stamp, &room));
	assert_false(store_record_decode(bytes, length + 1, &record, &stamp, &room));
	assert_false(store_meta_decode(bytes, length, &meta, &stamp));
	assert_true(store_record_decode(bytes, length, &record, &stamp, &room));
	length = store_meta_encode(&meta, stamp_now(), bytes);
	assert_true(store_meta_decode(bytes, length, &meta, &stamp));
	assert_false(store_record_decode(bytes, length, &record, &stamp, &room));
	for (size_t cut = 0; cut < length; cut++)
		assert_false(store_meta_decode(bytes, cut, &meta, &stamp));
}

/* CRC-32 again, bit by bit. */
static uint32_t crc(const uint8_t *bytes, size_t length)
{
	uint32_t value = UINT32_MAX;

	for (size_t bit = 0; bit < length * 8; bit++) {
		value ^= (uint32_t)(bytes[bit / 8] >> (bit % 8) & 1);
		value = value & 1 ? value >> 1 ^ 0xedb88320 : value >> 1;
	}
	return ~value;
}

static bool decodes(uint8_t *bytes, size_t length)
{
	struct store_record record;
	struct store_stamp stamp;
	struct lease_room room;
	uint32_t sum = htonl(crc(bytes, length - sizeof(sum)));

	memcpy(bytes + length - sizeof(sum), &sum, sizeof(sum));
	return store_record_decode(bytes, length, &record, &stamp, &room);
}

/* What the first release wrote: a lease without anything of PCP's extensions. */
static void test_first_version(void **state)
{
	struct store_record record = make_record(1), again;
	const struct lease *lease = &record.lease;
	struct store_stamp stamp = *stamp_now();
	uint8_t bytes[STORE_RECORD_SIZE_MAX] = {0};
	struct writer writer = writer_init(bytes, sizeof(bytes));
	struct lease_room room;

	(void)state;
	writer_u8(&writer, 1);
	writer_u8(&writer, 1);
	writer_copy(&writer, stamp.boot, sizeof(stamp.boot));
	writer_u64(&writer, (uint64_t)stamp.at.now_ms);
	writer_u64(&writer, (uint64_t)stamp.at.wall_ms);
	writer_u64(&writer, lease->id);
	writer_addr(&writer, &lease->internal);
	writer_addr(&writer, &lease->client);
	writer_addr(&writer, &lease->remote);
	writer_u16(&writer, lease->internal_port);
	writer_u16(&writer, lease->external_port);
	writer_u16(&writer, lease->lan);
	writer_u16(&writer, lease->wan);
	writer_u8(&writer, lease->protocol);
	writer_u8(&writer, lease->origin);
	writer_u8(&writer, 5); /* enabled, outbound */
	writer_copy(&writer, lease->nonce, sizeof(lease->nonce));
	writer_u64(&writer, (uint64_t)lease->created_ms);
	writer_u64(&writer, (uint64_t)lease->expires_ms);
	writer_u8(&writer, 4);
	writer_copy(&writer, "lan0", 4);
	writer_u8(&writer, 5);
	writer_copy(&writer, "games", 5);
	writer_u32(&writer, crc(bytes, writer.used));
	assert_true(store_record_decode(bytes, writer.used, &again, &stamp, &room));
	assert_int_equal(stamp.version, 1);
	assert_int_equal(again.lease.id, lease->id);
	assert_true(addr_equal(&again.lease.internal, &lease->internal));
	assert_int_equal(again.lease.external_port, lease->external_port);
	assert_true(again.lease.expires_ms == lease->expires_ms);
	assert_true(again.lease.enabled && again.lease.outbound);
	assert_false(again.lease.has_nonce || again.lease.exact);
	assert_int_equal(again.lease.filter_count, 0);
	assert_int_equal(again.lease.set_count, 0);
	assert_string_equal(again.lan_name, "lan0");
	assert_string_equal(again.lease.description, "games");
}

/* What the releases before pinholes of UPnP wrote: the same without the UniqueID. */
static void test_second_version(void **state)
{
	const size_t pinhole_at = 122;
	struct store_record record = make_record(16), again;
	struct store_stamp stamp;
	uint8_t bytes[STORE_RECORD_SIZE_MAX];
	size_t length = store_record_encode(&record, stamp_now(), bytes);
	uint32_t sum;
	struct lease_room room;

	(void)state;
	length -= 2;
	memmove(bytes + pinhole_at, bytes + pinhole_at + 2, length - pinhole_at);
	bytes[0] = 2;
	assert_true(decodes(bytes, length));
	sum = htonl(crc(bytes, length - sizeof(sum)));
	memcpy(bytes + length - sizeof(sum), &sum, sizeof(sum));
	assert_true(store_record_decode(bytes, length, &again, &stamp, &room));
	assert_int_equal(stamp.version, 2);
	assert_int_equal(again.lease.pinhole, 0);
	assert_int_equal(again.lease.set_count, record.lease.set_count);
	assert_int_equal(again.lease.filter_count, record.lease.filter_count);
	assert_int_equal(again.lease.wan, record.lease.wan);
	assert_string_equal(again.lease.description, record.lease.description);
}

/* What the releases wrote that knew no machines: the same without the card. */
static void test_fourth_version(void **state)
{
	struct store_record old = make_record(1), known = make_record(3), again;
	struct store_stamp stamp;
	uint8_t bytes[STORE_RECORD_SIZE_MAX];
	size_t length = store_record_encode(&known, stamp_now(), bytes);
	struct lease_room room;

	(void)state;
	assert_true(store_record_decode(bytes, length, &again, &stamp, &room));
	assert_int_equal(stamp.version, 5);
	assert_true(again.lease.has_mac);
	assert_memory_equal(again.lease.mac, known.lease.mac, LEASE_MAC_SIZE);
	assert_true(again.lease.expires_ms == known.lease.expires_ms);
	assert_string_equal(again.lease.description, known.lease.description);
	bytes[0] = 4;
	assert_false(decodes(bytes, length));
	length = store_record_encode(&old, stamp_now(), bytes);
	bytes[0] = 4;
	assert_true(decodes(bytes, length));
	assert_true(store_record_decode(bytes, length, &again, &stamp, &room));
	assert_int_equal(stamp.version, 4);
	assert_false(again.lease.has_mac);
	assert_int_equal(again.lease.id, old.lease.id);
	assert_true(again.lease.expires_ms == old.lease.expires_ms);
	assert_string_equal(again.lan_name, "lan0");
}

/* What was written before a restart left the WAN's uptime alone. */
static void test_third_version(void **state)
{
	struct store_meta meta = {.next_id = 7, .boot_id = 5, .up_since_ms = 4711},
			  again;
	struct store_stamp stamp;
	uint8_t bytes[STORE_RECORD_SIZE_MAX];
	size_t length = store_meta_encode(&meta, stamp_now(), bytes) - sizeof(uint64_t);
	uint32_t sum;

	(void)state;
	bytes[0] = 3;
	sum = htonl(crc(bytes, length - sizeof(sum)));
	memcpy(bytes + length - sizeof(sum), &sum, sizeof(sum));
	assert_true(store_meta_decode(bytes, length, &again, &stamp));
	assert_int_equal(stamp.version, 3);
	assert_int_equal(again.next_id, 7);
	assert_int_equal(again.boot_id, 5);
	assert_int_equal(again.up_since_ms, 0);
}

/* V6FW-2, V6FW-8: the one peer of a pinhole may be a port of any host. */
static void test_record_pinhole(void **state)
{
	struct store_record good = make_record(1), again;
	uint8_t bytes[STORE_RECORD_SIZE_MAX];
	struct store_record bad;
	struct store_stamp stamp;
	size_t length;
	struct lease_room room;
	struct remote_filter filter = {.prefix = {.length = 128}};

	(void)state;
	assert_true(addr_parse("2001:db8::2", &good.lease.internal));
	memset(&good.lease.remote, 0, sizeof(good.lease.remote));
	good.lease.remote_port = 443;
	good.lease.external_port = good.lease.internal_port;
	good.lease.pinhole = UINT16_MAX;
	length = store_record_encode(&good, stamp_now(), bytes);
	assert_true(store_record_decode(bytes, length, &again, &stamp, &room));
	assert_int_equal(again.lease.pinhole, UINT16_MAX);
	assert_int_equal(again.lease.remote_port, 443);
	bad = good;
	bad.lease.pinhole = 0;
	assert_false(survives(&bad));
	bad = good;
	bad.lease.external_port++;
	assert_false(survives(&bad));
	bad = good;
	assert_true(addr_parse("192.0.2.2", &bad.lease.internal));
	assert_false(survives(&bad));
	bad = good;
	bad.lease.set_first = bad.lease.internal_port;
	bad.lease.set_count = 1;
	assert_false(survives(&bad));
	bad = good;
	bad.lease.filter_count = 1; /* beside the one peer */
	bad.lease.filters = &filter;
	assert_true(addr_parse("2001:db8::9", &filter.prefix.addr));
	assert_false(survives(&bad));
	bad.lease.remote_port = 0; /* one that PCP has adopted */
	assert_true(survives(&bad));
}

/* A later release may write other bytes: sound by their checksum, and no lease to us.
 */
static void test_version_from_the_future(void **state)
{
	struct store_record record = make_record(1);
	uint8_t bytes[STORE_RECORD_SIZE_MAX];
	size_t length = store_record_encode(&record, stamp_now(), bytes);

	(void)state;
	assert_true(decodes(bytes, length));
	bytes[0]++;
	assert_false(decodes(bytes, length));
	bytes[0] = 2; /* one from the past is none either */
	assert_false(decodes(bytes, length));
	bytes[0] = 3; /* the leases of this one were the same */
	assert_true(decodes(bytes, length));
	bytes[1] = 3;
	assert_false(decodes(bytes, length));
}

/* The checksum is right, the text is not one we would write. */
static void test_record_text(void **state)
{
	struct store_record record = make_record(1);
	uint8_t bytes[STORE_RECORD_SIZE_MAX];
	size_t length;
	uint8_t *at;

	(void)state;
	record.lease.description = "FINDME";
	length = store_record_encode(&record, stamp_now(), bytes);
	at = memmem(bytes, length, "FINDME", 6);
	assert_non_null(at);
	at[2] = '\0';
	assert_false(decodes(bytes, length));
	at[2] = 0xff;
	assert_false(decodes(bytes, length));
	at[2] = 'n';
	assert_true(decodes(bytes, length));
	at[-1] = 7; /* its length */
	assert_false(decodes(bytes, length));
	at[-1] = 5;
	assert_false(decodes(bytes, length));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_record_fields),
		cmocka_unit_test(test_record_pcp_fields),
		cmocka_unit_test(test_record_longest),
		cmocka_unit_test(test_meta_external),
		cmocka_unit_test(test_record_bytes),
		cmocka_unit_test(test_record_text),
		cmocka_unit_test(test_first_version),
		cmocka_unit_test(test_second_version),
		cmocka_unit_test(test_third_version),
		cmocka_unit_test(test_fourth_version),
		cmocka_unit_test(test_record_pinhole),
		cmocka_unit_test(test_version_from_the_future),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
