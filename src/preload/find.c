/* SPDX-License-Identifier: MIT */
/*
 * Loaded objects and the functions they define, read from their own tables. dlsym(3) would do but for
 * one thing: it allocates memory where it finds nothing, and the first call that is hooked may be
 * that of an allocator which has begun and holds its lock.
 */
#include <elf.h>
#include <string.h>

#include "preload/preload_int.h"

#define HIDDEN 0x8000 /* of a version: not the default one (LSB, symbol versioning) */

/* In a loaded object addresses of the dynamic section are relocated, but for the vdso's. */
bool preload_image(struct preload_image *im, const struct dl_phdr_info *info)
{
	const ElfW(Dyn) *d = NULL;
	size_t i;

	memset(im, 0, sizeof(*im));
	im->base = info->dlpi_addr;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_DYNAMIC)
			d = (const void *)(im->base + ph->p_vaddr);
		if (ph->p_type == PT_GNU_RELRO) {
			im->relro = im->base + ph->p_vaddr;
			/* Whole pages only: what follows on the last one stays writable. */
			im->relro_end =
				(im->relro + ph->p_memsz) & ~(ElfW(Addr))(getpagesize() - 1);
		}
	}
	for (; d && d->d_tag != DT_NULL; d++) {
		const void *ptr = (const void *)d->d_un.d_ptr;

		switch (d->d_tag) {
		case DT_SYMTAB: im->syms = ptr; break;
		case DT_STRTAB: im->strings = ptr; break;
		case DT_GNU_HASH: im->hash = ptr; break;
		case DT_VERSYM: im->versions = ptr; break;
		case DT_JMPREL: im->rela[0] = ptr; break;
		case DT_PLTRELSZ: im->nrela[0] = d->d_un.d_val / sizeof(ElfW(Rela)); break;
		case DT_RELA: im->rela[1] = ptr; break;
		case DT_RELASZ: im->nrela[1] = d->d_un.d_val / sizeof(ElfW(Rela)); break;
		}
	}
	return d && im->syms && im->strings && (uintptr_t)im->syms >= im->base;
}

/* The default version of a function that the object defines; an IFUNC has no address to take. */
static void *defined(const struct preload_image *im, const char *name)
{
	u32 h = hash_gnu(name), nbuckets, first, i;
	const u32 *buckets, *chains;

	if (!im->hash || !im->hash[0])
		return NULL;
	nbuckets = im->hash[0];
	first = im->hash[1];
	/* After the header the Bloom filter, in words of the machine. */
	buckets = im->hash + 4 + im->hash[2] * (sizeof(ElfW(Addr)) / 4);
	chains = buckets + nbuckets;
	i = buckets[h % nbuckets];
	if (i < first)
		return NULL;
	for (;; i++) {
		const ElfW(Sym) *sym = &im->syms[i];
		u32 link = chains[i - first];

		if ((link | 1) == (h | 1) && sym->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(sym->st_info) == STT_FUNC &&
		    !(im->versions && im->versions[i] & HIDDEN) && !strcmp(im->strings + sym->st_name, name))
			return (void *)(im->base + sym->st_value);
		if (link & 1)
			return NULL;
	}
}

static bool named(const struct dl_phdr_info *info, const char *name)
{
	const char *path = info->dlpi_name ? info->dlpi_name : "", *base = strrchr(path, '/');

	return !strncmp(base ? base + 1 : path, name, strlen(name));
}

/*
 * What a hooked name would be without us: of the objects behind ours in the order of loading, which
 * is that of the search (gABI, "Shared Object Dependencies"), the first that defines it; else libc's.
 */
static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct preload_image im;
	bool *behind = arg;
	size_t i;

	(void)size;
	if (named(info, "libferry")) {
		*behind = true;
		return 0;
	}
	if ((!*behind && !named(info, "libc.so")) || !preload_image(&im, info))
		return 0;
	for (i = 0; i < preload_nhooks; i++)
		if (!*preload_hooks[i].real)
			*preload_hooks[i].real = defined(&im, preload_hooks[i].name);
	return 0;
}

void preload_find_libc(void)
{
	bool behind = false;

	dl_iterate_phdr(look, &behind);
}
