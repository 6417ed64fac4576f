/* SPDX-License-Identifier: MIT */
/* Reads the corpus: files of programs in text. */
#include <dirent.h>

#include "verdicts.h"

/* Numbered from VERDICT_KFUNC on: new ones at the end, which is 32 more than their place here. */
const char *const verdict_kfuncs[VERDICT_KFUNCS] = {
	"bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy", /* 32 */
	"bpf_dynptr_slice", "bpf_dynptr_slice_rdwr", "bpf_dynptr_adjust", /* 35 */
	"bpf_dynptr_is_null", "bpf_dynptr_is_rdonly", "bpf_dynptr_size", /* 38 */
	"bpf_dynptr_clone", "bpf_dynptr_copy", "bpf_dynptr_memset", /* 41 */
};

struct reader {
	const char *file;
	unsigned line;
	struct verdict_corpus *out;
	struct verdict_prog defaults;
};

static void bad(const struct reader *r, const char *what, const char *value)
{
	fail_msg("%s:%u: %s: '%s'", r->file, r->line, what, value);
}

static const struct {
	const char *name;
	u32 type;
} map_types[] = {
	{ "hash", BPF_MAP_TYPE_HASH },
	{ "array", BPF_MAP_TYPE_ARRAY },
	{ "prog_array", BPF_MAP_TYPE_PROG_ARRAY },
	{ "percpu_hash", BPF_MAP_TYPE_PERCPU_HASH },
	{ "percpu_array", BPF_MAP_TYPE_PERCPU_ARRAY },
	{ "lru_hash", BPF_MAP_TYPE_LRU_HASH },
	{ "ringbuf", BPF_MAP_TYPE_RINGBUF },
	{ "user_ringbuf", BPF_MAP_TYPE_USER_RINGBUF },
};

const char *verdict_map_name(u32 type)
{
	for (size_t i = 0; i < ARRAY_SIZE(map_types); i++) {
		if (map_types[i].type == type)
			return map_types[i].name;
	}
	return "?";
}

static void read_hex(const struct reader *r, struct verdict_map *m, const char *hex)
{
	unsigned byte;

	for (; hex[0] && hex[1]; hex += 2) {
		if (m->value_len == sizeof(m->value) || sscanf(hex, "%2x", &byte) != 1)
			bad(r, "value", hex);
		m->value[m->value_len++] = (u8)byte;
	}
}

static void read_map_word(const struct reader *r, struct verdict_map *m, const char *word)
{
	if (!strcmp(word, "rdonly"))
		m->attr.flags |= BPF_F_RDONLY_PROG;
	else if (!strcmp(word, "wronly"))
		m->attr.flags |= BPF_F_WRONLY_PROG;
	else if (!strcmp(word, "mmap"))
		m->attr.flags |= BPF_F_MMAPABLE;
	else if (!strcmp(word, "frozen"))
		m->frozen = true;
	else if (!strncmp(word, "lock=", 5))
		m->lock = (u32)strtoul(word + 5, NULL, 0) + 1;
	else if (!strncmp(word, "timer=", 6))
		m->timer = (u32)strtoul(word + 6, NULL, 0) + 1;
	else if (!strncmp(word, "kptr=", 5))
		m->kptr = (u32)strtoul(word + 5, NULL, 0) + 1;
	else if (!strncmp(word, "kptr_untrusted=", 15))
		m->kptr_untrusted = (u32)strtoul(word + 15, NULL, 0) + 1;
	else if (!strncmp(word, "value=", 6))
		read_hex(r, m, word + 6);
	else
		bad(r, "word of a map", word);
}

