/* SPDX-License-Identifier: MIT */
/* The form check and the disassembler against the kernel of this machine. */
#include "test.h"

#include <unistd.h>

#include "golden.h"
#include "kernel_bpf.h"

static char log_buf[1 << 20];

/* The kernel's verdict: 0 or -errno; its log is in log_buf. */
static int kernel_load(const struct bpf_insn *insns, u32 cnt)
{
	union bpf_attr attr;
	long fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	attr.insns = (u64)(uintptr_t)insns;
	attr.insn_cnt = cnt;
	attr.license = (u64)(uintptr_t)"GPL";
	attr.log_level = 2;
	attr.log_buf = (u64)(uintptr_t)log_buf;
	attr.log_size = sizeof(log_buf);
	log_buf[0] = '\0';
	fd = raw_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd < 0)
		return (int)fd;
	close((int)fd);
	return 0;
}

/* What the kernel's log has for instruction `at`: "  7: 0123...... (07) r1 += 5". */
static bool log_has(u32 at, const char *text, u8 code)
{
	char want[256];
	const char *line = strstr(log_buf, "Live regs before insn:"), *end, *found;

	snprintf(want, sizeof(want), "(%02x) %s\n", code, text);
	for (; line && *line; line = *end ? end + 1 : end) {
		end = line + strcspn(line, "\n");
		if ((u32)strtoul(line, NULL, 10) == at && memchr(line, ':', (size_t)(end - line))) {
			found = strstr(line, want);
			if (found && found < end)
				return true;
		}
	}
	return false;
}

/* Ours that has no counterpart: the kernel prints the resolved address or a number only. */
static bool kernel_prints_otherwise(const struct golden *g)
{
	return (g->code == 0x18 && g->src) || (g->code == 0x85 && g->src);
}

static void the_kernel_prints_the_same_text(void **state)
{
	struct bpf_insn prog[8];
	char text[128];
	size_t i;
	u32 n;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(golden); i++) {
		const struct golden *g = &golden[i];

		if (kernel_prints_otherwise(g))
			continue;
		n = 0;
		prog[n++] = (struct bpf_insn){ g->code, g->dst & 15, g->src & 15, g->off, g->imm };
		if (g->code == 0x18)
			prog[n++] = (struct bpf_insn){ .imm = g->next_imm };
		if (g->code != 0x95) {
			prog[n++] = (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K };
			prog[n++] = (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT };
		}
		kernel_load(prog, n);
		/* The kernel has no " ll". */
		snprintf(text, sizeof(text), "%s", g->text);
		if (g->code == 0x18)
			*strstr(text, " ll") = '\0';
		if (!log_has(0, text, g->code))
			fail_msg("'%s' is printed otherwise: %s", text, log_buf);
	}
}

/* Messages of the kernel that are about form; all others are about safety. */
static const char *const form_messages[] = {
	"reserved field", "unknown opcode", "unknown insn class", "is invalid\n", "invalid BPF_LD",
	"jump out of range", "jump into the middle", "last insn is not an exit or jmp", "invalid shift",
	"frame pointer is read only", "invalid atomic operand", "invalid BPF_ATOMIC",
	"unrecognized bpf_ld_imm64", "invalid bpf_ld_imm64", "invalid BPF_", "invalid sign extension",
};

static const char *about_form(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(form_messages); i++) {
		if (strstr(log_buf, form_messages[i]))
			return form_messages[i];
	}
	return NULL;
}

/* What the kernel takes and RFC 9669 does not define, or leaves at zero where the kernel ignores it. */
static bool kernel_extension(const struct bpf_insn *i)
{
	if (i->code == 0x95 && i->off)
		return true; /* ignored by the kernel */
	if (i->code == 0xe5)
		return true; /* may_goto */
	if (BPF_CLASS(i->code) == BPF_STX && BPF_MODE(i->code) == 0xc0 &&
	    (i->imm == 0x100 || i->imm == 0x110))
		return true; /* load_acquire, store_release */
	if (i->code == 0xbf && (i->off == 1 || i->off == -1))
		return true; /* addr_space_cast, per-CPU addresses */
	if (i->code == 0x85 && i->src_reg == 2)
		return true; /* no such kernel function */
	return i->code == 0x18 && i->src_reg; /* descriptors that are not there */
}

