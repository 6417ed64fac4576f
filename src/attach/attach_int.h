/* SPDX-License-Identifier: MIT */
/* Private to src/attach: sites, moved code, and writing code that others run. */
#ifndef FERRY_ATTACH_INT_H
#define FERRY_ATTACH_INT_H

#include <stdatomic.h>

#include "attach/attach.h"
#include "bpf/event/attach.h"
#include "bpf/run/run.h"
#include "code/code.h"

#define JUMP_SIZE 5  /* jmp rel32 */
#define MAX_STOLEN 20 /* four bytes and the longest instruction, with room */
#define MAX_MOVED 8

/* libc's functions may be what is probed, and its errno is not always ours. mmap(2) is of no file. */
#define SYS(n, a, b, c, d) code_syscall(n, (long)(a), (long)(b), (long)(c), (long)(d), -1)

/* ---- move.c: instructions carried out elsewhere ------------------------------------------------ */

/* Instructions at `addr` and how they look at another place. */
struct moved {
	u8 len;                  /* original bytes covered */
	u8 n;                    /* instructions */
	u8 from[MAX_MOVED];      /* offset of each in the original */
	u8 to[MAX_MOVED];        /* and in `code` */
	bool ends;               /* the last one never goes on behind itself */
	bool stack[MAX_MOVED];   /* moves the stack pointer: no loop comes back to it */
	u8 code[192];
	u32 size;
};
/*
 * Moves whole instructions of at least `want` bytes from `code` (a copy of at most `avail` bytes from
 * `addr`) to run at `at`. 0, -EINVAL with the reason.
 */
int move_code(const u8 *code, size_t avail, u64 addr, u64 at, u32 want, struct moved *out,
	      const char **why);

/* ---- func.c: what is known of the function around an address ----------------------------------- */

/*
 * Can bytes (addr, addr + m->len) be overwritten: nothing but a fall from addr leads there? `why` has
 * the reason when not.
 */
bool func_allows_jump(u64 addr, const struct moved *m, const char **why);
/* The function around an address, by its object's unwind table; false: none has it. */
bool func_range(u64 addr, u64 *start, u64 *end);
/*
 * Of an address between functions: from where the one before begins to where the next one does. Some
 * code in assembly says nothing to unwinders where the stack is a new one (clone).
 */
bool func_gap(u64 addr, u64 *start, u64 *end);
/* Bytes between functions that no one runs: nops, traps, zeros. They must be readable. */
bool func_is_padding(u64 from, u64 to);
/* setjmp and its like, vfork: a slot is good for one return. */
bool func_returns_twice(const void *addr);
bool func_starts_at(u64 addr); /* false when that is not known */

/* ---- branch.c: where a function branches to ------------------------------------------------------ */

struct branches {
	bool into;    /* one leads into the bytes behind the first of (addr, addr + len) */
	bool unknown; /* one may: its target is not known, or there is data in the code */
};

/*
 * Of the function (start, end) and of its parts elsewhere. `prologue`: no loop comes back to these bytes, so computed
 * branches do not matter.
 */
struct branches branches_into(u64 start, u64 end, u64 addr, u8 len, bool prologue);
/* Does an instruction of the function that begins at `start` lie around `addr`? false where that is not known. */
bool branch_splits(u64 start, u64 end, u64 addr);
/* Is every place inside of what is moved followed by a move of the stack pointer, before the function goes on? */
bool branch_is_prologue(u64 addr, u64 end, const struct moved *m);

/* ---- lend.c: threads that lend their storage to a child ------------------------------------------ */

/* Watched as long as anybody wants it, from the first to the last. */
void lend_watch(bool on);
void lend_flags(u64 flags); /* this thread calls clone(2) with these */

/* ---- area.c: executable memory near an address ------------------------------------------------- */

/* `size` bytes (at most 4096) within reach of a rel32 from `near`; kept for ever. NULL. */
u8 *area_alloc(const void *near, size_t size);
bool area_has(const void *addr);
/* Writes code of this process, whoever may run it: single bytes or with the world stopped. */
int area_write(void *to, const void *from, size_t n);

/* ---- world.c: all other threads of the process, stopped ---------------------------------------- */

struct world_patch {
	u8 *addr;
	u8 bytes[MAX_STOLEN];
	u8 len;
	/* A thread that stands in [addr, addr + len) at from[i] goes on at to[i]. */
	const u8 *from[MAX_MOVED], *to[MAX_MOVED];
	u8 n;
};
/*
 * Writes all patches while no other thread runs. 0, -EPERM when threads cannot be stopped (no ptrace
 * here, a debugger has them): nothing was written then.
 */
int world_patch(const struct world_patch *patches, size_t n);

struct world_dispatch {
	u64 start, len; /* code whose calls are let through */
	s64 selector;   /* the byte that says whether others are, counted from a thread's pointer */
};
/*
 * Syscall user dispatch begins in all other threads. Calls that wait begin anew, or end with EINTR. 0, -EPERM
 * as above, -EOPNOTSUPP (Linux before 6.4, which knows no such thing).
 */
int world_dispatch(const struct world_dispatch *d);

/* ---- site.c ------------------------------------------------------------------------------------ */

struct hook {
	probe_fn fn;
	void *arg;
	u32 flags;
};
/* Replaced as a whole when it changes; freed when no thread can be reading it. */
struct hooks {
	u32 n;
	struct hook hook[];
};

