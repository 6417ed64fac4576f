/* SPDX-License-Identifier: MIT */
/*
 * The rival: the machine's own bpf(2), where it works; by raw system call, so that nothing answers
 * instead.
 */
#ifndef FERRY_BENCH_KERNEL_H
#define FERRY_BENCH_KERNEL_H

#include "base/base.h"

#define KERNEL_LOOP 1000 /* operations in one run of a program */

enum kernel_op {
	KERNEL_LOOKUP,
	KERNEL_UPDATE,
	KERNEL_RINGBUF,
	KERNEL_RINGBUF_QUIET,
	KERNEL_LPM,   /* look-ups of random IPv4 addresses */
	KERNEL_LPM6,  /* of IPv6 addresses: 2001:xxxx:..., xxxx below entries, a power of two */
	KERNEL_CACHE, /* a skewed key is looked up, and added when it is not there; returns how many were not */
	KERNEL_PERF,  /* 16 bytes to this CPU's perf buffer */
	KERNEL_RINGBUF_TIME, /* a record with the time it was sent at */
	KERNEL_PERF_TIME,
};

int kernel_map_flags(u32 type, u32 key_size, u32 value_size, u32 entries, u32 flags);
int kernel_map(u32 type, u32 key_size, u32 value_size, u32 entries); /* descriptor or -1 */
int kernel_lookup(int map, const void *key, void *value);
int kernel_update(int map, const void *key, const void *value, u64 flags);
/* Adds n entries at once, keys and values in rows: 0 or -1. */
int kernel_fill(int map, const void *keys, const void *values, u32 n);
/* A program that does KERNEL_LOOP operations on random keys below `entries`: descriptor or -1. */
int kernel_prog(enum kernel_op op, int map, u32 key_size, u32 entries);
/* The same with another number of operations in a run. */
int kernel_prog_loop(enum kernel_op op, int map, u32 key_size, u32 entries, u32 loop);
/* Runs it `repeat` times: ns for one run, or -1. `ret` (may be NULL): what the last run returned. */
double kernel_run_ret(int prog, u32 repeat, u32 *ret);
double kernel_run(int prog, u32 repeat);
struct perf_event_attr;
int kernel_event(const struct perf_event_attr *attr, int cpu); /* perf_event_open(2): descriptor or -1 */
s64 kernel_memlock(int map); /* bytes that it takes, by its fdinfo; -1 */

#endif
