/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The lease table against the naive one, the operations chosen by the fuzzer. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "test/model/naive.h"

/* One ledger for all inputs: opening a store each time would be most of the work. */
static struct model *get_model(void)
{
	static struct model *model;

	if (!model) {
		log_init("fuzz", LOG_LEVEL_ERROR);
		model = model_new("");
	}
	return model;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *wrong = model_run(get_model(), data, size);

	if (wrong) {
		fprintf(stderr, "fuzz_model: %s\n", wrong);
		abort();
	}
	return 0;
}
