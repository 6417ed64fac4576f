/* SPDX-License-Identifier: MIT */
/*
 * Machine code of a shape on AArch64: a thunk that does its calls and the entry of its closures.
 * Both keep a frame record (AAPCS64, 6.4.6), which is all that unwinding needs (code/pool.h).
 */
#include "code/a64.h"
#include "code/pool.h"
#include "ffi/call_int.h"

#define MAX_UNROLL 256 /* bytes copied by moves; more by a loop */

/* While arguments are loaded, from the call's own registers: */
#define FN     A64_X12
#define AVALUE A64_X13
#define ARG    A64_X14 /* the argument at hand */
#define T0     A64_X9
#define T1     A64_X10
#define T2     A64_X11

struct gen {
	struct a64_buf b;
	const struct shape *s;
	s32 arg; /* number of the argument whose address ARG holds; -1 */
};

/* ---- loads and stores of any number of bytes, touching no others ----------------------------- */

static void load(struct gen *g, u8 dst, u8 base, s64 off, u32 size, bool sx)
{
	u32 part = size > 4 ? 4 : 2;

	if (size == 8 || size == 4 || size == 2 || size == 1) {
		(sx ? a64_load_sx : a64_load)(&g->b, (int)size, dst, base, off);
		return;
	}
	/* 3, 5, 6, 7: two loads that overlap; the bytes that both hold are equal. */
	a64_load(&g->b, (int)part, dst, base, off);
	a64_load(&g->b, (int)part, T1, base, off + size - part);
	a64_orr_lsl(&g->b, dst, dst, T1, (u8)(8 * (size - part)));
}

/* `size` bytes of src, which is used up. */
static void store(struct gen *g, u8 src, u8 base, s64 off, u32 size)
{
	while (size) {
		u32 part = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;

		a64_store(&g->b, (int)part, src, base, off);
		size -= part;
		off += part;
		if (size)
			a64_lsr(&g->b, src, src, (u8)(8 * part));
	}
}

/* One move of `part` bytes, 8 or 16. */
static void copy_part(struct gen *g, u32 src, s64 dst, int part)
{
	if (part == 16) {
		a64_vload(&g->b, 16, 16, ARG, src);
		a64_vstore(&g->b, 16, 16, A64_SP, dst);
	} else {
		a64_load(&g->b, 8, T0, ARG, src);
		a64_store(&g->b, 8, T0, A64_SP, dst);
	}
}

/* The argument from `src` on to [sp + dst], where there is room for a multiple of eight bytes. */
static void copy(struct gen *g, u32 src, s64 dst, u32 size)
{
	u32 part = size >= 16 ? 16 : 8, at = 0;

	if (size < 8) {
		load(g, T0, ARG, src, size, false);
		a64_store(&g->b, 8, T0, A64_SP, dst);
		return;
	}
	if (size > MAX_UNROLL) {
		a64_add_ri(&g->b, T0, A64_SP, dst);
		a64_add_ri(&g->b, T1, ARG, src);
		a64_copy_loop(&g->b, T0, T1, T2, size / 16);
		at = size / 16 * 16;
	}
	for (; at + part <= size; at += part)
		copy_part(g, src + at, dst + at, (int)part);
	/* The rest with bytes before it, once more. */
	if (at < size)
		copy_part(g, src + size - part, dst + size - part, (int)part);
}

/* ---- calls --------------------------------------------------------------------------------------
 *
 * Entered as call_thunk: x0 cif, x1 fn, x2 rvalue, x3 avalue. [x29 - 16] is rvalue. Below it a
 * place for a result in memory that nobody wants, copies of arguments passed by reference, the
 * argument area at sp.
 */

static void arg_address(struct gen *g, u16 arg)
{
	if (g->arg != arg)
		a64_load(&g->b, 8, ARG, AVALUE, 8 * (s64)arg);
	g->arg = arg;
}

