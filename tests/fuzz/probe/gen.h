/* SPDX-License-Identifier: MIT */
/* Functions of random instructions, as assembler text. */
#ifndef FERRY_FUZZ_PROBE_GEN_H
#define FERRY_FUZZ_PROBE_GEN_H

#include <stdint.h>
#include <stdio.h>

extern uint64_t gen_seed;
uint32_t gen_rnd(uint32_t n);

/*
 * A shared object's source: functions f0, f1, ... and the table `places` of all their instructions
 * (uint64_t: number of the function, address), ended by zeros. They do what they do with rdi, which points
 * to 512 bytes, `r15`, which counts down how often they come back to their first instruction, and all other
 * registers, and with the 256 bytes of `shared`.
 */
void gen_object(FILE *out, unsigned functions, int avx2);

#endif
