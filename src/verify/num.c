/* SPDX-License-Identifier: MIT */
/* The number domain: making numbers, comparing them, and keeping their views in step. */
#include "verify/num_int.h"

#define MAX_ROUNDS 6 /* of num_sync: each only narrows, so stopping early is sound */

struct num num_unknown(void)
{
	struct view whole = view_full(NUM_BITS), half = view_full(NUM_HALF);
	struct num n = { .bits = { 0, TNUM_ALL } };

	view_put(&n, NUM_BITS, &whole);
	view_put(&n, NUM_HALF, &half);
	return n;
}

struct num num_const(u64 value)
{
	u32 half = (u32)(value & low_mask(NUM_HALF));

	value &= TNUM_ALL;
	return (struct num){
		.bits = { value, 0 },
		.smin = sext(value, NUM_BITS),
		.smax = sext(value, NUM_BITS),
		.umin = value,
		.umax = value,
		.smin32 = (s32)sext(half, NUM_HALF),
		.smax32 = (s32)sext(half, NUM_HALF),
		.umin32 = half,
		.umax32 = half,
	};
}

struct num num_none(void)
{
	/* Every minimum above its maximum, whichever pair is looked at. */
	return (struct num){
		.bits = { 0, 0 },
		.smin = 1,
		.smax = -1,
		.umin = 1,
		.umax = 0,
		.smin32 = 1,
		.smax32 = -1,
		.umin32 = 1,
		.umax32 = 0,
	};
}

struct num num_urange(u64 umin, u64 umax)
{
	struct num n = num_unknown();

	num_clip_u(&n, umin, umax);
	return n;
}

struct num num_srange(s64 smin, s64 smax)
{
	struct num n = num_unknown();

	num_clip_s(&n, smin, smax);
	return n;
}

struct num num_tnum(struct tnum t)
{
	struct num n = num_unknown();

	n.bits = t;
	num_sync(&n);
	return n;
}

struct num num_load(unsigned bits)
{
	struct num n = num_unknown();
	u64 max = low_mask(bits);

	/* What num_zext() gives; written out, since every load asks. */
	if (bits < NUM_BITS) {
		n.bits.mask = n.umax = max;
		n.smin = 0;
		n.smax = (s64)max;
	}
	if (bits < NUM_HALF) {
		n.umax32 = (u32)max;
		n.smin32 = 0;
		n.smax32 = (s32)max;
	}
	return n;
}

struct num num_load_sx(unsigned bits)
{
	struct num n = num_unknown();

	num_sext(&n, bits);
	return n;
}

bool num_is_empty(const struct num *n)
{
	return n->umin > n->umax || n->smin > n->smax || n->umin32 > n->umax32 ||
	       n->smin32 > n->smax32;
}

bool num_is_unknown(const struct num *n)
{
	struct num all = num_unknown();

	return num_equal(n, &all);
}

bool num_is_const(const struct num *n)
{
	return !n->bits.mask && !num_is_empty(n);
}

bool num_is_const32(const struct num *n)
{
	return !(n->bits.mask & low_mask(NUM_HALF)) && !num_is_empty(n);
}

static bool view_has(const struct view *v, u64 value, unsigned bits)
{
	u64 u = value & low_mask(bits);
	s64 s = sext(u, bits);

	return u >= v->umin && u <= v->umax && s >= v->smin && s <= v->smax;
}

bool num_has(const struct num *n, u64 value)
{
	struct view whole = view_of(n, NUM_BITS), half = view_of(n, NUM_HALF);

	return tnum_has(n->bits, value) && view_has(&whole, value, NUM_BITS) &&
	       view_has(&half, value, NUM_HALF);
}

bool num_equal(const struct num *a, const struct num *b)
{
	return a->bits.value == b->bits.value && a->bits.mask == b->bits.mask &&
	       a->umin == b->umin && a->umax == b->umax && a->smin == b->smin &&
	       a->smax == b->smax && a->umin32 == b->umin32 && a->umax32 == b->umax32 &&
	       a->smin32 == b->smin32 && a->smax32 == b->smax32;
}

bool num_within(const struct num *old, const struct num *cur)
{
	if (num_is_empty(cur))
		return true;
	return tnum_within(old->bits, cur->bits) && old->umin <= cur->umin &&
	       old->umax >= cur->umax && old->smin <= cur->smin && old->smax >= cur->smax &&
	       old->umin32 <= cur->umin32 && old->umax32 >= cur->umax32 &&
	       old->smin32 <= cur->smin32 && old->smax32 >= cur->smax32;
}

/* ---- arcs -------------------------------------------------------------------------------------- */

/* [*lo, *hi] without what is off the arc. When the arc wraps, what is off it is one gap. */
static void cut(u64 *lo, u64 *hi, struct arc a)
{
	if (a.lo <= a.hi) {
		if (*lo < a.lo)
			*lo = a.lo;
		if (*hi > a.hi)
			*hi = a.hi;
		return;
	}
	if (*lo > a.hi && *lo < a.lo)
		*lo = a.lo;
	if (*hi > a.hi && *hi < a.lo)
		*hi = a.hi;
}

