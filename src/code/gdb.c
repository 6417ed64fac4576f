/* SPDX-License-Identifier: MIT */
/*
 * Tells a debugger how to unwind through machine code that was made: gdb's JIT interface. An ELF file in memory has
 * the code's place and its unwind table. The two names are gdb's; static, as every library has its own.
 */
#include <elf.h>
#include <string.h>

#include "code/code_int.h"

struct jit_code_entry {
	struct jit_code_entry *next, *prev;
	const void *symfile;
	u64 symfile_size;
};

static struct {
	u32 version, action; /* 1: relevant was registered */
	struct jit_code_entry *relevant, *first;
} __jit_debug_descriptor __attribute__((used)) = { .version = 1 };

/* gdb sets a breakpoint here. */
static __attribute__((noinline, used)) void __jit_debug_register_code(void)
{
	__asm__ volatile("" ::: "memory");
}

enum { SEC_NULL, SEC_TEXT, SEC_FRAME, SEC_SYMTAB, SEC_STRTAB, NSECTIONS };

static const char names[] = "\0.text\0.eh_frame\0.symtab\0.strtab\0ferry_code";

/* The file; the unwind table follows. Kept for ever, as the code is. */
struct image {
	struct jit_code_entry entry;
	Elf64_Ehdr head;
	Elf64_Shdr sections[NSECTIONS];
	Elf64_Sym symbols[2];
	char names[sizeof(names)];
	_Alignas(8) u8 frame[];
};
#define AT(field) (offsetof(struct image, field) - offsetof(struct image, head))

static u32 name_of(const char *name)
{
	const char *p = names + 1;

	while (strcmp(p, name))
		p += strlen(p) + 1;
	return (u32)(p - names);
}

static void fill(struct image *m, const void *code, size_t size, size_t frame_size)
{
	u64 at = (u64)(uintptr_t)code;

	m->head = (Elf64_Ehdr){
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
#if defined(__x86_64__)
		.e_machine = EM_X86_64,
#else
		.e_machine = EM_AARCH64,
#endif
		.e_version = EV_CURRENT,
		.e_shoff = AT(sections),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = NSECTIONS,
		.e_shstrndx = SEC_STRTAB,
	};
	m->sections[SEC_TEXT] = (Elf64_Shdr){ .sh_name = name_of(".text"), .sh_type = SHT_NOBITS,
		.sh_flags = SHF_ALLOC | SHF_EXECINSTR, .sh_addr = at, .sh_size = size, .sh_addralign = 16 };
	m->sections[SEC_FRAME] = (Elf64_Shdr){ .sh_name = name_of(".eh_frame"), .sh_type = SHT_PROGBITS,
		.sh_flags = SHF_ALLOC, .sh_addr = (u64)(uintptr_t)m->frame, .sh_offset = AT(frame),
		.sh_size = frame_size, .sh_addralign = 8 };
	m->sections[SEC_SYMTAB] = (Elf64_Shdr){ .sh_name = name_of(".symtab"), .sh_type = SHT_SYMTAB,
		.sh_offset = AT(symbols), .sh_size = sizeof(m->symbols), .sh_link = SEC_STRTAB, .sh_info = 1,
		.sh_addralign = 8, .sh_entsize = sizeof(Elf64_Sym) };
	m->sections[SEC_STRTAB] = (Elf64_Shdr){ .sh_name = name_of(".strtab"), .sh_type = SHT_STRTAB,
		.sh_offset = AT(names), .sh_size = sizeof(names), .sh_addralign = 1 };
	m->symbols[1] = (Elf64_Sym){ .st_name = name_of("ferry_code"), .st_shndx = SEC_TEXT, .st_value = at,
		.st_size = size, .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC) };
	memcpy(m->names, names, sizeof(names));
}

void code_tell_debugger(const void *code, size_t size, const void *frame, size_t frame_size)
{
	struct image *m = base_alloc(sizeof(*m) + frame_size);

	if (!m)
		return;
	memcpy(m->frame, frame, frame_size);
	fill(m, code, size, frame_size);
	m->entry.symfile = &m->head;
	m->entry.symfile_size = AT(frame) + frame_size;
	m->entry.next = __jit_debug_descriptor.first;
	if (m->entry.next)
		m->entry.next->prev = &m->entry;
	__jit_debug_descriptor.first = __jit_debug_descriptor.relevant = &m->entry;
	__jit_debug_descriptor.action = 1;
	__jit_debug_register_code();
}
