/* SPDX-License-Identifier: MIT */
/*
 * The number domain at 4 and 8 bits (this file is built at each), against plain enumeration: every
 * concrete result is inside the abstract one. Also says how many values more than necessary the
 * results have. FERRY_TEST_LONG=1 tries all pairs at 4 bits and many more at 8.
 */
#include "num_ref.h"

#define VALUES (1u << NUM_BITS)
#define ITEMS_MAX 400000

/* A number with its concrete values. */
struct item {
	struct num n;
	u16 count;
	u8 has[VALUES / 8 ? VALUES / 8 : 1];
	u8 values[VALUES];
};

static struct num *items;
static size_t nitems;
static u64 seed = 88172645463325252ull;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void add_item(struct num n)
{
	if (num_is_empty(&n))
		return;
	assert_true(nitems < ITEMS_MAX);
	items[nitems++] = n;
}

static struct num half_range(unsigned lo, unsigned hi, bool is_signed)
{
	struct num n = num_unknown();

	if (is_signed) {
		n.smin32 = (s32)lo - (1 << (NUM_HALF - 1));
		n.smax32 = (s32)hi - (1 << (NUM_HALF - 1));
	} else {
		n.umin32 = lo;
		n.umax32 = hi;
	}
	num_sync(&n);
	return n;
}

/* Every interval of each kind and every combination of known bits. */
static int make_items(void **state)
{
	(void)state;
	items = calloc(ITEMS_MAX, sizeof(*items));
	for (unsigned lo = 0; lo < VALUES; lo++) {
		for (unsigned hi = lo; hi < VALUES; hi++) {
			add_item(num_urange(lo, hi));
			add_item(num_srange((s64)lo - VALUES / 2, (s64)hi - VALUES / 2));
		}
	}
	for (unsigned lo = 0; lo < 1u << NUM_HALF; lo++) {
		for (unsigned hi = lo; hi < 1u << NUM_HALF; hi++) {
			add_item(half_range(lo, hi, false));
			add_item(half_range(lo, hi, true));
		}
	}
	for (unsigned value = 0; value < VALUES; value++) {
		for (unsigned mask = 0; mask < VALUES; mask++) {
			if (!(value & mask))
				add_item(num_tnum((struct tnum){ value, mask }));
		}
	}
	return 0;
}

static int drop_items(void **state)
{
	(void)state;
	free(items);
	return 0;
}

static void list(struct item *it, const struct num *n)
{
	it->n = *n;
	it->count = 0;
	memset(it->has, 0, sizeof(it->has));
	for (unsigned v = 0; v < VALUES; v++) {
		if (num_has(n, v)) {
			it->values[it->count++] = (u8)v;
			it->has[v / 8] |= (u8)(1 << v % 8);
		}
	}
}

static bool has(const struct item *it, unsigned v)
{
	return it->has[v / 8] >> v % 8 & 1;
}

static const char *show(const struct num *n)
{
	static char buf[4][256];
	static unsigned at;
	char *s = buf[at++ % 4];

	snprintf(s, sizeof(buf[0]), "u[%llu,%llu] s[%lld,%lld] u32[%u,%u] s32[%d,%d] bits(%#llx;%#llx)",
		 (unsigned long long)n->umin, (unsigned long long)n->umax, (long long)n->smin,
		 (long long)n->smax, n->umin32, n->umax32, n->smin32, n->smax32,
		 (unsigned long long)n->bits.value, (unsigned long long)n->bits.mask);
	return s;
}

/* How much larger results are than what is necessary, over all cases of an operation. */
struct figures {
	u64 cases, exact, have, best;
};

static void count(struct figures *f, const struct num *got, const u8 *seen)
{
	struct num best = num_none();
	u64 have = 0, need = 0;

	for (unsigned v = 0; v < VALUES; v++) {
		struct num c = num_const(v);

		if (seen[v])
			num_join(&best, &c);
	}
	for (unsigned v = 0; v < VALUES; v++) {
		have += num_has(got, v);
		need += num_has(&best, v);
	}
	f->cases++;
	f->exact += have == need;
	f->have += have;
	f->best += need;
}

