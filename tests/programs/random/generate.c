/* SPDX-License-Identifier: MIT */
/*
 * Random programs of the kind that people write: values from maps, packets and contexts, masks and
 * comparisons, pointer arithmetic, spills, calls, loops. Mostly right, with a mistake now and then.
 */
#include "generate_int.h"

static void number(struct gen *g)
{
	static const u64 wide[] = { 1ull << 63, ~0ull >> 1, 1ull << 32, (1ull << 32) - 1, 1ull << 31, ~0ull << 31,
				    ~0ull << 32, (1ull << 63) + 8, (1ull << 32) + 40 };
	u8 r = target(g);
	u64 w = wide[rnd(g) % ARRAY_SIZE(wide)];

	if (once_in(g, 6)) {
		emit(g, BPF_LD | BPF_IMM | BPF_DW, r, 0, 0, (s32)w);
		emit(g, 0, 0, 0, 0, (s32)(w >> 32));
	} else {
		emit(g, (once_in(g, 4) ? BPF_ALU : BPF_ALU64) | BPF_MOV | BPF_K, r, 0, 0, constant(g));
	}
	g->kind[r] = NUMBER;
}

/* A load or store through a pointer, near the limits of 48 bytes. */
static void access(struct gen *g)
{
	static const u8 kinds[] = { VALUE, VALUE, PKT, STACK };
	int p = pick(g, kinds[rnd(g) % 4]);
	u8 size = some_size(g), r;
	s16 off = (s16)(rnd(g) % 49 - bytes_of(size));

	if (p < 0)
		return;
	if (once_in(g, 2) || off < 0)
		off = (s16)(rnd(g) % 8);
	if (g->kind[p] == STACK)
		off = (s16)(off & -(s16)bytes_of(size));
	if (once_in(g, 3)) {
		int s = pick(g, NUMBER);

		if (s < 0)
			emit(g, BPF_ST | BPF_MEM | size, (u8)p, 0, off, constant(g));
		else if (once_in(g, 6) && (size == BPF_W || size == BPF_DW))
			emit(g, BPF_STX | BPF_ATOMIC | size, (u8)p, (u8)s, off & ~7,
			     once_in(g, 2) ? BPF_ADD : BPF_ADD | BPF_FETCH);
		else
			emit(g, BPF_STX | BPF_MEM | size, (u8)p, (u8)s, off, 0);
		return;
	}
	r = target(g);
	emit(g, BPF_LDX | (once_in(g, 6) && size != BPF_DW ? BPF_MEMSX : BPF_MEM) | size, r, (u8)p, off,
	     0);
	g->kind[r] = NUMBER;
}

static void arithmetic(struct gen *g)
{
	static const u8 ops[] = { BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_MOD, BPF_OR, BPF_AND, BPF_AND,
				  BPF_XOR, BPF_LSH, BPF_RSH, BPF_ARSH, BPF_AND, BPF_RSH };
	int d = pick(g, NUMBER), s = pick(g, NUMBER);
	u8 op = ops[rnd(g) % sizeof(ops)], class = once_in(g, 3) ? BPF_ALU : BPF_ALU64;
	s32 imm = constant(g);

	if (d < 0 || (g->plain && (op == BPF_DIV || op == BPF_MOD)))
		return;
	if (once_in(g, 8)) {
		emit(g, class | BPF_NEG, (u8)d, 0, 0, 0);
	} else if (once_in(g, 8) && s >= 0) {
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, (u8)d, (u8)s,
		     (s16)(once_in(g, 2) ? 8 << rnd(g) % 3 : 0), 0);
	} else if (once_in(g, 8) && s >= 0) {
		emit(g, BPF_ALU | BPF_MOV | BPF_X, (u8)d, (u8)s, 0, 0);
	} else if (once_in(g, 3) && s >= 0) {
		if (g->plain && (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH))
			op = BPF_ADD;
		emit(g, class | op | BPF_X, (u8)d, (u8)s,
		     (op == BPF_DIV || op == BPF_MOD) && once_in(g, 3), 0);
	} else {
		if (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH)
			imm = (s32)(rnd(g) % (class == BPF_ALU ? 32 : 64));
		if ((op == BPF_DIV || op == BPF_MOD) && !imm)
			imm = 5;
		emit(g, class | op | BPF_K, (u8)d, 0,
		     (op == BPF_DIV || op == BPF_MOD) && once_in(g, 3), imm);
	}
}

