#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs of one process on functions of others: share.py FERRY BUILD-FOLDER BPFTOOL [PART...]. TAP."""
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import tap  # noqa: E402
from tap import check, done, run, skip, wait_for  # noqa: E402

FERRY, HERE, BPFTOOL = sys.argv[1:4]
OBJECT, TARGET = os.path.join(HERE, "share.bpf.o"), os.path.join(HERE, "share_target")
ELEMENTS = os.path.join(HERE, "elements.bpf.o")
RUNTIME = tempfile.mkdtemp(prefix="ferry-test-")
ENV = dict(os.environ, XDG_RUNTIME_DIR=RUNTIME)


class Talk(tap.Talk):
    """One under ferry exec, unless outside of the session."""

    def __init__(self, *args, session=True):
        super().__init__(*([FERRY, "exec", "--"] if session else []), *args, env=ENV)

    def read(self, what="read"):
        """What it has, up to the line that says how it woke up."""
        answer = [self.say(what)]
        while answer[-1] not in ("woken", "late", ""):
            answer.append(self.p.stdout.readline().strip())
        return answer


def target(*args):
    return Talk(TARGET, *args)


def loader(prog, pid, cookie=0, object=OBJECT):
    return Talk(os.path.join(HERE, "share_loader"), object, prog, TARGET, "work", str(pid), str(cookie))


def one_target():
    t, other = target(), target()
    a = loader("entered", t.pid)
    check("a_running_process_is_probed_by_its_number", a.hello.startswith("attached"), a.hello)
    t.say("10")
    other.say("5")
    check("calls_are_counted_in_the_loaders_map", a.say(f"count {t.pid}") == "10", a.say(f"count {t.pid}"))
    check("the_other_process_is_left_alone", a.say(f"count {other.pid}") == "0")
    a.end()
    check("the_target_goes_on_when_the_loader_has_ended", t.say("3") == f"{t.pid} 13")
    t.end()
    other.end()


def bpftool(*args):
    r = run(FERRY, "exec", "--", BPFTOOL, "-j", *args, env=ENV)
    return json.loads(r.stdout) if r.stdout else None


