/* SPDX-License-Identifier: MIT */
/* Private to the number domain: the two intervals of one width as one thing, and arcs. */
#ifndef FERRY_NUM_INT_H
#define FERRY_NUM_INT_H

#include "verify/num.h"

/* Intervals of a value of `bits` bits; the same code serves the whole and the lower half. */
struct view {
	u64 umin, umax;
	s64 smin, smax;
};

static inline u64 low_mask(unsigned bits)
{
	return ~0ull >> (64 - bits);
}

static inline s64 sext(u64 v, unsigned bits)
{
	return (s64)(v << (64 - bits)) >> (64 - bits);
}

static inline u64 sign_of(unsigned bits)
{
	return 1ull << (bits - 1);
}

static inline struct view view_full(unsigned bits)
{
	s64 low = sext(sign_of(bits), bits);

	return (struct view){ 0, low_mask(bits), low, ~low };
}

static inline struct view view_of(const struct num *n, unsigned bits)
{
	if (bits == NUM_BITS)
		return (struct view){ n->umin, n->umax, n->smin, n->smax };
	return (struct view){ n->umin32, n->umax32, n->smin32, n->smax32 };
}

static inline void view_put(struct num *n, unsigned bits, const struct view *v)
{
	if (bits == NUM_BITS) {
		n->umin = v->umin;
		n->umax = v->umax;
		n->smin = v->smin;
		n->smax = v->smax;
	} else {
		n->umin32 = (u32)v->umin;
		n->umax32 = (u32)v->umax;
		n->smin32 = (s32)v->smin;
		n->smax32 = (s32)v->smax;
	}
}

/*
 * An arc: from `lo` upwards to `hi`, past the largest value to 0 when hi < lo. Both intervals of a
 * view are arcs, and addition, subtraction and truncation map arcs to arcs, so that one rule covers
 * signed and unsigned overflow.
 */
struct arc {
	u64 lo, hi;
};

static inline struct arc arc_u(const struct view *v)
{
	return (struct arc){ v->umin, v->umax };
}

static inline struct arc arc_s(const struct view *v, unsigned bits)
{
	return (struct arc){ (u64)v->smin & low_mask(bits), (u64)v->smax & low_mask(bits) };
}

/* Steps from lo to hi; an arc of all values has low_mask(bits). */
static inline u64 arc_len(struct arc a, unsigned bits)
{
	return (a.hi - a.lo) & low_mask(bits);
}

/* Narrows both intervals to what is on the arc; an empty result has a minimum above its maximum. */
void view_cut(struct view *v, struct arc a, unsigned bits);
/* The same for the lower `bits` of values that are on `a`, an arc of `from` bits. */
void view_cut_low(struct view *v, struct arc a, unsigned from, unsigned bits);
static inline bool view_empty(const struct view *v)
{
	return v->umin > v->umax || v->smin > v->smax;
}

#endif
