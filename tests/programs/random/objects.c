/* SPDX-License-Identifier: MIT */
/*
 * Random pieces of programs around what has state of its own: dynamic pointers, locks, iterators,
 * callbacks, timers, sockets. Each is begun, used and ended; now and then one of these is forgotten
 * or done twice.
 */
#include "generate_int.h"

static void set(struct gen *g, u8 r, s32 imm)
{
	emit(g, BPF_ALU64 | BPF_MOV | BPF_K, r, 0, 0, imm);
}

static void copy(struct gen *g, u8 to, u8 from)
{
	emit(g, BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}

static void load_map(struct gen *g, u8 r, u32 map)
{
	emit(g, BPF_LD | BPF_IMM | BPF_DW, r, BPF_PSEUDO_MAP_FD, 0, (s32)map);
	emit(g, 0, 0, 0, 0, 0);
}

static void helper(struct gen *g, s32 id)
{
	emit(g, BPF_JMP | BPF_CALL, 0, 0, 0, id);
	memset(g->kind, NONE, 6);
	g->kind[0] = NUMBER;
}

static void stack_address(struct gen *g, u8 r, s32 off)
{
	copy(g, r, 10);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, r, 0, 0, off);
}

static void leave(struct gen *g)
{
	set(g, 0, 0);
	emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* The jump at `at` goes to what comes next. */
static void land(struct gen *g, u32 at)
{
	if (at < MAX_INSNS)
		g->insns[at].off = (s16)(g->cnt - at - 1);
}

/* A place for an object, below what other pieces use of the stack; rarely among it. */
static s32 place(struct gen *g)
{
	return once_in(g, 25) ? -16 - 8 * (s32)(rnd(g) % 6) : -80 - 16 * (s32)(rnd(g) % 3);
}

/* Some pieces in between, that may not begin further objects. */
static void between(struct gen *g, u32 most)
{
	g->depth += 2;
	for (u32 n = rnd(g) % (most + 1); n; n--)
		generate_piece(g);
	g->depth -= 2;
}

/* ---- dynamic pointers --------------------------------------------------------------------------
 */

enum { /* kfuncs: verdict_kfuncs */
	SLICE = VERDICT_KFUNC + 3,
	SLICE_RDWR,
	ADJUST,
	IS_NULL,
	SIZE = IS_NULL + 2,
	CLONE,
	COPY,
	MEMSET
};

enum {
	DYNPTR_DATA = 203,
	DYNPTR_READ = 201,
	DYNPTR_WRITE = 202,
	DYNPTR_FROM_MEM = 197,
	RESERVE_DYNPTR = 198,
	SUBMIT_DYNPTR = 199,
	DISCARD_DYNPTR = 200
};

static void native(struct gen *g, s32 n)
{
	emit(g, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, n);
	memset(g->kind, NONE, 6);
}

static void slice(struct gen *g, s32 at, u32 size)
{
	u32 check, want = 1 + rnd(g) % (size + 1);
	u8 keep = (u8)(7 + rnd(g) % 3), width = some_size(g);

	stack_address(g, 1, at);
	set(g, 2, (s32)(rnd(g) % 12));
	if (once_in(g, 2)) {
		set(g, 3, 0);
		set(g, 4, (s32)want);
		native(g, once_in(g, 3) ? SLICE : SLICE_RDWR);
	} else {
		set(g, 3, (s32)want);
		helper(g, DYNPTR_DATA);
	}
	check = g->cnt;
	if (!once_in(g, 20))
		emit(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, 0);
	if (want >= bytes_of(width) || once_in(g, 8)) {
		s32 last = (s32)want - (s32)bytes_of(width),
		    off = once_in(g, 12) || last < 0 ? last + 1 : (s32)(rnd(g) % (u32)(last + 1));

		emit(g, BPF_ST | BPF_MEM | width, 0, 0, (s16)off, 1);
	}
	if (once_in(g, 6)) { /* kept beyond its dynptr */
		copy(g, keep, 0);
		g->kind[keep] = NONE;
		emit(g, BPF_LDX | BPF_MEM | BPF_B, 0, keep, 0, 0);
	}
	if (g->cnt > check && check < MAX_INSNS &&
	    g->insns[check].code == (BPF_JMP | BPF_JEQ | BPF_K))
		land(g, check);
	g->kind[0] = NONE;
}

static void transfer(struct gen *g, s32 at)
{
	bool read = once_in(g, 2);
	s32 len = (s32)(once_in(g, 6) ? 0 : 1 + rnd(g) % 24);

	if (read) {
		stack_address(g, 1, -64);
		set(g, 2, len);
		stack_address(g, 3, at);
		set(g, 4, (s32)(rnd(g) % 40));
		set(g, 5, 0);
		helper(g, DYNPTR_READ);
		g->slot[5] = g->slot[6] = g->slot[7] = NONE;
		return;
	}
	emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -64, 3);
	emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -56, 4);
	emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -48, 5);
	g->slot[5] = g->slot[6] = g->slot[7] = NONE;
	stack_address(g, 1, at);
	set(g, 2, (s32)(rnd(g) % 40));
	stack_address(g, 3, -64);
	set(g, 4, len);
	set(g, 5, 0);
	helper(g, DYNPTR_WRITE);
}

