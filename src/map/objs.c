/* SPDX-License-Identifier: MIT */
/* Arrays of objects: programs, perf events, maps. */
#include <sys/mman.h>

#include "map/map_int.h"

/*
 * What a lookup shows is in shared memory: the object's id. The object itself is of this process.
 * The two change together under a lock of this process, so that they agree.
 */
struct objs {
	map_lock_word lock;
	void *_Atomic slot[];
};

static int objs_check(const struct map_attr *a, size_t *bytes)
{
	int err;

	if (a->value_size != 4)
		return map_refuse(-EINVAL, "value_size must be 4");
	if (a->flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))
		return map_refuse(-EINVAL, "an array of objects is always open to programs");
	err = map_array_check(a,
			      a->type == BPF_MAP_TYPE_PERF_EVENT_ARRAY ? BPF_F_PRESERVE_ELEMS : 0);
	if (err < 0)
		return err;
	return base_mul(8, a->max_entries, bytes) ? 0 : -ENOMEM;
}

static int objs_init(struct map *m)
{
	struct objs *o;
	size_t size;

	m->stride = 8;
	m->values = m->mem;
	if (!base_mul(sizeof(o->slot[0]), m->attr.max_entries, &size) ||
	    !base_add(size, sizeof(*o), &size))
		return -ENOMEM;
	/* Not from the allocator: pages come when touched, as those of the shared half do. */
	o = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	if (o == MAP_FAILED)
		return -ENOMEM;
	m->priv = o;
	m->objs = o->slot;
	return 0;
}

/* Puts obj (maybe NULL) at i and gives back the one before. */
static void *objs_swap(struct map *m, u32 i, void *obj, u32 id)
{
	struct objs *o = m->priv;
	void *old;
	u32 word = id;
	bool locked;

	/*
	 * In a child of fork(2) the holder may be a thread that is not there: the lock then says
	 * busy after its time, and all that can go wrong is that an id is not its object's.
	 */
	locked = map_lock(&o->lock) >= 0;
	old = atomic_exchange_explicit(&m->objs[i], obj, memory_order_acq_rel);
	map_store(m->values + (size_t)i * 8, &word, sizeof(word));
	if (locked)
		map_unlock(&o->lock);
	return old;
}

static void objs_fini(struct map *m)
{
	u32 i;

	for (i = 0; i < m->attr.max_entries; i++) {
		void *obj = atomic_load_explicit(&m->objs[i], memory_order_relaxed);

		if (obj && map_drop_obj)
			map_drop_obj(m, obj);
	}
	munmap(m->priv, sizeof(struct objs) + m->attr.max_entries * sizeof(void *));
}

static int objs_set(struct map *m, const void *key, void *obj, u32 id, u64 flags)
{
	u32 i = map_index(key);
	void *old;

	if (flags != BPF_ANY)
		return -EINVAL;
	if (i >= m->attr.max_entries)
		return -E2BIG;
	old = objs_swap(m, i, obj, id);
	if (old && map_drop_obj)
		map_drop_obj(m, old);
	return 0;
}

static int objs_remove(struct map *m, const void *key)
{
	u32 i = map_index(key);
	void *old;

	if (i >= m->attr.max_entries)
		return -E2BIG;
	old = objs_swap(m, i, NULL, 0);
	if (!old)
		return -ENOENT;
	if (map_drop_obj)
		map_drop_obj(m, old);
	return 0;
}

static int objs_read(struct map *m, const void *key, void *value, u64 flags)
{
	u32 i = map_index(key);

	(void)flags;
	if (i >= m->attr.max_entries || !atomic_load_explicit(&m->objs[i], memory_order_acquire))
		return -ENOENT;
	map_load(value, m->values + (size_t)i * 8, 4);
	return 0;
}

/* A descriptor is no value: src/bpf turns it into an object and calls set_obj. */
static int objs_write(struct map *m, const void *key, const void *value, u64 flags)
{
	(void)value;
	if (flags != BPF_ANY)
		return -EINVAL;
	return map_index(key) < m->attr.max_entries ? -EBADF : -E2BIG;
}

