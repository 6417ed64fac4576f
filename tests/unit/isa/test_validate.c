/* SPDX-License-Identifier: MIT */
/* The form check against the rules of RFC 9669 written a second time, without the table. */
#include "test.h"

#include "isa/isa.h"

#define EXIT ((struct bpf_insn){ .code = BPF_JMP | BPF_EXIT })
#define NOP ((struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K })

/* ---- the rules, by class, as the standard's text gives them ---------------------------------------- */

struct faults {
	u32 n;
	const char *word; /* what the reason must contain */
};

static void fault(struct faults *f, bool is, const char *word)
{
	if (is) {
		f->n++;
		f->word = word;
	}
}

static void rules_alu(const struct bpf_insn *i, struct faults *f)
{
	bool wide = BPF_CLASS(i->code) == BPF_ALU64, x = BPF_SRC(i->code) == BPF_X;
	int op = BPF_OP(i->code), bits = wide ? 64 : 32;

	if (op > BPF_END || (op == BPF_NEG && x) || (op == BPF_END && wide && x)) {
		fault(f, true, "unknown opcode");
		return;
	}
	fault(f, i->dst_reg > 10, "does not exist");
	fault(f, i->dst_reg == 10, "read-only");
	if (op == BPF_NEG || op == BPF_END) {
		fault(f, i->src_reg, "reserved field src_reg");
		fault(f, i->off, "reserved field off");
		if (op == BPF_NEG)
			fault(f, i->imm, "reserved field imm");
		else
			fault(f, i->imm != 16 && i->imm != 32 && i->imm != 64, "width is");
		return;
	}
	if (x) {
		fault(f, i->src_reg > 10, "does not exist");
		fault(f, i->imm, "reserved field imm");
	} else {
		fault(f, i->src_reg, "reserved field src_reg");
	}
	if (op == BPF_DIV || op == BPF_MOD)
		fault(f, i->off != 0 && i->off != 1, "offset is");
	else if (op == BPF_MOV && x)
		fault(f, i->off != 0 && i->off != 8 && i->off != 16 && !(wide && i->off == 32),
		      "offset is");
	else
		fault(f, i->off, "reserved field off");
	if (!x && (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH))
		fault(f, i->imm < 0 || i->imm >= bits, "shift by");
}

static void rules_jmp(const struct bpf_insn *i, struct faults *f)
{
	bool wide = BPF_CLASS(i->code) == BPF_JMP, x = BPF_SRC(i->code) == BPF_X;
	int op = BPF_OP(i->code);

	if (op > BPF_JSLE || ((op == BPF_CALL || op == BPF_EXIT) && (x || !wide)) ||
	    (op == BPF_JA && x)) {
		fault(f, true, "unknown opcode");
		return;
	}
	if (op == BPF_JA || op == BPF_CALL || op == BPF_EXIT) {
		fault(f, i->dst_reg, "reserved field dst_reg");
		if (op == BPF_CALL)
			fault(f, i->src_reg > 2, "call: src_reg is");
		else
			fault(f, i->src_reg, "reserved field src_reg");
		if (op == BPF_EXIT || (op == BPF_JA && wide))
			fault(f, i->imm, "reserved field imm");
		if (op == BPF_EXIT || (op == BPF_JA && !wide) || (op == BPF_CALL && i->src_reg != 2))
			fault(f, i->off, "reserved field off");
		return;
	}
	fault(f, i->dst_reg > 10, "does not exist");
	if (x) {
		fault(f, i->src_reg > 10, "does not exist");
		fault(f, i->imm, "reserved field imm");
	} else {
		fault(f, i->src_reg, "reserved field src_reg");
	}
}

static bool atomic_known(s32 imm)
{
	return imm == 0 || imm == 0x40 || imm == 0x50 || imm == 0xa0 || imm == 1 || imm == 0x41 ||
	       imm == 0x51 || imm == 0xa1 || imm == 0xe1 || imm == 0xf1;
}

