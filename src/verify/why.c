/* SPDX-License-Identifier: MIT */
/* An explanation as text and as JSON. */
#include <string.h>

#include "verify/explain.h"

static void print_place(const struct why_place *at, const struct why_paint *p, struct text *out)
{
	if (at->line)
		text_printf(out, "%s%s:%u%s", p->strong, at->file, at->line, p->plain);
	else
		text_printf(out, "%sinsn %u%s", p->strong, at->insn, p->plain);
}

/* The source line, else the instruction. */
static const char *line_of(const struct why_place *at)
{
	return *at->source ? at->source : at->code;
}

static void print_value(const struct why *w, const struct why_paint *p, struct text *out)
{
	u32 i;

	if (!w->subject)
		return;
	text_printf(out, "  known: %s\n", w->subject);
	for (i = 0; i < w->nfacts; i++) {
		text_puts(out, "    ");
		print_place(&w->facts[i].at, p, out);
		text_printf(out, ": %s  %s%s%s\n", w->facts[i].what, p->dim,
			    line_of(&w->facts[i].at), p->plain);
	}
}

static void print_step(const struct why_step *s, const struct why_paint *p, struct text *out)
{
	text_puts(out, "    ");
	print_place(&s->at, p, out);
	switch (s->kind) {
	case WHY_START: text_printf(out, ": %s starts", s->at.func); break;
	case WHY_BRANCH:
		text_printf(out, ": %s  %s(insn %u: %s: %s", s->at.source, p->dim, s->at.insn,
			    s->what, s->yes ? "yes" : "no");
		if (s->to.line && s->to.line != s->at.line)
			text_printf(out, ", on to line %u", s->to.line);
		text_printf(out, ")%s", p->plain);
		break;
	case WHY_CALL:
		text_printf(out, ": %s  %s(calls %s)%s", s->at.source, p->dim, s->what, p->plain);
		break;
	case WHY_RETURN: text_printf(out, ": %s returns", s->what); break;
	}
	if (s->times > 1)
		text_printf(out, "  [%s %u times]", s->span > 1 ? "a round of the loop," : "this,",
			    s->times);
	text_puts(out, "\n");
	if (s->times > 1 && s->span > 1)
		text_printf(out, "      (a round: the %u steps up to here)\n", s->span);
}

static void print_path(const struct why *w, const struct why_paint *p, struct text *out)
{
	u32 i;

	if (!w->nsteps)
		return;
	text_printf(out, "  path: %u instruction%s\n", w->walked, w->walked == 1 ? "" : "s");
	for (i = 0; i < w->nsteps; i++) {
		if (i == WHY_FIRST && w->left_out)
			text_printf(out, "    ... %u steps left out ...\n", w->left_out);
		print_step(&w->steps[i], p, out);
	}
	text_puts(out, "    ");
	print_place(&w->at, p, out);
	text_printf(out, ": %srefused here%s\n", p->bad, p->plain);
}

void why_print(const struct why *w, const struct why_paint *p, struct text *out)
{
	text_printf(out, "hint: %s%s%s\n", p->good, w->hint, p->plain);
	if (w->has_place) {
		text_puts(out, "  at ");
		print_place(&w->at, p, out);
		if (*w->at.func)
			text_printf(out, " in %s", w->at.func);
		text_printf(out, ", insn %u: %s\n", w->at.insn, w->at.code);
		if (*w->at.source)
			text_printf(out, "     %s\n", w->at.source);
	}
	print_value(w, p, out);
	print_path(w, p, out);
}

static void json_place(const struct why_place *at, struct text *out)
{
	text_printf(out, "{\"insn\":%u,\"code\":", at->insn);
	text_json(out, at->code);
	text_puts(out, ",\"function\":");
	text_json(out, at->func);
	text_puts(out, ",\"file\":");
	text_json(out, at->file);
	text_printf(out, ",\"line\":%u,\"source\":", at->line);
	text_json(out, at->source);
	text_puts(out, "}");
}

static void json_path(const struct why *w, struct text *out)
{
	static const char *const kinds[] = { "start", "branch", "call", "return" };
	u32 i;

	text_printf(out, ",\"path\":{\"insns\":%u,\"left_out\":%u,\"steps\":[", w->walked,
		    w->left_out);
	for (i = 0; i < w->nsteps; i++) {
		const struct why_step *s = &w->steps[i];

		text_printf(out, "%s{\"kind\":\"%s\",\"at\":", i ? "," : "", kinds[s->kind]);
		json_place(&s->at, out);
		if (s->what) {
			text_puts(out, ",\"what\":");
			text_json(out, s->what);
		}
		if (s->kind == WHY_BRANCH)
			text_printf(out, ",\"taken\":%s", s->yes ? "true" : "false");
		text_printf(out, ",\"span\":%u,\"times\":%u}", s->span, s->times);
	}
	text_puts(out, "]}");
}

void why_json(const struct why *w, struct text *out)
{
	u32 i;

	text_printf(out, "{\"errno\":%d,\"message\":", -w->err);
	text_json(out, w->message ? w->message : "");
	text_puts(out, ",\"hint\":");
	text_json(out, w->hint ? w->hint : "");
	if (w->has_place) {
		text_puts(out, ",\"at\":");
		json_place(&w->at, out);
	}
	if (w->subject) {
		text_puts(out, ",\"known\":");
		text_json(out, w->subject);
		text_puts(out, ",\"history\":[");
		for (i = 0; i < w->nfacts; i++) {
			text_puts(out, i ? ",{\"at\":" : "{\"at\":");
			json_place(&w->facts[i].at, out);
			text_puts(out, ",\"what\":");
			text_json(out, w->facts[i].what);
			text_puts(out, "}");
		}
		text_puts(out, "]");
	}
	json_path(w, out);
	text_puts(out, "}");
}
