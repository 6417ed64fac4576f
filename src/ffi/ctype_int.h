/* SPDX-License-Identifier: MIT */
/* Private to ctype_*.c: tokens, the table of declarations, and the makers of types. */
#ifndef FERRY_CTYPE_INT_H
#define FERRY_CTYPE_INT_H

#include "base/base.h"
#include "ffi/ctype.h"

/* Bounds on hostile text. */
#define CTYPE_MAX_TEXT    (512u << 10) /* bytes in one call */
#define CTYPE_MAX_MEMORY  (64u << 20)  /* of one set of declarations */
#define CTYPE_MAX_DEPTH   64           /* nesting of types, declarators and expressions */
#define CTYPE_MAX_SIZE    (1u << 28)   /* bytes of a type: a bit offset fits 32 bits */
#define CTYPE_MAX_MEMBERS 65535        /* what BTF can say */
#define CTYPE_MAX_PARAMS  255

enum { POINTER_SIZE = sizeof(void *) };

/* ---- tokens -----------------------------------------------------------------------------------
 */

enum tok_kind { TOK_END, TOK_IDENT, TOK_NUMBER, TOK_STRING, TOK_PUNCT };

/* Punctuators are their characters, the last in the low byte: '<<' is P2('<', '<'). */
#define P2(a, b)   ((u32)(a) << 8 | (u32)(b))
#define P_ELLIPSIS (P2('.', '.') << 8 | '.')

struct tok {
	u8 kind;          /* enum tok_kind */
	bool is_unsigned; /* numbers: type after C11 6.4.4.1 */
	u8 size;
	u32 line, col;    /* from 1 */
	u32 len;
	u32 punct;
	const char *s;    /* in the text that was given */
	u64 value;
};

/* The tokens of `text`, the last of kind TOK_END; the caller frees. 0, -EINVAL, -ENOMEM. */
int ctype_lex(const char *text, struct tok **toks, u32 *n, struct text *why);
bool tok_is(const struct tok *t, const char *word);

/* ---- declarations ------------------------------------------------------------------------------
 */

enum base_type {
	BASE_VOID, BASE_BOOL, BASE_CHAR, BASE_SCHAR, BASE_UCHAR, BASE_SHORT, BASE_USHORT, BASE_INT,
	BASE_UINT, BASE_LONG, BASE_ULONG, BASE_LLONG, BASE_ULLONG, BASE_INT128, BASE_UINT128,
	BASE_FLOAT, BASE_DOUBLE, BASE_LDOUBLE, BASE_COUNT
};

/* A type with what only its makers need. */
struct cnode {
	struct ctype t;
	struct cnode *pointer;     /* to this type, once made */
	struct cnode *quals[4];    /* const 1, volatile 2: copies, once made */
	struct cnode *root;        /* through typedefs and qualifiers: itself at the end */
	struct cnode *derived; /* of an incomplete root: typedefs and copies to complete later */
	struct cnode *next_derived;
	u32 depth;                 /* types inside one another */
	bool being_defined;
};

enum decl_space { SPACE_TAG, SPACE_ORDINARY };
enum decl_what { DECL_TAG, DECL_TYPEDEF, DECL_ENUMERATOR };

struct cdecl {
	const char *name;
	u8 space, what;
	bool builtin;             /* may be declared anew, as a name of an outer scope */
	const struct ctype *type; /* typedefs: the CTYPE_TYPEDEF */
	s64 value;                /* enumerators */
	bool is_unsigned;         /* of the value's 64 bits */
	u32 next;                 /* index + 1 of the declaration with the same hash before it */
};

struct ctypes {
	struct arena arena;
	struct cdecl *decls;
	size_t ndecls, cap_decls;
	struct hash index;               /* hash of a name: index + 1 into decls */
	const struct ctype **order;      /* for ctypes_nth */
	size_t norder, cap_order;
	struct cnode **completed;        /* since the last mark */
	size_t ncompleted, cap_completed;
	const struct ctype *base[BASE_COUNT];
};

/* What a call may have to take back. */
struct ctypes_mark {
	size_t ndecls, norder;
};
struct ctypes_mark ctypes_mark(struct ctypes *cs);
void ctypes_rollback(struct ctypes *cs, struct ctypes_mark mark);

static inline struct cnode *cnode(const struct ctype *t)
{
	return (struct cnode *)(uintptr_t)t;
}

