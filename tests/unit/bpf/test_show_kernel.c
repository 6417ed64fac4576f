/* SPDX-License-Identifier: MIT */
/* bpf_snprintf_btf() of random values against the kernel's, for types that both have alike. */
#include <unistd.h>

#include "btf/fbtf.h"
#include "scenario.h"

#define VALUE 4096
#define TEXT  32768

static struct btf *there;

/* ---- types that are the same in both ------------------------------------------------------------ */

/* Only its name is shown. */
static bool same_pointee(const struct btf_type *x, const struct btf_type *y, const struct btf *a, const struct btf *b)
{
	if (!x || !y)
		return !x && !y;
	return btf_is_composite(x) && btf_kind(x) == btf_kind(y) &&
	       !strcmp(fbtf_name(a, x->name_off), fbtf_name(b, y->name_off));
}

static bool same(const struct btf *a, u32 ida, const struct btf *b, u32 idb, u32 depth)
{
	const struct btf_type *x = btf__type_by_id(a, ida), *y = btf__type_by_id(b, idb);

	/* volatile and the like are not shown. */
	while (x && btf_is_mod(x))
		x = btf__type_by_id(a, x->type);
	while (y && btf_is_mod(y))
		y = btf__type_by_id(b, y->type);
	if (!x || !y || btf_kind(x) != btf_kind(y) || depth > 8 ||
	    strcmp(fbtf_name(a, x->name_off), fbtf_name(b, y->name_off)))
		return false;
	switch (btf_kind(x)) {
	case BTF_KIND_INT: return x->size == y->size && *(u32 *)(x + 1) == *(u32 *)(y + 1);
	case BTF_KIND_TYPEDEF: return same(a, x->type, b, y->type, depth + 1);
	case BTF_KIND_PTR: return same_pointee(fbtf_strip(a, x->type, NULL), fbtf_strip(b, y->type, NULL), a, b);
	case BTF_KIND_ARRAY:
		return btf_array(x)->nelems == btf_array(y)->nelems &&
		       same(a, btf_array(x)->type, b, btf_array(y)->type, depth + 1);
	case BTF_KIND_ENUM:
		if (x->size != y->size || btf_vlen(x) != btf_vlen(y) || btf_kflag(x) != btf_kflag(y))
			return false;
		for (u32 i = 0; i < btf_vlen(x); i++)
			if (btf_enum(x)[i].val != btf_enum(y)[i].val)
				return false;
		return true;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
		if (x->size != y->size || btf_vlen(x) != btf_vlen(y))
			return false;
		for (u32 i = 0; i < btf_vlen(x); i++) {
			const struct btf_member *m = &btf_members(x)[i], *n = &btf_members(y)[i];

			if (strcmp(fbtf_name(a, m->name_off), fbtf_name(b, n->name_off)) ||
			    btf_member_bit_offset(x, i) != btf_member_bit_offset(y, i) ||
			    btf_member_bitfield_size(x, i) != btf_member_bitfield_size(y, i) ||
			    !same(a, m->type, b, n->type, depth + 1))
				return false;
		}
		return true;
	}
	return false;
}

/* ---- showing ------------------------------------------------------------------------------------ */

struct machine {
	bpf_fn bpf;
	int in, out, prog;
};

/* The context: type id, flags, room; the result goes there too. */
static const char source[] =
	"r6 = r1\n"
	"r1 = map_value[0]+0 ll\n*(u64 *)(r10 - 16) = r1\n"
	"r2 = *(u64 *)(r6 + 0)\n*(u32 *)(r10 - 8) = r2\n*(u32 *)(r10 - 4) = 0\n"
	"r1 = map_value[1]+0 ll\nr2 = *(u64 *)(r6 + 16)\nr2 &= 32767\nif r2 != 0 goto some\nr2 = 1\nsome:\n"
	"r3 = r10\nr3 += -16\nr4 = 16\nr5 = *(u64 *)(r6 + 8)\ncall bpf_snprintf_btf\n"
	"*(u64 *)(r6 + 24) = r0\nr0 = 0\nexit\n";

static void machine(struct machine *m, bpf_fn bpf)
{
	struct scenario s = { .bpf = bpf };
	int maps[2];

	m->bpf = bpf;
	m->in = maps[0] = make_map(bpf, BPF_MAP_TYPE_ARRAY, 4, VALUE, 1, 0);
	m->out = maps[1] = make_map(bpf, BPF_MAP_TYPE_ARRAY, 4, TEXT, 1, 0);
	assert_true(m->in >= 0 && m->out >= 0);
	m->prog = scenario_prog(&s, BPF_PROG_TYPE_SYSCALL, source, maps, 2);
	assert_true(m->prog >= 0);
}

