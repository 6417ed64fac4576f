/* SPDX-License-Identifier: MIT */
/*
 * Why a program was refused, for people: where, what was known of the value at fault and how that
 * came about, what would be right, and the path that led there, its loops folded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "btf/fbtf.h"
#include "verify/trace.h"

#define NO_REG    11
#define MAX_FACTS 10
#define MAX_FOLD  48 /* steps of one round of a loop that is told once */

/* ---- places ------------------------------------------------------------------------------------
 */

const char *vfunc_name(struct verifier *v, u32 func)
{
	static _Thread_local char names[4][32];
	static _Thread_local u32 next;
	const struct prog_func *f = func < v->p->nfuncs ? &v->p->funcs[func] : NULL;
	const struct btf_type *t =
		f && f->btf_id && v->p->btf ? btf__type_by_id(v->p->btf, f->btf_id) : NULL;
	char *name;

	if (t && btf_is_func(t) && btf__name_by_offset(v->p->btf, t->name_off))
		return btf__name_by_offset(v->p->btf, t->name_off);
	if (!func && v->p->name[0])
		return v->p->name;
	name = names[next++ % ARRAY_SIZE(names)];
	snprintf(name, sizeof(names[0]), func ? "func#%u" : "main", func);
	return name;
}

struct why_place vplace(struct verifier *v, u32 insn, struct text *code)
{
	const struct prog_line *l = prog_line_at(v->p, insn);
	const struct prog_func *f = prog_func_at(v->p, insn);
	struct why_place at = { .insn = insn, .file = "", .source = "", .func = "" };
	const char *slash;

	if (l && l->line) {
		at.line = l->line;
		at.source = l->text ? l->text : "";
		at.file = l->file ? l->file : "";
		at.source += strspn(at.source, " \t");
		slash = strrchr(at.file, '/');
		at.file = slash ? slash + 1 : at.file;
	}
	if (f)
		at.func = vfunc_name(v, (u32)(f - v->p->funcs));
	text_reset(code);
	vlog_code(v, insn, code);
	at.code = text_str(code);
	return at;
}

/* ---- the path ----------------------------------------------------------------------------------
 */

/* A step being folded: like struct why_step, by numbers. */
struct event {
	u32 at; /* in the trace */
	u32 key;
	u32 span, times;
	u8 kind;
};

struct events {
	struct event *e;
	size_t n, cap;
};

static bool same_rounds(const struct events *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		const struct event *a = &s->e[s->n - 2 * len + i], *b = &s->e[s->n - len + i];

		if (a->key != b->key)
			return false;
		if ((a->times != b->times || a->span != b->span) &&
		    !(i == len - 1 && a->span == len))
			return false;
	}
	return true;
}

/* The last steps may be another round of what was done before them. */
static void fold(struct events *s)
{
	size_t len;

	for (len = 1; len <= MAX_FOLD && 2 * len <= s->n; len++) {
		struct event *before = &s->e[s->n - len - 1];

		if (before->key != s->e[s->n - 1].key || !same_rounds(s, len))
			continue;
		if (before->span == len && before->times > 1)
			before->times++;
		else if (before->times > 1)
			continue; /* already stands for something else */
		else
			*before = (struct event){ before->at, before->key, (u32)len, 2,
						  before->kind };
		s->n -= len;
		return;
	}
}

static bool add_event(struct events *s, u32 at, u8 kind, u32 key)
{
	struct event *e = base_grow(s->e, &s->cap, s->n + 1, sizeof(*e));

	if (!e)
		return false;
	s->e = e;
	e[s->n++] = (struct event){ at, key, 1, 1, kind };
	fold(s);
	return true;
}

static bool find_events(struct verifier *v, struct events *s)
{
	u32 i;

	if (!add_event(s, 0, WHY_START, ~0u))
		return false;
	for (i = 0; i + 1 < v->ntrace; i++) {
		u32 insn = trace_insn(v->trace[i]), depth = trace_depth(v->trace[i]);
		u32 next = trace_depth(v->trace[i + 1]);
		bool ok = true;

		if (isa_ops[v->insns[insn].code].kind == ISA_JCC)
			ok = add_event(s, i, WHY_BRANCH, insn * 2 + vtrace_taken(v, i));
		else if (next > depth)
			ok = add_event(s, i, WHY_CALL, insn * 2);
		else if (next < depth)
			ok = add_event(s, i, WHY_RETURN, insn * 2);
		if (!ok)
			return false;
	}
	return true;
}

