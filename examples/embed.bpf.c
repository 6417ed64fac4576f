/* SPDX-License-Identifier: MIT */
/* The policy that embed.c asks: counts words by length and lets the application judge each. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct word {
	char text[32];
	unsigned int length;
};

extern int is_palindrome(const char *s, unsigned int s__sz) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32);
	__type(key, unsigned int);
	__type(value, unsigned long long);
} lengths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} found SEC(".maps");

SEC("syscall")
int judge(struct word *w)
{
	unsigned int length = w->length, key = length;
	unsigned long long one = 1, *count;
	char text[32];

	if (length > sizeof(text))
		return -1;
	count = bpf_map_lookup_elem(&lengths, &key);
	if (count)
		*count += 1;
	else
		bpf_map_update_elem(&lengths, &key, &one, BPF_ANY);
	__builtin_memcpy(text, w->text, sizeof(text));
	if (length && is_palindrome(text, length)) {
		bpf_ringbuf_output(&found, text, sizeof(text), 0);
		return 1;
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
