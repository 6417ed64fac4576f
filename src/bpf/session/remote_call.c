/* SPDX-License-Identifier: MIT */
/*
 * The calls of remote.def, on behalf of sys_remote. A call on a path of the session's is made here with the path in
 * its place, one on memory or descriptors with those of the caller; what is not ours is left to the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "bpf/session/remote_int.h"
#include "bpf/session/session.h"
#include "bpf/sys_int.h"

#define NOT_OURS REMOTE_NOT_OURS

static long call_bpf(const u64 *args)
{
	return sys_bpf((int)args[0], (void *)(uintptr_t)args[1], (u32)args[2]);
}

static long call_perf_event_open(const u64 *args)
{
	long ret = sys_perf_open((void *)(uintptr_t)args[0], (s32)args[1], (s32)args[2], (s32)args[3], args[4]);

	return ret == -ENOSYS ? NOT_OURS : ret;
}

static long call_ioctl(const u64 *args)
{
	long ret;

	return sys_perf_ioctl((int)args[0], args[1], args[2], &ret) ? ret : NOT_OURS;
}

/* The kernel maps the file: it lies there as the user is to see it. */
static long call_mmap(const u64 *args)
{
	long ret = sys_remote_mmap((int)args[4], args[1], (int)args[2], (int)args[3], (s64)args[5]);

	return ret ? ret : NOT_OURS;
}

/* ---- waiting -------------------------------------------------------------------------------- */

/*
 * A set of epoll(7) is the same through a duplicate of its descriptor. What is put in is an eventfd of
 * this process, so that all calls on it have to be made here.
 */
static long call_epoll_ctl(const u64 *args)
{
	struct epoll_event event = { 0 };
	u32 never = 0;
	int event_fd = sys_ringbuf_poll((int)args[2], &never, false), set;
	long ret;

	if (event_fd < 0)
		return NOT_OURS;
	if (args[1] != EPOLL_CTL_DEL && sys_in(&event, args[3], sizeof(event)))
		return -EFAULT;
	event.events &= ~never;
	set = sys_remote_fd((int)args[0]);
	if (set < 0)
		return -EBADF;
	ret = epoll_ctl(set, (int)args[1], event_fd, &event) ? -errno : 0;
	close(set);
	return ret;
}

/* As poll(2) of a ring buffer would: what is read to the end is not ready. */
static long call_epoll_wait(const u64 *args)
{
	(void)args;
	sys_ringbuf_settle();
	return NOT_OURS;
}
#define call_epoll_pwait  call_epoll_wait
#define call_epoll_pwait2 call_epoll_wait

#ifdef SYS_poll
static long call_poll(const u64 *args)
{
	return sys_remote_poll(args[0], (u32)args[1], (s32)args[2]);
}
#endif

static long call_ppoll(const u64 *args)
{
	struct timespec t;

	if (!args[2])
		return sys_remote_poll(args[0], (u32)args[1], -1);
	if (sys_in(&t, args[2], sizeof(t)))
		return -EFAULT;
	if (t.tv_sec < 0 || t.tv_sec > 1 << 30 || t.tv_nsec < 0 || t.tv_nsec > 999999999)
		return NOT_OURS;
	return sys_remote_poll(args[0], (u32)args[1], t.tv_sec * 1000 + (t.tv_nsec + 999999) / 1000000);
}

/* ---- paths ---------------------------------------------------------------------------------- */

/* A path that Ferry may answer for: "/sys/...", "/proc/..." */
static bool path_in(u64 addr, char path[PATH_MAX])
{
	s64 n = sys_in_string(path, addr, PATH_MAX);

	return n > 0 && !path[n - 1] && (!strncmp(path, "/sys/", 5) || !strncmp(path, "/proc/", 6));
}

