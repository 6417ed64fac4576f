/* SPDX-License-Identifier: MIT */
/*
 * Where a program makes system calls, and how a jump gets there. `syscall` has two bytes, a jump five,
 * so that something next to it has to move along. In order of preference:
 *
 *   before  the instructions in front of it, mostly `mov $number, %eax`, become the jump, and the
 *           stub carries them out; `syscall` itself stays where it is, for whoever still comes there
 *           (a thread that waits in the kernel, which goes back to it when a signal interrupts)
 *   around  it is covered itself, and what is behind it moves to the stub
 *   hop     a jump of two bytes to the padding between two functions nearby, and from there
 *   callers those of libc's function whose call may not move are replaced instead (syscall_cancel.c)
 *
 * A window is refused when something branches into it.
 */
#include <errno.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "attach/syscall_site.h"

#define MAX_INSNS 65536
#define BEFORE 4 /* instructions in front that may move */
#define BEHIND 4

/* ---- who branches where ---------------------------------------------------------------------------- */

static u64 offset_at(const u8 *p)
{
	s32 off;

	memcpy(&off, p, sizeof(off));
	return (u64)(s64)off;
}

/*
 * Bytes of the text that something may branch to. Not by decoding, which for large libraries takes
 * long: every byte that could begin a direct branch counts as one, which is never too few.
 */
u8 *sc_targets(u64 start, u64 end)
{
	const u8 *p = (const u8 *)(uintptr_t)start, *last = (const u8 *)(uintptr_t)end;
	u8 *bits = base_alloc((end - start) / 8 + 1);
	u64 to;

	if (!bits)
		return NULL;
	for (; p < last - 6; p++) {
		if (*p == 0xe8 || *p == 0xe9)
			to = (u64)(uintptr_t)p + 5 + offset_at(p + 1);
		else if (*p == 0x0f && (p[1] & 0xf0) == 0x80)
			to = (u64)(uintptr_t)p + 6 + offset_at(p + 2);
		else
			to = 0;
		if (to >= start && to < end)
			bits[(to - start) / 8] |= (u8)(1 << ((to - start) & 7));
	}
	return bits;
}

static bool is_target(const struct sc_text *t, const struct sc_body *b, u64 addr)
{
	const u8 *p;

	if (t->targets[(addr - t->start) / 8] >> ((addr - t->start) & 7) & 1)
		return true;
	/* Short branches: jcc, jmp, loop, jrcxz. */
	for (p = (const u8 *)(uintptr_t)(addr < t->start + 129 ? t->start : addr - 129);
	     p < (const u8 *)(uintptr_t)addr + 126 && (u64)(uintptr_t)p < t->end - 2; p++)
		if (((*p & 0xf0) == 0x70 || *p == 0xeb || (*p & 0xfc) == 0xe0) &&
		    (u64)(uintptr_t)p + 2 + (u64)(s64)(s8)p[1] == addr) {
			u32 i;

			/* These are frequent in other instructions: inside this function it must be one. */
			if ((u64)(uintptr_t)p < b->start || (u64)(uintptr_t)p >= b->end || b->computed)
				return true;
			for (i = 0; i < b->n; i++) {
				u64 at = b->start + b->insns[i].off;

				/* Prefixes (notrack, bnd) come before. */
				if (at <= (u64)(uintptr_t)p && (u64)(uintptr_t)p + 2 == at + b->insns[i].len)
					return true;
			}
		}
	return false;
}

/* ---- taking a function apart ------------------------------------------------------------------------ */

static void note(struct sc_insn *in, const ZydisDecodedInstruction *d, const u8 *code)
{
	bool branch = d->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;

	in->len = d->length;
	in->syscall = d->mnemonic == ZYDIS_MNEMONIC_SYSCALL && d->length == 2;
	in->ends = d->mnemonic == ZYDIS_MNEMONIC_JMP || d->mnemonic == ZYDIS_MNEMONIC_RET ||
		   d->mnemonic == ZYDIS_MNEMONIC_CALL || d->mnemonic == ZYDIS_MNEMONIC_UD2 ||
		   d->mnemonic == ZYDIS_MNEMONIC_HLT || d->mnemonic == ZYDIS_MNEMONIC_INT3;
	in->plain = !branch && !in->ends && !in->syscall && d->mnemonic != ZYDIS_MNEMONIC_SYSCALL;
	in->mov_eax = d->length == 5 && code[0] == 0xb8;
}

