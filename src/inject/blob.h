/* SPDX-License-Identifier: MIT */
/*
 * What we map in the target: a page of code (blob_x86_64.S), a page of data, room for vector
 * registers, and the stack of the excursion. Offsets are shared by C and assembly.
 */
#ifndef FERRY_INJECT_BLOB_H
#define FERRY_INJECT_BLOB_H

#define BLOB_SIZE 65536 /* all of it */
#define BLOB_DATA 4096
#define BLOB_XSAVE 12288 /* 64-byte aligned (SDM 13.4) */
#define BLOB_XSAVE_ROOM 20480
#define BLOB_STACK BLOB_SIZE /* its top */

/* Registers of the borrowed thread as it goes on, from the start of the data. */
#define D_RAX 0
#define D_RBX 8
#define D_RCX 16
#define D_RDX 24
#define D_RSI 32
#define D_RDI 40
#define D_RBP 48
#define D_RSP 56
#define D_R8 64
#define D_R9 72
#define D_R10 80
#define D_R11 88
#define D_R12 96
#define D_R13 104
#define D_R14 112
#define D_R15 120
#define D_RIP 128
#define D_FLAGS 136
/* Signal masks: blocked meanwhile, and the thread's own. */
#define D_BLOCK 144
#define D_MASK 152
#define D_CREATE 160 /* pthread_create() */
#define D_THREAD 168
#define D_ERRNO 296  /* __errno_location() */
#define D_ERROR 176  /* u32: what it returned */
#define D_LEFT 180   /* u32: the borrowed thread is on its way out */
/* Calls that the new thread makes: written by us, then D_WANT is counted up, and D_DONE by it. */
#define D_FN 184
#define D_ARG 192
#define D_RESULT 240
#define D_WANT 248   /* u32 */
#define D_DONE 252   /* u32 */
#define D_LAST 256   /* u32: this call is the last, its result the thread's */
#define D_ROUNDS 260 /* u32: how often it looks for a call before it ends */
#define D_PAUSE 264  /* struct timespec: how long between, */
#define D_LONGER 280 /* and when only these many rounds are left: */
#define BLOB_LONG_ROUNDS 300
#define D_TEXT 512   /* strings, to the end of the page after */

#endif
