/* SPDX-License-Identifier: MIT */
/*
 * Pending values. `r3 = r1; r3 += r2; r4 = *(u8 *)(r3 + 4)` need not become three instructions:
 * copies, constants and sums are noted and folded into the operands that use them.
 *
 * A pending value is made of what machine registers hold now, so before one of those changes,
 * values made of it that are still needed are settled (x86_unhook). No circle of values made of one
 * another can come about: a register gets a value made of others only after everything made of its
 * own machine register was settled.
 */
#include "jit/x86_int.h"

#define MAX_DISP (1 << 29) /* room for offsets of loads and frames on top */

static u16 refs_of(const struct x86_val *v)
{
	u16 refs = 0;

	if (v->kind == VAL_SUM && v->base != VAL_NONE)
		refs |= JIT_BIT(v->base);
	if (v->kind == VAL_SUM && v->index != VAL_NONE)
		refs |= JIT_BIT(v->index);
	return refs & (u16)~JIT_BIT(JIT_FP);
}

static struct x86_val value_of(const struct jx *c, u8 r)
{
	if (x86_is_pending(c, r))
		return c->val[r];
	return (struct x86_val){ .kind = VAL_SUM, .base = r, .index = VAL_NONE };
}

static struct x86_mem operand(const struct jx *c, const struct x86_val *v, s32 off)
{
	struct x86_mem m = { X86_NONE, X86_NONE, v->shift, v->disp + off };

	if (v->base == JIT_FP) {
		m.base = X86_RSP;
		m.disp += c->fp_disp;
	} else if (v->base != VAL_NONE) {
		m.base = c->map[v->base];
	}
	if (v->index != VAL_NONE)
		m.index = c->map[v->index];
	return m;
}

void x86_flags_set(struct jx *c, u8 reg, int w, bool logic)
{
	c->flags_at = c->b.len;
	c->flags_reg = reg;
	c->flags_w = (u8)w;
	c->flags_logic = logic;
}

/* dst += what is besides itself, when that is one thing; false: not of that form. */
static bool settle_in_place(struct jx *c, u8 r, const struct x86_val *v, int w)
{
	u8 dst = c->map[r];

	if (v->base == r && v->index == VAL_NONE) {
		if (v->disp == 128)
			x86_alu_ri(&c->b, X86_SUB, w, dst, -128);
		else
			x86_alu_ri(&c->b, X86_ADD, w, dst, v->disp);
	} else if (v->disp == 0 && v->shift == 0 && v->index != VAL_NONE && v->base == r) {
		x86_alu_rr(&c->b, X86_ADD, w, dst, c->map[v->index]);
	} else if (v->disp == 0 && v->shift == 0 && v->index == r && v->base != VAL_NONE &&
		   v->base != JIT_FP) {
		x86_alu_rr(&c->b, X86_ADD, w, dst, c->map[v->base]);
	} else if (v->disp == 0 && v->index == r && v->base == VAL_NONE) {
		x86_shift_ri(&c->b, X86_SHL, w, dst, v->shift);
	} else {
		return false;
	}
	x86_flags_set(c, dst, w, false);
	return true;
}

static void settle_sum(struct jx *c, u8 r, const struct x86_val *v)
{
	int w = v->w32 ? 4 : 8;
	u8 dst = c->map[r];
	struct x86_mem m;

	if (v->index == VAL_NONE && v->disp == 0 && v->base != JIT_FP) {
		if (w == 4 || v->base != r)
			x86_mov_rr(&c->b, w, dst, c->map[v->base]);
		return;
	}
	if (settle_in_place(c, r, v, w))
		return;
	m = operand(c, v, 0);
	if (m.base == X86_NONE && m.shift == 1) {
		m.base = m.index;
		m.shift = 0;
	}
	/* A base with an encoding that always takes a displacement: swap. */
	if (!m.disp && !m.shift && m.index != X86_NONE && (m.base & 7) == X86_RBP) {
		u8 t = m.base;

		m.base = m.index;
		m.index = t;
	}
	x86_lea(&c->b, w, dst, m);
}

void x86_settle(struct jx *c, u8 r)
{
	struct x86_val v = c->val[r];
	bool zext;

	if (!x86_is_pending(c, r))
		return;
	c->pending &= (u16)~JIT_BIT(r);
	/* Only old values that are still needed: live_out may name what is being defined anew. */
	x86_unhook(c, r, c->live_in);
	if (v.kind == VAL_IMM) {
		x86_mov_ri(&c->b, c->map[r], v.imm, true);
		zext = v.imm <= UINT32_MAX;
	} else {
		zext = v.w32 || (v.index == VAL_NONE && !v.disp && (c->zext & JIT_BIT(v.base)));
		settle_sum(c, r, &v);
	}
	c->zext = zext ? c->zext | JIT_BIT(r) : c->zext & (u16)~JIT_BIT(r);
}

