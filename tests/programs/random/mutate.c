/* SPDX-License-Identifier: MIT */
/* Changes to programs: instructions in and out with jumps kept right, and random damage. */
#include "random.h"

/* ---- editing ----------------------------------------------------------------------------------- */

/* The distance that a jump or a call of the program goes; NULL-like false when it is neither. */
static bool distance(const struct bpf_insn *i, s64 *by)
{
	s64 target;

	if (isa_is_call(i, BPF_PSEUDO_CALL) || (isa_is_ldimm64(i) && i->src_reg == BPF_PSEUDO_FUNC)) {
		*by = i->imm;
		return true;
	}
	if (!isa_jump_target(i, 0, &target))
		return false;
	*by = target - 1;
	return true;
}

static void set_distance(struct bpf_insn *i, s64 by)
{
	if (isa_is_call(i, BPF_PSEUDO_CALL) || isa_is_ldimm64(i) || i->code == (BPF_JMP32 | BPF_JA))
		i->imm = (s32)by;
	else
		i->off = (s16)by;
}

void edit_delete(struct verdict_prog *p, u32 at, u32 n)
{
	for (u32 k = 0; k < p->cnt; k += isa_slots(&p->insns[k])) {
		s64 by, target, from = k;

		if ((k >= at && k < at + n) || !distance(&p->insns[k], &by))
			continue;
		target = k + 1 + by;
		/* What led into the gap leads behind it. */
		target -= target >= at + n ? n : target > at ? target - at : 0;
		from -= k >= at + n ? n : 0;
		set_distance(&p->insns[k], target - from - 1);
	}
	memmove(&p->insns[at], &p->insns[at + n], (p->cnt - at - n) * sizeof(*p->insns));
	p->cnt -= n;
}

bool edit_insert(struct verdict_prog *p, u32 at, struct bpf_insn insn)
{
	struct bpf_insn *insns = base_array(p->cnt + 1, sizeof(*insns));

	if (!insns)
		return false;
	for (u32 k = 0; k < p->cnt; k += isa_slots(&p->insns[k])) {
		s64 by, target, from = k + (k >= at);

		if (!distance(&p->insns[k], &by))
			continue;
		target = k + 1 + by;
		set_distance(&p->insns[k], target + (target > at) - from - 1);
	}
	memcpy(insns, p->insns, at * sizeof(*insns));
	insns[at] = insn;
	memcpy(&insns[at + 1], &p->insns[at], (p->cnt - at) * sizeof(*insns));
	base_free(p->insns);
	p->insns = insns;
	p->cnt++;
	return true;
}

static void print_map(const struct verdict_map *m, struct text *out)
{
	text_printf(out, "%s %u %u %u", verdict_map_name(m->attr.type), m->attr.key_size, m->attr.value_size,
		    m->attr.max_entries);
	text_puts(out, m->attr.flags & BPF_F_RDONLY_PROG ? " rdonly" : "");
	text_puts(out, m->attr.flags & BPF_F_WRONLY_PROG ? " wronly" : "");
	text_puts(out, m->attr.flags & BPF_F_MMAPABLE ? " mmap" : "");
	text_puts(out, m->frozen ? " frozen" : "");
	if (m->value_len)
		text_puts(out, " value=");
	for (u32 k = 0; k < m->value_len; k++)
		text_printf(out, "%02x", m->value[k]);
}

void edit_print(const struct verdict_prog *p, struct text *out)
{
	text_printf(out, "prog: %s\ntype: %s%s\n", p->name, prog_type_name(p->type),
		    p->flags & 1u << 4 ? " sleepable" : "");
	for (u32 k = 0; k < p->nmaps; k++) {
		text_puts(out, k ? ", " : "maps: ");
		print_map(&p->maps[k], out);
	}
	text_puts(out, p->nmaps ? "\n" : "");
	text_puts(out, p->gpl ? "" : "license: none\n");
	text_puts(out, p->flags & BPF_F_TEST_STATE_FREQ ? "# with BPF_F_TEST_STATE_FREQ\n" : "");
	text_puts(out, "code:\n");
	for (u32 k = 0; k < p->cnt; k += isa_slots(&p->insns[k])) {
		isa_disasm(&p->insns[k], k, NULL, out);
		text_printf(out, " ; %u\n", k);
	}
}

/* ---- damage ------------------------------------------------------------------------------------ */

static u64 rnd(u64 *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed * 0x2545f4914f6cdd1dull >> 11;
}

