/* SPDX-License-Identifier: MIT */
/*
 * The same programs on the same workload, in the kernel and in Ferry: the same system calls, thread by
 * thread, with the same arguments and results. Addresses, descriptors and process numbers are told apart
 * only as such.
 *   compare MODE writes what it saw to descriptor 3; without a mode it runs both and compares.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <ferry/ferry.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../kernel_bpf.h"
#include "calls.h"
#include "test.h"

#define MARK 0x4d41524b
#define MAX_CALLS 100000

extern char **environ;

static struct call *calls;
static size_t ncalls;

/* How many arguments a call has: what is in the other registers is left over from before. */
#define SYS_newfstat SYS_fstat
#define SYS_newlstat SYS_lstat
#define SYS_newstat SYS_stat
#define SYS_newuname SYS_uname
#define SYS_sendfile64 SYS_sendfile
#define SYS_umount SYS_umount2
static const unsigned char nargs[600] = {
#define SYSCALL(name, ...) [SYS_##name] = sizeof((const char *[]){ "", ##__VA_ARGS__ }) / sizeof(char *) - 1,
#include "btf/syscalls.def"
#undef SYSCALL
};

/* ---- the workload --------------------------------------------------------------------------------- */

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "compare: %s: %s\n", what, strerror(errno));
	_exit(3);
}

static void files(void)
{
	struct iovec v[2] = { { (void *)"ab", 2 }, { (void *)"cd", 2 } };
	char buf[64];
	int fd, i;

	fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
	check(fd >= 0, "open");
	check(read(fd, buf, sizeof(buf)) > 0, "read");
	check(lseek(fd, 1, SEEK_SET) == 1, "lseek");
	check(pread(fd, buf, 1, 0) == 1, "pread");
	check(read(-1, buf, 1) == -1, "read of nothing");
	check(close(fd) == 0, "close");
	check(open("/nowhere/at/all", O_RDWR) == -1, "open of nothing");
	fd = open("/dev/null", O_WRONLY);
	check(writev(fd, v, 2) == 4, "writev");
	for (i = 0; i < 10; i++)
		check(write(fd, buf, (size_t)i) == i, "write");
	check(fcntl(fd, F_GETFL) >= 0, "fcntl");
	close(fd);
	check(access("/dev/null", R_OK) == 0, "access");
	/* Numbers that there are none of, and all six arguments. */
	check(syscall(999, 1, 2, 3, 4, 5, 6) == -1, "no such call");
	syscall(SYS_futex, 1, 2, 100, 101, 102, 103);
}

static void memory(void)
{
	void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	check(p != MAP_FAILED, "mmap");
	check(!mprotect(p, 1 << 20, PROT_READ), "mprotect");
	check(!madvise(p, 1 << 20, MADV_DONTNEED), "madvise");
	check(!munmap(p, 1 << 20), "munmap");
}

static void sockets(void)
{
	struct epoll_event e = { .events = EPOLLIN };
	struct pollfd pfd;
	int s[2], ep;
	char c;

	check(!socketpair(AF_UNIX, SOCK_STREAM, 0, s), "socketpair");
	ep = epoll_create1(0);
	check(!epoll_ctl(ep, EPOLL_CTL_ADD, s[1], &e), "epoll_ctl");
	check(send(s[0], "x", 1, 0) == 1, "send");
	check(epoll_wait(ep, &e, 1, 1000) == 1, "epoll_wait");
	pfd = (struct pollfd){ .fd = s[1], .events = POLLIN };
	check(poll(&pfd, 1, 1000) == 1, "poll");
	check(recv(s[1], &c, 1, 0) == 1, "recv");
	check(recv(s[1], &c, 1, MSG_DONTWAIT) == -1, "recv of nothing");
	close(ep);
	close(s[0]);
	close(s[1]);
}

static void *thread(void *arg)
{
	int i;

	for (i = 0; i < 3; i++)
		files();
	return arg;
}

