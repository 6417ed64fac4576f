/* SPDX-License-Identifier: MIT */
/*
 * Every arithmetic and jump instruction with every pair of registers, against the same written in C:
 * the result is right, and no other register changes.
 */
#include "jit_test.h"

static const u64 values[] = {
	0, 1, 2, 3, 7, 31, 32, 33, 63, 64, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff, 0x10000,
	0x12345678, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff, 0x100000000,
	0x123456789abcdef0, 0x7fffffffffffffff, 0x8000000000000000, 0x8000000000000001,
	0xffffffff80000000, 0xfffffffffffffffe, 0xffffffffffffffff,
};

struct op {
	u8 code; /* with class, without source */
	s16 off;
};

static const struct op ops[] = {
#define BOTH(op, off) { BPF_ALU64 | (op), off }, { BPF_ALU | (op), off }
	BOTH(BPF_ADD, 0), BOTH(BPF_SUB, 0), BOTH(BPF_MUL, 0), BOTH(BPF_DIV, 0), BOTH(BPF_DIV, 1),
	BOTH(BPF_MOD, 0), BOTH(BPF_MOD, 1), BOTH(BPF_AND, 0), BOTH(BPF_OR, 0), BOTH(BPF_XOR, 0),
	BOTH(BPF_LSH, 0), BOTH(BPF_RSH, 0), BOTH(BPF_ARSH, 0), BOTH(BPF_MOV, 0), BOTH(BPF_MOV, 8),
	BOTH(BPF_MOV, 16), { BPF_ALU64 | BPF_MOV, 32 },
};

static u64 div_of(u64 a, u64 b, bool mod)
{
	return mod ? (b ? a % b : a) : (b ? a / b : 0);
}

static s64 sdiv_of(s64 a, s64 b, bool mod)
{
	if (!b)
		return mod ? a : 0;
	if (b == -1)
		return mod ? 0 : (s64)(0 - (u64)a);
	return mod ? a % b : a / b;
}

/* RFC 9669, 4.1, with 64-bit operands. */
static u64 ref64(const struct op *o, u64 a, u64 b)
{
	switch (BPF_OP(o->code)) {
	case BPF_ADD: return a + b;
	case BPF_SUB: return a - b;
	case BPF_MUL: return a * b;
	case BPF_DIV: return o->off ? (u64)sdiv_of((s64)a, (s64)b, false) : div_of(a, b, false);
	case BPF_MOD: return o->off ? (u64)sdiv_of((s64)a, (s64)b, true) : div_of(a, b, true);
	case BPF_AND: return a & b;
	case BPF_OR: return a | b;
	case BPF_XOR: return a ^ b;
	case BPF_LSH: return a << (b & 63);
	case BPF_RSH: return a >> (b & 63);
	case BPF_ARSH: return (u64)((s64)a >> (b & 63));
	default:
		return o->off == 8 ? (u64)(s8)b : o->off == 16 ? (u64)(s16)b :
		       o->off == 32 ? (u64)(s32)b : b;
	}
}

static u64 ref(const struct op *o, u64 a, u64 b)
{
	u8 op = BPF_OP(o->code);
	s32 sa = (s32)a, sb = (s32)b;

	if (BPF_CLASS(o->code) == BPF_ALU64)
		return ref64(o, a, b);
	switch (op) {
	case BPF_DIV:
	case BPF_MOD:
		return o->off ? (u32)sdiv_of(sa, sb, op == BPF_MOD) :
				(u32)div_of((u32)a, (u32)b, op == BPF_MOD);
	case BPF_LSH: return (u32)a << (b & 31);
	case BPF_RSH: return (u32)a >> (b & 31);
	case BPF_ARSH: return (u32)(sa >> (b & 31));
	default: return (u32)ref64(o, a, b);
	}
}

/*
 * r0 to r9 from ctx[0..9], `body`, r0 to r9 to ctx[10..19]. The context's address and r0 pass
 * through the stack; `escape` keeps its slots from being promoted.
 */
