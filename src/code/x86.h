/* SPDX-License-Identifier: MIT */
/*
 * Emits x86-64 machine code into a growing buffer, an instruction a call. Operand widths are in
 * bytes (1, 2, 4, 8). Shortest form that does the job; flags are as the Intel manual says.
 */
#ifndef FERRY_CODE_X86_H
#define FERRY_CODE_X86_H

#include "base/base.h"

enum x86_reg {
	X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI,
	X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15,
	X86_NONE, /* no base or no index; as an index RSP does not exist */
};

/* Arithmetic with two operands, by its number in opcode and modrm. */
enum x86_alu { X86_ADD, X86_OR, X86_ADC, X86_SBB, X86_AND, X86_SUB, X86_XOR, X86_CMP };
enum x86_shift { X86_ROL, X86_ROR, X86_SHL = 4, X86_SHR, X86_SAR = 7 };
enum x86_unary { X86_NOT = 2, X86_NEG, X86_MUL, X86_IMUL, X86_DIV, X86_IDIV };
enum x86_cc {
	X86_O, X86_NO, X86_B, X86_AE, X86_E, X86_NE, X86_BE, X86_A,
	X86_S, X86_NS, X86_P, X86_NP, X86_L, X86_GE, X86_LE, X86_G,
};

/* Zero-initialise to start. */
struct x86_buf {
	u8 *data; /* base_grow's; the owner frees it */
	size_t len, cap;
	bool oom; /* memory ran out: nothing is added any more */
};

/* [base + (index << shift) + disp] */
struct x86_mem {
	u8 base, index, shift;
	s32 disp;
};
static inline struct x86_mem x86_at(u8 base, s32 disp)
{
	return (struct x86_mem){ base, X86_NONE, 0, disp };
}

void x86_byte(struct x86_buf *b, u8 byte);
void x86_bytes(struct x86_buf *b, const void *p, size_t n);
void x86_nop(struct x86_buf *b, unsigned n); /* n bytes that do nothing */
void x86_nop_fill(u8 *p, unsigned n);

void x86_alu_rr(struct x86_buf *b, enum x86_alu op, int w, u8 dst, u8 src);
void x86_alu_ri(struct x86_buf *b, enum x86_alu op, int w, u8 dst, s32 imm);
void x86_alu_rm(struct x86_buf *b, enum x86_alu op, int w, u8 dst, struct x86_mem src);
void x86_alu_mr(struct x86_buf *b, enum x86_alu op, int w, struct x86_mem dst, u8 src);
void x86_alu_mi(struct x86_buf *b, enum x86_alu op, int w, struct x86_mem dst, s32 imm);
/*
 * An instruction on a field of this thread's static storage, which lies at a fixed distance from fs
 * (initial-exec, ELF TLS 3.4.1): `op` is its bytes up to the displacement of fs:[disp32].
 */
void x86_on_field(struct x86_buf *b, const char *op, size_t n, const void *field);
void x86_lock(struct x86_buf *b); /* prefix of the next instruction */

void x86_mov_rr(struct x86_buf *b, int w, u8 dst, u8 src); /* w 4 zero-extends */
/* Any 64-bit value; flags are kept unless it is 0 and `flags_free`. */
void x86_mov_ri(struct x86_buf *b, u8 dst, u64 imm, bool flags_free);
void x86_movzx_rr(struct x86_buf *b, int from, u8 dst, u8 src); /* from 1, 2, 4 to 8 bytes */
void x86_movsx_rr(struct x86_buf *b, int w, int from, u8 dst, u8 src);
void x86_load(struct x86_buf *b, int size, u8 dst, struct x86_mem m); /* zero-extends to 8 bytes */
void x86_load_sx(struct x86_buf *b, int size, u8 dst, struct x86_mem m); /* sign-extends to 8 */
void x86_store(struct x86_buf *b, int size, struct x86_mem m, u8 src);
void x86_store_imm(struct x86_buf *b, int size, struct x86_mem m, s32 imm);
void x86_movbe_load(struct x86_buf *b, int size, u8 dst, struct x86_mem m); /* 4, 8 */
void x86_movbe_store(struct x86_buf *b, int size, struct x86_mem m, u8 src); /* 2, 4, 8 */
void x86_lea(struct x86_buf *b, int w, u8 dst, struct x86_mem m);
/* lea dst, [rip + rel32]: returns where the rel32 is. */
size_t x86_lea_rip(struct x86_buf *b, u8 dst);
void x86_push(struct x86_buf *b, u8 reg);
void x86_pop(struct x86_buf *b, u8 reg);