static void threads(void)
{
	pthread_t t;
	int i;

	/* One after the other: each is looked at by itself. */
	for (i = 0; i < 3; i++) {
		check(!pthread_create(&t, NULL, thread, NULL), "pthread_create");
		pthread_join(t, NULL);
	}
}

static void children(void)
{
	char *argv[] = { (char *)"/nowhere/at/all", NULL };
	volatile int i;
	int status;
	pid_t pid;

	for (i = 0; i < 3; i++) {
		pid = fork();
		check(pid >= 0, "fork");
		if (!pid) {
			files();
			_exit(i);
		}
		check(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == i, "waitpid");
		pid = vfork();
		if (!pid) {
			execv(argv[0], argv);
			_exit(i + 10);
		}
		check(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == i + 10, "waitpid of vfork");
	}
	/* It fails in the child, whose calls up to there are seen. */
	check(posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) != 0, "posix_spawn");
}

static void on_signal(int sig)
{
	(void)sig;
	getuid();
}

static void signals(void)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	sigset_t set, old;
	int i;

	check(!sigaction(SIGUSR1, &act, NULL), "sigaction");
	for (i = 0; i < 3; i++)
		raise(SIGUSR1);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	raise(SIGUSR1);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static const struct {
	const char *name;
	void (*fn)(void);
} works[] = { { "files", files }, { "memory", memory }, { "sockets", sockets },
	      { "threads", threads }, { "children", children }, { "signals", signals } };
#define NWORKS (sizeof(works) / sizeof(works[0]))

/* ---- looking at it -------------------------------------------------------------------------------- */

static int keep(void *ctx, void *data, size_t size)
{
	(void)ctx;
	if (size >= sizeof(*calls) && ncalls < MAX_CALLS)
		calls[ncalls++] = *(struct call *)data;
	return 0;
}

/* What is the same in every run: small numbers and errors; 100 to 199 are the workload's own. */
static const char *normal(long v, char *buf)
{
	if (v > 0xffff || (v < -4095 && v != AT_FDCWD))
		return "addr";
	if (v > 2 && v < 100)
		return "fd";
	if (v >= 200)
		return "num";
	sprintf(buf, "%ld", v);
	return buf;
}

static bool is_exit(const struct call *c)
{
	return c->kind == RAW_EXIT || c->kind == TP_EXIT || c->kind == ONE_EXIT;
}

static void write_down(int fd, const struct call *c, const unsigned int *tids, size_t ntids)
{
	char line[512], buf[32];
	size_t who, i;
	int n;

	for (who = 0; who < ntids && tids[who] != c->tid; who++)
		;
	n = sprintf(line, "%zu kind %d nr %ld", who, c->kind, c->nr);
	if (is_exit(c))
		n += sprintf(line + n, " = %s", c->nr == -1 ? "" : normal(c->ret, buf));
	for (i = 0; i < c->nargs && (c->nr < 0 || c->nr >= 600 || i < nargs[c->nr]); i++)
		n += sprintf(line + n, " %s", normal((long)c->args[i], buf));
	n += sprintf(line + n, " sane %d\n", c->sane);
	check(write(fd, line, (size_t)n) == n, "write");
}

static int by_number(const void *a, const void *b)
{
	const struct call *x = a, *y = b;

	return x->nr != y->nr ? (x->nr > y->nr) - (x->nr < y->nr) : x->kind - y->kind;
}

/*
 * A signal is handled on the way out of the kernel, behind its sys_exit. In Ferry that comes when the
 * handler is done: the order of exits is not compared then.
 */
static void exits_last(struct call *c, size_t n)
{
	struct call *exits = calloc(MAX_CALLS, sizeof(*c));
	size_t i, k = 0, nexits = 0;

	for (i = 0; i < n; i++)
		if (is_exit(&c[i]))
			exits[nexits++] = c[i];
		else
			c[k++] = c[i];
	qsort(exits, nexits, sizeof(*c), by_number);
	memcpy(c + k, exits, nexits * sizeof(*c));
	free(exits);
}

