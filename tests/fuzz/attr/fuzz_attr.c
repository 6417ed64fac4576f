/* SPDX-License-Identifier: MIT */
/*
 * Random sequences of bpf(2), perf_event_open(2), ioctl(2), mmap(2), dup2(2)... on a pool of living descriptors: attrs
 * that are right but for one to three fields, or random words. No crash, errnos only, the bystander map keeps its
 * value, and in the end nothing is left. `fuzz_attr [--rounds N] [--seed N] [--forever]`: prints the seed of what fails.
 */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attr_values.h"
#include "preload/preload.h"

#define POOL 48

static u64 seed;
static u64 last_seed; /* of the round that runs */
static int pool[POOL]; /* descriptors, -1: free */
static struct world world;
static struct attr_value addresses[ATTR_VALUES], numbers[ATTR_VALUES];
static u32 naddresses, nnumbers;
static u32 good[64], events; /* commands by number, and events, that were answered */
static u8 *scratch; /* a page whose contents are random, then nothing */

static u32 rnd(u32 n)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (u32)((seed * 0x2545f4914f6cdd1dull) >> 33) % n;
}

static void on_crash(int sig)
{
	char text[96];
	int n = snprintf(text, sizeof(text), "not ok 1 - signal %d: fuzz_attr --rounds 1 --seed %llu\n", sig,
			 (unsigned long long)last_seed);

	if (write(1, text, n) < 0)
		_exit(2);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void failed(const char *what, long value)
{
	printf("not ok 1 - %s (%ld): fuzz_attr --rounds 1 --seed %llu\n", what, value, (unsigned long long)last_seed);
	exit(1);
}

/* ---- the pool ------------------------------------------------------------------------------- */

static int any_fd(void)
{
	switch (rnd(8)) {
	case 0: return world.array;
	case 1: return world.hash;
	case 2: return world.perf;
	case 3: return (int)rnd(40) - 1;
	default: return pool[rnd(POOL)];
	}
}

static void keep(long fd)
{
	u32 at = rnd(POOL);

	if (fd < 0)
		return;
	if (pool[at] >= 0)
		close(pool[at]);
	pool[at] = (int)fd;
}

static void drop_all(void)
{
	for (u32 i = 0; i < POOL; i++) {
		if (pool[i] >= 0)
			close(pool[i]);
		pool[i] = -1;
	}
}

/* ---- values --------------------------------------------------------------------------------- */

static u64 address(void)
{
	return rnd(3) ? PTR(scratch + 4 * rnd(1024)) : addresses[rnd(naddresses)].v;
}

static u64 number(void)
{
	switch (rnd(4)) {
	case 0: return rnd(64);
	case 1: return 1ull << rnd(64);
	default: return numbers[rnd(nnumbers)].v;
	}
}

static u64 of_kind(enum attr_kind kind)
{
	switch (rnd(12) ? (int)kind : (int)rnd(6)) {
	case ATTR_FD: return (u32)any_fd();
	case ATTR_ID: return rnd(20);
	case ATTR_PTR:
	case ATTR_OUT: return address();
	default: return number();
	}
}

/* Structs behind pointers have pointers and counts too. */
static void fill_scratch(void)
{
	u64 words[64];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(words); i++)
		words[i] = rnd(3) ? (rnd(2) ? address() : (u64)rnd(300) << 32 | rnd(300)) : number();
	memcpy(scratch + 8 * rnd(448), words, sizeof(words));
}

/* ---- bpf(2) --------------------------------------------------------------------------------- */

static void tame(int cmd, union bpf_attr *a)
{
	if (cmd == BPF_PROG_TEST_RUN)
		a->test.repeat %= 4; /* two thousand million runs are what was asked for, but long */
	if (cmd == BPF_MAP_CREATE) {
		a->max_entries %= 1 << 14;
		a->value_size %= 1 << 12;
		a->key_size %= 1 << 10;
	}
}

static void random_fields(int cmd, union bpf_attr *a)
{
	u32 n = rnd(4), tries = 200, f;

	while (n && tries--) {
		f = rnd(nattr_fields);
		if (attr_fields[f].cmd != cmd)
			continue;
		attr_set(a, &attr_fields[f], of_kind(attr_fields[f].kind));
		n--;
	}
}

