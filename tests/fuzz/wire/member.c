/* SPDX-License-Identifier: MIT */
/*
 * A member that does what members do: makes maps and programs, puts these on a function of all members,
 * calls that function, looks for others' objects and uses them. What fails, fails.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/event/attach.h"
#include "bpf/session/session.h"
#include "bpf/session/share.h"
#include "broker/broker.h"
#include "file_offset.h"
#include "member.h"
#include "sys_test.h"

enum { HASH, ARRAY, RING, PROGS, MAPS, NMAPS };

static u64 state;
static struct member_counts *counts;

static u64 rnd(u64 below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

__attribute__((noipa)) static int fuzz_probed(int a)
{
	__asm__ volatile("" : "+r"(a));
	return a + 1;
}

static void make_maps(int map[NMAPS])
{
	union bpf_attr a = { .map_type = BPF_MAP_TYPE_ARRAY_OF_MAPS, .key_size = 4, .value_size = 4, .max_entries = 4 };

	map[HASH] = make_map(sys_bpf, BPF_MAP_TYPE_HASH, 4, 8, 64, 0);
	map[ARRAY] = make_map(sys_bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 16, rnd(2) ? BPF_F_MMAPABLE : 0);
	map[RING] = make_map(sys_bpf, BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
	map[PROGS] = make_map(sys_bpf, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0);
	a.inner_map_fd = (u32)map[ARRAY];
	map[MAPS] = (int)sys_bpf(BPF_MAP_CREATE, &a, sizeof(a));
}

/* Counts in the hash, looks into the array of the array of maps, writes a record, calls the array's program. */
static int make_program(const int map[NMAPS])
{
#define MAP(dst, fd) INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)
#define CALL(n)      INSN(BPF_JMP | BPF_CALL, 0, 0, 0, n)
#define REG(dst, src) INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define ADD(dst, imm) INSN(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, imm)
	const struct bpf_insn insns[] = {
		REG(6, 1),
		INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 1),
		MAP(1, map[HASH]),
		REG(2, 10), ADD(2, -8),
		CALL(BPF_FUNC_map_lookup_elem),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2, 0),
		MOV(1, 1),
		INSN(BPF_STX | BPF_ATOMIC | BPF_DW, 0, 1, 0, BPF_ADD),
		MAP(1, map[MAPS]),
		REG(2, 10), ADD(2, -8),
		CALL(BPF_FUNC_map_lookup_elem),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 6, 0),
		REG(1, 0),
		REG(2, 10), ADD(2, -8),
		CALL(BPF_FUNC_map_lookup_elem),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1, 0),
		INSN(BPF_ST | BPF_MEM | BPF_DW, 0, 0, 0, 5),
		MAP(1, map[RING]),
		REG(2, 10), ADD(2, -8), MOV(3, 8), MOV(4, 0),
		CALL(BPF_FUNC_ringbuf_output),
		REG(1, 6),
		MAP(2, map[PROGS]),
		MOV(3, 1),
		CALL(BPF_FUNC_tail_call),
		MOV(0, 0), EXIT(),
	};

	return load_insns(sys_bpf, BPF_PROG_TYPE_KPROBE, insns, ARRAY_SIZE(insns));
}

/* Reads what its type's context begins with: numbers, or pointers to a packet. */
static int make_wild(u32 type)
{
	struct bpf_insn insns[] = { INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0), INSN(BPF_LDX | BPF_MEM | BPF_W, 3, 1, 4, 0),
				    REG(4, 2), ADD(4, 8), INSN(BPF_JMP | BPF_JGT | BPF_X, 4, 3, 1, 0),
				    INSN(BPF_ST | BPF_MEM | BPF_DW, 2, 0, 0, -1), MOV(0, 0), EXIT() };

	if (type != BPF_PROG_TYPE_XDP)
		return make_prog(sys_bpf, type);
	return load_insns(sys_bpf, type, insns, ARRAY_SIZE(insns));
}

static void set_element(int map, u32 key, u64 value)
{
	union bpf_attr a = { .map_fd = (u32)map, .key = PTR(&key), .value = PTR(&value) };

	sys_bpf(BPF_MAP_UPDATE_ELEM, &a, sizeof(a));
}

