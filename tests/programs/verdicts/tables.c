/* SPDX-License-Identifier: MIT */
/*
 * Every width at every offset around the limits of each kind of memory, where arithmetic says what is
 * right: this verifier's verdict is that and, with VERDICTS_KERNEL=1, so is the kernel's.
 */
#include "verdicts.h"

#define VALUE_SIZE 20

static const u32 widths[] = { 1, 2, 4, 8 };
static unsigned cases;
static bool ask_kernel;

/* Puts the program in `text` to both verifiers. */
static void expect(bool accept, bool also_kernel, const char *text)
{
	struct verdict_prog p = { .type = BPF_PROG_TYPE_XDP, .gpl = true, .nmaps = 1 };
	struct text why = { 0 };
	int err;

	p.maps[0].attr = (struct map_attr){ .type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = VALUE_SIZE,
					     .max_entries = 1, .name = "a" };
	if (isa_assemble(text, &p.insns, &p.cnt, &why))
		fail_msg("%s: %s", text, text_str(&why));
	err = verdict_ferry(&p, &why, NULL);
	if (!err != accept)
		fail_msg("expected %s:\n%s\n%s", accept ? "accept" : "reject", text, text_str(&why));
	if (also_kernel && ask_kernel && !verdict_kernel(&p, NULL) != accept)
		fail_msg("the kernel disagrees: expected %s:\n%s", accept ? "accept" : "reject", text);
	cases++;
	text_free(&why);
	base_free(p.insns);
}

static const char lookup[] = "*(u32 *)(r10 - 4) = 0\nr2 = r10\nr2 += -4\nr1 = map[0] ll\n"
			     "call bpf_map_lookup_elem\nif r0 != 0 goto +2\nr0 = 0\nexit\n";

static void map_values_at_constant_offsets(void **state)
{
	char text[400];

	(void)state;
	for (size_t w = 0; w < ARRAY_SIZE(widths); w++) {
		for (int off = -9; off <= VALUE_SIZE + 1; off++) {
			bool ok = off >= 0 && off + (int)widths[w] <= VALUE_SIZE;

			snprintf(text, sizeof(text), "%sr1 = *(u%u *)(r0 %+d)\nr0 = 0\nexit\n", lookup,
				 widths[w] * 8, off);
			expect(ok, true, text);
			snprintf(text, sizeof(text), "%s*(u%u *)(r0 %+d) = 1\nr0 = 0\nexit\n", lookup,
				 widths[w] * 8, off);
			expect(ok, true, text);
			/* the offset in the pointer */
			snprintf(text, sizeof(text), "%sr0 += %d\nr1 = *(u%u *)(r0 + 0)\nr0 = 0\nexit\n",
				 lookup, off, widths[w] * 8);
			expect(ok, true, text);
		}
	}
}

/* r1 in [0, max], by each comparison that says so. */
static void map_values_at_bounded_offsets(void **state)
{
	static const struct {
		const char *cond;
		int add; /* to the largest number that stays */
		bool half;
	} ways[] = { { "if r1 > %d goto out", 0, false },  { "if r1 >= %d goto out", 1, false },
		     { "if w1 > %d goto out", 0, true },   { "if w1 >= %d goto out", 1, true },
		     { "if r1 s> %d goto out", 0, true },  { "if r1 s>= %d goto out", 1, true },
		     { "if r1 < %d goto in\ngoto out", 1, false },
		     { "if r1 <= %d goto in\ngoto out", 0, false },
		     { "if r1 s< %d goto in\ngoto out", 1, true },
		     { "if r1 s<= %d goto in\ngoto out", 0, true } };
	char text[600], cond[64];

	(void)state;
	for (size_t w = 0; w < ARRAY_SIZE(widths); w++) {
		for (int max = VALUE_SIZE - 10; max <= VALUE_SIZE + 1; max++) {
			for (size_t k = 0; k < ARRAY_SIZE(ways); k++) {
				bool ok = max + (int)widths[w] <= VALUE_SIZE;

				snprintf(cond, sizeof(cond), ways[k].cond, max + ways[k].add);
				/* half: a number of 32 bits, which is not negative */
				snprintf(text, sizeof(text),
					 "%sr1 = *(u%d *)(r0 + 0)\n%s\nin:\nr0 += r1\n"
					 "r1 = *(u%u *)(r0 + 0)\nout:\nr0 = 0\nexit\n",
					 lookup, ways[k].half ? 32 : 64, cond, widths[w] * 8);
				expect(ok, true, text);
			}
		}
	}
}

