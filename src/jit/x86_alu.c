/* SPDX-License-Identifier: MIT */
/* Arithmetic, moves, shifts and byte swaps (RFC 9669, 4.1 and 4.2), division excepted. */
#include <errno.h>

#include "jit/x86_int.h"

/* The second operand: an immediate, also when a register is known to hold one. */
struct source {
	bool is_imm;
	s32 imm;
	u8 reg; /* eBPF register */
};

static int width(const struct bpf_insn *i)
{
	return BPF_CLASS(i->code) == BPF_ALU64 ? 8 : 4;
}

static struct source source_of(const struct jx *c, const struct bpf_insn *i, int w)
{
	struct source s = { BPF_SRC(i->code) == BPF_K, i->imm, i->src_reg };
	u64 k;

	if (!s.is_imm && x86_is_imm(c, i->src_reg, &k) && (w == 4 || k == (u64)(s64)(s32)k)) {
		s.is_imm = true;
		s.imm = (s32)k;
	}
	return s;
}

/* r = r op something was done in its machine register. */
static void done(struct jx *c, u8 r, int w)
{
	x86_defined(c, r, w == 4);
}

static void plain(struct jx *c, enum x86_alu op, int w, u8 dst, const struct source *s)
{
	u8 d = x86_own(c, dst);

	if (s->is_imm) {
		/* A positive mask also clears the upper half: the 32-bit form is shorter. */
		bool narrow = op == X86_AND && s->imm >= 0;

		x86_alu_ri(&c->b, op, narrow ? 4 : w, d, s->imm);
	} else {
		x86_alu_rr(&c->b, op, w, d, w == 4 ? x86_use32(c, s->reg) : x86_use(c, s->reg));
	}
	x86_flags_set(c, d, w, op == X86_AND || op == X86_OR || op == X86_XOR);
	x86_defined(c, dst, w == 4 || (op == X86_AND && s->is_imm && s->imm >= 0));
}

static void add(struct jx *c, u8 dst, const struct source *s, int w, bool negate)
{
	s64 k = negate ? -(s64)s->imm : s->imm;

	if (s->is_imm ? x86_set_add_imm(c, dst, k, w) : !negate && x86_set_add(c, dst, s->reg, w))
		return;
	plain(c, negate ? X86_SUB : X86_ADD, w, dst, s);
}

/* dst = f(src), with src another register when dst is only a copy of it. */
static void extend(struct jx *c, u8 dst, int from)
{
	u8 d = x86_def(c, dst);

	x86_movzx_rr(&c->b, from, d, x86_use32(c, dst));
	x86_defined(c, dst, true);
}

static void and(struct jx *c, u8 dst, const struct source *s, int w)
{
	if (s->is_imm && s->imm == 0xff)
		extend(c, dst, 1);
	else if (s->is_imm && s->imm == 0xffff)
		extend(c, dst, 2);
	else
		plain(c, X86_AND, w, dst, s);
}

static void mul_imm(struct jx *c, u8 dst, s32 imm, int w)
{
	u32 k = (u32)imm;
	u8 d, src;

	if (!k) {
		x86_set_imm(c, dst, 0);
		return;
	}
	if ((k == 3 || k == 5 || k == 9) &&
	    x86_set_scaled(c, dst, k == 3 ? 1 : k == 5 ? 2 : 3, true, w))
		return;
	if (imm > 0 && !(k & (k - 1))) {
		u8 n = (u8)__builtin_ctz(k);

		if (n <= 3 && n && x86_set_scaled(c, dst, n, false, w))
			return;
		d = x86_own(c, dst);
		if (n)
			x86_shift_ri(&c->b, X86_SHL, w, d, n);
		else if (w == 4)
			x86_mov_rr(&c->b, 4, d, d);
		done(c, dst, w);
		return;
	}
	d = x86_def(c, dst);
	src = w == 4 ? x86_use32(c, dst) : x86_use(c, dst);
	x86_imul_rri(&c->b, w, d, src, imm);
	done(c, dst, w);
}

