/* SPDX-License-Identifier: MIT */
/* Assembler and disassembler against instructions written out by hand, and each other. */
#include "test.h"

#include "golden.h"

/* Assembles; the caller frees *insns. */
static int assemble(const char *source, struct bpf_insn **insns, u32 *cnt, struct text *why)
{
	*insns = NULL;
	*cnt = 0;
	return isa_assemble(source, insns, cnt, why);
}

static void check_bytes(const char *source, const struct golden *g)
{
	struct bpf_insn *insns, want[2];
	struct text why = { 0 };
	u32 cnt;

	memset(want, 0, sizeof(want));
	want[0].code = g->code;
	want[0].dst_reg = g->dst & 15;
	want[0].src_reg = g->src & 15;
	want[0].off = g->off;
	want[0].imm = g->imm;
	want[1].imm = g->next_imm;
	if (assemble(source, &insns, &cnt, &why))
		fail_msg("%s: %s", source, text_str(&why));
	assert_int_equal(cnt, g->code == 0x18 ? 2 : 1);
	if (memcmp(insns, want, cnt * sizeof(*insns)))
		fail_msg("%s: wrong bytes", source);
	base_free(insns);
	text_free(&why);
}

static void text_assembles_to_the_bytes_of_the_standard(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(golden); i++) {
		check_bytes(golden[i].text, &golden[i]);
		if (golden[i].llvm)
			check_bytes(golden[i].llvm, &golden[i]);
	}
}

static void bytes_print_as_the_kernel_prints_them(void **state)
{
	struct text out = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(golden); i++) {
		const struct golden *g = &golden[i];
		struct bpf_insn insn[2] = {
			{ .code = g->code, .dst_reg = g->dst & 15, .src_reg = g->src & 15,
			  .off = g->off, .imm = g->imm },
			{ .imm = g->next_imm },
		};

		text_reset(&out);
		isa_disasm(insn, 0, NULL, &out);
		assert_string_equal(text_str(&out), g->text);
	}
	text_free(&out);
}

static void every_opcode_of_the_standard_is_in_the_list(void **state)
{
	bool listed[256] = { false };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(golden); i++)
		listed[golden[i].code] = true;
	for (i = 0; i < 256; i++) {
		if (listed[i] != (isa_ops[i].kind != ISA_INVALID))
			fail_msg("opcode 0x%02zx: in the table %d, in the list %d", i,
				 isa_ops[i].kind != ISA_INVALID, listed[i]);
	}
}

/* Any instruction whose fields are in use survives printing and assembling unchanged. */
static u32 round_trip(const struct bpf_insn *insn, struct text *out)
{
	struct text why = { 0 };
	struct bpf_insn *again;
	u32 cnt;

	text_reset(out);
	isa_disasm(insn, 0, NULL, out);
	if (assemble(text_str(out), &again, &cnt, &why))
		fail_msg("'%s' does not assemble: %s", text_str(out), text_str(&why));
	if (cnt != isa_slots(insn) || memcmp(insn, again, cnt * sizeof(*again)))
		fail_msg("'%s' (opcode 0x%02x) assembles to something else", text_str(out), insn->code);
	base_free(again);
	return 1;
}

/* Is the form valid, wherever it jumps to? */
static bool valid_form(const struct bpf_insn *insn)
{
	struct bpf_insn prog[4] = { insn[0] };
	u32 n = 1;

	if (isa_is_ldimm64(insn))
		prog[n++] = insn[1];
	prog[n++] = (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT };
	if (isa_ops[insn->code].kind == ISA_JA || isa_ops[insn->code].kind == ISA_JCC) {
		if (isa_ops[insn->code].fields & ISA_F_OFF)
			prog[0].off = 0;
		else
			prog[0].imm = 0;
	} else if (isa_is_call(insn, BPF_PSEUDO_CALL)) {
		prog[0].imm = 0;
	} else if (isa_is_ldimm64(insn) && insn->src_reg == BPF_PSEUDO_FUNC) {
		prog[0].imm = 1;
	}
	return !isa_validate(prog, n, ISA_ALL, NULL);
}

static void every_valid_instruction_survives_a_round_trip(void **state)
{
	static const u8 regs[] = { 0, 1, 2, 3, 4, 5, 6, 9, 10 };
	static const s16 offs[] = { 0, 1, 8, 16, 32, -1, 1000, INT16_MAX, INT16_MIN };
	static const s32 imms[] = { 0, 1, 16, 31, 32, 63, 64, -1, 0x40, 0x50, 0xa0, 0x41, 0x51, 0xa1,
				    0xe1, 0xf1, 211, 212, INT32_MAX, INT32_MIN };
	struct text out = { 0 };
	u32 tested = 0;
	int code;
	size_t d, s, o, i;

	(void)state;
	for (code = 0; code < 256; code++)
		for (d = 0; d < ARRAY_SIZE(regs); d++)
			for (s = 0; s < ARRAY_SIZE(regs); s += 1 + (d & 1))
				for (o = 0; o < ARRAY_SIZE(offs); o++)
					for (i = 0; i < ARRAY_SIZE(imms); i++) {
						struct bpf_insn insn[2] = {
							{ .code = (u8)code, .dst_reg = regs[d] & 15,
							  .src_reg = regs[s] & 15, .off = offs[o],
							  .imm = imms[i] },
							{ .imm = s & 1 ? imms[o] : 0 },
						};

						if (valid_form(insn))
							tested += round_trip(insn, &out);
					}
	assert_true(tested > 50000);
	text_free(&out);
}

