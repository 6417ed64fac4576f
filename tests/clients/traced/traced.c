/* SPDX-License-Identifier: MIT */
/*
 * System calls as programs see them that know their arguments by BTF: tp_btf, fentry and fexit. On Ferry,
 * and with the argument "kernel" on the machine's kernel.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "either.h"
#include "test.h"

struct seen {
	unsigned long long calls, arg, nr, ret, count, helper;
};

static struct bpf_object *obj;

static struct seen seen(unsigned int key)
{
	struct seen s = { 0 };

	assert_int_equal(bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "seen"), &key, &s), 0);
	return s;
}

static struct bpf_link *attach(const char *name)
{
	struct bpf_link *l = bpf_program__attach(bpf_object__find_program_by_name(obj, name));

	if (!l)
		print_message("# %s: %s\n", name, strerror(errno));
	assert_non_null(l);
	return l;
}

static void tracepoints_have_typed_arguments(void **state)
{
	struct bpf_link *in = attach("on_enter"), *out = attach("on_exit");
	pid_t group = getpgid(getpid());
	struct seen s;

	(void)state;
	getpgid(-5);
	getpgid(getpid());
	s = seen(0);
	assert_int_equal(s.calls, 3);
	assert_int_equal(s.arg, getpid());
	assert_int_equal(s.nr, SYS_getpgid);
	s = seen(1);
	assert_int_equal(s.calls, 3);
	assert_int_equal(s.ret, group);
	assert_int_equal(s.nr, group);
	bpf_link__destroy(in);
	bpf_link__destroy(out);
	getpgid(0);
	assert_int_equal(seen(0).calls, 3);
}

static void a_fork_names_both_tasks(void **state)
{
	struct bpf_link *l = attach("on_fork");
	pid_t pid = fork();

	(void)state;
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	assert_int_equal(seen(2).calls, 1);
	assert_int_equal(seen(2).arg, getpid());
	assert_int_equal(seen(2).ret, pid);
	bpf_link__destroy(l);
}

static void links_say_which_tracepoint(void **state)
{
	struct bpf_link *l = attach("on_enter");
	struct bpf_link_info info = { 0 };
	unsigned int size = sizeof(info);
	char name[32] = "";

	(void)state;
	info.raw_tracepoint.tp_name = (unsigned long)name;
	info.raw_tracepoint.tp_name_len = sizeof(name);
	assert_int_equal(bpf_obj_get_info_by_fd(bpf_link__fd(l), &info, &size), 0);
	assert_int_equal(info.type, BPF_LINK_TYPE_RAW_TRACEPOINT);
	assert_string_equal(name, "sys_enter");
	bpf_link__destroy(l);
}

static void functions_of_calls_are_entered_and_left(void **state)
{
	struct bpf_program *p = bpf_object__find_program_by_name(obj, "on_call");
	struct bpf_link *in = bpf_program__attach(p), *out, *again;
	struct seen s;

	(void)state;
	assert_non_null(in);
	out = attach("on_return");
	again = bpf_program__attach(p);
	assert_null(again);
	assert_int_equal(errno, EBUSY);
	getpgid(getpid());
	getpgid(-5);
	s = seen(3);
	assert_int_equal(s.calls, 2);
	assert_int_equal((int)s.arg, -5);
	assert_int_equal(s.count, 1);
	assert_int_equal((int)s.helper, -5);
	s = seen(4);
	assert_int_equal(s.calls, 2);
	assert_int_equal((int)s.arg, -5);
	assert_int_equal((long)s.ret, -ESRCH);
	assert_int_equal((long)s.helper, -ESRCH);
	bpf_link__destroy(in);
	bpf_link__destroy(out);
	getpgid(0);
	assert_int_equal(seen(3).calls, 2);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tracepoints_have_typed_arguments),
		cmocka_unit_test(a_fork_names_both_tasks),
		cmocka_unit_test(links_say_which_tracepoint),
		cmocka_unit_test(functions_of_calls_are_entered_and_left),
	};
	struct {
		int want;
		long call;
	} bss = { getpid(), SYS_getpgid };
	size_t n = sizeof(tests) / sizeof(tests[0]);
	unsigned int zero = 0;

	if (no_kernel(argc, argv, "/sys/kernel/btf/vmlinux"))
		return skip_all("the kernel has no bpf(2) or no BTF for us");
	obj = bpf_object__open_file(getenv("TRACED_OBJECT"), NULL);
	if (argc > 1 && bpf_object__load(obj)) { /* this kernel has no fentry */
		obj = bpf_object__open_file(getenv("TRACED_OBJECT"), NULL);
		bpf_program__set_autoload(bpf_object__find_program_by_name(obj, "on_call"), false);
		bpf_program__set_autoload(bpf_object__find_program_by_name(obj, "on_return"), false);
		n = 3;
	}
	if (!obj || ((argc < 2 || n == 3) && bpf_object__load(obj)) ||
	    bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "traced.bss"), &zero, &bss, 0))
		return 1;
	return _cmocka_run_group_tests("traced", tests, n, NULL, NULL);
}
