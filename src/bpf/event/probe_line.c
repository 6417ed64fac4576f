/* SPDX-License-Identifier: MIT */
/* Probes by text, one line: read, listed, compared, as the kernel's trace_uprobe.c and trace_kprobe.c do. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bpf/event/probe_line.h"

#define MOST_ACTIVE 4096 /* KRETPROBE_MAXACTIVE_MAX */

void probe_line_free(struct probe_line *p)
{
	u32 i;

	for (i = 0; i < p->nargs; i++)
		base_free(p->args[i].text);
	base_free(p->args);
	base_free(p->target);
	memset(p, 0, sizeof(*p));
}

/* ---- words ---------------------------------------------------------------------------------- */

/* argv_split() of what is in front of a comment. Of more words than a probe may have: E2BIG. */
static int split(const char *line, size_t len, struct probe_words *w)
{
	const char *end = memchr(line, '#', len);
	char *s;

	w->n = 0;
	w->buf = base_alloc(len + 1);
	if (!w->buf)
		return -ENOMEM;
	memcpy(w->buf, line, end ? (size_t)(end - line) : len);
	for (s = w->buf; *s;) {
		while (isspace((u8)*s))
			*s++ = '\0';
		if (!*s)
			break;
		if (w->n == ARRAY_SIZE(w->word))
			return -E2BIG;
		w->word[w->n++] = s;
		while (*s && !isspace((u8)*s))
			s++;
	}
	return 0;
}

/* ---- names ---------------------------------------------------------------------------------- */

/* traceprobe_parse_event_name(): "GROUP/EVENT", "GROUP.EVENT", "EVENT", "GROUP/". */
static int names(const char *s, struct probe_line *p)
{
	const char *slash = strchr(s, '/');

	if (!slash)
		slash = strchr(s, '.');
	if (slash) {
		if (slash == s || slash - s >= PROBE_NAME)
			return -EINVAL;
		memcpy(p->group, s, slash - s);
		p->group[slash - s] = '\0';
		if (!probe_good_name(p->group, true))
			return -EINVAL;
		s = slash + 1;
	}
	if (!*s)
		return slash ? 0 : -EINVAL;
	if (strlen(s) >= PROBE_NAME || !probe_good_name(s, false))
		return -EINVAL;
	strcpy(p->event, s);
	return 0;
}

/* The name of an event that was given none: cut where the kernel's buffer ends. */
static int invent(struct probe_line *p)
{
	struct text t = { 0 };
	const char *base = p->target;
	size_t i;

	if (p->user) {
		base = strrchr(base, '/') ? strrchr(base, '/') + 1 : base;
		text_printf(&t, "p_%.*s_0x%llx", (int)strcspn(base, ".-_"), base, (unsigned long long)p->offset);
	} else if (base) {
		text_printf(&t, "%c_%s_%lld", p->ret ? 'r' : 'p', base, (long long)p->offset);
	} else {
		text_printf(&t, "%c_0x%llx", p->ret ? 'r' : 'p', (unsigned long long)p->offset);
	}
	if (t.oom)
		return -ENOMEM;
	text_cut(&t, PROBE_NAME - 1);
	strcpy(p->event, text_str(&t));
	text_free(&t);
	for (i = 0; p->event[i]; i++) /* sanitize_event_name() */
		if (!isalnum((u8)p->event[i]))
			p->event[i] = '_';
	return 0;
}

/* ---- where ---------------------------------------------------------------------------------- */

static int returns(char *where, struct probe_line *p)
{
	char *suffix = strchr(where, '%');

	if (!suffix)
		return 0;
	if (strcmp(suffix, "%return"))
		return -EINVAL;
	*suffix = '\0';
	p->ret = true;
	return 0;
}

/* The kernel keeps the file; here the name is looked up again, maybe from another folder or process. */
static int keep_path(const char *path, struct probe_line *p)
{
	char *full = *path == '/' && strncmp(path, "/proc/", 6) ? NULL : realpath(path, NULL);

	p->target = base_strdup(full ? full : path);
	free(full);
	return p->target ? 0 : -ENOMEM;
}

