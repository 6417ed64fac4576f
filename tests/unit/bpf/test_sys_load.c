/* SPDX-License-Identifier: MIT */
/* What BPF_PROG_LOAD, BPF_BTF_LOAD and BPF_MAP_CREATE accept and refuse, and their logs. */
#include <sys/mman.h>
#include <unistd.h>

#include "bpf/sys_int.h"
#include "sys_test.h"

static char log_buf[65536];

static union bpf_attr attr_load(const struct bpf_insn *insns, u32 cnt)
{
	return (union bpf_attr){ .prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
				 .insns = PTR(insns),
				 .insn_cnt = cnt,
				 .license = PTR("GPL") };
}

static long load(union bpf_attr *a)
{
	long fd = sys_bpf(BPF_PROG_LOAD, a, sizeof(*a));

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static const struct bpf_insn good[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K },
					{ .code = BPF_JMP | BPF_EXIT } };
/* r0 is never written: refused by the verifier. */
static const struct bpf_insn bad[] = { { .code = BPF_JMP | BPF_EXIT } };

static void attr_smaller_than_ours_is_filled_with_zeros(void **state)
{
	union bpf_attr a = attr_load(good, 2);
	long fd;

	(void)state;
	memset((u8 *)&a + END_OF(license), 0xff, sizeof(a) - END_OF(license));
	fd = sys_bpf(BPF_PROG_LOAD, &a, END_OF(license));
	assert_true(fd >= 0);
	close(fd);
}

static void larger_attr_is_e2big_unless_its_end_is_zero(void **state)
{
	u8 big[5000] = { 0 };
	union bpf_attr a = attr_load(good, 2);
	long fd;

	(void)state;
	memcpy(big, &a, sizeof(a));
	fd = sys_bpf(BPF_PROG_LOAD, big, 4096);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(sys_bpf(BPF_PROG_LOAD, big, 4097), -E2BIG);
	big[4095] = 1;
	assert_int_equal(sys_bpf(BPF_PROG_LOAD, big, 4096), -E2BIG);
	big[4095] = 0;
	big[sizeof(a)] = 1;
	assert_int_equal(sys_bpf(BPF_PROG_LOAD, big, sizeof(a) + 1), -E2BIG);
}

static void fields_behind_those_of_the_command_must_be_zero(void **state)
{
	union bpf_attr a = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1
	};

	(void)state;
	((u8 *)&a)[END_OF(map_extra)] = 1;
	assert_int_equal(sys_bpf(BPF_MAP_CREATE, &a, sizeof(a)), -EINVAL);
}

static void unknown_commands_are_einval(void **state)
{
	union bpf_attr a = { 0 };

	(void)state;
	assert_int_equal(sys_bpf(-1, &a, sizeof(a)), -EINVAL);
	assert_int_equal(sys_bpf(9999, &a, sizeof(a)), -EINVAL);
	assert_int_equal(sys_bpf(INT32_MIN, &a, sizeof(a)), -EINVAL);
	assert_int_equal(sys_bpf(INT32_MAX, &a, sizeof(a)), -EINVAL);
}

static void bad_addresses_are_efault(void **state)
{
	u8 *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	union bpf_attr a = attr_load(good, 2);

	(void)state;
	assert_int_equal(sys_bpf(BPF_PROG_LOAD, NULL, sizeof(a)), -EFAULT);
	assert_int_equal(sys_bpf(BPF_PROG_LOAD, (void *)8, sizeof(a)), -EFAULT);
	/* An attr, a licence and instructions that run into an unmapped page. */
	munmap(page + 4096, 4096);
	assert_int_equal(sys_bpf(BPF_PROG_LOAD, page + 4096 - 8, sizeof(a)), -EFAULT);
	memset(page, 'x', 4096);
	a.license = PTR(page + 4096 - 3);
	assert_int_equal(load(&a), -EFAULT);
	a = attr_load((void *)(page + 4096 - 8), 2);
	assert_int_equal(load(&a), -EFAULT);
	a = attr_load(good, 2);
	a.license = 0;
	assert_int_equal(load(&a), -EFAULT);
	a = attr_load(good, 1000000); /* more than there is */
	a.insns = PTR(page);
	assert_int_equal(load(&a), -EFAULT);
	munmap(page, 4096);
}

