/* SPDX-License-Identifier: MIT */
/*
 * The path that is being walked, an entry an instruction, cut back with it when another branch is
 * taken up; and, for who watches, the states on the way.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "verify/trace.h"

static _Thread_local struct verify_watch *watching;

void verify_watch(struct verify_watch *w)
{
	watching = w;
}

void vtrace_start(struct verifier *v)
{
	v->watch = watching;
	if (v->watch) {
		bool want = v->watch->want_states;

		verify_watch_free(v->watch);
		v->watch->want_states = want;
	}
	v->tracing = v->watch || (v->log && v->level & LEVEL_PATHS);
}

/* ---- states, for who watches -------------------------------------------------------------------
 */

struct watch_state {
	struct text text; /* scratch */
	size_t bytes;
	/* The failing path's states: that of step i is at i % WATCH_STEPS, while `step` says so. */
	struct {
		u32 step;
		char *text;
	} ring[WATCH_STEPS];
};

static char *keep_text(struct watch_state *s)
{
	char *copy;

	if (s->bytes + s->text.len > WATCH_BYTES || s->text.oom)
		return NULL;
	copy = base_strdup(text_str(&s->text));
	if (copy) {
		text_clean(copy);
		s->bytes += s->text.len + 1;
	}
	return copy;
}

/* Names of places are the watch's own: the program may be gone when it is read. */
static bool own_place(struct why_place *p)
{
	const char **strings[] = { &p->file, &p->source, &p->func, &p->code };
	bool ok = true;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(strings); i++) {
		char *copy = base_strdup(*strings[i]);

		if (copy)
			text_clean(copy);
		ok &= copy != NULL;
		*strings[i] = copy;
	}
	return ok;
}

static void free_place(struct why_place *p)
{
	base_free((void *)p->file);
	base_free((void *)p->source);
	base_free((void *)p->func);
	base_free((void *)p->code);
}

/* The instructions as they are before fixup.c rewrites some. */
static void watch_insns(struct verifier *v)
{
	struct verify_watch *w = v->watch;
	struct text code = { 0 };
	u32 i;

	w->insns = base_array(v->cnt, sizeof(*w->insns));
	if (!w->insns)
		return;
	for (i = 0; i < v->cnt; i++) {
		struct watch_insn *in = &w->insns[i];
		const struct prog_func *f = prog_func_at(v->p, i);

		in->at = vplace(v, i, &code);
		in->func = f ? (u32)(f - v->p->funcs) : ~0u;
		w->ninsns = i + 1;
		if (!own_place(&in->at))
			break;
		if (isa_is_ldimm64(&v->insns[i]))
			i++; /* its second half has no place of its own */
	}
	if (w->ninsns < v->cnt)
		w->ninsns = i < v->cnt ? w->ninsns : v->cnt;
	text_free(&code);
}

static void watch_insn(struct verifier *v)
{
	struct verify_watch *w = v->watch;
	struct watch_insn *in;
	u32 at = v->ntrace - 1, slot = at % WATCH_STEPS;

	if (!w->insns)
		watch_insns(v);
	if (!w->state)
		w->state = base_alloc(sizeof(*w->state));
	if (!w->state || v->insn >= w->ninsns)
		return;
	in = &w->insns[v->insn];
	in->visits++;
	text_reset(&w->state->text);
	vlog_state_to(v, v->cur, &w->state->text);
	if (in->visits <= WATCH_VISITS) {
		in->states[in->visits - 1] = keep_text(w->state);
		w->states_left_out |= !in->states[in->visits - 1];
	}
	if (w->state->ring[slot].text)
		w->state->bytes -= strlen(w->state->ring[slot].text) + 1;
	base_free(w->state->ring[slot].text);
	w->state->ring[slot].text = keep_text(w->state);
	w->state->ring[slot].step = at;
}

static void watch_path(struct verifier *v)
{
	struct verify_watch *w = v->watch;
	u32 n = v->ntrace < WATCH_STEPS ? v->ntrace : WATCH_STEPS, i;

	for (i = 0; i < v->ntrace; i++)
		if (trace_insn(v->trace[i]) < w->ninsns)
			w->insns[trace_insn(v->trace[i])].on_path = true;
	w->steps = n ? base_array(n, sizeof(*w->steps)) : NULL;
	if (!w->steps)
		return;
	w->first_step = v->ntrace - n;
	w->nsteps = n;
	for (i = 0; i < n; i++) {
		u32 at = w->first_step + i, slot = at % WATCH_STEPS;

		w->steps[i].insn = trace_insn(v->trace[at]);
		w->steps[i].depth = trace_depth(v->trace[at]);
		if (w->state && w->state->ring[slot].step == at) {
			w->steps[i].state = w->state->ring[slot].text;
			w->state->ring[slot].text = NULL;
		}
	}
}

static void watch_state_free(struct watch_state *s)
{
	u32 i;

	if (!s)
		return;
	for (i = 0; i < WATCH_STEPS; i++)
		base_free(s->ring[i].text);
	text_free(&s->text);
	base_free(s);
}

static void watch_end(struct verifier *v, int err)
{
	struct verify_watch *w = v->watch;

	w->ended = true;
	w->verdict = err;
	w->stats = v->stats;
	snprintf(w->name, sizeof(w->name), "%s", v->p->name);
	snprintf(w->type, sizeof(w->type), "%s", prog_type_name(v->p->type));
	if (w->want_states && !w->insns && v->form_ok)
		watch_insns(v);
	if (err && w->want_states)
		watch_path(v);
	watch_state_free(w->state);
	w->state = NULL;
}

void verify_watch_free(struct verify_watch *w)
{
	u32 i, k;

	for (i = 0; i < w->ninsns; i++) {
		free_place(&w->insns[i].at);
		for (k = 0; k < WATCH_VISITS; k++)
			base_free(w->insns[i].states[k]);
	}
	for (i = 0; i < w->nsteps; i++)
		base_free(w->steps[i].state);
	base_free(w->insns);
	base_free(w->steps);
	why_free(&w->why);
	watch_state_free(w->state);
	memset(w, 0, sizeof(*w));
}

/* ---- the path ----------------------------------------------------------------------------------
 */

void vtrace_insn(struct verifier *v)
{
	const struct bpf_insn *insn = &v->insns[v->insn];
	u32 *grown;

	if (!v->tracing)
		return;
	if (v->ntrace == v->trace_cap) {
		grown = base_grow(v->trace, &v->trace_cap, v->ntrace + 1, sizeof(*grown));
		if (!grown) {
			v->tracing = false; /* the verdict does not need it */
			return;
		}
		v->trace = grown;
	}
	v->trace[v->ntrace++] = v->insn | (v->cur->nframes - 1u) << TRACE_DEPTH |
				(u32)reg_is_ptr(cur_reg(v, insn->dst_reg)) << TRACE_DST |
				(u32)reg_is_ptr(cur_reg(v, insn->src_reg)) << TRACE_SRC;
	if (v->watch && v->watch->want_states)
		watch_insn(v);
}

void vtrace_end(struct verifier *v, int err)
{
	if (v->watch)
		watch_end(v, err);
	base_free(v->trace);
}
