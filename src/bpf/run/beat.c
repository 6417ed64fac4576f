/* SPDX-License-Identifier: MIT */
/*
 * The beat of each thread: a POSIX timer on the thread's own CPU time sends it a real-time signal while
 * it runs, whose handler runs the programs of clocks (clock_int.h). Nothing happens to a thread that
 * waits, and the kernel looks at such timers when its own tick interrupts the thread, some milliseconds
 * apart: with shorter periods a beat makes up for several ticks.
 *
 * The thread may be in the middle of anything. So the handler has a stack of its own, takes no lock and
 * no memory of malloc's (base_in_signal), blocks the host's handlers, which might jump out of it, and does
 * nothing in a thread that is inside Ferry or a program, as the kernel runs no program inside another.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/bpf_perf_event.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "bpf/run/clock_int.h"
#include "bpf/run/run_int.h"
#include "code/code.h"
#include "helper/helper.h"

#define MAX_THREADS 8192 /* further ones have no beat */
#define GUARD       4096u
#define STACK       ((size_t)128 << 10)

/* The thread's CPU time up to which a clock has counted. */
struct spent {
	u32 generation; /* of the clock */
	u64 ns;
};

/* A thread that has a beat. Kept for ever, for another thread when that ended. */
struct beat {
	_Atomic s32 tid;   /* 0: free */
	s32 timer;         /* the kernel's number */
	u64 interval;      /* that it is set to */
	u32 round;         /* of the look that saw the thread last */
	_Atomic u32 inside; /* in the handler */
	_Atomic u32 left;  /* how often it left that */
	u8 *stack;         /* its end */
	ucontext_t *at;    /* where the thread was interrupted */
	struct spent spent[CLOCK_MAX];
	_Alignas(16) u8 task[HELPER_SIGNAL_ROOM];
};

static struct beat *_Atomic beats[MAX_THREADS];
static _Atomic u32 nbeats;
static struct hash by_tid; /* of those in use, by clock.c's thread alone */
static u32 round_now;
static int signo; /* 0: none yet */

/* ---- machine -------------------------------------------------------------------------------- */

#if defined(__x86_64__)
void sys_signal_regs(const void *ucontext, bpf_user_pt_regs_t *r)
{
	const ucontext_t *uc = ucontext;
	const greg_t *g = uc->uc_mcontext.gregs;

	*r = (bpf_user_pt_regs_t){
		.r15 = (u64)g[REG_R15], .r14 = (u64)g[REG_R14], .r13 = (u64)g[REG_R13],
		.r12 = (u64)g[REG_R12], .rbp = (u64)g[REG_RBP], .rbx = (u64)g[REG_RBX],
		.r11 = (u64)g[REG_R11], .r10 = (u64)g[REG_R10], .r9 = (u64)g[REG_R9],
		.r8 = (u64)g[REG_R8], .rax = (u64)g[REG_RAX], .rcx = (u64)g[REG_RCX],
		.rdx = (u64)g[REG_RDX], .rsi = (u64)g[REG_RSI], .rdi = (u64)g[REG_RDI],
		.orig_rax = ~0ul, .rip = (u64)g[REG_RIP], .cs = 0x33,
		.eflags = (u64)g[REG_EFL], .rsp = (u64)g[REG_RSP], .ss = 0x2b,
	};
}

static void call_on(u8 *stack, void (*fn)(struct beat *), struct beat *b)
{
	__asm__ volatile("mov %%rsp, %%rbx\n"
			 "mov %1, %%rsp\n"
			 "call *%2\n"
			 "mov %%rbx, %%rsp\n"
			 : "+D"(b)
			 : "r"(stack), "r"(fn)
			 : "rax", "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "xmm0", "xmm1",
			   "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
			   "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc", "memory");
}
#elif defined(__aarch64__)
void sys_signal_regs(const void *ucontext, bpf_user_pt_regs_t *r)
{
	const ucontext_t *uc = ucontext;

	memcpy(r->regs, uc->uc_mcontext.regs, sizeof(r->regs));
	r->sp = uc->uc_mcontext.sp;
	r->pc = uc->uc_mcontext.pc;
	r->pstate = uc->uc_mcontext.pstate;
}

static void call_on(u8 *stack, void (*fn)(struct beat *), struct beat *b)
{
	register struct beat *x0 __asm__("x0") = b;

	__asm__ volatile("mov x19, sp\n"
			 "mov sp, %1\n"
			 "blr %2\n"
			 "mov sp, x19\n"
			 : "+r"(x0)
			 : "r"(stack), "r"(fn)
			 : "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12",
			   "x13", "x14", "x15", "x16", "x17", "x18", "x19", "x30", "v0", "v1", "v2", "v3",
			   "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23",
			   "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31", "cc", "memory");
}
#endif

/* ---- a beat --------------------------------------------------------------------------------- */

