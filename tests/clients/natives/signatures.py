#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Random signatures of native functions, called by programs that clang compiled and by C that gcc compiled.

signatures.py --lib DIR --include DIR [--count N] [--seed N] [--cc CC] [--functions-cc CC] [--clang CLANG]
              [--bpf-flags FLAGS] [--keep DIR]

Three files share a header: functions that hash what arrived and make their result from that; a host that calls each
directly and runs the program that calls it, on the same arguments; those programs. The oracle is the C call: hash and
result have to be the same. Prints TAP: a line with programs as machine code, one with the interpreter.
"""
import argparse
import os
import random
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../libffi"))
import signatures as libffi  # noqa: E402

# Meson puts the build's libraries first: not for compilers, which use the system's libffi.
TOOLS = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}

# What a program can hold: no pointers without annotations, nothing above 8 bytes.
SCALARS = [s for s in libffi.SCALARS if s[1] not in ("pointer",) and "128" not in s[1] and "long" not in s[1]
           and "complex" not in s[1]] + [("_Bool", "uint8")]
SIZES = {"int8_t": 1, "uint8_t": 1, "_Bool": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4, "uint32_t": 4, "float": 4,
         "int64_t": 8, "uint64_t": 8, "double": 8}
MAX_STRUCT, MAX_ARGS, MAX_STACK = 256, 16, 360  # bytes, arguments, bytes that a program's stack has for a call


class Types(libffi.Types):
    """The same structs, of what programs can hold."""

    def scalar(self, variadic=False):
        c, f = self.rng.choice(SCALARS)
        return c, f"&ffi_type_{f}"

    def size(self, c):
        """At most so many bytes."""
        if c in SIZES or c == "void":
            return SIZES.get(c, 0)
        body = self.decl[self.names.index(c.split()[1])].split("{", 1)[1].split("}", 1)[0]
        return sum((self.size(m[1]) + 7) // 8 * 8 * int(m[3] or 1)
                   for m in re.finditer(r"((?:struct )?\w+) (\w+)(?:\[(\d)\])?;", body))

    def structs(self):
        return [d.split("\n")[0] for d in self.decl]


tag = libffi.tag
HASH = r"""
#define MIX(t, x) mix_##t(&(x))
extern uint64_t seen;
static inline void mix(const void *p, size_t n) {
	const unsigned char *b = p;
	while (n--) seen = (seen ^ *b++) * 0x100000001b3;
}
#define MIXED(t, c) static inline void mix_##t(const c *p) { mix(p, sizeof(*p)); }
/* As long: a callee may take it that a small integer was extended to int. */
#define WIDENED(t) static inline void mix_##t(const t *p) { int64_t w = *p; mix(&w, sizeof(w)); }
WIDENED(int8_t) WIDENED(uint8_t) WIDENED(int16_t) WIDENED(uint16_t) WIDENED(int32_t) WIDENED(uint32_t)
WIDENED(int64_t) WIDENED(uint64_t)
MIXED(float, float) MIXED(double, double) MIXED(_Bool, _Bool)
static inline void fill__Bool(_Bool *p) { *p = rnd() >> 40 & 1; }
static inline bool same__Bool(const _Bool *a, const _Bool *b) { return !memcmp(a, b, 1); }
#undef TYPE_FUNCS
#define TYPE_FUNCS(t, c, f, s, m) \
	static inline void fill_##t(c *p) { f } \
	static inline bool same_##t(const c *a, const c *b) { return s; } \
	static inline void mix_##t(const c *p) { m }
