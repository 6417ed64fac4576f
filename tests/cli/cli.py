#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The ferry command on good and bad input: cli.py FERRY OBJECT-FOLDER EXAMPLE-FOLDER. TAP."""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../clients"))
from tap import check, done  # noqa: E402

FERRY, HERE, EXAMPLES = sys.argv[1:4]


def ferry(*args, data=None):
    r = subprocess.run([FERRY, *args], input=data, capture_output=True, timeout=60)
    r.out, r.err = r.stdout.decode(errors="replace"), r.stderr.decode(errors="replace")
    return r


def sections(elf):
    """name -> (index, header offset, offset, size)"""
    shoff, = struct.unpack_from("<Q", elf, 40)
    n, strndx = struct.unpack_from("<HH", elf, 60)
    names_off, = struct.unpack_from("<Q", elf, shoff + 64 * strndx + 24)
    out = {}
    for i in range(n):
        name, = struct.unpack_from("<I", elf, shoff + 64 * i)
        end = elf.index(b"\0", names_off + name)
        off, size = struct.unpack_from("<QQ", elf, shoff + 64 * i + 24)
        out[elf[names_off + name:end].decode()] = (i, shoff + 64 * i, off, size)
    return out


def one_clear_line(name, r, codes=(1, 3)):
    ok = r.returncode in codes and r.err.startswith("ferry ") and ": " in r.err.splitlines()[0]
    check(name, ok, f"exit {r.returncode}\n{r.out}\n{r.err}")


