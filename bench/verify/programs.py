#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Verifies real programs here and in the machine's kernel, and prints nanoseconds an instruction processed.

Usage: programs.py LOAD_TIME LIBFERRY_PRELOAD OBJECT...
"""
import os
import subprocess
import sys


def loads(command, preload, objects):
    env = dict(os.environ)
    if preload:
        env["LD_PRELOAD"] = preload
    # A process each, so that each shows the memory that it takes.
    return [subprocess.run([command, o], env=env, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
            for o in objects]


def figure(row):
    processed, took = int(row[2]), int(row[3])
    return took / processed if took > 0 and processed else None


def main():
    command, preload, *objects = sys.argv[1:]
    print(f"{'program':12} {'insns':>7} {'processed':>10} {'ns each':>8} {'peak MB':>8} | "
          f"{'kernel: processed':>17} {'ns each':>8} {'time ratio':>11}")
    for ours, theirs in zip(loads(command, preload, objects), loads(command, None, objects)):
        mine, other = figure(ours), figure(theirs)
        if not mine:
            print(f"{ours[0]}: refused ({ours[3]})", file=sys.stderr)
            return 1
        kernel = f"{'-':>17} {'-':>8} {'-':>11}"
        if other:
            kernel = f"{theirs[2]:>17} {other:8.0f} {int(ours[3]) / int(theirs[3]):10.2f}x"
        print(f"{ours[0]:12} {ours[1]:>7} {ours[2]:>10} {mine:8.0f} {int(ours[4]) / 1024:8.1f} | {kernel}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
