/* SPDX-License-Identifier: MIT */
/*
 * Calls in which a thread may be cancelled. glibc makes them, from 2.41 on, in one function (as musl does): it
 * looks at a word of the thread's, puts the arguments where they belong and calls. The handler of the signal
 * that cancels compares the interrupted address with that function's: inside, nothing has been done yet and the
 * thread ends at once; elsewhere it only leaves word. A call carried out in a stub would never be cancelled.
 *
 * So these instructions stay as they are, and carry the call out. What is replaced is who calls the function:
 * programs see the call before it and behind it. With dispatch, a call from there is sent back to where
 * the function begins, by the same way.
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "attach/syscall_site.h"
#include "code/code.h"

#define MAX_POINTS 16
#define STUB_ROOM 32

/* Read in signal handlers: `end` is written last, and first when it goes. */
static struct point {
	_Atomic u64 end; /* behind its `syscall`; 0: free */
	u64 stub;
} points[MAX_POINTS];

/* ---- the function ---------------------------------------------------------------------------------- */

/* What it does, with arguments as for a function: in assembly, the same for years. */
static const struct {
	u8 len, bytes[5];
} moves[] = {
	{ 3, { 0x48, 0x89, 0xf0 } },             /* mov %rsi, %rax */
	{ 3, { 0x48, 0x89, 0xd7 } },             /* mov %rdx, %rdi */
	{ 3, { 0x48, 0x89, 0xce } },             /* mov %rcx, %rsi */
	{ 3, { 0x4c, 0x89, 0xc2 } },             /* mov %r8, %rdx */
	{ 3, { 0x4d, 0x89, 0xca } },             /* mov %r9, %r10 */
	{ 5, { 0x4c, 0x8b, 0x44, 0x24, 0x08 } }, /* mov 8(%rsp), %r8 */
	{ 5, { 0x4c, 0x8b, 0x4c, 0x24, 0x10 } }, /* mov 16(%rsp), %r9 */
	{ 3, { 0x49, 0x89, 0xfb } },             /* mov %rdi, %r11 */
	{ 5, { 0x4c, 0x89, 0x5c, 0x24, 0x08 } }, /* mov %r11, 8(%rsp): the word, which is found there again */
};

static bool has(const struct sc_body *b, u32 call, const u8 *bytes, u32 len)
{
	u32 i;

	for (i = 0; i < call; i++)
		if (b->insns[i].len >= len && (len < 3 || b->insns[i].len == len) &&
		    !memcmp((const u8 *)(uintptr_t)(b->start + b->insns[i].off), bytes, len))
			return true;
	return false;
}

bool sc_is_cancel_point(const struct sc_body *b, u32 call)
{
	static const u8 word[][2] = { { 0x8b, 0x07 }, { 0xf6, 0x07 }, { 0xf7, 0x07 } }; /* mov, test of (%rdi) */
	const u8 *behind = (const u8 *)(uintptr_t)(b->start + b->insns[call].off + 2);
	bool looks = false;
	size_t i;

	if (call + 1 >= b->n || *behind != 0xc3)
		return false;
	for (i = 0; i < ARRAY_SIZE(moves); i++)
		if (!has(b, call, moves[i].bytes, moves[i].len))
			return false;
	for (i = 0; i < ARRAY_SIZE(word); i++)
		looks |= has(b, call, word[i], 2);
	return looks;
}

static int write_stub(u8 *room, u64 func, u64 end)
{
	u64 entry = (u64)(uintptr_t)syscall_cancellable, at = (u64)(uintptr_t)room;
	s32 rel[3] = { (s32)(end - (at + 15)), (s32)(func - (at + 22)), -28 };
	u8 b[28];

	memcpy(b, &entry, 8);
	memcpy(b + 8, "\x4c\x8d\x15", 3); /* lea end, %r10 */
	memcpy(b + 11, &rel[0], 4);
	memcpy(b + 15, "\x4c\x8d\x1d", 3); /* lea func, %r11 */
	memcpy(b + 18, &rel[1], 4);
	memcpy(b + 22, "\xff\x25", 2); /* jmp *entry */
	memcpy(b + 24, &rel[2], 4);
	return area_write(room, b, sizeof(b));
}

/* ---- who calls it ------------------------------------------------------------------------------------ */

/* Bytes that look like a call: are they an instruction? */
static bool is_insn(u64 at)
{
	struct sc_body b = { 0 };
	bool found = false;
	u32 i;

	if (!func_range(at, &b.start, &b.end) || !sc_take_apart(&b))
		return false;
	for (i = 0; i < b.n && !found; i++)
		found = b.start + b.insns[i].off == at && b.insns[i].len == JUMP_SIZE;
	base_free(b.insns);
	return found;
}

