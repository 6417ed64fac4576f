/* SPDX-License-Identifier: MIT */
/*
 * Pruning: at checkpoints, the current state is compared with those seen there before. One that was
 * walked to the end of all its paths proves every state inside it safe; one that is still being
 * walked and is exactly the same means that the program makes no progress.
 */
#include <errno.h>
#include <string.h>

#include "verify/verify_int.h"

/* Ids of the old state and what they are in the new: has to be a one-to-one map. */
#define MAX_IDS 128
struct idmap {
	u32 n;
	u32 next; /* stands for "no id" of the new state */
	struct {
		u32 old, cur;
	} ids[MAX_IDS];
};

static bool same_id(struct idmap *m, u32 old, u32 cur)
{
	u32 i;

	if (!old != !cur)
		return false;
	if (!old)
		return true;
	for (i = 0; i < m->n; i++) {
		if (m->ids[i].old == old)
			return m->ids[i].cur == cur;
		if (m->ids[i].cur == cur)
			return false;
	}
	if (m->n == MAX_IDS)
		return false;
	m->ids[m->n].old = old;
	m->ids[m->n++].cur = cur;
	return true;
}

/* Scalars: more links in the new state do no harm, fewer do. */
static bool same_scalar_id(struct idmap *m, u32 old, u32 cur)
{
	if (!old)
		return true;
	return same_id(m, old, cur ? cur : m->next--);
}

/* Linked numbers are at the same distance from one another. */
static bool same_scalar(struct verifier *v, const struct reg *old, const struct reg *cur,
			struct idmap *ids, bool exact)
{
	if (exact)
		return num_equal(&old->n, &cur->n) && same_id(ids, old->id, cur->id) &&
		       old->off == cur->off;
	if (!vprecise_is(v, old))
		return true;
	if (old->id && old->off != cur->off)
		return false;
	return num_within(&old->n, &cur->n) && same_scalar_id(ids, old->id, cur->id);
}

/* Is all that is true of old true of cur? */
static bool same_reg(struct verifier *v, const struct reg *old, const struct reg *cur,
		     struct idmap *ids, bool exact)
{
	if (old->type == REG_NONE && !exact)
		return true;
	if (old->type != cur->type)
		return false;
	switch (old->type) {
	case REG_NONE:
		return true;
	case REG_SCALAR:
		return same_scalar(v, old, cur, ids, exact);
	case REG_PKT:
	case REG_PKT_META:
		if (exact ? old->size != cur->size : old->size > cur->size)
			return false;
		break;
	default:
		if (old->size != cur->size)
			return false;
	}
	if (old->flags != cur->flags || old->what != cur->what || old->off != cur->off)
		return false;
	if (!same_id(ids, old->id, cur->id) || !same_id(ids, old->ref, cur->ref))
		return false;
	return exact ? num_equal(&old->n, &cur->n) : num_within(&old->n, &cur->n);
}

static bool data_byte(const struct slot *s, u32 i)
{
	return s->bytes[i] == BYTE_MISC || s->bytes[i] == BYTE_ZERO ||
	       (s->bytes[i] == BYTE_SPILL && s->spill.type == REG_SCALAR);
}

static bool same_slot(struct verifier *v, const struct slot *old, const struct slot *cur,
		      struct idmap *ids, bool exact)
{
	u32 i, n = slot_spill_bytes(old);
	/* A spilled number that did not matter is any data. */
	bool data = !exact && n && old->spill.type == REG_SCALAR && !vprecise_is(v, &old->spill);

	for (i = 0; i < SLOT_SIZE; i++) {
		if (old->bytes[i] == BYTE_NONE && !exact)
			continue;
		if (!exact && (old->bytes[i] == BYTE_MISC || (data && old->bytes[i] == BYTE_SPILL))) {
			if (!data_byte(cur, i))
				return false;
			continue;
		}
		if (old->bytes[i] != cur->bytes[i])
			return false;
	}
	if (!n || data)
		return true;
	return n == slot_spill_bytes(cur) && slot_spill_start(old) == slot_spill_start(cur) &&
	       same_reg(v, &old->spill, &cur->spill, ids, exact);
}

/* Registers of frame f that are read from now on. */
static u32 live_regs(const struct verifier *v, const struct state *s, u32 f, u32 insn)
{
	if (f + 1u == s->nframes)
		return v->aux[insn].live;
	/* Behind the call; r0 to r5 are the callee's business. */
	return v->aux[s->frames[f + 1]->callsite + 1].live & 0x3c0u;
}

static bool same_frame(struct verifier *v, const struct state *old, const struct state *cur, u32 f,
		       u32 insn, struct idmap *ids, bool exact)
{
	static const struct slot nothing;
	const struct frame *a = old->frames[f], *b = cur->frames[f];
	u32 live = live_regs(v, cur, f, insn), i;

	if (a->func != b->func || a->callsite != b->callsite)
		return false;
	for (i = 0; i < 10; i++)
		if (live & (1u << i) && !same_reg(v, &a->regs[i], &b->regs[i], ids, exact))
			return false;
	for (i = 0; i < a->nslots || (exact && i < b->nslots); i++) {
		if (!exact && !(old->read[f] & (1ull << i)))
			continue;
		if (!same_slot(v, i < a->nslots ? &a->slots[i] : &nothing,
			       i < b->nslots ? &b->slots[i] : &nothing, ids, exact))
			return false;
	}
	return true;
}

