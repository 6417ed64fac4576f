/* SPDX-License-Identifier: MIT */
/*
 * Maps in two processes that share nothing but a socket: what one does the other sees, as if one
 * process had done it all; and what is frozen, nobody changes.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "map/map.h"
#include "sys_test.h"

/* What the other process is asked to do; with a descriptor the first time it hears of it. */
enum { DO_BPF, DO_LOAD, DO_OUTPUT, DO_DRAIN, DO_TRACE, DO_PIDFD,
       DO_MMAP, DO_MMAP_FILE, DO_MUNMAP, DO_SCRIBBLE, DO_EXIT };

struct order {
	int what, cmd, map; /* the map by its number below */
	bool keyless;
	u64 flags;
	u8 key[64], value[1024];
	long ret;
};

#define MAPS 32

/* ---- both sides ----------------------------------------------------------------------------- */

static long elem(int fd, int cmd, const void *key, void *value, u64 flags)
{
	union bpf_attr a = { .map_fd = (u32)fd, .key = PTR(key), .flags = flags };

	if (cmd != BPF_MAP_DELETE_ELEM)
		a.value = PTR(value);
	return sys_bpf(cmd, &a, cmd == BPF_MAP_DELETE_ELEM ? END_OF(key) : sizeof(a));
}

static long freeze(int fd)
{
	union bpf_attr a = { .map_fd = (u32)fd };

	return sys_bpf(BPF_MAP_FREEZE, &a, sizeof(a));
}

/* A program that is safe only if element 0 of the map is 41 for ever. */
static long load_trusting(int fd)
{
	struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_VALUE, 0, fd),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 1, 1, 0, 0),
		MOV(0, 0),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1, 41),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 0, 1, 0, 0),
		EXIT(),
	};
	int prog = load_insns(sys_bpf, BPF_PROG_TYPE_XDP, insns, ARRAY_SIZE(insns));

	if (prog >= 0)
		close(prog);
	return prog < 0 ? prog : 0;
}

static u64 sample_got(void *arg, void *sample, u32 size)
{
	memcpy(arg, sample, size < 8 ? size : 8);
	return 0;
}

static long direct(int what, int fd, u8 *value)
{
	struct map_trace t = { value, 16, 2, 77 };
	struct map *m = sys_fd_map(fd);
	long ret = -EINVAL;

	if (!m)
		return -EBADF;
	if (what == DO_OUTPUT)
		ret = map_ringbuf_output(m, value, 8, 0);
	else if (what == DO_DRAIN)
		ret = map_user_ringbuf_drain(m, sample_got, value, 0);
	else if (what == DO_TRACE)
		ret = map_stack_put(m, &t, 0);
	map_put(m);
	return ret;
}

/* ---- the other process ----------------------------------------------------------------------- */

