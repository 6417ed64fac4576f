/* SPDX-License-Identifier: MIT */
/* Dynptrs. The verifier keeps programs away from the 16 bytes, which are on their own stack. */
#include <errno.h>
#include <string.h>

#include "helper/helper_int.h"

#define MAX_SIZE ((1u << 24) - 1) /* the kernel's DYNPTR_MAX_SIZE */

/* What it is of lies from `data` on; it begins `off` bytes behind that, and may do so later (bpf_dynptr_adjust). */
struct dynptr {
	u8 *data; /* NULL: there is none */
	u32 size, off;
};
_Static_assert(sizeof(struct dynptr) == sizeof(struct bpf_dynptr), "as programs know it");

static s64 none(struct dynptr *d, s64 err)
{
	*d = (struct dynptr){ .data = NULL };
	return err;
}

static s64 check_range(const struct dynptr *d, u32 off, u64 len)
{
	return len > d->size || off > d->size - len ? -E2BIG : 0;
}

/* Its bytes [off, off + len); NULL: it has none there. */
static u8 *bytes(const struct dynptr *d, u32 off, u32 len)
{
	return !d->data || check_range(d, off, len) ? NULL : d->data + d->off + off;
}

u64 dynptr_from_mem(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct dynptr *d = ptr(a4);

	if ((u32)a2 > MAX_SIZE)
		return (u64)none(d, -E2BIG);
	if (a3)
		return (u64)none(d, -EINVAL);
	*d = (struct dynptr){ .data = ptr(a1), .size = (u32)a2 };
	return 0;
}

u64 dynptr_read(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct dynptr *d = ptr(a3);
	s64 err;

	if (!d->data || a5)
		return (u64)-EINVAL;
	err = check_range(d, (u32)a4, (u32)a2);
	/* They may overlap: both may be the same map value. */
	if (!err)
		memmove(ptr(a1), d->data + d->off + (u32)a4, (u32)a2);
	return (u64)err;
}

u64 dynptr_write(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct dynptr *d = ptr(a1);
	s64 err;

	if (!d->data || a5)
		return (u64)-EINVAL;
	err = check_range(d, (u32)a2, (u32)a4);
	if (!err)
		memmove(d->data + d->off + (u32)a2, ptr(a3), (u32)a4);
	return (u64)err;
}

u64 dynptr_data(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return (u64)(uintptr_t)bytes(ptr(a1), (u32)a2, (u32)a3);
}

u64 dynptr_reserve(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct dynptr *d = ptr(a4);
	void *record;

	if (a3)
		return (u64)none(d, -EINVAL);
	if ((u32)a2 > MAX_SIZE)
		return (u64)none(d, -E2BIG);
	record = map_ringbuf_reserve(ptr(a1), (u32)a2, 0);
	if (!record)
		return (u64)none(d, -EINVAL);
	*d = (struct dynptr){ .data = record, .size = (u32)a2 };
	return 0;
}

static void commit(struct dynptr *d, u64 flags, bool discard)
{
	if (d->data)
		map_ringbuf_commit(d->data, flags, discard);
	none(d, 0);
}

/* ---- records that users wrote ------------------------------------------------------------------- */

struct drain {
	prog_callback fn;
	u64 ctx;
};

static u64 drained(void *arg, void *sample, u32 size)
{
	const struct drain *d = arg;
	struct dynptr record = { .data = sample, .size = size };

	return d->fn((u64)(uintptr_t)&record, d->ctx, 0, 0, 0);
}

u64 dynptr_drain(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct drain d = { (prog_callback)(uintptr_t)a2, a3 };

	return (u64)map_user_ringbuf_drain(ptr(a1), drained, &d, a4);
}

/* ---- the end of reservations -------------------------------------------------------------------- */

u64 dynptr_submit(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	commit(ptr(a1), a2, false);
	return 0;
}

u64 dynptr_discard(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	commit(ptr(a1), a2, true);
	return 0;
}

/* ---- kfuncs ------------------------------------------------------------------------------------- */

/* All that there are dynptrs of lies in one piece: the program's buffer, which the kernel may copy to, is not needed. */
u64 dynptr_slice(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return (u64)(uintptr_t)bytes(ptr(a1), (u32)a2, (u32)a4);
}

u64 dynptr_slice_rdwr(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return (u64)(uintptr_t)bytes(ptr(a1), (u32)a2, (u32)a4);
}

u64 dynptr_adjust(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct dynptr *d = ptr(a1);
	u32 start = (u32)a2, end = (u32)a3;

	if (!d->data || start > end)
		return (u64)-EINVAL;
	if (end > d->size)
		return (u64)-ERANGE;
	d->off += start;
	d->size = end - start;
	return 0;
}

u64 dynptr_is_null(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return !((const struct dynptr *)ptr(a1))->data;
}

/* Those of memory that may not be written are of packets. */
u64 dynptr_is_rdonly(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return 0;
}

u64 dynptr_size(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct dynptr *d = ptr(a1);

	return d->data ? d->size : (u64)-EINVAL;
}

u64 dynptr_clone(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct dynptr *from = ptr(a1);
	struct dynptr d = *from; /* they may be one */

	*(struct dynptr *)ptr(a2) = d;
	return d.data ? 0 : (u64)none(ptr(a2), -EINVAL);
}

u64 dynptr_copy(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct dynptr *to = ptr(a1), *from = ptr(a3);
	u8 *dst = bytes(to, (u32)a2, (u32)a5);
	const u8 *src = bytes(from, (u32)a4, (u32)a5);

	if (dst && src)
		memmove(dst, src, (u32)a5);
	else if ((src && !to->data) || (dst && !from->data))
		return (u64)-EINVAL;
	else if (check_range(to, (u32)a2, (u32)a5) || check_range(from, (u32)a4, (u32)a5))
		return (u64)-E2BIG;
	return 0;
}

u64 dynptr_memset(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct dynptr *d = ptr(a1);
	u8 *at = bytes(d, (u32)a2, (u32)a3);

	if (at)
		memset(at, (u8)a4, (u32)a3);
	else
		return (u64)check_range(d, (u32)a2, (u32)a3);
	return 0;
}
