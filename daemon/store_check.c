/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/store_check.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define META_MAGIC 0xbeefc0deu
#define META_VERSION 1
#define META_PAGES 2
#define PAGE_NONE SIZE_MAX /* root of an empty tree */
#define PAGE_SIZE_LEAST 256
#define PAGE_SIZE_MOST 32768
#define DEPTH_MAX 16

#define PAGE_BRANCH 0x01
#define PAGE_LEAF 0x02
#define PAGE_OVERFLOW 0x04
#define PAGE_META 0x08
#define NODE_BIG 0x01 /* the data stands on overflow pages */

#define TREE_INTEGER_KEY 0x08
#define ENV_NOSUBDIR 0x4000
#define RECORD_KEY_SIZE 8

/* Mirrors of what stands in the file, in host order; taken out by memcpy. */
struct tree {
	uint32_t pad; /* of the first tree: the page size */
	uint16_t flags;
	uint16_t depth;
	size_t branch_pages, leaf_pages, overflow_pages;
	size_t entries;
	size_t root;
};

struct meta {
	uint32_t magic;
	uint32_t version;
	size_t address;
	size_t map_size;
	struct tree free;
	struct tree main;
	size_t last_page;
	size_t transaction;
};

struct page {
	size_t number;
	uint16_t pad;
	uint16_t flags;
	uint16_t lower, upper; /* of an overflow page: u32, how many pages */
};

struct node {
	uint32_t size;	/* of the data; of a branch: low half of the page number */
	uint16_t flags; /* of a branch: high half of the page number */
	uint16_t key_size;
};

/* One walk over one file. */
struct check {
	const uint8_t *bytes;
	size_t size;
	size_t page_size;
	size_t page_count; /* by the meta page; the last ones may not be in the file */
	uint8_t *used;	   /* a flag for each page */
	struct meta meta;
	bool free_tree; /* the tree under way: free pages, else records */
	uint64_t key_least;
	size_t entries;
	const char *reason;
};

static bool check_fail(struct check *check, const char *reason)
{
	check->reason = reason;
	return false;
}

static bool page_take(struct check *check, size_t number, size_t count)
{
	if (number < META_PAGES || number >= check->page_count ||
	    count > check->page_count - number)
		return check_fail(check, "page number out of range");
	for (size_t i = number; i < number + count; i++) {
		if (check->used[i])
			return check_fail(check, "page used twice");
		check->used[i] = 1;
	}
	return true;
}

/* Take pages that must be there to be read; their header is in *page. */
static bool page_open(struct check *check, size_t number, size_t count,
		      struct page *page)
{
	if (!page_take(check, number, count))
		return false;
	if (number + count > check->size / check->page_size)
		return check_fail(check, "file too short");
	memcpy(page, check->bytes + number * check->page_size, sizeof(*page));
	if (page->number != number)
		return check_fail(check, "page with another's number");
	return true;
}

static uint64_t key_read(const struct check *check, const uint8_t *at)
{
	uint64_t key;
	size_t native;

	if (check->free_tree) {
		memcpy(&native, at, sizeof(native));
		return native;
	}
	memcpy(&key, at, sizeof(key));
	return be64toh(key);
}

/* Page numbers that a transaction freed: a count, then so many, falling. */
static bool free_list_check(struct check *check, const uint8_t *data, size_t size)
{
	size_t count;
	size_t previous = check->page_count;

	if (size < sizeof(count) || size % sizeof(count) != 0)
		return check_fail(check, "free list of odd size");
	memcpy(&count, data, sizeof(count));
	if (count > size / sizeof(count) - 1)
		return check_fail(check, "free list too long");
	for (size_t i = 1; i <= count; i++) {
		size_t number;

		memcpy(&number, data + i * sizeof(number), sizeof(number));
		if (number >= previous)
			return check_fail(check, "free list out of order");
		if (!page_take(check, number, 1))
			return false;
		previous = number;
	}
	return true;
}

static bool leaf_data_check(struct check *check, const struct node *node,
			    const uint8_t *data)
{
	size_t size = node->size;

	if (node->flags & NODE_BIG) {
		struct page page;
		size_t number;
		size_t count = (sizeof(page) - 1 + size) / check->page_size + 1;
		uint32_t told;

		memcpy(&number, data, sizeof(number));
		if (!page_open(check, number, count, &page))
			return false;
		memcpy(&told, &page.lower, sizeof(told));
		if (page.flags != PAGE_OVERFLOW || told != count)
			return check_fail(check, "bad overflow page");
		data = check->bytes + number * check->page_size + sizeof(page);
	}
	return !check->free_tree || free_list_check(check, data, size);
}

static bool leaf_node_check(struct check *check, const struct node *node,
			    const uint8_t *key)
{
	uint64_t value = key_read(check, key);

	if (value < check->key_least || value == UINT64_MAX)
		return check_fail(check, "keys out of order");
	if (check->free_tree && value > check->meta.transaction)
		return check_fail(check, "free list from the future");
	check->key_least = value + 1;
	check->entries++;
	return leaf_data_check(check, node, key + node->key_size);
}

