/* SPDX-License-Identifier: MIT */
/*
 * Random pieces of programs: helpers by their prototypes, contexts of all program types, tail calls,
 * packet loads of old, and the rarer forms of instructions.
 */
#include "generate_int.h"
#include "helper/helper.h"

static void set(struct gen *g, u8 r, s32 imm)
{
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, imm);
}

static void copy(struct gen *g, u8 to, u8 from)
{
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}

static void load_map(struct gen *g, u8 r, u32 map)
{
	emit(g, BPF_LD | BPF_IMM | BPF_DW, r, BPF_PSEUDO_MAP_FD, 0, (s32)map);
	emit(g, 0, 0, 0, 0, 0);
}

static void called(struct gen *g)
{
	memset(g->kind, NONE, 6);
	g->kind[0] = NUMBER;
}

/* A register among r6 to r9, which setting up arguments leaves alone. */
static int pick_saved(struct gen *g, u8 kind)
{
	u32 start = rnd(g) % 4;

	for (u32 k = 0; k < 4; k++) {
		u32 r = 6 + (start + k) % 4;

		if (g->kind[r] == kind)
			return (int)r;
	}
	return -1;
}

/* ---- contexts ---------------------------------------------------------------------------------- */

static const u8 size_codes[] = { [1] = BPF_B, [2] = BPF_H, [4] = BPF_W, [8] = BPF_DW };

static u8 code_of_size(u32 size)
{
	return size_codes[size <= 8 && (size & (size - 1)) == 0 ? size : 8];
}

static void context_field(struct gen *g)
{
	const struct prog_type *t = prog_type_of(g->type);
	u8 r = target(g), size = some_size(g);
	int c = pick(g, CTX);
	s16 off;

	if (c < 0 || (g->kind[r] == CTX && g->kind[6] != CTX))
		return;
	if (!t->fields) {
		u32 end = t->raw_end < 200 ? t->raw_end : 200;

		off = (s16)(rnd(g) % (end + 8));
		if (!once_in(g, 10))
			off &= (s16)-8;
		emit(g, BPF_LDX | BPF_MEM | (once_in(g, 2) ? BPF_DW : size), r, (u8)c, off, 0);
		g->kind[r] = NUMBER;
		return;
	}
	const struct ctx_field *f = &t->fields[rnd(g) % t->nfields];
	u32 span = f->kind == CTX_SCALAR ? f->size : 1;

	off = (s16)f->off;
	if (!once_in(g, 3))
		size = code_of_size(f->size > f->max ? f->max : f->size);
	else if (f->kind == CTX_SCALAR)
		off = (s16)(off + (s16)(rnd(g) % span));
	if (f->kind == CTX_SCALAR && once_in(g, f->writable ? 2 : 15)) {
		int s = pick(g, NUMBER);

		if (s >= 0)
			emit(g, BPF_STX | BPF_MEM | size, (u8)c, (u8)s, off, 0);
		return;
	}
	emit(g, BPF_LDX | BPF_MEM | size, r, (u8)c, off, 0);
	g->kind[r] = f->kind == CTX_PKT ? PKT : f->kind == CTX_PKT_END ? PKT_END :
		     f->kind == CTX_SCALAR ? NUMBER : NONE;
}

static void packet_load(struct gen *g)
{
	int s = pick(g, NUMBER);
	u8 size = some_size(g);

	if (g->kind[6] != CTX || (size == BPF_DW && !once_in(g, 10)))
		return;
	if (!prog_type_of(g->type)->legacy_packet && !once_in(g, 30))
		return;
	if (s >= 0 && once_in(g, 2))
		emit(g, BPF_LD | BPF_IND | size, 0, (u8)s, 0, (s32)(rnd(g) % 64));
	else
		emit(g, BPF_LD | BPF_ABS | size, 0, 0, 0, constant(g));
	called(g);
}

/* ---- helpers ----------------------------------------------------------------------------------- */

/* Memory of `size` bytes for argument r: of the stack, of a map's value or of the packet. */
static void memory(struct gen *g, u8 r, u32 size, bool fill)
{
	int p = pick_saved(g, once_in(g, 3) ? PKT : VALUE);
	u32 slots = (size + 7) / 8, first = rnd(g) % 6;

	if (p >= 0 && once_in(g, 3)) {
		copy(g, r, (u8)p);
		if (once_in(g, 3))
			emit(g, BPF_ALU64 | BPF_ADD | BPF_K, r, 0, 0, (s32)(rnd(g) % 40));
		return;
	}
	if (first + slots > 12)
		slots = 12 - first;
	for (u32 k = first; k < first + slots; k++) {
		if (fill && !(g->stack_init & 1 << k) && !once_in(g, 40)) {
			emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, (s16)(-8 * (s16)(k + 1)), small(g));
			g->stack_init |= (u16)(1 << k);
		}
		g->slot[k] = fill ? g->slot[k] : NONE;
		if (!fill)
			g->stack_init |= (u16)(1 << k);
	}
	copy(g, r, 10);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, r, 0, 0, -8 * (s32)(first + slots));
}