static bool is_taken(const struct sc_text *t, u64 at)
{
	size_t i;

	for (i = 0; i < t->nsites; i++)
		if (at < t->sites[i].addr + t->sites[i].len && t->sites[i].addr < at + JUMP_SIZE)
			return true;
	return false;
}

/* The same instruction (call or jump), to the stub. */
static void redirect(struct sc_site *s, u64 at, u64 stub)
{
	s32 rel = (s32)(stub - (at + JUMP_SIZE));

	s->addr = at;
	s->len = JUMP_SIZE;
	memcpy(s->orig, (const void *)(uintptr_t)at, JUMP_SIZE);
	s->now[0] = s->orig[0];
	memcpy(s->now + 1, &rel, 4);
}

/* All of them, or false. The first one's bytes are those of the site numbered `first`. */
static bool find_callers(struct sc_text *t, u64 func, u64 stub, size_t first)
{
	u64 at, to;
	u32 n = 0;
	s32 rel;

	for (at = t->start; at + JUMP_SIZE <= t->end; at++) {
		const u8 *p = (const u8 *)(uintptr_t)at;

		if (*p != 0xe8 && *p != 0xe9)
			continue;
		memcpy(&rel, p + 1, 4);
		to = at + JUMP_SIZE + (u64)(s64)rel;
		if (to != func || !is_insn(at))
			continue;
		if (is_taken(t, at) || (n && !sc_new_site(t, 0)))
			return false;
		redirect(&t->sites[n ? t->nsites - 1 : first], at, stub);
		n++;
	}
	return n > 0;
}

/* ---- the table ---------------------------------------------------------------------------------------- */

static u64 sc_point_at(u64 end)
{
	u32 i;

	for (i = 0; i < MAX_POINTS; i++)
		if (points[i].end == end)
			return points[i].stub;
	return 0;
}

void sc_forget_points(u64 start, u64 end)
{
	u32 i;

	for (i = 0; i < MAX_POINTS; i++)
		if (points[i].end > start && points[i].end <= end)
			points[i].end = 0;
}

static void note_point(u64 end, u64 stub)
{
	u32 i;

	for (i = 0; i < MAX_POINTS; i++)
		if (!points[i].end) {
			points[i].stub = stub;
			points[i].end = end;
			return;
		}
}

int sc_plan_point(struct sc_text *t, u64 func, u64 call)
{
	struct sc_site *site = sc_new_site(t, call);
	size_t first = t->nsites - 1;
	u8 *room;

	if (!site)
		return -ENOMEM;
	room = area_alloc((const void *)(uintptr_t)func, STUB_ROOM);
	if (!room || write_stub(room, func, call + 2))
		return 0;
	note_point(call + 2, (u64)(uintptr_t)room + 8);
	if (!find_callers(t, func, (u64)(uintptr_t)room + 8, first)) {
		t->nsites = first + 1;
		t->sites[first].len = 0;
	}
	return 0;
}

/* ---- a call -------------------------------------------------------------------------------------------- */

/* Called by the assembly. What is left to do is in f->action and f->args. */
void syscall_cancel_enter(struct sc_frame *f)
{
	code_stack_given(f, sizeof(*f));
	switch (f->regs.orig_rax) {
	/* Nobody makes these so: what they need is not here (syscall_special.c). */
	case SYS_clone:
	case SYS_clone3:
	case SYS_fork:
	case SYS_vfork:
	case SYS_rt_sigreturn:
		f->action = SC_CALL;
		f->exit = false;
		break;
	default: syscall_enter(f);
	}
	if (f->action == SC_CALL)
		sc_use_args(f);
}

/*
 * A call from there raised SIGSYS. Registers as they were where the function begins, on the way by the stub; it
 * left the word above its return address. False: it is none of these.
 */
bool sc_begin_anew(void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	u64 stub = sc_point_at((u64)g[REG_RIP]), *sp = (u64 *)(uintptr_t)g[REG_RSP];
	greg_t nr = g[REG_RAX], a1 = g[REG_RDI], a2 = g[REG_RSI], a3 = g[REG_RDX], a4 = g[REG_R10];

	if (!stub)
		return false;
	g[REG_RDI] = (greg_t)sp[1];
	sp[1] = (u64)g[REG_R8];
	sp[2] = (u64)g[REG_R9];
	g[REG_RSI] = nr;
	g[REG_RDX] = a1;
	g[REG_RCX] = a2;
	g[REG_R8] = a3;
	g[REG_R9] = a4;
	g[REG_RIP] = (greg_t)stub;
	return true;
}
