/* SPDX-License-Identifier: MIT */
/*
 * Links on many functions at once, by bpf(2) itself (libbpf 1.1 knows only half of it): what they refuse,
 * what programs see, what is told of them. On Ferry, and with the argument "kernel" on the machine's kernel.
 */
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "either.h"
#include "file_offset.h"
#include "test.h"

#define KPROBE_MULTI 42
#define UPROBE_MULTI 48
enum { TYPE_KPROBE_MULTI = 8, TYPE_UPROBE_MULTI = 12 };

struct hit {
	unsigned long long calls, ip, cookie;
};

/* The command's attr and the info as Linux 6.6 has them. */
struct attr {
	unsigned int prog, target, type, flags;
	union {
		struct {
			unsigned int flags, cnt;
			unsigned long long syms, addrs, cookies;
		} k;
		struct {
			unsigned long long path, offsets, ref_ctrs, cookies;
			unsigned int cnt, flags, pid;
		} u;
	};
};
struct info {
	unsigned int type, id, prog, pad;
	union {
		struct {
			unsigned long long addrs;
			unsigned int count, flags;
			unsigned long long missed, cookies;
		} k;
		struct {
			unsigned long long path, offsets, ref_ctrs, cookies;
			unsigned int path_size, count, flags, pid;
		} u;
	};
};

static struct bpf_object *obj;
static char self[PATH_MAX];
static unsigned long long syms[4], addrs[4], cookies[4] = { 11, 12, 13, 14 }, offsets[4];

#define ADDR(x) ((unsigned long long)(unsigned long)(x))
#define TARGET(n) \
	static __attribute__((noinline)) int target##n(int x) \
	{ \
		__asm__ volatile(""); \
		return x * 3 + n; \
	}
TARGET(0)
TARGET(1)
TARGET(2)

static long create(struct attr *a)
{
	long fd = syscall(SYS_bpf, BPF_LINK_CREATE, a, sizeof(*a));

	return fd < 0 ? -errno : fd;
}

static unsigned int prog(const char *name)
{
	return (unsigned int)bpf_program__fd(bpf_object__find_program_by_name(obj, name));
}

static struct hit hit(unsigned int key)
{
	struct hit h = { 0 };

	assert_int_equal(bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "hits"), &key, &h), 0);
	return h;
}

static struct attr k_attr(const char *name)
{
	struct attr a = { .prog = prog(name), .type = KPROBE_MULTI };

	a.k.cnt = 2;
	a.k.syms = ADDR(syms);
	a.k.cookies = ADDR(cookies);
	return a;
}

static struct attr u_attr(const char *name)
{
	struct attr a = { .prog = prog(name), .type = UPROBE_MULTI };

	a.u.path = ADDR(self);
	a.u.offsets = ADDR(offsets);
	a.u.cookies = ADDR(cookies);
	a.u.cnt = 3;
	a.u.pid = (unsigned int)getpid();
	return a;
}

#define REFUSED(what, change, err) do { \
	struct attr a_ = what; \
	change; \
	assert_int_equal(create(&a_), -(err)); \
} while (0)

static void kernel_functions_are_refused_as_documented(void **state)
{
	unsigned long long bad[2] = { 1, 2 }, none[2] = { ADDR("no_such_function_anywhere"), syms[0] };

	(void)state;
	REFUSED(k_attr("at_entry"), a_.flags = 1, EINVAL);
	REFUSED(k_attr("at_entry"), a_.k.flags = 2, EINVAL);
	REFUSED(k_attr("at_entry"), a_.k.cnt = 0, EINVAL);
	REFUSED(k_attr("at_entry"), a_.k.cnt = 1 << 21, E2BIG);
	REFUSED(k_attr("at_entry"), a_.k.addrs = ADDR(addrs), EINVAL);
	REFUSED(k_attr("at_entry"), a_.k.syms = 0, EINVAL);
	REFUSED(k_attr("at_entry"), a_.k.syms = 8, EFAULT);
	REFUSED(k_attr("at_entry"), a_.k.syms = ADDR(bad), EFAULT);
	REFUSED(k_attr("at_entry"), a_.k.syms = ADDR(none), ESRCH);
	REFUSED(k_attr("at_entry"), a_.k.cookies = 8, EFAULT);
	REFUSED(k_attr("alone"), , EINVAL);
	REFUSED(k_attr("in_user"), , EINVAL);
	REFUSED(k_attr("at_entry"), a_.type = BPF_PERF_EVENT, EINVAL);
	REFUSED(k_attr("at_entry"), a_.type = UPROBE_MULTI, EINVAL);
	REFUSED(k_attr("at_entry"), a_.prog = 9999, EBADF);
}

