#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every figure that events have a goal for, in one table: ours, the kernel's in the same run, the goal, and 'missed' where it is
missed. Runs the other benchmarks of events (attach, attach_calls, inject, load) and reads what they print.
bench_events.py BENCH_ATTACH HITS BENCH_CALLS CALLS BENCH_INJECT FERRY TARGET LIBRARY BENCH_LOAD LOADER LOAD"""
import os
import re
import statistics
import subprocess
import sys

ATTACH, HITS, CALLS, CALLS_OBJECT, INJECT, FERRY, TARGET, LIBRARY, LOAD, LOADER, LOAD_OBJECT = sys.argv[1:12]
ROUNDS = 3

# The row of a benchmark, and how many times less than the kernel's, or how many ns at most.
HITS_GOALS = [
    ("uprobe, counter", 200, None), ("uprobe on a 5-byte nop, counter", 10, None), ("uprobe, counter in a hash", 200, None),
    ("uprobe, ring buffer record", 200, None), ("uprobe, another process meant", 200, None),
    ("uretprobe, counter", 100, None), ("uretprobe on a 5-byte nop", 10, None), ("uretprobe, ring buffer record", 100, None),
    ("USDT, two arguments, counter", 10, None)]
CALLS_GOALS = [
    ("syscalls:sys_enter_X, counter", 1, 40), ("raw_syscalls:sys_enter, counter", 1, 40),
    ("raw tracepoint sys_enter, counter", 1, 40), ("syscalls:sys_enter_X, ring buffer record", 1, None),
    ("another process meant", 1, 40), ("another call's event", 1, 40)]


def output(*args):
    r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return r.stdout


def rows(text):
    """Name to the numbers behind it."""
    out = {}
    for line in text.splitlines():
        m = re.match(r"(\S.*?)\s{2,}([-\d. ()%a-z|]+)$", line)
        if m:
            out[m[1]] = [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", m[2])]
    return out


def several(*args):
    """Medians of some runs, and what they printed first."""
    texts = [output(*args) for _ in range(ROUNDS)]
    found = [rows(t) for t in texts]
    return {name: [statistics.median(x) for x in zip(*(f[name] for f in found if name in f))] for name in found[0]}, texts


def line(name, ours, kernel, goal, verdict):
    print(f"{name:44} {ours:>12} {kernel:>12}   {goal:34} {verdict}", flush=True)


def compared(found, goals, what):
    for name, times, most in goals:
        n = found.get(name, [])
        if not n:
            line(name, "-", "-", "", "not measured")
            continue
        ours, kernel = n[0], n[1] if len(n) > 2 else None
        missed = (kernel and ours * times > kernel) or (most and ours > most)
        goal = (f"1/{times} of the kernel's" if times > 1 else "at most the kernel's") + (f" and {most} ns" if most else "")
        said = f"{kernel / ours:.{0 if kernel > 10 * ours else 1}f} times less" if kernel and ours > 0 and kernel > ours else f"{ours - (kernel or 0):.0f} ns more" if kernel else ""
        line(what + name, f"{ours:.1f} ns", f"{kernel:.1f} ns" if kernel else "-", goal, ("missed: " if missed else "") + said)


def loads(text):
    """Of each server: the loss of requests a second (median) and the growth of its CPU time for one (best), in %."""
    server = None
    for ln in text.splitlines():
        m = re.match(r"(kernel|ferry)(, filtered|, not attached)?\s+\d+\s+(-?[\d.]+) \(.*?\)\s+[\d.]+\s+(-?[\d.]+)\s", ln)
        if not m:
            server = ln if ln.startswith(("redis", "nginx")) else server
            continue
        yield server, m[1], m[2] or "", float(m[3]), float(m[4])


def under_load():
    found = {}
    for server, who, how, lost, more in loads(output(LOAD, FERRY, LOADER, LOAD_OBJECT)):
        found.setdefault((server, how), {})[who] = (lost, more)
    for (server, how), by in found.items():
        if "ferry" not in by:
            continue
        name = f"{server.split(',')[0]}{', pipelines' if 'pipe' in server else ''}{how or ', ten programs'}"
        (lost, more), (their_lost, their_more) = by["ferry"], by.get("kernel", (None, None))
        free = "attached" in how
        missed = more > 3 if free else their_more is not None and more > their_more
        line(name + ": CPU time", f"{more:+.1f} %", f"{their_more:+.1f} %" if their_more is not None else "-",
             "nothing measurable (3 %)" if free else "less than the kernel's", "missed" if missed else "")
        line(name + ": requests lost", f"{lost:+.1f} %", f"{their_lost:+.1f} %" if their_lost is not None else "-", "", "")


print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; medians of {ROUNDS} runs (under load as `bench load` says)")
line("", "Ferry", "kernel", "goal", "")
compared(several(ATTACH, HITS)[0], HITS_GOALS, "")
found, texts = several(CALLS, CALLS_OBJECT)
compared(found, CALLS_GOALS, "")
alone = [[float(n) for n in re.search(r"takes ([\d.]+) ns.* ([\d.]+) ns", t).groups()] for t in texts]
here, without = (statistics.median(x) for x in zip(*alone))
line("a system call, nothing attached", f"{here:.1f} ns", f"{without:.1f} ns", "nothing measurable (3 %)",
     "missed" if without and here > 1.03 * without else "")
inject = rows(output(INJECT, FERRY, TARGET, LIBRARY))
for mode in ("idle", "busy", "threads"):
    if mode in inject:
        n = inject[mode]
        line(f"attach to a running process, {mode}", f"{n[0]:.1f} ms", "-", "(none; gdb's dlopen is beside it)", "")
        line(f"memory added to it, {mode}", f"{n[2]:.0f} KiB", "-", "(none)", "")
under_load()
