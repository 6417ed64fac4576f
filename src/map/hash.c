/* SPDX-License-Identifier: MIT */
/* Hash maps: look-up, change, iteration and the four types made of them. See hash_int.h. */
#include "map/hash_find.h"

/* ---- finding -------------------------------------------------------------------------------- */

bool hash_find_elem(const struct htab *t, u32 elem, struct hash_pos *pos, u32 *home)
{
	u64 h = hash_of(t, hash_elem(t, elem), t->key_size);
	u64 want = slot_word(0, h, elem) & ~SLOT_COUNT, w;
	u32 b = hash_home(t, h), n, i;

	*home = b;
	for (n = 0; n < t->max_probe; n++) {
		struct bucket *bk = &t->buckets[b];

		for (i = 0; i < SLOTS; i++) {
			w = atomic_load_explicit(&bk->slot[i], memory_order_acquire);
			if ((w & ~SLOT_COUNT) == want) {
				*pos = (struct hash_pos){ w, b, i, elem };
				return true;
			}
		}
		if (!atomic_load_explicit(&bk->passed, memory_order_acquire))
			break;
		b = hash_next_bucket(t, b);
	}
	return false;
}

/* Where `key` is, by the code for its size: false when it is nowhere. */
INLINE bool locate(const struct htab *t, const void *key, u64 h, struct hash_pos *pos)
{
	switch (t->key_size) {
	case 4: return find(t, key, 4, h, pos) != NONE;
	case 8: return find(t, key, 8, h, pos) != NONE;
	}
	return find(t, key, t->key_size, h, pos) != NONE;
}

INLINE u64 hash_key(const struct htab *t, const void *key)
{
	switch (t->key_size) {
	case 4: return hash_of(t, key, 4);
	case 8: return hash_of(t, key, 8);
	}
	return hash_of(t, key, t->key_size);
}

/* ---- linking, under the stripe's lock ------------------------------------------------------- */

static void unpass(struct htab *t, u32 from, u32 to)
{
	u32 n;

	for (n = 0; from != to && n < t->max_probe; n++, from = hash_next_bucket(t, from)) {
		_Atomic u32 *p = &t->buckets[from].passed;
		u32 have = atomic_load_explicit(p, memory_order_relaxed);

		while (have && !atomic_compare_exchange_weak(p, &have, have - 1))
			;
	}
}

/*
 * Slots of a bucket are shared with keys that came from buckets before it, whose stripes may be
 * others: a free one is taken by compare-and-swap. `passed` grows before the key is to be found.
 */
static bool link_elem(struct htab *t, u64 h, u32 elem)
{
	u32 home = hash_home(t, h), b = home, n, i;

	for (n = 0; n < t->max_probe; n++) {
		struct bucket *bk = &t->buckets[b];

		for (i = 0; i < SLOTS; i++) {
			u64 w = atomic_load_explicit(&bk->slot[i], memory_order_relaxed);

			if (!(w & SLOT_ELEM) &&
			    atomic_compare_exchange_strong(&bk->slot[i], &w, slot_word(w, h, elem)))
				return true;
		}
		atomic_fetch_add(&bk->passed, 1);
		b = hash_next_bucket(t, b);
	}
	unpass(t, home, b);
	return false;
}

void hash_unlink(struct htab *t, u32 home, const struct hash_pos *pos)
{
	atomic_store_explicit(&t->buckets[pos->bucket].slot[pos->slot], slot_freed(pos->word),
			      memory_order_release);
	unpass(t, home, pos->bucket);
}

/* ---- values --------------------------------------------------------------------------------- */

INLINE u8 *value_at(const struct htab *t, u32 e, u32 cpu)
{
	if (t->values)
		return t->values + cpu * t->cpu_stride + (size_t)e * t->stride;
	return hash_elem(t, e) + t->val_off;
}

/* A small key or value: one load where it fits a word, which is whole. */
INLINE void load_small(u8 *to, const u8 *from, u32 size)
{
	u64 w = __atomic_load_n((const u64 *)(const void *)from, __ATOMIC_ACQUIRE);

	if (size == 4)
		memcpy(to, &w, 4);
	else if (size == 8)
		memcpy(to, &w, 8);
	else
		map_load(to, from, size);
}

INLINE void store_small(u8 *to, const u8 *from, u32 size)
{
	if (size <= 8)
		__atomic_store_n((u64 *)(void *)to, size == 8 ? load64(from) : map_tail(from, size), __ATOMIC_RELAXED);
	else
		map_store(to, from, size);
}

