/* SPDX-License-Identifier: MIT */
/* Memory, jumps, calls, tail calls, and what the compiler refuses. */
#include <sys/mman.h>

#include "../code/signals.h"
#include "jit_test.h"

#include "helper/helper.h"

/* ---- memory and packets ---------------------------------------------------------------------- */

static void stack_slots_of_all_widths_keep_their_bytes(void **state)
{
	(void)state;
	assert_int_equal(jit_run_text("r2 = 0x1122334455667788 ll\n"
				      "*(u64 *)(r10 -8) = r2\n"
				      "r0 = *(u8 *)(r10 -7)\n"
				      "r3 = *(u16 *)(r10 -4)\n"
				      "r0 += r3\n"
				      "exit\n", NULL), 0x77 + 0x3344);
	assert_int_equal(jit_run_text("*(u64 *)(r10 -16) = -1\n"
				      "*(u32 *)(r10 -16) = 5\n"
				      "r0 = *(u64 *)(r10 -16)\n"
				      "exit\n", NULL), 0xffffffff00000005);
	assert_int_equal(jit_run_text("*(u32 *)(r10 -4) = -5\n"
				      "r0 = *(s32 *)(r10 -4)\n"
				      "exit\n", NULL), -5ll);
}

static void a_probed_load_of_a_bad_address_is_0(void **state)
{
	static const u8 modes[] = { BPF_LDX | BPF_MEM | BPF_B, BPF_LDX | BPF_MEM | BPF_H,
				    BPF_LDX | BPF_MEM | BPF_W, BPF_LDX | BPF_MEM | BPF_DW,
				    BPF_LDX | BPF_MEMSX | BPF_W };

	(void)state;
	for (u32 n = 0; n < ARRAY_SIZE(modes) * 10; n++) {
		u8 dst = n % 10;
		struct bpf_insn insns[] = {
			MOV64I(dst, -1),
			INSN(modes[n / 10], dst, 1, 16, 0),
			MOV64(0, dst),
			EXIT(),
		};
		struct prog *p = prog_new(insns, ARRAY_SIZE(insns));
		u64 data[3] = { 0, 0, 0x44 };

		assert_int_equal(prog_find_funcs(p), 0);
		p->facts = base_array(p->insn_cnt, sizeof(*p->facts));
		for (u32 i = 0; i < p->insn_cnt; i++)
			p->facts[i].seen = true;
		p->facts[1].probe = true;
		assert_int_equal(jit_install(p), 0);
		if (dst != 1) {
			assert_int_equal(prog_run(p, data), 0x44);
			assert_int_equal(prog_run(p, (void *)8), 0);
			assert_int_equal(prog_run(p, (void *)0xffff800000000000), 0);
		}
		jit_prog_free(p);
	}
}

static void packet_loads_are_in_host_order_and_end_the_program_outside(void **state)
{
	static u8 data[] = { 0x12, 0x34, 0x56, 0x78, 0x9a };
	struct prog_pkt pkt = { .data = (u64)(uintptr_t)data,
				.data_end = (u64)(uintptr_t)data + sizeof(data) };
	static const struct {
		u8 size;
		s32 off;
		u64 want;
	} cases[] = { { BPF_B, 0, 0x12 }, { BPF_H, 1, 0x3456 }, { BPF_W, 1, 0x3456789a },
		      { BPF_B, 4, 0x9a }, { BPF_B, 5, 0 }, { BPF_H, 4, 0 }, { BPF_W, 2, 0 },
		      { BPF_W, -1, 0 }, { BPF_B, INT32_MIN, 0 }, { BPF_W, -4, 0 } };

	(void)state;
	for (u32 n = 0; n < ARRAY_SIZE(cases) * 2; n++) {
		bool ind = n & 1;
		s32 off = cases[n / 2].off;
		u64 want = cases[n / 2].want;
		struct bpf_insn insns[] = {
			MOV64(6, 1), MOV64I(2, ind ? (u32)off - 3 : 0),
			INSN(BPF_LD | (ind ? BPF_IND : BPF_ABS) | cases[n / 2].size, 0, ind ? 2 : 0,
			     0, ind ? 3 : off),
			ADD64I(0, 1), EXIT(),
		};
		struct prog *p = jit_prog(insns, ARRAY_SIZE(insns));

		assert_int_equal(prog_run(p, &pkt), want ? want + 1 : 0);
		jit_prog_free(p);
	}
}

