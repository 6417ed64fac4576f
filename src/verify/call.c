/* SPDX-License-Identifier: MIT */
/* Calls of helpers and of the program's own functions, and what a function leaves when it exits. */
#include <errno.h>
#include <string.h>

#include "verify/verify_int.h"

/* A call of a helper being checked. */
struct call {
	const struct helper_proto *h;
	const struct map *map; /* of the ARG_MAP argument */
	u32 map_index;
	u64 alloc_size;        /* ARG_CONST_SIZE */
	u64 max_size;          /* the largest ARG_SIZE */
	u32 release;           /* reference of ARG_ALLOC_MEM, ARG_SOCK_RELEASE */
	u32 sock;              /* of ARG_SOCK; 0 */
	struct reg var;        /* ARG_CPU_VAR */
	u32 slice;             /* id of ARG_DYNPTR */
	bool key_known;
	bool timer;            /* of ARG_TIMER, which map_index is the map of */
	u64 key;
	const struct map_kptr *kptr; /* ARG_KPTR */
};

/* ---- what native.c checks too ----------------------------------------------------------------- */

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

void vcall_clobber(struct verifier *v)
{
	u32 r;

	for (r = 0; r <= 5; r++)
		reg_none(cur_reg(v, r));
}

int vcall_refs_released(struct verifier *v, const char *before)
{
	const struct state *s = v->cur;
	u32 i;

	if (!s->nrefs)
		return 0;
	for (i = 0; i < s->nrefs; i++)
		vlog_note(v, "Unreleased reference id=%u alloc_insn=%u", s->refs[i].id, s->refs[i].insn);
	if (before)
		return refuse(v, -EINVAL, "release it first", "%s would lead to reference leak", before);
	return refuse(v, -EINVAL, "release on every path what was acquired",
		      "BPF_EXIT instruction in main prog would lead to reference leak");
}

int vcall_locks_released(struct verifier *v, const char *before)
{
	if (!v->cur->locked)
		return 0;
	return refuse(v, -EINVAL, "unlock it first, on every path",
		      "%s cannot be used inside bpf_spin_lock-ed region", before);
}

void vcall_release(struct verifier *v, u32 ref)
{
	struct reg_iter it = { v->cur, 0, 0 };
	const struct reg *r;

	state_drop_ref(v->cur, ref);
	while ((r = reg_iter_next(&it)))
		if (r->ref == ref && r->flags & REG_NATIVE)
			reg_none(reg_iter_edit(v, &it)); /* the host's address stays a secret */
		else if (r->ref == ref)
			reg_unknown(reg_iter_edit(v, &it));
	vdynptr_release(v, ref);
}

