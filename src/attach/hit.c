/* SPDX-License-Identifier: MIT */
/*
 * What happens at each hit. Compiled without vector registers, as those of the probed code are still
 * in them.
 */
#include "attach/attach_int.h"

void probe_run_hooks(struct thread *t, const struct hooks *h, struct pt_regs *regs)
{
	u32 i;

	if (!h)
		return;
	t->override = NULL;
	for (i = 0; i < h->n; i++)
		if (h->hook[i].flags & PROBE_PLAIN)
			h->hook[i].fn(regs, h->hook[i].arg);
		else
			probe_call_saved(h->hook[i].fn, regs, h->hook[i].arg);
}

static void get_thread(struct pt_regs *regs, void *arg)
{
	(void)regs;
	*(struct thread **)arg = thread_get();
}

struct thread *thread_first(void)
{
	struct thread *t;

	probe_call_saved(get_thread, NULL, &t);
	return t;
}

u32 probe_hit(struct site *s, struct pt_regs *regs)
{
	struct thread *t = thread_self;
	bool out;

	if (!t && !(t = thread_first())) {
		s->missed++;
		return 0;
	}
	if (t->busy) {
		s->missed++;
		return 0;
	}
	thread_enter(t, s);
	probe_run_hooks(t, s->entry, regs);
	out = t->override == regs;
	if (!out && s->ret && !ret_hijack(t, s, regs))
		s->missed++;
	thread_leave(t);
	return out;
}

