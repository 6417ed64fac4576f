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

/* How a state is compared with one seen before. */
enum same {
	SAME_PROVED, /* all that mattered of the old one, which is proved, is true of the new */
	SAME_WITHIN, /* the new one is inside the old, whatever will matter of it */
	SAME_EXACT,
};

/* Linked numbers are at the same distance from one another. */
static bool same_scalar(struct verifier *v, const struct reg *old, const struct reg *cur,
			struct idmap *ids, enum same how)
{
	if (how == SAME_EXACT)
		return num_equal(&old->n, &cur->n) && same_id(ids, old->id, cur->id) &&
		       old->off == cur->off;
	if (how == SAME_PROVED && !vprecise_is(v, old))
		return true;
	if (old->id && old->off != cur->off)
		return false;
	return num_within(&old->n, &cur->n) && same_scalar_id(ids, old->id, cur->id);
}

/* Is all that is true of old true of cur? */
static bool same_reg(struct verifier *v, const struct reg *old, const struct reg *cur,
		     struct idmap *ids, enum same how)
{
	if (old->type == REG_NONE && how != SAME_EXACT)
		return true;
	if (old->type != cur->type)
		return false;
	switch (old->type) {
	case REG_NONE:
		return true;
	case REG_SCALAR:
		return same_scalar(v, old, cur, ids, how);
	case REG_PKT:
	case REG_PKT_META:
		if (how == SAME_EXACT ? old->size != cur->size : old->size > cur->size)
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
	return how == SAME_EXACT ? num_equal(&old->n, &cur->n) : num_within(&old->n, &cur->n);
}

static bool data_byte(const struct slot *s, u32 i)
{
	return s->bytes[i] == BYTE_MISC || s->bytes[i] == BYTE_ZERO ||
	       (s->bytes[i] == BYTE_SPILL && s->spill.type == REG_SCALAR);
}

/* With what is not proved yet, only rounds of the same iterator; one that has given more is not endless. */
static bool same_iter(const struct reg *old, const struct reg *cur, struct idmap *ids, enum same how)
{
	if (old->what != cur->what || (how == SAME_WITHIN && old->ref != cur->ref) ||
	    (how == SAME_EXACT && old->size != cur->size))
		return false;
	return same_id(ids, old->ref, cur->ref);
}

static bool same_slot(struct verifier *v, const struct slot *old, const struct slot *cur,
		      struct idmap *ids, enum same how)
{
	u32 i, n = slot_spill_bytes(old);
	/* A spilled number that did not matter is any data. */
	bool exact = how == SAME_EXACT, data = n && old->spill.type == REG_SCALAR;

	if (data && how == SAME_PROVED)
		data = !vprecise_is(v, &old->spill);
	else if (data)
		data = !exact && num_is_unknown(&old->spill.n) && !old->spill.id;

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
	if (old->bytes[0] == BYTE_ITER)
		return cur->bytes[0] != BYTE_ITER || same_iter(&old->spill, &cur->spill, ids, how);
	if (old->bytes[0] == BYTE_DYNPTR)
		return cur->bytes[0] != BYTE_DYNPTR || same_reg(v, &old->spill, &cur->spill, ids, how);
	if (!n || data)
		return true;
	return n == slot_spill_bytes(cur) && slot_spill_start(old) == slot_spill_start(cur) &&
	       same_reg(v, &old->spill, &cur->spill, ids, how);
}

/* Registers of frame f that are read from now on. */
static u32 live_regs(const struct verifier *v, const struct state *s, u32 f, u32 insn)
{
	if (f + 1u == s->nframes)
		return v->aux[insn].live;
	/* A call that calls back is made again. */
	if (s->frames[f + 1]->callback)
		return v->aux[s->frames[f + 1]->callsite].live;
	/* Behind the call; r0 to r5 are the callee's business. */
	return v->aux[s->frames[f + 1]->callsite + 1].live & 0x3c0u;
}

static bool same_frame(struct verifier *v, const struct state *old, const struct state *cur, u32 f,
		       u32 insn, struct idmap *ids, enum same how)
{
	static const struct slot nothing;
	const struct frame *a = old->frames[f], *b = cur->frames[f];
	u32 live = live_regs(v, cur, f, insn), i;
	bool exact = how == SAME_EXACT, top = f + 1u == cur->nframes;

	if (a->func != b->func || a->callsite != b->callsite || a->native != b->native)
		return false;
	/* The rounds that are left; with what is not proved yet, only rounds of the same call. */
	if (exact ? !top && a->rounds != b->rounds : a->rounds > b->rounds)
		return false;
	if (a->loop != b->loop && (how == SAME_WITHIN || (exact && !top)))
		return false;
	for (i = 0; i < 10; i++)
		if (live & (1u << i) && !same_reg(v, &a->regs[i], &b->regs[i], ids, how))
			return false;
	for (i = 0; i < a->nslots || (exact && i < b->nslots); i++) {
		if (how == SAME_PROVED && !(old->read[f] & (1ull << i)))
			continue;
		if (!same_slot(v, i < a->nslots ? &a->slots[i] : &nothing,
			       i < b->nslots ? &b->slots[i] : &nothing, ids, how))
			return false;
	}
	return true;
}

static bool same_state(struct verifier *v, const struct state *old, const struct state *cur, u32 insn,
		       enum same how)
{
	struct idmap ids;
	u32 i;