static void atomics_return_the_old_value(void **state)
{
	u64 ctx[2] = { 0xf0f0f0f0f0f0f0f0, 7 };

	(void)state;
	assert_int_equal(jit_run_text("r0 = 0xff\n"
				      "r0 = atomic64_fetch_or((u64 *)(r1 +0), r0)\n"
				      "exit\n", ctx), 0xf0f0f0f0f0f0f0f0);
	assert_int_equal(ctx[0], 0xf0f0f0f0f0f0f0ff);
	assert_int_equal(jit_run_text("r0 = r1\n"
				      "r2 = 0x0f\n"
				      "r2 = atomic_fetch_and((u32 *)(r0 +0), r2)\n"
				      "r0 = r2\n"
				      "exit\n", ctx), 0xf0f0f0ff);
	assert_int_equal(ctx[0], 0xf0f0f0f00000000f);
	assert_int_equal(jit_run_text("r0 = 7\n"
				      "r2 = 9\n"
				      "r0 = cmpxchg_64(r1 +8, r0, r2)\n"
				      "exit\n", ctx), 7);
	assert_int_equal(ctx[1], 9);
}

/* ---- control flow ---------------------------------------------------------------------------- */

/* Jumps over `n` instructions, forwards and backwards, around the reach of the short form. */
static void jumps_of_every_distance_arrive(void **state)
{
	(void)state;
	for (u32 n = 1; n < 200; n += n < 60 ? 1 : 17) {
		struct bpf_insn insns[450];
		struct prog *p;
		u32 k = 0;

		insns[k++] = MOV64I(0, 3);
		insns[k++] = INSN(BPF_JMP | BPF_JA, 0, 0, n, 0);
		for (u32 i = 0; i < n; i++)
			insns[k++] = INSN(BPF_ALU64 | BPF_XOR | BPF_K, 2, 0, 0, 0x1000 + i);
		insns[k++] = ADD64I(0, 1);
		for (u32 i = 0; i < n; i++)
			insns[k++] = INSN(BPF_ALU64 | BPF_XOR | BPF_K, 3, 0, 0, 0x1000 + i);
		insns[k++] = INSN(BPF_JMP | BPF_JNE | BPF_K, 0, 0, -(s32)n - 2, 20);
		insns[k++] = EXIT();
		p = jit_prog(insns, k);
		assert_int_equal(prog_run(p, NULL), 20);
		jit_prog_free(p);
	}
}

static void a_million_instructions_compile_and_run(void **state)
{
	u32 n = ISA_MAX_INSNS;
	struct bpf_insn *insns = base_array(n, sizeof(*insns));
	struct prog *p;

	(void)state;
	insns[0] = MOV64I(0, 0);
	for (u32 i = 1; i + 1 < n; i++)
		insns[i] = i % 3 ? INSN(BPF_ALU64 | BPF_XOR | BPF_K, 0, 0, 0, i & 1) :
				   INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, 7);
	insns[n - 1] = EXIT();
	p = jit_prog(insns, n);
	assert_true(prog_run(p, NULL) <= 1);
	jit_prog_free(p);
	base_free(insns);
}

static void code_never_reached_is_left_out(void **state)
{
	struct bpf_insn insns[] = {
		MOV64I(0, 1),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 2, 0), /* proved: never taken */
		ADD64I(0, 1), EXIT(),
		MOV64I(0, 99), EXIT(),
	};
	struct prog *p = prog_new(insns, ARRAY_SIZE(insns)), *all;
	struct jit_image small, full;

	(void)state;
	assert_int_equal(prog_find_funcs(p), 0);
	p->facts = base_array(p->insn_cnt, sizeof(*p->facts));
	for (u32 i = 0; i < 4; i++)
		p->facts[i].seen = true;
	assert_int_equal(jit_install(p), 0);
	all = jit_prog(insns, ARRAY_SIZE(insns));
	assert_int_equal(jit_image(p, &small), 0);
	assert_int_equal(jit_image(all, &full), 0);
	assert_true(small.size < full.size);
	assert_int_equal(prog_run(p, NULL), 2);
	jit_prog_free(p);
	jit_prog_free(all);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void functions_have_frames_of_their_own_and_keep_r6_to_r9(void **state)
{
	(void)state;
	assert_int_equal(jit_run_text("r6 = 1\n"
				      "r7 = 2\n"
				      "*(u64 *)(r10 -8) = 100\n"
				      "r1 = r10\n"
				      "r1 += -8\n"
				      "r2 = 5\n"
				      "call f\n"
				      "r0 += r6\n"
				      "r0 += r7\n"
				      "r1 = *(u64 *)(r10 -8)\n"
				      "r0 += r1\n"
				      "exit\n"
				      "f:\n"
				      "*(u64 *)(r10 -8) = 7\n"
				      "r6 = *(u64 *)(r1 +0)\n"
				      "r7 = *(u64 *)(r10 -8)\n"
				      "r0 = r6\n"
				      "r0 *= r7\n"
				      "*(u64 *)(r1 +0) = 1000\n"
				      "r0 += r2\n"
				      "exit\n", NULL), 700 + 5 + 3 + 1000);
}

