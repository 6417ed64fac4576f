/* SPDX-License-Identifier: MIT */
/*
 * Hostile BTF: the BTF shown as the kernel's and a module's, with bytes changed, whole and split.
 * What is refused must say why; what is accepted must be good for every use of it here. libbpf's
 * btf_dump is no such use: it follows prototypes that refer to themselves, which the kernel allows,
 * until the stack ends.
 * `fuzz_btf [ROUNDS [SEED]]`, or LLVMFuzzerTestOneInput with -DFUZZER -fsanitize=fuzzer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "btf/fbtf.h"
#include "module/module.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void use(const struct btf *btf, u32 first)
{
	static const u8 zeros[512], ones[512] = { [0 ... 511] = 0xff };
	struct text out = { .limit = 1 << 16 };
	u32 id, n = btf__type_cnt(btf);

	for (id = first; id < n && id < first + 200; id++) {
		text_reset(&out);
		fbtf_dump_value(btf, id, id & 1 ? zeros : ones, 512, id & 2, &out);
		check(fbtf_size(btf, id) <= UINT32_MAX, "a size past 32 bits");
		fbtf_strip(btf, id, NULL);
		fbtf_name(btf, btf__type_by_id(btf, id)->name_off);
	}
	text_free(&out);
}

static void one(const void *data, u32 size, struct btf *base)
{
	struct text why = { 0 };
	struct btf *btf = NULL;

	if (fbtf_parse(data, size, base, &btf, &why))
		check(why.len > 0 && !btf, "refused without a reason");
	else
		use(btf, base ? btf__type_cnt(base) : 1);
	btf__free(btf);
	text_free(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 1 << 20)
		return 0;
	one(data, (u32)size, NULL);
	one(data, (u32)size, fbtf_vmlinux());
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

/* Words of the types take the values that types are made of: small numbers, ids, kinds, offsets. */
static void change(u8 *data, u32 size)
{
	struct btf_header h;
	u32 n = 1 + rnd(4), at, w, types;

	memcpy(&h, data, sizeof(h));
	types = h.type_len / 4;
	while (n--) {
		at = (u32)sizeof(h) + 4 * rnd(types);
		memcpy(&w, data + at, 4);
		switch (rnd(7)) {
		case 0: w ^= 1u << rnd(32); break;
		case 1: w = rnd(64); break;
		case 2: w = (w & 0xf0ffffff) | rnd(21) << 24; break;
		case 3: w = (w & 0xffff0000) | rnd(9); break;
		case 4: w = fbtf_vmlinux() ? btf__type_cnt(fbtf_vmlinux()) + rnd(32) : 0; break;
		case 5: w += rnd(9) - 4; break;
		default:
			at = rnd(size);
			data[at] ^= (u8)(1u << rnd(8));
			continue;
		}
		memcpy(data + at, &w, 4);
	}
}

static void native(void)
{
}

int main(int argc, char **argv)
{
	static const struct ferry_func funcs[] = {
		FERRY_FUNC("int f(const struct s *p, u32 p__sz, enum e e, void *q__uninit, u64 "
			   "q__szk)",
			   native),
		FERRY_FUNC("u8 g(const union u *x__nullable, const char *s__str)", native),
	};
	const struct ferry_module def = {
		sizeof(def), "fuzz",
		"struct s { int a : 3, b; char name[16]; double d[2]; }; enum e { A, B = -1 };"
		"union u { struct s in[2]; u64 x; const volatile u8 y; };",
		funcs, ARRAY_SIZE(funcs)
	};
	u32 rounds = argc > 1 ? (u32)atoi(argv[1]) : 5000, i, size;
	const void *raw = btf__raw_data(fbtf_vmlinux(), &size);
	struct module *m;
	u8 *copy = malloc(size + 65536);

	seed = argc > 2 ? strtoull(argv[2], NULL, 0) | 1 : 20240602;
	check(!module_register(&def, &m, NULL) && m->raw_size < 65536, "the module is refused");
	one(m->raw, m->raw_size, fbtf_vmlinux());
	for (i = 0; i < rounds; i++) {
		bool split = i % 8;
		u32 len = split ? m->raw_size : size;

		memcpy(copy, split ? m->raw : raw, len);
		change(copy, len);
		one(copy, rnd(50) ? len : rnd(len), split ? fbtf_vmlinux() : NULL);
	}
	module_unregister("fuzz");
	free(copy);
	printf("1..1\nok 1 - %u hostile BTFs\n", rounds);
	return 0;
}
#endif
