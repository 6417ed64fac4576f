/* SPDX-License-Identifier: MIT */
/*
 * Queues and stacks: a ring of values under one lock. A value is written before the position that
 * shows it, so that a death in between leaves the map as it was. No keys: bpf(2)'s update, lookup
 * and lookup-and-delete push, peek and pop, and so do the helpers, through write, read and take.
 */
#include "map/map_int.h"

struct queue {
	map_lock_word lock;
	_Atomic u32 head; /* where the next value goes */
	_Atomic u32 tail; /* the oldest value; equal to head: empty */
	u8 values[] __attribute__((aligned(64)));
};

static int queue_check(const struct map_attr *a, size_t *bytes)
{
	if (!a->max_entries || a->key_size || !a->value_size)
		return map_refuse(-EINVAL,
				  "key_size must be 0, value_size and max_entries above 0");
	if (map_check_access_flags(a, BPF_F_NUMA_NODE) < 0)
		return -EINVAL;
	if (a->value_size > MAP_MAX_VALUE)
		return map_refuse(-E2BIG, "value_size must be at most 4 MiB");
	*bytes = sizeof(struct queue) +
		 ((size_t)a->max_entries + 1) * ALIGN_UP((size_t)a->value_size, 8);
	return 0;
}

static int queue_init(struct map *m)
{
	m->stride = ALIGN_UP(m->attr.value_size, 8u);
	return 0;
}

/* Positions as this operation sees them: read once, and in range. */
struct view {
	u32 head, tail, size;
};

static struct view look(struct map *m)
{
	struct queue *q = (struct queue *)m->mem;
	struct view v = { .size = m->attr.max_entries + 1 };

	v.head = atomic_load_explicit(&q->head, memory_order_relaxed);
	v.tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
	if (v.size) { /* 2^32 positions: all are in range */
		v.head = v.head < v.size ? v.head : 0;
		v.tail = v.tail < v.size ? v.tail : 0;
	}
	return v;
}

static u32 after(const struct view *v, u32 i)
{
	return i + 1 == v->size ? 0 : i + 1;
}

static u32 before(const struct view *v, u32 i)
{
	return (i ? i : v->size) - 1;
}

static u8 *slot(struct map *m, u32 i)
{
	return ((struct queue *)m->mem)->values + (size_t)i * m->stride;
}

static int push(struct map *m, const void *key, const void *value, u64 flags)
{
	struct queue *q = (struct queue *)m->mem;
	struct view v;
	int err;

	(void)key;
	if ((flags & BPF_NOEXIST) || flags > BPF_EXIST)
		return -EINVAL;
	err = map_lock(&q->lock);
	if (err < 0)
		return err;
	v = look(m);
	err = 0;
	if (after(&v, v.head) == v.tail) {
		if (flags != BPF_EXIST) {
			err = -E2BIG;
			goto out;
		}
		/* The oldest goes. */
		atomic_store_explicit(&q->tail, after(&v, v.tail), memory_order_release);
	}
	map_store(slot(m, v.head), value, m->attr.value_size);
	atomic_store_explicit(&q->head, after(&v, v.head), memory_order_release);
out:
	map_unlock(&q->lock);
	return err;
}

/* The oldest of a queue, the newest of a stack. */
static int get(struct map *m, void *value, bool remove)
{
	struct queue *q = (struct queue *)m->mem;
	bool stack = m->attr.type == BPF_MAP_TYPE_STACK;
	struct view v;
	int err = map_lock(&q->lock);

	if (err < 0)
		return err;
	v = look(m);
	err = 0;
	if (v.head == v.tail) {
		memset(value, 0, m->attr.value_size);
		err = -ENOENT;
	} else {
		map_load(value, slot(m, stack ? before(&v, v.head) : v.tail), m->attr.value_size);
		if (remove && stack)
			atomic_store_explicit(&q->head, before(&v, v.head), memory_order_release);
		else if (remove)
			atomic_store_explicit(&q->tail, after(&v, v.tail), memory_order_release);
	}
	map_unlock(&q->lock);
	return err;
}

static int peek(struct map *m, const void *key, void *value, u64 flags)
{
	(void)key, (void)flags;
	return get(m, value, false);
}

static int pop(struct map *m, const void *key, void *value, u64 flags)
{
	(void)key, (void)flags;
	return get(m, value, true);
}

#define OPS(type)                                                                                  \
	{                                                                                          \
		.name = type, .check = queue_check, .init = queue_init, .lookup = map_no_lookup,   \
		.update = map_no_update, .remove = map_no_remove, .next_key = map_no_next_key,     \
		.read = peek, .write = push, .take = pop,                                          \
	}

const struct map_ops map_queue_ops = OPS("queue");
const struct map_ops map_stack_ops = OPS("stack");
