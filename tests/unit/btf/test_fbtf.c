/* SPDX-License-Identifier: MIT */
/* BTF made, checked, shown: against libbpf's own dump, the C compiler's sizes and written values.
 */
#include <linux/version.h>

#include "btf_cases.h"
#include "failing.h"

#include <asm/ptrace.h>
#include <bpf/libbpf.h>

/* ---- parsing ------------------------------------------------------------------------------------
 */

static void cases_made_by_hand_have_the_verdict_of_6_1(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(btf_cases); i++) {
		struct text why = { 0 };
		struct btf *btf = NULL;
		u32 size;
		u8 *data = case_bytes(i, &size);
		int err = fbtf_parse(data, size, NULL, &btf, &why);

		if (err != btf_cases[i].verdict)
			fail_msg("%s: %d (%s)", btf_cases[i].name, err, text_str(&why));
		/* A refusal says why, and names the type. */
		if (err)
			assert_non_null(strstr(text_str(&why), "BTF type "));
		btf__free(btf);
		btf = NULL;
		assert_int_equal(fbtf_parse(data, size, NULL, &btf, NULL), err);
		btf__free(btf);
		free(data);
		text_free(&why);
	}
}

static void split_btf_is_checked_against_its_base(void **state)
{
	struct btf *base = fbtf_vmlinux(), *split = btf__new_empty_split(base), *out = NULL;
	struct text why = { 0 };
	const void *raw;
	u8 *copy;
	u32 size, start = btf__type_cnt(base), task;

	(void)state;
	/* A copy for editing, since look-ups of strings change what they look into. */
	btf__free(split);
	raw = btf__raw_data(base, &size);
	base = btf__new(raw, size);
	split = btf__new_empty_split(base);
	task = (u32)btf__find_by_name_kind(base, "task_struct", BTF_KIND_STRUCT);
	assert_int_equal(btf__add_ptr(split, (int)task), start);
	assert_int_equal(btf__add_struct(split, "mine", 16), start + 1);
	assert_int_equal(btf__add_field(split, "pid", (int)start, 0, 0), 0);
	raw = btf__raw_data(split, &size);
	copy = malloc(size);
	memcpy(copy, raw, size);
	assert_int_equal(fbtf_parse(copy, size, fbtf_vmlinux(), &out, &why), 0);
	assert_int_equal(btf__type_cnt(out), start + 2);
	assert_string_equal(fbtf_name(out, btf__type_by_id(out, start + 1)->name_off), "mine");
	assert_int_equal(fbtf_size(out, start + 1), 16);
	/* Without its base the same bytes mean nothing. */
	assert_int_equal(fbtf_parse(copy, size, NULL, &(struct btf *){ NULL }, &why), -EINVAL);
	btf__free(out);
	btf__free(split);
	btf__free(base);
	free(copy);
	text_free(&why);
}

/* Everything that takes ids must bear any accepted BTF and any id. */
static void use(const struct btf *btf, u64 *seed)
{
	u8 data[256];
	u32 id, i;

	for (i = 0; i < sizeof(data); i++)
		data[i] = (u8)rnd(seed);
	for (id = 0; id < btf__type_cnt(btf) + 2; id++) {
		struct text out = { 0 };
		s64 size = fbtf_size(btf, id);
		const struct btf_type *t = fbtf_strip(btf, id, NULL);

		if (t)
			fbtf_name(btf, t->name_off);
		fbtf_dump_value(btf, id, data, sizeof(data), id & 1, &out);
		if (size > 0 && size < 200)
			assert_int_not_equal(
				fbtf_dump_value(btf, id, data, (size_t)size - 1, false, &out), 0);
		text_free(&out);
	}
}

static void mutated_btf_is_refused_or_harmless(void **state)
{
	struct btf *btf = btf__parse_elf(getenv("FERRY_SAMPLE"), NULL);
	u64 seed = 4711;
	const void *raw;
	u32 size, len, i, good = 0;
	u8 *copy;

	(void)state;
	assert_non_null(btf);
	/* Sections have no size before linking. */
	for (i = 1; i < btf__type_cnt(btf); i++)
		if (btf_is_datasec(btf__type_by_id(btf, i)))
			type_at(btf, (int)i)->info = BTF_KIND_PTR << 24,
				     type_at(btf, (int)i)->name_off = 0;
	raw = btf__raw_data(btf, &size);
	copy = malloc(size);
	for (i = 0; i < 20000; i++) {
		struct btf *out = NULL;

		memcpy(copy, raw, size);
		len = size;
		if (i)
			mutate(copy, &len, &seed);
		if (!fbtf_parse(copy, len, NULL, &out, NULL)) {
			good++;
			if (good % 16 == 1)
				use(out, &seed);
			btf__free(out);
		}
	}
	free(copy);
	btf__free(btf);
	(void)good;
}

