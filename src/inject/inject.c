/* SPDX-License-Identifier: MIT */
/*
 * A thread of ours in another process: made by a borrowed one, it then carries out calls that we
 * write into its memory. When we are killed it finds no further call and ends.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "inject/inject_int.h"

/* Without a call from us the thread there ends after some three seconds, of which it wakes often in the first. */
#define PAUSE_NS 100000
#define LONGER_NS 10000000
#define ROUNDS (BLOB_LONG_ROUNDS + 2000)
#define START_MS 5000

struct inject {
	struct target t;
	u64 area;      /* BLOB_SIZE bytes of the target */
	pid_t tid;     /* of the borrowed thread */
	u32 calls;     /* made so far */
	u64 dlopen, dlsym, dlerror, munmap, create, detach, errno_location;
	bool running;  /* our thread is there */
	bool failed;   /* it could not be made */
};

extern const u8 blob_start[], blob_borrow[], blob_end[];

static u64 now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000 + (u64)ts.tv_nsec / 1000000;
}

static void nap(u32 us)
{
	struct timespec ts = { 0, us * 1000L };

	nanosleep(&ts, NULL);
}

/* ---- where functions are ------------------------------------------------------------------------ */

static int find_functions(struct inject *in, struct text *why)
{
	const struct {
		const char *name;
		u64 *at;
	} wanted[] = {
		{ "dlopen", &in->dlopen },	     { "dlsym", &in->dlsym },
		{ "dlerror", &in->dlerror },	     { "munmap", &in->munmap },
		{ "pthread_create", &in->create },   { "pthread_detach", &in->detach },
		{ "__errno_location", &in->errno_location },
	};
	size_t i;

	if (!elf_find(&in->t, "gnu_get_libc_version")) {
		text_printf(why, "process %d has no GNU C library: it is linked statically or uses another one", in->t.pid);
		return -ENOTSUP;
	}
	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		*wanted[i].at = elf_find(&in->t, wanted[i].name);
		if (*wanted[i].at)
			continue;
		text_printf(why, "process %d has no %s(): its C library is older than 2.34 and it has not loaded %s",
			    in->t.pid, wanted[i].name, wanted[i].name[0] == 'd' ? "libdl" : "libpthread");
		return -ENOTSUP;
	}
	return 0;
}

/* ---- the new thread ----------------------------------------------------------------------------- */

#define PUT(in, off, value) \
	({ \
		__typeof__(value) put_ = (value); \
		target_put(&(in)->t, (in)->area + BLOB_DATA + (off), &put_, sizeof(put_)); \
	})
#define GET(in, off, to) target_get((in)->t.pid, (in)->area + BLOB_DATA + (off), to, sizeof(*(to)))

/* Signals that tell of the thread's own faults are not blocked, nor those of the C library. */
static u64 block_mask(void)
{
	static const u8 open[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS, 32, 33 };
	u64 mask = ~0ull;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(open); i++)
		mask &= ~(1ull << (open[i] - 1));
	return mask;
}

static int write_blob(struct inject *in, const struct user_regs_struct *r)
{
	const u64 regs[] = { r->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi, r->rbp, r->rsp, r->r8,
			     r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15, r->rip, r->eflags };
	const struct timespec pauses[2] = { { 0, PAUSE_NS }, { 0, LONGER_NS } };
	int err;

	err = target_put(&in->t, in->area, blob_start, (size_t)(blob_end - blob_start));
	err = err ? err : target_put(&in->t, in->area + BLOB_DATA, regs, sizeof(regs));
	err = err ? err : PUT(in, D_BLOCK, block_mask());
	err = err ? err : PUT(in, D_CREATE, in->create);
	err = err ? err : PUT(in, D_ERRNO, in->errno_location);
	err = err ? err : PUT(in, D_ERROR, (u32)~0u);
	err = err ? err : PUT(in, D_ROUNDS, (u32)ROUNDS);
	return err ? err : target_put(&in->t, in->area + BLOB_DATA + D_PAUSE, pauses, sizeof(pauses));
}

