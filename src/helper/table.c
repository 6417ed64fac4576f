/* SPDX-License-Identifier: MIT */
/* The table of helpers, made from helper.def, and the names of all that the kernel has. */
#include <ctype.h>
#include <linux/bpf.h>
#include <string.h>

#include "helper/helper_int.h"

#define MAP(type) (1ull << BPF_MAP_TYPE_##type)
#define BASE      HELPERS_BASE
#define TRACING   HELPERS_TRACING
#define KPROBE    HELPERS_KPROBE
#define SKB       HELPERS_SKB
#define TC        HELPERS_TC
#define XDP       HELPERS_XDP

static const struct helper_proto helpers[] = {
#define HELPER(text, func, bits, group, types, result, ...)                                        \
	[BPF_FUNC_##text] = { .id = BPF_FUNC_##text, .name = #text, .fn = func, .ret = result,     \
			      .args = { __VA_ARGS__ }, .flags = bits, .groups = group,             \
			      .maps = types },
#define TAIL HELPER
#include "helper/helper.def"
};

const struct helper_proto *helper_of(u32 id)
{
	return id < ARRAY_SIZE(helpers) && helpers[id].name ? &helpers[id] : NULL;
}

const char *helper_name(u32 id)
{
	static const char *const names[] = {
#define NAME(text) #text
		__BPF_FUNC_MAPPER(NAME)
	};

	/* The last ones ever added, which older <linux/bpf.h> lack: new functions are kfuncs. */
	static const char *const last[] = { "cgrp_storage_get", "cgrp_storage_delete" };

	if (id >= 210 && id < 210 + ARRAY_SIZE(last))
		return last[id - 210];
	return id < ARRAY_SIZE(names) ? names[id] : NULL;
}

static bool has_word(const char *list, const char *word)
{
	size_t len = strlen(word);
	const char *at = list;

	for (; (at = strstr(at, word)); at += len)
		if ((at == list || at[-1] == ' ') && !isalnum((unsigned char)at[len]) && at[len] != '_')
			return true;
	return false;
}

const char *helper_missing(u32 id)
{
	static const struct {
		const char *why, *names;
	} rows[] = {
#define MISSING(reason, ...) { reason, #__VA_ARGS__ },
#include "helper/missing.def"
#undef MISSING
	};
	const char *name = helper_name(id);

	for (size_t i = 0; name && i < ARRAY_SIZE(rows); i++)
		if (has_word(rows[i].names, name))
			return rows[i].why;
	return NULL;
}

_Thread_local struct helper_run helper_run;
