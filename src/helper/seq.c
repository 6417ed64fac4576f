/* SPDX-License-Identifier: MIT */
/* What programs of iterators write to whoever reads, and values as text by their BTF. */
#include <errno.h>
#include <string.h>

#include "btf/fbtf.h"
#include "code/code.h"
#include "helper/helper_int.h"

#define MAX_VALUE 65536 /* bytes of what is shown by its BTF */

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

/* ---- by BTF --------------------------------------------------------------------------------- */

struct room {
	char *s;
	u64 size, len; /* len: of all, also what did not fit */
};

static void to_room(void *arg, const char *s, size_t n)
{
	struct room *r = arg;
	u64 left = r->len < r->size ? r->size - r->len : 0;

	if (left)
		memcpy(r->s + r->len, s, n < left ? n : left);
	r->len += n;
}

static void to_seq(void *arg, const char *s, size_t n)
{
	struct helper_seq *seq = arg;

	if (seq->count + n >= seq->size) {
		seq->count = seq->size;
		return;
	}
	memcpy(seq->buf + seq->count, s, n);
	seq->count += n;
}

/* What struct btf_ptr says, of the BTF that stands for the kernel's. */
static s64 show(const void *what, u64 size, u64 flags, const struct fbtf_show_to *to)
{
	const struct btf *btf = fbtf_vmlinux();
	struct btf_ptr p;
	s64 bytes, err;
	void *copy;

	if (flags & ~(u64)(BTF_F_COMPACT | BTF_F_NONAME | BTF_F_PTR_RAW | BTF_F_ZERO) || size != sizeof(p) || !btf)
		return -EINVAL;
	memcpy(&p, what, sizeof(p));
	if (!p.type_id)
		return -EINVAL;
	if (p.type_id > INT32_MAX || !btf__type_by_id(btf, p.type_id))
		return -ENOENT;
	bytes = fbtf_size(btf, p.type_id);
	if (bytes < 0 || bytes > MAX_VALUE)
		return -EINVAL;
	copy = base_alloc((size_t)bytes + 1);
	if (!copy)
		return -ENOMEM;
	err = code_copy_safe(copy, p.ptr, (size_t)bytes) ? -EFAULT : fbtf_show(btf, p.type_id, copy, flags, to);
	base_free(copy);
	return err;
}

u64 seq_printf_btf(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct helper_seq *s = seq_of(a1);
	const struct fbtf_show_to to = { to_seq, helper_hide, s };

	return (u64)(s ? show(ptr(a2), (u32)a3, a4, &to) : -EINVAL);
}

u64 seq_snprintf_btf(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct room r = { ptr(a1), (u32)a2 ? (u32)a2 - 1 : 0, 0 };
	const struct fbtf_show_to to = { to_room, helper_hide, &r };
	s64 err = show(ptr(a3), (u32)a4, a5, &to);

	if ((u32)a2)
		r.s[r.len < r.size ? r.len : r.size] = '\0';
	return (u64)(err ? err : (s64)r.len);
}
