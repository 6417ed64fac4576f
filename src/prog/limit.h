/* SPDX-License-Identifier: MIT */
/*
 * What a program may use up, and what happens when a function it calls fails: its budget, which code
 * made for a limited program counts down, and the sites of calls that are watched.
 */
#ifndef FERRY_LIMIT_H
#define FERRY_LIMIT_H

#include "prog/prog.h"

/* ---- budgets ------------------------------------------------------------------------------------ */

enum prog_on_fault {
	PROG_FAULT_HOST,  /* a native function's fault is the host's */
	PROG_FAULT_END,   /* the program ends */
	PROG_FAULT_ERROR, /* the call returns -EFAULT */
};

struct prog_limits {
	u64 insns;   /* of one run; 0: any number */
	u64 time_ns; /* of one run; 0: any */
	u64 value;   /* what a program that is ended returns */
	u8 on_fault; /* enum prog_on_fault */
	bool gone;   /* what it cannot do without was unregistered: each run ends at once */
};

enum prog_end { PROG_RUNS, PROG_OUT_OF_INSNS, PROG_OUT_OF_TIME, PROG_FAULTED, PROG_GONE };

/*
 * What is left of the run of this thread. Engines take from `left` at backward jumps and calls of
 * functions as many instructions as lie between; below 0 prog_budget_slow() decides. Once `ended` is
 * set, every function of the program returns at once, 1 to helpers whose callback it is, which stops
 * them. It is set only where no path of the program holds references or locks (insn_fact.held).
 */
struct prog_budget {
	s64 left;     /* of this slice */
	u64 insns;    /* behind it */
	u64 deadline; /* ns of CLOCK_MONOTONIC; 0: none */
	u64 looked;   /* when at the clock: in ticks of the processor */
	u32 ended;    /* enum prog_end */
};
extern _Thread_local struct prog_budget prog_budget __attribute__((tls_model("initial-exec")));

/* Has the program to end? Called with `left` below 0, or where time may have passed. */
int prog_budget_slow(void);
/* Sets the thread's budget for a run, and back again: the enum prog_end of the run. */
void prog_budget_begin(const struct prog_limits *l, struct prog_budget *saved);
u32 prog_budget_finish(const struct prog_budget *saved);

/* ---- watched calls ------------------------------------------------------------------------------ */

/* How often a call may be made: a bucket that fills with time. */
struct prog_rate {
	u64 per_second;       /* 0: any */
	_Atomic u64 next;     /* the time, ns, up to which calls are used up */
};

/* What a call that fails returns. */
enum prog_site_fail {
	PROG_SITE_ERROR, /* a negative errno */
	PROG_SITE_NULL,  /* 0 */
	PROG_SITE_END,   /* nothing the program could go on with: it ends */
};

/* A call of a native function or helper that is watched when it is made. */
struct prog_site {
	u32 insn;
	const struct prog *prog;
	const struct module_func *func; /* NULL: a helper */
	const char *name;
	const void *fn;
	u8 fail;                        /* enum prog_site_fail */
	bool held;                      /* some path holds references here: it cannot end the program */
	struct prog_rate rate;
};
const struct prog_site *prog_site_at(const struct prog *p, u32 insn); /* NULL: not watched */
/*
 * Makes the call, or what the limits say when the function was unregistered, faults, or is called too
 * often. The result is as the function's, not extended yet; afterwards prog_budget.ended may be set.
 */
u64 prog_site_call(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5, const struct prog_site *s);
/* The same for functions that are called by module_invoke. */
u64 prog_site_invoke(const struct module_func *f, const u64 *regs, const struct module_site *at,
		     const struct prog_site *s);

#endif
