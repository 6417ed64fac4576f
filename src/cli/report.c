/* SPDX-License-Identifier: MIT */
/*
 * A verification as a page: the refusal explained, the failing path step by step, and the program
 * with source beside instructions. All text is the object file's, and so hostile: everything goes
 * through html(), and the page's policy allows no script but its own.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/report.h"
#include "ferry/ferry.h"
#include "report_text.h"

#define PROG_MAX (6u << 20) /* bytes of one program's part */
#define NEAR     12         /* instructions shown around the failing path when not all are */

static void html(struct text *t, const char *s)
{
	char *copy = base_strdup(s), *p;

	if (!copy) {
		t->oom = true;
		return;
	}
	text_clean(copy);
	for (p = copy; *p; p++) {
		switch (*p) {
		case '&': text_puts(t, "&amp;"); break;
		case '<': text_puts(t, "&lt;"); break;
		case '>': text_puts(t, "&gt;"); break;
		case '"': text_puts(t, "&quot;"); break;
		case '\'': text_puts(t, "&#39;"); break;
		default: text_add(t, p, 1);
		}
	}
	base_free(copy);
}

/* ---- one program
 * ------------------------------------------------------------------------------------ */

struct page {
	struct text *t;
	const struct report_prog *p;
	const struct verify_watch *w;
	u32 id;       /* of the program, in anchors */
	u8 *mark;     /* per instruction: MARK_* */
	size_t start; /* of this program in t */
};
enum { MARK_PATH = 1, MARK_NEAR = 2, MARK_END = 4 };

static bool room(const struct page *g)
{
	return g->t->len - g->start < PROG_MAX && g->t->len < REPORT_MAX && !g->t->oom;
}

static void link_insn(const struct page *g, u32 insn)
{
	text_printf(g->t, "<a class=m href=\"#p%u-i%u\">%u</a>", g->id, insn, insn);
}

static void place(const struct page *g, const struct why_place *at)
{
	text_printf(g->t, "<a href=\"#p%u-i%u\">", g->id, at->insn);
	if (at->line) {
		html(g->t, at->file);
		text_printf(g->t, ":%u</a>", at->line);
	} else {
		text_printf(g->t, "insn %u</a>", at->insn);
	}
}

static void code(const struct page *g, const char *s)
{
	text_puts(g->t, "<code>");
	html(g->t, s);
	text_puts(g->t, "</code>");
}

static void path_step(const struct page *g, const struct why_step *s)
{
	text_puts(g->t, "<li>");
	place(g, &s->at);
	text_puts(g->t, " ");
	if (s->kind == WHY_START || s->kind == WHY_RETURN) {
		html(g->t, s->kind == WHY_START ? s->at.func : s->what);
		text_puts(g->t, s->kind == WHY_START ? " starts" : " returns");
	} else {
		code(g, *s->at.source ? s->at.source : s->at.code);
		text_puts(g->t,
			  s->kind == WHY_CALL ? " <span class=dim>calls " : " <span class=dim>");
		html(g->t, s->what);
		if (s->kind == WHY_BRANCH)
			text_printf(g->t, ": %s", s->yes ? "yes" : "no");
		if (s->kind == WHY_BRANCH && s->to.line && s->to.line != s->at.line)
			text_printf(g->t, ", on to line %u", s->to.line);
		text_puts(g->t, "</span>");
	}
	if (s->times > 1 && s->span > 1)
		text_printf(g->t, " <b>the last %u steps, %u times</b>", s->span, s->times);
	else if (s->times > 1)
		text_printf(g->t, " <b>%u times</b>", s->times);
	text_puts(g->t, "</li>\n");
}

