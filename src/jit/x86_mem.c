/* SPDX-License-Identifier: MIT */
/* Loads, stores, atomics and packet access (RFC 9669, 5). */
#include <errno.h>

#include "jit/x86_int.h"

/* ---- loads ----------------------------------------------------------------------------------- */

static void add_fault(struct jx *c, struct x86_pos start, u8 reg)
{
	struct x86_fault *f = base_grow(c->faults, &c->faults_cap, c->nfaults + 1, sizeof(*f));

	if (!f) {
		c->err = -ENOMEM;
		return;
	}
	c->faults = f;
	f[c->nfaults++] = (struct x86_fault){ start, x86_here(c), c->at, reg };
}

static bool is_probe(const struct jx *c)
{
	return c->u->prog->facts && c->u->prog->facts[c->at].probe;
}

/* The ALU instruction that has a form with a memory operand; -1 when it has not. */
static int alu_of(u8 op)
{
	switch (op) {
	case BPF_ADD: return X86_ADD;
	case BPF_SUB: return X86_SUB;
	case BPF_OR: return X86_OR;
	case BPF_AND: return X86_AND;
	case BPF_XOR: return X86_XOR;
	default: return -1;
	}
}

/* `r3 = *(r2 + 8); r1 += r3` with r3 not needed afterwards: one instruction. */
static bool load_and_op(struct jx *c, const struct bpf_insn *i, int size)
{
	const struct bpf_insn *next = i + 1;
	bool mul = BPF_OP(next->code) == BPF_MUL;
	int op = alu_of(BPF_OP(next->code)), w = BPF_CLASS(next->code) == BPF_ALU64 ? 8 : 4;
	struct x86_mem m;
	u8 d;

	if (!x86_can_fuse(c, 1) || !jit_is_alu(next) || BPF_SRC(next->code) != BPF_X ||
	    (op < 0 && !mul) || next->src_reg != i->dst_reg || next->dst_reg == i->dst_reg ||
	    w != size || (c->u->live[c->at + 2] & JIT_BIT(i->dst_reg)))
		return false;
	c->live_out = c->u->live[c->at + 2];
	d = x86_own(c, next->dst_reg);
	m = x86_mem_of(c, i->src_reg, i->off);
	if (mul) {
		x86_imul_rm(&c->b, w, d, m);
	} else {
		x86_alu_rm(&c->b, (enum x86_alu)op, w, d, m);
		x86_flags_set(c, d, w, op == X86_AND || op == X86_OR || op == X86_XOR);
	}
	x86_defined(c, next->dst_reg, w == 4);
	return true;
}

/* A load that is byte-swapped at once. */
static bool load_and_swap(struct jx *c, const struct bpf_insn *i, int size)
{
	const struct bpf_insn *next = i + 1;
	struct x86_mem m;
	u8 d;

	if (!c->cpu->movbe || !x86_can_fuse(c, 1) || !jit_is_alu(next) ||
	    BPF_OP(next->code) != BPF_END || next->dst_reg != i->dst_reg ||
	    (BPF_CLASS(next->code) == BPF_ALU && BPF_SRC(next->code) == BPF_TO_LE) ||
	    next->imm != size * 8 || size < 4)
		return false;
	c->live_out = c->u->live[c->at + 2];
	d = x86_def(c, i->dst_reg);
	m = x86_mem_of(c, i->src_reg, i->off);
	x86_movbe_load(&c->b, size, d, m);
	x86_defined(c, i->dst_reg, size == 4);
	return true;
}

