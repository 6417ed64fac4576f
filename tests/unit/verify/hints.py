#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every place where the verifier refuses says what would be right: hints.py SOURCE-FOLDER. TAP.

Reads the calls of the functions that refuse out of the sources, so that a new one without a hint fails.
"""
import glob
import os
import re
import sys

# Function -> which argument is the hint, from 0.
REFUSERS = {"refuse": 2, "arg_error": 3}
HANDED_ON = {"hint"}  # a parameter of a function whose own callers give it


def arguments(text, start):
    """The arguments of the call whose '(' is at start, as text."""
    depth, i, args, at = 0, start, [], start + 1
    while i < len(text):
        c = text[i]
        if c == '"' or c == "'":
            i += 1
            while text[i] != c:
                i += 2 if text[i] == "\\" else 1
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
            if depth == 0:
                return args + [text[at:i].strip()]
        elif c == "," and depth == 1:
            args.append(text[at:i].strip())
            at = i + 1
        i += 1
    return args


def macros(text):
    return dict(re.findall(r'#define (\w+_HINT)\s+(".*")', text))


def is_hint(arg, known):
    """A string of some words, or a choice between two such."""
    arg = known.get(arg, arg)
    if arg in HANDED_ON:
        return True
    # Each string of some words is an S.
    short = re.sub(r'("(?:[^"\\\n]|\\.)*"\s*)+', lambda m: "S" if len(m[0].strip()) >= 10 else "", arg)
    return bool(re.fullmatch(r"S|[^?]*\?\s*S:\s*S", short))


def without_comments(text):
    return re.sub(r"/\*.*?\*/", lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.S)


def main():
    sites = bad = 0
    for path in sorted(glob.glob(os.path.join(sys.argv[1], "src/verify/*.c"))):
        with open(path, encoding="utf-8") as f:
            text = without_comments(f.read())
        known = macros(text)
        for m in re.finditer(r"\b(refuse|arg_error)\(", text):
            line = text.count("\n", 0, m.start()) + 1
            if re.match(r"(static )?int ", text[text.rfind("\n", 0, m.start()) + 1:m.start()]):
                continue  # its definition
            args = arguments(text, m.end() - 1)
            sites += 1
            if len(args) <= REFUSERS[m[1]] or not is_hint(args[REFUSERS[m[1]]], known):
                bad += 1
                print(f"# {os.path.basename(path)}:{line}: refuses without a hint: {' '.join(' '.join(args).split())[:90]}")
    print(f"# {sites} places")
    print(("ok" if not bad else "not ok") + " 1 - every_refusal_says_what_would_be_right")
    print(("ok" if sites >= 100 else "not ok") + " 2 - the_places_are_found")
    print("1..2")
    return 1 if bad or sites < 100 else 0


sys.exit(main())
