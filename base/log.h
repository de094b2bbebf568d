/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * error = service impaired; warning = odd, handled; notice = start, stop, and one
 * key=value line for each lease event; info = what else an owner may ask for; debug =
 * free.
 */
enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_NOTICE,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/** Say which process this is ("core") and how much it tells. Before it: "portreeved",
 * notice. */
void log_init(const char *name, enum log_level level);

/** From now on it tells so much. */
void log_set_level(enum log_level level);

/** Write one line to stderr, with the journal's <N> level prefix when stderr is not a
 * tty. */
void log_write(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** True when lines of this level are written: to save the work of making one. */
bool log_is_on(enum log_level level);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#define LOG_LIMIT_LINES 10

/** Bucket that keeps a line which a LAN host can cause from filling the log. */
struct log_limit {
	unsigned int lines_max; /* a window; 0 = LOG_LIMIT_LINES */
	int64_t window_start_ms;
	unsigned int lines;
	unsigned int suppressed;
};

/**
 * True when the line may be written: lines_max lines in ten seconds. When a window
 * ends, the number held back is in *suppressed (else 0) for the caller to tell.
 */
bool log_limit_pass(struct log_limit *limit, int64_t now_ms, unsigned int *suppressed);

/**
 * Escape a string that came from a client: quotes, backslash and anything not printable
 * ASCII become \xNN. Returns out. Owns: caller's storage; the text is cut to fit.
 */
const char *log_escape(char *out, size_t size, const char *text);

#endif
