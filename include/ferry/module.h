/* SPDX-License-Identifier: MIT */
/*
 * Describing native functions to Ferry. A module is a name, C declarations that its prototypes use,
 * and functions; programs call them as `extern int add(int x, int y) __ksym;`.
 */
#ifndef FERRY_MODULE_PUBLIC_H
#define FERRY_MODULE_PUBLIC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Flags of a function: the kernel's KF_* conventions. */
#define FERRY_ACQUIRE     (1u << 0) /* returns a reference that must be released */
#define FERRY_RELEASE     (1u << 1) /* releases the reference given to it */
#define FERRY_RET_NULL    (1u << 2) /* may return NULL: the program has to check */
#define FERRY_TRUSTED_ARGS (1u << 4) /* pointers to structs are the host's own, never a program's memory */
#define FERRY_SLEEPABLE   (1u << 5) /* may block */
#define FERRY_DESTRUCTIVE (1u << 6) /* needs a grant of its own */

/* Of a variable: */
#define FERRY_VARIABLE    (1u << 16) /* the entry is one: FERRY_VAR sets it */
#define FERRY_WRITABLE    (1u << 17) /* programs may write its numbers */
#define FERRY_PERCPU      (1u << 18) /* an array of one a processor: see bpf_per_cpu_ptr(3) */

struct ferry_func {
	const char *prototype; /* C, with the kernel's argument suffixes: `const void *p, u32 p__sz` */
	void (*fn)(void);
	uint32_t flags;
};

/*
 * An entry of a module: FERRY_FUNC("int add(int x, int y)", add), or with flags as a third argument.
 * The suffixes of parameter names (Documentation/bpf/kfuncs.rst) say what a program must prove:
 *   mem, mem__sz       a buffer and its size in bytes
 *   mem, mem__szk      the same, the size being a constant
 *   x__k               a constant
 *   s__str             a NUL-terminated string
 *   p__nullable        may be NULL
 *   p__uninit          need not be initialised, the function writes it
 *   p__ign             not checked, not used
 *
 * Annotations, as words behind a parameter's name, say the same and more (`int fd __range(0, 1023)`); so does a
 * word behind the parameter list, of the result or the function:
 *   __range(low, high)  the integer is in that range; enums have to be one of their enumerators anyway
 *   __k __str __nullable __uninit __ign   as the suffixes
 *   __size(n)           memory of as many bytes as parameter n says, or *n (a variable on the program's stack
 *                       whose address it is), or the number n; of a result: n is a parameter, then a constant
 *   __count(n)          the same in elements of the pointed-to type
 *   __ctx               the context of the program as it was given to it (types with a raw context only)
 *   __object            a struct that the host made, though the program could make one like it
 *   __owner             what the function returns is valid until this object is released
 *   __check             what cannot be proved at load (range, enum, NULL, end of a string) is checked at the
 *                       call: one that fails is logged and not made, and gives -EINVAL, or 0 where the result
 *                       is unsigned, floating point or a pointer
 *   behind the list: __size, __count, __str, __nullable of the result; __acquire, __release, __trusted,
 *   __sleepable, __destructive for the flags
 *
 * A pointer to a struct of plain numbers is memory of the program or an object of the host's. One to a struct that is
 * not defined or that holds pointers is always an object of the host's: only what a function of the module
 * returned is accepted, unmoved; what FERRY_ACQUIRE returned has to be released once on each path. Programs read
 * through such pointers (r->headers->count); the addresses themselves never leave the program. What a function
 * returns that takes an object which will be released, is valid until then.
 *
 * float and double travel as their bits; programs declare them as such and use ferry/ferry_bpf.h for arithmetic.
 * A struct by value is declared by programs as a pointer to const, a struct result as a first parameter that
 * points to it; more than five arguments become one, `const struct NAME_args *args`, on the program's stack
 * (`ferry module header` prints all this). A variadic function takes a format as its last named parameter,
 * which is a constant, checked against the arguments. Not understood: pointers to pointers, arguments of more than
 * 8 bytes that are no struct.
 *
 * While the function runs, strings keep their end and sizes that it reads through a pointer their value: they lie where
 * nothing can write, not even the function through its other arguments. Other memory may lie in maps, where threads and
 * processes write at any time: read a value once, check it, use the copy. A `bool` in such memory may be any byte, and
 * arguments may overlap. An object given as const is not passed to a function that takes it as not const, unless it
 * releases it.
 *
 * For a function pointer, `int (*cmp)(const struct item *a, const struct item *b)`, programs give a static function of
 * theirs. It is verified by the prototype of the pointer: numbers, memory of a struct's size, strings (name__str),
 * objects of the host's, pointers that may be NULL (name__nullable); its result is a number that the C type has,
 * or nothing. It may be called any number of times and by any thread while the native function runs. A pointer
 * that is called after that returns 0, or runs what a later call of the same function was given: neither does
 * harm. Programs and native functions that call each other are stopped at a depth of 32.
 */
#define FERRY_FUNC(...) FERRY_FUNC_WITH(__VA_ARGS__, 0u, 0u)
/* A last argument more than is named: ISO C wants at least one for the dots. */
#define FERRY_FUNC_WITH(prototype, fn, flags, ...)                                                 \
	{                                                                                          \
		(prototype), (void (*)(void))(fn), (flags)                                         \
	}

/*
 * A variable of the host, also an entry of a module: FERRY_VAR("struct stats app_stats", &app_stats).
 * Programs declare `extern const struct stats app_stats __ksym;` and read it, members that point to
 * structs too. With FERRY_PERCPU as a third argument an array is one variable of its element's type
 * that each processor has its own of. The type must have a size; the variable must outlive the module
 * and every program that uses it.
 */
#define FERRY_VAR(...) FERRY_VAR_WITH(__VA_ARGS__, 0u, 0u)
#define FERRY_VAR_WITH(declaration, addr, flags, ...)                                              \
	{                                                                                          \
		(declaration), (void (*)(void))(addr), (flags) | FERRY_VARIABLE                    \
	}

struct ferry_module {
	size_t sz;          /* sizeof(struct ferry_module): room to grow */
	const char *name;   /* an identifier, unique in the process, at most 55 bytes */
	/*
	 * C declarations of the structs in the prototypes, and of others that programs find members in by name
	 * (CO-RE); those only under names that the kernel has no struct of. May be NULL.
	 */
	const char *types;
	const struct ferry_func *funcs; /* and variables */
	size_t nfuncs;
};

#ifdef __cplusplus
#define FERRY_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define FERRY_EXPORT extern __attribute__((visibility("default")))
#endif

/*
 * Defines what a shared library exports so that `ferry run --module LIB.so` and
 * ferry_module_load() find it:
 *   FERRY_MODULE(geometry, "struct point { int x, y; };",
 *                FERRY_FUNC("int norm1(const struct point *p)", norm1));
 */
#define FERRY_MODULE(ident, decls, ...)                                                            \
	static const struct ferry_func ferry_funcs_##ident[] = { __VA_ARGS__ };                    \
	FERRY_EXPORT const struct ferry_module ferry_module;                                       \
	const struct ferry_module ferry_module = {                                                 \
		sizeof(struct ferry_module), #ident, (decls), ferry_funcs_##ident,                 \
		sizeof(ferry_funcs_##ident) / sizeof(ferry_funcs_##ident[0])                       \
	}

#ifdef __cplusplus
}
#endif
#endif
