/* SPDX-License-Identifier: MIT */
/* Calls that are watched: of functions that may be gone, fault, or be called only so often. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "code/code.h"
#include "prog/limit.h"

const struct prog_site *prog_site_at(const struct prog *p, u32 insn)
{
	u32 lo = 0, hi = p->nsites;

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;

		if (p->sites[mid].insn == insn)
			return &p->sites[mid];
		if (p->sites[mid].insn < insn)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

/* The event with program, function and source line; not more than some a second. */
static void report(const struct prog_site *s, const char *what)
{
	const struct prog_line *line = prog_line_at(s->prog, s->insn);
	static _Atomic u64 next;
	struct timespec ts;
	u64 now, due = next;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
	if (now + 1000000000u < due) /* ten of them at once, then one each 100 ms */
		return;
	next = (due > now ? due : now) + 100000000u;
	if (line)
		log_msg(LOG_WARN, "program %s: %s() %s, called at %s:%u: %s", s->prog->name, s->name, what,
			line->file, line->line, line->text);
	else
		log_msg(LOG_WARN, "program %s: %s() %s, called by instruction %u", s->prog->name, s->name,
			what, s->insn);
}

/* A callee that did not come back has perhaps not written what it was to write. */
static void clear_outputs(const struct module_func *f, const u64 *args)
{
	/* In registers, one an argument: others end the program (src/bpf/run/limit.c). */
	for (u32 n = 0; n < f->nargs && n < 5; n++) {
		const struct module_arg *a = &f->args[n];

		if (!a->uninit || !args[n])
			continue;
		memset((void *)(uintptr_t)args[n], 0, a->size ? a->size : n < 4 ? (size_t)args[n + 1] : 0);
	}
}

static u64 failed(const struct prog_site *s, const u64 *args, int err, const char *what)
{
	bool end = s->fail == PROG_SITE_END;

	report(s, what);
	if (s->func && args)
		clear_outputs(s->func, args);
	if (err == -EFAULT && s->prog->limits->on_fault != PROG_FAULT_ERROR && !s->held)
		end = true;
	if (end) /* with references held there is no such site: refused at load */
		prog_budget.ended = PROG_FAULTED;
	if (s->fail != PROG_SITE_ERROR || (s->func && s->func->ret_float))
		return 0;
	/* The verifier knows the width of the result. */
	return s->func ? module_extend((u64)(s64)err, s->func->ret_width, s->func->ret_signed, s->func->ret_bool) :
			 (u64)(s64)err;
}

/* One call more: false when the bucket of a second is used up. */
static bool take(struct prog_rate *r)
{
	u64 now, due, next, cost = 1000000000u / r->per_second;
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
	due = atomic_load_explicit(&r->next, memory_order_relaxed);
	do {
		if (due > now + 1000000000u - cost)
			return false;
		next = (due > now ? due : now) + cost;
	} while (!atomic_compare_exchange_weak_explicit(&r->next, &due, next, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

static const char *signal_text(int sig)
{
	return sig == 7 ? "faulted (SIGBUS)" : sig == 8 ? "faulted (SIGFPE)" : sig == 4 ? "faulted (SIGILL)" :
	       "faulted (SIGSEGV)";
}

/* 0 and the reason, or the call may be made. */
static const char *refusal(const struct prog_site *s, int *err)
{
	*err = -EBUSY;
	if (s->rate.per_second && !take((struct prog_rate *)&s->rate))
		return "was called too often";
	*err = -EFAULT;
	return s->func && s->func->mod && s->func->mod->gone ? "was unregistered" : NULL;
}

static bool is_guarded(const struct prog_site *s)
{
	return s->func && s->prog->limits->on_fault != PROG_FAULT_HOST;
}

/* fn(call[0], ..., call[4]), which may fault; `args` (may be NULL) are the function's, for what it would have written. */
static u64 call_guarded(const struct prog_site *s, const void *fn, const u64 *call, const u64 *args)
{
	u32 mark = module_lend_mark();
	struct code_guard g;
	u64 ret = code_guard(&g, fn, call);

	if (!g.sig)
		return ret;
	module_lend_end(mark);
	return failed(s, args, -EFAULT, signal_text(g.sig));
}

u64 prog_site_call(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5, const struct prog_site *s)
{
	const u64 args[5] = { a1, a2, a3, a4, a5 };
	int err;
	const char *why = refusal(s, &err);

	if (why)
		return failed(s, args, err, why);
	if (!is_guarded(s))
		return ((prog_callback)(uintptr_t)s->fn)(a1, a2, a3, a4, a5);
	return call_guarded(s, s->fn, args, args);
}

u64 prog_site_invoke(const struct module_func *f, const u64 *regs, const struct module_site *at,
		     const struct prog_site *s)
{
	const u64 call[5] = { (u64)(uintptr_t)f, (u64)(uintptr_t)regs, (u64)(uintptr_t)at };
	int err;
	const char *why = refusal(s, &err);

	if (why)
		return failed(s, NULL, err, why);
	if (!is_guarded(s))
		return module_invoke(f, regs, at);
	return call_guarded(s, (const void *)(uintptr_t)module_invoke, call, NULL);
}
