/* SPDX-License-Identifier: MIT */
/* Jumps, exit and 64-bit immediates (RFC 9669, 4.3 and 5.4). */
#include <errno.h>

#include "jit/x86_int.h"

/* ---- 64-bit immediates ----------------------------------------------------------------------- */

static void set_address(struct jx *c, u8 r, const void *p)
{
	if (p)
		x86_set_imm(c, r, (u64)(uintptr_t)p);
	else
		c->err = -EINVAL;
}

static void func_address(struct jx *c, const struct bpf_insn *i)
{
	s32 n = jit_func_at(c->u, (s64)c->at + 1 + i->imm);
	u8 d;

	if (n < 0) {
		c->err = -EINVAL;
		return;
	}
	d = x86_def(c, i->dst_reg);
	/* Native code that calls it has no counter of tail calls to hand on: a stub makes one. */
	x86_lea_label(c, d, c->u->funcs[n].tail ? x86_label_callback(c, (u32)n) :
						  x86_label_entry(c, (u32)n));
	x86_defined(c, i->dst_reg, false);
}

void x86_ldimm64_insn(struct jx *c, const struct bpf_insn *i)
{
	const struct prog *p = c->u->prog;
	struct map *m;

	switch (i->src_reg) {
	case 0:
		x86_set_imm(c, i->dst_reg, (u32)i->imm | (u64)(u32)i[1].imm << 32);
		return;
	case BPF_PSEUDO_FUNC:
		func_address(c, i);
		return;
	case BPF_PSEUDO_BTF_ID:
		x86_set_imm(c, i->dst_reg, (u32)i->imm < p->nsyms ? p->syms[i->imm].value : 0);
		return;
	case BPF_PSEUDO_MAP_FD:
	case BPF_PSEUDO_MAP_VALUE:
		m = (u32)i->imm < p->nmaps ? p->maps[i->imm] : NULL;
		if (i->src_reg == BPF_PSEUDO_MAP_FD || !m)
			set_address(c, i->dst_reg, m);
		else
			set_address(c, i->dst_reg,
				    m->ops->direct ? m->ops->direct(m, (u32)i[1].imm) : NULL);
		return;
	default:
		c->err = -EINVAL;
	}
}

/* ---- jumps ----------------------------------------------------------------------------------- */

static int cc_of(u8 op)
{
	switch (op) {
	case BPF_JEQ: return X86_E;
	case BPF_JNE: return X86_NE;
	case BPF_JGT: return X86_A;
	case BPF_JGE: return X86_AE;
	case BPF_JLT: return X86_B;
	case BPF_JLE: return X86_BE;
	case BPF_JSGT: return X86_G;
	case BPF_JSGE: return X86_GE;
	case BPF_JSLT: return X86_L;
	case BPF_JSLE: return X86_LE;
	case BPF_JSET: return X86_NE;
	default: return -1;
	}
}

static u8 use_w(struct jx *c, u8 r, int w)
{
	return w == 4 ? x86_use32(c, r) : x86_use(c, r);
}

/* Are the flags already those of comparing reg with 0, as far as cc asks? May change cc. */
static bool flags_known(const struct jx *c, u8 reg, int w, int *cc)
{
	if (c->flags_at != c->b.len || c->flags_reg != reg || c->flags_w != w)
		return false;
	if (c->flags_logic || *cc == X86_E || *cc == X86_NE)
		return true;
	/* Signed overflow may have set OF: the sign of the result is what counts. */
	if (*cc == X86_L)
		*cc = X86_S;
	else if (*cc == X86_GE)
		*cc = X86_NS;
	else
		return false;
	return true;
}

/* Sets the flags as `if dst op src` needs them; returns the condition. */
static int compare(struct jx *c, const struct bpf_insn *i, int cc)
{
	int w = BPF_CLASS(i->code) == BPF_JMP32 ? 4 : 8;
	bool is_imm = BPF_SRC(i->code) == BPF_K, set = BPF_OP(i->code) == BPF_JSET;
	s32 imm = i->imm;
	u8 a, b;
	u64 k;

	if (!is_imm && x86_is_imm(c, i->src_reg, &k) && (w == 4 || k == (u64)(s64)(s32)k)) {
		is_imm = true;
		imm = (s32)k;
	}
	a = use_w(c, i->dst_reg, w);
	if (!is_imm) {
		b = use_w(c, i->src_reg, w);
		a = use_w(c, i->dst_reg, w); /* the second use may have moved the first */
		if (set)
			x86_test_rr(&c->b, w, a, b);
		else
			x86_alu_rr(&c->b, X86_CMP, w, a, b);
	} else if (set) {
		x86_test_ri(&c->b, w, a, imm);
	} else if (imm) {
		x86_alu_ri(&c->b, X86_CMP, w, a, imm);
	} else if (!flags_known(c, a, w, &cc)) {
		x86_test_rr(&c->b, w, a, a);
	}
	return cc;
}

static bool reached(const struct jx *c, u32 at)
{
	return !(c->u->marks[at] & JIT_SKIP);
}

/* Is there only code that is left out between the next instruction and `t`? */
static bool falls_to(const struct jx *c, u32 t)
{
	u32 at = c->at + 1;

	while (at < t && at < c->f->end && !reached(c, at))
		at++;
	return at == t;
}

static void jump(struct jx *c, u32 t)
{
	x86_settle_all(c, c->u->live[t]);
	if (!falls_to(c, t))
		x86_jmp_label(c, t);
}

