/* SPDX-License-Identifier: MIT */
/* Small pieces of machine code that stay for the life of the process, packed together. */
#ifndef FERRY_CODE_POOL_H
#define FERRY_CODE_POOL_H

#include "base/base.h"

/*
 * Copies `size` bytes (at most 64 KiB) of position-independent code to where it can run: its
 * address, or NULL where no code may be made. Calls of unwinders see frames of a frame pointer:
 * the code must set up rbp (x29) as the ABI's frame pointer before it calls.
 */
const void *code_pool_add(const void *code, size_t size);
/* The same, beside code_main(). */
const void *code_pool_add_beside_main(const void *code, size_t size);

#endif
