/* SPDX-License-Identifier: MIT */
/* Commands on maps: create, the element commands, freeze. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpf/ops.h"
#include "bpf/session/remote.h"
#include "bpf/sys_int.h"

void sys_map_free(struct sys_obj *o)
{
	struct sys_map *sm = container_of(o, struct sys_map, o);

	sys_fast_gone(sm);
	if (sm->inner || sm->remembered) { /* somebody may have looked it up */
		if (sys_run_defer(o))
			return;
		sys_run_wait();
	}
	sys_poll_gone(o);
	ops_map_free(sm);
	map_put(sm->map);
	if (sm->btf)
		sys_put(&sm->btf->o);
	base_free(sm);
}

void sys_map_unreachable(struct sys_map *sm)
{
	u32 key;

	if (sys_pinned(&sm->o))
		return; /* a pin counts as a descriptor: bpf_map_inc_with_uref() */
	sm->map->no_users = true;
	if (sm->map->attached)
		return; /* its elements are its maker's */
	if (sm->map->fields && sm->map->fields->timer && map_timers_drop)
		map_timers_drop(sm->map);
	if (sm->map->attr.type != BPF_MAP_TYPE_PROG_ARRAY &&
	    (sm->map->attr.type != BPF_MAP_TYPE_PERF_EVENT_ARRAY ||
	     sm->map->attr.flags & BPF_F_PRESERVE_ELEMS))
		return;
	for (key = 0; key < sm->map->attr.max_entries; key++)
		sm->map->ops->remove(sm->map, &key);
	sys_elems_changed(sm, false);
}

void sys_map_drop(const struct map *m, void *obj)
{
	if (map_is_outer(m->attr.type))
		sys_put(((struct map *)obj)->owner);
	else if (m->attr.type == BPF_MAP_TYPE_PERF_EVENT_ARRAY)
		sys_put(*map_perf_owner(obj));
	else
		sys_prog_put(obj);
}

struct sys_map *sys_map_of(int fd, int *err)
{
	u32 begin = sys_fast_begin();
	struct sys_obj *o = sys_fd_get(fd, SYS_MAP);

	/* No descriptor at all is EBADF, one of something else EINVAL. */
	if (!o) {
		sys_fast_forget(fd);
		*err = sys_fd_error(fd);
	} else {
		sys_fast_remember(fd, container_of(o, struct sys_map, o), begin);
	}
	return o ? container_of(o, struct sys_map, o) : NULL;
}

/* ---- create --------------------------------------------------------------------------------- */

/* Arrays without a key type are the sections of global variables (array_map_check_btf). */
static int check_array_btf(const struct map_attr *a, const struct btf *btf, u32 key_id,
			   u32 value_id)
{
	const struct btf_type *t;
	u32 info;

	if (!key_id) {
		t = btf__type_by_id(btf, value_id);
		return a->type == BPF_MAP_TYPE_ARRAY && a->max_entries == 1 && t &&
				       btf_kind(t) == BTF_KIND_DATASEC
			       ? 0
			       : -EINVAL;
	}
	t = fbtf_strip(btf, key_id, NULL);
	if (!t || btf_kind(t) != BTF_KIND_INT)
		return -EINVAL;
	info = *(const u32 *)(t + 1);
	return BTF_INT_BITS(info) == 32 && !BTF_INT_OFFSET(info) ? 0 : -EINVAL;
}

/* The kernel's map_check_btf of the type: what keys and values that fit may not be. */
static int check_type_btf(const struct map_attr *a, const struct btf *btf, u32 key_id, u32 value_id)
{
	const struct btf_type *t;

	switch (a->type) {
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
	case BPF_MAP_TYPE_HASH_OF_MAPS:
	case BPF_MAP_TYPE_STACK_TRACE: return -SYS_ENOTSUPP; /* map_check_no_btf */
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY: return check_array_btf(a, btf, key_id, value_id);
	case BPF_MAP_TYPE_LPM_TRIE: /* a struct with the length first */
		t = key_id ? fbtf_strip(btf, key_id, NULL) : NULL;
		return t && btf_kind(t) == BTF_KIND_STRUCT ? 0 : -EINVAL;
	case BPF_MAP_TYPE_BLOOM_FILTER: return key_id ? -EINVAL : 0;
	}
	return key_id ? 0 : -EINVAL;
}

