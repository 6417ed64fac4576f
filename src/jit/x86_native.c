/* SPDX-License-Identifier: MIT */
/*
 * Calls of native functions. Integers and pointers are in the right registers already. Where there is more
 * (floating point, structs by value, an argument block), the moves of the call's shape (ffi/call.h) are carried
 * out here, from eBPF registers and memory straight to where C wants them, and the result back.
 *
 * What is rare or long goes through module_invoke(), which is the interpreter's way too and does the same:
 *   - variadic functions, whose moves depend on the format;
 *   - long double in a struct result, arguments by reference, signatures that have no shape (call_shape());
 *   - calls that are watched (prog/limit.h);
 *   - function pointers, which are lent for the call (module/lend.c);
 *   - __check of a string, of an argument in a block, which may lie in memory that others write, and of an enum
 *     of many values; and whatever fails a check that is made here, for it to be counted and logged.
 */
#include <errno.h>
#include <string.h>

#include "ffi/call.h"
#include "jit/x86_int.h"
#include "prog/limit.h"

#define MAX_VALUES  8    /* of an enum, compared here */
#define MAX_STACK   2048 /* bytes of arguments; no page is stepped over */
#define WIDE_COPY   64   /* from here on 16 bytes at a time: less is often written by words just before */

static const u8 gp_args[] = { X86_RDI, X86_RSI, X86_RDX, X86_RCX, X86_R8, X86_R9 };
static const u8 gp_results[] = { X86_RAX, X86_RDX };

/* ---- values ------------------------------------------------------------------------------------ */

static bool width_ok(u8 w)
{
	return w == 1 || w == 2 || w == 4 || w == 8;
}

static void make_bool(struct jx *c, u8 dst, u8 src)
{
	x86_test_rr(&c->b, 1, src, src);
	x86_setcc(&c->b, X86_NE, dst);
	x86_movzx_rr(&c->b, 1, dst, dst);
}

/*
 * The callee may rely on its C types: arguments below int are extended to it (what gcc and clang
 * expect; above an int's bits anything may stand, SysV ABI 3.2.3), and a bool is 0 or 1.
 */
static void extend_arg(struct jx *c, u8 reg, const struct module_arg *a)
{
	if (a->is_bool)
		make_bool(c, reg, reg);
	else if (a->width < 4 && a->is_signed)
		x86_movsx_rr(&c->b, 8, a->width, reg, reg);
	else if (a->width < 4)
		x86_movzx_rr(&c->b, a->width, reg, reg);
}

static void extend_ret(struct jx *c, const struct module_func *f)
{
	if (f->ret_kind != MODULE_RET_SCALAR || f->ret_width >= 8)
		return;
	if (f->ret_signed && !f->ret_bool)
		x86_movsx_rr(&c->b, 8, f->ret_width, X86_RAX, X86_RAX);
	else
		x86_movzx_rr(&c->b, f->ret_width, X86_RAX, X86_RAX);
}

/* dst = what `src` holds as argument `a`, all 8 bytes. */
static void extend_to(struct jx *c, u8 dst, u8 src, const struct module_arg *a)
{
	if (a->is_bool)
		make_bool(c, dst, src);
	else if (a->width == 8 && dst == src)
		return;
	else if (a->width == 8)
		x86_mov_rr(&c->b, 8, dst, src);
	else if (a->is_signed)
		x86_movsx_rr(&c->b, 8, a->width, dst, src);
	else
		x86_movzx_rr(&c->b, a->width, dst, src);
}

/* dst = `size` bytes at m and no others; rax and r10 are used for odd sizes. */
static void load(struct jx *c, u8 dst, struct x86_mem m, u32 size, bool sx)
{
	u32 part = size > 4 ? 4 : 2;

	if (width_ok((u8)size)) {
		if (sx && size < 8)
			x86_load_sx(&c->b, (int)size, dst, m);
		else
			x86_load(&c->b, (int)size, dst, m);
		return;
	}
	/* 3, 5, 6, 7: two loads that overlap, the bytes that both hold being the same. */
	x86_load(&c->b, (int)part, X86_RAX, m);
	m.disp += (s32)(size - part);
	x86_load(&c->b, (int)part, X86_R10, m);
	x86_shift_ri(&c->b, X86_SHL, 8, X86_R10, (u8)(8 * (size - part)));
	x86_alu_rr(&c->b, X86_OR, 8, X86_RAX, X86_R10);
	x86_mov_rr(&c->b, 8, dst, X86_RAX);
}

/* `size` bytes of src, which is used up, to m and nowhere else. */
static void store(struct jx *c, struct x86_mem m, u8 src, u32 size)
{
	while (size) {
		u32 part = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;

		x86_store(&c->b, (int)part, m, src);
		size -= part;
		m.disp += (s32)part;
		if (size)
			x86_shift_ri(&c->b, X86_SHR, 8, src, (u8)(8 * part));
	}
}

