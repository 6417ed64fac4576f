/* SPDX-License-Identifier: MIT */
/*
 * Where the compiler makes one instruction of several, or leaves a check to the code around a call: what looks like
 * it and is not, and the edges of what is.
 */
#include "jit_test.h"

#include "module/module.h"

static const u64 values[] = { 0, 1, 0x80, 0xff, 0x8000, 0x12345678, 0x80000000, 0xffffffff, 0x123456789abcdef0,
			      0x8000000000000001, 0xfedcba9876543210, ~0ull };

static u64 run(const char *code, u64 value)
{
	char text[400];

	snprintf(text, sizeof(text), "r1 = *(u64 *)(r1 +0)\n%sexit\n", code);
	return jit_run_text(text, &value);
}

static u64 rol(u64 v, u32 n)
{
	return v << n | v >> (64 - n);
}

static void shifts_and_or_are_a_rotation_only_when_they_meet(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		u64 v = values[i];

		assert_int_equal(run("r0 = r1\nr0 <<= 8\nr1 >>= 56\nr0 |= r1\n", v), rol(v, 8));
		assert_int_equal(run("r0 = r1\nr0 <<= 8\nr1 >>= 40\nr0 |= r1\n", v), v << 8 | v >> 40);
		assert_int_equal(run("r0 = r1\nr0 >>= 8\nr1 <<= 40\nr0 |= r1\n", v), v >> 8 | v << 40);
		assert_int_equal(run("r0 = r1\nr0 >>= 8\nr1 <<= 8\nr0 |= r1\n", v), v >> 8 | v << 8);
		/* The other half is needed. */
		assert_int_equal(run("r0 = r1\nr0 <<= 8\nr1 >>= 56\nr0 |= r1\nr0 += r1\n", v), rol(v, 8) + (v >> 56));
	}
}

static void shifts_there_and_back_are_an_extension_only_by_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		u64 v = values[i];

		assert_int_equal(run("r0 = r1\nr0 <<= 48\nr0 >>= 48\n", v), (u16)v);
		assert_int_equal(run("r0 = r1\nr0 <<= 48\nr0 s>>= 48\n", v), (u64)(s16)v);
		assert_int_equal(run("r0 = r1\nr0 <<= 48\nr0 >>= 40\n", v), v << 48 >> 40);
		assert_int_equal(run("r0 = r1\nr0 <<= 48\nr0 s>>= 40\n", v), (u64)((s64)(v << 48) >> 40));
		assert_int_equal(run("r0 = r1\nr0 <<= 32\nr0 >>= 31\n", v), v << 32 >> 31);
	}
}

static void packet_offsets_have_32_bits(void **state)
{
	static u8 data[] = { 1, 2, 3, 4, 5 };
	struct prog_pkt pkt = { .data = (u64)(uintptr_t)data, .data_end = (u64)(uintptr_t)data + sizeof(data) };
	struct bpf_insn insns[] = {
		MOV64(6, 1), INSN(BPF_LD | BPF_IMM | BPF_DW, 2, 0, 0, 2), INSN(0, 0, 0, 0, 1),
		INSN(BPF_LD | BPF_IND | BPF_B, 0, 2, 0, 1), EXIT(),
	};
	struct prog *p = jit_prog(insns, ARRAY_SIZE(insns));

	(void)state;
	assert_int_equal(prog_run(p, &pkt), 4);
	jit_prog_free(p);
}

/* ---- native functions ------------------------------------------------------------------------ */

/* It takes its argument for an int, as the convention of gcc and clang lets it. */
int jit_fuse_edi(int x);
__asm__(".text\n.globl jit_fuse_edi\n.type jit_fuse_edi, @function\njit_fuse_edi:\n\tmovl %edi, %eax\n\tret\n"
	".size jit_fuse_edi, . - jit_fuse_edi\n");

static u32 calls;

static int within(int x)
{
	calls++;
	return x;
}

static int there(const int *p)
{
	calls++;
	return *p;
}

static const struct ferry_func funcs[] = {
	FERRY_FUNC("int edi(short x)", jit_fuse_edi),
	FERRY_FUNC("int within(int x __range(3, 9) __check)", within),
	FERRY_FUNC("int there(const int *p __check)", there),
};
static const struct ferry_module def = { sizeof(def), "jit_fuse", "", funcs, ARRAY_SIZE(funcs) };
static struct module *m;

static u64 call(u32 n, u64 arg)
{
	struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, 0, 0, (s32)arg), INSN(0, 0, 0, 0, (s32)(arg >> 32)),
		INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, n), EXIT(),
	};
	struct prog *p = prog_new(insns, ARRAY_SIZE(insns));
	u64 ret;

	assert_non_null(p);
	assert_int_equal(prog_find_funcs(p), 0);
	p->natives = base_array(ARRAY_SIZE(funcs), sizeof(*p->natives));
	assert_non_null(p->natives);
	for (u32 i = 0; i < ARRAY_SIZE(funcs); i++) {
		module_get(m);
		p->natives[p->nnatives++] = &m->funcs[i];
	}
	assert_int_equal(jit_install(p), 0);
	ret = prog_run(p, NULL);
	jit_prog_free(p);
	return ret;
}

static void narrow_arguments_are_extended_to_an_int(void **state)
{
	(void)state;
	assert_int_equal((s32)call(0, 0x12348000), -32768);
	assert_int_equal((s32)call(0, 0xffff0007), 7);
}

static void checks_at_the_call_hold_at_both_ends(void **state)
{
	static const struct {
		u64 arg;
		bool ok;
	} cases[] = { { 2, false }, { 3, true }, { 9, true }, { 10, false }, { 0, false }, { ~0ull, false },
		      { 0x100000005, true }, { 0x80000003, false }, { 0x7fffffff, false } };
	u32 before = calls;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		s64 want = cases[i].ok ? (s64)(u32)cases[i].arg : -EINVAL;

		assert_int_equal((s64)(s32)call(1, cases[i].arg), want);
		before += cases[i].ok;
	}
	assert_int_equal(calls, before);
}

static void null_is_found_at_the_call(void **state)
{
	static const int seven = 7;

	(void)state;
	assert_int_equal((s32)call(2, (u64)(uintptr_t)&seven), 7);
	assert_int_equal((s32)call(2, 0), -EINVAL);
}

static int setup(void **state)
{
	struct text why = { 0 };

	(void)state;
	if (module_register(&def, &m, &why))
		fail_msg("%s", text_str(&why));
	text_free(&why);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return module_unregister("jit_fuse");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shifts_and_or_are_a_rotation_only_when_they_meet),
		cmocka_unit_test(shifts_there_and_back_are_an_extension_only_by_the_same),
		cmocka_unit_test(packet_offsets_have_32_bits),
		cmocka_unit_test(narrow_arguments_are_extended_to_an_int),
		cmocka_unit_test(checks_at_the_call_hold_at_both_ends),
		cmocka_unit_test(null_is_found_at_the_call),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
