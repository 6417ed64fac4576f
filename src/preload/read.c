/* SPDX-License-Identifier: MIT */
/* Hooks of reading: an iterator's descriptor runs its program (sys_iter_read()). Streams of ours. */
#include <errno.h>

#include "bpf/session/session.h"
#include "bpf/sys.h"
#include "preload/preload_int.h"

#define real preload_real

/* With no iterator about, which is nearly always, a load and a comparison. */
static bool from_iter(int fd, void *buf, size_t n, ssize_t *ret)
{
	int saved = errno;
	s64 got;

	if (__builtin_expect(!sys_iters, 1) || sys_inside || !sys_iter_read(fd, buf, n, &got))
		return false;
	errno = got < 0 ? (int)-got : saved;
	*ret = got < 0 ? -1 : (ssize_t)got;
	return true;
}

ssize_t hook_read(int fd, void *buf, size_t n)
{
	ssize_t ret;

	return from_iter(fd, buf, n, &ret) ? ret : real.read(fd, buf, n);
}

ssize_t hook___read_chk(int fd, void *buf, size_t n, size_t size)
{
	ssize_t ret;

	return n <= size && from_iter(fd, buf, n, &ret) ? ret : real.__read_chk(fd, buf, n, size);
}

/* Iterators cannot be positioned: what comes next comes, as in the kernel. */
ssize_t hook_pread(int fd, void *buf, size_t n, off_t off)
{
	ssize_t ret;

	return from_iter(fd, buf, n, &ret) ? ret : real.pread(fd, buf, n, off);
}

ssize_t hook_pread64(int fd, void *buf, size_t n, off64_t off)
{
	ssize_t ret;

	return from_iter(fd, buf, n, &ret) ? ret : real.pread64(fd, buf, n, off);
}

/* As the kernel goes through the parts of a file that only has read: up to the first that is not filled. */
ssize_t hook_readv(int fd, const struct iovec *v, int n)
{
	ssize_t ret = 0, sum = 0;

	for (int i = 0; i < n; i++) {
		if (!from_iter(fd, v[i].iov_base, v[i].iov_len, &ret))
			return real.readv(fd, v, n);
		if (ret < 0)
			return sum ? sum : ret;
		sum += ret;
		if ((size_t)ret < v[i].iov_len)
			break;
	}
	return n > 0 ? sum : real.readv(fd, v, n);
}

static ssize_t stream_write(void *cookie, const char *buf, size_t n)
{
	ssize_t put = hook_write((int)(intptr_t)cookie, buf, n);

	return put < 0 ? 0 : put; /* fopencookie(3): 0 is an error */
}

static int stream_close(void *cookie)
{
	return hook_close((int)(intptr_t)cookie);
}

/* Streams read and write inside of libc, where no hook sees it. */
FILE *hook_fdopen(int fd, const char *mode)
{
	static const cookie_io_functions_t to_probes = { .write = stream_write, .close = stream_close };

	if (sys_iters && !sys_inside)
		sys_iter_fill(fd);
	if (sys_probe_writers && !sys_inside && mode && *mode != 'r' && sys_probe_is(fd))
		return fopencookie((void *)(intptr_t)fd, mode, to_probes);
	return real.fdopen(fd, mode);
}
