/* SPDX-License-Identifier: MIT */
/*
 * Runs instruction vectors (README.md) on each engine; speaks TAP.
 * run_vectors [--engine NAME] FILE...
 * run_vectors --cover FILE...  only checks that the files together have every instruction
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "isa/isa.h"
#include "jit/jit.h"
#include "prog/prog.h"
#include "vm/vm.h"

#define MAX_MEM 64
#define GUARD 64 /* bytes on both sides of the memory that must stay */

struct value {
	bool set, address; /* address: n is an offset into the memory */
	u64 n;
};

struct bytes {
	bool set;
	u32 len;
	u8 b[MAX_MEM];
};

struct side {
	struct value d, s, r0;
	struct bytes mem;
};

struct vec_case {
	u32 line;
	struct side in, out;
};

struct vec {
	bool insn;
	u32 line;
	char name[80];
	struct text body;
	struct bytes mem, packet;
	struct vec_case *cases;
	size_t cap;
	u32 ncases;
};

/* What the program of an `insn` vector reads and writes: r1 points to it. */
struct frame {
	u64 d, s, r0;
	u64 regs[10];
};

static const struct engine {
	const char *name;
	int (*install)(struct prog *p);
	void (*remove)(struct prog *p);
} engines[] = {
	{ "vm", vm_install, vm_remove },
	{ "jit", jit_install, jit_remove },
};

static u8 memory[GUARD + MAX_MEM + GUARD] __attribute__((aligned(64)));
static u32 planned, failed, groups;
static const char *only_engine;
static bool cover;

/* Instructions seen, by opcode and what else selects the operation (selector()). */
static bool seen[256][256];

/* ---- reading the files --------------------------------------------------------------------------- */

static void die(const char *file, u32 line, const char *what)
{
	printf("Bail out! %s:%u: %s\n", file, line, what);
	exit(2);
}

static bool parse_bytes(const char *hex, struct bytes *out)
{
	unsigned byte;

	memset(out, 0, sizeof(*out));
	out->set = true;
	for (; isxdigit((unsigned char)hex[0]) && isxdigit((unsigned char)hex[1]); hex += 2) {
		if (out->len == MAX_MEM || sscanf(hex, "%2x", &byte) != 1)
			return false;
		out->b[out->len++] = (u8)byte;
	}
	return !*hex;
}

static bool parse_value(const char *s, struct value *v)
{
	char *end;

	v->set = true;
	v->address = *s == '@';
	v->n = strtoull(s + v->address, &end, 0);
	return end != s + v->address && !*end;
}

static bool parse_word(char *word, struct side *side)
{
	char *value = strchr(word, '=');

	if (!value)
		return false;
	*value++ = '\0';
	if (!strcmp(word, "d"))
		return parse_value(value, &side->d);
	if (!strcmp(word, "s"))
		return parse_value(value, &side->s);
	if (!strcmp(word, "r0"))
		return parse_value(value, &side->r0);
	return !strcmp(word, "mem") && parse_bytes(value, &side->mem);
}

static bool parse_case(char *line, struct vec *v, u32 number)
{
	struct vec_case *c, *p;
	char *word, *save = NULL;
	bool result = false;

	p = base_grow(v->cases, &v->cap, (size_t)v->ncases + 1, sizeof(*p));
	if (!p)
		return false;
	v->cases = p;
	c = &v->cases[v->ncases++];
	memset(c, 0, sizeof(*c));
	c->line = number;
	for (word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		if (!strcmp(word, ":"))
			result = true;
		else if (!parse_word(word, result ? &c->out : &c->in))
			return false;
	}
	return result;
}

static void parse_body(const char *line, struct text *body)
{
	unsigned n = 1;
	int skip = 0;

	if (sscanf(line, "repeat %u %n", &n, &skip) == 1 && skip)
		line += skip;
	else
		n = 1;
	while (n--)
		text_printf(body, "%s\n", line);
}

/* ---- programs ------------------------------------------------------------------------------------ */