/* ---- the kernel's types -------------------------------------------------------------------------
 */

static s64 size_of(const char *name)
{
	s32 id = btf__find_by_name_kind(fbtf_vmlinux(), name, BTF_KIND_STRUCT);

	return id < 0 ? id : fbtf_size(fbtf_vmlinux(), (u32)id);
}

static void shared_structs_have_the_sizes_of_linux_bpf_h(void **state)
{
	/* Ours are those of 6.1; later kernels only append. */
#define SAME(s) assert_in_range(size_of(#s), LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0) ? sizeof(struct s) : 0, \
				sizeof(struct s))
	(void)state;
	SAME(__sk_buff), SAME(xdp_md), SAME(bpf_sock), SAME(bpf_tcp_sock), SAME(bpf_sock_tuple);
	SAME(bpf_sock_addr), SAME(bpf_sock_ops), SAME(sk_msg_md), SAME(sk_reuseport_md);
	SAME(bpf_sk_lookup), SAME(bpf_sysctl), SAME(bpf_sockopt), SAME(bpf_cgroup_dev_ctx);
	SAME(bpf_raw_tracepoint_args), SAME(bpf_spin_lock), SAME(bpf_timer), SAME(bpf_dynptr);
	SAME(bpf_fib_lookup), SAME(bpf_flow_keys), SAME(bpf_tunnel_key), SAME(bpf_map_info);
	SAME(bpf_prog_info), SAME(bpf_insn), SAME(bpf_pidns_info), SAME(btf_ptr), SAME(pt_regs);
	SAME(bpf_func_info), SAME(bpf_line_info), SAME(bpf_link_info);
#undef SAME
}

static s64 enum_value(const char *type, const char *name)
{
	s32 id = btf__find_by_name_kind(fbtf_vmlinux(), type, BTF_KIND_ENUM);
	const struct btf_type *t = btf__type_by_id(fbtf_vmlinux(), (u32)id);
	u32 i;

	assert_true(id > 0);
	for (i = 0; i < btf_vlen(t); i++)
		if (!strcmp(fbtf_name(fbtf_vmlinux(), btf_enum(t)[i].name_off), name))
			return btf_enum(t)[i].val;
	return -1;
}

static void enums_have_the_values_of_linux_bpf_h(void **state)
{
#define SAME(type, e) assert_int_equal(enum_value(#type, #e), e)
	(void)state;
	SAME(bpf_func_id, BPF_FUNC_map_lookup_elem), SAME(bpf_func_id, BPF_FUNC_ringbuf_reserve);
	SAME(bpf_func_id, BPF_FUNC_loop), SAME(bpf_map_type, BPF_MAP_TYPE_HASH);
	SAME(bpf_map_type, BPF_MAP_TYPE_RINGBUF), SAME(bpf_map_type, BPF_MAP_TYPE_BLOOM_FILTER);
	SAME(bpf_prog_type, BPF_PROG_TYPE_SYSCALL), SAME(bpf_attach_type, BPF_TRACE_FENTRY);
	SAME(xdp_action, XDP_REDIRECT), SAME(bpf_cmd, BPF_PROG_BIND_MAP);
#undef SAME
}

