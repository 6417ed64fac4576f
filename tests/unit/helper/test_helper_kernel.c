/* SPDX-License-Identifier: MIT */
/* Helpers against the kernel's: the same program, the same argument bytes, the same result. */
#include "test.h"
#include "fuzz/engines/gen.h"
#include "fuzz/engines/kernel.h"
#include "vm/vm.h"

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
#define MOV(d, i) INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define FP(d, i)                                                                                   \
	INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, 10, 0, 0),                                            \
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define CALL(id) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, id)
#define BYTES    96
#define AT       (-BYTES - 16)

static u64 seed = 12345;

static u32 pick(u32 n)
{
	return (u32)(gen_random(&seed) % n);
}

static bool no_kernel(void)
{
	const struct bpf_insn ret0[] = { MOV(0, 0), INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0) };
	u8 packet[64] = { 0 };
	u32 ret;

	return kernel_run(BPF_PROG_TYPE_SOCKET_FILTER, ret0, 2, packet, sizeof(packet), &ret);
}

/* Runs `code` with `bytes` at AT of the stack and the context in r6, here and in the kernel: the
 * two results. */
static void run_both(u32 type, const void *bytes, const struct bpf_insn *code, u32 n, u32 *here,
		     u32 *there)
{
	struct bpf_insn insns[128];
	u8 packet[64];
	struct prog_pkt pkt = { .data = (u64)(uintptr_t)packet,
				.data_end = (u64)(uintptr_t)packet + sizeof(packet) };
	struct prog *p;
	u32 cnt = 0, i;

	for (i = 0; i < sizeof(packet); i++)
		packet[i] = (u8)(3 * i);
	insns[cnt++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0);
	for (i = 0; i < BYTES; i += 8) {
		u64 v;

		memcpy(&v, (const u8 *)bytes + i, 8);
		insns[cnt++] = INSN(BPF_LD | BPF_IMM | BPF_DW, 1, 0, 0, (s32)v);
		insns[cnt++] = INSN(0, 0, 0, 0, (s32)(v >> 32));
		insns[cnt++] = INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 1, (s16)(AT + (s32)i), 0);
	}
	insns[cnt++] = INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 0);
	memcpy(&insns[cnt], code, n * sizeof(*code));
	cnt += n;
	insns[cnt++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	p = prog_new(insns, cnt);
	assert_int_equal(vm_install(p), 0);
	*here = (u32)prog_run(p, &pkt);
	vm_remove(p);
	prog_free(p);
	assert_int_equal(kernel_run(type, insns, cnt, packet, sizeof(packet), there), 0);
}

static void text_of_numbers(char *s, u32 size)
{
	static const char *const parts[] = { " ",
					     "\t",
					     "-",
					     "+",
					     "0",
					     "0x",
					     "0X",
					     "7",
					     "8",
					     "9",
					     "a",
					     "F",
					     "g",
					     "9223372036854775807",
					     "9223372036854775808",
					     "18446744073709551615",
					     "18446744073709551616",
					     "1777",
					     "ffff",
					     "7fffffffffffffff",
					     "" };
	u32 n = 1 + pick(5);

	memset(s, 0, size);
	while (n--)
		strncat(s, parts[pick(ARRAY_SIZE(parts))], size - strlen(s) - 1);
}

static void numbers_are_read_as_by_the_kernel(void **state)
{
	static const u32 bases[] = { 0, 8, 10, 16, 0, 10, 3, 32 };
	char s[BYTES];
	u32 n, here, there;

	(void)state;
	for (n = 0; n < 3000; n++) {
		bool is_signed = pick(2);
		struct bpf_insn code[] = {
			FP(1, AT),
			MOV(2, (s32)(1 + pick(BYTES))),
			MOV(3, (s32)bases[pick(8)]),
			FP(4, -8),
			CALL(is_signed ? BPF_FUNC_strtol : BPF_FUNC_strtoul),
			/* r0 = the result mixed with both halves of the value */
			INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 10, -8, 0),
			INSN(BPF_ALU64 | BPF_MUL | BPF_K, 0, 0, 0, 0x10001),
			INSN(BPF_ALU64 | BPF_XOR | BPF_X, 0, 1, 0, 0),
			INSN(BPF_ALU64 | BPF_RSH | BPF_K, 1, 0, 0, 32),
			INSN(BPF_ALU64 | BPF_MUL | BPF_K, 1, 0, 0, 31),
			INSN(BPF_ALU64 | BPF_XOR | BPF_X, 0, 1, 0, 0),
		};

		text_of_numbers(s, sizeof(s));
		run_both(BPF_PROG_TYPE_SOCKET_FILTER, s, code, ARRAY_SIZE(code), &here, &there);
		if (here != there)
			fail_msg("'%s' base %d size %d signed %d: %#x, kernel %#x", s, code[3].imm,
				 code[2].imm, is_signed, here, there);
	}
}

