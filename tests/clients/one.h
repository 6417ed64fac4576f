/* SPDX-License-Identifier: MIT */
/* One program of an object that has many, each a case: whether it loads, and what the verifier says of it. */
#ifndef ONE_H
#define ONE_H

#include <bpf/libbpf.h>

#include "test.h"

static char one_log[1 << 16];

/* The caller closes the object; *fd is -1 when it was refused. */
static inline struct bpf_object *load_one(const char *file, const char *name, int *fd)
{
	struct bpf_object *obj = bpf_object__open_file(file, NULL);
	struct bpf_program *prog = obj ? bpf_object__find_program_by_name(obj, name) : NULL;

	if (!prog)
		fail_msg("no program %s", name);
	bpf_program__set_autoload(prog, true);
	bpf_program__set_log_buf(prog, one_log, sizeof(one_log));
	bpf_program__set_log_level(prog, 1);
	one_log[0] = '\0';
	*fd = bpf_object__load(obj) ? -1 : bpf_program__fd(prog);
	return obj;
}

#endif
