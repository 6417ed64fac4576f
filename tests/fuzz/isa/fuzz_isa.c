/* SPDX-License-Identifier: MIT */
/*
 * Random bytes and text for the form check, the disassembler and the assembler. As a test:
 * `fuzz_isa ROUNDS [SEED]`. As a libFuzzer target: compile with -fsanitize=fuzzer -DFERRY_LIBFUZZER.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isa/isa.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static u32 programs, texts; /* that were accepted */

static void broken(const char *what, const char *text)
{
	fprintf(stderr, "%s: '%s'\n", what, text);
	abort();
}

/* What the form check accepts, prints; what is printed, assembles to the same bytes. */
static void check_bytes(const u8 *data, size_t size)
{
	u32 cnt = (u32)(size / sizeof(struct bpf_insn)), at, n = 0;
	struct bpf_insn *insns = base_array((size_t)cnt + 1, sizeof(*insns)), *again = NULL;
	struct text out = { 0 }, why = { 0 };
	bool valid;

	if (!insns)
		abort();
	memcpy(insns, data, cnt * sizeof(*insns));
	valid = isa_validate(insns, cnt, ISA_ALL, &why) == 0;
	if (valid != !why.len || strchr(text_str(&why), '\n') ||
	    (!valid && strncmp(text_str(&why), "insn ", 5)))
		broken("a reason for what is valid, or none for what is not", text_str(&why));
	programs += valid;
	/* Printing takes any bytes; the array has room for a second half behind the last. */
	for (at = 0; at < cnt; at += isa_slots(&insns[at])) {
		isa_disasm(&insns[at], at, NULL, &out);
		text_puts(&out, "\n");
	}
	text_reset(&why);
	if (valid && isa_assemble(text_str(&out), &again, &n, &why))
		broken(text_str(&why), text_str(&out));
	if (valid && (n != cnt || memcmp(insns, again, n * sizeof(*insns))))
		broken("assembles to something else", text_str(&out));
	base_free(insns);
	base_free(again);
	text_free(&out);
	text_free(&why);
}

/* What assembles, prints and assembles again to the same; what does not has a line and a reason. */
static void check_text(const u8 *data, size_t size)
{
	char *source = base_alloc(size + 1);
	struct bpf_insn *insns = NULL, *again = NULL;
	struct text out = { 0 }, why = { 0 };
	u32 cnt = 0, n = 0, at;
	int err;

	if (!source)
		abort();
	memcpy(source, data, size);
	err = isa_assemble(source, &insns, &cnt, &why);
	if (err && (cnt || strncmp(text_str(&why), "line ", 5)))
		broken("refused without a line", text_str(&why));
	texts += !err;
	for (at = 0; !err && at < cnt; at += isa_slots(&insns[at])) {
		if (isa_ops[insns[at].code].kind == ISA_INVALID)
			broken("assembled to no instruction", source);
		isa_disasm(&insns[at], at, NULL, &out);
		text_puts(&out, "\n");
	}
	if (!err && isa_assemble(text_str(&out), &again, &n, &why))
		broken(text_str(&why), text_str(&out));
	if (!err && (n != cnt || (n && memcmp(insns, again, (size_t)n * sizeof(*insns)))))
		broken("assembles to something else", source);
	base_free(source);
	base_free(insns);
	base_free(again);
	text_free(&out);
	text_free(&why);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	if (size && data[0] & 1)
		check_text(data + 1, size - 1);
	else if (size)
		check_bytes(data + 1, size - 1);
	return 0;
}

#ifndef FERRY_LIBFUZZER

static u64 seed;

static u32 rnd(u32 below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (u32)((seed >> 32) % below);
}

static s32 rnd_imm(void)
{
	static const s32 edges[] = { 0, 1, -1, 16, 32, 64, 0x40, 0x50, 0xa0, 0x41, 0x51, 0xa1, 0xe1, 0xf1,
				     INT32_MAX, INT32_MIN };

	switch (rnd(4)) {
	case 0: return (s32)rnd(UINT32_MAX);
	case 1: return (s32)rnd(70);
	default: return edges[rnd(ARRAY_SIZE(edges))];
	}
}

