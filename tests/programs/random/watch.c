/* SPDX-License-Identifier: MIT */
/* Holds the verifier to its word: at each instruction, the machine is in one of the states it foresaw. */
#include "random.h"
#include "verify/state.h"

#define MAX_KNOWN 64 /* states kept of an instruction; of more, anything is taken for foreseen */

struct known {
	struct reg regs[10];
	struct slot slots[8]; /* the nearest of the top frame */
	u32 nslots, nframes;
};

struct watched {
	u32 insns;
	struct known **known;
	u32 *n;
};

struct watched *watched_new(u32 insns)
{
	struct watched *w = base_alloc(sizeof(*w));

	assert_non_null(w);
	w->insns = insns;
	w->known = base_array(insns, sizeof(*w->known));
	w->n = base_array(insns, sizeof(*w->n));
	assert_true(w->known && w->n);
	return w;
}

void watched_free(struct watched *w)
{
	for (u32 i = 0; i < w->insns; i++)
		base_free(w->known[i]);
	base_free(w->known);
	base_free(w->n);
	base_free(w);
}

void watched_state(void *arg, u32 insn, const struct state *s)
{
	const struct frame *f = state_frame(s);
	struct watched *w = arg;
	struct known *k;

	if (w->n[insn]++ >= MAX_KNOWN)
		return;
	if (!w->known[insn])
		w->known[insn] = base_array(MAX_KNOWN, sizeof(*w->known[insn]));
	assert_non_null(w->known[insn]);
	k = &w->known[insn][w->n[insn] - 1];
	memcpy(k->regs, f->regs, sizeof(k->regs));
	k->nslots = f->nslots < ARRAY_SIZE(k->slots) ? f->nslots : (u32)ARRAY_SIZE(k->slots);
	k->nframes = s->nframes;
	if (k->nslots)
		memcpy(k->slots, f->slots, k->nslots * sizeof(*k->slots));
}

/* Where a pointer of this kind starts, when there is one place only. */
static bool base_of(const struct reg *r, const struct prog *p, const struct moment *m, u64 *base)
{
	switch (r->type) {
	case REG_CTX: *base = m->ctx; return true;
	case REG_MAP: *base = (u64)(uintptr_t)p->maps[r->what]; return true;
	case REG_STACK: *base = m->frames[r->what]; return r->what < m->nframes;
	case REG_PKT: *base = m->data; return true;
	case REG_PKT_META: *base = m->data_meta; return true;
	case REG_PKT_END: *base = m->data_end; return true;
	}
	return false;
}

static bool foreseen(const struct reg *r, u64 value, const struct prog *p, const struct moment *m)
{
	u64 base;

	if (r->type == REG_NONE)
		return true;
	if (r->type == REG_SCALAR)
		return num_has(&r->n, value);
	if (r->flags & REG_NULLABLE && !value)
		return true;
	if (!(r->flags & REG_NULLABLE) && !value)
		return false;
	/* Packet pointers with an id start somewhere in the packet. */
	if (!base_of(r, p, m, &base))
		return true;
	return num_has(&r->n, value - base - (u64)(s64)r->off);
}

/* Numbers with one id are at their distances from one another. */
static bool linked(const struct known *k, const struct moment *m, u32 *which)
{
	for (u32 a = 0; a < 10; a++) {
		for (u32 b = a + 1; b < 10; b++) {
			const struct reg *x = &k->regs[a], *y = &k->regs[b];

			if (x->type != REG_SCALAR || y->type != REG_SCALAR || !x->id || x->id != y->id)
				continue;
			*which = b;
			if (m->regs[a] - (u64)(s64)x->off != m->regs[b] - (u64)(s64)y->off)
				return false;
		}
	}
	return true;
}

static bool slot_holds(const struct slot *s, u32 i, const struct prog *p, const struct moment *m)
{
	const u8 *mem = (const u8 *)(uintptr_t)(m->regs[10] - SLOT_SIZE * (i + 1));
	u32 n = slot_is_spill(s) ? slot_spill_bytes(s) : 0;
	u64 value = 0;

	for (u32 b = 0; b < SLOT_SIZE; b++) {
		if (s->bytes[b] == BYTE_ZERO && mem[b])
			return false;
	}
	if (!n || (s->spill.type != REG_SCALAR && n != SLOT_SIZE))
		return true;
	memcpy(&value, mem + slot_spill_start(s), n);
	return foreseen(&s->spill, value, p, m);
}

static bool fits(const struct known *k, const struct prog *p, const struct moment *m, char *why, size_t size)
{
	u32 which = 0;

	if (k->nframes != m->nframes) {
		snprintf(why, size, "%u frames, foreseen were %u", m->nframes, k->nframes);
		return false;
	}
	for (u32 r = 0; r < 10; r++) {
		struct text t = { 0 };

		if (foreseen(&k->regs[r], m->regs[r], p, m))
			continue;
		num_print(&k->regs[r].n, &t);
		snprintf(why, size, "R%u is %#llx, foreseen was type %u (%s)", r, (unsigned long long)m->regs[r],
			 k->regs[r].type, text_str(&t));
		text_free(&t);
		return false;
	}
	if (!linked(k, m, &which)) {
		snprintf(why, size, "R%u is not at its distance", which);
		return false;
	}
	for (u32 i = 0; i < k->nslots; i++) {
		if (slot_holds(&k->slots[i], i, p, m))
			continue;
		snprintf(why, size, "stack slot %u holds what was not foreseen", i);
		return false;
	}
	return true;
}

bool watched_has(const struct watched *w, const struct prog *p, const struct moment *m, char *why, size_t size)
{
	u32 n = w->n[m->pc];

	if (n > MAX_KNOWN)
		return true;
	snprintf(why, size, "not foreseen at all");
	for (u32 i = 0; i < n; i++) {
		if (fits(&w->known[m->pc][i], p, m, why, size))
			return true;
	}
	return false;
}
