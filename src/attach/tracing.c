/* SPDX-License-Identifier: MIT */
/*
 * fentry and fexit: programs on functions of modules, and on those that carry out system calls, with the arguments that BTF types. The context is
 * the kernel's: the number of arguments, then each in 8 bytes, then, at exit, the result. What a function
 * was called with is kept from its entry to its exit.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "attach/syscall_int.h"
#include "bpf/event/attach.h"
#include "bpf/sys.h"
#include "module/module.h"

#define MAX_ARGS SYS_TRACED_ARGS
#define REG_ARGS 6
#define MAX_KEPT 1024 /* calls of one thread that have not come back; the oldest are forgotten */

struct tracing {
	struct sys_attach what;
	const struct module_func *func;
	struct module *mod; /* referenced; NULL: it carries out a system call, and */
	void *call;         /* is that event (syscall_event.c) */
	struct probe *probes[2];
	u32 nprobes;
	struct tracing *next;
};

/* A call that has not come back. Those that never will are found by what comes after. */
struct kept {
	const struct tracing *t;
	u64 sp;
	u64 args[MAX_ARGS];
};

struct calls {
	u32 n; /* ever put; the last MAX_KEPT are there */
	struct kept kept[MAX_KEPT];
};

static struct tracing *all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t calls_key;
static _Thread_local struct calls *calls __attribute__((tls_model("initial-exec")));

/* ---- calls under way ----------------------------------------------------------------------------- */

/* What is called behind the thread's destructors makes new ones; a later thread on the same stack may free those. */
static void calls_free(void *c)
{
	if (c == calls)
		calls = NULL;
	SYS(SYS_munmap, c, sizeof(struct calls), 0, 0);
}

/* No malloc: the call may come from anywhere. */
static struct calls *calls_get(void)
{
	long at;

