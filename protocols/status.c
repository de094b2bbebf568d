/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/status.h"

#include <stddef.h>

const struct status *status_get(enum result result)
{
	/* Sources: RFC 6886 §3.5; RFC 6887 §7.4; RFC 6970 §4.3 for what IGD:1 control
	 * points can live with: 718 where another port may help, 606 never on
	 * version 1. Over quota or rate on IGD is 501 / 728, as PCP-133 has it. */
	static const struct status table[RESULT_COUNT] = {
		[RESULT_OK] = {0, 0, 0, 0, 0},
		[RESULT_DENIED] = {2, 2, 718, 606, 606},
		[RESULT_THIRD_PARTY] = {2, 5, 718, 606, 606},
		[RESULT_FOREIGN] = {2, 2, 718, 606, 606},
		[RESULT_CONFLICT] = {4, 11, 718, 718, 701}, /* V6FW-2 */
		[RESULT_WITHHELD] = {4, 11, 718, 729, 501}, /* IGD-24 */
		[RESULT_NO_PORT] = {4, 8, 501, 728, 701},
		[RESULT_QUOTA] = {4, 10, 501, 728, 701},
		[RESULT_TABLE_FULL] = {4, 8, 501, 728, 701},
		[RESULT_PEERS] = {4, 13, 501, 501, 701},
		[RESULT_RATE] = {4, 8, 501, 501, 501},
		[RESULT_NO_ADDRESS] = {3, 7, 501, 501, 501},
		[RESULT_NO_ENTRY] = {0, 0, 714, 714, 704},
		[RESULT_NO_INDEX] = {0, 0, 713, 713, 704},
		[RESULT_BAD_CLIENT] = {2, 2, 402, 606, 606},
		[RESULT_BAD_PORT] = {2, 3, 402, 732, 706},
		[RESULT_NO_MEMORY] = {4, 8, 501, 603, 603},
		[RESULT_BACKEND] = {4, 8, 501, 501, 501},
	};

	return &table[result];
}

const char *status_get_upnp_text(uint16_t code)
{
	static const struct {
		uint16_t code;
		const char *text;
	} rows[] = {
		{401, "Invalid Action"},
		{402, "Invalid Args"},
		{404, "Invalid Var"},
		{501, "Action Failed"},
		{600, "Argument Value Invalid"},
		{601, "Argument Value Out of Range"},
		{602, "Optional Action Not Implemented"},
		{603, "Out of Memory"},
		{605, "String Argument Too Long"},
		{606, "Action not authorized"},
		{703, "InactiveConnectionStateRequired"},
		{704, "ConnectionSetupFailed"},
		{711, "ConnectionAlreadyTerminated"},
		{713, "SpecifiedArrayIndexInvalid"},
		{714, "NoSuchEntryInArray"},
		{715, "WildCardNotPermittedInSrcIP"},
		{716, "WildCardNotPermittedInExtPort"},
		{718, "ConflictInMappingEntry"},
		{720, "InvalidDeviceUUID"},
		{721, "InvalidServiceID"},
		{723, "InvalidConnServiceSelection"},
		{728, "NoPortMapsAvailable"},
		{729, "ConflictWithOtherMechanisms"},
		{730, "PortMappingNotFound"},
		{731, "ReadOnly"},
		{732, "WildCardNotPermittedInIntPort"},
		{733, "InconsistentParameters"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].code == code)
			return rows[i].text;
	return "Action Failed";
}
