/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/result.h"

const char *result_get_name(enum result result)
{
	static const char *const names[RESULT_COUNT] = {
		[RESULT_OK] = "ok",
		[RESULT_DENIED] = "denied",
		[RESULT_THIRD_PARTY] = "third-party",
		[RESULT_FOREIGN] = "foreign",
		[RESULT_CONFLICT] = "conflict",
		[RESULT_WITHHELD] = "withheld",
		[RESULT_NO_PORT] = "no-port",
		[RESULT_QUOTA] = "quota",
		[RESULT_TABLE_FULL] = "table-full",
		[RESULT_PEERS] = "peers",
		[RESULT_RATE] = "rate",
		[RESULT_NO_ADDRESS] = "no-address",
		[RESULT_NO_ENTRY] = "no-entry",
		[RESULT_NO_INDEX] = "no-index",
		[RESULT_BAD_CLIENT] = "bad-client",
		[RESULT_BAD_PORT] = "bad-port",
		[RESULT_NO_MEMORY] = "no-memory",
		[RESULT_BACKEND] = "backend",
	};

	return (unsigned int)result < RESULT_COUNT ? names[result] : "unknown";
}
