// SPDX-License-Identifier: MIT
/* Reads a host's structs through pointers typed by BTF; the host's layout may be another. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#include "host.h"
#pragma clang attribute pop

#ifndef bpf_ksym_exists /* libbpf before 1.2 */
#define bpf_ksym_exists(sym) (!!(sym))
#endif

char LICENSE[] SEC("license") = "MIT";

extern const struct server app_server __ksym;
extern const int app_level __ksym;
extern struct stats app_stats __ksym;
extern const long app_cpus __ksym;
extern const int app_missing __ksym __weak;
extern const void app_typeless __ksym;
extern const void app_nowhere __ksym __weak;
extern int app_call(int x) __ksym;
extern int app_none(int x) __ksym __weak;

struct out {
	long id, count, level, x, state, prio, path, missing, typeless, cpu0, cpu2, cpu9, calls;
} out;

SEC("raw_tp") int read_host(void *ctx)
{
	const struct server *s = &app_server;
	const struct req *r = s->current;
	const long *cpu;

	out.id = r->id;
	out.count = r->headers->count;
	out.level = app_level;
	out.x = r->pos[1].x;
	out.state = BPF_CORE_READ_BITFIELD(r, state);
	out.prio = BPF_CORE_READ_BITFIELD(r, prio);
	out.path = r->path[2];
	out.missing = bpf_ksym_exists(&app_missing) ? app_missing : -1;
	out.typeless = (long)&app_typeless;
	if (bpf_ksym_exists(&app_nowhere))
		out.missing = -2;
	cpu = bpf_per_cpu_ptr(&app_cpus, 0);
	out.cpu0 = cpu ? *cpu : -1;
	cpu = bpf_per_cpu_ptr(&app_cpus, 2);
	out.cpu2 = cpu ? *cpu : -1;
	cpu = bpf_per_cpu_ptr(&app_cpus, 9);
	out.cpu9 = cpu ? *cpu : -1;
	out.calls = bpf_ksym_exists(app_none) ? app_none(1) : app_call(1);
	return 0;
}

SEC("raw_tp") int write_host(void *ctx)
{
	struct stats *s = &app_stats;

	s->hits += 5;
	return 0;
}
