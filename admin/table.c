/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "admin/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "admin/format.h"

#define GAP 2
#define ELLIPSIS "\u2026"

struct table {
	const struct table_column *columns;
	size_t column_count;
	size_t widths[TABLE_COLUMNS_MAX]; /* of the widest cell so far */
	bool filled[TABLE_COLUMNS_MAX];	  /* some cell is not empty */
	size_t row_count;
	char *cells; /* all rows, each cell with its NUL */
	size_t used;
	size_t size;
};

struct table *table_new(const struct table_column *columns, size_t count)
{
	struct table *table = calloc(1, sizeof(*table));

	assert(count > 0 && count <= TABLE_COLUMNS_MAX);
	if (table == NULL)
		return NULL;
	table->columns = columns;
	table->column_count = count;
	for (size_t i = 0; i < count; i++)
		table->widths[i] = strlen(columns[i].name);
	return table;
}

void table_free(struct table *table)
{
	if (table == NULL)
		return;
	free(table->cells);
	free(table);
}

static bool table_grow(struct table *table, size_t needed)
{
	size_t size = table->size == 0 ? 4096 : table->size;
	char *cells;

	if (needed <= table->size)
		return true;
	while (size < needed)
		size *= 2;
	cells = realloc(table->cells, size);
	if (cells == NULL)
		return false;
	table->cells = cells;
	table->size = size;
	return true;
}

bool table_add(struct table *table, const char *const *cells)
{
	size_t octets = 0;

	for (size_t i = 0; i < table->column_count; i++)
		octets += strlen(cells[i]) + 1;
	if (!table_grow(table, table->used + octets))
		return false;
	for (size_t i = 0; i < table->column_count; i++) {
		size_t length = strlen(cells[i]) + 1;
		size_t width = format_get_width(cells[i]);

		memcpy(table->cells + table->used, cells[i], length);
		table->used += length;
		if (width > table->widths[i])
			table->widths[i] = width;
		if (width > 0)
			table->filled[i] = true;
	}
	table->row_count++;
	return true;
}

/** Which columns a terminal shows, and how wide they are. */
struct layout {
	bool shown[TABLE_COLUMNS_MAX];
	size_t widths[TABLE_COLUMNS_MAX];
	size_t last_width; /* 0 = as wide as it is */
};

/** Columns taken by everything shown before the last column. */
static size_t layout_get_used(const struct table *table, const struct layout *layout)
{
	size_t used = 0;

	for (size_t i = 0; i + 1 < table->column_count; i++) {
		if (layout->shown[i])
			used += layout->widths[i] + GAP;
	}
	return used;
}

/** The widest column that may be cut now and still is not as narrow as may be; the last
 * = none. */
static size_t layout_find_widest(const struct table *table, const struct layout *layout,
				 enum table_cut cut)
{
	size_t last = table->column_count - 1, widest = last;

	for (size_t i = 0; i < last; i++) {
		if (!layout->shown[i] || table->columns[i].cut != cut ||
		    layout->widths[i] <= TABLE_CUT_MIN)
			continue;
		if (widest == last || layout->widths[i] > layout->widths[widest])
			widest = i;
	}
	return widest;
}

/** Cut cells until a line is no wider than that. */
static void layout_cut(const struct table *table, struct layout *layout,
		       enum table_cut cut, size_t width)
{
	size_t last = table->column_count - 1;

	while (layout_get_used(table, layout) > width) {
		size_t widest = layout_find_widest(table, layout, cut);

		if (widest == last)
			return;
		layout->widths[widest]--;
	}
}

static struct layout layout_decide(const struct table *table, size_t width)
{
	size_t last = table->column_count - 1;
	size_t wanted = table->widths[last], name = strlen(table->columns[last].name);
	struct layout layout = {0};

	for (size_t i = 0; i <= last; i++) {
		layout.shown[i] =
			i == last || table->row_count == 0 || table->filled[i];
		layout.widths[i] = table->widths[i];
	}
	if (width == 0)
		return layout;
	if (wanted > TABLE_LAST_MIN)
		wanted = TABLE_LAST_MIN;
	for (size_t i = last; i-- > 0;) {
		if (layout_get_used(table, &layout) + wanted <= width)
			break;
		if (table->columns[i].optional)
			layout.shown[i] = false;
	}
	if (width > name) {
		layout_cut(table, &layout, TABLE_CUT_FIRST, width - name);
		layout_cut(table, &layout, TABLE_CUT_THEN, width - name);
	}
	width -= layout_get_used(table, &layout) < width
			 ? layout_get_used(table, &layout)
			 : width;
	/* Where not even the header fits, lines are too long: better than nothing said.
	 */
	layout.last_width = name;
	if (width > layout.last_width)
		layout.last_width = width;
	return layout;
}

static void print_spaces(FILE *file, size_t count)
{
	(void)fprintf(file, "%*s", (int)count, "");
}

/** The last cell of a line, cut where the terminal ends. */
static void print_last(const char *cell, FILE *file, size_t width)
{
	if (width == 0 || format_get_width(cell) <= width)
		(void)fprintf(file, "%s\n", cell);
	else
		(void)fprintf(file, "%.*s" ELLIPSIS "\n",
			      (int)format_get_fitting(cell, width - 1), cell);
}

/** A cell, cut in its middle: an address keeps its port. */
static void print_cut(const char *cell, FILE *file, size_t width)
{
	size_t octets = strlen(cell), tail = width / 2, head;

	/* Not of ASCII: any octet of the middle may be half a character. */
	if (format_get_width(cell) != octets)
		tail = 0;
	head = format_get_fitting(cell, width - 1 - tail);
	(void)fprintf(file, "%.*s" ELLIPSIS "%s", (int)head, cell,
		      cell + octets - tail);
	/* A wide character may have left a column. */
	if (tail == 0)
		print_spaces(file, width - 1 -
					   (format_get_width(cell) -
					    format_get_width(cell + head)));
}

static void print_row(const struct table *table, const struct layout *layout,
		      const char *const *cells, FILE *file)
{
	size_t last = table->column_count - 1;

	for (size_t i = 0; i < last; i++) {
		size_t width = format_get_width(cells[i]);
		size_t padding =
			layout->widths[i] > width ? layout->widths[i] - width : 0;

		if (!layout->shown[i])
			continue;
		if (width > layout->widths[i]) {
			print_cut(cells[i], file, layout->widths[i]);
			print_spaces(file, GAP);
			continue;
		}
		if (table->columns[i].right)
			print_spaces(file, padding);
		(void)fputs(cells[i], file);
		print_spaces(file, (table->columns[i].right ? 0 : padding) + GAP);
	}
	print_last(cells[last], file, layout->last_width);
}

void table_print(const struct table *table, FILE *file, size_t width, bool color)
{
	struct layout layout = layout_decide(table, width);
	const char *cells[TABLE_COLUMNS_MAX];
	const char *at = table->cells;

	for (size_t i = 0; i < TABLE_COLUMNS_MAX; i++)
		cells[i] = i < table->column_count ? table->columns[i].name : "";
	(void)fputs(color ? "\033[1m" : "", file);
	print_row(table, &layout, cells, file);
	(void)fputs(color ? "\033[0m" : "", file);
	for (size_t row = 0; row < table->row_count; row++) {
		for (size_t i = 0; i < table->column_count; i++) {
			cells[i] = at;
			at += strlen(at) + 1;
		}
		print_row(table, &layout, cells, file);
	}
}
