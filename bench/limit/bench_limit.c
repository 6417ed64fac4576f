/* SPDX-License-Identifier: MIT */
/* What budgets and guarded native calls cost: each program without limits and with. bench_limit limit.bpf.o */
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 11
#define RUNS 100

static int bench_native(int x)
{
	__asm__("");
	return x;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_double(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return d < 0 ? -1 : d > 0;
}

static double measure(int fd)
{
	double v[ROUNDS], t;
	uint64_t ctx, ret;

	for (int r = 0; r < ROUNDS; r++) {
		t = now();
		for (int i = 0; i < RUNS; i++)
			ferry_prog_run(fd, &ctx, sizeof(ctx), &ret);
		v[r] = (now() - t) / RUNS;
	}
	qsort(v, ROUNDS, sizeof(*v), by_double);
	return v[ROUNDS / 2];
}

int main(int argc, char **argv)
{
	static const struct ferry_func funcs[] = { FERRY_FUNC("int bench_native(int x)", bench_native) };
	static const struct ferry_module mod = { sizeof(mod), "bench_limit", NULL, funcs, 1 };
	static const struct {
		const char *prog, *what;
		struct ferry_limits l;
		double turns;
	} rows[] = {
		{ "tight", "an empty loop, instructions", { sizeof(rows[0].l), 1u << 30, 0, 0, 0 }, 10000 },
		{ "tight", "an empty loop, instructions and time", { sizeof(rows[0].l), 1u << 30, 1u << 30, 0, 0 }, 10000 },
		{ "work", "a loop of 40 instructions, both", { sizeof(rows[0].l), 1u << 30, 1u << 30, 0, 0 }, 2000 },
		{ "native", "native calls, guarded", { sizeof(rows[0].l), 0, 0, 0, FERRY_FAULT_ERROR }, 1000 },
		{ "native", "native calls, time", { sizeof(rows[0].l), 0, 1u << 30, 0, 0 }, 1000 },
	};
	struct bpf_object *o;

	if (argc < 2 || ferry_module_register(&mod))
		return 1;
	o = bpf_object__open_file(argv[1], NULL);
	if (!o || bpf_object__load(o))
		return 1;
	printf("%-40s %8s %8s %6s\n", "ns a turn", "without", "with", "ratio");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = bpf_program__fd(bpf_object__find_program_by_name(o, rows[i].prog));
		double without, with;

		ferry_prog_limit(fd, NULL);
		without = measure(fd) / rows[i].turns;
		if (ferry_prog_limit(fd, &rows[i].l))
			return 1;
		with = measure(fd) / rows[i].turns;
		printf("%-40s %8.2f %8.2f %6.2f\n", rows[i].what, without, with, with / without);
	}
	bpf_object__close(o);
	return 0;
}
