/* SPDX-License-Identifier: MIT */
/* Carries out the moves of a shape in C, around the assembly that loads and stores registers. */
#include <string.h>

#include "ffi/call_int.h"

#define ON_STACK 4096 /* bytes of arguments and result kept on the stack; more from the heap */

static u64 load_int(const void *p, u32 size, bool is_signed)
{
	u64 v = 0;
	u32 shift = 64 - size * 8;

	memcpy(&v, p, size);
	return is_signed ? (u64)((s64)(v << shift) >> shift) : v;
}

static void do_move(const struct move *m, struct call_regs *r, u8 *area, const struct shape *s,
		    const u8 *arg)
{
	u8 *copy = area + s->stack + m->dst;
	u64 v;

	switch (m->kind) {
	case MOVE_GP: r->gp[m->reg] = load_int(arg + m->src, m->size, m->is_signed); break;
	case MOVE_SSE: memcpy(r->sse[m->reg], arg + m->src, m->size); break;
	case MOVE_SSE_GP:
		memcpy(r->sse[m->reg], arg, m->size);
		r->gp[m->reg] = load_int(arg, m->size, false);
		break;
	case MOVE_STACK: memcpy(area + m->dst, arg + m->src, m->bytes); break;
	case MOVE_STACK_EXT:
		v = load_int(arg, m->size, m->is_signed);
		memcpy(area + m->dst, &v, 8);
		break;
	case MOVE_REF_GP:
		memcpy(copy, arg, m->bytes);
		r->gp[m->reg] = (u64)(uintptr_t)copy;
		break;
	case MOVE_REF_STACK:
		memcpy(copy, arg, m->bytes);
		v = (u64)(uintptr_t)copy;
		memcpy(area + 8 * m->size, &v, 8);
		break;
	}
}

static void take_result(const struct shape *s, const struct call_regs *r, u8 *rvalue)
{
	u64 v;
	u32 i;

	switch (s->ret) {
	case RET_INT:
		v = load_int(&r->ret[0], s->ret_size, s->ret_signed);
		memcpy(rvalue, &v, 8);
		break;
	case RET_X87_2: memcpy(rvalue + 16, r->st[1], 10); /* fall through */
	case RET_X87: memcpy(rvalue, r->st[0], 10); break;
	case RET_PARTS:
		for (i = 0; i < s->nparts; i++) {
			const struct ret_part *p = &s->parts[i];
			const void *from = p->sse ? (const void *)r->sse[p->reg] : &r->ret[p->reg];

			memcpy(rvalue + p->off, from, p->size);
		}
		break;
	default: break;
	}
}

static void call_shape_slow(const struct shape *s, void (*fn)(void), u8 *rvalue, void **avalue,
			    void *chain)
{
	_Alignas(16) u8 small[ON_STACK];
	size_t need = (size_t)s->stack + s->copies + (rvalue ? 0 : s->ret_size);
	u8 *area = need <= sizeof(small) ? small : base_alloc(need);
	struct call_regs r;
	u32 i;

	if (!area) {
		log_msg(LOG_ERROR, "ffi_call: no memory for %zu bytes of arguments", need);
		return;
	}
	memset(&r, 0, sizeof(r));
	r.chain = (u64)(uintptr_t)chain;
	r.nsse = s->nsse;
	r.nst = s->ret == RET_X87 ? 1 : s->ret == RET_X87_2 ? 2 : 0;
	if (s->ret == RET_MEM)
		r.gp[CALL_RESULT_GP] = (u64)(uintptr_t)(rvalue ? rvalue : area + s->stack + s->copies);
	for (i = 0; i < s->nmoves; i++)
		do_move(&s->moves[i], &r, area, s, avalue[s->moves[i].arg]);
	call_conv((ffi_abi)s->conv)->call(&r, area, s->stack, fn);
	if (rvalue)
		take_result(s, &r, rvalue);
	if (area != small)
		base_free(area);
}

void call_with_chain(ffi_cif *cif, void (*fn)(void), void *rvalue, void **avalue, void *chain)
{
	u32 number = cif->flags % CALL_MAX_SHAPES;
	struct shape *own = number ? NULL : call_classify(cif);
	const struct shape *s = number ? call_shape(number) : own;

	if (!s) {
		log_msg(LOG_ERROR, "ffi_call: out of memory");
		return;
	}
	call_shape_slow(s, fn, rvalue, avalue, chain);
	base_free(own);
}