static bool same_state(struct verifier *v, const struct state *old, const struct state *cur, u32 insn,
		       bool exact)
{
	struct idmap ids;
	u32 i;

	if (old->nframes != cur->nframes || old->nrefs != cur->nrefs)
		return false;
	ids.n = 0;
	ids.next = UINT32_MAX;
	for (i = 0; i < old->nrefs; i++)
		if (!same_id(&ids, old->refs[i].id, cur->refs[i].id))
			return false;
	/* The top frame differs most. */
	for (i = old->nframes; i-- > 0;)
		if (!same_frame(v, old, cur, i, insn, &ids, exact))
			return false;
	return true;
}

/* ---- a hit ------------------------------------------------------------------------------------ */

/* What mattered behind old matters for how cur came to be. */
static void inherit(struct verifier *v, const struct state *old, u32 insn)
{
	struct state *cur = v->cur;
	u32 f, i;

	for (f = 0; f < old->nframes; f++) {
		const struct frame *a = old->frames[f], *b = cur->frames[f];
		u32 live = live_regs(v, cur, f, insn);

		for (i = 0; i < 10; i++)
			if (live & (1u << i) && vprecise_is(v, &a->regs[i]))
				vprecise_reg(v, &b->regs[i]);
		for (i = 0; i < a->nslots && i < b->nslots; i++)
			if (old->read[f] & (1ull << i) && slot_is_spill(&a->slots[i]) &&
			    slot_is_spill(&b->slots[i]) && vprecise_is(v, &a->slots[i].spill))
				vprecise_reg(v, &b->slots[i].spill);
		state_mark_read(v, cur, f, old->read[f]);
	}
}

/* ---- checkpoints ------------------------------------------------------------------------------ */

static int add_checkpoint(struct verifier *v)
{
	struct insn_aux *aux = &v->aux[v->insn];
	struct state *cur = v->cur, *s, *i;
	u32 n = 1;

	/* Every number gets a node of its own in the checkpoint, which cur goes on from. */
	state_fresh_nodes(v, cur);
	s = state_copy(v, cur);
	if (!s)
		return v->error;
	s->insn = v->insn;
	s->branches = 1;
	s->next = aux->states;
	aux->states = s;
	cur->parent = s;
	memset(cur->read, 0, sizeof(cur->read));
	memset(cur->written, 0, sizeof(cur->written));
	v->prev_jumps = v->jumps;
	v->prev_processed = v->stats.processed;

	for (i = s->next; i; i = i->next)
		n++;
	if (n > v->stats.max_states_per_insn)
		v->stats.max_states_per_insn = n;
	v->stats.total_states++;
	if (++v->states_now > v->stats.peak_states)
		v->stats.peak_states = v->states_now;
	return v->error;
}

/* Takes the checkpoint that *link points to out of the list: comparing with it does not pay. */
static void drop_checkpoint(struct verifier *v, struct state **link)
{
	struct state *s = *link;

	*link = s->next;
	s->next = NULL;
	s->detached = true;
	if (!s->branches) {
		v->states_now--;
		state_free(v, s);
	}
}

void vprune_path_end(struct verifier *v, struct state *cur)
{
	struct state *s = cur->parent, *parent;

	for (; s; s = parent) {
		parent = s->parent;
		if (--s->branches)
			return;
		/* Complete, and no state that is still walked came from it: its parents may. */
		if (s->detached) {
			v->states_now--;
			state_free(v, s);
		}
	}
}

int vprune(struct verifier *v)
{
	struct state **link = &v->aux[v->insn].states, *s;
	/* BPF_F_TEST_STATE_FREQ: as often as can be, to test pruning itself. */
	bool often = v->p->flags & BPF_F_TEST_STATE_FREQ;
	bool add = often || (v->jumps - v->prev_jumps >= 2 &&
			     v->stats.processed - v->prev_processed >= 8);

	while ((s = *link)) {
		if (s->branches) {
			if (same_state(v, s, v->cur, v->insn, true))
				return refuse(v, -EINVAL,
					      "the loop has to change something its exit depends on",
					      "infinite loop detected at insn %u", v->insn);
			/* In a loop, fewer checkpoints do: it will end soon or never. */
			if (!often && v->jumps - v->prev_jumps < 20 &&
			    v->stats.processed - v->prev_processed < 100)
				add = false;
		} else if (same_state(v, s, v->cur, v->insn, false)) {
			s->hits++;
			inherit(v, s, v->insn);
			return 1;
		}
		if (add)
			s->misses++;
		if (s->misses > s->hits * 3 + 3)
			drop_checkpoint(v, link);
		else
			link = &s->next;
	}
	return add ? add_checkpoint(v) : 0;
}
