/* SPDX-License-Identifier: MIT */
/*
 * A libbpf client that iterates over threads, files, areas of memory and symbols: the same here and in the kernel, and
 * as /proc has it.
 */
#include "test.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "object.h"

#define BYTES (4 << 20)

/* As processes.bpf.c has it. */
static struct data {
	__u32 tgid, ends, others, unused;
	__u64 addr, start, end, flags, ino, same_task, word, ancestors[4];
	__s64 found, nowhere, with_flags, copied, bad, branches, branch_flags;
} *data;

static struct bpf_object *obj;
static char text[BYTES], maps[2][BYTES];

/* All that the program writes, of the thread or process alone if one is given: the bytes or -errno. */
static long walk(const char *name, __u32 tid, __u32 pid)
{
	union bpf_iter_link_info info = { .task = { .tid = tid, .pid = pid } };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_program *p = bpf_object__find_program_by_name(obj, name);
	struct bpf_link *link = bpf_program__attach_iter(p, tid || pid ? &opts : NULL);
	size_t have = 0;
	ssize_t n;
	int fd;

	if (!link)
		return -errno;
	data->ends = data->others = 0;
	fd = bpf_iter_create(bpf_link__fd(link));
	assert_true(fd >= 0);
	while (have < BYTES - 1 && (n = read(fd, text + have, BYTES - 1 - have)) > 0)
		have += (size_t)n;
	assert_true(n == 0);
	text[have] = '\0';
	close(fd);
	bpf_link__destroy(link);
	return (long)have;
}

