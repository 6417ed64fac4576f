/* SPDX-License-Identifier: MIT */
/*
 * The current task as programs see it: a struct task_struct of the BTF that stands for the kernel's,
 * one a thread, filled with what a process knows of itself. Other members are zero.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "btf/fbtf.h"
#include "code/code.h"
#include "helper/helper_int.h"

/* Where members are: offset in bits / 8, by name. */
static struct {
	u32 size, cred_size; /* size 0: the types could not be made */
	u32 pid, tgid, comm, real_parent, parent, group_leader, cred, real_cred;
	u32 exit_code, exit_signal, flags, start_time, start_boottime;
	u32 uid, gid, euid, egid, suid, sgid, fsuid, fsgid;
} at;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_end;

/*
 * Self, then zeros for what was compiled with the headers of a kernel, where members are elsewhere: 0 is what it
 * finds. Then leader, parent, cred.
 */
#define BEHIND 4096
static _Thread_local u8 *mine __attribute__((tls_model("initial-exec")));
static u8 nobody[BEHIND]; /* without memory, and the idle task: zeros */
_Thread_local u8 *helper_signal_room __attribute__((tls_model("initial-exec")));

static const struct btf_type *find_struct(const struct btf *btf, const char *name)
{
	s32 id = btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT);

	return id > 0 ? btf__type_by_id(btf, (u32)id) : NULL;
}

static bool find_member(const struct btf *btf, const struct btf_type *t, const char *name, u32 *off)
{
	u32 i;

	for (i = 0; i < btf_vlen(t); i++) {
		if (strcmp(fbtf_name(btf, btf_members(t)[i].name_off), name))
			continue;
		*off = btf_member_bit_offset(t, i) / 8;
		return true;
	}
	return false;
}

static void end(void *p)
{
	base_free(p);
	mine = NULL;
	base_ending = true;
}

static void find_members(void)
{
	const struct btf *btf = fbtf_vmlinux();
	const struct btf_type *task = btf ? find_struct(btf, "task_struct") : NULL;
	const struct btf_type *cred = btf ? find_struct(btf, "cred") : NULL;
	bool ok = task && cred;

#define TASK(name) ok = ok && find_member(btf, task, #name, &at.name)
#define CRED(name) ok = ok && find_member(btf, cred, #name, &at.name)
	TASK(pid);
	TASK(tgid);
	TASK(comm);
	TASK(real_parent);
	TASK(parent);
	TASK(group_leader);
	TASK(cred);
	TASK(real_cred);
	TASK(exit_code);
	TASK(exit_signal);
	TASK(flags);
	TASK(start_time);
	TASK(start_boottime);
	CRED(uid);
	CRED(gid);
	CRED(euid);
	CRED(egid);
	CRED(suid);
	CRED(sgid);
	CRED(fsuid);
	CRED(fsgid);
#undef TASK
#undef CRED
	if (!ok || task->size > sizeof(nobody) || pthread_key_create(&thread_end, end))
		return;
	at.cred_size = cred->size;
	at.size = ALIGN_UP(task->size, 16);
}

static void put32(u8 *base, u32 off, u32 value)
{
	memcpy(base + off, &value, sizeof(value));
}
static void put_ptr(u8 *base, u32 off, const void *value)
{
	memcpy(base + off, &value, sizeof(value));
}

static void fill_cred(u8 *cred)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;

	if (getresuid(&r, &e, &s) || getresgid(&rg, &eg, &sg))
		return;
	put32(cred, at.uid, r);
	put32(cred, at.euid, e);
	put32(cred, at.suid, s);
	put32(cred, at.fsuid, e);
	put32(cred, at.gid, rg);
	put32(cred, at.egid, eg);
	put32(cred, at.sgid, sg);
	put32(cred, at.fsgid, eg);
}

