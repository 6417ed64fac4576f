/* SPDX-License-Identifier: MIT */
/*
 * Bloom filters: update adds a value, lookup asks for one (the value is what is asked, and 0 says
 * "perhaps", -ENOENT "never added"). Bits are only ever set, each by one atomic word: no lock.
 */
#include "map/map_int.h"

struct bloom { /* of this process */
	_Atomic u64 *bits;
	u64 mask;
	u64 seed;
	u32 hashes;
};

static u32 hashes_of(const struct map_attr *a)
{
	return a->extra & 0xf ? (u32)(a->extra & 0xf) : 5; /* the kernel's choice */
}

/*
 * Optimal is n * k / ln 2, rounded to a power of two: the kernel's formula with 7/5 for 1 / ln 2.
 */
static u64 bits_of(const struct map_attr *a)
{
	u64 bits = (u64)a->max_entries * hashes_of(a), n = 64;

	if (bits <= UINT32_MAX)
		bits = bits / 5 * 7;
	if (bits > 1u << 31)
		return 1ull << 32;
	while (n < bits)
		n *= 2;
	return n;
}

static int bloom_check(const struct map_attr *a, size_t *bytes)
{
	if (a->value_size > MAP_MAX_VALUE)
		return map_refuse(-E2BIG, "value_size must be at most 4 MiB");
	if (a->key_size || !a->value_size || !a->max_entries)
		return map_refuse(-EINVAL,
				  "key_size must be 0, value_size and max_entries above 0");
	if (map_check_access_flags(a, BPF_F_NUMA_NODE | BPF_F_ZERO_SEED) < 0)
		return -EINVAL;
	if (a->extra & ~0xfull)
		return map_refuse(-EINVAL, "map_extra is the number of hash functions, at most 15");
	*bytes = bits_of(a) / 8;
	return 0;
}

static int bloom_init(struct map *m)
{
	struct bloom *b = base_alloc(sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->bits = (void *)m->mem;
	b->mask = bits_of(&m->attr) - 1;
	b->hashes = hashes_of(&m->attr);
	b->seed = map_head(m)->seed[0];
	m->priv = b;
	return 0;
}

static void bloom_fini(struct map *m)
{
	base_free(m->priv);
}

static int bloom_add(struct map *m, const void *key, const void *value, u64 flags)
{
	const struct bloom *b = m->priv;
	u32 i;

	(void)key;
	if (flags != BPF_ANY)
		return -EINVAL;
	for (i = 0; i < b->hashes; i++) {
		u64 bit = hash_bytes(value, m->attr.value_size, b->seed + i) & b->mask;

		atomic_fetch_or_explicit(&b->bits[bit / 64], 1ull << bit % 64,
					 memory_order_relaxed);
	}
	return 0;
}

static int bloom_ask(struct map *m, const void *key, void *value, u64 flags)
{
	const struct bloom *b = m->priv;
	u32 i;

	(void)key, (void)flags;
	for (i = 0; i < b->hashes; i++) {
		u64 bit = hash_bytes(value, m->attr.value_size, b->seed + i) & b->mask;

		if (!(atomic_load_explicit(&b->bits[bit / 64], memory_order_relaxed) >> bit % 64 &
		      1))
			return -ENOENT;
	}
	return 0;
}

static int bloom_remove(struct map *m, const void *key)
{
	(void)m, (void)key;
	return -EOPNOTSUPP;
}

static int bloom_next_key(struct map *m, const void *key, void *next)
{
	(void)m, (void)key, (void)next;
	return -EOPNOTSUPP;
}

const struct map_ops map_bloom_ops = {
	.name = "bloom_filter",
	.check = bloom_check,
	.init = bloom_init,
	.fini = bloom_fini,
	.lookup = map_no_lookup,
	.update = map_no_update,
	.remove = bloom_remove,
	.next_key = bloom_next_key,
	.read = bloom_ask,
	.write = bloom_add,
};
