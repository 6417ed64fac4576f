/* SPDX-License-Identifier: MIT */
/*
 * The number domain: arithmetic. An operation is a function on the intervals of one width, used for
 * the whole and for the lower half, and one on known bits; num_sync then lets each view learn from
 * the others.
 */
#include "verify/num_int.h"

typedef __int128 s128;

/* What an operation knows of its operand at one width. */
struct side {
	struct view v;
	struct tnum t;
};

static struct side side_of(const struct num *n, unsigned bits)
{
	return (struct side){ view_of(n, bits), tnum_low(n->bits, bits) };
}

static struct side side_unknown(unsigned bits)
{
	return (struct side){ view_full(bits), { 0, low_mask(bits) } };
}

static bool is_const(const struct side *s)
{
	return !s->t.mask;
}

/* The result is an integer in [lo, hi], modulo 2^bits. */
static void cut_exact(struct view *v, s128 lo, s128 hi, unsigned bits)
{
	if (hi - lo <= (s128)low_mask(bits))
		view_cut(v, (struct arc){ (u64)lo & low_mask(bits), (u64)hi & low_mask(bits) },
			 bits);
}

/* The two ways to read an operand as integers: unsigned and signed. */
static void reading(const struct view *v, int sign, s128 *lo, s128 *hi)
{
	*lo = sign ? (s128)v->smin : (s128)v->umin;
	*hi = sign ? (s128)v->smax : (s128)v->umax;
}

/* Both intervals say the same: one reading is enough. */
static int readings(const struct view *v)
{
	return v->smin >= 0 ? 1 : 2;
}

static void alu_add(struct side *d, const struct side *s, unsigned bits)
{
	struct view r = view_full(bits);
	s128 alo, ahi, blo, bhi;

	for (int i = 0; i < readings(&d->v); i++) {
		for (int j = 0; j < readings(&s->v); j++) {
			reading(&d->v, i, &alo, &ahi);
			reading(&s->v, j, &blo, &bhi);
			cut_exact(&r, alo + blo, ahi + bhi, bits);
		}
	}
	d->v = r;
	d->t = tnum_low(tnum_add(d->t, s->t), bits);
}

static void alu_sub(struct side *d, const struct side *s, unsigned bits)
{
	struct view r = view_full(bits);
	s128 alo, ahi, blo, bhi;

	for (int i = 0; i < readings(&d->v); i++) {
		for (int j = 0; j < readings(&s->v); j++) {
			reading(&d->v, i, &alo, &ahi);
			reading(&s->v, j, &blo, &bhi);
			cut_exact(&r, alo - bhi, ahi - blo, bits);
		}
	}
	d->v = r;
	d->t = tnum_low(tnum_sub(d->t, s->t), bits);
}

/* Products of two intervals lie between those of their ends; false when 128 bits overflow. */
static bool mul_ends(const s128 a[2], const s128 b[2], s128 *lo, s128 *hi)
{
	s128 p;

	for (int i = 0; i < 4; i++) {
		if (__builtin_mul_overflow(a[i & 1], b[i >> 1], &p))
			return false;
		if (!i || p < *lo)
			*lo = p;
		if (!i || p > *hi)
			*hi = p;
	}
	/* cut_exact's difference must fit, too. */
	return !__builtin_sub_overflow(*hi, *lo, &p);
}

static void alu_mul(struct side *d, const struct side *s, unsigned bits)
{
	struct view r = view_full(bits);
	s128 a[2], b[2], lo = 0, hi = 0;

	for (int i = 0; i < readings(&d->v); i++) {
		for (int j = 0; j < readings(&s->v); j++) {
			reading(&d->v, i, &a[0], &a[1]);
			reading(&s->v, j, &b[0], &b[1]);
			if (mul_ends(a, b, &lo, &hi))
				cut_exact(&r, lo, hi, bits);
		}
	}
	d->v = r;
	d->t = tnum_low(tnum_mul(d->t, s->t), bits);
}

/* Division by zero gives 0 (RFC 9669, 4.1). */
static void alu_div(struct side *d, const struct side *s, unsigned bits)
{
	u64 bmin = s->v.umin, bmax = s->v.umax;
	u64 lo, hi;

	if (!bmax) {
		d->v = (struct view){ 0, 0, 0, 0 };
		d->t = tnum_const(0);
		return;
	}
	lo = bmin ? d->v.umin / bmax : 0;
	hi = d->v.umax / (bmin ? bmin : 1);
	if (is_const(s) && !(bmin & (bmin - 1)))
		d->t = tnum_rsh(d->t, (unsigned)__builtin_ctzll(bmin));
	else
		d->t = side_unknown(bits).t;
	d->v = view_full(bits);
	view_cut(&d->v, (struct arc){ lo, hi }, bits);
}

