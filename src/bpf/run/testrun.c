/* SPDX-License-Identifier: MIT */
/* BPF_PROG_TEST_RUN: packets and contexts as the kernel's net/bpf/test_run.c makes them. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bpf/sys_int.h"

#define PAGE            4096u
#define SKB_HEADROOM    64u  /* NET_SKB_PAD + NET_IP_ALIGN */
#define XDP_HEADROOM    256u /* XDP_PACKET_HEADROOM */
#define TAILROOM        320u /* aligned size of struct skb_shared_info */
#define MAX_FRAGS       17u  /* MAX_SKB_FRAGS: pages behind the first of a large xdp packet */
#define MAX_RAW_TP_ARGS 12u  /* MAX_BPF_FUNC_ARGS */

struct test {
	struct sys_call *c;
	const struct prog *p;
	u8 *page; /* headroom, packet, tailroom */
	struct prog_pkt pkt;
	u8 *rest; /* xdp: bytes of the packet behind the page */
	u32 rest_size;
	u8 *ctx; /* the caller's __sk_buff or xdp_md; NULL when there is none */
	u32 retval, duration;
};

static u64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/*
 * Runs it `repeat` times, 0 meaning once, on the same packet, as bpf_test_run() does; `before` puts
 * right what a run may have moved (xdp).
 */
static void run(struct test *t)
{
	u32 repeat = t->c->attr.test.repeat ? t->c->attr.test.repeat : 1, i;
	struct prog_pkt first = t->pkt;
	u64 start = now(), ns;

	for (i = 0; i < repeat; i++) {
		if (i && t->p->type == BPF_PROG_TYPE_XDP) {
			t->pkt.data = first.data;
			t->pkt.data_end = first.data_end;
			t->pkt.data_meta = first.data_meta;
		}
		t->retval = sys_prog_run(t->p, &t->pkt, 0);
	}
	ns = (now() - start) / repeat;
	t->duration = ns > UINT32_MAX ? UINT32_MAX : ns;
}

/* ---- in and out ----------------------------------------------------------------------------- */

static int packet_in(struct test *t, u32 size, u32 headroom, u32 tailroom)
{
	if (size < ETH_HLEN || size > PAGE - headroom - tailroom)
		return -EINVAL;
	t->page = base_alloc(PAGE);
	if (!t->page)
		return -ENOMEM;
	t->pkt.hard_start = (uintptr_t)t->page;
	/* The kernel's tail ends with skb_shared_info; what a program may grow into stops before.
	 */
	t->pkt.hard_end = (uintptr_t)t->page + PAGE - tailroom;
	t->pkt.data = (uintptr_t)t->page + headroom;
	t->pkt.data_end = t->pkt.data + size;
	t->pkt.data_meta = t->pkt.data;
	return sys_in(t->page + headroom, t->c->attr.test.data_in, size);
}

/* A context that the caller may have given: `size` bytes in t->ctx. */
static int ctx_in(struct test *t, u32 size)
{
	const union bpf_attr *a = &t->c->attr;

	if (!a->test.ctx_in && !a->test.ctx_out)
		return 0;
	t->ctx = base_alloc(size);
	if (!t->ctx)
		return -ENOMEM;
	return a->test.ctx_in ? sys_in_struct(t->ctx, size, a->test.ctx_in, a->test.ctx_size_in)
			      : 0;
}

static int ctx_out(struct test *t, u32 size)
{
	const union bpf_attr *a = &t->c->attr;
	u32 copy = size;
	int err = 0;

	if (!t->ctx || !a->test.ctx_out)
		return 0;
	if (copy > a->test.ctx_size_out) {
		copy = a->test.ctx_size_out;
		err = -ENOSPC;
	}
	/* What did not fit is said rather than what could not be written (bpf_ctx_finish). */
	if (sys_out(a->test.ctx_out, t->ctx, copy) || SYS_PUT(t->c, test.ctx_size_out, size))
		return err ? err : -EFAULT;
	return err;
}

/* The packet from `from` on, and results. Too little room: what fits is given, with -ENOSPC. */
static int packet_out(struct test *t, const u8 *from, u32 size)
{
	const union bpf_attr *a = &t->c->attr;
	u32 full = size + t->rest_size, copy = full, first;
	int err = 0;

	if (a->test.data_size_out && copy > a->test.data_size_out) {
		copy = a->test.data_size_out;
		err = -ENOSPC;
	}
	first = copy < size ? copy : size;
	if (a->test.data_out && (sys_out(a->test.data_out, from, first) ||
				 sys_out(a->test.data_out + first, t->rest, copy - first)))
		return err ? err : -EFAULT;
	if (SYS_PUT(t->c, test.data_size_out, full) || SYS_PUT(t->c, test.retval, t->retval) ||
	    SYS_PUT(t->c, test.duration, t->duration))
		return err ? err : -EFAULT;
	return err;
}