static void mul(struct jx *c, u8 dst, const struct source *s, int w)
{
	u8 d;

	if (s->is_imm) {
		mul_imm(c, dst, s->imm, w);
		return;
	}
	d = x86_own(c, dst);
	x86_imul_rr(&c->b, w, d, w == 4 ? x86_use32(c, s->reg) : x86_use(c, s->reg));
	done(c, dst, w);
}

static void neg(struct jx *c, u8 dst, int w)
{
	u8 d = x86_own(c, dst);

	x86_unary(&c->b, X86_NEG, w, d);
	done(c, dst, w);
}

/* ---- moves ----------------------------------------------------------------------------------- */

static void mov(struct jx *c, const struct bpf_insn *i, int w)
{
	u8 d, s;

	if (BPF_SRC(i->code) == BPF_K) {
		x86_set_imm(c, i->dst_reg, w == 8 ? (u64)(s64)i->imm : (u32)i->imm);
	} else if (!i->off) {
		x86_set_copy(c, i->dst_reg, i->src_reg, w);
	} else { /* movsx: off is the width in bits of what is extended */
		if (i->off != 8 && i->off != 16 && !(i->off == 32 && w == 8)) {
			c->err = -EINVAL;
			return;
		}
		d = x86_def(c, i->dst_reg);
		s = x86_use32(c, i->src_reg);
		x86_movsx_rr(&c->b, w, i->off / 8, d, s);
		done(c, i->dst_reg, w);
	}
}

/* ---- shifts ---------------------------------------------------------------------------------- */

static enum x86_shift shift_op(u8 op)
{
	return op == BPF_LSH ? X86_SHL : op == BPF_RSH ? X86_SHR : X86_SAR;
}

/* The same shift of the other direction right behind: an extension of the lower bits. */
static bool extension(struct jx *c, const struct bpf_insn *i, int w)
{
	const struct bpf_insn *next = i + 1;
	int bits = w * 8 - i->imm;
	bool sar;
	u8 d, s;

	if (BPF_OP(i->code) != BPF_LSH || (bits != 8 && bits != 16 && bits != 32) ||
	    !x86_can_fuse(c, 1) || BPF_CLASS(next->code) != BPF_CLASS(i->code) ||
	    BPF_SRC(next->code) != BPF_K || next->dst_reg != i->dst_reg || next->imm != i->imm)
		return false;
	sar = BPF_OP(next->code) == BPF_ARSH;
	if (!sar && BPF_OP(next->code) != BPF_RSH)
		return false;
	if (!sar && bits == 32) {
		x86_set_copy(c, i->dst_reg, i->dst_reg, 4);
		return true;
	}
	c->live_out = c->u->live[c->at + 2];
	d = x86_def(c, i->dst_reg);
	s = x86_use32(c, i->dst_reg);
	if (sar)
		x86_movsx_rr(&c->b, w, bits / 8, d, s);
	else
		x86_movzx_rr(&c->b, bits / 8, d, s);
	x86_defined(c, i->dst_reg, !sar || w == 4);
	return true;
}

static u32 shift_imm(struct jx *c, const struct bpf_insn *i, s32 imm, int w)
{
	u8 n = (u8)(imm & (w * 8 - 1)), d;

	if (!n) {
		if (w == 4)
			x86_set_copy(c, i->dst_reg, i->dst_reg, 4);
		return 0;
	}
	if (BPF_SRC(i->code) == BPF_K && extension(c, i, w))
		return 1;
	if (BPF_OP(i->code) == BPF_LSH && n <= 3 && x86_set_scaled(c, i->dst_reg, n, false, w))
		return 0;
	d = x86_own(c, i->dst_reg);
	x86_shift_ri(&c->b, shift_op(BPF_OP(i->code)), w, d, n);
	done(c, i->dst_reg, w);
	return 0;
}

