/* SPDX-License-Identifier: MIT */
/*
 * Maps whose values hold a bpf_spin_lock or a bpf_timer: the type's operations behind ones that leave
 * these bytes alone. No copy that comes in changes them, no copy that goes out shows them; a new
 * element starts with zeros, and the timer of one that goes is told of it.
 */
#include "map/map_int.h"

enum { LOCK_SIZE = 4, TIMER_SIZE = 16 };

void (*map_timer_gone)(u64 id);
void (*map_timers_drop)(struct map *m);

/* ---- bytes ---------------------------------------------------------------------------------- */

/* Calls copy() for each stretch of the value that is neither. */
static void copy_between(const struct map *m, u8 *to, const u8 *from)
{
	const struct map_fields *f = m->fields;
	u32 at[2] = { f->lock, f->timer }, size[2] = { LOCK_SIZE, TIMER_SIZE }, start = 0, i;
	u32 first = at[0] && (!at[1] || at[0] < at[1]) ? 0 : 1;

	for (i = 0; i < 2; i++) {
		u32 k = i ? !first : first;

		if (!at[k])
			continue;
		memcpy(to + start, from + start, at[k] - 1 - start);
		start = at[k] - 1 + size[k];
	}
	memcpy(to + start, from + start, m->attr.value_size - start);
}

/* Zeros in a private copy. */
static void hide(const struct map *m, u8 *value)
{
	if (m->fields->lock)
		memset(value + m->fields->lock - 1, 0, LOCK_SIZE);
	if (m->fields->timer)
		memset(value + m->fields->timer - 1, 0, TIMER_SIZE);
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
	err = base->update(m, key, copy, how);
	if (!err)
		timer_gone(id);
	base_free(copy);
	return err;
}

static int fields_remove(struct map *m, const void *key)
{
	const struct map_ops *base = m->fields->base;
	u64 id = timer_id(m, base->lookup(m, key));
	int err = base->remove(m, key);

	if (!err)
		timer_gone(id);
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
	u64 id = timer_id(m, base->lookup(m, key));
	int err = check_lock(m, flags);

	if (!err)
		err = base->take(m, key, value, 0);
	if (err)
		return err;
	timer_gone(id);
	if (value)
		hide(m, value);
	return 0;
}

/* ---- which maps may have them (the kernel's map_check_btf) ------------------------------------ */

int map_set_fields(struct map *m, u32 lock, u32 timer)
{
	struct map_fields *f;
	u32 type = m->attr.type;

	if (!lock && !timer)
		return 0;
	if (m->attr.flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))
		return -EACCES;
	if (type != BPF_MAP_TYPE_HASH && type != BPF_MAP_TYPE_ARRAY &&
	    (lock || type != BPF_MAP_TYPE_LRU_HASH))
		return -EOPNOTSUPP;
	if ((lock && (m->attr.value_size < LOCK_SIZE || lock - 1 > m->attr.value_size - LOCK_SIZE)) ||
	    (timer && (m->attr.value_size < TIMER_SIZE || timer - 1 > m->attr.value_size - TIMER_SIZE)))
		return -EINVAL;
	f = base_alloc(sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->lock = lock;
	f->timer = timer;
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
	if (m->fields)
		m->ops = m->fields->base;
	base_free(m->fields);
	m->fields = NULL;
}
