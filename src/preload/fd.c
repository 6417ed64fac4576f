/* SPDX-License-Identifier: MIT */
/* Hooks of calls on descriptors: bpf(2) itself, closing, mapping, waiting. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>

#include "bpf/sys.h"
#include "preload/preload_int.h"

#define real preload_real

/* ---- system calls by number ----------------------------------------------------------------- */

static long answer(long ret)
{
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

static __attribute__((noinline)) long other_call(long nr, const long a[6])
{
	switch (nr) {
	case SYS_perf_event_open:
		if (!preload_off()) {
			long ret = sys_perf_open((void *)a[0], a[1], a[2], a[3], a[4]);

			if (ret != -ENOSYS)
				return answer(ret);
		}
		break;
	case SYS_ioctl: return hook_ioctl(a[0], a[1], a[2]);
	case SYS_read: return hook_read(a[0], (void *)a[1], a[2]);
	case SYS_close: return hook_close(a[0]);
#ifdef SYS_dup2
	case SYS_dup2: return hook_dup2(a[0], a[1]);
#endif
	case SYS_dup3: return hook_dup3(a[0], a[1], a[2]);
	case SYS_close_range: return hook_close_range(a[0], a[1], a[2]);
	case SYS_mmap: return (long)hook_mmap((void *)a[0], a[1], a[2], a[3], a[4], a[5]);
	case SYS_epoll_ctl: return hook_epoll_ctl(a[0], a[1], a[2], (struct epoll_event *)a[3]);
	}
	return real.syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/*
 * hook_syscall() under fixed arguments: integers are where variable ones are (SysV ABI 3.2.3, AAPCS64 on
 * Linux), and need not be stored first. All six, as libc's own, where the caller may have passed fewer:
 * what is behind them on its stack then.
 */
long hook_syscall_fixed(long nr, long a0, long a1, long a2, long a3, long a4, long a5);
__attribute__((no_sanitize("address"))) long hook_syscall_fixed(long nr, long a0, long a1, long a2, long a3,
								long a4, long a5)
{
	if (__builtin_expect(nr == SYS_bpf && !preload_off(), 1)) /* by far the most frequent */
		return answer(sys_bpf(a0, (void *)a1, a2));
	return other_call(nr, (const long[]){ a0, a1, a2, a3, a4, a5 });
}

#pragma GCC diagnostic push
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wattribute-alias"
#endif
long hook_syscall(long nr, ...) __attribute__((alias("hook_syscall_fixed")));
#pragma GCC diagnostic pop

int hook_ioctl(int fd, unsigned long request, ...)
{
	unsigned long arg;
	va_list ap;
	long ret;

	va_start(ap, request);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	if (sys_objects && !sys_inside && sys_perf_ioctl(fd, request, arg, &ret))
		return answer(ret);
	return real.ioctl(fd, request, arg);
}

/*
 * Whatever closes or replaces a descriptor makes its number forgotten before and after the call:
 * before, so that nobody finds the old map once it is gone; after, for who looked in between.
 */
#define FORGETTING(fd, call)                                                                       \
	({                                                                                         \
		__typeof__(call) ret_;                                                             \
		sys_fast_forget(fd);                                                               \
		ret_ = (call);                                                                     \
		sys_fast_forget(fd);                                                               \
		ret_;                                                                              \
	})

/* ---- close ---------------------------------------------------------------------------------- */

static void closed(struct sys_obj *o)
{
	int saved = errno;

	sys_fd_closed(o);
	errno = saved;
}

/* Ferry's own descriptors are not there, as far as the host is concerned. */
static bool is_own(int fd)
{
	return sys_fd_internal(fd);
}

int hook_close(int fd)
{
	struct sys_obj *o;
	int ret;

	if (sys_fd_any_internal() && is_own(fd)) {
		errno = EBADF;
		return -1;
	}
	if (!sys_fd_watched())
		return FORGETTING(fd, real.close(fd));
	o = sys_fd_closing(fd);
	ret = FORGETTING(fd, real.close(fd));
	if (o)
		closed(o);
	return ret;
}

int hook_fclose(FILE *f)
{
	int fd = sys_objects ? fileno(f) : -1, ret;
	struct sys_obj *o = sys_objects ? sys_fd_closing(fd) : NULL;

	ret = FORGETTING(fd, real.fclose(f));
	if (o)
		closed(o);
	return ret;
}

/* What `to` was is closed by the call; one of Ferry's own numbers is not to be had. */
int hook_dup2(int from, int to)
{
	struct sys_obj *o;
	int ret;

	if (sys_fd_any_internal() && from != to && is_own(to)) {
		errno = EBUSY;
		return -1;
	}
	if (!sys_fd_watched() || from == to)
		return FORGETTING(to, real.dup2(from, to));
	o = sys_fd_closing(to);
	ret = FORGETTING(to, real.dup2(from, to));
	if (o)
		closed(o);
	return ret;
}

int hook_dup3(int from, int to, int flags)
{
	struct sys_obj *o;
	int ret;

	if (sys_fd_any_internal() && from != to && is_own(to)) {
		errno = EBUSY;
		return -1;
	}
	if (!sys_fd_watched() || from == to)
		return FORGETTING(to, real.dup3(from, to, flags));
	o = sys_fd_closing(to);
	ret = FORGETTING(to, real.dup3(from, to, flags));
	if (o)
		closed(o);
	return ret;
}

/* Around Ferry's own descriptors, which are few: piece by piece. */
static int close_pieces(unsigned int first, unsigned int last, int flags)
{
	u64 at = first, own; /* so that a step past the last number is one */
	int ret = 0;

	while (!ret && at <= last) {
		own = sys_fd_next_internal(at);
		if (own == ~0u || own > last)
			return real.close_range(at, last, flags);
		if (own > at)
			ret = real.close_range(at, own - 1, flags);
		at = own + 1;
	}
	return ret;
}

int hook_close_range(unsigned int first, unsigned int last, int flags)
{
	int ret, saved;

	/* Ferry's own are close-on-exec already, and stay so. */
	if (!sys_fd_any_internal() || first > last || flags & CLOSE_RANGE_CLOEXEC)
		return real.close_range(first, last, flags);
	sys_fast_forget_range(first, last);
	ret = close_pieces(first, last, flags);
	saved = errno;
	sys_fast_forget_range(first, last);
	sys_fd_sweep();
	errno = saved;
	return ret;
}

void hook_closefrom(int first)
{
	if (!sys_fd_any_internal())
		real.closefrom(first);
	else
		hook_close_range(first < 0 ? 0 : first, ~0u, 0);
}

/* ---- mmap ----------------------------------------------------------------------------------- */

void *hook_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	void *ret;

	if (fd >= 0 && sys_objects && !(flags & MAP_ANONYMOUS) &&
	    sys_mmap(addr, len, prot, flags, fd, off, &ret))
		return ret;
	return real.mmap(addr, len, prot, flags, fd, off);
}

void *hook_mmap64(void *addr, size_t len, int prot, int flags, int fd, off64_t off)
{
	void *ret;

	if (fd >= 0 && sys_objects && !(flags & MAP_ANONYMOUS) &&
	    sys_mmap(addr, len, prot, flags, fd, off, &ret))
		return ret;
	return real.mmap64(addr, len, prot, flags, fd, off);
}

/* ---- waiting -------------------------------------------------------------------------------- */

/* What to wait on for `fd`: a ring buffer's eventfd, or itself. errno stays. */
static int wait_fd(int fd, u32 *never, bool level)
{
	int saved = errno, event = -1;

	*never = 0;
	if (sys_objects && !sys_inside) {
		sys_inside++;
		event = sys_ringbuf_poll(fd, never, level);
		sys_inside--;
	}
	errno = saved;
	return event >= 0 ? event : fd;
}

static void settle(void)
{
	int saved = errno;

	if (sys_objects)
		sys_ringbuf_settle();
	errno = saved;
}

int hook_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	struct epoll_event ours;
	u32 never;

	fd = wait_fd(fd, &never, false);
	if (never && event && op != EPOLL_CTL_DEL) {
		ours = *event;
		ours.events &= ~never;
		event = &ours;
	}
	return real.epoll_ctl(epfd, op, fd, event);
}

