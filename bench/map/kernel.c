/* SPDX-License-Identifier: MIT */
/* The machine's bpf(2): maps, and programs that loop over map operations. */
#include <dlfcn.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../tests/kernel_bpf.h"
#include "kernel.h"

static int sys(int cmd, union bpf_attr *attr)
{
	return (int)raw_bpf(cmd, attr, sizeof(*attr));
}

int kernel_map(u32 type, u32 key_size, u32 value_size, u32 entries)
{
	return kernel_map_flags(type, key_size, value_size, entries, 0);
}

int kernel_map_flags(u32 type, u32 key_size, u32 value_size, u32 entries, u32 flags)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_type = type;
	a.key_size = key_size;
	a.value_size = value_size;
	a.max_entries = entries;
	a.map_flags = flags;
	return sys(BPF_MAP_CREATE, &a);
}

static int elem(int cmd, int map, const void *key, const void *value, u64 flags)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_fd = (u32)map;
	a.key = (u64)(uintptr_t)key;
	a.value = (u64)(uintptr_t)value;
	a.flags = flags;
	return sys(cmd, &a);
}

int kernel_lookup(int map, const void *key, void *value)
{
	return elem(BPF_MAP_LOOKUP_ELEM, map, key, value, 0);
}

int kernel_update(int map, const void *key, const void *value, u64 flags)
{
	return elem(BPF_MAP_UPDATE_ELEM, map, key, value, flags);
}

int kernel_fill(int map, const void *keys, const void *values, u32 n)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.batch.map_fd = (u32)map;
	a.batch.keys = (u64)(uintptr_t)keys;
	a.batch.values = (u64)(uintptr_t)values;
	a.batch.count = n;
	return sys(BPF_MAP_UPDATE_BATCH, &a);
}

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){                                                                        \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (s16)(o), .imm = (i) })
#define MOV(d, s)      INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOVI(d, i)     INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ALUI(op, d, i) INSN(BPF_ALU64 | (op) | BPF_K, d, 0, 0, i)
#define CALL(n)        INSN(BPF_JMP | BPF_CALL, 0, 0, 0, n)

static u32 put_map(struct bpf_insn *p, u32 n, int map)
{
	p[n++] = INSN(BPF_LD | BPF_IMM | BPF_DW, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map);
	p[n++] = INSN(0, 0, 0, 0, 0);
	return n;
}

/* Another random number of 32 bits in `to`, from the state in r6. */
static u32 put_random(struct bpf_insn *p, u32 n, u8 to)
{
	p[n++] = ALUI(BPF_MUL, BPF_REG_6, 1103515245);
	p[n++] = ALUI(BPF_ADD, BPF_REG_6, 12345);
	p[n++] = MOV(to, BPF_REG_6);
	p[n++] = ALUI(BPF_RSH, to, 32);
	return n;
}

/* r1 *= r2, both fractions of 2^32: the product of some is near 0 more often than not. */
static u32 put_fraction(struct bpf_insn *p, u32 n)
{
	p[n++] = INSN(BPF_ALU64 | BPF_MUL | BPF_X, BPF_REG_1, BPF_REG_2, 0, 0);
	p[n++] = ALUI(BPF_RSH, BPF_REG_1, 32);
	return n;
}