/* Copies `size` bytes, before vector registers have arguments. The last word may be written in full. */
static void copy(struct jx *c, struct x86_mem from, struct x86_mem to, u32 size)
{
	u32 at = 0, left;

	for (; size >= WIDE_COPY && at + 16 <= size; at += 16) {
		x86_xmm_load(&c->b, 16, 0, x86_at(from.base, from.disp + (s32)at));
		x86_xmm_store(&c->b, 16, x86_at(to.base, to.disp + (s32)at), 0);
	}
	for (; at < size; at += 8) {
		left = size - at < 8 ? size - at : 8;
		load(c, X86_RAX, x86_at(from.base, from.disp + (s32)at), left, false);
		x86_store(&c->b, 8, x86_at(to.base, to.disp + (s32)at), X86_RAX);
	}
}

/* ---- arguments --------------------------------------------------------------------------------- */

/* Where the bytes of a move are: an eBPF register, or memory that one points to. */
struct source {
	const struct module_arg *a;
	bool memory;
	u8 reg;
	struct x86_mem m;
};

static struct source source_of(const struct jx *c, const struct module_func *f, const struct move *m)
{
	const struct module_arg *a = &f->args[m->arg];
	struct source s = { .a = a, .reg = c->map[a->reg ? a->reg : f->block_reg] };

	s.memory = !a->reg || a->kind == MODULE_ARG_VALUE;
	s.m = x86_at(s.reg, (s32)((a->reg ? 0 : a->off) + m->src));
	return s;
}

/* dst = the bytes of a move, extended as C wants them. */
static void load_move(struct jx *c, u8 dst, const struct source *s, const struct move *m)
{
	if (!s->memory) {
		extend_to(c, dst, s->reg, s->a);
		return;
	}
	load(c, dst, s->m, m->size, m->is_signed);
	if (s->a->is_bool)
		make_bool(c, dst, dst);
}

static void to_stack(struct jx *c, const struct module_func *f, const struct move *m)
{
	struct source s = source_of(c, f, m);
	struct x86_mem slot = x86_at(X86_RSP, (s32)m->dst);

	if (m->kind == MOVE_STACK && s.memory) {
		copy(c, s.m, slot, m->bytes);
	} else if (m->kind == MOVE_STACK) {
		x86_store(&c->b, 8, slot, s.reg);
	} else {
		load_move(c, X86_RAX, &s, m);
		x86_store(&c->b, 8, slot, X86_RAX);
	}
}

static void to_sse(struct jx *c, const struct module_func *f, const struct move *m)
{
	struct source s = source_of(c, f, m);

	if (!s.memory) {
		x86_xmm_from_gp(&c->b, m->size, m->reg, s.reg);
	} else if (m->size == 4 || m->size == 8 || m->size == 16) {
		x86_xmm_load(&c->b, m->size, m->reg, s.m);
	} else {
		load(c, X86_RAX, s.m, m->size, false);
		x86_xmm_from_gp(&c->b, 8, m->reg, X86_RAX);
	}
}

/*
 * General registers are sources too: one is written when no other move waits for what it holds. Such a move always
 * exists, as sources and destinations are in the same order: whatever waits does so for those on one side of it.
 */
static void to_gp(struct jx *c, const struct module_func *f, const struct shape *s)
{
	const struct move *wait[ARRAY_SIZE(gp_args)];
	struct source from;
	u32 n = 0, i, j;

	for (i = 0; i < s->nmoves; i++)
		if (s->moves[i].kind == MOVE_GP && n < ARRAY_SIZE(wait))
			wait[n++] = &s->moves[i];
	while (n) {
		for (i = 0; i < n; i++) {
			for (j = 0; j < n; j++)
				if (j != i && source_of(c, f, wait[j]).reg == gp_args[wait[i]->reg])
					break;
			if (j == n)
				break;
		}
		if (i == n) {
			c->err = -EINVAL;
			return;
		}
		from = source_of(c, f, wait[i]);
		load_move(c, gp_args[wait[i]->reg], &from, wait[i]);
		wait[i] = wait[--n];
	}
}

static void arguments(struct jx *c, const struct module_func *f, const struct shape *s)
{
	u32 i;

	/* Memory first, while the vector registers are free; general registers last, which all moves read. */
	for (i = 0; i < s->nmoves; i++)
		if (s->moves[i].kind == MOVE_STACK || s->moves[i].kind == MOVE_STACK_EXT)
			to_stack(c, f, &s->moves[i]);
	for (i = 0; i < s->nmoves; i++)
		if (s->moves[i].kind == MOVE_SSE)
			to_sse(c, f, &s->moves[i]);
	to_gp(c, f, s);
}

