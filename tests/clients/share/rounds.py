#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What bpf(2) said is done holds in other processes: rounds.py FERRY BUILD-FOLDER [PROGRAM...]. TAP."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import check, done  # noqa: E402

FERRY, HERE = sys.argv[1:3]
RUNTIME = tempfile.mkdtemp(prefix="ferry-test-")
ENV = dict(os.environ, XDG_RUNTIME_DIR=RUNTIME)
TARGET = os.path.join(HERE, "share_target")
SAYS = {
    "hashed": "maps_put_into_a_hash_and_taken_out",
    "counted": "attached_and_detached_programs",
    "output": "buffers_put_into_an_array_and_taken_out",
    "tailed": "programs_put_into_an_array_and_taken_out",
    "nested": "maps_put_into_an_array_and_taken_out",
}


def rounds(program, n):
    """(rounds, wrong, microseconds) of `program`."""
    to, answers = os.pipe(), os.pipe()
    for fd in (*to, *answers):
        os.set_inheritable(fd, True)
    target = subprocess.Popen([FERRY, "exec", "--", TARGET, f"pipes={to[0]},{answers[1]}"],
                              pass_fds=(to[0], answers[1]), env=ENV)
    loader = subprocess.run([FERRY, "exec", "--", os.path.join(HERE, "share_rounds"),
                             os.path.join(HERE, "rounds.bpf.o"), TARGET, str(target.pid), str(answers[0]), str(to[1]),
                             str(n), program], pass_fds=(answers[0], to[1]), env=ENV, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100)
    for fd in (*to, *answers):
        os.close(fd)
    target.wait(timeout=20)
    words = loader.stdout.split()
    return loader.stdout == f"{n} rounds 0 wrong {words[4] if len(words) > 4 else ''} us\n", loader.stdout + loader.stderr[-500:]


def main():
    programs = sys.argv[3:] or list(SAYS)
    for program in programs:
        ok, said = rounds(program, 1000)
        check(f"{SAYS[program]}_are_so_elsewhere_when_bpf_returns", ok, said)
        print(f"# {program}: {said.strip()}")
    load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * os.cpu_count())]
    try:
        for program in programs:
            ok, said = rounds(program, 100)
            check(f"also_under_load_{SAYS[program]}", ok, said)
            print(f"# {program} under load: {said.strip()}")
    finally:
        for p in load:
            p.kill()
            p.wait()


try:
    main()
finally:
    shutil.rmtree(RUNTIME, ignore_errors=True)
done()
