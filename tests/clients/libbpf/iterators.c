/* SPDX-License-Identifier: MIT */
/* A libbpf client that reads iterators: the same here and in the kernel. */
#include "test.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "object.h"

#define BYTES (1 << 20)

/* As iterators.bpf.c has it. */
struct data {
	__u32 width, retries, tgid, unused;
	__u64 calls, ends, sum, last_seq_num;
};

static struct bpf_object *obj;
static struct data *data;
static char text[BYTES];

static struct bpf_program *prog(const char *name)
{
	struct bpf_program *p = bpf_object__find_program_by_name(obj, name);

	assert_non_null(p);
	return p;
}

static int map_fd(const char *name)
{
	return bpf_object__find_map_fd_by_name(obj, name);
}

static struct bpf_link *attach(const char *name, const char *map)
{
	union bpf_iter_link_info info = { .map.map_fd = map ? (__u32)map_fd(map) : 0 };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));

	return bpf_program__attach_iter(prog(name), map ? &opts : NULL);
}

/* Reads all, `step` bytes at a time: the bytes, or -errno. */
static long read_all(int fd, size_t step)
{
	size_t have = 0;
	ssize_t n;

	while (have < BYTES && (n = read(fd, text + have, have + step < BYTES ? step : BYTES - have)) > 0)
		have += (size_t)n;
	if (n < 0)
		return -errno;
	text[have < BYTES ? have : BYTES - 1] = '\0';
	return (long)have;
}

static long walk(const char *name, const char *map, size_t step)
{
	struct bpf_link *link = attach(name, map);
	long n;
	int fd;

	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	assert_true(fd >= 0);
	n = read_all(fd, step);
	close(fd);
	bpf_link__destroy(link);
	return n;
}

static void fill(const char *map, __u32 n)
{
	for (__u32 k = 0; k < 5000; k++)
		bpf_map_delete_elem(map_fd(map), &k);
	for (__u32 k = 0; k < n; k++) {
		__u64 v = k + 1;

		assert_int_equal(bpf_map_update_elem(map_fd(map), &k, &v, 0), 0);
	}
}

static void maps_are_gone_through_with_an_end(void **state)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	char line[128];

	(void)state;
	assert_int_equal(bpf_obj_get_info_by_fd(map_fd("row"), &info, &len), 0);
	data->ends = 0;
	assert_true(walk("maps", NULL, 4096) > 0);
	assert_int_equal(strncmp(text, "start\n", 6), 0);
	snprintf(line, sizeof(line), "\n%u: row type 2 key 4 value 8 max 3\n", info.id);
	assert_non_null(strstr(text, line));
	assert_non_null(strstr(text, ": percpu type 6 key 4 value 8 max 2\n"));
	assert_non_null(strstr(text, "\nend "));
	assert_int_equal(data->ends, 1);
}

static void programs_and_links_are_gone_through(void **state)
{
	struct bpf_link *link = attach("progs", NULL);
	struct bpf_prog_info info = { 0 };
	struct bpf_link_info li = { 0 };
	__u32 len = sizeof(info);
	char line[128];

	(void)state;
	assert_non_null(link);
	assert_int_equal(bpf_obj_get_info_by_fd(bpf_program__fd(prog("elems")), &info, &len), 0);
	assert_true(walk("progs", NULL, 100) > 0);
	snprintf(line, sizeof(line), "%u: elems type %u for %u\n", info.id, BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER);
	assert_non_null(strstr(text, line));
	len = sizeof(li);
	assert_int_equal(bpf_obj_get_info_by_fd(bpf_link__fd(link), &li, &len), 0);
	assert_true(walk("links", NULL, 100) > 0);
	snprintf(line, sizeof(line), "%u: type %u prog %u\n", li.id, BPF_LINK_TYPE_ITER, li.prog_id);
	assert_non_null(strstr(text, line));
	bpf_link__destroy(link);
}