/* Without BMI2 the count has to be in cl, which is r4's. */
static void shift_by_cl(struct jx *c, enum x86_shift op, u8 dst, u8 src, int w)
{
	u8 d = x86_own(c, dst), s;

	if (src == JIT_FP) {
		s = x86_use(c, src);
	} else {
		x86_settle(c, src);
		s = c->map[src];
	}
	if (s == X86_RCX && d != X86_RCX) {
		x86_shift_cl(&c->b, op, w, d);
	} else if (d == X86_RCX) {
		x86_mov_rr(&c->b, 8, TMP1, X86_RCX);
		x86_mov_rr(&c->b, 4, X86_RCX, s);
		x86_shift_cl(&c->b, op, w, TMP1);
		x86_mov_rr(&c->b, w, X86_RCX, TMP1);
	} else {
		x86_mov_rr(&c->b, 8, TMP1, X86_RCX);
		x86_mov_rr(&c->b, 4, X86_RCX, s);
		x86_shift_cl(&c->b, op, w, d);
		x86_mov_rr(&c->b, 8, X86_RCX, TMP1);
	}
	/* A count of 0 leaves the upper half as it was. */
	if (w == 4)
		x86_mov_rr(&c->b, 4, d, d);
}

static void shift_reg(struct jx *c, const struct bpf_insn *i, int w)
{
	enum x86_shift op = shift_op(BPF_OP(i->code));
	u8 d, src, count;

	if (!c->cpu->bmi2) {
		shift_by_cl(c, op, i->dst_reg, i->src_reg, w);
	} else {
		d = x86_def(c, i->dst_reg);
		/* Each use may move the other: the first one only settles. */
		(void)(w == 4 ? x86_use32(c, i->dst_reg) : x86_use(c, i->dst_reg));
		count = x86_use32(c, i->src_reg);
		src = w == 4 ? x86_use32(c, i->dst_reg) : x86_use(c, i->dst_reg);
		x86_shiftx(&c->b, op, w, d, src, count);
	}
	done(c, i->dst_reg, w);
}

static u32 shift(struct jx *c, const struct bpf_insn *i, int w)
{
	u64 k;

	if (BPF_SRC(i->code) == BPF_K)
		return shift_imm(c, i, i->imm, w);
	if (x86_is_imm(c, i->src_reg, &k))
		return shift_imm(c, i, (s32)(k & 63), w);
	shift_reg(c, i, w);
	return 0;
}

/* ---- byte swaps ------------------------------------------------------------------------------ */

static void swap(struct jx *c, u8 dst, s32 bits)
{
	u8 d = x86_own(c, dst);

	if (bits == 16) {
		x86_shift_ri(&c->b, X86_ROL, 2, d, 8);
		x86_movzx_rr(&c->b, 2, d, d);
	} else {
		x86_bswap(&c->b, bits / 8, d);
	}
	x86_defined(c, dst, bits != 64);
}

static void end(struct jx *c, const struct bpf_insn *i)
{
	/* This machine is little-endian: to_le only truncates. */
	bool swaps = BPF_CLASS(i->code) == BPF_ALU64 || BPF_SRC(i->code) == BPF_TO_BE;

	if (i->imm != 16 && i->imm != 32 && i->imm != 64)
		c->err = -EINVAL;
	else if (swaps)
		swap(c, i->dst_reg, i->imm);
	else if (i->imm == 16)
		extend(c, i->dst_reg, 2);
	else if (i->imm == 32)
		x86_set_copy(c, i->dst_reg, i->dst_reg, 4);
}

/* ---- rotation -------------------------------------------------------------------------------- */

/* One half of a rotation: a register that holds the same value, and how it was shifted. */
struct half {
	u8 reg, op, count;
};

/* Takes a shift by a constant of one of the halves into account. */
static bool half_shift(struct half h[2], const struct bpf_insn *i, u8 class)
{
	u8 op = BPF_OP(i->code);
	struct half *p = i->dst_reg == h[0].reg ? &h[0] : &h[1];

	if (i->dst_reg != p->reg || p->op || BPF_CLASS(i->code) != class ||
	    BPF_SRC(i->code) != BPF_K || (op != BPF_LSH && op != BPF_RSH) || i->imm <= 0 ||
	    i->imm >= 64)
		return false;
	p->op = op;
	p->count = (u8)i->imm;
	return true;
}

static bool is_plain_mov(const struct bpf_insn *i, u8 class)
{
	return i->code == (class | BPF_MOV | BPF_X) && !i->off;
}

