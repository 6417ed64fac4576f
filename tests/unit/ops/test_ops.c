/* SPDX-License-Identifier: MIT */
/* Plug-in tables: what may be registered, what implements them, and what is in place when. */
#include "test.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ops_types.h"

static const char types[] = "struct pair { int a, b; };"
			    "struct test_ops { int (*score)(const struct pair *p, int by);"
			    " _Bool (*is_big)(unsigned char x); void (*reset)(struct pair *p); long number; };";
static struct ferry_ops_table *table;

static int zero_score(const struct pair *p, int by)
{
	(void)p, (void)by;
	return 0;
}

static _Bool never(unsigned char x)
{
	(void)x;
	return 0;
}

static void keep(struct pair *p)
{
	(void)p;
}

static const struct test_ops builtin = { zero_score, never, keep, 1 };

static int check(const void *t, void *arg)
{
	assert_ptr_equal(arg, &table);
	return ((const struct test_ops *)t)->number == 13 ? -ERANGE : 0;
}

static void quiet_log(void *arg, int level, const char *msg)
{
	(void)arg, (void)level, (void)msg;
}

static char said[32768]; /* by libbpf */

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	size_t len = strlen(said);

	(void)level;
	return vsnprintf(said + len, sizeof(said) - len, fmt, ap);
}

/* Loads the tables named, and the programs they use; NULL when refused. */
static struct bpf_object *load(const char *const *maps, const char *const *programs)
{
	struct bpf_program *prog;
	struct bpf_object *o;
	struct bpf_map *map;
	char path[4096];

	snprintf(path, sizeof(path), "%s/ops.bpf.o", getenv("OPS_OBJECTS"));
	o = bpf_object__open_file(path, NULL);
	assert_non_null(o);
	bpf_object__for_each_program(prog, o) {
		bool wanted = false;

		for (int i = 0; programs[i]; i++)
			wanted |= !strcmp(programs[i], bpf_program__name(prog));
		bpf_program__set_autoload(prog, wanted);
	}
	bpf_object__for_each_map(map, o) {
		bool wanted = !maps;

		for (int i = 0; maps && maps[i]; i++)
			wanted |= !strcmp(maps[i], bpf_map__name(map));
		bpf_map__set_autocreate(map, wanted);
	}
	if (!bpf_object__load(o))
		return o;
	bpf_object__close(o);
	return NULL;
}

static void types_that_cannot_be_tables_are_refused(void **state)
{
	static const struct {
		const char *name, *types;
	} bad[] = {
		{ "x1", "struct other { int a; };" },       { "x2", "struct x2 { void *data; };" },
		{ "x3", "struct x3 { int (*f)(double); };" }, { "x4", "struct x4 { float (*f)(void); };" },
		{ "x5", "struct x5 {" },                      { "x6", "struct x6 { int (*f)(int, ...); };" },
		{ "x-7", "struct x7 { int a; };" },           { "task_struct", "struct task_struct { int a; };" },
		{ "x8", "struct p8 { int a; }; struct x8 { int (*f)(struct p8); };" },
	};
	struct ferry_ops_table *t;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ferry_ops ops = { sizeof(ops), bad[i].name, bad[i].types, NULL, NULL, NULL };

		if (ferry_ops_register(&ops, &t) != -EINVAL)
			fail_msg("%s was registered", bad[i].name);
	}
}

static void registering(void **state)
{
	const struct ferry_ops ops = { sizeof(ops), "test_ops", types, &builtin, check, &table };
	struct ferry_ops late = { sizeof(late), "late_ops", "struct late_ops { int a; };", NULL, NULL, NULL };
	struct ferry_ops_table *t;
	struct btf *kernel;

	(void)state;
	assert_int_equal(ferry_ops_register(&ops, &table), 0);
	assert_int_equal(ferry_ops_register(&ops, &t), -EEXIST);
	kernel = btf__load_vmlinux_btf();
	assert_int_equal(libbpf_get_error(kernel), 0);
	btf__free(kernel);
	/* Loaders have seen the kernel's types now. */
	assert_int_equal(ferry_ops_register(&late, &t), -EBUSY);
}

static const struct test_ops *now(void)
{
	const struct test_ops *t = ferry_ops_enter(table);

	ferry_ops_leave(table);
	return t;
}

