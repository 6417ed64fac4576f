/* SPDX-License-Identifier: MIT */
/* Records in every kind of buffer, from a packet's bytes. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define RECORD 1000

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} user SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} shared SEC(".maps");

__u64 sum, drained;

static __u64 number_of(struct xdp_md *ctx)
{
	__u64 *data = (void *)(long)ctx->data;

	return (void *)(data + 1) > (void *)(long)ctx->data_end ? 0 : *data;
}

/* The number at both ends of a record that does not divide the buffer: some pass its end. */
SEC("xdp")
int to_ring(struct xdp_md *ctx)
{
	__u64 *record = bpf_ringbuf_reserve(&ring, RECORD, 0);

	if (!record)
		return 1;
	record[0] = number_of(ctx);
	record[RECORD / 8 - 1] = record[0];
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("xdp")
int to_perf(struct xdp_md *ctx)
{
	__u64 number = number_of(ctx);

	return bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &number, sizeof(number)) ? 1 : 0;
}

static long drain(struct bpf_dynptr *record, void *arg)
{
	__u64 first, last;

	if (bpf_dynptr_read(&first, sizeof(first), record, 0, 0) ||
	    bpf_dynptr_read(&last, sizeof(last), record, RECORD - 8, 0) || first != last)
		return 1;
	sum += first;
	drained++;
	return 0;
}

SEC("xdp")
int from_user(struct xdp_md *ctx)
{
	return bpf_user_ringbuf_drain(&user, drain, 0, 0);
}

SEC("xdp")
int to_shared(struct xdp_md *ctx)
{
	__u32 key = 2;
	__u64 *value = bpf_map_lookup_elem(&shared, &key);

	if (value)
		*value += number_of(ctx);
	return 0;
}

char _license[] SEC("license") = "GPL";
