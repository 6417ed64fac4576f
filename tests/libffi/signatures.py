#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random signatures, called both ways through libffi by code that gcc and clang made.

signatures.py --lib LIBFFI.so --include DIR [--count N] [--seed N] [--cc CC] [--other-cc CC] [--vectors SIZES] [--run PREFIX...]

Writes two C files that share a header: one has the functions, each checking that its arguments arrived, one calls
them through ffi_call and calls closures as those functions. Compiled by CC and OTHER-CC, the oracle is the compilers:
every value has to arrive bit for bit. Prints TAP, a line for each way of running. Exit code 1 when something failed.
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile

SCALARS = [  # C type, ffi_type, kind
    ("int8_t", "sint8"), ("uint8_t", "uint8"), ("int16_t", "sint16"), ("uint16_t", "uint16"),
    ("int32_t", "sint32"), ("uint32_t", "uint32"), ("int64_t", "sint64"), ("uint64_t", "uint64"),
    ("float", "float"), ("double", "double"), ("void *", "pointer"), ("long double", "longdouble"),
    ("__int128", "sint128"), ("unsigned __int128", "uint128"),
    ("_Complex float", "complex_float"), ("_Complex double", "complex_double"),
    ("_Complex long double", "complex_longdouble"),
]
# What C's promotions leave as it is.
VARIADIC = [s for s in SCALARS if s[1] not in ("sint8", "uint8", "sint16", "uint16", "float")]
COMMON = SCALARS[:11]
# Vectors: C type, lane, bytes, ffi_type of a lane. The sizes of the machine's vector registers, and others.
VECTORS = [
    ("vec2f", "float", 8, "float"), ("vec4f", "float", 16, "float"), ("vec2d", "double", 16, "double"),
    ("vec4h", "int16_t", 8, "sint16"), ("vec4i", "int32_t", 16, "sint32"), ("vec16c", "uint8_t", 16, "uint8"),
    ("vec8f", "float", 32, "float"), ("vec4l", "int64_t", 32, "sint64"),
]
LANE_BYTES = {"float": 4, "double": 8, "uint8_t": 1, "int16_t": 2, "int32_t": 4, "int64_t": 8}


