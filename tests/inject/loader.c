/* SPDX-License-Identifier: MIT */
/* An ordinary client of libbpf: loader OBJECT attaches its program, says "attached", and a line PID gets its count. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc > 1 ? bpf_object__open_file(argv[1], NULL) : NULL;
	unsigned long long n;
	struct bpf_link *link;
	unsigned int pid;
	char line[64];

	if (!obj || bpf_object__load(obj))
		return 3;
	link = bpf_program__attach(bpf_object__next_program(obj, NULL));
	printf(link ? "attached\n" : "refused %d\n", errno);
	fflush(stdout);
	while (link && fgets(line, sizeof(line), stdin)) {
		pid = (unsigned int)atoi(line);
		n = 0;
		bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "getppids"), &pid, &n);
		printf("%llu\n", n);
		fflush(stdout);
	}
	bpf_link__destroy(link);
	bpf_object__close(obj);
	return 0;
}
