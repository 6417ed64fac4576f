/* SPDX-License-Identifier: MIT */
/* The Internet checksum (RFC 1071) of headers and payloads. */
#include "program.h"

INLINE u16 fold(u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (u16)~sum;
}

PROGRAM(checksum)
{
	u64 all = 0;

	for (u32 pkt = 0; pkt < 32; pkt++) {
		const u8 *p = ctx + pkt * 256;
		u32 len = 20 + p[0] % 200, i = 0;
		u64 sum = 0;

		for (; i + 4 <= len; i += 4)
			sum += *(const u32 *)(p + i);
		for (; i + 2 <= len; i += 2)
			sum += *(const u16 *)(p + i);
		if (i < len)
			sum += p[i];
		all = all * 5 + fold(sum);
	}
	return all;
}
