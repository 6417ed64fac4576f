/* SPDX-License-Identifier: MIT */
/* What threads have to know of others: whose memory this is, what they have stored, and locks that end with them. */
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <time.h>

#include "code/code.h"

#define SYS(n, a, b, c) code_syscall(n, (long)(a), (long)(b), (long)(c), 0, 0)
#define SETTLED 20000000 /* ns: no processor keeps a store to itself as long */

/* A word that any fork(2) leaves zero, by whoever called; NULL: there is none before Linux 4.14. */
static u32 *owner;
static bool registered;

__attribute__((constructor)) static void init(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return;
	if (madvise(page, 4096, MADV_WIPEONFORK))
		munmap(page, 4096);
	else
		owner = page;
	code_memory_pid();
}

u32 code_memory_pid(void)
{
	u32 pid = owner ? __atomic_load_n(owner, __ATOMIC_RELAXED) : 0;

	if (pid)
		return pid;
	pid = (u32)SYS(SYS_getpid, 0, 0, 0);
	if (owner)
		__atomic_store_n(owner, pid, __ATOMIC_RELAXED);
	return pid;
}

bool code_memory_lent(void)
{
	return code_memory_pid() != (u32)SYS(SYS_getpid, 0, 0, 0);
}

bool code_thread_gone(u32 tid)
{
	return SYS(SYS_tgkill, code_memory_pid(), tid, 0) == -ESRCH;
}

bool code_barrier_init(void)
{
	registered = !SYS(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	return registered;
}

/* Signals may come in between. */
void code_settle(void)
{
	struct timespec left = { 0, SETTLED };

	while (SYS(SYS_nanosleep, &left, &left, 0) == -EINTR)
		;
}

/* Who was allowed to when it began may be no more: a filter of system calls (seccomp(2)). */
void code_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!registered || SYS(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0))
		code_settle();
}

/* ---- locks ---------------------------------------------------------------------------------- */

/*
 * Who has it: process and thread. One of another process is a copy that fork(2) made, of a thread that is not here;
 * one's own is of what was left by longjmp(3). tkill(2), as who has it may borrow the memory and be of another process.
 */
static bool is_left(u64 holder, u64 self)
{
	return holder == self || holder >> 32 != self >> 32 || SYS(SYS_tkill, (u32)holder, 0, 0) == -ESRCH;
}

void code_lock(u64 *lock)
{
	u64 self = (u64)code_memory_pid() << 32 | (u32)SYS(SYS_gettid, 0, 0, 0), holder = 0;

	while (!__atomic_compare_exchange_n(lock, &holder, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		if (holder && is_left(holder, self))
			continue; /* it is taken over, if it is still that one's */
		holder = 0;
		SYS(SYS_sched_yield, 0, 0, 0);
	}
}

void code_unlock(u64 *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}
