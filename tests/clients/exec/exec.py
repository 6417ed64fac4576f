#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Unmodified clients under `ferry exec`: exec.py FERRY BUILD-FOLDER EXAMPLES BPFTOOL
[static]. TAP."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import check, done, skip  # noqa: E402

FERRY, HERE, EXAMPLES, BPFTOOL = sys.argv[1:5]
# Sessions that are looked for are this test's: others make theirs at the same time.
OWN = tempfile.TemporaryDirectory(prefix="fx")
os.environ["XDG_RUNTIME_DIR"] = OWN.name


def run(*args, **kw):
    """A command under ferry exec."""
    r = subprocess.run([FERRY, "exec", "--private", "--", *args], capture_output=True, timeout=120, text=True, **kw)
    r.all = f"exit {r.returncode}\n{r.stdout}\n{r.stderr}"
    return r


def sh(script, **kw):
    return run("sh", "-ec", script, **kw)


def sessions():
    return {f for f in os.listdir(OWN.name) if re.match(r"ferry-\d+-\w{6}$", f)}


def the_command():
    r = run("env", "--help")
    check("help_behind_the_command_is_the_commands", r.returncode == 0 and "Usage: env" in r.stdout, r.all)
    before = sessions()
    check("exit_code_is_the_commands", sh("exit 7").returncode == 7)
    check("signal_is_128_and_its_number", sh("kill -KILL $$").returncode == 128 + 9)
    check("missing_command_is_127", run("/no/such/command").returncode == 127)
    r = subprocess.run([FERRY, "exec"], capture_output=True, text=True)
    check("no_command_is_usage", r.returncode == 2, r.stderr)
    check("the_session_is_gone_with_its_command", not sessions() - before, sessions() - before)
    r = sh(f'd=$FERRY_SESSION; "{FERRY}" exec -- sh -c "test \\$FERRY_SESSION = $d"; test -d $d')
    check("nested_command_joins_the_session", r.returncode == 0, r.all)


def files():
    r = sh("cat /sys/kernel/tracing/events/syscalls/sys_enter_openat/format;"
           "cat /sys/kernel/debug/tracing/events/syscalls/sys_enter_openat/id")
    number = re.search(r"^ID: (\d+)$", r.stdout, re.M)
    # The fields of Linux's SYSCALL_DEFINE4(openat, ...): the number, then words from 16 on.
    want = ["field:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;", "field:int dfd;\toffset:16;\tsize:8;\tsigned:0;",
            "field:const char * filename;\toffset:24;\tsize:8;\tsigned:0;", "field:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;"]
    check("events_have_format_and_id", number and r.stdout.endswith(f"\n{number[1]}\n") and all(w in r.stdout for w in want), r.all)
    r = sh("ls /sys/kernel/tracing/events /sys/kernel/tracing/events/sched")
    check("events_are_listed", {"syscalls", "sched", "sched_switch"} <= set(r.stdout.split()), r.all)
    r = sh("wc -l < /sys/kernel/tracing/available_events; ls /sys/kernel/tracing/events/syscalls | wc -l")
    check("every_system_call_has_two_events", min(map(int, r.stdout.split())) > 600, r.all)
    r = sh("stat -f -c %t /sys/fs/bpf /sys/kernel/tracing; cat /sys/bus/event_source/devices/uprobe/type")
    check("file_systems_have_their_magic", r.stdout.split() == ["cafe4a11", "74726163", "8"], r.all)
    r = sh("mkdir /sys/fs/bpf/d; mkdir /sys/fs/bpf/a.b 2>&1 || true; rmdir /sys/fs/bpf/d; ls -a /sys/fs/bpf")
    check("bpffs_takes_folders_but_no_dots", "not permitted" in r.stdout and r.stdout.endswith(".\n..\n"), r.all)
    r = sh("mkdir -p /sys/fs/bpf/p/q && cd /sys/fs && ls bpf/p && rmdir bpf/p/q bpf/p && ls bpf")
    check("relative_paths_lead_there_too", r.stdout == "q\n", r.all)
    r = sh("echo 'p:x /bin/true:0' >> /sys/kernel/tracing/uprobe_events; cat /sys/kernel/tracing/uprobe_events")
    check("probe_files_can_be_written", r.stdout == "p:uprobes/x /bin/true:0x0000000000000000\n", r.all)
    r = sh("head -c 2 /sys/kernel/btf/vmlinux | od -An -tx2")
    check("vmlinux_btf_is_there", r.stdout.strip() == "eb9f", r.all)


