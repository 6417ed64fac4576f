/* SPDX-License-Identifier: MIT */
/*
 * Running programs, and waiting until those that run are done. A program may reach others by tail
 * call without a reference, so the code of one is freed only when every thread that was inside some
 * program has left it: as RCU does for the kernel (runner.c). The runner pays two plain stores.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "bpf/run/clock_int.h"
#include "bpf/run/run_int.h"
#include "bpf/sys_int.h"
#include "code/code.h"
#include "helper/helper.h"
#include "prog/limit.h"

_Atomic u32 sys_stats_on;

_Thread_local struct sys_runner sys_runner = { .fast = SYS_FAST_OFF };
#define self sys_runner
/* What was let go of by a thread inside some program: freed when that is left. */
static struct sys_deferred *deferred;
_Atomic bool sys_any_deferred;
static pthread_mutex_t deferred_lock = PTHREAD_MUTEX_INITIALIZER;

static void free_deferred(void *unused, void *unused2)
{
	struct sys_deferred *d, *next;

	(void)unused, (void)unused2;
	pthread_mutex_lock(&deferred_lock);
	d = deferred;
	deferred = NULL;
	sys_any_deferred = false;
	pthread_mutex_unlock(&deferred_lock);
	for (; d; d = next) {
		next = d->next;
		sys_inside++;
		d->free(d);
		sys_inside--;
	}
}

void sys_run_free_deferred(void)
{
	code_keep_vectors(free_deferred, NULL, NULL);
}

bool sys_run_inside(void)
{
	return self.depth != 0;
}

bool sys_run_later(struct sys_deferred *d, void (*free)(struct sys_deferred *d))
{
	if (!self.depth)
		return false;
	d->free = free;
	pthread_mutex_lock(&deferred_lock);
	d->next = deferred;
	deferred = d;
	sys_any_deferred = true;
	pthread_mutex_unlock(&deferred_lock);
	return true;
}

void sys_run_forked(void)
{
	pthread_mutex_init(&deferred_lock, NULL); /* it may have been another thread's */
	code_lender = 0; /* the storage is a copy */
	sys_run_list_forked();
}

static void free_obj(struct sys_deferred *d)
{
	sys_obj_free(container_of(d, struct sys_obj, deferred));
}

bool sys_run_defer(struct sys_obj *o)
{
	return sys_run_later(&o->deferred, free_obj);
}

void sys_run_wait(void)
{
	sys_run_wait_all(true);
}

void sys_short_wait(void)
{
	sys_run_wait_all(false);
}

