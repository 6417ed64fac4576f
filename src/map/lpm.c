/* SPDX-License-Identifier: MIT */
/*
 * Longest prefix match: a hash table of prefixes (length and the bits that count), which lengths there
 * are, and an index for those of up to 32 bits. A look-up asks the table for each longer length that
 * there is, the longest first, and then the index; none of these waits for a writer. The value in the
 * table is the key as it was given (bits behind the prefix included, as bpf(2) gives them back) and then
 * the map's value.
 */
#include "map/lpm_int.h"

#define MAX_PREFIXES (1u << 26) /* no table has more, though people ask for "all there can be" */

/* The hash table within. */
static struct map_attr inner(const struct map_attr *a)
{
	struct map_attr in = *a;

	in.type = BPF_MAP_TYPE_HASH;
	if (in.max_entries > MAX_PREFIXES)
		in.max_entries = MAX_PREFIXES;
	in.value_size = ALIGN_UP(a->key_size, 8u) + a->value_size;
	return in;
}

static int lpm_check(const struct map_attr *a, size_t *bytes)
{
	struct map_attr in;

	if (!a->max_entries)
		return map_refuse(-EINVAL, "max_entries must be above 0");
	if (!(a->flags & BPF_F_NO_PREALLOC))
		return map_refuse(-EINVAL, "map_flags must have BPF_F_NO_PREALLOC");
	if (map_check_access_flags(a, BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE) < 0)
		return -EINVAL;
	if (a->key_size < 5 || a->key_size > MAX_KEY)
		return map_refuse(-EINVAL,
				  "key_size must be 4 for the length and 1 to 256 for data");
	if (!a->value_size || a->value_size > MAP_MAX_VALUE - MAX_DATA - 40)
		return map_refuse(-EINVAL, "value_size must be above 0 and about 4 MiB at most");
	in = inner(a);
	*bytes = ALIGN_UP(hash_size(&in), 64) + ALIGN_UP(sizeof(struct lengths), 64) + lpm_index_size(&in);
	return 0;
}

static int lpm_init(struct map *m)
{
	struct map_attr in = inner(&m->attr);
	struct lpm *l = base_alloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	hash_setup(&l->table, &in, m->mem, map_head(m)->seed);
	if (!m->attached)
		hash_pool_init(&l->table);
	l->hash = hash_ops_for(&in);
	l->len = (void *)(m->mem + ALIGN_UP(hash_size(&in), 64));
	l->max_bits = (m->attr.key_size - 4) * 8;
	l->key_room = ALIGN_UP(m->attr.key_size, 8u);
	lpm_index_setup(l, in.max_entries, (u8 *)l->len + ALIGN_UP(sizeof(struct lengths), 64));
	l->map = m;
	m->priv = l;
	return 0;
}

static void lpm_fini(struct map *m)
{
	base_free(m->priv);
}

static u32 bits_of(const void *key)
{
	u32 bits;

	memcpy(&bits, key, 4);
	return bits;
}

void lpm_cut(u8 *out, const u8 *key, u32 size, u32 bits)
{
	u32 whole = 4 + bits / 8;

	memcpy(out, &bits, 4);
	memcpy(out + 4, key + 4, whole - 4);
	memset(out + whole, 0, size - whole);
	if (bits % 8)
		out[whole] = key[whole] & (u8)(0xff00u >> bits % 8);
}

u32 lpm_elem(const struct lpm *l, const u8 *cut)
{
	const u8 *v = l->hash->lookup(l->map, cut);

	return v ? (u32)((size_t)(v - l->table.val_off - l->table.elems) / l->table.elem_size) : LPM_NONE;
}

/* The longest prefix of at least `least` bits, by asking the table for each length there is. */
static u8 *probe(struct map *m, const void *key, u32 bits, u32 least)
{
	const struct lpm *l = m->priv;
	u32 i, length;
	u8 want[MAX_KEY];
	u64 there;
	u8 *v;

	for (i = bits / 64;; i--) {
		there = atomic_load_explicit(&l->len->there[i], memory_order_acquire);
		if (i == bits / 64)
			there &= ~0ull >> (63 - bits % 64);
		for (; there; there &= ~(1ull << length % 64)) {
			length = i * 64 + 63 - (u32)__builtin_clzll(there);
			if (length < least)
				return NULL;
			lpm_cut(want, key, m->attr.key_size, length);
			v = l->hash->lookup(m, want);
			if (v)
				return v + l->key_room;
		}
		if (!i)
			return NULL;
	}
}

