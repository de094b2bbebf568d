/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_LEFTOVERS_H
#define DAEMON_LEFTOVERS_H

struct conf;

/**
 * Take the rules out that a run with another backend left: nobody else would, and its
 * ports would stay open for ever. Wants the privileges of that backend.
 * Errors: -EADDRINUSE: another portreeved works here, logged; -errno.
 */
int leftovers_remove(const struct conf *conf) __attribute__((warn_unused_result));

#endif