/* ---- the call ---------------------------------------------------------------------------------- */

/* A struct that comes in registers, to the memory at [rcx]. */
static void store_parts(struct jx *c, const struct shape *s)
{
	u32 i;

	for (i = 0; i < s->nparts; i++) {
		const struct ret_part *p = &s->parts[i];
		struct x86_mem m = x86_at(X86_RCX, p->off);

		if (!p->sse) {
			store(c, m, gp_results[p->reg], p->size);
		} else if (p->size == 4 || p->size == 8 || p->size == 16) {
			x86_xmm_store(&c->b, p->size, m, p->reg);
		} else {
			x86_gp_from_xmm(&c->b, 8, X86_R10, p->reg);
			store(c, m, X86_R10, p->size);
		}
	}
}

static void result(struct jx *c, const struct module_func *f, const struct shape *s)
{
	switch (f->ret_kind) {
	case MODULE_RET_VOID:
	case MODULE_RET_STRUCT: /* what is left in the register is the host's */
		x86_alu_rr(&c->b, X86_XOR, 4, X86_RAX, X86_RAX);
		break;
	case MODULE_RET_SCALAR:
		if (s->ret == RET_PARTS)
			x86_gp_from_xmm(&c->b, f->ret_width, X86_RAX, 0);
		else
			extend_ret(c, f);
		break;
	default: break;
	}
}

/* The call with its moves; registers and stack are left as a call leaves them. */
static void shaped(struct jx *c, const struct module_func *f, const struct shape *s)
{
	bool parts = f->ret_kind == MODULE_RET_STRUCT && s->ret == RET_PARTS;
	s32 frame = (s32)s->stack + (parts ? 16 : 0); /* keeps the alignment of a call */
	struct x86_mem kept = x86_at(X86_RSP, (s32)s->stack);

	if (frame)
		x86_alu_ri(&c->b, X86_SUB, 8, X86_RSP, frame);
	if (parts)
		x86_store(&c->b, 8, kept, c->map[1]);
	/* A result in memory is r1, which is the register that C wants its address in. */
	arguments(c, f, s);
	x86_call_native(c, f->addr);
	if (parts) {
		x86_load(&c->b, 8, X86_RCX, kept);
		store_parts(c, s);
	}
	result(c, f, s);
	if (frame)
		x86_alu_ri(&c->b, X86_ADD, 8, X86_RSP, frame);
}

/* The shape, when its moves can be made here. */
static const struct shape *shape_of(const struct module_func *f)
{
	u32 number = f->call ? call_shape_number(f->call) : 0, i;
	const struct shape *s = number ? call_shape(number) : NULL;
	bool into_struct = f->ret_kind == MODULE_RET_STRUCT;

	if (!s || f->variadic || s->conv != FFI_UNIX64 || s->copies || s->stack > MAX_STACK)
		return NULL;
	for (i = 0; i < s->nmoves; i++)
		if (s->moves[i].arg >= f->nargs ||
		    (s->moves[i].kind != MOVE_GP && s->moves[i].kind != MOVE_SSE &&
		     s->moves[i].kind != MOVE_STACK && s->moves[i].kind != MOVE_STACK_EXT))
			return NULL;
	switch (s->ret) {
	case RET_VOID:
	case RET_INT: return into_struct ? NULL : s;
	case RET_PARTS: return into_struct || f->ret_float ? s : NULL;
	case RET_MEM: return into_struct ? s : NULL;
	default: return NULL;
	}
}

/* The way through module_invoke(), which gets the registers in memory. */
static void invoke(struct jx *c, const struct module_func *f, const struct prog_site *watched)
{
	static const struct module_site none;
	const struct prog *p = c->u->prog;
	const struct module_site *site = p->facts ? &p->facts[c->at].site : &none;
	u8 n = f->variadic ? MODULE_MAX_REGS : f->nregs;

	x86_alu_ri(&c->b, X86_SUB, 8, X86_RSP, 48); /* keeps the alignment of a call */
	for (u8 r = 0; r < n; r++)
		x86_store(&c->b, 8, x86_at(X86_RSP, 8 * r), c->map[r + 1]);
	x86_mov_ri(&c->b, X86_RDI, (u64)(uintptr_t)f, true);
	x86_mov_rr(&c->b, 8, X86_RSI, X86_RSP);
	x86_mov_ri(&c->b, X86_RDX, (u64)(uintptr_t)site, true);
	if (watched)
		x86_mov_ri(&c->b, X86_RCX, (u64)(uintptr_t)watched, true);
	x86_call_native(c, watched ? (const void *)prog_site_invoke : (const void *)(uintptr_t)module_invoke);
	x86_alu_ri(&c->b, X86_ADD, 8, X86_RSP, 48);
}

/* ---- __check ----------------------------------------------------------------------------------- */

