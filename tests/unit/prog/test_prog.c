/* SPDX-License-Identifier: MIT */
/* Programs as data: subprograms from hostile instructions, and look-ups. */
#include "test.h"
#include "prog/prog.h"

#define MOV(r, i)                                                                                  \
	{                                                                                          \
		.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (r), .imm = (i)                    \
	}
#define CALL(d)                                                                                    \
	{                                                                                          \
		.code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_CALL, .imm = (d)                 \
	}
#define EXIT                                                                                       \
	{                                                                                          \
		.code = BPF_JMP | BPF_EXIT                                                         \
	}
#define LDDW(s, i)                                                                                 \
	{ .code = BPF_LD | BPF_IMM | BPF_DW, .src_reg = (s), .imm = (i) },                         \
	{                                                                                          \
		0                                                                                  \
	}

static void functions_are_found_in_order_whatever_the_order_of_calls(void **state)
{
	const struct bpf_insn insns[] = { CALL(4),
					  CALL(1),
					  EXIT, /* 0 */
					  MOV(0, 1),
					  EXIT,                     /* 3 */
					  LDDW(BPF_PSEUDO_FUNC, 2), /* 5 */
					  EXIT,
					  MOV(0, 2),
					  EXIT }; /* 7, 8 */
	struct prog *p = prog_new(insns, ARRAY_SIZE(insns));

	(void)state;
	assert_null(prog_func_at(p, 0));
	assert_int_equal(prog_find_funcs(p), 0);
	assert_int_equal(p->nfuncs, 4);
	assert_int_equal(p->funcs[0].start, 0);
	assert_int_equal(p->funcs[0].end, 3);
	assert_int_equal(p->funcs[1].start, 3);
	assert_int_equal(p->funcs[2].start, 5);
	assert_int_equal(p->funcs[3].start, 8);
	assert_int_equal(p->funcs[3].end, 10);
	assert_ptr_equal(prog_func_at(p, 4), &p->funcs[1]);
	assert_ptr_equal(prog_func_at(p, 9), &p->funcs[3]);
	assert_null(prog_func_at(p, 10));
	assert_int_equal(prog_find_funcs(p), 0);
	prog_free(p);
}

static void a_call_outside_the_program_or_into_an_instruction_is_refused(void **state)
{
	static const s32 bad[] = { -2, 5, 100, INT32_MAX, INT32_MIN, 2 };
	u32 i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct bpf_insn insns[] = { CALL(bad[i]), EXIT, LDDW(0, 0), MOV(0, 0) };
		struct prog *p = prog_new(insns, ARRAY_SIZE(insns));

		assert_int_equal(prog_find_funcs(p), -EINVAL);
		assert_null(p->funcs);
		prog_free(p);
	}
}

static void a_cut_16_byte_instruction_at_the_end_is_survived(void **state)
{
	const struct bpf_insn insns[] = { EXIT, { .code = BPF_LD | BPF_IMM | BPF_DW } };
	struct prog *p = prog_new(insns, ARRAY_SIZE(insns));

	(void)state;
	assert_int_equal(prog_find_funcs(p), 0);
	assert_int_equal(p->nfuncs, 1);
	prog_free(p);
}

static void the_number_of_functions_is_bounded(void **state)
{
	struct bpf_insn *insns = calloc(2000, sizeof(*insns));
	struct prog *p;
	u32 i, n;

	(void)state;
	for (n = PROG_MAX_FUNCS - 1; n <= PROG_MAX_FUNCS; n++) {
		for (i = 0; i < n; i++)
			insns[i] = (struct bpf_insn)CALL((s32)n);
		for (i = n; i < 2 * n + 1; i++)
			insns[i] = (struct bpf_insn)EXIT;
		p = prog_new(insns, 2 * n + 1);
		assert_int_equal(prog_find_funcs(p), n < PROG_MAX_FUNCS ? 0 : -E2BIG);
		if (!p->nfuncs)
			assert_null(p->funcs);
		else
			assert_int_equal(p->nfuncs, PROG_MAX_FUNCS);
		prog_free(p);
	}
	free(insns);
}

