/* SPDX-License-Identifier: MIT */
/* Probes on functions of this program and of libraries: hooks see what the ABI says, and the functions do what they did. */
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach/attach.h"
#include "test.h"

struct seen {
	u64 calls, arg1, arg2, result, ip;
};

static void on_entry(struct pt_regs *regs, void *arg)
{
	struct seen *s = arg;

	s->calls++;
	s->arg1 = regs->rdi;
	s->arg2 = regs->rsi;
	s->ip = regs->rip;
}

static void on_return(struct pt_regs *regs, void *arg)
{
	struct seen *s = arg;

	s->calls++;
	s->result = regs->rax;
	s->ip = (u64)(uintptr_t)probe_func_ip();
}

static struct probe *probe(const void *addr, enum probe_kind kind, probe_fn fn, void *arg)
{
	struct probe_spec spec = { addr, kind, 0, fn, arg };
	struct probe *p = NULL;
	struct text why = { 0 };
	int err = probe_add(&spec, 1, &p, &why);

	if (err)
		print_message("# %d %s\n", err, text_str(&why));
	assert_int_equal(err, 0);
	text_free(&why);
	return p;
}

#define NOCLONE __attribute__((noinline, noclone, optimize("O2")))

static NOCLONE int add(int a, int b)
{
	volatile int x[4] = { a, b };

	return x[0] + x[1];
}

int five(void);
__asm__(".pushsection .text\n.type five, @function\nfive:\n.cfi_startproc\nnop\nmov $5, %eax\nret\n.cfi_endproc\n"
	".size five, . - five\n.popsection");

/* A patch would make another instruction of what is around it. */
static void middle_of_an_instruction_is_refused(void **state)
{
	struct probe_spec spec = { (const u8 *)five + 2, PROBE_ENTRY, 0, on_entry, NULL };
	struct probe *p = NULL, *none = NULL;
	struct text why = { 0 };
	struct seen s = { 0 };

	(void)state;
	for (; (const u8 *)spec.addr < (const u8 *)five + 6; spec.addr = (const u8 *)spec.addr + 1)
		assert_int_equal(probe_add(&spec, 1, &p, &why), -EINVAL);
	assert_non_null(strstr(text_str(&why), "middle of an instruction"));
	text_free(&why);
	/* Also where the instruction before is probed, and another one than it was. */
	p = probe((const u8 *)five + 1, PROBE_ENTRY, on_entry, &s);
	spec.addr = (const u8 *)five + 3;
	assert_int_equal(probe_add(&spec, 1, &none, &why), -EINVAL);
	assert_int_equal(five(), 5);
	assert_int_equal(s.calls, 1);
	text_free(&why);
	probe_remove(&p, 1);
}

static void entry_sees_arguments(void **state)
{
	struct seen s = { 0 };
	struct probe *p = probe(add, PROBE_ENTRY, on_entry, &s);

	(void)state;
	assert_int_equal(probe_how(p), PROBE_JUMP);
	assert_int_equal(add(3, 4), 7);
	assert_int_equal(s.calls, 1);
	assert_int_equal((int)s.arg1, 3);
	assert_int_equal((int)s.arg2, 4);
	assert_true(s.ip == (u64)(uintptr_t)add);
	probe_remove(&p, 1);
	assert_int_equal(add(5, 6), 11);
	assert_int_equal(s.calls, 1);
}

static void return_sees_result(void **state)
{
	struct seen s = { 0 }, e = { 0 };
	struct probe *p = probe(add, PROBE_RETURN, on_return, &s);
	struct probe *q = probe(add, PROBE_ENTRY, on_entry, &e);

	(void)state;
	assert_int_equal(add(30, 12), 42);
	assert_int_equal(s.calls, 1);
	assert_int_equal(e.calls, 1);
	assert_int_equal((int)s.result, 42);
	assert_true(s.ip == (u64)(uintptr_t)add);
	probe_remove(&p, 1);
	assert_int_equal(add(1, 2), 3);
	assert_int_equal(e.calls, 2);
	probe_remove(&q, 1);
	assert_int_equal(s.calls, 1);
}

/* Bytes of code are as they were once all probes are gone. */
static void removal_restores_bytes(void **state)
{
	struct seen s = { 0 };
	u8 before[32];
	struct probe *p;
	int i;

	(void)state;
	memcpy(before, (void *)add, sizeof(before));
	for (i = 0; i < 20; i++) {
		p = probe(add, i & 1 ? PROBE_RETURN : PROBE_ENTRY, on_entry, &s);
		assert_memory_not_equal(before, (void *)add, sizeof(before));
		probe_remove(&p, 1);
		assert_memory_equal(before, (void *)add, sizeof(before));
	}
}

