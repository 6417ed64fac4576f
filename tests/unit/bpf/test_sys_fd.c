/* SPDX-License-Identifier: MIT */
/* Objects are files: they live as long as descriptors and objects refer to them, and no longer. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "preload/preload.h"
#include "sys_test.h"

static bool exists(int next_cmd, u32 id)
{
	union bpf_attr a = { .start_id = id - 1 };

	return !sys_bpf(next_cmd, &a, sizeof(a)) && a.next_id == id;
}

static u32 id_of(int fd)
{
	u32 info[64] = { 0 };
	union bpf_attr a = {
		.info = { .bpf_fd = fd, .info_len = sizeof(info) - 16, .info = PTR(info) }
	};

	a.info.info_len = 80;
	return sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a)) ? 0 : info[1];
}

static int small_map(void)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0);

	assert_true(fd >= 0);
	return fd;
}

static long lookup(int fd, u64 *value)
{
	u32 key = 0;
	union bpf_attr a = { .map_fd = fd, .key = PTR(&key), .value = PTR(value) };

	return sys_bpf(BPF_MAP_LOOKUP_ELEM, &a, sizeof(a));
}

static long update(int fd, u64 value)
{
	u32 key = 0;
	union bpf_attr a = { .map_fd = fd, .key = PTR(&key), .value = PTR(&value) };

	return sys_bpf(BPF_MAP_UPDATE_ELEM, &a, sizeof(a));
}

static void descriptors_are_close_on_exec_and_go_with_close(void **state)
{
	int fd = small_map();
	u32 id = id_of(fd);
	u64 v;

	(void)state;
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_true(exists(BPF_MAP_GET_NEXT_ID, id));
	close(fd);
	assert_false(exists(BPF_MAP_GET_NEXT_ID, id));
	assert_int_equal(lookup(fd, &v), -EBADF);
}

static void duplicates_keep_an_object(void **state)
{
	int fd = small_map(), other = dup(fd), third = fcntl(fd, F_DUPFD, 40);
	u32 id = id_of(fd);
	u64 v;

	(void)state;
	assert_int_equal(update(fd, 77), 0);
	close(fd);
	assert_int_equal(lookup(other, &v), 0);
	assert_int_equal(v, 77);
	close(other);
	assert_int_equal(lookup(third, &v), 0);
	assert_int_equal(id_of(third), id);
	close(third);
	assert_false(exists(BPF_MAP_GET_NEXT_ID, id));
}

static void dup2_over_the_last_descriptor_frees_it(void **state)
{
	int fd = small_map(), null = open("/dev/null", O_RDONLY);
	u32 id = id_of(fd);
	u64 v;

	(void)state;
	assert_int_equal(dup2(null, fd), fd);
	assert_false(exists(BPF_MAP_GET_NEXT_ID, id));
	assert_int_equal(lookup(fd, &v), -EINVAL); /* a descriptor, of something else */
	close(fd);
	fd = small_map();
	id = id_of(fd);
	assert_int_equal(dup3(null, fd, O_CLOEXEC), fd);
	assert_false(exists(BPF_MAP_GET_NEXT_ID, id));
	close(fd);
	close(null);
}

static void close_range_frees_and_spares_what_is_ferrys(void **state)
{
	int keep = small_map(), fd = small_map();
	u32 id = id_of(fd), kept = id_of(keep);
	u64 v;

	(void)state;
	assert_true(fd > keep);
	assert_int_equal(close_range(fd, ~0u, 0), 0);
	assert_false(exists(BPF_MAP_GET_NEXT_ID, id));
	assert_true(exists(BPF_MAP_GET_NEXT_ID, kept));
	assert_int_equal(lookup(keep, &v), 0);
	close(keep);
}

