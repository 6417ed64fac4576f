/* SPDX-License-Identifier: MIT */
/* The emitter: Zydis decodes every form with every register to what was asked for. */
#include <Zydis/Zydis.h>

#include "test.h"

#include "code/x86.h"

static struct x86_buf buf;
static ZydisDecodedInstruction in;
static ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];

/* Exactly one instruction was emitted; decodes it and starts anew. */
static void decode(const char *mnemonic)
{
	ZydisDecoder d;

	assert_false(buf.oom);
	ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, buf.data, buf.len, &in, op)));
	assert_int_equal(in.length, buf.len);
	assert_string_equal(ZydisMnemonicGetString(in.mnemonic), mnemonic);
	buf.len = 0;
}

static ZydisRegister reg_of(int w, u8 reg)
{
	ZydisRegisterClass c = w == 1 ? ZYDIS_REGCLASS_GPR8 : w == 2 ? ZYDIS_REGCLASS_GPR16 :
			       w == 4 ? ZYDIS_REGCLASS_GPR32 : ZYDIS_REGCLASS_GPR64;

	/* ah to bh come before spl in Zydis' numbering of byte registers. */
	return ZydisRegisterEncode(c, w == 1 && reg >= 4 ? reg + 4 : reg);
}

static void is_reg(int n, int w, u8 reg)
{
	assert_int_equal(op[n].type, ZYDIS_OPERAND_TYPE_REGISTER);
	assert_int_equal(op[n].reg.value, reg_of(w, reg));
}

static void is_imm(int n, s64 imm)
{
	assert_int_equal(op[n].type, ZYDIS_OPERAND_TYPE_IMMEDIATE);
	assert_int_equal(op[n].imm.value.s, imm);
}

static void is_mem(int n, struct x86_mem m)
{
	assert_int_equal(op[n].type, ZYDIS_OPERAND_TYPE_MEMORY);
	assert_int_equal(op[n].mem.base, m.base == X86_NONE ? ZYDIS_REGISTER_NONE : reg_of(8, m.base));
	assert_int_equal(op[n].mem.index,
			 m.index == X86_NONE ? ZYDIS_REGISTER_NONE : reg_of(8, m.index));
	if (m.index != X86_NONE)
		assert_int_equal(op[n].mem.scale, 1 << m.shift);
	assert_int_equal(op[n].mem.disp.value, m.disp);
}

static const int widths[] = { 4, 8 };
static const char *const alu[] = { "add", "or", "adc", "sbb", "and", "sub", "xor", "cmp" };
static const s32 imms[] = { 0, 1, -1, 127, -128, 128, -129, 0x12345, INT32_MAX, INT32_MIN };

/* Memory operands of all shapes: with and without base, index, displacement. */
static struct x86_mem shape(u32 n)
{
	static const s32 disps[] = { 0, 1, -128, 127, 128, -129, 0x1000, INT32_MIN };
	struct x86_mem m = { (u8)(n % 17), X86_NONE, 0, disps[n / 17 % 8] };
	u32 index = n / 17 / 8 % 17;

	if (index != X86_RSP && index < 16) {
		m.index = (u8)index;
		m.shift = (u8)(n % 4);
	}
	return m;
}
#define SHAPES (17 * 8 * 17)

static void arithmetic_on_registers(void **state)
{
	(void)state;
	for (u8 o = 0; o < 8; o++)
		for (u32 n = 0; n < 2 * 256; n++) {
			int w = widths[n & 1];
			u8 a = n / 2 % 16, b = (u8)(n / 32);

			x86_alu_rr(&buf, o, w, a, b);
			decode(alu[o]);
			is_reg(0, w, a);
			is_reg(1, w, b);
		}
	for (u8 a = 0; a < 16; a++)
		for (u8 b = 0; b < 16; b++) {
			x86_alu_rr(&buf, X86_CMP, 1, a, b);
			decode("cmp");
			is_reg(0, 1, a);
			is_reg(1, 1, b);
		}
}

static void arithmetic_with_immediates(void **state)
{
	(void)state;
	for (u8 o = 0; o < 8; o++)
		for (u8 a = 0; a < 16; a++)
			for (u32 n = 0; n < 2 * ARRAY_SIZE(imms); n++) {
				int w = widths[n & 1];
				s32 imm = imms[n / 2];

				x86_alu_ri(&buf, o, w, a, imm);
				decode(alu[o]);
				is_reg(0, w, a);
				is_imm(1, imm);
				x86_imul_rri(&buf, w, a, 15 - a, imm);
				decode("imul");
				is_reg(0, w, a);
				is_reg(1, w, 15 - a);
				is_imm(2, imm);
			}
}

