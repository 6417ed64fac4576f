/* SPDX-License-Identifier: MIT */
/* Offsets that closure_x86_64.S and C share. */
#ifndef FERRY_CLOSURE_REGS_H
#define FERRY_CLOSURE_REGS_H

#define FFI_USER_DATA  48 /* of ffi_closure */
#define RUNNER_FAST    0  /* of struct runner (run.c) */
#define CLOSURE_TARGET 16 /* of struct closure (closure.c) */
#define CLOSURE_SLOW   24

#endif
