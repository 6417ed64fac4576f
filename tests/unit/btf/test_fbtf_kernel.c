/* SPDX-License-Identifier: MIT */
/* fbtf_parse against the kernel's BPF_BTF_LOAD: the same bytes, the same verdict and errno. */
#include "btf_cases.h"

static int kernel_there(void)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	/* An attr of no map type: EINVAL where bpf(2) works, EPERM or ENOSYS where it does not. */
	return raw_bpf(BPF_MAP_CREATE, &attr, sizeof(attr)) == -EINVAL && !geteuid();
}

static int ours(const void *data, u32 size, struct text *why)
{
	struct btf *btf = NULL;
	int err;

	text_reset(why);
	err = fbtf_parse(data, size, NULL, &btf, why);
	btf__free(btf);
	return err;
}

/* As libbpf does before loading: sections get the sizes and offsets that clang leaves to the
 * linker. */
static void fix_sections(struct btf *btf)
{
	u32 id, i, off, n = btf__type_cnt(btf);

	for (id = 1; id < n; id++) {
		struct btf_type *t = (struct btf_type *)(uintptr_t)btf__type_by_id(btf, id);
		struct btf_var_secinfo *v = btf_var_secinfos(t);

		if (!btf_is_datasec(t))
			continue;
		for (i = 0, off = 0; i < btf_vlen(t); i++) {
			v[i].offset = off;
			v[i].size = (u32)fbtf_size(btf, v[i].type);
			off += v[i].size + 4;
		}
		t->size = off;
	}
}

static struct btf *sample(void)
{
	struct btf *btf = btf__parse_elf(getenv("FERRY_SAMPLE"), NULL);

	assert_non_null(btf);
	/* What this clang does not make. */
	assert_true(btf__add_enum64(btf, "wider", 8, true) > 0);
	assert_int_equal(btf__add_enum64_value(btf, "WIDER_LOW", (u64)-5), 0);
	assert_int_equal(btf__add_enum64_value(btf, "WIDER_HIGH", 1ull << 40), 0);
	assert_true(btf__add_struct(btf, "has_wider", 16) > 0);
	assert_int_equal(btf__add_field(btf, "w", (int)btf__type_cnt(btf) - 2, 0, 0), 0);
	assert_int_equal(btf__add_field(btf, "x", (int)btf__type_cnt(btf) - 2, 64, 12), 0);
	fix_sections(btf);
	return btf;
}

/* Rules that later kernels relaxed or added to those of 6.1, told from the kernel's log. */
static bool later_rule(int kernel, int mine, const char *log, const struct text *why)
{
	const char *s = text_str(why);

	/*
	 * Names with dots anywhere (6.13), sections with any printable name (6.10), kind_flag of tags (6.14): the
	 * kernel goes on, and may find something else.
	 */
	(void)log;
	(void)kernel;
	return mine == -EINVAL && (strstr(s, "name") || (strstr(s, "TAG") && strstr(s, "kind_flag")));
}

static void verdicts_on_mutated_btf_are_the_kernels(void **state)
{
	struct btf *btf;
	const void *raw;
	u32 size, n, bad = 0, accepted = 0, i, len;
	char log[65536];
	u64 seed = 20240611;
	struct text why = { 0 };
	u8 *copy;

	(void)state;
	btf = sample();
	raw = btf__raw_data(btf, &size);
	copy = malloc(size);
	n = getenv("FERRY_ROUNDS") ? (u32)atoi(getenv("FERRY_ROUNDS")) : 30000;
	for (i = 0; i < n; i++) {
		int k, m;

		memcpy(copy, raw, size);
		len = size;
		mutate(copy, &len, &seed);
		m = ours(copy, len, &why);
		k = kernel_btf_load(copy, len, NULL, 0);
		accepted += !k;
		if (m == k || later_rule(k, m, log, &why))
			continue;
		kernel_btf_load(copy, len, log, sizeof(log));
		if (bad++ < 10)
			print_error("round %u: kernel %d, here %d (%s)\n%s\n", i, k, m,
				    text_str(&why),
				    strlen(log) > 300 ? log + strlen(log) - 300 : log);
	}
	print_message("# %u of %u accepted by both\n", accepted, n);
	assert_int_equal(bad, 0);
	/* The mutations must not all be refused, or only the first rules are compared. */
	assert_true(accepted > n / 20 && accepted < n / 2);
	free(copy);
	text_free(&why);
	btf__free(btf);
}