bool sc_take_apart(struct sc_body *b)
{
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction in;
	size_t cap = 0;
	ZydisDecoder d;
	struct sc_insn *p;
	u64 pc;

	ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (pc = b->start; pc < b->end && b->n < MAX_INSNS; pc += in.length) {
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, (const void *)(uintptr_t)pc,
							 b->end - pc, &in, ops))) {
			b->computed = true;
			break;
		}
		p = base_grow(b->insns, &cap, b->n + 1, sizeof(*p));
		if (!p)
			return false;
		b->insns = p;
		p[b->n].off = (u32)(pc - b->start);
		note(&p[b->n++], &in, (const u8 *)(uintptr_t)pc);
		if (in.mnemonic == ZYDIS_MNEMONIC_JMP && !in.raw.imm[0].is_relative &&
		    (ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER || ops[0].mem.base != ZYDIS_REGISTER_RIP))
			b->computed = true;
	}
	return true;
}

/* ---- windows ---------------------------------------------------------------------------------------- */

struct window {
	u32 first, last; /* instructions, inclusive */
};

static u64 addr_of(const struct sc_body *b, u32 i)
{
	return b->start + b->insns[i].off;
}

/* Nothing leads to the second to the last instruction of it, nor (before) to the call behind. */
static bool is_closed(const struct sc_text *t, const struct sc_body *b, u32 first, u32 last)
{
	u32 i;

	for (i = first + 1; i <= last; i++)
		if (is_target(t, b, addr_of(b, i)))
			return false;
	return true;
}

static bool find_before(const struct sc_text *t, const struct sc_body *b, u32 call, struct window *w)
{
	u32 i, bytes = 0;

	/*
	 * A branch that cannot be followed does not land behind where the number is set: without it there
	 * would be no call.
	 */
	for (i = call; i-- > 0 && call - i <= BEFORE && b->insns[i].plain &&
		       (bytes < JUMP_SIZE || (b->computed && !b->insns[i + 1].mov_eax));)
		bytes += b->insns[i].len;
	w->first = i + 1;
	w->last = call - 1;
	if (bytes < JUMP_SIZE || (b->computed && !b->insns[w->first].mov_eax))
		return false;
	return is_closed(t, b, w->first, call);
}

static bool find_around(const struct sc_text *t, const struct sc_body *b, u32 call, struct window *w)
{
	u32 i, k, bytes;

	for (k = 0; k <= BEFORE && k <= call && (!k || b->insns[call - k].plain); k++) {
		/* The instruction behind must be in it: a call that begins anew goes back two bytes from there. */
		bytes = 0;
		for (i = call - k; i < b->n && i <= call + BEHIND && (bytes < JUMP_SIZE || i <= call + 1); i++) {
			if (i > call && b->insns[i].syscall)
				break;
			bytes += b->insns[i].len;
			if (i > call && b->insns[i].ends && bytes < JUMP_SIZE)
				break;
		}
		if (bytes < JUMP_SIZE || i < call + 2)
			continue;
		w->first = call - k;
		w->last = i - 1;
		if (is_closed(t, b, w->first, w->last))
			return true;
	}
	return false;
}

/* ---- padding ------------------------------------------------------------------------------------------ */

/* Five bytes between two functions within reach of a jump of two; 0: none that is free. */
static u64 find_padding(struct sc_text *t, u64 call)
{
	u64 lo = call > t->start + 126 ? call - 126 : t->start, hi = call + 2 + 127, at, start, end;
	u32 i;

	if (hi > t->end)
		hi = t->end;
	for (at = lo; at + JUMP_SIZE <= hi; at++) {
		if (func_range(at, &start, &end) && at < end) {
			at = end - 1;
			continue;
		}
		/* Nothing is known from here to the next function: it has to be padding to the end. */
		for (end = at; end < hi && !func_range(end, &start, &start); end++)
			;
		if (end - at < JUMP_SIZE || !func_is_padding(at, end))
			return 0;
		for (i = 0; i < t->npads && !(t->pads[i] < at + JUMP_SIZE && at < t->pads[i] + JUMP_SIZE); i++)
			;
		if (i == t->npads && t->npads < ARRAY_SIZE(t->pads)) {
			t->pads[t->npads++] = at;
			return at;
		}
	}
	return 0;
}

/* ---- stubs ---------------------------------------------------------------------------------------------- */

struct stub {
	u8 bytes[SC_STUB];
	u32 n;
	u64 at; /* where it will be */
};

static void put(struct stub *s, const void *p, size_t n)
{
	memcpy(s->bytes + s->n, p, n);
	s->n += (u32)n;
}

/* An opcode and what is `to - here`, here being behind it. */
static void put_rel(struct stub *s, const char *op, size_t len, u64 to)
{
	s32 rel;

	put(s, op, len);
	rel = (s32)(to - (s->at + s->n + 4));
	put(s, &rel, 4);
}

#define ENTRY 18 /* bytes */