def brokers():
    """The broker, then its guardian."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                if f.read() == f"ferry\0broker\0{RUNTIME}/ferry-{os.geteuid()}\0":
                    with open(f"/proc/{pid}/stat") as g:
                        found[int(pid)] = int(g.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass
    return sorted(found, key=lambda pid: found[pid] in found)


def kill_both():
    both = brokers()
    for how in (signal.SIGSTOP, signal.SIGKILL):
        for pid in both:
            os.kill(pid, how)
    return both


def records():
    t = target()
    a, b = loader("recorded", t.pid, 77), loader("returned", t.pid, 78)
    t.say("3")
    got = a.read()
    check("records_of_another_process_wake_the_consumer", got[-1] == "woken", got)
    check("records_come_with_argument_and_cookie", got[:-1] == [f"{t.pid} entered {n} 77" for n in (1, 2, 3)], got)
    got = b.read()
    check("returns_of_another_process_are_recorded", got[:-1] == [f"{t.pid} returned {n * 2 + 1} 78" for n in (1, 2, 3)], got)
    for x in (a, b, t):
        x.end()


def any_process():
    before = target()
    a = loader("entered", -1)
    check("a_probe_may_be_for_any_process", a.hello.startswith("attached"), a.hello)
    after = target("first=7")
    check("probes_are_in_place_before_main", a.say(f"count {after.pid}") == "7", a.say(f"count {after.pid}"))
    before.say("4")
    check("processes_from_before_are_probed", a.say(f"count {before.pid}") == "4")
    child = before.say("fork").split()[0]
    before.say("0")
    a.end()
    later = target("first=3")
    check("later_processes_are_left_alone_when_it_has_gone", later.hello == "3")
    for x in (before, after, later):
        x.end()
    return child


def elements():
    """Elements that are objects, which every process has for itself: perf events and programs."""
    t = target()
    a = loader("output", t.pid, 33, ELEMENTS)
    t.say("1")
    t.say("3")
    got = a.read("samples")
    want = [f"{t.pid} output {n} 33" for n in (1, 2, 3, 4)]
    check("perf_buffers_get_samples_of_another_process", sorted(got[:-1])[-3:] == want[-3:], got)
    check("samples_of_another_process_wake_the_consumer", got[-1] == "woken", got)
    a.end()
    t.end()
    t = target()
    a = loader("tailed", t.pid, 0, ELEMENTS)
    t.say("2")
    check("tail_calls_reach_programs_in_another_process", [a.say(f"count {n}") for n in (1, 2, 9999)] == ["1", "1", "0"])
    a.say("jump beside")
    ok = wait_for(lambda: a.say(f"count {1000 + int(t.say('1').split()[1])}") == "1")
    check("a_replaced_element_is_replaced_there_too", ok)
    a.say("jump nothing")
    ok = wait_for(lambda: (t.say("1"), a.say("count 9999"))[1] != "0")
    check("and_one_taken_away_is_gone", ok)
    c = loader("nested", t.pid, 0, ELEMENTS)
    t.say("6")
    check("maps_in_maps_are_the_same_in_another_process", c.say(f"count {t.pid}") == "6", c.say(f"count {t.pid}"))
    c.end()
    late = target()
    a.say("jump behind")
    b = loader("tailed", late.pid, 0, ELEMENTS)
    late.say("1")
    check("one_loader_has_nothing_to_do_with_another", b.say("count 1") == "1" and a.say("count 1") == "1")
    for x in (a, b, t, late):
        x.end()


def refusals():
    a = loader("entered", 2 ** 22 - 3)
    check("no_such_process_is_ESRCH", a.hello == f"refused {errno.ESRCH}", a.hello)
    p = subprocess.Popen(["sleep", "60"])
    start = time.monotonic()
    a = loader("entered", p.pid)
    check("a_process_outside_of_the_session_is_ESRCH", a.hello == f"refused {errno.ESRCH}" and time.monotonic() - start < 20, a.hello)
    p.kill()
    if os.geteuid():
        a = loader("entered", 1)
        check("another_users_process_is_EACCES", a.hello == f"refused {errno.EACCES}", a.hello)
        t = Talk(TARGET, "hidden")
        a = loader("entered", t.pid)
        check("a_process_that_forbids_tracing_is_EACCES", a.hello == f"refused {errno.EACCES}", a.hello)
        t.end()


def seen_by_tools():
    if BPFTOOL == "none":
        skip("another_terminal", "there is no bpftool")
        return
    t = target()
    a = loader("entered", t.pid)
    t.say("5")
    progs = [p for p in bpftool("prog", "list") if p.get("name") == "entered"]
    check("bpftool_elsewhere_lists_the_program", len(progs) == 1, progs)
    maps = {m["name"]: m for m in bpftool("map", "list")}
    check("bpftool_elsewhere_lists_its_maps", progs and set(progs[0]["map_ids"]) <= {m["id"] for m in maps.values()}, maps)
    dump = bpftool("map", "dump", "id", str(maps["calls"]["id"]))
    check("bpftool_elsewhere_reads_what_targets_count", [(e["formatted"]["key"], e["formatted"]["value"]) for e in dump] == [(t.pid, 5)], dump)
    links = bpftool("link", "list")
    check("bpftool_elsewhere_lists_the_link", [k["prog_id"] for k in links] == [progs[0]["id"]], links)
    a.end()
    check("what_a_loader_made_ends_with_it", bpftool("prog", "list") == [] and bpftool("map", "list") == [] and bpftool("link", "list") == [])
    t.end()


def closed_descriptors():
    for how in ("closefrom", "closeall"):
        t = target()
        t.say(how)
        a = loader("entered", t.pid)
        t.say("6")
        check(f"a_target_that_closes_everything_is_still_probed_{how}", a.say(f"count {t.pid}") == "6", a.hello)
        a.end()
        t.end()


def children():
    t = target()
    a = loader("entered", -1)
    child = int(t.say("fork").split()[0])
    check("the_child_of_fork_is_another_process", child != t.pid)
    t.say("8")
    check("it_is_probed_as_its_parent_was", a.say(f"count {child}") == "8", a.say(f"count {child}"))
    b = loader("entered", child)
    check("it_can_be_probed_by_its_own_number", b.hello.startswith("attached"), b.hello)
    t.say("2")
    check("and_its_calls_are_counted", b.say(f"count {child}") == "2")
    a.end()
    t.say("1")
    check("what_others_took_away_is_gone_in_the_child_too", b.say(f"count {child}") == "3")
    b.end()
    t.end()
    t = target()
    a = loader("entered", t.pid)
    child = int(t.say("fork").split()[0])

    def silent():
        before = a.say(f"count {child}")
        t.say("1")
        return a.say(f"count {child}") == before

    wait_for(silent)
    n = a.say(f"count {child}")
    t.say("5")
    check("a_probe_for_one_process_is_not_for_its_child", a.say(f"count {child}") == n, (n, a.say(f"count {child}")))
    a.end()
    t.end()


def namespaces():
    """Only a process of one thread may leave its user namespace: the agent makes way."""
    r = run("unshare", "-U", "true")
    if r.returncode:
        skip("a_member_may_unshare_its_user_namespace", "no user namespaces here")
        return
    a = loader("entered", -1)
    r = run(FERRY, "exec", "--", "unshare", "-U", TARGET, "first=4", env=ENV)
    check("a_member_may_unshare_its_user_namespace", r.returncode == 0 and r.stdout == "4\n", r.all)
    a.end()


def stopped_target():
    t, other = target(), target()
    os.kill(t.pid, signal.SIGSTOP)
    start = time.monotonic()
    a = loader("entered", -1)
    took = time.monotonic() - start
    other.say("9")
    check("a_stopped_target_blocks_nobody", a.say(f"count {other.pid}") == "9" and took < 8, took)
    os.kill(t.pid, signal.SIGCONT)
    ok = wait_for(lambda: (t.say("1"), a.say(f"count {t.pid}") != "0")[1])
    check("it_is_probed_when_it_goes_on", ok)
    for x in (a, t, other):
        x.end()


def deaths():
    t = target()
    a = loader("entered", t.pid)
    t.say("1")
    folder = "/sys/fs/bpf"
    number = {m["name"]: m for m in bpftool("map", "list")}["calls"]["id"]
    bpftool("map", "pin", "id", str(number), folder + "/calls")

    def count():
        dump = bpftool("map", "dump", "pinned", folder + "/calls")
        return int(dump[0]["formatted"]["value"]) if isinstance(dump, list) else dump

    broker = brokers()[0]
    os.kill(broker, signal.SIGKILL)
    t.say("4")
    check("probes_outlive_the_broker", a.say(f"count {t.pid}") == "5")
    check("the_broker_comes_back", wait_for(lambda: broker not in brokers() and len(brokers()) == 2), brokers())
    check("pins_outlive_the_broker", count() == 5, count())
    check("members_say_again_what_they_have", wait_for(lambda: len(bpftool("link", "list")) == 1), bpftool("link", "list"))
    time.sleep(0.7)
    t.say("1")
    check("probes_stay_when_the_new_broker_has_looked_around", count() == 6)
    b = loader("entered", t.pid)
    t.say("2")
    check("new_ones_can_be_made_after_that", b.say(f"count {t.pid}") == "2" and count() == 8, b.hello)
    b.end()
    guardian = brokers()[1]
    os.kill(guardian, signal.SIGKILL)
    check("the_guardian_is_replaced", wait_for(lambda: guardian not in brokers() and len(brokers()) == 2), brokers())
    os.kill(brokers()[0], signal.SIGKILL)
    check("pins_outlive_both_in_turn", count() == 8, count())
    both = kill_both()
    t.say("1")
    check("probes_outlive_both_at_once", a.say(f"count {t.pid}") == "9")
    check("members_start_a_new_one", wait_for(lambda: any(b not in both for b in brokers()[:1])))
    check("and_say_again_what_they_have", wait_for(lambda: len(bpftool("link", "list")) == 1), bpftool("link", "list"))
    bpftool("map", "pin", "id", str(number), folder + "/again")
    a.p.kill()
    a.p.wait()

    def silent():
        before = bpftool("map", "dump", "pinned", folder + "/again")
        t.say("3")
        return bpftool("map", "dump", "pinned", folder + "/again") == before

    check("probes_of_a_killed_loader_disappear", wait_for(silent))
    run(FERRY, "exec", "--", "rm", "-f", folder + "/again", folder + "/calls", env=ENV)
    t.end()


def both_at_once():
    """Broker and guardian killed together: who has a pinned object hands it back, and names of what nobody has go."""
    folder = "/sys/fs/bpf/kept"
    t = target()
    a, gone = loader("entered", t.pid), loader("entered", t.pid)
    run(FERRY, "exec", "--", "mkdir", folder, env=ENV)
    mine = bpftool("link", "list")[0]
    prog = next(p for p in bpftool("prog", "list") if p["id"] == mine["prog_id"])
    calls = next(m for m in bpftool("map", "list") if m["id"] in prog["map_ids"] and m["name"] == "calls")
    bpftool("map", "create", "/sys/fs/bpf/nobodys", "type", "array", "key", "4", "value", "4", "entries", "1", "name", "nobodys")
    check("a_map_whose_maker_has_ended_lives_by_its_pin", bpftool("map", "show", "pinned", "/sys/fs/bpf/nobodys")["name"] == "nobodys")
    for kind, number in (("map", calls["id"]), ("prog", prog["id"]), ("link", mine["id"])):
        bpftool(kind, "pin", "id", str(number), f"{folder}/{kind}")
    t.say("3")
    kill_both()
    # Asked at once: before anybody can have handed anything back.
    dump = bpftool("map", "dump", "pinned", folder + "/map")
    check("a_pinned_map_that_a_member_has_is_handed_back", isinstance(dump, list) and [e["formatted"]["value"] for e in dump] == [3], dump)
    shown = bpftool("prog", "show", "pinned", folder + "/prog")
    check("and_a_program", (shown or {}).get("id") == prog["id"], shown)
    shown = bpftool("link", "show", "pinned", folder + "/link")
    check("and_a_link_that_its_maker_has", (shown or {}).get("prog_id") == prog["id"], shown)
    r = run(FERRY, "exec", "--", BPFTOOL, "map", "show", "pinned", "/sys/fs/bpf/nobodys", env=ENV)
    check("a_pin_of_what_nobody_has_is_ENOENT", r.returncode and "No such file" in r.all, r.all)

    def names():
        return run(FERRY, "exec", "--", "find", "/sys/fs/bpf", "-type", "f", env=ENV).stdout.split()

    check("and_its_name_has_gone", names() and all(n.startswith(folder) for n in names()), names())
    bpftool("map", "create", "/sys/fs/bpf/nobodys", "type", "array", "key", "4", "value", "4", "entries", "1", "name", "again")
    check("and_may_be_used_again", (bpftool("map", "show", "pinned", "/sys/fs/bpf/nobodys") or {}).get("name") == "again")
    # What was handed back is pinned as before: it lives when who handed it back does not.
    number = calls["id"]
    for x in (a, gone):
        x.p.kill()
        x.p.wait()
    t.say("4")
    dump = bpftool("map", "dump", "pinned", folder + "/map")
    check("what_was_handed_back_outlives_who_did", isinstance(dump, list) and [e["formatted"]["value"] for e in dump] == [7], dump)
    os.kill(brokers()[0], signal.SIGKILL)
    check("and_the_broker_after_that", (bpftool("map", "show", "pinned", folder + "/map") or {}).get("id") == number)
    # The link's maker is dead, its target has the program and the map.
    kill_both()
    check("a_pinned_link_whose_maker_has_ended_goes_with_its_name", wait_for(lambda: folder + "/link" not in names() and not bpftool("link", "list")), names())
    check("its_program_and_map_are_handed_back_by_the_target",
          [(bpftool(k, "show", "pinned", f"{folder}/{k}") or {}).get("id") for k in ("prog", "map")] == [prog["id"], number])

    def silent():
        before = bpftool("map", "dump", "pinned", folder + "/map")
        t.say("2")
        return before and bpftool("map", "dump", "pinned", folder + "/map") == before

    check("and_its_probes_have_gone", wait_for(silent))
    run(FERRY, "exec", "--", "rm", "-r", folder, "/sys/fs/bpf/nobodys", env=ENV)
    check("and_ends_with_its_name", wait_for(lambda: not (bpftool("link", "list") or bpftool("map", "list"))), bpftool("map", "list"))
    t.end()


def pinned_link():
    t = target()
    a = loader("entered", t.pid)
    link, = bpftool("link", "list")
    number = {m["name"]: m for m in bpftool("map", "list")}["calls"]["id"]
    bpftool("link", "pin", "id", str(link["id"]), "/sys/fs/bpf/link")
    a.p.kill()
    a.p.wait()

    def count():
        return bpftool("map", "dump", "id", str(number))[0]["formatted"]["value"]

    t.say("4")
    check("a_pinned_link_outlives_its_loader", count() == 4)
    os.kill(brokers()[0], signal.SIGKILL)
    time.sleep(1)
    t.say("3")
    check("and_the_broker", count() == 7)
    later = target("first=1")
    later.end()
    run(FERRY, "exec", "--", "rm", "/sys/fs/bpf/link", env=ENV)
    check("it_ends_with_its_name", wait_for(lambda: bpftool("link", "list") == [] and bpftool("map", "list") == []), bpftool("link", "list"))
    t.say("2")
    t.end()


def taken_back():
    """The owner of a pinned link is its owner to the next broker too."""
    t = target()
    a = loader("entered", t.pid)
    check("a_loader_pins_its_link", a.say("pin /sys/fs/bpf/mine") == "0")
    os.kill(brokers()[0], signal.SIGKILL)
    t.say("2")
    check("an_owner_unpins_after_the_brokers_death", a.say("unpin") == "0")
    t.say("3")
    check("and_its_link_goes_on", a.say(f"count {t.pid}") == "5")
    os.kill(brokers()[0], signal.SIGKILL)
    check("an_owner_detaches_after_the_brokers_death", a.say("destroy") == "0")
    t.say("4")
    check("and_no_program_runs_when_that_has_returned", a.say(f"count {t.pid}") == "5", a.say(f"count {t.pid}"))
    a.end()
    a = loader("entered", t.pid)
    link, = bpftool("link", "list")
    bpftool("link", "pin", "id", str(link["id"]), "/sys/fs/bpf/theirs")
    a.say("destroy")
    t.say("6")
    check("a_link_that_others_pinned_outlives_its_owners_descriptor", a.say(f"count {t.pid}") == "6", a.say(f"count {t.pid}"))
    run(FERRY, "exec", "--", "rm", "/sys/fs/bpf/theirs", env=ENV)
    check("and_ends_with_its_name", wait_for(lambda: bpftool("link", "list") == []))
    a.end()
    t.end()


def pinned_storm():
    """The broker is killed again and again, at any moment, while maps, programs and links are pinned and used."""
    rng = random.Random(11)
    t = target()
    a = loader("entered", t.pid)
    maps = {m["name"]: m["id"] for m in bpftool("map", "list")}
    link, = bpftool("link", "list")
    for kind, number in (("map", maps["calls"]), ("prog", link["prog_id"]), ("link", link["id"])):
        bpftool(kind, "pin", "id", str(number), f"/sys/fs/bpf/{kind}")
    calls, wrong, killed = 0, [], 0

    def count():
        dump = bpftool("map", "dump", "pinned", "/sys/fs/bpf/map")
        return dump[0]["formatted"]["value"] if isinstance(dump, list) and dump else dump

    questions = [("old process", lambda: int(a.say(f"count {t.pid}")), lambda: calls),
                 ("new process", count, lambda: calls),
                 ("program", lambda: (bpftool("prog", "show", "pinned", "/sys/fs/bpf/prog") or {}).get("name"), lambda: "entered"),
                 ("link", lambda: (bpftool("link", "show", "pinned", "/sys/fs/bpf/link") or {}).get("prog_id"), lambda: link["prog_id"]),
                 ("its program by number", lambda: (bpftool("prog", "show", "id", str(link["prog_id"])) or {}).get("id"), lambda: link["prog_id"])]
    end = time.monotonic() + 6
    while time.monotonic() < end:
        stop = time.monotonic() + rng.random() * 0.12
        killer = subprocess.Popen([sys.executable, "-c", f"import os,time; time.sleep({rng.random() * 0.1}); os.kill({brokers()[0]}, 9)"],
                                  stderr=subprocess.DEVNULL)
        while killer.poll() is None or time.monotonic() < stop:
            n = rng.randrange(1, 2000)
            calls += n
            t.say(str(n))
            name, ask, right = rng.choice(questions)
            got = ask()
            if got != right():
                wrong.append((name, got, right(), killed))
        killed += 1
        if not wait_for(lambda: len(brokers()) >= 2):
            wrong.append(("no broker", killed))
    check("pins_answer_as_before_while_brokers_are_killed", not wrong and killed > 5, (killed, wrong[:5], len(wrong)))
    a.p.kill()
    a.p.wait()
    t.say("5")
    calls += 5
    check("and_when_the_loader_is_killed_too", [ask() for _, ask, _ in questions[1:]] == [right() for _, _, right in questions[1:]],
          [ask() for _, ask, _ in questions[1:]])
    os.kill(brokers()[0], signal.SIGKILL)
    run(FERRY, "exec", "--", "rm", *(f"/sys/fs/bpf/{k}" for k in ("map", "prog", "link")), env=ENV)
    check("all_ends_with_the_names", wait_for(lambda: not (bpftool("link", "list") or bpftool("prog", "list") or bpftool("map", "list"))),
          (bpftool("link", "list"), bpftool("prog", "list")))
    t.end()


def dead_loader():
    """What a killed loader's programs committed stays, the programs do not."""
    targets = [target() for _ in range(6)]
    paths = [f"/sys/fs/bpf/{name}" for name in ("calls", "records")]

    def attach_and_pin(prog):
        a = loader(prog, -1, 9)
        maps = {m["name"]: m["id"] for m in bpftool("map", "list")}
        for path in paths:
            bpftool("map", "pin", "id", str(maps[os.path.basename(path)]), path)
        return a

    a = attach_and_pin("recorded")
    for t in targets:
        t.say("100")
    a.p.kill()
    a.p.wait()
    b = Talk(os.path.join(HERE, "share_loader"), "pinned", *paths)
    got = b.read()[:-1]
    want = [f"{t.pid} entered {n} 9" for t in targets for n in range(1, 101)]
    check("a_new_process_reads_all_that_a_killed_loaders_ring_has", sorted(got) == sorted(want), (b.hello, len(got), got[:3]))
    b.end()
    run(FERRY, "exec", "--", "rm", *paths, env=ENV)
    a = attach_and_pin("entered")
    b = Talk(os.path.join(HERE, "share_loader"), "pinned", *paths)

    def silent(t):
        before = b.say(f"count {t.pid}")
        t.say("1")
        return b.say(f"count {t.pid}") == before

    check("programs_of_a_living_loader_run", not any(silent(t) for t in targets))
    a.p.kill()
    start = time.monotonic()
    ok = wait_for(lambda: all(silent(t) for t in targets))
    took = time.monotonic() - start
    check("a_killed_loaders_programs_are_gone_everywhere", ok, took)
    print(f"# gone from {len(targets)} targets {took * 1000:.0f} ms after the kill")
    a.p.wait()
    b.end()
    run(FERRY, "exec", "--", "rm", *paths, env=ENV)
    for t in targets:
        t.end()