/*
 * Who comes first of the programs on one tracepoint depends on when each kind was first attached, by any
 * process: in a kernel where others have some already it is another order. Of one thread, by kind.
 */
static void tracepoints_by_kind(struct call *c, size_t n)
{
	struct call later;
	size_t i, k;

	for (i = 1; i < n; i++) {
		later = c[i];
		for (k = i; k && later.kind < c[k - 1].kind && c[k - 1].kind < FUNC_ENTER &&
			    later.nr == c[k - 1].nr && is_exit(&later) == is_exit(&c[k - 1]);
		     k--)
			c[k] = c[k - 1];
		c[k] = later;
	}
}

/* Thread by thread, in the order in which they appeared; without marks, which are a call that no work makes. */
static void write_all(int fd, bool any_order, unsigned int without)
{
	static unsigned int tids[1000];
	static struct call own[MAX_CALLS];
	size_t ntids = 0, i, k, n, first = 0, last = 0;

	for (i = 0; i < ncalls; i++)
		if (calls[i].nr == SYS_getppid && calls[i].kind == RAW_ENTER && calls[i].args[0] == MARK) {
			first = last;
			last = i;
		}
	for (i = first + 1; i < last; i++) {
		for (k = 0; k < ntids && tids[k] != calls[i].tid; k++)
			;
		if (k == ntids && ntids < 1000)
			tids[ntids++] = calls[i].tid;
	}
	for (k = 0; k < ntids; k++) {
		for (i = first + 1, n = 0; i < last; i++)
			/* Whether a thread that ends has to be waited for is a matter of time. */
			if (calls[i].tid == tids[k] && calls[i].nr != SYS_futex && calls[i].nr != without &&
			    calls[i].nr != SYS_getppid)
				own[n++] = calls[i];
		if (any_order)
			exits_last(own, n);
		tracepoints_by_kind(own, n);
		for (i = 0; i < n; i++)
			write_down(fd, &own[i], tids, ntids);
	}
}

static int run(const char *file, size_t work)
{
	struct bpf_object *obj = bpf_object__open_file(file, NULL);
	struct bpf_program *p;
	struct bpf_link *links[32];
	struct ring_buffer *rb;
	char name[16];
	size_t n = 0;

	check(obj != NULL, "open");
	snprintf(name, sizeof(name), "c%07x", (unsigned int)getpid() & 0xfffffff); /* others compare, too */
	memcpy((void *)(uintptr_t)bpf_map__initial_value(bpf_object__find_map_by_name(obj, ".rodata"), &n),
	       name, 8);
	n = 0;
	check(!bpf_object__load(obj), "load");
	rb = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "calls"), keep, NULL, NULL);
	check(rb != NULL, "ring_buffer__new");
	prctl(PR_SET_NAME, name, 0, 0, 0);
	bpf_object__for_each_program(p, obj) {
		if (!bpf_program__autoload(p)) /* this kernel may have no kprobes */
			continue;
		links[n] = bpf_program__attach(p);
		check(links[n] != NULL, bpf_program__name(p));
		n++;
	}
	works[work].fn(); /* once before: libraries are loaded, threads' stacks are there */
	ring_buffer__consume(rb);
	ncalls = 0;
	syscall(SYS_getppid, MARK);
	works[work].fn();
	syscall(SYS_getppid, MARK);
	while (n)
		bpf_link__destroy(links[--n]);
	ring_buffer__consume(rb);
	/* posix_spawn()'s child looks at signals that are blocked: those that Ferry needs never are. */
	write_all(3, works[work].fn == signals, works[work].fn == children ? SYS_rt_sigaction : SYS_futex);
	return 0;
}

/* ---- comparing ------------------------------------------------------------------------------------ */

