/* SPDX-License-Identifier: MIT */
/*
 * [PIN]: a client that knows nothing of Ferry: maps and a program by the bare system call, with its
 * log. With a name, the last map is pinned there.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static long call(enum bpf_cmd cmd, union bpf_attr *attr)
{
	return syscall(__NR_bpf, cmd, attr, sizeof(*attr));
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int create(enum bpf_map_type type, unsigned int key, unsigned int value, unsigned int max)
{
	union bpf_attr attr = {
		.map_type = type, .key_size = key, .value_size = value, .max_entries = max
	};
	int fd = (int)call(BPF_MAP_CREATE, &attr);

	if (fd < 0)
		die("BPF_MAP_CREATE");
	return fd;
}

static long elem(enum bpf_cmd cmd, int fd, const void *key, const void *value, uint64_t flags)
{
	union bpf_attr attr = { .map_fd = (unsigned int)fd,
				.key = (uint64_t)(uintptr_t)key,
				.value = (uint64_t)(uintptr_t)value,
				.flags = flags };

	return call(cmd, &attr);
}

/* An array of numbers: squares in, squares out, and one index too far. */
static void array(void)
{
	int fd = create(BPF_MAP_TYPE_ARRAY, 4, 4, 256), value;
	unsigned int i;

	for (i = 0; i < 20; i++) {
		value = (int)(i * i);
		if (elem(BPF_MAP_UPDATE_ELEM, fd, &i, &value, BPF_ANY) < 0)
			die("BPF_MAP_UPDATE_ELEM");
	}
	for (i = 0; i < 20; i += 5) {
		if (elem(BPF_MAP_LOOKUP_ELEM, fd, &i, &value, 0) < 0)
			die("BPF_MAP_LOOKUP_ELEM");
		printf("array %u %d\n", i, value);
	}
	i = 256;
	printf("array 256 %s\n",
	       elem(BPF_MAP_LOOKUP_ELEM, fd, &i, &value, 0) < 0 ? strerror(errno) : "found");
}

/* A hash from a name to pointers to text of this process, walked key by key. */
static void hash(const char *pin)
{
	static const char *const words[] = { "zero", "one", "two", "three" };
	int fd = create(BPF_MAP_TYPE_HASH, 8, sizeof(char *), 256), n = 0;
	uint64_t key, next, sum = 0;
	const char *word;

	for (key = 1; key < 4; key++)
		if (elem(BPF_MAP_UPDATE_ELEM, fd, &key, &words[key], BPF_NOEXIST) < 0)
			die("BPF_MAP_UPDATE_ELEM");
	key = 2;
	if (elem(BPF_MAP_UPDATE_ELEM, fd, &key, &words[2], BPF_NOEXIST) == 0 || errno != EEXIST)
		die("BPF_NOEXIST");
	key = 0;
	while (elem(BPF_MAP_GET_NEXT_KEY, fd, &key, &next, 0) == 0) {
		n++;
		sum += next;
		key = next;
	}
	key = 3;
	if (elem(BPF_MAP_LOOKUP_ELEM, fd, &key, &word, 0) < 0)
		die("BPF_MAP_LOOKUP_ELEM");
	printf("hash %d %d %s\n", n, (int)sum, word);
	if (elem(BPF_MAP_DELETE_ELEM, fd, &key, NULL, 0) < 0)
		die("BPF_MAP_DELETE_ELEM");
	if (pin) {
		union bpf_attr attr = { .pathname = (uint64_t)(uintptr_t)pin, .bpf_fd = (unsigned int)fd };

		if (call(BPF_OBJ_PIN, &attr) < 0)
			die("BPF_OBJ_PIN");
	}
	printf("hash 3 %s\n",
	       elem(BPF_MAP_LOOKUP_ELEM, fd, &key, &word, 0) < 0 ? strerror(errno) : "found");
}

static void program(void)
{
	static char log[65536];
	struct bpf_insn insns[] = { { 0xb7, 0, 0, 0, 2 }, { 0x95, 0, 0, 0, 0 } };
	union bpf_attr attr = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
				.insns = (uint64_t)(uintptr_t)insns,
				.insn_cnt = 2,
				.license = (uint64_t)(uintptr_t) "GPL",
				.log_buf = (uint64_t)(uintptr_t)log,
				.log_size = sizeof(log),
				.log_level = 2 };
	int fd = (int)call(BPF_PROG_LOAD, &attr);

	if (fd < 0)
		die("BPF_PROG_LOAD");
	printf("program %s\n", strstr(log, "(b7) r0 = 2") && strstr(log, "exit") ? "with log" : log);
	insns[0].dst_reg = 11;
	log[0] = '\0';
	fd = (int)call(BPF_PROG_LOAD, &attr);
	printf("bad program %s\n", fd < 0 && log[0] ? strerror(errno) : "loaded");
}

int main(int argc, char **argv)
{
	array();
	hash(argc > 1 ? argv[1] : NULL);
	program();
	return 0;
}