/* `if a op b goto behind`, with some pieces before `behind`. Kinds afterwards: what both ends have. */
static void branch(struct gen *g)
{
	static const u8 conds[] = { BPF_JEQ, BPF_JNE, BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE,
				    BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET };
	u8 before[NREGS], slots[16];
	int a = pick(g, NUMBER), b = pick(g, NUMBER);
	u32 at = g->cnt, n = 1 + rnd(g) % 4;
	u16 init = g->stack_init;

	if (a < 0 || g->depth > 3)
		return;
	if (once_in(g, 4) && b >= 0 && (a != b || !g->plain))
		emit(g, (once_in(g, 3) ? BPF_JMP32 : BPF_JMP) | conds[rnd(g) % sizeof(conds)] | BPF_X,
		     (u8)a, (u8)b, 0, 0);
	else
		emit(g, (once_in(g, 3) ? BPF_JMP32 : BPF_JMP) | conds[rnd(g) % sizeof(conds)], (u8)a, 0, 0,
		     constant(g));
	memcpy(before, g->kind, sizeof(before));
	memcpy(slots, g->slot, sizeof(slots));
	g->depth++;
	if (once_in(g, 2)) { /* leave: what follows knows the condition */
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
		emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		g->insns[at < MAX_INSNS ? at : 0].off = (s16)(g->cnt - at - 1);
		g->depth--;
		return;
	}
	while (n--)
		generate_piece(g);
	g->depth--;
	if (at < MAX_INSNS)
		g->insns[at].off = (s16)(g->cnt - at - 1);
	for (u32 k = 0; k < NREGS; k++)
		g->kind[k] = g->kind[k] == before[k] ? before[k] : NONE;
	for (u32 k = 0; k < 16; k++)
		g->slot[k] = g->slot[k] == slots[k] ? slots[k] : NONE;
	g->stack_init &= init;
}

static void pointer_arithmetic(struct gen *g)
{
	static const u8 kinds[] = { VALUE, VALUE, PKT, STACK };
	int p = pick(g, kinds[rnd(g) % 4]), s = pick(g, NUMBER);
	u8 to = target(g);

	if (p < 0)
		return;
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, to, (u8)p, 0, 0);
	g->kind[to] = g->kind[p];
	if (s >= 0 && s != to && once_in(g, 2)) {
		if (once_in(g, 2)) { /* with a bound that may be right */
			emit(g, BPF_ALU64 | BPF_AND | BPF_K, (u8)s, 0, 0, (1 << rnd(g) % 7) - 1);
		}
		emit(g, BPF_ALU64 | (once_in(g, 6) ? BPF_SUB : BPF_ADD) | BPF_X, to, (u8)s, 0, 0);
	} else {
		emit(g, BPF_ALU64 | BPF_ADD | BPF_K, to, 0, 0, (s32)(rnd(g) % 64) - 16);
	}
}

