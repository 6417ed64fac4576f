/* SPDX-License-Identifier: MIT */
/*
 * Longest prefix match: a hash table of prefixes (length and the bits that count), which lengths there
 * are, and an index for those of up to 32 bits. A look-up asks the table for each longer length that
 * there is, the longest first, and then the index; none of these waits for a writer. The value in the
 * table is the key as it was given (bits behind the prefix included, as bpf(2) gives them back) and then
 * the map's value.
 */
#include "map/hash_find.h"
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
	*bytes = ALIGN_UP(hash_size(&in), 64) + ALIGN_UP(sizeof(struct lengths), 64) + ALIGN_UP(lpm_index_size(&in), 64) +
		 lpm_filter_size(in.max_entries, (a->key_size - 4) * 8);
	return 0;
}

static int lpm_init(struct map *m)
{
	struct map_attr in = inner(&m->attr);
	struct lpm *l = base_alloc(sizeof(*l));
	u8 *index;

	if (!l)
		return -ENOMEM;
	hash_setup(&l->table, &in, m->mem, map_head(m)->seed);
	if (!m->attached)
		hash_pool_init(&l->table);
	l->hash = hash_ops_for(&in);
	l->len = (void *)(m->mem + ALIGN_UP(hash_size(&in), 64));
	l->max_bits = (m->attr.key_size - 4) * 8;
	l->key_room = ALIGN_UP(m->attr.key_size, 8u);
	index = (u8 *)l->len + ALIGN_UP(sizeof(struct lengths), 64);
	lpm_index_setup(l, in.max_entries, index);
	lpm_filter_setup(l, in.max_entries, index + ALIGN_UP(lpm_index_size(&in), 64));
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

/* A key cut to `from` bits is cut to fewer. */
static void cut_more(u8 *key, u32 from, u32 bits)
{
	u8 *p = key + 4 + bits / 8, *end = key + 4 + (from + 7) / 8;

	memcpy(key, &bits, 4);
	if (p < end)
		*p++ &= (u8)(0xff00u >> bits % 8);
	while (p < end)
		*p++ = 0;
}

/* Of this key, at least `least` and at most `bits`: lengths that are asked for, the longest first. */
struct asked {
	const struct lpm *l;
	const u8 *key;
	u64 there, filter;
	u32 word, bits, least;
};

static bool next_length(struct asked *a, u32 *length)
{
	while (!a->there) {
		if (!a->word--)
			return false;
		a->there = atomic_load_explicit(&a->l->len->there[a->word], memory_order_acquire) &
			   (a->filter | (a->word ? 0 : ~0ull >> (63 - INDEX_BITS))); /* it knows longer ones only */
		if (a->word == a->bits / 64)
			a->there &= ~0ull >> (63 - a->bits % 64);
	}
	*length = a->word * 64 + 63 - (u32)__builtin_clzll(a->there);
	a->there &= ~(1ull << *length % 64);
	return *length >= a->least;
}

/*
 * The longest prefix of at least `least` bits, by asking the table for each length that there may be. Some at once, so that
 * memory that is far away comes for all of them together.
 */
#define AT_ONCE 4
static u8 *probe(struct map *m, const void *key, u32 bits, u32 least)
{
	struct lpm *l = m->priv;
	struct asked a = { l, key, 0, ~0ull, bits / 64 + 1, bits, least };
	u32 size = m->attr.key_size, cut = l->max_bits, n, i, e;
	u8 want[AT_ONCE][MAX_KEY], *from = want[0];
	u64 hash[AT_ONCE];
	bool more = true;

	memcpy(from, key, size);
	if (bits > INDEX_BITS)
		a.filter = lpm_filter_lengths(l, key);
	while (more) {
		for (n = 0; n < AT_ONCE; n++) {
			u32 length;

			more = next_length(&a, &length);
			if (!more)
				break;
			if (from != want[n])
				memcpy(want[n], from, size);
			from = want[n];
			cut_more(from, cut, length);
			cut = length;
			hash[n] = hash_of(&l->table, from, size);
			__builtin_prefetch(&l->table.buckets[hash_home(&l->table, hash[n])]);
		}
		for (i = 0; i < n; i++) {
			e = find(&l->table, want[i], size, hash[i], NULL);
			if (e != NONE)
				return hash_elem(&l->table, e) + l->table.val_off + l->key_room;
		}
	}
	return NULL;
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
	if (bits > INDEX_BITS)
		lpm_filter_add(l, want, bits);
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
	if (!err && bits > INDEX_BITS)
		lpm_filter_removed(l);
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