static void elements_come_once_and_can_be_changed(void **state)
{
	static bool seen[300];
	unsigned int key;
	__u64 v;

	(void)state;
	fill("walked", 300);
	*data = (struct data){ 0 };
	assert_int_equal(walk("elems", "walked", 64), 300 * 9);
	for (char *at = text; *at; at += 9) {
		assert_int_equal(sscanf(at, "%8u\n", &key), 1);
		assert_true(key < 300 && !seen[key]);
		seen[key] = true;
	}
	assert_int_equal(data->calls, 301);
	assert_int_equal(data->ends, 1);
	assert_int_equal(data->sum, 300 * 301 / 2);
	assert_int_equal(data->last_seq_num, 299); /* the end has no number of its own */
	for (__u32 k = 0; k < 300; k++) {
		assert_int_equal(bpf_map_lookup_elem(map_fd("walked"), &k, &v), 0);
		assert_int_equal(v, 1000 + k + 1);
	}
}

static void arrays_and_empty_hashes_have_an_end_too(void **state)
{
	__u64 v[3] = { 10, 20, 30 };

	(void)state;
	for (__u32 k = 0; k < 3; k++)
		assert_int_equal(bpf_map_update_elem(map_fd("row"), &k, &v[k], 0), 0);
	*data = (struct data){ 0 };
	assert_int_equal(walk("elems", "row", 4096), 27);
	assert_string_equal(text, "00000000\n00000001\n00000002\n");
	assert_int_equal(data->sum, 60);
	fill("walked", 0);
	*data = (struct data){ 0 };
	assert_int_equal(walk("elems", "walked", 4096), 0);
	assert_int_equal(data->calls, 1);
	assert_int_equal(data->ends, 1);
}

static void values_of_all_processors_are_a_copy(void **state)
{
	int n = libbpf_num_possible_cpus();
	__u64 v[1024] = { 0 };

	(void)state;
	assert_true(n > 0 && n <= 1024);
	for (__u32 k = 0; k < 2; k++) {
		for (int c = 0; c < n; c++)
			v[c] = 100 * (k + 1) + (__u64)c;
		assert_int_equal(bpf_map_update_elem(map_fd("percpu"), &k, v, 0), 0);
		assert_int_equal(bpf_map_update_elem(map_fd("percpu_hash"), &k, v, 0), 0);
	}
	assert_true(walk("all_cpus", "percpu", 4096) > 0);
	assert_string_equal(text, "0: 100\n1: 200\n");
	assert_int_equal(walk("all_cpus", "percpu_hash", 4096), 14);
	for (__u32 k = 0; k < 2; k++) {
		assert_int_equal(bpf_map_lookup_elem(map_fd("percpu"), &k, v), 0);
		assert_int_equal(v[0], 100 * (k + 1));
	}
}

/* What the program wrote for one element is not split into reads, but a reader may take it in bits. */
static void text_longer_than_a_buffer_comes_whole(void **state)
{
	static const size_t steps[] = { 1000000, 4096, 1000, 65 };

	(void)state;
	fill("walked", 700);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		bool seen[700] = { false };

		*data = (struct data){ .width = 15 };
		assert_int_equal(walk("wide", "walked", steps[i]), 700 * (4 + 15 * 64));
		for (__u32 n = 0; n < 700; n++) {
			__u32 key;

			memcpy(&key, text + n * 964, 4);
			assert_true(key < 700 && !seen[key]);
			seen[key] = true;
			assert_memory_equal(text + n * 964 + 900, "0123456789abcdef0123456789abcdef", 32);
		}
	}
}

static void one_element_too_long_is_an_error(void **state)
{
	(void)state;
	fill("walked", 2);
	*data = (struct data){ .width = 600 };
	assert_int_equal(walk("wide", "walked", 4096), -E2BIG);
	*data = (struct data){ .width = 511 }; /* 32708 bytes */
	assert_int_equal(walk("wide", "walked", 4096), 2 * (4 + 511 * 64));
	*data = (struct data){ .width = 512 }; /* 32772: more than 8 pages */
	assert_int_equal(walk("wide", "walked", 4096), -E2BIG);
}