def circles():
    """A program that its own prog array holds does not outlive its loader, whoever else has programs there."""
    t = target()
    stays = loader("entered", t.pid)
    t.say("1")

    def objects():
        found = []
        for fd in os.listdir(f"/proc/{t.pid}/fd"):
            try:
                name = os.readlink(f"/proc/{t.pid}/fd/{fd}")
            except OSError:
                continue
            found += [name] if name.startswith("/memfd:bpf-") else []
        return sorted(found)

    before = objects()
    a = loader("tailed", t.pid, 0, ELEMENTS)
    check("a_program_is_put_into_its_own_array", a.say("jump tailed") == "0")
    t.say("1")
    check("and_calls_itself_to_the_end", a.say("count 9999") == "1", a.say("count 9999"))
    check("its_objects_are_in_the_target", any("jumps" in o for o in objects()), objects())
    a.p.kill()
    a.p.wait()
    check("and_are_gone_after_their_loader", wait_for(lambda: objects() == before), (before, objects()))
    n = int(stays.say(f"count {t.pid}"))
    t.say("2")
    check("others_programs_go_on", stays.say(f"count {t.pid}") == str(n + 2))
    stays.end()
    t.end()


def killed_target():
    t = target()
    a = loader("recorded", t.pid, 5)
    t.say("200")
    t.p.kill()
    t.p.wait()
    got = a.read()
    check("what_a_killed_target_committed_is_read", got[:-1] == [f"{t.pid} entered {n} 5" for n in range(1, 201)], got[:3] + got[-3:])
    a.end()


