/* SPDX-License-Identifier: MIT */
/*
 * Random programs on the interpreter, the JIT and (with --kernel) the kernel: the same result and
 * the same memory. `engines COUNT [SEED] [--kernel]`; FERRY_SEED also gives the seed.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "gen.h"
#include "jit/jit.h"
#include "kernel.h"
#include "prog/prog.h"
#include "vm/vm.h"

#define ETH_HEADER 14 /* the kernel shows a socket filter what is behind it */

struct subject {
	struct prog_pkt pkt;
	u8 mem[GEN_MEM];
};

struct outcome {
	u64 r0;
	u8 mem[GEN_MEM];
	int err; /* it could not be run */
};

/* ---- native functions that programs call ----------------------------------------------------- */

static u64 mix(u64 a, u64 b, u64 c, u64 d, u64 e)
{
	return ((((a * 31 + b) * 31 + c) * 31 + d) * 31 + e) * 0x9e3779b97f4a7c15ull;
}

static s8 native_s8(s8 a, u16 b, s32 c, bool d, u64 e)
{
	return (s8)(mix((u64)a, b, (u64)c, d, e) >> 40);
}

static u8 native_u8(u8 a, s16 b, u32 c, s64 d, bool e)
{
	return (u8)(mix(a, (u64)b, c, (u64)d, e) >> 40);
}

static s16 native_s16(bool a, s32 b, u64 c, u8 d, s16 e)
{
	return (s16)(mix(a, (u64)b, c, d, (u64)e) >> 40);
}

static s32 native_s32(s32 a, u8 b)
{
	return (s32)(mix((u64)a, b, 0, 0, 0) >> 32);
}

static u32 native_u32(void)
{
	return 0xfedcba98;
}

static bool native_bool(u64 a, u32 b, s8 c)
{
	return mix(a, b, (u64)c, 0, 0) >> 63;
}

static s64 native_s64(s64 a, u64 b, s64 c, u64 d, s64 e)
{
	return (s64)mix((u64)a, b, (u64)c, d, (u64)e);
}

#define U(w) { .width = (w) }
#define S(w) { .width = (w), .is_signed = true }
#define B    { .width = 1, .is_bool = true }
#define NATIVE(f, w, sign, boolean, n, ...)                                                        \
	{ .name = #f, .addr = (const void *)(f), .mod = &native_module,                            \
	  .ret_kind = MODULE_RET_SCALAR, .ret_width = (w), .ret_signed = (sign),                   \
	  .ret_bool = (boolean), .nregs = (n), .nargs = (n), .args = { __VA_ARGS__ } }

static struct module native_module = { .name = "fuzz", .refs = 1 };
static const struct module_func natives[] = {
	NATIVE(native_s8, 1, true, false, 5, S(1), U(2), S(4), B, U(8)),
	NATIVE(native_u8, 1, false, false, 5, U(1), S(2), U(4), S(8), B),
	NATIVE(native_s16, 2, true, false, 5, B, S(4), U(8), U(1), S(2)),
	NATIVE(native_s32, 4, true, false, 2, S(4), U(1)),
	NATIVE(native_u32, 4, false, false, 0, { 0 }),
	NATIVE(native_bool, 1, false, true, 3, U(8), U(4), S(1)),
	NATIVE(native_s64, 8, true, false, 5, S(8), U(8), S(8), U(8), S(8)),
};

/* The program refers to all of them: 0 or -ENOMEM. */
static int add_natives(struct prog *p)
{
	u32 i;

	p->natives = base_array(ARRAY_SIZE(natives), sizeof(*p->natives));
	if (!p->natives)
		return -ENOMEM;
	for (i = 0; i < ARRAY_SIZE(natives); i++)
		p->natives[i] = &natives[i];
	p->nnatives = ARRAY_SIZE(natives);
	return 0;
}

/* ---- running --------------------------------------------------------------------------------- */

enum engine { VM, JIT, KERNEL, ENGINES };
static const char *const names[] = { "interpreter", "jit", "kernel" };

static struct {
	u64 seed;
	u32 at;
	bool jit, kernel;
	u8 packet[GEN_PACKET];
	u8 mem[GEN_MEM];
} run;