static void report(const char *what, bool is64, const struct figures *f)
{
	if (f->cases)
		print_message("# %d bits: %s%s: %.1f%% exact, %.3f times the best\n", NUM_BITS, what,
			      is64 ? "" : " (half)", 100.0 * (double)f->exact / (double)f->cases,
			      (double)f->have / (double)f->best);
}

/* Applies an operation to all concrete values of a and b. */
static void check_alu(const struct ref_insn *r, bool is64, const struct item *a,
		      const struct item *b, struct figures *f)
{
	struct bpf_insn insn = ref_make(r, is64);
	struct num got = a->n;
	u8 seen[VALUES] = { 0 }, ok[VALUES];

	assert_true(num_alu(&insn, &got, &b->n));
	for (unsigned v = 0; v < VALUES; v++)
		ok[v] = num_has(&got, v);
	for (unsigned i = 0; i < a->count; i++) {
		for (unsigned j = 0; j < b->count; j++) {
			u64 v = ref_alu(&insn, a->values[i], b->values[j]);

			seen[v] = 1;
			if (!ok[v])
				fail_msg("%s is64=%d: %u, %u gives %u, not in %s; from %s and %s", r->name,
					 is64, a->values[i], b->values[j], (unsigned)v, show(&got),
					 show(&a->n), show(&b->n));
		}
	}
	if (f)
		count(f, &got, seen);
}

/* Runs fn over pairs of items: at 4 bits all (or one in eight), at 8 bits `some` random ones. */
static void over_pairs(unsigned some, void (*fn)(const struct item *, const struct item *, void *),
		       void *arg)
{
	struct item a, b;

	if (NUM_BITS > 4) {
		if (getenv("FERRY_TEST_LONG"))
			some *= 20;
		for (unsigned i = 0; i < some; i++) {
			struct num both = items[rnd() % nitems], c = items[rnd() % nitems];
			struct num d = items[rnd() % nitems];

			/* Often the meet of several views, and small sets rather than large. */
			if (rnd() % 4)
				num_meet(&both, &items[rnd() % nitems]);
			if (rnd() % 2)
				num_meet(&both, &items[rnd() % nitems]);
			if (rnd() % 4)
				num_meet(&c, &d);
			list(&a, &both);
			list(&b, &c);
			if (a.count && b.count)
				fn(&a, &b, arg);
		}
		return;
	}
	for (size_t i = 0; i < nitems; i++) {
		list(&a, &items[i]);
		for (size_t j = 0; j < nitems; j++) {
			if (!getenv("FERRY_TEST_LONG") && rnd() % 8)
				continue;
			list(&b, &items[j]);
			fn(&a, &b, arg);
		}
	}
}

struct alu_run {
	const struct ref_insn *r;
	bool is64;
	struct figures f;
};

static void alu_pair(const struct item *a, const struct item *b, void *arg)
{
	struct alu_run *run = arg;

	check_alu(run->r, run->is64, a, b, &run->f);
}

static void binary_operations_contain_every_concrete_result(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ref_binary); i++) {
		for (int is64 = 0; is64 < 2; is64++) {
			struct alu_run run = { &ref_binary[i], is64, { 0 } };

			over_pairs(2000, alu_pair, &run);
			report(run.r->name, is64, &run.f);
		}
	}
}

static void unary_operations_contain_every_concrete_result(void **state)
{
	struct item it;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ref_unary); i++) {
		for (int is64 = 0; is64 < 2; is64++) {
			const struct ref_insn *r = &ref_unary[i];
			struct figures f = { 0 };

			if ((r->only64 && !is64) || r->imm / 8 * NUM_BYTE > NUM_BITS ||
			    (r->op == (BPF_END | BPF_TO_BE) && is64))
				continue;
			for (size_t j = 0; j < nitems; j += NUM_BITS > 4 ? 1 + rnd() % 8 : 1) {
				list(&it, &items[j]);
				/* mov reads the source alone, the others the destination alone */
				if (r->op == BPF_MOV) {
					struct bpf_insn insn = ref_make(r, is64);
					struct num got = num_unknown();

					num_alu(&insn, &got, &it.n);
					for (unsigned k = 0; k < it.count; k++)
						assert_true(num_has(&got, ref_alu(&insn, 0,
										  it.values[k])));
				} else {
					struct item zero;
					struct num n = num_const(0);

					list(&zero, &n);
					check_alu(r, is64, &it, &zero, &f);
				}
			}
			report(r->name, is64, &f);
		}
	}
}

