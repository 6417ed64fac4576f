/* SPDX-License-Identifier: MIT */
/*
 * Random commands on maps of every type, given to Ferry and to the machine's kernel: the same
 * results, errors and contents. What is allowed to differ is in the table at the end.
 */
#include <linux/perf_event.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/sys_int.h"
#include "sys_test.h"

enum { FERRY, KERNEL, SIDES };

#define MAX_BATCH 40
#define MAX_VALUE 4096 /* bytes to and from bpf(2): per-CPU values are larger than value_size */

/* What the bytes of a value are. */
enum values { DATA, PROGS, MAPS, EVENTS };

/* In which order keys come: that of numbers, that of prefixes, or any. */
enum order { ANY_ORDER, SAME_ORDER };

struct spec {
	u32 type, key, value, entries, flags;
	u64 extra;
	enum values values;
	enum order order;
	u32 keys; /* how many different ones are tried */
};

struct side {
	bpf_fn bpf;
	int map, btf, frozen;
	int objs[6]; /* what may be in values: two of each kind that is right, then wrong ones */
	u8 keys[MAX_BATCH * 64], values[MAX_BATCH * MAX_VALUE];
	u32 count;
	u8 cursor[64];
};

static struct side sides[SIDES];
static const struct spec *spec;
static u32 seed, value_size;
static int pidfd; /* this thread, for task storage */

static u32 rnd(u32 below)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % below;
}

/* ---- making both ---------------------------------------------------------------------------- */

static int open_event(enum values kind, int side)
{
	struct perf_event_attr pa = { .type = PERF_TYPE_SOFTWARE,
				      .config = PERF_COUNT_SW_BPF_OUTPUT,
				      .size = sizeof(pa),
				      .sample_type = PERF_SAMPLE_RAW };

	if (kind != EVENTS)
		return -1;
	if (side == FERRY)
		return (int)sys_perf_open(&pa, -1, 0, -1, 0);
	/* libc's own: this program's import is hooked. */
	return (int)((long (*)(long, ...))dlsym(RTLD_NEXT, "syscall"))(SYS_perf_event_open, &pa, -1, 0,
								      -1, 0);
}

static void objects_make(int who, enum values kind)
{
	struct side *s = &sides[who];
	u32 i;

	for (i = 0; i < 2; i++)
		s->objs[i] = kind == PROGS  ? make_prog(s->bpf, BPF_PROG_TYPE_SOCKET_FILTER)
			     : kind == MAPS ? make_map(s->bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 3, 0)
					    : open_event(kind, who);
	s->objs[2] = kind == PROGS ? make_prog(s->bpf, BPF_PROG_TYPE_XDP)
				   : make_map(s->bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0);
	s->objs[3] = make_map(s->bpf, BPF_MAP_TYPE_HASH, 4, 8, 3, 0);
	s->objs[4] = open("/dev/null", O_RDONLY);
	s->objs[5] = -1;
}

static int create_pair(const struct spec *sp)
{
	int who;

	for (who = 0; who < SIDES; who++) {
		struct side *s = &sides[who];
		union bpf_attr a = { .map_type = sp->type,
				     .key_size = sp->key,
				     .value_size = sp->value,
				     .max_entries = sp->entries,
				     .map_flags = sp->flags,
				     .map_extra = sp->extra };

		objects_make(who, sp->values);
		s->btf = make_btf(s->bpf);
		if (sp->values == MAPS)
			a.inner_map_fd = (u32)s->objs[0];
		if (sp->type == BPF_MAP_TYPE_TASK_STORAGE) {
			a.btf_fd = (u32)s->btf;
			a.btf_key_type_id = 1;
			a.btf_value_type_id = 4;
		}
		s->map = (int)s->bpf(BPF_MAP_CREATE, &a, sizeof(a));
		if (s->map < 0)
			print_message("# %s: %d\n", who == FERRY ? "ferry" : "kernel", s->map);
	}
	return sides[FERRY].map >= 0 && sides[KERNEL].map >= 0 ? 0 : -1;
}

static void end_pair(void)
{
	int who, i;

	for (who = 0; who < SIDES; who++) {
		close(sides[who].map);
		close(sides[who].btf);
		for (i = 0; i < 5; i++)
			close(sides[who].objs[i]);
	}
}

