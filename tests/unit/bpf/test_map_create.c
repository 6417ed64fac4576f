/* SPDX-License-Identifier: MIT */
/*
 * BPF_MAP_CREATE with random attrs of every type that there is here, against the machine's kernel: the
 * same verdict; what is made says the same of itself, and is mapped into memory by the same rules.
 * Values with a bpf_spin_lock under BPF_F_LOCK.
 */
#include <bpf/btf.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "map/map.h"
#include "sys_test.h"

enum { FERRY, KERNEL, SIDES };

static const bpf_fn call[SIDES] = { sys_bpf, kernel_bpf };
static u32 seed = 20261121, failures;

static u32 rnd(u32 below)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % below;
}

#define PICK(list) ((list)[rnd(ARRAY_SIZE(list))])

/* What attrs refer to, made by each side. */
static struct {
	int btf, inner[4]; /* array, hash, map of maps, program */
} world[SIDES];

static void make_world(int who)
{
	union bpf_attr a = { .map_type = BPF_MAP_TYPE_ARRAY_OF_MAPS, .key_size = 4, .value_size = 4, .max_entries = 2 };

	world[who].btf = make_btf(call[who]);
	world[who].inner[0] = make_map(call[who], BPF_MAP_TYPE_ARRAY, 4, 8, 2, 0);
	world[who].inner[1] = make_map(call[who], BPF_MAP_TYPE_HASH, 4, 8, 2, 0);
	a.inner_map_fd = (u32)world[who].inner[0];
	world[who].inner[2] = (int)call[who](BPF_MAP_CREATE, &a, sizeof(a));
	world[who].inner[3] = make_prog(call[who], BPF_PROG_TYPE_SOCKET_FILTER);
}

static void end_world(int who)
{
	close(world[who].btf);
	for (int i = 0; i < 4; i++)
		close(world[who].inner[i]);
}

/* ---- attrs ----------------------------------------------------------------------------------- */

static bool is_made_here(u32 type)
{
	return map_ops_of(type) != NULL;
}

/* Sizes for which memory is never the reason. */
static void random_sizes(union bpf_attr *a)
{
	static const u32 keys[] = { 0, 1, 4, 4, 4, 5, 8, 8, 16, 260, 261, 1000 };
	static const u32 values[] = { 0, 1, 4, 4, 4, 8, 8, 12, 32, 100, 32760, 32769 };
	static const u32 entries[] = { 0, 1, 1, 2, 7, 100, 4096, 4097, 8192 };
	bool rings = a->map_type == BPF_MAP_TYPE_RINGBUF || a->map_type == BPF_MAP_TYPE_USER_RINGBUF;
	bool keyless = rings || a->map_type == BPF_MAP_TYPE_QUEUE || a->map_type == BPF_MAP_TYPE_STACK ||
		       a->map_type == BPF_MAP_TYPE_BLOOM_FILTER;

	a->key_size = keyless && rnd(4) ? 0 : PICK(keys);
	a->value_size = rings && rnd(4) ? 0 : PICK(values);
	a->max_entries = PICK(entries);
	if (a->value_size > 4096 && a->max_entries > 7)
		a->max_entries = 7;
	if (a->map_type == BPF_MAP_TYPE_TASK_STORAGE && rnd(4)) {
		a->max_entries = 0;
		a->key_size = 4;
	}
	if (a->map_type == BPF_MAP_TYPE_LPM_TRIE && rnd(2))
		a->key_size = 8;
}

static void random_attr(union bpf_attr *a)
{
	static const u32 nodes[] = { 0, 0, 1, 1000, ~0u };
	static const char names[][17] = { "fine_1.x", "a-b", "fifteen_letters", "sixteen_letters_" };

	memset(a, 0, sizeof(*a));
	do {
		a->map_type = rnd(BPF_MAP_TYPE_USER_RINGBUF + 1);
	} while (!is_made_here(a->map_type));
	random_sizes(a);
	if (rnd(2))
		a->map_flags = 1u << rnd(14); /* all of Linux 6.1 */
	if (!rnd(3))
		a->map_flags |= 1u << rnd(14);
	if (!rnd(40))
		a->map_flags |= 1u << (20 + rnd(12)); /* none of any */
	if (a->map_type == BPF_MAP_TYPE_LPM_TRIE || a->map_type == BPF_MAP_TYPE_TASK_STORAGE)
		a->map_flags |= rnd(4) ? BPF_F_NO_PREALLOC : 0;
	if (!rnd(8))
		a->numa_node = PICK(nodes);
	if (!rnd(8))
		a->map_extra = rnd(2) ? rnd(20) : 1ull << rnd(64);
	if (!rnd(6))
		memcpy(a->map_name, PICK(names), 16);
	/* An int of the kernel's: no value of a table. map_ifindex is left out: no device runs programs here. */
	if (!rnd(30))
		a->btf_vmlinux_value_type_id = 1 + rnd(20);
	if (!rnd(4) || a->map_type == BPF_MAP_TYPE_TASK_STORAGE) {
		a->btf_fd = 1;
		a->btf_key_type_id = rnd(3) ? 1 : rnd(6);
		a->btf_value_type_id = !rnd(3) ? rnd(6) : a->value_size == 4 ? 1 : 4;
	}
	if (map_is_outer(a->map_type) || !rnd(20))
		a->inner_map_fd = rnd(3) ? 1 : 1 + rnd(6);
}