static void the_line_of_an_instruction_is_the_last_one_before_it(void **state)
{
	const struct bpf_insn insns[] = { MOV(0, 0), MOV(0, 1), MOV(0, 2), EXIT };
	struct prog *p = prog_new(insns, ARRAY_SIZE(insns));

	(void)state;
	assert_null(prog_line_at(p, 0));
	p->lines = base_array(2, sizeof(*p->lines));
	p->nlines = 2;
	p->lines[0] = (struct prog_line){ .insn = 1, .line = 10 };
	p->lines[1] = (struct prog_line){ .insn = 3, .line = 20 };
	assert_null(prog_line_at(p, 0));
	assert_int_equal(prog_line_at(p, 1)->line, 10);
	assert_int_equal(prog_line_at(p, 2)->line, 10);
	assert_int_equal(prog_line_at(p, 3)->line, 20);
	assert_null(prog_line_at(p, 4));
	prog_free(p);
}

static void empty_and_oversized_programs_are_refused(void **state)
{
	const struct bpf_insn exit_insn = EXIT;

	(void)state;
	assert_null(prog_new(&exit_insn, 0));
	assert_null(prog_new(&exit_insn, ISA_MAX_INSNS + 1));
	prog_free(NULL);
}

static void every_field_lies_inside_both_contexts(void **state)
{
	u32 type, i;

	(void)state;
	for (type = 0; type < 64; type++) {
		const struct prog_type *t = prog_type_of(type);

		assert_non_null(prog_type_name(type));
		for (i = 0; t && i < t->nfields; i++) {
			const struct ctx_field *f = &t->fields[i];

			assert_true(f->real_off + f->real_size <= (int)t->real_size);
			assert_true(f->read_min && f->read_min <= f->max && f->max <= f->size);
			if (f->kind != CTX_SCALAR)
				assert_int_equal(f->real_size, 8);
			if (i)
				/* In order; several rows of the same bytes say what each may be used for. */
				assert_true(f->off == f[-1].off || f->off >= f[-1].off + f[-1].size);
		}
	}
	assert_null(prog_type_of(BPF_PROG_TYPE_LSM));
	assert_null(prog_type_of(UINT32_MAX));
	assert_string_equal(prog_type_name(BPF_PROG_TYPE_TRACING), "tracing");
	assert_string_equal(prog_type_name(4000), "type 4000");
}

static void only_egress_may_return_more_than_one(void **state)
{
	const struct prog_type *t = prog_type_of(BPF_PROG_TYPE_CGROUP_SKB);
	s32 min = -1, max = -1;

	(void)state;
	assert_true(prog_type_ret(t, BPF_CGROUP_INET_INGRESS, &min, &max));
	assert_int_equal(min, 0);
	assert_int_equal(max, 1);
	assert_true(prog_type_ret(t, BPF_CGROUP_INET_EGRESS, &min, &max));
	assert_int_equal(max, 3);
	assert_false(prog_type_ret(prog_type_of(BPF_PROG_TYPE_XDP), 0, &min, &max));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(functions_are_found_in_order_whatever_the_order_of_calls),
		cmocka_unit_test(a_call_outside_the_program_or_into_an_instruction_is_refused),
		cmocka_unit_test(a_cut_16_byte_instruction_at_the_end_is_survived),
		cmocka_unit_test(the_number_of_functions_is_bounded),
		cmocka_unit_test(the_line_of_an_instruction_is_the_last_one_before_it),
		cmocka_unit_test(empty_and_oversized_programs_are_refused),
		cmocka_unit_test(every_field_lies_inside_both_contexts),
		cmocka_unit_test(only_egress_may_return_more_than_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