int sys_map_check_btf(const struct map_attr *a, const struct btf *btf, u32 key_id, u32 value_id)
{
	if (key_id && fbtf_size(btf, key_id) != (s64)a->key_size)
		return -EINVAL;
	if (fbtf_size(btf, value_id) != (s64)a->value_size)
		return -EINVAL;
	return check_type_btf(a, btf, key_id, value_id);
}

/* The BTF that describes key and value: 0 with *out NULL when there is none. */
static int create_btf(const union bpf_attr *attr, const struct map_attr *a, struct sys_btf **out)
{
	struct sys_obj *o;
	int err;

	*out = NULL;
	if (!attr->btf_key_type_id && !attr->btf_value_type_id)
		return 0;
	o = sys_fd_get(attr->btf_fd, SYS_BTF);
	if (!o)
		return sys_fd_error(attr->btf_fd);
	*out = container_of(o, struct sys_btf, o);
	err = (*out)->kernel
		      ? -EACCES
		      : sys_map_check_btf(a, (*out)->btf, attr->btf_key_type_id,
					  attr->btf_value_type_id);
	if (err) {
		sys_put(o);
		*out = NULL;
	}
	return err;
}

/* Types whose flags say nothing of the descriptor. */
static bool has_no_modes(u32 type)
{
	return type == BPF_MAP_TYPE_RINGBUF || type == BPF_MAP_TYPE_USER_RINGBUF ||
	       type == BPF_MAP_TYPE_TASK_STORAGE || type == BPF_MAP_TYPE_STRUCT_OPS;
}

static int create_attr(const union bpf_attr *attr, struct map_attr *a)
{
	if (!attr->btf_vmlinux_value_type_id != (attr->map_type != BPF_MAP_TYPE_STRUCT_OPS))
		return -EINVAL;
	if (attr->btf_key_type_id && !attr->btf_value_type_id)
		return -EINVAL;
	if (attr->map_type == BPF_MAP_TYPE_TASK_STORAGE && !attr->btf_key_type_id)
		return -EINVAL; /* bpf_local_storage_map_alloc_check */
	if (attr->map_extra && attr->map_type != BPF_MAP_TYPE_BLOOM_FILTER)
		return -EINVAL;
	if ((attr->map_flags & (BPF_F_RDONLY | BPF_F_WRONLY)) == (BPF_F_RDONLY | BPF_F_WRONLY))
		return -EINVAL;
	if (attr->map_flags & (BPF_F_RDONLY | BPF_F_WRONLY) && has_no_modes(attr->map_type))
		return -EINVAL;
	/* One node is all that is known to exist; -1 is any (NUMA_NO_NODE). */
	if (attr->map_flags & BPF_F_NUMA_NODE && attr->numa_node && attr->numa_node != ~0u)
		return -EINVAL;
	if (attr->map_ifindex)
		return -EINVAL; /* no device runs programs here */
	if (sys_name_copy(a->name, attr->map_name) < 0)
		a->name[0] = '-'; /* refused when all else was good, as the kernel does */
	a->any_node = attr->numa_node == ~0u;
	a->type = attr->map_type;
	a->key_size = attr->key_size;
	a->value_size = attr->value_size;
	a->max_entries = attr->max_entries;
	/* These two belong to the descriptor, not to the map (bpf_map_flags_retain_permanent). */
	a->flags = attr->map_flags & ~(u32)(BPF_F_RDONLY | BPF_F_WRONLY);
	a->extra = attr->map_extra;
	return 0;
}

/* Maps of maps are made after the one behind inner_map_fd. */
static int create_map(const union bpf_attr *attr, const struct map_attr *a, struct map **out,
		      struct text *why)
{
	struct sys_map *like = NULL;
	int err = 0;

