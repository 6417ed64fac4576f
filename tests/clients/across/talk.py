# SPDX-License-Identifier: MIT
"""Loaders and targets of one session, each in a process of its own, that answer lines: FERRY HERE CLIENTS."""
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

FERRY, HERE, CLIENTS = sys.argv[1:4]
TARGET, LOADER = os.path.join(HERE, "across_target"), os.path.join(HERE, "across_loader")
RUNTIME = tempfile.mkdtemp(prefix="ferry-test-")
ENV = dict(os.environ, XDG_RUNTIME_DIR=RUNTIME)
PATIENCE = 60
started = []


def object_of(name):
    folder = {"across": HERE, "calls": f"{CLIENTS}/syscalls"}.get(name, f"{CLIENTS}/{name}")
    return os.path.join(folder, f"{name}.bpf.o")


class Talk:
    def __init__(self, *args, session=True):
        command = [FERRY, "exec", "--", *args] if session else list(args)
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENV)
        self.pid, self.rest = self.p.pid, b""  # ferry becomes the command
        started.append(self)
        self.hello = "" if "busy" in args else self.line()

    def line(self, timeout=PATIENCE):
        """The next line; "" when none comes."""
        end = time.monotonic() + timeout
        while b"\n" not in self.rest:
            if not select.select([self.p.stdout], [], [], max(0, end - time.monotonic()))[0]:
                return ""
            more = os.read(self.p.stdout.fileno(), 1 << 16)
            if not more:
                return ""
            self.rest += more
        first, self.rest = self.rest.split(b"\n", 1)
        return first.decode()

    def say(self, text):
        self.p.stdin.write((text + "\n").encode())
        self.p.stdin.flush()
        return self.line()

    def lines(self, text):
        """The answer up to "end"."""
        got = [self.say(text)]
        while got[-1] not in ("end", ""):
            got.append(self.line())
        return got[:-1]

    def end(self):
        self.p.stdin.close()
        try:
            self.p.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.p.kill()
        return self.p.wait()

    def kill(self):
        self.p.kill()
        return self.p.wait()


class Target(Talk):
    def __init__(self, *args, session=True):
        super().__init__(TARGET, *args, session=session)
        self.read(self.hello)

    def read(self, text):
        """What it says of itself: pid, calls, last, enabled, computed."""
        self.text = text
        self.state = {k: int(v) for k, v in re.findall(r"(\w+) (-?\d+)", text)}
        return self

    def do(self, what, n=0):
        return self.read(self.say(f"{what} {n}")).state


class Loader(Talk):
    def __init__(self, name, **sections):
        super().__init__(LOADER, object_of(name), *[f".{k}={v.hex()}" for k, v in sections.items()])
        self.n = 0

    def attach(self, *words):
        """The number of the link, or what it was refused with."""
        how, *rest = words
        self.n += 1
        self.said = self.say(" ".join(map(str, [how, self.n, *rest])))
        return self.n if self.said == "attached" else 0

    def detach(self, link):
        return self.say(f"detach {link}") == "detached"

    def map(self, name):
        return [tuple(bytes.fromhex(x) for x in line.split()) for line in self.lines(f"map {name}")]

    def records(self, what):
        return [bytes.fromhex(x) for x in self.lines(what)]


def over():
    for t in started:
        if t.p.poll() is None:
            t.kill()
    shutil.rmtree(RUNTIME, ignore_errors=True)
