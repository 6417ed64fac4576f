/* SPDX-License-Identifier: MIT */
/*
 * The C library sorts and searches with comparators that are programs: chosen at run time, verified, and
 * called as the plain function pointers that qsort(3) and bsearch(3) take.
 *   sort sort.bpf.o by_people|by_name|by_altitude
 */
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Not as the program declares it: that is found out when it is loaded. */
#define CITY "struct city { unsigned int id; unsigned int people; int altitude; char name[24]; };"
struct city {
	unsigned int id, people;
	int altitude;
	char name[24];
};

static struct city cities[] = {
	{ 1, 3677, 34, "Berlin" }, { 2, 2103, 11, "Paris" },  { 3, 8866, 11, "London" }, { 4, 1931, 171, "Vienna" },
	{ 5, 3332, 667, "Madrid" }, { 6, 415, 540, "Bern" },    { 7, 709, 7, "Oslo" },     { 8, 643, 153, "Vilnius" },
};
#define COUNT (sizeof(cities) / sizeof(cities[0]))

typedef int (*comparator)(const void *, const void *);

/* Programs may ask for what they do not see; and the module's types are what they are relocated against. */
static unsigned int city_id(const struct city *city)
{
	return city->id;
}

int main(int argc, char **argv)
{
	static const struct ferry_func funcs[] = { FERRY_FUNC("unsigned int city_id(const struct city *city)", city_id) };
	const struct ferry_module module = { sizeof(module), "cities", CITY, funcs, 1 };
	const struct ferry_closure_opts opts = { sizeof(opts), CITY, 0 };
	const char *name = argc > 2 ? argv[2] : "by_people";
	struct bpf_program *prog;
	struct bpf_object *object;
	struct ferry_closure *c;
	struct city *found;
	comparator compare;

	if (ferry_module_register(&module))
		return 1;
	object = bpf_object__open_file(argc > 1 ? argv[1] : "sort.bpf.o", NULL);
	if (!object || bpf_object__load(object))
		return 1;
	prog = bpf_object__find_program_by_name(object, name);
	if (!prog || ferry_closure(bpf_program__fd(prog), "int (const struct city *, const struct city *)", &opts, &c)) {
		fprintf(stderr, "no comparator %s\n", name);
		return 1;
	}
	compare = (comparator)ferry_closure_code(c);
	qsort(cities, COUNT, sizeof(cities[0]), compare);
	for (size_t i = 0; i < COUNT; i++)
		printf("%-8s %4u thousand, %3d m\n", cities[i].name, cities[i].people, cities[i].altitude);
	found = bsearch(&(struct city){ 0, 1931, 171, "Vienna" }, cities, COUNT, sizeof(cities[0]), compare);
	printf("found: %s\n", found ? found->name : "nothing");
	ferry_closure_free(c);
	bpf_object__close(object);
	return 0;
}
