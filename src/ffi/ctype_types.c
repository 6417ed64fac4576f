/* SPDX-License-Identifier: MIT */
/* Types as data: the set of declarations, the makers of types, the C ABI's layout of structs. */
#include <errno.h>
#include <string.h>

#include "ffi/ctype_int.h"

/* What differs between the C ABIs of the machines: char, and unnamed bit-fields (AAPCS64 10.1.8).
 */
static const struct {
	bool char_signed;
	bool unnamed_bits_align;
} abi = {
#if defined(__aarch64__)
	.char_signed = false,
	.unnamed_bits_align = true,
#else
	.char_signed = true,
	.unnamed_bits_align = false,
#endif
};

/* Names as gcc writes them to debug information, so that BTF has the kernel's. */
static const struct {
	const char *name;
	u8 kind, size;
	bool is_signed;
} bases[BASE_COUNT] = {
	[BASE_VOID] = { "void", CTYPE_VOID, 0, false },
	[BASE_BOOL] = { "_Bool", CTYPE_BOOL, 1, false },
	[BASE_CHAR] = { "char", CTYPE_INT, 1, true },
	[BASE_SCHAR] = { "signed char", CTYPE_INT, 1, true },
	[BASE_UCHAR] = { "unsigned char", CTYPE_INT, 1, false },
	[BASE_SHORT] = { "short int", CTYPE_INT, 2, true },
	[BASE_USHORT] = { "short unsigned int", CTYPE_INT, 2, false },
	[BASE_INT] = { "int", CTYPE_INT, 4, true },
	[BASE_UINT] = { "unsigned int", CTYPE_INT, 4, false },
	[BASE_LONG] = { "long int", CTYPE_INT, sizeof(long), true },
	[BASE_ULONG] = { "long unsigned int", CTYPE_INT, sizeof(long), false },
	[BASE_LLONG] = { "long long int", CTYPE_INT, 8, true },
	[BASE_ULLONG] = { "long long unsigned int", CTYPE_INT, 8, false },
	[BASE_INT128] = { "__int128", CTYPE_INT, 16, true },
	[BASE_UINT128] = { "__int128 unsigned", CTYPE_INT, 16, false },
	[BASE_FLOAT] = { "float", CTYPE_FLOAT, 4, true },
	[BASE_DOUBLE] = { "double", CTYPE_FLOAT, 8, true },
	[BASE_LDOUBLE] = { "long double", CTYPE_FLOAT, sizeof(long double), true },
};

/* Typedefs that need no declaration: <stdint.h>, <stddef.h>, <stdbool.h>, <linux/types.h>. */
static const struct {
	const char *name;
	u8 base;
	const char *of; /* another of this table, as the kernel's are stacked */
} builtins[] = {
	{ "bool", BASE_BOOL, NULL },
	{ "__s8", BASE_SCHAR, NULL },       { "__u8", BASE_UCHAR, NULL },
	{ "__s16", BASE_SHORT, NULL },      { "__u16", BASE_USHORT, NULL },
	{ "__s32", BASE_INT, NULL },        { "__u32", BASE_UINT, NULL },
	{ "__s64", BASE_LLONG, NULL },      { "__u64", BASE_ULLONG, NULL },
	{ "s8", 0, "__s8" },                { "u8", 0, "__u8" },
	{ "s16", 0, "__s16" },              { "u16", 0, "__u16" },
	{ "s32", 0, "__s32" },              { "u32", 0, "__u32" },
	{ "s64", 0, "__s64" },              { "u64", 0, "__u64" },
	{ "__be16", 0, "__u16" },           { "__le16", 0, "__u16" },
	{ "__be32", 0, "__u32" },           { "__le32", 0, "__u32" },
	{ "__be64", 0, "__u64" },           { "__le64", 0, "__u64" },
	{ "__wsum", 0, "__u32" },           { "__sum16", 0, "__u16" },
	{ "int8_t", BASE_SCHAR, NULL },     { "uint8_t", BASE_UCHAR, NULL },
	{ "int16_t", BASE_SHORT, NULL },    { "uint16_t", BASE_USHORT, NULL },
	{ "int32_t", BASE_INT, NULL },      { "uint32_t", BASE_UINT, NULL },
	{ "int64_t", BASE_LONG, NULL },     { "uint64_t", BASE_ULONG, NULL },
	{ "intptr_t", BASE_LONG, NULL },    { "uintptr_t", BASE_ULONG, NULL },
	{ "intmax_t", BASE_LONG, NULL },    { "uintmax_t", BASE_ULONG, NULL },
	{ "size_t", BASE_ULONG, NULL },     { "ssize_t", BASE_LONG, NULL },
	{ "ptrdiff_t", BASE_LONG, NULL },   { "off_t", BASE_LONG, NULL },
	{ "pid_t", BASE_INT, NULL },        { "uid_t", BASE_UINT, NULL },
	{ "gid_t", BASE_UINT, NULL },       { "uint", BASE_UINT, NULL },
	{ "ulong", BASE_ULONG, NULL },      { "ushort", BASE_USHORT, NULL },
	{ "wchar_t", BASE_INT, NULL },
};

