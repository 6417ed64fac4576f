/* SPDX-License-Identifier: MIT */
/*
 * Perf buffers under libbpf's perf_buffer, and record by record: on Ferry (`unit`) and, the same
 * program with the same client, on the kernel (`kernel`).
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "map/map.h"
#include "scenario.h"

static struct scenario s;

/* Sends a counter: map[1] holds it; returns bpf_perf_event_output()'s result. */
#define SEND(flags_lo, size)                                                                       \
	"r6 = r1\n*(u32 *)(r10 - 4) = 0\nr1 = map[1] ll\nr2 = r10\nr2 += -4\n"                     \
	"call bpf_map_lookup_elem\nif r0 == 0 goto out\n"                                          \
	"r1 = 1\nlock *(u64 *)(r0 + 0) += r1\nr4 = r0\nr1 = r6\nr2 = map[0] ll\n"                  \
	"w3 = " flags_lo "\nr5 = " size "\ncall bpf_perf_event_output\nexit\nout:\nr0 = 7\nexit\n"

struct rig {
	int events, values, prog;
};

static void rig_make(struct rig *r, const char *source, u32 value)
{
	int maps[2];

	r->events = scenario_map(&s, BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, map_cpus(), 0, 0);
	r->values = scenario_map(&s, BPF_MAP_TYPE_ARRAY, 4, value, 1, 0, 0);
	assert_true(r->events >= 0 && r->values >= 0);
	maps[0] = r->events;
	maps[1] = r->values;
	r->prog = scenario_prog(&s, BPF_PROG_TYPE_SCHED_CLS, source, maps, 2);
	assert_true(r->prog >= 0);
}

static void rig_close(struct rig *r)
{
	close(r->prog);
	close(r->events);
	close(r->values);
}

static u64 got, last, lost;

static void sample(void *ctx, int cpu, void *data, __u32 size)
{
	(void)ctx, (void)cpu;
	assert_true(size >= 8);
	memcpy(&last, data, 8);
	got++;
}

static void losing(void *ctx, int cpu, __u64 n)
{
	(void)ctx, (void)cpu;
	lost += n;
}

static void on_one_cpu(void)
{
	cpu_set_t one;
	int cpu = sched_getcpu();

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static void libbpf_reads_what_programs_send_and_hears_of_losses(void **state)
{
	struct rig r;
	struct perf_buffer *pb;
	u64 sent = 0, ok = 0;

	(void)state;
	got = last = lost = 0;
	rig_make(&r, SEND("-1", "8"), 8);
	assert_int_equal(scenario_run(&s, r.prog), -ENOENT); /* no event yet */
	pb = perf_buffer__new(r.events, 1, sample, losing, NULL, NULL);
	assert_non_null(pb);
	for (int i = 0; i < 10; i++)
		assert_int_equal(scenario_run(&s, r.prog), 0);
	while (got < 10)
		assert_true(perf_buffer__poll(pb, 1000) > 0);
	assert_int_equal(last, 11);
	assert_int_equal(perf_buffer__poll(pb, 0), 0); /* nothing more: nobody is woken */
	/* 24 bytes a record, a page of room: 170 fit (one byte stays free). */
	do {
		sent++;
		ok += scenario_run(&s, r.prog) == 0;
	} while (sent < 300);
	assert_int_equal(ok, 170);
	got = 0;
	assert_true(perf_buffer__poll(pb, 1000) > 0);
	assert_int_equal(got, 170);
	assert_int_equal(lost, 0); /* told with the next record that fits */
	assert_int_equal(scenario_run(&s, r.prog), 0);
	perf_buffer__poll(pb, 1000);
	assert_int_equal(lost, 130);
	assert_int_equal(got, 171);
	perf_buffer__free(pb);
	assert_int_equal(scenario_run(&s, r.prog), -ENOENT);
	rig_close(&r);
}

static void records_of_any_size_survive_the_end_of_the_ring(void **state)
{
	struct rig r;
	struct perf_buffer *pb;
	u64 value[25] = { 0 };
	u32 k = 0;

	(void)state;
	rig_make(&r, SEND("-1", "200"), 200);
	pb = perf_buffer__new(r.events, 1, sample, losing, NULL, NULL);
	assert_non_null(pb);
	got = lost = 0;
	for (u64 i = 1; i <= 500; i++) {
		value[0] = i * 1000 - 1;
		value[24] = i;
		assert_int_equal(scenario_elem(&s, BPF_MAP_UPDATE_ELEM, r.values, &k, value, 0), 0);
		assert_int_equal(scenario_run(&s, r.prog), 0);
		perf_buffer__consume(pb);
		assert_int_equal(last, i * 1000);
		assert_int_equal(got, i);
	}
	assert_int_equal(lost, 0);
	perf_buffer__free(pb);
	rig_close(&r);
}

static int open_event(u64 sample_type, u32 wakeup)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
					.size = sizeof(attr),
					.config = PERF_COUNT_SW_BPF_OUTPUT,
					.sample_type = sample_type,
					.sample_period = 1,
					.wakeup_events = wakeup };

	if (s.bpf == sys_bpf)
		return (int)sys_perf_open(&attr, -1, sched_getcpu(), -1, 0);
	return (int)syscall(SYS_perf_event_open, &attr, -1, sched_getcpu(), -1, 0);
}

