/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/leftovers.h"

#include <unistd.h>

#include "backends/backend.h"
#include "daemon/firewall.h"
#include "daemon/instance.h"

int leftovers_remove(const struct conf *conf)
{
	const struct backend_ops *other = firewall_is_iptables(conf)
						  ? backend_get_nftables()
						  : backend_get_iptables();
	int instance = -1;
	int error;

	if (!firewall_may_have_leftovers(conf))
		return 0;
	error = instance_claim(&instance);
	if (error < 0)
		return error;
	other->remove_leftovers(conf->backend.mark);
	if (instance >= 0)
		(void)close(instance);
	return 0;
}