static s64 seen[5];

static s64 native_mixed(signed char a, unsigned short b, int c, _Bool d, u64 e)
{
	seen[0] = a, seen[1] = b, seen[2] = c, seen[3] = d, seen[4] = (s64)e;
	return -1;
}

static struct module_arg arg(u8 width, bool is_signed, bool is_bool)
{
	return (struct module_arg){ .kind = MODULE_ARG_SCALAR, .width = width,
				    .is_signed = is_signed, .is_bool = is_bool };
}

/* What the callee's C types need is done before the call, whatever the registers hold. */
static void native_functions_get_extended_arguments(void **state)
{
	struct module_func f = {
		.name = "mixed", .addr = (const void *)native_mixed, .nregs = 5, .nargs = 5,
		.ret_kind = MODULE_RET_SCALAR, .ret_width = 4, .ret_signed = false,
		.args = { arg(1, true, false), arg(2, false, false), arg(4, true, false),
			  arg(1, false, true), arg(8, false, false) },
	};
	const struct module_func **natives = base_alloc(sizeof(*natives));
	struct bpf_insn insns[] = {
		LDX(BPF_DW, 5, 1, 0), MOV64(4, 5), MOV64(3, 5), MOV64(2, 5), MOV64(1, 5),
		INSN(BPF_JMP | BPF_CALL, 0, 2, 0, 0), EXIT(),
	};
	struct prog *p = prog_new(insns, ARRAY_SIZE(insns));
	u64 v = 0xfffffffeabcd8280;

	(void)state;
	natives[0] = &f;
	p->natives = natives;
	p->nnatives = 1;
	assert_int_equal(prog_find_funcs(p), 0);
	assert_int_equal(jit_install(p), 0);
	assert_int_equal(prog_run(p, &v), 0xffffffff);
	assert_int_equal(seen[0], (s8)0x80);
	assert_int_equal(seen[1], 0x8280);
	assert_int_equal(seen[2], (s32)0xabcd8280);
	assert_int_equal(seen[3], 1);
	assert_int_equal(seen[4], v);
	jit_remove(p);
	f.ret_signed = true;
	assert_int_equal(jit_install(p), 0);
	assert_int_equal(prog_run(p, &v), -1ll);
	p->nnatives = 0; /* not referenced by a module */
	p->natives = NULL;
	base_free(natives);
	jit_prog_free(p);
}

static u64 native_twice(u64 (*f)(u64, u64, u64, u64, u64), u64 x)
{
	return f(x, 1, 0, 0, 0) + f(x + 1, 2, 0, 0, 0);
}

static void function_references_are_c_function_pointers(void **state)
{
	struct module_func f = {
		.name = "twice", .addr = (const void *)native_twice, .nregs = 2, .nargs = 2,
		.ret_kind = MODULE_RET_SCALAR, .ret_width = 8,
		.args = { arg(8, false, false), arg(8, false, false) },
	};
	const struct module_func *natives[1] = { &f };
	struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_FUNC, 0, 4), { 0 },
		MOV64I(2, 10), INSN(BPF_JMP | BPF_CALL, 0, 2, 0, 0), EXIT(),
		/* u64 f(x, y) { return x * 100 + y; } */
		MOV64(6, 1), INSN(BPF_ALU64 | BPF_MUL | BPF_K, 6, 0, 0, 100), MOV64(0, 6),
		INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 2, 0, 0), EXIT(),
	};
	struct prog *p = prog_new(insns, ARRAY_SIZE(insns));

	(void)state;
	p->natives = natives;
	p->nnatives = 1;
	assert_int_equal(prog_find_funcs(p), 0);
	assert_int_equal(jit_install(p), 0);
	assert_int_equal(prog_run(p, NULL), 1001 + 1102);
	p->nnatives = 0;
	p->natives = NULL;
	jit_prog_free(p);
}

/* ---- maps and tail calls --------------------------------------------------------------------- */

