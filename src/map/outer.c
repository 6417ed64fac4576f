/* SPDX-License-Identifier: MIT */
/*
 * Hashes of maps: a hash table whose values are the element's id, which a lookup from bpf(2) shows, and its place.
 * Shared memory says which id is at each place, every process has its own objects at them (m->objs), as in arrays of
 * objects (objs.c). A new element gets a place first, then all that share the map come to have it there
 * (map_objs_placed), and then the table says so: it is never in the table and not to be had.
 *
 * Who changes places holds a lock; readers take none. A place that is on the way into the table or out of it has an
 * owner: when that has died, whether the table has it decides.
 */
#include <sys/mman.h>

#include "map/hash_int.h"

#define SPARE 64 /* places more than elements: for those that are being replaced */

struct shared_value {
	u32 id, place;
};

struct place { /* id 0 and no owner: free */
	map_lock_word owner;
	_Atomic u32 id;
	u32 unused;
};

struct places {
	map_lock_word lock;
	_Atomic u32 next; /* where a free one may be */
	u32 unused[13];
	struct place place[];
};

struct outer {
	struct htab table; /* first: m->priv is a hash table to the hash's operations */
	const struct map_ops *hash;
	struct places *shared;
	map_lock_word lock; /* of this process: object and id change together */
	_Atomic u32 *ids;   /* of the objects here, by place */
	u32 n;
	size_t mapped;
};

void (*map_objs_placed)(struct map *m);

static struct map_attr within(const struct map_attr *a)
{
	struct map_attr in = *a;

	in.type = BPF_MAP_TYPE_HASH;
	in.value_size = sizeof(struct shared_value);
	return in;
}

static size_t places_at(const struct map_attr *in)
{
	return ALIGN_UP(hash_size(in), 64);
}

static int outer_check(const struct map_attr *a, size_t *bytes)
{
	struct map_attr in = within(a);
	int err;

	if (a->value_size != 4)
		return map_refuse(-EINVAL, "value_size must be 4");
	err = map_hash_ops.check(&in, bytes);
	if (!err)
		*bytes = places_at(&in) + sizeof(struct places) + ((size_t)a->max_entries + SPARE) * sizeof(struct place);
	return err;
}

static int outer_init(struct map *m)
{
	struct map_attr in = within(&m->attr);
	struct outer *o = base_alloc(sizeof(*o));
	void *mem;

	if (!o)
		return -ENOMEM;
	o->n = m->attr.max_entries + SPARE;
	o->mapped = (size_t)o->n * (sizeof(void *) + sizeof(u32));
	/* Not from the allocator: pages come when touched. */
	mem = mmap(NULL, o->mapped, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED) {
		base_free(o);
		return -ENOMEM;
	}
	hash_setup(&o->table, &in, m->mem, map_head(m)->seed);
	if (!m->attached)
		hash_pool_init(&o->table);
	o->hash = hash_ops_for(&in);
	o->shared = (struct places *)(m->mem + places_at(&in));
	m->objs = mem;
	o->ids = (_Atomic u32 *)(m->objs + o->n);
	m->priv = o;
	return 0;
}

static void outer_fini(struct map *m)
{
	struct outer *o = m->priv;
	u32 i;

	for (i = 0; i < o->n; i++) {
		void *obj = atomic_load_explicit(&m->objs[i], memory_order_relaxed);

		if (obj && map_drop_obj)
			map_drop_obj(m, obj);
	}
	munmap((void *)m->objs, o->mapped);
	base_free(o);
}

/* ---- places --------------------------------------------------------------------------------- */

u32 map_outer_places(const struct map *m)
{
	return ((const struct outer *)m->priv)->n;
}

void *map_outer_id(const struct map *m, u32 i)
{
	return &((const struct outer *)m->priv)->shared->place[i].id;
}

map_lock_word *map_outer_lock(struct map *m)
{
	return &((struct outer *)m->priv)->lock;
}

