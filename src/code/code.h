/* SPDX-License-Identifier: MIT */
/*
 * Executable memory that is never writable and executable at once, and a table of code addresses
 * that may fault.
 */
#ifndef FERRY_CODE_H
#define FERRY_CODE_H

#include <signal.h>
#include <sys/syscall.h>

#include "base/base.h"

/*
 * A region of machine code with a guard page at each end. It is written, sealed, run, freed.
 * `near` (may be NULL) is an address that rel32 calls should reach: placed within 2 GiB of it if
 * the address space allows.
 */
struct code_region;
int code_alloc(size_t size, const void *near, struct code_region **out); /* 0, -ENOMEM, -EPERM */
/*
 * An address to be beside for what the main program calls by pointer, as its own functions are: processors follow
 * branches whose ends differ in the upper 32 bits more slowly.
 */
const void *code_main(void);
u8 *code_write(struct code_region *r);       /* where to write; NULL once sealed */
const u8 *code_addr(const struct code_region *r); /* where it will run, known before sealing */
size_t code_size(const struct code_region *r);
int code_seal(struct code_region *r);        /* 0 or -errno; unused room is filled with traps */
void code_free(struct code_region *r);       /* nobody may be inside */

bool code_has(const void *addr);             /* in some region that was not freed */

/* May this process make machine code at all? No with FERRY_NO_JIT=1 and under hardened kernels. */
bool code_allowed(void);

/* ---- others.c: other threads --------------------------------------------------------------------- */

/*
 * The process that this memory is of. A child of vfork(2) and its like runs in it with another number, in which
 * none of the threads are.
 */
u32 code_memory_pid(void);
bool code_memory_lent(void); /* to the caller: it is such a child */
/* Has this thread of it ended? A number that no thread has, as ~0, never does. */
bool code_thread_gone(u32 tid);
/* Behind it the stores of all other threads that were made before are seen. False: it takes a while, always. */
bool code_barrier_init(void);
void code_barrier(void);
void code_settle(void); /* takes that while */
/*
 * For a moment, and where malloc and pthread_mutex_lock may be what is probed. What a thread has that ended, that
 * jumped away or that did not come along into a child of fork(2) is the next one's: what it is for has to be in
 * order at any instruction. Nothing is nested inside.
 */
void code_lock(u64 *lock);
void code_unlock(u64 *lock);

/*
 * Copies that survive bad addresses: 0 (or the string's length with its NUL, at most `n`) on
 * success, -EFAULT otherwise; what could be copied before the fault may have been copied.
 * `n` may be 0. Async-signal-safe.
 */
int code_copy_safe(void *dst, const void *src, size_t n);
/*
 * A child that shares memory (vfork(2), posix_spawn(3)) has signal handlers of its own, which libc may have reset, and
 * signals that it blocks: its copies are made by the kernel. While a child may run with the storage of a thread,
 * that thread's number stands here, with CODE_LENT_ONCE if the child has gone when the thread goes on.
 */
#define CODE_LENT_ONCE (1u << 31)
extern _Thread_local u32 code_lender __attribute__((tls_model("initial-exec")));
s64 code_copy_string_safe(char *dst, const char *src, size_t n);
/*
 * For where nanoseconds count, once one of the others has been called: a copy, and the four fields that
 * many of bpf(2)'s attrs begin with: a u32, four bytes of anything, three u64.
 */
int code_copy_ready(void *dst, const void *src, size_t n);
int code_copy_fields(u64 dst[4], const void *src);

/*
 * Machine code that may fault: when an instruction inside [start, end) gets SIGSEGV or SIGBUS,
 * execution goes on at `resume`, with `on_fault` called first in the signal handler (may be NULL)
 * with the register file of the thread. Lookup is lock-free and async-signal-safe. Other faults go
 * to the handler that the host had. Entries of a region are removed before the region is freed.
 */
struct code_fault {
	const void *start, *end, *resume;
	void (*on_fault)(const struct code_fault *f, void *ucontext, const void *addr);
	void *arg;
};
int code_fault_add(const struct code_fault *entries, size_t n); /* sorted by start; 0 or -errno */
void code_fault_remove(const void *start, const void *end);     /* all within */

/*
 * Calls fn(args[0], ..., args[4]) so that its faults come back here: SIGSEGV, SIGBUS, SIGFPE and SIGILL
 * that neither the table above knows nor anything that it was called through. g->sig is 0 when it returned,
 * else the signal; its stack frames are gone, and whatever it held is still held. Needs
 * code_guard_init() to have returned 0 once.
 */
