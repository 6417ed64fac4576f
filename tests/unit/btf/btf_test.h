/* SPDX-License-Identifier: MIT */
/* What the BTF tests share: raw bpf(2), random numbers, BTF to start mutations from. */
#ifndef FERRY_BTF_TEST_H
#define FERRY_BTF_TEST_H

#include "test.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "btf/fbtf.h"
#include "kernel_bpf.h"

static inline int kernel_btf_load(const void *data, u32 size, char *log, u32 log_size)
{
	union bpf_attr attr;
	long fd;

	memset(&attr, 0, sizeof(attr));
	attr.btf = (uintptr_t)data;
	attr.btf_size = size;
	if (log) {
		log[0] = '\0';
		attr.btf_log_buf = (uintptr_t)log;
		attr.btf_log_size = log_size;
		attr.btf_log_level = 1;
	}
	fd = raw_bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
	if (fd >= 0)
		close((int)fd);
	return fd < 0 ? (int)fd : 0;
}

/* xorshift64*: the same numbers in every run. */
static inline u64 rnd(u64 *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 0x2545f4914f6cdd1dull;
}

static inline u32 rnd_below(u64 *seed, u32 n)
{
	return (u32)((rnd(seed) >> 32) % n);
}

/* Some change in the bytes of a BTF: mostly in the words of its types, as errors of tools are. */
static inline void mutate(u8 *data, u32 *size, u64 *seed)
{
	struct btf_header h;
	u32 n = 1 + rnd_below(seed, 3), words, at, w;

	memcpy(&h, data, sizeof(h));
	words = h.type_len / 4;
	while (n-- && words) {
		at = (u32)sizeof(h) + 4 * rnd_below(seed, words);
		memcpy(&w, data + at, 4);
		switch (rnd_below(seed, 9)) {
		case 0: w ^= 1u << rnd_below(seed, 32); break;
		case 1: w = rnd_below(seed, 64); break;
		case 2: w = rnd_below(seed, h.str_len + 4); break;
		case 3: w = (w & 0xf0ffffff) | rnd_below(seed, 32) << 24; break;
		case 4: w += rnd_below(seed, 5) - 2; break;
		case 5: w = w * 8; break;
		case 6: w = (w & 0xffff0000) | rnd_below(seed, 6); break;
		case 7: w = rnd_below(seed, 2) ? 0 : 0xffffffff >> rnd_below(seed, 32); break;
		default:
			at = rnd_below(seed, *size);
			data[at] ^= (u8)(1 << rnd_below(seed, 8));
			continue;
		}
		memcpy(data + at, &w, 4);
	}
	if (!rnd_below(seed, 40))
		*size -= rnd_below(seed, *size / 2);
}

#endif
