/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/memory.h"

#include <link.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Blocks from this size on are mappings of their own, and free memory at the end of the
 * heap is returned from there on. glibc's first values; it raises them with use. */
#define MEMORY_LARGE 131072
/* The same where memory is kept; the former is as large as glibc takes. */
#define MEMORY_KEPT_BLOCK (32 * 1024 * 1024)
#define MEMORY_KEPT (64 * 1024 * 1024)

void memory_init(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, MEMORY_LARGE);
	(void)mallopt(M_TRIM_THRESHOLD, MEMORY_LARGE);
}

void memory_keep(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, MEMORY_KEPT_BLOCK);
	(void)mallopt(M_TRIM_THRESHOLD, MEMORY_KEPT);
}

/*
 * Segments that nobody may write hold what stands in the file, nothing of ours. The
 * linker read symbol tables all over them, and each fault brought its neighbours.
 */
static int memory_release_object(struct dl_phdr_info *object, size_t size, void *user)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)user;
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		uintptr_t first = object->dlpi_addr + segment->p_vaddr;
		uintptr_t last = first + segment->p_memsz;
		void *start;

		if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W))
			continue;
		first &= ~(page - 1);
		memcpy(&start, &first, sizeof(start));
		(void)madvise(start, last - first, MADV_DONTNEED);
	}
	return 0;
}

void memory_release(void)
{
	(void)malloc_trim(0);
	(void)dl_iterate_phdr(memory_release_object, NULL);
}
