/* SPDX-License-Identifier: MIT */
/* Running scenarios against Ferry or the kernel. */
#include "scenario.h"
#include "isa/isa.h"

int scenario_elem(struct scenario *s, int cmd, int fd, const void *key, void *value, u64 flags)
{
	union bpf_attr a = {
		.map_fd = (u32)fd, .key = PTR(key), .value = PTR(value), .flags = flags
	};

	return (int)s->bpf(cmd, &a, sizeof(a));
}

int scenario_map(struct scenario *s, u32 type, u32 key, u32 value, u32 max, u32 flags, int inner)
{
	union bpf_attr a = { .map_type = type,
			     .key_size = key,
			     .value_size = value,
			     .max_entries = max,
			     .map_flags = flags,
			     .inner_map_fd = (u32)inner };

	return (int)s->bpf(BPF_MAP_CREATE, &a, sizeof(a));
}

int scenario_prog(struct scenario *s, u32 type, const char *source, const int *maps, u32 nmaps)
{
	static char log[16384];
	struct bpf_insn *insns = NULL;
	struct text why = { 0 };
	u32 cnt = 0, i;
	union bpf_attr a = { 0 };
	int fd;

	if (isa_assemble(source, &insns, &cnt, &why))
		fail_msg("%s", text_str(&why));
	for (i = 0; i < cnt; i++)
		if (isa_is_ldimm64(&insns[i]) && insns[i].src_reg && (u32)insns[i].imm < nmaps)
			insns[i].imm = maps[insns[i].imm];
	a.prog_type = type;
	a.insns = PTR(insns);
	a.insn_cnt = cnt;
	a.license = PTR("GPL");
	if (type == BPF_PROG_TYPE_SYSCALL)
		a.prog_flags = BPF_F_SLEEPABLE;
	fd = (int)s->bpf(BPF_PROG_LOAD, &a, sizeof(a));
	if (fd < 0 && getenv("SCENARIO_LOG")) {
		a.log_buf = PTR(log);
		a.log_size = sizeof(log);
		a.log_level = 1;
		s->bpf(BPF_PROG_LOAD, &a, sizeof(a));
		fprintf(stderr, "%s\n", log);
	}
	base_free(insns);
	text_free(&why);
	return fd;
}

long scenario_run(struct scenario *s, int prog)
{
	u8 packet[64] = { 0 };
	union bpf_attr a = { 0 };
	long err;

	a.test.prog_fd = (u32)prog;
	a.test.data_in = PTR(packet);
	a.test.data_size_in = sizeof(packet);
	err = s->bpf(BPF_PROG_TEST_RUN, &a, sizeof(a));
	return err < 0 ? err : (long)(s32)a.test.retval;
}

static bpf_fn who = sys_bpf;

static void run_case(void **state)
{
	const struct scenario_case *c = *state;
	struct scenario s = { .bpf = who };

	c->run(&s);
	if (getenv("SCENARIO_PRINT")) /* to write what is right down */
		fprintf(stderr, "%s: %s\n", c->name, text_str(&s.out));
	assert_string_equal(text_str(&s.out), c->right);
	text_free(&s.out);
}

int scenario_main(int argc, char **argv, const struct scenario_case *cases, u32 n)
{
	struct CMUnitTest tests[64] = { 0 };
	u32 i;

	if (argc > 1 && !strcmp(argv[1], "kernel")) {
		if (!kernel_works())
			return skip_all("no bpf(2) of the kernel");
		who = kernel_bpf;
	}
	for (i = 0; i < n && i < ARRAY_SIZE(tests); i++)
		tests[i] = (struct CMUnitTest){ .name = cases[i].name,
						.test_func = run_case,
						.initial_state = (void *)&cases[i] };
	return _cmocka_run_group_tests("scenarios", tests, n, NULL, NULL);
}
