#!/usr/bin/env python3
"""Mutation testing: does a test notice when one line of the product is changed?

    tests/mutate.py run  FOLDER [--seed N] [--first I] [--seconds S] [--workers W]
    tests/mutate.py list [--seed N] [--first I] [--count N]
    tests/mutate.py show INDEX [--seed N]     the change as a diff

`run` makes W clones of this repository's HEAD in FOLDER, builds them, and changes one line of one of them at a
time: an operator, a constant, a condition, a sign, a status that is returned, a call that is left out. What still
compiles is run through the tests that know the place, then through the others, until one fails. FOLDER/log.jsonl
gets a line a change; those that survived are printed. Change number I of a seed is always the same one (of the same
sources), so that `show` finds it again. Not every survivor matters: some change nothing, some only the speed.
"""
import argparse
import difflib
import itertools
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["kernels/base", "kernels/cpu", "kernels/ref", "kernels/plan", "io", "temporal", "vae", "engine"]
KEYWORDS = ("if", "for", "while", "switch", "return", "sizeof", "else", "case", "do", "assert")
# Calls whose arguments are texts for people.
TEXTS = r"\b(wf_fail\w*|fail\w*|refuse\w*|wf_log\w*|_Static_assert|fprintf|printf|cli_say|cli_tell)\s*\("
MOST_DRAWN = 1000  # changes of one run

# --- the tests, by the place of a change: those that know it, then the others --------------------------------

CLI = ["test_cli", "test_outputs", "test_refusals", "test_batch", "test_meet", "test_damage"]
CLIPS = ["test_sinks", "test_sinks_av", "test_colours", "test_repeat", "test_outputs"]
COMPARISON = ["test_score", "test_comparison", "test_compare"]
NUMBERS = ["test_job", "test_parity", "test_bf16", "test_late", "test_not_a_number"]
SVD = ["test_svd_vae", "test_svd_encoder", "test_svd_unet", "test_clip_vision", "test_image_clip"]
KNOWN = [
    ("kernels/base", ["test_base", "test_threads", "test_job", "test_surroundings"]),
    ("kernels/cpu", ["checkops", "test_group_norm", *NUMBERS, *SVD]),
    ("kernels/pieces", ["checkops_pieces", "checkops", *NUMBERS]),
    ("kernels/", ["checkops", *NUMBERS]),
    ("io/weights", ["test_weights", "test_files", "test_job", "test_damage"]),
    ("io/image", ["test_image", "test_image_clip"]),
    ("io/video/score", COMPARISON),
    ("io/video/metric", COMPARISON),
    ("io/video", [*CLIPS, *COMPARISON]),
    ("io/", ["test_json", "test_weights", "test_sinks", "test_image"]),
    ("temporal/svd", SVD),
    ("temporal", [*NUMBERS, "test_chunks", *SVD]),
    ("vae", ["test_decode", "test_tiles", "test_chunks", *NUMBERS, *SVD]),
    ("engine/cli", [*CLI, "test_utf8", "test_pages"]),
    ("engine/preview", ["test_preview"]),
    ("engine/colours", ["test_latent_colours", "test_preview"]),
    ("engine/progress", ["test_job", "test_cli"]),
    ("engine/kept", ["test_resume", "test_damage"]),
    ("engine/resume", ["test_resume", "test_damage"]),
    ("engine/compare", COMPARISON),
    ("engine/text", ["test_text", "test_umt5"]),
    ("engine/encoders", ["test_umt5", "test_clip_vision", "test_parity"]),
    ("engine/sampler", ["test_sampler", "test_job"]),
    ("engine/re", ["test_resume", "test_repeat", "test_job"]),  # recipe, resume, report, request
]
OTHERS = ["test_json", "test_base", "test_weights", "test_text", "test_image", "test_sampler", "test_chunks",
          "test_tiles", "test_latents", "test_files", "test_threads", *NUMBERS, *SVD, "test_decode", *CLIPS, *COMPARISON,
          *CLI, "test_resume", "test_surroundings"]


def tests_of(path):
    known = next((tests for start, tests in KNOWN if path.startswith(start)), [])
    return list(dict.fromkeys(known)), [t for t in dict.fromkeys(OTHERS) if t not in known]


# --- reading the sources ---------------------------------------------------------------------------------------


def masked(text):
    """Comments and strings as blanks of the same length, line feeds kept."""

    def blank(match):
        body = match.group(0)
        if body.startswith("/"):
            return re.sub(r"[^\n]", " ", body)
        return body[0] + "\x01" * (len(body) - 2) + body[-1]

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def closing(code, at):
    """The place of the bracket that closes the one at `at`; -1: none does."""
    depth = 0
    for i in range(at, len(code)):
        depth += {"(": 1, ")": -1}.get(code[i], 0)
        if depth == 0:
            return i
    return -1


