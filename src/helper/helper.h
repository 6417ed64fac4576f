/* SPDX-License-Identifier: MIT */
/* Helper functions: what each may be given and gives back (for the verifier), and its code. */
#ifndef FERRY_HELPER_H
#define FERRY_HELPER_H

#include "base/base.h"
#include "prog/prog.h"

/* Kinds of arguments: the words of the kernel's enum bpf_arg_type. */
enum helper_arg {
	ARG_NONE,
	ARG_ANYTHING,        /* any initialised value */
	ARG_CTX,
	ARG_MAP,             /* a map reference; see helper_proto.maps */
	ARG_MAP_KEY,         /* memory of key_size bytes of the map before it */
	ARG_MAP_VALUE,       /* memory of value_size bytes */
	ARG_MAP_VALUE_OR_NULL,
	ARG_MAP_VALUE_UNINIT,/* the same, written by the helper */
	ARG_MEM,             /* memory whose size is the next argument */
	ARG_MEM_OR_NULL,
	ARG_MEM_UNINIT,
	ARG_MEM_OR_NULL_UNINIT,
	ARG_SIZE,            /* bytes of the memory before it, above 0 */
	ARG_SIZE_OR_ZERO,
	ARG_CONST_SIZE,      /* of memory to allocate: a constant (ringbuf_reserve) */
	ARG_ALLOC_MEM,       /* memory from a helper that returns RET_ALLOC_MEM; released here */
	ARG_CONST_STR,       /* string in a read-only, frozen map */
	ARG_LONG_OUT,        /* 8 bytes, written */
	ARG_STACK_OR_ZERO,   /* pointer to stack or 0 (what a callback gets) */
	ARG_FUNC,            /* a subprogram that the helper calls back: see verify/callback.c */
	ARG_CPU_VAR,         /* the address of a variable that is one a processor */
	ARG_DYNPTR,          /* one that was made before */
	ARG_DYNPTR_RINGBUF,  /* the same, of a reservation, which is released here */
	ARG_DYNPTR_LOCAL_NEW, /* room for one, made here; the same for a reservation */
	ARG_DYNPTR_RINGBUF_NEW,
	ARG_SPIN_LOCK,       /* struct bpf_spin_lock in a map's value */
	ARG_TIMER,           /* struct bpf_timer in a map's value */
	ARG_KPTR,            /* a pointer to an object in a map's value, which the map owns */
	ARG_KPTR_OBJ,        /* an object for it, whose reference goes there, or NULL */
	ARG_TASK,            /* a task_struct, by BTF */
	ARG_PATH,            /* a path, by BTF: also where a struct begins with one */
	ARG_SOCK,            /* a socket of any kind */
	ARG_SOCK_RELEASE,    /* the same, whose reference is given back */
	ARG_SEQ,             /* a seq_file, by BTF: the helper sees whether it is the iterator's */
	/* Those of functions that the kernel has as kfuncs (kfunc.def): */
	ARG_SCALAR,          /* a number */
	ARG_BUFFER_OR_NULL,  /* initialised memory that may be written, of as many bytes as the next argument says */
	ARG_BUFFER_SIZE,     /* those, a constant; of what is returned too */
	ARG_DYNPTR_CLONE,    /* room for one that is made of what the ARG_DYNPTR is of */
	ARG_ITER_NEW,        /* an iterator on the stack (verify/iter.c): made here, asked, ended */
	ARG_ITER_NEXT,
	ARG_ITER_DESTROY,
	ARG_UNCHECKED,       /* whatever is in the register, initialised or not (variable arguments) */
};

