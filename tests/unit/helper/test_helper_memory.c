/* SPDX-License-Identifier: MIT */
/* Helpers on memory at any address, text, packets, maps, and the current thread. */
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "test.h"
#include "helper/helper.h"

static u64 call(u32 id, u64 a, u64 b, u64 c, u64 d, u64 e)
{
	const struct helper_proto *h = helper_of(id);

	assert_non_null(h);
	return h->fn(a, b, c, d, e);
}

static u64 at(const void *p)
{
	return (u64)(uintptr_t)p;
}

/* Memory whose end is followed by a page that cannot be read. */
static char *before_a_hole(size_t size)
{
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(mprotect(p + 4096, 4096, PROT_NONE), 0);
	return p + 4096 - size;
}

static const u32 reads[] = { BPF_FUNC_probe_read, BPF_FUNC_probe_read_user,
			     BPF_FUNC_probe_read_kernel };
static const u32 strings[] = { BPF_FUNC_probe_read_str, BPF_FUNC_probe_read_user_str,
			       BPF_FUNC_probe_read_kernel_str };

static void a_bad_address_gives_zeros_and_efault(void **state)
{
	char *edge = before_a_hole(4), buf[16];
	const u64 bad[] = { 0,     1,        0xffff888000000000, 0x7ffffffffffffff8,
			    ~0ull, at(edge), at(edge + 4) };
	u32 i, k;

	(void)state;
	memcpy(edge, "abcd", 4);
	for (i = 0; i < ARRAY_SIZE(reads); i++) {
		for (k = 0; k < ARRAY_SIZE(bad); k++) {
			memset(buf, 'x', sizeof(buf));
			assert_int_equal((s64)call(reads[i], at(buf), 8, bad[k], 0, 0), -EFAULT);
			assert_memory_equal(buf, "\0\0\0\0\0\0\0\0xxxxxxxx", 16);
			memset(buf, 'x', sizeof(buf));
			assert_int_equal((s64)call(strings[i], at(buf), 8, bad[k], 0, 0), -EFAULT);
			assert_memory_equal(buf, "\0\0\0\0\0\0\0\0xxxxxxxx", 16);
		}
		assert_int_equal(call(reads[i], at(buf), 4, at(edge), 0, 0), 0);
		assert_memory_equal(buf, "abcd", 4);
		assert_int_equal(call(reads[i], at(buf), 0, 0, 0, 0), 0);
	}
	munmap(edge + 4 - 4096, 8192);
}

static void a_string_is_cut_and_always_ended(void **state)
{
	char *edge = before_a_hole(4), buf[16];
	u32 i;

	(void)state;
	memcpy(edge, "abc", 4);
	for (i = 0; i < ARRAY_SIZE(strings); i++) {
		memset(buf, 'x', sizeof(buf));
		assert_int_equal(call(strings[i], at(buf), 8, at(edge), 0, 0), 4);
		assert_memory_equal(buf, "abc", 4);
		assert_int_equal(buf[8], 'x');
		assert_int_equal(call(strings[i], at(buf), 4, at(edge), 0, 0), 4);
		assert_string_equal(buf, "abc");
		assert_int_equal(call(strings[i], at(buf), 3, at(edge), 0, 0), 3);
		assert_string_equal(buf, "ab");
		assert_int_equal(call(strings[i], at(buf), 1, at(edge), 0, 0), 1);
		assert_string_equal(buf, "");
		assert_int_equal(call(strings[i], at(buf), 0, at(edge), 0, 0), 0);
	}
	munmap(edge + 4 - 4096, 8192);
}

/* ---- text ------------------------------------------------------------------------------------ */