static void ferrys_own_descriptors_cannot_be_closed(void **state)
{
	int fd = small_map(), own = -1;
	struct stat want, st;
	u64 v;

	(void)state;
	fstat(fd, &want);
	for (int i = fd + 1; i < 70000 && own < 0; i++)
		if (!fstat(i, &st) && st.st_ino == want.st_ino && st.st_dev == want.st_dev)
			own = i;
	assert_true(own > fd);
	errno = 0;
	assert_int_equal(close(own), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(dup2(fd, own), -1);
	assert_int_equal(lookup(fd, &v), 0);
	close(fd);
	assert_int_equal(fstat(own, &st), -1);
}

static void reused_number_is_not_the_old_object(void **state)
{
	int fd = small_map(), file;
	u64 v;

	(void)state;
	close(fd);
	file = open("/dev/null", O_RDONLY);
	assert_int_equal(file, fd);
	assert_int_equal(lookup(file, &v), -EINVAL);
	close(file);
}

static void closing_unnoticed_is_made_up_for(void **state)
{
	int fd = small_map(), other = small_map();
	u32 id = id_of(fd);

	(void)state;
	/* Behind the hooks' back, as libc itself may. */
	asm volatile("" ::: "memory");
#if defined(__x86_64__)
	long ret;
	asm volatile("syscall" : "=a"(ret) : "a"(SYS_close), "D"(fd) : "rcx", "r11", "memory");
#else
	close(fd);
#endif
	close(other);
	assert_false(exists(BPF_MAP_GET_NEXT_ID, id));
}

#if defined(__x86_64__)
static void close_bare(int fd)
{
	long ret;

	asm volatile("syscall" : "=a"(ret) : "a"(SYS_close), "D"(fd) : "rcx", "r11", "memory");
	assert_int_equal(ret, 0);
}

/* Descriptors are remembered by number: those closed behind the hooks' back must not linger. */
static void numbers_that_changed_unnoticed_are_found_out(void **state)
{
	int fd = small_map(), other, file, i;
	u64 v = 0;

	(void)state;
	assert_int_equal(update(fd, 11), 0);
	assert_int_equal(lookup(fd, &v), 0);
	close_bare(fd);
	other = small_map(); /* the same number for another map: at once */
	assert_int_equal(other, fd);
	assert_int_equal(lookup(other, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(lookup(other, &v), 0);
	close_bare(other);
	file = open("/dev/null", O_RDONLY); /* for no map at all: after some commands */
	assert_int_equal(file, other);
	for (i = 0; i < 2000 && !lookup(file, &v); i++)
		;
	assert_true(i < 2000);
	assert_int_equal(lookup(file, &v), -EINVAL);
	close(file);
}
#endif

static void numbers_are_forgotten_by_every_way_to_close(void **state)
{
	int null = open("/dev/null", O_RDONLY), fd, way;
	u64 v;

	(void)state;
	for (way = 0; way < 6; way++) {
		fd = small_map();
		assert_int_equal(lookup(fd, &v), 0);
		assert_int_equal(lookup(fd, &v), 0);
		switch (way) {
		case 0: close(fd); break;
		case 1: dup2(null, fd); break;
		case 2: dup3(null, fd, O_CLOEXEC); break;
		case 3: close_range(fd, fd, 0); break;
		case 4: syscall(SYS_close, fd); break;
		case 5: syscall(SYS_dup3, null, fd, 0); break;
		}
		assert_true(lookup(fd, &v) < 0);
		close(fd);
	}
	close(null);
}

static void *update_loop(void *arg)
{
	_Atomic int *fd = arg;
	u64 v;

	while (*fd >= 0) {
		update(*fd, 5);
		lookup(*fd, &v);
	}
	return NULL;
}

/* A thread may be inside of a command on a map while another closes its last descriptor. */
static void maps_may_be_closed_while_they_are_used(void **state)
{
	static _Atomic int shared;
	pthread_t t;
	int i, fd;

	(void)state;
	shared = small_map();
	assert_int_equal(pthread_create(&t, NULL, update_loop, (void *)&shared), 0);
	for (i = 0; i < 3000; i++) {
		fd = shared;
		shared = small_map();
		close(fd);
	}
	fd = shared;
	shared = -1;
	pthread_join(t, NULL);
	close(fd);
}

static void program_keeps_its_maps(void **state)
{
	int map = make_map(sys_bpf, BPF_MAP_TYPE_HASH, 4, 8, 2, 0), prog, again;
	u32 id = id_of(map), prog_id;
	struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map),
		INSN(0, 0, 0, 0, 0),
		MOV(0, 0),
		EXIT(),
	};
	union bpf_attr a = { .map_id = id };

	(void)state;
	prog = load_insns(sys_bpf, BPF_PROG_TYPE_SOCKET_FILTER, insns, 4);
	assert_true(prog >= 0);
	prog_id = id_of(prog);
	close(map);
	assert_true(exists(BPF_MAP_GET_NEXT_ID, id));
	again = sys_bpf(BPF_MAP_GET_FD_BY_ID, &a, sizeof(a));
	assert_true(again >= 0);
	assert_int_equal(id_of(again), id);
	close(again);
	assert_true(exists(BPF_MAP_GET_NEXT_ID, id));
	close(prog);
	assert_false(exists(BPF_PROG_GET_NEXT_ID, prog_id));
	assert_false(exists(BPF_MAP_GET_NEXT_ID, id));
}

static long set_prog(int map, u32 key, u32 fd)
{
	union bpf_attr a = { .map_fd = map, .key = PTR(&key), .value = PTR(&fd) };

	return sys_bpf(BPF_MAP_UPDATE_ELEM, &a, sizeof(a));
}

static void prog_array_keeps_programs_of_one_type(void **state)
{
	int map = make_map(sys_bpf, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, 0);
	int filter = make_prog(sys_bpf, BPF_PROG_TYPE_SOCKET_FILTER);
	int xdp = make_prog(sys_bpf, BPF_PROG_TYPE_XDP);
	u32 id = id_of(filter), key = 0, shown = 0;
	union bpf_attr a = { .map_fd = map, .key = PTR(&key), .value = PTR(&shown) };

	(void)state;
	assert_int_equal(set_prog(map, 0, filter), 0);
	assert_int_equal(set_prog(map, 1, xdp), -EINVAL);
	assert_int_equal(set_prog(map, 1, map), -EINVAL);
	assert_int_equal(set_prog(map, 1, 9999), -EBADF);
	assert_int_equal(set_prog(map, 2, filter), -E2BIG);
	close(filter);
	assert_true(exists(BPF_PROG_GET_NEXT_ID, id));
	assert_int_equal(sys_bpf(BPF_MAP_LOOKUP_ELEM, &a, sizeof(a)), 0);
	assert_int_equal(shown, id);
	a.value = 0;
	assert_int_equal(sys_bpf(BPF_MAP_DELETE_ELEM, &a, END_OF(key)), 0);
	assert_false(exists(BPF_PROG_GET_NEXT_ID, id));
	/* The rest goes with the map. */
	filter = make_prog(sys_bpf, BPF_PROG_TYPE_SOCKET_FILTER);
	id = id_of(filter);
	assert_int_equal(set_prog(map, 1, filter), 0);
	close(filter);
	close(map);
	assert_false(exists(BPF_PROG_GET_NEXT_ID, id));
	close(xdp);
}

static void prog_array_and_its_program_do_not_keep_each_other(void **state)
{
	int map = make_map(sys_bpf, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, 0), prog;
	u32 map_id = id_of(map), prog_id;
	struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, map),
		INSN(0, 0, 0, 0, 0),
		MOV(3, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call),
		MOV(0, 9),
		EXIT(),
	};

	(void)state;
	prog = load_insns(sys_bpf, BPF_PROG_TYPE_XDP, insns, ARRAY_SIZE(insns));
	assert_true(prog >= 0);
	prog_id = id_of(prog);
	assert_int_equal(set_prog(map, 0, prog), 0);
	close(prog);
	assert_true(exists(BPF_PROG_GET_NEXT_ID, prog_id));
	close(map);
	assert_false(exists(BPF_PROG_GET_NEXT_ID, prog_id));
	assert_false(exists(BPF_MAP_GET_NEXT_ID, map_id));
}

