/* SPDX-License-Identifier: MIT */
/* Code that may fault: it goes on, whoever else faults is the host's business. */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "test.h"

#include "code/code.h"
#include "signals.h"

static u8 *two_pages(void) /* the second one cannot be read */
{
	u8 *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p + 4096, 4096, PROT_NONE), 0);
	return p;
}

static void copies_are_memcpy(void **state)
{
	static u8 src[5000], dst[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(src); i++)
		src[i] = (u8)(i * 7 + (i >> 8));
	for (size_t n = 0; n < 4097; n = n < 300 ? n + 1 : n * 2 - 7) {
		memset(dst, 0xaa, sizeof(dst));
		assert_int_equal(code_copy_safe(dst, src + 3, n), 0);
		assert_memory_equal(dst, src + 3, n);
		assert_int_equal(dst[n], 0xaa);
	}
}

static void a_bad_address_is_efault(void **state)
{
	static const uintptr_t bad[] = { 0, 1, 4095, 0x7ffffffff000, 0x8000000000000000,
					 0xffff800000000000, UINTPTR_MAX, UINTPTR_MAX - 7 };
	u8 dst[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		for (size_t n = 0; n <= sizeof(dst); n = n ? n * 2 : 1)
			assert_int_equal(code_copy_safe(dst, (const void *)bad[i], n),
					 n ? -EFAULT : 0);
		assert_int_equal(code_copy_string_safe((char *)dst, (const char *)bad[i], 8), -EFAULT);
		assert_int_equal(code_copy_string_safe((char *)dst, (const char *)bad[i], 0), 0);
	}
}

static void a_copy_stops_at_the_page_that_cannot_be_read(void **state)
{
	u8 *p = two_pages(), dst[1024];

	(void)state;
	memset(p, 'x', 4096);
	for (size_t n = 1; n < 600; n += 13) {
		assert_int_equal(code_copy_safe(dst, p + 4096 - n, n), 0);
		assert_int_equal(code_copy_safe(dst, p + 4096 - n, n + 1), -EFAULT);
	}
	assert_int_equal(code_copy_string_safe((char *)dst, (char *)p + 4000, 96), 96);
	assert_int_equal(code_copy_string_safe((char *)dst, (char *)p + 4000, 97), -EFAULT);
	p[4095] = 0;
	assert_int_equal(code_copy_string_safe((char *)dst, (char *)p + 4000, 200), 96);
	munmap(p, 8192);
}

static void a_file_cut_short_is_efault(void **state)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	u8 *p, dst[8];

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	assert_int_equal(code_copy_safe(dst, p, 8), 0);
	assert_int_equal(ftruncate(fd, 0), 0); /* reading it is SIGBUS now */
	assert_int_equal(code_copy_safe(dst, p, 8), -EFAULT);
	munmap(p, 4096);
	close(fd);
}

static void *copy_badly(void *arg)
{
	u8 dst[64];

	for (int i = 0; i < 20000; i++)
		if (code_copy_safe(dst, (void *)8, sizeof(dst)) != -EFAULT)
			return arg;
	return NULL;
}

/* mov rax, [rdi]; ret: a load that may fault, as generated code has it. */
static const u8 load[] = { 0x48, 0x8b, 0x07, 0xc3 };

static void set_rax(const struct code_fault *f, void *ucontext, const void *addr)
{
	ucontext_t *uc = ucontext;

	(void)addr;
	uc->uc_mcontext.gregs[REG_RAX] = (greg_t)f->arg;
}

static struct code_region *loader(struct code_fault *f)
{
	struct code_region *r;
	const u8 *code;

	assert_int_equal(code_alloc(sizeof(load), NULL, &r), 0);
	memcpy(code_write(r), load, sizeof(load));
	assert_int_equal(code_seal(r), 0);
	code = code_addr(r);
	*f = (struct code_fault){ code, code + 3, code + 3, set_rax, (void *)0x1234 };
	return r;
}

static u64 run_loader(const struct code_region *r, u64 addr)
{
	return ((u64(*)(u64))(uintptr_t)code_addr(r))(addr);
}