static void rules_store(const struct bpf_insn *i, struct faults *f)
{
	int mode = BPF_MODE(i->code), size = BPF_SIZE(i->code);
	bool x = BPF_CLASS(i->code) == BPF_STX;
	bool atomic = x && mode == 0xc0 && (size == BPF_W || size == BPF_DW);

	if (mode != BPF_MEM && !atomic) {
		fault(f, true, "unknown opcode");
		return;
	}
	fault(f, i->dst_reg > 10, "does not exist");
	if (!x) {
		fault(f, i->src_reg, "reserved field src_reg");
		return;
	}
	fault(f, i->src_reg > 10, "does not exist");
	if (!atomic) {
		fault(f, i->imm, "reserved field imm");
		return;
	}
	fault(f, !atomic_known(i->imm), "unknown atomic operation");
	fault(f, atomic_known(i->imm) && i->imm & 1 && i->imm != 0xf1 && i->src_reg == 10, "read-only");
}

static void rules_load(const struct bpf_insn *i, struct faults *f)
{
	int mode = BPF_MODE(i->code), size = BPF_SIZE(i->code);

	if (BPF_CLASS(i->code) == BPF_LDX) {
		if (mode != BPF_MEM && !(mode == 0x80 && size != BPF_DW)) {
			fault(f, true, "unknown opcode");
			return;
		}
		fault(f, i->dst_reg > 10, "does not exist");
		fault(f, i->dst_reg == 10, "read-only");
		fault(f, i->src_reg > 10, "does not exist");
		fault(f, i->imm, "reserved field imm");
		return;
	}
	if (mode == BPF_IMM && size == BPF_DW) {
		fault(f, i->dst_reg > 10, "does not exist");
		fault(f, i->dst_reg == 10, "read-only");
		fault(f, i->src_reg > 6, "lddw: src_reg is");
		fault(f, i->off, "reserved field off");
		return;
	}
	if ((mode != BPF_ABS && mode != BPF_IND) || size == BPF_DW) {
		fault(f, true, "unknown opcode");
		return;
	}
	fault(f, i->dst_reg, "reserved field dst_reg");
	fault(f, i->off, "reserved field off");
	if (mode == BPF_ABS)
		fault(f, i->src_reg, "reserved field src_reg");
	else
		fault(f, i->src_reg > 10, "does not exist");
}

static struct faults rules(const struct bpf_insn *i)
{
	struct faults f = { 0, NULL };

