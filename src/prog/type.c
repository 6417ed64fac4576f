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
	  .attach_type = (attach), .name = #member },

#define SKB_R(member, real, k, rmin, wmin, most)                                                   \
	FIELD(__sk_buff, member, real, k, false, rmin, wmin, most, 0)
#define SKB_RW(member, real, k, rmin, wmin, most)                                                  \
	FIELD(__sk_buff, member, real, k, true, rmin, wmin, most, 0)
#define SKB_NO(member, real, k, rmin, wmin, most)

static const struct ctx_field filter_fields[] = {
#define SKB(m, r, k, rmin, wmin, most, filter, sched, cgroup)                                      \
	SKB_##filter(m, r, k, rmin, wmin, most)
#include "prog/type.def"
};

static const struct ctx_field sched_fields[] = {
#define SKB(m, r, k, rmin, wmin, most, filter, sched, cgroup)                                      \
	SKB_##sched(m, r, k, rmin, wmin, most)
#include "prog/type.def"
};

static const struct ctx_field cgroup_fields[] = {
#define SKB(m, r, k, rmin, wmin, most, filter, sched, cgroup)                                      \
	SKB_##cgroup(m, r, k, rmin, wmin, most)
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
};

/* A packet field keeps its bytes: only pointers change their size, and arrays their place. */
#define SAME(m, r) SIZE_OF(__sk_buff, m) == SIZE_OF(prog_pkt, r)
#define SKB(m, r, k, ...) _Static_assert((k) != CTX_SCALAR || SAME(m, r), "size of " #m);
#include "prog/type.def"

#define BASE    HELPERS_BASE
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

const struct ctx_field *prog_type_field(const struct prog_type *t, u32 attach_type, u32 off,
					u32 size, bool write)
{
	u32 i;

	if (!size || size & (size - 1) || off % size)
		return NULL;
	for (i = 0; i < t->nfields; i++) {
		const struct ctx_field *f = &t->fields[i];

		if (off < f->off || off >= (u32)f->off + f->size)
			continue;
		if (size > f->max || size < (write ? f->write_min : f->read_min) ||
		    off + size > (u32)f->off + f->size)
			return NULL;
		if ((write && !f->writable) || (f->attach_type && f->attach_type != attach_type))
			return NULL;
		return f;
	}
	return NULL;
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
	return true;
}
