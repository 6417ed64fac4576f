/* SPDX-License-Identifier: MIT */
/*
 * The verifier: proves that a program is safe, and records what it proved (prog->facts).
 * One file a subject: numbers, states, memory, calls, control flow, pruning, fix-ups, the log.
 */
#ifndef FERRY_VERIFY_H
#define FERRY_VERIFY_H

#include "base/base.h"
#include "prog/prog.h"

#define VERIFY_MAX_PROCESSED 1000000 /* instructions over all paths */

struct state; /* verify/state.h, for tests */

struct verify_opts {
	u32 log_level;     /* bpf(2): 1 basic, 2 every instruction, 4 statistics; bits */
	struct text *log;  /* may be NULL with level 0; its limit is the caller's log_size - 1 */
	bool strict_align; /* BPF_F_STRICT_ALIGNMENT */
	bool strict;       /* what the kernel refuses to the unprivileged */
	size_t max_memory; /* bytes for states; 0 is the default of 1 GiB */
	u32 max_insns;     /* over all paths; 0 is the default of VERIFY_MAX_PROCESSED */
	/*
	 * For tests of the verifier itself: every path is walked to its end, though an equal state was
	 * proved safe before; and `watch` sees what is known before each instruction that is walked.
	 */
	bool every_path;
	void (*watch)(void *arg, u32 insn, const struct state *known);
	void *watch_arg;
};

struct verify_stats {
	u32 processed, max_states_per_insn, total_states, peak_states, mark_read;
	u64 time_ns;
	size_t peak_memory;
};

/*
 * Checks form and safety. On success 0: p->funcs, p->facts, p->max_ctx_off are set and context
 * accesses in p->insns are rewritten. Otherwise p must only be freed: -EINVAL, -EACCES (memory or context access), -EPERM,
 * -E2BIG (too complex), -ENOMEM, -EOPNOTSUPP; the log says which instruction, why, and what would be right, at any
 * level above 0.
 */
int verify_prog(struct prog *p, const struct verify_opts *opts, struct verify_stats *stats);

#endif