static size_t node_get_child(const struct node *node)
{
	uint64_t number = node->size;

	/* LMDB has a third half where page numbers are wide. */
	if (sizeof(size_t) > sizeof(uint32_t))
		number |= (uint64_t)node->flags << 32;
	return (size_t)number;
}

/* Does the node at this offset lie in the page, with a key of the right size? */
static bool node_open(struct check *check, const struct page *page,
		      const uint8_t *bytes, size_t index, struct node *node)
{
	bool leaf = page->flags == PAGE_LEAF;
	size_t key_size = check->free_tree ? sizeof(size_t) : RECORD_KEY_SIZE;
	size_t length = sizeof(*node);
	uint16_t offset;

	memcpy(&offset, bytes + sizeof(*page) + index * sizeof(offset), sizeof(offset));
	if (offset < page->upper || offset % 2 != 0 ||
	    offset > check->page_size - sizeof(*node))
		return check_fail(check, "node out of its page");
	memcpy(node, bytes + offset, sizeof(*node));
	/* The first key of a branch page is never looked at; LMDB leaves it empty. */
	if (node->key_size != key_size && (leaf || index > 0))
		return check_fail(check, "key of a wrong size");
	if (leaf && (node->flags & ~NODE_BIG) != 0)
		return check_fail(check, "node of an unknown kind");
	length += node->key_size;
	if (leaf)
		length += node->flags & NODE_BIG ? sizeof(size_t) : node->size;
	if (length > check->page_size - offset)
		return check_fail(check, "node beyond its page");
	return true;
}

/* Nodes lie side by side without overlap: what LMDB moves about when it deletes one. */
static bool page_nodes_tile(struct check *check, const struct page *page,
			    const uint8_t *bytes, size_t count)
{
	uint8_t taken[PAGE_SIZE_MOST / 2] = {0};
	size_t sum = 0;

	for (size_t i = 0; i < count; i++) {
		struct node node;
		uint16_t offset;
		size_t length;

		if (!node_open(check, page, bytes, i, &node))
			return false;
		memcpy(&offset, bytes + sizeof(*page) + i * sizeof(offset),
		       sizeof(offset));
		length = sizeof(node) + node.key_size;
		if (page->flags == PAGE_LEAF)
			length += node.flags & NODE_BIG ? sizeof(size_t) : node.size;
		length = (length + 1) / 2;
		sum += length;
		for (size_t k = offset / 2u; k < offset / 2u + length; k++)
			if (k >= check->page_size / 2 || taken[k]++)
				return check_fail(check, "nodes overlap");
	}
	return sum * 2 == check->page_size - page->upper ||
	       check_fail(check, "gap between nodes");
}

static bool tree_walk(struct check *check, size_t number, unsigned int levels);

static bool branch_node_walk(struct check *check, const struct node *node,
			     const uint8_t *key, size_t index, unsigned int levels)
{
	if (index > 0) {
		uint64_t value = key_read(check, key);

		if (value < check->key_least)
			return check_fail(check, "branch keys out of order");
		check->key_least = value;
	}
	return tree_walk(check, node_get_child(node), levels - 1);
}

/* Walk a page and all below it; levels: how many there must be, with this one. */
static bool tree_walk(struct check *check, size_t number, unsigned int levels)
{
	const uint8_t *bytes;
	struct page page;
	size_t count;

	if (!page_open(check, number, 1, &page))
		return false;
	if (page.flags != (levels == 1 ? PAGE_LEAF : PAGE_BRANCH))
		return check_fail(check, "page of a wrong kind");
	if (page.lower < sizeof(page) || page.lower % 2 != 0 ||
	    page.lower > page.upper || page.upper > check->page_size)
		return check_fail(check, "bad page header");
	bytes = check->bytes + number * check->page_size;
	count = (page.lower - sizeof(page)) / sizeof(uint16_t);
	/* LMDB asserts that a branch page of records has two children or more. */
	if (count < (levels > 1 && !check->free_tree ? 2 : 1))
		return check_fail(check, "page with too few keys");
	if (!page_nodes_tile(check, &page, bytes, count))
		return false;
	for (size_t i = 0; i < count; i++) {
		struct node node;
		uint16_t offset;
		const uint8_t *key;

		memcpy(&offset, bytes + sizeof(page) + i * sizeof(offset),
		       sizeof(offset));
		memcpy(&node, bytes + offset, sizeof(node));
		key = bytes + offset + sizeof(node);
		if (levels == 1 ? !leaf_node_check(check, &node, key)
				: !branch_node_walk(check, &node, key, i, levels))
			return false;
	}
	return true;
}

static bool tree_check(struct check *check, const struct tree *tree, bool free_tree)
{
	check->free_tree = free_tree;
	check->key_least = 0;
	check->entries = 0;
	if (tree->flags != (free_tree ? TREE_INTEGER_KEY | ENV_NOSUBDIR : 0) ||
	    (!free_tree && tree->pad != 0))
		return check_fail(check, "tree of an unknown kind");
	if (tree->root == PAGE_NONE)
		return (tree->depth == 0 && tree->entries == 0) ||
		       check_fail(check, "tree without a root");
	if (tree->depth == 0 || tree->depth > DEPTH_MAX)
		return check_fail(check, "tree too deep");
	return tree_walk(check, tree->root, tree->depth) &&
	       (check->entries == tree->entries ||
		check_fail(check, "entries are missing"));
}

