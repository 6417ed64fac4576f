/* SPDX-License-Identifier: MIT */
/* Hooks answer for Ferry's descriptors and files, and leave everything else as it was. */
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/btf.h>

#include "code/code.h"
#include "map/map.h"
#include "preload/preload.h"
#include "sys_test.h"

#define VMLINUX "/sys/kernel/btf/vmlinux"

static void check_btf(const void *data, size_t size)
{
	struct btf *btf = btf__new(data, size);

	assert_non_null(btf);
	assert_true(btf__find_by_name_kind(btf, "xdp_md", BTF_KIND_STRUCT) > 0);
	/* Ferry's, not the machine's: that one has tens of thousands of types. */
	assert_true(btf__type_cnt(btf) < 10000);
	btf__free(btf);
}

static void vmlinux_is_opened_in_every_way(void **state)
{
	int fds[] = {
		open(VMLINUX, O_RDONLY),
		open64(VMLINUX, O_RDONLY | O_CLOEXEC),
		openat(AT_FDCWD, VMLINUX, O_RDONLY),
		openat64(AT_FDCWD, VMLINUX, O_RDONLY),
	};
	static u8 data[1 << 20];
	struct stat st;
	FILE *f;
	ssize_t n;

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_true(fds[i] >= 0);
		n = read(fds[i], data, sizeof(data));
		assert_true(n > 0 && n < (ssize_t)sizeof(data));
		check_btf(data, n);
		assert_int_equal(fcntl(fds[i], F_GETFD), i == 1 ? FD_CLOEXEC : 0);
		close(fds[i]);
	}
	f = fopen(VMLINUX, "rb");
	assert_non_null(f);
	n = fread(data, 1, sizeof(data), f);
	check_btf(data, n);
	fclose(f);
	assert_int_equal(stat(VMLINUX, &st), 0);
	assert_int_equal(st.st_size, n);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(access(VMLINUX, R_OK), 0);
	assert_int_equal(faccessat(AT_FDCWD, VMLINUX, R_OK, AT_EACCESS), 0);
	errno = 0;
	assert_int_equal(access(VMLINUX, W_OK), -1);
	assert_int_equal(errno, EACCES);
	errno = 0;
	assert_int_equal(open(VMLINUX, O_RDWR), -1);
	assert_int_equal(errno, EACCES);
	assert_null(fopen(VMLINUX, "w"));
	assert_int_equal(open("/sys/kernel/btf/no_such_module", O_RDONLY), -1);
}

static void other_files_are_opened_as_always(void **state)
{
	char path[] = "/tmp/ferry-hooks-XXXXXX", c = 0;
	int fd = mkstemp(path);
	struct stat st;
	FILE *f;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	unlink(path);
	umask(0);
	fd = open(path, O_CREAT | O_WRONLY | O_EXCL, 0640); /* the mode arrives */
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(write(fd, "y", 1), 1);
	close(fd);
	f = fopen(path, "r");
	assert_int_equal(fread(&c, 1, 1, f), 1);
	assert_int_equal(c, 'y');
	fclose(f);
	unlink(path);
	errno = 0;
	assert_int_equal(open(path, O_RDONLY), -1);
	assert_int_equal(errno, ENOENT);
	assert_null(fopen(path, "r"));
	assert_int_equal(access(path, F_OK), -1);
	errno = 0;
	assert_int_equal(close(-1), -1);
	assert_int_equal(errno, EBADF);
	assert_ptr_equal(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), MAP_FAILED);
}

/* A program that prints one line. */
static int printer(void)
{
	struct bpf_insn insns[] = {
		INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -8, 0x0a206968), /* "hi \n" */
		INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, -8),
		MOV(2, 5),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_trace_printk),
		MOV(0, 0),
		EXIT(),
	};
	int fd = load_insns(sys_bpf, BPF_PROG_TYPE_XDP, insns, ARRAY_SIZE(insns));

	assert_true(fd >= 0);
	return fd;
}

static void run(int fd)
{
	char packet[64] = "";
	union bpf_attr a = { .test = {
				     .prog_fd = fd, .data_in = PTR(packet), .data_size_in = 64 } };

	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), 0);
}

static void trace_pipe_gives_lines_and_waits_for_more(void **state)
{
	int prog = printer(), fd, status;
	char line[256];
	ssize_t n;
	pid_t pid;
	FILE *f;

	(void)state;
	run(prog); /* printed before anybody listens */
	fd = open("/sys/kernel/debug/tracing/trace_pipe", O_RDONLY | O_NONBLOCK);
	assert_true(fd >= 0);
	n = read(fd, line, sizeof(line) - 1);
	assert_true(n > 0);
	line[n] = '\0';
	assert_non_null(strstr(line, "bpf_trace_printk: hi"));
	assert_int_equal(line[n - 1], '\n');
	errno = 0;
	assert_int_equal(read(fd, line, sizeof(line)), -1);
	assert_int_equal(errno, EAGAIN);
	close(fd);
	f = fopen("/sys/kernel/tracing/trace_pipe", "r");
	assert_non_null(f);
	pid = fork();
	if (!pid) {
		usleep(20000);
		run(prog);
		_exit(0);
	}
	assert_non_null(fgets(line, sizeof(line), f)); /* blocks until the other printed */
	assert_non_null(strstr(line, "bpf_trace_printk: hi"));
	fclose(f);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	close(prog);
}