static s32 some_number(u64 *seed, s32 old)
{
	static const s32 edges[] = { 0, 1, 2, 4, 8, 15, 16, 31, 32, 63, 64, 255, 256, 511, 512, 0xffff,
				     0x7fffffff, (s32)0x80000000, -1, -8, -512 };

	switch (rnd(seed) % 4) {
	case 0: return edges[rnd(seed) % ARRAY_SIZE(edges)];
	case 1: return (s32)((u32)old + 1 + (u32)(rnd(seed) % 8));
	case 2: return (s32)((u32)old - 1 - (u32)(rnd(seed) % 8));
	default: return (s32)(0u - (u32)old);
	}
}

static void change_code(struct bpf_insn *i, u64 *seed)
{
	u8 class = BPF_CLASS(i->code);

	switch (rnd(seed) % 4) {
	case 0: /* another width of the same */
		if (class == BPF_ALU || class == BPF_ALU64)
			i->code ^= BPF_ALU ^ BPF_ALU64;
		else if (class == BPF_JMP || class == BPF_JMP32)
			i->code ^= BPF_JMP ^ BPF_JMP32;
		else
			i->code = (u8)((i->code & ~0x18) | (rnd(seed) % 4) << 3);
		break;
	case 1: /* register or immediate */
		i->code ^= BPF_X;
		break;
	default: /* another operation */
		if (class == BPF_LDX || class == BPF_STX || class == BPF_ST || class == BPF_LD)
			i->code = (u8)((i->code & ~0xe0) | (rnd(seed) % 8) << 5);
		else
			i->code = (u8)((i->code & 0xf) | (rnd(seed) % 15) << 4);
	}
}

static void change_field(struct bpf_insn *i, u64 *seed)
{
	u8 class = BPF_CLASS(i->code);
	bool jump = (class == BPF_JMP || class == BPF_JMP32) && BPF_OP(i->code) != BPF_CALL;

	switch (rnd(seed) % 4) {
	case 0:
		i->dst_reg = (u8)(rnd(seed) % 11);
		break;
	case 1:
		if (!isa_is_ldimm64(i) && BPF_OP(i->code) != BPF_CALL)
			i->src_reg = (u8)(rnd(seed) % 11);
		break;
	case 2:
		i->off = (s16)(jump ? i->off + (s16)(rnd(seed) % 9) - 4 : some_number(seed, i->off));
		break;
	default:
		i->imm = some_number(seed, i->imm);
	}
}

/* One instruction of the program, by its first half. */
static u32 some_insn(const struct verdict_prog *p, u64 *seed)
{
	u32 at = (u32)(rnd(seed) % p->cnt);

	return at && isa_is_ldimm64(&p->insns[at - 1]) ? at - 1 : at;
}

static void damage(struct verdict_prog *p, u64 *seed)
{
	u32 at = some_insn(p, seed), slots = isa_slots(&p->insns[at]), next = at + slots;
	struct bpf_insn *i = &p->insns[at], other;

	switch (rnd(seed) % 10) {
	case 0:
		if (p->cnt > slots + 1)
			edit_delete(p, at, slots);
		break;
	case 1:
		if (slots == 1)
			edit_insert(p, some_insn(p, seed), *i);
		break;
	case 2:
		if (slots == 1 && next < p->cnt && isa_slots(&p->insns[next]) == 1) {
			other = *i;
			*i = p->insns[next];
			p->insns[next] = other;
		}
		break;
	case 3:
	case 4:
		change_code(i, seed);
		break;
	case 5:
		p->flags ^= BPF_F_TEST_STATE_FREQ;
		break;
	default:
		change_field(i, seed);
	}
}

void mutate(const struct verdict_prog *from, u64 seed, struct verdict_prog *p)
{
	u64 s = (seed + 1) * 0x9e3779b97f4a7c15ull | 1;

	for (u32 k = 0; k < 5; k++)
		rnd(&s);
	/* Most have the form of a program: else the first check would be all that is tested. */
	for (u32 tries = 0; tries < 20; tries++) {
		*p = *from;
		p->file = "mutated";
		p->insns = base_memdup(from->insns, from->cnt * sizeof(*from->insns));
		assert_non_null(p->insns);
		for (u32 n = 1 + (u32)(rnd(&s) % 3); n; n--)
			damage(p, &s);
		if (rnd(&s) % 16 == 0 || !isa_validate(p->insns, p->cnt, ISA_ALL, NULL))
			return;
		if (tries < 19)
			base_free(p->insns);
	}
}
