/* SPDX-License-Identifier: MIT */
/*
 * The engines against native code: each program of programs/ as compiled by the C compiler and as
 * eBPF on the JIT and the interpreter, on the same input, timed in turn in one run. Prints a table.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <bpf/libbpf.h>

#include "jit/jit.h"
#include "vm/vm.h"

#define BUFFER (4 * 65536)
#define ROUNDS 31
#define COMPILES 9

typedef u64 (*native_fn)(u8 *ctx);

#define PROGRAM(name, what) u64 bench_##name(u8 *ctx);
#include "programs/list.def"
#undef PROGRAM

static const struct bench {
	const char *name, *what;
	native_fn fn;
} benches[] = {
#define PROGRAM(name, what) { #name, what, bench_##name },
#include "programs/list.def"
#undef PROGRAM
};

enum engine { NATIVE, JIT, VM, ENGINES };

struct result {
	double ns;               /* a native run, median of rounds */
	double ratio[ENGINES];   /* against it, median over rounds; 0: not there */
	double compile_ns;       /* an instruction */
	u32 insns, bytes;
	bool differs;
};

/* Time of this thread: what others do on the machine counts less. */
static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void fill(u8 *buf)
{
	u64 x = 0x9e3779b97f4a7c15;

	memset(buf, 0, BUFFER);
	for (u32 i = 0; i < 65536; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		buf[i] = (u8)(x >> 32);
	}
}

/* The instructions of the one program in an object file, as a program without maps. */
static struct prog *load(const char *path)
{
	struct bpf_object *obj = bpf_object__open_file(path, NULL);
	struct bpf_program *bp;
	struct prog *p = NULL;

	if (!obj)
		return NULL;
	bp = bpf_object__next_program(obj, NULL);
	if (bp)
		p = prog_new(bpf_program__insns(bp), (u32)bpf_program__insn_cnt(bp));
	bpf_object__close(obj);
	if (p && prog_find_funcs(p)) {
		prog_free(p);
		return NULL;
	}
	return p;
}

/* Programs must not be inlined or unrolled into the timing loop. */
static double time_native(native_fn fn, u8 *buf, u32 n)
{
	native_fn volatile f = fn;
	u64 start = now();

	for (u32 i = 0; i < n; i++)
		f(buf);
	return (double)(now() - start) / n;
}

static double time_prog(const struct prog *p, u8 *buf, u32 n)
{
	u64 start = now();

	for (u32 i = 0; i < n; i++)
		prog_run(p, buf);
	return (double)(now() - start) / n;
}

/* The programs, one an engine; NULL where the engine is not there. */
static bool install(const char *path, struct prog *engines[ENGINES], struct result *r)
{
	double times[COMPILES];
	struct jit_image image;

	engines[JIT] = load(path);
	if (!engines[JIT])
		return false;
	r->insns = engines[JIT]->insn_cnt;
	for (int i = 0; i < COMPILES; i++) {
		u64 start = now();
		int err = jit_install(engines[JIT]);

		times[i] = (double)(now() - start) / r->insns;
		if (err) {
			prog_free(engines[JIT]);
			engines[JIT] = NULL;
			return false;
		}
		if (i < COMPILES - 1)
			jit_remove(engines[JIT]);
	}
	r->compile_ns = median(times, COMPILES);
	if (!jit_image(engines[JIT], &image))
		r->bytes = image.size;
	engines[VM] = load(path);
	if (engines[VM] && vm_install(engines[VM])) {
		prog_free(engines[VM]);
		engines[VM] = NULL;
	}
	return true;
}

static bool run_bench(const struct bench *b, const char *dir, u8 *buf, u8 *want, struct result *r)
{
	double t[ENGINES][ROUNDS] = { { 0 } };
	struct prog *engines[ENGINES] = { NULL };
	char path[4096];
	u64 once;
	u32 n;

	snprintf(path, sizeof(path), "%s/%s.bpf.o", dir, b->name);
	if (!install(path, engines, r)) {
		fprintf(stderr, "bench: cannot load or compile %s: %s\n", path, strerror(errno));
		return false;
	}
	fill(want);
	once = b->fn(want);
	for (int e = JIT; e < ENGINES; e++) {
		if (!engines[e])
			continue;
		fill(buf);
		r->differs |= prog_run(engines[e], buf) != once || memcmp(buf, want, BUFFER);
	}
	n = (u32)(400000 / time_native(b->fn, buf, 20)) + 1; /* about 0.4 ms a round */
	/* One after the other in each round: what disturbs one likely disturbs the other. */
	for (int round = 0; round < ROUNDS; round++) {
		t[NATIVE][round] = time_native(b->fn, buf, n);
		t[JIT][round] = time_prog(engines[JIT], buf, n) / t[NATIVE][round];
		if (engines[VM])
			t[VM][round] = time_prog(engines[VM], buf, n / 10 + 1) / t[NATIVE][round];
	}
	r->ns = median(t[NATIVE], ROUNDS);
	for (int e = JIT; e < ENGINES; e++)
		r->ratio[e] = median(t[e], ROUNDS);
	jit_remove(engines[JIT]);
	prog_free(engines[JIT]);
	if (engines[VM]) {
		vm_remove(engines[VM]);
		prog_free(engines[VM]);
	}
	return !r->differs;
}

