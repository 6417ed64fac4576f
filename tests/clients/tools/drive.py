# SPDX-License-Identifier: MIT
"""Targets and tools in one session: a target is told what to do while a tool watches it."""
import glob
import os
import re
import select
import signal
import subprocess
import time

from tap import run, skip_all, state

PYTHON = "/usr/bin/python3"
PATIENCE = 60  # seconds: for compilers on machines that others use as well


def tool(name, *args):
    return [f"/usr/sbin/{name}-bpfcc", *map(str, args)]


def need_bcc():
    """Or none of the test is run."""
    if not os.path.exists(PYTHON) or run(PYTHON, "-c", "import bcc").returncode:
        skip_all("python3-bpfcc is not installed")
    if not os.path.exists(tool("funccount")[0]):
        skip_all("bpfcc-tools is not installed")
    if not glob.glob("/lib/modules/*/build/include"):
        skip_all("no kernel headers are installed (linux-headers-amd64), which bcc compiles with")


class Process:
    """Under `ferry exec`, or as it is; what it prints is kept."""

    def __init__(self, session, args, root=False, ferry=True, env=None, **kw):
        command = [session.ferry, "exec", *(["--root"] if root else []), "--", *args] if ferry else list(args)
        # A group of its own, as a shell at a terminal gives to each command.
        self.p = subprocess.Popen(command, start_new_session=True, stdin=kw.pop("stdin", subprocess.PIPE),
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(session.env, **(env or {})), **kw)
        os.set_blocking(self.p.stdout.fileno(), False)
        self.pid, self.out, self.seen = self.p.pid, "", 0
        self.session, self.open = session, True
        session.started.append(self)

    def read(self):
        more = self.p.stdout.read(65536)
        self.out += (more or b"").decode(errors="replace")
        self.open = more is None or len(more) > 0

    def wait_for(self, pattern, timeout=PATIENCE):
        """True when what was printed since the last time has the pattern."""
        end = time.monotonic() + timeout
        while True:
            m = re.search(pattern, self.out[self.seen:], re.M)
            if m:
                self.seen += m.end()
                return True
            if not self.open or time.monotonic() > end:
                return False
            self.session.read(end)

    def say(self, text, answer=None):
        self.p.stdin.write((text + "\n").encode())
        self.p.stdin.flush()
        return answer is None or self.wait_for(answer)

    def end(self, sig=None):
        """Lets it end (by a signal to its group, as a terminal's), and returns all that it printed."""
        if not sig and self.p.stdin:
            self.p.stdin.close()
        end = time.monotonic() + PATIENCE
        # Where it prints, what was seen among it, it may lose the rest, or not catch the signal yet: it is to sleep.
        while sig == signal.SIGINT and state(self.pid) in ("R", "D") and time.monotonic() < end:
            time.sleep(0.01)
        while time.monotonic() < end and self.open:
            # Python drops what interrupts a callback of C code, as bcc's for events are: then once more.
            if sig and self.p.poll() is None:
                os.killpg(self.pid, sig)
            again = time.monotonic() + 10
            while time.monotonic() < (min(again, end) if sig else end) and self.open:
                self.session.read(again)
        try:
            self.p.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.p.kill()
            self.p.wait()
        return self.out


class Session:
    def __init__(self, ferry, runtime):
        self.ferry, self.started = ferry, []
        self.env = dict(os.environ, XDG_RUNTIME_DIR=runtime, PYTHONUNBUFFERED="1", TERM="dumb")

    def read(self, end):
        """More output of any by the time `end`: who prints is not to wait for us while we wait for another."""
        open_ = {p.p.stdout: p for p in self.started if p.open}
        for out in select.select(list(open_), [], [], max(0, end - time.monotonic()))[0]:
            open_[out].read()

    def start(self, *args, **kw):
        return Process(self, args, **kw)

    def python(self):
        """An interpreter of Debian's that carries out lines."""
        p = self.start("/usr/bin/python3", "-c", "import sys, os, time\nprint('ready')\n"
                       "for line in sys.stdin:\n    exec(line)\n    print('done')")
        assert p.wait_for("ready"), p.out
        return p

    def watch(self, args, ready, drive, sig=None, until=None, root=False):
        """What the tool prints about what drive() makes the target do; None: it never got ready."""
        t = self.start(*args, root=root, stdin=subprocess.DEVNULL)
        if not t.wait_for(ready):
            t.end(signal.SIGKILL)
            return f"(not ready)\n{t.out}"
        drive()
        if until and not t.wait_for(until):
            t.end(signal.SIGKILL)
            return f"(not seen)\n{t.out}"
        return t.end(sig)

    def close(self):
        for p in self.started:
            if p.p.poll() is None:
                os.killpg(p.pid, signal.SIGKILL)
                p.p.wait()
