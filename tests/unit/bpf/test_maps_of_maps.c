/* SPDX-License-Identifier: MIT */
/* Maps of maps, as bpf(2) and programs see them. */
#include <unistd.h>

#include "scenario.h"

#define ARRAY BPF_MAP_TYPE_ARRAY
#define HASH  BPF_MAP_TYPE_HASH

static void creation(struct scenario *s)
{
	int a = scenario_map(s, ARRAY, 4, 8, 2, 0, 0),
	    p = scenario_map(s, BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 1, 0, 0);
	int o = scenario_map(s, BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, 0, a);
	static const u32 types[] = { BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS };

	SAY(s, "%d ", o >= 0);
	for (u32 i = 0; i < 2; i++) {
		u32 t = types[i];

		SAY(s, "%d ", scenario_map(s, t, 4, 4, 2, 0, -1));
		SAY(s, "%d ", scenario_map(s, t, 4, 4, 2, 0, 0));
		SAY(s, "%d ", scenario_map(s, t, 4, 4, 2, 0, o));
		SAY(s, "%d ", scenario_map(s, t, 4, 4, 2, 0, p));
		SAY(s, "%d ", scenario_map(s, t, 4, 8, 2, 0, a));
		SAY(s, "%d ", scenario_map(s, t, 4, 4, 0, 0, a));
		SAY(s, "%d ", scenario_map(s, t, 4, 4, 2, BPF_F_MMAPABLE, a));
		SAY(s, "%d ", scenario_map(s, t, 4, 4, 2, BPF_F_NO_PREALLOC, a) >= 0);
		SAY(s, "%d; ", scenario_map(s, t, 8, 4, 2, 0, a) >= 0);
	}
}

static void elements(struct scenario *s, u32 type)
{
	int a = scenario_map(s, ARRAY, 4, 8, 2, 0, 0), b = scenario_map(s, ARRAY, 4, 8, 2, 0, 0);
	int longer = scenario_map(s, ARRAY, 4, 8, 3, 0, 0),
	    wide = scenario_map(s, ARRAY, 4, 16, 2, 0, 0);
	int flags = scenario_map(s, ARRAY, 4, 8, 2, BPF_F_MMAPABLE, 0),
	    h = scenario_map(s, HASH, 4, 8, 2, 0, 0);
	int o = scenario_map(s, type, 4, 4, 2, 0, a), bad = -1;
	u32 k = 0, far = 7, id = 0, id2 = 0, next = 99;

	SAY(s, "%d ", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, o, &k, &id, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &k, &b, 0));
	SAY(s, "%d", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, o, &k, &id, 0));
	SAY(s, "%d ", id > 0);
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &k, &longer, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &k, &wide, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &k, &flags, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &k, &h, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &k, &o, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &k, &bad, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &k, &a, BPF_NOEXIST));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &far, &a, BPF_EXIST));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &far, &a, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &k, &a, 0));
	SAY(s, "%d", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, o, &k, &id2, 0));
	SAY(s, "%d ", id2 != id);
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_GET_NEXT_KEY, o, NULL, &next, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_LOOKUP_AND_DELETE_ELEM, o, &k, &id, 0) < 0);
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_DELETE_ELEM, o, &k, NULL, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_DELETE_ELEM, o, &k, NULL, 0));
	SAY(s, "%d", scenario_elem(s, BPF_MAP_LOOKUP_ELEM, o, &k, &id, 0));
}

static void elements_array(struct scenario *s)
{
	elements(s, BPF_MAP_TYPE_ARRAY_OF_MAPS);
}

static void elements_hash(struct scenario *s)
{
	elements(s, BPF_MAP_TYPE_HASH_OF_MAPS);
}

