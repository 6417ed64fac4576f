/* SPDX-License-Identifier: MIT */
/*
 * System calls of this process as events: what programs see is what the test asked the kernel for.
 * Every test looks at what lies between two marks, which are calls like any other.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "test.h"

#define MARK 998 /* a call that there is none of */

extern char **environ;

static struct bpf_object *obj;
static struct ring_buffer *rb;
static struct call seen[20000];
static size_t nseen;

static int keep(void *ctx, void *data, size_t size)
{
	(void)ctx;
	if (size >= sizeof(seen[0]) && nseen < sizeof(seen) / sizeof(seen[0]))
		seen[nseen++] = *(struct call *)data;
	return 0;
}

static void mark(void)
{
	int saved = errno;

	syscall(MARK);
	errno = saved;
}

static int is_exit(const struct call *c)
{
	return c->kind == RAW_EXIT || c->kind == TP_EXIT || c->kind == ONE_EXIT || c->kind == FUNC_EXIT;
}

/* What was seen between the last two marks, in front of `seen`. */
static void between_marks(void)
{
	size_t first = 0, last = 0, i;

	nseen = 0;
	ring_buffer__consume(rb);
	for (i = 0; i < nseen; i++)
		if (seen[i].nr == MARK && !is_exit(&seen[i])) {
			first = last;
			last = i;
		}
	assert_true(last > first);
	/* The mark's own way in and out, by all programs. */
	while (first < last && !is_exit(&seen[first]))
		first++;
	while (first < last && is_exit(&seen[first]) && seen[first].nr == MARK)
		first++;
	memmove(seen, seen + first, (last - first) * sizeof(seen[0]));
	nseen = last - first;
}

static struct bpf_link *attach(const char *name)
{
	struct bpf_link *l = bpf_program__attach(bpf_object__find_program_by_name(obj, name));

	if (!l)
		print_message("# %s: %s\n", name, strerror(errno));
	assert_non_null(l);
	return l;
}

static const struct call *find(int kind, unsigned int tid, long nr)
{
	size_t i;

	for (i = 0; i < nseen; i++)
		if (seen[i].kind == kind && seen[i].nr == nr && (!tid || seen[i].tid == tid))
			return &seen[i];
	return NULL;
}

static size_t count(int kind, unsigned int tid, long nr)
{
	size_t n = 0, i;

	for (i = 0; i < nseen; i++)
		n += seen[i].kind == kind && seen[i].nr == nr && (!tid || seen[i].tid == tid);
	return n;
}

/* ---- what programs see ------------------------------------------------------------------------ */

static void raw_tracepoints_see_registers_and_result(void **state)
{
	struct bpf_link *in, *out;
	const struct call *c;
	long fd;

	(void)state;
	in = attach("raw_enter");
	out = attach("raw_exit");
	mark();
	fd = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0600, 0x5555, 0x6666);
	mark();
	between_marks();
	assert_true(fd >= 0);
	c = find(RAW_ENTER, 0, SYS_openat);
	assert_non_null(c);
	assert_int_equal((int)c->args[0], AT_FDCWD);
	assert_string_equal((const char *)c->args[1], "/dev/null");
	assert_int_equal(c->args[2], O_RDWR);
	assert_int_equal(c->args[3], 0600);
	assert_int_equal(c->args[4], 0x5555);
	assert_int_equal(c->args[5], 0x6666);
	assert_int_equal(c->orig, SYS_openat);
	assert_int_equal(c->ret, -ENOSYS); /* as the kernel's registers at entry */
	assert_true(c->sane);
	assert_int_equal(c->tid, gettid());
	c = find(RAW_EXIT, 0, SYS_openat);
	assert_non_null(c);
	assert_int_equal(c->ret, fd);
	assert_true(c->sane);
	close((int)fd);
	bpf_link__destroy(in);
	bpf_link__destroy(out);
}

