/* SPDX-License-Identifier: MIT */
/* A program's tag: the first bytes of SHA-1 (RFC 3174) over its instructions, map descriptors left
 * out. */
#include <errno.h>
#include <string.h>

#include "bpf/sys_int.h"

static u32 rol(u32 x, int n)
{
	return x << n | x >> (32 - n);
}

static void sha1_block(u32 h[5], const u8 *block)
{
	static const u32 k[4] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
	u32 w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f, t;
	int i;

	for (i = 0; i < 16; i++)
		w[i] = (u32)block[4 * i] << 24 | block[4 * i + 1] << 16 | block[4 * i + 2] << 8 |
		       block[4 * i + 3];
	for (; i < 80; i++)
		w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	for (i = 0; i < 80; i++) {
		if (i < 20)
			f = (b & c) | (~b & d);
		else if (i >= 40 && i < 60)
			f = (b & c) | (b & d) | (c & d);
		else
			f = b ^ c ^ d;
		t = rol(a, 5) + f + e + k[i / 20] + w[i];
		e = d;
		d = c;
		c = rol(b, 30);
		b = a;
		a = t;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

static bool names_map(const struct bpf_insn *in)
{
	return isa_is_ldimm64(in) &&
	       (in->src_reg == BPF_PSEUDO_MAP_FD || in->src_reg == BPF_PSEUDO_MAP_VALUE);
}

/* Instruction `i` as it counts: descriptors differ from load to load. */
static struct bpf_insn without_fd(const struct bpf_insn *insns, u32 i)
{
	struct bpf_insn in = insns[i];

	if (names_map(&in) || (i && names_map(&insns[i - 1])))
		in.imm = 0;
	return in;
}

void sys_prog_tag(const struct bpf_insn *insns, u32 cnt, u8 tag[BPF_TAG_SIZE])
{
	u32 h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
	u64 bits = (u64)cnt * sizeof(*insns) * 8;
	u8 block[64];
	u32 i, at = 0;

	for (i = 0; i < cnt; i++) {
		struct bpf_insn in = without_fd(insns, i);

		memcpy(block + at, &in, sizeof(in));
		at += sizeof(in);
		if (at == sizeof(block)) {
			sha1_block(h, block);
			at = 0;
		}
	}
	memset(block + at, 0, sizeof(block) - at);
	block[at] = 0x80;
	if (at >= 56) {
		sha1_block(h, block);
		memset(block, 0, sizeof(block));
	}
	for (i = 0; i < 8; i++)
		block[56 + i] = bits >> (56 - 8 * i);
	sha1_block(h, block);
	for (i = 0; i < BPF_TAG_SIZE; i++)
		tag[i] = h[i / 4] >> (24 - 8 * (i % 4));
}
