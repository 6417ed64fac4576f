/* SPDX-License-Identifier: MIT */
/* Programs as C functions, for bench_closure.c. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct item {
	int key, value;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} count SEC(".maps");

SEC("closure") long empty(void)
{
	return 0;
}

SEC("closure") long pointer(const struct item *a, const struct item *b)
{
	return a->key - b->key;
}

SEC("closure") int narrow(int a, short b)
{
	return a + b;
}

SEC("closure") unsigned long flip(unsigned long x)
{
	return x ^ 1ul << 63;
}

SEC("closure") long counted(void)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&count, &zero);

	if (n)
		++*n;
	return 0;
}

SEC("closure") long helper(void)
{
	return (long)bpf_get_current_pid_tgid();
}

SEC("closure") int by_key(const struct item *a, const struct item *b)
{
	return a->key < b->key ? -1 : a->key > b->key;
}

char LICENSE[] SEC("license") = "GPL";
