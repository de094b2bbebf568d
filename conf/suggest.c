/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/parser.h"

#include <string.h>

/* Nobody mistypes a longer word into one of ours. */
#define WORD_MAX 40

static size_t min3(size_t a, size_t b, size_t c)
{
	const size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Who writes a word in capitals means the word. */
static char to_lower(char letter)
{
	return letter >= 'A' && letter <= 'Z' ? (char)(letter - 'A' + 'a') : letter;
}

/* Letters to insert, delete, replace or swap with their neighbour to make b out of a.
 */
static size_t edit_distance(const char *a, const char *b)
{
	size_t rows[3][WORD_MAX + 1]; /* before the last, last and this row */
	const size_t width = strlen(b);
	size_t i;

	for (size_t k = 0; k <= width; k++)
		rows[0][k] = k;
	for (i = 0; a[i] != '\0'; i++) {
		size_t *row = rows[(i + 1) % 3];
		const size_t *last = rows[i % 3];

		row[0] = i + 1;
		for (size_t k = 0; k < width; k++) {
			row[k + 1] = min3(last[k + 1] + 1, row[k] + 1,
					  last[k] + (a[i] == b[k] ? 0 : 1));
			if (i > 0 && k > 0 && a[i] == b[k - 1] && a[i - 1] == b[k]) {
				const size_t swap = rows[(i + 2) % 3][k - 1] + 1;

				row[k + 1] = swap < row[k + 1] ? swap : row[k + 1];
			}
		}
	}
	return rows[i % 3][width];
}

const char *conf_suggest(const char *word, const void *first, size_t count,
			 size_t stride)
{
	const size_t length = strlen(word);
	char lower[WORD_MAX + 1] = "";
	/* A third of the letters, else short words would suggest anything. */
	size_t best = length / 3 + 1;
	const char *found = NULL;

	if (length == 0 || length > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < length; i++)
		lower[i] = to_lower(word[i]);
	for (size_t i = 0; i < count; i++) {
		const char *candidate;
		size_t distance;

		memcpy(&candidate, (const char *)first + i * stride, sizeof(candidate));
		if (strlen(candidate) > WORD_MAX)
			continue;
		distance = edit_distance(lower, candidate);
		if (distance < best) {
			best = distance;
			found = candidate;
		}
	}
	return found;
}