/* The usual proof of packet bounds, in all its directions. */
static void packet(struct gen *g)
{
	static const struct {
		u8 op;
		bool end_first, leave;
	} ways[] = { { BPF_JGT, false, true }, { BPF_JGE, false, true }, { BPF_JLT, false, false },
		     { BPF_JLE, false, false }, { BPF_JLT, true, true }, { BPF_JLE, true, true },
		     { BPF_JGT, true, false }, { BPF_JGE, true, false } };
	int p = pick(g, PKT), e = pick(g, PKT_END), c = pick(g, CTX);
	u32 way = rnd(g) % ARRAY_SIZE(ways);
	s16 data = g->type == BPF_PROG_TYPE_XDP ? 0 : 76;
	u8 t;

	if (p < 0 || e < 0) {
		u8 a = (u8)(2 + rnd(g) % 7), b = (u8)(a + 1);

		if (c < 0 || c == a || c == b)
			return;
		emit(g, BPF_LDX | BPF_MEM | BPF_W, a, (u8)c, data, 0);
		emit(g, BPF_LDX | BPF_MEM | BPF_W, b, (u8)c, (s16)(data + 4), 0);
		g->kind[a] = PKT;
		g->kind[b] = PKT_END;
		return;
	}
	t = target(g);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, t, (u8)p, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, t, 0, 0, (s32)(rnd(g) % 64));
	g->kind[t] = NONE;
	emit(g, BPF_JMP | ways[way].op | BPF_X, ways[way].end_first ? (u8)e : t,
	     ways[way].end_first ? t : (u8)e, ways[way].leave != once_in(g, 30) ? 1 : 2, 0);
	/* leave: taken goes out by the first of the two; else taken goes over both. */
	emit(g, BPF_JMP | BPF_JA, 0, 0, ways[way].leave ? 2 : 0, 0);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	if (!ways[way].leave && g->cnt >= 4)
		g->insns[g->cnt - 4].off = 3;
}

static void lookup(struct gen *g)
{
	u32 map = rnd(g) % 2;
	u8 keep = (u8)(6 + rnd(g) % 4);

	emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, (s32)(rnd(g) % 4));
	g->slot[0] = NONE;
	g->stack_init |= 1;
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -8);
	emit(g, BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, (s32)map);
	emit(g, 0, 0, 0, 0, 0);
	emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
	memset(&g->kind[1], NONE, 5);
	g->kind[0] = MAYBE;
	if (!once_in(g, 25)) {
		emit(g, BPF_JMP | BPF_JNE | BPF_K, 0, 0, 2, 0);
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
		emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		g->kind[0] = VALUE;
	}
	if (g->kind[keep] != CTX) {
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, keep, 0, 0, 0);
		g->kind[keep] = g->kind[0];
	}
}

static void spill(struct gen *g)
{
	u32 slot = rnd(g) % 8;
	u8 r = (u8)(rnd(g) % NREGS), size = some_size(g);
	s16 off = (s16)(-8 * (s16)(slot + 1));

	if (once_in(g, 2)) {
		if (g->kind[r] == NONE)
			return;
		if ((g->kind[r] != NUMBER && g->kind[r] != SMALL) || once_in(g, 2))
			size = BPF_DW;
		emit(g, BPF_STX | BPF_MEM | size, 10, r, off, 0);
		g->slot[slot] = size == BPF_DW || size == BPF_W ? g->kind[r] : NONE;
		if (size == BPF_DW)
			g->stack_init |= (u16)(1 << slot);
		else
			g->slot[slot] = NONE;
		return;
	}
	if (g->slot[slot] == NONE && !(g->stack_init & 1 << slot) && !once_in(g, 20))
		return;
	r = target(g);
	if (g->slot[slot] != NONE && g->slot[slot] != NUMBER && !once_in(g, 20))
		size = BPF_DW;
	if (g->slot[slot] == SMALL && once_in(g, 3)) {
		emit(g, BPF_LDX | BPF_MEM | BPF_B, r, 10, off, 0);
		g->kind[r] = SMALL;
		return;
	}
	emit(g, BPF_LDX | BPF_MEM | size, r, 10, off, 0);
	g->kind[r] = size == BPF_DW && g->slot[slot] != NONE ? g->slot[slot] : NUMBER;
}

/* bpf_ringbuf_output: memory with a size. */
static void sized_call(struct gen *g)
{
	int p = pick(g, once_in(g, 2) ? VALUE : PKT), s = pick(g, NUMBER);

	if (p < 0)
		return;
	if (p != 2)
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 2, (u8)p, 0, 0);
	if (s >= 0 && s != 2 && once_in(g, 2)) {
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 3, (u8)s, 0, 0);
		if (once_in(g, 2))
			emit(g, BPF_ALU64 | BPF_AND | BPF_K, 3, 0, 0, (1 << rnd(g) % 7) - 1);
	} else {
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, (s32)(rnd(g) % 64));
	}
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 0);
	emit(g, BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, 2);
	emit(g, 0, 0, 0, 0, 0);
	emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_output);
	memset(&g->kind[1], NONE, 5);
	g->kind[0] = NUMBER;
}

