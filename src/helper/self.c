/* SPDX-License-Identifier: MIT */
/*
 * Who this thread is, without asking the kernel each time. Remembered with the thread, where libc has its number as
 * well; not good any more once
 * - the process is a copy: a word that fork(2), by whoever called, leaves zero (MADV_WIPEONFORK) is not the thread's;
 * - a child borrows the thread's storage (vfork and its like): src/attach says when that may be, or nothing is
 *   remembered at all.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "code/code.h"
#include "helper/helper_int.h"
#include "map/map.h"

#define NEVER ((u32)-1)
#define SYS(n) ((u32)code_syscall(n, 0, 0, 0, 0, 0))

static _Thread_local struct {
	u64 id;
	u32 era; /* of `id` */
	bool lent_for_good;
	u16 spawning; /* it is inside of functions that lend */
} self __attribute__((tls_model("initial-exec"))) = { .era = NEVER };

static u32 none; /* no thread's */
static u32 *era = &none; /* 0: begins with who asks first, or nobody watches */
static u32 last_era, watchers;
static u32 tid_at; /* where libc has a thread's number, behind pthread_self(); 0: not known */

static u32 libc_tid(void)
{
	return *(const u32 *)((const u8 *)pthread_self() + tid_at);
}

/* A child with this thread's storage is not whom libc knows: it gets its number, and the thread's is as it was. */
static void ask(void *out, void *unused)
{
	u32 tid = SYS(SYS_gettid), now, zero = 0;
	u64 id = (u64)SYS(SYS_getpid) << 32 | tid;

	(void)unused;
	*(u64 *)out = id;
	if (!__atomic_load_n(&watchers, __ATOMIC_ACQUIRE) || !tid_at || libc_tid() != tid || self.spawning ||
	    self.lent_for_good)
		return;
	now = __atomic_load_n(era, __ATOMIC_ACQUIRE);
	if (!now) {
		now = __atomic_add_fetch(&last_era, 1, __ATOMIC_RELAXED);
		if (!__atomic_compare_exchange_n(era, &zero, now, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			now = zero;
		if (!__atomic_load_n(&watchers, __ATOMIC_ACQUIRE))
			__atomic_store_n(era, 0, __ATOMIC_RELEASE);
	}
	code_lender = 0;
	self.id = id;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	self.era = now;
}

u64 helper_self(void)
{
	u64 id;

	if (__builtin_expect(self.era == __atomic_load_n(era, __ATOMIC_RELAXED), 1))
		return self.id;
	code_keep_vectors(ask, &id, NULL);
	return id;
}

void helper_self_lend(enum helper_lend how)
{
	u32 tid = SYS(SYS_gettid);

	switch (how) {
	case HELPER_LEND_ONCE: break;
	case HELPER_LEND_FOR_GOOD: self.lent_for_good = true; break;
	case HELPER_LEND_BEGIN: self.spawning++; break;
	case HELPER_LEND_END: self.spawning -= self.spawning > 0; break;
	}
	/* A child that lends what it borrowed has the first owner's number there. */
	if (!code_lender || (code_lender & ~CODE_LENT_ONCE) == tid)
		code_lender = self.spawning || self.lent_for_good ? tid
			      : how == HELPER_LEND_ONCE		  ? tid | CODE_LENT_ONCE
								  : 0;
	self.era = NEVER;
	map_self_forget();
}

/* libc's own record of a thread holds its number: the only word of the first that does. */
static u32 find_tid(void)
{
	const u32 *word = (const u32 *)(uintptr_t)pthread_self();
	u32 tid = SYS(SYS_gettid), at = 0, i;

	for (i = 16; i < 256; i++) {
		if (word[i] != tid)
			continue;
		if (at)
			return 0;
		at = 4 * i;
	}
	return at;
}

void helper_self_watch(bool on)
{
	void *page;

	if (on && era == &none) {
		page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (page != MAP_FAILED && madvise(page, 4096, MADV_WIPEONFORK)) {
			munmap(page, 4096);
			page = MAP_FAILED;
		}
		if (page == MAP_FAILED)
			return;
		tid_at = find_tid();
		__atomic_store_n(&era, page, __ATOMIC_RELEASE);
	}
	if (era == &none)
		return;
	/* What was remembered before may have been lent unseen. */
	__atomic_store_n(era, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&watchers, on, __ATOMIC_RELEASE);
	__atomic_store_n(era, 0, __ATOMIC_RELEASE);
}
