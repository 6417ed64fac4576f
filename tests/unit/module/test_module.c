/* SPDX-License-Identifier: MIT */
/* Modules: what prototypes ask to be proved, what is refused, their BTF as libbpf reads it, the
 * list. */
#include "test.h"

#include <bpf/libbpf.h>
#include <pthread.h>
#include <unistd.h>

#include "failing.h"
#include "module/module.h"

static int native(void)
{
	return 0;
}

static const char decls[] =
	"struct point { int x, y; u8 tag[3]; }; enum color { RED, GREEN }; enum huge { BIG = 1ll "
	"<< 40 };"
	"struct node { struct node *next; }; struct open { int n; char data[]; }; struct later;"
	"union either { int i; float f; }; struct outer { struct point p[2]; union either e; bool "
	"b; };"
	"struct holds_node { int x; struct node n; }; typedef const struct point *point_ref;"
	"typedef const struct point cpoint; struct empty { }; enum gaps { LOW = 1, MID = 4, HIGH = 9 };"
	"struct big { int x[100]; };";

static int register_one(const char *name, const char *types, const char *proto, uint32_t flags,
			struct module **out, struct text *why)
{
	struct ferry_func f = FERRY_FUNC(proto, native, flags);
	struct ferry_module def = { sizeof(def), name, types, &f, 1 };

	return module_register(&def, out, why);
}

/* ---- arguments ----------------------------------------------------------------------------------
 */

/*
 * Kinds by a letter: Scalar, K constant, Z size, C constant size, Memory, sTring, Ignored, X context, Object,
 * struct by Value, printf's Format, call Back; a number behind `<' is the argument with the size, by `*' read
 * from memory, `b' and an offset a place in the argument block.
 */
static void describe(const struct module_func *f, struct text *out)
{
	static const char letters[] = { [MODULE_ARG_SCALAR] = 'S', [MODULE_ARG_CONST] = 'K',
					[MODULE_ARG_SIZE] = 'Z', [MODULE_ARG_CONST_SIZE] = 'C',
					[MODULE_ARG_MEM] = 'M', [MODULE_ARG_STRING] = 'T',
					[MODULE_ARG_IGNORE] = 'I', [MODULE_ARG_CTX] = 'X',
					[MODULE_ARG_OBJECT] = 'O', [MODULE_ARG_VALUE] = 'V',
					[MODULE_ARG_FORMAT] = 'F', [MODULE_ARG_CALLBACK] = 'B' };
	u8 i;

	if (f->ret_kind == MODULE_RET_VOID)
		text_puts(out, "void");
	else if (f->ret_kind != MODULE_RET_SCALAR)
		text_printf(out, "%s%u%s", f->ret_kind == MODULE_RET_MEM ? "mem" :
			    f->ret_kind == MODULE_RET_OBJECT ? "obj" :
			    f->ret_kind == MODULE_RET_STRING ? "str" : "val", f->ret_size,
			    f->ret_writable ? "w" : "");
	else
		text_printf(out, "%s%u",
			    f->ret_bool     ? "b"
			    : f->ret_float  ? "f"
			    : f->ret_signed ? "s"
					    : "u",
			    f->ret_width);
	for (i = 0; i < f->nargs; i++) {
		const struct module_arg *a = &f->args[i];

		text_printf(out, " %c", letters[a->kind]);
		if (!a->reg)
			text_printf(out, "b%u", a->off);
		if (a->kind == MODULE_ARG_VALUE || a->kind == MODULE_ARG_CTX)
			text_printf(out, "%u", a->size);
		else if (a->kind == MODULE_ARG_FORMAT || a->kind == MODULE_ARG_CALLBACK)
			continue;
		else if (a->kind == MODULE_ARG_MEM || a->kind == MODULE_ARG_STRING || a->kind == MODULE_ARG_OBJECT) {
			text_printf(out, "%u%s%s%s%s", a->size, a->writable ? "w" : "",
				    a->nullable ? "n" : "", a->uninit ? "u" : "", a->check ? "c" : "");
			/* The suffix's size is behind its pointer. */
			if (a->size_arg && (a->size_arg != i + 2 || a->size_deref || a->elem != 1))
				text_printf(out, "<%s%u*%u", a->size_deref ? "*" : "", a->size_arg, a->elem);
		} else
			text_printf(out, "%s%u",
				    a->is_bool     ? "b"
				    : a->is_float  ? "f"
				    : a->is_signed ? "s"
						   : "u",
				    a->width);
		if (a->ranged)
			text_printf(out, "[%lld,%lld]%s", (long long)a->min, (long long)a->max, a->check ? "c" : "");
		if (a->nvalues)
			text_printf(out, "{%u}", a->nvalues);
	}
}

