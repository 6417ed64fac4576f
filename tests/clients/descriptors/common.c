/* SPDX-License-Identifier: MIT */
/* bpf(2) in small. */
#include <linux/perf_event.h>

#include "descriptors.h"

long bpf(int cmd, union bpf_attr *attr)
{
	long ret = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return ret < 0 ? -errno : ret;
}

int make_map(uint32_t type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags)
{
	union bpf_attr a = {
		.map_type = type, .key_size = key, .value_size = value, .max_entries = entries, .map_flags = flags, .map_name = "thing"
	};

	return (int)bpf(BPF_MAP_CREATE, &a);
}

int load(uint32_t type, const struct bpf_insn *insns, uint32_t cnt)
{
	union bpf_attr a = { .prog_type = type, .insns = PTR(insns), .insn_cnt = cnt, .license = PTR("GPL"), .prog_name = "doer" };

	return (int)bpf(BPF_PROG_LOAD, &a);
}

int make_prog(void)
{
	struct bpf_insn insns[] = { MOV(0, 2), EXIT() };

	return load(BPF_PROG_TYPE_XDP, insns, 2);
}

int make_sender(int ring, int flags)
{
	struct bpf_insn insns[] = {
		INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 77),
		MAP_FD(1, ring),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -8),
		MOV(3, 8),
		MOV(4, flags),
		CALL(BPF_FUNC_ringbuf_output),
		MOV(0, 0),
		EXIT(),
	};

	return load(BPF_PROG_TYPE_XDP, insns, sizeof(insns) / sizeof(insns[0]));
}

int make_btf(void)
{
	static const char raw[] = "\x9f\xeb\x01\x00\x18\0\0\0\0\0\0\0\x10\0\0\0\x10\0\0\0\x05\0\0\0"
				  "\x01\0\0\0\0\0\0\x01\x04\0\0\0\x20\0\0\x01\0int";
	union bpf_attr a = { .btf = PTR(raw), .btf_size = sizeof(raw) };

	return (int)bpf(BPF_BTF_LOAD, &a);
}

int make_link(int *prog)
{
	struct perf_event_attr event = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(event), .config = PERF_COUNT_SW_CPU_CLOCK };
	struct bpf_insn insns[] = { MOV(0, 0), EXIT() };
	union bpf_attr a = { 0 };
	int fd;

	event.sample_period = 1000000000;
	event.disabled = 1;
	*prog = load(BPF_PROG_TYPE_PERF_EVENT, insns, 2);
	fd = (int)syscall(SYS_perf_event_open, &event, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	a.link_create.prog_fd = (uint32_t)*prog;
	a.link_create.target_fd = (uint32_t)fd;
	a.link_create.attach_type = BPF_PERF_EVENT;
	fd = (int)bpf(BPF_LINK_CREATE, &a);
	close((int)a.link_create.target_fd);
	return fd;
}

uint32_t id_of(int fd)
{
	uint32_t info[64] = { 0 };
	union bpf_attr a = { .info = { .bpf_fd = (uint32_t)fd, .info_len = 80, .info = PTR(info) } };
	long err = bpf(BPF_OBJ_GET_INFO_BY_FD, &a);

	if (err == -E2BIG) { /* BTF's is shorter */
		struct bpf_btf_info *btf = (void *)info;

		a.info.info_len = sizeof(*btf);
		return bpf(BPF_OBJ_GET_INFO_BY_FD, &a) ? 0 : btf->id;
	}
	return err ? 0 : a.info.info_len == sizeof(struct bpf_btf_info) ? ((struct bpf_btf_info *)(void *)info)->id : info[1];
}

bool exists(enum kind kind, uint32_t id)
{
	static const int commands[] = { BPF_MAP_GET_FD_BY_ID, BPF_PROG_GET_FD_BY_ID, BPF_BTF_GET_FD_BY_ID,
					BPF_LINK_GET_FD_BY_ID };
	union bpf_attr a = { .map_id = id };
	long fd = bpf(commands[kind], &a);

	if (fd >= 0)
		close((int)fd);
	return fd >= 0;
}

long update(int map, uint32_t key, uint64_t value)
{
	union bpf_attr a = { .map_fd = (uint32_t)map, .key = PTR(&key), .value = PTR(&value) };

	return bpf(BPF_MAP_UPDATE_ELEM, &a);
}

long lookup(int map, uint32_t key, uint64_t *value)
{
	union bpf_attr a = { .map_fd = (uint32_t)map, .key = PTR(&key), .value = PTR(value) };

	return bpf(BPF_MAP_LOOKUP_ELEM, &a);
}

long run(int prog)
{
	char packet[64] = "";
	union bpf_attr a = { .test = { .prog_fd = (uint32_t)prog, .data_in = PTR(packet), .data_size_in = sizeof(packet) } };
	long err = bpf(BPF_PROG_TEST_RUN, &a);

	return err ? err : (long)a.test.retval;
}

void say(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerrorname_np((int)-result) ? strerrorname_np((int)-result) : "unknown");
	else
		printf("%s: %ld\n", what, result);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 2 && !strcmp(argv[1], "use")) { /* after exec(3) */
		uint64_t v = 0;

		say("after exec, look-up", lookup(atoi(argv[2]), 1, &v));
		say("after exec, value", (long)v);
		return 0;
	}
	if (argc > 2)
		return passing(argc, argv);
	lifetimes();
	memory();
	waiting();
	texts();
	return 0;
}
