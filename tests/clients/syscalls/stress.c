/* SPDX-License-Identifier: MIT */
/*
 * Programs come to and go from system calls while threads make them, begin and end, fork, spawn, are cancelled
 * and get signals: what the calls do is checked, and at the end the code is byte for byte what it was.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

#define SECONDS 2

extern char **environ;

static _Atomic bool stop;
static _Atomic unsigned long rounds[8];
static _Atomic unsigned long signals;

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "stress: %s: %s\n", what, strerror(errno));
	abort();
}

/* getppid() as no library has it; NULL: only libraries make calls. */
static int (*own_call)(void);

static void make_own_call(void)
{
	static const unsigned char code[] = { 0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xc3 };
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(p != MAP_FAILED, "mmap");
	memcpy(p, code, sizeof(code));
	check(!mprotect(p, 4096, PROT_READ | PROT_EXEC), "mprotect");
	own_call = (int (*)(void))p;
}

/* ---- what threads do ------------------------------------------------------------------------------ */

static void *read_and_write(void *arg)
{
	unsigned char out[512], in[512];
	int s[2], i;

	check(!socketpair(AF_UNIX, SOCK_STREAM, 0, s), "socketpair");
	while (!stop) {
		for (i = 0; i < 512; i++)
			out[i] = (unsigned char)(rounds[0] + (unsigned long)i);
		check(send(s[0], out, sizeof(out), 0) == (ssize_t)sizeof(out), "send");
		check(recv(s[1], in, sizeof(in), MSG_WAITALL) == (ssize_t)sizeof(in), "recv");
		check(!memcmp(in, out, sizeof(in)), "what came through");
		check(read(-1, in, 1) == -1 && errno == EBADF, "read of nothing");
		check(!own_call || own_call() == getppid(), "a call of code of its own");
		rounds[0]++;
	}
	close(s[0]);
	close(s[1]);
	return arg;
}

/* A read that waits is begun again by the kernel after each signal (SA_RESTART). */
static int gate[2];

static void *read_through_signals(void *arg)
{
	sigset_t set;
	char c;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (!stop) {
		check(read(gate[0], &c, 1) == 1 && c == 'g', "read through signals");
		rounds[1]++;
	}
	return arg;
}

static void *open_the_gate(void *arg)
{
	struct timespec t = { 0, 3000000 };

	while (!stop) {
		nanosleep(&t, NULL);
		check(write(gate[1], "g", 1) == 1, "write");
	}
	write(gate[1], "gggg", 4);
	return arg;
}

static void on_alarm(int sig)
{
	int saved = errno;

	(void)sig;
	check(getppid() > 0, "getppid in a handler");
	signals++;
	errno = saved;
}

static void *nothing(void *arg)
{
	check(syscall(SYS_gettid) != getpid(), "gettid");
	check(!own_call || own_call() == getppid(), "a call of a new thread's");
	return arg;
}

static void *make_threads(void *arg)
{
	pthread_t t;
	void *ret;

	while (!stop) {
		check(!pthread_create(&t, NULL, nothing, &ret), "pthread_create");
		check(!pthread_join(t, &ret) && ret == &ret, "pthread_join");
		rounds[2]++;
	}
	return arg;
}

static void *wait_for_ever(void *arg)
{
	int *fd = arg;
	char c;

	read(*fd, &c, 1);
	return NULL;
}

static void *cancel_threads(void *arg)
{
	int fd[2];
	pthread_t t;
	void *ret;

	check(!pipe(fd), "pipe");
	while (!stop) {
		check(!pthread_create(&t, NULL, wait_for_ever, &fd[0]), "pthread_create");
		check(!pthread_cancel(t), "pthread_cancel");
		check(!pthread_join(t, &ret) && ret == PTHREAD_CANCELED, "join of who was cancelled");
		rounds[3]++;
	}
	close(fd[0]);
	close(fd[1]);
	return arg;
}

static void *make_children(void *arg)
{
	char *argv[] = { (char *)"true", NULL };
	int status, i;
	pid_t pid;

	for (i = 0; !stop; i++) {
		pid = fork();
		check(pid >= 0, "fork");
		if (!pid)
			_exit(getppid() > 0 && (!own_call || own_call() == getppid()) ? i & 63 : 100);
		check(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == (i & 63),
		      "a child of fork");
		check(!posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ), "posix_spawn");
		check(waitpid(pid, &status, 0) == pid && status == 0, "a spawned program");
		rounds[4]++;
	}
	return arg;
}

