/* SPDX-License-Identifier: MIT */
/* Calls of native functions of every kind, and programs that break a rule each; natives.c says what is expected. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <ferry/ferry_bpf.h>

#include "things.h"

#ifndef NULL
#define NULL ((void *)0)
#endif

extern struct req *req_get(int id) __ksym;
extern void req_put(struct req *r) __ksym;
extern struct req *req_next(struct req *r) __ksym;
extern const void *req_body(struct req *r, unsigned int n) __ksym;
extern const char *req_name(const struct req *r) __ksym;
extern int req_same(const struct req *a, const struct req *b) __ksym;
extern unsigned long name_length(const char *s) __ksym;
extern unsigned long name_checked(const char *s) __ksym;
extern int set_mode(enum mode m) __ksym;
extern int set_mode_checked(enum mode m) __ksym;
extern int digit(int n) __ksym;
extern int digit_checked(int n) __ksym;
extern long sum(const int *v, unsigned int n) __ksym;
extern double scale(double x, int k, float f) __ksym;
extern void plane_mid(struct plane *result, const struct plane *a, const struct plane *b) __ksym;
extern void tag_make(struct tag *result, char c) __ksym;
extern long cube_sum(int first, const struct cube *c) __ksym;
extern void cube_make(struct cube *result, long side) __ksym;
extern void mixed_make(struct mixed *result, int a, double d) __ksym;
struct many_args {
	signed char a;
	short b;
	int c;
	double d;
	float e;
	const struct header *h;
	struct plane p;
	const char *s;
};
extern long many(const struct many_args *args) __ksym;
extern int say(const char *fmt, ...) __ksym;
struct input {
	int n;
};
extern int ctx_id(struct input *ctx) __ksym;

struct value {
	struct header h;
	char text[8];
	unsigned long out;
	unsigned int n;
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, unsigned int);
	__type(value, struct value);
} values SEC(".maps");

#define VALUE                                                                                      \
	unsigned int key = 0;                                                                      \
	struct value *v = bpf_map_lookup_elem(&values, &key);                                      \
	if (!v)                                                                                    \
		return -1000

#define PROG(name) SEC("?syscall") int name(struct input *in)

/* ---- objects ----------------------------------------------------------------------------------- */

PROG(object_read)
{
	struct req *r = req_get(7);
	int n;

	if (!r)
		return -1;
	n = r->headers->count + r->headers->sizes[1] + r->id;
	req_put(r);
	return n;
}
PROG(object_null)
{
	struct req *r = req_get(-1);

	if (!r)
		return 5;
	req_put(r);
	return 6;
}
PROG(object_body)
{
	struct req *r = req_get(7);
	const char *b;
	int c;

	if (!r)
		return -1;
	b = req_body(r, 8);
	c = b[7];
	req_put(r);
	return c;
}
PROG(object_name)
{
	struct req *r = req_get(7);
	long n;

	if (!r)
		return -1;
	n = name_length(req_name(r));
	req_put(r);
	return n;
}
PROG(object_unchecked)
{
	struct req *r = req_get(7);
	int id = r->id;

	req_put(r);
	return id;
}
PROG(object_leaked)
{
	struct req *r = req_get(7);

	return r ? 1 : 0;
}
PROG(object_leaked_on_one_path)
{
	struct req *r = req_get(7);

	if (!r)
		return 0;
	if (in->n == 3)
		return 1;
	req_put(r);
	return 2;
}
PROG(object_released_twice)
{
	struct req *r = req_get(7);

	if (!r)
		return 0;
	req_put(r);
	req_put(r);
	return 1;
}
PROG(object_used_after_release)
{
	struct req *r = req_get(7);

	if (!r)
		return 0;
	req_put(r);
	return r->id;
}
PROG(object_body_after_release)
{
	struct req *r = req_get(7);
	const char *b;

	if (!r)
		return 0;
	b = req_body(r, 8);
	req_put(r);
	return b[0];
}
PROG(object_body_too_far)
{
	struct req *r = req_get(7);
	int c;

	if (!r)
		return 0;
	c = ((const char *)req_body(r, 8))[8];
	req_put(r);
	return c;
}
PROG(object_forged_from_number)
{
	req_put((struct req *)0xffff888000001000ul);
	return 0;
}
PROG(object_forged_on_stack)
{
	struct req r = { .id = 1 };

	return req_same(&r, &r);
}
PROG(object_moved)
{
	struct req *r = req_get(7);

	if (!r)
		return 0;
	req_put((struct req *)((char *)r + 8));
	return 1;
}
PROG(object_borrowed_released)
{
	struct req *r = req_get(7), *n;

	if (!r)
		return 0;
	n = req_next(r);
	if (n)
		req_put(n);
	return 1;
}
PROG(object_walked_is_no_handle)
{
	struct req *r = req_get(7);
	int same;

	if (!r)
		return 0;
	same = req_same(r, r->next);
	req_put(r);
	return same;
}
PROG(object_to_map)
{
	struct req *r = req_get(7);
	VALUE;

	if (!r)
		return 0;
	v->out = (unsigned long)r;
	req_put(r);
	return 1;
}
PROG(object_member_to_map)
{
	struct req *r = req_get(7);
	VALUE;

	if (!r)
		return 0;
	v->out = (unsigned long)r->uri;
	req_put(r);
	return 1;
}
PROG(object_returned_after_release)
{
	struct req *r = req_get(7);

	if (!r)
		return 0;
	req_put(r);
	return (int)(long)r;
}
PROG(object_half_returned)
{
	struct req *r = req_get(7);
	long half;

	if (!r)
		return 0;
	half = (int)(long)r;
	asm volatile("" : "+r"(half));
	req_put(r);
	return half;
}

