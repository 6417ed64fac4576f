/* SPDX-License-Identifier: MIT */
/* Building and running small programs on the JIT. */
#ifndef FERRY_JIT_TEST_H
#define FERRY_JIT_TEST_H

#include "test.h"

#include "jit/jit.h"
#include "prog/prog.h"

#define INSN(c, d, s, o, i) ((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), \
						.off = (s16)(o), .imm = (s32)(i) })
#define MOV64(d, s)      INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV64I(d, i)     INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD64I(d, i)     INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define LDX(sz, d, s, o) INSN(BPF_LDX | BPF_MEM | (sz), d, s, o, 0)
#define STX(sz, d, s, o) INSN(BPF_STX | BPF_MEM | (sz), d, s, o, 0)
#define EXIT()           INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

/* A program from instructions, compiled; fails the test when it cannot be. */
static inline struct prog *jit_prog(const struct bpf_insn *insns, u32 cnt)
{
	struct prog *p = prog_new(insns, cnt);

	assert_non_null(p);
	assert_int_equal(prog_find_funcs(p), 0);
	assert_int_equal(jit_install(p), 0);
	return p;
}

static inline void jit_prog_free(struct prog *p)
{
	jit_remove(p);
	prog_free(p);
}

/* Assembles, compiles, runs once. */
static inline u64 jit_run_text(const char *text, void *ctx)
{
	struct bpf_insn *insns = NULL;
	struct text why = { 0 };
	struct prog *p;
	u32 cnt = 0;
	u64 ret;

	if (isa_assemble(text, &insns, &cnt, &why))
		fail_msg("%s", text_str(&why));
	p = jit_prog(insns, cnt);
	ret = prog_run(p, ctx);
	jit_prog_free(p);
	base_free(insns);
	text_free(&why);
	return ret;
}

#endif
