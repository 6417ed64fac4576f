/* SPDX-License-Identifier: MIT */
/* The text of a policy: a statement a line, words between blanks. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/policy.h"

#define MAX_RULES 4096
#define MAX_WORDS 6

static const struct {
	const char *verb, *noun;
	u8 what;
	bool rate, bytes; /* what may follow the name */
} statements[] = {
	{ "allow", "type", POLICY_TYPE, false, false },
	{ "allow", "call", POLICY_CALL, true, false },
	{ "allow", "destructive", POLICY_DESTRUCTIVE, false, false },
	{ "allow", "helper", POLICY_HELPER, true, false },
	{ "allow", "map", POLICY_MAP, false, true },
	{ "limit", "insns", POLICY_INSNS, false, false },
	{ "limit", "time", POLICY_TIME, false, false },
	{ "limit", "return", POLICY_RETURN, false, false },
	{ "limit", "fault", POLICY_FAULT, false, false },
};

/* A whole number with one of the units behind it. */
static bool number(const char *s, const char *const *units, const u64 *factors, u64 *out)
{
	char *end;
	u64 v;

	if (!isdigit((unsigned char)s[0]) && !(s[0] == '-' && isdigit((unsigned char)s[1])))
		return false;
	errno = 0;
	v = s[0] == '-' ? (u64)strtoll(s, &end, 0) : strtoull(s, &end, 0);
	if (errno)
		return false;
	for (u32 n = 0; units[n]; n++) {
		if (strcmp(end, units[n]) || (factors[n] > 1 && v > UINT64_MAX / factors[n]))
			continue;
		*out = v * factors[n];
		return true;
	}
	return false;
}

static bool rate(const char *s, u64 *out)
{
	static const char *const units[] = { "/s", NULL };
	static const u64 one[] = { 1 };

	return s[0] != '-' && number(s, units, one, out) && *out && *out <= 1000000000;
}

static bool bytes(const char *s, u64 *out)
{
	static const char *const units[] = { "", "K", "M", "G", NULL };
	static const u64 factors[] = { 1, 1 << 10, 1 << 20, 1 << 30 };

	return s[0] != '-' && number(s, units, factors, out) && *out;
}

static const char *limit_value(u8 what, const char *s, u64 *out)
{
	static const char *const times[] = { "us", "ms", "s", NULL }, *const plain[] = { "", NULL };
	static const u64 ns[] = { 1000, 1000000, 1000000000 }, one[] = { 1 };
	static const char *const faults[] = { "host", "end", "error" };

	if (what == POLICY_TIME)
		return s[0] != '-' && number(s, times, ns, out) && *out ? NULL : "a time such as 5ms";
	if (what == POLICY_RETURN)
		return number(s, plain, one, out) ? NULL : "a number";
	if (what == POLICY_INSNS)
		return s[0] != '-' && number(s, plain, one, out) && *out ? NULL : "a number above 0";
	for (u32 n = 0; n < ARRAY_SIZE(faults); n++)
		if (!strcmp(s, faults[n])) {
			*out = n;
			return NULL;
		}
	return "host, end or error";
}

static u32 split(char *line, char **words)
{
	u32 n = 0;

	for (char *w = strtok_r(line, " \t\r", &line); w && n < MAX_WORDS; w = strtok_r(NULL, " \t\r", &line))
		words[n++] = w;
	return n;
}

/* NULL, or what was expected. */
static const char *statement(char **w, u32 n, struct policy_rule *r)
{
	u32 k;

	if (n == 2 && !strcmp(w[0], "default")) {
		r->what = !strcmp(w[1], "allow") ? POLICY_DEFAULT_ALLOW : POLICY_DEFAULT_DENY;
		return r->what == POLICY_DEFAULT_ALLOW || !strcmp(w[1], "deny") ? NULL : "allow or deny";
	}
	if (n < 4)
		return "`allow PROGRAM WHAT NAME', `limit PROGRAM WHAT VALUE' or `default allow'";
	for (k = 0; k < ARRAY_SIZE(statements); k++)
		if (!strcmp(w[0], statements[k].verb) && !strcmp(w[2], statements[k].noun))
			break;
	if (k == ARRAY_SIZE(statements))
		return "allow with type, call, destructive, helper or map; limit with insns, time, return or "
		       "fault";
	r->what = statements[k].what;
	if (strlen(w[1]) >= sizeof(r->who) || strlen(w[3]) >= sizeof(r->name))
		return "a shorter name";
	strcpy(r->who, w[1]);
	strcpy(r->name, w[3]);
	if (r->what >= POLICY_INSNS)
		return n > 4 ? "nothing behind the value" : limit_value(r->what, w[3], &r->n);
	if (n > 5 || (n == 5 && !statements[k].rate && !statements[k].bytes))
		return "nothing more on the line";
	if (n == 5 && statements[k].rate)
		return rate(w[4], &r->n) ? NULL : "calls a second, as 100/s";
	if (n == 5)
		return bytes(w[4], &r->n) ? NULL : "bytes, as 4096 or 64K";
	return NULL;
}

static int add_line(char *line, u32 number_, struct policy_rule **rules, size_t *n, size_t *cap,
		    struct text *why)
{
	struct policy_rule r = { 0 }, *grown;
	char *words[MAX_WORDS], *comment = strchr(line, '#');
	const char *wanted;
	u32 count;

	if (comment)
		*comment = '\0';
	count = split(line, words);
	if (!count)
		return 0;
	wanted = *n >= MAX_RULES ? "at most 4096 statements" : statement(words, count, &r);
	if (wanted) {
		text_printf(why, "line %u: expected %s", number_, wanted);
		return -EINVAL;
	}
	grown = base_grow(*rules, cap, *n + 1, sizeof(**rules));
	if (!grown)
		return -ENOMEM;
	*rules = grown;
	grown[(*n)++] = r;
	return 0;
}

int policy_parse(const char *text, struct policy_rule **rules, size_t *n, size_t *cap, struct text *why)
{
	char *copy = base_strdup(text), *line = copy, *next;
	u32 number_ = 1;
	int err = copy ? 0 : -ENOMEM;

	for (; !err && line; line = next, number_++) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		err = add_line(line, number_, rules, n, cap, why);
	}
	base_free(copy);
	return err;
}
