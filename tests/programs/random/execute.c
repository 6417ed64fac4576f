/* SPDX-License-Identifier: MIT */
/* The checked interpreter: the oracle for what the verifier accepts. */
#include "random.h"
#include "helper/helper.h"
#include "unit/verify/num_ref.h"

#define MAX_REGIONS 64
#define MAX_STEPS 20000
#define PACKET_ROOM 1024

struct region {
	u8 *base;
	u64 size;
	bool writable, reserved;
	u8 *init; /* a byte each, set when written; NULL: all is */
	const char *name;
	const struct map *map; /* of a value: whose locks, timers and objects are not the program's to touch */
	u64 dynptr; /* slices: the address of the memory that their dynptr is of, as its clones are */
};

struct call_frame {
	u64 saved[4];
	u64 back;
	u8 init[ISA_STACK_SIZE];
	u64 pad; /* keeps the stack aligned to 8 and apart from what is beside it */
	u8 stack[ISA_STACK_SIZE];
};

struct run {
	const struct prog *p;
	u64 regs[11];
	u32 pc;
	struct region regions[MAX_REGIONS];
	u32 nregions;
	struct call_frame *frames; /* far apart: each its own region */
	u32 nframes;
	const struct watched *watched; /* NULL: no predictions to check */
	struct prog_pkt pkt;
	u8 packet[PACKET_ROOM];
	void *raw;
	void *ctx;
	u64 seed;
	bool poison, failed, too_long;
	u32 steps;
	u64 lock; /* the address of the bpf_spin_lock that is held; 0 is none */
	const struct bpf_insn *calling; /* the helper that calls back */
	char *why;
	size_t why_size;
};

static u64 run_rnd(struct run *r)
{
	r->seed ^= r->seed << 13;
	r->seed ^= r->seed >> 7;
	r->seed ^= r->seed << 17;
	return r->seed * 0x2545f4914f6cdd1dull;
}

static u64 run_value(struct run *r)
{
	static const u64 edges[] = { 0, 1, 2, 8, 40, 47, 48, 63, 255, 0x7fffffff, 0x80000000,
				     0xffffffff, 0x100000000, 0x8000000000000000, -1ull, -8ull };
	u64 v = run_rnd(r);

	switch (run_rnd(r) % 4) {
	case 0: return edges[v % ARRAY_SIZE(edges)];
	case 1: return edges[v % ARRAY_SIZE(edges)] + (v >> 32) % 5 - 2;
	case 2: return v >> (v & 63);
	default: return v;
	}
}

static bool violation(struct run *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

static bool violation(struct run *r, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!r->failed)
		snprintf(r->why, r->why_size, "insn %u: %s", r->pc, text);
	r->failed = true;
	return false;
}

/* ---- memory ------------------------------------------------------------------------------------ */

static struct region *add_region(struct run *r, const char *name, void *base, u64 size, bool writable)
{
	for (u32 i = 0; i < r->nregions; i++) {
		if (r->regions[i].base == base && r->regions[i].size == size)
			return &r->regions[i];
	}
	assert_true(r->nregions < MAX_REGIONS);
	r->regions[r->nregions] = (struct region){ .base = base, .size = size,
						   .writable = writable, .name = name };
	return &r->regions[r->nregions++];
}

static void add_value(struct run *r, const struct map *m, void *base)
{
	add_region(r, "map value", base, m->attr.value_size, !(m->attr.flags & BPF_F_RDONLY_PROG))->map = m;
}

static void drop_region(struct run *r, const void *base)
{
	for (u32 i = 0; i < r->nregions; i++) {
		if (r->regions[i].base == base) {
			r->regions[i] = r->regions[--r->nregions];
			return;
		}
	}
}

/* What was reserved through a dynptr, or is a slice of it or a clone, is the program's no more. */
static void drop_slices(struct run *r, u64 dynptr)
{
	if (!dynptr)
		return;
	for (u32 i = 0; i < r->nregions;) {
		if (r->regions[i].dynptr == dynptr)
			r->regions[i] = r->regions[--r->nregions];
		else
			i++;
	}
}

