/* SPDX-License-Identifier: MIT */
/*
 * Pointers typed by BTF: what loads through them give and what is refused, and that bad addresses
 * give 0 in both engines.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "code/code.h"
#include "core.h"
#include "jit/jit.h"
#include "module/module.h"
#include "vm/vm.h"

#define TYPES(...)                                                                                 \
	__VA_ARGS__                                                                                \
	static const char types_text[] = #__VA_ARGS__;
/* The offsets that programs below use are checked against this compiler's. */
TYPES(
	struct other { int n; };
	struct node {
		long id;                 /* 0 */
		struct node *next;       /* 8 */
		struct { int a; struct other *o; } in; /* 16, 24 */
		unsigned x : 3, y : 13;  /* 32 */
		short arr[2][3];         /* 34 */
		const char *name;        /* 48 */
		struct other *kids[2];   /* 56 */
		union { long n; struct other *p; } u; /* 72 */
		struct other **pp;       /* 80 */
		void *vp;                /* 88 */
		struct other list[2];    /* 96 */
		signed char c;           /* 104 */
		struct other tail[0];    /* 108 */
	};
)
_Static_assert(offsetof(struct node, in.o) == 24 && offsetof(struct node, arr) == 34 &&
	       offsetof(struct node, kids) == 56 && offsetof(struct node, u) == 72 &&
	       offsetof(struct node, list) == 96 && offsetof(struct node, tail) == 108 &&
	       sizeof(struct node) == 112, "offsets in the programs below");

static const char prototype[] = "int on_node(struct node *n, const struct node *k, int small, "
				"void *v, struct other *o)";
static struct btf *types;
static u32 func_id;

static int setup(void **state)
{
	struct btf *edited = btf__new_empty_split(fbtf_vmlinux());
	struct text why = { 0 };
	struct hash seen = { 0 };
	const struct ctype *t;
	const char *name;
	struct ctypes *cs;
	int id;

	(void)state;
	assert_int_equal(ctypes_new(&cs), 0);
	if (ctypes_declare(cs, types_text, &why) || ctypes_prototype(cs, prototype, &t, &name, &why))
		fail_msg("%s", text_str(&why));
	id = fbtf_add_func(edited, &seen, name, t);
	assert_true(id > 0);
	func_id = (u32)id;
	assert_int_equal(fbtf_seal(edited, fbtf_vmlinux(), &types), 0);
	hash_free(&seen);
	ctypes_free(cs);
	btf__free(edited);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	btf__free(types);
	return 0;
}

enum { UNTRUSTED, TRUSTED, NULLABLE, WRITABLE };

/* A program whose context is the arguments of on_node(). */
static void open_typed(struct core *c, const char *source, int how)
{
	core_open(c, BPF_PROG_TYPE_RAW_TRACEPOINT, source);
	c->p->args = (struct prog_args){
		.btf = types,
		.proto = btf__type_by_id(types, func_id)->type,
		.name = "on_node",
		.with_ret = true,
		.trusted = how != UNTRUSTED,
		.nullable = how == NULLABLE,
		.writable = how == WRITABLE,
	};
}

