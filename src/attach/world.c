/* SPDX-License-Identifier: MIT */
/*
 * Stops all other threads of this process, writes code, and lets them go on. A short-lived task that
 * shares our memory but is no thread of ours traces them (ptrace(2)), so that signal masks do not
 * matter and each stands at a known instruction. As with any debugger, some system calls that wait
 * (signal(7): epoll_wait among them) return EINTR.
 *
 * The task has our thread-local storage at its hands while we use it: system calls only, no libc.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach/attach_int.h"
#include "bpf/run/run.h"
#include "code/code.h"

#define MAX_THREADS 8192
#define STACK ((size_t)64 << 10)

struct stopped {
	s32 tid;
	s32 signal; /* it was about to get this one */
};

struct world {
	const struct world_patch *patches;
	const struct world_patch **sorted; /* by address */
	size_t n;
	u64 caller_sp;
	s32 pid, caller;
	s32 mem;     /* /proc/self/mem */
	s32 tasks;   /* /proc/self/task */
	u32 go;      /* futex: the tracer may begin */
	s32 result;
	const struct world_dispatch *dispatch; /* NULL: none */
	s64 believed; /* what is blocked, counted from a thread's pointer */
	u32 nthreads;
	struct stopped threads[MAX_THREADS];
};

static bool is_zombie(struct world *w, const char *tid)
{
	char path[32], buf[256];
	size_t i, n = 0;
	long fd, len;

	while (tid[n])
		path[n] = tid[n], n++;
	for (i = 0; i < 6; i++)
		path[n + i] = "/stat"[i];
	fd = SYS(SYS_openat, w->tasks, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return true;
	len = SYS(SYS_read, fd, buf, sizeof(buf), 0);
	SYS(SYS_close, fd, 0, 0, 0);
	/* "TID (NAME) STATE": the name may have anything in it. */
	for (; len > 2; len--)
		if (buf[len - 1] == ')')
			return len + 1 < (long)sizeof(buf) && (buf[len + 1] == 'Z' || buf[len + 1] == 'X');
	return false;
}

/* 1: it is about to stop; 0: it has gone; -errno. */
static int stop(struct world *w, s32 tid, const char *name)
{
	long err;

	err = SYS(SYS_ptrace, PTRACE_SEIZE, tid, 0, 0);
	if (err)
		return err == -ESRCH || is_zombie(w, name) ? 0 : (int)err;
	SYS(SYS_ptrace, PTRACE_INTERRUPT, tid, 0, 0);
	w->threads[w->nthreads++].tid = tid;
	return 1;
}

/* Until all from number `first` on stand; those that have gone are forgotten. */
static void await(struct world *w, u32 first)
{
	struct stopped *t;
	s32 status;
	u32 i;
	long err;

	for (i = first; i < w->nthreads;) {
		t = &w->threads[i];
		do
			err = SYS(SYS_wait4, t->tid, &status, __WALL, 0);
		while (err == -EINTR);
		if (err < 0 || !WIFSTOPPED(status)) {
			*t = w->threads[--w->nthreads];
			continue;
		}
		t->signal = status >> 16 == PTRACE_EVENT_STOP ? 0 : WSTOPSIG(status);
		i++;
	}
}

static bool is_stopped(const struct world *w, s32 tid)
{
	u32 i;

	for (i = 0; i < w->nthreads; i++)
		if (w->threads[i].tid == tid)
			return true;
	return false;
}

/* One look through the task directory: how many more were stopped, or -errno. */
static int stop_some(struct world *w)
{
	struct {
		u64 ino, off;
		u16 len;
		u8 type;
		char name[];
	} __attribute__((packed)) * e;
	int more = 0, got;
	u32 first = w->nthreads;
	char buf[4096];
	const char *p;
	long n, i;
	s32 tid;

	SYS(SYS_lseek, w->tasks, 0, SEEK_SET, 0);
	while ((n = SYS(SYS_getdents64, w->tasks, buf, sizeof(buf), 0)) > 0)
		for (i = 0; i < n; i += e->len) {
			e = (void *)(buf + i);
			for (tid = 0, p = e->name; *p >= '0' && *p <= '9'; p++)
				tid = tid * 10 + (*p - '0');
			if (!tid || tid == w->caller || is_stopped(w, tid))
				continue;
			got = w->nthreads == MAX_THREADS ? -EPERM : stop(w, tid, e->name);
			if (got < 0) {
				await(w, first);
				return got;
			}
			more += got;
		}
	await(w, first);
	return n < 0 ? (int)n : more;
}

/* A thread's storage is libc's if it begins as that has it: its address, and again two words on (tcbhead_t). */
static bool has_storage(const struct world *w, u64 at)
{
	u64 head[3];

	return SYS(SYS_pread64, w->mem, head, sizeof(head), at) == sizeof(head) && head[0] == at && head[2] == at;
}

/* What it blocked it is to believe blocked (src/code/mask.c). */
static void note_blocked(const struct world *w, s32 tid, u64 bits)
{
	struct user_regs_struct regs;
	u64 at, believed;

	if (SYS(SYS_ptrace, PTRACE_GETREGS, tid, 0, &regs) || !has_storage(w, regs.fs_base))
		return;
	at = regs.fs_base + (u64)w->believed;
	if (SYS(SYS_pread64, w->mem, &believed, sizeof(believed), at) != sizeof(believed))
		return;
	believed |= bits;
	SYS(SYS_pwrite64, w->mem, &believed, sizeof(believed), at);
}

/* A thread that blocks SIGTRAP and the like would be killed by a probe that is a trap (code.h). */
static int unblock(const struct world *w, s32 tid)
{
	u64 mask, owned = code_signals_owned();

	if (SYS(SYS_ptrace, PTRACE_GETSIGMASK, tid, sizeof(mask), &mask))
		return -EPERM;
	if (!(mask & owned))
		return 0;
	note_blocked(w, tid, mask & owned);
	mask &= ~owned;
	return SYS(SYS_ptrace, PTRACE_SETSIGMASK, tid, sizeof(mask), &mask) ? -EPERM : 0;
}

/* Where a thread that is at `rip` is to go on: 0, it stays; ~0: inside what is to change, at no instruction. */
static u64 other_place(const struct world *w, u64 rip)
{
	size_t lo = 0, hi = w->n, mid;
	const struct world_patch *p;
	u32 i;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if ((u64)(uintptr_t)w->sorted[mid]->addr < rip)
			lo = mid + 1;
		else
			hi = mid;
	}
	p = lo ? w->sorted[lo - 1] : NULL;
	if (!p || rip >= (u64)(uintptr_t)p->addr + p->len)
		return 0;
	for (i = 0; i < p->n; i++)
		if (rip == (u64)(uintptr_t)p->from[i])
			return (u64)(uintptr_t)p->to[i];
	return ~0ull;
}

