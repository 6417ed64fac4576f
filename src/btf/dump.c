/* SPDX-License-Identifier: MIT */
/* Values as text or JSON, by their BTF type. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "btf/fbtf_int.h"

#define MAX_DEPTH 32

struct dumper {
	const struct btf *btf;
	const u8 *data;
	u64 size;
	bool json;
	struct text *out;
	u64 budget; /* values still to show: unions and empty types can multiply without bound */
};

static int dump(struct dumper *d, u32 id, u64 bit, u32 width, u32 depth);

/* Up to 128 bits at any bit: little-endian, as the machine is. False outside the data. */
static bool load_bits(const struct dumper *d, u64 bit, u32 width, unsigned __int128 *out)
{
	u64 first = bit / 8, last = (bit + width + 7) / 8, i;
	unsigned __int128 v = 0;

	if (!width || width > 128 || (bit & 7) + width > 128 || last > d->size || first > last)
		return false;
	for (i = last; i > first; i--)
		v = v << 8 | d->data[i - 1];
	v >>= bit & 7;
	if (width < 128)
		v &= ((unsigned __int128)1 << width) - 1;
	*out = v;
	return true;
}

static s64 extend(u64 v, u32 width)
{
	return width < 64 ? (s64)(v << (64 - width)) >> (64 - width) : (s64)v;
}

/* What is not a JSON number is a JSON string. */
static void put_word(struct dumper *d, const char *s)
{
	if (d->json)
		text_json(d->out, s);
	else
		text_puts(d->out, s);
}

static int dump_int(struct dumper *d, const struct btf_type *t, u64 bit, u32 width)
{
	const char *name = fbtf_name(d->btf, t->name_off);
	u32 enc = btf_int_encoding(t);
	unsigned __int128 v;
	char word[48];

	if (!width) {
		width = btf_int_bits(t);
		bit += btf_int_offset(t);
	}
	if (!load_bits(d, bit, width, &v))
		return -EINVAL;
	if (enc & BTF_INT_BOOL) {
		text_puts(d->out, v ? "true" : "false");
	} else if (width > 64) {
		snprintf(word, sizeof(word), "0x%llx%016llx", (unsigned long long)(v >> 64),
			 (unsigned long long)v);
		put_word(d, word);
	} else if (!d->json && width == 8 && isprint((int)v) &&
		   (enc & BTF_INT_CHAR || !strcmp(name, "char"))) {
		text_printf(d->out, (u8)v == '\'' || (u8)v == '\\' ? "'\\%c'" : "'%c'", (int)v);
	} else if (enc & BTF_INT_SIGNED) {
		text_printf(d->out, "%lld", (long long)extend((u64)v, width));
	} else {
		text_printf(d->out, "%llu", (unsigned long long)v);
	}
	return 0;
}

static int dump_enum(struct dumper *d, const struct btf_type *t, u64 bit, u32 width)
{
	bool wide = btf_kind(t) == BTF_KIND_ENUM64;
	unsigned __int128 raw;
	u32 i, n = btf_vlen(t);
	u64 v, have;

	if (!width)
		width = t->size * 8;
	if (!load_bits(d, bit, width, &raw))
		return -EINVAL;
	v = btf_kflag(t) ? (u64)extend((u64)raw, width) : (u64)raw;
	for (i = 0; i < n; i++) {
		if (wide)
			have = btf_enum64_value(&btf_enum64(t)[i]);
		else if (btf_kflag(t))
			have = (u64)(s64)btf_enum(t)[i].val;
		else
			have = (u32)btf_enum(t)[i].val;
		/* Enums of one or two bytes and bit-fields keep what fits. */
		if (!btf_kflag(t) && width < 64)
			have &= (1ull << width) - 1;
		if (have == v) {
			put_word(d, fbtf_name(d->btf, wide ? btf_enum64(t)[i].name_off :
							     btf_enum(t)[i].name_off));
			return 0;
		}
	}
	text_printf(d->out, btf_kflag(t) ? "%lld" : "%llu", (long long)v);
	return 0;
}

static int dump_float(struct dumper *d, const struct btf_type *t, u64 bit)
{
	long double v = 0;
	double f8;
	float f4;

	if (bit & 7 || bit / 8 + t->size > d->size)
		return -EINVAL;
	if (t->size == sizeof(f4)) {
		memcpy(&f4, d->data + bit / 8, sizeof(f4));
		v = f4;
	} else if (t->size == sizeof(f8)) {
		memcpy(&f8, d->data + bit / 8, sizeof(f8));
		v = f8;
	} else if (t->size == sizeof(v)) {
		memcpy(&v, d->data + bit / 8, sizeof(v));
	} else {
		put_word(d, "(unknown float)");
		return 0;
	}
	if (!isfinite(v))
		put_word(d, isnan(v) ? "nan" : v < 0 ? "-inf" : "inf");
	else
		text_printf(d->out, "%.*Lg", t->size == 4 ? 9 : t->size == 8 ? 17 : 21, v);
	return 0;
}

static int dump_ptr(struct dumper *d, u64 bit)
{
	unsigned __int128 v;
	char word[32];

	if (!load_bits(d, bit, 64, &v))
		return -EINVAL;
	snprintf(word, sizeof(word), "0x%llx", (unsigned long long)v);
	put_word(d, word);
	return 0;
}

/* Bytes of one UTF-8 sequence, or 0 (RFC 3629). */
static size_t utf8_len(const u8 *s, size_t left)
{
	size_t n = s[0] < 0x80                   ? 1
		   : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
		   : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
		   : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
						 : 0,
	       i;

	if (!n || n > left)
		return 0;
	for (i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))
		return 0;
	return n;
}

