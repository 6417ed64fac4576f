/* SPDX-License-Identifier: MIT */
/*
 * System calls of code that has no instruction to replace: made while it runs, of languages that do
 * without libc, or where a jump does not fit. Syscall user dispatch (Linux 5.11, prctl(2)) makes the
 * kernel raise SIGSYS for each call that does not come from our own section; the handler goes on where
 * the stubs lead. That costs microseconds a call, and all others of the thread some nanoseconds, so that
 * it is for processes that have such code.
 *
 * The kernel keeps it by thread and ends it at fork and clone: threads begin when they come by a stub, and end it
 * at their next call when nobody is interested any more. They are not told by a signal: one that waits takes the
 * place of that of a call, which would be lost. Where there are no stubs the task that stops them begins it
 * (world.c, Linux 6.4). Compiled without vector registers.
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "attach/syscall_site.h"
#include "bpf/sys.h"
#include "code/code.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#define PR_SYS_DISPATCH_ON 1
#endif
#ifndef SYS_USER_DISPATCH
#define SYS_USER_DISPATCH 2 /* si_code of SIGSYS */
#endif

_Atomic bool syscall_dispatching, syscall_dispatched;
_Thread_local u8 syscall_selector;
static bool claimed;
static u64 claimed_act[4]; /* SIGSYS, for the kernel: handler, flags, restorer, mask */

static long set(bool on)
{
	u64 start = (u64)(uintptr_t)__start_ferry_calls, n = (u64)(uintptr_t)__stop_ferry_calls - start;

	syscall_selector = 1;
	return on ? code_syscall(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, (long)start,
				 (long)n, (long)&syscall_selector) :
		    code_syscall(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0);
}

/* ---- the handler --------------------------------------------------------------------------------- */

static bool on_call(siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	u64 *sp;

	if (info->si_code != SYS_USER_DISPATCH)
		return false;
	if (!syscall_dispatching) {
		set(false);
		if (thread_self)
			thread_self->dispatched = false;
		g[REG_RIP] -= 2; /* again, by itself */
		return true;
	}
	if (sc_begin_anew(context))
		return true;
	/* As a stub would: its address would be the one to go on at. */
	g[REG_RCX] = g[REG_RIP];
	g[REG_RSP] -= 128 + 8;
	sp = (u64 *)(uintptr_t)g[REG_RSP];
	*sp = (u64)g[REG_RIP];
	g[REG_RIP] = (greg_t)(uintptr_t)syscall_entry;
	return true;
}

/* ---- threads --------------------------------------------------------------------------------------- */

/* The kernel kills who gets the signal while it is blocked. */
static bool begin(void)
{
	u64 owned = code_signals_owned(), old = 0;

	SYS(SYS_rt_sigprocmask, SIG_UNBLOCK, &owned, &old, sizeof(owned));
	code_mask_change(SIG_BLOCK, old);
	return !set(true);
}

void syscall_dispatch_thread(struct thread *t)
{
	bool on = syscall_dispatching;

	if (t->dispatched != on && (on ? begin() : !set(false)))
		t->dispatched = on;
}

/*
 * A child may begin without handlers (CLONE_CLEAR_SIGHAND, posix_spawn(3) of glibc from 2.38 on), and the
 * first call would kill it. The table is its own then: the handler is put back.
 */
void syscall_dispatch_child(void)
{
	u64 act[4] = { 0 };

	if (!syscall_dispatching)
		return;
	if (SYS(SYS_rt_sigaction, SIGSYS, 0, act, sizeof(u64)) ||
	    (act[0] != claimed_act[0] && SYS(SYS_rt_sigaction, SIGSYS, claimed_act, 0, sizeof(u64))))
		return;
	begin();
}

/* Handlers that block it while they run were made before. */
static void open_masks(void)
{
	u64 act[4], owned = code_signals_owned(); /* handler, flags, restorer, mask */
	int sig;

	for (sig = 1; sig < 65; sig++) {
		if (SYS(SYS_rt_sigaction, sig, 0, act, sizeof(u64)) || !(act[3] & owned))
			continue;
		act[3] &= ~owned;
		SYS(SYS_rt_sigaction, sig, act, 0, sizeof(u64));
	}
}

int syscall_dispatch_claim(void)
{
	int err = claimed ? 0 : code_signal_claim(SIGSYS, on_call);

	if (!err && !claimed)
		err = (int)SYS(SYS_rt_sigaction, SIGSYS, 0, claimed_act, sizeof(u64));
	claimed = !err;
	return err;
}

void syscall_dispatch(bool on)
{
	struct thread *t;

	if (!claimed || syscall_dispatching == on)
		return;
	if (on)
		open_masks();
	syscall_dispatching = on;
	t = thread_self ? thread_self : thread_first();
	if (t)
		syscall_dispatch_thread(t);
}

int syscall_dispatch_all(void)
{
	const u8 *self;
	struct world_dispatch d = { (u64)(uintptr_t)__start_ferry_calls,
				    (u64)(__stop_ferry_calls - __start_ferry_calls), 0 };

	__asm__("mov %%fs:0, %0" : "=r"(self)); /* ELF handling of thread-local storage, 4.4.6 */
	d.selector = &syscall_selector - self;
	return world_dispatch(&d);
}

