/* SPDX-License-Identifier: MIT */
/* Locks in shared memory whose holder may die, and who is alive. */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "code/code.h"
#include "map/map_int.h"

/* initial-exec: read on each update, and the library's few bytes fit the loader's reserve. */
_Thread_local u64 map_self_id __attribute__((tls_model("initial-exec")));

/*
 * Whose memory this is, in a page that fork(2), by whoever called, leaves zero (MADV_WIPEONFORK): what threads remember
 * is good as long as `good` is set.
 */
struct memory {
	_Atomic u64 good; /* ~0, or 0: the process is a copy */
	_Atomic s32 pid;
};
static struct memory kept; /* where there is no such page */
static struct memory *memory = &kept;
const _Atomic u64 *map_self_good = &kept.good;

static void forget_self(void)
{
	map_self_id = 0;
	atomic_store(&memory->pid, getpid());
}

/* Not at first use, which may be in a signal handler, or in a child that borrows the memory (vfork). */
__attribute__((constructor)) static void watch_forks(void)
{
	struct memory *page = mmap(NULL, MAP_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page != MAP_FAILED && !madvise(page, MAP_PAGE, MADV_WIPEONFORK)) {
		memory = page;
		map_self_good = &page->good;
	}
	forget_self();
	pthread_atfork(NULL, NULL, forget_self);
}

/*
 * State and start time (clock ticks since boot) of a thread from /proc: false when it cannot be
 * read. Only system calls: may run in a signal handler.
 */
static bool proc_stat(u32 tid, char *state, u32 *start)
{
	char path[32] = "/proc/", digits[11], buf[512];
	const char *p = NULL;
	int fd, n = 0, at = 6, field;
	ssize_t len, i;

	do {
		digits[n++] = (char)('0' + tid % 10);
	} while (tid /= 10);
	while (n)
		path[at++] = digits[--n];
	memcpy(path + at, "/stat", 6);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	len = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (len <= 0)
		return false;
	buf[len] = '\0';
	/* The name in field 2 may hold anything: fields count from the last ')'. */
	for (i = len; i-- > 0 && !p;)
		if (buf[i] == ')')
			p = buf + i + 1;
	if (!p || *p != ' ')
		return false;
	*state = p[1];
	for (field = 3; field < 22; field++) {
		p = strchr(p + 1, ' ');
		if (!p)
			return false;
	}
	*start = (u32)strtoull(p + 1, NULL, 10);
	return true;
}

/*
 * A child that runs in its parent's memory (vfork, posix_spawn) has the storage of its parent's thread, too: it is asked
 * each time who it is, and leaves nothing there: its parent would go on under the name of the dead.
 */
static u64 ask_self(void)
{
	u32 tid = (u32)syscall(SYS_gettid), start = 0;
	s32 pid = getpid(), none = 0;
	char state;

	proc_stat(tid, &state, &start);
	/* The copy that a bare clone(2) made is whose who asks first. */
	if (atomic_compare_exchange_strong(&memory->pid, &none, pid) || none == pid) {
		map_self_id = (u64)start << 32 | tid;
		atomic_store(&memory->good, ~0ull);
	}
	return (u64)start << 32 | tid;
}

/*
 * Programs at probes come here with vector registers live, which this file's own code does not touch; what
 * libc does is done under code_keep_vectors().
 */
static void find_self(void *out, void *unused)
{
	int saved = errno;

	(void)unused;
	*(u64 *)out = ask_self();
	errno = saved;
}

u64 map_self(void)
{
	u64 self = map_self_known();

	if (__builtin_expect(!self, 0))
		code_keep_vectors(find_self, &self, NULL);
	return self;
}

void map_self_forget(void)
{
	map_self_id = 0;
}

u64 map_thread(u32 tid)
{
	int saved = errno;
	u32 start;
	char state;
	bool there;

	if (tid == (u32)map_self())
		return map_self();
	there = proc_stat(tid, &state, &start) && state != 'Z' && state != 'X';
	errno = saved;
	return there ? (u64)start << 32 | tid : 0;
}

struct who {
	u32 tid, start, start_mask;
};

static void look_if_dead(void *who, void *out)
{
	u32 tid = ((struct who *)who)->tid, start = ((struct who *)who)->start;
	u32 start_mask = ((struct who *)who)->start_mask, now;
	int saved = errno;
	bool dead = false;
	char state;

	if (!tid || tid > 1u << 22) {
		dead = true; /* no thread: nonsense written by somebody */
	} else if (kill((pid_t)tid, 0) < 0 && errno == ESRCH) {
		dead = true;
	} else if (proc_stat(tid, &state, &now)) {
		dead = state == 'Z' || state == 'X' ||
		       (start && (now & start_mask) != (start & start_mask));
	}
	errno = saved;
	*(bool *)out = dead;
}

