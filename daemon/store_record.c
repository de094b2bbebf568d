/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/store_record.h"

#include <netinet/in.h>
#include <string.h>

#include "base/buf.h"

/* Raise it when the bytes change; older ones are read. */
#define RECORD_VERSION 5
#define RECORD_VERSION_FIRST 1

enum record_kind {
	RECORD_LEASE = 1,
	RECORD_META = 2,
	RECORD_MARK = 3,
};

#define FLAG_ENABLED 0x1u
#define FLAG_NONCE 0x2u
#define FLAG_OUTBOUND 0x4u
#define FLAG_EXACT 0x8u
#define FLAG_MAC 0x10u
#define FLAGS_ALL (FLAG_ENABLED | FLAG_NONCE | FLAG_OUTBOUND | FLAG_EXACT | FLAG_MAC)

#define CRC_SIZE 4
/* 35,000 years: no sum or difference of three such times overflows. */
#define TIME_MAX_MS (INT64_C(1) << 50)

/* CRC-32 (IEEE 802.3), four bits a step. */
static uint32_t record_crc(const uint8_t *bytes, size_t length)
{
	static const uint32_t table[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
		0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < length; i++) {
		crc ^= bytes[i];
		crc = crc >> 4 ^ table[crc & 0xf];
		crc = crc >> 4 ^ table[crc & 0xf];
	}
	return ~crc;
}

static struct writer record_begin(uint8_t *out, enum record_kind kind,
				  const struct store_stamp *stamp)
{
	struct writer writer = writer_init(out, STORE_RECORD_SIZE_MAX);

	writer_u8(&writer, RECORD_VERSION);
	writer_u8(&writer, (uint8_t)kind);
	writer_copy(&writer, stamp->boot, sizeof(stamp->boot));
	writer_u64(&writer, (uint64_t)stamp->at.now_ms);
	writer_u64(&writer, (uint64_t)stamp->at.wall_ms);
	return writer;
}

static size_t record_end(struct writer *writer)
{
	writer_u32(writer, record_crc(writer->bytes, writer->used));
	return writer->used;
}

/* A string of at most 255 octets behind its length. */
static void record_write_text(struct writer *writer, const char *text)
{
	size_t length = strlen(text);

	writer_u8(writer, (uint8_t)length);
	writer_copy(writer, text, length);
}

static bool time_is_sane(int64_t ms)
{
	return ms >= -TIME_MAX_MS && ms <= TIME_MAX_MS;
}

/* A cursor behind the stamp and without the CRC; failed when this is no such record. */
static struct reader record_open(const void *bytes, size_t length,
				 enum record_kind kind, struct store_stamp *stamp)
{
	struct reader reader = {.failed = true};
	struct reader tail;

	if (length <= CRC_SIZE || length > STORE_RECORD_SIZE_MAX)
		return reader;
	tail = reader_init((const uint8_t *)bytes + length - CRC_SIZE, CRC_SIZE);
	if (reader_u32(&tail) != record_crc(bytes, length - CRC_SIZE))
		return reader;
	reader = reader_init(bytes, length - CRC_SIZE);
	stamp->version = reader_u8(&reader);
	if (stamp->version < RECORD_VERSION_FIRST || stamp->version > RECORD_VERSION ||
	    reader_u8(&reader) != kind)
		reader.failed = true;
	reader_copy(&reader, stamp->boot, sizeof(stamp->boot));
	stamp->at.now_ms = (int64_t)reader_u64(&reader);
	stamp->at.wall_ms = (int64_t)reader_u64(&reader);
	if (!time_is_sane(stamp->at.now_ms) || !time_is_sane(stamp->at.wall_ms))
		reader.failed = true;
	return reader;
}

/* Text that is as our own writer cleans it, shorter than size. */
static void record_read_text(struct reader *reader, char *out, size_t size)
{
	char raw[UINT8_MAX + 1] = "";
	size_t length = reader_u8(reader);

	reader_copy(reader, raw, length);
	if (length >= size) {
		reader->failed = true;
		length = 0;
	}
	text_copy_clean(out, size, raw, length);
	if (strlen(out) != length)
		reader->failed = true;
}