void x86_shift_ri(struct x86_buf *b, enum x86_shift op, int w, u8 dst, u8 count);
void x86_shift_cl(struct x86_buf *b, enum x86_shift op, int w, u8 dst);
/* BMI2: dst = src shifted by count; SHL, SHR, SAR. No flags. */
void x86_shiftx(struct x86_buf *b, enum x86_shift op, int w, u8 dst, u8 src, u8 count);
void x86_rorx(struct x86_buf *b, int w, u8 dst, u8 src, u8 count); /* BMI2, no flags */
void x86_unary(struct x86_buf *b, enum x86_unary op, int w, u8 reg);
void x86_imul_rr(struct x86_buf *b, int w, u8 dst, u8 src);
void x86_imul_rm(struct x86_buf *b, int w, u8 dst, struct x86_mem m);
void x86_imul_rri(struct x86_buf *b, int w, u8 dst, u8 src, s32 imm);
void x86_sign_to_dx(struct x86_buf *b, int w); /* cdq, cqo */
void x86_test_rr(struct x86_buf *b, int w, u8 a, u8 c);
void x86_test_ri(struct x86_buf *b, int w, u8 a, s32 imm);
void x86_test_mi(struct x86_buf *b, int w, struct x86_mem m, s32 imm);
void x86_setcc(struct x86_buf *b, enum x86_cc cc, u8 reg);
void x86_cmov(struct x86_buf *b, enum x86_cc cc, int w, u8 dst, u8 src);
void x86_bswap(struct x86_buf *b, int w, u8 reg); /* 4, 8 */

void x86_xadd(struct x86_buf *b, int w, struct x86_mem m, u8 reg);
void x86_xchg(struct x86_buf *b, int w, struct x86_mem m, u8 reg);
void x86_cmpxchg(struct x86_buf *b, int w, struct x86_mem m, u8 reg);

/* Branches with a displacement to be filled in: each returns where the displacement is. */
size_t x86_jmp8(struct x86_buf *b);
size_t x86_jcc8(struct x86_buf *b, enum x86_cc cc);
size_t x86_jmp32(struct x86_buf *b);
size_t x86_jcc32(struct x86_buf *b, enum x86_cc cc);
size_t x86_call32(struct x86_buf *b);
void x86_land8(struct x86_buf *b, size_t at);  /* the 8-bit displacement at `at` leads here;
						   nothing between may change its size later */
void x86_jcc8_back(struct x86_buf *b, enum x86_cc cc, size_t to); /* at most 120 bytes */
void x86_jmp_r(struct x86_buf *b, u8 reg);
void x86_call_r(struct x86_buf *b, u8 reg);
void x86_jmp_m(struct x86_buf *b, struct x86_mem m);
void x86_ret(struct x86_buf *b);
void x86_trap(struct x86_buf *b); /* ud2 */

/* SSE scalars and vectors, as thunks need them: `size` 4 movss, 8 movsd, 16 movups. */
void x86_xmm_load(struct x86_buf *b, int size, u8 xmm, struct x86_mem m);
void x86_xmm_store(struct x86_buf *b, int size, struct x86_mem m, u8 xmm);
/* movd, movq between register files: w 4, 8; the rest of the destination is 0. */
void x86_xmm_from_gp(struct x86_buf *b, int w, u8 xmm, u8 reg);
void x86_gp_from_xmm(struct x86_buf *b, int w, u8 reg, u8 xmm);

/* What this CPU has beyond x86-64's base. */
struct x86_features {
	bool bmi2, movbe, fast_div64;
};
const struct x86_features *x86_cpu(void);

#endif
