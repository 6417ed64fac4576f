/* SPDX-License-Identifier: MIT */
/* Loads, stores and atomics: what each kind of pointer allows. The stack is in stack.c. */
#include <errno.h>
#include <string.h>

#include "verify/verify_int.h"

#define BOUND_HINT "compare the index with the size first, as unsigned number or from below too"
#define PACKET_HINT "compare the pointer plus the size with data_end first"

/* One access of an instruction. */
struct acc {
	u32 r;             /* the register with the pointer */
	s64 off;           /* of the instruction */
	u32 size;
	enum access access;
	bool sx;           /* sign-extending load */
	bool atomic;
	const struct reg *value; /* stored; NULL: some number */
	struct reg *out;   /* loaded */
};

/* ---- regions ---------------------------------------------------------------------------------- */

/* The access itself, then, in the kernel's words, which end of the register's range led there. */
static int outside(struct verifier *v, u32 r, s64 off, u64 size, u64 region, const char *what,
		   const char *which)
{
	const struct reg *reg = cur_reg(v, r);

	if (reg_is_pkt(reg)) {
		vlog_note(v, "invalid access to packet, off=%lld size=%llu, R%u(id=%u,off=%d,r=%u)",
			  (long long)off, (unsigned long long)size, r, reg->id, (int)off,
			  reg->size);
		return refuse(v, -EACCES, PACKET_HINT, "R%u offset is outside of the packet", r);
	}
	if (reg->type == REG_MAP_VALUE)
		vlog_note(v, "invalid access to map value, value_size=%llu off=%lld size=%llu",
			  (unsigned long long)region, (long long)off, (unsigned long long)size);
	else
		vlog_note(v, "invalid access to %s, mem_size=%llu off=%lld size=%llu", what,
			  (unsigned long long)region, (long long)off, (unsigned long long)size);
	return refuse(v, -EACCES, BOUND_HINT, "R%u %s is outside of the allowed memory range", r,
		      which);
}

int vmem_region(struct verifier *v, u32 r, s64 off, u64 size, u64 region, bool zero_ok,
		const char *what)
{
	const struct reg *reg = cur_reg(v, r);
	s64 lo, hi;

	off += reg->off;
	if (!size && !zero_ok)
		return outside(v, r, off, size, region, what, "min value");
	/* smin is far from the type's limits or refused: sums do not overflow. */
	if (reg->n.smin < -MAX_VAR_OFF || off + reg->n.smin < 0) {
		if (num_is_const(&reg->n))
			return outside(v, r, off + reg->n.smin, size, region, what, "min value");
		return refuse(v, -EACCES, BOUND_HINT,
			      "R%u min value is negative, either use unsigned index or do a if (index >=0) "
			      "check.", r);
	}
	lo = off + reg->n.smin;
	if ((u64)lo + size > region)
		return outside(v, r, lo, size, region, what, "min value");
	if (reg->n.smax >= MAX_VAR_OFF)
		return refuse(v, -EACCES, BOUND_HINT,
			      "R%u unbounded memory access, make sure to bounds check any such access", r);
	hi = off + reg->n.smax;
	if ((u64)hi + size > region)
		return outside(v, r, hi, size, region, what, "max value");
	return 0;
}

int vmem_packet_access(struct verifier *v, u32 r, s64 off, u64 size)
{
	const struct reg *reg = cur_reg(v, r);

	/* `size` bytes from base + n are proven, whatever n is, unless it is negative. */
	if (reg->n.smin < 0)
		return refuse(v, -EACCES, BOUND_HINT,
			      "R%u min value is negative, either use unsigned index or do a if (index >=0) "
			      "check.", r);
	off += reg->off;
	if (off < 0 || (u64)off + size > reg->size)
		return outside(v, r, off, size, reg->size, "packet", NULL);
	return 0;
}

