/* SPDX-License-Identifier: MIT */
/* Links and events: programs run while they are attached, and what cannot be is refused as bpf(2) does. */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "preload/preload.h"
#include "sys_test.h"

static int counter_map(void)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);

	assert_true(fd >= 0);
	return fd;
}

/* Adds 1 to element 0 of the map. */
static int counter_prog(int map, u32 type)
{
	struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_VALUE, 0, map),
		INSN(0, 0, 0, 0, 0),
		MOV(2, 1),
		INSN(BPF_STX | BPF_ATOMIC | BPF_DW, 1, 2, 0, BPF_ADD),
		MOV(0, 0),
		EXIT(),
	};
	int fd = load_insns(sys_bpf, type, insns, ARRAY_SIZE(insns));

	assert_true(fd >= 0);
	return fd;
}

static u64 count(int map)
{
	u64 value = 0;
	u32 key = 0;
	union bpf_attr a = { .map_fd = map, .key = PTR(&key), .value = PTR(&value) };

	assert_int_equal(sys_bpf(BPF_MAP_LOOKUP_ELEM, &a, sizeof(a)), 0);
	return value;
}

static void wait_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static bool counts_up(int map)
{
	u64 was = count(map);
	int i;

	for (i = 0; i < 500 && count(map) == was; i++)
		wait_ms(10);
	return count(map) != was;
}

static bool stands_still(int map)
{
	u64 was = count(map);

	wait_ms(50);
	return count(map) == was;
}

static int clock_event(bool disabled)
{
	struct perf_event_attr attr = { .size = sizeof(attr),
					.type = PERF_TYPE_SOFTWARE,
					.config = PERF_COUNT_SW_CPU_CLOCK,
					.sample_period = 1000000,
					.disabled = disabled };
	int fd = sys_perf_open(&attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static int trace_event(u32 id)
{
	struct perf_event_attr attr = { .size = sizeof(attr),
					.type = PERF_TYPE_TRACEPOINT,
					.config = id,
					.sample_period = 1 };

	return sys_perf_open(&attr, -1, 0, -1, 0);
}

static u32 trace_id(const char *event)
{
	char path[128];
	u32 id = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/tracing/events/%s/id", event);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%u", &id), 1);
	fclose(f);
	return id;
}

static long event_ioctl(int fd, unsigned long request, unsigned long arg)
{
	long ret = -1;

	assert_true(sys_perf_ioctl(fd, request, arg, &ret));
	return ret;
}

static int link_to(int prog, int event)
{
	union bpf_attr a = { .link_create = { .prog_fd = prog,
					      .target_fd = event,
					      .attach_type = BPF_PERF_EVENT } };

	return sys_bpf(BPF_LINK_CREATE, &a, sizeof(a));
}

static void programs_on_a_clock_run_until_the_event_is_disabled_or_closed(void **state)
{
	int map = counter_map(), prog = counter_prog(map, BPF_PROG_TYPE_PERF_EVENT);
	int event = clock_event(true);

	(void)state;
	assert_int_equal(event_ioctl(event, PERF_EVENT_IOC_SET_BPF, prog), 0);
	assert_true(stands_still(map));
	assert_int_equal(event_ioctl(event, PERF_EVENT_IOC_ENABLE, 0), 0);
	assert_true(counts_up(map));
	assert_int_equal(event_ioctl(event, PERF_EVENT_IOC_DISABLE, 0), 0);
	assert_true(stands_still(map));
	assert_int_equal(event_ioctl(event, PERF_EVENT_IOC_ENABLE, 0), 0);
	assert_true(counts_up(map));
	close(prog); /* the event has it */
	assert_true(counts_up(map));
	close(event);
	assert_true(stands_still(map));
	close(map);
}

static void a_link_holds_event_and_program(void **state)
{
	int map = counter_map(), prog = counter_prog(map, BPF_PROG_TYPE_PERF_EVENT);
	int event = clock_event(false), link = link_to(prog, event);

	(void)state;
	assert_true(link >= 0);
	assert_int_equal(fcntl(link, F_GETFD), FD_CLOEXEC);
	close(event);
	close(prog);
	assert_true(counts_up(map));
	close(link);
	assert_true(stands_still(map));
	close(map);
}

