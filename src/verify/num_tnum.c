/* SPDX-License-Identifier: MIT */
/* Known bits: numbers of which some bits are known. */
#include "verify/num_int.h"

struct tnum tnum_const(u64 value)
{
	return (struct tnum){ value & TNUM_ALL, 0 };
}

/* All bits below and including the highest one of v. */
static u64 fill(u64 v)
{
	return v ? ~0ull >> __builtin_clzll(v) : 0;
}

struct tnum tnum_range(u64 min, u64 max)
{
	u64 differ = fill(min ^ max);

	return (struct tnum){ min & ~differ, differ };
}

/* Sums lie between that of the smallest and that of the largest; bits that a carry or a mask bit
 * can change are those where these two sums differ, and the mask bits. */
struct tnum tnum_add(struct tnum a, struct tnum b)
{
	u64 value = a.value + b.value;
	u64 mask = ((a.mask + b.mask + value) ^ value) | a.mask | b.mask;

	mask &= TNUM_ALL;
	return (struct tnum){ value & ~mask & TNUM_ALL, mask };
}

/* Differences lie between the value less all of b's mask and the value plus all of a's. */
struct tnum tnum_sub(struct tnum a, struct tnum b)
{
	u64 value = a.value - b.value;
	u64 mask = ((value + a.mask) ^ (value - b.mask)) | a.mask | b.mask;

	mask &= TNUM_ALL;
	return (struct tnum){ value & ~mask & TNUM_ALL, mask };
}

/* Long multiplication: a known 1 adds b, an unknown bit may or may not. */
static struct tnum mul_by_bits(struct tnum a, struct tnum b)
{
	struct tnum acc = { 0, 0 };

	for (; a.value | a.mask; a.value >>= 1, a.mask >>= 1) {
		if (a.value & 1)
			acc = tnum_add(acc, b);
		else if (a.mask & 1)
			acc = tnum_join(acc, tnum_add(acc, b));
		b = tnum_lsh(b, 1);
	}
	return acc;
}

struct tnum tnum_mul(struct tnum a, struct tnum b)
{
	struct tnum ab, ba;

	if (!(a.mask | b.mask))
		return tnum_const(a.value * b.value);
	ab = mul_by_bits(a, b);
	if (!a.mask)
		return ab; /* nothing was guessed: the other order cannot be better by much */
	ba = mul_by_bits(b, a);
	/* Both contain every product, so they cannot contradict each other. */
	tnum_meet(ab, ba, &ab);
	return ab;
}

struct tnum tnum_and(struct tnum a, struct tnum b)
{
	u64 ones = a.value & b.value;
	u64 maybe = (a.value | a.mask) & (b.value | b.mask);

	return (struct tnum){ ones, maybe & ~ones };
}

struct tnum tnum_or(struct tnum a, struct tnum b)
{
	u64 ones = a.value | b.value;

	return (struct tnum){ ones, (a.mask | b.mask) & ~ones };
}

struct tnum tnum_xor(struct tnum a, struct tnum b)
{
	u64 mask = a.mask | b.mask;

	return (struct tnum){ (a.value ^ b.value) & ~mask, mask };
}

struct tnum tnum_lsh(struct tnum a, unsigned shift)
{
	return (struct tnum){ (a.value << shift) & TNUM_ALL, (a.mask << shift) & TNUM_ALL };
}

struct tnum tnum_rsh(struct tnum a, unsigned shift)
{
	return (struct tnum){ a.value >> shift, a.mask >> shift };
}

struct tnum tnum_arsh(struct tnum a, unsigned shift, unsigned bits)
{
	u64 all = low_mask(bits);

	/* A sign bit that is unknown fills with unknown bits, in the mask, and 0 in the value. */
	return (struct tnum){ (u64)(sext(a.value, bits) >> shift) & all,
			      (u64)(sext(a.mask, bits) >> shift) & all };
}

struct tnum tnum_low(struct tnum a, unsigned bits)
{
	return (struct tnum){ a.value & low_mask(bits), a.mask & low_mask(bits) };
}

struct tnum tnum_high(struct tnum a, unsigned bits)
{
	return (struct tnum){ a.value & ~low_mask(bits), a.mask & ~low_mask(bits) };
}

bool tnum_meet(struct tnum a, struct tnum b, struct tnum *out)
{
	if ((a.value ^ b.value) & ~a.mask & ~b.mask)
		return false;
	*out = (struct tnum){ a.value | b.value, a.mask & b.mask };
	return true;
}

struct tnum tnum_join(struct tnum a, struct tnum b)
{
	u64 mask = a.mask | b.mask | (a.value ^ b.value);

	return (struct tnum){ a.value & ~mask, mask };
}

bool tnum_within(struct tnum old, struct tnum cur)
{
	return !(cur.mask & ~old.mask) && !((old.value ^ cur.value) & ~old.mask);
}

bool tnum_has(struct tnum t, u64 value)
{
	return !((t.value ^ value) & ~t.mask & TNUM_ALL);
}

bool tnum_is_aligned(struct tnum t, u64 size)
{
	return !size || !((t.value | t.mask) & (size - 1));
}

bool tnum_above(struct tnum t, u64 from, u64 *out)
{
	u64 near = (from & t.mask) | t.value;
	u64 below, carry;

	if (near == from) {
		*out = near;
		return true;
	}
	/* The highest bit where `from` is not a value of t; that bit and those below must change. */
	below = fill(near ^ from);
	if (near > from) {
		*out = (near & ~(below >> 1)) | (t.value & (below >> 1));
		return true;
	}
	/* `from` has a 1 where t has a 0: count up in the free bits above. */
	carry = t.mask & ~near & ~below;
	carry &= -carry;
	if (!carry)
		return false;
	*out = (near & ~(carry - 1)) | carry | (t.value & (carry - 1));
	return true;
}

bool tnum_below(struct tnum t, u64 from, u64 *out)
{
	/* Complement turns the order around. */
	struct tnum mirror = { ~t.value & ~t.mask & TNUM_ALL, t.mask };
	u64 v;

	if (!tnum_above(mirror, ~from & TNUM_ALL, &v))
		return false;
	*out = ~v & TNUM_ALL;
	return true;
}