int hook_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
	settle();
	return real.epoll_wait(epfd, events, max, timeout);
}

int hook_epoll_pwait(int epfd, struct epoll_event *events, int max, int timeout,
		     const sigset_t *mask)
{
	sigset_t room;

	settle();
	return real.epoll_pwait(epfd, events, max, timeout, preload_safe_mask(mask, &room));
}

/* With ring buffers in the set: a copy with their eventfds in place. NULL: nothing to replace. */
static struct pollfd *poll_set(struct pollfd *fds, nfds_t n, struct pollfd small[16])
{
	struct pollfd *set = NULL;
	nfds_t i;

	if (!sys_objects || sys_inside)
		return NULL;
	settle();
	for (i = 0; i < n; i++) {
		u32 never = 0;
		int fd = fds[i].fd >= 0 ? wait_fd(fds[i].fd, &never, true) : fds[i].fd;

		if (fd == fds[i].fd)
			continue;
		if (!set) {
			set = n <= 16 ? small : base_array(n, sizeof(*set));
			if (!set)
				return NULL;
			memcpy(set, fds, n * sizeof(*set));
		}
		set[i].fd = fd;
		set[i].events &= (short)~never;
	}
	return set;
}

static void poll_results(struct pollfd *fds, nfds_t n, struct pollfd *set, struct pollfd small[16])
{
	int saved = errno;
	nfds_t i;

	for (i = 0; i < n; i++)
		fds[i].revents = set[i].revents;
	if (set != small)
		base_free(set);
	errno = saved;
}

int hook_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct pollfd small[16], *set = poll_set(fds, n, small);
	int ret = real.poll(set ? set : fds, n, timeout);

	if (set)
		poll_results(fds, n, set, small);
	return ret;
}

int hook___poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
	if (size / sizeof(*fds) < n)
		return real.__poll_chk(fds, n, timeout, size); /* ends the process, as it should */
	return hook_poll(fds, n, timeout);
}

int hook_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
	struct pollfd small[16], *set = poll_set(fds, n, small);
	sigset_t room;
	int ret = real.ppoll(set ? set : fds, n, timeout, preload_safe_mask(mask, &room));

	if (set)
		poll_results(fds, n, set, small);
	return ret;
}