/*
 * A signal handler returns to where its thread was interrupted: the instruction pointer in the frame on the
 * stack (struct sigcontext), told by what lies beside it: flags, then the segments. Handlers run near the top.
 */
#define FRAMES ((u64)64 << 10)

static void move_frames(struct world *w, u64 sp)
{
	u64 words[514], end = sp + FRAMES, to;
	long n, i;

	for (; sp < end; sp += 4096) {
		n = SYS(SYS_pread64, w->mem, words, sizeof(words), sp) / 8;
		for (i = 0; i + 2 < n; i++) {
			if ((words[i + 2] & 0xffff) != 0x33 || (words[i + 1] & ~0x3fffffull) || !(words[i + 1] & 2))
				continue;
			to = other_place(w, words[i]);
			if (to && ~to)
				SYS(SYS_pwrite64, w->mem, &to, 8, sp + 8 * (u64)i);
		}
		if (n < (long)ARRAY_SIZE(words))
			break; /* the stack's end */
	}
}

/* Threads inside bytes that are to change go on in the copy. */
static int move_thread(struct world *w, s32 tid)
{
	struct user_regs_struct regs;
	u64 to;

	if (SYS(SYS_ptrace, PTRACE_GETREGS, tid, 0, &regs))
		return -EPERM;
	move_frames(w, regs.rsp & ~7ull);
	to = other_place(w, regs.rip);
	if (!to)
		return 0;
	if (!~to)
		return -EBUSY;
	regs.rip = to;
	return SYS(SYS_ptrace, PTRACE_SETREGS, tid, 0, &regs) ? -EPERM : 0;
}

/* ---- syscall user dispatch ------------------------------------------------------------------------ */

#ifndef PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG
#define PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG 0x4210 /* Linux 6.4 */
#endif

static int dispatch(const struct world *w, s32 tid)
{
	struct user_regs_struct regs;
	struct {
		u64 mode, selector, start, len; /* struct ptrace_sud_config */
	} config = { 1, 0, w->dispatch->start, w->dispatch->len };
	u8 on = 1;
	long err;

	if (SYS(SYS_ptrace, PTRACE_GETREGS, tid, 0, &regs))
		return -EPERM;
	if (!has_storage(w, regs.fs_base))
		return 0; /* its handler could not run: not seen */
	config.selector = regs.fs_base + (u64)w->dispatch->selector;
	if (SYS(SYS_pwrite64, w->mem, &on, 1, config.selector) != 1)
		return -EPERM;
	err = SYS(SYS_ptrace, PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG, tid, sizeof(config), &config);
	return err == -EIO || err == -EINVAL ? -EOPNOTSUPP : (int)err;
}