static const char *line_of(const char *start)
{
	static char line[8192];
	const char *at = text;
	size_t len = strlen(start);

	for (; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
		if (!strncmp(at, start, len)) {
			snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
			return line;
		}
	return NULL;
}

/*
 * The name of the directory that a path lies in. False: that is the top of a file system, which the kernel's dentries
 * call "/", wherever it is mounted.
 */
static bool holder(const char *path, char *name, size_t size)
{
	char dir[4096], up[4200];
	struct stat own, above;

	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
	snprintf(up, sizeof(up), "%s/..", dir);
	if (!dir[0] || stat(dir, &own) || stat(up, &above) || own.st_dev != above.st_dev)
		return false;
	snprintf(name, size, "%s", strrchr(dir, '/') + 1);
	return true;
}

static void check_file(int fd)
{
	char start[32], want[5000], link[4096] = "", at[32], name[256];
	unsigned int flags = (unsigned int)fcntl(fd, F_GETFL);
	const char *line;
	struct stat st;

	snprintf(at, sizeof(at), "/proc/self/fd/%d", fd);
	assert_true(readlink(at, link, sizeof(link) - 1) > 0);
	assert_int_equal(fstat(fd, &st), 0);
	snprintf(start, sizeof(start), "%d %d:", getpid(), fd);
	line = line_of(start);
	if (!line)
		fail_msg("no line for %s in:\n%s", start, text);
	snprintf(want, sizeof(want), "%s %x %lu %x %x %u %lld %s", start, st.st_mode, (unsigned long)st.st_ino,
		 major(st.st_dev) << 20 | minor(st.st_dev), flags, ((flags & O_ACCMODE) + 1) & 3,
		 (long long)(lseek(fd, 0, SEEK_CUR) > 0 ? lseek(fd, 0, SEEK_CUR) : 0), link);
	assert_true(strlen(line) > strlen(want));
	if (strncmp(line, want, strlen(want)))
		fail_msg("%s\nwanted %s", line, want);
	if (link[0] == '/' && strncmp(link, "/memfd:", 7) && holder(link, name, sizeof(name))) {
		snprintf(want, sizeof(want), " in %s", name);
		assert_string_equal(line + strlen(line) - strlen(want), want);
	}
}

static void files_are_those_of_proc(void **state)
{
	char gone[] = "/tmp/ferry-processes-XXXXXX";
	int fds[6], p[2], i;

	(void)state;
	data->tgid = (__u32)getpid();
	fds[0] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	fds[1] = open("/dev/null", O_RDWR | O_APPEND);
	fds[2] = eventfd(0, EFD_NONBLOCK);
	fds[3] = mkstemp(gone);
	fds[4] = memfd_create("memory", 0);
	fds[5] = open("/", O_RDONLY | O_DIRECTORY);
	assert_int_equal(pipe(p), 0);
	unlink(gone);
	assert_int_equal(lseek(fds[0], 1234, SEEK_SET), 1234);
	assert_true(walk("files", 0, 0) > 0);
	assert_int_equal(data->ends, 1);
	for (i = 0; i < 6; i++) {
		assert_true(fds[i] >= 0);
		check_file(fds[i]);
	}
	check_file(p[0]);
	check_file(p[1]);
	for (i = 0; i < 6; i++)
		close(fds[i]);
	close(p[0]);
	close(p[1]);
}

/* In the order of descriptors, one process after the other, each of it once though threads share them. */
static pthread_barrier_t begun, done;

static void *waiter(void *arg)
{
	*(__u32 *)arg = (__u32)gettid();
	prctl(PR_SET_NAME, "waiter");
	pthread_barrier_wait(&begun);
	pthread_barrier_wait(&done);
	return NULL;
}

static void filters_choose_threads_and_processes(void **state)
{
	char start[64];
	pthread_t t;
	__u32 tid;
	long all;
	int last = -1, fd, pid, n;

	(void)state;
	pthread_barrier_init(&begun, NULL, 2);
	pthread_barrier_init(&done, NULL, 2);
	pthread_create(&t, NULL, waiter, &tid);
	pthread_barrier_wait(&begun);
	data->tgid = (__u32)getpid();
	all = walk("files", 0, (__u32)getpid());
	assert_true(all > 0);
	assert_int_equal(data->others, 0);
	for (char *at = text; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
		assert_int_equal(sscanf(at, "%d %d: %n", &pid, &fd, &n), 2);
		assert_int_equal(pid, getpid()); /* not once more for the other thread */
		assert_true(fd > last);
		last = fd;
	}
	/* The thread asked for has them, whoever else does. */
	assert_true(walk("files", tid, 0) > 0);
	snprintf(start, sizeof(start), "%u 0:", tid);
	assert_non_null(line_of(start));
	snprintf(start, sizeof(start), "%d 0:", getpid());
	assert_null(line_of(start));
	assert_true(walk("tasks", tid, 0) > 0);
	snprintf(start, sizeof(start), "%u %d waiter %d %u\n", tid, getpid(), getppid(), getuid());
	assert_string_equal(text, start);
	assert_int_equal(walk("files", 0, 0x7ffffff0), 0);
	assert_int_equal(data->ends, 1);
	assert_int_equal(walk("files", tid, (__u32)getpid()), -EINVAL);
	pthread_barrier_wait(&done);
	pthread_join(t, NULL);
}

/* A child with memory of its own at an address, until the other end of `stop` is closed. */
static pid_t child_with(__u64 *at, __u64 value, int stop[2])
{
	int ready[2];
	pid_t child;
	char c;

	assert_int_equal(pipe(ready) | pipe(stop), 0);
	child = fork();
	if (!child) {
		*at = value;
		close(stop[1]);
		_exit(write(ready[1], "x", 1) != 1 || read(stop[0], &c, 1) < 0);
	}
	close(stop[0]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return child;
}

static void helpers_on_a_task_see_its_memory(void **state)
{
	__u64 *mine = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int stop[2], status;
	char line[512], range[64];
	struct stat exe;
	pid_t child;
	FILE *f;

	(void)state;
	*data = (struct data){ .tgid = (__u32)getpid(), .addr = (__u64)(unsigned long)helpers_on_a_task_see_its_memory };
	*mine = 1;
	assert_int_equal(stat("/proc/self/exe", &exe), 0);
	assert_int_equal(walk("helpers", (__u32)getpid(), 0), 0);
	assert_int_equal(data->found, 0);
	assert_int_equal(data->nowhere, -ENOENT);
	assert_int_equal(data->with_flags, -EINVAL);
	assert_int_equal(data->others, 1);
	assert_true(data->same_task);
	assert_int_equal(data->ino, exe.st_ino);
	assert_int_equal(data->flags & 5, 5);
	assert_int_equal(data->copied, 0);
	assert_memory_equal(&data->word, helpers_on_a_task_see_its_memory, 8);
	assert_int_equal(data->bad, -EFAULT);
	snprintf(range, sizeof(range), "%08llx-%08llx ", data->start, data->end);
	f = fopen("/proc/self/maps", "re");
	line[0] = '\0';
	while (f && fgets(line, sizeof(line), f) && strncmp(line, range, strlen(range)))
		;
	fclose(f);
	assert_int_equal(strncmp(line, range, strlen(range)), 0);
	/* The same address in another process is another place. */
	child = child_with(mine, 0x1234567890, stop);
	*data = (struct data){ .tgid = (__u32)child, .addr = (__u64)(unsigned long)mine };
	assert_int_equal(walk("helpers", (__u32)child, 0), 0);
	close(stop[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(data->found, 0);
	assert_int_equal(data->ino, 0);
	assert_int_equal(data->flags, 3);
	assert_int_equal(data->copied, 0);
	assert_int_equal(data->word, 0x1234567890);
	assert_int_equal(*mine, 1);
	munmap(mine, 4096);
}

static void what_a_machine_may_not_have(void **state)
{
	struct stat st;
	char line[4200], path[4300];
	struct statfs fs;
	FILE *f = fopen("/proc/self/cgroup", "re");

	(void)state;
	*data = (struct data){ .tgid = (__u32)getpid() };
	assert_int_equal(walk("helpers", (__u32)getpid(), 0), 0);
	if (!getenv("CLIENT_KERNEL"))
		assert_int_equal(data->branches, -ENOENT);
	if (data->branches == -ENOENT)
		assert_int_equal(data->branch_flags, -EINVAL);
	assert_int_equal(data->ancestors[2], 0);
	assert_int_equal(data->ancestors[3], 0);
	while (f && fgets(line, sizeof(line), f) && strncmp(line, "0::", 3))
		;
	if (f)
		fclose(f);
	if (f && !strncmp(line, "0::", 3) && !statfs("/sys/fs/cgroup", &fs) && fs.f_type == CGROUP2_SUPER_MAGIC) {
		line[strcspn(line, "\n")] = '\0';
		snprintf(path, sizeof(path), "/sys/fs/cgroup%s", line + 3);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(data->ancestors[0], st.st_ino);
		assert_int_equal(stat("/sys/fs/cgroup", &st), 0);
		if (!getenv("CLIENT_KERNEL")) /* for which a namespace's root is none */
			assert_int_equal(data->ancestors[1], st.st_ino);
	}
}

static void other_processes_are_gone_through(void **state)
{
	int ready[2], stop[2], status, null;
	char c, start[64], want[64];
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ready) | pipe(stop), 0);
	child = fork();
	if (!child) {
		prctl(PR_SET_NAME, "a child");
		null = open("/dev/null", O_WRONLY);
		dup2(null, 77);
		close(stop[1]);
		status = write(ready[1], "x", 1) != 1 || read(stop[0], &c, 1) < 0;
		_exit(status);
	}
	close(stop[0]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	data->tgid = (__u32)child;
	assert_true(walk("tasks", 0, 0) > 0);
	snprintf(want, sizeof(want), "%d %d a child %d %u\n", child, child, getpid(), getuid());
	assert_string_equal(text, want);
	assert_true(walk("files", 0, 0) > 0);
	snprintf(start, sizeof(start), "%d 77: ", child);
	assert_non_null(line_of(start));
	assert_non_null(strstr(line_of(start), " /dev/null in "));
	assert_true(walk("areas", (__u32)child, 0) > 0);
	assert_int_equal(data->others, 0);
	assert_non_null(strstr(text, "libc"));
	close(stop[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(ready[0]);
	close(ready[1]);
	assert_int_equal(walk("areas", (__u32)child, 0), 0);
}

static void paths_that_do_not_fit(void **state)
{
	int null = open("/dev/null", O_RDWR), root = open("/", O_RDONLY), tty = open("/dev/zero", O_RDONLY);
	char start[32];

	(void)state;
	data->tgid = (__u32)getpid();
	assert_true(walk("short_paths", 0, (__u32)getpid()) > 0);
	snprintf(start, sizeof(start), "%d: %d", null, -ENAMETOOLONG);
	assert_string_equal(line_of(start), start);
	snprintf(start, sizeof(start), "%d: 2", root);
	assert_string_equal(line_of(start), start);
	close(null);
	close(root);
	close(tty);
}

/* /proc/self/maps in the form of the program's text: names of what are no files left out. */
static void read_maps(char *to)
{
	static char line[8192];
	char addr[64], perms[8], off[32], dev[16], name[4097];
	unsigned long ino;
	FILE *f = fopen("/proc/self/maps", "re");
	size_t have = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		name[0] = '\0';
		assert_true(sscanf(line, "%63s %7s %31s %15s %lu %4096[^\n]", addr, perms, off, dev, &ino, name) >= 5);
		if (!strcmp(name, "[vsyscall]"))
			continue;
		have += (size_t)snprintf(to + have, BYTES - have, "%s %s %s %s %lu%s%s\n", addr, perms, off, dev, ino,
					 name[0] == '/' ? " " : "", name[0] == '/' ? name : "");
	}
	fclose(f);
}

static void areas_are_those_of_proc(void **state)
{
	void *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *line, *rest = NULL, *from = text, *at;
	unsigned int n = 0;

	(void)state;
	data->tgid = (__u32)getpid();
	read_maps(maps[0]);
	assert_true(walk("areas", 0, (__u32)getpid()) > 0);
	read_maps(maps[1]);
	assert_int_equal(data->ends, 1);
	assert_int_equal(data->others, 0);
	/* What was there before and after was there in between, in this order. */
	for (line = strtok_r(maps[0], "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (!strstr(maps[1], line) || strstr(line, " 00000000 00:00 0"))
			continue;
		at = strstr(from, line);
		if (!at)
			fail_msg("%s is not in what is left:\n%s", line, from);
		from = at;
		n++;
	}
	assert_true(n > 10);
	munmap(shared, 8192);
}

static void symbols_are_those_of_kallsyms(void **state)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	char line[1024], *rest = NULL, *sym;
	unsigned int n = 0;

	(void)state;
	assert_non_null(f);
	assert_true(walk("symbols", 0, 0) > 0);
	sym = strtok_r(text, "\n", &rest);
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strlen(line) < 29 || strncmp(line + 19, "__x64_sys_", 10) || strchr(line, '['))
			continue;
		assert_non_null(sym);
		assert_string_equal(sym, line);
		sym = strtok_r(NULL, "\n", &rest);
		n++;
	}
	fclose(f);
	assert_null(sym);
	assert_true(n > 100);
}

static int setup(void **state)
{
	(void)state;
	data = load_with_bss("processes.bpf.o", &obj);
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
		cmocka_unit_test(files_are_those_of_proc),
		cmocka_unit_test(filters_choose_threads_and_processes),
		cmocka_unit_test(other_processes_are_gone_through),
		cmocka_unit_test(helpers_on_a_task_see_its_memory),
		cmocka_unit_test(what_a_machine_may_not_have),
		cmocka_unit_test(paths_that_do_not_fit),
		cmocka_unit_test(areas_are_those_of_proc),
		cmocka_unit_test(symbols_are_those_of_kallsyms),
	};

	if (getenv("CLIENT_KERNEL") && bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 4, 1, NULL) < 0)
		return skip_all("the kernel's bpf(2) is not usable here");
	return cmocka_run_group_tests(tests, setup, teardown);
}
