/* SPDX-License-Identifier: MIT */
/*
 * Modules: native functions that were registered for programs, with BTF as a kernel module has it.
 * A program reaches a native function only through a module that is registered here.
 */
#ifndef FERRY_MODULE_H
#define FERRY_MODULE_H

#include "base/base.h"
#include "btf/fbtf.h"
#include "ffi/ctype.h"
#include "ferry/module.h"

#define MODULE_MAX_ARGS 5

/* What the verifier must prove of an argument; made once from the prototype and its suffixes. */
enum module_arg_kind {
	MODULE_ARG_SCALAR,   /* integer or enum of `size` bytes */
	MODULE_ARG_CONST,    /* __k: a constant known at load */
	MODULE_ARG_SIZE,     /* __sz: bytes of the pointer before it */
	MODULE_ARG_CONST_SIZE, /* __szk: the same, constant */
	MODULE_ARG_MEM,      /* pointer to `size` bytes; size 0: the next argument is the size */
	MODULE_ARG_STRING,   /* __str: NUL-terminated within memory the program owns */
	MODULE_ARG_CTX,      /* the program's context */
	MODULE_ARG_IGNORE,   /* __ign: not looked at; the callee does not either */
};

struct module_arg {
	u8 kind;         /* enum module_arg_kind */
	u8 width;        /* bytes of the C type in its register: 1, 2, 4, 8 */
	bool is_signed;  /* how the register is extended from `width` */
	bool is_bool;
	bool writable;   /* memory: not const, the callee may write */
	bool nullable;   /* __nullable */
	bool uninit;     /* __uninit: the callee writes it all */
	u32 size;        /* memory: bytes of the pointed-to type */
	u32 btf_id;      /* the argument's type in the module's BTF */
	char name[32];
};

enum module_ret_kind { MODULE_RET_VOID, MODULE_RET_SCALAR, MODULE_RET_MEM };

struct module_func {
	const char *name;
	const void *addr;
	struct module *mod;
	u32 btf_id;      /* of the FUNC in the module's BTF */
	u32 flags;       /* FERRY_* of ferry/module.h */
	u8 ret_kind;     /* enum module_ret_kind */
	u8 ret_width;    /* bytes; extension as for arguments */
	bool ret_signed, ret_bool;
	u8 nargs;
	struct module_arg args[MODULE_MAX_ARGS];
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
int module_unregister(const char *name); /* 0, -ENOENT; programs keep their reference */

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
u32 module_nearest(const char *name, const char **names, u32 n);

#endif
