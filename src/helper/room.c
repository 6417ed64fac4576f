/* SPDX-License-Identifier: MIT */
/* Helpers of traffic control that put room into a packet or take it out: VLAN tags, encapsulation. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <string.h>

#include "helper/helper_int.h"

#define TAG_SIZE  4       /* of a VLAN tag, behind both addresses of the Ethernet header */
#define TAG_AT    12
#define MAX_LEN   16064u  /* BPF_SKB_MAX_LEN of the kernel */
#define ENOTSUPP_ 524     /* the kernel's own, which programs see */

bool helper_headroom(struct prog_pkt *p, u64 more)
{
	u64 have = p->data - p->hard_start, len = p->data_end - p->data, by;

	if (more <= have)
		return true;
	by = more - have;
	if (by > p->hard_end - p->data_end)
		return false;
	memmove(ptr(p->data + by), ptr(p->data), len);
	p->data += by;
	p->data_end += by;
	p->data_meta = p->data;
	return true;
}

/* `n` zero bytes at `off` of the packet, which begins so much earlier. */
static int push_room(struct prog_pkt *p, u32 off, u32 n)
{
	if (!helper_headroom(p, n))
		return -ENOMEM;
	p->data -= n;
	p->data_meta = p->data;
	memmove(ptr(p->data), ptr(p->data + n), off);
	memset(ptr(p->data + off), 0, n);
	p->len += n;
	return 0;
}

static int pop_room(struct prog_pkt *p, u32 off, u32 n)
{
	if ((u64)off + n > p->data_end - p->data)
		return -ENOMEM;
	memmove(ptr(p->data + n), ptr(p->data), off);
	p->data += n;
	p->data_meta = p->data;
	p->len -= n;
	return 0;
}

static u16 get16(u64 at)
{
	u16 v;

	memcpy(&v, ptr(at), sizeof(v));
	return v;
}

static void put16(u64 at, u16 v)
{
	memcpy(ptr(at), &v, sizeof(v));
}

/* ---- VLAN: the outermost tag is beside the packet, as a device gives it ---------------------------- */

static bool is_vlan(u32 proto)
{
	return proto == htons(ETH_P_8021Q) || proto == htons(ETH_P_8021AD);
}

u64 room_vlan_push(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct prog_pkt *p = ptr(a1);
	u32 proto = is_vlan((u16)a2) ? (u16)a2 : htons(ETH_P_8021Q);
	int err;

	if (p->vlan_present) {
		err = push_room(p, TAG_AT, TAG_SIZE);
		if (err)
			return (u64)(s64)err;
		put16(p->data + TAG_AT, (u16)p->vlan_proto);
		put16(p->data + TAG_AT + 2, htons((u16)p->vlan_tci));
		p->protocol = p->vlan_proto;
	}
	p->vlan_present = 1;
	p->vlan_proto = proto;
	p->vlan_tci = (u16)a3;
	return 0;
}

/* What is behind the tag says what the packet is, or that it is of IEEE 802.3 (vlan_set_encap_proto). */
static void set_protocol(struct prog_pkt *p)
{
	u16 proto = get16(p->data + TAG_AT);

	if (ntohs(proto) >= ETH_P_802_3_MIN)
		p->protocol = proto;
	else
		p->protocol = p->len >= ETH_HLEN + 2 && get16(p->data + ETH_HLEN) == 0xffff ? htons(ETH_P_802_3) :
											      htons(ETH_P_802_2);
}

/* Takes the tag out of the packet. */
static int pop_tag(struct prog_pkt *p, u16 *tci)
{
	if (p->len < ETH_HLEN + TAG_SIZE)
		return -ENOMEM;
	*tci = ntohs(get16(p->data + TAG_AT + 2));
	pop_room(p, TAG_AT, TAG_SIZE);
	set_protocol(p);
	return 0;
}

u64 room_vlan_pop(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct prog_pkt *p = ptr(a1);
	u32 proto;
	u16 tci;
	int err;

	if (p->vlan_present) {
		p->vlan_present = p->vlan_tci = p->vlan_proto = 0;
	} else {
		if (!is_vlan(p->protocol))
			return 0;
		err = pop_tag(p, &tci);
		if (err)
			return (u64)(s64)err;
	}
	if (!is_vlan(p->protocol))
		return 0;
	proto = p->protocol;
	err = pop_tag(p, &tci);
	if (err)
		return (u64)(s64)err;
	p->vlan_present = 1;
	p->vlan_proto = proto;
	p->vlan_tci = tci;
	return 0;
}

