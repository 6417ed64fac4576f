/* SPDX-License-Identifier: MIT */
/* BPF_PROG_TEST_RUN's contract, running and info. */
#include <unistd.h>

#include "ferry/ferry.h"
#include "sys_test.h"

static u8 packet[8192], out[8192];

static int add_insns(u32 type, const struct bpf_insn *insns, u32 cnt)
{
	int fd = load_insns(sys_bpf, type, insns, cnt);

	assert_true(fd >= 0);
	return fd;
}

static void packet_is_given_back_with_its_size(void **state)
{
	int fd = make_prog(sys_bpf, BPF_PROG_TYPE_XDP);
	union bpf_attr a = { .test = { .prog_fd = fd,
				       .data_in = PTR(packet),
				       .data_size_in = 100,
				       .data_out = PTR(out),
				       .data_size_out = sizeof(out) } };

	(void)state;
	for (u32 i = 0; i < sizeof(packet); i++)
		packet[i] = i;
	memset(out, 0xee, sizeof(out));
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), 0);
	assert_int_equal(a.test.retval, 2);
	assert_int_equal(a.test.data_size_out, 100);
	assert_memory_equal(out, packet, 100);
	assert_int_equal(out[100], 0xee);
	close(fd);
}

static void too_small_output_is_enospc_with_the_size_needed(void **state)
{
	int fd = make_prog(sys_bpf, BPF_PROG_TYPE_SCHED_CLS);
	union bpf_attr a = { .test = { .prog_fd = fd,
				       .data_in = PTR(packet),
				       .data_size_in = 100,
				       .data_out = PTR(out),
				       .data_size_out = 10 } };

	(void)state;
	memset(out, 0xee, sizeof(out));
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), -ENOSPC);
	assert_int_equal(a.test.data_size_out, 100);
	assert_int_equal(a.test.retval, 2);
	assert_memory_equal(out, packet, 10);
	assert_int_equal(out[10], 0xee);
	close(fd);
}

static void packets_have_a_least_and_a_greatest_size(void **state)
{
	int progs[] = { make_prog(sys_bpf, BPF_PROG_TYPE_SCHED_CLS),
			make_prog(sys_bpf, BPF_PROG_TYPE_XDP),
			make_prog(sys_bpf, BPF_PROG_TYPE_SOCKET_FILTER) };
	enum { SKB, XDP, FILTER };
	static const struct {
		u32 prog;
		u32 size;
		long want;
	} cases[] = {
		{ SKB, 0, -EINVAL },
		{ SKB, 13, -EINVAL },
		{ SKB, 14, 0 },
		{ SKB, 15, 0 },
		{ SKB, 3712, 0 },
		{ SKB, 3713, -EINVAL },
		{ SKB, ~0u, -EINVAL },
		{ XDP, 13, -EINVAL },
		{ XDP, 14, 0 },
		{ XDP, 3520, 0 },
		{ XDP, 5000, 0 },
		{ XDP, ~0u, -ENOMEM },
		/* Nothing behind the Ethernet header: libraries ask so whether test runs exist. */
		{ FILTER, 13, -EINVAL },
		{ FILTER, 14, 0 },
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		union bpf_attr a = { .test = { .prog_fd = progs[cases[i].prog],
					       .data_in = PTR(packet),
					       .data_size_in = cases[i].size,
					       .data_out = PTR(out),
					       .data_size_out = sizeof(out) } };

		assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), cases[i].want);
		if (!cases[i].want && cases[i].prog != FILTER) /* which sees no Ethernet header */
			assert_memory_equal(out, packet, cases[i].size);
	}
	for (u32 i = 0; i < ARRAY_SIZE(progs); i++)
		close(progs[i]);
}

static void filter_sees_the_network_header(void **state)
{
	/* r0 = skb->len */
	struct bpf_insn insns[] = { INSN(BPF_LDX | BPF_MEM | BPF_W, 0, 1, 0, 0), EXIT() };
	int filter = add_insns(BPF_PROG_TYPE_SOCKET_FILTER, insns, 2);
	int cls = add_insns(BPF_PROG_TYPE_SCHED_CLS, insns, 2);
	union bpf_attr a = { .test = { .prog_fd = filter,
				       .data_in = PTR(packet),
				       .data_size_in = 64,
				       .data_out = PTR(out),
				       .data_size_out = sizeof(out) } };

	(void)state;
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), 0);
	assert_int_equal(a.test.retval, 50);
	assert_int_equal(a.test.data_size_out, 64);
	assert_memory_equal(out, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 14);
	assert_memory_equal(out + 14, packet + 14, 50);
	a.test.prog_fd = cls;
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), 0);
	assert_int_equal(a.test.retval, 64);
	close(filter);
	close(cls);
}

