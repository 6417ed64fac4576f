/* SPDX-License-Identifier: MIT */
/*
 * The user ring buffer of bpf(2): consumer page, which users only read, producer page, data. Users
 * write records, bpf_user_ringbuf_drain() reads them. All of producer page and data may say
 * anything at any time: a position is used masked, a length once, and only when it fits.
 */
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "map/map_int.h"

#define HDR         8u
#define MAX_SAMPLES (128u * 1024) /* of one drain: BPF_MAX_USER_RINGBUF_SAMPLES */
#define MAX_SIZE    0xffffffu     /* of a record: what a dynptr holds */

struct consumer_page {
	_Atomic u64 pos;
	u64 apart[7];
	map_lock_word busy; /* one drains at a time */
	_Atomic u32 linear; /* records that pass the end go on in the file */
};

struct user_ring {
	struct consumer_page *cons;
	_Atomic u64 *prod;
	u8 *data; /* twice in a row */
	u8 *file; /* as it lies in the file: once, and as much behind it */
	u64 mask;
	_Atomic int event; /* writable while there is room; -1 without */
};

#define EVENT_FULL (~0ull - 1) /* an eventfd that holds so much is not writable */

static int user_ring_init(struct map *m)
{
	struct user_ring *r = base_alloc(sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->data = map_ring_data(m);
	if (!r->data) {
		base_free(r);
		return -ENOMEM;
	}
	r->cons = (struct consumer_page *)m->mem;
	r->prod = (_Atomic u64 *)(m->mem + MAP_PAGE);
	r->file = m->mem + 2 * MAP_PAGE;
	r->mask = m->attr.max_entries - 1;
	atomic_init(&r->event, -1);
	m->priv = r;
	m->user_size = 2 * MAP_PAGE + (size_t)m->attr.max_entries;
	return 0;
}

static void user_ring_fini(struct map *m)
{
	struct user_ring *r = m->priv;

	munmap(r->data, 2 * (r->mask + 1));
	if (r->event >= 0)
		close(r->event);
	base_free(r);
}

void map_user_ringbuf_make_linear(struct map *m)
{
	struct user_ring *r = m->priv;

	if (m->ops == &map_user_ringbuf_ops)
		atomic_store(&r->cons->linear, 1);
}

bool map_user_ringbuf_is_linear(const struct map *m)
{
	const struct user_ring *r = m->priv;

	return m->ops == &map_user_ringbuf_ops && atomic_load_explicit(&r->cons->linear, memory_order_relaxed);
}

static bool is_full(struct user_ring *r)
{
	u64 prod = atomic_load_explicit(r->prod, memory_order_acquire);

	return prod - atomic_load_explicit(&r->cons->pos, memory_order_acquire) > r->mask;
}

/* Whoever waits for room may go on. */
static void wake(struct user_ring *r)
{
	int fd = atomic_load_explicit(&r->event, memory_order_acquire), saved = errno;
	u64 count;

	if (fd >= 0 && read(fd, &count, sizeof(count)) < 0)
		errno = saved; /* it was writable */
}

int map_user_ringbuf_eventfd(struct map *m)
{
	struct user_ring *r = m->priv;
	bool made;

	return m->ops == &map_user_ringbuf_ops ? map_event_once(&r->event, &made) : -EINVAL;
}

int map_user_event_fd(struct map *m)
{
	struct user_ring *r = m->priv;

	return atomic_load(&r->event);
}

bool map_user_event_give(struct map *m, int fd)
{
	struct user_ring *r = m->priv;
	int none = -1;

	return atomic_compare_exchange_strong(&r->event, &none, fd);
}

void map_user_ringbuf_settle(struct map *m)
{
	struct user_ring *r = m->priv;
	int fd = atomic_load_explicit(&r->event, memory_order_acquire), saved = errno;
	u64 count = EVENT_FULL;

	if (fd < 0 || !is_full(r))
		return;
	wake(r); /* what was written before would make this write fail */
	if (write(fd, &count, sizeof(count)) < 0)
		errno = saved;
	if (!is_full(r)) /* room was made meanwhile, and nobody told */
		wake(r);
}

/*
 * The next record, in the order of the kernel's checks. -EAGAIN: a discarded one was stepped over,
 * -ENODATA: none is ready.
 */
static int peek(struct user_ring *r, u8 **sample, u32 *size)
{
	u64 prod = atomic_load_explicit(r->prod, memory_order_acquire);
	u64 cons = atomic_load_explicit(&r->cons->pos, memory_order_relaxed), total;
	u32 head, len;

	if (prod % 8)
		return -EINVAL;
	if (cons >= prod)
		return -ENODATA;
	head = __atomic_load_n((u32 *)(r->data + (cons & r->mask & ~7ull)), __ATOMIC_ACQUIRE);
	len = head & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
	total = ALIGN_UP((u64)len + HDR, 8);
	if (total > prod - cons)
		return -EINVAL;
	if (total > r->mask + 1 || len > MAX_SIZE)
		return -E2BIG;
	if (head & BPF_RINGBUF_DISCARD_BIT) {
		atomic_store_explicit(&r->cons->pos, cons + total, memory_order_release);
		return -EAGAIN;
	}
	if (head & BPF_RINGBUF_BUSY_BIT)
		return -ENODATA;
	*sample = (atomic_load_explicit(&r->cons->linear, memory_order_relaxed) ? r->file : r->data) +
		  (cons & r->mask & ~7ull) + HDR;
	*size = len;
	return 0;
}

s64 map_user_ringbuf_drain(struct map *m, map_sample_fn fn, void *arg, u64 flags)
{
	struct user_ring *r = m->priv;
	u64 stop = 0;
	s64 samples = 0;
	u32 i, size;
	u8 *sample;
	int err;

	if (m->ops != &map_user_ringbuf_ops ||
	    flags & ~(u64)(BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP))
		return -EINVAL;
	if (map_trylock(&r->cons->busy) < 0)
		return -EBUSY;
	for (i = 0; i < MAX_SAMPLES && !stop; i++) {
		err = peek(r, &sample, &size);
		if (err == -ENODATA)
			break;
		if (err == -EAGAIN)
			continue;
		if (err) {
			samples = err;
			break;
		}
		stop = fn(arg, sample, size);
		samples++;
		atomic_fetch_add_explicit(&r->cons->pos, ALIGN_UP((u64)size + HDR, 8),
					  memory_order_release);
	}
	map_unlock(&r->cons->busy);
	if (flags & BPF_RB_FORCE_WAKEUP || (samples > 0 && !(flags & BPF_RB_NO_WAKEUP)))
		wake(r);
	return samples;
}

const struct map_ops map_user_ringbuf_ops = {
	.name = "user_ringbuf",
	.check = map_ring_check,
	.init = user_ring_init,
	.fini = user_ring_fini,
	.lookup = map_no_lookup,
	.update = map_no_update,
	.remove = map_ring_remove,
	.next_key = map_ring_next_key,
	.read = map_no_read,
	.write = map_no_write,
};
