/* SPDX-License-Identifier: MIT */
/*
 * What is said where the machine's policy forbids to trace: with Yama's levels as the file of them would say, and memory
 * of other processes that cannot be opened. The linker leads open() and fopen() here (--wrap).
 */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inject/inject_int.h"
#include "test.h"

int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);
int __real_open(const char *path, int flags, ...);
FILE *__real_fopen(const char *path, const char *mode);

static char scope[8]; /* "": no such file */
static bool denied;

/* What is tested creates no files: no mode. */
int __wrap_open(const char *path, int flags, ...)
{
	size_t n = strlen(path);

	if (denied && n > 4 && !strcmp(path + n - 4, "/mem")) {
		errno = EACCES;
		return -1;
	}
	return __real_open(path, flags);
}

int __wrap_open64(const char *path, int flags, ...)
{
	return __wrap_open(path, flags);
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
	if (strcmp(path, "/proc/sys/kernel/yama/ptrace_scope"))
		return __real_fopen(path, mode);
	return *scope ? fmemopen(scope, strlen(scope), "r") : NULL;
}

FILE *__wrap_fopen64(const char *path, const char *mode)
{
	return __wrap_fopen(path, mode);
}

/* What is said of a child that only waits. */
static int ask(const char *level, struct text *why)
{
	struct target t = { 0 };
	pid_t child = fork();
	int err;

	if (!child)
		for (;;)
			pause();
	snprintf(scope, sizeof(scope), "%s", level);
	err = target_read(&t, child, why);
	target_free(&t);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return err;
}

static bool may_trace(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2] = { { 0 } };

	assert_int_equal(syscall(SYS_capget, &head, sets), 0);
	return sets[0].effective >> CAP_SYS_PTRACE & 1;
}

static void expect(const char *level, const char *able, const char *other)
{
	struct text why = { 0 };

	denied = true;
	assert_int_equal(ask(level, &why), -EPERM);
	denied = false;
	if (!strstr(why.s, may_trace() ? able : other))
		fail_msg("level '%s': %s", level, why.s);
	text_free(&why);
}

static void what_may_be_traced_is_read(void **state)
{
	struct text why = { 0 };

	(void)state;
	assert_int_equal(ask("1", &why), 0); /* a child: the level does not matter */
	text_free(&why);
}

static void what_would_allow_it_is_said(void **state)
{
	const char *policy = "policy forbids it (AppArmor, SELinux)";

	(void)state;
	expect("", policy, policy);
	expect("0\n", policy, policy);
	/* CAP_SYS_PTRACE is enough for levels 1 and 2: it is something else then. */
	expect("1\n", policy, "ptrace_scope is 1 here, which leaves that to a process's parents. 'sudo sysctl kernel.yama.ptrace_scope=0'");
	expect("2\n", policy, "ptrace_scope is 2 here, which leaves that to root. 'sudo sysctl kernel.yama.ptrace_scope=0'");
	expect("3\n", "until the next boot; what is started with 'ferry exec'", "until the next boot; what is started with 'ferry exec'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_may_be_traced_is_read),
		cmocka_unit_test(what_would_allow_it_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
