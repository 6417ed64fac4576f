/* SPDX-License-Identifier: MIT */
/* A packet filter: VLAN tags, IPv4 with options, IPv6 extension headers, TCP options, a table of rules. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define RULES 32
#define MAX_TAGS 1
#define MAX_EXT 2
#define MAX_OPTS 4

struct rule {
	__u32 addr, mask;
	__u16 port_min, port_max;
	__u8 proto, action, flags, pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RULES);
	__type(key, __u32);
	__type(value, struct rule);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} flows SEC(".maps");

struct packet {
	__u32 addr;
	__u16 port, mss;
	__u8 proto, window_scale, flags, hops;
};

static __always_inline int tcp_options(void *p, void *end, __u32 len, struct packet *pkt)
{
	__u8 *o = p;

	for (int i = 0; i < MAX_OPTS; i++) {
		__u8 kind, size;

		if (o + 2 > (__u8 *)end || len < 2)
			return 0;
		kind = o[0];
		if (kind == 0)
			return 0;
		if (kind == 1) {
			o++;
			len--;
			continue;
		}
		size = o[1];
		if (size < 2 || size > len)
			return -1;
		if (kind == 2 && size == 4) {
			if (o + 4 > (__u8 *)end)
				return -1;
			pkt->mss = o[2] << 8 | o[3];
		} else if (kind == 3 && size == 3) {
			if (o + 3 > (__u8 *)end)
				return -1;
			pkt->window_scale = o[2];
		}
		o += size & 63;
		len -= size;
	}
	return 0;
}

static __always_inline int transport(void *p, void *end, struct packet *pkt)
{
	if (pkt->proto == IPPROTO_TCP) {
		struct tcphdr *t = p;

		if ((void *)(t + 1) > end)
			return -1;
		pkt->port = bpf_ntohs(t->dest);
		pkt->flags = t->syn | t->ack << 1 | t->fin << 2 | t->rst << 3;
		if (t->doff < 5)
			return -1;
		return tcp_options(t + 1, end, (t->doff - 5) * 4, pkt);
	}
	if (pkt->proto == IPPROTO_UDP) {
		struct udphdr *u = p;

		if ((void *)(u + 1) > end)
			return -1;
		pkt->port = bpf_ntohs(u->dest);
	}
	return 0;
}

static __always_inline int ipv6(void *p, void *end, struct packet *pkt)
{
	struct ipv6hdr *h = p;
	__u8 next;

	if ((void *)(h + 1) > end)
		return -1;
	next = h->nexthdr;
	pkt->addr = h->saddr.s6_addr32[0] ^ h->saddr.s6_addr32[1] ^ h->saddr.s6_addr32[2] ^ h->saddr.s6_addr32[3];
	pkt->hops = h->hop_limit;
	p = h + 1;
	for (int i = 0; i < MAX_EXT; i++) {
		__u8 *e = p;

		if (next != 0 && next != 43 && next != 44 && next != 60)
			break;
		if (e + 8 > (__u8 *)end)
			return -1;
		next = e[0];
		p = e + ((e[1] & 15) + 1) * 8;
	}
	pkt->proto = next;
	return transport(p, end, pkt);
}

static __always_inline int ipv4(void *p, void *end, struct packet *pkt)
{
	struct iphdr *h = p;
	__u32 len;

	if ((void *)(h + 1) > end)
		return -1;
	len = h->ihl * 4;
	if (len < sizeof(*h) || p + len > end)
		return -1;
	pkt->proto = h->protocol;
	pkt->addr = h->saddr;
	pkt->hops = h->ttl;
	return transport(p + len, end, pkt);
}

SEC("xdp")
int firewall(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct packet pkt = {};
	__u64 key, one = 1, *seen;
	__u16 proto;
	int err = 0;

	if ((void *)(eth + 1) > end)
		return XDP_DROP;
	proto = eth->h_proto;
	data = eth + 1;
	for (int i = 0; i < MAX_TAGS; i++) {
		__u16 *tag = data;

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 2) > end)
			return XDP_DROP;
		proto = tag[1];
		data = tag + 2;
	}
	if (proto == bpf_htons(ETH_P_IP))
		err = ipv4(data, end, &pkt);
	else if (proto == bpf_htons(ETH_P_IPV6))
		err = ipv6(data, end, &pkt);
	else
		return XDP_PASS;
	if (err)
		return XDP_DROP;
	for (__u32 i = 0; i < RULES; i++) {
		__u32 at = i;
		struct rule *r = bpf_map_lookup_elem(&rules, &at);
		__u64 miss;

		if (!r)
			break;
		miss = ((pkt.addr & r->mask) ^ r->addr) | (r->proto ^ pkt.proto) | (r->flags & ~pkt.flags);
		miss |= (__u64)(pkt.port - r->port_min) >> 63 | (__u64)(r->port_max - pkt.port) >> 63;
		if (!miss)
			return r->action ? XDP_PASS : XDP_DROP;
	}
	key = (__u64)pkt.addr << 32 | pkt.port << 16 | pkt.proto << 8 | pkt.window_scale;
	seen = bpf_map_lookup_elem(&flows, &key);
	if (seen)
		__sync_fetch_and_add(seen, 1);
	else
		bpf_map_update_elem(&flows, &key, &one, BPF_ANY);
	return pkt.hops > 1 ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "GPL";
