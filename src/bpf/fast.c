/* SPDX-License-Identifier: MIT */
/*
 * The commands on one element, short: a client calls them millions of times. Descriptors of maps are
 * remembered by number, so that no system call is made; whatever is not plain goes the long way.
 *
 * A number is forgotten when a hook sees it closed or replaced, before and after. Who closes behind
 * libc's back (a bare system call instruction) and uses the number again is noticed late: every
 * thread looks the number up anew once in a while, and giving out a descriptor sets its number.
 * Until then a command on that number would reach the old map, where the kernel says EBADF or
 * EINVAL; a map is never reached under the number of another map of Ferry's.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "bpf/session/remote.h"
#include "bpf/run/run_int.h"
#include "bpf/sys_int.h"
#include "code/code.h"

#define NUMBERS 4096 /* descriptors above are looked up each time */
#define ANEW    1024 /* commands until the descriptor is looked at again */
#define SMALL   256  /* bytes of key and of value */

static struct sys_map *_Atomic by_fd[NUMBERS];
static _Atomic bool ready; /* a map was remembered, so the long way was gone and made copies */
static _Thread_local u32 left __attribute__((tls_model("initial-exec"))); /* of ANEW */
static _Atomic u32 changes; /* of descriptors: what was looked up before one may be old */

void sys_fast_forget(int fd)
{
	changes++;
	if (fd >= 0 && fd < NUMBERS && by_fd[fd])
		by_fd[fd] = NULL;
}

void sys_fast_forget_range(u32 first, u32 last)
{
	u32 fd;

	changes++;
	for (fd = first; fd < NUMBERS && fd <= last; fd++)
		by_fd[fd] = NULL;
}

u32 sys_fast_begin(void)
{
	return changes;
}

void sys_fast_remember(int fd, struct sys_map *sm, u32 begin)
{
	const struct map *m = sm->map;
	struct sys_map *was = sm;

	if (sys_remote || fd < 0 || fd >= NUMBERS || sm->modes || sm->ops || m->ops->set_obj || !m->attr.key_size ||
	    m->attr.type == BPF_MAP_TYPE_TASK_STORAGE ||
	    m->attr.key_size > SMALL || map_user_value_size(m) > SMALL)
		return;
	sm->remembered = true;
	ready = true;
	by_fd[fd] = sm;
	if (changes != begin) /* somebody closed meanwhile, maybe this one */
		atomic_compare_exchange_strong(&by_fd[fd], &was, NULL);
}

/* It is about to be freed: nobody may come across it any more. */
void sys_fast_gone(const struct sys_map *sm)
{
	u32 fd;

	for (fd = 0; sm->remembered && fd < NUMBERS; fd++)
		if (atomic_load_explicit(&by_fd[fd], memory_order_relaxed) == sm)
			by_fd[fd] = NULL;
}

struct sys_map *sys_fast_map(int fd)
{
	struct sys_map *sm;
	u32 refs = 0;

	if (sys_remote || fd < 0 || fd >= NUMBERS || !by_fd[fd])
		return NULL;
	if (!left) {
		left = ANEW;
		return NULL;
	}
	left--;
	sys_run_enter();
	sm = by_fd[fd];
	if (sm)
		refs = sm->o.refs;
	while (refs && !atomic_compare_exchange_weak(&sm->o.refs, &refs, refs + 1))
		;
	sys_run_leave();
	return refs ? sm : NULL;
}

/* The first fields of the attr, as all commands on one element have them. */
struct elem_attr {
	u64 fd, key, value, flags;
};

/* Are the attr's bytes from `from` on zero? The caller's may end anywhere. */
static bool rest_is_zero(const u8 *attr, u32 from, u32 size)
{
	u64 words[sizeof(union bpf_attr) / 8 + 1] = { 0 }, set = 0;
	u32 i;

	if (code_copy_ready(words, attr + from, size - from))
		return false;
	for (i = 0; i * 8 < size - from; i++)
		set |= words[i];
	return !set;
}

/* False also when it has more than these fields: the long way says what is wrong with that. */
static inline bool read_attr(struct elem_attr *a, const u8 *attr, u32 size)
{
	u64 fields[4] = { 0 };

	if (__builtin_expect(size >= 32, 1)) {
		if (code_copy_fields(fields, attr) || (size > 32 && !rest_is_zero(attr, 32, size)))
			return false;
	} else if (code_copy_ready(fields, attr, size)) { /* ends before the flags */
		return false;
	}
	*a = (struct elem_attr){ (u32)fields[0], fields[1], fields[2], fields[3] };
	return true;
}

/* From where elements are straight to the client, in whole words, as map_load() copies. */
static long lookup(struct map *m, const void *key, const struct elem_attr *a, u32 size)
{
	u64 value[SMALL / 8];
	const void *from = value;
	long err;

	if (m->ops->read) {
		err = m->ops->read(m, key, value, 0);
		if (err)
			return err;
	} else {
		from = m->ops->lookup(m, key);
		if (!from)
			return -ENOENT;
	}
	return code_copy_ready((void *)(uintptr_t)a->value, from, size);
}

static inline long one(int cmd, struct map *m, const struct elem_attr *a)
{
	u64 key[SMALL / 8], value[SMALL / 8];
	u32 key_size = m->attr.key_size;
	long err;

	if ((cmd == BPF_MAP_UPDATE_ELEM || cmd == BPF_MAP_DELETE_ELEM) && map_is_frozen(m))
		return -EPERM; /* whatever key and value are */
	if (code_copy_ready(key, (const void *)(uintptr_t)a->key, key_size))
		return -EFAULT;
	switch (cmd) {
	case BPF_MAP_LOOKUP_ELEM: return lookup(m, key, a, map_user_value_size(m));
	case BPF_MAP_UPDATE_ELEM:
		if (code_copy_ready(value, (const void *)(uintptr_t)a->value, map_user_value_size(m)))
			return -EFAULT;
		return map_update_user(m, key, value, a->flags);
	case BPF_MAP_DELETE_ELEM: return map_delete_user(m, key);
	default:
		err = map_next_key_user(m, key, value);
		return err ? err : code_copy_ready((void *)(uintptr_t)a->value, value, key_size);
	}
}

/* Fields that the command does not know, and flags, are left to the long way. */
static bool is_plain(int cmd, const struct elem_attr *a)
{
	if (cmd == BPF_MAP_UPDATE_ELEM)
		return !(a->flags & BPF_F_LOCK);
	if (cmd == BPF_MAP_DELETE_ELEM && a->value)
		return false;
	if (cmd == BPF_MAP_GET_NEXT_KEY && !a->key)
		return false;
	return !a->flags;
}

bool sys_bpf_fast(int cmd, const void *attr, u32 size, long *ret)
{
	struct elem_attr a;
	struct sys_map *sm;

	if (!ready || cmd < BPF_MAP_LOOKUP_ELEM || cmd > BPF_MAP_GET_NEXT_KEY || size < 24 ||
	    size > sizeof(union bpf_attr) || !read_attr(&a, attr, size))
		return false;
	if (a.fd >= NUMBERS || !by_fd[a.fd] || !left--) {
		left = ANEW;
		return false;
	}
	if (!is_plain(cmd, &a))
		return false;
	sys_run_enter();
	sm = by_fd[a.fd];
	if (sm)
		*ret = one(cmd, sm->map, &a);
	sys_run_leave();
	return sm;
}
