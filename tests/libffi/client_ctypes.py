#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Python's ctypes on our libffi.so.8: client_ctypes.py, started with LD_LIBRARY_PATH in front. TAP."""
import ctypes as c
import math
import os
import sys

libc, libm = c.CDLL("libc.so.6", use_errno=True), c.CDLL("libm.so.6")
results = []


def check(name, ok):
    results.append(ok)
    print(f"{'ok' if ok else 'not ok'} {len(results)} - ctypes_{name}")


class Div(c.Structure):
    _fields_ = [("quot", c.c_int), ("rem", c.c_int)]


class LDiv(c.Structure):
    _fields_ = [("quot", c.c_long), ("rem", c.c_long)]


class Mixed(c.Structure):
    _fields_ = [("a", c.c_int8), ("b", c.c_double), ("c", c.c_float * 3), ("d", c.c_int64)]


class Pair(c.Structure):
    _fields_ = [("x", c.c_float), ("y", c.c_float)]


def calls():
    libc.div.restype, libc.ldiv.restype = Div, LDiv
    libc.ldiv.argtypes = [c.c_long, c.c_long]
    d, l = libc.div(-17, 5), libc.ldiv(-(1 << 40) - 3, 7)
    check("struct_of_two_ints_returns", (d.quot, d.rem) == (-3, -2))
    q = int(-((1 << 40) + 3) / 7)
    check("struct_of_two_longs_returns", (l.quot, l.rem) == (q, -(1 << 40) - 3 - 7 * q))
    for name in ("sin", "cos", "exp", "atan", "cbrt", "log1p"):
        f = getattr(libm, name)
        f.restype, f.argtypes = c.c_double, [c.c_double]
        check(f"double_{name}", math.isclose(f(0.5), {"cbrt": lambda x: x ** (1 / 3)}.get(name, getattr(math, name, None))(0.5)))
    libm.hypot.restype, libm.hypot.argtypes = c.c_double, [c.c_double] * 2
    check("two_doubles", libm.hypot(3.0, 4.0) == 5.0)
    libm.fmaf.restype, libm.fmaf.argtypes = c.c_float, [c.c_float] * 3
    check("three_floats", libm.fmaf(2.0, 3.0, 4.0) == 10.0)
    libm.ldexpl.restype, libm.ldexpl.argtypes = c.c_longdouble, [c.c_longdouble, c.c_int]
    check("long_double", float(libm.ldexpl(1.5, 4)) == 24.0)
    buf = c.create_string_buffer(200)
    libc.snprintf.argtypes = [c.c_char_p, c.c_size_t, c.c_char_p]
    n = libc.snprintf(buf, 200, b"%d %s %.3f %lld %c %g %d %d %d %.1f", 7, b"seven", c.c_double(7.125), c.c_longlong(1 << 40), ord("x"),
                      c.c_double(0.5), 1, 2, 3, c.c_double(9.5))
    check("variadic", buf.value == b"7 seven 7.125 1099511627776 x 0.5 1 2 3 9.5" and n == len(buf.value))
    libc.strtol.restype = c.c_long
    check("negative_result_is_widened", libc.strtol(b"-123", None, 10) == -123)
    libc.toupper.restype = c.c_int
    check("many_calls", all(libc.toupper(97 + i % 26) == 65 + i % 26 for i in range(20000)))
    libc.strtod.restype = c.c_double
    check("string_argument", libc.strtod(b"2.5e3", None) == 2500.0)
    c.set_errno(0)
    check("errno_survives", libc.close(-1) == -1 and c.get_errno() == 9)


def callbacks():
    cmp_t = c.CFUNCTYPE(c.c_int, c.POINTER(c.c_int), c.POINTER(c.c_int))
    values = [(i * 7919) % 1009 for i in range(500)]
    arr = (c.c_int * 500)(*values)
    libc.qsort.argtypes = [c.c_void_p, c.c_size_t, c.c_size_t, cmp_t]
    libc.qsort.restype = None
    libc.qsort(arr, 500, 4, cmp_t(lambda a, b: (a[0] > b[0]) - (a[0] < b[0])))
    check("qsort_calls_back", list(arr) == sorted(values))
    mixed_t = c.CFUNCTYPE(c.c_double, c.c_int, c.c_double, c.c_float, c.c_long, c.c_byte, c.c_short, c.c_double,
                          c.c_long, c.c_long, c.c_double, c.c_uint)
    f = mixed_t(lambda *a: sum(a))
    check("eleven_mixed_arguments", f(1, 2.5, 3.25, -4, -5, 6, 7.5, 8, 9, 10.125, 11) == 49.375)
    s_t = c.CFUNCTYPE(Mixed, Mixed, c.c_int)

    def double(m, k):
        return Mixed(m.a * k, m.b * k, (c.c_float * 3)(*[x * k for x in m.c]), m.d * k)
    try:
        g = s_t(double)
        m = g(Mixed(3, 1.5, (c.c_float * 3)(1, 2, 3), -(1 << 40)), 2)
        check("struct_by_value_both_ways", (m.a, m.b, list(m.c), m.d) == (6, 3.0, [2, 4, 6], -(1 << 41)))
    except TypeError:
        print("ok %d - ctypes_struct_by_value_both_ways # SKIP this ctypes returns no structs" % (len(results) + 1))
        results.append(True)
    p_t = c.CFUNCTYPE(c.c_float, Pair, Pair)
    check("pairs_of_floats", p_t(lambda a, b: a.x * b.x + a.y * b.y)(Pair(2, 3), Pair(4, 5)) == 23.0)
    for t, v in ((c.c_int8, -7), (c.c_uint8, 250), (c.c_int16, -300), (c.c_uint16, 65000), (c.c_int32, -70000),
                 (c.c_uint32, 4000000000), (c.c_int64, -(1 << 50)), (c.c_uint64, 1 << 63), (c.c_float, 1.5),
                 (c.c_double, -2.25), (c.c_bool, True)):
        check(f"{t.__name__}_both_ways", c.CFUNCTYPE(t, t)(lambda x: x)(v) == v)
    many = [cmp_t(lambda a, b, i=i: i) for i in range(2000)]
    check("two_thousand_closures", [f(None, None) for f in many] == list(range(2000)))


def main():
    ours = os.environ.get("FERRY_LIBFFI", "")
    maps = open("/proc/self/maps", encoding="utf-8").read()
    if not ours or os.path.realpath(ours) not in maps:
        print("1..0 # SKIP this python has a libffi of its own, not the shared library")
        return 0
    calls()
    callbacks()
    print(f"1..{len(results)}")
    return 0 if all(results) else 1


sys.exit(main())
