/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What PCP's PEER asks: one flow, from the internal endpoint to one remote endpoint. */
#include "daemon/plan_private.h"
#include "daemon/table.h"

void plan_peer(const struct table *table, const struct plan_context *context,
	       struct plan *plan)
{
	(void)table;
	(void)context;
	plan->result = RESULT_DENIED;
}
