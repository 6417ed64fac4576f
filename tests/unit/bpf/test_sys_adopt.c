/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that come from another process are maps, programs and BTF here too, and files that only
 * look like them do no harm.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/session/session.h"
#include "bpf/session/share.h"
#include "bpf/sys_int.h"
#include "sys_test.h"

static const char *self;

static long lookup(int fd, u32 key, u64 *value)
{
	union bpf_attr a = { .map_fd = fd, .key = PTR(&key), .value = PTR(value) };

	return sys_bpf(BPF_MAP_LOOKUP_ELEM, &a, sizeof(a));
}

static long update(int fd, u32 key, u64 value)
{
	union bpf_attr a = { .map_fd = fd, .key = PTR(&key), .value = PTR(&value) };

	return sys_bpf(BPF_MAP_UPDATE_ELEM, &a, sizeof(a));
}

/* Returns element 0 of the map. */
static int reader_of(int map)
{
	struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_VALUE, 0, map),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 0, 1, 0, 0),
		EXIT(),
	};

	return load_insns(sys_bpf, BPF_PROG_TYPE_XDP, insns, ARRAY_SIZE(insns));
}

static long run(int prog, u32 *ret)
{
	char packet[64] = "";
	union bpf_attr a = { .test = { .prog_fd = prog, .data_in = PTR(packet), .data_size_in = 64 } };
	long err = sys_bpf(BPF_PROG_TEST_RUN, &a, sizeof(a.test));

	*ret = a.test.retval;
	return err;
}

/* The other process: "child ARRAY HASH PROG", descriptors it never made. Its exit code says what failed. */
static int child(char **argv)
{
	int array = atoi(argv[0]), hash = atoi(argv[1]), prog = atoi(argv[2]);
	u32 ret = 0;
	u64 v = 0;

	if (lookup(array, 0, &v) || v != 41)
		return 1;
	if (lookup(hash, 7, &v) || v != 700)
		return 2;
	if (update(hash, 8, 800) || update(array, 0, 42))
		return 3;
	if (run(prog, &ret) || ret != 42)
		return 4;
	if (lookup(prog, 0, &v) != -EINVAL || lookup(999, 0, &v) != -EBADF)
		return 5;
	return 0;
}

static void descriptors_survive_exec(void **state)
{
	int array = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0), status, prog;
	int hash = make_map(sys_bpf, BPF_MAP_TYPE_HASH, 4, 8, 16, 0);
	char a[12], h[12], p[12];
	u64 v = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(update(array, 0, 41), 0);
	assert_int_equal(update(hash, 7, 700), 0);
	prog = reader_of(array);
	assert_true(prog >= 0);
	snprintf(a, sizeof(a), "%d", array);
	snprintf(h, sizeof(h), "%d", hash);
	snprintf(p, sizeof(p), "%d", prog);
	pid = fork();
	if (!pid) {
		fcntl(array, F_SETFD, 0);
		fcntl(hash, F_SETFD, 0);
		fcntl(prog, F_SETFD, 0);
		execl("/proc/self/exe", self, "child", a, h, p, NULL);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* The memory is one. */
	assert_int_equal(lookup(hash, 8, &v), 0);
	assert_int_equal(v, 800);
	close(prog);
	close(array);
	close(hash);
}

/* ---- files that are made up ----------------------------------------------------------------- */

static u64 seed = 88172645463325252ull;

static u32 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (u32)(seed >> 16);
}

static int file_of(const u8 *data, size_t size, bool sealed)
{
	int fd = memfd_create("made-up", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, size), size);
	if (sealed)
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	return fd;
}

static size_t bytes_of(int fd, u8 *buf, size_t room)
{
	ssize_t n = pread(fd, buf, room, 0);

	assert_true(n > 0);
	return n;
}

