/* SPDX-License-Identifier: MIT */
/* Programs that go wrong, each in its own way; built one by one (MISTAKE) for the test. */
#include "sql_bpf.h"

#if MISTAKE == 1 /* an index that the text decides */
SEC("closure") int similarity(struct sqlite3_context *ctx, const struct sql_args *args)
{
	struct sqlite3_value *value = sql_arg(args, 0);
	char text[32];
	int size;

	if (!value)
		return -1;
	size = sql_text(value, text, sizeof(text));
	text[size - 1] = 0;
	sql_result_text(ctx, text, sizeof(text));
	return 0;
}
#elif MISTAKE == 2 /* an argument that may not be there */
SEC("closure") int similarity(struct sqlite3_context *ctx, const struct sql_args *args)
{
	sqlite3_result_int64(ctx, sqlite3_value_int64(sql_arg(args, 0)));
	return 0;
}
#elif MISTAKE == 3 /* a scalar function has no group */
SEC("closure") int similarity(struct sqlite3_context *ctx, const struct sql_args *args)
{
	return sql_state((struct sql_group *)ctx) ? 0 : -1;
}
#elif MISTAKE == 4 /* more than the policy grants: to read any memory of the process */
SEC("closure") int similarity(struct sqlite3_context *ctx, const struct sql_args *args)
{
	char text[32];

	bpf_probe_read_kernel(text, sizeof(text), (const void *)args);
	sql_result_text(ctx, text, sizeof(text));
	return 0;
}
#elif MISTAKE == 5 /* nothing wrong with it, but the other functions are missing */
SEC("closure") int rules_version(struct sqlite3_context *ctx, const struct sql_args *args)
{
	sqlite3_result_int64(ctx, 5);
	return 0;
}
#else              /* verified, for it comes to an end: in some thousand years */
static long inner(unsigned int i, unsigned long *n)
{
	*n += i;
	return 0;
}

static long outer(unsigned int i, unsigned long *n)
{
	bpf_loop(1 << 23, inner, n, 0);
	return 0;
}

SEC("closure") int similarity(struct sqlite3_context *ctx, const struct sql_args *args)
{
	unsigned long n = 0;

	bpf_loop(1 << 23, outer, &n, 0);
	sqlite3_result_int64(ctx, n);
	return 0;
}
#endif

char LICENSE[] SEC("license") = "GPL";
