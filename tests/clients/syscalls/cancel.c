/* SPDX-License-Identifier: MIT */
/*
 * Cancellation as glibc does it from 2.41 on, by a library that does the same: a handler that compares the
 * interrupted address with those where nothing has been done yet. Without programs, with them, and while they
 * come and go, a thread is either cancelled or has done its call, and never waits for ever.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "bridge.h"
#include "calls.h"
#include "test.h"

#define SIGNAL (SIGRTMIN + 7)

static void on_cancel(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info;
	if (bridge_has((unsigned long)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP]))
		pthread_exit(PTHREAD_CANCELED);
}

static long plain(long nr, long a1, long a2, long a3)
{
	return bridge_call(nr, a1, a2, a3, 0, 0, 0);
}

/* ---- one thread that reads, and is cancelled ------------------------------------------------------ */

struct reader {
	int fd[2];
	volatile int *_Atomic word;
	_Atomic unsigned int tid, cleaned;
};

static void clean(void *arg)
{
	((struct reader *)arg)->cleaned = 1;
}

static void *read_one(void *arg)
{
	struct reader *r = arg;
	long n;
	char c;

	pthread_cleanup_push(clean, r);
	r->tid = (unsigned int)gettid();
	r->word = bridge_own_word();
	n = plain(SYS_read, r->fd[0], (long)&c, 1);
	pthread_cleanup_pop(0);
	return (void *)n;
}

static void spin(unsigned int n)
{
	while (n--)
		__asm__ volatile("pause");
}

/* Joins, or ends the test: a thread that was not cancelled waits for ever. */
static void *join(pthread_t t)
{
	struct timespec end;
	void *ret;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += 20;
	if (pthread_timedjoin_np(t, &ret, &end)) {
		print_message("# a cancelled thread waits for ever\n");
		_exit(1);
	}
	return ret;
}

static void cancel(struct reader *r, pthread_t t)
{
	*r->word |= 8;
	pthread_kill(t, SIGNAL);
}

/* How a round ended: was it cancelled? What was to be read is there if it was. */
static bool one_round(unsigned int wait, bool write_too)
{
	struct reader r = { .fd = { -1, -1 } };
	pthread_t t;
	void *ret;
	char c;

	assert_int_equal(pipe(r.fd), 0);
	assert_int_equal(pthread_create(&t, NULL, read_one, &r), 0);
	while (!r.word)
		sched_yield();
	spin(wait);
	if (write_too && wait % 2)
		assert_int_equal(write(r.fd[1], "x", 1), 1);
	cancel(&r, t);
	if (write_too && !(wait % 2))
		assert_int_equal(write(r.fd[1], "x", 1), 1);
	ret = join(t);
	if (ret == PTHREAD_CANCELED)
		assert_int_equal(r.cleaned, 1);
	else
		assert_int_equal((long)ret, 1);
	close(r.fd[1]);
	assert_int_equal(read(r.fd[0], &c, 1), write_too && ret == PTHREAD_CANCELED);
	close(r.fd[0]);
	return ret == PTHREAD_CANCELED;
}

static void many_rounds(unsigned int n)
{
	unsigned int cancelled = 0, i;

	for (i = 0; i < n; i++) {
		assert_true(one_round((unsigned int)rand() % 3000, false));
		cancelled += one_round((unsigned int)rand() % 3000, true);
	}
	print_message("# %u of %u that could read were cancelled\n", cancelled, n);
}

/* ---- programs -------------------------------------------------------------------------------------- */

static struct bpf_object *obj;
static struct ring_buffer *buffer;
static struct call seen[65536];
static size_t nseen;

static int on_call(void *ctx, void *data, size_t size)
{
	(void)ctx;
	if (nseen < sizeof(seen) / sizeof(seen[0]) && size == sizeof(seen[0]))
		memcpy(&seen[nseen++], data, size);
	return 0;
}

static struct bpf_link *attach(const char *name)
{
	struct bpf_link *l = bpf_program__attach(bpf_object__find_program_by_name(obj, name));

	assert_non_null(l);
	return l;
}

static unsigned int count(int kind, long nr, unsigned int tid)
{
	unsigned int n = 0;
	size_t i;

	for (i = 0; i < nseen; i++)
		n += seen[i].kind == kind && seen[i].nr == nr && (!tid || seen[i].tid == tid);
	return n;
}

static const struct call *find(int kind, long nr)
{
	size_t i;

	for (i = 0; i < nseen; i++)
		if (seen[i].kind == kind && seen[i].nr == nr)
			return &seen[i];
	fail_msg("no call %ld", nr);
	return NULL;
}

static void without_programs_threads_are_cancelled(void **state)
{
	(void)state;
	many_rounds(50);
}

static void with_programs_threads_are_cancelled(void **state)
{
	struct bpf_link *enter = attach("raw_enter"), *leave = attach("raw_exit");

	(void)state;
	many_rounds(100);
	bpf_link__destroy(enter);
	bpf_link__destroy(leave);
}

static _Atomic bool stop;

static void *come_and_go(void *arg)
{
	while (!stop) {
		struct bpf_link *enter = attach("raw_enter"), *leave = attach("raw_exit");

		usleep(1000);
		bpf_link__destroy(enter);
		bpf_link__destroy(leave);
		usleep(500);
	}
	return arg;
}