	if (map_is_outer(a->type)) {
		like = sys_map_of(attr->inner_map_fd, &err);
		if (!like && err != -EBADF)
			return err;
	}
	err = map_create_outer(a, like ? like->map : NULL, out, why);
	if (like)
		sys_put(&like->o);
	return err;
}

/* Its number and types, for this process and for those that attach it. */
static void tag(struct sys_map *sm)
{
	struct map_tag t = { .id = sm->o.id };
	struct map *m = sm->map;

	m->id = sm->o.id;
	if (sm->btf) {
		t.btf_key_id = m->btf_key_id;
		t.btf_value_id = m->btf_value_id;
		t.btf_dev = sm->btf->o.dev;
		t.btf_ino = sm->btf->o.ino;
	}
	map_tag_write(m, &t);
}

int sys_map_set_fields(struct map *m, const struct btf *btf)
{
	struct map_kptr kptrs[MAP_KPTRS];
	u32 found[FBTF_SPECIALS];
	int err = fbtf_find_special(btf, m->btf_value_id, found), n = 0, i;

	/* Other processes' maps own nothing here: such members are data in them. */
	if (!err && !m->attached)
		n = module_map_kptrs(btf, m->btf_value_id, kptrs);
	if (err || n < 0)
		return err ? err : n;
	err = map_set_kptrs(m, found[FBTF_LOCK], found[FBTF_TIMER], kptrs, (u32)n);
	for (i = 0; err && i < n; i++)
		map_kptr_done(&kptrs[i]);
	return err;
}

static int create(const union bpf_attr *attr, struct sys_map *sm, struct text *why)
{
	struct map_attr a = { 0 };
	struct map *m;
	int err = create_attr(attr, &a);

	if (!err && attr->btf_vmlinux_value_type_id &&
	    (a.key_size != 4 || a.max_entries != 1 || a.flags & ~OPS_F_LINK)) /* bpf_struct_ops_map_alloc_check */
		err = -EINVAL;
	if (!err && attr->btf_vmlinux_value_type_id)
		err = ops_map(sm, attr->btf_vmlinux_value_type_id, attr->value_size);
	if (!err)
		err = create_map(attr, &a, &sm->map, why);
	if (!err)
		err = create_btf(attr, &a, &sm->btf);
	if (err)
		return err;
	m = sm->map;
	m->owner = &sm->o;
	if (sm->btf) {
		m->btf_fd_id = sm->btf->o.id;
		m->btf_key_id = attr->btf_key_type_id;
		m->btf_value_id = attr->btf_value_type_id;
		err = sys_map_set_fields(m, sm->btf->btf);
		if (err)
			return err;
	}
	memcpy(sm->o.name, a.name, sizeof(a.name));
	m->fd = sys_fd_move(m->fd);
	err = sys_obj_add(&sm->o, SYS_MAP, m->fd);
	if (!err)
		tag(sm);
	return err;
}

long sys_cmd_map_create(struct sys_call *c)
{
	struct sys_map *sm = base_alloc(sizeof(*sm));
	struct text why = { 0 };
	int err;

	if (!sm)
		return -ENOMEM;
	err = create(&c->attr, sm, &why);
	if (err) {
		log_msg(LOG_INFO, "BPF_MAP_CREATE of %s '%.15s': %s (%s)",
			map_type_name(c->attr.map_type), c->attr.map_name,
			why.len ? text_str(&why) : "refused", strerror(-err));
		if (sm->map)
			map_put(sm->map);
		if (sm->btf)
			sys_put(&sm->btf->o);
		base_free(sm);
	} else {
		err = sys_fd_new(&sm->o, c->attr.map_flags);
		sys_put(&sm->o);
	}
	text_free(&why);
	return err;
}

/* ---- elements ------------------------------------------------------------------------------- */

/* Keys and values on the way: private copies, on the stack when small. */
struct elem {
	struct sys_map *sm;
	struct map *m;
	u8 *key, *value;
	u32 value_size;
	u8 small[512];
};