/* A program that is mostly valid: each instruction is drawn until the check takes it. */
static void rnd_program(struct bpf_insn *prog, u32 cnt)
{
	struct bpf_insn one[3];
	u32 at = 0, tries;

	while (at + 1 < cnt) {
		for (tries = 0; tries < 200; tries++) {
			struct bpf_insn *i = one;
			s32 jump = (s32)rnd(cnt) - (s32)at - 1;

			memset(one, 0, sizeof(one));
			i->code = (u8)rnd(256);
			i->dst_reg = rnd(3) ? rnd(11) & 15 : 0;
			i->src_reg = rnd(3) ? rnd(11) & 15 : 0;
			i->off = (s16)(rnd(2) ? 0 : rnd(3) ? (s32)rnd(65536) : 8 << rnd(3));
			i->imm = rnd_imm();
			if (isa_ops[i->code].kind == ISA_JCC || isa_ops[i->code].kind == ISA_JA)
				i->off = 0;
			if (i->code == (BPF_JMP32 | BPF_JA) || isa_is_call(i, 1))
				i->imm = 0;
			one[isa_slots(i)].code = BPF_JMP | BPF_EXIT;
			if (isa_is_ldimm64(i) && (i->src_reg == BPF_PSEUDO_FUNC || at + 3 > cnt))
				continue;
			if (isa_validate(one, isa_slots(i) + 1, ISA_ALL, NULL))
				continue;
			if (isa_ops[i->code].kind == ISA_JCC || i->code == (BPF_JMP | BPF_JA))
				i->off = (s16)jump;
			else if (i->code == (BPF_JMP32 | BPF_JA) || isa_is_call(i, 1))
				i->imm = rnd(20) ? jump : rnd_imm();
			break;
		}
		memcpy(&prog[at], one, isa_slots(one) * sizeof(*one));
		at += isa_slots(one);
	}
	prog[cnt - 1] = (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT };
}

/* Text of a program, cut and pasted: pieces of valid lines in wrong places. */
static size_t rnd_text(char *out, size_t room)
{
	static const char *const pieces[] = {
		"r0", "r10", "w1", "r11", " = ", " += ", " s/= ", "0x", "5", "-1", "18446744073709551615",
		"99999999999999999999", "\n", "*(u64 *)(", "*(s8 *)(", "(r1 +8)", "(s16)", "lock ", "goto ", "pc+3",
		"if ", " == ", " s>= ", "exit\n", "call ", "kfunc#3@1", "map[0] ll", "map_value[1]+", "ll",
		"l:", "l", "l2:", "l2", "be16 ", "bswap64 ", "atomic64_fetch_add((u64 *)(r1 +0), r2)",
		"cmpxchg32_32(", "skb[", "]", ")", "#", ";", "//", "r1 = func l ll\n", "gotol l\n", "r0 = 1\n",
		"r3 = atomic_xchg((u32 *)(r10 -8), r3)\n", "r1 = -r1\n", "  7: (95) ", "bpf_map_lookup_elem#1", "\xff", " ",
	};
	size_t n = 0, len;
	u32 count = rnd(40);

	while (count--) {
		const char *p = pieces[rnd(ARRAY_SIZE(pieces))];

		len = strlen(p);
		if (n + len >= room)
			break;
		memcpy(out + n, p, len);
		n += len;
	}
	if (n && !rnd(4))
		out[rnd((u32)n)] = (char)(1 + rnd(255));
	return n;
}

static void one_round(u32 round)
{
	static struct bpf_insn prog[64];
	static char text[4096];
	struct text listing = { 0 };
	u32 cnt = 1 + rnd(ARRAY_SIZE(prog)), at, i;
	u8 *bytes = (u8 *)prog;

	rnd_program(prog, cnt);
	check_bytes(bytes, cnt * sizeof(*prog));
	for (at = 0; at < cnt; at += isa_slots(&prog[at])) {
		isa_disasm(&prog[at], at, NULL, &listing);
		text_puts(&listing, "\n");
	}
	for (i = 0; i < 4; i++) { /* its text with some characters changed */
		if (listing.len)
			listing.s[rnd((u32)listing.len)] = (char)(32 + rnd(95));
		check_text((const u8 *)text_str(&listing), listing.len);
	}
	text_free(&listing);
	for (i = 0; i < 8; i++) { /* its bytes with some bits changed */
		bytes[rnd(cnt * sizeof(*prog))] ^= (u8)(1u << rnd(8));
		check_bytes(bytes, cnt * sizeof(*prog));
	}
	if (round % 4 == 0) {
		for (i = 0; i < cnt * sizeof(*prog); i++)
			bytes[i] = (u8)rnd(256);
		check_bytes(bytes, cnt * sizeof(*prog));
	}
	for (i = 0; i < 8; i++)
		check_text((const u8 *)text, rnd_text(text, sizeof(text)));
}

int main(int argc, char **argv)
{
	u32 rounds = argc > 1 ? (u32)strtoul(argv[1], NULL, 0) : 1000, i;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0) | 1 : 0x9e3779b97f4a7c15ull;
	printf("1..1\n");
	for (i = 0; i < rounds; i++)
		one_round(i);
	printf("ok 1 - %u rounds, %u valid programs, %u texts that assemble\n", rounds, programs, texts);
	return 0;
}

#endif