static void a_program_may_ask_for_an_element_again(void **state)
{
	struct bpf_link *link;
	char a[64];
	ssize_t n;
	int fd;

	(void)state;
	*data = (struct data){ .retries = 2 };
	link = attach("again", "row");
	assert_non_null(link);
	fd = bpf_iter_create(bpf_link__fd(link));
	assert_true(fd >= 0);
	n = read(fd, a, sizeof(a)); /* what was before it */
	assert_int_equal(n, 2);
	assert_memory_equal(a, "0\n", 2);
	assert_int_equal(read(fd, a, sizeof(a)), -1);
	assert_int_equal(errno, EAGAIN);
	n = read(fd, a, sizeof(a));
	assert_int_equal(n, 4);
	assert_memory_equal(a, "1\n2\n", 4);
	assert_int_equal(read(fd, a, sizeof(a)), 0);
	close(fd);
	bpf_link__destroy(link);
}

static void reading_in_other_ways(void **state)
{
	struct iovec v[2];
	struct bpf_link *link = attach("elems", "row");
	char a[64] = "", b[64] = "";
	void *volatile bad = (void *)16;
	int fd, copy;

	(void)state;
	assert_non_null(link);
	*data = (struct data){ 0 };
	fd = bpf_iter_create(bpf_link__fd(link));
	copy = dup(fd);
	assert_int_equal(read(fd, a, 5), 5);
	assert_int_equal(data->calls, 1); /* not before it is asked for */
	assert_int_equal(read(copy, a, 4), 4);
	assert_memory_equal(a, "000\n", 4);
	close(fd);
	v[0] = (struct iovec){ a, 9 };
	v[1] = (struct iovec){ b, 60 };
	assert_int_equal(readv(copy, v, 2), 18);
	assert_memory_equal(a, "00000001\n", 9);
	assert_memory_equal(b, "00000002\n", 9);
	assert_int_equal(read(copy, a, 9), 0);
	assert_int_equal(read(copy, bad, 9), 0);
	close(copy);
	fd = bpf_iter_create(bpf_link__fd(link));
	assert_int_equal(read(fd, bad, 9), -1);
	assert_int_equal(errno, EFAULT);
	close(fd);
	bpf_link__destroy(link);
}

static void links_say_what_they_are_of(void **state)
{
	struct bpf_link *link = attach("elems", "row");
	struct bpf_link_info li = { 0 };
	struct bpf_map_info mi = { 0 };
	char name[32] = "";
	__u32 len = sizeof(li);

	(void)state;
	assert_non_null(link);
	li.iter.target_name = (__u64)(unsigned long)name;
	li.iter.target_name_len = sizeof(name);
	assert_int_equal(bpf_obj_get_info_by_fd(bpf_link__fd(link), &li, &len), 0);
	assert_int_equal(li.type, BPF_LINK_TYPE_ITER);
	assert_string_equal(name, "bpf_map_elem");
	assert_int_equal(li.iter.target_name_len, 13);
	len = sizeof(mi);
	assert_int_equal(bpf_obj_get_info_by_fd(map_fd("row"), &mi, &len), 0);
	assert_int_equal(li.iter.map.map_id, mi.id);
	memset(&li, 0, sizeof(li));
	len = sizeof(li);
	li.iter.target_name = (__u64)(unsigned long)name;
	li.iter.target_name_len = 4;
	assert_int_equal(bpf_obj_get_info_by_fd(bpf_link__fd(link), &li, &len), -ENOSPC);
	assert_string_equal(name, "bpf");
	bpf_link__destroy(link);
}