static int check_aligned(struct verifier *v, const struct acc *a)
{
	const struct reg *reg = cur_reg(v, a->r);
	struct tnum at;

	/* Slots of the stack and fields of contexts rely on it; elsewhere the machine does not care. */
	if (a->size == 1 || !(v->o->strict_align || a->atomic || reg->type == REG_STACK))
		return 0;
	at = tnum_add(reg->n.bits, tnum_const((u64)(reg->off + a->off)));
	/* Ethernet headers are 14 bytes: the kernel places packets 2 bytes off. */
	if (reg_is_pkt(reg) && v->o->strict_align)
		at = tnum_add(at, tnum_const(2));
	if (tnum_is_aligned(at, a->size))
		return 0;
	return refuse(v, -EACCES, "access it byte by byte, or align the variable",
		      "misaligned %saccess off %d+%lld size %u",
		      reg->type == REG_STACK ? "stack " : reg_is_pkt(reg) ? "packet " : "value ", reg->off,
		      (long long)a->off, a->size);
}

static int check_leak(struct verifier *v, const struct acc *a, const char *where)
{
	if (a->access == ACCESS_READ || !a->value || !vsecret(v, a->value))
		return 0;
	return refuse(v, -EACCES, "store data, not an address", "R%u leaks addr into %s",
		      v->insns[v->insn].src_reg, where);
}

static void loaded(const struct acc *a)
{
	if (a->access == ACCESS_READ && a->out)
		reg_number(a->out, a->sx ? num_load_sx(a->size * 8) : num_load(a->size * 8));
}

/* ---- map values ------------------------------------------------------------------------------- */

/* A load from a map that never changes again, at a place known now, gives a number known now. */
static void fold(struct verifier *v, const struct acc *a, const struct map *m)
{
	const struct reg *reg = cur_reg(v, a->r);
	s64 off = a->off + reg->off;
	const u8 *p;
	u64 value = 0;

	if (a->access != ACCESS_READ || !a->out || !(m->attr.flags & BPF_F_RDONLY_PROG) ||
	    m->frozen != MAP_FROZEN || m->attr.max_entries != 1 || !num_is_const(&reg->n) || !m->ops->direct)
		return;
	off += (s64)reg->n.bits.value;
	p = m->ops->direct((struct map *)m, (u32)off);
	if (!p)
		return;
	memcpy(&value, p, a->size);
	if (a->sx)
		value = (u64)((s64)(value << (64 - 8 * a->size)) >> (64 - 8 * a->size));
	reg_const(a->out, value);
}

/* Is it the same number on every path? Then fixup.c leaves out the load. */
static void note_constant(struct verifier *v, const struct reg *out)
{
	struct insn_aux *aux = &v->aux[v->insn];

	if (!reg_is_const(out) || (aux->const_known && aux->key != (s64)out->n.bits.value)) {
		aux->const_varies = true;
		return;
	}
	aux->const_known = true;
	aux->key = (s64)out->n.bits.value;
}

static int access_map(struct verifier *v, const struct acc *a)
{
	const struct map *m = v->p->maps[cur_reg(v, a->r)->what];
	u32 flags = m->attr.flags;
	int err;

	if (a->access == ACCESS_WRITE ? flags & BPF_F_RDONLY_PROG : flags & BPF_F_WRONLY_PROG)
		return refuse(v, -EACCES,
			      "the map's flags (BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG) say how "
			      "programs may use it",
			      "%s map forbidden, value_size=%u off=%lld size=%u",
			      a->access == ACCESS_WRITE ? "write into" : "read from",
			      m->attr.value_size, (long long)a->off + cur_reg(v, a->r)->off,
			      a->size);
	err = vmem_region(v, a->r, a->off, a->size, m->attr.value_size, false, "map value");
	if (!err && m->fields && m->fields->nkptrs) {
		const struct kptr_access k = { a->r, a->size, a->off, a->access, a->atomic, a->value, a->out };

		err = vkptr_access(v, &k);
		if (err)
			return err < 0 ? err : 0;
	}
	if (!err)
		err = check_leak(v, a, "map");
	if (!err)
		err = vlock_check_access(v, cur_reg(v, a->r), a->off, a->size);
	if (err)
		return err;
	loaded(a);
	return 0;
}

/* ---- contexts --------------------------------------------------------------------------------- */

static int bad_context(struct verifier *v, const struct acc *a, s64 off)
{
	return refuse(v, -EACCES, "this field, size or direction is not allowed for the program type",
		      "invalid bpf_context access off=%lld size=%u", (long long)off, a->size);
}