/* Does `or` put two fitting halves together? */
static bool halves_meet(const struct half h[2], const struct bpf_insn *or, u8 class, int w)
{
	u8 op = BPF_OP(or->code);

	return BPF_CLASS(or->code) == class && BPF_SRC(or->code) == BPF_X &&
	       (op == BPF_OR || op == BPF_XOR || op == BPF_ADD) && h[0].op && h[1].op &&
	       h[0].op != h[1].op && h[0].count + h[1].count == w * 8 &&
	       ((or->dst_reg == h[0].reg && or->src_reg == h[1].reg) ||
		(or->dst_reg == h[1].reg && or->src_reg == h[0].reg));
}

static void rotate(struct jx *c, u8 dst, u8 src, u8 left, int w)
{
	u8 d = x86_def(c, dst), s = w == 4 ? x86_use32(c, src) : x86_use(c, src);

	if (s == d) {
		x86_shift_ri(&c->b, X86_ROL, w, d, left);
	} else if (c->cpu->bmi2) {
		x86_rorx(&c->b, w, d, s, (u8)(w * 8 - left));
	} else {
		x86_mov_rr(&c->b, w, d, s);
		x86_shift_ri(&c->b, X86_ROL, w, d, left);
	}
	done(c, dst, w);
}

/*
 * What compilers make of a rotation: `a = s; a <<= k; s >>= width - k; a |= s`, or with a copy of s
 * for the second half too, in some order. One instruction, if the other half is not needed.
 */
static u32 rotation(struct jx *c, const struct bpf_insn *i, int w)
{
	u8 class = BPF_CLASS(i->code), source = i->src_reg, other, left;
	struct half h[2] = { { i->dst_reg, 0, 0 }, { source, 0, 0 } };
	u32 n;

	if (!is_plain_mov(i, class) || i->dst_reg == source || source == JIT_FP)
		return 0;
	for (n = 1; n <= 4 && x86_can_fuse(c, n); n++) {
		const struct bpf_insn *k = i + n;

		if (is_plain_mov(k, class) && k->src_reg == source && h[1].reg == source &&
		    !h[1].op && k->dst_reg != h[0].reg && k->dst_reg != source)
			h[1].reg = k->dst_reg;
		else if (!half_shift(h, k, class))
			break;
	}
	if (n < 3 || n > 4 || !x86_can_fuse(c, n) || !halves_meet(h, i + n, class, w))
		return 0;
	other = i[n].src_reg;
	if (c->u->live[c->at + n + 1] & JIT_BIT(other))
		return 0;
	left = h[0].op == BPF_LSH ? h[0].count : h[1].count;
	c->live_out = c->u->live[c->at + n + 1];
	rotate(c, i[n].dst_reg, source, left, w);
	return n;
}

/* ---- all of them ----------------------------------------------------------------------------- */

u32 x86_alu_insn(struct jx *c, const struct bpf_insn *i)
{
	int w = width(i);
	struct source s = source_of(c, i, w);
	u32 took;

	switch (BPF_OP(i->code)) {
	case BPF_ADD:
		add(c, i->dst_reg, &s, w, false);
		break;
	case BPF_SUB:
		add(c, i->dst_reg, &s, w, true);
		break;
	case BPF_MUL:
		mul(c, i->dst_reg, &s, w);
		break;
	case BPF_AND:
		and(c, i->dst_reg, &s, w);
		break;
	case BPF_OR:
		plain(c, X86_OR, w, i->dst_reg, &s);
		break;
	case BPF_XOR:
		plain(c, X86_XOR, w, i->dst_reg, &s);
		break;
	case BPF_MOV:
		took = BPF_SRC(i->code) == BPF_X ? rotation(c, i, w) : x86_select_insn(c, i);
		if (took)
			return took;
		mov(c, i, w);
		break;
	case BPF_LSH:
	case BPF_RSH:
	case BPF_ARSH:
		return shift(c, i, w);
	case BPF_NEG:
		neg(c, i->dst_reg, w);
		break;
	case BPF_END:
		end(c, i);
		break;
	case BPF_DIV:
	case BPF_MOD:
		x86_div_insn(c, i);
		break;
	default:
		c->err = -EINVAL;
	}
	return 0;
}
