/* SPDX-License-Identifier: MIT */
/*
 * Threads that came by a probe. Each has a record, so that whoever takes hooks away can wait until
 * none is inside. A hit writes plain words of its own record; the fence is on the side that waits
 * (membarrier(2)).
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "attach/syscall_int.h"
#include "bpf/run/run.h"
#include "code/code.h"

#define CHUNK 256
#define MAX_CHUNKS 256 /* 65,536 threads at once; further ones are not probed */
#define NOBODY ((u32)-1) /* in place of a number that is not known */

static struct thread *_Atomic chunks[MAX_CHUNKS];
static pthread_key_t key;
_Thread_local struct thread *thread_self;

static void thread_gone(void *p)
{
	struct thread *t = p;

	/*
	 * A record that was made behind the destructors, on the last calls of a thread, stays in glibc's storage,
	 * which a later thread gets with the same stack: that is no record of the later one's.
	 */
	if (t != thread_self)
		return;
	t->busy = 1; /* the lock is not for handlers of signals */
	ret_give_back(t);
	t->busy = 0;
	thread_self = NULL;
	atomic_store_explicit(&t->tid, 0, memory_order_release);
}

void thread_end(void)
{
	/* A child of vfork() may end like this, with its parent's record. */
	if (thread_self->tid == (u32)SYS(SYS_gettid, 0, 0, 0, 0))
		thread_gone(thread_self);
}

/* After fork() only the thread that called it is left. */
static void forked(void)
{
	u32 i, j;

	code_memory_pid(); /* before any child of vfork(2) asks */
	for (i = 0; i < MAX_CHUNKS && chunks[i]; i++)
		for (j = 0; j < CHUNK; j++)
			if (&chunks[i][j] != thread_self)
				chunks[i][j].tid = 0;
	if (thread_self)
		thread_self->tid = (u32)SYS(SYS_gettid, 0, 0, 0, 0);
}

/* Every processor fetches its instructions anew before it comes back to this process's code. */
void thread_sync(void)
{
	if (SYS(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0, 0))
		code_settle();
}

int thread_init(void)
{
	int err = pthread_key_create(&key, thread_gone);

	if (!err)
		err = pthread_atfork(NULL, NULL, forked);
	code_barrier_init();
	SYS(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0, 0);
	return -err;
}

static struct thread *chunk_new(u32 i)
{
	struct thread *none = NULL, *c;
	long at = SYS(SYS_mmap, 0, CHUNK * sizeof(*c), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS);

	if (at < 0 && at > -4096)
		return NULL;
	c = (struct thread *)at;
	if (atomic_compare_exchange_strong_explicit(&chunks[i], &none, c, memory_order_acq_rel, memory_order_acquire))
		return c;
	SYS(SYS_munmap, c, CHUNK * sizeof(*c), 0, 0);
	return none;
}

/* The record of a thread that is no more is free, unless it is another's already. */
static void give_up(struct thread *t, u32 tid)
{
	atomic_compare_exchange_strong_explicit(&t->tid, &tid, 0, memory_order_acq_rel, memory_order_relaxed);
}

/* Threads that ended after their destructors had run left their record behind. */
static void reap(struct thread *c)
{
	u32 j, tid;

	for (j = 0; j < CHUNK; j++) {
		tid = c[j].tid;
		if (tid && code_thread_gone(tid))
			give_up(&c[j], tid);
	}
}

static struct thread *take(struct thread *c, u32 tid)
{
	struct thread *t;
	u32 zero;

	for (t = c; t < c + CHUNK; t++) {
		zero = 0;
		if (t->tid || !atomic_compare_exchange_strong_explicit(&t->tid, &zero, tid, memory_order_acq_rel,
								       memory_order_relaxed))
			continue;
		/* The slots stay with the record. */
		ret_forget(t);
		t->override = NULL;
		t->alive = false;
		t->care = 0;
		t->fork_depth = 0;
		if (t->late)
			t->late->n = 0;
		t->busy = 1; /* setspecific may call malloc, which may be probed */
		thread_self = t;
		pthread_setspecific(key, t);
		t->busy = 0;
		return t;
	}
	return NULL;
}

/* A child of vfork(2) is not whose storage this is: its number, which is soon nobody's, does not stand for that. */
struct thread *thread_get(void)
{
	u32 tid = code_memory_lent() ? NOBODY : (u32)SYS(SYS_gettid, 0, 0, 0, 0), i;
	struct thread *c, *t;

