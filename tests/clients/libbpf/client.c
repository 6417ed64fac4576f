/* SPDX-License-Identifier: MIT */
/*
 * A client of libbpf and nothing else: it knows of Ferry only through dlsym(3), so that one source
 * is linked with libferry, started with libferry-preload.so, or dlopen()s it (CLIENT_DLOPEN=path).
 */
#include <dirent.h>
#include <dlfcn.h>
#include <linux/bpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "test.h"
#include "ferry/ferry.h"
#ifdef HAVE_SKELETON
#include "all.skel.h"
#endif

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static char libbpf_log[1 << 20];
static size_t libbpf_len;

static int keep_log(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	int n;

	if (level == LIBBPF_DEBUG)
		return 0;
	n = vsnprintf(libbpf_log + libbpf_len, sizeof(libbpf_log) - libbpf_len, fmt, ap);
	if (n > 0 && libbpf_len + n < sizeof(libbpf_log))
		libbpf_len += n;
	return n;
}

static const char *path_of(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", getenv("CLIENT_OBJECTS"), name);
	return path;
}

static struct bpf_object *load(const char *name)
{
	struct bpf_object *obj = bpf_object__open_file(path_of(name), NULL);
	int err;

	assert_non_null(obj);
	err = bpf_object__load(obj);
	if (err)
		print_message("%s", libbpf_log);
	assert_int_equal(err, 0);
	return obj;
}

static int prog_fd(struct bpf_object *obj, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(obj, name));
}

static int map_fd(struct bpf_object *obj, const char *name)
{
	return bpf_object__find_map_fd_by_name(obj, name);
}

static unsigned int run(int fd, unsigned int size)
{
	char packet[2048] = "";
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet, .data_size_in = size);

	assert_int_equal(bpf_prog_test_run_opts(fd, &o), 0);
	return o.retval;
}

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int objects(void)
{
	unsigned int id = 0;
	int n = 0;

	while (!bpf_map_get_next_id(id, &id))
		n++;
	for (id = 0; !bpf_prog_get_next_id(id, &id);)
		n++;
	return n;
}

static int nothing_yet(void **state)
{
	(void)state;
	libbpf_len = 0;
	libbpf_log[0] = '\0';
	return objects();
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void maps_of_every_type_count(void **state)
{
	static const char *const plain[] = { "hash", "array", "lru" };
	static const char *const percpu[] = { "percpu_hash", "percpu_array" };
	struct bpf_object *obj = load("all.bpf.o");
	int cpus = libbpf_num_possible_cpus(), i, c;
	unsigned long long v[1024], sum;
	unsigned int key = 1;

	(void)state;
	for (i = 0; i < 5; i++)
		assert_int_equal(run(prog_fd(obj, "work"), 100), 301);
	for (i = 0; i < (int)COUNT(plain); i++) {
		assert_int_equal(bpf_map_lookup_elem(map_fd(obj, plain[i]), &key, v), 0);
		assert_int_equal(v[0], 5);
	}
	for (i = 0; i < (int)COUNT(percpu); i++) {
		assert_int_equal(bpf_map_lookup_elem(map_fd(obj, percpu[i]), &key, v), 0);
		for (sum = 0, c = 0; c < cpus; c++)
			sum += v[c];
		assert_int_equal(sum, 5);
	}
	key = 9;
	assert_int_equal(bpf_map_lookup_elem(map_fd(obj, "hash"), &key, v), -ENOENT);
	bpf_object__close(obj);
}

static void globals_are_read_and_written_through_maps(void **state)
{
	struct bpf_object *obj = bpf_object__open_file(path_of("all.bpf.o"), NULL);
	struct bpf_map *rodata = bpf_object__find_map_by_name(obj, ".rodata");
	unsigned long long v;
	unsigned int key = 0, ten = 10;

	(void)state;
	assert_int_equal(bpf_map__set_initial_value(rodata, &ten, sizeof(ten)), 0);
	assert_int_equal(bpf_object__load(obj), 0);
	assert_int_equal(run(prog_fd(obj, "work"), 64), 641);
	assert_int_equal(bpf_map_lookup_elem(map_fd(obj, ".data"), &key, &v), 0);
	assert_int_equal(v, 1640);
	v = 5;
	assert_int_equal(bpf_map_update_elem(map_fd(obj, ".data"), &key, &v, 0), 0);
	run(prog_fd(obj, "work"), 64);
	assert_int_equal(bpf_map_lookup_elem(map_fd(obj, ".data"), &key, &v), 0);
	assert_int_equal(v, 645);
	/* Constants stay so. */
	assert_int_equal(bpf_map_update_elem(map_fd(obj, ".rodata"), &key, &ten, 0), -EPERM);
	bpf_object__close(obj);
}

static void globals_are_shared_memory(void **state)
{
	struct bpf_object *obj = load("all.bpf.o");
	unsigned long long *runs = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE, MAP_SHARED,
					map_fd(obj, ".bss"), 0);

	(void)state;
	assert_ptr_not_equal(runs, MAP_FAILED);
	run(prog_fd(obj, "work"), 64);
	assert_int_equal(*runs, 1);
	*runs = 41;
	run(prog_fd(obj, "work"), 64);
	assert_int_equal(*runs, 42);
	munmap(runs, getpagesize());
	assert_ptr_equal(
		mmap(NULL, getpagesize(), PROT_WRITE, MAP_SHARED, map_fd(obj, ".rodata"), 0),
		MAP_FAILED);
	bpf_object__close(obj);
}

