/* SPDX-License-Identifier: MIT */
/*
 * The filter of examples/http, the same source, compiled for this machine: the rival in plain C.
 * Its maps are arrays; that of clients is found by the lower bits of the address.
 */
#include <string.h>
#include <time.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Helpers are variables in libbpf's headers, which newer ones make constant. */
static void *lookup(void *map, const void *key);
static __u64 clock_ns(void);
static long compare(const char *s1, __u32 size, const char *s2);
#define bpf_map_lookup_elem lookup
#define bpf_ktime_get_ns clock_ns
#define bpf_strncmp compare
#define filter native_filter
#include "http/filter.bpf.c"

static __u64 answer_counts[600];
static struct window windows[4096];
static __u32 most = 1000000000;

static void *lookup(void *map, const void *key)
{
	__u32 k = *(const __u32 *)key;

	if (map == &limit)
		return &most;
	if (map == &answers)
		return k < 600 ? &answer_counts[k] : NULL;
	return &windows[k >> 24 | (k >> 8 & 0xf00)];
}

static __u64 clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (__u64)t.tv_sec * 1000000000 + (__u64)t.tv_nsec;
}

static long compare(const char *s1, __u32 size, const char *s2)
{
	return strncmp(s1, s2, size);
}
