/* SPDX-License-Identifier: MIT */
/* Where an address of this process is in the file that it was loaded from, as uprobes want it. */
#ifndef FILE_OFFSET_H
#define FILE_OFFSET_H

#include <link.h>
#include <stddef.h>

static inline int file_offset_look(struct dl_phdr_info *info, size_t size, void *arg)
{
	unsigned long *at = (unsigned long *)arg, rel = *at - info->dlpi_addr;
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD && rel - ph->p_vaddr < ph->p_filesz) {
			*at = rel - ph->p_vaddr + ph->p_offset;
			return 1;
		}
	}
	return 0;
}

/* ~0ul: in none. */
static inline unsigned long file_offset(const void *addr)
{
	unsigned long at = (unsigned long)addr;

	return dl_iterate_phdr(file_offset_look, &at) == 1 ? at : ~0ul;
}

#endif
