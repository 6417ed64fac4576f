/* SPDX-License-Identifier: MIT */
/* libbpf's USDT programs: argument specifications of every kind, where the probe is, cookies, ends. */
#include <pthread.h>

#include "client.h"
#include "note.h"

#define ARGS(...) ((const long long[]){ __VA_ARGS__ })
#define EXPECT(cookie, calls, ...)                                                                  \
	expect(cookie, calls, ARGS(__VA_ARGS__), sizeof(ARGS(__VA_ARGS__)) / sizeof(long long))

/* ---- the probes ------------------------------------------------------------------------------------ */

__attribute__((noinline, noclone)) static void fire_first_regs(void)
{
	__asm__ volatile("mov $0x1111111122223301, %%rax\n mov $-2, %%rcx\n mov $3, %%rdx\n"
			 "mov $-4, %%rsi\n mov $5, %%rdi\n mov $0x6666666677778888, %%r8\n"
			 NOTE("first_regs", "8@%%rax -8@%%rcx 4@%%edx -4@%%esi 2@%%di -2@%%r8w 1@%%al "
					    "-1@%%r8b 4@%%r8d")
			 ::: "rax", "rcx", "rdx", "rsi", "rdi", "r8");
}

__attribute__((noinline, noclone)) static void fire_other_regs(void)
{
	__asm__ volatile("mov $-9, %%r9\n mov $10, %%r10\n mov $-11, %%r11\n mov $12, %%r12\n"
			 "mov $-13, %%r13\n mov $14, %%r14\n mov $0x1ff, %%r15\n mov $16, %%rbx\n"
			 NOTE("other_regs", "-8@%%r9 8@%%r10 -4@%%r11d 8@%%r12 -2@%%r13w 1@%%r14b 1@%%r15b "
					    "-1@%%r15b 8@%%rbx 4@%%ebx 2@%%bx 1@%%bl")
			 ::: "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rbx");
}

__attribute__((noinline, noclone)) static void fire_constants(void)
{
	__asm__ volatile(NOTE("constants", "-4@$-5 8@$7 1@$255 -1@$255 -8@$-2147483648 4@$-1 2@$65535"));
}

static const long long words[] = { 0x8182838485868788, -1, 0x0102030405060708 };

__attribute__((noinline, noclone)) static void fire_memory(const void *at)
{
	__asm__ volatile("mov %0, %%rax\n lea 16(%%rax), %%rdx\n"
			 NOTE("memory", "8@(%%rax) -4@0(%%rax) 4@(%%rax) -2@2(%%rax) 1@7(%%rax) -1@7(%%rax) "
					"-8@8(%%rax) 8@16(%%rax) 8@-16(%%rdx) 2@(%%rdx)")
			 :: "r"(at) : "rax", "rdx");
}

__attribute__((noinline, noclone)) static void fire_bad_memory(const void *at)
{
	__asm__ volatile("mov %0, %%rax\n" NOTE("bad_memory", "8@$1 8@(%%rax)") :: "r"(at) : "rax");
}

__attribute__((noinline, noclone)) static void fire_nothing(void)
{
	__asm__ volatile(NOTE("nothing", ""));
}

__attribute__((noinline, noclone)) static void fire_indexed(const void *at)
{
	__asm__ volatile("mov %0, %%rax\n mov $2, %%rdx\n" NOTE("indexed", "8@(%%rax,%%rdx,8)")
			 :: "r"(at) : "rax", "rdx");
}

__attribute__((noinline, noclone)) static void fire_automatic(long a, int b)
{
	__asm__ volatile("mov %0, %%rax\n mov %1, %%ecx\n" NOTE("automatic", "-8@%%rax -4@%%ecx")
			 :: "r"(a), "r"(b) : "rax", "rcx");
}

/* One name in three places, each with its arguments elsewhere, as inlining makes them. */
__attribute__((noinline, noclone)) static void fire_everywhere(int where)
{
	switch (where) {
	case 0: __asm__ volatile("mov $100, %%rax\n" NOTE("everywhere", "8@%%rax") ::: "rax"); break;
	case 1: __asm__ volatile("mov $101, %%rbx\n" NOTE("everywhere", "8@%%rbx") ::: "rbx"); break;
	default: __asm__ volatile(NOTE("everywhere", "8@$102"));
	}
}

/* ---- tests ----------------------------------------------------------------------------------------- */

static void registers_of_every_size(void **state)
{
	struct bpf_link *a = attach(0, "/proc/self/exe", "ferry", "first_regs", 1);
	struct bpf_link *b = attach(0, "/proc/self/exe", "ferry", "other_regs", 2);

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	fire_first_regs();
	fire_first_regs();
	fire_other_regs();
	EXPECT(1, 2, 0x1111111122223301, -2, 3, -4, 5, (short)0x8888, 1, (signed char)0x88, 0x77778888);
	EXPECT(2, 1, -9, 10, -11, 12, -13, 14, 0xff, -1, 16, 16, 16, 16);
	bpf_link__destroy(a);
	bpf_link__destroy(b);
	fire_first_regs();
	assert_int_equal(look(1).calls, 2);
}

static void constants_are_cut_and_extended(void **state)
{
	struct bpf_link *l = attach(0, "/proc/self/exe", "ferry", "constants", 3);

	(void)state;
	assert_non_null(l);
	fire_constants();
	EXPECT(3, 1, -5, 7, 255, -1, -2147483648ll, 0xffffffff, 65535);
	bpf_link__destroy(l);
}