static void arguments_say_what_must_be_proved(void **state)
{
	static const struct {
		const char *proto, *kinds;
	} cases[] = {
		{ "int add(int x, int y)", "s4 Ss4 Ss4" },
		{ "void nothing(void)", "void" },
		{ "u8 a(s8 a, u8 b, s16 c, u16 d)", "u1 Ss1 Su1 Ss2 Su2" },
		{ "unsigned long long b(long a, unsigned long b, bool c, _Bool d)",
		  "u8 Ss8 Su8 Sb1 Sb1" },
		{ "bool c(enum color c, enum huge h)", "b1 Su4[0,1] Su8[1099511627776,1099511627776]" },
		{ "enum color d(char c)", "u4 Ss1" },
		{ "u64 e(const void *mem, u32 mem__sz)", "u8 M0 Zu4" },
		{ "u64 f(void *mem, u64 mem__szk)", "u8 M0w Cu8" },
		{ "int g(void *out__uninit, u32 out__sz)", "s4 M0wu Zu4" },
		{ "int h(const void *m__nullable, u32 m__sz, int k__k)", "s4 M0n Zu4 Ks4" },
		{ "int i(const struct point *p)", "s4 M12" },
		{ "int j(struct point *p__uninit)", "s4 M12wu" },
		{ "int k(point_ref p, cpoint *q, struct point *const r)", "s4 M12 M12 M12w" },
		{ "int l(struct outer *o, union either *e)", "s4 M32w M4w" },
		{ "int m(const char *s__str, int x)", "s4 T0 Ss4" },
		{ "int n(const struct point *many, u32 many__sz)", "s4 M0 Zu4" },
		{ "int o(int *x, const u64 *y, double *d)", "s4 M4w M8 M8w" },
		{ "int p(void *anything__ign, int unused__ign)", "s4 Iu8 Is4" },
		{ "int q(int, long)", "s4 Ss4 Ss8" },
		{ "int r(const u8 *b, u32 b__sz)", "s4 M0 Zu4" },
		{ "int s(int x_y_z, int __under)", "s4 Ss4 Ss4" },
		{ "int t(const unsigned char *name__str)", "s4 T0" },
		{ "long u(int a[4], struct point p[])", "s8 M4w M12w" },
		/* Objects of the host: what a program could not make. */
		{ "int v(struct later *p, struct node *n__nullable)", "s4 O0w O0wn" },
		{ "int w(struct point *p __object)", "s4 O0w" },
		{ "void x(struct point *p) __release", "void O0w" },
		{ "struct node *a1(int k) __acquire __nullable", "obj8w Ss4" },
		/* Memory of the host's. */
		{ "const void *b1(struct later *l __owner, u32 n) __size(n)", "mem0 O0w Ku4" },
		{ "int *c1(void)", "mem4w" },
		{ "const u8 *d1(void) __count(16)", "mem16" },
		{ "const char *e1(int e) __str", "str0 Ss4" },
		{ "void *f1(int rdwr_buf_size)", "mem0w Ks4" },
		/* Sizes by name, in elements, in memory. */
		{ "u64 g1(u64 crc, const u8 *buf __size(len), u32 len)", "u8 Su8 M0 Zu4" },
		{ "u64 g2(const u8 *buf __size(len), u32 len __range(1, 9), u64 x)", "u8 M0 Zu4[1,9] Su8" },
		{ "int h1(u8 *dst __uninit __size(*n), u64 *n)", "s4 M0wu<*2*1 M8w" },
		{ "int i1(u32 n, const struct point *p __count(n))", "s4 Zu4 M0<1*12" },
		{ "int j1(const void *p __size(64))", "s4 M64" },
		/* Numbers with limits. */
		{ "int k1(int fd __range(0, 1023), s64 x __range(-0x10, 16) __check)", "s4 Ss4[0,1023] Ss8[-16,16]c" },
		{ "int l1(enum gaps g, int y __k)", "s4 Su4{3} Ks4" },
		{ "int m1(const char *s __str __check, struct point *p __check)", "s4 T0c M12wc" },
		{ "int n1(struct point *c __ctx, void *any __ctx)", "s4 X12 X0" },
		/* Floating point, structs by value, many arguments, formats. */
		{ "double o1(double x, float y)", "f8 Sf8 Sf4" },
		{ "struct point p1(struct point a, int b)", "val12 V12 Ss4" },
		{ "int q1(u8 a, int b, int c, double d, const struct point *e, struct point g)",
		  "s4 Sb0u1 Sb4s4 Sb8s4 Sb16f8 Mb2412 Vb3212" },
		{ "int r1(const char *fmt, ...)", "s4 F" },
		{ "int s1(int (*cb)(const struct point *))", "s4 B" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct text why = { 0 }, got = { 0 };
		struct module *m;

		if (register_one("m", decls, cases[i].proto, 0, &m, &why))
			fail_msg("%s: %s", cases[i].proto, text_str(&why));
		describe(&m->funcs[0], &got);
		assert_string_equal(text_str(&got), cases[i].kinds);
		assert_int_equal(module_unregister("m"), 0);
		text_free(&got);
		text_free(&why);
	}
}

static void what_cannot_be_proved_is_refused_with_advice(void **state)
{
	static const struct {
		const char *proto, *where, *advice;
	} cases[] = {
		{ "int f(int **p)", "function f, argument 1 (`int **p')", "`void *p, u32 p__sz'" },
		{ "int f(void *p)", "argument 1", "`void *p, u32 p__sz'" },
		{ "int f(const void *p, u32 len)", "argument 1", "`const void *p, u32 p__sz'" },
		{ "int f(const void *p, u32 q__sz)", "argument 2", "name its size `p__sz'" },
		{ "int f(u32 p__sz)", "argument 1", "follows the pointer" },
		{ "int f(const void *p, u8 p__sz)", "argument 2", "4 or 8 bytes" },
		{ "int f(const char *s)", "argument 1", "`s__str'" },
		{ "int f(u8 *s)", "argument 1", "one byte" },
		{ "int f(char *s__str)", "argument 1", "`const char *'" },
		{ "int f(const int *s__str)", "argument 1", "`const char *'" },
		{ "int f(const char *s__str, u32 s__sz)", "argument 1", "no size" },
		{ "int f(__int128 x)", "argument 1", "two registers" },
		{ "int f(struct holds_node *n, u32 n__sz)", "argument 1", "a pointer, which" },
		{ "int f(struct empty *n)", "argument 1", "no size" },
		{ "int f(const struct point *p__uninit)", "argument 1", "cannot be const" },
		{ "int f(int x__nullable)", "argument 1", "for pointers" },
		{ "int f(int *x__k)", "argument 1", "on an integer" },
		{ "int f(int x__y_z)", "argument 1", "`__y_z' is no known suffix" },
		{ "int f(int x__sizes)", "argument 1", "no known suffix" },
		{ "int f(void *p__refcounted_kptr)", "argument 1",
		  "not supported in this version" },
		{ "char *f(void)", "function f", "`__str' for a string" },
		{ "void *f(void)", "function f", "how much memory" },
		{ "struct node *f(int n) __size(n)", "function f", "holds pointers" },
		{ "struct later f(void)", "function f", "is defined" },
		{ "struct node f(void)", "function f", "holds pointers" },
		{ "int f(struct node n)", "argument 1", "a pointer, which the program could set" },
		{ "int f(struct later l)", "argument 1", "`later' is not defined" },
		{ "int f(struct big b)", "argument 1", "pass a pointer" },
		{ "int f(int x, ...)", "function f", "has to be a format" },
		{ "int f(long double d)", "argument 1", "use double" },
		{ "long double f(void)", "function f", "at most 8 bytes" },
		{ "int f(int x __range(3, 1))", "argument 1", "no value" },
		{ "int f(u32 x __range(-1, 1))", "argument 1", "no value" },
		{ "int f(int x __range(a, 1))", "argument 1", "integer constants" },
		{ "int f(int x __range(1))", "column 13", "takes 2 arguments" },
		{ "int f(int x __range)", "column 13", "needs 2 arguments" },
		{ "int f(double x __range(0, 1))", "argument 1", "floating point" },
		{ "int f(int x __check)", "argument 1", "nothing to check" },
		{ "int f(int x) __uninit", "column 14", "behind a parameter" },
		{ "int f(int x __acquire)", "column 13", "behind the list" },
		{ "int f(void *p __size(n))", "argument 1", "`n' in __size is no parameter" },
		{ "int f(void *p __size(q), int *q)", "argument 1", "no integer" },
		{ "int f(void *p __size(*n), int n)", "argument 1", "`n' in __size is no pointer" },
		{ "int f(void *p __size(n) __count(n), int n)", "argument 1", "one of" },
		{ "int f(int x __owner)", "argument 1", "for pointers" },
		{ "int f(int *x __owner)", "argument 1", "of the host's" },
		{ "int f(int *x __ctx)", "argument 1", "a context is" },
		{ "int f(int x) __release", "function f", "one object to release" },
		{ "int f(struct node *a, struct node *b) __release", "function f", "one object to release" },
		{ "int f(int x) __acquire", "function f", "FERRY_ACQUIRE" },
		{ "int f(int x) __nullable", "function f", "FERRY_RET_NULL" },
		{ "int (*f(void))(void)", "function f", "pointer to a function" },
		{ "__int128 f(void)", "function f", "at most 8 bytes" },
		{ "int f(itn x)", "function 1 of module m, `int f(itn x)': line 1, column 7",
		  "`int'" },
		{ "int f", "line 1, column 5", "a function such as" },
		{ "int 3f(void)", "line 1", "not an integer constant" },
		{ "int a_name_of_parameter(int this_name_is_longer_than_it_may_be)", "argument 1",
		  "longer" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct text why = { 0 };
		struct module *m;

		assert_int_equal(register_one("m", decls, cases[i].proto, 0, &m, &why), -EINVAL);
		if (!strstr(text_str(&why), cases[i].where) ||
		    !strstr(text_str(&why), cases[i].advice))
			fail_msg("%s:\n  %s\n  expected: %s .. %s", cases[i].proto, text_str(&why),
				 cases[i].where, cases[i].advice);
		assert_int_equal(register_one("m", decls, cases[i].proto, 0, &m, NULL), -EINVAL);
		assert_null(module_nth(0));
		text_free(&why);
	}
}

static void descriptors_are_checked(void **state)
{
	struct ferry_func f = FERRY_FUNC("int f(int x)", native);
	struct ferry_func twice[] = { f, f };
	struct ferry_func no_addr = { "int f(int x)", NULL, 0 }, no_proto = { NULL, f.fn, 0 };
	char longest[64];
	const struct {
		struct ferry_module def;
		const char *why;
	} cases[] = {
		{ { 8, "m", NULL, &f, 1 }, "sizeof" },
		{ { sizeof(cases[0].def), NULL, NULL, &f, 1 }, "name" },
		{ { sizeof(cases[0].def), "", NULL, &f, 1 }, "identifier" },
		{ { sizeof(cases[0].def), "my-module", NULL, &f, 1 }, "identifier" },
		{ { sizeof(cases[0].def), "7m", NULL, &f, 1 }, "identifier" },
		{ { sizeof(cases[0].def), "vmlinux", NULL, &f, 1 }, "kernel's name" },
		{ { sizeof(cases[0].def), longest, NULL, &f, 1 }, "55" },
		{ { sizeof(cases[0].def), "m", NULL, NULL, 0 }, "no functions" },
		{ { sizeof(cases[0].def), "m", NULL, NULL, 3 }, "no functions" },
		{ { sizeof(cases[0].def), "m", NULL, &f, 1u << 20 }, "more than" },
		{ { sizeof(cases[0].def), "m", NULL, twice, 2 }, "function f is twice" },
		{ { sizeof(cases[0].def), "m", NULL, &no_addr, 1 }, "no address" },
		{ { sizeof(cases[0].def), "m", NULL, &no_proto, 1 }, "no prototype" },
		{ { sizeof(cases[0].def), "m", "struct {", &f, 1 }, "types of module m: line 1" },
	};
	size_t i;

	(void)state;
	memset(longest, 'a', sizeof(longest));
	longest[56] = '\0';
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct text why = { 0 };

		assert_int_equal(module_register(&cases[i].def, NULL, &why), -EINVAL);
		if (!strstr(text_str(&why), cases[i].why))
			fail_msg("%s, expected: %s", text_str(&why), cases[i].why);
		text_free(&why);
	}
	longest[55] = '\0';
	assert_int_equal(register_one(longest, NULL, "int f(int x)", 0, NULL, NULL), 0);
	assert_int_equal(module_unregister(longest), 0);
	/* Flags about references mean nothing where no pointer is returned. */
	assert_int_equal(register_one("m", NULL, "int f(int x)", FERRY_ACQUIRE, NULL, NULL),
			 -EINVAL);
	assert_int_equal(register_one("m", NULL, "int f(int x)", 1u << 31, NULL, NULL), -EINVAL);
	assert_int_equal(register_one("m", NULL, "int f(int x)",
				      FERRY_SLEEPABLE | FERRY_DESTRUCTIVE, NULL, NULL),
			 0);
	assert_int_equal(module_find("m")->funcs[0].flags, FERRY_SLEEPABLE | FERRY_DESTRUCTIVE);
	assert_int_equal(module_unregister("m"), 0);
}

/* ---- BTF as libbpf reads it
 * ------------------------------------------------------------------------ */

static const struct btf_type *behind(const struct btf *btf, u32 id)
{
	const struct btf_type *t = btf__type_by_id(btf, id);

	while (btf_is_mod(t) || btf_is_typedef(t))
		t = btf__type_by_id(btf, t->type);
	return t;
}

/*
 * libbpf's rule for `extern ... __ksym` (bpf_core_types_are_compat): kinds equal behind modifiers,
 * pointers, arrays and prototypes compared inside, names and sizes not.
 */
static bool compatible(const struct btf *a, u32 ia, const struct btf *b, u32 ib, int depth)
{
	const struct btf_type *ta = behind(a, ia), *tb = behind(b, ib);
	u32 i;

	if (btf_kind(ta) != btf_kind(tb) || depth > 32)
		return false;
	switch (btf_kind(ta)) {
	case BTF_KIND_PTR: return compatible(a, ta->type, b, tb->type, depth + 1);
	case BTF_KIND_ARRAY:
		return compatible(a, btf_array(ta)->type, b, btf_array(tb)->type, depth + 1);
	case BTF_KIND_FUNC_PROTO:
		if (btf_vlen(ta) != btf_vlen(tb))
			return false;
		for (i = 0; i < btf_vlen(ta); i++)
			if (!compatible(a, btf_params(ta)[i].type, b, btf_params(tb)[i].type,
					depth + 1))
				return false;
		return compatible(a, ta->type, b, tb->type, depth + 1);
	default: return true;
	}
}

static const struct ferry_func ksyms[] = {
	FERRY_FUNC("int add(int x, int y)", native),
	FERRY_FUNC("u64 hash(const void *mem, u32 mem__sz)", native),
	FERRY_FUNC("bool inside(const struct point *p, const struct point *corner__nullable)",
		   native),
	FERRY_FUNC("void paint(struct point *p__uninit, enum color c, u8 shade__k)", native),
	FERRY_FUNC("s32 say(const char *s__str)", native),
	FERRY_FUNC("long wrong(int *p)", native),
};

static void externs_of_compiled_programs_find_their_functions(void **state)
{
	struct ferry_module def = { sizeof(def), "shapes", decls, ksyms, ARRAY_SIZE(ksyms) };
	/* As compiled: opening the object turns externs into its own form for loading. */
	struct btf *btf = btf__parse_elf(getenv("FERRY_KSYMS"), NULL);
	struct bpf_object *obj = bpf_object__open_file(getenv("FERRY_KSYMS"), NULL);
	u32 id, found = 0;
	struct module *m;

	(void)state;
	assert_non_null(obj);
	assert_non_null(btf);
	assert_int_equal(module_register(&def, &m, NULL), 0);
	for (id = 1; id < btf__type_cnt(btf); id++) {
		const struct btf_type *t = btf__type_by_id(btf, id), *p;
		const struct module_func *f;
		const char *name;
		s32 theirs;
		u8 i;

		if (!btf_is_func(t) || btf_vlen(t) != BTF_FUNC_EXTERN)
			continue;
		name = btf__name_by_offset(btf, t->name_off);
		theirs = btf__find_by_name_kind(m->btf, name, BTF_KIND_FUNC);
		assert_true(theirs > 0);
		/* In the module's own part, so that libbpf takes the module for its owner. */
		assert_true((u32)theirs >= btf__type_cnt(fbtf_vmlinux()));
		assert_int_equal(compatible(btf, t->type, m->btf,
					    btf__type_by_id(m->btf, (u32)theirs)->type, 0),
				 strcmp(name, "wrong") != 0);
		f = module_func(m, (u32)theirs);
		assert_non_null(f);
		assert_string_equal(f->name, name);
		p = btf__type_by_id(m->btf, btf__type_by_id(m->btf, (u32)theirs)->type);
		assert_int_equal(btf_vlen(p), f->nargs);
		for (i = 0; i < f->nargs; i++) {
			assert_string_equal(btf__name_by_offset(m->btf, btf_params(p)[i].name_off),
					    f->args[i].name);
			assert_int_equal(btf_params(p)[i].type, f->args[i].btf_id);
		}
		found++;
	}
	assert_int_equal(found, ARRAY_SIZE(ksyms));
	assert_null(module_func(m, 0));
	assert_null(module_func(m, m->funcs[0].btf_id - 1));
	assert_null(module_func(m, m->funcs[m->nfuncs - 1].btf_id + 1));
	assert_int_equal(module_unregister("shapes"), 0);
	bpf_object__close(obj);
	btf__free(btf);
}

static void raw_bytes_are_split_btf_that_passes_its_own_check(void **state)
{
	struct ferry_module def = { sizeof(def), "shapes", decls, ksyms, ARRAY_SIZE(ksyms) };
	char path[] = "/tmp/ferry-module-XXXXXX";
	struct btf *checked = NULL, *read;
	struct text why = { 0 };
	struct module *m;
	int fd;

	(void)state;
	assert_int_equal(module_register(&def, &m, NULL), 0);
	if (fbtf_parse(m->raw, m->raw_size, fbtf_vmlinux(), &checked, &why))
		fail_msg("%s", text_str(&why));
	fd = mkstemp(path);
	assert_int_equal(write(fd, m->raw, m->raw_size), m->raw_size);
	close(fd);
	read = btf__parse_split(path, fbtf_vmlinux());
	unlink(path);
	assert_non_null(read);
	assert_int_equal(btf__type_cnt(read), btf__type_cnt(m->btf));
	assert_int_equal(btf__type_cnt(checked), btf__type_cnt(m->btf));
	/* Base types are the kernel's, not copies: the module adds only what is its own. */
	assert_true(btf__find_by_name_kind(m->btf, "int", BTF_KIND_INT) <
		    (s32)btf__type_cnt(fbtf_vmlinux()));
	assert_true(btf__type_cnt(m->btf) - btf__type_cnt(fbtf_vmlinux()) < 40);
	btf__free(read);
	btf__free(checked);
	assert_int_equal(module_unregister("shapes"), 0);
}

static void structs_of_the_kernel_are_referred_to_not_copied(void **state)
{
	s32 id;
	struct module *m;
	const struct btf_type *p;

	(void)state;
	assert_int_equal(register_one("k", "struct bpf_spin_lock { __u32 val; };",
				      "int f(struct bpf_spin_lock *l)", 0, &m, NULL), 0);
	id = btf__find_by_name_kind(fbtf_vmlinux(), "bpf_spin_lock", BTF_KIND_STRUCT);
	p = btf__type_by_id(m->btf, m->funcs[0].args[0].btf_id);
	assert_int_equal(btf_kind(p), BTF_KIND_PTR);
	assert_int_equal(p->type, id);
	assert_int_equal(module_unregister("k"), 0);
	/* The same name for something else is the module's own. */
	assert_int_equal(register_one("k", "struct bpf_spin_lock { __u64 val; };",
				      "int f(struct bpf_spin_lock *l)", 0, &m, NULL), 0);
	p = btf__type_by_id(m->btf, m->funcs[0].args[0].btf_id);
	assert_true(p->type >= btf__type_cnt(fbtf_vmlinux()));
	assert_int_equal(module_unregister("k"), 0);
}

static void types_that_no_prototype_names_are_there_for_relocation(void **state)
{
	struct module *m;
	s32 id;

	(void)state;
	assert_int_equal(register_one("k", "struct lonely { int a; long b; }; enum kind { ONE = 1 };",
				      "int f(int x)", 0, &m, NULL), 0);
	id = btf__find_by_name_kind(m->btf, "lonely", BTF_KIND_STRUCT);
	assert_true(id > 0);
	assert_int_equal(btf__resolve_size(m->btf, (u32)id), 16);
	assert_true(btf__find_by_name_kind(m->btf, "kind", BTF_KIND_ENUM) > 0);
	assert_int_equal(module_unregister("k"), 0);
}

/* ---- the list
 * --------------------------------------------------------------------------------------- */

static void a_module_lives_as_long_as_it_is_held(void **state)
{
	struct module *m, *other;
	struct text why = { 0 };

	(void)state;
	assert_int_equal(register_one("one", NULL, "int f(int x)", 0, &m, NULL), 0);
	assert_int_equal(register_one("one", NULL, "int g(int x)", 0, &other, &why), -EEXIST);
	assert_non_null(strstr(text_str(&why), "one"));
	assert_int_equal(register_one("two", NULL, "int g(int x)", 0, &other, NULL), 0);
	assert_ptr_equal(module_find("one"), m);
	assert_ptr_equal(module_nth(0), m);
	assert_ptr_equal(module_nth(1), other);
	assert_null(module_nth(2));
	assert_string_equal(module_func_named("g")->mod->name, "two");
	module_get(m);
	assert_int_equal(module_unregister("one"), 0);
	assert_int_equal(module_unregister("one"), -ENOENT);
	assert_null(module_find("one"));
	assert_null(module_func_named("f"));
	assert_true(m->gone);
	assert_string_equal(m->funcs[0].name, "f");
	/* The name is free again while programs still hold the old one. */
	assert_int_equal(register_one("one", NULL, "int f(int x)", 0, &other, NULL), 0);
	assert_ptr_not_equal(other, m);
	module_put(m);
	assert_int_equal(module_unregister("one"), 0);
	assert_int_equal(module_unregister("two"), 0);
	text_free(&why);
}

static void the_nearest_names_come_first(void **state)
{
	struct ferry_func fs[] = { FERRY_FUNC("int area(int x)", native),
				   FERRY_FUNC("int norm1(int x)", native),
				   FERRY_FUNC("int norm2(int x)", native),
				   FERRY_FUNC("int normal(int x)", native),
				   FERRY_FUNC("int completely_different(int x)", native) };
	struct ferry_module def = { sizeof(def), "m", NULL, fs, ARRAY_SIZE(fs) };
	const char *near[8];

	(void)state;
	assert_int_equal(module_register(&def, NULL, NULL), 0);
	assert_int_equal(module_nearest("norm", near, 8), 3);
	assert_string_equal(near[0], "norm1");
	assert_string_equal(near[1], "norm2");
	assert_string_equal(near[2], "normal");
	assert_int_equal(module_nearest("norm2", near, 1), 1);
	assert_string_equal(near[0], "norm2");
	assert_int_equal(module_nearest("zzzzzzzz", near, 8), 0);
	assert_int_equal(module_nearest("", near, 8), 0);
	assert_int_equal(module_nearest("norm1", near, 0), 0);
	assert_int_equal(module_unregister("m"), 0);
}

static void *churn(void *arg)
{
	char name[16], proto[48];
	struct module *m;
	u32 i;

	for (i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "t%lu_%u", (unsigned long)(uintptr_t)arg, i % 3);
		snprintf(proto, sizeof(proto), "int %s(const void *p, u32 p__sz)", name);
		if (register_one(name, decls, proto, 0, &m, NULL))
			return "register";
		if (module_find(name) != m || module_func_named(name) != &m->funcs[0])
			return "find";
		if (module_find_get(name) != m)
			return "get";
		if (module_unregister(name))
			return "unregister";
		if (strcmp(m->funcs[0].name, name))
			return "held";
		module_put(m);
	}
	return NULL;
}

