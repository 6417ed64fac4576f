/* SPDX-License-Identifier: MIT */
/* One valid attr a command and kind of object, as a table. */
#include <unistd.h>

#include "attr_probes.h"

static u32 id_of(struct world *w, int fd)
{
	u32 info[64] = { 0 };
	union bpf_attr a = { .info = { .bpf_fd = fd, .info_len = 88, .info = PTR(info) } };

	w->bpf(BPF_OBJ_GET_INFO_BY_FD, &a, sizeof(a.info));
	return info[1];
}

/* The kernel may be short of memory for a moment, when others load programs too. */
#define PATIENTLY(call)                                                                            \
	({                                                                                         \
		int fd_, tries_ = 0;                                                               \
		while ((fd_ = (call)) == -ENOMEM && tries_++ < 50)                                 \
			usleep(20000);                                                             \
		fd_;                                                                               \
	})

void world_make(struct world *w, bpf_fn bpf)
{
	w->bpf = bpf;
	w->array = PATIENTLY(make_map(bpf, BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0));
	w->hash = PATIENTLY(make_map(bpf, BPF_MAP_TYPE_HASH, 4, 8, 4, 0));
	w->prog = PATIENTLY(make_prog(bpf, BPF_PROG_TYPE_SOCKET_FILTER));
	w->xdp = PATIENTLY(make_prog(bpf, BPF_PROG_TYPE_XDP));
	w->perf = PATIENTLY(make_prog(bpf, BPF_PROG_TYPE_PERF_EVENT));
	w->raw = PATIENTLY(make_prog(bpf, BPF_PROG_TYPE_RAW_TRACEPOINT));
	assert_true(w->perf >= 0 && w->raw >= 0);
	w->btf = PATIENTLY(make_btf(bpf));
	assert_true(w->array >= 0 && w->hash >= 0 && w->prog >= 0 && w->xdp >= 0 && w->btf >= 0);
	w->map_id = id_of(w, w->array);
	w->prog_id = id_of(w, w->prog);
	w->insns[0] = MOV(0, 2);
	w->insns[1] = EXIT();
}

void world_end(struct world *w)
{
	close(w->array);
	close(w->hash);
	close(w->prog);
	close(w->xdp);
	close(w->btf);
	close(w->perf);
	close(w->raw);
}

void world_again(struct world *w)
{
	close(w->hash);
	w->hash = make_map(w->bpf, BPF_MAP_TYPE_HASH, 4, 8, 4, 0);
	assert_true(w->hash >= 0);
	memset(w->key, 0, sizeof(w->key));
	memset(w->value, 0, sizeof(w->value));
	memset(w->out, 0, sizeof(w->out));
	w->token = 0;
}

/* ---- valid attrs to start from -------------------------------------------------------------- */

static void attr_create(struct world *w, union bpf_attr *a)
{
	(void)w;
	a->map_type = BPF_MAP_TYPE_ARRAY;
	a->key_size = 4;
	a->value_size = 8;
	a->max_entries = 4;
}

static void attr_create_hash(struct world *w, union bpf_attr *a)
{
	attr_create(w, a);
	a->map_type = BPF_MAP_TYPE_HASH;
	memcpy(a->map_name, "good_name.1", 12);
}

static void attr_create_btf(struct world *w, union bpf_attr *a)
{
	attr_create(w, a);
	a->btf_fd = w->btf;
	a->btf_key_type_id = 1;
	a->btf_value_type_id = 4;
}

static void attr_create_ringbuf(struct world *w, union bpf_attr *a)
{
	(void)w;
	a->map_type = BPF_MAP_TYPE_RINGBUF;
	a->max_entries = 4096;
}

static void attr_elem(struct world *w, union bpf_attr *a)
{
	a->map_fd = w->hash;
	a->key = PTR(w->key);
	a->value = PTR(w->value);
}

static void attr_elem_array(struct world *w, union bpf_attr *a)
{
	attr_elem(w, a);
	a->map_fd = w->array;
}

static void attr_batch(struct world *w, union bpf_attr *a)
{
	a->batch.map_fd = w->hash;
	a->batch.keys = PTR(w->out);
	a->batch.values = PTR(w->out + 64);
	a->batch.out_batch = PTR(&w->token);
	a->batch.count = 2;
}