static void explanation(const struct page *g)
{
	const struct why *w = &g->w->why;
	u32 i;

	text_puts(g->t, "<div class=why><pre class=msg>");
	html(g->t, w->message ? w->message : "refused");
	text_puts(g->t, "</pre>\n");
	if (w->has_place) {
		text_puts(g->t, "<p>at ");
		place(g, &w->at);
		text_puts(g->t, " in ");
		html(g->t, w->at.func);
		text_puts(g->t, ": ");
		code(g, *w->at.source ? w->at.source : w->at.code);
		text_puts(g->t, "</p>\n");
	}
	text_puts(g->t, "<p class=hint>");
	html(g->t, w->hint ? w->hint : "");
	text_puts(g->t, "</p>\n");
	if (w->subject) {
		text_puts(g->t, "<h3>What was known</h3><p>");
		code(g, w->subject);
		text_puts(g->t, "</p><ul class=facts>\n");
		for (i = 0; i < w->nfacts; i++) {
			text_puts(g->t, "<li>");
			place(g, &w->facts[i].at);
			text_puts(g->t, " ");
			html(g->t, w->facts[i].what);
			text_puts(g->t, " ");
			code(g,
			     *w->facts[i].at.source ? w->facts[i].at.source : w->facts[i].at.code);
			text_puts(g->t, "</li>\n");
		}
		text_puts(g->t, "</ul>\n");
	}
	if (w->nsteps)
		text_printf(g->t, "<h3>The path, %u instructions</h3><ol class=path>\n", w->walked);
	for (i = 0; i < w->nsteps; i++) {
		if (i == WHY_FIRST && w->left_out)
			text_printf(g->t,
				    "</ol><p class=dim>%u steps left out</p><ol class=path "
				    "start=\"%u\">\n",
				    w->left_out, WHY_FIRST + w->left_out + 1);
		path_step(g, &w->steps[i]);
	}
	if (w->nsteps) {
		text_puts(g->t, "<li>");
		place(g, &w->at);
		text_puts(g->t, " <b class=bad>refused here</b></li></ol>");
	}
	text_puts(g->t, "</div>\n");
}

/* ---- states
 * ---------------------------------------------------------------------------------------- */

/* A part of a state, "R1=..." or "fp-8=...", ends where the next begins. */
static size_t part_len(const char *s)
{
	const char *p = s + 1;

	for (; *p; p++)
		if (*p == ' ' &&
		    ((p[1] == 'R' && p[2] >= '0' && p[2] <= '9') || !strncmp(p + 1, "fp-", 3) ||
		     !strncmp(p + 1, "frame", 5) || !strncmp(p + 1, "refs=", 5)))
			break;
	return (size_t)(p - s);
}

static bool has_part(const char *state, const char *part, size_t len)
{
	size_t n;

	for (; state && *state; state += n) {
		n = part_len(state);
		if (n == len && !memcmp(state, part, len))
			return true;
	}
	return false;
}

/* What is in `now` and was not before. */
static void changes(const struct page *g, const char *before, const char *now)
{
	char part[2048];
	size_t n;

	for (; now && *now; now += n) {
		n = part_len(now);
		if (has_part(before, now, n))
			continue;
		snprintf(part, sizeof(part), "%.*s", (int)n, now);
		html(g->t, part);
	}
}

static void steps(const struct page *g)
{
	const struct verify_watch *w = g->w;
	u32 i;

	if (!w->nsteps)
		return;
	text_printf(
		g->t,
		"<details><summary>The failing path step by step: %u of %u instructions, and what "
		"each "
		"found changed</summary>\n<div class=scroll><table><tr><th>Step<th>Insn<th>Code<th>"
		"Before it, changed</tr>\n",
		w->nsteps, w->first_step + w->nsteps);
	if (w->first_step)
		text_printf(g->t,
			    "<tr><td colspan=4 class=dim>%u steps before these are left out</tr>\n",
			    w->first_step);
	for (i = 0; i < w->nsteps && room(g); i++) {
		const struct watch_step *s = &w->steps[i];

		text_printf(g->t, "<tr><td class=m>%u<td>", w->first_step + i + 1);
		link_insn(g, s->insn);
		text_puts(g->t, "<td>");
		if (s->insn < w->ninsns && w->insns[s->insn].at.code)
			code(g, w->insns[s->insn].at.code);
		text_puts(g->t, "<td class=m>");
		changes(g, i ? w->steps[i - 1].state : NULL, s->state);
		text_puts(g->t, "</tr>\n");
	}
	if (i < w->nsteps)
		text_printf(g->t, "<tr><td colspan=4 class=dim>%u more steps left out</tr>\n",
			    w->nsteps - i);
	text_puts(g->t, "</table></div></details>\n");
}

/* ---- instructions
 * ------------------------------------------------------------------------------------ */