static void argument(struct gen *g, const struct helper_proto *h, u32 n, u32 map, u32 size)
{
	u8 r = (u8)(n + 1);
	int s = pick_saved(g, NUMBER);

	switch (h->args[n]) {
	case ARG_CTX:
		copy(g, r, 6);
		break;
	case ARG_MAP:
		load_map(g, r, map);
		break;
	case ARG_MAP_KEY:
	case ARG_MAP_VALUE:
	case ARG_MEM:
		memory(g, r, size, true);
		break;
	case ARG_MAP_VALUE_UNINIT:
	case ARG_MEM_UNINIT:
	case ARG_LONG_OUT:
		memory(g, r, size, false);
		break;
	case ARG_MEM_OR_NULL:
		if (once_in(g, 2))
			memory(g, r, size, true);
		else
			set(g, r, 0);
		break;
	case ARG_SIZE:
	case ARG_SIZE_OR_ZERO:
		if (s >= 0 && once_in(g, 4)) {
			copy(g, r, (u8)s);
			emit(g, BPF_ALU64 | BPF_AND | BPF_K, r, 0, 0, 7);
			if (once_in(g, 2))
				emit(g, BPF_ALU64 | BPF_ADD | BPF_K, r, 0, 0, 1);
		} else {
			set(g, r, (s32)(once_in(g, 12) ? size + 1 : once_in(g, 12) ? 0 : size));
		}
		break;
	case ARG_CONST_STR:
		emit(g, BPF_LD | BPF_IMM | BPF_DW, r, BPF_PSEUDO_MAP_VALUE, 0, GEN_STRINGS);
		emit(g, 0, 0, 0, 0, (s32)(rnd(g) % 12));
		break;
	case ARG_ALLOC_MEM:
		break;
	default:
		if (s >= 0 && once_in(g, 2))
			copy(g, r, (u8)s);
		else
			set(g, r, constant(g));
	}
}

static const struct helper_proto *some_helper(struct gen *g)
{
	const struct prog_type *t = prog_type_of(g->type);

	for (u32 tries = 0; tries < 60; tries++) {
		const struct helper_proto *h = helper_of((u32)(rnd(g) % 220));
		bool known = h && h->ret <= RET_MAP_VALUE_OR_NULL && !(h->flags & HELPER_TAIL_CALL);

		for (u32 n = 0; known && n < 5; n++)
			known = h->args[n] <= ARG_CONST_STR + 1 && h->args[n] != ARG_ALLOC_MEM &&
				h->args[n] != ARG_CONST_SIZE;
		if (known && (h->groups & t->helpers || once_in(g, 60)))
			return h;
	}
	return NULL;
}

/* A map that fits the helper; now and then one that does not. */
static u32 map_for(struct gen *g, const struct helper_proto *h)
{
	u32 map = rnd(g) % GEN_MAPS;

	for (u32 k = 0; k < GEN_MAPS && !once_in(g, 60); k++, map = (map + 1) % GEN_MAPS) {
		if (h->maps >> gen_maps[map].attr.type & 1)
			break;
	}
	return map;
}

static void helper(struct gen *g)
{
	const struct helper_proto *h = some_helper(g);
	u32 map, size = once_in(g, 2) ? 8 : 1 + rnd(g) % 40, args = 5;

	if (!h || g->kind[6] != CTX)
		return;
	map = map_for(g, h);
	while (args && h->args[args - 1] == ARG_NONE)
		args--;
	for (u32 n = 0; n < args; n++) {
		u32 s = h->args[n] == ARG_MAP_KEY ? gen_maps[map].attr.key_size :
			h->args[n] == ARG_MAP_VALUE || h->args[n] == ARG_MAP_VALUE_UNINIT ?
						    gen_maps[map].attr.value_size :
			h->args[n] == ARG_LONG_OUT ? 8 : size;

		if (h->args[n] != ARG_UNCHECKED)
			argument(g, h, n, map, s);
	}
	emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, (s32)h->id);
	called(g);
	if (h->ret == RET_MAP_VALUE_OR_NULL)
		g->kind[0] = MAYBE;
	if (h->ret == RET_VOID)
		g->kind[0] = NONE;
	if (!(h->flags & HELPER_MOVES_PACKET))
		return;
	for (u32 k = 0; k < NREGS; k++)
		g->kind[k] = g->kind[k] == PKT || g->kind[k] == PKT_END ? NONE : g->kind[k];
	for (u32 k = 0; k < 16; k++)
		g->slot[k] = g->slot[k] == PKT || g->slot[k] == PKT_END ? NONE : g->slot[k];
}