MEMLOCK = """
import resource
print(1)
resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(2)
resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 29, 1 << 29))
"""


def limits():
    r = run(sys.executable, "-c", MEMLOCK)
    check("only_the_limit_of_locked_memory_is_granted", r.stdout == "1\n2\n" and "not allowed" in r.stderr, r.all)


MAPS_OUT = ["array 0 0", "array 5 25", "array 10 100", "array 15 225", "array 256 No such file or directory",
            "hash 3 6 three", "hash 3 No such file or directory", "program with log", "bad program Invalid argument"]


def static():
    """Not confined: a filter that forbids bpf(2) comes before one that hands it over."""
    program = os.path.join(HERE, "maps_static")
    r = run(program)
    check("static_program_is_answered", r.stdout.splitlines() == MAPS_OUT, r.all)
    # What only Ferry can have done: the file system of the machine's kernel is not looked at.
    r = subprocess.run([FERRY, "exec", "--private", "--raw", "--", "sh", "-ec", f'"{program}" /sys/fs/bpf/from_static > /dev/null;'
                        f'ls /sys/fs/bpf; "{HERE}/maps" | head -1'], capture_output=True, timeout=120, text=True)
    check("static_and_dynamic_programs_share_a_session", r.stdout.splitlines() == ["from_static", "array 0 0"],
          f"{r.returncode}\n{r.stdout}\n{r.stderr}")


THREADS = """
import os, sys, threading
def work(): [bytearray(5000 + i) for i in range(1000)]; done.append(1)
done = []
for n in range(2):
    t = [threading.Thread(target=work) for i in range(4)]
    [x.start() for x in t]; [x.join() for x in t]
    pid = os.fork() if not n else -1
    if not pid: print("child", flush=True)
    if pid > 0: os.waitpid(pid, 0)
    elif not pid: os._exit(0)
work(); work(); work(); work()
print(len(done))
"""


def allocator():
    """The allocator comes behind Ferry's library, and calls through it."""
    env = dict(os.environ, LD_PRELOAD=os.path.join(HERE, "liballocator.so"))
    r = run(os.path.join(HERE, "maps"), env=env)
    check("hooks_allocate_nothing_when_an_allocator_calls", r.stdout.splitlines() == MAPS_OUT, r.all)
    r = run(sys.executable, "-c", THREADS, env=env)
    check("nor_for_an_allocator_in_threads_and_children", r.stdout.split() == ["child", "12"], r.all)


def bare():
    r = run(os.path.join(HERE, "maps"))
    check("maps_and_programs_by_bare_system_call", r.stdout.splitlines() == MAPS_OUT, r.all)
    objcopy = shutil.which("llvm-objcopy") or shutil.which("llvm-objcopy-14")
    if not objcopy:
        skip("text_section_on_a_tracepoint", "llvm-objcopy is missing")
    else:
        with tempfile.TemporaryDirectory() as tmp:
            text = os.path.join(tmp, "prog.text")
            subprocess.run([objcopy, "--dump-section", f".text={text}", os.path.join(HERE, "text.bpf.o"),
                            os.path.join(tmp, "o")], check=True)
            r = run(os.path.join(HERE, "text"), text, "syscalls/sys_enter_execve")
            check("text_section_on_a_tracepoint", r.returncode == 0 and r.stdout == "attached\n", r.all)
    r = sh(f'"{HERE}/loop" "{HERE}/loop.bpf.o"; timeout 1 cat /sys/kernel/tracing/trace_pipe || true')
    lines = r.stdout.splitlines()
    # kernel: "%16s-%-7d [%03d] %s %5lu.%06lu: bpf_trace_printk: "
    form = re.compile(r"^.{16}-\d+ +\[\d{3}\] \S{4,5} +\d+\.\d{6}: bpf_trace_printk: tick (\d) of loop$")
    ticks = [m[1] for m in map(form.match, lines[1:]) if m]
    check("libbpf_opens_loads_attaches_and_is_hit", lines[:1] == ["ticking"], r.all)
    check("trace_pipe_shows_lines_of_another_process", ticks == ["0", "1", "2"], r.all)
    r = sh(f'"{HERE}/loop" "{HERE}/loop.bpf.o"; "{FERRY}" trace --drain; "{FERRY}" trace --drain')
    check("ferry_trace_takes_lines_once", len([1 for x in r.stdout.splitlines() if form.match(x)]) == 3, r.all)