/* The remainder of a division by zero is the dividend. */
static void alu_mod(struct side *d, const struct side *s, unsigned bits)
{
	u64 bmin = s->v.umin, bmax = s->v.umax, hi = d->v.umax;

	if (!bmax || d->v.umax < bmin)
		return;
	if (is_const(s) && !(bmin & (bmin - 1)))
		d->t = tnum_and(d->t, tnum_const(bmin - 1));
	else
		d->t = side_unknown(bits).t;
	if (bmin && hi > bmax - 1)
		hi = bmax - 1;
	d->v = view_full(bits);
	view_cut(&d->v, (struct arc){ 0, hi }, bits);
}

static void widen(s128 *lo, s128 *hi, s128 v)
{
	if (v < *lo)
		*lo = v;
	if (v > *hi)
		*hi = v;
}

/*
 * Signed division truncates; by zero it gives 0, and the smallest number by -1 wraps to itself,
 * which cut_exact does. Quotients are extreme at the ends of the dividend and at the divisor's
 * ends and nearest values to zero.
 */
static void alu_sdiv(struct side *d, const struct side *s, unsigned bits)
{
	s128 bs[4] = { s->v.smin, s->v.smax, -1, 1 };
	s128 lo = 0, hi = 0;
	bool any = s->v.smin <= 0 && s->v.smax >= 0; /* zero gives zero */

	for (int i = 0; i < 4; i++) {
		if (!bs[i] || bs[i] < s->v.smin || bs[i] > s->v.smax)
			continue;
		if (!any)
			lo = hi = (s128)d->v.smin / bs[i];
		any = true;
		widen(&lo, &hi, (s128)d->v.smin / bs[i]);
		widen(&lo, &hi, (s128)d->v.smax / bs[i]);
	}
	d->t = side_unknown(bits).t;
	d->v = view_full(bits);
	cut_exact(&d->v, lo, hi, bits);
}

static u64 magnitude(s64 v)
{
	return v < 0 ? -(u64)v : (u64)v;
}

/* The remainder has the dividend's sign and is smaller than the divisor; by zero, the dividend. */
static void alu_smod(struct side *d, const struct side *s, unsigned bits)
{
	u64 bbig = magnitude(s->v.smin), bsmall = 0, abig = magnitude(d->v.smin);
	s128 lo = d->v.smin, hi = d->v.smax;

	if (magnitude(s->v.smax) > bbig)
		bbig = magnitude(s->v.smax);
	if (magnitude(d->v.smax) > abig)
		abig = magnitude(d->v.smax);
	if (s->v.smin > 0)
		bsmall = magnitude(s->v.smin);
	else if (s->v.smax < 0)
		bsmall = magnitude(s->v.smax);
	if (!bbig || abig < bsmall)
		return;
	if (lo > 0)
		lo = 0;
	if (hi < 0)
		hi = 0;
	if (bsmall && lo < -((s128)bbig - 1))
		lo = -((s128)bbig - 1);
	if (bsmall && hi > (s128)bbig - 1)
		hi = (s128)bbig - 1;
	/* A power of two leaves the lower bits of what is not negative. */
	if (is_const(s) && d->v.smin >= 0 && !(bbig & (bbig - 1)))
		d->t = tnum_and(d->t, tnum_const(bbig - 1));
	else
		d->t = side_unknown(bits).t;
	d->v = view_full(bits);
	cut_exact(&d->v, lo, hi, bits);
}

/*
 * And, or and xor of numbers that fit in k bits and a sign fit in k bits and a sign: the result's
 * interval before each operation adds what is its own.
 */
static struct view bitwise(const struct side *d, const struct side *s, unsigned bits)
{
	s64 all = (d->v.smin ^ (d->v.smin >> 63)) | (d->v.smax ^ (d->v.smax >> 63)) |
		  (s->v.smin ^ (s->v.smin >> 63)) | (s->v.smax ^ (s->v.smax >> 63));
	s64 max = all ? (s64)(~0ull >> __builtin_clzll((u64)all)) : 0;
	struct view r = view_full(bits);

	cut_exact(&r, ~max, max, bits);
	return r;
}

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

