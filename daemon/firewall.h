/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_FIREWALL_H
#define DAEMON_FIREWALL_H

#include <stdbool.h>
#include <stddef.h>

#include "backends/backend.h"
#include "conf/conf.h"

/** Where core finds what iptables locks, open, where it needs it. */
#define FIREWALL_LOCK_FD 5

/**
 * True when the configuration means iptables: it says so, or leaves it to the kernel,
 * and that has no nf_tables. The one place that decides, for the launcher, which hands
 * out privileges, and for core. CAP_NET_ADMIN is needed to ask the kernel.
 */
bool firewall_is_iptables(const struct conf *conf);

/**
 * True when the kernel's answer to a question about nf_tables, whatever it says, is one
 * of nf_tables and not of a kernel without it. Pure.
 */
bool firewall_is_answer(const void *answer, size_t length);

/**
 * True when a run with another backend may have left rules: the kernel has tables where
 * they would be. It makes none that is not there.
 */
bool firewall_may_have_leftovers(const struct conf *conf);

/** What `integrate` means to a firewall whose tables are those of iptables. Pure. */
void firewall_get_accept(const struct conf *conf, struct backend_accept *out);

/**
 * Open what iptables locks, which only root may. Owns: the caller closes it.
 * Errors: -1, logged.
 */
int firewall_open_lock(void);

/** FIREWALL_LOCK_FD where that is what iptables locks, else 0. */
int firewall_find_lock(void);

#endif