/* With the thread stopped: memory, code in it, and off it goes. */
static int send_off(struct inject *in, struct borrowed *b, struct text *why)
{
	const u64 map[6] = { 0, BLOB_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, ~0ull, 0 };
	u64 protect[6] = { 0, BLOB_DATA, PROT_READ | PROT_EXEC };
	u64 unmap[6] = { 0, BLOB_SIZE };
	s64 ret;
	int err = borrow_syscall(b, SYS_mmap, map, &ret);

	if (err)
		return err; /* of -EAGAIN and -ESRCH the thread is gone already */
	if (ret < 0 && ret > -4096) {
		text_printf(why, "process %d gets no memory: %s", in->t.pid, strerror((int)-ret));
		borrow_return(b, 0, 0);
		return (int)ret;
	}
	in->area = protect[0] = unmap[0] = (u64)ret;
	err = write_blob(in, &b->regs);
	if (!err) {
		err = borrow_syscall(b, SYS_mprotect, protect, &ret);
		if (err)
			return err;
		err = (int)ret;
	}
	if (!err)
		return borrow_return(b, in->area + (u64)(blob_borrow - blob_start), in->area + BLOB_STACK);
	text_printf(why, "process %d may not run new code: %s", in->t.pid, strerror(-err));
	if (borrow_syscall(b, SYS_munmap, unmap, &ret) != -EAGAIN)
		borrow_return(b, 0, 0);
	in->area = 0;
	return err;
}

/* Where a thread that waits is, or 0: it runs, or has ended. */
static u64 place_of(pid_t pid, pid_t tid)
{
	char path[64], line[256], *at;
	u64 rip = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f) && (at = strrchr(line, ' ')))
		rip = strtoull(at, NULL, 16);
	fclose(f);
	return rip;
}

/* Has the borrowed thread gone from our memory? Looked at from outside, else by stopping it. */
static bool is_out(struct inject *in)
{
	struct borrowed b;
	u32 round;
	u64 rip;
	bool out;

	for (round = 0; round < 20; round++) {
		if (!target_state(in->t.pid, in->tid))
			return true;
		rip = place_of(in->t.pid, in->tid);
		if (rip)
			return rip - in->area >= BLOB_SIZE;
		nap(50);
	}
	for (round = 0; round < 200; round++) {
		struct text why = { 0 };
		int err = borrow_thread(&in->t, in->tid, &b, &why);

		text_free(&why);
		if (err == -EAGAIN) {
			nap(100);
			continue;
		}
		if (err)
			return false;
		out = b.regs.rip - in->area >= BLOB_SIZE;
		borrow_return(&b, 0, 0);
		if (out)
			return true;
	}
	return false;
}

/* It came back from pthread_create(): 0, or what that said. */
static int wait_left(struct inject *in, struct text *why)
{
	u64 until = now_ms() + START_MS, thread;
	u32 left = 0, error;

	while (!GET(in, D_LEFT, &left) && !left && now_ms() < until)
		nap(50);
	if (!left) {
		if (target_is_over(in->t.pid) || !target_has_memory(&in->t)) {
			text_printf(why, "process %d has ended meanwhile", in->t.pid);
			return -ESRCH;
		}
		if (target_changed(&in->t)) {
			text_printf(why, "process %d has begun another program meanwhile", in->t.pid);
			return -EBUSY;
		}
		text_printf(why, "process %d does not come to start a thread", in->t.pid);
		return -ETIMEDOUT;
	}
	if (GET(in, D_ERROR, &error) || GET(in, D_THREAD, &thread))
		return -ESRCH;
	if (error) {
		in->failed = true;
		text_printf(why, "process %d cannot start a thread: %s", in->t.pid, strerror((int)error));
		return -(int)error;
	}
	in->running = true;
	return 0;
}

/* ---- choosing whom to borrow -------------------------------------------------------------------- */

