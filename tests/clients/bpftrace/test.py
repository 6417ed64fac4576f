#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One-liners of Debian's bpftrace, unmodified, under `ferry exec --root`: test.py FERRY. TAP."""
import json
import os
import re
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tap import check, done, run, skip_all

FERRY = sys.argv[1]

if not shutil.which("bpftrace"):
    skip_all("bpftrace is not installed")
# It runs for user 0 only.
r = run(FERRY, "exec", "--private", "--root", "--", "id", "-u")
check("root_is_told_that_it_is_user_0", r.stdout == "0\n", r.all)
r = run(FERRY, "exec", "--private", "--root", "--", "grep", "^Uid:", "/proc/self/status")
check("to_the_kernel_it_is_who_it_was", r.stdout.split() == ["Uid:"] + 4 * [str(os.geteuid())], r.all)


def one(name, program, pattern, *options):
    r = run(FERRY, "exec", "--private", "--root", "--", "bpftrace", *options, "-e", program)
    check(name, r.returncode == 0 and "ERROR" not in r.stderr and re.search(pattern, r.stdout, re.S), r.all)


def as_json(name, program, want):
    """`want`: what must be printed, by type."""
    r = run(FERRY, "exec", "--private", "--root", "--", "bpftrace", "-f", "json", "-e", program)
    got = [json.loads(x) for x in r.stdout.splitlines() if x.startswith("{")]
    got = {x["type"]: x["data"] for x in got if x["type"] != "attached_probes"}
    check(name, r.returncode == 0 and got == want, r.all)


one("begin_and_end_run_once", r'BEGIN { printf("first %d\n", 6 * 7); exit(); } END { printf("last\n"); }',
    r"first 42\n.*last\n")
one("maps_have_several_keys", "BEGIN { @a[1,2] = 3; @a[4,5] = 6; delete(@a[1,2]); exit(); }", r"@a\[4, 5\]: 6\n")
# 0, 1, 4, 9, 16: their sum, mean and extremes.
as_json("maps_aggregate", "BEGIN { $i = 0; while ($i < 5) { $v = $i * $i; @c = count(); @s = sum($v); @a = avg($v);"
        "@lo = min($v); @hi = max($v); $i++; } exit(); } END { clear(@lo); clear(@c); clear(@a); clear(@hi); }",
        {"map": {"@s": 30}})
as_json("power_of_two_histogram", "BEGIN { @h = hist(3); @h = hist(10); @h = hist(15); exit(); }",
        {"hist": {"@h": [{"min": 2, "max": 3, "count": 1}, {"min": 4, "max": 7, "count": 0},
                         {"min": 8, "max": 15, "count": 2}]}})
as_json("linear_histogram", "BEGIN { @h = lhist(7, 0, 10, 2); @h = lhist(6, 0, 10, 2); exit(); }",
        {"hist": {"@h": [{"min": 6, "max": 7, "count": 2}]}})
one("intervals_come_again", r'interval:ms:50 { @n++; if (@n == 3) { exit(); } } END { printf("n %d\n", @n); }', r"n 3\n")
# It waits, so the ticks are those of processors that nobody of the session uses: one each, 99 times a second.
r = run(FERRY, "exec", "--root", "--", "bpftrace", "-f", "json", "-e",
        "profile:hz:99 { @[comm] = count(); @pid[pid] = count(); } interval:ms:500 { exit(); }")
got = [json.loads(x)["data"] for x in r.stdout.splitlines() if x.startswith('{"type": "map"')]
got = {k: v for x in got for k, v in x.items()}
ticks = sum(v for k, v in got.get("@", {}).items() if k.startswith("swapper/"))
check("profile_ticks_once_a_period_and_processor", r.returncode == 0 and ticks == got["@pid"].get("0") and
      20 <= ticks <= 60 * os.cpu_count(), r.all)
one("software_clock_runs", "software:cpu-clock:10000000 { @ = count(); } interval:ms:300 { exit(); }", r"@: \d\d")
LIBC = f"/lib/{os.uname().machine}-linux-gnu/libc.so.6"  # it waits for its own buffers there
one("uprobe_in_its_own_process", f"uprobe:{LIBC}:epoll_wait {{ @ = count(); }} interval:ms:300 {{ exit(); }}", r"@: [1-9]")
one("strings_are_compared", r'BEGIN { printf("%s %d\n", strncmp(comm, "bpftrace", 8) == 0 ? "same" : "other", pid == tid); exit(); }',
    r"same 1\n")
r = run(FERRY, "exec", "--private", "--root", "--", "bpftrace", "-l", "tracepoint:syscalls:sys_enter_execve*")
check("tracepoints_are_listed", "tracepoint:syscalls:sys_enter_execve\n" in r.stdout, r.all)
done()