static void what_does_not_fit_is_refused(void **state)
{
	union bpf_iter_link_info info = { .map.map_fd = 0 };
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));
	LIBBPF_OPTS(bpf_link_create_opts, flags, .flags = 1);
	int fd = bpf_program__fd(prog("elems")), row = map_fd("row"), ring;

	(void)state;
	assert_null(attach("beyond", "row"));
	assert_int_equal(errno, EACCES);
	assert_null(attach("beyond_key", "row"));
	assert_int_equal(errno, EACCES);
	assert_null(attach("sleepable_maps", NULL));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(bpf_link_create(fd, 0, BPF_TRACE_ITER, &opts), -EBADF);
	info.map.map_fd = 12345;
	assert_int_equal(bpf_link_create(fd, 0, BPF_TRACE_ITER, &opts), -EBADF);
	info.map.map_fd = (__u32)fd;
	assert_int_equal(bpf_link_create(fd, 0, BPF_TRACE_ITER, &opts), -EINVAL);
	ring = bpf_map_create(BPF_MAP_TYPE_QUEUE, NULL, 0, 4, 1, NULL);
	assert_true(ring >= 0);
	info.map.map_fd = (__u32)ring;
	assert_int_equal(bpf_link_create(fd, 0, BPF_TRACE_ITER, &opts), -EINVAL);
	close(ring);
	info.map.map_fd = (__u32)row;
	assert_int_equal(bpf_link_create(fd, row, BPF_TRACE_ITER, &opts), -EINVAL);
	assert_int_equal(bpf_link_create(fd, 0, BPF_TRACE_FENTRY, &opts), -EINVAL);
	assert_int_equal(bpf_link_create(fd, 0, BPF_TRACE_ITER, &flags), -EINVAL);
	opts.iter_info_len = 0;
	assert_int_equal(bpf_link_create(fd, 0, BPF_TRACE_ITER, &opts), -EINVAL);
	assert_int_equal(bpf_iter_create(row), -EINVAL);
	assert_int_equal(bpf_iter_create(12345), -EBADF);
}

static void links_take_another_program(void **state)
{
	LIBBPF_OPTS(bpf_link_update_opts, opts, .flags = BPF_F_REPLACE);
	struct bpf_link *link = attach("maps", NULL);
	int maps = bpf_program__fd(prog("maps")), other = bpf_program__fd(prog("other_maps")), l, before, after;

	(void)state;
	assert_non_null(link);
	l = bpf_link__fd(link);
	before = bpf_iter_create(l);
	opts.old_prog_fd = (__u32)other;
	assert_int_equal(bpf_link_update(l, other, &opts), -EPERM);
	opts.old_prog_fd = (__u32)maps;
	assert_int_equal(bpf_link_update(l, other, &opts), 0);
	assert_int_equal(bpf_link_update(l, bpf_program__fd(prog("elems")), NULL), -EINVAL);
	opts = (struct bpf_link_update_opts){ .sz = sizeof(opts), .old_prog_fd = (__u32)other };
	assert_int_equal(bpf_link_update(l, maps, &opts), -EINVAL);
	after = bpf_iter_create(l);
	assert_true(read_all(before, 4096) > 0);
	assert_int_equal(strncmp(text, "start\n", 6), 0);
	assert_int_equal(read_all(after, 4096), 6);
	assert_string_equal(text, "other\n");
	assert_int_equal(bpf_link_detach(l), -EOPNOTSUPP);
	close(before);
	close(after);
	bpf_link__destroy(link);
}

static void values_are_shown_by_their_type(void **state)
{
	(void)state;
	assert_true(walk("shown", NULL, 4096) > 0);
	assert_string_equal(text, "(struct iovec){\n .iov_len = (__kernel_size_t)42,\n}\n(struct iovec){.iov_");
}

static pthread_barrier_t named, done;

static void *sleeper(void *arg)
{
	(void)arg;
	prctl(PR_SET_NAME, "sleeper");
	*(int *)arg = (int)gettid();
	pthread_barrier_wait(&named);
	pthread_barrier_wait(&done);
	return NULL;
}

