/* SPDX-License-Identifier: MIT */
/*
 * Functions of a real library are probed and restored, all of them and again random ones, while threads use
 * it: what they compute stays right, and in the end its code is byte for byte what it was.
 *   stress crypto|sqlite|python|python-own [--seed N] [--seconds N | --forever]
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "library.h"
#include "stress.h"

static const struct workload *const workloads[] = { &workload_crypto, &workload_sqlite, &workload_python,
						   &workload_python_own };

static u64 seed = 1;
static _Atomic bool stop;
static _Atomic u64 rounds;
static u64 hits;
static int number;

static u32 rnd(u32 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (u32)(seed >> 32) % n;
}

static void result(bool good, const char *name)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++number, name);
	if (!good)
		exit(1);
}

static void count(struct pt_regs *regs, void *arg)
{
	(void)regs;
	__atomic_fetch_add((u64 *)arg, 1, __ATOMIC_RELAXED);
}

/* A hook that is not plain: nothing is left in the vector registers. */
static void clobber(struct pt_regs *regs, void *arg)
{
	count(regs, arg);
	if (__builtin_cpu_supports("avx2"))
		__asm__ volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0; vmovdqa %%ymm0, %%ymm1; vmovdqa %%ymm0, %%ymm2;"
				 "vmovdqa %%ymm0, %%ymm3; vmovdqa %%ymm0, %%ymm5; vmovdqa %%ymm0, %%ymm7;"
				 "vmovdqa %%ymm0, %%ymm8; vmovdqa %%ymm0, %%ymm11; vmovdqa %%ymm0, %%ymm15; vzeroupper"
				 ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm5", "xmm7", "xmm8", "xmm11", "xmm15");
}

static void *load(void *arg)
{
	const struct workload *w = arg;

	while (!stop) {
		if (!w->run()) {
			printf("Bail out! %s computes something else\n", w->name);
			fflush(stdout);
			abort();
		}
		rounds++;
	}
	return NULL;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct probe_spec spec_of(u64 addr, enum probe_kind kind)
{
	bool plain = rnd(4);

	return (struct probe_spec){ (const void *)(uintptr_t)addr, kind, plain ? PROBE_PLAIN : 0,
				    plain ? count : clobber, &hits };
}

/* What cannot be probed is left out: those that say why. */
static size_t keep_probeable(struct library *l, const char *name)
{
	struct probe_spec spec;
	struct text why = { 0 };
	size_t i, n = 0, jumps = 0;
	struct probe *p;

	for (i = 0; i < l->n; i++) {
		spec = spec_of(l->funcs[i], PROBE_RETURN);
		if (probe_add(&spec, 1, &p, &why)) {
			printf("# %s\n", text_str(&why));
			text_reset(&why);
			continue;
		}
		jumps += probe_how(p) == PROBE_JUMP;
		probe_remove(&p, 1);
		l->funcs[n++] = l->funcs[i];
	}
	printf("# %s: %zu functions, %zu can be probed, %zu by jump\n", name, l->n, n, jumps);
	text_free(&why);
	l->n = n;
	return jumps;
}

static bool probe_some(const struct library *l, size_t n, struct probe_spec *specs, struct probe **probes)
{
	struct text why = { 0 };
	size_t i;

	for (i = 0; i < n; i++)
		specs[i] = spec_of(l->funcs[n == l->n ? i : rnd((u32)l->n)], rnd(2) ? PROBE_ENTRY : PROBE_RETURN);
	if (probe_add(specs, n, probes, &why)) {
		printf("# %s\n", text_str(&why));
		text_free(&why);
		return false;
	}
	usleep(rnd(20000));
	probe_remove(probes, n);
	return true;
}

static void stress(struct library *l, const struct workload *w, double seconds)
{
	struct probe_spec *specs = calloc(l->n, sizeof(*specs));
	struct probe **probes = calloc(l->n, sizeof(*probes));
	u64 added = 0, batches = 0, before;
	pthread_t threads[2];
	double end = now() + seconds;
	u32 i;

	for (i = 0; i < w->threads; i++)
		pthread_create(&threads[i], NULL, load, (void *)w);
	do {
		size_t n = batches % 4 ? 1 + rnd((u32)(l->n / 4)) : l->n;

		if (!probe_some(l, n, specs, probes))
			result(false, "every batch can be added");
		added += n;
		batches++;
	} while (now() < end || batches < 4);
	/* With all of them in place something of the workload is done. */
	for (i = 0; i < l->n; i++)
		specs[i] = spec_of(l->funcs[i], i & 1 ? PROBE_ENTRY : PROBE_RETURN);
	if (probe_add(specs, l->n, probes, NULL))
		result(false, "all can be added");
	for (before = rounds; rounds < before + w->rounds;)
		usleep(1000);
	probe_remove(probes, l->n);
	stop = true;
	for (i = 0; i < w->threads; i++)
		pthread_join(threads[i], NULL);
	printf("# %llu probes in %llu batches, %llu hits in %llu rounds\n", (unsigned long long)added,
	       (unsigned long long)batches, (unsigned long long)hits, (unsigned long long)rounds);
	result(rounds > 0 && hits > 0, "what is computed under probes that come and go stays right");
	free(specs);
	free(probes);
}

int main(int argc, char **argv)
{
	struct library *l = calloc(1, sizeof(*l));
	const struct workload *w = NULL;
	double seconds = 4;
	u8 *before;
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--seed") && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 0) | 1;
		else if (!strcmp(argv[i], "--seconds") && i + 1 < argc)
			seconds = atof(argv[++i]);
		else if (!strcmp(argv[i], "--forever"))
			seconds = 1e12;
		for (size_t k = 0; k < ARRAY_SIZE(workloads); k++)
			if (!strcmp(argv[i], workloads[k]->name))
				w = workloads[k];
	}
	if (!w)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!w->start()) {
		printf("1..0 # SKIP %s is not here\n", w->library);
		return 0;
	}
	printf("1..3\n");
	if (!library_find(l, w->library) || (w->rounds > 1 && !w->run()))
		result(false, "the library works");
	before = malloc(l->text_end - l->text);
	memcpy(before, (void *)l->text, l->text_end - l->text);
	result(keep_probeable(l, w->name) * 10 > l->n * 8, "most functions can be probed by jump");
	stress(l, w, seconds);
	result(!memcmp(before, (void *)l->text, l->text_end - l->text), "the code is what it was");
	free(before);
	free(l);
	return 0;
}
