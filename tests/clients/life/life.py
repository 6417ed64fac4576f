#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Processes that begin and end, as programs hear of them: life.py FERRY BUILD-FOLDER ferry|kernel. TAP. What they are to
hear is in life.expected, written by the machine's kernel (life.py FERRY BUILD-FOLDER write), process by process.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import check, done, skip_all  # noqa: E402

FERRY, HERE, HOW = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
EXPECTED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "life.expected")
WORK = tempfile.mkdtemp(prefix="ferry-test-")


def run(*command, **env):
    for name in ("life_loader", "life_target"):
        shutil.copy(os.path.join(HERE, name), WORK)
    script = os.path.join(WORK, "script")
    with open(script, "w") as f:
        f.write("#!/bin/sh\nexit 8\n")
    os.chmod(script, 0o755)
    command = [*command, "./life_loader", os.path.join(HERE, "life.bpf.o"), "./life_target", "./script"]
    r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=WORK, timeout=50,
                       env=dict(os.environ, **env))
    # The suite may run at another priority; newer libcs let children begin with clear handlers (CLONE_CLEAR_SIGHAND).
    out = re.sub(r"(?<= prio )\d+", lambda m: str(int(m[0]) - os.nice(0)), r.stdout)
    return re.sub(r"0x10000(?=[0-9a-f]{4}$)", "0x", out, flags=re.M), r.stderr


TRACEFS = ("unshare", "-m", "sh", "-c", 'mount -t tracefs nodev /sys/kernel/tracing; exec "$@"', "sh")


def on_kernel():
    return run(*TRACEFS, FERRY="off")


def in_session():
    return run(FERRY, "exec", "--private", "--")


def lines(text, *words):
    return [x for x in text.splitlines() if x.split(" ")[0] in words]


def compare(who, text, errors):
    with open(EXPECTED) as f:
        want = f.read()
    for name, words in (("new_programs_begin_before_main", ("exec", "raw_exec")),
                        ("children_are_told_of_by_their_parent", ("fork", "new", "raw_fork", "raw_new")),
                        ("ends_are_told_with_code_and_priority", ("exit", "raw_exit")),
                        ("execve_ends_in_the_new_program", ("execve_done",))):
        got = lines(text, *words)
        check(f"{who}_{name}", got == lines(want, *words), f"{got} {errors}")
    check(f"{who}_everything_comes_in_the_same_order", text == want, text + errors)


try:
    if HOW == "ferry":
        compare("here", *in_session())
    elif os.geteuid() or not on_kernel()[0]:
        skip_all("the kernel has no bpf(2) or no tracepoints for us")
    elif HOW == "write":
        with open(EXPECTED, "w") as f:
            f.write(on_kernel()[0])
    else:
        compare("kernel", *on_kernel())
        r = subprocess.run([*TRACEFS, os.path.join(HERE, "life_ends"), os.path.join(HERE, "life.bpf.o"), "200"],
                           stdout=subprocess.PIPE, text=True, timeout=60, env=dict(os.environ, FERRY="off"))
        check("kernel_tells_each_of_many_ends_once", not r.returncode, r.stdout)
finally:
    shutil.rmtree(WORK)
done()
