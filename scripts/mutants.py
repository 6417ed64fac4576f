#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Breaks the verifier, the compiler and the calls of native functions in one place at a time and says which breaks the tests do not notice.

Works on copies of the sources, one break after the other: a line of a file of src is replaced, the tests of its
folder are built and run until one fails. A break that no test fails on is printed as 'SURVIVED', one whose text is
not there any more as 'STALE'; the exit code is then 1. By hand: half a minute a break, hours for all on a busy machine.
"""
import argparse
import glob
import os
import shutil
import subprocess
import sys
import threading

# (name, file of src/verify or FOLDER/FILE of src, text, what it becomes); the text is in the file once.
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
    ("end_flags_survive_moves", "alu.c", "out.flags &= (u8)~(REG_AT_END | REG_BEYOND_END);", ";"),
    ("partial_copy_keeps_value", "alu.c", "if (mov_keeps_value(insn, &src->n)) {", "if (1) {"),
    ("move_keeps_id_after_32_bits", "alu.c", "return n->umax < 1ull << (insn->off ? bits - 1 : bits);",
     "return n->umax <= 1ull << (insn->off ? bits : bits);"),
    ("neg_keeps_id", "alu.c", "num_alu(insn, &dst->n, &zero);\n\tdst->id = 0;", "num_alu(insn, &dst->n, &zero);"),
    ("sum_keeps_link", "alu.c", "} else {\n\t\tdst->id = 0;\n\t\tdst->off = 0;\n\t}\n}",
     "}\n}"),
    ("link_moves_wrong_way", "alu.c", "if (sum && op == BPF_SUB)\n\t\tby = -by;", ";"),
    ("sum_of_linked_forgets_source", "alu.c", "if (knows_nothing(insn, &dst->n) && !dst->id)", "if (knows_nothing(insn, &dst->n))"),
    ("link_by_any_distance", "alu.c", "&& by > INT32_MIN && by <= INT32_MAX;", ";"),
    ("link_over_the_edge_of_32_bits", "alu.c", "sum = sum && is_whole_sum(insn, &dst->n, by);", ";"),
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
    ("unwritten_stack_is_read", "stack.c", ".bytes[byte_at(i)] != BYTE_NONE &&", ".bytes[byte_at(i)] != 99 &&"),
    ("end_of_string_in_unwritten_stack", "stack.c", "f->slots[slot_at(i)].bytes[byte_at(i)] != BYTE_NONE)",
     "f->slots[slot_at(i)].bytes[byte_at(i)] != 99)"),
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
    ("arguments_survive_calls", "call.c", "for (r = 0; r <= 5; r++)\n\t\treg_none(cur_reg(v, r));",
     "for (r = 0; r <= 4; r++)\n\t\treg_none(cur_reg(v, r));"),
    ("reference_forgotten", "call.c", "else if (r->ref == ref)", "else if (0)"),
    ("handle_is_a_number_after_release", "call.c", "if (r->ref == ref && r->flags & REG_NATIVE)", "if (0)"),
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
    # references
    ("exit_with_references", "call.c", "err = vcall_refs_released(v, NULL);", "err = 0;"),
    ("tail_call_with_references", "call.c", "int err = vcall_refs_released(v, \"tail_call\");", "int err = 0;"),
    ("released_in_the_middle", "call.c",
     "return expected(v, r, \"ringbuf_mem\");\n\tif (reg->off || !num_is_const(&reg->n) || reg->n.bits.value)",
     "return expected(v, r, \"ringbuf_mem\");\n\tif (0)"),
    ("references_not_compared", "prune.c", "old->nrefs != cur->nrefs ||", "old->nrefs > cur->nrefs ||"),
    ("stack_pointer_returned", "call.c", "if (r0.type == REG_STACK)", "if (0)"),
    # callbacks
    ("callback_always_called", "callback.c", "f->loop = f->rounds = 0;\n\treturn 0;",
     "v->path_end = !f->rounds;\n\tf->loop = f->rounds = 0;\n\treturn 0;"),
    ("callback_one_round", "callback.c", "f->regs[k->rounds].n.umax > f->rounds) {",
     "(f->regs[k->rounds].n.umax > f->rounds && !f->rounds)) {"),
    ("callback_rounds_without_mark", "callback.c", "\t\tvprecise_reg(v, &f->regs[k->rounds]);", "\t\t;"),
    ("callback_converges_early", "prune.c", "same_state(v, s, cur, v->insn, SAME_WITHIN)",
     "same_state(v, s, cur, v->insn, SAME_PROVED)"),
    ("callback_rests_on_unproved", "prune.c", "s->rests_on ? SAME_WITHIN : SAME_PROVED", "SAME_PROVED"),
    ("callback_rest_without_marks", "prune.c", "\t\t\t\tvprecise_also(v, a->regs[i].node, b->regs[i].node);",
     "\t\t\t\t;"),
    ("callback_rest_without_stack", "prune.c",
     "\t\t\t\tvprecise_also(v, a->slots[i].spill.node, b->slots[i].spill.node);", "\t\t\t\t;"),
    ("callback_rest_without_reads", "prune.c", "\t\t\tstate_mark_read(v, cur, f, ~0ull >> (64 - a->nslots));",
     "\t\t\t;"),
    ("callback_rounds_not_compared", "prune.c",
     "if (exact ? !top && a->rounds != b->rounds : a->rounds > b->rounds)", "if (0)"),
    ("callback_returns_anything", "callback.c", "if (r0->n.smin >= 0 && r0->n.smax <= f->ret_max)", "if (1)"),
    ("callback_leaks", "callback.c", "if (v->cur->refs[i].id > f->first_id)", "if (0)"),
    ("callback_writes_key", "callback.c", "r->flags = REG_RDONLY | REG_KEY;", "r->flags = REG_KEY;"),
    ("later_callback_not_walked", "callback.c", "l[v->nlater++] =", "l[v->nlater] ="),
    ("later_callback_exits_locked", "callback.c",
     "return vcall_locks_released(v, \"BPF_EXIT instruction in callback\");", "return 0;"),
    # locks
    ("exit_locked", "call.c", "err = vcall_locks_released(v, \"BPF_EXIT instruction in main prog\");", "err = 0;"),
    ("other_lock_unlocked", "lock.c", "if (s->lock_map != reg->what || s->lock_id != reg->id)",
     "if (s->lock_map != reg->what)"),
    ("calls_under_lock", "lock.c", "if (!v->cur->locked || helper == BPF_FUNC_spin_unlock)", "if (1)"),
    ("lock_is_data", "lock.c", "hi > (s64)field - 1;", "hi > (s64)field;"),
    ("end_of_timer_is_data", "lock.c", "f->timer, 16)", "f->timer, 12)"),
    ("locks_not_compared", "prune.c", "old->locked != cur->locked ||", ""),
    # dynptrs
    ("submitted_dynptr_stays", "call.c", "\tvdynptr_release(v, ref);\n", ""),
    ("slices_of_overwritten_dynptr", "dynptr.c", "\tforget_slices(v, id);", "\t;"),
    ("reservation_overwritten", "dynptr.c", "if (state_has_ref(v->cur, id))", "if (0)"),
    ("dynptr_from_its_middle", "dynptr.c", "|| d->off)", ")"),
    ("any_dynptr_submitted", "dynptr.c", "if (kind && d->what != kind)", "if (0)"),
    ("dynptrs_not_compared", "prune.c", "return cur->bytes[0] != BYTE_DYNPTR || same_reg(v, &old->spill",
     "return true || same_reg(v, &old->spill"),
    ("dynptr_read_as_data", "stack.c", "f->slots[s].bytes[byte_at(i)] != BYTE_DYNPTR &&", ""),
    ("dynptr_smeared", "stack.c", "if (vdynptr_overwrite(v, f, slot_at(i)))", "if (0)"),
    ("dynptr_written_by_helper", "stack.c", "if (s->bytes[0] == BYTE_DYNPTR)\n\t\t\treturn", "if (0)\n\t\t\treturn"),
    ("slice_is_there", "call.c", "r0->flags = REG_NULLABLE | REG_BORROWED;", "r0->flags = REG_BORROWED;"),
    # global functions
    ("global_argument_one_longer", "global.c", "r->size = g->args[i].size;", "r->size = g->args[i].size + 1;"),
    ("global_argument_never_null", "global.c", "if (g->args[i].nonnull)\n\t\t\tbreak;", "break;"),
    ("global_nonnull_not_asked", "global.c", "if (nonnull && (maybe ||", "if (0 && (maybe ||"),
    ("global_writes_constants", "global.c",
     "\tif (!err)\n\t\terr = vmem_arg(v, i + 1, size, ACCESS_WRITE, false);\n", ""),
    ("global_returns_0", "global.c", "reg_unknown(cur_reg(v, 0));", "reg_const(cur_reg(v, 0), 0);"),
    ("global_leaves_packet", "global.c", "if (moves_packet(v, func, seen))", "if (0)"),
    ("global_not_walked", "global.c", "v->globals[func] = GLOBAL_CALLED;", "v->globals[func] = GLOBAL_WALKED;"),
    ("global_under_lock", "global.c", "int err = vcall_locks_released(v, \"global function call\");", "int err = 0;"),
    ("global_moved_context", "global.c",
     "if (reg->type != REG_CTX || reg->off || !num_is_const(&reg->n) ||", "if (reg->type != REG_CTX || 0 &&"),
    # typed pointers
    ("typed_argument_beyond", "typed.c", "(u64)off > (u64)whole - size)", "(u64)off > (u64)whole)"),
    ("typed_at_variable_offset", "typed.c", "if (!num_is_const(&reg->n))\n\t\treturn refuse(v, -EACCES, \"copy",
     "if (0)\n\t\treturn refuse(v, -EACCES, \"copy"),
    ("typed_constant_written", "typed.c", "if (reg->flags & REG_RDONLY || !(reg->flags & REG_TRUSTED))",
     "if (!(reg->flags & REG_TRUSTED))"),
    ("typed_loaded_is_trusted", "typed.c", "u32 flags = REG_RDONLY | (cur_reg", "u32 flags = REG_TRUSTED | REG_RDONLY | (cur_reg"),
    ("typed_pointer_stored", "typed.c", "|| (value && reg_is_ptr(value)))", ")"),
    ("typed_member_pointer_written", "typed.c", "if (a.points || a.in_union", "if (a.in_union"),
    ("typed_load_without_probe", "typed.c", "\tv->aux[v->insn].probe = true;\n\tif (!a.points)", "\tif (!a.points)"),
    ("typed_written_by_helper", "typed.c", "if (access == ACCESS_WRITE)", "if (0)"),
    ("typed_pointers_read_by_native", "typed.c", "return reg->flags & REG_NATIVE ? no_pointers(v, r, off, size) : 0;",
     "return 0;"),
    ("typed_percpu_read", "typed.c", "if (reg->flags & REG_PERCPU)\n", "if (0)\n"),
    ("typed_native_forgotten", "typed.c", "(cur_reg(v, r)->flags & REG_NATIVE);", "0;"),
    # native functions
    ("handle_survives_release", "native.c", "\t\tvcall_release(v, ref);", "\t\tstate_drop_ref(v->cur, ref);"),
    ("borrowed_released", "native.c", "reg->flags & (REG_NULLABLE | REG_BORROWED))", "reg->flags & REG_NULLABLE)"),
    ("null_released", "native.c", "reg->flags & (REG_NULLABLE | REG_BORROWED))", "reg->flags & REG_BORROWED)"),
    ("part_outlives_owner", "native.c", "if (owner) {", "if (0) {"),
    ("handle_of_other_type", "native_arg.c", "vtyped_is(v, reg, btf, t->type);", "true;"),
    ("handle_from_memory", "native_arg.c", "reg->flags & REG_TRUSTED && at_start(reg)", "at_start(reg)"),
    ("handle_moved", "native_arg.c", "reg->flags & REG_TRUSTED && at_start(reg)", "reg->flags & REG_TRUSTED"),
    ("handle_null", "native_arg.c",
     "if (reg->flags & REG_NULLABLE && !a->nullable && !a->check)\n\t\treturn native_error(v, c, i, \"compare it",
     "if (0)\n\t\treturn native_error(v, c, i, \"compare it"),
    ("native_size_unbounded", "native_arg.c", "if (n.umax >= limit)", "if (0)"),
    ("native_writes_constants", "native_arg.c", "if (!err && (a->writable || a->uninit))", "if (!err && a->uninit)"),
    ("native_range_of_wide", "native_arg.c", "return n.umin >= (u64)a->min && n.umax <= (u64)a->max;",
     "return n.umax <= (u64)a->max;"),
    ("native_sleeps", "native.c", "if (f->flags & FERRY_SLEEPABLE && !(v->p->flags & BPF_F_SLEEPABLE) &&", "if (0 &&"),
    # strict policy
    ("strict_variable_stack", "strict.c", "if (ptr->type == REG_STACK)\n", "if (0)\n"),
    ("strict_mixed_signs", "strict.c", "&& n->smin < 0 && n->smax >= 0)", "&& 0)"),
    ("strict_end_of_value", "strict.c", "hi >= m->attr.value_size)", "hi > m->attr.value_size)"),
    ("strict_stack_range", "strict.c", "(lo < -ISA_STACK_SIZE || hi > 0))", "(lo < -ISA_STACK_SIZE - 8 || hi > 8))"),
    ("strict_argument_leak", "call.c", "if (v->o->strict && reg_is_ptr(cur_reg(v, r)))", "if (0)"),
    ("strict_result_leak", "call.c", "if (vsecret(v, r0))", "if (0)"),
    ("strict_helpers", "strict.c", "if (id == telling[i])", "if (id == telling[i] && i)"),
    # attacks on prototypes
    ("borrowed_object_moved", "alu.c", "if (reg_is_pkt(&out))\n\t\tout.flags", "if (1)\n\t\tout.flags"),
    ("rest_of_secret_read", "state.c", "u8 kind = slot_is_secret(s) ? BYTE_NONE : BYTE_MISC;", "u8 kind = BYTE_MISC;"),
    ("secret_under_a_write_somewhere", "stack.c", "if (*b == BYTE_NONE)\n\t\t\t\tcontinue;", ""),
    ("secret_compared", "branch.c", "} else if (v->o->strict || tells_secret(v, &d, &s, equality, with_null)) {",
     "} else if (v->o->strict) {"),
    ("const_object_written", "native_arg.c", "if (!(c->args[i].flags & REG_CONST) ||", "if (1 ||"),
    ("const_object_in_a_map", "kptr.c", "if (reg->flags & REG_CONST)", "if (0)"),
    ("any_number_of_an_enum", "native_arg.c", "if (num_has(&n, x) && !is_value(a, (s64)x))", "if (0)"),
    ("size_overwritten", "native_apart.c", "if (size && a->size_arg != i + 1 &&", "if (0 &&"),
    ("string_overwritten", "native_apart.c", "if (a->kind == MODULE_ARG_STRING &&", "if (0 &&"),
    ("unwritten_read", "native_apart.c", "if (unread && !a->uninit &&", "if (0 &&"),
    ("result_overwrites", "native_apart.c", "if (!err && f->ret_kind == MODULE_RET_STRUCT &&", "if (0 &&"),
    ("text_of_format_overwritten", "native_apart.c", "if (overlap(&c->texts[k], c->text_bytes[k], w))", "if (0)"),
    ("format_with_wide_string", "native_format.c", "else if (c == 's' && !len)", "else if (c == 's')"),
    ("format_with_long_double", "native_format.c", "(!len || len == 'l'))", "1)"),
    ("format_of_any_width", "native_format.c", "return n > MAX_FIELD ?", "return 0 ?"),
    ("format_width_of_any_number", "native_format.c", "? check_width(v, c, r) : 0;", "? 0 : 0;"),
    ("string_checked_in_place", "module/invoke.c", "*v = (u64)(uintptr_t)s;", ";"),
    ("strings_share_a_copy", "module/invoke.c", "c->used += i + 1;", ";"),
    ("string_beyond_its_memory", "module/invoke.c", "n = n < room ? n : room;", ";"),
    ("socket_may_be_null", "branch.c", "|| r->type == REG_SOCK;", ";"),
    # the compiler
    ("jit_mask_of_any_sign", "jit/x86_alu.c", "bool narrow = op == X86_AND && s->imm >= 0;", "bool narrow = op == X86_AND;"),
    ("jit_all_is_zero_extended", "jit/x86_alu.c", "x86_defined(c, dst, w == 4 || (op == X86_AND &&",
     "x86_defined(c, dst, 1 || (op == X86_AND &&"),
    ("jit_rotation_by_anything", "jit/x86_alu.c", "h[0].count + h[1].count == w * 8 &&", ""),
    ("jit_rotation_forgets_half", "jit/x86_alu.c", "if (c->u->live[c->at + n + 1] & JIT_BIT(other))", "if (0)"),
    ("jit_extension_by_other_shift", "jit/x86_alu.c", "|| next->imm != i->imm)", ")"),
    ("jit_load_and_op_forgets_load", "jit/x86_mem.c", "w != size || (c->u->live[c->at + 2] & JIT_BIT(i->dst_reg)))",
     "w != size)"),
    ("jit_load_and_op_of_any_width", "jit/x86_mem.c", "w != size || (c->u", "(c->u"),
    ("jit_probe_without_table", "jit/x86_mem.c", "if (probe)\n\t\tadd_fault", "if (0)\n\t\tadd_fault"),
    ("jit_fetch_loop_base_in_rax", "jit/x86_mem.c", "if (m.base == X86_RAX)\n\t\tm.base = TMP2;", ""),
    ("jit_cmpxchg_keeps_upper", "jit/x86_mem.c", "if (size == 4)\n\t\t\tx86_mov_rr(&c->b, 4, X86_RAX, X86_RAX);", ""),
    ("jit_store_of_wide_constant", "jit/x86_mem.c", "(size < 8 || k == (u64)(s64)(s32)k)", "(1)"),
    ("jit_packet_one_longer", "jit/x86_mem.c", "x86_at(X86_RDX, size)", "x86_at(X86_RDX, size - 1)"),
    ("jit_packet_offset_of_64_bits", "jit/x86_mem.c", "x86_mov_rr(&c->b, 4, X86_RDX, c->map[i->src_reg]);",
     "x86_mov_rr(&c->b, 8, X86_RDX, c->map[i->src_reg]);"),
    ("jit_flags_of_overflow", "jit/x86_flow.c", "*cc = X86_S;", ";"),
    ("jit_flags_of_any_operation", "jit/x86_flow.c", "if (c->flags_logic ||", "if (1 ||"),
    ("jit_flags_of_other_register", "jit/x86_flow.c", "c->flags_reg != reg ||", ""),
    ("jit_flags_of_other_width", "jit/x86_flow.c", "|| c->flags_w != w)", ")"),
    ("jit_array_one_longer", "jit/x86_call.c", "out = x86_jcc8(&c->b, X86_AE);", "out = x86_jcc8(&c->b, X86_A);"),
    ("jit_array_constant_one_longer", "jit/x86_call.c", "constant < m->attr.max_entries ?",
     "constant <= m->attr.max_entries ?"),
    ("jit_native_short_argument", "jit/x86_native.c", "else if (a->width < 4 && a->is_signed)", "else if (0)"),
    ("jit_native_short_result", "jit/x86_native.c", "if (f->ret_signed && !f->ret_bool)", "if (0)"),
    ("jit_check_without_lower_bound", "jit/x86_native.c", "with_rax(c, X86_SUB, (u64)a->min);", ";"),
    ("jit_check_without_null", "jit/x86_native.c", "if (a->nullable)\n\t\t\treturn;", "return;"),
]

# Where a test is, and in what order they are tried: what notices most first.
PROGRAMS = {
    "verdicts": "programs/verdicts/verdicts",
    "verify_native": "unit/verify/core_native",
    "verify_typed": "unit/verify/core_typed",
    "verify_memory": "unit/verify/core_memory",
    "verify_calls": "unit/verify/core_calls",
    "verify_flow": "unit/verify/core_flow",
    "global": "clients/global/global",
    "tables": "programs/verdicts/tables",
    "soundness": "programs/random/soundness",
}
ENGINES = {
    "jit_alu": "unit/jit/test_jit_alu",
    "jit_run": "unit/jit/test_jit_run",
    "jit_fuse": "unit/jit/test_jit_fuse",
    "vectors": "vectors/run_vectors",
    "random_programs": "fuzz/engines/fuzz_engines",
    "natives": "clients/natives/natives",
}
MODULES = {"module": "unit/module/test_module", "checks": "unit/module/test_checks"}
NUMBERS = {"num_4": "unit/verify/num_4", "num_8": "unit/verify/num_8", "num_random": "unit/verify/num_random"}


def run(command, **kw):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)


def fails(copy, tests):
    """The first test that fails; None when none does."""
    build = os.path.join(copy, "build")
    env = dict(os.environ, VERDICTS_RANDOM="2000", FERRY_SOURCE_ROOT=copy,
               GLOBAL_OBJECT=os.path.join(build, "tests/clients/global/global.bpf.o"),
               FERRY_KSYMS=os.path.join(build, "tests/unit/module/ksyms.bpf.o"))
    for test, program in tests.items():
        objects = ["tests/" + program + ".bpf.o"] if test in ("global", "natives") else []
        objects += ["tests/unit/module/ksyms.bpf.o"] if test == "module" else []
        args = {"natives": [os.path.join(build, "tests", program + ".bpf.o")], "random_programs": ["3000", "1"],
                "vectors": sorted(glob.glob(os.path.join(copy, "tests/vectors/*.vec")))}.get(test, [])
        built = run(["ninja", "-C", build, "-j2", "tests/" + program, *objects])
        if built.returncode:
            return "does not build: " + built.stdout.strip().splitlines()[-1]
        done = run(["timeout", "300", os.path.join(build, "tests", program), *args], env=env)
        if done.returncode:
            return test
    return None


def copy_sources(root, copy):
    """Newer than what an interrupted run may have built from broken files; the build of an earlier run stays."""
    for name in os.listdir(root):
        if name.startswith("build") or name == ".git":
            continue
        old, new = os.path.join(root, name), os.path.join(copy, name)
        if os.path.isdir(old):
            shutil.rmtree(new, ignore_errors=True)
            shutil.copytree(old, new, copy_function=shutil.copy)
        else:
            shutil.copy(old, new)


def tests_of(file):
    if file.startswith("jit/"):
        return ENGINES
    if file.startswith("module/"):
        return MODULES
    return {**NUMBERS, **PROGRAMS} if file.startswith("num") else PROGRAMS


def try_break(copy, name, file, text, broken):
    """What is to be said of it, and whether it is nothing to worry about."""
    path = os.path.join(copy, "src", file if "/" in file else "verify/" + file)
    with open(path) as f:
        sound = f.read()
    if sound.count(text) != 1:
        return f"{name}: STALE, its text is {sound.count(text)} times in {file}", False
    with open(path, "w") as f:
        f.write(sound.replace(text, broken))
    killer = fails(copy, tests_of(file))
    with open(path, "w") as f:
        f.write(sound)
    return f"{name}: {killer or 'SURVIVED'}", killer and not killer.startswith("does not build")


def work(copy, breaks, results):
    while True:
        try:
            b = breaks.pop(0)
        except IndexError:
            return
        said, good = try_break(copy, *b)
        print(said, flush=True)
        results.append(good)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", metavar="FOLDER", help="of the copies (build-mutants)")
    p.add_argument("--jobs", type=int, default=1, help="breaks tried at once, a copy for each")
    p.add_argument("names", metavar="NAME", nargs="*", help="of the breaks to try; all by default")
    args = p.parse_args()
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folder = os.path.abspath(args.build or os.path.join(root, "build-mutants"))
    breaks = [b for b in BREAKS if not args.names or b[0] in args.names]
    copies = [os.path.join(folder, str(k)) for k in range(min(args.jobs, len(breaks)))]
    for copy in copies:
        os.makedirs(copy, exist_ok=True)
        copy_sources(root, copy)
        if not os.path.exists(os.path.join(copy, "build")):
            subprocess.run(["meson", "setup", os.path.join(copy, "build"), copy], check=True,
                           stdout=subprocess.DEVNULL)
    needed = {k: v for b in breaks for k, v in tests_of(b[1]).items()}
    first = fails(copies[0], needed) if copies else None
    if first:
        print("mutants: the tests fail without a break:", first, file=sys.stderr)
        return 2
    n, results = len(breaks), []
    threads = [threading.Thread(target=work, args=(copy, breaks, results)) for copy in copies]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    missed = n - sum(map(bool, results))
    print(f"{n} breaks, {missed} not noticed")
    return missed > 0


if __name__ == "__main__":
    sys.exit(main())
