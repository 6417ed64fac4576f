/* SPDX-License-Identifier: MIT */
/* The interpreter: calls of all kinds, packets, bad addresses, and programs nobody verified. */
#include "test.h"
#include "helper/helper.h"
#include "isa/isa.h"
#include "vm/vm.h"

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
#define EXIT INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

static struct prog *from_insns(const struct bpf_insn *insns, u32 cnt)
{
	struct prog *p = prog_new(insns, cnt);

	assert_non_null(p);
	assert_int_equal(vm_install(p), 0);
	return p;
}

static struct prog *from_text(const char *source)
{
	struct bpf_insn *insns = NULL;
	struct text why = { 0 };
	struct prog *p;
	u32 cnt = 0;

	if (isa_assemble(source, &insns, &cnt, &why))
		fail_msg("%s", text_str(&why));
	p = from_insns(insns, cnt);
	base_free(insns);
	return p;
}

static void drop(struct prog *p)
{
	vm_remove(p);
	prog_free(p);
}

static u64 run(const char *source, void *ctx)
{
	struct prog *p = from_text(source);
	u64 ret = prog_run(p, ctx);

	drop(p);
	return ret;
}

/* ---- functions ------------------------------------------------------------------------------- */

static void a_function_has_its_own_stack_and_keeps_its_callers_registers(void **state)
{
	(void)state;
	assert_int_equal(run("r6 = 6\nr7 = 7\nr8 = 8\nr9 = 9\n"
			     "*(u64 *)(r10 -8) = 100\n*(u64 *)(r10 -512) = 1000\n"
			     "r1 = 1\ncall f\n"
			     "r0 += r6\nr0 += r7\nr0 += r8\nr0 += r9\n"
			     "r1 = *(u64 *)(r10 -8)\nr0 += r1\n"
			     "r1 = *(u64 *)(r10 -512)\nr0 += r1\nexit\n"
			     "f:\nr6 = 0\nr7 = 0\nr8 = 0\nr9 = 0\n"
			     "*(u64 *)(r10 -8) = 5\n*(u64 *)(r10 -512) = 5\nr0 = r1\nexit\n",
			     NULL),
			 1 + 6 + 7 + 8 + 9 + 100 + 1000);
}

/* r0 = depth reached when the function calls itself until r1 is 0. */
static const char recurse[] = "r1 = %d\ncall f\nexit\n"
			      "f:\nif r1 == 1 goto end\nr1 += -1\ncall f\nr0 += 1\nexit\n"
			      "end:\nr0 = 1\nexit\n";

static void eight_frames_run_and_more_stop_the_program(void **state)
{
	char source[256];

	(void)state;
	snprintf(source, sizeof(source), recurse, 7);
	assert_int_equal(run(source, NULL), 7);
	snprintf(source, sizeof(source), recurse, 8);
	assert_int_equal(run(source, NULL), 0);
	snprintf(source, sizeof(source), recurse, 1000000);
	assert_int_equal(run(source, NULL), 0);
}

static void function_references_are_c_function_pointers(void **state)
{
	struct prog *p = from_text("r0 = func f ll\nif r1 == 0 goto +2\nr0 = func g ll\nexit\n"
				   "f:\nr6 = r1\nr1 = r2\ncall g\nr0 -= r6\nr0 += r3\nr0 += r4\nr0 += r5\n"
				   "*(u64 *)(r10 -8) = r0\nr0 = *(u64 *)(r10 -8)\nexit\n"
				   "g:\nr0 = r1\nr0 <<= 32\nexit\n");
	prog_callback f = (prog_callback)(uintptr_t)prog_run(p, NULL);
	prog_callback g = (prog_callback)(uintptr_t)prog_run(p, &p);

	(void)state;
	assert_ptr_not_equal(f, g);
	assert_int_equal(f(1, 2, 3, 4, 5), (2ull << 32) - 1 + 3 + 4 + 5);
	assert_int_equal(g(7, 0, 0, 0, 0), 7ull << 32);
	/* The same reference again is the same function, as in C. */
	assert_int_equal(prog_run(p, NULL), (u64)(uintptr_t)f);
	drop(p);
}

static u64 call_twice(prog_callback f, u64 a)
{
	return f(a, 1, 0, 0, 0) + f(a, 2, 0, 0, 0);
}