/* Whose values a change is about: those of all CPUs (bpf(2)), or the one of this CPU (programs). */
enum who { THIS_CPU, ALL_CPUS };

static void fill_value(struct htab *t, u32 e, const void *value, enum who who, bool fresh)
{
	u32 cpu, here;

	if (!t->values) {
		map_store(value_at(t, e, 0), value, t->value_size);
		return;
	}
	if (who == ALL_CPUS) {
		for (cpu = 0; cpu < t->cpus; cpu++)
			map_store(value_at(t, e, cpu), (const u8 *)value + (size_t)cpu * t->stride,
				  t->stride);
		return;
	}
	here = map_this_cpu();
	for (cpu = 0; cpu < t->cpus; cpu++) {
		if (cpu == here)
			map_store(value_at(t, e, cpu), value, t->value_size);
		else if (fresh)
			map_zero(value_at(t, e, cpu), t->stride);
	}
}

static void copy_out(const struct htab *t, u32 e, void *value)
{
	u32 cpu;

	if (!t->values) {
		load_small(value, value_at(t, e, 0), t->value_size);
		return;
	}
	for (cpu = 0; cpu < t->cpus; cpu++)
		map_load((u8 *)value + (size_t)cpu * t->stride, value_at(t, e, cpu), t->stride);
}

/* ---- changing ------------------------------------------------------------------------------- */

/*
 * A key that is there gets a new element with the new value: a reader has the old one or the new. Not of per-CPU types.
 */
INLINE void replace(struct htab *t, struct stripe *s, const struct hash_pos *pos, u64 h,
		    const void *key, const void *value)
{
	u32 e = atomic_load_explicit(&s->spare, memory_order_relaxed) - 1;

	if (e >= t->nelems && hash_pool_take(t, s, &e) < 0) {
		map_store(value_at(t, pos->elem, 0), value, t->value_size);
		return;
	}
	store_small(hash_elem(t, e), key, t->key_size);
	store_small(hash_elem(t, e) + t->val_off, value, t->value_size);
	if (t->ref) { /* used as often as the one that it replaces, and once more */
		atomic_store_explicit(&t->ref[e], atomic_load_explicit(&t->ref[pos->elem], memory_order_relaxed),
				      memory_order_relaxed);
		hash_used(t, e);
	}
	atomic_store_explicit(&s->given, pos->elem + 1, memory_order_relaxed);
	atomic_store_explicit(&t->buckets[pos->bucket].slot[pos->slot], slot_word(pos->word, h, e),
			      memory_order_release);
	atomic_store_explicit(&s->spare, pos->elem + 1, memory_order_release);
	atomic_store_explicit(&s->given, 0, memory_order_release);
	atomic_store_explicit(&s->taken, 0, memory_order_release);
}

static int insert(struct htab *t, struct stripe *s, u64 h, const void *key, const void *value,
		  enum who who)
{
	u32 e;
	int err = hash_pool_take(t, s, &e);

	if (err < 0)
		return err;
	map_store(hash_elem(t, e), key, t->key_size);
	fill_value(t, e, value, who, true);
	if (t->ref)
		atomic_store_explicit(&t->ref[e], 0, memory_order_relaxed);
	if (!link_elem(t, h, e)) {
		hash_pool_give(t, e);
		err = -E2BIG; /* 28,672 keys of one hash, or nonsense in the table */
	}
	atomic_store_explicit(&s->taken, 0, memory_order_release);
	return err;
}

static int change(struct map *m, const void *key, const void *value, u64 flags, enum who who)
{
	struct htab *t = m->priv;
	u64 h = hash_key(t, key);
	struct stripe *s = hash_stripe(t, hash_home(t, h));
	struct hash_pos pos;
	bool there;
	int err;

	if (flags > BPF_EXIST)
		return -EINVAL;
	/*
	 * What is to be written comes while the lock is waited for; a wrong spare does no harm
	 * here.
	 */
	__builtin_prefetch(&t->buckets[hash_home(t, h)], 1);
	__builtin_prefetch(hash_elem(t, atomic_load_explicit(&s->spare, memory_order_relaxed)), 1);
	err = hash_lock(t, s);
	if (err < 0)
		return err;
	there = locate(t, key, h, &pos);
	if (there && flags == BPF_NOEXIST)
		err = -EEXIST;
	else if (!there && flags == BPF_EXIST)
		err = -ENOENT;
	else if (!there)
		err = insert(t, s, h, key, value, who);
	else if (t->values) /* per-CPU values stay where they are, as the kernel's */
		fill_value(t, pos.elem, value, who, false);
	else
		replace(t, s, &pos, h, key, value);
	if (there && !err && t->values && t->ref)
		hash_used(t, pos.elem);
	hash_unlock(s);
	return err;
}

