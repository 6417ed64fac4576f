/* SPDX-License-Identifier: MIT */
/* Profilers by libbpf: perf_event_open(2) of software clocks, links on them, stacks of who was running. */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "clients/either.h"
#include "test.h"

#define DEPTH 16

struct sample {
	unsigned long long count, period, cookie, ip, stack[DEPTH];
	long long size;
	unsigned int pid, cpu;
	char comm[16];
};

static struct bpf_object *obj;
static int samples;
static bool on_kernel;

/* ---- code that is sampled: it keeps its frame pointers --------------------------------------------- */

#define FRAMES __attribute__((noinline, noclone, optimize("no-omit-frame-pointer", "no-optimize-sibling-calls")))

static atomic_bool stop;

static unsigned long long cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

FRAMES static unsigned long innermost(unsigned long n)
{
	volatile unsigned long x = n;
	unsigned long i;

	for (i = 0; i < 200000; i++)
		x = x * 7 + i;
	return x;
}

FRAMES static unsigned long middle(unsigned long n)
{
	return innermost(n) + 1;
}

/* Spins for so much time of its own. */
FRAMES static unsigned long outermost(unsigned long long ns)
{
	unsigned long long end = cpu_ns() + ns;
	unsigned long x = 0;

	while (cpu_ns() < end)
		x += middle(x);
	return x;
}

static bool is_in(unsigned long long addr, const void *fn, unsigned long size)
{
	return addr - (unsigned long long)fn < size;
}

/* ---- help -------------------------------------------------------------------------------------------- */