/* ---- __sk_buff ------------------------------------------------------------------------------ */

/* Fields of __sk_buff that a test may set; all others must be zero (convert___skb_to_skb). */
static bool skb_others_zero(const struct __sk_buff *s)
{
	static const struct {
		u32 start, end;
	} zero[] = {
#define BETWEEN(a, b)                                                                              \
	{ offsetof(struct __sk_buff, a) + sizeof(((struct __sk_buff *)0)->a),                      \
	  offsetof(struct __sk_buff, b) }
		{ 0, offsetof(struct __sk_buff, mark) },
		BETWEEN(mark, priority),
		BETWEEN(ifindex, cb),
		BETWEEN(cb, tstamp),
		BETWEEN(gso_segs, gso_size),
		BETWEEN(gso_size, hwtstamp),
		{ offsetof(struct __sk_buff, hwtstamp) + 8, sizeof(struct __sk_buff) },
#undef BETWEEN
	};
	const u8 *bytes = (const u8 *)s;
	u32 i, at;

	for (i = 0; i < ARRAY_SIZE(zero); i++)
		for (at = zero[i].start; at < zero[i].end; at++)
			if (bytes[at])
				return false;
	return true;
}

static int skb_from_ctx(struct test *t, u32 len)
{
	const struct __sk_buff *s = (const struct __sk_buff *)t->ctx;
	struct prog_pkt *k = &t->pkt;

	k->wire_len = len;
	if (!s)
		return 0;
	if (!skb_others_zero(s))
		return -EINVAL;
	k->mark = s->mark;
	k->priority = s->priority;
	k->ingress_ifindex = s->ingress_ifindex;
	k->tstamp = s->tstamp;
	memcpy(k->cb, s->cb, sizeof(k->cb));
	if (s->wire_len) {
		if (s->wire_len < len || s->wire_len > 65536)
			return -EINVAL;
		k->wire_len = s->wire_len;
	}
	if (s->gso_segs > 65535)
		return -EINVAL;
	k->gso_segs = s->gso_segs;
	k->gso_size = s->gso_size;
	k->hwtstamp = s->hwtstamp;
	return 0;
}

static void skb_to_ctx(struct test *t)
{
	struct __sk_buff *s = (struct __sk_buff *)t->ctx;
	const struct prog_pkt *k = &t->pkt;

	if (!s)
		return;
	s->mark = k->mark;
	s->priority = k->priority;
	s->ingress_ifindex = k->ingress_ifindex;
	s->ifindex = k->ifindex;
	s->tstamp = k->tstamp;
	s->wire_len = k->wire_len;
	s->gso_segs = k->gso_segs;
	s->hwtstamp = k->hwtstamp;
	memcpy(s->cb, k->cb, sizeof(s->cb));
}

/* What eth_type_trans() and the test's socket make of the bytes. */
static void skb_protocol(struct prog_pkt *k)
{
	const u8 *eth = (const u8 *)(uintptr_t)k->data, *ip = eth + ETH_HLEN;
	u32 size = k->data_end - k->data - ETH_HLEN;
	u16 proto;

	memcpy(&proto, eth + 12, sizeof(proto));
	k->protocol = ntohs(proto) >= ETH_P_802_3_MIN ? proto : htons(ETH_P_802_2);
	if (eth[0] & 1)
		k->pkt_type = !memcmp(eth, "\xff\xff\xff\xff\xff\xff", 6)
				      ? 1
				      : 2; /* BROADCAST, MULTICAST */
	else if (memcmp(eth, "\0\0\0\0\0\0", 6))
		k->pkt_type = 3; /* OTHERHOST: the device is loopback, whose address is zero */
	if (k->protocol == htons(ETH_P_IP) && size >= 20) {
		k->family = AF_INET;
		memcpy(&k->remote_ip4, ip + 16, 4);
		memcpy(&k->local_ip4, ip + 12, 4);
	} else if (k->protocol == htons(ETH_P_IPV6) && size >= 40) {
		k->family = AF_INET6;
		memcpy(k->remote_ip6, ip + 24, 16);
		memcpy(k->local_ip6, ip + 8, 16);
	}
}

