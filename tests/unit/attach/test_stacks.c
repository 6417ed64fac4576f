/* SPDX-License-Identifier: MIT */
/*
 * Probes where control flow is not that of one stack and one process: deep recursion, coroutines, threads that come and go,
 * children by fork, vfork and posix_spawn, libraries that are unloaded, functions chosen by the loader.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "attach/attach.h"
#include "test.h"

#define NOCLONE __attribute__((noinline, noclone))
#define STACK 65536

static _Atomic u64 entries, returns;

static void on_entry(struct pt_regs *regs, void *arg)
{
	(void)regs, (void)arg;
	entries++;
}

static void on_return(struct pt_regs *regs, void *arg)
{
	(void)regs, (void)arg;
	returns++;
}

static struct probe *probe(const void *addr, enum probe_kind kind)
{
	struct probe_spec spec = { addr, kind, 0, kind == PROBE_ENTRY ? on_entry : on_return, NULL };
	struct probe *p = NULL;
	struct text why = { 0 };

	if (probe_add(&spec, 1, &p, &why))
		print_message("# %s\n", text_str(&why));
	assert_non_null(p);
	text_free(&why);
	entries = returns = 0;
	return p;
}

/* ---- recursion, threads that end ------------------------------------------------------------------ */

static NOCLONE long deep(long n)
{
	long below = n ? deep(n - 1) : 0;

	__asm__ volatile("" : "+r"(below));
	return below + 1;
}

static void *go_deep(void *n)
{
	return (void *)deep((long)n);
}

static void on_large_stack(void *(*fn)(void *), void *arg, void *result)
{
	pthread_attr_t attr;
	pthread_t t;
	void *ret;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, (size_t)256 << 20);
	assert_int_equal(pthread_create(&t, &attr, fn, arg), 0);
	pthread_join(t, &ret);
	assert_ptr_equal(ret, result);
	pthread_attr_destroy(&attr);
}

/* There are 65,536 slots: what finds none returns unseen, and is counted. */
static void very_deep_recursion_returns(void **state)
{
	struct probe *p = probe((void *)deep, PROBE_RETURN);

	(void)state;
	on_large_stack(go_deep, (void *)100000, (void *)100001);
	print_message("# %lu returns seen, %lu missed\n", (unsigned long)returns, (unsigned long)probe_missed(p));
	assert_int_equal(returns + probe_missed(p), 100001);
	assert_true(returns >= 60000);
	/* They are free again. */
	entries = returns = 0;
	on_large_stack(go_deep, (void *)1000, (void *)1001);
	assert_int_equal(returns, 1001);
	probe_remove(&p, 1);
}

#pragma GCC diagnostic ignored "-Winfinite-recursion"
static NOCLONE long end_inside(long n)
{
	if (!n)
		pthread_exit((void *)7);
	n = end_inside(n - 1);
	__asm__ volatile("" : "+r"(n));
	return n + 1;
}

static void *go_and_end(void *n)
{
	return (void *)end_inside((long)n);
}

/* More than there are slots, in all. */
static void threads_that_end_inside_watched_functions_take_no_slots_for_ever(void **state)
{
	struct probe *p = probe((void *)end_inside, PROBE_RETURN);
	int i;

	(void)state;
	for (i = 0; i < 200; i++)
		on_large_stack(go_and_end, (void *)500, (void *)7);
	assert_int_equal(returns, 0);
	assert_int_equal(probe_missed(p), 0);
	probe_remove(&p, 1);
}

/* ---- coroutines ---------------------------------------------------------------------------------- */

struct coroutine {
	ucontext_t here, caller;
	bool done;
	int sum;
};

static NOCLONE int steps(struct coroutine *c, int n)
{
	int below = 0;

	swapcontext(&c->here, &c->caller);
	if (n)
		below = steps(c, n - 1);
	swapcontext(&c->here, &c->caller);
	return below + n;
}

