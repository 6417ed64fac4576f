/* SPDX-License-Identifier: MIT */
/*
 * What programs add to a system call: Ferry's events against the kernel's tracepoints, with the same object file, in
 * the same run, by turns. The best of many short rounds, since whatever else runs only adds.
 *   bench_calls calls.bpf.o
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <ferry/ferry.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "apart.h"

#define CALLS 1000
#define ROUNDS 200

static const struct {
	const char *name;
	const char *progs[2];
} cases[] = {
	{ "syscalls:sys_enter_X, counter", { "tp_enter" } },
	{ "syscalls:sys_enter_X and exit, counter", { "tp_enter", "tp_exit" } },
	{ "raw_syscalls:sys_enter, counter", { "all_enter" } },
	{ "raw tracepoint sys_enter, counter", { "raw_enter" } },
	{ "raw tracepoints sys_enter, sys_exit", { "raw_enter", "raw_exit" } },
	{ "syscalls:sys_enter_X, ring buffer record", { "record" } },
	{ "another call's event", { "other" } },
	{ "another process meant", { "filter" } },
};
#define NCASES (sizeof(cases) / sizeof(cases[0]))

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Nanoseconds a call; the ring buffer is emptied between rounds. */
static double measure(struct ring_buffer *rb)
{
	double best = 1e9, start;
	int i, k;

	for (k = 0; k < ROUNDS; k++) {
		start = now();
		for (i = 0; i < CALLS; i++)
			getppid();
		start = (now() - start) / CALLS;
		if (start < best)
			best = start;
		if (rb)
			ring_buffer__consume(rb);
	}
	return best;
}

static int ignore(void *ctx, void *data, size_t size)
{
	(void)ctx;
	(void)data;
	(void)size;
	return 0;
}

/* The last number is that of a call with nothing attached. */
static int run(const char *file, double out[NCASES + 1])
{
	struct bpf_object *obj = bpf_object__open_file(file, NULL);
	struct bpf_link *links[2];
	struct ring_buffer *rb;
	double base, with;
	size_t i, k;

	if (!obj || bpf_object__load(obj))
		return -1;
	rb = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "records"), ignore, NULL, NULL);
	for (i = 0; i < NCASES; i++) {
		base = measure(rb);
		for (k = 0; k < 2 && cases[i].progs[k]; k++) {
			links[k] = bpf_program__attach(bpf_object__find_program_by_name(obj, cases[i].progs[k]));
			if (!links[k])
				return -1;
		}
		with = measure(rb);
		while (k-- > 0)
			bpf_link__destroy(links[k]);
		with -= base;
		/* The base may have been disturbed; what is behind may not. */
		base = measure(rb) - base;
		out[i] = base < 0 ? with - base : with;
	}
	out[NCASES] = measure(NULL);
	ring_buffer__free(rb);
	bpf_object__close(obj);
	return 0;
}

int main(int argc, char **argv)
{
	double ours[NCASES + 1], kernel[NCASES + 1];
	bool have_kernel;
	size_t i;

	if (argc < 2)
		return 2;
	libbpf_set_print(quiet);
	if (ferry_hook()) /* does nothing with FERRY=off */
		return 1;
	if (argc > 2 && access("/sys/kernel/tracing/events", F_OK) && !unshare(CLONE_NEWNS) &&
	    !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	if (argc > 2)
		return run(argv[1], ours) || !tell_apart(ours, NCASES + 1);
	if (run(argv[1], ours)) {
		fprintf(stderr, "bench_calls: programs cannot be attached: %s\n", strerror(errno));
		return 1;
	}
	have_kernel = run_apart(argv[0], argv[1], kernel, NCASES + 1);
	printf("a system call alone takes %.1f ns, in a process without Ferry %.1f ns\n", ours[NCASES],
	       have_kernel ? kernel[NCASES] : 0);
	printf("%-42s %10s %10s %8s\n", "added by", "ferry ns", "kernel ns", "ratio");
	for (i = 0; i < NCASES; i++)
		if (have_kernel)
			printf("%-42s %10.1f %10.1f %8.3f\n", cases[i].name, ours[i], kernel[i],
			       ours[i] / kernel[i]);
		else
			printf("%-42s %10.1f %10s %8s\n", cases[i].name, ours[i], "-", "-");
	return 0;
}
