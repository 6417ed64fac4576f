/* SPDX-License-Identifier: MIT */
/* The level of ring buffers' eventfds: readable as long as there is something to read, as poll
 * says. */
#include <stdatomic.h>
#include <unistd.h>

#include "bpf/sys_int.h"

/* Ring buffers that somebody waits for; the lock is the slow one. */
static struct sys_map **polled;
static size_t npolled, cap_polled;
static _Atomic u32 any_polled;

int sys_ringbuf_poll(int fd)
{
	struct sys_obj *o;
	struct sys_map *sm;
	size_t i;
	int event = -1;

	o = sys_fd_get(fd, SYS_MAP);
	if (!o)
		return -1;
	sm = container_of(o, struct sys_map, o);
	if (sm->map->attr.type == BPF_MAP_TYPE_RINGBUF)
		event = map_ringbuf_eventfd(sm->map);
	if (event >= 0) {
		void *grown;

		sys_fd_own(event, true);
		sys_slow_lock();
		for (i = 0; i < npolled && polled[i] != sm; i++)
			;
		grown = base_grow(polled, &cap_polled, npolled + 1, sizeof(struct sys_map *));
		if (grown) {
			polled = grown;
			if (i == npolled)
				polled[npolled++] = sm;
			any_polled = npolled;
		}
		sys_slow_unlock();
	}
	sys_put(o);
	return event < 0 ? -1 : event;
}

void sys_ringbuf_gone(struct sys_map *sm)
{
	size_t i;

	if (sm->map->attr.type != BPF_MAP_TYPE_RINGBUF)
		return;
	sys_slow_lock();
	for (i = 0; i < npolled; i++) {
		if (polled[i] != sm)
			continue;
		sys_fd_own(map_ringbuf_eventfd(sm->map), false);
		polled[i] = polled[--npolled];
	}
	any_polled = npolled;
	sys_slow_unlock();
}

static void settle(struct map *m)
{
	int event = map_ringbuf_eventfd(m);
	u64 count;
	ssize_t n;

	if (map_ringbuf_query(m, BPF_RB_AVAIL_DATA))
		return;
	n = read(event, &count, sizeof(count));
	/* A record that came in between has had its wakeup eaten: it is given back. */
	atomic_thread_fence(memory_order_seq_cst);
	if (n > 0 && map_ringbuf_query(m, BPF_RB_AVAIL_DATA)) {
		count = 1;
		n = write(event, &count, sizeof(count));
	}
	(void)n;
}

void sys_ringbuf_settle(void)
{
	size_t i;

	if (!any_polled || sys_inside)
		return;
	sys_inside++;
	sys_slow_lock();
	for (i = 0; i < npolled; i++)
		settle(polled[i]->map);
	sys_slow_unlock();
	sys_inside--;
}
