#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `meson install` puts in place: install.py MESON BUILD SOURCE CLANG. Headers are complete, in C and in C++; README's first
program builds and runs with them, as it stands there; ferry's libffi is found; what was installed can be taken away. TAP."""
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../clients"))
from tap import check, done, run, skip, skip_all  # noqa: E402

MESON, BUILD, SOURCE, CLANG = sys.argv[1:5]
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]


def find(root, name):
    return [os.path.join(d, name) for d, dirs, files in os.walk(root) if name in files + dirs]


def readme():
    """The files of its first program, and the commands below them."""
    with open(os.path.join(SOURCE, "README.md"), encoding="utf-8") as f:
        text = f.read()
    files = dict(re.findall(r"^`([\w.]+\.c)`[^\n]*\n\n```c\n(.*?)```\n", text, re.S | re.M))
    commands = text[text.index("```", text.index("`app.c`")):]
    commands = re.search(r"((?:^    [^\n]+\n)+)", commands[commands.index("```\n") + 4:], re.M).group(1)
    return files, [line.strip().split("  #")[0].strip() for line in commands.splitlines()]


def headers(include):
    names = sorted(os.listdir(os.path.join(include, "ferry")))
    check("all_headers_are_installed", names == sorted(os.listdir(os.path.join(SOURCE, "include/ferry"))), names)
    for name in names:
        if name == "ferry_bpf.h":
            continue  # for programs: README's is compiled below, the tests' include it
        for language, compiler in (("c11", "cc"), ("c++11", "c++"), ("c++20", "c++")):
            if shutil.which(compiler):
                r = run(compiler, "-x", "c" if compiler == "cc" else "c++", "-std=" + language, *STRICT, "-I", include, "-include",
                        f"ferry/{name}", "/dev/null")
                check(f"{name}_stands_alone_in_{language}", r.returncode == 0, r.all)
            else:
                skip(f"{name}_stands_alone_in_{language}", "no " + compiler)


def first_program(tmp, env):
    files, commands = readme()
    check("readme_has_a_first_program", sorted(files) == ["app.c", "sum.bpf.c"] and len(commands) == 4, (files, commands))
    for name, text in files.items():
        with open(os.path.join(tmp, name), "w", encoding="utf-8") as f:
            f.write(text)
    env = dict(env, PATH=f"{os.path.dirname(CLANG)}:{env['PATH']}")
    for command in commands[1:]:
        r = subprocess.run(command, shell=True, cwd=tmp, env=env, capture_output=True, text=True, timeout=60)
        check(shlex.split(command)[0].strip("./") + "_of_readmes_first_program", r.returncode == 0 and not r.stderr,
              f"{command}\n{r.stdout}\n{r.stderr}")
    check("readmes_first_program_gives_42", r.stdout == "42\n", r.stdout)
    r = run("cc", "-Wall", "-Werror", "-o", f"{tmp}/as_cpp", "-x", "c++", f"{tmp}/app.c", "-x", "none",
            *shlex.split(run("pkg-config", "--cflags", "--libs", "ferry", env=env).stdout), env=env) \
        if shutil.which("c++") else None
    if r:
        r = run(f"{tmp}/as_cpp", env=env, cwd=tmp) if r.returncode == 0 else r
        check("it_is_a_c++_program_too", r.stdout == "42\n", r.all)


def command(prefix, lib, env):
    ferry = os.path.join(prefix, "bin/ferry")
    r = run(ferry, "--version", env=env)
    check("the_command_says_its_version", r.stdout.startswith("ferry 0."), r.all)
    verbs = re.findall(r"^  (\w+)  ", run(ferry, "--help", env=env).stdout, re.M)
    pages = os.listdir(os.path.join(prefix, "share/man/man1"))
    lack = [v for v in verbs if f"ferry-{v}.1" not in pages and v != "broker"]
    check("every_verb_has_a_page", len(verbs) > 10 and not lack and "ferry.1" in pages, (lack, pages))
    loaded = find(prefix, "libferry-preload.so")
    check("the_preloaded_library_is_beside_the_other", loaded and os.path.dirname(loaded[0]) == lib, loaded)
    r = run(ferry, "exec", "--private", "--preload", loaded[0], "sh", "-c", "grep -o '[^/]*libferry-preload.so' /proc/self/maps", env=env)
    check("it_is_preloaded", "libferry-preload.so" in r.stdout, r.all)


def libffi(tmp, prefix, lib, env):
    folder = os.path.join(lib, "ferry")
    r = run("readelf", "-d", os.path.join(folder, "libffi.so.8"))
    check("libffi_has_its_soname", "[libffi.so.8]" in r.stdout, r.all)
    links = {n: os.readlink(os.path.join(folder, n)) for n in os.listdir(folder) if os.path.islink(os.path.join(folder, n))}
    check("libffi_has_its_links", links == {"libffi.so": "libffi.so.8", "libffi.so.8": "libffi.so.8.2.0"}, links)
    add, out = os.path.join(SOURCE, "examples/ffi/add.c"), os.path.join(tmp, "add")
    r = run("cc", "-Wall", "-Werror", add, "-o", out, "-I", f"{prefix}/include/ferry-ffi", "-L", folder, "-lffi", f"-Wl,-rpath,{folder}")
    check("a_program_builds_with_ffi.h", r.returncode == 0, r.all)
    alone = {k: v for k, v in env.items() if k != "LD_LIBRARY_PATH"}
    r = run("ldd", out, env=alone)
    check("and_finds_ferrys_libffi", f"{folder}/libffi.so.8" in r.stdout, r.all)
    r = run(out, env=alone)
    check("and_runs", r.returncode == 0 and r.stdout, r.all)
    code = "import ctypes; print(ctypes.CDLL(None).abs(-7), any('%s' in line for line in open('/proc/self/maps')))" % folder
    r = run("python3", "-c", code, env=dict(env, LD_LIBRARY_PATH=folder))
    check("python_calls_through_it_unchanged", r.stdout == "7 True\n", r.all)


def main(tmp):
    dest = os.path.join(tmp, "dest")
    r = run(*shlex.split(MESON), "install", "-C", BUILD, "--no-rebuild", "--destdir", dest)
    check("it_installs", r.returncode == 0, r.all)
    prefix = find(dest, "ferry.1")[0].split("/share/man")[0]
    pc = find(dest, "ferry.pc")[0]
    lib = os.path.dirname(os.path.dirname(pc))
    env = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(pc), PKG_CONFIG_SYSROOT_DIR=dest, LD_LIBRARY_PATH=lib)
    headers(os.path.join(prefix, "include"))
    command(prefix, lib, env)
    first_program(tmp, env)
    libffi(tmp, prefix, lib, env)
    run(*shlex.split(MESON), "--internal", "uninstall", cwd=BUILD)
    left = [os.path.join(d, f) for d, _, files in os.walk(dest) for f in files]
    check("uninstalling_leaves_no_file", not left, left)


if os.path.exists(os.path.join(BUILD, "build.ninja")) and not os.access(os.path.join(BUILD, "meson-logs"), os.W_OK):
    skip_all("the build folder is another user's")
with tempfile.TemporaryDirectory() as folder:
    main(folder)
done()
