/* SPDX-License-Identifier: MIT */
/*
 * Maps whose values hold a bpf_spin_lock, a bpf_timer or pointers to objects of the host's: the type's
 * operations behind ones that leave these bytes alone. No copy that comes in changes them, no copy that
 * goes out shows them; a new element starts with zeros, the timer of one that goes is told of it, and the
 * objects that it owns are given back.
 */
#include "map/map_int.h"

enum { LOCK_SIZE = 4, TIMER_SIZE = 16, KPTR_SIZE = 8 };

void (*map_timer_gone)(u64 id);
void (*map_timers_drop)(struct map *m);
void (*map_kptr_drop)(const struct map_kptr *k, void *obj);
void (*map_kptr_done)(const struct map_kptr *k);

/* ---- bytes ---------------------------------------------------------------------------------- */

/* All but the holes. */
static void copy_between(const struct map *m, u8 *to, const u8 *from)
{
	const struct map_fields *f = m->fields;
	u32 start = 0, i;

	for (i = 0; i < f->nholes; i++) {
		memcpy(to + start, from + start, f->holes[i].off - start);
		start = f->holes[i].off + f->holes[i].size;
	}
	memcpy(to + start, from + start, m->attr.value_size - start);
}

/* Zeros in a private copy. */
static void hide(const struct map *m, u8 *value)
{
	u32 i;

	for (i = 0; i < m->fields->nholes; i++)
		memset(value + m->fields->holes[i].off, 0, m->fields->holes[i].size);
}

static _Atomic u32 *lock_word(const struct map *m, u8 *value)
{
	return (_Atomic u32 *)(value + m->fields->lock - 1);
}

static void copy_in(const struct map *m, u8 *elem, const void *value, bool lock)
{
	if (lock)
		map_spin_lock(lock_word(m, elem));
	copy_between(m, elem, value);
	if (lock)
		map_spin_unlock(lock_word(m, elem));
}

static void copy_out(const struct map *m, void *value, u8 *elem, bool lock)
{
	if (lock)
		map_spin_lock(lock_word(m, elem));
	copy_between(m, value, elem);
	if (lock)
		map_spin_unlock(lock_word(m, elem));
	hide(m, value);
}

/* The id that timer_init left in an element; 0 is none. */
static u64 timer_id(const struct map *m, const u8 *elem)
{
	u64 id;

	if (!elem || !m->fields->timer)
		return 0;
	map_load(&id, elem + m->fields->timer - 1, sizeof(id));
	return id;
}

static void timer_gone(u64 id)
{
	if (id && map_timer_gone)
		map_timer_gone(id);
}

/* ---- objects that values own ---------------------------------------------------------------- */

static void *_Atomic *kptr_word(u8 *elem, const struct map_kptr *k)
{
	return (void *_Atomic *)(elem + k->off);
}

/* Takes what an element owns: of several that try, one gets each. */
static void objects_take(const struct map *m, u8 *elem, void *objs[MAP_KPTRS])
{
	const struct map_fields *f = m->fields;
	u32 i;

	for (i = 0; i < f->nkptrs; i++)
		objs[i] = elem && f->kptrs[i].drop ? atomic_exchange(kptr_word(elem, &f->kptrs[i]), NULL) : NULL;
}

static void objects_drop(const struct map *m, void *objs[MAP_KPTRS])
{
	u32 i;

	for (i = 0; i < m->fields->nkptrs; i++)
		if (objs[i] && map_kptr_drop)
			map_kptr_drop(&m->fields->kptrs[i], objs[i]);
}

/* The element stays after all; what came in meanwhile is there to stay. */
static void objects_back(const struct map *m, u8 *elem, void *objs[MAP_KPTRS])
{
	void *none;
	u32 i;

	for (i = 0; i < m->fields->nkptrs; i++) {
		none = NULL;
		if (objs[i] && atomic_compare_exchange_strong(kptr_word(elem, &m->fields->kptrs[i]), &none, objs[i]))
			objs[i] = NULL;
	}
	objects_drop(m, objs);
}

/* All elements', when the map ends. */
static void objects_end(struct map *m)
{
	const struct map_ops *base = m->fields->base;
	void *key = base_alloc(m->attr.key_size), *objs[MAP_KPTRS];
	u64 pos = 0;
	u8 *elem;
	u32 i;

	if (!key)
		log_msg(LOG_WARN, "map '%.15s': no memory to give back the objects in it", m->attr.name);
	while (key && (elem = base->next_elem(m, &pos, key))) {
		objects_take(m, elem, objs);
		objects_drop(m, objs);
	}
	base_free(key);
	for (i = 0; i < m->fields->nkptrs; i++)
		if (map_kptr_done)
			map_kptr_done(&m->fields->kptrs[i]);
}

/* ---- operations ----------------------------------------------------------------------------- */

/* BPF_F_LOCK goes with a lock only. */
static int check_lock(const struct map *m, u64 flags)
{
	return flags & BPF_F_LOCK && !m->fields->lock ? -EINVAL : 0;
}