enum { ELEM_READ = 1, ELEM_WRITE = 2 };

static void elem_end(struct elem *e)
{
	if (e->key && e->key != e->small)
		base_free(e->key);
	if (e->sm)
		sys_put(&e->sm->o);
}

static int elem_begin(struct elem *e, int fd, u64 flags, int want)
{
	size_t need;
	int err;

	e->key = NULL;
	e->sm = sys_map_of(fd, &err);
	if (!e->sm)
		return err;
	e->m = e->sm->map;
	if ((want & ELEM_READ && sys_fd_mode(e->sm, fd, false)) ||
	    (want & ELEM_WRITE && (map_is_frozen(e->m) || sys_fd_mode(e->sm, fd, true))))
		return -EPERM;
	if (flags & BPF_F_LOCK && !(e->m->fields && e->m->fields->lock))
		return -EINVAL;
	e->value_size = map_user_value_size(e->m);
	/* Room for two keys (next_key) or a key and a value. */
	need = ALIGN_UP((size_t)e->m->attr.key_size, 8) + 8 +
	       (e->value_size > e->m->attr.key_size ? e->value_size : e->m->attr.key_size);
	e->key = need <= sizeof(e->small) ? e->small : base_alloc(need);
	if (!e->key)
		return -ENOMEM;
	e->value = e->key + ALIGN_UP((size_t)e->m->attr.key_size, 8) + 8;
	return 0;
}

static int elem_key(struct elem *e, u64 addr)
{
	u32 tid = 0;
	int err, fd;

	if (!e->m->attr.key_size)
		return addr ? -EINVAL : 0;
	err = sys_in(e->key, addr, e->m->attr.key_size);
	if (!err && e->m->attr.type == BPF_MAP_TYPE_TASK_STORAGE) {
		memcpy(&fd, e->key, sizeof(fd));
		err = sys_pidfd(fd, &tid);
		memcpy(e->key, &tid, sizeof(tid));
	}
	return err;
}

long sys_cmd_map_lookup(struct sys_call *c)
{
	struct elem e;
	int err;

	if (c->attr.flags & ~(u64)BPF_F_LOCK)
		return -EINVAL;
	err = elem_begin(&e, c->attr.map_fd, c->attr.flags, ELEM_READ);
	if (!err)
		err = elem_key(&e, c->attr.key);
	if (!err && e.m->attr.type == BPF_MAP_TYPE_BLOOM_FILTER) /* the value is the question */
		err = sys_in(e.value, c->attr.value, e.value_size);
	if (!err)
		err = map_lookup_user(e.m, e.key, e.value, c->attr.flags);
	if (!err)
		err = sys_out(c->attr.value, e.value, e.value_size);
	elem_end(&e);
	return err;
}

bool sys_map_owner(struct sys_map *sm, const struct prog *p, bool jited)
{
	u32 none = 0, want = 1 + p->type + (jited ? 65536 : 0);

	/* What an iterator's program has in its context is another's thing. */
	if (p->args.kinds)
		return false;
	return atomic_compare_exchange_strong(&sm->owner, &none, want) || none == want;
}

static int set_prog(struct sys_map *sm, const void *key, int fd, u64 flags)
{
	struct sys_obj *o;
	struct sys_prog *sp;
	int err;

	if (flags != BPF_ANY)
		return -EINVAL;
	if (*(const u32 *)key >= sm->map->attr.max_entries)
		return -E2BIG;
	o = sys_fd_get(fd, SYS_PROG);
	if (!o)
		return sys_fd_error(fd);
	sp = container_of(o, struct sys_prog, o);
	/* A C function takes other arguments than the context that a tail call hands on. */
	err = !sp->p->sig && sys_map_owner(sm, sp->p, sp->jited) ? 0 : -EINVAL;
	if (!err)
		err = sm->map->ops->set_obj(sm->map, key, sp->p, o->id, flags);
	if (err)
		sys_put(o); /* otherwise the map has the reference */
	return err;
}

