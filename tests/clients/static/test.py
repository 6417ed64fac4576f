#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A statically linked libbpf client, unmodified, under `ferry exec` and on the kernel: test.py FERRY DIR OBJECT. TAP."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tap import check, done, run, skip

FERRY, DIR, OBJECT = sys.argv[1:4]
CLIENT, PIN = os.path.join(DIR, "static_client"), f"/sys/fs/bpf/ferry_static_{os.getpid()}"
HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "static.out")) as f:
    WANT = f.read()

# static.out is what the kernel says; where there is one, it is asked again.
probe = run(CLIENT, OBJECT) if os.geteuid() == 0 else None
if probe is None or probe.stdout.startswith("load:") or not os.path.ismount("/sys/fs/bpf"):
    skip("kernel_says_so", "no bpf(2) of the kernel, or no bpffs")
else:
    r = run(CLIENT, OBJECT, PIN)
    check("kernel_says_so", r.returncode == 0 and r.stdout == WANT, r.all)
# Nobody: whatever works then was not the kernel's.
user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
if run("test", "-x", CLIENT, **user).returncode:
    skip("static_client_sees_what_it_sees_on_the_kernel", "this folder is out of an ordinary user's reach")
    done()
r = run(FERRY, "exec", "--", CLIENT, OBJECT, PIN, **user)
check("static_client_sees_what_it_sees_on_the_kernel", r.returncode == 0 and r.stdout == WANT, r.all)
r = run(FERRY, "exec", "--raw", "--", "sh", "-c", 'exec "$0" "$@"', CLIENT, OBJECT, PIN, **user)
check("also_behind_a_dynamic_command", r.returncode == 0 and r.stdout == WANT, r.all)
done()