static void *vfork_children(void *arg)
{
	volatile int i;
	int status;
	pid_t pid;

	for (i = 0; !stop; i++) {
		pid = vfork();
		if (!pid)
			_exit(i & 63);
		check(pid > 0, "vfork");
		check(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == (i & 63), "a child of vfork");
		rounds[5]++;
	}
	return arg;
}

static void *(*const works[])(void *) = { read_and_write, read_through_signals, open_the_gate, make_threads,
					  cancel_threads, make_children, vfork_children };
#define NWORKS (sizeof(works) / sizeof(works[0]))

/* ---- the code of libc ------------------------------------------------------------------------------- */

struct text {
	const unsigned char *start;
	size_t size;
};

static int find_libc(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct text *t = arg;
	int i;

	(void)size;
	if (!strstr(info->dlpi_name, "libc.so"))
		return 0;
	for (i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
			t->start = (const unsigned char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
			t->size = info->dlpi_phdr[i].p_filesz;
		}
	return 1;
}

/* A link lives until the last child that has its descriptor is gone, which a thread of Ferry's waits for. */
static bool becomes(const struct text *t, const unsigned char *before)
{
	int i;

	for (i = 0; i < 500 && memcmp(before, t->start, t->size); i++)
		usleep(10000);
	return i < 500;
}

/* ---- attach and detach ------------------------------------------------------------------------------- */

static void programs_come_and_go(void **state)
{
	const bool own = *state != NULL;
	struct itimerval every = { { 0, 2000 }, { 0, 2000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct bpf_object *obj = bpf_object__open_file(getenv("STRESS_OBJECT"), NULL);
	struct sigaction act = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct bpf_program *progs[16], *p;
	struct bpf_link *links[16] = { NULL };
	pthread_t threads[NWORKS];
	unsigned long attached = 0;
	struct text text = { 0 };
	unsigned char *before;
	unsigned int zero = 0, k;
	unsigned long long hits = 0;
	size_t n = 0, i;
	time_t end;

	stop = false;
	if (own)
		make_own_call();
	assert_true(obj && !bpf_object__load(obj));
	bpf_object__for_each_program(p, obj)
		progs[n++] = p;
	dl_iterate_phdr(find_libc, &text);
	before = malloc(text.size);
	memcpy(before, text.start, text.size);
	check(!pipe(gate), "pipe");
	sigaction(SIGALRM, &act, NULL);
	for (i = 0; i < NWORKS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, works[i], NULL), 0);
	setitimer(ITIMER_REAL, &every, NULL);
	srand(1);
	for (end = time(NULL) + SECONDS; time(NULL) < end || attached < 20;) {
		k = (unsigned int)rand() % (unsigned int)n;
		if (links[k]) {
			bpf_link__destroy(links[k]);
			links[k] = NULL;
		} else {
			links[k] = bpf_program__attach(progs[k]);
			assert_non_null(links[k]);
			attached++;
		}
		if (rand() % 8 == 0)
			for (i = 0; i < n; i++) {
				bpf_link__destroy(links[i]);
				links[i] = NULL;
			}
	}
	setitimer(ITIMER_REAL, &never, NULL);
	stop = true;
	for (i = 0; i < NWORKS; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < n; i++)
		bpf_link__destroy(links[i]);
	assert_true(becomes(&text, before));
	bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "hits"), &zero, &hits);
	print_message("# attached %lu times, %llu events, %lu signals, rounds %lu %lu %lu %lu %lu %lu\n", attached, hits,
		      (unsigned long)signals, (unsigned long)rounds[0], (unsigned long)rounds[1],
		      (unsigned long)rounds[2], (unsigned long)rounds[3], (unsigned long)rounds[4],
		      (unsigned long)rounds[5]);
	for (i = 0; i < 6; i++)
		assert_true(rounds[i] > 0);
	assert_true(hits > 0 && attached > 1);
	free(before);
	bpf_object__close(obj);
}

int main(void)
{
	static bool own = true;
	const struct CMUnitTest tests[] = {
		{ "programs_come_and_go", programs_come_and_go, NULL, NULL, NULL },
		{ "programs_come_and_go_where_code_makes_calls_of_its_own", programs_come_and_go, NULL, NULL, &own },
	};

	if (ferry_hook())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
