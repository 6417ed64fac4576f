/* SPDX-License-Identifier: MIT */
/*
 * Random programs put to this verifier and to the machine's kernel. What only this one accepts is
 * run with every access checked; the reasons of both are counted. VERDICTS_RANDOM and VERDICTS_SEED
 * as in soundness.c; VERDICTS_SHOW=TEXT prints a program of each reason that contains TEXT.
 */
#include "execute.h"

#define MAX_REASONS 400

struct reason {
	char text[160];
	unsigned long seed, n;
};

struct reasons {
	struct reason r[MAX_REASONS];
	unsigned n;
};

/* Numbers and registers do not make reasons different. */
static void count_reason(struct reasons *c, const char *why, unsigned long seed)
{
	char text[160];
	size_t n = 0;

	for (const char *s = why; *s && n < sizeof(text) - 1; s++) {
		bool digit = *s >= '0' && *s <= '9';

		if (digit && n && text[n - 1] == '#')
			continue;
		text[n++] = digit ? '#' : *s;
	}
	text[n] = 0;
	for (unsigned i = 0; i < c->n; i++) {
		if (!strcmp(c->r[i].text, text)) {
			c->r[i].n++;
			return;
		}
	}
	if (c->n < MAX_REASONS) {
		snprintf(c->r[c->n].text, sizeof(text), "%s", text);
		c->r[c->n].seed = seed;
		c->r[c->n++].n = 1;
	}
}

static void print_program(unsigned long seed)
{
	struct verdict_prog p;
	struct text t = { 0 };

	generate(seed, true, &p);
	verdict_kernel(&p, &t);
	puts(text_str(&t)); /* longer than what cmocka prints */
	text_reset(&t);
	verdict_ferry(&p, &t, NULL);
	puts(text_str(&t));
	text_free(&t);
	base_free(p.insns);
}

static void print_reasons(const char *title, const struct reasons *c)
{
	const char *show = getenv("VERDICTS_SHOW");

	for (unsigned i = 0; i < c->n; i++) {
		print_message("# %s, %lu times (seed %lu): %s\n", title, c->r[i].n, c->r[i].seed,
			      c->r[i].text);
		if (show && strstr(c->r[i].text, show))
			print_program(c->r[i].seed);
	}
}

static unsigned long number_from(const char *name, unsigned long otherwise)
{
	const char *s = getenv(name);

	return s ? strtoul(s, NULL, 0) : otherwise;
}

static struct reasons only_ferry, only_kernel;

static void what_the_kernel_refuses_is_safe_or_refused(void **state)
{
	unsigned long n = number_from("VERDICTS_RANDOM", 5000), seed = number_from("VERDICTS_SEED", 1);
	unsigned long both = 0, neither = 0, ferry = 0, kernel = 0, unsafe = 0;

	(void)state;
	if (!kernel_here()) {
		print_message("# the kernel's bpf(2) is not usable here\n");
		skip();
	}
	for (unsigned long i = seed; i < seed + n; i++) {
		struct verdict_prog vp;
		struct text klog = { 0 }, flog = { 0 };
		struct prog *p = NULL;
		char why[300];
		int k, f;

		generate(i, true, &vp);
		k = verdict_kernel(&vp, &klog);
		f = verdict_ferry(&vp, &flog, &p);
		both += !k && !f;
		neither += k && f;
		ferry += k && !f;
		kernel += !k && f;
		if (k && !f) {
			verdict_reason(&klog, why, sizeof(why));
			count_reason(&only_ferry, why, i);
			if (!execute_many(p, 200, why, sizeof(why))) {
				unsafe++;
				print_message("# UNSAFE, seed %lu: %s\n", i, why);
			}
		} else if (!k && f) {
			verdict_reason(&flog, why, sizeof(why));
			count_reason(&only_kernel, why, i);
		}
		if (p)
			prog_free(p);
		text_free(&klog);
		text_free(&flog);
		base_free(vp.insns);
	}
	print_reasons("only the kernel refuses", &only_ferry);
	print_reasons("only the kernel accepts", &only_kernel);
	print_message("# %lu programs: both accept %lu, both refuse %lu, only this one accepts %lu, only the "
		      "kernel accepts %lu\n", n, both, neither, ferry, kernel);
	assert_int_equal(unsafe, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_kernel_refuses_is_safe_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