def storm():
    """Loaders, targets and the broker are killed at random while all are busy; who is left goes on."""
    rng = random.Random(7)
    targets, loaders, worked = [target() for _ in range(3)], [], {}
    wrong, end = [], time.monotonic() + 8
    while time.monotonic() < end:
        dice = rng.random()
        if dice < 0.25 and len(loaders) < 4:
            pid = rng.choice([-1] + [t.pid for t in targets])
            a = loader(rng.choice(["entered", "recorded", "returned"]), pid)
            (loaders.append if a.hello.startswith("attached") else wrong.append)(a)
        elif dice < 0.35 and loaders:
            a = loaders.pop(rng.randrange(len(loaders)))
            a.p.kill() if rng.random() < 0.5 else a.p.stdin.close()
            a.p.wait(timeout=20)
        elif dice < 0.42:
            t = targets.pop(rng.randrange(len(targets)))
            t.p.kill()
            t.p.wait()
            targets.append(target())
        elif dice < 0.5 and brokers():
            try:
                os.kill(rng.choice(brokers()), signal.SIGKILL)
            except ProcessLookupError:
                pass
        else:
            t, n = rng.choice(targets), rng.randrange(1, 20000)
            worked[t.pid] = worked.get(t.pid, 0) + n
            if t.say(str(n)) != f"{t.pid} {worked[t.pid]}":
                wrong.append((t.pid, worked[t.pid]))
    check("targets_go_on_whoever_is_killed", not [w for w in wrong if isinstance(w, tuple)], wrong)
    check("loaders_attach_whoever_is_killed", not [w for w in wrong if isinstance(w, Talk)], [w.hello for w in wrong if isinstance(w, Talk)])
    for a in loaders:
        a.end()
    t = targets[0]
    a = loader("entered", t.pid)
    t.say("11")
    check("all_is_well_after_it", a.say(f"count {t.pid}") == "11", a.hello)
    a.end()
    links = bpftool("link", "list")
    check("nothing_is_left_of_the_dead", links == [], links)
    for t in targets:
        t.end()


def idle():
    ok = wait_for(lambda: not brokers())
    check("the_broker_ends_when_nobody_needs_it", ok, [os.listdir(f"/proc/{p}/fd") for p in brokers()])


PARTS = [one_target, records, any_process, elements, refusals, seen_by_tools, closed_descriptors, children, namespaces, stopped_target]
DEATHS = [deaths, both_at_once, pinned_link, taken_back, pinned_storm, dead_loader, circles, killed_target, storm, idle]


def main():
    parts = [p for p in PARTS + DEATHS if p.__name__ in sys.argv[4:]] if sys.argv[4:] else PARTS + DEATHS
    for part in parts:
        if BPFTOOL == "none" and part in (deaths, both_at_once, pinned_link, taken_back, pinned_storm, dead_loader, storm):
            skip(part.__name__, "there is no bpftool")
        else:
            part()


try:
    main()
finally:
    for pid in brokers():
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(RUNTIME, ignore_errors=True)
done()
