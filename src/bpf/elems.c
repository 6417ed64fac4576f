/* SPDX-License-Identifier: MIT */
/*
 * Arrays of objects in several processes. Shared memory holds the elements' ids, each process its own objects for
 * them: whoever changes an element tells the others, who look which of theirs are others than the ids say, and
 * adopt those. Ids are hostile like all that others write: what does not fit the array is not put there.
 */
#include <stdatomic.h>

#include "bpf/run_int.h"
#include "bpf/sys_int.h"

static _Thread_local bool inside;

void sys_elems_changed(const struct sys_map *sm)
{
	const struct sys_share_ops *share = sm->o.published ? sys_shared() : NULL;

	if (share)
		share->changed();
}

static u32 kind_of(const struct map *m)
{
	switch (m->attr.type) {
	case BPF_MAP_TYPE_PROG_ARRAY: return SYS_PROG;
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY: return SYS_PERF;
	case BPF_MAP_TYPE_ARRAY_OF_MAPS: return SYS_MAP;
	default: return 0;
	}
}

/* The id of the object at i: inside (run.c), so that who takes it away waits. */
static u32 id_at(const struct map *m, u32 i)
{
	void *obj = atomic_load_explicit(&m->objs[i], memory_order_acquire);
	struct sys_obj *o;

	if (!obj)
		return 0;
	switch (m->attr.type) {
	case BPF_MAP_TYPE_PROG_ARRAY: o = ((struct prog *)obj)->owner; break;
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY: o = *map_perf_owner(obj); break;
	default: o = ((struct map *)obj)->owner;
	}
	return o->id;
}

static void *fits(struct sys_map *sm, struct sys_obj *o)
{
	struct sys_prog *sp;
	struct sys_map *elem;

	switch (o->kind) {
	case SYS_PROG:
		sp = container_of(o, struct sys_prog, o);
		return !sp->p->sig && sys_map_owner(sm, sp->p, sp->jited) ? sp->p : NULL;
	case SYS_PERF: return sys_perf_of(o);
	default:
		elem = container_of(o, struct sys_map, o);
		elem->inner = true;
		return map_fits(sm->map->inner, elem->map) ? elem->map : NULL;
	}
}

static void sync_one(struct sys_obj *o, void *arg)
{
	struct sys_map *sm = container_of(o, struct sys_map, o);
	u32 kind = o->kind == SYS_MAP ? kind_of(sm->map) : 0, i, id, n, have;
	struct sys_obj *elem;
	void *obj;

	n = kind ? sm->map->attr.max_entries : 0;
	for (i = 0; i < n; i++) {
		sys_run_enter();
		have = id_at(sm->map, i);
		sys_run_leave();
		if (!map_objs_stale(sm->map, i, have, &id))
			continue;
		elem = id ? sys_any_get(kind, id) : NULL;
		obj = elem ? fits(sm, elem) : NULL;
		if (elem && !obj)
			sys_put(elem);
		if (!obj && !atomic_load_explicit(&sm->map->objs[i], memory_order_relaxed))
			continue; /* it is not here, and cannot be had */
		map_objs_take(sm->map, i, obj);
		*(bool *)arg = true;
	}
}

void sys_elems_sync(void)
{
	bool more = true;
	int rounds;

	if (inside)
		return;
	inside = true; /* what is adopted on the way is seen in the next round */
	for (rounds = 0; more && rounds < 8; rounds++) {
		more = false;
		sys_obj_each_any(sync_one, &more);
	}
	inside = false;
}

static void drop_one(struct sys_obj *o, void *arg)
{
	struct sys_map *sm = container_of(o, struct sys_map, o);
	u32 i;

	(void)arg;
	if (o->kind != SYS_MAP || o->has_fd || !sm->map->attached || !kind_of(sm->map))
		return;
	for (i = 0; i < sm->map->attr.max_entries; i++)
		if (atomic_load_explicit(&sm->map->objs[i], memory_order_relaxed))
			map_objs_take(sm->map, i, NULL);
}

void sys_elems_drop(void)
{
	sys_obj_each_any(drop_one, NULL);
}