/* ---- the set of declarations -------------------------------------------------------------------
 */

const char *ctypes_word(struct ctypes *cs, const char *s, size_t len)
{
	char *p = arena_alloc(&cs->arena, len + 1);

	if (p)
		memcpy(p, s, len);
	return p;
}

const struct cdecl *ctypes_find(const struct ctypes *cs, u8 space, const char *s, size_t len)
{
	size_t i = (uintptr_t)hash_get(&cs->index, hash_bytes(s, len, space));

	for (; i; i = cs->decls[i - 1].next) {
		const struct cdecl *d = &cs->decls[i - 1];

		if (d->space == space && strlen(d->name) == len && !memcmp(d->name, s, len))
			return d;
	}
	return NULL;
}

int ctypes_add_decl(struct ctypes *cs, const struct cdecl *d)
{
	u64 key = hash_bytes(d->name, strlen(d->name), d->space);
	struct cdecl *all = base_grow(cs->decls, &cs->cap_decls, cs->ndecls + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	cs->decls = all;
	all[cs->ndecls] = *d;
	all[cs->ndecls].next = (u32)(uintptr_t)hash_get(&cs->index, key);
	if (hash_put(&cs->index, key, (void *)(uintptr_t)(cs->ndecls + 1)) < 0)
		return -ENOMEM;
	cs->ndecls++;
	return 0;
}

int ctypes_add_order(struct ctypes *cs, const struct ctype *t)
{
	const struct ctype **all =
		base_grow(cs->order, &cs->cap_order, cs->norder + 1, sizeof(*all));

	if (!all)
		return -ENOMEM;
	cs->order = all;
	all[cs->norder++] = t;
	return 0;
}

struct ctypes_mark ctypes_mark(struct ctypes *cs)
{
	cs->ncompleted = 0;
	return (struct ctypes_mark){ cs->ndecls, cs->norder };
}

/* Typedefs and qualified copies of a struct show what it is now. */
static void refresh_derived(struct cnode *node)
{
	struct cnode *d;

	for (d = node->derived; d; d = d->next_derived) {
		d->t.size = node->t.size;
		d->t.align = node->t.align;
		d->t.incomplete = node->t.incomplete;
		if (d->depth <= node->depth)
			d->depth = node->depth + 1;
		if (d->t.kind != CTYPE_TYPEDEF) {
			d->t.count = node->t.count;
			d->t.members = node->t.members;
		}
	}
}

void ctypes_rollback(struct ctypes *cs, struct ctypes_mark mark)
{
	while (cs->ndecls > mark.ndecls) {
		const struct cdecl *d = &cs->decls[--cs->ndecls];
		u64 key = hash_bytes(d->name, strlen(d->name), d->space);

		/* Replacing a key that is there needs no memory. */
		hash_del(&cs->index, key);
		if (d->next)
			hash_put(&cs->index, key, (void *)(uintptr_t)d->next);
	}
	cs->norder = mark.norder;
	while (cs->ncompleted) {
		struct cnode *node = cs->completed[--cs->ncompleted];

		node->t.incomplete = true;
		node->t.size = node->t.count = 0;
		node->t.align = 1;
		node->t.members = NULL;
		refresh_derived(node);
	}
}

int ctype_completed(struct ctypes *cs, struct cnode *node)
{
	struct cnode **all = base_grow(cs->completed, &cs->cap_completed, cs->ncompleted + 1,
				       sizeof(*all));

	if (!all)
		return -ENOMEM;
	cs->completed = all;
	all[cs->ncompleted++] = node;
	refresh_derived(node);
	return 0;
}

/* Whether the words differ in the order of two neighbours. */
static bool swapped(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a && a[0] == b[1] && a[1] == b[0] && !strcmp(a + 2, b + 2);
}

static void nearer(const char **best, unsigned *dist, const char *word, const char *to, size_t len)
{
	unsigned d = text_distance(word, to);

	/* A third of the letters may be wrong, or two be swapped; more is another word. */
	if (d == 2 && swapped(word, to))
		d = 1;
	if (d < *dist && d <= (len + 2) / 3 && d < len) {
		*dist = d;
		*best = word;
	}
}

const char *ctypes_nearest(const struct ctypes *cs, const char *s, size_t len)
{
	static const char *const words[] = { "int", "unsigned", "signed", "char", "short", "long",
					     "float", "double", "void", "struct", "union", "enum",
					     "const", "volatile", "typedef" };
	const char *best = NULL;
	unsigned dist = 255;
	char word[64];
	size_t i;

	if (len >= sizeof(word))
		return NULL;
	memcpy(word, s, len);
	word[len] = '\0';
	for (i = cs->ndecls; i-- > 0;)
		if (cs->decls[i].what != DECL_ENUMERATOR)
			nearer(&best, &dist, cs->decls[i].name, word, len);
	for (i = 0; i < ARRAY_SIZE(words); i++)
		nearer(&best, &dist, words[i], word, len);
	return best;
}

static int add_builtins(struct ctypes *cs)
{
	struct cnode *node;
	size_t i;

	for (i = 0; i < BASE_COUNT; i++) {
		node = ctype_make(cs, bases[i].kind, bases[i].size,
				  bases[i].size ? bases[i].size : 1);
		if (!node)
			return -ENOMEM;
		node->t.name = bases[i].name;
		node->t.is_signed = i == BASE_CHAR ? abi.char_signed : bases[i].is_signed;
		cs->base[i] = &node->t;
	}
	for (i = 0; i < ARRAY_SIZE(builtins); i++) {
		const char *of = builtins[i].of;
		const struct ctype *to = of ? ctypes_find(cs, SPACE_ORDINARY, of, strlen(of))->type
					    : cs->base[builtins[i].base];
		struct cdecl d = { builtins[i].name, SPACE_ORDINARY, DECL_TYPEDEF,
				   .builtin = true };

		d.type = ctype_typedef(cs, d.name, to);
		if (!d.type || ctypes_add_decl(cs, &d) < 0)
			return -ENOMEM;
	}
	return 0;
}

int ctypes_new(struct ctypes **out)
{
	struct ctypes *cs = base_alloc(sizeof(*cs));

	if (!cs)
		return -ENOMEM;
	cs->arena.limit = CTYPE_MAX_MEMORY;
	if (add_builtins(cs) < 0) {
		ctypes_free(cs);
		return -ENOMEM;
	}
	*out = cs;
	return 0;
}

void ctypes_free(struct ctypes *cs)
{
	if (!cs)
		return;
	arena_free(&cs->arena);
	hash_free(&cs->index);
	base_free(cs->decls);
	base_free(cs->order);
	base_free(cs->completed);
	base_free(cs);
}

const struct ctype *ctypes_nth(const struct ctypes *cs, u32 n)
{
	return n < cs->norder ? cs->order[n] : NULL;
}

/* ---- makers of types ---------------------------------------------------------------------------
 */

struct cnode *ctype_make(struct ctypes *cs, enum ctype_kind kind, u32 size, u32 align)
{
	struct cnode *node = arena_alloc(&cs->arena, sizeof(*node));

	if (!node)
		return NULL;
	node->t.kind = (u8)kind;
	node->t.size = size;
	node->t.align = align;
	node->t.name = "";
	node->t.unqualified = &node->t;
	node->root = node;
	node->depth = 1;
	return node;
}

u32 ctype_depth(const struct ctype *t)
{
	return cnode(t)->depth;
}

const struct ctype *ctype_strip(const struct ctype *t)
{
	while (t->kind == CTYPE_TYPEDEF || t->unqualified != t)
		t = t->kind == CTYPE_TYPEDEF ? t->to : t->unqualified;
	return t;
}

const struct ctype *ctype_pointer(struct ctypes *cs, const struct ctype *to)
{
	struct cnode *n = cnode(to), *p = n->pointer;
	u8 kind = n->root->t.kind;

	if (!p) {
		p = ctype_make(cs, CTYPE_POINTER, POINTER_SIZE, POINTER_SIZE);
		if (!p)
			return NULL;
		p->t.to = to;
		/* A chain of structs that point to one another has no depth. */
		p->depth = kind == CTYPE_STRUCT || kind == CTYPE_UNION ? 2 : n->depth + 1;
		n->pointer = p;
	}
	return &p->t;
}

/* A copy or typedef of a struct that is not complete becomes complete with it. */
static void derive(struct cnode *node, struct cnode *root)
{
	node->root = root;
	if (root->t.kind == CTYPE_STRUCT || root->t.kind == CTYPE_UNION ||
	    root->t.kind == CTYPE_ENUM) {
		node->next_derived = root->derived;
		root->derived = node;
	}
}

const struct ctype *ctype_array(struct ctypes *cs, const struct ctype *of, u32 count, bool open)
{
	struct cnode *a = ctype_make(cs, CTYPE_ARRAY, of->size * count, of->align);

	if (!a)
		return NULL;
	a->t.to = of;
	a->t.count = count;
	a->t.incomplete = open;
	a->depth = cnode(of)->depth + 1;
	return &a->t;
}

const struct ctype *ctype_qualify(struct ctypes *cs, const struct ctype *t, bool c, bool v)
{
	struct cnode *base = cnode(t->unqualified), *q;
	u32 which = (c || t->is_const ? 1 : 0) | (v || t->is_volatile ? 2 : 0);

	if (which == ((t->is_const ? 1u : 0u) | (t->is_volatile ? 2u : 0u)))
		return t;
	/* A qualified array is an array of qualified elements (C11 6.7.3). */
	if (base->root->t.kind == CTYPE_ARRAY) {
		const struct ctype *a = &base->root->t, *of = ctype_qualify(cs, a->to, c, v);

		return of ? ctype_array(cs, of, a->count, a->incomplete) : NULL;
	}
	q = base->quals[which];
	if (!q) {
		q = arena_alloc(&cs->arena, sizeof(*q));
		if (!q)
			return NULL;
		q->t = base->t;
		q->t.is_const = which & 1;
		q->t.is_volatile = which & 2;
		q->t.unqualified = &base->t;
		q->depth = base->depth;
		derive(q, base->root);
		base->quals[which] = q;
	}
	return &q->t;
}

const struct ctype *ctype_typedef(struct ctypes *cs, const char *name, const struct ctype *to)
{
	struct cnode *td = ctype_make(cs, CTYPE_TYPEDEF, to->size, to->align);

	if (!td)
		return NULL;
	td->t.name = name;
	td->t.to = to;
	td->t.incomplete = to->incomplete;
	td->depth = cnode(to)->depth + 1;
	derive(td, cnode(to)->root);
	return &td->t;
}

static bool same_quals(const struct ctype *a, const struct ctype *b)
{
	bool ca = false, cb = false, va = false, vb = false;

	for (; a; a = a->kind == CTYPE_TYPEDEF ? a->to : NULL)
		ca |= a->is_const, va |= a->is_volatile;
	for (; b; b = b->kind == CTYPE_TYPEDEF ? b->to : NULL)
		cb |= b->is_const, vb |= b->is_volatile;
	return ca == cb && va == vb;
}

bool ctype_same(const struct ctype *a, const struct ctype *b)
{
	u32 i;

	if (!same_quals(a, b))
		return false;
	a = ctype_strip(a);
	b = ctype_strip(b);
	if (a == b)
		return true;
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case CTYPE_POINTER: return ctype_same(a->to, b->to);
	case CTYPE_ARRAY: return a->count == b->count && ctype_same(a->to, b->to);
	case CTYPE_FUNC:
		if (a->count != b->count || a->variadic != b->variadic || !ctype_same(a->to, b->to))
			return false;
		for (i = 0; i < a->count; i++)
			if (!ctype_same(a->params[i].type, b->params[i].type))
				return false;
		return true;
	default: return false;
	}
}

