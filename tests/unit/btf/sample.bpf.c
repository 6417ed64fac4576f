/* SPDX-License-Identifier: MIT */
/* Every kind of BTF that clang makes, to start mutations from. */
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define __tag(x) __attribute__((btf_decl_tag(x)))

enum color { RED, GREEN = 5, BLUE = -1 };
enum wide { SMALL, HUGE = 1ull << 40 };

struct list {
	struct list *next, **prev;
	union {
		u64 a;
		struct {
			unsigned b : 3, c : 7;
			int d : 20;
		};
	};
	enum color color : 4;
	_Bool flag;
	float f;
	double g;
	char name[16];
	int matrix[3][4];
	void (*call)(struct list *l, const char *fmt, ...);
} __tag("listed");

typedef struct list list_t;
struct forward;

struct {
	__uint(type, 1);
	__type(key, u32);
	__type(value, list_t);
	__uint(max_entries, 16);
} items SEC(".maps");

volatile const u64 limit = 7;
static volatile u32 counters[8];
list_t first __tag("var");
enum wide wide_one;
const volatile struct forward *volatile nobody;
int __attribute__((btf_type_tag("user"))) *tagged;

static __attribute__((noinline)) int sub(list_t *l __tag("arg"), const int *restrict p, enum color c)
{
	counters[c & 7]++;
	return l->color + *p;
}

SEC("socket") int entry(void *ctx)
{
	int x = (int)(unsigned long)ctx;

	if (nobody || tagged || wide_one)
		return 1;
	return sub(&first, &x, (enum color)limit);
}

char LICENSE[] SEC("license") = "GPL";
