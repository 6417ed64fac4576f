/* SPDX-License-Identifier: MIT */
/* The number domain: what a comparison says of its operands. */
#include "verify/num_int.h"

/* Both operands at the width that is compared. */
struct pair {
	struct view a, b;
	struct tnum at, bt;
	unsigned bits;
};

/* Each function narrows the pair to what makes its relation true; false when nothing can. */

static bool assume_eq(struct pair *p)
{
	unsigned bits = p->bits;

	if (!tnum_meet(p->at, p->bt, &p->at))
		return false;
	view_cut(&p->a, arc_u(&p->b), bits);
	if (view_empty(&p->a))
		return false;
	view_cut(&p->a, arc_s(&p->b, bits), bits);
	p->bt = p->at;
	p->b = p->a;
	return !view_empty(&p->a);
}

/* Takes the value v away from the ends of the intervals. */
static bool drop(struct view *v, u64 value, unsigned bits)
{
	s64 s = sext(value, bits);

	if (v->umin == value && v->umax == value)
		return false;
	v->umin += v->umin == value;
	v->umax -= v->umax == value;
	if (v->smin == s && v->smax == s)
		return false;
	v->smin += v->smin == s;
	v->smax -= v->smax == s;
	return true;
}

static bool assume_ne(struct pair *p)
{
	if (!p->bt.mask && !drop(&p->a, p->bt.value, p->bits))
		return false;
	return p->at.mask || drop(&p->b, p->at.value, p->bits);
}

/* a < b, or with `more` 0, a <= b. */
static bool assume_below(struct pair *p, u64 more)
{
	if (p->b.umax < more || p->a.umin > p->b.umax - more)
		return false;
	if (p->a.umax > p->b.umax - more)
		p->a.umax = p->b.umax - more;
	if (p->b.umin < p->a.umin + more)
		p->b.umin = p->a.umin + more;
	return true;
}

static bool assume_sbelow(struct pair *p, s64 more)
{
	if (p->b.smax < view_full(p->bits).smin + more || p->a.smin > p->b.smax - more)
		return false;
	if (p->a.smax > p->b.smax - more)
		p->a.smax = p->b.smax - more;
	if (p->b.smin < p->a.smin + more)
		p->b.smin = p->a.smin + more;
	return true;
}

/* a & b is not zero. */
static bool assume_set(struct pair *p)
{
	u64 common = (p->at.value | p->at.mask) & (p->bt.value | p->bt.mask);

	if (!common)
		return false;
	if (!(common & (common - 1))) {
		p->at = (struct tnum){ p->at.value | common, p->at.mask & ~common };
		p->bt = (struct tnum){ p->bt.value | common, p->bt.mask & ~common };
	}
	return drop(&p->a, 0, p->bits) && drop(&p->b, 0, p->bits);
}

/* a & b is zero. */
static bool assume_clear(struct pair *p)
{
	u64 a1 = p->at.value, b1 = p->bt.value;

	if (a1 & b1)
		return false;
	p->at.mask &= ~b1;
	p->bt.mask &= ~a1;
	return true;
}

static void swap_pair(struct pair *p)
{
	struct pair q = *p;

	*p = (struct pair){ q.b, q.a, q.bt, q.at, q.bits };
}

static bool assume_pair(u8 op, bool holds, struct pair *p)
{
	bool ok;

	switch (op) {
	case BPF_JEQ:
		return holds ? assume_eq(p) : assume_ne(p);
	case BPF_JNE:
		return holds ? assume_ne(p) : assume_eq(p);
	case BPF_JSET:
		return holds ? assume_set(p) : assume_clear(p);
	case BPF_JLT:
	case BPF_JLE:
	case BPF_JSLT:
	case BPF_JSLE:
		if (holds)
			break;
		/* not a < b is b <= a */
		swap_pair(p);
		op = op == BPF_JLT ? BPF_JLE : op == BPF_JLE ? BPF_JLT :
		     op == BPF_JSLT ? BPF_JSLE : BPF_JSLT;
		ok = assume_pair(op, true, p);
		swap_pair(p);
		return ok;
	case BPF_JGT:
	case BPF_JGE:
	case BPF_JSGT:
	case BPF_JSGE:
		swap_pair(p);
		op = op == BPF_JGT ? BPF_JLT : op == BPF_JGE ? BPF_JLE :
		     op == BPF_JSGT ? BPF_JSLT : BPF_JSLE;
		ok = assume_pair(op, holds, p);
		swap_pair(p);
		return ok;
	default:
		return true; /* no such comparison: nothing is learnt */
	}
	if (op == BPF_JLT || op == BPF_JLE)
		return assume_below(p, op == BPF_JLT);
	return assume_sbelow(p, op == BPF_JSLT);
}

static void put_side(struct num *n, const struct view *v, struct tnum low, unsigned bits)
{
	n->bits.value = (n->bits.value & ~low_mask(bits)) | low.value;
	n->bits.mask = (n->bits.mask & ~low_mask(bits)) | low.mask;
	view_put(n, bits, v);
	num_sync(n);
}

bool num_assume(u8 op, bool is64, bool holds, struct num *a, struct num *b)
{
	unsigned bits = is64 ? NUM_BITS : NUM_HALF;
	struct pair p = { view_of(a, bits), view_of(b, bits), tnum_low(a->bits, bits),
			  tnum_low(b->bits, bits), bits };
	bool equal = op == (holds ? BPF_JEQ : BPF_JNE);

	if (!num_is_empty(a) && !num_is_empty(b) && assume_pair(op, holds, &p)) {
		put_side(a, &p.a, p.at, bits);
		put_side(b, &p.b, p.bt, bits);
		/* Equal as a whole is also equal in the halves. */
		if (equal && is64 && num_meet(a, b))
			*b = *a;
		if (!num_is_empty(a) && !num_is_empty(b))
			return true;
	}
	*a = num_none();
	*b = num_none();
	return false;
}

enum num_truth num_branch(u8 op, bool is64, const struct num *a, const struct num *b,
			  struct num yes[2], struct num no[2])
{
	bool may, may_not;

	yes[0] = no[0] = *a;
	yes[1] = no[1] = *b;
	may = num_assume(op, is64, true, &yes[0], &yes[1]);
	may_not = num_assume(op, is64, false, &no[0], &no[1]);
	if (may && may_not)
		return NUM_UNKNOWN;
	/* Empty operands make both impossible; the path is dead, and either answer is right. */
	return may ? NUM_TRUE : NUM_FALSE;
}

enum num_truth num_compare(u8 op, bool is64, const struct num *a, const struct num *b)
{
	struct num yes[2], no[2];

	return num_branch(op, is64, a, b, yes, no);
}

enum num_truth num_compare_same(u8 op, bool is64, const struct num *a)
{
	struct num zero = num_const(0);

	switch (op) {
	case BPF_JEQ:
	case BPF_JGE:
	case BPF_JLE:
	case BPF_JSGE:
	case BPF_JSLE:
		return NUM_TRUE;
	case BPF_JNE:
	case BPF_JGT:
	case BPF_JLT:
	case BPF_JSGT:
	case BPF_JSLT:
		return NUM_FALSE;
	case BPF_JSET:
		return num_compare(BPF_JNE, is64, a, &zero);
	default:
		return NUM_UNKNOWN;
	}
}