static void tail_call(struct gen *g)
{
	int s = pick_saved(g, NUMBER);

	if (g->kind[6] != CTX)
		return;
	copy(g, 1, 6);
	load_map(g, 2, once_in(g, 40) ? 0 : GEN_PROGS);
	if (s >= 0 && once_in(g, 2))
		copy(g, 3, (u8)s);
	else
		set(g, 3, (s32)(rnd(g) % 4));
	emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call);
	called(g);
}

/* ---- instructions ------------------------------------------------------------------------------ */

static void direct_value(struct gen *g)
{
	u8 r = target(g);
	u32 map = once_in(g, 30) ? GEN_ARRAY : once_in(g, 3) ? GEN_STRINGS : GEN_ONE;

	emit(g, BPF_LD | BPF_IMM | BPF_DW, r, BPF_PSEUDO_MAP_VALUE, 0, (s32)map);
	emit(g, 0, 0, 0, 0, (s32)(once_in(g, 3) ? rnd(g) % 50 : 0));
	g->kind[r] = map == GEN_STRINGS ? NONE : VALUE;
	if (map == GEN_STRINGS) {
		u8 to = target(g);

		emit(g, BPF_LDX | BPF_MEM | some_size(g), to, r, (s16)(rnd(g) % 16), 0);
		g->kind[to] = NUMBER;
	}
}

static void atomic(struct gen *g)
{
	static const s32 ops[] = { BPF_ADD, BPF_OR, BPF_AND, BPF_XOR, BPF_ADD | BPF_FETCH, BPF_OR | BPF_FETCH,
				   BPF_AND | BPF_FETCH, BPF_XOR | BPF_FETCH, BPF_XCHG, BPF_CMPXCHG };
	static const u8 kinds[] = { VALUE, VALUE, STACK, STACK, PKT };
	int p = pick(g, kinds[rnd(g) % 5]), s = pick(g, NUMBER);
	s32 op = ops[rnd(g) % ARRAY_SIZE(ops)];
	bool wide = once_in(g, 2);

	if (p < 0 || s < 0)
		return;
	if (op == BPF_CMPXCHG && g->kind[0] == NONE)
		set(g, 0, small(g));
	emit(g, BPF_STX | BPF_ATOMIC | (wide ? BPF_DW : BPF_W), (u8)p, (u8)s,
	     (s16)((rnd(g) % 6) * (wide || once_in(g, 8) ? 8 : 4)) & (g->kind[p] == STACK ? 0x18 : -1), op);
	if (op == BPF_CMPXCHG)
		g->kind[0] = NUMBER;
	else if (op & BPF_FETCH)
		g->kind[s] = NUMBER;
}

static void swap(struct gen *g)
{
	int d = pick(g, NUMBER);

	if (d < 0)
		return;
	emit(g, (once_in(g, 3) ? BPF_ALU64 | BPF_END : BPF_ALU | BPF_END | (once_in(g, 2) ? BPF_TO_BE : 0)), (u8)d,
	     0, 0, 16 << rnd(g) % 3);
}

static void long_jump(struct gen *g)
{
	u8 r = target(g);

	emit(g, BPF_JMP32 | BPF_JA, 0, 0, 0, 1);
	set(g, r, constant(g));
	if (g->kind[r] != NUMBER)
		g->kind[r] = NONE;
}

/* Part of a number on the stack, in any width and place, and back. */
static void narrow_spill(struct gen *g)
{
	static const u8 sizes[] = { BPF_B, BPF_H, BPF_W, BPF_W, BPF_DW };
	u8 size = sizes[rnd(g) % 5], back = once_in(g, 3) ? sizes[rnd(g) % 5] : size, r;
	u32 slot = rnd(g) % 8, bytes = bytes_of(size), at = rnd(g) % (8 / bytes) * bytes;
	int s = pick(g, once_in(g, 3) ? SMALL : NUMBER);
	s16 off = (s16)(-8 * (s16)(slot + 1));

	if (s < 0)
		return;
	if (once_in(g, 5))
		emit(g, BPF_ST | BPF_MEM | size, 10, 0, (s16)(off + (s16)at), small(g));
	else
		emit(g, BPF_STX | BPF_MEM | size, 10, (u8)s, (s16)(off + (s16)at), 0);
	g->slot[slot] = NONE;
	if (once_in(g, 3))
		generate_piece(g);
	if (back != size)
		at &= ~(bytes_of(back) - 1);
	r = target(g);
	emit(g, BPF_LDX | (once_in(g, 6) && back != BPF_DW ? BPF_MEMSX : BPF_MEM) | back, r, 10,
	     (s16)(off + (s16)at), 0);
	g->kind[r] = g->kind[s] == SMALL && back == size ? SMALL : NUMBER;
}

