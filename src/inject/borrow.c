/* SPDX-License-Identifier: MIT */
/*
 * Borrowing a thread of the target: it is stopped (ptrace(2)), makes some system calls for us, and
 * goes on as if nothing had been.
 *
 * We may be killed at any moment. So what the thread is sent to always brings it back by itself: a
 * system call is followed by code that loads its registers and jumps to where it was. The stops we
 * use are none of signals, which a tracer's death would deliver.
 *
 * Where a thread may be borrowed. It will call pthread_create(), which allocates. It must hold no
 * lock of an allocator, and in a process of one thread malloc() takes none, so it must not be inside
 * at all. Allocators call nobody back, so a thread is outside when its innermost frame is: its code is
 * that of a library which does not allocate, or it waits in a system call that allocators do not
 * make. A signal handler may have interrupted one: the frames that the kernel puts on stacks for them
 * are looked for, and the same is asked of what they interrupted.
 */
#include <asm/unistd_64.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "inject/inject_int.h"

#define STOP_MS 2000 /* most system calls that are not interrupted end within this */
#define MAX_SCAN ((u64)64 << 20)

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif
/* PTRACE_GET_, PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG (Linux 6.4) */
#define PTRACE_GET_DISPATCH 0x4210
#define PTRACE_SET_DISPATCH 0x4211

/* ---- system calls, as far as their number says something ---------------------------------------- */

/* Waiting is what threads do that hold nothing; allocators and the dynamic linker do not. */
static bool is_waiting(s64 nr)
{
	static const u16 calls[] = {
		__NR_read, __NR_write, __NR_readv, __NR_writev, __NR_poll, __NR_ppoll, __NR_select, __NR_pselect6,
		__NR_epoll_wait, __NR_epoll_pwait, __NR_epoll_pwait2, __NR_futex, __NR_nanosleep, __NR_clock_nanosleep,
		__NR_wait4, __NR_waitid, __NR_accept, __NR_accept4, __NR_recvfrom, __NR_recvmsg, __NR_recvmmsg,
		__NR_sendto, __NR_sendmsg, __NR_pause, __NR_rt_sigsuspend, __NR_rt_sigtimedwait, __NR_semop,
		__NR_semtimedop, __NR_msgsnd, __NR_msgrcv, __NR_io_getevents, __NR_io_pgetevents,
		__NR_io_uring_enter, __NR_flock, __NR_fcntl, __NR_restart_syscall,
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(calls); i++)
		if (nr == calls[i])
			return true;
	return false;
}

/* These return EINTR to a thread that was stopped, signal or not (signal(7)). */
static bool is_cut_short(s64 nr)
{
	static const u16 calls[] = { __NR_epoll_wait, __NR_epoll_pwait, __NR_epoll_pwait2, __NR_semop,
				     __NR_semtimedop, __NR_rt_sigtimedwait, __NR_msgrcv, __NR_msgsnd,
				     __NR_io_getevents, __NR_io_pgetevents };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(calls); i++)
		if (nr == calls[i])
			return true;
	return false;
}

/* What the kernel would do on the way back to the program, when no signal is to be handled. */
static void settle(struct user_regs_struct *r)
{
	s64 nr = (s64)r->orig_rax, ret = (s64)r->rax;

	r->orig_rax = ~0ull;
	if (nr < 0)
		return;
	if (ret == -516) { /* ERESTART_RESTARTBLOCK */
		r->rax = __NR_restart_syscall;
		r->rip -= 2;
	} else if ((ret <= -512 && ret >= -514) || (ret == -EINTR && is_cut_short(nr))) {
		r->rax = (u64)nr; /* ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND */
		r->rip -= 2;
	}
}

/* ---- may it be borrowed here? ------------------------------------------------------------------- */

/* In code that neither allocates nor is called while somebody does. */
static bool is_outside(const struct target *t, u64 rip)
{
	const struct mapping *m = target_mapping(t, rip);

	return m && m->exec && (!m->module || !t->modules[m->module - 1].allocates);
}

