/* SPDX-License-Identifier: MIT */
/*
 * Layout of random structs: what ctypes says against what the C compiler does with the same text.
 * The compiler's program fills each member with ones and prints where they are.
 */
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "ffi/ctype.h"

enum { STRUCTS = 400 };

static u64 seed = 0x5eed1234;

static u32 rnd(u32 n)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (u32)((seed * 0x2545f4914f6cdd1dull) >> 33) % n;
}

static const char *const scalars[] = {
	"char", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned",
	"long", "unsigned long", "long long", "unsigned long long int", "_Bool", "float", "double",
	"long double", "__int128", "uint8_t", "int16_t", "uint32_t", "int64_t", "void *",
	"const char *", "enum shade", "enum big", "int (*",
};

static const struct {
	const char *name;
	u32 bits;
} bit_types[] = {
	{ "int", 32 }, { "unsigned", 32 }, { "char", 8 }, { "unsigned char", 8 }, { "short", 16 },
	{ "unsigned short", 16 }, { "long", 64 }, { "unsigned long long", 64 }, { "_Bool", 1 },
	{ "enum shade", 32 }, { "enum big", 64 },
};

static void random_body(struct text *t, u32 number, u32 depth, u32 *names, bool flex);

static void random_member(struct text *t, u32 number, u32 depth, u32 *names)
{
	u32 what = rnd(20), type = rnd(ARRAY_SIZE(bit_types));

	if (what < 6) {
		u32 bits = rnd(bit_types[type].bits + 1);

		if (!bits)
			text_printf(t, "%s : 0; ", bit_types[type].name);
		else if (!rnd(8))
			text_printf(t, "%s : %u; ", bit_types[type].name, bits);
		else
			text_printf(t, "%s m%u : %u; ", bit_types[type].name, (*names)++, bits);
		return;
	}
	if (what < 9 && depth < 3) {
		bool named = rnd(2);

		text_puts(t, rnd(3) ? "struct { " : "union { ");
		random_body(t, number, depth + 1, names, false);
		text_puts(t, rnd(6) ? "} " : "} __attribute__((packed)) ");
		if (named)
			text_printf(t, "m%u", (*names)++);
		text_puts(t, "; ");
		return;
	}
	if (what < 11 && number) {
		text_printf(t, "struct s%u m%u%s; ", rnd(number), *names, rnd(2) ? "" : "[2]");
		(*names)++;
		return;
	}
	type = rnd(ARRAY_SIZE(scalars));
	text_puts(t, scalars[type]);
	text_printf(t, " m%u", (*names)++);
	if (strchr(scalars[type], '('))
		text_puts(t, ")(int, char *)");
	else if (!rnd(4))
		text_printf(t, "[%u]", rnd(5));
	else if (!rnd(8))
		text_puts(t, "[2][1 + sizeof(short)]");
	if (!rnd(12))
		text_printf(t, " __attribute__((aligned(%u)))", 1u << rnd(6));
	else if (!rnd(12))
		text_puts(t, " __attribute__((packed))");
	text_puts(t, "; ");
}

static void random_body(struct text *t, u32 number, u32 depth, u32 *names, bool flex)
{
	u32 n = 1 + rnd(depth ? 4 : 7);

	/* One named member at least, or a flexible array is an error. */
	text_printf(t, "char m%u; ", (*names)++);
	while (n--)
		random_member(t, number, depth, names);
	if (flex)
		text_printf(t, "%s m%u[]; ", scalars[rnd(12)], (*names)++);
}

static void random_struct(struct text *t, u32 number, u32 *names)
{
	text_printf(t, "struct s%u { ", number);
	random_body(t, number, 0, names, !rnd(20));
	text_puts(t, "}");
	if (!rnd(5))
		text_puts(t, " __attribute__((packed))");
	if (!rnd(8))
		text_printf(t, " __attribute__((aligned(%u)))", 1u << rnd(6));
	text_puts(t, ";\n");
}

/* One line a member, from our layout; and the C that prints the same line. */
static void expect_members(const struct ctype *t, u32 base, u32 number, struct text *ours,
			   struct text *prog)
{
	u32 i;

	for (i = 0; i < t->count; i++) {
		const struct ctype_member *m = &t->members[i];
		const struct ctype *s = ctype_strip(m->type);

		if (!*m->name) {
			expect_members(s, base + m->bit_off, number, ours, prog);
		} else if (m->bits) {
			text_printf(ours, "s%u.%s bit %u width %u\n", number, m->name,
				    base + m->bit_off, m->bits);
			text_printf(prog, "\tBITS(%u, %s);\n", number, m->name);
		} else if (s->kind == CTYPE_ARRAY && s->incomplete) {
			text_printf(ours, "s%u.%s at %u\n", number, m->name,
				    (base + m->bit_off) / 8);
			text_printf(prog, "\tOPEN(%u, %s);\n", number, m->name);
		} else {
			text_printf(ours, "s%u.%s at %u size %u\n", number, m->name,
				    (base + m->bit_off) / 8, s->size);
			text_printf(prog, "\tFIELD(%u, %s);\n", number, m->name);
		}
	}
}