static void numbers_are_read_as_by_the_kernel(void **state)
{
	static const struct {
		const char *s;
		u32 flags;
		s64 ret, value;
	} cases[] = {
		{ "42", 0, 2, 42 },
		{ "  -42x", 10, 5, -42 },
		{ "0x1F", 0, 4, 31 },
		{ "0x1F", 16, 4, 31 },
		{ "1f", 16, 2, 31 },
		{ "017", 0, 3, 15 },
		{ "017", 10, 3, 17 },
		{ "08", 0, 1, 0 },
		{ "", 0, -EINVAL, 0 },
		{ "x", 0, -EINVAL, 0 },
		{ "-", 0, -EINVAL, 0 },
		{ "1", 7, -EINVAL, 0 },
		{ "1", 32, -EINVAL, 0 },
		{ "0x", 0, 1, 0 },
		{ "9223372036854775807", 0, 19, INT64_MAX },
		{ "9223372036854775808", 0, -ERANGE, 0 },
		{ "-9223372036854775808", 0, 20, INT64_MIN },
		{ "99999999999999999999", 0, -ERANGE, 0 },
	};
	s64 value;
	u64 uvalue = 0;
	u32 i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 len = strlen(cases[i].s) + 1;

		value = 99;
		assert_int_equal((s64)call(BPF_FUNC_strtol, at(cases[i].s), len, cases[i].flags,
					   at(&value), 0),
				 cases[i].ret);
		assert_int_equal(value, cases[i].value);
	}
	assert_int_equal(call(BPF_FUNC_strtoul, at("18446744073709551615"), 21, 0, at(&uvalue), 0),
			 20);
	assert_int_equal(uvalue, UINT64_MAX);
	assert_int_equal((s64)call(BPF_FUNC_strtoul, at("-1"), 3, 0, at(&uvalue), 0), -EINVAL);
	/* The buffer need not have an end. */
	assert_int_equal(call(BPF_FUNC_strtoul, at("1234"), 2, 0, at(&uvalue), 0), 2);
	assert_int_equal(uvalue, 12);
}

static void strings_compare_up_to_the_size(void **state)
{
	(void)state;
	assert_int_equal(call(BPF_FUNC_strncmp, at("abc"), 4, at("abc"), 0, 0), 0);
	assert_int_equal(call(BPF_FUNC_strncmp, at("abX"), 2, at("abc"), 0, 0), 0);
	assert_true((s64)call(BPF_FUNC_strncmp, at("abb"), 4, at("abc"), 0, 0) < 0);
	assert_true((s64)call(BPF_FUNC_strncmp, at("abd"), 4, at("abc"), 0, 0) > 0);
}

/* ---- packets --------------------------------------------------------------------------------- */

static u8 room[256];
static struct prog_pkt pkt;

static void new_packet(void)
{
	u32 i;

	for (i = 0; i < sizeof(room); i++)
		room[i] = (u8)i;
	pkt = (struct prog_pkt){ .data = at(room + 64),
				 .data_meta = at(room + 64),
				 .data_end = at(room + 128),
				 .hard_start = at(room),
				 .hard_end = at(room + 256),
				 .len = 64 };
}

static void bytes_outside_the_packet_are_neither_read_nor_written(void **state)
{
	static const u64 offs[] = { 61, 64, 65, 0x7fffffff, 0xffffffff, (u64)-1, (u64)-4 };
	u8 buf[4] = { 9, 9, 9, 9 };
	u32 i;

	(void)state;
	new_packet();
	assert_int_equal(call(BPF_FUNC_skb_load_bytes, at(&pkt), 60, at(buf), 4, 0), 0);
	assert_memory_equal(buf, room + 124, 4);
	assert_int_equal(call(BPF_FUNC_skb_store_bytes, at(&pkt), 0, at(buf), 4, 0), 0);
	assert_memory_equal(buf, room + 64, 4);
	for (i = 0; i < ARRAY_SIZE(offs); i++) {
		memset(buf, 9, sizeof(buf));
		assert_int_equal(
			(s64)call(BPF_FUNC_skb_load_bytes, at(&pkt), offs[i], at(buf), 4, 0),
			-EFAULT);
		assert_memory_equal(buf, "\0\0\0\0", 4);
		assert_int_equal(
			(s64)call(BPF_FUNC_skb_store_bytes, at(&pkt), offs[i], at(buf), 4, 0),
			-EFAULT);
		assert_int_equal(
			(s64)call(BPF_FUNC_xdp_load_bytes, at(&pkt), offs[i], at(buf), 4, 0),
			-EINVAL);
		assert_int_equal(
			(s64)call(BPF_FUNC_xdp_store_bytes, at(&pkt), offs[i], at(buf), 4, 0),
			-EINVAL);
	}
	assert_int_equal((s64)call(BPF_FUNC_skb_store_bytes, at(&pkt), 0, at(buf), 4, 0x80),
			 -EINVAL);
	for (i = 128; i < sizeof(room); i++)
		assert_int_equal(room[i], (u8)i);
}

