#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Python's cffi (ABI mode) on our libffi.so.8. TAP."""
import os
import sys

try:
    import cffi
    import _cffi_backend
except ImportError:
    print("1..0 # SKIP python3-cffi is not installed")
    sys.exit(0)

results = []


def check(name, ok):
    results.append(ok)
    print(f"{'ok' if ok else 'not ok'} {len(results)} - cffi_{name}")


def main():
    if os.path.realpath(os.environ.get("FERRY_LIBFFI", "/none")) not in open("/proc/self/maps", encoding="utf-8").read():
        print("1..0 # SKIP cffi does not use the shared libffi here")
        return 0
    ffi = cffi.FFI()
    ffi.cdef("""
        typedef struct { int quot, rem; } div_t;
        typedef struct { long quot, rem; } ldiv_t;
        div_t div(int, int);
        ldiv_t ldiv(long, long);
        double hypot(double, double);
        float fmaf(float, float, float);
        int snprintf(char *, size_t, const char *, ...);
        void qsort(void *, size_t, size_t, int (*)(const void *, const void *));
        void *bsearch(const void *, const void *, size_t, size_t, int (*)(const void *, const void *));
        int toupper(int);
        long strtol(const char *, char **, int);
        size_t strlen(const char *);
        typedef struct { double x, y, z; } vec;
        typedef struct { char tag; float f; } small;
    """)
    C, M = ffi.dlopen("libc.so.6"), ffi.dlopen("libm.so.6")
    d = C.div(-17, 5)
    check("struct_returns", (d.quot, d.rem) == (-3, -2))
    l = C.ldiv(1 << 41, 1000)
    check("struct_of_longs_returns", l.quot * 1000 + l.rem == 1 << 41)
    check("doubles", M.hypot(5.0, 12.0) == 13.0)
    check("floats", M.fmaf(2.0, 3.0, 4.0) == 10.0)
    buf = ffi.new("char[100]")
    C.snprintf(buf, 100, b"%d %s %.2f %ld", ffi.cast("int", 7), ffi.new("char[]", b"seven"), ffi.cast("double", 7.25),
               ffi.cast("long", 1 << 40))
    check("variadic", ffi.string(buf) == b"7 seven 7.25 1099511627776")
    check("string", C.strlen(b"twelve bytes") == 12)
    check("negative_long", C.strtol(b"-77", ffi.NULL, 10) == -77)
    check("many_calls", all(C.toupper(97 + i % 26) == 65 + i % 26 for i in range(20000)))

    @ffi.callback("int(const void *, const void *)")
    def compare(a, b):
        x, y = ffi.cast("int *", a)[0], ffi.cast("int *", b)[0]
        return (x > y) - (x < y)
    values = [(i * 7919) % 1009 for i in range(300)]
    arr = ffi.new("int[]", values)
    C.qsort(arr, 300, 4, compare)
    check("qsort_calls_back", list(arr) == sorted(values))
    key = ffi.new("int *", sorted(values)[100])
    check("bsearch_calls_back", ffi.cast("int *", C.bsearch(key, arr, 300, 4, compare))[0] == key[0])
    vec = ffi.callback("vec(vec, double)", lambda v, k: {"x": v.x * k, "y": v.y * k, "z": v.z * k})
    r = vec({"x": 1.0, "y": 2.0, "z": 3.0}, 2.0)
    check("struct_in_memory_both_ways", (r.x, r.y, r.z) == (2.0, 4.0, 6.0))
    small = ffi.callback("small(small, float)", lambda s, k: {"tag": s.tag, "f": s.f + k})
    s = small({"tag": b"q", "f": 1.5}, 2.0)
    check("small_struct_both_ways", (s.tag, s.f) == (b"q", 3.5))
    mixed = ffi.callback("double(int, double, float, long, char, short, double, long, long, double, unsigned)",
                         lambda a, b, c, d, e, f, g, h, i, j, k: a + b + c + d + ord(e) + f + g + h + i + j + k)
    check("eleven_mixed_arguments", mixed(1, 2.5, 3.25, -4, b"\x05", 6, 7.5, 8, 9, 10.125, 11) == 59.375)
    many = [ffi.callback("int(int)", lambda x, i=i: x + i) for i in range(2000)]
    check("two_thousand_closures", [f(1) for f in many] == list(range(1, 2001)))
    print(f"1..{len(results)}")
    return 0 if all(results) else 1


sys.exit(main())