/* ---- calls that would block the signal --------------------------------------------------------------- */

static void use_copy(struct sc_frame *f, int arg, const void *copy)
{
	sc_use_args(f);
	f->args[arg] = (u64)(uintptr_t)copy;
}

static u64 arg_of(const struct sc_frame *f, int arg)
{
	const u64 args[] = { f->regs.rdi, f->regs.rsi, f->regs.rdx, f->regs.r10, f->regs.r8, f->regs.r9 };

	return args[arg];
}

/* Of a call that changes a mask: `room` has the new one in the kernel's words, then what was asked for. */
#define ASKED 5
#define CHANGES 6

static void let_through_action(struct sc_frame *f)
{
	int sig = (int)f->regs.rdi;
	u64 owned = code_signals_owned();

	f->room[CHANGES] = f->regs.rsi && !code_copy_safe(f->room, (const void *)(uintptr_t)f->regs.rsi, 32);
	f->room[ASKED] = f->room[3];
	if (!f->room[CHANGES])
		return;
	/* Who does so without sigaction(3), which knows: a child that begins a program. */
	if (sig == SIGSYS && code_fault_owns(sig)) {
		f->regs.rax = 0;
		f->action = SC_SKIP;
	} else if (f->room[3] & owned) {
		f->room[3] &= ~owned;
		use_copy(f, 1, f->room);
	}
}

static void let_through_mask(struct sc_frame *f)
{
	u64 owned = code_signals_owned();

	f->room[CHANGES] = f->regs.rsi && !code_copy_safe(f->room, (const void *)(uintptr_t)f->regs.rsi, 8);
	f->room[ASKED] = f->room[0];
	if (!f->room[CHANGES] || f->regs.rdi == SIG_UNBLOCK || !(f->room[0] & owned))
		return;
	f->room[0] &= ~owned;
	use_copy(f, 1, f->room);
}

/* What was set is shown to who asks, though it is not so. */
static void show(u64 at, u64 bits)
{
	u64 mask;

	if (!bits || code_copy_safe(&mask, (const void *)(uintptr_t)at, sizeof(mask)))
		return;
	mask |= bits;
	code_copy_safe((void *)(uintptr_t)at, &mask, sizeof(mask));
}

void syscall_mask_changed(struct sc_frame *f)
{
	int sig = (int)f->regs.rdi;

	if (f->regs.rax)
		return;
	if (f->regs.orig_rax == SYS_rt_sigprocmask) {
		if (f->room[CHANGES] && code_mask_is_libcs(sig, f->room[ASKED]))
			return;
		if (f->quiet == SC_OWN) { /* it puts back what was */
			if (f->room[CHANGES] && sig == SIG_SETMASK)
				code_mask_change(SIG_BLOCK, f->room[ASKED]);
			return;
		}
		if (f->regs.rdx)
			show(f->regs.rdx, code_mask_believed());
		if (f->room[CHANGES])
			code_mask_change(sig, f->room[ASKED]); /* `how` is where signals of actions are */
	} else if (f->quiet != SC_OWN) {
		if (f->regs.rdx)
			show(f->regs.rdx + 24, code_action_believed(sig));
		if (f->room[CHANGES])
			code_action_change(sig, f->room[ASKED]);
	}
}

/* One word that the argument leads to, without `bits`. */
static void take_out(struct sc_frame *f, int arg, u64 bits)
{
	if (!arg_of(f, arg) || code_copy_safe(f->room, (const void *)(uintptr_t)arg_of(f, arg), 8) ||
	    !(f->room[0] & bits))
		return;
	f->room[0] &= ~bits;
	use_copy(f, arg, f->room);
}

void syscall_let_through(struct sc_frame *f)
{
	u64 nr = f->regs.orig_rax, owned = code_signals_owned();

	switch (nr) {
	case SYS_rt_sigaction: let_through_action(f); break;
	case SYS_rt_sigprocmask: let_through_mask(f); break;
	case SYS_rt_sigsuspend: take_out(f, 0, owned); break;
	case SYS_ppoll: take_out(f, 3, owned); break;
	case SYS_epoll_pwait:
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
#endif
		take_out(f, 4, owned);
		break;
	/* Those are not blocked: what is waited for here is Ferry's own clock. */
	case SYS_rt_sigtimedwait: take_out(f, 0, code_signals_kept()); break;
	case SYS_signalfd:
	case SYS_signalfd4: take_out(f, 1, code_signals_kept()); break;
	case SYS_pselect6:
		if (!f->regs.r9 || code_copy_safe(f->room, (const void *)(uintptr_t)f->regs.r9, 16) ||
		    code_copy_safe(&f->room[2], (const void *)(uintptr_t)f->room[0], 8) || !(f->room[2] & owned))
			return;
		f->room[2] &= ~owned;
		f->room[0] = (u64)(uintptr_t)&f->room[2];
		use_copy(f, 5, f->room);
	}
}
