/* SPDX-License-Identifier: MIT */
/*
 * From the draft to the code: labels, short branches where they do, alignment, calls to code
 * elsewhere. The draft has all branches in long form; sizes only shrink, so that any pass may be
 * the last.
 */
#include <errno.h>
#include <string.h>

#include "jit/x86_int.h"

#define RELAX_PASSES 6
#define LONG_JMP 5
#define LONG_JCC 6
#define SHORT 2

/* ---- while drafting -------------------------------------------------------------------------- */

struct x86_pos x86_here(const struct jx *c)
{
	return (struct x86_pos){ (u32)c->b.len, (u32)c->nfixes };
}

static struct x86_fix *add_fix(struct jx *c, u8 kind)
{
	struct x86_fix *f = c->fixes;

	if (c->nfixes == c->fixes_cap)
		f = base_grow(c->fixes, &c->fixes_cap, c->nfixes + 1, sizeof(*f));
	if (!f) {
		c->err = -ENOMEM;
		return NULL;
	}
	c->fixes = f;
	f += c->nfixes++;
	memset(f, 0, sizeof(*f));
	f->at = (u32)c->b.len;
	f->kind = kind;
	return f;
}

void x86_bind(struct jx *c, u32 label)
{
	c->labels[label] = x86_here(c);
}

void x86_align(struct jx *c, u8 to)
{
	struct x86_fix *f = add_fix(c, FIX_ALIGN);

	if (f)
		f->cc = to;
}

void x86_jmp_label(struct jx *c, u32 label)
{
	struct x86_fix *f = add_fix(c, FIX_JMP);

	if (f)
		f->label = label;
	x86_jmp32(&c->b);
}

void x86_jcc_label(struct jx *c, enum x86_cc cc, u32 label)
{
	struct x86_fix *f = add_fix(c, FIX_JCC);

	if (f) {
		f->cc = (u8)cc;
		f->label = label;
	}
	x86_jcc32(&c->b, cc);
}

void x86_call_label(struct jx *c, u32 label)
{
	struct x86_fix *f = add_fix(c, FIX_CALL);

	if (f)
		f->label = label;
	x86_call32(&c->b);
}

/* `at` of the fix is behind the instruction: its displacement is the 4 bytes before. */
void x86_lea_label(struct jx *c, u8 dst, u32 label)
{
	struct x86_fix *f;

	x86_lea_rip(&c->b, dst);
	f = add_fix(c, FIX_LEA);
	if (f)
		f->label = label;
}

void x86_call_abs(struct jx *c, const void *target)
{
	struct x86_fix *f = add_fix(c, FIX_ABS);

	if (f)
		f->target = target;
	x86_call32(&c->b);
}

/* ---- layout ---------------------------------------------------------------------------------- */

static u32 long_size(const struct x86_fix *f)
{
	return f->kind == FIX_JMP || f->kind == FIX_CALL || f->kind == FIX_ABS ? LONG_JMP :
	       f->kind == FIX_JCC ? LONG_JCC : 0;
}

/* moved[k]: how far what is behind k fixes has moved, alignment at its largest. */
static void measure(const struct jx *c, s32 *moved)
{
	s32 m = 0;

	for (size_t k = 0; k < c->nfixes; k++) {
		const struct x86_fix *f = &c->fixes[k];

		moved[k] = m;
		if (f->kind == FIX_ALIGN)
			m += f->cc - 1;
		else if (f->small)
			m -= (s32)(long_size(f) - SHORT);
	}
	moved[c->nfixes] = m;
}

static s64 label_at(const struct jx *c, const s32 *moved, u32 label)
{
	const struct x86_pos *p = &c->labels[label];

	return (s64)p->at + moved[p->fix];
}

/* Makes branches short that reach; true when there was one. */
static bool shorten(const struct jx *c, const s32 *moved)
{
	bool any = false;

	for (size_t k = 0; k < c->nfixes; k++) {
		struct x86_fix *f = &c->fixes[k];
		s64 from, to;

		if ((f->kind != FIX_JMP && f->kind != FIX_JCC) || f->small)
			continue;
		from = (s64)f->at + moved[k];
		to = label_at(c, moved, f->label);
		/* Backward, its own becoming shorter counts. */
		if (to - from > 0 ? to - from - long_size(f) <= 127 : to - from - SHORT >= -128)
			f->small = any = true;
	}
	return any;
}