static void get_now(void *out, void *unused)
{
	struct timespec ts;

	(void)unused;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	*(u64 *)out = ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static u64 now(void)
{
	u64 ns;

	code_keep_vectors(get_now, &ns, NULL);
	return ns;
}

static u64 run_with(const struct helper_run *how, const u64 *args, const struct prog_limits *limits, u32 *ended)
{
	const struct prog *p = how->prog;
	/* What a program inside another run changes is put back; behind the outermost nobody looks. */
	bool nested = self.depth > 1;
	struct helper_run saved;
	struct prog *counted = (struct prog *)p;
	struct code_guard *guard = NULL;
	struct prog_budget budget;
	int inside = sys_inside;
	u64 ret, start = 0;

	if (nested) {
		saved = helper_run;
		guard = code_guard_top;
	}
	sys_inside = 0; /* what native functions close or map is the host's */
	code_guard_top = NULL; /* this program is not left by a fault of whoever called us */
	helper_run = *how;
	helper_run.frame = __builtin_frame_address(0);
	if (__builtin_expect(sys_stats_on, 0))
		start = now();
	if (__builtin_expect(limits != NULL, 0))
		prog_budget_begin(limits, &budget);
	ret = args ? __atomic_load_n(&p->call, __ATOMIC_ACQUIRE)(p, args) : prog_run(p, how->ctx);
	*ended = 0;
	if (__builtin_expect(limits != NULL, 0))
		*ended = prog_budget_finish(&budget);
	if (__builtin_expect(start != 0, 0)) {
		counted->run_ns += now() - start;
		counted->run_cnt++;
	}
	sys_inside = inside;
	if (nested) {
		helper_run = saved;
		code_guard_top = guard;
	}
	if (__builtin_expect(*ended, 0)) {
		sys_limit_report(p, *ended);
		ret = limits->value;
	}
	return ret;
}

struct limited_run {
	const struct helper_run *how;
	const struct prog_limits *limits;
	u64 ret;
	u32 ended;
};

static void run_limited(void *run, void *unused)
{
	struct limited_run *r = run;

	(void)unused;
	r->ret = run_with(r->how, NULL, r->limits, &r->ended);
}

/*
 * Runs how->prog, on its context or (args not NULL) as a C function; the thread has entered already. One that
 * was plain when it was put where it is, and was given limits since, is not: what counts is any code.
 */
static u64 run_inside(const struct helper_run *how, const u64 *args, u32 *ended)
{
	const struct prog_limits *limits = __atomic_load_n(&how->prog->limits, __ATOMIC_ACQUIRE);
	struct limited_run r = { how, limits, 0, 0 };

	if (!limits || !how->prog->plain || args)
		return run_with(how, args, limits, ended);
	code_keep_vectors(run_limited, &r, NULL);
	*ended = r.ended;
	return r.ret;
}

void sys_run_left(u32 depth)
{
	if (self.depth <= depth)
		return;
	atomic_store_explicit(&self.left, self.left + 1, memory_order_release);
	atomic_store_explicit(&self.depth, depth, memory_order_release);
	if (!depth && self.counted)
		sys_run_leave_unlisted();
}

/* ---- short runs -------------------------------------------------------------------------------- */

bool sys_short_may(const struct prog *p)
{
	const struct helper_proto *h;
	u32 n;

	if (!p->plain)
		return false;
	/* Values whose objects are given back by the host's functions; maps that hold any map. */
	for (n = 0; n < p->nmaps; n++)
		if (p->maps[n]->fields || p->maps[n]->inner)
			return false;
	for (n = 0; n < p->insn_cnt; n += isa_slots(&p->insns[n])) {
		if (!isa_is_call(&p->insns[n], 0))
			continue;
		h = helper_of((u32)p->insns[n].imm);
		if (!h || !(h->flags & HELPER_SHORT))
			return false;
	}
	return true;
}

static u64 counted_run(const struct prog *p, void *ctx)
{
	u64 start = now(), ret = prog_run(p, ctx);
	struct prog *counted = (struct prog *)p;

	counted->run_ns += now() - start;
	counted->run_cnt++;
	return ret;
}

u64 sys_short_run(const struct prog *p, void *ctx, u64 cookie, u64 func_ip)
{
	helper_run.prog = p;
	helper_run.ctx = ctx;
	helper_run.cookie = cookie;
	helper_run.func_ip = func_ip;
	helper_run.override = NULL; /* what the last run left there is gone */
	helper_run.idle = 0;
	helper_run.task = NULL;
	if (__builtin_expect(sys_stats_on, 0))
		return counted_run(p, ctx);
	return prog_run(p, ctx);
}

u64 sys_prog_run_as(const struct helper_run *how)
{
	u32 ended;
	u64 ret = 0;

	sys_run_enter();
	if (self.depth <= SYS_MAX_DEPTH)
		ret = run_inside(how, NULL, &ended);
	else
		((struct prog *)how->prog)->recursion_misses++;
	sys_run_leave();
	return ret;
}

u64 sys_prog_run_at(const struct prog *p, void *ctx, u64 cookie, u64 func_ip)
{
	return sys_prog_run_as(&(struct helper_run){ .prog = p, .ctx = ctx, .cookie = cookie,
						     .func_ip = func_ip });
}

/* Nothing is freed on leaving either: that is for a moment when the thread may call free(3). */
u64 sys_run_how_unlisted(const struct helper_run *how)
{
	u32 depth = atomic_load_explicit(&self.depth, memory_order_relaxed), ended;
	u64 ret;

	atomic_store_explicit(&self.depth, depth + 1, memory_order_relaxed);
	ret = run_inside(how, NULL, &ended);
	atomic_store_explicit(&self.left, self.left + 1, memory_order_release);
	atomic_store_explicit(&self.depth, depth, memory_order_release);
	if (!depth && self.counted)
		sys_run_leave_unlisted();
	return ret;
}

u64 sys_prog_run(const struct prog *p, void *ctx, u64 cookie)
{
	return sys_prog_run_at(p, ctx, cookie, 0);
}

bool sys_prog_call(struct prog *const _Atomic *at, const u64 *args, u64 *ret)
{
	const struct prog *p;
	u32 ended = 1;
	u64 value = 0;

	sys_run_enter();
	p = atomic_load_explicit(at, memory_order_acquire);
	if (p && self.depth <= SYS_MAX_DEPTH)
		value = run_inside(&(struct helper_run){ .prog = p }, args, &ended);
	if (!ended)
		*ret = value;
	sys_run_leave();
	return !ended;
}

void sys_run_callback(const struct prog *p, prog_callback cb, const u64 args[5])
{
	struct helper_run saved = helper_run;
	const struct prog_limits *limits = __atomic_load_n(&p->limits, __ATOMIC_ACQUIRE);
	struct prog_budget budget;
	u32 ended = 0;

	helper_run = (struct helper_run){ .prog = p, .frame = __builtin_frame_address(0) };
	if (limits)
		prog_budget_begin(limits, &budget);
	cb(args[0], args[1], args[2], args[3], args[4]);
	if (limits)
		ended = prog_budget_finish(&budget);
	helper_run = saved;
	if (ended)
		sys_limit_report(p, ended);
	sys_run_leave();
}
