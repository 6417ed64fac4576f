/* SPDX-License-Identifier: MIT */
/* Searches the payload for words by an automaton whose table is a map: a loop with state from memory. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define STATES 64
#define CLASSES 32
#define MAX_BYTES 512

struct automaton {
	__u8 class_of[256];
	__u8 next[STATES * CLASSES];
	__u8 found[STATES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct automaton);
} tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline void count(__u32 word)
{
	__u64 *n = bpf_map_lookup_elem(&counts, &word);

	if (n)
		++*n;
}

SEC("tc")
int matcher(struct __sk_buff *skb)
{
	__u8 *data = (__u8 *)(long)skb->data, *end = (__u8 *)(long)skb->data_end;
	__u32 zero = 0, state = 0;
	__u64 words = 0;
	struct automaton *a = bpf_map_lookup_elem(&tables, &zero);

	if (!a)
		return 0;
	for (int i = 0; i < MAX_BYTES; i++) {
		__u8 c, found;

		if (data + i + 1 > end)
			break;
		c = a->class_of[data[i]] & (CLASSES - 1);
		state = a->next[state * CLASSES + c] & (STATES - 1);
		found = a->found[state];
		words |= (__u64)!!found << (found & 63);
	}
	for (int i = 0; i < 64; i++)
		if (words >> i & 1)
			count(i);
	return words != 0;
}

char LICENSE[] SEC("license") = "GPL";
