/* SPDX-License-Identifier: MIT */
/*
 * Processes and threads that begin and end, as events: sched_process_exec, sched_process_fork,
 * sched_process_exit and task_newtask, with the contexts of the kernel's (events.def). Each happens in
 * the process itself and in the name of the thread that the kernel would have run the program in.
 */
#include <alloca.h>
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "attach/syscall_int.h"
#include "bpf/session/share.h"
#include "bpf/sys.h"
#include "code/code.h"
#include "helper/helper.h"

static const struct {
	const char *category, *name;
	u32 size;
} lives[LIFE_KINDS] = {
#define LIFE(kind, category, name, size) [LIFE_##kind] = { category, name, size },
#include "attach/life.def"
#undef LIFE
};

enum life life_named(const char *name, bool full, u32 *size)
{
	const char *colon = strchr(name, ':');
	u32 i;

	for (i = 0; i < LIFE_KINDS; i++) {
		size_t n = strlen(lives[i].category);

		if (full && (!colon || (size_t)(colon - name) != n || memcmp(name, lives[i].category, n)))
			continue;
		if (strcmp(full ? colon + 1 : name, lives[i].name))
			continue;
		*size = lives[i].size;
		break;
	}
	return i;
}

/* ---- running programs ------------------------------------------------------------------------- */

/* One event, for all programs that are on it. */
struct happening {
	const struct sc_list *list; /* NULL: nobody is on it */
	const struct pt_regs *regs;
	const struct helper_task *by; /* current */
	void *entry; /* of a tracepoint */
	u64 *args;   /* of a raw tracepoint */
};

static void run(const struct happening *e)
{
	u32 i;

	for (i = 0; e->list && i < e->list->n; i++) {
		const struct sc_hook *h = &e->list->hook[i];
		struct helper_run how = { .prog = h->p, .cookie = h->cookie, .user_regs = e->regs, .task = e->by,
					  .ctx = h->form == SC_RAW ? (void *)e->args : e->entry };

		if (h->pid <= 0 || (u32)h->pid == e->by->tgid)
			sys_prog_run_as(&how);
	}
}

static void look(struct helper_task *t, u32 tgid, u32 tid)
{
	if (!helper_task_look(t, tgid, tid))
		SYS(SYS_prctl, 16 /* PR_GET_NAME */, t->comm, 0, 0);
}

/* On the stack: threads that end may not allocate. */
#define OBJECT_OF(task) object_in(alloca(helper_task_room()), task)
static void *object_in(void *room, const struct helper_task *t)
{
	helper_task_fill(room, t);
	return room;
}

/* ---- a child ---------------------------------------------------------------------------------- */

struct entry_fork {
	u64 common;
	char parent_comm[16];
	s32 parent_pid;
	char child_comm[16];
	s32 child_pid;
};
_Static_assert(sizeof(struct entry_fork) == 48, "sched_process_fork");

struct entry_new {
	u64 common;
	s32 pid;
	char comm[16];
	u64 flags;
	s16 oom_score_adj;
};
_Static_assert(offsetof(struct entry_new, oom_score_adj) == 40, "task_newtask");

static s16 oom_score_adj(void)
{
	char buf[16] = "";
	long fd = SYS(SYS_open, "/proc/self/oom_score_adj", 0 /* O_RDONLY */, 0, 0);

	if (fd < 0)
		return 0;
	SYS(SYS_read, fd, buf, sizeof(buf) - 1, 0);
	SYS(SYS_close, fd, 0, 0, 0);
	return (s16)atoi(buf);
}

static void tell_child(const struct life_call *c, u32 child)
{
	const struct sc_list *on_new = c->table->lives[LIFE_NEW], *on_fork = c->table->lives[LIFE_FORK];
	bool thread = c->birth.flags & CLONE_THREAD;
	struct helper_task by, made;
	struct entry_fork forked = { .parent_pid = (s32)c->birth.tid, .child_pid = (s32)child };
	struct entry_new begun = { .pid = (s32)child, .flags = c->birth.flags };
	u64 forked_args[2] = { 0 }, begun_args[2] = { 0, c->birth.flags };
	struct happening e = { .regs = c->regs, .by = &by };

	look(&by, c->birth.tgid, c->birth.tid);
	/* The child has its parent's name when it begins. */
	made = (struct helper_task){ .tid = child, .tgid = thread ? c->birth.tgid : child,
				     .ppid = thread ? by.ppid : c->birth.tgid };
	memcpy(made.comm, by.comm, sizeof(made.comm));
	memcpy(forked.parent_comm, by.comm, sizeof(by.comm));
	memcpy(forked.child_comm, by.comm, sizeof(by.comm));
	memcpy(begun.comm, by.comm, sizeof(by.comm));
	by.object = OBJECT_OF(&by);
	made.object = OBJECT_OF(&made);
	forked_args[0] = (u64)(uintptr_t)by.object;
	forked_args[1] = begun_args[0] = (u64)(uintptr_t)made.object;
	if (on_new)
		begun.oom_score_adj = oom_score_adj();
	e.list = on_new;
	e.entry = &begun;
	e.args = begun_args;
	run(&e);
	e.list = on_fork;
	e.entry = &forked;
	e.args = forked_args;
	run(&e);
}

/* ---- an end ----------------------------------------------------------------------------------- */

struct entry_exit {
	u64 common;
	char comm[16];
	s32 pid, prio;
};
_Static_assert(sizeof(struct entry_exit) == 32, "sched_process_exit");