/* ---- keys and values ------------------------------------------------------------------------ */

static void random_key(u8 *key)
{
	u32 n = rnd(spec->keys), i;

	memset(key, 0, spec->key);
	memcpy(key, &n, spec->key < 4 ? spec->key : 4);
	if (spec->type == BPF_MAP_TYPE_LPM_TRIE) {
		n = rnd(spec->key * 8); /* a length, maybe too long */
		memcpy(key, &n, 4);
		for (i = 4; i < spec->key; i++)
			key[i] = rnd(8) ? 0 : (u8)rnd(256);
	} else if (spec->type == BPF_MAP_TYPE_TASK_STORAGE) {
		int fd = (int[]){ pidfd, -1, 0 }[n % 3];

		memcpy(key, &fd, 4);
	} else if (spec->key > 4) {
		key[spec->key - 1] = (u8)(n * 5);
	}
}

/* Of a Bloom filter: values that are in it for certain. Of others it says what it likes. */
static bool added[64];

static void bloom_value(void)
{
	u32 n = rnd(ARRAY_SIZE(added)), who;

	for (who = 0; who < SIDES; who++)
		memset(sides[who].values, (int)n, value_size);
}

static bool bloom_right(int cmd, long mine, long theirs)
{
	bool *in = &added[sides[FERRY].values[0]];

	if (cmd == BPF_MAP_UPDATE_ELEM && !mine && !theirs)
		*in = true;
	if (cmd != BPF_MAP_LOOKUP_ELEM || *in)
		return mine == theirs && (!*in || mine != -ENOENT);
	return mine == theirs || (mine + theirs == -ENOENT && mine * theirs == 0);
}

/* The same for both; objects are each side's own. */
static void random_values(u32 n)
{
	u32 i, at, pick, step = ALIGN_UP(spec->value, 8u);

	for (i = 0; i < n; i++) {
		pick = rnd(16) < 12 ? rnd(2) : rnd(6);
		for (at = 0; at < value_size; at++) {
			u8 b = (u8)rnd(256);

			/* Padding between CPUs is kept by neither side. */
			if (map_is_percpu(spec->type) && at % step >= spec->value)
				b = 0;
			sides[FERRY].values[i * value_size + at] = b;
			sides[KERNEL].values[i * value_size + at] = b;
		}
		for (at = 0; spec->values != DATA && at < SIDES; at++)
			memcpy(sides[at].values + i * 4, &sides[at].objs[pick], 4);
	}
}

static u64 random_flags(void)
{
	static const u64 rare[] = { 3, 4, 5, 6, 8, 16, 1ull << 31, 1ull << 32, ~0ull };

	return rnd(8) ? rnd(3) : rare[rnd(ARRAY_SIZE(rare))];
}

static bool hides_values(void)
{
	return spec->values != DATA; /* numbers of objects differ */
}

static u32 failures, shown; /* and of these, for this map */

static bool same(const char *what, u64 flags, long mine, long theirs)
{
	if (mine == theirs)
		return true;
	failures++;
	if (shown++ < 6)
		print_message("# %s (key %u value %u flags %#x) %s, flags %llx: %ld, the kernel says %ld\n",
			      map_type_name(spec->type), spec->key, spec->value, spec->flags, what,
			      (unsigned long long)flags, mine, theirs);
	return false;
}

static void same_bytes(const char *what, const void *mine, const void *theirs, size_t n)
{
	if (!memcmp(mine, theirs, n))
		return;
	failures++;
	if (shown++ < 6)
		print_message("# %s (key %u value %u) %s: other bytes\n", map_type_name(spec->type),
			      spec->key, spec->value, what);
}

/* ---- commands on one element ----------------------------------------------------------------- */

static long elem(struct side *s, int cmd, bool null_key, u64 flags)
{
	union bpf_attr a = { .map_fd = (u32)s->map, .flags = flags };

	a.key = null_key ? 0 : PTR(s->keys);
	if (cmd != BPF_MAP_DELETE_ELEM)
		a.value = PTR(s->values);
	if (cmd == BPF_MAP_GET_NEXT_KEY || cmd == BPF_MAP_DELETE_ELEM)
		a.flags = 0;
	return s->bpf(cmd, &a, sizeof(a));
}