static int set_map(struct sys_map *sm, const void *key, int fd, u64 flags)
{
	bool array = sm->map->attr.type == BPF_MAP_TYPE_ARRAY_OF_MAPS;
	struct sys_map *elem;
	int err;

	if (array && flags != BPF_ANY)
		return -EINVAL;
	if (array && *(const u32 *)key >= sm->map->attr.max_entries)
		return -E2BIG;
	elem = sys_map_of(fd, &err);
	if (!elem)
		return err;
	elem->inner = true;
	err = map_fits(sm->map->inner, elem->map)
		      ? sm->map->ops->set_obj(sm->map, key, elem->map, elem->o.id, flags)
		      : -EINVAL;
	if (err)
		sys_put(&elem->o);
	return err;
}

static int set_obj(struct sys_map *sm, const void *key, int fd, u64 flags)
{
	if (map_is_outer(sm->map->attr.type))
		return set_map(sm, key, fd, flags);
	if (sm->map->attr.type == BPF_MAP_TYPE_PERF_EVENT_ARRAY)
		return sys_perf_set(sm, key, fd, flags);
	return set_prog(sm, key, fd, flags);
}

int sys_map_set(struct sys_map *sm, const void *key, const void *value, u64 flags)
{
	if (sm->ops)
		return ops_update(sm, key, value, flags);
	if (sm->map->ops->set_obj)
		return set_obj(sm, key, *(const s32 *)value, flags);
	return map_update_user(sm->map, key, value, flags);
}

long sys_cmd_map_update(struct sys_call *c)
{
	struct elem e;
	int err = elem_begin(&e, c->attr.map_fd, c->attr.flags, ELEM_WRITE);

	if (!err)
		err = elem_key(&e, c->attr.key);
	if (!err)
		err = sys_in(e.value, c->attr.value, e.value_size);
	if (!err)
		err = sys_map_set(e.sm, e.key, e.value, c->attr.flags);
	if (!err)
		sys_elems_changed(e.sm, true);
	elem_end(&e);
	return err;
}

long sys_cmd_map_delete(struct sys_call *c)
{
	struct elem e;
	int err = elem_begin(&e, c->attr.map_fd, 0, ELEM_WRITE);

	if (!err)
		err = elem_key(&e, c->attr.key);
	if (!err)
		err = e.sm->ops ? ops_delete(e.sm) : map_delete_user(e.m, e.key);
	if (!err)
		sys_elems_changed(e.sm, true);
	elem_end(&e);
	return err;
}

long sys_cmd_map_next_key(struct sys_call *c)
{
	struct elem e;
	int err = elem_begin(&e, c->attr.map_fd, 0, ELEM_READ);

	if (!err && c->attr.key)
		err = elem_key(&e, c->attr.key);
	if (!err)
		err = map_next_key_user(e.m, c->attr.key ? e.key : NULL, e.value);
	if (!err)
		err = sys_out(c->attr.next_key, e.value, e.m->attr.key_size);
	elem_end(&e);
	return err;
}

long sys_cmd_map_take(struct sys_call *c)
{
	struct elem e;
	int err;

	if (c->attr.flags & ~(u64)BPF_F_LOCK)
		return -EINVAL;
	err = elem_begin(&e, c->attr.map_fd, c->attr.flags, ELEM_READ | ELEM_WRITE);
	if (!err && !e.m->ops->take && e.m->attr.key_size) /* a key is read before it is refused */
		err = sys_in(e.key, c->attr.key, e.m->attr.key_size);
	else if (!err)
		err = elem_key(&e, c->attr.key);
	if (!err)
		err = e.m->ops->take ? map_take_user(e.m, e.key, e.value, c->attr.flags)
				     : -SYS_ENOTSUPP;
	if (!err)
		err = sys_out(c->attr.value, e.value, e.value_size);
	elem_end(&e);
	return err;
}

/* ---- mmap ----------------------------------------------------------------------------------- */