void view_cut(struct view *v, struct arc a, unsigned bits)
{
	/* Flipping the sign bit maps the signed order to the unsigned one, and arcs to arcs. */
	u64 flip = sign_of(bits);
	u64 lo = ((u64)v->smin & low_mask(bits)) ^ flip;
	u64 hi = ((u64)v->smax & low_mask(bits)) ^ flip;

	cut(&v->umin, &v->umax, a);
	if (v->smin > v->smax)
		return;
	cut(&lo, &hi, (struct arc){ a.lo ^ flip, a.hi ^ flip });
	v->smin = sext(lo ^ flip, bits);
	v->smax = sext(hi ^ flip, bits);
}

void view_cut_low(struct view *v, struct arc a, unsigned from, unsigned bits)
{
	/* An arc with no more than 2^bits values stays an arc when it is cut to its lower bits. */
	if (arc_len(a, from) <= low_mask(bits))
		view_cut(v, (struct arc){ a.lo & low_mask(bits), a.hi & low_mask(bits) }, bits);
}

/* ---- keeping views in step --------------------------------------------------------------------- */

/* Interval ends moved inwards to values that have the known bits. */
static bool fit_bits(struct view *v, struct tnum t, unsigned bits)
{
	u64 flip = sign_of(bits), lo, hi;

	if (!tnum_above(t, v->umin, &v->umin) || !tnum_below(t, v->umax, &v->umax))
		return false;
	if (!(t.mask & flip))
		t.value ^= flip;
	if (!tnum_above(t, ((u64)v->smin & low_mask(bits)) ^ flip, &lo) ||
	    !tnum_below(t, ((u64)v->smax & low_mask(bits)) ^ flip, &hi))
		return false;
	v->smin = sext(lo ^ flip, bits);
	v->smax = sext(hi ^ flip, bits);
	return !view_empty(v);
}

/* Interval ends of the whole moved inwards to values whose lower half is on the arc. */
static bool fit_half(u64 *lo, u64 *hi, struct arc half)
{
	u64 m = low_mask(NUM_HALF), len = arc_len(half, NUM_HALF);
	u64 up = (half.lo - *lo) & m, down = (*hi - half.hi) & m;

	if (((*lo - half.lo) & m) > len) {
		if (up > TNUM_ALL - *lo)
			return false;
		*lo += up;
	}
	if (((half.hi - *hi) & m) > len) {
		if (down > *hi)
			return false;
		*hi -= down;
	}
	return *lo <= *hi;
}

static bool fit_halves(struct view *v, const struct view *half)
{
	struct arc u = arc_u(half), s = arc_s(half, NUM_HALF);
	u64 flip = sign_of(NUM_BITS);
	u64 lo = ((u64)v->smin & TNUM_ALL) ^ flip, hi = ((u64)v->smax & TNUM_ALL) ^ flip;

	if (!fit_half(&v->umin, &v->umax, u) || !fit_half(&v->umin, &v->umax, s) ||
	    !fit_half(&lo, &hi, u) || !fit_half(&lo, &hi, s))
		return false;
	v->smin = sext(lo ^ flip, NUM_BITS);
	v->smax = sext(hi ^ flip, NUM_BITS);
	return true;
}

static bool fit_each_other(struct view *v, unsigned bits)
{
	view_cut(v, arc_s(v, bits), bits);
	if (view_empty(v))
		return false;
	view_cut(v, arc_u(v), bits);
	return !view_empty(v);
}

/* One round of all deductions; false when nothing is left. */
static bool sync_round(struct num *n)
{
	struct view whole = view_of(n, NUM_BITS), half = view_of(n, NUM_HALF);
	struct tnum low;

	if (!fit_each_other(&whole, NUM_BITS) || !fit_each_other(&half, NUM_HALF))
		return false;
	view_cut_low(&half, arc_u(&whole), NUM_BITS, NUM_HALF);
	view_cut_low(&half, arc_s(&whole, NUM_BITS), NUM_BITS, NUM_HALF);
	if (view_empty(&half) || !fit_halves(&whole, &half))
		return false;

	if (!tnum_meet(n->bits, tnum_range(whole.umin, whole.umax), &n->bits))
		return false;
	low = tnum_range(half.umin, half.umax);
	low.mask |= TNUM_ALL & ~low_mask(NUM_HALF);
	if (!tnum_meet(n->bits, low, &n->bits))
		return false;
	if (!fit_bits(&whole, n->bits, NUM_BITS) ||
	    !fit_bits(&half, tnum_low(n->bits, NUM_HALF), NUM_HALF))
		return false;
	view_put(n, NUM_BITS, &whole);
	view_put(n, NUM_HALF, &half);
	return true;
}