/* The same with this side's descriptors. */
static union bpf_attr for_side(const union bpf_attr *a, int who)
{
	union bpf_attr s = *a;

	if (s.btf_fd)
		s.btf_fd = (u32)world[who].btf;
	if (s.inner_map_fd)
		s.inner_map_fd = a->inner_map_fd <= 4 ? (u32)world[who].inner[a->inner_map_fd - 1]
						      : a->inner_map_fd == 5 ? 0 : ~0u;
	return s;
}

static void show(const char *what, const union bpf_attr *a, long mine, long theirs)
{
	if (failures++ < 12)
		print_message("# %s: %s key %u value %u entries %u flags %#x inner %d node %u name '%.16s' extra %#llx "
			      "btf %u:%u,%u if %u: %ld, the kernel says %ld\n",
			      what, map_type_name(a->map_type), a->key_size, a->value_size, a->max_entries,
			      a->map_flags, (int)a->inner_map_fd, a->numa_node, a->map_name,
			      (unsigned long long)a->map_extra, a->btf_fd, a->btf_key_type_id,
			      a->btf_value_type_id, a->map_ifindex, mine, theirs);
}

/* ---- what is made ---------------------------------------------------------------------------- */

static void same_info(const union bpf_attr *a, const int fds[SIDES])
{
	struct bpf_map_info info[SIDES];
	int who;

	for (who = 0; who < SIDES; who++) {
		union bpf_attr g = { .info = { .bpf_fd = (u32)fds[who], .info_len = sizeof(info[0]),
					       .info = PTR(&info[who]) } };

		memset(&info[who], 0, sizeof(info[0]));
		assert_int_equal(call[who](BPF_OBJ_GET_INFO_BY_FD, &g, sizeof(g.info)), 0);
		info[who].id = 0;
		info[who].btf_id = !!info[who].btf_id;
	}
	if (memcmp(&info[0], &info[1], sizeof(info[0])))
		show("info", a, info[0].map_flags, info[1].map_flags);
}

static int mmap_errno(int fd, size_t len, int prot, int flags, off_t off)
{
	void *at = mmap(NULL, len, prot, flags, fd, off);

	if (at == MAP_FAILED)
		return errno;
	munmap(at, len);
	return 0;
}

static void same_mmap(const union bpf_attr *a, const int fds[SIDES])
{
	static const size_t lens[] = { 1, 4096, 4096, 8192, 3 * 4096, 4 * 4096, 5 * 4096, 1 << 20 };
	static const int prots[] = { PROT_READ, PROT_READ | PROT_WRITE, PROT_WRITE, PROT_NONE };
	static const off_t offs[] = { 0, 0, 4096, 4096, 8192, 1 << 20 };
	int i;

	for (i = 0; i < 6; i++) {
		size_t len = PICK(lens);
		int prot = PICK(prots), flags = rnd(8) ? MAP_SHARED : MAP_PRIVATE;
		off_t off = PICK(offs);
		int mine = mmap_errno(fds[FERRY], len, prot, flags, off);
		int theirs = mmap_errno(fds[KERNEL], len, prot, flags, off);

		if (mine == theirs)
			continue;
		show("mmap", a, mine, theirs);
		if (failures <= 12)
			print_message("#   length %zu prot %d flags %d offset %ld\n", len, prot, flags, (long)off);
	}
}

