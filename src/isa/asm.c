/* SPDX-License-Identifier: MIT */
/* The assembler: text in the kernel's or LLVM's syntax to instructions. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "isa/asm_int.h"

/* ---- what the table says, found by text --------------------------------------------------------- */

/* The opcode of kind `kind` with this symbol, width and operand (ISA_F_SRC or ISA_F_IMM), or -1. */
int asm_find_op(enum isa_kind kind, const char *sym, size_t len, int width, u16 operand)
{
	int code;

	for (code = 0; code < 256; code++) {
		const struct isa_op *op = &isa_ops[code];

		if (op->kind == kind && (!width || op->width == width) &&
		    (op->fields & operand) == operand && strlen(op->sym) == len &&
		    !memcmp(op->sym, sym, len))
			return code;
	}
	return -1;
}

/* The longest symbol of kind `kind` that the line goes on with, or NULL. */
static const char *match_sym(struct asm_state *s, enum isa_kind kind)
{
	const char *best = NULL;
	size_t best_len = 0, len;
	int code;

	asm_blanks(s);
	for (code = 0; code < 256; code++) {
		if (isa_ops[code].kind != kind)
			continue;
		len = strlen(isa_ops[code].sym);
		if (len > best_len && (size_t)(s->end - s->p) >= len &&
		    !memcmp(s->p, isa_ops[code].sym, len)) {
			best = isa_ops[code].sym;
			best_len = len;
		}
	}
	s->p += best_len;
	return best;
}

/* ---- instructions and labels -------------------------------------------------------------------- */