static void reserve(struct gen *g)
{
	u32 at;

	emit(g, BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, 2);
	emit(g, 0, 0, 0, 0, 0);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 48);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0);
	emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_reserve);
	memset(g->kind, NONE, 6);
	at = g->cnt;
	emit(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, 0);
	for (u32 n = rnd(g) % 3; n; n--)
		emit(g, BPF_ST | BPF_MEM | some_size(g), 0, 0, (s16)(rnd(g) % 44), constant(g));
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 1, 0, 0, 0);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 0);
	if (!once_in(g, 25))
		emit(g, BPF_JMP | BPF_CALL, 0, 0, 0,
		     once_in(g, 2) ? BPF_FUNC_ringbuf_submit : BPF_FUNC_ringbuf_discard);
	if (at < MAX_INSNS)
		g->insns[at].off = (s16)(g->cnt - at - 1);
}

static void loop(struct gen *g)
{
	u8 counter = (u8)(6 + rnd(g) % 4), before[NREGS];
	u32 at, n = 1 + rnd(g) % 3;

	if (g->depth > 1 || g->kind[counter] == CTX)
		return;
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, counter, 0, 0, 0);
	g->kind[counter] = NONE; /* left alone by the pieces in it, mostly */
	at = g->cnt;
	memcpy(before, g->kind, sizeof(before));
	g->depth += 2;
	while (n--)
		generate_piece(g);
	g->depth -= 2;
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, counter, 0, 0, 1);
	emit(g, BPF_JMP | (once_in(g, 4) ? BPF_JNE : BPF_JLT) | BPF_K, counter, 0,
	     (s16)((s32)at - (s32)g->cnt - 1), (s32)(1 + rnd(g) % 12));
	for (u32 k = 0; k < NREGS; k++)
		g->kind[k] = g->kind[k] == before[k] ? before[k] : NONE;
	g->kind[counter] = NUMBER;
}

/* A number from outside, bounded by one or two comparisons, as an offset: half of them wrong. */
static void bounded(struct gen *g)
{
	static const u8 conds[] = { BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE, BPF_JSGT, BPF_JSGE,
				    BPF_JSLT, BPF_JSLE, BPF_JEQ, BPF_JNE, BPF_JSET };
	int p = pick(g, VALUE);
	u8 r = target(g), size = some_size(g), to = target(g);
	bool half = once_in(g, 3);

	if (p < 0 || r == p || to == p || to == r)
		return;
	emit(g, BPF_LDX | (once_in(g, 4) ? BPF_MEMSX : BPF_MEM) | (once_in(g, 2) ? BPF_W : BPF_H), r,
	     (u8)p, (s16)(rnd(g) % 40), 0);
	if (once_in(g, 3))
		emit(g, (half ? BPF_ALU : BPF_ALU64) | (once_in(g, 2) ? BPF_ADD : BPF_RSH) | BPF_K, r, 0,
		     0, (s32)(rnd(g) % 16));
	for (u32 n = 1 + rnd(g) % 2; n; n--) {
		u8 cond = conds[rnd(g) % sizeof(conds)];
		bool leave = cond == BPF_JGT || cond == BPF_JGE || cond == BPF_JSGT ||
			     cond == BPF_JSGE || cond == BPF_JNE || cond == BPF_JSET;

		if (once_in(g, 10))
			leave = !leave;
		emit(g, (half ? BPF_JMP32 : BPF_JMP) | cond | BPF_K, r, 0, leave ? 1 : 2,
		     cond == BPF_JSET ? ~(s32)(rnd(g) % 64) :
		     n == 2 ? (s32)(rnd(g) % 3) : (s32)(37 + rnd(g) % 13));
		emit(g, BPF_JMP | BPF_JA, 0, 0, leave ? 2 : 0, 0);
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
		emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		if (!leave && g->cnt >= 4)
			g->insns[g->cnt - 4].off = 3;
	}
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, to, (u8)p, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_X, to, r, 0, 0);
	emit(g, BPF_LDX | BPF_MEM | size, to, to, 0, 0);
	g->kind[r] = g->kind[to] = NUMBER;
}

