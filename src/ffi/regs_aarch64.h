/* SPDX-License-Identifier: MIT */
/* Numbers of AArch64 that C and assembly share. */
#ifndef FERRY_REGS_AARCH64_H
#define FERRY_REGS_AARCH64_H

#define CALL_NGP       9 /* x0 to x7, and x8 */
#define CALL_RESULT_GP 8 /* which of them has the address of a result in memory */

/* Bytes of trampolines, and of their data behind them: a page where pages are largest. */
#define CALL_BLOCK      65536
#define CALL_TRAMPOLINE 32

/* struct call_regs */
#define REGS_GP    0
#define REGS_SSE   80
#define REGS_RET   208
#define REGS_CHAIN 256
#define REGS_NSSE  268
#define REGS_SIZE  272

#endif
