#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The vectors' oracle: expected results from the formulas of RFC 9669, in integers of any width.

generate.py DIR writes the files into DIR; generate.py --check DIR fails where they differ.
It shares no code with Ferry. README.md describes the form of the files.
"""
import os
import sys

M32, M64 = (1 << 32) - 1, (1 << 64) - 1


def u(x, bits):
    return x & ((1 << bits) - 1)


def s(x, bits):
    x = u(x, bits)
    return x - (1 << bits) if x >> (bits - 1) else x


# ---- RFC 9669, 4.1: arithmetic. a is dst, b is src, both unsigned of the width --------------------

def trunc_div(a, b):
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def sdiv(a, b, w):
    return trunc_div(s(a, w), s(b, w)) if b else 0


def smod(a, b, w):
    # a % n = a - n * trunc(a / n)
    return s(a, w) - s(b, w) * trunc_div(s(a, w), s(b, w)) if b else a


ALU = {
    # name: (operator, formula of dst, src, width; group prefix)
    'add': ('+=', lambda a, b, w: a + b, 'base'),
    'sub': ('-=', lambda a, b, w: a - b, 'base'),
    'or': ('|=', lambda a, b, w: a | b, 'base'),
    'and': ('&=', lambda a, b, w: a & b, 'base'),
    'xor': ('^=', lambda a, b, w: a ^ b, 'base'),
    'mov': ('=', lambda a, b, w: b, 'base'),
    'lsh': ('<<=', lambda a, b, w: a << (b & (w - 1)), 'base'),
    'rsh': ('>>=', lambda a, b, w: a >> (b & (w - 1)), 'base'),
    'arsh': ('s>>=', lambda a, b, w: s(a, w) >> (b & (w - 1)), 'base'),
    'mul': ('*=', lambda a, b, w: a * b, 'divmul'),
    'div': ('/=', lambda a, b, w: a // b if b else 0, 'divmul'),
    'sdiv': ('s/=', sdiv, 'divmul'),
    'mod': ('%=', lambda a, b, w: a % b if b else a, 'divmul'),
    'smod': ('s%=', smod, 'divmul'),
}
SHIFTS = ('lsh', 'rsh', 'arsh')


def alu(name, a, b, w):
    """The new 64-bit dst: a 32-bit result is zero-extended."""
    return u(ALU[name][1](u(a, w), u(b, w), w), w)


# ---- values at which implementations go wrong -------------------------------------------------------

VALUES = [0, 1, M64, 1 << 63, (1 << 63) - 1, 1 << 31, (1 << 31) - 1, M32, 1 << 32,
          0xffffffff80000000, 0x123456789abcdef0, 0xfedcba9876543210, 7, M64 - 6]
OPERANDS = [0, 1, M64, 1 << 63, 1 << 31, 0xffffffff80000000, 0x123456789abcdef0, M64 - 6]
# Each value with the operands, and with itself: the only cases for an instruction of one register.
PAIRS = [(a, b) for a in VALUES for b in OPERANDS + [a] if b != a or b not in OPERANDS] + \
    [(a, a) for a in OPERANDS]
COUNTS = [0, 1, 7, 8, 16, 31, 32, 33, 63, 64, 65, 255, M64, 1 << 32, (1 << 40) + 5]
SHIFTED = [1, M64, 1 << 63, (1 << 63) - 1, 1 << 31, 0xffffffff80000000, 0x123456789abcdef0]
IMMS = [0, 1, -1, 2, 127, 128, -128, -129, 255, 65535, (1 << 31) - 1, -(1 << 31), 0x12345678]
DIVISORS = [3, 7, 8, 10, 64, 1000, 65536, -2, -3, -8]
UNARY = VALUES + [0x80, 0x7f, 0xff, 0x8000, 0x7fff, 0xffff, 0x1234, 0xffffffffffff8080]


class File:
    def __init__(self, group):
        self.group = group
        self.lines = ['# SPDX-License-Identifier: MIT',
                      '# Made by generate.py from RFC 9669; see README.md.', 'group ' + group]

    def insn(self, name, body):
        self.start('insn', name, body)

    def prog(self, name, body):
        self.start('prog', name, body)

    def start(self, kind, name, body):
        self.lines += ['', '%s %s' % (kind, name)]
        self.lines += ['\t' + line.strip() for line in body.strip().split('\n')]

    def mem(self, data):
        self.lines.append('mem ' + data.hex())

    def packet(self, data):
        self.lines.append('packet ' + data.hex())

    def case(self, before, after):
        def side(values):
            return ' '.join('%s=%s' % (k, v if isinstance(v, str) else
                                       v.hex() if isinstance(v, bytes) else '%#x' % v)
                            for k, v in values.items())
        self.lines.append(('case %s : %s' % (side(before), side(after))).replace('  ', ' '))

    def text(self):
        return '\n'.join(self.lines) + '\n'


FILES = {g: File(g) for g in ('base32', 'base64', 'divmul32', 'divmul64', 'atomic32', 'atomic64',
                              'packet', 'calls')}


def arithmetic():
    for name, (sym, _, prefix) in ALU.items():
        for w, r in ((32, 'w'), (64, 'r')):
            f = FILES[prefix + str(w)]
            f.insn('%s%d_x' % (name, w), '%sD %s %sS' % (r, sym, r))
            pairs = [(a, b) for a in SHIFTED for b in COUNTS] if name in SHIFTS else PAIRS
            for a, b in pairs:
                f.case({'d': a, 's': b}, {'d': alu(name, a, b, w)})
            imms = [i for i in (0, 1, 7, 8, 15, 16, 31, 32, 33, 48, 63) if i < w] \
                if name in SHIFTS else IMMS + DIVISORS if prefix == 'divmul' else IMMS
            for imm in imms:
                f.insn('%s%d_k_%d' % (name, w, imm), '%sD %s %d' % (r, sym, imm))
                for a in SHIFTED if name in SHIFTS else VALUES:
                    # imm is sign-extended to 64 bits, or a 32-bit value
                    f.case({'d': a}, {'d': alu(name, a, u(imm, 64), w)})


def unary():
    for w, r in ((32, 'w'), (64, 'r')):
        f = FILES['base%d' % w]
        f.insn('neg%d' % w, '%sD = -%sD' % (r, r))
        for a in UNARY:
            f.case({'d': a}, {'d': u(-u(a, w), w)})
        for bits in (8, 16, 32):
            if bits == w:
                continue
            f.insn('movsx%d_%d' % (w, bits), '%sD = (s%d)%sS' % (r, bits, r))
            for a in UNARY:
                f.case({'d': 0x5555555555555555, 's': a}, {'d': u(s(a, bits), w)})
                f.case({'d': a, 's': a}, {'d': u(s(a, bits), w)})


def swaps():
    """RFC 9669, 4.2, on a little-endian host (the runner skips to_le and to_be elsewhere)."""
    def swapped(a, bits):
        return int.from_bytes(u(a, bits).to_bytes(bits // 8, 'little'), 'big')

    for bits in (16, 32, 64):
        f = FILES['base64' if bits == 64 else 'base32']
        for name, formula in (('le', lambda a: u(a, bits)), ('be', lambda a: swapped(a, bits)),
                              ('bswap', lambda a: swapped(a, bits))):
            f.insn('%s%d' % (name, bits), 'rD = %s%d rD' % (name, bits))
            for a in UNARY:
                f.case({'d': a}, {'d': formula(a)})


JUMPS = {
    'jeq': ('==', lambda a, b, w: a == b), 'jne': ('!=', lambda a, b, w: a != b),
    'jgt': ('>', lambda a, b, w: a > b), 'jge': ('>=', lambda a, b, w: a >= b),
    'jlt': ('<', lambda a, b, w: a < b), 'jle': ('<=', lambda a, b, w: a <= b),
    'jset': ('&', lambda a, b, w: a & b != 0),
    'jsgt': ('s>', lambda a, b, w: s(a, w) > s(b, w)),
    'jsge': ('s>=', lambda a, b, w: s(a, w) >= s(b, w)),
    'jslt': ('s<', lambda a, b, w: s(a, w) < s(b, w)),
    'jsle': ('s<=', lambda a, b, w: s(a, w) <= s(b, w)),
}


def jumps():
    taken = 'wD = 0\ngoto done\nyes: wD = 1\ndone:'
    for name, (sym, cond) in JUMPS.items():
        for w, r in ((32, 'w'), (64, 'r')):
            f = FILES['base%d' % w]
            f.insn('%s%d_x' % (name, w), 'if %sD %s %sS goto yes\n' % (r, sym, r) + taken)
            for a, b in PAIRS:
                f.case({'d': a, 's': b}, {'d': int(cond(u(a, w), u(b, w), w))})
            for imm in (0, 1, -1, 7, (1 << 31) - 1, -(1 << 31)):
                f.insn('%s%d_k_%d' % (name, w, imm),
                       'if %sD %s %d goto yes\n' % (r, sym, imm) + taken)
                for a in VALUES:
                    f.case({'d': a}, {'d': int(cond(u(a, w), u(u(imm, 64), w), w))})
    f = FILES['base32']
    for word in ('goto', 'gotol'):
        f.insn(word + '_forward', '%s done\nwD = 1\ndone:' % word)
        f.case({'d': 5}, {'d': 5})
        f.insn(word + '_backward', 'goto first\nback: wD = 7\ngoto done\nfirst: %s back\nwD = 1\ndone:' % word)
        f.case({'d': 5}, {'d': 7})
        f.prog(word + '_loop', 'w0 = 0\nagain: w0 += 3\nif w0 > 99 goto done\n%s again\ndone: exit' % word)
        f.case({}, {'r0': 102})
    f.prog('gotol_beyond_16_bits', 'gotol far\nrepeat 40000 w0 = 1\nfar: w0 = 2\nexit')
    f.case({}, {'r0': 2})
    f.prog('goto_at_its_limit', 'goto far\nrepeat 32767 w0 = 1\nfar: w0 = 2\nexit')
    f.case({}, {'r0': 2})
    f.prog('jump_back_at_its_limit',
           'w0 = 0\ngoto last\nback: w0 += 5\nexit\nrepeat 32765 w0 = 1\nlast: if w0 == 0 goto back\nexit')
    f.case({}, {'r0': 5})


MEM = bytes([0x00, 0x81, 0x7f, 0xff, 0x80, 0x12, 0xfe, 0x34, 0x8f, 0x01, 0xc0, 0x9d, 0x77, 0xe1, 0x2b,
             0x88, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88])
STORED = [0, 1, M64, 1 << 63, 0x123456789abcdef0, 0xfedcba9876543210]


def memory():
    for size in (1, 2, 4, 8):
        f = FILES['base64' if size == 8 else 'base32']
        bits = size * 8
        for sign in ('u', 's'):
            if sign == 's' and size == 8:
                continue
            name = ('ldx' if sign == 'u' else 'ldxs') + str(bits)
            for off in (0, 1, 3, 8, -1):
                f.insn('%s_%+d' % (name, off), 'rD = *(%s%d *)(rS %+d)' % (sign, bits, off))
                f.mem(MEM)
                for base in (1, 2, 5, 8):
                    at = base + off
                    v = int.from_bytes(MEM[at:at + size], 'little')
                    f.case({'d': M64, 's': '@%d' % base}, {'d': u(s(v, bits) if sign == 's' else v, 64)})
            # into the register of the address
            f.insn(name + '_same', 'rD = *(%s%d *)(rD +2)' % (sign, bits))
            f.mem(MEM)
            for base in (0, 4, 9):
                v = int.from_bytes(MEM[base + 2:base + 2 + size], 'little')
                f.case({'d': '@%d' % base}, {'d': u(s(v, bits) if sign == 's' else v, 64)})
        for off in (0, 1, 8, -1):
            f.insn('stx%d_%+d' % (bits, off), '*(u%d *)(rD %+d) = rS' % (bits, off))
            f.mem(MEM)
            for base in (1, 6):
                for v in STORED:
                    after = bytearray(MEM)
                    after[base + off:base + off + size] = u(v, bits).to_bytes(size, 'little')
                    f.case({'d': '@%d' % base, 's': v}, {'mem': bytes(after)})
        for imm in (0, 1, -1, 0x12345678, -(1 << 31)):
            f.insn('st%d_%d' % (bits, imm), '*(u%d *)(rD +3) = %d' % (bits, imm))
            f.mem(MEM)
            for base in (0, 7):
                after = bytearray(MEM)
                after[base + 3:base + 3 + size] = u(imm, bits).to_bytes(size, 'little')
                f.case({'d': '@%d' % base}, {'mem': bytes(after)})
    far = FILES['base64']
    far.prog('offsets_at_their_limits', '''
        r2 = r1
        r1 += -32767
        r0 = *(u8 *)(r1 +32767)
        r2 += 32767
        r2 += 1
        r3 = *(u8 *)(r2 -32768)
        r0 <<= 8
        r0 |= r3
        exit''')
    far.case({'mem': b'\x5a'}, {'r0': 0x5a5a})


def immediates():
    f = FILES['base64']
    for v in VALUES:
        f.insn('lddw_%x' % v, 'rD = %#x ll' % v)
        f.case({'d': 0x5555555555555555}, {'d': v})
    f.prog('jumps_count_16_byte_instructions_twice', '''
        r0 = 0 ll
        if r0 == 0 goto +2
        r0 = 1 ll
        r0 += 5
        goto +2
        r0 = 2 ll
        exit''')
    f.case({}, {'r0': 5})
    f.prog('the_frame_pointer_can_be_read', '''
        r2 = r10
        r3 = 77
        *(u64 *)(r10 -8) = r3
        r2 -= 16
        r0 = *(u64 *)(r2 +8)
        exit''')
    f.case({}, {'r0': 77})
    f.prog('all_512_bytes_of_stack', '''
        r1 = 0
        r2 = r10
        again: r2 -= 8
        *(u64 *)(r2 +0) = r1
        r1 += 1
        if r1 != 64 goto again
        r0 = 0
        more: r3 = *(u64 *)(r2 +0)
        r0 <<= 1
        r0 ^= r3
        r2 += 8
        if r2 != r10 goto more
        exit''')
    acc = 0
    for i in reversed(range(64)):
        acc = u(acc << 1, 64) ^ i
    f.case({}, {'r0': acc})
    f.prog('all_of_the_stack_by_offset', '''
        *(u64 *)(r10 -512) = 3
        *(u8 *)(r10 -1) = 4
        r0 = *(u64 *)(r10 -512)
        r1 = *(u8 *)(r10 -1)
        r0 += r1
        exit''')
    f.case({}, {'r0': 7})


# ---- RFC 9669, 5.3: atomics ----------------------------------------------------------------------------

ATOMICS = {'add': ('+=', lambda m, v: m + v), 'or': ('|=', lambda m, v: m | v),
           'and': ('&=', lambda m, v: m & v), 'xor': ('^=', lambda m, v: m ^ v)}
WORDS = [0, 1, M64, 1 << 63, 1 << 31, M32, 0x123456789abcdef0]


def atomics():
    for w in (32, 64):
        f = FILES['atomic%d' % w]
        size = w // 8
        wide = '64' if w == 64 else ''

        def put(m, off):
            data = bytearray(b'\xa5' * 20)
            data[off:off + size] = u(m, w).to_bytes(size, 'little')
            return bytes(data)

        for name, (sym, op) in ATOMICS.items():
            f.insn('%s%d' % (name, w), 'lock *(u%d *)(rD +8) %s rS' % (w, sym))
            for m in WORDS:
                for v in WORDS:
                    f.case({'d': '@0', 's': v, 'mem': put(m, 8)},
                           {'mem': put(op(u(m, w), u(v, w)), 8)})
            f.insn('fetch_%s%d' % (name, w),
                   'rS = atomic%s_fetch_%s((u%d *)(rD -8), rS)' % (wide, name, w))
            for m in WORDS:
                for v in WORDS:
                    f.case({'d': '@16', 's': v, 'mem': put(m, 8)},
                           {'s': u(m, w), 'mem': put(op(u(m, w), u(v, w)), 8)})
        f.insn('xchg%d' % w, 'rS = atomic%s_xchg((u%d *)(rD +0), rS)' % (wide, w))
        for m in WORDS:
            for v in WORDS:
                f.case({'d': '@8', 's': v, 'mem': put(m, 8)}, {'s': u(m, w), 'mem': put(v, 8)})
        f.insn('cmpxchg%d' % w, 'r0 = atomic%s_cmpxchg((u%d *)(rD +8), r0, rS)' % (wide, w))
        for m in WORDS:
            for old in WORDS:
                new = 0xfedcba9876543210
                same = u(m, w) == u(old, w)
                # In both cases r0 is what was there, zero-extended.
                f.case({'d': '@0', 's': new, 'r0': old, 'mem': put(m, 8)},
                       {'r0': u(m, w), 'mem': put(new if same else m, 8)})
        f.insn('cmpxchg%d_r0' % w, 'r0 = atomic%s_cmpxchg((u%d *)(rD +8), r0, r0)' % (wide, w))
        for m in WORDS:
            for old in WORDS:
                f.case({'d': '@0', 'r0': old, 'mem': put(m, 8)}, {'r0': u(m, w), 'mem': put(m, 8)})


# ---- RFC 9669, 5.5 and the kernel's documentation of classic loads: big-endian, into r0 ------------------

PACKET = bytes(range(0xf0, 0x100)) + bytes(range(1, 24))


def packet():
    f = FILES['packet']
    n = len(PACKET)
    for size in (1, 2, 4):
        for at in (0, 1, 2, 5, n - size):
            f.prog('abs%d_%d' % (size * 8, at), 'r6 = r1\nr0 = *(u%d *)skb[%d]\nexit' % (size * 8, at))
            f.packet(PACKET)
            f.case({}, {'r0': int.from_bytes(PACKET[at:at + size], 'big')})
        for at in (n - size + 1, n, 0x7fffffff):
            # Outside the packet the program ends with 0.
            f.prog('abs%d_outside_%d' % (size * 8, at),
                   'r6 = r1\nr0 = 5\nr0 = *(u%d *)skb[%d]\nr0 = 7\nexit' % (size * 8, at))
            f.packet(PACKET)
            f.case({}, {'r0': 0})
        for reg in (0, 1, 5, 6, 7, 9):
            for index, imm in ((0, 3), (2, 1), (9, -4)):
                if reg == 6:
                    continue  # the context
                f.prog('ind%d_r%d_%d%+d' % (size * 8, reg, index, imm),
                       'r6 = r1\nr%d = %d\nr0 = *(u%d *)skb[r%d + %d]\nexit'
                       % (reg, index, size * 8, reg, imm))
                f.packet(PACKET)
                at = index + imm
                f.case({}, {'r0': int.from_bytes(PACKET[at:at + size], 'big')})
        f.prog('ind%d_outside' % (size * 8),
               'r6 = r1\nr7 = %d\nr0 = *(u%d *)skb[r7 + 1]\nr0 = 7\nexit' % (n - size, size * 8))
        f.packet(PACKET)
        f.case({}, {'r0': 0})
    f.prog('registers_6_to_9_survive',
           'r6 = r1\nr7 = 7\nr8 = 8\nr9 = 9\nr0 = *(u8 *)skb[0]\nr7 *= 100\nr8 *= 10\nr0 = r7\nr0 += r8\n'
           'r0 += r9\nr1 = r0\nr0 = *(u8 *)skb[2]\nr0 = *(u8 *)skb[1]\nr0 += r7\nexit')
    f.packet(PACKET)
    f.case({}, {'r0': PACKET[1] + 700})
    # In a function it ends that, and the caller goes on with 0 and its registers (the kernel's bpf_gen_ld_abs()).
    f.prog('outside_in_a_function', '''
        r6 = r1
        r7 = 5
        r8 = 100
        call load
        r0 += r7
        r0 += r8
        exit
        load: r6 = r1
        r7 = 77
        r8 = 88
        r0 = *(u8 *)skb[%d]
        r0 = 9
        exit''' % n)
    f.packet(PACKET)
    f.case({}, {'r0': 105})


def calls():
    f = FILES['calls']
    f.prog('arguments_and_result', '''
        r1 = 1
        r2 = 20
        r3 = 300
        r4 = 4000
        r5 = 50000
        call sum
        exit
        sum: r0 = r1
        r0 += r2
        r0 += r3
        r0 += r4
        r0 += r5
        exit''')
    f.case({}, {'r0': 54321})
    f.prog('registers_6_to_9_survive_a_call', '''
        r6 = 6
        r7 = 70
        r8 = 800
        r9 = 9000
        call clobber
        r0 += r6
        r0 += r7
        r0 += r8
        r0 += r9
        exit
        clobber: r6 = -1
        r7 = -1
        r8 = -1
        r9 = -1
        r0 = 10000
        exit''')
    f.case({}, {'r0': 19876})
    f.prog('each_frame_has_its_own_stack', '''
        *(u64 *)(r10 -8) = 1
        *(u64 *)(r10 -512) = 2
        call inner
        r1 = *(u64 *)(r10 -8)
        r2 = *(u64 *)(r10 -512)
        r0 += r1
        r0 += r2
        exit
        inner: *(u64 *)(r10 -8) = 100
        *(u64 *)(r10 -512) = 200
        r0 = *(u64 *)(r10 -8)
        r1 = *(u64 *)(r10 -512)
        r0 += r1
        exit''')
    f.case({}, {'r0': 303})
    f.prog('the_frame_pointer_is_back_after_a_call', '''
        r6 = r10
        call inner
        r0 = 0
        if r6 != r10 goto no
        r0 = 1
        no: exit
        inner: r0 = r10
        exit''')
    f.case({}, {'r0': 1})
    f.prog('a_callee_writes_its_callers_stack', '''
        *(u64 *)(r10 -16) = 0
        r1 = r10
        r1 += -16
        r2 = 4711
        call set
        r0 = *(u64 *)(r10 -16)
        exit
        set: *(u64 *)(r1 +0) = r2
        r0 = 0
        exit''')
    f.case({}, {'r0': 4711})
    body = 'r1 = 1\ncall f1\nexit\n'
    for i in range(1, 8):
        body += ('f%d: *(u64 *)(r10 -8) = r1\nr1 <<= 1\ncall f%d\nr1 = *(u64 *)(r10 -8)\nr0 += r1\nexit\n'
                 % (i, i + 1)) if i < 7 else 'f7: r0 = r1\nexit\n'
    f.prog('eight_frames', body)
    f.case({}, {'r0': 127})
    f.prog('a_function_called_twice', '''
        r1 = 5
        call twice
        r1 = r0
        call twice
        exit
        twice: r0 = r1
        r0 += r1
        exit''')
    f.case({}, {'r0': 20})
    f.prog('a_call_back_into_earlier_code', '''
        call b
        exit
        a: r0 = r1
        r0 += 3
        exit
        b: r1 = 4
        call a
        r0 += 100
        exit''')
    f.case({}, {'r0': 107})
    f.prog('the_context_is_memory', '''
        r2 = *(u32 *)(r1 +0)
        r3 = *(u16 *)(r1 +4)
        r0 = r2
        r0 += r3
        *(u32 *)(r1 +0) = 1
        exit''')
    f.case({'mem': bytes([1, 2, 3, 4, 5, 6])}, {'r0': 0x04030201 + 0x0605, 'mem': bytes([1, 0, 0, 0, 5, 6])})
    f.prog('result_is_64_bits', 'r0 = 0xfedcba9876543210 ll\nexit')
    f.case({}, {'r0': 0xfedcba9876543210})
    f.prog('a_16_byte_instruction_before_a_function', '''
        call f
        r0 += 1
        exit
        f: r0 = 0x100000000 ll
        if r0 == 0 goto out
        call g
        out: exit
        g: r0 >>= 1
        r0 = r0
        r0 = 0x55 ll
        exit''')
    f.case({}, {'r0': 0x56})


def main():
    args = [a for a in sys.argv[1:] if a != '--check']
    if len(args) != 1:
        sys.exit(__doc__)
    for make in (arithmetic, unary, swaps, jumps, memory, immediates, atomics, packet, calls):
        make()
    stale = []
    for group, f in FILES.items():
        path = os.path.join(args[0], group + '.vec')
        if '--check' in sys.argv:
            with open(path, encoding='ascii') as old:
                if old.read() != f.text():
                    stale.append(path)
        else:
            with open(path, 'w', encoding='ascii') as new:
                new.write(f.text())
    if stale:
        sys.exit('differ from what generate.py makes: ' + ' '.join(stale))


main()