struct code_guard {
	void *sp; /* first: the assembly's */
	struct code_guard *prev;
	int sig;
};
u64 code_guard(struct code_guard *g, const void *fn, const u64 *args);
int code_guard_init(void);
/* The guard that this thread's faults go to: NULL hides it from what may not be left in the middle. */
extern _Thread_local struct code_guard *code_guard_top __attribute__((tls_model("initial-exec")));

/*
 * x86-64: fn(a, b) with every vector register as it was afterwards, whatever fn does; for code that runs
 * where those are live. code_kept_call is the same for machine code: it calls what rax points to with
 * up to five arguments in their registers, and the result is in rax.
 */
#if defined(__x86_64__)
void code_keep_vectors(void (*fn)(void *a, void *b), void *a, void *b);
#else
static inline void code_keep_vectors(void (*fn)(void *a, void *b), void *a, void *b)
{
	fn(a, b);
}
#endif
void code_kept_call(void);

/*
 * A system call of Ferry's own, by the instruction itself: no event of the program's, and not by way of
 * libc, which may be what is probed. The result or -errno. x86-64: such
 * instructions lie in a section of their own.
 */
long code_syscall(long n, long a, long b, long c, long d, long e);
/* Who this process is to the kernel; getuid(2) may say what its program is to believe (preload/user.c). */
static inline u32 code_uid(void)
{
	return (u32)code_syscall(SYS_getuid, 0, 0, 0, 0, 0);
}
static inline u32 code_euid(void)
{
	return (u32)code_syscall(SYS_geteuid, 0, 0, 0, 0, 0);
}
#if defined(__x86_64__)
extern const u8 __start_ferry_calls[], __stop_ferry_calls[] __attribute__((visibility("hidden")));
#endif

/* What hooks of sigaction(2) in src/preload need: the host's handler for a signal we handle. */
bool code_fault_owns(int sig);
struct sigaction;
int code_fault_host_action(int sig, const struct sigaction *act, struct sigaction *old);

/*
 * SIGTRAP and SIGSYS that instructions of ours raise: `fn` says whether it was one, and has then put the
 * registers where to go on; it is asked about signals that were sent too (si_code). Others are the host's. 0, -EINVAL (another signal), -errno.
 */
typedef bool (*code_signal_fn)(siginfo_t *info, void *ucontext);
int code_signal_claim(int sig, code_signal_fn fn);
/*
 * The kernel kills a process whose instruction raises a signal that is blocked: takes those that we own out
 * of a set to be blocked. As the kernel's mask: bit N - 1 for signal N. What Ferry's own threads may block:
 * code_signals_sent().
 */
void code_signals_let_through(sigset_t *set);
u64 code_signals_owned(void); /* calls nothing of libc */
void code_signals_sent(sigset_t *out);
/*
 * Of those that we own: what this thread's program believes to be blocked, and what it asked for by
 * sigprocmask(2) and by the mask of an action. As the kernel's mask; they touch no vector register.
 */
u64 code_mask_believed(void);
void code_mask_change(int how, u64 set);
void code_mask_inherit(u64 mask); /* by a new thread, whose libc will set its mask once */
bool code_mask_is_libcs(int how, u64 set); /* one of libc's own changes, for a moment: it has been dealt with */
s64 code_mask_place(void); /* where a thread's is, counted from its pointer (x86-64) */
/*
 * What the kernel or assembly laid on a stack: functions that a cancelled thread left there never took AddressSanitizer's
 * poison away.
 */
#if defined(__SANITIZE_ADDRESS__)
void __asan_handle_no_return(void);
void __asan_unpoison_memory_region(void const volatile *addr, size_t size);
#define code_stack_given(at, size) __asan_unpoison_memory_region(at, size)
#else
#define code_stack_given(at, size) ((void)(at))
#endif
/*
 * The program's handler of a signal that we own begins, for which it has `bits` blocked; `frame` is its caller's, `sp` where it came by.
 * Those are not blocked: programs of ours may run in there, and read by faulting. False: so many run inside of one
 * another that it can only be one that faults itself, which would have ended the process.
 */
struct code_handler {
	u64 believed, sp;
	u32 bits, depth;
};
bool code_handler_begin(struct code_handler *before, u64 frame, u64 sp, u64 bits);
void code_handler_end(const struct code_handler *before);
u64 code_action_believed(int sig);
void code_action_change(int sig, u64 mask);
/* A signal that we send ourselves: nobody else is to wait for it (sigwait). */
void code_signal_keep(int sig);
u64 code_signals_kept(void);

/* Registers machine code and its unwind table (.eh_frame) with a debugger that is or will be there. */
void code_tell_debugger(const void *code, size_t size, const void *frame, size_t frame_size);

#endif