static u64 thread_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static struct spent *spent_of(struct beat *b, u32 i, const struct clock *c, u64 time)
{
	struct spent *s = &b->spent[i];

	if (s->generation != c->generation) { /* it began about one beat ago */
		s->generation = c->generation;
		s->ns = time > b->interval ? time - b->interval : 0;
	}
	return s;
}

/* Periods that the thread ran through. */
static u64 due_of_task(const struct clock *c, struct spent *s, u64 time)
{
	u64 n = (time - s->ns) / c->what.period;

	s->ns += n * c->what.period;
	return n;
}

/*
 * Of the ticks of its processor as many as it ran for: the others belong to processes that are not Ferry's.
 * Ticks that are far apart are not sampling but telling the time: whoever runs then takes them.
 */
static u64 due_of_processor(const struct clock *c, struct spent *s, u64 time, u64 now, u64 interval)
{
	u64 most = clock_busy(interval);
	u64 each = c->what.period < most ? c->what.period : most;
	u32 due = (u32)((time - s->ns) / each), n = clock_take(c->slot, 0, due);
	/*
	 * On a machine that is busy with others a beat takes long to come, and the ticks meanwhile were the idle task's.
	 * For the time that the thread ran since its last beat it gets its own all the same, and the idle task fewer.
	 */
	u32 beat = each < interval ? (u32)(interval / each) : 1, sure = beat < due ? beat : due;

	if (c->what.period <= most && n < sure) {
		clock_borrow(c->slot, sure - n);
		n = sure;
	}
	atomic_store_explicit(&c->slot->beat, now, memory_order_relaxed);
	s->ns += n * each;
	if (time - s->ns > most)
		s->ns = time - most;
	return n;
}

static void run(const struct clock *c, u64 n, const bpf_user_pt_regs_t *regs)
{
	struct bpf_perf_event_data data = { .sample_period = c->what.period };
	struct helper_run how = { .prog = c->what.p, .ctx = &data, .cookie = c->what.cookie };

	for (n = n < CLOCK_MOST ? n : CLOCK_MOST; n; n--) {
		data.regs = *regs;
		sys_run_how_unlisted(&how);
	}
}

static void look_at_clocks(struct beat *b)
{
	/* What it has begun itself it does not run inside of, but the time goes by all the same. */
	bool may = !sys_inside && !base_forking && !sys_runner.depth && !sys_short_inside();
	u64 time = thread_time(), now = clock_now(), n;
	s32 cpu = (s32)map_this_cpu();
	bpf_user_pt_regs_t regs = { 0 };
	struct spent *s;
	struct clock *c;
	u32 i;

	sys_signal_regs(b->at, &regs);
	for (i = 0; i < CLOCK_MAX; i++) {
		c = atomic_load(&clock_table[i]);
		if (!c || (c->what.cpu >= 0 && c->what.cpu != cpu) || (c->tid && c->tid != b->tid))
			continue;
		s = spent_of(b, i, c, time);
		if (c->slot)
			n = may ? due_of_processor(c, s, time, now, b->interval) : 0;
		else
			n = due_of_task(c, s, time);
		if (n && may)
			run(c, n, &regs);
	}
}

static void take(struct beat *b)
{
	const stack_t none = { .ss_flags = SS_DISABLE };
	u8 *room = helper_signal_room;

	/*
	 * The host's stack for signals has on_beat()'s frame, and a fault of the program's would be given
	 * its top, as we are not on it. The return from the handler puts it back (sigaltstack(2)). By no call that
	 * programs see, which may fault.
	 */
	if (!(b->at->uc_stack.ss_flags & SS_DISABLE))
		code_syscall(SYS_sigaltstack, (long)&none, 0, 0, 0, 0);
	/* Whoever waits reads this after it changed the table: as in sys_run_enter(), with the fence. */
	atomic_store(&b->inside, 1);
	base_in_signal++;
	helper_signal_room = b->task;
	look_at_clocks(b);
	helper_signal_room = room;
	base_in_signal--;
	atomic_store_explicit(&b->left, b->left + 1, memory_order_relaxed);
	atomic_store_explicit(&b->inside, 0, memory_order_release);
}

/* Any process of the user may send any signal: what comes with it is looked at. */
static void on_beat(int sig, siginfo_t *info, void *ctx)
{
	u32 i = (u32)info->si_value.sival_int;
	int saved = errno;
	struct beat *b;

	(void)sig;
	if (info->si_code == SI_TIMER && i < MAX_THREADS && (b = beats[i]) &&
	    b->tid == (s32)code_syscall(SYS_gettid, 0, 0, 0, 0, 0) && !b->inside) {
		b->at = ctx;
		call_on(b->stack, take, b);
	}
	errno = saved;
}