class Source:
    def __init__(self, path):
        self.path = path
        self.text = (ROOT / path).read_text()
        self.code = masked(self.text)
        self.starts = [0, *(m.end() for m in re.finditer("\n", self.code))]
        self.lines = list(self.changeable())
        self.texts = [(m.end(), closing(self.code, m.end() - 1)) for m in re.finditer(TEXTS, self.code)]

    def changeable(self):
        """Lines in bodies of functions ({ and } in the first column), but for the preprocessor's."""
        inside = continued = False
        for i, line in enumerate(self.code.split("\n")):
            if line[:1] in ("{", "}"):
                inside = line.startswith("{")
                continue
            directive = continued or line.lstrip().startswith("#")
            continued = directive and line.rstrip().endswith("\\")
            if inside and not directive and re.search(r"\w", line):
                yield i

    def line(self, i):
        end = self.starts[i + 1] - 1 if i + 1 < len(self.starts) else len(self.code)
        return self.starts[i], self.code[self.starts[i] : end]

    def changes(self, i):
        """All changes of a line, by their kind: {kind: [(start, end, new text)]}."""
        found = {}
        at, line = self.line(i)
        for kind, start, end, new in itertools.chain(operators(line), constants(line), self.conditions(at, line),
                                                     self.statements(at, line)):
            start, end = at + start, at + end
            if kind == "status" or not any(a <= start < b for a, b in self.texts):
                found.setdefault(kind, []).append((start, end, new))
        return found

    def conditions(self, at, line):
        for m in re.finditer(r"\b(if|while) \(", line):
            end = closing(self.code, at + m.end() - 1)
            if end > 0 and not (m.group(1) == "while" and self.code[end + 1 : end + 2] == ";"):
                yield "negate", m.end(), end - at, f"!({self.text[at + m.end():end]})"

    def statements(self, at, line):
        m = re.match(r"\s*(?:if \(.*\) )?return (?=(\w+)\()", line)
        end = self.code.find(";", at + m.end()) if m else -1
        if m and (m.group(1).startswith(("wf_fail", "fail", "refuse")) or "err)" in self.text[at:end]):
            yield "status", m.end(), end - at, f"({self.text[at + m.end():end]}, WF_OK)"
        m = re.match(r"\s*(?:if \(.*\) )?return (WF_FAILED|WF_REFUSED|WF_CANCELLED|status|result|false|true)(?=;)", line)
        if m:
            yield "status", m.start(1), m.end(1), {"false": "true", "true": "false"}.get(m.group(1), "WF_OK")
        m = re.match(r"(\s+)(\w+(?:->\w+|\.\w+)*)\(", line)
        before = self.code[: at + m.end(1)].rstrip() if m else ""
        if not m or m.group(2) in KEYWORDS or m.group(2).startswith("va_"):
            return
        alone = before.endswith((")", "else"))
        end = closing(self.code, at + m.end() - 1)
        if (alone or before.endswith((";", "{", "}"))) and end > 0 and self.code[end + 1 : end + 2] == ";":
            yield "call", m.end(1), end + 2 - at, ";" if alone else ""


def operators(line):
    for m in re.finditer(r"(?<=[ ])(<=|>=|==|!=|<|>)(?=[ ]|$)", line):
        new = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}[m.group(1)]
        yield "relational", m.start(), m.end(), new
        if m.group(1) in "<>" and "?" in line[m.end() :]:
            yield "minmax", m.start(), m.end(), {"<": ">", ">": "<"}[m.group(1)]
    for m in re.finditer(r"(?<=[ ])([-+*/%])(=?)(?=[ ]|$)", line):
        new = {"+": "-", "-": "+", "*": "+", "/": "*", "%": "/"}[m.group(1)]
        yield "arithmetic", m.start(), m.end(), new + m.group(2)
    for m in re.finditer(r"(?<=[ ])(&&|\|\|)(?=[ ]|$)", line):
        yield "logical", m.start(), m.end(), "||" if m.group(1) == "&&" else "&&"
    for m in re.finditer(r"(?<![\w=])!(?=[\w(])", line):
        yield "logical", m.start(), m.end(), ""
    for m in re.finditer(r"(?<=[=(,?:] )-(?=[\w(])|(?<=\()-(?=[\w(])|(?<=return )-(?=[\w(])", line):
        yield "sign", m.start(), m.end(), ""
    for m in re.finditer(r"\b(\w*_min\w*|\w*_max\w*|f?min\w*|f?max\w*|least|most)(?=\()", line):
        name = m.group(1).replace("min", "\0").replace("max", "min").replace("\0", "max")
        yield "minmax", m.start(), m.end(), {"least": "most", "most": "least"}.get(name, name)


def constants(line):
    if re.match(r"\s*(static |const |unsigned |struct )*\w+ \*?\w+\[[^=]*$", line):
        return  # an array's size
    for m in re.finditer(r"(?<![\w.])(\d+\.\d*|\d+)(e-?\d+)?(f|u|ull|LL)?(?![\w.])", line):
        number = m.group(0)
        yield "constant", m.start(), m.end(), str(int(number) + 1) if number.isdigit() else f"({number} + 1)"
    for m in re.finditer(r"\b(true|false)\b", line):
        yield "constant", m.start(), m.end(), "false" if m.group(1) == "true" else "true"


# --- drawing -----------------------------------------------------------------------------------------------------


