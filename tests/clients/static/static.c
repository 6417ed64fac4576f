/* SPDX-License-Identifier: MIT */
/*
 * A client that is linked statically, libbpf included: nothing of it can be interposed. It says what it sees, which is
 * the same on the kernel. static OBJECT [PIN]
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define RECORD 1000

static struct bpf_object *obj;

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static int run(const char *name, unsigned long long number)
{
	unsigned long long packet[8] = { number };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));
	int fd = bpf_program__fd(bpf_object__find_program_by_name(obj, name));

	return bpf_prog_test_run_opts(fd, &opts) ? -errno : (int)opts.retval;
}

static int map(const char *name)
{
	return bpf_object__find_map_fd_by_name(obj, name);
}

static void *later(void *name)
{
	usleep(100000);
	run(name, 1000);
	return NULL;
}

static void in_background(const char *program)
{
	pthread_t thread;

	pthread_create(&thread, NULL, later, (void *)program);
	pthread_detach(thread);
}

/* ---- ring buffer ---------------------------------------------------------------------------- */

static int on_record(void *sum, void *data, size_t size)
{
	unsigned long long *words = data;

	if (size != RECORD || words[0] != words[RECORD / 8 - 1])
		printf("a record in pieces: %zu bytes, %llu, %llu\n", size, words[0], words[RECORD / 8 - 1]);
	*(unsigned long long *)sum += words[0];
	return 0;
}

static void ring(void)
{
	unsigned long long sum = 0;
	struct ring_buffer *rb = ring_buffer__new(map("ring"), on_record, &sum, NULL);
	struct pollfd p = { map("ring"), POLLIN, 0 };
	int i, full = 0, n = 0;

	if (!rb)
		die("ring_buffer__new");
	for (i = 0; i < 100; i++) {
		run("to_ring", i);
		if (ring_buffer__poll(rb, 0) == 1)
			n++;
	}
	printf("ring: %d records one by one, sum %llu\n", n, sum);
	for (i = 0; i < 6; i++)
		full += run("to_ring", i) == 1;
	n = ring_buffer__poll(rb, 1000);
	printf("ring: %d of 6 do not fit, %d were there\n", full, n);
	printf("ring: nothing left: %d, %d\n", ring_buffer__poll(rb, 0), poll(&p, 1, 0));
	in_background("to_ring");
	n = poll(&p, 1, 5000);
	printf("ring: poll wakes: %d, POLLIN %d\n", n, !!(p.revents & POLLIN));
	printf("ring: %d record\n", ring_buffer__poll(rb, 1000));
	in_background("to_ring");
	printf("ring: epoll wakes: %d\n", ring_buffer__poll(rb, 5000));
	ring_buffer__free(rb);
}

/* Mappings that a ring buffer refuses. */
static void refusals(void)
{
	int fd = map("ring"), i;
	static const struct {
		size_t len;
		int prot, flags;
		off_t off;
	} tries[] = {
		{ 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0 },      { 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 4096 },
		{ 8192, PROT_READ | PROT_WRITE, MAP_SHARED, 0 },      { 4096, PROT_READ, MAP_SHARED, 8192 },
		{ 4096 * 4, PROT_READ, MAP_SHARED, 0 },		      { 4096 * 5, PROT_READ, MAP_SHARED, 0 },
		{ 4096 * 3, PROT_READ, MAP_SHARED, 4096 },	      { 4096 * 4, PROT_READ, MAP_SHARED, 4096 },
	};

	for (i = 0; i < (int)(sizeof(tries) / sizeof(tries[0])); i++) {
		void *at = mmap(NULL, tries[i].len, tries[i].prot, tries[i].flags, fd, tries[i].off);

		printf("mmap %d: %s\n", i, at == MAP_FAILED ? strerror(errno) : "done");
		if (at != MAP_FAILED)
			munmap(at, tries[i].len);
	}
	printf("mmap of a program: %s\n",
	       mmap(NULL, 4096, PROT_READ, MAP_SHARED, bpf_program__fd(bpf_object__next_program(obj, NULL)), 0) == MAP_FAILED
		       ? strerror(errno)
		       : "done");
}

/* ---- user ring buffer, mapped array --------------------------------------------------------- */