/* A probed address. Made once and kept for ever: a thread may be on its way through it. */
struct site {
	u64 addr;                /* first: known to the assembly, as is the next */
	/* probe_hit or probe_hit_short. Non-zero: return to the caller with regs->rax instead of going on. */
	u32 (*_Atomic hit)(struct site *s, struct pt_regs *regs);
	struct hooks *_Atomic entry, *_Atomic ret;
	struct hook *_Atomic short_entry, *_Atomic short_ret; /* the only one, if it can run so; NULL */
	u8 *stub;                /* where the jump leads */
	const u8 *moved;         /* the original instructions, then back */
	struct moved m;
	u8 orig[MAX_STOLEN], now[MAX_STOLEN]; /* bytes of the program, and what is there instead */
	bool is_start;           /* of a function */
	u8 patched;              /* bytes written; 0 is none */
	bool queued;             /* in the batch being written */
	enum probe_how how;
	const char *trap_why;
	_Atomic u64 missed;
	struct site *next;       /* of the same bucket */
};

int probe_init(void); /* once, before any hit: 0 or -errno */
/* Async-signal-safe: the site whose first byte is at addr, if it was ever probed; else NULL. */
struct site *site_at(u64 addr);

/* ---- hit.c -------------------------------------------------------------------------------------- */

/* The hook that runs a program: `arg` is a struct sys_attach. Plain if the program is. */
void probe_run_prog(struct pt_regs *regs, void *arg);
static inline bool probe_short_now(const struct hook *h)
{
	return sys_short_now(((const struct sys_attach *)h->arg)->p);
}

static inline void probe_short(const struct hook *h, struct pt_regs *regs, u64 func_ip)
{
	const struct sys_attach *a = h->arg;

	sys_short_run(a->p, regs, a->cookie, func_ip);
}

/* ---- thread.c: threads that came by, and waiting for them -------------------------------------- */

/* Why a system call of this thread is not like others. */
enum thread_care {
	CARE_SHARED = 1 << 0, /* some child runs with this record: see whose it is */
	CARE_LATE = 1 << 1,   /* calls are to be told that came between handlers of pthread_atfork() */
	CARE_FORK = 1 << 2,   /* it may be on another stack: inside vfork() */
};

struct pending;
struct site;
struct thread {
	_Atomic u32 tid; /* 0: free; ~0: not known */
	_Atomic u64 busy; /* in a hook: the address of its registers; 1: in other work of ours */
	_Atomic u64 hits;
	u32 npending;
	struct pending *pending; /* returns awaited, the last one first */
	struct pending *spare;   /* slots of its own to use */
	u32 nspare;
	u32 looked, starved;     /* ret.c: stale ones were looked for, how many were left; hits without a slot since */
	const struct site *site; /* of the hook that runs */
	u32 depth;               /* of programs when it began */
	struct pt_regs *override;
	/* Of system calls (syscall_hit.c, syscall_special.c). */
	bool dispatched;         /* its calls from elsewhere raise SIGSYS */
	bool alive;              /* its destructors have not run */
	u32 care;                /* enum thread_care */
	u32 fork_depth;
	u8 *fork_stack[4];       /* for vfork() in vfork() ... */
	struct sc_late *late;
};
/* A hit's writes to its own record: plain stores, as thread_wait() has the fence. */
static inline void thread_enter(struct thread *t, struct site *s, const struct pt_regs *regs)
{
	t->depth = sys_runner.depth;
	atomic_store_explicit(&t->hits, atomic_load_explicit(&t->hits, memory_order_relaxed) + 1, memory_order_relaxed);
	atomic_store_explicit(&t->busy, (u64)(uintptr_t)regs, memory_order_relaxed);
	t->site = s;
	atomic_signal_fence(memory_order_seq_cst);
}
static inline void thread_leave(struct thread *t)
{
	atomic_store_explicit(&t->busy, 0, memory_order_release);
}
extern _Thread_local struct thread *thread_self __attribute__((tls_model("initial-exec")));
/* This thread's record, made at its first hit. No malloc: the probe may be on it. NULL: no room. */
struct thread *thread_get(void);
struct thread *thread_first(void); /* the same with vector registers kept */
void thread_end(void);               /* this thread makes its last system call */
int thread_init(void);
void thread_sync(void);
/*
 * Is the hook, or the short run, that this thread seems to be in really under way? A signal handler that
 * came in between may have left it by longjmp(3): then it is as if it had ended. `regs` is of the new hit.
 */
bool thread_inside(struct thread *t, const struct pt_regs *regs);
bool thread_read(void *to, const void *from, size_t n); /* false: it is not there */
/* Waits until no other thread is in a hook that it entered before this call. */
void thread_wait(void);

/* ---- ret.c ------------------------------------------------------------------------------------- */

/* The function entered with `regs` will come back to us; false: no room. */
bool ret_hijack(struct thread *t, struct site *s, struct pt_regs *regs);
int ret_init(void);
bool ret_has(const void *addr); /* the slots' code */
void ret_forget(struct thread *t); /* what it awaited and never comes */
void ret_give_back(struct thread *t); /* it needs no more slots */

/* ---- trap.c ------------------------------------------------------------------------------------ */

int trap_init(void); /* SIGTRAP is ours for sites; others go to the host's handler */
/* By a thread of this process: the kernel kills it when that runs into a trap. */
bool trap_is_blocked(void);

/* ---- entry_x86_64.S, and what it calls --------------------------------------------------------- */

void probe_entry(void);
void probe_entry_start(void); /* where DF is known to be clear */
void probe_return(void);

u32 probe_hit(struct site *s, struct pt_regs *regs);
void probe_count_missed(struct site *s, const struct hooks *h);
u32 probe_hit_short(struct site *s, struct pt_regs *regs);
u64 probe_returned(u64 slot, struct pt_regs *regs); /* the address to go on at */
void probe_run_hooks(struct thread *t, const struct hooks *h, struct pt_regs *regs);

#endif
