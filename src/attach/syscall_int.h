/* SPDX-License-Identifier: MIT */
/* Private to src/attach: system calls of this process as events. */
#ifndef FERRY_SYSCALL_INT_H
#define FERRY_SYSCALL_INT_H

#include "attach/attach_int.h"
#include "prog/prog.h"

#define SC_CALLS 512 /* numbers below have lists of their own */

/* ---- a call on its way (syscall_x86_64.S knows the layout) ------------------------------------- */

enum sc_action {
	SC_CALL,      /* with the program's registers */
	SC_CALL_ARGS, /* with args[] */
	SC_SKIP,      /* regs.rax is the result */
	SC_SIGRETURN, /* with the program's stack pointer; does not come back */
};

/* Who makes a child, and how. */
struct sc_birth {
	u32 tid, tgid;
	u64 flags; /* CLONE_* */
};

struct sc_frame {
	struct pt_regs regs; /* as the kernel would have them; `rip` is behind the instruction */
	u64 args[6];
	u32 action;          /* enum sc_action */
	u8 exit;             /* syscall_exit() is to be called */
	u8 quiet;            /* no event: enum sc_quiet */
	u8 depth;            /* of vfork() */
	u8 child;            /* of calls that make one: enum sc_child */
	struct sc_frame *home; /* where it was before it was put where a child cannot reach; NULL */
	struct sc_birth birth; /* for a child to tell */
	u64 room[14];
	u64 resume;          /* last: where to go on, the return address of the call by the stub */
};
_Static_assert(sizeof(struct sc_frame) == 368 && offsetof(struct sc_frame, args) == 168 &&
		       offsetof(struct sc_frame, action) == 216 &&
		       offsetof(struct sc_frame, exit) == 220 &&
		       offsetof(struct sc_frame, resume) == 360,
	       "the assembly knows these");

enum sc_quiet {
	SC_OWN = 1,    /* Ferry's own work */
	SC_NESTED,     /* a hook runs */
};

enum sc_child {
	SC_CHILD_FOREIGN = 1 << 0, /* its thread-local storage is none that Ferry may look at */
	SC_CHILD_THREAD = 1 << 2,  /* has storage of its own, libc's */
	SC_CHILD_WAITS = 1 << 1,   /* the parent waits for it, with the same storage */
	SC_CHILD_MUTE = 1 << 3,    /* no program runs in it at its start: it is for the parent to tell of it */
};

/*
 * All calls come here: called by a stub, 128 bytes below the program's stack pointer, with rcx behind the
 * instruction, and all else but that and r11 (which the kernel would overwrite) as it was.
 */
void syscall_entry(void);
/* And those in which the thread may be cancelled (syscall_cancel.c). */
void syscall_cancellable(void);
void syscall_cancel_enter(struct sc_frame *f);
/* 0: calls of this thread are not dispatched, whoever makes them. Else those from elsewhere are. */
extern _Thread_local u8 syscall_selector __attribute__((tls_model("initial-exec")));

enum sc_want {
	SC_ENTER = 1 << 0,
	SC_EXIT = 1 << 1,
	SC_THREAD = 1 << 3,  /* see to dispatch in this thread */
	SC_LIFE = 1 << 4,    /* a process or thread begins or ends by it, and that is an event */
	SC_SPECIAL = 1 << 2, /* needs care: children, signal frames, memory that becomes code */
};
/* By number (16 bits): what is to be done about it. 0: carried out at once. */
extern u8 syscall_want[1 << 16];

/* fentry and fexit on a->name: tracing.c. 0 with *event, or -errno with the reason. */
int syscall_trace(const struct sys_attach *a, void **event, struct text *why);
void syscall_untrace(void *event);
struct sc_frame *syscall_enter(struct sc_frame *f); /* the frame to go on with */
struct sc_frame *syscall_exit(struct sc_frame *f);

/* ---- syscall_hit.c: what happens at each call --------------------------------------------------- */

enum sc_form {
	SC_RAW,       /* raw tracepoint: the registers, and number or result */
	SC_ALL,       /* raw_syscalls:* */
	SC_ONE,       /* syscalls:* */
	/* Of what follows, the call's own tracepoints are outside. */
	SC_FUNC,      /* a kernel function called with the registers */
	SC_TRACED,    /* the same as fentry and fexit see it: the argument, and the result */
};

