/* SPDX-License-Identifier: MIT */
/*
 * Every exported function of real libraries probed at once, under load: what they compute is the
 * same, and their code is byte for byte what it was once the probes are gone.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <zlib.h>

#include "library.h"
#include "test.h"

static void count(struct pt_regs *regs, void *arg)
{
	(void)regs;
	__atomic_fetch_add((u64 *)arg, 1, __ATOMIC_RELAXED);
}

static _Atomic bool stop;
static _Atomic u64 rounds;

static u64 compute(void)
{
	static const char text[] = "how much wood would a woodchuck chuck if a woodchuck could chuck wood";
	u8 in[4096], packed[8192], out[4096];
	uLongf packed_size = sizeof(packed), size = sizeof(out);
	size_t i;

	for (i = 0; i < sizeof(in); i++)
		in[i] = (u8)(text[i % sizeof(text)] + i / 512);
	if (compress(packed, &packed_size, in, sizeof(in)) != Z_OK ||
	    uncompress(out, &size, packed, packed_size) != Z_OK || size != sizeof(in) ||
	    memcmp(in, out, size))
		abort();
	return crc32(adler32(1, in, sizeof(in)), packed, (uInt)packed_size);
}

static void *load(void *arg)
{
	u64 want = *(u64 *)arg;

	while (!stop) {
		if (compute() != want)
			abort();
		rounds++;
	}
	return NULL;
}

static void probe_all(const char *name, enum probe_kind kind, size_t least)
{
	struct library *l = calloc(1, sizeof(*l));
	struct probe_spec *specs;
	struct probe **probes;
	u64 hits = 0, want = compute(), jumps = 0;
	pthread_t threads[2];
	struct text why = { 0 };
	u8 *before;
	size_t i, n = 0;

	assert_true(library_find(l, name) && l->n >= least);
	specs = calloc(l->n, sizeof(*specs));
	probes = calloc(l->n, sizeof(*probes));
	before = malloc(l->text_end - l->text);
	memcpy(before, (void *)l->text, l->text_end - l->text);
	stop = false;
	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, load, &want);
	for (i = 0; i < l->n; i++)
		specs[i] = (struct probe_spec){ (void *)l->funcs[i], kind, 0, count, &hits };
	/* One after another first finds what cannot be probed; those that can, all at once. */
	if (probe_add(specs, l->n, probes, &why)) {
		print_message("# %s\n", text_str(&why));
		fail();
	}
	n = l->n;
	for (i = 0; i < n; i++)
		jumps += probe_how(probes[i]) == PROBE_JUMP;
	for (i = 0; i < 20; i++)
		assert_true(compute() == want);
	probe_remove(probes, n);
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_memory_equal(before, (void *)l->text, l->text_end - l->text);
	assert_true(hits > 0);
	print_message("# %s: %zu functions, %llu by jump, %llu hits in %llu rounds\n", name, n,
		      (unsigned long long)jumps, (unsigned long long)hits,
		      (unsigned long long)rounds);
	text_free(&why);
	free(before);
	free(specs);
	free(probes);
	free(l);
}

static void zlib_works_with_all_functions_probed(void **state)
{
	(void)state;
	probe_all("libz.so", PROBE_ENTRY, 50);
	probe_all("libz.so", PROBE_RETURN, 50);
}

/* libc and the unwinder are under our own feet: entries only, while threads use them. */
static void libc_works_with_all_functions_probed(void **state)
{
	(void)state;
	probe_all("libc.so", PROBE_ENTRY, 1000);
	probe_all("libc.so", PROBE_RETURN, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zlib_works_with_all_functions_probed),
		cmocka_unit_test(libc_works_with_all_functions_probed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
