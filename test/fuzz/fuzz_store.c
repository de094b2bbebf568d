/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "daemon/store_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** What was read as a lease is written, and read again, as the same bytes. */
static void take_record(const struct store_record *record,
			const struct store_stamp *stamp)
{
	struct store_stamp now = {.at = {.now_ms = 1000, .wall_ms = 1000}};
	uint8_t first[STORE_RECORD_SIZE_MAX];
	uint8_t second[STORE_RECORD_SIZE_MAX];
	size_t length = store_record_encode(record, stamp, first);
	struct store_record again;
	struct lease_room room;
	struct store_stamp again_stamp;

	if (!store_record_decode(first, length, &again, &again_stamp, &room))
		abort();
	if (store_record_encode(&again, &again_stamp, second) != length ||
	    memcmp(first, second, length) != 0)
		abort();
	store_record_convert(&again, stamp, &now);
	/* never longer than what remained */
	if (record->lease.expires_ms != TIME_NEVER &&
	    again.lease.expires_ms - now.at.now_ms >
		    record->lease.expires_ms - stamp->at.now_ms)
		abort();
}

/** The last four octets are the checksum: mended, so that the fields are reached. */
static size_t mend(const uint8_t *data, size_t size, uint8_t *out)
{
	uint32_t value = UINT32_MAX;

	memcpy(out, data, size);
	for (size_t bit = 0; bit < size * 8; bit++) {
		value ^= (uint32_t)(data[bit / 8] >> (bit % 8) & 1);
		value = value & 1 ? value >> 1 ^ 0xedb88320 : value >> 1;
	}
	value = ~value;
	for (size_t i = 0; i < 4; i++)
		out[size + i] = (uint8_t)(value >> (24 - 8 * i));
	return size + 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store_record record;
	struct lease_room room;
	struct store_meta meta;
	struct store_stamp stamp;
	uint8_t mended[STORE_RECORD_SIZE_MAX + 4];
	size_t length;

	if (store_record_decode(data, size, &record, &stamp, &room))
		take_record(&record, &stamp);
	if (store_meta_decode(data, size, &meta, &stamp))
		store_meta_convert(&meta, &stamp, &stamp);
	if (size > STORE_RECORD_SIZE_MAX)
		return 0;
	length = mend(data, size, mended);
	if (store_record_decode(mended, length, &record, &stamp, &room))
		take_record(&record, &stamp);
	if (store_meta_decode(mended, length, &meta, &stamp))
		store_meta_convert(&meta, &stamp, &stamp);
	return 0;
}
