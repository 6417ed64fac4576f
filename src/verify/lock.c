/* SPDX-License-Identifier: MIT */
/*
 * What of map values belongs to the system: no load, store or helper may touch these bytes but the
 * helpers made for them; and bpf_spin_lock, of which one may be held, shortly.
 */
#include <errno.h>

#include "verify/verify_int.h"

/* Do any of `size` bytes at off + n lie in the `len` at `field` - 1? */
static bool overlaps(const struct reg *reg, s64 off, u64 size, u32 field, u32 len)
{
	s64 lo = off + reg->off + reg->n.smin, hi = off + reg->off + reg->n.smax + (s64)size;

	return field && lo < (s64)field - 1 + len && hi > (s64)field - 1;
}

int vlock_check_access(struct verifier *v, const struct reg *reg, s64 off, u64 size)
{
	const struct map_fields *f = v->p->maps[reg->what]->fields;
	const char *name;

	if (!f || !size)
		return 0;
	name = overlaps(reg, off, size, f->lock, 4) ? "bpf_spin_lock" :
	       overlaps(reg, off, size, f->timer, 16) ? "bpf_timer" : NULL;
	if (!name)
		return 0;
	return refuse(v, -EACCES, "only its own helpers may touch it: leave these bytes out",
		      "%s cannot be accessed directly by load/store", name);
}

/* The register points to the field of its map's value; `name` for messages. */
static int field_arg(struct verifier *v, u32 r, const char *name, bool timer)
{
	const struct reg *reg = cur_reg(v, r);
	const struct map *m;
	u32 field;
	s64 off;

	if (reg->type != REG_MAP_VALUE || reg->flags & REG_NULLABLE)
		return refuse(v, -EACCES, "pass its address in a value that was looked up and is not NULL",
			      "R%u type=%s expected=map_value", r, reg_type_name(reg));
	if (!num_is_const(&reg->n))
		return refuse(v, -EINVAL, "pass its address without adding a variable",
			      "R%u doesn't have constant offset. %s has to be at the constant offset", r,
			      name);
	m = v->p->maps[reg->what];
	if (!m->btf_value_id && !m->fields)
		return refuse(v, -EINVAL, "declare the map in section .maps with key and value types",
			      "map '%s' has to have BTF in order to use %s", m->attr.name, name);
	field = !m->fields ? 0 : timer ? m->fields->timer : m->fields->lock;
	if (!field)
		return refuse(v, -EINVAL, "give the value's type a member of this type",
			      "map '%s' has no valid %s", m->attr.name, name);
	off = reg->off + (s64)reg->n.bits.value;
	if (off != (s64)field - 1)
		return refuse(v, -EINVAL, "pass the address of that member",
			      "off %lld doesn't point to 'struct %s' that is at %u", (long long)off, name,
			      field - 1);
	return 0;
}

int vlock_timer_arg(struct verifier *v, u32 r)
{
	int err = field_arg(v, r, "bpf_timer", true);

	/* Which of the inner maps it is in nobody knows. */
	if (!err && v->p->maps[cur_reg(v, r)->what]->is_template)
		return refuse(v, -EOPNOTSUPP, "use a timer in a map that is no element of another",
			      "R%u timers in inner maps are not supported", r);
	return err;
}

int vlock_arg(struct verifier *v, u32 r, bool lock)
{
	const struct reg *reg = cur_reg(v, r);
	struct state *s = v->cur;
	int err = field_arg(v, r, "bpf_spin_lock", false);

	if (err)
		return err;
	if (lock) {
		if (s->locked)
			return refuse(v, -EINVAL, "unlock the other first",
				      "Locking two bpf_spin_locks are not allowed");
		s->locked = true;
		s->lock_map = reg->what;
		s->lock_id = reg->id;
		return 0;
	}
	if (!s->locked)
		return refuse(v, -EINVAL, "lock it first, on every path to here",
			      "bpf_spin_unlock without taking a lock");
	if (s->lock_map != reg->what || s->lock_id != reg->id)
		return refuse(v, -EINVAL, "unlock through the pointer that it was locked through",
			      "bpf_spin_unlock of different lock");
	s->locked = false;
	s->lock_map = 0;
	s->lock_id = 0;
	return 0;
}

/* Before a call of a helper or native function. */
int vlock_check_call(struct verifier *v, u32 helper)
{
	if (!v->cur->locked || helper == BPF_FUNC_spin_unlock)
		return 0;
	return refuse(v, -EINVAL, "unlock before the call",
		      "function calls are not allowed while holding a lock");
}

/* Programs that may interrupt themselves while they hold one. */
int vlock_check_map(struct verifier *v, const struct map *m)
{
	u32 t = v->p->type;
	bool tracing = t == BPF_PROG_TYPE_KPROBE || t == BPF_PROG_TYPE_TRACEPOINT ||
		       t == BPF_PROG_TYPE_PERF_EVENT || t == BPF_PROG_TYPE_RAW_TRACEPOINT ||
		       t == BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE;

	if (!m->fields)
		return 0;
	if (m->fields->lock && t == BPF_PROG_TYPE_SOCKET_FILTER)
		return refuse(v, -EINVAL, "use a map without a lock here",
			      "socket filter progs cannot use bpf_spin_lock yet");
	if (tracing)
		return refuse(v, -EINVAL, "use a map without it here",
			      "tracing progs cannot use %s yet",
			      m->fields->lock ? "bpf_spin_lock" : "bpf_timer");
	return 0;
}