static struct map *new_map(u32 type, u32 key, u32 value, u32 entries)
{
	struct map_attr attr = { .type = type, .key_size = key, .value_size = value,
				 .max_entries = entries };
	struct map *m;

	assert_int_equal(map_create(&attr, &m, NULL), 0);
	return m;
}

static void use_map(struct prog *p, struct map *m)
{
	p->maps = base_alloc(sizeof(*p->maps));
	p->maps[0] = map_get(m);
	p->nmaps = 1;
}

static void array_look_ups_without_a_call_agree_with_the_map(void **state)
{
	static const u32 sizes[] = { 4, 8, 12, 64, 100 };

	(void)state;
	for (u32 n = 0; n < ARRAY_SIZE(sizes); n++) {
		struct map *m = new_map(BPF_MAP_TYPE_ARRAY, 4, sizes[n], 10);
		struct bpf_insn insns[] = {
			LDX(BPF_W, 2, 1, 0), STX(BPF_W, 10, 2, -4), MOV64(2, 10), ADD64I(2, -4),
			INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, 0), { 0 },
			INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem), EXIT(),
		};
		struct prog *p = prog_new(insns, ARRAY_SIZE(insns));

		use_map(p, m);
		assert_int_equal(prog_find_funcs(p), 0);
		p->facts = base_array(p->insn_cnt, sizeof(*p->facts));
		for (u32 i = 0; i < p->insn_cnt; i++) {
			p->facts[i].seen = true;
			p->facts[i].const_key = -1;
		}
		p->facts[6].const_map = true;
		assert_int_equal(jit_install(p), 0);
		for (u32 key = 0; key < 12; key++)
			assert_ptr_equal((void *)(uintptr_t)prog_run(p, &key), m->ops->lookup(m, &key));
		for (u32 key = 8; key < 12; key++) {
			jit_remove(p);
			p->facts[6].const_key = key;
			assert_int_equal(jit_install(p), 0);
			assert_ptr_equal((void *)(uintptr_t)prog_run(p, &key),
					 m->ops->lookup(m, &key));
		}
		jit_prog_free(p);
		map_put(m);
	}
}

/* A key is put, found and deleted, with the map known to the compiler and without. */
static void hash_operations_agree_with_the_map(void **state)
{
	struct bpf_insn insns[] = {
		MOV64(6, 1), INSN(BPF_LD | BPF_IMM | BPF_DW, 7, BPF_PSEUDO_MAP_FD, 0, 0), { 0 },
		MOV64(1, 7), MOV64(2, 6), MOV64(3, 6), ADD64I(3, 8), MOV64I(4, BPF_NOEXIST),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_update_elem), STX(BPF_DW, 6, 0, 16),
		MOV64(1, 7), MOV64(2, 6),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem),
		LDX(BPF_DW, 0, 0, 0), STX(BPF_DW, 6, 0, 24),
		MOV64(1, 7), ADD64I(6, 32), MOV64(2, 6),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_delete_elem), EXIT(),
	};

	(void)state;
	for (int known = 0; known < 2; known++) {
		struct map *m = new_map(BPF_MAP_TYPE_HASH, 8, 8, 4);
		struct prog *p = prog_new(insns, ARRAY_SIZE(insns));
		u64 ctx[5] = { 11, 22, 1, 1, 12 };

		use_map(p, m);
		p->facts = base_array(p->insn_cnt, sizeof(*p->facts));
		for (u32 i = 0; i < p->insn_cnt; i++) {
			p->facts[i].seen = true;
			p->facts[i].const_map = known;
			p->facts[i].const_key = -1;
		}
		assert_int_equal(prog_find_funcs(p), 0);
		assert_int_equal(jit_install(p), 0);
		assert_int_equal((s64)prog_run(p, ctx), -ENOENT);
		assert_int_equal(ctx[2], 0);
		assert_int_equal(ctx[3], 22);
		assert_int_equal((s64)prog_run(p, ctx), -ENOENT);
		assert_int_equal((s64)ctx[2], -EEXIST);
		jit_prog_free(p);
		map_put(m);
	}
}

static void map_values_are_reached_directly(void **state)
{
	struct map *m = new_map(BPF_MAP_TYPE_ARRAY, 4, 16, 1);
	struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_VALUE, 0, 0), { .imm = 8 },
		LDX(BPF_DW, 0, 1, 0), EXIT(),
	};
	struct prog *p = prog_new(insns, ARRAY_SIZE(insns));
	u64 value[2] = { 5, 6 };
	u32 key = 0;

	(void)state;
	use_map(p, m);
	assert_int_equal(m->ops->update(m, &key, value, 0), 0);
	assert_int_equal(prog_find_funcs(p), 0);
	assert_int_equal(jit_install(p), 0);
	assert_int_equal(prog_run(p, NULL), 6);
	jit_prog_free(p);
	map_put(m);
}