static void memory_operands_of_every_shape(void **state)
{
	static const int sizes[] = { 1, 2, 4, 8 };

	(void)state;
	for (u32 n = 0; n < SHAPES; n++) {
		struct x86_mem m = shape(n);
		u8 r = (u8)(n * 7 % 16);
		int size = sizes[n / 3 % 4], w = widths[n / 5 % 2];

		x86_load(&buf, size, r, m);
		decode(size < 4 ? "movzx" : "mov");
		is_reg(0, size == 8 ? 8 : 4, r);
		is_mem(1, m);
		assert_int_equal(op[1].size, size * 8);
		x86_load_sx(&buf, size, r, m);
		decode(size == 8 ? "mov" : size == 4 ? "movsxd" : "movsx");
		is_reg(0, 8, r);
		is_mem(1, m);
		assert_int_equal(op[1].size, size * 8);
		x86_store(&buf, size, m, r);
		decode("mov");
		is_mem(0, m);
		is_reg(1, size, r);
		x86_store_imm(&buf, size, m, -3);
		decode("mov");
		is_mem(0, m);
		assert_int_equal(op[0].size, size * 8);
		is_imm(1, -3);
		x86_lea(&buf, w, r, m);
		decode("lea");
		is_reg(0, w, r);
		is_mem(1, m);
		x86_alu_rm(&buf, X86_XOR, w, r, m);
		decode("xor");
		is_reg(0, w, r);
		is_mem(1, m);
		x86_alu_mr(&buf, X86_SUB, w, m, r);
		decode("sub");
		is_mem(0, m);
		is_reg(1, w, r);
		x86_alu_mi(&buf, X86_CMP, size, m, n & 1 ? 5 : size == 1 ? -5 : 500);
		decode("cmp");
		is_mem(0, m);
		assert_int_equal(op[0].size, size * 8);
		is_imm(1, n & 1 ? 5 : size == 1 ? -5 : 500);
		x86_imul_rm(&buf, w, r, m);
		decode("imul");
		is_mem(1, m);
	}
}

static void atomics_and_swapping_moves(void **state)
{
	(void)state;
	for (u32 n = 0; n < SHAPES; n++) {
		struct x86_mem m = shape(n);
		u8 r = (u8)(n * 5 % 16);
		int w = widths[n & 1];

		x86_xadd(&buf, w, m, r);
		decode("xadd");
		assert_true(in.attributes & ZYDIS_ATTRIB_HAS_LOCK);
		is_mem(0, m);
		is_reg(1, w, r);
		x86_cmpxchg(&buf, w, m, r);
		decode("cmpxchg");
		assert_true(in.attributes & ZYDIS_ATTRIB_HAS_LOCK);
		is_mem(0, m);
		is_reg(1, w, r);
		x86_xchg(&buf, w, m, r);
		decode("xchg");
		is_mem(0, m);
		is_reg(1, w, r);
		x86_lock(&buf);
		x86_alu_mr(&buf, X86_OR, w, m, r);
		decode("or");
		assert_true(in.attributes & ZYDIS_ATTRIB_HAS_LOCK);
		x86_movbe_load(&buf, w, r, m);
		decode("movbe");
		is_reg(0, w, r);
		is_mem(1, m);
		x86_movbe_store(&buf, w, m, r);
		decode("movbe");
		is_mem(0, m);
	}
}

static void moves_and_extensions(void **state)
{
	static const u64 values[] = { 0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
				      0xffffffff80000000, 0xffffffff7fffffff, UINT64_MAX };

	(void)state;
	for (u8 a = 0; a < 16; a++) {
		for (u8 b = 0; b < 16; b++) {
			x86_movzx_rr(&buf, 1, a, b);
			decode("movzx");
			is_reg(0, 4, a);
			is_reg(1, 1, b);
			x86_movsx_rr(&buf, 8, 1, a, b);
			decode("movsx");
			is_reg(0, 8, a);
			is_reg(1, 1, b);
			x86_movsx_rr(&buf, 4, 2, a, b);
			decode("movsx");
			is_reg(1, 2, b);
			x86_movsx_rr(&buf, 8, 4, a, b);
			decode("movsxd");
			is_reg(1, 4, b);
			x86_mov_rr(&buf, 8, a, b);
			decode("mov");
			is_reg(0, 8, a);
			is_reg(1, 8, b);
			x86_cmov(&buf, X86_L, 8, a, b);
			decode("cmovl");
			is_reg(0, 8, a);
			is_reg(1, 8, b);
			x86_test_rr(&buf, 1, a, b);
			decode("test");
			is_reg(0, 1, a);
			is_reg(1, 1, b);
		}
		for (u32 n = 0; n < ARRAY_SIZE(values); n++) {
			x86_mov_ri(&buf, a, values[n], false);
			decode("mov");
			assert_int_equal(op[0].reg.value,
					 reg_of(values[n] <= UINT32_MAX ? 4 : 8, a));
			if (values[n] <= UINT32_MAX) /* the rest is cleared */
				assert_int_equal((u32)op[1].imm.value.u, values[n]);
			else
				assert_int_equal(op[1].imm.value.u, values[n]);
		}
		x86_mov_ri(&buf, a, 0, true);
		decode("xor");
	}
}

