/* SPDX-License-Identifier: MIT */
/*
 * Events of system calls: what of tracepoints, raw tracepoints and probes on kernel functions a
 * process can see of itself. What is attached becomes a table by the call's number; the instructions
 * are replaced while there is something in it.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attach/syscall_int.h"
#include "bpf/event/attach.h"
#include "bpf/session/look.h"
#include "bpf/sys.h"

/* Names that the kernel's functions have, where those of the numbers are others. */
#define SYS_newfstat SYS_fstat
#define SYS_newlstat SYS_lstat
#define SYS_newstat SYS_stat
#define SYS_newuname SYS_uname
#define SYS_sendfile64 SYS_sendfile
#define SYS_umount SYS_umount2

#define ALL (-1)

static const struct {
	const char *name;
	s32 nr;
	u32 nargs;
} calls[] = {
#define SYSCALL(name, ...) { #name, SYS_##name, ARRAY_SIZE(((const char *[]){ "", ##__VA_ARGS__ })) - 1 },
#include "btf/syscalls.def"
#undef SYSCALL
};

struct event {
	const struct prog *p;
	u64 cookie;
	u64 func; /* address; 0: none */
	s32 nr; /* or ALL */
	s32 pid;
	u8 form;
	u8 life; /* enum life; LIFE_KINDS: it is one of calls */
	bool exit;
	struct event *next; /* in the order of attachment */
};

static struct event *events;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- names ---------------------------------------------------------------------------------------- */

static s32 find_call(const char *name, u32 *nargs, u64 *func)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(calls); i++)
		if (!strcmp(calls[i].name, name)) {
			*nargs = calls[i].nargs;
			*func = SYS_CALL_ADDR(i);
			return calls[i].nr;
		}
	return ALL;
}

/* Past `prefix`; NULL: it does not begin so. */
static const char *past(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) ? NULL : s + n;
}

static int only_ours(const struct sys_attach *a, struct text *why)
{
	if (a->pid <= 0 || a->pid == getpid())
		return 0;
	text_printf(why, "process %d is another one", a->pid);
	return -EOPNOTSUPP;
}

/* "category:name". The context has what the kernel's has: no program may read more. */
static int parse_tracepoint(const struct sys_attach *a, struct event *e, struct text *why)
{
	const char *call, *enter = past(a->name, "syscalls:sys_enter_");
	u32 nargs = 0, size;
	u64 func;

	if (enter || past(a->name, "syscalls:sys_exit_")) {
		call = enter ? enter : past(a->name, "syscalls:sys_exit_");
		e->nr = find_call(call, &nargs, &func);
		e->exit = !enter;
		e->form = SC_ONE;
		/* trace_event_get_offsets(): where the last field ends. */
		size = e->exit ? 24 : nargs ? 16 + 8 * nargs : 12;
	} else if (!strcmp(a->name, "raw_syscalls:sys_enter")) {
		e->form = SC_ALL;
		size = 64;
	} else if (!strcmp(a->name, "raw_syscalls:sys_exit")) {
		e->form = SC_ALL;
		e->exit = true;
		size = 24;
	} else if ((e->life = life_named(a->name, true, &size)) != LIFE_KINDS) {
		e->form = SC_ONE;
	} else {
		text_puts(why, "this happens in the kernel only; what a process can see of itself is: "
			       "syscalls:*, raw_syscalls:*, sched:sched_process_exec, _fork, _exit, task:task_newtask");
		return -EOPNOTSUPP;
	}
	if (a->p->max_ctx_off > size) {
		text_printf(why, "the program reads %u bytes of its context, this event has %u",
			    a->p->max_ctx_off, size);
		return -EACCES;
	}
	return 0;
}

static int parse_raw(const struct sys_attach *a, struct event *e, struct text *why)
{
	u32 nargs;

	e->form = SC_RAW;
	e->exit = !strcmp(a->name, "sys_exit");
	if (!e->exit && strcmp(a->name, "sys_enter")) {
		e->life = life_named(a->name, false, &(u32){ 0 });
		if (e->life == LIFE_KINDS) {
			text_puts(why, "this happens in the kernel only; sys_enter, sys_exit, sched_process_exec, _fork, "
				       "_exit and task_newtask can be seen");
			return -EOPNOTSUPP;
		}
	}
	nargs = e->life == LIFE_EXEC ? 3 : 2;
	if (a->p->max_ctx_off > nargs * sizeof(u64)) { /* __bpf_probe_register() */
		text_printf(why, "the program reads %u arguments, this event has %u", (a->p->max_ctx_off + 7) / 8, nargs);
		return -EINVAL;
	}
	return 0;
}

