/* SPDX-License-Identifier: MIT */
/* Which vector registers there are to keep (keep_x86_64.S). */
#include "code/code_int.h"

/*
 * Bits of XCR0 that keep_x86_64.S looks at; 0: SSE only, or no telling. Without XGETBV's ecx 1 (before
 * Skylake, Zen) all that XCR0 enables are taken as in use: bit 31 says so.
 */
u32 code_vectors;

#define CPUID(leaf, sub) \
	__asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(leaf), "c"(sub))

__attribute__((constructor)) static void init(void)
{
	u32 a, b, c, d, xcr0, avx512;

	CPUID(1, 0);
	if (!(c & 1u << 27)) /* OSXSAVE */
		return;
	__asm__("xgetbv" : "=a"(xcr0), "=d"(d) : "c"(0));
	CPUID(7, 0);
	avx512 = (b & 1u << 16) && (b & 1u << 30); /* F, BW */
	CPUID(0xd, 1);
	code_vectors = xcr0 & (avx512 ? 0xe4 : 4);
	if (code_vectors && !(a & 4))
		code_vectors |= 1u << 31;
}