static bool meta_read(struct check *check, size_t number, struct meta *meta)
{
	const uint8_t *bytes = check->bytes + number * check->page_size;
	struct page page;

	if ((number + 1) * check->page_size > check->size)
		return check_fail(check, "file too short");
	memcpy(&page, bytes, sizeof(page));
	memcpy(meta, bytes + sizeof(page), sizeof(*meta));
	if (page.number != number || page.flags != PAGE_META ||
	    meta->magic != META_MAGIC || meta->version != META_VERSION)
		return check_fail(check, "bad meta page");
	if (meta->free.pad != check->page_size)
		return check_fail(check, "bad page size");
	return true;
}

/* Is the size of a page one that LMDB makes? It stands in the first meta page. */
static bool page_size_read(struct check *check)
{
	struct meta meta;
	size_t size;

	if (check->size < sizeof(struct page) + sizeof(meta))
		return check_fail(check, "file too short");
	memcpy(&meta, check->bytes + sizeof(struct page), sizeof(meta));
	size = meta.free.pad;
	if (size < PAGE_SIZE_LEAST || size > PAGE_SIZE_MOST || (size & (size - 1)) != 0)
		return check_fail(check, "bad page size");
	check->page_size = size;
	return true;
}

/* Look at the state this meta page tells of. */
static bool meta_choose(struct check *check, const struct meta *meta, size_t map_max)
{
	check->meta = *meta;
	if (meta->address != 0 || meta->map_size > map_max ||
	    meta->last_page >= map_max / check->page_size ||
	    meta->last_page < META_PAGES - 1)
		return check_fail(check, "bad size of the map");
	check->page_count = meta->last_page + 1;
	return true;
}

static bool state_check(struct check *check, bool newest)
{
	bool sound;

	check->used = calloc(check->page_count, 1);
	if (!check->used)
		return check_fail(check, "too large to be checked");
	sound = (!newest || tree_check(check, &check->meta.main, false)) &&
		tree_check(check, &check->meta.free, true);
	free(check->used);
	return sound;
}

/*
 * Whoever changes a tree frees the pages it replaced, and writes that down under its
 * own number: the last free list is that of the newest transaction. Called when the
 * walk of the free pages has just ended.
 */
static bool meta_is_newest(struct check *check, const struct meta *newest,
			   const struct meta *other)
{
	return newest->transaction == 0 || other->main.root == PAGE_NONE ||
	       check->key_least == (uint64_t)newest->transaction + 1 ||
	       check_fail(check, "the newest transaction left no trace");
}

/*
 * Transactions write the two meta pages in turn. Numbers that do not follow one another
 * would bring an older state back. So would one that is wrong by two: then the free
 * lists tell. LMDB keeps the state before the newest whole, so they can be looked at in
 * both.
 */
static bool file_check(struct check *check, size_t map_max)
{
	struct meta metas[META_PAGES];
	const struct meta *newest = &metas[0];
	const struct meta *other = &metas[1];

	for (size_t i = 0; i < META_PAGES; i++)
		if (!meta_read(check, i, &metas[i]))
			return false;
	if (newest->transaction < other->transaction) {
		newest = &metas[1];
		other = &metas[0];
	}
	if (newest->transaction != 0 && (&metas[newest->transaction % 2] != newest ||
					 newest->transaction - other->transaction != 1))
		return check_fail(check, "meta pages do not follow one another");
	return meta_choose(check, newest, map_max) && state_check(check, true) &&
	       meta_is_newest(check, newest, other) &&
	       meta_choose(check, other, map_max) && state_check(check, false);
}

/* A version LMDB 0.9 does not know stands where every version has stood. */
static bool version_is_other(const struct check *check)
{
	uint32_t words[2];

	if (check->size < sizeof(struct page) + sizeof(words))
		return false;
	memcpy(words, check->bytes + sizeof(struct page), sizeof(words));
	return words[0] == META_MAGIC && words[1] != META_VERSION;
}

static int check_run(struct check *check, size_t map_max)
{
	if (version_is_other(check))
		return 0;
	return page_size_read(check) && file_check(check, map_max) ? 0 : -EBADMSG;
}

int store_check_file(int fd, size_t map_max, const char **reason)
{
	struct check check = {0};
	struct stat status;
	void *bytes;
	int error;

	if (fstat(fd, &status) != 0)
		return -errno;
	if (!S_ISREG(status.st_mode) || status.st_size == 0 ||
	    (uint64_t)status.st_size > map_max) {
		*reason = status.st_size == 0 ? "empty file" : "not a file of ours";
		return -EBADMSG;
	}
	check.size = (size_t)status.st_size;
	bytes = mmap(NULL, check.size, PROT_READ, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	check.bytes = bytes;
	error = check_run(&check, map_max);
	if (error == -EBADMSG)
		*reason = check.reason;
	(void)munmap(bytes, check.size);
	return error;
}
