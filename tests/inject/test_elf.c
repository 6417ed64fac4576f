/* SPDX-License-Identifier: MIT */
/* Symbols read from a process's memory: those that dlsym(3) finds, and nothing bad from broken files. */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ferry/ferry.h"
#include "inject/inject_int.h"
#include "test.h"

static void functions_are_where_dlsym_finds_them(void **state)
{
	static const char *const names[] = { "dlopen", "dlsym", "dlerror", "munmap", "pthread_create", "pthread_detach",
					     "malloc", "free", "close", "memfd_create", "qsort", "printf" };
	struct target t = { 0 };
	struct text why = { 0 };
	size_t i;

	(void)state;
	assert_int_equal(target_read(&t, getpid(), &why), 0);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(elf_find(&t, names[i]), (u64)(uintptr_t)dlsym(dlopen("libc.so.6", RTLD_NOW), names[i]));
	assert_int_equal(elf_find(&t, "no_such_function"), 0);
	assert_int_equal(elf_find(&t, ""), 0);
	assert_int_not_equal(elf_cave(&t), 0);
	target_free(&t);
	text_free(&why);
}

/* A cave lies behind the code of its file: no symbol reaches into it. */
static void caves_are_in_nobodys_function(void **state)
{
	struct target t = { 0 };
	struct text why = { 0 };
	Dl_info info;
	u64 cave;

	(void)state;
	assert_int_equal(target_read(&t, getpid(), &why), 0);
	cave = elf_cave(&t);
	if (dladdr1((void *)(uintptr_t)cave, &info, NULL, 0) && info.dli_sname) {
		ElfW(Sym) *sym = NULL;

		dladdr1((void *)(uintptr_t)cave, &info, (void **)&sym, RTLD_DL_SYMENT);
		assert_true((u64)(uintptr_t)info.dli_saddr + sym->st_size <= cave);
	}
	assert_true(target_mapping(&t, cave)->exec);
	target_free(&t);
	text_free(&why);
}

static u64 next(u64 *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return *seed >> 33;
}

/* The target may have anything in its memory. */
static void broken_files_are_read_within_bounds(void **state)
{
	const u8 *libc = NULL;
	struct target t = { 0 };
	struct text why = { 0 };
	struct module m;
	size_t size = 0x30000, i;
	u64 seed = 7;
	u32 round, k;
	u8 *copy;

	(void)state;
	assert_int_equal(target_read(&t, getpid(), &why), 0);
	for (i = 0; i < t.nmodules; i++)
		if (elf_symbol(&t, &t.modules[i], "gnu_get_libc_version"))
			libc = (const u8 *)(uintptr_t)t.modules[i].base;
	assert_non_null(libc);
	copy = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (round = 0; round < 400; round++) {
		const Elf64_Ehdr *eh = (const Elf64_Ehdr *)copy;
		Elf64_Phdr *ph = (Elf64_Phdr *)(copy + sizeof(*eh));

		assert_int_equal(target_get(getpid(), (u64)(uintptr_t)libc, copy, 0x1000), 0);
		target_get(getpid(), (u64)(uintptr_t)libc, copy, 0x20000);
		/* Its dynamic section near, so that there is something to follow; then noise everywhere. */
		for (i = 0; i < eh->e_phnum; i++)
			if (ph[i].p_type == PT_DYNAMIC) {
				target_get(getpid(), (u64)(uintptr_t)libc + ph[i].p_vaddr, copy + 0x28000, 0x400);
				ph[i].p_vaddr = 0x28000;
			}
		for (k = 0; k < 1 + round % 64; k++) {
			size_t at = next(&seed) % 3 == 0 ? next(&seed) % 0x400
				    : next(&seed) % 2	  ? 0x28000 + next(&seed) % 0x400
							  : next(&seed) % size;

			copy[at] = (u8)next(&seed);
		}
		if (!elf_read_module(&t, (u64)(uintptr_t)copy, "", &m)) {
			elf_symbol(&t, &m, "dlopen");
			elf_symbol(&t, &m, "pthread_create");
		}
	}
	munmap(copy, size);
	target_free(&t);
	text_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(functions_are_where_dlsym_finds_them),
		cmocka_unit_test(caves_are_in_nobodys_function),
		cmocka_unit_test(broken_files_are_read_within_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
