/* SPDX-License-Identifier: MIT */
/*
 * Probes by text on functions of this process: written to uprobe_events, opened by their number. On Ferry and, with the
 * argument "kernel", on the machine's kernel, with a tracefs of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "test.h"
#include "../either.h"

#define ROOT "/sys/kernel/tracing/"

static struct bpf_object *obj;
static int seen_fd;
static unsigned long first, second; /* offsets of functions in this file */
static bool on_kernel;

struct seen {
	unsigned long long calls, a, b, ret, ip, cookie;
};

__attribute__((noinline, noclone)) long text_target(long a, long b);
long text_target(long a, long b)
{
	volatile long x[2] = { a, b };

	return x[0] * 100 + x[1];
}

__attribute__((noinline, noclone)) long text_other(long a);
long text_other(long a)
{
	volatile long x = a;

	return x + 1;
}

/* The offset in this file of an address: by the mapping that it is in. */
static unsigned long offset_of(const void *at)
{
	unsigned long lo, hi, off, addr = (unsigned long)at, found = 0;
	FILE *f = fopen("/proc/self/maps", "r");
	char line[4400];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %*s %lx", &lo, &hi, &off) == 3 && addr >= lo && addr < hi)
			found = addr - lo + off;
	fclose(f);
	assert_true(found);
	return found;
}

static struct seen look(unsigned long long key)
{
	struct seen s = { 0 };

	bpf_map_lookup_elem(seen_fd, &key, &s);
	return s;
}

/* 0 or -errno */
static int say(const char *fmt, ...)
{
	char line[4400];
	va_list ap;
	int fd, n, err;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fd = open(ROOT "uprobe_events", O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(fd >= 0);
	err = write(fd, line, n) == n ? 0 : -errno;
	close(fd);
	return err;
}

static const char *listed(void)
{
	static char text[16384];
	int fd = open(ROOT "uprobe_events", O_RDONLY), n;

	assert_true(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	assert_true(n >= 0);
	text[n] = '\0';
	close(fd);
	return text;
}

static int number(const char *event)
{
	char path[256], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), ROOT "events/%s/id", event);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -errno;
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return atoi(text);
}

static int event_open(int id)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr), .config = id,
					.sample_period = 1, .wakeup_events = 1 };
	int fd = syscall(SYS_perf_event_open, &attr, getpid(), -1, -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int attach(const char *event, const char *prog)
{
	int fd = event_open(number(event));

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, PERF_EVENT_IOC_SET_BPF, bpf_program__fd(bpf_object__find_program_by_name(obj, prog))), 0);
	assert_int_equal(ioctl(fd, PERF_EVENT_IOC_ENABLE, 0), 0);
	return fd;
}

static void program_runs_where_the_line_says(void **state)
{
	unsigned long long before = look(1).calls, returns = look(2).calls;
	int fd, ret;

	(void)state;
	assert_int_equal(say("p:ferry_t/in /proc/self/exe:0x%lx a=%%di b=%%si:u32\n", first), 0);
	assert_int_equal(say("r:ferry_t/out /proc/self/exe:%lu $retval", first), 0);
	fd = attach("ferry_t/in", "entered");
	ret = attach("ferry_t/out", "returned");
	assert_int_equal(text_target(3, 4), 304);
	assert_int_equal(look(1).calls, before + 1);
	assert_int_equal(look(1).a, 3);
	assert_int_equal(look(1).b, 4);
	assert_int_equal(look(2).calls, returns + 1);
	assert_int_equal(look(2).ret, 304);
	close(fd);
	close(ret);
	text_target(3, 4);
	assert_int_equal(look(1).calls, before + 1);
	assert_int_equal(say("-:ferry_t/in\n-:ferry_t/out"), 0);
	assert_null(strstr(listed(), "ferry_t/"));
	assert_int_equal(number("ferry_t/in"), -ENOENT);
}

static void open_event_cannot_be_deleted(void **state)
{
	int fd, id;

	(void)state;
	assert_int_equal(say("p:ferry_t/held /proc/self/exe:0x%lx", first), 0);
	id = number("ferry_t/held");
	fd = attach("ferry_t/held", "count");
	assert_int_equal(say("-:ferry_t/held"), -EBUSY);
	assert_int_equal(open(ROOT "uprobe_events", O_WRONLY | O_TRUNC), -1);
	assert_int_equal(errno, EBUSY);
	assert_non_null(strstr(listed(), "p:ferry_t/held "));
	close(fd);
	assert_int_equal(say("-:ferry_t/held"), 0);
	assert_int_equal(say("-:ferry_t/held"), -ENOENT);
	assert_int_equal(event_open(id), -EINVAL);
}

