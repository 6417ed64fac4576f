/* SPDX-License-Identifier: MIT */
/* Helpers of traffic control: checksums kept right while a packet is changed, and its size. */
#include <errno.h>
#include <string.h>

#include "helper/helper_int.h"

#define ETH_HEADER   14
#define MAX_OFF      0xffffu
#define ENOTSUPP_    524 /* the kernel's own, which programs see */
#define MANGLED_ZERO 0xffffu

/* ---- checksums (RFC 1624) -------------------------------------------------------------------- */

static u32 add32(u32 a, u32 b)
{
	a += b;
	return a + (a < b);
}

static u16 fold(u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16)~sum;
}

/* The checksum in the packet at `off`; NULL when it is not there. */
static u8 *sum_at(const struct prog_pkt *p, u32 off)
{
	u64 len = p->data_end - p->data;

	if (off > MAX_OFF || off & 1 || (u64)off + 2 > len)
		return NULL;
	return (u8 *)ptr(p->data) + off;
}

/* `size` 0: `to` is a difference; 2 and 4: the field's bytes, as in memory, were `from`. */
static int replace(u16 *sum, u64 size, u64 from, u64 to)
{
	u32 old = (u16) ~*sum;

	switch (size) {
	case 0:
		if (from)
			return -EINVAL;
		*sum = fold(add32((u32)to, old));
		return 0;
	case 2: *sum = fold(add32(add32(old, (u16)~from), (u16)to)); return 0;
	case 4: *sum = fold(add32(add32(old, ~(u32)from), (u32)to)); return 0;
	}
	return -EINVAL;
}

u64 skb_l3_csum(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u8 *at = sum_at(ptr(a1), (u32)a2);
	u16 sum;
	int err;

	if (a5 & ~(u64)BPF_F_HDR_FIELD_MASK)
		return (u64)-EINVAL;
	if (!at)
		return (u64)-EFAULT;
	memcpy(&sum, at, 2);
	err = replace(&sum, a5, a3, a4);
	if (!err)
		memcpy(at, &sum, 2);
	return (u64)(s64)err;
}

u64 skb_l4_csum(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u8 *at = sum_at(ptr(a1), (u32)a2);
	bool zero_is_none = a5 & BPF_F_MARK_MANGLED_0;
	u16 sum;
	int err;

	if (a5 & ~(u64)(BPF_F_MARK_MANGLED_0 | BPF_F_MARK_ENFORCE | BPF_F_PSEUDO_HDR |
			BPF_F_HDR_FIELD_MASK))
		return (u64)-EINVAL;
	if (!at)
		return (u64)-EFAULT;
	memcpy(&sum, at, 2);
	/* UDP: 0 says that there is no checksum. */
	if (zero_is_none && !(a5 & BPF_F_MARK_ENFORCE) && !sum)
		return 0;
	err = replace(&sum, a5 & BPF_F_HDR_FIELD_MASK, a3, a4);
	if (err)
		return (u64)(s64)err;
	if (zero_is_none && !sum)
		sum = MANGLED_ZERO;
	memcpy(at, &sum, 2);
	return 0;
}

/* No device computed a checksum of a packet here. */
u64 skb_csum_update(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return (u64)-ENOTSUPP_;
}

u64 skb_csum_level(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	if (a2 == BPF_CSUM_LEVEL_QUERY)
		return (u64)-EACCES;
	return a2 <= BPF_CSUM_LEVEL_RESET ? 0 : (u64)-EINVAL;
}

/* ---- size and place -------------------------------------------------------------------------- */

u64 skb_pull(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct prog_pkt *p = ptr(a1);

	/* All of it is in one piece already. */
	return (u32)a2 > p->data_end - p->data ? (u64)-ENOMEM : 0;
}

u64 skb_change_tail(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct prog_pkt *p = ptr(a1);
	u64 len = p->data_end - p->data, want = (u32)a2;

	if (a3 || want < ETH_HEADER)
		return (u64)-EINVAL;
	if (want > p->hard_end - p->data)
		return (u64)-ENOMEM;
	if (want > len)
		memset(ptr(p->data_end), 0, want - len);
	p->data_end = p->data + want;
	p->len = (u32)want;
	return 0;
}

u64 skb_change_head(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct prog_pkt *p = ptr(a1);
	u64 more = (u32)a2;

	if (a3)
		return (u64)-EINVAL;
	if (!helper_headroom(p, more))
		return (u64)-ENOMEM;
	p->data -= more;
	p->data_meta = p->data;
	memset(ptr(p->data), 0, more);
	p->len = (u32)(p->data_end - p->data);
	return 0;
}

/* Offsets from a header: programs of traffic control start at the link layer, others behind it. */
u64 skb_load_relative(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct prog_pkt *p = ptr(a1);
	u32 type = helper_run.prog ? helper_run.prog->type : BPF_PROG_TYPE_SCHED_CLS;
	bool l2 = type == BPF_PROG_TYPE_SCHED_CLS || type == BPF_PROG_TYPE_SCHED_ACT;
	u64 mac = l2 ? p->data : p->data - ETH_HEADER;
	u64 start = a5 == BPF_HDR_START_MAC ? mac : mac + ETH_HEADER;
	u32 off = (u32)a2, size = (u32)a4;

	if (a5 > BPF_HDR_START_NET || off > MAX_OFF || start < p->hard_start ||
	    start + off + size > p->data_end) {
		memset(ptr(a3), 0, size);
		return (u64)-EFAULT;
	}
	memcpy(ptr(a3), ptr(start + off), size);
	return 0;
}

u64 skb_change_type(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct prog_pkt *p = ptr(a1);

	if (p->pkt_type > 3 || (u32)a2 > 3) /* PACKET_OTHERHOST */
		return (u64)-EINVAL;
	p->pkt_type = (u32)a2;
	return 0;
}

/* ---- the flow's hash ------------------------------------------------------------------------- */

u64 skb_hash(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct prog_pkt *p = ptr(a1);

	if (!p->hash)
		p->hash = (u32)hash_bytes(ptr(p->data),
					  p->data_end - p->data < 54 ? p->data_end - p->data : 54,
					  0) |
			  1;
	return p->hash;
}

u64 skb_hash_invalid(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	((struct prog_pkt *)ptr(a1))->hash = 0;
	return 0;
}

u64 skb_set_hash(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	((struct prog_pkt *)ptr(a1))->hash = (u32)a2;
	return 0;
}
