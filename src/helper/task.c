/* SPDX-License-Identifier: MIT */
/* Helpers on the thread that runs the program, and on the event. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "code/code.h"
#include "helper/helper_int.h"

u64 task_pid_tgid(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	if (__builtin_expect(helper_run.task != NULL, 0))
		return (u64)helper_run.task->tgid << 32 | helper_run.task->tid;
	return helper_run.idle ? 0 : helper_self();
}

u64 task_uid_gid(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return helper_run.idle ? 0 : (u64)getgid() << 32 | code_uid();
}

u64 task_comm(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	char comm[16] = "";
	size_t len;

	if (helper_run.idle)
		snprintf(comm, sizeof(comm), "swapper/%u", (helper_run.idle - 1) % 10000);
	else if (helper_run.task)
		memcpy(comm, helper_run.task->comm, sizeof(comm));
	else
		prctl(PR_GET_NAME, comm, 0, 0, 0);
	len = strnlen(comm, sizeof(comm) - 1);
	if (len >= a2)
		len = a2 - 1;
	memset(ptr(a1), 0, a2);
	memcpy(ptr(a1), comm, len);
	return 0;
}

u64 task_ns_pid_tgid(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct bpf_pidns_info info = { .pid = (u32)gettid(), .tgid = (u32)getpid() };
	struct stat st;

	if (helper_run.task)
		info = (struct bpf_pidns_info){ .pid = helper_run.task->tid, .tgid = helper_run.task->tgid };
	if (a4 != sizeof(info)) {
		memset(ptr(a3), 0, a4);
		return (u64)-EINVAL;
	}
	if (stat("/proc/self/ns/pid", &st) || st.st_dev != a1 || st.st_ino != a2) {
		memset(ptr(a3), 0, a4);
		return (u64)-EINVAL;
	}
	memcpy(ptr(a3), &info, sizeof(info));
	return 0;
}

u64 task_cpu(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return helper_run.idle ? helper_run.idle - 1 : map_this_cpu();
}

u64 task_numa_node(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	unsigned int cpu, node = 0;

	return syscall(SYS_getcpu, &cpu, &node, NULL) ? 0 : node;
}

/* xorshift64*, a state a thread: quick, and good for what programs use it for (sampling). */
u64 task_random(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	static _Thread_local u64 state;

	while (!state) {
		struct timespec t;

		if (getrandom(&state, sizeof(state), GRND_NONBLOCK) == sizeof(state))
			continue;
		clock_gettime(CLOCK_MONOTONIC, &t);
		state = (u64)t.tv_nsec * 0x9e3779b97f4a7c15ull ^ (u64)(uintptr_t)&state;
	}
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 0x2545f4914f6cdd1dull) >> 32;
}

u64 task_cookie(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return helper_run.cookie;
}

/* The function that the program is at the entry of is not run, and returns a2. */
u64 task_override(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct helper_override *o = helper_run.override;

	if (o) {
		o->set = true;
		o->value = a2;
	}
	return 0;
}

/* In front of a traced function's arguments is their number, behind them its result. */
u64 task_func_arg(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const u64 *args = ptr(a1);

	if ((u32)a2 >= args[-1])
		return (u64)-EINVAL;
	memcpy(ptr(a3), &args[(u32)a2], sizeof(u64));
	return 0;
}

u64 task_func_ret(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const u64 *args = ptr(a1);

	memcpy(ptr(a2), &args[args[-1]], sizeof(u64));
	return 0;
}

u64 task_func_arg_cnt(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return ((const u64 *)ptr(a1))[-1];
}

u64 task_func_ip(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return helper_run.func_ip;
}