static void headers_are_judged_as_the_kernel_does(void **state)
{
	struct btf *btf;
	const u8 *raw;
	u32 size, field, bad = 0, len;
	static const u32 values[] = { 0,  1,  2,  4,   8,          20,         23,        24,
				      25, 28, 32, 100, 0x7fffffff, 0xfffffffc, 0xffffffff };
	struct text why = { 0 };
	u8 *copy;
	size_t v;

	(void)state;
	btf = sample();
	raw = btf__raw_data(btf, &size);
	copy = malloc(size + 64);
	for (field = 0; field < sizeof(struct btf_header); field++)
		for (v = 0; v < ARRAY_SIZE(values) * 2; v++) {
			u32 w;
			int k, m;

			memcpy(copy, raw, size);
			w = values[v / 2];
			if (v & 1) {
				memcpy(&w, copy + (field & ~3u), 4);
				w += values[v / 2];
			}
			memcpy(copy + (field & ~3u), &w, 4);
			k = kernel_btf_load(copy, size, NULL, 0);
			m = ours(copy, size, &why);
			if (k != m && bad++ < 10)
				print_error("field %u value %u: kernel %d, here %d (%s)\n", field,
					    w, k, m, text_str(&why));
		}
	/* A longer header of zeros is a later version's and means nothing; other bytes refuse it.
	 */
	for (len = 0; len < 40; len++) {
		struct btf_header h;
		int k, m;

		memcpy(&h, raw, sizeof(h));
		h.hdr_len = (u32)sizeof(h) + len;
		memset(copy, 0, 64);
		memcpy(copy, &h, sizeof(h));
		memcpy(copy + h.hdr_len, raw + sizeof(h), size - sizeof(h));
		k = kernel_btf_load(copy, size + len, NULL, 0);
		m = ours(copy, size + len, &why);
		if (k != m && bad++ < 10)
			print_error("header of %u: kernel %d, here %d (%s)\n", h.hdr_len, k, m,
				    text_str(&why));
		if (!len)
			continue;
		copy[h.hdr_len - 1] = 1;
		assert_int_equal(ours(copy, size + len, &why),
				 kernel_btf_load(copy, size + len, NULL, 0));
	}
	for (len = 0; len < size; len += len < 64 ? 1 : 37)
		if (kernel_btf_load(raw, len, NULL, 0) != ours(raw, len, &why) && bad++ < 10)
			print_error("%u bytes: kernel %d, here %d\n", len,
				    kernel_btf_load(raw, len, NULL, 0), ours(raw, len, &why));
	assert_int_equal(bad, 0);
	free(copy);
	text_free(&why);
	btf__free(btf);
}

static void cases_made_by_hand_have_the_kernels_verdict(void **state)
{
	u32 size, bad = 0;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(btf_cases); i++) {
		u8 *data = case_bytes(i, &size);
		int k = kernel_btf_load(data, size, NULL, 0);

		if (k != btf_cases[i].verdict && ++bad)
			print_error("%s: kernel %d, expected %d\n", btf_cases[i].name, k,
				    btf_cases[i].verdict);
		free(data);
	}
	assert_int_equal(bad, 0);
}

static void the_stand_in_for_the_kernels_btf_loads_into_the_kernel(void **state)
{
	const void *raw;
	char log[65536];
	u32 size;
	int err;

	(void)state;
	raw = btf__raw_data(fbtf_vmlinux(), &size);
	err = kernel_btf_load(raw, size, log, sizeof(log));
	if (err && err != -ENOSPC)
		print_error("%s\n", strlen(log) > 500 ? log + strlen(log) - 500 : log);
	assert_int_equal(kernel_btf_load(raw, size, NULL, 0), 0);
}

static void the_kernels_own_btf_passes(void **state)
{
	struct btf *btf = btf__parse("/sys/kernel/btf/vmlinux", NULL);
	struct text why = { 0 };
	const void *raw;
	u32 size;

	(void)state;
	if (!btf)
		skip();
	raw = btf__raw_data(btf, &size);
	/* Later kernels have kind_flag on tags; all else must pass. */
	if (ours(raw, size, &why))
		print_message("# refused: %s\n", text_str(&why));
	text_free(&why);
	btf__free(btf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts_on_mutated_btf_are_the_kernels),
		cmocka_unit_test(headers_are_judged_as_the_kernel_does),
		cmocka_unit_test(cases_made_by_hand_have_the_kernels_verdict),
		cmocka_unit_test(the_stand_in_for_the_kernels_btf_loads_into_the_kernel),
		cmocka_unit_test(the_kernels_own_btf_passes),
	};

	if (!kernel_there())
		return skip_all("this machine's kernel has no bpf(2)");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
