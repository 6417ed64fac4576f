/* SPDX-License-Identifier: MIT */
/*
 * What happens at each system call. Compiled without vector registers: the kernel keeps them, so that
 * the program's are still in them.
 */
#include <elf.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "attach/syscall_int.h"
#include "bpf/sys.h"
#include "code/code.h"
#include "helper/helper.h"

u8 syscall_want[1 << 16];
struct sc_table *_Atomic syscall_table;
_Atomic u64 syscall_missed;

/* ---- programs ----------------------------------------------------------------------------------- */

/* One call, entering or leaving. */
struct moment {
	const struct pt_regs *regs;
	const struct sc_list *list;
	s32 nr;
	bool exit;
	u8 child; /* enum sc_child */
	struct sc_birth birth;
	struct helper_override override;
};

static inline void fill(union sc_context *ctx, const struct sc_hook *h, const struct moment *m)
{
	const struct pt_regs *r = m->regs;
	u32 i;

	if (!h->words)
		return;
	ctx->tp.regs = r;
	if (h->form == SC_RAW) {
		ctx->raw[1] = m->exit ? r->rax : (u64)(s64)m->nr;
		for (i = 2; i < h->words; i++)
			ctx->raw[i] = 0;
		return;
	}
	ctx->tp.id = h->form == SC_ALL ? m->nr : (s64)(u32)m->nr;
	ctx->tp.args[0] = m->exit ? r->rax : r->rdi;
	ctx->tp.args[1] = r->rsi;
	ctx->tp.args[2] = r->rdx;
	ctx->tp.args[3] = r->r10;
	ctx->tp.args[4] = r->r8;
	ctx->tp.args[5] = r->r9;
}

/* x64_sys_call(regs, nr): the function's argument is where the registers are. */
static void run_func(const struct sc_hook *h, struct moment *m)
{
	const struct pt_regs *r = m->regs;
	struct pt_regs func = { .rdi = (u64)(uintptr_t)r, .rsi = (u64)(s64)m->nr, .rip = h->func,
				.rax = m->exit ? r->rax : 0, .orig_rax = ~0ul, .cs = 0x10,
				.ss = 0x18, .eflags = 0x246 };
	struct helper_run how = { .prog = h->p, .ctx = &func, .cookie = h->cookie,
				  .func_ip = h->func, .user_regs = r,
				  .override = m->exit ? NULL : &m->override };

	sys_prog_run_as(&how);
}

static void run_one(const struct sc_hook *h, struct moment *m)
{
	struct helper_run how = { .prog = h->p, .cookie = h->cookie, .user_regs = m->regs };
	union sc_context ctx;

	if (h->form == SC_FUNC) {
		run_func(h, m);
		return;
	}
	if (h->form == SC_TRACED) {
		/* The number of arguments, those, the result. */
		u64 block[3] = { 1, (u64)(uintptr_t)m->regs, m->exit ? m->regs->rax : 0 };

		how.ctx = block + 1;
		how.func_ip = h->func;
		sys_prog_run_as(&how);
		return;
	}
	fill(&ctx, h, m);
	how.ctx = &ctx;
	sys_prog_run_as(&how);
}

static void run_kept(void *hook, void *moment)
{
	run_one(hook, moment);
}

static void run_list(struct moment *m)
{
	struct sc_hook *h;
	u32 i;

	/* An overridden function is not entered: those behind are not called. */
	for (i = 0; i < m->list->n && !m->override.set; i++) {
		h = (struct sc_hook *)&m->list->hook[i];
		if (h->p->plain)
			run_one(h, m);
		else
			code_keep_vectors(run_kept, h, m);
	}
}

/*
 * Has the thread not come to its end? What it does behind its destructors is little: anything else is
 * a sign of life. The storage of the main thread does not end.
 */
static bool is_alive(struct thread *t, s32 nr)
{
	switch (nr) {
	case SYS_brk:
	case SYS_exit:
	case SYS_futex:
	case SYS_getpid:
	case SYS_gettid:
	case SYS_madvise:
	case SYS_mmap:
	case SYS_mprotect:
	case SYS_munmap:
	case SYS_rt_sigprocmask:
	case SYS_set_robust_list:
	case SYS_tgkill: t->alive = t->tid == (u32)SYS(SYS_getpid, 0, 0, 0, 0); break;
	default: t->alive = true;
	}
	return t->alive;
}

static const struct sc_list *find_list(s32 nr, bool exit)
{
	const struct sc_table *t = syscall_table;

	if (!t)
		return NULL;
	return nr >= 0 && nr < SC_CALLS && t->calls[nr][exit] ? t->calls[nr][exit] : t->any[exit];
}

/* ---- children and ends ----------------------------------------------------------------------------- */

/*
 * Children are told of by themselves, in their parent's name and before they do anything else: parents hear of
 * them too late for what they do. Only where no program can run in the child it is the parent's to tell.
 */