struct branch_run {
	u8 op;
	bool is64;
	u64 cases, unknown, undecided;
	struct figures f;
};

static void branch_pair(const struct item *a, const struct item *b, void *arg)
{
	struct branch_run *run = arg;
	struct num side[2][2];
	struct item after[2][2];
	u8 seen[2][2][VALUES] = { 0 };
	bool can[2] = { false, false };
	enum num_truth truth;

	truth = num_branch(run->op, run->is64, &a->n, &b->n, side[1], side[0]);
	for (int i = 0; i < 4; i++)
		list(&after[i / 2][i % 2], &side[i / 2][i % 2]);
	for (unsigned i = 0; i < a->count; i++) {
		for (unsigned j = 0; j < b->count; j++) {
			bool h = ref_holds(run->op, run->is64, a->values[i], b->values[j]);

			can[h] = true;
			seen[h][0][a->values[i]] = seen[h][1][b->values[j]] = 1;
			if (!has(&after[h][0], a->values[i]) || !has(&after[h][1], b->values[j]))
				fail_msg("cond %#x is64=%d: %u, %u is %d, not in %s and %s; from %s and %s",
					 run->op, run->is64, a->values[i], b->values[j], h,
					 show(&side[h][0]), show(&side[h][1]), show(&a->n),
					 show(&b->n));
		}
	}
	assert_false(truth == NUM_TRUE && can[0]);
	assert_false(truth == NUM_FALSE && can[1]);
	run->cases++;
	run->unknown += truth == NUM_UNKNOWN;
	run->undecided += truth == NUM_UNKNOWN && !(can[0] && can[1]);
	for (int h = 0; h < 2; h++) {
		for (int k = 0; k < 2; k++) {
			if (can[h])
				count(&run->f, &side[h][k], seen[h][k]);
			/* Both sides lie in what was known before. */
			assert_true(num_within(k ? &b->n : &a->n, &side[h][k]));
		}
	}
}

static void branches_keep_every_value_that_can_take_them(void **state)
{
	char name[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ref_conds); i++) {
		for (int is64 = 0; is64 < 2; is64++) {
			struct branch_run run = { .op = ref_conds[i], .is64 = is64 };

			over_pairs(1000, branch_pair, &run);
			snprintf(name, sizeof(name), "cond %#x", run.op);
			report(name, is64, &run.f);
			print_message("# undecided though certain: %llu of %llu\n",
				      (unsigned long long)run.undecided,
				      (unsigned long long)run.cases);
		}
	}
}

static void same_pair(const struct item *a, const struct item *b, void *arg)
{
	(void)b;
	(void)arg;
	for (size_t i = 0; i < ARRAY_SIZE(ref_conds); i++) {
		for (int is64 = 0; is64 < 2; is64++) {
			enum num_truth t = num_compare_same(ref_conds[i], is64, &a->n);

			for (unsigned j = 0; j < a->count; j++) {
				bool h = ref_holds(ref_conds[i], is64, a->values[j], a->values[j]);

				assert_true(t == NUM_UNKNOWN || t == (int)h);
			}
		}
	}
}

static void comparing_a_value_with_itself_is_right(void **state)
{
	(void)state;
	over_pairs(5000, same_pair, NULL);
}

static void set_pair(const struct item *a, const struct item *b, void *arg)
{
	struct num both = a->n, either = a->n;
	bool subset = true, any = false;
	bool some = num_meet(&both, &b->n);

	(void)arg;
	num_join(&either, &b->n);
	for (unsigned v = 0; v < VALUES; v++) {
		bool ia = has(a, v), ib = has(b, v);

		any |= ia && ib;
		subset &= !ib || ia;
		assert_int_equal(num_has(&both, v), ia && ib);
		assert_true(!(ia || ib) || num_has(&either, v));
	}
	assert_true(some || !any);
	if (num_within(&a->n, &b->n))
		assert_true(subset);
}