static int test_skb(struct test *t)
{
	const union bpf_attr *a = &t->c->attr;
	bool l2 = t->p->type == BPF_PROG_TYPE_SCHED_CLS || t->p->type == BPF_PROG_TYPE_SCHED_ACT;
	const struct __sk_buff *s;
	u8 *from;
	int err;

	if (a->test.flags || a->test.cpu || a->test.batch_size)
		return -EINVAL;
	err = packet_in(t, a->test.data_size_in, SKB_HEADROOM, TAILROOM);
	if (!err)
		err = ctx_in(t, sizeof(struct __sk_buff));
	if (err)
		return err;
	s = (const struct __sk_buff *)t->ctx;
	if (s && s->ifindex > 1)
		return -ENODEV; /* loopback is the one device of a test */
	t->pkt.ifindex = 1;
	skb_protocol(&t->pkt);
	if (!l2) {
		t->pkt.data += ETH_HLEN; /* such programs start at the network header */
		t->pkt.data_meta = t->pkt.data;
	}
	t->pkt.len = t->pkt.data_end - t->pkt.data;
	err = skb_from_ctx(t, t->pkt.len);
	if (err)
		return err;
	run(t);
	from = (u8 *)(uintptr_t)t->pkt.data;
	if (!l2 && from - t->page >= ETH_HLEN) {
		from -= ETH_HLEN;
		memset(from, 0, ETH_HLEN);
	}
	skb_to_ctx(t);
	err = packet_out(t, from, (u8 *)(uintptr_t)t->pkt.data_end - from);
	return err ? err : ctx_out(t, sizeof(struct __sk_buff));
}

/* ---- xdp ------------------------------------------------------------------------------------ */

static int xdp_from_ctx(struct test *t)
{
	const struct xdp_md *x = (const struct xdp_md *)t->ctx;

	if (!x)
		return 0;
	if (x->egress_ifindex)
		return -EINVAL;
	if (!x->ingress_ifindex)
		return x->rx_queue_index ? -EINVAL : 0;
	if (x->ingress_ifindex > 1)
		return -ENODEV;
	if (x->rx_queue_index)
		return -EINVAL; /* loopback has one queue */
	t->pkt.ingress_ifindex = 1;
	return 0;
}

/* The part of a packet that does not fit a page: programs see the first page only. */
static int xdp_rest(struct test *t, u32 first)
{
	const union bpf_attr *a = &t->c->attr;
	void *rest;
	int err;

	if (a->test.data_size_in <= first)
		return 0;
	t->rest_size = a->test.data_size_in - first;
	if (t->rest_size > MAX_FRAGS * PAGE)
		return -ENOMEM;
	err = sys_dup(a->test.data_in + first, t->rest_size, &rest);
	t->rest = rest;
	return err;
}

static int test_xdp(struct test *t)
{
	const union bpf_attr *a = &t->c->attr;
	u32 headroom = XDP_HEADROOM, size = a->test.data_size_in, room;
	struct xdp_md *x;
	int err;

	if (t->p->attach_type == BPF_XDP_DEVMAP || t->p->attach_type == BPF_XDP_CPUMAP)
		return -EINVAL;
	if (a->test.flags || a->test.batch_size)
		return -EINVAL; /* BPF_F_TEST_XDP_LIVE_FRAMES: there are no devices to send to */
	err = ctx_in(t, sizeof(struct xdp_md));
	if (err)
		return err;
	x = (struct xdp_md *)t->ctx;
	if (x) {
		/* `data` bytes of the input are metadata: at most 32 and a multiple of 4. */
		if (x->data_meta || x->data_end != size || x->data > x->data_end || x->data > 32 ||
		    x->data % 4)
			return -EINVAL;
		headroom -= x->data;
	}
	room = PAGE - headroom - TAILROOM;
	if (size > room)
		size = room;
	err = packet_in(t, size, headroom, TAILROOM);
	if (!err)
		err = xdp_rest(t, size);
	if (!err)
		err = xdp_from_ctx(t);
	if (err)
		return err;
	if (x)
		t->pkt.data = t->pkt.data_meta + x->data;
	t->pkt.len = t->pkt.data_end - t->pkt.data;
	run(t);
	if (x) {
		x->data = t->pkt.data - t->pkt.data_meta;
		x->data_end = t->pkt.data_end - t->pkt.data_meta;
	}
	/* Metadata that the program gave up (data_meta behind data) leaves the packet from data on.
	 */
	if (t->pkt.data_meta > t->pkt.data)
		t->pkt.data_meta = t->pkt.data;
	err = packet_out(t, (u8 *)(uintptr_t)t->pkt.data_meta, t->pkt.data_end - t->pkt.data_meta);
	return err ? err : ctx_out(t, sizeof(struct xdp_md));
}

