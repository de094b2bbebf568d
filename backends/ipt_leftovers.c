/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a run with this backend left behind, for one that has another backend. */
#include "backends/ipt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define TRIES 5
/* There is nobody yet whom this would keep waiting. */
#define PATIENCE_MS 5000
#define LINE_SIZE 64

/* To ask the kernel for a table by its name would make it. */
static bool has_table(const struct ipt_family *family, const char *name)
{
	FILE *file = fopen(family->ipv6 ? "/proc/net/ip6_tables_names"
					: "/proc/net/ip_tables_names",
			   "re");
	char line[LINE_SIZE];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		found = strcmp(line, name) == 0;
	}
	(void)fclose(file);
	return found;
}

static int try_table(const struct ipt_layout *layout, enum ipt_table_name name,
		     bool *removed)
{
	struct ipt_table table;
	int error = ipt_table_open(&table, ipt_family_get(ipt_sync_is_ipv6(name)),
				   ipt_sync_get_table(name));

	if (error == 0)
		error = ipt_sync_remove(&table, layout, name);
	*removed = table.changed;
	if (error == 0)
		error = ipt_table_commit(&table);
	ipt_table_close(&table);
	return error;
}

/* Errors: -errno, logged. */
static int remove_from(const struct ipt_layout *layout, enum ipt_table_name name)
{
	const struct ipt_family *family = ipt_family_get(ipt_sync_is_ipv6(name));
	const char *table = ipt_sync_get_table(name);
	bool removed = false;
	int error = -EAGAIN;

	if (!has_table(family, table))
		return 0;
	for (unsigned int i = 0; i < TRIES && error == -EAGAIN; i++)
		error = try_table(layout, name, &removed);
	if (error < 0)
		log_warning("%s -t %s: cannot take out what an earlier run with "
			    "[backend] type = iptables may have left (%s); ports that "
			    "it opened stay so until you do: %s-save -t %s | grep -v "
			    "PORTREEVE | %s-restore -T %s",
			    family->what, table, strerror(-error), family->what, table,
			    family->what, table);
	else if (removed)
		log_notice("%s -t %s: rules that a run with [backend] type = iptables "
			   "left are taken out",
			   family->what, table);
	return error;
}

static void remove_accept(const struct ipt_layout *layout, bool ipv6)
{
	const struct backend_accept none = {.how = BACKEND_ACCEPT_OFF};
	bool failed = false;

	if (has_table(ipt_family_get(ipv6), "filter"))
		(void)!ipt_accept_sync(layout, ipv6, &none, &failed);
}

void ipt_leftovers_remove(uint32_t mark)
{
	/* What sends packets inwards goes first. */
	static const enum ipt_table_name order[] = {IPT_NAT4, IPT_MANGLE4, IPT_MANGLE6};
	struct ipt_layout *layout = calloc(1, sizeof(*layout));
	struct ipt_lock lock;
	int error = 0;

	if (!layout)
		return;
	layout->mark = mark;
	ipt_lock_open(&lock, 0);
	/* Whoever holds it for long has been told of; ours must go all the same. */
	(void)!ipt_lock_wait(&lock, PATIENCE_MS);
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]) && error == 0; i++)
		error = remove_from(layout, order[i]);
	for (int ipv6 = 0; ipv6 < 2 && error == 0; ipv6++)
		remove_accept(layout, ipv6);
	ipt_lock_release(&lock);
	ipt_lock_close(&lock);
	free(layout);
}
