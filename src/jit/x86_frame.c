/* SPDX-License-Identifier: MIT */
/*
 * Frames. From the top: return address, address of the tail call counter (if the function may come
 * to a tail call), saved registers, the eBPF stack. A small stack of a function that calls nothing
 * stays below rsp, in the red zone (SysV ABI 3.2.2).
 *
 * Functions follow the SysV calling convention: r1 to r5 are its first arguments, r0 its result, r6
 * to r9 its callee-saved registers, so that native code calls them directly. Functions that may
 * come to a tail call also take the address of the counter in rax.
 */
#include "jit/x86_int.h"

#define RED_ZONE 128

static bool callee_saved(u8 reg)
{
	return reg == X86_RBX || reg == X86_RBP || (reg >= X86_R12 && reg <= X86_R15);
}

static void save_register(struct jx *c, u8 reg)
{
	if (callee_saved(reg) && c->nsaved < ARRAY_SIZE(c->saved)) {
		x86_push(&c->b, reg);
		c->saved[c->nsaved++] = reg;
	}
}

void x86_prologue(struct jx *c)
{
	const struct jit_func *f = c->f;
	u32 pushed;

	c->nsaved = 0;
	c->exit_done = false;
	if (f->tail)
		x86_push(&c->b, X86_RAX);
	for (u8 r = 6; r < 10; r++)
		if (f->written & JIT_BIT(r))
			save_register(c, c->map[r]);
	for (u8 n = 0; n < f->nslots; n++)
		if (f->used & JIT_BIT(JIT_SLOT0 + n))
			save_register(c, c->map[JIT_SLOT0 + n]);
	pushed = 8 * (c->nsaved + f->tail);
	c->stack = ALIGN_UP((u32)f->stack, 16);
	if (f->calls) { /* rsp is a multiple of 16 at a call */
		c->stack += (pushed + 8) % 16;
	} else if (c->stack <= RED_ZONE) {
		c->fp_disp = 0;
		c->stack = 0;
	}
	if (c->stack)
		x86_alu_ri(&c->b, X86_SUB, 8, X86_RSP, (s32)c->stack);
	c->fp_disp = (s32)c->stack;
	c->tail_disp = (s32)(c->stack + 8 * c->nsaved);
	/* A promoted slot that may be read before it is written holds 0, not what was there. */
	for (u8 n = 0; n < f->nslots; n++) {
		u8 reg = c->map[JIT_SLOT0 + n];

		if (c->u->live[f->start] & JIT_BIT(JIT_SLOT0 + n))
			x86_alu_rr(&c->b, X86_XOR, 4, reg, reg);
	}
	if (c->n)
		x86_budget_take(c, f->start, f->end - f->start);
}

static void leave(struct jx *c)
{
	if (c->stack)
		x86_alu_ri(&c->b, X86_ADD, 8, X86_RSP, (s32)c->stack);
	for (u8 n = c->nsaved; n-- > 0;)
		x86_pop(&c->b, c->saved[n]);
}

void x86_epilogue(struct jx *c)
{
	leave(c);
	if (c->f->tail)
		x86_pop(&c->b, X86_RCX);
}

void x86_epilogue_tail(struct jx *c)
{
	leave(c);
	x86_pop(&c->b, X86_RAX);
}

/* Calls function `func` with a fresh counter of tail calls; the stack stays aligned. */
static void call_counting(struct jx *c, u32 func)
{
	x86_bytes(&c->b, "\x6a\x00", 2); /* push 0 */
	x86_mov_rr(&c->b, 8, X86_RAX, X86_RSP);
	x86_call_label(c, x86_label_entry(c, func));
	x86_pop(&c->b, X86_RCX);
	x86_ret(&c->b);
}

/* u64 run(const struct prog *p, void *ctx), before the main program, into which it may fall. */
void x86_entry_stub(struct jx *c)
{
	x86_bind(c, x86_label_run(c));
	x86_mov_rr(&c->b, 8, X86_RDI, X86_RSI);
	if (c->u->funcs[0].tail)
		call_counting(c, 0);
}

void x86_callback_stub(struct jx *c, u32 func)
{
	x86_bind(c, x86_label_callback(c, func));
	if (c->u->funcs[func].tail)
		call_counting(c, func);
}
