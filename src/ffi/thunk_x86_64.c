/* SPDX-License-Identifier: MIT */
/*
 * Machine code of a shape: a thunk that does its calls and the entry of its closures. Both keep a
 * frame pointer, which is all that unwinding needs (code/pool.h).
 */
#include <string.h>

#include "code/pool.h"
#include "code/x86.h"
#include "ffi/call_int.h"

/* Registers of a calling convention in order of argument passing. */
struct conv {
	u8 gp[6];
	u8 ret_gp[2];
};

static const struct conv sysv = {
	{ X86_RDI, X86_RSI, X86_RDX, X86_RCX, X86_R8, X86_R9 }, { X86_RAX, X86_RDX }
};
static const struct conv win64 = {
	{ X86_RCX, X86_RDX, X86_R8, X86_R9 }, { X86_RAX, X86_RDX }
};

#define MAX_UNROLL 128 /* bytes copied by moves; more by rep movs */

struct gen {
	struct x86_buf b;
	const struct shape *s;
	const struct conv *conv;
	s32 arg_in_rax; /* number of the argument whose address rax holds; -1 */
};

static const u8 endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };

static void prologue(struct gen *g)
{
	x86_bytes(&g->b, endbr64, sizeof(endbr64));
	x86_push(&g->b, X86_RBP);
	x86_mov_rr(&g->b, 8, X86_RBP, X86_RSP);
}

static void leave(struct gen *g)
{
	x86_byte(&g->b, 0xc9);
	x86_ret(&g->b);
}

/* ---- loads and stores of any number of bytes, touching no others --------------------------------- */

/* dst = `size` bytes at m, zero-extended or (1, 2, 4) sign-extended. tmp is another register. */
static void load(struct gen *g, u8 dst, struct x86_mem m, u32 size, bool sx, u8 tmp)
{
	struct x86_mem high = m;
	u32 part;

	if (size == 8 || size == 4 || size == 2 || size == 1) {
		if (sx && size < 8)
			x86_load_sx(&g->b, (int)size, dst, m);
		else
			x86_load(&g->b, (int)size, dst, m);
		return;
	}
	/* 3, 5, 6, 7: two loads that overlap; the bytes that both hold are equal. */
	part = size > 4 ? 4 : 2;
	high.disp += (s32)(size - part);
	x86_load(&g->b, (int)part, dst, m);
	x86_load(&g->b, (int)part, tmp, high);
	x86_shift_ri(&g->b, X86_SHL, 8, tmp, (u8)(8 * (size - part)));
	x86_alu_rr(&g->b, X86_OR, 8, dst, tmp);
}

/* `size` bytes of src, which is used up, to m. */
static void store(struct gen *g, struct x86_mem m, u8 src, u32 size)
{
	while (size) {
		u32 part = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;

		x86_store(&g->b, (int)part, m, src);
		size -= part;
		m.disp += (s32)part;
		if (size)
			x86_shift_ri(&g->b, X86_SHR, 8, src, (u8)(8 * part));
	}
}

/* Copies whole objects: from [rax + src] to [base + dst]; rcx is free, with `rep` also rsi and rdi. */
static void copy(struct gen *g, u32 src, u8 base, s32 dst, u32 size)
{
	u32 at;

	if (size > MAX_UNROLL) {
		x86_lea(&g->b, 8, X86_RSI, x86_at(X86_RAX, (s32)src));
		x86_lea(&g->b, 8, X86_RDI, x86_at(base, dst));
		x86_mov_ri(&g->b, X86_RCX, size, true);
		x86_bytes(&g->b, (const u8[]){ 0xf3, 0xa4 }, 2); /* rep movsb */
		return;
	}
	for (at = 0; at + 8 <= size; at += 8) {
		x86_load(&g->b, 8, X86_RCX, x86_at(X86_RAX, (s32)(src + at)));
		x86_store(&g->b, 8, x86_at(base, dst + (s32)at), X86_RCX);
	}
	if (at < size && size >= 8) {
		x86_load(&g->b, 8, X86_RCX, x86_at(X86_RAX, (s32)(src + size - 8)));
		x86_store(&g->b, 8, x86_at(base, dst + (s32)size - 8), X86_RCX);
	} else if (at < size) {
		load(g, X86_RCX, x86_at(X86_RAX, (s32)src), size, false, X86_RDX);
		x86_store(&g->b, 8, x86_at(base, dst), X86_RCX);
	}
}

/* ---- calls --------------------------------------------------------------------------------------
 *
 * Entered as call_thunk: rdi cif, rsi fn, rdx rvalue, rcx avalue. While arguments are loaded: r11 is
 * fn, r10 avalue, rax the argument at hand. [rbp - 8] is rvalue. Below it a place for a result in
 * memory that nobody wants, copies of arguments passed by reference, the argument area at rsp.
 */