/* The kernel's bpf_map_mmap and array_map_mmap: 0 when the memfd itself may be mapped so. */
static int check_mmap(const struct map *m, size_t len, int prot, int flags, s64 off)
{
	bool ring = m->attr.type == BPF_MAP_TYPE_RINGBUF ||
		    m->attr.type == BPF_MAP_TYPE_USER_RINGBUF;

	if (m->attr.type != BPF_MAP_TYPE_ARRAY && !ring)
		return -SYS_ENOTSUPP;
	if (!(flags & MAP_SHARED))
		return -EINVAL;
	if (prot & PROT_WRITE && map_is_frozen(m))
		return -EPERM;
	if (prot & PROT_WRITE && m->attr.flags & BPF_F_RDONLY_PROG)
		return -EACCES;
	if (ring)
		return 0;
	if (!(m->attr.flags & BPF_F_MMAPABLE) || off < 0 ||
	    (u64)off > ALIGN_UP(m->user_size, 4096) ||
	    len > ALIGN_UP(m->user_size, 4096) - (size_t)off)
		return -EINVAL;
	return 0;
}

/* So that mprotect(2) cannot make it writable, as in the kernel. */
static void *map_for_reading(const struct map *m, void *addr, size_t len, int prot, int flags, s64 off)
{
	int fd = map_fd_readonly(m), err;
	void *ret;

	if (fd < 0)
		return MAP_FAILED;
	ret = mmap(addr, len, prot, flags, fd, off);
	err = errno;
	close(fd);
	errno = err;
	return ret;
}

/* What mmap(2) asks of any file before the file is asked: to be readable, and writable to be shared so. */
static int check_mode(const struct sys_map *sm, int fd, int prot, int flags)
{
	if (sys_fd_mode(sm, fd, false) ||
	    ((flags & MAP_TYPE) != MAP_PRIVATE && prot & PROT_WRITE && sys_fd_mode(sm, fd, true)))
		return -EACCES;
	return 0;
}

bool sys_mmap(void *addr, size_t len, int prot, int flags, int fd, s64 off, void **ret)
{
	struct sys_obj *o;
	struct map *m;
	bool answered = true;
	int err;

	if (sys_inside)
		return false;
	o = sys_fd_get(fd, 0);
	if (!o)
		return false;
	sys_inside++;
	*ret = MAP_FAILED;
	if (o->kind == SYS_MAP) {
		m = container_of(o, struct sys_map, o)->map;
		err = check_mode(container_of(o, struct sys_map, o), fd, prot, flags);
		if (!err)
			err = check_mmap(m, len, prot, flags, off);
		if (err)
			errno = -err;
		else if (m->attr.type != BPF_MAP_TYPE_ARRAY)
			*ret = map_ringbuf_mmap(m, addr, len, prot, flags, off);
		else if (map_is_frozen(m))
			*ret = map_mmap_frozen(m, addr, len, prot, flags, off);
		else if (prot & PROT_WRITE)
			answered = false; /* the memfd's first bytes are the values */
		else
			*ret = map_for_reading(m, addr, len, prot, flags, off);
	} else if (o->kind == SYS_PERF) {
		*ret = map_perf_mmap(sys_perf_of(o), addr, len, prot, flags, off);
		sys_perf_mapped(o);
	} else {
		errno = ENODEV;
	}
	err = errno;
	sys_put(o);
	errno = err;
	sys_inside--;
	return answered;
}

long sys_remote_mmap(int fd, size_t len, int prot, int flags, s64 off)
{
	struct sys_obj *o = sys_fd_get(fd, 0);
	struct map *m;
	long err;

	if (!o)
		return 0;
	if (o->kind == SYS_MAP) {
		m = container_of(o, struct sys_map, o)->map;
		err = check_mmap(m, len, prot, flags, off);
		if (!err && m->attr.type != BPF_MAP_TYPE_ARRAY)
			err = map_ringbuf_may_mmap(m, len, prot, flags, off);
	} else if (o->kind == SYS_PERF) {
		err = map_perf_may_mmap(sys_perf_of(o), len, prot, flags, off);
		sys_perf_mapped(o);
	} else {
		err = -ENODEV;
	}
	sys_put(o);
	return err;
}
