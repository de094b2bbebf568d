/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROBE_UPNP_CLIENT_LIBRARY_H
#define PROBE_UPNP_CLIENT_LIBRARY_H

/* Before any other: these headers define bool for themselves and take it away again,
 * ours too. */
#include <upnp.h>
#include <upnptools.h>

#endif
