#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Breaks the verifier in one place at a time and says which breaks the tests do not notice.

Usage: scripts/mutants.py [--build FOLDER] [NAME...]

Works on a copy of the sources in FOLDER (build-mutants), one break after the other: a line of a file of
src/verify is replaced, the tests of the verifier are built and run. A break that no test fails on is
printed as 'SURVIVED', and the exit code is then 1. By hand: a run takes some minutes.
"""
import os
import shutil
import subprocess
import sys

# (name, file of src/verify, text, what it becomes); the text is in the file once.
BREAKS = [
    # numbers
    ("add_upper_bound", "num_alu.c", "cut_exact(&r, alo + blo, ahi + bhi, bits);",
     "cut_exact(&r, alo + blo, ahi + bhi - (ahi > alo), bits);"),
    ("sub_lower_bound", "num_alu.c", "cut_exact(&r, alo - bhi, ahi - blo, bits);",
     "cut_exact(&r, alo - blo, ahi - blo, bits);"),
    ("below_is_at_most", "num_branch.c", "return assume_below(p, op == BPF_JLT);",
     "return assume_below(p, true);"),
    ("sbelow_is_below", "num_branch.c", "return assume_sbelow(p, op == BPF_JSLT);",
     "return assume_below(p, op == BPF_JSLT);"),
    ("set_bit_is_known", "num_branch.c", "if (!(common & (common - 1))) {", "if (common) {"),
    ("clear_bits_of_unknown", "num_branch.c", "p->at.mask &= ~b1;", "p->at.mask &= ~(b1 | p->bt.mask);"),
    ("same_set", "num_branch.c", "return num_compare(BPF_JNE, is64, a, &zero);", "return NUM_TRUE;"),
    # arithmetic on registers
    ("pointer_without_limit", "alu.c", "if (n->smin == INT64_MIN)", "if (0)"),
    ("packet_pointer_keeps_range", "alu.c", "out.size = 0;", ";"),
    ("end_flags_survive_moves", "alu.c", "out.flags &= (u8)~(REG_AT_END | REG_BEYOND_END);", ""),
    ("partial_copy_keeps_value", "alu.c", "if (mov_keeps_value(insn, &src->n)) {", "if (1) {"),
    ("move_keeps_id_after_32_bits", "alu.c", "return n->umax < 1ull << (insn->off ? bits - 1 : bits);",
     "return n->umax <= 1ull << (insn->off ? bits : bits);"),
    ("neg_keeps_id", "alu.c", "num_alu(insn, &dst->n, &zero);\n\tdst->id = 0;", "num_alu(insn, &dst->n, &zero);"),
    ("sum_keeps_link", "alu.c", "} else {\n\t\tdst->id = 0;\n\t\tdst->off = 0;\n\t}\n}",
     "}\n}"),
    ("link_moves_wrong_way", "alu.c", "by = by == INT64_MIN ? 0 : -by;", ";"),
    ("map_pointer_moves", "alu.c", "if (ptr->type == REG_MAP ||", "if (0 ||"),
    ("nullable_pointer_moves", "alu.c", "if (ptr->flags & REG_NULLABLE)\n", "if (0)\n"),
    ("sum_forgets_source", "alu.c", "dst->node = vprecise_join(v, dst->node, src->node);", ";"),
    # branches
    ("refined_copies_keep_distance", "branch.c",
     "by = num_const((u64)((s64)copy->off - reg->off));", "by = num_const(0);"),
    ("null_both_sides", "branch.c", "settle_null(v, v->cur, d.id, op == BPF_JNE);",
     "settle_null(v, v->cur, d.id, op == BPF_JEQ);"),
    ("open_packet_range", "branch.c", "s64 size = (s64)known.off + open;", "s64 size = (s64)known.off + 1;"),
    ("packet_of_other_id", "branch.c", "r->type == known.type && r->id == known.id &&",
     "r->type == known.type &&"),
    ("wrapped_packet_offset", "branch.c", "if (known.n.umax > MAX_PACKET_OFF ||", "if (0 &&"),
    ("at_end_is_beyond", "branch.c", "u8 flags = op == BPF_JGT || op == BPF_JLE ?",
     "u8 flags = op == BPF_JGT || op == BPF_JLE || op == BPF_JGE ?"),
    ("decided_branch_without_marks", "branch.c", "vprecise_reg(v, dst);\n\t\tvprecise_reg(v, src);", ";"),
    # memory
    ("region_one_longer", "mem.c", "if ((u64)hi + size > region)", "if ((u64)hi + size > region + 1)"),
    ("region_below", "mem.c", "off + reg->n.smin < 0) {", "off + reg->n.smin < -8) {"),
    ("packet_one_longer", "mem.c", "(u64)off + size > reg->size)", "(u64)off + size > reg->size + 1u)"),
    # stack
    ("unwritten_stack_is_read", "stack.c", ".bytes[byte_at(i)] != BYTE_NONE)", ".bytes[byte_at(i)] != 99)"),
    ("stack_one_deeper", "stack.c", "if (*min >= -ISA_STACK_SIZE && *max <= 0)",
     "if (*min >= -ISA_STACK_SIZE - 8 && *max <= 0)"),
    ("narrow_spill_keeps_all", "stack.c", "num_zext(&s->spill.n, size * 8);", ";"),
    ("narrow_spill_keeps_id", "stack.c", "if (value->n.umax >> (size * 8)) {", "if (0) {"),
    ("narrow_fill_keeps_id", "stack.c", "if (size < spilled || (sx && size < SLOT_SIZE)) {\n\t\tout->id = 0;",
     "if (size < spilled || (sx && size < SLOT_SIZE)) {"),
    ("pointer_filled_in_part", "stack.c", "if (size != SLOT_SIZE)\n\t\t\treturn refuse(v, -EACCES, \"read all",
     "if (0)\n\t\t\treturn refuse(v, -EACCES, \"read all"),
    ("smear_keeps_spills", "stack.c", "\t\t\tslot_scrub(s);\n\t\t}\n\t\t*b = BYTE_MISC;", "\t\t}\n\t\t*b = BYTE_MISC;"),
    ("smear_keeps_zeros", "stack.c", "if (*b == BYTE_NONE || (*b == BYTE_ZERO && zero))",
     "if (*b == BYTE_NONE || *b == BYTE_ZERO)"),
    ("partial_write_counts_as_whole", "stack.c", "if (size == SLOT_SIZE)\n\t\tv->cur->written",
     "if (size)\n\t\tv->cur->written"),
    ("key_from_wrong_bytes", "stack.c", "*value = out.n.bits.value >> (8 * at);", "*value = out.n.bits.value;"),
    # calls
    ("packet_survives_its_move", "call.c", "\t\tvcall_forget_packet(v, v->cur);\n", "\t\t;\n"),
    ("arguments_survive_calls", "call.c", "for (r = 0; r <= 5; r++)\n\t\treg_none", "for (r = 0; r <= 4; r++)\n\t\treg_none"),
    ("reference_forgotten", "call.c", "state_drop_ref(v->cur, ref);\n\twhile ((r = reg_iter_next(&it)))\n\t\tif (r->ref == ref)",
     "state_drop_ref(v->cur, ref);\n\twhile ((r = reg_iter_next(&it)))\n\t\tif (0)"),
    # pruning
    ("ids_not_compared", "prune.c", "return same_id(m, old, cur ? cur : m->next--);", "return true;"),
    ("ids_map_one_to_many", "prune.c", "return m->ids[i].cur == cur;", "return true;"),
    ("distances_not_compared", "prune.c", "if (old->id && old->off != cur->off)\n\t\treturn false;", ""),
    ("packet_ranges_not_compared", "prune.c", ": old->size > cur->size)", ": 0)"),
    ("precision_not_compared", "prune.c", "if (how == SAME_PROVED && !vprecise_is(v, old))", "if (how == SAME_PROVED)"),
    ("precision_not_inherited", "prune.c", "\t\t\t\tvprecise_reg(v, &b->regs[i]);\n", "\t\t\t\t;\n"),
    ("precision_of_stack_not_inherited", "prune.c", "\t\t\t\tvprecise_reg(v, &b->slots[i].spill);\n", "\t\t\t\t;\n"),
    ("reads_not_inherited", "prune.c", "state_mark_read(v, cur, f, old->read[f]);", ";"),
    ("live_arguments_of_stores", "live.c", "*use = BPF_CLASS(insn->code) == BPF_STX ? dst | src : dst;", "*use = dst;"),
    ("comparison_is_no_use", "live.c", "case ISA_JCC:\n\t\t*use = dst | x;", "case ISA_JCC:\n\t\t*use = dst;"),
    ("callers_registers_are_dead", "prune.c", ".live & 0x3c0u;", ".live & 0x1c0u;"),
    ("marks_stop_at_first", "precise.c", "node = nd->a;\n", "node = 0;\n"),
    ("join_forgets", "precise.c", "return node_new(v, a, b);\n}", "return node_new(v, a, 0);\n}"),
]

TESTS = ["verify_memory", "verify_calls", "verify_flow", "tables", "verdicts", "soundness", "num_4", "num_8",
         "num_random"]
NUMBERS = TESTS[-3:] + TESTS[:-3] # the order for breaks of numbers


PROGRAMS = {t: "unit/verify/" + t.replace("verify", "core") for t in TESTS}
PROGRAMS.update({"tables": "programs/verdicts/tables", "verdicts": "programs/verdicts/verdicts",
                 "soundness": "programs/random/soundness"})


def run(command, **kw):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)


def fails(build, root, tests):
    """The first test that fails; None when none does."""
    built = run(["ninja", "-C", build, *("tests/" + PROGRAMS[t] for t in tests)])
    if built.returncode:
        return "does not build: " + built.stdout.strip().splitlines()[-1]
    env = dict(os.environ, VERDICTS_RANDOM="6000", FERRY_SOURCE_ROOT=root)
    for test in tests:
        done = run(["timeout", "300", os.path.join(build, "tests", PROGRAMS[test])], env=env)
        if done.returncode:
            return test
    return None


def main():
    args = sys.argv[1:]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    work = os.path.join(root, "build-mutants")
    if args[:1] in (["--help"], ["-h"]):
        print(__doc__)
        return 0
    if args[:1] == ["--build"]:
        work, args = os.path.abspath(args[1]), args[2:]
    copy, build = os.path.join(work, "source"), os.path.join(work, "build")
    shutil.rmtree(copy, ignore_errors=True)
    # Newer than what an interrupted run may have built from broken files.
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("build*", ".git"), copy_function=shutil.copy)
    if not os.path.exists(build):
        subprocess.run(["meson", "setup", build, copy], check=True, stdout=subprocess.DEVNULL)
    first = fails(build, copy, TESTS[:-3])
    if first:
        print("mutants: the tests fail without a break:", first, file=sys.stderr)
        return 2
    survived = 0
    for name, file, text, broken in BREAKS:
        if args and name not in args:
            continue
        path = os.path.join(copy, "src/verify", file)
        with open(path) as f:
            sound = f.read()
        if sound.count(text) != 1:
            print(f"{name}: STALE, its text is {sound.count(text)} times in {file}", flush=True)
            survived += 1
            continue
        with open(path, "w") as f:
            f.write(sound.replace(text, broken))
        killer = fails(build, copy, NUMBERS if file.startswith("num") else TESTS[:-3])
        with open(path, "w") as f:
            f.write(sound)
        print(f"{name}: {killer or 'SURVIVED'}", flush=True)
        survived += killer is None
    print(f"{len(args) or len(BREAKS)} breaks, {survived} not noticed")
    return survived > 0


if __name__ == "__main__":
    sys.exit(main())