static void move_to_memory(struct gen *g, const struct move *m)
{
	s64 copied = (s64)g->s->stack + m->dst;

	switch (m->kind) {
	case MOVE_STACK:
		arg_address(g, m->arg);
		copy(g, m->src, m->dst, m->bytes);
		break;
	case MOVE_STACK_EXT:
		arg_address(g, m->arg);
		load(g, T0, ARG, 0, m->size, m->is_signed);
		a64_store(&g->b, 8, T0, A64_SP, m->dst);
		break;
	case MOVE_REF_GP:
	case MOVE_REF_STACK:
		arg_address(g, m->arg);
		copy(g, 0, copied, m->bytes);
		if (m->kind == MOVE_REF_STACK) {
			a64_add_ri(&g->b, T0, A64_SP, copied);
			a64_store(&g->b, 8, T0, A64_SP, 8 * (s64)m->size);
		}
		break;
	default: break;
	}
}

static void move_to_register(struct gen *g, const struct move *m)
{
	switch (m->kind) {
	case MOVE_GP:
		arg_address(g, m->arg);
		load(g, m->reg, ARG, m->src, m->size, m->is_signed);
		break;
	case MOVE_SSE:
		arg_address(g, m->arg);
		a64_vload(&g->b, m->size, m->reg, ARG, m->src);
		break;
	case MOVE_REF_GP: a64_add_ri(&g->b, m->reg, A64_SP, (s64)g->s->stack + m->dst); break;
	default: break;
	}
}

/* What the registers hold to [x10]. */
static void store_result(struct gen *g)
{
	const struct shape *s = g->s;
	u32 i;

	if (s->ret == RET_INT) {
		if (s->ret_size < 8)
			a64_extend(&g->b, A64_X0, A64_X0, (int)s->ret_size, s->ret_signed);
		a64_store(&g->b, 8, A64_X0, T1, 0);
		return;
	}
	for (i = 0; i < s->nparts; i++) {
		const struct ret_part *p = &s->parts[i];

		if (p->sse)
			a64_vstore(&g->b, p->size, p->reg, T1, p->off);
		else
			store(g, p->reg, T1, p->off, p->size);
	}
}

static void gen_call(struct gen *g)
{
	const struct shape *s = g->s;
	u32 room = s->stack + s->copies + (s->ret == RET_MEM ? ALIGN_UP(s->ret_size, 16u) : 0);
	size_t wanted;
	u32 i;

	a64_bti(&g->b, false);
	a64_push_frame(&g->b);
	a64_add_ri(&g->b, A64_SP, A64_SP, -(s64)room - 16);
	if (s->ret != RET_VOID)
		a64_store(&g->b, 8, A64_X2, A64_X29, -16);
	a64_mov_rr(&g->b, FN, A64_X1);
	if (s->nargs)
		a64_mov_rr(&g->b, AVALUE, A64_X3);
	for (i = 0; i < s->nmoves; i++)
		move_to_memory(g, &s->moves[i]);
	for (i = 0; i < s->nmoves; i++)
		move_to_register(g, &s->moves[i]);
	if (s->ret == RET_MEM) {
		a64_load(&g->b, 8, A64_X8, A64_X29, -16);
		wanted = a64_cbnz(&g->b, A64_X8);
		a64_add_ri(&g->b, A64_X8, A64_SP, (s64)s->stack + s->copies);
		a64_land(&g->b, wanted);
	}
	a64_blr(&g->b, FN);
	if (s->ret != RET_VOID && s->ret != RET_MEM) {
		a64_load(&g->b, 8, T1, A64_X29, -16);
		wanted = a64_cbz(&g->b, T1);
		store_result(g);
		a64_land(&g->b, wanted);
	}
	a64_pop_frame(&g->b);
}

/* ---- closures -----------------------------------------------------------------------------------
 *
 * Entered by a trampoline as the function itself, the closure in x17. The frame from sp up: room
 * for the result, the arguments' addresses, the register arguments put together again.
 */

#define RESULT_ROOM 64 /* four vectors */

