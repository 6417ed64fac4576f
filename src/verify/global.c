/* SPDX-License-Identifier: MIT */
/*
 * Global functions: verified once, by their prototype, for any arguments that match it. A call then
 * proves that its arguments do, and learns nothing of the result. The rules are those of the kernel's
 * btf_prepare_func_args() and btf_check_func_arg_match().
 */
#include <errno.h>
#include <string.h>

#include "verify/verify_int.h"

enum global_arg { GLOBAL_NUMBER, GLOBAL_CTX, GLOBAL_MEM };

struct global_args {
	const char *name;
	u32 n;
	bool ret_void;
	struct {
		u8 kind; /* enum global_arg */
		bool nonnull;
		u32 size;
	} args[5];
};

enum { TAG_CTX = 1, TAG_NONNULL = 2, TAG_NULLABLE = 4 };

/* What the context is called in C, by the kernel's names. */
static const char *const ctx_names[][2] = {
	[BPF_PROG_TYPE_SOCKET_FILTER] = { "__sk_buff" },
	[BPF_PROG_TYPE_KPROBE] = { "bpf_user_pt_regs_t", "pt_regs" },
	[BPF_PROG_TYPE_SCHED_CLS] = { "__sk_buff" },
	[BPF_PROG_TYPE_SCHED_ACT] = { "__sk_buff" },
	[BPF_PROG_TYPE_XDP] = { "xdp_md" },
	[BPF_PROG_TYPE_PERF_EVENT] = { "bpf_perf_event_data" },
	[BPF_PROG_TYPE_CGROUP_SKB] = { "__sk_buff" },
	[BPF_PROG_TYPE_CGROUP_SOCK] = { "bpf_sock" },
	[BPF_PROG_TYPE_CGROUP_SOCK_ADDR] = { "bpf_sock_addr" },
	[BPF_PROG_TYPE_RAW_TRACEPOINT] = { "bpf_raw_tracepoint_args" },
	[BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE] = { "bpf_raw_tracepoint_args" },
	[BPF_PROG_TYPE_CGROUP_SYSCTL] = { "bpf_sysctl" },
	[BPF_PROG_TYPE_CGROUP_SOCKOPT] = { "bpf_sockopt" },
	[BPF_PROG_TYPE_SK_SKB] = { "__sk_buff" },
	[BPF_PROG_TYPE_SK_MSG] = { "sk_msg_md" },
	[BPF_PROG_TYPE_SK_LOOKUP] = { "bpf_sk_lookup" },
};

bool vglobal_is(const struct verifier *v, u32 func)
{
	u32 id = v->p->funcs[func].btf_id;
	const struct btf_type *t = v->p->btf && id ? btf__type_by_id(v->p->btf, id) : NULL;

	return func && t && btf_is_func(t) && btf_vlen(t) == BTF_FUNC_GLOBAL;
}

/* ---- prototypes ------------------------------------------------------------------------------- */

static bool is_ctx(const struct verifier *v, const struct btf_type *ptr)
{
	const struct btf *btf = v->p->btf;
	const char *name;
	u32 id = ptr->type, depth, i;

	if (v->p->type >= ARRAY_SIZE(ctx_names))
		return false;
	/* A typedef's name counts as well. */
	for (depth = 0; depth < 32; depth++) {
		const struct btf_type *t = btf__type_by_id(btf, id);

		if (!t)
			return false;
		name = fbtf_name(btf, t->name_off);
		for (i = 0; i < 2; i++)
			if (ctx_names[v->p->type][i] && (btf_is_typedef(t) || btf_is_struct(t)) &&
			    !strcmp(name, ctx_names[v->p->type][i]))
				return true;
		if (!btf_is_mod(t) && !btf_is_typedef(t))
			return false;
		id = t->type;
	}
	return false;
}

/* Declaration tags of parameter `arg`: __arg_ctx and so on of libbpf. */
static int tags_of(struct verifier *v, u32 func_id, u32 arg, u32 *tags)
{
	const struct btf *btf = v->p->btf;
	u32 id, n = btf__type_cnt(btf);

	*tags = 0;
	for (id = 1; id < n; id++) {
		const struct btf_type *t = btf__type_by_id(btf, id);
		const char *tag;

		if (!btf_is_decl_tag(t) || t->type != func_id ||
		    btf_decl_tag(t)->component_idx != (s32)arg)
			continue;
		tag = fbtf_name(btf, t->name_off);
		if (strncmp(tag, "arg:", 4))
			continue;
		if (!strcmp(tag, "arg:ctx"))
			*tags |= TAG_CTX;
		else if (!strcmp(tag, "arg:nonnull"))
			*tags |= TAG_NONNULL;
		else if (!strcmp(tag, "arg:nullable"))
			*tags |= TAG_NULLABLE;
		else
			return refuse(v, -EOPNOTSUPP, "there are __arg_ctx, __arg_nonnull and __arg_nullable",
				      "arg#%u has unsupported tag '%s'", arg, tag);
	}
	return 0;
}

