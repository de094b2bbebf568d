/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_MODEL_NAIVE_H
#define TEST_MODEL_NAIVE_H

#include <stddef.h>
#include <stdint.h>

/*
 * The lease table as a list that is walked, and a driver that does the same random
 * things to it and to the real ledger (memory backend, real store) and compares the
 * two.
 */

struct model;

/** dir: where the store lives, "" = no store. Owns: caller frees. Aborts with a message
 * on failure. */
struct model *model_new(const char *dir);
void model_free(struct model *model);

/**
 * Do the operations that the bytes stand for and compare after each; then end every
 * lease. Returns NULL, or what does not agree, in words.
 */
const char *model_run(struct model *model, const uint8_t *bytes, size_t length);

#endif
