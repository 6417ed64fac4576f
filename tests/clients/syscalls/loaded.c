/* SPDX-License-Identifier: MIT */
/*
 * A library that comes and goes while programs are on its function and its system calls, and other threads use it:
 * each time what it does is seen, nobody is led astray, and the memory that this takes does not grow.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dlfcn.h>
#include <ferry/ferry.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test.h"

#define ROUNDS 150

static struct bpf_object *obj;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static long (*_Atomic call)(long nr, long a1, long a2, long a3, long a4, long a5, long a6);
static _Atomic bool stop;
static _Atomic unsigned long calls;

static void *use(void *arg)
{
	while (!stop) {
		pthread_rwlock_rdlock(&lock);
		if (call) {
			if (call(SYS_getppid, 0, 0, 0, 0, 0, 0) != getppid())
				abort();
			calls++;
		}
		pthread_rwlock_unlock(&lock);
		sched_yield();
	}
	return arg;
}

static unsigned long long hits(void)
{
	unsigned long long n = 0;
	unsigned int zero = 0;

	bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "hits"), &zero, &n);
	return n;
}

/* Bytes of executable memory of no file. */
static unsigned long stubs(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long start, end, sum = 0;
	char line[512], flags[8];
	int inode;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %7s %*s %*s %d", &start, &end, flags, &inode) == 4 && flags[2] == 'x' && !inode)
			sum += end - start;
	if (f)
		fclose(f);
	return sum;
}

static void *load(void)
{
	void *lib = dlopen(getenv("BRIDGE"), RTLD_NOW);
	void *at = lib ? dlsym(lib, "bridge_call") : NULL;

	assert_non_null(at);
	call = (long (*)(long, long, long, long, long, long, long))at;
	return lib;
}

static void a_library_that_comes_and_goes_is_seen_each_time(void **state)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "bridge_call");
	struct bpf_link *enter, *func;
	unsigned long long before;
	unsigned long early = 0;
	pthread_t t[2];
	void *lib;
	int i;

	(void)state;
	enter = bpf_program__attach(bpf_object__find_program_by_name(obj, "tp_enter")); /* getppid */
	assert_non_null(enter);
	lib = load();
	func = bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(obj, "probe"), -1, getenv("BRIDGE"), 0, &opts);
	assert_non_null(func);
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, use, NULL), 0);
	for (i = 0; i < ROUNDS; i++) {
		before = hits();
		assert_int_equal(call(SYS_getppid, 0, 0, 0, 0, 0, 0), getppid());
		assert_true(hits() >= before + 3); /* the function, its call, and getppid()'s own */
		usleep(500);
		pthread_rwlock_wrlock(&lock);
		call = NULL;
		dlclose(lib);
		pthread_rwlock_unlock(&lock);
		pthread_rwlock_wrlock(&lock);
		lib = load();
		pthread_rwlock_unlock(&lock);
		if (i == ROUNDS / 3)
			early = stubs();
	}
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	print_message("# %lu calls by others, %lu bytes of stubs\n", (unsigned long)calls, stubs());
	assert_int_equal(stubs(), early);
	bpf_link__destroy(func);
	bpf_link__destroy(enter);
	dlclose(lib);
}

static int setup(void **state)
{
	(void)state;
	if (ferry_hook())
		return -1;
	obj = bpf_object__open_file(getenv("LOADED_OBJECT"), NULL);
	return obj && !bpf_object__load(obj) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	bpf_object__close(obj);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_library_that_comes_and_goes_is_seen_each_time) };

	return cmocka_run_group_tests(tests, setup, teardown);
}