static void while_programs_come_and_go_threads_are_cancelled(void **state)
{
	pthread_t t;

	(void)state;
	stop = false;
	assert_int_equal(pthread_create(&t, NULL, come_and_go, NULL), 0);
	many_rounds(50);
	stop = true;
	pthread_join(t, NULL);
}

static void calls_are_seen_once_with_arguments_and_result(void **state)
{
	struct bpf_link *enter = attach("raw_enter"), *leave = attach("raw_exit");
	const struct call *c;
	unsigned long map;
	int fd[2];
	char b[4];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	ring_buffer__consume(buffer);
	nseen = 0;
	assert_int_equal(plain(SYS_write, fd[1], (long)"abcd", 4), 4);
	assert_int_equal(plain(SYS_read, fd[0], (long)b, 4), 4);
	assert_memory_equal(b, "abcd", 4);
	assert_int_equal(plain(SYS_tee, -1, -1, 5), -EBADF);
	map = (unsigned long)bridge_call(SYS_mmap, 0, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(map && !(map & 4095));
	assert_int_equal(bridge_call(SYS_process_vm_readv, getpid(), 0, 0, 4, 5, 6), -EINVAL);
	ring_buffer__consume(buffer);
	bpf_link__destroy(enter);
	bpf_link__destroy(leave);
	assert_int_equal(count(RAW_ENTER, SYS_write, 0), 1);
	assert_int_equal(count(RAW_ENTER, SYS_read, 0), 1);
	assert_int_equal(count(RAW_EXIT, SYS_read, 0), 1);
	assert_int_equal(find(RAW_EXIT, SYS_read)->ret, 4);
	assert_int_equal(find(RAW_EXIT, SYS_tee)->ret, -EBADF);
	assert_int_equal(find(RAW_EXIT, SYS_mmap)->ret, map);
	c = find(RAW_ENTER, SYS_process_vm_readv);
	assert_int_equal(c->args[0], getpid());
	assert_int_equal(c->args[3], 4);
	assert_int_equal(c->args[4], 5);
	assert_int_equal(c->args[5], 6);
	munmap((void *)map, 8192);
	close(fd[0]);
	close(fd[1]);
}

/* A handler that interrupts a call makes one itself; the first one begins again and is one call. */
static int through[2];

static void on_other(int sig)
{
	char c = 'h';

	(void)sig;
	plain(SYS_write, through[1], (long)&c, 1);
}

static void a_call_in_a_handler_leaves_the_interrupted_one_alone(void **state)
{
	struct sigaction act = { .sa_handler = on_other, .sa_flags = SA_RESTART };
	struct bpf_link *enter = attach("raw_enter"), *leave = attach("raw_exit");
	struct reader r = { .fd = { -1, -1 } };
	pthread_t t;
	char c;

	(void)state;
	assert_int_equal(pipe(r.fd), 0);
	assert_int_equal(pipe(through), 0);
	sigaction(SIGRTMIN + 8, &act, NULL);
	ring_buffer__consume(buffer);
	nseen = 0;
	assert_int_equal(pthread_create(&t, NULL, read_one, &r), 0);
	while (!r.word)
		sched_yield();
	usleep(20000);
	pthread_kill(t, SIGRTMIN + 8);
	assert_int_equal(read(through[0], &c, 1), 1);
	usleep(20000);
	assert_int_equal(write(r.fd[1], "x", 1), 1);
	assert_int_equal((long)join(t), 1);
	ring_buffer__consume(buffer);
	bpf_link__destroy(enter);
	bpf_link__destroy(leave);
	assert_int_equal(count(RAW_ENTER, SYS_read, r.tid), 1);
	assert_int_equal(count(RAW_EXIT, SYS_read, r.tid), 1);
	if (!getenv("FERRY_SYSCALLS")) /* dispatch is off during such a call */
		assert_int_equal(count(RAW_ENTER, SYS_write, r.tid), 1);
	close(r.fd[0]);
	close(r.fd[1]);
	close(through[0]);
	close(through[1]);
}

static void detached_the_code_is_as_it_was(void **state)
{
	unsigned char before[192];
	struct bpf_link *l;

	(void)state;
	memcpy(before, bridge_code(), sizeof(before));
	l = attach("raw_enter");
	if (!getenv("FERRY_SYSCALLS"))
		assert_memory_not_equal(before, bridge_code(), sizeof(before));
	bpf_link__destroy(l);
	assert_memory_equal(before, bridge_code(), sizeof(before));
}

static int setup(void **state)
{
	struct sigaction act = { .sa_sigaction = on_cancel, .sa_flags = SA_SIGINFO | SA_RESTART };

	(void)state;
	if (sigaction(SIGNAL, &act, NULL) || ferry_hook())
		return -1;
	obj = bpf_object__open_file(getenv("CALLS_OBJECT"), NULL);
	if (!obj || bpf_object__load(obj))
		return -1;
	buffer = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "calls"), on_call, NULL, NULL);
	return buffer ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	ring_buffer__free(buffer);
	bpf_object__close(obj);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_programs_threads_are_cancelled),
		cmocka_unit_test(calls_are_seen_once_with_arguments_and_result),
		cmocka_unit_test(with_programs_threads_are_cancelled),
		cmocka_unit_test(while_programs_come_and_go_threads_are_cancelled),
		cmocka_unit_test(a_call_in_a_handler_leaves_the_interrupted_one_alone),
		cmocka_unit_test(detached_the_code_is_as_it_was),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