/* As the format files of tracefs say, category by category. */
static void tracepoints_see_their_formats(void **state)
{
	static const char *const names[] = { "tp_enter", "tp_exit", "enter_openat", "exit_openat",
					     "enter_getppid", "exit_getppid" };
	struct bpf_link *links[6];
	const struct call *c;
	size_t i;
	long fd;

	(void)state;
	for (i = 0; i < 6; i++)
		links[i] = attach(names[i]);
	mark();
	fd = syscall(SYS_openat, -1, "/nowhere/at/all", 0x800, 0777);
	getppid();
	mark();
	between_marks();
	assert_int_equal(fd, -1);
	assert_int_equal(errno, ENOENT);
	for (i = 0; i < 2; i++) {
		c = find(i ? ONE_ENTER : TP_ENTER, 0, SYS_openat);
		assert_non_null(c);
		assert_int_equal((int)c->args[0], -1);
		assert_string_equal((const char *)c->args[1], "/nowhere/at/all");
		assert_int_equal(c->args[2], 0x800);
		assert_int_equal(c->args[3], 0777);
		c = find(i ? ONE_EXIT : TP_EXIT, 0, SYS_openat);
		assert_non_null(c);
		assert_int_equal(c->ret, -ENOENT);
	}
	assert_int_equal(count(ONE_ENTER, 0, SYS_getppid), 1);
	assert_int_equal(count(TP_ENTER, 0, SYS_getppid), 1);
	c = find(ONE_EXIT, 0, SYS_getppid);
	assert_int_equal(c->ret, getppid());
	for (i = 0; i < 6; i++)
		bpf_link__destroy(links[i]);
}

static void functions_see_registers_and_result(void **state)
{
	struct bpf_link *in = attach("func_enter"), *out = attach("func_exit"), *raw[2];
	const struct call *c;
	size_t i;
	long fd;

	(void)state;
	raw[0] = attach("raw_enter");
	raw[1] = attach("raw_exit");
	mark();
	fd = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0644);
	mark();
	between_marks();
	c = find(FUNC_ENTER, 0, SYS_openat);
	assert_non_null(c);
	assert_int_equal((int)c->args[0], AT_FDCWD);
	assert_string_equal((const char *)c->args[1], "/dev/null");
	assert_int_equal(c->args[3], 0644);
	assert_true(c->orig < 0); /* an address of the kernel's half */
	c = find(FUNC_EXIT, 0, SYS_openat);
	assert_non_null(c);
	assert_int_equal(c->ret, fd);
	/* Tracepoints are outside, functions inside. */
	for (i = 0; i + 3 < nseen && seen[i].nr != SYS_openat; i++)
		;
	assert_int_equal(seen[i].kind, RAW_ENTER);
	assert_int_equal(seen[i + 1].kind, FUNC_ENTER);
	assert_int_equal(seen[i + 2].kind, FUNC_EXIT);
	assert_int_equal(seen[i + 3].kind, RAW_EXIT);
	close((int)fd);
	bpf_link__destroy(in);
	bpf_link__destroy(out);
	bpf_link__destroy(raw[0]);
	bpf_link__destroy(raw[1]);
}

