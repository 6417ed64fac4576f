/* SPDX-License-Identifier: MIT */
/*
 * Precision: which scalars' values a proof used. Pruning may ignore the others.
 *
 * Each scalar has a node that names the nodes its value was made from, and each checkpoint gives its
 * scalars fresh nodes. When a value is relied upon (a branch decided, a pointer moved, a size
 * passed), its node is marked with all that it was made from: the marks that reach a checkpoint's
 * nodes say what the paths from there relied on. Each node is marked once, so the cost is bounded by
 * the number of nodes. Node 0 is a value made from nothing but the instruction.
 */
#include <errno.h>

#include "verify/verify_int.h"

static u32 node_new(struct verifier *v, u32 a, u32 b)
{
	if (v->nnodes == v->nodes_cap) {
		size_t cap = v->nodes_cap, old = cap * sizeof(*v->nodes);
		struct node *nodes = NULL;

		if (v->nnodes < UINT32_MAX / 2 && verifier_charge(v, old ? old : 8 * sizeof(*nodes)))
			nodes = base_grow(v->nodes, &cap, v->nnodes + 1, sizeof(*nodes));
		if (!nodes) {
			if (!v->error)
				v->error = -ENOMEM;
			return 0;
		}
		v->nodes = nodes;
		v->nodes_cap = cap;
		if (!v->nnodes)
			v->nnodes = 1;
	}
	v->nodes[v->nnodes] = (struct node){ a, b, false };
	return (u32)v->nnodes++;
}

u32 vprecise_leaf(struct verifier *v, u32 from)
{
	return node_new(v, from, 0);
}

u32 vprecise_join(struct verifier *v, u32 a, u32 b)
{
	if (!b || a == b)
		return a;
	if (!a)
		return b;
	/* Nothing is left to mark. */
	if (v->nodes[a].precise && v->nodes[b].precise)
		return a;
	return node_new(v, a, b);
}

void vprecise_also(struct verifier *v, u32 node, u32 source)
{
	u32 b;

	if (!node || !source || node == source)
		return;
	if (v->nodes[node].precise) {
		vprecise_mark(v, source);
		return;
	}
	b = vprecise_join(v, v->nodes[node].b, source);
	v->nodes[node].b = b;
}

void vprecise_mark(struct verifier *v, u32 node)
{
	size_t n = 0;

	for (;;) {
		struct node *nd = &v->nodes[node];

		if (node && !nd->precise) {
			nd->precise = true;
			if (nd->b && !v->nodes[nd->b].precise) {
				u32 *work = base_grow(v->work, &v->work_cap, n + 1, sizeof(*work));

				if (!work) {
					v->error = -ENOMEM;
					return;
				}
				v->work = work;
				v->work[n++] = nd->b;
			}
			node = nd->a;
			continue;
		}
		if (!n)
			return;
		node = v->work[--n];
	}
}