u32 x86_load_insn(struct jx *c, const struct bpf_insn *i)
{
	bool sx = BPF_MODE(i->code) == BPF_MEMSX, probe = is_probe(c);
	int size = jit_size(i);
	struct x86_pos start;
	struct x86_mem m;
	u8 d;

	if ((BPF_MODE(i->code) != BPF_MEM && !sx) || (sx && size == 8)) {
		c->err = -EINVAL;
		return 0;
	}
	if (!sx && !probe && (load_and_op(c, i, size) || load_and_swap(c, i, size)))
		return 1;
	d = x86_def(c, i->dst_reg);
	m = x86_mem_of(c, i->src_reg, i->off);
	start = x86_here(c);
	if (sx)
		x86_load_sx(&c->b, size, d, m);
	else
		x86_load(&c->b, size, d, m);
	if (probe)
		add_fault(c, start, d);
	x86_defined(c, i->dst_reg, !sx && size < 8);
	return 0;
}

/* ---- stores ---------------------------------------------------------------------------------- */

void x86_store_insn(struct jx *c, const struct bpf_insn *i)
{
	bool is_imm = BPF_CLASS(i->code) == BPF_ST;
	int size = jit_size(i);
	s32 imm = i->imm;
	struct x86_mem m;
	u64 k;
	u8 s;

	if (BPF_MODE(i->code) != BPF_MEM) {
		c->err = -EINVAL;
		return;
	}
	if (!is_imm && x86_is_imm(c, i->src_reg, &k) && (size < 8 || k == (u64)(s64)(s32)k)) {
		is_imm = true;
		imm = (s32)k;
	}
	if (is_imm) {
		m = x86_mem_of(c, i->dst_reg, i->off);
		x86_store_imm(&c->b, size, m, imm);
		return;
	}
	/* Settling the value first: it may settle what the address is made of. */
	if (i->src_reg != JIT_FP && x86_is_pending(c, i->src_reg))
		(void)x86_use(c, i->src_reg);
	m = x86_mem_of(c, i->dst_reg, i->off);
	s = size == 8 ? x86_use(c, i->src_reg) : x86_use32(c, i->src_reg);
	x86_store(&c->b, size, m, s);
}

/* ---- atomics --------------------------------------------------------------------------------- */

/* fetch-and-or and its like have no instruction: compare and exchange until it succeeds. */
static void fetch_loop(struct jx *c, enum x86_alu op, int w, struct x86_mem m, u8 src)
{
	u8 operand = src;
	size_t again;

	/* rax is taken: r0 goes to TMP2, also as base or operand. */
	x86_mov_rr(&c->b, 8, TMP2, X86_RAX);
	if (m.base == X86_RAX)
		m.base = TMP2;
	if (operand == X86_RAX)
		operand = TMP2;
	x86_load(&c->b, w, X86_RAX, m);
	again = c->b.len;
	x86_mov_rr(&c->b, w, TMP1, X86_RAX);
	x86_alu_rr(&c->b, op, w, TMP1, operand);
	x86_cmpxchg(&c->b, w, m, TMP1);
	x86_jcc8_back(&c->b, X86_NE, again);
	if (src != X86_RAX) {
		x86_mov_rr(&c->b, w, src, X86_RAX);
		x86_mov_rr(&c->b, 8, X86_RAX, TMP2);
	} else if (w == 4) {
		x86_mov_rr(&c->b, 4, X86_RAX, X86_RAX);
	}
}

static void atomic_alu(struct jx *c, const struct bpf_insn *i, int w, struct x86_mem m, u8 src)
{
	int op = alu_of((u8)(i->imm & 0xf0));
	bool fetch = i->imm & BPF_FETCH;

	if (op < 0 || op == X86_SUB || (i->imm & ~(0xf0 | BPF_FETCH))) {
		c->err = -EINVAL;
	} else if (!fetch) {
		x86_lock(&c->b);
		x86_alu_mr(&c->b, (enum x86_alu)op, w, m, src);
	} else if (op == X86_ADD) {
		x86_xadd(&c->b, w, m, src);
	} else {
		fetch_loop(c, (enum x86_alu)op, w, m, src);
	}
}