/* rD, wD, rS, wS become registers. */
static void substitute(const char *body, int d, int s, struct text *out)
{
	const char *p;

	for (p = body; *p; p++) {
		bool reg = (*p == 'r' || *p == 'w') && (p[1] == 'D' || p[1] == 'S') &&
			   (p == body || !isalnum((unsigned char)p[-1]));

		if (!reg) {
			text_add(out, p, 1);
			continue;
		}
		text_printf(out, "%c%d", *p, p[1] == 'D' ? d : s);
		p++;
	}
}

static u64 resolve(const struct value *v)
{
	return v->address ? (u64)(uintptr_t)(memory + GUARD) + v->n : v->n;
}

/* What register i holds before the instruction, where it is no operand. */
static u64 sentinel(int i)
{
	return 0x5e11000000000000ull | (u64)i * 0x0101010101ull;
}

/* Loads register `reg` with the field at `off` of the frame, or with a constant. */
static void load(struct text *t, int reg, size_t off, const u64 *constant)
{
	if (constant)
		text_printf(t, "r%d = 0x%llx ll\n", reg, (unsigned long long)*constant);
	else
		text_printf(t, "r%d = *(u64 *)(r10 -8)\nr%d = *(u64 *)(r%d +%zu)\n", reg, reg, reg, off);
}

/* The program of an `insn` vector; with `fold` the case's values are constants in it. */
static void build_insn(const struct vec *v, int d, int s, const struct vec_case *fold, struct text *t)
{
	u64 dv = 0, sv = 0, r0v = 0;
	int i;

	if (fold) {
		dv = resolve(&fold->in.d);
		sv = resolve(&fold->in.s);
		r0v = resolve(&fold->in.r0);
	}
	text_puts(t, "*(u64 *)(r10 -8) = r1\n");
	for (i = 0; i < 10; i++)
		text_printf(t, "r%d = 0x%llx ll\n", i, (unsigned long long)sentinel(i));
	if (s >= 0)
		load(t, s, offsetof(struct frame, s), fold ? &sv : NULL);
	load(t, d, offsetof(struct frame, d), fold ? &dv : NULL);
	if (v->cases[0].in.r0.set)
		load(t, 0, offsetof(struct frame, r0), fold ? &r0v : NULL);
	substitute(text_str(&v->body), d, s, t);
	for (i = 0; i < 10; i++)
		text_printf(t, "*(u64 *)(r10 -%d) = r%d\n", 16 + 8 * i, i);
	text_puts(t, "r1 = *(u64 *)(r10 -8)\n");
	for (i = 0; i < 10; i++)
		text_printf(t, "r0 = *(u64 *)(r10 -%d)\n*(u64 *)(r1 +%zu) = r0\n", 16 + 8 * i,
			    offsetof(struct frame, regs) + 8 * (size_t)i);
	text_puts(t, "r0 = 0\nexit\n");
}

static struct prog *make_prog(const struct vec *v, const char *source, u32 allowed)
{
	struct bpf_insn *insns = NULL;
	struct text why = { 0 };
	struct prog *p = NULL;
	u32 cnt = 0;

	if (isa_assemble(source, &insns, &cnt, &why) || isa_validate(insns, cnt, allowed, &why)) {
		printf("# %s: %s\n", v->name, text_str(&why));
	} else {
		p = prog_new(insns, cnt);
		if (p && prog_find_funcs(p)) {
			prog_free(p);
			p = NULL;
		}
	}
	if (p)
		p->type = BPF_PROG_TYPE_SOCKET_FILTER;
	base_free(insns);
	text_free(&why);
	return p;
}

/* Is the instruction under test in the file's group, as the table says? */
static bool in_group(const struct vec *v)
{
	struct text t = { 0 };
	struct prog *p;

	if (!v->insn)
		return true;
	substitute(text_str(&v->body), 1, 2, &t);
	text_puts(&t, "exit\n");
	p = make_prog(v, text_str(&t), groups);
	text_free(&t);
	if (p)
		prog_free(p);
	return p != NULL;
}