static void stack_index(struct gen *g)
{
	int s = pick(g, NUMBER);
	u8 r = target(g), size = some_size(g);

	if (s < 0 || r == s || (g->stack_init & 0xf) != 0xf)
		return;
	emit(g, BPF_ALU64 | BPF_AND | BPF_K, (u8)s, 0, 0, (s32)(once_in(g, 3) ? 31 : 24) & -(s32)bytes_of(size));
	copy(g, r, 10);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, r, 0, 0, -32);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_X, r, (u8)s, 0, 0);
	emit(g, BPF_LDX | BPF_MEM | size, r, r, 0, 0);
	g->kind[r] = NUMBER;
}

/* Addresses as numbers: compared, subtracted, stored. */
static void leak(struct gen *g)
{
	static const u8 kinds[] = { VALUE, STACK, PKT, CTX, PKT_END };
	int a = pick(g, kinds[rnd(g) % 5]), b = pick(g, once_in(g, 2) ? NUMBER : VALUE), v = pick(g, VALUE);
	u8 r = target(g);

	if (a < 0)
		return;
	switch (rnd(g) % 4) {
	case 0:
		if (b >= 0)
			emit(g, BPF_JMP | (once_in(g, 2) ? BPF_JEQ : BPF_JGT) | BPF_X, (u8)a, (u8)b, 0, 0);
		break;
	case 1:
		copy(g, r, (u8)a);
		emit(g, BPF_ALU64 | BPF_SUB | BPF_X, r, (u8)a, 0, 0);
		g->kind[r] = NUMBER;
		break;
	case 2:
		if (v >= 0)
			emit(g, BPF_STX | BPF_MEM | BPF_DW, (u8)v, (u8)a, (s16)(rnd(g) % 5 * 8), 0);
		break;
	default:
		emit(g, BPF_ALU | BPF_MOV | BPF_X, r, (u8)a, 0, 0);
		g->kind[r] = NUMBER;
	}
}

/* Two registers that are linked: what a check of one says of the other. */
static void linked(struct gen *g)
{
	int a = pick(g, NUMBER), p = pick(g, VALUE), c = pick(g, NUMBER);
	u8 to = target(g), at = target(g), size = some_size(g);
	s32 by = (s32)(rnd(g) % 20) - 10, limit = (s32)(rnd(g) % 50);

	if (a < 0 || p < 0 || to == a || to == p || at == a || at == p || at == to)
		return;
	copy(g, to, (u8)a);
	if (c >= 0 && c != to && once_in(g, 3)) { /* on one path it is no copy */
		emit(g, BPF_JMP | BPF_JGT | BPF_K, (u8)c, 0, 1, constant(g));
		set(g, once_in(g, 3) ? (u8)a : to, small(g));
	}
	if (c >= 0 && c != to && once_in(g, 4)) /* by whatever is in a register */
		emit(g, BPF_ALU64 | (once_in(g, 2) ? BPF_SUB : BPF_ADD) | BPF_X, once_in(g, 2) ? to : (u8)a, (u8)c, 0, 0);
	else if (once_in(g, 2))
		emit(g, (once_in(g, 4) ? BPF_ALU : BPF_ALU64) | (once_in(g, 3) ? BPF_SUB : BPF_ADD) | BPF_K,
		     once_in(g, 2) ? to : (u8)a, 0, 0, once_in(g, 12) ? constant(g) : once_in(g, 3) ? 0 : by);
	g->kind[to] = NUMBER;
	if (once_in(g, 3))
		generate_piece(g);
	if (g->kind[p] != VALUE)
		return;
	emit(g, (once_in(g, 4) ? BPF_JMP32 : BPF_JMP) | (once_in(g, 4) ? BPF_JSLT : BPF_JLT) | BPF_K,
	     once_in(g, 2) ? to : (u8)a, 0, 2, limit);
	set(g, 0, 0);
	emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	copy(g, at, (u8)p);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_X, at, once_in(g, 2) ? to : (u8)a, 0, 0);
	emit(g, BPF_LDX | BPF_MEM | size, at, at, 0, 0);
	g->kind[at] = NUMBER;
}

void (*const generate_calls[])(struct gen *g) = {
	context_field, context_field, packet_load, helper, helper, helper, tail_call, direct_value, atomic,
	swap, long_jump, narrow_spill, narrow_spill, stack_index, leak, linked, linked,
};
const u32 generate_ncalls = ARRAY_SIZE(generate_calls);
