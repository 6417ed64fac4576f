/* SPDX-License-Identifier: MIT */
/*
 * Modules: native functions that were registered for programs, with BTF as a kernel module has it.
 * A program reaches a native function only through a module that is registered here.
 */
#ifndef FERRY_MODULE_H
#define FERRY_MODULE_H

#include <pthread.h>

#include "base/base.h"
#include "btf/fbtf.h"
#include "ffi/ctype.h"
#include "ferry/module.h"
#include "map/map.h"

#define MODULE_MAX_ARGS 16 /* of the C function */
#define MODULE_MAX_REGS 5  /* r1 to r5 */

/* What the verifier must prove of an argument; made once from the prototype and its annotations. */
enum module_arg_kind {
	MODULE_ARG_SCALAR,   /* integer, enum or floating point of `width` bytes */
	MODULE_ARG_CONST,    /* __k: a constant known at load */
	MODULE_ARG_SIZE,     /* bytes (or elements) of a pointer */
	MODULE_ARG_CONST_SIZE, /* the same, constant */
	MODULE_ARG_MEM,      /* pointer to `size` bytes, or as many as another argument says */
	MODULE_ARG_STRING,   /* __str: NUL-terminated within memory the program owns */
	MODULE_ARG_CTX,      /* the program's context; `size` bytes of it */
	MODULE_ARG_IGNORE,   /* __ign: not looked at; the callee does not either */
	MODULE_ARG_OBJECT,   /* a struct of the host's: what a function of the module returned */
	MODULE_ARG_VALUE,    /* a struct by value: the program gives the address of `size` bytes */
	MODULE_ARG_FORMAT,   /* printf's format of a variadic function: a constant */
	MODULE_ARG_CALLBACK, /* a subprogram, called with the arguments of the pointed-to prototype */
};

struct module_arg {
	u8 kind;         /* enum module_arg_kind */
	u8 width;        /* bytes of the C type in its register: 1, 2, 4, 8 */
	bool is_signed;  /* how the register is extended from `width` */
	bool is_bool;
	bool is_float;   /* the register holds the bits of a float or double */
	bool writable;   /* memory: not const, the callee may write */
	bool nullable;   /* __nullable */
	bool uninit;     /* __uninit: the callee writes it all */
	bool check;      /* __check: what was not proved is checked at the call */
	bool owner;      /* __owner: what is returned is valid until this object is released */
	bool ranged;     /* the value is in [min, max] */
	bool size_deref; /* the size is what `size_arg` points to */
	u8 size_arg;     /* memory: 1 + the argument that has its size; 0: the size is `size` */
	u8 reg;          /* where it travels: r1 to r5; 0: in the argument block */
	u32 off;         /* in the argument block */
	u32 elem;        /* memory: bytes of what size_arg counts */
	u32 size;        /* memory: bytes of the pointed-to type; 0 with size_arg */
	u32 btf_id;      /* the argument's type in the module's BTF */
	s64 min, max;
	struct module_callback *callback; /* MODULE_ARG_CALLBACK; owned */
	s64 *values;     /* an enum whose enumerators are no range: all of them, ascending */
	u32 nvalues;
	char name[32];
};

/*
 * A function pointer as an argument: what a subprogram behind it gets, and what it may return. Its proof asks
 * nothing of when, how often and by which thread it is called.
 */
struct module_lent;
struct module_callback {
	u8 nargs;
	struct module_arg args[MODULE_MAX_REGS]; /* SCALAR, MEM of `size` bytes, STRING, OBJECT */
	u8 ret_width;    /* bytes of the result; 0: it returns nothing */
	bool ret_signed, ret_is_float;
	bool ret_ranged; /* the C type has fewer values than a register: [ret_min, ret_max] */
	s64 ret_min, ret_max;
	char *proto, *types; /* C, of the function pointed to */
	/* lend.c */
	pthread_mutex_t lock;
	struct module_lent *idle;
	u32 made;
	_Atomic u64 failed; /* calls that came too late, or too deep */
	struct module_callback *next_kept;
};

enum module_ret_kind {
	MODULE_RET_VOID,
	MODULE_RET_SCALAR,
	MODULE_RET_MEM,    /* memory of ret_size bytes, or as many as a constant argument says */
	MODULE_RET_OBJECT, /* a struct of the host's */
	MODULE_RET_STRING, /* NUL-terminated, of unknown length */
	MODULE_RET_STRUCT, /* by value: written to memory whose address the program gives in r1 */
};

/* What the verifier found out about one call, for module_invoke. */
struct module_site {
	u32 str_len;   /* bytes readable behind a string that is checked at the call */
	u8 va_count;   /* arguments behind the dots */
	u8 va_float;   /* which of them are double, a bit each */
};

struct ferry_call;

