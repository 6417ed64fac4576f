/* SPDX-License-Identifier: MIT */
/* The exported functions of a library that is loaded, and its code. */
#ifndef FERRY_TEST_LIBRARY_H
#define FERRY_TEST_LIBRARY_H

#include <elf.h>
#include <link.h>
#include <string.h>

#include "attach/attach_int.h"

#define MAX_FUNCS 8192

struct library {
	const char *name;
	u64 base, text, text_end;
	u64 funcs[MAX_FUNCS];
	size_t n;
};

static int library_look(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct library *l = arg;
	const ElfW(Dyn) *d = NULL;
	const ElfW(Sym) *syms = NULL;
	u64 strtab = 0;
	int i;

	(void)size;
	if (!strstr(info->dlpi_name, l->name))
		return 0;
	l->base = info->dlpi_addr;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_DYNAMIC)
			d = (void *)(l->base + ph->p_vaddr);
		if (ph->p_type == PT_LOAD && ph->p_flags & PF_X) {
			l->text = l->base + ph->p_vaddr;
			l->text_end = l->text + ph->p_memsz;
		}
	}
	for (; d && d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_SYMTAB)
			syms = (void *)d->d_un.d_ptr;
		if (d->d_tag == DT_STRTAB)
			strtab = d->d_un.d_ptr;
	}
	/* GNU ld puts the strings right behind the symbols. */
	for (; syms && (u64)(uintptr_t)syms < strtab && l->n < MAX_FUNCS; syms++)
		if (ELF64_ST_TYPE(syms->st_info) == STT_FUNC && syms->st_shndx && syms->st_size &&
		    !func_returns_twice((void *)(l->base + syms->st_value)))
			l->funcs[l->n++] = l->base + syms->st_value;
	return 1;
}

static inline bool library_find(struct library *l, const char *name)
{
	l->name = name;
	return dl_iterate_phdr(library_look, l) && l->n;
}

#endif