/* ---- numbers and strings ----------------------------------------------------------------------- */

PROG(range_in)
{
	if (in->n < 0 || in->n > 9)
		return -1;
	return digit(in->n);
}
PROG(range_off_by_one)
{
	if (in->n < 0 || in->n > 10)
		return -1;
	return digit(in->n);
}
PROG(range_checked) { return digit_checked(in->n); }
PROG(enum_in) { return set_mode(in->n == 1 ? FAST : SLOW); }
PROG(enum_out) { return set_mode(in->n); }
PROG(enum_checked) { return set_mode_checked(in->n); }
PROG(string_in)
{
	char s[8] = "ferry";

	return name_length(s);
}
PROG(string_without_end)
{
	char s[8];

	__builtin_memset(s, 'a', sizeof(s));
	return name_length(s);
}
PROG(string_in_map)
{
	VALUE;
	return name_length(v->text);
}
PROG(string_checked)
{
	VALUE;
	v->text[7] = in->n ? 'x' : 0;
	__builtin_memset(v->text, 'y', 7);
	v->n = v->out = ~0u;
	return name_checked(v->text);
}

/* ---- memory ------------------------------------------------------------------------------------ */

PROG(count_in)
{
	int v[4] = { 1, 2, 3, 4 };

	return sum(v, 4);
}
PROG(count_out)
{
	int v[4] = { 1, 2, 3, 4 };

	return sum(v, 5);
}
PROG(count_wraps)
{
	int v[4] = { 1, 2, 3, 4 };

	return sum(v, 0x40000001u);
}
PROG(count_of_another)
{
	VALUE;
	return sum(v->h.sizes, v->n);
}

/* ---- floating point, structs, many arguments --------------------------------------------------- */

PROG(doubles) { return f64_to_s64(scale(1.5, 4, 2.25f)); }
PROG(struct_sse)
{
	struct plane a = { 1, 2 }, b = { 5, 8 }, m;

	plane_mid(&m, &a, &b);
	return f64_to_s64(f64_add(f64_mul(m.x, 100), m.y));
}
PROG(struct_small)
{
	struct tag t;

	tag_make(&t, 'a');
	return t.c[0] + t.c[1] + t.c[2];
}
PROG(struct_memory)
{
	struct cube c;

	cube_make(&c, 3);
	return cube_sum(100, &c);
}
PROG(struct_two_classes)
{
	struct mixed m;

	mixed_make(&m, 4, 2.5);
	return m.a * 10 + f64_to_s64(m.d);
}
PROG(struct_half_initialised)
{
	struct plane a, b = { 5, 8 }, m;

	a.x = 1;
	asm volatile("" : : "r"(&a) : "memory");
	plane_mid(&m, &a, &b);
	return 0;
}
PROG(struct_result_too_small)
{
	long small[4];

	cube_make((struct cube *)small, 3);
	return small[0];
}
PROG(many_in)
{
	struct header h = { 1000 };
	char s[4] = "abc";

	return many(&(struct many_args){ -1, 200, 3, 0.5, 0.25f, &h, { 16, 32 }, s });
}
PROG(many_in_map)
{
	VALUE;
	return many((struct many_args *)v);
}
PROG(many_bad_pointer)
{
	char s[4] = "abc";

	return many(&(struct many_args){ -1, 200, 3, 0.5, 0.25f, (void *)(long)in->n, { 16, 32 }, s });
}

/* ---- formats and the context ------------------------------------------------------------------- */

PROG(format)
{
	char name[8] = "ferry";

	return say("%s has %d of %.2f", name, in->n, 0.5);
}
PROG(format_string_is_number) { return say("%s", in->n); }
PROG(format_writes) { return say("%n", in); }
PROG(format_too_many) { return say("%d %d %d %d %d", 1, 2, 3, 4); }
PROG(context) { return ctx_id(in); }
PROG(context_moved) { return ctx_id((void *)in + 4); }

char LICENSE[] SEC("license") = "GPL";

/* ---- objects in map values --------------------------------------------------------------------- */

typedef struct req req_t; /* clang 14 loses the tag of a bare struct */
struct keeps {
	long n;
	req_t __attribute__((btf_type_tag("kptr"))) *r;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, unsigned int);
	__type(value, struct keeps);
} kept SEC(".maps");

static struct keeps *kept_one(void)
{
	unsigned int key = 1;

	return bpf_map_lookup_elem(&kept, &key);
}

/* Was another there before? */
PROG(kptr_put)
{
	struct req *r = req_get(7), *old;
	struct keeps *k = kept_one();

	if (!r)
		return -1;
	if (!k) {
		req_put(r);
		return -1;
	}
	old = bpf_kptr_xchg(&k->r, r);
	if (!old)
		return 0;
	req_put(old);
	return 1;
}
PROG(kptr_take)
{
	struct keeps *k = kept_one();
	struct req *r = k ? bpf_kptr_xchg(&k->r, NULL) : NULL;
	int id;

	if (!r)
		return 0;
	id = r->id;
	req_put(r);
	return id;
}
PROG(kptr_read)
{
	struct keeps *k = kept_one();
	struct req *r = k ? k->r : NULL;

	return r ? r->id : 0;
}