/* Made a part, asked, filled, copied. */
static void change(struct gen *g, s32 at)
{
	stack_address(g, 1, at);
	switch (rnd(g) % 4) {
	case 0:
		set(g, 2, (s32)(rnd(g) % 8));
		set(g, 3, (s32)(rnd(g) % 48));
		native(g, ADJUST);
		break;
	case 1: native(g, IS_NULL + (s32)(rnd(g) % 3)); break;
	case 2:
		set(g, 2, (s32)(rnd(g) % 8));
		set(g, 3, (s32)(rnd(g) % 48));
		set(g, 4, (s32)(rnd(g) % 300));
		native(g, MEMSET);
		break;
	case 3:
		set(g, 2, (s32)(rnd(g) % 8));
		stack_address(g, 3, at);
		set(g, 4, (s32)(rnd(g) % 8));
		set(g, 5, (s32)(rnd(g) % 48));
		native(g, COPY);
		break;
	}
}

/* Another at a place of its own: which of the two is used from here on is open. */
static void one_more(struct gen *g, s32 *at)
{
	s32 to = place(g);

	stack_address(g, 1, *at);
	stack_address(g, 2, to);
	native(g, CLONE);
	if (once_in(g, 2))
		*at = to;
}

static void dynptr(struct gen *g)
{
	bool reserved = once_in(g, 2);
	s32 at = place(g);
	u32 size = 8 + rnd(g) % 40;
	int p = pick(g, VALUE);

	if (g->depth > 1 || (!reserved && p < 6))
		return;
	if (reserved)
		load_map(g, 1, GEN_RINGBUF);
	else
		copy(g, 1, (u8)p);
	set(g, 2, (s32)size);
	set(g, 3, once_in(g, 40));
	stack_address(g, 4, at);
	helper(g, reserved ? RESERVE_DYNPTR : DYNPTR_FROM_MEM);
	for (u32 n = rnd(g) % 4; n; n--) {
		if (once_in(g, 4))
			one_more(g, &at);
		if (once_in(g, 2))
			slice(g, at, size);
		else if (once_in(g, 2))
			change(g, at);
		else
			transfer(g, once_in(g, 40) ? at + 8 : at);
		between(g, 1);
	}
	if (once_in(g, 20)) /* overwritten, in part */
		emit(g, BPF_ST | BPF_MEM | some_size(g), 10, 0, (s16)(at + (s32)(rnd(g) % 2) * 8),
		     0);
	for (u32 n = once_in(g, 30) ? 2 : 1; reserved && n && !once_in(g, 25); n--) {
		stack_address(g, 1, at);
		set(g, 2, 0);
		helper(g, once_in(g, 2) ? SUBMIT_DYNPTR : DISCARD_DYNPTR);
	}
	g->kind[0] = NONE; /* of those that return nothing */
	memset(&g->kind[7], NONE, 3);
}

/* ---- locks -------------------------------------------------------------------------------------
 */