static void meet_is_exact_and_join_and_within_are_sound(void **state)
{
	(void)state;
	over_pairs(100000, set_pair, NULL);
}

/* Views thrown together without regard to each other. */
static void sync_neither_loses_nor_adds_a_value(void **state)
{
	unsigned rounds = getenv("FERRY_TEST_LONG") ? 20000000 : 300000;
	u64 missed = 0;

	(void)state;
	for (unsigned i = 0; i < rounds; i++) {
		struct num n = items[rnd() % nitems], before;
		const struct num *h = &items[rnd() % nitems], *s = &items[rnd() % nitems];
		bool any = false;

		n.bits = items[rnd() % nitems].bits;
		n.smin = s->smin;
		n.smax = s->smax;
		n.umin32 = h->umin32;
		n.umax32 = h->umax32;
		n.smin32 = s->smin32;
		n.smax32 = s->smax32;
		before = n;
		num_sync(&n);
		for (unsigned v = 0; v < VALUES; v++) {
			any |= num_has(&before, v);
			if (num_has(&before, v) != num_has(&n, v))
				fail_msg("%u: %s became %s", v, show(&before), show(&n));
		}
		missed += !any && !num_is_empty(&n);
		before = n;
		num_sync(&n);
		assert_true(num_equal(&before, &n));
	}
	print_message("# empty but not seen: %llu of %u\n", (unsigned long long)missed, rounds);
}

static void extension_and_loads_contain_every_value(void **state)
{
	struct item it;

	(void)state;
	for (unsigned bits = 1; bits <= NUM_BITS; bits++) {
		struct num any = num_unknown(), load = num_load(bits);

		num_zext(&any, bits);
		assert_true(num_equal(&any, &load));
	}
	for (size_t i = 0; i < nitems; i += NUM_BITS > 4 ? 1 + rnd() % 8 : 1) {
		list(&it, &items[i]);
		for (unsigned bits = 1; bits <= NUM_BITS; bits++) {
			struct num z = it.n, s = it.n, l = num_load(bits), ls = num_load_sx(bits);

			num_zext(&z, bits);
			num_sext(&s, bits);
			for (unsigned k = 0; k < it.count; k++) {
				u64 v = ref_mask(it.values[k], bits);
				u64 w = ref_mask((u64)ref_signed(v, bits), NUM_BITS);

				assert_true(num_has(&z, v) && num_has(&l, v));
				assert_true(num_has(&s, w) && num_has(&ls, w));
			}
		}
	}
}

static void nearest_values_of_known_bits_are_exact(void **state)
{
	(void)state;
	for (size_t i = 0; i < nitems; i++) {
		struct tnum t = items[i].bits;
		struct tnum r;
		int next = -1, last = -1;
		u64 v;

		if (NUM_BITS > 4 && rnd() % 16)
			continue;
		for (int from = VALUES - 1; from >= 0; from--) {
			if (tnum_has(t, (u64)from))
				next = from;
			assert_int_equal(tnum_above(t, (u64)from, &v), next >= 0);
			if (next >= 0)
				assert_int_equal(v, next);
		}
		for (int from = 0; from < (int)VALUES; from++) {
			if (tnum_has(t, (u64)from))
				last = from;
			assert_int_equal(tnum_below(t, (u64)from, &v), last >= 0);
			if (last >= 0)
				assert_int_equal(v, last);
		}
		r = tnum_range(items[i].umin, items[i].umax);
		for (u64 u = items[i].umin; u <= items[i].umax; u++)
			assert_true(tnum_has(r, u));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nearest_values_of_known_bits_are_exact),
		cmocka_unit_test(sync_neither_loses_nor_adds_a_value),
		cmocka_unit_test(meet_is_exact_and_join_and_within_are_sound),
		cmocka_unit_test(extension_and_loads_contain_every_value),
		cmocka_unit_test(unary_operations_contain_every_concrete_result),
		cmocka_unit_test(binary_operations_contain_every_concrete_result),
		cmocka_unit_test(branches_keep_every_value_that_can_take_them),
		cmocka_unit_test(comparing_a_value_with_itself_is_right),
	};

	return cmocka_run_group_tests(tests, make_items, drop_items);
}