const struct cdecl *ctypes_find(const struct ctypes *cs, u8 space, const char *s, size_t len);
int ctypes_add_decl(struct ctypes *cs, const struct cdecl *d);
int ctypes_add_order(struct ctypes *cs, const struct ctype *t);
/* The declared name or C keyword nearest to an unknown one; NULL when nothing is near. */
const char *ctypes_nearest(const struct ctypes *cs, const char *s, size_t len);
const char *ctypes_word(struct ctypes *cs, const char *s, size_t len); /* a copy; NULL: no memory */

/* ---- makers of types: NULL when out of memory ---------------------------------------------------
 */

struct cnode *ctype_make(struct ctypes *cs, enum ctype_kind kind, u32 size, u32 align);
const struct ctype *ctype_pointer(struct ctypes *cs, const struct ctype *to);
const struct ctype *ctype_qualify(struct ctypes *cs, const struct ctype *t, bool c, bool v);
const struct ctype *ctype_typedef(struct ctypes *cs, const char *name, const struct ctype *to);
/* NULL also where an array must not be; `open` is `[]`. Size and element were checked. */
const struct ctype *ctype_array(struct ctypes *cs, const struct ctype *of, u32 count, bool open);
u32 ctype_depth(const struct ctype *t);
bool ctype_same(const struct ctype *a, const struct ctype *b);

/* A member before the layout is known. */
struct raw_member {
	const char *name;
	const struct ctype *type;
	u32 bits;
	u32 aligned; /* attribute aligned(N); 0 without */
	bool is_bits, packed;
	u32 line, col;
};

struct layout_opts {
	bool packed;
	u32 aligned;
};

/*
 * Gives members their places and completes `node`. 0, -ENOMEM, or -E2BIG when the type becomes
 * larger than CTYPE_MAX_SIZE.
 */
int ctype_lay_out(struct ctypes *cs, struct cnode *node, const struct raw_member *raw, u32 n,
		  const struct layout_opts *opts);
/* What was declared incomplete is now complete: typedefs and copies follow. */
int ctype_completed(struct ctypes *cs, struct cnode *node);

/* ---- parsing ------------------------------------------------------------------------------------
 */

struct parser {
	struct ctypes *cs;
	const struct tok *toks;
	u32 pos;
	u32 depth;
	struct text *why;
	int err; /* the first: -EINVAL or -ENOMEM */
};

/* Records the first error, at `t`; always false, so that callers can return it. */
bool parse_fail(struct parser *p, const struct tok *t, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool parse_nomem(struct parser *p);
bool parse_enter(struct parser *p); /* one level deeper; parse_leave() after success only */
void parse_leave(struct parser *p);

static inline const struct tok *parse_tok(const struct parser *p)
{
	return &p->toks[p->pos];
}

static inline bool parse_at(const struct parser *p, u32 punct)
{
	return parse_tok(p)->kind == TOK_PUNCT && parse_tok(p)->punct == punct;
}

bool parse_accept(struct parser *p, u32 punct);
bool parse_accept_word(struct parser *p, const char *word);
bool parse_expect(struct parser *p, u32 punct, const char *where);
void parse_describe(const struct tok *t, struct text *out); /* `;', end of text */

/* Declaration specifiers: all that stands before a declarator. */
struct specs {
	const struct ctype *type;
	bool is_typedef, is_extern;
	bool anonymous; /* a struct or union without a tag */
	bool declares;  /* a tag or enumerators */
	const struct tok *start;
};
bool parse_is_type(const struct parser *p, const struct tok *t);
bool parse_specs(struct parser *p, struct specs *s);
const struct ctype *parse_record(struct parser *p, struct specs *s);
const struct ctype *parse_enum(struct parser *p, struct specs *s);
bool parse_attributes(struct parser *p, struct layout_opts *opts);
/* `name` is NULL on return when there was none; the type is NULL on error. */
const struct ctype *parse_declarator(struct parser *p, const struct ctype *base,
				     const struct tok **name);
const struct ctype *parse_type_name(struct parser *p);
bool parse_is_keyword(const struct tok *t);

/* An integer constant expression with C's types (C11 6.6). */
struct cvalue {
	u64 v;
	bool is_unsigned;
	u8 size; /* 4 or 8 */
};
bool parse_constant(struct parser *p, struct cvalue *out);
static inline bool cvalue_negative(const struct cvalue *c)
{
	return !c->is_unsigned && (s64)c->v < 0;
}

#endif
