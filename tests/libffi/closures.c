/* SPDX-License-Identifier: MIT */
/* Closures of libffi.so.8: very many, in threads, after fork, freed wrongly; and no page both writable and executable. */
#include <ffi.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

typedef int (*int_int)(int, int);

static ffi_type *int_types[] = { &ffi_type_sint, &ffi_type_sint };
static ffi_cif cif;

/* The user data is a number, not an address. */
static void on_call(ffi_cif *c, void *ret, void **args, void *data)
{
	(void)c;
	*(ffi_sarg *)ret = *(int *)args[0] - *(int *)args[1] + (int)(intptr_t)data;
}

struct made {
	ffi_closure *closure;
	void *code;
};

static bool make(struct made *m, intptr_t number)
{
	m->closure = ffi_closure_alloc(sizeof(ffi_closure), &m->code);
	return m->closure && ffi_prep_closure_loc(m->closure, &cif, on_call, (void *)number, m->code) == FFI_OK;
}

static bool works(const struct made *m, int number)
{
	return ((int_int)m->code)(7, 3) == 4 + number;
}

static unsigned random_below(unsigned n)
{
	static uint64_t state = 88172645463325252u;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state % n);
}

#define MANY 100000

static void many(void)
{
	static struct made all[MANY];
	static int order[MANY];
	int i, k, half = MANY / 2;

	for (i = 0; i < MANY; i++) {
		order[i] = i;
		if (!make(&all[i], i)) {
			CHECK(!"out of memory");
			break;
		}
	}
	for (i = 0; i < MANY; i++)
		CHECK(works(&all[i], i));
	checked("a_hundred_thousand_closures_live_at_once");
	for (i = MANY - 1; i > 0; i--) {
		k = (int)random_below((unsigned)i + 1);
		int t = order[i];

		order[i] = order[k];
		order[k] = t;
	}
	for (i = 0; i < half; i++)
		ffi_closure_free(all[order[i]].closure);
	for (i = half; i < MANY; i++)
		CHECK(works(&all[order[i]], order[i]));
	for (i = 0; i < half; i++)
		CHECK(make(&all[order[i]], -i));
	for (i = 0; i < MANY; i++)
		CHECK(works(&all[order[i]], i < half ? -i : order[i]));
	checked("closures_freed_in_any_order_leave_the_others");
	for (i = 0; i < MANY; i++)
		ffi_closure_free(all[i].closure);
}

static void sizes(void)
{
	void *code = NULL, *p;
	struct made m;

	p = ffi_closure_alloc(100000, &code);
	CHECK(p && code);
	memset((char *)p + sizeof(ffi_closure), 0x5a, 100000 - sizeof(ffi_closure));
	m = (struct made){ p, code };
	CHECK(ffi_prep_closure_loc(m.closure, &cif, on_call, (void *)5, code) == FFI_OK && works(&m, 5));
	ffi_closure_free(p);
	p = ffi_closure_alloc(1, &code);
	m = (struct made){ p, code };
	CHECK(p && ffi_prep_closure_loc(p, &cif, on_call, (void *)6, code) == FFI_OK && works(&m, 6));
	/* Prepared anew, with another handler's data: what it is called with is what counts. */
	CHECK(ffi_prep_closure_loc(p, &cif, on_call, (void *)9, code) == FFI_OK && works(&m, 9));
	ffi_closure_free(p);
#ifndef __SANITIZE_ADDRESS__ /* it stops the program */
	CHECK(!ffi_closure_alloc(SIZE_MAX, &code));
#endif
	CHECK(!ffi_closure_alloc(sizeof(ffi_closure), NULL));
	checked("closures_of_any_size");
}

/* Messages to stderr are wanted: they name the pointer. */
static void foreign(void)
{
	char room[256] = { 0 };
	struct made m;
	void *heap = calloc(1, 256);

	CHECK(make(&m, 1));
	ffi_closure_free(NULL);
	ffi_closure_free(room);
	ffi_closure_free(heap);
	/* One that names another's code as its own. */
	memcpy(room, &m.code, sizeof(m.code));
	ffi_closure_free(room);
	*(void **)heap = (char *)m.code + 32;
	ffi_closure_free(heap);
	CHECK(works(&m, 1));
	ffi_closure_free(m.closure);
	ffi_closure_free(m.closure);
	CHECK(make(&m, 2) && works(&m, 2));
	ffi_closure_free(m.closure);
	free(heap);
	checked("foreign_pointer_and_second_free_are_harmless");
}

