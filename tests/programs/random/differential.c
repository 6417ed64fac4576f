/* SPDX-License-Identifier: MIT */
/*
 * Random programs, and real ones changed at random, put to this verifier and to the machine's kernel.
 * A disagreement that differences.def does not know fails the test; it is made small and printed as
 * text with both logs. What only this verifier accepts is run with every access checked.
 *
 *   differential [--seed N] [--count N | --forever] [--jobs N] [--show TEXT]
 *
 * Where both refuse in the same words, the errno has to be the same too. --show also makes small and prints one program of each known disagreement whose reason has TEXT.
 */
#include <string.h> /* strerrorname_np */
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "random.h"

#define MAX_REASONS 200
#define MAX_JOBS 16
#define MAX_PRINTED 20

enum verdict {
	AGREE,
	TOO_LONG,   /* for this verifier; the kernel was not asked */
	OTHER_ERRNO,
	STRICTER,
	LAXER,
	UNSAFE,     /* accepted, and did at run time what it may not */
	NVERDICTS,
};

static const char *const verdict_names[NVERDICTS] = {
	"both agree", "too long to verify", "both refuse for one reason, with another errno", "only the kernel accepts", "only this one accepts",
	"accepted and UNSAFE",
};

struct outcome {
	enum verdict verdict;
	int kernel, ferry;
	bool dead; /* the path that the kernel refuses goes over code that is never reached */
	char why[300];
};

struct reason {
	enum verdict verdict;
	bool known;
	char text[160];
	unsigned long seed, n;
};

/* What one worker found; in memory that all share. */
struct tally {
	unsigned long programs, accepted, both_refuse, verdicts[NVERDICTS];
	struct reason r[MAX_REASONS];
	unsigned n;
};

static struct verdict_corpus corpus;
static const char *show;
static unsigned long jobs = 2, first_seed = 1, count;
static bool forever;

/* ---- one program ------------------------------------------------------------------------------- */

/* Can random changes of it be put to both? */
static bool is_base(const struct verdict_prog *p)
{
	return !p->strict && !p->differs[0] && !p->no_kernel && !p->gap && !verdict_calls_native(p) && p->cnt;
}

static void program_of(unsigned long seed, struct verdict_prog *p)
{
	const struct verdict_prog *base = &corpus.progs[seed * 7919 % corpus.n];

	bool mutated = seed % 3 == 0 && is_base(base);

	if (mutated)
		mutate(base, seed, p);
	/* A change can make a call one of a function that the kernel does not have. */
	if (mutated && verdict_calls_native(p)) {
		base_free(p->insns);
		mutated = false;
	}
	if (!mutated)
		generate(seed, true, p);
	snprintf(p->name, sizeof(p->name), "seed %lu", seed);
}

/* Reasons in the same words name the same fault; others may be two faults of one program. */
static bool same_words(const char *a, const char *b)
{
	size_t n = strcspn(a, "0123456789");

	return n > 8 ? !strncmp(a, b, n) : !strcmp(a, b);
}

/* Did the path that a log shows go over code that is never reached? */
static bool over_dead(const struct text *log, const struct prog *p)
{
	unsigned at;
	char code;

	for (const char *s = text_str(log); *s; s += strcspn(s, "\n"), s += *s == '\n') {
		if (sscanf(s, "%u: (%c", &at, &code) == 2 && at < p->insn_cnt && !p->facts[at].seen)
			return true;
	}
	return false;
}

static void judge(const struct verdict_prog *vp, struct outcome *o, struct text *klog, struct text *flog)
{
	struct prog *p = NULL;
	char kwhy[140], fwhy[140];

	o->ferry = verdict_ferry(vp, flog, &p);
	o->why[0] = 0;
	/* Half a minute of the kernel's time for one program, and then the same verdict. */
	if (o->ferry == -E2BIG) {
		o->verdict = TOO_LONG;
		o->kernel = o->ferry;
		return;
	}
	o->kernel = verdict_kernel(vp, klog);
	verdict_reason(klog, kwhy, sizeof(kwhy));
	verdict_reason(flog, fwhy, sizeof(fwhy));
	o->verdict = AGREE;
	o->dead = false;
	if (o->kernel && !o->ferry) {
		o->verdict = LAXER;
		o->dead = over_dead(klog, p);
		snprintf(o->why, sizeof(o->why), "%s", kwhy);
	} else if (!o->kernel && o->ferry) {
		o->verdict = STRICTER;
		snprintf(o->why, sizeof(o->why), "%s", fwhy);
	} else if (o->kernel != o->ferry && same_words(kwhy, fwhy)) {
		o->verdict = OTHER_ERRNO;
		snprintf(o->why, sizeof(o->why), "%s, kernel %s: %s", strerrorname_np(-o->ferry),
			 strerrorname_np(-o->kernel), fwhy);
	}
	if (o->verdict == LAXER && p && !execute_many(p, 100, o->why, sizeof(o->why)))
		o->verdict = UNSAFE;
	if (p)
		prog_free(p);
}

/* ---- counting ---------------------------------------------------------------------------------- */