/* The final offsets, alignment included. */
static s64 place(const struct jx *c, s32 *moved)
{
	s64 m = 0;

	for (size_t k = 0; k < c->nfixes; k++) {
		const struct x86_fix *f = &c->fixes[k];

		moved[k] = (s32)m;
		if (f->kind == FIX_ALIGN)
			m += -(f->at + m) & (f->cc - 1);
		else if (f->small)
			m -= (s32)(long_size(f) - SHORT);
	}
	moved[c->nfixes] = (s32)m;
	return (s64)c->b.len + m;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put32(u8 *p, s64 v)
{
	s32 w = (s32)v;

	memcpy(p, &w, 4);
}

static u32 final_size(const struct x86_fix *f, s64 at)
{
	return f->kind == FIX_ALIGN ? (u32)(-at & (f->cc - 1)) : f->small ? SHORT : long_size(f);
}

/* Writes the instruction of a fix at `at`; returns its size. -ERANGE: out of reach. */
static s64 write_fix(const struct jx *c, const struct x86_fix *f, const s32 *moved, u8 *code,
		     s64 at, const u8 *addr)
{
	s64 to = f->kind == FIX_ABS   ? f->target - (const void *)addr :
		 f->kind == FIX_ALIGN ? 0 : label_at(c, moved, f->label);
	u32 size = final_size(f, at);
	s64 d = to - at - size;
	u8 *p = code + at;

	switch (f->kind) {
	case FIX_ALIGN:
		x86_nop_fill(p, size);
		return size;
	case FIX_LEA: /* behind the instruction */
		put32(p - 4, d);
		return 0;
	case FIX_JCC:
		if (f->small) {
			p[0] = 0x70 | f->cc;
			break;
		}
		p[0] = 0x0f;
		p[1] = 0x80 | f->cc;
		put32(p + 2, d);
		return size;
	case FIX_JMP:
		p[0] = f->small ? 0xeb : 0xe9;
		break;
	default:
		p[0] = 0xe8;
	}
	if (f->small)
		p[1] = (u8)d;
	else
		put32(p + 1, d);
	return d == (s32)d ? (s64)size : -ERANGE;
}

static int write_code(const struct jx *c, const s32 *moved, u8 *code, const u8 *addr, u32 size)
{
	size_t from = 0;
	s64 at = 0;

	for (size_t k = 0; k < c->nfixes; k++) {
		const struct x86_fix *f = &c->fixes[k];
		size_t n = f->at - from;
		s64 done;

		if (at + (s64)n + final_size(f, at + (s64)n) > (s64)size)
			return BROKEN("code is longer than was computed");
		memcpy(code + at, c->b.data + from, n);
		at += (s64)n;
		done = write_fix(c, f, moved, code, at, addr);
		if (done < 0)
			return (int)done;
		at += done;
		from = f->at + long_size(f);
	}
	if (at + (s64)(c->b.len - from) != size)
		return BROKEN("code is not as long as was computed");
	memcpy(code + at, c->b.data + from, c->b.len - from);
	return 0;
}

static int tables(const struct jx *c, const s32 *moved, struct jit_code *out)
{
	out->insn_off = base_array((size_t)c->u->cnt + 1, sizeof(u32));
	out->func_off = base_array(c->u->nfuncs, sizeof(u32));
	out->callback_off = base_array(c->u->nfuncs, sizeof(u32));
	out->faults = base_array(c->nfaults, sizeof(*out->faults));
	out->probes = base_array(c->nfaults, sizeof(*out->probes));
	if (!out->insn_off || !out->func_off || !out->callback_off || !out->faults || !out->probes)
		return -ENOMEM;
	for (u32 i = 0; i <= c->u->cnt; i++)
		out->insn_off[i] = (u32)label_at(c, moved, i);
	for (u32 n = 0; n < c->u->nfuncs; n++) {
		out->func_off[n] = (u32)label_at(c, moved, x86_label_entry(c, n));
		out->callback_off[n] = c->u->funcs[n].tail ? (u32)label_at(c, moved, x86_label_callback(c, n)) :
							     out->func_off[n];
	}
	out->run_off = (u32)label_at(c, moved, x86_label_run(c));
	out->tail_off = out->func_off[0];
	return 0;
}

static void fault_table(const struct jx *c, const s32 *moved, const u8 *addr, struct jit_code *out)
{
	for (size_t n = 0; n < c->nfaults; n++) {
		const struct x86_fault *f = &c->faults[n];
		struct code_fault *e = &out->faults[n];

		e->start = addr + f->start.at + moved[f->start.fix];
		e->end = addr + f->end.at + moved[f->end.fix];
		e->resume = e->end;
		e->arg = &out->probes[n];
		out->probes[n].reg = f->reg;
		out->probes[n].count = c->u->prog->faults ? &c->u->prog->faults[f->insn] : NULL;
	}
	out->nfaults = (u32)c->nfaults;
}

static int emit(const struct jx *c, const s32 *moved, s64 size, struct jit_code *out)
{
	int err = tables(c, moved, out);

	if (err)
		return err;
	err = code_alloc((size_t)size, c->u->near, &out->region);
	if (err)
		return err;
	out->size = (u32)size;
	err = write_code(c, moved, code_write(out->region), code_addr(out->region), out->size);
	if (err)
		return err == -ERANGE && !c->u->far ? -EAGAIN : err;
	fault_table(c, moved, code_addr(out->region), out);
	return code_seal(out->region);
}

int x86_link(struct jx *c, struct jit_code *out)
{
	s32 *moved;
	s64 size;
	int err;

	/* Offsets are 32 bits, with room for the largest alignment of every label. */
	if (c->b.len > INT32_MAX / 4)
		return -E2BIG;
	moved = base_array(c->nfixes + 1, sizeof(*moved));
	if (!moved)
		return -ENOMEM;
	for (int pass = 0; pass < RELAX_PASSES; pass++) {
		measure(c, moved);
		if (!shorten(c, moved))
			break;
	}
	size = place(c, moved);
	err = emit(c, moved, size, out);
	base_free(moved);
	return err;
}
