/* SPDX-License-Identifier: MIT */
/*
 * Programs as C functions (ferry/closure.h). What a caller may still be about to enter is never freed:
 * closures are kept by their prototype and used again for the same one, so that a late call finds a
 * function of its own type. Only the program behind it changes, and is let go of when nobody is inside.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "bpf/run/closure_int.h"
#include "bpf/run/run.h"
#include "bpf/sys_int.h"
#include "ferry/closure.h"
#include "jit/jit.h"

struct closure {
	struct ferry_closure c;
	const void *_Atomic target;   /* the short way: the program's code, or: */
	const void *otherwise;        /* take the other way */
	struct prog *_Atomic prog;    /* NULL: gone */
	u64 on_error;
	struct closure_plan plan;
	struct call_sig *sig;
	ffi_closure *ffi;
	char *key;                    /* prototype and types */
	struct closure *next;         /* of the free ones */
	/* What waits for the last thread to leave. */
	struct sys_deferred deferred;
	struct prog *old;
	bool direct, old_direct;      /* on the short way: counted in prog.direct */
};

_Static_assert(SYS_FAST_CLOSURE == 1 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "jit_entry() writes 32 bits");

static struct closure *free_list;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;        /* of the list */
static pthread_mutex_t update_lock = PTHREAD_MUTEX_INITIALIZER; /* one change after the other */

/* libbpf then knows the section's name. */
__attribute__((constructor)) static void register_section(void)
{
	libbpf_register_prog_handler("closure+", BPF_PROG_TYPE_EXT, 0, NULL);
}

/* ---- calls -------------------------------------------------------------------------------------- */

static void on_call(ffi_cif *cif, void *ret, void **args, void *data)
{
	struct closure *cl = data;
	u64 regs[PROG_MAX_ARGS] = { 0 }, block[CLOSURE_MAX_ARGS], value;

	(void)cif;
	closure_load(&cl->plan, ret, args, regs, block);
	value = cl->on_error;
	if (!sys_prog_call((struct prog *const _Atomic *)&cl->prog, regs, &value))
		log_msg(LOG_DEBUG, "closure: the program is gone, was ended, or calls are %d deep", SYS_MAX_DEPTH);
	closure_store(&cl->plan, ret, value);
}

/* ---- the short way ------------------------------------------------------------------------------ */

/* Helpers that neither look at who runs nor call anything of the host's. */
static bool is_leaf_helper(s32 id)
{
	switch (id) {
	case BPF_FUNC_map_lookup_elem:
	case BPF_FUNC_map_update_elem:
	case BPF_FUNC_map_delete_elem:
	case BPF_FUNC_ktime_get_ns:
	case BPF_FUNC_ktime_get_boot_ns:
	case BPF_FUNC_get_prandom_u32:
	case BPF_FUNC_get_smp_processor_id:
		return true;
	}
	return false;
}

static bool is_leaf(const struct prog *p)
{
	if (p->nsyms)
		return false; /* their module may be unregistered */
	for (u32 i = 0; i < p->insn_cnt; i += isa_slots(&p->insns[i])) {
		const struct bpf_insn *in = &p->insns[i];

		if (isa_is_ldimm64(in) && in->src_reg == BPF_PSEUDO_FUNC)
			return false;
		if (isa_is_call(in, BPF_PSEUDO_KFUNC_CALL) || (isa_is_call(in, 0) && !is_leaf_helper(in->imm)))
			return false;
	}
	return true;
}

/*
 * A char or short has to be widened for callers that rely on it (clang does, the SysV ABI is silent); what
 * is proved to be in its range, as a bool, is wide enough.
 */
static bool is_widened(const struct closure_plan *plan, const struct prog *p)
{
	return plan->ret == CLOSURE_INT && plan->ret_width < 4 && !(p->sig && p->sig->ret_bounded);
}

