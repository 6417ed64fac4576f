/* SPDX-License-Identifier: MIT */
/*
 * Helpers that read clocks. The kernel's vdso is asked without libc in between: it uses no vector
 * registers, which are live where programs at probes run.
 */
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include "code/code.h"
#include "helper/helper_int.h"

typedef int (*clock_fn)(clockid_t clock, struct timespec *t);

static clock_fn vdso_clock;

#if defined(__aarch64__)
#define VDSO_CLOCK "__kernel_clock_gettime"
#else
#define VDSO_CLOCK "__vdso_clock_gettime"
#endif

/* The vdso is an ELF object in memory (vdso(7)); it is the kernel's and as such believed. */
static __attribute__((constructor)) void find_clock(void)
{
	const u8 *base = ptr(getauxval(AT_SYSINFO_EHDR)), *load = base;
	const ElfW(Ehdr) *eh = (const void *)base;
	const ElfW(Sym) *syms = NULL;
	const ElfW(Dyn) *dyn = NULL;
	const ElfW(Phdr) *ph;
	const char *names = NULL;
	const u32 *hash = NULL;
	u32 i;

	if (!base)
		return;
	for (ph = (const void *)(base + eh->e_phoff), i = 0; i < eh->e_phnum; i++, ph++) {
		if (ph->p_type == PT_LOAD)
			load = base + ph->p_offset - ph->p_vaddr;
		if (ph->p_type == PT_DYNAMIC)
			dyn = (const void *)(base + ph->p_offset);
	}
	for (; dyn && dyn->d_tag != DT_NULL; dyn++) {
		if (dyn->d_tag == DT_SYMTAB)
			syms = (const void *)(load + dyn->d_un.d_ptr);
		if (dyn->d_tag == DT_STRTAB)
			names = (const void *)(load + dyn->d_un.d_ptr);
		if (dyn->d_tag == DT_HASH)
			hash = (const void *)(load + dyn->d_un.d_ptr);
	}
	/* The old hash table's second word is how many symbols there are. */
	for (i = 0; syms && names && hash && i < hash[1]; i++)
		if (syms[i].st_shndx && !strcmp(names + syms[i].st_name, VDSO_CLOCK))
			vdso_clock = (clock_fn)(uintptr_t)(load + syms[i].st_value);
}

struct reading {
	struct timespec t;
	clockid_t clock;
	int err;
};

static void ask_libc(void *reading, void *unused)
{
	struct reading *r = reading;

	(void)unused;
	r->err = clock_gettime(r->clock, &r->t);
}

static u64 clock_ns(clockid_t clock)
{
	struct reading r;

	r.clock = clock;
	if (__builtin_expect(vdso_clock != NULL, 1))
		r.err = vdso_clock(clock, &r.t);
	else
		code_keep_vectors(ask_libc, &r, NULL);
	return r.err ? 0 : (u64)r.t.tv_sec * 1000000000u + (u64)r.t.tv_nsec;
}

u64 ktime_ns(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return clock_ns(CLOCK_MONOTONIC);
}

u64 ktime_boot_ns(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return clock_ns(CLOCK_BOOTTIME);
}

u64 ktime_coarse_ns(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return clock_ns(CLOCK_MONOTONIC_COARSE);
}

u64 ktime_tai_ns(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return clock_ns(CLOCK_TAI);
}

/* Ticks of the clock that user space knows, from the kernel's start value of five minutes before 0.
 */
u64 time_jiffies(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u64 hz = 250;

	return clock_ns(CLOCK_MONOTONIC) / (1000000000u / hz) + (u32)(-300 * (s32)hz);
}
