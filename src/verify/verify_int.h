/* SPDX-License-Identifier: MIT */
/* What the verifier's files share: the run of one verification, and each file's part in it. */
#ifndef FERRY_VERIFY_INT_H
#define FERRY_VERIFY_INT_H

#include "base/base.h"
#include "helper/helper.h"
#include "isa/isa.h"
#include "prog/prog.h"
#include "verify/num.h"
#include "verify/state.h"
#include "verify/verify.h"

#define MAX_VAR_OFF (1 << 29) /* largest offset of a pointer, as the kernel's BPF_MAX_VAR_OFF */
#define MAX_VAR_SIZE (1 << 29)
#define MAX_PACKET_OFF 0xffff
#define MAX_PENDING 8192      /* branches of one path not yet walked */

/* What is known of an instruction over all paths. */
struct insn_aux {
	struct state *states;  /* checkpoints before it */
	const struct ctx_field *field;
	u16 live;              /* registers that are read later, a bit each (live.c) */
	u16 func;              /* index in prog->funcs */
	bool prune;            /* checkpoints are made here */
	bool jump_target;
	bool head;             /* each round of a callback comes here again */
	u8 ptr_type;           /* of the memory accessed: enum reg_type */
	bool site_known;       /* facts[].site is filled in */
	bool probe;            /* on some path through a typed pointer: may fault */
	bool map_known, map_varies;
	u16 map;
	bool key_known, key_varies;
	bool const_known, const_varies; /* a load from a frozen map: always `key` */
	s64 key;
};

/* A callback that is called when the program is done (callback.c). */
struct cb_kind;
struct later {
	u32 func, map;
	const struct cb_kind *kind;
	const struct module_callback *native; /* instead, with the BTF of its types */
	const struct btf *btf;
};

/* A branch to be walked later. */
struct pending {
	struct state *state;
	u32 insn, from;
	size_t log_full;
	u32 ntrace;
};

struct verifier {
	struct prog *p;
	const struct verify_opts *o;
	const struct prog_type *type;
	struct text *log;     /* NULL at level 0 */
	u32 level;
	struct bpf_insn *insns;
	u32 cnt;
	struct insn_aux *aux;

	struct state *cur;
	u32 insn, prev;       /* being walked, and the one before it on this path */
	u32 next;             /* set by a jump, call or exit */
	bool path_end;
	struct pending *pending;
	size_t npending, pending_cap;
	struct state *all_states;
	struct state *resting; /* complete, but resting on one that is not */
	u8 *globals;          /* of each function: GLOBAL_* (global.c) */
	struct later *later;
	u32 nlater;
	size_t later_cap;

	struct reg scratch;   /* written to when there is no memory for the register meant */
	const struct btf **btfs; /* that typed pointers are of (typed.c) */
	size_t nbtfs, btfs_cap;
	/* trace.c: the path walked, kept when somebody will want to know it. */
	u32 *trace, ntrace;
	size_t trace_cap;
	bool tracing;
	bool form_ok; /* every instruction is one */
	struct verify_watch *watch;

	u32 ids;              /* last one given */
	struct node *nodes;   /* precise.c */
	size_t nnodes, nodes_cap;
	u32 *work;
	size_t work_cap;

	u32 jumps, prev_jumps, prev_processed; /* since a checkpoint was made */
	u32 states_now;
	struct verify_stats stats;
	size_t memory, max_memory;
	int error;            /* sticky: out of memory anywhere */
	bool explained;       /* a reason was given */
	bool where_logged;
	struct text message;  /* the reason */
	size_t open_line;     /* of the log: length + 1 */
	const struct prog_line *logged_line; /* printed last */
};

static inline struct reg *cur_reg(struct verifier *v, u32 r)
{
	return &state_frame(v->cur)->regs[r];
}

/* Must this pointer stay inside the program? Those of the host always. */
static inline bool vsecret(const struct verifier *v, const struct reg *r)
{
	return reg_is_ptr(r) && (v->o->strict || r->flags & REG_NATIVE);
}

/* verify.c: counts memory; false (and v->error) past the limit. */
bool verifier_charge(struct verifier *v, size_t size);

/*
 * log.c. refuse() says what is wrong, in the kernel's words, what would be right (`hint`; tests
 * look for refusals without), then how the path came here, and returns err. The first R%u of the
 * message names the register at fault: what was known of it is told too (explain.c).
 */