/* As choice(), in the stack. */
static void stack_choice(struct gen *g)
{
	int a = pick(g, NUMBER);
	u32 slot = 1 + rnd(g) % 7;
	s16 off = (s16)(-8 * (s16)(slot + 1));

	if (a < 0)
		return;
	emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, off, small(g));
	emit(g, (once_in(g, 3) ? BPF_JMP32 : BPF_JMP) | (once_in(g, 2) ? BPF_JEQ : BPF_JGT), (u8)a, 0, 1,
	     constant(g));
	emit(g, BPF_ST | BPF_MEM | (once_in(g, 4) ? BPF_W : BPF_DW), 10, 0, off, small(g));
	g->slot[slot] = SMALL;
	g->stack_init |= (u16)(1 << slot);
}

/* One constant or another: what comes after must hold for both, and pruning must see that it matters. */
static void choice(struct gen *g)
{
	static const u8 conds[] = { BPF_JEQ, BPF_JGT, BPF_JSGT, BPF_JSET, BPF_JNE, BPF_JLT };
	int a = pick(g, NUMBER);
	u8 r = target(g);

	if (a < 0 || a == r)
		return;
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, small(g));
	emit(g, (once_in(g, 3) ? BPF_JMP32 : BPF_JMP) | conds[rnd(g) % sizeof(conds)], (u8)a, 0, 1,
	     constant(g));
	emit(g, BPF_ALU64 | (once_in(g, 3) ? BPF_ADD : BPF_MOV) | BPF_K, r, 0, 0,
	     once_in(g, 3) ? 3 : small(g));
	g->kind[r] = SMALL;
}

/* An offset that was not bounded by a comparison: it is right by where it came from. */
static void small_use(struct gen *g)
{
	int s = pick(g, SMALL), p = pick(g, VALUE);
	u8 to = target(g), size = some_size(g);

	for (u32 slot = 1; slot < 8 && once_in(g, 2); slot++) {
		if (g->slot[slot] != SMALL || to == p)
			continue;
		emit(g, BPF_LDX | BPF_MEM | BPF_DW, to, 10, (s16)(-8 * (s16)(slot + 1)), 0);
		g->kind[to] = SMALL;
		s = to;
		to = target(g);
	}
	if (s < 0 || p < 0 || to == s)
		return;
	if (once_in(g, 4)) { /* a value that came another way */
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, to, (u8)s, 0, 0);
		emit(g, BPF_ALU64 | (once_in(g, 2) ? BPF_RSH : BPF_AND) | BPF_K, to, 0, 0,
		     (s32)(rnd(g) % 3));
		g->kind[to] = SMALL;
		return;
	}
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, to, (u8)p, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_X, to, (u8)s, 0, 0);
	emit(g, BPF_LDX | BPF_MEM | size, to, to, 0, 0);
	g->kind[to] = NUMBER;
}

/* Spilled registers that what comes now overwrites; forgotten with a mistake, now and then. */
static void clobber(struct gen *g, u32 from, u32 n)
{
	if (once_in(g, g->careless ? 2 : 20))
		return;
	for (u32 k = from; k < from + n && k < 16; k++)
		g->slot[k] = NONE;
}

/* A store to the stack at a place that is not known, over what was spilled there. */
static void stack_store(struct gen *g)
{
	int s = pick(g, NUMBER);
	u8 r = target(g), size = some_size(g);

	if (s < 0 || s == r || !(g->stack_init & 0xf))
		return;
	emit(g, BPF_ALU64 | BPF_AND | BPF_K, (u8)s, 0, 0, once_in(g, 3) ? 8 : 24);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, r, 10, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, r, 0, 0, -32);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_X, r, (u8)s, 0, 0);
	if (once_in(g, 2))
		emit(g, BPF_STX | BPF_MEM | size, r, (u8)s, 0, 0);
	else
		emit(g, BPF_ST | BPF_MEM | size, r, 0, 0, small(g));
	g->kind[r] = NONE;
	clobber(g, 0, 4);
}