static void shifts_and_single_operands(void **state)
{
	static const struct {
		enum x86_shift op;
		const char *name, *bmi2;
	} shifts[] = { { X86_SHL, "shl", "shlx" }, { X86_SHR, "shr", "shrx" }, { X86_SAR, "sar", "sarx" },
		       { X86_ROL, "rol", NULL }, { X86_ROR, "ror", NULL } };
	static const char *const unary[] = { [X86_NOT] = "not", [X86_NEG] = "neg", [X86_MUL] = "mul",
					     [X86_IMUL] = "imul", [X86_DIV] = "div",
					     [X86_IDIV] = "idiv" };

	(void)state;
	for (u32 n = 0; n < 16 * 16 * 2; n++) {
		u8 a = n % 16, b = (u8)(n / 16 % 16), k = (u8)(n * 3);
		int w = widths[n / 256];

		for (u32 s = 0; s < ARRAY_SIZE(shifts); s++) {
			x86_shift_ri(&buf, shifts[s].op, w, a, 1 + b);
			decode(shifts[s].name);
			is_reg(0, w, a);
			is_imm(1, 1 + b);
			x86_shift_cl(&buf, shifts[s].op, w, a);
			decode(shifts[s].name);
			is_reg(1, 1, X86_RCX);
			if (!shifts[s].bmi2)
				continue;
			x86_shiftx(&buf, shifts[s].op, w, a, b, k % 16);
			decode(shifts[s].bmi2);
			is_reg(0, w, a);
			is_reg(1, w, b);
			is_reg(2, w, k % 16);
		}
		x86_rorx(&buf, w, a, b, 13);
		decode("rorx");
		is_reg(0, w, a);
		is_reg(1, w, b);
		is_imm(2, 13);
		x86_unary(&buf, X86_NOT + n % 6, w, a);
		decode(unary[X86_NOT + n % 6]);
		is_reg(0, w, a);
		x86_bswap(&buf, w, a);
		decode("bswap");
		is_reg(0, w, a);
		x86_setcc(&buf, X86_NE, a);
		decode("setnz");
		is_reg(0, 1, a);
		x86_push(&buf, a);
		decode("push");
		is_reg(0, 8, a);
		x86_pop(&buf, a);
		decode("pop");
		is_reg(0, 8, a);
		x86_call_r(&buf, a);
		decode("call");
		is_reg(0, 8, a);
		x86_jmp_r(&buf, a);
		decode("jmp");
		is_reg(0, 8, a);
	}
}

static void tests_of_bits_take_the_shortest_form(void **state)
{
	(void)state;
	for (u8 a = 0; a < 16; a++) {
		x86_test_ri(&buf, 8, a, 0x7f);
		decode("test");
		is_reg(0, 1, a);
		is_imm(1, 0x7f);
		x86_test_ri(&buf, 8, a, 0x12345);
		decode("test");
		is_reg(0, 4, a);
		x86_test_ri(&buf, 8, a, -2);
		decode("test");
		is_reg(0, 8, a);
		is_imm(1, -2);
	}
}

static void branches_have_their_displacement_last(void **state)
{
	(void)state;
	assert_int_equal(x86_jmp32(&buf), 1);
	decode("jmp");
	assert_int_equal(x86_call32(&buf), 1);
	decode("call");
	assert_int_equal(x86_jcc32(&buf, X86_GE), 2);
	decode("jnl");
	assert_int_equal(x86_jcc8(&buf, X86_B), 1);
	decode("jb");
	assert_int_equal(x86_jmp8(&buf), 1);
	decode("jmp");
	assert_int_equal(x86_lea_rip(&buf, X86_R9), 3);
	decode("lea");
	x86_ret(&buf);
	decode("ret");
	x86_trap(&buf);
	decode("ud2");
}

static void nops_of_any_length_do_nothing(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= 9; n++) {
		x86_nop(&buf, n);
		assert_int_equal(buf.len, n);
		decode("nop");
	}
	x86_nop(&buf, 100);
	assert_int_equal(buf.len, 100);
	buf.len = 0;
}

static void *no_memory(void *old, size_t size)
{
	(void)old, (void)size;
	return NULL;
}

static void without_memory_nothing_is_written(void **state)
{
	void *(*real)(void *, size_t) = base_allocator;
	struct x86_buf b = { 0 };

	(void)state;
	base_allocator = no_memory;
	x86_mov_ri(&b, X86_RAX, 0x123456789abcdef0, false);
	x86_store_imm(&b, 8, x86_at(X86_RAX, 4000), 1);
	x86_jcc32(&b, X86_E);
	x86_lea_rip(&b, X86_RAX);
	base_allocator = real;
	assert_true(b.oom);
	assert_int_equal(b.len, 0);
	assert_null(b.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arithmetic_on_registers),
		cmocka_unit_test(arithmetic_with_immediates),
		cmocka_unit_test(memory_operands_of_every_shape),
		cmocka_unit_test(atomics_and_swapping_moves),
		cmocka_unit_test(moves_and_extensions),
		cmocka_unit_test(shifts_and_single_operands),
		cmocka_unit_test(tests_of_bits_take_the_shortest_form),
		cmocka_unit_test(branches_have_their_displacement_last),
		cmocka_unit_test(nops_of_any_length_do_nothing),
		cmocka_unit_test(without_memory_nothing_is_written),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	base_free(buf.data);
	return failed;
}