static u32 frame(struct bpf_insn *out, const struct bpf_insn *body, u32 n, bool escape)
{
	u32 k = 0;

	if (escape)
		out[k++] = MOV64(2, 10);
	out[k++] = STX(BPF_DW, 10, 1, -8);
	for (int r = 9; r >= 0; r--)
		if (r != 1)
			out[k++] = LDX(BPF_DW, r, 1, r * 8);
	out[k++] = LDX(BPF_DW, 1, 1, 8);
	memcpy(out + k, body, n * sizeof(*out));
	k += n;
	for (int r = 0; r < 10; r++)
		out[k++] = STX(BPF_DW, 10, r, -16 - r * 8);
	out[k++] = LDX(BPF_DW, 1, 10, -8);
	for (int r = 0; r < 10; r++) {
		out[k++] = LDX(BPF_DW, 2, 10, -16 - r * 8);
		out[k++] = STX(BPF_DW, 1, 2, 80 + r * 8);
	}
	out[k++] = MOV64I(0, 0);
	out[k++] = EXIT();
	return k;
}

static void fill(u64 *ctx)
{
	for (u64 r = 0; r < 10; r++)
		ctx[r] = 0x1111111111111111 * (r + 1) + 0x8000000000000000;
}

static void check(const u64 *ctx, const struct bpf_insn *i, int dst, u64 want)
{
	struct text t = { 0 };

	for (int r = 0; r < 10; r++) {
		u64 expected = r == dst ? want : ctx[r];

		if (ctx[10 + r] == expected)
			continue;
		isa_disasm(i, 0, NULL, &t);
		fail_msg("%s (off %d) r%d=%#llx r%d=%#llx: r%d is %#llx, not %#llx", text_str(&t), i->off,
			 i->dst_reg, (unsigned long long)ctx[i->dst_reg], i->src_reg,
			 (unsigned long long)ctx[i->src_reg], r, (unsigned long long)ctx[10 + r],
			 (unsigned long long)expected);
	}
}

static void run_pair(const struct op *o, u8 dst, u8 src, bool escape)
{
	struct bpf_insn body = INSN(o->code | BPF_X, dst, src, o->off, 0), insns[80];
	struct prog *p = jit_prog(insns, frame(insns, &body, 1, escape));
	u64 ctx[20];

	for (u32 a = 0; a < ARRAY_SIZE(values); a++) {
		for (u32 b = 0; b < ARRAY_SIZE(values); b++) {
			fill(ctx);
			ctx[dst] = values[a];
			ctx[src] = values[b];
			prog_run(p, ctx);
			check(ctx, &body, dst, ref(o, ctx[dst], ctx[src]));
		}
	}
	jit_prog_free(p);
}

static void registers_agree_with_c_and_others_stay(void **state)
{
	(void)state;
	for (u32 n = 0; n < ARRAY_SIZE(ops); n++)
		for (u8 dst = 0; dst < 10; dst++)
			for (u8 src = 0; src < 10; src++)
				run_pair(&ops[n], dst, src, (dst + src) & 1);
}

static void run_imm(const struct op *o, u8 dst, s32 imm, bool in_reg)
{
	u8 src = (u8)((dst + 3) % 10);
	struct bpf_insn body[2] = { INSN(o->code | BPF_K, dst, 0, o->off, imm) }, insns[80];
	struct prog *p;
	u64 ctx[20];
	u32 n = 1;

	if (in_reg) { /* the constant passes through a register */
		body[0] = MOV64I(src, imm);
		body[1] = INSN(o->code | BPF_X, dst, src, o->off, 0);
		n = 2;
	}
	p = jit_prog(insns, frame(insns, body, n, imm & 1));
	for (u32 a = 0; a < ARRAY_SIZE(values); a++) {
		fill(ctx);
		ctx[dst] = values[a];
		prog_run(p, ctx);
		if (in_reg)
			ctx[src] = (u64)(s64)imm;
		check(ctx, &body[n - 1], dst, ref(o, ctx[dst], (u64)(s64)imm));
	}
	jit_prog_free(p);
}

