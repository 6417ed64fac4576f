/* SPDX-License-Identifier: MIT */
/* This project's verifier, given a program of the corpus. */
#include "verdicts.h"
#include "verify/verify.h"

static int add_maps(const struct verdict_prog *p, struct prog *prog, struct text *log)
{
	prog->maps = base_array(VERDICT_MAPS, sizeof(*prog->maps));
	assert_non_null(prog->maps);
	for (u32 i = 0; i < p->nmaps; i++) {
		const struct verdict_map *vm = &p->maps[i];
		struct map *m = NULL;
		u32 zero = 0;
		u8 value[4096] = { 0 };
		int err = map_create(&vm->attr, &m, log);

		if (err)
			return err;
		prog->maps[prog->nmaps++] = m;
		if (vm->value_len) {
			memcpy(value, vm->value, vm->value_len);
			map_update_user(m, &zero, value, 0);
		}
		m->frozen = vm->frozen;
	}
	return 0;
}

int verdict_ferry(const struct verdict_prog *p, struct text *log, struct prog **out)
{
	struct verify_opts opts = { .log_level = log ? 1 : 0, .log = log };
	struct verify_stats stats = { 0 };
	struct prog *prog = prog_new(p->insns, p->cnt);
	int err;

	assert_non_null(prog);
	prog->type = p->type;
	prog->flags = p->flags;
	prog->gpl = p->gpl;
	if (p->type == BPF_PROG_TYPE_CGROUP_SKB)
		prog->attach_type = BPF_CGROUP_INET_INGRESS;
	err = add_maps(p, prog, log);
	if (!err)
		err = verify_prog(prog, &opts, &stats);
	if (err || !out)
		prog_free(prog);
	else
		*out = prog;
	return err;
}
