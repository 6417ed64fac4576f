#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""cilium/ebpf's links on a process elsewhere: go.py FERRY HERE CLIENTS. TAP."""
import os
import shutil
import tempfile

from talk import RUNTIME, TARGET, Talk, Target, over
from tap import check, done, run, skip_all, wait_for

LIBRARY = "/usr/share/gocode/src/github.com/cilium/ebpf"


def probes(tmp):
    program = os.path.join(tmp, "probes")
    env = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOCACHE=os.path.join(tmp, "cache"), GOFLAGS="",
               CGO_ENABLED="0", HOME=tmp)
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probes.go")
    r = run("go", "build", "-o", program, source, env=env, timeout=170)
    check("builds", r.returncode == 0, r.all)
    if r.returncode:
        return
    os.chmod(tmp, 0o755)
    t = Target()
    a = Talk(program, TARGET, "work", str(t.pid))
    check("links_to_another_process", a.hello == "attached", a.hello)
    t.do("call", 15)
    t.do("ask", 9)
    n = a.say("counts").split()
    check("uprobe_and_uretprobe_count_its_calls", n[:2] == ["15", "15"], n)
    check("tracepoint_counts_its_system_calls", n[2:3] == ["9"] and int(n[3]) > 9, n)
    a.say("detach")  # by close(2), which nobody hears of in a program without libc: a moment later

    def silent():
        before = a.say("counts").split()
        t.do("call", 1)
        after = a.say("counts").split()
        return before[0] == after[0] and int(after[1]) == int(before[1]) + 1

    check("a_closed_link_sees_no_more", wait_for(silent), a.say("counts"))
    check("both_end_well", a.end() == 0 and t.do("call", 1)["calls"] > 16, t.text)
    t.end()


if not shutil.which("go"):
    skip_all("golang-go is not installed")
if not os.path.isdir(LIBRARY):
    skip_all("golang-github-cilium-ebpf-dev is not installed")
if os.geteuid() == 0:
    # Nobody: whatever works then was not the kernel's.
    os.chown(RUNTIME, 65534, 65534)
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
try:
    with tempfile.TemporaryDirectory() as folder:
        probes(folder)
finally:
    over()
done()