static void a_callback_may_call_back_again(void **state)
{
	static struct module_func twice = { .addr = (void *)(uintptr_t)call_twice, .nregs = 2, .nargs = 2,
					    .ret_kind = MODULE_RET_SCALAR, .ret_width = 8,
					    .args = { { .width = 8 }, { .width = 8 } } };
	struct bpf_insn *insns = NULL;
	struct text why = { 0 };
	struct prog *p;
	u32 cnt = 0;

	(void)state;
	if (isa_assemble("r2 = 10\nr1 = func f ll\ncall kfunc 0\nexit\n"
			 "f:\n*(u64 *)(r10 -8) = r2\nr2 += r1\nr1 = func g ll\ncall kfunc 0\n"
			 "r1 = *(u64 *)(r10 -8)\nr0 += r1\nexit\n"
			 "g:\nr0 = r1\nr0 *= r2\n*(u64 *)(r10 -8) = 0\nexit\n",
			 &insns, &cnt, &why))
		fail_msg("%s", text_str(&why));
	p = prog_new(insns, cnt);
	p->natives = base_array(1, sizeof(*p->natives));
	p->natives[0] = &twice;
	p->nnatives = 1;
	assert_int_equal(vm_install(p), 0);
	/* f(10, k) = g(10 + k, 1) + g(10 + k, 2) + k, for k of 1 and 2. */
	assert_int_equal(prog_run(p, NULL), 11 * 3 + 1 + 12 * 3 + 2);
	p->nnatives = 0;
	drop(p);
	base_free(insns);
}

/* ---- tail calls ------------------------------------------------------------------------------ */

/* A program with a tail call through the array at its first LD_IMM64. */
static struct prog *tail_prog(const char *source, struct map *m)
{
	struct bpf_insn *insns = NULL;
	struct text why = { 0 };
	struct prog *p;
	u32 cnt = 0, i;

	if (isa_assemble(source, &insns, &cnt, &why))
		fail_msg("%s", text_str(&why));
	for (i = 0; i < cnt; i += isa_slots(&insns[i])) {
		if (isa_is_ldimm64(&insns[i])) {
			insns[i].src_reg = BPF_PSEUDO_MAP_FD;
			insns[i].imm = 0;
		}
	}
	p = prog_new(insns, cnt);
	p->maps = base_array(1, sizeof(*p->maps));
	p->maps[0] = m;
	p->nmaps = 1;
	assert_int_equal(vm_install(p), 0);
	base_free(insns);
	return p;
}

static void tail_drop(struct prog *p)
{
	p->nmaps = 0;
	drop(p);
}

static void the_34th_tail_call_falls_through(void **state)
{
	void *_Atomic objs[4] = { NULL };
	struct map m = { .attr = { .max_entries = 4 }, .objs = objs };
	/* Counts its runs in the context. */
	struct prog *p = tail_prog("r6 = r1\nr0 = *(u64 *)(r6 +0)\nr0 += 1\n*(u64 *)(r6 +0) = r0\n"
				   "r2 = 0 ll\nr3 = 1\ncall 12\nr0 = 77\nexit\n",
				   &m);
	u64 runs = 0;

	(void)state;
	objs[1] = p;
	assert_int_equal(prog_run(p, &runs), 77);
	assert_int_equal(runs, 34);
	runs = 0;
	assert_int_equal(prog_run(p, &runs), 77); /* the count is one of a run */
	assert_int_equal(runs, 34);
	tail_drop(p);
}

static void a_tail_call_to_nothing_falls_through(void **state)
{
	void *_Atomic objs[4] = { NULL };
	struct map m = { .attr = { .max_entries = 4 }, .objs = objs }, not_progs = m;
	static const char source[] = "r2 = 0 ll\nr3 = %d\ncall 12\nr0 = 5\nexit\n";
	static const int index[] = { 0, 3, 4, -1 };
	char text[100];
	u32 i;

	(void)state;
	not_progs.objs = NULL;
	for (i = 0; i < ARRAY_SIZE(index); i++) {
		struct prog *p, *q;

		snprintf(text, sizeof(text), source, index[i]);
		p = tail_prog(text, &m);
		q = tail_prog(text, &not_progs);
		assert_int_equal(prog_run(p, NULL), 5);
		assert_int_equal(prog_run(q, NULL), 5);
		tail_drop(p);
		tail_drop(q);
	}
}

