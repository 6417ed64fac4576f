#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A debugger stopped below a call and a closure shows who called. gdb.py UNWIND-PROGRAM. TAP."""
import os
import shutil
import subprocess
import sys

# Frames that must be there, from the inside out.
WANT = ["stop_here", "outermost", "main"]


def main():
    if not shutil.which("gdb"):
        print("1..0 # SKIP gdb is not installed")
        return 0
    bad = 0
    ways = (("machine code", {}, ["ferry_code"]), ("assembly", {"FERRY_NO_JIT": "1"}, ["call_regs_sysv"]))
    for number, (way, env, between) in enumerate(ways, 1):
        r = subprocess.run(["gdb", "-batch", "-nx", "-ex", "set debuginfod enabled off", "-ex", "break stop_here",
                            "-ex", "run", "-ex", "bt", "--args", sys.argv[1], "stop"],
                           env={**os.environ, "HOME": "/nonexistent", **env}, text=True, capture_output=True, check=False)
        if "Breakpoint 1, stop_here" not in r.stdout:
            # No ptrace here, or no debugger's idea of this machine.
            print("1..0 # SKIP gdb cannot run a program here: " + (r.stderr.strip().splitlines() or [""])[-1])
            return 0
        frames = [line for line in r.stdout.splitlines() if line.startswith("#")]
        at = -1
        good = True
        for name in WANT[:1] + between + WANT[1:]:
            at = next((i for i in range(at + 1, len(frames)) if f" {name} (" in frames[i] or f"{name} ()" in frames[i]), None)
            if at is None:
                good, at = False, len(frames)
        bad += not good
        if not good:
            print("\n".join("# " + line for line in r.stdout.splitlines()))
        print(f"{'ok' if good else 'not ok'} {number} - gdb_shows_a_backtrace_through_call_and_closure, {way}")
    print(f"1..{len(ways)}")
    return 1 if bad else 0


sys.exit(main())