static void record_write_lease(struct writer *writer, const struct lease *lease)
{
	writer_u64(writer, lease->id);
	writer_addr(writer, &lease->internal);
	writer_addr(writer, &lease->client);
	writer_addr(writer, &lease->remote);
	writer_addr(writer, &lease->server);
	writer_u16(writer, lease->internal_port);
	writer_u16(writer, lease->external_port);
	writer_u16(writer, lease->remote_port);
	writer_u16(writer, lease->client_port);
	writer_u16(writer, lease->set_first);
	writer_u16(writer, lease->set_count);
	writer_u16(writer, lease->lan);
	writer_u16(writer, lease->wan);
	writer_u16(writer, lease->pinhole);
	writer_u8(writer, lease->protocol);
	writer_u8(writer, lease->origin);
	writer_u8(writer, (uint8_t)((lease->enabled ? FLAG_ENABLED : 0) |
				    (lease->has_nonce ? FLAG_NONCE : 0) |
				    (lease->outbound ? FLAG_OUTBOUND : 0) |
				    (lease->exact ? FLAG_EXACT : 0) |
				    (lease->has_mac ? FLAG_MAC : 0)));
	writer_copy(writer, lease->nonce, sizeof(lease->nonce));
	writer_u64(writer, (uint64_t)lease->created_ms);
	writer_u64(writer, (uint64_t)lease->expires_ms);
	if (lease->has_mac)
		writer_copy(writer, lease->mac, sizeof(lease->mac));
}

static void record_write_filters(struct writer *writer, const struct lease *lease)
{
	writer_u8(writer, lease->filter_count);
	for (uint8_t i = 0; i < lease->filter_count; i++) {
		writer_addr(writer, &lease->filters[i].prefix.addr);
		writer_u8(writer, lease->filters[i].prefix.length);
		writer_u16(writer, lease->filters[i].port);
	}
}

size_t store_record_encode(const struct store_record *record,
			   const struct store_stamp *stamp,
			   uint8_t out[STORE_RECORD_SIZE_MAX])
{
	struct writer writer = record_begin(out, RECORD_LEASE, stamp);
	const struct lease *lease = &record->lease;
	char name[sizeof(record->lan_name)];
	char description[DESCRIPTION_MAX + 1];
	const char *text = lease_get_description(lease);

	text_copy_clean(name, sizeof(name), record->lan_name,
			strnlen(record->lan_name, sizeof(record->lan_name)));
	text_copy_clean(description, sizeof(description), text,
			strnlen(text, sizeof(description)));
	record_write_lease(&writer, lease);
	record_write_filters(&writer, lease);
	record_write_text(&writer, name);
	record_write_text(&writer, description);
	return record_end(&writer);
}

/* Version 1 knew no PCP. */
static void record_read_pcp_ports(struct reader *reader, uint8_t version,
				  struct lease *lease)
{
	if (version == 1)
		return;
	lease->remote_port = reader_u16(reader);
	lease->client_port = reader_u16(reader);
	lease->set_first = reader_u16(reader);
	lease->set_count = reader_u16(reader);
}

static void record_read_lease(struct reader *reader, uint8_t version,
			      struct lease *lease)
{
	uint8_t flags;

	lease->id = reader_u64(reader);
	lease->internal = reader_addr(reader);
	lease->client = reader_addr(reader);
	lease->remote = reader_addr(reader);
	if (version > 1)
		lease->server = reader_addr(reader);
	lease->internal_port = reader_u16(reader);
	lease->external_port = reader_u16(reader);
	record_read_pcp_ports(reader, version, lease);
	lease->lan = reader_u16(reader);
	lease->wan = reader_u16(reader);
	if (version > 2)
		lease->pinhole = reader_u16(reader);
	lease->protocol = reader_u8(reader);
	lease->origin = reader_u8(reader);
	flags = reader_u8(reader);
	lease->enabled = flags & FLAG_ENABLED;
	lease->has_nonce = flags & FLAG_NONCE;
	lease->outbound = flags & FLAG_OUTBOUND;
	lease->exact = flags & FLAG_EXACT;
	reader_copy(reader, lease->nonce, sizeof(lease->nonce));
	lease->created_ms = (int64_t)reader_u64(reader);
	lease->expires_ms = (int64_t)reader_u64(reader);
	lease->has_mac = flags & FLAG_MAC;
	if (lease->has_mac)
		reader_copy(reader, lease->mac, sizeof(lease->mac));
	/* version 4 knew no machines */
	if ((flags & ~FLAGS_ALL) != 0 || (lease->has_mac && version < 5))
		reader->failed = true;
}