static void a_tail_call_of_a_function_returns_to_its_caller(void **state)
{
	void *_Atomic objs[1] = { NULL };
	struct map m = { .attr = { .max_entries = 1 }, .objs = objs };
	struct prog *target = from_text("call f\nr0 += 1\nexit\nf:\nr0 = 40\nexit\n");
	struct prog *p = tail_prog("r6 = 1000\ncall f\nr0 += r6\nexit\n"
				   "f:\nr6 = 1\nr2 = 0 ll\nr3 = 0\ncall 12\nr0 = 7\nexit\n",
				   &m);

	(void)state;
	assert_int_equal(prog_run(p, NULL), 1007);
	objs[0] = target;
	assert_int_equal(prog_run(p, NULL), 1041);
	tail_drop(p);
	drop(target);
}

/* ---- native functions ------------------------------------------------------------------------ */

static u64 got[5];

static u64 record(u64 a, u64 b, u64 c, u64 d, u64 e)
{
	got[0] = a;
	got[1] = b;
	got[2] = c;
	got[3] = d;
	got[4] = e;
	return 0x1234567889abcdefull;
}

static u64 call_native(struct module_func *f, const char *source)
{
	struct module mod = { .refs = 2 };
	struct bpf_insn *insns = NULL;
	struct text why = { 0 };
	struct prog *p;
	u32 cnt = 0, i;
	u64 ret;

	if (isa_assemble(source, &insns, &cnt, &why))
		fail_msg("%s", text_str(&why));
	for (i = 0; i < cnt; i += isa_slots(&insns[i])) {
		if (isa_is_call(&insns[i], 0)) {
			insns[i].src_reg = BPF_PSEUDO_KFUNC_CALL;
			insns[i].imm = 0;
		}
	}
	f->mod = &mod;
	f->addr = (const void *)(uintptr_t)record;
	p = prog_new(insns, cnt);
	p->natives = base_array(1, sizeof(*p->natives));
	p->natives[0] = f;
	p->nnatives = 1;
	assert_int_equal(vm_install(p), 0);
	ret = prog_run(p, NULL);
	p->nnatives = 0;
	drop(p);
	base_free(insns);
	return ret;
}

#define CALL_WITH_ONES                                                                             \
	"r1 = -128 ll\nr2 = 0xfedcba9876548080 ll\nr3 = 0xfedcba9886548080 ll\n"                   \
	"r4 = 0x100 ll\nr5 = 0xfedcba9876543210 ll\ncall 1\nexit\n"

static void arguments_are_extended_as_their_c_types(void **state)
{
	struct module_func f = { .ret_kind = MODULE_RET_SCALAR, .ret_width = 8, .nregs = 5, .nargs = 5 };
	static const u8 widths[] = { 1, 2, 4, 1, 8 };
	u32 i;

	(void)state;
	for (i = 0; i < 5; i++)
		f.args[i].width = widths[i];
	f.args[3].is_bool = true;
	assert_int_equal(call_native(&f, CALL_WITH_ONES), 0x1234567889abcdefull);
	assert_int_equal(got[0], 0x80);
	assert_int_equal(got[1], 0x8080);
	assert_int_equal(got[2], 0x86548080);
	assert_int_equal(got[3], 0); /* a bool is its lowest byte */
	assert_int_equal(got[4], 0xfedcba9876543210ull);
	for (i = 0; i < 3; i++)
		f.args[i].is_signed = true;
	call_native(&f, CALL_WITH_ONES);
	assert_int_equal(got[0], (u64)-0x80);
	assert_int_equal(got[1], (u64)(s16)0x8080);
	assert_int_equal(got[2], (u64)(s32)0x86548080);
	call_native(&f, "r1 = 0\nr2 = 0\nr3 = 0\nr4 = 2\nr5 = 0\ncall 1\nexit\n");
	assert_int_equal(got[3], 1);
}

static void results_are_extended_as_their_c_types(void **state)
{
	static const struct {
		u8 width;
		bool is_signed;
		u64 ret;
	} cases[] = { { 1, false, 0xef },       { 1, true, (u64)(s8)0xef },
		      { 2, false, 0xcdef },     { 2, true, (u64)(s16)0xcdef },
		      { 4, false, 0x89abcdef }, { 4, true, (u64)(s32)0x89abcdef } };
	u32 i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct module_func f = { .ret_kind = MODULE_RET_SCALAR,
					 .ret_width = cases[i].width,
					 .ret_signed = cases[i].is_signed };

		assert_int_equal(call_native(&f, "call 1\nexit\n"), cases[i].ret);
	}
}

