/* SPDX-License-Identifier: MIT */
/* C declarations: what is understood and printed back, what is refused and how, memory running out.
 */
#include "test.h"

#include <unistd.h>

#include "failing.h"
#include "ffi/ctype.h"

static struct ctypes *fresh(void)
{
	struct ctypes *cs;

	assert_int_equal(ctypes_new(&cs), 0);
	return cs;
}

/* A type and how it is printed; NULL: as it was written. Size and alignment by the compiler. */
#define TYPE(text, printed) { #text, printed, sizeof(text), _Alignof(text) }

typedef uint8_t u8_;
static const struct {
	const char *text, *printed;
	size_t size, align;
} types[] = {
	TYPE(char, NULL),
	TYPE(signed char, NULL),
	TYPE(unsigned char, NULL),
	TYPE(short, "short int"),
	TYPE(short int, NULL),
	TYPE(signed short, "short int"),
	TYPE(int signed short, "short int"),
	TYPE(unsigned short, "short unsigned int"),
	TYPE(short int unsigned, "short unsigned int"),
	TYPE(int, NULL),
	TYPE(signed, "int"),
	TYPE(signed int, "int"),
	TYPE(unsigned, "unsigned int"),
	TYPE(unsigned int, NULL),
	TYPE(long, "long int"),
	TYPE(long int, NULL),
	TYPE(signed long int, "long int"),
	TYPE(unsigned long, "long unsigned int"),
	TYPE(long unsigned, "long unsigned int"),
	TYPE(long long, "long long int"),
	TYPE(long int long, "long long int"),
	TYPE(unsigned long long int, "long long unsigned int"),
	TYPE(long unsigned long, "long long unsigned int"),
	TYPE(_Bool, NULL),
	TYPE(float, NULL),
	TYPE(double, NULL),
	TYPE(long double, NULL),
	TYPE(double long, "long double"),
	TYPE(__int128, NULL),
	TYPE(unsigned __int128, "__int128 unsigned"),
	TYPE(uint8_t, NULL),
	TYPE(int64_t, NULL),
	TYPE(uintptr_t, NULL),
	TYPE(size_t, NULL),
	TYPE(const int, NULL),
	TYPE(int const, "const int"),
	TYPE(volatile long, "volatile long int"),
	TYPE(const volatile char, NULL),
	TYPE(int *, NULL),
	TYPE(const char *, NULL),
	TYPE(char const *, "const char *"),
	TYPE(char *const, NULL),
	TYPE(int *restrict, "int *"),
	TYPE(void *, NULL),
	TYPE(void **, NULL),
	TYPE(const void *const *volatile, NULL),
	TYPE(int[3], NULL),
	TYPE(int[2][3], NULL),
	TYPE(int *[4], "int *[4]"),
	TYPE(int (*)[4], NULL),
	TYPE(int (*)(void), NULL),
	TYPE(int (*[5])(int, char *), NULL),
	TYPE(void (*(*)(int (*)(const char *, ...)))(int), NULL),
	TYPE(char[sizeof(long) * 2 + (1 << 3)], "char[24]"),
	TYPE(char[-1 + 'b' - 'a' + 0x10 % 7], "char[2]"),
};

static void types_print_as_c_declares_them_and_have_the_compilers_size(void **state)
{
	struct ctypes *cs = fresh();
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		const char *want = types[i].printed ? types[i].printed : types[i].text;
		const struct ctype *t, *again;
		struct text out = { 0 }, why = { 0 };

		if (ctypes_type(cs, types[i].text, &t, &why))
			fail_msg("%s: %s", types[i].text, text_str(&why));
		ctype_print(t, NULL, &out);
		assert_string_equal(text_str(&out), want);
		assert_int_equal(t->size, types[i].size);
		assert_int_equal(t->align, types[i].align);
		/* What is printed reads back as the same. */
		assert_int_equal(ctypes_type(cs, text_str(&out), &again, &why), 0);
		assert_int_equal(again->size, t->size);
		text_free(&out);
		text_free(&why);
	}
	ctypes_free(cs);
}