static const struct {
	const char *name;
	int cmd;
} one_commands[] = {
	{ "update", BPF_MAP_UPDATE_ELEM },
	{ "update", BPF_MAP_UPDATE_ELEM },
	{ "lookup", BPF_MAP_LOOKUP_ELEM },
	{ "delete", BPF_MAP_DELETE_ELEM },
	{ "lookup and delete", BPF_MAP_LOOKUP_AND_DELETE_ELEM },
	{ "next key", BPF_MAP_GET_NEXT_KEY },
};

static void one_command(void)
{
	u32 op = rnd(ARRAY_SIZE(one_commands));
	int cmd = one_commands[op].cmd;
	bool null_key = !spec->key ? rnd(16) != 0 : rnd(32) == 0;
	u64 flags = random_flags();
	long got[SIDES];
	int who;

	random_key(sides[FERRY].keys);
	memcpy(sides[KERNEL].keys, sides[FERRY].keys, 64);
	random_values(1);
	if (cmd != BPF_MAP_UPDATE_ELEM && flags <= 2)
		flags = 0;
	if (spec->type == BPF_MAP_TYPE_BLOOM_FILTER)
		bloom_value();
	for (who = 0; who < SIDES; who++)
		got[who] = elem(&sides[who], cmd, null_key, flags);
	if (spec->type == BPF_MAP_TYPE_BLOOM_FILTER && bloom_right(cmd, got[FERRY], got[KERNEL]))
		return;
	if (cmd == BPF_MAP_GET_NEXT_KEY && spec->order == ANY_ORDER && !null_key &&
	    got[0] <= 0 && got[0] != -EPERM && got[0] != -SYS_ENOTSUPP && got[0] != -EINVAL)
		return;
	if (!same(one_commands[op].name, flags, got[FERRY], got[KERNEL]) || got[FERRY])
		return;
	if (cmd == BPF_MAP_GET_NEXT_KEY && spec->order == SAME_ORDER)
		same_bytes("next key", sides[0].values, sides[1].values, spec->key);
	else if ((cmd == BPF_MAP_LOOKUP_ELEM || cmd == BPF_MAP_LOOKUP_AND_DELETE_ELEM) &&
		 !hides_values())
		same_bytes(one_commands[op].name, sides[0].values, sides[1].values, value_size);
}

/* ---- batches --------------------------------------------------------------------------------- */

static long batch(struct side *s, int cmd, u32 count, u64 elem_flags, u64 flags, bool in)
{
	union bpf_attr a = { 0 };
	long ret;

	a.batch.map_fd = (u32)s->map;
	a.batch.keys = PTR(s->keys);
	if (cmd != BPF_MAP_DELETE_BATCH)
		a.batch.values = PTR(s->values);
	if (cmd == BPF_MAP_LOOKUP_BATCH || cmd == BPF_MAP_LOOKUP_AND_DELETE_BATCH)
		a.batch.out_batch = PTR(s->cursor);
	if (in)
		a.batch.in_batch = PTR(s->cursor);
	a.batch.count = count;
	a.batch.elem_flags = elem_flags;
	a.batch.flags = flags;
	ret = s->bpf(cmd, &a, sizeof(a));
	s->count = a.batch.count;
	return ret;
}

/* How many elements the kernel's map has; -1 when that cannot be found out. */
static s32 elements(int who)
{
	struct side *s = &sides[who];
	union bpf_attr a;
	u8 key[64], next[64];
	s32 n = 0;

	for (;; n++) {
		memset(&a, 0, sizeof(a));
		a.map_fd = (u32)s->map;
		a.key = n ? PTR(key) : 0;
		a.next_key = PTR(next);
		if (s->bpf(BPF_MAP_GET_NEXT_KEY, &a, sizeof(a)))
			break;
		memcpy(key, next, sizeof(key));
	}
	return n;
}

/* Rows of key and value, as many as `count` says, in the order of their bytes. */
static void sort_rows(struct side *s)
{
	u32 i, j;

	for (i = 1; i < s->count; i++) {
		for (j = i; j && memcmp(s->keys + (j - 1) * spec->key, s->keys + j * spec->key,
					spec->key) > 0;
		     j--) {
			u8 t[MAX_VALUE];

			memcpy(t, s->keys + j * spec->key, spec->key);
			memcpy(s->keys + j * spec->key, s->keys + (j - 1) * spec->key, spec->key);
			memcpy(s->keys + (j - 1) * spec->key, t, spec->key);
			memcpy(t, s->values + j * value_size, value_size);
			memcpy(s->values + j * value_size, s->values + (j - 1) * value_size, value_size);
			memcpy(s->values + (j - 1) * value_size, t, value_size);
		}
	}
}

