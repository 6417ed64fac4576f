// SPDX-License-Identifier: MIT
/* What the kernel's kfuncs do with dynptrs of map values and of reservations. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

extern void *bpf_dynptr_slice(const struct bpf_dynptr *p, __u32 offset, void *buffer, __u32 buffer__szk) __ksym;
extern void *bpf_dynptr_slice_rdwr(const struct bpf_dynptr *p, __u32 offset, void *buffer, __u32 buffer__szk) __ksym;
extern int bpf_dynptr_adjust(const struct bpf_dynptr *p, __u32 start, __u32 end) __ksym;
extern bool bpf_dynptr_is_null(const struct bpf_dynptr *p) __ksym;
extern bool bpf_dynptr_is_rdonly(const struct bpf_dynptr *p) __ksym;
extern __u32 bpf_dynptr_size(const struct bpf_dynptr *p) __ksym;
extern int bpf_dynptr_clone(const struct bpf_dynptr *p, struct bpf_dynptr *clone__uninit) __ksym;
extern int bpf_dynptr_copy(struct bpf_dynptr *to, __u32 to_off, struct bpf_dynptr *from, __u32 from_off,
			   __u32 size) __ksym;
extern int bpf_dynptr_memset(struct bpf_dynptr *p, __u32 offset, __u32 size, __u8 val) __ksym;

struct args {
	__u32 start, end, off, size;
	long long ret[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u8[512]);
} bytes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

static __always_inline void look(const struct bpf_dynptr *d, struct args *a, __u32 at)
{
	__u32 *four = bpf_dynptr_slice(d, a->off, 0, sizeof(*four));

	a->ret[at] = bpf_dynptr_size(d);
	a->ret[at + 1] = bpf_dynptr_is_null(d) << 1 | bpf_dynptr_is_rdonly(d);
	a->ret[at + 2] = four ? (long long)*four : -1;
}

/* A clone is adjusted, and what it was made of is as before. */
SEC("syscall")
int part(struct args *a)
{
	struct bpf_dynptr d, part;
	__u32 zero = 0;
	void *v = bpf_map_lookup_elem(&bytes, &zero);

	if (!v)
		return 1;
	bpf_dynptr_from_mem(v, 512, 0, &d);
	bpf_dynptr_adjust(&d, 256, 384);
	a->ret[0] = bpf_dynptr_clone(&d, &part);
	a->ret[1] = bpf_dynptr_adjust(&part, a->start, a->end);
	look(&part, a, 2);
	look(&d, a, 5);
	return 0;
}

/* One that could not be made is none, and so are its clones. */
SEC("syscall")
int none(struct args *a)
{
	struct bpf_dynptr d, part;
	__u32 zero = 0;
	void *v = bpf_map_lookup_elem(&bytes, &zero);

	if (!v)
		return 1;
	bpf_dynptr_from_mem(v, 512, 1, &d);
	a->ret[0] = bpf_dynptr_clone(&d, &part);
	a->ret[1] = bpf_dynptr_adjust(&part, 0, 0);
	look(&part, a, 2);
	a->ret[5] = bpf_dynptr_memset(&part, 0, a->size, 1);
	bpf_dynptr_from_mem(v, 512, 0, &d);
	a->ret[6] = bpf_dynptr_copy(&d, 0, &part, 0, a->size);
	a->ret[7] = bpf_dynptr_copy(&part, 0, &d, 0, a->size);
	return 0;
}

/* Bytes from one value to the other, or within one. */
SEC("syscall")
int copy(struct args *a)
{
	struct bpf_dynptr from, to;
	__u32 zero = 0, one = 1;
	void *v = bpf_map_lookup_elem(&bytes, &zero), *w = bpf_map_lookup_elem(&bytes, &one);

	if (!v || !w)
		return 1;
	bpf_dynptr_from_mem(v, 512, 0, &from);
	bpf_dynptr_from_mem(w, 512, 0, &to);
	bpf_dynptr_adjust(&to, 10, 500);
	a->ret[0] = bpf_dynptr_copy(&to, a->start, &from, a->off, a->size);
	a->ret[1] = bpf_dynptr_copy(&from, a->off, &from, a->start, a->size);
	return 0;
}

SEC("syscall")
int fill(struct args *a)
{
	struct bpf_dynptr d;
	__u32 zero = 0;
	void *v = bpf_map_lookup_elem(&bytes, &zero);

	if (!v)
		return 1;
	bpf_dynptr_from_mem(v, 512, 0, &d);
	bpf_dynptr_adjust(&d, 10, 500);
	a->ret[0] = bpf_dynptr_memset(&d, a->off, a->size, 0xa5);
	return 0;
}

/* Written through a clone that begins later, and submitted by it. */
SEC("syscall")
int submit(struct args *a)
{
	struct bpf_dynptr d, part;
	__u64 word = 0x1122334455667788;

	a->ret[0] = bpf_ringbuf_reserve_dynptr(&ring, 24, 0, &d);
	a->ret[1] = bpf_dynptr_memset(&d, 0, 24, 7);
	a->ret[2] = bpf_dynptr_clone(&d, &part);
	a->ret[3] = bpf_dynptr_adjust(&part, 8, 20);
	a->ret[4] = bpf_dynptr_write(&part, 0, &word, 8, 0);
	a->ret[5] = bpf_dynptr_write(&part, 5, &word, 8, 0);
	bpf_ringbuf_submit_dynptr(&part, 0);
	return 0;
}

SEC("tc")
int add_one(struct __sk_buff *skb)
{
	struct bpf_dynptr d;
	__u32 zero = 0;
	__u64 *word, buffer = 0;
	void *v = bpf_map_lookup_elem(&bytes, &zero);

	if (!v)
		return 1;
	bpf_dynptr_from_mem(v, 512, 0, &d);
	bpf_dynptr_adjust(&d, 4, 20);
	word = bpf_dynptr_slice_rdwr(&d, 8, &buffer, sizeof(buffer));
	if (!word)
		return 2;
	(*word)++;
	return bpf_dynptr_slice_rdwr(&d, 9, &buffer, sizeof(buffer)) ? 3 : 0;
}

char _license[] SEC("license") = "GPL";