static void kernel_functions_tell_which_and_with_which_cookie(void **state)
{
	struct attr in = k_attr("at_entry"), out = k_attr("at_return");
	long a, b;
	int i;

	(void)state;
	out.k.flags = 1;
	a = create(&in);
	b = create(&out);
	assert_true(a >= 0 && b >= 0);
	for (i = 0; i < 3; i++)
		getpgid(0);
	getsid(0);
	assert_int_equal(hit(11 & 7).calls, 3);
	assert_int_equal(hit(12 & 7).calls, 1);
	assert_int_equal(hit(8 + (11 & 7)).calls, 3);
	assert_int_equal(hit(8 + (12 & 7)).calls, 1);
	assert_int_equal(hit(11 & 7).cookie, 11);
	/* Where ftrace keeps place for a landing instruction, the function is said to begin behind it. */
	assert_in_range(hit(11 & 7).ip - addrs[0], 0, 16);
	assert_in_range(hit(8 + (12 & 7)).ip - addrs[1], 0, 16);
	close((int)a);
	close((int)b);
	usleep(100000);
	getpgid(0);
	assert_int_equal(hit(11 & 7).calls, 3);
}

static void kernel_functions_go_by_address_and_without_cookies(void **state)
{
	struct attr a = k_attr("at_entry");
	unsigned long long before, odd[1] = { addrs[0] + 3 };
	long fd;

	(void)state;
	a.k.syms = 0;
	a.k.addrs = ADDR(addrs);
	a.k.cookies = 0;
	fd = create(&a);
	assert_true(fd >= 0);
	before = hit(0).calls;
	getsid(0);
	getpgid(0);
	assert_int_equal(hit(0).calls - before, 2);
	assert_int_equal(hit(0).cookie, 0);
	close((int)fd);
	REFUSED(a, a_.k.addrs = ADDR(odd); a_.k.cnt = 1, EINVAL);
}

static int get_info(long fd, struct info *info)
{
	union bpf_attr attr = { .info = { .bpf_fd = (unsigned int)fd, .info_len = sizeof(*info), .info = ADDR(info) } };

	return syscall(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) ? -errno : 0;
}

static void links_on_kernel_functions_tell_what_they_have(void **state)
{
	struct attr a = k_attr("at_return");
	unsigned long long got[2] = { 0 }, got_cookies[2] = { 0 };
	struct info info = { 0 };
	long fd;

	(void)state;
	a.k.flags = 1;
	fd = create(&a);
	assert_true(fd >= 0);
	assert_int_equal(get_info(fd, &info), 0);
	assert_int_equal(info.type, TYPE_KPROBE_MULTI);
	assert_int_equal(info.k.count, 2);
	assert_int_equal(info.k.flags, 1);
	memset(&info, 0, sizeof(info));
	info.k.addrs = ADDR(got);
	assert_int_equal(get_info(fd, &info), -EINVAL);
	info.k.count = 1;
	assert_int_equal(get_info(fd, &info), -ENOSPC);
	memset(&info, 0, sizeof(info));
	info.k.count = 2;
	info.k.addrs = ADDR(got);
	info.k.cookies = ADDR(got_cookies);
	assert_int_equal(get_info(fd, &info), 0);
	assert_true((got[0] & ~15ull) == (addrs[0] & ~15ull) || (got[0] & ~15ull) == (addrs[1] & ~15ull));
	assert_int_equal(got_cookies[0] + got_cookies[1], 23);
	close((int)fd);
}