static void a_record_is_header_fields_size_and_padded_data(void **state)
{
	struct rig r;
	int fd, cpu = sched_getcpu();
	struct perf_event_mmap_page *page;
	struct perf_event_header *head;
	u32 w;

	(void)state;
	rig_make(&r, SEND("-1", "5"), 8);
	fd = open_event(PERF_SAMPLE_RAW | PERF_SAMPLE_TID | PERF_SAMPLE_CPU, 1);
	assert_true(fd >= 0);
	/* 1 + 2^n pages or nothing */
	page = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_equal(page, MAP_FAILED);
	page = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(page->data_offset, 4096);
	assert_int_equal(page->data_size, 4096);
	ioctl(fd, PERF_EVENT_IOC_ENABLE, 0);
	assert_int_equal(scenario_elem(&s, BPF_MAP_UPDATE_ELEM, r.events, &cpu, &fd, 0), 0);
	assert_int_equal(scenario_run(&s, r.prog), 0);
	head = (void *)((u8 *)page + 4096);
	/* 8 header, 8 thread, 8 CPU, 4 size and 12 of data */
	assert_int_equal(page->data_head, 40);
	assert_int_equal(head->type, PERF_RECORD_SAMPLE);
	assert_int_equal(head->size, 40);
	memcpy(&w, (u8 *)head + 8, 4);
	assert_int_equal(w, getpid());
	memcpy(&w, (u8 *)head + 16, 4);
	assert_int_equal(w, cpu);
	memcpy(&w, (u8 *)head + 24, 4);
	assert_int_equal(w, 12);
	memcpy(&w, (u8 *)head + 28, 4);
	assert_int_equal(w, 1);
	munmap(page, 2 * 4096);
	close(fd);
	rig_close(&r);
}

/* As the kernel's poll: one wakeup for so many records. */
static void wakeups_come_every_so_many_records(void **state)
{
	struct rig r;
	struct epoll_event e = { .events = EPOLLIN };
	int fd, ep = epoll_create1(EPOLL_CLOEXEC), cpu = sched_getcpu();
	void *page;

	(void)state;
	rig_make(&r, SEND("-1", "8"), 8);
	fd = open_event(PERF_SAMPLE_RAW, 3);
	page = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(page, MAP_FAILED);
	scenario_elem(&s, BPF_MAP_UPDATE_ELEM, r.events, &cpu, &fd, 0);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	scenario_run(&s, r.prog);
	scenario_run(&s, r.prog);
	assert_int_equal(epoll_wait(ep, &e, 1, 0), 0);
	scenario_run(&s, r.prog);
	assert_int_equal(epoll_wait(ep, &e, 1, 100), 1);
	munmap(page, 2 * 4096);
	close(fd);
	close(ep);
	rig_close(&r);
}

static void errors_are_the_kernels(void **state)
{
	struct rig r, far;
	int fd, cpu = sched_getcpu(), bad = 12345, none = -1;
	u32 k = 0;
	u64 v;

	(void)state;
	rig_make(&r, SEND("-1", "8"), 8);
	rig_make(&far, SEND("100000", "8"), 8);
	assert_int_equal(scenario_elem(&s, BPF_MAP_UPDATE_ELEM, r.events, &k, &bad, 0), -EBADF);
	assert_int_equal(scenario_elem(&s, BPF_MAP_UPDATE_ELEM, r.events, &k, &none, 0), -EBADF);
	assert_int_equal(scenario_elem(&s, BPF_MAP_UPDATE_ELEM, r.events, &k, &r.values, 0),
			 -EBADF);
	fd = open_event(PERF_SAMPLE_RAW, 1);
	assert_int_equal(scenario_elem(&s, BPF_MAP_UPDATE_ELEM, r.events, &k, &fd, BPF_EXIST),
			 -EINVAL);
	k = 9999;
	assert_int_equal(scenario_elem(&s, BPF_MAP_UPDATE_ELEM, r.events, &k, &fd, 0), -E2BIG);
	assert_int_equal(scenario_elem(&s, BPF_MAP_UPDATE_ELEM, r.events, &cpu, &fd, 0), 0);
	assert_int_equal(scenario_elem(&s, BPF_MAP_LOOKUP_ELEM, r.events, &cpu, &v, 0), -524);
	assert_int_equal(scenario_run(&s, r.prog), -ENOSPC); /* no buffer mapped */
	assert_int_equal(scenario_run(&s, far.prog), -E2BIG);
	assert_int_equal(scenario_elem(&s, BPF_MAP_DELETE_ELEM, r.events, &cpu, NULL, 0), 0);
	assert_int_equal(scenario_elem(&s, BPF_MAP_DELETE_ELEM, r.events, &cpu, NULL, 0), -ENOENT);
	close(fd);
	rig_close(&r);
	rig_close(&far);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(libbpf_reads_what_programs_send_and_hears_of_losses),
		cmocka_unit_test(records_of_any_size_survive_the_end_of_the_ring),
		cmocka_unit_test(a_record_is_header_fields_size_and_padded_data),
		cmocka_unit_test(wakeups_come_every_so_many_records),
		cmocka_unit_test(errors_are_the_kernels),
	};

	s.bpf = sys_bpf;
	if (argc > 1 && !strcmp(argv[1], "kernel")) {
		if (!kernel_works())
			return skip_all("no bpf(2) of the kernel");
		if (!getenv("FERRY")) { /* libbpf's own calls, too, go to the kernel then */
			setenv("FERRY", "off", 1);
			execv("/proc/self/exe", argv);
		}
		s.bpf = kernel_bpf;
	}
	on_one_cpu();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