static void alu_and(struct side *d, const struct side *s, unsigned bits)
{
	struct view r = bitwise(d, s, bits);

	r.umax = MIN(d->v.umax, s->v.umax);
	/* Below each operand that is not negative, and below both when both are. */
	r.smax = MIN(r.smax, MAX(d->v.smax, s->v.smax));
	if (d->v.smin >= 0 || s->v.smin >= 0)
		r.smin = 0;
	d->v = r;
	d->t = tnum_and(d->t, s->t);
}

static void alu_or(struct side *d, const struct side *s, unsigned bits)
{
	struct view r = bitwise(d, s, bits);

	/* The mirror image of `and`: a | b is ~(~a & ~b). */
	r.umin = MAX(d->v.umin, s->v.umin);
	r.smin = MAX(r.smin, MIN(d->v.smin, s->v.smin));
	if (d->v.smax < 0 || s->v.smax < 0)
		r.smax = MIN(r.smax, -1);
	d->v = r;
	d->t = tnum_or(d->t, s->t);
}

static void alu_xor(struct side *d, const struct side *s, unsigned bits)
{
	d->v = bitwise(d, s, bits);
	d->t = tnum_xor(d->t, s->t);
}

static void shift_left(struct side *d, unsigned k, unsigned bits)
{
	struct view r = view_full(bits);
	s128 lo, hi;

	for (int i = 0; i < readings(&d->v); i++) {
		reading(&d->v, i, &lo, &hi);
		/* Below 2^127 in size: 64 bits and a shift of at most 63. */
		if (hi - lo <= (s128)(low_mask(bits) >> k))
			cut_exact(&r, lo * ((s128)1 << k), hi * ((s128)1 << k), bits);
	}
	d->v = r;
	d->t = tnum_low(tnum_lsh(d->t, k), bits);
}

static void shift_right(struct side *d, unsigned k, unsigned bits)
{
	struct arc a = { d->v.umin >> k, d->v.umax >> k };

	d->v = view_full(bits);
	view_cut(&d->v, a, bits);
	d->t = tnum_rsh(d->t, k);
}

static void shift_signed(struct side *d, unsigned k, unsigned bits)
{
	s64 lo = d->v.smin >> k, hi = d->v.smax >> k;

	d->v = view_full(bits);
	cut_exact(&d->v, lo, hi, bits);
	d->t = tnum_arsh(d->t, k, bits);
}

/* Whatever is in either. */
static void side_join(struct side *a, const struct side *b)
{
	a->v.umin = MIN(a->v.umin, b->v.umin);
	a->v.umax = MAX(a->v.umax, b->v.umax);
	a->v.smin = MIN(a->v.smin, b->v.smin);
	a->v.smax = MAX(a->v.smax, b->v.smax);
	a->t = tnum_join(a->t, b->t);
}

/* Shift counts are masked to the width (RFC 9669, 4.1); each that is possible is tried. */
static void shift(struct side *d, const struct side *s, unsigned bits,
		  void (*by)(struct side *, unsigned, unsigned))
{
	struct tnum count = tnum_and(s->t, tnum_const(bits - 1));
	struct side all = *d;
	bool any = false;

	for (unsigned k = 0; k < bits; k++) {
		struct side one = *d;

		if (!tnum_has(count, k) ||
		    (s->v.umax < bits && (k < s->v.umin || k > s->v.umax)))
			continue;
		by(&one, k, bits);
		if (any)
			side_join(&all, &one);
		else
			all = one;
		any = true;
	}
	*d = any ? all : side_unknown(bits);
}

static void alu_lsh(struct side *d, const struct side *s, unsigned bits)
{
	shift(d, s, bits, shift_left);
}

static void alu_rsh(struct side *d, const struct side *s, unsigned bits)
{
	shift(d, s, bits, shift_right);
}

static void alu_arsh(struct side *d, const struct side *s, unsigned bits)
{
	shift(d, s, bits, shift_signed);
}

/* ---- one instruction --------------------------------------------------------------------------- */

struct alu_op {
	void (*fn)(struct side *d, const struct side *s, unsigned bits);
	/* The lower half of the result depends on the operands' lower halves alone. */
	bool halves;
};

