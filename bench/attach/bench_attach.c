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
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../tests/clients/usdt/note.h"
#include "../../tests/file_offset.h"
#include "apart.h"

#define CALLS 500
#define ROUNDS 60

__attribute__((noinline, noclone)) int target(int a, int b);
int target(int a, int b)
{
	volatile int x[2] = { a, b };

	return x[0] + x[1];
}

/* Five bytes that do nothing, which the kernel patches to a call as well; and a function too short for a jump. */
int on_nop(int a, int b);
int tiny(int a, int b);
__asm__(".text\n.p2align 4\n.globl on_nop\n.type on_nop, @function\non_nop:\n.cfi_startproc\n.byte 0x0f, 0x1f, 0x44, 0, 0\n"
	"lea (%rdi,%rsi), %eax\nret\n.cfi_endproc\n.size on_nop, . - on_nop\n"
	".globl tiny\n.type tiny, @function\ntiny:\n.cfi_startproc\nlea (%rdi,%rsi), %eax\nret\n.cfi_endproc\n.size tiny, . - tiny\n"
	".type behind_tiny, @function\nbehind_tiny:\n.cfi_startproc\nlea 1(%rdi), %eax\nret\n.cfi_endproc\n");

__attribute__((noinline, noclone)) int with_note(int a, int b);
int with_note(int a, int b)
{
	__asm__ volatile(NOTE("hit", "-4@%%edi -4@%%esi") : : "D"(a), "S"(b));
	return a + b;
}

__attribute__((noinline, noclone)) int nested(int a, int b);
int nested(int a, int b)
{
	return target(a, b) + 1;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Nanoseconds a call; the ring buffer is emptied between rounds. */
static double measure(struct ring_buffer *rb, int (*fn)(int, int))
{
	double best = 1e9, start;
	int i, k;

	for (k = 0; k < ROUNDS; k++) {
		start = now();
		for (i = 0; i < CALLS; i++)
			fn(i, k);
		start = (now() - start) / CALLS;
		if (start < best)
			best = start;
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

/* `also`: another probe at the same time, on target(), which nested() calls. */
static const struct {
	const char *prog, *name;
	int (*fn)(int, int);
	bool ret;
	const char *also;
} cases[] = {
	{ "count", "uprobe, counter", target, false, NULL },
	{ "count", "uprobe on a 5-byte nop, counter", on_nop, false, NULL },
	{ "count_own", "uprobe, per-CPU counter", target, false, NULL },
	{ "count_by", "uprobe, counter in a hash", target, false, NULL },
	{ "count_own_by", "uprobe, per-CPU hash", target, false, NULL },
	{ "general", "uprobe, array update", target, false, NULL },
	{ "record", "uprobe, ring buffer record", target, false, NULL },
	{ "filter", "uprobe, another process meant", target, false, NULL },
	{ "noted", "USDT, two arguments, counter", with_note, false, NULL },
	{ "count", "uprobe by trap, counter", tiny, false, NULL },
	{ "count", "uretprobe, counter", target, true, NULL },
	{ "count", "uretprobe on a 5-byte nop", on_nop, true, NULL },
	{ "count_by", "uretprobe, counter in a hash", target, true, NULL },
	{ "record", "uretprobe, ring buffer record", target, true, NULL },
	{ "count", "uretprobes, one in another", nested, true, "count_own" },
};
#define NCASES (sizeof(cases) / sizeof(cases[0]))

static struct bpf_link *attach(struct bpf_object *obj, const char *prog, int (*fn)(int, int), bool ret)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = ret);

	if (fn == with_note)
		return bpf_program__attach_usdt(bpf_object__find_program_by_name(obj, prog), 0, "/proc/self/exe", "ferry", "hit",
						NULL);
	return bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(obj, prog), 0, "/proc/self/exe",
					       file_offset((const void *)fn), &opts);
}

static int run(const char *file, double *out)
{
	struct bpf_object *obj = bpf_object__open_file(file, NULL);
	struct bpf_link *l, *also;
	struct ring_buffer *rb;
	double base;
	size_t i;

	if (!obj || bpf_object__load(obj))
		return -1;
	rb = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "records"), ignore, NULL, NULL);
	for (i = 0; i < NCASES; i++) {
		base = measure(rb, cases[i].fn);
		l = attach(obj, cases[i].prog, cases[i].fn, cases[i].ret);
		also = cases[i].also ? attach(obj, cases[i].also, target, cases[i].ret) : NULL;
		if (!l || (cases[i].also && !also))
			return -1;
		out[i] = measure(rb, cases[i].fn) - base;
		bpf_link__destroy(also);
		bpf_link__destroy(l);
	}
	ring_buffer__free(rb);
	bpf_object__close(obj);
	return 0;
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
		return run(argv[1], ours) || !tell_apart(ours, NCASES);
	if (run(argv[1], ours)) {
		fprintf(stderr, "bench_attach: probes cannot be attached: %s\n", strerror(errno));
		return 1;
	}
	have_kernel = run_apart(argv[0], argv[1], kernel, NCASES);
	printf("%-32s %10s %10s %8s\n", "a hit", "ferry ns", "kernel ns", "ratio");
	for (i = 0; i < NCASES; i++)
		if (have_kernel)
			printf("%-32s %10.1f %10.1f %8.4f\n", cases[i].name, ours[i], kernel[i], ours[i] / kernel[i]);
		else
			printf("%-32s %10.1f %10s %8s\n", cases[i].name, ours[i], "-", "-");
	return 0;
}