/* Memory of the caller's own that can run: cffi and others have their allocators. */
static void own_memory(void)
{
	ffi_closure *c = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct made m = { c, c };

	CHECK(ffi_prep_closure(c, &cif, on_call, (void *)77) == FFI_OK);
	CHECK(!mprotect(c, 4096, PROT_READ | PROT_EXEC));
	CHECK(works(&m, 77));
	munmap(c, 4096);
	checked("closure_in_memory_of_the_callers");
}

static int child(const struct made *before)
{
	struct made m[3000];
	int i;

	if (!works(before, 11))
		return 1;
	for (i = 0; i < 3000; i++)
		if (!make(&m[i], i))
			return 2;
	for (i = 0; i < 3000; i++)
		if (!works(&m[i], i))
			return 3;
	/* What the child does to its closures is its own. */
	ffi_prep_closure_loc(before->closure, &cif, on_call, (void *)12, before->code);
	if (!works(before, 12))
		return 4;
	ffi_closure_free(before->closure);
	return 0;
}

static volatile bool stop;

static void *churn(void *arg)
{
	struct made m;
	long bad = 0;

	(void)arg;
	while (!stop) {
		bad += !make(&m, 5) || !works(&m, 5);
		ffi_closure_free(m.closure);
	}
	return (void *)bad;
}

static void forks(void)
{
	pthread_t t;
	struct made m;
	void *bad;
	int i, st;

	CHECK(make(&m, 11));
	pthread_create(&t, NULL, churn, NULL);
	for (i = 0; i < 20; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(child(&m));
		CHECK(waitpid(pid, &st, 0) == pid && WIFEXITED(st) && !WEXITSTATUS(st));
		CHECK(works(&m, 11));
	}
	stop = true;
	pthread_join(t, &bad);
	CHECK(!bad);
	ffi_closure_free(m.closure);
	checked("closures_work_after_fork_and_are_the_childs_own");
}

#define RING 64

/* Closures made by one thread are called and freed by another. */
static struct made *ring[RING];

static void *trade(void *arg)
{
	uint64_t state = (uint64_t)(uintptr_t)arg * 0x9e3779b97f4a7c15u + 1;
	long bad = 0;
	int i;

	for (i = 0; i < 30000; i++) {
		struct made *m = malloc(sizeof(*m));

		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		if (!make(m, (intptr_t)m >> 4))
			bad++;
		m = __atomic_exchange_n(&ring[state % RING], m, __ATOMIC_ACQ_REL);
		if (!m)
			continue;
		bad += !works(m, (int)((intptr_t)m >> 4));
		ffi_closure_free(m->closure);
		free(m);
	}
	return (void *)bad;
}

static void threads(void)
{
	pthread_t t[4];
	void *bad;
	intptr_t i;

	for (i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, trade, (void *)(i + 1));
	for (i = 0; i < 4; i++) {
		pthread_join(t[i], &bad);
		CHECK(!bad);
	}
	for (i = 0; i < RING; i++) {
		if (ring[i])
			ffi_closure_free(ring[i]->closure);
		free(ring[i]);
	}
	checked("four_threads_make_call_and_free_each_others_closures");
}

static bool writable_and_executable(void)
{
	char line[512], perms[8];
	FILE *f = fopen("/proc/self/maps", "r");
	bool found = false;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %7s", perms) == 1 && perms[1] == 'w' && perms[2] == 'x') {
			printf("# %s", line);
			found = true;
		}
	if (f)
		fclose(f);
	return found || !f;
}

static void see_maps(ffi_cif *c, void *ret, void **args, void *data)
{
	(void)c, (void)args, (void)data;
	*(ffi_sarg *)ret = writable_and_executable();
}

static void no_writable_code(void)
{
	ffi_type *types[20];
	struct made m;
	ffi_cif many_cif;
	unsigned i;

	for (i = 0; i < 20; i++) {
		types[i] = i % 3 ? &ffi_type_double : &ffi_type_sint;
		ffi_prep_cif(&many_cif, FFI_DEFAULT_ABI, i, &ffi_type_sint, types);
	}
	CHECK(make(&m, 3) && works(&m, 3));
	CHECK(!writable_and_executable());
	/* Also while inside a closure. */
	CHECK(ffi_prep_closure_loc(m.closure, &cif, see_maps, NULL, m.code) == FFI_OK);
	CHECK(((int_int)m.code)(1, 2) == 0);
	ffi_closure_free(m.closure);
	checked("no_page_is_both_writable_and_executable");
}

int main(void)
{
	if (ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 2, &ffi_type_sint, int_types) != FFI_OK)
		return 1;
	sizes();
	foreign();
	own_memory();
	no_writable_code();
	forks();
	threads();
	many();
	no_writable_code();
	return tap_done();
}
