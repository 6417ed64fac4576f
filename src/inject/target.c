/* SPDX-License-Identifier: MIT */
/* A process as /proc shows it: may we, can we, and what is mapped where. */
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "code/code.h"
#include "inject/inject_int.h"

int target_get(pid_t pid, u64 addr, void *to, size_t n)
{
	struct iovec here = { to, n }, there = { (void *)(uintptr_t)addr, n };
	ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);

	return got == (ssize_t)n ? 0 : got < 0 ? -errno : -EFAULT;
}

int target_put(const struct target *t, u64 addr, const void *from, size_t n)
{
	ssize_t got = t->memory > 0 ? pwrite(t->memory, from, n, (off_t)addr) : 0;

	return got == (ssize_t)n ? 0 : got < 0 ? -errno : -EIO;
}

/* ---- status ------------------------------------------------------------------------------------- */

/* The text behind `field` in the status file; false: no such process, thread or field. */
static bool status_text(pid_t pid, pid_t tid, const char *field, char *out, size_t size)
{
	size_t n = strlen(field);
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		found = !strncmp(line, field, n);
		if (found)
			snprintf(out, size, "%s", line + n + strspn(line + n, " \t"));
	}
	fclose(f);
	return found;
}

s64 target_status(pid_t pid, pid_t tid, const char *field, int base)
{
	char text[64];

	return status_text(pid, tid, field, text, sizeof(text)) ? (s64)strtoull(text, NULL, base) : -1;
}

char target_state(pid_t pid, pid_t tid)
{
	char text[64];

	return status_text(pid, tid, "State:", text, sizeof(text)) ? text[0] : 0;
}

bool target_is_over(pid_t pid)
{
	char state = target_state(pid, pid);

	return !state || state == 'Z' || state == 'X';
}

static int check_owner(pid_t pid, struct text *why)
{
	unsigned int real, effective;
	char uids[64];

	if (!status_text(pid, pid, "Uid:", uids, sizeof(uids)) ||
	    sscanf(uids, "%u %u", &real, &effective) != 2) {
		text_printf(why, "no process has the number %d", pid);
		return -ESRCH;
	}
	if (effective == code_euid() && real == effective)
		return 0;
	/* Even for root: the process itself opens its user's session. */
	text_printf(why, "process %d belongs to user %u; it is for that user to attach to it", pid, effective);
	return -EPERM;
}

static int check_state(pid_t pid, struct text *why)
{
	s64 tracer = target_status(pid, pid, "TracerPid:", 10);
	char state = target_state(pid, pid), name[64];

	if (tracer > 0) {
		if (!status_text((pid_t)tracer, (pid_t)tracer, "Name:", name, sizeof(name)))
			strcpy(name, "?");
		name[strcspn(name, "\n")] = '\0';
		text_clean(name);
		text_printf(why, "process %d is being traced by process %d (%s): one tracer at a time", pid,
			    (int)tracer, name);
		return -EBUSY;
	}
	if (state == 'T') {
		text_printf(why, "process %d is stopped; let it go on first (kill -CONT %d)", pid, pid);
		return -EBUSY;
	}
	if ((state == 'Z' || state == 'X') && target_status(pid, pid, "Threads:", 10) <= 1) {
		text_printf(why, "process %d has ended", pid);
		return -ESRCH;
	}
	return 0;
}

/* A filter may end the process for a call that it does not know. One that we have too does not. */
static int check_seccomp(pid_t pid, struct text *why)
{
	s64 theirs = target_status(pid, pid, "Seccomp_filters:", 10);
	s64 ours = target_status(getpid(), getpid(), "Seccomp_filters:", 10);
	s64 mode = target_status(pid, pid, "Seccomp:", 10);

	if (mode <= 0 || (mode == 2 && theirs >= 0 && theirs <= ours))
		return 0;
	text_printf(why,
		    "process %d has system calls filtered (seccomp), and might be ended for those that attaching "
		    "takes; --force tries all the same",
		    pid);
	return -EPERM;
}

static int check_machine(pid_t pid, struct text *why)
{
	char path[40];
	Elf64_Ehdr eh;
	int fd, err = 0;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		bool kernel = pid == 2 || target_status(pid, pid, "PPid:", 10) == 2;

		text_printf(why, kernel ? "process %d is the kernel's" : "process %d has ended meanwhile", pid);
		return kernel ? -ENOTSUP : -ESRCH;
	}
	if (fd < 0)
		return 0; /* who may not look at it may not trace it either, and hears why then */
	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != EM_X86_64) {
		text_printf(why, "process %d does not run 64-bit x86-64 code", pid);
		err = -ENOTSUP;
	}
	close(fd);
	return err;
}

/* What Yama lets who has not CAP_SYS_PTRACE trace: 0 all of its own, 1 descendants, 2 and 3 nothing. */
static int trace_scope(void)
{
	s64 able = target_status(getpid(), getpid(), "CapEff:", 16);
	int scope = 0;
	FILE *f = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");

	if (f) {
		if (fscanf(f, "%d", &scope) != 1)
			scope = 0;
		fclose(f);
	}
	return scope < 3 && able > 0 && able >> CAP_SYS_PTRACE & 1 ? 0 : scope;
}

