/* SPDX-License-Identifier: MIT */
/*
 * The hash table's free elements, repair after a death, and eviction.
 *
 * `owner` is the truth: one compare-and-swap takes an element for a stripe, one store gives it
 * back, and both only under the stripe's lock with the element noted in it. The bitmap only hints
 * where to look, so an update lost with a dying process costs at most a look at a longer part of
 * it.
 */
#include "map/hash_int.h"

static u32 stripe_id(const struct htab *t, const struct stripe *s)
{
	return (u32)(s - t->stripes) + 1;
}

/* ---- the bitmap of hints -------------------------------------------------------------------- */

u32 hash_pool_levels(u32 nelems, size_t words[POOL_LEVELS])
{
	size_t n = nelems;
	u32 levels = 0;

	do {
		n = (n + 63) / 64;
		words[levels++] = n;
	} while (n > 1 && levels < POOL_LEVELS);
	return levels;
}

/* Word `i` of `level` is full: says so above, and takes it back if it is no longer true. */
static void hint_full(struct htab *t, u32 level, size_t i)
{
	for (; level + 1 < t->levels; level++, i /= 64) {
		_Atomic u64 *up = &t->taken[level + 1][i / 64];
		u64 bit = 1ull << i % 64, old = atomic_fetch_or(up, bit);

		if (atomic_load(&t->taken[level][i]) != ~0ull) {
			atomic_fetch_and(up, ~bit);
			return;
		}
		if ((old | bit) != ~0ull)
			return;
	}
}

static void hint_set(struct htab *t, u32 elem)
{
	u64 bit = 1ull << elem % 64, old = atomic_fetch_or(&t->taken[0][elem / 64], bit);

	if ((old | bit) == ~0ull)
		hint_full(t, 0, elem / 64);
}

static void hint_clear(struct htab *t, u32 elem)
{
	size_t i = elem;
	u32 l;

	for (l = 0; l < t->levels; l++, i /= 64)
		if (atomic_fetch_and(&t->taken[l][i / 64], ~(1ull << i % 64)) != ~0ull)
			return;
}

/* A process died and may not have said above what it did below. */
static void hint_sweep(struct htab *t)
{
	size_t words[POOL_LEVELS], i;
	u32 l;

	hash_pool_levels(t->nelems, words);
	for (l = 0; l + 1 < t->levels; l++)
		for (i = 0; i < words[l]; i++)
			if (atomic_load_explicit(&t->taken[l][i], memory_order_relaxed) != ~0ull)
				atomic_fetch_and(&t->taken[l + 1][i / 64], ~(1ull << i % 64));
}

/*
 * An element that may be free; threads on different CPUs look in different parts. -1 for none. A
 * word that is full though not said to be is put right, and the search starts again.
 */
static s64 hint_find(struct htab *t)
{
	u32 turn = map_this_cpu() * 11 % 64, l, tries;
	size_t words[POOL_LEVELS], i;

	hash_pool_levels(t->nelems, words);
	for (tries = 0; tries < 64; tries++) {
		for (l = t->levels, i = 0; l--;) {
			u32 r = l ? turn : 0; /* the lowest level in order, for the cache's sake */
			u64 free_bits;

			if (i >= words[l])
				return -1;
			free_bits = ~atomic_load_explicit(&t->taken[l][i], memory_order_relaxed);
			if (!free_bits)
				break;
			free_bits = free_bits >> r | free_bits << (-r & 63);
			i = i * 64 + ((u32)__builtin_ctzll(free_bits) + r) % 64;
			if (!l)
				return i < t->nelems ? (s64)i : -1;
		}
		if (l + 1 == t->levels)
			return -1;
		hint_full(t, l, i);
	}
	return -1;
}

/* The same without trusting the levels above, when they say that there is none. */
static s64 hint_search(const struct htab *t)
{
	size_t words[POOL_LEVELS], i;

	hash_pool_levels(t->nelems, words);
	for (i = 0; i < words[0]; i++) {
		u64 free_bits = ~atomic_load_explicit(&t->taken[0][i], memory_order_relaxed);
		size_t e;

		if (!free_bits)
			continue;
		e = i * 64 + (u32)__builtin_ctzll(free_bits);
		if (e < t->nelems)
			return (s64)e;
	}
	return -1;
}

/* Fresh memory: each stripe has a spare, and bits beyond the last element are taken. */
void hash_pool_init(struct htab *t)
{
	size_t words[POOL_LEVELS], bits = t->nelems;
	u32 s, l;

	hash_pool_levels(t->nelems, words);
	for (l = 0; l < t->levels; l++) {
		if (bits % 64)
			t->taken[l][words[l] - 1] = ~0ull << bits % 64;
		bits = words[l];
	}
	for (s = 0; s <= t->stripe_mask; s++) {
		u32 e = t->nelems - 1 - s;

		t->stripes[s].spare = e + 1;
		t->owner[e] = (u16)(s + 1);
		hint_set(t, e);
	}
}

/* ---- repair --------------------------------------------------------------------------------- */

static bool is_owned(const struct htab *t, const struct stripe *s, u32 elem)
{
	return atomic_load_explicit(&t->owner[elem], memory_order_acquire) == stripe_id(t, s);
}

static bool in_table(const struct htab *t, const struct stripe *s, u32 elem)
{
	struct hash_pos pos;
	u32 home;

	return hash_find_elem(t, elem, &pos, &home) && hash_stripe(t, home) == s;
}