static void fork_gives_both_their_own_and_shared_memory(void **state)
{
	int fd = small_map(), status;
	u64 v = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(update(fd, 1), 0);
	pid = fork();
	if (!pid) {
		int mine = small_map();
		bool ok = mine >= 0 && !lookup(fd, &v) && v == 1 && !update(fd, 2) &&
			  !close(mine) && !close(fd);

		_exit(ok ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_int_equal(lookup(fd, &v), 0); /* closed over there only */
	assert_int_equal(v, 2);
	close(fd);
}

static void child_of_vfork_closes_nothing_here(void **state)
{
	int fd = small_map(), status;
	u64 v;
	pid_t pid = vfork();

	(void)state;
	if (!pid) {
		close(fd);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(lookup(fd, &v), 0);
	close(fd);
}

static void read_only_and_write_only_descriptors(void **state)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_MMAPABLE | BPF_F_RDONLY), wr,
	    rw;
	union bpf_attr a = { .map_id = id_of(fd), .open_flags = BPF_F_WRONLY };
	u64 v;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(update(fd, 5), -EPERM);
	assert_int_equal(lookup(fd, &v), 0);
	assert_ptr_equal(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	wr = sys_bpf(BPF_MAP_GET_FD_BY_ID, &a, sizeof(a));
	a.open_flags = 0;
	rw = sys_bpf(BPF_MAP_GET_FD_BY_ID, &a, sizeof(a));
	assert_true(wr >= 0 && rw >= 0);
	assert_int_equal(update(wr, 5), 0);
	assert_int_equal(lookup(wr, &v), -EPERM);
	assert_int_equal(lookup(rw, &v), 0);
	assert_int_equal(v, 5);
	assert_int_equal(update(rw, 6), 0);
	a.open_flags = BPF_F_RDONLY | BPF_F_WRONLY;
	assert_int_equal(sys_bpf(BPF_MAP_GET_FD_BY_ID, &a, sizeof(a)), -EINVAL);
	close(fd);
	close(wr);
	close(rw);
}

static void frozen_maps_are_read_only_to_the_user(void **state)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_MMAPABLE);
	union bpf_attr a = { .map_fd = fd };
	u64 v;
	void *p;

	(void)state;
	assert_int_equal(update(fd, 5), 0);
	assert_int_equal(sys_bpf(BPF_MAP_FREEZE, &a, END_OF(map_fd)), 0);
	assert_int_equal(sys_bpf(BPF_MAP_FREEZE, &a, END_OF(map_fd)), -EBUSY);
	assert_int_equal(update(fd, 6), -EPERM);
	assert_int_equal(lookup(fd, &v), 0);
	assert_int_equal(v, 5);
	errno = 0;
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
	assert_int_equal(errno, EPERM);
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(*(u64 *)p, 5);
	munmap(p, 4096);
	close(fd);
}

