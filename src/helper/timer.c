/* SPDX-License-Identifier: MIT */
/*
 * bpf_timer: a thread of the process that calls functions of programs when their time has come.
 *
 * The value in shared memory holds only a number, which says who is meant and is believed only as far
 * as the timer of that number knows the value too. A timer ends when its element goes, or when the
 * last descriptor of its map does; until then it keeps its program.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "code/code.h"
#include "helper/helper_int.h"

#ifndef BPF_F_TIMER_ABS
#define BPF_F_TIMER_ABS 1
#endif
#define BPF_F_TIMER_CPU 2 /* BPF_F_TIMER_CPU_PIN: a thread is not bound here */

struct timer {
	struct timer *next;
	u64 id;
	struct map *map;     /* borrowed: map_timers_drop comes before it goes */
	u8 *value;
	clockid_t clock;
	prog_callback cb;
	struct prog *prog;   /* that cb is of, held */
	bool armed, running, gone;
	u64 at;              /* CLOCK_MONOTONIC, ns */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; /* of CLOCK_MONOTONIC */
static struct timer *timers;   /* few: a list does */
static pthread_t thread;
static bool started;
static _Thread_local bool in_thread;
static u64 last_id;

void (*helper_prog_ref)(struct prog *p, bool hold);
void (*helper_prog_enter)(void);
void (*helper_prog_callback)(const struct prog *p, prog_callback cb, const u64 args[5]);

static void prog_ref(struct prog *p, bool hold)
{
	if (p && helper_prog_ref)
		helper_prog_ref(p, hold);
}

static u64 now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

static u8 *word_of(const struct timer *t)
{
	return t->value + t->map->fields->timer - 1;
}

static u64 id_at(const u8 *word)
{
	return __atomic_load_n((const u64 *)(const void *)word, __ATOMIC_ACQUIRE);
}

/* The timer that the word belongs to; NULL when it was not initialised here. With the lock. */
static struct timer *find(const u8 *word)
{
	u64 id = id_at(word);
	struct timer *t;

	for (t = timers; t; t = t->next)
		if (t->id == id && !t->gone && word_of(t) == word)
			return t;
	return NULL;
}

/* Out of the list; its program is to be let go by the caller, without the lock. */
static void unlink_timer(struct timer *t)
{
	struct timer **link = &timers;

	while (*link != t)
		link = &(*link)->next;
	*link = t->next;
}

/* ---- the thread ------------------------------------------------------------------------------- */

static struct timer *earliest(void)
{
	struct timer *t, *best = NULL;

	for (t = timers; t; t = t->next)
		if (t->armed && (!best || t->at < best->at))
			best = t;
	return best;
}

static void call(const struct prog *p, prog_callback cb, const u64 args[5])
{
	struct helper_run before = helper_run;

	if (helper_prog_callback) {
		helper_prog_callback(p, cb, args);
		return;
	}
	helper_run = (struct helper_run){ .prog = p };
	cb(args[0], args[1], args[2], args[3], args[4]);
	helper_run = before;
}

/* With the lock, which is let go while the callback runs. */
static void fire(struct timer *t)
{
	prog_callback cb = t->cb;
	struct prog *p = t->prog;
	struct map *m = t->map;
	u64 key[64]; /* the largest key of a map that programs can look into: MAX_BPF_STACK */

	t->armed = false;
	/* The element may have gone in another process. */
	if (!cb || id_at(word_of(t)) != t->id || m->attr.key_size > sizeof(key))
		return;
	t->running = true;
	prog_ref(p, true);
	m->ops->key_of(m, t->value, key);
	/* Still with the lock: who moves timers to new code waits for those that took the old. */
	if (helper_prog_enter)
		helper_prog_enter();
	pthread_mutex_unlock(&lock);
	call(p, cb, (u64[5]){ (u64)(uintptr_t)m, (u64)(uintptr_t)key, (u64)(uintptr_t)t->value });
	prog_ref(p, false);
	pthread_mutex_lock(&lock);
	t->running = false;
	if (t->gone) {
		p = t->prog;
		unlink_timer(t);
		base_free(t);
		pthread_mutex_unlock(&lock);
		prog_ref(p, false);
		pthread_mutex_lock(&lock);
	}
	pthread_cond_broadcast(&changed);
}

static void *run(void *arg)
{
	struct timer *t;

	(void)arg;
	in_thread = true;
	base_thread_own(true);
	pthread_mutex_lock(&lock);
	for (;;) {
		struct timespec ts;

		t = earliest();
		if (!t) {
			pthread_cond_wait(&changed, &lock);
		} else if (t->at <= now(CLOCK_MONOTONIC)) {
			fire(t);
		} else {
			ts.tv_sec = (time_t)(t->at / 1000000000u);
			ts.tv_nsec = (long)(t->at % 1000000000u);
			pthread_cond_timedwait(&changed, &lock, &ts);
		}
	}
	return NULL;
}

/* The child of fork(2) has no thread, and the parent's timers are not its own. */
static void in_child(void)
{
	struct timer *t;

	pthread_mutex_init(&lock, NULL);
	started = false;
	for (t = timers; t; t = t->next)
		t->armed = t->running = false;
	base_fork_over();
}

static void before_fork(void)
{
	base_forking++;
	pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&lock);
	base_fork_over();
}

static int start_thread(void)
{
	static bool watching;
	pthread_condattr_t attr;
	sigset_t all, old;
	int err;

	if (started)
		return 0;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attr);
	pthread_condattr_destroy(&attr);
	if (!watching)
		pthread_atfork(before_fork, after_fork, in_child);
	watching = true;
	/* The host's signals are for its own threads. */
	code_signals_sent(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&thread, NULL, run, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -ENOMEM;
	pthread_detach(thread);
	started = true;
	return 0;
}

