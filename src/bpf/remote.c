/* SPDX-License-Identifier: MIT */
/*
 * System calls of other processes, by seccomp's user notification (seccomp_unotify(2)): bpf(2),
 * perf_event_open(2), ioctl(2) on events, and files below /sys. Objects live here; what the process
 * gets are descriptors of the same memfds, so that it may map, pass and close them by itself.
 *
 * Who asks may change its memory and descriptors at any time: it is no more than a hostile caller.
 * The filter keeps nobody from anything; a call that is not ours goes on to the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bpf/remote.h"
#include "bpf/session.h"
#include "bpf/sys_int.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

_Thread_local struct sys_remote *sys_remote __attribute__((tls_model("initial-exec")));

/* ---- the filter ----------------------------------------------------------------------------- */

#define IS(nr)                                                                                     \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)

int sys_remote_filter(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		IS(SYS_bpf),
		IS(SYS_perf_event_open),
		IS(SYS_openat),
#ifdef SYS_open
		IS(SYS_open),
#endif
		/* Requests of perf events are of type '$'. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, '$' << 8, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
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

int sys_remote_fd(int fd)
{
	int pidfd, got;

	if (fd < 0)
		return -1;
	/* A thread of a larger process has its descriptors. */
	pidfd = syscall(SYS_pidfd_open, sys_remote->pid, 0);
	if (pidfd < 0) {
		char path[64];

		/* Not the first thread: by /proc, as a description of its own. */
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", sys_remote->pid, fd);
		return open(path, O_RDWR | O_CLOEXEC);
	}
	got = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	close(pidfd);
	return got;
}

int sys_remote_give(int fd, bool cloexec)
{
	struct seccomp_notif_addfd add = { .id = sys_remote->id,
					   .srcfd = fd,
					   .newfd_flags = cloexec ? O_CLOEXEC : 0 };
	int got = ioctl(sys_remote->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);

	return got < 0 ? -errno : got;
}

/* ---- calls ---------------------------------------------------------------------------------- */

#define NOT_OURS (-4096L)
#define SWEEP    1024 /* calls until descriptors are looked for that are gone */

static long do_open(u64 addr, int flags)
{
	char path[PATH_MAX], real[PATH_MAX];
	int fd, there;
	s64 n = sys_in_string(path, addr, sizeof(path));

	if (n <= 0 || path[n - 1] || strncmp(path, "/sys/", 5))
		return NOT_OURS;
	fd = sys_file_open(path, flags | O_CLOEXEC);
	if (fd == -ENOENT) {
		if (sys_path(path, real) == SESSION_NO)
			return NOT_OURS;
		fd = open(real, flags | O_CLOEXEC, 0600);
		if (fd < 0)
			return -errno;
	}
	if (fd < 0)
		return fd;
	there = sys_remote_give(fd, flags & O_CLOEXEC);
	close(fd);
	return there;
}

static long do_ioctl(int fd, unsigned long request, unsigned long arg)
{
	long ret;

	return sys_perf_ioctl(fd, request, arg, &ret) ? ret : NOT_OURS;
}

static long answer(const struct seccomp_data *d)
{
	long ret;

	switch (d->nr) {
	case SYS_bpf: return sys_bpf((int)d->args[0], (void *)(uintptr_t)d->args[1], (u32)d->args[2]);
	case SYS_perf_event_open:
		ret = sys_perf_open((void *)(uintptr_t)d->args[0], (s32)d->args[1], (s32)d->args[2],
				    (s32)d->args[3], d->args[4]);
		return ret == -ENOSYS ? NOT_OURS : ret;
	case SYS_openat: return do_open(d->args[1], (int)d->args[2]);
#ifdef SYS_open
	case SYS_open: return do_open(d->args[0], (int)d->args[1]);
#endif
	case SYS_ioctl: return do_ioctl((int)d->args[0], d->args[1], d->args[2]);
	default: return NOT_OURS;
	}
}

void sys_remote_serve(int listener)
{
	struct seccomp_notif req;
	struct seccomp_notif_resp resp;
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
		ret = answer(&req.data);
		sys_remote = NULL;
		memset(&resp, 0, sizeof(resp));
		resp.id = req.id;
		if (ret == NOT_OURS)
			resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		else if (ret < 0)
			resp.error = (s32)ret;
		else
			resp.val = ret;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
		if (req.data.nr == SYS_bpf && ++asked % SWEEP == 0)
			sys_fd_sweep(); /* nobody tells when they close */
	}
	sys_inside--;
}