static const struct {
	const char *types, *prototype, *printed;
} prototypes[] = {
	{ "", "int add(int x, int y)", NULL },
	{ "", "extern int add(int x, int y) __ksym;", "int add(int x, int y)" },
	{ "", "extern int add ( int , int ) __ksym __weak ;", "int add(int, int)" },
	{ "", "void f(void)", NULL },
	{ "", "void f()", "void f(void)" },
	{ "", "int printf(const char *fmt, ...)", NULL },
	{ "", "int *f(int a[10], char s[const 4])", "int *f(int *a, char *s)" },
	{ "", "int f(int cb(int))", "int f(int (*cb)(int))" },
	{ "", "int (*get(int n))(char)", NULL },
	{ "", "u64 hash(const void *mem, u32 mem__sz, s32 seed__k)", NULL },
	{ "", "int f(/* a */ int // b\n x)", "int f(int x)" },
	{ "struct p { int x; };", "int f(const struct p *p__nullable)", NULL },
	{ "", "int f(struct unknown *p)", NULL },
	{ "typedef struct { int x; } p_t;", "p_t *f(p_t p)", NULL },
	{ "enum e { A, B };", "enum e f(enum e x)", NULL },
	{ "union u { int a; long b; };", "void f(union u *)", NULL },
	{ "typedef int fn(int); typedef fn *fp;", "fp f(fn g, fp h)", "fp f(fn *g, fp h)" },
	{ "typedef int T;", "int f(T)", NULL },
	{ "typedef int T;", "int f(int T)", NULL },
	{ "typedef int T;", "int f(int (T))", "int f(int (*)(T))" },
	{ "#include <stdint.h>\n# 1 \"x.h\"\n#pragma once\nstruct q;", "int f(struct q *)", NULL },
	{ "typedef unsigned short u8;", "int f(u8 x)", NULL },
};

static void prototypes_read_back_as_they_print(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(prototypes); i++) {
		struct ctypes *cs = fresh();
		struct text why = { 0 }, out = { 0 };
		const struct ctype *f;
		const char *name;

		if (ctypes_declare(cs, prototypes[i].types, &why) ||
		    ctypes_prototype(cs, prototypes[i].prototype, &f, &name, &why))
			fail_msg("%s: %s", prototypes[i].prototype, text_str(&why));
		ctype_print(f, name, &out);
		assert_string_equal(text_str(&out), prototypes[i].printed
							    ? prototypes[i].printed
							    : prototypes[i].prototype);
		text_free(&why);
		text_free(&out);
		ctypes_free(cs);
	}
}

/* Text that is refused, where, and a part of why. */
static const struct {
	const char *text, *where, *why;
} bad[] = {
	{ "struct s { itn x; };", "line 1, column 12", "did you mean `int'" },
	{ "struct s { int x; };\nstruct t {\n\tunsinged y;\n};", "line 3, column 2", "`unsigned'" },
	{ "struct item { int x; };\nstruct s { item i; };", "line 2, column 12", "`struct item'" },
	{ "struct s { uint33_t x; };", "column 12", "`uint32_t'" },
	{ "struct s { int x };", "column 18", "expected `;' after the member, found `}'" },
	{ "struct s { int x;", "column 10", "not closed" },
	{ "struct s { int x; }", "column 20", "the end of the text" },
	{ "struct s { int x; int x; };", "column 23", "two members are named `x'" },
	{ "struct s { int x; struct { int x; }; };", "column 19", "two members are named `x'" },
	{ "struct s { struct s s; };", "column 21", "size of member `s'" },
	{ "struct s { struct t t; };", "column 21", "size of member `t'" },
	{ "struct s { void v; };", "column 17", "size of member `v'" },
	{ "struct s { int f(int); };", "column 16", "a pointer to it" },
	{ "struct s { int a[]; int b; };", "column 16", "must be the last" },
	{ "union u { int a[]; };", "column 15", "cannot be in a union" },
	{ "struct s { int a[-1]; };", "column 17", "negative" },
	{ "struct s { int a[1 / 0]; };", "column 20", "division by zero" },
	{ "struct s { int a[1 << 40]; };", "column 20", "shift" },
	{ "struct s { int a[n]; };", "column 18", "`n' is not a constant" },
	{ "struct s { char a[1 << 30]; };", "column 18", "too large" },
	{ "struct s { char a[1 << 27], b[1 << 27], c[1 << 27]; };", "column 10", "too large" },
	{ "struct s { int x : 33; };", "column 16", "0 to 32 bits" },
	{ "struct s { int x : 0; };", "column 16", "has no name" },
	{ "struct s { float x : 3; };", "column 18", "only integers" },
	{ "struct s { _Bool x : 2; };", "column 18", "0 to 1 bits" },
	{ "struct s { int; };", "column 12", "declares no member" },
	{ "struct s { static int x; };", "column 12", "`static'" },
	{ "struct s { _Atomic int x; };", "column 12", "`_Atomic'" },
	{ "struct s { int x __attribute__((vector_size(16))); };", "column 33", "vector_size" },
	{ "struct s { int x; }; struct s { int y; };", "column 29", "already defined" },
	{ "struct s { int x; }; union s { int y; };", "column 28", "already declared as struct" },
	{ "enum e { A, A };", "column 13", "already declared" },
	{ "enum e { };", "column 8", "enumerator" },
	{ "enum e;", "column 1", "not defined" },
	{ "enum e { A = 0xffffffffffffffff, B };", "column 34", "64 bits" },
	{ "enum e { A = 0xffffffffffffffff, B = -1 };", "column 8", "no integer type" },
	{ "typedef int a; typedef long a;", "column 29", "already declared as int" },
	{ "typedef int;", "column 12", "name of the typedef" },
	{ "typedef int a[];", "column 13", "without a size" },
	{ "int x;", "column 1", "only types" },
	{ "int f(int);", "column 1", "only types" },
	{ "struct s { int x; } y;", "column 21", "expected `;'" },
	{ "typedef long float f;", "column 9", "no type" },
	{ "typedef int int f;", "column 13", "does not fit" },
	{ "typedef long long long f;", "column 19", "does not fit" },
	{ "typedef int f(int)[3];", "column 19", "neither an array nor a function" },
	{ "typedef int f[3](int);", "column 14", "functions" },
	{ "typedef int f(int, int x, long x);", "column 27", "two parameters" },
	{ "typedef int f(void v);", "column 15", "cannot be void" },
	{ "typedef int f(..., int);", "column 15", "expected a type" },
	{ "#define N 3\nstruct s { int a[N]; };", "line 1, column 1", "preprocessor" },
	{ "\n #if 0", "line 2, column 2", "preprocessor" },
	{ "#pragma pack(1)\nstruct s { int a; };", "line 1", "packed" },
	{ "/* never", "column 1", "no end" },
	{ "struct s { int \x80; };", "column 16", "byte" },
	{ "struct s { int @; };", "column 16", "character" },
	{ "struct s { int a[0x]; };", "column 18", "integer constant" },
	{ "struct s { int a[1.5]; };", "column 18", "integer constant" },
	{ "struct s { int a[99999999999999999999]; };", "column 18", "64 bits" },
	{ "struct s { int (x; };", "column 16", "not closed" },
	{ "\"", "column 1", "no end" },
	{ "typedef _Complex double c;", "column 9", "complex" },
};

