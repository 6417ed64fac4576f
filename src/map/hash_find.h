/* SPDX-License-Identifier: MIT */
/*
 * Looking a key up in a hash table: in its fastest form (hash.c), and in one that changes no vector
 * register (hash_plain.c, which brings its own HASH_MATCH).
 */
#ifndef FERRY_MAP_HASH_FIND_H
#define FERRY_MAP_HASH_FIND_H

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "map/hash_int.h"

#define INLINE static inline __attribute__((always_inline))

#if defined(__SANITIZE_THREAD__)
#define PLAIN_READS 0
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PLAIN_READS 0
#endif
#endif
#ifndef PLAIN_READS
#define PLAIN_READS 1
#endif

/* Bit i: slot i may hold `tag`. A hint: slots are read again, one by one. */
INLINE u32 match(const struct bucket *b, u32 tag)
{
#if defined(HASH_MATCH)
	return HASH_MATCH(b, tag);
#elif defined(__SSE2__) && PLAIN_READS
	const __m128i *p = (const __m128i *)(const void *)b;
	const int shift = TAG_SHIFT - 32;
	__m128i want = _mm_set1_epi32((int)tag);
	__m128 a0 = _mm_castsi128_ps(_mm_load_si128(p));
	__m128 a1 = _mm_castsi128_ps(_mm_load_si128(p + 1));
	__m128 b0 = _mm_castsi128_ps(_mm_load_si128(p + 2));
	__m128 b1 = _mm_castsi128_ps(_mm_load_si128(p + 3));
	__m128i lo = _mm_castps_si128(_mm_shuffle_ps(a0, a1, _MM_SHUFFLE(3, 1, 3, 1)));
	__m128i hi = _mm_castps_si128(_mm_shuffle_ps(b0, b1, _MM_SHUFFLE(3, 1, 3, 1)));
	u32 m = (u32)_mm_movemask_ps(
		_mm_castsi128_ps(_mm_cmpeq_epi32(_mm_srli_epi32(lo, shift), want)));

	m |= (u32)_mm_movemask_ps(
		     _mm_castsi128_ps(_mm_cmpeq_epi32(_mm_srli_epi32(hi, shift), want)))
	     << 4;
	return m & ((1u << SLOTS) - 1);
#else
	u32 m = 0, i;

	for (i = 0; i < SLOTS; i++)
		m |= (u32)(atomic_load_explicit(&b->slot[i], memory_order_relaxed) >> TAG_SHIFT ==
			   tag)
		     << i;
	return m;
#endif
}

/* Bit i: slot i may hold an element. A hint, too. */
INLINE u32 used_slots(const struct bucket *b)
{
#if defined(__SSE2__) && PLAIN_READS
	const __m128i *p = (const __m128i *)(const void *)b;
	__m128 a0 = _mm_castsi128_ps(_mm_load_si128(p));
	__m128 a1 = _mm_castsi128_ps(_mm_load_si128(p + 1));
	__m128 b0 = _mm_castsi128_ps(_mm_load_si128(p + 2));
	__m128 b1 = _mm_castsi128_ps(_mm_load_si128(p + 3));
	__m128i lo = _mm_castps_si128(_mm_shuffle_ps(a0, a1, _MM_SHUFFLE(2, 0, 2, 0)));
	__m128i hi = _mm_castps_si128(_mm_shuffle_ps(b0, b1, _MM_SHUFFLE(2, 0, 2, 0)));
	__m128i none = _mm_setzero_si128();
	u32 m = (u32)_mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(lo, none)));

	m |= (u32)_mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(hi, none))) << 4;
	return ~m & ((1u << SLOTS) - 1);
#else
	u32 m = 0, i;

	for (i = 0; i < SLOTS; i++)
		m |= (u32)((u32)atomic_load_explicit(&b->slot[i], memory_order_relaxed) != 0) << i;
	return m;
#endif
}

/* Keys in the table are padded with zeros to whole words. */
INLINE bool key_equal(const u8 *elem, const void *key, u32 size)
{
	const u64 *in = (const u64 *)(const void *)elem;
	const u8 *p = key;
	u64 w;

	for (; size >= 8; size -= 8, p += 8, in++) {
		memcpy(&w, p, 8);
		if (__atomic_load_n(in, __ATOMIC_ACQUIRE) != w)
			return false;
	}
	if (!size)
		return true;
	return __atomic_load_n(in, __ATOMIC_ACQUIRE) == map_tail(p, size);
}

#define NONE UINT32_MAX

/* The element of `key`, or NONE. `pos` may be NULL. */
INLINE u32 find(const struct htab *t, const void *key, u32 size, u64 h, struct hash_pos *pos)
{
	u32 tag = (u32)(h >> TAG_SHIFT), b = hash_home(t, h), n, hits, i, again = 0;

	for (n = 0; n < t->max_probe; n++) {
		struct bucket *bk = &t->buckets[b];

		for (hits = match(bk, tag); hits; hits &= hits - 1) {
			u64 w, w2;
			bool same;

			i = (u32)__builtin_ctz(hits);
			w = atomic_load_explicit(&bk->slot[i], memory_order_acquire);
		look_again:
			if (w >> TAG_SHIFT != tag || (u32)w - 1 >= t->nelems)
				continue;
			same = key_equal(hash_elem(t, (u32)w - 1), key, size);
			/*
			 * If the slot has changed, the element may have become another key's while
			 * it was compared. A bound, for somebody might change it for ever.
			 */
			w2 = atomic_load_explicit(&bk->slot[i], memory_order_acquire);
			if (w2 != w && again++ < 10000) {
				w = w2;
				goto look_again;
			}
			if (!same)
				continue;
			if (pos)
				*pos = (struct hash_pos){ w, b, i, (u32)w - 1 };
			return (u32)w - 1;
		}
		if (!atomic_load_explicit(&bk->passed, memory_order_acquire))
			break;
		b = hash_next_bucket(t, b);
	}
	return NONE;
}

INLINE void *lookup(struct map *m, const void *key, u32 size, bool percpu, bool lru)
{
	const struct htab *t = m->priv;
	u32 e = find(t, key, size, hash_of(t, key, size), NULL);

	if (e == NONE)
		return NULL;
	if (lru)
		hash_used(t, e);
	if (percpu)
		return t->values + map_this_cpu() * t->cpu_stride + (size_t)e * t->stride;
	return hash_elem(t, e) + t->val_off;
}

#endif
