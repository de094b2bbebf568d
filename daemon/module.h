/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DAEMON_MODULE_H
#define DAEMON_MODULE_H

/**
 * Parts of the program that only one role needs, each a shared object with the
 * libraries it needs: a process that does not load them does not pay for them, and has
 * none of their code in its memory.
 */
enum module {
	MODULE_NONE, /* the role is in the program itself */
	MODULE_CORE,
	MODULE_UPNP,
	MODULE_STUN,
};

#define MODULE_COUNT (MODULE_STUN + 1)

struct conf;
struct role;

/** What MODULE_CORE is; the others are a struct worker_ops each. */
struct module_core {
	/** Core's part of role_main(): the sandbox is entered already. */
	int (*run_role)(const struct role *role);
	/**
	 * Take the rules out that a run with another backend left; only before the
	 * sandbox is entered. Errors: -EADDRINUSE: they are another portreeved's,
	 * logged; -errno.
	 */
	int (*remove_leftovers)(const struct conf *conf);
	/** See single_run(). */
	int (*run_single)(const struct conf *conf, const char *file);
};

/**
 * Find a module: beside the program, as in a build directory, else where it is
 * installed, seen from the program. Never by the environment or the working directory:
 * root runs this. Owns: the descriptor is the caller's. Errors: -errno, logged.
 */
int module_open(enum module module) __attribute__((warn_unused_result));

/**
 * Take an open module into this process for good; before sandbox_enter(), which forbids
 * it. Returns what the module is, by its kind.
 * Owns: takes fd. Errors: NULL, logged.
 */
const void *module_load(enum module module, int fd) __attribute__((warn_unused_result));

/** What every module exports for module_load(); the program itself has none. */
const void *module_get_interface(void);

#endif