static void say(const char *s)
{
	if (write(STDOUT_FILENO, s, strlen(s)) < 0)
		_exit(3);
}

static void died(int sig)
{
	char buf[160];

	snprintf(buf, sizeof(buf), "not ok 1 - signal %d in program %u of seed %llu\n", sig, run.at,
		 (unsigned long long)run.seed);
	say(buf);
	_exit(1);
}

static struct outcome run_kernel(const struct bpf_insn *insns, u32 cnt)
{
	struct outcome out = { 0 };
	u32 ret;

	out.err = kernel_run(BPF_PROG_TYPE_SOCKET_FILTER, insns, cnt, run.packet,
			     sizeof(run.packet), &ret);
	out.r0 = ret;
	memcpy(out.mem, run.mem, sizeof(out.mem));
	return out;
}

static struct outcome run_one(enum engine e, const struct bpf_insn *insns, u32 cnt)
{
	struct outcome out = { 0 };
	u8 packet[GEN_PACKET];
	struct subject s = { .pkt = { .data = (u64)(uintptr_t)packet + ETH_HEADER,
				      .data_end = (u64)(uintptr_t)packet + sizeof(packet) } };
	struct prog *p;

	if (e == KERNEL)
		return run_kernel(insns, cnt);
	memcpy(packet, run.packet, sizeof(packet));
	memcpy(s.mem, run.mem, sizeof(s.mem));
	p = prog_new(insns, cnt);
	out.err = p ? prog_find_funcs(p) : -ENOMEM;
	if (!out.err)
		out.err = add_natives(p);
	if (!out.err)
		out.err = e == VM ? vm_install(p) : jit_install(p);
	if (!out.err) {
		out.r0 = prog_run(p, &s);
		if (run.kernel)
			out.r0 = (u32)out.r0;
		memcpy(out.mem, s.mem, sizeof(s.mem));
		if (e == VM)
			vm_remove(p);
		else
			jit_remove(p);
	}
	if (p)
		p->nnatives = 0; /* they are nobody's */
	prog_free(p);
	return out;
}

static bool same(const struct outcome *a, const struct outcome *b)
{
	return a->err == b->err && a->r0 == b->r0 && !memcmp(a->mem, b->mem, sizeof(a->mem));
}

static bool is_nop(const struct bpf_insn *i)
{
	return i->code == (BPF_JMP | BPF_JA) && !i->off;
}

/* Puts `goto +0` wherever the two still disagree without the instruction. */
static void minimise(struct gen_prog *g, enum engine other)
{
	const struct bpf_insn nop = { .code = BPF_JMP | BPF_JA };
	bool again = true;
	u32 i;

	while (again) {
		again = false;
		for (i = 0; i < g->cnt; i++) {
			struct bpf_insn old = g->insns[i];
			struct outcome a, b;

			if (g->fixed[i] || is_nop(&old))
				continue;
			g->insns[i] = nop;
			if (!isa_validate(g->insns, g->cnt, ISA_ALL, NULL)) {
				a = run_one(VM, g->insns, g->cnt);
				b = run_one(other, g->insns, g->cnt);
				if (!a.err && !b.err && !same(&a, &b)) {
					again = true;
					continue;
				}
			}
			g->insns[i] = old;
		}
	}
}

/* Marks what can be reached from `at`. */
static void reach(const struct gen_prog *g, bool *seen, s64 at)
{
	s64 target;

	while (at < g->cnt && !seen[at]) {
		const struct bpf_insn *i = &g->insns[at];

		seen[at] = true;
		if (i->code == (BPF_JMP | BPF_EXIT))
			return;
		if (isa_is_call(i, BPF_PSEUDO_CALL))
			reach(g, seen, at + 1 + i->imm);
		if (isa_jump_target(i, (u32)at, &target)) {
			reach(g, seen, target);
			if (BPF_OP(i->code) == BPF_JA)
				return;
		}
		at += isa_slots(i);
	}
}

