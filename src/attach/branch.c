/* SPDX-License-Identifier: MIT */
/*
 * Where a function branches to: directly, by the tables of switches, and from the parts that compilers put elsewhere
 * (f.cold). The only thing asked is whether anything leads into given bytes.
 */
#include <link.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "attach/attach_int.h"

#define MAX_TABLES  64
#define MAX_PARTS   32
#define MAX_ENTRIES 65536 /* of a table */
#define AHEAD       12 /* instructions: what a compiler puts between the pushes of a prologue */

struct insn {
	ZydisDecodedInstruction in;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
};

struct scan {
	u64 addr, len; /* the bytes */
	bool into, unknown;
	bool data;              /* something is no instruction */
	bool switches;          /* there are jumps by tables that are in `tables` */
	u64 tables[MAX_TABLES]; /* what may be one: data whose address the code takes */
	u32 ntables;
	u64 parts[MAX_PARTS]; /* where jumps lead outside */
	u32 nparts;
};

static void leads_to(struct scan *s, u64 target)
{
	s->into |= target > s->addr && target < s->addr + s->len;
}

static void remember(struct scan *s, u64 *list, u32 *n, u32 max, u64 what)
{
	u32 i;

	for (i = 0; i < *n; i++)
		if (list[i] == what)
			return;
	if (*n == max)
		s->unknown = true;
	else
		list[(*n)++] = what;
}

/* Where the instruction at `pc` is to be read: under our own probes the code is not what it was. */
static const u8 *original(u64 pc, u64 end, const struct site **in, size_t *avail)
{
	const u8 *code = (const u8 *)(uintptr_t)pc;
	const struct site *s = *in;

	if (!s || pc - s->addr >= s->patched)
		s = *code == 0xcc || *code == 0xe9 ? site_at(pc) : NULL;
	*in = s && s->patched ? s : NULL;
	*avail = end - pc;
	if (!*in)
		return code;
	if (*avail > MAX_STOLEN - (pc - s->addr))
		*avail = MAX_STOLEN - (pc - s->addr);
	return s->orig + (pc - s->addr);
}

static bool is_reg(const ZydisDecodedOperand *op)
{
	return op->type == ZYDIS_OPERAND_TYPE_REGISTER;
}

/*
 * What compilers make of a switch in code that may lie anywhere: movslq (table,i,4),x; add table,x; jmp x. The offsets are
 * relative to their table, and no other code has these three.
 */
static bool is_switch(const struct insn *load, const struct insn *add, const struct insn *jmp)
{
	const ZydisDecodedOperand *mem = &load->ops[1];

	return load->in.mnemonic == ZYDIS_MNEMONIC_MOVSXD && is_reg(&load->ops[0]) &&
	       mem->type == ZYDIS_OPERAND_TYPE_MEMORY && mem->mem.scale == 4 && !mem->mem.disp.value &&
	       add->in.mnemonic == ZYDIS_MNEMONIC_ADD && is_reg(&add->ops[0]) && is_reg(&add->ops[1]) &&
	       add->ops[0].reg.value == load->ops[0].reg.value && add->ops[1].reg.value == mem->mem.base &&
	       is_reg(&jmp->ops[0]) && jmp->ops[0].reg.value == add->ops[0].reg.value;
}

/* A jump whose target is computed; `last` are the instructions before it, the last one first. */
static void computed(struct scan *s, const struct insn *last[2], const struct insn *jmp)
{
	if (!is_reg(&jmp->ops[0]) && jmp->ops[0].mem.base == ZYDIS_REGISTER_RIP)
		return; /* to another object's function */
	if (last[0] && last[1] && is_switch(last[1], last[0], jmp))
		s->switches = true;
	else
		s->unknown = true;
}

static void scan_part(struct scan *s, u64 start, u64 end, bool outside)
{
	struct insn room[3];
	const struct insn *last[2] = { NULL, NULL };
	const struct site *site = NULL;
	const u8 *code;
	size_t avail, n = 0;
	ZydisDecoder d;
	u64 pc, target;

	ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (pc = start; pc < end; pc += last[0]->in.length, n++) {
		struct insn *i = &room[n % 3];

		code = original(pc, end, &site, &avail);
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, code, avail, &i->in, i->ops))) {
			s->data = true;
			return;
		}
		target = pc + i->in.length + (u64)i->in.raw.imm[0].value.s;
		if (i->in.raw.imm[0].is_relative) {
			leads_to(s, target);
			if (outside && i->in.mnemonic != ZYDIS_MNEMONIC_CALL && target - start >= end - start)
				remember(s, s->parts, &s->nparts, MAX_PARTS, target);
		} else if (i->in.mnemonic == ZYDIS_MNEMONIC_JMP) {
			computed(s, last, i);
		} else if (i->in.mnemonic == ZYDIS_MNEMONIC_LEA && i->ops[1].mem.base == ZYDIS_REGISTER_RIP) {
			remember(s, s->tables, &s->ntables, MAX_TABLES,
				 pc + i->in.length + (u64)i->ops[1].mem.disp.value);
		}
		last[1] = last[0];
		last[0] = i;
	}
}

