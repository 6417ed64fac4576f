/* SPDX-License-Identifier: MIT */
/* Limits of programs (ferry/limits.h): which are in force, and the calls that they make watched. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "bpf/policy.h"
#include "bpf/sys_int.h"
#include "code/code.h"
#include "ferry/limits.h"
#include "helper/helper.h"
#include "jit/jit.h"
#include "prog/limit.h"
#include "vm/vm.h"

static struct prog_limits defaults;
static bool have_defaults;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;   /* of the defaults */
/* One program after the other is compiled again. Held while waiting: not taken inside a program. */
static pthread_mutex_t change = PTHREAD_MUTEX_INITIALIZER;

/* ---- watched calls ------------------------------------------------------------------------------ */

static int cannot(const struct prog *p, u32 at, const char *name, const char *why, struct text *log)
{
	const struct prog_line *line = prog_line_at(p, at);

	if (line)
		text_printf(log, "%s:%u: ", line->file, line->line);
	text_printf(log, "insn %u: the call of %s cannot be watched: %s\n", at, name, why);
	log_msg(LOG_ERROR, "program %s: the call of %s cannot be watched: %s", p->name, name, why);
	return -EINVAL;
}

static u8 native_fail(const struct module_func *f)
{
	for (u32 n = 0; f->bridged && n < f->nargs; n++)
		if (f->args[n].uninit)
			return PROG_SITE_END; /* what it did not write is nowhere known */
	switch (f->ret_kind) {
	case MODULE_RET_VOID: return PROG_SITE_NULL;
	case MODULE_RET_SCALAR: return PROG_SITE_ERROR;
	case MODULE_RET_STRUCT: return PROG_SITE_END;
	}
	return f->flags & FERRY_RET_NULL ? PROG_SITE_NULL : PROG_SITE_END;
}

static int native_site(const struct prog *p, u32 at, struct prog_site *s, struct text *log)
{
	const struct module_func *f = p->natives[p->insns[at].imm];

	s->func = f;
	s->name = f->name;
	s->fn = f->addr;
	s->fail = native_fail(f);
	if (f->flags & FERRY_RELEASE && s->rate.per_second)
		return cannot(p, at, f->name, "it releases what must be released: grant it without a rate", log);
	if (s->fail == PROG_SITE_END && s->held)
		return cannot(p, at, f->name, "without its result the program would have to end, and it "
					      "holds a reference: release that first", log);
	return 0;
}

static int helper_site(const struct prog *p, u32 at, struct prog_site *s, struct text *log)
{
	const struct helper_proto *h = helper_of((u32)p->insns[at].imm);

	if (!h || !h->fn || h->flags & (HELPER_RELEASES | HELPER_TAIL_CALL) ||
	    h->id == BPF_FUNC_get_smp_processor_id)
		return cannot(p, at, helper_name((u32)p->insns[at].imm),
			      "it is one that may not fail: grant it without a rate", log);
	s->name = h->name;
	s->fn = (const void *)(uintptr_t)h->fn;
	s->fail = h->ret == RET_INTEGER ? PROG_SITE_ERROR : PROG_SITE_NULL;
	return 0;
}

static bool is_guarded(const struct prog *p)
{
	return p->limits && p->limits->on_fault != PROG_FAULT_HOST;
}

/* Fills sites[] when not NULL: how many calls are watched, or -errno. */
static int find_sites(struct prog *p, struct prog_site *sites, struct text *log)
{
	int n = 0, err;

	for (u32 at = 0; at < p->insn_cnt; at += isa_slots(&p->insns[at])) {
		bool native = isa_is_call(&p->insns[at], BPF_PSEUDO_KFUNC_CALL);
		struct prog_site s = { .insn = at, .prog = p };

		if (!native && !isa_is_call(&p->insns[at], 0))
			continue;
		if (p->facts && !p->facts[at].seen)
			continue;
		s.held = p->facts && p->facts[at].held;
		s.rate.per_second = policy_rate(p, at);
		if (!s.rate.per_second && !(native && (p->natives[p->insns[at].imm]->mod->gone || is_guarded(p))))
			continue;
		err = native ? native_site(p, at, &s, log) : helper_site(p, at, &s, log);
		if (err)
			return err;
		if (sites)
			sites[n] = s;
		n++;
	}
	return n;
}

static int make_sites(struct prog *p, struct text *log)
{
	int n = find_sites(p, NULL, log);

	base_free(p->sites);
	p->sites = NULL;
	p->nsites = 0;
	if (n <= 0)
		return n;
	p->sites = base_array((size_t)n, sizeof(*p->sites));
	if (!p->sites)
		return -ENOMEM;
	n = find_sites(p, p->sites, log);
	p->nsites = n < 0 ? 0 : (u32)n;
	/* Code that is watched looks at whether the program has ended: even without a budget. */
	if (n > 0 && !p->limits) {
		p->limits = base_alloc(sizeof(*p->limits));
		if (!p->limits)
			return -ENOMEM;
	}
	return n < 0 ? n : 0;
}