/* ---- keeping
 * ------------------------------------------------------------------------------------- */

static const char *keep(struct why *w, const char *s)
{
	char *copy = arena_strdup(&w->arena, s);

	if (copy)
		text_clean(copy);
	return copy ? copy : "";
}

static struct why_place keep_place(struct verifier *v, struct why *w, u32 insn)
{
	struct text code = { 0 };
	struct why_place at = vplace(v, insn, &code);

	at.file = keep(w, at.file);
	at.source = keep(w, at.source);
	at.func = keep(w, at.func);
	at.code = keep(w, at.code);
	text_free(&code);
	return at;
}

/* "if r1 > 0x5 goto pc+3" is the condition without where to. */
static const char *condition(struct why *w, const char *code)
{
	char *copy = arena_strdup(&w->arena, code + (strncmp(code, "if ", 3) ? 0 : 3)), *go;

	go = copy ? strstr(copy, " goto ") : NULL;
	if (go)
		*go = '\0';
	return copy ? copy : "";
}

static void keep_step(struct verifier *v, struct why *w, const struct event *e)
{
	struct why_step *s = &w->steps[w->nsteps++];
	u32 to = trace_insn(v->trace[e->at + 1 < v->ntrace ? e->at + 1 : e->at]);
	const struct prog_func *f;

	s->kind = e->kind;
	s->span = e->span;
	s->times = e->times;
	s->at = keep_place(v, w, trace_insn(v->trace[e->at]));
	s->to = keep_place(v, w, to);
	if (e->kind == WHY_BRANCH) {
		s->what = condition(w, s->at.code);
		s->yes = e->key & 1;
	} else if (e->kind == WHY_CALL) {
		f = prog_func_at(v->p, to);
		s->what = keep(w, f ? vfunc_name(v, (u32)(f - v->p->funcs)) : "");
	} else if (e->kind == WHY_RETURN) {
		s->what = s->at.func;
	}
}

static void keep_path(struct verifier *v, struct why *w)
{
	struct events s = { 0 };
	size_t i, left = 0;

	w->walked = v->ntrace;
	if (v->ntrace && find_events(v, &s)) {
		if (s.n > WHY_FIRST + WHY_LAST)
			left = s.n - WHY_FIRST - WHY_LAST;
		w->left_out = (u32)left;
		w->steps = arena_alloc(&w->arena, (s.n - left) * sizeof(*w->steps));
		for (i = 0; i < s.n && w->steps; i++)
			if (i < WHY_FIRST || i >= WHY_FIRST + left)
				keep_step(v, w, &s.e[i]);
	}
	base_free(s.e);
}

/* ---- the value at fault
 * --------------------------------------------------------------------------- */

/* The register that the reason names, or the one that the instruction follows. */
static u32 at_fault(struct verifier *v, const char *message)
{
	const struct bpf_insn *insn = &v->insns[v->insn];
	const char *p;

	for (p = message; (p = strchr(p, 'R')); p++)
		if (p[1] >= '0' && p[1] <= '9' && (p == message || p[-1] == ' ' || p[-1] == '('))
			return strtoul(p + 1, NULL, 10) <= 10 ? (u32)strtoul(p + 1, NULL, 10)
							      : NO_REG;
	/* Not of reasons that lie in the flow. */
	if (!strstr(message, "access") && !strstr(message, "stack") && !strstr(message, "pointer"))
		return NO_REG;
	switch (isa_ops[insn->code].kind) {
	case ISA_LOAD: return insn->src_reg;
	case ISA_STORE:
	case ISA_ATOMIC: return insn->dst_reg;
	}
	return NO_REG;
}

static void describe_range(const struct num *n, struct text *out)
{
	if (num_is_const(n))
		text_printf(out, "%lld", (long long)n->smin);
	else if (n->smin == INT64_MIN && n->smax == INT64_MAX && n->umax == UINT64_MAX)
		text_puts(out, "anything");
	else if (n->smin >= 0 || n->smin > -(1ll << 40))
		text_printf(out, "%lld to %lld", (long long)n->smin, (long long)n->smax);
	else if (n->umin || n->umax != UINT64_MAX)
		text_printf(out, "%llu to %llu, as unsigned number", (unsigned long long)n->umin,
			    (unsigned long long)n->umax);
	else
		text_printf(out, "at most %lld, and maybe negative", (long long)n->smax);
}

