/* SPDX-License-Identifier: MIT */
/* A client of the system call alone, as programs written without libbpf are. */
#include <dlfcn.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test.h"
#include "ferry/ferry.h"

#define PTR(p) ((uint64_t)(uintptr_t)(p))

static long bpf(int cmd, union bpf_attr *attr)
{
	return syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static int create(enum bpf_map_type type, unsigned int max)
{
	union bpf_attr a = { .map_type = type, .key_size = 4, .value_size = 4, .max_entries = max };

	return bpf(BPF_MAP_CREATE, &a);
}

static long update(int fd, int key, int value, uint64_t flags)
{
	union bpf_attr a = { .map_fd = fd, .key = PTR(&key), .value = PTR(&value), .flags = flags };

	return bpf(BPF_MAP_UPDATE_ELEM, &a);
}

static long lookup(int fd, int key, int *value)
{
	union bpf_attr a = { .map_fd = fd, .key = PTR(&key), .value = PTR(value) };

	return bpf(BPF_MAP_LOOKUP_ELEM, &a);
}

static void array_map_is_filled_and_read(void **state)
{
	int fd = create(BPF_MAP_TYPE_ARRAY, 256), i, v;

	(void)state;
	assert_true(fd >= 0);
	for (i = 0; i < 32; i++)
		assert_int_equal(update(fd, i, i + 1, BPF_EXIST), 0);
	assert_int_equal(lookup(fd, 7, &v), 0);
	assert_int_equal(v, 8);
	assert_int_equal(lookup(fd, 200, &v), 0);
	assert_int_equal(v, 0);
	errno = 0;
	assert_int_equal(lookup(fd, 256, &v), -1);
	assert_int_equal(errno, ENOENT);
	errno = 0;
	assert_int_equal(update(fd, 256, 1, BPF_ANY), -1);
	assert_int_equal(errno, E2BIG);
	errno = 0;
	assert_int_equal(update(fd, 1, 1, BPF_NOEXIST), -1);
	assert_int_equal(errno, EEXIST);
	close(fd);
}

static void hash_map_is_filled_walked_and_emptied(void **state)
{
	int fd = create(BPF_MAP_TYPE_HASH, 16), i, v, key, next, n = 0, sum = 0;
	union bpf_attr a = { 0 };

	(void)state;
	assert_true(fd >= 0);
	for (i = 0; i < 16; i++)
		assert_int_equal(update(fd, i * 100, i, BPF_NOEXIST), 0);
	errno = 0;
	assert_int_equal(update(fd, 5, 5, BPF_ANY), -1);
	assert_int_equal(errno, E2BIG);
	errno = 0;
	assert_int_equal(update(fd, 0, 5, BPF_NOEXIST), -1);
	assert_int_equal(errno, EEXIST);
	a.map_fd = fd;
	a.next_key = PTR(&next);
	while (!bpf(BPF_MAP_GET_NEXT_KEY, &a)) {
		key = next;
		a.key = PTR(&key);
		assert_int_equal(lookup(fd, key, &v), 0);
		assert_int_equal(v * 100, key);
		sum += v;
		n++;
	}
	assert_int_equal(errno, ENOENT);
	assert_int_equal(n, 16);
	assert_int_equal(sum, 120);
	for (i = 0; i < 16; i++) {
		key = i * 100;
		a = (union bpf_attr){ .map_fd = fd, .key = PTR(&key) };
		assert_int_equal(bpf(BPF_MAP_DELETE_ELEM, &a), 0);
	}
	assert_int_equal(bpf(BPF_MAP_DELETE_ELEM, &a), -1);
	assert_int_equal(errno, ENOENT);
	close(fd);
}

static void program_is_loaded_with_its_log(void **state)
{
	static char log[65536];
	struct bpf_insn insns[] = { { 0xb7, 0, 0, 0, 2 }, { 0x95, 0, 0, 0, 0 } };
	union bpf_attr a;
	int fd;

	(void)state;
	/* Not by an initialiser, which leaves the bytes behind the union's member to the compiler. */
	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	a.insns = PTR(insns);
	a.insn_cnt = 2;
	a.license = PTR("GPL");
	a.log_level = 2;
	a.log_buf = PTR(log);
	a.log_size = sizeof(log);
	fd = bpf(BPF_PROG_LOAD, &a);
	assert_true(fd >= 0);
	assert_non_null(strstr(log, "0: (b7) r0 = 2"));
	assert_non_null(strstr(log, "1: (95) exit"));
	assert_non_null(strstr(log, "processed 2 insns"));
	close(fd);
	/* The same with what the verifier refuses. */
	a.insn_cnt = 1;
	a.insns = PTR(&insns[1]);
	assert_int_equal(bpf(BPF_PROG_LOAD, &a), -1);
	assert_int_equal(errno, EACCES);
	assert_non_null(strstr(log, "R0 !read_ok"));
}

static void other_system_calls_are_untouched(void **state)
{
	int fds[2];
	char c = 'x';

	(void)state;
	assert_int_equal(syscall(SYS_getpid), getpid());
	assert_int_equal(syscall(SYS_pipe2, fds, 0), 0);
	assert_int_equal(syscall(SYS_write, fds[1], &c, 1), 1);
	c = 0;
	assert_int_equal(syscall(SYS_read, fds[0], &c, 1), 1);
	assert_int_equal(c, 'x');
	assert_int_equal(syscall(SYS_close, fds[0]), 0);
	assert_int_equal(close(fds[1]), 0);
	errno = 0;
	assert_int_equal(syscall(SYS_close, fds[0]), -1);
	assert_int_equal(errno, EBADF);
	errno = 0;
	assert_int_equal(syscall(-1L), -1);
	assert_int_equal(errno, ENOSYS);
	errno = 4711;
	assert_int_equal(syscall(SYS_getppid), getppid());
	assert_int_equal(errno, 4711);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(array_map_is_filled_and_read),
		cmocka_unit_test(hash_map_is_filled_walked_and_emptied),
		cmocka_unit_test(program_is_loaded_with_its_log),
		cmocka_unit_test(other_system_calls_are_untouched),
	};
	const char *path = getenv("CLIENT_DLOPEN");

#ifdef LINKED
	ferry_version(); /* or the linker may leave the library out */
#endif
	if (path) {
		void *lib = dlopen(path, RTLD_NOW);
		int (*hook)(void) = lib ? (int (*)(void))dlsym(lib, "ferry_hook") : NULL;

		if (!hook || hook())
			return 1;
	}
	if (getenv("CLIENT_KERNEL")) {
		int fd = create(BPF_MAP_TYPE_ARRAY, 1);

		if (fd < 0) {
			printf("1..0 # SKIP the kernel's bpf(2) is not to be had: %s\n",
			       strerror(errno));
			return 0;
		}
		close(fd);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
