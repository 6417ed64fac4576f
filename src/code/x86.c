/* SPDX-License-Identifier: MIT */
/* The x86-64 emitter: one encoder, and a function an instruction that names its opcode. */
#include <cpuid.h>
#include <string.h>

#include "code/x86.h"

/* An opcode byte with what goes around it. */
enum {
	OP_0F = 0x100,   /* escape 0F */
	OP_0F38 = 0x200, /* escape 0F 38 */
	OP_66 = 0x400,   /* mandatory or operand-size prefix */
	OP_F2 = 0x800,
	OP_F3 = 0x1000,
	OP_BREG = 0x2000, /* the reg field is a byte register: spl, bpl, sil, dil need REX */
	OP_BRM = 0x4000,  /* the same for r/m */
};

#define MAX_INSN 16

static bool room(struct x86_buf *b)
{
	u8 *p;

	if (b->cap - b->len >= MAX_INSN)
		return true;
	if (b->oom)
		return false;
	p = base_grow(b->data, &b->cap, b->len + 4096, 1);
	if (!p) {
		b->oom = true;
		return false;
	}
	b->data = p;
	return true;
}

static void put32(struct x86_buf *b, u32 v)
{
	memcpy(b->data + b->len, &v, 4);
	b->len += 4;
}

static void put64(struct x86_buf *b, u64 v)
{
	memcpy(b->data + b->len, &v, 8);
	b->len += 8;
}

/* Prefixes, REX and opcode. `rx`: bits to add to REX; `force`: REX even when empty. */
static void opcode(struct x86_buf *b, u32 op, u8 rex, bool force)
{
	u8 *p = b->data + b->len;

	if (op & OP_66)
		*p++ = 0x66;
	if (op & OP_F2)
		*p++ = 0xf2;
	if (op & OP_F3)
		*p++ = 0xf3;
	if (rex || force)
		*p++ = 0x40 | rex;
	if (op & (OP_0F | OP_0F38))
		*p++ = 0x0f;
	if (op & OP_0F38)
		*p++ = 0x38;
	*p++ = (u8)op;
	b->len = (size_t)(p - b->data);
}

static bool byte_needs_rex(u8 reg)
{
	return reg >= X86_RSP && reg <= X86_RDI;
}

/* op with two registers. `w` 8 sets REX.W. False: no room, the rest must not follow. */
static bool enc_rr(struct x86_buf *b, u32 op, int w, u8 reg, u8 rm)
{
	u8 rex = (u8)((w == 8) << 3 | (reg >> 3 & 1) << 2 | (rm >> 3 & 1));

	if (!room(b))
		return false;
	opcode(b, op, rex,
	       ((op & OP_BREG) && byte_needs_rex(reg)) || ((op & OP_BRM) && byte_needs_rex(rm)));
	b->data[b->len++] = (u8)(0xc0 | (reg & 7) << 3 | (rm & 7));
	return true;
}

/* modrm, SIB and displacement of a memory operand (Intel SDM 2A, 2.1.5). */
static void mem_operand(struct x86_buf *b, u8 reg, struct x86_mem m)
{
	u8 base = m.base & 7, mod, *p = b->data + b->len;
	bool sib = m.index != X86_NONE || m.base == X86_NONE || base == X86_RSP;

	if (m.base == X86_NONE)
		mod = 0, base = 5; /* no base: disp32 follows */
	else if (!m.disp && base != X86_RBP) /* rbp, r13 with mod 0 mean something else */
		mod = 0;
	else
		mod = m.disp == (s8)m.disp ? 1 : 2;
	*p++ = (u8)(mod << 6 | (reg & 7) << 3 | (sib ? 4 : base));
	if (sib)
		*p++ = (u8)(m.shift << 6 | (m.index == X86_NONE ? 4 : m.index & 7) << 3 | base);
	b->len = (size_t)(p - b->data);
	if (mod == 1)
		b->data[b->len++] = (u8)m.disp;
	else if (mod == 2 || m.base == X86_NONE)
		put32(b, (u32)m.disp);
}

static u8 rex_of_mem(int w, u8 reg, struct x86_mem m)
{
	u8 x = m.index != X86_NONE && m.index >= X86_R8;
	u8 base = m.base != X86_NONE && m.base >= X86_R8;

	return (u8)((w == 8) << 3 | (reg >> 3 & 1) << 2 | x << 1 | base);
}

