/* SPDX-License-Identifier: MIT */
/* This project's verifier, given a program of the corpus. */
#include "verdicts.h"
#include "btf/fbtf.h"
#include "helper/helper.h"
#include "verify/verify.h"

/*
 * The native functions that programs call by their place here: `call kfunc 0` and so on. They are
 * not run, so that one address does for all.
 */
static void native(void)
{
}

static const struct ferry_func funcs[] = {
	FERRY_FUNC("int add(int a, int b)", native), /* 0 */
	FERRY_FUNC("long sum(const void *mem, unsigned int mem__sz)", native),
	FERRY_FUNC("void scale(void *mem, unsigned int mem__sz)", native), /* 2 */
	FERRY_FUNC("unsigned long length(const char *s__str)", native),
	FERRY_FUNC("int item_read(const struct item *item)", native), /* 4 */
	FERRY_FUNC("int pick(int x__k)", native),
	FERRY_FUNC("int maybe(const struct item *item__nullable)", native), /* 6 */
	FERRY_FUNC("void nap(void)", native, FERRY_SLEEPABLE),
	FERRY_FUNC("struct box *box_open(int size) __acquire __nullable", native), /* 8 */
	FERRY_FUNC("void box_close(struct box *box) __release", native),
	FERRY_FUNC("int box_size(struct box *box)", native), /* 10 */
	FERRY_FUNC("struct part *box_part(struct box *box)", native),
	FERRY_FUNC("int part_id(const struct part *part)", native), /* 12 */
	FERRY_FUNC("const void *box_bytes(struct box *box, unsigned int n) __size(n)", native),
	FERRY_FUNC("struct shelf *shelf_get(void)", native), /* 14 */
	FERRY_FUNC("int wide(unsigned long x __range(3, 9))", native),
	FERRY_FUNC("void part_close(struct part *part) __release", native), /* 16 */
	FERRY_FUNC("struct task_struct *task_take(int pid)", native, FERRY_ACQUIRE | FERRY_RET_NULL),
	FERRY_FUNC("void task_drop(struct task_struct *task)", native, FERRY_RELEASE), /* 18 */
	FERRY_FUNC("int mode_set(enum mode m)", native),
	FERRY_FUNC("int join(const char *s__str, void *buf, unsigned int buf__sz)", native), /* 20 */
	FERRY_FUNC("int unpack(void *to __size(*n), unsigned long *n, const void *from __size(*m), const unsigned long *m)",
		   native),
	FERRY_FUNC("int note(const char *fmt, ...)", native), /* 22 */
	FERRY_FUNC("const struct part *part_const(void)", native),
	FERRY_FUNC("void part_set(struct part *part)", native), /* 24 */
	FERRY_FUNC("int dup(void *to__uninit, unsigned int to__sz, const struct item *from)", native),
	FERRY_FUNC("struct quad quad_of(const char *s__str)", native), /* 26 */
	FERRY_FUNC("int note_to(char *to, unsigned int to__sz, const char *fmt, ...)", native),
	FERRY_FUNC("const struct task_struct *task_const(int pid)", native, FERRY_ACQUIRE), /* 28 */
};
static const struct ferry_module def = { sizeof(def), "verdicts",
					 "struct item { int id; int value; }; struct box; struct part;"
					 "struct shelf { struct box *first; int boxes; }; struct quad { long v[4]; };"
					 "enum mode { MODE_LOW = -5, MODE_NONE = -1, MODE_SOME = 3 };", funcs,
					 ARRAY_SIZE(funcs) };

static bool calls(const struct verdict_prog *p, s32 below)
{
	for (u32 i = 0; i < p->cnt; i++) {
		if (isa_is_call(&p->insns[i], BPF_PSEUDO_KFUNC_CALL) && p->insns[i].imm < below)
			return true;
	}
	return false;
}

static int find_module(struct module **m, struct text *log)
{
	*m = module_find("verdicts");
	return *m ? 0 : module_register(&def, m, log);
}

bool verdict_calls_native(const struct verdict_prog *p)
{
	return calls(p, VERDICT_KFUNC);
}

