/* SPDX-License-Identifier: MIT */
/*
 * The rival: the machine's own bpf(2), where it works; by raw system call, so that nothing answers
 * instead.
 */
#ifndef FERRY_BENCH_KERNEL_H
#define FERRY_BENCH_KERNEL_H

#include "base/base.h"

#define KERNEL_LOOP 1000 /* operations in one run of a program */

enum kernel_op { KERNEL_LOOKUP, KERNEL_UPDATE, KERNEL_RINGBUF, KERNEL_RINGBUF_QUIET };

int kernel_map(u32 type, u32 key_size, u32 value_size, u32 entries); /* descriptor or -1 */
int kernel_lookup(int map, const void *key, void *value);
int kernel_update(int map, const void *key, const void *value, u64 flags);
/* Adds n entries at once, keys and values in rows: 0 or -1. */
int kernel_fill(int map, const void *keys, const void *values, u32 n);
/* A program that does KERNEL_LOOP operations on random keys below `entries`: descriptor or -1. */
int kernel_prog(enum kernel_op op, int map, u32 key_size, u32 entries);
/* Runs it `repeat` times: ns for one run, or -1. */
double kernel_run(int prog, u32 repeat);

#endif