/* All elements by batches of a few: cursors lead on, over all of them and each once. */
static long batch_in_steps(struct side *s)
{
	union bpf_attr a = { 0 };
	u32 have = 0, steps;
	long err = 0;

	for (steps = 0; !err && steps < 100; steps++) {
		a.batch.map_fd = (u32)s->map;
		a.batch.in_batch = steps ? PTR(s->cursor) : 0;
		a.batch.out_batch = PTR(s->cursor);
		a.batch.keys = PTR(s->keys + have * spec->key);
		a.batch.values = PTR(s->values + have * value_size);
		a.batch.count = 1 + rnd(5);
		err = s->bpf(BPF_MAP_LOOKUP_BATCH, &a, sizeof(a));
		have += a.batch.count;
		if (have > MAX_BATCH - 6)
			break;
	}
	s->count = have;
	return err;
}

/*
 * Reading: where the order is not the same both give the same set only when all fits, so that many
 * are asked for.
 */
static void read_batch(int cmd, const char *name, u64 elem_flags, u64 flags)
{
	bool any = spec->order == ANY_ORDER, in = rnd(3) == 0 && !any;
	u32 count = any ? MAX_BATCH : rnd(MAX_BATCH);
	long got[SIDES];
	int who;

	if (rnd(16) == 0)
		count = 0;
	if (any && elements(KERNEL) > MAX_BATCH - 6)
		return;
	memset(sides[0].cursor, 0, 8);
	memset(sides[1].cursor, 0, 8);
	if (in)
		sides[0].cursor[0] = sides[1].cursor[0] = (u8)rnd(spec->entries + 2);
	for (who = 0; who < SIDES; who++)
		got[who] = batch(&sides[who], cmd, count, elem_flags, flags, in);
	if (any && cmd == BPF_MAP_LOOKUP_BATCH && got[FERRY] == -ENOENT && rnd(2))
		got[FERRY] = batch_in_steps(&sides[FERRY]);
	if (!same(name, flags, got[FERRY], got[KERNEL]))
		return;
	same("count of a batch", got[FERRY] < 0 ? (u64)-got[FERRY] : 0, sides[0].count, sides[1].count);
	if ((got[FERRY] && got[FERRY] != -ENOENT) || !count)
		return;
	if (any) {
		sort_rows(&sides[0]);
		sort_rows(&sides[1]);
	} else if (sides[0].count) {
		same_bytes("cursor", sides[0].cursor, sides[1].cursor, spec->key);
	}
	same_bytes("keys of a batch", sides[0].keys, sides[1].keys, spec->key * sides[0].count);
	if (!hides_values())
		same_bytes("values of a batch", sides[0].values, sides[1].values,
			   value_size * sides[0].count);
}

static void write_batch(int cmd, const char *name, u64 elem_flags, u64 flags)
{
	u32 count = rnd(10), i;
	long got[SIDES];
	int who;

	for (i = 0; i < count; i++)
		random_key(sides[0].keys + i * spec->key);
	memcpy(sides[1].keys, sides[0].keys, count * spec->key);
	random_values(count);
	for (who = 0; who < SIDES; who++)
		got[who] = batch(&sides[who], cmd, count, elem_flags, flags, false);
	same(name, flags, got[FERRY], got[KERNEL]);
	same("count of a batch", got[FERRY] < 0 ? (u64)-got[FERRY] : 0, sides[0].count, sides[1].count);
}

static void batch_command(void)
{
	u64 elem_flags = rnd(6) ? 0 : random_flags(), flags = rnd(12) ? 0 : random_flags();

	switch (rnd(4)) {
	case 0: read_batch(BPF_MAP_LOOKUP_BATCH, "lookup batch", elem_flags, flags); break;
	case 1:
		read_batch(BPF_MAP_LOOKUP_AND_DELETE_BATCH, "lookup and delete batch", elem_flags, flags);
		break;
	case 2: write_batch(BPF_MAP_UPDATE_BATCH, "update batch", elem_flags, flags); break;
	default: write_batch(BPF_MAP_DELETE_BATCH, "delete batch", elem_flags, flags); break;
	}
}

