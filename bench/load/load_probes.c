/* SPDX-License-Identifier: MIT */
/*
 * An ordinary client of libbpf, started with `ferry exec` or without: counts calls of functions of a process and system
 * calls until the end of stdin, then prints the numbers.
 *   load_probes OBJECT ONLY PID BINARY NAME...    a NAME with ':' in front is a system call's
 * ONLY is the process that the program counts, 0: all.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define MOST 16 /* as the map has */

static struct bpf_link *attach(struct bpf_object *obj, const char *binary, int pid, const char *name, int i)
{
	LIBBPF_OPTS(bpf_uprobe_opts, on_function, .func_name = name, .bpf_cookie = i);
	LIBBPF_OPTS(bpf_tracepoint_opts, on_call, .bpf_cookie = i);
	char event[64];

	if (name[0] != ':')
		return bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(obj, "entered"), pid, binary, 0,
						       &on_function);
	snprintf(event, sizeof(event), "sys_enter_%s", name + 1);
	return bpf_program__attach_tracepoint_opts(bpf_object__find_program_by_name(obj, "called"), "syscalls", event,
						   &on_call);
}

int main(int argc, char **argv)
{
	struct bpf_link *links[MOST];
	struct bpf_object *obj;
	struct bpf_map *ro;
	unsigned int only, i, n;
	unsigned long long hits;
	size_t size;
	char c;

	/* The kernel's events may want to be mounted first; under ferry exec they are there. */
	if (access("/sys/kernel/tracing/events/syscalls", F_OK) && !unshare(CLONE_NEWNS) &&
	    !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	if (argc < 6 || argc - 5 > MOST)
		return 2;
	obj = bpf_object__open_file(argv[1], NULL);
	ro = obj ? bpf_object__find_map_by_name(obj, ".rodata") : NULL;
	only = (unsigned int)atoi(argv[2]);
	if (!ro || !bpf_map__initial_value(ro, &size) || bpf_map__set_initial_value(ro, &only, sizeof(only)) ||
	    bpf_object__load(obj))
		return 1;
	n = (unsigned int)argc - 5;
	for (i = 0; i < n; i++) {
		links[i] = attach(obj, argv[4], atoi(argv[3]), argv[5 + i], (int)i);
		if (!links[i]) {
			printf("%s: %s\n", argv[5 + i], strerror(errno));
			return 1;
		}
	}
	puts("attached");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	for (i = 0; i < n; i++) {
		bpf_link__destroy(links[i]);
		if (bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "hits"), &i, &hits))
			return 1;
		printf("%llu ", hits);
	}
	putchar('\n');
	bpf_object__close(obj);
	return 0;
}