static void random_attrs_make_what_the_kernel_makes(void **state)
{
	u32 i, made = 0;

	(void)state;
	failures = 0;
	make_world(FERRY);
	make_world(KERNEL);
	for (i = 0; i < 20000; i++) {
		union bpf_attr a, s;
		int fds[SIDES], who;

		random_attr(&a);
		for (who = 0; who < SIDES; who++) {
			s = for_side(&a, who);
			fds[who] = (int)call[who](BPF_MAP_CREATE, &s, END_OF(map_extra));
		}
		if ((fds[0] < 0 ? fds[0] : 0) != (fds[1] < 0 ? fds[1] : 0))
			show("create", &a, fds[0], fds[1]);
		if (fds[0] >= 0 && fds[1] >= 0) {
			made++;
			same_info(&a, fds);
			same_mmap(&a, fds);
		}
		close(fds[0]);
		close(fds[1]);
	}
	print_message("# %u made\n", made);
	assert_true(made > 500);
	end_world(FERRY);
	end_world(KERNEL);
	assert_int_equal(failures, 0);
}

/* ---- values with a lock ---------------------------------------------------------------------- */

struct locked {
	u32 lock, data[3];
};

static int locked_btf(bpf_fn bpf)
{
	struct btf *btf = btf__new_empty();
	union bpf_attr a = { 0 };
	const void *raw;
	u32 size;
	int fd;

	btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	btf__add_struct(btf, "bpf_spin_lock", 4);
	btf__add_field(btf, "val", 1, 0, 0);
	btf__add_struct(btf, "value", 16);
	btf__add_field(btf, "lock", 2, 0, 0);
	btf__add_field(btf, "a", 1, 32, 0);
	btf__add_field(btf, "b", 1, 64, 0);
	btf__add_field(btf, "c", 1, 96, 0);
	raw = btf__raw_data(btf, &size);
	a.btf = PTR(raw);
	a.btf_size = size;
	fd = (int)bpf(BPF_BTF_LOAD, &a, sizeof(a));
	btf__free(btf);
	return fd;
}

static void commands_with_locks(u32 type)
{
	static const int commands[] = { BPF_MAP_UPDATE_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_LOOKUP_ELEM,
					BPF_MAP_DELETE_ELEM, BPF_MAP_LOOKUP_AND_DELETE_ELEM };
	static const u64 flags[] = { 0, 1, 2, BPF_F_LOCK, BPF_F_LOCK, BPF_F_LOCK | 1, BPF_F_LOCK | 2, 8, 12 };
	int maps[SIDES], who, i;

	for (who = 0; who < SIDES; who++) {
		union bpf_attr a = { .map_type = type, .key_size = 4, .value_size = 16, .max_entries = 5,
				     .btf_key_type_id = 1, .btf_value_type_id = 3 };

		a.btf_fd = (u32)locked_btf(call[who]);
		maps[who] = (int)call[who](BPF_MAP_CREATE, &a, sizeof(a));
		assert_true(maps[who] >= 0);
		close((int)a.btf_fd);
	}
	for (i = 0; i < 3000; i++) {
		struct locked v[SIDES];
		u32 key = rnd(7);
		int cmd = PICK(commands);
		u64 f = PICK(flags);
		long got[SIDES];

		v[0] = (struct locked){ rnd(2) ? 0 : rnd(9), { rnd(9), rnd(9), rnd(9) } };
		v[1] = v[0];
		for (who = 0; who < SIDES; who++) {
			union bpf_attr a = { .map_fd = (u32)maps[who], .key = PTR(&key) };

			if (cmd != BPF_MAP_DELETE_ELEM) {
				a.value = PTR(&v[who]);
				a.flags = f;
			}
			got[who] = call[who](cmd, &a, sizeof(a));
		}
		if (got[0] != got[1] || (!got[0] && memcmp(&v[0], &v[1], sizeof(v[0])))) {
			failures++;
			print_message("# %s command %d flags %llu: %ld, the kernel says %ld; lock %u and %u\n",
				      map_type_name(type), cmd, (unsigned long long)f, got[0], got[1], v[0].lock,
				      v[1].lock);
		}
	}
	close(maps[0]);
	close(maps[1]);
}

static void values_with_locks_are_the_kernels(void **state)
{
	(void)state;
	failures = 0;
	commands_with_locks(BPF_MAP_TYPE_HASH);
	commands_with_locks(BPF_MAP_TYPE_ARRAY);
	assert_int_equal(failures, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_attrs_make_what_the_kernel_makes),
		cmocka_unit_test(values_with_locks_are_the_kernels),
	};

	if (!kernel_works())
		return skip_all("this machine's kernel has no bpf(2)");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
