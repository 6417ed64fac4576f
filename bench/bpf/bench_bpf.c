/* SPDX-License-Identifier: MIT */
/*
 * What a client pays for bpf(2): the same calls of libbpf answered by Ferry and by the machine's
 * kernel in the same run. `bench_bpf [SECONDS-A-ROW]`. Median of several rounds, taken in turns.
 */
#include <bpf/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../tests/kernel_bpf.h"
#include "base/base.h"
#include "ferry/ferry.h"

#define ROUNDS  7
#define ENTRIES 1024
#define BATCH   256

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

enum op { LOOKUP, UPDATE, DELETE, NEXT_KEY, LOOKUP_BATCH, CREATE, NOPS };
static const char *const names[NOPS] = { "lookup",   "update",  "delete + update",
					 "next key", "batch of 256", "create + close" };

static u32 type, value_size;
static u64 keys[BATCH], values[BATCH * 8];

/* ---- the two: what libbpf sends, to Ferry through libbpf, to the kernel by the instruction --- */

static long kernel(int cmd, union bpf_attr *a, size_t size)
{
	return raw_bpf(cmd, a, (long)size);
}

#define END(field) (offsetof(union bpf_attr, field) + sizeof(((union bpf_attr *)0)->field))

static int create(bool ferry)
{
	union bpf_attr a;

	if (ferry)
		return bpf_map_create(type, "bench", 4, value_size, ENTRIES, NULL);
	memset(&a, 0, sizeof(a));
	a.map_type = type;
	a.key_size = 4;
	a.value_size = value_size;
	a.max_entries = ENTRIES;
	return (int)kernel(BPF_MAP_CREATE, &a, sizeof(a));
}

static long elem(int cmd, int fd, const void *key, void *value)
{
	union bpf_attr a;

	memset(&a, 0, END(flags));
	a.map_fd = (u32)fd;
	a.key = (uintptr_t)key;
	a.value = (uintptr_t)value;
	return kernel(cmd, &a, END(flags));
}

static long batch(bool ferry, int fd)
{
	u32 n = BATCH, out;
	union bpf_attr a;

	if (ferry)
		return bpf_map_lookup_batch(fd, NULL, &out, keys, values, &n, NULL);
	memset(&a, 0, sizeof(a));
	a.batch.out_batch = (uintptr_t)&out;
	a.batch.keys = (uintptr_t)keys;
	a.batch.values = (uintptr_t)values;
	a.batch.count = BATCH;
	a.batch.map_fd = (u32)fd;
	return kernel(BPF_MAP_LOOKUP_BATCH, &a, END(batch.flags));
}

static long one(bool ferry, enum op op, int fd, u32 i)
{
	u32 key = i * 2654435761u % ENTRIES;
	u64 value[8] = { i }, next;

	switch (op) {
	case LOOKUP:
		return ferry ? bpf_map_lookup_elem(fd, &key, value)
			     : elem(BPF_MAP_LOOKUP_ELEM, fd, &key, value);
	case DELETE:
		if (ferry)
			bpf_map_delete_elem(fd, &key);
		else
			elem(BPF_MAP_DELETE_ELEM, fd, &key, NULL);
		/* fallthrough */
	case UPDATE:
		return ferry ? bpf_map_update_elem(fd, &key, value, BPF_ANY)
			     : elem(BPF_MAP_UPDATE_ELEM, fd, &key, value);
	case NEXT_KEY:
		if (ferry)
			bpf_map_get_next_key(fd, &key, &next);
		else
			elem(BPF_MAP_GET_NEXT_KEY, fd, &key, &next);
		return 0;
	case LOOKUP_BATCH: return batch(ferry, fd);
	case CREATE: return close(create(ferry));
	default: return -1;
	}
}

static double round_of(bool ferry, enum op op, int fd, u32 n)
{
	double start = now();
	u32 i;

	for (i = 0; i < n; i++)
		if (one(ferry, op, fd, i))
			return -1;
	return (now() - start) / n;
}

static int by_size(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b;
}

static void row(enum op op, double seconds)
{
	int fds[2] = { create(false), create(true) }, who, r;
	double ns[2][ROUNDS], each[2] = { 0 };
	u32 i;

	for (who = 0; who < 2; who++) {
		for (i = 0; i < ENTRIES && fds[who] >= 0; i++)
			one(who, UPDATE, fds[who], i);
		each[who] = fds[who] < 0 ? -1 : round_of(who, op, fds[who], 100);
	}
	for (r = 0; r < ROUNDS; r++)
		for (who = 0; who < 2; who++)
			ns[who][r] = each[who] <= 0 ? -1
						    : round_of(who, op, fds[who],
							       (u32)(seconds * 1e9 / 2 / ROUNDS / each[who]) + 1);
	for (who = 0; who < 2; who++)
		qsort(ns[who], ROUNDS, sizeof(double), by_size);
	printf("%-16s %-8s %5u %9.1f", names[op], type == BPF_MAP_TYPE_ARRAY ? "array" : "hash",
	       value_size, ns[1][ROUNDS / 2]);
	if (ns[0][0] > 0)
		printf(" %9.1f %7.1fx", ns[0][ROUNDS / 2], ns[0][ROUNDS / 2] / ns[1][ROUNDS / 2]);
	printf("\n");
	close(fds[0]);
	close(fds[1]);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 0.3;
	enum op op;

	if (ferry_hook()) /* which also links us with libferry */
		return 1;
	printf("# a client's calls of bpf(2), ns each: Ferry, the machine's kernel, ratio\n");
	printf("%-16s %-8s %5s %9s %9s %8s\n", "operation", "map", "value", "ferry", "kernel", "faster");
	for (op = 0; op < NOPS; op++) {
		type = BPF_MAP_TYPE_HASH;
		value_size = 8;
		row(op, seconds);
		value_size = 64;
		row(op, seconds);
		type = BPF_MAP_TYPE_ARRAY;
		value_size = 8;
		if (op != DELETE)
			row(op, seconds);
	}
	return 0;
}
