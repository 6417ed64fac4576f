/* SPDX-License-Identifier: MIT */
/*
 * Values that a probe by text is to record: checked as the kernel does (kernel/trace/trace_probe.c), so that a line
 * is refused here that is refused there. Programs see none of them.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/event/probe_line.h"

#define MOST_OPS   16 /* FETCH_INSN_MAX: steps that fetch one value, with their end */
#define MOST_TEXT  63 /* MAX_ARGSTR_LEN */
#define MOST_ARRAY 64 /* MAX_ARRAY_LEN */

/* ---- numbers and names ---------------------------------------------------------------------- */

static int digit(char c)
{
	return isdigit((u8)c) ? c - '0' : isxdigit((u8)c) ? (c | 32) - 'a' + 10 : 99;
}

int probe_number(const char *s, u64 *out)
{
	u32 base = 10, n = 0;
	u64 v = 0;

	if (*s == '+')
		s++;
	if (s[0] == '0' && (s[1] | 32) == 'x' && isxdigit((u8)s[2])) {
		base = 16;
		s += 2;
	} else if (s[0] == '0') {
		base = 8;
	}
	for (; (u32)digit(*s) < base; s++, n++) {
		if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, (u64)digit(*s), &v))
			return -ERANGE;
	}
	if (!n || *s)
		return -EINVAL;
	*out = v;
	return 0;
}

int probe_signed(const char *s, s64 *out)
{
	bool minus = *s == '-';
	u64 v = 0;
	int err = minus && s[1] == '+' ? -EINVAL : probe_number(s + minus, &v);

	if (err)
		return err;
	if (v > (u64)INT64_MAX + minus)
		return -ERANGE;
	*out = (s64)(minus ? -v : v);
	return 0;
}

/* is_good_name(), is_good_system_name() */
bool probe_good_name(const char *s, bool group)
{
	if (!isalpha((u8)*s) && *s != '_' && !(group && *s == '-'))
		return false;
	while (*++s)
		if (!isalnum((u8)*s) && *s != '_' && !(group && *s == '-'))
			return false;
	return true;
}

/* ---- types ---------------------------------------------------------------------------------- */

static const struct type {
	const char *name, *decl, *print;
	u8 size;
	bool is_signed, is_string, kernel; /* kernel: of functions of the kernel only */
} types[] = {
	{ "string", "__data_loc char[]", "\\\"%s\\\"", 4, true, true, false },
	{ "ustring", "__data_loc char[]", "\\\"%s\\\"", 4, true, true, false },
	{ "symstr", "__data_loc char[]", "\\\"%s\\\"", 4, true, true, true },
	{ "u8", "u8", "%u", 1, false, false, false },
	{ "u16", "u16", "%u", 2, false, false, false },
	{ "u32", "u32", "%u", 4, false, false, false },
	{ "u64", "u64", "%Lu", 8, false, false, false },
	{ "s8", "s8", "%d", 1, true, false, false },
	{ "s16", "s16", "%d", 2, true, false, false },
	{ "s32", "s32", "%d", 4, true, false, false },
	{ "s64", "s64", "%Ld", 8, true, false, false },
	{ "x8", "u8", "0x%x", 1, false, false, false },
	{ "x16", "u16", "0x%x", 2, false, false, false },
	{ "x32", "u32", "0x%x", 4, false, false, false },
	{ "x64", "u64", "0x%Lx", 8, false, false, false },
	{ "char", "u8", "'%c'", 1, false, false, false },
	{ "symbol", "u64", "%pS", 8, false, false, true },
};

/* find_fetch_type(): a bit field, "bWIDTH@OFFSET/SIZE", is stored as an unsigned of its size. */
static const struct type *type_named(const char *name, bool user)
{
	char plain[8] = "x64";
	const char *slash;
	u64 bits;
	size_t i;

	if (name && *name == 'b') {
		slash = strchr(name, '/');
		if (!slash || probe_number(slash + 1, &bits) || (bits != 8 && bits != 16 && bits != 32 && bits != 64))
			return NULL;
		plain[0] = 'u';
		strcpy(plain + 1, bits == 8 ? "8" : bits == 16 ? "16" : bits == 32 ? "32" : "64");
		name = plain;
	}
	if (!name)
		name = plain;
	for (i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(name, types[i].name))
			return user && types[i].kernel ? NULL : &types[i];
	return NULL;
}

