/* SPDX-License-Identifier: MIT */
/*
 * LRU maps as caches, longest prefixes of a full IPv4 table, and memory for an entry, against the
 * kernel's in the same run. `bench_map_types [ENTRIES]`: of the memory rows, 100000 when not given.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "map/map.h"

#define ROUNDS 7

static double now_on_cpu(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static struct map *ferry_map(u32 type, u32 key_size, u32 entries, u32 flags)
{
	struct map_attr attr = { .type = type, .key_size = key_size, .value_size = 8,
				 .max_entries = entries, .flags = flags, .name = "bench" };
	struct map *m;

	return map_create(&attr, &m, NULL) ? NULL : m;
}

static int by_size(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b;
}

static double median(double *v, int n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

/* ---- caches: a skewed key is looked up, and added when it is not there ------------------------- */

static u64 state = 88172645463325252ull;

static u64 random32(void)
{
	state = state * 1103515245 + 12345;
	return state >> 32;
}

/* As the kernel's program (put_key): a product of three uniform fractions. */
static u64 skewed(u32 keys)
{
	u64 a = random32();

	a = a * random32() >> 32;
	a = a * random32() >> 32;
	return a * keys >> 32;
}

/* `ops` operations: how many keys were not there. */
static u32 cache_ferry(struct map *m, u32 keys, u32 ops)
{
	u32 misses = 0, i;

	for (i = 0; i < ops; i++) {
		u64 key = skewed(keys), value = key;

		if (m->ops->lookup(m, &key))
			continue;
		misses++;
		m->ops->update(m, &key, &value, BPF_ANY);
	}
	return misses;
}

static u64 cache_kernel(int prog, u32 runs, double *ns)
{
	u64 misses = 0;
	u32 i, n;

	*ns = 0;
	for (i = 0; i < runs; i++) {
		*ns += kernel_run_ret(prog, 1, &n) / runs / KERNEL_LOOP;
		misses += n;
	}
	return misses;
}

static void cache_row(const char *name, u32 type, u32 room, u32 keys, u32 flags)
{
	struct map *m = ferry_map(type, 8, room, flags);
	int kmap = kernel_map_flags(type, 8, 8, room, flags), r;
	int prog = kmap >= 0 ? kernel_prog(KERNEL_CACHE, kmap, 8, keys) : -1;
	u32 runs = 100, ops = runs * KERNEL_LOOP;
	double ferry[ROUNDS], kernel[ROUNDS];
	u64 misses = 0, kmisses = 0;

	if (!m)
		return;
	cache_ferry(m, keys, 3 * ops); /* full and warm */
	if (prog >= 0)
		cache_kernel(prog, 3 * runs, &kernel[0]);
	for (r = 0; r < ROUNDS; r++) {
		double start = now_on_cpu();

		misses += cache_ferry(m, keys, ops);
		ferry[r] = (now_on_cpu() - start) / ops;
		if (prog >= 0)
			kmisses += cache_kernel(prog, runs, &kernel[r]);
	}
	printf("%-22s %7u %8u %8.1f %6.2f%%", name, room, keys, median(ferry, ROUNDS),
	       100 - 100.0 * (double)misses / ((double)ops * ROUNDS));
	if (prog >= 0)
		printf(" %9.1f %6.2f%% %6.2f", median(kernel, ROUNDS),
		       100 - 100.0 * (double)kmisses / ((double)ops * ROUNDS), ferry[ROUNDS / 2] / kernel[ROUNDS / 2]);
	printf("\n");
	map_put(m);
	close(prog);
	close(kmap);
}

/* ---- longest prefixes -------------------------------------------------------------------------- */

struct prefix {
	u32 bits;
	u8 addr[16]; /* of IPv4 the first four */
};

/* How many of a thousand prefixes of a full table have which length (the shape of public BGP tables). */
static const struct {
	u32 bits, share;
} lengths[] = { { 24, 590 }, { 23, 100 }, { 22, 110 }, { 21, 50 }, { 20, 45 }, { 19, 27 }, { 18, 14 },
		{ 17, 8 },   { 16, 14 },  { 15, 2 },   { 14, 1 },  { 13, 1 },  { 32, 10 }, { 30, 10 },
		{ 29, 10 },  { 12, 1 },   { 11, 1 },   { 10, 1 },  { 25, 5 } };