static void insn(const struct page *g, u32 i)
{
	const struct watch_insn *in = &g->w->insns[i];
	const char *class = !in->visits && g->w->nsteps == 0 ? " d" : "";
	bool states = in->visits && in->states[0];
	const char *element = states ? "details" : "div";
	u32 k;

	if (g->mark[i] & MARK_END)
		class = " p x";
	else if (g->mark[i] & MARK_PATH)
		class = " p";
	/* An instruction with states is its own disclosure. */
	text_printf(g->t, "<%s class=\"i%s\" id=\"p%u-i%u\">%s<span class=\"n m\">%u</span>", element, class, g->id,
		    i, states ? "<summary>" : "", i);
	code(g, in->at.code ? in->at.code : "");
	if (in->visits > 1)
		text_printf(g->t, "<span class=v>%u times</span>", in->visits);
	else if (!in->visits)
		text_puts(g->t, "<span class=v>not reached</span>");
	text_puts(g->t, states ? "</summary>" : "");
	for (k = 0; k < WATCH_VISITS && states && in->states[k]; k++) {
		text_puts(g->t, "<pre>");
		html(g->t, in->states[k] + (in->states[k][0] == ' '));
		text_puts(g->t, "</pre>");
	}
	if (states && in->visits > WATCH_VISITS)
		text_printf(g->t, "<p class=dim>and %u more visits</p>", in->visits - WATCH_VISITS);
	text_printf(g->t, "</%s>\n", element);
}

static bool same_line(const struct watch_insn *a, const struct watch_insn *b)
{
	return a->at.line == b->at.line && !strcmp(a->at.file, b->at.file) &&
	       !strcmp(a->at.source, b->at.source) && a->func == b->func;
}

static void source(const struct page *g, const struct watch_insn *in)
{
	text_puts(g->t, "<div class=row><div class=src>");
	if (in->at.line) {
		text_printf(g->t, "<span class=\"n m\" title=\"");
		html(g->t, in->at.file);
		text_printf(g->t, "\">%u</span>", in->at.line);
		code(g, in->at.source);
	}
	text_puts(g->t, "</div><div>\n");
}

static void instructions(const struct page *g)
{
	const struct verify_watch *w = g->w;
	const struct watch_insn *in, *last = NULL;
	u32 i, left = 0, func = ~1u;

	for (i = 0; i < w->ninsns; i++) {
		in = &w->insns[i];
		if (!in->at.code)
			continue; /* the second half of the one before */
		/* Where room runs out, what is near the failing path goes on. */
		if (!room(g) || (g->t->len - g->start > PROG_MAX / 2 && !(g->mark[i] & (MARK_NEAR | MARK_END)))) {
			left++;
			continue;
		}
		if (in->func != func) {
			text_puts(g->t, func == ~1u ? ""
					: last      ? "</div></div></details>\n"
						    : "</details>\n");
			text_puts(g->t, "<details class=fn open><summary>");
			html(g->t, in->at.func);
			text_puts(g->t, "</summary>\n");
			func = in->func;
			last = NULL;
		}
		if (!last || !same_line(last, in)) {
			text_puts(g->t, last ? "</div></div>\n" : "");
			source(g, in);
		}
		last = in;
		insn(g, i);
	}
	if (func != ~1u)
		text_puts(g->t, last ? "</div></div></details>\n" : "</details>\n");
	if (left)
		text_printf(g->t,
			    "<p class=\"dim left\">%u of %u instructions are left out to keep the "
			    "page usable; "
			    "'ferry disasm' shows them all.</p>\n",
			    left, w->ninsns);
}

static void mark_path(const struct page *g)
{
	const struct verify_watch *w = g->w;
	u32 i, k, at;

	for (at = 0; at < w->ninsns; at++)
		g->mark[at] = w->insns[at].on_path ? MARK_PATH : 0;
	for (i = 0; i < w->nsteps; i++) {
		at = w->steps[i].insn;
		if (at >= w->ninsns)
			continue;
		g->mark[at] |= i + 1 == w->nsteps ? MARK_END : 0;
		for (k = at > NEAR ? at - NEAR : 0; k <= at + NEAR && k < w->ninsns; k++)
			g->mark[k] |= MARK_NEAR;
	}
	if (w->verdict && w->why.has_place && w->why.at.insn < w->ninsns)
		g->mark[w->why.at.insn] |= MARK_END | MARK_NEAR;
}