	switch (BPF_CLASS(i->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		rules_alu(i, &f);
		break;
	case BPF_JMP:
	case BPF_JMP32:
		rules_jmp(i, &f);
		break;
	case BPF_ST:
	case BPF_STX:
		rules_store(i, &f);
		break;
	default:
		rules_load(i, &f);
	}
	return f;
}

#define AT 4
#define AFTER 70

/* Puts it into a program where every jump of -5 to 69 is fine. */
static void check_one(struct bpf_insn i, struct bpf_insn *prog, u32 cnt, struct text *why)
{
	struct faults f = rules(&i);
	int err;

	prog[AT] = i;
	prog[AT + 1] = NOP;
	if (i.code == (BPF_LD | BPF_IMM | BPF_DW))
		prog[AT + 1] = (struct bpf_insn){ 0 };
	text_reset(why);
	err = isa_validate(prog, cnt, ISA_ALL, why);
	if ((err != 0) != (f.n != 0))
		fail_msg("%02x dst %d src %d off %d imm %d: expected %s, got %s", i.code, i.dst_reg,
			 i.src_reg, i.off, i.imm, f.n ? f.word : "valid", err ? text_str(why) : "valid");
	if (!f.n)
		return;
	assert_true(err == -EINVAL || (err == -EACCES && strstr(text_str(why), "r10")));
	assert_int_equal(strncmp(text_str(why), "insn 4: ", 8), 0);
	assert_null(strchr(text_str(why), '\n'));
	if (f.n == 1 && !strstr(text_str(why), f.word))
		fail_msg("%02x dst %d src %d off %d imm %d: expected '%s', got '%s'", i.code, i.dst_reg,
			 i.src_reg, i.off, i.imm, f.word, text_str(why));
}

static void every_opcode_with_every_kind_of_field_is_judged_as_the_standard_says(void **state)
{
	static const u8 regs[] = { 0, 1, 2, 3, 6, 7, 10, 11, 15 };
	static const s16 offs[] = { 0, 1, 2, 8, 16, 32, -2 };
	static const s32 imms[] = { 0, 1, 5, 16, 31, 32, 63, 64, 0x40, 0x50, 0xa0, 0x41, 0x51, 0xa1,
				    0xe0, 0xe1, 0xf0, 0xf1, 0x20, -1, INT32_MIN };
	struct bpf_insn prog[AT + AFTER];
	struct text why = { 0 };
	size_t d, s, o, m, n;
	int code;

	(void)state;
	for (n = 0; n < ARRAY_SIZE(prog); n++)
		prog[n] = EXIT;
	for (code = 0; code < 256; code++)
		for (d = 0; d < ARRAY_SIZE(regs); d++)
			for (s = 0; s < ARRAY_SIZE(regs); s++)
				for (o = 0; o < ARRAY_SIZE(offs); o++)
					for (m = 0; m < ARRAY_SIZE(imms); m += 1 + (d > 3)) {
						struct bpf_insn i = { (u8)code, regs[d] & 15, regs[s] & 15,
								      offs[o], imms[m] };
						/* Where it goes is not the subject. */
						if (i.code == 0x06 && (imms[m] > 64 || imms[m] < -1))
							continue;
						/* It divides the program: others fall off their end. */
						if ((i.code == 0x18 && i.src_reg == 4) ||
						    (i.code == 0x85 && i.src_reg == 1))
							continue;
						check_one(i, prog, ARRAY_SIZE(prog), &why);
					}
	text_free(&why);
}

/* ---- where control goes ---------------------------------------------------------------------------- */

static const struct {
	const char *source, *why; /* NULL: valid */
} flows[] = {
	{ "exit", NULL },
	{ "x: goto x", NULL },
	{ "x: gotol x", NULL },
	{ "r0 = 0", "insn 0: falls off the end of the program: the last instruction must be exit or goto" },
	{ "r0 = 0\nif r0 == 0 goto -2",
	  "insn 1: falls off the end of the program: the last instruction must be exit or goto" },
	{ "exit\nr0 = 5 ll",
	  "insn 1: falls off the end of the program: the last instruction must be exit or goto" },
	{ "goto +1\nexit", "insn 0: jump to 2 is outside the program of 2 instructions" },
	{ "goto -2\nexit", "insn 0: jump to -1 is outside the program of 2 instructions" },
	{ "gotol +2147483647\nexit", "insn 0: jump to 2147483648 is outside the program of 2 instructions" },
	{ "if r0 == 0 goto +1\nr1 = 5 ll\nexit",
	  "insn 0: jump to 2 lands in the middle of the 16-byte instruction at 1" },
	{ "if r0 == 0 goto +2\nr1 = 5 ll\nexit", NULL },
	{ "call pc+1\nr1 = 5 ll\nexit", "insn 0: call to 2 lands in the middle of the 16-byte instruction at 1" },
	{ "call pc+5\nexit", "insn 0: call to 6 is outside the program of 2 instructions" },
	{ "call pc-2\nexit", "insn 0: call to -1 is outside the program of 2 instructions" },
	{ "call f\nexit\nf: exit", NULL },
	{ "call f\nf: exit", "insn 0: falls off the end of the function: the last instruction must be exit or goto" },
	{ "call f\nexit\nf: r0 = 0",
	  "insn 2: falls off the end of the program: the last instruction must be exit or goto" },
	{ "call f\ngoto g\nf: r0 = 0\ng: exit", "insn 1: jump to 3 leaves the function at 0 to 1" },
	{ "call f\nx: exit\nf: goto x", "insn 2: jump to 1 leaves the function at 2 to 2" },
	{ "r1 = func f ll\nexit\nf: exit", NULL },
	{ "r1 = func pc+9 ll\nexit", "insn 0: function reference to 10 is outside the program of 3 instructions" },
	{ "r1 = func f ll\nf: r0 = 0\nexit",
	  "insn 0: falls off the end of the function: the last instruction must be exit or goto" },
	{ "call pc-1\nexit", NULL }, /* recursion is not a matter of form */
};

static void control_flow_stays_in_the_program_and_in_its_functions(void **state)
{
	struct bpf_insn *insns;
	struct text why = { 0 };
	size_t i;
	u32 cnt;
	int err;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(flows); i++) {
		insns = NULL;
		cnt = 0;
		text_reset(&why);
		assert_int_equal(isa_assemble(flows[i].source, &insns, &cnt, &why), 0);
		err = isa_validate(insns, cnt, ISA_ALL, &why);
		assert_int_equal(err, flows[i].why ? -EINVAL : 0);
		assert_string_equal(text_str(&why), flows[i].why ? flows[i].why : "");
		base_free(insns);
	}
	text_free(&why);
}

