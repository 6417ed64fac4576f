/* SPDX-License-Identifier: MIT */
/* Programs in text with maps, verified and then run by both engines. */
#ifndef FERRY_TEST_RUN_TEXT_H
#define FERRY_TEST_RUN_TEXT_H

#include "test.h"

#include "code/code.h"
#include "jit/jit.h"
#include "verify/verify.h"
#include "vm/vm.h"

enum engine { VM, JIT, ENGINES };

static inline struct map *new_map(u32 type, u32 key, u32 value, u32 entries)
{
	struct map_attr attr = { .type = type, .key_size = key, .value_size = value,
				 .max_entries = entries };
	struct map *m;

	assert_int_equal(map_create(&attr, &m, NULL), 0);
	return m;
}

/* The caller keeps its references on the maps. A syscall program: its context is any 64 bytes. */
static inline struct prog *load_text(enum engine e, const char *source, struct map **maps, u32 nmaps)
{
	struct verify_opts opts = { .log_level = 1 };
	struct text why = { 0 };
	struct bpf_insn *insns = NULL;
	struct prog *p;
	u32 cnt = 0, i;

	if (isa_assemble(source, &insns, &cnt, &why))
		fail_msg("%s", text_str(&why));
	p = prog_new(insns, cnt);
	assert_non_null(p);
	base_free(insns);
	p->type = BPF_PROG_TYPE_SYSCALL;
	p->flags = 1u << 4; /* BPF_F_SLEEPABLE */
	p->gpl = true;
	p->maps = base_array(nmaps + 1, sizeof(*p->maps));
	for (i = 0; i < nmaps; i++)
		p->maps[p->nmaps++] = map_get(maps[i]);
	opts.log = &why;
	if (verify_prog(p, &opts, NULL))
		fail_msg("%s", text_str(&why));
	text_free(&why);
	assert_int_equal(e == JIT ? jit_install(p) : vm_install(p), 0);
	return p;
}

static inline void unload(struct prog *p)
{
	jit_remove(p);
	vm_remove(p);
	prog_free(p);
}

static inline u64 run_text(enum engine e, const char *source, struct map **maps, u32 nmaps, void *ctx)
{
	u64 room[8] = { 0 }, ret;
	struct prog *p = load_text(e, source, maps, nmaps);

	ret = prog_run(p, ctx ? ctx : room);
	unload(p);
	return ret;
}

static inline bool has_engine(enum engine e)
{
	return e == VM || code_allowed();
}

#endif