void x86_atomic_insn(struct jx *c, const struct bpf_insn *i)
{
	int size = jit_size(i);
	struct x86_mem m;
	u8 base, src;

	if (size < 4) {
		c->err = -EINVAL;
		return;
	}
	/* Everything in its own register: these change registers and memory in several steps. */
	x86_settle_all(c, c->live_in);
	if (i->dst_reg == JIT_FP) {
		m = x86_at(X86_RSP, c->fp_disp + i->off);
	} else {
		base = c->map[i->dst_reg];
		m = x86_at(base, i->off);
	}
	if (i->src_reg == JIT_FP) {
		if ((i->imm & BPF_FETCH) || i->imm == BPF_CMPXCHG) {
			c->err = i->imm == BPF_CMPXCHG ? 0 : -EINVAL; /* would write r10 */
			if (c->err)
				return;
		}
		src = TMP3;
		x86_lea(&c->b, 8, src, x86_at(X86_RSP, c->fp_disp));
	} else {
		src = c->map[i->src_reg];
	}
	switch (i->imm) {
	case BPF_XCHG:
		x86_xchg(&c->b, size, m, src);
		x86_defined(c, i->src_reg, size == 4);
		break;
	case BPF_CMPXCHG:
		x86_cmpxchg(&c->b, size, m, src);
		/* On success eax is not written: its upper half is cleared here. */
		if (size == 4)
			x86_mov_rr(&c->b, 4, X86_RAX, X86_RAX);
		x86_defined(c, 0, size == 4);
		break;
	default:
		atomic_alu(c, i, size, m, src);
		if (i->imm & BPF_FETCH)
			x86_defined(c, i->src_reg, size == 4);
	}
}

/* ---- packets --------------------------------------------------------------------------------- */

/*
 * LD_ABS, LD_IND: r0 = packet data in host byte order; outside of the data the program ends with 0.
 * r6 is the context. r1 to r5 are free to use.
 */
void x86_packet_insn(struct jx *c, const struct bpf_insn *i)
{
	int size = jit_size(i);
	bool ind = BPF_MODE(i->code) == BPF_IND;
	u8 ctx;

	if ((BPF_MODE(i->code) != BPF_ABS && !ind) || size == 8 || (ind && i->src_reg == JIT_FP)) {
		c->err = -EINVAL;
		return;
	}
	x86_settle_all(c, c->live_in);
	ctx = c->map[6];
	/* rdx = offset, rdi = data, rsi = bytes there. */
	if (ind) {
		x86_mov_rr(&c->b, 4, X86_RDX, c->map[i->src_reg]);
		if (i->imm)
			x86_alu_ri(&c->b, X86_ADD, 4, X86_RDX, i->imm);
	} else {
		x86_mov_ri(&c->b, X86_RDX, (u32)i->imm, true);
	}
	x86_load(&c->b, 8, X86_RDI, x86_at(ctx, offsetof(struct prog_pkt, data)));
	x86_load(&c->b, 8, X86_RSI, x86_at(ctx, offsetof(struct prog_pkt, data_end)));
	x86_alu_rr(&c->b, X86_SUB, 8, X86_RSI, X86_RDI);
	x86_lea(&c->b, 8, X86_R8, x86_at(X86_RDX, size));
	x86_alu_rr(&c->b, X86_XOR, 4, X86_RAX, X86_RAX);
	x86_alu_rr(&c->b, X86_CMP, 8, X86_R8, X86_RSI);
	x86_jcc_label(c, X86_A, x86_label_exit(c, c->n));
	x86_load(&c->b, size, X86_RAX, (struct x86_mem){ X86_RDI, X86_RDX, 0, 0 });
	if (size == 4) {
		x86_bswap(&c->b, 4, X86_RAX);
	} else if (size == 2) {
		x86_shift_ri(&c->b, X86_ROL, 2, X86_RAX, 8);
		x86_movzx_rr(&c->b, 2, X86_RAX, X86_RAX);
	}
	for (u8 r = 0; r < 6; r++)
		x86_defined(c, r, r == 0);
}
