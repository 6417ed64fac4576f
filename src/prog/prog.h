/* SPDX-License-Identifier: MIT */
/*
 * A program as data: its instructions and what they refer to, the types of programs and their
 * contexts, and the facts that the verifier proved. Says nothing about how a program is checked or
 * run, so that verifier and engines share it and know nothing of each other.
 */
#ifndef FERRY_PROG_H
#define FERRY_PROG_H

#include "base/base.h"
#include "isa/isa.h"
#include "map/map.h"
#include "module/module.h"

/* ---- program types --------------------------------------------------------------------------- */

enum ctx_field_kind {
	CTX_SCALAR,
	CTX_PKT,      /* pointer to packet data, range unproven */
	CTX_PKT_END,
	CTX_PKT_META,
	CTX_SOCK,            /* pointer to a struct bpf_sock */
	CTX_SOCK_OR_NULL,
	CTX_SOCK_COMMON_OR_NULL,
};

/*
 * A field of a context as programs see it (uapi) and where it really is: the verifier's last pass
 * rewrites the access, one instruction to one. Both views hold the value in the same bytes, so a
 * narrow load of a scalar keeps its distance from the field's start.
 */
struct ctx_field {
	u16 off, size;        /* as seen by the program */
	u16 real_off, real_size;
	u8 kind;              /* enum ctx_field_kind */
	bool writable;
	/*
	 * Sizes of one access, which is aligned to its size and inside [off, off + size): a read has
	 * read_min to max bytes, a write write_min to max. Arrays (cb, remote_ip6) are one field.
	 */
	u8 read_min, write_min, max;
	bool narrow_start;    /* less than `max` bytes are read from its start only */
	u64 attach_types;     /* only for programs of these expected attach types, a bit each; 0: for all */
	const char *name;
};

/* The real context of packet programs (xdp, tc, socket filter, cgroup skb). */
struct prog_pkt {
	u64 data, data_end, data_meta; /* addresses; legacy packet loads read [data, data_end) */
	u64 hard_start, hard_end;      /* room for adjust_head and adjust_tail */
	u64 tstamp;
	u64 sk; /* no packet here has a socket: 0 */
	u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto;
	u32 priority, ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, data_len_unused;
	u32 napi_id, family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4];
	u32 remote_port, local_port, gso_segs, gso_size, wire_len, rx_queue_index, egress_ifindex;
	u64 hwtstamp;
	u8 tstamp_type;
	u8 encapsulated; /* by bpf_skb_adjust_room() */
};

enum { /* groups of helpers that a program type may call; see helper.def */
	HELPERS_BASE = 1 << 0,     /* maps, numbers, time, strings */
	HELPERS_TRACING = 1 << 1,  /* probe_read, current task, trace buffers */
	HELPERS_SKB = 1 << 2,
	HELPERS_XDP = 1 << 3,
	HELPERS_SYSCALL = 1 << 4,
	HELPERS_TC = 1 << 5,       /* what traffic control may do to a packet */
	HELPERS_STORE = 1 << 8,    /* bytes into a packet */
	HELPERS_SUM = 1 << 9,      /* checksums */
	HELPERS_EVENTS = 1 << 10,  /* perf buffers */
	HELPERS_COARSE = 1 << 11,  /* coarse time */
	HELPERS_LWT = 1 << 12,     /* what all of lightweight tunnels may, besides HELPERS_SUM */
	HELPERS_XMIT = 1 << 13,    /* what those on the way out may */
	HELPERS_SK_SKB = 1 << 14,  /* what parsers of streams may */
	HELPERS_KPROBE = 1 << 16,  /* what probes on functions may */
	HELPERS_HEADERS = 1 << 15, /* loads from where headers begin */
	HELPERS_PERF = 1 << 17,    /* what samples of perf events are asked for */
	HELPERS_ITER = 1 << 20,    /* what iterators write to their readers */
	HELPERS_FUNC = 1 << 21,    /* arguments of the traced function */
	HELPERS_EXIT = 1 << 22,    /* its result */
	HELPERS_LOOKUP = 1 << 23,  /* look-ups of sockets */
	HELPERS_SOCKET = 1 << 24,  /* what a packet's socket is */
	HELPERS_COOKIE = 1 << 25,  /* whose it is */
	HELPERS_SOCK_CTX = 1 << 26, /* programs whose context is a socket */
	HELPERS_CAST = 1 << 27,    /* casts of sockets alone */
	HELPERS_RELEASE = 1 << 28, /* what gives sockets back */
	HELPERS_SOCKOPT = 1 << 29, /* options of sockets */
};

