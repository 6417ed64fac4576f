/* SPDX-License-Identifier: MIT */
/* An open-addressing hash from 64-bit keys to pointers, and a byte hash. */
#include <errno.h>
#include <string.h>

#include "base/base.h"

struct hash_slot {
	u64 key;
	void *value; /* NULL: never used; &gone: deleted */
};

static char gone;

static u64 mix(u64 x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	return x ^ (x >> 32);
}

/* The slot that holds `key`, else the one where it would go; NULL only for an empty table. */
static struct hash_slot *find(const struct hash *h, u64 key)
{
	struct hash_slot *room = NULL;
	size_t i;

	if (!h->cap)
		return NULL;
	for (i = mix(key) & (h->cap - 1);; i = (i + 1) & (h->cap - 1)) {
		struct hash_slot *s = &h->slots[i];

		if (!s->value)
			return room ? room : s;
		if (s->value == &gone)
			room = room ? room : s;
		else if (s->key == key)
			return s;
	}
}

static int resize(struct hash *h)
{
	struct hash old = *h;
	size_t i;

	h->cap = 16;
	while (h->cap < old.live * 4)
		h->cap *= 2;
	h->slots = base_array(h->cap, sizeof(*h->slots));
	if (!h->slots) {
		*h = old;
		return -ENOMEM;
	}
	h->used = h->live;
	for (i = 0; i < old.cap; i++)
		if (old.slots[i].value && old.slots[i].value != &gone)
			*find(h, old.slots[i].key) = old.slots[i];
	base_free(old.slots);
	return 0;
}

int hash_put(struct hash *h, u64 key, void *value)
{
	struct hash_slot *s;

	if ((h->used + 1) * 2 > h->cap && resize(h) < 0)
		return -ENOMEM;
	s = find(h, key);
	if (!s->value)
		h->used++;
	if (!s->value || s->value == &gone)
		h->live++;
	s->key = key;
	s->value = value;
	return 0;
}

void *hash_get(const struct hash *h, u64 key)
{
	struct hash_slot *s = find(h, key);

	return s && s->value && s->value != &gone ? s->value : NULL;
}

void *hash_del(struct hash *h, u64 key)
{
	struct hash_slot *s = find(h, key);
	void *value;

	if (!s || !s->value || s->value == &gone)
		return NULL;
	value = s->value;
	s->value = &gone;
	h->live--;
	return value;
}

bool hash_next(const struct hash *h, size_t *pos, u64 *key, void **value)
{
	for (; *pos < h->cap; (*pos)++) {
		struct hash_slot *s = &h->slots[*pos];

		if (!s->value || s->value == &gone)
			continue;
		if (key)
			*key = s->key;
		if (value)
			*value = s->value;
		(*pos)++;
		return true;
	}
	return false;
}

void hash_free(struct hash *h)
{
	base_free(h->slots);
	memset(h, 0, sizeof(*h));
}

u64 hash_bytes(const void *data, size_t size, u64 seed)
{
	const u8 *p = data;
	u64 h = mix(seed ^ size), w;

	for (; size >= 8; p += 8, size -= 8) {
		memcpy(&w, p, 8);
		h = (h ^ mix(w)) * 0x9e3779b97f4a7c15ull;
	}
	w = 0;
	memcpy(&w, p, size);
	return mix(h ^ w);
}

u32 hash_gnu(const char *name)
{
	u32 h = 5381;

	while (*name)
		h = h * 33 + (u8)*name++;
	return h;
}
