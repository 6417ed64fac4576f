/* SPDX-License-Identifier: MIT */
/* What test_limit.c and test_policy.c share. */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "limit_test.h"

char limit_log[4096];

static void keep_log(void *arg, int level, const char *msg)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	size_t len;

	(void)arg;
	pthread_mutex_lock(&lock);
	len = strlen(limit_log);
	if (level <= FERRY_LOG_WARN)
		snprintf(limit_log + len, sizeof(limit_log) - len, "%s\n", msg);
	pthread_mutex_unlock(&lock);
}

static int crash(int how)
{
	static volatile int zero;
	int *volatile bad = (int *)8;
	void *page;

	switch (how) {
	case 1: return *bad;
	case 2: *bad = 1; return 0;
	case 3: return 7 / zero;
	case 4: __builtin_trap();
	case 5: return ((int (*)(void))(uintptr_t)0x1000)();
	case 6:
		page = mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		*(volatile int *)page = 1;
		return 0;
	default: return how;
	}
}

static int fine(int x)
{
	return x + 1;
}

static int slow(int us)
{
	usleep((unsigned int)us);
	return 0;
}

static int fill(void *out, unsigned int size)
{
	(void)size;
	*(volatile char *)out = 1;
	return crash(1);
}

static int wipe_disk(int x)
{
	return -x;
}

void limit_module(void)
{
	static const struct ferry_func funcs[] = {
		FERRY_FUNC("int crash(int how)", crash),
		FERRY_FUNC("int fine(int x)", fine),
		FERRY_FUNC("int slow(int us)", slow),
		FERRY_FUNC("int fill(void *out__uninit, unsigned int out__sz)", fill),
		FERRY_FUNC("int wipe_disk(int x)", wipe_disk, FERRY_DESTRUCTIVE),
	};
	static const struct ferry_module mod = { sizeof(mod), "limit_test", NULL, funcs, 5 };

	assert_int_equal(ferry_module_register(&mod), 0);
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level, (void)fmt, (void)ap;
	return 0;
}

void limit_setup(void)
{
	ferry_log_to(keep_log, NULL);
	libbpf_set_print(quiet);
	limit_module();
}

struct bpf_object *limit_open(const char *const *programs)
{
	struct bpf_program *prog;
	struct bpf_object *o;
	char path[4096];

	snprintf(path, sizeof(path), "%s/limit.bpf.o", getenv("LIMIT_OBJECTS"));
	o = bpf_object__open_file(path, NULL);
	assert_non_null(o);
	bpf_object__for_each_program(prog, o) {
		bool wanted = !programs && strcmp(bpf_program__name(prog), "destroys");

		for (size_t i = 0; programs && programs[i]; i++)
			wanted |= !strcmp(programs[i], bpf_program__name(prog));
		bpf_program__set_autoload(prog, wanted);
	}
	return o;
}

struct bpf_object *limit_load(const char *program)
{
	const char *const only[] = { program, NULL };
	struct bpf_object *o = limit_open(program ? only : NULL);

	if (!bpf_object__load(o))
		return o;
	bpf_object__close(o);
	return NULL;
}

int limit_fd(struct bpf_object *o, const char *program)
{
	int fd = bpf_program__fd(bpf_object__find_program_by_name(o, program));

	assert_true(fd >= 0);
	return fd;
}

unsigned long limit_run(int fd, struct args *a)
{
	uint64_t ret = 0;

	assert_int_equal(ferry_prog_run(fd, a, sizeof(*a), &ret), 0);
	return (unsigned int)ret;
}