static long do_open(u64 addr, int flags, u32 mode)
{
	char path[PATH_MAX], real[PATH_MAX];
	int fd, there;

	if (!path_in(addr, path))
		return NOT_OURS;
	fd = sys_file_open(path, flags | O_CLOEXEC);
	if (fd == -ENOENT) {
		if (sys_path(path, real) == SESSION_NO)
			return NOT_OURS;
		fd = sys_probe_open(real, flags | O_CLOEXEC);
		if (fd == -ENOENT && (fd = open(real, flags | O_CLOEXEC, mode)) < 0)
			return -errno;
	}
	if (fd < 0)
		return fd;
	there = sys_remote_give(fd, flags & O_CLOEXEC);
	close(fd);
	return there;
}

static long call_openat(const u64 *args)
{
	return do_open(args[1], (int)args[2], (u32)args[3]);
}

#ifdef SYS_open
static long call_open(const u64 *args)
{
	return do_open(args[0], (int)args[1], (u32)args[2]);
}
#endif

struct path_call {
	long nr;
	int path, second, result;
	u32 size;
};
static const struct path_call path_calls[] = {
#define PATHS(name, path, second, result, size) { SYS_##name, path, second, result, size },
#include "bpf/session/remote.def"
#undef PATHS
};

static long magic_of(enum session_fs fs)
{
	return fs == SESSION_BPFFS     ? BPF_FS_MAGIC
	       : fs == SESSION_TRACEFS ? TRACEFS_MAGIC
	       : fs == SESSION_SYSFS   ? SYSFS_MAGIC
				       : PROC_SUPER_MAGIC;
}

/* Is one of the two paths in the session? Then both are where the call is to find them. */
static bool places(const struct path_call *p, const u64 *args, u64 *local, char real[2][PATH_MAX],
		   enum session_fs *fs)
{
	const int at[2] = { p->path, p->second };
	char path[PATH_MAX];
	bool ours = false;
	s64 n;

	for (int i = 0; i < 2 && at[i] >= 0; i++) {
		enum session_fs in;

		n = sys_in_string(path, args[at[i]], sizeof(path));
		if (n <= 0 || path[n - 1] || path[0] != '/')
			return false; /* relative ones are the kernel's: the session is below no directory of theirs */
		in = sys_path(path, real[i]);
		if (in == SESSION_NO)
			strcpy(real[i], path);
		else
			*fs = in;
		ours |= in != SESSION_NO;
		local[at[i]] = (uintptr_t)real[i];
	}
	return ours;
}

static long do_path_call(const struct path_call *p, const u64 *args)
{
	char real[2][PATH_MAX];
	enum session_fs fs = SESSION_NO;
	u64 local[6], result[64] = { 0 };
	long ret;

	memcpy(local, args, sizeof(local));
	if (p->size > sizeof(result) || !places(p, args, local, real, &fs))
		return NOT_OURS;
	if (p->result >= 0)
		local[p->result] = (uintptr_t)result;
	ret = syscall(p->nr, local[0], local[1], local[2], local[3], local[4], local[5]);
	if (ret < 0)
		return -errno;
	if (p->nr == SYS_statfs)
		((struct statfs *)(void *)result)->f_type = magic_of(fs);
	if (p->result >= 0)
		return sys_out(args[p->result], result, p->size) ? -EFAULT : ret;
	if (fs == SESSION_BPFFS)
		sys_pins_sweep(); /* a name may be gone */
	return ret;
}

/* ---- which is it? --------------------------------------------------------------------------- */

long sys_remote_answer(const struct seccomp_data *d)
{
	static const struct {
		long nr;
		long (*handler)(const u64 *args);
	} calls[] = {
#define CALL(name, condition) { SYS_##name, call_##name },
#include "bpf/session/remote.def"
#undef CALL
	};
	u64 args[6];
	size_t i;

	memcpy(args, d->args, sizeof(args));
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].nr == d->nr)
			return calls[i].handler(args);
	for (i = 0; i < ARRAY_SIZE(path_calls); i++)
		if (path_calls[i].nr == d->nr)
			return do_path_call(&path_calls[i], args);
	return NOT_OURS;
}