/* ---- layout ------------------------------------------------------------------------------------
 */

struct layout {
	u64 bit;   /* the next free one; of a union, always 0 */
	u64 size;  /* bytes so far */
	u32 align;
	bool packed, is_union;
};

/*
 * SysV ABI 3.1.2, Bit-Fields: packed into units of the declared type, never across a boundary of
 * it; width 0 goes to the next boundary; unnamed ones do not align the struct.
 */
static u64 place_bits(struct layout *l, const struct raw_member *m)
{
	u64 unit = (u64)m->type->size * 8;
	bool packed = l->packed || m->packed;
	u64 at = l->bit;

	if (!m->bits) {
		if (abi.unnamed_bits_align && m->type->align > l->align && !packed)
			l->align = m->type->align;
		return ALIGN_UP(at, (u64)m->type->align * 8);
	}
	if (!packed && at / unit != (at + m->bits - 1) / unit)
		at = ALIGN_UP(at, unit);
	if (!packed && (*m->name || abi.unnamed_bits_align) && m->type->align > l->align)
		l->align = m->type->align;
	return at;
}

static u64 place_member(struct layout *l, const struct raw_member *m)
{
	u32 align = l->packed || m->packed ? 1 : m->type->align;

	if (m->aligned > align)
		align = m->aligned;
	if (align > l->align)
		l->align = align;
	return ALIGN_UP(l->bit, (u64)align * 8);
}