static void overridden_call_is_not_made(void **state)
{
	char dir[] = "/tmp/ferry-test-XXXXXX", path[64];
	struct bpf_link *l;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/new", dir);
	l = attach("refuse");
	assert_int_equal(mkdir(path, 0700), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(access(path, F_OK), -1);
	bpf_link__destroy(l);
	assert_int_equal(mkdir(path, 0700), 0);
	rmdir(path);
	rmdir(dir);
}

/* ---- calls that are not like others --------------------------------------------------------------- */

static struct bpf_link *pair[2];

static void look(void)
{
	pair[0] = attach("raw_enter");
	pair[1] = attach("raw_exit");
	mark();
}

static void looked(void)
{
	mark();
	between_marks();
	bpf_link__destroy(pair[0]);
	bpf_link__destroy(pair[1]);
}

static void *say_tid(void *arg)
{
	*(unsigned int *)arg = (unsigned int)syscall(SYS_gettid);
	return arg;
}

static void threads_are_seen_from_first_to_last_call(void **state)
{
	unsigned int tid = 0;
	pthread_t t;
	void *ret;

	(void)state;
	look();
	assert_int_equal(pthread_create(&t, NULL, say_tid, &tid), 0);
	pthread_join(t, &ret);
	looked();
	assert_ptr_equal(ret, &tid);
	assert_int_equal(count(RAW_ENTER, 0, SYS_clone3), 1);
	assert_int_equal(count(RAW_EXIT, 0, SYS_clone3), 2);
	assert_int_equal(find(RAW_EXIT, (unsigned int)gettid(), SYS_clone3)->ret, tid);
	assert_int_equal(find(RAW_EXIT, tid, SYS_clone3)->ret, 0);
	assert_true(count(RAW_ENTER, tid, SYS_gettid) >= 1); /* a sanitizer asks, too */
	assert_int_equal(count(RAW_ENTER, tid, SYS_exit), 1);
	assert_int_equal(count(RAW_EXIT, tid, SYS_exit), 0);
}

static void child_of_fork_is_seen(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	look();
	pid = fork();
	if (!pid) {
		getppid();
		_exit(42);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	looked();
	assert_int_equal(WEXITSTATUS(status), 42);
	assert_int_equal(find(RAW_EXIT, (unsigned int)getpid(), SYS_clone)->ret, pid);
	assert_int_equal(count(RAW_ENTER, (unsigned int)pid, SYS_clone), 0);
	assert_int_equal(find(RAW_EXIT, (unsigned int)pid, SYS_clone)->ret, 0);
	assert_int_equal(find(RAW_EXIT, (unsigned int)pid, SYS_getppid)->ret, getpid());
	assert_int_equal(find(RAW_ENTER, (unsigned int)pid, SYS_exit_group)->args[0], 42);
}

static void child_of_vfork_is_seen_and_the_parent_goes_on(void **state)
{
	volatile int canary = 0x1234;
	int status, i;
	pid_t pid = 0;

	(void)state;
	look();
	for (i = 0; i < 10; i++) {
		pid = vfork();
		if (!pid) {
			canary++;
			getppid();
			_exit(i);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(WEXITSTATUS(status), i);
	}
	looked();
	assert_int_equal(canary, 0x1234 + 10);
	assert_int_equal(count(RAW_ENTER, (unsigned int)getpid(), SYS_vfork), 10);
	assert_int_equal(count(RAW_EXIT, (unsigned int)getpid(), SYS_vfork), 10);
	assert_int_equal(count(RAW_EXIT, (unsigned int)pid, SYS_vfork), 1);
	assert_int_equal(find(RAW_EXIT, (unsigned int)pid, SYS_getppid)->ret, getpid());
}

static void spawned_program_is_seen_until_it_begins(void **state)
{
	char *argv[] = { (char *)"true", NULL };
	const struct call *c;
	int status;
	pid_t pid;

	(void)state;
	look();
	assert_int_equal(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	looked();
	assert_int_equal(status, 0);
	c = find(RAW_ENTER, (unsigned int)pid, SYS_execve);
	assert_non_null(c);
	assert_string_equal((const char *)c->args[0], "/bin/true");
	assert_null(find(RAW_EXIT, (unsigned int)pid, SYS_execve));
}

static volatile int handled;

static void handler(int sig)
{
	handled = sig;
	getppid();
}

static void signal_handlers_return(void **state)
{
	struct sigaction act = { .sa_handler = handler }, old;
	int i;

	(void)state;
	sigaction(SIGUSR1, &act, &old);
	look();
	for (i = 0; i < 5; i++)
		raise(SIGUSR1);
	looked();
	sigaction(SIGUSR1, &old, NULL);
	assert_int_equal(handled, SIGUSR1);
	assert_int_equal(count(RAW_ENTER, 0, SYS_rt_sigreturn), 5);
	/* As the kernel has it: what it returns to has no number. */
	assert_int_equal(count(RAW_EXIT, 0, SYS_rt_sigreturn), 0);
	assert_int_equal(count(RAW_EXIT, 0, -1), 5);
	assert_int_equal(count(RAW_ENTER, 0, SYS_getppid), 5);
}

static int pipes[2];

static void *read_one(void *arg)
{
	char c;

	(void)arg;
	return (void *)read(pipes[0], &c, 1);
}

static void blocked_read_can_be_cancelled(void **state)
{
	struct timespec t = { 0, 50000000 };
	pthread_t thread;
	void *ret;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	look();
	pthread_create(&thread, NULL, read_one, NULL);
	nanosleep(&t, NULL);
	pthread_cancel(thread);
	pthread_join(thread, &ret);
	looked();
	assert_ptr_equal(ret, PTHREAD_CANCELED);
	close(pipes[0]);
	close(pipes[1]);
}

/* A thread that waits in the kernel when the code changes under it comes back to where it was. */
static void threads_that_wait_survive_attach_and_detach(void **state)
{
	struct timespec t = { 0, 20000000 };
	pthread_t thread;
	void *ret;
	int i;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	for (i = 0; i < 6; i++) {
		if (i & 1)
			look();
		pthread_create(&thread, NULL, read_one, NULL);
		nanosleep(&t, NULL);
		if (i & 1)
			looked();
		else
			look();
		assert_int_equal(write(pipes[1], "x", 1), 1);
		pthread_join(thread, &ret);
		assert_ptr_equal(ret, (void *)1);
		if (!(i & 1))
			looked();
	}
	close(pipes[0]);
	close(pipes[1]);
}

/* ---- calls from elsewhere --------------------------------------------------------------------------- */

/* getppid() as no library has it. */
static const unsigned char own_code[] = { 0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xc3 };

static void *code_pages(int prot)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	memcpy(p, own_code, sizeof(own_code));
	assert_int_equal(mprotect(p, 4096, prot), 0);
	return p;
}

static void *call_it(void *code)
{
	return (void *)(intptr_t)((int (*)(void))code)();
}

/* Before the programs were attached, and while they are. */
static void calls_of_code_made_at_run_time_are_seen(void **state)
{
	void *early = code_pages(PROT_READ | PROT_EXEC), *late, *ret;
	pthread_t t;
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		look();
		assert_true((int)(intptr_t)call_it(early) == getppid());
		late = code_pages(PROT_READ | PROT_EXEC | (i ? PROT_WRITE : 0));
		assert_true((int)(intptr_t)call_it(late) == getppid());
		pthread_create(&t, NULL, call_it, late);
		pthread_join(t, &ret);
		looked();
		assert_true((int)(intptr_t)ret == getppid());
		assert_int_equal(count(RAW_ENTER, 0, SYS_getppid), 5);
		assert_int_equal(count(RAW_EXIT, 0, SYS_getppid), 5);
		munmap(late, 4096);
	}
	munmap(early, 4096);
	look(); /* without such code again */
	looked();
}

/* As libc does when it makes threads, with all signals blocked. */
static void blocked_signals_do_not_end_the_process(void **state)
{
	void *code = code_pages(PROT_READ | PROT_EXEC);
	sigset_t all, old;

	(void)state;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	look();
	sigprocmask(SIG_SETMASK, &all, NULL);
	assert_true((int)(intptr_t)call_it(code) == getppid());
	looked();
	sigprocmask(SIG_SETMASK, &old, NULL);
	assert_int_equal(count(RAW_ENTER, 0, SYS_getppid), 2);
	munmap(code, 4096);
}

/* ---- coming and going ------------------------------------------------------------------------------- */

static void nothing_is_seen_and_code_is_as_before_when_detached(void **state)
{
	const unsigned char *fn = (const unsigned char *)&getppid;
	unsigned char before[64];
	struct bpf_link *l;

	(void)state;
	memcpy(before, fn, sizeof(before));
	l = attach("raw_enter");
	if (!getenv("FERRY_SYSCALLS"))
		assert_memory_not_equal(before, fn, sizeof(before));
	bpf_link__destroy(l);
	assert_memory_equal(before, fn, sizeof(before));
	nseen = 0;
	ring_buffer__consume(rb);
	nseen = 0;
	getppid();
	ring_buffer__consume(rb);
	assert_int_equal(nseen, 0);
}

static void context_beyond_the_event_is_refused(void **state)
{
	struct bpf_link *l;

	(void)state;
	l = bpf_program__attach_tracepoint(bpf_object__find_program_by_name(obj, "enter_openat"), "syscalls",
					   "sys_exit_openat");
	assert_null(l);
	assert_int_equal(errno, EACCES);
}

static void events_of_the_kernel_alone_are_refused(void **state)
{
	struct bpf_program *p = bpf_object__find_program_by_name(obj, "enter_openat");

	(void)state;
	assert_null(bpf_program__attach_tracepoint(p, "sched", "sched_switch"));
	assert_int_equal(errno, EOPNOTSUPP);
}

static int setup(void **state)
{
	struct bpf_program *p;

	(void)state;
	if (ferry_hook())
		return -1;
	obj = bpf_object__open_file(getenv("CALLS_OBJECT"), NULL);
	if (!obj)
		return -1;
	bpf_object__for_each_program(p, obj)
		bpf_program__set_autoload(p, true);
	if (bpf_object__load(obj))
		return -1;
	rb = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "calls"), keep, NULL, NULL);
	return rb ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	ring_buffer__free(rb);
	bpf_object__close(obj);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(raw_tracepoints_see_registers_and_result),
		cmocka_unit_test(tracepoints_see_their_formats),
		cmocka_unit_test(functions_see_registers_and_result),
		cmocka_unit_test(overridden_call_is_not_made),
		cmocka_unit_test(threads_are_seen_from_first_to_last_call),
		cmocka_unit_test(child_of_fork_is_seen),
		cmocka_unit_test(child_of_vfork_is_seen_and_the_parent_goes_on),
		cmocka_unit_test(spawned_program_is_seen_until_it_begins),
		cmocka_unit_test(signal_handlers_return),
		cmocka_unit_test(blocked_read_can_be_cancelled),
		cmocka_unit_test(threads_that_wait_survive_attach_and_detach),
		cmocka_unit_test(calls_of_code_made_at_run_time_are_seen),
		cmocka_unit_test(blocked_signals_do_not_end_the_process),
		cmocka_unit_test(nothing_is_seen_and_code_is_as_before_when_detached),
		cmocka_unit_test(context_beyond_the_event_is_refused),
		cmocka_unit_test(events_of_the_kernel_alone_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
