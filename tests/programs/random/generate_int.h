/* SPDX-License-Identifier: MIT */
/* What the files that make random programs share: the program so far, and what its registers hold. */
#ifndef GENERATE_INT_H
#define GENERATE_INT_H

#include "random.h"

#define MAX_INSNS 400
#define NREGS 10

/* The maps of every random program. */
enum { GEN_ARRAY, GEN_HASH, GEN_RINGBUF, GEN_PROGS, GEN_STRINGS, GEN_LRU, GEN_PERCPU, GEN_ONE, GEN_LOCKED, GEN_TIMED, GEN_MAPS };
/* How a function is called back. */
enum { GEN_CB_LOOP, GEN_CB_EACH, GEN_CB_TIMER };
extern const struct verdict_map gen_maps[GEN_MAPS];

/* SMALL: mostly one of a few constants below 41, and so an offset. */
enum kind { NONE, NUMBER, SMALL, CTX, VALUE, MAYBE, STACK, PKT, PKT_END };

struct gen {
	u64 seed;
	struct bpf_insn *insns;
	u32 cnt;
	u8 kind[NREGS];
	u8 slot[16];    /* kinds of spilled registers */
	u16 stack_init; /* slots written */
	bool careless;
	bool plain;
	u64 pieces;     /* those that it uses, a bit each */
	u64 calls_used; /* the same of those of calls.c */
	u64 objects_used; /* and of objects.c */
	u8 lends_stack; /* subprograms get a slot of the stack: 1 to read, 2 to write */
	u8 returns;     /* what they give back */
	u32 type;
	u32 calls[8], ncalls; /* to be given their target */
	struct {
		u32 at;
		u8 kind;
	} funcs[4]; /* the same of callbacks */
	u32 nfuncs;
	u32 depth;
};

static inline u64 rnd(struct gen *g)
{
	g->seed ^= g->seed << 13;
	g->seed ^= g->seed >> 7;
	g->seed ^= g->seed << 17;
	return g->seed * 0x2545f4914f6cdd1dull >> 11;
}

static inline bool once_in(struct gen *g, u32 n)
{
	return rnd(g) % n == 0;
}

static inline void emit(struct gen *g, u8 code, u8 dst, u8 src, s16 off, s32 imm)
{
	if (g->cnt < MAX_INSNS)
		g->insns[g->cnt++] = (struct bpf_insn){ code, (u8)(dst & 15), (u8)(src & 15), off, imm };
}

/* A register of this kind; -1 when there is none. */
static inline int pick(struct gen *g, u8 kind)
{
	u32 start = rnd(g) % NREGS;

	for (u32 k = 0; k < NREGS; k++) {
		u32 n = (start + k) % NREGS;

		if (g->kind[n] == kind || (g->careless && once_in(g, 40) && g->kind[n] != NONE))
			return (int)n;
	}
	return -1;
}

/* A register to be overwritten: rather one that holds nothing of use. */
static inline u8 target(struct gen *g)
{
	for (u32 k = 0; k < 4; k++) {
		u8 n = (u8)(rnd(g) % NREGS);

		if (g->kind[n] == NONE || g->kind[n] == NUMBER)
			return n;
	}
	return (u8)(rnd(g) % 6);
}

static inline s32 constant(struct gen *g)
{
	static const s32 edges[] = { 0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 40, 47, 48, 63, 64, 127, 128,
				     255, 256, 0x7fffffff, (s32)0x80000000, -1, -2, -8, 0xffff };

	return once_in(g, 6) ? (s32)rnd(g) : edges[rnd(g) % ARRAY_SIZE(edges)];
}

static inline u8 some_size(struct gen *g)
{
	static const u8 sizes[] = { BPF_B, BPF_H, BPF_W, BPF_DW };

	return sizes[rnd(g) % 4];
}

static inline u32 bytes_of(u8 size)
{
	return size == BPF_B ? 1 : size == BPF_H ? 2 : size == BPF_W ? 4 : 8;
}

/* A likely offset into 48 bytes. */
static inline s32 small(struct gen *g)
{
	return (s32)(once_in(g, 10) ? 36 + rnd(g) % 14 : rnd(g) % 41);
}

/* Makes some instructions (generate.c: any kind; calls.c: what is called, contexts, narrow and unusual forms; objects.c: what has state of its own). */
void generate_piece(struct gen *g);
extern void (*const generate_calls[])(struct gen *g);
extern const u32 generate_ncalls;
extern void (*const generate_objects[])(struct gen *g);
extern const u32 generate_nobjects;
void generate_callbacks(struct gen *g); /* behind all else: the functions that objects.c gave away */

#endif