/* The context that a signal interrupted: the system call's number is lost, but not what it said. */
static bool frame_allows(const struct target *t, u64 rip, s64 rax, s32 sig)
{
	u8 code[4];

	if (is_outside(t, rip))
		return true;
	if (target_get(t->pid, rip - 2, code, sizeof(code)))
		return false;
	if (code[0] == 0x0f && code[1] == 0x05 && rax == -EINTR)
		return true;
	if (code[0] == 0x0f && code[1] == 0x05 && sig == SIGSYS && is_waiting(rax))
		return true; /* it was not made: the handler sees to it */
	return code[2] == 0x0f && code[3] == 0x05 && is_waiting(rax); /* to be made again */
}

/* A word of the stack may begin what the kernel pushes for a handler (struct rt_sigframe). */
#define FRAME_WORDS 40 /* restorer, ucontext, the signal's number */
#define FRAME_SIGNAL 39
static bool is_frame(const struct target *t, const u64 *w)
{
	const u64 *gregs = w + 6;
	const struct mapping *m;

	if (!w[1] || w[1] > 7 || w[2] || (gregs[18] & 0xffff) != 0x33)
		return false;
	m = target_mapping(t, w[0]);
	return m && m->exec && target_mapping(t, gregs[16]);
}

/* No handler runs that interrupted something which holds locks. */
static bool stack_allows(const struct target *t, u64 rsp)
{
	const struct mapping *m = target_mapping(t, rsp);
	u64 buf[1024], at, end, n, i;

	if (!m)
		return false;
	end = m->end - rsp > MAX_SCAN ? rsp + MAX_SCAN : m->end;
	for (at = ALIGN_UP(rsp, 8); at + FRAME_WORDS * 8 <= end; at += (n - FRAME_WORDS + 1) * 8) {
		n = (end - at) / 8 < ARRAY_SIZE(buf) ? (end - at) / 8 : ARRAY_SIZE(buf);
		if (target_get(t->pid, at, buf, n * 8))
			return false;
		for (i = 0; i + FRAME_WORDS <= n; i++)
			if (is_frame(t, buf + i) && !frame_allows(t, buf[i + 6 + 16], (s64)buf[i + 6 + 13], (s32)buf[i + FRAME_SIGNAL]))
				return false;
	}
	return true;
}

/* A restartable sequence (rseq(2)) would go on in its middle. */
static bool in_rseq(pid_t pid, pid_t tid, u64 rip)
{
	struct {
		u64 addr;
		u32 size, signature, flags, pad;
	} conf = { 0 };
	struct {
		u32 version, flags;
		u64 start, length, abort;
	} cs;
	u64 at;

	if (ptrace((enum __ptrace_request)PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(conf), &conf) <= 0 || !conf.addr ||
	    target_get(pid, conf.addr + 8, &at, sizeof(at)) || !at || target_get(pid, at, &cs, sizeof(cs)))
		return false;
	return rip - cs.start < cs.length;
}

static bool has_signal(const struct target *t, pid_t tid)
{
	u64 own = (u64)target_status(t->pid, tid, "SigPnd:", 16);
	u64 shared = (u64)target_status(t->pid, tid, "ShdPnd:", 16);

	return (own | shared) & ~(u64)target_status(t->pid, tid, "SigBlk:", 16);
}

static bool allows(const struct target *t, pid_t tid, const struct user_regs_struct *r)
{
	bool in_call = (s64)r->orig_rax >= 0;
	const char *why = NULL;

	if (has_signal(t, tid))
		why = "a signal waits for it";
	else if (in_rseq(t->pid, tid, r->rip))
		why = "it is in a restartable sequence";
	else if (in_call ? !is_waiting((s64)r->orig_rax) : !is_outside(t, r->rip))
		why = "it may hold locks";
	else if (!stack_allows(t, r->rsp))
		why = "it is in a handler that interrupted what may hold locks";
	if (why)
		log_msg(LOG_DEBUG, "thread %d at 0x%llx, system call %lld: %s", tid, r->rip, (long long)r->orig_rax, why);
	return !why;
}

/* ---- syscall user dispatch ------------------------------------------------------------------------ */

/* Calls from elsewhere than a given range raise SIGSYS (prctl(2)): not those that it makes for us. */
struct dispatch {
	u64 mode, selector, offset, len;
};

