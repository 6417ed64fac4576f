/* SPDX-License-Identifier: MIT */
/* Arguments of calls: of any call, then by what helpers' prototypes say of them. */
#include <errno.h>
#include <string.h>

#include "verify/call_int.h"

/* ---- of any call ------------------------------------------------------------------------------ */

int vcall_read_ok(struct verifier *v, u32 r)
{
	if (cur_reg(v, r)->type != REG_NONE)
		return 0;
	return refuse(v, -EACCES, "give it a value on every path to here", "R%u !read_ok", r);
}

static int expected(struct verifier *v, u32 r, const char *what)
{
	return refuse(v, -EACCES, "pass what the prototype says, the type that is expected",
		      "R%u type=%s expected=%s", r, reg_type_name(cur_reg(v, r)), what);
}

static bool is_null(struct verifier *v, u32 r)
{
	struct reg *reg = cur_reg(v, r);

	if (!reg_is_const(reg) || reg->n.bits.value)
		return false;
	vprecise_reg(v, reg);
	return true;
}

int vcall_const(struct verifier *v, u32 r, u64 *value)
{
	struct reg *reg = cur_reg(v, r);

	if (!reg_is_const(reg))
		return refuse(v, -EINVAL, "give a constant", "R%u must be a known constant", r);
	vprecise_reg(v, reg);
	*value = reg->n.bits.value;
	return 0;
}

int vcall_size(struct verifier *v, u32 size_reg, bool zero_ok, enum access access, bool uninit)
{
	struct reg *reg = cur_reg(v, size_reg);

	if (reg->type != REG_SCALAR)
		return expected(v, size_reg, "scalar");
	vprecise_reg(v, reg);
	if (reg->n.smin < 0)
		return refuse(v, -EACCES, "make the size unsigned, or compare it with 0 first",
			      "R%u min value is negative, either use unsigned or 'var &= const'",
			      size_reg);
	if (reg->n.umin == 0 && !zero_ok)
		return refuse(v, -EACCES, "make sure that the size is above 0",
			      "R%u invalid zero-sized read: u64=[%llu,%llu]", size_reg,
			      (unsigned long long)reg->n.umin, (unsigned long long)reg->n.umax);
	if (reg->n.umax >= MAX_VAR_SIZE)
		return refuse(v, -EACCES, "bound the size by that of the memory",
			      "R%u unbounded memory access, use 'var &= const' or 'if (var < const)'",
			      size_reg);
	/* Less than all may be written: then all has to be initialised before. */
	return vmem_arg(v, size_reg - 1, reg->n.umax, access, uninit && num_is_const(&reg->n));
}

/* Bytes of a frozen map's value from a known place on; NULL when they are not known. */
const char *vcall_frozen(struct verifier *v, const struct reg *r, size_t *n)
{
	const struct map *m = v->p->maps[r->what];
	s64 off = r->off;

	if (!(m->attr.flags & BPF_F_RDONLY_PROG) || m->frozen != MAP_FROZEN || !m->ops->direct ||
	    m->attr.max_entries != 1 || !num_is_const(&r->n))
		return NULL;
	off += (s64)r->n.bits.value;
	if (off < 0 || off >= m->attr.value_size)
		return NULL;
	*n = m->attr.value_size - (size_t)off;
	return m->ops->direct((struct map *)m, (u32)off);
}

int vcall_string(struct verifier *v, u32 r)
{
	const struct reg *reg = cur_reg(v, r);
	const char *s;
	size_t n;

	if (reg->flags & REG_NULLABLE)
		return expected(v, r, "map_value, fp");
	if (reg->type == REG_STACK)
		return vstack_string(v, r);
	if (reg->type != REG_MAP_VALUE)
		return expected(v, r, "map_value, fp");
	s = vcall_frozen(v, reg, &n);
	if (!s)
		return refuse(v, -EACCES, "use a string constant, or an array on the stack",
			      "R%u does not point to a readonly map at a constant address", r);
	if (!memchr(s, 0, n))
		return refuse(v, -EINVAL, "end the string with a zero byte",
			      "R%u string is not zero-terminated", r);
	return 0;
}

int vcall_number(struct verifier *v, u32 r)
{
	if (cur_reg(v, r)->type == REG_SCALAR)
		return 0;
	return refuse(v, -EINVAL, "give it a number on every path to here", "R%u is not a scalar", r);
}

/* ---- helper arguments ------------------------------------------------------------------------- */