static struct region *find_region(struct run *r, u64 addr, u64 size)
{
	for (u32 i = 0; i < r->nregions; i++) {
		u64 base = (u64)(uintptr_t)r->regions[i].base;

		if (addr >= base && size <= r->regions[i].size &&
		    addr - base <= r->regions[i].size - size)
			return &r->regions[i];
	}
	return NULL;
}

static bool is_reserved(const struct run *r, u64 addr)
{
	for (u32 i = 0; i < r->nregions; i++) {
		if (r->regions[i].reserved && (u64)(uintptr_t)r->regions[i].base == addr)
			return true;
	}
	return false;
}

/* Does [off, off + size) of a value touch what only helpers may? */
static bool is_special(const struct map *m, u64 off, u64 size)
{
	const struct map_fields *f = m ? m->fields : NULL;

	return f && ((f->lock && off < f->lock - 1 + 4 && f->lock - 1 < off + size) ||
		     (f->timer && off < f->timer - 1 + 16 && f->timer - 1 < off + size));
}

/* Memory of the program, [addr, addr + size), read or written by it or for it. Marks what is written. */
static bool access_any(struct run *r, u64 addr, u64 size, bool write, bool special, const char *what)
{
	struct region *g = find_region(r, addr, size);
	u64 off;

	if (!g)
		return violation(r, "%s of %llu bytes at %#llx, in no memory of the program", what,
				 (unsigned long long)size, (unsigned long long)addr);
	if (write && !g->writable)
		return violation(r, "%s of %s, which is read-only", what, g->name);
	off = addr - (u64)(uintptr_t)g->base;
	if (is_special(g->map, off, size) != special)
		return violation(r, "%s of %s at %llu, where %s", what, g->name, (unsigned long long)off,
				 special ? "there is no such field" : "only helpers may");
	if (!g->init)
		return true;
	for (u64 i = off; i < off + size; i++) {
		if (!write && !g->init[i])
			return violation(r, "%s of %s at %llu, which was not written", what, g->name,
					 (unsigned long long)i);
		if (write)
			g->init[i] = 1;
	}
	return true;
}

static bool access_ok(struct run *r, u64 addr, u64 size, bool write, const char *what)
{
	return access_any(r, addr, size, write, false, what);
}

static void refresh_packet(struct run *r)
{
	if (r->ctx != &r->pkt)
		return;
	for (u32 i = 0; i < r->nregions;) {
		if (!strcmp(r->regions[i].name, "packet"))
			r->regions[i] = r->regions[--r->nregions];
		else
			i++;
	}
	if (r->pkt.data_end > r->pkt.data)
		add_region(r, "packet", (void *)(uintptr_t)r->pkt.data, r->pkt.data_end - r->pkt.data,
			   true);
	if (r->pkt.data > r->pkt.data_meta)
		add_region(r, "packet", (void *)(uintptr_t)r->pkt.data_meta,
			   r->pkt.data - r->pkt.data_meta, true);
}

/* ---- instructions ------------------------------------------------------------------------------ */

static u64 load(u64 addr, u32 size, bool sx)
{
	u64 v = 0;

	memcpy(&v, (void *)(uintptr_t)addr, size);
	return sx ? (u64)ref_signed(v, size * 8) : v;
}

static void store(u64 addr, u32 size, u64 v)
{
	memcpy((void *)(uintptr_t)addr, &v, size);
}

static u32 width_of(u8 code)
{
	switch (BPF_SIZE(code)) {
	case BPF_B: return 1;
	case BPF_H: return 2;
	case BPF_W: return 4;
	default: return 8;
	}
}