static NOCLONE u64 fib(u64 n)
{
	return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static void recursion_returns_each(void **state)
{
	struct seen s = { 0 }, e = { 0 };
	struct probe *p = probe(fib, PROBE_RETURN, on_return, &s);
	struct probe *q = probe(fib, PROBE_ENTRY, on_entry, &e);

	(void)state;
	assert_int_equal(fib(15), 610);
	assert_int_equal(s.calls, e.calls);
	assert_int_equal(s.result, 610);
	assert_true(s.calls >= 100); /* the compiler unrolls some */
	probe_remove(&p, 1);
	probe_remove(&q, 1);
}

static jmp_buf env;
/* It always leaps: the compiler notices. */
#pragma GCC diagnostic ignored "-Winfinite-recursion"
static NOCLONE void leap(int n)
{
	if (!n)
		longjmp(env, 1);
	leap(n - 1);
	__asm__ volatile("" ::: "memory");
}

static void longjmp_over_returns(void **state)
{
	struct seen s = { 0 }, t = { 0 };
	struct probe *p = probe(leap, PROBE_RETURN, on_return, &s);
	struct probe *q = probe(add, PROBE_RETURN, on_return, &t);
	volatile int i;

	(void)state;
	for (i = 0; i < 20000; i++)
		if (!setjmp(env))
			leap(i % 50);
	assert_int_equal(s.calls, 0);
	assert_int_equal(add(1, 1), 2);
	assert_int_equal(t.calls, 1);
	assert_int_equal(probe_missed(p), 0);
	probe_remove(&p, 1);
	probe_remove(&q, 1);
}

static void override(struct pt_regs *regs, void *arg)
{
	(void)arg;
	probe_override(regs, 99);
}

static void override_skips_function(void **state)
{
	struct probe *p = probe(add, PROBE_ENTRY, override, NULL);

	(void)state;
	assert_int_equal(add(1, 2), 99);
	probe_remove(&p, 1);
	assert_int_equal(add(1, 2), 3);
}

static NOCLONE double mix(double a, float b, long double c, double d)
{
	volatile double x = a * 2 + b;

	return x + (double)c + d;
}

static void uses_vectors(struct pt_regs *regs, void *arg)
{
	volatile double *sum = arg;

	(void)regs;
	__asm__ volatile("vpxor %%ymm0, %%ymm0, %%ymm0; vpxor %%ymm1, %%ymm1, %%ymm1; vpxor %%ymm15, %%ymm15, %%ymm15"
			 ::: "xmm0", "xmm1", "xmm15");
	*sum += 1;
}

static void vector_registers_are_kept(void **state)
{
	volatile double sum = 0;
	u8 in[32], out[32];
	struct probe *p, *q;
	int i;

	(void)state;
	if (!__builtin_cpu_supports("avx2"))
		return;
	p = probe(mix, PROBE_ENTRY, uses_vectors, (void *)&sum);
	q = probe(mix, PROBE_RETURN, uses_vectors, (void *)&sum);
	assert_true(mix(1.5, 2.5f, 3.5L, 4.0) == 13.0);
	assert_true(sum == 2);
	for (i = 0; i < 32; i++)
		in[i] = (u8)(i * 7 + 1);
	/* Upper halves in use: at the probe of a function called with all of ymm9 live. */
	__asm__ volatile("vmovdqu %[in], %%ymm9\n\tlea -256(%%rsp), %%rsp\n\tcall *%[fn]\n\tlea 256(%%rsp), %%rsp\n\t"
			 "vmovdqu %%ymm9, %[out]\n\tvzeroupper"
			 : [out] "=m"(out)
			 : [in] "m"(in), [fn] "r"(mix)
			 : "memory", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2",
			   "xmm3", "xmm9", "cc");
	assert_memory_equal(in, out, 32);
	probe_remove(&p, 1);
	probe_remove(&q, 1);
}

/* The trap instruction where a jump does not fit: a function of three bytes that another follows. */
__asm__(".text\n.p2align 4\ntiny:\n.cfi_startproc\nlea 1(%rdi), %eax\nret\n.cfi_endproc\n"
	"tiny2:\n.cfi_startproc\nlea 2(%rdi), %eax\nret\n.cfi_endproc\n");
int tiny(int);
int tiny2(int);

static void short_function_is_trapped(void **state)
{
	struct seen s = { 0 }, r = { 0 };
	struct probe *p = probe(tiny, PROBE_ENTRY, on_entry, &s);
	struct probe *q = probe(tiny, PROBE_RETURN, on_return, &r);

	(void)state;
	assert_int_equal(probe_how(p), PROBE_TRAP);
	assert_int_equal(tiny(7), 8);
	assert_int_equal(tiny2(7), 9);
	assert_int_equal(s.calls, 1);
	assert_int_equal(s.arg1, 7);
	assert_int_equal(r.result, 8);
	probe_remove(&p, 1);
	probe_remove(&q, 1);
	assert_int_equal(tiny(8), 9);
}

/* A loop that comes back to the second instruction: no jump may cover it. */
__asm__(".text\n.p2align 4\nlooper:\n.cfi_startproc\nxor %eax, %eax\n1: add %edi, %eax\ndec %edi\njnz 1b\nret\n.cfi_endproc\n");
int looper(int);

static void branch_into_bytes_is_trapped(void **state)
{
	struct seen s = { 0 };
	struct probe *p = probe(looper, PROBE_ENTRY, on_entry, &s);

	(void)state;
	assert_int_equal(probe_how(p), PROBE_TRAP);
	assert_int_equal(looper(10), 55);
	assert_int_equal(s.calls, 1);
	probe_remove(&p, 1);
}

/* Switches, as compilers make them: two bytes, then a table one of whose entries leads to the second instruction or not. */
#define SWITCH(name, second)                                                                                            \
	__asm__(".text\n.p2align 4\n" name ":\n.cfi_startproc\nxor %eax, %eax\n"                                     \
		"1: dec %edi\nlea 5f(%rip), %rdx\nmov %edi, %ecx\nand $3, %ecx\nmovslq (%rdx,%rcx,4), %rcx\n"           \
		"add %rdx, %rcx\n.byte 0x3e\njmp *%rcx\n2: add $1, %eax\n3: cmp $0, %edi\njg 4f\nret\n"                \
		"4: xor %edi, %edi\nret\n.cfi_endproc\n.section .rodata\n.p2align 2\n"                               \
		"5: .long 3b - 5b, 2b - 5b, " second " - 5b, 2b - 5b\n.previous\n")
SWITCH("goes_on", "4b");
SWITCH("comes_back", "1b");
int goes_on(int), comes_back(int);

/* The part of a function that lies elsewhere comes back to the second instruction. */
__asm__(".text\n.p2align 4\nin_parts:\n.cfi_startproc\nxor %eax, %eax\n1: add %edi, %eax\ndec %edi\njmp 2f\n"
	".cfi_endproc\nbetween: .cfi_startproc\nret\n.cfi_endproc\n"
	"in_parts.cold: .cfi_startproc\n2: jnz 1b\nret\n.cfi_endproc\n");
int in_parts(int);

static enum probe_how how_on(int (*fn)(int), int arg, int want)
{
	struct seen s = { 0 };
	struct probe *p = probe(fn, PROBE_ENTRY, on_entry, &s);
	enum probe_how how = probe_how(p);

	assert_int_equal(fn(arg), want);
	assert_int_equal(s.calls, 1);
	probe_remove(&p, 1);
	return how;
}

static void tables_of_switches_are_read(void **state)
{
	(void)state;
	assert_int_equal(how_on(goes_on, 6, 1), PROBE_JUMP);
	assert_int_equal(how_on(comes_back, 7, 1), PROBE_TRAP); /* 6 & 3 leads to the second instruction */
}

static void parts_elsewhere_are_read(void **state)
{
	(void)state;
	assert_int_equal(how_on(in_parts, 10, 55), PROBE_TRAP);
}

static void unmapped_is_refused(void **state)
{
	struct probe_spec spec = { (void *)0x10, PROBE_ENTRY, 0, on_entry, NULL };
	struct probe *p;
	struct text why = { 0 };

	(void)state;
	assert_int_equal(probe_add(&spec, 1, &p, &why), -EFAULT);
	assert_non_null(strstr(text_str(&why), "mapped"));
	text_free(&why);
}

static void returning_twice_is_refused(void **state)
{
	struct probe_spec spec = { (void *)vfork, PROBE_RETURN, 0, on_entry, NULL };
	struct text why = { 0 };
	struct probe *p;

	(void)state;
	assert_int_equal(probe_add(&spec, 1, &p, &why), -EINVAL);
	assert_non_null(strstr(text_str(&why), "twice"));
	text_free(&why);
}

/* A batch is added whole or not at all. */
static void failing_batch_leaves_nothing(void **state)
{
	struct seen s = { 0 };
	struct probe_spec specs[] = { { (void *)add, PROBE_ENTRY, 0, on_entry, &s },
				      { (void *)8, PROBE_ENTRY, 0, on_entry, &s } };
	struct probe *p[2];
	u8 before[16];

	(void)state;
	memcpy(before, (void *)add, sizeof(before));
	assert_int_equal(probe_add(specs, 2, p, NULL), -EFAULT);
	assert_memory_equal(before, (void *)add, sizeof(before));
	assert_int_equal(add(1, 2), 3);
	assert_int_equal(s.calls, 0);
}

static void child_of_fork_is_probed_and_can_remove(void **state)
{
	struct seen s = { 0 };
	struct probe *p = probe(add, PROBE_RETURN, on_return, &s);
	int status = -1;
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		add(1, 1);
		if (s.calls != 1)
			_exit(1);
		probe_remove(&p, 1);
		_exit(add(2, 2) != 4 || s.calls != 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(add(2, 3), 5);
	assert_int_equal(s.calls, 1);
	probe_remove(&p, 1);
}

static struct probe *inner;
static int inner_calls;

static NOCLONE int helper_of_hook(int x)
{
	volatile int y[2] = { x, ++inner_calls };

	return y[0] + 1;
}

static void calls_probed(struct pt_regs *regs, void *arg)
{
	on_entry(regs, arg);
	helper_of_hook(1);
}

/* A hook that comes by a probe itself does not run it: no endless nesting. */
static void hit_in_a_hook_is_ignored_and_counted(void **state)
{
	struct seen s = { 0 }, t = { 0 };
	struct probe *p = probe(add, PROBE_ENTRY, calls_probed, &s);

	(void)state;
	inner = probe(helper_of_hook, PROBE_ENTRY, on_entry, &t);
	assert_int_equal(add(1, 2), 3);
	assert_int_equal(s.calls, 1);
	assert_int_equal(t.calls, 0);
	assert_int_equal(inner_calls, 1);
	assert_int_equal(probe_missed(inner), 1);
	helper_of_hook(2);
	assert_int_equal(t.calls, 1);
	probe_remove(&inner, 1);
	probe_remove(&p, 1);
}

static void on_signal(int sig)
{
	(void)sig;
	add(10, 20);
}

/* Signals arrive anywhere: in stubs, hooks and slots too. */
static void signals_while_probed(void **state)
{
	struct itimerval often = { { 0, 100 }, { 0, 100 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction act = { .sa_handler = on_signal }, old;
	struct seen s = { 0 }, r = { 0 };
	struct probe *p = probe(add, PROBE_ENTRY, on_entry, &s);
	struct probe *q = probe(add, PROBE_RETURN, on_return, &r);
	int i;

	(void)state;
	sigaction(SIGALRM, &act, &old);
	setitimer(ITIMER_REAL, &often, NULL);
	for (i = 0; i < 2000000; i++)
		if (add(i, 1) != i + 1)
			break;
	setitimer(ITIMER_REAL, &never, NULL);
	sigaction(SIGALRM, &old, NULL);
	assert_int_equal(i, 2000000);
	assert_true(s.calls >= 2000000);
	probe_remove(&p, 1);
	probe_remove(&q, 1);
}

static _Atomic bool stop;
static _Atomic u64 worked;

static void *work(void *arg)
{
	u64 n = 0;

	(void)arg;
	while (!stop) {
		if (add((int)n, 1) != (int)n + 1 || fib(5) != 5)
			abort();
		n++;
	}
	worked += n;
	return NULL;
}

static void count_hit(struct pt_regs *regs, void *arg)
{
	(void)regs;
	__atomic_fetch_add((u64 *)arg, 1, __ATOMIC_RELAXED);
}

static void patching_under_threads_is_safe(void **state)
{
	pthread_t threads[2];
	struct probe *p, *q;
	u64 hits = 0;
	int i;

	(void)state;
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, NULL), 0);
	for (i = 0; i < 20; i++) {
		p = probe(add, i & 1 ? PROBE_ENTRY : PROBE_RETURN, count_hit, &hits);
		q = probe(fib, i & 2 ? PROBE_ENTRY : PROBE_RETURN, count_hit, &hits);
		probe_remove(&p, 1);
		probe_remove(&q, 1);
	}
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_true(worked > 0);
	print_message("# %llu calls, %llu hits\n", (unsigned long long)worked, (unsigned long long)hits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entry_sees_arguments),
		cmocka_unit_test(return_sees_result),
		cmocka_unit_test(removal_restores_bytes),
		cmocka_unit_test(recursion_returns_each),
		cmocka_unit_test(longjmp_over_returns),
		cmocka_unit_test(override_skips_function),
		cmocka_unit_test(vector_registers_are_kept),
		cmocka_unit_test(short_function_is_trapped),
		cmocka_unit_test(branch_into_bytes_is_trapped),
		cmocka_unit_test(tables_of_switches_are_read),
		cmocka_unit_test(parts_elsewhere_are_read),
		cmocka_unit_test(unmapped_is_refused),
		cmocka_unit_test(returning_twice_is_refused),
		cmocka_unit_test(failing_batch_leaves_nothing),
		cmocka_unit_test(child_of_fork_is_probed_and_can_remove),
		cmocka_unit_test(middle_of_an_instruction_is_refused),
		cmocka_unit_test(hit_in_a_hook_is_ignored_and_counted),
		cmocka_unit_test(signals_while_probed),
		cmocka_unit_test(patching_under_threads_is_safe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
