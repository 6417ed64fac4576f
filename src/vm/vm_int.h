/* SPDX-License-Identifier: MIT */
/* The form that the interpreter runs, shared by translation and execution. */
#ifndef FERRY_VM_INT_H
#define FERRY_VM_INT_H

#include "prog/prog.h"

enum vm_op {
#define OP(name) VM_##name,
#include "vm/vm.def"
	VM_OPS,
};

/*
 * An instruction ready to run, at the index of the instruction it comes from, so that jumps keep
 * their distances. `go` is the address of its code; a pair of instructions that is run by one piece
 * of code keeps the second in place for jumps into the middle.
 */
struct vm_insn {
	const void *go;
	u8 dst, src;
	s16 off; /* of memory or of a conditional jump */
	s32 imm; /* immediate; distance of goto and call; index into `calls` */
};

/* What a call instruction calls. */
struct vm_call {
	const void *fn;
	const struct module_func *native; /* NULL for helpers */
	struct module_site site;          /* of a native function that is bridged */
};

/* Of an instruction of a program with limits (prog/limit.h). */
struct vm_check {
	const void *go; /* what is to be done: jumps and calls of functions */
	u32 cost;       /* taken from the budget */
	bool held;      /* no place to end */
	bool call;      /* of a helper or native function */
	bool time;      /* look at the clock behind it */
	const struct prog_site *site;
};

struct vm_code {
	struct vm_insn *insns; /* one more than the program has: a stop */
	struct vm_call *calls;
	struct vm_callbacks *callbacks; /* NULL without */
	_Atomic u64 *faults; /* the program's; NULL */
	u32 cnt, ncalls;
	struct vm_check *checks; /* one an instruction; NULL: no limits */
};

/*
 * Runs from instruction `start` to the end, args (five) in r1 to r5. With code NULL, only gives the
 * address of each vm_op's code in *labels.
 */
u64 vm_exec(const struct vm_code *code, u32 start, const u64 *args, u32 *tail_calls,
	    const void *const **labels);

/* What entering the function at `start` takes from the budget of a program with limits. */
const struct vm_check *vm_entry_check(const struct vm_code *c, u32 start);

/*
 * callback.c: a C function for each subprogram that LD_IMM64 refers to: 0, -ENOMEM, -EINVAL. What
 * was made is freed with c->callbacks. None starts where `second` is set, in the middle of an
 * instruction. vm_callback_entry: its address, 0 when there is none.
 */
int vm_callbacks_make(const struct prog *p, const u8 *second, struct vm_code *c);
void vm_callbacks_free(struct vm_callbacks *cbs);
u64 vm_callback_entry(const struct vm_code *c, s64 start);

/* Pairs: the operation that does `a` and then `b`, which follows it; VM_STOP when there is none. */
enum vm_op vm_pair(enum vm_op a, enum vm_op b);

#endif