/* ---- coverage ----------------------------------------------------------------------------------- */

static u8 selector(const struct bpf_insn *i)
{
	const struct isa_op *op = &isa_ops[i->code];

	if (op->kind == ISA_END || op->kind == ISA_ATOMIC)
		return (u8)i->imm;
	return op->fields & (ISA_F_SIGNED | ISA_F_EXTEND) ? (u8)i->off : 0;
}

static void note(const struct vec *v)
{
	struct text t = { 0 };
	struct prog *p;
	u32 i;

	substitute(text_str(&v->body), 1, 2, &t);
	text_puts(&t, "exit\n");
	p = make_prog(v, text_str(&t), ISA_ALL);
	text_free(&t);
	for (i = 0; p && i < p->insn_cnt; i += isa_slots(&p->insns[i]))
		seen[p->insns[i].code][selector(&p->insns[i])] = true;
	if (p)
		prog_free(p);
}

/* Every form that the check of form accepts must have been seen. */
static void check_cover(void)
{
	u32 code, sel;

	for (code = 0; code < 256; code++) {
		for (sel = 0; sel < 256; sel++) {
			struct bpf_insn prog[3] = { { .code = (u8)code, .dst_reg = 1 } };
			const struct isa_op *op = &isa_ops[code];
			struct text t = { 0 };

			if (op->kind == ISA_END || op->kind == ISA_ATOMIC)
				prog[0].imm = (s32)sel;
			else if (op->fields & (ISA_F_SIGNED | ISA_F_EXTEND))
				prog[0].off = (s16)sel;
			else if (sel)
				continue;
			if (!(op->fields & ISA_F_DST_RW))
				prog[0].dst_reg = 0;
			prog[code == (BPF_LD | BPF_IMM | BPF_DW) ? 2 : 1].code = BPF_JMP | BPF_EXIT;
			if (isa_validate(prog, 2 + !prog[1].code, ISA_ALL, NULL))
				continue;
			isa_disasm(prog, 0, NULL, &t);
			printf("%s %u - a vector has %s\n", seen[code][sel] ? "ok" : "not ok", ++planned,
			       code == (BPF_JMP | BPF_CALL) ? "call" : text_str(&t));
			failed += !seen[code][sel];
			text_free(&t);
		}
	}
}

/* ---- running ------------------------------------------------------------------------------------- */

static void set_memory(const struct vec *v, const struct vec_case *c)
{
	const struct bytes *m = c->in.mem.set ? &c->in.mem : &v->mem;

	memset(memory, 0xcc, sizeof(memory));
	memcpy(memory + GUARD, m->b, m->len);
}

static bool memory_is(const struct vec *v, const struct vec_case *c)
{
	const struct bytes *m = c->out.mem.set ? &c->out.mem : c->in.mem.set ? &c->in.mem : &v->mem;
	u8 want[sizeof(memory)];

	memset(want, 0xcc, sizeof(want));
	memcpy(want + GUARD, m->b, m->len);
	return !memcmp(memory, want, sizeof(want));
}

static bool wrong(const struct engine *e, const struct vec *v, const struct vec_case *c, const char *what,
		  u64 got, u64 want)
{
	printf("# %s %s, case of line %u: %s is 0x%llx, expected 0x%llx\n", e->name, v->name, c->line,
	       what, (unsigned long long)got, (unsigned long long)want);
	return false;
}