/* ---- encapsulation ------------------------------------------------------------------------------- */

#define ENCAP_L3 (BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L3_IPV6)
#define KNOWN                                                                                      \
	(BPF_F_ADJ_ROOM_FIXED_GSO | ENCAP_L3 | BPF_F_ADJ_ROOM_ENCAP_L4_GRE | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | \
	 BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_NO_CSUM_RESET |                                \
	 BPF_F_ADJ_ROOM_ENCAP_L2(BPF_ADJ_ROOM_ENCAP_L2_MASK))

static int grow(struct prog_pkt *p, u32 off, u32 n, u64 flags)
{
	u32 inner = (u8)(flags >> BPF_ADJ_ROOM_ENCAP_L2_SHIFT);
	int err;

	if (flags & ENCAP_L3) {
		if ((flags & ENCAP_L3) == ENCAP_L3 ||
		    (flags & BPF_F_ADJ_ROOM_ENCAP_L4_GRE && flags & BPF_F_ADJ_ROOM_ENCAP_L4_UDP) ||
		    (flags & BPF_F_ADJ_ROOM_ENCAP_L2_ETH && inner < ETH_HLEN))
			return -EINVAL;
		if (p->encapsulated)
			return -EALREADY;
		if (inner > n)
			return -EINVAL;
	}
	err = push_room(p, off, n);
	if (err || !(flags & ENCAP_L3))
		return err;
	p->encapsulated = 1;
	p->protocol = flags & BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 ? htons(ETH_P_IPV6) : htons(ETH_P_IP);
	return 0;
}

u64 room_adjust(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct prog_pkt *p = ptr(a1);
	s32 diff = (s32)a2;
	u32 by = diff < 0 ? 0u - (u32)diff : (u32)diff, off = ETH_HLEN, base, len = p->len - ETH_HLEN;

	if (a4 & ~(u64)KNOWN)
		return (u64)-EINVAL;
	if (by > 0xfff)
		return (u64)-EFAULT;
	if (p->protocol != htons(ETH_P_IP) && p->protocol != htons(ETH_P_IPV6))
		return (u64)-ENOTSUPP_;
	base = p->protocol == htons(ETH_P_IP) ? 20 : 40;
	if ((u32)a3 == BPF_ADJ_ROOM_NET)
		off += base;
	else if ((u32)a3 != BPF_ADJ_ROOM_MAC)
		return (u64)-ENOTSUPP_;
	if (diff < 0 ? by >= len || len - by < base : p->len + by > MAX_LEN)
		return (u64)-ENOTSUPP_;
	if (diff >= 0)
		return (u64)(s64)(off > p->len ? -ENOMEM : grow(p, off, by, a4));
	if (a4 & ~(u64)(BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET))
		return (u64)-EINVAL;
	return (u64)(s64)pop_room(p, off, by);
}

/* ---- congestion (RFC 3168) ----------------------------------------------------------------------- */

u64 room_ecn_set_ce(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct prog_pkt *p = ptr(a1);
	u32 type = helper_run.prog ? helper_run.prog->type : BPF_PROG_TYPE_SCHED_CLS;
	u64 ip = p->data + (type == BPF_PROG_TYPE_CGROUP_SKB ? 0 : ETH_HLEN);
	u32 proto = p->protocol, ecn, by;
	u8 *at = ptr(ip);

	if (proto == htons(ETH_P_IPV6)) {
		if (ip + 40 > p->data_end || !(at[1] >> 4 & 3))
			return 0;
		at[1] |= 3 << 4;
		return 1;
	}
	if (proto != htons(ETH_P_IP) || ip + 20 > p->data_end)
		return 0;
	ecn = at[1] & 3;
	if (!ecn || ecn == 3)
		return ecn == 3;
	/* The checksum goes down by what the byte goes up (RFC 1624). */
	by = 3 - ecn;
	at[1] |= 3;
	ecn = (u32)get16(ip + 10) + htons((u16)~by);
	put16(ip + 10, (u16)((ecn & 0xffff) + (ecn >> 16)));
	return 1;
}
