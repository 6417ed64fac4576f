/* SPDX-License-Identifier: MIT */
/* Commands on many elements of a map at once, built on the commands for one. */
#include <errno.h>
#include <string.h>

#include "bpf/sys_int.h"

/*
 * Where a look-up of a hash goes on is a number of four bytes to the client, as the kernel's
 * bucket, while we go on behind a key: the last keys given out are kept here, newest wins.
 */
#define CURSORS 16
struct sys_cursor {
	u32 next; /* how many were given out */
	u32 number[CURSORS];
	u8 keys[];
};

void sys_cursor_free(struct sys_map *sm)
{
	base_free(sm->cursor);
}

static int cursor_save(struct sys_map *sm, const void *key, u32 *number)
{
	u32 key_size = sm->map->attr.key_size, slot;
	struct sys_cursor *c;
	int err = -ENOMEM;

	sys_slow_lock();
	if (!sm->cursor)
		sm->cursor = base_alloc(sizeof(*c) + (size_t)CURSORS * key_size);
	c = sm->cursor;
	if (c) {
		slot = c->next % CURSORS;
		*number = c->number[slot] = ++c->next;
		memcpy(c->keys + (size_t)slot * key_size, key, key_size);
		err = 0;
	}
	sys_slow_unlock();
	return err;
}

static int cursor_load(struct sys_map *sm, u32 number, void *key)
{
	u32 key_size = sm->map->attr.key_size, slot = (number - 1) % CURSORS;
	struct sys_cursor *c;
	int err = -ENOENT;

	sys_slow_lock();
	c = sm->cursor;
	if (c && c->number[slot] == number) {
		memcpy(key, c->keys + (size_t)slot * key_size, key_size);
		err = 0;
	}
	sys_slow_unlock();
	return err;
}

struct batch {
	struct sys_call *c;
	struct sys_map *sm;
	struct map *m;
	u32 key_size, value_size, max, done;
	u8 *key, *prev, *value;
	bool token; /* positions are numbers, not keys */
	u64 flags; /* of each element: BPF_F_LOCK or 0 */
};