static void attr_batch_array(struct world *w, union bpf_attr *a)
{
	attr_batch(w, a);
	a->batch.map_fd = w->array;
}

static void attr_load(struct world *w, union bpf_attr *a)
{
	a->prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	a->insns = PTR(w->insns);
	a->insn_cnt = 2;
	a->license = PTR("GPL");
	a->log_buf = PTR(w->log);
	a->log_size = sizeof(w->log);
	a->log_level = 1;
}

static void attr_load_info(struct world *w, union bpf_attr *a)
{
	static struct bpf_func_info fi = { 0, 3 };
	static struct bpf_line_info li = { 0, 0, 0, 0 };

	attr_load(w, a);
	a->prog_btf_fd = w->btf;
	a->func_info = PTR(&fi);
	a->func_info_cnt = 1;
	a->func_info_rec_size = sizeof(fi);
	a->line_info = PTR(&li);
	a->line_info_cnt = 1;
	a->line_info_rec_size = sizeof(li);
}

static void attr_btf(struct world *w, union bpf_attr *a)
{
	(void)w;
	a->btf = PTR("\x9f\xeb\x01\x00\x18\0\0\0\0\0\0\0\x10\0\0\0\x10\0\0\0\x05\0\0\0"
		     "\x01\0\0\0\0\0\0\x01\x04\0\0\0\x20\0\0\x01\0int\0");
	a->btf_size = 24 + 16 + 5;
}

static void attr_run(struct world *w, union bpf_attr *a)
{
	a->test.prog_fd = w->prog;
	a->test.data_in = PTR(w->data);
	a->test.data_size_in = 64;
	a->test.data_out = PTR(w->out);
	a->test.data_size_out = 256;
	a->test.repeat = 1;
}

static void attr_run_ctx(struct world *w, union bpf_attr *a)
{
	attr_run(w, a);
	a->test.ctx_in = PTR(w->ctx);
	a->test.ctx_size_in = sizeof(struct __sk_buff);
	a->test.ctx_out = PTR(w->ctx);
	a->test.ctx_size_out = sizeof(struct __sk_buff);
}

static void attr_run_xdp(struct world *w, union bpf_attr *a)
{
	attr_run(w, a);
	a->test.prog_fd = w->xdp;
}

static void attr_info_map(struct world *w, union bpf_attr *a)
{
	memset(w->info, 0, sizeof(w->info));
	a->info.bpf_fd = w->array;
	a->info.info = PTR(w->info);
	a->info.info_len = 80;
}

static void attr_info_prog(struct world *w, union bpf_attr *a)
{
	attr_info_map(w, a);
	a->info.bpf_fd = w->prog;
}

static void attr_info_btf(struct world *w, union bpf_attr *a)
{
	attr_info_map(w, a);
	a->info.bpf_fd = w->btf;
	a->info.info_len = 32;
}

static void attr_prog_id(struct world *w, union bpf_attr *a)
{
	a->prog_id = w->prog_id;
}

static void attr_map_id(struct world *w, union bpf_attr *a)
{
	a->map_id = w->map_id;
}

static void attr_none(struct world *w, union bpf_attr *a)
{
	(void)w;
	(void)a;
}

/* Who else has links on this machine is another matter. */
static void attr_last_id(struct world *w, union bpf_attr *a)
{
	(void)w;
	a->start_id = 0x7ffffffe;
}

static void attr_bind(struct world *w, union bpf_attr *a)
{
	a->prog_bind_map.prog_fd = w->prog;
	a->prog_bind_map.map_fd = w->array;
}

static void attr_freeze(struct world *w, union bpf_attr *a)
{
	a->map_fd = w->array;
}

static void attr_pin(struct world *w, union bpf_attr *a)
{
	a->pathname = PTR("/tmp/no-pin-outside-of-bpffs");
	a->bpf_fd = w->array;
}

static void attr_get(struct world *w, union bpf_attr *a)
{
	(void)w;
	a->pathname = PTR("/etc/passwd");
}

static void attr_attach(struct world *w, union bpf_attr *a)
{
	a->target_fd = w->array;
	a->attach_bpf_fd = w->prog;
	a->attach_type = BPF_CGROUP_INET_EGRESS;
}