def bad_input(tmp):
    good = open(os.path.join(EXAMPLES, "tour.bpf.o"), "rb").read()
    path = os.path.join(tmp, "bad.o")

    def put(data):
        with open(path, "wb") as f:
            f.write(bytes(data))
        return path

    one_clear_line("missing_file", ferry("run", os.path.join(tmp, "nowhere.o")), (3,))
    one_clear_line("a_folder_is_no_object", ferry("run", tmp), (3,))
    one_clear_line("empty_file", ferry("run", put(b"")), (3,))
    one_clear_line("text_file", ferry("run", put(b"hello world\n" * 100)), (3,))
    one_clear_line("other_machine", ferry("run", put(good[:18] + b"\x3e\x00" + good[20:])), (3,))
    one_clear_line("other_byte_order", ferry("run", put(good[:5] + b"\x02" + good[6:])), (3,))
    one_clear_line("elf_of_32_bits", ferry("run", put(good[:4] + b"\x01" + good[5:])), (3,))
    cuts = [ferry("verify", put(good[:len(good) * k // 40])) for k in range(40)]
    check("cut_off_anywhere_is_refused", all(r.returncode == 3 and r.err for r in cuts),
          [(k, r.returncode, r.err) for k, r in enumerate(cuts) if r.returncode != 3 or not r.err])
    s = sections(good)
    for name, label in ((".BTF", "btf"), (".BTF.ext", "btf_ext"), (".symtab", "symtab"), (".maps", "maps"),
                        ("syscall", "program"), (".rodata", "rodata")):
        index, header, off, size = s[name]
        for what, new in (("half_of", size // 2), ("seven_bytes_of", 7), ("far_too_much_of", 1 << 40)):
            bad = bytearray(good)
            struct.pack_into("<Q", bad, header + 32, new)
            r = ferry("verify", "--module", os.path.join(EXAMPLES, "tour_module.so"), put(bad))
            check(f"{what}_{label}_does_no_harm", r.returncode in (0, 1, 3) and (r.returncode == 0 or r.err or r.out),
                  f"exit {r.returncode}\n{r.err}")
        bad = bytearray(good)
        bad[off:off + size] = bytes(size)
        r = ferry("verify", "--module", os.path.join(EXAMPLES, "tour_module.so"), put(bad))
        check(f"zeroed_{label}_does_no_harm", r.returncode in (0, 1, 3), f"exit {r.returncode}\n{r.err}")
    one_clear_line("oversized_map", ferry("run", os.path.join(HERE, "oversized.bpf.o")), (1,))
    rng = random.Random(7)
    crashed = []
    for i in range(150):
        bad = bytearray(good)
        # What Ferry reads itself: instructions, BTF and map definitions; ELF's own tables are libelf's to check.
        for _ in range(rng.choice([1, 1, 2, 5])):
            index, header, off, size = s[rng.choice([".BTF", ".BTF.ext", "syscall", ".maps", ".rodata"])]
            bad[off + rng.randrange(size)] = rng.choice([0, 1, 0xff, 0x80, rng.randrange(256)])
        r = ferry("verify", "--module", os.path.join(EXAMPLES, "tour_module.so"), put(bad))
        if r.returncode not in (0, 1, 3):
            crashed.append((i, r.returncode, r.err))
    check("150_mutated_objects_do_no_harm", not crashed, crashed)


def wrong_uses(tmp):
    """What was wrong, where, and what would be right."""
    def says(name, r, code, *words):
        check(name, r.returncode == code and all(w in r.err for w in words) and "\n\n" not in r.err, f"exit {r.returncode}\n{r.err}")

    tour, telnet = os.path.join(EXAMPLES, "tour.bpf.o"), os.path.join(EXAMPLES, "packets.bpf.o")
    says("an_option_without_its_argument_is_named", ferry("run", "--prog"), 2, "ferry run: --prog: ", "lacks its argument")
    says("a_text_is_no_module", ferry("run", "--module", __file__, tour), 3, f"ferry run: {__file__}: ", "ELF")
    says("a_library_may_be_no_module", ferry("module", "list", "libc.so.6"), 3, "libc.so.6: exports no module", "FERRY_MODULE", "ferry module build")
    says("who_calls_what_is_missing_is_told_of_modules", ferry("run", tour), 1, "'norm1'", "--module")
    policy = os.path.join(tmp, "policy")
    with open(policy, "w", encoding="utf-8") as f:
        f.write("default allow\nallow bogus\n")
    says("a_policys_bad_line_is_named", ferry("run", "--policy", policy, telnet), 3, f"ferry run: {policy}: line 2: expected")
    with open(policy, "w", encoding="utf-8") as f:
        f.write("# nothing\n")
    r = ferry("run", "--policy", policy, telnet)
    says("what_a_policy_lacks_is_said_once", r, 1, "`allow filter type xdp'")
    check("each_line_once", r.err.count("program filter was refused: the policy lacks the line `allow filter type xdp'") == 1, r.err)
    says("a_folder_may_be_no_session", ferry("ps", "--session", tmp), 3, f"{tmp}: is no session's directory")
    obj = os.path.join(HERE, "refused.bpf.o")
    says("a_program_is_run_beside_refused_ones", ferry("run", "--prog", "good", obj), 0)
    with open(telnet, "rb") as f:
        elf = bytearray(f.read())
    index = sections(elf)[".BTF"][1]
    elf[index:index + 4] = b"\0\0\0\0"  # a section without a name
    with open(os.path.join(tmp, "nobtf.o"), "wb") as f:
        f.write(elf)
    says("an_object_without_btf_is_told_how_to_have_it", ferry("run", os.path.join(tmp, "nobtf.o")), 3, "it has no BTF; compile with 'clang -g'")


def verdicts():
    obj = os.path.join(HERE, "refused.bpf.o")
    r = ferry("verify", obj)
    check("verify_exits_1_when_one_is_refused", r.returncode == 1, r.err)
    check("verify_accepts_good", "accepted  good" in r.out, r.out)
    for prog, reason in (("no_null_check", "map_value_or_null"), ("past_the_packet", "invalid access to packet"),
                         ("endless", "infinite loop")):
        check(f"{prog}_is_refused_with_its_reason", f"refused   {prog}" in r.out and reason in r.out, r.out)
    check("verify_names_the_source_line", "refused.bpf.c:" in r.out, r.out)
    r = ferry("verify", "--json", obj)
    v = {p["program"]: p for p in json.loads(r.out)}
    check("verify_json", v["good"]["accepted"] and not v["endless"]["accepted"] and v["endless"]["errno"] == 22, r.out)
    r = ferry("verify", "--prog", "good", "--log", "2", obj)
    check("verify_of_one_program_with_its_log", r.returncode == 0 and "R1=ctx" in r.out and "processed" in r.out, r.out)
    check("verify_of_no_such_program", ferry("verify", "--prog", "nobody", obj).returncode == 3)
    r = ferry("run", "--prog", "no_null_check", obj)
    one_clear_line("run_of_refused_program", r, (1,))


def running():
    obj = os.path.join(EXAMPLES, "packets.bpf.o")
    r = ferry("run", "--json", "--repeat", "1000", obj)
    j = json.loads(r.out)
    check("run_json", j["return"] == 2 and j["runs"] == 1000 and j["maps"][0]["name"] == "protocols", r.out)
    r = ferry("run", "--data", "-", obj, data=b"x" * 10)
    one_clear_line("packet_too_short", r, (1,))
    here = subprocess.run([os.path.abspath(FERRY), "run", "--json", "--repeat", "50", "--module", "tour_module.so", "tour.bpf.o"], cwd=EXAMPLES,
                          capture_output=True, text=True, timeout=60)
    j = json.loads(here.stdout or "{}")
    total = next((m["variables"]["total"] for m in j.get("maps", []) if "total" in m.get("variables", {})), 0)
    # Its ring buffer has room for the records of 17 runs of six; each adds 105.
    check("a_program_without_a_packet_is_repeated_too", j.get("runs") == 50 and total == 17 * 105, here.stdout + here.stderr)
    check("a_module_is_found_beside_the_object", here.returncode == 0, here.stderr)
    for args in (["--repeat", "0"], ["--repeat", "x"], ["--repeat", "99999999999"], ["--bogus"], ["--prog"], []):
        r = ferry("run", *args, *([obj] if args and args[0] != "--prog" else []))
        check(f"usage_{'_'.join(args).replace('-', '') or 'nothing'}_exits_2", r.returncode == 2 and "--help" in r.err, r.err)
    r = ferry("disasm", "--json", "--jit", obj)
    j = json.loads(r.out)[0]
    machine = sum(len(i.get("machine", [])) for i in j["insns"])
    check("disasm_json", j["program"] == "filter" and j["insns"][0]["text"].endswith(" = 2") and (machine > 20 or r.returncode == 1), r.out[:500])
    r = subprocess.run([FERRY, "run", obj], capture_output=True, env={**os.environ, "FERRY_NO_JIT": "1"}, text=True)
    check("interpreted_result_is_the_same", "filter returned 2" in r.stdout, r.stdout + r.stderr)
    r = subprocess.run([FERRY, "disasm", "--jit", obj], capture_output=True, env={**os.environ, "FERRY_NO_JIT": "1"}, text=True)
    check("no_machine_code_exits_1", r.returncode == 1 and "interpreted" in r.stderr, r.stderr)
    full = open("/dev/full", "w", encoding="utf-8")
    r = subprocess.run([FERRY, "run", obj], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    check("full_disk_is_no_success", r.returncode != 0 and "cannot write" in r.stderr, r.stderr)
    for page in ("ferry.1", "ferry-run.1", "ferry-verify.1", "ferry-disasm.1"):
        check(f"man_page_{page}", os.path.exists(os.path.join(os.environ["FERRY_SOURCE_ROOT"], "docs/man", page)))


with tempfile.TemporaryDirectory() as folder:
    verdicts()
    running()
    bad_input(folder)
    wrong_uses(folder)
done()
