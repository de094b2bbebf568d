/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "test/fuzz/expect.h"

struct ip_addr expect_addr(const char *text)
{
	struct ip_addr addr;

	expect_true(addr_parse(text, &addr));
	return addr;
}
