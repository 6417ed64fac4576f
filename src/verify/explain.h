/* SPDX-License-Identifier: MIT */
/*
 * A verification told to people: why a program was refused, and how the walk went. The log prints
 * the first; whoever shows more (ferry verify) watches the verifier and gets both.
 */
#ifndef FERRY_EXPLAIN_H
#define FERRY_EXPLAIN_H

#include "base/base.h"
#include "verify/verify.h"

/* An instruction and where it comes from. Strings belong to what holds the place. */
struct why_place {
	u32 insn, line;     /* line 0: no source is known */
	const char *file;   /* without folders; "" */
	const char *source; /* the line's text without blanks in front; "" */
	const char *func;   /* the function it is in */
	const char *code;   /* the instruction */
};

enum why_kind {
	WHY_START,  /* of the program: `what` is NULL */
	WHY_BRANCH, /* what: the condition; `yes` says how it went */
	WHY_CALL,   /* what: the function entered */
	WHY_RETURN, /* what: the function left */
};

/* A step of the path, in order. The last `span` steps, this one with them, were walked `times`
 * times. */
struct why_step {
	u8 kind; /* enum why_kind */
	bool yes;
	struct why_place at, to; /* to: what was walked next */
	const char *what;
	u32 span, times;
};

/* A line of the history of the value at fault: what set it, moved it, or was compared with it. */
struct why_fact {
	struct why_place at;
	const char *what;
};

struct why {
	struct arena arena; /* owns all that follows */
	int err;
	const char *message; /* lines, in the kernel's words */
	const char *hint;    /* what would be right */
	bool has_place;
	struct why_place at;
	const char *subject; /* what was known of the register at fault; NULL without one */
	struct why_fact *facts;
	u32 nfacts;
	struct why_step *steps;
	u32 nsteps, left_out; /* steps left out behind the first WHY_FIRST */
	u32 walked;           /* instructions of the path */
};
#define WHY_FIRST 8
#define WHY_LAST  32

void why_free(struct why *w);
/* As lines of text, indented; what surrounds each kind of thing (escape sequences) may be "". */
struct why_paint {
	const char *strong, *dim, *bad, *good, *plain;
};
void why_print(const struct why *w, const struct why_paint *paint, struct text *out);
void why_json(const struct why *w, struct text *out); /* an object */

/* ---- watching ---------------------------------------------------------------------------------
 */

#define WATCH_VISITS 3           /* states kept of each instruction: those of its first visits */
#define WATCH_STEPS  4096        /* of the failing path: the last of them with their states */
#define WATCH_BYTES  (24u << 20) /* of text at most */

struct watch_insn {
	struct why_place at;
	u32 func; /* its number; ~0: not known */
	u32 visits;
	bool on_path; /* the one that failed */
	char *states[WATCH_VISITS]; /* before it; NULL: not kept */
};

struct watch_step {
	u32 insn, depth; /* depth: frames below it */
	char *state;     /* what was known before it, as text; NULL: not kept */
};

/*
 * What a verification was like. The states are those of the log. steps is the path that failed;
 * of an accepted program it is empty.
 */
struct verify_watch {
	bool want_states; /* the watcher's wish: fill insns and steps too */
	int verdict; /* 0 or -errno; set only when `ended` */
	bool ended;
	struct verify_stats stats;
	struct why why;
	char name[BPF_OBJ_NAME_LEN], type[32];
	struct watch_insn *insns; /* none when the program was refused before its form was clear */
	u32 ninsns;
	struct watch_step *steps;
	u32 nsteps, first_step;    /* first_step: steps of the path that were before steps[0] */
	bool states_left_out;      /* there were more than WATCH_BYTES */
	struct watch_state *state; /* the recording's own */
};

/*
 * Programs verified by this thread from now on are told to *w (zeroed by the caller but for
 * want_states; the last one wins) until NULL is given. Costs time and memory.
 */
void verify_watch(struct verify_watch *w);
void verify_watch_free(struct verify_watch *w); /* leaves it zeroed */

#endif
