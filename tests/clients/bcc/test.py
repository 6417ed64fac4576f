#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Scripts of Debian's python3-bpfcc, unmodified, under `ferry exec`: test.py FERRY. TAP."""
import glob
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tap import check, done, run, skip, skip_all

FERRY, HERE = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"  # Debian's packages are for Debian's interpreter

if not os.path.exists(PYTHON) or run(PYTHON, "-c", "import bcc").returncode:
    skip_all("python3-bpfcc is not installed")
if not glob.glob("/lib/modules/*/build/include"):
    skip_all("no kernel headers are installed (linux-headers-amd64), which bcc compiles with")


def client(name, script, want):
    r = run(FERRY, "exec", "--private", "--", PYTHON, os.path.join(HERE, script[0]), *script[1:])
    check(name, r.returncode == 0 and r.stdout.splitlines() == want, r.all)


client("hash_counts_and_is_read_and_written", ["counter.py"],
       ["hit True 5", "lookup 88 2", "deleted False 1", "detached [5]"])
RECORDS = ["0 True True python3", "1 True True python3", "2 True True python3"]
client("perf_output_brings_records", ["buffers.py"], RECORDS)
client("ringbuf_output_brings_records", ["buffers.py", "ring"], RECORDS)
# After each call: how often the default program, the first and the second (which calls the first) ran.
client("prog_array_calls_its_entries", ["tail.py"], ["0 1 0 0", "1 1 1 0", "2 1 2 1", "7 2 2 1", "100 3 2 1"])
client("software_clock_runs_a_program", ["clock.py"], ["ticks True"])
if run("grep", "-q", "gc__done", PYTHON).returncode:
    skip("usdt_probes_of_python", f"{PYTHON} was built without probes")
else:
    client("usdt_probes_of_python", ["usdt.py"], ["freed [0, 2, 4] [(0, 1), (2, 1), (4, 1)]", "imported [('colorsys', 1), ('pydoc_data', 1)]"])
done()