static void skeleton_sees_the_globals(void **state)
{
	(void)state;
#ifdef HAVE_SKELETON
	struct all *s = all__open();

	assert_non_null(s);
	assert_int_equal(s->rodata->factor, 3);
	s->data->total = 7;
	assert_int_equal(all__load(s), 0);
	run(bpf_program__fd(s->progs.work), 64);
	assert_int_equal(s->bss->runs, 1);
	assert_int_equal(s->data->total, 7 + 64 * 3);
	s->bss->runs = 9;
	run(bpf_program__fd(s->progs.work), 64);
	assert_int_equal(s->bss->runs, 10);
	all__destroy(s);
#else
	skip();
#endif
}

static void tail_call_goes_where_the_object_says(void **state)
{
	struct bpf_object *obj = load("all.bpf.o");
	unsigned int key = 1;

	(void)state;
	assert_int_equal(run(prog_fd(obj, "first"), 64), 77);
	assert_int_equal(bpf_map_delete_elem(map_fd(obj, "jumps"), &key), 0);
	assert_int_equal(run(prog_fd(obj, "first"), 64), 1);
	bpf_object__close(obj);
}

static void core_relocations_use_the_btf_shown(void **state)
{
	struct btf *btf = btf__load_vmlinux_btf();
	struct bpf_object *obj = load("all.bpf.o");
	const struct btf_type *t;
	int id, i, off = -1;

	(void)state;
	assert_non_null(btf);
	id = btf__find_by_name_kind(btf, "task_struct", BTF_KIND_STRUCT);
	assert_true(id > 0);
	t = btf__type_by_id(btf, id);
	for (i = 0; i < btf_vlen(t); i++)
		if (!strcmp(btf__name_by_offset(btf, btf_members(t)[i].name_off), "tgid"))
			off = btf_member_bit_offset(t, i) / 8;
	assert_true(off >= 0);
	assert_int_equal(run(prog_fd(obj, "core"), 64), 1000 + off + 160);
	btf__free(btf);
	bpf_object__close(obj);
}

struct event {
	unsigned int seq, size;
};

static int on_event(void *arg, void *data, size_t size)
{
	struct event *e = data, *last = arg;

	assert_int_equal(size, sizeof(*e));
	assert_int_equal(e->seq, last->seq + 1);
	*last = *e;
	return 0;
}

