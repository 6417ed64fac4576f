/* SPDX-License-Identifier: MIT */
/* Reads DNS questions: labels of any length, copied to the stack at places that are not known. */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_NAME 128

struct name {
	char text[MAX_NAME];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct name);
	__type(value, __u64);
} names SEC(".maps");

SEC("socket")
int dns(struct __sk_buff *skb)
{
	struct name n = {};
	__u32 off = 14 + 20 + 8 + 12, to = 0, left = 0;
	__u64 one = 1, *seen;
	__u16 type = 0;
	__u8 c;

	if (bpf_skb_load_bytes(skb, 14 + 20 + 2, &type, 2) < 0 || type != bpf_htons(53))
		return 0;
	for (int i = 0; i < MAX_NAME - 1; i++) {
		if (bpf_skb_load_bytes(skb, off + i, &c, 1) < 0)
			return 0;
		if (left) {
			left--;
			if (c >= 'A' && c <= 'Z')
				c += 'a' - 'A';
		} else {
			if (!c)
				break;
			if (c >= 0xc0)
				return 0;
			left = c;
			c = '.';
		}
		n.text[to & (MAX_NAME - 1)] = c;
		to++;
	}
	seen = bpf_map_lookup_elem(&names, &n);
	if (seen)
		__sync_fetch_and_add(seen, 1);
	else
		bpf_map_update_elem(&names, &n, &one, BPF_ANY);
	return to;
}

char LICENSE[] SEC("license") = "GPL";
