/* SPDX-License-Identifier: MIT */
/*
 * Text from formats, as bpf_trace_printk() does: the conversions, flags and widths that the
 * kernel's bpf_bprintf_prepare() takes, and -EINVAL for all others.
 */
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "code/code.h"
#include "helper/helper_int.h"

#define MAX_STRING 512 /* bytes of one %s, with its NUL: the kernel's buffer for all */
#define MAX_WIDTH  HELPER_LINE

struct out {
	char *s;
	size_t size, len; /* len: what the whole text has */
};

/* One conversion: %[flags][width]... */
struct spec {
	bool zero, plus, minus, space;
	u32 width;
};

static void put(struct out *o, char c)
{
	if (o->len + 1 < o->size)
		o->s[o->len] = c;
	o->len++;
}

static void put_text(struct out *o, const struct spec *sp, const char *s, size_t n)
{
	size_t pad = sp->width > n ? sp->width - n : 0, i;

	for (i = 0; !sp->minus && i < pad; i++)
		put(o, ' ');
	for (i = 0; i < n; i++)
		put(o, s[i]);
	for (i = 0; sp->minus && i < pad; i++)
		put(o, ' ');
}

/* A number with its sign (0 for none); zeros go between the sign and the digits. */
static void put_number(struct out *o, const struct spec *sp, u64 v, u32 base, bool upper, char sign)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char buf[24];
	u32 n = 0;
	size_t pad;

	do {
		buf[n++] = digits[v % base];
		v /= base;
	} while (v);
	pad = sp->width > n + !!sign ? sp->width - n - !!sign : 0;
	if (!sp->minus && !sp->zero)
		for (; pad; pad--)
			put(o, ' ');
	if (sign)
		put(o, sign);
	if (!sp->minus)
		for (; pad; pad--)
			put(o, '0');
	while (n)
		put(o, buf[--n]);
	for (; pad; pad--)
		put(o, ' ');
}

/* ---- pointers -------------------------------------------------------------------------------- */

static u64 hash_key;

static void make_hash_key(void)
{
	if (getrandom(&hash_key, sizeof(hash_key), GRND_NONBLOCK) != sizeof(hash_key))
		hash_key = (u64)(uintptr_t)&hash_key;
}

u64 helper_hide(u64 address)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, make_hash_key);
	return address ? (u32)hash_bytes(&address, sizeof(address), hash_key) : 0;
}

/* %p and %pK say which pointers are equal, not where they point; %px does, for who is allowed. */
static void put_pointer(struct out *o, const struct spec *sp, u64 v, bool raw)
{
	struct spec full = *sp;

	if (!full.width) {
		full.width = 2 * sizeof(void *);
		full.zero = true;
	}
	put_number(o, &full, raw ? v : helper_hide(v), 16, false, 0);
}

/* %pI4 %pi4 %pI6 %pi6: the address at `at` in network byte order. */
static void put_ip(struct out *o, const struct spec *sp, char form, bool v6, u64 at)
{
	u8 ip[16];
	char buf[48];
	struct out t = { buf, sizeof(buf), 0 };
	const struct spec byte = { .zero = true, .width = v6 ? 2 : form == 'i' ? 3 : 0 };
	u32 n = v6 ? 16 : 4, i;

	if (code_copy_safe(ip, ptr(at), n))
		memset(ip, 0, n);
	for (i = 0; i < n; i++) {
		if (i && (!v6 || (form == 'I' && i % 2 == 0)))
			put(&t, v6 ? ':' : '.');
		put_number(&t, &byte, ip[i], v6 ? 16 : 10, false, 0);
	}
	put_text(o, sp, buf, t.len);
}

static void put_string(struct out *o, const struct spec *sp, u64 at)
{
	char buf[MAX_STRING];
	s64 n = code_copy_string_safe(buf, ptr(at), sizeof(buf));

	put_text(o, sp, buf, n > 0 ? strnlen(buf, n < MAX_STRING ? (size_t)n : MAX_STRING - 1) : 0);
}

/* ---- conversions ----------------------------------------------------------------------------- */

static bool ends_word(char c)
{
	return !c || isspace((u8)c) || ispunct((u8)c);
}

static const char *parse_spec(const char *f, struct spec *sp)
{
	*sp = (struct spec){ 0 };
	for (; *f == '0' || *f == '+' || *f == '-' || *f == ' '; f++) {
		sp->zero |= *f == '0';
		sp->plus |= *f == '+';
		sp->minus |= *f == '-';
		sp->space |= *f == ' ';
	}
	for (; *f >= '0' && *f <= '9'; f++)
		if (sp->width <= MAX_WIDTH)
			sp->width = sp->width * 10 + (u32)(*f - '0');
	if (sp->width > MAX_WIDTH)
		sp->width = MAX_WIDTH;
	return f;
}

