/* SPDX-License-Identifier: MIT */
/*
 * The number domain at its full width, on random programs: several concrete runs of the same
 * instructions are followed by one abstract run, which has to contain all of them at every step.
 */
#include "num_ref.h"

#define RUNS 24
#define REGS 4
#define STEPS 24

static u64 seed = 0x9e3779b97f4a7c15ull;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull;
}

/* Values at which things go wrong, and plain ones. */
static u64 value(void)
{
	static const u64 edges[] = { 0, 1, 2, 7, 8, 255, 256, 0x7fff, 0x8000, 0xffff, 0x10000,
				     0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
				     0x7fffffffffffffff, 0x8000000000000000, 0xffffffff00000000,
				     0xffffffff80000000, 0xfffffffffffffff8 };
	u64 v;

	switch (rnd() % 6) {
	case 0: return rnd();
	case 1: return rnd() >> rnd() % 64;
	case 2: return (u64)((s64)rnd() >> rnd() % 64);
	case 3: return rnd() % 16;
	default:
		v = edges[rnd() % ARRAY_SIZE(edges)];
		if (rnd() % 2)
			v += rnd() % 9 - 4;
		return rnd() % 4 ? v : ~v;
	}
}

struct machine {
	u64 regs[RUNS][REGS];
	unsigned runs;
	struct num nums[REGS];
};

static void check(const struct machine *m, const char *what)
{
	struct text t = { 0 };

	for (unsigned i = 0; i < m->runs; i++) {
		for (unsigned r = 0; r < REGS; r++) {
			if (num_has(&m->nums[r], m->regs[i][r]))
				continue;
			num_print(&m->nums[r], &t);
			fail_msg("after %s: %#llx is not in %s", what,
				 (unsigned long long)m->regs[i][r], text_str(&t));
		}
	}
}

/* A number that holds all runs' values: their join, often with some views forgotten or widened. */
static void start_reg(struct machine *m, unsigned r)
{
	struct num n = num_none(), loose = num_unknown();
	u64 base = value(), spread = value(), bits = value() & value();

	for (unsigned i = 0; i < m->runs; i++) {
		struct num c;

		m->regs[i][r] = rnd() % 2 ? base + (spread ? rnd() % spread : 0) : base ^ (rnd() & bits);
		if (!(rnd() % 8))
			m->regs[i][r] = value();
		c = num_const(m->regs[i][r]);
		num_join(&n, &c);
	}
	switch (rnd() % 6) {
	case 0:
		loose.umin = n.umin;
		loose.umax = n.umax;
		n = loose;
		break;
	case 1:
		loose.smin = n.smin;
		loose.smax = n.smax;
		n = loose;
		break;
	case 2:
		loose.bits = n.bits;
		n = loose;
		break;
	case 3:
		loose.umin32 = n.umin32;
		loose.umax32 = n.umax32;
		loose.smin32 = n.smin32;
		n = loose;
		break;
	default:
		break;
	}
	num_sync(&n);
	m->nums[r] = n;
}

static void step_alu(struct machine *m)
{
	bool unary = rnd() % 5 == 0, is64 = rnd() % 2, imm = rnd() % 2;
	const struct ref_insn *r = unary ? &ref_unary[rnd() % ARRAY_SIZE(ref_unary)]
					 : &ref_binary[rnd() % ARRAY_SIZE(ref_binary)];
	unsigned d = rnd() % REGS, s = rnd() % REGS;
	struct bpf_insn insn = ref_make(r, is64 || r->only64);
	struct num src;
	char what[80];

	if (BPF_OP(insn.code) == BPF_END) {
		if (is64)
			insn.code &= (u8)~BPF_TO_BE;
		imm = false;
	}
	if (imm && !unary)
		insn.imm = (s32)value();
	src = imm && !unary ? num_imm(&insn) : m->nums[s];
	assert_true(num_alu(&insn, &m->nums[d], &src));
	for (unsigned i = 0; i < m->runs; i++)
		m->regs[i][d] = ref_alu(&insn, m->regs[i][d],
					imm && !unary ? (u64)(s64)insn.imm : m->regs[i][s]);
	snprintf(what, sizeof(what), "%s is64=%d imm=%d (%d)", r->name, is64, imm, insn.imm);
	check(m, what);
}