static void fill_task(u8 *task, u32 pid, u32 tgid, u8 *leader, u8 *parent, u8 *cred)
{
	put32(task, at.pid, pid);
	put32(task, at.tgid, tgid);
	put_ptr(task, at.group_leader, leader);
	put_ptr(task, at.real_parent, parent);
	put_ptr(task, at.parent, parent);
	put_ptr(task, at.cred, cred);
	put_ptr(task, at.real_cred, cred);
	put32(task, at.exit_signal, pid == tgid ? SIGCHLD : ~0u);
}

/* Who is where in a task's room: itself, its leader, its parent, their credentials. */
static void fill_room(u8 *self, u32 pid, u32 tgid, u32 ppid)
{
	u8 *leader = pid == tgid ? self : self + BEHIND, *parent = self + BEHIND + at.size, *cred = parent + at.size;

	fill_cred(cred);
	fill_task(parent, ppid, ppid, parent, NULL, NULL);
	fill_task(leader, tgid, tgid, leader, parent, cred);
	fill_task(self, pid, tgid, leader, parent, cred);
}

/* ---- what /proc knows ----------------------------------------------------------------------- */

/* Without stdio: this runs at the end of threads, and in handlers of signals. */
static size_t read_proc(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	buf[n < 0 ? 0 : n] = '\0';
	return n < 0 ? 0 : (size_t)n;
}

/* proc(5), /proc/PID/stat: (2) comm, (4) ppid, (22) starttime. The name may hold anything. */
bool helper_task_look(struct helper_task *t, u32 tgid, u32 tid)
{
	char path[64], buf[1024], *from, *to, *c;
	u32 field;

	*t = (struct helper_task){ .tid = tid, .tgid = tgid };
	snprintf(path, sizeof(path), "/proc/%u/task/%u/stat", tgid, tid);
	if (!read_proc(path, buf, sizeof(buf)) || !(from = strchr(buf, '(')) || !(to = strrchr(buf, ')')) || to < from)
		return false;
	snprintf(t->comm, sizeof(t->comm), "%.*s", (int)(to - from - 1), from + 1);
	for (field = 2, c = to; c && field < 22; field++) {
		c = strchr(c + 1, ' ');
		if (c && field == 3)
			t->ppid = (u32)strtoul(c, NULL, 10);
	}
	if (c)
		t->start = strtoull(c, NULL, 10) * (1000000000ull / (u64)sysconf(_SC_CLK_TCK));
	return true;
}

/* When it began, by both clocks: start_time is of CLOCK_MONOTONIC, which stands still while suspended. */
static void put_start(u8 *task, u64 boottime)
{
	struct timespec boot, mono;
	u64 asleep, start;

	if (!boottime)
		return;
	clock_gettime(CLOCK_MONOTONIC, &mono); /* first: it is never ahead */
	clock_gettime(CLOCK_BOOTTIME, &boot);
	asleep = (u64)(boot.tv_sec - mono.tv_sec) * 1000000000ull + (u64)boot.tv_nsec - (u64)mono.tv_nsec;
	asleep -= asleep % (1000000000ull / (u64)sysconf(_SC_CLK_TCK)); /* what is read has no more precision */
	start = boottime > asleep ? boottime - asleep : 0;
	memcpy(task + at.start_boottime, &boottime, sizeof(boottime));
	memcpy(task + at.start_time, &start, sizeof(start));
}

void helper_task_fill(void *room, const struct helper_task *t)
{
	u8 *self = room;

	pthread_once(&once, find_members);
	memset(room, 0, helper_task_room());
	if (!at.size)
		return;
	fill_room(self, t->tid, t->tgid, t->ppid);
	memcpy(self + at.comm, t->comm, sizeof(t->comm));
	put_start(self, t->start);
	if (t->exiting) {
		put32(self, at.exit_code, (u32)t->exit_code);
		put32(self, at.flags, 4); /* PF_EXITING */
	}
}

