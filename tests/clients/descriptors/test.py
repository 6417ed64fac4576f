#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a client sees of its descriptors, under `ferry exec` or on the kernel: test.py FERRY|kernel CLIENT. TAP."""
import difflib
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tap import check, done, run, skip_all

FERRY, CLIENT = sys.argv[1:3]
HERE = os.path.dirname(os.path.abspath(__file__))
if FERRY == "kernel":
    probe = run(CLIENT)
    if os.geteuid() or "link: 0" not in probe.stdout.splitlines():
        skip_all("no bpf(2) of the kernel, or no perf_event_open(2)")


def same(name, result, out):
    with open(os.path.join(HERE, out)) as f:
        want = f.read()
    check(name, result.returncode == 0 and result.stdout == want,
          "\n".join(difflib.unified_diff(want.splitlines(), result.stdout.splitlines(), "the kernel", "here", n=1, lineterm="")) +
          "\n" + result.stderr)


def start(*command):
    return run(*command) if FERRY == "kernel" else run(FERRY, "exec", "--private", "--", *command)


same("descriptors_are_what_they_are_in_the_kernel", start(CLIENT), "descriptors.out")
with tempfile.TemporaryDirectory() as tmp:
    path = os.path.join(tmp, "socket")
    same("descriptors_pass_between_strangers",
         start("sh", "-c", f'timeout 60 "{CLIENT}" serve "{path}" & timeout 60 "{CLIENT}" call "{path}"; wait'), "passing.out")
done()