/* ---- the assembler's own syntax ------------------------------------------------------------------ */

static void labels_reach_forward_and_backward_over_wide_instructions(void **state)
{
	static const char source[] =
		"; a comment line\n"
		"start: r1 = 0x1122334455667788 ll // wide\n"
		"\tif r1 == 0 goto end # forward\n"
		"  goto start\n"
		"a: b: call func\r\n"
		"  gotol a\n"
		"  r2 = func func ll\n"
		"end:\n"
		"  exit\n"
		"func: r0 = 0\n"
		"  exit";
	struct bpf_insn *insns;
	struct text why = { 0 };
	u32 cnt;

	(void)state;
	assert_int_equal(assemble(source, &insns, &cnt, &why), 0);
	assert_int_equal(cnt, 11);
	assert_int_equal(insns[2].off, 5);       /* 2 -> 8 */
	assert_int_equal(insns[3].off, -4);      /* 3 -> 0 */
	assert_int_equal(insns[4].imm, 4);       /* 4 -> 9 */
	assert_int_equal(insns[4].src_reg, BPF_PSEUDO_CALL);
	assert_int_equal(insns[5].imm, -2);      /* 5 -> 4 */
	assert_int_equal(insns[6].imm, 2);       /* 6 -> 9 */
	assert_int_equal(isa_validate(insns, cnt, ISA_ALL, &why), 0);
	base_free(insns);
}

static void assembling_appends(void **state)
{
	struct bpf_insn *insns = NULL;
	u32 cnt = 0;

	(void)state;
	assert_int_equal(isa_assemble("r0 = 1", &insns, &cnt, NULL), 0);
	assert_int_equal(isa_assemble("x: r0 = 2\ngoto x", &insns, &cnt, NULL), 0);
	assert_int_equal(isa_assemble("nonsense", &insns, &cnt, NULL), -EINVAL);
	assert_int_equal(cnt, 3);
	assert_int_equal(insns[0].imm, 1);
	assert_int_equal(insns[2].off, -2);
	base_free(insns);
}

static void listings_of_bpftool_and_the_kernel_assemble(void **state)
{
	struct bpf_insn *insns;
	u32 cnt;

	(void)state;
	assert_int_equal(assemble("   0: (b7) r0 = 0\n"
				  "; int x = 5;\n"
				  "  10: (85) call pc+1#subprog\n"
				  "  11: (95) exit\n"
				  "if r1 == 0x0 goto +0x3 <main+0x20>", &insns, &cnt, NULL), 0);
	assert_int_equal(cnt, 4);
	assert_int_equal(insns[3].off, 3);
	base_free(insns);
}

static const char *name_call(void *arg, const struct bpf_insn *insn, u32 at)
{
	(void)insn;
	return at == 7 ? arg : NULL;
}

static void names_of_the_caller_are_printed(void **state)
{
	struct bpf_insn call = { .code = 0x85, .src_reg = 2, .imm = 5 };
	struct bpf_insn local = { .code = 0x85, .src_reg = 1, .imm = 5 };
	struct bpf_insn wide[2] = { { .code = 0x18, .dst_reg = 3, .src_reg = 1 }, { .imm = 0 } };
	struct isa_names names = { .call = name_call, .imm64 = name_call, .arg = "thing" };
	struct text out = { 0 };

	(void)state;
	isa_disasm(&call, 7, &names, &out);
	text_puts(&out, "|");
	isa_disasm(&local, 7, &names, &out);
	text_puts(&out, "|");
	isa_disasm(wide, 7, &names, &out);
	text_puts(&out, "|");
	isa_disasm(&call, 8, &names, &out);
	assert_string_equal(text_str(&out), "call thing#5|call pc+5#thing|r3 = thing|call kfunc#5");
	text_free(&out);
}