static void the_two_halves_of_a_wide_load_are_checked(void **state)
{
	struct bpf_insn prog[3] = { { .code = 0x18 }, { .imm = 7 }, EXIT };
	struct text why = { 0 };
	int n;

	(void)state;
	assert_int_equal(isa_validate(prog, 3, ISA_ALL, NULL), 0);
	prog[0].src_reg = BPF_PSEUDO_MAP_FD;
	assert_int_equal(isa_validate(prog, 3, ISA_ALL, &why), -EINVAL);
	assert_string_equal(text_str(&why),
			    "insn 0: lddw with src_reg 1: reserved second immediate is 7, must be 0");
	prog[0].src_reg = BPF_PSEUDO_MAP_VALUE;
	assert_int_equal(isa_validate(prog, 3, ISA_ALL, NULL), 0);
	for (n = 0; n < 4; n++) {
		prog[1] = (struct bpf_insn){ .code = n == 0 ? 0x95 : 0, .dst_reg = n == 1,
					     .src_reg = n == 2, .off = n == 3 };
		text_reset(&why);
		assert_int_equal(isa_validate(prog, 3, ISA_ALL, &why), -EINVAL);
		assert_string_equal(text_str(&why),
			"insn 0: lddw: opcode, registers and offset of the second half must be 0");
	}
	text_reset(&why);
	assert_int_equal(isa_validate(prog, 1, ISA_ALL, &why), -EINVAL);
	assert_string_equal(text_str(&why), "insn 0: lddw takes 16 bytes but is the last instruction");
	text_free(&why);
}

static void size_of_the_program_is_bounded(void **state)
{
	struct bpf_insn *prog = base_array(ISA_MAX_INSNS + 1, sizeof(*prog));
	u32 i;

	(void)state;
	assert_non_null(prog);
	for (i = 0; i <= ISA_MAX_INSNS; i++)
		prog[i] = EXIT;
	assert_int_equal(isa_validate(prog, 0, ISA_ALL, NULL), -EINVAL);
	assert_int_equal(isa_validate(prog, ISA_MAX_INSNS, ISA_ALL, NULL), 0);
	assert_int_equal(isa_validate(prog, ISA_MAX_INSNS + 1, ISA_ALL, NULL), -EINVAL);
	base_free(prog);
}

