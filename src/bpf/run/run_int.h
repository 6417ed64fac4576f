/* SPDX-License-Identifier: MIT */
/* Inside a program, or a short command: plain stores that whoever frees waits for (run.c, runner.c). */
#ifndef FERRY_RUN_INT_H
#define FERRY_RUN_INT_H

#include <stdatomic.h>

#include "bpf/run/run.h"

extern bool sys_have_membarrier;
extern _Atomic bool sys_any_deferred;
/* Threads whose destructors have run, or that found no room, are not listed: how many such are inside is counted. */
void sys_run_enter_unlisted(void);
void sys_run_leave_unlisted(void);
/* Until all that are inside have left: short runs, and programs too. */
void sys_run_wait_all(bool programs);
void sys_run_list_forked(void);
void sys_run_free_deferred(void);

struct helper_run;
/*
 * sys_prog_run_as() in a handler of a signal, in a thread that may not be in the list and is not put there, as it
 * may be about to end: whoever calls sees to it that sys_run_wait() waits for it.
 */
u64 sys_run_how_unlisted(const struct helper_run *how);

/*
 * Between the two nothing is freed that is freed after sys_run_wait(). Nests; not across blocking.
 * The store must be visible before an address is read. Where membarrier(2) lets the waiter see to
 * that, the compiler is all that has to be held; else it takes a fence here.
 */
static inline void sys_run_enter(void)
{
	atomic_store_explicit(&sys_runner.depth, sys_runner.depth + 1, memory_order_relaxed);
	if (__builtin_expect(!sys_runner.serial, 0))
		sys_run_enter_unlisted();
	if (sys_have_membarrier)
		atomic_signal_fence(memory_order_seq_cst);
	else
		atomic_thread_fence(memory_order_seq_cst);
}

static inline void sys_run_leave(void)
{
	u32 depth = atomic_load_explicit(&sys_runner.depth, memory_order_relaxed);

	depth -= depth != 0; /* sys_run_left() can only guess: a wrong guess is not to be waited for for ever */
	if (!depth)
		atomic_store_explicit(&sys_runner.left, sys_runner.left + 1, memory_order_release);
	atomic_store_explicit(&sys_runner.depth, depth, memory_order_release);
	if (__builtin_expect(!depth && sys_runner.counted, 0))
		sys_run_leave_unlisted();
	if (__builtin_expect(
		    !depth && atomic_load_explicit(&sys_any_deferred, memory_order_relaxed), 0))
		sys_run_free_deferred();
}

#endif
