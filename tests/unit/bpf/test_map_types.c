/* SPDX-License-Identifier: MIT */
/* Stack traces, task-local storage and the user ring buffer, as bpf(2) and programs see them. */
#include <bpf/btf.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "map/map.h"
#include "scenario.h"

/* ---- stack traces --------------------------------------------------------------------------- */

#define STACK BPF_MAP_TYPE_STACK_TRACE

static void trace_creation(struct scenario *s)
{
	static const u32 attrs[][4] = {
		{ 4, 8, 1, 0 },
		{ 4, 127 * 8, 1, 0 },
		{ 4, 128 * 8, 1, 0 },
		{ 4, 12, 1, 0 },
		{ 4, 0, 1, 0 },
		{ 8, 8, 1, 0 },
		{ 4, 8, 0, 0 },
		{ 4, 32, 5, BPF_F_STACK_BUILD_ID },
		{ 4, 40, 5, BPF_F_STACK_BUILD_ID },
		{ 4, 8, 1, BPF_F_NO_PREALLOC },
		{ 4, 8, 1, BPF_F_RDONLY_PROG },
		{ 4, 8, 1, BPF_F_RDONLY },
	};

	for (u32 i = 0; i < ARRAY_SIZE(attrs); i++) {
		int fd = scenario_map(s, STACK, attrs[i][0], attrs[i][1], attrs[i][2], attrs[i][3],
				      0);

		SAY(s, "%d ", fd < 0 ? fd : 0);
	}
}

static void trace_elements(struct scenario *s)
{
	int fd = scenario_map(s, STACK, 4, 16, 3, 0, 0);
	u32 k = 0, next;
	u64 v[2] = { 0 };

	SAY(s, "%d ", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, fd, &k, v, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, fd, &k, v, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_DELETE_ELEM, fd, &k, NULL, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_GET_NEXT_KEY, fd, &k, &next, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_GET_NEXT_KEY, fd, NULL, &next, 0));
	k = 3; /* three become four */
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_DELETE_ELEM, fd, &k, NULL, 0));
	k = 4;
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_DELETE_ELEM, fd, &k, NULL, 0));
	SAY(s, "%d", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, fd, &k, v, 0));
}

static void trace_verdicts(struct scenario *s)
{
	static const char *const sources[] = {
		"r2 = map[0] ll\nr3 = 256\ncall bpf_get_stackid\nr0 = 0\nexit\n",
		"*(u32 *)(r10 - 4) = 0\nr1 = map[0] ll\nr2 = r10\nr2 += -4\n"
		"call bpf_map_lookup_elem\nr0 = 0\nexit\n",
		"r2 = r10\nr2 += -16\nr3 = 16\nr4 = 256\ncall bpf_get_stack\nr0 = 0\nexit\n",
	};
	int fd = scenario_map(s, STACK, 4, 16, 3, 0, 0);

	for (u32 i = 0; i < ARRAY_SIZE(sources); i++) {
		int p = scenario_prog(s, BPF_PROG_TYPE_RAW_TRACEPOINT, sources[i], &fd, 1);

		SAY(s, "%d ", p < 0 ? p : 0);
		if (p >= 0)
			close(p);
	}
}

/* ---- task-local storage --------------------------------------------------------------------- */

static int storage(struct scenario *s, u32 key, u32 value, u32 max, u32 flags, int btf)
{
	union bpf_attr a = { .map_type = BPF_MAP_TYPE_TASK_STORAGE,
			     .key_size = key,
			     .value_size = value,
			     .max_entries = max,
			     .map_flags = flags };

	if (btf >= 0) {
		a.btf_fd = (u32)btf;
		a.btf_key_type_id = 1;
		a.btf_value_type_id = 4;
	}
	return (int)s->bpf(BPF_MAP_CREATE, &a, sizeof(a));
}

static void storage_creation(struct scenario *s)
{
	int btf = make_btf(s->bpf);

	SAY(s, "%d ", storage(s, 4, 8, 0, BPF_F_NO_PREALLOC, btf) >= 0);
	SAY(s, "%d ", storage(s, 4, 8, 0, BPF_F_NO_PREALLOC, -1));
	SAY(s, "%d ", storage(s, 4, 8, 0, 0, btf));
	SAY(s, "%d ", storage(s, 4, 8, 1, BPF_F_NO_PREALLOC, btf));
	SAY(s, "%d ", storage(s, 8, 8, 0, BPF_F_NO_PREALLOC, btf));
	SAY(s, "%d ", storage(s, 4, 0, 0, BPF_F_NO_PREALLOC, btf));
	SAY(s, "%d", storage(s, 4, 8, 0, BPF_F_NO_PREALLOC | BPF_F_MMAPABLE, btf));
}

