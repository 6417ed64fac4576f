/* SPDX-License-Identifier: MIT */
/*
 * Hashes of maps: a hash table whose values are the element's id, which a lookup from bpf(2) shows,
 * and where in this process's table the element itself is. Elements come and go under a lock of
 * this process; look-ups take none.
 */
#include <sys/mman.h>

#include "map/hash_int.h"

struct shared_value {
	u32 id, slot;
};

struct outer {
	struct htab table; /* first: m->priv is a hash table to the hash's operations */
	const struct map_ops *hash;
	map_lock_word lock;
	u32 nslots, fresh; /* slots from `fresh` on were never used */
	u32 *unused;       /* a stack of those that were and are not */
	u32 nunused;
	size_t mapped;
};

static struct map_attr within(const struct map_attr *a)
{
	struct map_attr in = *a;

	in.type = BPF_MAP_TYPE_HASH;
	in.value_size = sizeof(struct shared_value);
	return in;
}

static int outer_check(const struct map_attr *a, size_t *bytes)
{
	struct map_attr in = within(a);

	if (a->value_size != 4)
		return map_refuse(-EINVAL, "value_size must be 4");
	return map_hash_ops.check(&in, bytes);
}

static int outer_init(struct map *m)
{
	struct map_attr in = within(&m->attr);
	struct outer *o = base_alloc(sizeof(*o));
	u32 n = m->attr.max_entries + 1; /* one more while an element is replaced */
	void *mem;

	if (!o)
		return -ENOMEM;
	o->mapped = (size_t)n * (sizeof(void *) + sizeof(u32));
	/* Not from the allocator: pages come when touched. */
	mem = mmap(NULL, o->mapped, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED) {
		base_free(o);
		return -ENOMEM;
	}
	hash_setup(&o->table, &in, m->mem, map_head(m)->seed);
	hash_pool_init(&o->table);
	o->hash = hash_ops_for(&in);
	o->nslots = n;
	m->objs = mem;
	o->unused = (u32 *)(m->objs + n);
	m->priv = o;
	return 0;
}

static void outer_fini(struct map *m)
{
	struct outer *o = m->priv;
	u32 i;

	for (i = 0; i < o->nslots; i++) {
		void *obj = atomic_load_explicit(&m->objs[i], memory_order_relaxed);

		if (obj && map_drop_obj)
			map_drop_obj(m, obj);
	}
	munmap((void *)m->objs, o->mapped);
	base_free(o);
}

/* Slots are given out and back under the lock. */
static bool slot_take(struct outer *o, u32 *slot)
{
	if (o->nunused)
		*slot = o->unused[--o->nunused];
	else if (o->fresh < o->nslots)
		*slot = o->fresh++;
	else
		return false;
	return true;
}

/* The element leaves the table, the caller has its reference. */
static void *slot_give(struct map *m, u32 slot)
{
	struct outer *o = m->priv;
	void *obj = atomic_exchange_explicit(&m->objs[slot], NULL, memory_order_acq_rel);

	if (o->nunused < o->nslots)
		o->unused[o->nunused++] = slot;
	return obj;
}

static bool value_of(struct map *m, const void *key, struct shared_value *v)
{
	const struct outer *o = m->priv;
	const void *at = o->hash->lookup(m, key);

	if (!at)
		return false;
	map_load(v, at, sizeof(*v));
	return v->slot < o->nslots;
}

/*
 * All elements fit the template, so whichever a slot holds, what the verifier proved of it is true,
 * also when shared memory says nonsense.
 */
static void *outer_lookup(struct map *m, const void *key)
{
	struct shared_value v;

	if (!value_of(m, key, &v))
		return NULL;
	return atomic_load_explicit(&m->objs[v.slot], memory_order_acquire);
}

static int outer_set(struct map *m, const void *key, void *obj, u32 id, u64 flags)
{
	struct outer *o = m->priv;
	struct shared_value old, new = { .id = id };
	void *before = NULL;
	bool replaces;
	int err = map_lock(&o->lock);

	if (err < 0)
		return err;
	if (!slot_take(o, &new.slot)) {
		err = -E2BIG;
		goto out;
	}
	replaces = value_of(m, key, &old);
	atomic_store_explicit(&m->objs[new.slot], obj, memory_order_release);
	err = o->hash->update(m, key, &new, flags);
	if (err < 0)
		slot_give(m, new.slot);
	else if (replaces)
		before = slot_give(m, old.slot);
out:
	map_unlock(&o->lock);
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
	int err = map_lock(&o->lock);

	if (err < 0)
		return err;
	there = value_of(m, key, &old);
	err = o->hash->remove(m, key);
	if (!err && there)
		before = slot_give(m, old.slot);
	map_unlock(&o->lock);
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