static int pointer_arg(struct verifier *v, struct global_args *g, u32 i, const struct btf_type *t,
		       u32 tags)
{
	s64 size;

	if (tags & TAG_CTX || is_ctx(v, t)) {
		if (tags & ~(u32)TAG_CTX)
			return refuse(v, -EINVAL, "a context is never NULL",
				      "arg#%u has invalid combination of tags", i);
		g->args[i].kind = GLOBAL_CTX;
		return 0;
	}
	size = fbtf_size(v->p->btf, t->type);
	if (size <= 0 || size >= MAX_VAR_SIZE)
		return refuse(v, -EINVAL, "take a pointer to a struct, or an integer",
			      "arg#%u reference type size cannot be determined", i);
	g->args[i].kind = GLOBAL_MEM;
	g->args[i].size = (u32)size;
	g->args[i].nonnull = tags & TAG_NONNULL;
	return 0;
}

static int parse(struct verifier *v, u32 func, struct global_args *g)
{
	const struct btf *btf = v->p->btf;
	u32 id = v->p->funcs[func].btf_id, i, tags;
	const struct btf_type *t = btf__type_by_id(btf, id), *proto, *r;
	int err;

	memset(g, 0, sizeof(*g));
	g->name = fbtf_name(btf, t->name_off);
	proto = btf__type_by_id(btf, t->type);
	if (!proto || !btf_is_func_proto(proto))
		return refuse_internal(v, "function without a prototype");
	g->n = btf_vlen(proto);
	if (g->n > 5)
		return refuse(v, -EINVAL, "pass a pointer to a struct",
			      "Global function %s() with %u > 5 args. Buggy compiler.", g->name, g->n);
	r = fbtf_strip(btf, proto->type, NULL);
	g->ret_void = !proto->type || !r;
	if (r && !btf_is_int(r) && !btf_is_any_enum(r))
		return refuse(v, -EINVAL, "return a number, or declare the function static",
			      "Global function %s() return value not void or scalar. Only those are supported.",
			      g->name);
	for (i = 0; i < g->n; i++) {
		err = tags_of(v, id, i, &tags);
		if (err)
			return err;
		t = fbtf_strip(btf, btf_params(proto)[i].type, NULL);
		if (t && btf_is_ptr(t)) {
			err = pointer_arg(v, g, i, t, tags);
			if (err)
				return err;
			continue;
		}
		if (tags)
			return refuse(v, -EINVAL, "only pointers have such tags",
				      "arg#%u has pointer tag, but is not a pointer type", i);
		if (!t || (!btf_is_int(t) && !btf_is_any_enum(t)))
			return refuse(v, -EINVAL, "pass a pointer to it, or declare the function static",
				      "Arg#%u in %s() is not supported yet.", i, g->name);
	}
	return 0;
}

/* ---- calls ------------------------------------------------------------------------------------ */

static int match_memory(struct verifier *v, u32 i, u32 size, bool nonnull)
{
	struct reg *reg = cur_reg(v, i + 1);
	u8 maybe = reg->flags & REG_NULLABLE;
	int err;

	if (reg_is_const(reg) && !reg->n.bits.value && !nonnull) {
		vprecise_reg(v, reg);
		return 0;
	}
	if (nonnull && (maybe || (reg_is_const(reg) && !reg->n.bits.value)))
		return refuse(v, -EINVAL, "compare it with NULL first", "arg#%u is expected to be non-NULL", i);
	reg->flags &= (u8)~REG_NULLABLE;
	err = vmem_arg(v, i + 1, size, ACCESS_READ, false);
	if (!err)
		err = vmem_arg(v, i + 1, size, ACCESS_WRITE, false);
	reg->flags |= maybe;
	return err;
}