class Types:
    """Structs made so far: their C, their ffi_type, functions that fill and compare them."""

    def __init__(self, rng, int128, vectors=()):
        self.rng, self.decl, self.defs, self.names = rng, [], [], []
        self.scalars = [s for s in SCALARS if int128 or "128" not in s[1]]
        self.vectors = [v for v in VECTORS if v[2] in vectors]
        for c, lane, size, f in self.vectors:
            lanes = ", ".join([f"&ffi_type_{f}"] * (size // LANE_BYTES[lane]))
            self.decl.append(f"typedef {lane} {c} __attribute__((vector_size({size})));\nVECTOR({c}, {lane})")
            self.defs.append(f"static ffi_type *{c}_elements[] = {{ {lanes}, NULL }};\n"
                             f"static ffi_type {c}_type = {{ 0, 0, FFI_TYPE_VECTOR, {c}_elements }};")

    def scalar(self, variadic=False):
        if self.vectors and self.rng.random() < 0.1:
            c = self.rng.choice(self.vectors)[0]
            return c, f"&{c}_type"
        pool = [s for s in (VARIADIC if variadic else self.scalars) if s in self.scalars]
        common = [s for s in COMMON if s in pool]
        c, f = self.rng.choice(common if self.rng.random() < 0.75 else pool)
        return c, f"&ffi_type_{f}"

    def struct(self, depth=0):
        rng = self.rng
        members = []
        # Members all alike are a class of their own in some conventions.
        alike = self.scalar() if rng.random() < 0.25 else None
        for i in range(rng.choice([1, 1, 2, 2, 3, 4, 6])):
            if depth < 2 and rng.random() < 0.2:
                c, f = self.struct(depth + 1)
            else:
                c, f = alike or self.scalar()
            members.append((c, f, f"m{i}", rng.choice([2, 3]) if rng.random() < 0.15 else 0))
        n = f"S{len(self.names)}"
        self.names.append(n)
        body = " ".join(f"{c} {m}{f'[{k}]' if k else ''};" for c, f, m, k in members)
        elements = ", ".join(", ".join([f] * max(k, 1)) for c, f, m, k in members)
        fill, same = [], []
        for c, f, m, k in members:
            for at in ([f"[{j}]" for j in range(k)] if k else [""]):
                fill.append(f"FILL({tag(c)}, p->{m}{at});")
                same.append(f"SAME({tag(c)}, a->{m}{at}, b->{m}{at})")
        self.decl.append(f"struct {n} {{ {body} }};\nTYPE_FUNCS({n}, struct {n}, {' '.join(fill)}, {' && '.join(same)})")
        self.defs.append(f"static ffi_type *{n}_elements[] = {{ {elements}, NULL }};\n"
                         f"static ffi_type {n}_type = {{ 0, 0, FFI_TYPE_STRUCT, {n}_elements }};")
        return f"struct {n}", f"&{n}_type"

    def any(self):
        if self.rng.random() < 0.3:
            if self.names and self.rng.random() < 0.5:
                n = self.rng.choice(self.names)
                return f"struct {n}", f"&{n}_type"
            return self.struct()
        return self.scalar()


def tag(c):
    return c.replace("struct ", "").replace(" ", "_").replace("*", "ptr")


HEADER = r"""
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* Values follow from a seed, so that both sides know them. */
static uint64_t state;
static inline uint64_t rnd(void) { state ^= state << 13; state ^= state >> 7; state ^= state << 17; return state; }
#define FILL(t, x) fill_##t(&(x))
#define SAME(t, a, b) same_##t(&(a), &(b))
#define SCALAR(t, c) \
	static inline void fill_##t(c *p) { uint64_t r[2] = { rnd(), rnd() }; memcpy(p, r, sizeof(*p)); } \
	static inline bool same_##t(const c *a, const c *b) { return !memcmp(a, b, sizeof(*a)); }
/* Numbers that no rounding and no NaN disturbs. */
#define FLOATING(t, c) \
	static inline void fill_##t(c *p) { *p = (c)(int32_t)rnd(); } \
	static inline bool same_##t(const c *a, const c *b) { return *a == *b; }
#define COMPLEX(t, c, part) \
	static inline void fill_##t(c *p) { ((part *)p)[0] = (part)(int32_t)rnd(); ((part *)p)[1] = (part)(int32_t)rnd(); } \
	static inline bool same_##t(const c *a, const c *b) { return *a == *b; }
#define VECTOR(t, lane) \
	static inline void fill_##t(t *p) { for (unsigned i = 0; i < sizeof(t) / sizeof(lane); i++) (*p)[i] = (lane)(int32_t)rnd(); } \
	static inline bool same_##t(const t *a, const t *b) { return !memcmp(a, b, sizeof(*a)); }
#define TYPE_FUNCS(t, c, f, s) \
	static inline void fill_##t(c *p) { f } \
	static inline bool same_##t(const c *a, const c *b) { return s; }
SCALAR(int8_t, int8_t) SCALAR(uint8_t, uint8_t) SCALAR(int16_t, int16_t) SCALAR(uint16_t, uint16_t)
SCALAR(int32_t, int32_t) SCALAR(uint32_t, uint32_t) SCALAR(int64_t, int64_t) SCALAR(uint64_t, uint64_t)
typedef void *any_ptr;
SCALAR(void_ptr, any_ptr)
FLOATING(float, float) FLOATING(double, double) FLOATING(long_double, long double)
COMPLEX(_Complex_float, _Complex float, float) COMPLEX(_Complex_double, _Complex double, double)
COMPLEX(_Complex_long_double, _Complex long double, long double)
#ifdef __SIZEOF_INT128__
SCALAR(__int128, __int128) SCALAR(unsigned___int128, unsigned __int128)
#endif
"""


def generate(rng, count, int128, vectors):
    t = Types(rng, int128, vectors)
    protos, callees, callers = [], [], []
    for i in range(count):
        n = rng.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 14, 20])
        fixed = n
        args = [t.any() for _ in range(n)]
        if n and rng.random() < 0.15:
            fixed = rng.randrange(1, n + 1)
            args[fixed:] = [t.struct() if rng.random() < 0.15 else t.scalar(True) for _ in range(n - fixed)]
        ret = ("void", "&ffi_type_void") if rng.random() < 0.08 else t.any()
        var = fixed < n
        plist = ", ".join([f"{c} a{k}" for k, (c, f) in enumerate(args[:fixed])] + (["..."] if var else []))
        proto = f"{ret[0]} f{i}({plist or 'void'})"
        seed = f"{(rng.getrandbits(60) | 1):#x}u"
        protos.append(f"{proto};")
        fetch = "".join(f"\t{c} a{k} = va_arg(ap, {c});\n" for k, (c, f) in enumerate(args) if k >= fixed)
        want = "".join(f"\t{c} w{k}; memset(&w{k}, 0, sizeof(w{k})); FILL({tag(c)}, w{k});\n" for k, (c, f) in enumerate(args))
        check = "".join(f"\tif (!SAME({tag(c)}, a{k}, w{k})) bad({i}, {k});\n" for k, (c, f) in enumerate(args))
        res = f"\t{ret[0]} r; memset(&r, 0, sizeof(r)); FILL({tag(ret[0])}, r);\n\treturn r;\n" if ret[0] != "void" else ""
        va = f"\tva_list ap; va_start(ap, a{fixed - 1});\n{fetch}\tva_end(ap);\n" if var else ""
        callees.append(f"{proto}\n{{\n{va}\tstate = {seed};\n{want}{check}\tcalls++;\n{res}}}\n")
        # The caller: through ffi_call, then the closure as the function itself.
        types = ", ".join(f for c, f in args)
        vals = "".join(f"\t{c} w{k}; memset(&w{k}, 0, sizeof(w{k})); FILL({tag(c)}, w{k});\n" for k, (c, f) in enumerate(args))
        ptrs = ", ".join(f"&w{k}" for k in range(n)) or "NULL"
        names = ", ".join(f"w{k}" for k in range(n))
        prep = (f"ffi_prep_cif_var(&cif, FFI_DEFAULT_ABI, {fixed}, {n}, {ret[1]}, types)" if var else
                f"ffi_prep_cif(&cif, FFI_DEFAULT_ABI, {n}, {ret[1]}, types)")
        rc = ret[0] if ret[0] != "void" else "int"
        isvoid = ret[0] == "void"
        rcheck = lambda var, way: "" if isvoid else f"\tif (!SAME({tag(rc)}, {var}, want)) bad_result({i}, \"{way}\");\n"
        handler = "".join(f"\tif (!SAME({tag(c)}, *({c} *)args[{k}], w{k})) bad({i}, {k});\n" for k, (c, f) in enumerate(args))
        small = ret[1] in ("&ffi_type_sint8", "&ffi_type_uint8", "&ffi_type_sint16", "&ffi_type_uint16",
                           "&ffi_type_sint32", "&ffi_type_uint32")
        write = "" if isvoid else (f"\t*(ffi_arg *)result = (ffi_arg)r;\n" if small else
                                   "\tmemcpy(result, &r, sizeof(r));\n")
        callers.append(f"""
static void handle{i}(ffi_cif *cif, void *result, void **args, void *data)
{{
	(void)cif; (void)result; (void)args;
	if (data != &calls) bad({i}, -1);
	state = {seed};
{vals}{handler}	calls++;
{'' if isvoid else f'{chr(9)}{rc} r; memset(&r, 0, sizeof(r)); FILL({tag(rc)}, r);{chr(10)}'}{write}}}
static void call{i}(void)
{{
	static ffi_type *types[] = {{ {types + ', ' if types else ''}NULL }};
	union {{ ffi_arg word; {rc} r; char room[sizeof({rc}) + 16]; }} got;
	ffi_closure *closure;
	ffi_cif cif;
	void *code;
	state = {seed};
{vals}	{rc} want; memset(&want, 0, sizeof(want)); {'' if isvoid else f'FILL({tag(rc)}, want);'}
	void *values[] = {{ {ptrs} }};
	(void)want;
	memset(&got, 0x5a, sizeof(got));
	if ({prep} != FFI_OK) {{ bad_result({i}, "prep"); return; }}
	if (!isvoid_or_size(types_size({ret[1]}), sizeof({rc}), {int(isvoid)})) bad_result({i}, "size");
	calls = 0;
	ffi_call(&cif, FFI_FN(f{i}), &got, values);
{rcheck('got.r', 'call')}	if (got.room[sizeof({rc}) + 15] != 0x5a) bad_result({i}, "overrun");
	ffi_call(&cif, FFI_FN(f{i}), NULL, values);
#ifdef FFI_TYPE_VECTOR
	ffi_call_plan *plan = ffi_call_plan_alloc(&cif);
	ffi_call_plan_invoke(plan, FFI_FN(f{i}), &got, values);
	ffi_call_plan_free(plan);
#else
	calls++;
#endif
	closure = ffi_closure_alloc(sizeof(*closure), &code);
	if (ffi_prep_closure_loc(closure, &cif, handle{i}, &calls, code) != FFI_OK) bad_result({i}, "closure");
	{ret[0]} (*fn)({', '.join([c for c, f in args[:fixed]] + (['...'] if var else [])) or 'void'});
	memcpy(&fn, &code, sizeof(fn));
	{'' if isvoid else 'got.r = '}fn({names});
{rcheck('got.r', 'closure')}	ffi_closure_free(closure);
	if (calls != 4) bad_result({i}, "calls");
}}
""")
    head = HEADER + "\n".join(t.decl) + "\n" + "\n".join(protos) + """
extern int calls, wrong;
void bad(int sig, int arg);
"""
    callee = '#include <stdarg.h>\n#include "sig.h"\nint calls, wrong;\n' + """
void bad(int sig, int arg)
{
	if (wrong++ < 20) printf("# signature %d: argument %d is wrong\\n", sig, arg);
}
""" + "\n".join(callees)
    caller = '#include <ffi.h>\n#include "sig.h"\n' + """
static void bad_result(int sig, const char *way)
{
	if (wrong++ < 20) printf("# signature %d: %s is wrong\\n", sig, way);
}
static size_t types_size(ffi_type *t) { return t->size; }
static bool isvoid_or_size(size_t a, size_t b, int isvoid) { return isvoid || a == b; }
""" + "\n".join(t.defs) + "\n" + "\n".join(callers) + "\nint main(void)\n{\n" + \
        "".join(f"\tcall{i}();\n" for i in range(count)) + "\treturn wrong != 0;\n}\n"
    return head, callee, caller


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--lib", required=True)
    p.add_argument("--include", required=True)
    p.add_argument("--count", type=int, default=400)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--cc", default="gcc")
    p.add_argument("--other-cc", default="clang")
    p.add_argument("--no-int128", action="store_true")
    p.add_argument("--vectors", default="", help="sizes of vectors in bytes: 8,16")
    p.add_argument("--keep", help="folder for the generated files")
    p.add_argument("--run", nargs=argparse.REMAINDER, default=[], help="command that runs the program")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        d = a.keep or tmp
        os.makedirs(d, exist_ok=True)
        n = failed = 0
        lib = os.path.abspath(a.lib)
        vectors = [int(size) for size in a.vectors.split(",") if size]
        # __int128 between gcc and clang before 18 does not follow the ABI: only within one compiler.
        rounds = [(a.cc, a.cc, not a.no_int128)]
        if a.other_cc:
            rounds += [(a.cc, a.other_cc, False), (a.other_cc, a.cc, False)]
        for number, (one, two, int128) in enumerate(rounds):
            seed = a.seed + number
            texts = generate(random.Random(seed), a.count, int128, vectors)
            for name, text in zip(("sig.h", "callee.c", "caller.c"), texts):
                with open(os.path.join(d, name), "w", encoding="utf-8") as f:
                    f.write(text)
            exe = os.path.join(d, "sig")
            flags = ["-w", "-Wno-psabi", "-fno-inline", "-I" + a.include, "-I" + d]
            jobs = []
            for c, src, opt in ((one, "callee", "-O1"), (two, "caller", "-O0")):
                obj = os.path.join(d, src + ".o")
                cmd = c.split() + flags + [opt, "-c", os.path.join(d, src + ".c"), "-o", obj]
                jobs.append((subprocess.Popen(cmd), obj))
            if any([job.wait() for job, _ in jobs]):
                print("Bail out! the compiler failed")
                return 1
            subprocess.run(a.cc.split() + [obj for _, obj in jobs] +
                           [lib, "-o", exe, "-Wl,-rpath," + os.path.dirname(lib)], check=True)
            for way, env in (("machine code", {}), ("assembly", {"FERRY_NO_JIT": "1"})):
                n += 1
                r = subprocess.run(a.run + [exe], env={**os.environ, **env}, text=True, capture_output=True)
                sys.stdout.write(r.stdout)
                sys.stderr.write(r.stderr)
                ok = r.returncode == 0
                failed += not ok
                print(f"{'ok' if ok else 'not ok'} {n} - {a.count} signatures, seed {seed}, "
                      f"functions by {one}, calls by {two}, {way}" + ("" if ok else f" # exit {r.returncode}"))
        print(f"1..{n}")
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
