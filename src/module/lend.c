/* SPDX-License-Identifier: MIT */
/*
 * Function pointers made from subprograms, at run time. A native function gets one that is lent for the call: a
 * closure of the C type, which is taken back when the call ends. Native code that kept it and calls it later
 * gets zero, which is logged; should a later call of the same function have been lent the same closure, the
 * kept pointer calls that call's subprogram, which was verified for any arguments of the same type. So
 * closures go from call to call of one argument of one function only, and their memory is never freed.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "ferry/call.h"
#include "module/module_int.h"

/*
 * Pointers lent and callbacks entered by a thread, at once: so that programs and native functions that call each
 * other come to an end long before a thread's stack does.
 */
#define MAX_NESTED 32

typedef u64 (*subprogram)(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5); /* prog.h: prog_callback */

struct module_lent {
	struct module_lent *next; /* that are not lent, too */
	struct module_callback *cb;
	struct ferry_closure *closure;
	_Atomic(subprogram) target; /* NULL: not lent */
	_Atomic u32 inside;         /* threads that may be calling `target` */
};

/* A struct module_lent each, + 1 when it is entered, else lent: room for variables of threads is scarce. */
static _Thread_local uintptr_t nested[MAX_NESTED];
static _Thread_local u32 depth;

/* Of modules that are gone, for native code may call what it kept for ever. */
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static struct module_callback *kept;

static bool push(struct module_lent *l, bool inside)
{
	if (depth == MAX_NESTED)
		return false;
	nested[depth++] = (uintptr_t)l + inside;
	return true;
}

/* ---- being called ------------------------------------------------------------------------------ */

/* The registers that the program sees; C leaves what is above a narrow integer to the caller. */
static u64 load(const struct module_arg *a, const void *p)
{
	u64 v = 0;

	memcpy(&v, p, a->width);
	return a->is_float ? v : module_extend(v, a->width, a->is_signed, a->is_bool);
}

static u64 call(const struct module_callback *cb, subprogram fn, void **args)
{
	u64 r[MODULE_MAX_REGS] = { 0 }, v;
	u32 i;

	for (i = 0; i < cb->nargs; i++)
		r[i] = load(&cb->args[i], args[i]);
	v = fn(r[0], r[1], r[2], r[3], r[4]);
	v = module_extend(v, cb->ret_width, cb->ret_signed, false);
	/* Proved; but a program whose budget has ended returns what its engine gives. */
	if (cb->ret_ranged && ((s64)v < cb->ret_min || (s64)v > cb->ret_max))
		v = (u64)cb->ret_min;
	return v;
}

static void complain(struct module_callback *cb, const char *what)
{
	u64 n = atomic_fetch_add_explicit(&cb->failed, 1, memory_order_relaxed) + 1;

	if (n <= 8 || !(n & (n - 1)))
		log_msg(LOG_WARN, "a function pointer `%s' was called %s: it returned 0 (%llu time%s)", cb->proto, what,
			(unsigned long long)n, n > 1 ? "s" : "");
}

static void enter(void *ret, void **args, void *data)
{
	struct module_lent *l = data;
	const u8 width = l->cb->ret_width;
	subprogram fn;
	u64 v = 0;

	/* Before the look at `target`: whoever takes it back waits for us, or we see that it is gone. */
	atomic_fetch_add(&l->inside, 1);
	fn = atomic_load(&l->target);
	if (!fn) {
		complain(l->cb, "after the call that it was made for");
	} else if (!push(l, true)) {
		complain(l->cb, "too deep in calls of programs by native functions");
	} else {
		v = call(l->cb, fn, args);
		depth--;
	}
	atomic_fetch_sub(&l->inside, 1);
	if (width)
		memcpy(ret, &v, l->cb->ret_is_float ? width : sizeof(v));
}

/* ---- lending ----------------------------------------------------------------------------------- */

static struct module_lent *make(struct module_callback *cb)
{
	struct module_lent *l = base_alloc(sizeof(*l));

	if (!l)
		return NULL;
	l->cb = cb;
	if (ferry_closure_new(cb->proto, cb->types, enter, l, &l->closure)) {
		base_free(l);
		return NULL;
	}
	return l;
}

static struct module_lent *take(struct module_callback *cb)
{
	struct module_lent *l;

	pthread_mutex_lock(&cb->lock);
	l = cb->idle;
	if (l)
		cb->idle = l->next;
	else if ((l = make(cb)))
		cb->made++;
	pthread_mutex_unlock(&cb->lock);
	return l;
}

static void give_back(struct module_lent *l)
{
	struct module_callback *cb = l->cb;

	atomic_store(&l->target, NULL);
	/* Threads of the native function's; none is this one, whose calls have ended. */
	while (atomic_load(&l->inside))
		sched_yield();
	pthread_mutex_lock(&cb->lock);
	l->next = cb->idle;
	cb->idle = l;
	pthread_mutex_unlock(&cb->lock);
}

u32 module_lend_mark(void)
{
	return depth;
}

void module_lend_end(u32 mark)
{
	while (depth > mark) {
		struct module_lent *l = (struct module_lent *)(nested[--depth] & ~(uintptr_t)1);

		/* Entered still: a fault ended the call without a return (prog/site.c). */
		if (nested[depth] & 1)
			atomic_fetch_sub(&l->inside, 1);
		else
			give_back(l);
	}
}

const char *module_lend(struct module_callback *cb, u64 *v)
{
	struct module_lent *l;

	if (!*v)
		return NULL;
	if (depth >= MAX_NESTED - 1)
		return "is lent too deep in calls of programs by native functions";
	l = take(cb);
	if (!l)
		return "cannot be made a function pointer: no memory";
	push(l, false);
	atomic_store(&l->target, (subprogram)(uintptr_t)*v);
	*v = (u64)(uintptr_t)ferry_closure_code(l->closure);
	return NULL;
}

void module_callback_free(struct module_callback *cb)
{
	if (!cb)
		return;
	base_free(cb->types);
	cb->types = NULL;
	if (cb->made) {
		pthread_mutex_lock(&kept_lock);
		cb->next_kept = kept;
		kept = cb;
		pthread_mutex_unlock(&kept_lock);
		return;
	}
	pthread_mutex_destroy(&cb->lock);
	base_free(cb->proto);
	base_free(cb);
}