static void broken(const u8 *good, size_t size)
{
	static const u32 extremes[] = { 0, 1, 2, 255, 4096, 0x7fffffff, 0x80000000, 0xffffffff };
	u8 *bad = malloc(size);
	u32 changes = rnd() % 4 + 1, ret;
	u64 v[1024];
	int fd;

	memcpy(bad, good, size);
	while (changes--) {
		/* Mostly heads, which are at the start of programs and at the end of maps. */
		u32 at = rnd() % 3 ? rnd() % 256 : rnd() % size;

		at = rnd() % 2 ? size - 4096 + at : at;
		at = at % (size - 4) & ~3u;
		memcpy(bad + at, &extremes[rnd() % ARRAY_SIZE(extremes)], 4);
	}
	fd = file_of(bad, rnd() % 8 ? size : rnd() % size, rnd() % 8);
	lookup(fd, 0, v);
	update(fd, 0, 1);
	run(fd, &ret);
	close(fd);
	sys_fd_sweep();
	free(bad);
}

static void broken_files_do_no_harm(void **state)
{
	int map = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	int hash = make_map(sys_bpf, BPF_MAP_TYPE_HASH, 4, 8, 4, 0);
	int fds[] = { map, hash, reader_of(map), make_btf(sys_bpf) };
	static u8 good[1 << 16];
	u32 i, n;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		size_t size = bytes_of(fds[i], good, sizeof(good));

		for (n = 0; n < 400; n++)
			broken(good, size < 4200 ? (size < 64 ? 64 : size) : size);
	}
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

/* Without the seals its maker could cut the file under the mapping. */
static void files_that_can_shrink_are_no_maps(void **state)
{
	int map = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0), fd;
	static u8 good[1 << 16];
	size_t size = bytes_of(map, good, sizeof(good));
	u64 v;

	(void)state;
	fd = file_of(good, size, false);
	assert_int_equal(lookup(fd, 0, &v), -EINVAL);
	close(fd);
	fd = file_of(good, size, true);
	assert_int_equal(lookup(fd, 0, &v), 0);
	close(fd);
	close(map);
}

static struct sys_obj *liar_gives;

static struct sys_obj *by_id_of_a_liar(u32 kind, u32 id)
{
	(void)kind, (void)id;
	sys_hold(liar_gives);
	return liar_gives;
}

static void publish_nothing(struct sys_obj *o)
{
	(void)o;
}

static void drop_nothing(u64 dev, u64 ino)
{
	(void)dev, (void)ino;
}

/* Else a program's memory is used as a map's. */
static void another_kind_than_was_asked_for_is_nothing(void **state)
{
	static const struct sys_share_ops ops = { .publish = publish_nothing, .drop = drop_nothing,
						  .by_id = by_id_of_a_liar };
	int prog = make_prog(sys_bpf, BPF_PROG_TYPE_XDP);
	union bpf_attr a = { .map_id = 12345 };
	char dir[SESSION_DIR_MAX];
	u32 refs;

	(void)state;
	assert_int_equal(sys_session_make(dir), 0);
	assert_int_equal(sys_session_join(dir), 0);
	sys_share(&ops);
	assert_non_null(sys_shared());
	liar_gives = sys_fd_get(prog, SYS_PROG);
	assert_non_null(liar_gives);
	refs = liar_gives->refs;
	assert_null(sys_any_get(SYS_MAP, 12345));
	assert_int_equal(sys_bpf(BPF_MAP_GET_FD_BY_ID, &a, sizeof(a)), -ENOENT);
	assert_int_equal(liar_gives->refs, refs);
	assert_ptr_equal(sys_any_get(SYS_PROG, 12345), liar_gives);
	sys_put(liar_gives);
	sys_put(liar_gives);
	sys_share(NULL);
	close(prog);
	sys_session_join(NULL);
	sys_session_remove(dir);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors_survive_exec),
		cmocka_unit_test(files_that_can_shrink_are_no_maps),
		cmocka_unit_test(broken_files_do_no_harm),
		cmocka_unit_test(another_kind_than_was_asked_for_is_nothing),
	};

	if (argc == 5 && !strcmp(argv[1], "child"))
		return child(argv + 2);
	self = argv[0];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