/* One go through the threads, those that wait first. 0: it is on its way; -EAGAIN: none would do. */
static int try_threads(struct inject *in, bool waiting, struct text *why)
{
	char path[40];
	struct borrowed b;
	struct dirent *e;
	int err = -EAGAIN;
	pid_t tid;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", in->t.pid);
	dir = opendir(path);
	if (!dir) {
		text_printf(why, "process %d has ended meanwhile", in->t.pid);
		return -ESRCH;
	}
	while (err == -EAGAIN && (e = readdir(dir))) {
		tid = atoi(e->d_name);
		/* What waits uninterruptibly (vfork(2), a dead file server) would not stop. */
		if (tid <= 0 || (waiting && !place_of(in->t.pid, tid)) || target_state(in->t.pid, tid) == 'D')
			continue;
		err = borrow_thread(&in->t, tid, &b, why);
		if (!err) {
			in->tid = tid;
			err = send_off(in, &b, why);
		}
	}
	closedir(dir);
	return err;
}

static int start(struct inject *in, u32 timeout_ms, struct text *why)
{
	u64 until = now_ms() + timeout_ms;
	int err, round;

	for (round = 0;; round++) {
		err = try_threads(in, round % 4 == 0, why);
		if (err != -EAGAIN)
			return err;
		if (now_ms() >= until) {
			text_printf(why,
				    "no thread of process %d could be borrowed within %u ms: all are inside the C library, "
				    "where they may hold its locks, or wait uninterruptibly",
				    in->t.pid, timeout_ms);
			return -EBUSY;
		}
		nap(round < 16 ? 100 : 1000);
		/* Libraries come and go. */
		if (round % 64 == 63 && (err = target_read(&in->t, in->t.pid, why)))
			return err;
	}
}

/* Whatever failed: when the target is gone, that is why. */
static int explain(pid_t pid, int err, struct text *why)
{
	u32 i;

	/* What loses its memory lacks all kinds of things: its end is seen a moment later. */
	for (i = 0; i < 10 && err != -ESRCH && !target_is_over(pid); i++)
		nap(10000);
	if (err != -ESRCH && target_is_over(pid)) {
		err = -ESRCH;
		text_reset(why);
	}
	if (!why->len)
		text_printf(why, err == -ESRCH ? "process %d has ended meanwhile" : "process %d cannot be entered", pid);
	return err;
}

/* What was read of it is good until its next execve(2), and there is little of it before main(). */
static int get_in(struct inject *in, pid_t pid, u32 timeout_ms, struct text *why)
{
	u64 until = now_ms() + timeout_ms;
	int err, lacking = 0;

	do {
		text_reset(why);
		err = target_read(&in->t, pid, why);
		if (!err)
			err = find_functions(in, why);
		if (!err)
			err = start(in, timeout_ms, why);
		else if (err != -ESRCH && target_changed(&in->t))
			err = -ESTALE;
		else if (err == -ENOTSUP && lacking++ < 20) /* its libraries may be on their way */
			err = -EAGAIN;
		if (err == -EAGAIN || err == -ESTALE)
			nap(5000);
	} while ((err == -EAGAIN || err == -ESTALE) && now_ms() < until);
	if (err == -ESTALE) {
		text_reset(why);
		text_printf(why, "process %d begins other programs all the time", pid);
		err = -EBUSY;
	}
	return err;
}

int inject_begin(pid_t pid, u32 flags, u32 timeout_ms, struct inject **out, struct text *why)
{
	struct inject *in = base_alloc(sizeof(*in));
	u64 args[6] = { 0 }, ret;
	int err;

	if (!in)
		return -ENOMEM;
	err = target_check(pid, flags, why);
	if (!err)
		err = get_in(in, pid, timeout_ms, why);
	if (!err)
		err = wait_left(in, why);
	if (!err) {
		GET(in, D_THREAD, &args[0]);
		err = inject_raw(in, in->detach, args, 1000, &ret, why);
	}
	if (err)
		inject_end(in);
	else
		*out = in;
	return err ? explain(pid, err, why) : 0;
}

