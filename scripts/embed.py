#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Texts as C strings, with the SHA-256 that a Content-Security-Policy names: embed.py OUT NAME=FILE..."""
import base64
import hashlib
import sys


def literal(text):
    out = []
    for line in text.splitlines(keepends=True):
        escaped = line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        out.append(f'\t"{escaped}"')
    return "\n".join(out)


with open(sys.argv[1], "w", encoding="utf-8") as f:
    f.write("/* Made by scripts/embed.py. */\n")
    for arg in sys.argv[2:]:
        name, path = arg.split("=", 1)
        with open(path, encoding="utf-8") as source:
            text = source.read()
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        f.write(f"static const char {name}[] =\n{literal(text)};\n")
        f.write(f'#define {name}_sha256 "sha256-{digest}"\n')
