/* SPDX-License-Identifier: MIT */
/*
 * The log buffer of BPF_PROG_LOAD: which are good, what is kept when it is short, and how much was
 * needed. On Ferry (`unit`) and on the kernel (`kernel`), since 6.4.
 */
#include <unistd.h>

#include "sys_test.h"

#define TRUE_SIZE 140 /* of log_true_size, which older headers lack */

static bpf_fn bpf;
static char buf[65536], whole[65536];
static struct bpf_insn insns[64];

struct wide {
	union bpf_attr a;
	u8 more[16];
};

static struct wide attr(u32 level, void *log, u32 size)
{
	struct wide w = { 0 };

	for (u32 i = 0; i < 63; i++)
		insns[i] = MOV(0, (s32)i);
	insns[62] = MOV(0, 0);
	insns[63] = EXIT();
	w.a.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	w.a.insns = PTR(insns);
	w.a.insn_cnt = 64;
	w.a.license = PTR("GPL");
	w.a.log_level = level;
	w.a.log_buf = PTR(log);
	w.a.log_size = size;
	return w;
}

/* 0 or -errno, and how much the log takes. */
static long load(u32 level, void *log, u32 size, u32 *needed)
{
	struct wide w = attr(level, log, size);
	long fd = bpf(BPF_PROG_LOAD, &w, TRUE_SIZE + 4);

	memcpy(needed, (u8 *)&w + TRUE_SIZE, sizeof(*needed));
	if (fd < 0)
		return fd;
	close((int)fd);
	return 0;
}

static void buffers_have_to_make_sense(void **state)
{
	static const struct {
		u32 level;
		bool buf;
		u32 size;
		long want;
	} cases[] = {
		{ 0, false, 0, 0 },	     { 1, false, 0, 0 },	  { 2, false, 0, 0 },
		{ 0, true, 65536, -EINVAL }, { 1, false, 65536, -EINVAL }, { 1, true, 0, -EINVAL },
		{ 2, true, 1, -ENOSPC },     { 2, true, 127, -ENOSPC },	  { 2, true, 65536, 0 },
		{ 10, true, 65536, 0 },	     { 10, true, 1, -ENOSPC },	  { 16, true, 65536, -EINVAL },
		{ 2, true, 0x40000000, -EINVAL },
	};
	u32 needed;

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++)
		if (load(cases[i].level, cases[i].buf ? buf : NULL, cases[i].size, &needed) != cases[i].want)
			fail_msg("case %u: not %ld", i, cases[i].want);
}

static void the_size_told_is_just_enough(void **state)
{
	u32 needed = 0, again;

	(void)state;
	assert_int_equal(load(2, NULL, 0, &needed), 0);
	assert_in_range(needed, 1000, 20000);
	assert_int_equal(load(2, buf, needed, &again), 0);
	assert_int_equal(again, needed);
	assert_int_equal(strlen(buf) + 1, needed);
	assert_int_equal(load(2, buf, needed - 1, &again), -ENOSPC);
	assert_int_equal(again, needed);
}

static void short_buffers_keep_the_end_or_when_fixed_the_start(void **state)
{
	u32 needed;
	size_t len;

	(void)state;
	assert_int_equal(load(2, whole, sizeof(whole), &needed), 0);
	len = strlen(whole);
	for (u32 size = 1; size < 400; size += 7) {
		memset(buf, 'Z', sizeof(buf));
		assert_int_equal(load(2, buf, size, &needed), -ENOSPC);
		assert_int_equal(strlen(buf), size - 1);
		assert_string_equal(buf, whole + len - (size - 1));
		assert_int_equal(buf[size], 'Z');
		memset(buf, 'Z', sizeof(buf));
		assert_int_equal(load(2 | 8, buf, size, &needed), -ENOSPC);
		assert_int_equal(strlen(buf), size - 1);
		assert_memory_equal(buf, whole, size - 1);
		assert_int_equal(buf[size], 'Z');
	}
}

/* Callers of an age without the field: nothing is written behind their attr. */
static void older_callers_are_left_alone(void **state)
{
	struct wide w = attr(2, buf, sizeof(buf));
	u32 field;

	(void)state;
	long fd = bpf(BPF_PROG_LOAD, &w, TRUE_SIZE);

	assert_true(fd >= 0);
	close((int)fd);
	memcpy(&field, (u8 *)&w + TRUE_SIZE, sizeof(field));
	assert_int_equal(field, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffers_have_to_make_sense),
		cmocka_unit_test(the_size_told_is_just_enough),
		cmocka_unit_test(short_buffers_keep_the_end_or_when_fixed_the_start),
		cmocka_unit_test(older_callers_are_left_alone),
	};
	u32 needed;

	bpf = sys_bpf;
	if (argc > 1 && !strcmp(argv[1], "kernel")) {
		bpf = kernel_bpf;
		if (!kernel_works())
			return skip_all("no bpf(2) of the kernel");
		if (load(2, NULL, 0, &needed))
			return skip_all("the kernel's logs are those of before 6.4");
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