static void body(unsigned low, unsigned high)
{
	struct coroutine *c = (void *)(uintptr_t)((u64)high << 32 | low);

	c->sum = steps(c, 10);
	c->done = true;
	swapcontext(&c->here, &c->caller);
}

static void start(struct coroutine *c, void *stack)
{
	memset(c, 0, sizeof(*c));
	getcontext(&c->here);
	c->here.uc_stack.ss_sp = stack;
	c->here.uc_stack.ss_size = STACK;
	makecontext(&c->here, (void (*)(void))body, 2, (unsigned)(uintptr_t)c, (unsigned)((u64)(uintptr_t)c >> 32));
}

static void resume(struct coroutine *c)
{
	swapcontext(&c->caller, &c->here);
}

static void coroutines_interleave_inside_watched_functions(void **state)
{
	struct probe *p = probe((void *)steps, PROBE_RETURN), *q = probe((void *)steps, PROBE_ENTRY);
	static char stacks[8][STACK];
	struct coroutine c[8];
	unsigned seed = 1, left = 8, i;

	(void)state;
	for (i = 0; i < 8; i++)
		start(&c[i], stacks[i]);
	while (left) {
		seed = seed * 1103515245 + 12345;
		i = (seed >> 16) % 8;
		if (c[i].done)
			continue;
		resume(&c[i]);
		left -= c[i].done;
	}
	for (i = 0; i < 8; i++)
		assert_int_equal(c[i].sum, 55);
	assert_int_equal(entries, 88);
	assert_int_equal(returns, 88);
	probe_remove(&p, 1);
	probe_remove(&q, 1);
}

/* More often than there are slots: what can no longer return gives its slot back. */
static void coroutines_left_half_way_take_no_slots_for_ever(void **state)
{
	struct probe *p = probe((void *)steps, PROBE_RETURN);
	struct coroutine c;
	char *stack;
	int i, k;

	(void)state;
	for (i = 0; i < 20000; i++) {
		stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(stack != MAP_FAILED);
		start(&c, stack);
		for (k = 0; k < 8; k++)
			resume(&c);
		munmap(stack, STACK);
	}
	assert_int_equal(probe_missed(p), 0);
	assert_int_equal(returns, 0);
	probe_remove(&p, 1);
}

static void *resume_until_done(void *arg)
{
	struct coroutine *c = arg;

	while (!c->done)
		resume(c);
	return NULL;
}

static void coroutine_goes_on_in_another_thread(void **state)
{
	struct probe *p = probe((void *)steps, PROBE_RETURN);
	static char stack[STACK];
	struct coroutine c;
	pthread_t t;
	int i, k;

	(void)state;
	for (i = 0; i < 50; i++) {
		start(&c, stack);
		for (k = 0; k < 1 + i % 18; k++)
			resume(&c);
		pthread_create(&t, NULL, resume_until_done, &c);
		pthread_join(t, NULL);
		assert_int_equal(c.sum, 55);
	}
	assert_int_equal(returns, 50 * 11);
	probe_remove(&p, 1);
}

/* ---- threads and processes ----------------------------------------------------------------------- */

static NOCLONE int add(int a, int b)
{
	volatile int x[4] = { a, b };

	return x[0] + x[1];
}

static void *short_life(void *arg)
{
	int i, n = 0;

	for (i = 0; i < 100; i++)
		n += add(i, 1) == i + 1;
	if (n != 100)
		abort();
	/* The record of a thread that ends in its middle is found again. */
	if ((uintptr_t)arg % 3 == 0)
		pthread_exit(NULL);
	return NULL;
}

static _Atomic bool stop;

static void *starts_threads(void *arg)
{
	pthread_t t[8];
	uintptr_t i;

	(void)arg;
	while (!stop) {
		for (i = 0; i < 8; i++)
			if (pthread_create(&t[i], NULL, short_life, (void *)i))
				abort();
		for (i = 0; i < 8; i++)
			pthread_join(t[i], NULL);
	}
	return NULL;
}

