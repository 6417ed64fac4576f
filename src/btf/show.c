/* SPDX-License-Identifier: MIT */
/*
 * Values by their BTF type in the form of bpf_snprintf_btf() (bpf-helpers(7)): "(struct x){ .a = (int)1, }",
 * without what is zero unless BTF_F_ZERO asks for it.
 */
#include <ctype.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "btf/fbtf_int.h"

#define MAX_DEPTH  32
#define MAX_LEVELS 10 /* of arrays and pointers in front of a name; beyond, the name is left out */

struct shower {
	const struct btf *btf;
	const u8 *data; /* the whole value, `size` bytes */
	u64 size, flags;
	const struct fbtf_show_to *to;
	u32 depth;
	bool quiet;     /* only looking whether anything would be shown */
	bool any;       /* something was */
	bool in_array;  /* elements have no name */
	bool in_text;   /* of bytes that may be text: ends at a zero byte */
	bool ended;
};

/* What is shown: its type with modifiers, as member of a struct perhaps. */
struct item {
	u32 id;
	const char *member; /* NULL */
	u64 bit;            /* from the start of the whole value */
	u32 bits;           /* of a bit-field; 0 */
};

static void show(struct shower *s, const struct item *it);

/* ---- text ----------------------------------------------------------------------------------- */

