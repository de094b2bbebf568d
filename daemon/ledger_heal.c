/* SPDX-License-Identifier: GPL-2.0-or-later */
/* That somebody else changed our part of the firewall, and that it is right again. */
#include "backends/backend.h"
#include "base/log.h"
#include "daemon/ledger_private.h"

void ledger_report_heal(struct ledger *ledger, size_t added, size_t removed,
			int64_t now_ms)
{
	unsigned int held_back;

	if (added + removed == 0)
		return;
	ledger->figures.heals++;
	if (log_limit_pass(&ledger->heal_limit, now_ms, &held_back))
		log_warning("someone changed our firewall rules; put right, "
			    "restored=%zu strays=%zu",
			    added, removed);
}

unsigned int ledger_get_troubles(const struct ledger *ledger)
{
	const struct books *books = &ledger->books;

	return books->backend && books->backend_ops->get_troubles
		       ? books->backend_ops->get_troubles(books->backend)
		       : 0;
}

bool ledger_get_passage(const struct ledger *ledger, bool ipv6,
			struct backend_passage *out)
{
	const struct books *books = &ledger->books;

	if (!books->backend || !books->backend_ops->get_passage)
		return false;
	books->backend_ops->get_passage(books->backend, ipv6, out);
	return true;
}
