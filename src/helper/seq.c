/* SPDX-License-Identifier: MIT */
/* What programs of iterators write to whoever reads: bpf_seq_printf() and its like. */
#include <errno.h>
#include <string.h>

#include "helper/helper_int.h"

_Thread_local struct helper_seq *helper_seq __attribute__((tls_model("initial-exec")));

/* The verifier proved its type; that it is the iterator's own is for here to see. */
static struct helper_seq *seq_of(u64 a)
{
	struct helper_seq *s = helper_seq;

	return s && ptr(a) == s ? s : NULL;
}

/* A text that does not fit whole leaves the buffer full: its reader then begins with this element. */
static bool is_full(const struct helper_seq *s)
{
	return s->count == s->size;
}

u64 seq_printf(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct helper_seq *s = seq_of(a1);
	u64 args[HELPER_MAX_ARGS];
	int n = helper_args(args, a4, a5);
	s64 len;

	if (n < 0 || !s)
		return (u64)(s64)-EINVAL;
	len = helper_format_full(s->buf + s->count, s->size - s->count, ptr(a2), (u32)a3, args, (u32)n);
	if (len < 0)
		return (u64)len;
	s->count = (u64)len < s->size - s->count ? s->count + (u64)len : s->size;
	return is_full(s) ? (u64)(s64)-EOVERFLOW : 0;
}

u64 seq_write(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct helper_seq *s = seq_of(a1);

	if (!s)
		return (u64)(s64)-EINVAL;
	if (s->count + (u32)a3 >= s->size) {
		s->count = s->size;
		return (u64)(s64)-EOVERFLOW;
	}
	memcpy(s->buf + s->count, ptr(a2), (u32)a3);
	s->count += (u32)a3;
	return 0;
}