void vcall_forget_packet(struct verifier *v, struct state *s)
{
	struct reg_iter it = { s, 0, 0 };
	const struct reg *r;

	while ((r = reg_iter_next(&it)))
		if (reg_is_pkt(r) || r->type == REG_PKT_END)
			reg_unknown(reg_iter_edit(v, &it));
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

static int arg(struct verifier *v, struct call *c, u32 r)
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

/* ---- helpers ---------------------------------------------------------------------------------- */

static int find_helper(struct verifier *v, u32 id, const struct helper_proto **out)
{
	const struct helper_proto *h = helper_of(id);
	const char *name = helper_name(id), *hint = helper_missing(id);

	if (!name)
		return refuse(v, -EINVAL,
			      "no helper has this number: is the program built for a newer kernel?",
			      "invalid func unknown#%u", id);
	if (!h)
		return refuse(v, -EINVAL, hint, "unknown func %s#%u", name, id);
	if (!(h->groups & prog_type_helpers(v->type, v->p->attach_type)))
		return refuse(v, -EINVAL, "another program type may call it",
			      "program of this type cannot use helper %s#%u", name, id);
	if (h->flags & HELPER_GPL && !v->p->gpl)
		return refuse(v, -EINVAL, "give the object a GPL-compatible license",
			      "cannot call GPL-restricted function from non-GPL compatible program");
	*out = h;
	return vstrict_helper(v, id);
}

/* They begin at the registers, which the context of a kprobe is: who runs the program gives all. */
static void note_registers(struct verifier *v, u32 id)
{
	if (v->p->type == BPF_PROG_TYPE_KPROBE &&
	    (id == BPF_FUNC_get_stack || id == BPF_FUNC_get_stackid || id == BPF_FUNC_get_task_stack || id == BPF_FUNC_task_pt_regs))
		v->p->max_ctx_off = prog_type_of(v->p->type)->raw_end;
}

/* What holds for each visit of the instruction becomes a fact (fixup.c). */
static void note_map(struct verifier *v, const struct call *c)
{
	struct insn_aux *aux = &v->aux[v->insn];

	/* A template stands for many maps. */
	if (!c->map || c->h->args[0] != ARG_MAP || c->map->is_template ||
	    (aux->map_known && aux->map != c->map_index)) {
		aux->map_varies = true;
		return;
	}
	aux->map_known = true;
	aux->map = (u16)c->map_index;
}

static void note_key(struct verifier *v, bool known, u64 key)
{
	struct insn_aux *aux = &v->aux[v->insn];

	if (!known || key > UINT32_MAX || (aux->key_known && aux->key != (s64)key)) {
		aux->key_varies = true;
		return;
	}
	aux->key_known = true;
	aux->key = (s64)key;
}

static bool is_array(const struct map *m)
{
	return m->attr.type == BPF_MAP_TYPE_ARRAY || m->attr.type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

/* A look-up in a map of maps gives a map, of which its template says all that is known. */
static int inner_map(struct verifier *v, const struct call *c, struct reg *r0)
{
	u32 i;

	for (i = 0; i < v->p->nmaps && v->p->maps[i] != c->map->inner; i++)
		;
	if (i == v->p->nmaps)
		return refuse_internal(v, "the template of inner maps is not in prog->maps");
	reg_pointer(r0, REG_MAP);
	r0->what = (u16)i;
	r0->flags = REG_NULLABLE;
	r0->id = ++v->ids;
	note_key(v, false, 0);
	return 0;
}

/* What is cast goes when what it was cast from is released; a listener is nobody's. */
static int sock_result(struct verifier *v, const struct call *c, struct reg *r0)
{
	static const u8 kinds[] = { [RET_SOCK_OR_NULL] = PROG_SOCK_FULL, [RET_SOCK_COMMON_OR_NULL] = PROG_SOCK_COMMON,
				    [RET_TCP_SOCK_OR_NULL] = PROG_SOCK_TCP };
	int err = 0;

	if (c->h->ret == RET_KERNEL_SOCK_OR_NULL) {
		err = vtyped_kernel(v, r0, c->h->name + strlen("skc_to_"), REG_NULLABLE | REG_RDONLY);
	} else {
		reg_pointer(r0, REG_SOCK);
		r0->what = kinds[c->h->ret];
		r0->flags = REG_NULLABLE;
		r0->id = ++v->ids;
	}
	if (!err && c->h->flags & HELPER_ACQUIRES)
		return state_add_ref(v, v->cur, v->insn, &r0->ref);
	if (!err && c->sock && c->h->id != BPF_FUNC_get_listener_sock) {
		r0->ref = c->sock;
		r0->flags |= REG_BORROWED;
	}
	return err;
}

static int set_result(struct verifier *v, struct call *c)
{
	struct reg *r0 = cur_reg(v, 0);
	bool in_array;

	switch (c->h->ret) {
	case RET_VOID:
		return 0;
	case RET_MAP_VALUE_OR_NULL:
		if (!c->map)
			return refuse_internal(v, "helper returns a map value without a map");
		if (c->map->inner)
			return inner_map(v, c, r0);
		reg_pointer(r0, REG_MAP_VALUE);
		r0->what = (u16)c->map_index;
		/* An element of an array is always there. */
		in_array = is_array(c->map) && !c->map->is_template && c->key_known && c->key < c->map->attr.max_entries &&
			   c->h->id == BPF_FUNC_map_lookup_elem;
		if (!in_array)
			r0->flags = REG_NULLABLE;
		/* Locks are told apart by it. */
		if (!in_array || (c->map->fields && c->map->fields->lock))
			r0->id = ++v->ids;
		if (c->h->id == BPF_FUNC_map_lookup_elem)
			note_key(v, in_array, c->key);
		return 0;
	case RET_CPU_VAR:
	case RET_CPU_VAR_OR_NULL:
		return vtyped_cpu(v, &c->var, r0, c->h->ret == RET_CPU_VAR_OR_NULL);
	case RET_KPTR_OBJ_OR_NULL:
		return vkptr_result(v, c->kptr, r0);
	case RET_TASK:
		return vtyped_kernel(v, r0, "task_struct", REG_TRUSTED | REG_RDONLY);
	case RET_PT_REGS:
		return vtyped_kernel(v, r0, "pt_regs", REG_TRUSTED | REG_RDONLY);
	case RET_SOCK_OR_NULL:
	case RET_SOCK_COMMON_OR_NULL:
	case RET_TCP_SOCK_OR_NULL:
	case RET_KERNEL_SOCK_OR_NULL:
		return sock_result(v, c, r0);
	case RET_SLICE_OR_NULL:
		reg_pointer(r0, REG_MEM);
		r0->flags = REG_NULLABLE | REG_BORROWED;
		r0->size = (u32)c->alloc_size;
		r0->id = ++v->ids;
		r0->ref = c->slice;
		return 0;
	case RET_ALLOC_MEM_OR_NULL:
		reg_pointer(r0, REG_MEM);
		r0->flags = REG_NULLABLE | REG_RINGBUF;
		r0->size = (u32)c->alloc_size;
		r0->id = ++v->ids;
		return c->h->flags & HELPER_ACQUIRES ? state_add_ref(v, v->cur, v->insn, &r0->ref) : 0;
	}
	reg_unknown(r0);
	switch (c->h->id) {
	case BPF_FUNC_get_smp_processor_id:
		r0->n = num_urange(0, map_cpus() - 1);
		break;
	case BPF_FUNC_get_stack: /* an error, or the bytes written: at most as many as there was room for */
	case BPF_FUNC_get_task_stack:
	case BPF_FUNC_probe_read_str:
	case BPF_FUNC_probe_read_user_str:
	case BPF_FUNC_probe_read_kernel_str:
		r0->n = num_srange(-4095, (s64)c->max_size);
		break;
	}
	return 0;
}

/*
 * A function that was called may return here, by no instruction of its own: a path that goes on at an exit of it, with
 * `r0`.
 */
int vcall_may_return(struct verifier *v, const char *what, struct num r0, struct state **path)
{
	const struct prog_func *fn = &v->p->funcs[state_frame(v->cur)->func];
	struct reg *reg;
	u32 i;
	int err;

	for (i = fn->start; i < fn->end; i += isa_slots(&v->insns[i]))
		if (isa_ops[v->insns[i].code].kind == ISA_EXIT)
			break;
	if (i >= fn->end)
		return refuse(v, -EINVAL, "let the function return", "%s from a function that never exits", what);
	err = vwalk_push(v, i, path);
	if (err)
		return err;
	reg = &state_frame(*path)->regs[0];
	reg_unknown(reg);
	reg->n = r0;
	return 0;
}

/*
 * A tail call from a function that was called: when it goes well, another program ran in its place and
 * comes back to the caller, with any result, and may have moved the packet.
 */
static int tail_called(struct verifier *v)
{
	const struct frame *f = state_frame(v->cur);
	struct state *back;
	int err;

	if (v->cur->nframes == 1)
		return 0;
	/* Helpers that call back look at no more than whether it is zero. */
	err = vcall_may_return(v, "tail_call", f->callback ? num_urange(0, (u64)f->ret_max) : num_unknown(), &back);
	if (!err)
		vcall_forget_packet(v, back);
	return err;
}

static int tail_call(struct verifier *v)
{
	const struct reg *index = cur_reg(v, 3);
	int err = vcall_refs_released(v, "tail_call");

	if (!err)
		err = vcall_locks_released(v, "tail_call");

	if (err)
		return err;
	if (v->p->sig)
		return refuse(v, -EINVAL, "return instead",
			      "tail_call from a program that is called as a C function");
	v->p->funcs[state_frame(v->cur)->func].has_tail_call = true;
	if (reg_is_const(index))
		vprecise_reg(v, index);
	/* The helper looks at the lower 32 bits. */
	note_key(v, reg_is_const(index), (u32)index->n.bits.value);
	return tail_called(v);
}

int vcall_helper(struct verifier *v, const struct bpf_insn *insn)
{
	struct call c = { 0 };
	u32 r;
	int err = find_helper(v, (u32)insn->imm, &c.h);

	if (!err)
		err = vlock_check_call(v, (u32)insn->imm);

	for (r = 1; r <= 5 && !err && c.h->args[r - 1] != ARG_NONE; r++)
		err = arg(v, &c, r);
	if (!err && c.h->flags & HELPER_TAIL_CALL)
		err = tail_call(v);
	if (err)
		return err;
	note_map(v, &c);
	note_registers(v, c.h->id);
	if (c.h->flags & HELPER_RELEASES && !c.release)
		return refuse_internal(v, "releasing helper without a reference");
	if (c.release)
		vcall_release(v, c.release);
	if (c.h->flags & HELPER_CALLS_BACK) {
		err = vcallback_call(v, c.h->id, c.map_index);
		if (err)
			return err;
	}
	if (c.h->flags & HELPER_MOVES_PACKET)
		vcall_forget_packet(v, v->cur);
	vcall_clobber(v);
	return set_result(v, &c);
}

/* ---- functions of the program ----------------------------------------------------------------- */

int vcall_func(struct verifier *v, const struct bpf_insn *insn)
{
	s64 target = (s64)v->insn + 1 + insn->imm;
	struct frame *caller, *callee;
	u32 r;
	int err;

	if (vglobal_is(v, v->aux[target].func))
		return vglobal_call(v, v->aux[target].func);
	if (v->cur->nframes == ISA_MAX_FRAMES)
		return refuse(v, -E2BIG, "at most 8 functions may be active at once",
			      "the call stack of %u frames is too deep", v->cur->nframes + 1u);
	err = state_push_frame(v, v->cur, v->aux[target].func, v->insn);
	if (err)
		return err;
	callee = state_frame(v->cur);
	/* It was the top one, and so not shared. */
	caller = (struct frame *)v->cur->frames[v->cur->nframes - 2];
	for (r = 1; r <= 5; r++)
		callee->regs[r] = caller->regs[r];
	for (r = 0; r <= 5; r++)
		reg_none(&caller->regs[r]);
	v->next = (u32)target;
	return 0;
}

static int return_value(struct verifier *v)
{
	struct reg *r0 = cur_reg(v, 0);
	s32 min, max;
	int err;

	if (v->cur->frames[0]->func)
		return vglobal_result(v);
	if (v->p->sig)
		return ventry_result(v);
	err = vcall_read_ok(v, 0);
	if (err)
		return err;
	if (vsecret(v, r0))
		return refuse(v, -EACCES, "return a number", "R0 leaks addr as return value");
	if (!prog_type_ret(v->type, v->p->attach_type, &min, &max))
		return 0;
	if (r0->type != REG_SCALAR)
		return refuse(v, -EINVAL, "return a number",
			      "At program exit the register R0 is not a known value (%s)",
			      reg_type_name(r0));
	vprecise_reg(v, r0);
	if (r0->n.smin >= min && r0->n.smax <= max)
		return 0;
	return refuse(v, -EINVAL, "return one of the values that the program type knows",
		      "At program exit the register R0 has smin=%lld smax=%lld should have been in [%d, %d]",
		      (long long)r0->n.smin, (long long)r0->n.smax, min, max);
}

int vcall_exit(struct verifier *v)
{
	struct frame *callee = state_frame(v->cur);
	struct reg r0 = callee->regs[0];
	u32 site = callee->callsite;
	int err;

	if (callee->callback)
		return vcallback_return(v);
	if (v->cur->nframes > 1) {
		if (r0.type == REG_STACK)
			return refuse(v, -EINVAL, "let the caller give the memory",
				      "cannot return stack pointer to the caller");
		err = state_pop_frame(v, v->cur);
		if (err)
			return err;
		*cur_reg(v, 0) = r0;
		v->next = site + 1;
		return 0;
	}
	err = vcall_refs_released(v, NULL);
	if (!err)
		err = vcall_locks_released(v, "BPF_EXIT instruction in main prog");
	if (!err)
		err = return_value(v);
	v->path_end = true;
	return err;
}