	if (calls)
		return calls;
	at = SYS(SYS_mmap, NULL, sizeof(*calls), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	if (at < 0 && at > -4096)
		return NULL;
	calls = (struct calls *)at;
	pthread_setspecific(calls_key, calls);
	return calls;
}

static void keep(const struct tracing *t, u64 sp, const u64 *args)
{
	struct calls *c = calls_get();
	struct kept *k;

	if (!c)
		return;
	k = &c->kept[c->n++ % MAX_KEPT];
	k->t = t;
	k->sp = sp;
	memcpy(k->args, args, sizeof(k->args));
}

/* What it was called with; calls above it on the stack were left without a return. */
static const u64 *take(const struct tracing *t, u64 sp)
{
	struct calls *c = calls;
	u32 n;

	if (!c)
		return NULL;
	for (n = 1; n <= MAX_KEPT && n <= c->n; n++) {
		const struct kept *k = &c->kept[(c->n - n) % MAX_KEPT];

		if (k->t != t || k->sp != sp)
			continue;
		c->n -= n;
		return k->args;
	}
	return NULL;
}

/* ---- hits ---------------------------------------------------------------------------------------- */

static void read_args(const struct tracing *t, const struct pt_regs *regs, u64 *args)
{
	/* SysV ABI 3.2.3: INTEGER arguments, in order; then 8 bytes each above the return address. */
	const u64 in_regs[REG_ARGS] = { regs->rdi, regs->rsi, regs->rdx, regs->rcx, regs->r8, regs->r9 };
	const u64 *on_stack = (const u64 *)(uintptr_t)(regs->rsp + 8);

	for (u32 i = 0; i < t->func->nargs; i++) {
		const struct module_arg *a = &t->func->args[i];

		args[i] = module_extend(i < REG_ARGS ? in_regs[i] : on_stack[i - REG_ARGS], a->width, a->is_signed,
					a->is_bool);
	}
}

static void run(const struct tracing *t, const u64 *args, const u64 *ret)
{
	u64 block[1 + MAX_ARGS + 1] = { t->func->nargs };

	memcpy(block + 1, args, t->func->nargs * sizeof(u64));
	if (ret)
		block[1 + t->func->nargs] = *ret;
	sys_prog_run_at(t->what.p, block + 1, t->what.cookie, (u64)(uintptr_t)t->func->addr);
}

static void entered(struct pt_regs *regs, void *arg)
{
	const struct tracing *t = arg;
	u64 args[MAX_ARGS] = { 0 };

	read_args(t, regs, args);
	if (t->what.p->attach_type == BPF_TRACE_FEXIT)
		keep(t, regs->rsp, args);
	else if (!sys_inside)
		run(t, args, NULL);
}

static void returned(struct pt_regs *regs, void *arg)
{
	const struct tracing *t = arg;
	const struct module_func *f = t->func;
	const u64 *args = take(t, regs->rsp - 8);
	u64 ret = 0;

	if (f->ret_kind != MODULE_RET_VOID)
		ret = module_extend(regs->rax, f->ret_width, f->ret_signed, f->ret_bool);
	if (!args)
		((struct prog *)t->what.p)->recursion_misses++;
	else if (!sys_inside)
		run(t, args, &ret);
}

/* ---- attach -------------------------------------------------------------------------------------- */

static int check(const struct module_func *f, struct text *why)
{
	if (f->nargs > MAX_ARGS || f->variadic) {
		text_printf(why, "%s has more than %d arguments, or any number", f->name, MAX_ARGS);
		return -EOPNOTSUPP;
	}
	for (u32 i = 0; i < f->nargs; i++)
		if (f->args[i].is_float || f->args[i].kind == MODULE_ARG_VALUE) {
			text_printf(why, "argument %u of %s is floating point or a struct by value", i + 1, f->name);
			return -EOPNOTSUPP;
		}
	if (f->ret_float || f->ret_kind == MODULE_RET_STRUCT) {
		text_printf(why, "%s returns floating point or a struct by value", f->name);
		return -EOPNOTSUPP;
	}
	return 0;
}

static void forget(struct tracing *t)
{
	probe_remove(t->probes, t->nprobes);
	t->nprobes = 0;
	if (t->call)
		syscall_untrace(t->call);
	if (t->mod)
		module_put(t->mod);
	base_free(t);
}

/* Was it verified with that function's arguments? Another member may say what it likes. */
static bool is_call_of(const struct prog *p, const char *name)
{
	return (p->attach_type == BPF_TRACE_FENTRY || p->attach_type == BPF_TRACE_FEXIT) && p->args.trusted &&
	       p->args.name && !strcmp(p->args.name, name);
}

static int put(struct tracing *t, struct text *why)
{
	bool at_exit = t->what.p->attach_type == BPF_TRACE_FEXIT;
	const void *addr = t->func ? t->func->addr : NULL;
	const struct probe_spec specs[] = { { addr, PROBE_ENTRY, 0, entered, t },
					    { addr, PROBE_RETURN, 0, returned, t } };
	const struct tracing *other;
	int err;

	for (other = all; other; other = other->next)
		if (other->what.p == t->what.p)
			return -EBUSY; /* bpf_trampoline_link_prog() */
	if (!t->mod && !is_call_of(t->what.p, t->what.name)) {
		text_puts(why, "the program is for another function");
		return -EINVAL;
	}
	if (!t->mod)
		return syscall_trace(&t->what, &t->call, why);
	err = check(t->func, why);
	if (!err)
		err = probe_add(specs, at_exit ? 2 : 1, t->probes, why);
	if (!err)
		t->nprobes = at_exit ? 2 : 1;
	return err;
}

static int attach(const struct sys_attach *a, void **event, struct text *why)
{
	struct tracing *t;
	int err;

	if (!a->func && !a->name) {
		text_puts(why, "only functions of modules have an address here");
		return -EOPNOTSUPP;
	}
	t = base_alloc(sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->what = *a;
	t->func = a->func;
	t->mod = a->func ? module_get(a->func->mod) : NULL;
	pthread_mutex_lock(&lock);
	err = t->mod && t->mod->gone ? -ENOENT : put(t, why);
	if (!err) {
		t->next = all;
		all = t;
		*event = t;
	}
	pthread_mutex_unlock(&lock);
	if (err)
		forget(t);
	return err;
}

static void detach(void *event)
{
	struct tracing *t = event, **at;

	pthread_mutex_lock(&lock);
	for (at = &all; *at != t; at = &(*at)->next)
		;
	*at = t->next;
	pthread_mutex_unlock(&lock);
	forget(t);
}

/* Modules were unregistered, and their code may go: nothing stays on it. The links are there still. */
static void gone(void)
{
	struct tracing *t;

	pthread_mutex_lock(&lock);
	for (t = all; t; t = t->next)
		if (t->mod && t->mod->gone && t->nprobes) {
			probe_remove(t->probes, t->nprobes);
			t->nprobes = 0;
		}
	pthread_mutex_unlock(&lock);
}

static const struct sys_attach_ops ops = { attach, detach };

static __attribute__((constructor)) void init(void)
{
	if (!pthread_key_create(&calls_key, calls_free))
		sys_attach_source(SYS_ATTACH_TRACING, &ops);
	sys_attach_module_gone = gone;
}
