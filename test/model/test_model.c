/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Random sequences against the naive table. Arguments: [SEED [SEQUENCES]]. A failure
 * prints the seed of its sequence: run again with that seed and 1.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/store_lmdb.h"
#include "test/model/naive.h"

#define SEQUENCES 10000
#define BYTES 144

/* xorshift64*: any generator will do, as long as the seed repeats it */
static uint8_t next_byte(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (uint8_t)((*state * UINT64_C(0x2545f4914f6cdd1d)) >> 56);
}

static const char *run_sequence(struct model *model, uint64_t seed)
{
	uint8_t bytes[BYTES];
	uint64_t state = seed * 2 + 1;

	for (size_t i = 0; i < 16 + sizeof(bytes); i++) {
		uint8_t byte = next_byte(&state);

		if (i >= 16)
			bytes[i - 16] = byte;
	}
	return model_run(model, bytes, sizeof(bytes));
}

static bool remove_dir(const char *dir)
{
	static const char *const names[] = {STORE_FILE, STORE_LOCK_FILE};
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	if (rmdir(dir) < 0) {
		printf("model: cannot remove %s\n", dir);
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	char dir[] = "/dev/shm/portreeve-model-XXXXXX";
	uint64_t seed = 0;
	unsigned long sequences = argc > 2 ? strtoul(argv[2], NULL, 0) : SEQUENCES;
	const char *wrong = NULL;
	struct model *model;

	/* each sequence has leases by the dozen; refusals on purpose are held back */
	log_init("model", LOG_LEVEL_ERROR);
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) < 0)
		return 1;
	seed &= UINT64_C(0xffffffffff);
	printf("model: seed %llu, %lu sequences\n", (unsigned long long)seed,
	       sequences);
	if (!mkdtemp(dir))
		return 1;
	model = model_new(dir);
	for (unsigned long i = 0; i < sequences && !wrong; i++) {
		wrong = run_sequence(model, seed + i);
		if (wrong)
			printf("model: %s; repeat with: test_model %llu 1\n", wrong,
			       (unsigned long long)(seed + i));
	}
	model_free(model);
	return remove_dir(dir) && !wrong ? 0 : 1;
}