static void sizes_differ_with_inner_map_flag(struct scenario *s)
{
	int a = scenario_map(s, ARRAY, 4, 8, 2, BPF_F_INNER_MAP, 0);
	int b = scenario_map(s, ARRAY, 4, 8, 9, BPF_F_INNER_MAP, 0);
	int h1 = scenario_map(s, HASH, 4, 8, 1, 0, 0), h2 = scenario_map(s, HASH, 4, 8, 5, 0, 0);
	int o = scenario_map(s, BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, 0, a);
	int q = scenario_map(s, BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, 0, h1);
	u32 k = 0;

	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &k, &b, 0));
	SAY(s, "%d ", scenario_elem(s, BPF_MAP_UPDATE_ELEM, q, &k, &h2, 0));
	SAY(s, "%d", scenario_elem(s, BPF_MAP_UPDATE_ELEM, q, &k, &a, 0));
}

/* Counts in the inner map that the outer one has under key 0; r0 = the count, or 100 and up. */
#define COUNT                                                                                      \
	"*(u32 *)(r10 - 4) = 0\n"                                                                  \
	"r1 = map[0] ll\n"                                                                         \
	"r2 = r10\n"                                                                               \
	"r2 += -4\n"                                                                               \
	"call bpf_map_lookup_elem\n"                                                               \
	"if r0 == 0 goto none\n"                                                                   \
	"r1 = r0\n"                                                                                \
	"r2 = r10\n"                                                                               \
	"r2 += -4\n"                                                                               \
	"call bpf_map_lookup_elem\n"                                                               \
	"if r0 == 0 goto none2\n"                                                                  \
	"r1 = *(u64 *)(r0 + 0)\n"                                                                  \
	"r1 += 1\n"                                                                                \
	"*(u64 *)(r0 + 0) = r1\n"                                                                  \
	"r0 = r1\n"                                                                                \
	"exit\n"                                                                                   \
	"none:\n"                                                                                  \
	"r0 = 100\n"                                                                               \
	"exit\n"                                                                                   \
	"none2:\n"                                                                                 \
	"r0 = 101\n"                                                                               \
	"exit\n"

static void programs(struct scenario *s, u32 outer, u32 inner)
{
	int a = scenario_map(s, inner, 4, 8, 2, 0, 0), b = scenario_map(s, inner, 4, 8, 2, 0, 0);
	int o = scenario_map(s, outer, 4, 4, 2, 0, a);
	int p = scenario_prog(s, BPF_PROG_TYPE_SCHED_CLS, COUNT, &o, 1);
	u32 k = 0;
	u64 v = 40;

	SAY(s, "%ld ", scenario_run(s, p));
	scenario_elem(s, BPF_MAP_UPDATE_ELEM, a, &k, &v, 0);
	scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &k, &a, 0);
	SAY(s, "%ld ", scenario_run(s, p));
	SAY(s, "%ld ", scenario_run(s, p));
	scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &k, &b, 0);
	v = 70;
	scenario_elem(s, BPF_MAP_UPDATE_ELEM, b, &k, &v, 0);
	close(b); /* the element holds it */
	SAY(s, "%ld ", scenario_run(s, p));
	scenario_elem(s, BPF_MAP_LOOKUP_ELEM, a, &k, &v, 0);
	SAY(s, "%d ", (int)v);
	scenario_elem(s, BPF_MAP_DELETE_ELEM, o, &k, NULL, 0);
	SAY(s, "%ld ", scenario_run(s, p));
	scenario_elem(s, BPF_MAP_UPDATE_ELEM, o, &k, &a, 0);
	close(o);
	close(a);
	SAY(s, "%ld", scenario_run(s, p));
}

static void programs_array_array(struct scenario *s)
{
	programs(s, BPF_MAP_TYPE_ARRAY_OF_MAPS, ARRAY);
}

static void programs_array_hash(struct scenario *s)
{
	programs(s, BPF_MAP_TYPE_ARRAY_OF_MAPS, HASH);
}

static void programs_hash_hash(struct scenario *s)
{
	programs(s, BPF_MAP_TYPE_HASH_OF_MAPS, HASH);
}