static long other_mmap(int what, int fd, u8 **mapped)
{
	if (what == DO_MMAP) {
		*mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		return *mapped == MAP_FAILED ? -errno : 0;
	}
	if (what == DO_MMAP_FILE) { /* all of it, as a process does that is none of Ferry's */
		*mapped = (u8 *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		return *mapped == MAP_FAILED ? -errno : 0;
	}
	if (what == DO_SCRIBBLE)
		return memset(*mapped, 0xff, 4096) ? 0 : -1;
	return munmap(*mapped, 4096);
}

static int other_process(int sock)
{
	int fds[MAPS];
	static struct order o;
	char room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { &o, sizeof(o) };
	u8 *mapped = NULL;
	int self;

	memset(fds, -1, sizeof(fds));
	for (;;) {
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room,
				    .msg_controllen = sizeof(room) };

		if (recvmsg(sock, &m, 0) != sizeof(o) || o.what == DO_EXIT)
			return 0;
		if (CMSG_FIRSTHDR(&m)) {
			close(fds[o.map]);
			memcpy(&fds[o.map], CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
		}
		switch (o.what) {
		case DO_BPF:
			o.ret = elem(fds[o.map], o.cmd, o.keyless ? NULL : o.key, o.value, o.flags);
			break;
		case DO_PIDFD: /* the key is a descriptor of itself */
			self = (int)syscall(SYS_pidfd_open, getpid(), 0);
			o.ret = elem(fds[o.map], o.cmd, &self, o.value, o.flags);
			close(self);
			break;
		case DO_LOAD: o.ret = load_trusting(fds[o.map]); break;
		case DO_OUTPUT:
		case DO_DRAIN:
		case DO_TRACE: o.ret = direct(o.what, fds[o.map], o.value); break;
		default: o.ret = other_mmap(o.what, fds[o.map], &mapped); break;
		}
		if (send(sock, &o, sizeof(o), 0) != sizeof(o))
			return 1;
	}
}

static int sock = -1, known[MAPS];
static pid_t other;

static int start_other(void **state)
{
	int pair[2];
	char number[12];

	(void)state;
	memset(known, 0, sizeof(known));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		return -1;
	snprintf(number, sizeof(number), "%d", pair[1]);
	other = fork();
	if (!other) {
		close(pair[0]);
		execl("/proc/self/exe", "test_map_cross", "other", number, NULL);
		_exit(99);
	}
	close(pair[1]);
	sock = pair[0];
	return 0;
}

static int end_other(void **state)
{
	static struct order o = { .what = DO_EXIT };
	int status = -1;

	(void)state;
	send(sock, &o, sizeof(o), 0);
	waitpid(other, &status, 0);
	close(sock);
	return status;
}

/* Has the other process do it, on our map `fd`. */
static long ask(int what, int fd, struct order *o)
{
	char room[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = { o, sizeof(*o) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	o->what = what;
	o->map = fd % MAPS;
	if (!known[o->map]) {
		known[o->map] = 1;
		m.msg_control = room;
		m.msg_controllen = sizeof(room);
		CMSG_FIRSTHDR(&m)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&m)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&m)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof(int));
	}
	assert_int_equal(sendmsg(sock, &m, 0), sizeof(*o));
	assert_int_equal(recv(sock, o, sizeof(*o), 0), sizeof(*o));
	return o->ret;
}

/* Its number may be another map's next. */
static void close_map(int fd)
{
	known[fd % MAPS] = 0;
	close(fd);
}

static long ask_plain(int what, int fd)
{
	struct order o = { 0 };

	return ask(what, fd, &o);
}

/* ---- every type with elements ---------------------------------------------------------------- */

static u32 seed = 20261121;

static u32 rnd(u32 below)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % below;
}

static const int commands[] = { BPF_MAP_UPDATE_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_LOOKUP_ELEM,
				BPF_MAP_DELETE_ELEM, BPF_MAP_LOOKUP_AND_DELETE_ELEM };

/* The same random commands to a map by turns from both, and to one that only this process knows. */
static void both_on(u32 type, u32 key, u32 value, u32 entries, u32 flags)
{
	int shared = make_map(sys_bpf, type, key, value, entries, flags);
	int mine = make_map(sys_bpf, type, key, value, entries, flags), i;
	u32 size = map_is_percpu(type) ? ALIGN_UP(value, 8) * map_cpus() : value;

	assert_true(shared >= 0 && mine >= 0 && size <= 1024);
	for (i = 0; i < 400; i++) {
		static struct order o, p;
		const void *at = key ? o.key : NULL;
		long got, want;

		memset(&o, 0, sizeof(o));
		o.cmd = commands[rnd(ARRAY_SIZE(commands))];
		o.keyless = !key;
		o.flags = o.cmd == BPF_MAP_UPDATE_ELEM ? rnd(3) : 0;
		o.key[0] = (u8)rnd(entries + 2);
		if (type == BPF_MAP_TYPE_LPM_TRIE) {
			o.key[0] = (u8)rnd(33);
			o.key[4] = (u8)rnd(4);
		}
		memset(o.value, (int)rnd(200), value); /* of CPU 0 */
		p = o;
		want = elem(mine, o.cmd, key ? p.key : NULL, p.value, o.flags);
		got = rnd(2) ? ask(DO_BPF, shared, &o) : elem(shared, o.cmd, at, o.value, o.flags);
		if (got != want)
			print_message("# %s command %d: %ld, alone %ld\n", map_type_name(type), o.cmd, got,
				      want);
		assert_int_equal(got, want);
		assert_memory_equal(o.value, p.value, size);
	}
	close_map(shared);
	close_map(mine);
}