	for (i = 0; i < MAX_CHUNKS; i++) {
		c = chunks[i];
		if (!c && i) {
			reap(chunks[i - 1]);
			t = take(chunks[i - 1], tid);
			if (t)
				return t;
		}
		if (!c && !(c = chunk_new(i)))
			return NULL;
		t = take(c, tid);
		if (t)
			return t;
	}
	return NULL;
}

/* ---- hooks that were left by longjmp ------------------------------------------------------------ */

/*
 * Memory that may be gone. By system call: a fault is no way in a handler of faults, where their signal is
 * blocked, and libc's functions are probed, too.
 */
bool thread_read(void *to, const void *from, size_t n)
{
	long ret, pid = SYS(SYS_getpid, 0, 0, 0, 0);
	struct iovec local = { to, n }, remote = { (void *)from, n };

	ret = code_syscall(SYS_process_vm_readv, pid, (long)&local, 1, (long)&remote, 1);
	if (ret < 0 && ret != -EFAULT) /* forbidden here (seccomp(2)) */
		return !code_copy_safe(to, from, n);
	return ret == (long)n;
}

/*
 * A hook's registers are on the stack below the probed frame, with words that nothing else has in a row.
 * They are there as long as the hook is.
 */
static bool is_regs(const struct pt_regs *r)
{
	return r->orig_rax + 1 <= 1 << 16 && r->cs == 0x33 && r->ss == 0x2b;
}

static bool is_overwritten(const struct pt_regs *regs, struct pt_regs *copy)
{
	return !thread_read(copy, regs, sizeof(*copy)) || !is_regs(copy);
}

static bool on_other_stack(void)
{
	stack_t now;

	/* A tick's program has one of Ferry's, of which the kernel knows nothing. */
	return base_in_signal || SYS(SYS_sigaltstack, 0, &now, 0, 0) || now.ss_flags & SS_ONSTACK;
}

/* Stacks grow downwards: a hit that is not below the hook's own frame is one that came after it. */
static bool is_left(const struct pt_regs *old, const struct pt_regs *regs)
{
	struct pt_regs copy;

	return is_overwritten(old, &copy) || (regs->rsp >= copy.rsp - 128 && !on_other_stack());
}

static const struct pt_regs *regs_of(u64 word)
{
	return word > SYS_FAST_OFF ? (const struct pt_regs *)(uintptr_t)word : NULL;
}

struct question {
	struct thread *t;
	const struct pt_regs *regs;
	bool inside;
};

static void ask(void *question, void *unused)
{
	struct question *q = question;
	struct thread *t = q->t;
	const struct pt_regs *fast = regs_of(sys_runner.fast), *busy = regs_of(t->busy);

	(void)unused;
	if (fast && is_left(fast, q->regs))
		sys_short_leave();
	if (busy && is_left(busy, q->regs)) {
		sys_run_left(t->depth);
		thread_leave(t);
	}
	q->inside = t->busy || sys_short_inside();
}

/* What the hook itself calls: right below it, on the same stack. */
static bool is_below(const struct pt_regs *old, const struct pt_regs *regs)
{
	return old && (u64)(uintptr_t)old - regs->rsp - 1 < 1 << 14 && is_regs(old);
}

bool thread_inside(struct thread *t, const struct pt_regs *regs)
{
	struct question q = { t, regs, true };

	if (is_below(regs_of(t->busy), regs) || is_below(regs_of(sys_runner.fast), regs))
		return true;
	code_keep_vectors(ask, &q, NULL);
	return q.inside;
}

static bool inside(const struct thread *t, u64 hits)
{
	return t->tid && t->busy && t->hits == hits;
}

void thread_wait(void)
{
	const struct pt_regs *regs;
	struct pt_regs copy;
	struct thread *c;
	u32 i, j, n;
	u32 tid;
	u64 hits;

	code_barrier();
	for (i = 0; i < MAX_CHUNKS && (c = chunks[i]); i++)
		for (j = 0; j < CHUNK; j++) {
			hits = c[j].hits;
			n = 0;
			while (&c[j] != thread_self && inside(&c[j], hits)) {
				regs = regs_of(c[j].busy);
				if (++n % 1000 == 0 && regs && is_overwritten(regs, &copy))
					break;
				/*
				 * A thread that ended in a hook (pthread_exit) took its word along. Its record
				 * may be another's by now, which is not to be taken from that.
				 */
				tid = c[j].tid;
				if (tid && code_thread_gone(tid))
					give_up(&c[j], tid);
				sched_yield();
			}
		}
	sys_short_wait();
}