/* lea ip, %rcx; lea -128(%rsp), %rsp; call *entry, which is at the stub's start; then back to here. */
static void put_entry(struct stub *s, u64 ip)
{
	put_rel(s, "\x48\x8d\x0d", 3, ip);
	put(s, "\x48\x8d\x64\x24\x80", 5);
	put_rel(s, "\xff\x15", 2, s->at);
}

static void put_jump(struct stub *s, u64 to)
{
	put_rel(s, "\xe9", 1, to);
}

static void begin(struct stub *s, u64 at)
{
	u64 entry = (u64)(uintptr_t)syscall_entry;

	s->n = 0;
	s->at = at;
	put(s, &entry, 8);
}

/* The instructions [first, last] as they run elsewhere, without the jump back when there is one. */
static int move(struct stub *s, const struct sc_body *b, u32 first, u32 last, bool back, struct moved *m)
{
	u64 from = addr_of(b, first), to = addr_of(b, last) + b->insns[last].len;
	const char *why;
	int err = move_code((const u8 *)(uintptr_t)from, to - from, from, s->at + s->n, (u32)(to - from), m, &why);

	if (err)
		return err;
	if (s->n + m->size + 64 > SC_STUB || (!back && m->ends))
		return -EINVAL;
	put(s, m->code, back ? m->size : m->size - JUMP_SIZE);
	return 0;
}

static void jump_to(struct sc_site *site, u64 to)
{
	s32 rel = (s32)(to - (site->addr + JUMP_SIZE));

	site->now[0] = 0xe9;
	memcpy(site->now + 1, &rel, 4);
}

static const u8 nops[][8] = { { 0 }, { 0x90 }, { 0x66, 0x90 }, { 0x0f, 0x1f, 0 }, { 0x0f, 0x1f, 0x40, 0 },
			      { 0x0f, 0x1f, 0x44, 0, 0 }, { 0x66, 0x0f, 0x1f, 0x44, 0, 0 },
			      { 0x0f, 0x1f, 0x80, 0, 0, 0, 0 }, { 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0 } };

/* What of the window the jump does not need becomes nops: whoever decodes stays in step. */
static void fill(struct sc_site *site)
{
	u32 left = site->len - JUMP_SIZE, at = JUMP_SIZE, n;

	for (; left; left -= n, at += n) {
		n = left > 8 ? 8 : left;
		memcpy(site->now + at, nops[n], n);
	}
}

static void add_way(struct sc_site *site, u64 from, u64 to)
{
	site->from[site->nways] = (const u8 *)(uintptr_t)from;
	site->to[site->nways++] = (const u8 *)(uintptr_t)to;
}

static int make_before(struct sc_site *site, const struct sc_body *b, u32 call, const struct window *w,
		       struct stub *s)
{
	u64 ip = site->call + 2, base = s->at + s->n;
	struct moved m;
	int err = move(s, b, w->first, w->last, false, &m);
	u32 i;

	if (err)
		return err;
	(void)call;
	for (i = 1; i < m.n; i++)
		add_way(site, site->addr + m.from[i], base + m.to[i]);
	put_entry(s, ip);
	put_jump(s, ip);
	jump_to(site, base);
	return 0;
}

static int make_around(struct sc_site *site, const struct sc_body *b, u32 call, const struct window *w,
		       struct stub *s)
{
	u64 ip = site->call + 2, base = s->at + s->n, behind;
	struct moved m;
	int err = 0;
	s8 back;
	u32 i;

	if (w->first < call) {
		err = move(s, b, w->first, call - 1, false, &m);
		if (err)
			return err;
		for (i = 1; i < m.n; i++)
			add_way(site, site->addr + m.from[i], base + m.to[i]);
		add_way(site, site->call, s->at + s->n);
	}
	/* Behind, two bytes lead back to it: from there a call that begins anew goes back two bytes. */
	put_entry(s, ip);
	put(s, "\xeb\x02", 2);
	back = (s8)-(ENTRY + 4);
	put(s, "\xeb", 1);
	put(s, &back, 1);
	behind = s->at + s->n;
	err = move(s, b, call + 1, w->last, true, &m);
	if (err)
		return err;
	for (i = 0; i < m.n; i++)
		add_way(site, ip + m.from[i], behind + m.to[i]);
	jump_to(site, base);
	return 0;
}

/* The padding's own bytes are a site too: a jump to the stub, written with the rest. */
static int make_hop(struct sc_site *site, u64 pad, struct sc_site *hop, struct stub *s)
{
	u64 base = s->at + s->n, ip = site->call + 2;

	put_entry(s, ip);
	put_jump(s, ip);
	hop->addr = pad;
	hop->len = JUMP_SIZE;
	memcpy(hop->orig, (const void *)(uintptr_t)pad, JUMP_SIZE);
	jump_to(hop, base);
	site->addr = site->call;
	site->len = 2;
	site->now[0] = 0xeb;
	site->now[1] = (u8)(pad - ip);
	return 0;
}

