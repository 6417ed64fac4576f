/* SPDX-License-Identifier: MIT */
/* SHA-256 over the first blocks of a packet: long straight code that mixes numbers. */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define BLOCKS 8

static const __u32 k[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

struct digest {
	__u32 h[8], w[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct digest);
} digests SEC(".maps");

static __always_inline __u32 turn(__u32 x, int n)
{
	return x >> n | x << (32 - n);
}

static __always_inline void block(struct digest *d, const __u32 *in)
{
	volatile __u32 *w = d->w;
	__u32 *h = d->h, s[8];

	for (int i = 0; i < 16; i++)
		w[i] = bpf_ntohl(in[i]);
	for (int i = 0; i < 8; i++)
		s[i] = h[i];
#pragma unroll
	for (int i = 0; i < 64; i++) {
		__u32 x = w[i & 15], s1, s0, t1, t2;

		t1 = s[7] + (turn(s[4], 6) ^ turn(s[4], 11) ^ turn(s[4], 25)) +
		     ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + x;
		t2 = (turn(s[0], 2) ^ turn(s[0], 13) ^ turn(s[0], 22)) +
		     ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		s[7] = s[6];
		s[6] = s[5];
		s[5] = s[4];
		s[4] = s[3] + t1;
		s[3] = s[2];
		s[2] = s[1];
		s[1] = s[0];
		s[0] = t1 + t2;
		s0 = w[(i + 1) & 15];
		s1 = w[(i + 14) & 15];
		w[i & 15] = x + w[(i + 9) & 15] + (turn(s0, 7) ^ turn(s0, 18) ^ s0 >> 3) +
			    (turn(s1, 17) ^ turn(s1, 19) ^ s1 >> 10);
	}
	for (int i = 0; i < 8; i++)
		h[i] += s[i];
}

SEC("xdp")
int digest(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, *h;
	struct digest *d = bpf_map_lookup_elem(&digests, &zero);

	if (!d)
		return XDP_PASS;
	h = d->h;
	h[0] = 0x6a09e667;
	h[1] = 0xbb67ae85;
	h[2] = 0x3c6ef372;
	h[3] = 0xa54ff53a;
	h[4] = 0x510e527f;
	h[5] = 0x9b05688c;
	h[6] = 0x1f83d9ab;
	h[7] = 0x5be0cd19;
	for (int i = 0; i < BLOCKS; i++) {
		if (data + 64 > end)
			break;
		block(d, data);
		data += 64;
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
