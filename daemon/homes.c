/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/homes.h"

#define HASH_NONFATAL_OOM 1
#include <assert.h>
#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

struct home {
	struct ip_addr host;
	struct home_node *nodes;
	UT_hash_handle hh;
};

struct homes {
	struct home *homes;
};

struct homes *homes_new(void)
{
	return calloc(1, sizeof(struct homes));
}

void homes_free(struct homes *homes)
{
	struct home *home, *next;

	if (!homes)
		return;
	home = homes->homes;
	HASH_CLEAR(hh, homes->homes);
	for (; home; home = next) {
		next = home->hh.next;
		free(home);
	}
	free(homes);
}

static struct home *home_find(const struct homes *homes, const struct ip_addr *host)
{
	struct home *home;

	HASH_FIND(hh, homes->homes, host, sizeof(*host), home);
	return home;
}

static struct home *home_add(struct homes *homes, const struct ip_addr *host)
{
	struct home *home = calloc(1, sizeof(*home));

	if (!home)
		return NULL;
	home->host = *host;
	HASH_ADD(hh, homes->homes, host, sizeof(home->host), home);
	if (home->hh.tbl)
		return home;
	free(home);
	return NULL;
}

bool homes_add(struct homes *homes, struct home_node *node, const struct lease *lease)
{
	struct home *home = home_find(homes, &lease->internal);

	if (!home)
		home = home_add(homes, &lease->internal);
	if (!home)
		return false;
	node->lease = lease;
	node->home = home;
	DL_APPEND(home->nodes, node);
	return true;
}

void homes_remove(struct homes *homes, struct home_node *node)
{
	struct home *home = node->home;

	assert(homes->homes); /* its home is one of them */
	DL_DELETE(home->nodes, node);
	if (home->nodes)
		return;
	HASH_DEL(homes->homes, home);
	free(home);
}

const struct home_node *homes_get(const struct homes *homes, const struct ip_addr *host)
{
	const struct home *home = home_find(homes, host);

	return home ? home->nodes : NULL;
}
