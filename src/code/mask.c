/* SPDX-License-Identifier: MIT */
/*
 * Signals that are never blocked, as instructions of ours raise them (code_signal_claim), and what programs that
 * blocked them are told. Compiled without vector registers: system calls come here.
 */
#include <signal.h>

#include "code/code.h"

static _Thread_local u64 believed __attribute__((tls_model("initial-exec")));
static _Thread_local bool libcs __attribute__((tls_model("initial-exec")));
static _Atomic u64 actions[65];
static _Atomic u64 own;

u64 code_mask_believed(void)
{
	return believed;
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
