# SPDX-License-Identifier: MIT
"""Targets and tools in one session: a target is told what to do while a tool watches it."""
import os
import re
import select
import signal
import subprocess
import time

PATIENCE = 60  # seconds: for compilers on machines that others use as well


class Process:
    """Under `ferry exec`, or as it is; what it prints is kept."""

    def __init__(self, session, args, root=False, ferry=True, env=None, **kw):
        command = [session.ferry, "exec", *(["--root"] if root else []), "--", *args] if ferry else list(args)
        self.p = subprocess.Popen(command, stdin=kw.pop("stdin", subprocess.PIPE), stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, env=dict(session.env, **(env or {})), **kw)
        os.set_blocking(self.p.stdout.fileno(), False)
        self.pid, self.out, self.seen = self.p.pid, "", 0
        session.started.append(self)

    def read(self, end):
        """More output by the time `end`; False: there is none any more."""
        if not select.select([self.p.stdout], [], [], max(0, end - time.monotonic()))[0]:
            return True
        more = self.p.stdout.read(65536)
        self.out += (more or b"").decode(errors="replace")
        return bool(more)

    def wait_for(self, pattern, timeout=PATIENCE):
        """True when what was printed since the last time has the pattern."""
        end, going = time.monotonic() + timeout, True
        while True:
            m = re.search(pattern, self.out[self.seen:], re.S | re.M)
            if m:
                self.seen += m.end()
                return True
            if not going or time.monotonic() > end:
                return False
            going = self.read(end)

    def say(self, text, answer=None):
        self.p.stdin.write((text + "\n").encode())
        self.p.stdin.flush()
        return answer is None or self.wait_for(answer)

    def end(self, sig=None):
        """Lets it end (by a signal), and returns all that it printed."""
        if sig and self.p.poll() is None:
            self.p.send_signal(sig)
        elif self.p.stdin:
            self.p.stdin.close()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.read(end):
            pass
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
                p.p.kill()
                p.p.wait()