/*
 * The holder of the stripe's lock died: the elements it had noted are in the table or they are not.
 * One of the homeless becomes the spare, the others go back to the pool.
 */
static void repair(struct htab *t, struct stripe *s)
{
	_Atomic u32 *const notes[] = { &s->spare, &s->given, &s->taken };
	u32 spare = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(notes); i++) {
		u32 e = atomic_load_explicit(notes[i], memory_order_relaxed);

		if (!e || e > t->nelems || e == spare)
			continue;
		if (!atomic_load_explicit(&t->owner[e - 1], memory_order_acquire))
			hint_clear(t, e - 1);
		if (!is_owned(t, s, e - 1) || in_table(t, s, e - 1))
			continue;
		if (!spare)
			spare = e;
		else
			hash_pool_give(t, e - 1);
	}
	atomic_store_explicit(&s->spare, spare, memory_order_relaxed);
	atomic_store_explicit(&s->given, 0, memory_order_relaxed);
	atomic_store_explicit(&s->taken, 0, memory_order_relaxed);
	hint_sweep(t);
}

int hash_lock_slow(struct htab *t, struct stripe *s)
{
	int got = map_lock(&s->lock);

	if (got == LOCK_INHERITED)
		repair(t, s);
	return got < 0 ? got : 0;
}

static bool try_lock(struct htab *t, struct stripe *s)
{
	int got = map_trylock(&s->lock);

	if (got == LOCK_INHERITED)
		repair(t, s);
	return got >= 0;
}

/* Elements that dead processes had in hand come back. */
static void bury(struct htab *t, const struct stripe *mine)
{
	u32 i;

	for (i = 0; i <= t->stripe_mask; i++) {
		struct stripe *s = &t->stripes[i];

		if (s != mine && atomic_load_explicit(&s->lock, memory_order_relaxed) &&
		    try_lock(t, s))
			map_unlock(&s->lock);
	}
}

/* ---- eviction ------------------------------------------------------------------------------- */

enum { EVICT_TRIES = 1024, EVICT_POLITE = 512, PASSED_FREE = 4 };

/*
 * LRU: the hand goes over the elements, counts down those that were used, and takes the first that
 * has nothing left. The first PASSED_FREE of those that were used are not counted down, so that most
 * of the map can be what is used again and again, whatever passes through the rest (the kernel's active
 * and inactive lists). After EVICT_POLITE steps it takes any.
 */
static bool evict(struct htab *t, struct stripe *s, u32 *elem)
{
	u32 n, passed = 0;

	for (n = 0; n < EVICT_TRIES; n++) {
		u32 e = atomic_fetch_add_explicit(&t->state->hand, 1, memory_order_relaxed) %
			t->nelems;
		u16 own = atomic_load_explicit(&t->owner[e], memory_order_relaxed), was = own;
		struct stripe *v;
		struct hash_pos pos;
		u32 home;
		u8 used;

		if (!own || own > t->stripe_mask + 1)
			continue;
		used = atomic_load_explicit(&t->ref[e], memory_order_relaxed);
		if (n < EVICT_POLITE && used) {
			if (passed++ >= PASSED_FREE)
				atomic_store_explicit(&t->ref[e], (u8)(used < REF_MAX ? used - 1 : REF_MAX - 1),
						      memory_order_relaxed);
			continue;
		}
		v = &t->stripes[own - 1];
		/*
		 * Only tried: two that evict from each other's stripes must not wait for each
		 * other.
		 */
		if (v != s && !try_lock(t, v))
			continue;
		if (is_owned(t, v, e) && hash_find_elem(t, e, &pos, &home) &&
		    hash_stripe(t, home) == v) {
			atomic_store_explicit(&s->taken, e + 1, memory_order_relaxed);
			atomic_store_explicit(&v->given, e + 1, memory_order_release);
			hash_unlink(t, home, &pos);
			atomic_compare_exchange_strong(&t->owner[e], &was, (u16)stripe_id(t, s));
			atomic_store_explicit(&v->given, 0, memory_order_release);
			if (v != s)
				map_unlock(&v->lock);
			*elem = e;
			return true;
		}
		if (v != s)
			map_unlock(&v->lock);
	}
	return false;
}

/* ---- taking and giving ---------------------------------------------------------------------- */

/* An element that the hint names; a wrong hint is put right by the way. */
static bool claim(struct htab *t, struct stripe *s, u32 elem)
{
	u16 none = 0;

	atomic_store_explicit(&s->taken, elem + 1, memory_order_release);
	hint_set(t, elem);
	return atomic_compare_exchange_strong(&t->owner[elem], &none, (u16)stripe_id(t, s));
}

int hash_pool_take(struct htab *t, struct stripe *s, u32 *elem)
{
	u32 tries, buried = 0;
	s64 e;

	for (tries = 0; tries < 4096; tries++) {
		e = hint_find(t);
		if (e < 0 && t->ref && !buried && evict(t, s, elem))
			return 0;
		if (e < 0)
			e = hint_search(t);
		if (e >= 0) {
			if (claim(t, s, (u32)e)) {
				*elem = (u32)e;
				return 0;
			}
		} else if (buried) {
			break;
		} else {
			bury(t, s);
			buried = 1;
		}
	}
	atomic_store_explicit(&s->taken, 0, memory_order_relaxed);
	return -E2BIG;
}

void hash_pool_give(struct htab *t, u32 elem)
{
	atomic_store_explicit(&t->owner[elem], 0, memory_order_release);
	hint_clear(t, elem);
}
