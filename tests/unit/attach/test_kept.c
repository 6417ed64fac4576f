/* SPDX-License-Identifier: MIT */
/* Look-ups of programs at probes, where vector registers are live: what they find, and that those stay. */
#include "map/map.h"
#include "test.h"

/* All kinds of keys, found and not, with every vector register full. */
static void plain_look_up_finds_what_look_up_finds_and_keeps_registers(void **state)
{
	static const u32 sizes[] = { 4, 8, 12, 16, 24, 64 };
	u8 before[8][32], after[8][32], key[64];
	u32 n, i, found = 0;
	struct map *m;
	size_t s;

	(void)state;
	for (s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct map_attr a = { .type = BPF_MAP_TYPE_HASH, .key_size = sizes[s], .value_size = 8, .max_entries = 500 };

		assert_int_equal(map_create(&a, &m, NULL), 0);
		for (n = 0; n < 500; n++) {
			memset(key, (int)n, sizeof(key));
			memcpy(key, &n, sizeof(n));
			if (n % 3)
				assert_int_equal(m->ops->update(m, key, &(u64){ n }, BPF_ANY), 0);
		}
		for (n = 0; n < 500; n++) {
			void *got, *want;

			memset(key, (int)n, sizeof(key));
			memcpy(key, &n, sizeof(n));
			want = m->ops->lookup(m, key);
			for (i = 0; i < sizeof(before); i++)
				((u8 *)before)[i] = (u8)(i * 7 + n);
			__asm__ volatile("movups (%[b]), %%xmm0\n\tmovups 32(%[b]), %%xmm1\n\tmovups 64(%[b]), %%xmm2\n\t"
					 "movups 96(%[b]), %%xmm3\n\tmovups 128(%[b]), %%xmm4\n\tmovups 160(%[b]), %%xmm5\n\t"
					 "movups 192(%[b]), %%xmm6\n\tmovups 224(%[b]), %%xmm15\n\t"
					 "lea -128(%%rsp), %%rsp\n\tcall *%[fn]\n\tlea 128(%%rsp), %%rsp\n\t"
					 "movups %%xmm0, (%[o])\n\tmovups %%xmm1, 32(%[o])\n\tmovups %%xmm2, 64(%[o])\n\t"
					 "movups %%xmm3, 96(%[o])\n\tmovups %%xmm4, 128(%[o])\n\tmovups %%xmm5, 160(%[o])\n\t"
					 "movups %%xmm6, 192(%[o])\n\tmovups %%xmm15, 224(%[o])"
					 : "=a"(got)
					 : [b] "r"(before), [o] "r"(after), [fn] "r"(m->ops->lookup_plain), "D"(m), "S"(key)
					 : "memory", "cc", "rcx", "rdx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2",
					   "xmm3", "xmm4", "xmm5", "xmm6", "xmm15");
			assert_ptr_equal(got, want);
			found += got != NULL;
			for (i = 0; i < 8; i++)
				assert_memory_equal(before[i], after[i], 16);
		}
		map_put(m);
	}
	assert_int_equal(found, ARRAY_SIZE(sizes) * 333);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_look_up_finds_what_look_up_finds_and_keeps_registers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