/* Functions of the kernel that carry out system calls, by the names of its x86 wrappers. */
static int parse_func(const struct sys_attach *a, struct event *e, struct text *why)
{
	const char *call = a->name ? past(a->name, "__x64_sys_") : NULL;
	u32 nargs;

	/* What bcc takes for their names when it may not read /proc/kallsyms, as it thinks of all users but root. */
	if (a->name && !call)
		call = past(a->name, "sys_");

	e->form = SC_FUNC;
	e->nr = call ? find_call(call, &nargs, &e->func) : ALL;
	if (e->nr == ALL) {
		text_puts(why, "only functions of system calls can be seen, as __x64_sys_NAME");
		return -EOPNOTSUPP;
	}
	if (a->offset) {
		text_puts(why, "there is no code of the kernel here to count an offset in");
		return -EOPNOTSUPP;
	}
	return 0;
}

/* ---- the table ------------------------------------------------------------------------------------- */

static struct sc_hook hook_of(const struct event *e)
{
	return (struct sc_hook){ e->p, e->cookie, e->func, e->form, (u8)((e->p->max_ctx_off + 7) / 8), e->pid };
}

/* The kernel's order: tracepoints are outside, its functions inside. */
static u32 collect(struct sc_list *l, s32 nr, bool exit)
{
	const struct event *e;
	u32 n = 0, pass;

	for (pass = 0; pass < 2; pass++)
		for (e = events; e; e = e->next) {
			if (e->life != LIFE_KINDS || e->exit != exit || (e->nr != ALL && e->nr != nr) ||
			    (e->form >= SC_FUNC) != (pass == !exit))
				continue;
			if (l)
				l->hook[l->n++] = hook_of(e);
			n++;
		}
	return n;
}

static struct sc_list *make_list(s32 nr, bool exit)
{
	u32 n = collect(NULL, nr, exit);
	struct sc_list *l = base_alloc(sizeof(*l) + n * sizeof(l->hook[0]));
	u32 i;

	if (!l)
		return NULL;
	collect(l, nr, exit);
	l->is_short = true;
	for (i = 0; i < l->n; i++)
		l->is_short &= l->hook[i].form < SC_FUNC && sys_short_may(l->hook[i].p);
	return l;
}

/* NULL, and no error, when there are none. */
static int make_lives(struct sc_table *t, u32 life)
{
	const struct event *e;
	struct sc_list *l;
	u32 n = 0;

	for (e = events; e; e = e->next)
		n += e->life == life;
	if (!n)
		return 0;
	l = t->lives[life] = base_alloc(sizeof(*l) + n * sizeof(l->hook[0]));
	if (!l)
		return -ENOMEM;
	for (e = events; e; e = e->next)
		if (e->life == life)
			l->hook[l->n++] = hook_of(e);
	return 0;
}

static void free_table(struct sc_table *t)
{
	u32 i, k;

	for (i = 0; t && i < LIFE_KINDS; i++)
		base_free(t->lives[i]);
	for (k = 0; t && k < 2; k++) {
		base_free(t->any[k]);
		for (i = 0; i < SC_CALLS; i++)
			base_free(t->calls[i][k]);
	}
	base_free(t);
}

static struct sc_table *make_table(void)
{
	struct sc_table *t = base_alloc(sizeof(*t));
	const struct event *e;
	u32 k;

	if (!t)
		return NULL;
	for (k = 0; k < 2; k++) {
		t->any[k] = make_list(ALL, k);
		if (!t->any[k])
			goto fail;
	}
	for (k = 0; k < LIFE_KINDS; k++)
		if (make_lives(t, k))
			goto fail;
	for (e = events; e; e = e->next)
		if (e->nr != ALL && !t->calls[e->nr][e->exit]) {
			t->calls[e->nr][e->exit] = make_list(e->nr, e->exit);
			if (!t->calls[e->nr][e->exit])
				goto fail;
		}
	return t;
fail:
	free_table(t);
	return NULL;
}

