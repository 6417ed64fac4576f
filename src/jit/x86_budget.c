/* SPDX-License-Identifier: MIT */
/*
 * Programs with limits: code that counts the budget of prog/limit.h down. It lies in the thread's static
 * storage, at a fixed distance from fs (initial-exec, ELF TLS 3.4.1).
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "jit/x86_int.h"
#include "prog/limit.h"

void jit_budget_slow(void); /* budget_x86_64.S */

static void go_slow(struct jx *c)
{
	x86_lea_label(c, TMP1, x86_label_ended(c, c->n));
	x86_mov_ri(&c->b, TMP2, (u64)(uintptr_t)jit_budget_slow, true);
	x86_call_r(&c->b, TMP2);
}

void x86_budget_take(struct jx *c, u32 at, u32 insns)
{
	const struct prog *p = c->u->prog;
	s32 n = (s32)insns;
	size_t over;

	if (!p->limits)
		return;
	x86_on_field(&c->b, "\x64\x48\x81\x2c\x25", 5, &prog_budget.left); /* sub qword fs:[left], n */
	x86_bytes(&c->b, (const char *)&n, sizeof(n));
	if (p->facts && p->facts[at].held)
		return;
	over = x86_jcc8(&c->b, X86_NS);
	go_slow(c);
	x86_land8(&c->b, over);
}

void x86_budget_time(struct jx *c)
{
	const struct prog *p = c->u->prog;

	if (p->limits && p->limits->time_ns && !(p->facts && p->facts[c->at].held))
		go_slow(c);
}

void x86_budget_ended(struct jx *c)
{
	if (!c->u->prog->limits)
		return;
	x86_on_field(&c->b, "\x64\x83\x3c\x25", 4, &prog_budget.ended); /* cmp dword fs:[ended], 0 */
	x86_bytes(&c->b, "\0", 1);
	x86_jcc_label(c, X86_NE, x86_label_ended(c, c->n));
}

void x86_ended_stub(struct jx *c)
{
	x86_bind(c, x86_label_ended(c, c->n));
	if (!c->u->prog->limits)
		return;
	/* A helper whose callback this is stops at 1; nobody else looks at it. */
	x86_mov_ri(&c->b, X86_RAX, 1, false);
	x86_jmp_label(c, x86_label_exit(c, c->n));
}
