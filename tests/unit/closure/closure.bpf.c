/* SPDX-License-Identifier: MIT */
/* Programs that are C functions, for test_closure.c. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct item {
	int key;
	char name[12];
	long weight;
};

struct point {
	double x, y;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

enum color { RED, GREEN, BLUE };

SEC("closure") int by_key(const struct item *a, const struct item *b)
{
	return a->key < b->key ? -1 : a->key > b->key;
}

SEC("closure") int by_weight(const struct item *a, const struct item *b)
{
	return a->weight < b->weight ? -1 : a->weight > b->weight;
}

/* Some compilers leave anything above the result, as the assembly does here. */
SEC("closure") short low_half(long x)
{
	short r;

	asm volatile("%0 = %1" : "=r"(r) : "r"(x));
	return r;
}

SEC("closure") unsigned char low_byte(long x)
{
	unsigned char r;

	asm volatile("%0 = %1" : "=r"(r) : "r"(x));
	return r;
}

SEC("closure") long sum5(signed char a, unsigned short b, int c, unsigned int d, long e)
{
	return (long)a + b + c + d + e;
}

SEC("closure") _Bool heavy(const struct item *it__nullable, long limit)
{
	return it__nullable && it__nullable->weight > limit;
}

SEC("closure") struct item *heavier(struct item *a, struct item *b)
{
	return a->weight >= b->weight ? a : b;
}

SEC("closure") void touch(struct item *a)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&calls, &zero);

	a->weight++;
	if (n)
		__sync_fetch_and_add(n, 1);
}

/* The sign bit of a double, and of both members of a struct of two. */
SEC("closure") unsigned long negate(unsigned long x)
{
	return x ^ 1ul << 63;
}

SEC("closure") unsigned int negate_float(unsigned int x)
{
	return x ^ 1u << 31;
}

/* Arguments of both kinds: each counts with another weight, floats by their bits. */
SEC("closure") unsigned long mixed(int a, unsigned long x, short b, unsigned int f, long c)
{
	return a + 3 * x + 5 * b + 7ul * f + 11 * c;
}

SEC("closure") long floats_first(unsigned int f, unsigned long x, int a, unsigned long y, unsigned char b)
{
	return f + 3 * x + 5 * a + 7 * y + 11 * b;
}

/* The same by the long way: who asks for the process is entered as any event. */
SEC("closure") unsigned long mixed_long(int a, unsigned long x, short b, unsigned int f, long c)
{
	return a + 3 * x + 5 * b + 7ul * f + 11 * c + !bpf_get_current_pid_tgid();
}

SEC("closure") long floats_first_long(unsigned int f, unsigned long x, int a, unsigned long y, unsigned char b)
{
	return f + 3 * x + 5 * a + 7 * y + 11 * b + !bpf_get_current_pid_tgid();
}

struct bits {
	unsigned long x, y;
};

SEC("closure") void mirror(struct bits *ret, const struct bits *p)
{
	ret->x = p->y;
	ret->y = p->x;
}

struct many {
	long a[8];
};

SEC("closure") long weigh(const struct many *m)
{
	long sum = 0;

	for (int i = 0; i < 8; i++)
		sum += (i + 1) * m->a[i];
	return sum;
}

SEC("closure") int pid(int x)
{
	return (int)(bpf_get_current_pid_tgid() >> 32) + x;
}

SEC("closure") enum color next_color(enum color c)
{
	return c == RED ? GREEN : c == GREEN ? BLUE : RED;
}

extern int call_back(int depth) __ksym;

SEC("closure") int recurse(int depth)
{
	return depth <= 0 ? 0 : 1 + call_back(depth - 1);
}

extern void let_go(void) __ksym;

SEC("closure") int free_myself(int x)
{
	let_go();
	return x + 1;
}

struct handle;
extern int handle_get(const struct handle *h) __ksym;
extern void handle_set(struct handle *h, int value) __ksym;

SEC("closure") int peek(const struct handle *h)
{
	return handle_get(h);
}

SEC("closure") void add(struct handle *h, int n)
{
	handle_set(h, handle_get(h) + n);
}

/* Not loaded but to be refused. */
SEC("?closure") int other_handle(const struct item *it)
{
	return handle_get((const struct handle *)it);
}

SEC("?closure") int inner_handle(const struct handle *h)
{
	return handle_get((const void *)h + 8);
}

SEC("?closure") void const_handle(const struct handle *h)
{
	handle_set((struct handle *)h, 1);
}

SEC("?closure") int number_handle(long h)
{
	return handle_get((const struct handle *)h);
}

SEC("?closure") int null_handle(const struct handle *h__nullable)
{
	return handle_get(h__nullable);
}

char LICENSE[] SEC("license") = "GPL";
