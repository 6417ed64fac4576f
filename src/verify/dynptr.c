/* SPDX-License-Identifier: MIT */
/*
 * Dynptrs: 16 bytes of stack that only helpers read and write. The first of the two slots says what
 * it is of and by which id its slices go; what a reservation backs is a reference besides.
 */
#include <errno.h>

#include "verify/verify_int.h"

#define BYTES 16
#define RESERVED_HINT "only what bpf_ringbuf_reserve_dynptr made is submitted"

/* Of the lower address: the dynptr is in slots `slot` and `slot` - 1. */
static int place(struct verifier *v, u32 r, u32 *frame, u32 *slot)
{
	const struct reg *reg = cur_reg(v, r);
	s64 off = reg->off + (s64)reg->n.bits.value;

	if (reg->type != REG_STACK)
		return refuse(v, -EACCES, "pass the address of a local struct bpf_dynptr",
			      "R%u type=%s expected=fp, dynptr_ptr", r, reg_type_name(reg));
	if (!num_is_const(&reg->n))
		return refuse(v, -EINVAL, "pass its address without adding a variable",
			      "R%u dynptr has to be at a constant offset", r);
	if (off % SLOT_SIZE || off > -BYTES || off < -ISA_STACK_SIZE)
		return refuse(v, -EINVAL, "pass the address of a whole struct bpf_dynptr",
			      "cannot pass in dynptr at an offset=%lld", (long long)off);
	*frame = reg->what;
	*slot = (u32)(-off / SLOT_SIZE) - 1;
	return 0;
}

static bool is_dynptr(const struct slot *s)
{
	return s->bytes[0] == BYTE_DYNPTR;
}

static void forget_slices(struct verifier *v, u32 id)
{
	struct reg_iter it = { v->cur, 0, 0 };
	const struct reg *r;

	while ((r = reg_iter_next(&it)))
		if (r->ref == id)
			reg_unknown(reg_iter_edit(v, &it));
}

static void clear(struct slot *s)
{
	u32 i;

	for (i = 0; i < SLOT_SIZE; i++)
		s->bytes[i] = BYTE_NONE;
	reg_none(&s->spill);
}

int vdynptr_overwrite(struct verifier *v, struct frame *f, u32 slot)
{
	u32 first, id;

	if (slot >= f->nslots || !is_dynptr(&f->slots[slot]))
		return 0;
	id = f->slots[slot].spill.ref;
	if (state_has_ref(v->cur, id))
		return refuse(v, -EINVAL, "submit or discard it first",
			      "cannot overwrite referenced dynptr");
	first = slot + f->slots[slot].spill.off;
	clear(&f->slots[first]);
	clear(&f->slots[first - 1]);
	forget_slices(v, id);
	return 0;
}

void vdynptr_release(struct verifier *v, u32 ref)
{
	u32 i, n;

	for (i = 0; i < v->cur->nframes; i++)
		for (n = 0; n < v->cur->frames[i]->nslots; n++) {
			const struct slot *s = &v->cur->frames[i]->slots[n];
			struct frame *f;

			if (!is_dynptr(s) || s->spill.ref != ref)
				continue;
			f = state_frame_edit(v, v->cur, i);
			if (!f)
				return;
			clear(&f->slots[n]);
		}
}

/* id 0: a new one, of a new reservation if it is of one. */
static int make(struct verifier *v, u32 r, enum dynptr_kind kind, u32 id)
{
	u32 frame, slot, i, k;
	struct frame *f;
	int err = place(v, r, &frame, &slot);

	if (!err)
		err = vstack_room(v, r, &f);
	for (i = 0; i < 2 && !err; i++)
		err = vdynptr_overwrite(v, f, slot - i);
	if (!err && !id && kind == DYNPTR_RINGBUF)
		err = state_add_ref(v, v->cur, v->insn, &id);
	if (err)
		return err;
	if (!id)
		id = ++v->ids;
	for (i = 0; i < 2; i++) {
		struct slot *s = &f->slots[slot - i];

		slot_scrub(s);
		for (k = 0; k < SLOT_SIZE; k++)
			s->bytes[k] = BYTE_DYNPTR;
		reg_pointer(&s->spill, REG_DYNPTR);
		s->spill.what = (u16)kind;
		s->spill.ref = id;
		s->spill.off = (s32)i; /* distance to the first */
		v->cur->written[frame] |= 1ull << (slot - i);
	}
	return 0;
}

