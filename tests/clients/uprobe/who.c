/* SPDX-License-Identifier: MIT */
/*
 * bpf_get_current_pid_tgid() is whom the kernel takes the caller for, also where a child is not one that libc knows. What
 * the kernel says is asked by system call; with the argument "kernel" (and FERRY=off) its own programs answer.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "either.h"
#include "file_offset.h"
#include "test.h"

static struct bpf_object *obj;
static struct bpf_link *links[2];

__attribute__((noinline, noclone)) long touched(long a);
long touched(long a)
{
	volatile long x = a;

	return x + 1;
}

/* Says whether programs on the function and on the call found whom the kernel knows. */
static bool right(void)
{
	int fd = bpf_object__find_map_fd_by_name(obj, "who");
	unsigned long long want = (unsigned long long)syscall(SYS_getpid) << 32 | (unsigned)syscall(SYS_gettid), id;
	unsigned key;

	touched(1);
	syscall(SYS_getpgrp);
	for (key = 0; key < 2; key++)
		if (links[key] && (bpf_map_lookup_elem(fd, &key, &id) || id != want)) {
			print_message("# %s: %llx, not %llx\n", key ? "call" : "function", id, want);
			return false;
		}
	return true;
}

static int in_child(void *unused)
{
	(void)unused;
	syscall(SYS_exit, !right());
	return 0;
}

static bool went_well(int pid)
{
	int status = 1;

	return pid > 0 && waitpid(pid, &status, __WALL) == pid && !status;
}

static void *in_thread(void *unused)
{
	(void)unused;
	return (void *)(unsigned long)(right() && right());
}

static void threads(void)
{
	pthread_t t;
	void *ok;

	assert_int_equal(pthread_create(&t, NULL, in_thread, NULL), 0);
	pthread_join(t, &ok);
	assert_true(ok);
}

static void forks(void)
{
	int pid = fork();

	if (!pid)
		_exit(!right() || !right());
	assert_true(went_well(pid));
}

/* libc does not know of this child. */
static void bare_forks(void)
{
	int pid = (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (!pid)
		in_child(NULL);
	assert_true(went_well(pid));
}

static void vforks(void)
{
	int pid = vfork();

	if (!pid)
		in_child(NULL);
	assert_true(went_well(pid));
}

static char stack[256 << 10] __attribute__((aligned(64)));

static void clones(int flags)
{
	assert_true(went_well(clone(in_child, stack + sizeof(stack), flags | CLONE_VM | SIGCHLD, NULL)));
}

static void spawns(void)
{
	char *args[] = { "true", NULL };
	int pid;

	assert_int_equal(posix_spawnp(&pid, "true", NULL, NULL, args, NULL), 0);
	assert_true(right());
	assert_true(went_well(pid));
	assert_int_equal(system("true"), 0);
}

static void everywhere(bool function, bool call)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = false);
	int i;

	if (function)
		links[0] = bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(obj, "function"), -1,
							   "/proc/self/exe", file_offset((const void *)touched), &opts);
	if (call)
		links[1] = bpf_program__attach(bpf_object__find_program_by_name(obj, "call"));
	assert_true((!function || links[0]) && (!call || links[1]));
	for (i = 0; i < 3; i++) {
		assert_true(right() && right());
		threads();
		assert_true(right());
		forks();
		assert_true(right());
		bare_forks();
		assert_true(right());
		vforks();
		assert_true(right());
		clones(CLONE_VFORK);
		assert_true(right());
		spawns();
		assert_true(right());
	}
	if (!call) /* who runs at the same time with the same storage makes no events there */
		clones(0);
	assert_true(right());
	for (i = 0; i < 2; i++) {
		bpf_link__destroy(links[i]);
		links[i] = NULL;
	}
}

static void on_functions(void **state)
{
	(void)state;
	everywhere(true, false);
}

static void on_calls(void **state)
{
	(void)state;
	everywhere(false, true);
}

static void on_both(void **state)
{
	(void)state;
	everywhere(true, true);
	everywhere(true, false);
}

int main(int argc, char **argv)
{
	/* On the kernel's calls come from everybody. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_calls),
		cmocka_unit_test(on_functions),
		cmocka_unit_test(on_both),
	}, kernels[] = { cmocka_unit_test(on_functions) };
	bool kernel = argc > 1 && !strcmp(argv[1], "kernel");

	if (no_kernel(argc, argv, "/sys/bus/event_source/devices/uprobe/type"))
		return skip_all("no uprobes of the machine's kernel");
	obj = bpf_object__open_file(getenv("WHO_OBJECT"), NULL);
	if (!obj || bpf_object__load(obj)) {
		fprintf(stderr, "the object does not load\n");
		return 1;
	}
	return kernel ? cmocka_run_group_tests(kernels, NULL, NULL) : cmocka_run_group_tests(tests, NULL, NULL);
}