/* ---- all of it -------------------------------------------------------------------------------------------- */

struct sc_site *sc_new_site(struct sc_text *t, u64 call)
{
	struct sc_site *s = base_grow(t->sites, &t->cap, t->nsites + 1, sizeof(*s));

	if (!s)
		return NULL;
	t->sites = s;
	s += t->nsites++;
	memset(s, 0, sizeof(*s));
	s->call = call;
	return s;
}

static void cover(struct sc_site *site, const struct sc_body *b, const struct window *w)
{
	site->addr = addr_of(b, w->first);
	site->len = (u8)(addr_of(b, w->last) + b->insns[w->last].len - site->addr);
	memcpy(site->orig, (const void *)(uintptr_t)site->addr, site->len);
	fill(site);
}

static bool too_long(const struct sc_body *b, const struct window *w)
{
	return addr_of(b, w->last) + b->insns[w->last].len - addr_of(b, w->first) > MAX_STOLEN;
}

static bool try_windows(struct sc_text *t, struct sc_site *site, const struct sc_body *b, u32 call,
			struct stub *s)
{
	struct sc_site *hop;
	struct window w;
	u64 pad;

	begin(s, s->at);
	if (find_before(t, b, call, &w) && addr_of(b, w.first) >= t->taken && !too_long(b, &w)) {
		cover(site, b, &w);
		if (!make_before(site, b, call, &w, s))
			return true;
	}
	begin(s, s->at);
	site->nways = 0;
	if (!b->computed && find_around(t, b, call, &w) && addr_of(b, w.first) >= t->taken &&
	    !too_long(b, &w)) {
		cover(site, b, &w);
		if (!make_around(site, b, call, &w, s))
			return true;
	}
	begin(s, s->at);
	site->nways = 0;
	pad = site->call >= t->taken ? find_padding(t, site->call) : 0;
	if (!pad || !(hop = sc_new_site(t, 0)))
		return false;
	site = hop - 1; /* may have moved */
	memcpy(site->orig, (const void *)(uintptr_t)site->call, 2);
	return !make_hop(site, pad, hop, s);
}

static int plan(struct sc_text *t, const struct sc_body *b, u32 call)
{
	struct sc_site *site = sc_new_site(t, addr_of(b, call));
	size_t index = t->nsites - 1;
	struct stub s;
	u8 *room;

	if (!site)
		return -ENOMEM;
	room = area_alloc((const void *)(uintptr_t)site->call, SC_STUB);
	s.at = (u64)(uintptr_t)room;
	if (!room || !try_windows(t, site, b, call, &s) || area_write(room, s.bytes, s.n)) {
		t->nsites = index + 1;
		t->sites[index].len = 0;
		return 0;
	}
	site = &t->sites[index];
	t->taken = site->addr + site->len > site->call + 2 ? site->addr + site->len : site->call + 2;
	return 0;
}

int sc_find(struct sc_text *t)
{
	const u8 *p = (const u8 *)(uintptr_t)t->start, *end = (const u8 *)(uintptr_t)t->end;
	struct point {
		u64 func, call;
	} points[4];
	struct sc_body b = { 0 };
	u32 i, npoints = 0;
	int err = 0;

	while (!err && (p = memmem(p, (size_t)(end - p), "\x0f\x05", 2))) {
		u64 at = (u64)(uintptr_t)p++;

		if (sc_is_own(at))
			continue;
		if (at >= b.end) {
			base_free(b.insns);
			memset(&b, 0, sizeof(b));
			if (!func_range(at, &b.start, &b.end)) {
				b.computed = true;
				if (!func_gap(at, &b.start, &b.end)) {
					b.end = 0;
					t->unknown++;
					continue;
				}
			}
			if (b.start < t->start || b.end > t->end)
				b.start = b.end = 0;
			if (!t->targets)
				t->targets = sc_targets(t->start, t->end);
			if (!t->targets || !sc_take_apart(&b)) {
				err = -ENOMEM;
				break;
			}
		}
		for (i = 0; i < b.n && addr_of(&b, i) < at; i++)
			;
		if (i < b.n && addr_of(&b, i) == at && b.insns[i].syscall) {
			if (sc_is_cancel_point(&b, i) && npoints < ARRAY_SIZE(points))
				points[npoints++] = (struct point){ b.start, at };
			else
				err = plan(t, &b, i);
		}
		else if (i == b.n)
			t->unknown++; /* behind what is no instruction */
	}
	/* Last: what is replaced for these is elsewhere, and must not be part of another site. */
	for (i = 0; i < npoints && !err; i++)
		err = sc_plan_point(t, points[i].func, points[i].call);
	base_free(b.insns);
	base_free(t->targets);
	t->targets = NULL;
	return err;
}
