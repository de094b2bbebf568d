/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/unit/log_lab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define KEPT_MAX 65536

static int kept = -1;
static int shown = -1;

void log_lab_start(enum log_level level)
{
	assert_int_equal(kept, -1);
	kept = memfd_create("log", MFD_CLOEXEC);
	shown = dup(STDERR_FILENO);
	assert_true(kept >= 0 && shown >= 0);
	assert_return_code(dup2(kept, STDERR_FILENO), 0);
	log_init("test", level);
}

const char *log_lab_stop(void)
{
	static char text[KEPT_MAX];
	ssize_t length;

	log_init("test", LOG_LEVEL_NOTICE);
	assert_return_code(dup2(shown, STDERR_FILENO), 0);
	length = pread(kept, text, sizeof(text) - 1, 0);
	assert_true(length >= 0);
	text[length] = '\0';
	(void)close(kept);
	(void)close(shown);
	kept = shown = -1;
	return text;
}