static bool is_none(const struct prog_limits *l)
{
	return !l->insns && !l->time_ns && !l->on_fault;
}

static int set_limits(struct prog *p, const struct prog_limits *l, struct text *log)
{
	base_free(p->limits);
	p->limits = NULL;
	if (!is_none(l)) {
		p->limits = base_memdup(l, sizeof(*l));
		if (!p->limits)
			return -ENOMEM;
		if (l->on_fault && code_guard_init())
			return -EOPNOTSUPP;
	}
	return make_sites(p, log);
}

int sys_limit_apply(struct sys_prog *sp, struct text *log)
{
	struct prog_limits l = { 0 };

	pthread_mutex_lock(&lock);
	if (have_defaults)
		l = defaults;
	pthread_mutex_unlock(&lock);
	policy_limits(sp->p, &l);
	return set_limits(sp->p, &l, log);
}

/* ---- events ------------------------------------------------------------------------------------- */

void sys_limit_report(const struct prog *p, u32 ended)
{
	static _Atomic u64 next;
	struct timespec ts;
	u64 now, due = next;
	const char *why = ended == PROG_OUT_OF_INSNS ? "it used up its instructions" :
			  ended == PROG_OUT_OF_TIME  ? "it used up its time" :
						       "a function that it called failed";

	if (ended == PROG_GONE)
		return; /* was said when the module went */
	/* Ten at once and then ten a second: a program that runs away does so each time. */
	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
	if (now + 1000000000u < due)
		return;
	next = (due > now ? due : now) + 100000000u;
	log_msg(LOG_WARN, "program %s was ended: %s", p->name, why);
}

/* ---- compiling again ---------------------------------------------------------------------------- */

static bool var_gone(const struct prog *p)
{
	for (u32 n = 0; n < p->nsyms; n++)
		if (p->syms[n].var && p->syms[n].mod->gone)
			return true;
	return false;
}

bool sys_limit_gone(const struct prog *p)
{
	for (u32 n = 0; n < p->nnatives; n++)
		if (p->natives[n]->mod->gone)
			return true;
	return var_gone(p);
}

static u64 run_nothing(const struct prog *p, void *ctx)
{
	(void)p, (void)ctx;
	return 0;
}

static u64 call_nothing(const struct prog *p, const u64 *args)
{
	(void)p, (void)args;
	return 0;
}

/* Needs no memory: what a run returns instead does, and is 0 without. Tail calls find nothing. */
static void make_nothing(struct prog *made, const struct prog_limits *l)
{
	base_free(made->limits);
	base_free(made->sites);
	made->sites = NULL;
	made->nsites = 0;
	made->limits = base_memdup(l, sizeof(*l));
	if (made->limits)
		made->limits->gone = true;
	made->run = run_nothing;
	made->call = call_nothing;
	made->tail = NULL;
	log_msg(LOG_WARN, "program %s runs no more: a module that it needs was unregistered", made->name);
}

/* p with limits, compiled beside what runs now: into *made, whose engine's fields become p's. */
static int compile(const struct sys_prog *sp, const struct prog_limits *l, struct prog *made)
{
	bool gone = sys_limit_gone(sp->p);
	struct text log = { 0 };
	int err;

	*made = *sp->p;
	made->limits = NULL;
	made->sites = NULL;
	made->nsites = 0;
	made->code = made->vm = NULL;
	made->run = NULL;
	err = var_gone(made) ? -ENOENT : set_limits(made, l, &log);
	text_free(&log);
	for (u32 n = 0; n < made->nsites; n++)
		made->sites[n].prog = sp->p;
	if (!err)
		err = sp->jited ? jit_install(made) : vm_install(made);
	if (err && gone) {
		make_nothing(made, l);
		err = 0;
	}
	if (err) {
		base_free(made->limits);
		base_free(made->sites);
	}
	return err;
}

/*
 * A run reads p->limits and then p->run: without limits it would begin no budget, and nobody would read
 * that code with limits ended it. So limits are there before such code and stay until it is gone. What the
 * old `run` and `call` look up (the interpreter's form, where tail calls go) stays as long, too.
 */