static const struct typed_case {
	int how;
	const char *source, *error; /* NULL: accepted; behind the load of the node into r1 */
} cases[] = {
	{ UNTRUSTED, "r0 = *(u64 *)(r1 +0)\n", NULL },
	{ UNTRUSTED, "r1 = *(u64 *)(r1 +8)\nr1 = *(u64 *)(r1 +8)\nr0 = *(u32 *)(r1 +16)\n", NULL },
	{ UNTRUSTED, "r1 = *(u64 *)(r1 +24)\nr0 = *(u32 *)(r1 +0)\n", NULL },
	{ UNTRUSTED, "r1 = *(u64 *)(r1 +24)\nr0 = *(u64 *)(r1 +0)\n", "access beyond struct other" },
	/* Bytes of a pointer are no number to look at. */
	{ UNTRUSTED, "r0 = *(u32 *)(r1 +8)\n", "cannot access ptr member next" },
	{ UNTRUSTED, "r0 = *(u32 *)(r1 +12)\n", "cannot access ptr member next" },
	/* Holes and ends. */
	{ UNTRUSTED, "r0 = *(u32 *)(r1 +20)\n", "doesn't have field at offset" },
	{ UNTRUSTED, "r0 = *(u64 *)(r1 +16)\n", "access beyond the end of member a" },
	{ UNTRUSTED, "r0 = *(u8 *)(r1 +7)\n", NULL },
	{ UNTRUSTED, "r0 = *(u64 *)(r1 -8)\n", "invalid negative access" },
	{ UNTRUSTED, "r0 = *(u64 *)(r1 +1)\n", "access beyond the end of member id" },
	/* Bit-fields: whole bytes that cover one. */
	{ UNTRUSTED, "r0 = *(u8 *)(r1 +32)\n", NULL },
	{ UNTRUSTED, "r0 = *(u32 *)(r1 +32)\n", NULL },
	{ UNTRUSTED, "r0 = *(u8 *)(r1 +33)\n", "doesn't have field" },
	/* Arrays, also of several dimensions, as one piece. */
	{ UNTRUSTED, "r0 = *(u16 *)(r1 +44)\n", NULL },
	{ UNTRUSTED, "r0 = *(u64 *)(r1 +34)\n", NULL },
	{ UNTRUSTED, "r0 = *(u64 *)(r1 +40)\n", "access beyond the end of member arr" },
	{ UNTRUSTED, "r1 = *(u64 *)(r1 +64)\nr0 = *(u32 *)(r1 +0)\n", NULL },
	{ UNTRUSTED, "r0 = *(u32 *)(r1 +100)\n", NULL },
	/* Elements of a flexible array. */
	{ UNTRUSTED, "r0 = *(u32 *)(r1 +112)\n", NULL },
	{ UNTRUSTED, "r0 = *(u32 *)(r1 +1024)\n", NULL },
	{ UNTRUSTED, "r0 = *(u32 *)(r1 +114)\n", "access beyond struct other" },
	/* The first member of a union that fits is what is read. */
	{ UNTRUSTED, "r1 = *(u64 *)(r1 +72)\nr0 = *(u32 *)(r1 +0)\n", "invalid mem access 'scalar'" },
	/* Behind pointers to anything but structs there is data. */
	{ UNTRUSTED, "r1 = *(u64 *)(r1 +48)\nr0 = *(u8 *)(r1 +0)\n", NULL },
	{ UNTRUSTED, "r1 = *(u64 *)(r1 +48)\nr2 = *(u8 *)(r1 +0)\nr1 += r2\nr0 = *(u8 *)(r1 -9)\n",
	  NULL },
	{ UNTRUSTED, "r1 = *(u64 *)(r1 +80)\nr1 = *(u64 *)(r1 +0)\nr0 = *(u64 *)(r1 +0)\n",
	  "invalid mem access 'scalar'" },
	{ UNTRUSTED, "r1 = *(u64 *)(r1 +88)\nr0 = *(u8 *)(r1 +1000)\n", NULL },
	{ UNTRUSTED, "r1 = *(u64 *)(r1 +88)\n*(u8 *)(r1 +0) = 1\n",
	  "cannot write into rdonly_untrusted_mem" },
	{ WRITABLE, "r1 = *(u64 *)(r1 +88)\n*(u8 *)(r1 +0) = 1\n", "cannot write into" },
	{ UNTRUSTED, "r1 = *(u64 *)(r1 +88)\nr2 = 1\nlock *(u64 *)(r1 +0) += r2\n",
	  "BPF_ATOMIC stores into R1" },
	/* Offsets add up; variable ones say nothing of the type. */
	{ UNTRUSTED, "r1 += 16\nr0 = *(u32 *)(r1 +0)\n", NULL },
	{ UNTRUSTED, "r1 += 24\nr1 = *(u64 *)(r1 -16)\nr0 = *(u64 *)(r1 +0)\n", NULL },
	{ UNTRUSTED, "r2 = *(u64 *)(r1 +0)\nr2 &= 8\nr1 += r2\nr0 = *(u64 *)(r1 +0)\n",
	  "invalid variable offset" },
	/* Writing is for what the owner allows, and only of numbers inside a valid struct. */
	{ UNTRUSTED, "*(u64 *)(r1 +0) = 1\n", "only read is supported" },
	{ TRUSTED, "*(u64 *)(r1 +0) = 1\n", "only read is supported" },
	{ WRITABLE, "*(u64 *)(r1 +0) = 1\n", NULL },
	{ WRITABLE, "*(u8 *)(r1 +104) = 1\n", NULL },
	{ WRITABLE, "*(u64 *)(r1 +8) = 0\n", "cannot be written" },
	{ WRITABLE, "*(u64 *)(r1 +72) = 0\n", "cannot be written" },
	{ WRITABLE, "*(u64 *)(r1 +88) = 0\n", "cannot be written" },
	{ WRITABLE, "*(u32 *)(r1 +116) = 0\n", "cannot be written" },
	{ WRITABLE, "*(u64 *)(r1 +0) = r10\n", "cannot be written" },
	{ WRITABLE, "r1 = *(u64 *)(r1 +8)\n*(u64 *)(r1 +0) = 1\n", "only read is supported" },
	{ WRITABLE, "r2 = 1\nlock *(u64 *)(r1 +0) += r2\n", "BPF_ATOMIC stores into R1" },
	/* NULL where it may be. */
	{ NULLABLE, "r0 = *(u64 *)(r1 +0)\n", "invalid mem access 'trusted_ptr_or_null_'" },
	{ NULLABLE, "if r1 == 0 goto +1\nr0 = *(u64 *)(r1 +0)\n", NULL },
	{ TRUSTED, "if r1 != 0 goto +1\nr0 = *(u64 *)(r10 -8)\n", NULL }, /* never NULL */
	{ UNTRUSTED, "if r1 != 0 goto +1\nr0 = *(u64 *)(r10 -8)\n", "invalid read from stack" },
	/* One load for memory and typed pointers, but not for others. */
	{ UNTRUSTED, "r2 = map_value[5]+0 ll\nr3 = *(u64 *)(r1 +0)\nif r3 == 1 goto +1\nr1 = r2\n"
	  "r0 = *(u64 *)(r1 +0)\n", "same insn cannot be used with different pointers" },
	/* Helpers read memory as it is: it has to be there. */
	{ TRUSTED, "r2 = 8\nr4 = r10\nr4 += -8\nr3 = map_value[4]+8 ll\ncall strncmp\n", NULL },
	{ TRUSTED, "r2 = 113\nr3 = map_value[4]+8 ll\ncall strncmp\n", "access beyond struct node" },
	{ UNTRUSTED, "r2 = 8\nr3 = map_value[4]+8 ll\ncall strncmp\n", "R1 type=ptr_" },
	{ TRUSTED, "r1 = *(u64 *)(r1 +8)\nr2 = 8\nr3 = map_value[4]+8 ll\ncall strncmp\n",
	  "R1 type=ptr_" },
};

