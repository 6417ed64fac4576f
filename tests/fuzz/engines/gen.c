/* SPDX-License-Identifier: MIT */
/*
 * The generator. Registers: r10 and r8 point to the stack, r7 to memory behind the context in the
 * main function (else it is data), r6 is the context when the program reads the packet, all others
 * hold data. Every register and all of the stack's area are set at the start of a function, so that
 * a read is always defined.
 */
#include <string.h>

#include "gen.h"

#define AREA      64 /* bytes of stack that random accesses use; loop counters are below */
#define MAX_FUNCS 4

struct build {
	struct gen_prog *g;
	const struct gen_opts *opts;
	u16 data; /* registers that hold data: a bit each */
	u32 nfuncs, func;
	bool packet;                        /* r6 is the context */
	bool memory;                        /* r7 points to the memory */
	u32 loops;                          /* depth of loops around here */
	u32 calls[64], ncalls, targets[64]; /* calls to be given their distance */
};

u64 gen_random(u64 *state)
{
	u64 z = *state += 0x9e3779b97f4a7c15ull; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static u32 pick(struct build *b, u32 n)
{
	return (u32)(gen_random(&b->g->rng) % n);
}

static u64 value(struct build *b)
{
	static const u64 edges[] = {
		0, 1, 2, 31, 32, 63, 64, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
		0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000,
		0xffffffff80000000, 0xffffffff7fffffff, 0xfffffffffffffffe, 0xffffffffffffffff,
	};

	switch (pick(b, 4)) {
	case 0: return gen_random(&b->g->rng);
	case 1: return gen_random(&b->g->rng) >> pick(b, 64);
	default: return edges[pick(b, ARRAY_SIZE(edges))];
	}
}

static void emit(struct build *b, bool fixed, u8 code, u8 dst, u8 src, s16 off, s32 imm)
{
	struct gen_prog *g = b->g;

	if (g->cnt >= GEN_MAX_INSNS)
		return;
	g->fixed[g->cnt] = fixed;
	g->insns[g->cnt++] = (struct bpf_insn){
		.code = code, .dst_reg = dst & 15, .src_reg = src & 15, .off = off, .imm = imm
	};
}

static u8 data_reg(struct build *b)
{
	u8 r;

	do
		r = (u8)pick(b, 10);
	while (!(b->data & 1 << r));
	return r;
}

static void set_reg(struct build *b, bool fixed, u8 reg, u64 v)
{
	if ((u64)(s64)(s32)v == v) {
		emit(b, fixed, BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, (s32)v);
		return;
	}
	emit(b, true, BPF_LD | BPF_IMM | BPF_DW, reg, 0, 0, (s32)v);
	emit(b, true, 0, 0, 0, 0, (s32)(v >> 32));
}

/* ---- straight code --------------------------------------------------------------------------- */

static void gen_alu(struct build *b)
{
	static const u8 ops[] = { BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR,   BPF_AND, BPF_LSH,
				  BPF_RSH, BPF_MOD, BPF_XOR, BPF_MOV, BPF_ARSH, BPF_MOV, BPF_ADD };
	u8 class = pick(b, 2) ? BPF_ALU64 : BPF_ALU, op = ops[pick(b, ARRAY_SIZE(ops))];
	u8 dst = data_reg(b);
	s32 imm = (s32)value(b);
	s16 off = 0;

	if ((op == BPF_DIV || op == BPF_MOD) && pick(b, 2))
		off = 1;
	if (pick(b, 2)) {
		if (op == BPF_MOV && pick(b, 2))
			off = (s16)(8 << pick(b, class == BPF_ALU64 ? 3 : 2));
		emit(b, false, class | op | BPF_X, dst, data_reg(b), off, 0);
		return;
	}
	if (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH)
		imm &= class == BPF_ALU64 ? 63 : 31;
	/* The kernel's verifier refuses what it sees to be a division by zero. */
	if ((op == BPF_DIV || op == BPF_MOD) && !imm && b->opts->kernel)
		imm = -1;
	emit(b, false, class | op | BPF_K, dst, 0, off, imm);
}

static void gen_unary(struct build *b)
{
	static const u8 ends[] = { BPF_ALU | BPF_END | BPF_TO_LE, BPF_ALU | BPF_END | BPF_TO_BE,
				   BPF_ALU64 | BPF_END };
	u8 dst = data_reg(b);

	if (pick(b, 2))
		emit(b, false, (pick(b, 2) ? BPF_ALU64 : BPF_ALU) | BPF_NEG, dst, 0, 0, 0);
	else
		emit(b, false, ends[pick(b, 3)], dst, 0, 0, 16 << pick(b, 3));
}

/* An aligned place of `size` bytes: the register and the offset. */
static u8 place(struct build *b, u32 size, s16 *off)
{
	u32 at = pick(b, AREA / size) * size;

	switch (pick(b, b->memory ? 3 : 2)) {
	case 0: *off = (s16)((s32)at - AREA); return 10;
	case 1: *off = (s16)((s32)at - AREA / 2); return 8;
	default: *off = (s16)at; return 7;
	}
}

static void gen_memory(struct build *b)
{
	static const u8 sizes[] = { BPF_B, BPF_H, BPF_W, BPF_DW };
	u32 n = pick(b, 4);
	s16 off;
	u8 base = place(b, 1u << n, &off);

	switch (pick(b, 4)) {
	case 0: emit(b, false, BPF_LDX | BPF_MEM | sizes[n], data_reg(b), base, off, 0); break;
	case 1:
		emit(b, false, BPF_LDX | (n == 3 ? BPF_MEM : BPF_MEMSX) | sizes[n], data_reg(b),
		     base, off, 0);
		break;
	case 2: emit(b, false, BPF_STX | BPF_MEM | sizes[n], base, data_reg(b), off, 0); break;
	default: emit(b, false, BPF_ST | BPF_MEM | sizes[n], base, 0, off, (s32)value(b)); break;
	}
}

static void gen_atomic(struct build *b)
{
	static const s32 ops[] = { BPF_ADD,
				   BPF_OR,
				   BPF_AND,
				   BPF_XOR,
				   BPF_ADD | BPF_FETCH,
				   BPF_OR | BPF_FETCH,
				   BPF_AND | BPF_FETCH,
				   BPF_XOR | BPF_FETCH,
				   BPF_XCHG,
				   BPF_CMPXCHG };
	bool wide = pick(b, 2);
	s16 off;
	u8 base = place(b, wide ? 8 : 4, &off);
	s32 op = ops[pick(b, ARRAY_SIZE(ops))];
	u8 src = data_reg(b);

	/*
	 * Linux to 6.18 takes a value fetched from a slot for known, and forgets on which path it was (its
	 * backtrack_insn() follows loads only): a branch on it may get lost. A slot written in part is not known.
	 */
	if (b->opts->kernel && (op & BPF_FETCH))
		emit(b, true, BPF_ST | BPF_MEM | BPF_B, base, 0, off, 0x5a);
	emit(b, false, BPF_STX | BPF_ATOMIC | (wide ? BPF_DW : BPF_W), base, src, off, op);
}

/* r1 to r5 are gone after a call, and after a packet load. */
static void refill(struct build *b, u8 first)
{
	u8 r;

	for (r = first; r <= 5; r++)
		set_reg(b, true, r, value(b));
}

static void gen_packet(struct build *b)
{
	u8 size = (u8[]){ BPF_B, BPF_H, BPF_W }[pick(b, 3)];
	s32 off = (s32)pick(b, GEN_PACKET -
				       12); /* the Ethernet header is not seen; some fall outside */

	if (pick(b, 2)) {
		emit(b, false, BPF_LD | BPF_ABS | size, 0, 0, 0, off);
	} else {
		u8 r;

		do
			r = data_reg(b);
		while (r == 6);
		/* Negative offsets mean headers to the kernel (SKF_LL_OFF), which packets here
		 * lack. */
		if (pick(b, 8))
			emit(b, true, BPF_ALU64 | BPF_AND | BPF_K, r, 0, 0, 15);
		else if (b->opts->kernel)
			emit(b, true, BPF_ALU64 | BPF_AND | BPF_K, r, 0, 0, 0xffff);
		emit(b, false, BPF_LD | BPF_IND | size, 0, r, 0, off);
	}
	refill(b, 1);
}

/* ---- control flow ---------------------------------------------------------------------------- */

static void gen_block(struct build *b, u32 statements, u32 depth);

static u32 gen_jump(struct build *b)
{
	static const u8 ops[] = { BPF_JEQ,  BPF_JGT, BPF_JGE, BPF_JSET, BPF_JNE, BPF_JSGT,
				  BPF_JSGE, BPF_JLT, BPF_JLE, BPF_JSLT, BPF_JSLE };
	u8 code = (pick(b, 2) ? BPF_JMP : BPF_JMP32) | ops[pick(b, ARRAY_SIZE(ops))];

	if (pick(b, 2))
		emit(b, false, code | BPF_X, data_reg(b), data_reg(b), 0, 0);
	else
		emit(b, false, code | BPF_K, data_reg(b), 0, 0, (s32)value(b));
	return b->g->cnt - 1;
}

/* The jump at `from` goes to the next instruction. */
static void land(struct build *b, u32 from)
{
	struct bpf_insn *i = &b->g->insns[from];
	s32 distance = (s32)(b->g->cnt - from - 1);

	if (i->code == (BPF_JMP32 | BPF_JA))
		i->imm = distance;
	else
		i->off = (s16)distance;
}

static void gen_if(struct build *b, u32 depth)
{
	u32 jump = gen_jump(b), skip;

	gen_block(b, 1 + pick(b, 4), depth + 1);
	if (pick(b, 3) == 0) {
		if (pick(b, 3) == 0) {
			emit(b, false, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
			land(b, jump);
			return;
		}
		emit(b, false, (pick(b, 2) ? BPF_JMP : BPF_JMP32) | BPF_JA, 0, 0, 0, 0);
		skip = b->g->cnt - 1;
		land(b, jump);
		gen_block(b, 1 + pick(b, 4), depth + 1);
		land(b, skip);
	} else {
		land(b, jump);
	}
}

/* A loop's counter: r9, or a slot of the stack that goes through r0. */
struct counter {
	u8 reg;
	bool in_reg;
	s16 slot;
};

static void set_counter(struct build *b, const struct counter *c, u8 code, s32 imm)
{
	if (!c->in_reg && code != (BPF_ALU64 | BPF_MOV | BPF_K))
		emit(b, true, BPF_LDX | BPF_MEM | BPF_DW, c->reg, 10, c->slot, 0);
	emit(b, true, code, c->reg, 0, 0, imm);
	if (!c->in_reg)
		emit(b, true, BPF_STX | BPF_MEM | BPF_DW, 10, c->reg, c->slot, 0);
}

static void go_back(struct build *b, bool fixed, u32 top)
{
	emit(b, fixed, BPF_JMP | BPF_JA, 0, 0, (s16)((s32)top - (s32)b->g->cnt - 1), 0);
}

/* `top: if it is the last round goto out; ...; if c goto top; ...; goto top; out:` */
static void gen_while(struct build *b, const struct counter *c, u32 depth)
{
	u32 top = b->g->cnt, out, jump, n;

	for (n = pick(b, 5); n; n--)
		gen_alu(b);
	set_counter(b, c, BPF_ALU64 | BPF_ADD | BPF_K, -1);
	for (n = c->in_reg ? pick(b, 3) : 0; n; n--)
		gen_alu(b);
	out = b->g->cnt;
	emit(b, true, BPF_JMP | BPF_JEQ | BPF_K, c->reg, 0, 0, 0);
	if (pick(b, 2)) {
		jump = gen_jump(b);
		gen_block(b, 1 + pick(b, 3), depth + 1);
		go_back(b, false, top);
		land(b, jump);
	}
	gen_block(b, 1 + pick(b, 3), depth + 1);
	go_back(b, false, top);
	land(b, out);
}

static void gen_loop(struct build *b, u32 depth)
{
	u32 count = 1 + pick(b, b->opts->kernel ? 3 : 20), top;
	struct counter c = { .in_reg = b->data & 1 << 9 && pick(b, 2),
			     .slot = (s16)(-AREA - 8 * (s32)(b->loops + 1)) };

	c.reg = c.in_reg ? 9 : 0;
	if (c.in_reg)
		b->data &= (u16) ~(1 << 9);
	set_counter(b, &c, BPF_ALU64 | BPF_MOV | BPF_K, (s32)count);
	b->loops++;
	if (pick(b, 3) == 0) {
		gen_while(b, &c, depth);
	} else {
		top = b->g->cnt;
		gen_block(b, 1 + pick(b, 5), depth + 1);
		set_counter(b, &c, BPF_ALU64 | BPF_ADD | BPF_K, -1);
		emit(b, false, BPF_JMP | BPF_JNE | BPF_K, c.reg, 0,
		     (s16)((s32)top - (s32)b->g->cnt - 1), 0);
	}
	b->loops--;
	if (c.in_reg)
		b->data |= 1 << 9;
}

static void gen_call(struct build *b, u32 skip)
{
	if (b->func + 1 >= b->nfuncs || b->ncalls >= ARRAY_SIZE(b->calls))
		return;
	b->targets[b->ncalls] = b->func + 1 + skip;
	b->calls[b->ncalls++] = b->g->cnt;
	emit(b, false, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 0);
	refill(b, 1);
}

/* A native function, given whatever is in r1 to r5. */
static void gen_native(struct build *b)
{
	u32 n = pick(b, b->opts->natives);

	emit(b, false, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, (s32)n);
	refill(b, 1);
}

static void gen_block(struct build *b, u32 statements, u32 depth)
{
	while (statements-- && b->g->cnt < GEN_MAX_INSNS / 2) {
		u32 what = pick(b, 32);

		if (what < 14)
			gen_alu(b);
		else if (what < 16)
			gen_unary(b);
		else if (what < 23)
			gen_memory(b);
		else if (what < 25)
			gen_atomic(b);
		else if (what < 26)
			set_reg(b, false, data_reg(b), value(b));
		else if (what < 28 && depth < 3)
			gen_if(b, depth);
		else if (what < 29 && depth < 2)
			gen_loop(b, depth);
		else if (what < 30 && !b->loops)
			gen_call(b, b->func + 1 < b->nfuncs ? pick(b, b->nfuncs - b->func - 1) : 0);
		else if (what < 31 && b->packet)
			gen_packet(b);
		else if (b->opts->natives)
			gen_native(b);
		else
			gen_alu(b);
	}
}

/* ---- functions ------------------------------------------------------------------------------- */

/* r0 = everything the function computed, mixed. */
static void gen_result(struct build *b)
{
	s32 at;
	u8 r;

	for (r = 1; r < 10; r++) {
		if (!(b->data & 1 << r))
			continue;
		emit(b, false, BPF_ALU64 | BPF_MUL | BPF_K, 0, 0, 0, 31);
		emit(b, false, BPF_ALU64 | BPF_XOR | BPF_X, 0, r, 0, 0);
	}
	for (at = -AREA; at < 0; at += 8) {
		emit(b, false, BPF_LDX | BPF_MEM | BPF_DW, 1, 10, (s16)at, 0);
		emit(b, false, BPF_ALU64 | BPF_MUL | BPF_K, 0, 0, 0, 31);
		emit(b, false, BPF_ALU64 | BPF_ADD | BPF_X, 0, 1, 0, 0);
	}
	/* bpf(2) gives the lower half only. */
	emit(b, false, BPF_ALU64 | BPF_MOV | BPF_X, 1, 0, 0, 0);
	emit(b, false, BPF_ALU64 | BPF_RSH | BPF_K, 1, 0, 0, 32);
	emit(b, false, BPF_ALU64 | BPF_XOR | BPF_X, 0, 1, 0, 0);
	emit(b, true, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static void gen_func(struct build *b)
{
	bool main = b->func == 0;
	s32 at;
	u8 r;

	b->packet = main && b->nfuncs == 1 && pick(b, 2);
	b->memory = main && !b->opts->kernel;
	b->data = 0x2ff; /* r0 to r7, r9 */
	if (b->memory)
		b->data &= (u16) ~(1 << 7);
	if (b->packet)
		b->data &= (u16) ~(1 << 6);
	if (b->memory) {
		emit(b, true, BPF_ALU64 | BPF_MOV | BPF_X, 7, 1, 0, 0);
		emit(b, true, BPF_ALU64 | BPF_ADD | BPF_K, 7, 0, 0, (s32)b->opts->mem_off);
	}
	if (b->packet)
		emit(b, true, BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
	emit(b, true, BPF_ALU64 | BPF_MOV | BPF_X, 8, 10, 0, 0);
	emit(b, true, BPF_ALU64 | BPF_ADD | BPF_K, 8, 0, 0, -AREA / 2);
	for (r = 0; r < 10; r++)
		if (b->data & 1 << r && (main || r == 0 || r > 5))
			set_reg(b, true, r, value(b));
	for (at = -AREA; at < 0; at += 8)
		emit(b, true, BPF_STX | BPF_MEM | BPF_DW, 10, data_reg(b), (s16)at, 0);
	gen_call(b, 0); /* the next one: no function may be out of reach */
	gen_block(b, 5 + pick(b, main ? 40 : 15), 0);
	gen_result(b);
}

void gen_program(struct gen_prog *g, u64 seed, const struct gen_opts *opts)
{
	struct build b = { .g = g, .opts = opts };
	u32 starts[MAX_FUNCS] = { 0 }, n;

	g->cnt = 0;
	g->rng = seed;
	b.nfuncs = pick(&b, 2) ? 1 : 1 + pick(&b, MAX_FUNCS);
	for (; b.func < b.nfuncs; b.func++) {
		starts[b.func] = g->cnt;
		gen_func(&b);
	}
	for (n = 0; n < b.ncalls; n++)
		g->insns[b.calls[n]].imm = (s32)starts[b.targets[n]] - (s32)b.calls[n] - 1;
}