static void a_table_is_put_in_place_exchanged_and_taken_away(void **state)
{
	static const char *const maps[] = { "good", "other", NULL };
	static const char *const programs[] = { "score", "is_big", "reset", NULL };
	struct bpf_object *o = load(maps, programs);
	struct bpf_link *good, *other;
	struct pair p = { 3, 4 };

	(void)state;
	assert_non_null(o);
	assert_int_equal(now()->number, 1);
	good = bpf_map__attach_struct_ops(bpf_object__find_map_by_name(o, "good"));
	assert_non_null(good);
	assert_int_equal(now()->number, 5);
	assert_int_equal(now()->score(&p, 10), 70);
	assert_int_equal(now()->score(&p, -1), -7);
	assert_true(now()->is_big(200));
	assert_false(now()->is_big(100));
	assert_ptr_equal(now()->reset, keep); /* left out: the host's */
	/* In place already. */
	assert_null(bpf_map__attach_struct_ops(bpf_object__find_map_by_name(o, "good")));
	other = bpf_map__attach_struct_ops(bpf_object__find_map_by_name(o, "other"));
	assert_non_null(other);
	assert_int_equal(now()->number, 6);
	now()->reset(&p);
	assert_int_equal(p.a, 0);
	assert_ptr_equal(now()->is_big, never);
	bpf_link__destroy(good); /* no longer in place: nothing changes */
	assert_int_equal(now()->number, 6);
	bpf_link__destroy(other);
	assert_int_equal(now()->number, 1);
	bpf_object__close(o);
}

static void whoever_is_inside_keeps_the_table_and_cannot_change_it(void **state)
{
	static const char *const maps[] = { "good", NULL };
	static const char *const programs[] = { "score", "is_big", NULL };
	struct bpf_object *o = load(maps, programs);
	struct bpf_map *map;

	(void)state;
	assert_non_null(o);
	map = bpf_object__find_map_by_name(o, "good");
	assert_int_equal(((const struct test_ops *)ferry_ops_enter(table))->number, 1);
	assert_null(bpf_map__attach_struct_ops(map));
	assert_int_equal(errno, EBUSY);
	ferry_ops_leave(table);
	bpf_link__destroy(bpf_map__attach_struct_ops(map));
	bpf_object__close(o);
}

static void a_table_that_stays_outlives_its_object(void **state)
{
	static const char *const maps[] = { "good", NULL };
	static const char *const programs[] = { "score", "is_big", NULL };
	struct bpf_object *o = load(maps, programs);
	struct pair p = { 1, 1 };
	struct bpf_link *link;

	(void)state;
	assert_non_null(o);
	link = bpf_map__attach_struct_ops(bpf_object__find_map_by_name(o, "good"));
	assert_non_null(link);
	bpf_link__disconnect(link);
	bpf_link__destroy(link);
	bpf_object__close(o);
	assert_int_equal(now()->score(&p, 4), 8);
	/* Another takes its place. */
	o = load(maps, programs);
	link = bpf_map__attach_struct_ops(bpf_object__find_map_by_name(o, "good"));
	assert_non_null(link);
	bpf_link__destroy(link);
	assert_int_equal(now()->number, 1);
	bpf_object__close(o);
}

/* Links of tables are of Linux 6.4: what these headers lack is written out. */
#define MAP_LINK    0x2000
#define STRUCT_OPS  44
#define LINK_TYPE   9

static struct bpf_object *load_linked(int *good, int *other)
{
	static const char *const programs[] = { "score", "is_big", "reset" };
	struct bpf_program *prog;
	struct bpf_object *o;
	struct bpf_map *map;
	char path[4096];

	snprintf(path, sizeof(path), "%s/ops.bpf.o", getenv("OPS_OBJECTS"));
	o = bpf_object__open_file(path, NULL);
	assert_non_null(o);
	bpf_object__for_each_program(prog, o) {
		bool wanted = false;

		for (int i = 0; i < 3; i++)
			wanted |= !strcmp(programs[i], bpf_program__name(prog));
		bpf_program__set_autoload(prog, wanted);
	}
	bpf_object__for_each_map(map, o) {
		bool wanted = !strcmp(bpf_map__name(map), "good") || !strcmp(bpf_map__name(map), "other");

		bpf_map__set_autocreate(map, wanted);
		if (wanted)
			assert_int_equal(bpf_map__set_map_flags(map, MAP_LINK), 0);
	}
	assert_int_equal(bpf_object__load(o), 0);
	*good = bpf_object__find_map_fd_by_name(o, "good");
	*other = bpf_object__find_map_fd_by_name(o, "other");
	return o;
}

static int link_create(int map)
{
	union bpf_attr a = { 0 };

	a.link_create.prog_fd = (__u32)map; /* map_fd */
	a.link_create.attach_type = STRUCT_OPS;
	return (int)syscall(SYS_bpf, BPF_LINK_CREATE, &a, sizeof(a));
}