static void random_words(union bpf_attr *a)
{
	u32 n = 1 + rnd(8);

	while (n--) {
		u64 w = rnd(2) ? of_kind(ATTR_NUM) : of_kind((enum attr_kind)rnd(6));

		memcpy((u8 *)a + 8 * rnd(rnd(2) ? 6 : sizeof(*a) / 8), &w, 8);
	}
}

static void call(void)
{
	const struct probe *p = &probes[rnd(nprobes)];
	union bpf_attr a = { 0 };
	u32 size = rnd(10) ? sizeof(a) : rnd(sizeof(a) + 1);
	int cmd = p->cmd;
	long ret;

	p->fill(&world, &a);
	if (rnd(8))
		random_fields(cmd, &a);
	else
		random_words(&a);
	if (!rnd(50))
		cmd = (int)rnd(45) - 2;
	if (cmd == BPF_MAP_FREEZE && (int)a.map_fd == world.array)
		return; /* the bystander */
	if (cmd == BPF_LINK_CREATE && rnd(2))
		a.link_create.target_fd = (u32)pool[rnd(POOL)];
	tame(cmd, &a);
	fill_scratch();
	ret = sys_bpf(cmd, rnd(100) ? (void *)&a : (void *)(uintptr_t)address(), size);
	if (ret < -4095)
		failed("no errno", ret);
	if (ret >= 0 && cmd >= 0 && cmd < 64)
		good[cmd]++;
	if (ret >= 0 && (cmd == p->cmd ? probe_makes_fd(p) : ret > 2))
		keep(ret);
}

/* ---- events --------------------------------------------------------------------------------- */

static void event(void)
{
	static const u32 types[] = { PERF_TYPE_SOFTWARE, PERF_TYPE_SOFTWARE, PERF_TYPE_TRACEPOINT, 7, 8, 0, 6, 99 };
	struct perf_event_attr attr = { .size = sizeof(attr), .type = types[rnd(ARRAY_SIZE(types))] };
	u64 *words = (u64 *)&attr;
	u32 n = rnd(4);
	long fd;

	attr.config = rnd(2) ? PERF_COUNT_SW_BPF_OUTPUT : rnd(12);
	attr.sample_type = rnd(2) ? PERF_SAMPLE_RAW : number();
	attr.sample_period = rnd(2) ? 1000000000 : number();
	attr.disabled = rnd(2);
	attr.config1 = attr.type == 7 || attr.type == 8 ? PTR(rnd(2) ? "/etc/passwd" : "no_such") : 0;
	attr.freq = rnd(4) == 0;
	while (n--)
		words[rnd(sizeof(attr) / 8)] = number();
	if (attr.type == 8 && attr.config1 != PTR("/etc/passwd"))
		attr.config1 = address(); /* probes in this very program would change it */
	if (!rnd(10))
		attr.size = (u32)number();
	fd = sys_perf_open(rnd(50) ? (void *)&attr : (void *)(uintptr_t)address(), (s32)rnd(3) - 1, (s32)rnd(4) - 1,
			   rnd(5) ? -1 : any_fd(), rnd(4) ? 0 : number());
	if (fd < -4095)
		failed("no errno of perf_event_open(2)", fd);
	events += fd >= 0;
	keep(fd);
}

static void control(void)
{
	static const unsigned long requests[] = { PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_DISABLE, PERF_EVENT_IOC_RESET,
						  PERF_EVENT_IOC_ID, PERF_EVENT_IOC_SET_BPF, PERF_EVENT_IOC_QUERY_BPF,
						  PERF_EVENT_IOC_PERIOD, PERF_EVENT_IOC_PAUSE_OUTPUT, PERF_EVENT_IOC_SET_FILTER,
						  PERF_EVENT_IOC_SET_OUTPUT, PERF_EVENT_IOC_REFRESH, 0x24ff };
	long ret;

	fill_scratch();
	sys_perf_ioctl(pool[rnd(POOL)], requests[rnd(ARRAY_SIZE(requests))], rnd(2) ? (unsigned long)any_fd() : address(), &ret);
}

/* ---- descriptors ---------------------------------------------------------------------------- */