/* An instruction is rewritten for one field of the context, so it must always mean that. */
static int access_field(struct verifier *v, const struct acc *a, s64 off)
{
	const struct ctx_field *f;
	static const u8 types[] = { REG_SCALAR, REG_PKT, REG_PKT_END, REG_PKT_META, REG_SOCK, REG_SOCK,
				    REG_SOCK };

	f = off >= 0 && off <= UINT16_MAX ?
		    prog_type_field(v->type, v->p->attach_type, (u32)off, a->size,
				    a->access == ACCESS_WRITE) : NULL;
	if (!f || (f->kind != CTX_SCALAR && (a->sx || a->access == ACCESS_WRITE)))
		return bad_context(v, a, off);
	v->aux[v->insn].field = f;
	if (!a->out)
		return 0;
	if (f->kind == CTX_SCALAR)
		loaded(a);
	else
		reg_pointer(a->out, types[f->kind]);
	if (f->kind == CTX_SOCK_OR_NULL || f->kind == CTX_SOCK_COMMON_OR_NULL) {
		a->out->flags = REG_NULLABLE;
		a->out->id = ++v->ids;
		a->out->what = f->kind == CTX_SOCK_COMMON_OR_NULL;
	}
	return 0;
}

/* A context that is a function's arguments, as the kernel's btf_ctx_access() has them. */
static int access_arg(struct verifier *v, const struct acc *a, s64 off)
{
	const struct prog_args *args = &v->p->args;
	const struct btf_type *proto = btf__type_by_id(args->btf, args->proto), *t;
	const char *name = args->name ? args->name : "";
	u32 n = (u32)off / 8, nargs, id, flags = 0, kind;

	if (!proto || !btf_is_func_proto(proto))
		return refuse_internal(v, "arguments without a prototype");
	if (off % 8)
		return refuse(v, -EACCES, "each argument is read at its start, 8 bytes apart",
			      "func '%s' offset %lld is not multiple of 8", name, (long long)off);
	nargs = (u32)btf_vlen(proto) - args->skip;
	if (n >= nargs + (args->with_ret && proto->type))
		return refuse(v, -EACCES, "the function has fewer arguments",
			      "func '%s' doesn't have %u-th argument", name, n + 1);
	id = n == nargs ? proto->type : btf_params(proto)[n + args->skip].type;
	t = fbtf_strip(args->btf, id, &id);
	if (!t || !btf_is_ptr(t) || !a->out)
		goto number;
	kind = args->kinds && n < nargs ? args->kinds[n] : CTX_ARG_TYPED;
	if (kind >= CTX_ARG_RDONLY_BUFFER && a->size == 8) {
		ventry_buffer(v, a->out, kind == CTX_ARG_RDONLY_BUFFER);
		return 0;
	}
	id = t->type;
	if (!fbtf_is_const(args->btf, id) && args->writable)
		flags = args->trusted ? REG_TRUSTED : 0;
	else
		flags = REG_RDONLY | (args->trusted ? REG_TRUSTED : 0);
	if (args->nullable || kind == CTX_ARG_NULLABLE)
		flags |= REG_NULLABLE;
	t = fbtf_strip(args->btf, id, NULL);
	if (!t || !btf_is_composite(t))
		goto number;
	if (a->size != 8)
		return refuse(v, -EACCES, "read the whole pointer", "func '%s' size %u must be 8", name,
			      a->size);
	return vtyped_make(v, a->out, args->btf, id, flags);
number:
	loaded(a);
	return 0;
}

