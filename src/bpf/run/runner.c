/* SPDX-License-Identifier: MIT */
/*
 * The threads that run programs, and waiting until they have left those that they are inside of. A thread is noted
 * when it runs its first one, which may be on its very last system call, when nobody will tell that
 * it ends, and it may be cancelled anywhere. So what is noted is its number and where its storage is, to be read
 * only with care.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/run/clock_int.h"
#include "bpf/run/run_int.h"
#include "bpf/sys_int.h"
#include "code/code.h"

#define CHUNK 256
#define MAX_CHUNKS 256 /* 65,536 threads; others are counted while they are inside */
#define NOBODY ((u32)-1)
#define self sys_runner
#define SYS(n, a, b, c, d) code_syscall(n, (long)(a), (long)(b), (long)(c), (long)(d), -1)

struct note {
	u32 tid; /* 0: free; NOBODY: not known */
	u64 serial;
	const struct sys_runner *runner;
};

static struct note *chunks[MAX_CHUNKS];
static u64 last_serial;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t thread_end;
bool sys_have_membarrier;
static _Atomic u32 unlisted_inside;

static struct note *note_at(u32 i)
{
	return i / CHUNK < MAX_CHUNKS && chunks[i / CHUNK] ? &chunks[i / CHUNK][i % CHUNK] : NULL;
}

static void unlist(void *arg)
{
	struct sys_runner *r = arg;
	struct note *n;
	u32 i;

	/* A lock that has to be waited for is a system call, which is no event then. */
	sys_inside++;
	pthread_mutex_lock(&lock);
	for (i = 0; (n = note_at(i)); i++)
		if (n->tid && n->serial == r->serial)
			n->tid = 0;
	base_ending = true;
	r->fast = SYS_FAST_OFF;
	r->serial = 0;
	pthread_mutex_unlock(&lock);
	sys_inside--;
}

static void init(void)
{
	pthread_key_create(&thread_end, unlist);
	sys_have_membarrier = code_barrier_init();
}

void sys_run_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init);
}

/* No malloc(3): this thread may be inside it. */
static struct note *new_chunk(u32 i)
{
	long at = i / CHUNK < MAX_CHUNKS ? SYS(SYS_mmap, 0, CHUNK * sizeof(struct note), PROT_READ | PROT_WRITE,
					       MAP_PRIVATE | MAP_ANONYMOUS) : -ENOMEM;

	if (at < 0 && at > -4096)
		return NULL;
	chunks[i / CHUNK] = (struct note *)at;
	return chunks[i / CHUNK];
}

/* A free one. Others with this thread's number or storage are of threads that are gone. */
static struct note *take(u32 tid)
{
	struct note *n, *found = NULL;
	u32 i;

	for (i = 0; (n = note_at(i)); i++) {
		if ((n->tid == tid && tid != NOBODY) || n->runner == &self)
			n->tid = 0;
		if (!n->tid && !found)
			found = n;
	}
	return found ? found : new_chunk(i);
}

static void list_self(void *unused, void *unused2)
{
	/* A child of vfork(2) is not whose storage this is: its number says nothing once it is gone. */
	u32 tid = code_memory_lent() ? NOBODY : (u32)SYS(SYS_gettid, 0, 0, 0, 0);
	struct note *n;

	(void)unused, (void)unused2;
	sys_inside++;
	sys_run_init();
	pthread_mutex_lock(&lock);
	n = take(tid);
	if (n) {
		self.serial = ++last_serial;
		*n = (struct note){ tid, self.serial, &self };
		if (sys_have_membarrier)
			self.fast = 0;
	}
	pthread_mutex_unlock(&lock);
	if (n)
		pthread_setspecific(thread_end, &self);
	sys_inside--;
}

/* Reached from runs where vector registers are live. */
void sys_run_list_self(void)
{
	if (!base_ending)
		code_keep_vectors(list_self, NULL, NULL);
}

