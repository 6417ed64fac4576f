# SPDX-License-Identifier: MIT
"""What the tests of bpftrace on other processes share: a session, and how bpftrace is ended."""
import os
import re
import shutil
import signal
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "tools")]
from drive import Session  # noqa: E402
from tap import done, skip_all  # noqa: E402

FERRY = sys.argv[1]
RUNTIME = tempfile.mkdtemp(prefix="ferry-test-")
s = Session(FERRY, RUNTIME)
if not shutil.which("bpftrace"):
    skip_all("bpftrace is not installed")


def interrupt(t):
    """It forgets a signal that comes between two calls of epoll_wait(2), which is every 100 ms."""
    end = time.monotonic() + 60
    while t.p.poll() is None and time.monotonic() < end:
        with open(f"/proc/{t.pid}/status") as f:
            caught = re.search(r"^SigCgt:\s+(\w+)", f.read(), re.M)
        if caught and int(caught[1], 16) & 1 << signal.SIGINT - 1:  # not once it prints its maps
            t.p.send_signal(signal.SIGINT)
        again = time.monotonic() + 1.03
        while time.monotonic() < again and t.open:
            s.read(again)
    return t.end()


def run_parts(parts, names):
    try:
        for part in parts:
            if not names or part.__name__ in names:
                part()
    finally:
        s.close()
        shutil.rmtree(RUNTIME, ignore_errors=True)
    done()
