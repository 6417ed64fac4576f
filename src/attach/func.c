/* SPDX-License-Identifier: MIT */
/*
 * The function around an address: where it begins and ends, from the unwind table that every object
 * has (.eh_frame_hdr, Linux Standard Base 10.6.2), and whether it branches into given bytes.
 */
#include <dlfcn.h>
#include <link.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "attach/attach_int.h"

#define PE_PCREL_S4 0x1b   /* relative to the field, 4 bytes signed */
#define PE_DATAREL_S4 0x3b /* relative to the table */
#define PE_U4 0x03

struct range {
	u64 addr, start, end; /* end 0: not found */
	/* Of an address behind its end: where the function before begins, and the next one. */
	u64 before, next;
};

struct header {
	u8 version, ptr_enc, count_enc, table_enc;
	s32 ptr;
	u32 count;
};

struct entry { /* behind it */
	s32 pc, fde;
};

/*
 * What is read of it: a table may have been cut, packed or made up, and nothing of it is worth a fault in the
 * middle of somebody's process.
 */
#define CIE_MAX 64 /* bytes: real ones have a third of that */

struct cie {
	u8 at[CIE_MAX + 1]; /* zeros behind what could be read */
};

static bool read_cie(const u8 *addr, struct cie *c)
{
	size_t n = CIE_MAX, page = 4096 - ((uintptr_t)addr & 4095);

	memset(c, 0, sizeof(*c));
	if (code_copy_safe(c->at, addr, n) && page < n)
		return !code_copy_safe(c->at, addr, page);
	return true;
}

/* The 'R' of a CIE's augmentation: how its FDEs' addresses are encoded; 0: not known here. */
static u8 cie_encoding(const struct cie *c)
{
	const char *aug = (const char *)c->at + 9;
	const u8 *p = (const u8 *)aug + strlen(aug) + 1, *end = c->at + CIE_MAX;
	int i;

	if (aug[0] != 'z')
		return 0;
	for (i = 0; i < 4; i++) /* code and data alignment, return register, augmentation size */
		while (p < end && *p++ & 0x80)
			;
	for (aug++; *aug && p < end; aug++) {
		if (*aug == 'R')
			return *p;
		if (*aug == 'L')
			p++;
		else if (*aug == 'P')
			p += *p == 0 ? 9 : 5;
		else if (*aug != 'S')
			return 0;
	}
	return 0;
}

/* A signal frame's begins a byte early, as unwinders look for the byte before a return address. */
static bool cie_is_signal(const struct cie *c)
{
	return strchr((const char *)c->at + 9, 'S') != NULL;
}

static void find_fde(const u8 *base, struct range *r)
{
	u32 lo = 0, hi, mid, length;
	struct header h;
	struct entry entry, above = { 0 };
	struct cie cie;
	s32 to_cie;
	u64 start;

	if (code_copy_safe(&h, base, sizeof(h)) || h.version != 1 || h.count_enc != PE_U4 || h.table_enc != PE_DATAREL_S4)
		return;
	for (hi = h.count; lo < hi;) {
		mid = lo + (hi - lo) / 2;
		if (code_copy_safe(&entry, base + sizeof(h) + mid * sizeof(entry), sizeof(entry)))
			return;
		if ((u64)(uintptr_t)base + (u64)(s64)entry.pc <= r->addr) {
			lo = mid + 1;
		} else {
			hi = mid;
			above = entry; /* the last one of these is entry `lo` in the end */
		}
	}
	if (!lo || code_copy_safe(&entry, base + sizeof(h) + (lo - 1) * sizeof(entry), sizeof(entry)))
		return;
	start = (u64)(uintptr_t)base + (u64)(s64)entry.pc;
	if (code_copy_safe(&to_cie, base + entry.fde + 4, 4) || code_copy_safe(&length, base + entry.fde + 12, 4) ||
	    !read_cie(base + entry.fde + 4 - to_cie, &cie) || cie_encoding(&cie) != PE_PCREL_S4 || r->addr < start)
		return;
	if (r->addr - start < length) {
		r->start = start + cie_is_signal(&cie);
		r->end = start + length;
	} else if (lo < h.count) {
		r->before = start + cie_is_signal(&cie);
		r->next = (u64)(uintptr_t)base + (u64)(s64)above.pc;
	}
}

