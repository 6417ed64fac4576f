/* SPDX-License-Identifier: MIT */
/*
 * What programs see at a probe, and how often they run: registers, addresses, cookies, recursion, frames that
 * are left. With the argument "kernel" (and FERRY=off) the same tests run on the kernel's uprobes.
 */
#include <asm/ptrace.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <setjmp.h>
#include <unistd.h>

#include "either.h"
#include "file_offset.h"
#include "test.h"

struct seen {
	unsigned long long calls, func_ip, cookies, sum;
	struct pt_regs regs;
};

static struct bpf_object *obj;

/* Nothing but a result and flags; by_jump has room for a jump, by_trap has not. */
long by_jump(long a), by_trap(long a);
__asm__(".text\n.p2align 4\n.type by_jump, @function\nby_jump:\n.cfi_startproc\n"
	"lea 0x11223344(%rdi), %rax\ncmp $1, %rdi\nret\n.cfi_endproc\n.size by_jump, . - by_jump\n"
	".type by_trap, @function\nby_trap:\n.cfi_startproc\nlea 1(%rdi), %eax\nret\n.cfi_endproc\n.size by_trap, . - by_trap\n"
	".type behind, @function\nbehind:\n.cfi_startproc\nlea 2(%rdi), %eax\nret\n.cfi_endproc\n");

#define HIDDEN __attribute__((visibility("hidden")))
HIDDEN unsigned long long known[17];
HIDDEN unsigned long long after[2];
/* Calls fn with known values in all registers; where rsp was is in known[15], the return address in known[16]. */
void call_known(void *fn);
__asm__(".text\n.p2align 4\n.type call_known, @function\ncall_known:\n.cfi_startproc\n"
	"push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\npush %rdi\n"
	".cfi_adjust_cfa_offset 56\n"
	"lea known(%rip), %rax\n"
	"mov 8(%rax), %rbx\nmov 16(%rax), %rcx\nmov 24(%rax), %rdx\nmov 32(%rax), %rsi\nmov 40(%rax), %rdi\n"
	"mov 48(%rax), %rbp\nmov 56(%rax), %r8\nmov 64(%rax), %r9\nmov 72(%rax), %r10\nmov 80(%rax), %r11\n"
	"mov 88(%rax), %r12\nmov 96(%rax), %r13\nmov 104(%rax), %r14\nmov 112(%rax), %r15\n"
	"lea 1f(%rip), %rax\nmov %rax, known+128(%rip)\nmov %rsp, known+120(%rip)\n"
	"mov known(%rip), %rax\nstc\n"
	"call *(%rsp)\n1:\n"
	"mov %rax, after(%rip)\nmov %rsp, after+8(%rip)\n"
	"pop %rdi\npop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\n"
	".cfi_adjust_cfa_offset -56\nret\n.cfi_endproc\n.size call_known, . - call_known\n");

static struct bpf_link *attach(const char *prog, const void *fn, bool ret, unsigned long long cookie)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = ret, .bpf_cookie = cookie);
	struct bpf_link *l;

	l = bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(obj, prog), 0, "/proc/self/exe",
					    file_offset(fn), &opts);
	if (!l)
		print_message("# attach: %s\n", strerror(errno));
	assert_non_null(l);
	return l;
}

static struct seen look(unsigned key)
{
	struct seen s = { 0 };

	assert_int_equal(bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "seen"), &key, &s), 0);
	return s;
}

static void clear(void)
{
	struct seen none = { 0 };
	unsigned key;

	for (key = 0; key < 4; key++)
		bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "seen"), &key, &none, BPF_ANY);
}