static s64 show(struct machine *m, u32 type, u64 flags, u64 room, const void *value, char *text)
{
	struct scenario s = { .bpf = m->bpf };
	u64 ctx[4] = { type, flags, room, 0 };
	union bpf_attr a = { 0 };
	u32 key = 0;

	memset(text, 'x', TEXT);
	assert_int_equal(scenario_elem(&s, BPF_MAP_UPDATE_ELEM, m->in, &key, (void *)value, 0), 0);
	assert_int_equal(scenario_elem(&s, BPF_MAP_UPDATE_ELEM, m->out, &key, text, 0), 0);
	a.test.prog_fd = (u32)m->prog;
	a.test.ctx_in = PTR(ctx);
	a.test.ctx_size_in = sizeof(ctx);
	assert_int_equal(m->bpf(BPF_PROG_TEST_RUN, &a, sizeof(a)), 0);
	assert_int_equal(scenario_elem(&s, BPF_MAP_LOOKUP_ELEM, m->out, &key, text, 0), 0);
	text[TEXT - 1] = '\0';
	return (s64)ctx[3];
}

static u64 state = 99;

static u32 pick(u32 n)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(state >> 33) % n;
}

/* Zeros, text and numbers in runs: all of them decide what is shown. */
static void random_value(u8 *v, u32 size)
{
	u32 at = 0, n, how;

	while (at < size) {
		n = 1 + pick(24);
		how = pick(4);
		for (; n && at < size; n--, at++)
			v[at] = how == 0 ? 0 : how == 1 ? (u8)(32 + pick(95)) : how == 2 ? (u8)pick(3) : (u8)pick(256);
	}
}

static void values_are_shown_as_by_the_kernel(void **st)
{
	static const u64 all[] = { 0, BTF_F_COMPACT, BTF_F_NONAME, BTF_F_ZERO, BTF_F_COMPACT | BTF_F_NONAME,
				   BTF_F_COMPACT | BTF_F_NONAME | BTF_F_ZERO, BTF_F_COMPACT | BTF_F_ZERO };
	static char text[2][TEXT];
	const struct btf *here = fbtf_vmlinux();
	struct machine m[2];
	u8 value[VALUE];
	u32 types = 0;

	(void)st;
	machine(&m[0], sys_bpf);
	machine(&m[1], kernel_bpf);
	for (u32 id = 1; id < btf__type_cnt(here); id++) {
		const struct btf_type *t = btf__type_by_id(here, id);
		const char *name = fbtf_name(here, t->name_off);
		s32 other = *name ? btf__find_by_name_kind(there, name, btf_kind(t)) : -1;

		if (other <= 0 || fbtf_size(here, id) <= 0 || fbtf_size(here, id) > VALUE ||
		    !same(here, id, there, (u32)other, 0))
			continue;
		types++;
		for (u32 n = 0; n < 60; n++) {
			/* Hidden pointers differ, as they should. */
			u64 flags = all[pick(ARRAY_SIZE(all))] | BTF_F_PTR_RAW, room = n ? TEXT - 1 : 1 + pick(60);
			s64 a, b;

			memset(value, 0, sizeof(value));
			if (n != 1)
				random_value(value, sizeof(value));
			a = show(&m[0], id, flags, room, value, text[0]);
			b = show(&m[1], (u32)other, flags, room, value, text[1]);
			if (a != b || strcmp(text[0], text[1]))
				fail_msg("%s flags %#llx room %llu: %lld, kernel %lld:\n%s\n%s", name,
					 (unsigned long long)flags, (unsigned long long)room, (long long)a,
					 (long long)b, text[0], text[1]);
		}
	}
	printf("# %u types\n", types);
	assert_true(types > 100);
}

static void what_cannot_be_shown_is_refused(void **st)
{
	static char text[2][TEXT];
	static const u64 cases[][2] = { { 0, 0 }, { 1, 1 << 4 }, { 0x7fffffff, 0 }, { 0xffffffff, 0 }, { 0x80000001, 0 } };
	struct machine m[2];
	u8 value[VALUE] = { 0 };

	(void)st;
	machine(&m[0], sys_bpf);
	machine(&m[1], kernel_bpf);
	for (u32 i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(show(&m[0], (u32)cases[i][0], cases[i][1], 100, value, text[0]),
				 show(&m[1], (u32)cases[i][0], cases[i][1], 100, value, text[1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_shown_as_by_the_kernel),
		cmocka_unit_test(what_cannot_be_shown_is_refused),
	};

	if (!kernel_works())
		return skip_all("no bpf(2) of the kernel");
	sys_inside++; /* the kernel's file, not Ferry's */
	there = btf__parse("/sys/kernel/btf/vmlinux", NULL);
	sys_inside--;
	if (!there)
		return skip_all("the kernel has no BTF");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
