/* SPDX-License-Identifier: MIT */
/*
 * Control flow before the walk: functions, jumps that stay inside them, no recursion, no instruction
 * that nothing reaches, and where checkpoints are worth making. After it: stack over call chains.
 */
#include <errno.h>
#include <string.h>

#include "verify/verify_int.h"

static int check_funcs(struct verifier *v)
{
	u32 f, i;
	s64 target;

	for (f = 0; f < v->p->nfuncs; f++) {
		const struct prog_func *fn = &v->p->funcs[f];
		u8 last = fn->end - fn->start >= 2 && isa_is_ldimm64(&v->insns[fn->end - 2]) ?
				  ISA_LDIMM64 : isa_ops[v->insns[fn->end - 1].code].kind;

		for (i = fn->start; i < fn->end; i++) {
			v->aux[i].func = (u16)f;
			if (!isa_jump_target(&v->insns[i], i, &target))
				continue;
			if (target < fn->start || target >= fn->end) {
				v->insn = i;
				return refuse(v, -EINVAL, "a jump must stay inside its function",
					      "jump out of range from insn %u to %lld", i,
					      (long long)target);
			}
			v->aux[target].jump_target = true;
		}
		if (last != ISA_EXIT && last != ISA_JA) {
			v->insn = fn->end - 1;
			return refuse(v, -EINVAL, "each function must end with exit or goto",
				      "last insn is not an exit or jmp");
		}
	}
	return 0;
}

/* ---- reachability ----------------------------------------------------------------------------- */

struct reach {
	u8 *seen;
	u32 *todo;
	size_t n, cap;
	bool oom;
};

static void reach_add(struct reach *r, u32 insn)
{
	u32 *todo;

	if (r->seen[insn])
		return;
	r->seen[insn] = 1;
	todo = base_grow(r->todo, &r->cap, r->n + 1, sizeof(*todo));
	if (!todo) {
		r->oom = true;
		return;
	}
	r->todo = todo;
	r->todo[r->n++] = insn;
}

static void reach_next(struct verifier *v, struct reach *r, u32 i)
{
	const struct bpf_insn *insn = &v->insns[i];
	u8 kind = isa_ops[insn->code].kind;
	s64 target;

	if (isa_jump_target(insn, i, &target)) {
		reach_add(r, (u32)target);
		/* Conditional jumps split paths, loop heads and joins are where they meet again. */
		if (kind == ISA_JCC)
			v->aux[i].prune = true;
		if (kind == ISA_JA || target <= i)
			v->aux[target].prune = true;
	}
	if (isa_is_call(insn, BPF_PSEUDO_CALL)) {
		reach_add(r, (u32)((s64)i + 1 + insn->imm));
		v->aux[i + 1].prune = true;
	}
	if (kind == ISA_LDIMM64 && insn->src_reg == BPF_PSEUDO_FUNC)
		reach_add(r, (u32)((s64)i + 1 + insn->imm));
	if (vcallback_is_head(insn) || viter_is_head(v, insn))
		v->aux[i].head = v->aux[i].prune = v->aux[i + 1].prune = true;
	if (kind != ISA_JA && kind != ISA_EXIT && i + isa_slots(insn) < v->cnt)
		reach_add(r, i + isa_slots(insn));
}

static int check_reach(struct verifier *v)
{
	struct reach r = { .seen = base_alloc(v->cnt) };
	int err = 0;
	u32 i;

	if (!r.seen)
		return -ENOMEM;
	reach_add(&r, 0);
	while (r.n && !r.oom)
		reach_next(v, &r, r.todo[--r.n]);
	if (r.oom)
		err = -ENOMEM;
	for (i = 0; i < v->cnt && !err; i += isa_slots(&v->insns[i])) {
		if (r.seen[i])
			continue;
		v->insn = i;
		err = refuse(v, -EINVAL, "remove what no path reaches", "unreachable insn %u", i);
	}
	base_free(r.seen);
	base_free(r.todo);
	return err;
}

/* ---- calls ------------------------------------------------------------------------------------ */

static u32 callee(const struct verifier *v, u32 i)
{
	return v->aux[(s64)i + 1 + v->insns[i].imm].func;
}

/*
 * Walks all chains of calls from the main program with a stack of (function, instruction). Each
 * function is left once all its calls were seen; meeting one that is still open is recursion.
 */
static int check_recursion(struct verifier *v)
{
	enum { NEW, STARTED, DONE };
	u8 *color = base_alloc(v->p->nfuncs);
	u32 *at = base_array(v->p->nfuncs, sizeof(*at)), *func = base_array(v->p->nfuncs, sizeof(*func));
	int err = color && at && func ? 0 : -ENOMEM;
	u32 depth = 1;

	if (!err)
		color[0] = STARTED;
	while (depth && !err) {
		u32 f = func[depth - 1], i = at[depth - 1] + v->p->funcs[f].start, to;

		for (; i < v->p->funcs[f].end; i++)
			if (isa_is_call(&v->insns[i], BPF_PSEUDO_CALL))
				break;
		if (i == v->p->funcs[f].end) {
			color[f] = DONE;
			depth--;
			continue;
		}
		at[depth - 1] = i + 1 - v->p->funcs[f].start;
		to = callee(v, i);
		if (color[to] == STARTED) {
			v->insn = i;
			err = refuse(v, -E2BIG, "programs cannot recurse: use a loop",
				     "recursive call from insn %u to %u", i, v->p->funcs[to].start);
		} else if (color[to] == NEW) {
			color[to] = STARTED;
			func[depth] = to;
			at[depth++] = 0;
		}
	}
	base_free(color);
	base_free(at);
	base_free(func);
	return err;
}