/* What follows %p; `f` is at the p. The character after the conversion, or NULL. */
static const char *convert_pointer(struct out *o, const struct spec *sp, const char *f, u64 v)
{
	char kind = f[1];

	if (ends_word(kind)) {
		put_pointer(o, sp, v, false);
		return f + 1;
	}
	if ((kind == 'k' || kind == 'u') && f[2] == 's') {
		if (!ends_word(f[3]))
			return NULL;
		put_string(o, sp, v);
		return f + 3;
	}
	if (kind == 'K' || kind == 'x') {
		put_pointer(o, sp, v, kind == 'x');
		return f + 2;
	}
	if (kind == 's' || kind == 'S' || kind == 'B') { /* there are no symbols here */
		put_text(o, sp, "0x", 2);
		put_number(o, &(struct spec){ 0 }, v, 16, false, 0);
		return f + 2;
	}
	if ((kind == 'i' || kind == 'I') && (f[2] == '4' || f[2] == '6')) {
		put_ip(o, sp, kind, f[2] == '6', v);
		return f + 3;
	}
	return NULL;
}

static const char *convert_number(struct out *o, const struct spec *sp, const char *f, u64 v)
{
	u32 longs = 0;
	s64 sv;

	for (; *f == 'l' && longs < 2; f++)
		longs++;
	sv = longs ? (s64)v : (s32)v;
	v = longs ? v : (u32)v;
	switch (*f) {
	case 'd':
	case 'i':
		put_number(o, sp, sv < 0 ? 0 - (u64)sv : (u64)sv, 10, false,
			   sv < 0      ? '-'
			   : sp->plus  ? '+'
			   : sp->space ? ' '
				       : 0);
		return f + 1;
	case 'u': put_number(o, sp, v, 10, false, 0); return f + 1;
	case 'x':
	case 'X': put_number(o, sp, v, 16, *f == 'X', 0); return f + 1;
	default: return NULL;
	}
}

/* One conversion, `f` behind its percent sign and width. */
static const char *convert(struct out *o, const struct spec *sp, const char *f, u64 v)
{
	char c = (char)v;

	switch (*f) {
	case 'p':
		f = convert_pointer(o, sp, f, v);
		/* To the kernel's vsnprintf() all letters and digits behind %p are of the
		 * conversion. */
		while (f && (u8)*f < 0x80 && isalnum((u8)*f))
			f++;
		return f;
	case 'c': put_text(o, sp, &c, 1); return f + 1;
	case 's':
		if (!ends_word(f[1]))
			return NULL;
		put_string(o, sp, v);
		return f + 1;
	default: return convert_number(o, sp, f, v);
	}
}

s64 helper_format_full(char *out, size_t size, const char *fmt, size_t fmt_size, const u64 *args,
		       u32 n)
{
	struct out o = { out, size, 0 };
	struct spec sp;
	char copy[HELPER_LINE];
	const char *f = copy;
	size_t len = strnlen(fmt, fmt_size);
	u32 used = 0;

	/* A format without its NUL; the copy cannot change under us. */
	if (len == fmt_size || len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, fmt, len);
	copy[len] = '\0';
	while (*f) {
		if ((u8)*f >= 0x80 || (!isprint((u8)*f) && !isspace((u8)*f)))
			return -EINVAL;
		if (*f != '%') {
			put(&o, *f++);
			continue;
		}
		if (f[1] == '%') {
			put(&o, '%');
			f += 2;
			continue;
		}
		if (used >= n)
			return -EINVAL;
		f = parse_spec(f + 1, &sp);
		f = convert(&o, &sp, f, args[used++]);
		if (!f)
			return -EINVAL;
	}
	if (size)
		out[o.len < size ? o.len : size - 1] = '\0';
	return (s64)o.len;
}

s64 helper_format(char *out, size_t size, const char *fmt, size_t fmt_size, const u64 *args, u32 n)
{
	s64 len = helper_format_full(out, size, fmt, fmt_size, args, n);

	return len > 0 && (size_t)len >= size ? (s64)(size ? size - 1 : 0) : len;
}

int helper_args(u64 args[HELPER_MAX_ARGS], u64 at, u64 size)
{
	if (size % 8 || size > HELPER_MAX_ARGS * 8 || (size && !at))
		return -EINVAL;
	if (size)
		memcpy(args, ptr(at), size);
	return (int)(size / 8);
}

u64 format_snprintf(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u64 args[HELPER_MAX_ARGS];
	int n = helper_args(args, a4, a5);
	s64 len;

	if (n < 0)
		return (u64)(s64)n;
	/* The verifier proved that the format ends inside its map. */
	len = helper_format_full(ptr(a1), (u32)a2, ptr(a3), HELPER_LINE, args, (u32)n);
	return (u64)(len < 0 ? len : len + 1);
}

/* ---- trace_printk ---------------------------------------------------------------------------- */

static u64 print(u64 fmt, u64 fmt_size, const u64 *args, u32 n)
{
	char msg[HELPER_LINE];
	s64 len = helper_format_full(msg, sizeof(msg), ptr(fmt), (u32)fmt_size, args, n);

	if (len >= 0)
		helper_trace_line(msg);
	return (u64)len;
}

u64 trace_printk(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const u64 args[] = { a3, a4, a5 };

	return print(a1, a2, args, ARRAY_SIZE(args));
}

u64 trace_vprintk(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u64 args[HELPER_MAX_ARGS];
	int n = helper_args(args, a3, a4);

	return n < 0 ? (u64)(s64)n : print(a1, a2, args, (u32)n);
}