static void sk_buff_fields_go_in_and_come_out(void **state)
{
	/* r2 = mark; mark = r2 + 1; cb[1] = 7; r0 = priority */
	struct bpf_insn insns[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(struct __sk_buff, mark), 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, 1),
		INSN(BPF_STX | BPF_MEM | BPF_W, 1, 2, offsetof(struct __sk_buff, mark), 0),
		MOV(2, 7),
		INSN(BPF_STX | BPF_MEM | BPF_W, 1, 2, offsetof(struct __sk_buff, cb) + 4, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_W, 0, 1, offsetof(struct __sk_buff, priority), 0),
		EXIT(),
	};
	int fd = add_insns(BPF_PROG_TYPE_SCHED_CLS, insns, ARRAY_SIZE(insns));
	struct __sk_buff in = { .mark = 41, .priority = 5, .cb = { 1, 2, 3, 4, 5 } }, back = { 0 };
	union bpf_attr a = { .test = { .prog_fd = fd,
				       .data_in = PTR(packet),
				       .data_size_in = 64,
				       .ctx_in = PTR(&in),
				       .ctx_size_in = sizeof(in),
				       .ctx_out = PTR(&back),
				       .ctx_size_out = sizeof(back) } };

	(void)state;
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), 0);
	assert_int_equal(a.test.retval, 5);
	assert_int_equal(back.mark, 42);
	assert_int_equal(back.cb[0], 1);
	assert_int_equal(back.cb[1], 7);
	assert_int_equal(back.wire_len, 64);
	in.len = 1; /* not one that a test may set */
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), -EINVAL);
	in.len = 0;
	a.test.ctx_size_out = 8;
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), -ENOSPC);
	assert_int_equal(a.test.ctx_size_out, sizeof(back));
	a.test.ctx_in = 0;
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), -EINVAL);
	close(fd);
}

static void repeat_runs_as_often(void **state)
{
	int map = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_VALUE, 0, map),
		INSN(0, 0, 0, 0, 0),
		MOV(2, 1),
		INSN(BPF_STX | BPF_ATOMIC | BPF_DW, 1, 2, 0, BPF_ADD),
		MOV(0, 0),
		EXIT(),
	};
	int fd = add_insns(BPF_PROG_TYPE_XDP, insns, 6);
	u64 value = 0;
	u32 key = 0;
	union bpf_attr a = { .test = { .prog_fd = fd,
				       .data_in = PTR(packet),
				       .data_size_in = 64,
				       .repeat = 1000 } };
	union bpf_attr l = { .map_fd = map, .key = PTR(&key), .value = PTR(&value) };

	(void)state;
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), 0);
	assert_int_equal(sys_bpf(BPF_MAP_LOOKUP_ELEM, &l, sizeof(l)), 0);
	assert_int_equal(value, 1000);
	close(fd);
	close(map);
}

static void syscall_context_goes_in_and_out(void **state)
{
	/* *(u64 *)(r1 + 8) = *(u64 *)r1 + 1; r0 = 3 */
	struct bpf_insn insns[] = {
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 2, 1, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, 1),
		INSN(BPF_STX | BPF_MEM | BPF_DW, 1, 2, 8, 0),
		MOV(0, 3),
		EXIT(),
	};
	int fd = add_insns(BPF_PROG_TYPE_SYSCALL, insns, 5);
	struct ferry_runner *r;
	u64 ctx[2] = { 41, 0 }, ret;
	union bpf_attr a = { .test = { .prog_fd = fd, .ctx_in = PTR(ctx), .ctx_size_in = 16 } };

	(void)state;
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), 0);
	assert_int_equal(a.test.retval, 3);
	assert_int_equal(ctx[1], 42);
	a.test.ctx_size_in = 15; /* less than the program touches */
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), -EINVAL);
	a.test.ctx_size_in = 16;
	a.test.data_in = PTR(packet);
	a.test.data_size_in = 64;
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), -EINVAL);

	ctx[0] = 1;
	assert_int_equal(ferry_prog_run(fd, ctx, 16, &ret), 0);
	assert_int_equal(ret, 3);
	assert_int_equal(ctx[1], 2);
	assert_int_equal(ferry_prog_run(fd, ctx, 8, &ret), -EINVAL);
	assert_int_equal(ferry_runner_new(fd, 8, &r), -EINVAL);
	assert_int_equal(ferry_runner_new(fd, 16, &r), 0);
	close(fd); /* the runner keeps the program */
	ctx[0] = 7;
	assert_int_equal(ferry_runner_run(r, ctx), 3);
	assert_int_equal(ctx[1], 8);
	ferry_runner_free(r);
	assert_int_equal(ferry_prog_run(9999, ctx, 16, &ret), -EBADF);
}