/* Jumps to `t` if i's condition holds, or if it does not. */
static void branch(struct jx *c, const struct bpf_insn *i, u32 t, bool holds)
{
	int cc;

	x86_settle_all(c, c->u->live[t] & (u16)~JIT_BIT(i->dst_reg));
	x86_settle_all(c, c->u->live[t]); /* last, so that the flags may be of use */
	cc = compare(c, i, cc_of(BPF_OP(i->code)));
	if (t != c->at + 1)
		x86_jcc_label(c, (enum x86_cc)(holds ? cc : cc ^ 1), t);
}

/*
 * A goto back to a short block that ends in a condition: the block once more in its place, so that a
 * loop turns with one jump instead of two.
 */
static bool repeat_block(struct jx *c, u32 t)
{
	u32 from = c->at, end, next, yes;

	if (!(c->u->marks[from] & JIT_REPEAT))
		return false;
	end = jit_block_end(c->u, c->f, t);
	for (c->at = t; c->at < end; c->at++)
		c->at += x86_lower(c);
	next = c->at;
	if (next == end) { /* otherwise it was taken together with the one before */
		const struct bpf_insn *i = &c->u->insns[end];

		next = end + 1;
		yes = (u32)jit_target_of(i, end);
		c->live_in = c->u->live[end];
		c->live_out = c->u->live[yes] | c->u->live[next];
		if (yes <= end)
			x86_budget_take(c, end, end - yes + 1);
		c->at = from;
		if (next <= from && yes > from) { /* leaving the loop comes last */
			branch(c, i, next, false);
			next = yes;
		} else {
			branch(c, i, yes, true);
		}
	}
	c->at = from;
	c->live_in = c->live_out = c->u->live[next];
	jump(c, next);
	return true;
}

void x86_jump_insn(struct jx *c, const struct bpf_insn *i)
{
	s64 t = jit_target_of(i, c->at);

	if (t < c->f->start || t >= c->f->end) {
		c->err = -EINVAL;
		return;
	}
	if (t <= c->at)
		x86_budget_take(c, c->at, (u32)(c->at - t + 1));
	if (jit_is_goto(i)) {
		if (!repeat_block(c, (u32)t))
			jump(c, (u32)t);
		return;
	}
	if (cc_of(BPF_OP(i->code)) < 0 || c->at + 1 >= c->f->end) {
		c->err = -EINVAL;
		return;
	}
	/* Where the verifier proved one way out, the other has no code. */
	if (!reached(c, (u32)t))
		return;
	if (!reached(c, c->at + 1))
		jump(c, (u32)t);
	else
		branch(c, i, (u32)t, true);
}

/* ---- choosing between constants -------------------------------------------------------------- */

static u64 mov_value(const struct bpf_insn *i)
{
	return BPF_CLASS(i->code) == BPF_ALU64 ? (u64)(s64)i->imm : (u32)i->imm;
}

static bool is_mov_imm(const struct bpf_insn *i, u8 dst)
{
	return jit_is_alu(i) && BPF_OP(i->code) == BPF_MOV && BPF_SRC(i->code) == BPF_K &&
	       i->dst_reg == dst;
}

/*
 * eBPF has no conditional move: `a = 1; if c goto x; a = 0; x:` (or `... a = 0; goto x`) is how a
 * comparison becomes a value.
 */
u32 x86_select_insn(struct jx *c, const struct bpf_insn *i)
{
	u8 r = i->dst_reg, d;
	u64 yes, no;
	s64 t;
	int cc;

	if (!is_mov_imm(i, r) || !x86_can_fuse(c, 2) || c->at + 3 >= c->f->end ||
	    !jit_is_jcc(i + 1) || !is_mov_imm(i + 2, r) || i[1].dst_reg == r ||
	    (BPF_SRC(i[1].code) == BPF_X && i[1].src_reg == r))
		return 0;
	t = jit_target_of(i + 1, c->at + 1);
	if (t != c->at + 3 && !(jit_is_goto(i + 3) && reached(c, c->at + 3) &&
				jit_target_of(i + 3, c->at + 3) == t))
		return 0;
	cc = cc_of(BPF_OP(i[1].code));
	if (cc < 0)
		return 0;
	yes = mov_value(i);
	no = mov_value(i + 2);
	c->live_out = c->u->live[c->at + 3];
	d = x86_def(c, r);
	cc = compare(c, i + 1, cc);
	if (yes <= 1 && no <= 1 && yes != no) {
		/* Of another register: setcc waits for what was in its own, and d's last value may be late. */
		x86_setcc(&c->b, (enum x86_cc)(cc ^ !yes), TMP1);
		x86_movzx_rr(&c->b, 1, d, TMP1);
	} else {
		x86_mov_ri(&c->b, d, no, false);
		x86_mov_ri(&c->b, TMP1, yes, false);
		x86_cmov(&c->b, (enum x86_cc)cc, 8, d, TMP1);
	}
	x86_defined(c, r, yes <= UINT32_MAX && no <= UINT32_MAX);
	return 2;
}

/* ---- exit ------------------------------------------------------------------------------------ */

#define INLINE_EPILOGUE 2 /* registers to restore up to which it is repeated at each exit */

void x86_exit_insn(struct jx *c)
{
	x86_settle(c, 0);
	if (c->exit_done && c->nsaved > INLINE_EPILOGUE) {
		x86_jmp_label(c, x86_label_exit(c, c->n));
		return;
	}
	if (!c->exit_done) {
		x86_bind(c, x86_label_exit(c, c->n));
		c->exit_done = true;
	}
	x86_epilogue(c);
	x86_ret(&c->b);
}
