/* SPDX-License-Identifier: MIT */
/*
 * The walk over all paths, depth first: one instruction after the other on the current state, the
 * other side of each undecided branch kept for later.
 */
#include <errno.h>
#include <string.h>

#include "verify/verify_int.h"

int vwalk_push(struct verifier *v, u32 insn, struct state **branch)
{
	struct pending *p;
	struct state *s;

	if (v->npending >= MAX_PENDING)
		return refuse(v, -E2BIG, "fewer branches before the code paths meet again",
			      "The sequence of %zu jumps is too complex.", v->npending);
	p = base_grow(v->pending, &v->pending_cap, v->npending + 1, sizeof(*p));
	if (!p)
		return v->error = -ENOMEM;
	v->pending = p;
	s = state_copy(v, v->cur);
	if (!s)
		return v->error;
	if (s->parent)
		s->parent->branches++;
	p[v->npending++] = (struct pending){
		.state = s,
		.insn = insn,
		.from = v->insn,
		.log_full = v->log ? v->log->full : 0,
		.ntrace = v->ntrace,
	};
	*branch = s;
	return 0;
}

/* What a path that went well has logged is of no interest at level 1. */
static void cut_log(struct verifier *v, size_t full)
{
	if (!v->log || v->level & 2 || !v->log->s)
		return;
	v->open_line = 0;
	text_cut(v->log, full);
}

/* False when no path is left. */
static bool next_path(struct verifier *v)
{
	struct pending *p;

	vprune_path_end(v, v->cur);
	state_free(v, v->cur);
	v->cur = NULL;
	if (!v->npending)
		return false;
	p = &v->pending[--v->npending];
	v->cur = p->state;
	v->insn = p->insn;
	v->prev = p->from;
	v->ntrace = p->ntrace;
	cut_log(v, p->log_full);
	vlog_path(v);
	return true;
}

static int step(struct verifier *v)
{
	const struct bpf_insn *insn = &v->insns[v->insn];
	s64 target;

	v->next = v->insn + isa_slots(insn);
	switch (isa_ops[insn->code].kind) {
	case ISA_ALU:
	case ISA_NEG:
	case ISA_END:
		return valu(v, insn);
	case ISA_LOAD:
		return vmem_load(v, insn);
	case ISA_STORE:
		return vmem_store(v, insn);
	case ISA_ATOMIC:
		return vmem_atomic(v, insn);
	case ISA_LDIMM64:
		return vmem_ldimm64(v, insn);
	case ISA_PACKET_LD:
		return vmem_packet_ld(v, insn);
	case ISA_JA:
		if (!isa_jump_target(insn, v->insn, &target))
			break;
		v->jumps++;
		v->next = (u32)target;
		return 0;
	case ISA_JCC:
		v->jumps++;
		return vbranch(v, insn);
	case ISA_CALL:
		v->jumps++;
		if (insn->src_reg == 0)
			return vcall_helper(v, insn);
		if (insn->src_reg == BPF_PSEUDO_CALL)
			return vcall_func(v, insn);
		if (insn->src_reg == BPF_PSEUDO_KFUNC_CALL)
			return vcall_native(v, insn);
		break;
	case ISA_EXIT:
		return vcall_exit(v);
	}
	return refuse(v, -EINVAL, "compile for a CPU that is known here (clang -mcpu=v3)",
		      "unknown opcode %02x", insn->code);
}

/* One instruction of the current path. Sets v->path_end when it was the last. */
static int walk_insn(struct verifier *v)
{
	u32 at = v->insn;
	int err;

	if (++v->stats.processed > (v->o->max_insns ? v->o->max_insns : VERIFY_MAX_PROCESSED))
		return refuse(v, -E2BIG, "bound the loops more tightly, or split the program",
			      "BPF program is too large. Processed %u insn", v->stats.processed);
	v->path_end = false;
	if (state_holds(v->cur))
		v->p->facts[at].held = true;
	vtrace_insn(v);
	if (v->aux[at].head)
		vcallback_arrive(v);
	if (v->aux[at].prune) {
		err = vprune(v);
		if (err < 0)
			return err;
		if (err > 0) {
			if (v->level & 2)
				vlog_line(v, "%u: safe", at);
			v->path_end = true;
			return 0;
		}
	}
	v->p->facts[at].seen = true;
	if (v->o->watch)
		v->o->watch(v->o->watch_arg, at, v->cur);
	vlog_insn(v);
	err = step(v);
	if (!err)
		err = v->error;
	if (err)
		return err;
	vlog_after(v, at);
	v->prev = at;
	v->insn = v->next;
	return 0;
}

static int walk_paths(struct verifier *v)
{
	int err;

	vlog_path(v);
	do {
		do {
			err = walk_insn(v);
			if (err)
				return err;
		} while (!v->path_end);
	} while (next_path(v));
	return v->error;
}

int vwalk(struct verifier *v)
{
	u32 i;
	int err;

	v->cur = state_new(v);
	if (!v->cur || state_push_frame(v, v->cur, 0, 0))
		return v->error;
	err = ventry(v);
	v->insn = 0;
	if (!err)
		err = walk_paths(v);
	/* Walking one may add another. */
	for (i = 0; !err;) {
		if (i < v->nlater) {
			const struct later l = v->later[i++];

			err = vcallback_start(v, &l);
		} else if (!vglobal_start(v, &err)) {
			break;
		}
		if (!err)
			err = walk_paths(v);
	}
	return err;
}