static void keep(const struct map *m, void *obj)
{
	(void)m, (void)obj;
}

/* ctx[0]++; if `sub`, the tail call is made in a function; then r0 = value, or 1000 + r0 after it. */
static struct prog *tail_caller(struct map *m, bool sub, s32 index, s32 value)
{
	struct bpf_insn plain[] = {
		LDX(BPF_DW, 6, 1, 0), ADD64I(6, 1), STX(BPF_DW, 1, 6, 0),
		INSN(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, 0), { 0 },
		MOV64I(3, index), INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call),
		MOV64I(0, value), EXIT(),
	};
	struct bpf_insn in_sub[] = {
		MOV64I(7, 1000), INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 1, 0, 2),
		INSN(BPF_ALU64 | BPF_ADD | BPF_X, 0, 7, 0, 0), EXIT(),
		LDX(BPF_DW, 6, 1, 0), ADD64I(6, 1), STX(BPF_DW, 1, 6, 0), MOV64I(7, 3),
		INSN(BPF_LD | BPF_IMM | BPF_DW, 2, BPF_PSEUDO_MAP_FD, 0, 0), { 0 },
		MOV64I(3, index), INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call),
		MOV64I(0, value), EXIT(),
	};
	struct prog *p = sub ? prog_new(in_sub, ARRAY_SIZE(in_sub)) :
			       prog_new(plain, ARRAY_SIZE(plain));

	use_map(p, m);
	assert_int_equal(prog_find_funcs(p), 0);
	assert_int_equal(jit_install(p), 0);
	return p;
}

static void set_prog(struct map *m, u32 index, struct prog *p)
{
	m->objs[index] = p;
}

static void tail_calls_go_33_deep_and_fall_through(void **state)
{
	struct map *m = new_map(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 3);
	struct prog *loop = tail_caller(m, false, 0, 42), *other = tail_caller(m, false, 0, 43);
	struct prog *out = tail_caller(m, false, 3, 44), *empty = tail_caller(m, false, 2, 45);
	u64 runs = 0;

	(void)state;
	map_drop_obj = keep;
	set_prog(m, 0, loop);
	assert_int_equal(prog_run(loop, &runs), 42);
	assert_int_equal(runs, 34);
	runs = 0;
	assert_int_equal(prog_run(other, &runs), 42); /* ends in the one that was called */
	assert_int_equal(runs, 34);
	assert_int_equal(prog_run(loop, &runs), 42); /* every run counts anew */
	assert_int_equal(runs, 68);
	assert_int_equal(prog_run(out, &runs), 44);
	assert_int_equal(prog_run(empty, &runs), 45);
	set_prog(m, 0, NULL);
	map_put(m);
	jit_prog_free(loop);
	jit_prog_free(other);
	jit_prog_free(out);
	jit_prog_free(empty);
}

static void a_tail_call_in_a_function_returns_to_its_caller(void **state)
{
	struct map *m = new_map(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 3);
	struct prog *leaf = tail_caller(m, false, 2, 7), *sub = tail_caller(m, true, 0, 8);
	struct prog *nest = tail_caller(m, true, 1, 9);
	u64 runs = 0;

	(void)state;
	set_prog(m, 0, leaf);
	set_prog(m, 1, nest);
	assert_int_equal(prog_run(sub, &runs), 1007);
	assert_int_equal(runs, 2);
	/* Each level's function tail calls the whole program again: one count for the run. */
	runs = 0;
	assert_int_equal(prog_run(nest, &runs), 9 + 34 * 1000);
	assert_int_equal(runs, 34);
	set_prog(m, 0, NULL);
	set_prog(m, 1, NULL);
	map_put(m);
	jit_prog_free(leaf);
	jit_prog_free(sub);
	jit_prog_free(nest);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void what_is_no_program_is_refused(void **state)
{
	static const struct bpf_insn bad[][3] = {
		{ INSN(0xff, 0, 0, 0, 0), EXIT(), EXIT() },
		{ MOV64I(0, 0), MOV64I(0, 0), MOV64I(0, 0) },           /* falls off the end */
		{ INSN(BPF_JMP | BPF_JA, 0, 0, 100, 0), EXIT(), EXIT() },
		{ INSN(BPF_JMP | BPF_JA, 0, 0, -5, 0), EXIT(), EXIT() },
		{ INSN(BPF_JMP32 | BPF_JA, 0, 0, 0, INT32_MIN), EXIT(), EXIT() },
		{ INSN(BPF_JMP | BPF_CALL, 0, 0, 0, 999999), EXIT(), EXIT() }, /* no such helper */
		{ INSN(BPF_JMP | BPF_CALL, 0, 2, 0, 0), EXIT(), EXIT() },      /* no such native */
		{ INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, 3), { 0 }, EXIT() },
		{ INSN(BPF_LD | BPF_IMM | BPF_DW, 1, 9, 0, 3), { 0 }, EXIT() },
		{ MOV64I(10, 1), EXIT(), EXIT() },
		{ MOV64I(13, 1), EXIT(), EXIT() },
		{ MOV64I(0, 1), EXIT(), INSN(BPF_LD | BPF_IMM | BPF_DW, 1, 0, 0, 3) },
	};

	(void)state;
	for (u32 n = 0; n < ARRAY_SIZE(bad); n++) {
		struct prog *p = prog_new(bad[n], 3);
		struct jit_image image;

		assert_int_equal(jit_install(p), -EINVAL);
		assert_int_equal(jit_image(p, &image), -ENOENT);
		jit_prog_free(p);
	}
}