/* Counts one more that calls the code itself. False: limits are just being changed, and that code goes. */
static bool take_direct(struct prog *p)
{
	u32 n = p->direct;

	do {
		if (n & PROG_NOT_DIRECT)
			return false;
	} while (!atomic_compare_exchange_weak(&p->direct, &n, n + 1));
	return true;
}

/* Does the program go the short way? Its code then stays as it is: by take_direct(). */
static bool is_short(const struct closure *cl, const struct prog *p)
{
	return cl->otherwise && p->tail && !p->limits && !p->nsites && !is_widened(&cl->plan, p) && is_leaf(p);
}

/*
 * What the caller calls: the short way where the prototype allows it, which goes on to the other one by itself. What
 * it does with arguments depends on the prototype alone, so it stays when programs change.
 */
static void add_entry(struct closure *cl)
{
	const struct jit_entry e = {
		.args = cl->plan.args,
		.n = cl->plan.nargs,
		.ret_float = cl->plan.ret == CLOSURE_BYTES ? cl->plan.ret_width : 0,
		.inside = (const u32 *)&sys_runner.fast,
		.target = &cl->target,
		.otherwise = cl->c.code,
	};
	const void *code = cl->plan.registers ? jit_entry(&e) : NULL;

	if (!code)
		return;
	cl->c.code = (void *)(uintptr_t)code;
	cl->otherwise = cl->target;
}

/* ---- making and freeing ------------------------------------------------------------------------- */

static void forget_old(struct closure *cl)
{
	if (cl->old && cl->old_direct)
		cl->old->direct--;
	if (cl->old)
		sys_prog_put(cl->old);
	cl->old = NULL;
}

static void to_free_list(struct closure *cl)
{
	pthread_mutex_lock(&lock);
	cl->next = free_list;
	free_list = cl;
	pthread_mutex_unlock(&lock);
}

/* Every call that finds the new state may run it; calls inside the old one are still there. `direct` is counted. */
static void set_program(struct closure *cl, struct prog *p, bool direct)
{
	cl->old = atomic_load(&cl->prog);
	cl->old_direct = cl->direct;
	cl->direct = direct;
	atomic_store(&cl->prog, p);
	atomic_store(&cl->target, direct ? p->tail : cl->otherwise);
}

static void free_later(struct sys_deferred *d)
{
	struct closure *cl = container_of(d, struct closure, deferred);

	sys_run_wait();
	forget_old(cl);
	to_free_list(cl);
}

static void release(struct ferry_closure *c)
{
	struct closure *cl = container_of(c, struct closure, c);

	sys_inside++;
	set_program(cl, NULL, false);
	if (!sys_run_later(&cl->deferred, free_later))
		free_later(&cl->deferred);
	sys_inside--;
}

static struct closure *take_free(const char *key)
{
	struct closure **at, *cl = NULL;

	pthread_mutex_lock(&lock);
	for (at = &free_list; *at; at = &(*at)->next) {
		if (strcmp((*at)->key, key))
			continue;
		cl = *at;
		*at = cl->next;
		break;
	}
	pthread_mutex_unlock(&lock);
	return cl;
}

static void destroy(struct closure *cl) /* one that was never handed out */
{
	if (cl->ffi)
		ffi_closure_free(cl->ffi);
	call_sig_free(cl->sig);
	base_free(cl->key);
	base_free(cl);
}

/* `context`: the program takes the address of all arguments, as its type's context. */
static int make(const char *prototype, const char *types, bool context, char *key,
		struct closure **out)
{
	struct closure *cl = base_alloc(sizeof(*cl));
	int err = cl ? call_sig_new(prototype, types, &cl->sig) : -ENOMEM;