static int fields_update(struct map *m, const void *key, const void *value, u64 flags)
{
	const struct map_ops *base = m->fields->base;
	u64 how = flags & ~(u64)BPF_F_LOCK, id;
	bool array = m->attr.type == BPF_MAP_TYPE_ARRAY;
	u8 *elem, *copy;
	void *objs[MAP_KPTRS];
	int err = check_lock(m, flags);

	if (err < 0)
		return err;
	if (how > BPF_EXIST)
		return -EINVAL;
	elem = base->lookup(m, key);
	if (elem && (array || flags & BPF_F_LOCK)) {
		if (how == BPF_NOEXIST)
			return -EEXIST;
		/* In place; the timer ends all the same, as in the kernel. */
		id = timer_id(m, elem);
		copy_in(m, elem, value, flags & BPF_F_LOCK);
		timer_gone(id);
		if (array) {
			objects_take(m, elem, objs);
			objects_drop(m, objs);
		}
		return 0;
	}
	if (array)
		return -E2BIG;
	copy = base_alloc(m->attr.value_size);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, value, m->attr.value_size);
	hide(m, copy);
	id = timer_id(m, elem);
	objects_take(m, elem, objs);
	err = base->update(m, key, copy, how);
	if (!err) {
		timer_gone(id);
		objects_drop(m, objs);
	} else if (elem) {
		objects_back(m, elem, objs);
	}
	base_free(copy);
	return err;
}

static int fields_remove(struct map *m, const void *key)
{
	const struct map_ops *base = m->fields->base;
	u8 *elem = base->lookup(m, key);
	u64 id = timer_id(m, elem);
	void *objs[MAP_KPTRS];
	int err;

	objects_take(m, elem, objs);
	err = base->remove(m, key);
	if (!err)
		timer_gone(id);
	/* Another removed it, or nobody could: what was taken is in no element in the first case. */
	if (err && err != -ENOENT && elem)
		objects_back(m, elem, objs);
	else
		objects_drop(m, objs);
	return err;
}

static int fields_read(struct map *m, const void *key, void *value, u64 flags)
{
	int err = check_lock(m, flags);
	u8 *elem = err ? NULL : m->fields->base->lookup(m, key);

	if (!elem)
		return err ? err : -ENOENT;
	copy_out(m, value, elem, flags & BPF_F_LOCK);
	return 0;
}

static int fields_take(struct map *m, const void *key, void *value, u64 flags)
{
	const struct map_ops *base = m->fields->base;
	u8 *elem = base->lookup(m, key);
	u64 id = timer_id(m, elem);
	void *objs[MAP_KPTRS];
	int err = check_lock(m, flags);

	if (err)
		return err;
	objects_take(m, elem, objs);
	err = base->take(m, key, value, 0);
	if (err && err != -ENOENT && elem)
		objects_back(m, elem, objs);
	else
		objects_drop(m, objs);
	if (err)
		return err;
	timer_gone(id);
	if (value)
		hide(m, value);
	return 0;
}

/* ---- which maps may have them (the kernel's map_check_btf) ------------------------------------ */

static int add_hole(const struct map *m, struct map_fields *f, u32 off, u32 size)
{
	u32 i = f->nholes;

	if (m->attr.value_size < size || off > m->attr.value_size - size)
		return -EINVAL;
	for (; i && f->holes[i - 1].off > off; i--)
		f->holes[i] = f->holes[i - 1];
	if ((i && f->holes[i - 1].off + f->holes[i - 1].size > off) ||
	    (i < f->nholes && off + size > f->holes[i + 1].off))
		return -EINVAL;
	f->holes[i].off = off;
	f->holes[i].size = size;
	f->nholes++;
	return 0;
}

static int add_holes(const struct map *m, struct map_fields *f)
{
	int err = 0;
	u32 i;

	if (f->lock)
		err = add_hole(m, f, f->lock - 1, LOCK_SIZE);
	if (!err && f->timer)
		err = add_hole(m, f, f->timer - 1, TIMER_SIZE);
	for (i = 0; i < f->nkptrs && !err; i++)
		err = f->kptrs[i].off % KPTR_SIZE ? -EINVAL : add_hole(m, f, f->kptrs[i].off, KPTR_SIZE);
	return err;
}

int map_set_fields(struct map *m, u32 lock, u32 timer)
{
	return map_set_kptrs(m, lock, timer, NULL, 0);
}

int map_set_kptrs(struct map *m, u32 lock, u32 timer, const struct map_kptr *kptrs, u32 n)
{
	struct map_fields *f;
	u32 type = m->attr.type;
	int err;

	if (!lock && !timer && !n)
		return 0;
	if (m->attr.flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))
		return -EACCES;
	/* Elements that an LRU hash evicts go unseen here. */
	if (type != BPF_MAP_TYPE_HASH && type != BPF_MAP_TYPE_ARRAY &&
	    (lock || n || type != BPF_MAP_TYPE_LRU_HASH))
		return -EOPNOTSUPP;
	if (n > MAP_KPTRS)
		return -E2BIG;
	if (n && (m->attached || m->is_template || m->attr.flags & BPF_F_MMAPABLE))
		return -EOPNOTSUPP;
	f = base_alloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->lock = lock;
	f->timer = timer;
	f->nkptrs = n;
	if (n)
		memcpy(f->kptrs, kptrs, n * sizeof(*kptrs));
	err = add_holes(m, f);
	if (!err && n)
		err = map_mem_own(m);
	if (err) {
		base_free(f);
		return err;
	}
	f->base = m->ops;
	f->ops = *m->ops;
	f->ops.update = fields_update;
	if (m->ops->remove != map_no_remove)
		f->ops.remove = fields_remove;
	f->ops.read = fields_read;
	f->ops.write = fields_update;
	if (m->ops->take)
		f->ops.take = fields_take;
	m->fields = f;
	m->ops = &f->ops;
	return 0;
}

void map_fields_free(struct map *m)
{
	if (m->fields && m->fields->timer && map_timers_drop && !m->is_template)
		map_timers_drop(m);
	if (m->fields && m->fields->nkptrs)
		objects_end(m);
	if (m->fields)
		m->ops = m->fields->base;
	base_free(m->fields);
	m->fields = NULL;
}