void call_slow(ffi_cif *cif, void (*fn)(void), void *rvalue, void **avalue)
{
	call_with_chain(cif, fn, rvalue, avalue, NULL);
}

/* ---- closures ----------------------------------------------------------------------------------- */

/* Registers of argument parts are put together at `values`; returns the room used. */
static u32 gather(const struct shape *s, u32 first, const struct call_regs *r, u8 *stack, u8 *values,
		  void **address)
{
	const struct move *m = &s->moves[first];
	u16 arg = m->arg;
	u32 i, end = 0;

	switch (m->kind) {
	case MOVE_STACK:
	case MOVE_STACK_EXT: *address = stack + m->dst; return 0;
	case MOVE_REF_STACK: memcpy(address, stack + 8 * m->size, 8); return 0;
	case MOVE_REF_GP: *address = (void *)(uintptr_t)r->gp[m->reg]; return 0;
	default: break;
	}
	*address = values;
	for (i = first; i < s->nmoves && s->moves[i].arg == arg; i++) {
		m = &s->moves[i];
		if (m->kind == MOVE_GP)
			memcpy(values + m->src, &r->gp[m->reg], 8);
		else if (m->kind == MOVE_STACK)
			memcpy(values + m->src, stack + m->dst, 8);
		else
			memcpy(values + m->src, r->sse[m->reg], 16);
		end = m->src + 16;
	}
	return end;
}

static void give_result(const struct shape *s, struct call_regs *r, const u8 *result)
{
	u32 i;

	switch (s->ret) {
	case RET_INT: r->ret[0] = load_int(result, s->ret_size, s->ret_signed); break;
	case RET_X87_2: memcpy(r->st[1], result + 16, 10); /* fall through */
	case RET_X87: memcpy(r->st[0], result, 10); break;
	case RET_PARTS:
		for (i = 0; i < s->nparts; i++) {
			const struct ret_part *p = &s->parts[i];
			void *to = p->sse ? (void *)r->sse[p->reg] : &r->ret[p->reg];

			memcpy(to, result + p->off, p->size);
		}
		break;
	default: break;
	}
}

static void run_closure(const struct shape *s, ffi_cif *cif,
			void (*fun)(ffi_cif *, void *, void **, void *), void *data,
			struct call_regs *r, u8 *stack)
{
	/* A unit of 16 bytes a register; AArch64 returns up to four vectors. */
	_Alignas(16) u8 values[16 * 16], result[64] = { 0 };
	void *few[32], **address = cif->nargs <= 32 ? few : base_array(cif->nargs, sizeof(*address));
	u8 *mem = (u8 *)(uintptr_t)r->gp[CALL_RESULT_GP];
	u32 i, used = 0, last = ~0u;

	if (!address) {
		log_msg(LOG_ERROR, "closure: no memory for %u arguments", cif->nargs);
		return;
	}
	for (i = 0; i < s->nmoves; i++) {
		if (s->moves[i].arg == last)
			continue;
		last = s->moves[i].arg;
		used += gather(s, i, r, stack, values + used, &address[last]);
		used = ALIGN_UP(used, 16u);
	}
	r->nst = s->ret == RET_X87 ? 1 : s->ret == RET_X87_2 ? 2 : 0;
	fun(cif, s->ret == RET_MEM ? mem : result, address, data);
	if (s->ret == RET_MEM)
		r->ret[0] = (u64)(uintptr_t)mem;
	else
		give_result(s, r, result);
	if (address != few)
		base_free(address);
}

void call_closure_slow(void *closure, struct call_regs *r, u8 *stack)
{
	bool go = (uintptr_t)closure & 1;
	ffi_go_closure *g = (void *)((uintptr_t)closure & ~(uintptr_t)1);
	ffi_closure *c = closure;
	ffi_cif *cif = go ? g->cif : c->cif;
	u32 number = cif->flags % CALL_MAX_SHAPES;
	struct shape *own = number ? NULL : call_classify(cif);
	const struct shape *s = number ? call_shape(number) : own;

	r->nst = 0;
	if (!s)
		log_msg(LOG_ERROR, "closure: out of memory");
	else if (go)
		run_closure(s, cif, g->fun, g, r, stack);
	else
		run_closure(s, cif, c->fun, c->user_data, r, stack);
	base_free(own);
}