/* ---- elements and maps that go ---------------------------------------------------------------- */

/* Ends a timer, with the lock. What it held is given back later: `drop` collects. */
static void end_timer(struct timer *t, struct timer **drop)
{
	t->armed = false;
	t->gone = true;
	if (t->running)
		return; /* the thread frees it */
	unlink_timer(t);
	t->next = *drop;
	*drop = t;
}

static void drop_all(struct timer *drop)
{
	struct timer *t;

	while ((t = drop)) {
		drop = t->next;
		prog_ref(t->prog, false);
		base_free(t);
	}
}

static void elem_gone(u64 id)
{
	struct timer *t, *drop = NULL;

	pthread_mutex_lock(&lock);
	for (t = timers; t && t->id != id; t = t->next)
		;
	if (t && !t->gone)
		end_timer(t, &drop);
	pthread_mutex_unlock(&lock);
	drop_all(drop);
}

static void map_gone(struct map *m)
{
	struct timer *t, *next, *drop = NULL;
	bool again;

	pthread_mutex_lock(&lock);
	for (t = timers; t; t = next) {
		next = t->next;
		if (t->map == m && !t->gone)
			end_timer(t, &drop);
	}
	/* Nobody may be inside the memory when it is unmapped. */
	do {
		again = false;
		for (t = timers; t && !in_thread; t = t->next)
			again |= t->map == m && t->running;
		if (again)
			pthread_cond_wait(&changed, &lock);
	} while (again);
	pthread_mutex_unlock(&lock);
	drop_all(drop);
}

bool helper_timers_move(const struct prog *p, prog_callback from, prog_callback to)
{
	bool any = false;

	pthread_mutex_lock(&lock);
	for (struct timer *t = timers; t; t = t->next) {
		if (t->prog != p || !t->cb || t->cb != from)
			continue;
		any = true;
		t->cb = to;
		t->armed = t->armed && to;
	}
	pthread_mutex_unlock(&lock);
	return any;
}

/* ---- helpers ---------------------------------------------------------------------------------- */

static s64 init(u8 *word, struct map *m, u64 flags)
{
	struct timer *t;
	int err = 0;

	if (word < m->mem || (size_t)(word - m->mem) >= m->mem_size)
		return -EINVAL; /* of another map: the verifier refuses it */
	if (flags != CLOCK_MONOTONIC && flags != CLOCK_REALTIME && flags != CLOCK_BOOTTIME)
		return -EINVAL;
	pthread_mutex_lock(&lock);
	map_timer_gone = elem_gone;
	map_timers_drop = map_gone;
	if (find(word))
		err = -EBUSY;
	else if (m->no_users)
		err = -EPERM;
	if (!err)
		err = start_thread();
	t = err ? NULL : base_alloc(sizeof(*t));
	if (t) {
		/* Told apart from those of other processes on the same memory. */
		*t = (struct timer){ .next = timers, .id = (u64)getpid() << 40 | ++last_id, .map = m,
				     .value = word - (m->fields->timer - 1),
				     .clock = (clockid_t)flags };
		timers = t;
		__atomic_store_n((u64 *)(void *)word, t->id, __ATOMIC_RELEASE);
	} else if (!err) {
		err = -ENOMEM;
	}
	pthread_mutex_unlock(&lock);
	return err;
}

u64 timer_init(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct map *m = ptr(a2);

	return (u64)(m->fields && m->fields->timer ? init(ptr(a1), m, a3) : -EINVAL);
}

u64 timer_set_callback(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct prog *p = (struct prog *)helper_run.prog, *before = NULL;
	struct timer *t;
	s64 err = 0;

	pthread_mutex_lock(&lock);
	t = find(ptr(a1));
	if (!t) {
		err = -EINVAL;
	} else if (t->map->no_users) {
		err = -EPERM;
	} else {
		before = t->prog;
		prog_ref(p, true);
		t->prog = p;
		t->cb = (prog_callback)(uintptr_t)a2;
	}
	pthread_mutex_unlock(&lock);
	prog_ref(before, false);
	return (u64)err;
}

u64 timer_start(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct timer *t;
	u64 from, at;
	s64 err = 0;

	if (a3 & ~(u64)(BPF_F_TIMER_ABS | BPF_F_TIMER_CPU))
		return (u64)-EINVAL;
	pthread_mutex_lock(&lock);
	t = find(ptr(a1));
	if (!t || !t->cb) {
		err = -EINVAL;
	} else {
		from = a3 & BPF_F_TIMER_ABS ? now(t->clock) : 0;
		at = now(CLOCK_MONOTONIC);
		/* The kernel's times end at 2^63 ns. */
		if (a2 > INT64_MAX || !base_add(at, a2 > from ? a2 - from : 0, &t->at))
			t->at = INT64_MAX;
		t->armed = true;
		pthread_cond_broadcast(&changed);
	}
	pthread_mutex_unlock(&lock);
	return (u64)err;
}

u64 timer_cancel(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct prog *before = NULL;
	struct timer *t;
	s64 ret;

	pthread_mutex_lock(&lock);
	t = find(ptr(a1));
	if (!t) {
		ret = -EINVAL;
	} else if (t->running && in_thread) {
		ret = -EDEADLK;
	} else {
		ret = t->armed;
		t->armed = false;
		before = t->prog;
		t->prog = NULL;
		t->cb = NULL;
		/* It may be freed meanwhile: it is found anew. */
		while ((t = find(ptr(a1))) && t->running)
			pthread_cond_wait(&changed, &lock);
	}
	pthread_mutex_unlock(&lock);
	prog_ref(before, false);
	return (u64)ret;
}
