/* SPDX-License-Identifier: MIT */
/*
 * The level of eventfds of ring and perf buffers: readable as long as there is something to read,
 * as poll(2) says.
 */
#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

#include "bpf/session/remote.h"
#include "bpf/sys_int.h"

/* Objects that somebody waits for; the lock is the slow one. */
static struct sys_obj **polled;
static size_t npolled, cap_polled;
static _Atomic u32 any_polled;

int sys_event_of(struct sys_obj *o)
{
	struct map *m;

	if (o->kind == SYS_PERF)
		return map_perf_eventfd(sys_perf_of(o));
	if (o->kind != SYS_MAP)
		return -1;
	m = container_of(o, struct sys_map, o)->map;
	if (m->attr.type == BPF_MAP_TYPE_USER_RINGBUF)
		return map_user_ringbuf_eventfd(m);
	return m->attr.type == BPF_MAP_TYPE_RINGBUF ? map_ringbuf_eventfd(m) : -1;
}

static bool holds_something(struct sys_obj *o)
{
	if (o->kind == SYS_PERF)
		return map_perf_pending(sys_perf_of(o));
	return map_ringbuf_query(container_of(o, struct sys_map, o)->map, BPF_RB_AVAIL_DATA);
}

#define INPUT  (POLLIN | POLLPRI | POLLRDNORM | POLLRDBAND)
#define OUTPUT (POLLOUT | POLLWRNORM | POLLWRBAND)

static bool is_for_output(const struct sys_obj *o)
{
	return o->kind == SYS_MAP &&
	       container_of(o, struct sys_map, o)->map->attr.type == BPF_MAP_TYPE_USER_RINGBUF;
}

/* Readable, if there is something and nobody was told. */
static void raise_level(struct sys_obj *o, int event)
{
	struct pollfd p = { event, POLLIN, 0 };
	u64 one = 1;
	ssize_t n;

	if (is_for_output(o) || !holds_something(o) || poll(&p, 1, 0))
		return;
	n = write(event, &one, sizeof(one));
	(void)n;
}

int sys_ringbuf_poll(int fd, u32 *never, bool level)
{
	struct sys_obj *o = sys_fd_get(fd, 0);
	int event = -1;
	void *grown;
	size_t i;

	if (!o)
		return -1;
	event = sys_event_of(o);
	if (event >= 0) {
		*never = is_for_output(o) ? INPUT : OUTPUT;
		if (level)
			raise_level(o, event);
		sys_fd_own(event, true);
		sys_slow_lock();
		for (i = 0; i < npolled && polled[i] != o; i++)
			;
		grown = base_grow(polled, &cap_polled, npolled + 1, sizeof(struct sys_obj *));
		if (grown) {
			polled = grown;
			if (i == npolled)
				polled[npolled++] = o;
			any_polled = npolled;
		}
		sys_slow_unlock();
	}
	sys_put(o);
	return event < 0 ? -1 : event;
}

void sys_poll_gone(struct sys_obj *o)
{
	size_t i;
	int event = o->kind == SYS_MAP ? map_event_fd(container_of(o, struct sys_map, o)->map) : -1;

	if (event >= 0)
		sys_fd_own(event, false);
	if (!any_polled)
		return;
	sys_slow_lock();
	for (i = 0; i < npolled; i++) {
		if (polled[i] != o)
			continue;
		sys_fd_own(sys_event_of(o), false);
		polled[i] = polled[--npolled];
	}
	any_polled = npolled;
	sys_slow_unlock();
}

static void settle(struct sys_obj *o)
{
	int event = sys_event_of(o);
	u64 count;
	ssize_t n;
	struct map *m;

	if (o->kind == SYS_MAP) {
		m = container_of(o, struct sys_map, o)->map;
		if (m->attr.type == BPF_MAP_TYPE_USER_RINGBUF) {
			map_user_ringbuf_settle(m);
			return;
		}
		map_ringbuf_mend(m);
	} else {
		map_perf_mend(sys_perf_of(o));
	}
	if (holds_something(o))
		return;
	n = read(event, &count, sizeof(count));
	/* A record that came in between has had its wakeup eaten: it is given back. */
	atomic_thread_fence(memory_order_seq_cst);
	if (n > 0 && holds_something(o)) {
		count = 1;
		n = write(event, &count, sizeof(count));
	}
	(void)n;
}

void sys_ringbuf_settle(void)
{
	size_t i;

	if (!any_polled || (sys_inside && !sys_remote))
		return;
	sys_inside++;
	sys_slow_lock();
	for (i = 0; i < npolled; i++)
		settle(polled[i]);
	sys_slow_unlock();
	sys_inside--;
}
