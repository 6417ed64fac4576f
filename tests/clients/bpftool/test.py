#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
bpftool under `ferry exec --private` and on the kernel, the same commands with --json, compared field by field:
test.py FERRY BPFTOOL PACKETS.bpf.o ITER.bpf.o. What must differ (numbers, times, sizes of machine code) is masked. TAP.
"""
import json
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tap import check, done, run, skip_all

FERRY, BPFTOOL, PACKETS, ITER = sys.argv[1:5]
D = f"/sys/fs/bpf/ferry_bpftool_{os.getpid()}"

# Numbers and times, memory, what a compiler of another kind makes; names of newer kernels.
MASK = {"id", "btf_id", "map_ids", "prog_id", "loaded_at", "bytes_memlock", "bytes_jited", "tag", "bytes_xlated", "uid",
        "duration", "run_time_ns", "run_cnt", "prog_ids", "btf_object_id", "pids", "size"}
HASH = "key 1 0 0 0 value 5 0 0 0 0 0 0 0"
KINDS = {"hash": "key 4 value 8 entries 16", "array": "key 4 value 8 entries 4", "percpu_hash": "key 4 value 8 entries 4",
         "percpu_array": "key 4 value 8 entries 2", "lru_hash": "key 4 value 8 entries 16",
         "lpm_trie": "key 8 value 8 entries 4 flags 1", "queue": "value 4 entries 3", "stack": "value 4 entries 3",
         "prog_array": "key 4 value 4 entries 2", "ringbuf": "entries 4096", "bloom_filter": "value 4 entries 16",
         "stack_trace": "key 4 value 16 entries 8", "perf_event_array": "key 4 value 4 entries 2"}
STEPS = [(f"map_create_{k}", f"map create {D}/{k} type {k} {v} name a_{k[:12]}") for k, v in KINDS.items()]
STEPS += [(f"map_show_{k}", f"map show pinned {D}/{k}") for k in KINDS]
STEPS += [
    ("map_show_files", f"-f map show pinned {D}/hash"),
    ("map_show_by_name", "map show name a_hash"),
    ("map_update", f"map update pinned {D}/hash {HASH}"),
    ("map_update_noexist", f"map update pinned {D}/hash {HASH} noexist"),
    ("map_update_exist", f"map update pinned {D}/hash key 9 0 0 0 value 1 0 0 0 0 0 0 0 exist"),
    ("map_lookup", f"map lookup pinned {D}/hash key 1 0 0 0"),
    ("map_lookup_missing", f"map lookup pinned {D}/hash key 2 0 0 0"),
    ("map_lookup_short_key", f"map lookup pinned {D}/hash key 1"),
    ("map_dump_hash", f"map dump pinned {D}/hash"),
    ("map_getnext", f"map getnext pinned {D}/hash"),
    ("map_getnext_last", f"map getnext pinned {D}/hash key 1 0 0 0"),
    ("map_delete", f"map delete pinned {D}/hash key 1 0 0 0"),
    ("map_delete_missing", f"map delete pinned {D}/hash key 1 0 0 0"),
    ("map_dump_empty", f"map dump pinned {D}/hash"),
    ("map_dump_array", f"map dump pinned {D}/array"),
    ("map_update_percpu", f"map update pinned {D}/percpu_array key 0 0 0 0 value 7 0 0 0 0 0 0 0"),
    ("map_lookup_percpu", f"map lookup pinned {D}/percpu_array key 0 0 0 0"),
    ("map_dump_percpu", f"map dump pinned {D}/percpu_array"),
    ("map_lpm_update", f"map update pinned {D}/lpm_trie key 16 0 0 0 10 1 0 0 value 1 0 0 0 0 0 0 0"),
    ("map_lpm_lookup", f"map lookup pinned {D}/lpm_trie key 32 0 0 0 10 1 2 3"),
    ("map_enqueue", f"map enqueue pinned {D}/queue value 1 0 0 0"),
    ("map_enqueue_again", f"map enqueue pinned {D}/queue value 2 0 0 0"),
    ("map_peek_queue", f"map peek pinned {D}/queue"),
    ("map_dequeue", f"map dequeue pinned {D}/queue"),
    ("map_push", f"map push pinned {D}/stack value 1 0 0 0"),
    ("map_push_again", f"map push pinned {D}/stack value 2 0 0 0"),
    ("map_peek_stack", f"map peek pinned {D}/stack"),
    ("map_pop", f"map pop pinned {D}/stack"),
    ("map_pop_again", f"map pop pinned {D}/stack"),
    ("map_pop_empty", f"map pop pinned {D}/stack"),
    ("map_dump_queue", f"map dump pinned {D}/queue"),
    ("map_dump_ringbuf", f"map dump pinned {D}/ringbuf"),
    ("map_freeze", f"map freeze pinned {D}/array"),
    ("map_update_frozen", f"map update pinned {D}/array key 0 0 0 0 value 1 0 0 0 0 0 0 0"),
    ("map_show_frozen", f"map show pinned {D}/array"),
    ("map_pin", f"map pin pinned {D}/hash {D}/hash_again"),
    ("map_pin_taken", f"map pin pinned {D}/hash {D}/array"),
    ("map_create_taken", f"map create {D}/hash type hash key 4 value 4 entries 1 name x"),
    ("map_create_bad", f"map create {D}/bad type array key 8 value 4 entries 1 name x"),
    ("map_in_map", f"map create {D}/outer type array_of_maps key 4 value 4 entries 2 name outer inner_map pinned {D}/queue"),
    ("map_show_outer", f"map show pinned {D}/outer"),
    ("prog_loadall", f"prog loadall {PACKETS} {D}/progs pinmaps {D}/maps"),
    ("prog_show", f"prog show pinned {D}/progs/filter"),
    ("prog_show_files", f"-f prog show pinned {D}/progs/filter"),
    ("prog_show_by_name", "prog show name filter"),
    ("prog_load_taken", f"prog load {PACKETS} {D}/progs/filter"),
    ("prog_load_none", f"prog load /dev/null {D}/none"),
    ("prog_pin", f"prog pin pinned {D}/progs/filter {D}/pinned"),
    ("prog_run", f"prog run pinned {D}/progs/filter data_in {{TMP}}/zero data_out - repeat 2"),
    ("prog_dump_btf", f"btf dump prog pinned {D}/progs/filter"),
    ("prog_attach_refused", f"prog attach pinned {D}/progs/filter msg_verdict pinned {D}/hash"),
    ("map_dump_typed", f"map dump pinned {D}/maps/protocols"),
    ("map_lookup_typed", f"map lookup pinned {D}/maps/protocols key 6 0 0 0"),
    ("btf_dump_map", f"btf dump map pinned {D}/maps/protocols"),
    ("btf_dump_map_key", f"btf dump map pinned {D}/maps/protocols key"),
    ("btf_dump_map_all", f"btf dump map pinned {D}/maps/protocols all"),
    ("btf_dump_file", f"btf dump file {PACKETS}"),
    ("iter_pin", f"iter pin {ITER} {D}/iter"),
    ("link_show_pinned", f"link show pinned {D}/iter"),
    ("link_pin", f"link pin pinned {D}/iter {D}/link"),
    ("link_detach", f"link detach pinned {D}/iter"),
    ("struct_ops_list", "struct_ops list"),
    ("net_list", "net list"),
    ("cgroup_show", "cgroup show /sys/fs/cgroup"),
    ("prog_show_missing", "prog show id 4000000"),
    ("map_show_missing", "map show id 4000000"),
    ("link_show_missing", "link show id 4000000"),
    ("btf_show_missing", "btf show id 4000000"),
    ("gen_skeleton", f"gen skeleton {PACKETS} name packets"),
    ("prog_bad_command", "prog nonsense"),
]
TEXT = [
    ("prog_dump_xlated", f"prog dump xlated pinned {D}/progs/filter"),
    ("prog_dump_xlated_opcodes", f"prog dump xlated pinned {D}/progs/filter opcodes"),
    ("prog_dump_xlated_linum", f"prog dump xlated pinned {D}/progs/filter linum"),
    ("prog_dump_xlated_visual", f"prog dump xlated pinned {D}/progs/filter visual"),
]


def script(tmp):
    lines = [f'mkdir "{D}"']
    for name, args in STEPS + [(n, a) for n, a in TEXT]:
        command = f'"{BPFTOOL}" -j {args.replace("{TMP}", tmp)} 2>&1 </dev/null'
        if name.endswith("_by_name"):
            # It looks at all there are, and fails when somebody's goes meanwhile.
            command = f'for i in 1 2 3 4 5; do out=$({command}); case $out in *"by id"*) sleep 0.1;; *) break;; esac; done; echo "$out"'
        lines += [f'echo; echo "=== {name}"', command, 'echo; echo "exit $?"']
    for name, args in TEXT:
        lines += [f'echo; echo "=== text_{name}"', f'"{BPFTOOL}" {args} 2>&1 </dev/null', 'echo; echo "exit 0"']
    return "\n".join(lines) + f'\nrm -rf "{D}"\n'


def mask(x):
    if isinstance(x, dict):
        return {k: "masked" if k in MASK else [p for p in v if p.startswith(D)] if k == "pinned" else mask(v)
                for k, v in x.items()} # a bpffs may be mounted elsewhere too
    if isinstance(x, list):
        return [mask(v) for v in x]
    return x


def parts(out):
    found = {}
    for part in re.split(r"^=== ", out, flags=re.M)[1:]:
        name, _, rest = part.partition("\n")
        body = rest.rsplit("exit ", 1)[0].strip()
        if name.startswith("text_"):
            found[name] = body
            continue
        try:
            found[name] = mask(json.loads(body)) if body else None
        except ValueError:
            found[name] = body
    return found


if os.geteuid():
    skip_all("the kernel's bpftool needs root")
if not os.path.ismount("/sys/fs/bpf"):
    skip_all("there is no bpffs")
if run(BPFTOOL, "map", "list").returncode:
    skip_all("no bpf(2) of the kernel")
with tempfile.TemporaryDirectory() as tmp:
    with open(os.path.join(tmp, "zero"), "wb") as f:
        f.write(bytes(64))
    path = os.path.join(tmp, "steps")
    with open(path, "w") as f:
        f.write(script(tmp))
    kernel = run("sh", path, timeout=120)
    ferry = run(FERRY, "exec", "--private", "--", "sh", path, timeout=120)
want, got = parts(kernel.stdout), parts(ferry.stdout)
if os.environ.get("SHOW"):
    print(ferry.stdout, ferry.stderr)


def shape(text):
    """Of a dump: source lines are the same, instructions may be others."""
    lines = [re.sub(r"\\l\\$|\\", "", line.removeprefix("| ")) for line in text.splitlines()]
    # The kernel puts code in place of calls, with blocks of their own in graphs, under the same lines again.
    return list(dict.fromkeys(line for line in lines if line.startswith(";") or re.match(r"\S.*:$", line)))


for name, _ in STEPS:
    check(name, want.get(name) == got.get(name), f"kernel: {json.dumps(want.get(name))[:1500]}\nferry:  {json.dumps(got.get(name))[:1500]}")
for name, _ in TEXT:
    w, g = want.get("text_" + name), got.get("text_" + name)
    check(name, w and g and shape(w) == shape(g), f"kernel: {w[:1500]}\nferry:  {g[:1500]}")
done()