/* __parse_bitfield_probe_arg(): the field must lie in its unsigned. */
static bool bits_fit(const char *name, const struct type *t)
{
	unsigned long width, at;
	char *end;

	if (*name != 'b')
		return true;
	if (!isdigit((u8)name[1])) /* simple_strtoul() takes no sign and no blank */
		return false;
	width = strtoul(name + 1, &end, 0);
	if (!width || *end != '@' || !isdigit((u8)end[1]))
		return false;
	at = strtoul(end + 1, &end, 0);
	return *end == '/' && width <= 64 && at <= 64 && width + at <= t->size * 8u;
}

/* ---- how a value is fetched ------------------------------------------------------------------ */

enum op { OP_NONE, OP_VALUE, OP_COMM, OP_DATA, OP_IMM, OP_DEREF };

struct fetch {
	const struct probe_line *p;
	enum op last;
	u32 ops;
};

static bool is_register(const char *name)
{
	static const char *const names[] = {
#if defined(__x86_64__)
		"r15", "r14", "r13", "r12", "r11", "r10", "r9", "r8", "bx", "cx", "dx", "si", "di", "bp", "ax",
		"orig_ax", "ip", "cs", "flags", "sp", "ss",
#elif defined(__aarch64__)
		"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
		"x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "lr",
		"sp", "pc", "pstate",
#endif
		NULL,
	};
	u32 i;

	for (i = 0; names[i]; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

static int fetched(struct fetch *f, enum op op)
{
	f->last = op;
	return ++f->ops < MOST_OPS ? 0 : -EINVAL;
}

/* Decimal, as kstrtoul(s, 10, ...) takes it. */
static bool is_decimal(const char *s, u64 *n)
{
	while (s[0] == '0' && isdigit((u8)s[1]))
		s++;
	return s[strspn(s, "0123456789")] == '\0' && !probe_number(s, n);
}

static int variable(struct fetch *f, const char *name)
{
	u64 n;

	if (!strcmp(name, "retval"))
		return f->p->ret ? fetched(f, OP_VALUE) : -EINVAL;
	if (!strcmp(name, "comm") || !strcmp(name, "COMM"))
		return fetched(f, OP_COMM);
	if (!strcmp(name, "stack"))
		return fetched(f, OP_VALUE);
	if (!strncmp(name, "stack", 5) && isdigit((u8)name[5]) && is_decimal(name + 5, &n))
		return f->p->user || n <= 2048 ? fetched(f, OP_VALUE) : -EINVAL;
	/* Arguments of a function of the kernel, where it begins. */
	if (!strncmp(name, "arg", 3) && isdigit((u8)name[3]) && is_decimal(name + 3, &n))
		return !f->p->user && !f->p->ret && !f->p->offset && n && n <= 128 ? fetched(f, OP_VALUE) : -EINVAL;
	return -EINVAL;
}

/* @ADDRESS, @+OFFSET of the file, @SYMBOL+OFFSET of the kernel */
static int memory(struct fetch *f, const char *at)
{
	u64 addr;
	s64 off;
	int err = 0;

	if (isdigit((u8)*at))
		err = probe_number(at, &addr);
	else if (*at == '+')
		err = f->p->user ? probe_signed(at + 1, &off) : -EINVAL;
	else if (f->p->user || !*at)
		err = -EINVAL;
	if (!err)
		err = fetched(f, OP_IMM);
	return err ? err : fetched(f, OP_DEREF);
}

static int immediate(struct fetch *f, const char *s)
{
	u64 n;
	s64 i;
	int err;

	if (*s == '"')
		return s[1] && s[strlen(s) - 1] == '"' ? fetched(f, OP_DATA) : -EINVAL;
	if (isdigit((u8)*s))
		err = probe_number(s, &n);
	else if (*s == '-')
		err = probe_signed(s, &i);
	else
		err = *s == '+' ? probe_signed(s + 1, &i) : -EINVAL;
	return err ? err : fetched(f, OP_IMM);
}

static int fetch(struct fetch *f, char *arg);

/* +OFFSET(FETCH), -OFFSET(FETCH), with u of the user's memory */
static int pointed(struct fetch *f, char *arg)
{
	char *open, *close;
	s64 off;
	int err;

	if (arg[1] == 'u') {
		arg[1] = arg[0];
		arg++;
	}
	if (*arg == '+')
		arg++;
	open = strchr(arg, '(');
	if (!open)
		return -EINVAL;
	*open = '\0';
	err = probe_signed(arg, &off);
	if (err)
		return err;
	close = strrchr(open + 1, ')');
	if (!close)
		return -EINVAL;
	*close = '\0';
	err = fetch(f, open + 1);
	if (err)
		return err;
	if (f->last == OP_COMM || f->last == OP_DATA)
		return -EINVAL;
	return fetched(f, OP_DEREF);
}

/* A string of at most MOST_TEXT bytes, so it is not nested deeper either. */
static int fetch(struct fetch *f, char *arg)
{
	switch (*arg) {
	case '$': return variable(f, arg + 1);
	case '%': return is_register(arg + 1) ? fetched(f, OP_VALUE) : -EINVAL;
	case '@': return memory(f, arg + 1);
	case '+':
	case '-': return pointed(f, arg);
	case '\\': return immediate(f, arg + 1);
	default: return -EINVAL;
	}
}

/* ---- one argument --------------------------------------------------------------------------- */

/* "TYPE[COUNT]": cut at the bracket. */
static int array_count(char *type, u32 *count)
{
	char *open = strchr(type, '['), *close;
	u64 n;

	*count = 0;
	if (!open)
		return 0;
	*open++ = '\0';
	close = strchr(open, ']');
	if (!close || close[1])
		return -EINVAL;
	*close = '\0';
	if (probe_number(open, &n) || !n || n > MOST_ARRAY)
		return -EINVAL;
	*count = (u32)n;
	return 0;
}

/* What is left to do with the value: store it, cut bits out, go through an array. */
static int stored(struct fetch *f, const struct type *t, const char *type, u32 count)
{
	u32 steps = f->ops;

	if (t->is_string && f->last == OP_VALUE)
		return -EINVAL;
	if (!t->is_string ? f->last != OP_DEREF : f->last != OP_DEREF || count)
		steps++;
	if (type && !bits_fit(type, t))
		return -EINVAL;
	steps += type && *type == 'b';
	if (count && !t->is_string && f->last != OP_DEREF)
		return -EINVAL;
	steps += count != 0;
	return steps < MOST_OPS ? 0 : -EINVAL;
}

static int parse_value(char *value, const struct probe_line *p, struct probe_arg *out)
{
	struct fetch f = { .p = p };
	const struct type *t;
	char *type = strchr(value, ':');
	int err = 0;

	if (type) {
		*type++ = '\0';
		err = array_count(type, &out->count);
	}
	if (err)
		return err;
	if (!strcmp(value, "$comm") || !strcmp(value, "$COMM") || !strncmp(value, "\\\"", 2)) {
		if (out->count || (type && strcmp(type, "string")))
			return -EINVAL;
		t = &types[0];
	} else {
		t = type_named(type, p->user);
	}
	if (!t)
		return -EINVAL;
	err = fetch(&f, value);
	if (!err)
		err = stored(&f, t, type, out->count);
	out->decl = t->decl;
	out->size_of = t->print;
	out->size = t->size;
	out->is_signed = t->is_signed;
	out->is_string = t->is_string;
	return err;
}

static bool is_taken(const char *name, const struct probe_line *p)
{
	static const char *const reserved[] = { "common_type", "common_flags", "common_preempt_count", "common_pid",
						"common_tgid", "__probe_ip", "__probe_ret_ip", "__probe_func" };
	u32 i;

	for (i = 0; i < ARRAY_SIZE(reserved); i++)
		if (!strcmp(name, reserved[i]))
			return true;
	for (i = 0; i < p->nargs; i++)
		if (!strcmp(name, p->args[i].name))
			return true;
	return false;
}

int probe_arg_parse(const char *text, u32 i, const struct probe_line *p, struct probe_arg *out)
{
	const char *body = strchr(text, '=');
	struct text name = { 0 };
	char value[MOST_TEXT + 1];
	int err = 0;

	if (body && (body == text || body - text >= (ptrdiff_t)sizeof(out->name)))
		return -EINVAL;
	if (body)
		text_add(&name, text, body++ - text);
	else
		text_printf(&name, "arg%u", i + 1);
	if (name.oom)
		err = -ENOMEM;
	else
		strcpy(out->name, text_str(&name));
	text_free(&name);
	if (!body)
		body = text;
	if (!err && (!probe_good_name(out->name, false) || is_taken(out->name, p)))
		err = -EINVAL;
	if (!err && !*body)
		err = -EINVAL;
	if (!err && strlen(body) > MOST_TEXT)
		err = -E2BIG;
	if (err)
		return err;
	out->text = base_strdup(body);
	if (!out->text)
		return -ENOMEM;
	strcpy(value, body);
	return parse_value(value, p, out);
}
