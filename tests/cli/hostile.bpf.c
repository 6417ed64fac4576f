/* SPDX-License-Identifier: MIT */
/* Source text that tries to become part of a page; the test does the same to names. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} m SEC(".maps");

SEC("xdp") int hostile(struct xdp_md *ctx)
{
	__u32 key = ctx->ingress_ifindex; /* </pre></details><script>document.title="owned"</script> */
	__u64 *v = bpf_map_lookup_elem(&m, &key); /* "><script>document.title='owned'</script>&amp; */

	return (int)*v; /* <svg/onload=document.title="owned"> */
}

char LICENSE[] SEC("license") = "GPL";