static void describe_pointer(struct verifier *v, const struct reg *r, struct text *out)
{
	const struct map *m =
		(r->type == REG_MAP || r->type == REG_MAP_VALUE) && r->what < v->p->nmaps
			? v->p->maps[r->what]
			: NULL;

	if (m)
		text_printf(out, r->type == REG_MAP ? "the map '%s'" : "a value of the map '%s'",
			    m->attr.name[0] ? m->attr.name : m->ops->name);
	else if (r->type == REG_STACK)
		text_puts(out, "the stack");
	else if (r->type == REG_CTX)
		text_puts(out, "the context");
	else if (r->type == REG_BTF)
		text_printf(out, "a %s", vtyped_name(v, r));
	else if (r->type == REG_PKT_END)
		text_puts(out, "the end of the packet");
	else if (reg_is_pkt(r))
		text_puts(out, "the packet");
	else
		text_puts(out, "memory");
	if (r->type == REG_MAP_VALUE && m)
		text_printf(out, " of %u bytes", m->attr.value_size);
	else if (r->type == REG_MEM)
		text_printf(out, " of %u bytes", r->size);
	else if (reg_is_pkt(r))
		text_printf(out, ", of which %u bytes are proved to be there", r->size);
	if (r->off || !num_is_const(&r->n) || r->n.bits.value) {
		text_printf(out, "; at byte %d", r->off);
		if (!num_is_const(&r->n) || r->n.bits.value) {
			text_puts(out, " plus ");
			describe_range(&r->n, out);
		}
	}
	if (r->flags & REG_NULLABLE)
		text_puts(out, "; or NULL");
}

static void describe(struct verifier *v, u32 r, struct text *out)
{
	const struct reg *reg = cur_reg(v, r);

	text_printf(out, "R%u", r);
	if (reg->type == REG_NONE) {
		text_puts(out, " was never given a value");
		return;
	}
	text_puts(out, "=");
	vlog_reg(v, reg, out);
	text_puts(out, reg->type == REG_SCALAR ? ": a number, " : ": a pointer to ");
	if (reg->type == REG_SCALAR)
		describe_range(&reg->n, out);
	else
		describe_pointer(v, reg, out);
}

/* ---- where its value came from
 * -------------------------------------------------------------------- */

static void def_text(struct verifier *v, const struct def *d, const struct bpf_insn *insn,
		     struct text *out)
{
	switch (d->kind) {
	case DEF_START:
		text_puts(out, d->at ? "given to the callback" : "given to the program");
		break;
	case DEF_CONST:
		text_puts(out, isa_is_ldimm64(insn) && insn->src_reg == BPF_PSEUDO_FUNC ? "the address of a function" :
			       isa_is_ldimm64(insn) && insn->src_reg ? "the address of a map"
								     : "set to a constant");
		break;
	case DEF_LOAD: text_puts(out, "read from memory"); break;
	case DEF_ALU:
		text_puts(out, d->moves_pointer ? "the pointer was moved" : "computed");
		break;
	case DEF_RESULT:
		if (insn->src_reg == BPF_PSEUDO_KFUNC_CALL && (u32)insn->imm < v->p->nnatives)
			text_printf(out, "returned by %s()", v->p->natives[insn->imm]->name);
		else
			text_printf(out, "returned by bpf_%s()",
				    helper_name((u32)insn->imm) ? helper_name((u32)insn->imm)
								: "?");
		break;
	case DEF_LOST:
		text_puts(out, "overwritten by the call: R0 to R5 do not survive one");
		break;
	}
}

struct story {
	struct {
		u32 at;
		bool check;
		u32 value;
	} facts[MAX_FACTS];
	u32 n;
};