static int link_update(int link, int map, int old)
{
	union bpf_attr a = { 0 };

	a.link_update.link_fd = (__u32)link;
	a.link_update.new_prog_fd = (__u32)map;
	a.link_update.old_prog_fd = (__u32)old;
	a.link_update.flags = old ? BPF_F_REPLACE : 0;
	return (int)syscall(SYS_bpf, BPF_LINK_UPDATE, &a, sizeof(a)) ? -errno : 0;
}

/* libbpf gives the map its value, and from 1.2 on makes a link too, which goes again. */
static void give_value(struct bpf_object *o, const char *map)
{
	struct bpf_link *l = bpf_map__attach_struct_ops(bpf_object__find_map_by_name(o, map));

	assert_non_null(l);
	bpf_link__destroy(l);
}

static void a_link_puts_a_table_in_place(void **state)
{
	struct bpf_link_info info = { 0 };
	struct bpf_map_info map = { 0 };
	struct bpf_object *o;
	__u32 len = sizeof(info), key = 0;
	int good, other, link;

	(void)state;
	o = load_linked(&good, &other);
	assert_int_equal(link_create(good), -1); /* it has no value yet */
	assert_int_equal(errno, EINVAL);
	give_value(o, "good");
	give_value(o, "other");
	assert_int_equal(now()->number, 1); /* ready, and not in place */
	assert_int_equal(bpf_map_delete_elem(good, &key), -EOPNOTSUPP);
	link = link_create(good);
	assert_true(link >= 0);
	assert_int_equal(now()->number, 5);
	assert_int_equal(link_create(other), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(bpf_obj_get_info_by_fd(link, &info, &len), 0);
	assert_int_equal(info.type, LINK_TYPE);
	len = sizeof(map);
	assert_int_equal(bpf_obj_get_info_by_fd(good, &map, &len), 0);
	assert_int_equal(info.netns.netns_ino, map.id); /* where newer headers have struct_ops.map_id */
	assert_int_equal(link_update(link, other, other), -EPERM);
	assert_int_equal(link_update(link, other, good), 0);
	assert_int_equal(now()->number, 6);
	assert_int_equal(link_update(link, good, 0), 0);
	assert_int_equal(now()->number, 5);
	assert_int_equal(bpf_link_detach(link), 0);
	assert_int_equal(now()->number, 1);
	assert_int_equal(link_update(link, other, 0), -ENOLINK);
	close(link);
	/* Closing is detaching; the map's value is good for another link. */
	link = link_create(good);
	assert_int_equal(now()->number, 5);
	close(link);
	assert_int_equal(now()->number, 1);
	bpf_object__close(o);
}

static void the_host_may_refuse_a_table(void **state)
{
	static const char *const maps[] = { "unlucky", NULL };
	static const char *const programs[] = { "score", NULL };
	struct bpf_object *o = load(maps, programs);

	(void)state;
	assert_non_null(o);
	assert_null(bpf_map__attach_struct_ops(bpf_object__find_map_by_name(o, "unlucky")));
	assert_int_equal(errno, ERANGE);
	assert_int_equal(now()->number, 1);
	bpf_object__close(o);
}

static void programs_that_break_their_prototype_do_not_load(void **state)
{
	static const char *const bad[] = { "bad_score", "bad_is_big", "bad_store" };
	static const char *const tables[] = { "bad1", "bad2", "bad3" };
	static const char *const reasons[] = { "doesn't have 6-th argument", "R0", "write" };

	(void)state;
	for (int i = 0; i < 3; i++) {
		const char *const programs[] = { bad[i], NULL }, *const maps[] = { tables[i], NULL };
		struct bpf_object *o;

		said[0] = '\0';
		o = load(maps, programs);
		if (o || !strstr(said, reasons[i]))
			fail_msg("%s was %s: %s", bad[i], o ? "loaded" : "refused", said);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_that_cannot_be_tables_are_refused),
		cmocka_unit_test(registering),
		cmocka_unit_test(a_table_is_put_in_place_exchanged_and_taken_away),
		cmocka_unit_test(whoever_is_inside_keeps_the_table_and_cannot_change_it),
		cmocka_unit_test(a_table_that_stays_outlives_its_object),
		cmocka_unit_test(a_link_puts_a_table_in_place),
		cmocka_unit_test(the_host_may_refuse_a_table),
		cmocka_unit_test(programs_that_break_their_prototype_do_not_load),
	};

	ferry_log_to(quiet_log, NULL);
	libbpf_set_print(quiet);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
