/* SPDX-License-Identifier: MIT */
/*
 * A host with a plug-in table: threads use it all the time, while libbpf puts one implementation after
 * the other in its place.  host strict.bpf.o
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "filter.h"

#define THREADS 3
#define SWAPS   20

static int accept_all(const struct query *r, int level)
{
	(void)r;
	return level;
}

static void count_none(struct query *r)
{
	(void)r;
}

static const struct filter_ops builtin = { accept_all, count_none, 1, "builtin" };
static struct ferry_ops_table *filters;
static volatile int stop;

static int check(const void *table, void *arg)
{
	(void)arg;
	return ((const struct filter_ops *)table)->version < 4 ? 0 : -1;
}

struct tally {
	long calls[4], wrong;
};

/* Of one table all members belong together, and none gives another's answer. */
static void *serve(void *arg)
{
	static const int answers[] = { 0, 7, 7, 107 };
	struct query r = { .size = 10, .port = 443, .path = "/" };
	struct tally *t = arg;

	while (!stop) {
		const struct filter_ops *f = ferry_ops_enter(filters);
		unsigned int before = r.size, version = f->version;
		int answer = f->accept(&r, 7);

		f->count(&r);
		t->wrong += version > 3 || answer != answers[version] ||
			    r.size != before + (version == 2) ||
			    strcmp(f->name, version == 1 ? "builtin" : version == 2 ? "strict" : "lax");
		r.size = 10;
		t->calls[version & 3]++;
		ferry_ops_leave(filters);
	}
	return NULL;
}

static int attach(struct bpf_object *o, const char *name, struct bpf_link **link)
{
	*link = bpf_map__attach_struct_ops(bpf_object__find_map_by_name(o, name));
	return *link ? 0 : -1;
}

static int swap_often(struct bpf_object *o)
{
	struct bpf_link *strict, *lax;

	for (int i = 0; i < SWAPS; i++) {
		/* Every other one is exchanged at once; the rest serve for a while. */
		if (attach(o, "strict", &strict))
			return -1;
		usleep(i % 2 * 4000);
		if (attach(o, "lax", &lax))
			return -1;
		usleep(i % 2 * 4000);
		bpf_link__destroy(strict); /* was exchanged already */
		bpf_link__destroy(lax);
		usleep(i % 2 * 4000);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const char types[] = "struct query { unsigned int size, port; char path[32]; };"
				    "struct filter_ops { int (*accept)(const struct query *r, int level);"
				    " void (*count)(struct query *r); unsigned int version; char name[16]; };";
	const struct ferry_ops ops = { sizeof(ops), "filter_ops", types, &builtin, check, NULL };
	struct tally tallies[THREADS] = { 0 }, all = { 0 };
	pthread_t threads[THREADS];
	struct bpf_object *o;
	int err;

	if (ferry_ops_register(&ops, &filters))
		return 1;
	o = bpf_object__open_file(argc > 1 ? argv[1] : "strict.bpf.o", NULL);
	if (!o || bpf_object__load(o))
		return 1;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, serve, &tallies[i]);
	err = swap_often(o);
	usleep(20000); /* on a busy machine no thread may have seen the host's own table yet */
	stop = 1;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		all.wrong += tallies[i].wrong;
		for (int k = 0; k < 4; k++)
			all.calls[k] += tallies[i].calls[k];
	}
	bpf_object__close(o);
	printf("%d tables put in place, wrong or lost calls: %ld\n", err ? -1 : 2 * SWAPS, all.wrong);
	printf("served by builtin, strict and lax: %s\n",
	       all.calls[1] && all.calls[2] && all.calls[3] ? "yes" : "no");
	return 0;
}
