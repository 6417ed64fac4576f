/* SPDX-License-Identifier: MIT */
/* The verifier's driver: the list of passes. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "verify/verify_int.h"

#define DEFAULT_MEMORY ((size_t)1 << 30)

bool verifier_charge(struct verifier *v, size_t size)
{
	if (size > v->max_memory - v->memory) {
		if (!v->error)
			v->error = refuse(v, -E2BIG, "bound the loops more tightly, or split the program",
					  "the verifier's memory limit of %zu bytes is reached",
					  v->max_memory);
		return false;
	}
	v->memory += size;
	if (v->memory > v->stats.peak_memory)
		v->stats.peak_memory = v->memory;
	return true;
}

static int check_form(struct verifier *v)
{
	struct text why = { 0 };
	int err = isa_validate(v->insns, v->cnt, ISA_ALL, &why);

	if (err)
		refuse(v, err, "let clang make the instructions: these are malformed", "%s",
		       text_str(&why));
	text_free(&why);
	v->form_ok = !err;
	return err;
}

static int check_type(struct verifier *v)
{
	v->type = prog_type_of(v->p->type);
	if (v->type)
		return 0;
	return refuse(
		v, -EINVAL,
		"one of xdp, tc, socket, cgroup skb, kprobe, tracepoint, perf_event, syscall, ...",
		"programs of type %s are not run here", prog_type_name(v->p->type));
}

static int allocate(struct verifier *v)
{
	if (!verifier_charge(v, v->cnt * (sizeof(*v->aux) + sizeof(*v->p->facts))))
		return v->error;
	v->aux = base_array(v->cnt, sizeof(*v->aux));
	v->globals = base_alloc(PROG_MAX_FUNCS);
	base_free(v->p->facts);
	v->p->facts = base_array(v->cnt, sizeof(*v->p->facts));
	/* So that node 0 can always be looked at. */
	v->nodes = base_grow(NULL, &v->nodes_cap, 64, sizeof(*v->nodes));
	v->nnodes = 1;
	return v->aux && v->globals && v->p->facts && v->nodes ? 0 : -ENOMEM;
}

/* All maps that instructions name, whether they are reached or not. */
static int check_maps(struct verifier *v)
{
	int err = 0;
	u32 i;

	for (i = 0; i < v->cnt && !err; i += isa_slots(&v->insns[i])) {
		const struct bpf_insn *insn = &v->insns[i];

		if (!isa_is_ldimm64(insn) ||
		    (insn->src_reg != BPF_PSEUDO_MAP_FD && insn->src_reg != BPF_PSEUDO_MAP_VALUE))
			continue;
		v->insn = i;
		if ((u32)insn->imm >= v->p->nmaps || !v->p->maps[insn->imm])
			err = refuse(v, -EINVAL, "declare the map in the object that uses it",
				     "reference to map %d that the program does not have", insn->imm);
		else
			err = vlock_check_map(v, v->p->maps[insn->imm]);
	}
	v->insn = 0;
	return err;
}

static int run_passes(struct verifier *v)
{
	static int (*const passes[])(struct verifier *) = {
		check_form,
		check_type,
		allocate,
		check_maps,
		vcfg_check,
		vlive_compute,
		vwalk,
		vcfg_check_stack,
		vfixup,
	};
	size_t i;
	int err = 0;

	for (i = 0; i < ARRAY_SIZE(passes) && !err; i++)
		err = passes[i](v);
	return err;
}

static u64 now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

int verify_prog(struct prog *p, const struct verify_opts *opts, struct verify_stats *stats)
{
	struct verifier v = {
		.p = p, .o = opts, .insns = p->insns, .cnt = p->insn_cnt,
		.level = opts->log_level, .log = opts->log_level ? opts->log : NULL,
		.max_memory = opts->max_memory ? opts->max_memory : DEFAULT_MEMORY,
	};
	u64 start = now_ns();
	int err;

	vtrace_start(&v);
	err = run_passes(&v);

	v.stats.time_ns = now_ns() - start;
	if (err)
		refuse(&v, err,
		       err == -ENOMEM ? "try again when there is memory"
				      : "verify a part of it at a time to find what it is",
		       err == -ENOMEM ? "out of memory" : "the program was refused");
	vlog_stats(&v);
	p->verified_insns = v.stats.processed;
	if (stats)
		*stats = v.stats;
	vtrace_end(&v, err);
	state_free_all(&v);
	text_free(&v.message);
	base_free(v.pending);
	base_free(v.later);
	base_free(v.nodes);
	base_free(v.btfs);
	base_free(v.globals);
	base_free(v.work);
	base_free(v.aux);
	return err;
}