/* Numbers that syscall_special() knows: once they come by, always, as a thread may be on its way. */
static bool is_special(u32 nr)
{
	switch (nr) {
	case SYS_clone:
	case SYS_clone3:
	case SYS_fork:
	case SYS_vfork:
	case SYS_rt_sigreturn:
	case SYS_exit:
	case SYS_close_range:
	case SYS_mmap:
	case SYS_mprotect: return true;
	/* What could block SIGSYS, which dispatch may want at any time, or take the clock's signal. */
	case SYS_rt_sigprocmask:
	case SYS_rt_sigaction:
	case SYS_rt_sigsuspend:
	case SYS_rt_sigtimedwait:
	case SYS_signalfd:
	case SYS_signalfd4:
	case SYS_ppoll:
	case SYS_pselect6:
	case SYS_epoll_pwait:
#ifdef SYS_epoll_pwait2
	case SYS_epoll_pwait2:
#endif
		return true;
	default: return false;
	}
}

/* What is to be done for those who wait for processes to begin or end. */
static u8 life_want(const struct sc_table *t, u32 nr)
{
	switch (nr) {
	case SYS_clone:
	case SYS_clone3:
	case SYS_fork:
	case SYS_vfork: return t->lives[LIFE_FORK] || t->lives[LIFE_NEW] ? SC_LIFE | SC_EXIT : 0;
	case SYS_exit:
	case SYS_exit_group: return t->lives[LIFE_EXIT] ? SC_LIFE | SC_ENTER : 0;
	default: return 0;
	}
}

static void set_wants(const struct sc_table *t)
{
	bool dispatching;
	u32 nr, k;
	u8 want;

again:
	dispatching = syscall_dispatching;
	for (nr = 0; nr < ARRAY_SIZE(syscall_want); nr++) {
		want = (is_special(nr) ? SC_SPECIAL : 0) | (syscall_dispatching ? SC_THREAD : 0);
		for (k = 0; t && k < 2; k++)
			if (t->any[k]->n || (nr < SC_CALLS && t->calls[nr][k]))
				want |= k ? SC_EXIT : SC_ENTER;
		want |= t ? life_want(t, nr) : 0;
		if (syscall_want[nr] != want)
			syscall_want[nr] = want;
	}
	if (dispatching != syscall_dispatching) /* another thread has just made code */
		goto again;
}

/* Maybe by a thread that is in a system call: no lock, as all it does here is to set bits. */
void syscall_want_dispatch(void)
{
	u32 nr;

	/* What would block the signal is seen to before there is one. */
	syscall_dispatched = true;
	for (nr = 0; nr < ARRAY_SIZE(syscall_want); nr++)
		__atomic_fetch_or(&syscall_want[nr], SC_THREAD | (is_special(nr) ? SC_SPECIAL : 0),
				  __ATOMIC_SEQ_CST);
	syscall_dispatch(true);
}

/* The table of what is attached now. The old one is gone when it returns. Under lock. */
static int change(void)
{
	struct sc_table *old = syscall_table, *t = NULL;

	if (events && !(t = make_table()))
		return -ENOMEM;
	syscall_table = t;
	set_wants(t);
	if (old)
		thread_wait();
	free_table(old);
	return 0;
}

/* ---- attach ------------------------------------------------------------------------------------------ */

static int add(struct event *e, struct text *why)
{
	struct event **end = &events;
	int err = 0;

	pthread_mutex_lock(&lock);
	while (*end)
		end = &(*end)->next;
	if (!events) {
		set_wants(NULL);
		err = syscall_patch(why);
	}
	if (!err) {
		*end = e;
		err = change();
		if (err) {
			*end = NULL;
			text_puts(why, "out of memory");
		}
	}
	if (err && !events)
		syscall_unpatch();
	pthread_mutex_unlock(&lock);
	return err;
}

typedef int (*parse_fn)(const struct sys_attach *a, struct event *e, struct text *why);