static bool step_memory(struct run *r, const struct bpf_insn *i)
{
	u32 size = width_of(i->code);
	u8 class = BPF_CLASS(i->code);
	u64 base = r->regs[class == BPF_LDX ? i->src_reg : i->dst_reg];
	u64 addr = base + (u64)(s64)i->off, old, s = r->regs[i->src_reg], new;

	if (class == BPF_LDX) {
		if (!access_ok(r, addr, size, false, "read"))
			return false;
		r->regs[i->dst_reg] = load(addr, size, BPF_MODE(i->code) == BPF_MEMSX);
		return true;
	}
	if (BPF_MODE(i->code) != BPF_ATOMIC) {
		if (!access_ok(r, addr, size, true, "write"))
			return false;
		store(addr, size, class == BPF_ST ? (u64)(s64)i->imm : s);
		return true;
	}
	if (!access_ok(r, addr, size, false, "atomic read") ||
	    !access_ok(r, addr, size, true, "atomic write"))
		return false;
	if (addr % size)
		return violation(r, "atomic operation not aligned");
	old = load(addr, size, false);
	switch (i->imm & ~BPF_FETCH) {
	case BPF_ADD: new = old + s; break;
	case BPF_OR: new = old | s; break;
	case BPF_AND: new = old & s; break;
	case BPF_XOR: new = old ^ s; break;
	case BPF_XCHG & ~BPF_FETCH: new = s; break;
	default: new = old == ref_mask(r->regs[0], size * 8) ? s : old; break;
	}
	store(addr, size, new);
	if (i->imm == BPF_CMPXCHG)
		r->regs[0] = old;
	else if (i->imm & BPF_FETCH)
		r->regs[i->src_reg] = old;
	return true;
}

static u64 callback_of(const struct run *r, u32 start);

static void step_ldimm64(struct run *r, const struct bpf_insn *i)
{
	u64 v = (u32)i[0].imm | (u64)(u32)i[1].imm << 32;
	struct map *m;

	if (i->src_reg == BPF_PSEUDO_MAP_FD) {
		v = (u64)(uintptr_t)r->p->maps[i->imm];
	} else if (i->src_reg == BPF_PSEUDO_FUNC) {
		v = callback_of(r, r->pc + 1 + (u32)i->imm);
	} else if (i->src_reg == BPF_PSEUDO_MAP_VALUE) {
		m = r->p->maps[i->imm];
		add_value(r, m, m->ops->direct(m, 0));
		v = (u64)(uintptr_t)m->ops->direct(m, (u32)i[1].imm);
	}
	r->regs[i->dst_reg] = v;
}

static bool step_packet_ld(struct run *r, const struct bpf_insn *i, bool *end)
{
	u32 size = width_of(i->code);
	u64 off = (u32)i->imm, len = r->pkt.data_end - r->pkt.data, v = 0;

	if (r->regs[6] != (u64)(uintptr_t)r->ctx)
		return violation(r, "legacy load without the context in r6");
	if (BPF_MODE(i->code) == BPF_IND)
		off = (u32)(off + r->regs[i->src_reg]);
	*end = off > len || size > len - off;
	if (!*end) {
		for (u32 k = 0; k < size; k++)
			v = v << 8 | ((u8 *)(uintptr_t)r->pkt.data)[off + k];
		r->regs[0] = v;
	}
	return true;
}

static void garbage(struct run *r, u32 from, u32 to)
{
	for (u32 k = from; k <= to; k++)
		r->regs[k] = run_rnd(r) | 1ull << 62;
}

/* ---- helpers ----------------------------------------------------------------------------------- */

static struct map *map_arg(struct run *r, u64 v)
{
	for (u32 k = 0; k < r->p->nmaps; k++) {
		if ((u64)(uintptr_t)r->p->maps[k] == v)
			return r->p->maps[k];
	}
	violation(r, "argument is no map of the program");
	return NULL;
}

/* A dynptr is on the stack, in bytes that the program itself neither reads nor writes. */
static bool dynptr_ok(struct run *r, u64 at, bool new)
{
	struct region *g = find_region(r, at, 16);

	if (!g || !g->init || at % 8)
		return violation(r, "dynptr that is not on the stack");
	if (new)
		memset(g->init + (at - (u64)(uintptr_t)g->base), 0, 16);
	return true;
}

