"""The table of tests/bench.sh, from the reports in a folder. Exit status 1 when some are missing. Python's standard library is enough."""
import argparse
import json
import pathlib
import platform
import re
import statistics
import sys

NOISE = 10  # per cent between measurements of one thing, from which the text warns


def load(args, size, program):
    """The reports of all rounds that there are."""
    paths = [args.results / f"{size}.{i}.{program}.json" for i in range(1, args.rounds + 1)]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def stage(report, name):
    return next(stage for stage in report["stages"] if stage["name"] == name)


class Measured:
    """What a program took for one part of one size."""

    def __init__(self, reports, part):
        stages = [stage(report, "denoise" if part == "step" else part) for report in reports]
        self.times = [time for s in stages for time in (s["step_seconds"] if part == "step" else [s["seconds"]])]
        self.seconds = statistics.median(self.times) if self.times else None
        self.flops = stages[0]["flops"] / (len(stages[0]["step_seconds"]) if part == "step" else 1) if stages else 0
        self.memory = max((report["peak_rss_bytes"] for report in reports), default=None)

    def noise(self):
        return 100 * (max(self.times) / min(self.times) - 1) if self.times else 0

    def rate_cell(self, gemm):
        if not self.seconds:
            return "-"
        rate = self.flops / self.seconds
        return f"{rate * 1e-12:.2f} ({100 * rate / gemm:.0f} %)" if gemm else f"{rate * 1e-12:.2f}"


def gemm_rate(args):
    """Operations a second of weft's fastest product of 2550 rows, which are those of 480x272 and 17 frames; None: not measured."""
    rates = []
    for path in args.results.glob("gemm.*.txt"):
        rates += [float(rate) * 1e9 for rate in re.findall(r"^gemm +m 2550 .* ([\d.]+) GFLOP/s", path.read_text(), re.M)]
    return max(rates, default=None)


def number(value, digits, unit=1):
    return "-" if value is None else f"{value / unit:.{digits}f}"


def row(size, part, programs, gemm):
    """Its cells; programs is weft alone or weft and diffusers."""
    cells = [size, part] + [number(p.seconds, 2) for p in programs]
    if len(programs) > 1:
        both = all(p.seconds for p in programs)
        cells.append(number(programs[1].seconds / programs[0].seconds if both else None, 2))
    return cells + [p.rate_cell(gemm) for p in programs] + [number(p.memory, 1, 1e9) for p in programs]


def head(names):
    cells = ["clip", "part"] + [f"{name} s" for name in names] + (["ratio"] if len(names) > 1 else [])
    return cells + [f"{name} TFLOP/s" for name in names] + [f"{name} GB" for name in names]


def print_table(rows):
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    for cells in rows:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |")


def processor():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    names = re.findall(r"^(?:model name|Model|Hardware)\s*: (.*)$", text, re.M)
    return f"{names[0] if names else platform.processor() or platform.machine()}, {text.count('processor' + chr(9))} cores"


def print_machine(args, reports):
    """reports: one of each program, or none."""
    weft = reports["weft"]
    device = args.results / "device.txt"
    print(f"processor: {processor()}; {weft['threads']} threads, {weft['dtype']}")
    print(f"weft {weft['weft']}: {device.read_text().strip()}" if device.exists() else f"weft {weft['weft']}")
    if reports.get("diffusers"):
        print(f"{reports['diffusers']['versions']}; {reports['diffusers']['threads']} threads")


def print_notes(args, measured, gemm):
    forwards = "two forwards, guidance on" if args.guidance > 1 else "one forward, guidance off"
    print(f"step: {forwards}, and the sampler. decode: the VAE, to all frames. Medians, warm.")
    print("GB: the process's largest resident size. Each holds the weights of all components (weft's default is one component's).")
    print("TFLOP/s: of the work that each performs, weft as it counts itself, diffusers as torch counts it; weft skips some, so the ratio"
          " is that of the seconds.")
    if gemm:
        print(f"In brackets: of {gemm * 1e-12:.2f} TFLOP/s, the fastest of weft's own products of 2550 rows in this run"
              " (checkops --bench gemm).")
    noise = {name: max((by[name].noise(), f"{size} {part}") for size, part, by in measured) for name in measured[0][2]}
    if max(noise.values())[0] > 0:  # something was measured more than once
        print("Measurements of one thing differ by up to "
              + ", ".join(f"{value:.0f} % ({name}, {where})" for name, (value, where) in noise.items())
              + (". The machine was not quiet." if max(noise.values())[0] > NOISE else "."))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=pathlib.Path, required=True)
    parser.add_argument("--peers", choices=["diffusers", "none"], required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--guidance", type=float, required=True)
    parser.add_argument("sizes", nargs="+")
    return parser.parse_args()


def main():
    args = arguments()
    names = ["weft"] if args.peers == "none" else ["weft", "diffusers"]
    reports = {(size, name): load(args, size, name) for size in args.sizes for name in names}
    gemm = gemm_rate(args)
    measured = [(size, part, {name: Measured(reports[size, name], part) for name in names})
                for size in args.sizes for part in ("step", "decode")]
    first = {name: next((reports[size, name][0] for size in args.sizes if reports[size, name]), None) for name in names}
    if not first["weft"]:
        sys.exit("bench: nothing was measured")
    print_machine(args, first)
    print()
    print_table([head(names)] + [row(size, part, list(by.values()), gemm) for size, part, by in measured])
    print()
    print_notes(args, measured, gemm)
    if not gemm or any(len(found) < args.rounds for found in reports.values()):
        sys.exit("bench: not all was measured")


if __name__ == "__main__":
    main()