static void shuffle(void)
{
	u32 at = rnd(POOL), to = rnd(POOL);
	struct pollfd fds[2];

	switch (rnd(6)) {
	case 0:
		if (pool[at] >= 0)
			close(pool[at]);
		pool[at] = -1;
		break;
	case 1:
		if (pool[at] >= 0)
			keep(dup(pool[at]));
		break;
	case 2:
		if (pool[at] >= 0 && pool[to] >= 0)
			dup2(pool[at], pool[to]);
		break;
	case 3:
		if (pool[at] >= 0)
			keep(fcntl(pool[at], F_DUPFD_CLOEXEC, (int)rnd(100)));
		break;
	default:
		fds[0] = (struct pollfd){ pool[at], POLLIN, 0 };
		fds[1] = (struct pollfd){ pool[to], POLLOUT, 0 };
		poll(fds, 2, 0);
	}
}

static void map_memory(void)
{
	static const int prots[] = { PROT_READ, PROT_READ | PROT_WRITE, PROT_WRITE, PROT_NONE };
	size_t len = rnd(4) ? 4096ul << rnd(5) : 4096 + (4096ul << rnd(5));
	int prot = prots[rnd(4)];
	u8 *p = mmap(NULL, len, prot, rnd(6) ? MAP_SHARED : MAP_PRIVATE, pool[rnd(POOL)], 4096l * (long)rnd(3));

	if (p == MAP_FAILED)
		return;
	/* The first page is the user's to write: whatever it says, programs and Ferry must live with it. */
	if (prot == (PROT_READ | PROT_WRITE) && rnd(2))
		for (u32 n = 1 + rnd(8); n; n--)
			((volatile u64 *)p)[rnd(2) ? 0 : rnd(512)] = number();
	munmap(p, len);
}

static void one_round(void)
{
	u32 steps = 40;
	u64 value = 0;
	u32 key = 2;
	union bpf_attr a = { .map_fd = (u32)world.array, .key = PTR(&key), .value = PTR(&value) };

	last_seed = seed;
	while (steps--) {
		switch (rnd(12)) {
		case 0: event(); break;
		case 1: control(); break;
		case 2:
		case 3: shuffle(); break;
		case 4: map_memory(); break;
		default: call();
		}
	}
	if (sys_bpf(BPF_MAP_LOOKUP_ELEM, &a, sizeof(a)))
		failed("the bystander is lost", 0);
	if (rnd(8))
		return;
	drop_all();
	world_again(&world); /* the old hash was frozen soon */
}

static u32 left(int next_cmd)
{
	union bpf_attr a = { 0 };
	u32 n = 0;

	while (!sys_bpf(next_cmd, &a, sizeof(a))) {
		a.start_id = a.next_id;
		n++;
	}
	return n;
}

static void begin(void)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGILL };

	for (u32 i = 0; !getenv("ASAN_OPTIONS") && i < ARRAY_SIZE(crashes); i++)
		signal(crashes[i], on_crash);
	memset(pool, -1, sizeof(pool));
	attr_values_make();
	world_make(&world, sys_bpf);
	naddresses = attr_values(&world, ATTR_PTR, addresses);
	nnumbers = attr_values(&world, ATTR_NUM, numbers);
	scratch = attr_edge() + 4096;
}

int main(int argc, char **argv)
{
	u64 rounds = 1000, done = 0;
	int i;

	seed = 20261121;
	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--forever"))
			rounds = ~0ull;
		else if (!strcmp(argv[i], "--rounds") && i + 1 < argc)
			rounds = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 0) | 1;
		else
			return fprintf(stderr, "usage: fuzz_attr [--rounds N] [--seed N] [--forever]\n"), 2;
	}
	printf("1..1\n");
	fflush(stdout);
	if (preload_hook())
		return 1;
	begin();
	while (done++ < rounds) {
		one_round();
		if (!(done % 1000))
			printf("# %llu rounds, next seed %llu\n", (unsigned long long)done, (unsigned long long)seed);
	}
	drop_all();
	world_end(&world);
	attr_values_end();
	sys_fd_sweep();
	if (left(BPF_MAP_GET_NEXT_ID) || left(BPF_PROG_GET_NEXT_ID) || left(BPF_LINK_GET_NEXT_ID))
		failed("objects are left", left(BPF_MAP_GET_NEXT_ID));
	for (i = 0; i < 64; i++)
		if (good[i])
			printf("# command %d was carried out %u times\n", i, good[i]);
	printf("# %u events\n", events);
	printf("ok 1 - random attrs do no harm\n");
	return 0;
}