static void members_are_read_as_what_they_are(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct typed_case *t = &cases[i];
		char source[1024];
		struct core c;

		snprintf(source, sizeof(source),
			 "r1 = *(u64 *)(r1 +0)\n%sr0 = 0\nexit\n", t->source);
		open_typed(&c, source, t->how);
		core_verify(&c);
		if (!c.err != !t->error || (c.err && !strstr(text_str(&c.log), t->error)))
			fail_msg("%s: gave %d: %s", t->source, c.err, text_str(&c.log));
		core_close(&c);
	}
}

static void arguments_are_typed_by_the_prototype(void **state)
{
	static const struct typed_case args[] = {
		{ TRUSTED, "r0 = *(u64 *)(r1 +16)\n", NULL },
		{ TRUSTED, "r0 = *(u32 *)(r1 +16)\n", NULL },
		{ TRUSTED, "r0 = *(u32 *)(r1 +20)\n", "not multiple of 8" },
		{ TRUSTED, "r0 = *(u32 *)(r1 +0)\n", "size 4 must be 8" },
		{ TRUSTED, "r1 = *(u64 *)(r1 +24)\nr0 = *(u8 *)(r1 +0)\n", "'scalar'" }, /* void * */
		{ TRUSTED, "r1 = *(u64 *)(r1 +32)\nr0 = *(u32 *)(r1 +0)\n", NULL },
		{ TRUSTED, "r0 = *(u64 *)(r1 +40)\n", NULL }, /* the result */
		{ TRUSTED, "r0 = *(u64 *)(r1 +48)\n", "doesn't have 7-th argument" },
		{ TRUSTED, "*(u64 *)(r1 +16) = 0\n", "invalid bpf_context access" },
		{ WRITABLE, "r1 = *(u64 *)(r1 +8)\n*(u64 *)(r1 +0) = 1\n", "only read" }, /* const */
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(args); i++) {
		char source[1024];
		struct core c;

		snprintf(source, sizeof(source), "%sr0 = 0\nexit\n", args[i].source);
		open_typed(&c, source, args[i].how);
		core_verify(&c);
		if (!c.err != !args[i].error ||
		    (c.err && !strstr(text_str(&c.log), args[i].error)))
			fail_msg("%s: gave %d: %s", args[i].source, c.err, text_str(&c.log));
		core_close(&c);
	}
}

