/* SPDX-License-Identifier: MIT */
/* How a client of this folder comes by its object, and by Ferry: linked, preloaded, or dlopen()ed (CLIENT_DLOPEN=path). */
#ifndef CLIENT_OBJECT_H
#define CLIENT_OBJECT_H

#include <bpf/libbpf.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifdef LINKED
#include <ferry/ferry.h>
#endif

/* Opened, not loaded; of the folder CLIENT_OBJECTS. */
static inline struct bpf_object *open_object(const char *name)
{
	const char *dir = getenv("CLIENT_OBJECTS"), *lib = getenv("CLIENT_DLOPEN");
	struct bpf_object *o;
	char path[4096];

#ifdef LINKED
	(void)ferry_version();
#endif
	if (lib)
		assert_non_null(dlopen(lib, RTLD_NOW | RTLD_GLOBAL));
	snprintf(path, sizeof(path), "%s/%s", dir ? dir : ".", name);
	o = bpf_object__open_file(path, NULL);
	assert_non_null(o);
	return o;
}

/* Opened and loaded: its program's variables that begin as zeros, shared with the program; NULL when one of these failed. */
static inline void *load_with_bss(const char *name, struct bpf_object **o)
{
	void *bss;

	*o = open_object(name);
	if (bpf_object__load(*o))
		return NULL;
	bss = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(bpf_object__find_map_by_name(*o, ".bss")), 0);
	return bss == MAP_FAILED ? NULL : bss;
}

#endif
