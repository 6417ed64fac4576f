/* SPDX-License-Identifier: MIT */
/* A libbpf client whose programs hand dynptrs to kfuncs: the same in every engine and in the kernel. */
#include "test.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/types.h>
#include <unistd.h>

#include "object.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define BYTES 512

struct args {
	__u32 start, end, off, size;
	long long ret[8];
};

static struct bpf_object *obj;

static int run(const char *name, struct args *a)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = a, .ctx_size_in = sizeof(*a));
	struct bpf_program *p = bpf_object__find_program_by_name(obj, name);

	assert_non_null(p);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(p), &opts), 0);
	return (int)opts.retval;
}

static void put(__u32 key, const __u8 *value)
{
	assert_int_equal(bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "bytes"), &key, value, 0), 0);
}

static void get(__u32 key, __u8 *value)
{
	assert_int_equal(bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "bytes"), &key, value), 0);
}

/* Byte i is i times an odd number: no two of 256 are the same. */
static void numbered(__u8 *value, __u32 factor)
{
	for (__u32 i = 0; i < BYTES; i++)
		value[i] = (__u8)(i * factor);
}

static long long four(const __u8 *value, __u32 off, __u32 from, __u32 size)
{
	__u32 v;

	if (size < 4 || off > size - 4)
		return -1;
	memcpy(&v, value + from + off, sizeof(v));
	return v;
}

static void a_clone_is_a_part_of_its_own(void **state)
{
	static const struct {
		__u32 start, end, off;
		int err;
	} cases[] = {
		{ 0, 128, 0, 0 }, { 1, 128, 124, 0 }, { 0, 128, 124, 0 }, { 0, 128, 125, 0 }, { 5, 9, 0, 0 }, { 5, 8, 0, 0 },
		{ 128, 128, 0, 0 }, { 0, 0, 3, 0 }, { 0, 129, 0, -ERANGE }, { 129, 129, 4, -ERANGE }, { 9, 8, 4, -EINVAL },
		{ 0, ~0u, 4, -ERANGE }, { ~0u, 0, 4, -EINVAL }, { 2, 100, ~0u, 0 }, { 2, 100, 1u << 31, 0 },
	};
	__u8 value[BYTES];

	(void)state;
	numbered(value, 7);
	put(0, value);
	for (__u32 i = 0; i < COUNT(cases); i++) {
		__u32 from = cases[i].err ? 0 : cases[i].start, size = (cases[i].err ? 128 : cases[i].end) - from;
		struct args a = { cases[i].start, cases[i].end, cases[i].off, 0, { 0 } };

		assert_int_equal(run("part", &a), 0);
		assert_int_equal(a.ret[0], 0);
		assert_int_equal(a.ret[1], cases[i].err);
		assert_int_equal(a.ret[2], size);
		assert_int_equal(a.ret[3], 0);
		assert_int_equal(a.ret[4], four(value, cases[i].off, 256 + from, size));
		assert_int_equal(a.ret[5], 128);
		assert_int_equal(a.ret[6], 0);
		assert_int_equal(a.ret[7], four(value, cases[i].off, 256, 128));
	}
}

static void of_none_there_is_nothing(void **state)
{
	(void)state;
	for (__u32 size = 0; size < 2; size++) {
		struct args a = { .size = size };

		assert_int_equal(run("none", &a), 0);
		assert_int_equal(a.ret[0], -EINVAL);
		assert_int_equal(a.ret[1], -EINVAL);
		assert_int_equal((__u32)a.ret[2], (__u32)-EINVAL);
		assert_int_equal(a.ret[3], 2);
		assert_int_equal(a.ret[4], -1);
		assert_int_equal(a.ret[5], size ? -E2BIG : 0);
		assert_int_equal(a.ret[6], -EINVAL);
		assert_int_equal(a.ret[7], -EINVAL);
	}
}

static void bytes_are_copied_where_both_have_them(void **state)
{
	static const struct {
		__u32 to, from, size;
		int err, within;
	} cases[] = {
		{ 0, 0, 490, 0, 0 }, { 0, 0, 491, -E2BIG, 0 }, { 490, 512, 0, 0, 0 }, { 491, 0, 0, -E2BIG, 0 },
		{ 3, 100, 300, 0, 0 }, { 100, 3, 300, 0, 0 }, { 0, 500, 13, -E2BIG, -E2BIG }, { 0, ~0u, 1, -E2BIG, -E2BIG },
		{ ~0u, 0, 1, -E2BIG, -E2BIG }, { 0, 0, ~0u, -E2BIG, -E2BIG }, { 0, 513, 0, -E2BIG, -E2BIG },
	};
	__u8 from[BYTES], to[BYTES], want[BYTES];

	(void)state;
	for (__u32 i = 0; i < COUNT(cases); i++) {
		__u32 size = cases[i].size;
		struct args a = { cases[i].to, 0, cases[i].from, size, { 0 } };

		numbered(from, 7);
		numbered(to, 11);
		put(0, from);
		put(1, to);
		assert_int_equal(run("copy", &a), 0);
		assert_int_equal(a.ret[0], cases[i].err);
		assert_int_equal(a.ret[1], cases[i].within);
		memcpy(want, to, BYTES);
		if (!cases[i].err)
			memcpy(want + 10 + cases[i].to, from + cases[i].from, size);
		get(1, to);
		assert_memory_equal(to, want, BYTES);
		/* Within one, overlapping. */
		memcpy(want, from, BYTES);
		if (!cases[i].within)
			memcpy(want + cases[i].from, from + cases[i].to, size);
		get(0, from);
		assert_memory_equal(from, want, BYTES);
	}
}