/* The value of a map with special fields in r`keep`; a way out when it is not there. */
static bool special_value(struct gen *g, u32 map, u8 keep)
{
	if (g->kind[keep] == CTX)
		return false;
	emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, (s32)(rnd(g) % 2));
	g->slot[0] = NONE;
	g->stack_init |= 1;
	stack_address(g, 2, -8);
	load_map(g, 1, map);
	helper(g, BPF_FUNC_map_lookup_elem);
	emit(g, BPF_JMP | BPF_JNE | BPF_K, 0, 0, 2, 0);
	leave(g);
	copy(g, keep, 0);
	g->kind[0] = g->kind[keep] = NONE;
	return true;
}

/* Reads and writes of the value around its fields at 8 and beyond. */
static void touch(struct gen *g, u8 value, u32 n)
{
	while (n--) {
		u8 size = some_size(g);
		s16 off = (s16)(once_in(g, 12)  ? rnd(g) % 44
				: once_in(g, 2) ? rnd(g) % (9 - bytes_of(size))
						: 24 + rnd(g) % 17);

		if (once_in(g, 2))
			emit(g, BPF_ST | BPF_MEM | size, value, 0, off, (s32)(rnd(g) % 100));
		else
			emit(g, BPF_LDX | BPF_MEM | size, 0, value, off, 0);
		g->kind[0] = NONE;
	}
}

static void lock(struct gen *g)
{
	u8 keep = (u8)(7 + rnd(g) % 3), which;
	u32 at;

	if (g->depth > 1 || !special_value(g, GEN_LOCKED, keep))
		return;
	which = keep;
	copy(g, 1, keep);
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, once_in(g, 40) ? 4 : 8);
	helper(g, BPF_FUNC_spin_lock);
	touch(g, keep, 1 + rnd(g) % 3);
	at = g->cnt;
	if (once_in(g, 3)) /* a branch under the lock */
		emit(g, BPF_JMP | BPF_JEQ | BPF_K, keep, 0, 0, 0);
	touch(g, keep, rnd(g) % 2);
	if (at < g->cnt && at < MAX_INSNS && g->insns[at].code == (BPF_JMP | BPF_JEQ | BPF_K))
		land(g, at);
	if (once_in(g, 30))
		helper(g, BPF_FUNC_ktime_get_ns);
	if (once_in(g, 30) && special_value(g, GEN_LOCKED, 7))
		which = 7;
	for (u32 n = once_in(g, 30) ? 2 : 1; n && !once_in(g, 30); n--) {
		copy(g, 1, which);
		emit(g, BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, 8);
		helper(g, BPF_FUNC_spin_unlock);
	}
	g->kind[0] = NONE;
	touch(g, keep, rnd(g) % 2);
}

/* ---- what calls back ---------------------------------------------------------------------------
 */

static void function(struct gen *g, u8 r, u8 kind)
{
	if (g->nfuncs < ARRAY_SIZE(g->funcs)) {
		g->funcs[g->nfuncs].kind = kind;
		g->funcs[g->nfuncs++].at = g->cnt;
	}
	emit(g, BPF_LD | BPF_IMM | BPF_DW, r, BPF_PSEUDO_FUNC, 0, 0);
	emit(g, 0, 0, 0, 0, 0);
}

/* r3: what the callback gets as its context. */
static void callback_context(struct gen *g)
{
	u32 slot = rnd(g) % 8;

	if (once_in(g, 3) || !(g->stack_init & 1 << slot)) {
		set(g, 3, 0);
		return;
	}
	stack_address(g, 3, -8 * (s32)(slot + 1));
	g->slot[slot] = once_in(g, 20) ? g->slot[slot] : NONE;
}

static void loop_helper(struct gen *g)
{
	static const s32 rounds[] = { 0, 1, 2, 5, 10, 1000, 1 << 23, (1 << 23) + 1, -1 };
	int s = pick(g, NUMBER);

	if (g->depth > 1 || g->nfuncs == ARRAY_SIZE(g->funcs))
		return;
	if (s >= 0 && once_in(g, 2))
		copy(g, 1, (u8)s);
	else
		set(g, 1, rounds[rnd(g) % ARRAY_SIZE(rounds)]);
	callback_context(g);
	function(g, 2, GEN_CB_LOOP);
	set(g, 4, once_in(g, 30));
	helper(g, BPF_FUNC_loop);
}

