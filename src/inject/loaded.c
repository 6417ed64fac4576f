/* SPDX-License-Identifier: MIT */
/*
 * Which program the target runs, and what its dynamic linker says is loaded: the list that debuggers read (struct
 * r_debug, link.h), found from what the kernel told the program (auxv, proc(5)). Files that are only mapped, as those
 * of libraries are by whoever reads them, are none of it.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "inject/inject_int.h"

#define MAX_LOADED 4096
#define MAX_PHDRS  64

static size_t read_auxv(pid_t pid, u64 *out, size_t size)
{
	char path[40];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/auxv", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, out, size);
		close(fd);
	}
	return n > 0 ? (size_t)n : 0;
}

/* Addresses of all kinds are in there, which are others with each program that begins. */
bool target_changed(const struct target *t)
{
	u64 now[ARRAY_SIZE(t->auxv)];
	size_t n = read_auxv(t->pid, now, sizeof(now));

	/* What ends has no memory a moment before it is said to have ended. */
	return n && (n != t->nauxv || memcmp(now, t->auxv, t->nauxv));
}

bool target_has_memory(const struct target *t)
{
	u64 now;

	return read_auxv(t->pid, &now, sizeof(now)) != 0;
}

static u64 told(const struct target *t, u64 type)
{
	size_t i;

	for (i = 0; i + 1 < t->nauxv / sizeof(u64); i += 2)
		if (t->auxv[i] == type)
			return t->auxv[i + 1];
	return 0;
}

/* The program's dynamic section; *dynamic: it has a dynamic linker. */
static u64 find_dynamic(const struct target *t, bool *linked)
{
	u64 at = told(t, AT_PHDR), n = told(t, AT_PHNUM), bias = 0, dynamic = 0;
	Elf64_Phdr ph[MAX_PHDRS];
	size_t i;

	if (!at || !n || n > MAX_PHDRS || target_get(t->pid, at, ph, n * sizeof(ph[0])))
		return 0;
	for (i = 0; i < n; i++) {
		*linked |= ph[i].p_type == PT_INTERP;
		if (ph[i].p_type == PT_PHDR)
			bias = at - ph[i].p_vaddr;
		if (ph[i].p_type == PT_DYNAMIC)
			dynamic = ph[i].p_vaddr;
	}
	return dynamic ? dynamic + bias : 0;
}

/*
 * 0 until the dynamic linker has done all that it does at the start, and while it loads something: libraries that are
 * in the list may not be relocated yet, and functions of the C library not be fit to be called.
 */
static u64 find_list(const struct target *t, u64 dynamic)
{
	struct {
		u64 version, map, brk;
		u32 state, pad; /* 0: RT_CONSISTENT */
	} debug;
	Elf64_Dyn d;
	size_t i;

	for (i = 0; i < 256 && !target_get(t->pid, dynamic + i * sizeof(d), &d, sizeof(d)) && d.d_tag != DT_NULL; i++)
		if (d.d_tag == DT_DEBUG)
			return d.d_un.d_ptr && !target_get(t->pid, d.d_un.d_ptr, &debug, sizeof(debug)) && !debug.state
				       ? debug.map
				       : 0;
	return 0;
}

int target_read_loaded(struct target *t)
{
	struct {
		u64 addr, name, dynamic, next;
	} map;
	bool linked = false;
	u64 at, *grown;

	t->nauxv = read_auxv(t->pid, t->auxv, sizeof(t->auxv));
	at = find_dynamic(t, &linked);
	at = at ? find_list(t, at) : 0;
	if (!at)
		return linked ? -EAGAIN : 0; /* the dynamic linker is at work still */
	for (; at && t->nloaded < MAX_LOADED && !target_get(t->pid, at, &map, sizeof(map)); at = map.next) {
		grown = base_grow(t->loaded, &t->loaded_cap, t->nloaded + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		t->loaded = grown;
		t->loaded[t->nloaded++] = map.dynamic;
	}
	return 0;
}

bool target_is_loaded(const struct target *t, u64 dynamic)
{
	size_t i;

	for (i = 0; i < t->nloaded; i++)
		if (t->loaded[i] == dynamic)
			return true;
	return false;
}