/* ---- walks ----------------------------------------------------------------------------------- */

/* Walks by next_key while elements go: every key that stays is met, once. */
static void walk_while_deleting(void)
{
	u32 met[SIDES][256] = { 0 };
	union bpf_attr a;
	u8 key[64], next[64];
	int who;
	u32 n;

	for (who = 0; who < SIDES; who++) {
		struct side *s = &sides[who];

		for (n = 0; n < 1000; n++) {
			memset(&a, 0, sizeof(a));
			a.map_fd = (u32)s->map;
			a.key = n ? PTR(key) : 0;
			a.next_key = PTR(next);
			if (s->bpf(BPF_MAP_GET_NEXT_KEY, &a, sizeof(a)))
				break;
			met[who][next[0]]++;
			memcpy(key, next, sizeof(key));
		}
		assert_true(n < 1000);
	}
	if (spec->key <= 4 && spec->keys < 256)
		same_bytes("walk", met[0], met[1], sizeof(met[0]));
}

static void same_size(void)
{
	if (spec->key && spec->type != BPF_MAP_TYPE_TASK_STORAGE)
		same("number of elements", 0, elements(FERRY), elements(KERNEL));
}

/* A second time: -EPERM since Linux 6.5, before that -EBUSY as here. */
static void freeze_both(bool again)
{
	union bpf_attr a = { .map_fd = (u32)sides[0].map }, b = { .map_fd = (u32)sides[1].map };

	long mine = sides[FERRY].bpf(BPF_MAP_FREEZE, &a, sizeof(a));
	long theirs = sides[KERNEL].bpf(BPF_MAP_FREEZE, &b, sizeof(b));

	same("freeze", 0, mine, again && theirs == -EPERM && mine == -EBUSY ? mine : theirs);
}

static void walk_spec(const struct spec *sp)
{
	/* The kernel waits for all running programs when a map leaves a map. */
	u32 n = sp->values == MAPS ? 150 : 3000, i;

	spec = sp;
	shown = 0;
	memset(added, 0, sizeof(added));
	seed = sp->type * 7919 + sp->key * 31 + sp->entries + 1;
	value_size = sp->value;
	if (map_is_percpu(sp->type))
		value_size = ALIGN_UP(sp->value, 8u) * map_cpus();
	assert_int_equal(create_pair(sp), 0);
	pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	for (i = 0; i < n; i++) {
		if (rnd(4))
			one_command();
		else
			batch_command();
		if (i % 500 == 0)
			same_size();
	}
	if (sp->key && sp->type != BPF_MAP_TYPE_TASK_STORAGE)
		walk_while_deleting();
	freeze_both(false);
	for (i = 0; i < 150; i++) {
		if (rnd(4))
			one_command();
		else
			batch_command();
	}
	freeze_both(true);
	end_pair();
	close(pidfd);
}