/* ---- the task --------------------------------------------------------------------------------------- */

static int trace(void *arg)
{
	struct world *w = arg;
	int err;
	size_t i;

	/* The process may be killed meanwhile: it is not to leave a task behind that waits for ever. */
	SYS(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
	if (SYS(SYS_getppid, 0, 0, 0, 0) != w->pid)
		return 0;
	while (!__atomic_load_n(&w->go, __ATOMIC_ACQUIRE))
		SYS(SYS_futex, &w->go, FUTEX_WAIT, 0, 0);
	do
		err = stop_some(w);
	while (err > 0);
	for (i = 0; !err && i < w->nthreads; i++)
		err = unblock(w, w->threads[i].tid) ? -EPERM : move_thread(w, w->threads[i].tid);
	if (!err)
		move_frames(w, w->caller_sp);
	for (i = 0; !err && i < w->n; i++)
		if (SYS(SYS_pwrite64, w->mem, w->patches[i].bytes, w->patches[i].len,
			w->patches[i].addr) != w->patches[i].len)
			err = -EPERM; /* the first one already, if any: the file is the same */
	for (i = 0; !err && w->dispatch && i < w->nthreads; i++)
		err = dispatch(w, w->threads[i].tid);
	for (i = 0; i < w->nthreads; i++)
		SYS(SYS_ptrace, PTRACE_DETACH, w->threads[i].tid, 0, w->threads[i].signal);
	w->result = err;
	return 0;
}

static int run_tracer(struct world *w)
{
	sigset_t all, old;
	int pid, status;
	u8 *stack;

	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack == MAP_FAILED)
		return -ENOMEM;
	/* The task must not run our handlers. */
	code_signals_sent(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	sys_inside++; /* it runs no programs: lend.c */
	pid = clone(trace, stack + STACK, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED, w);
	sys_inside--;
	if (pid > 0) {
		/* Yama lets only those trace who are named; without it there is nothing to name. */
		prctl(PR_SET_PTRACER, pid, 0, 0, 0);
		__atomic_store_n(&w->go, 1, __ATOMIC_RELEASE);
		syscall(SYS_futex, &w->go, FUTEX_WAKE, 1, NULL, NULL, 0);
		while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
			;
		prctl(PR_SET_PTRACER, 0, 0, 0, 0);
	} else {
		w->result = -EPERM;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	munmap(stack, STACK);
	return w->result;
}

static int by_addr(const void *a, const void *b)
{
	const struct world_patch *const *x = a, *const *y = b;

	return (*x)->addr < (*y)->addr ? -1 : (*x)->addr > (*y)->addr;
}

/* One at a time: a thread has one tracer, and the process names one. */
static u64 lock;

static int change(const struct world_patch *patches, size_t n, const struct world_dispatch *d)
{
	const struct world_patch **sorted = base_array(n ? n : 1, sizeof(*sorted));
	struct world *w = base_alloc(sizeof(*w));
	int err = -EPERM;
	size_t i;

	if (!w || !sorted) {
		base_free(w);
		base_free(sorted);
		return -ENOMEM;
	}
	for (i = 0; i < n; i++)
		sorted[i] = &patches[i];
	qsort(sorted, n, sizeof(*sorted), by_addr);
	w->patches = patches;
	w->sorted = sorted;
	w->n = n;
	w->dispatch = d;
	w->believed = code_mask_place();
	w->caller_sp = (u64)(uintptr_t)__builtin_frame_address(0);
	w->pid = getpid();
	w->caller = (s32)syscall(SYS_gettid);
	w->result = -EPERM;
	w->mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	w->tasks = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->mem >= 0 && w->tasks >= 0) {
		code_lock(&lock);
		err = run_tracer(w);
		code_unlock(&lock);
	}
	if (w->mem >= 0)
		close(w->mem);
	if (w->tasks >= 0)
		close(w->tasks);
	base_free(w);
	base_free(sorted);
	return err;
}

int world_patch(const struct world_patch *patches, size_t n)
{
	return change(patches, n, NULL);
}

int world_dispatch(const struct world_dispatch *d)
{
	return change(NULL, 0, d);
}