static bool check_arg(struct run *r, const struct helper_proto *h, u32 n, struct map **m)
{
	u64 v = r->regs[n + 1], next = n < 4 ? r->regs[n + 2] : 0;

	switch (h->args[n]) {
	case ARG_CTX:
		return v == (u64)(uintptr_t)r->ctx || violation(r, "argument is not the context");
	case ARG_MAP:
		*m = map_arg(r, v);
		return *m;
	case ARG_MAP_KEY:
		return access_ok(r, v, (*m)->attr.key_size, false, "key");
	case ARG_MAP_VALUE:
		return access_ok(r, v, (*m)->attr.value_size, false, "value");
	case ARG_MAP_VALUE_UNINIT:
		return access_ok(r, v, (*m)->attr.value_size, true, "value");
	case ARG_MEM_OR_NULL:
		if (!v)
			return !next || violation(r, "size of NULL is not 0");
		return !next || access_ok(r, v, next, false, "argument");
	case ARG_MEM:
		return !next || access_ok(r, v, next, false, "argument");
	case ARG_BUFFER_OR_NULL:
		return !v || !next || (access_ok(r, v, next, false, "buffer") && access_ok(r, v, next, true, "buffer"));
	case ARG_MEM_UNINIT:
		return !next || access_ok(r, v, next, true, "argument");
	case ARG_SIZE:
		return v || violation(r, "size is 0");
	case ARG_LONG_OUT:
		return access_ok(r, v, 8, true, "result");
	case ARG_TIMER:
		return access_any(r, v, 16, true, true, "timer");
	case ARG_DYNPTR_LOCAL_NEW:
	case ARG_DYNPTR_RINGBUF_NEW:
	case ARG_DYNPTR_CLONE:
		return dynptr_ok(r, v, true);
	case ARG_DYNPTR:
	case ARG_DYNPTR_RINGBUF:
		return dynptr_ok(r, v, false);
	case ARG_ALLOC_MEM:
		/* By its address: a reservation may be of no bytes. */
		if (!is_reserved(r, v))
			return violation(r, "released what is not reserved");
		return true;
	default:
		return true;
	}
}

static bool check_facts(struct run *r, const struct insn_fact *f, const struct map *m)
{
	u32 key;

	if (f->const_map && m != r->p->maps[f->map])
		return violation(r, "said to be always map %u, and is another", f->map);
	if (f->const_key >= 0 && m && m->attr.key_size == 4) {
		key = (u32)load(r->regs[2], 4, false);
		if (f->const_key != key)
			return violation(r, "said to be always key %lld, and is %u",
					 (long long)f->const_key, key);
	}
	return true;
}

static _Thread_local struct run *running;

/* A lock is held by one program at a time, for a short while, and given back. */
static bool check_lock(struct run *r, u32 helper)
{
	u64 at = r->regs[1];

	if (helper == BPF_FUNC_spin_lock) {
		if (r->lock)
			return violation(r, "locks a second lock");
		r->lock = at;
		return access_any(r, at, 4, true, true, "lock");
	}
	if (helper == BPF_FUNC_spin_unlock) {
		if (!r->lock || r->lock != at)
			return violation(r, "unlocks what is not locked");
		r->lock = 0;
		return true;
	}
	return !r->lock || violation(r, "calls a helper under a lock");
}

/* Those that are not called for real: they would wait, end this process, or call back when no engine is there. */
static bool is_simulated(u32 helper)
{
	switch (helper) {
	case BPF_FUNC_spin_lock:
	case BPF_FUNC_spin_unlock:
	case BPF_FUNC_timer_init:
	case BPF_FUNC_timer_set_callback:
	case BPF_FUNC_timer_start:
	case BPF_FUNC_timer_cancel:
	case BPF_FUNC_send_signal:
	case BPF_FUNC_send_signal_thread: return true;
	default: return false;
	}
}