#define CF 1
static void check_entry(const struct pt_regs *r, const void *fn)
{
	unsigned i;

	assert_true(r->rax == known[0] && r->rbx == known[1] && r->rcx == known[2] && r->rdx == known[3]);
	assert_true(r->rsi == known[4] && r->rdi == known[5] && r->rbp == known[6] && r->r8 == known[7]);
	assert_true(r->r9 == known[8] && r->r10 == known[9] && r->r11 == known[10] && r->r12 == known[11]);
	assert_true(r->r13 == known[12] && r->r14 == known[13] && r->r15 == known[14]);
	assert_true(r->rsp == known[15] - 8);
	assert_true(r->rip == (unsigned long)fn);
	assert_int_equal(r->cs, 0x33);
	assert_int_equal(r->ss, 0x2b);
	assert_int_equal(r->eflags & CF, CF);
	for (i = 0; i < 15; i++)
		assert_true(known[i] == 0x0101010101010101ull * (i + 1));
}

static void registers_are_those_of_the_call(void **state)
{
	void *fns[] = { (void *)by_jump, (void *)by_trap };
	struct bpf_link *l[3];
	struct seen s;
	unsigned i, f;

	(void)state;
	for (f = 0; f < 2; f++) {
		for (i = 0; i < 15; i++)
			known[i] = 0x0101010101010101ull * (i + 1);
		clear();
		l[0] = attach("at_entry", fns[f], false, 0);
		l[1] = attach("fields", fns[f], false, 0);
		l[2] = attach("of_task", fns[f], false, 0);
		call_known(fns[f]);
		s = look(0);
		assert_int_equal(s.calls, 1);
		check_entry(&s.regs, fns[f]);
		s = look(2);
		assert_int_equal(s.calls, 1);
		check_entry(&s.regs, fns[f]);
		s = look(3);
		assert_int_equal(s.calls, 1);
		check_entry(&s.regs, fns[f]);
		assert_int_equal(s.sum, s.regs.rdi + s.regs.rip);
		bpf_link__destroy(l[0]);
		bpf_link__destroy(l[1]);
		bpf_link__destroy(l[2]);
	}
}

static void registers_after_the_return_are_the_callers(void **state)
{
	void *fns[] = { (void *)by_jump, (void *)by_trap };
	struct bpf_link *l;
	struct seen s;
	unsigned f;

	(void)state;
	for (f = 0; f < 2; f++) {
		clear();
		l = attach("at_return", fns[f], true, 0);
		call_known(fns[f]);
		s = look(1);
		assert_int_equal(s.calls, 1);
		assert_true(s.regs.rax == after[0]);
		assert_true(s.regs.rip == known[16]);
		assert_true(s.regs.rsp == known[15] && after[1] == known[15]);
		assert_true(s.regs.rbx == known[1] && s.regs.r15 == known[14] && s.regs.rdi == known[5]);
		assert_true(s.func_ip == (unsigned long)fns[f]);
		bpf_link__destroy(l);
	}
}

static void func_ip_is_the_probed_address(void **state)
{
	const char *inside = (const char *)by_jump + 7; /* its second instruction */
	struct bpf_link *l;

	(void)state;
	clear();
	l = attach("at_entry", (void *)by_jump, false, 0);
	by_jump(1);
	assert_true(look(0).func_ip == (unsigned long)by_jump);
	bpf_link__destroy(l);
	l = attach("at_entry", inside, false, 0);
	by_jump(1);
	assert_true(look(0).func_ip == (unsigned long)inside);
	assert_true(look(0).regs.rip == (unsigned long)inside);
	assert_int_equal(look(0).calls, 2);
	bpf_link__destroy(l);
}

static void probes_on_two_instructions_of_a_function_both_run(void **state)
{
	struct bpf_link *first, *second;

	(void)state;
	clear();
	first = attach("at_entry", (void *)by_trap, false, 0);
	second = attach("fields", (const char *)by_trap + 3, false, 0);
	assert_int_equal(by_trap(4), 5);
	assert_int_equal(look(0).calls, 1);
	assert_int_equal(look(2).calls, 1);
	bpf_link__destroy(first);
	assert_int_equal(by_trap(5), 6);
	assert_int_equal(look(0).calls, 1);
	assert_int_equal(look(2).calls, 2);
	bpf_link__destroy(second);
}

