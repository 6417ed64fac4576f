/* SPDX-License-Identifier: MIT */
/*
 * Stack traces by number: a table whose place for a trace is its hash. A place changes under its
 * own lock, and has no trace while it does: who dies meanwhile leaves it empty.
 */
#include "map/map_int.h"

#define MAX_DEPTH 127u /* sysctl kernel.perf_event_max_stack */

struct place {
	map_lock_word lock;
	_Atomic u32 nr; /* entries; 0: empty */
	_Atomic u32 hash;
	_Atomic u64 data[];
};

static u32 elem_size(const struct map *m)
{
	return m->attr.flags & BPF_F_STACK_BUILD_ID ? sizeof(struct bpf_stack_build_id) : 8;
}

static u32 places(const struct map_attr *a)
{
	u32 n = 1;

	while (n < a->max_entries && n < 1u << 31)
		n *= 2;
	return n;
}

static int trace_check(const struct map_attr *a, size_t *bytes)
{
	u32 each = a->flags & BPF_F_STACK_BUILD_ID ? sizeof(struct bpf_stack_build_id) : 8;

	if (a->flags & ~(BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_STACK_BUILD_ID))
		return map_refuse(-EINVAL, "map_flags has a flag that this type does not know");
	if (!a->max_entries || a->key_size != 4)
		return map_refuse(-EINVAL, "key_size must be 4 and max_entries above 0");
	if (a->value_size < 8 || a->value_size % each || a->value_size / each > MAX_DEPTH)
		return map_refuse(-EINVAL, "value_size must be up to 127 entries of 8 bytes, or 32 "
					   "with BPF_F_STACK_BUILD_ID");
	if (a->max_entries > 1u << 31)
		return map_refuse(-E2BIG, "max_entries must be at most 2^31");
	*bytes = (sizeof(struct place) + (size_t)a->value_size) * places(a);
	return 0;
}

static int trace_init(struct map *m)
{
	m->stride = sizeof(struct place) + m->attr.value_size;
	return 0;
}

static struct place *place_at(const struct map *m, u32 id)
{
	return (struct place *)(m->mem + (size_t)id * m->stride);
}

static int place_lock(struct place *p)
{
	int got = map_lock(&p->lock);

	return got < 0 ? got : 0; /* nothing to repair: see place_set */
}

static void place_set(struct place *p, const struct map_trace *t)
{
	atomic_store_explicit(&p->nr, 0, memory_order_release);
	map_store((void *)p->data, t->data, t->size);
	atomic_store_explicit(&p->hash, t->hash, memory_order_relaxed);
	atomic_store_explicit(&p->nr, t->nr, memory_order_release);
}

static bool place_same(const struct map *m, struct place *p, const struct map_trace *t)
{
	u64 mine[MAX_DEPTH * 4];

	if (atomic_load_explicit(&p->hash, memory_order_relaxed) != t->hash ||
	    atomic_load_explicit(&p->nr, memory_order_relaxed) != t->nr ||
	    t->size > m->attr.value_size)
		return false;
	map_load(mine, (const void *)p->data, t->size);
	return !memcmp(mine, t->data, t->size);
}

s64 map_stack_put(struct map *m, const struct map_trace *t, u64 flags)
{
	u32 id = t->hash & (places(&m->attr) - 1);
	struct place *p = place_at(m, id);
	s64 ret = id;

	if (t->size > m->attr.value_size || !t->nr)
		return -EFAULT;
	if (flags & BPF_F_FAST_STACK_CMP && atomic_load_explicit(&p->nr, memory_order_acquire) &&
	    atomic_load_explicit(&p->hash, memory_order_relaxed) == t->hash)
		return id;
	if (place_lock(p))
		return -EBUSY;
	if (!atomic_load_explicit(&p->nr, memory_order_relaxed))
		place_set(p, t);
	else if (!place_same(m, p, t)) {
		if (flags & BPF_F_REUSE_STACKID)
			place_set(p, t);
		else
			ret = -EEXIST;
	}
	map_unlock(&p->lock);
	return ret;
}

u32 map_stack_depth(const struct map *m)
{
	return m->attr.value_size / elem_size(m);
}

/* The trace, padded with zeros; with `remove` its place is empty then. */
static int trace_get(struct map *m, const void *key, void *value, bool remove)
{
	u32 id = map_index(key), nr, size;
	struct place *p;

	if (id >= places(&m->attr))
		return -ENOENT;
	p = place_at(m, id);
	if (place_lock(p))
		return -EBUSY;
	nr = atomic_load_explicit(&p->nr, memory_order_relaxed);
	size = nr > map_stack_depth(m) ? m->attr.value_size : nr * elem_size(m);
	map_load(value, (const void *)p->data, size);
	memset((u8 *)value + size, 0, m->attr.value_size - size);
	if (remove)
		atomic_store_explicit(&p->nr, 0, memory_order_relaxed);
	map_unlock(&p->lock);
	return nr ? 0 : -ENOENT;
}

static int trace_read(struct map *m, const void *key, void *value, u64 flags)
{
	(void)flags;
	return trace_get(m, key, value, false);
}

/* As Linux 6.18; before that -ENOTSUPP. */
static int trace_take(struct map *m, const void *key, void *value, u64 flags)
{
	(void)flags;
	return trace_get(m, key, value, true);
}

static int trace_remove(struct map *m, const void *key)
{
	u32 id = map_index(key), nr;
	struct place *p;

	if (id >= places(&m->attr))
		return -E2BIG;
	p = place_at(m, id);
	if (place_lock(p))
		return -EBUSY;
	nr = atomic_exchange_explicit(&p->nr, 0, memory_order_relaxed);
	map_unlock(&p->lock);
	return nr ? 0 : -ENOENT;
}

static int trace_next_key(struct map *m, const void *key, void *next)
{
	u32 n = places(&m->attr), id = key ? map_index(key) : 0;
	size_t at;

	if (key)
		id = id >= n ? 0 : id + 1;
	while (id < n) {
		if (atomic_load_explicit(&place_at(m, id)->nr, memory_order_acquire)) {
			memcpy(next, &id, sizeof(id));
			return 0;
		}
		id++;
		if (id % 1024 == 0 && id < n) { /* memory never touched is not worth a look */
			at = map_mem_next(m, (size_t)id * m->stride) / m->stride;
			id = at > id ? (u32)(at < n ? at : n) : id;
		}
	}
	return -ENOENT;
}

const struct map_ops map_stack_trace_ops = {
	.name = "stack_trace",
	.check = trace_check,
	.init = trace_init,
	.lookup = map_no_lookup,
	.update = map_no_update,
	.remove = trace_remove,
	.next_key = trace_next_key,
	.read = trace_read,
	.take = trace_take,
	.write = map_no_update,
};