static void threads_start_and_end_while_probes_come_and_go(void **state)
{
	struct probe *p, *q;
	pthread_t t;
	int i;

	(void)state;
	stop = false;
	pthread_create(&t, NULL, starts_threads, NULL);
	for (i = 0; i < 40; i++) {
		p = probe((void *)add, i & 1 ? PROBE_ENTRY : PROBE_RETURN);
		q = probe((void *)short_life, PROBE_RETURN);
		usleep(1000);
		probe_remove(&p, 1);
		probe_remove(&q, 1);
	}
	stop = true;
	pthread_join(t, NULL);
}

static NOCLONE pid_t forks(int *n)
{
	pid_t pid = fork();

	*n += 1;
	return pid;
}

static void fork_inside_a_watched_function_returns_in_both(void **state)
{
	struct probe *p = probe((void *)forks, PROBE_RETURN);
	int n = 0, status = -1;
	pid_t pid = forks(&n);

	(void)state;
	if (!pid)
		_exit(returns != 1 || n != 1 || add(1, 1) != 2);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(returns, 1);
	probe_remove(&p, 1);
}

extern char **environ;

static int run_by_vfork(char **argv)
{
	int status = -1;
	pid_t pid = vfork();

	if (!pid) {
		execve(argv[0], argv, environ);
		_exit(100);
	}
	waitpid(pid, &status, 0);
	return status;
}

