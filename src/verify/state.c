/* SPDX-License-Identifier: MIT */
/* States: making, copying and freeing them with a bound on memory; references; stack liveness. */
#include <errno.h>
#include <string.h>

#include "verify/verify_int.h"

/* ---- registers and slots ---------------------------------------------------------------------- */

void reg_none(struct reg *r)
{
	memset(r, 0, sizeof(*r));
}

void reg_number(struct reg *r, struct num n)
{
	memset(r, 0, sizeof(*r));
	r->type = REG_SCALAR;
	r->n = n;
}

void reg_unknown(struct reg *r)
{
	reg_number(r, num_unknown());
}

void reg_const(struct reg *r, u64 value)
{
	reg_number(r, num_const(value));
}

void reg_pointer(struct reg *r, enum reg_type type)
{
	memset(r, 0, sizeof(*r));
	r->type = type;
	r->n = num_const(0);
}

u32 slot_spill_bytes(const struct slot *s)
{
	u32 start = slot_spill_start(s), n = 0;

	while (start + n < SLOT_SIZE && s->bytes[start + n] == BYTE_SPILL)
		n++;
	return n;
}

bool slot_is_secret(const struct slot *s)
{
	/* Without a type: of an object that was released. */
	return slot_is_spill(s) &&
	       (s->spill.type == REG_NONE || (reg_is_ptr(&s->spill) && s->spill.flags & REG_NATIVE));
}

void slot_scrub(struct slot *s)
{
	u8 kind = slot_is_secret(s) ? BYTE_NONE : BYTE_MISC;
	u32 i;

	for (i = 0; i < SLOT_SIZE; i++)
		if (s->bytes[i] == BYTE_SPILL)
			s->bytes[i] = kind;
	reg_none(&s->spill);
}

/* ---- memory ----------------------------------------------------------------------------------- */

static void *take(struct verifier *v, size_t size)
{
	void *p = verifier_charge(v, size) ? base_alloc(size) : NULL;

	if (!p && !v->error)
		v->error = -ENOMEM;
	return p;
}

static void give(struct verifier *v, void *p, size_t size)
{
	if (p)
		v->memory -= size;
	base_free(p);
}

static void frame_put(struct verifier *v, const struct frame *held)
{
	struct frame *f = (struct frame *)held;

	if (!f || f->shares) {
		if (f)
			f->shares--;
		return;
	}
	give(v, f->slots, f->cap * sizeof(*f->slots));
	give(v, f, sizeof(*f));
}

static struct frame *frame_copy(struct verifier *v, const struct frame *f)
{
	struct frame *copy = take(v, sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *f;
	copy->shares = 0;
	copy->slots = NULL;
	copy->cap = 0;
	if (f->nslots) {
		copy->slots = take(v, f->nslots * sizeof(*f->slots));
		if (!copy->slots) {
			frame_put(v, copy);
			return NULL;
		}
		copy->cap = f->nslots;
		memcpy(copy->slots, f->slots, f->nslots * sizeof(*f->slots));
	}
	return copy;
}

int frame_grow(struct verifier *v, struct frame *f, u32 n)
{
	struct slot *slots;
	u32 cap;

	if (n <= f->nslots)
		return 0;
	if (n > f->cap) {
		cap = n + 8 < MAX_SLOTS ? n + 8 : MAX_SLOTS;
		slots = take(v, cap * sizeof(*slots));
		if (!slots)
			return v->error;
		if (f->nslots)
			memcpy(slots, f->slots, f->nslots * sizeof(*slots));
		give(v, f->slots, f->cap * sizeof(*slots));
		f->slots = slots;
		f->cap = (u16)cap;
	}
	memset(&f->slots[f->nslots], 0, (n - f->nslots) * sizeof(*f->slots));
	f->nslots = (u16)n;
	return 0;
}

struct state *state_new(struct verifier *v)
{
	struct state *s = take(v, sizeof(*s));

	if (!s)
		return NULL;
	s->all_next = v->all_states;
	if (s->all_next)
		s->all_next->all_prev = s;
	v->all_states = s;
	return s;
}

struct state *state_copy(struct verifier *v, const struct state *from)
{
	struct state *s = state_new(v);
	u32 i;

	if (!s)
		return NULL;
	s->nrefs = from->nrefs;
	s->insn = from->insn;
	s->parent = from->parent;
	s->locked = from->locked;
	s->lock_map = from->lock_map;
	s->lock_id = from->lock_id;
	memcpy(s->read, from->read, sizeof(s->read));
	memcpy(s->written, from->written, sizeof(s->written));
	memcpy(s->refs, from->refs, from->nrefs * sizeof(s->refs[0]));
	for (i = 0; i + 1u < from->nframes; i++) {
		((struct frame *)from->frames[i])->shares++;
		s->frames[s->nframes++] = from->frames[i];
	}
	s->frames[i] = frame_copy(v, from->frames[i]);
	if (!s->frames[i]) {
		state_free(v, s);
		return NULL;
	}
	s->nframes++;
	return s;
}

struct frame *state_frame_edit(struct verifier *v, struct state *s, u32 i)
{
	struct frame *f = (struct frame *)s->frames[i];