static void log_arguments_have_to_make_sense(void **state)
{
	static const struct {
		u32 level;
		bool buf;
		u32 size;
		long want;
	} cases[] = { /* test_log_kernel asks the kernel the like */
		{ 0, false, 0, 0 },          { 1, true, 65536, 0 },
		{ 7, true, 65536, 0 },       { 2, true, 65536, 0 },
		{ 4, true, 65536, 0 },       { 0, true, 65536, -EINVAL },
		{ 1, false, 0, 0 },          { 1, false, 65536, -EINVAL },
		{ 1, true, 0, -EINVAL },     { 1, true, 127, -ENOSPC },
		{ 16, true, 65536, -EINVAL }, { 1, true, 0x40000000, -EINVAL },
		{ 4, true, 4096, 0 },
	};

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		union bpf_attr a = attr_load(good, 2);

		a.log_level = cases[i].level;
		a.log_buf = cases[i].buf ? PTR(log_buf) : 0;
		a.log_size = cases[i].size;
		assert_int_equal(load(&a), cases[i].want);
	}
}

static void short_log_is_cut_terminated_and_enospc(void **state)
{
	struct bpf_insn insns[64];
	union bpf_attr a = attr_load(insns, 64);

	(void)state;
	for (u32 i = 0; i < 63; i++)
		insns[i] = MOV(0, i);
	insns[63] = EXIT();
	a.log_level = 2;
	a.log_buf = PTR(log_buf);
	a.log_size = 128;
	memset(log_buf, 'Z', sizeof(log_buf));
	assert_int_equal(load(&a), -ENOSPC);
	assert_int_equal(strlen(log_buf), 127);
	assert_int_equal(log_buf[128], 'Z');
	/* With room the same program loads. */
	a.log_size = sizeof(log_buf);
	assert_int_equal(load(&a), 0);
	assert_true(strlen(log_buf) > 127);
}

static void log_to_a_bad_address_is_efault(void **state)
{
	union bpf_attr a = attr_load(bad, 1);

	(void)state;
	a.log_level = 1;
	a.log_buf = 4096;
	a.log_size = 4096;
	assert_int_equal(load(&a), -EFAULT);
}

static void refused_program_says_why(void **state)
{
	union bpf_attr a = attr_load(bad, 1);

	(void)state;
	a.log_level = 1;
	a.log_buf = PTR(log_buf);
	a.log_size = sizeof(log_buf);
	log_buf[0] = '\0';
	assert_int_equal(load(&a), -EACCES); /* R0 !read_ok */
	assert_non_null(strstr(log_buf, "R0 !read_ok"));
}

static void counts_flags_types_and_names_are_checked(void **state)
{
	union bpf_attr a = attr_load(good, 0);

	(void)state;
	assert_int_equal(load(&a), -E2BIG);
	a = attr_load(good, 1000001);
	assert_int_equal(load(&a), -E2BIG);
	a = attr_load(good, 2);
	a.prog_flags = 1u << 31;
	assert_int_equal(load(&a), -EINVAL);
	a = attr_load(good, 2);
	a.prog_type = 0xffff;
	assert_int_equal(load(&a), -EINVAL);
	a = attr_load(good, 2);
	memset(a.prog_name, 'a', sizeof(a.prog_name)); /* not terminated */
	assert_int_equal(load(&a), -EINVAL);
	memcpy(a.prog_name, "no spaces", 10);
	memset(a.prog_name + 10, 0, 6);
	assert_int_equal(load(&a), -EINVAL);
	memcpy(a.prog_name, "this_is.fine", 13);
	assert_int_equal(load(&a), 0);
}

static void syscall_programs_must_be_sleepable_and_filters_must_not(void **state)
{
	union bpf_attr a = attr_load(good, 2);

	(void)state;
	a.prog_flags = BPF_F_SLEEPABLE;
	assert_int_equal(load(&a), -EINVAL);
	a.prog_type = BPF_PROG_TYPE_SYSCALL;
	assert_int_equal(load(&a), 0);
	a.prog_flags = 0;
	assert_int_equal(load(&a), -EINVAL);
}

static struct bpf_insn ld64(u8 src, s32 imm)
{
	return INSN(BPF_LD | BPF_IMM | BPF_DW, 1, src, 0, imm);
}

/* r1 = (src, imm, second); r0 = 0; exit */
static long load_ref(u8 src, s32 imm, s32 second, const int *fds)
{
	struct bpf_insn insns[] = { ld64(src, imm), INSN(0, 0, 0, 0, second), MOV(0, 0), EXIT() };
	union bpf_attr a = attr_load(insns, 4);

	a.fd_array = PTR(fds);
	return load(&a);
}

