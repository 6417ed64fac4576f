/* SPDX-License-Identifier: MIT */
/*
 * The log, in the form that tools know from the kernel's verifier. Level 2 has every instruction of
 * every path; level 1 only those of the path that failed: what a finished path logged is cut off
 * again (walk.c). Level 4 adds the statistics line only.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "verify/trace.h"

static bool tracing(const struct verifier *v)
{
	return v->log && (v->level & LEVEL_PATHS);
}

static void print_insn(struct verifier *v);

/* The line of an instruction is open until its effect is known. */
static void end_line(struct verifier *v)
{
	if (v->open_line)
		text_puts(v->log, "\n");
	v->open_line = 0;
}

/* ---- refusals --------------------------------------------------------------------------------- */

/* Without a trace, say at least where. */
static void log_where(struct verifier *v)
{
	if (v->cur && !(v->level & LEVEL_PATHS) && !v->where_logged)
		print_insn(v);
	v->where_logged = true;
	end_line(v);
}

int refuse(struct verifier *v, int err, const char *hint, const char *fmt, ...)
{
	va_list ap;

	if (v->explained || (!v->log && !v->watch))
		return err;
	v->explained = true;
	va_start(ap, fmt);
	text_vprintf(&v->message, fmt, ap);
	va_end(ap);
	if (v->log) {
		log_where(v);
		va_start(ap, fmt);
		text_vprintf(v->log, fmt, ap);
		va_end(ap);
		text_puts(v->log, "\n");
	}
	vexplain(v, err, text_str(&v->message), hint);
	return err;
}

void vlog_line(struct verifier *v, const char *fmt, ...)
{
	va_list ap;

	if (!v->log)
		return;
	end_line(v);
	va_start(ap, fmt);
	text_vprintf(v->log, fmt, ap);
	va_end(ap);
	text_puts(v->log, "\n");
}

void vlog_note(struct verifier *v, const char *fmt, ...)
{
	va_list ap;

	if (!v->explained && v->message.len < 4096) {
		va_start(ap, fmt);
		text_vprintf(&v->message, fmt, ap);
		va_end(ap);
		text_puts(&v->message, "\n");
	}
	if (!v->log)
		return;
	log_where(v);
	va_start(ap, fmt);
	text_vprintf(v->log, fmt, ap);
	va_end(ap);
	text_puts(v->log, "\n");
}

int refuse_internal(struct verifier *v, const char *what)
{
	refuse(v, -EFAULT, "a bug of the verifier, not of the program: please report it",
	       "verifier bug: %s at insn %u", what, v->insn);
	return BROKEN(what);
}

/* ---- registers -------------------------------------------------------------------------------- */

const char *reg_type_name(const struct reg *r)
{
	bool null = r->flags & REG_NULLABLE;

	switch (r->type) {
	case REG_NONE: return "?";
	case REG_SCALAR: return "scalar";
	case REG_CTX: return "ctx";
	case REG_MAP: return null ? "map_ptr_or_null" : "map_ptr";
	case REG_MAP_VALUE: return null ? "map_value_or_null" : "map_value";
	case REG_STACK: return "fp";
	case REG_PKT: return "pkt";
	case REG_PKT_META: return "pkt_meta";
	case REG_PKT_END: return "pkt_end";
	case REG_FUNC: return "func";
	case REG_DYNPTR: return "dynptr_ptr";
	case REG_SOCK:
		if (r->what == PROG_SOCK_TCP)
			return null ? "tcp_sock_or_null" : "tcp_sock";
		if (r->what)
			return null ? "sock_common_or_null" : "sock_common";
		return null ? "sock_or_null" : "sock";
	case REG_BTF:
		if (!r->type_id)
			return null ? "rdonly_untrusted_mem_or_null" : "rdonly_untrusted_mem";
		if (r->flags & REG_PERCPU)
			return "percpu_ptr_";
		if (r->flags & REG_TRUSTED)
			return null ? "trusted_ptr_or_null_" : "trusted_ptr_";
		return null ? "ptr_or_null_" : "ptr_";
	}
	if (r->flags & REG_RINGBUF)
		return null ? "ringbuf_mem_or_null" : "ringbuf_mem";
	if (r->flags & REG_KEY)
		return "map_key";
	if (r->flags & REG_RDONLY)
		return null ? "rdonly_mem_or_null" : "rdonly_mem";
	return null ? "mem_or_null" : "mem";
}