static void a_pin_keeps_a_link_running(void **state)
{
	const char *path = "/sys/fs/bpf/kept";
	int map = counter_map(), prog = counter_prog(map, BPF_PROG_TYPE_PERF_EVENT);
	int event = clock_event(false), link = link_to(prog, event);
	union bpf_attr pin = { .pathname = PTR(path), .bpf_fd = link };
	union bpf_attr get = { .pathname = PTR(path) };

	(void)state;
	close(event);
	close(prog);
	assert_int_equal(sys_bpf(BPF_OBJ_PIN, &pin, sizeof(pin)), 0);
	assert_int_equal(sys_bpf(BPF_OBJ_PIN, &pin, sizeof(pin)), -EEXIST);
	close(link);
	assert_true(counts_up(map));
	link = sys_bpf(BPF_OBJ_GET, &get, sizeof(get));
	assert_true(link >= 0);
	close(link);
	assert_true(counts_up(map));
	assert_int_equal(unlink(path), 0);
	assert_true(stands_still(map));
	assert_int_equal(sys_bpf(BPF_OBJ_GET, &get, sizeof(get)), -ENOENT);
	close(map);
}

static void links_have_numbers_information_and_fdinfo(void **state)
{
	int map = counter_map(), prog = counter_prog(map, BPF_PROG_TYPE_PERF_EVENT);
	int event = clock_event(false), link = link_to(prog, event), again;
	struct bpf_link_info info = { 0 };
	union bpf_attr a = {
		.info = { .bpf_fd = link, .info_len = sizeof(info), .info = PTR(&info) }
	};
	char path[64], text[1024];
	FILE *f;
	size_t n;

	(void)state;
	assert_int_equal(sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a.info)), 0);
	assert_int_equal(info.type, BPF_LINK_TYPE_PERF_EVENT);
	assert_true(info.id && info.prog_id);
	a = (union bpf_attr){ .start_id = info.id - 1 };
	assert_int_equal(sys_bpf(BPF_LINK_GET_NEXT_ID, &a, sizeof(a)), 0);
	assert_int_equal(a.next_id, info.id);
	a = (union bpf_attr){ .link_id = info.id };
	again = sys_bpf(BPF_LINK_GET_FD_BY_ID, &a, sizeof(a));
	assert_true(again >= 0);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", again);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	assert_non_null(strstr(text, "pos:\t"));
	assert_non_null(strstr(text, "link_type:\tperf\nlink_id:\t"));
	close(link);
	assert_true(counts_up(map)); /* by the other descriptor */
	close(again);
	assert_true(stands_still(map));
	a = (union bpf_attr){ .link_id = info.id };
	assert_int_equal(sys_bpf(BPF_LINK_GET_FD_BY_ID, &a, sizeof(a)), -ENOENT);
	close(event);
	close(prog);
	close(map);
}

static void events_take_one_program_of_their_type(void **state)
{
	int map = counter_map(), perf = counter_prog(map, BPF_PROG_TYPE_PERF_EVENT);
	int trace = counter_prog(map, BPF_PROG_TYPE_TRACEPOINT);
	int clock = clock_event(true), tp = trace_event(trace_id("syscalls/sys_enter_execve"));
	union bpf_attr query = { .task_fd_query = { .pid = getpid(), .fd = tp } };
	char name[32];

	(void)state;
	assert_true(tp >= 0);
	assert_int_equal(event_ioctl(clock, PERF_EVENT_IOC_SET_BPF, trace), -EINVAL);
	assert_int_equal(event_ioctl(clock, PERF_EVENT_IOC_SET_BPF, map), -EINVAL);
	assert_int_equal(event_ioctl(clock, PERF_EVENT_IOC_SET_BPF, 999), -EBADF);
	assert_int_equal(event_ioctl(clock, PERF_EVENT_IOC_SET_BPF, perf), 0);
	assert_int_equal(event_ioctl(clock, PERF_EVENT_IOC_SET_BPF, perf), -EEXIST);
	assert_int_equal(link_to(perf, clock), -EEXIST);
	assert_int_equal(event_ioctl(tp, PERF_EVENT_IOC_SET_BPF, perf), -EINVAL);
	assert_int_equal(event_ioctl(tp, PERF_EVENT_IOC_SET_BPF, trace), 0);
	query.task_fd_query.buf = PTR(name);
	query.task_fd_query.buf_len = sizeof(name);
	assert_int_equal(sys_bpf(BPF_TASK_FD_QUERY, &query, sizeof(query)), 0);
	assert_string_equal(name, "sys_enter_execve");
	assert_int_equal(query.task_fd_query.fd_type, BPF_FD_TYPE_TRACEPOINT);
	assert_int_equal(trace_event(31), -EINVAL);
	close(clock);
	close(tp);
	close(perf);
	close(trace);
	close(map);
}