static void read_maps(const struct reader *r, struct verdict_prog *p, char *value)
{
	char *save, *inner;

	p->nmaps = 0;
	memset(p->maps, 0, sizeof(p->maps));
	for (char *one = strtok_r(value, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
		struct verdict_map *m = &p->maps[p->nmaps];
		u32 *sizes[] = { &m->attr.key_size, &m->attr.value_size, &m->attr.max_entries };
		char *word = strtok_r(one, " ", &inner);

		if (!word || !strcmp(word, "none"))
			return;
		if (p->nmaps++ == VERDICT_MAPS)
			bad(r, "too many maps", one);
		for (size_t i = 0; i < ARRAY_SIZE(map_types); i++) {
			if (!strcmp(word, map_types[i].name))
				m->attr.type = map_types[i].type;
		}
		if (!m->attr.type)
			bad(r, "type of map", word);
		for (size_t i = 0; i < 3; i++) {
			word = strtok_r(NULL, " ", &inner);
			if (!word)
				bad(r, "map needs three sizes", one);
			*sizes[i] = (u32)strtoul(word, NULL, 0);
		}
		while ((word = strtok_r(NULL, " ", &inner)))
			read_map_word(r, m, word);
	}
}

static void read_type(const struct reader *r, struct verdict_prog *p, char *value)
{
	char *rest = strchr(value, ' ');

	if (rest)
		*rest++ = 0;
	p->flags = rest && !strcmp(rest, "sleepable") ? 1u << 4 : 0; /* BPF_F_SLEEPABLE */
	for (u32 t = 1; t < 64; t++) {
		const struct prog_type *pt = prog_type_of(t);

		if (pt && !strcmp(pt->name, value)) {
			p->type = t;
			return;
		}
	}
	bad(r, "type of program", value);
}

static int errno_named(const char *name)
{
	static const struct {
		const char *name;
		int err;
	} names[] = { { "EINVAL", EINVAL }, { "EACCES", EACCES }, { "EPERM", EPERM },
		      { "E2BIG", E2BIG },   { "ENOMEM", ENOMEM }, { "EOPNOTSUPP", EOPNOTSUPP },
		      { "EFAULT", EFAULT }, { "ELOOP", ELOOP },   { "ENOENT", ENOENT } };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(names[i].name, name))
			return -names[i].err;
	}
	return 0;
}

static void read_expect(const struct reader *r, struct verdict_prog *p, char *value)
{
	char *save, *word = strtok_r(value, " ", &save);

	p->accept = word && !strcmp(word, "accept");
	p->err = 0;
	p->message[0] = 0;
	if (p->accept)
		return;
	if (!word || strcmp(word, "reject"))
		bad(r, "expectation", value);
	while (save && *save == ' ')
		save++;
	word = strtok_r(NULL, " ", &save);
	if (!word)
		return;
	p->err = errno_named(word);
	if (!p->err)
		bad(r, "errno", word);
	snprintf(p->message, sizeof(p->message), "%s", save ? save : "");
}

static void read_kernel(const struct reader *r, struct verdict_prog *p, const char *value)
{
	p->no_kernel = !strncmp(value, "skip because ", 13);
	if (p->no_kernel)
		return;
	if (strncmp(value, "differs because ", 16))
		bad(r, "note on the kernel", value);
	snprintf(p->differs, sizeof(p->differs), "%s", value + 16);
}

static void read_key(const struct reader *r, struct verdict_prog *p, const char *key, char *value)
{
	if (!strcmp(key, "type"))
		read_type(r, p, value);
	else if (!strcmp(key, "maps"))
		read_maps(r, p, value);
	else if (!strcmp(key, "license"))
		p->gpl = strcmp(value, "none");
	else if (!strcmp(key, "expect"))
		read_expect(r, p, value);
	else if (!strcmp(key, "kernel"))
		read_kernel(r, p, value);
	else if (!strcmp(key, "strict"))
		p->strict = !strcmp(value, "yes");
	else if (!strcmp(key, "gap"))
		p->gap = true;
	else
		bad(r, "key", key);
}

static struct verdict_prog *start_prog(struct reader *r, const char *name)
{
	struct verdict_corpus *c = r->out;
	struct verdict_prog *p;

	c->progs = base_grow(c->progs, &c->cap, c->n + 1, sizeof(*p));
	assert_non_null(c->progs);
	p = &c->progs[c->n++];
	*p = r->defaults;
	p->file = r->file;
	p->line = r->line;
	snprintf(p->name, sizeof(p->name), "%s", name);
	return p;
}