int vcfg_check(struct verifier *v)
{
	int err = prog_find_funcs(v->p);

	if (err)
		return err == -ENOMEM ? err
				      : refuse(v, err,
					       "calls and function references must lead to the "
					       "start of an instruction of the program",
					       "functions cannot be told apart");
	err = check_funcs(v);
	if (!err)
		err = check_reach(v);
	if (!err)
		err = check_recursion(v);
	return err;
}

/* ---- stack of call chains --------------------------------------------------------------------- */

struct chains {
	struct verifier *v;
	u16 *deepest; /* bytes of the function and all it calls, + 1; 0 not known yet */
	u8 *frames;   /* how many then; OPEN while they are counted */
};
enum { OPEN = 0xff };

/* Does the instruction put another function on this one's stack, or hand on one that will be? */
static bool goes_deeper(const struct verifier *v, u32 i)
{
	const struct bpf_insn *insn = &v->insns[i];

	return isa_is_call(insn, BPF_PSEUDO_CALL) ||
	       (isa_is_ldimm64(insn) && insn->src_reg == BPF_PSEUDO_FUNC &&
		!vcallback_is_later(v, callee(v, i)));
}

/* Bounded: no recursion, and PROG_MAX_FUNCS functions, each entered once. */
static int chain_depth(struct chains *c, u32 f)
{
	struct prog_func *fn = &c->v->p->funcs[f];
	/* The kernel's rounding, so that the same programs fit. */
	u32 own = fn->stack ? ALIGN_UP((u32)fn->stack, 16) : 16, below = 0, frames = 0, i;

	if (c->deepest[f])
		return 0;
	if (c->frames[f] == OPEN) {
		c->v->insn = fn->start;
		return refuse(c->v, -E2BIG, "a callback may not lead to itself: use a loop",
			      "the call stack of callbacks is too deep !");
	}
	c->frames[f] = OPEN;
	for (i = fn->start; i < fn->end; i++) {
		u32 to;
		int err;

		if (!goes_deeper(c->v, i))
			continue;
		to = callee(c->v, i);
		err = chain_depth(c, to);
		if (err)
			return err;
		if (c->deepest[to] - 1u > below)
			below = c->deepest[to] - 1u;
		if (c->frames[to] > frames)
			frames = c->frames[to];
		fn->calls_back |= c->v->p->funcs[to].calls_back;
	}
	c->v->insn = fn->start;
	if (own + below > ISA_STACK_SIZE)
		return refuse(c->v, -EACCES, "move large variables to a map",
			      "combined stack size of %u calls is %u. Too large", frames + 1,
			      own + below);
	if (frames + 1 > ISA_MAX_FRAMES)
		return refuse(c->v, -E2BIG, "at most 8 functions may be active at once",
			      "the call stack of %u frames is too deep !", frames + 1);
	c->deepest[f] = (u16)(own + below + 1);
	c->frames[f] = (u8)(frames + 1);
	return 0;
}

/* Bytes of stack that callers of each function may have at the most: until nothing grows any more. */
static void stack_above(struct verifier *v, u16 *above)
{
	bool grew = true;
	u32 f, i;

	while (grew) {
		grew = false;
		for (f = 0; f < v->p->nfuncs; f++) {
			const struct prog_func *fn = &v->p->funcs[f];
			u32 with = above[f] + (fn->stack ? ALIGN_UP((u32)fn->stack, 16) : 16u);

			for (i = fn->start; i < fn->end; i++) {
				if (!isa_is_call(&v->insns[i], BPF_PSEUDO_CALL) ||
				    above[callee(v, i)] >= with)
					continue;
				above[callee(v, i)] = (u16)with;
				grew = true;
			}
		}
	}
}

/*
 * What a tail call leads to starts with a stack of its own, on top of the callers': the kernel lets
 * these have 256 bytes. Chains were checked, so that the sums are small.
 */
static int check_tail_stack(struct verifier *v)
{
	u16 *above = base_array(v->p->nfuncs, sizeof(*above));
	int err = above ? 0 : -ENOMEM;
	u32 f;

	if (above)
		stack_above(v, above);
	for (f = 1; f < v->p->nfuncs && !err; f++) {
		if (!v->p->funcs[f].has_tail_call || above[f] < 256)
			continue;
		v->insn = v->p->funcs[f].start;
		err = refuse(v, -EACCES, "move large variables of the callers to a map",
			     "tail_calls are not allowed when call stack of previous frames is %u bytes. Too large",
			     above[f]);
	}
	base_free(above);
	return err;
}

int vcfg_check_stack(struct verifier *v)
{
	struct chains c = { v, base_array(v->p->nfuncs, sizeof(u16)), base_alloc(v->p->nfuncs) };
	int err = c.deepest && c.frames ? chain_depth(&c, 0) : -ENOMEM;
	u32 i;

	for (i = 0; i < v->nlater && !err; i++)
		err = chain_depth(&c, v->later[i].func);
	if (!err)
		err = check_tail_stack(v);
	base_free(c.deepest);
	base_free(c.frames);
	return err;
}
