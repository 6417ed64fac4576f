/* SPDX-License-Identifier: MIT */
/* BTF from outside: the header, the sections, and what holds of each type by itself. */
#include <errno.h>
#include <string.h>

#include "btf/fbtf_int.h"

#define INFO_MASK 0x9f00ffffu /* kind_flag, kind, vlen */
#define INT_MASK  0x0fffffffu

static const char *const kind_names[] = {
	"void", "INT", "PTR", "ARRAY", "STRUCT", "UNION", "ENUM", "FWD", "TYPEDEF", "VOLATILE",
	"CONST", "RESTRICT", "FUNC", "FUNC_PROTO", "VAR", "DATASEC", "FLOAT", "DECL_TAG",
	"TYPE_TAG", "ENUM64",
};

/* ---- names -------------------------------------------------------------------------------------
 */

static const char *string(const struct fbtf_check *c, u32 off)
{
	if (off < c->start_str)
		return btf__str_by_offset(c->base, off);
	off -= c->start_str;
	return off < c->str_len ? c->strs + off : NULL;
}

static bool valid_offset(const struct fbtf_check *c, u32 off)
{
	return off <= FBTF_MAX_NAME && string(c, off);
}

/* Letters as the kernel counts them: those of Latin-1 too. */
static bool is_letter(unsigned char ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '_' ||
	       (ch >= 0xc0 && ch != 0xd7 && ch != 0xf7);
}

/* C identifiers; names of sections and variables may have dots. */
static bool valid_name(const struct fbtf_check *c, u32 off, bool dots)
{
	const char *s = string(c, off);
	u32 i;

	for (i = 0; s && s[i] && i < FBTF_NAME_LEN; i++)
		if (!is_letter((unsigned char)s[i]) && !(dots && s[i] == '.') &&
		    !(i && s[i] >= '0' && s[i] <= '9'))
			return false;
	return i && !s[i];
}

bool fbtf_valid_param(const struct fbtf_check *c, u32 name_off)
{
	return !name_off || (valid_offset(c, name_off) && valid_name(c, name_off, false));
}

static const char *shown_name(const struct fbtf_check *c, const struct btf_type *t)
{
	const char *s = t->name_off && t->name_off <= FBTF_MAX_NAME ? string(c, t->name_off) : NULL;

	return s && valid_name(c, t->name_off, true) ? s : "";
}

/* ---- messages ----------------------------------------------------------------------------------
 */

const struct btf_type *fbtf_type(const struct fbtf_check *c, u32 id)
{
	if (id < c->start_id)
		return btf__type_by_id(c->base, id);
	id -= c->start_id;
	return id < c->n ? c->types[id] : NULL;
}

