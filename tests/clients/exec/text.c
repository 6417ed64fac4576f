/* SPDX-License-Identifier: MIT */
/*
 * text SECTION EVENT: a client that loads the dumped text section of an object as a tracepoint
 * program and puts it on an event by perf_event_open(2) and ioctl(2).
 */
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct bpf_insn insns[256];
static char log_buf[65536];

static void die(const char *what)
{
	perror(what);
	if (log_buf[0])
		fputs(log_buf, stderr);
	exit(1);
}

static int load(const char *path)
{
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_TRACEPOINT,
				.insns = (uint64_t)(uintptr_t)insns,
				.license = (uint64_t)(uintptr_t) "GPL",
				.log_buf = (uint64_t)(uintptr_t)log_buf,
				.log_size = sizeof(log_buf),
				.log_level = 2 };
	int file = open(path, O_RDONLY);
	ssize_t n = read(file, insns, sizeof(insns));

	if (n <= 0)
		die(path);
	close(file);
	attr.insn_cnt = (uint32_t)(n / (ssize_t)sizeof(insns[0]));
	return (int)syscall(__NR_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static int event(const char *name)
{
	struct perf_event_attr attr = { .size = sizeof(attr),
					.type = PERF_TYPE_TRACEPOINT,
					.sample_type = PERF_SAMPLE_RAW,
					.sample_period = 1,
					.wakeup_events = 1 };
	char path[256], number[32] = "";
	int file;

	snprintf(path, sizeof(path), "/sys/kernel/debug/tracing/events/%s/id", name);
	file = open(path, O_RDONLY);
	if (file < 0 || read(file, number, sizeof(number) - 1) <= 0)
		die(path);
	close(file);
	attr.config = strtoull(number, NULL, 10);
	return (int)syscall(__NR_perf_event_open, &attr, -1, 0, -1, 0);
}

int main(int argc, char **argv)
{
	int prog, fd;

	if (argc != 3)
		return 2;
	prog = load(argv[1]);
	if (prog < 0)
		die("BPF_PROG_LOAD");
	fd = event(argv[2]);
	if (fd < 0)
		die("perf_event_open");
	if (ioctl(fd, PERF_EVENT_IOC_RESET, 0) || ioctl(fd, PERF_EVENT_IOC_ENABLE, 0))
		die("ioctl");
	if (ioctl(fd, PERF_EVENT_IOC_SET_BPF, prog))
		die("PERF_EVENT_IOC_SET_BPF");
	puts("attached");
	return 0;
}
