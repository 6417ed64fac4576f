/* SPDX-License-Identifier: MIT */
/*
 * eBPF instructions (RFC 9669): one table that says what each opcode is, and what is made from it:
 * validate, assemble, disassemble. The instruction itself is the kernel's `struct bpf_insn`.
 */
#ifndef FERRY_ISA_H
#define FERRY_ISA_H

#include <linux/bpf.h>

#include "base/base.h"

/* What RFC 9669 has and older <linux/bpf.h> lack. */
#ifndef BPF_MEMSX
#define BPF_MEMSX 0x80
#endif
#ifndef BPF_JCOND
#define BPF_JCOND 0xe0
#endif
#ifndef BPF_ATOMIC
#define BPF_ATOMIC 0xc0
#endif

#define ISA_MAX_INSNS 1000000 /* most instructions of one program, as bpf(2) for the privileged */
#define ISA_STACK_SIZE 512    /* bytes of stack of one frame */
#define ISA_MAX_FRAMES 8
#define ISA_MAX_TAIL_CALLS 33

/* Conformance groups of RFC 9669, 2.4. */
enum isa_group {
	ISA_BASE32 = 1 << 0,
	ISA_BASE64 = 1 << 1,
	ISA_ATOMIC32 = 1 << 2,
	ISA_ATOMIC64 = 1 << 3,
	ISA_DIVMUL32 = 1 << 4,
	ISA_DIVMUL64 = 1 << 5,
	ISA_PACKET = 1 << 6,
	ISA_ALL = (1 << 7) - 1,
};

/* The shape of an instruction: which passes handle it. One a kind, whatever its width or operand. */
enum isa_kind {
	ISA_INVALID,
	ISA_ALU,     /* add sub mul div mod or and xor lsh rsh arsh, mov: dst = dst op src|imm */
	ISA_NEG,
	ISA_END,     /* byte swaps: to_le, to_be, bswap; imm is the width in bits */
	ISA_LOAD,    /* dst = *(size *)(src + off), sign-extending with MEMSX */
	ISA_STORE,   /* *(size *)(dst + off) = src|imm */
	ISA_ATOMIC,  /* imm says which */
	ISA_LDIMM64, /* 16 bytes; src says what the immediate stands for */
	ISA_PACKET_LD, /* LD_ABS, LD_IND */
	ISA_JA,      /* goto, gotol */
	ISA_JCC,     /* conditional jump */
	ISA_CALL,    /* src: 0 helper, 1 BPF-to-BPF, 2 native function (kfunc) */
	ISA_EXIT,
};

/* What an instruction uses of its fields; a field that is not used is reserved and zero. */
enum isa_field {
	ISA_F_DST_R = 1 << 0,   /* reads the register dst_reg */
	ISA_F_DST_W = 1 << 1,   /* writes it */
	ISA_F_DST_RW = ISA_F_DST_R | ISA_F_DST_W,
	ISA_F_SRC = 1 << 2,     /* reads the register src_reg */
	ISA_F_SRC_TAG = 1 << 3, /* src_reg is no register: it says what imm means */
	ISA_F_OFF = 1 << 4,     /* an offset: of memory or of a jump */
	ISA_F_IMM = 1 << 5,
	ISA_F_SIGNED = 1 << 6,  /* off = 1 selects the signed operation (div, mod) */
	ISA_F_EXTEND = 1 << 7,  /* off = 8, 16, 32 extends the sign from that many bits (mov) */
	ISA_F_SHIFT = 1 << 8,   /* imm is a number of bits below the width */
};

/* A row of the table (isa.def): what one value of the opcode byte means. */
struct isa_op {
	u8 kind;      /* enum isa_kind; ISA_INVALID for an opcode that does not exist */
	u8 groups;    /* enum isa_group, all that contain it */
	u8 width;     /* 32 or 64 for ALU and JMP; bytes accessed for loads and stores */
	u16 fields;   /* enum isa_field */
	const char *name; /* "add", "jeq", ...; NULL when invalid */
	const char *sym;  /* "+=", "==", ... of the text form; the type ("u32") for memory accesses */
};
extern const struct isa_op isa_ops[256];

/* What `src_reg`, `off` and `imm` select beside the opcode byte. */
static inline bool isa_is_ldimm64(const struct bpf_insn *i)
{
	return i->code == (BPF_LD | BPF_IMM | BPF_DW);
}
static inline bool isa_is_call(const struct bpf_insn *i, int src)
{
	return i->code == (BPF_JMP | BPF_CALL) && i->src_reg == src;
}
/* Slots that the instruction takes: 2 for LD_IMM64, else 1. */
static inline u32 isa_slots(const struct bpf_insn *i)
{
	return isa_is_ldimm64(i) ? 2 : 1;
}
/* The name of an atomic operation ("fetch_add", "xchg"); NULL when imm selects none. */
const char *isa_atomic_name(s32 imm);
/* Is it a jump other than call and exit, and then to which instruction (index of itself is `at`)? */
bool isa_jump_target(const struct bpf_insn *i, u32 at, s64 *target);

/*
 * Checks the form of a whole program: opcodes known and within `groups`, reserved fields zero,
 * registers at most 10 and r10 never written, jumps and BPF-to-BPF calls inside the program and not
 * into the second half of a 16-byte instruction, no falling off the end, immediates of byte swaps, shifts and
 * atomics in range. Says nothing about safety. Returns 0, or -EINVAL, or -EACCES (a write to r10), with one
 * line in `why` (may be NULL) that starts with the instruction number ("insn 7: ..."), or -ENOMEM.
 */
int isa_validate(const struct bpf_insn *insns, u32 cnt, u32 groups, struct text *why);

/*
 * One instruction as text in the kernel's (and LLVM's) syntax, without number or newline, such as
 * "r0 = *(u32 *)(r1 +4)", "if w1 s> 0x5 goto pc+3". `insn` has its second half behind it when it is
 * an LD_IMM64. Any bytes are fine: what is no instruction prints as "(xx) BUG ...".
 */
struct isa_names {
	/* Names for what an instruction refers to; each may be NULL or return NULL. */
	const char *(*call)(void *arg, const struct bpf_insn *insn, u32 at);
	const char *(*imm64)(void *arg, const struct bpf_insn *insn, u32 at);
	void *arg;
};
void isa_disasm(const struct bpf_insn *insn, u32 at, const struct isa_names *names, struct text *out);

/*
 * Assembles text in the syntax that isa_disasm prints, an instruction a line, with `label:` lines,
 * `goto label`, `call label` and comments (`;` `//` `#`). Appends to *insns (an array grown with base_grow: free
 * with base_free). Returns 0, -EINVAL with "line N: reason" in `why`, or -ENOMEM.
 */
int isa_assemble(const char *source, struct bpf_insn **insns, u32 *cnt, struct text *why);

#endif