static void attr_query(struct world *w, union bpf_attr *a)
{
	a->query.target_fd = w->array;
	a->query.attach_type = BPF_CGROUP_INET_EGRESS;
	a->query.prog_cnt = 4;
	a->query.prog_ids = PTR(w->out);
}

static void attr_raw_tp(struct world *w, union bpf_attr *a)
{
	a->raw_tracepoint.name = PTR("no_such_tracepoint");
	a->raw_tracepoint.prog_fd = w->raw;
}

static void attr_link(struct world *w, union bpf_attr *a)
{
	a->link_create.prog_fd = w->perf;
	a->link_create.target_fd = w->array;
	a->link_create.attach_type = BPF_PERF_EVENT;
}

static void attr_link_update(struct world *w, union bpf_attr *a)
{
	a->link_update.link_fd = w->prog;
	a->link_update.new_prog_fd = w->prog;
}

static void attr_link_detach(struct world *w, union bpf_attr *a)
{
	a->link_detach.link_fd = w->prog;
}

static void attr_task(struct world *w, union bpf_attr *a)
{
	a->task_fd_query.pid = getpid();
	a->task_fd_query.fd = w->prog;
	a->task_fd_query.buf = PTR(w->out);
	a->task_fd_query.buf_len = 64;
}

/* ---- the table ------------------------------------------------------------------------------ */

#define NO_WORDS                                                                                   \
	{                                                                                          \
		-1                                                                                 \
	}
