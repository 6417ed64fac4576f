/* SPDX-License-Identifier: MIT */
/*
 * The index of longest prefix maps: a first table by up to 16 bits, then nodes of 16 entries for 4 bits
 * each. An entry names the longest prefix of those that end in its node and cover it, so a search goes
 * down as long as there are nodes and keeps the last prefix it met.
 *
 * It only leads to elements of the hash table, and every number in it is checked before use: a wrong
 * index gives wrong answers and no harm. Writers have a lock; readers take none and look at a count
 * of changes before and after. Whoever dies inside leaves it to be built again by the next writer;
 * until then readers ask the hash table.
 */
#include "map/lpm_int.h"

static u32 root_bits_of(const struct map_attr *a)
{
	u32 bits = (a->key_size - 4) * 8;

	return bits < 16 ? bits : 16;
}

/* A prefix takes a node for each stride below the root at most, and there are no more than places. */
static u32 nodes_of(const struct map_attr *a, u32 entries)
{
	u64 below = (a->key_size - 4) * 8 > 16 ? (INDEX_BITS - 16) / STRIDE : 0, n = below * entries;

	return n < 1u << 28 ? (u32)n : 1u << 28;
}

size_t lpm_index_size(const struct map_attr *a)
{
	return ((1ull << root_bits_of(a)) + (u64)nodes_of(a, a->max_entries) * FAN) * sizeof(lpm_entry);
}

void lpm_index_setup(struct lpm *l, u32 max_entries, u8 *mem)
{
	struct map_attr a = { .key_size = 4 + l->max_bits / 8 };

	l->root_bits = root_bits_of(&a);
	l->nnodes = nodes_of(&a, max_entries);
	l->root = (lpm_entry *)(void *)mem;
	l->nodes = l->root + (1u << l->root_bits);
}

static u32 best_of(u64 entry)
{
	return (u32)(entry >> 32);
}

static u64 with_best(u64 entry, u32 best)
{
	return (u64)best << 32 | (u32)entry;
}

static u64 with_child(u64 entry, u32 child)
{
	return (entry & ~0ull << 32) | child;
}

static u64 get(const lpm_entry *e)
{
	return atomic_load_explicit(e, memory_order_acquire);
}

static void put(lpm_entry *e, u64 w)
{
	atomic_store_explicit(e, w, memory_order_release);
}

/* The first 32 bits of a key's data, the most significant first. */
static u32 first_bits(const struct lpm *l, const u8 *data)
{
	u32 n = l->max_bits / 8, a = 0, i;

	if (n >= 4) {
		memcpy(&a, data, 4);
		return __builtin_bswap32(a);
	}
	for (i = 0; i < n; i++)
		a |= (u32)data[i] << (24 - 8 * i);
	return a;
}

bool lpm_index_find(const struct lpm *l, const u8 *data, u32 *elem)
{
	u32 seq = atomic_load_explicit(&l->len->seq, memory_order_acquire), a = first_bits(l, data), best, at;
	u64 w;

	if (seq % 2)
		return false;
	w = get(&l->root[a >> (32 - l->root_bits)]);
	best = best_of(w);
	for (at = 16; (u32)w && at < INDEX_BITS; at += STRIDE) {
		if ((u32)w > l->nnodes)
			return false;
		w = get(&l->nodes[(size_t)((u32)w - 1) * FAN + (a >> (INDEX_BITS - STRIDE - at) & (FAN - 1))]);
		if (best_of(w))
			best = best_of(w);
	}
	if (atomic_load_explicit(&l->len->seq, memory_order_acquire) != seq || best > l->table.nelems)
		return false;
	*elem = best ? best - 1 : LPM_NONE;
	return true;
}

/* ---- changes --------------------------------------------------------------------------------- */

void lpm_index_begin(struct lpm *l)
{
	u32 seq = atomic_load_explicit(&l->len->seq, memory_order_relaxed);

	atomic_store(&l->len->seq, seq | 1);
}

void lpm_index_end(struct lpm *l)
{
	u32 seq = atomic_load_explicit(&l->len->seq, memory_order_relaxed);

	atomic_store(&l->len->seq, (seq | 1) + 1);
}

/* A node of zeros: its number + 1, or 0 when there is none, which takes nonsense in the file. */
static u32 node_take(struct lpm *l)
{
	u32 n = atomic_load_explicit(&l->len->free, memory_order_relaxed), i;
	lpm_entry *node;

	if (n && n <= l->nnodes) {
		node = &l->nodes[(size_t)(n - 1) * FAN];
		atomic_store_explicit(&l->len->free, (u32)get(node), memory_order_relaxed);
	} else {
		n = atomic_load_explicit(&l->len->used, memory_order_relaxed);
		if (n >= l->nnodes)
			return 0;
		atomic_store_explicit(&l->len->used, ++n, memory_order_relaxed);
		node = &l->nodes[(size_t)(n - 1) * FAN];
	}
	for (i = 0; i < FAN; i++)
		put(&node[i], 0);
	return n;
}