void x86_settle_all(struct jx *c, u16 mask)
{
	mask &= c->pending;
	while (mask) {
		u8 r = (u8)__builtin_ctz(mask);

		x86_settle(c, r);
		mask &= c->pending & (u16)~JIT_BIT(r);
	}
}

void x86_unhook(struct jx *c, u8 r, u16 keep)
{
	u16 left = c->pending & keep & (u16)~JIT_BIT(r);

	while (left) {
		u8 z = (u8)__builtin_ctz(left);

		if (c->refs[z] & JIT_BIT(r))
			x86_settle(c, z);
		left &= c->pending & (u16)~JIT_BIT(z);
	}
}

/* Just another register's value? Then which machine register has it; X86_NONE otherwise. */
static u8 copy_of(const struct jx *c, const struct x86_val *v, bool lower)
{
	if (v->kind != VAL_SUM || v->index != VAL_NONE || v->disp)
		return X86_NONE;
	if (v->base == JIT_FP)
		return c->fp_disp ? X86_NONE : X86_RSP;
	return v->w32 && !lower ? X86_NONE : c->map[v->base];
}

static u8 use(struct jx *c, u8 r, bool lower)
{
	struct x86_val v;
	u8 reg;

	if (r == JIT_FP) {
		if (!c->fp_disp)
			return X86_RSP;
		x86_lea(&c->b, 8, TMP2, x86_at(X86_RSP, c->fp_disp));
		return TMP2;
	}
	if (!x86_is_pending(c, r))
		return c->map[r];
	v = c->val[r];
	reg = copy_of(c, &v, lower);
	if (reg != X86_NONE)
		return reg;
	x86_settle(c, r);
	return c->map[r];
}

u8 x86_use(struct jx *c, u8 r)
{
	return use(c, r, false);
}

u8 x86_use32(struct jx *c, u8 r)
{
	return use(c, r, true);
}

struct x86_mem x86_mem_of(struct jx *c, u8 r, s32 off)
{
	struct x86_val v;

	if (r != JIT_FP && x86_is_pending(c, r) && (c->val[r].kind != VAL_SUM || c->val[r].w32))
		x86_settle(c, r);
	v = value_of(c, r);
	return operand(c, &v, off);
}

u8 x86_own(struct jx *c, u8 r)
{
	if (x86_is_pending(c, r))
		x86_settle(c, r);
	x86_unhook(c, r, c->live_out);
	c->zext &= (u16)~JIT_BIT(r);
	return c->map[r];
}

u8 x86_def(struct jx *c, u8 r)
{
	x86_unhook(c, r, c->live_out);
	return c->map[r];
}

void x86_defined(struct jx *c, u8 r, bool zext)
{
	c->pending &= (u16)~JIT_BIT(r);
	c->zext = zext ? c->zext | JIT_BIT(r) : c->zext & (u16)~JIT_BIT(r);
}

bool x86_is_imm(const struct jx *c, u8 r, u64 *imm)
{
	if (!x86_is_pending(c, r) || c->val[r].kind != VAL_IMM)
		return false;
	*imm = c->val[r].imm;
	return true;
}

void x86_forget(struct jx *c)
{
	c->pending = 0;
	c->zext = 0;
	c->flags_at = SIZE_MAX;
}

/* ---- making values --------------------------------------------------------------------------- */

/* Is anything needed later made of r's machine register? */
static bool hooked(const struct jx *c, u8 r)
{
	u16 left = c->pending & c->live_out & (u16)~JIT_BIT(r);

	for (; left; left &= left - 1)
		if (c->refs[__builtin_ctz(left)] & JIT_BIT(r))
			return true;
	return false;
}

/* r's value becomes *v. False: values made of r had to be settled first, make *v anew. */
static bool set(struct jx *c, u8 r, const struct x86_val *v)
{
	u16 refs = refs_of(v);

	if ((refs & (u16)~JIT_BIT(r)) && hooked(c, r)) {
		x86_unhook(c, r, c->live_out);
		return false;
	}
	c->val[r] = *v;
	c->refs[r] = refs;
	c->pending |= JIT_BIT(r);
	return true;
}

void x86_set_imm(struct jx *c, u8 r, u64 imm)
{
	struct x86_val v = { .kind = VAL_IMM, .imm = imm };

	set(c, r, &v);
}