int refuse(struct verifier *v, int err, const char *hint, const char *fmt, ...) PRINTF_LIKE(4, 5);
void vlog_note(struct verifier *v, const char *fmt, ...)
	PRINTF_LIKE(2, 3); /* a line of the reason before it */
void vlog_line(struct verifier *v, const char *fmt, ...) PRINTF_LIKE(2, 3); /* any other line */
int refuse_internal(struct verifier *v, const char *what); /* -EFAULT */
const char *reg_type_name(const struct reg *r);            /* "map_value_or_null" */
void vlog_reg(struct verifier *v, const struct reg *r, struct text *out);
void vlog_state(struct verifier *v, const struct state *s);
void vlog_path(struct verifier *v);                        /* a path starts at v->insn */
void vlog_insn(struct verifier *v);
void vlog_after(struct verifier *v, u32 insn);
void vlog_stats(struct verifier *v);

/* cfg.c */
int vcfg_check(struct verifier *v);       /* functions, jumps, reachability, where to prune */
int vcfg_check_stack(struct verifier *v); /* after the walk: stack over all call chains */

/* live.c: registers read later, into aux[].live. */
int vlive_compute(struct verifier *v);

/* trace.c */
void vtrace_start(struct verifier *v);
void vtrace_insn(struct verifier *v); /* v->insn is walked next */
void vtrace_end(struct verifier *v, int err);

/* walk.c */
int vwalk(struct verifier *v);
int vwalk_push(struct verifier *v, u32 insn, struct state **branch); /* a copy of cur, for later */

/* precise.c: which scalars' values mattered. Marking or joining never fails: see v->error. */
struct node {
	u32 a, b; /* the values it was made from; 0 is none */
	bool precise;
};
u32 vprecise_leaf(struct verifier *v, u32 from);
u32 vprecise_join(struct verifier *v, u32 a, u32 b);
void vprecise_mark(struct verifier *v, u32 node);
void vprecise_also(struct verifier *v, u32 node, u32 source); /* node was made from that too */
static inline void vprecise_reg(struct verifier *v, const struct reg *r)
{
	if (r->type == REG_SCALAR && r->node)
		vprecise_mark(v, r->node);
}
static inline bool vprecise_is(const struct verifier *v, const struct reg *r)
{
	return r->node && v->nodes[r->node].precise;
}

/* prune.c: 1 when an equal state was proved safe, 0 to walk on, -EINVAL for an endless loop. */
int vprune(struct verifier *v);
void vprune_path_end(struct verifier *v, struct state *s);

/* alu.c, branch.c */
int valu(struct verifier *v, const struct bpf_insn *insn);
int vbranch(struct verifier *v, const struct bpf_insn *insn);

/* strict.c: 0 when the strict policy is off, or allows it. */
int vstrict_helper(struct verifier *v, u32 id);
int vstrict_number(struct verifier *v, u32 r, const struct reg *ptr, const struct num *n); /* added to ptr */
int vstrict_pointer(struct verifier *v, u32 r, const struct reg *ptr); /* the result, for register r */

/* mem.c */
enum access { ACCESS_READ, ACCESS_WRITE };
int vmem_load(struct verifier *v, const struct bpf_insn *insn);
int vmem_store(struct verifier *v, const struct bpf_insn *insn);
int vmem_atomic(struct verifier *v, const struct bpf_insn *insn);
int vmem_ldimm64(struct verifier *v, const struct bpf_insn *insn);
int vmem_packet_ld(struct verifier *v, const struct bpf_insn *insn);
/* Bytes [off, off + size) behind the pointer in register r (beside its own offset). */
int vmem_region(struct verifier *v, u32 r, s64 off, u64 size, u64 region, bool zero_ok,
		const char *what);
/*
 * Memory given to a helper or native function: `size` bytes read or written. uninit: all of it is
 * written and none read. size 0 is fine then.
 */
int vmem_arg(struct verifier *v, u32 r, u64 size, enum access access, bool uninit);
int vmem_packet_access(struct verifier *v, u32 r, s64 off, u64 size);

/* stack.c */
int vstack_read(struct verifier *v, u32 r, s64 off, u32 size, bool sx, struct reg *out);
int vstack_write(struct verifier *v, u32 r, s64 off, u32 size, const struct reg *value);
int vstack_arg(struct verifier *v, u32 r, u64 size, enum access access, bool uninit);
/* A constant of `size` bytes at the pointer in r, when it is known. */
bool vstack_const(struct verifier *v, u32 r, u32 size, u64 *value);
/* Bytes written from the pointer on, which is at a known place. */
u32 vstack_written(struct verifier *v, const struct reg *r);
int vstack_string(struct verifier *v, u32 r); /* bytes that end with a zero known to be there */
/* How many those are, the zero among them; 0: it is no string on the stack. */
u32 vstack_string_size(struct verifier *v, const struct reg *r);