static void commands_of_two_processes_are_those_of_one(void **state)
{
	(void)state;
	both_on(BPF_MAP_TYPE_HASH, 4, 12, 20, 0);
	both_on(BPF_MAP_TYPE_ARRAY, 4, 8, 20, 0);
	both_on(BPF_MAP_TYPE_PERCPU_HASH, 8, 8, 20, 0);
	both_on(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 12, 20, 0);
	both_on(BPF_MAP_TYPE_LRU_HASH, 4, 8, 300, 0);
	both_on(BPF_MAP_TYPE_LRU_PERCPU_HASH, 4, 8, 300, BPF_F_NO_COMMON_LRU);
	both_on(BPF_MAP_TYPE_LPM_TRIE, 8, 8, 20, BPF_F_NO_PREALLOC);
	both_on(BPF_MAP_TYPE_QUEUE, 0, 8, 20, 0);
	both_on(BPF_MAP_TYPE_STACK, 0, 8, 20, 0);
}

/* ---- types with ways of their own ------------------------------------------------------------ */

static void filters_know_what_the_other_added(void **state)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 100, 0), i;
	static struct order o;

	(void)state;
	for (i = 0; i < 100; i++) {
		o = (struct order){ .cmd = BPF_MAP_UPDATE_ELEM, .keyless = true, .value = { (u8)i, 1 } };
		assert_int_equal(ask(DO_BPF, fd, &o), 0);
		assert_int_equal(elem(fd, BPF_MAP_LOOKUP_ELEM, NULL, o.value, 0), 0);
	}
	close_map(fd);
}

static void records_of_the_other_arrive(void **state)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0), i;
	u8 *cons = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	u8 *prod = mmap(NULL, 3 * 4096, PROT_READ, MAP_SHARED, fd, 4096);
	static struct order o;

	(void)state;
	assert_true(cons != MAP_FAILED && prod != MAP_FAILED);
	for (i = 0; i < 1000; i++) { /* several times round */
		u64 pos = *(u64 *)(void *)cons;

		o = (struct order){ .value = { (u8)i, (u8)(i >> 8) } };
		assert_int_equal(ask(DO_OUTPUT, fd, &o), 0);
		assert_int_equal(*(u64 *)(void *)prod, pos + 16);
		assert_int_equal(*(u32 *)(void *)(prod + 4096 + pos % 4096), 8);
		assert_int_equal(*(u16 *)(void *)(prod + 4096 + pos % 4096 + 8), i);
		*(u64 *)(void *)cons = pos + 16;
	}
	munmap(cons, 4096);
	munmap(prod, 3 * 4096);
	close_map(fd);
}

static void the_other_drains_a_users_ring(void **state)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096, 0);
	u8 *prod = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
	u32 head[2] = { 8, 0 };
	static struct order o;
	u64 i;

	(void)state;
	assert_true(prod != MAP_FAILED);
	for (i = 0; i < 600; i++) {
		memcpy(prod + 4096 + i * 16 % 4096, head, 8);
		memcpy(prod + 4096 + i * 16 % 4096 + 8, &i, 8);
		__atomic_store_n((u64 *)(void *)prod, (i + 1) * 16, __ATOMIC_RELEASE);
		o = (struct order){ 0 };
		assert_int_equal(ask(DO_DRAIN, fd, &o), 1);
		assert_memory_equal(o.value, &i, 8);
	}
	munmap(prod, 3 * 4096);
	close_map(fd);
}

static void traces_of_the_other_are_read(void **state)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_STACK_TRACE, 4, 16, 16, 0);
	static struct order o = { .value = "15 bytes of it." };
	u32 id = 77 % 16;
	u8 v[16];

	(void)state;
	assert_int_equal(ask(DO_TRACE, fd, &o), id);
	assert_int_equal(elem(fd, BPF_MAP_LOOKUP_ELEM, &id, v, 0), 0);
	assert_memory_equal(v, o.value, 16);
	assert_int_equal(elem(fd, BPF_MAP_DELETE_ELEM, &id, NULL, 0), 0);
	assert_int_equal(ask(DO_TRACE, fd, &o), id); /* the place is empty again */
	close_map(fd);
}