static void ring_buffer_wakes_its_consumer_and_rests(void **state)
{
	struct bpf_object *obj = load("all.bpf.o");
	struct event last = { 0 };
	struct ring_buffer *rb = ring_buffer__new(map_fd(obj, "events"), on_event, &last, NULL);
	int i;

	(void)state;
	assert_non_null(rb);
	assert_int_equal(ring_buffer__poll(rb, 0), 0);
	for (i = 0; i < 3; i++)
		run(prog_fd(obj, "work"), 100 + i);
	assert_int_equal(ring_buffer__poll(rb, 1000), 3);
	assert_int_equal(last.seq, 3);
	assert_int_equal(last.size, 102);
	/* Read empty it is not ready any more: poll waits, and is woken again. */
	assert_int_equal(ring_buffer__poll(rb, 0), 0);
	run(prog_fd(obj, "work"), 64);
	assert_int_equal(ring_buffer__poll(rb, 1000), 1);
	/* More than the buffer holds goes round. */
	for (i = 0; i < 9000; i++) {
		run(prog_fd(obj, "work"), 64);
		if (i % 1000 == 0)
			ring_buffer__consume(rb);
	}
	ring_buffer__consume(rb);
	assert_int_equal(last.seq, 9004);
	ring_buffer__free(rb);
	bpf_object__close(obj);
}

static void refused_program_leaves_the_verifiers_log(void **state)
{
	struct bpf_object *obj = bpf_object__open_file(path_of("refused.bpf.o"), NULL);
	int err;

	(void)state;
	assert_non_null(obj);
	err = bpf_object__load(obj);
	assert_int_equal(err, -EACCES);
	assert_non_null(strstr(libbpf_log, "invalid access to packet"));
	bpf_object__close(obj);
}

/* ---- native functions ----------------------------------------------------------------------- */

static int client_add(int x, int y)
{
	return x + y;
}

static long client_twice(long x)
{
	return 2 * x;
}

static const struct ferry_func funcs[] = {
	FERRY_FUNC("int client_add(int x, int y)", client_add),
	FERRY_FUNC("long client_twice(long x)", client_twice),
};
static const struct ferry_module module = { sizeof(module), "client", NULL, funcs, COUNT(funcs) };

static void *ferry_sym(const char *name)
{
	void *fn = dlsym(RTLD_DEFAULT, name);

	assert_non_null(fn);
	return fn;
}

static void registered_functions_are_called(void **state)
{
	int (*reg)(const struct ferry_module *) = ferry_sym("ferry_module_register");
	int (*unreg)(const char *) = ferry_sym("ferry_module_unregister");
	struct bpf_object *obj;

	(void)state;
	assert_int_equal(reg(&module), 0);
	obj = load("kfunc.bpf.o");
	assert_int_equal(run(prog_fd(obj, "prog"), 100), 108);
	/* A loaded program ends where it would call what is gone; no new one gets it. */
	assert_int_equal(unreg("client"), 0);
	assert_int_equal(run(prog_fd(obj, "prog"), 50), 0);
	bpf_object__close(obj);
	obj = bpf_object__open_file(path_of("kfunc.bpf.o"), NULL);
	assert_int_not_equal(bpf_object__load(obj), 0);
	bpf_object__close(obj);
}

static void log_line(void *arg, int level, const char *msg)
{
	(void)level;
	snprintf(arg, 1000, "%s", msg);
}

static void unregistered_function_is_named_with_the_nearest(void **state)
{
	int (*reg)(const struct ferry_module *) = ferry_sym("ferry_module_register");
	int (*unreg)(const char *) = ferry_sym("ferry_module_unregister");
	void (*log_to)(ferry_log_fn, void *) = ferry_sym("ferry_log_to");
	int (*explain)(const struct bpf_object *, char *, size_t) =
		ferry_sym("ferry_explain_object");
	struct bpf_object *obj = bpf_object__open_file(path_of("missing.bpf.o"), NULL);
	char text[1000] = "", line[1000] = "";
	int err;

	(void)state;
	assert_int_equal(reg(&module), 0);
	log_to(log_line, line);
	err = bpf_object__load(obj);
	log_to(NULL, NULL);
	assert_true(err == -ESRCH || err == -EINVAL); /* libbpf's own, by version */
	assert_non_null(strstr(libbpf_log, "client_ad"));
	assert_int_equal(explain(obj, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "'client_ad'"));
	assert_non_null(strstr(text, "'client_add'"));
	/* Said without being asked, too. */
	assert_non_null(strstr(line, "'client_add'"));
	bpf_object__close(obj);
	assert_int_equal(unreg("client"), 0);
}