static char *object;

/* What a process of its own saw; freed by the caller. */
static char *see(const char *mode, size_t work)
{
	char number[8], *argv[] = { (char *)"compare", (char *)mode, object, number, NULL };
	FILE *f = tmpfile();
	long size;
	int status;
	char *text;
	pid_t pid;

	sprintf(number, "%zu", work);
	fflush(NULL);
	pid = fork();
	if (!pid) {
		dup2(fileno(f), 3);
		setenv("FERRY", !strcmp(mode, "kernel") ? "off" : "", 1);
		execv("/proc/self/exe", argv);
		_exit(4);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	size = ftell(f);
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	rewind(f);
	text = calloc(1, (size_t)size + 1);
	assert_int_equal(fread(text, 1, (size_t)size, f), size);
	fclose(f);
	return text;
}

static void is_seen_as_by_the_kernel(void **state)
{
	size_t work = (size_t)(uintptr_t)*state, lines = 0;
	char *kernel = see("kernel", work), *ferry = see("ferry", work), *k = kernel, *f = ferry;

	while (*k && *f) {
		size_t n = strcspn(k, "\n"), m = strcspn(f, "\n");

		if (n != m || memcmp(k, f, n)) {
			print_message("# line %zu: the kernel's: %.*s\n#   Ferry's: %.*s\n", lines, (int)n, k,
				      (int)m, f);
			fail();
		}
		k += n + 1;
		f += m + 1;
		lines++;
	}
	assert_string_equal(k, f);
	print_message("# %s: %zu events\n", works[work].name, lines);
	assert_true(lines > 10);
	free(kernel);
	free(ferry);
}

/* Where tracefs is not mounted, it is for this process; in a chroot that is no mount it cannot be. */
static bool have_tracefs(void)
{
	if (access("/sys/kernel/tracing/events", F_OK) && !unshare(CLONE_NEWNS) &&
	    !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
	return !access("/sys/kernel/tracing/events", F_OK);
}

static bool kernel_works(void)
{
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT, .insn_cnt = 2,
				.license = (uintptr_t)"GPL" };
	struct bpf_insn insns[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K }, { .code = BPF_JMP | BPF_EXIT } };
	long prog, link;
	int status = 1;
	pid_t pid = fork();

	if (!pid)
		_exit(!have_tracefs());
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return false;
	attr.insns = (uintptr_t)insns;
	prog = raw_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	memset(&attr, 0, sizeof(attr));
	attr.raw_tracepoint.name = (uintptr_t)"sys_enter";
	attr.raw_tracepoint.prog_fd = (u_int32_t)prog;
	link = prog < 0 ? prog : raw_bpf(BPF_RAW_TRACEPOINT_OPEN, &attr, sizeof(attr));
	if (link >= 0)
		close((int)link);
	if (prog >= 0)
		close((int)prog);
	return link >= 0;
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[NWORKS];
	size_t i, n = 0;

	calls = calloc(MAX_CALLS, sizeof(*calls));
	if (argc > 3) {
		if (ferry_hook()) /* does nothing with FERRY=off */
			return 1;
		if (!strcmp(argv[1], "kernel"))
			have_tracefs();
		return run(argv[2], (size_t)atoi(argv[3]));
	}
	object = getenv("CALLS_OBJECT");
	if (!object)
		return 2;
	if (!kernel_works())
		return skip_all("the machine's kernel has no tracepoints of system calls for this user");
	for (i = 0; i < NWORKS; i++) {
		/* posix_spawn() resets the handlers that it knows, and one more is there. */
		if (getenv("FERRY_SYSCALLS") && works[i].fn == children)
			continue;
		tests[n++] = (struct CMUnitTest){ works[i].name, is_seen_as_by_the_kernel, NULL, NULL,
						(void *)(uintptr_t)i };
	}
	return _cmocka_run_group_tests("compare", tests, n, NULL, NULL);
}
