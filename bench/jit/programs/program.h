/* SPDX-License-Identifier: MIT */
/*
 * What each benchmark program includes. A program is one function over a buffer, compiled twice:
 * for eBPF and for the machine. No global data, no calls: its code is all there is to it.
 */
#ifndef BENCH_PROGRAM_H
#define BENCH_PROGRAM_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed int s32;
typedef signed long long s64;

#define BENCH_INPUT 65536   /* random bytes at the start of the buffer */
#define BENCH_SCRATCH 65536 /* offset of as many zeroed bytes */
#define INLINE static inline __attribute__((always_inline))

#ifdef __bpf__
#define PROGRAM(name) __attribute__((section("raw_tp/bench"), used)) u64 bench_##name(u8 *ctx)
#else
#define PROGRAM(name) u64 bench_##name(u8 *ctx); u64 bench_##name(u8 *ctx)
#endif

#endif