/* What the verifier refuses of inner maps. */
static void verdicts(struct scenario *s)
{
#define GET "*(u32 *)(r10 - 4) = 0\nr1 = map[0] ll\nr2 = r10\nr2 += -4\ncall bpf_map_lookup_elem\n"
	static const char *const sources[] = {
		/* used without a comparison */
		GET "r1 = r0\nr2 = r10\nr2 += -4\ncall bpf_map_lookup_elem\nr0 = 0\nexit\n",
		/* written */
		GET "if r0 == 0 goto out\n*(u64 *)(r0 + 0) = 1\nout:\nr0 = 0\nexit\n",
		/* moved */
		GET "if r0 == 0 goto out\nr0 += 8\nout:\nr0 = 0\nexit\n",
		/* an element's value past the template's size */
		GET "if r0 == 0 goto out\nr1 = r0\nr2 = r10\nr2 += -4\ncall bpf_map_lookup_elem\n"
		    "if r0 == 0 goto out\nr0 = *(u64 *)(r0 + 8)\nout:\nr0 = 0\nexit\n",
		/* a constant key of an array element: still to be compared */
		GET "if r0 == 0 goto out\nr1 = r0\nr2 = r10\nr2 += -4\ncall bpf_map_lookup_elem\n"
		    "if r0 == 0 goto out\nr0 = *(u64 *)(r0 + 0)\nout:\nr0 = 0\nexit\n",
		/* update of the outer map */
		"*(u32 *)(r10 - 4) = 0\nr1 = map[0] ll\nr2 = r10\nr2 += -4\nr3 = r2\nr4 = 0\n"
		"call bpf_map_update_elem\nr0 = 0\nexit\n",
		/* delete in the outer map */
		"*(u32 *)(r10 - 4) = 0\nr1 = map[0] ll\nr2 = r10\nr2 += -4\n"
		"call bpf_map_delete_elem\nr0 = 0\nexit\n",
	};
	int a = scenario_map(s, HASH, 4, 8, 2, 0, 0);
	int o = scenario_map(s, BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, 0, a);

	for (u32 i = 0; i < ARRAY_SIZE(sources); i++) {
		int fd = scenario_prog(s, BPF_PROG_TYPE_SCHED_CLS, sources[i], &o, 1);

		SAY(s, "%d ", fd < 0 ? fd : 0);
	}
}

int main(int argc, char **argv)
{
	static const struct scenario_case cases[] = {
		{ "outer_maps_are_created_after_a_map_like_the_elements", creation,
		  "1 -9 -22 -22 -524 -22 -22 -22 0 0; -9 -22 -22 -524 -22 -22 -22 1 1; " },
		{ "elements_of_an_array_of_maps_must_fit_the_template", elements_array,
		  "-2 0 01 -22 -22 -22 -22 -22 -9 -22 -22 -7 0 01 0 1 0 -2 -2" },
		{ "elements_of_a_hash_of_maps_must_fit_the_template", elements_hash,
		  "-2 0 01 -22 -22 -22 -22 -22 -9 -17 -2 0 0 01 0 1 0 -2 -2" },
		{ "arrays_with_the_inner_map_flag_and_hashes_may_differ_in_size",
		  sizes_differ_with_inner_map_flag, "0 0 -22" },
		{ "programs_use_inner_arrays_of_arrays", programs_array_array,
		  "100 41 42 71 42 100 43" },
		{ "programs_use_inner_hashes_of_arrays", programs_array_hash,
		  "100 41 42 71 42 100 43" },
		{ "programs_use_inner_hashes_of_hashes", programs_hash_hash,
		  "100 41 42 71 42 100 43" },
		{ "inner_maps_are_maps_to_the_verifier", verdicts, "-13 -13 -13 -13 0 -22 -22 " },
	};

	return scenario_main(argc, argv, cases, ARRAY_SIZE(cases));
}
