/* SPDX-License-Identifier: MIT */
/* Policies: what is not granted is refused with the line that grants it, and with that line it loads. */
#include "limit_test.h"

#include <unistd.h>

static int setup(void **state)
{
	(void)state;
	limit_setup();
	return 0;
}

static void loads(const char *program, bool expected)
{
	struct bpf_object *o;

	limit_log[0] = '\0';
	o = limit_load(program);
	if (expected != (o != NULL))
		fail_msg("%s was %s: %s", program, o ? "loaded" : "refused", limit_log);
	bpf_object__close(o);
}

/* The line between ` and ' of the log. */
static void grant_what_is_missing(void)
{
	char line[512], *from = strchr(limit_log, '`');

	assert_non_null(from);
	while (from) {
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(from + 1, "'"), from + 1);
		assert_int_equal(ferry_policy_add(line), 0);
		from = strchr(from + 1 + strlen(line), '`');
	}
}

static void without_a_policy_registered_functions_are_reachable(void **state)
{
	(void)state;
	assert_int_equal(ferry_policy_set(NULL), 0);
	loads("calls_fine", true);
	loads("counts", true);
}

static void destructive_functions_need_a_grant_always(void **state)
{
	(void)state;
	assert_int_equal(ferry_policy_set(NULL), 0);
	loads("destroys", false);
	assert_non_null(strstr(limit_log, "allow destroys destructive limit_test.wipe_disk"));
	assert_int_equal(ferry_policy_set("default allow\n"), 0);
	loads("destroys", false);
	assert_int_equal(ferry_policy_set("default allow\nallow destroys call limit_test.wipe_disk"), 0);
	loads("destroys", false);
	assert_int_equal(ferry_policy_set("default allow\nallow other destructive limit_test.wipe_disk"), 0);
	loads("destroys", false);
	assert_int_equal(ferry_policy_set("default allow\nallow dest* destructive limit_test.wipe_disk"), 0);
	loads("destroys", true);
}

static void the_lines_that_a_refusal_names_are_what_is_missing(void **state)
{
	static const char *const programs[] = { "calls_fine", "counts", "holding", "destroys", "closure_turns" };

	(void)state;
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
		assert_int_equal(ferry_policy_set(""), 0);
		loads(programs[i], false);
		grant_what_is_missing();
		loads(programs[i], true);
	}
}

static void each_grant_is_needed(void **state)
{
	static const char *const lines[] = {
		"allow counts type syscall\n", "allow counts helper map_update_elem\n",
		"allow counts helper get_current_pid_tgid\n", "allow counts map hash\n",
	};
	char policy[512];

	(void)state;
	for (int without = -1; without < 4; without++) {
		policy[0] = '\0';
		for (int i = 0; i < 4; i++)
			if (i != without)
				strcat(policy, lines[i]);
		assert_int_equal(ferry_policy_set(policy), 0);
		loads("counts", without < 0);
	}
}

static void maps_are_granted_up_to_a_size(void **state)
{
	static const char rest[] = "allow * type *\nallow * helper *\n";
	char policy[256];

	(void)state;
	snprintf(policy, sizeof(policy), "%sallow counts map hash 64", rest);
	assert_int_equal(ferry_policy_set(policy), 0);
	loads("counts", false);
	snprintf(policy, sizeof(policy), "%sallow counts map hash 1M", rest);
	assert_int_equal(ferry_policy_set(policy), 0);
	loads("counts", true);
	snprintf(policy, sizeof(policy), "%sallow counts map array 1M", rest);
	assert_int_equal(ferry_policy_set(policy), 0);
	loads("counts", false);
}

static void objects_and_patterns_choose_programs(void **state)
{
	(void)state;
	assert_int_equal(ferry_policy_set("allow mine/c* type *\nallow mine/c* call limit_test.f*"), 0);
	assert_int_equal(ferry_policy_object("mine"), 0);
	loads("calls_fine", true);
	assert_int_equal(ferry_policy_object("other"), 0);
	loads("calls_fine", false);
	assert_int_equal(ferry_policy_object(NULL), 0);
	assert_int_equal(ferry_policy_set("allow calls_f* type *\nallow calls_f* call other.*"), 0);
	loads("calls_fine", false);
}

static unsigned long calls_that_go_through(const char *program, int n)
{
	struct bpf_object *o = limit_load(program);
	unsigned long good = 0;

	assert_non_null(o);
	for (int i = 0; i < n; i++) {
		struct args a = { .n = 5 };

		limit_run(limit_fd(o, program), &a);
		good += (long)a.ret >= 0 && (int)a.ret >= 0;
		if ((int)a.ret < 0)
			assert_int_equal((int)a.ret, -EBUSY);
	}
	bpf_object__close(o);
	return good;
}

static void calls_are_limited_a_second(void **state)
{
	(void)state;
	assert_int_equal(ferry_policy_set("allow * type *\nallow * call *.fine 50/s"), 0);
	assert_in_range(calls_that_go_through("calls_fine", 500), 50, 80);
	assert_int_equal(ferry_policy_set("allow * type *\nallow * map *\nallow * helper map_update_elem 20/s\n"
					  "allow * helper *"), 0);
	assert_in_range(calls_that_go_through("counts", 300), 20, 40);
	/* What releases must not fail. */
	assert_int_equal(ferry_policy_set("allow * type *\nallow * map *\nallow * helper *_submit 5/s\n"
					  "allow * helper *"), 0);
	loads("holding", false);
}