static bool is_life(const struct moment *m)
{
	const struct sc_table *t = syscall_table;
	bool by_parent = m->child & (SC_CHILD_FOREIGN | SC_CHILD_MUTE);

	if (!t || !(syscall_want[(u16)m->nr] & SC_LIFE) || m->override.set)
		return false;
	switch (m->nr) {
	case SYS_exit:
	case SYS_exit_group: return !m->exit;
	default: return m->exit && m->birth.tid && (s64)m->regs->rax >= 0 && !m->regs->rax != by_parent;
	}
}

static void tell_life(struct moment *m)
{
	struct life_call c = { syscall_table, m->regs, m->birth };

	if (is_life(m))
		code_keep_vectors(life_tell, &c, NULL);
}

/* The thread is inside, which keeps the table. */
static void tell(struct moment *m)
{
	bool ending = base_ending, life = syscall_want[(u16)m->nr] & SC_LIFE;
	u64 mask = ~0ull;

	m->list = find_list(m->nr, m->exit);
	if ((!m->list || !m->list->n) && !life)
		return;
	if (!thread_self->alive && !is_alive(thread_self, m->nr))
		base_ending = true;
	/* libc blocks everything at the end of a thread: a program's read that faults would be the end of all. */
	if (m->nr == SYS_exit)
		SYS(SYS_rt_sigprocmask, 1 /* SIG_UNBLOCK */, &(u64){ 1ull << 6 | 1ull << 10 }, &mask, 8);
	/* The kernel's order: a child is there before its parent's call ends, a call begins before it ends a thread. */
	if (life && m->exit)
		tell_life(m);
	if (m->list && m->list->n)
		run_list(m);
	if (life && !m->exit)
		tell_life(m);
	if (m->nr == SYS_exit)
		SYS(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &mask, 0, 8);
	base_ending = ending;
}

/* ---- calls between the handlers of pthread_atfork() ----------------------------------------------- */

static struct sc_late *late_of(struct thread *t)
{
	long at;

	if (!t->late) {
		at = SYS(SYS_mmap, 0, 4096, 3 /* read, write */, 0x22 /* private, anonymous */);
		t->late = at < 0 && at > -4096 ? NULL : (struct sc_late *)at;
	}
	return t->late;
}

static void after_fork(void);

static void postpone(struct thread *t, const struct moment *m)
{
	const struct pt_regs *regs = m->regs;
	struct sc_late *l = late_of(t);

	if (!l || l->n == ARRAY_SIZE(l->call)) {
		syscall_missed++;
		return;
	}
	/* What was postponed before the fork is for the parent to tell. */
	if (m->exit && !regs->rax)
		switch (regs->orig_rax) {
		case SYS_clone:
		case SYS_clone3:
		case SYS_fork: l->n = 0;
		}
	l->call[l->n].regs = *regs;
	l->call[l->n].child = m->child;
	l->call[l->n].birth = m->birth;
	l->call[l->n++].exit = m->exit;
	t->care |= CARE_LATE;
	base_forked = after_fork;
}

static void tell_postponed(struct thread *t)
{
	u32 i, n = t->late->n;

	for (i = 0; i < n; i++) {
		struct moment m = { .regs = &t->late->call[i].regs,
				    .nr = (s32)t->late->call[i].regs.orig_rax,
				    .exit = t->late->call[i].exit,
				    .child = t->late->call[i].child,
				    .birth = t->late->call[i].birth };

		tell(&m);
	}
	t->late->n = 0;
	t->care &= ~(u32)CARE_LATE;
}

/* The handlers are done: base_forked. */
static void after_fork(void)
{
	struct thread *t = thread_self;
	struct pt_regs regs = { .rsp = (u64)(uintptr_t)__builtin_frame_address(0), .cs = 0x33, .ss = 0x2b,
				.orig_rax = ~0ul };

	if (!t || !(t->care & CARE_LATE) || t->busy)
		return;
	thread_enter(t, NULL, &regs);
	tell_postponed(t);
	thread_leave(t);
}

/* ---- a call --------------------------------------------------------------------------------------- */

static inline bool is_short(const struct sc_list *l)
{
	u32 i;

	for (i = 0; l->is_short && i < l->n; i++)
		if (!sys_short_now(l->hook[i].p))
			return false;
	return l->is_short;
}

/* The same without a record of the thread: true when that is all. */
static __attribute__((noinline)) bool happen_short(struct sc_frame *f, bool exit)
{
	const struct thread *t = thread_self;
	struct moment m = { .regs = &f->regs, .nr = (s32)f->regs.orig_rax, .exit = exit };
	const struct sc_list *l;
	union sc_context ctx;
	bool done;
	u32 i;

	if (!t || t->busy | t->care | base_forking || syscall_want[(u16)m.nr] & SC_LIFE || !sys_short_enter(m.regs))
		return false;
	l = find_list(m.nr, exit); /* once inside: it is freed when nobody is */
	done = !l || is_short(l);
	if (done && l) {
		helper_run.user_regs = m.regs;
		for (i = 0; i < l->n; i++) {
			fill(&ctx, &l->hook[i], &m);
			sys_short_run(l->hook[i].p, &ctx, l->hook[i].cookie, 0);
		}
		helper_run.user_regs = NULL;
	}
	sys_short_leave();
	return done;
}