/* ln and exp without libm: only ratios between 1/1000 and 1000 come here. */
static double root_of_product(const double *v, size_t n)
{
	double lo = 1e-4, hi = 1e4;

	for (int i = 0; i < 200; i++) {
		double mid = (lo + hi) / 2, product = 1;

		for (size_t k = 0; k < n; k++)
			product *= v[k] / mid;
		if (product > 1)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* Compile time on a long program: `n` instructions of every common kind. */
static double long_program(u32 n)
{
	struct bpf_insn *insns = calloc(n, sizeof(*insns));
	double times[3] = { 0 };
	struct prog *p;

	if (!insns)
		return 0;
	for (u32 i = 0; i + 1 < n; i++) {
		static const u8 code[] = {
			BPF_LDX | BPF_MEM | BPF_DW, BPF_ALU64 | BPF_ADD | BPF_X,
			BPF_ALU | BPF_XOR | BPF_K, BPF_STX | BPF_MEM | BPF_W,
			BPF_ALU64 | BPF_MOV | BPF_X, BPF_ALU64 | BPF_LSH | BPF_K,
			BPF_JMP | BPF_JNE | BPF_K, BPF_ALU64 | BPF_MUL | BPF_X,
		};
		struct bpf_insn *k = &insns[i];

		k->code = code[i % ARRAY_SIZE(code)];
		k->dst_reg = BPF_CLASS(k->code) == BPF_STX ? 1 : (u8)(2 + i / 8 % 4);
		k->src_reg = BPF_SRC(k->code) == BPF_K && BPF_CLASS(k->code) != BPF_LDX ? 0 :
			     BPF_CLASS(k->code) == BPF_LDX ? 1 : (u8)(2 + i / 3 % 4);
		if (BPF_SRC(k->code) == BPF_K && BPF_CLASS(k->code) != BPF_LDX)
			k->imm = (s32)(i % 60);
		if (BPF_CLASS(k->code) == BPF_JMP)
			k->off = (s16)(i + 32 < n ? i % 24 : 0);
		if (BPF_CLASS(k->code) == BPF_LDX || BPF_CLASS(k->code) == BPF_STX)
			k->off = (s16)(i % 512);
	}
	insns[n - 1].code = BPF_JMP | BPF_EXIT;
	p = prog_new(insns, n);
	for (int i = 0; p && i < 3; i++) {
		u64 start = now();

		if (jit_install(p))
			break;
		times[i] = (double)(now() - start) / n;
		jit_remove(p);
	}
	prog_free(p);
	free(insns);
	return median(times, 3);
}

static int no_warnings(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level, (void)fmt, (void)ap;
	return 0;
}

int main(int argc, char **argv)
{
	double jit[ARRAY_SIZE(benches)], vm[ARRAY_SIZE(benches)];
	u8 *buf = aligned_alloc(4096, BUFFER), *want = aligned_alloc(4096, BUFFER);
	const char *dir = argc > 1 ? argv[1] : BENCH_OBJECTS, *only = argc > 2 ? argv[2] : NULL;
	size_t n = 0, nvm = 0;
	bool ok = true;

	if (!buf || !want)
		return 1;
	libbpf_set_print(no_warnings);
	printf("%-10s %-28s %10s %6s %7s %6s %6s %9s\n", "program", "", "native ns", "JIT x", "interp x",
	       "insns", "bytes", "ns/insn");
	for (size_t i = 0; i < ARRAY_SIZE(benches); i++) {
		struct result r = { 0 };

		if (only && strcmp(only, benches[i].name))
			continue;
		if (!run_bench(&benches[i], dir, buf, want, &r)) {
			printf("%-10s %s\n", benches[i].name, r.differs ? "RESULTS DIFFER" : "failed");
			ok = false;
			continue;
		}
		jit[n++] = r.ratio[JIT];
		if (r.ratio[VM])
			vm[nvm++] = r.ratio[VM];
		printf("%-10s %-28s %10.0f %6.2f ", benches[i].name, benches[i].what, r.ns,
		       jit[n - 1]);
		if (r.ratio[VM])
			printf("%7.1f", vm[nvm - 1]);
		else
			printf("%7s", "-");
		printf("%8u %6u %9.0f\n", r.insns, r.bytes, r.compile_ns);
	}
	printf("geometric mean against native: JIT %.2f (goal 1.40)", root_of_product(jit, n));
	if (nvm)
		printf(", interpreter %.1f (goal 25)", root_of_product(vm, nvm));
	printf("\ncompiling 100,000 instructions: %.0f ns each (goal 100)\n", long_program(100000));
	free(buf);
	free(want);
	return ok ? 0 : 1;
}