	if (err) {
		base_free(cl);
		base_free(key);
		return err;
	}
	cl->key = key;
	cl->c.release = release;
	err = closure_plan(call_sig_func(cl->sig), call_sig_cif(cl->sig), &cl->plan);
	if (context) {
		cl->plan.block = true;
		cl->plan.registers = false;
	}
	if (!err) {
		cl->ffi = ffi_closure_alloc(sizeof(*cl->ffi), &cl->c.code);
		err = cl->ffi ? 0 : -ENOMEM;
	}
	if (!err && ffi_prep_closure_loc(cl->ffi, call_sig_cif(cl->sig), on_call, cl, cl->c.code) != FFI_OK)
		err = -EOPNOTSUPP;
	if (err) {
		destroy(cl);
		return err;
	}
	add_entry(cl);
	*out = cl;
	return 0;
}

static int get_closure(const char *prototype, const char *types, bool context, struct closure **out)
{
	struct text t = { 0 };

	text_printf(&t, "%s\n%s\n%s", prototype, types ? types : "", context ? "context" : "");
	if (t.oom) {
		text_free(&t);
		return -ENOMEM;
	}
	*out = take_free(text_str(&t));
	if (!*out)
		return make(prototype, types, context, t.s, out);
	text_free(&t);
	return 0;
}

/* Does the program fit, and how is it run? Takes over the reference when it does. */
static int bind(struct closure *cl, struct prog *p, const char *prototype)
{
	struct text why = { 0 };
	bool direct;
	int err = -EINVAL;

	if (!p->sig || !p->call || p->type != BPF_PROG_TYPE_EXT)
		text_puts(&why, "it is no C function: put it into SEC(\"closure\")");
	else
		err = closure_check(call_sig_func(cl->sig), &cl->plan, p->sig, &why);
	if (err) {
		log_msg(LOG_ERROR, "closure \"%s\" of program %s: %s", prototype, p->name, text_str(&why));
		text_free(&why);
		return err;
	}
	direct = take_direct(p);
	if (direct && !is_short(cl, p)) {
		p->direct--;
		direct = false;
	}
	set_program(cl, p, direct);
	return 0;
}

int ferry_closure(int prog_fd, const char *prototype, const struct ferry_closure_opts *opts,
		  struct ferry_closure **out)
{
	struct closure *cl;
	struct prog *p;
	int err;

	if (!prototype || !out || (opts && opts->sz < sizeof(*opts)))
		return -EINVAL;
	sys_inside++;
	p = sys_fd_prog(prog_fd);
	err = p ? get_closure(prototype, opts ? opts->types : NULL, false, &cl) : -EBADF;
	if (!err) {
		cl->on_error = opts ? opts->on_error : 0;
		err = bind(cl, p, prototype);
		if (err)
			to_free_list(cl);
		else
			*out = &cl->c;
	}
	if (err && p)
		sys_prog_put(p);
	sys_inside--;
	return err;
}

int ferry_closure_update(struct ferry_closure *closure, int prog_fd)
{
	struct closure *cl;
	struct prog *p;
	int err;

	if (!closure || closure->release != release)
		return -EINVAL;
	cl = container_of(closure, struct closure, c);
	sys_inside++;
	p = sys_fd_prog(prog_fd);
	err = p ? 0 : -EBADF;
	if (!err && sys_run_inside())
		err = -EBUSY; /* it would wait for itself */
	if (!err) {
		pthread_mutex_lock(&update_lock);
		err = bind(cl, p, cl->key);
		if (!err) {
			sys_run_wait();
			forget_old(cl);
		}
		pthread_mutex_unlock(&update_lock);
	}
	if (err && p)
		sys_prog_put(p);
	sys_inside--;
	return err;
}

int closure_of_context(struct prog *p, const char *prototype, const char *types,
		       struct ferry_closure **out)
{
	struct closure *cl;
	int err = get_closure(prototype, types, true, &cl);

	if (err)
		return err;
	cl->on_error = 0;
	set_program(cl, p, false);
	*out = &cl->c;
	return 0;
}

void closure_drop(struct ferry_closure *c)
{
	struct closure *cl;

	if (!c)
		return;
	cl = container_of(c, struct closure, c);
	set_program(cl, NULL, false);
	forget_old(cl);
	to_free_list(cl);
}
