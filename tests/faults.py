#!/usr/bin/env python3
"""Fails allocations, reads and writes of the program, one after the other, over whole tiny jobs.

faults.py WEFT SHIM FIXTURES [--points N] [--start N] [--from WORDS] [--only CASE] [--kind KIND]

Each job runs once to count its calls of a kind (see fault.c, SHIM), then once for each call, which
fails. It must end with 0, 1 or 2 within a minute; with 0, what it made is what the first run made;
else it said so in one line, nothing has the output's name, and no part is left. --points runs that
many of a kind's calls at most, evenly spread from --start on (drawn and printed where it is not
given); --from counts the calls of libraries, too, by words of their paths.
"""
import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LIMIT = 60  # seconds a run

# KIND:NTH:HOW of fault.c. Of the second list one run fails all calls of a kind.
ONE_BY_ONE = [("alloc", "ENOMEM"), ("alloc", "ENOMEM+"), ("read", "EIO"), ("read", "end"), ("write", "ENOSPC"),
              ("write", "EIO+")]
ALL_AT_ONCE = [("read", "short+"), ("read", "EINTR+"), ("write", "short+"), ("write", "EINTR+")]


def content(path):
    """A file's bytes, but for the seconds that a report tells."""
    return re.sub(rb'("seconds": |time="| in )[0-9.e-]+', b"", path.read_bytes())


class Case:
    """A command line, run in a folder of its own that holds a copy of `before`, if there is one."""

    def __init__(self, name, arguments, made, before=None, code=0, stdin=None):
        self.name, self.arguments, self.made = name, arguments, made
        self.before, self.code, self.stdin = before, code, stdin


def cases(fixtures, prepared):
    wan, svd = fixtures / "basic/model", fixtures / "svd_a/model"
    tiny = ["-W", "16", "-H", "16", "-f", "5", "--steps", "2", "-s", "7", "--dtype", "f32", "--threads", "1", "-q"]
    fox = ["generate", wan, "-p", "fox", *tiny]
    latents = fixtures / "basic/expect/latents.safetensors"
    compare = ["compare", prepared / "a.mp4", prepared / "b.mp4", "--tile-size", "8x8", "--tile-overlap", "4x4"]
    return [
        Case("mp4", [*fox, "-o", "x.mp4", "--report", "x.json"], ["x.mp4"]),
        Case("y4m", ["generate", wan, "-p", "@" + str(prepared / "prompt.txt"), *tiny, "--device", "ref", "-o", "x.y4m",
                      "--dump", "dump"], ["x.y4m"]),
        Case("png", [*fox, "-o", "x-%d.png"], [f"x-{i}.png" for i in range(1, 6)]),
        Case("two", [*fox, "--device", "ref", "--num-videos", "2", "-f", "1", "-o", "x-%d.safetensors"], ["x-0.safetensors", "x-1.safetensors"]),
        Case("resume", [*fox, "--resume", "steps", "-o", "x.mkv"], ["x.mkv"]),
        Case("resumed", [*fox, "--resume", "steps", "-o", "x.y4m"], ["x.y4m"], before="resumed"),
        Case("image", ["generate", svd, "-i", fixtures / "svd_a/image.jpg", *tiny, "-W", "64", "-H", "64", "-f", "3",
                       "--steps", "1", "-o", "x.y4m"], ["x.y4m"]),
        Case("like", ["generate", wan, "--like", prepared / "a.mp4", "-q", "-o", "x.mp4"], ["x.mp4"]),
        Case("batch", ["generate", wan, *tiny, "--jobs", prepared / "jobs.jsonl"], ["x.y4m", "y.y4m"]),
        Case("plan", [*fox, "--plan", "-o", "x.mp4"], []),
        Case("decode", ["decode", wan, latents, "--dtype", "f32", "--threads", "1", "-q", "-o", "x.y4m"], ["x.y4m"]),
        Case("html", [*compare, "--report", "x.html"], ["x.html"]),
        Case("xml", ["compare", prepared / "a.mp4", prepared / "a-%d.png", "--report", "x.xml"], ["x.xml"]),
        Case("json", ["compare", prepared / "a.y4m", prepared / "a.safetensors", "--report", "x.json", "--json"], ["x.json"]),
        Case("info", ["info", wan, "--json"], []),
        Case("clip", ["info", prepared / "a.mp4"], []),
    ]


def prepare(weft, fixtures, folder):
    """The clips that the cases read."""
    wan = fixtures / "basic/model"
    base = [weft, "generate", wan, "-p", "fox", "-W", "16", "-H", "16", "-f", "5", "--steps", "2", "--dtype", "f32",
            "--threads", "1", "-q", "-s"]
    for seed, name in ("7", "a.mp4"), ("8", "b.mp4"), ("7", "a-%d.png"), ("7", "a.y4m"), ("7", "a.safetensors"):
        subprocess.run([*base, seed, "-o", folder / name], check=True)
    (folder / "resumed").mkdir()
    subprocess.run([*base, "7", "--resume", folder / "resumed/steps", "--format", "null"], check=True)
    (folder / "prompt.txt").write_text("a fox\n")
    (folder / "jobs.jsonl").write_text('{"prompt": "a fox", "output": "x.y4m"}\n{"prompt": "a wolf", "output": "y.y4m"}\n')


