#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Help, man pages and parsers of the command say the same: pages.py FERRY SOURCE. TAP."""
import glob
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../clients"))
from tap import check, done, skip  # noqa: E402

FERRY, SOURCE = sys.argv[1:3]
MAN = os.path.join(SOURCE, "docs/man")
# Verbs without a page, and where two are in one file.
WITHOUT_PAGE = {"broker"}
OPTIONS_OF = {"detach": "attach"}
FILES = {"detach": ["attach.c"], "module": ["module.c", "module_build.c"]}


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def ferry(*args):
    return subprocess.run([FERRY, *args], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)


def of_help(text):
    """Option -> does it take an argument?"""
    text = text[text.index("Options:"):]
    return {o: bool(arg) for o, arg in re.findall(r"^  (--?[a-z]+)( [A-Z]\S*)?  ", text + " ", re.M) if o != "--help"}


def of_page(text):
    return {"-" + o: bool(arg) for o, arg in re.findall(r"^\.It Fl (-?\w+)(?: Ar (.*))?$", text, re.M)}


def of_synopsis(text):
    text = text[text.index(".Sh SYNOPSIS"):text.index(".Sh DESCRIPTION")]
    return {"-" + o: bool(arg) for o, arg in re.findall(r"Fl (-?\w+)(?: Ar (\S+))?", text)}


def of_parser(verb):
    text = "".join(read(os.path.join(SOURCE, "src/cli", f)) for f in FILES.get(verb, [verb + ".c"]))
    found = {"--" + o: how == "required" for o, how in re.findall(r'\{ "(\w+)", (required|no)_argument', text)}
    by_hand = re.findall(r'strcmp\((?:o|argv\[i\]), "(--?\w+)"\)', text)
    return found or {o: o != "--json" for o in by_hand}


def codes_of_help(text):
    return set(re.findall(r"(?<![\w-])([0-3])(?= |\.)", text[text.index("Exit codes:"):]))


def codes_of_page(text):
    text = text[text.index(".Sh EXIT STATUS"):]
    text = text[:text.index(".Sh", 5)]
    if "As in\n.Xr ferry 1" in text:
        return {"0", "1", "2", "3"}
    return set(re.findall(r"^\.It (\d)", text, re.M)) or set(re.findall(r"(?<![\w-])([0-3])(?=;| )", text))


def options(verb, text, page):
    want, says, parser = of_help(text), of_page(page), of_parser(verb)
    if verb == "detach":
        parser.pop("--session")
    check(f"{verb}_parses_the_options_of_its_help", parser == want, (parser, want))
    if verb not in OPTIONS_OF:
        check(f"{verb}s_page_has_them_all", says == want, (says, want))
    synopsis = of_synopsis(page)
    check(f"{verb}s_synopsis_too", synopsis == want, (synopsis, want))
    wrong = [o for o, arg in want.items() if arg and ferry(verb, *(["build"] if verb == "module" else []), o).returncode != 2]
    r = ferry(verb, *(["list"] if verb == "module" else []), "--no-such-option")
    check(f"{verb}_refuses_others_and_those_without_argument", not wrong and r.returncode == 2 and "--no-such-option" in r.stderr,
          f"{wrong} {r.returncode} {r.stderr}")


def verb_and_page(verb, brief):
    r = ferry(verb, "--help")
    check(f"{verb}_explains_itself", r.returncode == 0 and r.stdout.startswith(f"Usage: ferry {verb}") and not r.stderr and
          ferry("help", verb).stdout == r.stdout, r.stderr)
    if verb in WITHOUT_PAGE:
        return
    page = read(os.path.join(MAN, f"ferry-{verb}.1"))
    says = re.search(r"^\.Nd (.*)$", page, re.M).group(1)
    check(f"{verb}_is_the_same_in_a_few_words", says == brief, (says, brief))
    options(verb, r.stdout, page)
    if verb != "exec":  # the command's
        check(f"{verb}s_page_has_its_exit_codes", codes_of_page(page) == codes_of_help(r.stdout) >= {"0", "2"},
              (codes_of_page(page), codes_of_help(r.stdout)))


def environment(pages):
    """What is asked for without being said by Ferry itself."""
    asked = set()
    for path in glob.glob(os.path.join(SOURCE, "src/**/*.c"), recursive=True):
        asked |= set(re.findall(r'getenv\("((?:FERRY|NO_)\w*)"\)', read(path)))
    told = set(re.findall(r"^\.It Ev (\w+)", pages, re.M))
    check("every_variable_of_the_environment_has_its_page", len(asked) > 5 and asked <= told, asked - told)


def library():
    declared = set(re.findall(r"^FERRY_API [^(]*?(\w+)\(", "".join(read(p) for p in glob.glob(os.path.join(SOURCE, "include/ferry/*.h"))), re.M))
    named = set(re.findall(r"Fn (ferry_\w+)", read(os.path.join(MAN, "ferry.3"))))
    check("ferry.3_names_every_function_of_the_headers", len(declared) > 30 and named == declared, named ^ declared)


def lint():
    """Errors only: each version of mandoc has its own taste."""
    mandoc = shutil.which("mandoc")
    for path in sorted(glob.glob(os.path.join(MAN, "*"))):
        name = "formats_" + os.path.basename(path)
        if not mandoc:
            skip(name, "no mandoc")
            continue
        r = subprocess.run([mandoc, "-T", "lint", "-W", "error", path], capture_output=True, text=True, check=False)
        check(name, r.returncode == 0, r.stdout)


overview = ferry("--help").stdout
verbs = re.findall(r"^  (\w+)  +(.*)$", overview, re.M)
front = read(os.path.join(MAN, "ferry.1"))
check("verbs_are_listed", len(verbs) > 10, overview)
lack = [v for v, _ in verbs if v not in WITHOUT_PAGE and f"Xr ferry-{v} 1" not in front]
check("ferry.1_leads_to_each_verbs_page", not lack, lack)
check("ferry.1_has_the_exit_codes", codes_of_page(front) == codes_of_help(overview) == {"0", "1", "2", "3"}, overview)
for v, words in verbs:
    verb_and_page(v, words)
environment("".join(read(p) for p in glob.glob(os.path.join(MAN, "*.1"))))
library()
lint()
done()
