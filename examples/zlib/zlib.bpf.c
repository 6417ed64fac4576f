/* SPDX-License-Identifier: MIT */
/* zlib and libm, called from a program: their declarations are those that `ferry module header' printed. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <ferry/ferry_bpf.h>

#include "libm.ferry_bpf.h"
#include "zlib.ferry_bpf.h"

struct page {
	unsigned int text_len, packed_len, back_len;
	unsigned int crc;
	int packed, unpacked; /* what zlib said */
	double angle, sine, power, hypotenuse;
	unsigned char text[1024], pack[1200], back[1024];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, unsigned int);
	__type(value, struct page);
} pages SEC(".maps");

SEC("syscall") int pack(void *ctx)
{
	unsigned int key = 0, len;
	struct page *p = bpf_map_lookup_elem(&pages, &key);
	unsigned long n;

	if (!p)
		return 1;
	/* Shared memory: what was compared is what is used. */
	len = *(volatile unsigned int *)&p->text_len;
	if (len > sizeof(p->text))
		return 2;
	p->crc = crc32(0, p->text, len);
	n = sizeof(p->pack);
	p->packed = compress2(p->pack, &n, p->text, len, 9);
	if (p->packed || n > sizeof(p->pack))
		return 3;
	p->packed_len = n;
	len = n;
	n = sizeof(p->back);
	p->unpacked = uncompress(p->back, &n, p->pack, len);
	p->back_len = n;
	return 0;
}

SEC("syscall") int measure(void *ctx)
{
	unsigned int key = 0;
	struct page *p = bpf_map_lookup_elem(&pages, &key);

	if (!p)
		return 1;
	p->sine = sin(p->angle);
	p->power = pow(p->angle, f64_add(p->sine, 2.5));
	p->hypotenuse = hypot(3.0, f64_of(4));
	return f64_lt(p->sine, 0.0);
}

char LICENSE[] SEC("license") = "GPL";
