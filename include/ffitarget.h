/* SPDX-License-Identifier: MIT */
/* What of ffi.h depends on the machine. Included by ffi.h only. */
#ifndef LIBFFI_TARGET_H
#define LIBFFI_TARGET_H

#ifndef LIBFFI_H
#error "include <ffi.h>, not <ffitarget.h>"
#endif

#define FFI_TARGET_HAS_COMPLEX_TYPE
#define FFI_CLOSURES 1
#define FFI_GO_CLOSURES 1
#define FFI_NATIVE_RAW_API 0

#ifndef LIBFFI_ASM
typedef unsigned long ffi_arg;
typedef signed long ffi_sarg;
#endif

#if defined(__x86_64__)

#define FFI_TARGET_SPECIFIC_STACK_SPACE_ALLOCATION
#define FFI_TRAMPOLINE_SIZE 32

#define FFI_TYPE_SMALL_STRUCT_1B (FFI_TYPE_LAST + 1)
#define FFI_TYPE_SMALL_STRUCT_2B (FFI_TYPE_LAST + 2)
#define FFI_TYPE_SMALL_STRUCT_4B (FFI_TYPE_LAST + 3)
#define FFI_TYPE_MS_STRUCT (FFI_TYPE_LAST + 4)

#ifndef LIBFFI_ASM
typedef enum ffi_abi {
	FFI_FIRST_ABI = 1,
	FFI_UNIX64, /* System V */
	FFI_WIN64,  /* Microsoft, long double of 8 bytes */
	FFI_EFI64 = FFI_WIN64,
	FFI_GNUW64, /* Microsoft's calls, GNU's long double of 16 bytes */
	FFI_LAST_ABI,
	FFI_DEFAULT_ABI = FFI_UNIX64
} ffi_abi;
#endif

#elif defined(__aarch64__)

#define FFI_TRAMPOLINE_SIZE 24
#define FFI_TRAMPOLINE_CLOSURE_OFFSET FFI_TRAMPOLINE_SIZE
#define FFI_TARGET_SPECIFIC_VARIADIC

#ifndef LIBFFI_ASM
typedef enum ffi_abi {
	FFI_FIRST_ABI = 0,
	FFI_SYSV, /* AAPCS64 */
	FFI_WIN64,
	FFI_LAST_ABI,
	FFI_DEFAULT_ABI = FFI_SYSV
} ffi_abi;
#endif

#else
#error "no libffi for this machine yet"
#endif

#endif