static void immediates_agree_with_c(void **state)
{
	static const s32 wide[] = { 0, 1, 2, 3, 5, 7, 8, 9, 10, 11, 13, 25, 31, 64, 100, 127, 128, 255,
				    256, 641, 1000, 65535, 65536, 1000000007, INT32_MAX, INT32_MIN,
				    INT32_MIN + 1, -1, -2, -3, -10, -128, -129, -65536 };

	(void)state;
	for (u32 n = 0; n < ARRAY_SIZE(ops); n++) {
		u8 op = BPF_OP(ops[n].code);
		bool is_shift = op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH;
		s32 bits = BPF_CLASS(ops[n].code) == BPF_ALU64 ? 64 : 32;

		for (u8 dst = 0; dst < 10; dst++) {
			if (op == BPF_MOV && ops[n].off)
				continue;
			for (s32 k = 0; is_shift && k < bits; k++)
				run_imm(&ops[n], dst, k, false);
			for (u32 k = 0; !is_shift && k < ARRAY_SIZE(wide); k++)
				run_imm(&ops[n], dst, wide[k], false);
			for (u32 k = 0; k < ARRAY_SIZE(wide); k++)
				run_imm(&ops[n], dst, wide[k], true);
		}
	}
}

static bool holds(u8 code, u64 a, u64 b)
{
	bool narrow = BPF_CLASS(code) == BPF_JMP32;
	s64 x = narrow ? (s32)a : (s64)a, y = narrow ? (s32)b : (s64)b;

	if (narrow) {
		a = (u32)a;
		b = (u32)b;
	}
	switch (BPF_OP(code)) {
	case BPF_JEQ: return a == b;
	case BPF_JNE: return a != b;
	case BPF_JGT: return a > b;
	case BPF_JGE: return a >= b;
	case BPF_JLT: return a < b;
	case BPF_JLE: return a <= b;
	case BPF_JSGT: return x > y;
	case BPF_JSGE: return x >= y;
	case BPF_JSLT: return x < y;
	case BPF_JSLE: return x <= y;
	default: return a & b;
	}
}

static const u8 jumps[] = { BPF_JEQ, BPF_JNE, BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE,
			    BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET };

static void conditions_agree_with_c(void **state)
{
	(void)state;
	for (u32 n = 0; n < ARRAY_SIZE(jumps) * 2; n++) {
		u8 code = (u8)((n & 1 ? BPF_JMP32 : BPF_JMP) | jumps[n / 2]);
		struct bpf_insn insns[] = {
			LDX(BPF_DW, 2, 1, 0), LDX(BPF_DW, 3, 1, 8), MOV64I(0, 1),
			INSN(code | BPF_X, 2, 3, 1, 0), MOV64I(0, 0), EXIT(),
		};
		struct prog *p = jit_prog(insns, ARRAY_SIZE(insns));

		for (u32 a = 0; a < ARRAY_SIZE(values); a++) {
			for (u32 b = 0; b < ARRAY_SIZE(values); b++) {
				u64 ctx[2] = { values[a], values[b] };

				assert_int_equal(prog_run(p, ctx), holds(code, ctx[0], ctx[1]));
			}
		}
		jit_prog_free(p);
	}
}

static void conditions_with_immediates_agree_with_c(void **state)
{
	(void)state;
	for (u32 n = 0; n < ARRAY_SIZE(jumps) * 2; n++) {
		for (u32 b = 0; b < ARRAY_SIZE(values); b++) {
			u8 code = (u8)((n & 1 ? BPF_JMP32 : BPF_JMP) | jumps[n / 2]);
			s32 imm = (s32)values[b];
			struct bpf_insn insns[] = {
				LDX(BPF_DW, 2, 1, 0), MOV64I(0, 1),
				INSN(code | BPF_K, 2, 0, 1, imm), MOV64I(0, 0), EXIT(),
			};
			struct prog *p = jit_prog(insns, ARRAY_SIZE(insns));

			for (u32 a = 0; a < ARRAY_SIZE(values); a++) {
				u64 ctx[1] = { values[a] };

				assert_int_equal(prog_run(p, ctx),
						 holds(code, ctx[0], (u64)(s64)imm));
			}
			jit_prog_free(p);
		}
	}
}