static int access_ctx(struct verifier *v, const struct acc *a)
{
	const struct reg *reg = cur_reg(v, a->r);
	s64 off = a->off + reg->off;
	int err;

	if (a->atomic)
		return refuse(v, -EACCES,
			      "atomics work on map values and the stack: load, change and store "
			      "the field",
			      "BPF_ATOMIC stores into R%u ctx is not allowed", a->r);
	if (!num_is_const(&reg->n) || reg->n.bits.value)
		return refuse(v, -EACCES, "access the context at constant offsets",
			      "variable ctx access var_off off=%lld size=%u", (long long)off, a->size);
	if (reg->off && v->type->fields)
		return refuse(v, -EACCES, "use the context pointer as it was given",
			      "dereference of modified ctx ptr R%u off=%d disallowed", a->r, reg->off);
	err = check_leak(v, a, "ctx");
	if (err)
		return err;
	if (v->type->fields)
		return access_field(v, a, off);
	if (off < v->type->raw_start || off + a->size > v->type->raw_end || off % a->size ||
	    (a->access == ACCESS_WRITE && !v->type->raw_writable))
		return bad_context(v, a, off);
	if (off + a->size > v->p->max_ctx_off)
		v->p->max_ctx_off = (u32)(off + a->size);
	if (v->p->args.btf)
		return access_arg(v, a, off);
	loaded(a);
	return 0;
}

/* ---- the rest --------------------------------------------------------------------------------- */

static int access_packet(struct verifier *v, const struct acc *a)
{
	int err;

	if (a->atomic)
		return refuse(v, -EACCES,
			      "atomics work on map values and the stack: load, change and store "
			      "the bytes",
			      "BPF_ATOMIC stores into R%u %s is not allowed", a->r,
			      reg_type_name(cur_reg(v, a->r)));
	if (a->access == ACCESS_WRITE && !v->type->direct_write)
		return refuse(v, -EACCES,
			      "programs of this type only read packets: use a helper such as "
			      "bpf_skb_store_bytes",
			      "cannot write into packet");
	err = check_leak(v, a, "packet");
	if (!err)
		err = vmem_packet_access(v, a->r, a->off, a->size);
	if (!err)
		loaded(a);
	return err;
}

static int access_mem(struct verifier *v, const struct acc *a)
{
	const struct reg *reg = cur_reg(v, a->r);
	int err;

	if (a->access == ACCESS_WRITE && reg->flags & REG_RDONLY)
		return refuse(v, -EACCES, "this memory is read-only: change a copy",
			      "R%u cannot write into %s", a->r, reg_type_name(reg));
	err = check_leak(v, a, "mem");
	if (!err)
		err = ventry_place(v, a->r);
	if (!err)
		err = vmem_region(v, a->r, a->off, a->size, reg->size, false, "memory");
	if (!err)
		ventry_touch(v, reg, a->off, a->size, a->access);
	if (!err)
		loaded(a);
	return err;
}

static int access_stack(struct verifier *v, const struct acc *a)
{
	struct reg scratch;

	if (a->access == ACCESS_WRITE)
		return vstack_write(v, a->r, a->off, a->size, a->value);
	return vstack_read(v, a->r, a->off, a->size, a->sx, a->out ? a->out : &scratch);
}

static int access_typed(struct verifier *v, const struct acc *a)
{
	int err;

	if (a->atomic)
		return refuse(v, -EACCES, "what it points to is the host's: only a native function can",
			      "BPF_ATOMIC stores into R%u %s is not allowed", a->r,
			      reg_type_name(cur_reg(v, a->r)));
	if (a->access == ACCESS_WRITE)
		return vtyped_store(v, a->r, a->off, a->size, a->value);
	err = vtyped_load(v, a->r, a->off, a->size, a->out);
	if (!err && a->out->type == REG_SCALAR)
		loaded(a);
	return err;
}

/* Whoever runs the program gave the pointer, so the load may fault as any typed one. */
static int access_sock(struct verifier *v, const struct acc *a)
{
	const struct reg *reg = cur_reg(v, a->r);
	s64 off = a->off + reg->off;

	if (a->access == ACCESS_WRITE || a->atomic)
		return refuse(v, -EACCES, "sockets are read only", "R%u cannot write into %s", a->r,
			      reg_type_name(reg));
	if (off < 0 || off > UINT16_MAX || a->sx || !prog_sock_field(reg->what, (u32)off, a->size))
		return refuse(v, -EACCES, "this field or size is not one of struct bpf_sock, or only of full "
			      "sockets", "R%u invalid %s access off=%lld size=%u", a->r, reg_type_name(reg),
			      (long long)off, a->size);
	v->aux[v->insn].probe = true;
	loaded(a);
	return 0;
}