enum helper_ret {
	RET_INTEGER,
	RET_VOID,
	RET_MAP_VALUE_OR_NULL,
	RET_CPU_VAR,           /* what the ARG_CPU_VAR argument is on a processor */
	RET_CPU_VAR_OR_NULL,
	RET_KPTR_OBJ_OR_NULL,  /* the object that was in ARG_KPTR: a reference */
	RET_TASK,              /* a valid pointer to a task_struct, by BTF */
	RET_PT_REGS,           /* the same to a struct pt_regs */
	/* Sockets: with HELPER_ACQUIRES a reference; else as long as ARG_SOCK's is held, if that is one. */
	RET_SOCK_OR_NULL,
	RET_SOCK_COMMON_OR_NULL,
	RET_TCP_SOCK_OR_NULL,
	RET_KERNEL_SOCK_OR_NULL, /* the kernel's struct that the helper is named after (skc_to_NAME) */
	RET_SLICE_OR_NULL,     /* of the ARG_DYNPTR, as many bytes as ARG_CONST_SIZE says */
	RET_SLICE_RDONLY_OR_NULL, /* the same, as many as ARG_BUFFER_SIZE says, to be read; or written */
	RET_SLICE_RDWR_OR_NULL,
	RET_ALLOC_MEM_OR_NULL, /* as many bytes as the ARG_CONST_SIZE argument says */
};

enum helper_flag {
	HELPER_GPL = 1 << 0,        /* only for GPL-compatible programs */
	HELPER_MOVES_PACKET = 1 << 1, /* packet pointers are invalid afterwards */
	HELPER_ACQUIRES = 1 << 2,
	HELPER_RELEASES = 1 << 3,
	HELPER_TAIL_CALL = 1 << 4,  /* done by the engine; fn is NULL */
	HELPER_CALLS_BACK = 1 << 5, /* its ARG_FUNC */
	HELPER_PLAIN = 1 << 6,      /* it touches no vector register */
	HELPER_SHORT = 1 << 7,      /* it runs no program, reaches no host code, needs no frame (bpf/run/run.h) */
};

typedef u64 (*helper_fn)(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5);

struct helper_proto {
	u32 id;              /* enum bpf_func_id */
	const char *name;    /* without "bpf_" */
	helper_fn fn;
	u8 ret;              /* enum helper_ret */
	u8 args[5];          /* enum helper_arg */
	u8 flags;            /* enum helper_flag */
	u32 groups;          /* HELPERS_*: a program type needs one of them */
	u64 maps;            /* bit per enum bpf_map_type that ARG_MAP accepts; 0 is any non-object map */
};

/* By number; NULL when Ferry does not have it. */
const struct helper_proto *helper_of(u32 id);
/* The name of any helper the kernel has, also those missing here; NULL beyond. */
const char *helper_name(u32 id);
/* Why one is missing here (missing.def); NULL: it is not. */
const char *helper_missing(u32 id);

/*
 * The kernel's kfuncs (kfunc.def): functions of a module, ferry_kernel, that the verifier knows as it knows helpers.
 * helper_kfuncs() registers it, if it is not yet: when a program or an object asks for one of its functions.
 */
#define HELPER_KFUNCS "ferry_kernel"
void helper_kfuncs(void);
bool helper_kfunc_named(const char *name); /* is it one? */
/* What is known of a native function that is one; NULL: it is the host's. */
const struct helper_proto *helper_kfunc(const struct module_func *f);

/*
 * What a helper may know of the program that runs: set by whoever runs it, read by helpers that
 * need it. One a thread; nests by saving and restoring.
 */
struct helper_override {
	bool set;  /* the function is not to be run */
	u64 value; /* what it returns instead */
};

struct helper_run {
	const struct prog *prog;
	void *ctx;
	u64 cookie;
	u64 func_ip;
	const void *user_regs; /* the struct pt_regs of the program that was interrupted; NULL: ctx, or none */
	struct helper_override *override; /* for bpf_override_return(); NULL: there is nothing to override */
	void *frame; /* of the caller of the program: where its stack begins */
	u32 idle;    /* 1 + the processor in whose idle task's name it runs; 0: the thread's own */
	const struct helper_task *task; /* in whose name it runs; NULL: the thread's own */
};
extern _Thread_local struct helper_run helper_run __attribute__((tls_model("initial-exec")));