static int hash_update(struct map *m, const void *key, const void *value, u64 flags)
{
	return change(m, key, value, flags, THIS_CPU);
}

static int hash_write(struct map *m, const void *key, const void *value, u64 flags)
{
	return change(m, key, value, flags, ALL_CPUS);
}

/* Deletes, with a copy of the value if `value` is not NULL. */
static int take(struct map *m, const void *key, void *value, u64 flags)
{
	struct htab *t = m->priv;
	u64 h = hash_key(t, key);
	u32 home = hash_home(t, h);
	struct stripe *s = hash_stripe(t, home);
	struct hash_pos pos;
	int err;

	(void)flags;
	__builtin_prefetch(&t->buckets[home], 1);
	err = hash_lock(t, s);
	if (err < 0)
		return err;
	if (!locate(t, key, h, &pos)) {
		err = -ENOENT;
	} else {
		if (value)
			copy_out(t, pos.elem, value);
		atomic_store_explicit(&s->given, pos.elem + 1, memory_order_relaxed);
		hash_unlink(t, home, &pos);
		hash_pool_give(t, pos.elem);
		atomic_store_explicit(&s->given, 0, memory_order_release);
	}
	hash_unlock(s);
	return err;
}

static int hash_remove(struct map *m, const void *key)
{
	return take(m, key, NULL, 0);
}

/* ---- reading -------------------------------------------------------------------------------- */

static int hash_read(struct map *m, const void *key, void *value, u64 flags)
{
	const struct htab *t = m->priv;
	u64 h = hash_key(t, key);
	struct hash_pos pos;
	u32 tries;

	(void)flags;
	for (tries = 0; tries < 1000; tries++) {
		if (!locate(t, key, h, &pos))
			return -ENOENT;
		copy_out(t, pos.elem, value);
		/* The copy is of this key if the element was its own to the end. */
		if (atomic_load_explicit(&t->buckets[pos.bucket].slot[pos.slot],
					 memory_order_acquire) == pos.word)
			return 0;
	}
	return 0; /* changed all the while: as it was found, like the kernel's */
}

/*
 * The bucket to look at after `b`, when many in a row held nothing: a large map's file has holes,
 * and reading one would fill it.
 */
static u32 skip_hole(const struct map *m, const struct htab *t, u32 b)
{
	size_t base = (size_t)((const u8 *)t->buckets - m->mem), at;

	at = map_mem_next(m, base + (size_t)b * sizeof(struct bucket));
	at = (at - base) / sizeof(struct bucket);
	return at > b && at < t->nbuckets ? (u32)at : at > b ? t->nbuckets : b;
}

/* In the order of slots. An element keeps its slot while it lives, whatever happens around it. */
static int hash_next_key(struct map *m, const void *key, void *next)
{
	const struct htab *t = m->priv;
	struct hash_pos pos;
	u32 b = 0, first = 0, empty = 0, used;

	if (key && locate(t, key, hash_key(t, key), &pos)) {
		b = pos.bucket;
		first = pos.slot + 1;
	}
	for (; b < t->nbuckets; b++, first = 0) {
		if (++empty > 64 && (uintptr_t)&t->buckets[b] % MAP_PAGE == 0 && (b = skip_hole(m, t, b)) >= t->nbuckets)
			break;
		for (used = used_slots(&t->buckets[b]) & ~0u << first; used; used &= used - 1) {
			_Atomic u64 *slot = &t->buckets[b].slot[__builtin_ctz(used)];
			u64 w = atomic_load_explicit(slot, memory_order_acquire);

			if ((u32)w - 1 >= t->nelems)
				continue;
			load_small(next, hash_elem(t, (u32)w - 1), t->key_size);
			if (atomic_load_explicit(slot, memory_order_acquire) == w)
				return 0;
		}
	}
	return -ENOENT;
}