static void errors_say_where_and_what(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct ctypes *cs = fresh();
		struct text why = { 0 };

		assert_int_equal(ctypes_declare(cs, bad[i].text, &why), -EINVAL);
		if (!strstr(text_str(&why), bad[i].where) || !strstr(text_str(&why), bad[i].why))
			fail_msg("%s:\n  %s\n  expected: %s .. %s", bad[i].text, text_str(&why),
				 bad[i].where, bad[i].why);
		/* Refused text leaves nothing behind, and `why` may be NULL. */
		assert_null(ctypes_nth(cs, 0));
		assert_int_equal(ctypes_declare(cs, bad[i].text, NULL), -EINVAL);
		text_free(&why);
		ctypes_free(cs);
	}
}

static void refused_text_changes_nothing(void **state)
{
	struct ctypes *cs = fresh();
	const struct ctype *s, *td;

	(void)state;
	assert_int_equal(
		ctypes_declare(cs, "struct s; typedef const struct s *sp; typedef struct s st;",
			       NULL),
		0);
	assert_int_equal(ctypes_declare(cs,
					"struct s { int a; }; enum { K = 3 }; typedef int t; oops",
					NULL),
			 -EINVAL);
	assert_int_equal(ctypes_type(cs, "struct s", &s, NULL), 0);
	assert_true(s->incomplete);
	assert_int_equal(ctypes_type(cs, "st", &td, NULL), 0);
	assert_true(td->incomplete);
	assert_int_equal(td->size, 0);
	assert_int_equal(ctypes_type(cs, "t", &td, NULL), -EINVAL);
	assert_int_equal(ctypes_type(cs, "char[K]", &td, NULL), -EINVAL);
	/* And the same declarations can be made then. */
	assert_int_equal(
		ctypes_declare(cs, "struct s { long a; char b; }; typedef int t; enum { K = 5 };",
			       NULL),
		0);
	assert_int_equal(ctypes_type(cs, "st", &td, NULL), 0);
	assert_int_equal(td->size, 16);
	assert_int_equal(ctypes_type(cs, "const st[K]", &td, NULL), 0);
	assert_int_equal(td->size, 80);
	assert_true(td->to->is_const);
	assert_int_equal(ctype_strip(td->to)->count, 2);
	ctypes_free(cs);
}