static bool enc_rm(struct x86_buf *b, u32 op, int w, u8 reg, struct x86_mem m)
{
	if (!room(b))
		return false;
	opcode(b, op, rex_of_mem(w, reg, m), (op & OP_BREG) && byte_needs_rex(reg));
	mem_operand(b, reg, m);
	return true;
}

void x86_byte(struct x86_buf *b, u8 byte)
{
	if (room(b))
		b->data[b->len++] = byte;
}

void x86_bytes(struct x86_buf *b, const void *p, size_t n)
{
	const u8 *s = p;

	for (size_t i = 0; i < n; i++)
		x86_byte(b, s[i]);
}

/* The multi-byte NOPs of the Intel SDM 2B, "NOP". */
void x86_nop_fill(u8 *p, unsigned n)
{
	static const u8 nops[9][9] = {
		{ 0x90 },
		{ 0x66, 0x90 },
		{ 0x0f, 0x1f, 0x00 },
		{ 0x0f, 0x1f, 0x40, 0x00 },
		{ 0x0f, 0x1f, 0x44, 0x00, 0x00 },
		{ 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 },
		{ 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00 },
		{ 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 },
		{ 0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 },
	};

	while (n) {
		unsigned k = n < 9 ? n : 9;

		memcpy(p, nops[k - 1], k);
		p += k;
		n -= k;
	}
}

