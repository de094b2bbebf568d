/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/module.h"
#include "protocols/worker.h"

const void *module_get_interface(void)
{
	return worker_get_stun();
}
