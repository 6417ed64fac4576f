/* SPDX-License-Identifier: MIT */
/*
 * Signals that are never blocked, as instructions of ours raise them (code_signal_claim), and what programs that
 * blocked them are told. Compiled without vector registers: system calls come here.
 */
#include <signal.h>

#include "code/code.h"

static _Thread_local u64 believed __attribute__((tls_model("initial-exec")));
static _Thread_local bool libcs __attribute__((tls_model("initial-exec")));
/* The program's handler of a signal that we own, if one runs: the signals that it has blocked meanwhile. */
static _Thread_local struct {
	u64 sp;
	u32 bits, depth; /* those that we own are among the first 32 */
} handler __attribute__((tls_model("initial-exec")));
static _Atomic u64 actions[65];
static _Atomic u64 own;

#define DEEP ((u64)1 << 20) /* what a handler calls is this near */
#define MANY 32             /* handlers that fault themselves, one inside the other */

/* Or it was left by longjmp(3), whose doing nobody sees. */
static bool is_handling(u64 sp)
{
	return handler.depth && handler.sp - sp < DEEP;
}

u64 code_mask_believed(void)
{
	return believed | (is_handling((u64)(uintptr_t)__builtin_frame_address(0)) ? handler.bits : 0);
}

bool code_handler_begin(struct code_handler *before, u64 frame, u64 sp, u64 bits)
{
	if (!is_handling(sp))
		handler.bits = handler.depth = 0;
	*before = (struct code_handler){ believed, handler.sp, handler.bits, handler.depth };
	handler.sp = frame;
	handler.bits |= (u32)(bits & code_signals_owned());
	return ++handler.depth < MANY;
}

void code_handler_end(const struct code_handler *before)
{
	believed = before->believed;
	handler.sp = before->sp;
	handler.bits = before->bits;
	handler.depth = before->depth;
}

s64 code_mask_place(void)
{
#if defined(__x86_64__)
	const u8 *self;

	__asm__("mov %%fs:0, %0" : "=r"(self)); /* ELF handling of thread-local storage, 4.4.6 */
	return (const u8 *)&believed - self;
#else
	return 0; /* there is no src/attach */
#endif
}

void code_mask_change(int how, u64 set)
{
	set &= code_signals_owned();
	if (how == SIG_BLOCK)
		believed |= set;
	else if (how == SIG_UNBLOCK)
		believed &= ~set;
	else
		believed = set;
	handler.bits &= (u32)(how == SIG_BLOCK ? ~0ull : how == SIG_UNBLOCK ? ~set : set);
}

void code_mask_inherit(u64 mask)
{
	believed = mask;
	libcs = true;
}

/*
 * libc blocks everything for a moment when it makes a thread, and puts back what was: that is not for the
 * program to see, and not to be mixed up with what it believes. No program has all 64 bits: sigfillset(3).
 */
bool code_mask_is_libcs(int how, u64 set)
{
	if (how == SIG_BLOCK && !~set) {
		libcs = true;
		return true;
	}
	if (how != SIG_SETMASK || !libcs)
		return false;
	libcs = false;
	believed |= set & code_signals_owned();
	return true;
}

u64 code_action_believed(int sig)
{
	return sig > 0 && sig < 65 ? actions[sig] : 0;
}

void code_action_change(int sig, u64 mask)
{
	if (sig > 0 && sig < 65)
		actions[sig] = mask & code_signals_owned();
}

void code_signal_keep(int sig)
{
	own |= 1ull << (sig - 1);
}

u64 code_signals_kept(void)
{
	return own;
}