/* The value of r as a sum that takes part in an addition of width w; false when it is none. */
static bool term(const struct jx *c, u8 r, int w, struct x86_val *v)
{
	*v = value_of(c, r);
	if (v->kind != VAL_SUM || (w == 8 && v->w32))
		return false;
	if (v->index != VAL_NONE && v->base == VAL_NONE && !v->shift) {
		v->base = v->index;
		v->index = VAL_NONE;
	}
	return true;
}

/* A sum of 32 bits is part of no sum of 64, but the register that it was put into may be. */
static void settle_half(struct jx *c, u8 r, int w)
{
	if (w == 8 && x86_is_pending(c, r) && c->val[r].kind == VAL_SUM && c->val[r].w32)
		x86_settle(c, r);
}

bool x86_set_copy(struct jx *c, u8 r, u8 src, int w)
{
	struct x86_val v;

	do {
		v = value_of(c, src);
		if (v.kind == VAL_IMM) {
			x86_set_imm(c, r, w == 4 ? (u32)v.imm : v.imm);
			return true;
		}
		if (w == 4 && !(v.index == VAL_NONE && !v.disp && (c->zext & JIT_BIT(v.base))))
			v.w32 = true;
		if (v.base == r && v.index == VAL_NONE && !v.disp && !v.w32) { /* itself */
			c->pending &= (u16)~JIT_BIT(r);
			return true;
		}
	} while (!set(c, r, &v));
	return true;
}

static bool put_part(struct x86_val *v, u8 part, u8 shift)
{
	if (part == VAL_NONE)
		return true;
	if (!shift && v->base == VAL_NONE) {
		v->base = part;
	} else if (part != JIT_FP && v->index == VAL_NONE) {
		v->index = part;
		v->shift = shift;
	} else if (!shift && v->base != VAL_NONE && v->base != JIT_FP && !v->shift &&
		   part == JIT_FP && v->index == VAL_NONE) {
		v->index = v->base;
		v->base = part;
	} else {
		return false;
	}
	return true;
}

/* base, index and displacement of both in one sum, if it has room for them. */
static bool join(const struct x86_val *a, const struct x86_val *b, struct x86_val *out)
{
	s64 disp = (s64)a->disp + b->disp;

	*out = (struct x86_val){ .kind = VAL_SUM, .base = VAL_NONE, .index = VAL_NONE };
	out->disp = (s32)disp;
	return disp > -MAX_DISP && disp < MAX_DISP && put_part(out, a->base, 0) &&
	       put_part(out, b->base, 0) &&
	       (a->index == VAL_NONE || put_part(out, a->index, a->shift)) &&
	       (b->index == VAL_NONE || put_part(out, b->index, b->shift));
}

bool x86_set_add(struct jx *c, u8 r, u8 src, int w)
{
	struct x86_val a, b, v;

	do {
		settle_half(c, r, w);
		settle_half(c, src, w);
		if (!term(c, r, w, &a) || !term(c, src, w, &b) || !join(&a, &b, &v))
			return false;
		v.w32 = w == 4;
	} while (!set(c, r, &v));
	return true;
}

bool x86_set_add_imm(struct jx *c, u8 r, s64 imm, int w)
{
	struct x86_val v;
	s64 disp;

	do {
		u64 k;

		if (x86_is_imm(c, r, &k)) {
			x86_set_imm(c, r, w == 4 ? (u32)(k + (u64)imm) : k + (u64)imm);
			return true;
		}
		settle_half(c, r, w);
		if (imm <= -MAX_DISP || imm >= MAX_DISP || !term(c, r, w, &v))
			return false;
		disp = v.disp + imm;
		if (disp <= -MAX_DISP || disp >= MAX_DISP)
			return false;
		v.disp = (s32)disp;
		v.w32 = w == 4;
	} while (!set(c, r, &v));
	return true;
}

bool x86_set_scaled(struct jx *c, u8 r, u8 shift, bool plus_self, int w)
{
	struct x86_val v;

	do {
		settle_half(c, r, w);
		if (!term(c, r, w, &v))
			return false;
		if (v.index == VAL_NONE && v.base != JIT_FP && v.disp < MAX_DISP >> 3 &&
		    v.disp > -MAX_DISP >> 3 && !(plus_self && v.disp)) {
			v.index = v.base;
			v.base = plus_self ? v.index : VAL_NONE;
			v.shift = shift;
		} else if (v.base == VAL_NONE && !plus_self && v.shift + shift <= 3 && !v.disp) {
			v.shift += shift;
		} else {
			return false;
		}
		v.disp = (s32)((u32)v.disp << shift);
		v.w32 = w == 4;
	} while (!set(c, r, &v));
	return true;
}
