/* SPDX-License-Identifier: MIT */
/* USDT probes as <sys/sdt.h> makes them: semaphores, arguments where the compiler has them, libraries. */
#include "client.h"

#if __has_include(<sys/sdt.h>)
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

#define ARGS(...) ((const long long[]){ __VA_ARGS__ })
#define EXPECT(cookie, calls, ...)                                                                  \
	expect(cookie, calls, ARGS(__VA_ARGS__), sizeof(ARGS(__VA_ARGS__)) / sizeof(long long))

#define SEMAPHORE(name)                                                                             \
	__attribute__((section(".probes"))) volatile unsigned short ferry_sdt_##name##_semaphore
SEMAPHORE(guarded);
SEMAPHORE(mixed);
SEMAPHORE(never);
#define ENABLED(name) __builtin_expect(ferry_sdt_##name##_semaphore, 0)

static int computed; /* how often the arguments of the guarded probe were */

__attribute__((noinline, noclone)) static long expensive(long x)
{
	computed++;
	return x * x;
}

__attribute__((noinline, noclone)) static void fire_guarded(long x)
{
	if (ENABLED(guarded))
		STAP_PROBE2(ferry_sdt, guarded, expensive(x), "text");
}

struct shape {
	signed char c;
	unsigned short s;
	int i;
	unsigned long long u;
};

__attribute__((noinline, noclone)) static long fire_mixed(const struct shape *p, double d, int n)
{
	volatile struct shape local = *p;
	long sum = 0;
	int i;

	for (i = 0; i < n; i++) {
		STAP_PROBE8(ferry_sdt, mixed, p->c, p->s, p->i, p->u, local.i, i, 77, (long)d);
		sum += local.i * i;
	}
	return sum;
}

__attribute__((noinline, noclone)) static void fire_never(void)
{
	STAP_PROBE(ferry_sdt, never);
}

static void semaphore_counts_who_listens(void **state)
{
	struct bpf_link *a, *b;

	(void)state;
	fire_guarded(2);
	assert_int_equal(computed, 0);
	a = attach(0, "/proc/self/exe", "ferry_sdt", "guarded", 1);
	assert_non_null(a);
	assert_int_equal(ferry_sdt_guarded_semaphore, 1);
	fire_guarded(3);
	assert_int_equal(computed, 1);
	assert_int_equal(look(1).arg[0], 9);
	assert_string_equal((const char *)(uintptr_t)look(1).arg[1], "text");
	b = attach(0, "/proc/self/exe", "ferry_sdt", "guarded", 2);
	assert_non_null(b);
	fire_guarded(4);
	assert_int_equal(computed, 2);
	bpf_link__destroy(a);
	fire_guarded(5);
	assert_int_equal(computed, 3);
	bpf_link__destroy(b);
	assert_int_equal(ferry_sdt_guarded_semaphore, 0);
	fire_guarded(6);
	assert_int_equal(computed, 3);
	assert_int_equal(look(1).calls, 2);
	assert_int_equal(look(2).calls, 2);
	assert_int_equal(look(2).arg[0], 25);
	assert_int_equal(ferry_sdt_never_semaphore, 0);
	fire_never();
}

static void arguments_are_found_where_the_compiler_has_them(void **state)
{
	const struct shape s = { -7, 65000, -123456, 1ull << 63 };
	struct bpf_link *l = attach(0, "/proc/self/exe", "ferry_sdt", "mixed", 3);

	(void)state;
	assert_non_null(l);
	assert_int_equal(fire_mixed(&s, 2.5, 4), -123456 * 6);
	EXPECT(3, 4, -7, 65000, -123456, 1ll << 63, -123456, 3, 77, 2);
	bpf_link__destroy(l);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(semaphore_counts_who_listens),
		cmocka_unit_test(arguments_are_found_where_the_compiler_has_them),
	};

	if (no_kernel(argc, argv, UPROBES))
		return skip_all("no uprobes of the machine's kernel");
	return cmocka_run_group_tests(tests, setup, teardown);
}

#else
int main(void)
{
	return skip_all("<sys/sdt.h> is not installed (systemtap-sdt-dev)");
}
#endif