/* bpf_get_stack() begins at the registers, which a kprobe's context is, though the program reads none of them. */
static void program_that_walks_the_stack_gets_all_registers(void **state)
{
	struct bpf_insn insns[] = {
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -64),
		MOV(3, 64),
		MOV(4, BPF_F_USER_STACK),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_get_stack),
		EXIT(),
	};
	int fd = add_insns(BPF_PROG_TYPE_KPROBE, insns, 6);
	u64 regs[21] = { 0 }, ret; /* struct pt_regs */

	(void)state;
	assert_int_equal(ferry_prog_run(fd, NULL, 0, &ret), -EINVAL);
	assert_int_equal(ferry_prog_run(fd, regs, sizeof(regs) - 8, &ret), -EINVAL);
	regs[16] = 0x1234; /* ip; bp is 0 */
	assert_int_equal(ferry_prog_run(fd, regs, sizeof(regs), &ret), 0);
	assert_int_equal(ret, 8);
	close(fd);
}

static void tail_called_program_never_reads_past_the_context(void **state)
{
	int map = make_map(sys_bpf, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 0);
	struct bpf_insn caller[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, map),
		INSN(0, 0, 0, 0, 0),
		MOV(3, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call),
		MOV(0, 9),
		EXIT(),
	};
	struct bpf_insn callee[] = { INSN(BPF_LDX | BPF_MEM | BPF_DW, 0, 1, 4096, 0), EXIT() };
	int from = add_insns(BPF_PROG_TYPE_SYSCALL, caller, 6);
	int to = add_insns(BPF_PROG_TYPE_SYSCALL, callee, 2);
	struct ferry_runner *r;
	u32 key = 0;
	u64 *ctx = malloc(8), ret = 1; /* ASan sees a read behind it */
	union bpf_attr u = { .map_fd = map, .key = PTR(&key), .value = PTR(&to) };
	union bpf_attr a = { .test = { .prog_fd = from, .ctx_in = PTR(ctx), .ctx_size_in = 8 } };

	(void)state;
	assert_int_equal(sys_bpf(BPF_MAP_UPDATE_ELEM, &u, sizeof(u)), 0);
	*ctx = 1;
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), 0);
	assert_int_equal(a.test.retval, 0);
	assert_int_equal(ferry_prog_run(from, ctx, 8, &ret), 0);
	assert_int_equal(ret, 0);
	assert_int_equal(ferry_runner_new(from, 8, &r), -EINVAL);
	free(ctx);
	close(map);
	close(from);
	close(to);
}

static void types_without_test_run_are_enotsupp(void **state)
{
	int fd = make_prog(sys_bpf, BPF_PROG_TYPE_KPROBE);
	union bpf_attr a = { .test = { .prog_fd = fd } };
	u64 ctx[64] = { 0 }, ret = 0;

	(void)state;
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), -524);
	assert_int_equal(ferry_prog_run(fd, ctx, sizeof(ctx), &ret), 0);
	assert_int_equal(ret, 2);
	close(fd);
}