static int pidfd_of(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* The value of the other process's thread, of ours, and of one that has ended. */
static void tasks_of_all_processes_have_storage(void **state)
{
	union bpf_attr a = { .map_type = BPF_MAP_TYPE_TASK_STORAGE, .key_size = 4, .value_size = 8,
			     .map_flags = BPF_F_NO_PREALLOC, .btf_key_type_id = 1, .btf_value_type_id = 4 };
	int me = pidfd_of(getpid()), it = pidfd_of(other), fd;
	static struct order o;
	u64 v = 7;

	(void)state;
	a.btf_fd = (u32)make_btf(sys_bpf);
	fd = (int)sys_bpf(BPF_MAP_CREATE, &a, sizeof(a));
	assert_true(fd >= 0 && me >= 0 && it >= 0);
	assert_int_equal(elem(fd, BPF_MAP_UPDATE_ELEM, &it, &v, 0), 0);
	assert_int_equal(elem(fd, BPF_MAP_LOOKUP_ELEM, &me, &v, 0), -ENOENT);
	v = 8;
	assert_int_equal(elem(fd, BPF_MAP_UPDATE_ELEM, &me, &v, 0), 0);
	o = (struct order){ .cmd = BPF_MAP_LOOKUP_ELEM };
	assert_int_equal(ask(DO_PIDFD, fd, &o), 0);
	assert_int_equal(o.value[0], 7);
	o.cmd = BPF_MAP_UPDATE_ELEM;
	o.value[0] = 9;
	assert_int_equal(ask(DO_PIDFD, fd, &o), 0);
	assert_int_equal(elem(fd, BPF_MAP_LOOKUP_ELEM, &it, &v, 0), 0);
	assert_int_equal(v, 9);
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	assert_int_not_equal(elem(fd, BPF_MAP_LOOKUP_ELEM, &it, &v, 0), 0);
	assert_int_equal(elem(fd, BPF_MAP_LOOKUP_ELEM, &me, &v, 0), 0);
	assert_int_equal(v, 8);
	close(sock);
	close(me);
	close(it);
	close_map(fd);
	close((int)a.btf_fd);
	assert_int_equal(start_other(NULL), 0);
}

/* ---- frozen ---------------------------------------------------------------------------------- */

static int constant_map(u64 v)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_RDONLY_PROG | BPF_F_MMAPABLE);
	u32 zero = 0;

	assert_int_equal(elem(fd, BPF_MAP_UPDATE_ELEM, &zero, &v, 0), 0);
	return fd;
}