	if (old->nframes != cur->nframes || old->nrefs != cur->nrefs || old->locked != cur->locked ||
	    old->lock_map != cur->lock_map)
		return false;
	ids.n = 0;
	ids.next = UINT32_MAX;
	if (!same_id(&ids, old->lock_id, cur->lock_id))
		return false;
	for (i = 0; i < old->nrefs; i++)
		if (!same_id(&ids, old->refs[i].id, cur->refs[i].id))
			return false;
	/* The top frame differs most. */
	for (i = old->nframes; i-- > 0;)
		if (!same_frame(v, old, cur, i, insn, &ids, how))
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

/*
 * cur is inside old, whose proof rests on `top`, a checkpoint that cur comes from itself: a round of a
 * callback. What will turn out to matter of old matters for cur; and no checkpoint between `top` and
 * cur is proved before `top` is.
 */
static void rest_on(struct verifier *v, struct state *old, struct state *top, u32 insn)
{
	struct state *s, *cur = v->cur;
	u32 f, i;

	for (f = 0; f < old->nframes; f++) {
		const struct frame *a = old->frames[f], *b = cur->frames[f];
		u32 live = live_regs(v, cur, f, insn);

		for (i = 0; i < 10; i++)
			if (live & (1u << i) && a->regs[i].type == REG_SCALAR)
				vprecise_also(v, a->regs[i].node, b->regs[i].node);
		for (i = 0; i < a->nslots && i < b->nslots; i++)
			if (slot_is_spill(&a->slots[i]) && slot_is_spill(&b->slots[i]) &&
			    a->slots[i].spill.type == REG_SCALAR)
				vprecise_also(v, a->slots[i].spill.node, b->slots[i].spill.node);
		if (a->nslots)
			state_mark_read(v, cur, f, ~0ull >> (64 - a->nslots));
	}
	for (s = cur->parent; s && s != top; s = s->parent) {
		if (!s->rests_on) {
			s->next_resting = v->resting;
			v->resting = s;
		}
		if (!s->rests_on || s->rests_on->depth > top->depth)
			s->rests_on = top;
	}
	top->carries = true;
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
	s->depth = s->parent ? s->parent->depth + 1 : 0;
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

/* Once nothing is to be compared with it, nor comes from it, nor rests on the same as it. */
static void free_detached(struct verifier *v, struct state *s)
{
	if (!s->detached || s->branches || s->rests_on)
		return;
	v->states_now--;
	state_free(v, s);
}

/* Takes the checkpoint that *link points to out of the list: comparing with it does not pay. */
static void drop_checkpoint(struct verifier *v, struct state **link)
{
	struct state *s = *link;

	*link = s->next;
	s->next = NULL;
	s->detached = true;
	free_detached(v, s);
}

/* `top` is complete: what rested on it rests on what it rests on itself. */
static void settle(struct verifier *v, struct state *top)
{
	struct state **link = &v->resting, *s;

	while ((s = *link)) {
		if (s->rests_on != top) {
			link = &s->next_resting;
			continue;
		}
		s->rests_on = top->rests_on;
		if (s->rests_on) {
			link = &s->next_resting;
			continue;
		}
		*link = s->next_resting;
		free_detached(v, s);
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
		if (s->carries)
			settle(v, s);
		free_detached(v, s);
	}
}

/* Is cur inside s, or s endless? 1, 0, -EINVAL. */
static int compare(struct verifier *v, struct state *s)
{
	const struct state *cur = v->cur;

	if (s->branches) {
		/* The next round of a callback or iterator: not endless, for the helper counts. */
		if (v->aux[v->insn].head && vcallback_round(v, cur) &&
		    same_state(v, s, cur, v->insn, SAME_WITHIN)) {
			rest_on(v, s, s, v->insn);
			return 1;
		}
		if (same_state(v, s, cur, v->insn, SAME_EXACT))
			return refuse(v, -EINVAL, "the loop has to change something its exit depends on",
				      "infinite loop detected at insn %u", v->insn);
		return 0;
	}
	if (v->o->every_path && !v->aux[v->insn].head)
		return 0;
	if (!same_state(v, s, cur, v->insn, s->rests_on ? SAME_WITHIN : SAME_PROVED))
		return 0;
	if (s->rests_on)
		rest_on(v, s, s->rests_on, v->insn);
	else
		inherit(v, s, v->insn);
	return 1;
}

int vprune(struct verifier *v)
{
	struct state **link = &v->aux[v->insn].states, *s;
	/* BPF_F_TEST_STATE_FREQ: as often as can be, to test pruning itself. */
	bool often = v->p->flags & BPF_F_TEST_STATE_FREQ, head = v->aux[v->insn].head;
	bool add = often || head || (v->jumps - v->prev_jumps >= 2 &&
				     v->stats.processed - v->prev_processed >= 8);
	u32 patience = head ? 64 : 3;

	while ((s = *link)) {
		int hit = compare(v, s);

		if (hit > 0)
			s->hits++;
		if (hit)
			return hit;
		/* In a loop, fewer checkpoints do: it will end soon or never. */
		if (s->branches && !often && !head && v->jumps - v->prev_jumps < 20 &&
		    v->stats.processed - v->prev_processed < 100)
			add = false;
		if (add)
			s->misses++;
		if (s->misses > s->hits * patience + patience)
			drop_checkpoint(v, link);
		else
			link = &s->next;
	}
	if (head && vcallback_round(v, v->cur))
		vcallback_widen(v);
	return add ? add_checkpoint(v) : 0;
}