# Whoever is this user can say anything to the broker.
NONSENSE = """
import os, random, socket, struct, subprocess, sys
random.seed(7)
path = os.environ["FERRY_SESSION"] + "/sock"
for i in range(300):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(5)
    s.connect(path)
    op = random.choice([0, 1, 2, 3, 4, 5, 99, 0xffffffff])
    data = struct.pack("<IiQQIIII", op, random.choice([0, -1, 1 << 30]), random.getrandbits(64), random.getrandbits(64),
                       random.choice([0, 1, 0xffffffff]), random.getrandbits(32), random.getrandbits(32),
                       random.choice([0, 1, 200, 0xffffffff]))
    data = data[:random.choice([len(data), len(data), len(data), 1, 20])] + bytes(random.choice([0, 0, 0, 50]))
    files = [os.open(random.choice(["/dev/null", sys.executable]), os.O_RDONLY) for _ in range(random.choice([0, 0, 1, 2, 5, 250]))]
    socket.send_fds(s, [data], files)
    for f in files:
        os.close(f)
    if random.random() < 0.5:
        try:
            socket.recv_fds(s, 100, 253)
        except OSError:
            pass
    s.close()
sys.exit(subprocess.run([sys.argv[1], "/sys/fs/bpf/still_here"], stdout=subprocess.DEVNULL).returncode)
"""

MAPS = """
t() { "$BPFTOOL" "$@"; }
t map create /sys/fs/bpf/m type hash key 4 value 8 entries 16 name counts
t map update pinned /sys/fs/bpf/m key 1 0 0 0 value 5 0 0 0 0 0 0 0
t map update pinned /sys/fs/bpf/m key 2 0 0 0 value 6 0 0 0 0 0 0 0
t -j map lookup pinned /sys/fs/bpf/m key 2 0 0 0
t -j map dump pinned /sys/fs/bpf/m
t map delete pinned /sys/fs/bpf/m key 2 0 0 0
t -j map dump pinned /sys/fs/bpf/m
t -j map show name counts
mv /sys/fs/bpf/m /sys/fs/bpf/n
t -j map getnext pinned /sys/fs/bpf/n
rm /sys/fs/bpf/n
t -j map list
"""

PROGS = """
t() { "$BPFTOOL" "$@"; }
t prog load "$OBJ" /sys/fs/bpf/p pinmaps /sys/fs/bpf/maps
t -j prog show pinned /sys/fs/bpf/p
t -j prog list
t prog dump xlated pinned /sys/fs/bpf/p
echo ====
t prog dump jited pinned /sys/fs/bpf/p file "$TMP/code" || true
t -j prog run pinned /sys/fs/bpf/p data_in "$TMP/zero" repeat 10
t -j map dump pinned /sys/fs/bpf/maps/protocols
t btf dump prog pinned /sys/fs/bpf/p
echo ====
t -j btf list
t -j link list
t btf dump file /sys/kernel/btf/vmlinux format c
echo ====
t feature probe kernel $HOW
echo ====
rm /sys/fs/bpf/p
t -j prog list
"""


ITERATOR = """
t() { "$BPFTOOL" "$@"; }
t map create /sys/fs/bpf/m type array key 4 value 8 entries 2 name counts
t map update pinned /sys/fs/bpf/m key 1 0 0 0 value 5 0 0 0 0 0 0 0
t iter pin "$HERE/elements.bpf.o" /sys/fs/bpf/it map pinned /sys/fs/bpf/m
cat /sys/fs/bpf/it
t map update pinned /sys/fs/bpf/m key 0 0 0 0 value 9 0 0 0 0 0 0 0
while read -r line; do echo "$line"; done < /sys/fs/bpf/it
python3 -c "print(open('/sys/fs/bpf/it').read(), end='')"
t -j link show pinned /sys/fs/bpf/it || true # bpftool 7.5 shows it and exits with 255, on a kernel too
t -j prog list
rm /sys/fs/bpf/it
t -j link list
"""