static bool run_case_insn(const struct engine *e, const struct vec *v, const struct vec_case *c,
			  const struct prog *p, int d, int s)
{
	struct frame f = { .d = resolve(&c->in.d), .s = resolve(&c->in.s), .r0 = resolve(&c->in.r0) };
	char what[64];
	u64 want;
	int i;

	memset(f.regs, 0xee, sizeof(f.regs));
	set_memory(v, c);
	prog_run(p, &f);
	for (i = 0; i < 10; i++) {
		if (i == d)
			want = resolve(c->out.d.set ? &c->out.d : &c->in.d);
		else if (i == s)
			want = resolve(c->out.s.set ? &c->out.s : &c->in.s);
		else if (i == 0 && c->in.r0.set)
			want = resolve(c->out.r0.set ? &c->out.r0 : &c->in.r0);
		else
			want = sentinel(i);
		if (f.regs[i] == want)
			continue;
		snprintf(what, sizeof(what), "with D=r%d S=r%d, r%d", d, s, i);
		return wrong(e, v, c, what, f.regs[i], want);
	}
	return memory_is(v, c) || wrong(e, v, c, "memory", 0, 1);
}

/* 1: ran well; 0: failed; -1: no engine here. */
static int install(const struct engine *e, const struct vec *v, struct prog *p)
{
	int err = p ? e->install(p) : -ENOMEM;

	if (!err)
		return 1;
	if (err == -EOPNOTSUPP || err == -EPERM)
		return -1;
	printf("# %s %s: does not install: %d\n", e->name, v->name, err);
	return 0;
}

/* One program of an `insn` vector with all its cases, or with the one that is folded into it. */
static int run_program(const struct engine *e, const struct vec *v, int d, int s,
		       const struct vec_case *fold)
{
	struct text t = { 0 };
	struct prog *p;
	u32 i;
	int ok;

	build_insn(v, d, s, fold, &t);
	p = make_prog(v, text_str(&t), ISA_ALL);
	text_free(&t);
	ok = install(e, v, p);
	for (i = 0; ok == 1 && i < v->ncases; i++) {
		const struct vec_case *c = &v->cases[i];

		if (fold && fold != c)
			continue;
		if (d == s && (c->in.d.n != c->in.s.n || c->in.d.address != c->in.s.address))
			continue;
		ok = run_case_insn(e, v, c, p, d, s);
	}
	if (p) {
		e->remove(p);
		prog_free(p);
	}
	return ok;
}

static int run_insn(const struct engine *e, const struct vec *v)
{
	bool has_s = strstr(text_str(&v->body), "rS") || strstr(text_str(&v->body), "wS");
	bool has_r0 = v->ncases && v->cases[0].in.r0.set;
	int d, s, ok = 1;
	u32 i;

	for (d = has_r0; ok == 1 && d < 10; d++) {
		for (s = has_s ? has_r0 : -1; ok == 1 && s < (has_s ? 10 : 0); s++)
			ok = run_program(e, v, d, s, NULL);
	}
	for (i = 0; ok == 1 && i < v->ncases; i++) {
		d = (int)(1 + i % 9);
		s = has_s ? (int)(1 + (i / 9 + d) % 9) : -1;
		if (s == d)
			s = d % 9 + 1;
		ok = run_program(e, v, d, s, &v->cases[i]);
	}
	return ok;
}

static int run_prog(const struct engine *e, const struct vec *v)
{
	struct prog *p = make_prog(v, text_str(&v->body), ISA_ALL);
	struct prog_pkt pkt = { 0 };
	u8 *packet = NULL;
	u64 r0;
	u32 i;
	int ok = install(e, v, p);

	if (v->packet.set) {
		/* Of exactly this size, so that a sanitizer sees what lies beyond. */
		packet = malloc(v->packet.len ? v->packet.len : 1);
		if (!packet)
			abort();
		memcpy(packet, v->packet.b, v->packet.len);
		pkt.data = pkt.data_meta = pkt.hard_start = (u64)(uintptr_t)packet;
		pkt.data_end = pkt.hard_end = pkt.data + v->packet.len;
		pkt.len = v->packet.len;
	}
	for (i = 0; ok == 1 && i < v->ncases; i++) {
		const struct vec_case *c = &v->cases[i];

		set_memory(v, c);
		r0 = prog_run(p, v->packet.set ? (void *)&pkt : memory + GUARD);
		if (r0 != resolve(&c->out.r0))
			ok = wrong(e, v, c, "r0", r0, resolve(&c->out.r0));
		else if (!memory_is(v, c))
			ok = wrong(e, v, c, "memory", 0, 1);
	}
	if (p) {
		e->remove(p);
		prog_free(p);
	}
	free(packet);
	return ok;
}

