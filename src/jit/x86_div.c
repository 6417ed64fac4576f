/* SPDX-License-Identifier: MIT */
/*
 * Division and modulo (RFC 9669, 4.1): by zero gives 0, or leaves the dividend; the smallest number
 * by -1 gives itself, or 0. The machine divides rdx:rax, which are r3 and r0, and traps in both
 * cases.
 */
#include <errno.h>

#include "jit/x86_int.h"

struct division {
	u8 dst;         /* eBPF register */
	u8 d;           /* its machine register */
	int w;
	bool mod, is_signed;
};

/* ---- by a constant --------------------------------------------------------------------------- */

/* n / k = (n * (2^bits + m) >> bits) >> shift, exactly: Granlund and Montgomery, 1994, 4.2. */
static u64 magic(u64 k, int bits, u8 *shift)
{
	u8 l = (u8)(64 - __builtin_clzll(k - 1)); /* ceil(log2 k), k is no power of two */
	unsigned __int128 one = 1, num = (one << bits) * ((one << l) - k);

	*shift = l;
	return (u64)(num / k) + 1;
}

/* From the quotient in `q` to the result: what is left over when it is a modulo. */
static void finish_constant(struct jx *c, const struct division *v, u8 q, s32 imm)
{
	if (v->mod) {
		x86_imul_rri(&c->b, v->w, q, q, imm);
		x86_alu_rr(&c->b, X86_SUB, v->w, v->d, q);
	} else {
		x86_mov_rr(&c->b, v->w, v->d, q);
	}
}

static void by_constant32(struct jx *c, const struct division *v, u32 k)
{
	u8 shift;
	u64 m = magic(k, 32, &shift);

	/* All in 64 bits: the lower half of the dividend alone, then the product. */
	x86_mov_rr(&c->b, 4, v->d, v->d);
	x86_mov_ri(&c->b, TMP1, m, true);
	x86_imul_rr(&c->b, 8, TMP1, v->d);
	x86_shift_ri(&c->b, X86_SHR, 8, TMP1, 32);
	x86_alu_rr(&c->b, X86_ADD, 8, TMP1, v->d);
	x86_shift_ri(&c->b, X86_SHR, 8, TMP1, shift);
	finish_constant(c, v, TMP1, (s32)k);
}

/* Puts rax and rdx away as far as they hold values still needed; dst's own is about to change. */
static void save(struct jx *c, const struct division *v, u16 live, u8 rax_in, u8 rdx_in)
{
	if (v->dst != 0 && (live & JIT_BIT(0)))
		x86_mov_rr(&c->b, 8, rax_in, X86_RAX);
	if (v->dst != 3 && (live & JIT_BIT(3)))
		x86_mov_rr(&c->b, 8, rdx_in, X86_RDX);
}

static void restore(struct jx *c, const struct division *v, u16 live, u8 rax_in, u8 rdx_in)
{
	if (v->dst != 0 && (live & JIT_BIT(0)))
		x86_mov_rr(&c->b, 8, X86_RAX, rax_in);
	if (v->dst != 3 && (live & JIT_BIT(3)))
		x86_mov_rr(&c->b, 8, X86_RDX, rdx_in);
}

static void by_constant64(struct jx *c, const struct division *v, s32 imm)
{
	u8 shift;
	u64 m = magic((u64)imm, 64, &shift);

	save(c, v, c->live_out, TMP1, TMP2);
	if (v->d != TMP3)
		x86_mov_rr(&c->b, 8, TMP3, v->d); /* n */
	x86_mov_ri(&c->b, X86_RAX, m, true);
	x86_unary(&c->b, X86_MUL, 8, TMP3); /* rdx = t = n * m >> 64 */
	/* n + t may take 65 bits: (n - t) / 2 + t is half of it. */
	x86_mov_rr(&c->b, 8, X86_RAX, TMP3);
	x86_alu_rr(&c->b, X86_SUB, 8, X86_RAX, X86_RDX);
	x86_shift_ri(&c->b, X86_SHR, 8, X86_RAX, 1);
	x86_alu_rr(&c->b, X86_ADD, 8, X86_RAX, X86_RDX);
	if (shift > 1)
		x86_shift_ri(&c->b, X86_SHR, 8, X86_RAX, (u8)(shift - 1));
	if (v->mod) {
		x86_imul_rri(&c->b, 8, X86_RAX, X86_RAX, imm);
		x86_alu_rr(&c->b, X86_SUB, 8, TMP3, X86_RAX);
		x86_mov_rr(&c->b, 8, v->d, TMP3);
	} else {
		x86_mov_rr(&c->b, 8, v->d, X86_RAX);
	}
	restore(c, v, c->live_out, TMP1, TMP2);
}

/* Unsigned by a power of two. */
static void by_power(struct jx *c, const struct division *v, u32 k)
{
	u8 n = (u8)__builtin_ctz(k);

	if (!v->mod) {
		if (n)
			x86_shift_ri(&c->b, X86_SHR, v->w, v->d, n);
		else if (v->w == 4)
			x86_mov_rr(&c->b, 4, v->d, v->d);
	} else if (k == 0x80000000u) {
		x86_alu_ri(&c->b, X86_AND, 4, v->d, 0x7fffffff);
	} else {
		x86_alu_ri(&c->b, X86_AND, 4, v->d, (s32)(k - 1)); /* the rest is 0 */
	}
}