int vdynptr_new(struct verifier *v, u32 r, enum dynptr_kind kind)
{
	return make(v, r, kind, 0);
}

static int not_on_stack(struct verifier *v, u32 r)
{
	return refuse(v, -EINVAL, "pass the address of a local struct bpf_dynptr",
		      "arg#%u expected pointer to stack or const struct bpf_dynptr (R%u type=%s)", r - 1, r,
		      reg_type_name(cur_reg(v, r)));
}

/* Of the same reservation: with it all of them end, and their slices, which have the reservation's id. */
int vdynptr_clone(struct verifier *v, u32 r, const struct dynptr_of *of)
{
	if (cur_reg(v, r)->type != REG_STACK)
		return not_on_stack(v, r);
	return make(v, r, of->kind, of->held ? of->id : 0);
}

void vdynptr_const(struct verifier *v, struct reg *r)
{
	reg_pointer(r, REG_DYNPTR);
	r->what = DYNPTR_LOCAL;
	r->ref = ++v->ids;
}

static int const_arg(struct verifier *v, u32 r, enum dynptr_kind kind, u32 *id)
{
	const struct reg *reg = cur_reg(v, r);

	if (reg->off || !num_is_const(&reg->n) || reg->n.bits.value)
		return refuse(v, -EACCES, "pass the pointer as the callback was given it",
			      "dereference of modified dynptr_ptr ptr R%u off=%d disallowed", r, reg->off);
	if (kind && reg->what != kind)
		return refuse(v, -EINVAL, RESERVED_HINT, "Expected a dynptr of type ringbuf as arg #%u", r - 1);
	*id = reg->ref;
	return 0;
}

/* What is known of the dynptr on the stack that r points to; NULL: there is none, err says it. */
static const struct reg *find(struct verifier *v, u32 r, int *err)
{
	const struct frame *f;
	const struct reg *d;
	u32 frame, slot;

	*err = place(v, r, &frame, &slot);
	if (*err)
		return NULL;
	f = v->cur->frames[frame];
	d = slot < f->nslots ? &f->slots[slot].spill : NULL;
	if (!d || !is_dynptr(&f->slots[slot]) || !is_dynptr(&f->slots[slot - 1]) || d->off) {
		*err = refuse(v, -EINVAL, "make it with bpf_dynptr_from_mem or bpf_ringbuf_reserve_dynptr",
			      "Expected an initialized dynptr as arg #%u", r - 1);
		return NULL;
	}
	state_mark_read(v, v->cur, frame, 3ull << (slot - 1));
	return d;
}

int vdynptr_arg(struct verifier *v, u32 r, enum dynptr_kind kind, u32 *id)
{
	const struct reg *d;
	int err;

	if (cur_reg(v, r)->type == REG_DYNPTR)
		return const_arg(v, r, kind, id);
	d = find(v, r, &err);
	if (!d)
		return err;
	if (kind && d->what != kind)
		return refuse(v, -EINVAL, RESERVED_HINT,
			      "Expected a dynptr of type ringbuf as arg #%u", r - 1);
	*id = d->ref;
	return 0;
}

int vdynptr_kfunc_arg(struct verifier *v, u32 r, struct dynptr_of *of)
{
	const struct reg *d = cur_reg(v, r);
	int err = 0;

	if (d->type == REG_DYNPTR)
		err = const_arg(v, r, DYNPTR_ANY, &of->id);
	else if (d->type != REG_STACK)
		err = not_on_stack(v, r);
	else
		d = find(v, r, &err);
	if (err)
		return err;
	*of = (struct dynptr_of){ (enum dynptr_kind)d->what, d->ref, state_has_ref(v->cur, d->ref) };
	return 0;
}