static bool step_helper(struct run *r, const struct bpf_insn *i, const struct helper_proto *h)
{
	struct map *m = NULL;
	struct region *g;
	u64 ret = 0, released = 0, reserved = 0, dynptr = 0;

	if (!h)
		return violation(r, "helper %d does not exist", i->imm);
	if (h->flags & HELPER_TAIL_CALL) {
		m = map_arg(r, r->regs[2]);
		garbage(r, 0, 5);
		return m && m->attr.type == BPF_MAP_TYPE_PROG_ARRAY;
	}
	for (u32 n = 0; n < 5; n++) {
		if (!check_arg(r, h, n, &m))
			return false;
		if (h->args[n] == ARG_ALLOC_MEM)
			released = r->regs[n + 1];
		if (h->args[n] == ARG_CONST_SIZE || h->args[n] == ARG_BUFFER_SIZE)
			reserved = r->regs[n + 1];
	}
	if (!check_facts(r, &r->p->facts[r->pc], m))
		return false;
	helper_run.prog = r->p;
	helper_run.ctx = r->ctx;
	running = r;
	r->calling = i;
	if (!check_lock(r, h->id))
		return false;
	for (u32 n = 0; n < 5; n++)
		if (h->args[n] == ARG_DYNPTR || h->args[n] == ARG_DYNPTR_RINGBUF)
			memcpy(&dynptr, (void *)(uintptr_t)r->regs[n + 1], sizeof(dynptr));
	if (!is_simulated(h->id))
		ret = h->fn(r->regs[1], r->regs[2], r->regs[3], r->regs[4], r->regs[5]);
	garbage(r, 0, 5);
	r->regs[0] = ret;
	if (released)
		drop_region(r, (void *)(uintptr_t)released);
	if (h->ret == RET_MAP_VALUE_OR_NULL && ret)
		add_value(r, m, (void *)(uintptr_t)ret);
	if (dynptr && h->flags & HELPER_RELEASES)
		drop_slices(r, dynptr);
	if ((h->ret == RET_SLICE_OR_NULL || h->ret == RET_SLICE_RDONLY_OR_NULL || h->ret == RET_SLICE_RDWR_OR_NULL) && ret) {
		g = add_region(r, "slice", (void *)(uintptr_t)ret, reserved, true);
		if (!strcmp(g->name, "slice"))
			g->dynptr = dynptr;
	}
	if (h->ret == RET_ALLOC_MEM_OR_NULL && ret) {
		g = add_region(r, "reservation", (void *)(uintptr_t)ret, reserved, true);
		g->reserved = true;
	}
	if (h->ret == RET_VOID)
		garbage(r, 0, 0);
	refresh_packet(r);
	return true;
}

/* ---- calls and the loop ------------------------------------------------------------------------ */

static bool push_frame(struct run *r, u32 back)
{
	struct call_frame *f;
	struct region *g;

	if (r->nframes == ISA_MAX_FRAMES)
		return violation(r, "more than %d frames", ISA_MAX_FRAMES);
	f = &r->frames[r->nframes++];
	memset(f->init, 0, sizeof(f->init));
	memset(f->stack, 0xa5, sizeof(f->stack));
	memcpy(f->saved, &r->regs[6], sizeof(f->saved));
	f->back = back;
	g = add_region(r, "stack", f->stack, ISA_STACK_SIZE, true);
	g->init = f->init;
	garbage(r, 6, 9);
	r->regs[10] = (u64)(uintptr_t)(f->stack + ISA_STACK_SIZE);
	return true;
}

/* false at the end of the program */
static bool pop_frame(struct run *r)
{
	struct call_frame *f = &r->frames[--r->nframes];

	drop_region(r, f->stack);
	if (!r->nframes)
		return !r->lock ? false : violation(r, "ends with a lock");
	memcpy(&r->regs[6], f->saved, sizeof(f->saved));
	r->regs[10] = (u64)(uintptr_t)(r->frames[r->nframes - 1].stack + ISA_STACK_SIZE);
	garbage(r, 1, 5);
	r->pc = (u32)f->back;
	return true;
}