static bool is_hash(u32 type)
{
	return type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

/* The types whose operations the kernel gives batch forms. */
static bool has_batch(u32 type, int cmd)
{
	if (type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY)
		return cmd == BPF_MAP_LOOKUP_BATCH || cmd == BPF_MAP_UPDATE_BATCH;
	return is_hash(type);
}

static void batch_end(struct batch *b)
{
	base_free(b->key);
	if (b->sm)
		sys_put(&b->sm->o);
}

/* 0: go on; 1: nothing to do; -errno. */
static int batch_begin(struct batch *b, struct sys_call *c, bool read, bool write)
{
	int fd = c->attr.batch.map_fd, err = 0;
	size_t stride;

	memset(b, 0, sizeof(*b));
	b->c = c;
	b->sm = sys_map_of(fd, &err);
	if (!b->sm)
		return err;
	b->m = b->sm->map;
	if ((read && sys_fd_mode(b->sm, fd, false)) ||
	    (write && (b->m->frozen || sys_fd_mode(b->sm, fd, true))))
		return -EPERM;
	if (!has_batch(b->m->attr.type, c->cmd))
		return -SYS_ENOTSUPP;
	b->flags = c->attr.batch.elem_flags;
	if (b->flags & ~(u64)BPF_F_LOCK || (b->flags && !(b->m->fields && b->m->fields->lock)) ||
	    (is_hash(b->m->attr.type) && read && c->attr.batch.flags))
		return -EINVAL;
	b->key_size = b->m->attr.key_size;
	b->value_size = map_user_value_size(b->m);
	b->max = c->attr.batch.count;
	b->token = is_hash(b->m->attr.type);
	if (!b->max)
		return 1;
	stride = ALIGN_UP((size_t)b->key_size, 8);
	b->key = base_alloc(2 * stride + b->value_size);
	if (!b->key)
		return -ENOMEM;
	b->prev = b->key + stride;
	b->value = b->prev + stride;
	return 0;
}

/* Where to start: *from is b->prev or NULL for the beginning. */
static int batch_start(struct batch *b, u8 **from)
{
	u64 in = b->c->attr.batch.in_batch;
	u32 number;
	int err;

	*from = NULL;
	if (!in)
		return 0;
	if (b->token) {
		err = sys_in(&number, in, sizeof(number));
		if (err || !number) /* bucket 0: the beginning */
			return err;
		err = cursor_load(b->sm, number, b->prev);
	} else {
		err = sys_in(b->prev, in, b->key_size);
	}
	if (!err)
		*from = b->prev;
	return err;
}

static int batch_store_position(struct batch *b, const u8 *from)
{
	u64 out = b->c->attr.batch.out_batch;
	u32 number = 0;
	int err;

	if (!b->token)
		return b->done ? sys_out(out, from, b->key_size) : 0;
	err = from ? cursor_save(b->sm, from, &number) : 0;
	return err ? err : sys_out(out, &number, sizeof(number));
}

static int batch_read_one(struct batch *b, bool take)
{
	int err = take ? map_take_user(b->m, b->key, b->value, b->flags)
		       : map_lookup_user(b->m, b->key, b->value, b->flags);

	if (!err)
		err = sys_out(b->c->attr.batch.keys + (u64)b->done * b->key_size, b->key,
			      b->key_size);
	if (!err)
		err = sys_out(b->c->attr.batch.values + (u64)b->done * b->value_size, b->value,
			      b->value_size);
	return err;
}

static int batch_read_all(struct batch *b, bool take)
{
	int err, retries = 0;
	u8 *from, *swap;

	if (SYS_PUT(b->c, batch.count, 0))
		return -EFAULT;
	err = batch_start(b, &from);
	while (!err && b->done < b->max) {
		err = map_next_key_user(b->m, from, b->key);
		if (err)
			break;
		err = batch_read_one(b, take);
		if (err == -ENOENT) { /* deleted between the two steps */
			err = ++retries > 64 ? -EINTR : 0;
			continue;
		}
		if (err)
			return err;
		b->done++;
		swap = b->prev;
		b->prev = b->key;
		b->key = swap;
		from = b->prev;
	}
	if (err == -EFAULT || err == -ENOMEM)
		return err;
	if (SYS_PUT(b->c, batch.count, b->done) || batch_store_position(b, from))
		return -EFAULT;
	return err;
}

static long batch_read(struct sys_call *c, bool take)
{
	struct batch b;
	int err = batch_begin(&b, c, true, take);
	u8 *memory = b.key;

	if (!err)
		err = batch_read_all(&b, take);
	b.key = memory; /* the buffers have been swapped */
	batch_end(&b);
	return err > 0 ? 0 : err;
}

long sys_cmd_map_lookup_batch(struct sys_call *c)
{
	return batch_read(c, false);
}

long sys_cmd_map_take_batch(struct sys_call *c)
{
	return batch_read(c, true);
}

static long batch_write(struct sys_call *c, bool update)
{
	struct batch b;
	int err = batch_begin(&b, c, false, true);

	while (!err && b.done < b.max) {
		err = sys_in(b.key, c->attr.batch.keys + (u64)b.done * b.key_size, b.key_size);
		if (!err && update)
			err = sys_in(b.value, c->attr.batch.values + (u64)b.done * b.value_size,
				     b.value_size);
		if (!err)
			err = update ? sys_map_set(b.sm, b.key, b.value, b.flags)
				     : map_delete_user(b.m, b.key);
		if (!err)
			b.done++;
	}
	if (b.key && SYS_PUT(c, batch.count, b.done))
		err = -EFAULT;
	batch_end(&b);
	return err > 0 ? 0 : err;
}

long sys_cmd_map_update_batch(struct sys_call *c)
{
	return batch_write(c, true);
}

long sys_cmd_map_delete_batch(struct sys_call *c)
{
	return batch_write(c, false);
}
