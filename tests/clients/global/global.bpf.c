// SPDX-License-Identifier: MIT
/* Global functions: each program is good or bad, as its name says, for Ferry and for the kernel. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define GLOBAL __attribute__((noinline))
#ifndef __arg_ctx
#define __arg_ctx     __attribute__((btf_decl_tag("arg:ctx")))
#define __arg_nonnull __attribute__((btf_decl_tag("arg:nonnull")))
#endif

char LICENSE[] SEC("license") = "GPL";

struct pair {
	int a, b;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct pair);
} pairs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} progs SEC(".maps");

int table[16];

GLOBAL int number(int x)
{
	return x & 7;
}

GLOBAL int sum(struct pair *p)
{
	return p ? p->a + p->b : 0;
}

GLOBAL int sum_unchecked(struct pair *p)
{
	return p->a + p->b;
}

GLOBAL int sum_nonnull(struct pair *p __arg_nonnull)
{
	return p->a + p->b;
}

GLOBAL int beyond(struct pair *p)
{
	return p ? ((int *)p)[2] : 0;
}

GLOBAL int set(struct pair *p)
{
	if (p)
		p->b = 77;
	return 0;
}

GLOBAL int length(struct __sk_buff *skb)
{
	return skb->len;
}

GLOBAL int length_tagged(void *ctx __arg_ctx)
{
	return ((struct __sk_buff *)ctx)->len;
}

GLOBAL long pull(struct __sk_buff *skb)
{
	return bpf_skb_store_bytes(skb, 0, "x", 1, 0);
}

GLOBAL int tail(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &progs, 0);
	return 0;
}

GLOBAL int *pointer(int x)
{
	return &table[x & 15];
}

GLOBAL int pointer_to_pointer(struct pair **p)
{
	return p ? *p != 0 : 0;
}

GLOBAL int never_called_is_bad(struct pair *p)
{
	return p->a;
}

SEC("tc") int ok_number(struct __sk_buff *skb)
{
	return number(skb->len);
}

/* The caller knows nothing of the result. */
SEC("tc") int bad_result_is_unknown(struct __sk_buff *skb)
{
	return *(int *)((char *)table + number(skb->len) * 1ul);
}

SEC("tc") int ok_result_is_checked(struct __sk_buff *skb)
{
	unsigned i = number(skb->len);

	barrier_var(i);
	return i < 16 ? table[i] : 0;
}

SEC("tc") int ok_stack(struct __sk_buff *skb)
{
	struct pair p = { skb->len, 2 };

	return sum(&p);
}

SEC("tc") int ok_null(struct __sk_buff *skb)
{
	return sum(0);
}

SEC("tc") int ok_map_value_or_null(struct __sk_buff *skb)
{
	int key = 0;

	return sum(bpf_map_lookup_elem(&pairs, &key));
}

SEC("tc") int bad_callee_does_not_check_null(struct __sk_buff *skb)
{
	struct pair p = { skb->len, 2 };

	return sum_unchecked(&p);
}

SEC("tc") int ok_nonnull(struct __sk_buff *skb)
{
	struct pair p = { skb->len, 2 };

	return sum_nonnull(&p);
}

/* Good for the kernel, which then reads at NULL. */
SEC("tc") int safer_nonnull_gets_null(struct __sk_buff *skb)
{
	return sum_nonnull(0);
}

SEC("tc") int bad_nonnull_gets_maybe(struct __sk_buff *skb)
{
	int key = skb->len;

	return sum_nonnull(bpf_map_lookup_elem(&pairs, &key));
}

SEC("tc") int bad_too_small(struct __sk_buff *skb)
{
	int one = skb->len;

	return sum((void *)&one);
}

SEC("tc") int bad_beyond(struct __sk_buff *skb)
{
	struct pair p[2] = { { skb->len, 2 } };

	return beyond(p);
}

/* What the function may have written is no longer known. */
SEC("tc") int bad_memory_is_unknown_after(struct __sk_buff *skb)
{
	struct pair p = { 1, 1 };

	set(&p);
	barrier_var(skb);
	return *(int *)((char *)table + p.b * 1ul);
}

SEC("tc") int ok_ctx(struct __sk_buff *skb)
{
	return length(skb);
}

SEC("tc") int ok_ctx_tagged(struct __sk_buff *skb)
{
	return length_tagged(skb);
}

SEC("tc") int bad_ctx_is_stack(struct __sk_buff *skb)
{
	struct __sk_buff fake = { 0 };

	return length(&fake);
}

SEC("tc") int bad_number_is_pointer(struct __sk_buff *skb)
{
	return number((long)skb);
}

SEC("tc") int bad_packet_moved(struct __sk_buff *skb)
{
	char *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + 1 > end)
		return 0;
	pull(skb);
	return *data;
}

SEC("tc") int bad_packet_after_tail_call(struct __sk_buff *skb)
{
	char *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + 1 > end)
		return 0;
	tail(skb);
	return *data;
}

SEC("tc") int ok_packet_not_moved(struct __sk_buff *skb)
{
	char *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + 1 > end)
		return 0;
	length(skb);
	return *data;
}

SEC("tc") int bad_returns_pointer(struct __sk_buff *skb)
{
	return (long)pointer(skb->len) & 4;
}

SEC("tc") int ok_pointer_to_pointer(struct __sk_buff *skb)
{
	struct pair *p = 0;

	return pointer_to_pointer(&p);
}