/* The flags of an operation just before may stand for the comparison. */
static void comparing_a_result_with_zero_agrees_with_c(void **state)
{
	static const u8 alu[] = { BPF_ADD, BPF_SUB, BPF_AND, BPF_OR, BPF_XOR, BPF_LSH, BPF_MOV };

	(void)state;
	for (u32 n = 0; n < ARRAY_SIZE(jumps) * ARRAY_SIZE(alu) * 4; n++) {
		u8 jmp = jumps[n / 4 % ARRAY_SIZE(jumps)];
		struct op o = { (u8)((n & 1 ? BPF_ALU : BPF_ALU64) |
				     alu[n / 4 / ARRAY_SIZE(jumps)]), 0 };
		u8 code = (u8)((n & 2 ? BPF_JMP32 : BPF_JMP) | jmp);
		struct bpf_insn insns[] = {
			LDX(BPF_DW, 2, 1, 0), LDX(BPF_DW, 3, 1, 8), MOV64I(0, 1),
			INSN(o.code | BPF_X, 2, 3, 0, 0),
			INSN(code | BPF_K, 2, 0, 1, 0), MOV64I(0, 0), EXIT(),
		};
		struct prog *p = jit_prog(insns, ARRAY_SIZE(insns));

		for (u32 a = 0; a < ARRAY_SIZE(values); a++) {
			for (u32 b = 0; b < ARRAY_SIZE(values); b++) {
				u64 ctx[2] = { values[a], values[b] };

				assert_int_equal(prog_run(p, ctx),
						 holds(code, ref(&o, ctx[0], ctx[1]), 0));
			}
		}
		jit_prog_free(p);
	}
}

static u64 swapped(u64 v, int bits)
{
	return bits == 16 ? __builtin_bswap16((u16)v) : bits == 32 ? __builtin_bswap32((u32)v) :
	       __builtin_bswap64(v);
}

static u64 lower(u64 v, int bits)
{
	return bits == 64 ? v : v & ((1ull << bits) - 1);
}

static void byte_swaps_and_negation_agree_with_c(void **state)
{
	(void)state;
	for (u8 dst = 0; dst < 10; dst++) {
		for (int bits = 16; bits <= 64; bits *= 2) {
			struct bpf_insn forms[] = {
				INSN(BPF_ALU | BPF_END | BPF_TO_LE, dst, 0, 0, bits),
				INSN(BPF_ALU | BPF_END | BPF_TO_BE, dst, 0, 0, bits),
				INSN(BPF_ALU64 | BPF_END, dst, 0, 0, bits),
				INSN(BPF_ALU64 | BPF_NEG, dst, 0, 0, 0),
				INSN(BPF_ALU | BPF_NEG, dst, 0, 0, 0),
			};

			for (u32 n = 0; n < ARRAY_SIZE(forms); n++) {
				struct bpf_insn insns[80];
				struct prog *p = jit_prog(insns, frame(insns, &forms[n], 1, n & 1));

				for (u32 a = 0; a < ARRAY_SIZE(values); a++) {
					u64 v = values[a], ctx[20];
					u64 want[] = { lower(v, bits), swapped(v, bits),
						       swapped(v, bits), 0 - v, (u32)(0 - v) };

					fill(ctx);
					ctx[dst] = v;
					prog_run(p, ctx);
					check(ctx, &forms[n], dst, want[n]);
				}
				jit_prog_free(p);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_agree_with_c_and_others_stay),
		cmocka_unit_test(immediates_agree_with_c),
		cmocka_unit_test(conditions_agree_with_c),
		cmocka_unit_test(conditions_with_immediates_agree_with_c),
		cmocka_unit_test(comparing_a_result_with_zero_agrees_with_c),
		cmocka_unit_test(byte_swaps_and_negation_agree_with_c),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