static void dispatch_off(struct borrowed *b)
{
	struct dispatch d = { 0 }, off = { 0 };

	b->dispatched = !ptrace((enum __ptrace_request)PTRACE_GET_DISPATCH, b->tid, sizeof(d), &d) && d.mode;
	if (!b->dispatched)
		return;
	memcpy(b->dispatch, &d, sizeof(d));
	ptrace((enum __ptrace_request)PTRACE_SET_DISPATCH, b->tid, sizeof(off), &off);
}

static void dispatch_on(struct borrowed *b)
{
	if (b->dispatched)
		ptrace((enum __ptrace_request)PTRACE_SET_DISPATCH, b->tid, sizeof(b->dispatch), b->dispatch);
}

/* ---- stopping ----------------------------------------------------------------------------------- */

static void nap(void)
{
	struct timespec ts = { 0, 50000 };

	nanosleep(&ts, NULL);
}

/* Its next stop: the status, or -ESRCH, -ETIMEDOUT. */
static int wait_stop(pid_t tid)
{
	struct timespec begin, now;
	int status;
	pid_t got;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (;;) {
		got = waitpid(tid, &status, __WALL | WNOHANG);
		if (got == tid)
			return WIFSTOPPED(status) ? status : -ESRCH;
		if (got < 0 && errno != EINTR)
			return -ESRCH;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 > STOP_MS)
			return -ETIMEDOUT;
		nap();
	}
}

/*
 * A thread that another one's execve(2) has killed is not to be let go, and is to be waited for: that execve holds the
 * process until then, and with it whoever would trace another thread (ptrace(2), "execve(2) under ptrace").
 */
static void let_go(pid_t tid, int sig)
{
	int status, i;

	if (!ptrace(PTRACE_DETACH, tid, NULL, sig))
		return;
	for (i = 0; i < STOP_MS; i++) {
		pid_t got = waitpid(tid, &status, __WALL | WNOHANG);

		if ((got < 0 && errno != EINTR) || (got == tid && !WIFSTOPPED(status)))
			return;
		if (got == tid && !ptrace(PTRACE_DETACH, tid, NULL, WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status)))
			return;
		usleep(1000);
	}
}

static int refused(const struct target *t, int err, struct text *why)
{
	s64 tracer = target_status(t->pid, t->pid, "TracerPid:", 10);

	if (err == ESRCH || target_is_over(t->pid)) {
		text_printf(why, "process %d has ended meanwhile", t->pid);
		return -ESRCH;
	}
	if (tracer > 0) {
		text_printf(why, "process %d is being traced by process %d: one tracer at a time", t->pid, (int)tracer);
		return -EBUSY;
	}
	return target_refused(t->pid, why);
}

int borrow_thread(const struct target *t, pid_t tid, struct borrowed *b, struct text *why)
{
	int status;

	*b = (struct borrowed){ .t = t, .tid = tid, .cave = elf_cave(t) };
	if (!b->cave) {
		text_printf(why, "process %d has no room behind any code", t->pid);
		return -ENOTSUP;
	}
	/* Without PTRACE_O_EXITKILL: it survives us. */
	if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD))
		return errno == ESRCH && tid != t->pid ? -EAGAIN : refused(t, errno, why);
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	status = wait_stop(tid);
	if (status == -ETIMEDOUT) {
		text_printf(why, "thread %d of process %d does not stop: it waits in the kernel", tid, t->pid);
		return -EBUSY;
	}
	if (status < 0)
		return -EAGAIN;
	if (status >> 16 != PTRACE_EVENT_STOP || WSTOPSIG(status) != SIGTRAP) {
		/* A signal came first, or it is being stopped. */
		let_go(tid, status >> 16 ? 0 : WSTOPSIG(status));
		return -EAGAIN;
	}
	if (target_changed(t)) {
		let_go(tid, 0);
		return -ESTALE;
	}
	if (ptrace(PTRACE_GETREGS, tid, NULL, &b->regs) || b->regs.cs != 0x33 || !allows(t, tid, &b->regs)) {
		/* The kernel restarts what was interrupted, but for these. */
		if ((s64)b->regs.rax == -EINTR && !has_signal(t, tid)) {
			settle(&b->regs);
			ptrace(PTRACE_SETREGS, tid, NULL, &b->regs);
		}
		let_go(tid, 0);
		return -EAGAIN;
	}
	settle(&b->regs);
	dispatch_off(b);
	return 0;
}

