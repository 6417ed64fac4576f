/* SPDX-License-Identifier: MIT */
/*
 * What runs at a hit where vector registers are live touches none: the machine code of everything that
 * can be reached from there is walked, instruction by instruction.
 */
#include <Zydis/Zydis.h>
#include <dlfcn.h>

#include "attach/attach_int.h"
#include "bpf/sys.h"
#include "code/code_int.h"
#include "helper/helper.h"
#include "map/map.h"
#include "prog/limit.h"
#include "test.h"

#define MAX_PLACES 65536

struct walk {
	const char *root;
	u64 todo[MAX_PLACES], seen[MAX_PLACES];
	u64 calls[16]; /* through registers */
	size_t ntodo, nseen, ncalls;
	bool bad;
};

static struct walk w;

void sys_limit_report(const struct prog *p, u32 ended); /* bpf/sys_int.h */

static void later(u64 at)
{
	size_t i;

	/* The last three: runs with limits keep the registers themselves (src/bpf/run.c). */
	static void *const ends[] = { (void *)code_keep_vectors, (void *)code_kept_call, (void *)prog_budget_begin,
				      (void *)prog_budget_finish, (void *)sys_limit_report };

	for (i = 0; i < ARRAY_SIZE(ends); i++)
		if (at == (u64)(uintptr_t)ends[i])
			return;
	for (i = 0; i < w.nseen; i++)
		if (w.seen[i] == at)
			return;
	assert_true(w.nseen < MAX_PLACES);
	w.seen[w.nseen++] = at;
	w.todo[w.ntodo++] = at;
}

static void complain(u64 at, const char *what)
{
	Dl_info info = { 0 };

	dladdr((void *)(uintptr_t)at, &info);
	print_message("# %s: %s at %p (%s)\n", w.root, what, (void *)(uintptr_t)at,
		      info.dli_sname ? info.dli_sname : "?");
	w.bad = true;
}

static bool is_vector(const ZydisDecodedOperand *o)
{
	if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return false;
	switch (ZydisRegisterGetClass(o->reg.value)) {
	case ZYDIS_REGCLASS_X87:
	case ZYDIS_REGCLASS_MMX:
	case ZYDIS_REGCLASS_XMM:
	case ZYDIS_REGCLASS_YMM:
	case ZYDIS_REGCLASS_ZMM:
	case ZYDIS_REGCLASS_MASK:
		return true;
	default:
		return false;
	}
}

/* The look-up of hashes does with three of them what it puts right again: its own test looks at that. */
static bool is_kept(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
	int i;

	if (strncmp(w.root, "lookup_plain", 12) || in->attributes & ZYDIS_ATTRIB_HAS_VEX ||
	    in->attributes & ZYDIS_ATTRIB_HAS_EVEX)
		return false;
	for (i = 0; i < in->operand_count; i++)
		if (is_vector(&ops[i]) && (ops[i].reg.value < ZYDIS_REGISTER_XMM0 ||
					   ops[i].reg.value > ZYDIS_REGISTER_XMM2))
			return false;
	return true;
}

/* One instruction: false when the next one is not reached from it. */
static bool step(u64 at, const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
	u64 target;
	int i;

	for (i = 0; i < in->operand_count; i++)
		if (is_vector(&ops[i]) && !is_kept(in, ops)) {
			complain(at, ZydisMnemonicGetString(in->mnemonic));
			return false;
		}
	if (in->raw.imm[0].is_relative) {
		later(at + in->length + (u64)in->raw.imm[0].value.s);
	} else if (in->mnemonic == ZYDIS_MNEMONIC_CALL || in->mnemonic == ZYDIS_MNEMONIC_JMP) {
		if (ops[0].type == ZYDIS_OPERAND_TYPE_MEMORY && ops[0].mem.base == ZYDIS_REGISTER_RIP) {
			target = *(u64 *)(uintptr_t)(at + in->length + (u64)ops[0].mem.disp.value);
			later(target);
		} else {
			for (i = 0; i < (int)w.ncalls && w.calls[i] != at; i++)
				;
			if (i == (int)w.ncalls && w.ncalls < ARRAY_SIZE(w.calls))
				w.calls[w.ncalls++] = at;
		}
	}
	return in->mnemonic != ZYDIS_MNEMONIC_RET && in->mnemonic != ZYDIS_MNEMONIC_UD2 &&
	       in->mnemonic != ZYDIS_MNEMONIC_JMP;
}