static void run(struct vec *v, const char *file)
{
	size_t i;
	int ok;

	if (!v->ncases || !v->body.len)
		die(file, v->line, "a vector without body or cases");
	if (cover) {
		note(v);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(engines); i++) {
		if (only_engine && strcmp(only_engine, engines[i].name))
			continue;
		ok = 0;
		if (in_group(v))
			ok = v->insn ? run_insn(&engines[i], v) : run_prog(&engines[i], v);
		failed += !ok;
		printf("%s %u - %s %s%s\n", ok ? "ok" : "not ok", ++planned, engines[i].name, v->name,
		       ok < 0 ? " # SKIP no such engine here" : "");
	}
}

static void end_vector(struct vec *v, const char *file)
{
	if (v->line)
		run(v, file);
	text_free(&v->body);
	base_free(v->cases);
	memset(v, 0, sizeof(*v));
}

static u32 group_mask(const char *name)
{
	static const struct {
		const char *name;
		u32 mask; /* with the base group that it stands on */
	} rows[] = {
		{ "base32", ISA_BASE32 },
		{ "base64", ISA_BASE64 },
		{ "divmul32", ISA_BASE32 | ISA_DIVMUL32 },
		{ "divmul64", ISA_BASE64 | ISA_DIVMUL64 },
		{ "atomic32", ISA_BASE32 | ISA_ATOMIC32 },
		{ "atomic64", ISA_BASE64 | ISA_ATOMIC64 },
		{ "packet", ISA_ALL },
		{ "calls", ISA_ALL },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!strcmp(rows[i].name, name))
			return rows[i].mask;
	}
	return 0;
}

/* One line of a file: false when it is of no form of README.md. */
static bool parse_line(char *line, struct vec *v, const char *file, u32 number)
{
	if (!strncmp(line, "insn ", 5) || !strncmp(line, "prog ", 5)) {
		end_vector(v, file);
		v->insn = line[0] == 'i';
		v->line = number;
		snprintf(v->name, sizeof(v->name), "%s", line + 5);
		return true;
	}
	if (!strncmp(line, "group ", 6)) {
		groups = group_mask(line + 6);
		return groups != 0;
	}
	if (!v->line)
		return false;
	if (line[0] == '\t')
		parse_body(line + 1, &v->body);
	else if (!strncmp(line, "mem ", 4))
		return parse_bytes(line + 4, &v->mem);
	else if (!strncmp(line, "packet ", 7))
		return parse_bytes(line + 7, &v->packet);
	else if (!strncmp(line, "case ", 5))
		return parse_case(line + 5, v, number);
	else
		return false;
	return true;
}

static void run_file(const char *file)
{
	struct vec v = { 0 };
	FILE *f = fopen(file, "r");
	size_t cap = 0;
	char *line = NULL;
	u32 number = 0;

	if (!f)
		die(file, 0, strerror(errno));
	groups = 0;
	while (getline(&line, &cap, f) > 0) {
		line[strcspn(line, "\n")] = '\0';
		number++;
		if (*line && *line != '#' && !parse_line(line, &v, file, number))
			die(file, number, "cannot read this line");
	}
	end_vector(&v, file);
	free(line);
	fclose(f);
}

int main(int argc, char **argv)
{
	int i;

	setvbuf(stdout, NULL, _IOLBF, 0); /* what was said before a crash is kept */
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--cover"))
			cover = true;
		else if (!strcmp(argv[i], "--engine") && i + 1 < argc)
			only_engine = argv[++i];
		else
			run_file(argv[i]);
	}
	if (cover)
		check_cover();
	printf("1..%u\n", planned);
	return failed != 0;
}