static void ends_of_a_packet_move_only_inside_its_room(void **state)
{
	u32 i;

	(void)state;
	new_packet();
	assert_int_equal((s64)call(BPF_FUNC_xdp_adjust_head, at(&pkt), (u64)-65, 0, 0, 0), -EINVAL);
	assert_int_equal((s64)call(BPF_FUNC_xdp_adjust_head, at(&pkt), 51, 0, 0, 0), -EINVAL);
	assert_int_equal((s64)call(BPF_FUNC_xdp_adjust_head, at(&pkt), (u64)INT32_MIN, 0, 0, 0),
			 -EINVAL);
	assert_int_equal(call(BPF_FUNC_xdp_adjust_meta, at(&pkt), (u64)-8, 0, 0, 0), 0);
	assert_int_equal(pkt.data_meta, at(room + 56));
	assert_int_equal((s64)call(BPF_FUNC_xdp_adjust_meta, at(&pkt), 1, 0, 0, 0), -EACCES);
	assert_int_equal((s64)call(BPF_FUNC_xdp_adjust_meta, at(&pkt), 12, 0, 0, 0), -EINVAL);
	assert_int_equal((s64)call(BPF_FUNC_xdp_adjust_meta, at(&pkt), (u64)-60, 0, 0, 0), -EINVAL);
	/* What is in front of the packet goes with its head, and needs room too. */
	assert_int_equal((s64)call(BPF_FUNC_xdp_adjust_head, at(&pkt), (u64)-57, 0, 0, 0), -EINVAL);
	assert_int_equal(call(BPF_FUNC_xdp_adjust_head, at(&pkt), (u64)-56, 0, 0, 0), 0);
	assert_int_equal(pkt.data_meta, at(room));
	assert_int_equal(pkt.data, at(room + 8));
	assert_int_equal(room[0], 56);
	assert_int_equal(call(BPF_FUNC_xdp_get_buff_len, at(&pkt), 0, 0, 0, 0), 120);
	assert_int_equal((s64)call(BPF_FUNC_xdp_adjust_tail, at(&pkt), 129, 0, 0, 0), -EINVAL);
	assert_int_equal((s64)call(BPF_FUNC_xdp_adjust_tail, at(&pkt), (u64)-107, 0, 0, 0),
			 -EINVAL);
	assert_int_equal(call(BPF_FUNC_xdp_adjust_tail, at(&pkt), 128, 0, 0, 0), 0);
	assert_int_equal(pkt.data_end, at(room + 256));
	for (i = 128; i < 256; i++)
		assert_int_equal(room[i], 0);
	assert_int_equal(call(BPF_FUNC_xdp_adjust_tail, at(&pkt), (u64)-234, 0, 0, 0), 0);
	assert_int_equal(call(BPF_FUNC_xdp_get_buff_len, at(&pkt), 0, 0, 0, 0), 14);
}

