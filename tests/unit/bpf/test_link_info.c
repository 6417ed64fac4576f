/* SPDX-License-Identifier: MIT */
/*
 * What BPF_OBJ_GET_INFO_BY_FD says of links on events of perf, and BPF_TASK_FD_QUERY of the events: the same
 * assertions for Ferry (`unit`) and for the kernel (`kernel`), where it is new enough to tell (Linux 6.6).
 */
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel_bpf.h"
#include "preload/preload.h"
#include "sys_test.h"

/* struct bpf_link_info as later headers have it. */
struct info {
	u32 type, id, prog_id, pad, event, pad_event;
	u64 name;
	u32 name_len, offset;
	u64 cookie, ref_ctr_off, last;
};
struct clock_info {
	u32 type, id, prog_id, pad, event, pad_event;
	u64 config;
	u32 clock_type, pad_type;
	u64 cookie;
};
enum { UPROBE = 1, URETPROBE, EVENT = 6 };

static bpf_fn bpf = sys_bpf;
static char exe[256];
static u64 offset;

__attribute__((noinline, noclone)) int probed(int x);
int probed(int x)
{
	__asm__ volatile("" : "+r"(x));
	return x * 3;
}

static int perf_open(const struct perf_event_attr *attr, s32 pid, s32 cpu)
{
	return bpf == sys_bpf ? (int)sys_perf_open(attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC)
			      : (int)syscall(SYS_perf_event_open, attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

static int uprobe_event(bool ret)
{
	struct perf_event_attr attr = { .size = sizeof(attr), .type = 8, .config = ret, .config1 = PTR(exe), .config2 = offset };

	return perf_open(&attr, getpid(), -1);
}

static int clock_event(void)
{
	struct perf_event_attr attr = { .size = sizeof(attr),
					.type = PERF_TYPE_SOFTWARE,
					.config = PERF_COUNT_SW_TASK_CLOCK,
					.sample_period = 100000000 };

	return perf_open(&attr, getpid(), -1);
}

static int link_on(int event, u32 prog_type, u64 cookie, u32 *prog_id)
{
	int prog = make_prog(bpf, prog_type), link;
	union bpf_attr a = { .link_create = { .prog_fd = prog, .target_fd = event, .attach_type = BPF_PERF_EVENT } };
	struct bpf_prog_info info = { 0 };
	union bpf_attr i = { .info = { .bpf_fd = prog, .info_len = sizeof(info), .info = PTR(&info) } };

	assert_true(event >= 0);
	assert_true(prog >= 0);
	a.link_create.perf_event.bpf_cookie = cookie;
	link = (int)bpf(BPF_LINK_CREATE, &a, sizeof(a));
	assert_true(link >= 0);
	assert_int_equal(bpf(BPF_OBJ_GET_INFO_BY_FD, &i, END_OF(info)), 0);
	*prog_id = info.id;
	close(prog);
	return link;
}

static long ask(int link, void *info, u32 *len)
{
	union bpf_attr a = { .info = { .bpf_fd = link, .info_len = *len, .info = PTR(info) } };
	long ret = bpf(BPF_OBJ_GET_INFO_BY_FD, &a, END_OF(info));

	*len = a.info.info_len;
	return ret;
}

static void probes_tell_file_offset_and_cookie(void **state)
{
	u32 kind, prog, len;
	char name[256];

	(void)state;
	for (kind = UPROBE; kind <= URETPROBE; kind++) {
		int event = uprobe_event(kind == URETPROBE), link = link_on(event, BPF_PROG_TYPE_KPROBE, 0x1234567890, &prog);
		struct info in = { .name = PTR(name), .name_len = sizeof(name) };

		memset(name, 'x', sizeof(name));
		len = sizeof(in);
		assert_int_equal(ask(link, &in, &len), 0);
		assert_int_equal(in.type, BPF_LINK_TYPE_PERF_EVENT);
		assert_int_equal(in.prog_id, prog);
		assert_int_equal(in.event, kind);
		assert_string_equal(name, exe);
		assert_int_equal(in.name_len, strlen(exe) + 1);
		assert_int_equal(in.offset, offset);
		assert_int_equal(in.cookie, 0x1234567890);
		assert_int_equal(len, sizeof(in));
		close(link);
		close(event);
	}
}

static void names_that_do_not_fit_are_cut_and_said_so(void **state)
{
	u32 prog, len, room;
	int event = uprobe_event(false), link = link_on(event, BPF_PROG_TYPE_KPROBE, 7, &prog);
	char name[256];

	(void)state;
	for (room = 1; room <= strlen(exe) + 1; room++) {
		struct info in = { .name = PTR(name), .name_len = room };

		memset(name, 'x', sizeof(name));
		len = sizeof(in);
		if (room == strlen(exe) + 1) {
			assert_int_equal(ask(link, &in, &len), 0);
			continue;
		}
		assert_int_equal(ask(link, &in, &len), -ENOSPC);
		assert_int_equal(in.type, 0);
		assert_int_equal(in.name_len, room);
		assert_int_equal(len, sizeof(in));
		assert_memory_equal(name, exe, room - 1);
		assert_int_equal(name[room - 1], 0);
		assert_int_equal(name[room], 'x');
	}
	close(link);
	close(event);
}

static void a_name_and_its_room_come_together(void **state)
{
	u32 prog, len;
	int event = uprobe_event(false), link = link_on(event, BPF_PROG_TYPE_KPROBE, 7, &prog);
	char name[256];
	struct info neither = { 0 }, no_room = { .name = PTR(name) }, no_name = { .name_len = 10 };

	(void)state;
	len = sizeof(neither);
	assert_int_equal(ask(link, &neither, &len), 0);
	assert_int_equal(neither.name_len, strlen(exe) + 1);
	assert_int_equal(neither.cookie, 7);
	len = sizeof(no_room);
	assert_int_equal(ask(link, &no_room, &len), -EINVAL);
	len = sizeof(no_name);
	assert_int_equal(ask(link, &no_name, &len), -EINVAL);
	close(link);
	close(event);
}

static void clocks_tell_what_they_count(void **state)
{
	u32 prog, len = sizeof(struct clock_info);
	int event = clock_event(), link = link_on(event, BPF_PROG_TYPE_PERF_EVENT, 99, &prog);
	struct clock_info in = { 0 };

	(void)state;
	assert_int_equal(ask(link, &in, &len), 0);
	assert_int_equal(in.event, EVENT);
	if (bpf == sys_bpf) /* newer kernels give each clock a number of its own */
		assert_int_equal(in.clock_type, PERF_TYPE_SOFTWARE);
	assert_int_equal(in.config, PERF_COUNT_SW_TASK_CLOCK);
	assert_int_equal(in.cookie, 99);
	assert_int_equal(in.prog_id, prog);
	close(link);
	close(event);
}

/* Callers of all ages: what they have no room for is left out, what they know more of must be zero. */
static void the_size_is_the_callers(void **state)
{
	u32 prog, len = 24;
	int event = uprobe_event(false), link = link_on(event, BPF_PROG_TYPE_KPROBE, 7, &prog);
	struct {
		struct info info;
		u8 more[64];
	} in = { { 0 }, { 0 } };

	(void)state;
	assert_int_equal(ask(link, &in, &len), 0);
	assert_int_equal(len, 24);
	assert_int_equal(in.info.event, UPROBE);
	assert_int_equal(in.info.name_len, 0);
	memset(&in, 0, sizeof(in));
	len = sizeof(in);
	assert_int_equal(ask(link, &in, &len), 0);
	assert_int_equal(len, sizeof(struct info));
	memset(&in, 0, sizeof(in));
	in.more[63] = 1;
	len = sizeof(in);
	assert_int_equal(ask(link, &in, &len), -E2BIG);
	close(link);
	close(event);
}

static long query(int fd, char *buf, u32 size, union bpf_attr *a)
{
	memset(a, 0, sizeof(*a));
	a->task_fd_query.pid = (u32)getpid();
	a->task_fd_query.fd = (u32)fd;
	a->task_fd_query.buf = PTR(buf);
	a->task_fd_query.buf_len = size;
	return bpf(BPF_TASK_FD_QUERY, a, END_OF(task_fd_query));
}

static void descriptors_of_events_tell_the_same(void **state)
{
	u32 prog;
	int event = uprobe_event(true), link = link_on(event, BPF_PROG_TYPE_KPROBE, 7, &prog), clock = clock_event(), on_clock;
	char name[256];
	union bpf_attr a;

	(void)state;
	assert_int_equal(query(event, name, sizeof(name), &a), 0);
	assert_int_equal(a.task_fd_query.prog_id, prog);
	assert_int_equal(a.task_fd_query.fd_type, BPF_FD_TYPE_URETPROBE);
	assert_int_equal(a.task_fd_query.probe_offset, offset);
	assert_int_equal(a.task_fd_query.buf_len, strlen(exe));
	assert_string_equal(name, exe);
	assert_int_equal(query(event, name, 5, &a), -ENOSPC);
	assert_int_equal(query(clock, name, sizeof(name), &a), -ENOENT);
	on_clock = link_on(clock, BPF_PROG_TYPE_PERF_EVENT, 0, &prog);
	assert_int_equal(query(clock, name, sizeof(name), &a), -EOPNOTSUPP);
	assert_int_equal(query(link, name, sizeof(name), &a), -524);
	close(on_clock);
	close(clock);
	close(link);
	close(event);
}

static bool kernel_tells(void)
{
	u32 prog, len = sizeof(struct info);
	int event = uprobe_event(false), link;
	struct info in = { 0 };

	if (event < 0)
		return false;
	link = link_on(event, BPF_PROG_TYPE_KPROBE, 1, &prog);
	return !ask(link, &in, &len) && len == sizeof(in) && in.event == UPROBE && in.name_len;
}

/* Where probed() is in the file. */
static void find_offset(void)
{
	u64 start, end, from, at = PTR(probed);
	char line[512];
	FILE *f = fopen("/proc/self/maps", "re");

	exe[readlink("/proc/self/exe", exe, sizeof(exe) - 1)] = '\0';
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &from) == 3 && at >= start && at < end)
			offset = at - start + from;
	if (f)
		fclose(f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probes_tell_file_offset_and_cookie),
		cmocka_unit_test(names_that_do_not_fit_are_cut_and_said_so),
		cmocka_unit_test(a_name_and_its_room_come_together),
		cmocka_unit_test(clocks_tell_what_they_count),
		cmocka_unit_test(the_size_is_the_callers),
		cmocka_unit_test(descriptors_of_events_tell_the_same),
	};

	find_offset();
	if (argc > 1 && !strcmp(argv[1], "kernel")) {
		if (!kernel_works())
			return skip_all("no bpf(2) of the kernel");
		if (!getenv("FERRY")) {
			setenv("FERRY", "off", 1);
			execv("/proc/self/exe", argv);
		}
		bpf = kernel_bpf;
		if (!kernel_tells())
			return skip_all("a kernel that tells less of links on events");
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