static void bad_text_is_refused_with_its_line_and_reason(void **state)
{
	static const struct {
		const char *source, *why;
	} bad[] = {
		{ "r0 = 1\n\nr11 = 1", "line 3: expected an instruction or a label, found 'r11 = 1'" },
		{ "frob r1", "line 1: expected an instruction or a label, found 'frob r1'" },
		{ "r1 = w2", "line 1: w2 where r2 is meant: both operands have the same width" },
		{ "r1 += 4294967296",
		  "line 1: 4294967296 is out of range, must be -2147483648 to 4294967295" },
		{ "r1 = 99999999999999999999 ll", "line 1: number does not fit in 64 bits" },
		{ "r1 = *(u64 *)(r2 + 32768)", "line 1: 32768 is out of range, must be -32768 to 32767" },
		{ "r1 = *(u128 *)(r2 + 0)",
		  "line 1: type 'u128' is not one of u8, u16, u32, u64, s8, s16, s32" },
		{ "*(s8 *)(r2 + 0) = r1", "line 1: type 's8' is not one of u8, u16, u32, u64" },
		{ "lock *(u8 *)(r2 + 0) += r1", "line 1: type 'u8' is not one of u32, u64" },
		{ "w1 = *(u64 *)(r2 + 0)", "line 1: w1 holds 32 bits, the access is of 64" },
		{ "goto nowhere", "line 1: label 'nowhere' is not defined" },
		{ "call nowhere", "line 1: label or helper 'nowhere' is not defined" },
		{ "call bpf_map_lookup_elem#2", "line 1: 'bpf_map_lookup_elem' is not helper 2" },
		{ "call +5", "line 1: write 'call pc+N' for a function or 'call N' for a helper" },
		{ "x: exit\nx: exit", "line 2: label 'x' is defined already in line 1" },
		{ "exit exit", "line 1: expected the end of the line, found 'exit'" },
		{ "r1 = -r2", "line 1: negation is in place: r1 = -r1" },
		{ "r1 = be16 r2", "line 1: byte swaps are in place: r1 = be16 r1" },
		{ "r1 = be24 r1", "line 1: be24: the width must be 16, 32 or 64" },
		{ "w1 = (s32)w1", "line 1: expected s8 or s16, found 's32)w1'" },
		{ "r1 = atomic_fetch_add((u32 *)(r2 + 0), r3)",
		  "line 1: the old value goes to r3, the register of the operand" },
		{ "r1 = cmpxchg_64(r2 + 0, r0, r3)",
		  "line 1: cmpxchg compares with r0 and leaves the old value in r0" },
		{ "r3 = *(u8 *)skb[5]", "line 1: packet loads write r0, not r3" },
		{ "if r1 = 5 goto +1", "line 1: expected a comparison such as == or s<, found '= 5 goto +1'" },
		{ "if r1 == 5", "line 1: expected 'goto' at the end of the line" },
		{ "goto 5", "line 1: expected a label, or a distance such as +3 or pc+3, found '5'" },
		{ "r1 =", "line 1: expected a number at the end of the line" },
	};
	struct bpf_insn *insns;
	struct text why = { 0 };
	size_t i;
	u32 cnt;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		text_reset(&why);
		assert_int_equal(assemble(bad[i].source, &insns, &cnt, &why), -EINVAL);
		assert_string_equal(text_str(&why), bad[i].why);
		assert_int_equal(cnt, 0);
		base_free(insns);
	}
	text_free(&why);
}

static void a_label_too_far_for_sixteen_bits_is_refused(void **state)
{
	struct text source = { 0 }, why = { 0 };
	struct bpf_insn *insns;
	u32 i, cnt;

	(void)state;
	text_puts(&source, "goto far\n");
	for (i = 0; i < 32768; i++)
		text_puts(&source, "r0 = 0\n");
	text_puts(&source, "far: exit\n");
	assert_int_equal(assemble(text_str(&source), &insns, &cnt, &why), -EINVAL);
	assert_string_equal(text_str(&why),
			    "line 1: label 'far' is 32768 instructions away, more than 16 bits hold: use gotol");
	base_free(insns);
	text_free(&source);
	text_free(&why);
}

/* ---- out of memory ------------------------------------------------------------------------------- */

static int allowed;

static void *failing_allocator(void *old, size_t size)
{
	if (!size) {
		free(old);
		return NULL;
	}
	return allowed-- > 0 ? realloc(old, size) : NULL;
}

static void running_out_of_memory_anywhere_is_an_error(void **state)
{
	void *(*saved)(void *, size_t) = base_allocator;
	static const char source[] = "a: r0 = 1\ngoto b\nb: call c\nexit\nc: r0 = 0\nexit\n"
				     "d: goto e\ne: goto d\nf: goto f\ng: goto g\nh: goto h\ni: goto i\n";
	struct bpf_insn *insns;
	int n, err = -ENOMEM;
	u32 cnt;

	(void)state;
	base_allocator = failing_allocator;
	for (n = 0; n < 100 && err == -ENOMEM; n++) {
		allowed = n;
		err = assemble(source, &insns, &cnt, NULL);
		base_free(insns);
	}
	base_allocator = saved;
	assert_int_equal(err, 0);
	assert_in_range(n, 4, 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_assembles_to_the_bytes_of_the_standard),
		cmocka_unit_test(bytes_print_as_the_kernel_prints_them),
		cmocka_unit_test(every_opcode_of_the_standard_is_in_the_list),
		cmocka_unit_test(every_valid_instruction_survives_a_round_trip),
		cmocka_unit_test(labels_reach_forward_and_backward_over_wide_instructions),
		cmocka_unit_test(assembling_appends),
		cmocka_unit_test(listings_of_bpftool_and_the_kernel_assemble),
		cmocka_unit_test(names_of_the_caller_are_printed),
		cmocka_unit_test(bad_text_is_refused_with_its_line_and_reason),
		cmocka_unit_test(a_label_too_far_for_sixteen_bits_is_refused),
		cmocka_unit_test(running_out_of_memory_anywhere_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
