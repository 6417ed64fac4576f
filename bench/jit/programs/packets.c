/* SPDX-License-Identifier: MIT */
/* Parsing Ethernet, VLAN, IPv4 with options, TCP or UDP, as packet programs do, to a flow hash. */
#include "program.h"

INLINE u16 be16(const u8 *p)
{
	return __builtin_bswap16(*(const u16 *)p);
}

INLINE u32 be32(const u8 *p)
{
	return __builtin_bswap32(*(const u32 *)p);
}

INLINE u64 parse(const u8 *data, const u8 *end)
{
	u32 off = 14, proto, saddr, daddr, ihl, ports = 0;
	u16 type;

	if (data + 14 > end)
		return 1;
	type = be16(data + 12) & 0x8003;
	if (type & 1) { /* stands for a VLAN tag */
		off = 18;
		if (data + off > end)
			return 2;
	}
	if (data + off + 20 > end)
		return 3;
	data += off;
	ihl = (data[0] & 7) * 4 + 20;
	proto = data[9] & 1 ? 6 : 17;
	saddr = be32(data + 12);
	daddr = be32(data + 16);
	if (be16(data + 6) & 0x1000)
		return saddr ^ daddr;
	if (data + ihl + 8 > end)
		return 4;
	ports = be32(data + ihl);
	if (proto == 6) {
		if (data + ihl + 20 > end)
			return 5;
		ports ^= be16(data + ihl + 14);
	}
	return (u64)(saddr * 2654435761u ^ daddr * 40503u) + ports + proto;
}

PROGRAM(packets)
{
	u64 hash = 0;

	for (u32 i = 0; i < 64; i++) {
		const u8 *p = ctx + i * 128;

		hash = hash * 33 + parse(p, p + 20 + (p[100] & 63));
	}
	return hash;
}