/* Of native functions, the kernel's kfuncs; an iterator is eight bytes of stack that they read and write. */
static bool step_native(struct run *r, const struct bpf_insn *i)
{
	const struct module_func *f = (u32)i->imm < r->p->nnatives ? r->p->natives[i->imm] : NULL;
	const struct helper_proto *h = f ? helper_kfunc(f) : NULL;
	u64 ret;

	if (!h)
		return violation(r, "native function %d is not run here", i->imm);
	if (h->args[0] < ARG_ITER_NEW || h->args[0] > ARG_ITER_DESTROY) {
		if (!step_helper(r, i, h))
			return false;
		if (f->ret_kind == MODULE_RET_SCALAR)
			r->regs[0] = module_extend(r->regs[0], f->ret_width, f->ret_signed, f->ret_bool);
		return true;
	}
	if (!access_ok(r, r->regs[1], 8, true, "iterator"))
		return false;
	ret = ((helper_fn)(uintptr_t)f->addr)(r->regs[1], r->regs[2], r->regs[3], 0, 0);
	garbage(r, 0, 5);
	if (h->args[0] != ARG_ITER_DESTROY)
		r->regs[0] = h->args[0] == ARG_ITER_NEW ? (u64)(s64)(s32)ret : ret;
	return true;
}

static void step_alu(struct run *r, const struct bpf_insn *i)
{
	u64 src = BPF_SRC(i->code) == BPF_X ? r->regs[i->src_reg] : (u64)(s64)i->imm;

	if (BPF_OP(i->code) == BPF_END || BPF_OP(i->code) == BPF_NEG)
		src = 0;
	r->regs[i->dst_reg] = ref_alu(i, r->regs[i->dst_reg], src);
	if (r->poison && BPF_CLASS(i->code) == BPF_ALU && r->p->facts[r->pc].zext_dead)
		r->regs[i->dst_reg] |= run_rnd(r) << 32;
}

static bool check_foreseen(struct run *r)
{
	struct moment m = { .pc = r->pc, .nframes = r->nframes, .ctx = (u64)(uintptr_t)r->ctx,
			    .data = r->pkt.data, .data_meta = r->pkt.data_meta, .data_end = r->pkt.data_end };
	char why[160];

	if (!r->watched)
		return true;
	memcpy(m.regs, r->regs, sizeof(m.regs));
	for (u32 k = 0; k < r->nframes; k++)
		m.frames[k] = (u64)(uintptr_t)(r->frames[k].stack + ISA_STACK_SIZE);
	return watched_has(r->watched, r->p, &m, why, sizeof(why)) || violation(r, "%s", why);
}

/* One instruction; false when the run is over. */
static bool step(struct run *r)
{
	const struct bpf_insn *i = &r->p->insns[r->pc];
	u8 class = BPF_CLASS(i->code), op = BPF_OP(i->code);
	bool end = false;
	u64 b;

	if (!r->p->facts[r->pc].seen)
		return violation(r, "runs, and was said to be dead");
	if (!check_foreseen(r))
		return false;
	if (class == BPF_ALU || class == BPF_ALU64) {
		step_alu(r, i);
	} else if (isa_is_ldimm64(i)) {
		step_ldimm64(r, i);
		r->pc++;
	} else if (class == BPF_LD) {
		if (!step_packet_ld(r, i, &end))
			return false;
		if (end) {
			r->regs[0] = 0;
			return false;
		}
		garbage(r, 1, 5);
	} else if (class == BPF_LDX || class == BPF_ST || class == BPF_STX) {
		if (!step_memory(r, i))
			return false;
	} else if (op == BPF_EXIT) {
		if (!pop_frame(r))
			return false;
	} else if (op == BPF_CALL && i->src_reg == BPF_PSEUDO_CALL) {
		if (!push_frame(r, r->pc))
			return false;
		r->pc += (u32)i->imm;
	} else if (op == BPF_CALL && i->src_reg == BPF_PSEUDO_KFUNC_CALL) {
		if (!step_native(r, i))
			return false;
	} else if (op == BPF_CALL) {
		if (!step_helper(r, i, helper_of((u32)i->imm)))
			return false;
	} else if (op == BPF_JA) {
		r->pc += class == BPF_JMP32 ? (u32)i->imm : (u32)(s32)i->off;
	} else {
		b = BPF_SRC(i->code) == BPF_X ? r->regs[i->src_reg] : (u64)(s64)i->imm;
		if (ref_holds(op, class == BPF_JMP, r->regs[i->dst_reg], b))
			r->pc += (u32)(s32)i->off;
	}
	r->pc++;
	return true;
}