/* ---- calls -------------------------------------------------------------------------------------- */

static int write_call(struct inject *in, u64 fn, const u64 args[6], bool last)
{
	int err = target_changed(&in->t) ? -ESRCH : PUT(in, D_FN, fn);

	err = err ? err : target_put(&in->t, in->area + BLOB_DATA + D_ARG, args, 6 * sizeof(args[0]));
	err = err ? err : PUT(in, D_LAST, (u32)last);
	return err ? err : PUT(in, D_WANT, ++in->calls);
}

int inject_raw(struct inject *in, u64 fn, const u64 args[6], u32 timeout_ms, u64 *ret, struct text *why)
{
	u64 until = now_ms() + timeout_ms;
	u32 done = in->calls;
	int err = in->running ? write_call(in, fn, args, false) : -ESRCH;

	while (!err && !(err = GET(in, D_DONE, &done)) && done != in->calls) {
		if (now_ms() >= until) {
			in->running = false; /* it is busy with us: nothing of it may be freed */
			text_printf(why, "process %d does not come to an end of what it was asked to do", in->t.pid);
			return -ETIMEDOUT;
		}
		nap(50);
	}
	if (!err)
		err = GET(in, D_RESULT, ret);
	if (err) {
		in->running = false;
		if (!target_is_over(in->t.pid) && target_changed(&in->t)) {
			text_printf(why, "process %d has begun another program meanwhile", in->t.pid);
			return -EBUSY;
		}
		text_printf(why, "process %d has ended meanwhile", in->t.pid);
		return -ESRCH;
	}
	return 0;
}

/* A string in the data page's room for them; its address there. */
int inject_text(struct inject *in, const char *s, u64 *at)
{
	size_t n = strlen(s) + 1;

	if (n > BLOB_XSAVE - BLOB_DATA - D_TEXT)
		return -ENAMETOOLONG;
	*at = in->area + BLOB_DATA + D_TEXT;
	return target_put(&in->t, *at, s, n);
}

int inject_call(struct inject *in, u64 handle, const char *name, const char *arg, u32 timeout_ms, s64 *result,
		struct text *why)
{
	u64 args[6] = { handle }, fn = 0;
	int err = inject_text(in, name, &args[1]);

	if (!err)
		err = inject_raw(in, in->dlsym, args, 5000, &fn, why);
	if (!err && !fn) {
		text_printf(why, "the library has no function %s()", name);
		err = -ENOENT;
	}
	args[1] = in->area;
	if (!err)
		err = inject_text(in, arg, &args[0]);
	return err ? err : inject_raw(in, fn, args, timeout_ms, (u64 *)result, why);
}

/* No thread was made, and the borrowed one has gone: by another that is borrowed. */
static void unmap(struct inject *in, const u64 args[6])
{
	struct text why = { 0 };
	struct borrowed b;
	u32 round;
	s64 ret;

	for (round = 0; round < 100; round++) {
		int err = borrow_thread(&in->t, in->tid, &b, &why);

		if (!err)
			err = borrow_syscall(&b, SYS_munmap, args, &ret);
		if (!err)
			borrow_return(&b, 0, 0);
		if (err != -EAGAIN)
			break;
		nap(200);
	}
	text_free(&why);
}

void inject_end(struct inject *in)
{
	const u64 args[6] = { in->area, BLOB_SIZE };

	/* The thread's last act; memory that the borrowed one, or ours, may still run in stays. */
	if (in->running && is_out(in))
		write_call(in, in->munmap, args, true);
	else if (in->failed && is_out(in))
		unmap(in, args);
	target_free(&in->t);
	base_free(in);
}

u64 inject_fn_dlopen(const struct inject *in)
{
	return in->dlopen;
}

u64 inject_fn_dlerror(const struct inject *in)
{
	return in->dlerror;
}

pid_t inject_pid(const struct inject *in)
{
	return in->t.pid;
}

const struct target *inject_target(const struct inject *in)
{
	return &in->t;
}