struct prog_type {
	u32 type;             /* enum bpf_prog_type */
	const char *name;     /* bpftool's: "xdp", "sched_cls", ... */
	u32 helpers;          /* HELPERS_* */
	const struct ctx_field *fields; /* NULL: a raw context */
	u32 nfields;
	/* Raw contexts: bytes [raw_start, raw_end) are readable at aligned offsets of any size. */
	u32 raw_start, raw_end;
	bool raw_writable;
	u32 real_size;        /* bytes of the real context */
	bool has_packet;      /* the real context is a struct prog_pkt; pointers as fields say */
	bool legacy_packet;   /* may use LD_ABS and LD_IND */
	bool direct_write;    /* may write through packet pointers */
	bool typed;           /* a C function: r1 to r5 are what its BTF says (struct prog_sig) */
	bool bounded_ret;     /* return value must be proved in [ret_min, ret_max] */
	s32 ret_min, ret_max;
};
const struct prog_type *prog_type_of(u32 type); /* NULL when unknown or not run here */
const char *prog_type_name(u32 type);           /* for people; "type N" when unknown */
/*
 * The field that an access of `size` bytes at `off` of the context may touch, by the kernel's rules
 * of the type; NULL when it may not. Not for raw contexts. An access of the program at `off` is
 * really one of `size` bytes at real_off + (off - f->off); of packet pointers, of real_size bytes.
 */
const struct ctx_field *prog_type_field(const struct prog_type *t, u32 attach_type, u32 off,
					u32 size, bool write);
/* May so many bytes be read of the struct bpf_sock, or bpf_tcp_sock, that a pointer to a socket leads to? */
enum prog_sock { PROG_SOCK_FULL, PROG_SOCK_COMMON, PROG_SOCK_TCP };
bool prog_sock_field(enum prog_sock kind, u32 off, u32 size);
/* Values a program may return, where the kernel bounds them (depends on the attach type). */
bool prog_type_ret(const struct prog_type *t, u32 attach_type, s32 *min, s32 *max);
/* Groups of helpers for the type's programs with this expected attach type: HELPERS_*. */
u32 prog_type_helpers(const struct prog_type *t, u32 attach_type);

/*
 * What a reference to a subprogram is when the program runs, in both engines: an ordinary C function,
 * r1 to r5 its arguments and r0 its result. Helpers and native code call it directly, from any
 * thread; it is good as long as the program's code is installed. The engine gives it a stack and a
 * count of tail calls of its own. Only what the verifier proved of it is true: whoever passes other
 * arguments than its prototype says breaks that proof.
 */
typedef u64 (*prog_callback)(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5);

/* ---- programs -------------------------------------------------------------------------------- */

/* A subprogram: instructions [start, end). The first is the main program. */
struct prog_func {
	u32 start, end;
	u32 btf_id;           /* FUNC in the program's BTF; 0 without */
	u16 stack;            /* bytes of stack it uses, at most 512; engines may give it all 512 */
	bool has_tail_call, calls_back; /* set by the verifier */
};

/*
 * A program that is a C function of its own: what its BTF says of arguments and result, and what the
 * verifier saw it do with them, for whoever calls it.
 */
#define PROG_MAX_ARGS 5

enum prog_arg_kind { PROG_ARG_SCALAR, PROG_ARG_MEM };