static void user_functions_are_refused_as_documented(void **state)
{
	static char dir[] = "/tmp", none[] = "/no/such/file";
	unsigned long long negative[1] = { -1ull };

	(void)state;
	REFUSED(u_attr("in_user"), a_.flags = 1, EINVAL);
	REFUSED(u_attr("in_user"), a_.u.flags = 2, EINVAL);
	REFUSED(u_attr("in_user"), a_.u.cnt = 0, EINVAL);
	REFUSED(u_attr("in_user"), a_.u.cnt = 1 << 21, E2BIG);
	REFUSED(u_attr("in_user"), a_.u.path = 0, EINVAL);
	REFUSED(u_attr("in_user"), a_.u.path = 8, EFAULT);
	REFUSED(u_attr("in_user"), a_.u.path = ADDR(none), ENOENT);
	REFUSED(u_attr("in_user"), a_.u.path = ADDR(dir), EBADF);
	REFUSED(u_attr("in_user"), a_.u.offsets = 0, EINVAL);
	REFUSED(u_attr("in_user"), a_.u.offsets = 8, EFAULT);
	REFUSED(u_attr("in_user"), a_.u.cookies = 8, EFAULT);
	REFUSED(u_attr("in_user"), a_.u.ref_ctrs = 8, EFAULT);
	REFUSED(u_attr("in_user"), a_.u.offsets = ADDR(negative); a_.u.cnt = 1, EINVAL);
	REFUSED(u_attr("in_user"), a_.u.pid = 4194305, ESRCH);
	REFUSED(u_attr("in_user"), a_.u.pid = -1u, EINVAL);
	REFUSED(u_attr("alone"), , EINVAL);
	REFUSED(u_attr("at_entry"), , EINVAL);
}

static void user_functions_tell_which_and_with_which_cookie(void **state)
{
	struct attr in = u_attr("in_user"), out = u_attr("out_user");
	long a, b;
	int i;

	(void)state;
	out.u.flags = 1;
	a = create(&in);
	b = create(&out);
	assert_true(a >= 0 && b >= 0);
	for (i = 0; i < 5; i++)
		assert_int_equal(target0(i), i * 3);
	assert_int_equal(target2(7), 23);
	for (i = 0; i < 2; i++) {
		assert_int_equal(hit(16 + 8 * i + (11 & 7)).calls, 5);
		assert_int_equal(hit(16 + 8 * i + (12 & 7)).calls, 0);
		assert_int_equal(hit(16 + 8 * i + (13 & 7)).calls, 1);
		assert_int_equal(hit(16 + 8 * i + (13 & 7)).cookie, 13);
		assert_int_equal(hit(16 + 8 * i + (11 & 7)).ip, ADDR(target0));
		assert_int_equal(hit(16 + 8 * i + (13 & 7)).ip, ADDR(target2));
	}
	close((int)a);
	close((int)b);
	usleep(100000);
	target0(1);
	assert_int_equal(hit(16 + (11 & 7)).calls, 5);
}

static void links_on_user_functions_tell_what_they_have(void **state)
{
	struct attr a = u_attr("in_user");
	unsigned long long got[3] = { 0 }, got_cookies[3] = { 0 };
	char path[PATH_MAX] = "";
	struct info info = { 0 };
	long fd = create(&a);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(get_info(fd, &info), 0);
	assert_int_equal(info.type, TYPE_UPROBE_MULTI);
	assert_int_equal(info.u.count, 3);
	assert_int_equal(info.u.pid, getpid());
	assert_int_equal(info.u.path_size, strlen(self) + 1);
	memset(&info, 0, sizeof(info));
	info.u.path = ADDR(path);
	assert_int_equal(get_info(fd, &info), -EINVAL);
	info.u.path_size = 4;
	assert_int_equal(get_info(fd, &info), -ENAMETOOLONG);
	memset(&info, 0, sizeof(info));
	info.u.path = ADDR(path);
	info.u.path_size = sizeof(path);
	info.u.offsets = ADDR(got);
	assert_int_equal(get_info(fd, &info), -EINVAL);
	info.u.count = 2;
	assert_int_equal(get_info(fd, &info), -ENOSPC);
	info.u.path_size = sizeof(path);
	info.u.count = 3;
	info.u.cookies = ADDR(got_cookies);
	assert_int_equal(get_info(fd, &info), 0);
	assert_string_equal(path, self);
	assert_memory_equal(got, offsets, sizeof(got));
	assert_memory_equal(got_cookies, cookies, sizeof(got_cookies));
	close((int)fd);
}