/* ---- what it does for us ------------------------------------------------------------------------ */

/* The call, then everything that it or we changed, then back: at least as long as a cave's 128 bytes. */
static size_t write_call(const struct user_regs_struct *r, u8 code[128])
{
	static const u8 loads[][2] = { { 0x48, 0xb8 }, { 0x48, 0xb9 }, { 0x49, 0xbb }, { 0x48, 0xbf }, { 0x48, 0xbe },
				       { 0x48, 0xba }, { 0x49, 0xba }, { 0x49, 0xb8 }, { 0x49, 0xb9 } };
	const u64 values[] = { r->rax, r->rcx, r->r11, r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 };
	size_t n = 0, i;

	memset(code, 0xcc, 128);
	code[n++] = 0x0f; /* syscall */
	code[n++] = 0x05;
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		memcpy(code + n, loads[i], 2); /* mov imm64 */
		memcpy(code + n + 2, &values[i], 8);
		n += 10;
	}
	memcpy(code + n, "\xff\x25\0\0\0\0", 6); /* jmp [rip] */
	memcpy(code + n + 6, &r->rip, 8);
	return n + 14;
}

static int poke(pid_t tid, u64 at, const u64 *words, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (ptrace(PTRACE_POKEDATA, tid, at + i * 8, words[i]))
			return -errno;
	return 0;
}

/* From one stop at a system call to the next; -EAGAIN: it was something else, and the thread is gone. */
static int run_to_call(struct borrowed *b)
{
	int status;

	if (ptrace(PTRACE_SYSCALL, b->tid, NULL, NULL))
		return -ESRCH;
	status = wait_stop(b->tid);
	if (status < 0)
		return -ESRCH;
	if (WSTOPSIG(status) == (SIGTRAP | 0x80))
		return 0;
	dispatch_on(b);
	ptrace(PTRACE_SETREGS, b->tid, NULL, &b->regs);
	let_go(b->tid, status >> 16 ? 0 : WSTOPSIG(status));
	return -EAGAIN;
}

int borrow_syscall(struct borrowed *b, long nr, const u64 args[6], s64 *ret)
{
	struct user_regs_struct r = b->regs;
	u64 code[16], old[16];
	int err = target_get(b->t->pid, b->cave, old, sizeof(old));

	if (err)
		return err;
	write_call(&b->regs, (u8 *)code);
	r.rip = b->cave;
	r.rax = (u64)nr;
	r.rdi = args[0];
	r.rsi = args[1];
	r.rdx = args[2];
	r.r10 = args[3];
	r.r8 = args[4];
	r.r9 = args[5];
	err = poke(b->tid, b->cave, code, ARRAY_SIZE(code));
	if (!err && ptrace(PTRACE_SETREGS, b->tid, NULL, &r))
		err = -ESRCH;
	if (!err)
		err = run_to_call(b);
	if (!err)
		err = run_to_call(b);
	if (!err && ptrace(PTRACE_GETREGS, b->tid, NULL, &r))
		err = -ESRCH;
	if (!err) {
		*ret = (s64)r.rax;
		err = ptrace(PTRACE_SETREGS, b->tid, NULL, &b->regs) ? -ESRCH : poke(b->tid, b->cave, old, ARRAY_SIZE(old));
	}
	if (err == -ESRCH)
		let_go(b->tid, 0);
	return err;
}

int borrow_return(struct borrowed *b, u64 rip, u64 rsp)
{
	struct user_regs_struct r = b->regs;

	if (rip) {
		r.rip = rip;
		r.rsp = rsp;
		r.eflags = 0x202;
	} else {
		dispatch_on(b);
	}
	if (!ptrace(PTRACE_SETREGS, b->tid, NULL, &r) && !ptrace(PTRACE_DETACH, b->tid, NULL, NULL))
		return 0;
	let_go(b->tid, 0);
	return -ESRCH;
}