/* The same thread as at the last look: then what does not change of it is there. */
static bool is_known(const u8 *self, u32 pid, u32 tgid)
{
	u64 start;
	u32 was[2];

	memcpy(&was[0], self + at.pid, 4);
	memcpy(&was[1], self + at.tgid, 4);
	memcpy(&start, self + at.start_boottime, sizeof(start));
	return start && was[0] == pid && was[1] == tgid;
}

/* bpf_get_current_task, bpf_get_current_task_btf: valid until the thread ends. */
u64 task_current(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u32 tgid = (u32)getpid(), pid = (u32)gettid();
	u8 *self;

	if (helper_run.task && helper_run.task->object)
		return (u64)(uintptr_t)helper_run.task->object;
	pthread_once(&once, find_members);
	if (!mine && at.size && !base_ending && !base_in_signal) {
		mine = base_alloc(helper_task_room());
		pthread_setspecific(thread_end, mine);
	}
	self = mine;
	if (!self && at.size && helper_task_room() <= HELPER_SIGNAL_ROOM)
		self = helper_signal_room;
	if (!self || helper_run.idle)
		return (u64)(uintptr_t)nobody;
	if (helper_run.task) {
		helper_task_fill(self, helper_run.task);
		return (u64)(uintptr_t)self;
	}
	if (!is_known(self, pid, tgid)) {
		struct helper_task look;

		helper_task_look(&look, tgid, pid);
		helper_task_fill(self, &look);
	}
	put32(self, at.exit_code, 0);
	put32(self, at.flags, 0);
	fill_room(self, pid, tgid, (u32)getppid());
	prctl(PR_GET_NAME, self + at.comm, 0, 0, 0);
	return (u64)(uintptr_t)self;
}

size_t helper_task_room(void)
{
	pthread_once(&once, find_members);
	return BEHIND + 2u * at.size + at.cred_size; /* with size 0 enough for `nobody` */
}

/* Of another process: proc(5), /proc/PID/status: "Uid:\treal\teffective\tsaved\tfs", the same of groups. */
static void fill_cred_of(u8 *cred, u32 tgid, u32 tid)
{
	static const char *const names[] = { "\nUid:", "\nGid:" };
	const u32 to[2][4] = { { at.uid, at.euid, at.suid, at.fsuid }, { at.gid, at.egid, at.sgid, at.fsgid } };
	char path[64], buf[2048], *s;
	u32 i, k;

	snprintf(path, sizeof(path), "/proc/%u/task/%u/status", tgid, tid);
	read_proc(path, buf, sizeof(buf));
	for (i = 0; i < 2; i++) {
		s = strstr(buf, names[i]);
		s = s ? s + strlen(names[i]) : NULL;
		for (k = 0; s && k < 4; k++)
			put32(cred, to[i][k], (u32)strtoul(s, &s, 10));
	}
}

const void *helper_task_show(void *room, u32 tgid, u32 tid)
{
	struct helper_task look;

	if (!helper_task_look(&look, tgid, tid))
		return NULL;
	helper_task_fill(room, &look);
	if (at.size && tgid != (u32)getpid())
		fill_cred_of((u8 *)room + BEHIND + 2u * at.size, tgid, tid);
	return room;
}

bool helper_member(const char *type, const char *member, u32 *off, u32 *size)
{
	const struct btf *btf = fbtf_vmlinux();
	const struct btf_type *t = btf ? find_struct(btf, type) : NULL;

	if (!t || !find_member(btf, t, member, off))
		return false;
	*size = t->size;
	return true;
}

u32 helper_task_tgid(u64 task)
{
	u32 tgid;

	pthread_once(&once, find_members);
	if (!at.size || code_copy_safe(&tgid, ptr(task + at.tgid), sizeof(tgid)))
		return 0;
	return tgid;
}

u32 helper_task_pid(u64 task)
{
	u32 pid;

	pthread_once(&once, find_members);
	if (!at.size || code_copy_safe(&pid, ptr(task + at.pid), sizeof(pid)))
		return 0;
	return pid;
}