static void each_attachment_has_its_cookie(void **state)
{
	struct bpf_link *l[] = { attach("at_entry", (void *)by_jump, false, 1), attach("at_entry", (void *)by_jump, false, 20),
				 attach("at_entry", (void *)by_jump, false, 300), attach("at_return", (void *)by_jump, true, 4000) };

	(void)state;
	clear();
	by_jump(1);
	assert_int_equal(look(0).calls, 3);
	assert_int_equal(look(0).cookies, 321);
	assert_int_equal(look(1).cookies, 4000);
	bpf_link__destroy(l[1]);
	by_jump(1);
	assert_int_equal(look(0).calls, 5);
	assert_int_equal(look(0).cookies, 321 + 301);
	bpf_link__destroy(l[0]);
	bpf_link__destroy(l[2]);
	bpf_link__destroy(l[3]);
	by_jump(1);
	assert_int_equal(look(0).calls, 5);
	assert_int_equal(look(1).calls, 2);
}

__attribute__((noinline, noclone, optimize("no-optimize-sibling-calls"))) static long depth(long n)
{
	volatile long x = n;

	return x ? depth(x - 1) + 1 : 0;
}

static void recursion_is_seen_at_each_level(void **state)
{
	struct bpf_link *l[] = { attach("at_entry", (void *)depth, false, 0), attach("at_return", (void *)depth, true, 0) };

	(void)state;
	clear();
	assert_int_equal(depth(20), 20);
	assert_int_equal(look(0).calls, 21);
	assert_int_equal(look(1).calls, 21);
	assert_int_equal(look(1).sum, 210);
	bpf_link__destroy(l[0]);
	bpf_link__destroy(l[1]);
}

static jmp_buf away;
/* It always leaves: the compiler notices. */
#pragma GCC diagnostic ignored "-Winfinite-recursion"
__attribute__((noinline, noclone)) static long leaves(long n)
{
	volatile long x = n;

	if (!x)
		longjmp(away, 1);
	return leaves(x - 1) + 1;
}

static void frames_left_by_longjmp_do_not_return(void **state)
{
	struct bpf_link *l[] = { attach("at_return", (void *)leaves, true, 0), attach("at_return", (void *)depth, true, 0) };
	volatile int i;

	(void)state;
	clear();
	for (i = 0; i < 30; i++)
		if (!setjmp(away))
			leaves(i % 7);
	assert_int_equal(look(1).calls, 0);
	assert_int_equal(depth(3), 3);
	assert_int_equal(look(1).calls, 4);
	bpf_link__destroy(l[0]);
	bpf_link__destroy(l[1]);
}

static struct bpf_link *dropped;
__attribute__((noinline, noclone)) static long drops(long n)
{
	volatile long x = n;

	bpf_link__destroy(dropped);
	return x + 1;
}

static void link_destroyed_inside_the_function_sees_no_return(void **state)
{
	(void)state;
	clear();
	dropped = attach("at_return", (void *)drops, true, 0);
	assert_int_equal(drops(3), 4);
	assert_int_equal(look(1).calls, 0);
}

static int setup(void **state)
{
	(void)state;
	obj = bpf_object__open_file(getenv("CONTEXT_OBJECT"), NULL);
	return !obj || bpf_object__load(obj) ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	bpf_object__close(obj);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_are_those_of_the_call),
		cmocka_unit_test(registers_after_the_return_are_the_callers),
		cmocka_unit_test(func_ip_is_the_probed_address),
		cmocka_unit_test(probes_on_two_instructions_of_a_function_both_run),
		cmocka_unit_test(each_attachment_has_its_cookie),
		cmocka_unit_test(recursion_is_seen_at_each_level),
		cmocka_unit_test(frames_left_by_longjmp_do_not_return),
		cmocka_unit_test(link_destroyed_inside_the_function_sees_no_return),
	};

	if (no_kernel(argc, argv, "/sys/bus/event_source/devices/uprobe/type"))
		return skip_all("no uprobes of the machine's kernel");
	return cmocka_run_group_tests(tests, setup, teardown);
}
