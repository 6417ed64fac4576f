/* SPDX-License-Identifier: MIT */
/*
 * Hostile C text: pieces of declarations in random order, and real declarations with bytes changed.
 * Whatever the parser says, it must say it without harm; what it accepts must print and read back.
 * `fuzz_ctype [ROUNDS [SEED]]`, or LLVMFuzzerTestOneInput with -DFUZZER -fsanitize=fuzzer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ffi/ctype.h"
#include "module/module.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what, const char *text)
{
	if (ok)
		return;
	fprintf(stderr, "%s:\n%s\n", what, text);
	abort();
}

/* What was accepted prints as C that is accepted again, with the same size. */
static void round_trip(struct ctypes *cs, const struct ctype *t)
{
	const struct ctype *again;
	struct text out = { 0 };

	ctype_print(t, NULL, &out);
	if (ctype_strip(t)->kind != CTYPE_FUNC && out.len < 100000 && !strstr(text_str(&out), "{"))
		check(!ctypes_type(cs, text_str(&out), &again, NULL) && again->size == t->size,
		      "does not read back", text_str(&out));
	text_free(&out);
}

static void native(void)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct text why = { 0 };
	const struct ctype *t;
	const char *name;
	struct ctypes *cs;
	u32 i;

	memcpy(text, data, size);
	text[size] = '\0';
	if (ctypes_new(&cs))
		abort();
	if (ctypes_declare(cs, text, &why)) {
		check(why.len > 0, "refused without a reason", text);
		check(!ctypes_nth(cs, 0), "refused text left something", text);
	}
	for (i = 0; ctypes_nth(cs, i) && i < 1000; i++)
		round_trip(cs, ctypes_nth(cs, i));
	if (!ctypes_type(cs, text, &t, NULL))
		round_trip(cs, t);
	if (!ctypes_prototype(cs, text, &t, &name, NULL)) {
		struct ferry_func f = FERRY_FUNC(text, native);
		struct ferry_module def = { sizeof(def), "fuzz", NULL, &f, 1 };

		text_reset(&why);
		if (!module_register(&def, NULL, &why))
			module_unregister("fuzz");
		else
			check(why.len > 0, "refused without a reason", text);
	}
	ctypes_free(cs);
	text_free(&why);
	free(text);
	return 0;
}

#ifndef FUZZER
static u64 seed = 1;

static u32 rnd(u32 n)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (u32)((seed * 0x2545f4914f6cdd1dull) >> 33) % n;
}

static const char *const pieces[] = {
	"struct",
	"union",
	"enum",
	"typedef",
	"const",
	"volatile",
	"unsigned",
	"long",
	"int",
	"char",
	"void",
	"u8",
	"u32",
	"float",
	"{",
	"}",
	"{",
	"}",
	"(",
	")",
	"(",
	")",
	"[",
	"]",
	"*",
	"*",
	";",
	";",
	";",
	",",
	":",
	"=",
	"a",
	"b",
	"s",
	"t",
	"p__sz",
	"p",
	"s__str",
	"0",
	"1",
	"3",
	"8",
	"64",
	"0x10",
	"...",
	"sizeof",
	"_Alignof",
	"__attribute__((packed))",
	"__attribute__((aligned(8)))",
	"?",
	"+",
	"-",
	"<<",
	"/",
	"%",
	"!",
	"~",
	"/*",
	"*/",
	"//",
	"\n",
	"#",
	"'a'",
	"\"s\"",
	"extern",
	"int x;",
	"struct s { int a; };",
	"enum e { A, B = 7 };",
	"int f(int x)",
	"int (*p)(void)",
	"struct s *",
	"const void *p, u32 p__sz",
	"int a : 3;",
	"[3]",
	"void",
};

static const char *const seeds[] = {
	("struct a; typedef struct a a_t; enum e { X, Y = 5, Z }; typedef int (*cb)(a_t *, enum e);"
	 "struct a { struct a *next; cb f[Y]; struct { int x : 3, y; }; union { char c; long l; } "
	 "u; };"),
	"u64 hash(const void *mem, u32 mem__sz, const char *s__str, int k__k)",
	("struct s { unsigned long long a : 40, : 0, b : 7; char c[1 + 2 * 3]; long double d; "
	 "int flex[]; } __attribute__((packed, aligned(4)));"),
	"int (*(*fp)(const char *, ...))[3][4 << 2]",
};

static size_t random_text(char *out, size_t size)
{
	size_t len = 0;
	u32 n;

	if (rnd(2)) {
		for (n = 1 + rnd(40); n--;) {
			const char *piece = pieces[rnd(ARRAY_SIZE(pieces))];

			if (len + strlen(piece) + 2 > size)
				break;
			len += (size_t)sprintf(out + len, "%s ", piece);
		}
		return len;
	}
	len = (size_t)sprintf(out, "%s", seeds[rnd(ARRAY_SIZE(seeds))]);
	for (n = 1 + rnd(4); n--;) {
		u32 at = rnd((u32)len), cut = 1 + rnd(12);

		switch (rnd(3)) {
		case 0: out[at] = (char)rnd(256); break;
		case 1:
			cut = at + cut > len ? (u32)len - at : cut;
			memmove(out + at, out + at + cut, len - at - cut);
			len -= cut;
			break;
		default:
			out[at] = ";{}()[]*,:=#'\"/"[rnd(15)];
			break;
		}
		if (!len)
			break;
	}
	return len;
}

int main(int argc, char **argv)
{
	u32 rounds = argc > 1 ? (u32)atoi(argv[1]) : 20000, i;
	char text[8192];

	seed = argc > 2 ? strtoull(argv[2], NULL, 0) | 1 : 20240601;
	for (i = 0; i < rounds; i++)
		LLVMFuzzerTestOneInput((const uint8_t *)text, random_text(text, sizeof(text)));
	printf("1..1\nok 1 - %u hostile texts\n", rounds);
	return 0;
}
#endif
