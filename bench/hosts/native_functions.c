/* SPDX-License-Identifier: MIT */
/* The SQL functions of examples/sqlite, the same source, compiled for this machine: the rival in
 * plain C. */
#include <math.h>
#include <string.h>

#include "sqlite/functions.bpf.c"

struct native_args {
	int count;
	struct sqlite3_value **values;
};

extern const unsigned char *sqlite3_value_text(struct sqlite3_value *value);
extern int sqlite3_value_bytes(struct sqlite3_value *value);

struct sqlite3_value *sql_arg(const struct sql_args *args, int n)
{
	const struct native_args *a = (const struct native_args *)args;

	return n >= 0 && n < a->count ? a->values[n] : NULL;
}

int sql_text(struct sqlite3_value *value, char *text, unsigned int size)
{
	const unsigned char *s = sqlite3_value_text(value);
	unsigned int n = s ? (unsigned int)sqlite3_value_bytes(value) : 0,
		     copied = n < size ? n : size;

	if (copied)
		memcpy(text, s, copied);
	memset(text + copied, 0, size - copied);
	return (int)n;
}

unsigned int sql_root(unsigned long long square)
{
	unsigned long long root = (unsigned long long)sqrt((double)square);

	root = root > 0xffffffff ? 0xffffffff : root;
	return (unsigned int)(root - (root * root > square));
}

/* Not measured. */
void *sql_state(struct sql_group *group)
{
	(void)group;
	return NULL;
}