static void arg_address(struct gen *g, u16 arg)
{
	if (g->arg_in_rax != arg)
		x86_load(&g->b, 8, X86_RAX, x86_at(X86_R10, 8 * (s32)arg));
	g->arg_in_rax = arg;
}

/* First what goes to memory, while all registers are free; then vectors, then general registers. */
static void move_to_memory(struct gen *g, const struct move *m)
{
	s32 copies = (s32)g->s->stack;

	switch (m->kind) {
	case MOVE_STACK:
		arg_address(g, m->arg);
		copy(g, 0, X86_RSP, (s32)m->dst, m->bytes);
		break;
	case MOVE_STACK_EXT:
		arg_address(g, m->arg);
		load(g, X86_RCX, x86_at(X86_RAX, 0), m->size, m->is_signed, X86_RDX);
		x86_store(&g->b, 8, x86_at(X86_RSP, (s32)m->dst), X86_RCX);
		break;
	case MOVE_REF_GP:
	case MOVE_REF_STACK:
		arg_address(g, m->arg);
		copy(g, 0, X86_RSP, copies + (s32)m->dst, m->bytes);
		if (m->kind == MOVE_REF_STACK) {
			x86_lea(&g->b, 8, X86_RCX, x86_at(X86_RSP, copies + (s32)m->dst));
			x86_store(&g->b, 8, x86_at(X86_RSP, 8 * (s32)m->size), X86_RCX);
		}
		break;
	default: break;
	}
}

static void move_to_sse(struct gen *g, const struct move *m)
{
	if (m->kind != MOVE_SSE && m->kind != MOVE_SSE_GP)
		return;
	arg_address(g, m->arg);
	if (m->size == 4 || m->size == 8 || m->size == 16) {
		x86_xmm_load(&g->b, m->size, m->reg, x86_at(X86_RAX, (s32)m->src));
		return;
	}
	load(g, X86_RCX, x86_at(X86_RAX, (s32)m->src), m->size, false, X86_RDX);
	x86_xmm_from_gp(&g->b, 8, m->reg, X86_RCX);
}

static void move_to_gp(struct gen *g, const struct move *m)
{
	switch (m->kind) {
	case MOVE_GP:
	case MOVE_SSE_GP:
		arg_address(g, m->arg);
		load(g, g->conv->gp[m->reg], x86_at(X86_RAX, (s32)m->src), m->size, m->is_signed,
		     X86_RAX);
		/* An odd size used rax up. */
		if (m->size & (m->size - 1u))
			g->arg_in_rax = -1;
		break;
	case MOVE_REF_GP:
		x86_lea(&g->b, 8, g->conv->gp[m->reg],
			x86_at(X86_RSP, (s32)(g->s->stack + m->dst)));
		break;
	default: break;
	}
}

static void each_move(struct gen *g, void (*fn)(struct gen *g, const struct move *m))
{
	u32 i;

	for (i = 0; i < g->s->nmoves; i++)
		fn(g, &g->s->moves[i]);
}

/* The address of the result, or of room for one that is not wanted. */
static void result_address(struct gen *g)
{
	size_t wanted;

	x86_load(&g->b, 8, g->conv->gp[0], x86_at(X86_RBP, -8));
	x86_test_rr(&g->b, 8, g->conv->gp[0], g->conv->gp[0]);
	wanted = x86_jcc8(&g->b, X86_NE);
	x86_lea(&g->b, 8, g->conv->gp[0], x86_at(X86_RSP, (s32)(g->s->stack + g->s->copies)));
	x86_land8(&g->b, wanted);
}

/* What the registers hold to [rcx]. */
static void store_result(struct gen *g)
{
	const struct shape *s = g->s;
	u32 i;

	if (s->ret == RET_INT) {
		if (s->ret_size < 8 && s->ret_signed)
			x86_movsx_rr(&g->b, 8, (int)s->ret_size, X86_RAX, X86_RAX);
		else if (s->ret_size < 8)
			x86_movzx_rr(&g->b, (int)s->ret_size, X86_RAX, X86_RAX);
		x86_store(&g->b, 8, x86_at(X86_RCX, 0), X86_RAX);
	} else if (s->ret == RET_X87 || s->ret == RET_X87_2) {
		x86_bytes(&g->b, (const u8[]){ 0xdb, 0x39 }, 2); /* fstp tbyte [rcx] */
		if (s->ret == RET_X87_2)
			x86_bytes(&g->b, (const u8[]){ 0xdb, 0x79, 0x10 }, 3);
	}
	for (i = 0; s->ret == RET_PARTS && i < s->nparts; i++) {
		const struct ret_part *p = &s->parts[i];
		struct x86_mem m = x86_at(X86_RCX, p->off);

		if (!p->sse)
			store(g, m, g->conv->ret_gp[p->reg], p->size);
		else if (p->size == 4 || p->size == 8 || p->size == 16)
			x86_xmm_store(&g->b, p->size, m, p->reg);
		else {
			/* rax is free, as an odd size is in one register alone. */
			x86_gp_from_xmm(&g->b, 8, X86_RAX, p->reg);
			store(g, m, X86_RAX, p->size);
		}
	}
}