/* What libbpf 1.1 makes of a pattern: all functions that it finds in /proc/kallsyms. */
static void libbpf_attaches_to_a_pattern(void **state)
{
	struct bpf_link *l = bpf_program__attach_kprobe_multi_opts(bpf_object__find_program_by_name(obj, "at_entry"),
								   "__x64_sys_getp*d", NULL);
	unsigned long long before = hit(0).calls;

	(void)state;
	assert_non_null(l);
	getpgid(0);
	syscall(SYS_getppid);
	assert_int_equal(hit(0).calls - before, 2);
	bpf_link__destroy(l);
}

static int find_symbols(void)
{
	char line[512], name[256];
	unsigned long long at;
	FILE *f = fopen("/proc/kallsyms", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%llx %*c %255s", &at, name) == 2) {
			addrs[0] = strcmp(name, "__x64_sys_getpgid") ? addrs[0] : at;
			addrs[1] = strcmp(name, "__x64_sys_getsid") ? addrs[1] : at;
		}
	if (f)
		fclose(f);
	return addrs[0] && addrs[1];
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(user_functions_are_refused_as_documented),
		cmocka_unit_test(user_functions_tell_which_and_with_which_cookie),
		cmocka_unit_test(links_on_user_functions_tell_what_they_have),
		cmocka_unit_test(kernel_functions_are_refused_as_documented),
		cmocka_unit_test(kernel_functions_tell_which_and_with_which_cookie),
		cmocka_unit_test(kernel_functions_go_by_address_and_without_cookies),
		cmocka_unit_test(links_on_kernel_functions_tell_what_they_have),
		cmocka_unit_test(libbpf_attaches_to_a_pattern),
	};
	size_t n = sizeof(tests) / sizeof(tests[0]);
	struct attr any;
	unsigned int zero = 0;
	int pid = getpid();

	if (no_kernel(argc, argv, "/proc/kallsyms"))
		return skip_all("the kernel has no bpf(2) for us");
	syms[0] = ADDR("__x64_sys_getpgid");
	syms[1] = ADDR("__x64_sys_getsid");
	offsets[0] = file_offset((const void *)target0);
	offsets[1] = file_offset((const void *)target1);
	offsets[2] = file_offset((const void *)target2);
	if (!find_symbols())
		return skip_all("the kernel does not say where its functions are");
	if (!realpath("/proc/self/exe", self))
		return 1;
	obj = bpf_object__open_file(getenv("MULTI_OBJECT"), NULL);
	if (!obj)
		return 1;
	bpf_program__set_expected_attach_type(bpf_object__find_program_by_name(obj, "in_user"), UPROBE_MULTI);
	bpf_program__set_expected_attach_type(bpf_object__find_program_by_name(obj, "out_user"), UPROBE_MULTI);
	if (bpf_object__load(obj) ||
	    bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "multi.bss"), &zero, &pid, 0))
		return 1;
	any = k_attr("at_entry");
	any.k.cnt = 0;
	/* Kernels without CONFIG_FPROBE have one half of it. */
	if (argc > 1 && create(&any) == -EOPNOTSUPP)
		n = 3;
	return _cmocka_run_group_tests("multi", tests, n, NULL, NULL);
}