static void info_of_programs_maps_and_btf(void **state)
{
	int map = make_map(sys_bpf, BPF_MAP_TYPE_HASH, 4, 8, 16, 0);
	struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, map),
		INSN(0, 0, 0, 0, 0),
		MOV(0, 0),
		EXIT(),
	};
	int fd = add_insns(BPF_PROG_TYPE_XDP, insns, 4);
	struct bpf_insn dump[4];
	u32 ids[4] = { 0 };
	struct bpf_map_info mi = { 0 };
	struct bpf_prog_info pi = { .xlated_prog_len = sizeof(dump),
				    .xlated_prog_insns = PTR(dump),
				    .nr_map_ids = 4,
				    .map_ids = PTR(ids) };
	union bpf_attr a = { .info = { .bpf_fd = map, .info_len = sizeof(mi), .info = PTR(&mi) } };

	(void)state;
	assert_int_equal(sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a.info)), 0);
	assert_int_equal(mi.type, BPF_MAP_TYPE_HASH);
	assert_int_equal(mi.key_size, 4);
	assert_int_equal(mi.value_size, 8);
	assert_int_equal(mi.max_entries, 16);
	a = (union bpf_attr){ .info = { .bpf_fd = fd, .info_len = sizeof(pi), .info = PTR(&pi) } };
	assert_int_equal(sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a.info)), 0);
	assert_int_equal(pi.type, BPF_PROG_TYPE_XDP);
	assert_int_equal(pi.gpl_compatible, 1);
	assert_int_equal(pi.xlated_prog_len, sizeof(insns));
	assert_int_equal(pi.nr_map_ids, 1);
	assert_int_equal(ids[0], mi.id);
	assert_int_equal(dump[0].imm, mi.id); /* ids, not descriptors */
	assert_int_equal(dump[0].src_reg, BPF_PSEUDO_MAP_FD);
	/* An array that the caller has no address for. */
	memset(&pi, 0, sizeof(pi));
	pi.nr_map_ids = 1;
	assert_int_equal(sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a.info)), -EFAULT);
	close(map);
	close(fd);
}

static struct bpf_prog_info prog_info(int fd)
{
	struct bpf_prog_info info = { 0 };
	union bpf_attr a = { .info = {
				     .bpf_fd = fd, .info_len = sizeof(info), .info = PTR(&info) } };

	assert_int_equal(sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a.info)), 0);
	return info;
}

static void runs_are_counted_while_stats_are_enabled(void **state)
{
	int fd = make_prog(sys_bpf, BPF_PROG_TYPE_XDP), stats;
	union bpf_attr a = {
		.test = { .prog_fd = fd, .data_in = PTR(packet), .data_size_in = 64, .repeat = 10 }
	};
	union bpf_attr on = { .enable_stats = { .type = 1 } };

	(void)state;
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), 0);
	assert_int_equal(prog_info(fd).run_cnt, 0);
	assert_int_equal(sys_bpf(BPF_ENABLE_STATS, &on, sizeof(on)), -EINVAL);
	on.enable_stats.type = BPF_STATS_RUN_TIME;
	stats = sys_bpf(BPF_ENABLE_STATS, &on, sizeof(on));
	assert_true(stats >= 0);
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), 0);
	assert_int_equal(prog_info(fd).run_cnt, 10);
	assert_true(prog_info(fd).run_time_ns > 0);
	close(stats);
	assert_int_equal(sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test)), 0);
	assert_int_equal(prog_info(fd).run_cnt, 10);
	close(fd);
}

static void vmlinux_is_btf_number_one(void **state)
{
	char name[16] = "";
	struct bpf_btf_info info = { .name = PTR(name), .name_len = sizeof(name) };
	union bpf_attr a = { .btf_id = 1 };
	int fd = sys_bpf(BPF_BTF_GET_FD_BY_ID, &a, sizeof(a));

	(void)state;
	assert_true(fd >= 0);
	a = (union bpf_attr){
		.info = { .bpf_fd = fd, .info_len = sizeof(info), .info = PTR(&info) }
	};
	assert_int_equal(sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a.info)), 0);
	assert_string_equal(name, "vmlinux");
	assert_int_equal(info.kernel_btf, 1);
	assert_int_equal(info.id, 1);
	assert_true(info.btf_size > 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packet_is_given_back_with_its_size),
		cmocka_unit_test(too_small_output_is_enospc_with_the_size_needed),
		cmocka_unit_test(packets_have_a_least_and_a_greatest_size),
		cmocka_unit_test(filter_sees_the_network_header),
		cmocka_unit_test(sk_buff_fields_go_in_and_come_out),
		cmocka_unit_test(repeat_runs_as_often),
		cmocka_unit_test(syscall_context_goes_in_and_out),
		cmocka_unit_test(program_that_walks_the_stack_gets_all_registers),
		cmocka_unit_test(tail_called_program_never_reads_past_the_context),
		cmocka_unit_test(types_without_test_run_are_enotsupp),
		cmocka_unit_test(info_of_programs_maps_and_btf),
		cmocka_unit_test(runs_are_counted_while_stats_are_enabled),
		cmocka_unit_test(vmlinux_is_btf_number_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