static void print_scalar(struct verifier *v, const struct reg *r, struct text *out)
{
	if (num_is_const(&r->n)) {
		text_printf(out, "%s%lld", vprecise_is(v, r) ? "P" : "",
			    (long long)r->n.bits.value);
		return;
	}
	text_puts(out, vprecise_is(v, r) ? "Pscalar(" : "scalar(");
	if (r->id) {
		text_printf(out, "id=%u", r->id);
		if (r->off)
			text_printf(out, "%+d", r->off);
		if (!num_is_unknown(&r->n))
			text_puts(out, ",");
	}
	num_print(&r->n, out);
	text_puts(out, ")");
}

void vlog_reg(struct verifier *v, const struct reg *r, struct text *out)
{
	const char *sep = "";

	if (r->type == REG_SCALAR) {
		print_scalar(v, r, out);
		return;
	}
	text_puts(out, reg_type_name(r));
	if (r->type == REG_BTF)
		text_puts(out, vtyped_name(v, r));
	if (r->type == REG_STACK && r->what + 1u != v->cur->nframes)
		text_printf(out, "[%u]", r->what);
	if (r->type == REG_STACK && num_is_const(&r->n)) {
		text_printf(out, "%lld", (long long)r->n.bits.value + r->off);
		return;
	}
	text_puts(out, "(");
	if (r->id) {
		text_printf(out, "id=%u", r->id);
		sep = ",";
	}
	if (r->ref) {
		text_printf(out, "%sref_obj_id=%u", sep, r->ref);
		sep = ",";
	}
	text_printf(out, "%soff=%d", sep, r->off);
	if (reg_is_pkt(r))
		text_printf(out, ",r=%u", r->size);
	else if (r->type == REG_MEM)
		text_printf(out, ",sz=%u", r->size);
	else if (r->type == REG_MAP || r->type == REG_MAP_VALUE)
		text_printf(out, ",ks=%u,vs=%u", v->p->maps[r->what]->attr.key_size,
			    v->p->maps[r->what]->attr.value_size);
	if (num_is_const(&r->n)) {
		text_printf(out, ",imm=%lld)", (long long)r->n.bits.value);
	} else {
		if (!num_is_unknown(&r->n))
			text_puts(out, ",");
		num_print(&r->n, out);
		text_puts(out, ")");
	}
}

static void print_slot(struct verifier *v, const struct slot *s, u32 i, struct text *out)
{
	static const char kinds[] = "?rm0di";
	char types[SLOT_SIZE + 1] = "";
	bool any = false;
	u32 k;

	for (k = 0; k < SLOT_SIZE; k++) {
		types[k] = kinds[s->bytes[SLOT_SIZE - 1 - k]];
		any |= s->bytes[k] != BYTE_NONE;
	}
	if (!any)
		return;
	text_printf(out, " fp-%u=", (i + 1) * SLOT_SIZE);
	if (s->bytes[0] == BYTE_ITER) {
		text_printf(out, "iter_num(ref_id=%u,state=%s,depth=%u)", s->spill.ref,
			    s->spill.what == ITER_ACTIVE ? "active" : "drained", s->spill.size);
		return;
	}
	if (slot_spill_bytes(s) != SLOT_SIZE)
		text_puts(out, types);
	if (slot_is_spill(s))
		vlog_reg(v, &s->spill, out);
}

static void print_frame(struct verifier *v, const struct state *s, u32 frame, u32 regs, u64 slots,
			struct text *out)
{
	const struct frame *f = s->frames[frame];
	u32 i;

	if (frame)
		text_printf(out, " frame%u:", frame);
	for (i = 0; i < 11; i++) {
		if (!(regs & (1u << i)) || f->regs[i].type == REG_NONE)
			continue;
		text_printf(out, " R%u=", i);
		vlog_reg(v, &f->regs[i], out);
	}
	for (i = 0; i < f->nslots; i++)
		if (slots & (1ull << i))
			print_slot(v, &f->slots[i], i, out);
}

void vlog_state_to(struct verifier *v, const struct state *s, struct text *out)
{
	u32 i;

	print_frame(v, s, s->nframes - 1u, 0x7ff, ~0ull, out);
	for (i = 0; i < s->nrefs; i++)
		text_printf(out, "%s%u", i ? "," : " refs=", s->refs[i].id);
}

void vlog_state(struct verifier *v, const struct state *s)
{
	vlog_state_to(v, s, v->log);
}

/* ---- instructions ----------------------------------------------------------------------------- */

static const char *call_name(void *arg, const struct bpf_insn *insn, u32 at)
{
	struct verifier *v = arg;
	static _Thread_local char buf[80];

	(void)at;
	if (insn->src_reg == 0 && helper_name((u32)insn->imm)) {
		snprintf(buf, sizeof(buf), "%s", helper_name((u32)insn->imm));
		return buf;
	}
	if (insn->src_reg == BPF_PSEUDO_KFUNC_CALL && (u32)insn->imm < v->p->nnatives)
		return v->p->natives[insn->imm]->name;
	return NULL;
}

