#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs built with Debian's libffi-dev run on our libffi.so.8. TAP.

debian.py --lib OUR-LIBFFI --include OUR-INCLUDE --debian-include DIR --debian-lib LIBFFI
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import signatures  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
results = []


def check(good, name, why=""):
    results.append(good)
    if why and not good:
        print("\n".join("# " + line for line in why.splitlines()[:40]))
    print(f"{'ok' if good else 'not ok'} {len(results)} - {name}")


def compile_c(sources, include, lib, exe):
    subprocess.run(["gcc", "-w", "-Wno-psabi", "-O1", "-I" + include, *sources, lib, "-o", exe], check=True)


def run(exe, path):
    env = {**os.environ, "LD_LIBRARY_PATH": path} if path else os.environ
    r = subprocess.run([exe], env=env, text=True, capture_output=True, check=False)
    return r.returncode, r.stdout + r.stderr


def symbols(lib):
    """Exported names with their versions; sizes of the data, which programs copy into themselves."""
    out = subprocess.run(["nm", "-D", "-S", "--defined-only", "--with-symbol-versions", lib], text=True,
                         capture_output=True, check=True).stdout
    names = {}
    for fields in (line.split() for line in out.splitlines()):
        kind, name = fields[-2:]
        names[name] = fields[1] if kind in "DBR" and len(fields) == 4 else ""
    return names


def main():
    p = argparse.ArgumentParser()
    for option in ("lib", "include", "debian-include", "debian-lib"):
        p.add_argument("--" + option, required=True)
    a = p.parse_args()
    if not os.path.exists(os.path.join(a.debian_include, "ffi.h")) or not os.path.exists(a.debian_lib):
        print("1..0 # SKIP libffi-dev is not installed")
        return 0
    with tempfile.TemporaryDirectory() as d:
        os.symlink(os.path.abspath(a.lib), os.path.join(d, "libffi.so.8"))
        theirs, ours = symbols(a.debian_lib), symbols(a.lib)
        lack = [n for n, size in theirs.items() if n not in ours or size != ours[n]]
        check(theirs and not lack, "every_versioned_symbol_of_debians_is_in_ours", " ".join(lack))

        exe = os.path.join(d, "layout")
        source = [os.path.join(HERE, "layout.c")]
        compile_c(source, a.include, a.lib, exe + "-ours")
        compile_c(source, a.debian_include, a.debian_lib, exe)
        want, got = run(exe, ""), run(exe + "-ours", d)
        differ = [f"{x} | {y}" for x, y in zip(want[1].splitlines(), got[1].splitlines()) if x != y]
        check(want[0] == 0 and want == got, "layouts_and_numbers_of_the_headers_agree", "\n".join(differ))
        check(run(exe, d) == want, "built_with_debians_and_run_on_ours", run(exe, d)[1])

        # Random signatures, also compiled against Debian's header: what that libffi lacks is left out.
        texts = signatures.generate(random.Random(7), 200, False, [])
        for name, text in zip(("sig.h", "callee.c", "caller.c"), texts):
            with open(os.path.join(d, name), "w", encoding="utf-8") as f:
                f.write(text)
        exe = os.path.join(d, "sig")
        compile_c([os.path.join(d, "callee.c"), os.path.join(d, "caller.c")], a.debian_include, a.debian_lib, exe)
        code, out = run(exe, d)
        check(code == 0, "two_hundred_signatures_built_with_debians_run_on_ours", f"exit {code}\n{out}")
    print(f"1..{len(results)}")
    return 0 if all(results) else 1


sys.exit(main())
