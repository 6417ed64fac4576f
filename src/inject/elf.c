/* SPDX-License-Identifier: MIT */
/*
 * Symbols of the target's libraries, read from its memory: what is loaded is what counts, whatever
 * became of the files and whichever file system the target sees. All of it is as the target says.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "inject/inject_int.h"

#define MAX_PHDRS 64
#define MAX_DYNAMIC 256
#define MAX_CHAIN 512 /* names of one hash: real ones have a handful */
#define CAVE 128

/* In loaded objects these addresses are relocated, but for the vdso's. */
static u64 relocated(const struct module *m, u64 addr)
{
	return addr < m->base ? addr + m->bias : addr;
}

static int read_dynamic(const struct target *t, struct module *m, u64 addr, u64 size)
{
	Elf64_Dyn d[MAX_DYNAMIC];
	size_t n = size / sizeof(d[0]), i;

	if (n > MAX_DYNAMIC)
		n = MAX_DYNAMIC;
	if (target_get(t->pid, addr, d, n * sizeof(d[0])))
		return -EFAULT;
	for (i = 0; i < n && d[i].d_tag != DT_NULL; i++) {
		u64 value = d[i].d_un.d_ptr;

		switch (d[i].d_tag) {
		case DT_SYMTAB: m->symbols = relocated(m, value); break;
		case DT_STRTAB: m->strings = relocated(m, value); break;
		case DT_STRSZ: m->strings_size = value; break;
		case DT_GNU_HASH: m->gnu_hash = relocated(m, value); break;
		}
	}
	return m->symbols && m->strings ? 0 : -ENOENT;
}

int elf_read_module(struct target *t, u64 base, const char *path, struct module *m)
{
	Elf64_Phdr ph[MAX_PHDRS];
	u64 dynamic = 0, size = 0;
	bool loaded = false;
	Elf64_Ehdr eh;
	u32 i;

	*m = (struct module){ .base = base, .path = path };
	if (target_get(t->pid, base, &eh, sizeof(eh)) || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != EM_X86_64 || eh.e_phnum > MAX_PHDRS ||
	    eh.e_phentsize != sizeof(ph[0]) || target_get(t->pid, base + eh.e_phoff, ph, eh.e_phnum * sizeof(ph[0])))
		return -ENOEXEC;
	for (i = 0; i < eh.e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD && !ph[i].p_offset && !loaded) {
			m->bias = base - (ph[i].p_vaddr & ~4095ull);
			loaded = true;
		}
		if (ph[i].p_type == PT_LOAD && ph[i].p_flags & PF_X && ph[i].p_memsz == ph[i].p_filesz)
			m->text_end = ph[i].p_vaddr + ph[i].p_memsz;
		if (ph[i].p_type == PT_DYNAMIC) {
			dynamic = ph[i].p_vaddr;
			size = ph[i].p_memsz;
		}
	}
	if (!loaded)
		return -ENOEXEC;
	if (m->text_end)
		m->text_end += m->bias;
	/* Who only maps a file has its symbols nowhere; the kernel's own object is in no list. */
	if (!dynamic || (*path == '/' && !target_is_loaded(t, dynamic + m->bias)))
		return -ENOEXEC;
	read_dynamic(t, m, dynamic + m->bias, size);
	m->allocates = elf_symbol(t, m, "malloc") || elf_symbol(t, m, "__tls_get_addr");
	return 0;
}

static bool is_named(const struct target *t, const struct module *m, const Elf64_Sym *sym, const char *name)
{
	size_t n = strlen(name) + 1;
	char there[128];

	return n <= sizeof(there) && sym->st_name < m->strings_size && n <= m->strings_size - sym->st_name &&
	       !target_get(t->pid, m->strings + sym->st_name, there, n) && !memcmp(there, name, n);
}

u64 elf_symbol(const struct target *t, const struct module *m, const char *name)
{
	struct {
		u32 buckets, first, bloom, shift;
	} head;
	u32 hash = hash_gnu(name), i, link, round;
	u64 buckets, chains;
	Elf64_Sym sym;

	if (!m->gnu_hash || target_get(t->pid, m->gnu_hash, &head, sizeof(head)) || !head.buckets)
		return 0;
	buckets = m->gnu_hash + sizeof(head) + (u64)head.bloom * 8;
	chains = buckets + (u64)head.buckets * 4;
	if (target_get(t->pid, buckets + (u64)(hash % head.buckets) * 4, &i, sizeof(i)) || i < head.first)
		return 0;
	for (round = 0; round < MAX_CHAIN; round++, i++) {
		if (target_get(t->pid, chains + (u64)(i - head.first) * 4, &link, sizeof(link)))
			return 0;
		if ((link | 1) == (hash | 1) &&
		    !target_get(t->pid, m->symbols + (u64)i * sizeof(sym), &sym, sizeof(sym)) &&
		    ELF64_ST_TYPE(sym.st_info) == STT_FUNC && sym.st_shndx != SHN_UNDEF && is_named(t, m, &sym, name))
			return m->bias + sym.st_value;
		if (link & 1)
			return 0;
	}
	return 0;
}

u64 elf_find(const struct target *t, const char *name)
{
	u64 addr, other = 0;
	size_t i;

	for (i = 0; i < t->nmodules; i++) {
		addr = elf_symbol(t, &t->modules[i], name);
		if (addr && elf_symbol(t, &t->modules[i], "gnu_get_libc_version"))
			return addr;
		other = other ? other : addr;
	}
	return other;
}

u64 elf_cave(const struct target *t)
{
	const struct mapping *map;
	u64 at, end;
	size_t i;

	for (i = 0; i < t->nmodules; i++) {
		at = ALIGN_UP(t->modules[i].text_end, 16);
		end = ALIGN_UP(t->modules[i].text_end, 4096);
		if (!at || end - at < CAVE)
			continue;
		map = target_mapping(t, at);
		if (map && map->exec && map->module == i + 1 && map->end >= at + CAVE)
			return at;
	}
	return 0;
}