static const struct alu_op alu_ops[16] = {
	[BPF_ADD >> 4] = { alu_add, true },
	[BPF_SUB >> 4] = { alu_sub, true },
	[BPF_MUL >> 4] = { alu_mul, true },
	[BPF_DIV >> 4] = { alu_div, false },
	[BPF_MOD >> 4] = { alu_mod, false },
	[BPF_OR >> 4] = { alu_or, true },
	[BPF_AND >> 4] = { alu_and, true },
	[BPF_XOR >> 4] = { alu_xor, true },
	[BPF_LSH >> 4] = { alu_lsh, false },
	[BPF_RSH >> 4] = { alu_rsh, false },
	[BPF_ARSH >> 4] = { alu_arsh, false },
};
static const struct alu_op alu_sdiv_op = { alu_sdiv, false }, alu_smod_op = { alu_smod, false };

/* Applies `op` at 64 bits. */
static void apply_whole(const struct alu_op *op, struct num *dst, const struct num *src)
{
	struct side d = side_of(dst, NUM_BITS), s = side_of(src, NUM_BITS);
	struct side dh = side_of(dst, NUM_HALF), sh = side_of(src, NUM_HALF);

	op->fn(&d, &s, NUM_BITS);
	if (op->halves)
		op->fn(&dh, &sh, NUM_HALF);
	else
		dh = side_unknown(NUM_HALF);
	dst->bits = d.t;
	view_put(dst, NUM_BITS, &d.v);
	view_put(dst, NUM_HALF, &dh.v);
	num_sync(dst);
}

/* Applies `op` at 32 bits; the upper half becomes zero. */
static void apply_half(const struct alu_op *op, struct num *dst, const struct num *src)
{
	struct side d = side_of(dst, NUM_HALF), s = side_of(src, NUM_HALF);
	struct view whole = view_full(NUM_BITS);

	op->fn(&d, &s, NUM_HALF);
	view_cut(&whole, arc_u(&d.v), NUM_BITS);
	dst->bits = d.t;
	view_put(dst, NUM_BITS, &whole);
	view_put(dst, NUM_HALF, &d.v);
	num_sync(dst);
}

static bool nothing_known(const struct num *n, bool is64)
{
	struct view v = view_of(n, NUM_HALF), full = view_full(NUM_HALF);

	if (is64)
		return num_is_unknown(n);
	return (n->bits.mask & low_mask(NUM_HALF)) == low_mask(NUM_HALF) && v.umin == full.umin && v.umax == full.umax &&
	       v.smin == full.smin && v.smax == full.smax;
}

/* What most programs do most, without going through all views: a constant each, or nothing known. */
static bool apply_simple(u8 code, bool is64, struct num *dst, const struct num *src)
{
	u64 a = dst->bits.value, b = src->bits.value;
	unsigned bits = is64 ? NUM_BITS : NUM_HALF;

	if (num_is_const(dst) && num_is_const(src)) {
		switch (code) {
		case BPF_ADD: a += b; break;
		case BPF_SUB: a -= b; break;
		case BPF_MUL: a *= b; break;
		case BPF_AND: a &= b; break;
		case BPF_OR: a |= b; break;
		case BPF_XOR: a ^= b; break;
		default: return false;
		}
		*dst = num_const(a & low_mask(bits));
		return true;
	}
	if (num_is_const(src) && b < bits && (code == BPF_LSH || code == BPF_RSH) && nothing_known(dst, is64)) {
		u64 all = low_mask(bits);

		*dst = num_tnum((struct tnum){ 0, code == BPF_LSH ? all << b & all : all >> b });
		return true;
	}
	/* Each value of the one gives all values with those of the other. */
	if ((code != BPF_ADD && code != BPF_SUB && code != BPF_XOR) || num_is_empty(dst) || num_is_empty(src) ||
	    (!nothing_known(dst, is64) && !nothing_known(src, is64)))
		return false;
	*dst = num_tnum((struct tnum){ 0, low_mask(bits) });
	return true;
}

static void apply(const struct alu_op *op, bool is64, struct num *dst, const struct num *src)
{
	if (num_is_empty(dst) || num_is_empty(src))
		*dst = num_none();
	else if (is64)
		apply_whole(op, dst, src);
	else
		apply_half(op, dst, src);
}

void num_add(struct num *dst, const struct num *src)
{
	if (!apply_simple(BPF_ADD, true, dst, src))
		apply(&alu_ops[BPF_ADD >> 4], true, dst, src);
}

void num_sub(struct num *dst, const struct num *src)
{
	apply(&alu_ops[BPF_SUB >> 4], true, dst, src);
}

/* What is known of the lower `bits` of n. */
static struct view lower(const struct num *n, unsigned bits)
{
	struct view whole = view_of(n, NUM_BITS), half = view_of(n, NUM_HALF);
	struct view v = view_full(bits);

