/* SPDX-License-Identifier: MIT */
/* Private to src/inject: what is known of the target, its symbols, and the borrowed thread. */
#ifndef FERRY_INJECT_INT_H
#define FERRY_INJECT_INT_H

#include <sys/user.h>

#include "inject/blob.h"
#include "inject/inject.h"

/* ---- target.c: a process as /proc shows it ------------------------------------------------------ */

struct mapping {
	u64 start, end, offset, dev, ino;
	bool read, write, exec;
	u32 module; /* its place in `modules` + 1; 0: no file, or no ELF */
	char *path; /* "" for none; of the arena */
};

/* A loaded ELF file, as it is in the target's memory: whatever it says is checked. */
struct module {
	u64 base, bias; /* bias: added to addresses of the file */
	u64 symbols, strings, gnu_hash, strings_size;
	u64 text_end; /* of its code in the file: the rest of the page is nobody's */
	const char *path;
	bool allocates; /* malloc() is here, or the dynamic linker: a thread inside may hold its locks */
};

struct target {
	pid_t pid;
	int memory; /* descriptor of /proc/PID/mem: of the program that it was opened of, though another may have begun */
	struct arena mem;
	struct mapping *maps;
	size_t nmaps, cap;
	struct module *modules;
	size_t nmodules, modules_cap;
	/* loaded.c */
	u64 auxv[64];
	size_t nauxv; /* bytes */
	u64 *loaded;  /* dynamic sections */
	size_t nloaded, loaded_cap;
};

/* Why it cannot be done, before anything is touched: 0 or -errno. */
int target_check(pid_t pid, u32 flags, struct text *why);
int target_refused(pid_t pid, struct text *why); /* -EPERM: it may not be traced, and what would allow it */
int target_read(struct target *t, pid_t pid, struct text *why);
void target_free(struct target *t);
const struct mapping *target_mapping(const struct target *t, u64 addr);
/* Memory of the target: 0, or -errno when not all of it is there. */
int target_get(pid_t pid, u64 addr, void *to, size_t n);
/* After an execve(2) it reaches nothing: -EIO. */
int target_put(const struct target *t, u64 addr, const void *from, size_t n);
/* A number of /proc/PID/task/TID/status ("TracerPid:"), in `base`; -1: none. */
s64 target_status(pid_t pid, pid_t tid, const char *field, int base);
char target_state(pid_t pid, pid_t tid); /* 'R', 'S', 'T'...; 0: gone */
bool target_is_over(pid_t pid);          /* gone, or dead and not yet waited for */

/* ---- loaded.c: its program, and what the dynamic linker has loaded -------------------------------- */

int target_read_loaded(struct target *t); /* 0, -EAGAIN: it is starting, -ENOMEM */
bool target_is_loaded(const struct target *t, u64 dynamic); /* has something loaded its dynamic section there? */
bool target_changed(const struct target *t); /* execve(2) since it was read */
bool target_has_memory(const struct target *t); /* what ends has none */

/* ---- elf.c: symbols in the target's memory ------------------------------------------------------ */

int elf_read_module(struct target *t, u64 base, const char *path, struct module *m);
u64 elf_symbol(const struct target *t, const struct module *m, const char *name); /* 0: none */
/* In the C library, else wherever it is. */
u64 elf_find(const struct target *t, const char *name);
/* 128 bytes that can run and that nobody uses: behind the code of some file. 0: none. */
u64 elf_cave(const struct target *t);

/* ---- borrow.c: a thread that is stopped for a moment --------------------------------------------- */

struct borrowed {
	const struct target *t;
	pid_t tid;
	struct user_regs_struct regs; /* as it goes on, interrupted system call and all */
	u64 cave;                     /* code bytes nobody uses */
	bool dispatched;              /* its system calls raised SIGSYS: how, */
	u64 dispatch[4];              /* struct ptrace_sud_config */
};

/*
 * Stops a thread of the target at a point where it holds no lock of the C library's. 0; -EAGAIN: not
 * at such a point, try again; -ESTALE: it runs another program than that which was read; or another -errno.
 */
int borrow_thread(const struct target *t, pid_t tid, struct borrowed *b, struct text *why);
/*
 * A system call by the borrowed thread: 0 with *ret; -EAGAIN: a signal came first (the thread goes on
 * with it and is borrowed no more), -ESRCH.
 */
int borrow_syscall(struct borrowed *b, long nr, const u64 args[6], s64 *ret);
/* It goes on at `rip` with stack `rsp`, or, with 0, where it was. It is borrowed no more. */
int borrow_return(struct borrowed *b, u64 rip, u64 rsp);

/* ---- inject.c, for load.c ------------------------------------------------------------------------ */

/* Calls a function at an address there: 0, -ESRCH, -ETIMEDOUT. */
int inject_raw(struct inject *in, u64 fn, const u64 args[6], u32 timeout_ms, u64 *ret, struct text *why);
/* A string where the target can read it, until the next one: 0 with its address. */
int inject_text(struct inject *in, const char *s, u64 *at);
u64 inject_fn_dlopen(const struct inject *in);
u64 inject_fn_dlerror(const struct inject *in);
pid_t inject_pid(const struct inject *in);
const struct target *inject_target(const struct inject *in);

#endif
