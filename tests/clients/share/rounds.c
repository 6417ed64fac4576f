/* SPDX-License-Identifier: MIT */
/*
 * rounds OBJECT BINARY PID R W N PROGRAM: N times changes what PROGRAM finds in a target, another process, tells it
 * through a pipe to call at once, and looks what it found. Everything that bpf(2) said is done must hold by then.
 * Prints how many rounds, how many went wrong, and microseconds for a change.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FIRST, SECOND, NOTHING, PLACES };

static struct bpf_object *obj;
static struct perf_buffer *pb;
static int in, out, pid;
static const char *binary;
static unsigned long long sampled;
static double spent;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void die(const char *why)
{
	printf("cannot %s\n", why);
	exit(1);
}

static int map_fd(const char *name)
{
	return bpf_object__find_map_fd_by_name(obj, name);
}

static struct bpf_program *prog(const char *name)
{
	return bpf_object__find_program_by_name(obj, name);
}

static void sample(void *ctx, int cpu, void *data, __u32 size)
{
	(void)ctx;
	(void)cpu;
	if (size >= sizeof(sampled))
		memcpy(&sampled, data, sizeof(sampled));
}

static unsigned long long at(const char *map, unsigned int key)
{
	unsigned long long n = 0;

	if (bpf_map_lookup_elem(map_fd(map), &key, &n))
		die("read a counter");
	return n;
}

/* The target calls with this number: which place its program reached, -1 for none or several. */
static int call(long n)
{
	unsigned long long was[PLACES], is[PLACES];
	int i, pass, got = -1, hits = 0;
	unsigned long long *to = was;

	sampled = 0;
	for (pass = 0; pass < 2; pass++, to = is) {
		to[FIRST] = at("counts", FIRST) + at("first_inner", 0);
		to[SECOND] = at("counts", SECOND) + at("second_inner", 0);
		to[NOTHING] = at("counts", NOTHING);
		if (!pass && (write(out, &n, sizeof(n)) != sizeof(n) || read(in, &n, sizeof(n)) != sizeof(n)))
			die("talk to the target");
	}
	if (pb && perf_buffer__consume(pb) >= 0 && sampled == (unsigned long long)n)
		is[FIRST]++;
	for (i = 0; i < PLACES; i++)
		if (is[i] != was[i]) {
			got = i;
			hits += is[i] - was[i];
		}
	return hits == 1 ? got : -1;
}

static struct bpf_link *attach(const char *name)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "work");
	struct bpf_link *link = bpf_program__attach_uprobe_opts(prog(name), pid, binary, 0, &opts);

	if (!link)
		die("attach");
	return link;
}

/* Puts the program, map or buffers of this place (NOTHING: none) where `how` looks. */
static void change(const char *how, int place)
{
	static struct bpf_link *link;
	unsigned int key = 1, i;
	int map, fd;

	if (!strcmp(how, "counted")) {
		if (place == FIRST)
			link = attach(how);
		else
			bpf_link__destroy(link);
		return;
	}
	if (!strcmp(how, "output")) {
		for (i = 0; i < perf_buffer__buffer_cnt(pb); i++) {
			fd = perf_buffer__buffer_fd(pb, i);
			if (place == FIRST ? bpf_map_update_elem(map_fd("events"), &i, &fd, BPF_ANY)
					   : bpf_map_delete_elem(map_fd("events"), &i))
				die("change a buffer");
		}
		return;
	}
	if (!strcmp(how, "tailed")) {
		map = map_fd("jumps");
		fd = bpf_program__fd(prog(place == FIRST ? "first" : "second"));
	} else {
		map = map_fd(!strcmp(how, "nested") ? "arrays" : "hashes");
		fd = map_fd(place == FIRST ? "first_inner" : "second_inner");
	}
	if (place == NOTHING ? bpf_map_delete_elem(map, &key) : bpf_map_update_elem(map, &key, &fd, BPF_ANY))
		die("change an element");
}

static int step(const char *how, int place, long n)
{
	double start = now();
	int got;

	change(how, place);
	spent += now() - start;
	got = call(n);
	if (!strcmp(how, "counted") && place == NOTHING)
		place = -1;
	if (got != place)
		fprintf(stderr, "%s: %d instead of %d at %ld\n", how, got, place, n);
	return got != place;
}

int main(int argc, char **argv)
{
	long n, rounds, wrong = 0, steps = 0;
	const char *how;
	int both;

	if (argc < 8)
		return 2;
	binary = argv[2];
	pid = atoi(argv[3]);
	in = atoi(argv[4]);
	out = atoi(argv[5]);
	rounds = atol(argv[6]);
	how = argv[7];
	obj = bpf_object__open_file(argv[1], NULL);
	if (!obj || bpf_object__load(obj))
		die("load");
	if (!strcmp(how, "output"))
		pb = perf_buffer__new(map_fd("events"), 8, sample, NULL, NULL, NULL);
	if (!strcmp(how, "output") && !pb)
		die("make buffers");
	both = strcmp(how, "output") && strcmp(how, "counted");
	if (strcmp(how, "counted"))
		attach(how);
	for (n = 1; n <= rounds; n++) {
		wrong += step(how, FIRST, n);
		steps += 2;
		if (both) {
			wrong += step(how, SECOND, n);
			steps++;
		}
		wrong += step(how, NOTHING, -n);
	}
	printf("%ld rounds %ld wrong %.0f us\n", rounds, wrong, spent / (double)steps);
	return 0;
}