struct prog_arg {
	u8 kind;         /* enum prog_arg_kind */
	u8 width;        /* scalars: bytes of the C type */
	bool is_signed;
	bool is_const;   /* memory: the program may not write it */
	bool nullable;   /* __nullable: the program checks it */
	bool written;    /* found by the verifier: some path writes to it */
	bool object;     /* found by the verifier: native functions get it as an object of this type */
	u32 size;        /* memory: bytes the program may touch at most */
	u32 touched;     /* found by the verifier: bytes from its start that it does touch */
	u32 type;        /* BTF id of what it points to; 0 is void */
	char name[32];
};

enum prog_ret_kind { PROG_RET_VOID, PROG_RET_SCALAR, PROG_RET_MEM };

struct prog_sig {
	const struct btf *btf; /* of the type ids */
	u32 nargs;
	struct prog_arg args[PROG_MAX_ARGS];
	u8 ret_kind, ret_width;
	bool ret_const;        /* RET_MEM: points to const */
	bool ret_bounded;      /* the C type has fewer values than its register */
	u32 ret_type;          /* RET_MEM: what it points to; 0 is void */
	s64 ret_min, ret_max;
};
/* The signature of FUNC `func_id`: 0, -ENOMEM, or -EINVAL with the reason in `why`. Freed with base_free. */
int prog_sig_new(const struct btf *btf, u32 func_id, struct prog_sig **out, struct text *why);

/* Of a FUNC_PROTO, the result alone: the arguments are in the context. */
int prog_sig_result(const struct btf *btf, u32 proto, struct prog_sig **out);

/* Source of an instruction, from BTF line info; entries sorted by insn. Strings are the BTF's. */
struct prog_line {
	u32 insn;
	const char *file, *text;
	u32 line, col;
};

/* What the verifier proved or decided for an instruction. */
struct insn_fact {
	bool seen;       /* reached by some path; engines may leave out what is not */
	bool probe;      /* a load that may fault: then the register becomes 0 */
	bool const_map;  /* a helper call whose r1 is always p->maps[map] */
	bool held;       /* some path holds references or locks here */
	bool zext_dead;  /* the upper half of a 32-bit result is never read */
	u16 map;
	struct module_site site; /* a call of a native function that is bridged */
	/* Tail call or array look-up whose index is always this; -1 otherwise. */
	s64 const_key;
};

enum prog_arg_ctx {
	CTX_ARG_TYPED,         /* by its BTF, with the flags of struct prog_args */
	CTX_ARG_NULLABLE,      /* the same, or NULL */
	CTX_ARG_RDONLY_BUFFER, /* NULL, or bytes: how many are touched is noted, and compared later */
	CTX_ARG_BUFFER,
};

/*
 * Raw contexts that are the arguments of a function, a u64 each, typed by BTF: functions traced,
 * closures. Pointers to structs are typed pointers of the verifier.
 */
struct prog_args {
	struct btf *btf;      /* lives as long as the program; NULL: the context is not typed */
	u32 proto;            /* FUNC_PROTO */
	const char *name;     /* of the function, for messages; may be NULL */
	u8 skip;              /* parameters at its beginning that programs do not see */
	bool with_ret;        /* its result is behind the arguments */
	bool trusted;         /* pointers to structs are valid, or NULL with `nullable` */
	bool nullable;
	bool writable;        /* numbers in what they point to may be written, unless const */
	const u8 *kinds;      /* enum prog_arg_ctx, one an argument; NULL: all as the flags say */
};

/* What a program has the address of: a variable of a module, or one of its functions. */
struct prog_sym {
	struct module *mod;            /* with a reference */
	const struct module_var *var;  /* NULL: a function, of which only the address is of use */
	u64 value;                     /* what LD_IMM64 gives */
};

/*
 * The internal form of references, made by src/bpf from file descriptors before the verifier runs:
 *   LD_IMM64 src=BPF_PSEUDO_MAP_FD     imm = index into maps
 *   LD_IMM64 src=BPF_PSEUDO_MAP_VALUE  imm = index into maps, second imm = offset in the value
 *   LD_IMM64 src=BPF_PSEUDO_BTF_ID     imm = index into syms
 *   LD_IMM64 src=BPF_PSEUDO_FUNC       imm = distance to the subprogram, as for a call;
 *                                      its value is a prog_callback
 *   CALL src=0  imm = helper id;  src=1  imm = distance;  src=2  imm = index into natives
 * Engines run this form directly: the value of a map reference is the `struct map *`.
 */