static void user_ring(void)
{
	struct user_ring_buffer *rb = user_ring_buffer__new(map("user"), NULL);
	unsigned long long *record;
	unsigned long long data[2] = { 0 };
	unsigned int key = 0;
	struct bpf_map *m;
	int i, bad = 0, n;

	if (!rb)
		die("user_ring_buffer__new");
	for (i = 1; i <= 50; i++) {
		record = user_ring_buffer__reserve(rb, RECORD);
		if (!record)
			die("user_ring_buffer__reserve");
		record[0] = record[RECORD / 8 - 1] = i;
		user_ring_buffer__submit(rb, record);
		n = run("from_user", 0);
		bad += n != 1;
	}
	bpf_object__for_each_map(m, obj)
		if (bpf_map__is_internal(m))
			bpf_map_lookup_elem(bpf_map__fd(m), &key, data); /* .bss */
	printf("user ring: %d bad, %llu records, sum %llu\n", bad, data[1], data[0]);
	for (i = 0; user_ring_buffer__reserve(rb, RECORD); i++)
		;
	printf("user ring: room for %d, then %s\n", i, strerror(errno));
	user_ring_buffer__free(rb);
}

static void array(void)
{
	unsigned long long *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map("shared"), 0), value = 0;
	unsigned int key = 2;

	if (at == MAP_FAILED)
		die("mmap of an array");
	at[2] = 5;
	run("to_shared", 7);
	bpf_map_lookup_elem(map("shared"), &key, &value);
	printf("array: %llu, %llu\n", at[2], value);
	printf("array: two pages: %s\n",
	       mmap(NULL, 8192, PROT_READ, MAP_SHARED, map("shared"), 0) == MAP_FAILED ? strerror(errno) : "done");
	printf("array: mapped, freeze: %s\n", bpf_map_freeze(map("shared")) ? strerror(errno) : "done");
	munmap(at, 4096);
	printf("array: freeze: %s\n", bpf_map_freeze(map("shared")) ? strerror(errno) : "done");
	printf("array: frozen, writable: %s\n",
	       mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, map("shared"), 0) == MAP_FAILED ? strerror(errno) : "done");
}

/* ---- perf buffer ---------------------------------------------------------------------------- */

static void on_sample(void *sum, int cpu, void *data, unsigned int size)
{
	(void)cpu;
	*(unsigned long long *)sum += size >= 8 ? *(unsigned long long *)data : 0;
}

static void on_lost(void *sum, int cpu, unsigned long long lost)
{
	(void)sum, (void)cpu;
	printf("perf: some were lost %d\n", lost > 0);
}

static void perf(void)
{
	unsigned long long sum = 0;
	struct perf_buffer *pb = perf_buffer__new(map("perf"), 1, on_sample, on_lost, &sum, NULL);
	int i, n = 0, refused = 0;

	if (!pb)
		die("perf_buffer__new");
	for (i = 1; i <= 500; i++) {
		refused += run("to_perf", i) != 0;
		n += perf_buffer__poll(pb, 1000);
	}
	printf("perf: %d wake-ups, %d refused, sum %llu\n", n, refused, sum);
	in_background("to_perf");
	n = perf_buffer__poll(pb, 5000);
	printf("perf: epoll wakes: %d, sum %llu\n", n, sum);
	for (i = 0; i < 1000; i++)
		refused += run("to_perf", 1) != 0;
	printf("perf: it was full: %d\n", refused > 0);
	perf_buffer__free(pb);
}

/* ---- names ---------------------------------------------------------------------------------- */

static void pins(const char *path)
{
	char moved[256], line[64] = "";
	struct statfs fs;
	struct stat st;
	FILE *f;
	int fd;

	snprintf(moved, sizeof(moved), "%s2", path);
	printf("pin: %s\n", bpf_obj_pin(map("shared"), path) ? strerror(errno) : "done");
	printf("pin again: %s\n", bpf_obj_pin(map("shared"), path) ? strerror(errno) : "done");
	printf("stat: %d\n", stat(path, &st) ? -errno : S_ISREG(st.st_mode));
	fs.f_type = 0;
	if (statfs("/sys/fs/bpf", &fs))
		die("statfs");
	printf("statfs: %lx\n", (long)fs.f_type);
	printf("rename: %s\n", rename(path, moved) ? strerror(errno) : "done");
	printf("access: %s\n", access(path, F_OK) ? strerror(errno) : "done");
	fd = bpf_obj_get(moved);
	printf("get: %d\n", fd >= 0);
	printf("unlink: %s\n", unlink(moved) ? strerror(errno) : "done");
	printf("gone: %s\n", bpf_obj_get(moved) < 0 ? strerror(errno) : "there");
	snprintf(moved, sizeof(moved), "/proc/self/fdinfo/%d", fd);
	f = fopen(moved, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "map_type", 8) || !strncmp(line, "max_entries", 11))
			printf("fdinfo: %s", line);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	obj = bpf_object__open_file(argv[1], NULL);
	if (!obj)
		die("open");
	if (bpf_object__load(obj))
		die("load");
	ring();
	refusals();
	user_ring();
	array();
	perf();
	if (argc > 2)
		pins(argv[2]);
	bpf_object__close(obj);
	return 0;
}
