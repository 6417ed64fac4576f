#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Maps whose elements are a loader's objects, used by programs in another process: test.py FERRY DIR TARGET BPFTOOL. TAP."""
import json
import os
import re
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap  # noqa: E402
from tap import check, done, run, skip, wait_for  # noqa: E402

FERRY, HERE, TARGET, BPFTOOL = sys.argv[1:5]
OBJECT, LOADER = os.path.join(HERE, "objects.bpf.o"), os.path.join(HERE, "objects_loader")
RUNTIME = tempfile.mkdtemp(prefix="ferry-test-")
ENV = dict(os.environ, XDG_RUNTIME_DIR=RUNTIME)
TAIL_A, TAIL_B, NO_TAIL, INNER, SENT, STACKS = range(6)


class Talk(tap.Talk):
    """One under ferry exec."""

    def __init__(self, *args):
        super().__init__(FERRY, "exec", "--", *args, env=ENV)

    def number(self, line):
        return int(self.say(line) or -1000)


def both(prog):
    t = Talk(TARGET)
    a = Talk(LOADER, OBJECT, prog, TARGET, "work", str(t.pid))
    check(f"{prog}_is_attached", a.hello == "attached", a.hello)
    return t, a


def grows(t, a, count, by=1):
    """Other processes see a change a moment later."""
    before = a.number(f"count {count}")
    return wait_for(lambda: t.say("1") and a.number(f"count {count}") >= before + by)


t, a = both("jumps")
t.say("5")
check("an_empty_slot_is_no_tail_call", a.number(f"count {NO_TAIL}") == 5 and a.number(f"count {TAIL_A}") == 0)
check("put", a.number("put 1 tail_a") == 0)
check("a_tail_call_reaches_what_the_loader_put_there", grows(t, a, TAIL_A))
n = a.number(f"count {NO_TAIL}")
t.say("7")
check("and_does_not_come_back", a.number(f"count {NO_TAIL}") == n)
check("put_another", a.number("put 1 tail_b") == 0)
check("it_is_replaced", grows(t, a, TAIL_B))
check("drop", a.number("drop 1") == 0)
check("it_is_taken_away", grows(t, a, NO_TAIL))
a.number("put 1 tail_a")
if BPFTOOL != "none":
    r = run(FERRY, "exec", "--", BPFTOOL, "-j", "map", "dump", "name", "progs", env=ENV)
    check("who_only_looks_takes_nothing_away", r.returncode == 0 and grows(t, a, TAIL_A), r.all)
late = Talk(TARGET)
b = Talk(LOADER, OBJECT, "jumps", TARGET, "work", str(late.pid))
b.number("put 1 tail_a")
check("each_object_has_its_own_array", grows(late, b, TAIL_A) and b.number(f"count {TAIL_B}") == 0)
for x in (a, b, t, late):
    x.end()

t, a = both("nests")
t.say("3")
check("an_array_of_maps_was_filled_before", a.number("inside first") == 3 and a.number(f"count {INNER}") == 3)
check("inner", a.number("inner second") == 0)
check("an_inner_map_is_replaced", wait_for(lambda: t.say("1") and a.number("inside second") > 0))
n = a.number("inside first")
t.say("4")
check("the_old_one_is_left_alone", a.number("inside first") == n)
a.end()
t.end()

t, a = both("sends")
first = int(t.say("0").split()[1])
t.say("10")
check("output_to_the_loaders_buffers", a.number(f"count {SENT}") == 10, a.number(f"count {SENT}"))
check("whose_reader_is_woken", a.number("read") == sum(range(first + 1, first + 11)))
t.say("1")
check("again", a.number("read") == first + 11)
a.end()
t.end()

t, a = both("traces")
t.say("2")
check("stacks_of_another_process", a.number(f"count {STACKS}") == 2)
maps = open(f"/proc/{t.pid}/maps").read() if os.access(f"/proc/{t.pid}/maps", os.R_OK) else ""
base = re.search(r"^([0-9a-f]+)-.* 00000000 .*share_target", maps, re.M)
sym = re.search(r"^([0-9a-f]+) T work$", run("nm", TARGET).stdout, re.M)
if base and sym:
    at = int(base[1], 16) + int(sym[1], 16)
    check("begin_at_the_probed_function", a.number(f"stack {at:x}") == 1)
else:
    skip("begin_at_the_probed_function", "no /proc/PID/maps, or no nm")
if BPFTOOL != "none":
    r = run(FERRY, "exec", "--", BPFTOOL, "-j", "map", "show", "name", "outer", env=ENV)
    check("bpftool_shows_a_map_of_maps_of_another_process", r.returncode == 0 and json.loads(r.stdout)["type"] == "array_of_maps", r.all)
    r = run(FERRY, "exec", "--", BPFTOOL, "-j", "map", "dump", "name", "outer", env=ENV)
    check("and_what_is_in_it", r.returncode == 0 and "inner_map_id" in r.stdout or "value" in r.stdout, r.all)
a.end()
t.end()
shutil.rmtree(RUNTIME, ignore_errors=True)
done()
