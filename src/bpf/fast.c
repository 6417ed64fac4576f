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

#include "bpf/remote.h"
#include "bpf/run_int.h"
#include "bpf/sys_int.h"

#define NUMBERS 4096 /* descriptors above are looked up each time */
#define ANEW    1024 /* commands until the descriptor is looked at again */
#define SMALL   256  /* bytes of key and of value */

static struct sys_map *_Atomic by_fd[NUMBERS];
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

/* The first fields of the attr, as all commands on one element have them. */
struct elem_attr {
	u32 fd, unused;
	u64 key, value, flags;
	u64 rest[(sizeof(union bpf_attr) - 32 + 7) / 8];
};

static long one(int cmd, struct map *m, const struct elem_attr *a)
{
	u64 key[SMALL / 8], value[SMALL / 8];
	u32 key_size = m->attr.key_size, value_size = map_user_value_size(m);
	long err;

	if (map_is_frozen(m) && (cmd == BPF_MAP_UPDATE_ELEM || cmd == BPF_MAP_DELETE_ELEM))
		return -EPERM; /* whatever key and value are */
	if (sys_in(key, a->key, key_size))
		return -EFAULT;
	switch (cmd) {
	case BPF_MAP_LOOKUP_ELEM:
		err = map_lookup_user(m, key, value, 0);
		return err ? err : sys_out(a->value, value, value_size);
	case BPF_MAP_UPDATE_ELEM:
		if (sys_in(value, a->value, value_size))
			return -EFAULT;
		return map_update_user(m, key, value, a->flags);
	case BPF_MAP_DELETE_ELEM: return map_delete_user(m, key);
	default:
		err = map_next_key_user(m, key, value);
		return err ? err : sys_out(a->value, value, key_size);
	}
}

/* Fields behind those that the command knows; flags are left to the long way. */
static bool is_plain(int cmd, const struct elem_attr *a, u32 size)
{
	u64 set = cmd == BPF_MAP_UPDATE_ELEM ? a->flags & BPF_F_LOCK : a->flags;
	u32 i;

	if (cmd == BPF_MAP_DELETE_ELEM)
		set |= a->value;
	if (cmd == BPF_MAP_GET_NEXT_KEY && !a->key)
		return false;
	for (i = 0; size > 32 && i < (size - 32 + 7) / 8; i++)
		set |= a->rest[i];
	return !set;
}

bool sys_bpf_fast(int cmd, const void *attr, u32 size, long *ret)
{
	static _Thread_local u32 left __attribute__((tls_model("initial-exec")));
	struct elem_attr a;
	struct sys_map *sm;

	if (cmd < BPF_MAP_LOOKUP_ELEM || cmd > BPF_MAP_GET_NEXT_KEY || size < 24 ||
	    size > sizeof(union bpf_attr))
		return false;
	if (size < 32) /* libbpf ends it behind the last field it sets */
		a.flags = 0;
	else if (size % 8)
		a.rest[(size - 32) / 8] = 0;
	if (sys_in(&a, (uintptr_t)attr, size))
		return false;
	if (a.fd >= NUMBERS || !by_fd[a.fd] || !left--) {
		left = ANEW;
		return false;
	}
	if (!is_plain(cmd, &a, size))
		return false;
	sys_run_enter();
	sm = by_fd[a.fd];
	if (sm)
		*ret = one(cmd, sm->map, &a);
	sys_run_leave();
	return sm;
}