static void bytes_are_filled_where_they_are(void **state)
{
	static const struct {
		__u32 off, size;
		int err;
	} cases[] = {
		{ 0, 490, 0 }, { 0, 491, -E2BIG }, { 489, 1, 0 }, { 490, 0, 0 }, { 490, 1, -E2BIG }, { 491, 0, -E2BIG },
		{ ~0u, 1, -E2BIG }, { 1, ~0u, -E2BIG }, { 100, 300, 0 }, { 100, 391, -E2BIG },
	};
	__u8 value[BYTES], want[BYTES];

	(void)state;
	for (__u32 i = 0; i < COUNT(cases); i++) {
		struct args a = { .off = cases[i].off, .size = cases[i].size };

		numbered(value, 7);
		put(0, value);
		memcpy(want, value, BYTES);
		if (!cases[i].err)
			memset(want + 10 + a.off, 0xa5, a.size);
		assert_int_equal(run("fill", &a), 0);
		assert_int_equal(a.ret[0], cases[i].err);
		get(0, value);
		assert_memory_equal(value, want, BYTES);
	}
}

static int record(void *arg, void *data, size_t size)
{
	assert_int_equal(size, 24);
	memcpy(arg, data, size);
	return 0;
}

static void a_reservation_is_submitted_whole_by_a_clone_of_a_part(void **state)
{
	static const __u8 want[24] = { 7, 7, 7, 7, 7, 7, 7, 7, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
				     7, 7, 7, 7, 7, 7, 7, 7 };
	__u8 got[24] = { 0 };
	struct ring_buffer *ring = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "ring"), record, got, NULL);
	struct args a = { 0 };

	(void)state;
	assert_non_null(ring);
	for (__u32 i = 0; i < 300; i++) { /* the ring is gone through more than once */
		assert_int_equal(run("submit", &a), 0);
		for (__u32 k = 0; k < 5; k++)
			assert_int_equal(a.ret[k], 0);
		assert_int_equal(a.ret[5], -E2BIG);
		memset(got, 0, sizeof(got));
		assert_int_equal(ring_buffer__consume(ring), 1);
		assert_memory_equal(got, want, sizeof(want));
	}
	ring_buffer__free(ring);
}

static void a_slice_is_written_in_place(void **state)
{
	__u8 packet[64] = { 0 }, value[BYTES];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));
	__u64 before, after;

	(void)state;
	numbered(value, 7);
	put(0, value);
	memcpy(&before, value + 12, 8);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(bpf_object__find_program_by_name(obj, "add_one")), &opts), 0);
	assert_int_equal(opts.retval, 0);
	get(0, value);
	memcpy(&after, value + 12, 8);
	assert_int_equal(after, before + 1);
}

static int setup(void **state)
{
	(void)state;
	obj = open_object("dynptrs.bpf.o");
	return bpf_object__load(obj);
}

static int teardown(void **state)
{
	(void)state;
	bpf_object__close(obj);
	return 0;
}

static bool kernel_has(const char *kfunc)
{
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 4, 1, NULL);
	struct btf *btf = fd < 0 ? NULL : btf__load_vmlinux_btf();
	bool has = btf && btf__find_by_name_kind(btf, kfunc, BTF_KIND_FUNC) > 0;

	if (fd >= 0)
		close(fd);
	btf__free(btf);
	return has;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clone_is_a_part_of_its_own),
		cmocka_unit_test(of_none_there_is_nothing),
		cmocka_unit_test(bytes_are_copied_where_both_have_them),
		cmocka_unit_test(bytes_are_filled_where_they_are),
		cmocka_unit_test(a_reservation_is_submitted_whole_by_a_clone_of_a_part),
		cmocka_unit_test(a_slice_is_written_in_place),
	};

	if (getenv("CLIENT_KERNEL") && !kernel_has("bpf_dynptr_memset"))
		return skip_all("the kernel's bpf(2) is not usable here, or it does not have these kfuncs");
	return cmocka_run_group_tests(tests, setup, teardown);
}