const struct probe probes[] = {
	{ "array", BPF_MAP_CREATE, attr_create, { 0, 2, 3, 4, 6, 7, 8, 9, 10, 11, -1 } },
	{ "hash", BPF_MAP_CREATE, attr_create_hash, { 0, 2, 3, 4, 6, 7, 8, 9, 10, 11, -1 } },
	{ "with btf", BPF_MAP_CREATE, attr_create_btf, { 0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, -1 } },
	{ "ringbuf", BPF_MAP_CREATE, attr_create_ringbuf, { 0, 3, 4, 6, 7, 8, 9, 10, 11, -1 } },
	{ "hash", BPF_MAP_UPDATE_ELEM, attr_elem, NO_WORDS },
	{ "hash", BPF_MAP_LOOKUP_ELEM, attr_elem, NO_WORDS },
	{ "hash", BPF_MAP_GET_NEXT_KEY, attr_elem, NO_WORDS },
	{ "hash", BPF_MAP_LOOKUP_AND_DELETE_ELEM, attr_elem, NO_WORDS },
	{ "hash", BPF_MAP_DELETE_ELEM, attr_elem, NO_WORDS },
	{ "array", BPF_MAP_UPDATE_ELEM, attr_elem_array, NO_WORDS },
	{ "array", BPF_MAP_LOOKUP_ELEM, attr_elem_array, NO_WORDS },
	{ "array", BPF_MAP_GET_NEXT_KEY, attr_elem_array, NO_WORDS },
	{ "array", BPF_MAP_LOOKUP_AND_DELETE_ELEM, attr_elem_array, NO_WORDS },
	{ "array", BPF_MAP_DELETE_ELEM, attr_elem_array, NO_WORDS },
	{ "hash", BPF_MAP_UPDATE_BATCH, attr_batch, { 8, -1 } },
	{ "hash", BPF_MAP_LOOKUP_BATCH, attr_batch, { 8, -1 } },
	{ "hash", BPF_MAP_LOOKUP_AND_DELETE_BATCH, attr_batch, { 8, -1 } },
	{ "hash", BPF_MAP_DELETE_BATCH, attr_batch, { 8, -1 } },
	{ "array", BPF_MAP_LOOKUP_BATCH, attr_batch_array, { 8, -1 } },
	{ "array", BPF_MAP_UPDATE_BATCH, attr_batch_array, { 8, -1 } },
	{ "array", BPF_MAP_DELETE_BATCH, attr_batch_array, { 8, -1 } },
	{ "array", BPF_MAP_LOOKUP_AND_DELETE_BATCH, attr_batch_array, { 8, -1 } },
	{ "plain", BPF_PROG_LOAD, attr_load, { 0, 1, 7, 11, 12, 13, 14, 15, -1 } },
	{ "with info", BPF_PROG_LOAD, attr_load_info, { 0, 1, 7, 11, 12, 13, 14, 15, 22, -1 } },
	{ "int", BPF_BTF_LOAD, attr_btf, { 6, -1 } },
	{ "filter", BPF_PROG_TEST_RUN, attr_run, { 8, -1 } },
	{ "filter with ctx", BPF_PROG_TEST_RUN, attr_run_ctx, { 8, -1 } },
	{ "xdp", BPF_PROG_TEST_RUN, attr_run_xdp, { 8, 16, -1 } },
	{ "map", BPF_OBJ_GET_INFO_BY_FD, attr_info_map, NO_WORDS },
	{ "prog", BPF_OBJ_GET_INFO_BY_FD, attr_info_prog, NO_WORDS },
	{ "btf", BPF_OBJ_GET_INFO_BY_FD, attr_info_btf, NO_WORDS },
	{ "", BPF_PROG_GET_FD_BY_ID, attr_prog_id, { 0, -1 } },
	{ "", BPF_MAP_GET_FD_BY_ID, attr_map_id, { 0, -1 } },
	{ "", BPF_BTF_GET_FD_BY_ID, attr_none, { 0, -1 } },
	{ "", BPF_PROG_GET_NEXT_ID, attr_none, { 0, -1 } },
	{ "", BPF_MAP_GET_NEXT_ID, attr_none, { 0, -1 } },
	{ "", BPF_BTF_GET_NEXT_ID, attr_none, { 0, -1 } },
	{ "", BPF_PROG_BIND_MAP, attr_bind, NO_WORDS },
	{ "", BPF_OBJ_PIN, attr_pin, NO_WORDS },
	{ "", BPF_OBJ_GET, attr_get, NO_WORDS },
	{ "", BPF_PROG_ATTACH, attr_attach, NO_WORDS },
	{ "", BPF_PROG_DETACH, attr_attach, NO_WORDS },
	{ "", BPF_PROG_QUERY, attr_query, NO_WORDS },
	{ "", BPF_RAW_TRACEPOINT_OPEN, attr_raw_tp, NO_WORDS },
	{ "", BPF_LINK_CREATE, attr_link, NO_WORDS },
	{ "", BPF_LINK_UPDATE, attr_link_update, NO_WORDS },
	{ "", BPF_LINK_DETACH, attr_link_detach, NO_WORDS },
	{ "", BPF_ITER_CREATE, attr_link_detach, NO_WORDS },
	{ "", BPF_LINK_GET_NEXT_ID, attr_last_id, { 0, -1 } },
	{ "", BPF_LINK_GET_FD_BY_ID, attr_none, { 0, -1 } },
	{ "", BPF_TASK_FD_QUERY, attr_task, { 0, -1 } },
	{ "", BPF_ENABLE_STATS, attr_none, NO_WORDS },
	{ "", BPF_MAP_FREEZE, attr_freeze, NO_WORDS },
};
const u32 nprobes = ARRAY_SIZE(probes);

bool probe_skips(const struct probe *p, int word)
{
	for (u32 i = 0; i < ARRAY_SIZE(p->skip) && p->skip[i] >= 0; i++)
		if (p->skip[i] == word)
			return true;
	return false;
}

bool probe_makes_fd(const struct probe *p)
{
	return p->cmd == BPF_MAP_CREATE || p->cmd == BPF_PROG_LOAD || p->cmd == BPF_BTF_LOAD ||
	       p->cmd == BPF_PROG_GET_FD_BY_ID || p->cmd == BPF_MAP_GET_FD_BY_ID ||
	       p->cmd == BPF_BTF_GET_FD_BY_ID || p->cmd == BPF_LINK_GET_FD_BY_ID ||
	       p->cmd == BPF_ENABLE_STATS || p->cmd == BPF_LINK_CREATE || p->cmd == BPF_OBJ_GET ||
	       p->cmd == BPF_RAW_TRACEPOINT_OPEN || p->cmd == BPF_ITER_CREATE;
}

long probe_outcome(struct world *w, const struct probe *p, union bpf_attr *a, u32 size)
{
	long ret = w->bpf(p->cmd, a, size);

	if (ret >= 0 && probe_makes_fd(p))
		close((int)ret);
	return ret < 0 ? ret : 0;
}