static void exchange(struct prog *p, const struct prog *with)
{
	if (with->limits) {
		bool first = !p->limits;

		__atomic_store_n(&p->limits, with->limits, __ATOMIC_RELEASE);
		if (first)
			sys_run_wait();
	}
	p->sites = with->sites;
	p->nsites = with->nsites;
	p->code = with->code;
	if (with->vm)
		__atomic_store_n(&p->vm, with->vm, __ATOMIC_RELEASE);
	if (with->tail)
		__atomic_store_n(&p->tail, with->tail, __ATOMIC_RELEASE);
	__atomic_store_n(&p->call, with->call, __ATOMIC_RELEASE);
	__atomic_store_n(&p->run, with->run, __ATOMIC_RELEASE);
	if ((p->vm && !with->vm) || (p->tail && !with->tail)) {
		sys_run_wait();
		__atomic_store_n(&p->vm, with->vm, __ATOMIC_RELEASE);
		__atomic_store_n(&p->tail, with->tail, __ATOMIC_RELEASE);
	}
}

static prog_callback function(const struct prog *p, bool jited, u32 n)
{
	return jited ? jit_callback(p, n) : vm_callback(p, p->funcs[n].start);
}

static bool move_timers(const struct sys_prog *sp, const struct prog *old)
{
	bool any = false;

	for (u32 n = 0; n < old->nfuncs; n++) {
		prog_callback from = function(old, sp->jited, n);

		if (from && helper_timers_move(sp->p, from, function(sp->p, sp->jited, n)))
			any = true;
	}
	return any;
}

/* Compiles a program again; nobody is in its old code then. With the lock `change`. */
static int again(struct sys_prog *sp, const struct prog_limits *l)
{
	struct prog made, old;
	bool moved;
	int err = compile(sp, l, &made);

	if (err)
		return err;
	old = *sp->p;
	exchange(sp->p, &made);
	/* What is inside the old code may start a timer that goes there. */
	do {
		sys_run_wait();
		moved = move_timers(sp, &old);
		sys_run_wait();
		moved |= move_timers(sp, &old);
	} while (moved);
	if (old.limits && !made.limits) {
		__atomic_store_n(&sp->p->limits, NULL, __ATOMIC_RELEASE);
		sys_run_wait();
	}
	if (sp->jited)
		jit_remove(&old);
	else
		vm_remove(&old);
	base_free(old.limits);
	base_free(old.sites);
	return 0;
}

void sys_limit_module_gone(void)
{
	u32 id = 0;

	pthread_mutex_lock(&change);
	while ((id = sys_id_next(SYS_PROG, id))) {
		struct sys_obj *o = sys_id_get(SYS_PROG, id);
		struct sys_prog *sp = o ? container_of(o, struct sys_prog, o) : NULL;

		if (sp && sp->p && sys_limit_gone(sp->p))
			again(sp, sp->p->limits ? sp->p->limits : &(struct prog_limits){ 0 });
		if (o)
			sys_put(o);
	}
	pthread_mutex_unlock(&change);
	sys_run_wait(); /* for runs of programs that were closed meanwhile */
}

/* ---- the public functions ----------------------------------------------------------------------- */

static int from_public(const struct ferry_limits *in, struct prog_limits *out)
{
	memset(out, 0, sizeof(*out));
	if (!in)
		return 0;
	if (in->sz < sizeof(*in) || in->on_fault < FERRY_FAULT_HOST || in->on_fault > FERRY_FAULT_ERROR)
		return -EINVAL;
	*out = (struct prog_limits){ in->insns, in->time_ns, in->value, (u8)in->on_fault, false };
	return 0;
}

int ferry_limits_default(const struct ferry_limits *limits)
{
	struct prog_limits l;
	int err = from_public(limits, &l);

	if (err)
		return err;
	pthread_mutex_lock(&lock);
	defaults = l;
	have_defaults = limits != NULL;
	pthread_mutex_unlock(&lock);
	return 0;
}

int ferry_prog_limit(int prog_fd, const struct ferry_limits *limits)
{
	struct prog_limits l;
	struct sys_prog *sp;
	struct sys_obj *o;
	u32 none = 0;
	int err = from_public(limits, &l);

	if (err)
		return err;
	sys_inside++;
	o = sys_fd_get(prog_fd, SYS_PROG);
	if (!o) {
		sys_inside--;
		return -EBADF;
	}
	sp = container_of(o, struct sys_prog, o);
	if (sys_run_inside()) {
		err = -EBUSY;
	} else {
		pthread_mutex_lock(&change);
		if (atomic_compare_exchange_strong(&sp->p->direct, &none, PROG_NOT_DIRECT)) {
			err = again(sp, &l);
			sp->p->direct = 0;
		} else {
			err = -EBUSY;
		}
		pthread_mutex_unlock(&change);
	}
	sys_put(o);
	sys_inside--;
	return err;
}
