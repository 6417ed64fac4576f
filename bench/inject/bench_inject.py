#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long ferry attach takes and what it adds to a process, against gdb calling dlopen() in it: bench_inject.py FERRY
TARGET LIBRARY."""
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

FERRY, TARGET, LIBRARY = sys.argv[1:4]
ROUNDS = 11
RUNTIME = tempfile.mkdtemp(prefix="ferry-bench-")
ENV = {**{k: v for k, v in os.environ.items() if k != "FERRY_SESSION"}, "XDG_RUNTIME_DIR": RUNTIME, "DEBUGINFOD_URLS": ""}
GDB = shutil.which("gdb")


def memory(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return int(re.search(r"Private_Dirty:\s+(\d+)", f.read())[1])


def ferry(pid):
    r = subprocess.run([FERRY, "attach", "--json", str(pid)], capture_output=True, text=True, check=True, env=ENV)
    return json.loads(r.stdout)[0]["milliseconds"]


def detach(pid):
    r = subprocess.run([FERRY, "detach", "--json", str(pid)], capture_output=True, text=True, check=True, env=ENV)
    return json.loads(r.stdout)[0]["milliseconds"]


def gdb(pid):
    """Without the time it takes to start and to read symbols: from its first command to its last."""
    script = ["python import time; t = time.time()", f"attach {pid}",
              f"call ((void *(*)(const char *, int))dlopen)(\"{LIBRARY}\", 2)", "detach",
              "python print('took', (time.time() - t) * 1000)"]
    args = [GDB, "-nx", "-batch"]
    for s in script:
        args += ["-ex", s]
    r = subprocess.run(args, capture_output=True, text=True, env=ENV)
    return float(re.search(r"took ([\d.]+)", r.stdout)[1])


def measure(mode, way):
    times, added, pauses, leave = [], [], [], []
    for _ in range(ROUNDS):
        p = subprocess.Popen([TARGET, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        p.stdout.readline()
        time.sleep(0.05)
        before = memory(p.pid)
        times.append(way(p.pid))
        added.append(memory(p.pid) - before)
        if way == ferry:
            leave.append(detach(p.pid))
        pauses.append(int(p.communicate()[0]))
    return [statistics.median(x) if x else 0 for x in (times, added, pauses, leave)]


def quiet():
    """The longest time a busy process stands still by itself."""
    out = []
    for _ in range(ROUNDS):
        p = subprocess.Popen([TARGET, "busy"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        p.stdout.readline()
        time.sleep(0.1)
        out.append(int(p.communicate()[0]))
    return statistics.median(out)


try:
    # The session's broker starts with the first of them, and is not what is measured.
    first = subprocess.Popen([FERRY, "exec", "--", "sleep", "1000"], env=ENV)
    time.sleep(1)
    print("process            attach ms  detach ms  private KiB  longest pause us |   gdb ms  pause us  ratio")
    for mode in ("idle", "busy", "threads"):
        ms, kib, pause, leave = measure(mode, ferry)
        line = f"{mode:18} {ms:9.1f} {leave:10.1f} {kib:12.0f} {pause if mode == 'busy' else '':>17}"
        if GDB:
            theirs, _, stood, _ = measure(mode, gdb)
            line += f" | {theirs:8.0f} {stood if mode == 'busy' else '':>9} {ms / theirs:6.3f}"
        print(line, flush=True)
    print(f"a busy process that is left alone stands still for up to {quiet()} us")
finally:
    first.kill()
    shutil.rmtree(RUNTIME, ignore_errors=True)