static int arg_map(struct verifier *v, struct call *c, u32 r)
{
	const struct reg *reg = cur_reg(v, r);
	const struct map *m;
	bool ok;

	if (reg->type != REG_MAP || reg->flags & REG_NULLABLE)
		return expected(v, r, "map_ptr");
	if (c->timer && c->map_index != reg->what)
		return refuse(v, -EINVAL, "pass the map that the value is in",
			      "Timer pointer in R1 map_uid=%u doesn't match map pointer in R%u map_uid=%u",
			      c->map_index, r, reg->what);
	c->map_index = reg->what;
	c->map = m = v->p->maps[reg->what];
	if (c->h->maps)
		ok = m->attr.type < 64 && c->h->maps & (1ull << m->attr.type);
	else
		ok = !m->ops->set_obj &&
		     (c->h->id == BPF_FUNC_map_update_elem ? m->ops->update != NULL :
		      c->h->id == BPF_FUNC_map_delete_elem ? m->ops->remove != NULL :
							     m->ops->lookup != NULL);
	if (!ok)
		return refuse(v, -EINVAL, "the helper does not work on maps of this type",
			      "cannot pass map_type %u into func %s#%u", m->attr.type, c->h->name,
			      c->h->id);
	if (m->attr.flags & BPF_F_RDONLY_PROG &&
	    (c->h->id == BPF_FUNC_map_update_elem || c->h->id == BPF_FUNC_map_delete_elem ||
	     c->h->id == BPF_FUNC_map_push_elem || c->h->id == BPF_FUNC_map_pop_elem))
		return refuse(v, -EACCES,
			      "the map is read-only for programs (BPF_F_RDONLY_PROG): drop the "
			      "flag, or use another map",
			      "write into map forbidden");
	return 0;
}

static int arg_key_or_value(struct verifier *v, struct call *c, u32 r, u8 kind)
{
	u32 size;

	if (!c->map)
		return refuse_internal(v, "helper prototype has a key or value before its map");
	size = kind == ARG_MAP_KEY ? c->map->attr.key_size : c->map->attr.value_size;
	if (kind == ARG_MAP_KEY && size <= 8 && cur_reg(v, r)->type == REG_STACK)
		c->key_known = vstack_const(v, r, size, &c->key);
	return vmem_arg(v, r, size, kind == ARG_MAP_VALUE_UNINIT ? ACCESS_WRITE : ACCESS_READ,
			kind == ARG_MAP_VALUE_UNINIT);
}

static int arg_size(struct verifier *v, struct call *c, u32 r, u8 kind)
{
	u8 mem = c->h->args[r - 2];
	bool uninit = mem == ARG_MEM_UNINIT || mem == ARG_MEM_OR_NULL_UNINIT;
	int err;

	if ((mem == ARG_MEM_OR_NULL || mem == ARG_MEM_OR_NULL_UNINIT) && is_null(v, r - 1)) {
		if (is_null(v, r))
			return 0;
		return refuse(v, -EACCES, "NULL goes with size 0 only", "R%u type=scalar expected=fp",
			      r - 1);
	}
	err = vcall_size(v, r, kind == ARG_SIZE_OR_ZERO, uninit ? ACCESS_WRITE : ACCESS_READ, uninit);
	c->max_size = cur_reg(v, r)->n.umax;
	return err;
}

static int arg_release(struct verifier *v, struct call *c, u32 r)
{
	const struct reg *reg = cur_reg(v, r);

	if (reg->type != REG_MEM || !(reg->flags & REG_RINGBUF) || reg->flags & REG_NULLABLE)
		return expected(v, r, "ringbuf_mem");
	if (reg->off || !num_is_const(&reg->n) || reg->n.bits.value)
		return refuse(v, -EINVAL, "pass the pointer as it was returned",
			      "R%u must have zero offset when passed to release func", r);
	if (!reg->ref || !state_has_ref(v->cur, reg->ref))
		return refuse(
			v, -EINVAL,
			"release each reference once: it was released before, or never acquired",
			"R%u is not a reference that is held", r);
	c->release = reg->ref;
	return 0;
}

static int arg_ctx(struct verifier *v, u32 r)
{
	const struct reg *reg = cur_reg(v, r);

	if (reg->type != REG_CTX)
		return expected(v, r, "ctx");
	if (reg->off || !num_is_const(&reg->n) || reg->n.bits.value)
		return refuse(v, -EACCES, "pass the context as it was given",
			      "dereference of modified ctx ptr R%u off=%d disallowed", r, reg->off);
	return 0;
}

/* Eight bytes that the helper writes as one number. */
static int long_out(struct verifier *v, u32 r)
{
	const struct reg *reg = cur_reg(v, r);
	struct tnum at = tnum_add(reg->n.bits, tnum_const((u64)(s64)reg->off));

	if (reg_is_ptr(reg) && !tnum_is_aligned(at, 8))
		return refuse(v, -EACCES, "give the address of a variable of 8 bytes",
			      "misaligned value access off %d size 8", reg->off);
	return vmem_arg(v, r, 8, ACCESS_WRITE, true);
}

