/* SPDX-License-Identifier: MIT */
/*
 * Iterators over numbers (helper/iter.c): 8 bytes of stack that are made, asked for the next number until there
 * is none, and destroyed: a reference on every path in between. Asking is a loop head like a call that
 * calls back: "there is none" goes on behind the loop, "here is one" is a branch of its own, and a round
 * that begins inside an earlier one of the same iterator has converged (prune.c, callback.c): the iterator
 * counts, so that it ends.
 */
#include <errno.h>

#include "verify/verify_int.h"

#define BYTES 8

bool viter_is_head(const struct verifier *v, const struct bpf_insn *insn)
{
	const struct helper_proto *h;

	if (!isa_is_call(insn, BPF_PSEUDO_KFUNC_CALL) || (u32)insn->imm >= v->p->nnatives ||
	    !v->p->natives[insn->imm])
		return false;
	h = helper_kfunc(v->p->natives[insn->imm]);
	return h && h->args[0] == ARG_ITER_NEXT;
}

/* The slot that the pointer is to; -1: it is to none. */
static int slot_of(const struct reg *reg)
{
	s64 off = reg->off + (s64)reg->n.bits.value;

	if (reg->type != REG_STACK || !num_is_const(&reg->n) || off % SLOT_SIZE || off > -BYTES ||
	    off < -ISA_STACK_SIZE)
		return -1;
	return (int)(-off / SLOT_SIZE) - 1;
}

/* What is known of the iterator in the slot; NULL when there is none. */
static const struct reg *iter_in(const struct state *s, u32 frame, int slot)
{
	const struct frame *f = frame < s->nframes ? s->frames[frame] : NULL;

	if (!f || slot < 0 || slot >= f->nslots || f->slots[slot].bytes[0] != BYTE_ITER)
		return NULL;
	return &f->slots[slot].spill;
}

u32 viter_round(const struct state *s)
{
	const struct reg *r1 = &state_frame(s)->regs[1];
	const struct reg *it = r1->type == REG_STACK ? iter_in(s, r1->what, slot_of(r1)) : NULL;

	return it && it->what == ITER_ACTIVE ? it->ref : 0;
}

static int place(struct verifier *v, int *slot)
{
	const struct reg *reg = cur_reg(v, 1);
	int err = vcall_read_ok(v, 1);

	if (err)
		return err;
	if (reg->type != REG_STACK)
		return refuse(v, -EINVAL, "pass the address of a local struct bpf_iter_num",
			      "arg#0 expected pointer to an iterator on stack (R1 type=%s)", reg_type_name(reg));
	*slot = slot_of(reg);
	if (*slot < 0)
		return refuse(v, -EINVAL, "pass the address of a whole struct bpf_iter_num, aligned to 8 bytes",
			      "R1: iter has to be at a constant offset that is a multiple of 8");
	return 0;
}

static void clear(struct slot *s)
{
	for (u32 i = 0; i < SLOT_SIZE; i++)
		s->bytes[i] = BYTE_NONE;
	reg_none(&s->spill);
}

/* It is data then; the reference stays, and nobody can release it. */
void viter_overwrite(struct frame *f, u32 slot)
{
	if (slot < f->nslots && f->slots[slot].bytes[0] == BYTE_ITER)
		clear(&f->slots[slot]);
}

static int iter_new(struct verifier *v)
{
	u32 frame = cur_reg(v, 1)->what, id, i;
	struct frame *f;
	struct slot *s;
	int slot, err = place(v, &slot);

	if (!err && iter_in(v->cur, frame, slot))
		return refuse(v, -EINVAL, "destroy it first, or use another variable",
			      "expected uninitialized iter_num as arg #0");
	for (i = 2; i <= 3 && !err; i++)
		err = vcall_number(v, i);
	if (!err)
		err = vstack_room(v, 1, &f);
	if (!err)
		err = vdynptr_overwrite(v, f, (u32)slot);
	if (!err)
		err = state_add_ref(v, v->cur, v->insn, &id);
	if (err)
		return err;
	v->cur->refs[v->cur->nrefs - 1].is_iter = true;
	s = &f->slots[slot];
	slot_scrub(s);
	for (i = 0; i < SLOT_SIZE; i++)
		s->bytes[i] = BYTE_ITER;
	reg_pointer(&s->spill, REG_ITER);
	s->spill.what = ITER_ACTIVE;
	s->spill.ref = id;
	v->cur->written[frame] |= 1ull << slot;
	vcall_clobber(v);
	reg_number(cur_reg(v, 0), num_load_sx(32));
	return 0;
}

static int initialised(struct verifier *v, u32 *frame, int *slot, const struct reg **it)
{
	int err = place(v, slot);

	if (err)
		return err;
	*frame = cur_reg(v, 1)->what;
	*it = iter_in(v->cur, *frame, *slot);
	if (!*it)
		return refuse(v, -EINVAL, "make it with bpf_iter_num_new first, and destroy it last",
			      "expected an initialized iter_num as arg #0");
	state_mark_read(v, v->cur, *frame, 1ull << *slot);
	return 0;
}

static struct reg *edit(struct verifier *v, struct state *s, u32 frame, int slot)
{
	struct frame *f = state_frame_edit(v, s, frame);

	return f ? &f->slots[slot].spill : &v->scratch;
}

static int iter_next(struct verifier *v)
{
	const struct reg *it;
	struct state *more;
	struct reg *r0;
	u32 frame, ref;
	int slot, err = initialised(v, &frame, &slot, &it);

	if (err)
		return err;
	ref = it->ref;
	vcall_clobber(v);
	if (it->what == ITER_ACTIVE) {
		err = vwalk_push(v, v->insn + 1, &more);
		if (err)
			return err;
		edit(v, more, frame, slot)->size++;
		r0 = &state_frame(more)->regs[0];
		reg_pointer(r0, REG_MEM);
		r0->flags = REG_RDONLY | REG_BORROWED;
		r0->size = sizeof(s32);
		r0->ref = ref;
		edit(v, v->cur, frame, slot)->what = ITER_DRAINED;
	}
	reg_const(cur_reg(v, 0), 0);
	return v->error;
}

static int iter_destroy(struct verifier *v)
{
	const struct reg *it;
	struct frame *f;
	u32 frame;
	int slot, err = initialised(v, &frame, &slot, &it);

	if (err)
		return err;
	vcall_release(v, it->ref);
	f = state_frame_edit(v, v->cur, frame);
	if (!f)
		return v->error;
	clear(&f->slots[slot]);
	vcall_clobber(v);
	return 0;
}

int viter_call(struct verifier *v, const struct helper_proto *h)
{
	switch (h->args[0]) {
	case ARG_ITER_NEW: return iter_new(v);
	case ARG_ITER_NEXT: return iter_next(v);
	case ARG_ITER_DESTROY: return iter_destroy(v);
	}
	return refuse_internal(v, "not a function of an iterator");
}
