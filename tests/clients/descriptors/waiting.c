/* SPDX-License-Identifier: MIT */
/* poll(2), select(2), epoll(7) in its ways, on ring buffers. */
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>

#include "descriptors.h"

static int ring, send, send_quiet, send_loud;
static uint64_t *cons, *prod;

static void consume(void)
{
	__atomic_store_n(cons, __atomic_load_n(prod, __ATOMIC_ACQUIRE), __ATOMIC_SEQ_CST);
}

static long polled(void)
{
	struct pollfd p = { ring, POLLIN | POLLOUT, 0 };
	int n = poll(&p, 1, 0);

	return n < 0 ? -errno : n * 100 + p.revents;
}

static long ppolled(void)
{
	struct pollfd p[2] = { { ring, POLLIN, 0 }, { -1, POLLIN, 7 } };
	struct timespec t = { 0, 1000000 };
	int n = ppoll(p, 2, &t, NULL);

	return n < 0 ? -errno : n * 100 + p[0].revents * 10 + p[1].revents;
}

static long selected(bool pselect_)
{
	struct timeval tv = { 0, 0 };
	struct timespec ts = { 0, 0 };
	fd_set set;
	int n;

	FD_ZERO(&set);
	FD_SET(ring, &set);
	n = pselect_ ? pselect(ring + 1, &set, NULL, NULL, &ts, NULL) : select(ring + 1, &set, NULL, NULL, &tv);
	return n < 0 ? -errno : n * 100 + !!FD_ISSET(ring, &set);
}

static void simple(void)
{
	say("poll, empty", polled());
	say("ppoll, empty", ppolled());
	say("select, empty", selected(false));
	run(send);
	say("poll, a record", polled());
	say("poll again", polled());
	say("ppoll", ppolled());
	say("select", selected(false));
	say("pselect", selected(true));
	consume();
	say("poll, consumed", polled());
	say("select, consumed", selected(false));
	run(send_quiet);
	say("poll, a record without wake-up", polled());
	consume();
}

static long waited(int set)
{
	struct epoll_event e[4];
	int n = epoll_wait(set, e, 4, 20);

	return n < 0 ? -errno : n ? n * 100 + (long)e[0].events % 64 + (e[0].data.u64 == 4711 ? 0 : 1000) : 0;
}

static long control(int set, int op, uint32_t events)
{
	struct epoll_event e = { events, { .u64 = 4711 } };

	return epoll_ctl(set, op, ring, &e) ? -errno : 0;
}

static void level(void)
{
	int set = epoll_create1(EPOLL_CLOEXEC);

	say("DEL of what is not in", control(set, EPOLL_CTL_DEL, 0));
	say("MOD of what is not in", control(set, EPOLL_CTL_MOD, EPOLLIN));
	say("ADD", control(set, EPOLL_CTL_ADD, EPOLLIN));
	say("ADD again", control(set, EPOLL_CTL_ADD, EPOLLIN));
	say("level: empty", waited(set));
	run(send);
	say("level: a record", waited(set));
	say("level: not consumed", waited(set));
	consume();
	say("level: consumed", waited(set));
	run(send_quiet);
	say("level: without wake-up", waited(set));
	run(send_loud);
	say("level: forced", waited(set));
	consume();
	say("level: consumed", waited(set));
	say("MOD to nothing", control(set, EPOLL_CTL_MOD, 0));
	run(send);
	say("level: nothing asked", waited(set));
	say("MOD to input", control(set, EPOLL_CTL_MOD, EPOLLIN));
	say("level: it was there", waited(set));
	say("DEL", control(set, EPOLL_CTL_DEL, 0));
	say("level: out of the set", waited(set));
	consume();
	close(set);
}

static void edge(void)
{
	int set = epoll_create1(EPOLL_CLOEXEC);

	run(send);
	say("ADD with a record there", control(set, EPOLL_CTL_ADD, EPOLLIN | EPOLLET));
	say("edge: at once", waited(set));
	say("edge: no more", waited(set));
	consume();
	run(send);
	say("edge: the next", waited(set));
	run(send);
	say("edge: not caught up, no wake-up", waited(set));
	consume();
	say("edge: consumed", waited(set));
	say("MOD to once", control(set, EPOLL_CTL_MOD, EPOLLIN | EPOLLONESHOT));
	run(send);
	say("once: a record", waited(set));
	consume();
	run(send);
	say("once: no second", waited(set));
	say("MOD again", control(set, EPOLL_CTL_MOD, EPOLLIN | EPOLLONESHOT));
	say("once: the second", waited(set));
	consume();
	close(set);
}

/* A set holds what it was given, by a duplicate too, until the last descriptor is closed. */
static void sets(void)
{
	int set = epoll_create1(EPOLL_CLOEXEC), other = dup(ring);
	struct epoll_event e = { EPOLLIN, { .u64 = 4711 } };

	say("ADD a duplicate", epoll_ctl(set, EPOLL_CTL_ADD, other, &e) ? -errno : 0);
	run(send);
	say("by a duplicate", waited(set));
	consume();
	say("DEL a duplicate", epoll_ctl(set, EPOLL_CTL_DEL, other, NULL) ? -errno : 0);
	close(other);
	close(set);
}

void waiting(void)
{
	ring = make_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
	send = make_sender(ring, 0);
	send_quiet = make_sender(ring, BPF_RB_NO_WAKEUP);
	send_loud = make_sender(ring, BPF_RB_FORCE_WAKEUP);
	cons = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring, 0);
	prod = mmap(NULL, 4096, PROT_READ, MAP_SHARED, ring, 4096);
	simple();
	level();
	edge();
	sets();
	munmap(cons, 4096);
	munmap(prod, 4096);
	close(send);
	close(send_quiet);
	close(send_loud);
	close(ring);
}
