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


def with_target(*loader):
    """What a loader, which gets binary, number and pipes of a target, says, and its errors."""
    to, answers = os.pipe(), os.pipe()
    for fd in (*to, *answers):
        os.set_inheritable(fd, True)
    target = subprocess.Popen([FERRY, "exec", "--", TARGET, f"pipes={to[0]},{answers[1]}"],
                              pass_fds=(to[0], answers[1]), env=ENV)
    program, bpf, *more = loader
    r = subprocess.run([FERRY, "exec", "--", os.path.join(HERE, program), os.path.join(HERE, bpf), TARGET,
                        str(target.pid), str(answers[0]), str(to[1]), *more], pass_fds=(answers[0], to[1]), env=ENV,
                       text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=100)
    for fd in (*to, *answers):
        os.close(fd)
    target.wait(timeout=20)
    return r.stdout, r.stderr[-500:]


def rounds(program, n):
    """Is it right, and what it said: rounds, wrong ones, microseconds for a change."""
    out, err = with_target("share_rounds", "rounds.bpf.o", str(n), program)
    return out.startswith(f"{n} rounds 0 wrong "), out + err


def inner():
    out, err = with_target("share_inner", "inner.bpf.o")
    kinds = out.splitlines()
    check("all_kinds_of_maps_were_tried", len(kinds) == 14, out + err)
    for line in kinds:
        check(f"an_element_that_is_a_map_works_elsewhere_{line.split(':')[0]}", line.endswith(": 6 6"), line)


def main():
    if not sys.argv[3:]:
        inner()
    programs = sys.argv[3:] or list(SAYS)
    for program in programs:
        ok, said = rounds(program, 300 if program == "counted" else 1000)
        check(f"{SAYS[program]}_are_so_elsewhere_when_bpf_returns", ok, said)
        print(f"# {program}: {said.strip()}")
    load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * os.cpu_count())]
    try:
        for program in programs:
            ok, said = rounds(program, 20 if program == "counted" else 100)
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