static void add_all(struct prog *prog, struct module *m)
{
	for (u32 i = 0; i < m->nfuncs; i++) {
		module_get(m);
		prog->natives[prog->nnatives++] = &m->funcs[i];
	}
}

/* The program's natives are all of the module, in order, then those that the kernel has too. */
static int add_natives(const struct verdict_prog *p, struct prog *prog, struct text *log)
{
	struct module *m;
	int err;

	if (!calls(p, INT32_MAX))
		return 0;
	err = find_module(&m, log);
	if (err)
		return err;
	helper_kfuncs();
	assert_true(m->nfuncs <= VERDICT_KFUNC);
	prog->natives = base_array(VERDICT_KFUNC + VERDICT_KFUNCS, sizeof(*prog->natives));
	assert_non_null(prog->natives);
	add_all(prog, m);
	/* Those have their numbers whatever is added above. */
	while (prog->nnatives < VERDICT_KFUNC) {
		module_get(m);
		prog->natives[prog->nnatives++] = &m->funcs[0];
	}
	for (u32 i = 0; i < VERDICT_KFUNCS; i++) {
		const struct module_func *f = module_func_named(verdict_kfuncs[i]);

		assert_non_null(f);
		module_get(f->mod);
		prog->natives[prog->nnatives++] = f;
	}
	return 0;
}

/* From the same BTF as the kernel's. */
static int add_fields(const struct verdict_map *vm, struct map *m)
{
	u32 found[FBTF_SPECIALS], key;
	struct map_kptr kptrs[MAP_KPTRS];
	struct module *mod;
	int n = 0;
	struct btf *btf = verdict_map_btf(vm, &key, &m->btf_value_id);
	int err = 0;

	if (!btf)
		return 0;
	err = fbtf_find_special(btf, m->btf_value_id, found);
	if (!err)
		err = find_module(&mod, NULL);
	if (!err)
		n = module_map_kptrs(btf, m->btf_value_id, kptrs);
	if (!err)
		err = n < 0 ? n : map_set_kptrs(m, found[FBTF_LOCK], found[FBTF_TIMER], kptrs, (u32)n);
	btf__free(btf);
	return err;
}

static int add_maps(const struct verdict_prog *p, struct prog *prog, struct text *log)
{
	prog->maps = base_array(VERDICT_MAPS, sizeof(*prog->maps));
	assert_non_null(prog->maps);
	for (u32 i = 0; i < p->nmaps; i++) {
		const struct verdict_map *vm = &p->maps[i];
		struct map *m = NULL;
		u32 zero = 0;
		u8 value[4096] = { 0 };
		int err = map_create(&vm->attr, &m, log);

		if (err)
			return err;
		prog->maps[prog->nmaps++] = m;
		err = add_fields(vm, m);
		if (err)
			return err;
		if (vm->value_len) {
			memcpy(value, vm->value, vm->value_len);
			map_update_user(m, &zero, value, 0);
		}
		m->frozen = vm->frozen;
	}
	return 0;
}

void (*verdict_around)(bool verifying);

int verdict_ferry(const struct verdict_prog *p, struct text *log, struct prog **out)
{
	const struct verify_opts opts = { .log_level = log ? 1 : 0, .log = log, .strict = p->strict };

	return verdict_ferry_with(p, &opts, log, out);
}

int verdict_ferry_with(const struct verdict_prog *p, const struct verify_opts *opts, struct text *log,
		       struct prog **out)
{
	struct verify_stats stats = { 0 };
	struct prog *prog = prog_new(p->insns, p->cnt);
	int err;

	assert_non_null(prog);
	prog->type = p->type;
	prog->flags = p->flags;
	prog->gpl = p->gpl;
	if (p->type == BPF_PROG_TYPE_CGROUP_SKB)
		prog->attach_type = BPF_CGROUP_INET_INGRESS;
	verdict_give_btf(p, prog);
	err = add_maps(p, prog, log);
	if (!err)
		err = add_natives(p, prog, log);
	if (verdict_around)
		verdict_around(true);
	if (!err)
		err = verify_prog(prog, opts, &stats);
	if (verdict_around)
		verdict_around(false);
	if (err || !out)
		prog_free(prog);
	else
		*out = prog;
	return err;
}