static void what_is_frozen_is_frozen_for_the_other(void **state)
{
	int fd = constant_map(41);
	static struct order o = { .cmd = BPF_MAP_UPDATE_ELEM };
	u64 v = 0;
	u32 zero = 0;
	u8 *at;

	(void)state;
	assert_int_equal(load_trusting(fd), -EACCES);
	assert_int_equal(freeze(fd), 0);
	assert_int_equal(load_trusting(fd), 0);
	assert_int_equal(ask(DO_BPF, fd, &o), -EPERM);
	assert_int_equal(ask_plain(DO_LOAD, fd), 0);
	/* Its descriptor is good for reading only, also behind Ferry's back. */
	assert_int_equal(ask_plain(DO_MMAP, fd), -EPERM);
	assert_int_equal(syscall(SYS_pwrite64, fd, &v, 8, 0L), -1);
	at = (u8 *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_equal(at, MAP_FAILED);
	at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	assert_int_equal(at[0], 41);
	assert_int_not_equal(mprotect(at, 4096, PROT_READ | PROT_WRITE), 0);
	munmap(at, 4096);
	assert_int_equal(elem(fd, BPF_MAP_LOOKUP_ELEM, &zero, &v, 0), 0);
	assert_int_equal(v, 41);
	close_map(fd);
}

/* It had the file mapped before, by the file itself, and writes when all is frozen. */
static void who_could_write_before_does_not_change_what_is_trusted(void **state)
{
	int fd = constant_map(41), again;
	static struct order o = { .cmd = BPF_MAP_UPDATE_ELEM };
	u32 zero = 0;
	u64 v;

	(void)state;
	assert_int_equal(ask_plain(DO_MMAP_FILE, fd), 0);
	assert_int_equal(freeze(fd), 0);
	assert_int_equal(load_trusting(fd), 0);
	assert_int_equal(ask_plain(DO_LOAD, fd), 0); /* the other's Ferry takes a copy as well */
	assert_int_equal(ask_plain(DO_SCRIBBLE, fd), 0);
	assert_int_equal(elem(fd, BPF_MAP_LOOKUP_ELEM, &zero, &v, 0), 0);
	assert_int_equal(v, 41);
	assert_int_equal(load_trusting(fd), 0);
	memset(&o.value, 0, 8);
	o.cmd = BPF_MAP_LOOKUP_ELEM;
	assert_int_equal(ask(DO_BPF, fd, &o), 0);
	assert_int_equal(o.value[0], 41);
	assert_int_equal(ask_plain(DO_MUNMAP, fd), 0);
	again = constant_map(41);
	assert_int_equal(load_trusting(again), -EACCES); /* another map is not trusted for it */
	close_map(again);
	close_map(fd);
}

/* The other one uses the map when it is frozen here: it hears of it. */
static void a_map_in_use_elsewhere_is_frozen_there_too(void **state)
{
	int fd = constant_map(41), data = make_map(sys_bpf, BPF_MAP_TYPE_HASH, 4, 8, 4, 0);
	static struct order o;

	(void)state;
	o = (struct order){ .cmd = BPF_MAP_UPDATE_ELEM, .value = { 41 } };
	assert_int_equal(ask(DO_BPF, fd, &o), 0);
	assert_int_equal(ask(DO_BPF, data, &o), 0);
	assert_int_equal(ask_plain(DO_LOAD, fd), -EACCES);
	assert_int_equal(freeze(fd), 0);
	assert_int_equal(freeze(data), 0);
	assert_int_equal(ask(DO_BPF, fd, &o), -EPERM);
	assert_int_equal(ask(DO_BPF, data, &o), -EPERM);
	assert_int_equal(ask_plain(DO_LOAD, fd), 0);
	o.cmd = BPF_MAP_DELETE_ELEM;
	assert_int_equal(ask(DO_BPF, data, &o), -EPERM);
	close_map(fd);
	close_map(data);
}

static void mapped_for_writing_by_the_other_it_does_not_freeze(void **state)
{
	int fd = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 4, BPF_F_MMAPABLE);
	static struct order o = { .cmd = BPF_MAP_LOOKUP_ELEM };

	(void)state;
	assert_int_equal(ask(DO_BPF, fd, &o), 0);
	assert_int_equal(ask_plain(DO_MMAP, fd), 0);
	assert_int_equal(freeze(fd), -EBUSY);
	assert_int_equal(ask_plain(DO_MUNMAP, fd), 0);
	assert_int_equal(freeze(fd), 0);
	assert_int_equal(ask_plain(DO_MMAP, fd), -EPERM);
	close_map(fd);
}

int main(int argc, char **argv)
{
#define WITH_OTHER(f) cmocka_unit_test_setup_teardown(f, start_other, end_other)
	const struct CMUnitTest tests[] = {
		WITH_OTHER(commands_of_two_processes_are_those_of_one),
		WITH_OTHER(filters_know_what_the_other_added),
		WITH_OTHER(records_of_the_other_arrive),
		WITH_OTHER(the_other_drains_a_users_ring),
		WITH_OTHER(traces_of_the_other_are_read),
		WITH_OTHER(tasks_of_all_processes_have_storage),
		WITH_OTHER(what_is_frozen_is_frozen_for_the_other),
		WITH_OTHER(who_could_write_before_does_not_change_what_is_trusted),
		WITH_OTHER(a_map_in_use_elsewhere_is_frozen_there_too),
		WITH_OTHER(mapped_for_writing_by_the_other_it_does_not_freeze),
	};

	if (argc == 3 && !strcmp(argv[1], "other"))
		return other_process(atoi(argv[2]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