static void link_with_a_cookie_on_it(void **state)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .perf_event.bpf_cookie = 4711);
	int fd, link;

	(void)state;
	assert_int_equal(say("p:ferry_t/cookie /proc/self/exe:0x%lx", first), 0);
	fd = event_open(number("ferry_t/cookie"));
	link = bpf_link_create(bpf_program__fd(bpf_object__find_program_by_name(obj, "entered")), fd, BPF_PERF_EVENT, &opts);
	assert_true(link >= 0);
	close(fd);
	text_target(1, 2);
	assert_int_equal(look(1).cookie, 4711);
	assert_int_equal(say("-:ferry_t/cookie"), -EBUSY);
	close(link);
	assert_int_equal(say("-:ferry_t/cookie"), 0);
}

static void stream_reads_and_writes(void **state)
{
	FILE *f = fdopen(open(ROOT "uprobe_events", O_WRONLY | O_APPEND), "w");
	int fd;

	(void)state;
	assert_non_null(f);
	assert_true(fprintf(f, "p:ferry_t/stream /proc/self/exe:0x%lx\n", second) > 0);
	assert_int_equal(fclose(f), 0);
	f = fdopen(open(ROOT "uprobe_events", O_WRONLY | O_APPEND), "w");
	assert_non_null(f);
	fprintf(f, "p:ferry_t/stream /nowhere:0\n");
	assert_int_not_equal(fclose(f), 0);
	assert_int_equal(errno, ENOENT);
	fd = open(ROOT "uprobe_events", O_RDWR | O_APPEND);
	f = fdopen(dup(fd), "r");
	if (f) {
		char line[4400];
		bool found = false;

		while (fgets(line, sizeof(line), f))
			found |= !strncmp(line, "p:ferry_t/stream ", 17);
		assert_true(found);
		fclose(f);
	}
	assert_int_equal(dprintf(fd, "-:%s/%s", "ferry_t", "stream"), 16);
	close(fd);
	assert_null(strstr(listed(), "ferry_t/stream"));
}

/* As a library that finds no type for uprobes does: libbpf makes an event of its own, and deletes it. */
static void libbpf_without_a_type(void **state)
{
	unsigned long long before = look(3).calls;
	struct bpf_link *l;

	(void)state;
	if (on_kernel)
		return; /* there is no taking away its type */
	assert_int_equal(unlink("/sys/bus/event_source/devices/uprobe/type"), 0);
	l = bpf_program__attach_uprobe(bpf_object__find_program_by_name(obj, "count"), false, getpid(), "/proc/self/exe",
				       second);
	assert_non_null(l);
	assert_non_null(strstr(listed(), "p:uprobes/libbpf_"));
	assert_int_equal(text_other(1), 2);
	assert_int_equal(look(3).calls, before + 1);
	bpf_link__destroy(l);
	assert_null(strstr(listed(), "libbpf_"));
	text_other(1);
	assert_int_equal(look(3).calls, before + 1);
	assert_int_equal(unlink("/sys/bus/event_source/devices/kprobe/type"), 0);
	l = bpf_program__attach_kprobe(bpf_object__find_program_by_name(obj, "count"), false, "__x64_sys_getpgid");
	assert_non_null(l);
	before = look(3).calls;
	getpgid(0);
	assert_int_equal(look(3).calls, before + 1);
	bpf_link__destroy(l);
}

static int setup(void **state)
{
	(void)state;
	/* The kernel's list is one: other such tests wait. Held to the end. */
	if (on_kernel && flock(open("/bin/true", O_RDONLY | O_CLOEXEC), LOCK_EX))
		return -1;
	if (on_kernel && (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
			  mount("nodev", "/sys/kernel/tracing", "tracefs", 0, NULL)))
		return -1;
	obj = bpf_object__open_file(getenv("UPROBE_OBJECT"), NULL);
	if (!obj)
		return -1;
	/* The kernel refuses it on functions of user space. */
	bpf_program__set_autoload(bpf_object__find_program_by_name(obj, "instead"), false);
	if (bpf_object__load(obj))
		return -1;
	seen_fd = bpf_object__find_map_fd_by_name(obj, "seen");
	first = offset_of(text_target);
	second = offset_of(text_other);
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { "in", "out", "held", "cookie", "stream" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		say("-:ferry_t/%s", names[i]); /* of a test that failed */
	bpf_object__close(obj);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(program_runs_where_the_line_says),
		cmocka_unit_test(open_event_cannot_be_deleted),
		cmocka_unit_test(link_with_a_cookie_on_it),
		cmocka_unit_test(stream_reads_and_writes),
		cmocka_unit_test(libbpf_without_a_type),
	};

	on_kernel = argc > 1 && !strcmp(argv[1], "kernel");
	if (no_kernel(argc, argv, "/sys/bus/event_source/devices/uprobe/type"))
		return skip_all("the kernel has no bpf(2) or no uprobes for us");
	return cmocka_run_group_tests(tests, setup, teardown);
}
