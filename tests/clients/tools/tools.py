#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bcc's everyday tools, unmodified, on programs that run: tools.py FERRY. Each must see what the target did. TAP."""
import os
import re
import shutil
import signal
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
from drive import PYTHON, Session, need_bcc, tool  # noqa: E402
from tap import check, done, run, skip  # noqa: E402

need_bcc()
EXE = os.path.realpath(PYTHON)
RUNTIME = tempfile.mkdtemp(prefix="ferry-tools-")
s = Session(sys.argv[1], RUNTIME)


def on_python():
    """What the interpreter and its libc are told to do, so and so often."""
    t = s.python()
    t.say("import ctypes; libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p", "done")

    def copies():
        t.say("for i in range(37): {}.copy()", "done")

    out = s.watch(tool("funccount", "-p", t.pid, f"{EXE}:PyDict_Copy"), "Tracing", copies, sig=signal.SIGINT)
    check("funccount_counts_calls", re.search(r"^PyDict_Copy +37$", out, re.M), out)
    out = s.watch(tool("funclatency", "-p", t.pid, f"{EXE}:PyDict_Copy"), "Tracing", copies, sig=signal.SIGINT)
    check("funclatency_times_each_call", "count: 37" in out, out)
    out = s.watch(tool("stackcount", "-p", t.pid, f"{EXE}:PyDict_Copy"), "Tracing", copies, sig=signal.SIGINT)
    check("stackcount_counts_stacks", re.search(r"^ +37$", out, re.M), out)
    out = s.watch(tool("argdist", "-p", t.pid, "-i", 1, "-n", 4, "-C",
                       "p:c:malloc(size_t size):size_t:size:size==77777"), r"^\[",
                  # Not while it empties its table behind the time that it says.
                  lambda: (time.sleep(0.4), t.say("[libc.malloc(77777) for i in range(9)]", "done")))
    check("argdist_counts_by_argument", re.search(r"^\s+9\s+size = 77777$", out, re.M), out)
    # It opens its buffers last, and other processes have them a moment later: calls until one is seen.
    w = s.start(*tool("trace", "-p", t.pid, 'c:getenv "%s", arg1'))
    ready = w.wait_for("FUNC") and any(t.say("libc.getenv(b'BEFORE')", "done") and w.wait_for("BEFORE", 1)
                                       for i in range(20))
    t.say("[libc.getenv(x) for x in (b'ONE', b'TWO', b'THREE')]", "done")
    seen = ready and w.wait_for("THREE")
    out = w.end(signal.SIGINT)
    check("trace_prints_arguments_in_order", seen and re.search(rf"{t.pid} .*getenv +ONE\n.* TWO\n.* THREE\n", out), out)
    out = s.watch(tool("memleak", "-p", t.pid, 1, 3), "outstanding",
                  lambda: t.say("[libc.malloc(54321) for i in range(7)]", "done"))
    check("memleak_finds_what_was_not_freed", f"{7 * 54321} bytes in 7 allocations" in out, out)
    out = s.watch(tool("syscount", "-p", t.pid), "Tracing",
                  lambda: t.say("for i in range(123): os.getppid()", "done"), sig=signal.SIGINT)
    check("syscount_counts_system_calls", re.search(r"^getppid +123$", out, re.M), out)
    t.p.stdin.close()
    check("the_target_ends_well", t.p.wait(timeout=20) == 0, t.out)


def on_sqlite():
    if not shutil.which("sqlite3"):
        return skip("funccount_counts_statements_of_sqlite3", "sqlite3 is not installed")
    lib = run("sh", "-c", "ldd $(command -v sqlite3) | sed -n 's/.*\\(libsqlite3[^ ]*\\) => \\([^ ]*\\).*/\\2/p'").stdout.strip()
    t = s.start("sqlite3", "-batch")

    def work():
        for i in range(25):
            t.say(f"select 1000 + {i};", str(1000 + i))

    t.say("select 1;", "1")
    out = s.watch(tool("funccount", "-p", t.pid, f"{lib}:sqlite3_step"), "Tracing", work, sig=signal.SIGINT)
    t.p.stdin.close()
    # A row and the end: sqlite3's shell steps twice for each.
    check("funccount_counts_statements_of_sqlite3", re.search(r"^sqlite3_step +50$", out, re.M), out)


try:
    on_python()
    on_sqlite()
finally:
    s.close()
    shutil.rmtree(RUNTIME, ignore_errors=True)
done()