#define T(name) BPF_MAP_TYPE_##name
static const struct spec specs[] = {
	{ T(HASH), 4, 9, 30, 0, 0, DATA, ANY_ORDER, 50 },
	{ T(HASH), 8, 8, 30, BPF_F_NO_PREALLOC | BPF_F_ZERO_SEED, 0, DATA, ANY_ORDER, 50 },
	{ T(HASH), 13, 40, 30, BPF_F_RDONLY, 0, DATA, ANY_ORDER, 50 },
	{ T(HASH), 3, 1, 30, BPF_F_WRONLY, 0, DATA, ANY_ORDER, 50 },
	{ T(HASH), 4, 4, 30, BPF_F_RDONLY_PROG, 0, DATA, ANY_ORDER, 50 },
	{ T(HASH), 4, 4, 30, BPF_F_WRONLY_PROG | BPF_F_NUMA_NODE, 0, DATA, ANY_ORDER, 50 },
	{ T(ARRAY), 4, 7, 20, 0, 0, DATA, SAME_ORDER, 24 },
	{ T(ARRAY), 4, 8, 20, BPF_F_MMAPABLE, 0, DATA, SAME_ORDER, 24 },
	{ T(ARRAY), 4, 8, 20, BPF_F_INNER_MAP | BPF_F_RDONLY, 0, DATA, SAME_ORDER, 24 },
	{ T(ARRAY), 4, 8, 1, BPF_F_RDONLY_PROG | BPF_F_WRONLY, 0, DATA, SAME_ORDER, 24 },
	{ T(PROG_ARRAY), 4, 4, 10, 0, 0, PROGS, SAME_ORDER, 14 },
	{ T(PERF_EVENT_ARRAY), 4, 4, 10, 0, 0, EVENTS, SAME_ORDER, 14 },
	{ T(PERF_EVENT_ARRAY), 4, 4, 10, BPF_F_PRESERVE_ELEMS, 0, EVENTS, SAME_ORDER, 14 },
	{ T(PERCPU_HASH), 4, 12, 30, 0, 0, DATA, ANY_ORDER, 50 },
	{ T(PERCPU_HASH), 16, 4, 30, BPF_F_NO_PREALLOC, 0, DATA, ANY_ORDER, 50 },
	{ T(PERCPU_ARRAY), 4, 12, 20, 0, 0, DATA, SAME_ORDER, 24 },
	{ T(STACK_TRACE), 4, 16, 10, 0, 0, DATA, SAME_ORDER, 20 },
	{ T(STACK_TRACE), 4, 64, 10, BPF_F_STACK_BUILD_ID, 0, DATA, SAME_ORDER, 20 },
	/* With room to spare: when elements of full LRU maps go is not promised. */
	{ T(LRU_HASH), 4, 8, 20000, 0, 0, DATA, ANY_ORDER, 40 },
	{ T(LRU_HASH), 8, 8, 20000, BPF_F_NO_COMMON_LRU, 0, DATA, ANY_ORDER, 40 },
	{ T(LRU_PERCPU_HASH), 8, 4, 20000, 0, 0, DATA, ANY_ORDER, 40 },
	/* The kernel's order is its trie's; its documentation promises none. */
	{ T(LPM_TRIE), 8, 8, 30, BPF_F_NO_PREALLOC, 0, DATA, ANY_ORDER, 1 },
	{ T(LPM_TRIE), 5, 4, 30, BPF_F_NO_PREALLOC, 0, DATA, ANY_ORDER, 1 },
	{ T(LPM_TRIE), 20, 3, 30, BPF_F_NO_PREALLOC, 0, DATA, ANY_ORDER, 1 },
	{ T(ARRAY_OF_MAPS), 4, 4, 10, 0, 0, MAPS, SAME_ORDER, 14 },
	{ T(HASH_OF_MAPS), 4, 4, 10, 0, 0, MAPS, ANY_ORDER, 14 },
	{ T(HASH_OF_MAPS), 8, 4, 10, BPF_F_NO_PREALLOC, 0, MAPS, ANY_ORDER, 14 },
	{ T(QUEUE), 0, 9, 20, 0, 0, DATA, SAME_ORDER, 1 },
	{ T(STACK), 0, 4, 7, 0, 0, DATA, SAME_ORDER, 1 },
	{ T(STACK), 0, 4, 7, BPF_F_WRONLY, 0, DATA, SAME_ORDER, 1 },
	{ T(RINGBUF), 0, 0, 4096, 0, 0, DATA, SAME_ORDER, 1 },
	{ T(USER_RINGBUF), 0, 0, 4096, 0, 0, DATA, SAME_ORDER, 1 },
	{ T(TASK_STORAGE), 4, 8, 0, BPF_F_NO_PREALLOC, 0, DATA, ANY_ORDER, 9 },
	{ T(BLOOM_FILTER), 0, 8, 10, 0, 3, DATA, SAME_ORDER, 1 },
	{ T(BLOOM_FILTER), 0, 1, 1000, BPF_F_ZERO_SEED, 0, DATA, SAME_ORDER, 1 },
};

static void every_type_answers_as_the_kernels(void **state)
{
	u32 i;

	(void)state;
	failures = 0;
	for (i = 0; i < ARRAY_SIZE(specs); i++)
		walk_spec(&specs[i]);
	assert_int_equal(failures, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_answers_as_the_kernels),
	};

	sides[FERRY].bpf = sys_bpf;
	sides[KERNEL].bpf = kernel_bpf;
	if (!kernel_works())
		return skip_all("this machine's kernel has no bpf(2)");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