/* RFC 1071, in the way it is explained: 16 bits at a time. */
static u32 checksum(const u8 *p, u32 size, u32 sum)
{
	u32 i;

	sum = (sum & 0xffff) + (sum >> 16);
	for (i = 0; i < size; i += 2) {
		sum += (u32)(p[i] | p[i + 1] << 8);
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return (sum & 0xffff) + (sum >> 16);
}

static void a_checksum_difference_updates_a_checksum(void **state)
{
	u8 from[32], to[32];
	u64 seed = 3;
	u32 n, i;

	(void)state;
	for (n = 0; n < 2000; n++) {
		u32 size = 4 * (1 + n % 8), sum;

		for (i = 0; i < sizeof(to); i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			from[i] = (u8)(seed >> 56);
			to[i] = (u8)(seed >> 48);
		}
		sum = (u32)seed;
		assert_int_equal(call(BPF_FUNC_csum_diff, 0, 0, at(to), size, sum) % 0xffff,
				 checksum(to, size, sum) % 0xffff);
		/* Replacing `from` by `to` in what `from` summed to gives what `to` sums to. */
		sum = checksum(from, size, 0);
		assert_int_equal(call(BPF_FUNC_csum_diff, at(from), size, at(to), size, sum) %
					 0xffff,
				 checksum(to, size, 0) % 0xffff);
		sum = checksum(from, size, 77);
		assert_int_equal(call(BPF_FUNC_csum_diff, at(from), size, 0, 0, sum) % 0xffff, 77);
	}
}

/* ---- thread and time ------------------------------------------------------------------------- */

static void the_thread_is_the_one_that_runs(void **state)
{
	struct stat st;
	u32 info[2];
	char comm[32];

	(void)state;
	assert_int_equal(call(BPF_FUNC_get_current_pid_tgid, 0, 0, 0, 0, 0),
			 (u64)getpid() << 32 | (u32)gettid());
	assert_int_equal(call(BPF_FUNC_get_current_uid_gid, 0, 0, 0, 0, 0),
			 (u64)getgid() << 32 | getuid());
	prctl(PR_SET_NAME, "a name of 15 by");
	memset(comm, 'x', sizeof(comm));
	assert_int_equal(call(BPF_FUNC_get_current_comm, at(comm), 20, 0, 0, 0), 0);
	assert_memory_equal(comm, "a name of 15 by\0\0\0\0\0xxx", 23);
	assert_int_equal(call(BPF_FUNC_get_current_comm, at(comm), 7, 0, 0, 0), 0);
	assert_memory_equal(comm, "a name\0", 7);
	assert_int_equal(call(BPF_FUNC_get_current_comm, at(comm), 1, 0, 0, 0), 0);
	assert_memory_equal(comm, "\0 name", 6);
	assert_int_equal(stat("/proc/self/ns/pid", &st), 0);
	assert_int_equal(
		call(BPF_FUNC_get_ns_current_pid_tgid, st.st_dev, st.st_ino, at(info), 8, 0), 0);
	assert_int_equal(info[0], gettid());
	assert_int_equal(info[1], getpid());
	assert_int_equal((s64)call(BPF_FUNC_get_ns_current_pid_tgid, st.st_dev, 1, at(info), 8, 0),
			 -EINVAL);
	assert_int_equal(info[0] | info[1], 0);
	assert_true(call(BPF_FUNC_get_smp_processor_id, 0, 0, 0, 0, 0) < map_cpus());
}

static void clocks_run(void **state)
{
	static const struct {
		u32 id;
		clockid_t clock;
	} clocks[] = { { BPF_FUNC_ktime_get_ns, CLOCK_MONOTONIC },
		       { BPF_FUNC_ktime_get_boot_ns, CLOCK_BOOTTIME },
		       { BPF_FUNC_ktime_get_tai_ns, CLOCK_TAI } };
	struct timespec a, b;
	u64 ns;
	u32 i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(clocks); i++) {
		clock_gettime(clocks[i].clock, &a);
		ns = call(clocks[i].id, 0, 0, 0, 0, 0);
		clock_gettime(clocks[i].clock, &b);
		assert_true(ns >= (u64)a.tv_sec * 1000000000u + (u64)a.tv_nsec);
		assert_true(ns <= (u64)b.tv_sec * 1000000000u + (u64)b.tv_nsec);
	}
}

static void random_numbers_differ_and_have_32_bits(void **state)
{
	u64 all = 0, v, last = ~0ull;
	u32 i, same = 0;

	(void)state;
	for (i = 0; i < 1000; i++) {
		v = call(BPF_FUNC_get_prandom_u32, 0, 0, 0, 0, 0);
		all |= v;
		same += v == last;
		last = v;
	}
	assert_int_equal(all, 0xffffffff);
	assert_int_equal(same, 0);
}

/* ---- maps ------------------------------------------------------------------------------------ */