/* Arguments in registers, then al, then the function: by `call`, or by a jump as the last thing. */
static void move_and_go(struct gen *g, void (*go)(struct x86_buf *b, u8 reg))
{
	g->arg_in_rax = -1;
	x86_mov_rr(&g->b, 8, X86_R11, X86_RSI);
	if (g->s->nargs)
		x86_mov_rr(&g->b, 8, X86_R10, X86_RCX);
	each_move(g, move_to_memory);
	each_move(g, move_to_sse);
	each_move(g, move_to_gp);
	if (g->s->ret == RET_MEM && go == x86_call_r)
		result_address(g);
	/* System V 3.2.3: al is at least the vector registers used, for a variadic callee. */
	if (g->s->conv == FFI_UNIX64)
		x86_mov_ri(&g->b, X86_RAX, g->s->nsse, true);
	go(&g->b, X86_R11);
}

/*
 * A function that leaves nothing to do after it, with all its arguments in registers, is jumped to. A result in
 * memory that is not wanted needs a place: that goes on behind. True: nothing has to follow.
 */
static bool gen_jump(struct gen *g)
{
	const struct shape *s = g->s;
	size_t framed = 0;
	s32 rel;

	if (s->conv != FFI_UNIX64 || s->stack || s->copies || (s->ret != RET_VOID && s->ret != RET_MEM))
		return false;
	x86_bytes(&g->b, endbr64, sizeof(endbr64));
	if (s->ret == RET_MEM) {
		x86_test_rr(&g->b, 8, X86_RDX, X86_RDX);
		framed = x86_jcc32(&g->b, X86_E);
		x86_mov_rr(&g->b, 8, X86_RDI, X86_RDX);
	}
	move_and_go(g, x86_jmp_r);
	if (framed && !g->b.oom) {
		rel = (s32)(g->b.len - framed - 4);
		memcpy(g->b.data + framed, &rel, 4);
	}
	return s->ret == RET_VOID;
}

static void gen_call(struct gen *g)
{
	const struct shape *s = g->s;
	u32 room = s->stack + s->copies + (s->ret == RET_MEM ? ALIGN_UP(s->ret_size, 16u) : 0);
	size_t unwanted;

	if (gen_jump(g))
		return;
	prologue(g);
	x86_push(&g->b, X86_RDX);
	x86_alu_ri(&g->b, X86_SUB, 8, X86_RSP, (s32)(room + 8));
	move_and_go(g, x86_call_r);
	if (s->ret != RET_VOID && s->ret != RET_MEM) {
		x86_load(&g->b, 8, X86_RCX, x86_at(X86_RBP, -8));
		x86_test_rr(&g->b, 8, X86_RCX, X86_RCX);
		unwanted = x86_jcc8(&g->b, X86_E);
		store_result(g);
		if (s->ret == RET_X87 || s->ret == RET_X87_2) {
			/* The x87 stack must be empty at return: 3.2.1. */
			leave(g);
			x86_land8(&g->b, unwanted);
			x86_bytes(&g->b, (const u8[]){ 0xdd, 0xd8, 0xdd, 0xd8 },
				  s->ret == RET_X87 ? 2 : 4);
		} else {
			x86_land8(&g->b, unwanted);
		}
	}
	leave(g);
}

/* ---- closures -----------------------------------------------------------------------------------
 *
 * Entered by a trampoline as the function itself, the closure in r10. The frame from rsp up: room for
 * the result, the arguments' addresses, the register arguments put together again.
 */

struct frame {
	s32 result, addresses, values;
	s32 size;
};

/* Where argument `arg` lies: in the frame, or where the caller put it. */
static bool arg_in_registers(const struct shape *s, u16 arg)
{
	u32 i;

	for (i = 0; i < s->nmoves; i++)
		if (s->moves[i].arg == arg)
			return s->moves[i].kind == MOVE_GP || s->moves[i].kind == MOVE_SSE;
	return false;
}

static void save_register(struct gen *g, const struct move *m, s32 at)
{
	if (m->kind == MOVE_GP)
		x86_store(&g->b, 8, x86_at(X86_RSP, at), g->conv->gp[m->reg]);
	else
		x86_xmm_store(&g->b, m->size == 16 ? 16 : 8, x86_at(X86_RSP, at), m->reg);
}