struct sc_hook {
	const struct prog *p;
	u64 cookie;
	u64 func;  /* from SC_FUNC on: address that the function is said to have */
	u8 form;   /* enum sc_form */
	u8 words;  /* of its context that the program looks at */
	s32 pid;   /* of the process it is for; -1: any */
};
/* A program's context, for each form as the kernel has it. */
union sc_context {
	u64 raw[12];
	struct {
		const struct pt_regs *regs;
		s64 id;
		u64 args[6];
	} tp;
};
struct sc_list {
	u32 n;
	bool is_short; /* sys_short_may() run all of it so */
	struct sc_hook hook[];
};
/* ---- life.c: processes and threads that begin and end, as events -------------------------------- */

enum life {
#define LIFE(kind, category, name, size) LIFE_##kind,
#include "attach/life.def"
#undef LIFE
	LIFE_KINDS
};
/* By "category:name", or by the name alone: LIFE_KINDS when it is none. *size: what programs may read. */
enum life life_named(const char *name, bool full, u32 *size);

/* A call that makes a child, or ends this thread or process. Not plain: vector registers are kept before. */
struct life_call {
	const struct sc_table *table;
	const struct pt_regs *regs;
	struct sc_birth birth; /* tid 0: none, this is an end */
};
void life_tell(void *life_call, void *unused);
/* The end of another process, for one program. */
void life_death(const struct sc_hook *h, const struct pt_regs *regs, const struct sys_death *d);
/* This process is a new program's: tells that it began. */
void life_exec(const struct sc_table *table, const struct pt_regs *regs);

/* ---- the table ---------------------------------------------------------------------------------- */

/* Replaced as a whole; freed when no thread can be reading it. */
struct sc_table {
	struct sc_list *any[2];             /* enter, exit: numbers that have no list of their own */
	struct sc_list *calls[SC_CALLS][2]; /* NULL: `any` */
	struct sc_list *lives[LIFE_KINDS];  /* NULL: none */
};
extern struct sc_table *_Atomic syscall_table;
extern _Atomic u64 syscall_missed; /* calls without events, as they came while a hook ran */

void syscall_died(const struct prog *p, u64 cookie, const struct sys_death *d); /* sys_attach_died */
void syscall_program_began(bool called); /* sys_attach_program_began */

/* Calls between the handlers of pthread_atfork(3): told when the locks of those are free again. */
struct sc_late {
	u32 n;
	struct {
		struct pt_regs regs;
		bool exit;
		u8 child;
		struct sc_birth birth;
	} call[20];
};
_Static_assert(sizeof(struct sc_late) <= 4096, "a page");

/* ---- syscall_special.c: calls that need care ----------------------------------------------------- */

struct sc_frame *syscall_special(struct sc_frame *f);
void sc_use_args(struct sc_frame *f); /* the registers' become those of the call, to be changed */
void syscall_returned(struct sc_frame *f, struct sc_frame **go_on);

/* ---- syscall_dispatch.c: calls from elsewhere ---------------------------------------------------- */

extern _Atomic bool syscall_dispatching;
extern _Atomic bool syscall_dispatched; /* ever: some thread may not have heard that it is over */
int syscall_dispatch_claim(void); /* SIGSYS is ours: 0 or -errno */
void syscall_dispatch(bool on);
void syscall_dispatch_thread(struct thread *t); /* this one: as it is for the process */
void syscall_dispatch_child(void);
int syscall_dispatch_all(void); /* all other threads begin: as world_dispatch() */
void syscall_let_through(struct sc_frame *f); /* takes SIGSYS out of what it is to block */
void syscall_mask_changed(struct sc_frame *f); /* and afterwards shows it to who asks */
void syscall_want_dispatch(void); /* from now on, at every number (syscall_event.c) */
bool sc_is_new_code(const struct sc_frame *f); /* syscall_code.c: does this call make such? */

/* ---- syscall_site.c: the instructions, found and replaced ---------------------------------------- */

/* All of this process, now and in what is loaded later. 0 or -errno with the reason. */
int syscall_patch(struct text *why);
bool syscall_is_libc(u64 addr); /* async-signal-safe */
void syscall_unpatch(void); /* the bytes are as they were */
struct sc_stats {
	u32 sites, patched; /* instructions found, and replaced */
};
struct sc_stats syscall_stats(void);

#endif
