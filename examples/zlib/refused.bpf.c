/* SPDX-License-Identifier: MIT */
/* What the annotations of zlib.ferry.h keep programs from: each is refused when it is loaded. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "zlib.ferry_bpf.h"

struct page {
	unsigned int len;
	unsigned char text[64], pack[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, unsigned int);
	__type(value, struct page);
} pages SEC(".maps");

#define PAGE                                                                                       \
	unsigned int key = 0;                                                                      \
	struct page *p = bpf_map_lookup_elem(&pages, &key);                                        \
	if (!p)                                                                                    \
		return 1

/* The length is not compared with the size of the buffer. */
SEC("?syscall") int unbounded(void *ctx)
{
	PAGE;
	return crc32(0, p->text, p->len);
}

/* More than the output has room for. */
SEC("?syscall") int too_much_room(void *ctx)
{
	unsigned long n = 65;
	PAGE;
	return compress2(p->pack, &n, p->text, sizeof(p->text), 1);
}

/* A size that others can change while zlib works with it. */
SEC("?syscall") int shared_size(void *ctx)
{
	PAGE;
	return uncompress(p->pack, (unsigned long *)p->text, p->text, sizeof(p->text));
}

/* A level that zlib does not have. */
SEC("?syscall") int bad_level(void *ctx)
{
	unsigned long n = 64;
	PAGE;
	return compress2(p->pack, &n, p->text, sizeof(p->text), 10);
}

/* The output overwrites its own size. */
SEC("?syscall") int overlap(void *ctx)
{
	unsigned long out[8] = { sizeof(out) };
	PAGE;
	return uncompress((unsigned char *)out, out, p->text, sizeof(p->text));
}

char LICENSE[] SEC("license") = "GPL";