static int attach(const struct sys_attach *a, parse_fn parse, bool exit, void **event, struct text *why)
{
	struct event *e = base_alloc(sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
	*e = (struct event){ .p = a->p, .cookie = a->cookie, .nr = ALL, .exit = exit, .life = LIFE_KINDS,
			     .pid = a->pid ? a->pid : getpid() };
	err = only_ours(a, why);
	if (!err)
		err = parse(a, e, why);
	if (!err)
		err = add(e, why);
	if (err)
		base_free(e);
	else
		*event = e;
	return err;
}

static int attach_tracepoint(const struct sys_attach *a, void **event, struct text *why)
{
	return attach(a, parse_tracepoint, false, event, why);
}

static int attach_raw(const struct sys_attach *a, void **event, struct text *why)
{
	return attach(a, parse_raw, false, event, why);
}

static int attach_func(const struct sys_attach *a, void **event, struct text *why)
{
	return attach(a, parse_func, false, event, why);
}

static int attach_func_return(const struct sys_attach *a, void **event, struct text *why)
{
	return attach(a, parse_func, true, event, why);
}

static void take_out_of(struct sc_list *l, const struct event *e)
{
	u32 i;

	for (i = 0; l && i < l->n; i++)
		if (l->hook[i].p == e->p && l->hook[i].cookie == e->cookie && l->hook[i].form == e->form) {
			l->hook[i] = l->hook[l->n - 1];
			l->n--;
			return;
		}
}

static void take_out(struct sc_table *t, const struct event *e)
{
	u32 i;

	if (e->life != LIFE_KINDS) {
		take_out_of(t->lives[e->life], e);
		return;
	}
	if (e->nr == ALL)
		take_out_of(t->any[e->exit], e);
	for (i = 0; i < SC_CALLS; i++)
		if (e->nr == ALL || e->nr == (s32)i)
			take_out_of(t->calls[i][e->exit], e);
}

static void detach(void *event)
{
	struct event *e = event, **at;

	pthread_mutex_lock(&lock);
	for (at = &events; *at != e; at = &(*at)->next)
		;
	*at = e->next;
	if (!events)
		syscall_unpatch();
	if (change()) {
		/* No memory for a smaller table: the same one, without it. */
		take_out(syscall_table, e);
		thread_wait();
	}
	pthread_mutex_unlock(&lock);
	base_free(e);
}

static int parse_traced(const struct sys_attach *a, struct event *e, struct text *why)
{
	int err = parse_func(a, e, why);

	e->form = SC_TRACED;
	return err;
}

int syscall_trace(const struct sys_attach *a, void **event, struct text *why)
{
	return attach(a, parse_traced, a->p->attach_type == BPF_TRACE_FEXIT, event, why);
}

void syscall_untrace(void *event)
{
	detach(event);
}

/* All events of system calls come by the same jumps. */
static void tell(void *event, struct sys_attach_state *out)
{
	struct sc_stats stats = syscall_stats();

	(void)event;
	out->how = "jump";
	out->places = stats.patched;
	out->missed = syscall_missed;
	if (stats.patched < stats.sites)
		out->why = "some instructions that make system calls cannot be reached by a jump";
}

static const struct sys_attach_ops tracepoint_ops = { attach_tracepoint, detach };
static const struct sys_attach_ops raw_ops = { attach_raw, detach };
static const struct sys_attach_ops func_ops = { attach_func, detach };
static const struct sys_attach_ops func_return_ops = { attach_func_return, detach };

static __attribute__((constructor)) void init(void)
{
	sys_attach_program_began = syscall_program_began;
	sys_attach_died = syscall_died;
	sys_attach_source(SYS_ATTACH_TRACEPOINT, &tracepoint_ops);
	sys_attach_source(SYS_ATTACH_RAW_TRACEPOINT, &raw_ops);
	sys_attach_source(SYS_ATTACH_KPROBE, &func_ops);
	sys_attach_source(SYS_ATTACH_KRETPROBE, &func_return_ops);
	sys_attach_tells(SYS_ATTACH_TRACEPOINT, tell);
	sys_attach_tells(SYS_ATTACH_RAW_TRACEPOINT, tell);
	sys_attach_tells(SYS_ATTACH_KPROBE, tell);
	sys_attach_tells(SYS_ATTACH_KRETPROBE, tell);
}
