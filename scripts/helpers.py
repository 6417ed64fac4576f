#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes docs/helpers.md of src/helper's tables. With --check: says what is stale or unexplained, exits 1."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEAD = """# Helpers

Every helper function of Linux 6.1 (bpf-helpers(7)): done here, or why not; and the kernel's kfuncs that there are. Made by
`scripts/helpers.py` from `src/helper/helper.def`, `src/helper/missing.def` and `src/helper/kfunc.def`; do not edit.

| number | helper | program types | here |
|---|---|---|---|
"""
KFUNCS = """
## kfuncs

Declared `__ksym`, as for the kernel, by programs with a GPL-compatible license. Other kfuncs are not there.

| kfunc | program types |
|---|---|
"""
TYPES = {"BASE": "all", "TRACING": "tracing", "KPROBE": "kprobe", "SKB": "socket filters, traffic control, control groups",
         "TC": "traffic control", "XDP": "XDP", "SYSCALL": "syscall"}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)


def done():
    """Name to the groups of program types that may call it."""
    rows = re.findall(r"^(?:HELPER|TAIL)\((\w+),\s*(.*?)\)\n(?=\S|\n|$)", read("src/helper/helper.def"), re.M | re.S)
    found = {}
    for name, rest in rows:
        args = [a.strip() for a in rest.split(",")]
        words = re.findall(r"(?:HELPERS_)?([A-Z]+)", args[2] if len(args) > 2 else "")
        found[name] = ", ".join(TYPES[w] for w in words if w in TYPES)
    return found


def kfuncs():
    rows = re.findall(r"^KFUNC\((\w+),[^,]*,[^,]*,([^,]*),", read("src/helper/kfunc.def"), re.M)
    return [(name, ", ".join(TYPES[w] for w in re.findall(r"\w+", groups) if w in TYPES)) for name, groups in rows]


def missing():
    why = {}
    for reason, names in re.findall(r'^MISSING\("(.*?)",(.*?)\)', read("src/helper/missing.def"), re.M | re.S):
        for name in re.findall(r"\w+", names):
            why[name] = reason
    return why


def main():
    # In the order of enum bpf_func_id; 0 is none and the last one their number.
    names = re.findall(r"\bBPF_FUNC_(\w+)", read("src/btf/vmlinux_uapi.def"))
    names = [n for n in names if n != "MAX_ID"]
    here, why = done(), missing()
    problems = [f"src/helper/missing.def: says nothing of {n}" for n in names[1:] if n not in here and n not in why]
    problems += [f"src/helper/missing.def: {n} is there by now" for n in why if n in here]
    text = HEAD
    for number, name in enumerate(names[1:], 1):
        state = "done" if name in here else "no: " + why.get(name, "?")
        text += f"| {number} | `bpf_{name}` | {here.get(name, '')} | {state} |\n"
    count = sum(n in here for n in names[1:])
    text += f"\n{count} of {len(names) - 1} are done.\n"
    text += KFUNCS + "".join(f"| `{name}` | {types} |\n" for name, types in kfuncs())
    path = os.path.join(ROOT, "docs/helpers.md")
    if "--check" in sys.argv:
        with open(path, encoding="utf-8") as f:
            if f.read() != text:
                problems.append("docs/helpers.md: is not what the tables say: run scripts/helpers.py")
    else:
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
    for p in problems:
        print(p, file=sys.stderr)
    return 1 if problems else 0


sys.exit(main())