static void stack_at_constant_offsets(void **state)
{
	char text[200];

	(void)state;
	for (size_t w = 0; w < ARRAY_SIZE(widths); w++) {
		for (int off = -530; off <= 8; off += off == -500 ? 480 : 1) {
			bool ok = off >= -512 && off + (int)widths[w] <= 0 && off % (int)widths[w] == 0;

			snprintf(text, sizeof(text),
				 "*(u%u *)(r10 %+d) = 1\nr0 = *(u%u *)(r10 %+d)\nexit\n", widths[w] * 8,
				 off, widths[w] * 8, off);
			expect(ok, true, text);
		}
	}
}

static void packets_in_every_direction(void **state)
{
	/* What a comparison of data + n with the end says: n + more bytes are there. */
	static const struct {
		const char *cond;
		int more;
	} ways[] = { { "if r4 > r3 goto out\n", 0 },  { "if r4 >= r3 goto out\n", 1 },
		     { "if r3 < r4 goto out\n", 0 },  { "if r3 <= r4 goto out\n", 1 },
		     { "if r4 <= r3 goto in\ngoto out\n", 0 },
		     { "if r4 < r3 goto in\ngoto out\n", 1 },
		     { "if r3 >= r4 goto in\ngoto out\n", 0 },
		     { "if r3 > r4 goto in\ngoto out\n", 1 } };
	char text[500];

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(ways); k++) {
		for (int n = 1; n <= 10; n++) {
			for (size_t w = 0; w < ARRAY_SIZE(widths); w++) {
				for (int off = -1; off <= 10; off++) {
					bool ok = off >= 0 && off + (int)widths[w] <= n + ways[k].more;

					snprintf(text, sizeof(text),
						 "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\n"
						 "r4 = r2\nr4 += %d\n%sin:\nr0 = *(u%u *)(r2 %+d)\n"
						 "out:\nr0 = 0\nexit\n",
						 n, ways[k].cond, widths[w] * 8, off);
					expect(ok, w == 3 || off % 3 == 0, text);
				}
			}
		}
	}
}

static void helper_memory_of_every_size(void **state)
{
	char text[500];

	(void)state;
	for (int off = -2; off <= VALUE_SIZE + 1; off++) {
		for (int size = 1; size <= VALUE_SIZE + 2; size++) {
			snprintf(text, sizeof(text),
				 "%sr1 = r0\nr1 += %d\nr2 = %d\nr3 = 0\nr4 = 0\nr5 = 0\n"
				 "call bpf_csum_diff\nr0 = 0\nexit\n", lookup, off, size);
			/* csum_diff's sizes are multiples of 4 at run time only */
			expect(off >= 0 && off + size <= VALUE_SIZE, size % 5 == 0, text);
		}
	}
}

static void needed_kernel_is_here(void **state)
{
	(void)state;
	if (!getenv("VERDICTS_KERNEL"))
		return;
	ask_kernel = kernel_here();
	if (!ask_kernel) {
		print_message("# the kernel's bpf(2) is not usable here\n");
		skip();
	}
}

static int report(void **state)
{
	(void)state;
	print_message("# %u programs\n", cases);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(needed_kernel_is_here),
		cmocka_unit_test(map_values_at_constant_offsets),
		cmocka_unit_test(map_values_at_bounded_offsets),
		cmocka_unit_test(stack_at_constant_offsets),
		cmocka_unit_test(packets_in_every_direction),
		cmocka_unit_test(helper_memory_of_every_size),
	};

	return cmocka_run_group_tests(tests, NULL, report);
}
