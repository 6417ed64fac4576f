#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A client on Debian's golang-github-cilium-ebpf-dev, unmodified, under `ferry exec`: test.py FERRY. TAP."""
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tap import check, done, run, skip_all

FERRY, HERE = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
LIBRARY = "/usr/share/gocode/src/github.com/cilium/ebpf"
WANT = {
    "maps": ["lookup 49", "again true", "gone true", "iterate 49 40376", "info squares Hash 64"],
    "batch": ["batch 3 3 140 true", "batch delete 2"],
    "program": ["refused true", "test run 7", "called 1 answer SocketFilter"],
    "ring": ["records 46", "closed true"],
    "perf": ["samples 46"],
    "pins": ["pinned 99 Array", "unpinned true", "by id true"],
}

if not shutil.which("go"):
    skip_all("golang-go is not installed")
if not os.path.isdir(LIBRARY):
    skip_all("golang-github-cilium-ebpf-dev is not installed")
with tempfile.TemporaryDirectory() as tmp:
    program = os.path.join(tmp, "client")
    env = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOCACHE=os.path.join(tmp, "cache"),
               GOFLAGS="", CGO_ENABLED="0", HOME=tmp)
    r = run("go", "build", "-o", program, os.path.join(HERE, "main.go"), env=env, timeout=170)
    check("builds", r.returncode == 0, r.all)
    for part, want in WANT.items() if r.returncode == 0 else ():
        os.chmod(tmp, 0o755)
        # Nobody: whatever works then was not the kernel's.
        user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        r = run(FERRY, "exec", "--private", "--", program, part, **user)
        check(f"{part}_by_bare_system_calls", r.returncode == 0 and r.stdout.splitlines() == want, r.all)
done()
