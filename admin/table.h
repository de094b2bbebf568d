/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ADMIN_TABLE_H
#define ADMIN_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 12
/** Below so many columns for the last cell, optional columns make room. */
#define TABLE_LAST_MIN 16

/** No cell is cut below so many columns, to make room for others. */
#define TABLE_CUT_MIN 10

/** What happens to the cells of a column that do not fit. */
enum table_cut {
	TABLE_CUT_NEVER,
	TABLE_CUT_FIRST, /* the middle goes, before that of any other */
	TABLE_CUT_THEN,	 /* the middle goes */
};

struct table_column {
	const char *name;
	bool right;    /* flush right, for numbers */
	bool optional; /* left out where the terminal is too narrow; the last one first
			*/
	enum table_cut cut;
};

/** Aligned text. Cells are kept in one block, so 50,000 rows are cheap. */
struct table;

/** Owns: columns are borrowed until table_free(). Errors: NULL = out of memory. */
struct table *table_new(const struct table_column *columns, size_t count);
void table_free(struct table *table);
/** One row; cells are copied and must be safe to show. Errors: false = out of memory.
 */
bool table_add(struct table *table, const char *const *cells)
	__attribute__((warn_unused_result));
/**
 * Write header and rows; a column that is empty in all rows is left out, but for the
 * last. width: columns of the terminal, 0 = cut nothing.
 */
void table_print(const struct table *table, FILE *file, size_t width, bool color);

#endif