int asm_emit(struct asm_state *s, struct bpf_insn insn)
{
	struct bpf_insn *p;

	if (s->cnt >= ISA_MAX_INSNS)
		return asm_error(s, "more than %u instructions", ISA_MAX_INSNS);
	p = base_grow(s->insns, &s->cap, (size_t)s->cnt + 1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	s->insns = p;
	s->insns[s->cnt++] = insn;
	return 0;
}

static int add_label(struct asm_state *s, const char *name, u32 len)
{
	struct asm_label *p;

	p = base_grow(s->labels, &s->labels_cap, (size_t)s->nlabels + 1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	s->labels = p;
	s->labels[s->nlabels++] = (struct asm_label){ name, len, s->line, s->cnt };
	return 0;
}

/* The instruction about to be emitted goes to this label. */
static int add_fixup(struct asm_state *s, const char *name, u32 len)
{
	struct asm_fixup *p;

	p = base_grow(s->fixups, &s->fixups_cap, (size_t)s->nfixups + 1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	s->fixups = p;
	s->fixups[s->nfixups++] = (struct asm_fixup){ name, len, s->line, s->cnt };
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct asm_label *x = a, *y = b;
	u32 n = x->len < y->len ? x->len : y->len;
	int c = memcmp(x->name, y->name, n);

	if (c)
		return c;
	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return x->line < y->line ? -1 : x->line > y->line;
}

static const struct asm_label *find_label(const struct asm_state *s, const char *name, u32 len)
{
	u32 lo = 0, hi = s->nlabels, mid;
	struct asm_label key = { name, len, 0, 0 };

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (by_name(&s->labels[mid], &key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < s->nlabels && s->labels[lo].len == len && !memcmp(s->labels[lo].name, name, len))
		return &s->labels[lo];
	return NULL;
}

/* "bpf_map_lookup_elem" or "map_lookup_elem" to the helper's number, or -1. */
static s32 helper_id(const char *name, u32 len)
{
	if (len > 4 && !memcmp(name, "bpf_", 4))
		return isa_helper_id(name + 4, len - 4);
	return isa_helper_id(name, len);
}

static int fix_one(struct asm_state *s, const struct asm_fixup *f)
{
	const struct asm_label *label = find_label(s, f->name, f->len);
	struct bpf_insn *i = &s->insns[f->at];
	s64 distance;

	s->line = f->line;
	if (!label && isa_is_call(i, BPF_PSEUDO_CALL) && helper_id(f->name, f->len) >= 0) {
		i->src_reg = 0;
		i->imm = helper_id(f->name, f->len);
		return 0;
	}
	if (!label)
		return asm_error(s, "%s '%.*s' is not defined",
				 isa_is_call(i, BPF_PSEUDO_CALL) ? "label or helper" : "label",
				 f->len > 64 ? 64 : (int)f->len, f->name);
	distance = (s64)label->at - f->at - 1;
	if (!(isa_ops[i->code].fields & ISA_F_OFF)) {
		i->imm = (s32)distance;
	} else if (distance != (s16)distance) {
		return asm_error(s, "label '%.*s' is %lld instructions away, more than 16 bits hold%s",
				 f->len > 64 ? 64 : (int)f->len, f->name, (long long)distance,
				 isa_ops[i->code].kind == ISA_JA ? ": use gotol" : "");
	} else {
		i->off = (s16)distance;
	}
	return 0;
}

static int fix_labels(struct asm_state *s)
{
	u32 i;
	int err = 0;

	if (s->nlabels)
		qsort(s->labels, s->nlabels, sizeof(*s->labels), by_name);
	for (i = 1; i < s->nlabels; i++) {
		const struct asm_label *a = &s->labels[i - 1], *b = &s->labels[i];

		s->line = b->line;
		if (a->len == b->len && !memcmp(a->name, b->name, a->len))
			return asm_error(s, "label '%.*s' is defined already in line %u",
					 a->len > 64 ? 64 : (int)a->len, a->name, a->line);
	}
	for (i = 0; !err && i < s->nfixups; i++)
		err = fix_one(s, &s->fixups[i]);
	return err;
}

/* ---- operands ----------------------------------------------------------------------------------- */

int asm_need(struct asm_state *s, const char *sym, const char *what)
{
	return asm_sym(s, sym) ? 0 : asm_expected(s, what);
}

/* A register of the 64-bit ('r') or 32-bit ('w') view. */
int asm_need_reg(struct asm_state *s, char letter, u8 *reg)
{
	char got;

	if (!asm_reg(s, &got, reg))
		return asm_expected(s, letter == 'w' ? "a register w0 to w10" :
						       "a register r0 to r10");
	if (got != letter)
		return asm_error(s, "%c%d where %c%d is meant: both operands have the same width", got,
				 *reg, letter, *reg);
	return 0;
}

/* "+3", "-3", "pc+3" as a number with a sign, or a label. */
static int target(struct asm_state *s, bool wide, struct bpf_insn *i)
{
	const char *name;
	u32 len;
	int err;

	asm_blanks(s);
	if (!asm_word(s, "pc") && asm_name(s, &name, &len))
		return add_fixup(s, name, len);
	asm_blanks(s);
	if (s->p == s->end || (*s->p != '+' && *s->p != '-'))
		return asm_expected(s, "a label, or a distance such as +3 or pc+3");
	err = wide ? asm_imm32(s, &i->imm) : asm_off16(s, &i->off);
	/* llvm-objdump adds the symbol: "goto +0x3 <main+0x20>". */
	if (!err && asm_sym(s, "<"))
		s->p = s->end;
	return err;
}

/* ---- statements --------------------------------------------------------------------------------- */

static int conditional(struct asm_state *s)
{
	struct bpf_insn i = { 0 };
	const char *sym;
	char letter;
	u8 reg, src;
	int err;

	if (!asm_reg(s, &letter, &reg))
		return asm_expected(s, "a register");
	i.dst_reg = reg & 15;
	sym = match_sym(s, ISA_JCC);
	if (!sym)
		return asm_expected(s, "a comparison such as == or s<");
	asm_blanks(s);
	if (s->p < s->end && (*s->p == 'r' || *s->p == 'w')) {
		err = asm_need_reg(s, letter, &src);
		i.src_reg = src & 15;
		i.code = (u8)asm_find_op(ISA_JCC, sym, strlen(sym), letter == 'w' ? 32 : 64, ISA_F_SRC);
	} else {
		err = asm_imm32(s, &i.imm);
		i.code = (u8)asm_find_op(ISA_JCC, sym, strlen(sym), letter == 'w' ? 32 : 64, ISA_F_IMM);
	}
	if (err)
		return err;
	if (!asm_word(s, "goto"))
		return asm_expected(s, "'goto'");
	err = target(s, false, &i);
	return err ? err : asm_emit(s, i);
}

/* After "call kfunc": "3", "#3", "#3@1". */
static int call_native(struct asm_state *s, struct bpf_insn i)
{
	int err;

	asm_sym(s, "#");
	err = asm_imm32(s, &i.imm);
	if (!err && asm_sym(s, "@"))
		err = asm_off16(s, &i.off);
	i.src_reg = BPF_PSEUDO_KFUNC_CALL;
	return err ? err : asm_emit(s, i);
}

/* "bpf_map_lookup_elem#1": the number counts, but a name we know must agree. */
static int call_numbered(struct asm_state *s, struct bpf_insn i, const char *name, u32 len)
{
	int shown = len > 64 ? 64 : (int)len;
	int err = asm_imm32(s, &i.imm);

	if (err)
		return err;
	if (helper_id(name, len) != i.imm && (len != 7 || memcmp(name, "unknown", 7)))
		return asm_error(s, "'%.*s' is not helper %d", shown, name, i.imm);
	return asm_emit(s, i);
}

static int call(struct asm_state *s)
{
	struct bpf_insn i = { .code = BPF_JMP | BPF_CALL };
	const char *name;
	u32 len;
	int err;

	if (asm_word(s, "kfunc"))
		return call_native(s, i);
	if (asm_word(s, "pc")) {
		i.src_reg = BPF_PSEUDO_CALL;
		err = asm_imm32(s, &i.imm);
		if (!err && asm_sym(s, "#"))
			s->p = s->end; /* the function's name */
		return err ? err : asm_emit(s, i);
	}
	asm_blanks(s);
	if (s->p < s->end && *s->p == '+')
		return asm_error(s, "write 'call pc+N' for a function or 'call N' for a helper");
	if (asm_name(s, &name, &len)) {
		if (asm_sym(s, "#"))
			return call_numbered(s, i, name, len);
		i.src_reg = BPF_PSEUDO_CALL; /* or a helper, if no label has this name */
		err = add_fixup(s, name, len);
	} else {
		err = asm_imm32(s, &i.imm);
	}
	return err ? err : asm_emit(s, i);
}

static int emit64(struct asm_state *s, u8 dst, u8 src, u32 low, u32 high)
{
	struct bpf_insn first = { .code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = dst & 15,
				  .src_reg = src & 15, .imm = (s32)low };
	struct bpf_insn second = { .imm = (s32)high };
	int err = asm_emit(s, first);

	if (!err && s->cnt >= ISA_MAX_INSNS)
		return asm_error(s, "more than %u instructions", ISA_MAX_INSNS);
	return err ? err : asm_emit(s, second);
}

/* "map[0] ll", "map_value[0]+8 ll", "btf_id[5] ll": 1 when it is none of them. */
static int reference(struct asm_state *s, u8 dst)
{
	const char *old = s->p;
	s32 first = 0;
	u64 second = 0;
	u8 src;
	int err;

	for (src = 0; src < ARRAY_SIZE(isa_refs); src++) {
		if (isa_refs[src].word && asm_word(s, isa_refs[src].word))
			break;
	}
	if (src == ARRAY_SIZE(isa_refs) || !asm_sym(s, "[")) {
		s->p = old;
		return 1;
	}
	err = asm_imm32(s, &first);
	if (!err)
		err = asm_need(s, "]", "']'");
	asm_blanks(s);
	if (!err && isa_refs[src].has_second && s->p < s->end && *s->p == '+') {
		err = asm_u64(s, &second);
		if (!err && second > UINT32_MAX)
			err = asm_error(s, "offset does not fit in 32 bits");
	}
	asm_word(s, "ll");
	return err ? err : emit64(s, dst, src, (u32)first, (u32)second);
}

/* "func label ll", "func pc+5 ll". */
static int function_reference(struct asm_state *s, u8 dst)
{
	struct bpf_insn i = { 0 };
	int err = target(s, true, &i);

	asm_word(s, "ll");
	return err ? err : emit64(s, dst, BPF_PSEUDO_FUNC, (u32)i.imm, 0);
}

/* "r1 = (s8)r2", behind the first parenthesis. */
static int sign_extend(struct asm_state *s, char letter, u8 dst)
{
	struct bpf_insn i = { .dst_reg = dst & 15 };
	u8 src;
	int err;

	if (asm_word(s, "s8"))
		i.off = 8;
	else if (asm_word(s, "s16"))
		i.off = 16;
	else if (letter == 'r' && asm_word(s, "s32"))
		i.off = 32;
	else
		return asm_expected(s, letter == 'r' ? "s8, s16 or s32" : "s8 or s16");
	err = asm_need(s, ")", "')'");
	if (!err)
		err = asm_need_reg(s, letter, &src);
	if (err)
		return err;
	i.code = (letter == 'w' ? BPF_ALU : BPF_ALU64) | BPF_MOV | BPF_X;
	i.src_reg = src & 15;
	return asm_emit(s, i);
}

/* "be16 r1", "bswap64 r1": 1 when it is none. */
static int byte_swap(struct asm_state *s, u8 dst)
{
	struct bpf_insn i = { .dst_reg = dst & 15 };
	const char *old, *sym;
	s16 width;
	u8 src;
	int err;

	asm_blanks(s);
	old = s->p;
	sym = match_sym(s, ISA_END);
	if (!sym || s->p == s->end || *s->p < '0' || *s->p > '9') {
		s->p = old;
		return 1;
	}
	err = asm_off16(s, &width);
	if (err)
		return err;
	if (width != 16 && width != 32 && width != 64)
		return asm_error(s, "%s%d: the width must be 16, 32 or 64", sym, width);
	i.code = (u8)asm_find_op(ISA_END, sym, strlen(sym), 0, 0);
	i.imm = width;
	err = asm_need_reg(s, 'r', &src);
	if (!err && src != dst)
		return asm_error(s, "byte swaps are in place: r%d = %s%d r%d", dst, sym, width, dst);
	return err ? err : asm_emit(s, i);
}

/* What stands after "r1 =" or "w1 =". */
static int assign(struct asm_state *s, char letter, u8 dst)
{
	struct bpf_insn i = { .dst_reg = dst & 15 };
	u8 wide = letter == 'w' ? BPF_ALU : BPF_ALU64, src;
	const char *old = s->p;
	char got;
	u64 v;
	int err;

	if (asm_sym(s, "*"))
		return asm_load(s, letter, dst);
	if (asm_sym(s, "("))
		return sign_extend(s, letter, dst);
	if (asm_reg(s, &got, &src)) {
		s->p = old;
		err = asm_need_reg(s, letter, &src);
		i.code = wide | BPF_MOV | BPF_X;
		i.src_reg = src & 15;
		return err ? err : asm_emit(s, i);
	}
	if (asm_sym(s, "-") && asm_reg(s, &got, &src)) {
		if (got != letter || src != dst)
			return asm_error(s, "negation is in place: %c%d = -%c%d", letter, dst, letter, dst);
		i.code = wide | BPF_NEG;
		return asm_emit(s, i);
	}
	s->p = old;
	err = asm_fetching(s, letter, dst);
	if (err == 1 && letter == 'r')
		err = byte_swap(s, dst);
	if (err == 1 && letter == 'r')
		err = reference(s, dst);
	if (err == 1 && letter == 'r' && asm_word(s, "func"))
		err = function_reference(s, dst);
	if (err != 1)
		return err;
	old = s->p;
	err = asm_u64(s, &v);
	if (!err && letter == 'r' && asm_word(s, "ll"))
		return emit64(s, dst, 0, (u32)v, (u32)(v >> 32));
	if (err)
		return err;
	s->p = old;
	err = asm_imm32(s, &i.imm);
	i.code = wide | BPF_MOV | BPF_K;
	return err ? err : asm_emit(s, i);
}

/* "r1 += r2", "w1 s/= 5", "r1 = ...". */
static int arithmetic(struct asm_state *s, char letter, u8 dst)
{
	struct bpf_insn i = { .dst_reg = dst & 15 };
	const char *sym = match_sym(s, ISA_ALU), *old;
	int width = letter == 'w' ? 32 : 64, err, code;
	char got;
	u8 src;

	if (!sym && (asm_sym(s, "s/=") || asm_sym(s, "s%="))) {
		i.off = 1;
		sym = s->p[-2] == '/' ? "/=" : "%=";
	}
	if (!sym)
		return asm_expected(s, "an operation such as = or +=");
	if (!strcmp(sym, "="))
		return assign(s, letter, dst);
	asm_blanks(s);
	old = s->p;
	if (asm_reg(s, &got, &src)) {
		s->p = old;
		err = asm_need_reg(s, letter, &src);
		i.src_reg = src & 15;
		code = asm_find_op(ISA_ALU, sym, strlen(sym), width, ISA_F_SRC);
	} else {
		err = asm_imm32(s, &i.imm);
		code = asm_find_op(ISA_ALU, sym, strlen(sym), width, ISA_F_IMM);
	}
	i.code = (u8)code;
	return err ? err : asm_emit(s, i);
}

static int statement(struct asm_state *s)
{
	struct bpf_insn i = { 0 };
	char letter;
	u8 reg;
	int err;

	if (asm_reg(s, &letter, &reg))
		return arithmetic(s, letter, reg);
	if (asm_sym(s, "*"))
		return asm_store(s);
	if (asm_word(s, "if"))
		return conditional(s);
	if (asm_word(s, "lock"))
		return asm_locked(s);
	if (asm_word(s, "call"))
		return call(s);
	if (asm_word(s, "exit")) {
		i.code = BPF_JMP | BPF_EXIT;
		return asm_emit(s, i);
	}
	if (asm_word(s, "goto"))
		i.code = BPF_JMP | BPF_JA;
	else if (asm_word(s, "gotol"))
		i.code = BPF_JMP32 | BPF_JA;
	else
		return asm_expected(s, "an instruction or a label");
	err = target(s, i.code == (BPF_JMP32 | BPF_JA), &i);
	return err ? err : asm_emit(s, i);
}

/* "label:", any number of them; also "  12: (b7) " of the kernel's and bpftool's listings. */
static int prefixes(struct asm_state *s)
{
	const char *old, *name;
	u32 len;
	int err;

	asm_blanks(s);
	for (old = s->p; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++)
		;
	if (s->p != old) {
		if (asm_sym(s, ":") && asm_sym(s, "(") && s->end - s->p > 3 && s->p[2] == ')') {
			s->p += 3;
			return 0;
		}
		s->p = old;
	}
	for (;;) {
		asm_blanks(s);
		old = s->p;
		if (!asm_name(s, &name, &len) || s->p == s->end || *s->p != ':')
			break;
		s->p++;
		err = add_label(s, name, len);
		if (err)
			return err;
	}
	s->p = old;
	return 0;
}

/* Where the line's text ends and its comment begins. "#" must follow a blank: "bpf_x#1" has none. */
static const char *comment(const char *p, const char *end)
{
	const char *start = p;

	for (; p < end; p++) {
		if (*p == ';' || (*p == '/' && p + 1 < end && p[1] == '/'))
			break;
		if (*p == '#' && (p == start || p[-1] == ' ' || p[-1] == '\t'))
			break;
	}
	return p;
}

static int lines(struct asm_state *s, const char *source)
{
	const char *eol;
	int err;

	while (*source) {
		eol = source + strcspn(source, "\n");
		s->line++;
		s->p = source;
		s->end = comment(source, eol);
		err = prefixes(s);
		if (!err && !asm_done(s)) {
			err = statement(s);
			if (!err && !asm_done(s))
				err = asm_expected(s, "the end of the line");
		}
		if (err)
			return err;
		source = *eol ? eol + 1 : eol;
	}
	return fix_labels(s);
}

int isa_assemble(const char *source, struct bpf_insn **insns, u32 *cnt, struct text *why)
{
	struct asm_state s = { .why = why, .insns = *insns, .cap = *cnt, .cnt = *cnt };
	int err = lines(&s, source);

	base_free(s.labels);
	base_free(s.fixups);
	*insns = s.insns; /* perhaps moved, also on failure; the caller's */
	if (!err)
		*cnt = s.cnt;
	return err;
}