/*
 * typed.c: pointers to structs of the host, or of what stands for the kernel, typed by BTF. Loads go
 * through the fault table, so that a stale pointer gives 0; each pointer loaded is typed in turn and
 * no longer trusted.
 */
/*
 * Makes *r a pointer to the type `id` of `btf`, which lives as long as the program: a struct, union
 * or forward declaration, perhaps behind modifiers; -EINVAL for others, -ENOMEM. flags: REG_TRUSTED
 * (valid now), REG_NULLABLE (gets a new id), REG_RDONLY (without, what it points to may be written,
 * if it is trusted too), REG_PERCPU.
 */
int vtyped_make(struct verifier *v, struct reg *r, const struct btf *btf, u32 id, u32 flags);
/* The same for a value of the C type `id`: pointers to structs are typed, others are numbers. */
int vtyped_value(struct verifier *v, struct reg *r, const struct btf *btf, u32 id, u32 flags);
/* To the struct `name` of what stands for the kernel's BTF; -EINVAL when it has none. */
int vtyped_kernel(struct verifier *v, struct reg *r, const char *name, u32 flags);
int vtyped_sym(struct verifier *v, const struct bpf_insn *insn); /* LD_IMM64 of prog->syms[imm] */
/* bpf_per_cpu_ptr, bpf_this_cpu_ptr: what one processor's is, of the variable in register r. */
int vtyped_cpu(struct verifier *v, const struct reg *var, struct reg *out, bool nullable);
/* What it points to. */
const struct btf *vtyped_btf(const struct verifier *v, const struct reg *r);
const char *vtyped_name(const struct verifier *v, const struct reg *r); /* "task_struct" */
/* Does it point to a struct of this type, at its own offset or as a member there? */
bool vtyped_is(const struct verifier *v, const struct reg *r, const struct btf *btf, u32 id);
int vtyped_load(struct verifier *v, u32 r, s64 off, u32 size, struct reg *out);
int vtyped_store(struct verifier *v, u32 r, s64 off, u32 size, const struct reg *value);
/* Memory of a helper or native function: of trusted pointers, inside the struct. */
int vtyped_arg(struct verifier *v, u32 r, u64 size, enum access access);
/* entry.c: registers as the program starts, and what it may return when it is a C function. */
int ventry(struct verifier *v);
int ventry_result(struct verifier *v);
/* Bytes behind an argument in the context: of unknown number, so that every offset is to be known. */
void ventry_buffer(struct verifier *v, struct reg *r, bool rdonly);
int ventry_place(struct verifier *v, u32 r);
void ventry_touch(struct verifier *v, const struct reg *r, s64 off, u64 size, enum access access);
/*
 * Is it an argument as the C caller gave it, declared as a pointer to the struct `id`? Then native functions may
 * have it as an object of that type; ferry_closure() holds the prototype against it.
 */
bool ventry_object(struct verifier *v, const struct reg *r, const struct btf *btf, u32 id, enum access access);

/* global.c: functions of other linkage than static, which are verified by their prototype. */
enum { GLOBAL_CALLED = 1, GLOBAL_WALKED };
bool vglobal_is(const struct verifier *v, u32 func);
int vglobal_call(struct verifier *v, u32 func);
/* A new state at the start of the next one that was called: false when there is none. */
bool vglobal_start(struct verifier *v, int *err);
int vglobal_result(struct verifier *v); /* at its exit */

/* call.c, call_arg.c, native.c */
int vcall_helper(struct verifier *v, const struct bpf_insn *insn);
int vcall_func(struct verifier *v, const struct bpf_insn *insn);
int vcall_exit(struct verifier *v);
int vcall_native(struct verifier *v, const struct bpf_insn *insn);
int vcall_kfunc(struct verifier *v, const struct helper_proto *h); /* a kfunc of the kernel's */
int vcall_read_ok(struct verifier *v, u32 r);    /* -EACCES when r was not written */
int vcall_number(struct verifier *v, u32 r);
int vcall_size(struct verifier *v, u32 size_reg, bool zero_ok, enum access access, bool uninit);
int vcall_const(struct verifier *v, u32 r, u64 *value);
int vcall_refs_released(struct verifier *v, const char *before);
int vcall_locks_released(struct verifier *v, const char *before);
int vcall_may_return(struct verifier *v, const char *what, struct num r0, struct state **path);
void vcall_release(struct verifier *v, u32 ref);
void vcall_forget_packet(struct verifier *v, struct state *s); /* pointers into it become numbers */
void vcall_clobber(struct verifier *v);          /* r0 to r5, as a call leaves them */
/* The bytes of a frozen map's value from a known place on, *n of them; NULL when they are not known. */
const char *vcall_frozen(struct verifier *v, const struct reg *r, size_t *n);
int vcall_string(struct verifier *v, u32 r);     /* NUL-terminated in memory that does not change */

