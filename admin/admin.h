/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** How portreeve ends; scripts rely on the numbers. */
enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_ERROR = 1,
	EXIT_CODE_USAGE = 2,
	EXIT_CODE_UNREACHABLE = 3,
	EXIT_CODE_PERMISSION = 4,
	EXIT_CODE_NOT_FOUND = 5,
	EXIT_CODE_REFUSED = 6,
	EXIT_CODE_DEGRADED = 7,
};

/** Longest description that a lease keeps, octets. */
#define ADMIN_DESCRIPTION_MAX 255
/** How long the daemon may take for one reply. */
#define ADMIN_TIMEOUT_DEFAULT_S 10
#define ADMIN_TIMEOUT_MAX_S 3600

/** The command line without its command and operands. Strings are of argv. */
struct options {
	const char *socket; /* never NULL when a command runs */
	const char *host;   /* NULL where not given, as all that follow */
	const char *proto;
	const char *client; /* whose leases to delete */
	const char *lifetime;
	const char *remote;
	const char *description;
	const char *gateway; /* to probe */
	const char *config;  /* for the doctor */
	int64_t timeout_ms;
	bool has_timeout;     /* the user gave it */
	bool socket_is_given; /* by the user, not found */
	bool no_search;	      /* for other gateways */
	bool json;
	bool color;   /* decided: the terminal takes it and the user wants it */
	size_t width; /* columns of the terminal; 0 = not a terminal, cut nothing */
};

/** One line on stderr: "portreeve: ...". */
void admin_report(const char *format, ...) __attribute__((format(printf, 1, 2)));
/**
 * Write out what stdout holds. Errors: false when nobody reads it any more, or reported
 * when the disk is full; the caller ends.
 */
bool admin_flush(enum exit_code *code);

/*
 * The commands. operands ends in NULL and holds as many as the command's row in main.c
 * allows; what is wrong with them is reported before the daemon is asked.
 */
enum exit_code command_status(const struct options *options, char *const *operands);
enum exit_code command_list(const struct options *options, char *const *operands);
enum exit_code command_show(const struct options *options, char *const *operands);
enum exit_code command_watch(const struct options *options, char *const *operands);
enum exit_code command_add(const struct options *options, char *const *operands);
enum exit_code command_delete(const struct options *options, char *const *operands);
enum exit_code command_reload(const struct options *options, char *const *operands);
enum exit_code command_probe(const struct options *options, char *const *operands);
enum exit_code command_doctor(const struct options *options, char *const *operands);

#endif
