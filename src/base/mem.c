/* SPDX-License-Identifier: MIT */
/* Memory: the allocator hook, growable arrays, arenas, checked sizes. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static void *system_allocator(void *old, size_t size)
{
	if (!size) {
		free(old);
		return NULL;
	}
	return realloc(old, size);
}

void *(*base_allocator)(void *old, size_t size) = system_allocator;
_Thread_local u32 base_forking;
_Thread_local bool base_ending;
void (*base_forked)(void);

void base_fork_over(void)
{
	if (!--base_forking && base_forked)
		base_forked();
}

_Thread_local int base_in_signal __attribute__((tls_model("initial-exec")));

/* What was freed in handlers of signals: each begins with the address of the next. */
static void *_Atomic kept;

static void keep(void *p)
{
	void *next = kept;

	do
		memcpy(p, &next, sizeof(next));
	while (!atomic_compare_exchange_weak(&kept, &next, p));
}

static void free_kept(void)
{
	void *p = atomic_exchange(&kept, NULL), *next;

	for (; p; p = next) {
		memcpy(&next, p, sizeof(next));
		base_allocator(p, 0);
	}
}

bool base_add(size_t a, size_t b, size_t *out)
{
	size_t r;

	if (__builtin_add_overflow(a, b, &r))
		return false;
	*out = r;
	return true;
}

bool base_mul(size_t a, size_t b, size_t *out)
{
	size_t r;

	if (__builtin_mul_overflow(a, b, &r))
		return false;
	*out = r;
	return true;
}

void *base_alloc(size_t size)
{
	void *p;

	if (base_in_signal)
		return NULL;
	if (kept)
		free_kept();
	p = base_allocator(NULL, size < sizeof(p) ? sizeof(p) : size); /* room for keep() */
	if (p)
		memset(p, 0, size);
	return p;
}

void *base_array(size_t n, size_t item_size)
{
	size_t size;

	return base_mul(n, item_size, &size) ? base_alloc(size) : NULL;
}

void base_free(void *p)
{
	if (p && base_in_signal)
		keep(p);
	else if (p)
		base_allocator(p, 0);
}

void *base_memdup(const void *p, size_t size)
{
	void *copy = base_alloc(size);

	if (copy && size)
		memcpy(copy, p, size);
	return copy;
}

char *base_strdup(const char *s)
{
	return base_memdup(s, strlen(s) + 1);
}

void *base_grow(void *items, size_t *cap, size_t need, size_t item_size)
{
	size_t want = *cap ? *cap : 8, size;
	char *p;

	if (items && need <= *cap)
		return items;
	if (base_in_signal)
		return NULL;
	while (want < need)
		if (!base_mul(want, 2, &want))
			return NULL;
	if (!base_mul(want, item_size, &size))
		return NULL;
	p = base_allocator(items, size);
	if (!p)
		return NULL;
	size_t old = items ? *cap : 0;

	memset(p + old * item_size, 0, (want - old) * item_size);
	*cap = want;
	return p;
}

struct arena_block {
	struct arena_block *prev;
	size_t size, used;
	_Alignas(16) char data[];
};

void *arena_alloc(struct arena *a, size_t size)
{
	struct arena_block *b = a->last;
	size_t want, total;
	void *p;

	if (!base_add(size, 15, &want))
		return NULL;
	want &= ~(size_t)15;
	if (!b || b->size - b->used < want) {
		size_t room = want > 8192 ? want : 16384 - sizeof(*b);

		if (!base_add(room, sizeof(*b), &total) || !base_add(total, a->total, &total))
			return NULL;
		if (a->limit && total > a->limit)
			return NULL;
		/* Zeroed here, once: pieces are never reused. */
		b = base_alloc(sizeof(*b) + room);
		if (!b)
			return NULL;
		b->size = room;
		/* A large piece goes behind the current block, whose room is still good. */
		if (want > 8192 && a->last) {
			b->prev = a->last->prev;
			a->last->prev = b;
		} else {
			b->prev = a->last;
			a->last = b;
		}
		a->total = total;
	}
	p = b->data + b->used;
	b->used += want;
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = arena_alloc(a, n);

	if (p)
		memcpy(p, s, n);
	return p;
}

void arena_free(struct arena *a)
{
	struct arena_block *b = a->last, *prev;

	for (; b; b = prev) {
		prev = b->prev;
		base_free(b);
	}
	a->last = NULL;
	a->total = 0;
}