/* A helper that writes the stack. */
static void stack_fill(struct gen *g)
{
	int c = pick(g, CTX);
	u32 slot = 1 + rnd(g) % 6;

	if (c < 0 || g->kind[6] != CTX)
		return;
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, (s32)(rnd(g) % 40));
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 3, 10, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, -8 * (s32)(slot + 1));
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, once_in(g, 3) ? 4 : 16);
	emit(g, BPF_JMP | BPF_CALL, 0, 0, 0,
	     g->type == BPF_PROG_TYPE_XDP ? 189 /* xdp_load_bytes */ : BPF_FUNC_skb_load_bytes);
	memset(&g->kind[1], NONE, 5);
	g->kind[0] = NUMBER;
	clobber(g, slot - 1, 2);
}

/* The packet moves: what pointed into it does not any more. */
static void move_packet(struct gen *g)
{
	if (g->kind[6] != CTX || once_in(g, 3))
		return;
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, (s32)(rnd(g) % 3) * 4);
	if (g->type != BPF_PROG_TYPE_XDP) {
		emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 0);
		g->slot[0] = NONE;
		g->stack_init |= 1;
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 3, 10, 0, 0);
		emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, -8);
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 8);
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 5, 0, 0, 0);
		emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_store_bytes);
	} else {
		emit(g, BPF_JMP | BPF_CALL, 0, 0, 0,
		     once_in(g, 2) ? BPF_FUNC_xdp_adjust_head : BPF_FUNC_xdp_adjust_tail);
	}
	memset(&g->kind[1], NONE, 5);
	g->kind[0] = NUMBER;
	if (once_in(g, g->careless ? 2 : 20))
		return;
	for (u32 k = 0; k < NREGS; k++)
		g->kind[k] = g->kind[k] == PKT || g->kind[k] == PKT_END ? NONE : g->kind[k];
	for (u32 k = 0; k < 16; k++)
		g->slot[k] = g->slot[k] == PKT || g->slot[k] == PKT_END ? NONE : g->slot[k];
}

/* NULL is looked for in a copy, in a register or on the stack. */
static void null_check(struct gen *g)
{
	int m = pick(g, MAYBE);
	u8 to = (u8)(7 + rnd(g) % 3), used;

	if (m < 0) {
		if (once_in(g, 2))
			return;
		emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, (s32)(rnd(g) % 4));
		g->slot[0] = NONE;
		g->stack_init |= 1;
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0);
		emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -8);
		emit(g, BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, 1);
		emit(g, 0, 0, 0, 0, 0);
		emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
		memset(&g->kind[1], NONE, 5);
		g->kind[0] = MAYBE;
		m = 0;
	}
	if (m == to)
		return;
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, to, (u8)m, 0, 0);
	g->kind[to] = MAYBE;
	if (once_in(g, 3)) {
		emit(g, BPF_STX | BPF_MEM | BPF_DW, 10, to, -24, 0);
		g->slot[2] = MAYBE;
		g->stack_init |= 4;
	}
	for (u32 n = rnd(g) % 3; n; n--)
		generate_piece(g);
	if (g->kind[to] != MAYBE)
		return;
	used = once_in(g, 2) && g->kind[m] == MAYBE ? (u8)m : to;
	emit(g, BPF_JMP | (once_in(g, 30) ? BPF_JEQ : BPF_JNE) | BPF_K, used, 0, 2, 0);
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	g->kind[to] = VALUE;
	if (g->kind[m] == MAYBE)
		g->kind[m] = VALUE;
	if (g->slot[2] == MAYBE)
		g->slot[2] = VALUE;
}

static void call(struct gen *g)
{
	if (g->ncalls == ARRAY_SIZE(g->calls) || g->cnt >= MAX_INSNS)
		return;
	if (g->kind[1] == NONE) {
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, constant(g));
	}
	if (g->lends_stack) {
		u32 slot = rnd(g) % 8;

		if (!(g->stack_init & 1 << slot))
			return;
		emit(g, BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0);
		emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -8 * (s32)(slot + 1));
		if (g->lends_stack > 1)
			clobber(g, slot, 1);
	}
	g->calls[g->ncalls++] = g->cnt;
	emit(g, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, 0);
	memset(&g->kind[1], NONE, 5);
	g->kind[0] = g->returns;
}

