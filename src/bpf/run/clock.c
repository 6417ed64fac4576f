/* SPDX-License-Identifier: MIT */
/* Software clocks as a source of events: their table, and the thread that counts (clock_int.h). */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf_perf_event.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bpf/run/clock_int.h"
#include "bpf/event/link.h"
#include "bpf/session/look.h"
#include "bpf/run/run_int.h"
#include "code/code.h"
#include "helper/helper.h"

#define SHORTEST 10000ull    /* ns: of a period (perf_swevent_start_hrtimer()) */
#define LOOK     20000000ull /* ns between two looks for new threads */
#define LATE     100000000ull /* ns */
#define SHARED   (sizeof(struct clock_slot) * CLOCK_MAX)

struct clock *_Atomic clock_table[CLOCK_MAX];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake;
static bool running; /* the thread */
static u32 generations;

/* Slots that other processes reach by this descriptor; made when the first is wanted. */
static struct clock_slot *shared;
static int shared_fd = -1;
static bool slot_used[CLOCK_MAX];

static void lock_clocks(void)
{
	sys_inside++;
	pthread_mutex_lock(&lock);
}

static void unlock_clocks(void)
{
	pthread_mutex_unlock(&lock);
	sys_inside--;
}

u64 clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

u64 clock_busy(u64 interval)
{
	return 4 * (interval > CLOCK_BEAT ? interval : CLOCK_BEAT);
}

/* ---- slots ---------------------------------------------------------------------------------- */

static int make_shared(void)
{
	int fd = memfd_create("ferry-clocks", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *at;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, SHARED) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) ||
	    (at = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED) {
		close(fd);
		return -ENOMEM;
	}
	shared = at;
	shared_fd = sys_fd_move(fd);
	return 0;
}

int sys_clock_open(struct sys_attach *a)
{
	int err = 0;
	u32 i;

	if (a->pid >= 0) {
		a->offset = a->pid ? 0 : (u64)gettid();
		return 0;
	}
	lock_clocks();
	if (!shared)
		err = make_shared();
	for (i = 0; !err && i < CLOCK_MAX && slot_used[i]; i++)
		;
	if (!err && i == CLOCK_MAX)
		err = -EMFILE;
	if (!err) {
		slot_used[i] = true;
		memset(&shared[i], 0, sizeof(shared[i]));
		a->id = (u32)getpid();
		a->offset = (u64)(u32)shared_fd << 16 | i;
	}
	unlock_clocks();
	return err;
}

void sys_clock_close(struct sys_attach *a)
{
	if (a->pid >= 0 || a->id != (u32)getpid())
		return;
	lock_clocks();
	slot_used[a->offset % CLOCK_MAX] = false;
	unlock_clocks();
}

/* The slots of another process: its memory may hold anything, but does not go away. */
static int map_slots(struct clock *c)
{
	char path[64];
	struct stat st;
	int fd, err = 0;

	snprintf(path, sizeof(path), "/proc/%u/fd/%u", c->what.id, (u32)(c->what.offset >> 16));
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || st.st_size != SHARED ||
	    !(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK)) {
		err = -EINVAL;
	} else {
		c->mapped = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (c->mapped == MAP_FAILED) {
			c->mapped = NULL;
			err = -errno;
		}
	}
	close(fd);
	if (!err)
		c->slot = (struct clock_slot *)c->mapped + c->what.offset % CLOCK_MAX;
	return err;
}

static int find_slot(struct clock *c)
{
	c->own = !c->what.id || c->what.id == (u32)getpid();
	if (!c->own)
		return map_slots(c);
	c->slot = c->what.id ? &shared[c->what.offset % CLOCK_MAX] : &c->alone;
	return 0;
}

/* ---- the thread that counts ----------------------------------------------------------------- */

static void run_idle(struct clock *c, u32 n)
{
	struct bpf_perf_event_data data = { .sample_period = c->what.period };
	struct helper_run how = { .prog = c->what.p, .ctx = &data, .cookie = c->what.cookie,
				  .idle = 1 + (u32)c->what.cpu };

	while (n--)
		sys_prog_run_as(&how);
}

