#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ferry module on good and bad modules, headers and libraries: module.py FERRY TOUR-MODULE. TAP."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../clients"))
from tap import check, done  # noqa: E402

FERRY, TOUR = sys.argv[1:3]


def module(*args):
    r = subprocess.run([FERRY, "module", *args], capture_output=True, timeout=120, text=True, check=False)
    r.both = f"exit {r.returncode}\n{r.stdout}\n{r.stderr}"
    return r


def refused(name, r, code, *words):
    check(name, r.returncode == code and r.stderr.startswith("ferry ") and all(w in r.stderr for w in words), r.both)


def views(tmp):
    r = module("list", TOUR)
    check("list_counts_functions", r.returncode == 0 and "tour: 2 functions" in r.stdout, r.both)
    r = module("list", "--json", TOUR)
    check("list_json", r.returncode == 0 and json.loads(r.stdout) == [{"name": "tour", "count": 2}], r.both)
    r = module("show", TOUR)
    check("show_has_each_prototype", r.returncode == 0 and "long norm1(const struct point *p)" in r.stdout
          and "unsigned int checksum(const void *mem, unsigned int mem__sz)" in r.stdout, r.both)
    r = module("show", "--json", TOUR)
    f = {x["name"]: x for x in json.loads(r.stdout)[0]["functions"]}
    check("show_json", set(f) == {"norm1", "checksum"} and f["norm1"]["permission"] == "all programs"
          and f["norm1"]["prototype"] == "long norm1(const struct point *p)" and f["norm1"]["flags"] == [], r.both)
    check("check_of_a_good_module_exits_0", module("check", TOUR).returncode == 0)
    r = module("header", TOUR)
    c = os.path.join(tmp, "uses.c")
    with open(c, "w", encoding="utf-8") as out:
        out.write(r.stdout + "long f(void) { struct point p = { 1, 2 }; return norm1(&p) + checksum(&p, sizeof(p)); }\n")
    cc = subprocess.run(["clang", "-target", "bpf", "-Wall", "-Werror", "-c", c, "-o", os.devnull],
                        capture_output=True, text=True, check=False)
    check("header_compiles_for_programs", r.returncode == 0 and cc.returncode == 0, r.both + cc.stderr)
    refused("no_such_library", module("list", os.path.join(tmp, "nowhere.so")), 3, "nowhere.so")
    refused("a_text_file_is_no_module", module("check", c), 3, "uses.c")
    for args in ((), ("bogus",), ("list",), ("show", "--bogus", TOUR), ("build",), ("build", "-o"), ("build", "--bogus")):
        r = module(*args)
        check(f"usage_{'_'.join(a for a in args if a != TOUR).replace('-', '') or 'nothing'}_exits_2",
              r.returncode == 2 and "--help" in r.stderr, r.both)


def build(tmp):
    def put(name, text):
        with open(os.path.join(tmp, name), "w", encoding="utf-8") as f:
            f.write(text)
        return os.path.join(tmp, name)

    lib, out = os.path.join(tmp, "libsmall.so"), os.path.join(tmp, "small.ferry.so")
    c = put("small.c", "int twice(int x) { return 2 * x; }\n"
                       "double half(double x) { return x / 2; }\n"
                       "long total(const int *v, unsigned n) { long s = 0; while (n--) s += v[n]; return s; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", lib, c], check=True)
    h = put("small.h", "int twice(int x);\ndouble half(double x);\nlong total(const int *v, unsigned n);\n"
                       "int absent(int x);\n")
    r = module("build", "-o", out, "--json", "--header", h, "--lib", lib)
    left = r.stdout
    j = json.loads(left) if r.returncode == 0 else {}
    check("build_says_what_it_left_out", j.get("functions") == 2 and [f["name"] for f in j["left_out"]] == ["total"]
          and "it has pointers" in j["left_out"][0]["why"], r.both)
    r = module("show", "--json", out)
    names = {x["name"] for x in json.loads(r.stdout)[0]["functions"]} if r.returncode == 0 else set()
    check("build_opens_the_rest", names == {"twice", "half"}, r.both)
    a = put("small.ferry.h", "long total(const int *v __count(n), unsigned n);\n")
    r = module("build", "-o", out, "--header", h, "--lib", lib, "--annotate", a)
    check("an_annotated_prototype_is_opened", r.returncode == 0 and "__count(n)" in module("show", out).stdout, r.both)
    r = module("build", "-o", out, "--header", h, "--lib", lib, "--annotate",
               put("bad.ferry.h", "long total(const int *v __count(m), unsigned n);\n"))
    refused("a_bad_annotation_is_named", r, 3, "total", "`m'")
    r = module("build", "-o", out, "--header", put("bad.h", "#error broken\n"), "--lib", lib)
    check("a_header_that_is_no_c_is_clangs_to_explain", r.returncode == 1 and "bad.h" in r.stderr
          and "clang failed" in r.stderr, r.both)
    r = module("build", "-o", out, "--header", os.path.join(tmp, "no.h"), "--lib", lib)
    check("no_such_header", r.returncode == 1 and "no.h" in r.stderr, r.both)
    r = module("build", "-o", out, "--json", "--header", h, "--lib", lib, "--annotate",
               put("absent.ferry.h", "int absent(int x __range(0, 9));\n"))
    check("an_annotated_function_that_the_library_lacks_is_named", "absent" in r.both
          and "the library does not export it" in r.both, r.both)
    refused("library_that_lacks_every_function",
            module("build", "-o", out, "--header", put("none.h", "int absent(int x);\n"), "--lib", lib), 1, "function")
    refused("no_such_library_to_open", module("build", "-o", out, "--header", h, "--lib", os.path.join(tmp, "no.so")),
            3, "no.so")


with tempfile.TemporaryDirectory() as folder:
    views(folder)
    build(folder)
done()