static const char head[] =
	"#include <stdint.h>\n#include <stdio.h>\n#include <stddef.h>\n#include <string.h>\n"
	"#define SIZE(n) printf(\"s%d size %zu align %zu\\n\", n, sizeof(struct s##n), "
	"_Alignof(struct s##n))\n"
	"#define FIELD(n, m) printf(\"s%d.\" #m \" at %zu size %zu\\n\", n, offsetof(struct s##n, "
	"m), "
	"sizeof(((struct s##n *)0)->m))\n"
	"#define OPEN(n, m) printf(\"s%d.\" #m \" at %zu\\n\", n, offsetof(struct s##n, m))\n"
	"static void bits(int n, const char *m, const unsigned char *p, size_t size)\n"
	"{ size_t i, first = 0, count = 0; for (i = 0; i < size * 8; i++) if (p[i / 8] >> i % 8 & "
	"1) "
	"{ if (!count++) first = i; }\n"
	"  printf(\"s%d.%s bit %zu width %zu\\n\", n, m, first, count); }\n"
	"#define BITS(n, f) do { struct s##n v; memset(&v, 0, sizeof(v)); v.f = -1; "
	"bits(n, #f, (void *)&v, sizeof(v)); } while (0)\n";

static const char enums[] =
	"enum shade { DARK, LIGHT = 7 }; enum big { LITTLE = -1, BIG = 1ll << 40 };\n";

static char *run(const char *dir, const char *source)
{
	const char *cc = getenv("FERRY_CC") ? getenv("FERRY_CC") : "cc";
	char path[256], cmd[1024];
	size_t len = 0, cap = 4 << 20;
	char *out = malloc(cap);
	FILE *f;

	snprintf(path, sizeof(path), "%s/layout.c", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(source, f);
	fclose(f);
	snprintf(cmd, sizeof(cmd), "cd %s && %s -w -o layout layout.c 2>errors && ./layout", dir,
		 cc);
	f = popen(cmd, "r");
	assert_non_null(f);
	len = fread(out, 1, cap - 1, f);
	out[len] = '\0';
	if (pclose(f)) {
		print_error("the program in %s does not compile or run\n", dir);
		fail();
	}
	return out;
}

static void first_difference(const char *a, const char *b)
{
	const char *la = a, *lb = b;

	for (; *a && *a == *b; a++, b++)
		if (*a == '\n')
			la = a + 1, lb = b + 1;
	print_error("here: %.80s\ncompiler: %.80s\n", la, lb);
}

static void layout_of_random_structs_is_the_compilers(void **state)
{
	struct text decls = { 0 }, prog = { 0 }, ours = { 0 }, body = { 0 }, why = { 0 };
	char dir[] = "/tmp/ferry-layout-XXXXXX", path[256];
	struct ctypes *cs;
	char *theirs;
	u32 i, n = 0;

	(void)state;
	assert_int_equal(ctypes_new(&cs), 0);
	text_puts(&decls, enums);
	for (i = 0; i < STRUCTS; i++) {
		u32 names = 0;

		random_struct(&decls, i, &names);
	}
	if (ctypes_declare(cs, text_str(&decls), &why)) {
		print_error("%s\n", text_str(&why));
		fail();
	}
	for (i = 0; i < STRUCTS; n++) {
		const struct ctype *t = ctypes_nth(cs, n);

		assert_non_null(t);
		if (t->kind != CTYPE_STRUCT)
			continue;
		text_printf(&ours, "s%u size %u align %u\n", i, t->size, t->align);
		text_printf(&body, "\tSIZE(%u);\n", i);
		expect_members(t, 0, i, &ours, &body);
		i++;
	}
	text_printf(&prog, "%s%sint main(void)\n{\n%s\treturn 0;\n}\n", head, text_str(&decls),
		    text_str(&body));
	assert_non_null(mkdtemp(dir));
	theirs = run(dir, text_str(&prog));
	snprintf(path, sizeof(path), "rm -r %s", dir);
	assert_int_equal(system(path), 0);
	if (strcmp(text_str(&ours), theirs))
		first_difference(text_str(&ours), theirs);
	assert_true(!strcmp(text_str(&ours), theirs));
	free(theirs);
	text_free(&decls), text_free(&prog), text_free(&ours), text_free(&body), text_free(&why);
	ctypes_free(cs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layout_of_random_structs_is_the_compilers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