/* ---- bad input ------------------------------------------------------------------------------ */

static char *read_file(const char *path, size_t *size)
{
	FILE *f = fopen(path, "rb");
	char *data = malloc(1 << 20);

	assert_non_null(f);
	*size = fread(data, 1, 1 << 20, f);
	fclose(f);
	return data;
}

static void try_object(const void *data, size_t size)
{
	struct bpf_object *obj = bpf_object__open_mem(data, size, NULL);

	if (!obj)
		return;
	bpf_object__load(obj);
	bpf_object__close(obj);
}

static void cut_objects_leave_nothing_behind(void **state)
{
	size_t size, cut;
	char *data = read_file(path_of("all.bpf.o"), &size), *copy = malloc(size);
	int fds;

	(void)state;
	try_object(data, size); /* what is made once is there now */
	fds = descriptors();
	for (cut = 0; cut < size; cut += 97) {
		memcpy(copy, data, cut);
		try_object(copy, cut);
	}
	assert_int_equal(objects(), 0);
	assert_int_equal(descriptors(), fds);
	free(copy);
	free(data);
}

/* libbpf reads what is damaged; Ferry gets what libbpf makes of it. */
static void damaged_btf_and_code_leave_nothing_behind(void **state)
{
	unsigned int seed = 12345;
	struct bpf_object *obj = load("all.bpf.o"); /* its BTF as libbpf completes it */
	struct btf *btf = bpf_object__btf(obj);
	const void *raw;
	unsigned int raw_size, i, at;
	char *copy;
	int fds, fd, before = objects();

	(void)state;
	assert_non_null(btf);
	raw = btf__raw_data(btf, &raw_size);
	copy = malloc(raw_size);
	fd = bpf_btf_load(raw, raw_size, NULL);
	assert_true(fd >= 0);
	close(fd);
	fds = descriptors();
	for (i = 0; i < 3000; i++) {
		memcpy(copy, raw, raw_size);
		seed = seed * 1103515245 + 12345;
		at = seed >> 8;
		copy[at % raw_size] ^= 1 << (seed >> 4) % 8;
		fd = bpf_btf_load(copy, i % 3 ? raw_size : at % raw_size, NULL);
		if (fd >= 0)
			close(fd);
	}
	assert_int_equal(descriptors(), fds);
	assert_int_equal(objects(), before);
	free(copy);
	bpf_object__close(obj);
}

static int open_ferry(void)
{
	const char *path = getenv("CLIENT_DLOPEN");
	int (*hook)(void);
	void *lib;

	if (!path)
		return 0;
	lib = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
	if (!lib) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	hook = (int (*)(void))dlsym(lib, "ferry_hook");
	return !hook || hook();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(maps_of_every_type_count, nothing_yet),
		cmocka_unit_test_setup(globals_are_read_and_written_through_maps, nothing_yet),
		cmocka_unit_test_setup(globals_are_shared_memory, nothing_yet),
		cmocka_unit_test_setup(skeleton_sees_the_globals, nothing_yet),
		cmocka_unit_test_setup(tail_call_goes_where_the_object_says, nothing_yet),
		cmocka_unit_test_setup(core_relocations_use_the_btf_shown, nothing_yet),
		cmocka_unit_test_setup(ring_buffer_wakes_its_consumer_and_rests, nothing_yet),
		cmocka_unit_test_setup(refused_program_leaves_the_verifiers_log, nothing_yet),
		cmocka_unit_test_setup(registered_functions_are_called, nothing_yet),
		cmocka_unit_test_setup(unregistered_function_is_named_with_the_nearest,
				       nothing_yet),
		cmocka_unit_test_setup(cut_objects_leave_nothing_behind, nothing_yet),
		cmocka_unit_test_setup(damaged_btf_and_code_leave_nothing_behind, nothing_yet),
	};

#ifdef LINKED
	ferry_version(); /* or the linker may leave the library out */
#endif
	if (open_ferry())
		return 1;
	libbpf_set_print(keep_log);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
