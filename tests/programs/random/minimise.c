/* SPDX-License-Identifier: MIT */
/*
 * Delta debugging: takes instructions out of a program, many at once and then one by one, as long as
 * what it shows stays.
 */
#include "random.h"

struct small {
	struct verdict_prog *p;
	bool (*still)(const struct verdict_prog *p, void *arg);
	void *arg;
};

static bool keeps(struct small *s, struct verdict_prog *changed)
{
	bool yes = changed->cnt && s->still(changed, s->arg);

	base_free(yes ? s->p->insns : changed->insns);
	if (yes)
		*s->p = *changed;
	return yes;
}

static struct verdict_prog copy_of(const struct verdict_prog *p)
{
	struct verdict_prog c = *p;

	c.insns = base_memdup(p->insns, p->cnt * sizeof(*p->insns));
	assert_non_null(c.insns);
	return c;
}

/* Whole instructions from `at`, about `n` slots. */
static u32 whole(const struct verdict_prog *p, u32 at, u32 n)
{
	u32 end = at;

	while (end < p->cnt && end < at + n)
		end += isa_slots(&p->insns[end]);
	return (end < p->cnt ? end : p->cnt) - at;
}

static bool shrink(struct small *s, u32 chunk)
{
	bool any = false;

	for (u32 at = 0; at < s->p->cnt;) {
		struct verdict_prog c = copy_of(s->p);
		u32 n = whole(&c, at, chunk);

		edit_delete(&c, at, n);
		if (keeps(s, &c))
			any = true;
		else
			at += whole(s->p, at, 1);
	}
	return any;
}

/* Simpler instructions and numbers. */
static bool simplify(struct small *s)
{
	bool any = false;

	for (u32 at = 0; at < s->p->cnt; at += isa_slots(&s->p->insns[at])) {
		struct verdict_prog c = copy_of(s->p);
		struct bpf_insn *i = &c.insns[at];
		bool number = isa_ops[i->code].kind == ISA_ALU && i->imm && BPF_SRC(i->code) == BPF_K;

		if (number)
			i->imm = i->imm > 1 || i->imm < 0 ? i->imm / 2 : 0;
		if (number)
			any |= keeps(s, &c);
		else
			base_free(c.insns);
	}
	return any;
}

void minimise(struct verdict_prog *p, bool (*still)(const struct verdict_prog *p, void *arg), void *arg)
{
	struct small s = { p, still, arg };
	u32 chunk;

	for (chunk = p->cnt / 2; chunk; chunk /= 2)
		shrink(&s, chunk);
	for (u32 round = 0; round < 8; round++) {
		bool less = shrink(&s, 1);

		if (!simplify(&s) && !less)
			break;
	}
}