/* Any bytes: compiled or refused, nothing else. */
static void random_instructions_do_no_harm(void **state)
{
	u64 x = 88172645463325252;

	(void)state;
	for (u32 round = 0; round < 3000; round++) {
		struct bpf_insn insns[12];
		struct prog *p;

		for (u32 i = 0; i < 12; i++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			memcpy(&insns[i], &x, 8);
			if (x & 1)
				insns[i].code = (u8[]){ 0x61, 0xb7, 0xdb, 0x85, 0x18, 0x1f, 0x55,
							0x05 }[x >> 61];
			insns[i].off = (s16)(insns[i].off % 9);
			if (x & 2)
				insns[i].imm %= 10;
		}
		insns[11] = EXIT();
		p = prog_new(insns, 12);
		if (!prog_find_funcs(p))
			jit_install(p);
		jit_prog_free(p);
	}
}

static u32 until_failure;
static void *(*real_allocator)(void *, size_t);

static void *failing(void *old, size_t size)
{
	if (size && !until_failure--)
		return NULL;
	return real_allocator(old, size);
}

static void each_allocation_may_fail(void **state)
{
	struct bpf_insn insns[] = { LDX(BPF_DW, 0, 1, 0), EXIT() };
	struct prog *p = prog_new(insns, 2);
	int err = -ENOMEM;

	(void)state;
	p->facts = base_array(2, sizeof(*p->facts));
	p->facts[0].seen = p->facts[1].seen = p->facts[0].probe = true;
	real_allocator = base_allocator;
	for (u32 n = 0; err && n < 100; n++) {
		until_failure = n;
		base_allocator = failing;
		err = jit_install(p);
		base_allocator = real_allocator;
		assert_true(!err || err == -ENOMEM);
	}
	assert_int_equal(err, 0);
	assert_int_equal(prog_run(p, (void *)8), 0);
	jit_prog_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stack_slots_of_all_widths_keep_their_bytes),
		cmocka_unit_test(a_probed_load_of_a_bad_address_is_0),
		cmocka_unit_test(packet_loads_are_in_host_order_and_end_the_program_outside),
		cmocka_unit_test(atomics_return_the_old_value),
		cmocka_unit_test(jumps_of_every_distance_arrive),
		cmocka_unit_test(a_million_instructions_compile_and_run),
		cmocka_unit_test(code_never_reached_is_left_out),
		cmocka_unit_test(functions_have_frames_of_their_own_and_keep_r6_to_r9),
		cmocka_unit_test(native_functions_get_extended_arguments),
		cmocka_unit_test(function_references_are_c_function_pointers),
		cmocka_unit_test(array_look_ups_without_a_call_agree_with_the_map),
		cmocka_unit_test(hash_operations_agree_with_the_map),
		cmocka_unit_test(map_values_are_reached_directly),
		cmocka_unit_test(tail_calls_go_33_deep_and_fall_through),
		cmocka_unit_test(a_tail_call_in_a_function_returns_to_its_caller),
		cmocka_unit_test(what_is_no_program_is_refused),
		cmocka_unit_test(random_instructions_do_no_harm),
		cmocka_unit_test(each_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
