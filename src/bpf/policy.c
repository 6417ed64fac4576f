/* SPDX-License-Identifier: MIT */
/* The policy in force: what a program needs, and whether some line grants it. */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/policy.h"
#include "ferry/policy.h"
#include "helper/helper.h"

#define MAX_FILE (1u << 20)
#define HARMLESS 8 /* instructions up to which a program that calls nothing needs no grant: loaders probe */

static struct policy_rule *rules;
static size_t nrules, cap_rules;
static bool active; /* is there a policy? */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local char object_name[64];

/* ---- matching, under the lock -------------------------------------------------------------------- */

static bool is_program(const struct policy_rule *r, const struct prog *p)
{
	char full[sizeof(object_name) + BPF_OBJ_NAME_LEN + 1], tag[2 * BPF_TAG_SIZE + 1], pattern[64];

	if (!strncmp(r->who, "tag:", 4)) {
		for (u32 n = 0; n < BPF_TAG_SIZE; n++)
			snprintf(tag + 2 * n, 3, "%02x", p->tag[n]);
		return !strcmp(r->who + 4, tag);
	}
	if (strchr(r->who, '/')) {
		snprintf(full, sizeof(full), "%s/%s", object_name, p->name);
		return !fnmatch(r->who, full, 0);
	}
	/* bpf(2) knows the first 15 characters of a name. */
	snprintf(pattern, sizeof(pattern), "%s", r->who);
	if (!strpbrk(pattern, "*?[\\"))
		pattern[BPF_OBJ_NAME_LEN - 1] = '\0';
	return !fnmatch(pattern, p->name, 0);
}

static const struct policy_rule *find(const struct prog *p, u8 what, const char *name)
{
	for (size_t n = 0; n < nrules; n++)
		if (rules[n].what == what && is_program(&rules[n], p) && !fnmatch(rules[n].name, name, 0))
			return &rules[n];
	return NULL;
}

static bool allowed_by_default(void)
{
	bool yes = !active;

	for (size_t n = 0; n < nrules; n++)
		if (rules[n].what == POLICY_DEFAULT_ALLOW || rules[n].what == POLICY_DEFAULT_DENY)
			yes = rules[n].what == POLICY_DEFAULT_ALLOW;
	return yes;
}

/* ---- what a program needs ------------------------------------------------------------------------ */

struct need {
	const struct prog *p;
	struct text *log;
	bool by_default;
	u32 missing;
};

static void missing(struct need *need, const char *what, const char *name, const char *more)
{
	const struct prog *p = need->p;
	const char *who = p->name[0] ? p->name : "*";

	text_printf(need->log, "policy: program %s may not use %s %s: the policy lacks the line\n"
			       "allow %s %s %s%s\n", who, what, name, who, what, name, more);
	log_msg(LOG_WARN, "program %s was refused: the policy lacks the line `allow %s %s %s%s'", who, who,
		what, name, more);
	need->missing++;
}

static void want(struct need *need, u8 what, const char *word, const char *name)
{
	if (!need->by_default && !find(need->p, what, name))
		missing(need, word, name, "");
}

static void want_native(struct need *need, const struct module_func *f)
{
	char full[256];

	snprintf(full, sizeof(full), "%s.%s", f->mod ? f->mod->name : "", f->name);
	if (f->flags & FERRY_DESTRUCTIVE && !find(need->p, POLICY_DESTRUCTIVE, full))
		missing(need, "destructive", full, "");
	else if (!(f->flags & FERRY_DESTRUCTIVE))
		want(need, POLICY_CALL, "call", full);
}

/* Maps of one type together: only the first of the type is looked at. */
static void want_map(struct need *need, u32 index)
{
	const struct prog *p = need->p;
	const char *type = map_type_name(p->maps[index]->attr.type);
	const struct policy_rule *r;
	u64 bytes = 0;
	char more[32];

	for (u32 n = 0; n < p->nmaps; n++) {
		if (!p->maps[n] || p->maps[n]->attr.type != p->maps[index]->attr.type)
			continue;
		if (n < index)
			return;
		bytes += p->maps[n]->mem_size;
	}
	r = find(p, POLICY_MAP, type);
	if (r ? !r->n || bytes <= r->n : need->by_default)
		return;
	snprintf(more, sizeof(more), " %llu", (unsigned long long)bytes);
	missing(need, "map", type, more);
}

/*
 * Calls that give nothing away: libbpf finds out with them what there is (of the clock, how memory is
 * accounted), and would do without for all programs.
 */
static bool is_harmless(const struct prog *p, u32 n)
{
	const struct bpf_insn *from = &p->insns[n ? n - 1 : 0]; /* sets the address to be read */

	switch (p->insns[n].imm) {
	case BPF_FUNC_ktime_get_coarse_ns:
	case BPF_FUNC_get_attach_cookie: return true;
	case BPF_FUNC_probe_read_kernel:
		return from->code == (BPF_ALU64 | BPF_MOV | BPF_K) && from->dst_reg == 3 && !from->imm;
	}
	return false;
}

