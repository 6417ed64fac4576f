/* SPDX-License-Identifier: MIT */
/*
 * Whoever waits for a buffer is woken by a child that shares its parent's memory but has closed all
 * descriptors before it hits a program: posix_spawn(3) with closefrom, as Python's subprocess does it.
 */
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "clients/either.h"
#include "test.h"

static struct bpf_object *obj;
static struct ring_buffer *rb;
static struct perf_buffer *pb;
static u_int64_t told; /* by the last record */

static int ring_told(void *ctx, void *data, size_t size)
{
	(void)ctx;
	assert_int_equal(size, sizeof(told));
	memcpy(&told, data, sizeof(told));
	return 0;
}

static void perf_told(void *ctx, int cpu, void *data, u_int32_t size)
{
	(void)cpu;
	assert_true(size >= sizeof(told));
	ring_told(ctx, data, sizeof(told));
}

/* A system call that no library makes, and nobody intercepts but who looks at instructions. */
static inline long bare_call(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}

__attribute__((noinline, noipa)) int probed(int x);
__attribute__((noinline, noipa)) int probed(int x)
{
	return x + 1;
}

static void child_wakes(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	told = 0;
	assert_int_equal(ring_buffer__poll(rb, 10000), 1);
	assert_int_equal(told, pid);
	told = 0;
	assert_int_equal(perf_buffer__poll(pb, 10000), 1);
	assert_int_equal(told, pid);
}

static struct bpf_link *attach(const char *name)
{
	struct bpf_link *l = bpf_program__attach(bpf_object__find_program_by_name(obj, name));

	assert_non_null(l);
	return l;
}

static char *const true_argv[] = { "true", NULL };
static char *const no_env[] = { NULL };

static void spawned_child_that_closes_all(void **state)
{
	struct bpf_link *l = attach("at_execve");
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int i;

	(void)state;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	for (i = 0; i < 3; i++) {
		assert_int_equal(posix_spawn(&pid, "/bin/true", &actions, NULL, true_argv, no_env), 0);
		child_wakes(pid);
	}
	posix_spawn_file_actions_destroy(&actions);
	bpf_link__destroy(l);
}

static void child_of_vfork_that_closes_all(void **state)
{
	struct bpf_link *l = attach("at_execve");
	pid_t pid;
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		pid = vfork();
		if (!pid) {
			if (bare_call(SYS_close_range, 0, ~0u, 0))
				_exit(1);
			execve("/bin/true", true_argv, no_env);
			_exit(2);
		}
		child_wakes(pid);
	}
	bpf_link__destroy(l);
}

/* Nobody sees what it closes: it is made up for when the parent waits. */
static void unseen_child_that_closes_all(void **state)
{
	struct bpf_link *l = attach("at_probed");
	pid_t pid;
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		pid = vfork();
		if (!pid) {
			if (bare_call(SYS_close_range, 0, ~0u, 0))
				_exit(1);
			probed(1);
			_exit(0);
		}
		child_wakes(pid);
	}
	bpf_link__destroy(l);
}

/* It wakes although it comes after another that could not. */
static void next_child_wakes_for_both(void **state)
{
	struct bpf_link *l = attach("at_probed");
	struct epoll_event e;
	pid_t first, second;
	int status, ep = ring_buffer__epoll_fd(rb);

	(void)state;
	first = vfork();
	if (!first) {
		bare_call(SYS_close_range, 0, ~0u, 0);
		probed(1);
		_exit(0);
	}
	second = fork();
	if (!second) {
		probed(2);
		_exit(0);
	}
	assert_int_equal(waitpid(first, &status, 0), first);
	assert_int_equal(waitpid(second, &status, 0), second);
	/* By a call that nobody intercepts: what is there is what the children did. */
	assert_int_equal(syscall(SYS_epoll_pwait, ep, &e, 1, 10000, NULL, 8), 1);
	assert_int_equal(ring_buffer__consume(rb), 2);
	assert_int_equal(told, second);
	perf_buffer__consume(pb); /* by processors */
	bpf_link__destroy(l);
}

/* Ferry's descriptors are nobody's to close, the others are closed. */
static void others_are_closed_with_the_errors_of_the_call(void **state)
{
	struct bpf_link *l = attach("at_execve");
	int fd = fcntl(0, F_DUPFD, 500), status;
	pid_t pid;

	(void)state;
	assert_true(fd >= 500);
	pid = fork();
	if (!pid) {
		if (bare_call(SYS_close_range, 10, 9, 0) != -EINVAL)
			_exit(1);
		if (bare_call(SYS_close_range, 3, ~0u, 0x40) != -EINVAL)
			_exit(2);
		if (fcntl(fd, F_GETFD))
			_exit(3);
		if (bare_call(SYS_close_range, fd, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */) ||
		    fcntl(fd, F_GETFD) != FD_CLOEXEC)
			_exit(4);
		if (bare_call(SYS_close_range, 3, ~0u, 2 /* CLOSE_RANGE_UNSHARE */))
			_exit(5);
		_exit(fcntl(fd, F_GETFD) == -1 && errno == EBADF ? 0 : 6);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fd);
	bpf_link__destroy(l);
}

static int setup(void **state)
{
	char name[16];
	int ring, perf;
	size_t n;

	(void)state;
	ferry_hook();
	snprintf(name, sizeof(name), "w%07x", (unsigned int)getpid() & 0xfffffff);
	prctl(PR_SET_NAME, name);
	obj = bpf_object__open_file(getenv("WAKES_OBJECT"), NULL);
	if (!obj)
		return -1;
	memcpy((void *)(uintptr_t)bpf_map__initial_value(bpf_object__find_map_by_name(obj, ".rodata"), &n),
	       name, 8);
	if (bpf_object__load(obj))
		return -1;
	ring = bpf_object__find_map_fd_by_name(obj, "ring");
	perf = bpf_object__find_map_fd_by_name(obj, "perf");
	rb = ring_buffer__new(ring, ring_told, NULL, NULL);
	pb = perf_buffer__new(perf, 1, perf_told, NULL, NULL, NULL);
	return rb && pb ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	perf_buffer__free(pb);
	ring_buffer__free(rb);
	bpf_object__close(obj);
	return 0;
}

/* Where tracefs is not mounted, it is for this process. */
static void mount_tracefs(void)
{
	if (access("/sys/kernel/tracing/events", F_OK) && !unshare(CLONE_NEWNS) &&
	    !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spawned_child_that_closes_all),
		cmocka_unit_test(child_of_vfork_that_closes_all),
		cmocka_unit_test(unseen_child_that_closes_all),
		cmocka_unit_test(next_child_wakes_for_both),
		cmocka_unit_test(others_are_closed_with_the_errors_of_the_call),
	};

	if (argc > 1)
		mount_tracefs();
	if (no_kernel(argc, argv, "/sys/kernel/tracing/events/syscalls"))
		return skip_all("no bpf(2) or no tracepoints of the machine's kernel");
	return cmocka_run_group_tests(tests, setup, teardown);
}