static void for_each(struct gen *g)
{
	static const u8 maps[] = { GEN_ARRAY, GEN_HASH, GEN_LRU, GEN_ONE, GEN_PERCPU };

	if (g->depth > 1 || g->nfuncs == ARRAY_SIZE(g->funcs))
		return;
	callback_context(g);
	load_map(g, 1, maps[rnd(g) % ARRAY_SIZE(maps)]);
	function(g, 2, GEN_CB_EACH);
	set(g, 4, 0);
	helper(g, BPF_FUNC_for_each_map_elem);
}

static void timer(struct gen *g)
{
	u8 keep = (u8)(7 + rnd(g) % 3);

	if (g->depth > 1 || g->nfuncs == ARRAY_SIZE(g->funcs) || !special_value(g, GEN_TIMED, keep))
		return;
	emit(g, BPF_ALU64 | BPF_ADD | BPF_K, keep, 0, 0, once_in(g, 30) ? 16 : 8);
	if (once_in(g, 2)) {
		copy(g, 1, keep);
		load_map(g, 2, once_in(g, 20) ? GEN_ARRAY : GEN_TIMED);
		set(g, 3, 1);
		helper(g, BPF_FUNC_timer_init);
	}
	copy(g, 1, keep);
	function(g, 2, GEN_CB_TIMER);
	helper(g, BPF_FUNC_timer_set_callback);
	copy(g, 1, keep);
	set(g, 2, 1000);
	set(g, 3, 0);
	helper(g, once_in(g, 3) ? BPF_FUNC_timer_cancel : BPF_FUNC_timer_start);
	g->kind[keep] = NONE;
}

