/* SPDX-License-Identifier: MIT */
/*
 * What would make a refused program acceptable, in terms of that program: one adviser a class of
 * refusals, each of which says something only where it can be concrete.
 */
#include <string.h>

#include "verify/trace.h"

/* ---- names out of source text
 * ---------------------------------------------------------------------- */

static bool is_name(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

/* The name that ends before s[end]; false when there is none. */
static bool name_before(const char *s, size_t end, char out[48])
{
	size_t start;

	while (end && (s[end - 1] == ' ' || s[end - 1] == '\t'))
		end--;
	for (start = end; start && is_name(s[start - 1]); start--)
		;
	if (start == end || end - start >= 48 || (s[start] >= '0' && s[start] <= '9'))
		return false;
	memcpy(out, s + start, end - start);
	out[end - start] = '\0';
	return true;
}

/* "struct v *p = f();" gives p. */
static bool assigned_name(const char *s, char out[48])
{
	const char *eq = strchr(s, '=');

	return eq && eq[1] != '=' && eq != s && !strchr("!<>+-|&^*", eq[-1]) &&
	       name_before(s, (size_t)(eq - s), out);
}

/* "a->data[i] = 1;" gives i, when there is one index and it is a name. */
static bool index_name(const char *s, char out[48])
{
	const char *open = strchr(s, '['), *close = open ? strchr(open, ']') : NULL, *p;

	if (!close || strchr(close, '['))
		return false;
	for (p = open + 1; p < close; p++)
		if (!is_name(*p))
			return false;
	return name_before(s, (size_t)(close - s), out);
}

static const struct prog_line *line_at(const struct advice *a, u32 insn)
{
	const struct prog_line *l = prog_line_at(a->v->p, insn);

	return l && l->line && l->text ? l : NULL;
}

static u32 here(const struct advice *a)
{
	const struct prog_line *l = line_at(a, a->v->insn);

	return l ? l->line : 0;
}

/* The name that the value at fault was given in the source, and where. */
static bool value_name(const struct advice *a, u32 value, char name[48], u32 *line)
{
	const struct prog_line *l;

	if (!a->h || !value)
		return false;
	l = line_at(a, trace_insn(a->v->trace[a->h->defs[value].at]));
	if (!l || !assigned_name(l->text, name))
		return false;
	*line = l->line;
	return true;
}

/* ---- advisers
 * --------------------------------------------------------------------------------------- */

static bool null_check(const struct advice *a, const struct reg *r)
{
	char name[48];
	u32 line;

	if (!(r->flags & REG_NULLABLE))
		return false;
	if (value_name(a, a->value, name, &line))
		text_printf(a->out, "add `if (!%s) return 0;` behind line %u", name, line);
	else
		text_printf(a->out, "add `if (!p) return 0;` behind the call that returned p");
	return true;
}

/* Times what an index is multiplied on its way into a pointer; 1 when not known. */
static u64 scale_of(const struct advice *a, u32 value)
{
	const struct def *d = &a->h->defs[value];
	const struct bpf_insn *insn;

	for (; d->kind == DEF_ALU && value; value = d->from, d = &a->h->defs[value]) {
		insn = &a->v->insns[trace_insn(a->v->trace[d->at])];
		if (BPF_SRC(insn->code) != BPF_K || insn->imm <= 0)
			continue;
		if (BPF_OP(insn->code) == BPF_MUL)
			return (u64)insn->imm;
		if (BPF_OP(insn->code) == BPF_LSH && insn->imm < 29)
			return 1ull << insn->imm;
	}
	return 1;
}

/* The number that was added to the pointer; 0: none is known. */
static u32 added_to(const struct advice *a, u32 value)
{
	u32 hops;

	for (hops = 0; a->h && value && hops < 16; hops++, value = a->h->defs[value].from)
		if (a->h->defs[value].moves_pointer && a->h->defs[value].with)
			return a->h->defs[value].with;
	return 0;
}

/* Bytes of the access at fault behind what the register points to, from its base. */
static bool accessed(const struct advice *a, const struct reg *r, s64 *off, u64 *size)
{
	const struct bpf_insn *insn = &a->v->insns[a->v->insn];
	const struct isa_op *op = &isa_ops[insn->code];

	if (op->kind != ISA_LOAD && op->kind != ISA_STORE && op->kind != ISA_ATOMIC)
		return false;
	*off = (s64)r->off + insn->off;
	*size = op->width;
	return true;
}

static bool region_bounds(const struct advice *a, const struct reg *r)
{
	u64 region, size, most, scale;
	u32 index = added_to(a, a->value), line = here(a);
	char name[48] = "i";
	s64 off;

	if (r->type == REG_MAP_VALUE && r->what < a->v->p->nmaps)
		region = a->v->p->maps[r->what]->attr.value_size;
	else if (r->type == REG_MEM)
		region = r->size;
	else
		return false;
	if (!strstr(a->message, "is outside of the allowed") &&
	    !strstr(a->message, "value is negative") &&
	    !strstr(a->message, "unbounded memory access"))
		return false;
	if (!accessed(a, r, &off, &size))
		return false;
	if (num_is_const(&r->n)) {
		off += r->n.smin;
		text_printf(a->out, "bytes %lld to %lld are accessed, and there are %llu",
			    (long long)off, (long long)off + (long long)size - 1,
			    (unsigned long long)region);
		return true;
	}
	if (off < 0 || (u64)off + size > region)
		return false;
	scale = index ? scale_of(a, index) : 1;
	most = (region - (u64)off - size) / scale;
	if (line && line_at(a, a->v->insn))
		index_name(line_at(a, a->v->insn)->text, name);
	text_printf(a->out, "add `if (%s > %llu) return 0;`, with %s unsigned, ", name,
		    (unsigned long long)most, name);
	if (line)
		text_printf(a->out, "before line %u", line);
	else
		text_printf(a->out, "before it");
	return true;
}

static bool packet_bounds(const struct advice *a, const struct reg *r)
{
	u32 line = here(a), got;
	char name[48] = "p";
	u64 size;
	s64 off;

	if (!reg_is_pkt(r) || !strstr(a->message, "outside of the packet") ||
	    !accessed(a, r, &off, &size))
		return false;
	if (off < 0 || off > MAX_PACKET_OFF)
		return false;
	value_name(a, a->value, name, &got);
	text_printf(a->out, "add `if ((void *)%s + %lld > data_end) return ...;` ", name,
		    (long long)off + (long long)size);
	text_printf(a->out, line ? "before line %u" : "before it", line);
	if (!num_is_const(&r->n))
		text_puts(a->out, ", with the very pointer that is then followed");
	return true;
}

static bool lost_register(const struct advice *a, const struct reg *r)
{
	const struct def *d = a->h && a->value ? &a->h->defs[a->value] : NULL;
	const struct prog_line *l;

	if (r->type != REG_NONE || !strstr(a->message, "!read_ok"))
		return false;
	if (!d || d->kind != DEF_LOST) {
		text_puts(a->out, "nothing was ever stored in it on this path");
		return true;
	}
	l = line_at(a, trace_insn(a->v->trace[d->at]));
	if (l)
		text_printf(a->out, "the call in line %u leaves nothing in R0 to R5", l->line);
	else
		text_printf(a->out,
			    "the call of insn %u leaves nothing in R0 to R5: keep it in R6 to R9",
			    trace_insn(a->v->trace[d->at]));
	return true;
}

static bool number_followed(const struct advice *a, const struct reg *r)
{
	const struct def *d = a->h && a->value ? &a->h->defs[a->value] : NULL;

	if (r->type != REG_SCALAR || !strstr(a->message, "invalid mem access"))
		return false;
	if (num_is_const(&r->n) && r->n.smin == 0)
		text_puts(a->out, "on this path it is NULL");
	else if (d && d->kind == DEF_LOAD)
		text_puts(a->out, "what is loaded from memory is a number: read behind it with "
				  "bpf_probe_read_kernel() or bpf_probe_read_user()");
	else if (d && d->kind == DEF_ALU)
		text_puts(a->out, "arithmetic made a number of it: keep the pointer, and add a "
				  "checked offset");
	else
		return false;
	return true;
}

static bool size_argument(const struct advice *a, const struct reg *r)
{
	const struct reg *mem;
	u64 room = 0;
	char name[48] = "size";
	u32 line = here(a), got;

	if (isa_ops[a->v->insns[a->v->insn].code].kind != ISA_CALL || r->type != REG_SCALAR ||
	    a->r < 2)
		return false;
	if (!strstr(a->message, "min value is negative") &&
	    !strstr(a->message, "unbounded memory access") && !strstr(a->message, "zero-sized"))
		return false;
	mem = cur_reg(a->v, a->r - 1);
	if (mem->type == REG_STACK && num_is_const(&mem->n) && mem->off < 0)
		room = (u64)-mem->off;
	else if (mem->type == REG_MAP_VALUE && mem->what < a->v->p->nmaps && mem->off >= 0)
		room = a->v->p->maps[mem->what]->attr.value_size - (u32)mem->off;
	else if (mem->type == REG_MEM)
		room = mem->size;
	else if (reg_is_pkt(mem))
		room = mem->size;
	if (!room)
		return false;
	value_name(a, a->value, name, &got);
	text_printf(a->out, "add `if (%s%s > %llu) return 0;`, with %s unsigned, ",
		    strstr(a->message, "zero-sized") ? "size == 0 || " : "", name,
		    (unsigned long long)room, name);
	text_printf(a->out, line ? "before line %u" : "before the call", line);
	return true;
}

/* ---- advisers that need no register
 * ------------------------------------------------------------------ */

/* A function of the program's modules that releases. */
static const char *releaser(const struct verifier *v)
{
	u32 i;

	for (i = 0; i < v->p->nnatives; i++)
		if (v->p->natives[i] && v->p->natives[i]->flags & FERRY_RELEASE)
			return v->p->natives[i]->name;
	return "its releasing function";
}

static bool unreleased(const struct advice *a)
{
	const struct state *s = a->v->cur;
	const struct bpf_insn *insn;
	const struct prog_line *l;
	const struct helper_proto *p;

	if (!s->nrefs || !strstr(a->message, "reference leak"))
		return false;
	insn = &a->v->insns[s->refs[0].insn];
	l = line_at(a, s->refs[0].insn);
	p = insn->src_reg == 0 ? helper_of((u32)insn->imm) : NULL;
	if (p)
		text_printf(a->out, "what bpf_%s", p->name);
	else
		text_puts(a->out, "what the call");
	text_printf(a->out, l ? " acquired in line %u" : " acquired at insn %u",
		    l ? l->line : s->refs[0].insn);
	if (p && p->ret == RET_ALLOC_MEM_OR_NULL)
		text_puts(
			a->out,
			" has to go to bpf_ringbuf_submit() or bpf_ringbuf_discard() before this");
	else
		text_printf(a->out, " has to go to %s() before this",
			    p ? "its release helper" : releaser(a->v));
	return true;
}

static bool endless(const struct advice *a)
{
	u32 i, from = ~0u, to = 0, at = a->v->insn;

	if (!strstr(a->message, "infinite loop") || a->v->ntrace < 2)
		return false;
	for (i = a->v->ntrace - 1; i-- > 0;) {
		const struct prog_line *l = line_at(a, trace_insn(a->v->trace[i]));

		if (l && l->line < from)
			from = l->line;
		if (l && l->line > to)
			to = l->line;
		if (trace_insn(a->v->trace[i]) == at)
			break;
	}
	if (to && to != from)
		text_printf(a->out,
			    "a round through lines %u to %u ends with everything as it began", from,
			    to);
	else if (to)
		text_printf(a->out,
			    "a round of the loop in line %u ends with everything as it began", to);
	else
		text_puts(a->out, "a round of it ends with everything as it began");
	return true;
}

static bool other_type(const struct advice *a)
{
	const struct helper_proto *h = helper_of((u32)a->v->insns[a->v->insn].imm);
	u32 t, n = 0;

	if (!h || !strstr(a->message, "cannot use helper"))
		return false;
	for (t = 1; t < 64; t++) {
		const struct prog_type *type = prog_type_of(t);

		if (type && type->helpers & h->groups)
			text_printf(a->out, "%s%s", n++ ? ", " : "those that may: ", type->name);
	}
	if (!n)
		text_puts(a->out, "no program type that is run here may");
	return true;
}

static bool stack_hole(const struct advice *a, const struct reg *r)
{
	u32 line = here(a);

	if (r->type != REG_STACK || !strstr(a->message, "invalid read from stack"))
		return false;
	if (line)
		text_printf(a->out,
			    "add ` = {}` or memset() to what line %u reads: padding counts too",
			    line);
	else
		text_puts(a->out, "store to every byte of it first");
	return true;
}

bool vadvise(const struct advice *a)
{
	static bool (*const of_regs[])(const struct advice *, const struct reg *) = {
		null_check,      region_bounds, packet_bounds, lost_register,
		number_followed, size_argument, stack_hole,
	};
	static bool (*const of_all[])(const struct advice *) = { unreleased, endless, other_type };
	size_t i;

	if (!a->v->cur)
		return false;
	for (i = 0; i < ARRAY_SIZE(of_all); i++)
		if (of_all[i](a))
			return true;
	for (i = 0; i < ARRAY_SIZE(of_regs) && a->r <= 10; i++)
		if (of_regs[i](a, cur_reg(a->v, a->r)))
			return true;
	return false;
}