/* Steps to the end, or until fewer than `depth` frames are left. */
static void run_steps(struct run *r, u32 depth)
{
	while (!r->too_long && step(r) && r->nframes >= depth)
		r->too_long |= r->steps++ >= MAX_STEPS;
}

/* ---- callbacks --------------------------------------------------------------------------------- */

/* A helper calls function n of the program back; what was not promised as an argument is garbage. */
static u64 call_back(u32 n, const u64 *args)
{
	struct run *r = running;
	struct map *m = (struct map *)(uintptr_t)args[0];
	const struct bpf_insn *calling = r->calling;
	bool each = calling->imm != BPF_FUNC_loop;
	u64 saved[11], ret;
	u32 pc = r->pc;

	if (r->failed || r->too_long)
		return 1;
	memcpy(saved, r->regs, sizeof(saved));
	if (!push_frame(r, 0))
		return 1;
	garbage(r, 0, 5);
	memcpy(&r->regs[1], args, (each ? 4 : 2) * sizeof(*args));
	if (each) {
		add_region(r, "key", (void *)(uintptr_t)args[1], m->attr.key_size, false);
		add_value(r, m, (void *)(uintptr_t)args[2]);
	}
	r->pc = r->p->funcs[n].start;
	run_steps(r, r->nframes);
	ret = r->regs[0];
	if (each)
		drop_region(r, (void *)(uintptr_t)args[1]);
	if (!r->failed && !r->too_long && ret > 1)
		violation(r, "a callback returns %llu", (unsigned long long)ret);
	memcpy(r->regs, saved, sizeof(saved));
	r->pc = pc;
	r->calling = calling;
	running = r;
	return r->failed || r->too_long ? 1 : ret;
}

#define CALLBACK(n)                                                                                \
	static u64 callback##n(u64 a, u64 b, u64 c, u64 d, u64 e)                                  \
	{                                                                                          \
		return call_back(n, (u64[]){ a, b, c, d, e });                                     \
	}
CALLBACK(1) CALLBACK(2) CALLBACK(3) CALLBACK(4) CALLBACK(5) CALLBACK(6) CALLBACK(7) CALLBACK(8)

static u64 callback_of(const struct run *r, u32 start)
{
	static const prog_callback all[] = { NULL, callback1, callback2, callback3, callback4, callback5,
					     callback6, callback7, callback8 };

	for (u32 n = 1; n < r->p->nfuncs && n < ARRAY_SIZE(all); n++)
		if (r->p->funcs[n].start == start)
			return (u64)(uintptr_t)all[n];
	return 0;
}

/* ---- inputs ------------------------------------------------------------------------------------ */

static void fill_maps(struct run *r)
{
	u64 value[64], key;

	for (u32 k = 0; k < r->p->nmaps; k++) {
		struct map *m = r->p->maps[k];

		if (!m->ops->update || m->objs || m->frozen || m->attr.value_size > sizeof(value) ||
		    !m->attr.value_size || map_is_percpu(m->attr.type))
			continue;
		for (key = 0; key < 4; key++) {
			for (u32 w = 0; w < ARRAY_SIZE(value); w++)
				value[w] = run_value(r);
			if (run_rnd(r) % 8)
				m->ops->update(m, &key, value, 0);
			else
				m->ops->remove(m, &key);
		}
	}
}