static void node_give(struct lpm *l, u32 n)
{
	put(&l->nodes[(size_t)(n - 1) * FAN], atomic_load_explicit(&l->len->free, memory_order_relaxed));
	atomic_store_explicit(&l->len->free, n, memory_order_relaxed);
}

/* The entries that a prefix covers in the node where it ends, and the way there. */
struct place {
	lpm_entry *first;
	u32 count;
	u32 above;       /* bits that the way there looked at */
	lpm_entry *way[INDEX_BITS / STRIDE]; /* entries whose nodes were gone through */
	u32 depth;
};

static bool find_place(struct lpm *l, const u8 *data, u32 bits, bool make, struct place *p)
{
	u32 a = first_bits(l, data), index, left;
	lpm_entry *node = l->root;

	p->depth = 0;
	p->above = 0;
	if (bits <= l->root_bits) {
		index = a >> (32 - l->root_bits);
		left = l->root_bits - bits;
	} else {
		lpm_entry *at = &l->root[a >> (32 - l->root_bits)];

		for (p->above = l->root_bits;; p->above += STRIDE) {
			u32 child = (u32)get(at);

			if (!child && make) {
				child = node_take(l);
				put(at, with_child(get(at), child));
			}
			if (!child || child > l->nnodes)
				return false;
			p->way[p->depth++] = at;
			node = &l->nodes[(size_t)(child - 1) * FAN];
			index = a >> (INDEX_BITS - STRIDE - p->above) & (FAN - 1);
			if (bits <= p->above + STRIDE)
				break;
			at = &node[index];
		}
		left = p->above + STRIDE - bits;
	}
	p->first = &node[index & ~0u << left];
	p->count = 1u << left;
	return true;
}

static u32 length_of(const struct lpm *l, u32 best)
{
	u64 w = __atomic_load_n((const u64 *)(const void *)hash_elem(&l->table, best - 1), __ATOMIC_RELAXED);

	return (u32)w; /* the key's first four bytes */
}

void lpm_index_set(struct lpm *l, const u8 *key, u32 bits, u32 elem)
{
	struct place p;
	u32 i, best;
	u64 w;

	if (!find_place(l, key + 4, bits, true, &p))
		return;
	for (i = 0; i < p.count; i++) {
		w = get(&p.first[i]);
		best = best_of(w);
		/* One of the same length is the same prefix, whose element was replaced. */
		if (!best || best > l->table.nelems || length_of(l, best) <= bits)
			put(&p.first[i], with_best(w, elem + 1));
	}
}

/* Nodes at the end of the way that hold nothing go back. */
static void prune(struct lpm *l, struct place *p)
{
	while (p->depth) {
		lpm_entry *up = p->way[--p->depth];
		u32 child = (u32)get(up), i;

		for (i = 0; i < FAN; i++)
			if (get(&l->nodes[(size_t)(child - 1) * FAN + i]))
				return;
		put(up, with_child(get(up), 0));
		node_give(l, child);
	}
}

void lpm_index_clear(struct lpm *l, const u8 *key, u32 bits, u32 elem)
{
	u32 next = 0, shorter, i;
	struct place p;
	u8 want[MAX_KEY];

	if (!find_place(l, key + 4, bits, false, &p))
		return;
	/* The next longest of those that end in this node takes its place. */
	for (shorter = bits; shorter && !next;) {
		shorter--;
		if (shorter < p.above || (shorter == p.above && p.above))
			break; /* it ends in a node above */
		if (!(atomic_load_explicit(&l->len->there[shorter / 64], memory_order_relaxed) >>
			      shorter % 64 & 1))
			continue;
		lpm_cut(want, key, 4 + l->max_bits / 8, shorter);
		next = lpm_elem(l, want) + 1; /* LPM_NONE + 1 is 0 */
	}
	for (i = 0; i < p.count; i++) {
		u64 w = get(&p.first[i]);

		if (best_of(w) == elem + 1)
			put(&p.first[i], with_best(w, next));
	}
	prune(l, &p);
}

void lpm_index_rebuild(struct lpm *l)
{
	u8 key[MAX_KEY];
	u64 pos = 0;
	u32 i, bits, elem;

	atomic_store_explicit(&l->len->used, 0, memory_order_relaxed);
	atomic_store_explicit(&l->len->free, 0, memory_order_relaxed);
	for (i = 0; i < 1u << l->root_bits; i++)
		put(&l->root[i], 0);
	while (l->hash->next_elem(l->map, &pos, key)) {
		memcpy(&bits, key, 4);
		elem = bits <= INDEX_BITS && bits <= l->max_bits ? lpm_elem(l, key) : LPM_NONE;
		if (elem != LPM_NONE)
			lpm_index_set(l, key, bits, elem);
	}
}