/* ---- raw contexts --------------------------------------------------------------------------- */

/*
 * A program that is reached by tail call was verified for as much context as its type has, so the
 * buffer then is as large, whatever the caller gave.
 */
static size_t raw_room(const struct prog *p, size_t size)
{
	const struct prog_type *type = prog_type_of(p->type);
	u32 i;

	for (i = 0; i < p->nmaps; i++)
		if (p->maps[i]->attr.type == BPF_MAP_TYPE_PROG_ARRAY && size < type->raw_end)
			return type->raw_end;
	return size;
}

static int raw_in(struct test *t, u32 most)
{
	const union bpf_attr *a = &t->c->attr;
	u32 size = a->test.ctx_size_in;

	if (a->test.data_in || a->test.data_out || a->test.ctx_out || a->test.duration ||
	    a->test.repeat || a->test.batch_size)
		return -EINVAL;
	if (size < t->p->max_ctx_off || size > most)
		return -EINVAL;
	t->ctx = base_alloc(raw_room(t->p, size));
	if (!t->ctx)
		return -ENOMEM;
	return sys_in(t->ctx, a->test.ctx_in, size);
}

static int test_raw_tp(struct test *t)
{
	const union bpf_attr *a = &t->c->attr;
	cpu_set_t was, one;
	int err = raw_in(t, MAX_RAW_TP_ARGS * sizeof(u64));

	if (err)
		return err;
	if (a->test.flags & ~BPF_F_TEST_RUN_ON_CPU || (!a->test.flags && a->test.cpu))
		return -EINVAL;
	if (a->test.flags) {
		CPU_ZERO(&one);
		if (a->test.cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof(was), &was))
			return -ENXIO;
		CPU_SET(a->test.cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one))
			return -ENXIO;
	}
	t->retval = sys_prog_run(t->p, t->ctx, 0);
	if (a->test.flags)
		sched_setaffinity(0, sizeof(was), &was);
	return SYS_PUT(t->c, test.retval, t->retval);
}

static int test_syscall(struct test *t)
{
	const union bpf_attr *a = &t->c->attr;
	int err;

	if (a->test.flags || a->test.cpu)
		return -EINVAL;
	err = raw_in(t, UINT16_MAX);
	if (err)
		return err;
	t->retval = sys_prog_run(t->p, t->ctx, 0);
	if (SYS_PUT(t->c, test.retval, t->retval))
		return -EFAULT;
	return sys_out(a->test.ctx_in, t->ctx, a->test.ctx_size_in);
}

/* The kernel calls test functions of its own, which are not here; others it answers so (-EFAULT). */
static int test_tracing(const union bpf_attr *a, const struct prog *p)
{
	bool func = p->attach_type == BPF_TRACE_FENTRY || p->attach_type == BPF_TRACE_FEXIT;

	if (a->test.flags || a->test.cpu || a->test.batch_size)
		return -EINVAL;
	return func ? -SYS_ENOTSUPP : -EFAULT;
}

/* ---- by type -------------------------------------------------------------------------------- */

static int (*const tests[])(struct test *t) = {
	[BPF_PROG_TYPE_SOCKET_FILTER] = test_skb, [BPF_PROG_TYPE_SCHED_CLS] = test_skb,
	[BPF_PROG_TYPE_SCHED_ACT] = test_skb,     [BPF_PROG_TYPE_CGROUP_SKB] = test_skb,
	[BPF_PROG_TYPE_XDP] = test_xdp,           [BPF_PROG_TYPE_RAW_TRACEPOINT] = test_raw_tp,
	[BPF_PROG_TYPE_SYSCALL] = test_syscall,
};

long sys_cmd_test_run(struct sys_call *c)
{
	const union bpf_attr *a = &c->attr;
	struct test t = { .c = c };
	struct sys_obj *o;
	int err = -SYS_ENOTSUPP;

	if (!a->test.ctx_size_in != !a->test.ctx_in || !a->test.ctx_size_out != !a->test.ctx_out)
		return -EINVAL;
	o = sys_fd_get(a->test.prog_fd, SYS_PROG);
	if (!o)
		return sys_fd_error(a->test.prog_fd);
	t.p = container_of(o, struct sys_prog, o)->p;
	if (t.p->type == BPF_PROG_TYPE_TRACING)
		err = test_tracing(a, t.p);
	else if (t.p->type < ARRAY_SIZE(tests) && tests[t.p->type])
		err = tests[t.p->type](&t);
	base_free(t.page);
	base_free(t.rest);
	base_free(t.ctx);
	sys_put(o);
	return err;
}