static void fill_context(struct run *r)
{
	const struct prog_type *t = prog_type_of(r->p->type);
	u32 meta = run_rnd(r) % 2 ? 4 * (run_rnd(r) % 9) : 0, len = run_rnd(r) % 300;
	u64 *w = (u64 *)&r->pkt, start = (u64)(uintptr_t)r->packet;

	if (!t->has_packet) {
		u32 size = t->fields ? t->real_size : r->p->max_ctx_off;

		r->raw = calloc(1, size + 8);
		assert_non_null(r->raw);
		for (u32 k = 0; k < size; k++)
			((u8 *)r->raw)[k] = (u8)run_rnd(r);
		r->ctx = r->raw;
		if (size)
			add_region(r, "context", r->raw, size, t->raw_writable);
		return;
	}
	for (u32 k = 0; k < sizeof(r->pkt) / 8; k++)
		w[k] = run_value(r) | run_rnd(r) % 2 * (run_value(r) << 32);
	for (u32 k = 0; k < PACKET_ROOM; k++)
		r->packet[k] = (u8)(run_rnd(r) % 3 ? run_rnd(r) : run_rnd(r) % 8);
	r->pkt.hard_start = start;
	r->pkt.hard_end = start + PACKET_ROOM;
	r->pkt.data = start + 256;
	r->pkt.data_meta = r->pkt.data - meta;
	r->pkt.data_end = r->pkt.data + len;
	r->pkt.len = len;
	r->pkt.sk = 0; /* no packet here has a socket */
	r->ctx = &r->pkt;
	add_region(r, "context", &r->pkt, sizeof(r->pkt), true);
	refresh_packet(r);
}

enum execute_result execute(const struct prog *p, u64 seed, bool poison, u64 *ret, char *why,
			    size_t size, const struct watched *w)
{
	struct run *r = calloc(1, sizeof(*r));
	enum execute_result result = EXECUTE_OK;
	struct helper_run outer = helper_run;
	s32 min, max;

	assert_non_null(r);
	r->frames = calloc(ISA_MAX_FRAMES, sizeof(*r->frames));
	assert_non_null(r->frames);
	*r = (struct run){ .p = p, .frames = r->frames, .seed = seed * 2 + 1, .poison = poison,
			   .why = why, .why_size = size, .watched = w };
	fill_maps(r);
	fill_context(r);
	garbage(r, 0, 9);
	push_frame(r, 0);
	r->regs[1] = (u64)(uintptr_t)r->ctx;
	run_steps(r, 0);
	if (r->too_long)
		result = EXECUTE_LONG;
	for (u32 k = 0; k < r->nregions; k++) {
		if (!r->regions[k].reserved)
			continue;
		if (result == EXECUTE_OK && !r->failed)
			violation(r, "ends with a reservation");
		map_ringbuf_commit(r->regions[k].base, 0, true);
	}
	*ret = r->regs[0];
	if (result == EXECUTE_OK && !r->failed && prog_type_ret(prog_type_of(p->type), p->attach_type, &min, &max) &&
	    ((s64)r->regs[0] < min || (s64)r->regs[0] > max))
		violation(r, "returns %lld", (long long)r->regs[0]);
	if (r->failed)
		result = EXECUTE_VIOLATION;
	helper_run = outer;
	free(r->raw);
	free(r->frames);
	free(r);
	return result;
}

bool execute_many(const struct prog *p, unsigned runs, char *why, size_t size)
{
	u64 a, b;

	for (unsigned k = 0; k < runs; k++) {
		if (execute(p, k * 7919 + 1, false, &a, why, size, NULL) == EXECUTE_VIOLATION ||
		    execute(p, k * 7919 + 1, true, &b, why, size, NULL) == EXECUTE_VIOLATION)
			return false;
	}
	return true;
}