static bool thread_is_dead(u32 tid, u32 start, u32 start_mask)
{
	struct who who = { tid, start, start_mask };
	bool dead;

	code_keep_vectors(look_if_dead, &who, &dead);
	return dead;
}

bool map_is_dead(u64 who)
{
	return thread_is_dead((u32)who, (u32)(who >> 32), ~0u);
}

#define TID_BITS 22

u32 map_self_short(void)
{
	u64 self = map_self();

	return (u32)(self >> 32) << TID_BITS | ((u32)self & ((1u << TID_BITS) - 1));
}

bool map_is_dead_short(u32 who)
{
	return thread_is_dead(who & ((1u << TID_BITS) - 1), who >> TID_BITS,
			      (1u << (32 - TID_BITS)) - 1);
}

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

static void get_ms(void *out, void *unused)
{
	struct timespec ts;

	(void)unused;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	*(u64 *)out = (u64)ts.tv_sec * 1000 + (u64)ts.tv_nsec / 1000000;
}

static u64 now_ms(void)
{
	u64 ms;

	code_keep_vectors(get_ms, &ms, NULL);
	return ms;
}

static void yield(void *unused, void *unused2)
{
	(void)unused, (void)unused2;
	sched_yield();
}

enum { SPINS = 200, LOOK_EVERY = 64, PATIENCE_MS = 1000 };

/* The lock is held by another thread: wait for it, or take it over from the dead. */
static int lock_slow(map_lock_word *w, u64 self, bool wait)
{
	u64 seen = 0, held, since = 0;
	u32 tries;

	for (tries = 1;; tries++) {
		held = atomic_load_explicit(w, memory_order_relaxed);
		if (held == self)
			return -EBUSY;
		if (!held) {
			if (atomic_compare_exchange_strong_explicit(
				    w, &held, self, memory_order_acquire, memory_order_relaxed))
				return LOCK_TAKEN;
			continue;
		}
		if (wait && tries < SPINS) {
			relax();
			continue;
		}
		if (!wait || tries % LOOK_EVERY == SPINS % LOOK_EVERY) {
			if (map_is_dead(held)) {
				if (atomic_compare_exchange_strong_explicit(w, &held, self,
									    memory_order_acquire,
									    memory_order_relaxed))
					return LOCK_INHERITED;
				continue;
			}
			if (!wait)
				return -EBUSY;
			if (held != seen) {
				seen = held;
				since = now_ms();
			} else if (now_ms() - since > PATIENCE_MS) {
				return -EBUSY;
			}
		}
		code_keep_vectors(yield, NULL, NULL);
	}
}

int map_lock(map_lock_word *w)
{
	u64 self = map_self(), none = 0;

	if (__builtin_expect(atomic_compare_exchange_strong_explicit(
				     w, &none, self, memory_order_acquire, memory_order_relaxed),
			     1))
		return LOCK_TAKEN;
	return lock_slow(w, self, true);
}

int map_trylock(map_lock_word *w)
{
	u64 self = map_self(), none = 0;

	if (atomic_compare_exchange_strong_explicit(w, &none, self, memory_order_acquire,
						    memory_order_relaxed))
		return LOCK_TAKEN;
	return lock_slow(w, self, false);
}

void map_unlock(map_lock_word *w)
{
	atomic_store_explicit(w, 0, memory_order_release);
}

/* ---- bpf_spin_lock --------------------------------------------------------------------------- */

/*
 * Programs that were refused a lock because the thread holds it already (a program in a signal handler
 * that interrupted one), or because nobody let it go: their unlock is not that of the holder. A
 * program holds one lock at most, and programs nest, so a number tells.
 */
static _Thread_local u32 spin_refused __attribute__((tls_model("initial-exec")));

void map_spin_lock(_Atomic u32 *w)
{
	u32 self = map_self_short(), held, tries;
	u64 since = 0;

	for (tries = 1;; tries++) {
		held = 0;
		if (atomic_compare_exchange_strong_explicit(w, &held, self, memory_order_acquire,
							    memory_order_relaxed))
			return;
		if (held == self)
			break;
		if (tries < SPINS) {
			relax();
			continue;
		}
		if (tries % LOOK_EVERY == SPINS % LOOK_EVERY) {
			/* From the dead, whatever they left half done. */
			if (map_is_dead_short(held) &&
			    atomic_compare_exchange_strong_explicit(w, &held, self, memory_order_acquire,
								    memory_order_relaxed))
				return;
			if (!since)
				since = now_ms();
			else if (now_ms() - since > PATIENCE_MS)
				break;
		}
		code_keep_vectors(yield, NULL, NULL);
	}
	spin_refused++;
}

void map_spin_unlock(_Atomic u32 *w)
{
	u32 self = map_self_short();

	if (spin_refused) {
		spin_refused--;
		return;
	}
	/* Not when somebody wrote over it. */
	atomic_compare_exchange_strong_explicit(w, &self, 0, memory_order_release, memory_order_relaxed);
}