static void print_program(const struct gen_prog *g)
{
	static bool seen[GEN_MAX_INSNS];
	struct text t = { 0 };
	u32 i;

	reach(g, seen, 0);
	for (i = 0; i < g->cnt; i++) {
		if (!seen[i] || is_nop(&g->insns[i]))
			continue;
		text_reset(&t);
		isa_disasm(&g->insns[i], i, NULL, &t);
		printf("# %4u: %s\n", i, text_str(&t));
	}
	text_free(&t);
}

static int disagree(struct gen_prog *g, enum engine other)
{
	struct outcome a, b;

	minimise(g, other);
	a = run_one(VM, g->insns, g->cnt);
	b = run_one(other, g->insns, g->cnt);
	printf("not ok 1 - %s and %s disagree on program %u of seed %" PRIu64 "\n", names[VM],
	       names[other], run.at, run.seed);
	printf("# r0 %#" PRIx64 " and %#" PRIx64 ", memory %s, errors %d and %d\n", a.r0, b.r0,
	       memcmp(a.mem, b.mem, sizeof(a.mem)) ? "different" : "the same", a.err, b.err);
	print_program(g);
	return 1;
}

static void random_bytes(u64 *rng, u8 *p, u32 n)
{
	while (n--)
		*p++ = (u8)gen_random(rng);
}

static int compare(u32 count)
{
	static struct gen_prog g;
	const struct gen_opts opts = { .kernel = run.kernel,
				       .mem_off = offsetof(struct subject, mem),
				      .natives = run.kernel ? 0 : ARRAY_SIZE(natives) };
	struct text why = { 0 };
	u32 refused = 0;
	u64 insns = 0;

	for (run.at = 0; run.at < count; run.at++) {
		u64 rng = run.seed + run.at * 0x10001ull;
		struct outcome vm, other;

		if (run.at % 256 == 0)
			alarm(60); /* a program that never ends is a fault too */
		random_bytes(&rng, run.packet, sizeof(run.packet));
		random_bytes(&rng, run.mem, sizeof(run.mem));
		gen_program(&g, rng, &opts);
		if (isa_validate(g.insns, g.cnt, ISA_ALL, &why)) {
			printf("not ok 1 - generated an invalid program: %s\n", text_str(&why));
			print_program(&g);
			return 1;
		}
		insns += g.cnt;
		vm = run_one(VM, g.insns, g.cnt);
		if (run.jit) {
			other = run_one(JIT, g.insns, g.cnt);
			if (!same(&vm, &other))
				return disagree(&g, JIT);
		}
		if (run.kernel) {
			other = run_one(KERNEL, g.insns, g.cnt);
			if (other.err)
				refused++;
			else if (!same(&vm, &other))
				return disagree(&g, KERNEL);
		}
	}
	printf("# %u programs of %" PRIu64 " instructions on average", count, insns / count);
	if (run.kernel)
		printf(", %u refused by the kernel", refused);
	printf("\n%sok 1 - engines agree\n", refused > count / 10 ? "not " : "");
	return refused > count / 10;
}

int main(int argc, char **argv)
{
	const char *env = getenv("FERRY_SEED");
	u32 count = argc > 1 ? (u32)atoi(argv[1]) : 1000;
	static const struct bpf_insn ret0[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K },
						{ .code = BPF_JMP | BPF_EXIT } };

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (getrandom(&run.seed, sizeof(run.seed), 0) != sizeof(run.seed))
		run.seed = (u64)getpid();
	run.seed >>= 16;
	if (argc > 2 && argv[2][0] != '-')
		env = argv[2];
	if (env)
		run.seed = strtoull(env, NULL, 0);
	run.kernel = argc > 2 && !strcmp(argv[argc - 1], "--kernel");
	printf("1..1\n# seed %" PRIu64 "\n", run.seed);
	if (run.kernel && run_kernel(ret0, 2).err) {
		printf("ok 1 - engines agree # SKIP no bpf(2) of the kernel here\n");
		return 0;
	}
	run.jit = !run_one(JIT, ret0, 2).err;
	if (!run.jit)
		printf("# no JIT on this machine\n");
	signal(SIGSEGV, died);
	signal(SIGBUS, died);
	signal(SIGILL, died);
	signal(SIGFPE, died);
	signal(SIGALRM, died);
	return compare(count ? count : 1);
}