static void memory_behind_registers(void **state)
{
	struct bpf_link *l = attach(getpid(), "/proc/self/exe", "ferry", "memory", 4);

	(void)state;
	assert_non_null(l);
	fire_memory(words);
	EXPECT(4, 1, words[0], (int)0x85868788, 0x85868788, (short)0x8586, 0x81, (signed char)0x81, -1, words[2],
	       words[0], 0x0708);
	bpf_link__destroy(l);
}

static void memory_that_is_not_there_is_an_error(void **state)
{
	struct bpf_link *l = attach(0, "/proc/self/exe", "ferry", "bad_memory", 5);
	struct seen s;

	(void)state;
	assert_non_null(l);
	fire_bad_memory((void *)16);
	s = look(5);
	assert_int_equal(s.calls, 1);
	assert_int_equal(s.err[0], 0);
	assert_int_equal(s.arg[0], 1);
	assert_int_equal(s.err[1], -EFAULT);
	assert_int_equal(s.arg[1], 0);
	fire_bad_memory(words);
	EXPECT(5, 2, 1, words[0]);
	bpf_link__destroy(l);
}

static void probe_without_arguments(void **state)
{
	struct bpf_link *l = attach(0, "/proc/self/exe", "ferry", "nothing", 6);

	(void)state;
	assert_non_null(l);
	fire_nothing();
	expect(6, 1, NULL, 0);
	bpf_link__destroy(l);
}

/* An index is beyond what this libbpf reads (from 1.7 on): it says so, or it has the right value. */
static void index_is_read_or_refused(void **state)
{
	struct bpf_link *l = attach(0, "/proc/self/exe", "ferry", "indexed", 7);

	(void)state;
	if (!l) {
		assert_true(errno == EINVAL || errno == ENOENT || errno == ESRCH);
		return;
	}
	fire_indexed(words);
	EXPECT(7, 1, words[2]);
	bpf_link__destroy(l);
}

static void section_name_attaches_by_itself(void **state)
{
	struct bpf_link *l = bpf_program__attach(bpf_object__find_program_by_name(obj, "automatic"));
	int i;

	(void)state;
	assert_non_null(l);
	for (i = 0; i < 7; i++)
		fire_automatic(-1000000000000ll, -i);
	assert_int_equal(look(1000).calls, 7);
	assert_int_equal(look(1000).arg[0], -1000000000000ll);
	assert_int_equal(look(1000).arg[1], -6);
	bpf_link__destroy(l);
	fire_automatic(1, 1);
	assert_int_equal(look(1000).calls, 7);
}

static void each_place_has_its_own_arguments(void **state)
{
	struct bpf_link *l = attach(0, "/proc/self/exe", "ferry", "everywhere", 8);
	int i;

	(void)state;
	assert_non_null(l);
	for (i = 0; i < 6; i++) {
		fire_everywhere(i % 3);
		EXPECT(8, i + 1, 100 + i % 3);
	}
	bpf_link__destroy(l);
}

/* Two programs on one probe, each with its cookie; ending one leaves the other. */
static void cookies_tell_attachments_apart(void **state)
{
	struct bpf_link *a = attach(0, "/proc/self/exe", "ferry", "nothing", 20);
	struct bpf_link *b = attach(0, "/proc/self/exe", "ferry", "nothing", 21);

	(void)state;
	assert_non_null(a);
	assert_non_null(b);
	fire_nothing();
	bpf_link__destroy(a);
	fire_nothing();
	assert_int_equal(look(20).calls, 1);
	assert_int_equal(look(21).calls, 2);
	bpf_link__destroy(b);
}

static void *many(void *arg)
{
	int i;

	for (i = 0; i < 5000; i++)
		fire_constants();
	return arg;
}

static void threads_lose_nothing(void **state)
{
	struct bpf_link *l = attach(0, "/proc/self/exe", "ferry", "constants", 30);
	pthread_t t[4];
	int i;

	(void)state;
	assert_non_null(l);
	fire_constants(); /* the entry of the map is made */
	for (i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, many, NULL), 0);
	for (i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(look(30).calls, 20001);
	bpf_link__destroy(l);
}

static void unknown_probe_is_refused(void **state)
{
	(void)state;
	assert_null(attach(0, "/proc/self/exe", "ferry", "no_such_probe", 40));
	assert_int_equal(errno, ENOENT);
	assert_null(attach(0, "/proc/self/exe", "nobody", "nothing", 40));
	assert_int_equal(errno, ENOENT);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_of_every_size),
		cmocka_unit_test(constants_are_cut_and_extended),
		cmocka_unit_test(memory_behind_registers),
		cmocka_unit_test(memory_that_is_not_there_is_an_error),
		cmocka_unit_test(probe_without_arguments),
		cmocka_unit_test(index_is_read_or_refused),
		cmocka_unit_test(section_name_attaches_by_itself),
		cmocka_unit_test(each_place_has_its_own_arguments),
		cmocka_unit_test(cookies_tell_attachments_apart),
		cmocka_unit_test(threads_lose_nothing),
		cmocka_unit_test(unknown_probe_is_refused),
	};

	if (no_kernel(argc, argv, UPROBES))
		return skip_all("no uprobes of the machine's kernel");
	return cmocka_run_group_tests(tests, setup, teardown);
}