static void core_programs_find_the_members_they_name(void **state)
{
	static const char *const wanted[][2] = {
		{ "task_struct", "pid" },
		{ "task_struct", "tgid" },
		{ "task_struct", "comm" },
		{ "task_struct", "real_parent" },
		{ "task_struct", "group_leader" },
		{ "task_struct", "mm" },
		{ "task_struct", "nsproxy" },
		{ "task_struct", "cred" },
		{ "task_struct", "start_time" },
		{ "task_struct", "__state" },
		{ "task_struct", "cgroups" },
		{ "mm_struct", "arg_start" },
		{ "cred", "uid" },
		{ "nsproxy", "mnt_ns" },
		{ "ns_common", "inum" },
		{ "sock_common", "skc_family" },
		{ "sock", "__sk_common" },
		{ "sk_buff", "len" },
		{ "sk_buff", "head" },
		{ "file", "f_path" },
		{ "dentry", "d_name" },
		{ "inode", "i_ino" },
		{ "linux_binprm", "filename" },
		{ "trace_entry", "pid" },
		{ "trace_event_raw_sys_enter", "args" },
		{ "trace_event_raw_sys_exit", "ret" },
		{ "trace_event_raw_sched_switch", "prev_pid" },
		{ "bpf_perf_event_data", "regs" },
		{ "kernfs_node", "id" },
		{ "pid_namespace", "ns" },
		{ "upid", "nr" },
#if defined(__x86_64__)
		{ "pt_regs", "di" },
		{ "pt_regs", "orig_ax" },
#elif defined(__aarch64__)
		{ "user_pt_regs", "regs" },
		{ "pt_regs", "syscallno" },
#endif
	};
	size_t i;
	u32 j;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		s32 id = btf__find_by_name_kind(fbtf_vmlinux(), wanted[i][0], BTF_KIND_STRUCT);
		const struct btf_type *t = btf__type_by_id(fbtf_vmlinux(), (u32)id);
		bool found = false;

		assert_true(id > 0);
		for (j = 0; j < btf_vlen(t); j++)
			found |= !strcmp(fbtf_name(fbtf_vmlinux(), btf_members(t)[j].name_off),
					 wanted[i][1]);
		if (!found)
			fail_msg("struct %s has no %s", wanted[i][0], wanted[i][1]);
	}
	assert_true(btf__find_by_name_kind(fbtf_vmlinux(), "bpf_user_pt_regs_t", BTF_KIND_TYPEDEF) >
		    0);
	assert_true(fbtf_vmlinux() == fbtf_vmlinux());
}

/* ---- C to BTF and back --------------------------------------------------------------------------
 */

static void collect(void *ctx, const char *fmt, va_list ap)
{
	text_vprintf(ctx, fmt, ap);
}

static void what_libbpf_dumps_of_the_types_reads_back_the_same(void **state)
{
	const struct btf *btf = fbtf_vmlinux();
	struct text c = { 0 }, why = { 0 };
	struct btf_dump *d = btf_dump__new(btf, collect, &c, NULL);
	struct ctypes *cs;
	u32 id, i, n = 0;

	(void)state;
	assert_non_null(d);
	for (id = 1; id < btf__type_cnt(btf); id++)
		assert_int_equal(btf_dump__dump_type(d, id), 0);
	assert_int_equal(ctypes_new(&cs), 0);
	/* libbpf says _Bool and true as the compiler has them. */
	if (ctypes_declare(cs, text_str(&c), &why))
		fail_msg("%s", text_str(&why));
	for (i = 0; ctypes_nth(cs, i); i++) {
		const struct ctype *t = ctypes_nth(cs, i);
		s32 was;

		if ((t->kind != CTYPE_STRUCT && t->kind != CTYPE_UNION) || t->incomplete)
			continue;
		was = btf__find_by_name_kind(
			btf, t->name, t->kind == CTYPE_STRUCT ? BTF_KIND_STRUCT : BTF_KIND_UNION);
		assert_true(was > 0);
		assert_int_equal(fbtf_size(btf, (u32)was), t->size);
		assert_int_equal(btf_vlen(btf__type_by_id(btf, (u32)was)), t->count);
		n++;
	}
	assert_true(n > 100);
	btf_dump__free(d);
	ctypes_free(cs);
	text_free(&c);
	text_free(&why);
}

