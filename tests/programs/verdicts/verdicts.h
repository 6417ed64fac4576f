/* SPDX-License-Identifier: MIT */
/*
 * Programs in text with the verdict that is right, and the two verifiers that they are put to: this
 * project's and the machine's kernel.
 *
 * A file holds programs, each of header lines `key: value` and, behind `code:`, instructions as
 * isa_assemble reads them. `default KEY: value` holds for the programs below it in the file.
 *
 *   prog: what the program shows
 *   type: xdp                       bpftool's name; `kprobe sleepable` sets BPF_F_SLEEPABLE
 *   maps: array 4 8 1, hash 4 16 9  map[0], map[1]: type, bytes of key and value, entries; then words
 *                                   rdonly wronly (by programs) frozen mmap value=HEX (element 0)
 *                                   lock=N timer=N (bpf_spin_lock, bpf_timer at byte N of the value)
 *                                   kptr=N kptr_untrusted=N (pointers to struct task_struct)
 *   strict: yes                     under the strict policy; the kernel is asked without CAP_PERFMON
 *   license: none                   not GPL-compatible
 *   expect: accept
 *   expect: reject EACCES text that the log contains
 *   kernel: differs because ...     the kernel's verdict is the other one, and why that is right
 *   kernel: skip because ...        cannot be put to the kernel
 *   gap: ...                        this verifier still refuses what it should accept; says why
 */
#ifndef VERDICTS_H
#define VERDICTS_H

#include "test.h"

#include "map/map.h"
#include "prog/prog.h"

#define VERDICT_MAPS 10
#define VERDICT_FUNCS 16
#define VERDICT_KFUNC 32 /* `call kfunc N` from here on are functions that the kernel has: kernel.c */
#define VERDICT_KFUNCS 12
extern const char *const verdict_kfuncs[VERDICT_KFUNCS];

struct verdict_map {
	struct map_attr attr;
	bool frozen;
	u8 value[64]; /* element 0 */
	u32 value_len;
	u32 lock, timer, kptr, kptr_untrusted; /* offset + 1; 0 is none */
};

struct verdict_prog {
	const char *file;
	unsigned line;
	char name[120];
	u32 type, flags;
	bool gpl, strict;
	struct verdict_map maps[VERDICT_MAPS];
	u32 nmaps;
	bool accept;
	int err;           /* negative errno expected; 0 is any */
	char message[160]; /* "" is any */
	char differs[200]; /* the reason; "" when the kernel agrees */
	bool no_kernel;
	bool gap;
	struct bpf_insn *insns;
	u32 cnt;
};

struct verdict_corpus {
	struct verdict_prog *progs;
	size_t n, cap;
};

/* Reads every *.txt of a folder; problems are reported and fail the test. */
void verdict_read(const char *folder, struct verdict_corpus *out);
void verdict_free(struct verdict_corpus *c);

/*
 * This project's verdict: 0 or -errno, the log in `log`. *out (may be NULL) gets the accepted
 * program, to be freed with prog_free.
 */
int verdict_ferry(const struct verdict_prog *p, struct text *log, struct prog **out);
struct verify_opts;
int verdict_ferry_with(const struct verdict_prog *p, const struct verify_opts *opts, struct text *log,
		       struct prog **out);

/* When set: called before and after the verifier itself. */
extern void (*verdict_around)(bool verifying);

bool verdict_calls_native(const struct verdict_prog *p); /* one that the kernel does not have: see ferry.c */

/* btf.c: of a map with lock or timer, of a program with callbacks; NULL for others. */
struct btf *verdict_map_btf(const struct verdict_map *m, u32 *key, u32 *value);
struct btf *verdict_prog_btf(const struct verdict_prog *p, struct bpf_func_info *info, u32 *ninfo);
void verdict_give_btf(const struct verdict_prog *p, struct prog *prog); /* the same for Ferry */

/* The kernel's, through the system call itself: -ENOSYS when there is none to ask. */
bool kernel_here(void);
int verdict_kernel(const struct verdict_prog *p, struct text *log);
/* As verdict_kernel, but keeps the program: a descriptor. */
int kernel_load(const struct verdict_prog *p, struct text *log);

const char *verdict_map_name(u32 type); /* as in the corpus; "?" for a type it does not use */

/* The last line of a log that says why. */
void verdict_reason(const struct text *log, char *out, size_t size);

#endif