/* What it points to is read by a load that may fault, so that any such pointer will do. */
static int arg_typed(struct verifier *v, u32 r, const char *name, const char *pointer)
{
	const struct reg *reg = cur_reg(v, r);

	if (reg->type != REG_BTF || reg->flags & REG_NULLABLE || reg->off ||
	    !num_is_const(&reg->n) || reg->n.bits.value || strcmp(vtyped_name(v, reg), name))
		return expected(v, r, pointer);
	return 0;
}

/* Read as above, wherever in another struct it lies. */
static int arg_path(struct verifier *v, u32 r)
{
	const struct reg *reg = cur_reg(v, r);
	const struct btf *btf = fbtf_vmlinux();
	s32 id = btf ? btf__find_by_name_kind(btf, "path", BTF_KIND_STRUCT) : 0;

	if (!btf)
		return v->error = -ENOMEM;
	if (reg->flags & REG_NULLABLE || !vtyped_is(v, reg, btf, (u32)id))
		return expected(v, r, "ptr_path");
	return 0;
}

/* Pointers to the kernel's structs of sockets, too, where they are known. */
static int arg_sock(struct verifier *v, struct call *c, u32 r, bool release)
{
	static const char *const names[] = { "sock", "sock_common", "tcp_sock", "inet_sock", "udp6_sock", "tcp6_sock",
					     "unix_sock", "tcp_request_sock", "tcp_timewait_sock", "mptcp_sock" };
	const struct reg *reg = cur_reg(v, r);
	bool ok = reg->type == REG_SOCK;
	u32 i;

	for (i = 0; reg->type == REG_BTF && i < ARRAY_SIZE(names) && !ok; i++)
		ok = !strcmp(vtyped_name(v, reg), names[i]);
	if (!ok || reg->flags & REG_NULLABLE)
		return expected(v, r, "sock_common, sock, tcp_sock, ptr_sock");
	if (reg->off || !num_is_const(&reg->n) || reg->n.bits.value)
		return refuse(v, -EINVAL, "pass the pointer as it was returned",
			      "R%u must have zero offset when passed to a helper on sockets", r);
	c->sock = reg->ref;
	if (!release)
		return 0;
	if (!reg->ref || !state_has_ref(v->cur, reg->ref))
		return refuse(v, -EINVAL, "release only what was looked up, once",
			      "R%u must be referenced when passed to release function", r);
	c->release = reg->ref;
	return 0;
}

