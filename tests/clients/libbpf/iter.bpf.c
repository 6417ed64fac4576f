// SPDX-License-Identifier: MIT
/* Open-coded iterators as libbpf's headers declare them and as its bpf_for() and bpf_repeat() use them. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifndef bpf_for
struct bpf_iter_num {
	__u64 opaque[1];
} __attribute__((aligned(8)));
extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __weak __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __weak __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __weak __ksym;

/* The two have to be asked for in this order, also when the loop is left early. */
#define bpf_for(i, start, end)                                                                     \
	for (struct bpf_iter_num it_ __attribute__((cleanup(bpf_iter_num_destroy))),               \
	     *p_ __attribute__((unused)) = (bpf_iter_num_new(&it_, (start), (end)), (void *)0);    \
	     ({ int *t_ = bpf_iter_num_next(&it_); (t_ ? ((i) = *t_) : 0, t_ != (void *)0); });)
#endif

struct args {
	long long start, end, ret, count, sum, last;
};

SEC("syscall")
int raw(struct args *a)
{
	struct bpf_iter_num it;
	int *n;

	a->ret = bpf_iter_num_new(&it, a->start, a->end);
	while ((n = bpf_iter_num_next(&it))) {
		a->count++;
		a->sum += *n;
		a->last = *n;
	}
	/* And no more after the last. */
	a->count += bpf_iter_num_next(&it) ? 1000 : 0;
	bpf_iter_num_destroy(&it);
	return 0;
}

SEC("syscall")
int until_seven(struct args *a)
{
	int i;

	bpf_for(i, a->start, a->end) {
		if (i == 7)
			break;
		a->sum += i;
		a->count++;
	}
	return a->count;
}

SEC("syscall")
int nested(struct args *a)
{
	int i, k, m;

	bpf_for(i, 0, a->start)
		bpf_for(k, i, a->end)
			bpf_for(m, 0, 3)
				a->sum += i * 100 + k * 10 + m;
	return 0;
}

static __attribute__((noinline)) long times(long n, long unit)
{
	long sum = 0;
	int i;

	bpf_for(i, 0, n)
		sum += unit;
	return sum;
}

SEC("syscall")
int product(struct args *a)
{
	a->ret = times(a->start, times(a->end, 1));
	return 0;
}

char _license[] SEC("license") = "GPL";