/* A text of `n` times one part and `n` times another around a middle. */
static char *nested(const char *open, const char *middle, const char *close, u32 n)
{
	char *s = malloc(n * (strlen(open) + strlen(close)) + strlen(middle) + 1), *p = s;
	u32 i;

	for (i = 0; i < n; i++)
		p = stpcpy(p, open);
	p = stpcpy(p, middle);
	for (i = 0; i < n; i++)
		p = stpcpy(p, close);
	return s;
}

static void deep_and_long_text_is_refused_not_followed(void **state)
{
	static const struct {
		const char *open, *middle, *close;
	} deep[] = {
		{ "struct { ", "int x;", " } y;" },
		{ "typedef int (", "f", ")" },
		{ "*", "", "" },
		{ "", "typedef int a", "[1]" },
		{ "typedef int (*f)(int (*", ")", ")" },
		{ "enum { A = (", "1", ")" },
		{ "enum { A = -", "1", "" },
		{ "enum { A = 1 ? 2 : ", "1", "" },
		{ "int (", "", "" },
		{ "", "typedef int f", "(int)" },
		{ "sizeof(", "", "" },
		{ "((", "", "" },
		{ "struct s { union u { ", "", "" },
		{ "__attribute__((", "", "" },
		{ "typedef int *const ", "x;", "" },
		{ "typedef int ", "****************************************************************"
		  "****************************************************************x;", "" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(deep); i++) {
		char *s = nested(deep[i].open, deep[i].middle, deep[i].close, 20000);
		struct ctypes *cs = fresh();
		const struct ctype *t;
		const char *name;

		assert_int_equal(ctypes_declare(cs, s, NULL), -EINVAL);
		assert_int_equal(ctypes_type(cs, s, &t, NULL), -EINVAL);
		assert_int_equal(ctypes_prototype(cs, s, &t, &name, NULL), -EINVAL);
		ctypes_free(cs);
		free(s);
	}
}

static void chains_of_declarations_stay_bounded(void **state)
{
	struct text t = { 0 }, out = { 0 };
	struct ctypes *cs = fresh();
	u32 i;

	(void)state;
	/* Pointers between structs may go on for ever, typedefs of typedefs may not. */
	for (i = 1; i < 5000; i++)
		text_printf(&t, "struct s%u { struct s%u *p; };", i, i - 1);
	assert_int_equal(ctypes_declare(cs, text_str(&t), NULL), 0);
	text_reset(&t);
	text_puts(&t, "typedef int t0;");
	for (i = 1; i < 5000; i++)
		text_printf(&t, "typedef t%u t%u;", i - 1, i);
	assert_int_equal(ctypes_declare(cs, text_str(&t), NULL), -EINVAL);
	/* Nor structs inside structs, also when a typedef hides them. */
	text_reset(&t);
	text_puts(&t, "struct v0 { int x; };");
	for (i = 1; i < 5000; i++)
		text_printf(&t,
			    "struct v%u; typedef struct v%u w%u; struct v%u { struct v%u a, b; };",
			    i, i, i, i, i - 1);
	assert_int_equal(ctypes_declare(cs, text_str(&t), &out), -EINVAL);
	text_free(&t);
	text_free(&out);
	ctypes_free(cs);
}

/* ---- memory running out
 * --------------------------------------------------------------------------- */

static int everything(void)
{
	static const char decls[] = "struct a; typedef struct a a_t; enum e { X, Y = 5, Z }; "
				    "typedef int (*cb)(a_t *, enum e);"
				    "struct a { struct a *next; cb f[Y]; struct { int x : 3, y; }; "
				    "union { char c; long l; } u; };";
	struct text why = { 0 }, out = { 0 };
	struct ctypes *cs;
	const struct ctype *f;
	const char *name;
	int err = ctypes_new(&cs);

	if (err)
		return err;
	err = ctypes_declare(cs, decls, &why);
	err = err ? err
		  : ctypes_prototype(cs, "int g(const a_t *volatile p[3], cb c)", &f, &name, &why);
	if (!err)
		ctype_print(f, name, &out);
	if (!err && out.oom)
		err = -ENOMEM;
	ctypes_free(cs);
	text_free(&why);
	text_free(&out);
	return err;
}

static void running_out_of_memory_is_an_error_everywhere(void **state)
{
	void *(*before)(void *, size_t) = base_allocator;
	u32 n;
	int err;

	(void)state;
	base_allocator = failing;
	for (n = 1; n < 1000; n++) {
		allocs = 0;
		live = 0;
		fail_at = n;
		err = everything();
		if (live || (err && err != -ENOMEM))
			break;
		if (allocs < n)
			break;
	}
	base_allocator = before;
	assert_int_equal(live, 0);
	assert_int_equal(err, 0);
	assert_true(n > 5);
}

/* ---- constants
 * -------------------------------------------------------------------------------------- */

static u64 seed = 77;

static u32 rnd(u32 n)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (u32)((seed * 0x2545f4914f6cdd1dull) >> 33) % n;
}

