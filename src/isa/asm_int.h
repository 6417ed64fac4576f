/* SPDX-License-Identifier: MIT */
/*
 * The assembler's parts: asm_lex.c reads characters, asm_mem.c what accesses memory, asm.c all other
 * instructions and the labels.
 */
#ifndef FERRY_ASM_INT_H
#define FERRY_ASM_INT_H

#include "isa/isa_int.h"

struct asm_label {
	const char *name;
	u32 len, line, at;
};

/* A jump or call whose target is a label still to be found. */
struct asm_fixup {
	const char *name;
	u32 len, line, at;
};

struct asm_state {
	const char *p, *end; /* what is left of the line, without its comment */
	u32 line;
	struct text *why;

	struct bpf_insn *insns;
	size_t cap;
	u32 cnt;

	struct asm_label *labels;
	size_t labels_cap;
	u32 nlabels;
	struct asm_fixup *fixups;
	size_t fixups_cap;
	u32 nfixups;
};

/* Refuses the line: writes "line N: reason", returns -EINVAL. */
int asm_error(struct asm_state *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
int asm_expected(struct asm_state *s, const char *what); /* ... with what stands there instead */

/* All skip blanks first, and take nothing when they return false. */
void asm_blanks(struct asm_state *s);
bool asm_done(struct asm_state *s);                 /* is nothing left of the line? */
bool asm_sym(struct asm_state *s, const char *sym); /* exactly these characters */
bool asm_word(struct asm_state *s, const char *word); /* this name, whole */
bool asm_name(struct asm_state *s, const char **name, u32 *len); /* any name or label */
bool asm_reg(struct asm_state *s, char *letter, u8 *reg); /* 'r' or 'w'; r0 to r10 */

/*
 * A number with an optional sign. As a 64-bit pattern: 0xffffffffffffffff and -1 are the same.
 * 0 or -EINVAL.
 */
int asm_u64(struct asm_state *s, u64 *value);
int asm_imm32(struct asm_state *s, s32 *value); /* -2^31 to 2^32 - 1: 0xffffffff is -1 */
int asm_off16(struct asm_state *s, s16 *value);

/* The opcode of this kind, symbol, width (0: any) and operand (ISA_F_SRC, ISA_F_IMM), or -1. */
int asm_find_op(enum isa_kind kind, const char *sym, size_t len, int width, u16 operand);
int asm_emit(struct asm_state *s, struct bpf_insn insn);                /* 0, -EINVAL, -ENOMEM */
int asm_need(struct asm_state *s, const char *sym, const char *what);   /* 0 or -EINVAL */
/* A register of the 64-bit ('r') or 32-bit ('w') view. */
int asm_need_reg(struct asm_state *s, char letter, u8 *reg);

/* Statements of asm_mem.c: 0 or -errno. */
int asm_store(struct asm_state *s);                        /* behind "*" */
int asm_locked(struct asm_state *s);                       /* behind "lock" */
int asm_load(struct asm_state *s, char letter, u8 dst);    /* behind "r1 = *" */
int asm_fetching(struct asm_state *s, char letter, u8 dst); /* behind "r1 ="; 1: it is none */

#endif