static void random_prefix(struct prefix *p)
{
	u32 pick = (u32)(random32() * 1000 >> 32), addr = (u32)random32(), i = 0;

	while (i + 1 < ARRAY_SIZE(lengths) && pick >= lengths[i].share)
		pick -= lengths[i++].share;
	p->bits = lengths[i].bits;
	/* In a quarter of the space, so that more and less specific ones overlap. */
	addr = (addr >> 2 | 1u << 30) & ~0u << (32 - p->bits);
	for (i = 0; i < 4; i++)
		p->addr[i] = (u8)(addr >> (24 - 8 * i));
}

/* The same of IPv6, roughly; networks begin with 2001 and a number below `networks`. */
static const struct {
	u32 bits, share;
} lengths6[] = { { 48, 470 }, { 32, 120 }, { 44, 100 }, { 40, 90 }, { 36, 40 }, { 29, 25 }, { 46, 25 }, { 47, 20 },
		 { 45, 15 },  { 42, 20 },  { 64, 20 },	{ 38, 10 }, { 33, 10 }, { 34, 10 }, { 56, 10 }, { 128, 10 }, { 30, 5 } };

static void random_address6(u8 *addr, u32 networks)
{
	u32 w = ((u32)random32() & (networks - 1)) << 16 | 0x0120, w2 = (u32)random32() & 0x03030f0f;

	memset(addr, 0, 16);
	memcpy(addr, &w, 4);
	memcpy(addr + 4, &w2, 4);
}

static void random_prefix6(struct prefix *p, u32 networks)
{
	u32 pick = (u32)(random32() * 1000 >> 32), i = 0;

	while (i + 1 < ARRAY_SIZE(lengths6) && pick >= lengths6[i].share)
		pick -= lengths6[i++].share;
	p->bits = lengths6[i].bits;
	random_address6(p->addr, networks);
}

static double lpm6_ferry(struct map *m, u32 n, u32 networks)
{
	double start = now_on_cpu();
	struct prefix key = { .bits = 128 };
	u64 sum = 0;
	u32 i;

	for (i = 0; i < n; i++) {
		u64 *v;

		random_address6(key.addr, networks);
		v = m->ops->lookup(m, &key);
		sum += v ? *v : 0;
	}
	return (now_on_cpu() - start) / n + (sum == 1);
}

static double lpm_ferry(struct map *m, u32 n)
{
	double start = now_on_cpu();
	u64 sum = 0;
	u32 i;

	for (i = 0; i < n; i++) {
		u32 key[2] = { 32, (u32)random32() };
		u64 *v = m->ops->lookup(m, key);

		sum += v ? *v : 0;
	}
	return (now_on_cpu() - start) / n + (sum == 1);
}

/* `networks`: of IPv6, a power of two; 0: IPv4. */
static void lpm_row(u32 prefixes, u32 networks)
{
	u32 size = networks ? 20 : 8;
	struct map *m = ferry_map(BPF_MAP_TYPE_LPM_TRIE, size, prefixes, BPF_F_NO_PREALLOC);
	int kmap = kernel_map_flags(BPF_MAP_TYPE_LPM_TRIE, size, 8, prefixes, BPF_F_NO_PREALLOC), prog, r;
	double ferry[ROUNDS], kernel[ROUNDS], start, fill_ferry = 0, fill_kernel = 0;
	u32 i;

	if (!m)
		return;
	for (i = 0; i < prefixes; i++) {
		struct prefix p;
		u64 v = i;

		if (networks)
			random_prefix6(&p, networks);
		else
			random_prefix(&p);
		start = now_on_cpu();
		m->ops->update(m, &p, &v, 0);
		fill_ferry += now_on_cpu() - start;
		if (kmap < 0)
			continue;
		start = now_on_cpu();
		kernel_update(kmap, &p, &v, 0);
		fill_kernel += now_on_cpu() - start;
	}
	prog = kmap < 0 ? -1 : networks ? kernel_prog(KERNEL_LPM6, kmap, 20, networks) : kernel_prog(KERNEL_LPM, kmap, 8, 1);
	for (r = 0; r < ROUNDS; r++) {
		ferry[r] = networks ? lpm6_ferry(m, 50000, networks) : lpm_ferry(m, 50000);
		kernel[r] = prog >= 0 ? kernel_run(prog, 50) / KERNEL_LOOP : 0;
	}
	printf("lookup %16s %9u %9.1f", "", prefixes, median(ferry, ROUNDS));
	if (prog >= 0)
		printf(" %9.1f %6.2f", median(kernel, ROUNDS), ferry[ROUNDS / 2] / kernel[ROUNDS / 2]);
	printf("\nadded by a client %5s %9u %9.1f", "", prefixes, fill_ferry / prefixes);
	if (kmap >= 0)
		printf(" %9.1f %6.2f", fill_kernel / prefixes, fill_ferry / fill_kernel);
	printf("\n");
	map_put(m);
	close(prog);
	close(kmap);
}