/* `by_register` is how many calls through a register there may be: those the caller knows of. */
static void walk(const char *root, const void *fn, size_t by_register)
{
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction in;
	ZydisDecoder d;
	Dl_info info;
	u64 at;

	w.root = root;
	w.ntodo = w.nseen = w.ncalls = 0;
	ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	later((u64)(uintptr_t)fn);
	while (w.ntodo) {
		at = w.todo[--w.ntodo];
		if (dladdr((void *)(uintptr_t)at, &info) && strstr(info.dli_fname, "libc.so")) {
			complain(at, "a function of libc");
			continue;
		}
		do {
			if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, (void *)(uintptr_t)at, 15, &in, ops))) {
				complain(at, "no instruction");
				break;
			}
			if (!step(at, &in, ops))
				break;
			at += in.length;
		} while (true);
	}
	if (w.ncalls > by_register) {
		for (size_t i = 0; i < w.ncalls; i++)
			complain(w.calls[i], "a call through a register");
		w.bad = true;
	}
}

static void helpers_marked_plain_touch_no_vector_register(void **state)
{
	const struct helper_proto *h;
	void *vdso, *clock;
	size_t n = 0;
	u32 id;

	(void)state;
	for (id = 0; id < 300; id++) {
		h = helper_of(id);
		if (!h || !(h->flags & HELPER_PLAIN))
			continue;
		/* The copies are called through a constant table, the vdso by its address. */
		walk(h->name, (const void *)h->fn, 1);
		n++;
	}
	walk("copy_bytes", (const void *)code_arch.copy_bytes, 0);
	walk("copy_string", (const void *)code_arch.copy_string, 0);
	vdso = dlopen("linux-vdso.so.1", RTLD_LAZY | RTLD_NOLOAD);
	clock = vdso ? dlsym(vdso, "__vdso_clock_gettime") : NULL;
	print_message("# the vdso's clock is %sknown\n", clock ? "" : "not ");
	if (clock)
		walk("__vdso_clock_gettime", clock, 0);
	assert_false(w.bad);
	assert_true(n > 10);
	print_message("# %zu helpers\n", n);
}

static void plain_look_ups_touch_no_vector_register_but_what_they_keep(void **state)
{
	static const u32 types[] = { BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_HASH,
				     BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_LRU_HASH,
				     BPF_MAP_TYPE_LRU_PERCPU_HASH };
	static const u32 sizes[] = { 4, 8, 16, 24 };
	char root[64];
	size_t t, s;

	(void)state;
	for (t = 0; t < ARRAY_SIZE(types); t++)
		for (s = 0; s < (t < 2 ? 1 : ARRAY_SIZE(sizes)); s++) {
			struct map_attr a = { .type = types[t], .key_size = sizes[s], .value_size = 8, .max_entries = 8 };
			struct map *m;

			assert_int_equal(map_create(&a, &m, NULL), 0);
			assert_non_null(m->ops->lookup_plain);
			snprintf(root, sizeof(root), "lookup_plain of %s, keys of %u", m->ops->name, sizes[s]);
			walk(root, (const void *)m->ops->lookup_plain, 0);
			map_put(m);
		}
	assert_false(w.bad);
}

static void ways_of_a_hit_touch_no_vector_register(void **state)
{
	(void)state;
	/* Hooks: one each for those that are plain and for programs. */
	walk("probe_hit", (const void *)probe_hit, 1);
	walk("probe_hit_short", (const void *)probe_hit_short, 3);
	walk("probe_returned", (const void *)probe_returned, 3);
	walk("sys_short_run", (const void *)sys_short_run, 2);
	walk("probe_run_prog", (const void *)probe_run_prog, 2);
	walk("probe_entry", (const void *)probe_entry, 1);
	assert_false(w.bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(helpers_marked_plain_touch_no_vector_register),
		cmocka_unit_test(plain_look_ups_touch_no_vector_register_but_what_they_keep),
		cmocka_unit_test(ways_of_a_hit_touch_no_vector_register),
	};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return skip_all("the sanitizer's own code is in between");
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