/* PATH:OFFSET, PATH:OFFSET(REF_CTR_OFFSET), PATH:OFFSET%return */
static int where_user(char *at, struct probe_line *p)
{
	char *where = strrchr(at, ':'), *open, *close;
	struct stat st;
	int err;

	if (!strchr(at, '/') || !where || !isdigit((u8)where[1]))
		return -EINVAL;
	*where++ = '\0';
	if (stat(at, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	open = strchr(where, '(');
	if (open) {
		close = strchr(open, ')');
		if (!close || close[1])
			return -EINVAL;
		*open = *close = '\0';
		err = probe_number(open + 1, &p->ref_ctr_off);
		if (err)
			return err;
	}
	err = returns(where, p);
	if (!err)
		err = probe_number(where, &p->offset);
	if (err)
		return err;
	return keep_path(at, p);
}

/* SYMBOL, SYMBOL+OFFSET, SYMBOL%return, ADDRESS. Whether there is such a function is for perf_event_open(2) to say. */
static int where_kernel(char *at, struct probe_line *p)
{
	char *plus;
	int err;

	if (!probe_number(at, &p->offset)) /* "+5" is one too */
		return 0;
	err = returns(at, p);
	plus = strpbrk(at, "+-"); /* traceprobe_split_symbol_offset() */
	p->offset = 0;
	if (!err && plus) {
		err = *plus == '-' || probe_number(plus + 1, &p->offset) || p->offset > UINT32_MAX ? -EINVAL : 0;
		*plus = '\0';
	}
	if (!err && (!*at || strlen(at) >= 128))
		err = -EINVAL;
	else if (!err && isdigit((u8)*at))
		err = -ENOENT; /* no function is called so */
	if (err)
		return err;
	p->target = base_strdup(at);
	return p->target ? 0 : -ENOMEM;
}

/* "rNUMBER": how many calls at once; the kernel's only, and of returns. */
static int active(const char *s, struct probe_line *p)
{
	char number[PROBE_NAME] = "";
	size_t n = strcspn(s, ":");
	u64 v;

	if (!isdigit((u8)*s))
		return 0;
	if (p->user)
		return 0;
	if (!p->ret || n >= sizeof(number))
		return -EINVAL;
	memcpy(number, s, n);
	if (probe_number(number, &v) || !v || v > MOST_ACTIVE)
		return -EINVAL;
	p->max_active = (u32)v;
	return 0;
}

/* ---- a line --------------------------------------------------------------------------------- */

static int add(struct probe_words *w, struct probe_line *p)
{
	const char *head = w->word[0], *event = p->user ? (head[1] == ':' ? head + 1 : NULL) : strchr(head, ':');
	u32 i;
	int err;

	if ((*head != 'p' && *head != 'r') || w->n < 2)
		return -EINVAL;
	if (w->n - 2 > PROBE_ARGS)
		return -E2BIG;
	p->ret = *head == 'r';
	strcpy(p->group, p->user ? "uprobes" : "kprobes");
	err = active(head + 1, p);
	if (!err)
		err = p->user ? where_user(w->word[1], p) : where_kernel(w->word[1], p);
	if (!err && event)
		err = names(event + 1, p);
	if (!err && !p->event[0])
		err = invent(p);
	if (!err && w->n > 2) {
		p->args = base_array(w->n - 2, sizeof(*p->args));
		err = p->args ? 0 : -ENOMEM;
	}
	for (i = 2; !err && i < w->n; i++) {
		err = probe_arg_parse(w->word[i], i - 2, p, &p->args[i - 2]);
		p->nargs += p->args[i - 2].text != NULL;
	}
	return err;
}

/* dyn_event_release(): "-:GROUP/EVENT", "-:EVENT"; words behind it must be those of the probe. */
static int remove_named(struct probe_words *w, struct probe_line *p)
{
	const char *s = w->word[0] + 2, *slash;

	if (w->word[0][1] != ':')
		return -EINVAL;
	slash = strchr(s, '/');
	if (slash && slash - s >= PROBE_NAME)
		return -ENOENT;
	if (slash) {
		memcpy(p->group, s, slash - s);
		s = slash + 1;
	}
	if (!*s)
		return slash ? -ENOENT : -EINVAL;
	if (strlen(s) >= PROBE_NAME)
		return -ENOENT;
	strcpy(p->event, s);
	return PROBE_REMOVE;
}

int probe_line_parse(const char *line, size_t len, bool user, struct probe_line *p, struct probe_words *words)
{
	int err;

	memset(p, 0, sizeof(*p));
	p->user = user;
	err = split(line, len, words);
	if (err)
		return err;
	if (!words->n)
		return PROBE_NOTHING;
	if (words->word[0][0] == '-')
		return remove_named(words, p);
	err = add(words, p);
	return err ? err : PROBE_ADD;
}

/* ---- shown and compared --------------------------------------------------------------------- */

static void print_where(const struct probe_line *p, struct text *out)
{
	unsigned long long off = p->offset;

	if (p->user) {
		text_printf(out, "%s:0x%016llx", p->target, off);
		if (p->ref_ctr_off)
			text_printf(out, "(0x%llx)", (unsigned long long)p->ref_ctr_off);
	} else if (!p->target) {
		text_printf(out, "0x%016llx", off);
	} else {
		text_puts(out, p->target);
		if (off)
			text_printf(out, "+%llu", off);
	}
}

static void print_arg(const struct probe_arg *a, struct text *out)
{
	text_printf(out, "%s=%s", a->name, a->text);
}

void probe_line_print(const struct probe_line *p, struct text *out)
{
	u32 i;

	text_puts(out, p->ret ? "r" : "p");
	if (p->max_active)
		text_printf(out, "%u", p->max_active);
	text_printf(out, ":%s/%s ", p->group, p->event);
	print_where(p, out);
	for (i = 0; i < p->nargs; i++) {
		text_puts(out, " ");
		print_arg(&p->args[i], out);
	}
	text_puts(out, "\n");
}

static bool word_is(const struct probe_line *p, const struct probe_arg *a, const char *word)
{
	struct text t = { 0 };
	bool same;

	if (a)
		print_arg(a, &t);
	else
		print_where(p, &t);
	same = !t.oom && !strcmp(text_str(&t), word);
	text_free(&t);
	return same;
}

bool probe_line_matches(const struct probe_line *p, const struct probe_line *wanted, const struct probe_words *words)
{
	u32 i;

	if ((wanted->event[0] && strcmp(p->event, wanted->event)) || (wanted->group[0] && strcmp(p->group, wanted->group)))
		return false;
	if (words->n > 2 + p->nargs)
		return false;
	for (i = 1; i < words->n; i++)
		if (!word_is(p, i > 1 ? &p->args[i - 2] : NULL, words->word[i]))
			return false;
	return true;
}

bool probe_line_same(const struct probe_line *a, const struct probe_line *b)
{
	return !strcmp(a->group, b->group) && !strcmp(a->event, b->event);
}

/* ---- its format ----------------------------------------------------------------------------- */

static void field(struct text *out, const char *type, const char *name, const char *array, u32 off, u32 size, bool is_signed)
{
	text_printf(out, "\tfield:%s %s%s;\toffset:%u;\tsize:%u;\tsigned:%u;\n", type, name, array, off, size, is_signed);
}

static void print_formats(const struct probe_line *p, struct text *out)
{
	u32 i, k;

	text_puts(out, p->ret ? "\nprint fmt: \"(%lx <- %lx)" : "\nprint fmt: \"(%lx)");
	for (i = 0; i < p->nargs; i++) {
		const struct probe_arg *a = &p->args[i];

		text_printf(out, " %s=%s%s", a->name, a->count ? "{" : "", a->size_of);
		for (k = 1; k < a->count; k++)
			text_printf(out, ",%s", a->size_of);
		text_puts(out, a->count ? "}" : "");
	}
	text_puts(out, p->ret ? "\", REC->__probe_func, REC->__probe_ret_ip" : "\", REC->__probe_ip");
}

static void print_values(const struct probe_line *p, struct text *out)
{
	u32 i, k;

	for (i = 0; i < p->nargs; i++) {
		const struct probe_arg *a = &p->args[i];
		const char *before = a->is_string ? "__get_str(" : !strcmp(a->size_of, "%pS") ? "(void *)REC->" : "REC->";

		for (k = 0; k < a->count; k++)
			text_printf(out, ", %s%s[%u]%s", before, a->name, k, a->is_string ? ")" : "");
		if (!a->count)
			text_printf(out, ", %s%s%s", before, a->name, a->is_string ? ")" : "");
	}
	text_puts(out, "\n");
}

void probe_line_fields(const struct probe_line *p, struct text *out)
{
	u32 i, off = p->ret ? 24 : 16;
	char array[16], type[32];

	field(out, "unsigned long", p->ret ? "__probe_func" : "__probe_ip", "", 8, 8, false);
	if (p->ret)
		field(out, "unsigned long", "__probe_ret_ip", "", 16, 8, false);
	for (i = 0; i < p->nargs; i++) {
		const struct probe_arg *a = &p->args[i];
		u32 size = a->size * (a->count ? a->count : 1);

		*array = '\0';
		if (a->count)
			snprintf(array, sizeof(array), "[%u]", a->count);
		snprintf(type, sizeof(type), "%s%s", a->decl, a->is_string ? array : "");
		field(out, type, a->name, a->is_string ? "" : array, off, size, a->is_signed);
		off += size;
	}
	print_formats(p, out);
	print_values(p, out);
}
