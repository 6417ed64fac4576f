/* SPDX-License-Identifier: MIT */
/* Helpers on maps and ring buffers. */
#include <errno.h>
#include <string.h>

#include "helper/helper_int.h"

u64 map_lookup(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct map *m = ptr(a1);

	return (u64)(uintptr_t)m->ops->lookup(m, ptr(a2));
}

u64 map_update(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct map *m = ptr(a1);

	return (u64)(s64)m->ops->update(m, ptr(a2), ptr(a3), a4);
}

u64 map_delete(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct map *m = ptr(a1);

	return (u64)(s64)m->ops->remove(m, ptr(a2));
}

u64 map_lookup_percpu(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct map *m = ptr(a1);

	if ((u32)a3 >= map_cpus() || !m->ops->lookup_cpu)
		return 0;
	return (u64)(uintptr_t)m->ops->lookup_cpu(m, ptr(a2), (u32)a3);
}

u64 map_push(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct map *m = ptr(a1);

	return (u64)(s64)m->ops->write(m, NULL, ptr(a2), a3);
}

u64 map_pop(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct map *m = ptr(a1);

	return (u64)(s64)m->ops->take(m, NULL, ptr(a2), 0);
}

u64 map_peek(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct map *m = ptr(a1);

	return (u64)(s64)m->ops->read(m, NULL, ptr(a2), 0);
}

u64 ringbuf_output(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return (u64)(s64)map_ringbuf_output(ptr(a1), ptr(a2), a3, a4);
}

u64 ringbuf_reserve(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return (u64)(uintptr_t)map_ringbuf_reserve(ptr(a1), a2, a3);
}

u64 ringbuf_submit(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	map_ringbuf_commit(ptr(a1), a2, false);
	return 0;
}

u64 ringbuf_discard(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	map_ringbuf_commit(ptr(a1), a2, true);
	return 0;
}

u64 ringbuf_query(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return map_ringbuf_query(ptr(a1), a2);
}
