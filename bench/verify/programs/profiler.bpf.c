/* SPDX-License-Identifier: MIT */
/* A profiler of an interpreted language: follows the frames of an interpreter's stack in user memory. */
#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>

#include <bpf/bpf_helpers.h>

#define FRAMES 40
#define NAME 48

struct offsets {
	__u64 thread, top, code, back, file, name, class, line;
};

struct symbol {
	char class[NAME], name[NAME], file[NAME];
};

struct event {
	__u32 pid, tid, depth, status;
	__u32 frames[FRAMES];
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, __u32);
	__type(value, struct offsets);
} processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct symbol);
	__type(value, __u32);
} symbols SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct symbol);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

static __always_inline __u64 word(__u64 at)
{
	__u64 v = 0;

	bpf_probe_read_user(&v, sizeof(v), (void *)at);
	return v;
}

static __always_inline __u32 symbol_id(struct offsets *o, __u64 code, struct symbol *s)
{
	__u32 *id, new;

	bpf_probe_read_user_str(s->file, sizeof(s->file), (void *)word(code + o->file));
	bpf_probe_read_user_str(s->name, sizeof(s->name), (void *)word(code + o->name));
	if (s->name[0] == 's' && s->name[1] == 'e' && s->name[2] == 'l' && s->name[3] == 'f')
		bpf_probe_read_user_str(s->class, sizeof(s->class), (void *)word(code + o->class));
	else
		s->class[0] = 0;
	id = bpf_map_lookup_elem(&symbols, s);
	if (id)
		return *id;
	new = bpf_get_prandom_u32() << 8 | bpf_get_smp_processor_id();
	bpf_map_update_elem(&symbols, s, &new, BPF_NOEXIST);
	return new;
}

SEC("perf_event")
int profile(struct bpf_perf_event_data *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), frame;
	__u32 pid = id >> 32, zero = 0;
	struct offsets *o = bpf_map_lookup_elem(&processes, &pid);
	struct symbol *s = bpf_map_lookup_elem(&scratch, &zero);
	struct event *e;

	if (!o || !s)
		return 0;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return 0;
	e->pid = pid;
	e->tid = id;
	e->depth = 0;
	e->status = ctx->sample_period > 1000;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	frame = word(word(o->thread) + o->top);
#pragma unroll
	for (int i = 0; i < FRAMES; i++) {
		__u64 code;

		if (!frame) {
			e->status |= 2;
			goto done;
		}
		code = word(frame + o->code);
		if (!code) {
			e->status |= 4;
			goto done;
		}
		e->frames[i] = symbol_id(o, code, s);
		e->depth = i + 1;
		frame = word(frame + o->back);
	}
done:
	bpf_ringbuf_submit(e, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