static void record_read_filters(struct reader *reader, struct lease *lease,
				struct remote_filter filters[REQUEST_FILTERS_MAX])
{
	lease->filter_count = reader_u8(reader);
	if (lease->filter_count > REQUEST_FILTERS_MAX) {
		reader->failed = true;
		lease->filter_count = 0;
	}
	for (uint8_t i = 0; i < lease->filter_count; i++) {
		filters[i].prefix.addr = reader_addr(reader);
		filters[i].prefix.length = reader_u8(reader);
		filters[i].port = reader_u16(reader);
	}
	lease->filters = filters;
}

static bool filters_are_sane(const struct lease *lease)
{
	bool ipv4 = addr_is_ipv4(&lease->internal);

	for (uint8_t i = 0; i < lease->filter_count; i++) {
		const struct prefix *prefix = &lease->filters[i].prefix;

		if (prefix->length > 128 || (ipv4 && prefix->length < 96) ||
		    addr_is_ipv4(&prefix->addr) != ipv4)
			return false;
	}
	return lease->filter_count == 0 || !lease_has_peer(lease);
}

/* A part of a set lies in it, and the set in the ports there are. */
static bool set_is_sane(const struct lease *lease)
{
	if (lease->set_count == 0)
		return true;
	return lease->set_count <= REQUEST_PORTS_MAX && lease->set_first != 0 &&
	       lease->set_first + lease->set_count - 1 <= UINT16_MAX &&
	       lease->internal_port >= lease->set_first &&
	       lease->internal_port - lease->set_first < lease->set_count;
}

/* A pinhole is of IPv6, whose port nobody changes, and may do without a remote host. */
static bool pinhole_is_sane(const struct lease *lease)
{
	if (lease->pinhole == 0)
		return lease->remote_port == 0 || !addr_is_none(&lease->remote);
	return !addr_is_ipv4(&lease->internal) && lease->set_count == 0 &&
	       lease->external_port == lease->internal_port;
}

/* Could the lease table have made this? Its own bounds are finer, and its own. */
static bool lease_is_sane(const struct lease *lease)
{
	return lease->id != 0 && lease->id != UINT64_MAX &&
	       (lease->protocol == IPPROTO_TCP || lease->protocol == IPPROTO_UDP) &&
	       lease->origin < ORIGIN_COUNT && lease->internal_port != 0 &&
	       lease->external_port != 0 && addr_is_host(&lease->internal) &&
	       (addr_is_none(&lease->client) || addr_is_host(&lease->client)) &&
	       (addr_is_none(&lease->remote) || addr_is_host(&lease->remote)) &&
	       pinhole_is_sane(lease) && filters_are_sane(lease) &&
	       set_is_sane(lease) && time_is_sane(lease->created_ms) &&
	       (lease->expires_ms == TIME_NEVER || time_is_sane(lease->expires_ms));
}

bool store_record_decode(const void *bytes, size_t length, struct store_record *out,
			 struct store_stamp *stamp, struct lease_room *room)
{
	struct reader reader = record_open(bytes, length, RECORD_LEASE, stamp);

	memset(out, 0, sizeof(*out));
	memset(room, 0, sizeof(*room));
	record_read_lease(&reader, stamp->version, &out->lease);
	if (stamp->version > 1)
		record_read_filters(&reader, &out->lease, room->filters);
	record_read_text(&reader, out->lan_name, sizeof(out->lan_name));
	record_read_text(&reader, room->description, sizeof(room->description));
	out->lease.description = room->description;
	return !reader.failed && reader.left == 0 && lease_is_sane(&out->lease);
}