void num_sync(struct num *n)
{
	struct num old;

	if (num_is_empty(n)) {
		*n = num_none();
		return;
	}
	if (!n->bits.mask) {
		*n = num_has(n, n->bits.value) ? num_const(n->bits.value) : num_none();
		return;
	}
	for (int i = 0; i < MAX_ROUNDS; i++) {
		old = *n;
		if (!sync_round(n)) {
			*n = num_none();
			return;
		}
		if (num_equal(n, &old))
			return;
	}
}

bool num_meet(struct num *a, const struct num *b)
{
#define RAISE(f) (a->f = a->f > b->f ? a->f : b->f)
#define LOWER(f) (a->f = a->f < b->f ? a->f : b->f)
	RAISE(umin), RAISE(smin), RAISE(umin32), RAISE(smin32);
	LOWER(umax), LOWER(smax), LOWER(umax32), LOWER(smax32);
#undef RAISE
#undef LOWER
	if (!tnum_meet(a->bits, b->bits, &a->bits))
		*a = num_none();
	num_sync(a);
	return !num_is_empty(a);
}

void num_join(struct num *a, const struct num *b)
{
	if (num_is_empty(b))
		return;
	if (num_is_empty(a)) {
		*a = *b;
		return;
	}
#define RAISE(f) (a->f = a->f > b->f ? a->f : b->f)
#define LOWER(f) (a->f = a->f < b->f ? a->f : b->f)
	LOWER(umin), LOWER(smin), LOWER(umin32), LOWER(smin32);
	RAISE(umax), RAISE(smax), RAISE(umax32), RAISE(smax32);
#undef RAISE
#undef LOWER
	a->bits = tnum_join(a->bits, b->bits);
	num_sync(a);
}

bool num_clip_u(struct num *a, u64 umin, u64 umax)
{
	if (a->umin < umin)
		a->umin = umin;
	if (a->umax > umax)
		a->umax = umax;
	num_sync(a);
	return !num_is_empty(a);
}

bool num_clip_s(struct num *a, s64 smin, s64 smax)
{
	if (a->smin < smin)
		a->smin = smin;
	if (a->smax > smax)
		a->smax = smax;
	num_sync(a);
	return !num_is_empty(a);
}

/* ---- text -------------------------------------------------------------------------------------- */

static void print_signed(struct text *out, s64 v)
{
	if (v >= INT16_MIN && v <= INT16_MAX)
		text_printf(out, "%lld", (long long)v);
	else
		text_printf(out, "%#llx", (unsigned long long)v);
}

static void print_unsigned(struct text *out, u64 v)
{
	text_printf(out, v <= UINT16_MAX ? "%llu" : "%#llx", (unsigned long long)v);
}

void num_print(const struct num *n, struct text *out)
{
	struct view w = view_full(NUM_BITS), h = view_full(NUM_HALF);
	struct {
		const char *name;
		u64 v;
		bool omit;
	} f[] = {
		{ "smin", (u64)n->smin, n->smin == w.smin },
		{ "smax", (u64)n->smax, n->smax == w.smax },
		{ "umin", n->umin, n->umin == w.umin },
		{ "umax", n->umax, n->umax == w.umax },
		/* As far as they are long, negative halves print as 32 bits. */
		{ "smin32", n->smin32 >= INT16_MIN ? (u64)n->smin32 : (u32)n->smin32,
		  n->smin32 == h.smin },
		{ "smax32", n->smax32 >= INT16_MIN ? (u64)n->smax32 : (u32)n->smax32,
		  n->smax32 == h.smax },
		{ "umin32", n->umin32, n->umin32 == h.umin },
		{ "umax32", n->umax32, n->umax32 == h.umax },
	};
	const char *sep = "";

	if (num_is_empty(n)) {
		text_puts(out, "empty");
		return;
	}
	if (num_is_const(n)) {
		print_signed(out, n->smin);
		return;
	}
	/* Minima are at even places, maxima at odd ones: equal ones are named together. */
	for (size_t i = 0; i < ARRAY_SIZE(f); i++) {
		bool neg = f[i].name[0] == 's' && (s64)f[i].v < 0;

		if (f[i].omit)
			continue;
		text_printf(out, "%s%s=", sep, f[i].name);
		sep = ",";
		for (size_t j = i + 2; j < ARRAY_SIZE(f); j += 2) {
			bool also_neg = f[j].name[0] == 's' && (s64)f[j].v < 0;

			if (f[j].omit || f[j].v != f[i].v || neg != also_neg)
				continue;
			f[j].omit = true;
			text_printf(out, "%s=", f[j].name);
		}
		if (f[i].name[0] == 's')
			print_signed(out, (s64)f[i].v);
		else
			print_unsigned(out, f[i].v);
	}
	if (n->bits.mask != TNUM_ALL)
		text_printf(out, "%svar_off=(0x%llx; 0x%llx)", sep, (unsigned long long)n->bits.value,
			    (unsigned long long)n->bits.mask);
}