	f->noded &= f->shares > 0;
	if (!f->shares)
		return f;
	f = frame_copy(v, f);
	if (!f)
		return NULL;
	f->noded = false;
	frame_put(v, s->frames[i]);
	s->frames[i] = f;
	return f;
}

void state_free(struct verifier *v, struct state *s)
{
	u32 i;

	if (!s)
		return;
	for (i = 0; i < s->nframes; i++)
		frame_put(v, s->frames[i]);
	if (s->all_prev)
		s->all_prev->all_next = s->all_next;
	else
		v->all_states = s->all_next;
	if (s->all_next)
		s->all_next->all_prev = s->all_prev;
	give(v, s, sizeof(*s));
}

void state_free_all(struct verifier *v)
{
	while (v->all_states)
		state_free(v, v->all_states);
}

void state_fresh_nodes(struct verifier *v, struct state *s)
{
	struct reg_iter it = { s, 0, 0 };
	const struct reg *r;
	u32 top = s->nframes - 1u;

	for (it.frame = 0; it.frame < top && s->frames[it.frame]->noded; it.frame++)
		;
	while ((r = reg_iter_next(&it)))
		if (r->type == REG_SCALAR && (it.frame == top || !r->node))
			reg_iter_edit(v, &it)->node = vprecise_leaf(v, r->node);
	for (it.frame = 0; it.frame < top; it.frame++)
		((struct frame *)s->frames[it.frame])->noded = true;
}

int state_push_frame(struct verifier *v, struct state *s, u32 func, u32 callsite)
{
	struct frame *f = take(v, sizeof(*f));

	if (!f)
		return v->error;
	/* Checkpoints in the callee leave the caller's nodes as they are, so that the frame stays shared. */
	if (s->nframes) {
		state_fresh_nodes(v, s);
		state_frame(s)->noded = true;
	}
	f->func = (u16)func;
	f->callsite = callsite;
	reg_pointer(&f->regs[10], REG_STACK);
	f->regs[10].what = s->nframes;
	/* A fresh frame: what is read of it is nothing that a checkpoint before the call held. */
	s->written[s->nframes] = ~0ull;
	s->frames[s->nframes++] = f;
	return 0;
}

int state_pop_frame(struct verifier *v, struct state *s)
{
	frame_put(v, s->frames[--s->nframes]);
	s->frames[s->nframes] = NULL;
	return state_frame_edit(v, s, s->nframes - 1u) ? 0 : v->error;
}

/* ---- references ------------------------------------------------------------------------------- */

int state_add_ref(struct verifier *v, struct state *s, u32 insn, u32 *id)
{
	if (s->nrefs == MAX_REFS)
		return refuse(v, -E2BIG, "release some before acquiring more",
			      "more than %d references are held at once", MAX_REFS);
	*id = ++v->ids;
	s->refs[s->nrefs++] = (struct ref){ *id, insn, false };
	return 0;
}

bool state_holds(const struct state *s)
{
	u32 i;

	for (i = 0; i < s->nrefs; i++)
		if (!s->refs[i].is_iter)
			return true;
	return s->locked;
}

bool state_has_ref(const struct state *s, u32 id)
{
	u32 i;

	for (i = 0; i < s->nrefs; i++)
		if (s->refs[i].id == id)
			return true;
	return false;
}

void state_drop_ref(struct state *s, u32 id)
{
	u32 i;

	for (i = 0; i < s->nrefs; i++)
		if (s->refs[i].id == id)
			break;
	if (i == s->nrefs)
		return;
	/* Kept in order, so that equal histories compare equal. */
	for (s->nrefs--; i < s->nrefs; i++)
		s->refs[i] = s->refs[i + 1];
}

/* ---- all registers ---------------------------------------------------------------------------- */

const struct reg *reg_iter_next(struct reg_iter *it)
{
	for (; it->frame < it->s->nframes; it->frame++, it->i = 0) {
		const struct frame *f = it->s->frames[it->frame];

		if (it->i < 11)
			return &f->regs[it->i++];
		for (; it->i - 11 < f->nslots; it->i++)
			if (slot_is_spill(&f->slots[it->i - 11]))
				return &f->slots[it->i++ - 11].spill;
	}
	return NULL;
}

struct reg *reg_iter_edit(struct verifier *v, const struct reg_iter *it)
{
	struct frame *f = state_frame_edit(v, it->s, it->frame);

	if (!f)
		return &v->scratch;
	return it->i <= 11 ? &f->regs[it->i - 1] : &f->slots[it->i - 12].spill;
}

/* ---- stack liveness --------------------------------------------------------------------------- */

void state_mark_read(struct verifier *v, struct state *s, u32 frame, u64 mask)
{
	struct state *parent;

	/* Up to where the slot was written; what a checkpoint has marked, its parents have too. */
	for (; (parent = s->parent); s = parent) {
		mask &= ~s->written[frame] & ~parent->read[frame];
		if (!mask)
			return;
		parent->read[frame] |= mask;
		v->stats.mark_read++;
	}
}