static void a_per_cpu_value_is_found_by_its_cpu(void **state)
{
	struct map_attr attr = {
		.type = BPF_MAP_TYPE_PERCPU_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 3
	};
	struct text why = { 0 };
	struct map *m = NULL;
	u32 key = 2, far = 3, cpu;

	(void)state;
	if (map_create(&attr, &m, &why))
		fail_msg("%s", text_str(&why));
	for (cpu = 0; cpu < map_cpus(); cpu++) {
		u64 *v = (u64 *)(uintptr_t)call(BPF_FUNC_map_lookup_percpu_elem, at(m), at(&key),
						cpu, 0, 0);

		assert_non_null(v);
		*v = 100 + cpu;
	}
	assert_int_equal(call(BPF_FUNC_map_lookup_percpu_elem, at(m), at(&key), map_cpus(), 0, 0),
			 0);
	assert_int_equal(call(BPF_FUNC_map_lookup_percpu_elem, at(m), at(&key), ~0u, 0, 0), 0);
	assert_int_equal(call(BPF_FUNC_map_lookup_percpu_elem, at(m), at(&far), 0, 0, 0), 0);
	{
		u64 *all = calloc(map_cpus(), 8);

		assert_int_equal(map_lookup_user(m, &key, all, 0), 0);
		for (cpu = 0; cpu < map_cpus(); cpu++)
			assert_int_equal(all[cpu], 100 + cpu);
		free(all);
	}
	map_put(m);
}

static void a_queue_gives_the_oldest_and_a_stack_the_newest(void **state)
{
	struct map_attr attr = { .type = BPF_MAP_TYPE_QUEUE, .value_size = 8, .max_entries = 2 };
	u64 v, got = 1;
	struct map *m;
	u32 stack;

	(void)state;
	for (stack = 0; stack < 2; stack++) {
		attr.type = stack ? BPF_MAP_TYPE_STACK : BPF_MAP_TYPE_QUEUE;
		assert_int_equal(map_create(&attr, &m, NULL), 0);
		assert_int_equal((s64)call(BPF_FUNC_map_pop_elem, at(m), at(&got), 0, 0, 0), -ENOENT);
		assert_int_equal(got, 0);
		for (v = 10; v < 12; v++)
			assert_int_equal(call(BPF_FUNC_map_push_elem, at(m), at(&v), 0, 0, 0), 0);
		assert_int_equal((s64)call(BPF_FUNC_map_push_elem, at(m), at(&v), 0, 0, 0), -E2BIG);
		assert_int_equal(call(BPF_FUNC_map_push_elem, at(m), at(&v), BPF_EXIST, 0, 0), 0);
		assert_int_equal(call(BPF_FUNC_map_peek_elem, at(m), at(&got), 0, 0, 0), 0);
		assert_int_equal(got, stack ? 12 : 11);
		assert_int_equal(call(BPF_FUNC_map_pop_elem, at(m), at(&got), 0, 0, 0), 0);
		assert_int_equal(got, stack ? 12 : 11);
		assert_int_equal(call(BPF_FUNC_map_pop_elem, at(m), at(&got), 0, 0, 0), 0);
		assert_int_equal(got, stack ? 11 : 12);
		map_put(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bad_address_gives_zeros_and_efault),
		cmocka_unit_test(a_string_is_cut_and_always_ended),
		cmocka_unit_test(numbers_are_read_as_by_the_kernel),
		cmocka_unit_test(strings_compare_up_to_the_size),
		cmocka_unit_test(bytes_outside_the_packet_are_neither_read_nor_written),
		cmocka_unit_test(ends_of_a_packet_move_only_inside_its_room),
		cmocka_unit_test(a_checksum_difference_updates_a_checksum),
		cmocka_unit_test(the_thread_is_the_one_that_runs),
		cmocka_unit_test(clocks_run),
		cmocka_unit_test(random_numbers_differ_and_have_32_bits),
		cmocka_unit_test(a_per_cpu_value_is_found_by_its_cpu),
		cmocka_unit_test(a_queue_gives_the_oldest_and_a_stack_the_newest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