def iterator():
    r = sh(ITERATOR, env=dict(os.environ, BPFTOOL=BPFTOOL, HERE=HERE))
    lines = r.stdout.splitlines()
    check("a_pinned_iterator_is_read_by_other_processes", lines[:2] == ["counts 0 0", "counts 1 5"] and
          lines[2:6] == ["counts 0 9", "counts 1 5"] * 2, r.all)
    link, progs = (json.loads(x) for x in lines[6:8]) if len(lines) == 9 else ({}, [])
    check("bpftool_shows_it", link.get("type") == "iter" and link.get("target_name") == "bpf_map_elem" and
          [p["name"] for p in progs] == ["elements"] and json.loads(lines[8]) == [], r.all)


def bpftool():
    env = dict(os.environ, BPFTOOL=BPFTOOL, OBJ=os.path.join(EXAMPLES, "packets.bpf.o"))
    r = sh(MAPS, env=env)
    out = [json.loads(x) for x in r.stdout.splitlines() if x[:1] in "{[" and x != "{}"] if r.returncode == 0 else []
    check("bpftool_works_on_maps", len(out) >= 5 and out[0]["value"][0] == "0x06" and len(out[1]) == 2 and
          len(out[2]) == 1 and out[3]["name"] == "counts" and out[4]["next_key"][0] == "0x01" and out[-1] in ([], {}, out[4]), r.all)
    with tempfile.TemporaryDirectory() as tmp:
        with open(os.path.join(tmp, "zero"), "wb") as f:
            f.write(bytes(64))
        # bpftool itself wants capabilities for more; user 0 may have none (tests/confine).
        with open("/proc/self/status") as f:
            powers = int(re.search(r"CapEff:\s*(\w+)", f.read())[1], 16)
        r = sh(PROGS, env=dict(env, TMP=tmp, HOW="" if powers else "unprivileged"))
        parts = r.stdout.split("====\n")
        if r.returncode or len(parts) != 5:
            check("bpftool_works_on_programs", False, r.all)
            return
        shown, listed = (json.loads(x) for x in parts[0].splitlines()[:2])
        check("bpftool_shows_what_another_process_loaded", shown["type"] == "xdp" and [p["id"] for p in listed] == [shown["id"]] and
              re.fullmatch("[0-9a-f]{16}", shown["tag"]), parts[0])
        check("bpftool_dumps_instructions_with_source", re.search(r"int filter\(.*\n; .*\n +0: \(b", parts[0]) and
              "map[id:" in parts[0], parts[0])
        if re.search("libbfd|No JIT disassembly support", r.stderr + r.stdout):
            skip("bpftool_dumps_machine_code", "this bpftool was built without a disassembler")
        else:
            check("bpftool_dumps_machine_code", os.path.getsize(os.path.join(tmp, "code")) == shown["bytes_jited"])
        ran, dumped = (json.loads(x) for x in parts[1].splitlines()[:2])
        # 64 zero bytes are no IPv4 packet: XDP_PASS, and nothing counted.
        check("bpftool_runs_a_program", ran["retval"] == 2, parts[1])
        check("bpftool_dumps_maps_by_their_types", len(dumped) == 256 and "formatted" in dumped[0], parts[1][:300])
        check("bpftool_dumps_btf", re.search(r"FUNC 'filter' type_id=\d+ linkage=global", parts[1]) and
              '"vmlinux"' in parts[2] and "struct xdp_md {" in parts[2], r.all)
        probe = parts[3]
        want = ["eBPF program_type socket_filter is available", "eBPF map_type hash is available", "bpf_map_lookup_elem"]
        check("bpftool_probes_features", all(w in probe for w in want), probe[-2000:])
        check("unpinned_is_gone", json.loads(parts[4]) == [], parts[4])


if "static" in sys.argv[5:]:
    static()
    done()
the_command()
files()
limits()
allocator()
bare()
r = run(sys.executable, "-c", NONSENSE, os.path.join(HERE, "maps"))
check("nonsense_to_the_broker_does_no_harm", r.returncode == 0, r.all)
if BPFTOOL == "none":
    skip("bpftool", "bpftool is not installed")
else:
    bpftool()
    iterator()
done()