static void end_prog(struct reader *r, struct verdict_prog *p, struct text *code)
{
	struct text why = { 0 };

	if (!p)
		return;
	if (isa_assemble(text_str(code), &p->insns, &p->cnt, &why))
		fail_msg("%s: program '%s' at line %u: %s", r->file, p->name, p->line,
			 text_str(&why));
	text_free(&why);
	text_reset(code);
}

/*
 * `@lookup N`: r0 is element 0 of map N (with a key of 4 bytes), and not NULL; else the program exits
 * with 0. `@hash N` is the same with a key of 8 bytes. Both leave r1 to r5 unset.
 */
static void add_code(struct text *code, const char *line)
{
	const char *at = strchr(line, '@');
	unsigned map;
	bool wide = at && sscanf(at, "@hash %u", &map) == 1;

	if (!at || (!wide && sscanf(at, "@lookup %u", &map) != 1)) {
		text_printf(code, "%s\n", line);
		return;
	}
	text_printf(code,
		    "*(u64 *)(r10 - 8) = 0\nr2 = r10\nr2 += -%d\nr1 = map[%u] ll\n"
		    "call bpf_map_lookup_elem\nif r0 != 0 goto +2\nr0 = 0\nexit\n",
		    wide ? 8 : 4, map);
}

static void read_file(struct reader *r, FILE *f)
{
	struct verdict_prog *p = NULL;
	struct text code = { 0 };
	bool in_code = false;
	char line[4096];

	while (fgets(line, sizeof(line), f)) {
		char *colon = strstr(line, ": "), *value = colon ? colon + 2 : NULL;
		bool is_default = !strncmp(line, "default ", 8);

		r->line++;
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "prog: ", 6)) {
			end_prog(r, p, &code);
			p = start_prog(r, value);
			in_code = false;
		} else if (is_default && value) {
			end_prog(r, p, &code);
			p = NULL;
			in_code = false;
			*colon = 0;
			read_key(r, &r->defaults, line + 8, value);
		} else if (in_code) {
			add_code(&code, line);
		} else if (!strcmp(line, "code:")) {
			in_code = true;
		} else if (value && p) {
			*colon = 0;
			read_key(r, p, line, value);
		} else if (line[0] && line[0] != '#') {
			bad(r, "line", line);
		}
	}
	end_prog(r, p, &code);
	text_free(&code);
}

static int is_text(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 4 && !strcmp(d->d_name + n - 4, ".txt");
}

void verdict_read(const char *folder, struct verdict_corpus *out)
{
	struct dirent **entries = NULL;
	int n = scandir(folder, &entries, is_text, alphasort);

	assert_true(n > 0);
	for (int i = 0; i < n; i++) {
		struct reader r = { .out = out };
		char path[4096];
		FILE *f;

		snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		r.file = strdup(entries[i]->d_name); /* lives as long as the programs */
		r.defaults.type = BPF_PROG_TYPE_XDP;
		r.defaults.gpl = true;
		f = fopen(path, "r");
		assert_non_null(f);
		read_file(&r, f);
		fclose(f);
		free(entries[i]);
	}
	free(entries);
}

void verdict_free(struct verdict_corpus *c)
{
	const char *last = NULL;

	for (size_t i = 0; i < c->n; i++) {
		base_free(c->progs[i].insns);
		if (c->progs[i].file != last)
			free((char *)last);
		last = c->progs[i].file;
	}
	free((char *)last);
	base_free(c->progs);
	*c = (struct verdict_corpus){ 0 };
}

void verdict_reason(const struct text *log, char *out, size_t size)
{
	const char *s = text_str(log), *best = s;
	size_t len;

	/* The last line that is no statistics and no hint. */
	for (const char *p = s; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		if (strncmp(p, "processed ", 10) && strncmp(p, "verification time", 17) &&
		    strncmp(p, "stack depth", 11) && strncmp(p, "hint", 4) && *p != '\n' &&
		    strncmp(p, "mark_precise", 12) && strncmp(p, "cur state", 9) && strncmp(p, "old state", 9) && strncmp(p, "  ", 2))
			best = p;
	}
	len = strcspn(best, "\n");
	snprintf(out, size, "%.*s", (int)len, best);
}