static void an_instruction_outside_the_allowed_groups_is_refused(void **state)
{
	static const struct {
		const char *source;
		u32 group; /* the smallest that has it */
		const char *name;
	} rows[] = {
		{ "w1 += w2", ISA_BASE32, "base32" },       { "r1 += r2", ISA_BASE64, "base64" },
		{ "w1 *= w2", ISA_DIVMUL32, "divmul32" },   { "r1 *= r2", ISA_DIVMUL64, "divmul64" },
		{ "w1 /= 3", ISA_DIVMUL32, "divmul32" },    { "r1 s%= 3", ISA_DIVMUL64, "divmul64" },
		{ "r1 = *(u32 *)(r2 +0)", ISA_BASE32, "base32" },
		{ "r1 = *(u64 *)(r2 +0)", ISA_BASE64, "base64" },
		{ "*(u64 *)(r2 +0) = 1", ISA_BASE64, "base64" },
		{ "r1 = be32 r1", ISA_BASE32, "base32" },   { "r1 = be64 r1", ISA_BASE64, "base64" },
		{ "r1 = bswap16 r1", ISA_BASE32, "base32" },
		{ "r1 = 5 ll", ISA_BASE64, "base64" },
		{ "if w1 == w2 goto +0", ISA_BASE32, "base32" },
		{ "if r1 == r2 goto +0", ISA_BASE64, "base64" },
		{ "gotol +0", ISA_BASE32, "base32" },       { "call 5", ISA_BASE32, "base32" },
		{ "lock *(u32 *)(r1 +0) += r2", ISA_ATOMIC32, "atomic32" },
		{ "r2 = atomic64_xchg((u64 *)(r1 +0), r2)", ISA_ATOMIC64, "atomic64" },
		{ "r0 = *(u8 *)skb[0]", ISA_PACKET, "packet" },
	};
	static const u32 includes[][2] = { { ISA_BASE32, ISA_BASE64 }, { ISA_ATOMIC32, ISA_ATOMIC64 },
					   { ISA_DIVMUL32, ISA_DIVMUL64 } };
	struct bpf_insn *insns;
	struct text why = { 0 }, want = { 0 };
	size_t i, n;
	u32 cnt;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		u32 others = ISA_ALL & ~rows[i].group;

		insns = NULL;
		cnt = 0;
		assert_int_equal(isa_assemble(rows[i].source, &insns, &cnt, NULL), 0);
		assert_int_equal(isa_assemble("exit", &insns, &cnt, NULL), 0);
		assert_int_equal(isa_validate(insns, cnt, ISA_BASE32 | rows[i].group, NULL), 0);
		for (n = 0; n < ARRAY_SIZE(includes); n++) {
			if (rows[i].group == includes[n][0])
				others &= ~includes[n][1];
		}
		if (rows[i].group != ISA_BASE32) {
			text_reset(&why);
			text_reset(&want);
			assert_int_equal(isa_validate(insns, cnt, others, &why), -EINVAL);
			text_printf(&want, "is in conformance group %s, not allowed here", rows[i].name);
			assert_non_null(strstr(text_str(&why), text_str(&want)));
		}
		base_free(insns);
	}
	text_free(&why);
	text_free(&want);
}

static void *no_memory(void *old, size_t size)
{
	if (!size)
		free(old);
	return NULL;
}

static void no_memory_is_an_error(void **state)
{
	void *(*saved)(void *, size_t) = base_allocator;
	struct bpf_insn prog = EXIT;
	int err;

	(void)state;
	base_allocator = no_memory;
	err = isa_validate(&prog, 1, ISA_ALL, NULL);
	base_allocator = saved;
	assert_int_equal(err, -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_opcode_with_every_kind_of_field_is_judged_as_the_standard_says),
		cmocka_unit_test(control_flow_stays_in_the_program_and_in_its_functions),
		cmocka_unit_test(the_two_halves_of_a_wide_load_are_checked),
		cmocka_unit_test(size_of_the_program_is_bounded),
		cmocka_unit_test(an_instruction_outside_the_allowed_groups_is_refused),
		cmocka_unit_test(no_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