/* As the kernel counts: 120 with nice 0, real-time below 100. */
static s32 prio_of(u32 tid)
{
	struct sched_param p;

	switch (sched_getscheduler((pid_t)tid)) {
	case SCHED_FIFO:
	case SCHED_RR: return sched_getparam((pid_t)tid, &p) ? 120 : 99 - p.sched_priority;
	case 6 /* SCHED_DEADLINE */: return -1;
	default: return 120 + getpriority(PRIO_PROCESS, tid);
	}
}

/* A thread, which may be another process's; last: with it the process ends. */
static void run_exit(const struct sc_list *list, const struct pt_regs *regs, const struct helper_task *who, s32 prio,
		     bool last)
{
	struct entry_exit entry = { .pid = (s32)who->tid, .prio = prio };
	u64 args[2] = { 0, last };
	struct helper_task by = *who;
	struct happening e = { list, regs, &by, &entry, args };

	memcpy(entry.comm, by.comm, sizeof(entry.comm));
	by.object = OBJECT_OF(&by);
	args[0] = (u64)(uintptr_t)by.object;
	run(&e);
}

static void tell_end(const struct life_call *c, u32 tid, bool last)
{
	struct helper_task who;

	look(&who, (u32)SYS(SYS_getpid, 0, 0, 0, 0), tid);
	who.exiting = true;
	who.exit_code = (s32)(c->regs->rdi & 0xff) << 8;
	run_exit(c->table->lives[LIFE_EXIT], c->regs, &who, prio_of(tid), last);
}

void life_death(const struct sc_hook *h, const struct pt_regs *regs, const struct sys_death *d)
{
	struct helper_task who = { .tid = (u32)d->pid, .tgid = (u32)d->pid, .ppid = d->ppid, .exiting = true,
				   .exit_code = d->code, .start = d->start };
	union {
		struct sc_list list;
		u8 room[sizeof(struct sc_list) + sizeof(struct sc_hook)];
	} one = { { .n = 1 } };

	one.list.hook[0] = *h;
	memcpy(who.comm, d->comm, sizeof(who.comm));
	sys_inside++;
	run_exit(&one.list, regs, &who, d->prio, true);
	sys_inside--;
}

struct linux_dirent64 {
	u64 ino;
	s64 off;
	u16 reclen;
	u8 type;
	char name[];
};

/* The threads of this process that the kernel ends with the one that ends it. */
static void tell_others(const struct life_call *c, u32 self)
{
	_Alignas(8) char buf[2048];
	long fd = SYS(SYS_open, "/proc/self/task", 0200000 /* O_DIRECTORY */, 0, 0), n, at;

	while (fd >= 0 && (n = SYS(SYS_getdents64, fd, buf, sizeof(buf), 0)) > 0)
		for (at = 0; at < n; at += ((struct linux_dirent64 *)(buf + at))->reclen) {
			u32 tid = (u32)atoi(((struct linux_dirent64 *)(buf + at))->name);

			if (tid && tid != self && !base_thread_is_own(tid))
				tell_end(c, tid, false);
		}
	if (fd >= 0)
		SYS(SYS_close, fd, 0, 0, 0);
}

/* ---- what the calls say ----------------------------------------------------------------------- */

void life_tell(void *life_call, void *unused)
{
	const struct life_call *c = life_call;
	u32 self = (u32)SYS(SYS_gettid, 0, 0, 0, 0);
	int saved = errno;

	(void)unused;
	sys_inside++;
	if (c->birth.tid) {
		tell_child(c, c->regs->rax ? (u32)c->regs->rax : self);
	} else {
		if (c->regs->orig_rax == SYS_exit_group)
			tell_others(c, self);
		tell_end(c, self, c->regs->orig_rax == SYS_exit_group);
		if (sys_shared() && (c->regs->orig_rax == SYS_exit_group || self == (u32)SYS(SYS_getpid, 0, 0, 0, 0)))
			sys_shared()->bye();
	}
	sys_inside--;
	errno = saved;
}

/* ---- a new program ---------------------------------------------------------------------------- */

#define NAME_AT 20 /* __data of sched_process_exec */

void life_exec(const struct sc_table *table, const struct pt_regs *regs)
{
	const struct sc_list *list = table->lives[LIFE_EXEC];
	const char *name = (const char *)getauxval(AT_EXECFN); /* the kernel's bprm->filename */
	u32 self = (u32)SYS(SYS_gettid, 0, 0, 0, 0), size = name ? (u32)strnlen(name, 4095) + 1 : 1, off, of;
	struct helper_task by;
	u64 args[3] = { 0, self };
	struct happening e = { list, regs, &by, NULL, args };
	u8 *bprm, *entry;

	if (!list)
		return;
	sys_inside++;
	look(&by, self, self);
	entry = alloca(NAME_AT + size);
	memset(entry, 0, NAME_AT + size);
	memcpy(entry + 8, &(u32){ size << 16 | NAME_AT }, 4); /* __data_loc */
	memcpy(entry + 12, &self, 4);
	memcpy(entry + 16, &self, 4);
	memcpy(entry + NAME_AT, name ? name : "", size);
	e.entry = entry;
	by.object = OBJECT_OF(&by);
	args[0] = (u64)(uintptr_t)by.object;
	if (helper_member("linux_binprm", "filename", &off, &of)) {
		bprm = alloca(of);
		memset(bprm, 0, of);
		memcpy(bprm + off, &name, sizeof(name));
		args[2] = (u64)(uintptr_t)bprm;
	}
	run(&e);
	sys_inside--;
}