static void print_line(struct verifier *v)
{
	const struct prog_line *l = prog_line_at(v->p, v->insn), *before = v->logged_line;
	const char *text, *file, *slash;

	if (!l || l == before)
		return;
	v->logged_line = l;
	/* One line of source may have several entries, one a column; some have no source. */
	text = l->text ? l->text : "";
	if (!l->line || (before && before->line == l->line && before->text == l->text))
		return;
	while (*text == ' ' || *text == '\t')
		text++;
	file = l->file ? l->file : "?";
	slash = strrchr(file, '/');
	text_printf(v->log, "; %s @ %s:%u\n", text, slash ? slash + 1 : file, l->line);
}

void vlog_path(struct verifier *v)
{
	if (!tracing(v))
		return;
	end_line(v);
	v->logged_line = NULL;
	if (v->insn == 0 && v->stats.processed == 0)
		text_puts(v->log, "0:");
	else
		text_printf(v->log, "\nfrom %u to %u:", v->prev, v->insn);
	vlog_state(v, v->cur);
	text_puts(v->log, "\n");
}

void vlog_code(struct verifier *v, u32 insn, struct text *out)
{
	const struct isa_names names = { .call = call_name, .arg = v };

	isa_disasm(&v->insns[insn], insn, &names, out);
}

static void print_insn(struct verifier *v)
{
	size_t start;

	print_line(v);
	start = v->log->full;
	text_printf(v->log, "%u: (%02x) ", v->insn, v->insns[v->insn].code);
	vlog_code(v, v->insn, v->log);
	v->open_line = v->log->full - start + 1;
}

void vlog_insn(struct verifier *v)
{
	if (tracing(v))
		print_insn(v);
}

/* Registers that an instruction reads or writes. */
static u32 touched(const struct bpf_insn *insn)
{
	u32 regs = 1u << insn->dst_reg;

	switch (isa_ops[insn->code].kind) {
	case ISA_CALL:
		return insn->src_reg == BPF_PSEUDO_CALL ? 0x7ff : 1u;
	case ISA_PACKET_LD:
		return 1u;
	case ISA_JA:
	case ISA_EXIT:
		return 0;
	case ISA_LDIMM64:
		return regs;
	}
	return isa_ops[insn->code].fields & ISA_F_SRC ? regs | 1u << insn->src_reg : regs;
}

/* The slot that a store to the stack went to. */
static u64 written_slot(const struct verifier *v, const struct bpf_insn *insn)
{
	const struct reg *r = &state_frame(v->cur)->regs[insn->dst_reg];
	u8 kind = isa_ops[insn->code].kind;
	s64 off = (s64)r->off + insn->off;

	if ((kind != ISA_STORE && kind != ISA_ATOMIC) || r->type != REG_STACK ||
	    r->what + 1u != v->cur->nframes || !num_is_const(&r->n))
		return 0;
	off += (s64)r->n.bits.value;
	return off < 0 && off >= -ISA_STACK_SIZE ? 1ull << ((-off - 1) / SLOT_SIZE) : 0;
}

void vlog_after(struct verifier *v, u32 at)
{
	const struct bpf_insn *insn = &v->insns[at];
	u32 regs;

	if (!tracing(v))
		return;
	regs = touched(insn);
	if (regs) {
		text_printf(v->log, "%*s;", v->open_line < 40 ? (int)(40 - v->open_line) : 1, "");
		print_frame(v, v->cur, v->cur->nframes - 1u, regs, written_slot(v, insn), v->log);
	}
	end_line(v);
}

/* The statistics in the lines that veristat looks for, the last ones of the log. */
void vlog_stats(struct verifier *v)
{
	const struct verify_stats *s = &v->stats;
	u32 i;

	if (!v->log || !v->level)
		return;
	end_line(v);
	if (v->level & 4) {
		text_printf(v->log, "verification time %llu usec\n",
			    (unsigned long long)s->time_ns / 1000);
		text_puts(v->log, "stack depth ");
		for (i = 0; i < v->p->nfuncs; i++)
			text_printf(v->log, "%s%u", i ? "+" : "", v->p->funcs[i].stack);
		text_puts(v->log, v->p->nfuncs ? "\n" : "0\n");
	}
	text_printf(v->log,
		    "processed %u insns (limit %d) max_states_per_insn %u total_states %u peak_states %u "
		    "mark_read %u\n",
		    s->processed, VERIFY_MAX_PROCESSED, s->max_states_per_insn, s->total_states,
		    s->peak_states, s->mark_read);
}
