/* SPDX-License-Identifier: MIT */
/* A program as clang compiles it, that declares native functions as kernel functions are declared. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef _Bool bool;

#define __ksym __attribute__((section(".ksyms")))
#define SEC(name) __attribute__((section(name), used))

struct point {
	int x, y;
	u8 tag[3];
};
enum color { RED, GREEN };

extern int add(int x, int y) __ksym;
extern u64 hash(const void *mem, u32 mem__sz) __ksym;
extern bool inside(const struct point *p, const struct point *corner__nullable) __ksym;
extern void paint(struct point *p__uninit, enum color c, u8 shade__k) __ksym;
extern s32 say(const char *s__str) __ksym;
extern long wrong(struct point *p) __ksym;

SEC("syscall") int entry(void *ctx)
{
	struct point p, q = { 1, 2 };

	paint(&p, GREEN, 3);
	return add(1, 2) + (int)hash(&p, sizeof(p)) + inside(&p, &q) + say("x") + (int)wrong(&p);
}

char LICENSE[] SEC("license") = "GPL";
