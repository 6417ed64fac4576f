/* SPDX-License-Identifier: MIT */
/*
 * The hash table behind the four hash types.
 *
 * Elements never move: a value's address is good until its key is deleted. A bucket is a cache line
 * of seven slots, each with some bits of the key's hash and the number of an element, so that a
 * look-up reads the bucket and the one element. A key that finds its bucket full goes on to the
 * next one; `passed` counts those that went on, and where it is 0 a search ends. There are no links
 * to follow: nothing that another process writes can lead a search out of the table or round in
 * circles.
 *
 * Readers take no lock. A slot changes as one word, with a count of its changes, and a reader looks
 * at it again after it has compared the key: an element that was given to another key meanwhile, or
 * even came back, is not mistaken for its old.
 *
 * Writers of a key hold the lock of its stripe (a group of home buckets). An element belongs to a
 * stripe from the moment it leaves the pool, by one atomic word, and the stripe notes which
 * elements it is about to take and to give back: whoever finds the lock's holder dead can tell for
 * each of them whether it is in the table (then it stays) or not (then it goes back). See
 * hash_pool.c.
 */
#ifndef FERRY_MAP_HASH_INT_H
#define FERRY_MAP_HASH_INT_H

#include "map/map_int.h"

#define SLOTS 7

struct bucket {
	_Atomic u64 slot[SLOTS];
	_Atomic u32 passed;
	u32 unused;
};

/* A slot: 12 bits of the hash, 20 bits that count its changes, element + 1 or 0 for a free slot. */
#define TAG_SHIFT  52
#define SLOT_TAG   (~0ull << TAG_SHIFT)
#define SLOT_COUNT (~SLOT_TAG & ~0ull << 32)
#define SLOT_ELEM  0xffffffffull

/* What a slot that was `old` becomes. */
static inline u64 slot_word(u64 old, u64 hash, u32 elem)
{
	return (hash & SLOT_TAG) | ((old + (1ull << 32)) & SLOT_COUNT) | (elem + 1);
}

static inline u64 slot_freed(u64 old)
{
	return (old + (1ull << 32)) & SLOT_COUNT;
}

struct stripe { /* element numbers + 1; 0 is none */
	map_lock_word lock;
	_Atomic u32 spare; /* its own element: a replaced value's successor */
	_Atomic u32 taken; /* being taken from the pool, not yet in the table */
	_Atomic u32 given; /* leaving the table */
	u32 unused[11];
};

#define POOL_LEVELS 6 /* 64^6 is more than any number of elements */

/* This process's view: constants of its own and addresses; only what they point to is shared. */
struct htab {
	struct bucket *buckets;
	u8 *elems;
	u64 seed[2];
	u32 nbuckets, max_probe;
	u32 nelems; /* max_entries and a spare for each stripe */
	u32 elem_size, val_off;
	u32 key_size, value_size;
	struct stripe *stripes;
	u32 stripe_mask;    /* their number, a power of two, - 1 */
	_Atomic u16 *owner; /* of each element: stripe + 1, or 0 in the pool */
	/*
	 * A hint where `owner` may be 0: a clear bit in taken[0]. Each level above says which words
	 * below are all ones.
	 */
	_Atomic u64 *taken[POOL_LEVELS];
	u32 levels;
	_Atomic u8 *ref; /* LRU: see hash_used(); else NULL */
	struct hash_state *state;
	u8 *values; /* per-CPU types: value 0 of CPU 0; else NULL */
	u32 stride, cpus;
	size_t cpu_stride;
};

struct hash_state {
	_Atomic u32 hand; /* LRU: the next element to be considered */
};

/* Where a key is: slot `slot` of bucket `bucket`, which said `word`; element `elem`. */
struct hash_pos {
	u64 word;
	u32 bucket, slot, elem;
};

static inline u64 hash_mix(u64 a, u64 b)
{
	unsigned __int128 r = (unsigned __int128)a * b;

	return (u64)r ^ (u64)(r >> 64);
}

#define HASH_P0 0x9e3779b97f4a7c15ull
#define HASH_P1 0xe7037ed1a0b428dbull
#define HASH_P2 0x8ebc6af09c88c6e3ull