/* The id before the object: who reads them the other way round never takes one for another. */
void *map_outer_swap(struct map *m, u32 i, void *obj, u32 id)
{
	struct outer *o = m->priv;

	if (obj)
		atomic_store_explicit(&o->ids[i], id, memory_order_release);
	return atomic_exchange_explicit(&m->objs[i], obj, memory_order_acq_rel);
}

static bool value_of(struct map *m, const void *key, struct shared_value *v)
{
	const struct outer *o = m->priv;
	const void *at = o->hash->lookup(m, key);

	if (!at)
		return false;
	map_load(v, at, sizeof(*v));
	return v->place < o->n;
}

/* Puts object and id there, here and for others to see: nobody has the one without the other. */
static void *fill(struct map *m, u32 i, void *obj, u32 id)
{
	struct outer *o = m->priv;
	bool locked = map_lock(&o->lock) >= 0;
	void *old = map_outer_swap(m, i, obj, id);

	atomic_store_explicit(&o->shared->place[i].id, id, memory_order_release);
	if (locked)
		map_unlock(&o->lock);
	return old;
}

/* The place is free then; the caller has the reference of what was there. */
static void *empty(struct map *m, u32 i)
{
	void *old = fill(m, i, NULL, 0);

	atomic_store(&((struct outer *)m->priv)->shared->place[i].owner, 0);
	return old;
}

/* Which places the table has: a bit each; NULL without memory. */
static u64 *in_table(struct map *m)
{
	struct outer *o = m->priv;
	u64 *bits = base_array(((size_t)o->n + 63) / 64, sizeof(*bits)), pos = 0;
	void *key = base_alloc(m->attr.key_size), *at;
	struct shared_value v;

	while (bits && key && (at = o->hash->next_elem(m, &pos, key))) {
		map_load(&v, at, sizeof(v));
		if (v.place < o->n)
			bits[v.place / 64] |= 1ull << v.place % 64;
	}
	if (!key) {
		base_free(bits);
		bits = NULL;
	}
	base_free(key);
	return bits;
}

/* Places of the dead, with the lock held. Objects of this process that were there are dropped with the map. */
static void reclaim(struct map *m)
{
	struct outer *o = m->priv;
	u64 *used = in_table(m), owner;
	u32 i;

	for (i = 0; used && i < o->n; i++) {
		owner = atomic_load(&o->shared->place[i].owner);
		if (!owner || !map_is_dead(owner))
			continue;
		if (!(used[i / 64] >> i % 64 & 1))
			atomic_store(&o->shared->place[i].id, 0);
		atomic_store(&o->shared->place[i].owner, 0);
	}
	base_free(used);
}

static int lock_places(struct map *m)
{
	struct outer *o = m->priv;
	int err = map_lock(&o->shared->lock);

	if (err == LOCK_INHERITED)
		reclaim(m);
	return err < 0 ? err : 0;
}

static bool find_free(struct outer *o, u32 *place)
{
	u32 n, i = o->shared->next % o->n;

	for (n = 0; n < o->n; n++, i = i + 1 == o->n ? 0 : i + 1) {
		if (o->shared->place[i].id || o->shared->place[i].owner)
			continue;
		atomic_store(&o->shared->place[i].owner, map_self());
		o->shared->next = i + 1;
		*place = i;
		return true;
	}
	return false;
}

/* A place that is this thread's: 0, -E2BIG, -EBUSY. */
static int take_place(struct map *m, u32 *place)
{
	struct outer *o = m->priv;
	int err = lock_places(m);

	if (err)
		return err;
	if (!find_free(o, place)) {
		reclaim(m);
		err = find_free(o, place) ? 0 : -E2BIG;
	}
	map_unlock(&o->shared->lock);
	return err;
}

/* ---- operations ----------------------------------------------------------------------------- */

/*
 * All elements fit the template, so whichever a place holds, what the verifier proved of it is true, also when shared
 * memory says nonsense. One of another id came later, when the key was gone.
 */