static int install(struct prog *p, bool jit)
{
	return jit ? jit_install(p) : vm_install(p);
}
static void remove_engine(struct prog *p, bool jit)
{
	if (jit)
		jit_remove(p);
	else
		vm_remove(p);
}

/* The result of a program on both engines; what it counted as faults goes to *faults. */
static u64 run_typed(const char *source, const u64 *ctx, u64 *faults)
{
	u64 results[2] = { 0 };
	int jit;
	u32 i;

	for (jit = 0; jit < 2; jit++) {
		struct core c;

		if (jit && !code_allowed())
			return results[0];
		open_typed(&c, source, UNTRUSTED);
		if (core_verify(&c))
			fail_msg("%s", text_str(&c.log));
		assert_int_equal(install(c.p, jit), 0);
		results[jit] = prog_run(c.p, (void *)(uintptr_t)ctx);
		*faults = 0;
		for (i = 0; i < c.p->insn_cnt; i++)
			*faults += c.p->faults ? c.p->faults[i] : 0;
		remove_engine(c.p, jit);
		core_close(&c);
	}
	assert_int_equal(results[0], results[1]);
	return results[0];
}

static void loads_give_what_is_there(void **state)
{
	struct other o = { .n = -5 };
	struct node last = { .id = 77 }, n = { .next = &last, .in = { 1, &o }, .x = 5, .y = 1234,
					       .arr = { { 1, 2, 3 }, { 4, 5, 60000 - 65536 } },
					       .c = -3 };
	u64 ctx[12] = { (uintptr_t)&n }, faults;

	(void)state;
	assert_int_equal(run_typed("r1 = *(u64 *)(r1 +0)\nr1 = *(u64 *)(r1 +8)\nr0 = *(u64 *)(r1 +0)\n"
				   "exit\n", ctx, &faults), 77);
	assert_int_equal(faults, 0);
	assert_int_equal(run_typed("r1 = *(u64 *)(r1 +0)\nr1 = *(u64 *)(r1 +24)\nr0 = *(s32 *)(r1 +0)\n"
				   "exit\n", ctx, &faults), (u64)-5);
	assert_int_equal(run_typed("r1 = *(u64 *)(r1 +0)\nr0 = *(u16 *)(r1 +44)\nexit\n", ctx, &faults),
			 60000);
	assert_int_equal(run_typed("r1 = *(u64 *)(r1 +0)\nr0 = *(u16 *)(r1 +32)\nr0 >>= 3\nexit\n", ctx,
				   &faults), 1234);
	assert_int_equal(run_typed("r1 = *(u64 *)(r1 +0)\nr0 = *(s8 *)(r1 +104)\nexit\n", ctx, &faults),
			 (u64)-3);
}

/* Each width, where the destination is the base and where it is not. */
static const char *const stale_loads[] = {
	"r1 = *(u64 *)(r1 +0)\nr0 = 9\nr0 = *(u64 *)(r1 +0)\nexit\n",
	"r1 = *(u64 *)(r1 +0)\nr0 = 9\nr0 = *(u32 *)(r1 +16)\nexit\n",
	"r1 = *(u64 *)(r1 +0)\nr0 = 9\nr0 = *(u16 *)(r1 +34)\nexit\n",
	"r1 = *(u64 *)(r1 +0)\nr0 = 9\nr0 = *(u8 *)(r1 +104)\nexit\n",
	"r1 = *(u64 *)(r1 +0)\nr0 = 9\nr0 = *(s8 *)(r1 +104)\nexit\n",
	"r1 = *(u64 *)(r1 +0)\nr0 = 9\nr0 = *(s32 *)(r1 +16)\nexit\n",
	"r0 = *(u64 *)(r1 +0)\nr0 = *(u64 *)(r0 +0)\nexit\n",
	"r0 = *(u64 *)(r1 +0)\nr0 = *(u8 *)(r0 +7)\nr0 += 0\nexit\n",
	"r1 = *(u64 *)(r1 +0)\nr3 = 0\nr2 = *(u64 *)(r1 +0)\nr3 += r2\nr0 = r3\nexit\n",
};

