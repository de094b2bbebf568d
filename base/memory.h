/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

/**
 * Large blocks go back to the kernel when they are freed, whatever was allocated
 * before. Called once, at the start of a process.
 */
void memory_init(void);

/**
 * From now on what is freed stays at hand, up to some dozen megabytes: for a process
 * that needs as much again at its next request.
 */
void memory_keep(void);

/**
 * Give back what only the start needed: free blocks of the heap, and pages of code and
 * constants, which come back from the page cache when they are used again. Takes a
 * millisecond; for the end of a phase, not for every request.
 */
void memory_release(void);

#endif
