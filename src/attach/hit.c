/* SPDX-License-Identifier: MIT */
/*
 * What happens at each hit. Compiled without vector registers, as those of the probed code are still
 * in them.
 */
#include "attach/attach_int.h"
#include "bpf/event/attach.h"
#include "bpf/run/run.h"
#include "bpf/sys.h"
#include "code/code.h"
#include "helper/helper.h"

struct hook_call {
	const struct hook *hook;
	struct pt_regs *regs;
};

static void call_hook(void *call, void *unused)
{
	const struct hook_call *c = call;

	(void)unused;
	c->hook->fn(c->regs, c->hook->arg);
}

void probe_run_hooks(struct thread *t, const struct hooks *h, struct pt_regs *regs)
{
	struct hook_call c = { .regs = regs };
	u32 i;

	if (!h)
		return;
	t->override = NULL;
	for (i = 0; i < h->n; i++) {
		c.hook = &h->hook[i];
		if (c.hook->flags & PROBE_PLAIN)
			c.hook->fn(regs, c.hook->arg);
		else
			code_keep_vectors(call_hook, &c, NULL);
	}
}

static void get_thread(void *out, void *unused)
{
	(void)unused;
	*(struct thread **)out = thread_get();
}

struct thread *thread_first(void)
{
	struct thread *t;

	code_keep_vectors(get_thread, &t, NULL);
	return t;
}

/* Counted where tools look: bpf_prog_info.recursion_misses. The list stays while the thread is inside. */
void probe_count_missed(struct site *s, const struct hooks *h)
{
	u32 i;

	s->missed++;
	for (i = 0; h && i < h->n; i++)
		if (h->hook[i].fn == probe_run_prog)
			((struct prog *)((const struct sys_attach *)h->hook[i].arg)->p)->recursion_misses++;
}

u32 probe_hit(struct site *s, struct pt_regs *regs)
{
	struct thread *t = thread_self;
	bool out;

	if (!t && !(t = thread_first())) {
		s->missed++;
		return 0;
	}
	/* The second: a signal handler came by while a short run was under way. */
	if ((t->busy || sys_short_inside()) && thread_inside(t, regs)) {
		probe_count_missed(s, s->entry);
		return 0;
	}
	thread_enter(t, s, regs);
	probe_run_hooks(t, s->entry, regs);
	out = t->override == regs;
	if (!out && s->ret && !ret_hijack(t, s, regs))
		probe_count_missed(s, s->ret);
	thread_leave(t);
	return out;
}

u32 probe_hit_short(struct site *s, struct pt_regs *regs)
{
	const struct hook *h;

	if (!sys_short_enter(regs))
		return probe_hit(s, regs);
	h = s->short_entry; /* once inside: it is freed when nobody is */
	if (!h || !probe_short_now(h)) {
		sys_short_leave();
		return probe_hit(s, regs);
	}
	probe_short(h, regs, s->addr);
	sys_short_leave();
	return 0;
}

/* Ferry's own work (loading, freeing) is not traced: it may hold locks that programs need. */
void probe_run_prog(struct pt_regs *regs, void *arg)
{
	const struct sys_attach *a = arg;
	struct helper_override override;
	struct helper_run how = { .prog = a->p, .ctx = regs, .cookie = a->cookie,
				  .func_ip = thread_self->site->addr };

	if (sys_inside)
		return;
	/* Only where the address of the caller is on top of the stack. */
	if (thread_self->site->is_start && regs->rip == how.func_ip) {
		override.set = false;
		how.override = &override;
	}
	sys_prog_run_as(&how);
	if (how.override && override.set)
		probe_override(regs, override.value);
}