static void random_format(char *s, u32 size)
{
	static const char *const parts[] = {
		"%d", "%5d", "%-7i", "%u",  "%x",  "%X",   "%ld",  "%lld", "%llu", "%020llx",
		"%p", "%px", "%pK",  "%s",  "%9s", "%-9s", "%pks", "%c",   "%3c",  "%%",
		"a",  " ",   ",",    "\n",  "%+d", "% d",  "%pi4", "%pI4", "%pi6", "%pI6",
		"%l", "%n",  "%f",   "%",   "0",   "s",    "%hd",  "%08x", "%lu",  "%li",
		"%-", "%0",  "%.2d", "%pq", "x",   "%lX",  "%300d"
	};
	u32 n = 1 + pick(4);

	memset(s, 0, size);
	while (n--)
		strncat(s, parts[pick(ARRAY_SIZE(parts))], size - strlen(s) - 1);
}

static void formats_have_the_kernels_lengths_and_refusals(void **state)
{
	char s[BYTES];
	u32 n, here, there;

	(void)state;
	for (n = 0; n < 3000; n++) {
		struct bpf_insn code[] = {
			FP(1, AT),
			MOV(2, 48),
			/* Each argument is an address of text: good for %s and for addresses. */
			FP(3, AT + 48),
			FP(4, AT + 56),
			FP(5, AT + 64),
			CALL(BPF_FUNC_trace_printk),
		};
		u32 numbers = pick(3);

		if (numbers) { /* or a number, for conversions of numbers */
			code[3] = MOV(3, numbers == 1 ? -1 : 1234);
			code[4] = MOV(4, numbers == 1 ? INT32_MIN : 0);
			code[5] = MOV(4, 0);
			code[6] = MOV(4, 7);
			code[7] = MOV(5, 9);
			code[8] = MOV(5, (s32)pick(100000));
		}
		random_format(s, 48);
		/* The value of an address is as random as its length in decimal digits. */
		if (!numbers && (strpbrk(s, "diuxX") || strstr(s, "%c") || strstr(s, "%3c")))
			continue;
		/* A string at a number is no text; neither is an address. */
		if (numbers && (strchr(s, 's') || strstr(s, "%pi") || strstr(s, "%pI")))
			continue;
		strcpy(s + 48, "hello");
		strcpy(s + 56, "a b");
		memset(s + 64, 0, 32);
		run_both(BPF_PROG_TYPE_SOCKET_FILTER, s, code, ARRAY_SIZE(code), &here, &there);
		if (here != there)
			fail_msg("'%s' with %u: %d, kernel %d", s, numbers, (s32)here, (s32)there);
	}
}

static void checksums_are_the_kernels(void **state)
{
	u8 bytes[BYTES];
	u32 n, i, here, there;

	(void)state;
	for (n = 0; n < 2000; n++) {
		s32 from = (s32)pick(13), to = (s32)pick(13);
		struct bpf_insn code[] = { FP(1, AT),
					   MOV(2, 4 * from),
					   FP(3, AT + 48),
					   MOV(4, 4 * to),
					   MOV(5, (s32)gen_random(&seed)),
					   CALL(BPF_FUNC_csum_diff) };

		if (pick(4) == 0)
			code[2].imm = (s32)pick(48);
		for (i = 0; i < sizeof(bytes); i++)
			bytes[i] = (u8)gen_random(&seed);
		run_both(BPF_PROG_TYPE_SCHED_CLS, bytes, code, ARRAY_SIZE(code), &here, &there);
		/* Ones' complement has two zeros. */
		if (here != there && !(here % 0xffff == 0 && there % 0xffff == 0))
			fail_msg("csum_diff(%d, %d, %#x): %#x, kernel %#x", code[2].imm,
				 code[5].imm, (u32)code[6].imm, here, there);
	}
}

static void packet_bytes_are_the_kernels(void **state)
{
	u8 bytes[BYTES] = { 0 };
	u32 n, here, there;

	(void)state;
	for (n = 0; n < 500; n++) {
		static const s32 offs[] = { 0,  1,  30,   59,        60, 61,       63,
					    64, 65, 1000, INT32_MAX, -1, INT32_MIN };
		struct bpf_insn code[] = {
			INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0),
			MOV(2, offs[pick(ARRAY_SIZE(offs))]),
			FP(3, AT),
			MOV(4, (s32)(1 + pick(8))),
			CALL(BPF_FUNC_skb_load_bytes),
			INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 10, AT, 0),
			INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 1, 0, 0),
		};

		memset(bytes, 0x5a, sizeof(bytes));
		run_both(BPF_PROG_TYPE_SCHED_CLS, bytes, code, ARRAY_SIZE(code), &here, &there);
		if (here != there)
			fail_msg("%d bytes at %d: %#x, kernel %#x", code[4].imm, code[1].imm, here,
				 there);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_read_as_by_the_kernel),
		cmocka_unit_test(formats_have_the_kernels_lengths_and_refusals),
		cmocka_unit_test(checksums_are_the_kernels),
		cmocka_unit_test(packet_bytes_are_the_kernels),
	};

	if (no_kernel())
		return skip_all("this machine's kernel has no bpf(2)");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