static int open_clock(unsigned long long config, int pid, int cpu, bool freq, unsigned long long rate,
		      bool disabled)
{
	struct perf_event_attr attr = { .size = sizeof(attr), .type = PERF_TYPE_SOFTWARE, .config = config,
					.freq = freq, .sample_freq = rate, .disabled = disabled };

	return (int)syscall(SYS_perf_event_open, &attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

static struct bpf_link *attach(const char *prog, int fd, unsigned long long cookie)
{
	LIBBPF_OPTS(bpf_perf_event_opts, opts, .bpf_cookie = cookie);

	return bpf_program__attach_perf_event_opts(bpf_object__find_program_by_name(obj, prog), fd, &opts);
}

/* A profile of the whole machine, as the tools make it: one event a processor. */
static int profile_all(const char *prog, unsigned long long hz, struct bpf_link *links[256])
{
	int n = libbpf_num_possible_cpus(), i, fd;

	for (i = 0; i < n && i < 256; i++) {
		fd = open_clock(PERF_COUNT_SW_CPU_CLOCK, -1, i, true, hz, false);
		assert_true(fd >= 0);
		links[i] = attach(prog, fd, 100);
		assert_non_null(links[i]);
	}
	return i;
}

static void end(struct bpf_link **links, int n)
{
	while (n--)
		bpf_link__destroy(links[n]);
}

static struct sample look(unsigned int key)
{
	struct sample s = { 0 };

	bpf_map_lookup_elem(samples, &key, &s);
	return s;
}

static void forget(void)
{
	unsigned int key;

	while (!bpf_map_get_next_key(samples, NULL, &key))
		bpf_map_delete_elem(samples, &key);
}

static int setup(void **state)
{
	const unsigned int pid = getpid();

	(void)state;
	obj = bpf_object__open_file(getenv("CLOCK_OBJECT"), NULL);
	if (!obj)
		return -1;
	if (bpf_map__set_initial_value(bpf_object__find_map_by_name(obj, ".rodata.wanted"), &pid, sizeof(pid)) ||
	    bpf_object__load(obj))
		return -1;
	samples = bpf_object__find_map_fd_by_name(obj, "samples");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bpf_object__close(obj);
	return 0;
}

struct worker {
	pthread_t thread;
	int tid;
	const char *name;
	unsigned long long ns, spent;
	char for_signals[8192];
};

static void *work(void *arg)
{
	struct worker *w = arg;

	/* As some languages give every thread: the programs have more to do than fits there. */
	stack_t small = { .ss_sp = w->for_signals, .ss_size = sizeof(w->for_signals) };

	w->tid = (int)syscall(SYS_gettid);
	prctl(PR_SET_NAME, w->name);
	assert_int_equal(sigaltstack(&small, NULL), 0);
	outermost(w->ns);
	small.ss_flags = SS_DISABLE;
	sigaltstack(&small, NULL);
	w->spent = cpu_ns();
	return NULL;
}

/* ---- tests ------------------------------------------------------------------------------------------- */

static void expect_stack(const struct sample *s)
{
	int depth = (int)(s->size / 8), i;

	assert_true(depth >= 3);
	assert_int_equal(s->stack[0], s->ip);
	/* The clock's call in outermost() takes a little of the time: then that is where it was. */
	for (i = 0; i < depth && !is_in(s->stack[i], outermost, 400); i++)
		;
	assert_true(i < depth);
}

/*
 * Threads at once are each told apart, by number, name and stack. All processors have an event, and each
 * thread was on one of them at a time: together they count its CPU time, not a multiple of it.
 */
static void running_threads_are_sampled(void **state)
{
	struct worker w[3] = { { .name = "first", .ns = 300000000 }, { .name = "second", .ns = 300000000 },
			       { .name = "third", .ns = 150000000 } };
	struct bpf_link *links[256];
	struct sample s;
	int n, i;

	(void)state;
	forget();
	n = profile_all("profile", 500, links);
	for (i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	for (i = 0; i < 3; i++)
		pthread_join(w[i].thread, NULL);
	end(links, n);
	for (i = 0; i < 3; i++) {
		s = look(w[i].tid);
		print_message("# %s: %llu samples in %llu ms of CPU time\n", w[i].name, s.count,
			      w[i].spent / 1000000);
		/* One in 2 ms; fewer where a busy machine's clock was late, more when it makes up for that. */
		assert_in_range(s.count, w[i].spent / 2000000 / 6, w[i].spent / 2000000 * 2 + 20);
		assert_int_equal(s.period, 2000000);
		assert_int_equal(s.cookie, 100);
		assert_int_equal(s.pid, getpid());
		assert_string_equal(s.comm, w[i].name);
		assert_true(s.cpu < (unsigned int)libbpf_num_possible_cpus());
		expect_stack(&s);
	}
}

/* The stack whose innermost frame is in innermost(): its callers, and how often it was seen. */
static void stacks_have_the_callers_in_order(void **state)
{
	int by_trace = bpf_object__find_map_fd_by_name(obj, "by_trace");
	int traces = bpf_object__find_map_fd_by_name(obj, "traces");
	unsigned long long stack[DEPTH], n, good = 0, all = 0;
	unsigned int key, *prev = NULL;
	int fd = open_clock(PERF_COUNT_SW_CPU_CLOCK, (int)syscall(SYS_gettid), -1, false, 1000000, false);
	struct bpf_link *l = attach("profile", fd, 0);

	(void)state;
	assert_non_null(l);
	outermost(300000000);
	bpf_link__destroy(l);
	for (; !bpf_map_get_next_key(by_trace, prev, &key); prev = &key) {
		assert_int_equal(bpf_map_lookup_elem(by_trace, &key, &n), 0);
		if ((int)key < 0 || bpf_map_lookup_elem(traces, &key, stack))
			continue;
		all += n;
		if (is_in(stack[0], innermost, 200) && is_in(stack[1], middle, 100) &&
		    is_in(stack[2], outermost, 400))
			good += n;
	}
	print_message("# %llu of %llu stacks are whole\n", good, all);
	assert_true(all > 0 && good * 10 >= all * 8);
}

/* A clock of a task counts that task's time, and no other thread's. */
static void task_clock_counts_the_time_of_its_thread(void **state)
{
	struct worker other = { .name = "other", .ns = 200000000 };
	unsigned long long begin, spent;
	int self = (int)syscall(SYS_gettid), fd;
	struct bpf_link *l;

	(void)state;
	forget();
	fd = open_clock(PERF_COUNT_SW_TASK_CLOCK, self, -1, false, 5000000, false);
	l = attach("profile", fd, 9);
	assert_non_null(l);
	begin = cpu_ns();
	assert_int_equal(pthread_create(&other.thread, NULL, work, &other), 0);
	outermost(400000000);
	pthread_join(other.thread, NULL);
	spent = cpu_ns() - begin;
	bpf_link__destroy(l);
	print_message("# %llu samples in %llu ms\n", look(self).count, spent / 1000000);
	assert_in_range(look(self).count, spent / 5000000 * 8 / 10, spent / 5000000 + 2);
	assert_int_equal(look(self).period, 5000000);
	assert_int_equal(look(self).cookie, 9);
	assert_int_equal(look(other.tid).count, 0);
}

/* pid 0 is the thread that opens it; the ioctls, without a link. */
static void ioctls_start_and_stop_it(void **state)
{
	int prog = bpf_program__fd(bpf_object__find_program_by_name(obj, "profile"));
	int self = (int)syscall(SYS_gettid);
	int fd = open_clock(PERF_COUNT_SW_CPU_CLOCK, 0, -1, true, 1000, true);
	unsigned long long n, spent, period = 4000000;

	(void)state;
	forget();
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, PERF_EVENT_IOC_SET_BPF, prog), 0);
	outermost(50000000);
	assert_int_equal(look(self).count, 0); /* it was opened disabled */
	spent = cpu_ns();
	assert_int_equal(ioctl(fd, PERF_EVENT_IOC_ENABLE, 0), 0);
	outermost(100000000);
	assert_int_equal(ioctl(fd, PERF_EVENT_IOC_DISABLE, 0), 0);
	spent = cpu_ns() - spent;
	n = look(self).count;
	assert_in_range(n, spent / 1000000 / 2, spent / 1000000 * 13 / 10);
	outermost(50000000);
	assert_int_equal(look(self).count, n);
	assert_int_equal(ioctl(fd, PERF_EVENT_IOC_SET_BPF, prog), -1);
	assert_int_equal(errno, EEXIST);
	close(fd);
	/* With a period it can be given another one. */
	forget();
	spent = cpu_ns();
	fd = open_clock(PERF_COUNT_SW_CPU_CLOCK, 0, -1, false, 1000000, false);
	assert_int_equal(ioctl(fd, PERF_EVENT_IOC_SET_BPF, prog), 0);
	assert_int_equal(ioctl(fd, PERF_EVENT_IOC_PERIOD, &period), 0);
	outermost(200000000);
	close(fd);
	spent = cpu_ns() - spent;
	n = look(self).count;
	assert_in_range(n, spent / period * 6 / 10, spent / period * 12 / 10);
	outermost(50000000);
	assert_int_equal(look(self).count, n); /* closed is ended */
}

static void bad_events_are_refused(void **state)
{
	int fd = open_clock(PERF_COUNT_SW_CPU_CLOCK, -1, -1, false, 1000000, false);

	(void)state;
	assert_int_equal(fd, -1);
	assert_int_equal(errno, EINVAL);
	fd = open_clock(PERF_COUNT_SW_CPU_CLOCK, -2, 0, false, 1000000, false);
	assert_int_equal(fd, -1);
	/* More often than kernel.perf_event_max_sample_rate. */
	fd = open_clock(PERF_COUNT_SW_CPU_CLOCK, 0, -1, true, 1000000000, false);
	assert_int_equal(fd, -1);
	assert_int_equal(errno, EINVAL);
	fd = open_clock(PERF_COUNT_SW_CPU_CLOCK, 0, -1, false, 1ull << 63, false);
	assert_int_equal(fd, -1);
	assert_int_equal(errno, EINVAL);
	/* A program that is none of perf events. */
	fd = open_clock(PERF_COUNT_SW_CPU_CLOCK, 0, -1, false, 1000000, false);
	assert_int_equal(ioctl(fd, PERF_EVENT_IOC_SET_BPF, samples), -1);
	assert_int_equal(errno, EINVAL);
	close(fd);
}

/* Nobody of ours runs: the ticks are the idle task's, on each processor, and it has no user's stack. */
static void idle_processors_tick(void **state)
{
	struct timespec t = { 0, 400000000 }, begin, now;
	struct bpf_link *links[256];
	unsigned long long all = 0, ms;
	struct sample s;
	int n, i;
	char name[32];

	(void)state;
	forget();
	clock_gettime(CLOCK_MONOTONIC, &begin);
	n = profile_all("profile", 100, links);
	nanosleep(&t, NULL);
	end(links, n);
	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (now.tv_sec - begin.tv_sec) * 1000ull + now.tv_nsec / 1000000 - begin.tv_nsec / 1000000;
	for (i = 0; i < n; i++) {
		s = look(1u << 31 | i);
		all += s.count;
		assert_in_range(s.count, 0, ms / 10 * 2); /* a busy machine wakes us late */
		if (!s.count)
			continue;
		snprintf(name, sizeof(name), "swapper/%d", i);
		assert_string_equal(s.comm, name);
		assert_int_equal(s.pid, 0);
		assert_int_equal(s.cpu, i);
		/* The kernel's idle task may have been on the way to another. */
		assert_true(s.size == -EFAULT || on_kernel);
	}
	print_message("# %llu idle ticks\n", all);
	/* On a kernel other processes may have all of the machine. */
	assert_true(on_kernel || all >= 10u * n);
}

/* ---- at any moment ----------------------------------------------------------------------------------- */

static void *allocate(void *arg)
{
	void *p[64] = { 0 };
	unsigned int i = 0;

	while (!stop) {
		free(p[i % 64]);
		p[i % 64] = malloc(16 + i * 37 % 5000);
		i++;
	}
	for (i = 0; i < 64; i++)
		free(p[i]);
	return arg;
}

static void *use_maps(void *arg)
{
	static const struct sample zero;
	unsigned int i = 0, key;
	struct sample s;

	while (!stop) {
		key = 512 + i++ % 512;
		bpf_map_update_elem(samples, &key, &zero, BPF_ANY);
		bpf_map_lookup_elem(samples, &key, &s);
		bpf_map_delete_elem(samples, &key);
	}
	return arg;
}

static void *open_objects(void *arg)
{
	while (!stop) {
		close(bpf_map_create(BPF_MAP_TYPE_HASH, "short", 4, 4, 16, NULL));
		close(open("/dev/null", O_RDONLY));
	}
	return arg;
}

static void *print(void *arg)
{
	FILE *f = fopen("/dev/null", "w");

	while (!stop)
		fprintf(f, "%d %s %g\n", 42, "text", 1.5);
	fclose(f);
	return arg;
}

static void *nothing(void *arg)
{
	outermost(1000000);
	return arg;
}

static void *start_threads(void *arg)
{
	pthread_t t;

	while (!stop) {
		if (!pthread_create(&t, NULL, nothing, NULL))
			pthread_join(t, NULL);
	}
	return arg;
}

/* Whatever a thread is in the middle of, the program runs on it or not at all, and the thread goes on. */
static void threads_are_interrupted_anywhere(void **state)
{
	void *(*const what[])(void *) = { allocate, use_maps, open_objects, print, start_threads };
	struct timespec t = { 1, 500000000 };
	struct bpf_link *links[256];
	pthread_t threads[5];
	struct bpf_link *l;
	int n, i, round;

	(void)state;
	forget();
	stop = false;
	n = profile_all("busy", 5000, links);
	for (i = 0; i < 5; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, what[i], NULL), 0);
	for (round = 0; round < 30; round++) { /* others come and go meanwhile */
		t = (struct timespec){ 0, 40000000 };
		l = attach("busy", open_clock(PERF_COUNT_SW_CPU_CLOCK, -1, 0, true, 1000, false), 0);
		assert_non_null(l);
		nanosleep(&t, NULL);
		bpf_link__destroy(l);
	}
	stop = true;
	for (i = 0; i < 5; i++)
		pthread_join(threads[i], NULL);
	end(links, n);
	print_message("# %llu ticks\n", look(0).count);
	assert_true(look(0).count > 100);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(running_threads_are_sampled),
		cmocka_unit_test(stacks_have_the_callers_in_order),
		cmocka_unit_test(task_clock_counts_the_time_of_its_thread),
		cmocka_unit_test(ioctls_start_and_stop_it),
		cmocka_unit_test(bad_events_are_refused),
		cmocka_unit_test(idle_processors_tick),
		cmocka_unit_test(threads_are_interrupted_anywhere),
	};

	on_kernel = argc > 1;
	if (no_kernel(argc, argv, "/sys/bus/event_source/devices/software/type"))
		return skip_all("no bpf(2) or no clocks of the machine's kernel");
	return cmocka_run_group_tests(tests, setup, teardown);
}