static void nothing_of_the_host_comes_back_from_a_void_function(void **state)
{
	struct module_func f = { .ret_kind = MODULE_RET_VOID };

	(void)state;
	assert_int_equal(call_native(&f, "call 1\nexit\n"), 0);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void a_load_that_may_fault_gives_0_at_a_bad_address(void **state)
{
	static const u64 bad[] = { 0, 8, 0xffffffffffffff00, 0x8000000000000000,
				   0x00007ffffffff000 };
	static const char source[] = "r0 = *(%s *)(r1 +0)\nexit\n";
	static const char *const types[] = { "u8", "u16", "u32", "u64", "s8", "s16", "s32" };
	s64 good = -2;
	u32 i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		char text[64];
		struct prog *p;

		snprintf(text, sizeof(text), source, types[i]);
		p = from_text(text);
		p->facts = base_array(p->insn_cnt, sizeof(*p->facts));
		p->facts[0].probe = true;
		assert_int_equal(vm_install(p), 0);
		for (k = 0; k < ARRAY_SIZE(bad); k++)
			assert_int_equal(prog_run(p, (void *)(uintptr_t)bad[k]), 0);
		assert_int_equal(prog_run(p, &good), types[i][0] == 's' || i == 3
							     ? (u64)-2
							     : ~0ull >> (64 - (8 << i)) & ~1ull);
		drop(p);
	}
}

static void packet_loads_end_the_program_outside_the_packet(void **state)
{
	u8 packet[] = { 1, 2, 3, 4, 5 };
	struct prog_pkt pkt = { .data = (u64)(uintptr_t)packet,
				.data_end = (u64)(uintptr_t)(packet + sizeof(packet)) };
	static const struct {
		const char *load;
		u64 ret;
	} cases[] = {
		{ "r0 = *(u8 *)skb[4]", 0x1005 },
		{ "r0 = *(u8 *)skb[5]", 0 },
		{ "r0 = *(u16 *)skb[3]", 0x1405 },
		{ "r0 = *(u16 *)skb[4]", 0 },
		{ "r0 = *(u32 *)skb[1]", 0x2031405 },
		{ "r0 = *(u32 *)skb[2]", 0 },
		{ "r0 = *(u32 *)skb[-1]", 0 },
		{ "r0 = *(u8 *)skb[2147483647]", 0 },
		{ "r2 = 1\nr0 = *(u16 *)skb[r2 + 1]", 0x1304 },
		{ "r2 = -1\nr0 = *(u8 *)skb[r2 + 1]", 0x1001 },
		{ "r2 = -1\nr0 = *(u8 *)skb[r2 + 0]", 0 },
	};
	char text[128];
	u32 i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(text, sizeof(text), "r6 = r1\n%s\nr0 += 0x1000\nexit\n", cases[i].load);
		assert_int_equal(run(text, &pkt), cases[i].ret);
	}
}

/* ---- what nobody verified -------------------------------------------------------------------- */

static void what_cannot_be_run_ends_the_program(void **state)
{
	static const struct bpf_insn bad[] = {
		INSN(0xff, 0, 0, 0, 0), /* no such instruction */
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_JMP | BPF_JA, 0, 0, 100, 0), /* jumps out of the program */
		INSN(BPF_JMP | BPF_JA, 0, 0, -100, 0),
		INSN(BPF_JMP32 | BPF_JA, 0, 0, 0, INT32_MAX),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 100, 1),
		INSN(BPF_JMP | BPF_JA, 0, 0, 2, 0), /* into an instruction */
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2, 1),
		INSN(BPF_JMP | BPF_CALL, 0, 1, 0, 2),
		INSN(BPF_JMP | BPF_CALL, 0, 1, 0, INT32_MIN),
		INSN(BPF_JMP | BPF_CALL, 0, 2, 0, 0), /* nothing there */
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 100000),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, -1),
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, 0),
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, 15, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 15, 0, 0, 0), /* no such register */
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 0, 15, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 0, 0, 7, 0), /* no such variant */
		INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 0, 1, 0),
		INSN(BPF_STX | BPF_ATOMIC | BPF_DW, 10, 0, -8, 0x7777),
		INSN(BPF_ALU64 | BPF_END, 0, 0, 0, 17),
	};
	u32 i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct bpf_insn insns[] = { INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1),
						  bad[i],
						  INSN(BPF_JMP | BPF_JA, 0, 0, 2, 0),
						  INSN(BPF_LD | BPF_IMM | BPF_DW, 2, 0, 0, 0),
						  INSN(0, 0, 0, 0, -1),
						  EXIT };
		struct prog *p = from_insns(insns, ARRAY_SIZE(insns));

		assert_int_equal(prog_run(p, NULL), 0);
		drop(p);
	}
}