/* The body of a callback, with the arguments that its kind gets. */
static void callback(struct gen *g, u8 kind)
{
	u8 ret_max = kind == GEN_CB_TIMER ? 0 : 1;

	memset(g->kind, NONE, sizeof(g->kind));
	memset(g->slot, NONE, sizeof(g->slot));
	g->stack_init = 0;
	g->depth = 0;
	if (kind == GEN_CB_LOOP) {
		g->kind[1] = NUMBER;
		copy(g, 8, 2);
	} else {
		if (kind == GEN_CB_EACH || once_in(g, 30))
			copy(g, 8, 4);
		copy(g, 7, 3);
		g->kind[7] = kind == GEN_CB_EACH ? VALUE : NONE;
		emit(g, BPF_LDX | BPF_MEM | BPF_W, 6, 2, 0, 0);
		g->kind[6] = NUMBER;
	}
	if (kind != GEN_CB_TIMER && once_in(g, 2)) { /* a context that is there or not */
		emit(g, BPF_JMP | BPF_JEQ | BPF_K, 8, 0, 2, 0);
		emit(g, BPF_LDX | BPF_MEM | BPF_DW, 0, 8, 0, 0);
		if (once_in(g, 2))
			emit(g, BPF_ST | BPF_MEM | BPF_DW, 8, 0, 0, small(g));
		else
			emit(g, BPF_STX | BPF_MEM | BPF_DW, 8, 1, 0, 0);
	}
	for (u32 n = rnd(g) % 5; n; n--)
		generate_piece(g);
	if (g->kind[0] == NUMBER && once_in(g, 2))
		emit(g, BPF_ALU64 | BPF_AND | BPF_K, 0, 0, 0, ret_max);
	else
		set(g, 0, once_in(g, 12) ? 2 : (s32)(rnd(g) % (ret_max + 1u)));
	emit(g, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

void generate_callbacks(struct gen *g)
{
	u32 n = g->nfuncs;

	g->nfuncs = ARRAY_SIZE(g->funcs); /* no more */
	g->ncalls = ARRAY_SIZE(g->calls);
	for (u32 i = 0; i < n; i++) {
		g->insns[g->funcs[i].at].imm = (s32)(g->cnt - g->funcs[i].at - 1);
		callback(g, g->funcs[i].kind);
	}
}

/* ---- iterators ---------------------------------------------------------------------------------
 */

enum { ITER_NEW = VERDICT_KFUNC, ITER_NEXT, ITER_DESTROY };

/* for (i = from; i < to; i++), with the number as an index more often than not. */
static void numbers(struct gen *g)
{
	static const s32 ends[] = { 0, 1, 5, 48, 1000, 1 << 20, -3 };
	s32 at = place(g);
	u8 before[NREGS], slots[16], i = (u8)(7 + rnd(g) % 3);
	int s = pick(g, NUMBER);
	u32 head, out;

	if (g->depth > 1)
		return;
	stack_address(g, 1, at);
	set(g, 2, once_in(g, 2) ? 0 : ends[rnd(g) % ARRAY_SIZE(ends)]);
	if (s > 5 && once_in(g, 3))
		copy(g, 3, (u8)s);
	else
		set(g, 3, ends[rnd(g) % ARRAY_SIZE(ends)]);
	native(g, ITER_NEW);
	head = g->cnt;
	stack_address(g, 1, at);
	native(g, ITER_NEXT);
	out = g->cnt;
	emit(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, 0);
	g->kind[i] = g->kind[i] == NUMBER ? NUMBER : NONE;
	memcpy(before, g->kind, sizeof(before));
	memcpy(slots, g->slot, sizeof(slots));
	emit(g, BPF_LDX | (once_in(g, 3) ? BPF_MEMSX : BPF_MEM) | BPF_W, i, 0, 0, 0);
	g->kind[0] = NONE;
	g->kind[i] = NUMBER;
	between(g, 2);
	emit(g, BPF_JMP | BPF_JA, 0, 0, (s16)((s32)head - (s32)g->cnt - 1), 0);
	land(g, out);
	for (u32 k = 0; k < NREGS; k++)
		g->kind[k] = g->kind[k] == before[k] ? before[k] : NONE;
	for (u32 k = 0; k < 16; k++)
		g->slot[k] = g->slot[k] == slots[k] ? slots[k] : NONE;
	g->kind[0] = NONE;
	if (once_in(g, 30))
		return;
	stack_address(g, 1, at);
	native(g, ITER_DESTROY);
}

/* ---- sockets -----------------------------------------------------------------------------------
 */

static void socket(struct gen *g)
{
	static const s32 lookups[] = { BPF_FUNC_sk_lookup_tcp, BPF_FUNC_sk_lookup_udp,
				       BPF_FUNC_skc_lookup_tcp };
	static const s32 casts[] = { BPF_FUNC_sk_fullsock, BPF_FUNC_tcp_sock,
				     BPF_FUNC_get_listener_sock };
	u8 keep = (u8)(7 + rnd(g) % 3);
	u32 none, cast;

	if (g->depth > 1 || g->kind[6] != CTX ||
	    (g->type != BPF_PROG_TYPE_XDP && g->type != BPF_PROG_TYPE_SCHED_CLS && !once_in(g, 10)))
		return;
	emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -16, 0);
	emit(g, BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 0);
	g->slot[0] = g->slot[1] = NONE;
	g->stack_init |= 3;
	copy(g, 1, 6);
	stack_address(g, 2, -16);
	set(g, 3, once_in(g, 20) ? 40 : 12);
	set(g, 4, -1);
	set(g, 5, 0);
	helper(g, lookups[rnd(g) % 3]);
	none = g->cnt;
	emit(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, 0);
	copy(g, keep, 0);
	g->kind[keep] = NONE;
	emit(g, BPF_LDX | BPF_MEM | (once_in(g, 6) ? some_size(g) : BPF_W), 0, 0,
	     (s16)(rnd(g) % (once_in(g, 8) ? 20 : 5) * 4), 0);
	if (once_in(g, 2)) {
		copy(g, 1, keep);
		helper(g, casts[rnd(g) % 3]);
		cast = g->cnt;
		emit(g, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0, 0);
		emit(g, BPF_LDX | BPF_MEM | BPF_W, 0, 0,
		     (s16)(rnd(g) % (once_in(g, 8) ? 20 : 5) * 4), 0);
		if (once_in(g, 6))
			copy(g, keep, 0);
		land(g, cast);
	}
	between(g, 1);
	for (u32 n = once_in(g, 25) ? 2 : 1; n && !once_in(g, 25); n--) {
		copy(g, 1, keep);
		helper(g, BPF_FUNC_sk_release);
	}
	land(g, none);
	g->kind[0] = NONE;
	g->kind[keep] = NONE;
}

void (*const generate_objects[])(struct gen *g) = {
	dynptr, dynptr, lock, loop_helper, for_each, timer, numbers, numbers, socket,
};
const u32 generate_nobjects = ARRAY_SIZE(generate_objects);
