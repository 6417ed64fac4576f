#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bcc's tools when something ends or comes: the target, the tool, the target's membership. endings.py FERRY. TAP."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
from drive import PATIENCE, PYTHON, Session, need_bcc, tool  # noqa: E402
from tap import check, done, no_tracing, run, skip  # noqa: E402

need_bcc()
DIR = tempfile.mkdtemp(prefix="ferry-endings-")
s = Session(sys.argv[1], DIR)


def ferry(*args):
    return run(s.ferry, *map(str, args), env=s.env)


def count(out, name="getppid"):
    m = re.search(rf"^{name} +(\d+)$", out, re.M)
    return int(m[1]) if m else 0


def calls(t, n):
    """Of a function that nobody calls but who is told to."""
    return t.say(f"[os.getppid() for i in range({n})]", "done")


def start(*args):
    t = s.start(*tool("funccount", *args), stdin=subprocess.DEVNULL)
    if not t.wait_for("Tracing"):
        print("# not ready: " + t.out)
    return t


def probes_of(pid):
    """What is attached in the process; None: nobody can say."""
    for row in json.loads(ferry("ps", "--json").stdout or "[]"):
        if row.get("pid") == pid:
            return row["probes"]
    return None


def target_ends():
    a, b = s.python(), s.python()
    w, w_all = start("-p", a.pid, "c:getppid"), start("c:getppid")
    calls(a, 11)
    calls(b, 3)
    a.end()
    b.p.kill()
    b.p.wait()
    c = s.python()
    calls(c, 5)
    outs = [t.end(signal.SIGINT) for t in (w, w_all)]
    check("what_a_target_did_is_counted_after_its_end", count(outs[0]) == 11 and w.p.returncode == 0, outs[0])
    check("a_tool_on_all_processes_goes_on_when_one_is_killed", count(outs[1]) == 11 + 3 + 5 and w_all.p.returncode == 0,
          outs[1])
    return c


def tool_ends(t):
    w = start("-p", t.pid, "c:getppid")
    calls(t, 4)
    os.killpg(w.pid, signal.SIGKILL)
    w.end()
    end = time.monotonic() + PATIENCE
    while probes_of(t.pid) and time.monotonic() < end:
        time.sleep(0.05)
    check("probes_of_a_killed_tool_are_gone", probes_of(t.pid) == [], ferry("ps", "--json").all)
    w = start("-p", t.pid, "c:getppid")
    calls(t, 6)
    out = w.end(signal.SIGINT)
    check("the_next_tool_counts_alone", count(out) == 6, out)


def membership():
    """A tool on all processes, and one that comes and goes."""
    if no_tracing():
        return skip("tools_on_processes_that_come_and_go", no_tracing())
    t = s.start(PYTHON, "-c", "import os, sys\nfor line in sys.stdin:\n    exec(line)\n    print('done')", ferry=False)
    t.say("", "done")
    w = start("-i", 1, "c:getppid")
    calls(t, 1000)
    came = ferry("attach", t.pid)
    calls(t, 21)
    left = ferry("detach", t.pid)
    calls(t, 1000)
    again = ferry("attach", t.pid)
    calls(t, 8)
    out = w.end(signal.SIGINT)
    total = sum(int(n) for n in re.findall(r"^getppid +(\d+)$", out, re.M))
    check("a_tool_sees_a_process_while_it_is_of_the_session", total == 29, f"{came.all}{left.all}{again.all}{out}")
    w = start("-p", t.pid, "c:getppid")
    calls(t, 2)
    left = ferry("detach", t.pid)
    calls(t, 1000)
    out = w.end(signal.SIGINT)
    check("a_tool_on_a_process_ends_well_when_that_left", count(out) == 2 and w.p.returncode == 0, f"{left.all}{out}")
    t.end()
    check("what_was_left_ends_well", t.p.returncode == 0, t.out)


try:
    tool_ends(target_ends())
    membership()
finally:
    s.close()
    shutil.rmtree(DIR, ignore_errors=True)
done()