static void tell(struct story *s, u32 at, bool check, u32 value)
{
	u32 i;

	/* In order of time, each once; the oldest go when there are too many. */
	for (i = s->n; i > 0 && s->facts[i - 1].at > at; i--)
		;
	if (i && s->facts[i - 1].at == at)
		return;
	if (s->n == MAX_FACTS) {
		if (!i)
			return;
		memmove(&s->facts[0], &s->facts[1], (i - 1) * sizeof(s->facts[0]));
		i--;
	} else {
		memmove(&s->facts[i + 1], &s->facts[i], (s->n - i) * sizeof(s->facts[0]));
		s->n++;
	}
	s->facts[i].at = at;
	s->facts[i].check = check;
	s->facts[i].value = value;
}

static void tell_value(const struct history *h, struct story *s, u32 value, u32 depth)
{
	size_t i;
	u32 hops;

	for (hops = 0; value && hops < MAX_FACTS; hops++) {
		const struct def *d = &h->defs[value];

		tell(s, d->at, false, value);
		for (i = h->nchecks; i-- > 0;)
			if (h->checks[i].value == value)
				tell(s, h->checks[i].at, true, value);
		/* How far a pointer was moved is what is in question. */
		if (d->kind == DEF_ALU && d->moves_pointer && d->with && depth < 3)
			tell_value(h, s, d->with, depth + 1);
		if (d->kind != DEF_ALU)
			break;
		value = d->from;
	}
}

static void keep_story(struct verifier *v, struct why *w, const struct history *h, u32 value)
{
	struct story s = { 0 };
	struct text what = { 0 };
	u32 i;

	tell_value(h, &s, value, 0);
	w->facts = s.n ? arena_alloc(&w->arena, s.n * sizeof(*w->facts)) : NULL;
	for (i = 0; i < s.n && w->facts; i++) {
		u32 insn = trace_insn(v->trace[s.facts[i].at]);
		struct why_fact *f = &w->facts[w->nfacts++];

		f->at = keep_place(v, w, insn);
		text_reset(&what);
		if (s.facts[i].check)
			text_printf(&what, "checked: %s: %s", condition(w, f->at.code),
				    vtrace_taken(v, s.facts[i].at) ? "yes" : "no");
		else
			def_text(v, &h->defs[s.facts[i].value], &v->insns[insn], &what);
		f->what = keep(w, text_str(&what));
	}
	text_free(&what);
}

/* ---- all
 * ------------------------------------------------------------------------------------------ */

static void gather(struct verifier *v, struct why *w, const char *hint)
{
	u32 r = v->cur && v->ntrace ? at_fault(v, w->message) : NO_REG, value = 0;
	struct history *h = base_alloc(sizeof(*h));
	struct text text = { 0 };
	bool known = h && r != NO_REG && v->ntrace && vhistory(v, h);

	w->has_place = v->form_ok && v->insn < v->cnt;
	if (w->has_place)
		w->at = keep_place(v, w, v->insn);
	if (r != NO_REG) {
		describe(v, r, &text);
		w->subject = keep(w, text_str(&text));
		text_reset(&text);
	}
	if (known)
		value = h->regs[v->cur->nframes - 1][r];
	if (value)
		keep_story(v, w, h, value);
	text_printf(&text, "%s; ", hint);
	if (!v->ntrace ||
	    !vadvise(&(struct advice){ v, known ? h : NULL, w->message, r, value, &text })) {
		text_reset(&text);
		text_puts(&text, hint);
	}
	w->hint = keep(w, text_str(&text));
	text_free(&text);
	if (h)
		vhistory_free(h);
	base_free(h);
	keep_path(v, w);
}

void vexplain(struct verifier *v, int err, const char *message, const char *hint)
{
	static const struct why_paint plain = { "", "", "", "", "" };
	bool paths = v->log && v->level & LEVEL_PATHS;
	struct why w = { .err = err };

	if (!hint)
		hint = "see docs/verifier.md";
	if (!paths && !v->watch) {
		if (v->log)
			text_printf(v->log, "hint: %s\n", hint);
		return;
	}
	w.message = keep(&w, message);
	gather(v, &w, hint);
	if (paths)
		why_print(&w, &plain, v->log);
	else if (v->log)
		text_printf(v->log, "hint: %s\n", w.hint);
	if (v->watch) {
		why_free(&v->watch->why);
		v->watch->why = w;
	} else {
		why_free(&w);
	}
}

void why_free(struct why *w)
{
	arena_free(&w->arena);
	memset(w, 0, sizeof(*w));
}
