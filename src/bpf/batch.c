/* SPDX-License-Identifier: MIT */
/*
 * Commands on many elements of a map at once. They go through a buffer of some kilobytes, so that
 * the client's memory, which may be bad anywhere, is touched once for many elements.
 */
#include <errno.h>
#include <string.h>

#include "bpf/sys_int.h"

#define ROOM 8192 /* bytes of keys and values at a time, unless one element needs more */

struct batch {
	struct sys_call *c;
	struct sys_map *sm;
	struct map *m;
	u32 key_size, value_size;
	u32 max, done; /* elements: asked for, given */
	u32 room;      /* elements that fit the buffer */
	u8 *keys, *values, *more;
	u64 flags; /* of each element: BPF_F_LOCK or 0 */
	u64 buf[ROOM / 8];
};

static bool is_hash(u32 type)
{
	return type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_LRU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

static bool is_array(u32 type)
{
	return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

/* The types whose operations the kernel gives batch forms. */
static bool has_batch(u32 type, int cmd)
{
	if (is_array(type) || type == BPF_MAP_TYPE_ARRAY_OF_MAPS)
		return cmd == BPF_MAP_LOOKUP_BATCH || cmd == BPF_MAP_UPDATE_BATCH;
	if (type == BPF_MAP_TYPE_LPM_TRIE)
		return cmd != BPF_MAP_LOOKUP_AND_DELETE_BATCH;
	return is_hash(type);
}

static void batch_end(struct batch *b)
{
	base_free(b->more);
	if (b->sm)
		sys_put(&b->sm->o);
}

/* Room for keys, one more of them (the one before), and values. */
static int make_room(struct batch *b)
{
	size_t key = ALIGN_UP((size_t)b->key_size, 8), each = key + ALIGN_UP((size_t)b->value_size, 8);
	u8 *at = (u8 *)b->buf;

	b->room = (u32)((ROOM - (key < ROOM ? key : ROOM)) / each);
	if (b->room > b->max)
		b->room = b->max;
	if (!b->room) {
		b->room = 1;
		at = b->more = base_alloc(key + each);
		if (!at)
			return -ENOMEM;
	}
	b->keys = at + key;
	b->values = b->keys + b->room * key;
	return 0;
}

/* 0: go on; 1: nothing to do; -errno. In the order of the kernel's checks. */
static int batch_begin(struct batch *b, struct sys_call *c, bool read, bool write)
{
	int fd = c->attr.batch.map_fd, err = 0;

	b->more = NULL;
	b->done = 0;
	b->c = c;
	b->sm = sys_fast_map(fd);
	if (!b->sm)
		b->sm = sys_map_of(fd, &err);
	if (!b->sm)
		return err;
	b->m = b->sm->map;
	if ((read && sys_fd_mode(b->sm, fd, false)) ||
	    (write && (map_is_frozen(b->m) || sys_fd_mode(b->sm, fd, true))))
		return -EPERM;
	if (!has_batch(b->m->attr.type, c->cmd))
		return -SYS_ENOTSUPP;
	b->flags = c->attr.batch.elem_flags;
	if (b->flags & ~(u64)BPF_F_LOCK ||
	    (b->flags && !(b->m->fields && b->m->fields->lock)) ||
	    (is_hash(b->m->attr.type) && read && c->attr.batch.flags))
		return -EINVAL;
	b->key_size = b->m->attr.key_size;
	b->value_size = map_user_value_size(b->m);
	b->max = c->attr.batch.count;
	return b->max ? make_room(b) : 1;
}

/* `n` elements of the buffer go to the client. */
static int give(struct batch *b, const u8 *keys, u32 n)
{
	int err = sys_out(b->c->attr.batch.keys + (u64)b->done * b->key_size, keys,
			  (size_t)n * b->key_size);

	if (!err)
		err = sys_out(b->c->attr.batch.values + (u64)b->done * b->value_size, b->values,
			      (size_t)n * b->value_size);
	if (!err)
		b->done += n;
	return err;
}

/* ---- reading by position: hashes and arrays -------------------------------------------------- */

/*
 * A position is a number. Of a hash it is a slot's, and the client's cursor (the kernel's is a
 * bucket); an element keeps its slot. Of an array it is the index, and the cursor the last key.
 */
static int position_in(const struct batch *b, u64 *pos)
{
	u64 in = b->c->attr.batch.in_batch;
	u32 number = 0;
	int err = in ? sys_in(&number, in, sizeof(number)) : 0;

	*pos = number;
	if (in && is_array(b->m->attr.type))
		*pos = number < b->m->attr.max_entries ? (u64)number + 1 : 0;
	return err;
}

static int position_out(const struct batch *b, u64 pos)
{
	u32 number = (u32)pos;

	if (is_array(b->m->attr.type)) {
		if (!b->done)
			return 0;
		number--;
	}
	return sys_out(b->c->attr.batch.out_batch, &number, sizeof(number));
}

/* Elements whose keys are in the buffer, one by one: those that are gone meanwhile are left out. */
static int read_each(struct batch *b, u32 *n, bool take)
{
	u32 have = 0, i;
	int err;

	for (i = 0; i < *n; i++) {
		u8 *key = b->keys + (size_t)i * b->key_size;
		u8 *value = b->values + (size_t)have * b->value_size;

		if (take && b->m->ops->take) {
			err = map_take_user(b->m, key, value, b->flags);
		} else {
			err = map_lookup_user(b->m, key, value, b->flags);
			if (!err && take)
				err = map_delete_user(b->m, key);
		}
		if (err == -ENOENT)
			continue;
		if (err)
			return err;
		memmove(b->keys + (size_t)have * b->key_size, key, b->key_size);
		have++;
	}
	*n = have;
	return 0;
}

static int read_positions(struct batch *b, bool take)
{
	bool each = take || b->m->fields || b->m->ops->set_obj;
	u32 n, want;
	u64 pos;
	int err = position_in(b, &pos);

	while (!err && b->done < b->max) {
		want = b->max - b->done < b->room ? b->max - b->done : b->room;
		n = b->m->ops->next_batch(b->m, &pos, want, b->keys, each ? NULL : b->values);
		if (n < want)
			err = -ENOENT;
		if (each) {
			int bad = read_each(b, &n, take);

			err = bad ? bad : err;
		}
		if (err && err != -ENOENT)
			return err;
		if (give(b, b->keys, n))
			return -EFAULT;
	}
	if (err && err != -ENOENT)
		return err;
	if (SYS_PUT(b->c, batch.count, b->done) || position_out(b, pos))
		return -EFAULT;
	return err;
}

/* ---- reading by key: tries and arrays of maps ------------------------------------------------ */

static int read_keys(struct batch *b)
{
	u64 in = b->c->attr.batch.in_batch;
	u8 *key = b->keys, *prev = b->keys - ALIGN_UP((size_t)b->key_size, 8), *swap;
	bool first = !in;
	int err = in ? sys_in(prev, in, b->key_size) : 0;

	while (!err && b->done < b->max) {
		err = map_next_key_user(b->m, first ? NULL : prev, key);
		if (err)
			break;
		err = map_lookup_user(b->m, key, b->values, b->flags);
		if (!err)
			err = give(b, key, 1);
		if (err && err != -ENOENT)
			return err;
		err = 0; /* empty, or gone between the two steps: as if it had never been */
		swap = prev;
		prev = key;
		key = swap;
		first = false;
	}
	if (err == -EFAULT)
		return err;
	if (SYS_PUT(b->c, batch.count, b->done) ||
	    (b->done && sys_out(b->c->attr.batch.out_batch, prev, b->key_size)))
		return -EFAULT;
	return err;
}

static long batch_read(struct sys_call *c, bool take)
{
	struct batch b;
	int err = batch_begin(&b, c, true, take);

	if (!err && SYS_PUT(c, batch.count, 0))
		err = -EFAULT;
	if (!err)
		err = b.m->ops->next_batch ? read_positions(&b, take) : read_keys(&b);
	if (take && b.done)
		sys_elems_changed(b.sm, true);
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

/* ---- writing --------------------------------------------------------------------------------- */

/* The next elements come into the buffer: how many, or -EFAULT when not even one could. */
static s64 fetch(struct batch *b, bool values)
{
	u32 n = b->max - b->done < b->room ? b->max - b->done : b->room;
	u64 keys = b->c->attr.batch.keys + (u64)b->done * b->key_size;
	u64 from = b->c->attr.batch.values + (u64)b->done * b->value_size;

	for (;; n = 1) {
		if (!sys_in(b->keys, keys, (size_t)n * b->key_size) &&
		    (!values || !sys_in(b->values, from, (size_t)n * b->value_size)))
			return n;
		if (n == 1)
			return -EFAULT;
	}
}

static long batch_write(struct sys_call *c, bool update)
{
	struct batch b;
	int err = batch_begin(&b, c, false, true), busy = !err;
	s64 n = 0, i;

	while (!err && b.done < b.max) {
		n = fetch(&b, update);
		err = n < 0 ? (int)n : 0;
		for (i = 0; i < n && !err; i++) {
			u8 *key = b.keys + (size_t)i * b.key_size;

			err = update ? sys_map_set(b.sm, key, b.values + (size_t)i * b.value_size, b.flags)
				     : map_delete_user(b.m, key);
			b.done += !err;
		}
	}
	if (busy && SYS_PUT(c, batch.count, b.done))
		err = -EFAULT;
	if (busy && b.done)
		sys_elems_changed(b.sm, true);
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