/* The object of an address: its code, and the mapping that the address is in. */
struct object {
	u64 addr, code, code_end, end;
};

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct object *o = arg;
	u64 start;
	int i;

	(void)size;
	o->code = o->code_end = o->end = 0;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		start = info->dlpi_addr + ph->p_vaddr;
		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_R))
			continue;
		if (o->addr - start < ph->p_memsz)
			o->end = start + ph->p_memsz;
		if (ph->p_flags & PF_X && (!o->code || start < o->code))
			o->code = start;
		if (ph->p_flags & PF_X && start + ph->p_memsz > o->code_end)
			o->code_end = start + ph->p_memsz;
	}
	return o->end != 0;
}

/*
 * Follows what may be a table as far as its entries lead to code: behind its end that goes on for a while, which can only
 * find too much.
 */
static void follow(struct scan *s, u64 table)
{
	struct object o = { .addr = table };
	u64 at, target;
	s32 entry;

	if (!dl_iterate_phdr(look, &o))
		return; /* no data of any object: no table of a switch */
	for (at = table; at + 4 <= o.end; at += 4) {
		if (code_copy_safe(&entry, (const void *)(uintptr_t)at, 4))
			return;
		target = table + (u64)(s64)entry;
		if (target < o.code || target >= o.code_end)
			return;
		leads_to(s, target);
		if (at - table >= 4ull * MAX_ENTRIES) {
			s->unknown = true;
			return;
		}
	}
}

struct branches branches_into(u64 start, u64 end, u64 addr, u8 len, bool prologue)
{
	struct scan s = { .addr = addr, .len = len };
	u64 part, part_end;
	u32 i, nparts;

	scan_part(&s, start, end, !prologue);
	if (prologue)
		return (struct branches){ .into = s.into, .unknown = s.data };
	nparts = s.nparts;
	for (i = 0; i < nparts; i++)
		if (func_range(s.parts[i], &part, &part_end))
			scan_part(&s, part, part_end, false);
	s.unknown |= s.data || (s.switches && !s.ntables);
	for (i = 0; s.switches && i < s.ntables; i++)
		follow(&s, s.tables[i]);
	return (struct branches){ .into = s.into, .unknown = s.unknown };
}

bool branch_splits(u64 start, u64 end, u64 addr)
{
	const struct site *site = NULL;
	ZydisDecodedInstruction in;
	ZydisDecoder d;
	const u8 *code;
	size_t avail;
	u64 pc;

	ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (pc = start; pc < addr; pc += in.length) {
		code = original(pc, end, &site, &avail);
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d, NULL, code, avail, &in)))
			return false; /* data in the code */
		/* Libraries jump behind a lock prefix where there is one thread. */
		if (addr - pc < in.length)
			return addr - pc != 1 || !(in.attributes & ZYDIS_ATTRIB_HAS_LOCK);
	}
	return false;
}

static bool is_push(const struct insn *i)
{
	return (i->in.mnemonic == ZYDIS_MNEMONIC_PUSH || i->in.mnemonic == ZYDIS_MNEMONIC_SUB) && is_reg(&i->ops[0]) &&
	       (i->in.mnemonic == ZYDIS_MNEMONIC_PUSH || i->ops[0].reg.value == ZYDIS_REGISTER_RSP);
}

bool branch_is_prologue(u64 addr, u64 end, const struct moved *m)
{
	const struct site *site = NULL;
	const u8 *code;
	struct insn i;
	ZydisDecoder d;
	size_t avail;
	u64 pc;
	int n;

	if (m->n < 2 || m->stack[m->n - 1])
		return true;
	ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (pc = addr + m->len, n = 0; pc < end && n < AHEAD; pc += i.in.length, n++) {
		code = original(pc, end, &site, &avail);
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, code, avail, &i.in, i.ops)) ||
		    i.in.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE)
			return false;
		if (is_push(&i))
			return true;
	}
	return false;
}
