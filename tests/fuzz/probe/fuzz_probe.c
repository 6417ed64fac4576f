/* SPDX-License-Identifier: MIT */
/*
 * Functions of random instructions do the same probed as unprobed, wherever the probe is: registers, flags,
 * memory, red zone. The oracle is the processor: the same bytes without a probe.
 *   fuzz_probe [--seed N] [--batches N | --forever]
 */
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach/attach.h"
#include "gen.h"

#define FUNCTIONS 200
#define MAX_PROBES 4

struct state {
	u64 gp[15], flags, sp;
	u32 avx, unused;
	u64 unused2[2];
	u8 vectors[16][32];
	/* What is not in registers. */
	u8 buffer[512] __attribute__((aligned(64)));
	u8 shared[256];
	u8 stack[1024];
};
_Static_assert(offsetof(struct state, sp) == 128 && offsetof(struct state, avx) == 136 &&
	       offsetof(struct state, vectors) == 160, "call_x86_64.S");
enum { RDI = 6, R15 = 14 };

void call_with(void *fn, struct state *s);

static int avx2;
static u64 probes, traps, hits, refused;
static struct state input, live;
static u8 stack[16384] __attribute__((aligned(64)));
static u8 *shared;
static bool seen_wrong;

static void fill(void *to, size_t n)
{
	u8 *p = to;

	while (n--)
		*p++ = (u8)gen_rnd(gen_rnd(4) ? 256 : 4);
}

/* The same bytes at the same places each time. */
static void run(void *fn, struct state *out)
{
	live = input;
	live.gp[RDI] = (u64)(uintptr_t)live.buffer;
	live.sp = (u64)(uintptr_t)(stack + sizeof(stack) - 256);
	memset(stack, 0x33, sizeof(stack));
	memcpy(shared, input.shared, sizeof(input.shared));
	call_with(fn, &live);
	memcpy(live.shared, shared, sizeof(live.shared));
	/* From the red zone up: below it is nobody's. */
	memset(live.stack, 0, sizeof(live.stack));
	memcpy(live.stack, stack + sizeof(stack) - 256 - 128 - 8, 128);
	*out = live;
}

static u64 first_ip;
static void on_hit(struct pt_regs *regs, void *arg)
{
	(void)arg;
	hits++;
	if (regs->rip != first_ip)
		return;
	first_ip = 0;
	seen_wrong |= regs->rax != input.gp[0] || regs->rcx != input.gp[1] || regs->rdx != input.gp[2] ||
		      regs->rbx != input.gp[3] || regs->rbp != input.gp[4] || regs->rsi != input.gp[5] ||
		      regs->rdi != (u64)(uintptr_t)live.buffer || regs->r8 != input.gp[7] ||
		      regs->r9 != input.gp[8] || regs->r10 != input.gp[9] || regs->r11 != input.gp[10] ||
		      regs->r12 != input.gp[11] || regs->r13 != input.gp[12] || regs->r14 != input.gp[13] ||
		      regs->r15 != input.gp[14] || regs->rsp != (u64)(uintptr_t)(stack + sizeof(stack) - 264) ||
		      (regs->eflags & 0xcd5) != (input.flags & 0xcd5);
}

/* Not plain: leaves nothing in the vector registers. */
static void clobbering_hit(struct pt_regs *regs, void *arg)
{
	on_hit(regs, arg);
	__asm__ volatile("pcmpeqd %%xmm0, %%xmm0; movdqa %%xmm0, %%xmm1; movdqa %%xmm0, %%xmm2; movdqa %%xmm0, %%xmm5;"
			 "movdqa %%xmm0, %%xmm7; movdqa %%xmm0, %%xmm8; movdqa %%xmm0, %%xmm12; movdqa %%xmm0, %%xmm15"
			 ::: "xmm0", "xmm1", "xmm2", "xmm5", "xmm7", "xmm8", "xmm12", "xmm15");
	if (avx2)
		__asm__ volatile("vpxor %%ymm3, %%ymm3, %%ymm3; vpxor %%ymm9, %%ymm9, %%ymm9; vzeroupper" ::: "xmm3", "xmm9");
}

static void show(const char *what, u64 a, u64 b)
{
	if (a != b)
		printf("# %s: %llx unprobed, %llx probed\n", what, (unsigned long long)a, (unsigned long long)b);
}

static bool same(const struct state *a, const struct state *b)
{
	static const char *const names[] = { "rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", "r8", "r9", "r10",
					     "r11", "r12", "r13", "r14", "r15" };
	int i;

	if (!memcmp(a, b, sizeof(*a)))
		return true;
	for (i = 0; i < 15; i++)
		show(names[i], a->gp[i], b->gp[i]);
	show("flags", a->flags, b->flags);
	show("sp", a->sp, b->sp);
	for (i = 0; i < 16; i++)
		if (memcmp(a->vectors[i], b->vectors[i], 32))
			printf("# vector register %d\n", i);
	for (i = 0; i < 512; i++)
		show("buffer", a->buffer[i], b->buffer[i]);
	for (i = 0; i < 256; i++)
		show("shared", a->shared[i], b->shared[i]);
	for (i = 0; i < 128; i++)
		show("red zone", a->stack[i], b->stack[i]);
	return false;
}

