/* SPDX-License-Identifier: MIT */
/* Encodings of AArch64 instructions (Arm ARM, C6 and C7). */
#include <string.h>

#include "code/a64.h"

#define TMP A64_X16

void a64_insn(struct a64_buf *b, u32 insn)
{
	u8 *data;

	if (b->oom)
		return;
	data = base_grow(b->data, &b->cap, b->len + 4, 1);
	if (!data) {
		b->oom = true;
		return;
	}
	b->data = data;
	memcpy(b->data + b->len, &insn, 4);
	b->len += 4;
}

void a64_bti(struct a64_buf *b, bool jumps)
{
	a64_insn(b, jumps ? 0xd50324df : 0xd503245f);
}

void a64_mov_rr(struct a64_buf *b, u8 dst, u8 src)
{
	a64_insn(b, 0xaa0003e0 | (u32)src << 16 | dst);
}

void a64_mov_ri(struct a64_buf *b, u8 dst, u64 imm)
{
	u32 hw;

	a64_insn(b, 0xd2800000 | (u32)(imm & 0xffff) << 5 | dst); /* movz */
	for (hw = 1; hw < 4; hw++)
		if (imm >> (16 * hw) & 0xffff)
			a64_insn(b, 0xf2800000 | hw << 21 | (u32)(imm >> (16 * hw) & 0xffff) << 5 |
					    dst);
}

void a64_add_ri(struct a64_buf *b, u8 dst, u8 src, s64 imm)
{
	u32 op = imm < 0 ? 0xd1000000 : 0x91000000; /* sub, add */
	u32 n = (u32)(imm < 0 ? -imm : imm);

	if (n >> 12) {
		a64_insn(b, op | 1u << 22 | (n >> 12) << 10 | (u32)src << 5 | dst);
		src = dst;
	}
	if ((n & 0xfff) || !(n >> 12))
		a64_insn(b, op | (n & 0xfff) << 10 | (u32)src << 5 | dst);
}

void a64_orr_lsl(struct a64_buf *b, u8 dst, u8 a, u8 c, u8 shift)
{
	a64_insn(b, 0xaa000000 | (u32)c << 16 | (u32)shift << 10 | (u32)a << 5 | dst);
}

void a64_lsr(struct a64_buf *b, u8 dst, u8 src, u8 shift)
{
	a64_insn(b, 0xd340fc00 | (u32)shift << 16 | (u32)src << 5 | dst); /* ubfm */
}

void a64_extend(struct a64_buf *b, u8 dst, u8 src, int from, bool is_signed)
{
	/* sbfm, ubfm of bits 0 to 8 * from - 1 */
	u32 op = is_signed ? 0x93400000 : 0xd3400000;

	a64_insn(b, op | (u32)(8 * from - 1) << 10 | (u32)src << 5 | dst);
}

/* ---- loads and stores ------------------------------------------------------------------------ */

/*
 * `op` is the form with an unsigned offset in units of the size; bit 24 clear makes it the one with
 * a signed offset of nine bits. Other offsets are added first.
 */
static void access(struct a64_buf *b, u32 op, int size, u8 reg, u8 base, s64 off)
{
	if (off >= 0 && off % size == 0 && off / size < 4096) {
		a64_insn(b, op | (u32)(off / size) << 10 | (u32)base << 5 | reg);
	} else if (off >= -256 && off < 256) {
		a64_insn(b, (op & ~(1u << 24)) | ((u32)off & 0x1ff) << 12 | (u32)base << 5 | reg);
	} else {
		a64_add_ri(b, TMP, base, off);
		a64_insn(b, op | (u32)TMP << 5 | reg);
	}
}

static u32 size_bits(int size)
{
	return (size == 8 ? 3u : size == 4 ? 2u : size == 2 ? 1u : 0u) << 30;
}

void a64_load(struct a64_buf *b, int size, u8 dst, u8 base, s64 off)
{
	access(b, 0x39400000 | size_bits(size), size, dst, base, off);
}

void a64_load_sx(struct a64_buf *b, int size, u8 dst, u8 base, s64 off)
{
	if (size == 8)
		a64_load(b, size, dst, base, off);
	else
		access(b, 0x39800000 | size_bits(size), size, dst, base, off);
}

void a64_store(struct a64_buf *b, int size, u8 src, u8 base, s64 off)
{
	access(b, 0x39000000 | size_bits(size), size, src, base, off);
}

/* Vector registers: 16 bytes are size 0 with a bit of their own. */
static u32 vector_bits(int size)
{
	return size == 16 ? 1u << 23 : size_bits(size);
}

void a64_vload(struct a64_buf *b, int size, u8 v, u8 base, s64 off)
{
	access(b, 0x3d400000 | vector_bits(size), size, v, base, off);
}

void a64_vstore(struct a64_buf *b, int size, u8 v, u8 base, s64 off)
{
	access(b, 0x3d000000 | vector_bits(size), size, v, base, off);
}

/* ---- control --------------------------------------------------------------------------------- */

void a64_push_frame(struct a64_buf *b)
{
	a64_insn(b, 0xa9bf7bfd);
	a64_insn(b, 0x910003fd);
}

void a64_pop_frame(struct a64_buf *b)
{
	a64_insn(b, 0x910003bf);
	a64_insn(b, 0xa8c17bfd);
	a64_insn(b, 0xd65f03c0);
}

void a64_blr(struct a64_buf *b, u8 reg)
{
	a64_insn(b, 0xd63f0000 | (u32)reg << 5);
}

size_t a64_cbz(struct a64_buf *b, u8 reg)
{
	a64_insn(b, 0xb4000000 | reg);
	return b->len - 4;
}

size_t a64_cbnz(struct a64_buf *b, u8 reg)
{
	a64_insn(b, 0xb5000000 | reg);
	return b->len - 4;
}

void a64_land(struct a64_buf *b, size_t at)
{
	u32 insn;

	if (b->oom)
		return;
	memcpy(&insn, b->data + at, 4);
	insn |= (u32)((b->len - at) / 4) << 5; /* 19 bits, in instructions */
	memcpy(b->data + at, &insn, 4);
}

void a64_copy_loop(struct a64_buf *b, u8 dst, u8 src, u8 count, u64 n)
{
	a64_mov_ri(b, count, n);
	a64_insn(b, 0x3cc10400 | (u32)src << 5 | 16);      /* ldr q16, [src], #16 */
	a64_insn(b, 0x3c810400 | (u32)dst << 5 | 16);      /* str q16, [dst], #16 */
	a64_insn(b, 0xf1000400 | (u32)count << 5 | count); /* subs count, count, #1 */
	a64_insn(b, 0x54ffffa1);                           /* b.ne three back */
}