static void addresses_that_are_not_there_give_zero_and_are_counted(void **state)
{
	/* Far from where the next mappings go. */
	void *gone = mmap((void *)0x123400000000ull, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const u64 bad[] = {
		0, 8, (u64)(uintptr_t)gone, (u64)(uintptr_t)none,
		0x800000000000ull, 0x0123456789abcdefull, 0x8000000000000000ull, /* not canonical */
		0xffff800000000000ull, 0xffffffff81000000ull, 0xfffffffffffff000ull, /* the kernel's */
		0xffffffffffffffffull, 0xfffffffffffffff8ull,               /* wraps around */
	};
	u64 ctx[12] = { 0 }, faults;
	size_t i, k;

	(void)state;
	munmap(gone, 4096);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		for (k = 0; k < ARRAY_SIZE(stale_loads); k++) {
			ctx[0] = bad[i];
			if (run_typed(stale_loads[k], ctx, &faults) != 0 || faults != 1)
				fail_msg("%s at %llx: %llu faults", stale_loads[k],
					 (unsigned long long)bad[i], (unsigned long long)faults);
		}
	}
	munmap(none, 4096);
}

static void a_file_that_was_cut_off_gives_zero(void **state)
{
	FILE *f = tmpfile();
	u64 ctx[12] = { 0 }, faults;
	void *map;

	(void)state;
	assert_non_null(f);
	assert_int_equal(ftruncate(fileno(f), 4096), 0);
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(f), 0);
	assert_true(map != MAP_FAILED);
	assert_int_equal(ftruncate(fileno(f), 0), 0); /* from now on, SIGBUS */
	ctx[0] = (uintptr_t)map;
	assert_int_equal(run_typed(stale_loads[0], ctx, &faults), 0);
	assert_int_equal(faults, 1);
	munmap(map, 4096);
	fclose(f);
}

static void the_current_task_is_this_thread(void **state)
{
	static const char *const source[] = {
		"call get_current_task_btf\nr0 = *(u32 *)(r0 +%u)\nexit\n",
		"call get_current_task_btf\nr0 = *(u64 *)(r0 +%u)\nr0 = *(u32 *)(r0 +%u)\nexit\n",
	};
	struct btf *btf = fbtf_vmlinux();
	const struct btf_type *t;
	u32 i, tgid = 0, parent = 0;
	u64 ctx[12] = { 0 }, faults;
	char text[256];

	(void)state;
	t = btf__type_by_id(btf, (u32)btf__find_by_name_kind(btf, "task_struct", BTF_KIND_STRUCT));
	assert_non_null(t);
	for (i = 0; i < btf_vlen(t); i++) {
		const char *name = fbtf_name(btf, btf_members(t)[i].name_off);

		if (!strcmp(name, "tgid"))
			tgid = btf_member_bit_offset(t, i) / 8;
		if (!strcmp(name, "real_parent"))
			parent = btf_member_bit_offset(t, i) / 8;
	}
	snprintf(text, sizeof(text), source[0], tgid);
	assert_int_equal(run_typed(text, ctx, &faults), getpid());
	snprintf(text, sizeof(text), source[1], parent, tgid);
	assert_int_equal(run_typed(text, ctx, &faults), getppid());
}

/* ---- variables of modules --------------------------------------------------------------------- */

static struct { long a; int b; } one = { 5, 6 };
static int number = -3, cpus[2] = { 8, 9 };
static const struct ferry_func entries[] = {
	FERRY_VAR("struct pair one", &one),
	FERRY_VAR("int number", &number),
	FERRY_VAR("int cpus[2]", cpus, FERRY_PERCPU),
	FERRY_VAR("struct pair one_more", &one, FERRY_WRITABLE),
	FERRY_VAR("const int fixed", &number, FERRY_WRITABLE),
};

