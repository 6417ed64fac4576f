/* SPDX-License-Identifier: MIT */
/*
 * Emits AArch64 machine code into a growing buffer, an instruction a call (more where an immediate
 * or an offset does not fit one; x16 is then used up). Sizes are in bytes.
 */
#ifndef FERRY_CODE_A64_H
#define FERRY_CODE_A64_H

#include "base/base.h"

enum a64_reg {
	A64_X0,
	A64_X1,
	A64_X2,
	A64_X3,
	A64_X8 = 8,
	A64_X9,
	A64_X10,
	A64_X11,
	A64_X12,
	A64_X13,
	A64_X14,
	A64_X16 = 16,
	A64_X17,
	A64_X29 = 29,
	A64_X30,
	A64_SP = 31, /* zero register where sp cannot be */
};

/* Zero-initialise to start. */
struct a64_buf {
	u8 *data; /* base_grow's; the owner frees it */
	size_t len, cap;
	bool oom; /* memory ran out: nothing is added any more */
};

void a64_insn(struct a64_buf *b, u32 insn);
void a64_bti(struct a64_buf *b, bool jumps);        /* landing pad for calls, or for jumps too */
void a64_mov_rr(struct a64_buf *b, u8 dst, u8 src); /* not sp */
void a64_mov_ri(struct a64_buf *b, u8 dst, u64 imm);
void a64_add_ri(struct a64_buf *b, u8 dst, u8 src,
		s64 imm); /* 64 bits; sp allowed; |imm| < 16 MiB */
void a64_orr_lsl(struct a64_buf *b, u8 dst, u8 a, u8 c, u8 shift); /* dst = a | c << shift */
void a64_lsr(struct a64_buf *b, u8 dst, u8 src, u8 shift);
void a64_extend(struct a64_buf *b, u8 dst, u8 src, int from,
		bool is_signed); /* from 1, 2, 4 to 8 */

void a64_load(struct a64_buf *b, int size, u8 dst, u8 base, s64 off);    /* zero-extends to 8 */
void a64_load_sx(struct a64_buf *b, int size, u8 dst, u8 base, s64 off); /* sign-extends to 8 */
void a64_store(struct a64_buf *b, int size, u8 src, u8 base, s64 off);
void a64_vload(struct a64_buf *b, int size, u8 v, u8 base, s64 off); /* 4, 8, 16 */
void a64_vstore(struct a64_buf *b, int size, u8 v, u8 base, s64 off);

void a64_push_frame(struct a64_buf *b); /* stp x29, x30, [sp, #-16]!; mov x29, sp */
void a64_pop_frame(struct a64_buf *b);  /* mov sp, x29; ldp x29, x30, [sp], #16; ret */
void a64_blr(struct a64_buf *b, u8 reg);
/* Branches ahead if reg is (not) zero: the place, for a64_land. */
size_t a64_cbz(struct a64_buf *b, u8 reg);
size_t a64_cbnz(struct a64_buf *b, u8 reg);
void a64_land(struct a64_buf *b, size_t at); /* the branch at `at` leads here */
/*
 * Copies n > 0 times 16 bytes from [src] to [dst], which advance; counts in `count`; v16 is used.
 */
void a64_copy_loop(struct a64_buf *b, u8 dst, u8 src, u8 count, u64 n);

#endif