struct prog {
	u32 type, attach_type, flags;
	char name[BPF_OBJ_NAME_LEN];
	bool gpl;
	u32 insn_cnt;
	struct bpf_insn *insns;    /* owned; the verifier's last pass rewrites context accesses here */
	struct map **maps;         /* referenced; behind those, the templates of inner maps */
	u32 nmaps;
	const struct module_func **natives; /* each with a reference on its module */
	u32 nnatives;
	struct prog_sym *syms;
	u32 nsyms;
	struct prog_func *funcs;   /* NULL, 0 before the verifier found them */
	u32 nfuncs;
	struct btf *btf;           /* borrowed from the BTF object that src/bpf holds; NULL */
	struct prog_args args;     /* of a raw context */
	struct prog_line *lines;
	u32 nlines;
	struct insn_fact *facts;   /* one an instruction; NULL when not verified */
	_Atomic u64 *faults;       /* loads that faulted, an instruction; NULL: none can (insn_fact.probe) */
	struct prog_limits *limits; /* limit.h; NULL: none; owned */
	struct prog_site *sites;   /* watched calls, sorted by insn; owned */
	u32 nsites;
	_Atomic u32 direct;        /* closures that call its code without asking `run` or `call`; or: */
#define PROG_NOT_DIRECT (1u << 31) /* it is just being compiled again, and there may be none */
	u8 tag[BPF_TAG_SIZE];      /* for policies */
	struct prog_sig *sig;      /* typed programs, set by the verifier; owned */
	bool plain;                /* set by an engine, once: running it changes no vector register, without limits */
	bool reads_any;            /* may read at any address, as probe_read does: pointers to no struct */
	u32 max_ctx_off;           /* raw contexts: bytes that the program may touch */
	u32 max_rdonly, max_buffer; /* the same of buffers in it (CTX_ARG_RDONLY_BUFFER, CTX_ARG_BUFFER) */
	u32 verified_insns;        /* processed by the verifier */

	/* How it runs: set by an engine. A tail call jumps to `tail` (JIT) or restarts (interpreter). */
	u64 (*run)(const struct prog *p, void *ctx);
	u64 (*call)(const struct prog *p, const u64 *args); /* the same with r1 to r5 given */
	const void *tail;
	void *code;                /* the JIT's; NULL when interpreted */
	void *vm;                  /* the interpreter's form; NULL when not installed */

	_Atomic u64 run_cnt, run_ns, recursion_misses;
	_Atomic u32 refs;
	void *owner;               /* the bpf(2) object it belongs to */
};

/* Copies; one reference. NULL when out of memory, or cnt is 0 or above ISA_MAX_INSNS. */
struct prog *prog_new(const struct bpf_insn *insns, u32 cnt);
void prog_free(struct prog *p); /* drops maps and natives; the engine's code must be gone already */
/* The line an instruction belongs to; NULL when not known. */
const struct prog_line *prog_line_at(const struct prog *p, u32 insn);
/* The function an instruction belongs to; NULL before funcs are known. */
const struct prog_func *prog_func_at(const struct prog *p, u32 insn);
/*
 * Finds subprograms (targets of BPF-to-BPF calls and function references) into p->funcs, sorted;
 * does nothing when they are there already. Any instructions are fine: 0, -EINVAL (a target outside
 * the program or inside a 16-byte instruction), -E2BIG (over PROG_MAX_FUNCS), -ENOMEM.
 */
#define PROG_MAX_FUNCS 256
int prog_find_funcs(struct prog *p);

static inline u64 prog_run(const struct prog *p, void *ctx)
{
	return __atomic_load_n(&p->run, __ATOMIC_ACQUIRE)(p, ctx);
}

#endif