static void random_input(void)
{
	int i;

	memset(&input, 0, sizeof(input));
	fill(input.gp, sizeof(input.gp));
	input.gp[R15] = gen_rnd(4);
	input.flags = 0x202 | (gen_rnd(1u << 12) & 0x8d5);
	input.avx = (u32)avx2;
	for (i = 0; i < 16; i++)
		fill(input.vectors[i], avx2 ? 32 : 16);
	fill(input.buffer, sizeof(input.buffer));
	fill(input.shared, sizeof(input.shared));
}

/* One function under one choice of probes. */
static bool try(void *fn, const u64 *places, unsigned nplaces)
{
	struct probe_spec specs[MAX_PROBES];
	struct probe *p[MAX_PROBES];
	struct state plain, probed, again;
	struct text why = { 0 };
	unsigned n, i, added = 0;
	u8 before[64];
	bool good, returns = false;

	random_input();
	memcpy(before, fn, sizeof(before));
	run(fn, &plain);
	first_ip = 0;
	for (n = 1 + gen_rnd(MAX_PROBES), i = 0; i < n; i++) {
		unsigned k = gen_rnd(3) ? gen_rnd(nplaces) : 0;
		bool clobbers = gen_rnd(2);

		specs[i] = (struct probe_spec){ (const void *)(uintptr_t)places[2 * k + 1],
						k || gen_rnd(2) ? PROBE_ENTRY : PROBE_RETURN, clobbers ? 0 : PROBE_PLAIN,
						clobbers ? clobbering_hit : on_hit, NULL };
		if (probe_add(&specs[i], 1, &p[added], &why)) {
			refused++;
			text_reset(&why);
			continue;
		}
		if (specs[i].kind == PROBE_ENTRY && specs[i].addr == fn)
			first_ip = (u64)(uintptr_t)fn;
		traps += probe_how(p[added]) == PROBE_TRAP;
		returns |= specs[i].kind == PROBE_RETURN;
		added++;
	}
	probes += added;
	run(fn, &probed);
	if (returns) /* what is below the stack after the return is nobody's */
		memcpy(probed.stack, plain.stack, sizeof(plain.stack));
	probe_remove(p, added);
	run(fn, &again);
	good = same(&plain, &probed) && same(&plain, &again) && !memcmp(before, fn, sizeof(before)) && !seen_wrong;
	if (!good)
		for (printf("# %s\n", seen_wrong ? "the hook saw other registers" : "different"), i = 0; i < n; i++)
			printf("# probe %u at +%ld, %s\n", i, (long)((u8 *)specs[i].addr - (u8 *)fn),
			       specs[i].kind == PROBE_ENTRY ? "entry" : "return");
	text_free(&why);
	return good;
}

static bool batch(const char *dir, unsigned number)
{
	u64 *places, *p, seed = gen_seed;
	char src[256], lib[256], cmd[1024];
	unsigned f, n, k;
	bool good = true;
	void *h;
	FILE *out;

	snprintf(src, sizeof(src), "%s/p%u.s", dir, number);
	snprintf(lib, sizeof(lib), "%s/p%u.so", dir, number);
	out = fopen(src, "w");
	if (!out)
		return false;
	gen_object(out, FUNCTIONS, avx2);
	fclose(out);
	snprintf(cmd, sizeof(cmd), "%s -shared -nostdlib -o %s %s", getenv("CC") ? getenv("CC") : "cc", lib, src);
	if (system(cmd)) {
		printf("# cannot be assembled: %s\n", src);
		return false;
	}
	h = dlopen(lib, RTLD_NOW);
	if (!h) {
		printf("# %s\n", dlerror());
		return false;
	}
	places = dlsym(h, "places");
	shared = *(u8 **)dlsym(h, "shared_at");
	for (p = places, f = 0; f < FUNCTIONS && good; f++, p += 2 * n) {
		for (n = 0; p[2 * n + 1] && p[2 * n] == f; n++)
			;
		for (k = 0; k < 4 && good; k++)
			good = try((void *)(uintptr_t)p[1], p, n);
	}
	if (!good) {
		printf("# f%u of the batch of seed %llu: %s\n", f - 1, (unsigned long long)seed, src);
		return false;
	}
	dlclose(h);
	unlink(src);
	unlink(lib);
	return true;
}

int main(int argc, char **argv)
{
	u64 batches = 12, i;
	char dir[] = "/tmp/fuzz_probe-XXXXXX";
	bool good = true;

	for (int a = 1; a < argc; a++) {
		if (!strcmp(argv[a], "--seed") && a + 1 < argc)
			gen_seed = strtoull(argv[++a], NULL, 0);
		else if (!strcmp(argv[a], "--batches") && a + 1 < argc)
			batches = strtoull(argv[++a], NULL, 0);
		else if (!strcmp(argv[a], "--forever"))
			batches = ~0ull;
	}
	gen_seed |= !gen_seed;
	avx2 = __builtin_cpu_supports("avx2");
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..2\n");
	if (!mkdtemp(dir))
		return 1;
	for (i = 0; i < batches && good; i++)
		good = batch(dir, (unsigned)i);
	printf("%sok 1 - functions of random instructions do the same with probes\n", good ? "" : "not ");
	printf("# %llu batches of %d functions, %llu probes, %llu of them traps, %llu refused, %llu hits\n",
	       (unsigned long long)i, FUNCTIONS, (unsigned long long)probes, (unsigned long long)traps,
	       (unsigned long long)refused, (unsigned long long)hits);
	printf("%sok 2 - both ways of probing came up\n", traps && traps < probes && hits ? "" : "not ");
	if (good)
		rmdir(dir);
	return !good;
}