static void storage_elements(struct scenario *s)
{
	int btf = make_btf(s->bpf), fd = storage(s, 4, 8, 0, BPF_F_NO_PREALLOC, btf);
	int me = (int)syscall(SYS_pidfd_open, getpid(), 0), bad = 9999;
	u64 v = 7, out = 0;

	SAY(s, "%d ", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, fd, &me, &out, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_DELETE_ELEM, fd, &me, NULL, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, fd, &me, &v, BPF_EXIST));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, fd, &me, &v, BPF_NOEXIST));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, fd, &me, &v, BPF_NOEXIST));
	SAY(s, "%d", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, fd, &me, &out, 0));
	SAY(s, ":%d ", (int)out);
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, fd, &bad, &out, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, fd, &fd, &out, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, fd, &bad, &v, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_DELETE_ELEM, fd, &bad, NULL, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_GET_NEXT_KEY, fd, &me, &bad, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_LOOKUP_AND_DELETE_ELEM, fd, &me, &out, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_DELETE_ELEM, fd, &me, NULL, 0));
	SAY(s, "%d", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, fd, &me, &out, 0));
	close(me);
}

/* Counts the runs of this thread. */
#define COUNT_TASK                                                                                 \
	"call bpf_get_current_task_btf\nr6 = r0\nr1 = map[0] ll\nr2 = r6\nr3 = 0\nr4 = 1\n"        \
	"call bpf_task_storage_get\nif r0 == 0 goto out\nr1 = *(u64 *)(r0 + 0)\nr1 += 1\n"         \
	"*(u64 *)(r0 + 0) = r1\nr0 = r1\nexit\nout:\nr0 = 0\nexit\n"

struct threaded {
	struct scenario *s;
	int prog;
	long got;
};

static long run_raw(struct scenario *s, int prog)
{
	u64 ctx[2] = { 0 };
	union bpf_attr a = { 0 };
	long err;

	a.test.prog_fd = (u32)prog;
	a.test.ctx_in = PTR(ctx);
	a.test.ctx_size_in = sizeof(ctx);
	err = s->bpf(BPF_PROG_TEST_RUN, &a, sizeof(a));
	return err < 0 ? err : (long)(s32)a.test.retval;
}

static void *other_thread(void *arg)
{
	struct threaded *t = arg;

	run_raw(t->s, t->prog);
	t->got = run_raw(t->s, t->prog);
	return NULL;
}

static void storage_is_of_a_thread(struct scenario *s)
{
	int btf = make_btf(s->bpf), fd = storage(s, 4, 8, 0, BPF_F_NO_PREALLOC, btf);
	int me = (int)syscall(SYS_pidfd_open, getpid(), 0);
	struct threaded t = { .s = s };
	pthread_t th;
	u64 v = 0;

	t.prog = scenario_prog(s, BPF_PROG_TYPE_RAW_TRACEPOINT, COUNT_TASK, &fd, 1);
	SAY(s, "%ld ", run_raw(s, t.prog));
	SAY(s, "%ld ", run_raw(s, t.prog));
	SAY(s, "%ld ", run_raw(s, t.prog));
	pthread_create(&th, NULL, other_thread, &t);
	pthread_join(th, NULL);
	SAY(s, "%ld ", t.got);
	pthread_create(&th, NULL, other_thread, &t);
	pthread_join(th, NULL);
	SAY(s, "%ld ", t.got);
	SAY(s, "%d", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, fd, &me, &v, 0));
	SAY(s, ":%d", (int)v);
	close(me);
}

/* ---- user ring buffer ----------------------------------------------------------------------- */

#define USER BPF_MAP_TYPE_USER_RINGBUF

static void user_ring(struct scenario *s)
{
	static const u32 sizes[] = { 4096, 8192, 0, 4097, 12288 };
	void *p;
	int fd;
	u32 k = 0;

	for (u32 i = 0; i < ARRAY_SIZE(sizes); i++) {
		fd = scenario_map(s, USER, 0, 0, sizes[i], 0, 0);
		SAY(s, "%d ", fd < 0 ? fd : 0);
	}
	SAY(s, "%d ", scenario_map(s, USER, 4, 0, 4096, 0, 0));
	SAY(s, "%d ", scenario_map(s, USER, 0, 0, 4096, BPF_F_RDONLY_PROG, 0));
	fd = scenario_map(s, USER, 0, 0, 4096, 0, 0);
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, fd, NULL, &k, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, fd, NULL, &k, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_DELETE_ELEM, fd, NULL, NULL, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_GET_NEXT_KEY, fd, NULL, &k, 0));
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	SAY(s, "%d ", p == MAP_FAILED ? -errno : 0);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	SAY(s, "%d ", p == MAP_FAILED ? -errno : 0);
	p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
	SAY(s, "%d ", p == MAP_FAILED ? -errno : 0);
	if (p != MAP_FAILED) { /* the data is there twice */
		((char *)p)[4096] = 'x';
		SAY(s, "%d ", ((char *)p)[2 * 4096] == 'x');
	}
	p = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
	SAY(s, "%d", p == MAP_FAILED ? -errno : 0);
}