static void threads_register_at_the_same_time(void **state)
{
	pthread_t t[4];
	void *err;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(pthread_create(&t[i], NULL, churn, (void *)i), 0);
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		pthread_join(t[i], &err);
		if (err)
			fail_msg("%s", (const char *)err);
	}
	assert_null(module_nth(0));
}

/* ---- the public header
 * -------------------------------------------------------------------------------- */

static void the_public_header_compiles_strictly_as_c_and_cplusplus(void **state)
{
	static const char text[] =
		"#include <ferry/module.h>\nstruct point { int x, y; };\n"
		"static int norm1(const struct point *p) { return p->x + p->y; }\n"
		"static int two(int x) { return 2 * x; }\n"
		"FERRY_MODULE(geometry, \"struct point { int x, y; };\",\n"
		"  FERRY_FUNC(\"int norm1(const struct point *p)\", norm1),\n"
		"  FERRY_FUNC(\"int two(int x)\", two, FERRY_SLEEPABLE | FERRY_DESTRUCTIVE));\n";
	static const char *const compilers[] = { "gcc -x c -std=c11", "clang -x c -std=c11",
						 "g++ -x c++ -std=c++11",
						 "clang++ -x c++ -std=c++17" };
	char path[] = "/tmp/ferry-header-XXXXXX", cmd[512];
	int fd = mkstemp(path);
	size_t i, ran = 0;

	(void)state;
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	for (i = 0; i < ARRAY_SIZE(compilers); i++) {
		snprintf(cmd, sizeof(cmd), "%.*s --version >/dev/null 2>&1",
			 (int)strcspn(compilers[i], " "), compilers[i]);
		if (system(cmd))
			continue;
		snprintf(cmd, sizeof(cmd),
			 "%s -Wall -Wextra -Wshadow -pedantic -Werror -I%s/include "
			 "-fsyntax-only %s",
			 compilers[i], getenv("FERRY_SOURCE_ROOT"), path);
		if (system(cmd))
			fail_msg("%s", compilers[i]);
		ran++;
	}
	unlink(path);
	assert_true(ran > 0);
}

