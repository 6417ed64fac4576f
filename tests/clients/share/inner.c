/* SPDX-License-Identifier: MIT */
/*
 * inner OBJECT BINARY PID R W [KIND...]: each kind of map of inner.bpf.c becomes an element of an array and of a hash of
 * maps, which a program on a function of another process uses three times; then looks what is in it. A line a kind.
 * Programs that are on no function are run by yet another process, inner run ID.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum how { BY_KEY, BY_CPU, LOCKED, TAKEN, ASKED, RING, BUFFERS, TRACES };

static const struct kind {
	const char *name;
	enum how how;
} kinds[] = {
	{ "hash", BY_KEY }, { "lru", BY_KEY }, { "array", BY_KEY }, { "lpm", BY_KEY },
	{ "percpu_array", BY_CPU }, { "percpu_hash", BY_CPU }, { "locked_hash", LOCKED },
	{ "locked_array", LOCKED }, { "queue", TAKEN }, { "stack", TAKEN }, { "bloom", ASKED },
	{ "ring", RING }, { "buffers", BUFFERS }, { "traces", TRACES },
};

static struct bpf_object *obj;
static unsigned long long sum;

static int record(void *ctx, void *data, size_t size)
{
	(void)ctx;
	sum += size >= 8 ? *(unsigned long long *)data : 0;
	return 0;
}

static void sample(void *ctx, int cpu, void *data, __u32 size)
{
	(void)cpu;
	record(ctx, data, size);
}

static int map_fd(const char *kind, const char *which)
{
	char name[64];

	snprintf(name, sizeof(name), "%s_%s", kind, which);
	return bpf_object__find_map_fd_by_name(obj, name);
}

/* The sum of what the program was called with (1 + 2 + 3), as this kind of map has it. */
static unsigned long long found(const struct kind *k, int map, struct perf_buffer *pb)
{
	unsigned long long value[256] = { 0 }, n = 0;
	unsigned char key[8] = { 0 };
	struct ring_buffer *rb;
	int i;

	switch (k->how) {
	case BY_KEY: bpf_map_lookup_elem(map, key, value); return value[0];
	case BY_CPU:
		bpf_map_lookup_elem(map, key, value);
		for (i = 0; i < libbpf_num_possible_cpus(); i++)
			n += value[i];
		return n;
	case LOCKED: bpf_map_lookup_elem_flags(map, key, value, BPF_F_LOCK); return value[1];
	case TAKEN:
		while (!bpf_map_lookup_and_delete_elem(map, NULL, value))
			n += value[0];
		return n;
	case ASKED:
		for (value[0] = 1; value[0] < 4; value[0]++)
			n += bpf_map_lookup_elem(map, NULL, value) ? 0 : value[0];
		return n;
	case RING:
		sum = 0;
		rb = ring_buffer__new(map, record, NULL, NULL);
		ring_buffer__consume(rb);
		ring_buffer__free(rb);
		return sum;
	case BUFFERS:
		sum = 0;
		perf_buffer__consume(pb);
		return sum;
	case TRACES: /* all three came the same way */
		for (i = 0; !bpf_map_get_next_key(map, i ? key : NULL, key); i++)
			n += bpf_map_lookup_elem(map, key, value) || !value[0] ? 100 : 6;
		return n;
	}
	return 0;
}

static int run(unsigned int id)
{
	char packet[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet), .repeat = 3);
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd < 0 || bpf_prog_test_run_opts(fd, &opts))
		return 1;
	return 0;
}

static int run_elsewhere(struct bpf_program *prog)
{
	struct bpf_prog_info info = { 0 };
	unsigned int size = sizeof(info);
	char command[64];

	if (bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &size))
		return -1;
	snprintf(command, sizeof(command), "exec /proc/%d/exe run %u", getpid(), info.id);
	return system(command);
}

static struct bpf_link *call_elsewhere(struct bpf_program *prog, const char *binary, int pid, int in, int out)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "work");
	struct bpf_link *link = bpf_program__attach_uprobe_opts(prog, pid, binary, 0, &opts);
	long n;

	for (n = 1; link && n < 4; n++)
		if (write(out, &n, sizeof(n)) != sizeof(n) || read(in, &n, sizeof(n)) != sizeof(n))
			break;
	return link;
}

static void try(const struct kind *k, const char *binary, int pid, int in, int out)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, k->name);
	int inner[2] = { map_fd(k->name, "1"), map_fd(k->name, "2") }, i;
	int outer[2] = { map_fd(k->name, "array"), map_fd(k->name, "hash") };
	struct perf_buffer *pb[2] = { NULL };
	struct bpf_link *link = NULL;
	unsigned long long got[2];
	unsigned int at = 1;

	for (i = 0; i < 2; i++) {
		if (k->how == BUFFERS)
			pb[i] = perf_buffer__new(inner[i], 8, sample, NULL, NULL, NULL);
		if (bpf_map_update_elem(outer[i], &at, &inner[i], BPF_ANY))
			printf("cannot be an element: ");
	}
	if (k->how == LOCKED && run_elsewhere(prog))
		printf("cannot run: ");
	if (k->how != LOCKED)
		link = call_elsewhere(prog, binary, pid, in, out);
	for (i = 0; i < 2; i++) {
		got[i] = found(k, inner[i], pb[i]);
		perf_buffer__free(pb[i]);
	}
	bpf_link__destroy(link);
	printf("%s: %llu %llu\n", k->name, got[0], got[1]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned int i;

	if (argc == 3 && !strcmp(argv[1], "run"))
		return run(strtoul(argv[2], NULL, 0));
	if (argc < 6)
		return 2;
	obj = bpf_object__open_file(argv[1], NULL);
	if (!obj || bpf_object__load(obj))
		return 3;
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (argc < 7 || !strcmp(argv[6], kinds[i].name))
			try(&kinds[i], argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
	return 0;
}