/* Numbers and registers do not make reasons different. */
static void general(const char *why, char *text, size_t size)
{
	size_t n = 0;

	for (const char *s = why; *s && n < size - 1; s++) {
		bool digit = *s >= '0' && *s <= '9';

		if (digit && n && text[n - 1] == '#')
			continue;
		text[n++] = digit ? '#' : *s;
	}
	text[n] = 0;
}

/* A comparison of a lower half with 0: of pointers, the kernel takes it for one of the whole. */
static bool compares_half(const struct verdict_prog *p, const struct outcome *o)
{
	(void)o;
	for (u32 i = 0; i < p->cnt; i++) {
		u8 op = BPF_OP(p->insns[i].code);

		if (BPF_CLASS(p->insns[i].code) == BPF_JMP32 && (op == BPF_JEQ || op == BPF_JNE))
			return true;
	}
	return false;
}

static bool sums_half(const struct verdict_prog *p, const struct outcome *o)
{
	(void)o;
	for (u32 i = 0; i < p->cnt; i++) {
		u8 op = BPF_OP(p->insns[i].code);

		if (BPF_CLASS(p->insns[i].code) == BPF_ALU && (op == BPF_ADD || op == BPF_SUB))
			return true;
	}
	return false;
}

static bool compares_itself(const struct verdict_prog *p, const struct outcome *o)
{
	(void)o;
	for (u32 i = 0; i < p->cnt; i++) {
		const struct bpf_insn *insn = &p->insns[i];

		if (isa_ops[insn->code].kind == ISA_JCC && BPF_SRC(insn->code) == BPF_X &&
		    insn->src_reg == insn->dst_reg)
			return true;
	}
	return false;
}

static bool is_dead(const struct verdict_prog *p, const struct outcome *o)
{
	(void)p;
	return o->dead;
}

static bool is_known(const struct outcome *o, const struct verdict_prog *p)
{
	static const struct {
		enum verdict verdict;
		const char *text;
		bool (*when)(const struct verdict_prog *p, const struct outcome *o);
	} known[] = {
#define STRICTER(text, rule) { STRICTER, text, NULL },
#define STRICTER_IF(when, text, rule) { STRICTER, text, when },
#define LAXER(text, rule) { LAXER, text, NULL },
#define LAXER_IF(when, text, rule) { LAXER, text, when },
#define ERRNO(text, rule) { OTHER_ERRNO, text, NULL },
#include "differences.def"
	};

	char general_why[160];

	general(o->why, general_why, sizeof(general_why));
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (known[i].verdict == o->verdict && strstr(general_why, known[i].text) &&
		    (!known[i].when || known[i].when(p, o)))
			return true;
	}
	return o->verdict <= TOO_LONG;
}

static void add_reason(struct tally *t, const struct reason *r)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (t->r[i].verdict == r->verdict && t->r[i].known == r->known && !strcmp(t->r[i].text, r->text)) {
			t->r[i].n += r->n;
			return;
		}
	}
	if (t->n < MAX_REASONS)
		t->r[t->n++] = *r;
}

static void count_outcome(struct tally *t, const struct outcome *o, const struct verdict_prog *p,
			  unsigned long seed)
{
	struct reason r = { .verdict = o->verdict, .known = is_known(o, p), .seed = seed, .n = 1 };

	t->programs++;
	t->verdicts[o->verdict]++;
	t->accepted += !o->ferry;
	t->both_refuse += o->ferry && o->kernel;
	if (o->verdict <= TOO_LONG)
		return;
	general(o->why, r.text, sizeof(r.text));
	add_reason(t, &r);
}

static void work(struct tally *t, unsigned long seed, unsigned long n, unsigned long step)
{
	for (unsigned long i = 0; i < n; i += step) {
		struct verdict_prog p;
		struct text klog = { 0 }, flog = { 0 };
		struct outcome o;

		program_of(seed + i, &p);
		judge(&p, &o, &klog, &flog);
		count_outcome(t, &o, &p, seed + i);
		text_free(&klog);
		text_free(&flog);
		base_free(p.insns);
	}
}

/* Seeds [seed, seed + n) in `jobs` processes; their tallies in one. */
static void work_all(struct tally *sum, unsigned long seed, unsigned long n)
{
	size_t size = jobs * sizeof(*sum);
	struct tally *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[MAX_JOBS];

	assert_true(shared != MAP_FAILED);
	fflush(stdout);
	for (unsigned long k = 0; k < jobs; k++) {
		pids[k] = fork();
		assert_true(pids[k] >= 0);
		if (!pids[k]) {
			work(&shared[k], seed + k, n > k ? n - k : 0, jobs);
			_exit(0);
		}
	}
	for (unsigned long k = 0; k < jobs; k++) {
		int status = 0;

		assert_int_equal(waitpid(pids[k], &status, 0), pids[k]);
		if (status)
			fail_msg("a worker died (%#x) behind program %lu of seeds %lu + %lu i", (unsigned)status,
				 shared[k].programs, seed + k, jobs);
		sum->programs += shared[k].programs;
		sum->accepted += shared[k].accepted;
		sum->both_refuse += shared[k].both_refuse;
		for (unsigned v = 0; v < NVERDICTS; v++)
			sum->verdicts[v] += shared[k].verdicts[v];
		for (unsigned i = 0; i < shared[k].n; i++)
			add_reason(sum, &shared[k].r[i]);
	}
	munmap(shared, size);
}

