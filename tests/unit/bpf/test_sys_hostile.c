/* SPDX-License-Identifier: MIT */
/* Garbage in every command, and programs that go while they run: no crash, nothing left. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys_test.h"

static u64 seed = 88172645463325252ull;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static int fds[6];
static u8 *page; /* the page behind it is not there */

/* A word that may mean something: a descriptor, an address good, bad or at an edge, an extreme. */
static u64 word(void)
{
	static const u64 extremes[] = { 0, 1, 2, 4, 8, 64, 128, 255, 4096, 0x7fffffff, 0xffffffff };

	switch (rnd() % 6) {
	case 0: return fds[rnd() % ARRAY_SIZE(fds)];
	case 1: return PTR(page);
	case 2: return PTR(page) + 4096 - rnd() % 64;
	case 3: return rnd() % 2 ? 4096 : 0xffff888000000000ull;
	case 4: return rnd() % 8;
	}
	return extremes[rnd() % ARRAY_SIZE(extremes)];
}

static void garbage(int cmd)
{
	union bpf_attr a = { 0 };
	u32 words = sizeof(a) / 4, i, n = rnd() % 12 + 1;
	long ret;

	for (i = 0; i < n; i++) {
		u64 w = word();

		/* Mostly near the start, where all commands look; whole pointers at even words. */
		u32 at = rnd() % (rnd() % 2 ? 12 : words);

		if (at % 2 == 0 && rnd() % 2)
			memcpy((u32 *)&a + at, &w, 8);
		else
			((u32 *)&a)[at] = w;
	}
	if (cmd == BPF_PROG_TEST_RUN)
		a.test.repeat %= 4; /* two thousand million runs are what was asked for, but long */
	if (cmd == BPF_MAP_CREATE)
		a.max_entries %= 1 << 16;
	for (i = 0; i < 4096; i++)
		page[i] = rnd();
	ret = sys_bpf(cmd, &a, sizeof(a));
	if (ret > 0 && (cmd == BPF_MAP_CREATE || cmd == BPF_PROG_LOAD || cmd == BPF_BTF_LOAD ||
			cmd == BPF_ENABLE_STATS || cmd == BPF_PROG_GET_FD_BY_ID ||
			cmd == BPF_MAP_GET_FD_BY_ID || cmd == BPF_BTF_GET_FD_BY_ID))
		close(ret);
}

static void attrs_of_garbage_do_no_harm(void **state)
{
	u32 before, cmd, i;

	(void)state;
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(page + 4096, 4096);
	fds[0] = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0);
	fds[1] = make_map(sys_bpf, BPF_MAP_TYPE_HASH, 4, 8, 4, 0);
	fds[2] = make_map(sys_bpf, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0);
	fds[3] = make_prog(sys_bpf, BPF_PROG_TYPE_XDP);
	fds[4] = make_btf(sys_bpf);
	fds[5] = open("/dev/null", O_RDONLY);
	close(make_map(sys_bpf, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0));
	before = count_fds();
	for (cmd = 0; cmd <= BPF_PROG_BIND_MAP + 1; cmd++)
		for (i = 0; i < 1500; i++)
			garbage(cmd);
	sys_fd_sweep();
	assert_int_equal(count_fds(), before);
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	munmap(page, 4096);
}

/* ---- programs replaced while they run -------------------------------------------------------- */

static _Atomic bool stop;

static int tail_caller(int map)
{
	struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, map),
		INSN(0, 0, 0, 0, 0),
		MOV(3, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call),
		MOV(0, 9),
		EXIT(),
	};

	return load_insns(sys_bpf, BPF_PROG_TYPE_XDP, insns, ARRAY_SIZE(insns));
}

static void *run_on(void *arg)
{
	char packet[64] = "";
	union bpf_attr a = { .test = { .prog_fd = *(int *)arg,
				       .data_in = PTR(packet),
				       .data_size_in = 64,
				       .repeat = 100 } };

	while (!stop) {
		a.test.retval = 0;
		if (sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)) ||
		    (a.test.retval != 9 && a.test.retval != 2))
			return "wrong result";
	}
	return NULL;
}

static void programs_may_be_replaced_while_they_run(void **state)
{
	int map = make_map(sys_bpf, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 0), caller = tail_caller(map),
	    i;
	u32 key = 0, next = 0;
	pthread_t t[2];
	void *bad;

	(void)state;
	assert_true(caller >= 0);
	stop = false;
	for (i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, run_on, &caller);
	for (i = 0; i < 300; i++) {
		int prog = make_prog(sys_bpf, BPF_PROG_TYPE_XDP);
		union bpf_attr a = { .map_fd = map, .key = PTR(&key), .value = PTR(&prog) };

		assert_true(prog >= 0);
		assert_int_equal(sys_bpf(BPF_MAP_UPDATE_ELEM, &a, sizeof(a)), 0);
		close(prog); /* the array alone keeps it, until the next takes its place */
		if (i % 3 == 0) {
			a.value = 0;
			assert_int_equal(sys_bpf(BPF_MAP_DELETE_ELEM, &a, END_OF(key)), 0);
		}
	}
	stop = true;
	for (i = 0; i < 2; i++) {
		pthread_join(t[i], &bad);
		assert_null(bad);
	}
	close(map);
	close(caller);
	union bpf_attr a = { .start_id = next };
	assert_int_equal(sys_bpf(BPF_PROG_GET_NEXT_ID, &a, END_OF(next_id)), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attrs_of_garbage_do_no_harm),
		cmocka_unit_test(programs_may_be_replaced_while_they_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