static void put_record(int fd)
{
	struct map *m = sys_fd_map(fd);
	u64 record = 1;

	assert_int_equal(map_ringbuf_output(m, &record, sizeof(record), 0), 0);
	map_put(m);
}

/* Takes all that is there, as a consumer does. */
static void consume(int fd)
{
	volatile u64 *consumer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	volatile u64 *producer = mmap(NULL, 4096 + 2 * 4096, PROT_READ, MAP_SHARED, fd, 4096);

	assert_ptr_not_equal((void *)consumer, MAP_FAILED);
	assert_ptr_not_equal((void *)producer, MAP_FAILED);
	*consumer = *producer;
	munmap((void *)consumer, 4096);
	munmap((void *)producer, 3 * 4096);
}

static void ring_buffer_is_ready_only_with_records(void **state)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0), ep = epoll_create1(0),
	    p[2];
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = 7 }, got;
	struct pollfd fds[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	fds[0] = (struct pollfd){ .fd = p[0], .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = fd, .events = POLLIN };
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), 0);
	errno = 0;
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(epoll_wait(ep, &got, 1, 0), 0);
	assert_int_equal(poll(fds, 2, 0), 0);
	put_record(fd);
	assert_int_equal(epoll_wait(ep, &got, 1, 0), 1);
	assert_int_equal(got.data.u32, 7);
	/* Ready as long as the record is there: the level, not the edge. */
	assert_int_equal(epoll_wait(ep, &got, 1, 0), 1);
	assert_int_equal(poll(fds, 2, 0), 1);
	assert_int_equal(fds[0].revents, 0);
	assert_int_equal(fds[1].revents, POLLIN);
	assert_int_equal(fds[1].fd, fd);
	consume(fd);
	assert_int_equal(epoll_wait(ep, &got, 1, 0), 0);
	assert_int_equal(poll(fds, 2, 0), 0);
	put_record(fd);
	assert_int_equal(epoll_wait(ep, &got, 1, 1000), 1);
	ev.data.u32 = 8;
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev), 0);
	assert_int_equal(epoll_wait(ep, &got, 1, 0), 1);
	assert_int_equal(got.data.u32, 8);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL), 0);
	assert_int_equal(epoll_wait(ep, &got, 1, 0), 0);
	close(fd);
	close(ep);
	close(p[0]);
	close(p[1]);
}

/* One record behind it is not many that could not be read for long: whoever waits looks. */
static void record_of_a_dead_process_holds_nobody_up(void **state)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0), ep = epoll_create1(0), status;
	struct epoll_event ev = { .events = EPOLLIN }, got;
	struct map *m = sys_fd_map(fd);
	const _Atomic u32 *head;
	pid_t pid;

	(void)state;
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), 0);
	pid = fork();
	if (!pid)
		_exit(map_ringbuf_reserve(m, 8, 0) ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	put_record(fd);
	assert_int_equal(epoll_wait(ep, &got, 1, 1000), 1);
	head = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 8192);
	assert_true(head != MAP_FAILED);
	assert_int_equal(*head, 8 | BPF_RINGBUF_DISCARD_BIT);
	munmap((void *)head, 4096);
	map_put(m);
	close(fd);
	close(ep);
}

static void select_waits_for_ring_buffers_too(void **state)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0), p[2];
	struct timespec limit = { 0, 0 };
	struct timeval none = { 0, 0 };
	fd_set r, w;

	(void)state;
	assert_int_equal(pipe(p), 0);
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(fd, &r);
	FD_SET(p[0], &r);
	assert_int_equal(select(64, &r, NULL, NULL, &none), 0);
	assert_false(FD_ISSET(fd, &r));
	put_record(fd);
	FD_SET(fd, &r);
	FD_SET(p[0], &r);
	FD_SET(p[1], &w);
	none = (struct timeval){ 1, 0 };
	assert_int_equal(select(64, &r, &w, NULL, &none), 2);
	assert_true(FD_ISSET(fd, &r) && FD_ISSET(p[1], &w));
	assert_false(FD_ISSET(p[0], &r));
	assert_int_equal(write(p[1], "x", 1), 1);
	FD_SET(p[0], &r);
	assert_int_equal(pselect(64, &r, NULL, NULL, NULL, NULL), 2);
	consume(fd);
	assert_int_equal(pselect(64, &r, NULL, NULL, &limit, NULL), 1);
	assert_true(FD_ISSET(p[0], &r));
	close(p[0]);
	close(p[1]);
	/* A closed descriptor in the set is an error (select(2)). */
	FD_SET(fd, &r);
	errno = 0;
	assert_int_equal(select(64, &r, NULL, NULL, &none), -1);
	assert_int_equal(errno, EBADF);
	close(fd);
}