/* The child of vfork(2) runs in our memory: what it hits, it hits as this thread. */
static void children_by_every_way_run_with_the_ways_themselves_probed(void **state)
{
	static const char *const names[] = { "fork", "vfork", "execve", "posix_spawn", "_exit", "waitpid", "clone",
					     "pthread_sigmask", "sigprocmask", "exit", "system", "posix_spawnp" };
	char *argv[] = { "/bin/sh", "-c", "exit 7", NULL };
	struct probe *p[2 * ARRAY_SIZE(names)];
	struct probe_spec spec;
	size_t i, n = 0;
	int k, status;
	pid_t pid;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		spec = (struct probe_spec){ dlsym(RTLD_DEFAULT, names[i]), PROBE_ENTRY, 0, on_entry, NULL };
		assert_int_equal(probe_add(&spec, 1, &p[n++], NULL), 0);
		spec.kind = PROBE_RETURN;
		spec.fn = on_return;
		if (!probe_add(&spec, 1, &p[n], NULL))
			n++;
	}
	entries = 0;
	for (k = 0; k < 5; k++) {
		assert_int_equal(WEXITSTATUS(run_by_vfork(argv)), 7);
		assert_int_equal(posix_spawn(&pid, argv[0], NULL, NULL, argv, environ), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(WEXITSTATUS(status), 7);
		assert_int_equal(WEXITSTATUS(system("exit 9")), 9);
		pid = fork();
		if (!pid) {
			execve(argv[0], argv, environ);
			_exit(100);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(WEXITSTATUS(status), 7);
	}
	assert_true(entries > 20);
	probe_remove(p, n);
}

/* ---- what the loader does ------------------------------------------------------------------------ */

static void library_in_the_place_of_a_probed_one_is_left_alone(void **state)
{
	void *one = dlopen(getenv("REPLACED_1"), RTLD_NOW), *two;
	int (*f)(int) = one ? (int (*)(int))dlsym(one, "replaced") : NULL, (*g)(int);
	struct probe *p, *q;
	u8 before[64];

	(void)state;
	assert_non_null(f);
	p = probe((void *)f, PROBE_RETURN);
	assert_int_equal(f(1), 2);
	assert_int_equal(returns, 1);
	dlclose(one);
	two = dlopen(getenv("REPLACED_2"), RTLD_NOW);
	assert_non_null(two);
	g = (int (*)(int))dlsym(two, "replaced");
	print_message("# %s place\n", (void *)f == (void *)g ? "the same" : "another");
	memcpy(before, (void *)g, sizeof(before));
	assert_int_equal(g(1), 3);
	/* One there as well, and the old one removed after it. */
	q = probe((void *)g, PROBE_ENTRY);
	assert_int_equal(g(2), 4);
	assert_int_equal(entries, 1);
	probe_remove(&p, 1);
	assert_int_equal(g(3), 5);
	assert_int_equal(entries, 2);
	probe_remove(&q, 1);
	assert_memory_equal(before, (void *)g, sizeof(before));
	assert_int_equal(g(4), 6);
	dlclose(two);
	/* And with nothing there at all. */
	one = dlopen(getenv("REPLACED_1"), RTLD_NOW);
	p = probe(dlsym(one, "replaced"), PROBE_ENTRY);
	dlclose(one);
	probe_remove(&p, 1);
}

static void functions_chosen_by_the_loader_are_probed_where_they_are(void **state)
{
	void *(*copy)(void *, const void *, size_t) = (void *(*)(void *, const void *, size_t))dlsym(RTLD_DEFAULT, "memcpy");
	size_t (*length)(const char *) = (size_t (*)(const char *))dlsym(RTLD_DEFAULT, "strlen");
	struct probe *p[] = { probe((void *)copy, PROBE_ENTRY), probe((void *)length, PROBE_RETURN) };
	char text[300], other[300];
	size_t n;

	(void)state;
	for (n = 1; n < sizeof(text); n++) {
		memset(text, 'x', n - 1);
		text[n - 1] = '\0';
		if (copy(other, text, n) != other || length(other) != n - 1)
			break;
	}
	assert_int_equal(n, sizeof(text));
	assert_true(entries >= sizeof(text) - 1 && returns >= sizeof(text) - 1);
	probe_remove(p, 2);
}

/* The last function before memory that is not there. */
static void code_at_the_end_of_what_is_mapped_is_probed(void **state)
{
	static const u8 code[] = { 0xf3, 0x0f, 0x1e, 0xfa, 0x8d, 0x47, 0x01, 0xc3 }; /* endbr64; lea 1(%rdi), %eax; ret */
	u8 *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int (*f)(int) = (int (*)(int))(page + 4096 - sizeof(code));
	struct probe *p;

	(void)state;
	assert_true(page != MAP_FAILED);
	memcpy(page + 4096 - sizeof(code), code, sizeof(code));
	munmap(page + 4096, 4096);
	assert_int_equal(mprotect(page, 4096, PROT_READ | PROT_EXEC), 0);
	p = probe((void *)f, PROBE_ENTRY);
	assert_int_equal(f(4), 5);
	assert_int_equal(entries, 1);
	probe_remove(&p, 1);
	p = probe((void *)((u8 *)f + 7), PROBE_ENTRY);
	assert_int_equal(f(5), 6);
	assert_int_equal(entries, 1);
	probe_remove(&p, 1);
	assert_memory_equal((void *)f, code, sizeof(code));
	munmap(page, 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(very_deep_recursion_returns),
		cmocka_unit_test(threads_that_end_inside_watched_functions_take_no_slots_for_ever),
		cmocka_unit_test(coroutines_interleave_inside_watched_functions),
		cmocka_unit_test(coroutines_left_half_way_take_no_slots_for_ever),
		cmocka_unit_test(coroutine_goes_on_in_another_thread),
		cmocka_unit_test(threads_start_and_end_while_probes_come_and_go),
		cmocka_unit_test(fork_inside_a_watched_function_returns_in_both),
		cmocka_unit_test(children_by_every_way_run_with_the_ways_themselves_probed),
		cmocka_unit_test(library_in_the_place_of_a_probed_one_is_left_alone),
		cmocka_unit_test(functions_chosen_by_the_loader_are_probed_where_they_are),
		cmocka_unit_test(code_at_the_end_of_what_is_mapped_is_probed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
