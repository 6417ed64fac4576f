/* SPDX-License-Identifier: MIT */
/*
 * What is known at one point of one path: registers, stack slots, frames, references. Plain data,
 * copied at branches and compared for pruning, so it is kept small.
 */
#ifndef FERRY_VERIFY_STATE_H
#define FERRY_VERIFY_STATE_H

#include "base/base.h"
#include "isa/isa.h"
#include "verify/num.h"

enum reg_type {
	REG_NONE,     /* nothing was written: may not be read */
	REG_SCALAR,
	REG_CTX,
	REG_MAP,      /* the map itself; `what` is the index in prog->maps */
	REG_MAP_VALUE,/* an element's value; `what` as above */
	REG_STACK,    /* `what` is the frame */
	REG_PKT,
	REG_PKT_META,
	REG_PKT_END,
	REG_MEM,      /* `size` bytes of a helper or native function */
	/*
	 * enum dynptr_kind `what` (dynptr.c). In slots it is half of the dynptr, `off` slots from its first; in
	 * registers the address of a whole one that is not on the program's stack.
	 */
	REG_DYNPTR,
	REG_ITER,     /* only in slots: enum iter_state `what`, `size` numbers were given (iter.c) */
	REG_SOCK,     /* a socket as programs see it: enum prog_sock `what` */
	REG_FUNC,     /* subprogram `what`, to be called back */
	/*
	 * A struct of `type_id` in the BTF `what` of the run (typed.c). type_id 0: behind a pointer to
	 * anything else, where any offset may be read as data.
	 */
	REG_BTF,
};

/* REG_MEM with REG_NATIVE that is no function's: native code passes it to a callback. */
enum { REG_HOST_MEM = 0xfffe, REG_HOST_STRING = 0xffff };

enum reg_flag {
	REG_NULLABLE = 1 << 0, /* or NULL: all with the same `id` are it together */
	REG_RDONLY = 1 << 1,
	/*
	 * The host's: its address does not leave the program. REG_MEM is from the native function `what` of
	 * prog->natives, if there is one.
	 */
	REG_NATIVE = 1 << 2,
	REG_ARG = 1 << 4,      /* REG_MEM that is argument `what` of a typed program */
	REG_RINGBUF = 1 << 3,  /* REG_MEM of a ring buffer reservation */
	REG_TRUSTED = 1 << 4,  /* REG_BTF that is valid now; without, loads may fault and give 0 */
	REG_PERCPU = 1 << 5,   /* REG_BTF: one a processor, to be resolved by a helper first */
	REG_KEY = 1 << 6,      /* REG_MEM of an element's key */
	REG_CONST = 1 << 6,    /* REG_BTF of the host's, given as const: for functions that do not write it */
	REG_AT_END = 1 << 6,   /* REG_PKT at the end of the packet or beyond */
	REG_BEYOND_END = 1 << 7, /* REG_PKT beyond the end, and so REG_AT_END too */
	REG_BORROWED = 1 << 7, /* `ref` is another's: valid until that is released, not to be released itself */
};

/*
 * A value. Pointers are base + off + n, where n is a number unknown until the program runs. Ids are
 * unique in a run of the verifier, 0 is none: equal ids on nullable pointers mean that they are NULL
 * together, on packet pointers that they have the same n, on scalars that their values less `off` are
 * equal (`off` is 0 without id).
 */
struct reg {
	struct num n;
	s32 off;
	u32 id;
	u32 ref;   /* the reference that it is part of */
	u32 node;  /* scalars: where its value came from (precise.c) */
	union {
		u32 size;    /* REG_MEM: bytes; packet pointers: bytes from base + n proven to be in the packet */
		u32 type_id; /* REG_BTF */
	};
	u16 what;
	u8 type;   /* enum reg_type */
	u8 flags;  /* enum reg_flag */
};

enum byte_kind {
	BYTE_NONE,  /* not written */
	BYTE_SPILL, /* part of the spilled register, whose first byte is byte 0 or 4 of the slot */
	BYTE_MISC,  /* some data */
	BYTE_ZERO,
	BYTE_DYNPTR, /* half of a dynptr, which `spill` tells of: for helpers only */
	BYTE_ITER,   /* an iterator, in the same way */
};

#define SLOT_SIZE 8
#define MAX_SLOTS (ISA_STACK_SIZE / SLOT_SIZE)

/* Eight bytes of stack: slot i is [-8 * (i + 1), -8 * i) from the frame pointer. */
struct slot {
	u8 bytes[SLOT_SIZE]; /* enum byte_kind, in order of address */
	struct reg spill;    /* with BYTE_SPILL; these bytes are in a row */
};

struct frame {
	struct reg regs[11];
	struct slot *slots; /* nslots of cap */
	u16 nslots, cap;
	u16 func;           /* index in prog->funcs */
	u32 callsite;       /* the call instruction, in the frame below */
	u32 shares;         /* further states that hold it too */
	bool noded;         /* a caller's: every number in it has a node (precise.c) */
	bool callback;      /* called by a helper: returns 0 to ret_max */
	s32 ret_max;
	const struct module_callback *native; /* called by a native function instead, which says what it returns */
	u32 first_id;       /* of a callback: ids from here on were made in it */
	u32 loop;           /* in a call that calls back (callback.c): which; 0 is none */
	u32 rounds;         /* how often it did */
};