/* callback.c */
int vcallback_ldimm64(struct verifier *v, const struct bpf_insn *insn);
bool vcallback_is_head(const struct bpf_insn *insn); /* a call that may call back before it returns */
int vcallback_arg(struct verifier *v, u32 r);
int vcallback_call(struct verifier *v, u32 helper, u32 map); /* `map`: index of ARG_MAP's */
/* The native function gets subprogram `func` as such a function pointer, whose types are in `btf`. */
int vcallback_native(struct verifier *v, u32 func, const struct module_callback *cb, const struct btf *btf);
int vcallback_start(struct verifier *v, const struct later *l);
bool vcallback_is_later(const struct verifier *v, u32 func);
int vcallback_return(struct verifier *v);
void vcallback_arrive(struct verifier *v);
u32 vcallback_round(const struct verifier *v, const struct state *s); /* at a head: of which loop; 0 is none */
void vcallback_widen(struct verifier *v);

/* dynptr.c */
enum dynptr_kind { DYNPTR_ANY, DYNPTR_LOCAL, DYNPTR_RINGBUF };
int vdynptr_new(struct verifier *v, u32 r, enum dynptr_kind kind);
void vdynptr_const(struct verifier *v, struct reg *r); /* a register points to one that only helpers read */
int vdynptr_arg(struct verifier *v, u32 r, enum dynptr_kind kind, u32 *id); /* *id: that of slices */
/* What is passed to kfuncs: *of is what it is of, for whoever is made of it (clone), too. */
struct dynptr_of {
	enum dynptr_kind kind;
	u32 id; /* of its slices; with `held` the reference that it is */
	bool held;
};
int vdynptr_kfunc_arg(struct verifier *v, u32 r, struct dynptr_of *of);
int vdynptr_clone(struct verifier *v, u32 r, const struct dynptr_of *of);
int vdynptr_overwrite(struct verifier *v, struct frame *f, u32 slot); /* before it becomes data */
void vdynptr_release(struct verifier *v, u32 ref);
int vstack_room(struct verifier *v, u32 r, struct frame **out); /* from the pointer up; stack.c */

/* iter.c */
enum iter_state { ITER_ACTIVE, ITER_DRAINED };
int viter_call(struct verifier *v, const struct helper_proto *h);
bool viter_is_head(const struct verifier *v, const struct bpf_insn *insn); /* a call for the next number */
/* Before such a call: the iterator that r1 points to, by its reference; 0: there is none, or it has ended. */
u32 viter_round(const struct state *s);
void viter_overwrite(struct frame *f, u32 slot); /* before it becomes data */

/* lock.c */
int vlock_check_access(struct verifier *v, const struct reg *reg, s64 off, u64 size);
int vlock_arg(struct verifier *v, u32 r, bool lock);
int vlock_timer_arg(struct verifier *v, u32 r);
int vlock_check_call(struct verifier *v, u32 helper); /* 0: not a helper */
int vlock_check_map(struct verifier *v, const struct map *m);

/* kptr.c: pointers to objects in map values. */
struct kptr_access {
	u32 r, size;
	s64 off;
	enum access access;
	bool atomic;
	const struct reg *value;
	struct reg *out;
};
int vkptr_access(struct verifier *v, const struct kptr_access *a); /* 1: it is one, done; 0: it is not */
int vkptr_untouched(struct verifier *v, const struct reg *reg, s64 off, u64 size); /* memory of helpers */
int vkptr_arg(struct verifier *v, u32 r, const struct map_kptr **out);
int vkptr_object(struct verifier *v, u32 r, const struct map_kptr *k, u32 *release); /* 0 there: NULL was given */
int vkptr_result(struct verifier *v, const struct map_kptr *k, struct reg *r0);

/* fixup.c: rewrites context accesses, fills in facts. */
int vfixup(struct verifier *v);

#endif