/* ---- printing ---------------------------------------------------------------------------------- */

/* Does a smaller program show the same? */
static bool shows_the_same(const struct verdict_prog *p, void *arg)
{
	const struct reason *r = arg;
	struct text klog = { 0 }, flog = { 0 };
	struct outcome o;
	char text[160];

	judge(p, &o, &klog, &flog);
	general(o.why, text, sizeof(text));
	text_free(&klog);
	text_free(&flog);
	return o.verdict == r->verdict && (o.verdict == UNSAFE || !strcmp(text, r->text));
}

/* Lines of TAP's comments. */
static void print_lines(const char *s)
{
	while (*s) {
		size_t n = strcspn(s, "\n");

		printf("#   %.*s\n", (int)n, s);
		s += n + (s[n] == '\n');
	}
}

static void print_program(const struct reason *r)
{
	struct text klog = { 0 }, flog = { 0 }, t = { 0 };
	struct reason same = *r;
	struct verdict_prog p;
	struct outcome o;

	program_of(r->seed, &p);
	if (shows_the_same(&p, &same))
		minimise(&p, shows_the_same, &same);
	edit_print(&p, &t);
	judge(&p, &o, &klog, &flog);
	print_lines(text_str(&t));
	printf("# the kernel's log (%d):\n", o.kernel);
	print_lines(text_str(&klog));
	printf("# this verifier's log (%d):\n", o.ferry);
	print_lines(text_str(&flog));
	if (o.verdict == UNSAFE)
		printf("# at run time: %s\n", o.why);
	text_free(&t);
	text_free(&klog);
	text_free(&flog);
	base_free(p.insns);
}

/*
 * How many programs show what is not in differences.def. One in some thousands may be refused for a new
 * reason when this is not a search for them; none may be accepted for one.
 */
static unsigned long report(const struct tally *t)
{
	unsigned long unknown = 0, allowed = forever ? 0 : t->programs / 5000;
	unsigned printed = 0;

	for (unsigned i = 0; i < t->n; i++) {
		const struct reason *r = &t->r[i];

		unknown += r->known ? 0 : r->verdict >= LAXER ? r->n + allowed : r->n;
		printf("# %s%s, %lu times (seed %lu): %s\n", r->known ? "" : "NEW: ", verdict_names[r->verdict],
		       r->n, r->seed, r->text);
		if ((!r->known && printed++ < MAX_PRINTED) || (show && strstr(r->text, show)))
			print_program(r);
	}
	printf("# %lu programs: both accept %lu, both refuse %lu", t->programs,
	       t->accepted - t->verdicts[LAXER] - t->verdicts[UNSAFE], t->both_refuse);
	for (unsigned v = TOO_LONG; v < NVERDICTS; v++)
		printf(", %s %lu", verdict_names[v], t->verdicts[v]);
	puts("");
	fflush(stdout);
	return unknown > allowed ? unknown : 0;
}

static void verdicts_are_the_kernels_or_differ_for_a_known_reason(void **state)
{
	const char *root = getenv("FERRY_SOURCE_ROOT");
	unsigned long seed = first_seed;
	char folder[4096];

	(void)state;
	snprintf(folder, sizeof(folder), "%s/tests/programs/verdicts", root ? root : ".");
	verdict_read(folder, &corpus);
	do {
		struct tally *t = base_alloc(sizeof(*t));
		unsigned long too_long;
		unsigned long unknown;

		assert_non_null(t);
		work_all(t, seed, count);
		unknown = report(t);
		too_long = t->verdicts[TOO_LONG];
		base_free(t);
		assert_int_equal(unknown, 0);
		assert_true(too_long < count / 200 + 5);
		seed += count;
	} while (forever);
	verdict_free(&corpus);
}

static void read_arguments(int argc, char **argv)
{
	count = number_from("VERDICTS_RANDOM", 60000);
	first_seed = number_from("VERDICTS_SEED", 1);
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(argv[i], "--forever")) {
			forever = true;
			continue;
		}
		if (!strcmp(argv[i], "--seed"))
			first_seed = strtoul(value, NULL, 0);
		else if (!strcmp(argv[i], "--count"))
			count = strtoul(value, NULL, 0);
		else if (!strcmp(argv[i], "--jobs"))
			jobs = strtoul(value, NULL, 0);
		else if (!strcmp(argv[i], "--show"))
			show = value;
		else
			exit(2);
		i++;
	}
	jobs = jobs < 1 ? 1 : jobs > MAX_JOBS ? MAX_JOBS : jobs;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts_are_the_kernels_or_differ_for_a_known_reason),
	};

	read_arguments(argc, argv);
	if (!kernel_here())
		return skip_all("the kernel's bpf(2) is not usable here");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
