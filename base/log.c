/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#define LOG_LINE_MAX 1024
#define LOG_NOTE_MAX 96
#define LOG_LIMIT_WINDOW_MS 10000

/* Configuration of this process. */
static const char *log_name = "portreeved";
static enum log_level log_threshold = LOG_LEVEL_NOTICE;

void log_init(const char *name, enum log_level level)
{
	log_name = name;
	log_threshold = level;
}

void log_set_level(enum log_level level)
{
	log_threshold = level;
}

bool log_is_on(enum log_level level)
{
	return level <= log_threshold;
}

/* sd-daemon(3) prefixes: the journal reads the level from them. */
static int log_syslog_level(enum log_level level)
{
	static const int levels[] = {
		[LOG_LEVEL_ERROR] = 3, [LOG_LEVEL_WARNING] = 4, [LOG_LEVEL_NOTICE] = 5,
		[LOG_LEVEL_INFO] = 6,  [LOG_LEVEL_DEBUG] = 7,
	};

	return levels[level];
}

/*
 * One write a line, so that lines of several processes do not mix; and none to a pipe
 * whose reader has stopped: the gateway must not wait for it. What is lost is told.
 */
static void log_put(const char *line, size_t length)
{
	static unsigned int lost;
	struct pollfd wait = {.fd = STDERR_FILENO, .events = POLLOUT};
	char note[LOG_NOTE_MAX];
	int used;

	if (poll(&wait, 1, 0) != 1 || (wait.revents & POLLOUT) == 0) {
		lost++;
		return;
	}
	if (lost > 0) {
		used = snprintf(note, sizeof(note), "%s: %u lines of log were lost\n",
				log_name, lost);
		lost = 0;
		if (used > 0 && write(STDERR_FILENO, note, (size_t)used) < 0)
			return;
	}
	if (write(STDERR_FILENO, line, length) < 0)
		lost++;
}

void log_write(enum log_level level, const char *format, ...)
{
	char line[LOG_LINE_MAX];
	int used = 0;
	int more;
	va_list args;

	if (!log_is_on(level))
		return;
	if (!isatty(STDERR_FILENO))
		used = snprintf(line, sizeof(line), "<%d>", log_syslog_level(level));
	used += snprintf(line + used, sizeof(line) - (size_t)used, "%s: %s", log_name,
			 level == LOG_LEVEL_ERROR     ? "error: "
			 : level == LOG_LEVEL_WARNING ? "warning: "
						      : "");
	va_start(args, format);
	more = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, args);
	va_end(args);
	if (more < 0)
		return;
	used += more;
	if ((size_t)used > sizeof(line) - 2)
		used = (int)sizeof(line) - 2;
	line[used++] = '\n';
	log_put(line, (size_t)used);
}

bool log_limit_pass(struct log_limit *limit, int64_t now_ms, unsigned int *suppressed)
{
	*suppressed = 0;
	if (now_ms - limit->window_start_ms >= LOG_LIMIT_WINDOW_MS) {
		*suppressed = limit->suppressed;
		limit->suppressed = 0;
		limit->lines = 0;
		limit->window_start_ms = now_ms;
	}
	if (limit->lines >=
	    (limit->lines_max > 0 ? limit->lines_max : LOG_LIMIT_LINES)) {
		limit->suppressed++;
		return false;
	}
	limit->lines++;
	return true;
}

const char *log_escape(char *out, size_t size, const char *text)
{
	size_t used = 0;

	for (; *text != '\0' && used + 5 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
			out[used++] = (char)c;
		else
			used += (size_t)snprintf(out + used, size - used, "\\x%02x", c);
	}
	out[used] = '\0';
	return out;
}
