/* SPDX-License-Identifier: MIT */
/* Helpers on packets. The context is a struct prog_pkt, which only the host writes. */
#include <errno.h>
#include <string.h>

#include "helper/helper_int.h"

#define ETH_HEADER 14
#define MAX_META   252 /* xdp_metalen_invalid() of the kernel */
#define MAX_OFFSET INT32_MAX

/* [off, off + size) of the packet, or NULL. */
static u8 *packet_at(const struct prog_pkt *p, u64 off, u64 size)
{
	u64 len = p->data_end - p->data;

	if (off > MAX_OFFSET || size > len || off > len - size)
		return NULL;
	return (u8 *)ptr(p->data) + off;
}

static u64 copy_out(const struct prog_pkt *p, u64 off, void *to, u32 size, int err)
{
	const u8 *from = packet_at(p, off, size);

	if (!from) {
		memset(to, 0, size);
		return (u64)(s64)err;
	}
	memmove(to, from, size);
	return 0;
}

u64 packet_load(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return copy_out(ptr(a1), (u32)a2, ptr(a3), (u32)a4, -EFAULT);
}

u64 packet_store(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u8 *to = packet_at(ptr(a1), (u32)a2, (u32)a4);

	if (a5 & ~(u64)(BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH))
		return (u64)-EINVAL;
	if (!to)
		return (u64)-EFAULT;
	memmove(to, ptr(a3), (u32)a4);
	if (a5 & BPF_F_INVALIDATE_HASH)
		((struct prog_pkt *)ptr(a1))->hash = 0;
	return 0;
}

u64 packet_xdp_load(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return copy_out(ptr(a1), (u32)a2, ptr(a3), (u32)a4, -EINVAL);
}

u64 packet_xdp_store(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u8 *to = packet_at(ptr(a1), (u32)a2, (u32)a4);

	if (!to)
		return (u64)-EINVAL;
	memmove(to, ptr(a3), (u32)a4);
	return 0;
}

u64 packet_len(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct prog_pkt *p = ptr(a1);

	return p->data_end - p->data;
}

/* ---- moving the ends of a packet ------------------------------------------------------------- */

u64 packet_adjust_head(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct prog_pkt *p = ptr(a1);
	s64 by = (s32)a2;
	u64 meta_len = p->data_meta <= p->data ? p->data - p->data_meta : 0;
	s64 room = (s64)(p->data - p->hard_start - meta_len);
	s64 len = (s64)(p->data_end - p->data);

	if (by < -room || by > len - ETH_HEADER)
		return (u64)-EINVAL;
	if (p->data_meta <= p->data) {
		memmove(ptr(p->data_meta + (u64)by), ptr(p->data_meta), meta_len);
		p->data_meta += (u64)by;
	}
	p->data += (u64)by;
	p->len = (u32)(p->data_end - p->data);
	return 0;
}

u64 packet_adjust_tail(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct prog_pkt *p = ptr(a1);
	s64 by = (s32)a2;
	s64 len = (s64)(p->data_end - p->data), room = (s64)(p->hard_end - p->data_end);

	if (by > room || len + by < ETH_HEADER)
		return (u64)-EINVAL;
	if (by > 0)
		memset(ptr(p->data_end), 0, (size_t)by);
	p->data_end += (u64)by;
	p->len = (u32)(p->data_end - p->data);
	return 0;
}

u64 packet_adjust_meta(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct prog_pkt *p = ptr(a1);
	s64 by = (s32)a2, len;

	if (p->data_meta > p->data)
		return (u64)-ENOTSUP;
	len = (s64)(p->data - p->data_meta) - by;
	if (len < 0 || len > (s64)(p->data - p->hard_start))
		return (u64)-EINVAL;
	if (len & 3 || len > MAX_META)
		return (u64)-EACCES;
	p->data_meta = p->data - (u64)len;
	return 0;
}

/* ---- checksums (RFC 1071) -------------------------------------------------------------------- */

static u32 add_fold(u32 a, u32 b)
{
	a += b;
	return a + (a < b);
}

/* The sum of 32-bit words as they are in memory, the last one filled with zeros. */
static u32 sum32(const u8 *p, u32 size, u32 seed)
{
	u32 i, word;

	for (i = 0; i < size; i += 4) {
		word = 0;
		memcpy(&word, p + i, size - i < 4 ? size - i : 4);
		seed = add_fold(seed, word);
	}
	return seed;
}

u64 packet_csum_diff(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u32 from_size = (u32)a2, to_size = (u32)a4, sum = (u32)a5;

	if (to_size)
		sum = sum32(ptr(a3), to_size, sum);
	if (from_size && to_size)
		sum = add_fold(sum, ~sum32(ptr(a1), from_size, 0));
	else if (from_size)
		sum = ~sum32(ptr(a1), from_size, ~sum);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum & 0xffff;
}
