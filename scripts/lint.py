#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the rules of docs/architecture.md that a script can check. Prints 'file:line: what' and exits 1."""
import glob
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAYERS = ["base", "isa", "code", "ffi", "btf", "map", "module", "prog", "helper", "verify", "vm",
          "jit", "bpf", "attach", "broker", "preload", "inject", "cli"]
# Engines know nothing of the verifier; facts reach them through prog.h.
FORBIDDEN = {"vm": {"verify"}, "jit": {"verify", "vm"}}
MAX_FILE, MAX_FUNC, MAX_TLS = 1000, 100, 1024
# Dispatch tables: long because they list every instruction.
LONG_FUNCS = {("src/vm", "vm_exec")}
# Read through ffi.h only, as in libffi.
NOT_ALONE = {"include/ffitarget.h"}
problems = []


def problem(path, line, what):
    problems.append(f"{path}:{line}: {what}")


def check_includes(path, lines):
    folder = path.split("/")[1]
    for n, text in enumerate(lines, 1):
        m = re.match(r'\s*#\s*include\s+"([^"/]+)/([^"]+)"', text)
        if not m or m[1] not in LAYERS:
            continue
        other, header = m[1], m[2]
        if LAYERS.index(other) > LAYERS.index(folder):
            problem(path, n, f"{folder} includes {other}, a layer below it")
        if other in FORBIDDEN.get(folder, ()):
            problem(path, n, f"{folder} must not know {other}")
        if other != folder and header.endswith("_int.h"):
            problem(path, n, f'"{other}/{header}" is private to {other}')


def check_sizes(path, lines):
    if len(lines) > MAX_FILE:
        problem(path, len(lines), f"{len(lines)} lines; at most {MAX_FILE}")
    start = None
    for n, text in enumerate(lines, 1):
        if text.startswith("{"):
            start = n
        elif text.startswith("}") and start:
            if n - start - 1 > MAX_FUNC:
                head, at = "", start - 2
                while at >= 0 and lines[at] and not re.search(r"[;}/\\]$", lines[at]):
                    head = lines[at] + " " + head
                    at -= 1
                names = re.findall(r"(\w+)\s*\(", head)
                name = names[0] if names else "?"
                if (os.path.dirname(path), name) not in LONG_FUNCS:
                    problem(path, start, f"{name} has {n - start - 1} lines; at most {MAX_FUNC}")
            start = None


def check_headers():
    for path in sorted(glob.glob("src/*/*.h") + glob.glob("include/**/*.h", recursive=True)):
        if path in NOT_ALONE:
            continue
        # A temporary unit: a header given as the main file draws warnings of its own.
        r = subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-Isrc", "-Iinclude", "-fsyntax-only", "-x", "c", "-"],
                           input=f'#include "{path}"\n', text=True, capture_output=True)
        if r.returncode:
            problem(path, 1, "does not compile alone: " + r.stderr.strip().splitlines()[0])


def symbols(path, dynamic):
    args = ["nm", "-D"] if dynamic else ["nm"]
    r = subprocess.run(args + ["--defined-only", "--extern-only", path], text=True, capture_output=True)
    for line in r.stdout.splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[1] in "TDBRVWi":
            yield parts[2].split("@")[0]


def check_symbols():
    lib = "build/libferry.so"
    if os.path.exists(lib):
        for name in symbols(lib, True):
            if not re.match(r"(ferry_|ffi_|_)", name):
                problem(lib, 0, f"exports {name}")
        # glibc has 1664 bytes for the thread-local data of all libraries that are loaded into a running process.
        r = subprocess.run(["readelf", "-lW", lib], text=True, capture_output=True)
        for size in re.findall(r"^  TLS +\S+ \S+ \S+ \S+ (0x[0-9a-f]+)", r.stdout, re.M):
            if int(size, 16) > MAX_TLS:
                problem(lib, 0, f"{int(size, 16)} bytes of thread-local data; at most {MAX_TLS}")
    objs = "build/libferry_objs.a"
    if os.path.exists(objs):
        for name in symbols(objs, False):
            if re.match(r"(bpf|btf|ffi)_", name):
                problem(objs, 0, f"internal symbol {name} may clash with a client's")


def check_text(path, lines):
    for n, text in enumerate(lines, 1):
        if re.search(r"https?://[^ ]*(deb\.debian|archive\.ubuntu|registry\.npm)", text):
            problem(path, n, "names a registry host")


def check_commands():
    """docs/commands.md has a row for each command of bpf(2)."""
    with open("src/btf/vmlinux_uapi.def", encoding="utf-8") as f:
        body = re.search(r"enum bpf_cmd \{(.*?)\}", f.read(), re.S)[1]
    with open("docs/commands.md", encoding="utf-8") as f:
        rows = re.findall(r"^\| `(BPF_\w+)`", f.read(), re.M)
    for name in re.findall(r"BPF_\w+", body):
        if name not in rows:
            problem("docs/commands.md", 1, f"says nothing of {name}")


def check_paths(path, lines, tree):
    """What a page links to or names as a file is there; names with a capital letter stand for several."""
    ends = {"/" + f for f in tree}
    for n, text in enumerate(lines, 1):
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            if not os.path.exists(os.path.join(os.path.dirname(path), link)):
                problem(path, n, f"leads to {link}, which is not there")
        for name in re.findall(r"`([\w./-]*\w\.(?:c|h|S|def|py|sh|map|md))`", text):
            if path == "README.md" and name in ("app.c", "sum.bpf.c") or re.search(r"[A-Z]", os.path.basename(name)):
                continue
            if not any(f.endswith("/" + name) for f in ends):
                problem(path, n, f"names {name}, which is not there")


def check_layers():
    """docs/architecture.md's table has the folders of src/ in their order."""
    with open("docs/architecture.md", encoding="utf-8") as f:
        rows = re.findall(r"^\| `src/(\w+)/` ", f.read(), re.M)
    if rows != LAYERS or sorted(rows) != sorted(os.path.basename(d) for d in glob.glob("src/*")):
        problem("docs/architecture.md", 1, f"its layers are {rows}, not {LAYERS}")


def main():
    os.chdir(ROOT)
    files = subprocess.run(["git", "ls-files"], text=True, capture_output=True).stdout.split("\n")
    for path in filter(None, files):
        if not path.endswith((".c", ".h", ".S", ".py", ".sh", ".build", ".def", ".md")):
            continue
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as f:
            lines = f.read().split("\n")[:-1]
        check_text(path, lines)
        if path.endswith(".md"):
            check_paths(path, lines, files)
        if path.endswith((".c", ".h")):
            check_sizes(path, lines)
            if path.startswith("src/"):
                check_includes(path, lines)
                if not lines or "SPDX-License-Identifier" not in lines[0]:
                    problem(path, 1, "no SPDX line")
                if len(lines) < 2 or not lines[1].startswith("/*"):
                    problem(path, 2, "does not say what the file is for")
    check_headers()
    check_symbols()
    r = subprocess.run([sys.executable, "scripts/helpers.py", "--check"], text=True, capture_output=True)
    problems.extend(r.stderr.splitlines())
    check_commands()
    check_layers()
    for p in problems:
        print(p, file=sys.stderr)
    return 1 if problems else 0


sys.exit(main())