/* Others' objects by their numbers: looked into, used, let go. */
static void use_others(void)
{
	static const u32 next[] = { BPF_MAP_GET_NEXT_ID, BPF_PROG_GET_NEXT_ID, BPF_BTF_GET_NEXT_ID, BPF_LINK_GET_NEXT_ID };
	static const u32 get[] = { BPF_MAP_GET_FD_BY_ID, BPF_PROG_GET_FD_BY_ID, BPF_BTF_GET_FD_BY_ID, BPF_LINK_GET_FD_BY_ID };
	u32 kind = (u32)rnd(ARRAY_SIZE(next)), id = 0, n;
	char info[512];
	u64 value[64];
	u32 key;
	int fd;

	for (n = 0; n < 6; n++) {
		union bpf_attr a = { .start_id = id };

		if (sys_bpf(next[kind], &a, sizeof(a)))
			break;
		id = a.next_id;
		a = (union bpf_attr){ .map_id = id };
		fd = (int)sys_bpf(get[kind], &a, sizeof(a));
		if (fd < 0)
			continue;
		counts->found++;
		a = (union bpf_attr){ .info = { .bpf_fd = (u32)fd, .info_len = sizeof(info), .info = PTR(info) } };
		memset(info, 0, sizeof(info));
		sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a));
		key = (u32)rnd(4);
		a = (union bpf_attr){ .map_fd = (u32)fd, .key = PTR(&key), .value = PTR(value) };
		if (!kind && !sys_bpf(BPF_MAP_LOOKUP_ELEM, &a, sizeof(a)))
			sys_bpf(BPF_MAP_UPDATE_ELEM, &a, sizeof(a));
		close(fd);
	}
}

/* Onto the function in all members, or wherever; hits; off again. */
static void attach(int prog, bool wild)
{
	static const char *const names[] = { "syscalls:sys_enter_getppid", "syscalls:sys_exit_getppid", "sys_enter",
					     "raw_syscalls:sys_exit", "__x64_sys_getppid", "sched_process_fork", "", NULL };
	const struct sys_share_ops *share = sys_shared();
	struct prog *p = sys_fd_prog(prog);
	enum sys_attach_kind kind = SYS_ATTACH_UPROBE;
	struct text why = { 0 };
	char exe[512] = "";
	void *event = NULL;
	int i;
	struct sys_attach what = { .p = p, .name = exe, .pid = -1, .cpu = -1 };

	if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0)
		what.offset = file_offset((const void *)fuzz_probed);
	if (wild) {
		kind = (enum sys_attach_kind)rnd(SYS_ATTACH_KINDS);
		what.name = kind == SYS_ATTACH_UPROBE || kind == SYS_ATTACH_URETPROBE ? exe : names[rnd(ARRAY_SIZE(names))];
		what.period = 1ull << rnd(40);
		what.offset = rnd(2) ? what.offset : what.offset + rnd(64) - 32;
	}
	if (share && p && !share->attach(kind, &what, &event, &why)) {
		counts->attached++;
		for (i = 0; i < 200; i++)
			fuzz_probed(i) > 0 ? getppid() : 0;
		share->detach(event);
	}
	text_free(&why);
	if (p)
		sys_prog_put(p);
}

void member_run(const char *dir, u64 seed, _Atomic bool *stop, struct member_counts *c)
{
	static const u32 types[] = { BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_TRACEPOINT, BPF_PROG_TYPE_RAW_TRACEPOINT,
				     BPF_PROG_TYPE_PERF_EVENT, BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SOCKET_FILTER };
	int map[NMAPS], prog, tail, wild, i;
	u64 value = 0;
	u32 one = 1;

	state = seed;
	counts = c;
	sys_session_enter(dir);
	while (!*stop) {
		broker_join();
		make_maps(map);
		prog = make_program(map);
		tail = make_prog(sys_bpf, BPF_PROG_TYPE_KPROBE);
		set_element(map[HASH], 1, 0);
		set_element(map[PROGS], 1, (u32)tail);
		set_element(map[MAPS], 1, (u32)map[ARRAY]);
		if (prog >= 0)
			attach(prog, !rnd(4));
		wild = make_wild(types[rnd(ARRAY_SIZE(types))]);
		if (wild >= 0) {
			attach(wild, true);
			close(wild);
		}
		for (i = 0; i < 1000; i++)
			fuzz_probed(i);
		use_others();
		{
			union bpf_attr a = { .map_fd = (u32)map[HASH], .key = PTR(&one), .value = PTR(&value) };

			if (map[HASH] >= 0 && !sys_bpf(BPF_MAP_LOOKUP_ELEM, &a, sizeof(a)))
				c->hits += value > 0;
		}
		for (i = 0; i < NMAPS; i++)
			if (map[i] >= 0)
				close(map[i]);
		if (prog >= 0)
			close(prog);
		if (tail >= 0)
			close(tail);
		c->rounds++;
	}
}
