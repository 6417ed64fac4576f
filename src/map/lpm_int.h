/* SPDX-License-Identifier: MIT */
/*
 * Inside longest prefix maps: a hash table of all prefixes, which is the truth (lpm.c), and for
 * prefixes of up to 32 bits an index that finds the longest in a few steps (lpm_index.c); for longer ones a filter says
 * which lengths to ask the table for (lpm_filter.c).
 */
#ifndef FERRY_MAP_LPM_INT_H
#define FERRY_MAP_LPM_INT_H

#include "map/hash_int.h"

#define MAX_DATA 256u
#define MAX_KEY  (4 + MAX_DATA)
#define MAX_BITS (8 * MAX_DATA)

#define INDEX_BITS 32u /* longer prefixes are not in the index */
#define STRIDE     4u
#define FAN        (1u << STRIDE)

/* Shared, after the table. */
struct lengths {
	map_lock_word lock; /* of writers */
	/* Bit: there are prefixes of this length, or there were when a process died. */
	_Atomic u64 there[MAX_BITS / 64 + 1];
	_Atomic u32 count[MAX_BITS + 1];
	_Atomic u32 seq;  /* of the index: odd while it changes */
	_Atomic u32 used; /* nodes that were ever given out */
	_Atomic u32 removed; /* since the filter was written */
	_Atomic u32 free; /* the first that was given back, + 1; its next is in its first entry */
};

/*
 * An entry of the index: the longest prefix that ends in its node and covers it, as element + 1, in
 * the upper half; the node below + 1 in the lower; 0 is none.
 */
typedef _Atomic u64 lpm_entry;

struct lpm {
	struct htab table; /* first: m->priv is a hash table to the hash's operations */
	const struct map_ops *hash;
	struct map *map;
	struct lengths *len;
	u32 max_bits;
	u32 key_room;  /* of the key as given, before the value */
	u32 root_bits; /* that the first step looks at */
	u32 nnodes;
	lpm_entry *root, *nodes;
	u32 nwords;    /* of the filter, a power of two; 0: none, all prefixes are in the index */
	_Atomic u64 *filter;
};

/* What a key becomes in the table: the first `bits` bits of its data, the rest 0. */
void lpm_cut(u8 *out, const u8 *key, u32 size, u32 bits);

size_t lpm_index_size(const struct map_attr *a);
void lpm_index_setup(struct lpm *l, u32 max_entries, u8 *mem);
/*
 * The longest prefix of up to 32 bits of a key of full length: its element, or NONE; false when the index
 * is changing.
 */
#define LPM_NONE UINT32_MAX
bool lpm_index_find(const struct lpm *l, const u8 *data, u32 *elem);

/* All under the writers' lock, and between these two. */
void lpm_index_begin(struct lpm *l);
void lpm_index_end(struct lpm *l);
void lpm_index_set(struct lpm *l, const u8 *key, u32 bits, u32 elem); /* a prefix of up to 32 bits */
void lpm_index_clear(struct lpm *l, const u8 *key, u32 bits, u32 elem);
void lpm_index_rebuild(struct lpm *l); /* from the table, after a death */
size_t lpm_filter_size(u32 max_entries, u32 max_bits);
void lpm_filter_setup(struct lpm *l, u32 max_entries, u8 *mem);
u64 lpm_filter_lengths(const struct lpm *l, const u8 *key); /* bit i: there may be prefixes of i, i + 64, ... bits */
/* Under the writers' lock: before such a prefix is there, and after one has gone. */
void lpm_filter_add(struct lpm *l, const u8 *key, u32 bits);
void lpm_filter_removed(struct lpm *l);
u32 lpm_elem(const struct lpm *l, const u8 *cut); /* of a key as lpm_cut() makes it, or LPM_NONE */

#endif