size_t store_meta_encode(const struct store_meta *meta, const struct store_stamp *stamp,
			 uint8_t out[STORE_RECORD_SIZE_MAX])
{
	struct writer writer = record_begin(out, RECORD_META, stamp);

	writer_u64(&writer, meta->next_id);
	writer_u32(&writer, meta->boot_id);
	writer_copy(&writer, meta->uuid, sizeof(meta->uuid));
	writer_u64(&writer, (uint64_t)meta->epoch_origin_ms);
	writer_addr(&writer, &meta->external);
	writer_u64(&writer, (uint64_t)meta->up_since_ms);
	return record_end(&writer);
}

bool store_meta_decode(const void *bytes, size_t length, struct store_meta *out,
		       struct store_stamp *stamp)
{
	struct reader reader = record_open(bytes, length, RECORD_META, stamp);

	memset(out, 0, sizeof(*out));
	out->next_id = reader_u64(&reader);
	out->boot_id = reader_u32(&reader);
	reader_copy(&reader, out->uuid, sizeof(out->uuid));
	out->epoch_origin_ms = (int64_t)reader_u64(&reader);
	if (stamp->version > 1)
		out->external = reader_addr(&reader);
	if (stamp->version > 3)
		out->up_since_ms = (int64_t)reader_u64(&reader);
	return !reader.failed && reader.left == 0 &&
	       time_is_sane(out->epoch_origin_ms) && time_is_sane(out->up_since_ms);
}

void store_mark_encode(const struct store_mark *mark, uint8_t out[STORE_MARK_SIZE])
{
	uint8_t bytes[STORE_RECORD_SIZE_MAX];
	struct store_stamp stamp = {.at = {0}};
	struct writer writer;

	memcpy(stamp.boot, mark->boot, sizeof(stamp.boot));
	writer = record_begin(bytes, RECORD_MARK, &stamp);
	writer_u8(&writer, (uint8_t)mark->kind);
	writer_u64(&writer, mark->transaction);
	(void)record_end(&writer);
	memcpy(out, bytes, STORE_MARK_SIZE);
}

struct store_mark store_mark_decode(const void *bytes, size_t length)
{
	struct store_mark mark = {.kind = STORE_MARK_NONE};
	struct store_stamp stamp;
	struct reader reader = record_open(bytes, length, RECORD_MARK, &stamp);
	uint8_t kind = reader_u8(&reader);
	uint64_t transaction = reader_u64(&reader);

	if (reader.failed || reader.left != 0 || kind > STORE_MARK_CLEAN)
		return mark;
	mark.kind = (enum store_mark_kind)kind;
	memcpy(mark.boot, stamp.boot, sizeof(mark.boot));
	mark.transaction = transaction;
	return mark;
}

bool store_stamp_is_same_boot(const struct store_stamp *written,
			      const struct store_stamp *now)
{
	static const uint8_t unknown[STORE_BOOT_SIZE];

	/* The clock of one boot never steps back; if it did, this is another's clock.
	 */
	return memcmp(written->boot, now->boot, sizeof(now->boot)) == 0 &&
	       memcmp(now->boot, unknown, sizeof(unknown)) != 0 &&
	       now->at.now_ms >= written->at.now_ms;
}

/* What to add to a time of the boot that wrote, to get one of this boot. */
static int64_t stamp_get_shift(const struct store_stamp *written,
			       const struct store_stamp *now)
{
	int64_t away_ms = now->at.wall_ms - written->at.wall_ms;

	if (store_stamp_is_same_boot(written, now))
		return 0;
	if (away_ms < 0)
		away_ms = 0;
	return now->at.now_ms - written->at.now_ms - away_ms;
}

void store_record_convert(struct store_record *record,
			  const struct store_stamp *written,
			  const struct store_stamp *now)
{
	int64_t shift_ms = stamp_get_shift(written, now);

	record->lease.created_ms += shift_ms;
	if (record->lease.expires_ms != TIME_NEVER)
		record->lease.expires_ms += shift_ms;
}

void store_meta_convert(struct store_meta *meta, const struct store_stamp *written,
			const struct store_stamp *now)
{
	meta->epoch_origin_ms += stamp_get_shift(written, now);
	if (!store_stamp_is_same_boot(written, now))
		meta->up_since_ms = 0;
}