	view_cut_low(&v, arc_u(&whole), NUM_BITS, bits);
	view_cut_low(&v, arc_s(&whole, NUM_BITS), NUM_BITS, bits);
	if (bits <= NUM_HALF) {
		view_cut_low(&v, arc_u(&half), NUM_HALF, bits);
		view_cut_low(&v, arc_s(&half, NUM_HALF), NUM_HALF, bits);
	}
	return v;
}

static void extend(struct num *n, unsigned bits, bool is_signed)
{
	struct view v, half = view_full(NUM_HALF), whole = view_full(NUM_BITS);

	if (bits >= NUM_BITS)
		return;
	v = lower(n, bits);
	if (num_is_empty(n) || view_empty(&v)) {
		*n = num_none();
		return;
	}
	if (is_signed)
		cut_exact(&whole, v.smin, v.smax, NUM_BITS);
	else
		cut_exact(&whole, v.umin, v.umax, NUM_BITS);
	n->bits = tnum_low(n->bits, bits);
	if (is_signed)
		n->bits = tnum_arsh(tnum_lsh(n->bits, NUM_BITS - bits), NUM_BITS - bits, NUM_BITS);
	if (bits < NUM_HALF)
		view_put(n, NUM_HALF, &half);
	view_put(n, NUM_BITS, &whole);
	num_sync(n);
}

void num_zext(struct num *n, unsigned bits)
{
	extend(n, bits, false);
}

void num_sext(struct num *n, unsigned bits)
{
	extend(n, bits, true);
}

/* The lowest `count` bytes of v in the opposite order. */
static u64 swap_bytes(u64 v, unsigned count)
{
	u64 r = 0;

	for (unsigned i = 0; i < count; i++, v >>= NUM_BYTE)
		r = r << NUM_BYTE | (v & low_mask(NUM_BYTE));
	return r;
}

static bool alu_end(const struct bpf_insn *insn, struct num *dst)
{
	bool to_be = insn->code & BPF_TO_BE;
	bool host_be = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
	unsigned count;

	if (insn->imm != 16 && insn->imm != 32 && insn->imm != 64)
		return false;
	count = (unsigned)insn->imm / 8;
	if (num_is_empty(dst))
		return true;
	/* Class ALU64 swaps always, class ALU converts between the host's order and the named one. */
	if (BPF_CLASS(insn->code) == BPF_ALU && to_be == host_be) {
		num_zext(dst, count * NUM_BYTE);
		return true;
	}
	*dst = num_tnum((struct tnum){ swap_bytes(dst->bits.value, count),
				       swap_bytes(dst->bits.mask, count) });
	return true;
}

static bool alu_mov(const struct bpf_insn *insn, struct num *dst, const struct num *src)
{
	bool is64 = BPF_CLASS(insn->code) == BPF_ALU64;
	struct num n = *src;

	if (insn->off == 8 || insn->off == 16 || (insn->off == 32 && is64))
		num_sext(&n, (unsigned)insn->off / 8 * NUM_BYTE);
	else if (insn->off)
		return false;
	if (!is64)
		num_zext(&n, NUM_HALF);
	*dst = n;
	return true;
}

struct num num_imm(const struct bpf_insn *insn)
{
	return num_const((u64)(s64)insn->imm);
}

bool num_alu(const struct bpf_insn *insn, struct num *dst, const struct num *src)
{
	bool is64 = BPF_CLASS(insn->code) == BPF_ALU64;
	u8 code = BPF_OP(insn->code);
	const struct alu_op *op = &alu_ops[code >> 4];
	struct num zero = num_const(0);
	bool known = true;

	if (insn->off == 1 && code == BPF_DIV) {
		op = &alu_sdiv_op;
	} else if (insn->off == 1 && code == BPF_MOD) {
		op = &alu_smod_op;
	}
	if (code == BPF_END) {
		known = alu_end(insn, dst);
	} else if (code == BPF_MOV) {
		known = alu_mov(insn, dst, src);
	} else if (code == BPF_NEG) {
		apply(&alu_ops[BPF_SUB >> 4], is64, &zero, dst);
		*dst = zero;
	} else if (!insn->off && apply_simple(code, is64, dst, src)) {
		known = true;
	} else if (op->fn) {
		apply(op, is64, dst, src);
	} else {
		known = false;
	}
	if (!known)
		*dst = num_unknown();
	return known;
}