static void context(struct gen *g)
{
	int c = pick(g, CTX);
	u8 r = target(g);

	if (c < 0)
		return;
	emit(g, BPF_LDX | BPF_MEM | BPF_W, r, (u8)c, g->type == BPF_PROG_TYPE_XDP ? 12 : 8, 0);
	g->kind[r] = NUMBER;
}

static void stack_pointer(struct gen *g)
{
	u8 r = target(g);

	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, r, 10, 0, 0);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, r, 0, 0, -8 * (s32)(1 + rnd(g) % 8));
	g->kind[r] = STACK;
}

void generate_piece(struct gen *g)
{
	static void (*const pieces[])(struct gen *) = {
		number, access, access, access, arithmetic, arithmetic, arithmetic, branch, branch,
		branch, pointer_arithmetic, pointer_arithmetic, packet, packet, lookup, spill, spill,
		sized_call, loop, call, context, stack_pointer, reserve,
		stack_store, stack_fill, move_packet, null_check, null_check,
		choice, stack_choice, small_use, small_use, small_use, bounded, bounded,
	};

	u32 n = rnd(g) % ARRAY_SIZE(pieces);

	if (g->cnt >= MAX_INSNS - 60)
		return;
	if (once_in(g, 3)) {
		n = rnd(g) % generate_ncalls;
		if (g->calls_used >> n & 1)
			generate_calls[n](g);
		return;
	}
	if (g->objects_used && once_in(g, 5)) {
		n = rnd(g) % generate_nobjects;
		if (g->objects_used >> n & 1)
			generate_objects[n](g);
		return;
	}
	/* Each program has some of the pieces, and so more of their combinations. */
	for (u32 tries = 0; tries < 50 && !(g->pieces >> n & 1); tries++)
		n = rnd(g) % ARRAY_SIZE(pieces);
	pieces[n](g);
}

static void end(struct gen *g)
{
	s32 min, max;

	if (g->kind[0] == NUMBER && prog_type_ret(prog_type_of(g->type), 0, &min, &max))
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 1);
	else if (g->kind[0] != NUMBER)
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
	emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* What the calls call: a function of one argument, number or pointer. */
static void subprogram(struct gen *g)
{
	u32 n = rnd(g) % 6, start = g->cnt;

	for (u32 k = 0; k < g->ncalls; k++)
		g->insns[g->calls[k]].imm = (s32)(start - g->calls[k] - 1);
	g->ncalls = ARRAY_SIZE(g->calls); /* no more */
	memset(g->kind, NONE, sizeof(g->kind));
	memset(g->slot, NONE, sizeof(g->slot));
	g->stack_init = 0;
	g->kind[1] = once_in(g, 3) ? NUMBER : once_in(g, 2) ? SMALL : VALUE;
	if (g->lends_stack)
		g->kind[2] = NONE; /* left alone until here */
	if (g->lends_stack > 1 && once_in(g, 2))
		emit(g, BPF_ST | BPF_MEM | BPF_DW, 2, 0, 0, small(g));
	else if (g->lends_stack > 1)
		emit(g, BPF_STX | BPF_MEM | BPF_DW, 2, 1, 0, 0);
	else if (g->lends_stack)
		emit(g, BPF_LDX | BPF_MEM | BPF_DW, 3, 2, 0, 0);
	if (g->lends_stack == 1)
		g->kind[3] = SMALL;
	while (n--)
		generate_piece(g);
	if (g->returns == VALUE) {
		lookup(g);
		emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		return;
	}
	if (g->returns == SMALL) {
		emit(g, BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, small(g));
		choice(g);
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, 31);
		g->kind[0] = NUMBER;
	}
	end(g);
}

