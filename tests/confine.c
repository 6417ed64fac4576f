/* SPDX-License-Identifier: MIT */
/*
 * Runs a command as an ordinary user with bpf(2) and perf_event_open(2) blocked: what passes under
 * it used no kernel eBPF. With FERRY_CONFINE_WX=deny, neither it nor its children can have memory that may be both
 * written and executed, at no moment. `confine COMMAND [ARG...]`; FERRY_CONFINE=0 only runs the command.
 */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

static void die(const char *what)
{
	fprintf(stderr, "confine: %s: %s\n", what, strerror(errno));
	exit(99);
}

/* May other users reach this file? A checkout below a private home directory is out of reach. */
static int reachable(const char *file)
{
	char path[PATH_MAX], *slash;
	struct stat st;

	if (!realpath(file, path))
		return 1;
	while ((slash = strrchr(path, '/')) && slash != path) {
		*slash = '\0';
		if (!stat(path, &st) && !(st.st_mode & S_IXOTH))
			return 0;
	}
	return 1;
}

static void become_ordinary(char **argv)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	int all = reachable("/proc/self/exe");

	if (getuid())
		return;
	for (; *argv; argv++)
		all = all && reachable(*argv);
	if (all) {
		if (setgroups(0, NULL) || setgid(65534) || setuid(65534))
			die("cannot become an ordinary user");
		return;
	}
	/* Then as the owner of the files, without any of root's powers, also after exec. */
	if ((!(prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) & SECBIT_NOROOT_LOCKED) &&
	     prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED, 0, 0, 0)) ||
	    syscall(SYS_capset, &head, none))
		die("cannot drop capabilities");
}

int main(int argc, char **argv)
{
	const char *env = getenv("FERRY_CONFINE"), *wx = getenv("FERRY_CONFINE_WX");
	/* EPERM, the answer of a kernel that denies: as in most containers. */
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_perf_event_open, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		/* EACCES, the answer of a kernel that keeps to W^X (SELinux's execmem). */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pkey_mprotect, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])), /* prot: the lower half */
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, wx && !strcmp(wx, "deny") ? PROT_WRITE | PROT_EXEC : 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROT_WRITE | PROT_EXEC, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	if (argc < 2) {
		fprintf(stderr, "usage: confine COMMAND [ARG...]\n");
		return 99;
	}
	if (!env || strcmp(env, "0")) {
		become_ordinary(argv + 1);
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
			die("cannot block bpf(2)");
		/* What root owned of /proc/self is ours again: core dumps and /proc/self/fd work. */
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	}
	execvp(argv[1], argv + 1);
	die(argv[1]);
}
