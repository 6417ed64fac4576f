#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `ferry verify` tells: pages, tables, explanations: report.py FERRY OBJECT-FOLDER EXAMPLE-FOLDER. TAP."""
import base64
import hashlib
import html.parser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../clients"))
from tap import check, done, skip  # noqa: E402

FERRY, HERE, EXAMPLES = sys.argv[1:4]
VOID = {"meta", "br", "img", "link", "input"}
LEFT_OPEN = {"td", "th", "tr", "li", "p"}  # may end without a tag


def ferry(*args, env=None):
    r = subprocess.run([FERRY, *args], capture_output=True, timeout=100, env={**os.environ, **(env or {})})
    r.out, r.err = r.stdout.decode(errors="strict"), r.stderr.decode(errors="replace")
    return r


class Page(html.parser.HTMLParser):
    """Is every element closed, and where do links and resources lead?"""

    def __init__(self, text):
        super().__init__()
        self.open, self.bad, self.tags, self.ids, self.links, self.text = [], [], [], set(), [], []
        self.script = ""
        self.feed(text)
        self.close()
        self.bad += [f"<{t}> never closed" for t in self.open if t not in LEFT_OPEN]

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for key, value in attrs:
            if key == "id":
                if value in self.ids:
                    self.bad.append(f"two elements have id {value}")
                self.ids.add(value)
            if key in ("href", "src"):
                self.links.append(value)
            if key.startswith("on"):
                self.bad.append(f"handler {key} in <{tag}>")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open[-1] != tag and self.open[-1] in LEFT_OPEN:
            self.open.pop()
        if not self.open or self.open.pop() != tag:
            self.bad.append(f"</{tag}> without its start, line {self.getpos()[0]}")

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.script += data
        elif "style" not in self.open:
            self.text.append(data)


def page_of(tmp, obj, *args):
    path = os.path.join(tmp, "report.html")
    r = ferry("verify", "--html", path, *args, obj)
    with open(path, encoding="utf-8") as f:
        text = f.read()
    return r, text, Page(text)


def sound(name, text, page):
    check(f"{name}_page_is_well_formed", not page.bad, "\n".join(page.bad[:10]))
    dead = [x for x in page.links if not x.startswith("#") or x[1:] not in page.ids]
    check(f"{name}_page_needs_nothing_else", not dead and "http" not in text.replace("http-equiv", ""), dead[:5])
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    check(f"{name}_page_admits_its_own_script_only", page.tags.count("script") == 1 and f"'sha256-{digest}'" in text)


def hostile_object(tmp):
    """The same with a file's name that is markup."""
    with open(os.path.join(HERE, "hostile.bpf.o"), "rb") as f:
        data = f.read()
    assert data.count(b"hostile.bpf.c\0") >= 1
    path = os.path.join(tmp, "hostile.o")
    with open(path, "wb") as f:
        f.write(data.replace(b"hostile.bpf.c\0", b"<img src=x>.c\0"))
    return path


def pages(tmp):
    r, text, page = page_of(tmp, os.path.join(HERE, "refused.bpf.o"))
    sound("refused", text, page)
    seen = "".join(page.text)
    check("page_explains", r.returncode == 1 and "if (!value) return 0;" in seen and "What was known" in seen, seen[:800])
    check("page_has_source_and_states", "return (int)*value;" in seen and "R1=ctx(" in seen and "map_value_or_null" in seen)
    path = re.findall(r'class="i p( x)?" id="p1-i(\d+)"', text)
    check("failing_path_is_marked", path == [("", str(i)) for i in (0, 1, 2, 3, 4, 6)] + [(" x", "7")], path)

    r, text, page = page_of(tmp, os.path.join(EXAMPLES, "packets.bpf.o"))
    sound("accepted", text, page)
    check("accepted_program_can_be_walked", r.returncode == 0 and text.count("<summary><span") > 20 and 'class="i p' not in text)

    r, text, page = page_of(tmp, hostile_object(tmp))
    sound("hostile", text, page)
    check("hostile_text_stays_text", "img" not in page.tags and "svg" not in page.tags and
          "<img src=x>" in "".join(page.text) and "<svg/onload" in "".join(page.text), "".join(page.text)[:3000])

    r, text, page = page_of(tmp, os.path.join(HERE, "long.bpf.o"))
    sound("long", text, page)
    insns = json.loads(ferry("verify", "--json", os.path.join(HERE, "long.bpf.o")).out)[0]["insns"]
    left = sum(int(n) for n in re.findall(r"(\d+) of \d+ instructions are left out", text))
    rows = len(re.findall(r'id="p0-i\d+"', text))
    check("long_page_is_bounded", len(text) < 7 << 20 and insns > 40000, (len(text), insns))
    check("what_is_left_out_is_said", left > 0 and rows + left == insns - 1, (rows, left, insns))
    check("the_refused_instruction_is_there", 'class="i p x"' in text)
    r = ferry("verify", "--html", os.path.join(tmp, "no/such/folder"), os.path.join(HERE, "refused.bpf.o"))
    check("page_that_cannot_be_written_fails", r.returncode == 3 and "no/such/folder" in r.err, r.err)


