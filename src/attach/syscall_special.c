/* SPDX-License-Identifier: MIT */
/*
 * System calls after which the stack or the thread is another one, and those that make new code: what
 * it takes that they come back to where they were called. And that which would close Ferry's
 * descriptors. Compiled without vector registers.
 */
#include <errno.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "attach/syscall_int.h"
#include "bpf/sys.h"
#include "code/code.h"

#define FORK_STACK ((size_t)64 << 10)
/* Of `room`: what a new thread is to believe blocked, and what its parent was inside of, which waits for it. */
#define MASK  13
#define BUSY  12
#define DEPTH 11 /* and SHORT */
#define SHORT (1ull << 32)

/* No memcpy(): libc's may use vector registers. */
static void copy_words(void *to, const void *from, size_t n)
{
	n /= 8;
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static struct sc_frame *fail(struct sc_frame *f, int err)
{
	f->regs.rax = (u64)(s64)err;
	f->action = SC_SKIP;
	return f;
}

void sc_use_args(struct sc_frame *f)
{
	f->args[0] = f->regs.rdi;
	f->args[1] = f->regs.rsi;
	f->args[2] = f->regs.rdx;
	f->args[3] = f->regs.r10;
	f->args[4] = f->regs.r8;
	f->args[5] = f->regs.r9;
	f->action = SC_CALL_ARGS;
}

/* ---- children -------------------------------------------------------------------------------------- */

/*
 * A child that shares this stack (vfork) goes on in the caller's frames and overwrites ours, while the
 * parent waits. So both start from a frame elsewhere, on a stack that is kept with the thread.
 */
static struct sc_frame *share_stack(struct sc_frame *f)
{
	struct thread *t = thread_self ? thread_self : thread_first();
	struct sc_frame *copy;
	long at;

	if (!t || t->fork_depth == ARRAY_SIZE(t->fork_stack))
		return fail(f, -EAGAIN);
	if (!t->fork_stack[t->fork_depth]) {
		at = SYS(SYS_mmap, 0, FORK_STACK, 3 /* read, write */, 0x22 /* private, anonymous */);
		if (at < 0 && at > -4096)
			return fail(f, -ENOMEM);
		t->fork_stack[t->fork_depth] = (u8 *)at;
	}
	copy = (void *)(t->fork_stack[t->fork_depth] + FORK_STACK - sizeof(*copy));
	f->depth = (u8)t->fork_depth++;
	t->care |= CARE_FORK;
	f->exit = true;
	copy_words(copy, f, sizeof(*f));
	copy->home = f;
	return copy;
}

/* A child with a stack of its own finds a copy of the frame at its end: true when it could be put there. */
static bool own_stack(struct sc_frame *f, u64 *sp)
{
	struct sc_frame *child = (struct sc_frame *)(uintptr_t)(*sp - sizeof(*f) - 128);
	u64 mine = f->regs.rsp;
	int err;

	f->regs.rsp = *sp;
	err = code_copy_safe(child, f, sizeof(*f));
	f->regs.rsp = mine;
	*sp = (u64)(uintptr_t)child;
	return !err;
}

/*
 * A child that shares the thread's storage runs programs in its name, which has to be known by then: by its
 * number, which the child has not.
 */
static void make_known(void)
{
	if (!thread_self)
		thread_first();
	if (!sys_runner.serial)
		sys_run_list_self();
}

/*
 * Threads of libc have thread-local storage as we know it. Storage that somebody else makes for a
 * child is none that Ferry may look at.
 */
static void child_kind(struct sc_frame *f, u64 flags)
{
	struct thread *t;

	lend_flags(flags);
	if (flags & CLONE_VM && !(flags & CLONE_SETTLS))
		make_known();
	t = thread_self;
	if (flags & CLONE_SETTLS && !syscall_is_libc(f->regs.rip))
		f->child |= SC_CHILD_FOREIGN;
	if (flags & CLONE_SETTLS && !f->child)
		f->child |= SC_CHILD_THREAD;
	f->room[MASK] = code_mask_believed();
	f->room[BUSY] = t ? t->busy : 0;
	f->room[DEPTH] = sys_runner.depth | (sys_short_inside() ? SHORT : 0);
	if (flags & CLONE_VM && flags & CLONE_VFORK && !(flags & CLONE_SETTLS))
		f->child |= SC_CHILD_WAITS;
	/* It runs at the same time with the same storage. (Ferry's own makes no such calls: world.c.) */
	if (t && !f->quiet && flags & CLONE_VM && !(flags & (CLONE_SETTLS | CLONE_VFORK)))
		t->care |= CARE_SHARED;
	if (flags & CLONE_VM && !(flags & (CLONE_SETTLS | CLONE_VFORK)))
		f->child |= SC_CHILD_MUTE;
}

/* For who tells of the child. */
static void note_birth(struct sc_frame *f, u64 flags)
{
	if (!(syscall_want[f->regs.orig_rax] & SC_LIFE) || f->quiet)
		return;
	/* Ferry's threads of a child are made while fork(3) is under way there. */
	if (sys_inside && flags & CLONE_THREAD)
		return;
	f->birth.tid = (u32)SYS(SYS_gettid, 0, 0, 0, 0);
	f->birth.tgid = (u32)SYS(SYS_getpid, 0, 0, 0, 0);
	f->birth.flags = flags & ~0xffull; /* without CSIGNAL */
}

static struct sc_frame *call_clone(struct sc_frame *f)
{
	u64 flags = f->regs.rdi;

	note_birth(f, (u32)flags);
	child_kind(f, flags);
	if (!f->regs.rsi)
		return flags & CLONE_VM ? share_stack(f) : f;
	sc_use_args(f);
	return own_stack(f, &f->args[1]) ? f : fail(f, -EFAULT);
}

static struct sc_frame *call_clone3(struct sc_frame *f)
{
	struct clone_args *a = (struct clone_args *)f->room;
	u64 size = f->regs.rsi, sp;

	/* What the kernel will refuse, it refuses itself; more than we know it may know too. */
	if (size < CLONE_ARGS_SIZE_VER0)
		return f;
	if (size > DEPTH * sizeof(f->room[0]))
		return fail(f, -E2BIG);
	if (code_copy_safe(a, (const void *)(uintptr_t)f->regs.rdi, size))
		return fail(f, -EFAULT);
	note_birth(f, a->flags);
	child_kind(f, a->flags);
	if (!a->stack)
		return a->flags & CLONE_VM ? share_stack(f) : f;
	if (!a->stack_size)
		return f; /* EINVAL */
	sc_use_args(f);
	f->args[0] = (u64)(uintptr_t)a;
	sp = a->stack + a->stack_size;
	if (!own_stack(f, &sp) || sp <= a->stack)
		return fail(f, -EINVAL);
	a->stack_size = sp - a->stack;
	return f;
}

/* ---- ends ------------------------------------------------------------------------------------------- */

/*
 * The frame of the signal is where the program's stack pointer says, and what it holds becomes the
 * registers: there is no way back here. The kernel's sys_exit has their rax, and no number.
 */
static struct sc_frame *call_sigreturn(struct sc_frame *f)
{
	ucontext_t *uc = (ucontext_t *)(uintptr_t)f->regs.rsp;
	struct sc_frame left = { .quiet = f->quiet };
	greg_t g[NGREG];
	u64 mask;

	f->action = SC_SIGRETURN;
	/* What was blocked before SIGSYS was ours. */
	if (syscall_dispatched && !code_copy_safe(&mask, &uc->uc_sigmask, sizeof(mask)) &&
	    mask & code_signals_owned()) {
		mask &= ~code_signals_owned();
		code_copy_safe(&uc->uc_sigmask, &mask, sizeof(mask));
	}
	if (f->quiet || code_copy_safe(g, uc->uc_mcontext.gregs, sizeof(g)))
		return f;
	left.regs.r8 = (u64)g[REG_R8];
	left.regs.r9 = (u64)g[REG_R9];
	left.regs.r10 = (u64)g[REG_R10];
	left.regs.r11 = (u64)g[REG_R11];
	left.regs.r12 = (u64)g[REG_R12];
	left.regs.r13 = (u64)g[REG_R13];
	left.regs.r14 = (u64)g[REG_R14];
	left.regs.r15 = (u64)g[REG_R15];
	left.regs.rdi = (u64)g[REG_RDI];
	left.regs.rsi = (u64)g[REG_RSI];
	left.regs.rbp = (u64)g[REG_RBP];
	left.regs.rbx = (u64)g[REG_RBX];
	left.regs.rdx = (u64)g[REG_RDX];
	left.regs.rax = (u64)g[REG_RAX];
	left.regs.rcx = (u64)g[REG_RCX];
	left.regs.rsp = (u64)g[REG_RSP];
	left.regs.rip = (u64)g[REG_RIP];
	left.regs.eflags = (u64)g[REG_EFL];
	left.regs.cs = 0x33;
	left.regs.ss = 0x2b;
	left.regs.orig_rax = ~0ul;
	if (syscall_want[SYS_rt_sigreturn] & SC_EXIT)
		syscall_exit(&left);
	return f;
}

/* ---- descriptors ------------------------------------------------------------------------------------- */

static void next_own(void *from, void *own)
{
	*(unsigned int *)own = sys_fd_next_internal(*(unsigned int *)from);
}

/*
 * By libc itself in a child of posix_spawn(3), which hook_close_range() does not see: Ferry's own descriptors
 * stay, as the child's programs want to wake who waits for what they write. Close-on-exec they are.
 */
static struct sc_frame *call_close_range(struct sc_frame *f)
{
	unsigned int first = (unsigned int)f->regs.rdi, last = (unsigned int)f->regs.rsi, own, from;
	u64 at;
	long ret = 0;

	if (f->quiet || first > last || f->regs.rdx & CLOSE_RANGE_CLOEXEC || !sys_fd_any_internal())
		return f;
	for (at = first; !ret && at <= last; at = (u64)own + 1) {
		from = (unsigned int)at;
		code_keep_vectors(next_own, &from, &own);
		if (own > last || own == ~0u) {
			ret = SYS(SYS_close_range, at, last, f->regs.rdx, 0);
			break;
		}
		if (own > at)
			ret = SYS(SYS_close_range, at, own - 1, f->regs.rdx, 0);
	}
	f->regs.rax = (u64)ret;
	f->action = SC_SKIP;
	return f;
}

struct sc_frame *syscall_special(struct sc_frame *f)
{
	switch (f->regs.orig_rax) {
	case SYS_clone: return call_clone(f);
	case SYS_clone3: return call_clone3(f);
	case SYS_vfork:
		note_birth(f, CLONE_VFORK | CLONE_VM);
		child_kind(f, CLONE_VM | CLONE_VFORK);
		return share_stack(f);
	case SYS_rt_sigreturn: return call_sigreturn(f);
	case SYS_exit:
		/* Its destructors have run: nobody else would free the record. */
		if (thread_self && !thread_self->busy)
			thread_end();
		return f;
	case SYS_fork: note_birth(f, 0); return f;
	case SYS_close_range: return call_close_range(f);
	case SYS_mmap:
	case SYS_mprotect: return f;
	default: syscall_let_through(f); return f;
	}
}

static bool makes_child(u64 nr)
{
	return nr == SYS_clone || nr == SYS_clone3 || nr == SYS_fork || nr == SYS_vfork;
}

void syscall_returned(struct sc_frame *f, struct sc_frame **go_on)
{
	struct thread *t = thread_self;

	if (!makes_child(f->regs.orig_rax)) {
		if ((f->regs.orig_rax == SYS_mmap || f->regs.orig_rax == SYS_mprotect) &&
		    !syscall_dispatching && sc_is_new_code(f))
			syscall_want_dispatch();
		if (f->regs.orig_rax == SYS_rt_sigprocmask || f->regs.orig_rax == SYS_rt_sigaction)
			syscall_mask_changed(f);
		return;
	}
	if (!f->regs.rax) {
		if (f->child & SC_CHILD_THREAD)
			code_mask_inherit(f->room[MASK]);
		if (!(f->child & SC_CHILD_FOREIGN))
			syscall_dispatch_child();
		/* A thread of Ferry's own is so from its first call on. */
		if (f->quiet == SC_OWN && f->child & SC_CHILD_THREAD)
			sys_inside++;
		return;
	}
	/* The parent. The child may have been killed in a hook, with this record, and in a program. */
	if (t && f->child & SC_CHILD_WAITS) {
		t->busy = f->room[BUSY];
		sys_run_left((u32)f->room[DEPTH]);
		if (sys_short_inside() && !(f->room[DEPTH] & SHORT))
			sys_short_leave();
	}
	if (!f->home)
		return;
	/* The child no longer uses the stack, which is where we were. */
	if (t)
		t->fork_depth = f->depth;
	if (t && !f->depth)
		t->care &= ~(u32)CARE_FORK;
	copy_words(f->home, f, sizeof(*f));
	(*go_on)->home->home = NULL;
	*go_on = f->home;
}
