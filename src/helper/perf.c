/* SPDX-License-Identifier: MIT */
/* Helpers on perf event arrays. */
#include <errno.h>
#include <string.h>

#include "helper/helper_int.h"

/*
 * Packet programs may add `flags >> 32` bytes of the packet behind their data
 * (bpf_skb_event_output, bpf_xdp_event_output).
 */
u64 perf_output(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct prog_type *type = helper_run.prog ? prog_type_of(helper_run.prog->type) : NULL;
	struct map_perf_data data = { .at = ptr(a4), .size = a5 };
	const struct prog_pkt *p = ptr(a1);

	if (type && type->has_packet) {
		if (a3 & ~(u64)(BPF_F_CTXLEN_MASK | BPF_F_INDEX_MASK))
			return (u64)-EINVAL;
		data.more = ptr(p->data);
		data.more_size = (a3 & BPF_F_CTXLEN_MASK) >> 32;
		if (data.more_size > p->data_end - p->data)
			return (u64)-EFAULT;
		a3 &= BPF_F_INDEX_MASK;
	}
	return (u64)(s64)map_perf_output(ptr(a2), a3, &data);
}

u64 perf_read(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct bpf_perf_event_value v;
	int err = map_perf_read(ptr(a1), a2, &v);

	return err ? (u64)(s64)err : v.counter;
}

u64 perf_read_value(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct bpf_perf_event_value v = { 0 };
	int err = a4 == sizeof(v) ? map_perf_read(ptr(a1), a2, &v) : -EINVAL;

	memset(ptr(a3), 0, a4);
	if (!err)
		memcpy(ptr(a3), &v, sizeof(v));
	return (u64)(s64)err;
}