/* Runs that go the other way than the first leave. */
static void step_branch(struct machine *m)
{
	u8 op = ref_conds[rnd() % ARRAY_SIZE(ref_conds)];
	bool is64 = rnd() % 2, imm = rnd() % 2, first;
	unsigned a = rnd() % REGS, b = rnd() % REGS, left = 0;
	u64 k = (u64)(s64)(s32)(rnd() % 2 ? m->regs[0][a] + rnd() % 3 - 1 : value());
	struct num nb = imm ? num_const(k) : m->nums[b], yes[2], no[2], *to;
	enum num_truth t;
	char what[80];

	if (a == b && !imm)
		return;
	t = num_branch(op, is64, &m->nums[a], &nb, yes, no);
	assert_int_equal(t, num_compare(op, is64, &m->nums[a], &nb));
	first = ref_holds(op, is64, m->regs[0][a], imm ? k : m->regs[0][b]);
	to = first ? yes : no;
	for (unsigned i = 0; i < m->runs; i++) {
		bool h = ref_holds(op, is64, m->regs[i][a], imm ? k : m->regs[i][b]);

		assert_true(t == NUM_UNKNOWN || t == (int)h);
		assert_true(num_has(h ? &yes[0] : &no[0], m->regs[i][a]));
		assert_true(num_has(h ? &yes[1] : &no[1], imm ? k : m->regs[i][b]));
		if (h == first)
			memcpy(m->regs[left++], m->regs[i], sizeof(m->regs[i]));
	}
	m->runs = left;
	assert_true(num_within(&m->nums[a], &to[0]));
	m->nums[a] = to[0];
	if (!imm)
		m->nums[b] = to[1];
	snprintf(what, sizeof(what), "cond %#x is64=%d", op, is64);
	check(m, what);
}

static void random_programs_stay_inside_their_numbers(void **state)
{
	unsigned programs = getenv("FERRY_TEST_LONG") ? 3000000 : 20000;

	(void)state;
	for (unsigned p = 0; p < programs; p++) {
		struct machine m = { .runs = RUNS };

		for (unsigned r = 0; r < REGS; r++)
			start_reg(&m, r);
		check(&m, "start");
		for (unsigned s = 0; s < STEPS; s++) {
			if (rnd() % 3)
				step_alu(&m);
			else
				step_branch(&m);
		}
	}
}

static struct num alu(u8 code, struct num d, struct num s)
{
	struct bpf_insn insn = { .code = code };

	num_alu(&insn, &d, &s);
	return d;
}

static void assert_u(struct num n, u64 lo, u64 hi)
{
	assert_int_equal(n.umin, lo);
	assert_int_equal(n.umax, hi);
}