static bool may_probe(const struct prog *p)
{
	u32 calls = 0, jumps = 0; /* round what a call depends on */

	for (u32 n = 0; n < p->insn_cnt; n += isa_slots(&p->insns[n])) {
		if (isa_is_call(&p->insns[n], BPF_PSEUDO_KFUNC_CALL))
			return false;
		if (isa_is_call(&p->insns[n], 0) && !is_harmless(p, n))
			return false;
		if (isa_is_call(&p->insns[n], 0))
			calls++;
		else
			jumps += BPF_CLASS(p->insns[n].code) == BPF_JMP && BPF_OP(p->insns[n].code) != BPF_EXIT;
		jumps += BPF_CLASS(p->insns[n].code) == BPF_JMP32;
	}
	return p->insn_cnt <= HARMLESS && !(calls && jumps);
}

static void want_helpers(struct need *need)
{
	const struct prog *p = need->p;
	u64 seen[16] = { 0 };

	for (u32 n = 0; n < p->insn_cnt; n += isa_slots(&p->insns[n])) {
		u32 id = (u32)p->insns[n].imm;
		const char *name = isa_is_call(&p->insns[n], 0) ? helper_name(id) : NULL;

		if (!name || id >= 1024 || seen[id / 64] >> id % 64 & 1)
			continue;
		seen[id / 64] |= 1ull << id % 64;
		want(need, POLICY_HELPER, "helper", name);
	}
}

int policy_check(const struct prog *p, struct text *log)
{
	struct need need = { .p = p, .log = log };

	if (may_probe(p))
		return 0;
	pthread_mutex_lock(&lock);
	need.by_default = allowed_by_default();
	want(&need, POLICY_TYPE, "type", prog_type_name(p->type));
	for (u32 n = 0; n < p->nnatives; n++)
		want_native(&need, p->natives[n]);
	want_helpers(&need);
	for (u32 n = 0; n < p->nmaps; n++)
		if (p->maps[n])
			want_map(&need, n);
	pthread_mutex_unlock(&lock);
	return need.missing ? -EACCES : 0;
}

u64 policy_rate(const struct prog *p, u32 insn)
{
	const struct bpf_insn *in = &p->insns[insn];
	const struct module_func *f;
	const struct policy_rule *r;
	char full[256];
	u64 rate;

	pthread_mutex_lock(&lock);
	if (isa_is_call(in, 0)) {
		const char *name = helper_name((u32)in->imm);

		r = name ? find(p, POLICY_HELPER, name) : NULL;
	} else {
		f = p->natives[in->imm];
		snprintf(full, sizeof(full), "%s.%s", f->mod ? f->mod->name : "", f->name);
		r = find(p, POLICY_CALL, full);
	}
	rate = r ? r->n : 0;
	pthread_mutex_unlock(&lock);
	return rate;
}

void policy_limits(const struct prog *p, struct prog_limits *l)
{
	pthread_mutex_lock(&lock);
	for (size_t n = 0; n < nrules; n++) {
		const struct policy_rule *r = &rules[n];

		if (r->what < POLICY_INSNS || r->what > POLICY_FAULT || !is_program(r, p))
			continue;
		switch (r->what) {
		case POLICY_INSNS: l->insns = r->n; break;
		case POLICY_TIME: l->time_ns = r->n; break;
		case POLICY_RETURN: l->value = r->n; break;
		default: l->on_fault = (u8)r->n; break;
		}
	}
	pthread_mutex_unlock(&lock);
}

/* ---- the public functions ----------------------------------------------------------------------- */

static int set(const char *text, const char *what, bool keep)
{
	struct policy_rule *made = NULL;
	struct text why = { 0 };
	size_t n = 0, cap = 0;
	int err = 0;

	pthread_mutex_lock(&lock);
	if (keep && nrules) {
		made = base_grow(NULL, &cap, nrules, sizeof(*made));
		err = made ? 0 : -ENOMEM;
		if (made)
			memcpy(made, rules, nrules * sizeof(*made));
		n = nrules;
	}
	if (!err && text)
		err = policy_parse(text, &made, &n, &cap, &why);
	if (err) {
		base_free(made);
	} else {
		base_free(rules);
		rules = made;
		nrules = n;
		cap_rules = cap;
		active = text != NULL;
	}
	pthread_mutex_unlock(&lock);
	if (err)
		log_msg(LOG_ERROR, "%s: %s", what, why.len ? text_str(&why) : strerror(-err));
	text_free(&why);
	return err;
}

int ferry_policy_set(const char *text)
{
	return set(text, "policy", false);
}

int ferry_policy_add(const char *lines)
{
	return lines ? set(lines, "policy", true) : -EINVAL;
}

int ferry_policy_load(const char *path)
{
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1, err = fd < 0 ? -errno : 0;
	char *text = NULL;
	size_t len = 0;
	ssize_t got;

	if (err) {
		log_msg(LOG_ERROR, "policy %s: %s", path ? path : "", strerror(-err));
		return path ? err : -EINVAL;
	}
	text = base_alloc(MAX_FILE + 1);
	while (text && len < MAX_FILE && (got = read(fd, text + len, MAX_FILE - len)) > 0)
		len += (size_t)got;
	close(fd);
	if (!text)
		return -ENOMEM;
	err = len == MAX_FILE || strlen(text) != len ? -EINVAL : set(text, path, false);
	base_free(text);
	return err;
}

int ferry_policy_object(const char *name)
{
	if (name && strlen(name) >= sizeof(object_name))
		return -ENAMETOOLONG;
	snprintf(object_name, sizeof(object_name), "%s", name ? name : "");
	return 0;
}
