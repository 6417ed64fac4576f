/* SPDX-License-Identifier: MIT */
/* Numbers of x86-64 that C and assembly share. */
#ifndef FERRY_REGS_X86_64_H
#define FERRY_REGS_X86_64_H

#define CALL_NGP       6 /* general registers of a call */
#define CALL_RESULT_GP 0 /* which of them has the address of a result in memory */

#define CALL_BLOCK      16384 /* bytes of trampolines, and of their data behind them */
#define CALL_TRAMPOLINE 32

#endif