def drawn(seed):
    """The changes of a seed, without end; none twice."""
    chance = random.Random(seed)
    sources = [Source(str(p.relative_to(ROOT))) for f in FOLDERS for p in sorted((ROOT / f).rglob("*.c"))]
    places = [(source, i) for source in sources for i in source.lines]
    seen = set()
    while True:
        source, i = chance.choice(places)
        found = source.changes(i)
        if not found:
            continue
        kind = chance.choice(sorted(found))
        start, end, new = chance.choice(found[kind])
        old = source.text[start:end]
        if old == new or (source.path, start, end, new) in seen:
            continue
        seen.add((source.path, start, end, new))
        yield {"file": source.path, "line": i + 1, "kind": kind, "start": start, "end": end, "old": old, "new": new}


def changed(text, change):
    return text[: change["start"]] + change["new"] + text[change["end"] :]


def row(index, change):
    return f"{index} {change['file']}:{change['line']} {change['kind']} [{change['old']}] -> [{change['new']}]"


# --- running -----------------------------------------------------------------------------------------------------


def child_limits():
    os.setsid()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 40, 4 << 40))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(command, log, limit):
    """The exit status, or "hangs"; what it started ends with it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                               preexec_fn=child_limits)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return "hangs"
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def build(tree, log, limit):
    return run(["cmake", "--build", tree / "build", "--", "-j1"], log, limit) == 0


def prepare(tree, log):
    """A clone that is built, and whose tests succeed as it is."""
    if not tree.exists():
        subprocess.run(["git", "clone", "-q", ROOT, tree], check=True)
    head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["git", "-C", tree, "fetch", "-q", "origin", head], check=True)
    subprocess.run(["git", "-C", tree, "reset", "-q", "--hard", head], check=True)
    subprocess.run(["cmake", "-G", "Ninja", "-S", tree, "-B", tree / "build", "-DCMAKE_BUILD_TYPE=Release", "-DWEFT_CUDA=OFF"],
                   check=True, stdout=log)
    if not build(tree, log, 3600) or run_tests(tree, OTHERS, log) != 0:
        sys.exit(f"{tree}: does not build, or a test fails without any change; see {log.name}")


def run_tests(tree, names, log):
    wanted = "^(" + "|".join(dict.fromkeys(names)) + ")$"
    return run(["ctest", "--test-dir", tree / "build", "--stop-on-failure", "--timeout", "300", "-R", wanted], log, 3600)


def try_change(change, tree, log):
    path = tree / change["file"]
    text = path.read_text()
    try:
        path.write_text(changed(text, change))
        if not build(tree, log, 600):
            return "does not compile"
        for names in tests_of(change["file"]):
            if names and run_tests(tree, names, log) != 0:
                return "noticed"
        return "survived"
    finally:
        path.write_text(text)


def work(tree, folder, todo, end, lock):
    while time.time() < end:
        with lock:
            index, change = next(todo, (None, None))
        if change is None:
            return
        with open(folder / f"{index:04}.log", "w", encoding="utf-8") as log:
            result = try_change(change, tree, log)
        with lock:
            with open(folder / "log.jsonl", "a", encoding="utf-8") as log:
                log.write(json.dumps({"index": index, **change, "result": result}) + "\n")
            if result == "survived":
                print("SURVIVED", row(index, change), flush=True)
            else:
                (folder / f"{index:04}.log").unlink()


def run_all(options):
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["git", "-C", ROOT, "diff", "--quiet", "HEAD", "--", *FOLDERS]).returncode != 0:
        sys.exit(f"{ROOT}: the changes are drawn from its files, and tried on its HEAD; commit what differs")
    (folder / "log.jsonl").unlink(missing_ok=True)
    todo = itertools.islice(enumerate(drawn(options.seed)), options.first, options.first + MOST_DRAWN)
    trees = [folder / f"tree-{i}" for i in range(options.workers)]
    with open(folder / "prepare.log", "w", encoding="utf-8") as log:
        for tree in trees:
            prepare(tree, log)
    lock, end = threading.Lock(), time.time() + options.seconds
    threads = [threading.Thread(target=work, args=(tree, folder, todo, end, lock)) for tree in trees]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = [json.loads(text)["result"] for text in (folder / "log.jsonl").read_text().splitlines()]
    print(f"{results.count('noticed')} noticed, {results.count('survived')} survived, "
          f"{results.count('does not compile')} did not compile")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "list", "show"])
    parser.add_argument("where", nargs="?", help="run: FOLDER; show: INDEX")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if options.what == "list":
        for index, change in itertools.islice(enumerate(drawn(options.seed)), options.first, options.first + options.count):
            print(row(index, change))
    elif options.where is None:
        parser.error("a FOLDER or an INDEX is missing")
    elif options.what == "show":
        change = next(itertools.islice(drawn(options.seed), int(options.where), None))
        text = (ROOT / change["file"]).read_text()
        sys.stdout.writelines(difflib.unified_diff(text.splitlines(True), changed(text, change).splitlines(True),
                                                   change["file"], change["file"], n=2))
    else:
        options.folder = Path(options.where)
        run_all(options)


main()
