/* SPDX-License-Identifier: MIT */
/* Counts what happens and prints the first few times; put on an event by loop.c. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";
unsigned long long hits;

SEC("perf_event")
int on_tick(void *ctx)
{
	unsigned long long n = __sync_fetch_and_add(&hits, 1);

	if (n < 3)
		bpf_printk("tick %d of %s", (int)n, "loop");
	return 0;
}
