/* SPDX-License-Identifier: MIT */
/*
 * Which lengths above 32 bits there may be behind the first 32 bits of a key: a word for each hash of those, with a bit for
 * each length, modulo 64. Networks of IPv6 have a few lengths in each, the whole map has dozens. A bit too many, by
 * collision or after a death, costs a look-up; what was deleted stays until there is so much of it that all is written
 * anew.
 */
#include "map/lpm_int.h"

#define MIN_WORDS 64u
#define MAX_WORDS (1u << 20)

static u32 words_for(u32 max_entries, u32 max_bits)
{
	u32 n = MIN_WORDS;

	while (n < MAX_WORDS && n < max_entries / 4)
		n *= 2;
	return max_bits > INDEX_BITS ? n : 0;
}

size_t lpm_filter_size(u32 max_entries, u32 max_bits)
{
	return (size_t)words_for(max_entries, max_bits) * 8;
}

void lpm_filter_setup(struct lpm *l, u32 max_entries, u8 *mem)
{
	l->nwords = words_for(max_entries, l->max_bits);
	l->filter = (void *)mem;
}

static u32 word_of(const struct lpm *l, const u8 *key)
{
	u32 first;

	memcpy(&first, key + 4, 4);
	return (u32)hash_mix(first ^ l->table.seed[0], HASH_P0 ^ l->table.seed[1]) & (l->nwords - 1);
}

u64 lpm_filter_lengths(const struct lpm *l, const u8 *key)
{
	return atomic_load_explicit(&l->filter[word_of(l, key)], memory_order_acquire);
}

void lpm_filter_add(struct lpm *l, const u8 *key, u32 bits)
{
	_Atomic u64 *w = &l->filter[word_of(l, key)];

	if (!(atomic_load_explicit(w, memory_order_relaxed) >> bits % 64 & 1))
		atomic_fetch_or(w, 1ull << bits % 64);
}

/* Each word at once: nobody misses what is there meanwhile. Without memory it stays as it is. */
static void write_anew(struct lpm *l)
{
	u64 *fresh = base_alloc((size_t)l->nwords * 8), pos = 0;
	u8 key[MAX_KEY];
	u32 bits, i;

	if (!fresh)
		return;
	while (l->hash->next_elem(l->map, &pos, key)) {
		memcpy(&bits, key, 4);
		if (bits > INDEX_BITS)
			fresh[word_of(l, key)] |= 1ull << bits % 64;
	}
	for (i = 0; i < l->nwords; i++)
		if (atomic_load_explicit(&l->filter[i], memory_order_relaxed) != fresh[i])
			atomic_store_explicit(&l->filter[i], fresh[i], memory_order_release);
	base_free(fresh);
}

void lpm_filter_removed(struct lpm *l)
{
	if (atomic_fetch_add(&l->len->removed, 1) < l->table.nelems)
		return;
	atomic_store(&l->len->removed, 0);
	write_anew(l);
}