static void references_to_maps_are_resolved_or_refused(void **state)
{
	int array = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 16, 1, 0);
	int two = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 16, 2, 0);
	int hash = make_map(sys_bpf, BPF_MAP_TYPE_HASH, 4, 16, 2, 0);
	int prog = make_prog(sys_bpf, BPF_PROG_TYPE_SOCKET_FILTER);
	int fds[] = { array, hash, -1, prog };

	(void)state;
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_FD, hash, 0, NULL), 0);
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_FD, hash, 1, NULL), -EINVAL);
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_FD, 9999, 0, NULL), -EBADF);
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_FD, prog, 0, NULL), -EINVAL);
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_VALUE, array, 15, NULL), 0);
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_VALUE, array, 16, NULL), -EINVAL);
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_VALUE, array, -1, NULL), -EINVAL);
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_VALUE, hash, 0, NULL), -EINVAL);
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_IDX, 1, 0, fds), 0);
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_IDX_VALUE, 0, 8, fds), 0);
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_IDX, 2, 0, fds), -EBADF);
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_IDX, 3, 0, fds), -EINVAL);
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_IDX, 0, 0, NULL), -EPROTO);
	assert_int_equal(load_ref(BPF_PSEUDO_MAP_IDX, 0x7fffffff, 0, (int *)4096), -EFAULT);
	assert_int_equal(load_ref(BPF_PSEUDO_BTF_ID, 1, 0, NULL), -EINVAL);
	assert_int_equal(load_ref(15, 1, 0, NULL), -EINVAL);
	close(two);
	close(array);
	close(hash);
	close(prog);
}

static void native_calls_need_a_module(void **state)
{
	struct bpf_insn insns[] = { INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, 5),
				    EXIT() };
	union bpf_attr a = attr_load(insns, 2);
	int btf = make_btf(sys_bpf), fds[] = { -1, btf };

	(void)state;
	assert_int_equal(load(&a), -EINVAL);
	insns[0].off = 1;
	assert_int_equal(load(&a), -EPROTO); /* no fd_array */
	a.fd_array = PTR(fds);
	assert_int_equal(load(&a), -EINVAL); /* not the BTF of a module */
	insns[0].off = -1;
	assert_int_equal(load(&a), -EINVAL);
	close(btf);
}

static void function_information_is_checked(void **state)
{
	struct bpf_func_info fi[2] = { { 0, 3 } };
	union bpf_attr a = attr_load(good, 2);
	int btf = make_btf(sys_bpf);

	(void)state;
	a.prog_btf_fd = btf;
	a.func_info = PTR(fi);
	a.func_info_cnt = 1;
	a.func_info_rec_size = sizeof(fi[0]);
	assert_int_equal(load(&a), 0);
	fi[0].type_id = 1; /* an int */
	assert_int_equal(load(&a), -EINVAL);
	fi[0].type_id = 0;
	assert_int_equal(load(&a), -EINVAL);
	fi[0].type_id = 0x7fffffff;
	assert_int_equal(load(&a), -EINVAL);
	fi[0] = (struct bpf_func_info){ 1, 3 };
	assert_int_equal(load(&a), -EINVAL);
	fi[0].insn_off = 0;
	a.func_info_cnt = 2;
	assert_int_equal(load(&a), -EINVAL);
	a.func_info_cnt = 1;
	a.func_info_rec_size = 4;
	assert_int_equal(load(&a), -EINVAL);
	a.func_info_rec_size = 10;
	assert_int_equal(load(&a), -EINVAL);
	/* A longer record is fine when what we do not know is zero; otherwise our size is told. */
	a.func_info_rec_size = 12;
	assert_int_equal(load(&a), 0);
	fi[1].insn_off = 1;
	assert_int_equal(load(&a), -E2BIG);
	assert_int_equal(a.func_info_rec_size, 8);
	a.prog_btf_fd = 9999;
	assert_int_equal(load(&a), -EBADF);
	close(btf);
}

static void line_information_is_checked(void **state)
{
	struct bpf_line_info li[3] = { { .insn_off = 0 }, { .insn_off = 1 } };
	union bpf_attr a = attr_load(good, 2);
	int btf = make_btf(sys_bpf);

	(void)state;
	a.prog_btf_fd = btf;
	a.line_info = PTR(li);
	a.line_info_cnt = 2;
	a.line_info_rec_size = sizeof(li[0]);
	assert_int_equal(load(&a), 0);
	li[1].insn_off = 0;
	assert_int_equal(load(&a), -EINVAL); /* not growing */
	li[1].insn_off = 2;
	assert_int_equal(load(&a), -EINVAL); /* outside */
	li[1].insn_off = 1;
	li[1].line_off = 0x10000;
	assert_int_equal(load(&a), -EINVAL); /* no such string */
	li[1].line_off = 0;
	li[0].insn_off = 1;
	a.line_info_cnt = 1;
	assert_int_equal(load(&a), -EINVAL); /* nothing for the start of the function */
	a.line_info_cnt = 0x7fffffff;
	assert_int_equal(load(&a), -EINVAL);
	a.line_info_cnt = 0x7fffffff / sizeof(li[0]);
	assert_true(load(&a) < 0);
	close(btf);
}

