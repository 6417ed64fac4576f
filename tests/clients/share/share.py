#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs of one process on functions of others: share.py FERRY BUILD-FOLDER BPFTOOL. TAP."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import check, done  # noqa: E402

FERRY, HERE, BPFTOOL = sys.argv[1:4]
OBJECT, TARGET = os.path.join(HERE, "share.bpf.o"), os.path.join(HERE, "share_target")
RUNTIME = tempfile.mkdtemp(prefix="ferry-test-")
ENV = dict(os.environ, XDG_RUNTIME_DIR=RUNTIME)


class Talk:
    """A process under ferry exec that answers lines with lines."""

    def __init__(self, *args, session=True):
        command = [FERRY, "exec", "--", *args] if session else list(args)
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENV)
        self.pid = self.p.pid  # ferry becomes the command
        self.hello = self.p.stdout.readline().strip()

    def say(self, line, end=None):
        """The answer's lines up to one that is in `end`, or its one line."""
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        answer = [self.p.stdout.readline().strip()]
        while end and answer[-1] not in end and answer[-1]:
            answer.append(self.p.stdout.readline().strip())
        return answer if end else answer[0]

    def read(self):
        return self.say("read", ("woken", "late"))

    def end(self):
        self.p.stdin.close()
        self.p.wait(timeout=20)


def target(*args):
    return Talk(TARGET, *args)


def loader(prog, pid, cookie=0):
    return Talk(os.path.join(HERE, "share_loader"), OBJECT, prog, TARGET, "work", str(pid), str(cookie))


def one_target():
    t, other = target(), target()
    a = loader("entered", t.pid)
    check("a_running_process_is_probed_by_its_number", a.hello.startswith("attached"), a.hello)
    t.say("10")
    other.say("5")
    check("calls_are_counted_in_the_loaders_map", a.say(f"count {t.pid}") == "10", a.say(f"count {t.pid}"))
    check("the_other_process_is_left_alone", a.say(f"count {other.pid}") == "0")
    a.end()
    check("the_target_goes_on_when_the_loader_has_ended", t.say("3") == f"{t.pid} 13")
    t.end()
    other.end()


def main():
    one_target()


try:
    main()
finally:
    shutil.rmtree(RUNTIME, ignore_errors=True)
done()
