#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The files of events, in a session and on the machine's kernel: formats.py FERRY. TAP."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import check, done, skip_all  # noqa: E402

FERRY = sys.argv[1]
# What newer kernels than 6.1 have changed, and what no process sees, is not compared.
SAME = {"syscalls": r".", "raw_syscalls": r".", "sched": r"sched_process_exec$"}
DUMP = f"""
import json, os, re
root, found = {{}}, {{}}
for category, which in {SAME!r}.items():
    for name in os.listdir("/sys/kernel/tracing/events/" + category):
        path = f"/sys/kernel/tracing/events/{{category}}/{{name}}"
        if os.path.isdir(path) and re.match(which, name):
            found[category + ":" + name] = [open(path + "/" + f).read() for f in ("format", "id", "enable", "filter")]
print(json.dumps(found))
"""
MOUNTED = ["unshare", "-m", "sh", "-c", 'mount -t tracefs nodev /sys/kernel/tracing; exec "$@"', "sh"]


def dump(*command, **env):
    r = subprocess.run([*command, sys.executable, "-c", DUMP], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                       text=True, env=dict(os.environ, **env))
    return json.loads(r.stdout) if r.stdout else {}


kernel = dump(*MOUNTED, FERRY="off")
if not kernel:
    skip_all("the kernel has no tracefs for us")
here = dump(FERRY, "exec", "--private", "--")


def numbered(files):
    """The format without its number, which must be that of the file `id`."""
    text, number = files[0], files[1].strip()
    return re.sub(rf"^ID: {number}$", "ID: N", text, flags=re.M)


both = sorted(set(here) & set(kernel))
check("all_events_of_system_calls_are_the_kernels", len(both) > 600 and set(here) <= set(kernel), set(here) - set(kernel))
wrong = [n for n in both if numbered(here[n]) != numbered(kernel[n])]
check("formats_are_the_kernels_byte_for_byte", not wrong, [(n, here[n][0], kernel[n][0]) for n in wrong[:3]])
wrong = [n for n in both if here[n][2:] != kernel[n][2:]]
check("events_are_off_and_unfiltered", not wrong, [(n, here[n][2:], kernel[n][2:]) for n in wrong[:3]])
numbers = [here[n][1] for n in here]
check("every_event_has_a_number_of_its_own", len(set(numbers)) == len(numbers))
done()
