/* SPDX-License-Identifier: MIT */
/*
 * System calls of other processes, by seccomp's user notification (seccomp_unotify(2)): those of
 * remote.def, which remote_call.c answers. Objects live here; what the process
 * gets are descriptors of the same memfds, so that it may map, pass and close them by itself.
 *
 * Who asks may change its memory and descriptors at any time: it is no more than a hostile caller.
 * The filter keeps nobody from anything; a call that is not ours goes on to the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bpf/session/remote_int.h"
#include "bpf/sys_int.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

_Thread_local struct sys_remote *sys_remote __attribute__((tls_model("initial-exec")));

/* ---- the filter ----------------------------------------------------------------------------- */

/* One call: is it this number, and does its condition hold? Jumps lead over what follows here only. */
#define NOTIFY	 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)
#define ALLOW	 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define ARG(n)	 BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[n]))
#define IS_ANY(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), NOTIFY
#define IS_MASKED(nr, n, mask, value)                                                              \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 5), ARG(n), BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask), \
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1), NOTIFY, ALLOW
/* Requests of perf events are of type '$'. */
#define IS_PERF(nr) IS_MASKED(nr, 1, 0xff00, '$' << 8)
/* MAP_SHARED and MAP_SHARED_VALIDATE, of a file. */
#define IS_SHARED(nr) IS_MASKED(nr, 3, MAP_SHARED | MAP_ANONYMOUS, MAP_SHARED)

int sys_remote_filter(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
		ALLOW,
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
#define CALL(name, condition) IS_##condition(SYS_##name),
#define PATHS(name, path, second, result, size) IS_ANY(SYS_##name),
#include "bpf/session/remote.def"
#undef CALL
#undef PATHS
		ALLOW,
	};
	struct sock_fprog prog = { ARRAY_SIZE(filter), filter };
	int fd;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	return fd < 0 ? -errno : fd;
}

/* ---- memory and descriptors of the caller --------------------------------------------------- */

int sys_remote_copy(void *local, u64 addr, size_t n, bool write)
{
	struct iovec here = { local, n }, there = { (void *)(uintptr_t)addr, n };
	ssize_t got = write ? process_vm_writev(sys_remote->pid, &here, 1, &there, 1, 0)
			    : process_vm_readv(sys_remote->pid, &here, 1, &there, 1, 0);

	return got == (ssize_t)n ? 0 : -EFAULT;
}

/* Up to the end of a page at a time: what lies behind the string may not be mapped. */
s64 sys_remote_string(char *dst, u64 addr, size_t n)
{
	size_t have = 0;

	while (have < n) {
		size_t step = 4096 - ((addr + have) & 4095);
		const char *end;

		if (step > n - have)
			step = n - have;
		if (sys_remote_copy(dst + have, addr + have, step, false))
			return -EFAULT;
		end = memchr(dst + have, 0, step);
		if (end)
			return end - dst + 1;
		have += step;
	}
	return n;
}

/*
 * The caller as a descriptor: remembered, since a client calls many times. Once a process or thread has
 * ended its descriptor is good for nothing, whoever has its number then.
 */
#define PIDFDS 16
static struct {
	pid_t pid;
	int fd;
} pidfds[PIDFDS];

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL /* Linux 6.9 */
#endif

/* The process of a thread that is not its first (proc(5)). */
static pid_t process_of(pid_t tid)
{
	char path[40], buf[1024], *at;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, buf, sizeof(buf) - 1) : 0;
	if (fd >= 0)
		close(fd);
	buf[n < 0 ? 0 : n] = '\0';
	at = strstr(buf, "\nTgid:");
	return at ? atoi(at + 6) : tid;
}

static int pidfd_of(pid_t pid, bool anew)
{
	u32 at = (u32)pid % PIDFDS;

	if (!anew && pidfds[at].pid == pid)
		return pidfds[at].fd;
	if (pidfds[at].pid)
		close(pidfds[at].fd);
	pidfds[at].fd = (int)syscall(SYS_pidfd_open, pid, PIDFD_THREAD);
	if (pidfds[at].fd < 0) /* an older kernel: of the whole process */
		pidfds[at].fd = (int)syscall(SYS_pidfd_open, process_of(pid), 0);
	pidfds[at].pid = pidfds[at].fd < 0 ? 0 : pid;
	return pidfds[at].fd;
}

int sys_remote_fd(int fd)
{
	int got = -1, tries;

	if (fd < 0)
		return -1;
	for (tries = 0; tries < 2 && got < 0; tries++) {
		got = (int)syscall(SYS_pidfd_getfd, pidfd_of(sys_remote->pid, tries), fd, 0);
		if (got < 0 && errno == EBADF && tries)
			break;
	}
	return got;
}

pid_t sys_remote_process(void)
{
	return process_of(sys_remote->pid);
}

int sys_remote_give(int fd, bool cloexec)
{
	struct seccomp_notif_addfd add = { .id = sys_remote->id,
					   .srcfd = fd,
					   .newfd_flags = cloexec ? O_CLOEXEC : 0 };
	int got = ioctl(sys_remote->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);

	return got < 0 ? -errno : got;
}

/* ---- the loop ------------------------------------------------------------------------------- */

#define SWEEP 1024 /* calls until descriptors are looked for that are gone */

void sys_remote_reply(int listener, u64 id, long ret)
{
	struct seccomp_notif_resp resp = { .id = id };

	if (ret == REMOTE_NOT_OURS)
		resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	else if (ret < 0)
		resp.error = (s32)ret;
	else
		resp.val = ret;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

void sys_remote_serve(int listener)
{
	struct seccomp_notif req;
	struct sys_remote remote = { .listener = listener };
	u32 asked = 0;
	long ret;

	sys_inside++; /* what this thread opens and closes is Ferry's */

	for (;;) {
		memset(&req, 0, sizeof(req));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &req)) {
			if (errno == EINTR || errno == ENOENT)
				continue; /* whoever asked is gone */
			break;
		}
		remote.id = req.id;
		remote.pid = (pid_t)req.pid;
		sys_remote = &remote;
		ret = sys_remote_answer(&req.data);
		sys_remote = NULL;
		if (ret != REMOTE_LATER)
			sys_remote_reply(listener, req.id, ret);
		if (req.data.nr == SYS_bpf && ++asked % SWEEP == 0)
			sys_fd_sweep(); /* nobody tells when they close */
	}
	sys_inside--;
}