static void *lpm_lookup(struct map *m, const void *key)
{
	const struct lpm *l = m->priv;
	u32 bits = bits_of(key), elem, tries;
	u8 *v = NULL;

	if (bits > l->max_bits)
		return NULL;
	/* The index knows keys of full length only. */
	if (bits < l->max_bits && bits < INDEX_BITS)
		return probe(m, key, bits, 0);
	if (bits > INDEX_BITS)
		v = probe(m, key, bits, INDEX_BITS + 1);
	if (v)
		return v;
	for (tries = 0; tries < 4; tries++) {
		if (lpm_index_find(l, (const u8 *)key + 4, &elem))
			return elem == LPM_NONE ? NULL
						: hash_elem(&l->table, elem) + l->table.val_off + l->key_room;
	}
	return probe(m, key, bits < INDEX_BITS ? bits : INDEX_BITS, 0);
}

/* Under the writers' lock. A count too high, after a death, only costs look-ups. */
static void count_up(struct lengths *len, u32 bits)
{
	atomic_fetch_add(&len->count[bits], 1);
	atomic_fetch_or(&len->there[bits / 64], 1ull << bits % 64);
}

static void count_down(struct lengths *len, u32 bits)
{
	if (atomic_fetch_sub(&len->count[bits], 1) == 1)
		atomic_fetch_and(&len->there[bits / 64], ~(1ull << bits % 64));
}

/* After a death the index may be half of what it was. */
static int lock(struct lpm *l)
{
	int got = map_lock(&l->len->lock);

	if (got == LOCK_INHERITED) {
		lpm_index_begin(l);
		lpm_index_rebuild(l);
		lpm_index_end(l);
	}
	return got < 0 ? got : 0;
}

static int lpm_update(struct map *m, const void *key, const void *value, u64 flags)
{
	struct lpm *l = m->priv;
	u32 bits = bits_of(key);
	u8 want[MAX_KEY], small[1024], *both = small;
	size_t size = (size_t)l->key_room + m->attr.value_size;
	int err;

	if (flags > BPF_EXIST || bits > l->max_bits)
		return -EINVAL;
	lpm_cut(want, key, m->attr.key_size, bits);
	if (size > sizeof(small))
		both = base_alloc(size);
	if (!both)
		return -ENOMEM;
	memset(both, 0, l->key_room);
	memcpy(both, key, m->attr.key_size);
	memcpy(both + l->key_room, value, m->attr.value_size);
	err = lock(l);
	if (err < 0)
		goto out;
	/* Counted before it is there: a reader that can find it looks for its length. */
	count_up(l->len, bits);
	err = -EEXIST;
	if (flags != BPF_EXIST)
		err = l->hash->update(m, want, both, BPF_NOEXIST);
	if (err < 0)
		count_down(l->len, bits);
	if (err == -EEXIST && flags != BPF_NOEXIST)
		err = l->hash->update(m, want, both, BPF_EXIST);
	if (!err && bits <= INDEX_BITS) {
		lpm_index_begin(l);
		lpm_index_set(l, want, bits, lpm_elem(l, want));
		lpm_index_end(l);
	}
	map_unlock(&l->len->lock);
	if (err == -E2BIG)
		err = -ENOSPC; /* the kernel's word for this type */
out:
	if (both != small)
		base_free(both);
	return err;
}

static int lpm_remove(struct map *m, const void *key)
{
	struct lpm *l = m->priv;
	u32 bits = bits_of(key);
	u8 want[MAX_KEY];
	u32 elem;
	int err;

	if (bits > l->max_bits)
		return -EINVAL;
	lpm_cut(want, key, m->attr.key_size, bits);
	err = lock(l);
	if (err < 0)
		return err;
	elem = lpm_elem(l, want);
	if (elem != LPM_NONE && bits <= INDEX_BITS) {
		lpm_index_begin(l);
		lpm_index_clear(l, want, bits, elem);
		lpm_index_end(l);
	}
	err = l->hash->remove(m, want);
	if (!err)
		count_down(l->len, bits);
	map_unlock(&l->len->lock);
	return err;
}

static int lpm_next_key(struct map *m, const void *key, void *next)
{
	struct lpm *l = m->priv;
	u8 want[MAX_KEY], found[MAX_KEY];
	u32 bits = key ? bits_of(key) : 0;
	const u8 *v;
	int err;

	if (key && bits <= l->max_bits)
		lpm_cut(want, key, m->attr.key_size, bits);
	err = l->hash->next_key(m, key && bits <= l->max_bits ? want : NULL, found);
	if (err < 0)
		return err;
	v = l->hash->lookup(m, found);
	if (v)
		map_load(next, v, m->attr.key_size);
	else
		memcpy(next, found, m->attr.key_size);
	return 0;
}

const struct map_ops map_lpm_ops = {
	.name = "lpm_trie",
	.check = lpm_check,
	.init = lpm_init,
	.fini = lpm_fini,
	.lookup = lpm_lookup,
	.update = lpm_update,
	.remove = lpm_remove,
	.next_key = lpm_next_key,
};