static void random_expr(struct text *t, u32 depth)
{
	static const char *const ops[] = { "+", "-",  "*",  "&",  "|",  "^",  "<",
					   ">", "<=", ">=", "==", "!=", "&&", "||" };
	static const char *const leaves[] = { "0",          "1",           "7u",  "0x7fffffff",
					      "0xffffffff", "2147483648",  "'a'", "1ull",
					      "3l",         "sizeof(int)", "-1",  "100000",
					      "0777" };

	if (depth > 4 || !rnd(4)) {
		text_puts(t, leaves[rnd(ARRAY_SIZE(leaves))]);
		return;
	}
	switch (rnd(8)) {
	case 0: text_puts(t, "-("), random_expr(t, depth + 1), text_puts(t, ")"); break;
	case 1: text_puts(t, "~("), random_expr(t, depth + 1), text_puts(t, ")"); break;
	case 2:
		text_puts(t, "(("), random_expr(t, depth + 1), text_puts(t, ") ? ");
		random_expr(t, depth + 1), text_puts(t, " : "), random_expr(t, depth + 1);
		text_puts(t, ")");
		break;
	case 3:
		random_expr(t, 4);
		text_printf(t, "%s%u", rnd(2) ? " / " : " % ", 1 + rnd(9));
		break;
	case 4:
		text_puts(t, "("), random_expr(t, depth + 1);
		text_printf(t, ")%s%u", rnd(2) ? " >> " : " << ", rnd(8));
		break;
	default:
		text_puts(t, "("), random_expr(t, depth + 1);
		text_printf(t, ") %s (", ops[rnd(ARRAY_SIZE(ops))]);
		random_expr(t, depth + 1), text_puts(t, ")");
		break;
	}
}

static void constants_have_the_compilers_values(void **state)
{
	struct text prog = { 0 }, ours = { 0 };
	char dir[] = "/tmp/ferry-const-XXXXXX", cmd[512], *out = calloc(1, 1 << 20);
	struct ctypes *cs = fresh();
	FILE *f;
	u32 i, n = 0;

	(void)state;
	assert_non_null(mkdtemp(dir));
	text_puts(&prog, "#include <stdio.h>\nint main(void) {\n");
	for (i = 0; i < 600; i++) {
		struct text e = { 0 }, decl = { 0 };
		const struct ctype *t;

		random_expr(&e, 0);
		text_printf(&decl, "enum e%u { E%u = %s };", i, i, text_str(&e));
		assert_int_equal(ctypes_declare(cs, text_str(&decl), &ours), 0);
		t = ctypes_nth(cs, n++);
		text_printf(&ours, "%lld %d\n", (long long)t->enumerators[0].value, (int)t->size);
		text_printf(&prog, "{ enum e { E = %s }; printf(\"%%lld %%zu\\n\", (long long)E, "
				   "sizeof(enum e)); }\n", text_str(&e));
		text_free(&e);
		text_free(&decl);
	}
	text_puts(&prog, "return 0; }\n");
	snprintf(cmd, sizeof(cmd), "%s/c.c", dir);
	f = fopen(cmd, "w");
	assert_non_null(f);
	fputs(text_str(&prog), f);
	fclose(f);
	snprintf(cmd, sizeof(cmd), "cd %s && %s -w -o c c.c 2>errors && ./c", dir,
		 getenv("FERRY_CC") ? getenv("FERRY_CC") : "cc");
	f = popen(cmd, "r");
	assert_non_null(f);
	assert_true(fread(out, 1, (1 << 20) - 1, f) > 0);
	assert_int_equal(pclose(f), 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
	assert_string_equal(text_str(&ours), out);
	free(out);
	text_free(&prog);
	text_free(&ours);
	ctypes_free(cs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_print_as_c_declares_them_and_have_the_compilers_size),
		cmocka_unit_test(prototypes_read_back_as_they_print),
		cmocka_unit_test(errors_say_where_and_what),
		cmocka_unit_test(refused_text_changes_nothing),
		cmocka_unit_test(deep_and_long_text_is_refused_not_followed),
		cmocka_unit_test(chains_of_declarations_stay_bounded),
		cmocka_unit_test(running_out_of_memory_is_an_error_everywhere),
		cmocka_unit_test(constants_have_the_compilers_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