static void limits_come_from_the_policy(void **state)
{
	struct args a = { .n = 1000000 };
	struct bpf_object *o;

	(void)state;
	assert_int_equal(ferry_policy_set("default allow\nlimit turns insns 1000\nlimit turns return 42"), 0);
	o = limit_load("turns");
	assert_non_null(o);
	assert_int_equal(limit_run(limit_fd(o, "turns"), &a), 42);
	bpf_object__close(o);
	assert_int_equal(ferry_policy_set("default allow\nlimit calls_* fault error"), 0);
	o = limit_load("calls_crash");
	assert_non_null(o);
	a = (struct args){ .n = 1 };
	assert_int_equal(limit_run(limit_fd(o, "calls_crash"), &a), 9);
	assert_int_equal((int)a.ret, -EFAULT);
	bpf_object__close(o);
}

static void text_that_makes_no_sense_is_refused_with_its_line(void **state)
{
	static const char *const bad[] = {
		"allow", "allow p", "allow p call", "deny p call x.y", "allow p calls x.y", "allow p call x.y 5",
		"allow p call x.y 0/s", "allow p call x.y 5/s more", "allow p type xdp 5", "allow p map hash -5",
		"allow p map hash 5T", "limit p insns 0", "limit p insns many", "limit p time 5", "limit p time -5ms",
		"limit p fault maybe", "limit p return", "limit p insns 5 6", "default maybe",
		"allow p helper 99999999999999999999999999999999999999999999999999999999999999999999999999999999"
		"99999999999999999999999999999999999999999999999999999999999999999999999999999999",
	};
	char text[512];

	(void)state;
	assert_int_equal(ferry_policy_set("default allow"), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		limit_log[0] = '\0';
		snprintf(text, sizeof(text), "# a comment\n\n%s # another\n", bad[i]);
		assert_int_equal(ferry_policy_set(text), -EINVAL);
		assert_non_null(strstr(limit_log, "line 3: expected"));
	}
	loads("calls_fine", true); /* the old one stays */
	assert_int_equal(ferry_policy_load("/nonexistent/policy"), -ENOENT);
	assert_int_equal(ferry_policy_set(NULL), 0);
}

#define MOV_IMM(d, v) { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = (d), .imm = (v) }
#define MOV_REG(d, s) { .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = (d), .src_reg = (s) }
#define CALL(id) { .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_##id }
#define EXIT { .code = BPF_JMP | BPF_EXIT }
#define INTO_STACK MOV_REG(1, 10), { .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 1, .imm = -8 }, MOV_IMM(2, 8)

/* libbpf 1.1, src/libbpf.c: probe_memcg_account, probe_kern_probe_read_kernel, probe_kern_bpf_cookie. */
static void what_a_loader_probes_with_needs_no_grant(void **state)
{
	static const struct {
		enum bpf_prog_type type;
		struct bpf_insn insns[8];
		unsigned int n;
		bool ok;
	} cases[] = {
		{ BPF_PROG_TYPE_KPROBE, { MOV_IMM(0, 0), EXIT }, 2, true },
		{ BPF_PROG_TYPE_SOCKET_FILTER, { CALL(ktime_get_coarse_ns), EXIT }, 2, true },
		{ BPF_PROG_TYPE_KPROBE, { CALL(get_attach_cookie), EXIT }, 2, true },
		{ BPF_PROG_TYPE_KPROBE, { INTO_STACK, MOV_IMM(3, 0), CALL(probe_read_kernel), EXIT }, 6, true },
		/* Reads what it likes: */
		{ BPF_PROG_TYPE_KPROBE, { INTO_STACK, MOV_IMM(3, 1), CALL(probe_read_kernel), EXIT }, 6, false },
		{ BPF_PROG_TYPE_KPROBE, { INTO_STACK, MOV_REG(3, 10), CALL(probe_read_kernel), EXIT }, 6, false },
		{ BPF_PROG_TYPE_KPROBE, { INTO_STACK, MOV_REG(3, 10), { .code = BPF_JMP | BPF_JA, .off = 1 }, MOV_IMM(3, 0),
		    CALL(probe_read_kernel), EXIT }, 8, false },
		{ BPF_PROG_TYPE_KPROBE, { INTO_STACK, MOV_REG(3, 10), { .code = BPF_JMP32 | BPF_JEQ | BPF_K, .dst_reg = 2, .imm = 8, .off = 1 },
		    MOV_IMM(3, 0), CALL(probe_read_kernel), EXIT }, 8, false },
		{ BPF_PROG_TYPE_KPROBE, { CALL(ktime_get_ns), EXIT }, 2, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd;

		/* Not for want of anything else. */
		assert_int_equal(ferry_policy_set(NULL), 0);
		fd = bpf_prog_load(cases[i].type, "probe", "GPL", cases[i].insns, cases[i].n, NULL);
		if (fd < 0 && i != 6)
			fail_msg("case %zu does not load: %d", i, fd);
		close(fd);
		assert_int_equal(ferry_policy_set(""), 0);
		fd = bpf_prog_load(cases[i].type, "probe", "GPL", cases[i].insns, cases[i].n, NULL);
		if (cases[i].ok ? fd < 0 : fd != -EACCES)
			fail_msg("case %zu: %d", i, fd);
		close(fd);
	}
	assert_int_equal(ferry_policy_set(NULL), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_policy_registered_functions_are_reachable),
		cmocka_unit_test(destructive_functions_need_a_grant_always),
		cmocka_unit_test(the_lines_that_a_refusal_names_are_what_is_missing),
		cmocka_unit_test(what_a_loader_probes_with_needs_no_grant),
		cmocka_unit_test(each_grant_is_needed),
		cmocka_unit_test(maps_are_granted_up_to_a_size),
		cmocka_unit_test(objects_and_patterns_choose_programs),
		cmocka_unit_test(calls_are_limited_a_second),
		cmocka_unit_test(limits_come_from_the_policy),
		cmocka_unit_test(text_that_makes_no_sense_is_refused_with_its_line),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
