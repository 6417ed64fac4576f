/* SPDX-License-Identifier: MIT */
/* The same random commands to Ferry's maps and to the kernel's: the same results and errors. */
#include <linux/bpf.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kernel_bpf.h"
#include "map_test.h"

static u32 next_random(u32 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	return *s ^= *s << 5;
}

static int sys(int cmd, union bpf_attr *a)
{
	return (int)raw_bpf(cmd, a, sizeof(*a));
}

static int kernel_create(const struct map_attr *attr)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_type = attr->type;
	a.key_size = attr->key_size;
	a.value_size = attr->value_size;
	a.max_entries = attr->max_entries;
	a.map_flags = attr->flags;
	a.map_extra = attr->extra;
	memcpy(a.map_name, attr->name, sizeof(a.map_name));
	return sys(BPF_MAP_CREATE, &a);
}

static int kernel_elem(int cmd, int fd, const void *key, const void *value, u64 flags)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_fd = (u32)fd;
	a.key = (u64)(uintptr_t)key;
	a.value = (u64)(uintptr_t)value; /* next_key shares its place */
	a.flags = flags;
	return sys(cmd, &a);
}

static bool kernel_there(void)
{
	struct map_attr attr = {
		.type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1
	};
	int fd = kernel_create(&attr);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* ---- creation ------------------------------------------------------------------------------- */

static const u32 made_here[] = {
	BPF_MAP_TYPE_HASH,        BPF_MAP_TYPE_ARRAY,
	BPF_MAP_TYPE_PROG_ARRAY,  BPF_MAP_TYPE_PERF_EVENT_ARRAY,
	BPF_MAP_TYPE_PERCPU_HASH, BPF_MAP_TYPE_PERCPU_ARRAY,
	BPF_MAP_TYPE_LRU_HASH,    BPF_MAP_TYPE_LRU_PERCPU_HASH,
	BPF_MAP_TYPE_RINGBUF,     BPF_MAP_TYPE_QUEUE,
	BPF_MAP_TYPE_STACK,       BPF_MAP_TYPE_BLOOM_FILTER,
	BPF_MAP_TYPE_LPM_TRIE,
};

static void random_attr(struct map_attr *a, u32 *s)
{
	static const u32 keys[] = { 0, 1, 3, 4, 4, 4, 8, 16, 64, 1000, 1u << 22, ~0u };
	static const u32 values[] = { 0,
				      1,
				      4,
				      4,
				      8,
				      12,
				      100,
				      32760,
				      32761,
				      32769,
				      (4u << 20) - 60,
				      (4u << 20) - 52,
				      4u << 20,
				      0x7fffffff,
				      0x80000000,
				      ~0u };
	static const u32 entries[] = { 0, 1, 2, 3, 7, 100, 4096, 4097, 8192, 12288, ~0u };

	memset(a, 0, sizeof(*a));
	a->type = made_here[next_random(s) % ARRAY_SIZE(made_here)];
	a->key_size = keys[next_random(s) % ARRAY_SIZE(keys)];
	a->value_size = values[next_random(s) % ARRAY_SIZE(values)];
	a->max_entries = entries[next_random(s) % ARRAY_SIZE(entries)];
	if (a->type == BPF_MAP_TYPE_RINGBUF && next_random(s) % 4)
		a->key_size = a->value_size = 0;
	if (a->type >= BPF_MAP_TYPE_QUEUE && next_random(s) % 4)
		a->key_size = 0;
	if (a->value_size > 4096 && a->max_entries != ~0u && a->max_entries > 3)
		a->max_entries = 3; /* refused for what it is, and not for memory */
	if (a->value_size == 0x7fffffff)
		a->max_entries = ~0u; /* and no memory is taken that is not needed */
	if (a->max_entries == ~0u &&
	    (a->type == BPF_MAP_TYPE_QUEUE || a->type == BPF_MAP_TYPE_STACK) && a->value_size)
		a->value_size = 100; /* too much for any machine, however it is laid out */
	if (a->max_entries == ~0u && a->type == BPF_MAP_TYPE_BLOOM_FILTER)
		a->max_entries = 5000;
	if (next_random(s) % 2)
		a->flags = 1u << next_random(s) % 13;
	if (next_random(s) % 4 == 0)
		a->flags |= 1u << next_random(s) % 16;
	a->flags &= ~BPF_F_INNER_MAP;
	if (next_random(s) % 20 == 0)
		a->extra = next_random(s) % 20;
	if (next_random(s) % 10 == 0)
		memcpy(a->name, next_random(s) % 2 ? "a-b" : "fine_1.x", 4);
}

static void creation_is_refused_as_the_kernel_refuses_it(void **state)
{
	u32 s = 4711, i, ok = 0;

	(void)state;
	for (i = 0; i < 10000; i++) {
		struct map_attr a;
		struct map *m = NULL;
		int want, got;

		random_attr(&a, &s);
		want = kernel_create(&a);
		if (want >= 0) {
			close(want);
			want = 0;
			ok++;
		}
		got = map_create(&a, &m, NULL);
		if (got != want)
			print_message("# type %u key %u value %u entries %u flags %#x extra %llu "
				      "name %s\n",
				      a.type, a.key_size, a.value_size, a.max_entries, a.flags,
				      (unsigned long long)a.extra, a.name);
		assert_int_equal(got, want);
		map_put(m);
	}
	assert_true(ok > 300);
}

/* ---- elements ------------------------------------------------------------------------------- */

struct pair {
	struct map *m;
	int fd;
	u32 keys; /* numbers that keys are made of */
	bool ordered;
	u32 key_size, value_size;
	u8 key[64], mine[4096], theirs[4096];
};

static void random_key(struct pair *p, u32 *s)
{
	u32 n = next_random(s) % p->keys;

	memset(p->key, 0, sizeof(p->key));
	memcpy(p->key, &n, p->key_size < 4 ? p->key_size : 4);
	if (p->m->attr.type == BPF_MAP_TYPE_LPM_TRIE) {
		n = next_random(s) % (p->key_size * 8); /* a length, maybe too long */
		memcpy(p->key, &n, 4);
		for (n = 4; n < p->key_size; n++) /* and few bits of data */
			p->key[n] = next_random(s) % 8 ? 0 : (u8)next_random(s);
		return;
	}
	if (p->key_size > 4)
		p->key[p->key_size - 1] = (u8)(n * 5);
}

static u64 random_flags(u32 *s)
{
	static const u64 rare[] = { 3, 4, 5, 8, 1ull << 32, ~0ull };

	return next_random(s) % 8 ? next_random(s) % 3 : rare[next_random(s) % ARRAY_SIZE(rare)];
}

static void same(struct pair *p, const char *what, u64 flags, int mine, int theirs)
{
	if (mine != theirs)
		print_message("# %s %s flags %llx: %d, the kernel says %d\n",
			      map_type_name(p->m->attr.type), what, (unsigned long long)flags, mine,
			      theirs);
	assert_int_equal(mine, theirs);
}

static void one_command(struct pair *p, u32 *s)
{
	const void *key = p->key_size ? p->key : NULL;
	u64 flags = random_flags(s);
	u32 i, op = next_random(s) % 8;
	int mine, theirs;

	random_key(p, s);
	for (i = 0; i < p->value_size; i++)
		p->mine[i] = p->theirs[i] = (u8)next_random(s);
	switch (op) {
	case 0:
	case 1:
	case 2:
		if (map_is_percpu(p->m->attr.type)) /* padding is not kept by either: zero it */
			for (i = 0; i < p->value_size; i++)
				if (i % ALIGN_UP(p->m->attr.value_size, 8u) >=
				    p->m->attr.value_size)
					p->mine[i] = p->theirs[i] = 0;
		mine = map_update_user(p->m, key, p->mine, flags);
		theirs = kernel_elem(BPF_MAP_UPDATE_ELEM, p->fd, key, p->theirs, flags);
		same(p, "update", flags, mine, theirs);
		return;
	case 3:
	case 4:
		flags = flags > 2 ? flags : 0;
		mine = map_lookup_user(p->m, key, p->mine, flags);
		theirs = kernel_elem(BPF_MAP_LOOKUP_ELEM, p->fd, key, p->theirs, flags);
		same(p, "lookup", flags, mine, theirs);
		break;
	case 5:
		mine = map_delete_user(p->m, key);
		theirs = kernel_elem(BPF_MAP_DELETE_ELEM, p->fd, key, NULL, 0);
		same(p, "delete", 0, mine, theirs);
		return;
	case 6:
		flags = flags > 2 ? flags : 0;
		mine = map_take_user(p->m, key, p->mine, flags);
		theirs = kernel_elem(BPF_MAP_LOOKUP_AND_DELETE_ELEM, p->fd, key, p->theirs, flags);
		same(p, "lookup and delete", flags, mine, theirs);
		break;
	default:
		if (next_random(s) % 8 == 0)
			key = NULL;
		mine = map_next_key_user(p->m, key, p->mine);
		theirs = kernel_elem(BPF_MAP_GET_NEXT_KEY, p->fd, key, p->theirs, 0);
		if (p->ordered || !key) {
			same(p, "next key", 0, mine, theirs);
			if (!mine && p->ordered)
				assert_memory_equal(p->mine, p->theirs, p->key_size);
		}
		return;
	}
	if (!mine)
		assert_memory_equal(p->mine, p->theirs, p->value_size);
}

/* Every key that one has, the other has, and nothing else. */
static void same_contents(struct pair *p)
{
	u8 key[64], next[64];
	u32 mine = 0, theirs = 0;
	bool have;

	for (have = false; !map_next_key_user(p->m, have ? key : NULL, next); have = true) {
		memcpy(key, next, sizeof(key));
		mine++;
	}
	for (have = false; !kernel_elem(BPF_MAP_GET_NEXT_KEY, p->fd, have ? key : NULL, next, 0);
	     have = true) {
		memcpy(key, next, sizeof(key));
		same(p, "lookup", 0, map_lookup_user(p->m, key, p->mine, 0),
		     kernel_elem(BPF_MAP_LOOKUP_ELEM, p->fd, key, p->theirs, 0));
		theirs++;
	}
	assert_int_equal(mine, theirs);
}

static void walk(u32 type, u32 key, u32 value, u32 entries, u32 keys, u32 flags)
{
	struct map_attr attr = { .type = type,
				 .key_size = key,
				 .value_size = value,
				 .max_entries = entries,
				 .flags = flags };
	struct pair p = { .keys = keys, .key_size = key };
	u32 s = type * 7919 + key + entries + 1, i;
	union bpf_attr a;

	p.fd = kernel_create(&attr);
	assert_true(p.fd >= 0);
	assert_int_equal(map_create(&attr, &p.m, NULL), 0);
	p.value_size = map_user_value_size(p.m);
	p.ordered = type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
		    type == BPF_MAP_TYPE_PROG_ARRAY;
	for (i = 0; i < 8000; i++)
		one_command(&p, &s);
	if (key && !(flags & (BPF_F_RDONLY | BPF_F_WRONLY)))
		same_contents(&p);
	memset(&a, 0, sizeof(a));
	a.map_fd = (u32)p.fd;
	if (!sys(BPF_MAP_FREEZE, &a)) {
		atomic_store(&p.m->frozen, 1);
		for (i = 0; i < 200; i++)
			one_command(&p, &s);
	}
	close(p.fd);
	map_put(p.m);
}

static void arrays_do_as_the_kernels(void **state)
{
	(void)state;
	walk(BPF_MAP_TYPE_ARRAY, 4, 7, 20, 25, 0);
	walk(BPF_MAP_TYPE_ARRAY, 4, 8, 20, 25, BPF_F_RDONLY);
	walk(BPF_MAP_TYPE_ARRAY, 4, 8, 20, 25, BPF_F_WRONLY);
	walk(BPF_MAP_TYPE_ARRAY, 4, 100, 1, 3, BPF_F_MMAPABLE | BPF_F_RDONLY_PROG);
	walk(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 12, 20, 25, 0);
}

static void hashes_do_as_the_kernels(void **state)
{
	static const u32 sizes[] = { 1, 3, 4, 8, 13, 16, 40 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		walk(BPF_MAP_TYPE_HASH, sizes[i], 9, 50, 100, 0);
		walk(BPF_MAP_TYPE_HASH, sizes[i], 8, 50, 100, BPF_F_NO_PREALLOC | BPF_F_ZERO_SEED);
		walk(BPF_MAP_TYPE_PERCPU_HASH, sizes[i], 4, 50, 100, 0);
	}
	walk(BPF_MAP_TYPE_HASH, 4, 4, 1, 3, 0);
	walk(BPF_MAP_TYPE_HASH, 4, 4, 10, 30, BPF_F_RDONLY);
}

/* With room to spare: the kernel's lists for each CPU let elements go earlier than needed. */
static void lru_with_room_does_as_the_kernels(void **state)
{
	(void)state;
	walk(BPF_MAP_TYPE_LRU_HASH, 4, 8, 20000, 100, 0);
	walk(BPF_MAP_TYPE_LRU_HASH, 8, 8, 20000, 100, BPF_F_NO_COMMON_LRU);
	walk(BPF_MAP_TYPE_LRU_PERCPU_HASH, 8, 4, 20000, 100, 0);
}

static void queues_and_stacks_do_as_the_kernels(void **state)
{
	(void)state;
	walk(BPF_MAP_TYPE_QUEUE, 0, 9, 20, 1, 0);
	walk(BPF_MAP_TYPE_STACK, 0, 4, 7, 1, 0);
	walk(BPF_MAP_TYPE_QUEUE, 0, 8, 1, 1, BPF_F_RDONLY_PROG);
}

static void longest_prefix_is_the_kernels(void **state)
{
	(void)state;
	walk(BPF_MAP_TYPE_LPM_TRIE, 8, 8, 100, 1, BPF_F_NO_PREALLOC);
	walk(BPF_MAP_TYPE_LPM_TRIE, 8, 3, 1000, 1, BPF_F_NO_PREALLOC);
	walk(BPF_MAP_TYPE_LPM_TRIE, 5, 4, 1000, 1, BPF_F_NO_PREALLOC);
	walk(BPF_MAP_TYPE_LPM_TRIE, 20, 8, 300, 1, BPF_F_NO_PREALLOC);
	walk(BPF_MAP_TYPE_LPM_TRIE, 7, 2000, 300, 1, BPF_F_NO_PREALLOC);
}

static void ring_and_object_types_refuse_as_the_kernels(void **state)
{
	(void)state;
	walk(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 1, 0);
	walk(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 10, 14, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(creation_is_refused_as_the_kernel_refuses_it),
		cmocka_unit_test(arrays_do_as_the_kernels),
		cmocka_unit_test(hashes_do_as_the_kernels),
		cmocka_unit_test(lru_with_room_does_as_the_kernels),
		cmocka_unit_test(queues_and_stacks_do_as_the_kernels),
		cmocka_unit_test(longest_prefix_is_the_kernels),
		cmocka_unit_test(ring_and_object_types_refuse_as_the_kernels),
	};

	if (!kernel_there())
		return skip_all("this machine's kernel has no bpf(2)");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
