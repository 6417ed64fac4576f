/* SPDX-License-Identifier: MIT */
/* The BTF that stands for the kernel's, made from C text (vmlinux_*.def) when first asked for. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "btf/fbtf.h"

#define TYPES(...) #__VA_ARGS__
static const char *const type_texts[] = {
#include "btf/vmlinux_uapi.def"
#include "btf/vmlinux_types.def"
#include "btf/vmlinux_bpf.def"
};
#undef TYPES

/* Contexts of iterators, and the functions that their programs name. */
static const char *const iter_contexts[] = {
#define ITER(target, params, kinds, ...) "struct bpf_iter__" #target " { struct bpf_iter_meta *meta; " #__VA_ARGS__ " };",
#include "btf/iter.def"
};
static const char *const iter_functions[] = {
#define ITER(target, params, ...) "int bpf_iter_" #target #params,
#include "btf/iter.def"
};

/* Prototypes of raw tracepoints, and the functions that carry out system calls. */
static const char *const tracepoints[] = {
#define RAW_TP(name, params) "typedef void (*btf_trace_" #name ")" #params ";",
#include "btf/rawtp.def"
#undef RAW_TP
};
static const char *const tracepoint_names[] = {
#define RAW_TP(name, params) "btf_trace_" #name,
#include "btf/rawtp.def"
#undef RAW_TP
};
#if defined(__x86_64__)
#define CALL_PROTO "long call(const struct pt_regs *regs)"
static const char *const call_names[] = {
#define SYSCALL(name, ...) "__x64_sys_" #name,
#include "btf/syscalls.def"
#undef SYSCALL
};
#endif

/* Base types come first and in a fixed order, also those that no struct uses. */
static const char *const base_names[] = {
	"unsigned long", "char", "unsigned int", "signed char", "unsigned char", "short",
	"unsigned short", "int", "long long", "unsigned long long", "long", "__int128",
	"unsigned __int128", "_Bool", "float", "double", "u8", "u16", "u32", "u64", "s8", "s16",
	"s32", "s64", "bool", "size_t", "uintptr_t", "uint8_t", "uint16_t", "uint32_t",
	"uint64_t", "int8_t", "int16_t", "int32_t", "int64_t", "pid_t", "__be16", "__be32",
	"__be64", "__le16", "__le32", "__le64", "__wsum", "__sum16", "void *", "const void *",
	"const char *",
};

/* What hosts added before it was made. */
static char **added;
static size_t nadded, cap_added;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct btf *_Atomic made;

static int declare(struct ctypes *cs, struct text *why)
{
	int err = 0;
	size_t i;

	for (i = 0; err >= 0 && i < ARRAY_SIZE(type_texts); i++)
		err = ctypes_declare(cs, type_texts[i], why);
	for (i = 0; err >= 0 && i < ARRAY_SIZE(iter_contexts); i++)
		err = ctypes_declare(cs, iter_contexts[i], why);
	for (i = 0; err >= 0 && i < ARRAY_SIZE(tracepoints); i++)
		err = ctypes_declare(cs, tracepoints[i], why);
	for (i = 0; err >= 0 && i < nadded; i++)
		err = ctypes_declare(cs, added[i], why);
	return err;
}

static int add_function(struct btf *btf, struct ctypes *cs, struct hash *seen, const char *text,
			struct text *why)
{
	const struct ctype *func;
	const char *name;
	int err = ctypes_prototype(cs, text, &func, &name, why);

	return err < 0 ? err : fbtf_add_func(btf, seen, name, func);
}

static int add_calls(struct btf *btf, struct ctypes *cs, struct hash *seen, struct text *why)
{
	int err = 0;
#ifdef CALL_PROTO
	const struct ctype *func;
	const char *name;
	size_t i;

	err = ctypes_prototype(cs, CALL_PROTO, &func, &name, why);
	for (i = 0; err >= 0 && i < ARRAY_SIZE(call_names); i++)
		err = fbtf_add_func(btf, seen, call_names[i], func);
#endif
	return err;
}

static int fill(struct btf *btf, struct ctypes *cs, struct text *why)
{
	struct hash seen = { 0 };
	const struct ctype *t;
	int err = declare(cs, why);
	size_t i;
	u32 n;

	for (i = 0; err >= 0 && i < ARRAY_SIZE(base_names); i++) {
		err = ctypes_type(cs, base_names[i], &t, why);
		if (err >= 0)
			err = fbtf_add_ctype(btf, &seen, t);
	}
	for (i = 0; err >= 0 && i < ARRAY_SIZE(tracepoint_names); i++) {
		err = ctypes_type(cs, tracepoint_names[i], &t, why);
		if (err >= 0)
			err = fbtf_add_ctype(btf, &seen, t);
	}
	for (n = 0; err >= 0 && (t = ctypes_nth(cs, n)); n++)
		err = fbtf_add_ctype(btf, &seen, t);
	for (i = 0; err >= 0 && i < ARRAY_SIZE(iter_functions); i++)
		err = add_function(btf, cs, &seen, iter_functions[i], why);
	if (err >= 0)
		err = add_calls(btf, cs, &seen, why);
	hash_free(&seen);
	return err < 0 ? err : 0;
}

static struct btf *make(void)
{
	struct ctypes *cs = NULL;
	struct btf *btf = btf__new_empty(), *sealed = NULL;
	struct text why = { 0 };
	int err = btf ? ctypes_new(&cs) : -ENOMEM;

	if (!err)
		err = fill(btf, cs, &why);
	ctypes_free(cs);
	if (!err)
		err = fbtf_seal(btf, NULL, &sealed);
	if (err && err != -ENOMEM)
		log_msg(LOG_ERROR, "the kernel's types cannot be made: %s (%d)", text_str(&why),
			err);
	text_free(&why);
	btf__free(btf);
	return sealed;
}

struct btf *fbtf_vmlinux(void)
{
	struct btf *btf = made;

	if (btf)
		return btf;
	pthread_mutex_lock(&lock);
	if (!made)
		made = make();
	btf = made;
	pthread_mutex_unlock(&lock);
	return btf;
}

int fbtf_vmlinux_add(const char *types)
{
	struct text why = { 0 };
	struct ctypes *cs = NULL;
	char **grown;
	int err;

	pthread_mutex_lock(&lock);
	err = made ? -EBUSY : ctypes_new(&cs);
	if (!err)
		err = declare(cs, &why);
	if (!err)
		err = ctypes_declare(cs, types, &why); /* beside the kernel's and one another */
	if (err == -EINVAL)
		log_msg(LOG_ERROR, "types to be shown as the kernel's: %s", text_str(&why));
	grown = err ? NULL : base_grow(added, &cap_added, nadded + 1, sizeof(*added));
	if (grown) {
		added = grown;
		added[nadded] = base_strdup(types);
		nadded += added[nadded] != NULL;
	}
	if (!err && (!grown || !nadded))
		err = -ENOMEM;
	pthread_mutex_unlock(&lock);
	ctypes_free(cs);
	text_free(&why);
	return err;
}