struct module_func {
	const char *name;
	const void *addr;
	struct module *mod;
	char *prototype; /* as given, annotations and all */
	char *decls;     /* C that a program needs beside the module's types, ""; and */
	char *extern_proto; /* the prototype as a program declares it */
	u32 btf_id;      /* of the FUNC in the module's BTF */
	u32 flags;       /* FERRY_* of ferry/module.h */
	u8 ret_kind;     /* enum module_ret_kind */
	u8 ret_width;    /* bytes; extension as for arguments */
	bool ret_signed, ret_bool, ret_float;
	bool ret_writable;
	u8 ret_size_arg; /* MEM: 1 + the constant argument with the size; 0: ret_size */
	u32 ret_elem, ret_size;
	bool bridged;    /* not just integers and pointers in registers: called through module_invoke */
	bool variadic;
	bool checks;     /* something is checked at the call */
	u8 nregs;        /* r1 to r`nregs` are read */
	u8 block_reg;    /* the one with the address of the argument block; 0: there is none */
	u32 block_size;
	u32 c_proto;     /* the FUNC_PROTO with all parameters, where they travel in a block: what fentry sees; 0 */
	u8 nargs;
	struct module_arg args[MODULE_MAX_ARGS];
	struct ferry_call *call; /* the native call; NULL when not bridged, or variadic */
	_Atomic u64 failed; /* calls that a check at the call stopped */
};

/* A variable of the host. A pointer to one that is one a processor is the address of this. */
struct module_var {
	const char *name;
	void *addr;
	struct module *mod;
	u32 btf_id;      /* of the VAR in the module's BTF */
	u32 flags;       /* FERRY_WRITABLE, FERRY_PERCPU */
	u32 type_id;     /* of the VAR */
	u32 stride, count; /* FERRY_PERCPU: bytes from one processor's to the next, and how many */
};

struct module {
	char name[64];
	char *types;      /* the declarations it was registered with; "" */
	struct btf *btf;  /* split from fbtf_vmlinux() */
	const void *raw;  /* its bytes, as bpf(2) gives them */
	u32 raw_size;
	struct module_func *funcs;
	u32 nfuncs;
	struct module_var *vars;
	u32 nvars;
	_Atomic u32 refs; /* programs that use it, and the registration */
	_Atomic bool gone; /* unregistered: no new program may use it */
};

/*
 * Registers the module described by `def` (public: ferry/module.h) under its name. 0, -EINVAL
 * (prototype: `why` names function, column and reason), -EEXIST, -ENOMEM. The descriptor is copied.
 */
int module_register(const struct ferry_module *def, struct module **out, struct text *why);
/* Registers Ferry's own module, ferry_math, if it is not yet. */
void module_math(void);
/* 0, -ENOENT. Programs keep their reference, and their calls: see sys_limit_module_gone(). */
int module_unregister(const char *name);

struct module *module_get(struct module *m);
void module_put(struct module *m);
struct module *module_find(const char *name);  /* borrowed; NULL */
struct module *module_nth(u32 n);              /* registered ones in order; NULL at the end */
/*
 * The same with a reference: for whoever keeps or reads a module while another thread may
 * unregister it, after which a borrowed one may be gone.
 */
struct module *module_find_get(const char *name);
struct module *module_nth_get(u32 n);

/* The function whose FUNC id in the module's BTF is `btf_id`; NULL. */
const struct module_func *module_func(const struct module *m, u32 btf_id);
/* The variable whose VAR id in the module's BTF is `btf_id`; NULL. */
const struct module_var *module_var(const struct module *m, u32 btf_id);
/* Over all modules: by name, and the nearest names for "did you mean" (at most n; returns count).
 */
const struct module_func *module_func_named(const char *name);
/*
 * Calls `f` with r1 to r5 in `regs`, for every function that is bridged: r0. Checks what the prototype marks
 * with __check first: a call that fails is logged, not made, and gives -EINVAL (0 for a pointer, a floating
 * point or an unsigned result).
 */
u64 module_invoke(const struct module_func *f, const u64 *regs, const struct module_site *site);
/*
 * A fault may end a native call without a return: module_lend_end() with what module_lend_mark() gave before
 * the call takes back the function pointers that this thread lent since.
 */
u32 module_lend_mark(void);
void module_lend_end(u32 mark);
/* An argument's or result's register as its C type says (SysV ABI 3.2.3). */
u64 module_extend(u64 v, u8 width, bool is_signed, bool is_bool);
/*
 * The pointers to objects in values of a map (type `value_id` of `btf`), each holding its module: how many, or
 * -E2BIG, -ENOENT (no module has the type and a function that releases it), -EINVAL (it has several).
 */
int module_map_kptrs(const struct btf *btf, u32 value_id, struct map_kptr out[MAP_KPTRS]);
u32 module_nearest(const char *name, const char **names, u32 n);

#endif
