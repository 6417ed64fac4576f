/* SPDX-License-Identifier: MIT */
/* Files made in memory: BTF of vmlinux and modules, fdinfo of objects, symbols, and trace_pipe. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/session/session.h"
#include "bpf/sys_int.h"
#include "helper/helper.h"

static const char btf_dir[] = "/sys/kernel/btf/";

/* In a session trace_pipe is a file that all of its processes share; else it is this process's. */
static bool is_trace_pipe(const char *path)
{
	return !sys_session_joined() &&
	       (!strcmp(path, "/sys/kernel/tracing/trace_pipe") ||
		!strcmp(path, "/sys/kernel/debug/tracing/trace_pipe"));
}

void *sys_file(const char *path, size_t *size)
{
	void *data = NULL;
	u32 n = 0;

	sys_inside++;
	if (!strncmp(path, btf_dir, sizeof(btf_dir) - 1))
		data = sys_btf_copy(path + sizeof(btf_dir) - 1, &n);
	else if (!strcmp(path, "/proc/kallsyms"))
		data = sys_kallsyms(&n);
	else if (!strcmp(path, "/proc/mounts") || !strcmp(path, "/proc/self/mounts"))
		data = sys_mounts(&n);
	else if (!strncmp(path, "/proc/", 6))
		data = sys_fdinfo(path, &n);
	sys_inside--;
	*size = n;
	return data;
}

bool sys_file_known(const char *path)
{
	size_t n;
	void *data;

	if (is_trace_pipe(path))
		return true;
	data = sys_file(path, &n);
	base_free(data);
	return data;
}

/* ---- trace_pipe ----------------------------------------------------------------------------- */

/*
 * A pipe that Ferry holds both ends of: lines wait in it until somebody reads, and no reader's end
 * is the last, so that writing never raises SIGPIPE. What does not fit is lost, as in the kernel's
 * buffer.
 */
static _Atomic int trace_in = -1, trace_out = -1;

/* The session's: the broker holds both ends as well. */
static int open_shared(void)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/tracing/trace_pipe", sys_session(false));
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int trace_join(void)
{
	int fd = open_shared();

	if (fd < 0)
		return fd;
	fd = sys_fd_move(fd);
	sys_fd_own(fd, true);
	trace_in = fd;
	return 0;
}

static int trace_start(void)
{
	int ends[2], err = 0;

	if (trace_in >= 0)
		return 0;
	sys_slow_lock();
	if (trace_in < 0 && sys_session_joined()) {
		err = trace_join();
	} else if (trace_in < 0) {
		if (pipe2(ends, O_CLOEXEC | O_NONBLOCK)) {
			err = -errno;
		} else {
			fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
			ends[0] = sys_fd_move(ends[0]);
			ends[1] = sys_fd_move(ends[1]);
			sys_fd_own(ends[0], true);
			sys_fd_own(ends[1], true);
			trace_out = ends[0];
			trace_in = ends[1];
		}
	}
	sys_slow_unlock();
	return err;
}

/*
 * In a child of vfork(2) a number must not be remembered that only the child has. What it inherits is used; a line of
 * the first one of a process that is in no session is lost.
 */
static void write_lent(const char *buf, size_t len)
{
	int fd = trace_in >= 0 ? trace_in : sys_session_joined() ? open_shared() : -1;
	ssize_t n = fd < 0 ? 0 : write(fd, buf, len);

	(void)n;
	if (fd >= 0 && trace_in < 0)
		close(fd);
}

static void trace_line(void *arg, const char *line, size_t len)
{
	char buf[1024];
	ssize_t n;
	int saved = errno;

	(void)arg;
	if (len > sizeof(buf) - 1)
		len = sizeof(buf) - 1;
	memcpy(buf, line, len);
	buf[len] = '\n';
	if (sys_memory_is_lent()) {
		write_lent(buf, len + 1);
	} else if (!trace_start()) {
		n = write(trace_in, buf, len + 1); /* at most PIPE_BUF: whole or not at all */
		(void)n;
	}
	errno = saved;
}

void sys_trace_init(void)
{
	helper_trace_to(trace_line, NULL);
}

static int open_trace(int flags)
{
	char path[40];
	int err = trace_start(), fd;

	if (err)
		return err;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", trace_out);
	/* A description of its own: blocking is the reader's choice. */
	fd = open(path, O_RDONLY | (flags & (O_CLOEXEC | O_NONBLOCK)));
	return fd < 0 ? -errno : fd;
}

/* ---- open ----------------------------------------------------------------------------------- */

int sys_file_open(const char *path, int flags)
{
	void *data;
	size_t size;
	int fd;

	if (is_trace_pipe(path))
		return flags & O_ACCMODE ? -EACCES : open_trace(flags);
	data = sys_file(path, &size);
	if (!data)
		return -ENOENT;
	fd = flags & O_ACCMODE ? -EACCES : sys_memfd("ferry-file", NULL, 0, data, size);
	base_free(data);
	if (fd >= 0)
		sys_seal(fd);
	if (fd >= 0 && !(flags & O_CLOEXEC))
		fcntl(fd, F_SETFD, 0);
	return fd;
}