int ctype_lay_out(struct ctypes *cs, struct cnode *node, const struct raw_member *raw, u32 n,
		  const struct layout_opts *opts)
{
	struct layout l = { 0, 0, 1, opts->packed, node->t.kind == CTYPE_UNION };
	struct ctype_member *out = arena_alloc(&cs->arena, (size_t)n * sizeof(*out));
	u32 i, count = 0, depth = 0;

	if (!out)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		const struct raw_member *m = &raw[i];
		u64 at = m->is_bits ? place_bits(&l, m) : place_member(&l, m);
		u64 end = at + (m->is_bits ? m->bits : (u64)m->type->size * 8);

		if (end / 8 > CTYPE_MAX_SIZE)
			return -E2BIG;
		if (cnode(m->type)->depth > depth)
			depth = cnode(m->type)->depth;
		if (!l.is_union)
			l.bit = end;
		/* In a union a bit-field of width 0 has no place to move. */
		if ((end + 7) / 8 > l.size && !(l.is_union && m->is_bits && !m->bits))
			l.size = (end + 7) / 8;
		if (m->is_bits && !*m->name)
			continue;
		out[count].name = m->name;
		out[count].type = m->type;
		out[count].bit_off = (u32)at;
		out[count++].bits = m->is_bits ? m->bits : 0;
	}
	if (opts->aligned > l.align)
		l.align = opts->aligned;
	if (ALIGN_UP(l.size, l.align) > CTYPE_MAX_SIZE)
		return -E2BIG;
	node->t.size = (u32)ALIGN_UP(l.size, l.align);
	node->t.align = l.align;
	node->t.members = out;
	node->t.count = count;
	node->t.incomplete = false;
	node->depth = depth + 1;
	return ctype_completed(cs, node);
}