static void running_off_the_end_ends_the_program(void **state)
{
	const struct bpf_insn mov = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);
	const struct bpf_insn cut = INSN(BPF_LD | BPF_IMM | BPF_DW, 0, 0, 0, 1);
	const struct bpf_insn last_pair[] = { mov, mov };
	struct prog *p = from_insns(&mov, 1), *q = from_insns(&cut, 1),
		    *s = from_insns(last_pair, 2);

	(void)state;
	assert_int_equal(prog_run(p, NULL), 0);
	assert_int_equal(prog_run(q, NULL), 0);
	assert_int_equal(prog_run(s, NULL), 0);
	drop(p);
	drop(q);
	drop(s);
}

static void any_bytes_can_be_translated(void **state)
{
	struct bpf_insn insns[40];
	u64 seed = 1;
	u32 n, i;

	(void)state;
	for (n = 0; n < 20000; n++) {
		for (i = 0; i < ARRAY_SIZE(insns); i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			memcpy(&insns[i], &seed, sizeof(seed));
			insns[i].code = (u8)(seed >> 56);
		}
		drop(from_insns(insns, 1 + n % ARRAY_SIZE(insns)));
	}
}

/* Two instructions that are run by one piece of code can still be jumped into. */
static void a_jump_into_a_pair_runs_its_second_half(void **state)
{
	(void)state;
	assert_int_equal(run("r0 = 1\nr2 = 5\ngoto mid\nr0 = r2\nmid:\nr0 += r2\nexit\n", NULL), 6);
	assert_int_equal(run("r0 = 1\nr2 = 5\nr0 = r2\nr0 += r2\nexit\n", NULL), 10);
	/* The second is the first of the next pair too. */
	assert_int_equal(
		run("r3 = 1\nr4 = 2\nr0 = r3\nr0 += r4\nr0 += 1\nif r0 == 4 goto ok\nr0 = 0\n"
		    "ok:\nexit\n",
		    NULL),
		4);
}

static size_t allocations, fail_at;

static void *failing(void *old, size_t size)
{
	if (size && ++allocations == fail_at)
		return NULL;
	if (!size) {
		free(old);
		return NULL;
	}
	return realloc(old, size);
}

static void out_of_memory_is_an_error(void **state)
{
	void *(*before)(void *, size_t) = base_allocator;
	const struct bpf_insn insns[] = { EXIT };
	struct prog *p = prog_new(insns, 1);
	int err = -ENOMEM;

	(void)state;
	base_allocator = failing;
	for (fail_at = 1; err == -ENOMEM; fail_at++) {
		allocations = 0;
		err = vm_install(p);
		if (err)
			assert_null(p->vm);
	}
	base_allocator = before;
	assert_int_equal(err, 0);
	assert_true(fail_at > 4);
	drop(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_function_has_its_own_stack_and_keeps_its_callers_registers),
		cmocka_unit_test(eight_frames_run_and_more_stop_the_program),
		cmocka_unit_test(function_references_are_c_function_pointers),
		cmocka_unit_test(a_callback_may_call_back_again),
		cmocka_unit_test(the_34th_tail_call_falls_through),
		cmocka_unit_test(a_tail_call_to_nothing_falls_through),
		cmocka_unit_test(a_tail_call_of_a_function_returns_to_its_caller),
		cmocka_unit_test(arguments_are_extended_as_their_c_types),
		cmocka_unit_test(results_are_extended_as_their_c_types),
		cmocka_unit_test(nothing_of_the_host_comes_back_from_a_void_function),
		cmocka_unit_test(a_load_that_may_fault_gives_0_at_a_bad_address),
		cmocka_unit_test(packet_loads_end_the_program_outside_the_packet),
		cmocka_unit_test(what_cannot_be_run_ends_the_program),
		cmocka_unit_test(running_off_the_end_ends_the_program),
		cmocka_unit_test(any_bytes_can_be_translated),
		cmocka_unit_test(a_jump_into_a_pair_runs_its_second_half),
		cmocka_unit_test(out_of_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