int vcall_arg(struct verifier *v, struct call *c, u32 r)
{
	u8 kind = c->h->args[r - 1];
	int err = kind == ARG_UNCHECKED ? 0 : vcall_read_ok(v, r);

	if (err)
		return err;
	switch (kind) {
	case ARG_UNCHECKED: return 0;
	case ARG_ANYTHING:
		if (v->o->strict && reg_is_ptr(cur_reg(v, r)))
			return refuse(v, -EACCES, "pass a number",
				      "R%u leaks addr into helper function", r);
		return 0;
	case ARG_CTX:
		return arg_ctx(v, r);
	case ARG_MAP:
		return arg_map(v, c, r);
	case ARG_MAP_VALUE_OR_NULL:
		if (is_null(v, r))
			return 0;
		return arg_key_or_value(v, c, r, ARG_MAP_VALUE);
	case ARG_TASK:
		return arg_typed(v, r, "task_struct", "ptr_task_struct");
	case ARG_PATH:
		return arg_path(v, r);
	case ARG_SOCK:
		return arg_sock(v, c, r, false);
	case ARG_SOCK_RELEASE:
		return arg_sock(v, c, r, true);
	case ARG_SEQ:
		return arg_typed(v, r, "seq_file", "ptr_seq_file");
	case ARG_MAP_KEY:
	case ARG_MAP_VALUE:
	case ARG_MAP_VALUE_UNINIT:
		return arg_key_or_value(v, c, r, kind);
	case ARG_MEM:
	case ARG_MEM_OR_NULL:
	case ARG_MEM_UNINIT:
	case ARG_MEM_OR_NULL_UNINIT:
		/* Checked with the size behind it. */
		if (r < 5 && (c->h->args[r] == ARG_SIZE || c->h->args[r] == ARG_SIZE_OR_ZERO))
			return 0;
		return refuse_internal(v, "helper prototype has memory without a size");
	case ARG_SIZE:
	case ARG_SIZE_OR_ZERO:
		return r > 1 ? arg_size(v, c, r, kind) : refuse_internal(v, "size without memory");
	case ARG_CONST_SIZE:
		err = vcall_const(v, r, &c->alloc_size);
		if (!err && c->alloc_size >= MAX_VAR_SIZE)
			return refuse(v, -EACCES, "a constant below 2^29", "R%u size is too large",
				      r);
		return err;
	case ARG_ALLOC_MEM:
		return arg_release(v, c, r);
	case ARG_CONST_STR:
		if (cur_reg(v, r)->type != REG_MAP_VALUE)
			return expected(v, r, "map_value");
		return vcall_string(v, r);
	case ARG_LONG_OUT:
		return long_out(v, r);
	case ARG_DYNPTR:
		return vdynptr_arg(v, r, DYNPTR_ANY, &c->slice);
	case ARG_DYNPTR_RINGBUF:
		return vdynptr_arg(v, r, DYNPTR_RINGBUF, &c->release);
	case ARG_DYNPTR_LOCAL_NEW:
		if (cur_reg(v, 1)->type != REG_MAP_VALUE)
			return refuse(v, -EACCES, "only memory of map values can be wrapped",
				      "Unsupported reg type %s for bpf_dynptr_from_mem data",
				      reg_type_name(cur_reg(v, 1)));
		return vdynptr_new(v, r, DYNPTR_LOCAL);
	case ARG_DYNPTR_RINGBUF_NEW:
		return vdynptr_new(v, r, DYNPTR_RINGBUF);
	case ARG_KPTR:
		return vkptr_arg(v, r, &c->kptr);
	case ARG_KPTR_OBJ:
		return vkptr_object(v, r, c->kptr, &c->release);
	case ARG_SPIN_LOCK:
		return vlock_arg(v, r, c->h->id == BPF_FUNC_spin_lock);
	case ARG_TIMER:
		c->timer = true;
		c->map_index = cur_reg(v, r)->what;
		return vlock_timer_arg(v, r);
	case ARG_FUNC:
		return vcallback_arg(v, r);
	case ARG_CPU_VAR:
		c->var = *cur_reg(v, r);
		if (c->var.type != REG_BTF || !(c->var.flags & REG_PERCPU) || c->var.off ||
		    !num_is_const(&c->var.n) || c->var.n.bits.value)
			return expected(v, r, "percpu_ptr_");
		return 0;
	case ARG_STACK_OR_ZERO:
		return cur_reg(v, r)->type == REG_STACK || is_null(v, r) ? 0 : expected(v, r, "fp, 0");
	}
	return refuse_internal(v, "helper prototype has an unknown kind of argument");
}

/* ---- kfuncs ----------------------------------------------------------------------------------- */

/* As check_kfunc_mem_size_reg has it: the size is looked at first, and all of the memory is read and written. */
static int arg_buffer(struct verifier *v, struct call *c, u32 r)
{
	struct reg *buf = cur_reg(v, r - 1);
	u8 maybe = buf->flags & REG_NULLABLE && reg_is_ptr(buf) ? REG_NULLABLE : 0;
	int err;

	/* If it is there, it has to be good. */
	buf->flags &= (u8)~maybe;
	if (!is_null(v, r - 1)) {
		err = vcall_size(v, r, true, ACCESS_READ, false);
		if (!err)
			err = vcall_size(v, r, true, ACCESS_WRITE, false);
		buf->flags |= maybe;
		if (err)
			return err;
	}
	if (cur_reg(v, r)->type != REG_SCALAR)
		return vcall_number(v, r);
	err = vcall_const(v, r, &c->alloc_size);
	if (!err && c->alloc_size >= MAX_VAR_SIZE)
		return refuse(v, -EACCES, "a constant below 2^29", "R%u size is too large", r);
	return err;
}

/* Kinds that kfuncs alone have, and those that the kernel looks at in another way for them. */
int vcall_kfunc_arg(struct verifier *v, struct call *c, u32 r)
{
	u8 kind = c->h->args[r - 1];
	int err = kind == ARG_UNCHECKED || kind == ARG_SCALAR ? 0 : vcall_read_ok(v, r);

	if (err)
		return err;
	switch (kind) {
	case ARG_SCALAR: return vcall_number(v, r);
	case ARG_BUFFER_OR_NULL: return 0; /* with its size */
	case ARG_BUFFER_SIZE: return arg_buffer(v, c, r);
	case ARG_DYNPTR: return vdynptr_kfunc_arg(v, r, &c->of);
	case ARG_DYNPTR_CLONE: return vdynptr_clone(v, r, &c->of);
	}
	return vcall_arg(v, c, r);
}