static void prototypes_become_what_libbpf_prints_as_the_same_c(void **state)
{
	static const struct {
		const char *proto, *printed;
	} cases[] = {
		{ "int add(int x, int y)", "int (*f)(int x, int y)" },
		{ "void v(void)", "void (*f)()" },
		{ "u8 g(const void *mem, u32 mem__sz)", "u8 (*f)(const void *mem, u32 mem__sz)" },
		{ "long h(const struct point *p, enum color c, const volatile int *q)",
		  "long int (*f)(const struct point *p, enum color c, volatile const int *q)" },
		{ "int p(int (*cb)(const char *, ...), struct list **l, char s[3])",
		  "int (*f)(int (*cb)(const char *, ...), struct list **l, char *s)" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		LIBBPF_OPTS(btf_dump_emit_type_decl_opts, opts, .field_name = "f");
		struct btf *btf = btf__new_empty();
		struct text out = { 0 };
		struct btf_dump *d;
		struct hash seen = { 0 };
		const struct ctype *f;
		const char *name;
		struct ctypes *cs;
		char *empty;
		int id, ptr;

		assert_int_equal(ctypes_new(&cs), 0);
		assert_int_equal(
			ctypes_declare(cs,
				       "struct point { int x : 3, y; }; enum color { RED };"
				       "struct list { struct list *next; };",
				       NULL),
			0);
		assert_int_equal(ctypes_prototype(cs, cases[i].proto, &f, &name, NULL), 0);
		id = fbtf_add_func(btf, &seen, name, f);
		assert_true(id > 0);
		assert_int_equal(btf_kind(btf__type_by_id(btf, (u32)id)), BTF_KIND_FUNC);
		assert_string_equal(fbtf_name(btf, btf__type_by_id(btf, (u32)id)->name_off), name);
		ptr = btf__add_ptr(btf, (int)btf__type_by_id(btf, (u32)id)->type);
		d = btf_dump__new(btf, collect, &out, NULL);
		assert_int_equal(btf_dump__emit_type_decl(d, (u32)ptr, &opts), 0);
		/* Newer libbpf prints the empty list as (void). */
		while ((empty = strstr(text_str(&out), "(void)")))
			memmove(empty + 1, empty + 5, strlen(empty + 5) + 1);
		assert_string_equal(text_str(&out), cases[i].printed);
		btf_dump__free(d);
		btf__free(btf);
		hash_free(&seen);
		ctypes_free(cs);
		text_free(&out);
	}
}

/* ---- values
 * --------------------------------------------------------------------------------------- */

enum mood { SAD = -1, FINE, GOOD };
struct shown {
	int i;
	unsigned char u;
	_Bool yes;
	enum mood mood;
	enum mood strange;
	char name[8];
	char raw[2];
	unsigned char bytes[3];
	struct { short a, b; } in[2];
	union { int both; float f; };
	unsigned lo : 3;
	int neg : 5;
	void *p;
	double d;
	char c;
	long long big;
};

static const char shown_text[] =
	"enum mood { SAD = -1, FINE, GOOD };"
	"struct shown { int i; unsigned char u; _Bool yes; enum mood mood, strange; char name[8]; "
	"char raw[2];"
	"unsigned char bytes[3]; struct { short a, b; } in[2]; union { int both; float f; };"
	"unsigned lo : 3; int neg : 5; void *p; double d; char c; long long big; };";

static void values_are_shown_by_their_type(void **state)
{
	struct shown v = { .i = -7,
			   .u = 200,
			   .yes = true,
			   .mood = SAD,
			   .strange = 9,
			   .name = "a\"b\n",
			   .raw = { '\xff', 'x' },
			   .bytes = { 1, 2, 3 },
			   .in = { { 1, -2 }, { 3, 4 } },
			   .f = 1.5f,
			   .lo = 5,
			   .neg = -3,
			   .p = (void *)0x1234,
			   .d = 0.25,
			   .c = 'Q',
			   .big = -(1ll << 40) };
	struct btf *btf = btf__new_empty();
	struct hash seen = { 0 };
	struct text out = { 0 };
	const struct ctype *t;
	struct ctypes *cs;
	int id;

	(void)state;
	assert_int_equal(ctypes_new(&cs), 0);
	assert_int_equal(ctypes_declare(cs, shown_text, NULL), 0);
	assert_int_equal(ctypes_type(cs, "struct shown", &t, NULL), 0);
	assert_int_equal(t->size, sizeof(v));
	id = fbtf_add_ctype(btf, &seen, t);
	assert_true(id > 0);
	assert_int_equal(fbtf_dump_value(btf, (u32)id, &v, sizeof(v), false, &out), 0);
	assert_string_equal(
		text_str(&out),
		"{ .i = -7, .u = 200, .yes = true, .mood = SAD, .strange = 9, "
		".name = \"a\\\"b\\n\", .raw = [-1, 'x'], .bytes = [1, 2, 3], "
		".in = [{ .a = 1, .b = -2, }, { .a = 3, .b = 4, }], .both = 1069547520, "
		".f = 1.5, .lo = 5, .neg = -3, .p = 0x1234, .d = 0.25, .c = 'Q', "
		".big = -1099511627776, }");
	text_reset(&out);
	assert_int_equal(fbtf_dump_value(btf, (u32)id, &v, sizeof(v), true, &out), 0);
	assert_string_equal(
		text_str(&out),
		"{\"i\":-7,\"u\":200,\"yes\":true,\"mood\":\"SAD\",\"strange\":9,"
		"\"name\":\"a\\\"b\\n\",\"raw\":[-1,120],\"bytes\":[1,2,3],"
		"\"in\":[{\"a\":1,\"b\":-2},{\"a\":3,\"b\":4}],\"both\":1069547520,\"f\":1.5,"
		"\"lo\":5,\"neg\":-3,\"p\":\"0x1234\",\"d\":0.25,\"c\":81,"
		"\"big\":-1099511627776}");
	/* Not a byte past the data. */
	assert_int_equal(fbtf_dump_value(btf, (u32)id, &v, sizeof(v) - 1, true, &out), -EINVAL);
	assert_int_equal(fbtf_dump_value(btf, 9999, &v, sizeof(v), true, &out), -EINVAL);
	text_free(&out);
	hash_free(&seen);
	ctypes_free(cs);
	btf__free(btf);
}

static void hostile_types_do_not_multiply_the_text(void **state)
{
	struct btf *btf = with_int();
	struct text out = { 0 };
	u64 data = 0;
	int id = 1, i, j;

	(void)state;
	/* Unions of unions: 16 times as much text with each level. */
	for (i = 0; i < 20; i++) {
		int next = btf__add_union(btf, "", 8);

		for (j = 0; j < 16; j++)
			assert_int_equal(btf__add_field(btf, "m", id, 0, 0), 0);
		id = next;
	}
	assert_int_equal(fbtf_dump_value(btf, (u32)id, &data, sizeof(data), false, &out), -E2BIG);
	assert_true(out.len < 1 << 20);
	/* Elements of no size, four billion of them. */
	id = btf__add_struct(btf, "empty", 0);
	id = btf__add_array(btf, 1, id, 0xffffffff);
	text_reset(&out);
	assert_int_equal(fbtf_dump_value(btf, (u32)id, &data, sizeof(data), false, &out), 0);
	assert_string_equal(text_str(&out), "[]");
	text_free(&out);
	btf__free(btf);
}

/* ---- memory running out
 * --------------------------------------------------------------------------- */

static int everything(const void *data, u32 size)
{
	struct btf *parsed = NULL, *made = btf__new_empty();
	struct hash seen = { 0 };
	struct text why = { 0 };
	const struct ctype *t;
	struct ctypes *cs = NULL;
	int err = fbtf_parse(data, size, NULL, &parsed, &why);

	err = err ? err : ctypes_new(&cs);
	err = err ? err : ctypes_declare(cs, shown_text, NULL);
	err = err ? err : ctypes_type(cs, "struct shown *", &t, NULL);
	if (!err) {
		err = fbtf_add_ctype(made, &seen, t);
		err = err < 0 ? err : 0;
	}
	text_reset(&why);
	err = err ? err : fbtf_dump_value(parsed, 1, "abcdefgh", 8, true, &why);
	btf__free(parsed);
	btf__free(made);
	hash_free(&seen);
	ctypes_free(cs);
	text_free(&why);
	return err;
}

static void running_out_of_memory_is_an_error_everywhere(void **state)
{
	void *(*before)(void *, size_t) = base_allocator;
	u32 size, n;
	u8 *data = case_bytes(1, &size);
	int err = 0;

	(void)state;
	base_allocator = failing;
	for (n = 1; n < 1000; n++) {
		allocs = 0;
		fail_at = n;
		err = everything(data, size);
		if (live || allocs < n || (err && err != -ENOMEM))
			break;
	}
	base_allocator = before;
	free(data);
	assert_int_equal(live, 0);
	assert_int_equal(err, 0);
	assert_true(n > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cases_made_by_hand_have_the_verdict_of_6_1),
		cmocka_unit_test(split_btf_is_checked_against_its_base),
		cmocka_unit_test(mutated_btf_is_refused_or_harmless),
		cmocka_unit_test(shared_structs_have_the_sizes_of_linux_bpf_h),
		cmocka_unit_test(enums_have_the_values_of_linux_bpf_h),
		cmocka_unit_test(core_programs_find_the_members_they_name),
		cmocka_unit_test(what_libbpf_dumps_of_the_types_reads_back_the_same),
		cmocka_unit_test(prototypes_become_what_libbpf_prints_as_the_same_c),
		cmocka_unit_test(values_are_shown_by_their_type),
		cmocka_unit_test(hostile_types_do_not_multiply_the_text),
		cmocka_unit_test(running_out_of_memory_is_an_error_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