static void *outer_lookup(struct map *m, const void *key)
{
	const struct outer *o = m->priv;
	struct shared_value v;
	void *obj;

	if (!value_of(m, key, &v))
		return NULL;
	obj = atomic_load_explicit(&m->objs[v.place], memory_order_acquire);
	return atomic_load_explicit(&o->ids[v.place], memory_order_acquire) == v.id ? obj : NULL;
}

/* The table changes: of a key that is there its old place is let go. *before: what was there, or `obj` after an error. */
static int enter(struct map *m, const void *key, const struct shared_value *new, u64 flags, void **before)
{
	struct outer *o = m->priv;
	struct shared_value old;
	bool replaces;
	int err = lock_places(m);

	*before = NULL;
	if (err) {
		empty(m, new->place);
		return err;
	}
	replaces = value_of(m, key, &old);
	if (replaces)
		atomic_store(&o->shared->place[old.place].owner, map_self());
	err = o->hash->update(m, key, new, flags);
	if (!err && replaces)
		*before = empty(m, old.place);
	else if (replaces)
		atomic_store(&o->shared->place[old.place].owner, 0);
	if (err)
		empty(m, new->place);
	else
		atomic_store(&o->shared->place[new->place].owner, 0);
	map_unlock(&o->shared->lock);
	return err;
}

static int outer_set(struct map *m, const void *key, void *obj, u32 id, u64 flags)
{
	struct shared_value new = { .id = id };
	void *before;
	int err = take_place(m, &new.place);

	if (err)
		return err;
	before = fill(m, new.place, obj, id);
	if (before && map_drop_obj) /* of one who died */
		map_drop_obj(m, before);
	if (map_objs_placed)
		map_objs_placed(m);
	err = enter(m, key, &new, flags, &before);
	if (before && map_drop_obj)
		map_drop_obj(m, before);
	return err;
}

static int outer_remove(struct map *m, const void *key)
{
	struct outer *o = m->priv;
	struct shared_value old;
	void *before = NULL;
	bool there;
	int err = lock_places(m);

	if (err)
		return err;
	there = value_of(m, key, &old);
	if (there)
		atomic_store(&o->shared->place[old.place].owner, map_self());
	err = o->hash->remove(m, key);
	if (there && !err)
		before = empty(m, old.place);
	else if (there)
		atomic_store(&o->shared->place[old.place].owner, 0);
	map_unlock(&o->shared->lock);
	if (before && map_drop_obj)
		map_drop_obj(m, before);
	return err;
}

static int outer_read(struct map *m, const void *key, void *value, u64 flags)
{
	struct shared_value v;

	(void)flags;
	if (!value_of(m, key, &v))
		return -ENOENT;
	memcpy(value, &v.id, sizeof(v.id));
	return 0;
}

static int outer_next_key(struct map *m, const void *key, void *next)
{
	return ((struct outer *)m->priv)->hash->next_key(m, key, next);
}

/* Keys only: a value in the table is not what a look-up shows. */
static u32 outer_next_batch(struct map *m, u64 *pos, u32 n, u8 *keys, u8 *values)
{
	return values ? 0 : ((struct outer *)m->priv)->hash->next_batch(m, pos, n, keys, NULL);
}

/* A descriptor is no value: src/bpf turns it into an object and calls set_obj. */
static int outer_write(struct map *m, const void *key, const void *value, u64 flags)
{
	(void)m, (void)key, (void)value, (void)flags;
	return -EBADF;
}

const struct map_ops map_hash_of_maps_ops = {
	.name = "hash_of_maps",
	.check = outer_check,
	.init = outer_init,
	.fini = outer_fini,
	.lookup = outer_lookup,
	.update = map_no_update,
	.remove = outer_remove,
	.next_key = outer_next_key,
	.next_batch = outer_next_batch,
	.read = outer_read,
	.write = outer_write,
	.set_obj = outer_set,
};
