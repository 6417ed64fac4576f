/* SPDX-License-Identifier: MIT */
/*
 * An ordinary client of libbpf: loader OBJECT PROGRAM BINARY SYMBOL PID puts a program on a function of a process and
 * answers lines of stdin: "put SLOT PROGRAM", "drop SLOT" (the prog array), "inner MAP" (the array of maps),
 * "count N", "inside MAP", "read" (the perf buffer), "stack ADDRESS" (is it in a trace?).
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct bpf_object *obj;
static struct perf_buffer *pb;

static int map(const char *name)
{
	return bpf_object__find_map_fd_by_name(obj, name);
}

static void on_sample(void *sum, int cpu, void *data, unsigned int size)
{
	unsigned long long words[2]; /* aligned to 4 bytes there (perf_event_open(2), PERF_SAMPLE_RAW) */

	(void)cpu;
	if (size < sizeof(words))
		return;
	memcpy(words, data, sizeof(words));
	*(unsigned long long *)sum += words[1];
}

static long long elem(const char *name, unsigned int key)
{
	unsigned long long n = 0;

	return bpf_map_lookup_elem(map(name), &key, &n) ? -errno : (long long)n;
}

/* Is there a frame within 64 bytes behind this address? */
static int traced(unsigned long long at)
{
	unsigned long long ips[127];
	unsigned int key, *prev = NULL;

	while (!bpf_map_get_next_key(map("stacks"), prev, &key)) {
		prev = &key;
		memset(ips, 0, sizeof(ips));
		if (bpf_map_lookup_elem(map("stacks"), &key, ips))
			continue;
		for (int i = 0; i < 127 && ips[i]; i++)
			if (ips[i] - at < 64)
				return 1;
	}
	return 0;
}

static long long answer(const char *line, unsigned long long *sum)
{
	unsigned int slot, zero = 0;
	unsigned long long at;
	char what[32];
	int fd, n, got = 0;

	if (sscanf(line, "put %u %31s", &slot, what) == 2) {
		fd = bpf_program__fd(bpf_object__find_program_by_name(obj, what));
		return bpf_map_update_elem(map("progs"), &slot, &fd, 0) ? -errno : 0;
	}
	if (sscanf(line, "drop %u", &slot) == 1)
		return bpf_map_delete_elem(map("progs"), &slot) ? -errno : 0;
	if (sscanf(line, "inner %31s", what) == 1) {
		fd = map(what);
		return bpf_map_update_elem(map("outer"), &zero, &fd, 0) ? -errno : 0;
	}
	if (sscanf(line, "count %u", &slot) == 1)
		return elem("counts", slot);
	if (sscanf(line, "inside %31s", what) == 1)
		return elem(what, 0);
	if (sscanf(line, "stack %llx", &at) == 1)
		return traced(at);
	if (!strncmp(line, "read", 4)) {
		*sum = 0;
		/* The first by being woken. */
		for (n = perf_buffer__poll(pb, 5000); n > 0; n = perf_buffer__poll(pb, 50))
			got++;
		return got ? (long long)*sum : -ETIMEDOUT;
	}
	return -EINVAL;
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts);
	unsigned long long sum = 0;
	struct bpf_link *link;
	char line[64];

	if (argc < 6)
		return 2;
	obj = bpf_object__open_file(argv[1], NULL);
	if (!obj || bpf_object__load(obj))
		return 3;
	pb = perf_buffer__new(map("events"), 8, on_sample, NULL, &sum, NULL);
	opts.func_name = argv[4];
	link = bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(obj, argv[2]), atoi(argv[5]), argv[3], 0, &opts);
	if (link)
		printf("attached\n");
	else
		printf("refused %d\n", errno);
	fflush(stdout);
	while (link && fgets(line, sizeof(line), stdin)) {
		printf("%lld\n", answer(line, &sum));
		fflush(stdout);
	}
	bpf_link__destroy(link);
	perf_buffer__free(pb);
	bpf_object__close(obj);
	return 0;
}