/* Those that need nothing to be attached to. */
static u32 some_type(struct gen *g)
{
	static const u32 types[] = { BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_SCHED_CLS,
				     BPF_PROG_TYPE_SCHED_ACT, BPF_PROG_TYPE_TRACEPOINT, BPF_PROG_TYPE_XDP,
				     BPF_PROG_TYPE_PERF_EVENT, BPF_PROG_TYPE_CGROUP_SKB,
				     BPF_PROG_TYPE_RAW_TRACEPOINT,
				     BPF_PROG_TYPE_SYSCALL };

	return types[rnd(g) % ARRAY_SIZE(types)];
}

const struct verdict_map gen_maps[GEN_MAPS] = {
	[GEN_ARRAY] = { .attr = { BPF_MAP_TYPE_ARRAY, 4, 48, 2, 0, 0, "a" } },
	[GEN_HASH] = { .attr = { BPF_MAP_TYPE_HASH, 8, 64, 4, 0, 0, "h" } },
	[GEN_RINGBUF] = { .attr = { BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0, 0, "r" } },
	[GEN_PROGS] = { .attr = { BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0, 0, "p" } },
	[GEN_STRINGS] = { .attr = { BPF_MAP_TYPE_ARRAY, 4, 16, 1, BPF_F_RDONLY_PROG, 0, "s" }, .frozen = true,
			  .value = "%d of %s\n", .value_len = 16 },
	[GEN_LRU] = { .attr = { BPF_MAP_TYPE_LRU_HASH, 4, 48, 4, 0, 0, "l" } },
	[GEN_PERCPU] = { .attr = { BPF_MAP_TYPE_PERCPU_ARRAY, 4, 48, 2, 0, 0, "c" } },
	[GEN_ONE] = { .attr = { BPF_MAP_TYPE_ARRAY, 4, 48, 1, 0, 0, "o" } },
	[GEN_LOCKED] = { .attr = { BPF_MAP_TYPE_ARRAY, 4, 48, 2, 0, 0, "k" }, .lock = 8 + 1 },
	[GEN_TIMED] = { .attr = { BPF_MAP_TYPE_ARRAY, 4, 48, 2, 0, 0, "t" }, .timer = 8 + 1 },
};

void generate(u64 seed, bool plain, struct verdict_prog *p)
{
	struct gen g = { .seed = (seed + 1) * 0x9e3779b97f4a7c15ull | 1, .plain = plain };
	u32 n;

	*p = (struct verdict_prog){ .file = "generated", .gpl = true, .nmaps = GEN_MAPS };
	memcpy(p->maps, gen_maps, sizeof(gen_maps));
	p->insns = base_array(MAX_INSNS, sizeof(*p->insns));
	assert_non_null(p->insns);
	g.insns = p->insns;
	for (n = 0; n < 5; n++)
		rnd(&g);
	g.type = once_in(&g, 3) ? some_type(&g) : once_in(&g, 2) ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS;
	g.careless = once_in(&g, 4);
	g.pieces = rnd(&g) | (rnd(&g) & rnd(&g)) | 0x1ff;
	if (once_in(&g, 2))
		g.pieces &= rnd(&g) | 0xa;
	g.calls_used = once_in(&g, 4) ? 0 : rnd(&g);
	g.objects_used = once_in(&g, 2) ? 0 : rnd(&g);
	g.lends_stack = (u8)(rnd(&g) % 3);
	g.returns = once_in(&g, 2) ? NUMBER : once_in(&g, 8) ? VALUE : SMALL;
	p->type = g.type;
	if (once_in(&g, 2))
		p->flags = BPF_F_TEST_STATE_FREQ;
	if (g.type == BPF_PROG_TYPE_SYSCALL)
		p->flags |= 1u << 4; /* BPF_F_SLEEPABLE */
	emit(&g, BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
	g.kind[1] = g.kind[6] = CTX;
	if (once_in(&g, 2))
		lookup(&g);
	for (n = 4 + rnd(&g) % 20; n; n--)
		generate_piece(&g);
	end(&g);
	if (g.ncalls)
		subprogram(&g);
	generate_callbacks(&g);
	p->cnt = g.cnt;
	snprintf(p->name, sizeof(p->name), "seed %llu", (unsigned long long)seed);
}