/* By slots, so that keys which come and go meanwhile lead nobody back. */
static void *hash_next_elem(struct map *m, u64 *pos, void *key)
{
	const struct htab *t = m->priv;
	u32 b = (u32)(*pos / SLOTS), i = (u32)(*pos % SLOTS), empty = 0;

	for (; b < t->nbuckets; b++, i = 0) {
		if (++empty > 64 && (uintptr_t)&t->buckets[b] % MAP_PAGE == 0)
			b = skip_hole(m, t, b);
		for (; b < t->nbuckets && i < SLOTS; i++) {
			_Atomic u64 *slot = &t->buckets[b].slot[i];
			u64 w = atomic_load_explicit(slot, memory_order_acquire);

			if ((u32)w - 1 >= t->nelems)
				continue;
			map_load(key, hash_elem(t, (u32)w - 1), t->key_size);
			if (atomic_load_explicit(slot, memory_order_acquire) != w)
				continue;
			*pos = (u64)b * SLOTS + i + 1;
			return value_at(t, (u32)w - 1, t->values ? map_this_cpu() : 0);
		}
	}
	*pos = (u64)b * SLOTS;
	return NULL;
}

/*
 * Slots of some buckets that hold elements, gathered without a branch for each, so that what follows is one loop
 * and their memory is on the way when it comes there.
 */
#define GATHERED 32
struct live {
	u64 word[GATHERED + SLOTS];
	u64 at[GATHERED + SLOTS]; /* bucket * 8 + slot */
	u32 n;
};

INLINE void gather(const struct htab *t, u32 b, u32 first, struct live *l)
{
	u32 i, n = l->n, had = n;

	for (i = first; i < SLOTS; i++) {
		u64 w = atomic_load_explicit(&t->buckets[b].slot[i], memory_order_acquire);

		l->word[n] = w;
		l->at[n] = (u64)b * 8 + i;
		n += (u32)w - 1 < t->nelems;
	}
	l->n = n;
	for (i = had; i < n; i++)
		__builtin_prefetch(hash_elem(t, (u32)l->word[i] - 1));
}

/* Key and value (unless NULL) of slot `i`, whose element may be replaced meanwhile: false, it is gone. */
INLINE bool load_slot(const struct htab *t, u64 at, u64 w, u8 *key, u8 *value)
{
	_Atomic u64 *slot = &t->buckets[at / 8].slot[at % 8];
	u64 now;
	u32 tries;

	for (tries = 0; tries < 1000; tries++, w = now) {
		u32 e = (u32)w - 1;

		if (e >= t->nelems)
			return false;
		load_small(key, hash_elem(t, e), t->key_size);
		if (value && t->values)
			copy_out(t, e, value);
		else if (value)
			load_small(value, value_at(t, e, 0), t->value_size);
		now = atomic_load_explicit(slot, memory_order_acquire);
		if (now == w)
			return true;
	}
	return false;
}

static u32 hash_next_batch(struct map *m, u64 *pos, u32 n, u8 *keys, u8 *values)
{
	const struct htab *t = m->priv;
	u32 b = (u32)(*pos / SLOTS), first = (u32)(*pos % SLOTS), empty = 0, done = 0, i;
	struct live l;

	if (!n)
		return 0;
	while (b < t->nbuckets && done < n) {
		for (l.n = 0; b < t->nbuckets && l.n < GATHERED; b++, first = 0) {
			u32 had = l.n;

			if (empty > 64 && (uintptr_t)&t->buckets[b] % MAP_PAGE == 0 &&
			    (b = skip_hole(m, t, b)) >= t->nbuckets)
				break;
			gather(t, b, first, &l);
			empty = l.n > had ? 0 : empty + 1;
		}
		for (i = 0; i < l.n && done < n; i++) {
			if (load_slot(t, l.at[i], l.word[i], keys, values)) {
				done++;
				keys += t->key_size;
				values = values ? values + m->user_value_size : NULL;
			}
		}
		if (i < l.n) {
			*pos = l.at[i] / 8 * SLOTS + l.at[i] % 8;
			return done;
		}
	}
	*pos = (u64)b * SLOTS;
	return done;
}

/* Not for per-CPU values, which hold nothing of the system's. */
static void hash_key_of(struct map *m, const void *value, void *key)
{
	const struct htab *t = m->priv;

	map_load(key, (const u8 *)value - t->val_off, t->key_size);
}

