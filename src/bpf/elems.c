/* SPDX-License-Identifier: MIT */
/*
 * Arrays of objects in several processes. Shared memory holds the elements' ids, each process its own objects for
 * them: whoever changes an element tells the others, who look which of theirs are others than the ids say, and
 * adopt those. bpf(2) returns when they have (broker/waits.c says for how long that is waited for). Ids are hostile
 * like all that others write: what does not fit the array is not put there.
 *
 * Whoever comes to have such a map says so to the broker, and in the map (map_objs_share), before it looks at the
 * elements: so who changes one either meets nobody, or tells all that have not seen it.
 */
#include <stdatomic.h>

#include "bpf/run/run_int.h"
#include "bpf/sys_int.h"

#define RETRIES 8 /* of what others change all the time */

static _Thread_local bool inside;

static u32 kind_of(const struct map *m)
{
	switch (m->attr.type) {
	case BPF_MAP_TYPE_PROG_ARRAY: return SYS_PROG;
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY: return SYS_PERF;
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
	case BPF_MAP_TYPE_HASH_OF_MAPS: return SYS_MAP;
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

/* ---- telling others ------------------------------------------------------------------------- */

void sys_elems_changed(const struct sys_map *sm, bool wait)
{
	const struct sys_share_ops *share = NULL;
	u32 kind = kind_of(sm->map);

	/* No program that runs goes on with what was in a map of maps: maybe_wait_bpf_programs(). */
	if (kind == SYS_MAP && wait && !sys_run_inside())
		sys_run_wait();
	if (kind && map_objs_shared(sm->map))
		share = sys_shared();
	if (share) /* who is inside a program may be waited for by those who would be waited for */
		share->changed(sm->o.dev, sm->o.ino, wait && !sys_run_inside());
}

void sys_elems_placed(struct map *m)
{
	if (m->owner)
		sys_elems_changed(container_of((struct sys_obj *)m->owner, struct sys_map, o), true);
}

void sys_elems_mapped(void)
{
	const struct sys_share_ops *share = sys_shared();

	if (share)
		share->changed(0, 0, true);
}

static void say_one(struct sys_obj *o, void *arg)
{
	struct sys_map *sm = container_of(o, struct sys_map, o);
	const struct sys_share_ops *share = sys_shared();

	(void)arg;
	if (!share || o->kind != SYS_MAP || !kind_of(sm->map))
		return;
	o->announced = true;
	map_objs_share(sm->map);
	share->have(o->dev, o->ino);
}

bool sys_elems_say(struct sys_map *sm)
{
	say_one(&sm->o, NULL);
	return sm->o.announced;
}

void sys_elems_say_all(void)
{
	sys_obj_each_any(say_one, NULL);
}

/* ---- hearing of others ---------------------------------------------------------------------- */

/* True when the element at i has become another one. */
static bool sync_elem(struct sys_map *sm, u32 kind, u32 i)
{
	struct sys_obj *elem;
	bool changed = false;
	u32 id, have, tries;
	void *obj;

	for (tries = 0; tries < RETRIES; tries++) {
		sys_run_enter();
		have = id_at(sm->map, i);
		sys_run_leave();
		if (!map_objs_stale(sm->map, i, have, &id))
			break;
		elem = id ? sys_any_get(kind, id) : NULL;
		obj = elem ? fits(sm, elem) : NULL;
		if (elem && !obj)
			sys_put(elem);
		if (!obj && !atomic_load_explicit(&sm->map->objs[i], memory_order_relaxed))
			break; /* it is not here, and cannot be had */
		if (map_objs_take(sm->map, i, obj, id))
			changed = true;
		else if (obj)
			sys_put(elem);
	}
	return changed;
}

static void sync_one(struct sys_obj *o, void *arg)
{
	struct sys_map *sm = container_of(o, struct sys_map, o);
	u32 kind = o->kind == SYS_MAP ? kind_of(sm->map) : 0, n = kind ? map_objs_count(sm->map) : 0, i;
	bool changed = false;

	for (i = 0; i < n; i++)
		changed |= sync_elem(sm, kind, i);
	if (changed && kind == SYS_MAP)
		sys_run_wait(); /* maybe_wait_bpf_programs() */
	*(bool *)arg |= changed;
}

void sys_elems_sync(u64 dev, u64 ino)
{
	struct sys_obj *o = ino ? sys_ino_get(dev, ino) : NULL;
	bool more = !ino;
	int rounds;

	if (inside) {
		sys_put(o);
		return;
	}
	inside = true; /* what is adopted on the way is seen in the next round */
	if (o)
		sync_one(o, &more);
	for (rounds = 0; more && rounds < 8; rounds++) {
		more = false;
		sys_obj_each_any(sync_one, &more);
	}
	inside = false;
	sys_put(o);
}
