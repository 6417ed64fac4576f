/* SPDX-License-Identifier: MIT */
/* Every allocation fails in turn: the answer is ENOMEM, nothing is left, and Ferry goes on. */
#include <unistd.h>

#include "sys_test.h"

static void *(*system_allocator)(void *old, size_t size);
static long fail_at, allocations;

static void *failing(void *old, size_t size)
{
	if (size && ++allocations == fail_at)
		return NULL;
	return system_allocator(old, size);
}

static long elem(int cmd, int map, u32 key, void *value)
{
	union bpf_attr a = { .map_fd = map, .key = PTR(&key), .value = PTR(value) };

	return sys_bpf(cmd, &a, cmd == BPF_MAP_DELETE_ELEM ? END_OF(key) : END_OF(flags));
}

static long get_info(int fd)
{
	struct bpf_insn dump[16];
	u8 code[4096];
	struct bpf_prog_info info = { .xlated_prog_len = sizeof(dump),
				      .xlated_prog_insns = PTR(dump),
				      .jited_prog_len = sizeof(code),
				      .jited_prog_insns = PTR(code) };
	union bpf_attr a = { .info = {
				     .bpf_fd = fd, .info_len = sizeof(info), .info = PTR(&info) } };

	return sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a.info));
}

static long run(int fd)
{
	char packet[64] = "", out[64];
	union bpf_attr a = { .test = { .prog_fd = fd,
				       .data_in = PTR(packet),
				       .data_size_in = 64,
				       .data_out = PTR(out),
				       .data_size_out = 64 } };

	return sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test));
}

static long load(int btf, int map)
{
	struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map),
		INSN(0, 0, 0, 0, 0),
		MOV(0, 0),
		EXIT(),
	};
	struct bpf_func_info fi = { 0, 3 };
	struct bpf_line_info li = { 0, 0, 0, 0 };
	static char log[65536];
	union bpf_attr a = { .prog_type = BPF_PROG_TYPE_XDP,
			     .insns = PTR(insns),
			     .insn_cnt = 4,
			     .license = PTR("GPL"),
			     .prog_btf_fd = btf,
			     .func_info = PTR(&fi),
			     .func_info_cnt = 1,
			     .func_info_rec_size = sizeof(fi),
			     .line_info = PTR(&li),
			     .line_info_cnt = 1,
			     .line_info_rec_size = sizeof(li),
			     .log_level = 2,
			     .log_buf = PTR(log),
			     .log_size = sizeof(log) };

	return sys_bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

/* A client's life; the first error, or 0. */
static long scenario(void)
{
	long btf, map = -1, array = -1, prog = -1, err;
	u64 value[512] = { 1 };

	err = btf = make_btf(sys_bpf);
	if (err >= 0)
		err = map = make_map(sys_bpf, BPF_MAP_TYPE_HASH, 4, 8, 4, 0);
	if (err >= 0)
		err = array = make_map(sys_bpf, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0);
	if (err >= 0)
		err = prog = load(btf, map);
	if (err >= 0)
		err = elem(BPF_MAP_UPDATE_ELEM, map, 1, value);
	if (err >= 0)
		err = elem(BPF_MAP_LOOKUP_ELEM, map, 1, value);
	if (err >= 0)
		err = elem(BPF_MAP_UPDATE_ELEM, array, 0, &prog);
	if (err >= 0)
		err = run(prog);
	if (err >= 0)
		err = get_info(prog);
	if (prog >= 0)
		close(prog);
	if (array >= 0)
		close(array);
	if (map >= 0)
		close(map);
	if (btf >= 0)
		close(btf);
	return err < 0 ? err : 0;
}

static u32 left(int cmd)
{
	union bpf_attr a = { 0 };
	u32 n = 0;

	while (!sys_bpf(cmd, &a, END_OF(next_id))) {
		a.start_id = a.next_id;
		n++;
	}
	return n;
}

static void each_allocation_may_fail(void **state)
{
	u32 fds, failures = 0;
	long err;

	(void)state;
	/* What is made once and stays. */
	assert_int_equal(scenario(), 0);
	fds = count_fds();
	system_allocator = base_allocator;
	for (fail_at = 1;; fail_at++) {
		allocations = 0;
		base_allocator = failing;
		err = scenario();
		base_allocator = system_allocator;
		if (err != 0 && err != -ENOMEM)
			print_message("allocation %ld: %ld\n", fail_at, err);
		assert_true(err == 0 || err == -ENOMEM);
		failures += err != 0;
		assert_int_equal(left(BPF_PROG_GET_NEXT_ID), 0);
		assert_int_equal(left(BPF_MAP_GET_NEXT_ID), 0);
		assert_int_equal(left(BPF_BTF_GET_NEXT_ID), 1); /* vmlinux */
		assert_int_equal(count_fds(), fds);
		if (allocations < fail_at)
			break;
	}
	print_message("# %ld allocations, %u of them needed\n", fail_at - 1, failures);
	assert_true(failures > 10);
	assert_int_equal(scenario(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