/* May an instruction meet both kinds of pointers, on different paths? */
static bool may_share(u8 a, u8 b)
{
	/* Contexts are rewritten; a load that may fault does for memory too. */
	if (a == REG_SOCK || b == REG_SOCK)
		return false;
	if (a == REG_BTF || b == REG_BTF)
		return a == REG_MEM || b == REG_MEM;
	return a != REG_CTX && b != REG_CTX;
}

static int access_memory(struct verifier *v, const struct acc *a)
{
	const struct reg *reg = cur_reg(v, a->r);
	struct insn_aux *aux = &v->aux[v->insn];
	int err;

	if (reg->flags & REG_NULLABLE)
		return refuse(v, -EACCES, "compare it with NULL before using it",
			      "R%u invalid mem access '%s'", a->r, reg_type_name(reg));
	err = check_aligned(v, a);
	if (err)
		return err;
	if (aux->ptr_type && aux->ptr_type != reg->type && !may_share(aux->ptr_type, reg->type))
		return refuse(v, -EINVAL, "split the code so that each load has one kind of pointer",
			      "same insn cannot be used with different pointers");
	aux->ptr_type = reg->type;
	switch (reg->type) {
	case REG_STACK:
		return access_stack(v, a);
	case REG_MAP_VALUE:
		return access_map(v, a);
	case REG_CTX:
		return access_ctx(v, a);
	case REG_PKT:
	case REG_PKT_META:
		return access_packet(v, a);
	case REG_MEM:
		return access_mem(v, a);
	case REG_SOCK:
		return access_sock(v, a);
	case REG_BTF:
		return access_typed(v, a);
	}
	return refuse(
		v, -EACCES,
		reg->type == REG_SCALAR
			? "it is a number here: only pointers the verifier knows can be followed"
			: "look an element up and access that: this pointer stands for the whole "
			  "object",
		"R%u invalid mem access '%s'", a->r, reg_type_name(reg));
}

/* ---- instructions ----------------------------------------------------------------------------- */

int vmem_load(struct verifier *v, const struct bpf_insn *insn)
{
	struct reg out;
	struct acc a = { .r = insn->src_reg, .off = insn->off, .size = isa_ops[insn->code].width,
			 .sx = BPF_MODE(insn->code) == BPF_MEMSX, .out = &out };
	int err = vcall_read_ok(v, a.r);

	if (!err)
		err = access_memory(v, &a);
	if (err)
		return err;
	if (cur_reg(v, a.r)->type == REG_MAP_VALUE) {
		fold(v, &a, v->p->maps[cur_reg(v, a.r)->what]);
		note_constant(v, &out);
	} else {
		v->aux[v->insn].const_varies = true;
	}
	*cur_reg(v, insn->dst_reg) = out;
	return 0;
}

/* What goes to the stack is a copy: a check of one holds for the other. */
static void link_spill(struct verifier *v, const struct acc *a, u32 src)
{
	struct reg *value = cur_reg(v, src);

	if (cur_reg(v, a->r)->type == REG_STACK && value->type == REG_SCALAR && !value->id &&
	    !num_is_const(&value->n))
		value->id = ++v->ids;
}

int vmem_store(struct verifier *v, const struct bpf_insn *insn)
{
	struct acc a = { .r = insn->dst_reg, .off = insn->off, .size = isa_ops[insn->code].width,
			 .access = ACCESS_WRITE };
	struct reg imm, value;
	int err = vcall_read_ok(v, a.r);

	if (BPF_CLASS(insn->code) == BPF_STX) {
		if (!err)
			err = vcall_read_ok(v, insn->src_reg);
		link_spill(v, &a, insn->src_reg);
		/* A copy: the value may be in the register whose state the store reads. */
		value = *cur_reg(v, insn->src_reg);
		a.value = &value;
	} else {
		reg_const(&imm, (u64)(s64)insn->imm);
		a.value = &imm;
	}
	return err ? err : access_memory(v, &a);
}