/* Saves register arguments and writes the address of each argument. */
static void gather(struct gen *g, const struct frame *f)
{
	const struct shape *s = g->s;
	s32 at = f->values;
	u32 i = 0;
	u16 arg;

	for (i = 0; i < s->nmoves;) {
		arg = s->moves[i].arg;
		if (!arg_in_registers(s, arg)) {
			x86_lea(&g->b, 8, X86_RAX, x86_at(X86_RBP, 16 + (s32)s->moves[i].dst));
			i++;
		} else {
			s32 start = at;

			for (; i < s->nmoves && s->moves[i].arg == arg; i++) {
				save_register(g, &s->moves[i], start + (s32)s->moves[i].src);
				at = start + (s32)s->moves[i].src + (s->moves[i].size == 16 ? 16 : 8);
			}
			x86_lea(&g->b, 8, X86_RAX, x86_at(X86_RSP, start));
			at = ALIGN_UP(at, 16);
		}
		x86_store(&g->b, 8, x86_at(X86_RSP, f->addresses + 8 * (s32)arg), X86_RAX);
	}
}

static void load_result(struct gen *g, s32 at)
{
	const struct shape *s = g->s;
	u32 i;

	switch (s->ret) {
	case RET_INT:
		load(g, X86_RAX, x86_at(X86_RSP, at), s->ret_size, s->ret_signed, X86_RDX);
		break;
	case RET_MEM: x86_load(&g->b, 8, X86_RAX, x86_at(X86_RBP, -8)); break;
	case RET_X87_2:
		x86_bytes(&g->b, (const u8[]){ 0xdb, 0x6c, 0x24, (u8)(at + 16) }, 4); /* fld tbyte */
		/* fall through */
	case RET_X87: x86_bytes(&g->b, (const u8[]){ 0xdb, 0x6c, 0x24, (u8)at }, 4); break;
	case RET_PARTS:
		for (i = 0; i < s->nparts; i++) {
			struct x86_mem m = x86_at(X86_RSP, at + s->parts[i].off);

			if (s->parts[i].sse)
				x86_xmm_load(&g->b, s->parts[i].size == 16 ? 16 : 8, s->parts[i].reg, m);
			else
				x86_load(&g->b, 8, g->conv->ret_gp[s->parts[i].reg], m);
		}
		break;
	default: break;
	}
}

static void gen_entry(struct gen *g)
{
	const struct shape *s = g->s;
	struct frame f;
	u32 i;

	f.result = 0;
	/* Room for a result also where there is none: handlers of void functions that write one exist. */
	f.addresses = s->ret == RET_MEM ? 0 : 32;
	f.values = f.addresses + ALIGN_UP(8 * (s32)s->nargs, 16);
	f.size = f.values + 16;
	for (i = 0; i < s->nmoves; i++)
		f.size += 16;
	prologue(g);
	x86_alu_ri(&g->b, X86_SUB, 8, X86_RSP, f.size + 16);
	if (s->ret == RET_MEM)
		x86_store(&g->b, 8, x86_at(X86_RBP, -8), g->conv->gp[0]);
	gather(g, &f);
	if (s->ret == RET_MEM)
		x86_mov_rr(&g->b, 8, X86_RSI, X86_RDI);
	else
		x86_mov_rr(&g->b, 8, X86_RSI, X86_RSP);
	x86_lea(&g->b, 8, X86_RDX, x86_at(X86_RSP, f.addresses));
	x86_load(&g->b, 8, X86_RDI, x86_at(X86_R10, offsetof(ffi_closure, cif)));
	x86_load(&g->b, 8, X86_RCX, x86_at(X86_R10, offsetof(ffi_closure, user_data)));
	x86_load(&g->b, 8, X86_RAX, x86_at(X86_R10, offsetof(ffi_closure, fun)));
	x86_call_r(&g->b, X86_RAX);
	load_result(g, f.result);
	leave(g);
}

static const void *finish(struct gen *g)
{
	const void *code = g->b.oom ? NULL : code_pool_add(g->b.data, g->b.len);

	base_free(g->b.data);
	g->b = (struct x86_buf){ 0 };
	return code;
}

void call_compile(const struct shape *s, call_thunk *thunk, call_entry *entry)
{
	struct gen g = { .s = s, .conv = s->conv == FFI_UNIX64 ? &sysv : &win64, .arg_in_rax = -1 };

	*thunk = NULL;
	*entry = NULL;
	/* Frames of more than a page would have to probe the stack; they are rare: the slow path. */
	if (s->stack + s->copies + s->ret_size > 3072 || s->nargs > 256)
		return;
	gen_call(&g);
	*(const void **)thunk = finish(&g);
	if (s->conv != FFI_UNIX64)
		return;
	gen_entry(&g);
	*(const void **)entry = finish(&g);
}