/* A char array as a string up to its NUL; false when it is no text. */
static bool dump_string(struct dumper *d, u64 at, u64 n)
{
	const u8 *s = d->data + at;
	u64 len = strnlen((const char *)s, n), i, step;
	char *copy;

	for (i = 0; i < len; i += step) {
		step = utf8_len(s + i, len - i);
		if (!step || (s[i] < 0x20 && !strchr("\n\t\r\x1b", s[i])))
			return false;
	}
	copy = base_alloc(len + 1);
	if (!copy) {
		d->out->oom = true;
		return true;
	}
	memcpy(copy, s, len);
	text_json(d->out, copy);
	base_free(copy);
	return true;
}

static bool is_char(const struct dumper *d, const struct btf_type *t)
{
	return t && btf_is_int(t) && t->size == 1 &&
	       (btf_int_encoding(t) & BTF_INT_CHAR ||
		!strcmp(fbtf_name(d->btf, t->name_off), "char"));
}

static int dump_array(struct dumper *d, const struct btf_type *t, u64 bit, u32 depth)
{
	const struct btf_array *a = btf_array(t);
	s64 size = fbtf_size(d->btf, a->type);
	u64 i, n = a->nelems;
	int err = 0;

	if (size < 0 || bit & 7 || bit / 8 > d->size ||
	    (size && n > (d->size - bit / 8) / (u64)size))
		return -EINVAL;
	if (is_char(d, fbtf_strip(d->btf, a->type, NULL)) && dump_string(d, bit / 8, n))
		return 0;
	text_puts(d->out, "[");
	for (i = 0; !err && size && i < n; i++) {
		if (i)
			text_puts(d->out, d->json ? "," : ", ");
		err = dump(d, a->type, bit + i * (u64)size * 8, 0, depth + 1);
	}
	text_puts(d->out, "]");
	return err;
}

/* One named value of a struct or section. */
static int dump_named(struct dumper *d, const char *name, u32 id, u64 bit, u32 width, u32 depth,
		      bool *more)
{
	int err;

	if (d->json) {
		text_puts(d->out, *more ? "," : "");
		text_json(d->out, name);
		text_puts(d->out, ":");
	} else {
		text_printf(d->out, " .%s = ", name);
	}
	*more = true;
	err = dump(d, id, bit, width, depth + 1);
	if (!d->json)
		text_puts(d->out, ",");
	return err;
}

/* Members of anonymous structs are members of the outer one, as in C. */
static int dump_members(struct dumper *d, const struct btf_type *t, u64 bit, u32 depth, bool *more)
{
	const struct btf_member *m = btf_members(t);
	const struct btf_type *inner;
	const char *name;
	u32 i, width;
	u64 at;
	int err = 0;

	if (depth > MAX_DEPTH || !d->budget)
		return -E2BIG;
	d->budget--;
	for (i = 0; !err && i < btf_vlen(t); i++) {
		name = fbtf_name(d->btf, m[i].name_off);
		inner = fbtf_strip(d->btf, m[i].type, NULL);
		at = bit + btf_member_bit_offset(t, i);
		width = btf_member_bitfield_size(t, i);
		if (*name)
			err = dump_named(d, name, m[i].type, at, width, depth, more);
		else if (inner && btf_is_composite(inner))
			err = dump_members(d, inner, at, depth + 1, more);
	}
	return err;
}

static int dump_datasec(struct dumper *d, const struct btf_type *t, u32 depth)
{
	const struct btf_var_secinfo *v = btf_var_secinfos(t);
	const struct btf_type *var;
	bool more = false;
	int err = 0;
	u32 i;

	text_puts(d->out, "{");
	for (i = 0; !err && i < btf_vlen(t); i++) {
		var = btf__type_by_id(d->btf, v[i].type);
		if (!var || !btf_is_var(var))
			return -EINVAL;
		err = dump_named(d, fbtf_name(d->btf, var->name_off), var->type,
				 (u64)v[i].offset * 8, 0, depth, &more);
	}
	text_puts(d->out, d->json ? "}" : " }");
	return err;
}

static int dump(struct dumper *d, u32 id, u64 bit, u32 width, u32 depth)
{
	const struct btf_type *t = fbtf_strip(d->btf, id, NULL);
	bool more = false;
	int err;

	if (!t)
		return -EINVAL;
	if (depth > MAX_DEPTH || !d->budget)
		return -E2BIG;
	d->budget--;
	switch (btf_kind(t)) {
	case BTF_KIND_INT: return dump_int(d, t, bit, width);
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64: return dump_enum(d, t, bit, width);
	case BTF_KIND_FLOAT: return dump_float(d, t, bit);
	case BTF_KIND_PTR: return dump_ptr(d, bit);
	case BTF_KIND_ARRAY: return dump_array(d, t, bit, depth);
	case BTF_KIND_VAR: return dump(d, t->type, bit, 0, depth + 1);
	case BTF_KIND_DATASEC: return dump_datasec(d, t, depth);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		if (bit & 7 || bit / 8 + t->size > d->size)
			return -EINVAL;
		text_puts(d->out, "{");
		err = dump_members(d, t, bit, depth, &more);
		text_puts(d->out, d->json ? "}" : " }");
		return err;
	default: return -EINVAL;
	}
}

int fbtf_dump_value(const struct btf *btf, u32 type_id, const void *data, size_t size, bool json,
		    struct text *out)
{
	struct dumper d = { btf, data, size, json, out, 16ull * size + 4096 };
	s64 need = fbtf_size(btf, type_id);
	int err;

	if (need < 0 || (u64)need > size)
		return -EINVAL;
	err = dump(&d, type_id, 0, 0, 0);
	return err ? err : out->oom ? -ENOMEM : 0;
}
