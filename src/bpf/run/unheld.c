/* SPDX-License-Identifier: MIT */
/*
 * Prog arrays of other processes and the programs in them hold one another. When a loader dies nobody empties its
 * arrays, so each process lets go of those that are held by nothing else: their references are counted, less those
 * among themselves.
 */
#include <stdatomic.h>

#include "bpf/run/run_int.h"
#include "bpf/sys_int.h"

struct held {
	struct sys_obj *o; /* referenced: one of its references is ours */
	s64 others;        /* from outside */
	bool reached;
};

struct helds {
	struct held *at;
	size_t n, cap;
};

static struct held *find(const struct helds *h, const struct sys_obj *o)
{
	size_t i;

	for (i = 0; i < h->n; i++)
		if (h->at[i].o == o)
			return &h->at[i];
	return NULL;
}

/* Takes over the caller's reference. */
static void add(struct helds *h, struct sys_obj *o)
{
	struct held *grown = find(h, o) ? NULL : base_grow(h->at, &h->cap, h->n + 1, sizeof(*grown));

	if (!grown) { /* there, or no memory: it then counts as held by others */
		sys_put(o);
		return;
	}
	h->at = grown;
	h->at[h->n++] = (struct held){ .o = o };
}

static void add_array(struct sys_obj *o, void *arg)
{
	struct sys_map *sm = container_of(o, struct sys_map, o);

	if (o->kind != SYS_MAP || o->has_fd || !sm->map->attached || sm->map->attr.type != BPF_MAP_TYPE_PROG_ARRAY)
		return;
	sys_hold(o);
	add(arg, o);
}

/* The program at i, referenced; NULL. */
static struct sys_obj *element(const struct map *m, u32 i)
{
	struct sys_obj *o = NULL;
	struct prog *p;
	u32 refs = 0;

	sys_run_enter(); /* its memory is not freed meanwhile */
	p = atomic_load_explicit(&m->objs[i], memory_order_acquire);
	if (p) {
		o = p->owner;
		for (refs = o->refs; refs && !atomic_compare_exchange_weak(&o->refs, &refs, refs + 1);)
			;
	}
	sys_run_leave();
	return refs ? o : NULL;
}

/* Each object that this one refers to and that is among them. */
static void each_within(struct helds *h, const struct held *from, void (*fn)(struct held *to))
{
	struct held *to;
	u32 i;

	if (from->o->kind == SYS_PROG) {
		const struct sys_prog *sp = container_of(from->o, struct sys_prog, o);

		for (i = 0; i < sp->nmaps; i++)
			if ((to = find(h, &sp->maps[i]->o)))
				fn(to);
		return;
	}
	for (i = 0; i < map_objs_count(container_of(from->o, struct sys_map, o)->map); i++) {
		struct sys_obj *o = element(container_of(from->o, struct sys_map, o)->map, i);

		to = o ? find(h, o) : NULL;
		if (to)
			fn(to);
		sys_put(o);
	}
}

static void one_less(struct held *to)
{
	to->others--;
}

static bool more;

static void reach(struct held *to)
{
	more |= !to->reached;
	to->reached = true;
}

static void mark(struct helds *h)
{
	size_t i;

	for (i = 0; i < h->n; i++)
		h->at[i].others = (s64)h->at[i].o->refs - 1;
	for (i = 0; i < h->n; i++)
		each_within(h, &h->at[i], one_less);
	for (i = 0; i < h->n; i++)
		h->at[i].reached = h->at[i].others > 0;
	do {
		more = false;
		for (i = 0; i < h->n; i++)
			if (h->at[i].reached)
				each_within(h, &h->at[i], reach);
	} while (more);
}

void sys_elems_drop(void)
{
	struct helds h = { 0 };
	size_t arrays, k;
	u32 i;

	sys_obj_each_any(add_array, &h);
	arrays = h.n;
	for (k = 0; k < arrays; k++)
		for (i = 0; i < map_objs_count(container_of(h.at[k].o, struct sys_map, o)->map); i++) {
			struct sys_obj *o = element(container_of(h.at[k].o, struct sys_map, o)->map, i);

			if (o)
				add(&h, o);
		}
	if (arrays)
		mark(&h);
	for (k = 0; k < arrays; k++)
		for (i = 0; !h.at[k].reached && i < map_objs_count(container_of(h.at[k].o, struct sys_map, o)->map); i++)
			map_objs_drop(container_of(h.at[k].o, struct sys_map, o)->map, i);
	for (k = 0; k < h.n; k++)
		sys_put(h.at[k].o);
	base_free(h.at);
}