int vmem_atomic(struct verifier *v, const struct bpf_insn *insn)
{
	struct reg old;
	struct acc a = { .r = insn->dst_reg, .off = insn->off, .size = isa_ops[insn->code].width,
			 .atomic = true };
	bool cmpxchg = insn->imm == BPF_CMPXCHG;
	int err = vcall_read_ok(v, insn->src_reg);

	if (!err)
		err = vcall_read_ok(v, a.r);
	if (!err && cmpxchg)
		err = vcall_read_ok(v, 0);
	if (err)
		return err;
	if (vsecret(v, cur_reg(v, insn->src_reg)) || (cmpxchg && vsecret(v, cur_reg(v, 0))))
		return refuse(v, -EACCES, "store data, not an address", "R%u leaks addr into mem",
			      insn->src_reg);
	a.out = &old;
	err = access_memory(v, &a);
	if (err)
		return err;
	if (vsecret(v, &old))
		return refuse(v, -EACCES, "use another stack variable for the counter",
			      "R%u atomic operation on a spilled pointer", a.r);
	a.out = NULL;
	a.access = ACCESS_WRITE;
	err = access_memory(v, &a);
	if (err)
		return err;
	if (old.type != REG_SCALAR)
		reg_unknown(&old);
	if (cmpxchg || insn->imm & BPF_FETCH)
		*cur_reg(v, cmpxchg ? 0 : insn->src_reg) = old;
	return 0;
}

int vmem_ldimm64(struct verifier *v, const struct bpf_insn *insn)
{
	struct reg *dst = cur_reg(v, insn->dst_reg);
	u32 hi = (u32)insn[1].imm;
	struct map *m;

	if (insn->src_reg == 0) {
		reg_const(dst, (u64)hi << 32 | (u32)insn->imm);
		return 0;
	}
	if (insn->src_reg == BPF_PSEUDO_FUNC)
		return vcallback_ldimm64(v, insn);
	if (insn->src_reg == BPF_PSEUDO_BTF_ID)
		return vtyped_sym(v, insn);
	if (insn->src_reg != BPF_PSEUDO_MAP_FD && insn->src_reg != BPF_PSEUDO_MAP_VALUE)
		return refuse(v, -EINVAL,
			      "load the object with libbpf, which fills in what src_reg stands for",
			      "unrecognized bpf_ld_imm64 insn");
	m = v->p->maps[insn->imm]; /* it is there: check_maps() */
	if (insn->src_reg == BPF_PSEUDO_MAP_FD) {
		reg_pointer(dst, REG_MAP);
	} else {
		if (!m->ops->direct || m->attr.max_entries != 1 || hi >= m->attr.value_size ||
		    !m->ops->direct(m, hi))
			return refuse(v, -EINVAL, "only array maps of one element have addresses",
				      "invalid access to map value pointer, value_size=%u off=%u",
				      m->attr.value_size, hi);
		reg_pointer(dst, REG_MAP_VALUE);
		dst->off = (s32)hi;
	}
	dst->what = (u16)insn->imm;
	return 0;
}

/* A function that ends by such a load returns 0: its callers have to be prepared for a number. */
static int check_returns_int(struct verifier *v, u32 func)
{
	u32 id = v->p->funcs[func].btf_id;
	const struct btf_type *t = v->p->btf && id ? btf__type_by_id(v->p->btf, id) : NULL;

	t = t && btf_is_func(t) ? btf__type_by_id(v->p->btf, t->type) : NULL;
	if (!t || !btf_is_func_proto(t))
		return refuse(v, -EINVAL, "compile with -g, or load from the packet in the main program",
			      "LD_ABS is not allowed in subprograms without BTF");
	t = fbtf_strip(v->p->btf, t->type, NULL);
	if (!t || (!btf_is_any_enum(t) && (!btf_is_int(t) || t->size > 8)))
		return refuse(v, -EINVAL, "let it return an int", "LD_ABS is only allowed in functions that return 'int'");
	return 0;
}

