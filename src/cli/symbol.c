/* SPDX-License-Identifier: MIT */
/*
 * The name of what a probe is on: a file and an offset in it as a function of its symbol tables. The file
 * is whatever a process of the session named: only a regular one is opened, and libelf checks what it says.
 */
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

/* The last file: the lines of a table name few, and one after another. */
static struct {
	char *path;
	Elf *elf;
	int fd;
} last = { NULL, NULL, -1 };

static Elf *open_file(const char *path)
{
	struct stat st;

	if (last.path && !strcmp(last.path, path))
		return last.elf;
	elf_end(last.elf);
	if (last.fd >= 0)
		close(last.fd);
	free(last.path);
	last.path = strdup(path);
	last.elf = NULL;
	last.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not waiting for a FIFO's writer */
	if (last.fd < 0 || fstat(last.fd, &st) || !S_ISREG(st.st_mode) || elf_version(EV_CURRENT) == EV_NONE)
		return NULL;
	last.elf = elf_begin(last.fd, ELF_C_READ_MMAP, NULL);
	return last.elf;
}

/* Symbols have addresses, probes offsets in the file (gABI, "Program Header"). */
static bool address_of(Elf *elf, u64 offset, u64 *addr)
{
	size_t n, i;
	GElf_Phdr ph;

	if (elf_getphdrnum(elf, &n))
		return false;
	for (i = 0; i < n; i++)
		if (gelf_getphdr(elf, (int)i, &ph) && ph.p_type == PT_LOAD && offset - ph.p_offset < ph.p_filesz) {
			*addr = offset - ph.p_offset + ph.p_vaddr;
			return true;
		}
	return false;
}

static bool is_printable(const char *s)
{
	while (*s > ' ' && *s < 127)
		s++;
	return !*s;
}

/* The function of one table that has the address; of several names the first. */
static const char *find(Elf *elf, Elf_Scn *scn, u64 addr, u64 *start)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	const char *name;
	GElf_Shdr sh;
	GElf_Sym sym;
	size_t n, i;

	if (!data || !gelf_getshdr(scn, &sh) || !sh.sh_entsize)
		return NULL;
	n = sh.sh_size / sh.sh_entsize;
	for (i = 0; i < n && gelf_getsym(data, (int)i, &sym); i++) {
		u32 type = GELF_ST_TYPE(sym.st_info);

		if ((type != STT_FUNC && type != STT_GNU_IFUNC) || sym.st_shndx == SHN_UNDEF || addr < sym.st_value ||
		    addr - sym.st_value >= (sym.st_size ? sym.st_size : 1))
			continue;
		name = elf_strptr(elf, sh.sh_link, sym.st_name);
		if (name && *name && is_printable(name)) {
			*start = sym.st_value;
			return name;
		}
	}
	return NULL;
}

const char *cli_symbol(const char *path, u64 offset, u64 *into)
{
	static const u32 tables[] = { SHT_SYMTAB, SHT_DYNSYM };
	Elf *elf = open_file(path);
	const char *name;
	u64 addr, start;
	Elf_Scn *scn;
	GElf_Shdr sh;
	size_t i;

	if (!elf || elf_kind(elf) != ELF_K_ELF || !address_of(elf, offset, &addr))
		return NULL;
	for (i = 0; i < ARRAY_SIZE(tables); i++)
		for (scn = NULL; (scn = elf_nextscn(elf, scn));) {
			if (!gelf_getshdr(scn, &sh) || sh.sh_type != tables[i])
				continue;
			name = find(elf, scn, addr, &start);
			if (name) {
				*into = addr - start;
				return name;
			}
		}
	return NULL;
}
