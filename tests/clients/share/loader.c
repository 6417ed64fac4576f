/* SPDX-License-Identifier: MIT */
/*
 * An ordinary client of libbpf: loader OBJECT PROGRAM BINARY SYMBOL PID [COOKIE] (or, for maps that another one
 * pinned, loader pinned CALLS RECORDS, which says "opened") puts a program on a
 * function of a process (-1: of any), says "attached" or the error, then answers lines of stdin:
 * "count PID" with the map's number, "read" with the ring
 * buffer's records and "samples" with the perf buffers', waiting for some seconds, "jump NAME" after putting that program
 * (or none) into the prog array, "pin PATH", "unpin" and "destroy" with what that did to the link.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct record {
	unsigned int pid, ret;
	unsigned long long arg, cookie;
};

static int show(void *ctx, void *data, size_t size)
{
	struct record *r = data;

	(void)ctx;
	if (size >= sizeof(*r))
		printf("%u %s %llu %llu\n", r->pid, r->ret ? "returned" : "entered", r->arg, r->cookie);
	return 0;
}

/* What is behind the word with its size is aligned to 4 bytes (perf_event_open(2), PERF_SAMPLE_RAW). */
static void sample(void *ctx, int cpu, void *data, __u32 size)
{
	struct record r;

	(void)ctx;
	(void)cpu;
	if (size < sizeof(r))
		return;
	memcpy(&r, data, sizeof(r));
	printf("%u output %llu %llu\n", r.pid, r.arg, r.cookie);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void serve(struct bpf_object *obj, int calls, struct ring_buffer *rb, struct perf_buffer *pb, struct bpf_link **link)
{
	int jumps = obj ? bpf_object__find_map_fd_by_name(obj, "jumps") : -1, fd;
	unsigned long long n;
	unsigned int key;
	char line[64], name[32];
	double start;

	while (rb && fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "count %u", &key) == 1) {
			n = 0;
			bpf_map_lookup_elem(calls, &key, &n);
			printf("%llu\n", n);
		} else if (!strncmp(line, "read", 4)) {
			start = now();
			/* epoll_wait(2) inside: it has to wake up by itself. */
			ring_buffer__poll(rb, 5000);
			while (ring_buffer__poll(rb, 0) > 0)
				;
			printf("%s\n", now() - start < 4 ? "woken" : "late");
		} else if (!strncmp(line, "samples", 7)) {
			start = now();
			perf_buffer__poll(pb, 5000);
			while (perf_buffer__poll(pb, 0) > 0)
				;
			perf_buffer__consume(pb);
			printf("%s\n", now() - start < 4 ? "woken" : "late");
		} else if (sscanf(line, "jump %31s", name) == 1) {
			key = 1;
			fd = bpf_program__fd(bpf_object__find_program_by_name(obj, name));
			printf("%d\n", fd < 0 ? bpf_map_delete_elem(jumps, &key)
					      : bpf_map_update_elem(jumps, &key, &fd, BPF_ANY));
		} else if (sscanf(line, "pin %31s", name) == 1) {
			printf("%d\n", bpf_link__pin(*link, name));
		} else if (!strncmp(line, "unpin", 5)) {
			printf("%d\n", bpf_link__unpin(*link));
		} else if (!strncmp(line, "destroy", 7)) {
			printf("%d\n", bpf_link__destroy(*link));
			*link = NULL;
		} else {
			return;
		}
		fflush(stdout);
	}
}

static int serve_pinned(const char *calls, const char *records)
{
	struct ring_buffer *rb = ring_buffer__new(bpf_obj_get(records), show, NULL, NULL);

	printf("%s\n", rb ? "opened" : "refused");
	fflush(stdout);
	serve(NULL, bpf_obj_get(calls), rb, NULL, NULL);
	return 0;
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts);
	struct bpf_program *p;
	struct bpf_object *obj;
	struct ring_buffer *rb;
	struct perf_buffer *pb = NULL;
	struct bpf_link *link;
	double start;

	if (argc == 4 && !strcmp(argv[1], "pinned"))
		return serve_pinned(argv[2], argv[3]);
	if (argc < 6)
		return 2;
	obj = bpf_object__open_file(argv[1], NULL);
	if (!obj || bpf_object__load(obj)) { /* libbpf says why not always: not when it has no descriptor to open with */
		fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
		return 3;
	}
	rb = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "records"), show, NULL, NULL);
	if (bpf_object__find_map_by_name(obj, "events"))
		pb = perf_buffer__new(bpf_object__find_map_fd_by_name(obj, "events"), 8, sample, NULL, NULL, NULL);
	p = bpf_object__find_program_by_name(obj, argv[2]);
	opts.func_name = argv[4];
	opts.retprobe = !strcmp(argv[2], "returned");
	opts.bpf_cookie = argc > 6 ? strtoull(argv[6], NULL, 0) : 0;
	start = now();
	link = bpf_program__attach_uprobe_opts(p, atoi(argv[5]), argv[3], 0, &opts);
	if (link)
		printf("attached %.0f us\n", (now() - start) * 1e6);
	else
		printf("refused %d\n", errno);
	fflush(stdout);
	if (link)
		serve(obj, bpf_object__find_map_fd_by_name(obj, "calls"), rb, pb, &link);
	bpf_link__destroy(link);
	bpf_object__close(obj);
	return 0;
}
