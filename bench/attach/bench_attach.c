/* SPDX-License-Identifier: MIT */
/*
 * What a hit of an uprobe and an uretprobe costs: Ferry's against the kernel's, with the same object file, in the same
 * run. The best of many short rounds, since whatever else runs only adds.
 *   bench_attach hits.bpf.o
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <ferry/ferry.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALLS 1000
#define ROUNDS 100

__attribute__((noinline, noclone)) int target(int a, int b);
int target(int a, int b)
{
	volatile int x[2] = { a, b };

	return x[0] + x[1];
}

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
			target(i, k);
		start = (now() - start) / CALLS;
		if (start < best)
			best = start;
		ring_buffer__consume(rb);
	}
	return best;
}

static int find(struct dl_phdr_info *info, size_t size, void *arg)
{
	unsigned long *at = arg, rel = *at - info->dlpi_addr;
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD && rel - ph->p_vaddr < ph->p_memsz) {
			*at = rel - ph->p_vaddr + ph->p_offset;
			return 1;
		}
	}
	return 0;
}

static int ignore(void *ctx, void *data, size_t size)
{
	(void)ctx;
	(void)data;
	(void)size;
	return 0;
}

static const struct {
	const char *prog, *name;
	bool ret;
} cases[] = {
	{ "count", "uprobe, counter", false },
	{ "record", "uprobe, ring buffer record", false },
	{ "count", "uretprobe, counter", true },
	{ "record", "uretprobe, ring buffer record", true },
};
#define NCASES (sizeof(cases) / sizeof(cases[0]))

static int run(const char *file, double *out)
{
	unsigned long offset = (unsigned long)target;
	struct bpf_object *obj = bpf_object__open_file(file, NULL);
	struct ring_buffer *rb;
	double base;
	size_t i;

	dl_iterate_phdr(find, &offset);
	if (!obj || bpf_object__load(obj))
		return -1;
	rb = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "records"), ignore, NULL, NULL);
	base = measure(rb);
	for (i = 0; i < NCASES; i++) {
		LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = cases[i].ret);
		struct bpf_link *l = bpf_program__attach_uprobe_opts(
			bpf_object__find_program_by_name(obj, cases[i].prog), 0, "/proc/self/exe", offset, &opts);

		if (!l)
			return -1;
		out[i] = measure(rb) - base;
		bpf_link__destroy(l);
	}
	ring_buffer__free(rb);
	bpf_object__close(obj);
	return 0;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* In a child, which alone has FERRY=off. */
static int run_apart(char *self, const char *file, double *out)
{
	int fds[2], status;
	pid_t pid;

	if (pipe(fds))
		return -1;
	pid = fork();
	if (!pid) {
		char *const argv[] = { self, (char *)file, "kernel", NULL };

		dup2(fds[1], 3);
		setenv("FERRY", "off", 1);
		execv("/proc/self/exe", argv);
		_exit(1);
	}
	close(fds[1]);
	if (read(fds[0], out, NCASES * sizeof(*out)) != (ssize_t)(NCASES * sizeof(*out)))
		status = -1;
	close(fds[0]);
	waitpid(pid, &status, 0);
	return status;
}

int main(int argc, char **argv)
{
	double ours[NCASES], kernel[NCASES];
	bool have_kernel;
	size_t i;

	if (argc < 2)
		return 2;
	libbpf_set_print(quiet);
	if (ferry_hook()) /* does nothing with FERRY=off */
		return 1;
	if (argc > 2)
		return run(argv[1], ours) || write(3, ours, sizeof(ours)) != (ssize_t)sizeof(ours);
	if (run(argv[1], ours)) {
		fprintf(stderr, "bench_attach: probes cannot be attached: %s\n", strerror(errno));
		return 1;
	}
	have_kernel = !run_apart(argv[0], argv[1], kernel);
	printf("%-32s %10s %10s %8s\n", "a hit", "ferry ns", "kernel ns", "ratio");
	for (i = 0; i < NCASES; i++)
		if (have_kernel)
			printf("%-32s %10.1f %10.1f %8.4f\n", cases[i].name, ours[i], kernel[i], ours[i] / kernel[i]);
		else
			printf("%-32s %10.1f %10s %8s\n", cases[i].name, ours[i], "-", "-");
	return 0;
}
