/* SPDX-License-Identifier: MIT */
/* Programs as data: creation, release, and look-ups by instruction. */
#include <errno.h>
#include <string.h>

#include "prog/prog.h"

struct prog *prog_new(const struct bpf_insn *insns, u32 cnt)
{
	struct prog *p;

	if (!cnt || cnt > ISA_MAX_INSNS)
		return NULL;
	p = base_alloc(sizeof(*p));
	if (!p)
		return NULL;
	p->insns = base_memdup(insns, (size_t)cnt * sizeof(*insns));
	if (!p->insns) {
		base_free(p);
		return NULL;
	}
	p->insn_cnt = cnt;
	p->refs = 1;
	return p;
}

void prog_free(struct prog *p)
{
	u32 i;

	if (!p)
		return;
	for (i = 0; i < p->nmaps; i++)
		if (p->maps[i])
			map_put(p->maps[i]);
	for (i = 0; i < p->nnatives; i++)
		if (p->natives[i])
			module_put(p->natives[i]->mod);
	base_free(p->maps);
	for (i = 0; i < p->nsyms; i++)
		module_put(p->syms[i].mod);
	base_free(p->syms);
	base_free(p->natives);
	base_free(p->funcs);
	base_free(p->lines);
	base_free(p->facts);
	base_free(p->faults);
	base_free(p->sig);
	base_free(p->limits);
	base_free(p->sites);
	base_free(p->insns);
	base_free(p);
}

const struct prog_line *prog_line_at(const struct prog *p, u32 insn)
{
	u32 lo = 0, hi = p->nlines;

	/* The last entry at or before the instruction. */
	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;

		if (p->lines[mid].insn <= insn)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && insn < p->insn_cnt ? &p->lines[lo - 1] : NULL;
}

const struct prog_func *prog_func_at(const struct prog *p, u32 insn)
{
	u32 lo = 0, hi = p->nfuncs;

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;

		if (p->funcs[mid].end <= insn)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->nfuncs ? &p->funcs[lo] : NULL;
}

enum { SLOT_INSN, SLOT_SECOND_HALF, SLOT_FUNC };

/* Marks the slots that start a function; returns how many, or -errno. */
static int mark_funcs(const struct prog *p, u8 *slots)
{
	u32 i;
	int n = 1;

	for (i = 0; i < p->insn_cnt; i += isa_slots(&p->insns[i]))
		if (isa_slots(&p->insns[i]) == 2 && i + 1 < p->insn_cnt)
			slots[i + 1] = SLOT_SECOND_HALF;
	slots[0] = SLOT_FUNC;
	for (i = 0; i < p->insn_cnt; i += isa_slots(&p->insns[i])) {
		const struct bpf_insn *in = &p->insns[i];
		s64 to = (s64)i + 1 + in->imm;

		if (!isa_is_call(in, BPF_PSEUDO_CALL) &&
		    !(isa_is_ldimm64(in) && in->src_reg == BPF_PSEUDO_FUNC))
			continue;
		if (to < 0 || to >= p->insn_cnt || slots[to] == SLOT_SECOND_HALF)
			return -EINVAL;
		if (slots[to] != SLOT_FUNC && ++n > PROG_MAX_FUNCS)
			return -E2BIG;
		slots[to] = SLOT_FUNC;
	}
	return n;
}

int prog_find_funcs(struct prog *p)
{
	u8 *slots;
	u32 i, n = 0;
	int err;

	if (p->funcs)
		return 0;
	slots = base_alloc(p->insn_cnt);
	if (!slots)
		return -ENOMEM;
	err = mark_funcs(p, slots);
	if (err < 0)
		goto out;
	p->funcs = base_array(err, sizeof(*p->funcs));
	if (!p->funcs) {
		err = -ENOMEM;
		goto out;
	}
	for (i = 0; i < p->insn_cnt; i++) {
		if (slots[i] != SLOT_FUNC)
			continue;
		if (n)
			p->funcs[n - 1].end = i;
		p->funcs[n++].start = i;
	}
	p->funcs[n - 1].end = p->insn_cnt;
	p->nfuncs = n;
	err = 0;
out:
	base_free(slots);
	return err;
}