/* ---- memory ------------------------------------------------------------------------------------ */

static void memory_row(const char *name, u32 type, u32 key_size, u32 entries, u32 flags)
{
	struct map *m = ferry_map(type, key_size, entries, flags);
	int kmap = kernel_map_flags(type, key_size, 8, entries, flags);
	u64 values[256] = { 0 };
	struct stat st;
	u32 i;

	if (!m)
		return;
	for (i = 0; i < entries; i++) {
		u64 key[8] = { i };

		if (type == BPF_MAP_TYPE_LPM_TRIE)
			key[0] = (u64)__builtin_bswap32(i) << 32 | 32;
		map_update_user(m, key, values, 0);
		if (kmap >= 0)
			kernel_update(kmap, key, values, 0);
	}
	printf("%-22s %4u %9u", name, key_size, entries);
	if (!fstat(m->fd, &st))
		printf(" %9.1f", (double)st.st_blocks * 512 / entries);
	if (kmap >= 0)
		printf(" %9.1f %6.2f", (double)kernel_memlock(kmap) / entries,
		       (double)st.st_blocks * 512 / (double)kernel_memlock(kmap));
	printf("\n");
	map_put(m);
	close(kmap);
}

int main(int argc, char **argv)
{
	u32 n = argc > 1 ? (u32)strtoul(argv[1], NULL, 0) : 100000;

	printf("%-22s %7s %8s %8s %7s %9s %7s %6s\n", "a cache, ns and hits", "room", "keys", "ferry", "hits",
	       "kernel", "hits", "ratio");
	cache_row("lru", BPF_MAP_TYPE_LRU_HASH, 10000, 100000, 0);
	cache_row("lru", BPF_MAP_TYPE_LRU_HASH, 10000, 1000000, 0);
	cache_row("lru, no common list", BPF_MAP_TYPE_LRU_HASH, 10000, 100000, BPF_F_NO_COMMON_LRU);
	cache_row("lru per CPU", BPF_MAP_TYPE_LRU_PERCPU_HASH, 10000, 100000, 0);
	printf("\n%-23s %9s %9s %9s %6s\n", "IPv4 prefixes, ns", "prefixes", "ferry", "kernel", "ratio");
	lpm_row(10000, 0);
	lpm_row(1000000, 0);
	printf("\nIPv6 prefixes\n");
	lpm_row(10000, 1024);
	lpm_row(200000, 16384);
	printf("\n%-22s %4s %9s %9s %9s %6s\n", "bytes an entry", "key", "entries", "ferry", "kernel", "ratio");
	memory_row("hash", BPF_MAP_TYPE_HASH, 4, n, 0);
	memory_row("hash", BPF_MAP_TYPE_HASH, 64, n, 0);
	memory_row("hash, not preallocated", BPF_MAP_TYPE_HASH, 8, n, BPF_F_NO_PREALLOC);
	memory_row("percpu hash", BPF_MAP_TYPE_PERCPU_HASH, 8, n, 0);
	memory_row("lru", BPF_MAP_TYPE_LRU_HASH, 8, n, 0);
	memory_row("array", BPF_MAP_TYPE_ARRAY, 4, n, 0);
	memory_row("percpu array", BPF_MAP_TYPE_PERCPU_ARRAY, 4, n, 0);
	memory_row("lpm", BPF_MAP_TYPE_LPM_TRIE, 8, n, BPF_F_NO_PREALLOC);
	return 0;
}