static void mmap_of_arrays_shows_their_values(void **state)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_MMAPABLE);
	int plain = small_map(), prog = make_prog(sys_bpf, BPF_PROG_TYPE_XDP);
	u64 *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), v;

	(void)state;
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(update(fd, 123), 0);
	assert_int_equal(*p, 123);
	*p = 321;
	assert_int_equal(lookup(fd, &v), 0);
	assert_int_equal(v, 321);
	assert_ptr_equal(mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0), MAP_FAILED);
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ, MAP_SHARED, plain, 0), MAP_FAILED);
	errno = 0;
	assert_ptr_equal(mmap(NULL, 4096, PROT_READ, MAP_SHARED, prog, 0), MAP_FAILED);
	assert_int_equal(errno, ENODEV);
	munmap(p, 4096);
	close(fd);
	close(plain);
	close(prog);
}

static void on_alarm(int sig)
{
	int fd = dup(0);

	(void)sig;
	close(fd);
}

static void handlers_may_close_at_any_time(void **state)
{
	struct itimerval often = { { 0, 100 }, { 0, 100 } }, never = { 0 };

	(void)state;
	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 1000; i++)
		close(small_map());
	setitimer(ITIMER_REAL, &never, NULL);
	signal(SIGALRM, SIG_DFL);
	sys_fd_sweep();
}

static void *churn(void *arg)
{
	for (int i = 0; i < 200; i++) {
		int fd = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0), other = dup(fd);
		u64 v;

		if (fd < 0 || update(fd, i) || lookup(other, &v) || v != (u64)i)
			*(int *)arg = 1;
		close(fd);
		close(other);
	}
	return NULL;
}

static void threads_do_not_disturb_each_other(void **state)
{
	pthread_t t[4];
	int bad[4] = { 0 };
	u32 before;

	(void)state;
	close(small_map());
	before = count_fds();
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, churn, &bad[i]);
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(bad[i], 0);
	}
	sys_fd_sweep();
	assert_int_equal(count_fds(), before);
	assert_false(exists(BPF_MAP_GET_NEXT_ID, 1));
}

/* All of the above left nothing behind. */
static int nothing_is_left(void **state)
{
	union bpf_attr a = { 0 };

	(void)state;
	return sys_bpf(BPF_MAP_GET_NEXT_ID, &a, sizeof(a)) == -ENOENT &&
			       sys_bpf(BPF_PROG_GET_NEXT_ID, &a, sizeof(a)) == -ENOENT
		       ? 0
		       : 1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors_are_close_on_exec_and_go_with_close),
		cmocka_unit_test(duplicates_keep_an_object),
		cmocka_unit_test(dup2_over_the_last_descriptor_frees_it),
		cmocka_unit_test(close_range_frees_and_spares_what_is_ferrys),
		cmocka_unit_test(ferrys_own_descriptors_cannot_be_closed),
		cmocka_unit_test(reused_number_is_not_the_old_object),
		cmocka_unit_test(closing_unnoticed_is_made_up_for),
#if defined(__x86_64__)
		cmocka_unit_test(numbers_that_changed_unnoticed_are_found_out),
#endif
		cmocka_unit_test(numbers_are_forgotten_by_every_way_to_close),
		cmocka_unit_test(maps_may_be_closed_while_they_are_used),
		cmocka_unit_test(program_keeps_its_maps),
		cmocka_unit_test(prog_array_keeps_programs_of_one_type),
		cmocka_unit_test(prog_array_and_its_program_do_not_keep_each_other),
		cmocka_unit_test(fork_gives_both_their_own_and_shared_memory),
		cmocka_unit_test(child_of_vfork_closes_nothing_here),
		cmocka_unit_test(read_only_and_write_only_descriptors),
		cmocka_unit_test(frozen_maps_are_read_only_to_the_user),
		cmocka_unit_test(mmap_of_arrays_shows_their_values),
		cmocka_unit_test(handlers_may_close_at_any_time),
		cmocka_unit_test(threads_do_not_disturb_each_other),
	};

	if (preload_hook())
		return 1;
	return cmocka_run_group_tests(tests, NULL, nothing_is_left);
}