static void heading(const struct page *g)
{
	const struct report_prog *p = g->p;
	const struct verify_stats *s = g->w ? &g->w->stats : NULL;

	text_printf(g->t, "<section id=\"p%u\"><h2>", g->id);
	html(g->t, p->name);
	text_printf(g->t, " <span class=%s>%s</span></h2>\n<p class=dim>", p->err ? "bad" : "good",
		    p->err ? "refused" : "accepted");
	html(g->t, p->file);
	text_puts(g->t, ", section ");
	html(g->t, p->section);
	if (s)
		text_printf(g->t, "; %u instructions processed, %u states, %llu us", s->processed,
			    s->total_states, (unsigned long long)s->time_ns / 1000);
	if (p->err) {
		text_puts(g->t, "; ");
		html(g->t, strerror(-p->err));
	}
	text_puts(g->t, "</p>\n");
}

void report_prog(struct report *r, const struct report_prog *p)
{
	struct page g = {
		.t = &r->body, .p = p, .w = p->w, .id = r->programs++, .start = r->body.len
	};

	r->refused += p->err != 0;
	text_printf(&r->index, "<li><a href=\"#p%u\">", g.id);
	html(&r->index, p->name);
	text_printf(&r->index, "</a> <span class=%s>%s</span></li>\n", p->err ? "bad" : "good",
		    p->err ? "refused" : "accepted");
	heading(&g);
	if (!room(&g)) {
		r->bare++;
		text_puts(g.t, "<p class=\"dim left\">Left out: the page is full. --prog chooses "
			       "programs.</p>");
	} else if (!p->w) {
		text_puts(g.t, "<div class=why><pre class=msg>");
		html(g.t, p->log);
		text_puts(g.t, "</pre></div>\n");
	} else {
		if (p->err)
			explanation(&g);
		steps(&g);
		if (p->w->states_left_out)
			text_puts(g.t, "<p class=\"dim left\">Some states are left out: there were "
				       "too many.</p>\n");
		g.mark = p->w->ninsns ? base_alloc(p->w->ninsns) : NULL;
		if (g.mark) {
			mark_path(&g);
			instructions(&g);
		}
		base_free(g.mark);
	}
	text_puts(g.t, "</section>\n");
}

/* ---- the page
 * ---------------------------------------------------------------------------------------- */

static void page_head(const struct report *r, FILE *f)
{
	fprintf(f,
		"<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n"
		"<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; "
		"style-src 'unsafe-inline'; script-src '%s'; base-uri 'none'; form-action "
		"'none'\">\n"
		"<meta name=viewport content=\"width=device-width,initial-scale=1\">\n"
		"<title>ferry verify: %u program%s, %u "
		"refused</title>\n<style>\n%s</style></head>\n<body>\n"
		"<h1>ferry verify</h1>\n<p class=dim>%u program%s, %u refused; ferry %s.</p>\n",
		report_js_sha256, r->programs, r->programs == 1 ? "" : "s", r->refused, report_css,
		r->programs, r->programs == 1 ? "" : "s", r->refused, ferry_version());
	if (r->bare)
		fprintf(f,
			"<p class=dim>%u programs have only their verdict here: the page is "
			"full.</p>\n",
			r->bare);
	if (r->programs > 1)
		fprintf(f, "<nav><ul>\n%s</ul></nav>\n", text_str(&r->index));
}

int report_write(const struct report *r, const char *path)
{
	FILE *f;
	bool bad;

	if (r->body.oom || r->index.oom)
		return cli_fail(CLI_REFUSED, "%s: out of memory", path);
	f = !strcmp(path, "-") ? stdout : fopen(path, "we");
	if (!f)
		return cli_fail(CLI_INPUT, "%s: %s", path, strerror(errno));
	page_head(r, f);
	fwrite(text_str(&r->body), 1, r->body.len, f);
	fprintf(f,
		"<p class=keys><kbd>j</kbd> <kbd>k</kbd> along the path &nbsp; <kbd>e</kbd> where "
		"it is refused &nbsp; "
		"<kbd>c</kbd> functions open or closed &nbsp; <kbd>t</kbd> "
		"top</p>\n<script>%s</script>\n"
		"</body></html>\n",
		report_js);
	bad = ferror(f) || (f != stdout && fclose(f));
	return bad ? cli_fail(CLI_REFUSED, "%s: cannot write it: %s", path, strerror(errno))
		   : CLI_OK;
}

void report_free(struct report *r)
{
	text_free(&r->body);
	text_free(&r->index);
}
