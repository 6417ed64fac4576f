/* SPDX-License-Identifier: MIT */
/*
 * What programs are put on. A kind of event that has a source registers its operations here
 * (src/attach does); kinds without one are refused, and the log says so.
 */
#ifndef FERRY_BPF_ATTACH_H
#define FERRY_BPF_ATTACH_H

#include <linux/bpf_perf_event.h>

#include "prog/prog.h"

enum sys_attach_kind {
#define ATTACH(kind, link_type, name) SYS_ATTACH_##kind,
#include "bpf/event/attach.def"
#undef ATTACH
	SYS_ATTACH_KINDS
};

/*
 * Where the kernel's function for the i-th row of syscalls.def is said to be, by /proc/kallsyms and to
 * programs on it: in the kernel's half, and no more than a number.
 */
#define SYS_TRACED_ARGS 12 /* of a function that fentry and fexit are on: the kernel's MAX_BPF_FUNC_ARGS */
#define SYS_CALL_ADDR(i) (0xffffffff81000000ull + (u64)(i) * 16)
const char *sys_call_func(u64 i); /* its name, "__x64_sys_NAME"; NULL behind the last row */

/* The registers of what a signal interrupted (x86-64: without a system call's number). */
void sys_signal_regs(const void *ucontext, bpf_user_pt_regs_t *r);

/* What is asked for. Strings and the program live as long as the event. */
struct sys_attach {
	const struct prog *p;
	u64 cookie;
	const char *name; /* of the binary, function, tracepoint; NULL */
	u64 offset;       /* uprobe: in the file; kprobe: from the function */
	u64 ref_ctr_off;
	u64 period;       /* clocks: ns */
	u32 id;           /* tracepoint: number in tracefs; clock: the process that opened it */
	bool inherit;     /* clock of a task: also what it starts */
	s32 pid, cpu;     /* -1: any; of a clock the thread, 0: the one that opened it */
	const struct module_func *func; /* tracing: a module's function; NULL */
};

struct sys_attach_ops {
	/* From now on the program runs: 0 with *event, which is detach's; -errno, reason in `why`. */
	int (*attach)(const struct sys_attach *a, void **event, struct text *why);
	void (*detach)(void *event); /* the program does not run when it returns */
};

/* Modules were unregistered: nothing is to stay on their functions. Set by the source; NULL. */
extern void (*sys_attach_module_gone)(void);
/*
 * The process has a new program, which has not run yet. With `called` a member of the session made the
 * execve(2), which is at its end now. What is attached to this process is in place. Set by the source; NULL.
 */
extern void (*sys_attach_program_began)(bool called);

/* A process that has ended, and could not run its programs for that. */
struct sys_death {
	s32 pid, prio, code; /* code: as wait(2) gives it */
	u32 ppid;
	u64 start; /* ns of CLOCK_BOOTTIME */
	char comm[16];
};
/* The program on sched_process_exit with that cookie runs here, in the name of the dead. Set by the source; NULL. */
extern void (*sys_attach_died)(const struct prog *p, u64 cookie, const struct sys_death *d);

/* One source a kind; again replaces, NULL takes away. What is attached stays as it is. */
void sys_attach_source(enum sys_attach_kind kind, const struct sys_attach_ops *ops);

/* Attaches through the kind's source, or says why not: -EOPNOTSUPP when it has none. */
struct sys_attached {
	const struct sys_attach_ops *ops;
	void *event;
	void *shared; /* its part in other processes (share.h); NULL */
};
static inline bool sys_is_attached(const struct sys_attached *at)
{
	return at->ops || at->shared;
}

int sys_attach(enum sys_attach_kind kind, const struct sys_attach *a, struct sys_attached *out);
void sys_detach(struct sys_attached *at); /* does nothing when it is not attached */

#endif
