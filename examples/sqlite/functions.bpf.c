/* SPDX-License-Identifier: MIT */
/*
 * SQL functions, an aggregate and an authoriser for sql.c. A function that returns other than 0
 * fails its query.
 */
#include "sql_bpf.h"

#ifndef VERSION
#define VERSION 1
#endif
#define TEXT 32
enum { SQLITE_OK, SQLITE_DENY, SQLITE_IGNORE };
enum {
	SQLITE_INSERT = 18,
	SQLITE_READ = 20,
	SQLITE_SELECT,
	SQLITE_TRANSACTION,
	SQLITE_FUNCTION = 31,
	SQLITE_RECURSIVE = 33
};
enum { SQLITE_NULL = 5 };

/* rules_version(): which of the objects answers. */
SEC("closure") int rules_version(struct sqlite3_context *ctx, const struct sql_args *args)
{
	sqlite3_result_int64(ctx, VERSION);
	return 0;
}

static long long number(const struct sql_args *args, int n)
{
	struct sqlite3_value *value = sql_arg(args, n);

	return value ? sqlite3_value_int64(value) : 0;
}

/* distance(x1, y1, x2, y2): of two points, rounded down. */
SEC("closure") int distance(struct sqlite3_context *ctx, const struct sql_args *args)
{
	long long dx = number(args, 0) - number(args, 2), dy = number(args, 1) - number(args, 3);

	sqlite3_result_int64(ctx, sql_root(dx * dx + dy * dy));
	return 0;
}

/* Text in lower case, with zeros behind: how many bytes; -1: NULL. */
static int word(const struct sql_args *args, int n, char *text)
{
	struct sqlite3_value *value = sql_arg(args, n);
	int size;

	if (!value || sqlite3_value_type(value) == SQLITE_NULL)
		return -1;
	size = sql_text(value, text, TEXT);
	for (int i = 0; i < TEXT; i++)
		text[i] |= text[i] >= 'A' && text[i] <= 'Z' ? 0x20 : 0;
	return size < TEXT ? size : TEXT;
}

static unsigned int pair(const char *s)
{
	return (s[0] & 31) << 5 | (s[1] & 31);
}

/* similarity(a, b): how many pairs of letters two words share, in percent. */
SEC("closure") int similarity(struct sqlite3_context *ctx, const struct sql_args *args)
{
	unsigned long long set[16] = { 0 }; /* of pairs, a bit each */
	char a[TEXT], b[TEXT];
	int n = word(args, 0, a), m = word(args, 1, b), shared = 0;

	if (n < 0 || m < 0) {
		sqlite3_result_null(ctx);
		return 0;
	}
	for (int i = 0; i + 1 < n && i < TEXT - 1; i++)
		set[pair(a + i) / 64] |= 1ull << pair(a + i) % 64;
	for (int i = 0; i + 1 < m && i < TEXT - 1; i++)
		shared += set[pair(b + i) / 64] >> pair(b + i) % 64 & 1;
	n = n > m ? n : m;
	sqlite3_result_int64(ctx, n > 1 ? (unsigned int)shared * 100 / (unsigned int)(n - 1) : 0);
	return 0;
}

/* spread(x): the largest minus the smallest. */
struct spread {
	long long low, high;
	int seen;
};

SEC("closure") int spread_step(struct sql_group *group, const struct sql_args *args)
{
	struct spread *s = sql_state(group);
	long long x = number(args, 0);

	if (!s)
		return -1;
	if (!s->seen || x < s->low)
		s->low = x;
	if (!s->seen || x > s->high)
		s->high = x;
	s->seen = 1;
	return 0;
}

SEC("closure") int spread_final(struct sql_group *group, struct sqlite3_context *ctx)
{
	struct spread *s = sql_state(group);

	if (s && s->seen)
		sqlite3_result_int64(ctx, s->high - s->low);
	return 0;
}

/* Queries may read and add; nobody sees column `secret'. */
SEC("closure") int authorize(const struct sql_access *access)
{
	switch (access->action) {
	case SQLITE_READ:
		return bpf_strncmp(access->detail, sizeof(access->detail), "secret")
			       ? SQLITE_OK
			       : SQLITE_IGNORE;
	case SQLITE_INSERT:
	case SQLITE_SELECT:
	case SQLITE_TRANSACTION:
	case SQLITE_FUNCTION:
	case SQLITE_RECURSIVE: return SQLITE_OK;
	default: return SQLITE_DENY;
	}
}

char LICENSE[] SEC("license") = "GPL";