void sys_run_enter_unlisted(void)
{
	sys_run_list_self();
	if (self.serial)
		return;
	/* Handlers of signals come by anywhere here: whoever is the first to count is not the last to leave. */
	unlisted_inside++;
	if (__atomic_exchange_n(&self.counted, true, __ATOMIC_RELAXED))
		unlisted_inside--;
}

void sys_run_leave_unlisted(void)
{
	if (__atomic_exchange_n(&self.counted, false, __ATOMIC_RELAXED))
		unlisted_inside--;
}

/* ---- waiting ---------------------------------------------------------------------------------------- */

/* What of a thread that was inside when the wait began is to be waited for. */
struct inside {
	u64 serial;
	u32 left, shorts;
	bool in_program, in_fast;
};

/* Is the thread inside of anything? One that is gone is forgotten. Under lock. */
static bool look(struct note *n, struct inside *out)
{
	struct sys_runner r;

	if (code_copy_safe(&r, n->runner, sizeof(r)) || r.serial != n->serial) {
		n->tid = 0;
		return false;
	}
	*out = (struct inside){ n->serial, r.left, r.shorts, r.depth != 0, (r.fast & ~SYS_FAST_OFF) != 0 };
	if (!out->in_program && !out->in_fast)
		return false;
	if (code_thread_gone(n->tid)) {
		n->tid = 0;
		return false;
	}
	return true;
}

/* The note with the smallest serial above `serial`, up to `last`. */
static struct note *next_note(u64 serial, u64 last)
{
	struct note *n, *best = NULL;
	u32 i;

	for (i = 0; (n = note_at(i)); i++)
		if (n->tid && n->serial > serial && n->serial <= last && (!best || n->serial < best->serial))
			best = n;
	return best;
}

/* The lock is not held while waiting: a thread that is waited for may itself wait for a new one. */
static void wait_for(struct inside w)
{
	struct inside now;
	struct note *n;

	do {
		sched_yield();
		pthread_mutex_lock(&lock);
		n = next_note(w.serial - 1, w.serial);
		if (!n || !look(n, &now))
			w.in_program = w.in_fast = false;
		else
			w = (struct inside){ w.serial, w.left, w.shorts,
					     w.in_program && now.in_program && now.left == w.left,
					     w.in_fast && now.in_fast && now.shorts == w.shorts };
		pthread_mutex_unlock(&lock);
	} while (w.in_program || w.in_fast);
}

/* Those with serials above *serial, up to `last`, that are inside: how many; fewer than `room` is all. */
static u32 collect(struct inside *list, u32 room, u64 *serial, u64 last)
{
	struct note *at;
	u32 n = 0;

	pthread_mutex_lock(&lock);
	while (n < room && (at = next_note(*serial, last))) {
		*serial = at->serial;
		n += look(at, &list[n]);
	}
	pthread_mutex_unlock(&lock);
	return n;
}

void sys_run_wait_all(bool programs)
{
	struct inside list[64];
	u64 serial = 0, last;
	u32 n, i;

	atomic_thread_fence(memory_order_seq_cst);
	if (sys_have_membarrier)
		code_barrier();
	pthread_mutex_lock(&lock);
	last = last_serial; /* whoever comes later cannot have read what is to be freed */
	pthread_mutex_unlock(&lock);
	do {
		/* All at once, so that they leave while the first is waited for. */
		n = collect(list, ARRAY_SIZE(list), &serial, last);
		for (i = 0; i < n; i++) {
			list[i].in_program &= programs;
			if (programs || list[i].serial != self.serial)
				wait_for(list[i]);
		}
	} while (n == ARRAY_SIZE(list));
	while (unlisted_inside)
		sched_yield();
	beat_wait();
}

void sys_run_list_forked(void)
{
	struct note *n;
	u32 i;

	/* The other threads are not here; the lock may have been theirs. */
	pthread_mutex_init(&lock, NULL);
	unlisted_inside = self.counted;
	for (i = 0; (n = note_at(i)); i++)
		n->tid = self.serial && n->tid && n->serial == self.serial ? (u32)SYS(SYS_gettid, 0, 0, 0, 0) : 0;
}