/* Forward jumps within one instruction's code, where no other branch is whose size may change. */
struct jumps {
	size_t at[2 * MODULE_MAX_ARGS];
	u32 n;
};

static void land(struct jx *c, const struct jumps *j)
{
	u32 i;

	for (i = 0; !c->b.oom && i < j->n; i++) {
		s32 rel = (s32)(c->b.len - j->at[i] - 4);

		memcpy(c->b.data + j->at[i], &rel, 4);
	}
}

static bool is_memory(const struct module_arg *a)
{
	return a->kind == MODULE_ARG_MEM || a->kind == MODULE_ARG_OBJECT;
}

static bool can_check(const struct module_func *f)
{
	u32 i;

	for (i = 0; i < f->nargs; i++) {
		const struct module_arg *a = &f->args[i];

		if (a->callback)
			return false;
		if (a->check && (!a->reg || a->kind == MODULE_ARG_STRING || a->kind == MODULE_ARG_VALUE ||
				 (!a->ranged && a->nvalues > MAX_VALUES)))
			return false;
	}
	return true;
}

/* cmp or sub of rax with any constant; r10 holds a large one. */
static void with_rax(struct jx *c, enum x86_alu op, u64 imm)
{
	if ((s64)imm == (s32)imm) {
		x86_alu_ri(&c->b, op, 8, X86_RAX, (s32)imm);
		return;
	}
	x86_mov_ri(&c->b, X86_R10, imm, true);
	x86_alu_rr(&c->b, op, 8, X86_RAX, X86_R10);
}

static void check_arg(struct jx *c, const struct module_arg *a, struct jumps *fail)
{
	u8 reg = c->map[a->reg];
	size_t found[MAX_VALUES];
	u32 i;

	if (is_memory(a)) {
		if (a->nullable)
			return;
		x86_test_rr(&c->b, 8, reg, reg);
		fail->at[fail->n++] = x86_jcc32(&c->b, X86_E);
		return;
	}
	extend_to(c, X86_RAX, reg, a);
	if (a->ranged) {
		/* One comparison without sign does for both ends, as min <= max in the type's order. */
		if (a->min)
			with_rax(c, X86_SUB, (u64)a->min);
		with_rax(c, X86_CMP, (u64)a->max - (u64)a->min);
		fail->at[fail->n++] = x86_jcc32(&c->b, X86_A);
		return;
	}
	if (!a->nvalues)
		return;
	for (i = 0; i < a->nvalues; i++) {
		with_rax(c, X86_CMP, (u64)a->values[i]);
		found[i] = x86_jcc8(&c->b, X86_E);
	}
	fail->at[fail->n++] = x86_jmp32(&c->b);
	while (i)
		x86_land8(&c->b, found[--i]);
}

static void bridged(struct jx *c, const struct module_func *f, const struct prog_site *site)
{
	const struct shape *s = site || (f->checks && !can_check(f)) ? NULL : shape_of(f);
	struct jumps fail = { .n = 0 }, done = { .n = 0 };
	u32 i;

	if (!s) {
		invoke(c, f, site);
		return;
	}
	for (i = 0; i < f->nargs; i++)
		if (f->args[i].check)
			check_arg(c, &f->args[i], &fail);
	shaped(c, f, s);
	if (!fail.n)
		return;
	done.at[done.n++] = x86_jmp32(&c->b);
	land(c, &fail);
	invoke(c, f, NULL);
	land(c, &done);
}

/* ---- all --------------------------------------------------------------------------------------- */

static bool plain(struct jx *c, const struct module_func *f, const struct prog_site *site)
{
	for (u8 n = 0; n < f->nargs; n++) {
		if (!width_ok(f->args[n].width))
			return false;
		if (f->args[n].kind != MODULE_ARG_IGNORE)
			extend_arg(c, c->map[n + 1], &f->args[n]);
	}
	if (site)
		x86_call_site(c, site);
	else
		x86_call_native(c, f->addr);
	extend_ret(c, f);
	return true;
}

void x86_native_call(struct jx *c, const struct bpf_insn *i)
{
	const struct module_func *f = c->u->prog->natives[i->imm];
	const struct prog_site *site;

	if (!f->addr || f->nargs > MODULE_MAX_ARGS ||
	    (f->ret_kind == MODULE_RET_SCALAR && !width_ok(f->ret_width))) {
		c->err = -EINVAL;
		return;
	}
	x86_budget_take(c, c->at, 1);
	x86_before_call(c);
	site = prog_site_at(c->u->prog, c->at);
	if (f->bridged) {
		bridged(c, f, site);
	} else if (!plain(c, f, site)) {
		c->err = -EINVAL;
		return;
	}
	x86_budget_time(c);
	if (site)
		x86_budget_ended(c);
	x86_after_call(c);
}
