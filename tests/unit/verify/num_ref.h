/* SPDX-License-Identifier: MIT */
/* The oracle for the number domain: what RFC 9669 says an operation gives, at any width. */
#ifndef NUM_REF_H
#define NUM_REF_H

#include "test.h"

#include "verify/num.h"

#ifndef BPF_ALU64
#error "linux/bpf.h"
#endif

static inline u64 ref_mask(u64 v, unsigned bits)
{
	return bits >= 64 ? v : v & ((1ull << bits) - 1);
}

static inline s64 ref_signed(u64 v, unsigned bits)
{
	v = ref_mask(v, bits);
	if (bits < 64 && v >> (bits - 1))
		v |= ~0ull << bits;
	return (s64)v;
}

static inline u64 ref_swap(u64 v, unsigned count)
{
	u64 r = 0;

	for (unsigned i = 0; i < count; i++)
		r |= ref_mask(v >> (i * NUM_BYTE), NUM_BYTE) << ((count - 1 - i) * NUM_BYTE);
	return r;
}

/* Division as RFC 9669, 4.1 has it: by zero gives 0, and the dividend as the remainder. */
static inline u64 ref_div(u64 x, u64 y, unsigned bits, bool is_signed, bool mod)
{
	s64 sx = ref_signed(x, bits), sy = ref_signed(y, bits);

	if (!y)
		return mod ? x : 0;
	if (!is_signed)
		return mod ? x % y : x / y;
	if (sy == -1) /* the most negative number by -1 is itself, with no remainder */
		return mod ? 0 : -x;
	return (u64)(mod ? sx % sy : sx / sy);
}

/* One operation on `bits` bits, operands already cut to them. */
static inline u64 ref_op(u8 op, u64 x, u64 y, unsigned bits, bool is_signed)
{
	unsigned k = (unsigned)(y & (bits - 1));

	switch (op) {
	case BPF_ADD: return x + y;
	case BPF_SUB: return x - y;
	case BPF_MUL: return x * y;
	case BPF_DIV: return ref_div(x, y, bits, is_signed, false);
	case BPF_MOD: return ref_div(x, y, bits, is_signed, true);
	case BPF_OR: return x | y;
	case BPF_AND: return x & y;
	case BPF_XOR: return x ^ y;
	case BPF_LSH: return x << k;
	case BPF_RSH: return x >> k;
	case BPF_ARSH: return (u64)(ref_signed(x, bits) >> k);
	case BPF_NEG: return -x;
	default: fail_msg("operation %#x", op); return 0;
	}
}

/* A whole instruction, as num_alu has it. */
static inline u64 ref_alu(const struct bpf_insn *insn, u64 dst, u64 src)
{
	bool is64 = BPF_CLASS(insn->code) == BPF_ALU64;
	unsigned bits = is64 ? NUM_BITS : NUM_HALF;
	u8 op = BPF_OP(insn->code);

	if (op == BPF_END) {
		unsigned count = (unsigned)insn->imm / 8;
		u64 v = ref_mask(dst, count * NUM_BYTE);

		return is64 || BPF_SRC(insn->code) == BPF_TO_BE ? ref_swap(v, count) : v;
	}
	if (op == BPF_MOV) {
		if (insn->off)
			src = (u64)ref_signed(src, (unsigned)insn->off / 8 * NUM_BYTE);
		return ref_mask(src, bits);
	}
	return ref_mask(ref_op(op, ref_mask(dst, bits), ref_mask(src, bits), bits, insn->off == 1),
			bits);
}

static inline bool ref_holds(u8 op, bool is64, u64 a, u64 b)
{
	unsigned bits = is64 ? NUM_BITS : NUM_HALF;
	s64 sa = ref_signed(a, bits), sb = ref_signed(b, bits);

	a = ref_mask(a, bits);
	b = ref_mask(b, bits);
	switch (op) {
	case BPF_JEQ: return a == b;
	case BPF_JNE: return a != b;
	case BPF_JGT: return a > b;
	case BPF_JGE: return a >= b;
	case BPF_JLT: return a < b;
	case BPF_JLE: return a <= b;
	case BPF_JSGT: return sa > sb;
	case BPF_JSGE: return sa >= sb;
	case BPF_JSLT: return sa < sb;
	case BPF_JSLE: return sa <= sb;
	case BPF_JSET: return a & b;
	default: fail_msg("comparison %#x", op); return false;
	}
}

static const u8 ref_conds[] = { BPF_JEQ, BPF_JNE, BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE,
				BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET };

struct ref_insn {
	const char *name;
	u8 op;
	s16 off;
	s32 imm; /* byte swaps: width */
	bool only64;
};

/* Every operation with two operands, then those with one. */
static const struct ref_insn ref_binary[] = {
	{ "add", BPF_ADD, 0, 0, false },   { "sub", BPF_SUB, 0, 0, false },
	{ "mul", BPF_MUL, 0, 0, false },   { "div", BPF_DIV, 0, 0, false },
	{ "mod", BPF_MOD, 0, 0, false },   { "sdiv", BPF_DIV, 1, 0, false },
	{ "smod", BPF_MOD, 1, 0, false },  { "or", BPF_OR, 0, 0, false },
	{ "and", BPF_AND, 0, 0, false },   { "xor", BPF_XOR, 0, 0, false },
	{ "lsh", BPF_LSH, 0, 0, false },   { "rsh", BPF_RSH, 0, 0, false },
	{ "arsh", BPF_ARSH, 0, 0, false },
};
static const struct ref_insn ref_unary[] = {
	{ "neg", BPF_NEG, 0, 0, false },
	{ "mov", BPF_MOV, 0, 0, false },
	{ "movsx8", BPF_MOV, 8, 0, false },
	{ "movsx16", BPF_MOV, 16, 0, false },
	{ "movsx32", BPF_MOV, 32, 0, true },
	{ "le16/bswap16", BPF_END, 0, 16, false },
	{ "le32/bswap32", BPF_END, 0, 32, false },
	{ "le64/bswap64", BPF_END, 0, 64, false },
	{ "be16", BPF_END | BPF_TO_BE, 0, 16, false },
	{ "be32", BPF_END | BPF_TO_BE, 0, 32, false },
	{ "be64", BPF_END | BPF_TO_BE, 0, 64, false },
};

static inline struct bpf_insn ref_make(const struct ref_insn *r, bool is64)
{
	return (struct bpf_insn){ .code = (u8)((is64 ? BPF_ALU64 : BPF_ALU) | r->op),
				  .off = r->off, .imm = r->imm };
}

#endif
