/* SPDX-License-Identifier: MIT */
/* Dynptrs. The verifier keeps programs away from the 16 bytes, which are on their own stack. */
#include <errno.h>
#include <string.h>

#include "helper/helper_int.h"

#define MAX_SIZE ((1u << 24) - 1) /* the kernel's DYNPTR_MAX_SIZE */

struct dynptr {
	u8 *data; /* NULL: there is none */
	u32 size, unused;
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
		memmove(ptr(a1), d->data + (u32)a4, (u32)a2);
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
		memmove(d->data + (u32)a2, ptr(a3), (u32)a4);
	return (u64)err;
}

u64 dynptr_data(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct dynptr *d = ptr(a1);

	if (!d->data || check_range(d, (u32)a2, (u32)a3))
		return 0;
	return (u64)(uintptr_t)(d->data + (u32)a2);
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
