/* SPDX-License-Identifier: MIT */
/*
 * poll(2) of a caller without libc that waits for ring or perf buffers: a memfd is always ready, so what is waited
 * for here is its eventfd, by a thread of its own, with duplicates of the caller's other descriptors.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "bpf/session/remote_int.h"
#include "bpf/sys_int.h"

#define MAX_SET	   1024
#define MAX_WAITS  64  /* threads */
#define SLICE	   200 /* milliseconds: so long a caller that was killed goes unnoticed */

struct wait {
	struct sys_remote remote; /* a copy */
	u64 addr;
	s64 timeout;
	u32 n;
	struct pollfd theirs[MAX_SET], ours[MAX_SET];
};

static _Atomic u32 waits;

/* An eventfd of Ferry's stays open; the others are duplicates of the caller's. */
static void end(struct wait *w)
{
	for (u32 i = 0; i < w->n; i++)
		if (w->ours[i].fd >= 0)
			close(w->ours[i].fd);
	base_free(w);
	waits--;
}

/* False: no ring buffer is among them. */
static bool translate(struct wait *w)
{
	bool any = false;

	for (u32 i = 0; i < w->n; i++) {
		u32 never = 0;
		int fd = w->theirs[i].fd, event = fd >= 0 ? sys_ringbuf_poll(fd, &never, true) : -1;

		any |= event >= 0;
		w->ours[i].events = w->theirs[i].events & (short)~never;
		w->ours[i].fd = event >= 0 ? dup(event) : sys_remote_fd(fd);
	}
	return any;
}

static s64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void *wait_for(void *arg)
{
	struct wait *w = arg;
	s64 until = now_ms() + w->timeout;
	bool forever = w->timeout < 0;
	long ret = 0;
	u32 i;

	sys_inside++;
	sys_remote = &w->remote;
	for (;;) {
		s64 left = forever ? SLICE : until - now_ms();

		sys_ringbuf_settle();
		ret = poll(w->ours, w->n, left < 0 ? 0 : left > SLICE ? SLICE : (int)left);
		if (ret || (!forever && until <= now_ms()) ||
		    ioctl(w->remote.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &w->remote.id))
			break;
	}
	for (i = 0; ret >= 0 && i < w->n; i++) {
		w->theirs[i].revents = w->ours[i].revents;
		if (w->theirs[i].fd >= 0 && w->ours[i].fd < 0) { /* it is not open over there */
			w->theirs[i].revents = POLLNVAL;
			ret++;
		}
	}
	if (ret < 0)
		ret = -errno;
	else if (sys_out(w->addr, w->theirs, w->n * sizeof(w->theirs[0])))
		ret = -EFAULT;
	sys_remote = NULL;
	sys_remote_reply(w->remote.listener, w->remote.id, ret);
	end(w);
	sys_inside--;
	return NULL;
}

/* With all signals blocked: they are this process's, and not this thread's to take. */
static int start(struct wait *w)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = pthread_create(&thread, &attr, wait_for, w);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

long sys_remote_poll(u64 addr, u64 n, s64 timeout)
{
	struct wait *w;
	bool missing = false;

	if (!sys_objects || !n || n > MAX_SET || waits >= MAX_WAITS)
		return REMOTE_NOT_OURS;
	w = base_alloc(sizeof(*w));
	if (!w)
		return REMOTE_NOT_OURS;
	waits++;
	w->remote = *sys_remote;
	w->addr = addr;
	w->timeout = timeout;
	if (sys_in(w->theirs, addr, n * sizeof(w->theirs[0]))) {
		end(w);
		return -EFAULT;
	}
	w->n = (u32)n;
	if (!translate(w)) {
		end(w);
		return REMOTE_NOT_OURS;
	}
	for (u32 i = 0; i < w->n; i++)
		missing |= w->theirs[i].fd >= 0 && w->ours[i].fd < 0;
	if (missing)
		w->timeout = 0;
	if (start(w)) {
		end(w);
		return REMOTE_NOT_OURS;
	}
	return REMOTE_LATER;
}