/* ---- frozen maps ---------------------------------------------------------------------------- */

static int freeze(struct scenario *s, int fd)
{
	union bpf_attr a = { .map_fd = (u32)fd };

	return (int)s->bpf(BPF_MAP_FREEZE, &a, sizeof(a));
}

static void frozen(struct scenario *s)
{
	int fd = scenario_map(s, BPF_MAP_TYPE_ARRAY, 4, 8, 1, BPF_F_MMAPABLE, 0);
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *q;
	u32 k = 0;
	u64 v = 1;

	SAY(s, "%d ", p != MAP_FAILED);
	SAY(s, "%d ", freeze(s, fd));
	munmap(p, 4096);
	q = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	SAY(s, "%d ", q != MAP_FAILED);
	SAY(s, "%d ", freeze(s, fd));
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	SAY(s, "%d ", p == MAP_FAILED ? -errno : 0);
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, fd, &k, &v, 0));
	SAY(s, "%d", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, fd, &k, &v, 0));
	munmap(q, 4096);
}

/* ---- values of other CPUs --------------------------------------------------------------------- */

static void of_cpu(struct scenario *s, u32 type)
{
	int fd = scenario_map(s, type, 4, 8, 4, 0, 0), prog, last = (int)map_cpus() - 1;
	static const int beyond[] = { 0, 1, 2 };
	u64 values[1024];
	char source[400];
	u32 k = 2, i;

	for (i = 0; i < ARRAY_SIZE(values); i++)
		values[i] = (int)i == last ? 7 : i > (u32)last ? 99 : 1;
	scenario_elem(s, BPF_MAP_UPDATE_ELEM, fd, &k, values, 0);
	for (i = 0; i < ARRAY_SIZE(beyond); i++) {
		/* The last CPU's, one that is not there, and another key. */
		snprintf(source, sizeof(source),
			 "*(u32 *)(r10 - 4) = %d\nr1 = map[0] ll\nr2 = r10\nr2 += -4\nr3 = %d\n"
			 "call bpf_map_lookup_percpu_elem\nif r0 == 0 goto out\nr0 = *(u64 *)(r0 + 0)\n"
			 "exit\nout:\nr0 = 40\nexit\n",
			 beyond[i] == 2 ? 5 : 2, last + (beyond[i] == 1));
		prog = scenario_prog(s, BPF_PROG_TYPE_SCHED_CLS, source, &fd, 1);
		SAY(s, "%ld ", prog < 0 ? (long)prog : scenario_run(s, prog));
		close(prog);
	}
	close(fd);
}

static void any_cpu(struct scenario *s)
{
	of_cpu(s, BPF_MAP_TYPE_PERCPU_HASH);
	of_cpu(s, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	of_cpu(s, BPF_MAP_TYPE_PERCPU_ARRAY);
}

int main(int argc, char **argv)
{
	static const struct scenario_case cases[] = {
		{ "stack_traces_have_up_to_127_entries", trace_creation,
		  "0 0 -22 -22 -22 -22 -22 0 -22 -22 -22 0 " },
		{ "stack_traces_are_read_and_deleted_by_bpf", trace_elements,
		  "-2 -22 -2 -2 -2 -2 -7 -2" },
		{ "stack_traces_are_for_get_stackid_only", trace_verdicts, "0 -22 0 " },
		{ "task_storage_needs_btf_and_no_size", storage_creation,
		  "1 -22 -22 -22 -22 -22 -22" },
		{ "task_storage_has_pidfds_as_keys", storage_elements,
		  "-2 -2 -2 0 -17 0:7 -9 -9 -9 -9 -524 -524 0 -2" },
		{ "task_storage_is_of_a_thread", storage_is_of_a_thread, "1 2 3 2 2 0:3" },
		{ "a_map_that_is_mapped_for_writing_does_not_freeze", frozen, "1 -16 1 0 -1 -1 0" },
		{ "programs_look_up_the_value_of_any_cpu", any_cpu, "7 40 40 7 40 40 7 40 40 " },
		{ "user_ring_buffers_are_written_by_users", user_ring,
		  "0 0 -22 -22 -22 -22 -22 -524 -524 -524 -524 0 -1 0 1 -22" },
	};

	return scenario_main(argc, argv, cases, ARRAY_SIZE(cases));
}