void x86_nop(struct x86_buf *b, unsigned n)
{
	while (n && room(b)) {
		unsigned k = n < 9 ? n : 9;

		x86_nop_fill(b->data + b->len, k);
		b->len += k;
		n -= k;
	}
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

/* Opcodes come in pairs, byte form below the others; 16 bits take a prefix. */
static u32 sized(u32 op, int w)
{
	return w == 1 ? op | OP_BREG : w == 2 ? (op + 1) | OP_66 : op + 1;
}

void x86_alu_rr(struct x86_buf *b, enum x86_alu op, int w, u8 dst, u8 src)
{
	u32 o = sized((u32)op << 3, w);

	enc_rr(b, w == 1 ? o | OP_BRM : o, w, src, dst);
}

void x86_alu_ri(struct x86_buf *b, enum x86_alu op, int w, u8 dst, s32 imm)
{
	if (w == 1) {
		if (enc_rr(b, 0x80 | OP_BRM, w, (u8)op, dst))
			b->data[b->len++] = (u8)imm;
	} else if (imm == (s8)imm) {
		if (enc_rr(b, 0x83 | (w == 2 ? OP_66 : 0), w, (u8)op, dst))
			b->data[b->len++] = (u8)imm;
	} else if (w != 2 && enc_rr(b, 0x81, w, (u8)op, dst)) {
		put32(b, (u32)imm);
	}
}

void x86_alu_rm(struct x86_buf *b, enum x86_alu op, int w, u8 dst, struct x86_mem src)
{
	enc_rm(b, sized((u32)op << 3 | 2, w), w, dst, src);
}

void x86_alu_mr(struct x86_buf *b, enum x86_alu op, int w, struct x86_mem dst, u8 src)
{
	enc_rm(b, sized((u32)op << 3, w), w, src, dst);
}

void x86_alu_mi(struct x86_buf *b, enum x86_alu op, int w, struct x86_mem dst, s32 imm)
{
	if (w == 1) {
		if (enc_rm(b, 0x80, w, (u8)op, dst))
			b->data[b->len++] = (u8)imm;
	} else if (imm == (s8)imm) {
		if (enc_rm(b, 0x83 | (w == 2 ? OP_66 : 0), w, (u8)op, dst))
			b->data[b->len++] = (u8)imm;
	} else if (enc_rm(b, 0x81 | (w == 2 ? OP_66 : 0), w, (u8)op, dst)) {
		if (w == 2) {
			b->data[b->len++] = (u8)imm;
			b->data[b->len++] = (u8)(imm >> 8);
		} else {
			put32(b, (u32)imm);
		}
	}
}

void x86_on_field(struct x86_buf *b, const char *op, size_t n, const void *field)
{
	const char *fs;
	s32 at;

	__asm__("movq %%fs:0, %0" : "=r"(fs));
	at = (s32)((const char *)field - fs);
	x86_bytes(b, op, n);
	x86_bytes(b, &at, sizeof(at));
}

void x86_lock(struct x86_buf *b)
{
	x86_byte(b, 0xf0);
}

void x86_shift_ri(struct x86_buf *b, enum x86_shift op, int w, u8 dst, u8 count)
{
	u32 o = w == 2 ? OP_66 : 0;

	if (count == 1)
		enc_rr(b, o | 0xd1, w, (u8)op, dst);
	else if (enc_rr(b, o | 0xc1, w, (u8)op, dst))
		b->data[b->len++] = count;
}

void x86_shift_cl(struct x86_buf *b, enum x86_shift op, int w, u8 dst)
{
	enc_rr(b, 0xd3 | (w == 2 ? OP_66 : 0), w, (u8)op, dst);
}

/* VEX with three bytes (Intel SDM 2A, 2.3.5): map, prefix, W, vvvv; L is 0. */
static bool vex(struct x86_buf *b, u8 map, u8 prefix, int w, u8 reg, u8 vvvv, u8 rm, u8 op)
{
	u8 *p;

	if (!room(b))
		return false;
	p = b->data + b->len;
	p[0] = 0xc4;
	p[1] = (u8)((reg < 8) << 7 | 1 << 6 | (rm < 8) << 5 | map);
	p[2] = (u8)((w == 8) << 7 | (~vvvv & 15) << 3 | prefix);
	p[3] = op;
	p[4] = (u8)(0xc0 | (reg & 7) << 3 | (rm & 7));
	b->len += 5;
	return true;
}

void x86_shiftx(struct x86_buf *b, enum x86_shift op, int w, u8 dst, u8 src, u8 count)
{
	u8 prefix = op == X86_SHL ? 1 : op == X86_SAR ? 2 : 3;

	vex(b, 2, prefix, w, dst, count, src, 0xf7);
}

void x86_rorx(struct x86_buf *b, int w, u8 dst, u8 src, u8 count)
{
	if (vex(b, 3, 3, w, dst, 0, src, 0xf0))
		b->data[b->len++] = count;
}

void x86_unary(struct x86_buf *b, enum x86_unary op, int w, u8 reg)
{
	enc_rr(b, 0xf7, w, (u8)op, reg);
}

void x86_imul_rr(struct x86_buf *b, int w, u8 dst, u8 src)
{
	enc_rr(b, OP_0F | 0xaf, w, dst, src);
}

void x86_imul_rm(struct x86_buf *b, int w, u8 dst, struct x86_mem m)
{
	enc_rm(b, OP_0F | 0xaf, w, dst, m);
}

void x86_imul_rri(struct x86_buf *b, int w, u8 dst, u8 src, s32 imm)
{
	if (imm == (s8)imm) {
		if (enc_rr(b, 0x6b, w, dst, src))
			b->data[b->len++] = (u8)imm;
	} else if (enc_rr(b, 0x69, w, dst, src)) {
		put32(b, (u32)imm);
	}
}

void x86_sign_to_dx(struct x86_buf *b, int w)
{
	if (room(b))
		opcode(b, 0x99, w == 8 ? 8 : 0, false);
}

void x86_test_rr(struct x86_buf *b, int w, u8 a, u8 c)
{
	u32 o = sized(0x84, w);

	enc_rr(b, w == 1 ? o | OP_BRM : o, w, c, a);
}

/* Narrower where the immediate allows: the bits beyond it are not tested anyway. */
void x86_test_ri(struct x86_buf *b, int w, u8 a, s32 imm)
{
	if (imm >= 0 && imm < 0x80) {
		if (a == X86_RAX) {
			if (room(b))
				opcode(b, 0xa8, 0, false);
			else
				return;
		} else if (!enc_rr(b, 0xf6 | OP_BRM, 1, 0, a)) {
			return;
		}
		b->data[b->len++] = (u8)imm;
		return;
	}
	if (enc_rr(b, 0xf7, imm >= 0 ? 4 : w, 0, a))
		put32(b, (u32)imm);
}

void x86_test_mi(struct x86_buf *b, int w, struct x86_mem m, s32 imm)
{
	if (w == 1) {
		if (enc_rm(b, 0xf6, w, 0, m))
			b->data[b->len++] = (u8)imm;
	} else if (w != 2 && enc_rm(b, 0xf7, w, 0, m)) {
		put32(b, (u32)imm);
	}
}

void x86_setcc(struct x86_buf *b, enum x86_cc cc, u8 reg)
{
	enc_rr(b, OP_0F | OP_BRM | 0x90 | cc, 4, 0, reg);
}

void x86_cmov(struct x86_buf *b, enum x86_cc cc, int w, u8 dst, u8 src)
{
	enc_rr(b, OP_0F | 0x40 | cc, w, dst, src);
}

void x86_bswap(struct x86_buf *b, int w, u8 reg)
{
	if (room(b))
		opcode(b, OP_0F | 0xc8 | (reg & 7), (u8)((w == 8) << 3 | reg >> 3), false);
}

/* ---- moves ----------------------------------------------------------------------------------- */

void x86_mov_rr(struct x86_buf *b, int w, u8 dst, u8 src)
{
	enc_rr(b, 0x8b, w, dst, src);
}

void x86_mov_ri(struct x86_buf *b, u8 dst, u64 imm, bool flags_free)
{
	if (!imm && flags_free) {
		x86_alu_rr(b, X86_XOR, 4, dst, dst);
	} else if (imm <= UINT32_MAX) {
		if (!room(b))
			return;
		opcode(b, 0xb8 | (dst & 7), dst >> 3, false);
		put32(b, (u32)imm);
	} else if (imm == (u64)(s64)(s32)imm) {
		if (enc_rr(b, 0xc7, 8, 0, dst))
			put32(b, (u32)imm);
	} else {
		if (!room(b))
			return;
		opcode(b, 0xb8 | (dst & 7), 8 | dst >> 3, false);
		put64(b, imm);
	}
}

void x86_movzx_rr(struct x86_buf *b, int from, u8 dst, u8 src)
{
	if (from == 4)
		x86_mov_rr(b, 4, dst, src);
	else
		enc_rr(b, OP_0F | (from == 1 ? 0xb6 | OP_BRM : 0xb7), 4, dst, src);
}

void x86_movsx_rr(struct x86_buf *b, int w, int from, u8 dst, u8 src)
{
	if (from == 4)
		enc_rr(b, 0x63, w, dst, src);
	else
		enc_rr(b, OP_0F | (from == 1 ? 0xbe | OP_BRM : 0xbf), w, dst, src);
}

void x86_load(struct x86_buf *b, int size, u8 dst, struct x86_mem m)
{
	if (size >= 4)
		enc_rm(b, 0x8b, size, dst, m);
	else
		enc_rm(b, OP_0F | (size == 1 ? 0xb6 : 0xb7), 4, dst, m);
}

void x86_load_sx(struct x86_buf *b, int size, u8 dst, struct x86_mem m)
{
	if (size == 8)
		enc_rm(b, 0x8b, 8, dst, m);
	else if (size == 4)
		enc_rm(b, 0x63, 8, dst, m);
	else
		enc_rm(b, OP_0F | (size == 1 ? 0xbe : 0xbf), 8, dst, m);
}

void x86_store(struct x86_buf *b, int size, struct x86_mem m, u8 src)
{
	enc_rm(b, sized(0x88, size), size, src, m);
}

void x86_store_imm(struct x86_buf *b, int size, struct x86_mem m, s32 imm)
{
	if (!enc_rm(b, size == 1 ? 0xc6 : size == 2 ? 0xc7 | OP_66 : 0xc7, size, 0, m))
		return;
	if (size == 1) {
		b->data[b->len++] = (u8)imm;
	} else if (size == 2) {
		b->data[b->len++] = (u8)imm;
		b->data[b->len++] = (u8)(imm >> 8);
	} else {
		put32(b, (u32)imm);
	}
}

void x86_movbe_load(struct x86_buf *b, int size, u8 dst, struct x86_mem m)
{
	enc_rm(b, OP_0F38 | 0xf0 | (size == 2 ? OP_66 : 0), size, dst, m);
}

void x86_movbe_store(struct x86_buf *b, int size, struct x86_mem m, u8 src)
{
	enc_rm(b, OP_0F38 | 0xf1 | (size == 2 ? OP_66 : 0), size, src, m);
}

void x86_lea(struct x86_buf *b, int w, u8 dst, struct x86_mem m)
{
	enc_rm(b, 0x8d, w, dst, m);
}

size_t x86_lea_rip(struct x86_buf *b, u8 dst)
{
	if (!room(b))
		return 0;
	opcode(b, 0x8d, (u8)(8 | (dst >> 3) << 2), false);
	b->data[b->len++] = (u8)((dst & 7) << 3 | 5);
	put32(b, 0);
	return b->len - 4;
}

void x86_push(struct x86_buf *b, u8 reg)
{
	if (room(b))
		opcode(b, 0x50 | (reg & 7), reg >> 3, false);
}

void x86_pop(struct x86_buf *b, u8 reg)
{
	if (room(b))
		opcode(b, 0x58 | (reg & 7), reg >> 3, false);
}

/* ---- atomics --------------------------------------------------------------------------------- */

void x86_xadd(struct x86_buf *b, int w, struct x86_mem m, u8 reg)
{
	x86_lock(b);
	enc_rm(b, sized(0xc0, w) | OP_0F, w, reg, m);
}

void x86_xchg(struct x86_buf *b, int w, struct x86_mem m, u8 reg)
{
	enc_rm(b, sized(0x86, w), w, reg, m);
}

void x86_cmpxchg(struct x86_buf *b, int w, struct x86_mem m, u8 reg)
{
	x86_lock(b);
	enc_rm(b, sized(0xb0, w) | OP_0F, w, reg, m);
}

/* ---- branches -------------------------------------------------------------------------------- */

static size_t branch(struct x86_buf *b, u32 op, int size)
{
	size_t at;

	if (!room(b))
		return 0;
	opcode(b, op, 0, false);
	at = b->len;
	memset(b->data + at, 0, (size_t)size);
	b->len += (size_t)size;
	return at;
}

size_t x86_jmp8(struct x86_buf *b)
{
	return branch(b, 0xeb, 1);
}

size_t x86_jcc8(struct x86_buf *b, enum x86_cc cc)
{
	return branch(b, 0x70 | cc, 1);
}

size_t x86_jmp32(struct x86_buf *b)
{
	return branch(b, 0xe9, 4);
}

size_t x86_jcc32(struct x86_buf *b, enum x86_cc cc)
{
	return branch(b, OP_0F | 0x80 | cc, 4);
}

size_t x86_call32(struct x86_buf *b)
{
	return branch(b, 0xe8, 4);
}

void x86_land8(struct x86_buf *b, size_t at)
{
	if (b->oom)
		return;
	if (b->len - at - 1 > 127)
		b->oom = BROKEN("short jump too far") != 0;
	else
		b->data[at] = (u8)(b->len - at - 1);
}

void x86_jcc8_back(struct x86_buf *b, enum x86_cc cc, size_t to)
{
	size_t at = x86_jcc8(b, cc);

	if (!b->oom)
		b->data[at] = (u8)(to - b->len);
}

void x86_jmp_r(struct x86_buf *b, u8 reg)
{
	enc_rr(b, 0xff, 4, 4, reg);
}

void x86_call_r(struct x86_buf *b, u8 reg)
{
	enc_rr(b, 0xff, 4, 2, reg);
}

void x86_jmp_m(struct x86_buf *b, struct x86_mem m)
{
	enc_rm(b, 0xff, 4, 4, m);
}

void x86_ret(struct x86_buf *b)
{
	x86_byte(b, 0xc3);
}

void x86_trap(struct x86_buf *b)
{
	x86_bytes(b, "\x0f\x0b", 2);
}

/* ---- SSE ------------------------------------------------------------------------------------- */

static u32 xmm_prefix(int size)
{
	return size == 4 ? OP_F3 : size == 8 ? OP_F2 : 0;
}

void x86_xmm_load(struct x86_buf *b, int size, u8 xmm, struct x86_mem m)
{
	enc_rm(b, OP_0F | 0x10 | xmm_prefix(size), 4, xmm, m);
}

void x86_xmm_store(struct x86_buf *b, int size, struct x86_mem m, u8 xmm)
{
	enc_rm(b, OP_0F | 0x11 | xmm_prefix(size), 4, xmm, m);
}

void x86_xmm_from_gp(struct x86_buf *b, int w, u8 xmm, u8 reg)
{
	enc_rr(b, OP_66 | OP_0F | 0x6e, w, xmm, reg);
}

void x86_gp_from_xmm(struct x86_buf *b, int w, u8 reg, u8 xmm)
{
	enc_rr(b, OP_66 | OP_0F | 0x7e, w, xmm, reg);
}

/* ---- the CPU --------------------------------------------------------------------------------- */

const struct x86_features *x86_cpu(void)
{
	static struct x86_features f;
	static _Atomic bool known;
	unsigned a, b, c, d;

	if (known)
		return &f;
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		f.bmi2 = b & bit_BMI2;
		/* SHA came to the large cores with the fast 64-bit divider (Ice Lake, Zen). */
		f.fast_div64 = b & bit_SHA;
	}
	if (__get_cpuid(1, &a, &b, &c, &d))
		f.movbe = c & bit_MOVBE;
	known = true;
	return &f;
}
