/* SPDX-License-Identifier: MIT */
/* Prints what a client's machine code has of ffi.h: sizes, places of members, numbers. Compiled with each header. */
#include <stddef.h>
#include <ffi.h>
#include <stdio.h>

#define SIZE(t) printf(#t " %zu %zu\n", sizeof(t), _Alignof(t))
#define FIELD(t, m) printf(#t "." #m " %zu %zu\n", offsetof(t, m), sizeof(((t *)0)->m))
#define NUMBER(n) printf(#n " %ld\n", (long)(n))
#define BUILTIN(t) printf(#t " %zu %u %u %d\n", t.size, t.alignment, t.type, t.elements != NULL)

static void types(void)
{
	SIZE(ffi_type);
	FIELD(ffi_type, size);
	FIELD(ffi_type, alignment);
	FIELD(ffi_type, type);
	FIELD(ffi_type, elements);
	SIZE(ffi_cif);
	FIELD(ffi_cif, abi);
	FIELD(ffi_cif, nargs);
	FIELD(ffi_cif, arg_types);
	FIELD(ffi_cif, rtype);
	FIELD(ffi_cif, bytes);
	FIELD(ffi_cif, flags);
	SIZE(ffi_closure);
	FIELD(ffi_closure, tramp);
	FIELD(ffi_closure, cif);
	FIELD(ffi_closure, fun);
	FIELD(ffi_closure, user_data);
	SIZE(ffi_go_closure);
	FIELD(ffi_go_closure, tramp);
	FIELD(ffi_go_closure, cif);
	FIELD(ffi_go_closure, fun);
	SIZE(ffi_raw_closure);
	FIELD(ffi_raw_closure, cif);
	FIELD(ffi_raw_closure, translate_args);
	FIELD(ffi_raw_closure, this_closure);
	FIELD(ffi_raw_closure, fun);
	FIELD(ffi_raw_closure, user_data);
	SIZE(ffi_java_raw_closure);
	FIELD(ffi_java_raw_closure, fun);
	FIELD(ffi_java_raw_closure, user_data);
	SIZE(ffi_raw);
	SIZE(ffi_java_raw);
	SIZE(ffi_arg);
	SIZE(ffi_sarg);
	SIZE(ffi_abi);
	SIZE(ffi_status);
}

static void numbers(void)
{
	NUMBER(FFI_FIRST_ABI);
	NUMBER(FFI_DEFAULT_ABI);
#if defined(__x86_64__)
	NUMBER(FFI_UNIX64);
	NUMBER(FFI_WIN64);
	NUMBER(FFI_EFI64);
	NUMBER(FFI_GNUW64);
#else
	NUMBER(FFI_SYSV);
	NUMBER(FFI_WIN64);
#endif
	NUMBER(FFI_LAST_ABI);
	NUMBER(FFI_OK);
	NUMBER(FFI_BAD_TYPEDEF);
	NUMBER(FFI_BAD_ABI);
	NUMBER(FFI_BAD_ARGTYPE);
	NUMBER(FFI_TYPE_VOID);
	NUMBER(FFI_TYPE_INT);
	NUMBER(FFI_TYPE_FLOAT);
	NUMBER(FFI_TYPE_DOUBLE);
	NUMBER(FFI_TYPE_LONGDOUBLE);
	NUMBER(FFI_TYPE_UINT8);
	NUMBER(FFI_TYPE_SINT8);
	NUMBER(FFI_TYPE_UINT16);
	NUMBER(FFI_TYPE_SINT16);
	NUMBER(FFI_TYPE_UINT32);
	NUMBER(FFI_TYPE_SINT32);
	NUMBER(FFI_TYPE_UINT64);
	NUMBER(FFI_TYPE_SINT64);
	NUMBER(FFI_TYPE_STRUCT);
	NUMBER(FFI_TYPE_POINTER);
	NUMBER(FFI_TYPE_COMPLEX);
	NUMBER(FFI_TRAMPOLINE_SIZE);
	NUMBER(FFI_SIZEOF_ARG);
	NUMBER(FFI_SIZEOF_JAVA_RAW);
	NUMBER(FFI_CLOSURES);
	NUMBER(FFI_GO_CLOSURES);
	NUMBER(FFI_NATIVE_RAW_API);
}

int main(void)
{
	types();
	numbers();
	BUILTIN(ffi_type_void);
	BUILTIN(ffi_type_uchar);
	BUILTIN(ffi_type_schar);
	BUILTIN(ffi_type_ushort);
	BUILTIN(ffi_type_sshort);
	BUILTIN(ffi_type_uint);
	BUILTIN(ffi_type_sint);
	BUILTIN(ffi_type_ulong);
	BUILTIN(ffi_type_slong);
	BUILTIN(ffi_type_uint64);
	BUILTIN(ffi_type_sint64);
	BUILTIN(ffi_type_float);
	BUILTIN(ffi_type_double);
	BUILTIN(ffi_type_longdouble);
	BUILTIN(ffi_type_pointer);
	BUILTIN(ffi_type_complex_float);
	BUILTIN(ffi_type_complex_double);
	BUILTIN(ffi_type_complex_longdouble);
	return 0;
}