int fbtf_refuse(struct fbtf_check *c, const char *fmt, ...)
{
	const struct btf_type *t = c->at ? fbtf_type(c, c->at) : NULL;
	va_list ap;

	if (!c->why)
		return -EINVAL;
	if (c->at)
		text_printf(c->why, "BTF type %u", c->at);
	if (t && btf_kind(t) < ARRAY_SIZE(kind_names))
		text_printf(c->why, " (%s%s%.64s)", kind_names[btf_kind(t)],
			    *shown_name(c, t) ? " " : "", shown_name(c, t));
	text_puts(c->why, c->at ? ": " : "BTF: ");
	va_start(ap, fmt);
	text_vprintf(c->why, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- kinds by themselves -----------------------------------------------------------------------
 */

/* What the name of a kind must be. */
enum name_rule { NAME_FREE, NAME_NONE, NAME_MAYBE, NAME_IDENT, NAME_DOTTED, NAME_VALUE };

static int check_int(struct fbtf_check *c, const struct btf_type *t, const void *data)
{
	const u32 *info = data;
	u32 bits = BTF_INT_BITS(*info) + BTF_INT_OFFSET(*info), enc = BTF_INT_ENCODING(*info);

	if (*info & ~INT_MASK)
		return fbtf_refuse(c, "reserved bits are set in the integer's description 0x%x",
				   *info);
	if (bits > 128)
		return fbtf_refuse(c, "an integer of %u bits", bits);
	if ((bits + 7) / 8 > t->size)
		return fbtf_refuse(c, "%u bits do not fit %u bytes", bits, t->size);
	/* The kernel tells this from what is wrong by another errno. */
	if (enc && enc != BTF_INT_SIGNED && enc != BTF_INT_CHAR && enc != BTF_INT_BOOL) {
		fbtf_refuse(c, "unknown encoding %u", enc);
		return -FBTF_ENOTSUPP;
	}
	return 0;
}

static int check_ref(struct fbtf_check *c, const struct btf_type *t, const void *data)
{
	(void)data;
	if (t->type > FBTF_MAX_TYPE)
		return fbtf_refuse(c, "it refers to type %u, more than there can be", t->type);
	return 0;
}

static int check_fwd(struct fbtf_check *c, const struct btf_type *t, const void *data)
{
	(void)data;
	return t->type ? fbtf_refuse(c, "a forward declaration refers to type %u", t->type) : 0;
}

static int check_array(struct fbtf_check *c, const struct btf_type *t, const void *data)
{
	const struct btf_array *a = data;

	if (t->size)
		return fbtf_refuse(c, "an array has a size of its own, %u", t->size);
	if (!a->type || a->type > FBTF_MAX_TYPE)
		return fbtf_refuse(c, "its elements cannot be of type %u", a->type);
	if (!a->index_type || a->index_type > FBTF_MAX_TYPE)
		return fbtf_refuse(c, "its index cannot be of type %u", a->index_type);
	return 0;
}

static int check_record(struct fbtf_check *c, const struct btf_type *t, const void *data)
{
	const struct btf_member *m = data;
	u32 i, last = 0, off;

	for (i = 0; i < btf_vlen(t); i++, m++) {
		if (!valid_offset(c, m->name_off) ||
		    (m->name_off && !valid_name(c, m->name_off, false)))
			return fbtf_refuse(c, "member %u has no valid name", i);
		if (!m->type || m->type > FBTF_MAX_TYPE)
			return fbtf_refuse(c, "member %u cannot be of type %u", i, m->type);
		off = btf_member_bit_offset(t, i);
		if (btf_is_union(t) && off)
			return fbtf_refuse(c, "member %u of a union starts at bit %u", i, off);
		/* Not after the end: the last member may be `char a[0]`. */
		if (off < last)
			return fbtf_refuse(c, "member %u at bit %u comes before the one before it",
					   i, off);
		if ((off >> 3) + !!(off & 7) > t->size)
			return fbtf_refuse(c, "member %u at bit %u is behind the end, %u bytes", i,
					   off, t->size);
		last = off;
	}
	return 0;
}

static int check_enum(struct fbtf_check *c, const struct btf_type *t, const void *data)
{
	u32 i, step = btf_kind(t) == BTF_KIND_ENUM64 ? sizeof(struct btf_enum64) :
						       sizeof(struct btf_enum);
	u32 name;

	if (t->size > 8 || !t->size || (t->size & (t->size - 1)))
		return fbtf_refuse(c, "an enum of %u bytes", t->size);
	for (i = 0; i < btf_vlen(t); i++) {
		/* The name comes first in both forms. */
		memcpy(&name, (const char *)data + (size_t)i * step, sizeof(name));
		if (!name || !valid_offset(c, name) || !valid_name(c, name, false))
			return fbtf_refuse(c, "enumerator %u has no valid name", i);
	}
	return 0;
}

static int check_func(struct fbtf_check *c, const struct btf_type *t, const void *data)
{
	(void)data;
	if (btf_vlen(t) > (c->object ? BTF_FUNC_EXTERN : BTF_FUNC_GLOBAL))
		return fbtf_refuse(c, "linkage %u cannot be loaded", btf_vlen(t));
	return 0;
}

static int check_nothing(struct fbtf_check *c, const struct btf_type *t, const void *data)
{
	(void)c, (void)t, (void)data;
	return 0;
}

static int check_var(struct fbtf_check *c, const struct btf_type *t, const void *data)
{
	const struct btf_var *v = data;

	if (!t->type || t->type > FBTF_MAX_TYPE)
		return fbtf_refuse(c, "a variable cannot be of type %u", t->type);
	if (v->linkage > (c->object ? BTF_VAR_GLOBAL_EXTERN : BTF_VAR_GLOBAL_ALLOCATED))
		return fbtf_refuse(c, "linkage %u cannot be loaded", v->linkage);
	return 0;
}

static int check_datasec(struct fbtf_check *c, const struct btf_type *t, const void *data)
{
	const struct btf_var_secinfo *v = data;
	u64 end = 0;
	u32 i;

	if (!t->size && !c->object)
		return fbtf_refuse(c, "the section has no size");
	for (i = 0; i < btf_vlen(t); i++, v++) {
		if (!v->type || v->type > FBTF_MAX_TYPE)
			return fbtf_refuse(c, "variable %u cannot be type %u", i, v->type);
		if (c->object)
			continue;
		if (v->offset < end || v->offset >= t->size)
			return fbtf_refuse(c, "variable %u is at %u, outside or over another", i,
					   v->offset);
		end = (u64)v->offset + v->size;
		if (!v->size || end > t->size)
			return fbtf_refuse(c, "variable %u of %u bytes at %u does not fit %u", i,
					   v->size, v->offset, t->size);
	}
	return 0;
}

static int check_float(struct fbtf_check *c, const struct btf_type *t, const void *data)
{
	(void)data;
	if (t->size != 2 && t->size != 4 && t->size != 8 && t->size != 12 && t->size != 16)
		return fbtf_refuse(c, "a floating-point number of %u bytes", t->size);
	return 0;
}

static int check_decl_tag(struct fbtf_check *c, const struct btf_type *t, const void *data)
{
	const struct btf_decl_tag *tag = data;

	(void)t;
	if (tag->component_idx < -1)
		return fbtf_refuse(c, "component %d", tag->component_idx);
	return 0;
}

/* A kind's record: bytes behind struct btf_type, whether vlen and kind_flag may be set, its name.
 */
static const struct {
	int (*check)(struct fbtf_check *c, const struct btf_type *t, const void *data);
	u8 fixed, each;
	bool vlen, flag;
	u8 name;
} kinds[] = {
	[BTF_KIND_INT] = { check_int, 4, 0, false, false, NAME_FREE },
	[BTF_KIND_PTR] = { check_ref, 0, 0, false, false, NAME_NONE },
	[BTF_KIND_ARRAY] = { check_array, 12, 0, false, false, NAME_NONE },
	[BTF_KIND_STRUCT] = { check_record, 0, 12, true, true, NAME_MAYBE },
	[BTF_KIND_UNION] = { check_record, 0, 12, true, true, NAME_MAYBE },
	[BTF_KIND_ENUM] = { check_enum, 0, 8, true, true, NAME_MAYBE },
	[BTF_KIND_FWD] = { check_fwd, 0, 0, false, true, NAME_IDENT },
	[BTF_KIND_TYPEDEF] = { check_ref, 0, 0, false, false, NAME_IDENT },
	[BTF_KIND_VOLATILE] = { check_ref, 0, 0, false, false, NAME_NONE },
	[BTF_KIND_CONST] = { check_ref, 0, 0, false, false, NAME_NONE },
	[BTF_KIND_RESTRICT] = { check_ref, 0, 0, false, false, NAME_NONE },
	[BTF_KIND_FUNC] = { check_func, 0, 0, true, false, NAME_IDENT },
	[BTF_KIND_FUNC_PROTO] = { check_nothing, 0, 8, true, false, NAME_NONE },
	[BTF_KIND_VAR] = { check_var, 4, 0, false, false, NAME_DOTTED },
	[BTF_KIND_DATASEC] = { check_datasec, 0, 12, true, false, NAME_DOTTED },
	[BTF_KIND_FLOAT] = { check_float, 0, 0, false, false, NAME_FREE },
	[BTF_KIND_DECL_TAG] = { check_decl_tag, 4, 0, false, false, NAME_VALUE },
	[BTF_KIND_TYPE_TAG] = { check_ref, 0, 0, false, false, NAME_VALUE },
	[BTF_KIND_ENUM64] = { check_enum, 0, 12, true, true, NAME_MAYBE },
};

static int check_name(struct fbtf_check *c, const struct btf_type *t, enum name_rule rule)
{
	const char *s;
	bool ok = true;

	if (!valid_offset(c, t->name_off))
		return fbtf_refuse(c, "the name is at %u, outside the strings", t->name_off);
	s = string(c, t->name_off);
	switch (rule) {
	case NAME_FREE: break;
	case NAME_NONE: ok = !t->name_off; break;
	case NAME_MAYBE: ok = !t->name_off || valid_name(c, t->name_off, false); break;
	case NAME_IDENT: ok = t->name_off && valid_name(c, t->name_off, false); break;
	case NAME_DOTTED: ok = t->name_off && valid_name(c, t->name_off, true); break;
	case NAME_VALUE: ok = *s; break;
	}
	if (ok)
		return 0;
	return fbtf_refuse(c,
			   rule == NAME_NONE ? "this kind has no name" : "the name is not valid");
}

static int check_meta(struct fbtf_check *c, const struct btf_type *t, u32 left, u32 *used)
{
	u32 kind, need;
	int err;

	if (left < sizeof(*t))
		return fbtf_refuse(c, "the type section ends in the middle of a type");
	kind = btf_kind(t);
	if (t->info & ~INFO_MASK)
		return fbtf_refuse(c, "reserved bits are set in its info 0x%x", t->info);
	if (!kind || kind >= ARRAY_SIZE(kinds))
		return fbtf_refuse(c, "unknown kind %u", kind);
	need = kinds[kind].fixed + (kinds[kind].each ? btf_vlen(t) * kinds[kind].each : 0);
	if (left - sizeof(*t) < need)
		return fbtf_refuse(c, "the type section ends in the middle of a type of %u entries",
				   btf_vlen(t));
	*used = (u32)sizeof(*t) + need;
	/* Whole: from here on messages may show it. There is room. */
	c->types[c->n++] = t;
	err = check_name(c, t, kinds[kind].name);
	if (err)
		return err;
	if (btf_vlen(t) && !kinds[kind].vlen)
		return fbtf_refuse(c, "this kind has no entries, vlen is %u", btf_vlen(t));
	if (btf_kflag(t) && !kinds[kind].flag)
		return fbtf_refuse(c, "this kind has no kind_flag");
	return kinds[kind].check(c, t, t + 1);
}

int fbtf_check_metas(struct fbtf_check *c, const void *types, u32 len)
{
	static const struct btf_type void_type;
	const struct btf_type **all;
	u32 used = 0, off;
	int err;

	for (off = 0; off < len || !c->types; off += used) {
		all = base_grow(c->types, &c->cap, c->n + 1, sizeof(*all));
		if (!all)
			return -ENOMEM;
		c->types = all;
		if (!c->n && !c->start_id) {
			all[c->n++] = &void_type;
			used = 0;
			continue;
		}
		if (off >= len)
			break;
		c->at = c->start_id + (u32)c->n;
		if (c->at > FBTF_MAX_TYPE) {
			fbtf_refuse(c, "more types than there can be");
			return -E2BIG;
		}
		err = check_meta(c, (const void *)((const char *)types + off), len - off, &used);
		if (err)
			return err;
	}
	return 0;
}

/* ---- header and sections -----------------------------------------------------------------------
 */

static int check_sections(struct fbtf_check *c, const struct btf_header *h, u32 size)
{
	u32 rest = size - h->hdr_len;
	bool types_first = h->type_off < h->str_off ||
			   (h->type_off == h->str_off && h->type_len <= h->str_len);
	u32 first_off = types_first ? h->type_off : h->str_off;
	u32 first_len = types_first ? h->type_len : h->str_len;
	u32 then_off = types_first ? h->str_off : h->type_off;
	u32 then_len = types_first ? h->str_len : h->type_len;

	/* No gap, no overlap, nothing else; the strings are last. */
	if (first_off || first_len > rest)
		return fbtf_refuse(c, "the first section does not follow the header");
	if (then_off != first_len)
		return fbtf_refuse(c, then_off < first_len ? "sections overlap" :
							     "there is a gap between the sections");
	if (then_len != rest - first_len)
		return fbtf_refuse(c, "the sections do not fill the data");
	if (h->str_off + h->str_len != rest)
		return fbtf_refuse(c, "the strings are not at the end");
	return 0;
}

static int check_strings(struct fbtf_check *c)
{
	if (c->base && !c->str_len)
		return 0;
	if (!c->str_len || c->str_len - 1 > FBTF_MAX_NAME || c->strs[c->str_len - 1])
		return fbtf_refuse(c, "the string section is empty, too long or not terminated");
	if (!c->base && c->strs[0])
		return fbtf_refuse(c, "the first string is not empty");
	return 0;
}

static int unsupported(struct fbtf_check *c, const char *what, u32 value)
{
	fbtf_refuse(c, "%s %u is not supported", what, value);
	return -FBTF_ENOTSUPP;
}

static int check_header(struct fbtf_check *c, const u8 *data, u32 size, struct btf_header *h)
{
	u32 i;

	memset(h, 0, sizeof(*h));
	if (size < offsetof(struct btf_header, hdr_len) + sizeof(h->hdr_len))
		return fbtf_refuse(c, "%u bytes are too few for a header", size);
	memcpy(&h->hdr_len, data + offsetof(struct btf_header, hdr_len), sizeof(h->hdr_len));
	if (size < h->hdr_len)
		return fbtf_refuse(c, "the header of %u bytes is longer than the data", h->hdr_len);
	/* A longer header of a later version says nothing as long as it is zero. */
	for (i = sizeof(*h); i < h->hdr_len; i++)
		if (data[i]) {
			fbtf_refuse(c, "the header has a field that is not known");
			return -E2BIG;
		}
	memcpy(h, data, h->hdr_len < sizeof(*h) ? h->hdr_len : sizeof(*h));
	if (h->magic != BTF_MAGIC)
		return fbtf_refuse(c, "the magic number is 0x%x, expected 0x%x", h->magic,
				   BTF_MAGIC);
	if (h->version != BTF_VERSION)
		return unsupported(c, "version", h->version);
	if (h->flags)
		return unsupported(c, "flags", h->flags);
	/* Without lengths there are no sections, and libbpf wants the whole header. */
	if (h->hdr_len < sizeof(*h))
		return fbtf_refuse(c, "the header has %u bytes, expected %zu", h->hdr_len, sizeof(*h));
	if (!c->base && size == h->hdr_len)
		return fbtf_refuse(c, "there is no data behind the header");
	return check_sections(c, h, size);
}

/* Where the types and strings of a BTF split from `base` begin. */
static int start_after(struct fbtf_check *c, const struct btf *base)
{
	const struct btf_header *h;
	const struct btf *b;
	u32 size;

	c->base = base;
	c->start_id = base ? btf__type_cnt(base) : 0;
	for (b = base; b; b = btf__base_btf(b)) {
		h = btf__raw_data(b, &size);
		if (!h)
			return -ENOMEM;
		c->start_str += h->str_len;
	}
	return 0;
}

/* `data` is a private copy, whose header is made the usual one. */
static int check_all(struct fbtf_check *c, u8 *data, u32 *size)
{
	struct btf_header h;
	int err = check_header(c, data, *size, &h);

	if (err)
		return err;
	/* A longer header that is zero means nothing; without it the types are aligned. */
	if (h.hdr_len > sizeof(h)) {
		*size -= h.hdr_len - (u32)sizeof(h);
		memmove(data + sizeof(h), data + h.hdr_len, *size - sizeof(h));
		h.hdr_len = sizeof(h);
		memcpy(data, &h, sizeof(h));
	}
	c->strs = (const char *)data + h.hdr_len + h.str_off;
	c->str_len = h.str_len;
	err = check_strings(c);
	if (err)
		return err;
	if (h.type_off & 3)
		return fbtf_refuse(c, "the types are not aligned to 4 bytes");
	if (!c->base && !h.type_len)
		return fbtf_refuse(c, "there are no types");
	err = fbtf_check_metas(c, data + h.hdr_len + h.type_off, h.type_len);
	return err ? err : fbtf_check_links(c);
}

/* Checks a copy of the bytes; with `out` it becomes libbpf's. */
static int parse(struct fbtf_check c, const void *data, u32 size, struct btf *base, struct btf **out)
{
	u8 *copy;
	int err;

	if (size > FBTF_MAX_BYTES) {
		fbtf_refuse(&c, "%u bytes are more than %u", size, FBTF_MAX_BYTES);
		return -E2BIG;
	}
	/* The caller's bytes may change while they are checked: this copy is what libbpf gets. */
	copy = base_memdup(data, size);
	if (!copy)
		return -ENOMEM;
	err = start_after(&c, base);
	err = err ? err : check_all(&c, copy, &size);
	if (!err && out)
		err = fbtf_open(copy, size, base, out);
	base_free(c.types);
	base_free(c.to);
	base_free(c.bytes);
	base_free(c.state);
	base_free(copy);
	return err;
}

int fbtf_parse(const void *data, u32 size, struct btf *base, struct btf **out, struct text *why)
{
	return parse((struct fbtf_check){ .why = why }, data, size, base, out);
}

int fbtf_check_object(const void *data, u32 size, struct text *why)
{
	return parse((struct fbtf_check){ .why = why, .object = true }, data, size, NULL, NULL);
}