/* Writes the address of each argument to [sp + addresses]; puts register arguments from `at` on. */
static void gather(struct gen *g, s64 addresses, s64 at)
{
	const struct shape *s = g->s;
	u32 i;

	for (i = 0; i < s->nmoves;) {
		const struct move *m = &s->moves[i];
		u16 arg = m->arg;
		s64 start = at;
		u8 from = T0;

		switch (m->kind) {
		case MOVE_STACK:
		case MOVE_STACK_EXT: a64_add_ri(&g->b, T0, A64_X29, 16 + (s64)m->dst); break;
		case MOVE_REF_STACK: a64_load(&g->b, 8, T0, A64_X29, 16 + 8 * (s64)m->size); break;
		case MOVE_REF_GP: from = m->reg; break;
		default:
			a64_add_ri(&g->b, T0, A64_SP, start);
			for (; i < s->nmoves && s->moves[i].arg == arg; i++) {
				m = &s->moves[i];
				if (m->kind == MOVE_STACK)
					a64_load(&g->b, 8, T1, A64_X29, 16 + (s64)m->dst);
				if (m->kind != MOVE_SSE)
					a64_store(&g->b, 8, m->kind == MOVE_GP ? m->reg : T1,
						  A64_SP, start + m->src);
				else
					a64_vstore(&g->b, m->size, m->reg, A64_SP, start + m->src);
			}
			at = ALIGN_UP(start + m->src + (m->kind == MOVE_SSE ? m->size : 8), 16);
			i--;
			break;
		}
		a64_store(&g->b, 8, from, A64_SP, addresses + 8 * (s64)arg);
		i++;
	}
}

static void load_result(struct gen *g)
{
	const struct shape *s = g->s;
	u32 i;

	if (s->ret == RET_INT)
		load(g, A64_X0, A64_SP, 0, s->ret_size, s->ret_signed);
	for (i = 0; s->ret == RET_PARTS && i < s->nparts; i++) {
		const struct ret_part *p = &s->parts[i];

		if (p->sse)
			a64_vload(&g->b, p->size, p->reg, A64_SP, p->off);
		else
			a64_load(&g->b, 8, p->reg, A64_SP, p->off);
	}
}

static void gen_entry(struct gen *g)
{
	const struct shape *s = g->s;
	/* Handlers of void functions may write an ffi_arg all the same. */
	s64 addresses = s->ret == RET_MEM ? 0 : RESULT_ROOM;
	s64 values = addresses + ALIGN_UP(8 * (s64)s->nargs, 16);
	s64 size = values + 16 * (s64)s->nmoves + 16;

	a64_bti(&g->b, true);
	a64_push_frame(&g->b);
	a64_add_ri(&g->b, A64_SP, A64_SP, -size);
	gather(g, addresses, values);
	if (s->ret == RET_MEM)
		a64_mov_rr(&g->b, A64_X1, A64_X8);
	else
		a64_add_ri(&g->b, A64_X1, A64_SP, 0);
	a64_add_ri(&g->b, A64_X2, A64_SP, addresses);
	a64_load(&g->b, 8, A64_X0, A64_X17, offsetof(ffi_closure, cif));
	a64_load(&g->b, 8, A64_X3, A64_X17, offsetof(ffi_closure, user_data));
	a64_load(&g->b, 8, T0, A64_X17, offsetof(ffi_closure, fun));
	a64_blr(&g->b, T0);
	load_result(g);
	a64_pop_frame(&g->b);
}

static const void *finish(struct gen *g)
{
	const void *code = g->b.oom ? NULL : code_pool_add(g->b.data, g->b.len);

	base_free(g->b.data);
	g->b = (struct a64_buf){ 0 };
	g->arg = -1;
	return code;
}

void call_compile(const struct shape *s, call_thunk *thunk, call_entry *entry)
{
	struct gen g = { .s = s, .arg = -1 };

	*thunk = NULL;
	*entry = NULL;
	/*
	 * Frames of more than a page would have to probe the stack; they are rare: the slow path.
	 */
	if (s->stack + s->copies + s->ret_size > 3072 || s->nargs > 256)
		return;
	gen_call(&g);
	*(const void **)thunk = finish(&g);
	gen_entry(&g);
	*(const void **)entry = finish(&g);
}