static void broken_btf_is_refused_with_a_log(void **state)
{
	static const u8 short_header[] = { 0x9f, 0xeb, 1, 0, 24, 0, 0, 0 };
	union bpf_attr a = { .btf = PTR(short_header), .btf_size = sizeof(short_header) };

	(void)state;
	assert_int_equal(sys_bpf(BPF_BTF_LOAD, &a, sizeof(a)), -EINVAL);
	a.btf_log_level = 1;
	a.btf_log_buf = PTR(log_buf);
	a.btf_log_size = sizeof(log_buf);
	log_buf[0] = '\0';
	assert_int_equal(sys_bpf(BPF_BTF_LOAD, &a, sizeof(a)), -EINVAL);
	assert_true(strlen(log_buf) > 0);
	a.btf_size = 0;
	assert_int_equal(sys_bpf(BPF_BTF_LOAD, &a, sizeof(a)), -EINVAL);
	a.btf_size = (16 << 20) + 1;
	assert_int_equal(sys_bpf(BPF_BTF_LOAD, &a, sizeof(a)), -E2BIG);
	a.btf_size = 16 << 20;
	a.btf = 4096;
	assert_int_equal(sys_bpf(BPF_BTF_LOAD, &a, sizeof(a)), -EFAULT);
}

static void map_btf_must_describe_key_and_value(void **state)
{
	int btf = make_btf(sys_bpf), fd;
	union bpf_attr a = { .map_type = BPF_MAP_TYPE_HASH,
			     .key_size = 4,
			     .value_size = 8,
			     .max_entries = 1,
			     .btf_fd = btf,
			     .btf_key_type_id = 1,
			     .btf_value_type_id = 4 };

	(void)state;
	fd = sys_bpf(BPF_MAP_CREATE, &a, sizeof(a));
	assert_true(fd >= 0);
	close(fd);
	a.value_size = 16;
	assert_int_equal(sys_bpf(BPF_MAP_CREATE, &a, sizeof(a)), -EINVAL);
	a.value_size = 8;
	a.btf_value_type_id = 0;
	assert_int_equal(sys_bpf(BPF_MAP_CREATE, &a, sizeof(a)), -EINVAL);
	a.btf_value_type_id = 99;
	assert_int_equal(sys_bpf(BPF_MAP_CREATE, &a, sizeof(a)), -EINVAL);
	a.btf_value_type_id = 4;
	a.btf_fd = 9999;
	assert_int_equal(sys_bpf(BPF_MAP_CREATE, &a, sizeof(a)), -EBADF);
	close(btf);
}

static void tag_is_sha1_without_descriptors(void **state)
{
	/* r0 = 2; exit, given to sha1sum(1) */
	static const u8 want[8] = { 0x3b, 0x18, 0x51, 0x87, 0xf1, 0x85, 0x5c, 0x4c };
	struct bpf_insn insns[] = { MOV(0, 2), EXIT() };
	struct bpf_insn a[] = { ld64(BPF_PSEUDO_MAP_FD, 3), INSN(0, 0, 0, 0, 0), MOV(0, 0),
				EXIT() };
	u8 tag[8], other[8];

	(void)state;
	sys_prog_tag(insns, 2, tag);
	assert_memory_equal(tag, want, 8);
	sys_prog_tag(a, 4, tag);
	a[0].imm = 77;
	sys_prog_tag(a, 4, other);
	assert_memory_equal(tag, other, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attr_smaller_than_ours_is_filled_with_zeros),
		cmocka_unit_test(larger_attr_is_e2big_unless_its_end_is_zero),
		cmocka_unit_test(fields_behind_those_of_the_command_must_be_zero),
		cmocka_unit_test(unknown_commands_are_einval),
		cmocka_unit_test(bad_addresses_are_efault),
		cmocka_unit_test(log_arguments_have_to_make_sense),
		cmocka_unit_test(short_log_is_cut_terminated_and_enospc),
		cmocka_unit_test(log_to_a_bad_address_is_efault),
		cmocka_unit_test(refused_program_says_why),
		cmocka_unit_test(counts_flags_types_and_names_are_checked),
		cmocka_unit_test(syscall_programs_must_be_sleepable_and_filters_must_not),
		cmocka_unit_test(references_to_maps_are_resolved_or_refused),
		cmocka_unit_test(native_calls_need_a_module),
		cmocka_unit_test(function_information_is_checked),
		cmocka_unit_test(line_information_is_checked),
		cmocka_unit_test(broken_btf_is_refused_with_a_log),
		cmocka_unit_test(map_btf_must_describe_key_and_value),
		cmocka_unit_test(tag_is_sha1_without_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
