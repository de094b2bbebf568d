/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/pinholes.h"

#include <stdlib.h>

struct pinholes {
	size_t count;
	const struct lease **leases; /* by id; NULL as long as there was none */
};

struct pinholes *pinholes_new(void)
{
	return calloc(1, sizeof(struct pinholes));
}

void pinholes_free(struct pinholes *pinholes)
{
	if (!pinholes)
		return;
	free(pinholes->leases);
	free(pinholes);
}

bool pinholes_add(struct pinholes *pinholes, uint16_t id, const struct lease *lease)
{
	if (!pinholes->leases)
		pinholes->leases = calloc(UINT16_MAX + 1, sizeof(struct lease *));
	if (!pinholes->leases)
		return false;
	pinholes->leases[id] = lease;
	pinholes->count++;
	return true;
}

void pinholes_remove(struct pinholes *pinholes, uint16_t id)
{
	pinholes->leases[id] = NULL;
	pinholes->count--;
}

const struct lease *pinholes_get(const struct pinholes *pinholes, uint16_t id)
{
	return pinholes->leases ? pinholes->leases[id] : NULL;
}

uint16_t pinholes_find_free(const struct pinholes *pinholes, uint16_t start)
{
	uint16_t id = start > 0 ? start : 1;

	if (pinholes->count == UINT16_MAX)
		return 0;
	while (pinholes_get(pinholes, id))
		id = id < UINT16_MAX ? (uint16_t)(id + 1) : 1;
	return id;
}
