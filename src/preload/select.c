/* SPDX-License-Identifier: MIT */
/*
 * Hooks of select(2) and pselect(2). Ring buffers are waited for on eventfds with numbers that no
 * fd_set holds, so a wait for one of them is a poll(2); all others stay what they are.
 */
#include <errno.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>

#include "bpf/sys.h"
#include "preload/preload_int.h"

#define real preload_real

enum { READ, WRITE, EXCEPT, SETS };
static const short wanted[SETS] = { POLLIN, POLLOUT, POLLPRI };
/* What counts as ready for each (poll(2), "Comparison with select"). */
static const short ready[SETS] = { POLLIN | POLLHUP | POLLERR, POLLOUT | POLLERR, POLLPRI };

static short events_of(fd_set *const sets[SETS], int fd)
{
	short events = 0;
	int i;

	for (i = 0; i < SETS; i++)
		if (sets[i] && FD_ISSET(fd, sets[i]))
			events |= wanted[i];
	return events;
}

static bool has_ours(int n, fd_set *const sets[SETS])
{
	int fd, saved = errno;
	bool ours = false;
	u32 never;

	if (!sys_objects || sys_inside)
		return false;
	sys_inside++;
	for (fd = 0; fd < n && fd < FD_SETSIZE && !ours; fd++)
		ours = sets[READ] && FD_ISSET(fd, sets[READ]) && sys_ringbuf_poll(fd, &never, false) >= 0;
	sys_inside--;
	errno = saved;
	return ours;
}

/* The sets become what is ready: how many bits, or -1 with EBADF. */
static int results(const struct pollfd *fds, nfds_t n, fd_set *const sets[SETS])
{
	int count = 0, i;
	nfds_t at;

	for (at = 0; at < n; at++) {
		if (fds[at].revents & POLLNVAL) {
			errno = EBADF;
			return -1;
		}
	}
	for (i = 0; i < SETS; i++) {
		fd_set was;

		if (!sets[i])
			continue;
		was = *sets[i];
		FD_ZERO(sets[i]);
		for (at = 0; at < n; at++) {
			if (!FD_ISSET(fds[at].fd, &was) || !(fds[at].revents & ready[i]))
				continue;
			FD_SET(fds[at].fd, sets[i]);
			count++;
		}
	}
	return count;
}

static int by_poll(int n, fd_set *const sets[SETS], const struct timespec *timeout,
		   const sigset_t *mask)
{
	struct pollfd fds[FD_SETSIZE];
	nfds_t used = 0;
	int fd, ret;

	for (fd = 0; fd < n && fd < FD_SETSIZE; fd++) {
		short events = events_of(sets, fd);

		if (events)
			fds[used++] = (struct pollfd){ .fd = fd, .events = events };
	}
	ret = hook_ppoll(fds, used, timeout, mask);
	return ret < 0 ? ret : results(fds, used, sets);
}

int hook_select(int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *timeout)
{
	fd_set *const sets[SETS] = { r, w, e };
	struct timespec limit;

	if (!has_ours(n, sets))
		return real.select(n, r, w, e, timeout);
	if (timeout) {
		limit.tv_sec = timeout->tv_sec;
		limit.tv_nsec = timeout->tv_usec * 1000;
	}
	return by_poll(n, sets, timeout ? &limit : NULL, NULL);
}

int hook_pselect(int n, fd_set *r, fd_set *w, fd_set *e, const struct timespec *timeout,
		 const sigset_t *mask)
{
	fd_set *const sets[SETS] = { r, w, e };
	sigset_t room;

	if (!has_ours(n, sets))
		return real.pselect(n, r, w, e, timeout, preload_safe_mask(mask, &room));
	return by_poll(n, sets, timeout, mask);
}