"""


def draw(t, rng):
    """Result and arguments, within what a prototype and a program's stack allow."""
    while True:
        n = rng.choice([0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 10, 12, MAX_ARGS])
        args = [t.any()[0] for _ in range(n)]
        ret = "void" if rng.random() < 0.08 else t.any()[0]
        sizes = [t.size(c) for c in args + [ret]]
        if max(sizes) <= MAX_STRUCT and sum((s + 7) // 8 * 8 for s in sizes) <= MAX_STACK:
            return ret, args


def is_struct(c):
    return c.startswith("struct")


def program(i, ret, args):
    """The program that makes call `i`: its declarations and itself."""
    block = len(args) + is_struct(ret) > 5
    first = [f"{ret} *result"] if is_struct(ret) else []
    body = [f"\t{ret} result;"] if is_struct(ret) else []
    call = ["&result"] if is_struct(ret) else []
    decl = ""
    if block:
        decl = f"struct f{i}_args {{ {' '.join(f'{c} a{k};' for k, c in enumerate(args))} }};\n"
        params = first + [f"const struct f{i}_args *args"]
        # Padding counts as memory that has to be written.
        body += [f"\tstruct f{i}_args args;", "\t__builtin_memset(&args, 0, sizeof(args));",
                 '\tasm volatile("" : : "r"(&args) : "memory");']
        body += [f"\targs.a{k} = ctx->a{k};" for k in range(len(args))]
        call.append("&args")
    else:
        params = first + [f"const {c} *a{k}" if is_struct(c) else f"{c} a{k}" for k, c in enumerate(args)]
        for k, c in enumerate(args):
            if is_struct(c):
                body.append(f"\t{c} a{k};\n\t__builtin_memcpy(&a{k}, &ctx->a{k}, sizeof(a{k}));")
            call.append(f"&a{k}" if is_struct(c) else f"ctx->a{k}")
    calls = f"f{i}({', '.join(call)});"
    if is_struct(ret):
        body += [f"\t{calls}", "\t__builtin_memcpy(&ctx->result, &result, sizeof(result));"]
    else:
        body.append(f"\t{calls}" if ret == "void" else f"\tctx->result = {calls}")
    decl += f"extern {'void' if is_struct(ret) else ret} f{i}({', '.join(params) or 'void'}) __ksym;\n"
    body = "\n".join(body)
    return f"{decl}SEC(\"syscall\") int p{i}(struct ctx{i} *ctx)\n{{\n{body}\n\treturn 0;\n}}\n"


def generate(rng, count):
    t = Types(rng, False)
    ctxs, protos, callees, hosts, programs = [], [], [], [], []
    for i in range(count):
        ret, args = draw(t, rng)
        plist = ", ".join(f"{c} a{k}" for k, c in enumerate(args)) or "void"
        result = "" if ret == "void" else f" {ret} result;"
        ctxs.append(f"struct ctx{i} {{ uint64_t first; {' '.join(f'{c} a{k};' for k, c in enumerate(args))}{result} }};")
        protos.append(f"{ret} f{i}({plist})")
        mixed = "".join(f"\tMIX({tag(c)}, a{k});\n" for k, c in enumerate(args))
        made = "" if ret == "void" else f"\t{ret} r; memset(&r, 0, sizeof(r)); FILL({tag(ret)}, r);\n\treturn r;\n"
        callees.append(f"{protos[-1]}\n{{\n\tseen = {i} + 1;\n{mixed}\tstate = seen | 1;\n{made}}}\n")
        fills = "".join(f"\t\tFILL({tag(c)}, c.a{k});\n" for k, c in enumerate(args))
        call = f"{'' if ret == 'void' else 'c.result = '}f{i}({', '.join(f'c.a{k}' for k in range(len(args)))});"
        same = "" if ret == "void" else f" || !SAME({tag(ret)}, c.result, p.result)"
        hosts.append(f"""
static void check{i}(struct bpf_object *obj)
{{
	struct ferry_runner *r = runner(obj, "p{i}", sizeof(struct ctx{i}));
	struct ctx{i} c, p;
	uint64_t direct;
	for (int round = 0; r && round < 4; round++) {{
		memset(&c, 0x5a, sizeof(c));
		state = {rng.getrandbits(60) | 1:#x}u + 2 * round;
{fills}		memcpy(&p, &c, sizeof(p));
		{call}
		direct = seen;
		seen = 0;
		ferry_runner_run(r, &p);
		if (seen != direct) bad("p{i}", "arguments");
		else if (0{same}) bad("p{i}", "result");
	}}
	ferry_runner_free(r);
}}""")
        programs.append(program(i, ret, args))
    fixed = [re.sub(r"(TYPE_FUNCS\((\w+), struct \w+, (.*;), SAME.*)\)$",
                    lambda m: f"{m[1]}, {m[3].replace('FILL(', 'MIX(')})", d) for d in t.decl]
    head = libffi.HEADER + HASH + "\n".join(fixed + ctxs) + "\n" + "".join(f"{p};\n" for p in protos)
    callee = '#include "sig.h"\nuint64_t seen;\n' + "\n".join(callees)
    ints = "".join(f"typedef __{'us'[sign]}{8 * n} {'u' * (not sign)}int{8 * n}_t;\n" for n in (1, 2, 4, 8) for sign in (0, 1))
    bpf = "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n" + ints + \
        "\n".join(t.structs() + ctxs) + "\n" + "\n".join(programs) + 'char LICENSE[] SEC("license") = "GPL";\n'
    host = HOST + "static const char types[] =\n" + "".join(f'\t"{s}\\n"\n' for s in t.structs()) + '\t"";\n' + \
        "static const struct ferry_func funcs[] = {\n" + \
        "".join(f'\tFERRY_FUNC("{p}", f{i}),\n' for i, p in enumerate(protos)) + "};\n" + "\n".join(hosts) + \
        MAIN + "".join(f"\tcheck{i}(obj);\n" for i in range(count)) + "\treturn wrong != 0;\n}\n"
    return {"sig.h": head, "callee.c": callee, "host.c": host, "sig.bpf.c": bpf}


HOST = r"""
#include "sig.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
static int wrong;
static void bad(const char *prog, const char *what)
{
	if (wrong++ < 20) printf("# %s: %s differ\n", prog, what);
}
static struct ferry_runner *runner(struct bpf_object *obj, const char *name, size_t size)
{
	struct bpf_program *p = bpf_object__find_program_by_name(obj, name);
	struct ferry_runner *r;
	if (p && !ferry_runner_new(bpf_program__fd(p), size, &r)) return r;
	bad(name, "runner");
	return NULL;
}
"""
MAIN = r"""
int main(int argc, char **argv)
{
	static const struct ferry_module mod = { sizeof(mod), "signatures", types, funcs, sizeof(funcs) / sizeof(*funcs) };
	struct bpf_object *obj;
	if (argc != 2 || ferry_module_register(&mod)) return 2;
	obj = bpf_object__open_file(argv[1], NULL);
	if (!obj || bpf_object__load(obj)) return 3;
"""


def build(a, d):
    flags = ["-w", "-I" + a.include, "-I" + d]
    path = lambda name: os.path.join(d, name)
    jobs = [subprocess.Popen([a.clang] + a.bpf_flags.split() + ["-g", "-O2", "-w", "-target", "bpf", "-mcpu=v3", "-c",
                                                                path("sig.bpf.c"), "-o", path("sig.bpf.o")], env=TOOLS)]
    # Inlined, the functions read their arguments where they arrived.
    for src, cc, opt in (("callee", a.functions_cc or a.cc, ["-O2", "-finline"]), ("host", a.cc, ["-O0"])):
        jobs.append(subprocess.Popen(cc.split() + flags + opt + ["-c", path(src + ".c"), "-o", path(src + ".o")],
                                     env=TOOLS))
    if any([job.wait() for job in jobs]):
        return False
    lib = os.path.abspath(a.lib)
    return not subprocess.run(a.cc.split() + [path("callee.o"), path("host.o"), "-o", path("host"), "-L" + lib, "-lferry",
                                              "-lbpf", "-Wl,-rpath," + lib], env=TOOLS, check=False).returncode


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--lib", required=True)
    p.add_argument("--include", required=True)
    p.add_argument("--count", type=int, default=200)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--cc", default="gcc")
    p.add_argument("--functions-cc", default="clang", help="of the functions; clang's trust that callers extend")
    p.add_argument("--clang", default="clang")
    p.add_argument("--bpf-flags", default="")
    p.add_argument("--keep", help="folder for the generated files")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        d = a.keep or tmp
        os.makedirs(d, exist_ok=True)
        for name, text in generate(random.Random(a.seed), a.count).items():
            with open(os.path.join(d, name), "w", encoding="utf-8") as f:
                f.write(text)
        if not build(a, d):
            print("Bail out! the compiler failed")
            return 1
        failed = 0
        for n, (way, env) in enumerate((("machine code", {}), ("interpreted", {"FERRY_NO_JIT": "1"}))):
            r = subprocess.run([os.path.join(d, "host"), os.path.join(d, "sig.bpf.o")], env={**os.environ, **env},
                               text=True, capture_output=True, check=False)
            sys.stdout.write(r.stdout)
            sys.stderr.write(r.stderr)
            failed += r.returncode != 0
            print(f"{'not ok' if r.returncode else 'ok'} {n + 1} - {a.count} signatures, seed {a.seed}: programs give "
                  f"what C gives, {way}" + (f" # exit {r.returncode}" if r.returncode else ""))
        print("1..2")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