/* Code that can be read, a page at a time. */
static bool is_readable(u64 start, u64 end)
{
	u8 byte;

	for (; start < end; start = (start | 4095) + 1)
		if (code_copy_safe(&byte, (const void *)(uintptr_t)start, 1))
			return false;
	return true;
}

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	const ElfW(Phdr) *table = NULL, *load = NULL;
	struct range *r = arg;
	u64 from, to;
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD && r->addr - info->dlpi_addr - ph->p_vaddr < ph->p_memsz)
			load = ph;
		if (ph->p_type == PT_GNU_EH_FRAME)
			table = ph;
	}
	if (!load || !table)
		return load != NULL;
	find_fde((const u8 *)(uintptr_t)(info->dlpi_addr + table->p_vaddr), r);
	/* What leads out of its part of the file is as good as unknown. */
	from = info->dlpi_addr + load->p_vaddr;
	to = from + load->p_memsz;
	if (r->end && (r->start < from || r->end > to || r->start >= r->end || !is_readable(r->start, r->end)))
		r->start = r->end = 0;
	if (r->next && (r->before < from || r->next > to || r->next <= r->addr || !is_readable(r->before, r->next)))
		r->before = r->next = 0;
	return 1;
}

bool func_is_padding(u64 from, u64 to)
{
	const u8 *p = (const u8 *)(uintptr_t)from, *end = (const u8 *)(uintptr_t)to;
	ZydisDecodedInstruction in;
	ZydisDecoder d;

	ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	while (p < end) {
		if (*p == 0xcc || *p == 0) {
			p++;
			continue;
		}
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d, NULL, p, 16, &in)) ||
		    in.mnemonic != ZYDIS_MNEMONIC_NOP)
			return false;
		p += in.length;
	}
	return true;
}

bool func_allows_jump(u64 addr, const struct moved *m, const char **why)
{
	struct range r = { .addr = addr };
	struct branches b;

	if (m->n == 1 && m->len >= JUMP_SIZE)
		return true;
	dl_iterate_phdr(look, &r);
	if (!r.end) {
		*why = "where its function begins and ends is not known";
		return false;
	}
	if (addr + m->len > r.end &&
	    (!is_readable(r.end, addr + m->len) || !func_is_padding(r.end, addr + m->len))) {
		*why = "its function ends within the five bytes of a jump";
		return false;
	}
	b = branches_into(r.start, r.end, addr, m->len, addr == r.start && branch_is_prologue(addr, r.end, m));
	if (b.into) {
		*why = "its function branches into the five bytes of a jump";
		return false;
	}
	if (b.unknown) {
		*why = "its function has branches that cannot be followed";
		return false;
	}
	return true;
}

bool func_range(u64 addr, u64 *start, u64 *end)
{
	struct range r = { .addr = addr };

	dl_iterate_phdr(look, &r);
	*start = r.start;
	*end = r.end;
	return r.end != 0;
}

bool func_gap(u64 addr, u64 *start, u64 *end)
{
	struct range r = { .addr = addr };

	dl_iterate_phdr(look, &r);
	*start = r.before;
	*end = r.next;
	return !r.end && r.next && addr - r.before < 4096;
}

bool func_starts_at(u64 addr)
{
	struct range r = { .addr = addr };

	dl_iterate_phdr(look, &r);
	return r.end && r.start == addr;
}

bool func_returns_twice(const void *addr)
{
	static const char *const names[] = { "setjmp", "_setjmp", "__sigsetjmp", "sigsetjmp",
					     "getcontext", "vfork", "__vfork" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (dlsym(RTLD_DEFAULT, names[i]) == addr)
			return true;
	return false;
}