const struct map_ops map_prog_array_ops = {
	.name = "prog_array",
	.check = objs_check,
	.init = objs_init,
	.fini = objs_fini,
	.lookup = map_no_lookup,
	.update = map_no_update,
	.remove = objs_remove,
	.next_key = map_array_next_key,
	.read = objs_read,
	.write = objs_write,
	.set_obj = objs_set,
};

const struct map_ops map_perf_array_ops = {
	.name = "perf_event_array",
	.check = objs_check,
	.init = objs_init,
	.fini = objs_fini,
	.lookup = map_no_lookup,
	.update = map_no_update,
	.remove = objs_remove,
	.next_key = map_array_next_key,
	.read = map_no_read,
	.write = objs_write,
	.set_obj = objs_set,
};

/* A program gets the element itself: a map that it may use as one that it refers to. */
static void *objs_lookup(struct map *m, const void *key)
{
	u32 i = map_index(key);

	if (i >= m->attr.max_entries)
		return NULL;
	return atomic_load_explicit(&m->objs[i], memory_order_acquire);
}

const struct map_ops map_array_of_maps_ops = {
	.name = "array_of_maps",
	.check = objs_check,
	.init = objs_init,
	.fini = objs_fini,
	.lookup = objs_lookup,
	.update = map_no_update,
	.remove = objs_remove,
	.next_key = map_array_next_key,
	.read = objs_read,
	.write = objs_write,
	.set_obj = objs_set,
};

/* ---- in several processes -------------------------------------------------------------------- */

static bool is_hash(const struct map *m)
{
	return m->ops == &map_hash_of_maps_ops;
}

u32 map_objs_count(const struct map *m)
{
	if (is_hash(m))
		return map_outer_places(m);
	if (m->ops == &map_prog_array_ops || m->ops == &map_perf_array_ops || m->ops == &map_array_of_maps_ops)
		return m->attr.max_entries;
	return 0;
}

static u32 id_of(struct map *m, u32 i)
{
	u32 id;

	map_load(&id, is_hash(m) ? map_outer_id(m, i) : m->values + (size_t)i * 8, sizeof(id));
	return id;
}

bool map_objs_stale(struct map *m, u32 i, u32 have, u32 *id)
{
	if (i >= map_objs_count(m))
		return false;
	*id = id_of(m, i);
	return *id != (atomic_load_explicit(&m->objs[i], memory_order_acquire) ? have : 0);
}

static void *put(struct map *m, u32 i, void *obj, u32 id)
{
	return is_hash(m) ? map_outer_swap(m, i, obj, id)
			  : atomic_exchange_explicit(&m->objs[i], obj, memory_order_acq_rel);
}

bool map_objs_take(struct map *m, u32 i, void *obj, u32 id)
{
	map_lock_word *lock = is_hash(m) ? map_outer_lock(m) : &((struct objs *)m->priv)->lock;
	/* Who changes it here holds the lock between object and id: what is taken is never older than that. */
	bool locked = map_lock(lock) >= 0, current = id_of(m, i) == id;
	void *old = current ? put(m, i, obj, id) : NULL;

	if (locked)
		map_unlock(lock);
	if (old && map_drop_obj)
		map_drop_obj(m, old);
	return current;
}

void map_objs_drop(struct map *m, u32 i)
{
	void *old = put(m, i, NULL, 0);

	if (old && map_drop_obj)
		map_drop_obj(m, old);
}

bool map_objs_shared(const struct map *m)
{
	atomic_thread_fence(memory_order_seq_cst); /* what was changed is seen by those who are not counted yet */
	return atomic_load_explicit(&map_head(m)->sharers, memory_order_relaxed);
}

void map_objs_share(struct map *m)
{
	atomic_fetch_add(&map_head(m)->sharers, 1);
	atomic_thread_fence(memory_order_seq_cst);
}