def browser(tmp):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    names = ("no_hostile_text_runs_in_a_browser", "a_browser_shows_the_page")
    if not chromium:
        for name in names:
            skip(name, "no chromium")
        return
    path = os.path.join(tmp, "hostile.html")
    ferry("verify", "--html", path, hostile_object(tmp))
    try:
        r = subprocess.run([chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
                            f"--user-data-dir={tmp}/chromium", "file://" + path], capture_output=True, timeout=60,
                           env={**os.environ, "HOME": tmp})
    except subprocess.TimeoutExpired:
        r = None
    if not r or b"</html>" not in r.stdout:
        for name in names:
            skip(name, "chromium does not start here")
        return
    dom = r.stdout.decode(errors="replace")
    check(names[0], "<title>owned" not in dom and "<title>ferry verify" in dom, dom[:500])
    check(names[1], dom.count("<details") > 5, dom[:500])


def explanations():
    obj = os.path.join(HERE, "refused.bpf.o")
    v = {p["program"]: p for p in json.loads(ferry("verify", "--json", obj).out)}
    why = v["no_null_check"]["why"]
    check("json_has_the_explanation", why["at"]["line"] == 23 and why["hint"].endswith("behind line 21") and
          why["history"][0]["at"]["line"] == 21 and why["path"]["steps"][0]["kind"] == "start", why)
    check("packet_hint_has_the_size", "data + 21 > data_end" in v["past_the_packet"]["why"]["hint"], v["past_the_packet"]["why"])
    r = ferry("verify", obj)
    check("no_colour_without_a_terminal", "\033" not in r.out)
    check("text_has_hint_and_path", "hint: compare it with NULL" in r.out and "path: 7 instructions" in r.out, r.out)
    r = ferry("verify", "--prog", "good", "--prog", "endless", "--json", obj)
    check("several_programs_can_be_named", [p["program"] for p in json.loads(r.out)] == ["good", "endless"], r.out)


def tables():
    a, b = os.path.join(HERE, "refused.bpf.o"), os.path.join(EXAMPLES, "packets.bpf.o")
    r = ferry("verify", "--stats", "--json", "--sort", "insns", a, b)
    rows = json.loads(r.out)
    check("table_is_sorted", r.returncode == 1 and len(rows) == 5 and
          [x["insns"] for x in rows] == sorted((x["insns"] for x in rows), reverse=True), r.out)
    r = ferry("verify", "--stats", a, b)
    lines = r.out.splitlines()
    check("table_has_a_row_a_program", len(lines) == 6 and lines[0].split()[:3] == ["File", "Program", "Verdict"], r.out)
    r = ferry("verify", "--stats", a, os.path.join(HERE, "nowhere.o"))
    check("bad_file_does_not_hide_the_others", r.returncode == 3 and "endless" in r.out and "nowhere.o" in r.err, r.err)
    check("unknown_sort_key_is_usage", ferry("verify", "--stats", "--sort", "x", a).returncode == 2)


def strict():
    obj = os.path.join(HERE, "strict.bpf.o")
    check("owner_may_see_addresses", ferry("verify", obj).returncode == 0, ferry("verify", obj).out)
    r = ferry("verify", "--strict", obj)
    check("strict_refuses_a_leak", r.returncode == 1 and "leaks addr into map" in r.out, r.out)
    r = ferry("verify", obj, env={"FERRY_STRICT": "1"})
    check("strict_by_environment", r.returncode == 1 and "leaks addr into map" in r.out, r.out)
    check("run_knows_strict", ferry("run", "--strict", obj).returncode == 1 and ferry("run", obj).returncode == 0)


with tempfile.TemporaryDirectory() as folder:
    pages(folder)
    browser(folder)
    explanations()
    tables()
    strict()
done()