/* The next key to r10-64. */
static u32 put_key(struct bpf_insn *p, u32 n, enum kernel_op op, u32 key_size, u32 entries)
{
	n = put_random(p, n, BPF_REG_1);
	if (op == KERNEL_LPM) {
		p[n++] = INSN(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, -64, 32);
		p[n++] = INSN(BPF_STX | BPF_MEM | BPF_W, BPF_REG_10, BPF_REG_1, -60, 0);
		return n;
	}
	if (op == KERNEL_LPM6) {
		p[n++] = ALUI(BPF_AND, BPF_REG_1, (s32)entries - 1);
		p[n++] = ALUI(BPF_LSH, BPF_REG_1, 16);
		p[n++] = ALUI(BPF_OR, BPF_REG_1, 0x0120);
		p[n++] = INSN(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, -64, 128);
		p[n++] = INSN(BPF_STX | BPF_MEM | BPF_W, BPF_REG_10, BPF_REG_1, -60, 0);
		n = put_random(p, n, BPF_REG_1);
		p[n++] = ALUI(BPF_AND, BPF_REG_1, 0x03030f0f);
		p[n++] = INSN(BPF_STX | BPF_MEM | BPF_W, BPF_REG_10, BPF_REG_1, -56, 0);
		p[n++] = INSN(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, -52, 0);
		p[n++] = INSN(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, -48, 0);
		return n;
	}
	if (op == KERNEL_CACHE) {
		n = put_fraction(p, put_random(p, n, BPF_REG_2));
		n = put_fraction(p, put_random(p, n, BPF_REG_2));
	}
	p[n++] = ALUI(BPF_MUL, BPF_REG_1, (s32)entries);
	p[n++] = ALUI(BPF_RSH, BPF_REG_1, 32);
	p[n++] = INSN(BPF_STX | BPF_MEM | (key_size == 4 ? BPF_W : BPF_DW), BPF_REG_10, BPF_REG_1,
		      -64, 0);
	return n;
}

/* Adds the key at r10-64 with the value at r10-72. */
static u32 put_update(struct bpf_insn *p, u32 n, int map)
{
	n = put_map(p, n, map);
	p[n++] = MOV(BPF_REG_2, BPF_REG_10);
	p[n++] = ALUI(BPF_ADD, BPF_REG_2, -64);
	p[n++] = MOV(BPF_REG_3, BPF_REG_10);
	p[n++] = ALUI(BPF_ADD, BPF_REG_3, -72);
	p[n++] = MOVI(BPF_REG_4, 0);
	p[n++] = CALL(BPF_FUNC_map_update_elem);
	return n;
}

/* 16 bytes from r10-72 to this CPU's buffer; r9 is the context. */
static u32 put_perf(struct bpf_insn *p, u32 n, int map)
{
	n = put_map(p, n, map);
	p[n++] = MOV(BPF_REG_2, BPF_REG_1);
	p[n++] = MOV(BPF_REG_1, BPF_REG_9);
	p[n++] = INSN(BPF_ALU | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, -1);
	p[n++] = MOV(BPF_REG_4, BPF_REG_10);
	p[n++] = ALUI(BPF_ADD, BPF_REG_4, -72);
	p[n++] = MOVI(BPF_REG_5, 16);
	p[n++] = CALL(BPF_FUNC_perf_event_output);
	return n;
}

/* What one turn of the loop does with the key at r10-64 and the value at r10-72. */
static u32 put_op(struct bpf_insn *p, u32 n, enum kernel_op op, int map)
{
	u32 jump;

	if (op == KERNEL_RINGBUF_TIME || op == KERNEL_PERF_TIME) {
		p[n++] = CALL(BPF_FUNC_ktime_get_ns);
		p[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, BPF_REG_10, BPF_REG_0, -72, 0);
	}
	if (op == KERNEL_PERF || op == KERNEL_PERF_TIME)
		return put_perf(p, n, map);
	n = put_map(p, n, map);
	p[n++] = MOV(BPF_REG_2, BPF_REG_10);
	p[n++] = ALUI(BPF_ADD, BPF_REG_2, op == KERNEL_RINGBUF_TIME ? -72 : -64);
	switch (op) {
	case KERNEL_CACHE:
		p[n++] = CALL(BPF_FUNC_map_lookup_elem);
		jump = n++;
		p[n++] = ALUI(BPF_ADD, BPF_REG_8, 1);
		n = put_update(p, n, map);
		p[jump] = INSN(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, (s32)(n - jump) - 1, 0);
		break;
	case KERNEL_LPM:
	case KERNEL_LPM6:
	case KERNEL_LOOKUP:
		p[n++] = CALL(BPF_FUNC_map_lookup_elem);
		p[n++] = INSN(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, 2, 0);
		p[n++] = INSN(BPF_LDX | BPF_MEM | BPF_DW, BPF_REG_1, BPF_REG_0, 0, 0);
		p[n++] = INSN(BPF_ALU64 | BPF_ADD | BPF_X, BPF_REG_8, BPF_REG_1, 0, 0);
		break;
	case KERNEL_UPDATE:
		p[n++] = MOV(BPF_REG_3, BPF_REG_10);
		p[n++] = ALUI(BPF_ADD, BPF_REG_3, -72);
		p[n++] = MOVI(BPF_REG_4, 0);
		p[n++] = CALL(BPF_FUNC_map_update_elem);
		break;
	default:
		p[n++] = MOVI(BPF_REG_3, 16);
		p[n++] = MOVI(BPF_REG_4, op == KERNEL_RINGBUF_QUIET ? BPF_RB_NO_WAKEUP : 0);
		p[n++] = CALL(BPF_FUNC_ringbuf_output);
		break;
	}
	return n;
}