static void put(struct shower *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void put(struct shower *s, const char *fmt, ...)
{
	char buf[256];
	va_list ap;
	int n;

	if (s->quiet)
		return;
	va_start(ap, fmt);
	n = vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (n > 0)
		s->to->put(s->to->arg, buf, (size_t)n < sizeof(buf) ? (size_t)n : sizeof(buf) - 1);
}

static void put_indent(struct shower *s)
{
	for (u32 i = 0; !(s->flags & BTF_F_COMPACT) && i < s->depth; i++)
		put(s, " ");
}

static void put_newline(struct shower *s)
{
	if (!(s->flags & BTF_F_COMPACT))
		put(s, "\n");
}

static void put_end(struct shower *s)
{
	if (s->depth)
		put(s, ",");
	put_newline(s);
}

/* ".member = (struct name *[]){": the name is that of the first typedef, or of what lies behind all. */
static void put_name(struct shower *s, const struct item *it)
{
	const char *name = NULL, *prefix = "", *open = "";
	u32 id = it->id, pointers = 0, arrays = 0, level = 0;
	const struct btf_type *t;
	bool is_typedef = false;
	char stars[MAX_LEVELS + 1] = "", brackets[2 * MAX_LEVELS + 1] = "";

	if (s->in_array)
		return;
	for (;; level++) {
		t = btf__type_by_id(s->btf, id);
		while (t && level && btf_is_mod(t))
			t = btf__type_by_id(s->btf, t->type);
		if (!t || level == MAX_LEVELS)
			return;
		if (btf_is_typedef(t)) {
			name = name ? name : fbtf_name(s->btf, t->name_off);
			is_typedef = true;
			id = t->type;
		} else if (btf_is_array(t)) {
			brackets[2 * arrays] = '[';
			brackets[2 * arrays++ + 1] = ']';
			open = "[";
			id = btf_array(t)->type;
		} else if (btf_is_ptr(t)) {
			stars[pointers++] = '*';
			id = t->type;
		} else {
			break;
		}
		if (!id) /* void */
			break;
	}
	if (!name)
		name = fbtf_name(s->btf, t->name_off);
	if (btf_is_composite(t)) {
		prefix = btf_is_struct(t) ? "struct" : "union";
		open = arrays ? open : "{";
	} else if (btf_is_any_enum(t)) {
		prefix = "enum";
	}
	if (pointers)
		open = "";
	if (is_typedef)
		prefix = "";
	if (s->flags & BTF_F_NONAME)
		put(s, "%s", open);
	else
		put(s, "%s%s%s(%s%s%.64s%s%s%s)%s", it->member && *it->member ? "." : "", it->member ? it->member : "",
		    it->member && *it->member ? " = " : "", prefix, *prefix && *name ? " " : "", name,
		    *stars ? " " : "", stars, brackets, open);
}

/* One value; what is zero is only shown when asked for, or when it is all there is. */
static void put_value(struct shower *s, const struct item *it, bool zero, const char *text)
{
	if (zero && !(s->flags & BTF_F_ZERO) && s->depth)
		return;
	s->any = true;
	put_indent(s);
	put_name(s, it);
	put(s, "%s", text);
	put_end(s);
}

/* ---- values --------------------------------------------------------------------------------- */

/* Little-endian, as the machine is. False outside the data. */
static bool load(const struct shower *s, u64 bit, u32 width, unsigned __int128 *out)
{
	u64 first = bit / 8, last = (bit + width + 7) / 8;
	unsigned __int128 v = 0;

	if (!width || (bit & 7) + width > 128 || last > s->size)
		return false;
	for (u64 i = last; i > first; i--)
		v = v << 8 | s->data[i - 1];
	v >>= bit & 7;
	if (width < 128)
		v &= ((unsigned __int128)1 << width) - 1;
	*out = v;
	return true;
}

/* Bit-fields and numbers of other sizes than C's. */
static void show_bits(struct shower *s, const struct item *it, u64 bit, u32 width)
{
	unsigned __int128 v;
	char text[48];

	if (!load(s, bit, width, &v))
		return;
	if (v >> 64)
		snprintf(text, sizeof(text), "0x%llx%016llx", (unsigned long long)(v >> 64), (unsigned long long)v);
	else
		snprintf(text, sizeof(text), "0x%llx", (unsigned long long)v);
	put_value(s, it, !v, text);
}

static void show_int(struct shower *s, const struct item *it, const struct btf_type *t)
{
	u32 width = btf_int_bits(t), offset = btf_int_offset(t);
	bool is_signed = btf_int_encoding(t) & BTF_INT_SIGNED;
	unsigned __int128 v;
	char text[24];
	s64 sv;

	if (offset || it->bit % 8 || (width != 8 && width != 16 && width != 32 && width != 64)) {
		show_bits(s, it, it->bit + offset, width);
		return;
	}
	if (!load(s, it->bit, width, &v))
		return;
	if (width == 8 && s->in_text) {
		s->ended |= !v;
		if (!v)
			return;
		if (isprint((u8)v) || (u8)v >= 0xa0) { /* as Latin-1, which is the kernel's */
			snprintf(text, sizeof(text), "'%c'", (char)v);
			put_value(s, it, false, text);
			return;
		}
	}
	sv = width == 64 ? (s64)v : (s64)((u64)v << (64 - width)) >> (64 - width);
	if (is_signed)
		snprintf(text, sizeof(text), "%lld", (long long)sv);
	else
		snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	put_value(s, it, !v, text);
}

static void show_enum(struct shower *s, const struct item *it, const struct btf_type *t)
{
	bool wide = btf_kind(t) == BTF_KIND_ENUM64;
	unsigned __int128 raw;
	char text[24];
	s64 v;

	if (it->bit % 8) {
		show_bits(s, it, it->bit, t->size * 8);
		return;
	}
	/* As the kernel reads it: 4 bytes, whatever its size, or 8. */
	if (!load(s, it->bit, wide ? 64 : t->size < 4 ? t->size * 8 : 32, &raw))
		return;
	v = wide ? (s64)raw : (s32)raw;
	for (u32 i = 0; i < btf_vlen(t); i++) {
		if (v != (wide ? (s64)btf_enum64_value(&btf_enum64(t)[i]) : (s64)btf_enum(t)[i].val))
			continue;
		/* One with a name is not left out. */
		put_value(s, it, false, fbtf_name(s->btf, wide ? btf_enum64(t)[i].name_off : btf_enum(t)[i].name_off));
		return;
	}
	if (btf_kflag(t))
		snprintf(text, sizeof(text), "%lld", (long long)v);
	else
		snprintf(text, sizeof(text), "%llu", (unsigned long long)(wide ? (u64)v : (u32)v));
	put_value(s, it, !v, text);
}

static void show_ptr(struct shower *s, const struct item *it)
{
	unsigned __int128 v;
	char text[24];

	if (!load(s, it->bit, 64, &v))
		return;
	snprintf(text, sizeof(text), "0x%016llx",
		 (unsigned long long)(s->flags & BTF_F_PTR_RAW || !v ? (u64)v : s->to->hide((u64)v)));
	put_value(s, it, !v, text);
}

/* ---- structs and arrays --------------------------------------------------------------------- */

static void show_members(struct shower *s, const struct item *it, const struct btf_type *t)
{
	const struct btf_member *m = btf_members(t);

	put_indent(s);
	put_name(s, it);
	put_newline(s);
	s->in_array = s->in_text = false; /* members have names, also those of elements */
	s->depth++;
	for (u32 i = 0; i < btf_vlen(t); i++)
		show(s, &(struct item){ m[i].type, fbtf_name(s->btf, m[i].name_off),
					it->bit + btf_member_bit_offset(t, i), btf_member_bitfield_size(t, i) });
	s->depth--;
	put_indent(s);
	put(s, "}");
	put_end(s);
}

static void show_elements(struct shower *s, const struct item *it, const struct btf_type *t)
{
	const struct btf_array *a = btf_array(t);
	const struct btf_type *elem = fbtf_strip(s->btf, a->type, NULL);
	s64 size = fbtf_size(s->btf, a->type);

	put_indent(s);
	put_name(s, it);
	put_newline(s);
	s->depth++;
	for (u32 i = 0; elem && size > 0 && i < a->nelems; i++) {
		/* What elements are is said anew for each: one may be an array itself. */
		s->in_array = true;
		s->in_text = btf_is_int(elem) && elem->size == 1;
		s->ended = i && s->in_text && s->ended;
		show(s, &(struct item){ a->type, NULL, it->bit + (u64)i * (u64)size * 8, 0 });
		if (s->in_text && s->ended)
			break;
	}
	s->in_text = s->ended = false;
	s->depth--;
	put_indent(s);
	put(s, "]");
	put_end(s);
}

static void aggregate(struct shower *s, const struct item *it, const struct btf_type *t)
{
	bool in_array = s->in_array;

	if (btf_is_array(t))
		show_elements(s, it, t);
	else
		show_members(s, it, t);
	s->in_array = in_array;
}

/* Nested ones without anything to show are left out. */
static bool is_empty(struct shower *s, const struct item *it, const struct btf_type *t)
{
	struct shower look = *s;

	if (!s->depth || s->flags & BTF_F_ZERO || s->quiet)
		return false;
	look.quiet = true;
	look.any = false;
	aggregate(&look, it, t);
	return !look.any;
}

static void show(struct shower *s, const struct item *it)
{
	const struct btf_type *t = fbtf_strip(s->btf, it->id, NULL);

	if (!t || s->depth > MAX_DEPTH)
		return;
	if (it->bits)
		show_bits(s, it, it->bit, it->bits);
	else if (btf_is_int(t))
		show_int(s, it, t);
	else if (btf_is_any_enum(t))
		show_enum(s, it, t);
	else if (btf_is_ptr(t))
		show_ptr(s, it);
	else if (!btf_is_array(t) && !btf_is_composite(t))
		put(s, "<unsupported kind:%u>", btf_kind(t));
	else if (!is_empty(s, it, t))
		aggregate(s, it, t);
}

int fbtf_show(const struct btf *btf, u32 id, const void *data, u64 flags, const struct fbtf_show_to *to)
{
	struct shower s = { .btf = btf, .data = data, .flags = flags, .to = to };
	s64 size = fbtf_size(btf, id);

	if (size < 0)
		return -EINVAL;
	s.size = (u64)size;
	show(&s, &(struct item){ .id = id });
	return 0;
}
