/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/check.h"

void check_all(const struct facts *facts, struct findings *findings)
{
	static void (*const checks[])(const struct facts *facts,
				      struct findings *findings) = {
		check_daemon,  check_network, check_kernel,	 check_forward,
		check_hairpin, check_input,   check_translation, check_elsewhere,
	};

	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](facts, findings);
}
