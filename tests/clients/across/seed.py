#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The scripts that people begin with (seed/), each in a process of its own, while a shell in another runs commands: seed.py
FERRY. TAP."""
import os
import re
import shutil
import signal
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "tools"), os.path.join(HERE, "..")]
from drive import PYTHON, Session, need_bcc  # noqa: E402
from tap import check, done  # noqa: E402

need_bcc()
RUNTIME = tempfile.mkdtemp(prefix="ferry-test-")
s = Session(sys.argv[1], RUNTIME)
shell = s.start("/bin/sh")
UID = os.geteuid()


def commands(line):
    return shell.say(f"{line}; echo done", "done")


def script(name, seen):
    """Once it prints what it sees of the shell."""
    t = s.start(PYTHON, os.path.join(HERE, "seed", name))
    for i in range(60):
        commands("/bin/true")
        if t.wait_for(seen, 0.5):
            return t
    return t


def fresh(t):
    """What comes from now on."""
    while t.wait_for(".+\n", 0.7):
        pass
    t.seen = len(t.out)


def hello():
    t = script("hello.py", "Hello, World!")
    fresh(t)
    at = t.seen
    commands("/bin/true; /bin/true one; /bin/echo two")
    t.wait_for("(Hello, World!.*){3}")
    t.wait_for("Hello", 0.5)
    new = t.out[at:]
    check("each_command_of_a_shell_prints_a_line", new.count("Hello, World!") == 3, t.out)
    check("with_its_name_and_number", len(re.findall(r"sh-\d+ +\[\d+\]", new)) == 3, new)
    t.end(signal.SIGKILL)


def counter():
    t = script("counter.py", rf"ID {UID}: \d+")

    def now():
        """The second line from now on is of after this moment."""
        t.seen = len(t.out)
        t.wait_for(rf"ID {UID}: \d+\t\n.*ID {UID}: \d+\t\n")
        return int(re.findall(rf"ID {UID}: (\d+)\t\n", t.out)[-1])

    before = now()
    commands("/bin/true; /bin/true; /bin/true; /bin/true; /bin/true")
    after = now()
    check("a_hash_counts_the_commands_of_a_user", after - before == 5, t.out)
    t.end(signal.SIGKILL)


def perf():
    t = script("perf.py", "Hello World")
    fresh(t)
    at = t.seen
    commands("/bin/true; /bin/echo two")
    t.wait_for("(Hello World.*){2}")
    t.wait_for("Hello", 0.5)
    rows = [x.split(maxsplit=3) for x in t.out[at:].splitlines()]
    check("a_struct_comes_for_each_command", [x[1:] for x in rows] == [[str(UID), "sh", "Hello World"]] * 2, t.out)
    check("from_its_own_process", len({x[0] for x in rows}) == 2 and str(shell.pid) not in {x[0] for x in rows}, rows)
    t.end(signal.SIGKILL)


def tail():
    t = script("tail.py", "Executing a program")
    fresh(t)
    at = t.seen
    commands(f"/bin/mkdir {RUNTIME}/x; /bin/rmdir {RUNTIME}/x")
    t.wait_for("Removing a directory")
    got = re.findall(r"(Executing a program|Creating a directory|Removing a directory)", t.out[at:])
    check("tail_calls_reach_the_program_for_each_system_call", got ==
          ["Executing a program", "Creating a directory", "Executing a program", "Removing a directory"], t.out)
    t.end(signal.SIGKILL)


try:
    for part in (hello, counter, perf, tail):
        if not sys.argv[2:] or part.__name__ in sys.argv[2:]:
            part()
    shell.say("exit")
    check("the_shell_ends_well", shell.p.wait(timeout=20) == 0)
finally:
    s.close()
    shutil.rmtree(RUNTIME, ignore_errors=True)
done()