static void variables_are_memory_of_their_type(void **state)
{
	static const struct {
		const char *source, *error;
	} progs[] = {
		{ "r1 = btf_id[0] ll\nr0 = *(u32 *)(r1 +8)\n", NULL },
		{ "r1 = btf_id[0] ll\nr0 = *(u64 *)(r1 +8)\n", "access beyond the end of member b" },
		{ "r1 = btf_id[0] ll\n*(u64 *)(r1 +0) = 1\n", "only read is supported" },
		{ "r1 = btf_id[3] ll\n*(u64 *)(r1 +0) = 1\n", NULL },
		{ "r1 = btf_id[1] ll\nr0 = *(u32 *)(r1 +0)\n", NULL },
		{ "r1 = btf_id[1] ll\nr0 = *(u64 *)(r1 +0)\n", "invalid access to memory" },
		{ "r1 = btf_id[1] ll\n*(u32 *)(r1 +0) = 1\n", "cannot write into rdonly_mem" },
		{ "r1 = btf_id[4] ll\n*(u32 *)(r1 +0) = 1\n", "cannot write into rdonly_mem" },
		{ "r1 = btf_id[5] ll\nr0 = *(u32 *)(r1 +0)\n", "reference to variable 5" },
		/* One a processor: a helper says which. */
		{ "r1 = btf_id[2] ll\nr0 = *(u32 *)(r1 +0)\n", "access percpu memory" },
		{ "r1 = btf_id[2] ll\nr2 = 0\ncall per_cpu_ptr\nr0 = *(u32 *)(r0 +0)\n",
		  "invalid mem access 'rdonly_mem_or_null'" },
		{ "r1 = btf_id[2] ll\nr2 = 0\ncall per_cpu_ptr\nif r0 == 0 goto +1\n"
		  "r0 = *(u32 *)(r0 +0)\n", NULL },
		{ "r1 = btf_id[2] ll\ncall this_cpu_ptr\nr0 = *(u32 *)(r0 +0)\n", NULL },
		{ "r1 = btf_id[2] ll\ncall this_cpu_ptr\nr0 = *(u32 *)(r0 +4)\n", "invalid access to memory" },
		{ "r1 = btf_id[2] ll\nr1 += 4\ncall this_cpu_ptr\n", "R1 type=percpu_ptr_" },
		{ "r1 = btf_id[0] ll\ncall this_cpu_ptr\n", "R1 type=trusted_ptr_" },
	};
	const struct ferry_module def = { sizeof(def), "vars", "struct pair { long a; int b; };", entries,
					  ARRAY_SIZE(entries) };
	struct module *m;
	size_t i;
	u32 k;

	(void)state;
	assert_int_equal(module_register(&def, &m, NULL), 0);
	for (i = 0; i < ARRAY_SIZE(progs); i++) {
		char source[512];
		struct core c;

		snprintf(source, sizeof(source), "%sr0 = 0\nexit\n", progs[i].source);
		core_open(&c, BPF_PROG_TYPE_XDP, source);
		c.p->syms = base_array(ARRAY_SIZE(entries), sizeof(*c.p->syms));
		for (k = 0; k < ARRAY_SIZE(entries); k++)
			c.p->syms[c.p->nsyms++] = (struct prog_sym){ module_get(m), &m->vars[k], 1 };
		core_verify(&c);
		if (!c.err != !progs[i].error || (c.err && !strstr(text_str(&c.log), progs[i].error)))
			fail_msg("%s: gave %d: %s", progs[i].source, c.err, text_str(&c.log));
		core_close(&c);
	}
	module_unregister("vars");
}

static void declarations_of_variables_are_checked(void **state)
{
	static const struct {
		struct ferry_func var;
		const char *why;
	} cases_of[] = {
		{ FERRY_VAR("int", &number), "type name" },
		{ FERRY_VAR("", &number), "type name" },
		{ FERRY_VAR(NULL, &number), "type name" },
		{ FERRY_VAR("int x", NULL), "address" },
		{ FERRY_VAR("struct nothing x", &number), "no size" },
		{ FERRY_VAR("void x", &number), "" },
		{ FERRY_VAR("int x; int y", &number), "" },
		{ FERRY_VAR("int (*f)(int)", &number), "" },
		{ FERRY_VAR("int x[]", &number), "" },
		{ FERRY_VAR("int x", &number, FERRY_PERCPU), "has to be an array" },
		{ FERRY_VAR("int x", &number, FERRY_ACQUIRE), "flags of variables" },
	};
	struct text why = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases_of); i++) {
		const struct ferry_module def = { sizeof(def), "vars", NULL, &cases_of[i].var, 1 };

		text_reset(&why);
		assert_int_equal(module_register(&def, NULL, &why), -EINVAL);
		if (!strstr(text_str(&why), cases_of[i].why) || !strstr(text_str(&why), "module vars"))
			fail_msg("%zu: %s", i, text_str(&why));
	}
	text_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_read_as_what_they_are),
		cmocka_unit_test(arguments_are_typed_by_the_prototype),
		cmocka_unit_test(loads_give_what_is_there),
		cmocka_unit_test(addresses_that_are_not_there_give_zero_and_are_counted),
		cmocka_unit_test(a_file_that_was_cut_off_gives_zero),
		cmocka_unit_test(the_current_task_is_this_thread),
		cmocka_unit_test(variables_are_memory_of_their_type),
		cmocka_unit_test(declarations_of_variables_are_checked),
	};

	return cmocka_run_group_tests_name("typed", tests, setup, teardown);
}