int kernel_prog(enum kernel_op op, int map, u32 key_size, u32 entries)
{
	return kernel_prog_loop(op, map, key_size, entries, KERNEL_LOOP);
}

int kernel_prog_loop(enum kernel_op op, int map, u32 key_size, u32 entries, u32 turns)
{
	struct bpf_insn p[80];
	union bpf_attr a;
	u32 n = 0, loop;
	int i;

	p[n++] = MOV(BPF_REG_9, BPF_REG_1);
	p[n++] = CALL(BPF_FUNC_get_prandom_u32);
	p[n++] = MOV(BPF_REG_6, BPF_REG_0);
	p[n++] = MOVI(BPF_REG_7, 0);
	p[n++] = MOVI(BPF_REG_8, 0);
	for (i = -72; i < 0; i += 8)
		p[n++] = INSN(BPF_STX | BPF_MEM | BPF_DW, BPF_REG_10, BPF_REG_7, i, 0);
	loop = n;
	n = put_key(p, n, op, key_size, entries);
	n = put_op(p, n, op, map);
	p[n++] = ALUI(BPF_ADD, BPF_REG_7, 1);
	p[n] = INSN(BPF_JMP | BPF_JLT | BPF_K, BPF_REG_7, 0, (s32)loop - (s32)n - 1, (s32)turns);
	n++;
	p[n++] = MOV(BPF_REG_0, BPF_REG_8);
	p[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);

	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_SCHED_CLS;
	a.insns = (u64)(uintptr_t)p;
	a.insn_cnt = n;
	a.license = (u64)(uintptr_t) "GPL";
	return sys(BPF_PROG_LOAD, &a);
}

double kernel_run(int prog, u32 repeat)
{
	return kernel_run_ret(prog, repeat, NULL);
}

double kernel_run_ret(int prog, u32 repeat, u32 *ret)
{
	union bpf_attr a;
	u8 packet[64] = { 0 };

	memset(&a, 0, sizeof(a));
	a.test.prog_fd = (u32)prog;
	a.test.data_in = (u64)(uintptr_t)packet;
	a.test.data_size_in = sizeof(packet);
	a.test.repeat = repeat;
	if (sys(BPF_PROG_TEST_RUN, &a) < 0)
		return -1;
	if (ret)
		*ret = a.test.retval;
	return a.test.duration;
}

int kernel_event(const struct perf_event_attr *attr, int cpu)
{
	/* libc's own: this program's import of it is hooked. */
	long (*call)(long nr, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");

	return (int)call(SYS_perf_event_open, attr, -1, cpu, -1, 0);
}

s64 kernel_memlock(int map)
{
	char path[64], line[128];
	long long bytes = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", map);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "memlock: %lld", &bytes) == 1)
			break;
	if (f)
		fclose(f);
	return bytes;
}
