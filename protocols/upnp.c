/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "protocols/upnp.h"

#include <stdio.h>
#include <string.h>

#define MS_PER_DAY 86400000

struct civil_date {
	int64_t year;
	int month; /* 1..12 */
	int day;   /* 1..31 */
};

/* Days since 1970 to a date of the Gregorian calendar, counting years from March, so
 * that the leap day is the last day of a year. */
static struct civil_date civil_from_days(int64_t days)
{
	int64_t shifted = days + 719468; /* since 0000-03-01 */
	int64_t era = shifted / 146097;
	int64_t day_of_era = shifted % 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
			       day_of_era / 146096) /
			      365;
	int64_t day_of_year =
		day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t month = (5 * day_of_year + 2) / 153; /* 0 = March */

	return (struct civil_date){
		.year = year_of_era + era * 400 + (month >= 10 ? 1 : 0),
		.month = (int)(month < 10 ? month + 3 : month - 9),
		.day = (int)(day_of_year - (153 * month + 2) / 5 + 1),
	};
}

const char *upnp_format_date(int64_t wall_ms, char text[UPNP_DATE_SIZE])
{
	static const char days[][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	int64_t at_ms = wall_ms > 0 ? wall_ms : 0;
	int64_t second = at_ms % MS_PER_DAY / 1000;
	struct civil_date date = civil_from_days(at_ms / MS_PER_DAY);

	(void)snprintf(text, UPNP_DATE_SIZE, "%s, %02d %s %04u %02u:%02u:%02u GMT",
		       days[at_ms / MS_PER_DAY % 7], date.day, months[date.month - 1],
		       (unsigned int)(date.year % 10000), (unsigned int)(second / 3600),
		       (unsigned int)(second / 60 % 60), (unsigned int)(second % 60));
	return text;
}

const char *upnp_format_uuid(const uint8_t uuid[16], char text[UPNP_UUID_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	size_t used = 0;

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[used++] = '-';
		text[used++] = digits[uuid[i] >> 4];
		text[used++] = digits[uuid[i] & 0xf];
	}
	text[used] = '\0';
	return text;
}

void upnp_write_text(struct writer *writer, const char *text)
{
	writer_copy(writer, text, strlen(text));
}

void upnp_write_number(struct writer *writer, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	writer_copy(writer, digits + at, sizeof(digits) - at);
}