/* LD_ABS and LD_IND: a load from the packet in r6's context, or the end of the function, which then returns 0. */
int vmem_packet_ld(struct verifier *v, const struct bpf_insn *insn)
{
	bool ind = BPF_MODE(insn->code) == BPF_IND;
	u32 func = state_frame(v->cur)->func;
	struct state *outside;
	int err;

	if (!v->type->legacy_packet)
		return refuse(v, -EINVAL, "use direct packet access",
			      "BPF_LD_[ABS|IND] instructions not allowed for this program type");
	err = func ? check_returns_int(v, func) : 0;
	if (!err)
		err = vcall_refs_released(v, "BPF_LD_[ABS|IND]");
	if (!err)
		err = vcall_locks_released(v, "BPF_LD_[ABS|IND]");
	if (!err)
		err = vcall_read_ok(v, 6);
	if (!err && ind)
		err = vcall_read_ok(v, insn->src_reg);
	if (err)
		return err;
	if (cur_reg(v, 6)->type != REG_CTX || cur_reg(v, 6)->off || !num_is_const(&cur_reg(v, 6)->n) ||
	    cur_reg(v, 6)->n.bits.value)
		return refuse(v, -EINVAL, "keep the context in r6",
			      "at the time of BPF_LD_ABS|IND R6 != pointer to skb");
	if (ind && cur_reg(v, insn->src_reg)->type != REG_SCALAR)
		return refuse(v, -EACCES, "index the packet with a number", "R%u is not a number",
			      insn->src_reg);
	vcall_clobber(v);
	if (v->cur->nframes > 1)
		err = vcall_may_return(v, "BPF_LD_[ABS|IND]", num_const(0), &outside);
	reg_number(cur_reg(v, 0), num_load(isa_ops[insn->code].width * 8));
	return err;
}

/* ---- arguments -------------------------------------------------------------------------------- */

int vmem_arg(struct verifier *v, u32 r, u64 size, enum access access, bool uninit)
{
	const struct reg *reg = cur_reg(v, r);
	const struct map *m;
	s64 off;
	int err;

	if (reg->flags & REG_NULLABLE)
		goto wrong;
	switch (reg->type) {
	case REG_STACK:
		return vstack_arg(v, r, size, access, uninit);
	case REG_PKT:
	case REG_PKT_META:
		if (access == ACCESS_WRITE && !v->type->direct_write)
			return refuse(v, -EACCES,
				      "programs of this type only read packets: use a helper such "
				      "as bpf_skb_store_bytes",
				      "cannot write into packet");
		return vmem_packet_access(v, r, 0, size);
	case REG_MAP_VALUE:
		m = v->p->maps[reg->what];
		if (m->attr.flags & (access == ACCESS_WRITE ? BPF_F_RDONLY_PROG : BPF_F_WRONLY_PROG))
			return refuse(v, -EACCES,
				      "the map's flags (BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG) say "
				      "how programs may use it",
				      "%s map forbidden, value_size=%u off=%d size=%llu",
				      access == ACCESS_WRITE ? "write into" : "read from",
				      m->attr.value_size, reg->off, (unsigned long long)size);
		err = vmem_region(v, r, 0, size, m->attr.value_size, true, "map value");
		if (!err)
			err = vlock_check_access(v, reg, 0, size);
		return err ? err : vkptr_untouched(v, reg, 0, size);
	case REG_MEM:
		if (access == ACCESS_WRITE && reg->flags & REG_RDONLY)
			return refuse(v, -EACCES, "this memory is read-only: change a copy",
				      "R%u cannot write into %s", r, reg_type_name(reg));
		err = ventry_place(v, r);
		if (err)
			return err;
		ventry_touch(v, reg, 0, size, access);
		return vmem_region(v, r, 0, size, reg->size, true, "memory");
	case REG_BTF:
		if (reg->flags & REG_TRUSTED)
			return vtyped_arg(v, r, size, access);
		break;
	case REG_CTX:
		/* Raw contexts are plain memory. */
		off = reg->off;
		if (v->type->fields || !num_is_const(&reg->n) || reg->n.bits.value ||
		    off < v->type->raw_start || (u64)off + size > v->type->raw_end ||
		    (access == ACCESS_WRITE && !v->type->raw_writable))
			break;
		if ((u64)off + size > v->p->max_ctx_off)
			v->p->max_ctx_off = (u32)((u64)off + size);
		return 0;
	}
wrong:
	return refuse(v, -EACCES, "pass stack, a map value, packet data or memory of a helper",
		      "R%u type=%s expected=fp, pkt, pkt_meta, map_value, mem, ringbuf_mem", r,
		      reg_type_name(reg));
}
