/* SPDX-License-Identifier: MIT */
/*
 * Short runs: of programs that call nothing which may run another one or look at what surrounds them.
 * One word of the thread says that it is inside; whoever frees waits for it (run.c).
 */
#ifndef FERRY_BPF_RUN_H
#define FERRY_BPF_RUN_H

#include <stdatomic.h>

#include "prog/prog.h"

/*
 * Where a short run is, in one word: whoever leaves it by longjmp(3) from a signal's handler, at whatever instruction,
 * leaves enough for the next hit to tell. 0: none; the address of a hook's registers (struct pt_regs); or:
 */
#define SYS_FAST_CLOSURE 1ull /* in a closure, who knows where */
#define SYS_FAST_OFF     2ull /* this thread is not in the list, or there is no membarrier(2): the long way */

struct sys_runner {
	/*
	 * For short runs: of closures (jit_entry()) and at probes. Two plain stores are all it takes.
	 */
	_Atomic u64 fast;
	_Atomic u32 depth; /* other sections this thread is inside of; written by it alone */
	_Atomic u32 left;  /* how often it left the last one */
	_Atomic u32 shorts; /* how often it left a short run at a probe */
	bool counted;      /* among those that are inside and not in the list */
	u64 serial;        /* 0: not in the list yet */
};
extern _Thread_local struct sys_runner sys_runner
	__attribute__((tls_model("initial-exec"), visibility("hidden")));
extern _Thread_local int sys_inside __attribute__((tls_model("initial-exec")));

/* False: the thread is in a program or in Ferry already, or new. Else sys_short_leave() follows. `regs`: struct pt_regs. */
static inline bool sys_short_enter(const void *regs)
{
	if (__builtin_expect(sys_runner.fast | sys_runner.depth | (u64)sys_inside, 0))
		return false;
	atomic_store_explicit(&sys_runner.fast, (u64)(uintptr_t)regs, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	return true;
}

static inline void sys_short_leave(void)
{
	/* Who waits tells the next run from this one: between two there may be next to no time. */
	atomic_store_explicit(&sys_runner.shorts,
			      atomic_load_explicit(&sys_runner.shorts, memory_order_relaxed) + 1, memory_order_release);
	atomic_store_explicit(&sys_runner.fast, 0, memory_order_release);
}

/* In a signal handler: was a short run interrupted? */
static inline bool sys_short_inside(void)
{
	return sys_runner.fast & ~SYS_FAST_OFF;
}

/* This thread is about to run programs, itself or by a child with the same storage. Keeps vector registers. */
void sys_run_list_self(void);

/* What this thread was inside of was left by longjmp(3), but for the first `depth`. */
void sys_run_left(u32 depth);

/* May it run so, but for limits that it is given later? Says the same as long as the program lives. */
bool sys_short_may(const struct prog *p);
/* Between enter and leave: has it still no limits? They come before the code that counts (limit.c). */
static inline bool sys_short_now(const struct prog *p)
{
	return __builtin_expect(!__atomic_load_n(&p->limits, __ATOMIC_ACQUIRE), 1);
}
/* Between enter and leave. Touches no vector register. */
u64 sys_short_run(const struct prog *p, void *ctx, u64 cookie, u64 func_ip);

/* Waits until other threads have left the short runs that they are inside of. They never block: from anywhere. */
void sys_short_wait(void);

#endif