static void *hash_lookup_cpu(struct map *m, const void *key, u32 cpu)
{
	const struct htab *t = m->priv;
	u32 e = find(t, key, t->key_size, hash_of(t, key, t->key_size), NULL);

	if (e == NONE)
		return NULL;
	if (t->ref)
		hash_used(t, e);
	return value_at(t, e, cpu);
}

/* ---- the types ------------------------------------------------------------------------------ */

static int hash_check(const struct map_attr *a, size_t *bytes);
static int hash_init(struct map *m);
static void hash_fini(struct map *m);

/*
 * One table of operations for each type and for each key size worth its own code; a map gets the
 * fitting one when it is made.
 */
#define LOOKUP(type, size, key_bytes, percpu, lru)                                                 \
	static void *type##_lookup_##size(struct map *m, const void *key)                          \
	{                                                                                          \
		return lookup(m, key, key_bytes, percpu, lru);                                     \
	}                                                                                          \
	void *hash_plain_##type##_##size(struct map *m, const void *key); /* hash_plain.c */
#define OPS(type, size, percpu)                                                                    \
	{                                                                                          \
		.name = #type, .check = hash_check, .init = hash_init, .fini = hash_fini,          \
		.lookup = type##_lookup_##size, .lookup_plain = hash_plain_##type##_##size,         \
		.lookup_cpu = percpu ? hash_lookup_cpu : NULL,                                      \
		.update = hash_update, .remove = hash_remove,                                      \
		.next_key = hash_next_key, .next_elem = hash_next_elem,                           \
		.next_batch = hash_next_batch, .key_of = hash_key_of,                              \
		.read = hash_read, .write = hash_write, .take = take,                              \
		.inline_kind = percpu ? MAP_INLINE_NONE : MAP_INLINE_HASH,                         \
	}
#define HASH_TYPE(type, percpu, lru)                                                               \
	LOOKUP(type, 4, 4, percpu, lru)                                                            \
	LOOKUP(type, 8, 8, percpu, lru)                                                            \
	LOOKUP(type, 16, 16, percpu, lru)                                                          \
	LOOKUP(type, any, ((const struct htab *)m->priv)->key_size, percpu, lru)                   \
	static const struct map_ops type##_by_size[] = { OPS(type, 4, percpu),                     \
							 OPS(type, 8, percpu),                     \
							 OPS(type, 16, percpu) };                  \
	const struct map_ops map_##type##_ops = OPS(type, any, percpu);

HASH_TYPE(hash, false, false)
HASH_TYPE(percpu_hash, true, false)
HASH_TYPE(lru_hash, false, true)
HASH_TYPE(lru_percpu_hash, true, true)