/* What real programs rely on, each at least as tight as the kernel has it. */
static void common_idioms_are_tight(void **state)
{
	struct num u8_load = num_load(8), x = num_unknown(), k, yes[2], no[2];

	(void)state;
	assert_u(u8_load, 0, 255);
	assert_int_equal(num_load_sx(8).smin, -128);
	assert_u(alu(BPF_ALU64 | BPF_AND, x, num_const(15)), 0, 15);
	assert_u(alu(BPF_ALU64 | BPF_LSH, alu(BPF_ALU64 | BPF_AND, x, num_const(15)), num_const(2)),
		 0, 60);
	assert_u(alu(BPF_ALU64 | BPF_RSH, x, num_const(60)), 0, 15);
	assert_u(alu(BPF_ALU64 | BPF_MOD, x, num_const(10)), 0, 9);
	assert_u(alu(BPF_ALU64 | BPF_DIV, x, num_const(16)), 0, ~0ull / 16);
	assert_u(alu(BPF_ALU | BPF_MOV, num_unknown(), x), 0, 0xffffffff);
	/* x << 32 s>> 32, clang's sign extension */
	k = alu(BPF_ALU64 | BPF_ARSH, alu(BPF_ALU64 | BPF_LSH, x, num_const(32)), num_const(32));
	assert_int_equal(k.smin, INT32_MIN);
	assert_int_equal(k.smax, INT32_MAX);
	/* w = x; if w < 10: the whole is bounded, too */
	k = num_load(32);
	x = num_const(10);
	num_branch(BPF_JLT, false, &k, &x, yes, no);
	assert_u(yes[0], 0, 9);
	assert_u(no[0], 10, 0xffffffff);
	/* if x s> -1 and x s< 8, signed proofs of unsigned bounds */
	k = num_unknown();
	x = num_const((u64)-1);
	num_branch(BPF_JSGT, true, &k, &x, yes, no);
	x = num_const(8);
	num_branch(BPF_JSLT, true, &yes[0], &x, yes, no);
	assert_u(yes[0], 0, 7);
	/* x - 5 < 10 says 5 <= x < 15 of x - 5 + 5 */
	k = num_urange(0, 9);
	x = num_const(5);
	num_add(&k, &x);
	assert_u(k, 5, 14);
	/* 0xffffffff + 1 in 32 bits */
	k = alu(BPF_ALU | BPF_ADD, num_urange(0xfffffffe, 0xffffffff), num_const(3));
	assert_u(k, 1, 2);
	/* x & 1 set and not set */
	k = num_unknown();
	x = num_const(4);
	num_branch(BPF_JSET, true, &k, &x, yes, no);
	assert_int_equal(yes[0].bits.value, 4);
	assert_false(no[0].bits.mask & 4);
}

static void numbers_print_as_the_kernel_prints_them(void **state)
{
	struct text t = { 0 };
	struct num n;

	(void)state;
	n = num_unknown();
	num_print(&n, &t);
	assert_string_equal(text_str(&t), "");
	n = num_const((u64)-5);
	num_print(&n, &t);
	assert_string_equal(text_str(&t), "-5");
	text_reset(&t);
	n = num_load(8);
	num_print(&n, &t);
	assert_string_equal(text_str(&t), "smin=smin32=0,smax=umax=smax32=umax32=255,"
					  "var_off=(0x0; 0xff)");
	text_reset(&t);
	n = num_load(32);
	num_print(&n, &t);
	assert_string_equal(text_str(&t), "smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff)");
	text_free(&t);
}

static void contradictions_are_empty_everywhere(void **state)
{
	struct num n = num_urange(1, 5), m = num_urange(6, 9), e = num_none(), x;
	struct num yes[2], no[2];

	(void)state;
	assert_false(num_meet(&n, &m));
	assert_true(num_is_empty(&n));
	assert_false(num_has(&e, 0));
	assert_false(num_is_const(&e) || num_is_const32(&e));
	x = alu(BPF_ALU64 | BPF_ADD, e, num_const(1));
	assert_true(num_is_empty(&x));
	x = alu(BPF_ALU | BPF_MOV, num_const(1), e);
	assert_true(num_is_empty(&x));
	x = alu(BPF_ALU64 | BPF_NEG, e, e);
	assert_true(num_is_empty(&x));
	num_branch(BPF_JEQ, true, &e, &m, yes, no);
	assert_true(num_is_empty(&yes[0]) && num_is_empty(&no[0]));
	assert_true(num_within(&m, &e));
	x = num_urange(5, 1);
	assert_true(num_is_empty(&x));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(common_idioms_are_tight),
		cmocka_unit_test(numbers_print_as_the_kernel_prints_them),
		cmocka_unit_test(contradictions_are_empty_everywhere),
		cmocka_unit_test(random_programs_stay_inside_their_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
