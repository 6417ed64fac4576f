#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the session costs: starting a command, a target's memory, putting a probe into another process (and the same by the
kernel, as root). bench_share.py FERRY FOLDER-OF-PROGRAMS"""
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

FERRY, HERE = sys.argv[1:3]
RUNTIME = tempfile.mkdtemp(prefix="ferry-bench-", dir="/dev/shm")  # as XDG_RUNTIME_DIR is
ENV = dict(os.environ, XDG_RUNTIME_DIR=RUNTIME)
LOADER, TARGET, OBJECT = (os.path.join(HERE, n) for n in ("share_loader", "share_target", "share.bpf.o"))
EXEC = [FERRY, "exec", "--"]


def start(prefix, *args):
    p = subprocess.Popen([*prefix, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENV)
    return p, p.stdout.readline()


def end(p):
    p.stdin.close()
    p.wait()


def memory(p):
    """Of its own, KiB, and threads."""
    with open(f"/proc/{p.pid}/smaps_rollup") as f:
        own = sum(int(n) for n in re.findall(r"^Private_\w+:\s+(\d+)", f.read(), re.M))
    return own, len(os.listdir(f"/proc/{p.pid}/task"))


def took(args):
    before = time.perf_counter()
    subprocess.run(args, env=ENV, stdin=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - before) * 1e6


def attach(prefix):
    """Microseconds of libbpf's attach to a running process: its own look at the file included."""
    t, _ = start(prefix, TARGET)
    out = []
    for _ in range(25):
        a, line = start(prefix, LOADER, OBJECT, "entered", TARGET, "work", str(t.pid))
        m = re.match(r"attached (\d+)", line)
        if m:
            out.append(int(m[1]))
        end(a)
    end(t)
    return out


def told(times):
    """The quickest and the median: on a busy machine the former says what it costs."""
    return f"{min(times):6.0f} ({statistics.median(times):.0f}) us" if times else "refused"


try:
    keep, _ = start(EXEC, TARGET)
    alone = [took(["true"]) for _ in range(60)]
    session = [took([*EXEC, "true"]) for _ in range(60)]
    private = [took([FERRY, "exec", "--private", "--", "true"]) for _ in range(60)]
    print(f"a command                alone {told(alone)}   in the session {told(session)}   --private {told(private)}")
    plain, _ = start([], TARGET)
    a, _ = memory(plain)
    b, threads = memory(keep)
    loader, _ = start(EXEC, LOADER, OBJECT, "entered", TARGET, "work", str(keep.pid))
    c, _ = memory(keep)
    print(f"a target's own memory    alone {a:5} KiB   in the session {b:5} KiB ({threads} threads)   probed {c:5} KiB")
    for p in (plain, loader, keep):
        end(p)
    ours, kernel = attach(EXEC), attach([])
    print(f"a probe in another process, until it is in place   ferry {told(ours)}   kernel {told(kernel)}")
finally:
    shutil.rmtree(RUNTIME, ignore_errors=True)