u32 clock_take(struct clock_slot *s, u32 keep, u32 most)
{
	u32 owed = atomic_load_explicit(&s->owed, memory_order_relaxed), n;

	do {
		n = owed > keep ? owed - keep : 0;
		n = n < most ? n : most;
	} while (n && !atomic_compare_exchange_weak_explicit(&s->owed, &owed, owed - n,
							     memory_order_relaxed,
							     memory_order_relaxed));
	return n;
}

void clock_borrow(struct clock_slot *s, u32 n)
{
	if (atomic_load_explicit(&s->lent, memory_order_relaxed) < CLOCK_MOST)
		atomic_fetch_add_explicit(&s->lent, n, memory_order_relaxed);
}

/* Of n new ticks those that no thread has had already. */
static u32 not_lent(struct clock_slot *s, u32 n)
{
	u32 lent = atomic_load_explicit(&s->lent, memory_order_relaxed), pay;

	do
		pay = lent < n ? lent : n;
	while (pay && !atomic_compare_exchange_weak_explicit(&s->lent, &lent, lent - pay, memory_order_relaxed,
							      memory_order_relaxed));
	return n - pay;
}

/* Ticks that no thread takes: what is older than a busy processor's threads need for it. */
static u32 left_over(struct clock *c, u64 now, u64 interval)
{
	u64 beat = atomic_load_explicit(&c->slot->beat, memory_order_relaxed), keep = 0;

	if (beat && now - beat < clock_busy(interval))
		keep = 1 + clock_busy(interval) / c->what.period;
	return clock_take(c->slot, (u32)keep, CLOCK_MOST);
}

/* What is due of a clock of ours; when to look again. The lock is let go of while programs run. */
static u64 count(u32 i, u64 now, u64 interval)
{
	struct clock *c = clock_table[i];
	u64 next, late;
	u32 n;

	if (now >= c->next) {
		late = now - c->next;
		c->next += c->what.period * (1 + late / c->what.period);
		/* A busy machine's delay is made up for, but not that of a process that was stopped. */
		n = not_lent(c->slot, 1 + (u32)((late < LATE ? late : LATE) / c->what.period));
		if (c->slot->owed < CLOCK_MOST)
			atomic_fetch_add_explicit(&c->slot->owed, n, memory_order_relaxed);
	}
	next = c->next;
	n = c->slot->owed ? left_over(c, now, interval) : 0;
	if (c->slot->owed && !n && next > now + CLOCK_BEAT)
		next = now + CLOCK_BEAT;
	if (n) {
		/* Entered, so that whoever takes it out of the table waits for us. */
		sys_run_enter();
		unlock_clocks();
		run_idle(c, n);
		sys_run_leave();
		lock_clocks();
	}
	return next;
}

static u64 interval_of_all(void)
{
	u64 interval = 0, period;
	struct clock *c;
	u32 i;

	for (i = 0; i < CLOCK_MAX; i++) {
		c = clock_table[i];
		if (!c)
			continue;
		period = c->what.period < CLOCK_BEAT ? c->what.period : CLOCK_BEAT;
		if (period < CLOCK_BEAT / 10)
			period = CLOCK_BEAT / 10;
		if (!interval || period < interval)
			interval = period;
	}
	return interval;
}

static void wait_until(u64 at)
{
	struct timespec t = { .tv_sec = at / 1000000000ull, .tv_nsec = at % 1000000000ull };

	pthread_cond_timedwait(&wake, &lock, &t);
}

static void *tick(void *arg)
{
	u64 now, next, look = 0, at, interval;
	u32 i;

	base_thread_own(true);
	lock_clocks();
	while ((interval = interval_of_all())) {
		now = clock_now();
		if (now >= look) {
			beat_scan(interval);
			look = now + LOOK;
		}
		next = look;
		for (i = 0; i < CLOCK_MAX; i++) {
			if (!clock_table[i] || !clock_table[i]->own)
				continue;
			at = count(i, now, interval);
			next = at < next ? at : next;
		}
		wait_until(next);
	}
	beat_stop();
	running = false;
	unlock_clocks();
	base_thread_own(false);
	return arg;
}

