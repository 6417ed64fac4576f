/* SPDX-License-Identifier: MIT */
/* Inside src/verify: the path walked, its values' history, and what is made of them on a refusal.
 */
#ifndef FERRY_VERIFY_TRACE_H
#define FERRY_VERIFY_TRACE_H

#include "verify/explain.h"
#include "verify/verify_int.h"

#define LEVEL_PATHS 3 /* log levels 1 and 2 */

/* An entry of the path: the instruction (ISA_MAX_INSNS is below 2^20), its frame, kinds of
 * operands. */
enum { TRACE_DEPTH = 20, TRACE_DST = 30, TRACE_SRC = 31 };
static inline u32 trace_insn(u32 entry)
{
	return entry & ((1u << TRACE_DEPTH) - 1);
}
static inline u32 trace_depth(u32 entry)
{
	return entry >> TRACE_DEPTH & 7;
}
static inline bool trace_dst_ptr(u32 entry)
{
	return entry >> TRACE_DST & 1;
}
static inline bool trace_src_ptr(u32 entry)
{
	return entry >> TRACE_SRC & 1;
}

/* Names of a place, borrowed from the program; `code` is scratch and is the place's code. */
struct why_place vplace(struct verifier *v, u32 insn, struct text *code);
void vlog_state_to(struct verifier *v, const struct state *s, struct text *out);
void vlog_code(struct verifier *v, u32 insn, struct text *out);
const char *vfunc_name(struct verifier *v, u32 func); /* kept until the next four calls */

/* ---- history.c: each value of the path, what made it and what was asked of it
 * --------------------- */

enum def_kind {
	DEF_START,  /* was there when the program or a callback started */
	DEF_CONST,  /* an immediate, the address of a map */
	DEF_LOAD,   /* from memory; `from` is the pointer */
	DEF_ALU,    /* from `from` and, with a register, `with` */
	DEF_RESULT, /* of a helper, native function */
	DEF_LOST,   /* what a call leaves in r0 to r5 */
};
struct def {
	u32 at; /* in the trace */
	u32 from, with;
	u8 kind;
	bool moves_pointer; /* DEF_ALU: `from` is a pointer, `with` the number */
};
struct check {
	u32 value, at; /* compared by trace[at] */
};
struct history {
	struct def *defs; /* 0 is none */
	size_t ndefs, defs_cap;
	struct check *checks;
	size_t nchecks, checks_cap;
	u32 regs[ISA_MAX_FRAMES][11]; /* now */
	struct {
		u32 value;
		s16 off;
		u8 size;
	} slots[ISA_MAX_FRAMES][MAX_SLOTS * 2];
};
/* False when out of memory. */
bool vhistory(struct verifier *v, struct history *h);
void vhistory_free(struct history *h);
bool vtrace_taken(struct verifier *v, u32 at); /* did the jump trace[at] jump? */

/* ---- hint.c: what would be right, in terms of this program
 * ---------------------------------------- */

struct advice {
	struct verifier *v;
	const struct history *h; /* NULL: not known */
	const char *message;
	u32 r;     /* the register at fault; 11: none */
	u32 value; /* its value in the history */
	struct text *out;
};
bool vadvise(const struct advice *a); /* true when it wrote something */

/* ---- explain.c
 * ------------------------------------------------------------------------------------ */
void vexplain(struct verifier *v, int err, const char *message, const char *hint);

#endif
