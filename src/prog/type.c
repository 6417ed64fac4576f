/* SPDX-License-Identifier: MIT */
/* The table of program types, made from type.def, and what their contexts allow. */
#include <linux/bpf_perf_event.h>
#include <stdio.h>

#include "prog/prog.h"

#define SIZE_OF(type, member) sizeof(((struct type *)0)->member)

#define FIELD(type, member, real, k, w, rmin, wmin, most, attach)                                  \
	{ .off = offsetof(struct type, member), .size = SIZE_OF(type, member),                     \
	  .real_off = offsetof(struct prog_pkt, real), .real_size = SIZE_OF(prog_pkt, real),       \
	  .kind = (k), .writable = (w), .read_min = (rmin), .write_min = (wmin), .max = (most),    \
	  .attach_types = (attach), .name = #member },

#define SKB_R(member, real, k, rmin, wmin, most)                                                   \
	FIELD(__sk_buff, member, real, k, false, rmin, wmin, most, 0)
#define SKB_RW(member, real, k, rmin, wmin, most)                                                  \
	FIELD(__sk_buff, member, real, k, true, rmin, wmin, most, 0)
#define SKB_NO(member, real, k, rmin, wmin, most)

static const struct ctx_field filter_fields[] = {
#define SKB(m, r, k, rmin, wmin, most, filter, sched, cgroup, skskb, lwt)                          \
	SKB_##filter(m, r, k, rmin, wmin, most)
#include "prog/type.def"
};

static const struct ctx_field sched_fields[] = {
#define SKB(m, r, k, rmin, wmin, most, filter, sched, cgroup, skskb, lwt)                          \
	SKB_##sched(m, r, k, rmin, wmin, most)
#include "prog/type.def"
};

static const struct ctx_field cgroup_fields[] = {
#define SKB(m, r, k, rmin, wmin, most, filter, sched, cgroup, skskb, lwt)                          \
	SKB_##cgroup(m, r, k, rmin, wmin, most)
#include "prog/type.def"
};

static const struct ctx_field skskb_fields[] = {
#define SKB(m, r, k, rmin, wmin, most, filter, sched, cgroup, skskb, lwt)                          \
	SKB_##skskb(m, r, k, rmin, wmin, most)
#include "prog/type.def"
};

static const struct ctx_field lwt_fields[] = {
#define SKB(m, r, k, rmin, wmin, most, filter, sched, cgroup, skskb, lwt)                          \
	SKB_##lwt(m, r, k, rmin, wmin, most)
#include "prog/type.def"
};

/*
 * Contexts that are, to the byte, what the program sees. A row's size is given: some ports are read
 * with the two bytes behind them.
 */
#define PLAIN(type, m, bytes, k, w, rmin, wmin, most, start, attach)                               \
	{ .off = offsetof(struct type, m), .size = (bytes), .real_off = offsetof(struct type, m),  \
	  .real_size = (bytes), .kind = (k), .writable = (w), .read_min = (rmin),                  \
	  .write_min = (wmin), .max = (most), .narrow_start = (start), .attach_types = (attach),   \
	  .name = #m },
#define AT(id) (1ull << BPF_##id)

static const struct ctx_field sock_fields[] = {
#define SOCK(...) PLAIN(bpf_sock, __VA_ARGS__)
#include "prog/type.def"
};

static const struct ctx_field addr_fields[] = {
#define ADDR(...) PLAIN(bpf_sock_addr, __VA_ARGS__)
#include "prog/type.def"
};

static const struct ctx_field lookup_fields[] = {
#define LOOKUP(m, bytes, k, rmin, most) PLAIN(bpf_sk_lookup, m, bytes, k, false, rmin, most, most, false, 0)
#include "prog/type.def"
};

static const struct ctx_field sysctl_fields[] = {
#define SYSCTL(m, w) PLAIN(bpf_sysctl, m, 4, CTX_SCALAR, w, 1, 4, 4, false, 0)
#include "prog/type.def"
};

static const struct ctx_field sockopt_fields[] = {
#define SOCKOPT(...) PLAIN(bpf_sockopt, __VA_ARGS__)
#include "prog/type.def"
};

static const struct ctx_field msg_fields[] = {
#define MSG(m, bytes, k, size) PLAIN(sk_msg_md, m, bytes, k, false, size, size, size, false, 0)
#include "prog/type.def"
};

static const struct ctx_field device_fields[] = {
#define DEVICE(m, rmin, most) PLAIN(bpf_cgroup_dev_ctx, m, 4, CTX_SCALAR, false, rmin, 4, most, false, 0)
#include "prog/type.def"
};

/* What a pointer to a socket leads to; COMMON(...) rows are for sockets of any kind too. */
static const struct ctx_field full_fields[] = {
#define FULL(m, bytes, rmin, start) PLAIN(bpf_sock, m, bytes, CTX_SCALAR, false, rmin, 4, 4, start, 0)
#define COMMON(...) FULL(__VA_ARGS__)
#include "prog/type.def"
};
static const struct ctx_field common_fields[] = {
#define COMMON(m, bytes, rmin, start) PLAIN(bpf_sock, m, bytes, CTX_SCALAR, false, rmin, 4, 4, start, 0)
#include "prog/type.def"
};

static const struct ctx_field xdp_fields[] = {
#define XDP(m, r, k, attach) FIELD(xdp_md, m, r, k, false, 4, 4, 4, attach)
#include "prog/type.def"
};

/* A perf event's real context is what the program sees. */
static const struct ctx_field perf_fields[] = {
#define PERF(m, rmin)                                                                              \
	{ .off = offsetof(struct bpf_perf_event_data, m), .size = SIZE_OF(bpf_perf_event_data, m), \
	  .real_off = offsetof(struct bpf_perf_event_data, m),                                     \
	  .real_size = SIZE_OF(bpf_perf_event_data, m), .kind = CTX_SCALAR, .read_min = (rmin),    \
	  .write_min = 8, .max = 8, .name = #m },
#include "prog/type.def"
};

#define no_fields NULL /* a raw context */

enum {
	no_fields_count = 0,
	filter_fields_count = ARRAY_SIZE(filter_fields),
	sched_fields_count = ARRAY_SIZE(sched_fields),
	cgroup_fields_count = ARRAY_SIZE(cgroup_fields),
	xdp_fields_count = ARRAY_SIZE(xdp_fields),
	perf_fields_count = ARRAY_SIZE(perf_fields),
	skskb_fields_count = ARRAY_SIZE(skskb_fields),
	lwt_fields_count = ARRAY_SIZE(lwt_fields),
	sock_fields_count = ARRAY_SIZE(sock_fields),
	addr_fields_count = ARRAY_SIZE(addr_fields),
	lookup_fields_count = ARRAY_SIZE(lookup_fields),
	sysctl_fields_count = ARRAY_SIZE(sysctl_fields),
	sockopt_fields_count = ARRAY_SIZE(sockopt_fields),
	msg_fields_count = ARRAY_SIZE(msg_fields),
	device_fields_count = ARRAY_SIZE(device_fields),
};

/* A packet field keeps its bytes: only pointers change their size, and arrays their place. */
#define SAME(m, r) SIZE_OF(__sk_buff, m) == SIZE_OF(prog_pkt, r)
#define SKB(m, r, k, ...) _Static_assert((k) != CTX_SCALAR || SAME(m, r), "size of " #m);
#include "prog/type.def"

#define BASE    HELPERS_BASE
#define SOCKETS (HELPERS_LOOKUP | HELPERS_SOCKET | HELPERS_COOKIE)
#define NET     (HELPERS_BASE | HELPERS_EVENTS | HELPERS_COARSE)
#define PKT     sizeof(struct prog_pkt)
#define REGS    sizeof(bpf_user_pt_regs_t)
#define TP_ARGS (8 * 12) /* MAX_BPF_FUNC_ARGS of the kernel */

static const struct prog_type types[] = {
#define NAMED(id, text) [BPF_PROG_TYPE_##id] = { .type = BPF_PROG_TYPE_##id, .name = text },
#define TYPE(id, text, groups, f, start, end, writable, real, ...)                                 \
	[BPF_PROG_TYPE_##id] = { .type = BPF_PROG_TYPE_##id, .name = text, .helpers = (groups),    \
				 .fields = f, .nfields = f##_count, .raw_start = (start),           \
				 .raw_end = (end), .raw_writable = (writable),                     \
				 .real_size = (real), __VA_ARGS__ },
#include "prog/type.def"
};

const struct prog_type *prog_type_of(u32 type)
{
	return type < ARRAY_SIZE(types) && types[type].real_size ? &types[type] : NULL;
}

const char *prog_type_name(u32 type)
{
	static _Thread_local char buf[24];

	if (type < ARRAY_SIZE(types) && types[type].name)
		return types[type].name;
	snprintf(buf, sizeof(buf), "type %u", type);
	return buf;
}

static const struct ctx_field *find_field(const struct ctx_field *fields, u32 n, u32 attach_type,
					  u32 off, u32 size, bool write)
{
	u32 i;

	if (!size || size & (size - 1) || off % size)
		return NULL;
	/* Some bytes are in several rows, as they may be used for this or that. */
	for (i = 0; i < n; i++) {
		const struct ctx_field *f = &fields[i];

		if (off < f->off || off + size > (u32)f->off + f->size)
			continue;
		if (size > f->max || size < (write ? f->write_min : f->read_min))
			continue;
		if (f->narrow_start && size < f->max && off != f->off)
			continue;
		if (write && !f->writable)
			continue;
		if (f->attach_types && (attach_type > 63 || !(f->attach_types >> attach_type & 1)))
			continue;
		return f;
	}
	return NULL;
}

const struct ctx_field *prog_type_field(const struct prog_type *t, u32 attach_type, u32 off,
					u32 size, bool write)
{
	return find_field(t->fields, t->nfields, attach_type, off, size, write);
}

bool prog_sock_field(enum prog_sock kind, u32 off, u32 size)
{
	bool wide;

	if (kind == PROG_SOCK_TCP) { /* bpf_tcp_sock_is_valid_access() */
		wide = off == offsetof(struct bpf_tcp_sock, bytes_received) ||
		       off == offsetof(struct bpf_tcp_sock, bytes_acked);
		return off < sizeof(struct bpf_tcp_sock) && size == (wide ? 8 : 4) && off % size == 0;
	}
	return kind == PROG_SOCK_COMMON ?
		       find_field(common_fields, ARRAY_SIZE(common_fields), 0, off, size, false) :
		       find_field(full_fields, ARRAY_SIZE(full_fields), 0, off, size, false);
}

bool prog_type_ret(const struct prog_type *t, u32 attach_type, s32 *min, s32 *max)
{
	if (!t->bounded_ret)
		return false;
	*min = t->ret_min;
	*max = t->ret_max;
	/* Egress may also ask for congestion notification. */
	if (t->type == BPF_PROG_TYPE_CGROUP_SKB && attach_type == BPF_CGROUP_INET_EGRESS)
		*max = 3;
	/* What a traced function returns is not the program's; an iterator may ask for an element again. */
	if (t->type == BPF_PROG_TYPE_TRACING) {
		*max = attach_type == BPF_TRACE_ITER;
		return attach_type != BPF_TRACE_RAW_TP && attach_type != BPF_MODIFY_RETURN;
	}
	if (t->type != BPF_PROG_TYPE_CGROUP_SOCK_ADDR)
		return true;
	/* bind may also lift the check for privileged ports; the answers of others cannot be refused. */
	switch (attach_type) {
	case BPF_CGROUP_INET4_BIND:
	case BPF_CGROUP_INET6_BIND:
		*max = 3;
		break;
	case BPF_CGROUP_UDP4_RECVMSG:
	case BPF_CGROUP_UDP6_RECVMSG:
	case BPF_CGROUP_INET4_GETPEERNAME:
	case BPF_CGROUP_INET6_GETPEERNAME:
	case BPF_CGROUP_INET4_GETSOCKNAME:
	case BPF_CGROUP_INET6_GETSOCKNAME:
		*min = 1;
	}
	return true;
}

u32 prog_type_helpers(const struct prog_type *t, u32 attach_type)
{
	if (t->type != BPF_PROG_TYPE_TRACING)
		return t->helpers;
	switch (attach_type) {
	case BPF_TRACE_ITER: return t->helpers | HELPERS_ITER;
	case BPF_TRACE_FENTRY: return t->helpers | HELPERS_FUNC;
	case BPF_TRACE_FEXIT:
	case BPF_MODIFY_RETURN: return t->helpers | HELPERS_FUNC | HELPERS_EXIT;
	default: return t->helpers;
	}
}
