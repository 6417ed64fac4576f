/* SPDX-License-Identifier: MIT */
/*
 * Connections of the broker come and go. Whoever connects is of this user, and may connect as often as
 * it likes: descriptors are never used up, and others still get in.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/broker_int.h"
#include "code/code.h"

#ifndef SO_PEERPIDFD /* Linux 6.5 */
#define SO_PEERPIDFD 77
#endif

#define BACKLOG        64 /* as wire_listen() has it */
#define FULL_MS        20
#define IDLE_ENOUGH_MS 200 /* who asks nothing for so long may lose its connection to one who will */

/*
 * A connection takes two descriptors (its own, the process's), an object up to two, messages on the way up
 * to 200 each.
 */
void conns_limit(struct broker *b)
{
	struct rlimit rl = { 1024, 1024 };
	u64 n;

	if (!getrlimit(RLIMIT_NOFILE, &rl)) { /* it holds everybody's */
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	n = rl.rlim_cur < 1u << 20 ? rl.rlim_cur : 1u << 20;
	b->max_conns = (u32)(n / 8 < MAX_CONNS ? n / 8 : MAX_CONNS);
	n -= 2 * b->max_conns + n / 8;
	b->max_kept = (u32)(n > 300 ? n - 300 : n / 2);
	if (b->spare < 0)
		b->spare = fcntl(b->epoll, F_DUPFD_CLOEXEC, 0);
}

static int by_pid(const void *x, const void *y)
{
	const struct conn *a = *(struct conn *const *)x, *b = *(struct conn *const *)y;

	if (a->pid != b->pid)
		return a->pid < b->pid ? -1 : 1;
	return a->heard < b->heard ? -1 : a->heard > b->heard;
}

static bool can_go(const struct conn *c, u64 now)
{
	return !c->member && !c->dead && !c->looks && !c->waits && now - c->heard >= IDLE_ENOUGH_MS;
}

/*
 * Nobody is let in when all places are taken: the process with most connections that ask nothing loses the
 * oldest half of them, which it may open again.
 */
static void make_room(struct broker *b)
{
	u32 i, k, n, best = 0, from = 0, to = 0;
	struct conn *sorted[MAX_CONNS];
	u64 now = broker_now();

	memcpy(sorted, b->conns, b->nconns * sizeof(*sorted));
	qsort(sorted, b->nconns, sizeof(*sorted), by_pid);
	for (i = 0; i < b->nconns; i = k) {
		for (k = i, n = 0; k < b->nconns && sorted[k]->pid == sorted[i]->pid; k++)
			n += can_go(sorted[k], now);
		if (n > best) {
			best = n;
			from = i;
			to = k;
		}
	}
	for (n = best / 2 + 1, i = from; i < to && n; i++)
		if (can_go(sorted[i], now)) {
			sorted[i]->dead = true;
			n--;
		}
}

/* Without a descriptor the connection could not even be refused, and would be reported for ever. */
static void refuse(struct broker *b)
{
	int fd;

	if (b->spare < 0)
		return;
	close(b->spare);
	fd = accept4(b->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	b->spare = fcntl(b->epoll, F_DUPFD_CLOEXEC, 0);
}

static void watch_listener(struct broker *b, u32 events)
{
	struct epoll_event ev = { .events = events, .data.ptr = b };

	epoll_ctl(b->epoll, EPOLL_CTL_MOD, b->listener, &ev);
}

void conns_reopen(struct broker *b)
{
	b->full = 0;
	watch_listener(b, EPOLLIN);
}

/* True when there may be more. */
static bool accept_one(struct broker *b)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct conn *c;
	int fd;

	if (b->nconns >= b->max_conns) { /* it waits in the listener's queue */
		make_room(b);
		watch_listener(b, 0);
		b->full = broker_now() + FULL_MS;
		return false;
	}
	fd = accept4(b->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		refuse(b);
	if (fd < 0)
		return false;
	c = base_alloc(sizeof(*c));
	if (!c || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) || peer.uid != code_euid()) {
		base_free(c);
		close(fd);
		return true;
	}
	c->fd = fd;
	c->pid = peer.pid;
	c->pidfd = -1;
	c->heard = broker_now();
	ev.data.ptr = c;
	if (epoll_ctl(b->epoll, EPOLL_CTL_ADD, fd, &ev)) {
		base_free(c);
		close(fd);
		return true;
	}
	b->conns[b->nconns++] = c;
	b->news = true;
	return true;
}

/* As many as are waiting, so that nobody waits behind others for a turn of the loop each. */
void conns_accept(struct broker *b)
{
	int n;

	for (n = 0; n < BACKLOG && accept_one(b); n++)
		;
}

/* A guardian in the making still has copies: epoll(7) would go on reporting what is only closed here. */
static void close_watched(struct broker *b, int fd)
{
	if (fd < 0)
		return;
	if (b->epoll >= 0)
		epoll_ctl(b->epoll, EPOLL_CTL_DEL, fd, NULL);
	close(fd);
}

void conns_close(struct broker *b, struct conn *c)
{
	close_watched(b, c->fd);
	close_watched(b, c->pidfd);
	base_free(c->pubs);
	base_free(c->installs);
	base_free(c->has);
	base_free(c->exe);
	base_free(c);
}

/* The number alone may be another process's by now. */
int conns_pidfd(const struct conn *c)
{
	int fd;
	socklen_t len = sizeof(fd);

	if (!getsockopt(c->fd, SOL_SOCKET, SO_PEERPIDFD, &fd, &len))
		return fd;
	return errno == ENOPROTOOPT ? (int)syscall(SYS_pidfd_open, c->pid, 0) : -1;
}
