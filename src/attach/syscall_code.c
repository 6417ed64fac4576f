/* SPDX-License-Identifier: MIT */
/* Executable memory of which nobody says where its instructions are: does it make system calls? */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "attach/syscall_site.h"
#include "bpf/sys.h"
#include "code/code.h"

static bool has_call(u64 start, u64 end)
{
	u8 page[4097] = { 0 };
	u64 at;

	/* Page by page, with the last byte of the one before. */
	for (at = start; at < end; at += 4096) {
		page[0] = page[4096];
		if (code_copy_safe(page + 1, (const void *)(uintptr_t)at, 4096))
			return true; /* cannot be read: cannot be told */
		if (memmem(page, sizeof(page), "\x0f\x05", 2))
			return true;
	}
	return false;
}

/* Ferry's own code makes none but those that are known. */
static bool is_known(u64 start, const char *path)
{
	const void *at = (const void *)(uintptr_t)start;

	return start == sys_visitor || sc_is_text(start) || area_has(at) || ret_has(at) || code_has(at) ||
	       strstr(path, "memfd:ferry-") || strstr(path, "/libferry") || !strncmp(path, "[v", 2);
}

bool sc_has_other_code(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512], flags[8], path[256];
	bool found = false;
	u64 start, end;

	while (f && !found && fgets(line, sizeof(line), f)) {
		path[0] = '\0';
		if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %255s", &start, &end, flags, path) < 3 ||
		    flags[2] != 'x' || is_known(start, path))
			continue;
		found = flags[1] == 'w' || has_call(start, end);
	}
	if (f)
		fclose(f);
	return found;
}

static void look(void *frame, void *needed)
{
	const struct sc_frame *f = frame;
	u64 start = f->regs.orig_rax == SYS_mmap ? f->regs.rax : f->regs.rdi, end = start + f->regs.rsi;
	bool shared = f->regs.orig_rax == SYS_mmap && f->regs.r10 & MAP_SHARED;

	*(bool *)needed = false;
	/* What may be written to, here or where it is mapped too, may be anything later. */
	if (f->regs.rdx & PROT_WRITE || shared)
		*(bool *)needed = !sc_is_loader(f->regs.rip);
	else if (f->regs.orig_rax == SYS_mmap && f->regs.r10 & MAP_ANONYMOUS)
		return;
	else
		*(bool *)needed = !sc_is_loader(f->regs.rip) && !sc_is_text(start) && !code_has((void *)(uintptr_t)start) &&
				  has_call(start, end);
}

/* mmap(2), mprotect(2): what the program makes executable itself. */
bool sc_is_new_code(const struct sc_frame *f)
{
	bool needed;

	if (f->quiet || !(f->regs.rdx & PROT_EXEC) || (s64)f->regs.rax < 0)
		return false;
	code_keep_vectors(look, (void *)f, &needed);
	return needed;
}