static bool is_lru(u32 type)
{
	return type == BPF_MAP_TYPE_LRU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

const struct map_ops *hash_ops_for(const struct map_attr *a)
{
	static const struct map_ops *const by_type[] = {
		[BPF_MAP_TYPE_HASH] = hash_by_size,
		[BPF_MAP_TYPE_PERCPU_HASH] = percpu_hash_by_size,
		[BPF_MAP_TYPE_LRU_HASH] = lru_hash_by_size,
		[BPF_MAP_TYPE_LRU_PERCPU_HASH] = lru_percpu_hash_by_size,
	};

	switch (a->key_size) {
	case 4: return &by_type[a->type][0];
	case 8: return &by_type[a->type][1];
	case 16: return &by_type[a->type][2];
	}
	return map_ops_of(a->type);
}

/* Where everything is in the file: offsets in *off, the whole size as the result. */
struct hash_layout {
	size_t state, buckets, stripes, elems, owner, taken[POOL_LEVELS], ref, values;
};

static size_t lay_out(const struct map_attr *a, struct htab *t, struct hash_layout *off)
{
	size_t words[POOL_LEVELS], at = 64;
	bool percpu = map_is_percpu(a->type);
	u32 stripes = 1, l;

	while (stripes < 256 && stripes < a->max_entries / 16)
		stripes *= 2;
	t->stripe_mask = stripes - 1;
	t->nelems = a->max_entries + stripes;
	t->nbuckets = (u32)(((u64)a->max_entries + 3) / 4);
	t->max_probe = t->nbuckets < 4096 ? t->nbuckets : 4096;
	t->key_size = a->key_size;
	t->value_size = a->value_size;
	t->stride = ALIGN_UP(a->value_size, 8u);
	t->val_off = ALIGN_UP(a->key_size, 8u);
	t->elem_size = percpu ? t->val_off : t->val_off + t->stride;
	t->cpus = map_cpus();
	t->levels = hash_pool_levels(t->nelems, words);

	/* At most 2^31 elements of 2^23 bytes or 2^28 of per-CPU values: no sum overflows. */
	off->state = 0;
	off->stripes = at;
	at += stripes * sizeof(struct stripe);
	off->buckets = at;
	at += (size_t)t->nbuckets * sizeof(struct bucket);
	off->elems = at;
	at += ALIGN_UP((size_t)t->nelems * t->elem_size, 64);
	off->owner = at;
	at += ALIGN_UP((size_t)t->nelems * sizeof(u16), 64);
	for (l = 0; l < t->levels; l++) {
		off->taken[l] = at;
		at += ALIGN_UP(words[l] * 8, 64);
	}
	off->ref = at;
	if (is_lru(a->type))
		at += ALIGN_UP((size_t)t->nelems, 64);
	off->values = at;
	t->cpu_stride = ALIGN_UP((size_t)t->nelems * t->stride, 64);
	if (percpu)
		at += t->cpu_stride * t->cpus;
	return at;
}

size_t hash_size(const struct map_attr *a)
{
	struct hash_layout off;
	struct htab t;

	return lay_out(a, &t, &off);
}

#define ELEM_HEAD 48 /* the kernel's struct htab_elem, for the same limits */

static int hash_check(const struct map_attr *a, size_t *bytes)
{
	if (map_check_access_flags(a, BPF_F_NO_PREALLOC | BPF_F_NO_COMMON_LRU | BPF_F_NUMA_NODE |
					      BPF_F_ZERO_SEED) < 0)
		return -EINVAL;
	if (!is_lru(a->type) && (a->flags & BPF_F_NO_COMMON_LRU))
		return map_refuse(-EINVAL, "BPF_F_NO_COMMON_LRU is for LRU types");
	if (is_lru(a->type) && (a->flags & BPF_F_NO_PREALLOC))
		return map_refuse(-ENOTSUPP, "an LRU map has all its elements from the start");
	if ((a->flags & BPF_F_NUMA_NODE) && !a->any_node &&
	    (map_is_percpu(a->type) || (a->flags & BPF_F_NO_COMMON_LRU)))
		return map_refuse(-EINVAL, "per-CPU memory has no NUMA node to choose");
	if (!a->max_entries || !a->key_size || !a->value_size)
		return map_refuse(-EINVAL, "key_size, value_size and max_entries must be above 0");
	if ((u64)a->key_size + a->value_size >= MAP_MAX_VALUE - ELEM_HEAD)
		return map_refuse(-E2BIG, "key and value together must be below 4 MiB");
	if (map_is_percpu(a->type) && ALIGN_UP(a->value_size, 8u) > MAP_MAX_PERCPU_VALUE)
		return map_refuse(-E2BIG, "value_size must be at most 32768 in a per-CPU map");
	if (a->max_entries > 1u << 31)
		return map_refuse(-E2BIG, "max_entries must be at most 2^31");
	*bytes = hash_size(a);
	return 0;
}

void hash_setup(struct htab *t, const struct map_attr *a, u8 *mem, const u64 seed[2])
{
	struct hash_layout off;
	u32 l;

	lay_out(a, t, &off);
	memcpy(t->seed, seed, sizeof(t->seed));
	t->state = (void *)(mem + off.state);
	t->stripes = (void *)(mem + off.stripes);
	t->buckets = (void *)(mem + off.buckets);
	t->elems = mem + off.elems;
	t->owner = (void *)(mem + off.owner);
	for (l = 0; l < t->levels; l++)
		t->taken[l] = (void *)(mem + off.taken[l]);
	if (is_lru(a->type))
		t->ref = (void *)(mem + off.ref);
	if (map_is_percpu(a->type))
		t->values = mem + off.values;
}

static int hash_init(struct map *m)
{
	struct htab *t = base_alloc(sizeof(*t));

	if (!t)
		return -ENOMEM;
	hash_setup(t, &m->attr, m->mem, map_head(m)->seed);
	if (!m->attached)
		hash_pool_init(t);
	m->stride = t->stride;
	m->cpu_stride = t->cpu_stride;
	m->priv = t;
	m->ops = hash_ops_for(&m->attr);
	return 0;
}

static void hash_fini(struct map *m)
{
	base_free(m->priv);
}
