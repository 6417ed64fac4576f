/* SPDX-License-Identifier: MIT */
/*
 * The machine's kernel as oracle: every command with every field of its attr at its extremes gets
 * the same errno from Ferry and from the kernel.
 */
#include <fcntl.h>
#include <unistd.h>

#include "attr_probes.h"

static const u32 extremes[] = { 0,      1,          2,          3,          17,        0xff,
				0x1000, 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff };

/* Fields that Linux 6.1 knows; newer kernels have more. */
static u32 known_words(int cmd)
{
	static const u32 end[] = {
#define CMD(number, handler, last) [number] = END_OF(last) / 4,
#include "bpf/cmd.def"
#undef CMD
	};

	return end[cmd];
}

static struct world worlds[2];

static void every_field_at_its_extremes_as_the_kernel(void **state)
{
	u32 i, e, word, differ = 0, cases = 0, size = END_OF(core_relo_rec_size);

	(void)state;
	if (!kernel_works())
		skip();
	/* Small numbers are the same descriptors to both. */
	while (open("/dev/null", O_RDONLY) < 32)
		;
	world_make(&worlds[0], sys_bpf);
	world_make(&worlds[1], kernel_bpf);
	for (i = 0; i < nprobes; i++) {
		const struct probe *p = &probes[i];

		for (word = 0; word < known_words(p->cmd); word++) {
			for (e = 0; e < ARRAY_SIZE(extremes) && !probe_skips(p, word); e++) {
				long got[2];

				for (int side = 0; side < 2; side++) {
					union bpf_attr a = { 0 };

					p->fill(&worlds[side], &a);
					((u32 *)&a)[word] = extremes[e];
					got[side] = probe_outcome(&worlds[side], p, &a, size);
				}
				cases++;
				if (got[0] == got[1])
					continue;
				differ++;
				print_message("cmd %d (%s) word %u = %#x: %ld, the kernel %ld\n",
					      p->cmd, p->name, word, extremes[e], got[0], got[1]);
			}
		}
	}
	print_message("# %u cases, %u differ\n", cases, differ);
	world_end(&worlds[0]);
	world_end(&worlds[1]);
	assert_int_equal(differ, 0);
}

/* Two fields at once: which refusal comes first is part of the interface. */
static void two_random_fields_as_the_kernel(void **state)
{
	u32 differ = 0, size = END_OF(core_relo_rec_size), n;
	u64 seed = 20261121;

	(void)state;
	if (!kernel_works())
		skip();
	world_make(&worlds[0], sys_bpf);
	world_make(&worlds[1], kernel_bpf);
	for (n = 0; n < 10000; n++) {
		const struct probe *p;
		u32 word[2], value[2], i;
		long got[2];

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		p = &probes[(seed >> 33) % nprobes];
		for (i = 0; i < 2; i++) {
			seed = seed * 6364136223846793005ull + 1442695040888963407ull;
			word[i] = (seed >> 33) % known_words(p->cmd);
			value[i] = extremes[(seed >> 50) % ARRAY_SIZE(extremes)];
		}
		/*
		 * A map that was frozen differs from then on; of the long attrs kernels after 6.1
		 * check other fields first.
		 */
		if (probe_skips(p, word[0]) || probe_skips(p, word[1]) || p->cmd == BPF_MAP_FREEZE ||
		    p->cmd == BPF_PROG_LOAD || p->cmd == BPF_MAP_CREATE ||
		    (!strcmp(p->name, "xdp") && word[0] > 9 && word[1] > 9))
			continue;
		for (int side = 0; side < 2; side++) {
			union bpf_attr a = { 0 };

			world_again(&worlds[side]);
			p->fill(&worlds[side], &a);
			for (i = 0; i < 2; i++)
				((u32 *)&a)[word[i]] = value[i];
			got[side] = probe_outcome(&worlds[side], p, &a, size);
		}
		if (got[0] == got[1])
			continue;
		differ++;
		print_message("cmd %d (%s) words %u = %#x, %u = %#x: %ld, the kernel %ld\n", p->cmd,
			      p->name, word[0], value[0], word[1], value[1], got[0], got[1]);
	}
	print_message("# %u differ\n", differ);
	world_end(&worlds[0]);
	world_end(&worlds[1]);
	assert_int_equal(differ, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_at_its_extremes_as_the_kernel),
		cmocka_unit_test(two_random_fields_as_the_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