int beat_init(void)
{
	struct sigaction act = { .sa_sigaction = on_beat,
				 .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART }, old;
	int sig, err = -EBUSY;

	sys_inside++;
	helper_task_room();
	code_signals_sent(&act.sa_mask);
	for (sig = SIGRTMAX - 1; err && sig > SIGRTMIN; sig--) {
		if (signo && sig != signo)
			continue;
		if (sigaction(sig, NULL, &old))
			continue;
		if (old.sa_flags & SA_SIGINFO ? old.sa_sigaction != on_beat : old.sa_handler != SIG_DFL)
			continue;
		err = sigaction(sig, &act, NULL) ? -errno : 0;
		if (!err) {
			signo = sig;
			code_signal_keep(sig);
		}
	}
	sys_inside--;
	return err;
}

/* ---- timers --------------------------------------------------------------------------------- */

static bool make_timer(struct beat *b, s32 tid, u32 index)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signo };

	ev.sigev_value.sival_int = (int)index;
	ev._sigev_un._tid = tid;
	/* The CPU time of one thread, as the kernel numbers it (include/linux/posix-timers.h). */
	return !syscall(SYS_timer_create, ~(u32)tid << 3 | 6u, &ev, &b->timer);
}

static void set_timer(struct beat *b, u64 interval)
{
	struct itimerspec t = { 0 };

	t.it_value.tv_nsec = t.it_interval.tv_nsec = (long)interval;
	if (!syscall(SYS_timer_settime, b->timer, 0, &t, NULL))
		b->interval = interval;
}

static struct beat *new_beat(u32 *index)
{
	struct beat *b;
	size_t size = GUARD + STACK + sizeof(*b);
	u8 *at;
	u32 i;

	for (i = 0; i < nbeats; i++)
		if (!beats[i]->tid) {
			*index = i;
			return beats[i];
		}
	if (nbeats == MAX_THREADS)
		return NULL;
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	mprotect(at, GUARD, PROT_NONE);
	b = (struct beat *)(at + GUARD + STACK);
	b->stack = (u8 *)b;
	*index = nbeats;
	beats[*index] = b;
	nbeats++;
	return b;
}

static void begin(s32 tid, u64 interval)
{
	u32 index;
	struct beat *b = new_beat(&index);

	if (!b || hash_put(&by_tid, (u64)tid, b))
		return;
	memset(b->spent, 0, sizeof(b->spent));
	memset(b->task, 0, sizeof(b->task));
	b->round = round_now;
	b->tid = tid; /* before the first signal */
	if (!make_timer(b, tid, index)) { /* it has ended, most likely */
		hash_del(&by_tid, (u64)tid);
		b->tid = 0;
		return;
	}
	set_timer(b, interval);
}

static void end(struct beat *b)
{
	syscall(SYS_timer_delete, b->timer);
	hash_del(&by_tid, (u64)b->tid);
	b->tid = 0;
	b->inside = 0; /* a thread that ended there is in it no more */
}

void beat_scan(u64 interval)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *e;
	struct beat *b;
	s32 tid;
	u32 i;

	if (!dir)
		return;
	round_now++;
	while ((e = readdir(dir))) {
		tid = atoi(e->d_name);
		if (tid <= 0 || tid == (s32)gettid())
			continue;
		b = hash_get(&by_tid, (u64)tid);
		if (!b)
			begin(tid, interval);
		else if (b->interval != interval)
			set_timer(b, interval);
		if (b)
			b->round = round_now;
	}
	closedir(dir);
	for (i = 0; i < nbeats; i++)
		/* While others end, the directory may leave out one that has not. */
		if (beats[i]->tid && beats[i]->round != round_now && code_thread_gone((u32)beats[i]->tid))
			end(beats[i]);
}

void beat_stop(void)
{
	u32 i;

	for (i = 0; i < nbeats; i++)
		if (beats[i]->tid)
			syscall(SYS_timer_delete, beats[i]->timer);
	beat_wait(); /* threads may be in the handler still: then their records are not free */
	for (i = 0; i < nbeats; i++)
		beats[i]->tid = 0;
	hash_free(&by_tid);
	memset(&by_tid, 0, sizeof(by_tid));
}

void beat_wait(void)
{
	s32 self = (s32)gettid();
	struct beat *b;
	u32 i, left;

	for (i = 0; i < nbeats; i++) {
		b = beats[i];
		left = b->left;
		while (b->tid != self && atomic_load(&b->inside) && b->left == left) {
			if (b->tid && code_thread_gone((u32)b->tid))
				break;
			sched_yield();
		}
	}
}

void beat_forked(void)
{
	u32 i;

	for (i = 0; i < nbeats; i++) {
		beats[i]->tid = 0;
		beats[i]->inside = 0;
	}
	hash_free(&by_tid);
	memset(&by_tid, 0, sizeof(by_tid));
}
