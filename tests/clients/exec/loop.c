/* SPDX-License-Identifier: MIT */
/* loop OBJECT: opens, loads and attaches with libbpf, then waits until the program was hit. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct perf_event_attr attr = { .size = sizeof(attr),
					.type = PERF_TYPE_SOFTWARE,
					.config = PERF_COUNT_SW_CPU_CLOCK,
					.sample_freq = 500,
					.freq = 1 };
	struct bpf_object *obj = argc == 2 ? bpf_object__open_file(argv[1], NULL) : NULL;
	unsigned long long hits = 0;
	struct bpf_program *prog;
	struct bpf_link *link;
	unsigned int key = 0;
	int fd, map, i;

	if (!obj || bpf_object__load(obj))
		return 1;
	prog = bpf_object__next_program(obj, NULL);
	fd = (int)syscall(__NR_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	link = bpf_program__attach_perf_event(prog, fd);
	if (!link)
		return 1;
	map = bpf_object__find_map_fd_by_name(obj, ".bss");
	for (i = 0; i < 1000 && hits < 5; i++) {
		usleep(10000);
		bpf_map_lookup_elem(map, &key, &hits);
	}
	printf("%s\n", hits >= 5 ? "ticking" : "silent");
	bpf_link__destroy(link);
	bpf_object__close(obj);
	return 0;
}
