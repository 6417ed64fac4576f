/* SPDX-License-Identifier: MIT */
/*
 * Unwind tables that are not what they should be: copies of a real library with bytes of .eh_frame_hdr and
 * .eh_frame altered, loaded and asked about. Nothing that they say leads to a fault or out of the library.
 */
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#include "attach/attach_int.h"

static u8 *file, *copy;
static size_t size;
static struct part {
	size_t at, size;
} head, frames; /* .eh_frame_hdr, .eh_frame */
static u64 state = 0x9e3779b97f4a7c15ull;

static u64 rnd(u64 below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static struct part section(const char *name)
{
	const Elf64_Ehdr *eh = (const void *)file;
	const Elf64_Shdr *sh = (const void *)(file + eh->e_shoff);
	const char *names = (const char *)file + sh[eh->e_shstrndx].sh_offset;
	int i;

	for (i = 0; i < eh->e_shnum; i++)
		if (!strcmp(names + sh[i].sh_name, name))
			return (struct part){ sh[i].sh_offset, sh[i].sh_size };
	return (struct part){ 0 };
}

static int setup(void **unused)
{
	void *z = dlopen("libz.so.1", RTLD_NOW);
	struct link_map *map;
	struct stat st;
	int fd;

	(void)unused;
	if (!z || dlinfo(z, RTLD_DI_LINKMAP, &map) || (fd = open(map->l_name, O_RDONLY)) < 0 || fstat(fd, &st))
		return -1;
	size = (size_t)st.st_size;
	file = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	copy = malloc(size);
	close(fd);
	if (file == MAP_FAILED || !copy)
		return -1;
	head = section(".eh_frame_hdr");
	frames = section(".eh_frame");
	return head.size && frames.size ? 0 : -1;
}

static void alter(struct part p)
{
	static const u64 words[] = { 0, ~0ull, 0x7fffffff, 0x80000000, 0xfffffff0, 0x100000, 1 };
	u64 word = rnd(2) ? words[rnd(ARRAY_SIZE(words))] : state, n;

	for (n = 1 + rnd(rnd(2) ? 4 : 400); n; n--) {
		size_t at = rnd(4) ? rnd(p.size) & ~3ull : rnd(p.size < 64 ? p.size : 64);

		if (at + 8 <= p.size)
			memcpy(copy + p.at + at, &word, 1 + rnd(8));
		word = word ^ rnd(256);
	}
}

/* The library in `copy`, loaded under a name of its own. */
static void *load(void)
{
	char path[40];
	int fd = memfd_create("altered", MFD_CLOEXEC);
	void *lib;

	assert_int_equal(write(fd, copy, size), (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		printf("# %s\n", dlerror());
	close(fd);
	return lib;
}

/* Asks about all of its code, a few bytes at a time: how many addresses are in functions, and that ranges hold them. */
static u32 ask_all(void *lib)
{
	const Elf64_Ehdr *eh = (const void *)file;
	const Elf64_Phdr *ph = (const void *)(file + eh->e_phoff);
	const char *why = NULL;
	struct moved m = { .n = 2, .len = 5 };
	struct link_map *map;
	u64 at, from, to, start, end;
	u32 in = 0, i;

	dlinfo(lib, RTLD_DI_LINKMAP, &map);
	for (i = 0; i < eh->e_phnum; i++) {
		if (ph[i].p_type != PT_LOAD || !(ph[i].p_flags & PF_X))
			continue;
		from = map->l_addr + ph[i].p_vaddr;
		to = from + ph[i].p_memsz;
		for (at = from; at < to; at += 1 + rnd(150)) {
			if (func_range(at, &start, &end)) {
				in++;
				assert_true(start >= from && end <= to && start < end && at < end);
			} else if (func_gap(at, &start, &end)) {
				assert_true(start >= from && end <= to && start < end);
			}
			func_starts_at(at);
			if (!rnd(20))
				func_allows_jump(at, &m, &why);
		}
	}
	return in;
}

static void tables_that_are_wrong_do_no_harm(void **unused)
{
	int round, status;
	void *lib;
	pid_t pid;

	(void)unused;
	memcpy(copy, file, size);
	lib = load();
	assert_non_null(lib);
	assert_true(ask_all(lib) > 500);
	dlclose(lib);
	for (round = 0; round < 150; round++) {
		memcpy(copy, file, size);
		alter(rnd(3) ? head : frames);
		if (!rnd(3))
			alter(frames);
		state ^= (u64)round << 40;
		pid = fork();
		if (!pid) {
			lib = load();
			if (lib)
				ask_all(lib);
			_exit(lib ? 0 : 9);
		}
		waitpid(pid, &status, 0);
		if (status)
			printf("# round %d: status %#x\n", round, (unsigned)status);
		assert_int_equal(status, 0);
	}
}

/* Its pages gone, as packers do with what they unpacked. */
static void tables_that_are_not_mapped_do_no_harm(void **unused)
{
	const Elf64_Ehdr *eh = (const void *)file;
	const Elf64_Phdr *ph = (const void *)(file + eh->e_phoff);
	struct link_map *map;
	void *lib;
	int i, status;
	pid_t pid = fork();

	(void)unused;
	if (!pid) {
		memcpy(copy, file, size);
		lib = load();
		dlinfo(lib, RTLD_DI_LINKMAP, &map);
		for (i = 0; i < eh->e_phnum; i++)
			if (ph[i].p_type == PT_GNU_EH_FRAME)
				mprotect((void *)((map->l_addr + ph[i].p_vaddr) & ~4095ull),
					 ((ph[i].p_vaddr & 4095) + ph[i].p_memsz + 4095) & ~4095ull, PROT_NONE);
		_exit(ask_all(lib) ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_that_are_wrong_do_no_harm),
		cmocka_unit_test(tables_that_are_not_mapped_do_no_harm),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