int target_refused(pid_t pid, struct text *why)
{
	int scope = trace_scope();

	text_printf(why, "process %d may not be traced: ", pid);
	if (scope <= 0)
		text_puts(why, "it is not dumpable, has capabilities, or the machine's policy forbids it (AppArmor, SELinux)");
	else if (scope < 3)
		text_printf(why,
			    "kernel.yama.ptrace_scope is %d here, which leaves that to %s. 'sudo sysctl "
			    "kernel.yama.ptrace_scope=0' allows it until the next boot; what is started with 'ferry exec' "
			    "needs no tracing",
			    scope, scope == 1 ? "a process's parents" : "root");
	else
		text_printf(why,
			    "kernel.yama.ptrace_scope is %d here, which forbids it to all until the next boot; what is "
			    "started with 'ferry exec' needs no tracing",
			    scope);
	return -EPERM;
}

int target_check(pid_t pid, u32 flags, struct text *why)
{
	int err;

	if (pid <= 0 || (kill(pid, 0) && errno == ESRCH)) {
		text_printf(why, "no process has the number %d", pid);
		return -ESRCH;
	}
	if (pid == getpid()) {
		text_puts(why, "a process does not attach to itself");
		return -EINVAL;
	}
	if (target_status(pid, pid, "Tgid:", 10) != pid) {
		text_printf(why, "%d is a thread of process %d: give that", pid,
			    (int)target_status(pid, pid, "Tgid:", 10));
		return -EINVAL;
	}
	err = check_owner(pid, why);
	if (!err)
		err = check_state(pid, why);
	if (!err && !(flags & INJECT_FORCE))
		err = check_seccomp(pid, why);
	return err ? err : check_machine(pid, why);
}

/* ---- mappings ----------------------------------------------------------------------------------- */

static int add_module(struct target *t, struct mapping *m)
{
	struct module *grown = base_grow(t->modules, &t->modules_cap, t->nmodules + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	t->modules = grown;
	if (!elf_read_module(t, m->start, m->path, &t->modules[t->nmodules]))
		m->module = (u32)++t->nmodules;
	return 0;
}

#define MAX_MODULES 4096 /* files that are looked into: not for ever */

/* Parts of one file lie in order behind its first. */
static int find_modules(struct target *t)
{
	struct mapping *first = NULL, *m;
	int err = 0;

	for (m = t->maps; m < t->maps + t->nmaps && !err; m++) {
		if (m->path[0] != '/' && strcmp(m->path, "[vdso]"))
			continue;
		if (first && first->module && m->ino && m->ino == first->ino && m->dev == first->dev &&
		    m->offset) {
			m->module = first->module;
		} else if (!m->offset && m->read && t->nmodules < MAX_MODULES) {
			first = m;
			err = add_module(t, m);
		}
	}
	return err;
}

static int add_mapping(struct target *t, const char *line)
{
	struct mapping *m = base_grow(t->maps, &t->cap, t->nmaps + 1, sizeof(*m));
	unsigned int major, minor;
	char flags[8];
	int at = 0;

	if (!m)
		return -ENOMEM;
	t->maps = m;
	m += t->nmaps;
	memset(m, 0, sizeof(*m));
	if (sscanf(line, "%lx-%lx %7s %lx %x:%x %lu %n", &m->start, &m->end, flags, &m->offset, &major, &minor,
		   &m->ino, &at) < 7)
		return 0;
	m->dev = makedev(major, minor);
	m->read = flags[0] == 'r';
	m->write = flags[1] == 'w';
	m->exec = flags[2] == 'x';
	m->path = arena_strdup(&t->mem, line + at);
	if (!m->path)
		return -ENOMEM;
	m->path[strcspn(m->path, "\n")] = '\0';
	t->nmaps++;
	return 0;
}

/* Never 0, which is none. */
static int open_memory(pid_t pid)
{
	char path[40];
	int fd, high;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	close(fd);
	return high;
}

int target_read(struct target *t, pid_t pid, struct text *why)
{
	char path[40], *line = NULL;
	bool refused = false;
	size_t room = 0;
	int err = 0;
	FILE *f;

	target_free(t);
	t->pid = pid;
	/* Before anything is read of the program: what is written then reaches this one or none. */
	t->memory = open_memory(pid);
	if (t->memory < 0)
		refused = errno == EACCES || errno == EPERM;
	err = target_read_loaded(t);
	if (err) {
		text_printf(why, err == -EAGAIN ? "process %d is starting, or loading libraries" : "process %d: out of memory", pid);
		return err;
	}
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	if (!f) {
		err = errno == ENOENT || errno == ESRCH ? -ESRCH : -EPERM;
		text_printf(why, "process %d %s", pid,
			    err == -ESRCH ? "has ended" : "does not let others look at it (it is not dumpable, or privileged)");
		return err;
	}
	/* Who may look at it, but not into its memory, may not trace it either (ptrace(2), access mode checking). */
	if (refused) {
		fclose(f);
		return target_refused(pid, why);
	}
	while (!err && getline(&line, &room, f) >= 0)
		err = add_mapping(t, line);
	free(line);
	fclose(f);
	if (!err)
		err = find_modules(t);
	if (!err && !t->nmaps)
		err = -ESRCH;
	if (err)
		text_printf(why, err == -ESRCH ? "process %d has ended" : "process %d: out of memory", pid);
	return err;
}

void target_free(struct target *t)
{
	if (t->memory > 0)
		close(t->memory);
	base_free(t->maps);
	base_free(t->modules);
	base_free(t->loaded);
	arena_free(&t->mem);
	memset(t, 0, sizeof(*t));
}

const struct mapping *target_mapping(const struct target *t, u64 addr)
{
	size_t i;

	for (i = 0; i < t->nmaps; i++)
		if (addr >= t->maps[i].start && addr < t->maps[i].end)
			return &t->maps[i];
	return NULL;
}