static void threads_are_tasks(void **state)
{
	char first[64], line[64];
	pthread_t t;
	int tid;

	(void)state;
	pthread_barrier_init(&named, NULL, 2);
	pthread_barrier_init(&done, NULL, 2);
	pthread_create(&t, NULL, sleeper, &tid);
	pthread_barrier_wait(&named);
	prctl(PR_SET_NAME, "walker");
	data->tgid = (__u32)getpid();
	assert_true(walk("tasks", NULL, 4096) > 0);
	snprintf(first, sizeof(first), "%d %d walker %d\n", getpid(), getpid(), getpid());
	snprintf(line, sizeof(line), "%d %d sleeper %d\n", tid, getpid(), getpid());
	/* In the order of their numbers: the later one may have the smaller when numbers begin anew. */
	assert_non_null(strstr(text, first));
	assert_non_null(strstr(text, line));
	assert_int_equal(strstr(text, first) < strstr(text, line), getpid() < tid);
	assert_true(walk("sleepable_tasks", NULL, 4096) == 0);
	pthread_barrier_wait(&done);
	pthread_join(t, NULL);
}

static long walk_tasks(__u32 tid, __u32 pid)
{
	union bpf_iter_link_info info = { .task = { .tid = tid, .pid = pid } };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_link *link = bpf_program__attach_iter(prog("tasks"), &opts);
	long n;
	int fd;

	if (!link)
		return -errno;
	fd = bpf_iter_create(bpf_link__fd(link));
	n = read_all(fd, 4096);
	close(fd);
	bpf_link__destroy(link);
	return n;
}

static void tasks_may_be_one(void **state)
{
	char line[64];

	(void)state;
	prctl(PR_SET_NAME, "walker");
	data->tgid = (__u32)getpid();
	snprintf(line, sizeof(line), "%d %d walker %d\n", getpid(), getpid(), getpid());
	assert_int_equal(walk_tasks((__u32)getpid(), 0), strlen(line));
	assert_string_equal(text, line);
	assert_true(walk_tasks(0, (__u32)getpid()) > 0);
	assert_non_null(strstr(text, line));
	assert_int_equal(walk_tasks(0, 1), 0); /* of another process */
	assert_int_equal(walk_tasks(1, 1), -EINVAL);
}

/* Opening a pinned link is making an iterator. */
static void a_pinned_link_is_read_as_a_file(void **state)
{
	static const char path[] = "/sys/fs/bpf/ferry_test_iter";
	struct bpf_link *link = attach("elems", "row");
	char line[32];
	FILE *f;
	int fd;

	(void)state;
	unlink(path);
	assert_non_null(link);
	if (bpf_link__pin(link, path)) {
		assert_true(errno == ENOENT || errno == EPERM || errno == EINVAL);
		assert_non_null(getenv("CLIENT_KERNEL")); /* there is no bpffs */
		bpf_link__destroy(link);
		return;
	}
	for (int i = 0; i < 2; i++) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(read_all(fd, 10), 27);
		assert_string_equal(text, "00000000\n00000001\n00000002\n");
		close(fd);
	}
	f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	assert_string_equal(line, "00000000\n");
	fclose(f);
	assert_int_equal(bpf_link__unpin(link), 0);
	bpf_link__destroy(link);
}

static int setup(void **state)
{
	(void)state;
	data = load_with_bss("iterators.bpf.o", &obj);
	return data ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	bpf_object__close(obj);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(maps_are_gone_through_with_an_end),
		cmocka_unit_test(programs_and_links_are_gone_through),
		cmocka_unit_test(elements_come_once_and_can_be_changed),
		cmocka_unit_test(arrays_and_empty_hashes_have_an_end_too),
		cmocka_unit_test(values_of_all_processors_are_a_copy),
		cmocka_unit_test(text_longer_than_a_buffer_comes_whole),
		cmocka_unit_test(one_element_too_long_is_an_error),
		cmocka_unit_test(a_program_may_ask_for_an_element_again),
		cmocka_unit_test(reading_in_other_ways),
		cmocka_unit_test(links_say_what_they_are_of),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(links_take_another_program),
		cmocka_unit_test(values_are_shown_by_their_type),
		cmocka_unit_test(threads_are_tasks),
		cmocka_unit_test(tasks_may_be_one),
		cmocka_unit_test(a_pinned_link_is_read_as_a_file),
	};

	if (getenv("CLIENT_KERNEL") && bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 4, 1, NULL) < 0)
		return skip_all("the kernel's bpf(2) is not usable here");
	return cmocka_run_group_tests(tests, setup, teardown);
}
