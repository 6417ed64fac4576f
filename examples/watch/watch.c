/* SPDX-License-Identifier: MIT */
/*
 * How long a function takes in a running process: plain libbpf, nothing of Ferry. As root it works with
 * the kernel's eBPF; under `ferry exec`, as anybody, with Ferry's.
 *   watch watch.bpf.o PID LIBRARY FUNCTION SECONDS
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ctype.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS 40
#define WIDTH 40

/* Is it the library's name, whatever its version? libz: libz.so.1, libz-ng.so.2, and not libzstd.so.1. */
static bool is_named(const char *path, const char *name)
{
	const char *base = strrchr(path, '/') + 1;
	size_t n = strlen(name);

	return !strncmp(base, name, n) && !isalpha((unsigned char)base[n]);
}

/* The first file of this name that the process has mapped. */
static bool find_file(int pid, const char *name, char out[PATH_MAX])
{
	char line[PATH_MAX + 128], *path;
	bool found = false;
	FILE *f;

	snprintf(line, sizeof(line), "/proc/%d/maps", pid);
	f = fopen(line, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		path = strchr(line, '/');
		if (!path || !is_named(path, name))
			continue;
		path[strcspn(path, "\n")] = '\0';
		found = snprintf(out, PATH_MAX, "%s", path) < PATH_MAX;
	}
	if (f)
		fclose(f);
	return found;
}

static struct bpf_link *attach(struct bpf_object *obj, const char *name, int pid, const char *file,
			       const char *function, bool ret)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = function, .retprobe = ret);

	return bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(obj, name), pid, file, 0,
					       &opts);
}

static void show(int map)
{
	unsigned long long count[SLOTS], most = 1, sum = 0;
	unsigned int i, first = SLOTS, last = 0;

	for (i = 0; i < SLOTS; i++) {
		if (bpf_map_lookup_elem(map, &i, &count[i]) || !count[i])
			continue;
		first = first < i ? first : i;
		last = i;
		sum += count[i];
		most = most > count[i] ? most : count[i];
	}
	printf("%llu calls\n", sum);
	for (i = first; sum && i <= last; i++)
		printf("%10llu ns .. %-10llu %8llu |%.*s\n", 1ull << i, 2ull << i, count[i],
		       (int)(count[i] * WIDTH / most), "****************************************");
}

int main(int argc, char **argv)
{
	struct bpf_link *in = NULL, *out = NULL;
	struct bpf_object *obj;
	char file[PATH_MAX];
	int pid, code = 1;

	if (argc != 6) {
		fprintf(stderr, "usage: watch watch.bpf.o PID LIBRARY FUNCTION SECONDS\n");
		return 2;
	}
	pid = atoi(argv[2]);
	if (!find_file(pid, argv[3], file)) {
		fprintf(stderr, "watch: process %d has no file '%s' mapped\n", pid, argv[3]);
		return 1;
	}
	obj = bpf_object__open_file(argv[1], NULL);
	if (!obj || bpf_object__load(obj))
		goto out;
	/* The return first: a call that is under way has no time of entry. */
	out = attach(obj, "leave", pid, file, argv[4], true);
	in = out ? attach(obj, "enter", pid, file, argv[4], false) : NULL;
	if (!in)
		goto out;
	printf("%s in %s\n", argv[4], file);
	fflush(stdout);
	sleep((unsigned int)atoi(argv[5]));
	show(bpf_object__find_map_fd_by_name(obj, "took"));
	code = 0;
out:
	bpf_link__destroy(in);
	bpf_link__destroy(out);
	bpf_object__close(obj);
	return code;
}
