/* SPDX-License-Identifier: MIT */
/* BTF for programs and maps of the corpus: functions without arguments, values with a lock or timer. */
#include <bpf/btf.h>

#include "verdicts.h"

enum { U32 = 1, U64, BYTE, LOCK, TIMER, PROTO }; /* in the order they are added */

static struct btf *with_basics(void)
{
	struct btf *b = btf__new_empty();

	assert_non_null(b);
	assert_int_equal(btf__add_int(b, "unsigned int", 4, 0), U32);
	assert_int_equal(btf__add_int(b, "unsigned long long", 8, 0), U64);
	assert_int_equal(btf__add_int(b, "char", 1, BTF_INT_SIGNED), BYTE);
	assert_int_equal(btf__add_struct(b, "bpf_spin_lock", 4), LOCK);
	btf__add_field(b, "val", U32, 0, 0);
	assert_int_equal(btf__add_struct(b, "bpf_timer", 16), TIMER);
	btf__add_field(b, "a", U64, 0, 0);
	btf__add_field(b, "b", U64, 64, 0);
	assert_int_equal(btf__add_func_proto(b, U32), PROTO);
	return b;
}

static s32 kptr_type(struct btf *b, const char *tag)
{
	s32 task = btf__find_by_name_kind(b, "task_struct", BTF_KIND_STRUCT);

	if (task <= 0) {
		task = btf__add_struct(b, "task_struct", 4);
		btf__add_field(b, "pid", U32, 0, 0);
	}
	return btf__add_ptr(b, btf__add_type_tag(b, tag, task));
}

struct btf *verdict_map_btf(const struct verdict_map *m, u32 *key, u32 *value)
{
	struct btf *b;
	s32 owned, loose;

	if (!m->lock && !m->timer && !m->kptr && !m->kptr_untrusted)
		return NULL;
	b = with_basics();
	*key = m->attr.key_size == 4 ? U32 : (u32)btf__add_array(b, U32, BYTE, m->attr.key_size);
	owned = kptr_type(b, "kptr");
	loose = kptr_type(b, "kptr_untrusted");
	*value = (u32)btf__add_struct(b, "value", m->attr.value_size);
	if (m->lock)
		btf__add_field(b, "lock", LOCK, (m->lock - 1) * 8, 0);
	if (m->timer)
		btf__add_field(b, "timer", TIMER, (m->timer - 1) * 8, 0);
	if (m->kptr)
		btf__add_field(b, "kptr", owned, (m->kptr - 1) * 8, 0);
	if (m->kptr_untrusted)
		btf__add_field(b, "kptr_untrusted", loose, (m->kptr_untrusted - 1) * 8, 0);
	return b;
}

static struct btf *with_funcs(u32 n)
{
	struct btf *b = with_basics();
	char name[20];

	for (u32 i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		assert_int_equal(btf__add_func(b, name, i ? BTF_FUNC_STATIC : BTF_FUNC_GLOBAL, PROTO), PROTO + 1 + i);
	}
	return b;
}

/* Only what refers to a function comes with BTF: how many functions there are, or 0. */
static u32 count_funcs(const struct verdict_prog *p, struct bpf_func_info *info)
{
	struct prog *prog = prog_new(p->insns, p->cnt);
	bool refs = false;
	u32 n = 0;

	for (u32 i = 0; i < p->cnt; i += isa_slots(&p->insns[i]))
		refs |= isa_is_ldimm64(&p->insns[i]) && p->insns[i].src_reg == BPF_PSEUDO_FUNC;
	if (prog && refs && !prog_find_funcs(prog) && prog->nfuncs <= VERDICT_FUNCS)
		for (n = 0; n < prog->nfuncs; n++)
			info[n] = (struct bpf_func_info){ prog->funcs[n].start, PROTO + 1 + n };
	prog_free(prog);
	return n;
}

struct btf *verdict_prog_btf(const struct verdict_prog *p, struct bpf_func_info *info, u32 *ninfo)
{
	*ninfo = count_funcs(p, info);
	return *ninfo ? with_funcs(*ninfo) : NULL;
}

/* The same for Ferry, of which it is borrowed as long as the program lives: one for all. */
static struct btf *all_funcs;

void verdict_give_btf(const struct verdict_prog *p, struct prog *prog)
{
	struct bpf_func_info info[VERDICT_FUNCS];
	u32 n = count_funcs(p, info);

	if (!n || prog_find_funcs(prog))
		return;
	if (!all_funcs)
		all_funcs = with_funcs(VERDICT_FUNCS);
	prog->btf = all_funcs;
	for (u32 i = 0; i < n; i++)
		prog->funcs[i].btf_id = info[i].type_id;
}

static __attribute__((destructor)) void free_all_funcs(void)
{
	btf__free(all_funcs);
}