/* The process and the thread, as bpf_get_current_pid_tgid() has them. */
u64 helper_self(void);
/*
 * They are remembered as long as somebody watches who lends a thread's storage to a child, and says so on that thread:
 * before a call after which a child may have it (once: until the thread goes on; or for good), or around functions that
 * make such a call inside.
 */
enum helper_lend { HELPER_LEND_ONCE, HELPER_LEND_FOR_GOOD, HELPER_LEND_BEGIN, HELPER_LEND_END };
void helper_self_watch(bool on); /* by one at a time */
void helper_self_lend(enum helper_lend how);

/* Holds a program, or lets it go again: for timers, which may outlive a run. Set once by src/bpf. */
extern void (*helper_prog_ref)(struct prog *p, bool hold);
/*
 * How the timer thread runs a function of a program, also set by src/bpf: helper_prog_enter() keeps its code
 * where it is until helper_prog_callback(), which calls it under the program's limits, returns.
 */
extern void (*helper_prog_enter)(void);
extern void (*helper_prog_callback)(const struct prog *p, prog_callback cb, const u64 args[5]);
/* The program's timers that call `from` call `to` from now on (NULL: end). Were there any? */
bool helper_timers_move(const struct prog *p, prog_callback from, prog_callback to);

/*
 * A thread, maybe of another process, as a struct task_struct in helper_task_room() bytes of the caller's. NULL: it
 * has ended, or may not be looked at.
 */
size_t helper_task_room(void);
const void *helper_task_show(void *room, u32 tgid, u32 tid);
/* A thread, maybe of another process, and what is known of it. */
struct helper_task {
	u32 tid, tgid, ppid;
	s32 exit_code; /* as wait(2) gives it */
	bool exiting;
	u64 start;     /* ns of CLOCK_BOOTTIME; 0: not known */
	const void *object; /* as a struct task_struct, for bpf_get_current_task(); NULL: as that can */
	char comm[16];
};
/* What /proc tells of it; false: nothing, it has ended or may not be looked at. */
bool helper_task_look(struct helper_task *t, u32 tgid, u32 tid);
/* As a struct task_struct, in helper_task_room() bytes. */
void helper_task_fill(void *room, const struct helper_task *t);
/* Where a member of a struct of the kernel's BTF is, in bytes; false: there is none. */
bool helper_member(const char *type, const char *member, u32 *off, u32 *size);

/*
 * Where bpf_get_current_task() has no memory for it, in handlers of signals (base_in_signal), it takes so much
 * of this thread's: zeroed at first, NULL is none. helper_task_room() is called before, outside of handlers.
 */
#define HELPER_SIGNAL_ROOM 16384
extern _Thread_local u8 *helper_signal_room __attribute__((tls_model("initial-exec")));

/*
 * What an iterator's program writes to with bpf_seq_printf() and the like: as programs see a struct
 * seq_file. Full: count is size.
 */
struct helper_seq {
	char *buf;
	u64 size, from, count, index;
	void *priv;
};
/* Of the iterator that runs in this thread: helpers write to no other. NULL: none does. */
extern _Thread_local struct helper_seq *helper_seq __attribute__((tls_model("initial-exec")));

/*
 * Where trace_printk's lines go: the kernel's line format without a newline. The default keeps
 * them in a pipe-like buffer that helper_trace_read() empties.
 */
typedef void (*helper_trace_fn)(void *arg, const char *line, size_t len);
void helper_trace_to(helper_trace_fn fn, void *arg);
/*
 * Takes lines, each with a newline, from that buffer: as many whole lines as fit, or the start of
 * the first one. Returns the bytes taken; without any: waits, or -EAGAIN when told not to. When
 * nobody reads, the oldest lines go and a line says how many, as in the kernel's trace_pipe.
 */
s64 helper_trace_read(char *buf, size_t size, bool wait);
/* Formats as bpf_trace_printk does: bytes written or -EINVAL. `args` are n 64-bit values. */
s64 helper_format(char *out, size_t size, const char *fmt, size_t fmt_size, const u64 *args, u32 n);

#endif
