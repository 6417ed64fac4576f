/* SPDX-License-Identifier: MIT */
/*
 * The current task as programs see it: a struct task_struct of the BTF that stands for the kernel's,
 * one a thread, filled with what a process knows of itself. Other members are zero.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "btf/fbtf.h"
#include "code/code.h"
#include "helper/helper_int.h"

/* Where members are: offset in bits / 8, by name. */
static struct {
	u32 size, cred_size; /* size 0: the types could not be made */
	u32 pid, tgid, comm, real_parent, parent, group_leader, cred, real_cred;
	u32 uid, gid, euid, egid, suid, sgid, fsuid, fsgid;
} at;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_end;

/* self, leader, parent, cred */
static _Thread_local u8 *mine __attribute__((tls_model("initial-exec")));
static u8 nobody[4096]; /* without memory, and the idle task: zeros */
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
}

/* bpf_get_current_task, bpf_get_current_task_btf: valid until the thread ends. */
u64 task_current(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u32 tgid = (u32)getpid(), pid = (u32)gettid();
	u8 *self, *leader, *parent, *cred;

	pthread_once(&once, find_members);
	if (!mine && at.size && !base_ending && !base_in_signal) {
		mine = base_alloc(3u * at.size + at.cred_size);
		pthread_setspecific(thread_end, mine);
	}
	self = mine;
	if (!self && at.size && 3u * at.size + at.cred_size <= HELPER_SIGNAL_ROOM)
		self = helper_signal_room;
	if (!self || helper_run.idle)
		return (u64)(uintptr_t)nobody;
	parent = self + 2u * at.size;
	cred = self + 3u * at.size;
	leader = pid == tgid ? self : self + at.size;
	fill_cred(cred);
	fill_task(parent, (u32)getppid(), (u32)getppid(), parent, NULL, NULL);
	fill_task(leader, tgid, tgid, leader, parent, cred);
	fill_task(self, pid, tgid, leader, parent, cred);
	prctl(PR_GET_NAME, self + at.comm, 0, 0, 0);
	return (u64)(uintptr_t)self;
}

size_t helper_task_room(void)
{
	pthread_once(&once, find_members);
	return at.size ? 3u * at.size + at.cred_size : sizeof(nobody);
}

/* The name of another thread of this process. */
static void name_of(u32 tid, char comm[16])
{
	char path[48];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%u/comm", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, comm, 16); /* with a newline */
	close(fd);
	comm[n > 0 ? n - 1 : 0] = '\0';
}

const void *helper_task_show(void *room, u32 tid)
{
	u8 *self = room, *leader, *parent, *cred;
	u32 tgid = (u32)getpid();

	if (!at.size)
		return nobody;
	memset(room, 0, helper_task_room());
	leader = tid == tgid ? self : self + at.size;
	parent = self + 2u * at.size;
	cred = self + 3u * at.size;
	fill_cred(cred);
	fill_task(parent, (u32)getppid(), (u32)getppid(), parent, NULL, NULL);
	fill_task(leader, tgid, tgid, leader, parent, cred);
	fill_task(self, tid, tgid, leader, parent, cred);
	name_of(tid, (char *)self + at.comm);
	return self;
}

bool helper_task_in_process(u64 task)
{
	u32 tgid;

	pthread_once(&once, find_members);
	return at.size && !code_copy_safe(&tgid, ptr(task + at.tgid), sizeof(tgid)) && tgid == (u32)getpid();
}

u32 helper_task_pid(u64 task)
{
	u32 pid;

	pthread_once(&once, find_members);
	if (!at.size || code_copy_safe(&pid, ptr(task + at.pid), sizeof(pid)))
		return 0;
	return pid;
}