static bool by_constant(struct jx *c, const struct division *v, s32 imm)
{
	if (!imm) {
		if (!v->mod)
			x86_alu_rr(&c->b, X86_XOR, 4, v->d, v->d);
		else if (v->w == 4)
			x86_mov_rr(&c->b, 4, v->d, v->d);
		return true;
	}
	if (v->is_signed || (v->w == 8 && imm < 0))
		return false;
	if (!((u32)imm & ((u32)imm - 1)))
		by_power(c, v, (u32)imm);
	else if (v->w == 4)
		by_constant32(c, v, (u32)imm);
	else
		by_constant64(c, v, imm);
	return true;
}

/* ---- by a register --------------------------------------------------------------------------- */

/* rdx:rax / by, with results in rax and rdx; by is neither. */
static void divide(struct jx *c, const struct division *v, u8 by)
{
	size_t wide, done;

	if (v->is_signed) {
		x86_sign_to_dx(&c->b, v->w);
		x86_unary(&c->b, X86_IDIV, v->w, by);
		return;
	}
	if (v->w == 4 || c->cpu->fast_div64) {
		x86_alu_rr(&c->b, X86_XOR, 4, X86_RDX, X86_RDX);
		x86_unary(&c->b, X86_DIV, v->w, by);
		return;
	}
	/* A 64-bit division takes several times as long on older CPUs. */
	x86_mov_rr(&c->b, 8, X86_RDX, X86_RAX);
	x86_alu_rr(&c->b, X86_OR, 8, X86_RDX, by);
	x86_shift_ri(&c->b, X86_SHR, 8, X86_RDX, 32);
	wide = x86_jcc8(&c->b, X86_NE);
	x86_unary(&c->b, X86_DIV, 4, by);
	done = x86_jmp8(&c->b);
	x86_land8(&c->b, wide);
	x86_alu_rr(&c->b, X86_XOR, 4, X86_RDX, X86_RDX);
	x86_unary(&c->b, X86_DIV, 8, by);
	x86_land8(&c->b, done);
}

/* Dividend in rax, divisor in `by`: quotient in rax or remainder in rdx, with the special cases. */
static void divide_checked(struct jx *c, const struct division *v, u8 by)
{
	size_t zero, minus = 0, done, done_minus = 0;

	x86_test_rr(&c->b, v->w, by, by);
	zero = x86_jcc8(&c->b, X86_E);
	if (v->is_signed) {
		x86_alu_ri(&c->b, X86_CMP, v->w, by, -1);
		minus = x86_jcc8(&c->b, X86_E);
	}
	divide(c, v, by);
	done = x86_jmp8(&c->b);
	if (v->is_signed) {
		x86_land8(&c->b, minus);
		if (v->mod)
			x86_alu_rr(&c->b, X86_XOR, 4, X86_RDX, X86_RDX);
		else
			x86_unary(&c->b, X86_NEG, v->w, X86_RAX);
		done_minus = x86_jmp8(&c->b);
	}
	x86_land8(&c->b, zero);
	if (v->mod)
		x86_mov_rr(&c->b, v->w, X86_RDX, X86_RAX);
	else
		x86_alu_rr(&c->b, X86_XOR, 4, X86_RAX, X86_RAX);
	x86_land8(&c->b, done);
	if (v->is_signed)
		x86_land8(&c->b, done_minus);
}

void x86_div_insn(struct jx *c, const struct bpf_insn *i)
{
	struct division v = { .dst = i->dst_reg, .w = BPF_CLASS(i->code) == BPF_ALU64 ? 8 : 4 };
	u8 by, rax_in = TMP1, rdx_in = TMP2;
	bool is_imm = BPF_SRC(i->code) == BPF_K;
	s32 imm = i->imm;
	u64 k;

	if (i->off != 0 && i->off != 1) {
		c->err = -EINVAL;
		return;
	}
	if (!is_imm && x86_is_imm(c, i->src_reg, &k) && (v.w == 4 || k == (u64)(s64)(s32)k)) {
		is_imm = true;
		imm = (s32)k;
	}
	v.mod = BPF_OP(i->code) == BPF_MOD;
	v.is_signed = i->off == 1;
	v.d = x86_own(c, v.dst);
	/* Nothing pending may be made of rax and rdx, which change meanwhile. */
	x86_unhook(c, 0, c->live_in);
	x86_unhook(c, 3, c->live_in);
	if (!is_imm && i->src_reg == JIT_FP) {
		by = x86_use(c, JIT_FP); /* may be in TMP2 */
		rdx_in = TMP3;
	} else if (!is_imm) {
		x86_settle(c, i->src_reg);
		by = c->map[i->src_reg];
	} else if (by_constant(c, &v, imm)) {
		x86_defined(c, v.dst, v.w == 4);
		return;
	} else {
		by = TMP3;
		x86_mov_ri(&c->b, by, v.w == 8 ? (u64)(s64)imm : (u32)imm, true);
	}
	/* The divisor may be in a register that the division takes: its copy is used. */
	save(c, &v, c->live_out, rax_in, rdx_in);
	if (by == X86_RAX || by == X86_RDX) {
		u8 copy = by == X86_RAX ? rax_in : rdx_in;

		x86_mov_rr(&c->b, 8, copy, by);
		by = copy;
	}
	if (v.d != X86_RAX)
		x86_mov_rr(&c->b, 8, X86_RAX, v.d);
	if (is_imm && imm != 0 && imm != -1)
		divide(c, &v, by);
	else
		divide_checked(c, &v, by);
	if (v.d != (v.mod ? X86_RDX : X86_RAX))
		x86_mov_rr(&c->b, 8, v.d, v.mod ? X86_RDX : X86_RAX);
	restore(c, &v, c->live_out, rax_in, rdx_in);
	x86_defined(c, v.dst, v.w == 4);
}
