/* SPDX-License-Identifier: MIT */
/*
 * A client of libbpf that attaches what it is told: loader OBJECT [SECTION=HEX...], which are initial values of
 * sections. It answers lines of stdin, numbers of links being its caller's:
 * "entry LINK PROGRAM PID COOKIE FILE SYMBOL", "return ...": a uprobe; "usdt LINK PROGRAM PID COOKIE FILE PROVIDER NAME";
 * "clock LINK PROGRAM PID COOKIE CPU HZ"; "auto LINK PROGRAM": as its section says; "detach LINK";
 * "map NAME": its elements, "ring NAME", "perf NAME": records until none came for a moment; all in hexadecimal, up to "end".
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINKS 32

static struct bpf_object *obj;
static struct bpf_link *links[LINKS];
static struct ring_buffer *ring;
static struct perf_buffer *perf;

static void show(const void *data, size_t size)
{
	const unsigned char *p = data;
	size_t i;

	for (i = 0; i < size; i++)
		printf("%02x", p[i]);
}

static int record(void *ctx, void *data, size_t size)
{
	(void)ctx;
	show(data, size);
	putchar('\n');
	return 0;
}

static void sample(void *ctx, int cpu, void *data, __u32 size)
{
	(void)cpu;
	record(ctx, data, size);
}

static struct bpf_link *on_clock(struct bpf_program *p, int pid, unsigned long long cookie, const char *cpu, const char *hz)
{
	LIBBPF_OPTS(bpf_perf_event_opts, opts, .bpf_cookie = cookie);
	struct perf_event_attr attr = { .size = sizeof(attr), .type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_CPU_CLOCK,
					.freq = 1, .sample_freq = strtoull(hz, NULL, 0) };
	int fd = (int)syscall(SYS_perf_event_open, &attr, pid, atoi(cpu), -1, PERF_FLAG_FD_CLOEXEC);

	return fd < 0 ? NULL : bpf_program__attach_perf_event_opts(p, fd, &opts);
}

static struct bpf_link *attach(char **arg, int n)
{
	struct bpf_program *p = n > 2 ? bpf_object__find_program_by_name(obj, arg[2]) : NULL;
	LIBBPF_OPTS(bpf_uprobe_opts, uprobe);
	LIBBPF_OPTS(bpf_usdt_opts, usdt);
	int pid = n > 3 ? atoi(arg[3]) : 0;
	unsigned long long cookie = n > 4 ? strtoull(arg[4], NULL, 0) : 0;

	errno = EINVAL;
	if (!p)
		return NULL;
	if (!strcmp(arg[0], "auto"))
		return bpf_program__attach(p);
	if (n < 7)
		return NULL;
	if (!strcmp(arg[0], "clock"))
		return on_clock(p, pid, cookie, arg[5], arg[6]);
	if (!strcmp(arg[0], "usdt") && n == 8) {
		usdt.usdt_cookie = cookie;
		return bpf_program__attach_usdt(p, pid, arg[5], arg[6], arg[7], &usdt);
	}
	uprobe.retprobe = !strcmp(arg[0], "return");
	uprobe.bpf_cookie = cookie;
	uprobe.func_name = arg[6];
	return bpf_program__attach_uprobe_opts(p, pid, arg[5], 0, &uprobe);
}

static void show_map(const struct bpf_map *m)
{
	size_t key_size = bpf_map__key_size(m), value_size = bpf_map__value_size(m);
	void *key = calloc(1, key_size), *value = calloc(1, value_size);
	int err = bpf_map_get_next_key(bpf_map__fd(m), NULL, key);

	for (; !err; err = bpf_map_get_next_key(bpf_map__fd(m), key, key)) {
		if (bpf_map__lookup_elem(m, key, key_size, value, value_size, 0))
			continue;
		show(key, key_size);
		putchar(' ');
		show(value, value_size);
		putchar('\n');
	}
	free(key);
	free(value);
}

static void show_ring(const struct bpf_map *m)
{
	if (!ring)
		ring = ring_buffer__new(bpf_map__fd(m), record, NULL, NULL);
	while (ring && (ring_buffer__consume(ring) > 0 || ring_buffer__poll(ring, 200) > 0))
		;
}

static void show_perf(const struct bpf_map *m)
{
	if (!perf)
		perf = perf_buffer__new(bpf_map__fd(m), 64, sample, NULL, NULL, NULL);
	while (perf && perf_buffer__poll(perf, 200) > 0)
		;
}

static void answer(char **arg, int n)
{
	const struct bpf_map *m = n > 1 ? bpf_object__find_map_by_name(obj, arg[1]) : NULL;
	unsigned link = n > 1 ? (unsigned)atoi(arg[1]) % LINKS : 0;

	if (!strcmp(arg[0], "map") && m) {
		show_map(m);
	} else if (!strcmp(arg[0], "ring") && m) {
		show_ring(m);
	} else if (!strcmp(arg[0], "perf") && m) {
		show_perf(m);
	} else if (!strcmp(arg[0], "detach")) {
		bpf_link__destroy(links[link]);
		links[link] = NULL;
		printf("detached\n");
		return;
	} else {
		links[link] = attach(arg, n);
		if (links[link])
			printf("attached\n");
		else
			printf("refused %d\n", errno);
		return;
	}
	printf("end\n");
}

/* SECTION=HEX before the object is loaded: constants of programs. */
static void set_section(const char *text)
{
	const char *at = strchr(text, '=');
	char value[64], name[32];
	struct bpf_map *m;
	size_t i;

	snprintf(name, sizeof(name), "%.*s", (int)(at - text), text);
	m = bpf_object__find_map_by_name(obj, name);
	for (i = 0; i < sizeof(value) && sscanf(at + 1 + 2 * i, "%2hhx", (unsigned char *)&value[i]) == 1; i++)
		;
	if (!m || bpf_map__set_initial_value(m, value, i))
		fprintf(stderr, "no section %s of %zu bytes\n", name, i);
}

int main(int argc, char **argv)
{
	struct bpf_program *p;
	char line[512], *arg[8];
	int i, n;

	obj = argc > 1 ? bpf_object__open_file(argv[1], NULL) : NULL;
	for (i = 2; obj && i < argc; i++)
		set_section(argv[i]);
	if (obj)
		bpf_object__for_each_program(p, obj)
			bpf_program__set_autoload(p, true);
	if (!obj || bpf_object__load(obj)) {
		printf("not loaded %d\n", errno);
		return 1;
	}
	printf("loaded\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		for (n = 0, arg[0] = strtok(line, " \n"); n < 7 && arg[n]; arg[n] = strtok(NULL, " \n"))
			n++;
		n += arg[n] != NULL;
		if (n)
			answer(arg, n);
		fflush(stdout);
	}
	for (i = 0; i < LINKS; i++)
		bpf_link__destroy(links[i]);
	ring_buffer__free(ring);
	perf_buffer__free(perf);
	bpf_object__close(obj);
	return 0;
}