class Sweep:
    def __init__(self, options, prepared):
        self.options, self.prepared = options, prepared
        self.faults, self.runs = [], 0

    def run(self, case, folder, fault):
        """The exit status ("hangs"), standard error, and the log's lines."""
        if case.before:
            shutil.copytree(self.prepared / case.before, folder)
        else:
            folder.mkdir()
        log = folder.with_suffix(".log")
        env = {**os.environ, "OMP_WAIT_POLICY": "passive", "WEFT_FAULT": fault, "WEFT_FAULT_LOG": str(log),
               "WEFT_FAULT_FROM": self.options.from_, "LD_PRELOAD": str(self.options.shim)}
        with open(folder.with_suffix(".out"), "wb") as out, open(folder.with_suffix(".err"), "wb") as err:
            try:
                code = subprocess.run([self.options.weft, *case.arguments], cwd=folder, env=env, stdin=subprocess.DEVNULL,
                                      stdout=out, stderr=err, timeout=LIMIT).returncode
            except subprocess.TimeoutExpired:
                code = "hangs"
        said = folder.with_suffix(".err").read_text(errors="replace")
        return code, said, log.read_text().split("\n") if log.exists() else []

    def why(self, case, good, folder, code, said):
        """What is wrong with a run; None: nothing."""
        lines = said.splitlines()
        names = [n for n in case.made if (folder / n).exists()]
        if code not in (0, 1, 2):
            return f"exit {code}"
        if any(not line.startswith("weft: ") for line in lines):
            return "not a message of the program"
        if list(folder.rglob("*.part")):
            return "a part is left"
        for name in names:
            if content(good / name) != content(folder / name):
                return f"{name} is not what it should be"
        if code == 0:
            if names != case.made:
                return "exit 0 without the output"
            if case.name != "plan" and content(good.with_suffix(".out")) != content(folder.with_suffix(".out")):
                return "standard output is not what it should be"
            return None
        if case.name != "batch" and len(lines) != 1:
            return "not one line"
        if names and not self.may_stay(case, folder, said):
            return "an output is left"
        return None

    @staticmethod
    def may_stay(case, folder, said):
        """What was whole before another clip, the report or the printing failed."""
        unreported = case.name == "mp4" and not (folder / "x.json").exists()
        return unreported or case.name in ("batch", "two") or any(word in said for word in ("is kept as", "standard output"))

    def point(self, case, good, work, fault):
        folder = work / fault.replace(":", "-")
        code, said, log = self.run(case, folder, fault)
        wrong = self.why(case, good, folder, code, said)
        self.runs += 1
        if wrong:
            self.faults.append(f"{case.name} {fault} ({' '.join(log).strip()}): {wrong}\n    {said.strip()[:400]}")
            print("FAIL", self.faults[-1], flush=True)
        for end in ".log", ".out", ".err":
            folder.with_suffix(end).unlink(missing_ok=True)
        shutil.rmtree(folder)

    def calls(self, case, work, kind, how):
        code, said, log = self.run(case, work / f"count-{kind}-{how}", f"{kind}:0:{how}")
        assert code == case.code and not said, (case.name, code, said)
        return int(log[0].split()[1])

    def numbers(self, calls):
        """Those of the calls that are to fail."""
        points = self.options.points or calls
        step = max(1, -(-calls // points))
        return range(1 + self.options.start % step, calls + 1, step)

    def sweep(self, case, pool):
        with tempfile.TemporaryDirectory(dir=self.prepared) as name:
            work = Path(name)
            self.run(case, work / "good", "none:0:EIO")
            counted = {}
            faults = [f"{kind}:1:{how}" for kind, how in ALL_AT_ONCE if self.options.kind in (None, kind)]
            for kind, how in ONE_BY_ONE:
                if self.options.kind not in (None, kind):
                    continue
                counted[kind, how] = self.calls(case, work, kind, how)
                faults += [f"{kind}:{n}:{how}" for n in self.numbers(counted[kind, how])]
            before = self.runs
            list(pool.map(lambda f: self.point(case, work / "good", work, f), faults))
            print(f"{case.name}: {self.runs - before} runs; calls: {', '.join(f'{k} {h} {n}' for (k, h), n in counted.items())}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("weft", type=lambda name: Path(name).resolve())
    parser.add_argument("shim", type=lambda name: Path(name).resolve())
    parser.add_argument("fixtures", type=lambda name: Path(name).resolve())
    parser.add_argument("--points", type=int)
    parser.add_argument("--start", type=int, default=random.randrange(1000))
    parser.add_argument("--from", dest="from_", default="")
    parser.add_argument("--only")
    parser.add_argument("--kind")
    options = parser.parse_args()
    print("start", options.start)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder, \
            ThreadPoolExecutor(os.cpu_count()) as pool:
        sweep = Sweep(options, Path(folder))
        prepare(options.weft, options.fixtures, Path(folder))
        for case in cases(options.fixtures, Path(folder)):
            if options.only in (None, case.name):
                sweep.sweep(case, pool)
    print(f"{sweep.runs} runs, {len(sweep.faults)} faults")
    sys.exit(bool(sweep.faults) or not sweep.runs)


main()
