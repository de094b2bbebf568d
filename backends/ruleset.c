/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "backends/ruleset.h"

#include <errno.h>

int ruleset_read(struct ruleset **out)
{
	(void)out;
	return -ENOSYS;
}

void ruleset_free(struct ruleset *ruleset)
{
	(void)ruleset;
}

void ruleset_walk(const struct ruleset *ruleset, enum packet_hook hook,
		  const struct packet *packet, struct packet_verdict *out)
{
	(void)ruleset;
	(void)hook;
	(void)packet;
	*out = (struct packet_verdict){.fate = PACKET_UNKNOWN};
}

bool ruleset_walk_one(const struct ruleset *ruleset, enum packet_hook hook,
		      size_t index, const struct packet *packet,
		      struct packet_verdict *out)
{
	(void)ruleset;
	(void)hook;
	(void)index;
	(void)packet;
	(void)out;
	return false;
}

void ruleset_visit_dnat(const struct ruleset *ruleset, const char *wan,
			void (*visit)(void *user, uint8_t protocol,
				      struct port_range range),
			void *user)
{
	(void)ruleset;
	(void)wan;
	(void)visit;
	(void)user;
}

bool ruleset_find_chain(const struct ruleset *ruleset, const char *family,
			const char *table, const char *chain,
			struct ruleset_chain_view *out)
{
	(void)ruleset;
	(void)family;
	(void)table;
	(void)chain;
	(void)out;
	return false;
}

void ruleset_visit_own_rules(const struct ruleset *ruleset,
			     void (*visit)(void *user,
					   const struct ruleset_chain_view *chain,
					   uint64_t handle, bool first),
			     void *user)
{
	(void)ruleset;
	(void)visit;
	(void)user;
}
