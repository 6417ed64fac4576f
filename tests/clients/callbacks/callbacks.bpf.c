/* SPDX-License-Identifier: MIT */
/* Subprograms as function pointers of native functions, and attacks by them; callbacks.c says what is expected. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <ferry/ferry_bpf.h>

typedef _Bool bool;
struct item {
	int key;
	int value;
};
struct req {
	int id;
	const char *uri;
	struct req *next;
};
enum order { BEFORE = -1, SAME, AFTER };
struct input {
	int n;
};

typedef int cmp_fn(const struct item *a, const struct item *b);
extern void qsort(struct item *base, unsigned long n, unsigned long size, cmp_fn *cmp) __ksym;
extern const struct item *bsearch(const struct item *key, const struct item *base, unsigned long n,
				  unsigned long size, cmp_fn *cmp) __ksym;
extern long widths(long (*fn)(signed char a, unsigned short b, int c, double d, bool e)) __ksym;
extern double apply(double (*fn)(double x, float y), double x) __ksym;
extern int each_req(int (*fn)(struct req *r, const struct item *it__nullable)) __ksym;
extern unsigned long with_name(unsigned long (*fn)(const char *s__str)) __ksym;
extern unsigned long length(const char *s) __ksym;
extern int fill(void (*fn)(struct item *out, int i)) __ksym;
extern int maybe(int (*fn)(int x), int x) __ksym;
extern int ask(bool (*fn)(int x), int x) __ksym;
extern int ordered(enum order (*fn)(int x), int x) __ksym;
extern int narrow(short (*fn)(int x), int x) __ksym;
extern int again(int n, int (*fn)(int n)) __ksym;
extern int keep(int n, int (*fn)(int n)) __ksym;
extern int call_kept(int n) __ksym;
extern int on_thread(int n, int (*fn)(int n)) __ksym;
extern int leave(int n) __ksym;
extern struct req *req_get(int id) __ksym;
extern void req_put(struct req *r) __ksym;
extern long sum(const int *v, unsigned int n) __ksym;
extern int crash(int n, int (*fn)(int n)) __ksym;

struct value {
	unsigned long out;
	int numbers[4];
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, unsigned int);
	__type(value, struct value);
} small SEC(".maps");
struct big_value {
	unsigned int count;
	int numbers[63];
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, unsigned int);
	__type(value, struct big_value);
} big SEC(".maps");
static unsigned int zero;

#define PROG(name) SEC("?syscall") int name(struct input *in)
#define ITEMS { { 30, 3 }, { 10, 1 }, { 40, 4 }, { 20, 2 } }

/* ---- what works -------------------------------------------------------------------------------- */

static int by_key(const struct item *a, const struct item *b)
{
	return a->key < b->key ? -1 : a->key > b->key;
}
PROG(sorted)
{
	struct item v[4] = ITEMS;

	qsort(v, 4, sizeof(v[0]), by_key);
	return v[0].value * 1000 + v[1].value * 100 + v[2].value * 10 + v[3].value;
}
PROG(found)
{
	struct item v[4] = { { 10, 1 }, { 20, 2 }, { 30, 3 }, { 40, 4 } }, key = { in->n };
	const struct item *it = bsearch(&key, v, 4, sizeof(v[0]), by_key);

	return it ? it->value : -1;
}
static long of_widths(signed char a, unsigned short b, int c, unsigned long d, bool e)
{
	return (a == -1) + (b == 65535) * 2 + (c == -2) * 4 + (f64_to_s64(f64_of_bits(d)) == 9) * 8 + e * 16;
}
PROG(registers_hold_the_c_types) { return widths((void *)of_widths); }
static unsigned long twice_and(unsigned long x, unsigned int y) { (void)y; return x ^ 1ul << 63; }
PROG(doubles_come_back) { return f64_to_s64(apply((void *)twice_and, 42.0)); }
static int req_id(struct req *r, const struct item *it)
{
	return r->id * 10 + r->next->id + (it ? it->value : 0);
}
PROG(objects_are_read) { return each_req(req_id); }
static unsigned long name_length(const char *s) { return length(s); }
PROG(strings_are_handed_on) { return with_name(name_length); }
static void write_item(struct item *out, int i) { out->value = i * 7; }
PROG(memory_is_written) { return fill(write_item); }
static int plus_one(int x) { return x + 1; }
PROG(given) { return maybe(plus_one, in->n); }
PROG(not_given) { return maybe(0, in->n); }
static bool is_odd(int x) { return x & 1; }
PROG(bool_inside) { return ask(is_odd, in->n); }
static enum order sign(int x) { return x < 0 ? BEFORE : x > 0 ? AFTER : SAME; }
PROG(enum_inside) { return ordered(sign, in->n); }
static short clip(int x) { return x < -32768 ? -32768 : x > 32767 ? 32767 : x; }
PROG(short_inside) { return narrow(clip, in->n); }
PROG(called_by_another_thread) { return on_thread(in->n, plus_one); }
static int borrows(int x)
{
	struct req *r = req_get(x);
	int id;

	if (!r)
		return -1;
	id = r->id;
	req_put(r);
	return id;
}
PROG(callback_acquires_and_releases) { return maybe(borrows, 7); }

