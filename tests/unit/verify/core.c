/* SPDX-License-Identifier: MIT */
/* Programs from text for the verifier's tests. */
#include "core.h"

static struct map *make_map(u32 which)
{
	static const struct map_attr attrs[] = {
		[CORE_ARRAY] = { BPF_MAP_TYPE_ARRAY, 4, 48, 4, 0, 0, "array", 0 },
		[CORE_HASH] = { BPF_MAP_TYPE_HASH, 8, 16, 16, 0, 0, "hash", 0 },
		[CORE_PROGS] = { BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0, 0, "progs", 0 },
		[CORE_RINGBUF] = { BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0, 0, "ringbuf", 0 },
		[CORE_RODATA] = { BPF_MAP_TYPE_ARRAY, 4, 32, 1, BPF_F_RDONLY_PROG, 0, "rodata", 0 },
		[CORE_DATA] = { BPF_MAP_TYPE_ARRAY, 4, 64, 1, 0, 0, "data", 0 },
	};
	static const u8 rodata[32] = { 1, 0, 0, 0, 2, 0, 0, 0, 't', 'e', 'x', 't', 0,
				       [16] = 0xff, 0xff, 0xff, 0xff, [24] = 'n', 'o', 'e', 'n', 'd',
				       'i', 'n', 'g' };
	struct map *m;
	u32 zero = 0;

	assert_int_equal(map_create(&attrs[which], &m, NULL), 0);
	if (which == CORE_RODATA) {
		assert_int_equal(map_update_user(m, &zero, rodata, 0), 0);
		m->frozen = 1;
	}
	return m;
}

void core_open(struct core *c, u32 type, const char *source)
{
	struct bpf_insn *insns = NULL;
	struct text why = { 0 };
	u32 cnt = 0, i;

	memset(c, 0, sizeof(*c));
	if (isa_assemble(source, &insns, &cnt, &why))
		fail_msg("%s in: %s", text_str(&why), source);
	text_free(&why);
	c->p = prog_new(insns, cnt);
	base_free(insns);
	assert_non_null(c->p);
	c->p->type = type;
	c->p->gpl = true;
	c->p->maps = base_array(CORE_MAPS, sizeof(*c->p->maps));
	assert_non_null(c->p->maps);
	for (i = 0; i < CORE_MAPS; i++)
		c->p->maps[i] = make_map(i);
	c->p->nmaps = CORE_MAPS;
	c->opts.log_level = 2;
	c->opts.log = &c->log;
}

int core_verify(struct core *c)
{
	c->err = verify_prog(c->p, &c->opts, &c->stats);
	return c->err;
}

void core_close(struct core *c)
{
	prog_free(c->p);
	text_free(&c->log);
	memset(c, 0, sizeof(*c));
}

int core_verdict(u32 type, const char *source, const char **log)
{
	static char buf[8192];
	struct core c;
	size_t skip;
	int err, often;

	/* The verdict does not depend on how often checkpoints are made. */
	core_open(&c, type, source);
	c.p->flags |= BPF_F_TEST_STATE_FREQ;
	c.opts.log_level = 0;
	often = core_verify(&c);
	core_close(&c);

	core_open(&c, type, source);
	err = core_verify(&c);
	if (err != often && err != -E2BIG)
		fail_msg("%d, and %d with frequent checkpoints: %s", err, often, source);
	/* The end of the log has the reason. */
	skip = c.log.len < sizeof(buf) ? 0 : c.log.len - sizeof(buf) + 1;
	snprintf(buf, sizeof(buf), "%s", text_str(&c.log) + skip);
	core_close(&c);
	*log = buf;
	return err;
}
