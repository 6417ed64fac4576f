/* SPDX-License-Identifier: MIT */
/*
 * The hash types' look-up for programs that run where vector registers are live. Compiled without those;
 * what is done by four of them is done by hand, and they are kept.
 */
#include "map/map_int.h"

struct bucket;

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
/* As match() of hash_find.h. The upper half of each slot, its tag shifted down, against the tag in all lanes. */
static inline u32 match_kept(const struct bucket *b, u32 tag)
{
	u8 kept[64] __attribute__((aligned(16)));
	u32 lo, hi;

	__asm__("movaps %%xmm0, (%[kept])\n\t"
		"movaps %%xmm1, 16(%[kept])\n\t"
		"movaps %%xmm2, 32(%[kept])\n\t"
		"movd %[tag], %%xmm2\n\t"
		"pshufd $0, %%xmm2, %%xmm2\n\t"
		"movdqa (%[b]), %%xmm0\n\t"
		"movdqa 32(%[b]), %%xmm1\n\t"
		"shufps $0xdd, 16(%[b]), %%xmm0\n\t"
		"shufps $0xdd, 48(%[b]), %%xmm1\n\t"
		"psrld $20, %%xmm0\n\t"
		"psrld $20, %%xmm1\n\t"
		"pcmpeqd %%xmm2, %%xmm0\n\t"
		"pcmpeqd %%xmm2, %%xmm1\n\t"
		"movmskps %%xmm0, %[lo]\n\t"
		"movmskps %%xmm1, %[hi]\n\t"
		"movaps (%[kept]), %%xmm0\n\t"
		"movaps 16(%[kept]), %%xmm1\n\t"
		"movaps 32(%[kept]), %%xmm2"
		: [lo] "=&r"(lo), [hi] "=&r"(hi), "=m"(kept)
		: [b] "r"(b), [tag] "r"(tag), [kept] "r"(kept)
		: "memory");
	return (lo | hi << 4) & 0x7f;
}
#define HASH_MATCH match_kept
#endif

#include "map/hash_find.h"

_Static_assert(SLOTS == 7 && TAG_SHIFT - 32 == 20 && sizeof(struct bucket) == 64, "match_kept has these");

#define LOOKUP(type, size, key_bytes, percpu, lru)                                                 \
	void *hash_plain_##type##_##size(struct map *m, const void *key);                          \
	void *hash_plain_##type##_##size(struct map *m, const void *key)                           \
	{                                                                                          \
		return lookup(m, key, key_bytes, percpu, lru);                                     \
	}
#define HASH_TYPE(type, percpu, lru)                                                               \
	LOOKUP(type, 4, 4, percpu, lru)                                                            \
	LOOKUP(type, 8, 8, percpu, lru)                                                            \
	LOOKUP(type, 16, 16, percpu, lru)                                                          \
	LOOKUP(type, any, ((const struct htab *)m->priv)->key_size, percpu, lru)

HASH_TYPE(hash, false, false)
HASH_TYPE(percpu_hash, true, false)
HASH_TYPE(lru_hash, false, true)
HASH_TYPE(lru_percpu_hash, true, true)