static int start_thread(void)
{
	pthread_condattr_t cond;
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int err;

	if (running) {
		pthread_cond_signal(&wake);
		return 0;
	}
	pthread_condattr_init(&cond);
	pthread_condattr_setclock(&cond, CLOCK_MONOTONIC);
	pthread_cond_init(&wake, &cond);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	code_signals_sent(&all); /* signals are the host's threads', but for what the program itself does */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&thread, &attr, tick, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	running = !err;
	return err;
}

/* ---- attach --------------------------------------------------------------------------------- */

/*
 * In a handler of a signal a thread may be in the middle of anything, so what a program calls must
 * be fit for that: Ferry's helpers are, the host's functions need not be.
 */
static const char *calls_host(const struct prog *p)
{
	u32 i;

	for (i = 0; i < p->nnatives; i++)
		if (!helper_kfunc(p->natives[i]))
			return p->natives[i]->name;
	return NULL;
}

static bool is_thread_of_ours(s32 tid)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/self/task/%d", tid);
	return !access(path, F_OK);
}

static int check(struct clock *c, struct text *why)
{
	const char *host = calls_host(c->what.p);
	int err;

	if (host) {
		text_printf(why, "it calls '%s' of the host, which may not be called at any moment", host);
		return -EOPNOTSUPP;
	}
	err = beat_init();
	if (err) {
		text_puts(why, "no real-time signal is free");
		return err;
	}
	if (c->what.pid < 0) {
		err = find_slot(c);
		if (err)
			text_puts(why, "what the process that opened it shares cannot be mapped");
		return err;
	}
	c->tid = c->what.pid ? c->what.pid : (s32)c->what.offset;
	if (!is_thread_of_ours(c->tid)) {
		text_printf(why, "process %d is another one", c->tid);
		return -EOPNOTSUPP;
	}
	if (c->what.inherit && c->tid == getpid())
		c->tid = 0;
	return 0;
}

static void release(struct sys_deferred *d)
{
	struct clock *c = container_of(d, struct clock, deferred);

	if (c->mapped)
		munmap(c->mapped, SHARED);
	base_free(c);
}

static int enter(struct clock *c, struct text *why)
{
	int err;
	u32 i;

	lock_clocks();
	for (i = 0; i < CLOCK_MAX && clock_table[i]; i++)
		;
	err = i < CLOCK_MAX ? 0 : -EMFILE;
	if (!err) {
		c->generation = ++generations;
		c->next = clock_now() + c->what.period;
		clock_table[i] = c;
		err = start_thread();
	}
	if (err) {
		text_puts(why, i < CLOCK_MAX ? "no thread can be made for clocks" : "too many clocks");
		if (i < CLOCK_MAX)
			clock_table[i] = NULL;
	}
	unlock_clocks();
	return err;
}

static int start(const struct sys_attach *a, void **event, struct text *why)
{
	struct clock *c = base_alloc(sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	c->what = *a;
	if (c->what.period < SHORTEST)
		c->what.period = SHORTEST;
	err = check(c, why);
	if (!err)
		err = enter(c, why);
	if (err) {
		release(&c->deferred);
		return err;
	}
	*event = c;
	return 0;
}

static void stop(void *event)
{
	struct clock *c = event;
	u32 i;

	lock_clocks();
	for (i = 0; i < CLOCK_MAX; i++)
		if (clock_table[i] == c)
			clock_table[i] = NULL;
	if (running)
		pthread_cond_signal(&wake);
	unlock_clocks();
	if (sys_run_later(&c->deferred, release))
		return;
	sys_run_wait();
	release(&c->deferred);
}

void sys_clock_forked(void)
{
	u32 i;

	/* The thread and the timers are the parent's, and so are the clocks. */
	pthread_mutex_init(&lock, NULL);
	running = false;
	for (i = 0; i < CLOCK_MAX; i++)
		clock_table[i] = NULL;
	shared = NULL;
	shared_fd = -1;
	memset(slot_used, 0, sizeof(slot_used));
	beat_forked();
}

static void tell(void *event, struct sys_attach_state *out)
{
	(void)event;
	out->how = "thread";
	out->places = 1;
}

void sys_clock_init(void)
{
	static const struct sys_attach_ops ops = { start, stop };

	sys_attach_source(SYS_ATTACH_CLOCK, &ops);
	sys_attach_tells(SYS_ATTACH_CLOCK, tell);
}