static sigjmp_buf back;

static void on_segv(int sig)
{
	siglongjmp(back, sig);
}

static void hosts_handler_comes_after_ferrys(void **state)
{
	struct sigaction act = { .sa_handler = on_segv }, old;
	volatile int *volatile bad = (volatile int *)8;
	u64 to;

	(void)state;
	assert_int_equal(code_copy_safe(&to, (void *)8, 8), -EFAULT); /* Ferry handles it now */
	assert_int_equal(sigaction(SIGSEGV, &act, &old), 0);
	/* The copy still survives, though the host "took" the signal. */
	assert_int_equal(code_copy_safe(&to, (void *)8, 8), -EFAULT);
	/* And the host's own faults reach its handler. */
	if (!sigsetjmp(back, 1)) {
		*bad = 1;
		fail();
	}
	assert_int_equal(sigaction(SIGSEGV, NULL, &act), 0);
	assert_ptr_equal(act.sa_handler, on_segv);
	assert_int_equal(sigaction(SIGSEGV, &old, NULL), 0);
	assert_ptr_equal(signal(SIGSEGV, SIG_DFL), old.sa_handler);
	assert_int_equal(code_copy_safe(&to, (void *)8, 8), -EFAULT);
	/* A signal that is not Ferry's. */
	assert_ptr_equal(signal(SIGUSR2, on_segv), SIG_DFL);
	assert_ptr_equal(signal(SIGUSR2, SIG_DFL), on_segv);
}

static void off_leaves_all_alone(void **state)
{
	char *self[] = { "/proc/self/exe", NULL };
	char *env[] = { "FERRY=off", "HOOKS_CHILD=1", NULL };
	int status;
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		execve(self[0], self, env);
		_exit(99);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* With FERRY=off: is bpf(2) the kernel's, with its ids and errors? */
static int child(void)
{
	union bpf_attr a = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1
	};
	long fd = syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof(a));
	char link[64] = "", path[40];

	if (fd < 0)
		return errno == EPERM || errno == ENOSYS ? 0 : 1;
	snprintf(path, sizeof(path), "/proc/self/fd/%ld", fd);
	return readlink(path, link, sizeof(link) - 1) < 0 || strcmp(link, "anon_inode:bpf-map");
}

/* Names are as the caller has them, wherever the files are; other patterns find what they always did. */
static void patterns_find_the_files_of_a_session(void **state)
{
	static const char dir[] = "/sys/kernel/tracing/events/syscalls/";
	glob_t g = { 0 };

	(void)state;
	assert_int_equal(glob("/sys/kernel/tracing/events/syscalls/sys_enter_exec*/format", 0, NULL, &g), 0);
	assert_int_equal(g.gl_pathc, 2);
	assert_int_equal(strncmp(g.gl_pathv[0], dir, strlen(dir)), 0);
	assert_string_equal(g.gl_pathv[0] + strlen(dir), "sys_enter_execve/format");
	assert_string_equal(g.gl_pathv[1] + strlen(dir), "sys_enter_execveat/format");
	assert_int_equal(glob("/dev/nul[l]", GLOB_APPEND, NULL, &g), 0);
	assert_int_equal(g.gl_pathc, 3);
	assert_string_equal(g.gl_pathv[2], "/dev/null");
	globfree(&g);
	assert_int_equal(glob("/sys/kernel/tracing/events/syscalls/nothing*", 0, NULL, &g), GLOB_NOMATCH);
	globfree(&g);
}

static void hooking_again_changes_nothing(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(preload_hook(), 0);
	assert_int_equal(preload_hook(), 0);
	fd = open("/dev/null", O_RDONLY);
	assert_int_equal(close(fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vmlinux_is_opened_in_every_way),
		cmocka_unit_test(other_files_are_opened_as_always),
		cmocka_unit_test(trace_pipe_gives_lines_and_waits_for_more),
		cmocka_unit_test(ring_buffer_is_ready_only_with_records),
		cmocka_unit_test(record_of_a_dead_process_holds_nobody_up),
		cmocka_unit_test(select_waits_for_ring_buffers_too),
		cmocka_unit_test(hosts_handler_comes_after_ferrys),
		cmocka_unit_test(off_leaves_all_alone),
		cmocka_unit_test(patterns_find_the_files_of_a_session),
		cmocka_unit_test(hooking_again_changes_nothing),
	};

	if (getenv("HOOKS_CHILD"))
		return child();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
