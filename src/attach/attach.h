/* SPDX-License-Identifier: MIT */
/*
 * Probes on native code of this process: a function of ours is called whenever an instruction is
 * reached, or whenever a function returns. x86-64.
 *
 * The instruction is replaced by a jump to code of ours, which calls the hooks, carries out what the
 * jump overwrote and goes back. Where five bytes cannot be had (a short function, a branch into
 * them), a trap instruction does it, slower.
 */
#ifndef FERRY_ATTACH_H
#define FERRY_ATTACH_H

#include <asm/ptrace.h>

#include "base/base.h"

enum probe_kind { PROBE_ENTRY, PROBE_RETURN };

enum probe_flag {
	PROBE_PLAIN = 1 << 0, /* the hook changes no vector register: they need not be kept */
	PROBE_SHORT = 1 << 1, /* fn is probe_run_prog, of a program that sys_short_may() run short */
};

/*
 * A hook. Registers are those at the probed instruction, or after the return with `rip` at the
 * caller; the hook may only read them, except that probe_override() makes an entry probe return.
 * Runs on the thread that hit, with further hits of this thread ignored meanwhile (and counted).
 */
typedef void (*probe_fn)(struct pt_regs *regs, void *arg);
struct probe_spec {
	const void *addr; /* start of an instruction; for PROBE_RETURN of a function */
	enum probe_kind kind;
	u32 flags;
	probe_fn fn;
	void *arg;
};

struct probe;

/*
 * Adds n probes at once, all or none: `out` gets n handles, each to be given to probe_remove. Other
 * threads are stopped once, for as long as the writing takes. 0, -EINVAL (not an instruction that can
 * be probed), -EFAULT (not mapped code), -ENOMEM, -EPERM (this process may not change its code);
 * `why` names the address and the reason.
 */
int probe_add(const struct probe_spec *specs, size_t n, struct probe **out, struct text *why);

/*
 * Removes them: the original bytes are back unless other probes need the place. When it returns no
 * thread is inside these hooks, unless the caller is itself.
 */
void probe_remove(struct probe **probes, size_t n);

/* In a hook of an entry probe at a function's start: the function is not run and returns `value`. */
void probe_override(struct pt_regs *regs, u64 value);

enum probe_how { PROBE_JUMP, PROBE_TRAP };
enum probe_how probe_how(const struct probe *p);
const char *probe_why_trap(const struct probe *p); /* why not a jump; NULL when it is one */
const void *probe_addr(const struct probe *p);
/* Of a return probe's hook, while it runs: the function that returns. */
const void *probe_func_ip(void);
/* Hits that were ignored because the thread was in a hook already, or memory ran out. */
u64 probe_missed(const struct probe *p);

#endif