/* ---- rules broken ------------------------------------------------------------------------------ */

static int writes_const(const struct item *a, const struct item *b)
{
	((struct item *)a)->value = 1;
	return b->key;
}
PROG(const_is_written)
{
	struct item v[4] = ITEMS;

	qsort(v, 4, sizeof(v[0]), writes_const);
	return 0;
}
static int reads_beyond(const struct item *a, const struct item *b) { return a[1].key - b->key; }
PROG(beyond_the_struct)
{
	struct item v[4] = ITEMS;

	qsort(v, 4, sizeof(v[0]), reads_beyond);
	return 0;
}
PROG(other_element_size)
{
	struct item v[4] = ITEMS;

	qsort(v, 4, sizeof(v[0]) * 2, by_key);
	return 0;
}
static int gives_address(const struct item *a, const struct item *b) { (void)b; return (int)(long)a; }
PROG(address_is_returned)
{
	struct item v[4] = ITEMS;

	qsort(v, 4, sizeof(v[0]), (void *)gives_address);
	return 0;
}
static int keeps_address(struct req *r, const struct item *it)
{
	struct value *v = bpf_map_lookup_elem(&small, &zero);

	(void)it;
	if (v)
		v->out = (unsigned long)r;
	return 0;
}
PROG(address_goes_to_map) { return each_req(keeps_address); }
static int no_null_check(struct req *r, const struct item *it) { return r->id + it->value; }
PROG(nullable_is_not_compared) { return each_req(no_null_check); }
static int releases(struct req *r, const struct item *it)
{
	(void)it;
	req_put(r);
	return 0;
}
PROG(what_is_lent_is_released) { return each_req(releases); }
static unsigned long reads_string(const char *s) { return s[0]; }
PROG(string_is_read) { return with_name(reads_string); }
static int any(int x) { return x; }
PROG(bool_outside) { return ask((void *)any, in->n); }
PROG(enum_outside) { return ordered((void *)any, in->n); }
PROG(short_outside) { return narrow((void *)any, in->n); }
PROG(number_as_function) { return maybe((void *)0xffffffff81000000ul, in->n); }
PROG(null_as_function) { return keep(in->n, 0); }
PROG(memory_as_function)
{
	long code = 0xc3;

	return maybe((void *)&code, in->n);
}
int visible(int x) { return x; }
PROG(global_function) { return maybe(visible, in->n); }
static int leaks(int x) { return req_get(x) ? 1 : 0; }
PROG(reference_is_leaked) { return maybe(leaks, in->n); }
static int reads_caller(int x)
{
	long v;

	asm volatile("%0 = *(u64 *)(r6 + 0)" : "=r"(v));
	return x + (int)v;
}
PROG(callers_register_is_read) { return maybe(reads_caller, in->n); }
PROG(size_of_another_object)
{
	struct value *v = bpf_map_lookup_elem(&small, &zero);
	struct big_value *b = bpf_map_lookup_elem(&big, &zero);

	if (!v || !b || b->count > 63)
		return -1;
	return sum(v->numbers, b->count);
}
PROG(size_of_its_own_object)
{
	struct value *v = bpf_map_lookup_elem(&small, &zero);
	struct big_value *b = bpf_map_lookup_elem(&big, &zero);

	if (!v || !b || b->count > 4)
		return -1;
	return sum(v->numbers, b->count) + 3;
}

/* ---- attacks at run time ----------------------------------------------------------------------- */

static int count_down(int n) { return n > 0 ? again(n - 1, count_down) + 1 : 0; }
PROG(recursion) { return again(in->n, count_down); }
static int for_ever(int n)
{
	(void)n;
	return again(1, for_ever) + 1;
}
PROG(endless_recursion) { return again(1, for_ever); }
static int through_kept(int n) { return call_kept(n) + 1; }
PROG(endless_recursion_through_kept) { return keep(0, through_kept); }
PROG(is_kept) { return keep(in->n, plus_one); }
static int plus_hundred(int x) { return x + 100; }
PROG(other_is_kept) { return keep(in->n, plus_hundred); }
static int leaves_too(int n) { return leave(n) + 1; }
PROG(callback_leaves) { return again(in->n, leaves_too); }
static int adds_one(int n) { return n + 1; }
PROG(faults_while_lent) { return crash(in->n, adds_one); }

char LICENSE[] SEC("license") = "GPL";