struct ref {
	u32 id, insn;
	bool is_iter; /* nothing is lost when the program is ended while it is held */
};
#define MAX_REFS 32

struct state {
	/*
	 * The top frame belongs to this state alone. Those of callers are shared by the states of all
	 * paths through the callee until one writes to them: state_frame_edit().
	 */
	const struct frame *frames[ISA_MAX_FRAMES];
	u8 nframes;
	u8 nrefs;
	bool detached;        /* no longer compared with; freed when complete */
	u32 insn;             /* checkpoints: before this instruction */
	u32 branches;         /* checkpoints: paths from here not yet walked to their end */
	u32 hits, misses;
	struct state *parent; /* the checkpoint before this state */
	u32 depth;            /* checkpoints before it on its path */
	/*
	 * The first checkpoint, still open, that the proof of this one rests on: a round of a callback
	 * ended inside it (prune.c). NULL: this one is proved when it is complete.
	 */
	struct state *rests_on, *next_resting;
	bool carries;         /* some other rests on it */
	struct state *next;   /* other checkpoints at the same instruction */
	struct state *all_prev, *all_next;
	/*
	 * Stack liveness, a bit a slot and a word a frame. read: some path from this checkpoint read
	 * what the slot held here. written: wholly overwritten between the parent and this state.
	 */
	u64 read[ISA_MAX_FRAMES], written[ISA_MAX_FRAMES];
	/* The bpf_spin_lock that is held (lock.c): of map `lock_map`, in the value with id `lock_id`. */
	bool locked;
	u16 lock_map;
	u32 lock_id;
	struct ref refs[MAX_REFS];
};

struct verifier;

static inline struct frame *state_frame(const struct state *s)
{
	return (struct frame *)s->frames[s->nframes - 1];
}

static inline bool reg_is_ptr(const struct reg *r)
{
	return r->type > REG_SCALAR;
}
static inline bool reg_is_pkt(const struct reg *r)
{
	return r->type == REG_PKT || r->type == REG_PKT_META;
}
static inline bool reg_is_const(const struct reg *r)
{
	return r->type == REG_SCALAR && num_is_const(&r->n);
}
static inline bool slot_is_spill(const struct slot *s)
{
	return s->bytes[0] == BYTE_SPILL || s->bytes[4] == BYTE_SPILL;
}

/* The byte of the slot where the spilled register starts. */
static inline u32 slot_spill_start(const struct slot *s)
{
	return s->bytes[0] == BYTE_SPILL ? 0 : 4;
}

void reg_none(struct reg *r);
void reg_unknown(struct reg *r);                  /* a scalar of which nothing is known */
void reg_const(struct reg *r, u64 value);
void reg_number(struct reg *r, struct num n);     /* a scalar with no past */
void reg_pointer(struct reg *r, enum reg_type type);
u32 slot_spill_bytes(const struct slot *s);       /* bytes of the spilled register; 0 is none */
/* Does it hold a pointer of the host's, which programs may not look at? */
bool slot_is_secret(const struct slot *s);
/* The spilled register becomes data; what is left of one that is secret is not to be read. */
void slot_scrub(struct slot *s);

/* NULL: out of memory or past the limit; v->error says which. */
struct state *state_new(struct verifier *v);
struct state *state_copy(struct verifier *v, const struct state *s);
/*
 * Gives the numbers of the top frame new nodes (precise.c). Those of callers got theirs at the call, and
 * here if the callee changed the frame since.
 */
void state_fresh_nodes(struct verifier *v, struct state *s);
void state_free(struct verifier *v, struct state *s);
void state_free_all(struct verifier *v);
int state_push_frame(struct verifier *v, struct state *s, u32 func, u32 callsite);
int state_pop_frame(struct verifier *v, struct state *s);
/* Frame i for writing: a copy of its own when it was shared. NULL: out of memory, see v->error. */
struct frame *state_frame_edit(struct verifier *v, struct state *s, u32 i);
/* Room for slots [0, n): 0, -ENOMEM. */
int frame_grow(struct verifier *v, struct frame *f, u32 n);

int state_add_ref(struct verifier *v, struct state *s, u32 insn, u32 *id);
bool state_holds(const struct state *s); /* a lock, or something that only the program can give back */
bool state_has_ref(const struct state *s, u32 id);
void state_drop_ref(struct state *s, u32 id);

/*
 * Every register and every spilled register of all frames: returns the next, NULL at the end.
 * reg_iter_edit gives the one returned last for writing (out of memory: a scratch one; see v->error).
 */
struct reg_iter {
	struct state *s;
	u32 frame, i; /* i: 0 to 10 registers, 11 and up slots */
};
const struct reg *reg_iter_next(struct reg_iter *it);
struct reg *reg_iter_edit(struct verifier *v, const struct reg_iter *it);

/* The program's next reads of what slots `mask` of frame `frame` hold now. */
void state_mark_read(struct verifier *v, struct state *s, u32 frame, u64 mask);

#endif