static int match(struct verifier *v, const struct global_args *g)
{
	u32 i;

	for (i = 0; i < g->n; i++) {
		const struct reg *reg = cur_reg(v, i + 1);
		int err = vcall_read_ok(v, i + 1);

		if (err)
			return err;
		switch (g->args[i].kind) {
		case GLOBAL_NUMBER:
			if (reg->type != REG_SCALAR)
				return refuse(v, -EINVAL, "pass a number, or declare the function static",
					      "R%u is not a scalar", i + 1);
			break;
		case GLOBAL_CTX:
			if (reg->type != REG_CTX || reg->off || !num_is_const(&reg->n) ||
			    reg->n.bits.value)
				return refuse(v, -EINVAL, "pass the context as it was given",
					      "arg#%u expected pointer to ctx, but got %s", i,
					      reg_type_name(reg));
			break;
		case GLOBAL_MEM:
			err = match_memory(v, i, g->args[i].size, g->args[i].nonnull);
			if (err)
				return err;
		}
	}
	return 0;
}

/* May a call of the function, or of those it calls, move the packet? A tail call may do anything. */
static bool moves_packet(const struct verifier *v, u32 func, u8 *seen)
{
	const struct prog_func *f = &v->p->funcs[func];
	u32 i;

	if (seen[func])
		return false;
	seen[func] = 1;
	for (i = f->start; i < f->end; i++) {
		const struct bpf_insn *insn = &v->insns[i];
		const struct helper_proto *h;
		s64 to = (s64)i + 1 + insn->imm;

		if (isa_is_call(insn, 0)) {
			h = helper_of((u32)insn->imm);
			if (h && h->flags & (HELPER_MOVES_PACKET | HELPER_TAIL_CALL))
				return true;
		} else if (isa_is_call(insn, BPF_PSEUDO_CALL) ||
			   (isa_is_ldimm64(insn) && insn->src_reg == BPF_PSEUDO_FUNC)) {
			if (moves_packet(v, v->aux[to].func, seen))
				return true;
		}
	}
	return false;
}

int vglobal_call(struct verifier *v, u32 func)
{
	u8 seen[PROG_MAX_FUNCS] = { 0 };
	struct global_args g;
	int err = vcall_locks_released(v, "global function call");

	if (!err)
		err = parse(v, func, &g);
	if (!err)
		err = match(v, &g);
	if (err) {
		vlog_note(v, "Caller passes invalid args into func#%u", func);
		return err;
	}
	if (!v->globals[func])
		v->globals[func] = GLOBAL_CALLED;
	if (moves_packet(v, func, seen))
		vcall_forget_packet(v, v->cur);
	vcall_clobber(v);
	if (!g.ret_void)
		reg_unknown(cur_reg(v, 0));
	return 0;
}

/* ---- the function itself ---------------------------------------------------------------------- */

static void start_arg(struct verifier *v, const struct global_args *g, u32 i)
{
	struct reg *r = cur_reg(v, i + 1);

	switch (g->args[i].kind) {
	case GLOBAL_NUMBER:
		reg_unknown(r);
		break;
	case GLOBAL_CTX:
		reg_pointer(r, REG_CTX);
		break;
	case GLOBAL_MEM:
		reg_pointer(r, REG_MEM);
		r->size = g->args[i].size;
		if (g->args[i].nonnull)
			break;
		r->flags = REG_NULLABLE;
		r->id = ++v->ids;
	}
}

bool vglobal_start(struct verifier *v, int *err)
{
	struct global_args g;
	u32 func, i;

	for (func = 1; func < v->p->nfuncs && v->globals[func] != GLOBAL_CALLED; func++)
		;
	if (func == v->p->nfuncs)
		return false;
	v->globals[func] = GLOBAL_WALKED;
	v->insn = v->p->funcs[func].start;
	*err = parse(v, func, &g);
	if (*err)
		return true;
	if (v->level & 3)
		vlog_note(v, "Validating %s() func#%u...", g.name, func);
	v->cur = state_new(v);
	if (!v->cur || state_push_frame(v, v->cur, func, 0)) {
		*err = v->error;
		return true;
	}
	for (i = 0; i < g.n; i++)
		start_arg(v, &g, i);
	return true;
}

int vglobal_result(struct verifier *v)
{
	struct global_args g;
	int err = parse(v, v->cur->frames[0]->func, &g);

	if (err || g.ret_void)
		return err;
	err = vcall_read_ok(v, 0);
	if (err)
		return err;
	if (cur_reg(v, 0)->type != REG_SCALAR)
		return refuse(v, -EINVAL, "return a number",
			      "At subprogram exit the register R0 is not a scalar value (%s)",
			      reg_type_name(cur_reg(v, 0)));
	return 0;
}