/* ---- memory running out
 * ------------------------------------------------------------------------------- */

static void running_out_of_memory_leaves_nothing_registered(void **state)
{
	void *(*before)(void *, size_t) = base_allocator;
	struct ferry_module def = { sizeof(def), "shapes", decls, ksyms, ARRAY_SIZE(ksyms) };
	struct text why = { 0 };
	u32 n;
	int err = 0;

	(void)state;
	assert_non_null(fbtf_vmlinux());
	base_allocator = failing;
	for (n = 1; n < 2000; n++) {
		allocs = 0;
		fail_at = n;
		err = module_register(&def, NULL, &why);
		if (!err)
			module_unregister("shapes");
		else if (module_nth(0))
			break;
		text_free(&why);
		if (live || allocs < n || (err && err != -ENOMEM))
			break;
	}
	base_allocator = before;
	assert_int_equal(live, 0);
	assert_int_equal(err, 0);
	assert_true(n > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_say_what_must_be_proved),
		cmocka_unit_test(what_cannot_be_proved_is_refused_with_advice),
		cmocka_unit_test(descriptors_are_checked),
		cmocka_unit_test(externs_of_compiled_programs_find_their_functions),
		cmocka_unit_test(raw_bytes_are_split_btf_that_passes_its_own_check),
		cmocka_unit_test(structs_of_the_kernel_are_referred_to_not_copied),
		cmocka_unit_test(types_that_no_prototype_names_are_there_for_relocation),
		cmocka_unit_test(a_module_lives_as_long_as_it_is_held),
		cmocka_unit_test(the_nearest_names_come_first),
		cmocka_unit_test(threads_register_at_the_same_time),
		cmocka_unit_test(the_public_header_compiles_strictly_as_c_and_cplusplus),
		cmocka_unit_test(running_out_of_memory_leaves_nothing_registered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