/* Says whether the call is not to be made. */
static __attribute__((noinline)) bool happen(struct sc_frame *f, bool exit)
{
	struct thread *t = thread_self;
	struct moment m = { .regs = &f->regs, .nr = (s32)f->regs.orig_rax, .exit = exit };
	struct pt_regs here;

	if (exit && f->birth.tid) {
		m.child = f->child;
		m.birth = f->birth;
	}
	if (!t && !(t = thread_first())) {
		syscall_missed++;
		return false;
	}
	if (((t->busy || sys_short_inside()) && thread_inside(t, &f->regs)) ||
	    (t->care & CARE_SHARED && (u32)SYS(SYS_gettid, 0, 0, 0, 0) != t->tid)) {
		syscall_missed += !sys_inside;
		f->quiet = SC_NESTED;
		return false;
	}
	if (f->home) { /* its stack pointer is not where we are */
		here = (struct pt_regs){ .rsp = (u64)(uintptr_t)f, .orig_rax = f->regs.orig_rax,
					 .cs = 0x33, .ss = 0x2b };
		thread_enter(t, NULL, &here);
	} else {
		thread_enter(t, NULL, &f->regs);
	}
	if (base_forking) {
		postpone(t, &m);
	} else {
		if (t->care & CARE_LATE)
			tell_postponed(t);
		tell(&m);
	}
	thread_leave(t);
	if (m.override.set)
		f->regs.rax = m.override.value;
	return m.override.set;
}

static void tell_exec(const struct pt_regs *regs)
{
	struct thread *t = thread_self;

	if (!syscall_table || !syscall_table->lives[LIFE_EXEC] || (!t && !(t = thread_first())))
		return;
	thread_enter(t, NULL, regs);
	life_exec(syscall_table, regs);
	thread_leave(t);
}

void syscall_died(const struct prog *p, u64 cookie, const struct sys_death *d)
{
	struct pt_regs regs = { .rsp = (u64)(uintptr_t)__builtin_frame_address(0), .orig_rax = ~0ul,
				.cs = 0x33, .ss = 0x2b };
	struct thread *t = thread_self;
	const struct sc_list *l;
	u32 i;

	if (!syscall_table || (!t && !(t = thread_first())))
		return;
	thread_enter(t, NULL, &regs);
	l = syscall_table ? syscall_table->lives[LIFE_EXIT] : NULL;
	for (i = 0; l && i < l->n; i++)
		if (l->hook[i].p == p && l->hook[i].cookie == cookie) {
			life_death(&l->hook[i], &regs, d);
			break;
		}
	thread_leave(t);
}

/*
 * execve(2) has two ends: it fails, which is an exit like others, or the new program begins. Its
 * registers are those that it began with.
 */
void syscall_program_began(bool called)
{
	extern void *__libc_stack_end; /* ld.so's */
	const char *name = (const char *)(uintptr_t)getauxval(AT_EXECFN);
	const Elf64_Ehdr *ld = (const Elf64_Ehdr *)(uintptr_t)getauxval(AT_BASE);
	/* execveat(2) with AT_EMPTY_PATH, fexecve(3): the kernel names the file so. */
	bool at = name && !strncmp(name, "/dev/fd/", 8);
	struct sc_frame f = { .regs = { .orig_rax = at ? SYS_execveat : SYS_execve,
					.rip = ld ? (u64)(uintptr_t)ld + ld->e_entry : getauxval(AT_ENTRY),
					.rsp = (u64)(uintptr_t)__libc_stack_end, .eflags = 0x202,
					.cs = 0x33, .ss = 0x2b } };

	tell_exec(&f.regs);
	if (called && syscall_want[f.regs.orig_rax] & SC_EXIT)
		happen(&f, true);
}

struct sc_frame *syscall_enter(struct sc_frame *f)
{
	u8 want;

	code_stack_given(f, sizeof(*f));
	want = syscall_want[(u16)f->regs.orig_rax];
	f->action = SC_CALL;
	f->exit = want & (SC_EXIT | SC_SPECIAL);
	f->child = 0;
	f->birth.tid = 0;
	f->home = NULL;
	f->quiet = sys_inside > sys_inside_fork ? SC_OWN : 0;
	if (want & SC_THREAD && (thread_self || thread_first()))
		syscall_dispatch_thread(thread_self);
	if (want & SC_ENTER && !f->quiet && !happen_short(f, false) && happen(f, false))
		f->action = SC_SKIP;
	if (want & SC_SPECIAL && f->action != SC_SKIP)
		f = syscall_special(f);
	return f;
}

struct sc_frame *syscall_exit(struct sc_frame *f)
{
	struct sc_frame *go_on = f;
	u8 want;

	code_stack_given(f, sizeof(*f));
	want = syscall_want[(u16)f->regs.orig_rax];
	if (want & SC_SPECIAL && f->action != SC_SKIP)
		syscall_returned(f, &go_on);
	if (want & SC_EXIT && !f->quiet && !(f->child & SC_CHILD_FOREIGN && !f->regs.rax) &&
	    !happen_short(f, true))
		happen(f, true);
	return go_on;
}