static void entries_say_where_to_go_on(void **state)
{
	struct code_fault f;
	struct code_region *r = loader(&f);
	u64 x = 77;

	(void)state;
	assert_int_equal(code_fault_add(&f, 1), 0);
	assert_int_equal(run_loader(r, (u64)(uintptr_t)&x), 77);
	assert_int_equal(run_loader(r, 16), 0x1234);
	assert_int_equal(code_fault_add(&f, 1), -EEXIST);
	code_fault_remove(f.start, f.end);
	assert_int_equal(code_fault_add(&f, 1), 0);
	assert_int_equal(run_loader(r, 16), 0x1234);
	code_fault_remove(f.start, f.end);
	code_free(r);
}

static void the_table_changes_while_others_fault(void **state)
{
	struct code_fault f[64];
	struct code_region *r[64];
	pthread_t t[2];
	void *failed;

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, copy_badly, t), 0);
	for (int i = 0; i < 64; i++) {
		r[i] = loader(&f[i]);
		assert_int_equal(code_fault_add(&f[i], 1), 0);
		assert_int_equal(run_loader(r[i / 2], 16), 0x1234);
	}
	for (int i = 0; i < 64; i++) {
		code_fault_remove(f[i].start, f[i].end);
		code_free(r[i]);
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(t[i], &failed);
		assert_null(failed);
	}
}

/* ---- the host's faults ----------------------------------------------------------------------- */

static volatile sig_atomic_t host_saw;

static void host_handler(int sig, siginfo_t *info, void *ucontext)
{
	ucontext_t *uc = ucontext;

	host_saw = sig == SIGSEGV && info->si_addr == (void *)16 ? 1 : 2;
	uc->uc_mcontext.gregs[REG_RIP] += 3; /* past the load */
}

static void other_faults_reach_the_hosts_handler(void **state)
{
	struct sigaction host = { .sa_sigaction = host_handler, .sa_flags = SA_SIGINFO }, old;
	struct code_fault f;
	struct code_region *r = loader(&f);

	(void)state;
	assert_int_equal(code_copy_safe(&f, &f, 0), 0); /* the handlers are there now */
	assert_true(code_fault_owns(SIGSEGV) && code_fault_owns(SIGBUS));
	assert_false(code_fault_owns(SIGILL)); /* only once a guarded call exists */
	assert_int_equal(code_fault_host_action(SIGSEGV, &host, &old), 0);
	host_saw = 0;
	run_loader(r, 16); /* not in the table */
	assert_int_equal(host_saw, 1);
	assert_int_equal(code_fault_host_action(SIGSEGV, &old, NULL), 0);
	code_free(r);
}

static void a_handler_that_was_there_before_is_called(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		execl("/proc/self/exe", "test_fault", "--before", NULL);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int before(void)
{
	struct sigaction host = { .sa_sigaction = host_handler, .sa_flags = SA_SIGINFO };
	struct code_fault f;
	struct code_region *r;
	u8 b;

	sigaction(SIGSEGV, &host, NULL);
	r = loader(&f);
	if (code_copy_safe(&b, (void *)8, 1) != -EFAULT || host_saw)
		return 1;
	run_loader(r, 16);
	code_free(r);
	return host_saw == 1 ? 0 : 2;
}

static void without_a_host_handler_a_fault_kills(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		execl("/proc/self/exe", "test_fault", "--die", NULL);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static int die(void)
{
	struct code_fault f;
	struct code_region *r = loader(&f);
	u8 b;

	signal(SIGSEGV, SIG_DFL);
	if (code_copy_safe(&b, (void *)8, 1) != -EFAULT)
		return 1;
	return (int)run_loader(r, 16);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_are_memcpy),
		cmocka_unit_test(a_bad_address_is_efault),
		cmocka_unit_test(a_copy_stops_at_the_page_that_cannot_be_read),
		cmocka_unit_test(a_file_cut_short_is_efault),
		cmocka_unit_test(entries_say_where_to_go_on),
		cmocka_unit_test(the_table_changes_while_others_fault),
		cmocka_unit_test(other_faults_reach_the_hosts_handler),
		cmocka_unit_test(a_handler_that_was_there_before_is_called),
		cmocka_unit_test(without_a_host_handler_a_fault_kills),
	};

	if (argc > 1)
		return strcmp(argv[1], "--die") ? before() : die();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
