/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/launcher.h"
#include "daemon/leftovers.h"
#include "daemon/module.h"
#include "daemon/role.h"

const void *module_get_interface(void)
{
	static const struct module_core core = {
		.run_role = role_run_core,
		.remove_leftovers = leftovers_remove,
		.run_single = single_run,
	};

	return &core;
}