/* r2 points to initialised stack, r6 is the context, all others are numbers. */
static u32 around(struct bpf_insn insn, struct bpf_insn *prog, u32 room)
{
	static const char before[] =
		"r6 = r1\nr2 = r10\nr2 += -64\n"
		"*(u64 *)(r10 -64) = 1\n*(u64 *)(r10 -56) = 1\n*(u64 *)(r10 -48) = 1\n"
		"*(u64 *)(r10 -40) = 1\n*(u64 *)(r10 -32) = 1\n*(u64 *)(r10 -24) = 1\n"
		"r0 = 1\nr1 = 1\nr3 = 3\nr4 = 4\nr5 = 5\nr7 = 7\nr8 = 8\nr9 = 9\n";
	static const char after[] = "r0 = 0\nr1 = 5 ll\nr0 = 0\nexit\n";
	static struct bpf_insn *head, *tail;
	static u32 nhead, ntail;
	u32 cnt;

	if (!head) {
		assert_int_equal(isa_assemble(before, &head, &nhead, NULL), 0);
		assert_int_equal(isa_assemble(after, &tail, &ntail, NULL), 0);
	}
	assert_true(nhead + 2 + ntail <= room);
	memcpy(prog, head, nhead * sizeof(*prog));
	cnt = nhead;
	prog[cnt++] = insn;
	if (insn.code == 0x18)
		prog[cnt++] = (struct bpf_insn){ 0 };
	memcpy(prog + cnt, tail, ntail * sizeof(*prog));
	return cnt + ntail;
}

static void compare(struct bpf_insn insn)
{
	struct bpf_insn prog[64];
	struct text why = { 0 };
	u32 cnt = around(insn, prog, ARRAY_SIZE(prog));
	int ours = isa_validate(prog, cnt, ISA_ALL, &why), theirs;

	if (!kernel_extension(&insn)) {
		theirs = kernel_load(prog, cnt);
		if (ours && !theirs)
			fail_msg("%02x %d %d off %d imm %d: the kernel takes it, we say %s", insn.code,
				 insn.dst_reg, insn.src_reg, insn.off, insn.imm, text_str(&why));
		if (!ours && theirs && about_form())
			fail_msg("%02x %d %d off %d imm %d: the kernel says %s", insn.code,
				 insn.dst_reg, insn.src_reg, insn.off, insn.imm, log_buf);
	}
	text_free(&why);
}

/* Every opcode, with one field after the other away from where it is probably valid. */
static void the_kernel_gives_the_same_verdict_on_form(void **state)
{
	static const u8 regs[] = { 0, 1, 2, 3, 6, 7, 10, 11, 15 };
	static const s16 offs[] = { 0, 1, 2, 3, 4, 5, 8, 16, 24, 32, -1, -2 };
	static const s32 imms[] = { 0, 1, 2, 3, 4, 5, 7, 15, 16, 31, 32, 33, 63, 64, 65, 0x40, 0x50, 0xa0,
				    0x41, 0x51, 0xa1, 0xe0, 0xe1, 0xf0, 0xf1, -1, -2 };
	static const struct bpf_insn bases[] = {
		{ 0, 2, 0, 0, 0 }, { 0, 2, 3, 0, 0 }, { 0, 3, 2, 8, 0 }, { 0, 3, 0, 0, 16 }, { 0, 0, 0, 0, 1 },
	};
	int code;
	size_t b, n;

	(void)state;
	for (code = 0; code < 256; code++) {
		for (b = 0; b < ARRAY_SIZE(bases); b++) {
			struct bpf_insn i = bases[b];

			i.code = (u8)code;
			for (n = 0; n < ARRAY_SIZE(regs); n++) {
				i.dst_reg = regs[n] & 15;
				compare(i);
			}
			i.dst_reg = bases[b].dst_reg;
			for (n = 0; n < ARRAY_SIZE(regs); n++) {
				i.src_reg = regs[n] & 15;
				compare(i);
			}
			i.src_reg = bases[b].src_reg;
			for (n = 0; n < ARRAY_SIZE(offs); n++) {
				i.off = offs[n];
				compare(i);
			}
			i.off = bases[b].off;
			for (n = 0; n < ARRAY_SIZE(imms); n++) {
				i.imm = imms[n];
				compare(i);
			}
		}
	}
}

/* Why the tests cannot run here, or NULL. */
static const char *missing(void)
{
	const struct bpf_insn prog[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K }, { .code = BPF_JMP | BPF_EXIT },
	};

	if (kernel_load(prog, 2))
		return "bpf(2) does not work here";
	if (!strstr(log_buf, "Live regs before insn:"))
		return "this kernel's log does not list the program";
	return NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_kernel_prints_the_same_text),
		cmocka_unit_test(the_kernel_gives_the_same_verdict_on_form),
	};

	if (missing()) {
		printf("1..0 # SKIP %s\n", missing());
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