static void what_has_no_source_of_events_is_refused(void **state)
{
	int map = counter_map(), raw = counter_prog(map, BPF_PROG_TYPE_RAW_TRACEPOINT);
	int trace = counter_prog(map, BPF_PROG_TYPE_TRACEPOINT);
	struct bpf_insn pass[] = { MOV(0, 1), EXIT() };
	int skb = load_insns(sys_bpf, BPF_PROG_TYPE_CGROUP_SKB, pass, 2);
	int tp = trace_event(trace_id("sched/sched_switch"));
	union bpf_attr a = { .raw_tracepoint = { .name = PTR("sched_switch"), .prog_fd = raw } };

	(void)state;
	assert_int_equal(sys_bpf(BPF_RAW_TRACEPOINT_OPEN, &a, sizeof(a)), -EOPNOTSUPP);
	a.raw_tracepoint.name = PTR("no_such_event");
	assert_int_equal(sys_bpf(BPF_RAW_TRACEPOINT_OPEN, &a, sizeof(a)), -ENOENT);
	a.raw_tracepoint.name = 1;
	assert_int_equal(sys_bpf(BPF_RAW_TRACEPOINT_OPEN, &a, sizeof(a)), -EFAULT);
	a.raw_tracepoint.prog_fd = skb;
	assert_int_equal(sys_bpf(BPF_RAW_TRACEPOINT_OPEN, &a, sizeof(a)), -EINVAL);
	assert_int_equal(link_to(trace, tp), -EOPNOTSUPP);
	assert_int_equal(link_to(raw, tp), -EINVAL);
	assert_int_equal(link_to(trace, map), -EBADF);
	a = (union bpf_attr){ .attach_type = BPF_CGROUP_INET_EGRESS, .attach_bpf_fd = skb };
	assert_int_equal(sys_bpf(BPF_PROG_ATTACH, &a, sizeof(a)), -EBADF);
	close(tp);
	close(trace);
	close(skb);
	close(raw);
	close(map);
}

/* perf_event_open(2): EMFILE. Whichever of the descriptors that Ferry takes for it is the one too many. */
static void an_event_without_room_for_its_descriptor_leaves_nothing(void **state)
{
	struct perf_event_attr attr = { .size = sizeof(attr), .type = PERF_TYPE_SOFTWARE,
					.config = PERF_COUNT_SW_CPU_CLOCK, .sample_period = 1000000000, .disabled = 1 };
	u32 before = count_fds(), refused = 0;
	struct rlimit was, few;
	int first, room, fd;

	(void)state;
	first = dup(0);
	assert_true(first >= 0);
	close(first);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	for (room = 0; room < 4; room++) {
		few = (struct rlimit){ (rlim_t)(first + room), was.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		fd = (int)sys_perf_open(&attr, 0, -1, -1, 0);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
		if (fd < 0)
			assert_int_equal(fd, -EMFILE);
		else
			close(fd);
		refused += fd < 0;
		assert_int_equal(count_fds(), before);
	}
	assert_in_range(refused, 2, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(programs_on_a_clock_run_until_the_event_is_disabled_or_closed),
		cmocka_unit_test(a_link_holds_event_and_program),
		cmocka_unit_test(a_pin_keeps_a_link_running),
		cmocka_unit_test(links_have_numbers_information_and_fdinfo),
		cmocka_unit_test(events_take_one_program_of_their_type),
		cmocka_unit_test(what_has_no_source_of_events_is_refused),
		cmocka_unit_test(an_event_without_room_for_its_descriptor_leaves_nothing),
	};

	preload_hook();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