static inline u64 load64(const void *p)
{
	u64 w;

	memcpy(&w, p, 8);
	return w;
}

/* Inlined with a constant size for the common ones. Multiply and fold, as in wyhash. */
static inline __attribute__((always_inline)) u64 hash_of(const struct htab *t, const void *key,
							 u32 size)
{
	const u8 *p = key;
	u64 a = 0, b = 0, h;

	if (size == 4) {
		u32 w;

		memcpy(&w, p, 4);
		return hash_mix(w ^ t->seed[0], HASH_P0 ^ t->seed[1]);
	}
	if (size == 8)
		return hash_mix(hash_mix(load64(p) ^ t->seed[0], HASH_P0 ^ t->seed[1]), HASH_P1);
	h = t->seed[0] ^ size;
	for (; size > 16; p += 16, size -= 16)
		h = hash_mix(load64(p) ^ HASH_P1 ^ t->seed[1], load64(p + 8) ^ h ^ HASH_P2);
	if (size >= 8) {
		a = load64(p);
		b = size == 16 ? load64(p + 8) : map_tail(p + 8, size - 8);
	} else {
		a = map_tail(p, size);
	}
	h = hash_mix(a ^ HASH_P1 ^ t->seed[1], b ^ h ^ HASH_P2);
	return hash_mix(h ^ HASH_P0, HASH_P1);
}

static inline u32 hash_home(const struct htab *t, u64 h)
{
	return (u32)((u64)(u32)h * t->nbuckets >> 32);
}

static inline u32 hash_next_bucket(const struct htab *t, u32 b)
{
	return b + 1 == t->nbuckets ? 0 : b + 1;
}

static inline u8 *hash_elem(const struct htab *t, u32 e)
{
	return t->elems + (size_t)e * t->elem_size;
}

static inline struct stripe *hash_stripe(const struct htab *t, u32 home)
{
	return &t->stripes[home & t->stripe_mask];
}

/*
 * LRU: how often an element was used, up to 3, less the times that the hand has passed it. More than
 * one bit, so that what is used often outlives what is used now and then.
 */
#define REF_MAX 3
static inline void hash_used(const struct htab *t, u32 e)
{
	u8 n = atomic_load_explicit(&t->ref[e], memory_order_relaxed);

	if (n < REF_MAX)
		atomic_store_explicit(&t->ref[e], (u8)(n + 1), memory_order_relaxed);
}

/* hash_pool.c: all with the stripe's lock held. */
int hash_lock_slow(struct htab *t, struct stripe *s);
/* Repairs after a death; 0 or -EBUSY. */
static inline int hash_lock(struct htab *t, struct stripe *s)
{
	u64 self = map_self_known(), none = 0;

	if (__builtin_expect(self && atomic_compare_exchange_strong_explicit(&s->lock, &none, self, memory_order_acquire,
									     memory_order_relaxed), 1))
		return 0;
	return hash_lock_slow(t, s);
}
static inline void hash_unlock(struct stripe *s)
{
	atomic_store_explicit(&s->lock, 0, memory_order_release);
}
int hash_pool_take(struct htab *t, struct stripe *s, u32 *elem); /* noted in s->taken; -E2BIG */
/* The caller has noted it in `given` and clears that after. */
void hash_pool_give(struct htab *t, u32 elem);
void hash_pool_init(struct htab *t);
u32 hash_pool_levels(u32 nelems, size_t words[POOL_LEVELS]); /* of the bitmap: how many, how long */

/* hash.c */
bool hash_find_elem(const struct htab *t, u32 elem, struct hash_pos *pos, u32 *home);
void hash_unlink(struct htab *t, u32 home, const struct hash_pos *pos);
/*
 * For types that are a hash table within: its bytes, its set-up, the operations on m->priv as htab.
 */
size_t hash_size(const struct map_attr *a);
void hash_setup(struct htab *t, const struct map_attr *a, u8 *mem, const u64 seed[2]);
const struct map_ops *hash_ops_for(const struct map_attr *a);

#endif
