/* SPDX-License-Identifier: MIT */
/* libbpf's uprobes on functions of this process and its libraries, with no kernel eBPF. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dlfcn.h>
#include <ferry/ferry.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "file_offset.h"
#include "test.h"

struct seen {
	unsigned long long calls, a, b, ret, ip, cookie;
};

__attribute__((noinline, noclone)) long target(long a, long b);
long target(long a, long b)
{
	volatile long x[2] = { a, b };

	return x[0] * 100 + x[1];
}

static struct bpf_object *obj;
static int seen_fd;

static unsigned long offset_of(const void *fn)
{
	unsigned long at = file_offset(fn);

	assert_true(at != ~0ul);
	return at;
}

static struct bpf_link *attach(const char *prog, const char *file, unsigned long offset, bool ret,
			       unsigned long long cookie)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = ret, .bpf_cookie = cookie);
	struct bpf_program *p = bpf_object__find_program_by_name(obj, prog);
	struct bpf_link *l;

	assert_non_null(p);
	l = bpf_program__attach_uprobe_opts(p, 0, file, offset, &opts);
	if (!l)
		print_message("# attach: %s\n", strerror(errno));
	return l;
}

static struct seen look(unsigned long long key)
{
	struct seen s = { 0 };

	bpf_map_lookup_elem(seen_fd, &key, &s);
	return s;
}

static int setup(void **state)
{
	(void)state;
	ferry_hook();
	obj = bpf_object__open_file(getenv("UPROBE_OBJECT"), NULL);
	if (!obj || bpf_object__load(obj))
		return -1;
	seen_fd = bpf_object__find_map_fd_by_name(obj, "seen");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bpf_object__close(obj);
	return 0;
}

static void entry_sees_arguments_address_and_cookie(void **state)
{
	struct bpf_link *l = attach("entered", "/proc/self/exe", offset_of(target), false, 77);
	struct seen s;

	(void)state;
	assert_non_null(l);
	assert_int_equal(target(3, 4), 304);
	s = look(1);
	assert_int_equal(s.calls, 1);
	assert_int_equal(s.a, 3);
	assert_int_equal(s.b, 4);
	assert_int_equal(s.cookie, 77);
	assert_true(s.ip == (unsigned long)target);
	bpf_link__destroy(l);
	target(5, 6);
	assert_int_equal(look(1).calls, 1);
}

static int count_record(void *ctx, void *data, size_t size)
{
	(void)size;
	*(long *)ctx += *(long *)data;
	return 0;
}

static void return_sees_result_and_fills_a_ring_buffer(void **state)
{
	struct bpf_link *l = attach("returned", "/proc/self/exe", offset_of(target), true, 5);
	struct ring_buffer *rb;
	long sum = 0;
	int i;

	(void)state;
	assert_non_null(l);
	rb = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "records"), count_record, &sum, NULL);
	assert_non_null(rb);
	for (i = 0; i < 10; i++)
		target(i, 1);
	assert_int_equal(ring_buffer__consume(rb), 10);
	assert_int_equal(sum, 4510);
	assert_int_equal(look(2).calls, 10);
	assert_int_equal(look(2).cookie, 5);
	ring_buffer__free(rb);
	bpf_link__destroy(l);
}

static void function_of_a_library_by_name(void **state)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "getenv");
	struct bpf_program *p = bpf_object__find_program_by_name(obj, "count");
	struct bpf_link *l = bpf_program__attach_uprobe_opts(p, 0, "libc.so.6", 0, &opts);
	int i;

	(void)state;
	assert_non_null(l);
	for (i = 0; i < 5; i++)
		getenv("HOME");
	assert_int_equal(look(3).calls, 5);
	bpf_link__destroy(l);
}

/* As with the kernel, a file that nobody maps now is waited for. */
static void library_loaded_later_is_probed(void **state)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "later");
	struct bpf_program *p = bpf_object__find_program_by_name(obj, "count");
	unsigned long long before = look(3).calls;
	const char *file = getenv("UPROBE_LIBRARY");
	long (*later)(long);
	struct bpf_link *l;
	void *lib;
	int i;

	(void)state;
	l = bpf_program__attach_uprobe_opts(p, 0, file, 0, &opts);
	assert_non_null(l);
	for (i = 1; i <= 3; i++) {
		lib = dlopen(file, RTLD_NOW);
		assert_non_null(lib);
		later = dlsym(lib, "later");
		assert_non_null(later);
		assert_int_equal(later(1), 2);
		assert_int_equal(look(3).calls - before, i);
		dlclose(lib);
	}
	bpf_link__destroy(l);
}

/* The helper asks libc for the number, and so comes by the probe itself. */
static void hits_inside_of_a_program_are_left_out_and_counted(void **state)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "getgid");
	struct bpf_program *p = bpf_object__find_program_by_name(obj, "ids");
	struct bpf_link *l = bpf_program__attach_uprobe_opts(p, 0, "libc.so.6", 0, &opts);
	struct bpf_prog_info info = { 0 };
	unsigned size = sizeof(info);
	int i;

	(void)state;
	assert_non_null(l);
	for (i = 0; i < 5; i++) {
		gid_t gid = getgid();

		assert_int_equal(gid, look(4).a >> 32);
	}
	assert_int_equal(look(4).calls, 5);
	assert_int_equal(bpf_obj_get_info_by_fd(bpf_program__fd(p), &info, &size), 0);
	assert_int_equal(info.recursion_misses, 5);
	bpf_link__destroy(l);
}

/* Its second instruction is at 4. */
long by_hand(long x);
__asm__(".text\n.p2align 4\n.type by_hand, @function\nby_hand:\n.cfi_startproc\nlea 5(%rdi), %rax\n"
	"add $1, %rax\nret\n.cfi_endproc\n.size by_hand, . - by_hand\n");

/* The kernel refuses this on functions of user space; here the process is the program's own. */
static void program_returns_instead_of_the_function(void **state)
{
	struct bpf_link *l = attach("instead", "/proc/self/exe", offset_of(target), false, 0);
	struct bpf_link *r = attach("returned", "/proc/self/exe", offset_of(target), true, 0), *m;
	unsigned long long before = look(2).calls;

	(void)state;
	assert_non_null(l);
	assert_int_equal(target(13, 1), 99);
	assert_int_equal(look(2).calls, before); /* it was not entered */
	assert_int_equal(target(12, 1), 1201);
	assert_int_equal(look(2).calls, before + 1);
	bpf_link__destroy(l);
	assert_int_equal(target(13, 1), 1301);
	bpf_link__destroy(r);
	/* On another instruction than the first nothing can be left out. */
	m = attach("instead", "/proc/self/exe", offset_of(by_hand) + 4, false, 0);
	assert_non_null(m);
	assert_int_equal(by_hand(13), 19);
	bpf_link__destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entry_sees_arguments_address_and_cookie),
		cmocka_unit_test(return_sees_result_and_fills_a_ring_buffer),
		cmocka_unit_test(function_of_a_library_by_name),
		cmocka_unit_test(library_loaded_later_is_probed),
		cmocka_unit_test(program_returns_instead_of_the_function),
		cmocka_unit_test(hits_inside_of_a_program_are_left_out_and_counted),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
